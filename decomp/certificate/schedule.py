"""Part A: every equation of the model, recomputed for a schedule, and its true net cost.

Nothing is taken from the solver: loads, power, stored energy, starts, peak, emissions and cost are all
derived from the instance and the decisions. Equation numbers are those of docs/model.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.certificate.devices import check_devices, device_power, device_sums
from decomp.certificate.findings import TOLERANCE, Findings
from decomp.model.instance import Array, Instance
from decomp.model.result import Allowances, Dual, Schedule


@dataclass(frozen=True)
class Account:
    """What a schedule comes to: net cost in USD by component, emissions per site in t CO2."""

    components: dict[str, float]
    site_emissions_t: Array

    @property
    def cost(self) -> float:
        return float(sum(self.components.values()))

    @property
    def emissions_t(self) -> float:
        return float(self.site_emissions_t.sum())

    @property
    def scale(self) -> float:
        """Natural scale of the net cost: rounding grows with what was added up, not with what is left."""
        return max(1.0, abs(self.cost), 1e-3 * sum(abs(v) for v in self.components.values()))


def check_schedule(instance: Instance, schedule: Schedule, findings: Findings) -> Account | None:
    """Check (1)-(9) and (C1)-(C4); None if the arrays do not even fit the instance."""
    sizes = {**instance.sizes, "instant": instance.n_periods + 1}
    if not findings.well_formed("schedule", schedule, sizes):
        return None
    _signs(schedule, findings)
    load = np.zeros((instance.n_sites, instance.n_periods))
    _inference(instance, schedule, findings, load)
    placed = _jobs(instance, schedule, findings, load)
    _pools(instance, schedule, findings, load)
    capacity = instance.sites.capacity_gpu
    findings.at_most("(1) load", "site", load, capacity, np.maximum(1.0, capacity), "GPU")
    scale = _power_scale(instance, schedule)
    _power(instance, schedule, findings, load, scale)
    _grid(instance, schedule, findings, scale)
    _battery(instance, schedule, findings, scale)
    starts = _generators(instance, schedule, findings)
    check_devices(instance, schedule, load, findings)
    return _settle(instance, schedule, findings, placed, starts)


def worth_of_units(instance: Instance) -> float:
    """USD that one MW in every period of every site, and one GPU of every stream, are worth at most."""
    s, streams = instance.sites, instance.streams
    tonne = instance.carbon_price_usd_per_t
    bought, sold = np.abs(s.buy_price) + tonne * s.carbon_intensity, np.abs(s.sell_price) + tonne * s.export_credit
    served = instance.n_periods * (streams.revenue + streams.unserved_penalty).sum()
    return float(instance.period_h * (np.maximum(bought, sold).sum() + served) + s.demand_charge.sum())


def check_allowances(
    instance: Instance, allowances: Allowances, dual: Dual | None, account: Account | None, findings: Findings
) -> None:
    """Who may emit how much of the budget (C3): every site keeps its own part, together they keep the budget."""
    allowed, price = allowances.allowance_t, allowances.abatement_usd_per_t
    if account is None or np.isinf(instance.carbon_budget_t):
        findings.add("allowances", "", "in the result", "absent without schedule or budget")
        return
    emitted = account.site_emissions_t
    findings.at_least("(C3) allowance", "site", allowed, emitted, np.maximum(1.0, np.abs(emitted)), "t")
    most = max(instance.carbon_budget_t, account.emissions_t)  # (C3) has judged the emissions themselves
    if not allowed.sum() <= most + TOLERANCE * max(1.0, np.abs(allowed).sum()):
        findings.add("(C3) allowances", "fleet", float(allowed.sum()), f"at most {most:.9g} t")
    worth = np.nan if dual is None else dual.carbon_price
    if not (price == worth or np.isnan(price) and np.isnan(worth)):
        findings.add("allowances.abatement_usd_per_t", "", float(price), f"{worth:.9g} USD/t, as in the dual")


def _signs(schedule: Schedule, findings: Findings) -> None:
    for f in schedule.columns():
        array = np.asarray(getattr(schedule, f.name))
        if array.dtype.kind == "f" and array.size and f.metadata["low"] == 0:
            scale = np.maximum(1.0, np.abs(array).max(axis=-1, keepdims=array.ndim > 1))
            findings.at_least(f"sign of {f.name}", f.metadata["dims"][0], array, 0.0, scale, f.metadata["unit"])


def _inference(instance: Instance, schedule: Schedule, findings: Findings, load: Array) -> None:
    """(C1), and no arc slower than its stream allows; adds the routed load to `load`."""
    arcs, streams = instance.arcs, instance.streams
    np.add.at(load, arcs.site, schedule.routed_gpu)
    met = np.array(schedule.unserved_gpu)
    np.add.at(met, arcs.stream, schedule.routed_gpu)
    demand = instance.demand_gpu
    findings.equal("(C1) demand served and unserved", "stream", met, demand, np.maximum(1.0, demand), "GPU")
    used = (schedule.routed_gpu > TOLERANCE).any(axis=1)
    delay = np.where(used, arcs.round_trip_ms + streams.service_ms[arcs.stream], 0.0)
    limit = streams.latency_limit_ms[arcs.stream]
    findings.at_most("(C1) latency of a used arc", "arc", delay, limit, np.maximum(1.0, limit), "ms")


def _jobs(instance: Instance, schedule: Schedule, findings: Findings, load: Array) -> Array:
    """(C2); adds the jobs' load to `load`. Returns the candidate row of each job, -1 if it does not run."""
    jobs, candidates = instance.jobs, instance.candidates
    site, start = schedule.job_site, schedule.job_start
    end = start + jobs.periods
    findings.equal("(C2) site and start of a rejected job", "job", (site < 0) == (start < 0), True, 1.0)
    findings.at_least("(C2) site and start", "job", np.minimum(site, start), -1, 1.0)
    runs = (site >= 0) & (start >= 0)
    findings.at_least("(C2) mandatory job runs", "job", runs, jobs.mandatory, 1.0)
    findings.at_least("(C2) start not before release", "job", np.where(runs, start, jobs.release), jobs.release, 1.0)
    latest = np.minimum(jobs.deadline, instance.n_periods)
    findings.at_most("(C2) end not after deadline", "job", np.where(runs, end, 0), np.where(runs, latest, 0), 1.0)
    key = candidates.job * instance.n_sites + candidates.site
    order = np.lexsort((candidates.cost_usd, key))
    wanted = np.arange(instance.n_jobs) * instance.n_sites + site
    at = np.minimum(np.searchsorted(key[order], wanted), max(len(order) - 1, 0))
    listed = runs & (site < instance.n_sites)
    listed[listed] = len(order) > 0 and key[order][at[listed]] == wanted[listed]
    for j in np.flatnonzero(runs & ~listed):
        name = str(instance.sites.name[site[j]]) if site[j] < instance.n_sites else str(site[j])
        findings.add("(C2) candidate site", str(findings.names["job"][j]), f"'{name}'", "one of its candidates")
    inside = listed & (start < instance.n_periods) & (end <= instance.n_periods)
    change = np.zeros((instance.n_sites, instance.n_periods + 1))
    np.add.at(change, (site[inside], start[inside]), jobs.gpus[inside])
    np.add.at(change, (site[inside], end[inside]), -jobs.gpus[inside])
    load += change.cumsum(axis=1)[:, :-1]
    placed = np.full(instance.n_jobs, -1)
    placed[listed] = order[at[listed]]
    return placed


