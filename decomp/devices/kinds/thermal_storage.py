"""Thermal storage: chillers fill a tank of cold, which later takes the place of chillers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.devices.draft import Draft, Use
from decomp.devices.kind import Kind, Place, setting


@dataclass(frozen=True)
class ThermalStorage(Kind):
    """A tank of chilled water beside the chillers.

    All IT power becomes heat. Of the power beyond IT power, the PUE less one, `chiller_share` drives chillers; so
    their coefficient of performance in a period is 1 / (chiller_share (PUE - 1)), unless `cop` says otherwise: it
    follows the weather as the PUE does. Charging draws power for further cold, discharging saves what chillers
    would have drawn, at most for the heat that is there. Source of the defaults: ASHRAE Handbook, HVAC Applications,
    chapter Thermal Storage (stratified chilled-water tanks lose 1 to 5 % a day).
    """

    tank_mwh: float | None = setting(None, "MWh", "largest stored cold, thermal (default: 4 hours of full IT power)")
    charge_mw: float | None = setting(None, "MW", "most cold put in, thermal (default: a quarter of the tank per hour)")
    discharge_mw: float | None = setting(None, "MW", "most cold taken out, thermal (default: as put in)")
    cop: float | None = setting(None, "1", "cold per power of the chillers (default: by the PUE)", low=0.5, high=50.0)
    chiller_share: float = setting(0.7, "1", "share of the power beyond IT power that drives chillers", high=1.0)
    loss_per_h: float = setting(0.001, "1/h", "stored cold lost per hour", high=0.5)
    initial_share: float = setting(0.5, "1", "stored at the start, and at least at the end, of the tank", high=1.0)

    def draft(self, site: Place) -> Draft:
        t, hours, draft = site.periods, site.hours, Draft()
        tank = 4.0 * float(site.full_it_mw.max()) if self.tank_mwh is None else self.tank_mwh
        most_in = 0.25 * tank if self.charge_mw is None else self.charge_mw
        most_out = most_in if self.discharge_mw is None else self.discharge_mw
        saved = self.chiller_share * (site.series("pue") - 1.0)  # MW of power per MW of heat
        unit = saved if self.cop is None else np.full(len(t), 1.0 / self.cop)
        charge = draft.variables("charge", 0.0, most_in, index=t, unit="MW", power=-unit)
        discharge = draft.variables("discharge", 0.0, most_out, index=t, unit="MW", power=unit)
        initial = self.initial_share * tank
        least = np.where(t == t[-1], initial, 0.0)
        stored = draft.variables("stored", least, tank, index=t, unit="MWh", end_low=initial)
        keep = (1.0 - self.loss_per_h) ** hours
        start = np.where(t == 0, keep * initial, 0.0)
        terms = [(1.0, stored), (-hours, charge), (hours, discharge), (np.where(t > 0, -keep, 0.0), np.roll(stored, 1))]
        draft.rows("balance", start, start, *terms, index=t, unit="MWh")
        draft.rows("heat", -np.inf, 0.0, (1.0, discharge), (-1.0, Use("it_power", t)), index=t, unit="MW")
        if self.cop is not None:  # no more is saved than the chillers draw
            draft.rows("saved", -np.inf, 0.0, (unit, discharge), (-saved, Use("it_power", t)), index=t, unit="MW")
        return draft
