"""A fleet whose batteries and generators are devices of the library, and the same fleet with them built in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import decomp
from decomp.model.instance import Instance

STORED = ("battery_mwh", "battery_min_mwh", "battery_initial_mwh", "battery_final_mwh")


def twins(instance: Instance) -> tuple[Instance, Instance]:
    """The fleet with its own batteries and generators, and with devices in their place.

    Devices have one charging and discharging power, and one ramp up and down: the built-in ones get these too.
    """
    s, g, hours = instance.sites, instance.generators, instance.period_h
    ramp = np.minimum(g.ramp_up_mw_per_h, g.ramp_down_mw_per_h)
    s = replace(s, discharge_mw=s.charge_mw)
    built_in = replace(instance, sites=s, generators=replace(g, ramp_up_mw_per_h=ramp, ramp_down_mw_per_h=ramp))
    none = {name: 0.0 * getattr(s, name) for name in STORED}
    bare = replace(instance, sites=replace(s, **none), generators=g.take(np.zeros(0, dtype=int)))
    for i in np.flatnonzero(s.battery_mwh > 0):
        device = decomp.devices.battery(
            mwh=s.battery_mwh[i],
            mw=s.charge_mw[i],
            least_mwh=s.battery_min_mwh[i],
            initial_mwh=s.battery_initial_mwh[i],
            final_mwh=s.battery_final_mwh[i],
            charge_efficiency=s.charge_efficiency[i],
            discharge_efficiency=s.discharge_efficiency[i],
            self_discharge_per_h=s.self_discharge_per_h[i],
            wear_usd_per_mwh=s.wear_usd_per_mwh[i],
        )
        bare = decomp.attach(bare, str(s.name[i]), device)
    for k, i in enumerate(g.site):
        generator = decomp.devices.generator(
            p_max_mw=g.p_max_mw[k],
            p_min_mw=g.p_min_mw[k],
            fuel_usd_per_mwh=g.fuel_usd_per_mwh[k],
            no_load_usd_per_h=g.no_load_usd_per_h[k],
            start_usd=g.start_usd[k],
            ramp_mw_per_h=float(ramp[k]) if np.isfinite(ramp[k]) else None,
            min_up_h=g.min_up_periods[k] * hours,
            min_down_h=g.min_down_periods[k] * hours,
            emission_t_per_mwh=g.emission_t_per_mwh[k],
            initial_mw=g.initial_mw[k],
            initial_h=g.initial_periods[k] * hours,
        )
        bare = decomp.attach(bare, str(s.name[i]), generator, name=f"generator {k}")
    return built_in, bare