def _pools(instance: Instance, schedule: Schedule, findings: Findings, load: Array) -> None:
    """(C4); adds the deferrable load to `load`."""
    pools, arcs, done = instance.pools, instance.pool_arcs, np.array(schedule.pool_shortfall_gpu_h)
    np.add.at(load, arcs.site, schedule.pool_gpu)
    np.add.at(done, arcs.pool, instance.period_h * schedule.pool_gpu.sum(axis=1))
    scale = np.maximum(1.0, pools.work_gpu_h)
    findings.equal("(C4) work done and shortfall", "pool", done, pools.work_gpu_h, scale, "GPU h")
    must = np.where(np.isinf(pools.shortfall_penalty), 0.0, np.inf)
    findings.at_most("(C4) shortfall", "pool", schedule.pool_shortfall_gpu_h, must, scale, "GPU h")
    t = np.arange(instance.n_periods)
    inside = (t >= pools.start[arcs.pool, None]) & (t < pools.end[arcs.pool, None])
    rate = np.where(inside, arcs.rate_gpu[:, None], 0.0)
    findings.at_most("(C4) rate in the window", "pool_arc", schedule.pool_gpu, rate, np.maximum(1.0, rate), "GPU")


def _curve(instance: Instance, load: Array) -> Array:
    """max_m (a_m L + b_m), MW, (site, period)."""
    sites = instance.sites
    slope, intercept = sites.power_slope_mw_per_gpu, sites.power_intercept_mw
    value = slope[:, :1] * load + intercept[:, :1]
    for m in range(1, slope.shape[1]):
        value = np.maximum(value, slope[:, m, None] * load + intercept[:, m, None])
    return value


