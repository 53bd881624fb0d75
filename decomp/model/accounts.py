"""What a schedule costs and achieves, by component; pure NumPy, no solver.

The one place outside the models where net cost is summed: recovery, reports and tests read it. It takes a
schedule at its word; whether the schedule is feasible is the certificate's business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.model.instance import Array, Instance
from decomp.model.result import Allowances, Dual, Schedule
from decomp.model.scenarios import Expanded, expand, of_scenario, scenario

HARD_TOLERANCE = 1e-6  # relative; what a hard row (infinite price) may miss before the net cost is infinite


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Work and energy of a schedule.

    Attributes
    ----------
    served_gpu_h, unserved_gpu_h : inference served and not served, GPU h (C1).
    pool_gpu_h, shortfall_gpu_h : deferrable work done and not done, GPU h (C4).
    accepted_jobs, rejected_jobs : jobs run and not run (C2).
    bought_mwh, sold_mwh : grid import and export.
    self_consumed_mwh : local wind, sun and generation that is not exported in the period it arises.
    curtailed_mwh : available wind and sun neither used nor exported.
    generated_mwh, discharged_mwh, consumed_mwh : generator output, battery discharge, facility consumption.
    """

    served_gpu_h: float
    unserved_gpu_h: float
    pool_gpu_h: float
    shortfall_gpu_h: float
    accepted_jobs: int
    rejected_jobs: int
    bought_mwh: float
    sold_mwh: float
    self_consumed_mwh: float
    curtailed_mwh: float
    generated_mwh: float
    discharged_mwh: float
    consumed_mwh: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Accounts(Totals):
    """Net cost by component, work done, energy and emissions of a schedule; shapes in brackets.

    Attributes
    ----------
    components : contributions to net cost, USD, signed (income is negative), in the order of the objective:
        bought, sold, demand_charge, wear, fuel, no_load, starts, devices (where there are any), routing,
        revenue, unserved, job_value, candidate_cost, shortfall, carbon_price, carbon_excess,
        risk (where it has a weight).
    load_gpu : load (site, period), GPU (1).
    facility_mw : facility power (site, period), MW (3).
    emissions_t : emissions (site), t CO2 (9).
    carbon_excess_t : emissions above the budget, t CO2 (C3).
    peak_mw : largest import (site), MW.
    """

    components: dict[str, float]
    load_gpu: Array
    facility_mw: Array
    emissions_t: Array
    carbon_excess_t: float
    peak_mw: Array

    @property
    def net_cost(self) -> float:
        """Net cost, USD: the objective of every model."""
        return float(sum(self.components.values()))

    @property
    def benefit(self) -> float:
        """Operational benefit, USD: the negative net cost."""
        return -self.net_cost


def load_gpu(instance: Instance, schedule: Schedule) -> Array:
    """Load of every site and period (site, period), GPU (1)."""
    load = np.zeros((instance.n_sites, instance.n_periods))
    np.add.at(load, instance.arcs.site, schedule.routed_gpu)
    np.add.at(load, instance.pool_arcs.site, schedule.pool_gpu)
    job = np.flatnonzero(schedule.job_site >= 0)
    length = instance.jobs.periods[job]
    run = np.repeat(job, length)
    period = schedule.job_start[run] + np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    for copy in range(instance.copies):
        np.add.at(load, (schedule.job_site[run] + copy * instance.n_places, period), instance.jobs.gpus[run])
    return load


def starts(instance: Instance, schedule: Schedule) -> Array:
    """Generator starts (generator, period), bool (7)."""
    on = schedule.generator_on
    before = np.column_stack([instance.generators.initial_mw > 0, on[:, :-1]])
    first: Array = on & ~before
    return first


def complete(instance: Instance, schedule: Schedule) -> Schedule:
    """The schedule with what is left of demand unserved, and what is left of the pools' work short."""
    served, done = np.zeros_like(instance.demand_gpu), np.zeros(instance.n_pools)
    np.add.at(served, instance.arcs.stream, schedule.routed_gpu)
    np.add.at(done, instance.pool_arcs.pool, instance.period_h * schedule.pool_gpu.sum(axis=1))
    return replace(
        schedule,
        unserved_gpu=np.maximum(instance.demand_gpu - served, 0.0),
        pool_shortfall_gpu_h=np.maximum(instance.pools.work_gpu_h - done, 0.0),
    )


