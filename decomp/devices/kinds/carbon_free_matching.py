"""Carbon-free matching: a share of consumption is covered by clean energy, over the horizon or hour by hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.devices.draft import Draft, Terms, Use
from decomp.devices.kind import Kind, Place, setting


@dataclass(frozen=True)
class CarbonFreeMatching(Kind):
    """Clean energy is at least a share of what the facility consumes; what is missing costs a penalty, or may not be.

    Clean is the site's wind and sun, its generators without emissions, and a share of the import. Over the horizon all
    of it counts; hourly, in every period no more than is consumed then, what Google calls 24/7 carbon-free energy
    (Google, 24/7 Carbon-Free Energy: Methodologies and Metrics, 2021).
    """

    share: float = setting(0.8, "1", "clean energy per consumption", high=1.0)
    hourly: bool = setting(False, "1", "count clean energy only up to what is consumed in the period")
    grid_share: float = setting(0.0, "1", "clean share of imported energy", high=1.0)
    penalty_usd_per_mwh: float = setting(0.0, "USD/MWh", "price of what is missing (0: nothing may be)")

    def draft(self, site: Place) -> Draft:
        t, hours, draft, g = site.periods, site.hours, Draft(), site.grids.generators
        clean: Terms = [(1.0, Use("renewable", t)), (self.grid_share, Use("grid_import", t))]
        clean += [(1.0, Use("generation", t, int(k))) for k in np.flatnonzero(g.emission_t_per_mwh == 0)]
        counted: Terms = [(hours * factor, use) for factor, use in clean]
        if self.hourly:
            matched = draft.variables("matched", 0.0, site.series("pue") * site.full_it_mw, index=t, unit="MW")
            turned: Terms = [(-factor, use) for factor, use in clean]
            draft.rows("clean", -np.inf, 0.0, (1.0, matched), *turned, index=t, unit="MW")
            draft.rows("consumed", -np.inf, 0.0, (1.0, matched), (-1.0, Use("facility", t)), index=t, unit="MW")
            counted = [(hours, matched)]
        most = self.share * hours * float((site.series("pue") * site.full_it_mw).sum())
        priced = self.penalty_usd_per_mwh > 0
        short = draft.variables("short", 0.0, most if priced else 0.0, unit="MWh", cost=self.penalty_usd_per_mwh)
        terms: Terms = [*counted, (-self.share * hours, Use("facility", t)), (1.0, short)]
        draft.total("share", 0.0, np.inf, *terms, unit="MWh", cumulative=True)
        return draft