def _power_scale(instance: Instance, schedule: Schedule) -> Array:
    """Natural scale of a site's power rows, MW, (site, 1): the most that flows, not may flow; at least 1 MW."""
    flows = [getattr(schedule, f"{name}_mw") for name in ("import", "export", "renewable", "charge", "discharge")]
    flows += [instance.sites.pue * schedule.it_power_mw, np.abs(device_power(instance, schedule))]
    scale = np.max([flow.max(axis=1, initial=1.0) for flow in flows], axis=0)
    np.maximum.at(scale, instance.generators.site, schedule.generation_mw.max(axis=1))
    return np.asarray(scale[:, None])


def _power(instance: Instance, schedule: Schedule, findings: Findings, load: Array, scale: Array) -> None:
    """(2), (3), (4)."""
    sites, generators = instance.sites, instance.generators
    power, curve = schedule.it_power_mw, _curve(instance, load)
    findings.at_least("(2) IT power above the curve", "site", power, curve, scale, "MW")
    exact = np.broadcast_to(sites.exact_power_curve[:, None], power.shape)
    highest = np.where(exact, curve, _curve(instance, sites.capacity_gpu))
    findings.at_most("(2) IT power at most the exact curve or full load", "site", power, highest, scale, "MW")
    net_import, from_battery = schedule.import_mw - schedule.export_mw, schedule.discharge_mw - schedule.charge_mw
    supply = net_import + schedule.renewable_mw + from_battery
    np.add.at(supply, generators.site, schedule.generation_mw)
    supply += device_power(instance, schedule)
    findings.equal("(3,4) power balance", "site", supply, sites.pue * power, scale, "MW")
    available = instance.renewable_mw
    findings.at_most("(4) wind and sun", "site", schedule.renewable_mw, available, scale, "MW")
    least = np.where(sites.curtailable[:, None], 0.0, available)
    findings.at_least("(4) wind and sun without curtailment", "site", schedule.renewable_mw, least, scale, "MW")


def _grid(instance: Instance, schedule: Schedule, findings: Findings, scale: Array) -> None:
    """(5)."""
    sites, bought, sold = instance.sites, schedule.import_mw, schedule.export_mw
    findings.at_most("(5) import limit", "site", bought, sites.import_limit_mw, scale, "MW")
    findings.at_most("(5) export limit", "site", sold, sites.export_limit_mw, scale, "MW")
    findings.at_most("(5) import and export at once", "site", np.minimum(bought, sold), 0.0, scale, "MW")


def _battery(instance: Instance, schedule: Schedule, findings: Findings, scale: Array) -> None:
    """(6); a site without a battery may neither charge nor discharge nor store."""
    sites, step = instance.sites, instance.period_h
    has = sites.battery_mwh > 0
    stored, charge, discharge = schedule.stored_mwh, schedule.charge_mw, schedule.discharge_mw
    size = stored.max(axis=1, initial=1.0)[:, None]
    for name, flow, limit in (("charging", charge, sites.charge_mw), ("discharging", discharge, sites.discharge_mw)):
        most = np.where(has, limit, 0.0)[:, None]
        findings.at_most(f"(6) {name} limit", "site", flow, most, np.maximum(1.0, most), "MW")
    findings.at_most("(6) charge and discharge at once", "site", np.minimum(charge, discharge), 0.0, scale, "MW")
    initial = np.where(has, sites.battery_initial_mwh, 0.0)
    findings.equal("(6) stored energy at the start", "site", stored[:, :1], initial[:, None], size, "MWh")
    keep = (1.0 - sites.self_discharge_per_h[:, None]) ** step
    drawn = discharge / np.where(has, sites.discharge_efficiency, 1.0)[:, None]
    ahead = keep * stored[:, :-1] + step * (sites.charge_efficiency[:, None] * charge - drawn)
    findings.equal("(6) stored energy at the end of the period", "site", stored[:, 1:], ahead, size, "MWh")
    least, most = (np.where(has, x, 0.0)[:, None] for x in (sites.battery_min_mwh, sites.battery_mwh))
    findings.at_least("(6) least stored energy", "site", stored[:, 1:], least, size, "MWh")
    findings.at_most("(6) largest stored energy", "site", stored[:, 1:], most, size, "MWh")
    final = np.where(has, sites.battery_final_mwh, 0.0)
    findings.at_least("(6) stored energy at the end", "site", stored[:, -1], final, size[:, 0], "MWh")