def emissions_t(instance: Instance, schedule: Schedule) -> Array:
    """Emissions of every site (site), t CO2 (9)."""
    sites, generators = instance.sites, instance.generators
    grid = sites.carbon_intensity * schedule.import_mw - sites.export_credit * schedule.export_mw
    emissions = grid.sum(axis=1)
    np.add.at(emissions, generators.site, generators.emission_t_per_mwh * schedule.generation_mw.sum(axis=1))
    of_devices = _of_devices(instance, instance.device_variables.emission, schedule)
    return np.asarray(instance.period_h * emissions + of_devices)


def over_budget_t(instance: Instance, emissions: Array) -> float:
    """Emissions above the budget, given those of the sites' rows; of every scenario by itself if each keeps it."""
    if not instance.budget_in_every:
        return max(0.0, float(emissions.sum()) - instance.carbon_budget_t)
    own = emissions.reshape(instance.copies, -1).sum(axis=1)
    return float(np.maximum(own - instance.scenarios.probability * instance.carbon_budget_t, 0.0).sum())


def allot(instance: Instance, schedule: Schedule | None, dual: Dual | None) -> Allowances | None:
    """The carbon budget, and the excess that is paid for, divided among the sites; None without budget or schedule."""
    if schedule is None or np.isinf(instance.carbon_budget_t):
        return None
    instance = expand(instance)
    emitted = emissions_t(instance, schedule)
    left: Array | float = max(0.0, instance.carbon_budget_t - float(emitted.sum()))
    if instance.budget_in_every:
        own = (emitted / instance.row_weight).reshape(instance.copies, -1).sum(axis=1)
        left = np.repeat(np.maximum(instance.carbon_budget_t - own, 0.0), instance.n_places)
    return Allowances(emitted / instance.row_weight + left / instance.n_places, dual.carbon_price if dual else np.nan)


def account(instance: Instance, schedule: Schedule) -> Accounts:
    """Sum up a schedule: net cost by component, work, energy, emissions; expected ones where there are scenarios."""
    instance = expand(instance)
    sites, hours = instance.sites, instance.period_h
    emissions = emissions_t(instance, schedule)
    excess = over_budget_t(instance, emissions)
    local = schedule.renewable_mw.copy()
    np.add.at(local, instance.generators.site, schedule.generation_mw)
    facility = sites.pue * schedule.it_power_mw
    accepted = schedule.job_site >= 0

    def expected(rows: Array) -> float:
        weight = instance.expected(len(rows))
        return float((weight.reshape(-1, *(1 for _ in rows.shape[1:])) * rows).sum())

    return Accounts(
        components={
            **{name: float(cost.sum()) for name, cost in site_costs(instance, schedule).items()},
            **_work_cost(instance, schedule),
            "carbon_price": float(instance.carbon_price_usd_per_t * emissions.sum()),
            "carbon_excess": _penalty(instance.carbon_excess_usd_per_t, excess, instance.carbon_budget_t),
            **_risk(instance, schedule),
        },
        load_gpu=load_gpu(instance, schedule),
        facility_mw=facility,
        emissions_t=emissions,
        carbon_excess_t=excess,
        peak_mw=schedule.import_mw.max(axis=1, initial=0.0),
        served_gpu_h=hours * expected(schedule.routed_gpu),
        unserved_gpu_h=hours * expected(schedule.unserved_gpu),
        pool_gpu_h=hours * expected(schedule.pool_gpu),
        shortfall_gpu_h=expected(schedule.pool_shortfall_gpu_h),
        accepted_jobs=int(accepted.sum()),
        rejected_jobs=int((~accepted).sum()),
        bought_mwh=hours * expected(schedule.import_mw),
        sold_mwh=hours * expected(schedule.export_mw),
        self_consumed_mwh=hours * expected(np.maximum(local - schedule.export_mw, 0.0)),
        curtailed_mwh=hours * expected(instance.renewable_mw - schedule.renewable_mw),
        generated_mwh=hours * expected(schedule.generation_mw),
        discharged_mwh=hours * expected(schedule.discharge_mw),
        consumed_mwh=hours * expected(facility),
    )


def by_scenario(instance: Instance, schedule: Schedule) -> list[Accounts]:
    """The accounts of every scenario; a budget for the expected emissions is no scenario's own."""
    fleet = expand(instance)
    if not isinstance(fleet, Expanded) or fleet.base is None:
        return [account(instance, schedule)]
    n, found = fleet.n_scenarios, []
    for s in range(n):
        alone = scenario(fleet.base, s)
        if fleet.carbon_scope == "expected":
            alone = replace(alone, carbon_budget_t=np.inf)
        found.append(account(alone, of_scenario(schedule, s, n)))
    return found


