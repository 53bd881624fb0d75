"""Hydrogen: an electrolyser, a tank, a fuel cell that turns it back, and an offtake that is paid for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.devices.draft import Draft
from decomp.devices.kind import Kind, Place, setting


@dataclass(frozen=True)
class Hydrogen(Kind):
    """Power becomes hydrogen, and hydrogen power or income; energies of hydrogen are lower heating values.

    Efficiencies: IEA, The Future of Hydrogen (2019), alkaline electrolysers 63 to 70 %, fuel cells 50 to 60 %.
    """

    electrolyser_mw: float | None = setting(None, "MW", "most power drawn (default: a fifth of full load)")
    electrolyser_efficiency: float = setting(0.64, "1", "hydrogen per power", low=1e-3, high=1.0)
    tank_mwh: float | None = setting(None, "MWh", "largest stored hydrogen (default: 10 hours of the electrolyser)")
    initial_share: float = setting(0.5, "1", "stored at the start, and at least at the end, of the tank", high=1.0)
    cell_mw: float = setting(0.0, "MW", "most power given by the fuel cell")
    cell_efficiency: float = setting(0.5, "1", "power per hydrogen", low=1e-3, high=1.0)
    offtake_mw: float = setting(0.0, "MW", "most hydrogen sold")
    offtake_usd_per_mwh: float = setting(0.0, "USD/MWh", "price of hydrogen sold")
    least_offtake_mwh: float = setting(0.0, "MWh", "least hydrogen sold in all")

    def draft(self, site: Place) -> Draft:
        t, hours, draft = site.periods, site.hours, Draft()
        mw = 0.2 * site.full_mw if self.electrolyser_mw is None else self.electrolyser_mw
        tank = 10.0 * mw * self.electrolyser_efficiency if self.tank_mwh is None else self.tank_mwh
        initial = self.initial_share * tank
        drawn = draft.variables("electrolyser", 0.0, mw, index=t, unit="MW", power=-1.0)
        given = draft.variables("cell", 0.0, self.cell_mw, index=t, unit="MW", power=1.0)
        price = -hours * self.offtake_usd_per_mwh
        sold = draft.variables("offtake", 0.0, self.offtake_mw, index=t, unit="MW", cost=price)
        least = np.where(t == t[-1], initial, 0.0)
        stored = draft.variables("stored", least, tank, index=t, unit="MWh", end_low=initial)
        start = np.where(t == 0, initial, 0.0)
        terms = [(1.0, stored), (np.where(t > 0, -1.0, 0.0), np.roll(stored, 1)), (hours, sold)]
        terms += [(-hours * self.electrolyser_efficiency, drawn), (hours / self.cell_efficiency, given)]
        draft.rows("balance", start, start, *terms, index=t, unit="MWh")
        if self.least_offtake_mwh > 0:
            draft.total("contract", self.least_offtake_mwh, np.inf, (hours, sold), unit="MWh", cumulative=False)
        return draft
