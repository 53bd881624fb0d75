"""A fuel cell, or a small reactor: a generator that is slow, rarely off, and clean or nearly so."""

from __future__ import annotations

from dataclasses import dataclass, fields

from decomp.devices.draft import Draft
from decomp.devices.kind import Place, setting
from decomp.devices.kinds.generator import Generator
from decomp.model.refusal import INTENSITY_LIMIT


@dataclass(frozen=True)
class FuelCell(Generator):
    """A generator with least output, ramps and minimum times by default.

    Defaults are those of a small reactor that follows load, between half and all of its power (NEA, Technical and
    Economic Aspects of Load Following with Nuclear Power Plants, 2011); ramps and times are assumptions, slow ones.
    A fuel cell on gas with 60 %: fuel_usd_per_mwh=23 (at 4 USD/MMBtu), emission_t_per_mwh=0.30.
    """

    fuel_usd_per_mwh: float = setting(9.0, "USD/MWh", "fuel cost of output")
    min_up_h: float = setting(24.0, "h", "least time on after a start")
    min_down_h: float = setting(24.0, "h", "least time off after a stop")
    emission_t_per_mwh: float = setting(0.0, "t/MWh", "emissions of output", high=INTENSITY_LIMIT)
    least_share: float = setting(0.5, "1", "least output when on, of the largest", high=1.0)
    ramp_share_per_h: float = setting(0.2, "1/h", "fastest rise and fall when on, of the largest output per hour")

    def usual_least(self, most: float) -> float:
        return self.least_share * most

    def draft(self, site: Place) -> Draft:
        least, most = self.sizes(site)
        ramp = self.ramp_share_per_h * most if self.ramp_mw_per_h is None else self.ramp_mw_per_h
        settings = {f.name: getattr(self, f.name) for f in fields(Generator)}
        return Generator(**settings | dict(p_min_mw=least, p_max_mw=most, ramp_mw_per_h=ramp)).draft(site)