def _risk(instance: Instance, schedule: Schedule) -> dict[str, float]:
    """What risk adds to the expected net cost, where it has a weight."""
    if instance.copies == 1 or instance.risk_weight == 0:
        return {}
    cost, p = np.array([a.net_cost for a in by_scenario(instance, schedule)]), instance.scenarios.probability
    return {"risk": instance.risk_weight * (cvar(cost, p, instance.risk_level) - float(p @ cost))}


def cvar(cost: Array, probability: Array, level: float) -> float:
    """Mean of the worst 1 - level of costs (s,) with probabilities (s,), the last one in part: CVaR, USD."""
    order = np.argsort(-cost, kind="stable")
    p = probability[order]
    counted = np.clip(1.0 - level - (np.cumsum(p) - p), 0.0, p)
    n = np.count_nonzero(counted)  # the first of them; 0 times an infinite cost is no number
    return float(counted[:n] @ cost[order[:n]] / counted.sum())


def site_costs(instance: Instance, schedule: Schedule) -> dict[str, Array]:
    """Cost of grid, battery, generators and devices of every site (site), USD, by component (6-8)."""
    sites, generators, hours = instance.sites, instance.generators, instance.period_h
    peak = schedule.import_mw.max(axis=1, initial=0.0)

    def generating(cost: Array) -> Array:
        return np.bincount(generators.site, cost, minlength=instance.n_sites)

    costs = {
        "bought": hours * (sites.buy_price * schedule.import_mw).sum(axis=1),
        "sold": -hours * (sites.sell_price * schedule.export_mw).sum(axis=1),
        "demand_charge": sites.demand_charge * np.maximum(0.0, peak - sites.peak_so_far_mw),
        "wear": hours * sites.wear_usd_per_mwh * schedule.discharge_mw.sum(axis=1),
        "fuel": generating(hours * generators.fuel_usd_per_mwh * schedule.generation_mw.sum(axis=1)),
        "no_load": generating(hours * generators.no_load_usd_per_h * schedule.generator_on.sum(axis=1)),
        "starts": generating(generators.start_usd * starts(instance, schedule).sum(axis=1)),
    }
    if len(instance.devices.site):
        costs["devices"] = _of_devices(instance, instance.device_variables.cost, schedule)
    return costs


def _of_devices(instance: Instance, unit: Array, schedule: Schedule) -> Array:
    """What device variables come to at every site (site), at so much a unit (device_variable)."""
    site = instance.devices.site[instance.device_variables.device]
    return np.bincount(site, unit * schedule.device_value, minlength=instance.n_sites)


def _work_cost(instance: Instance, schedule: Schedule) -> dict[str, float]:
    """Cost and income of inference, jobs and pools, USD (C1, C2, C4)."""
    hours, jobs, arcs = instance.period_h, instance.jobs, instance.arcs
    served = schedule.routed_gpu.sum(axis=1)
    accepted = schedule.job_site >= 0
    shortfall = [
        _penalty(price, amount, work)
        for price, amount, work in zip(
            instance.pools.shortfall_penalty, schedule.pool_shortfall_gpu_h, instance.pools.work_gpu_h, strict=True
        )
    ]
    return {
        "routing": float(hours * arcs.cost @ served),
        "revenue": float(-hours * instance.streams.revenue[arcs.stream] @ served),
        "unserved": float(hours * instance.streams.unserved_penalty @ schedule.unserved_gpu.sum(axis=1)),
        "job_value": float(-jobs.value_usd[accepted].sum()),
        "candidate_cost": float(candidate_cost(instance, schedule)[accepted].sum()),
        "shortfall": float(sum(shortfall)),
    }


def candidate_cost(instance: Instance, schedule: Schedule) -> Array:
    """Cost of each job's site (job), USD; 0 for a rejected job, inf where the site is no candidate (C2)."""
    candidates = instance.candidates
    cost = np.where(schedule.job_site >= 0, np.inf, 0.0)
    chosen = candidates.site == schedule.job_site[candidates.job]
    np.minimum.at(cost, candidates.job[chosen], candidates.cost_usd[chosen])
    return cost


def _penalty(price: float, amount: float, scale: float) -> float:
    """Price times amount; under an infinite price rounding errors are free and anything more costs inf."""
    if np.isinf(price):
        return 0.0 if amount <= HARD_TOLERANCE * max(1.0, abs(scale)) else np.inf
    return float(price * amount)