def _generators(instance: Instance, schedule: Schedule, findings: Findings) -> Array:
    """(7). Returns the starts (generator, period)."""
    g, step, n_periods = instance.generators, instance.period_h, instance.n_periods
    output, on = schedule.generation_mw, schedule.generator_on
    scale = np.maximum(output.max(axis=1, initial=1.0), g.initial_mw)[:, None]
    findings.at_most("(7) output at most p_max when on", "generator", output, g.p_max_mw[:, None] * on, scale, "MW")
    findings.at_least("(7) output at least p_min when on", "generator", output, g.p_min_mw[:, None] * on, scale, "MW")
    was_on = g.initial_mw > 0
    before = np.column_stack([was_on, on[:, :-1]])
    start, stop = on & ~before, ~on & before
    t = np.arange(n_periods)
    for name, begun, least, now in (("up", start, g.min_up_periods, on), ("down", stop, g.min_down_periods, ~on)):
        total = np.column_stack([np.zeros(len(g.site)), begun.cumsum(axis=1)])
        window = np.maximum(t + 1 - least[:, None], 0)
        recent = total[:, 1:] - np.take_along_axis(total, window, axis=1)
        findings.at_most(f"(7) minimum {name} time", "generator", recent, now, 1.0)
        held = (was_on == (name == "up"))[:, None] & (t < (least - g.initial_periods)[:, None])
        findings.at_least(f"(7) minimum {name} time from before the start", "generator", now, held, 1.0)
    previous = np.column_stack([g.initial_mw, output[:, :-1]])
    for name, rise, rate, stays, changes in (
        ("up", output - previous, g.ramp_up_mw_per_h, before, start),
        ("down", previous - output, g.ramp_down_mw_per_h, on, stop),
    ):
        free = np.isinf(rate)[:, None]
        ramp = np.minimum(np.where(np.isinf(rate), 0.0, rate) * step, g.p_max_mw)[:, None]
        most = np.where(free, np.inf, ramp * stays + np.maximum(g.p_min_mw[:, None], ramp) * changes)
        findings.at_most(f"(7) ramp {name}", "generator", rise, most, scale, "MW")
    return start


def _settle(instance: Instance, schedule: Schedule, findings: Findings, placed: Array, starts: Array) -> Account:
    """(8), (9), (C3) and the net cost, as the model states it."""
    s, g, step = instance.sites, instance.generators, instance.period_h
    bought, sold, output = schedule.import_mw, schedule.export_mw, schedule.generation_mw
    emitted = step * (s.carbon_intensity * bought - s.export_credit * sold).sum(axis=1)
    np.add.at(emitted, g.site, step * g.emission_t_per_mwh * output.sum(axis=1))
    of_devices, tonnes = device_sums(instance, schedule)
    emitted += tonnes
    over = emitted.sum() - instance.carbon_budget_t
    gross = step * (s.carbon_intensity * bought + s.export_credit * sold).sum() + instance.carbon_budget_t
    if not over <= TOLERANCE * max(1.0, gross) and np.isinf(instance.carbon_excess_usd_per_t):
        findings.add("(C3) carbon budget", "fleet", float(emitted.sum()), f"at most {instance.carbon_budget_t:.9g} t")
    excess = max(0.0, over) if np.isfinite(instance.carbon_excess_usd_per_t) else 0.0
    excess_price = instance.carbon_excess_usd_per_t if excess else 0.0
    arcs, jobs, runs = instance.arcs, instance.jobs, placed >= 0
    peak = np.maximum(0.0, bought.max(axis=1) - s.peak_so_far_mw)
    penalty = np.where(np.isinf(instance.pools.shortfall_penalty), 0.0, instance.pools.shortfall_penalty)
    fuel = step * (g.fuel_usd_per_mwh[:, None] * output + g.no_load_usd_per_h[:, None] * schedule.generator_on)
    components = dict(
        energy_bought=step * (s.buy_price * bought).sum(),
        energy_sold=-step * (s.sell_price * sold).sum(),
        demand_charge=(s.demand_charge * peak).sum(),
        wear=step * (s.wear_usd_per_mwh[:, None] * schedule.discharge_mw).sum(),
        generation=fuel.sum() + (g.start_usd[:, None] * starts).sum(),
        **(dict(devices=of_devices) if len(instance.devices.site) else {}),
        routing=step * (arcs.cost[:, None] * schedule.routed_gpu).sum(),
        inference_revenue=-step * (instance.streams.revenue[arcs.stream, None] * schedule.routed_gpu).sum(),
        unserved=step * (instance.streams.unserved_penalty[:, None] * schedule.unserved_gpu).sum(),
        job_value=-jobs.value_usd[runs].sum(),
        job_cost=instance.candidates.cost_usd[placed[runs]].sum(),
        shortfall=(penalty * schedule.pool_shortfall_gpu_h).sum(),
        carbon_price=instance.carbon_price_usd_per_t * emitted.sum(),
        carbon_excess=excess_price * excess,
    )
    return Account({name: float(value) for name, value in components.items()}, emitted)
