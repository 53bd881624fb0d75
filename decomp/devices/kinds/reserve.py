"""Reserve: headroom to import less or export more, sold to the grid, with the energy to honour it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.devices.draft import Draft, Terms, Use
from decomp.devices.kind import Kind, Place, setting


@dataclass(frozen=True)
class Reserve(Kind):
    """Upward reserve in every period: what battery and, if asked for, generators can give beyond what they do.

    It is at most what net import may still fall by, at most the headroom of the sources, and the battery holds the
    energy for `duration_h`: two hours for contingency reserve in ERCOT (Nodal Protocol Revision Request 1096).
    """

    price_usd_per_mw_h: float = setting(10.0, "USD/(MW h)", "income of a MW held for an hour")
    most_mw: float | None = setting(None, "MW", "most reserve sold (default: no limit but the sources')")
    duration_h: float = setting(2.0, "h", "time for which the battery must be able to deliver")
    generators: bool = setting(False, "1", "count the headroom of generators, on or off")

    def draft(self, site: Place) -> Draft:
        t, hours, draft, s, g = site.periods, site.hours, Draft(), site.grids.sites, site.grids.generators
        battery = s.battery_mwh[0] > 0
        mw = float(s.discharge_mw[0]) if battery else 0.0
        sources = mw + (float(g.p_max_mw.sum()) if self.generators else 0.0)
        most = sources + (float(s.charge_mw[0]) if battery else 0.0)
        most = most if self.most_mw is None else min(most, self.most_mw)
        price = -hours * self.price_usd_per_mw_h
        held = draft.variables("held", 0.0, most, index=t, unit="MW", cost=price)
        of_battery = draft.variables("of_battery", 0.0, most, index=t, unit="MW")
        flows: Terms = [(1.0, Use("discharge", t)), (-1.0, Use("charge", t))]
        draft.rows("battery", -np.inf, mw, (1.0, of_battery), *flows, index=t, unit="MW")
        drawn = self.duration_h / float(s.discharge_efficiency[0])
        floor = -float(s.battery_min_mwh[0]) if battery else 0.0
        energy: Terms = [(drawn, of_battery), (-1.0, Use("stored", t))]
        draft.rows("energy", -np.inf, floor, *energy, index=t, unit="MWh")
        others: Terms = [(1.0, Use("generation", t, k)) for k in range(len(g.p_max_mw))] if self.generators else []
        room = sources - mw
        draft.rows("sources", -np.inf, room, (1.0, held), (-1.0, of_battery), *others, index=t, unit="MW")
        net: Terms = [(1.0, held), (-1.0, Use("grid_import", t)), (1.0, Use("grid_export", t))]
        draft.rows("connection", -np.inf, site.series("export_limit_mw"), *net, index=t, unit="MW")
        return draft
