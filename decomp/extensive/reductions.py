"""What an instance proves about its own model: starts that cannot be, bans (5, 6) that nothing can profit from.

`untangle` is the constructive half of the two proofs: it removes from a schedule the simultaneous flows that a
solver may leave, at equal cost, where the ban has no binary.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decomp.model.instance import Array, Instance
from decomp.model.reach import both_tempt
from decomp.model.result import Schedule


def start_allowed(instance: Instance) -> Array:
    """Starts (candidate, period), bool, that keep the job's window and, run as a whole, the site's capacity (C2)."""
    jobs, candidates = instance.jobs, instance.candidates
    period = np.arange(instance.n_periods)
    job = candidates.job
    last = np.minimum(jobs.deadline, instance.n_periods) - jobs.periods
    allowed: Array = (jobs.release[job, None] <= period) & (period <= last[job, None])
    for c in range(len(job)):
        room = instance.least_capacity[candidates.site[c]] >= jobs.gpus[job[c]]
        unbroken = np.convolve(room, np.ones(jobs.periods[job[c]]))[jobs.periods[job[c]] - 1 :]
        allowed[c, : len(unbroken)] &= unbroken[: instance.n_periods] == jobs.periods[job[c]]
    return allowed


def grid_ban_is_redundant(instance: Instance) -> Array:
    """Where (site, period), bool, importing and exporting at once (5) cannot pay.

    Proof for buy ≥ sell, carbon intensity ≥ export credit and carbon price ≥ 0: lower both flows by the smaller
    one, ε. The balance is unchanged, the peak does not rise, emissions do not rise, and the cost falls by
    Δ ε (buy - sell + w (intensity - credit)) ≥ 0, w ≥ 0 the carbon price plus that of the budget. Limits of zero
    are trivial.
    """
    s = instance.sites
    no_profit = (s.buy_price >= s.sell_price) & (s.carbon_intensity >= s.export_credit)
    if instance.carbon_price_usd_per_t < 0:
        no_profit = np.zeros_like(no_profit)
    no_profit &= ~both_tempt(instance.microgrids)
    return np.asarray(no_profit | (s.import_limit_mw <= 0) | (s.export_limit_mw <= 0))


def battery_ban_is_redundant(instance: Instance) -> Array:
    """Where (site, period), bool, charging and discharging at once (6) cannot pay; True without a battery.

    Proof for a site without generators and devices, its wind and sun curtailable (or none), its power never negative,
    and buy ≥ 0 in period t and all later ones. Let e' ≥ e be the new and the old stored energy before t (at first
    equal).
    - Net discharge n = dis - chg ≥ 0: take chg' = 0, dis' = n. The balance is unchanged, no more is discharged, and
      e' ≥ e holds after t as efficiencies are ≤ 1; e' does not rise, so it stays below its ceiling.
    - n < 0: take dis' = 0, chg' = -n or as much of it as fills the battery: e' ≥ e again. What is not charged, at
      most -n, must vanish from the balance imp + ren = P + exp - n with P + exp ≥ 0, so there is as much imp + ren to
      lower: imports first (no cost as buy ≥ 0, no emissions), then wind and sun.
    Neither cost, peak nor emissions rise, exp is untouched, and the last stored energy is no less. A fuller battery
    may have to charge less later, by the same step, hence "and all later ones".
    """
    s = instance.sites
    shape = s.buy_price.shape
    simple = np.ones(instance.n_sites, dtype=bool)
    simple[instance.generators.site] = False
    simple[instance.devices.site] = False
    simple &= s.curtailable | ~(instance.renewable_mw > 0).any(axis=1)
    simple &= (s.power_intercept_mw.max(axis=1) >= 0) & (instance.carbon_price_usd_per_t >= 0)
    from_here_on = np.logical_and.accumulate((s.buy_price >= 0)[:, ::-1], axis=1)[:, ::-1]
    no_battery = (s.battery_mwh <= 0) | (s.charge_mw <= 0) | (s.discharge_mw <= 0)
    return np.asarray((simple[:, None] & from_here_on) | np.broadcast_to(no_battery[:, None], shape))


def untangle(instance: Instance, schedule: Schedule) -> Schedule:
    """Remove simultaneous flows where their ban is redundant, and recompute stored energy (6); never costs more."""
    s, hours = instance.sites, instance.period_h
    owner = s.battery_mwh > 0
    free = battery_ban_is_redundant(instance) & owner[:, None]
    imp, exp, ren = schedule.import_mw.copy(), schedule.export_mw.copy(), schedule.renewable_mw.copy()
    chg, dis = schedule.charge_mw.copy(), schedule.discharge_mw.copy()
    stored = np.zeros((instance.n_sites, instance.n_periods + 1))
    stored[:, 0] = np.where(owner, s.battery_initial_mwh, 0.0)
    eta_in, eta_out = (np.where(owner, eta, 1.0) for eta in (s.charge_efficiency, s.discharge_efficiency))
    for t in range(instance.n_periods):
        kept = (1 - s.self_discharge_per_h) ** hours * stored[:, t]
        both = free[:, t] & (chg[:, t] > 0) & (dis[:, t] > 0)
        net = dis[:, t] - chg[:, t]
        room = np.maximum(s.battery_mwh - kept, 0.0) / (hours * eta_in)
        dis[:, t] = np.where(both, np.maximum(net, 0.0), dis[:, t])
        charge = np.minimum(np.where(both, np.maximum(-net, 0.0), chg[:, t]), np.where(free[:, t], room, np.inf))
        spare = np.where(both, np.maximum(-net, 0.0), chg[:, t]) - charge
        chg[:, t] = charge
        unbought = np.minimum(imp[:, t], spare)
        imp[:, t] -= unbought
        ren[:, t] -= np.minimum(ren[:, t], spare - unbought)
        stored[:, t + 1] = kept + hours * (eta_in * chg[:, t] - dis[:, t] / eta_out)
    both = np.where(grid_ban_is_redundant(instance), np.minimum(imp, exp), 0.0)
    return replace(
        schedule,
        import_mw=imp - both,
        export_mw=exp - both,
        renewable_mw=ren,
        charge_mw=chg,
        discharge_mw=dis,
        stored_mwh=stored,
    )
