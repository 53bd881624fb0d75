"""A flexible connection: firm up to a limit, beyond it in a few periods only, and curtailed during events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.devices.draft import Draft, Use
from decomp.devices.kind import Kind, Place, setting
from decomp.model.instance import Array, InputError


@dataclass(frozen=True)
class FlexibleConnection(Kind):
    """Import above the firm limit in at most so many periods; at most `event_mw` in the periods of events.

    Norris and others, Rethinking Load Growth (Duke University, 2025): large loads that stay below a limit in a small
    share of hours can be connected years earlier.
    """

    firm_mw: float | None = setting(None, "MW", "import that is always allowed (default: 80 % of full load)")
    periods_above: float | None = setting(None, "1", "most periods above the firm limit (default: a twelfth, 8 of 96)")
    events: str = setting("", "1", "periods of events, such as 64-71,80-83: first and last of each")
    event_mw: float = setting(0.0, "MW", "most import during events")

    def draft(self, site: Place) -> Draft:
        t, limit, draft = site.periods, site.series("import_limit_mw"), Draft()
        firm = 0.8 * site.full_mw if self.firm_mw is None else self.firm_mw
        above = np.flatnonzero(limit > firm)
        if len(above):
            over = draft.variables("above", 0.0, 1.0, index=above, integer=True)
            beyond = limit[above] - firm
            draft.rows("firm", -np.inf, firm, (1.0, Use("grid_import", above)), (-beyond, over), index=above, unit="MW")
            most = len(t) // 12 if self.periods_above is None else self.periods_above
            draft.total("periods", -np.inf, most, (1.0, over), cumulative=True)
        called = self._called(len(t))
        if len(called):
            draft.rows("event", -np.inf, self.event_mw, (1.0, Use("grid_import", called)), index=called, unit="MW")
        return draft

    def _called(self, n_periods: int) -> Array:
        """The periods of all events."""
        called = np.zeros(n_periods, dtype=bool)
        for text in filter(None, (part.strip() for part in self.events.split(","))):
            first, _, last = text.partition("-")
            if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first) < n_periods):
                ends = f"periods 0 to {n_periods - 1}"
                raise InputError(f"{self.called()}.events: {text!r}, must be first-last of {ends}")
            called[int(first) : int(last or first) + 1] = True
        return np.flatnonzero(called)
