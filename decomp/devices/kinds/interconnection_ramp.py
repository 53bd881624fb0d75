"""A ramp limit at the interconnection: net import changes by so much an hour at most."""

from __future__ import annotations

from dataclasses import dataclass

from decomp.devices.draft import Draft, Use
from decomp.devices.kind import Kind, Place, setting


@dataclass(frozen=True)
class InterconnectionRamp(Kind):
    """|net import of a period less that of the period before| <= limit.

    Fast ramps are among the risks of large loads that NERC lists (Characteristics and Risks of Emerging Large Loads,
    2025); what an operator allows is a matter of its interconnection agreement.
    """

    mw_per_h: float | None = setting(None, "MW/h", "most change per hour (default: half of full load)")
    initial_mw: float | None = setting(None, "MW", "net import before the first period (default: any)", low=-1e12)

    def draft(self, site: Place) -> Draft:
        t, draft = site.periods, Draft()
        most = site.hours * (0.5 * site.full_mw if self.mw_per_h is None else self.mw_per_h)
        now, before = t[1:], t[:-1]
        terms = [(1.0, Use("grid_import", now)), (-1.0, Use("grid_export", now))]
        terms += [(-1.0, Use("grid_import", before)), (1.0, Use("grid_export", before))]
        if len(now):
            draft.rows("ramp", -most, most, *terms, index=now, unit="MW")
        if self.initial_mw is not None:
            first = [(1.0, Use("grid_import", t[:1])), (-1.0, Use("grid_export", t[:1]))]
            draft.rows("ramp", self.initial_mw - most, self.initial_mw + most, *first, index=t[:1], unit="MW")
        return draft
