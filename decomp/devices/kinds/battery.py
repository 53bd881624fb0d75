"""A battery: a second one beside the site's own, with the same rows (equation 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.devices.draft import Draft, Terms
from decomp.devices.kind import Kind, Place, setting
from decomp.model.instance import InputError
from decomp.model.rounding import fits


@dataclass(frozen=True)
class Battery(Kind):
    """Stored energy that is charged and discharged, never both at once; wear by discharged energy.

    Defaults are those of a lithium-ion system of 4 hours with 85 % round trip (NREL, Annual Technology Baseline 2024,
    utility-scale battery storage).
    """

    mwh: float | None = setting(None, "MWh", "largest stored energy (default: 4 hours of its power)")
    mw: float | None = setting(None, "MW", "largest charging and discharging power (default: a fifth of full load)")
    least_mwh: float = setting(0.0, "MWh", "least stored energy")
    initial_mwh: float | None = setting(None, "MWh", "stored energy at the start (default: half)")
    final_mwh: float | None = setting(None, "MWh", "least stored energy at the end (default: as at the start)")
    charge_efficiency: float = setting(0.922, "1", "stored per charged energy", low=1e-3, high=1.0)
    discharge_efficiency: float = setting(0.922, "1", "delivered per withdrawn energy", low=1e-3, high=1.0)
    self_discharge_per_h: float = setting(0.0, "1/h", "stored energy lost per hour", high=0.5)
    wear_usd_per_mwh: float = setting(0.0, "USD/MWh", "wear per discharged energy")

    def draft(self, site: Place) -> Draft:
        t, hours, draft = site.periods, site.hours, Draft()
        mw = 0.2 * site.full_mw if self.mw is None else self.mw
        mwh = 4.0 * mw if self.mwh is None else self.mwh
        initial = 0.5 * mwh if self.initial_mwh is None else self.initial_mwh
        final = max(self.least_mwh, initial if self.final_mwh is None else self.final_mwh)
        for name, value in (("least", self.least_mwh), ("initial", initial), ("final", final)):
            if not (fits(self.least_mwh, value) and fits(value, mwh)):
                ends = f"least_mwh = {self.least_mwh:g} and mwh = {mwh:g} MWh"
                raise InputError(f"battery.{name}_mwh: {value:g} MWh, must be between {ends}")
        least = np.where(t == t[-1], final, self.least_mwh)
        charge = draft.variables("charge", 0.0, mw, index=t, unit="MW", power=-1.0)
        worn = hours * self.wear_usd_per_mwh
        discharge = draft.variables("discharge", 0.0, mw, index=t, unit="MW", power=1.0, cost=worn)
        stored = draft.variables("stored", least, mwh, index=t, unit="MWh", end_low=final)
        charging = draft.variables("charging", 0.0, 1.0, index=t, integer=True)
        keep = (1.0 - self.self_discharge_per_h) ** hours
        start = np.where(t == 0, keep * initial, 0.0)
        terms: Terms = [(1.0, stored), (-hours * self.charge_efficiency, charge)]
        terms += [(hours / self.discharge_efficiency, discharge), (np.where(t > 0, -keep, 0.0), np.roll(stored, 1))]
        draft.rows("balance", start, start, *terms, index=t, unit="MWh")
        draft.rows("charge_only", -np.inf, 0.0, (1.0, charge), (-mw, charging), index=t, unit="MW")
        draft.rows("discharge_only", -np.inf, mw, (1.0, discharge), (mw, charging), index=t, unit="MW")
        return draft
