"""Whether a schedule keeps every hard rule of the model: the gate that each one passes before it counts.

A few passes of NumPy over a schedule's arrays. A rule may be missed by the rounding of a solver, `MISSED` of the
natural scale of its row; not by more, whoever made the schedule. That scale is made of what flows in the schedule, not
of limits, which may be as wide as one likes. The certificate asks the same with code of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from decomp.model.accounts import emissions_t, load_gpu, starts
from decomp.model.devices import activity, device_mw, device_place
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.model.rounding import MISSED


class Rule(NamedTuple):
    """By how much rows (n,) or (n, T) miss a rule, in units of `scale`; what the rows are: "site", "job", ..."""

    name: str
    rows: str
    excess: Array
    scale: Array | float = 1.0


def broken_rule(instance: Instance, schedule: Schedule) -> str | None:
    """The first hard rule that a schedule breaks, with the place and period where it is missed most; None: none.

    Parameters
    ----------
    instance : validated. schedule : of its shape; anything else in it may be wrong.
    """
    for rules in (_numbers, _jobs, _work, _power, _battery, _generators, _devices, _budget):
        for rule in rules(instance, schedule):
            missed = np.asarray(rule.excess / rule.scale)
            if missed.size and not missed.max() <= MISSED:  # not a number is wrong too
                return _said(instance, rule, missed)
    return None


def _said(instance: Instance, rule: Rule, missed: Array) -> str:
    at = tuple(int(k) for k in np.unravel_index(int(np.argmax(missed)), missed.shape))
    amount = float(np.broadcast_to(rule.excess, missed.shape)[at])
    period = f", period {at[1]}" if len(at) > 1 else ""
    return f"{rule.name}, {_place(instance, rule.rows, at[0])}{period}: {amount:.6g}"


def _place(instance: Instance, rows: str, k: int) -> str:
    """What row k of a table is called, with its site where it has one."""
    if rows == "device_variable":
        return device_place(instance, instance.device_variables, k)
    if rows == "device_row":
        return device_place(instance, instance.device_rows, k)
    sites = dict(arc=instance.arcs.site, pool_arc=instance.pool_arcs.site, generator=instance.generators.site)
    if rows in sites:
        return f"{rows.replace('_', ' ')} {k} at site {str(instance.sites.name[sites[rows][k]])!r}"
    if rows == "fleet":
        return rows
    return f"{rows} {str(getattr(instance, rows + 's').name[k])!r}"


def _numbers(instance: Instance, schedule: Schedule) -> Iterator[Rule]:
    """Every quantity is a number and none is negative."""
    for f in schedule.columns():
        array = getattr(schedule, f.name)
        if array.dtype.kind == "f" and array.size and f.metadata["low"] == 0:
            scale = np.maximum(np.abs(array).max(axis=-1, keepdims=True, initial=0.0), 1.0)
            yield Rule(f"{f.name} below zero", f.metadata["dims"][0], -array, scale)


def _jobs(instance: Instance, schedule: Schedule) -> Iterator[Rule]:
    """(C2): mandatory jobs run, each at a candidate site and inside its window."""
    jobs, candidates, site, start = instance.jobs, instance.candidates, schedule.job_site, schedule.job_start
    runs = site >= 0
    yield Rule("mandatory job rejected (C2)", "job", (jobs.mandatory & ~runs) + 0.0)
    yield Rule("job with a site or a start alone (C2)", "job", (runs != (start >= 0)) + 0.0)
    pairs, n = candidates.job * instance.n_sites + candidates.site, instance.n_sites
    listed = np.isin(np.arange(len(site)) * n + site, pairs)
    yield Rule("job at a site that is no candidate (C2)", "job", (runs & ~(listed & (site < n))) + 0.0)
    yield Rule("job before its release, periods (C2)", "job", np.where(runs, jobs.release - start, 0) + 0.0)
    latest = np.minimum(jobs.deadline, instance.n_periods)
    yield Rule("job beyond its deadline, periods (C2)", "job", np.where(runs, start + jobs.periods - latest, 0) + 0.0)


def _work(instance: Instance, schedule: Schedule) -> Iterator[Rule]:
    """(C1), (C4), (1): work is done or counted as left, hard work is done, no site is overfull."""
    pools, arcs, hours = instance.pools, instance.pool_arcs, instance.period_h
    counted, demand = schedule.unserved_gpu.copy(), instance.demand_gpu
    np.add.at(counted, instance.arcs.stream, schedule.routed_gpu)
    yield Rule("demand not counted, GPU (C1)", "stream", np.abs(counted - demand), np.maximum(demand, 1.0))
    done = np.bincount(arcs.pool, hours * schedule.pool_gpu.sum(axis=1), minlength=instance.n_pools)
    scale, short = np.maximum(pools.work_gpu_h, 1.0), schedule.pool_shortfall_gpu_h
    yield Rule("pool work not counted, GPU h (C4)", "pool", np.abs(done + short - pools.work_gpu_h), scale)
    hard = np.isinf(pools.shortfall_penalty)
    yield Rule("hard pool not worked, GPU h (C4)", "pool", np.where(hard, short, 0.0), scale)
    period = np.arange(instance.n_periods)
    inside = (period >= pools.start[arcs.pool, None]) & (period < pools.end[arcs.pool, None])
    rate = np.where(inside, arcs.rate_gpu[:, None], 0.0)
    yield Rule("pool above its rate, GPU (C4)", "pool_arc", schedule.pool_gpu - rate, np.maximum(rate, 1.0))
    capacity = instance.sites.capacity_gpu
    above = load_gpu(instance, schedule) - capacity
    yield Rule("load above capacity, GPU (1)", "site", above, np.maximum(capacity, 1.0))


def _power(instance: Instance, schedule: Schedule) -> Iterator[Rule]:
    """(2)-(5): the power curve, the balance, wind and sun, the grid."""
    s, bought, sold = instance.sites, schedule.import_mw, schedule.export_mw
    full, needed = (instance.sites.it_power_mw(load) for load in (s.capacity_gpu, load_gpu(instance, schedule)))
    available, used, power = instance.renewable_mw, schedule.renewable_mw, schedule.it_power_mw
    scale = power_scale_mw(instance, schedule)
    yield Rule("IT power below its curve, MW (2)", "site", needed - power, scale)
    most = np.where(s.exact_power_curve[:, None], needed, full)
    yield Rule("IT power above its curve, MW (2)", "site", power - most, scale)
    supply = bought - sold + used + schedule.discharge_mw - schedule.charge_mw
    np.add.at(supply, instance.generators.site, schedule.generation_mw)
    supply += device_mw(instance, schedule)
    yield Rule("power out of balance, MW (4)", "site", np.abs(supply - s.pue * power), scale)
    yield Rule("wind and sun above what there is, MW (4)", "site", used - available, scale)
    wasted = np.where(s.curtailable[:, None], 0.0, available - used)
    yield Rule("curtailed where it may not be, MW (4)", "site", wasted, scale)
    yield Rule("import above its limit, MW (5)", "site", bought - s.import_limit_mw, scale)
    yield Rule("export above its limit, MW (5)", "site", sold - s.export_limit_mw, scale)
    yield Rule("import and export at once, MW (5)", "site", np.minimum(bought, sold), scale)


def power_scale_mw(instance: Instance, schedule: Schedule) -> Array:
    """The largest power at each site in any period (site, 1), MW, at least 1."""
    s = schedule
    largest = np.maximum.reduce(
        [instance.sites.pue * s.it_power_mw, s.import_mw, s.export_mw, s.renewable_mw, s.charge_mw, s.discharge_mw]
    ).max(axis=1, initial=1.0)
    np.maximum.at(largest, instance.generators.site, s.generation_mw.max(axis=1))
    return np.asarray(np.maximum(largest, np.abs(device_mw(instance, s)).max(axis=1))[:, None])


def _battery(instance: Instance, schedule: Schedule) -> Iterator[Rule]:
    """(6), everywhere: a site without a battery has one of nothing."""
    s, hours, stored = instance.sites, instance.period_h, schedule.stored_mwh
    there = (s.battery_mwh > 0)[:, None]
    size, charge, discharge = stored.max(axis=1, initial=1.0)[:, None], schedule.charge_mw, schedule.discharge_mw
    most_in, most_out = (np.where(there, x[:, None], 0.0) for x in (s.charge_mw, s.discharge_mw))
    yield Rule("charging above its limit, MW (6)", "site", charge - most_in, np.maximum(most_in, 1.0))
    yield Rule("discharging above its limit, MW (6)", "site", discharge - most_out, np.maximum(most_out, 1.0))
    both = np.minimum(charge, discharge)
    yield Rule("charging and discharging at once, MW (6)", "site", both, power_scale_mw(instance, schedule))
    begin, least, most, final = (
        np.where(there, x[:, None], 0.0)
        for x in (s.battery_initial_mwh, s.battery_min_mwh, s.battery_mwh, s.battery_final_mwh)
    )
    drawn = discharge / np.where(there, s.discharge_efficiency[:, None], 1.0)
    kept = (1.0 - s.self_discharge_per_h[:, None]) ** hours * stored[:, :-1]
    follows = kept + hours * (s.charge_efficiency[:, None] * charge - drawn)
    yield Rule("stored energy at the start, MWh (6)", "site", np.abs(stored[:, :1] - begin), size)
    yield Rule("stored energy out of balance, MWh (6)", "site", np.abs(stored[:, 1:] - follows), size)
    yield Rule("stored energy below its least, MWh (6)", "site", least - stored[:, 1:], size)
    yield Rule("stored energy above the battery's size, MWh (6)", "site", stored[:, 1:] - most, size)
    yield Rule("stored energy short at the end, MWh (6)", "site", (final - stored[:, -1:])[:, 0], size[:, 0])


def _generators(instance: Instance, schedule: Schedule) -> Iterator[Rule]:
    """(7): output, ramps, minimum times."""
    g, on, output = instance.generators, schedule.generator_on, schedule.generation_mw
    scale, was_on = np.maximum(output.max(axis=1, initial=1.0), g.initial_mw)[:, None], (g.initial_mw > 0)[:, None]
    yield Rule("output above p_max, MW (7)", "generator", output - g.p_max_mw[:, None] * on, scale)
    yield Rule("output below p_min, MW (7)", "generator", g.p_min_mw[:, None] * on - output, scale)
    before = np.column_stack([was_on, on[:, :-1]])
    earlier = np.column_stack([g.initial_mw, output[:, :-1]])
    started, stopped = starts(instance, schedule), before & ~on
    for name, rise, rate, through, at in (
        ("up", output - earlier, g.ramp_up_mw_per_h, before, started),
        ("down", earlier - output, g.ramp_down_mw_per_h, on, stopped),
    ):
        step = np.minimum(rate * instance.period_h, g.p_max_mw)[:, None]
        allowed = np.where(through, step, 0.0) + np.where(at, np.maximum(step, g.p_min_mw[:, None]), 0.0)
        yield Rule(f"ramp {name}, MW (7)", "generator", np.where(np.isinf(rate)[:, None], -1.0, rise - allowed), scale)
    period = np.arange(instance.n_periods)
    for name, begun, least, state, long_so in (
        ("up", started, g.min_up_periods, on, was_on),
        ("down", stopped, g.min_down_periods, ~on, ~was_on),
    ):
        last = np.maximum.accumulate(np.where(begun, period, -instance.n_periods - least[:, None]), axis=1)
        last = np.where((last < 0) & long_so, -g.initial_periods[:, None], last)
        owed = period < last + least[:, None]
        yield Rule(f"minimum {name} time (7)", "generator", (owed & ~state) + 0.0)


def _devices(instance: Instance, schedule: Schedule) -> Iterator[Rule]:
    """Bounds, whole numbers and rows of devices."""
    v, r, value = instance.device_variables, instance.device_rows, schedule.device_value
    yield Rule("below its least value", "device_variable", v.low - value, np.maximum(np.abs(v.low), 1.0))
    yield Rule("above its largest value", "device_variable", value - v.high, np.maximum(np.abs(v.high), 1.0))
    yield Rule("no whole number", "device_variable", np.where(v.integer, np.abs(value - np.round(value)), 0.0))
    total, largest = activity(instance, schedule)
    yield Rule("below its least sum", "device_row", r.low - total, np.maximum(largest, 1.0))
    yield Rule("above its largest sum", "device_row", total - r.high, np.maximum(largest, 1.0))


def _budget(instance: Instance, schedule: Schedule) -> Iterator[Rule]:
    """(C3)."""
    if np.isfinite(instance.carbon_budget_t) and np.isinf(instance.carbon_excess_usd_per_t):
        s, hours = instance.sites, instance.period_h
        grid = s.carbon_intensity * schedule.import_mw + s.export_credit * schedule.export_mw
        over = float(emissions_t(instance, schedule).sum()) - instance.carbon_budget_t
        scale = max(1.0, hours * float(grid.sum()) + instance.carbon_budget_t)
        yield Rule("carbon budget exceeded, t (C3)", "fleet", np.array([over]), scale)
