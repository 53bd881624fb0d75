"""One site with deferrable work, planned over a window and operated window after window.

The site is that of the package: `equations.add_site` with the pools as further columns, which is the extensive form
(1)-(9), (C1), (C4) of an instance of one site without jobs, some hundred times faster to build. It has neither
battery nor generator and may not curtail, so that its load decides everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from decomp.lp.block import Block, Model
from decomp.lp.highs import Effort, run_lp, safe_bound, solve_integral, to_highs
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.model.scenarios import weighted
from decomp.site.equations import add_site

OPTIMAL = Effort(rel_gap=0.0, nodes=1_000_000, seconds=np.inf)
ON_CURVE_MW = 1e-6


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """An optimal plan of a window: deferrable load (pool, period), GPU; net cost and what proves it, USD.

    `relaxed` is a proven lower bound, the optimum when the power curve may be exceeded (2); it is the net cost where
    that does not pay. `burnt_mwh` is what the relaxed plan consumes above the curve.
    """

    pool_gpu: Array
    cost: float
    relaxed: float
    burnt_mwh: float


@dataclass(frozen=True, eq=False)
class Rolled:
    """What came of a rolling run: the schedule over all its periods, and every window's plan."""

    schedule: Schedule
    plans: tuple[WindowPlan, ...]


Forecast = Callable[[Instance, int, int], Instance]  # the instance, now, end -> the instance as it is expected now
Forecasts = Callable[[Instance, int, int], Sequence[Instance]]  # ... -> as it may become, all equally likely


def cut(instance: Instance, start: int, end: int) -> Instance:
    """Periods [start, end) of an instance, with what is left of the pools that are due in them."""
    pools = instance.pools
    due = due_in(instance, start, end)
    arcs = instance.pool_arcs.take(np.flatnonzero(np.isin(instance.pool_arcs.pool, due)))
    return replace(
        instance,
        sites=instance.sites.between(start, end),
        streams=instance.streams.between(start, end),
        overrides=instance.overrides.between(start, end),
        pools=replace(pools.take(due), start=np.maximum(pools.start[due] - start, 0), end=pools.end[due] - start),
        pool_arcs=replace(arcs, pool=np.searchsorted(due, arcs.pool)),
    )


def due_in(instance: Instance, start: int, end: int) -> Array:
    """Numbers of the pools that are due in periods [start, end); later ones are not planned yet."""
    return np.flatnonzero((instance.pools.end > start) & (instance.pools.end <= end))


def plan(instance: Instance) -> WindowPlan:
    """The cheapest way to do the work of the pools, to proven optimality.

    A linear program with the power curve (2) as an inequality comes first. Where its plan stays on the curve it is
    optimal; otherwise the binaries of the exact curve decide.
    """
    model = _model(instance, exact=False)
    solver = to_highs(model)
    if not run_lp(solver):
        raise ArithmeticError(f"window at {instance.start_utc}: {solver.getModelStatus()}")
    solution = solver.getSolution()
    x = np.clip(solution.col_value, model.low, model.high)
    relaxed = safe_bound(model, model.cost, np.array(solution.row_dual))
    above = x[model.columns["it_power"]] - curve(instance, x[model.columns["load"]])
    burnt = float(instance.period_h * (instance.sites.pue[0] * np.maximum(above, 0.0)).sum())
    if instance.sites.exact_power_curve[0] and (above > ON_CURVE_MW).any():
        model = _model(instance, exact=True)
        exact = solve_integral(model, OPTIMAL)
        if exact is None:
            raise ArithmeticError(f"window at {instance.start_utc}: no plan on the power curve")
        x = exact
    pool_gpu = np.zeros((instance.n_pools, instance.n_periods))
    for p in range(instance.n_pools):
        pool_gpu[p, instance.pools.start[p] : instance.pools.end[p]] = x[model.columns[f"pool{p}"]]
    return WindowPlan(pool_gpu, float(model.cost @ x), relaxed, burnt)


def _model(instance: Instance, exact: bool) -> Model:
    """The site with its load tied to streams (C1) and pools (C4); unserved work is not offered: there is room."""
    sites = replace(instance.sites, exact_power_curve=np.array([exact]))
    block = Block()
    _add_window(block, replace(instance, sites=sites), "")
    return block.finish()


def _add_window(block: Block, instance: Instance, prefix: str) -> None:
    hours = instance.period_h
    add_site(block, instance.microgrids, 0, hours, prefix)
    fixed = instance.demand_gpu.sum(axis=0)
    carry = block.add_rows(fixed, fixed, (1.0, block.columns[prefix + "load"]))
    for p, (start, end) in enumerate(zip(instance.pools.start, instance.pools.end, strict=True)):
        rate = instance.pool_arcs.rate_gpu[instance.pool_arcs.pool == p].sum()
        column = block.add_columns(f"{prefix}pool{p}", end - start, 0.0, rate)
        block.add_entries(carry[start:end], column, -1.0)
        done = block.add_rows(instance.pools.work_gpu_h[p], instance.pools.work_gpu_h[p], (hours, column[:1]))
        block.add_entries(np.repeat(done, end - start - 1), column[1:], hours)


def plan_among(futures: Sequence[Instance], first: int) -> WindowPlan:
    """The deferrable load of the first periods that is best over equally likely futures of a window.

    In the first `first` periods all futures have the same deferrable load, later each has its own. A linear program,
    with the power curve (2) as an inequality; of later periods the plan is that of the first future.
    """
    block, share = Block(), 1.0 / len(futures)
    for s, future in enumerate(futures):
        sites = replace(future.sites, exact_power_curve=np.array([False]))
        _add_window(block, replace(future, sites=weighted(sites, np.array([share]))), f"s{s}_")
    pools = futures[0].pools
    for p, (start, end) in enumerate(zip(pools.start, pools.end, strict=True)):
        common = slice(0, max(min(first, int(end)) - int(start), 0))
        for s in range(1, len(futures)):
            same = block.columns[f"s{s}_pool{p}"][common], block.columns[f"s0_pool{p}"][common]
            if len(same[0]):
                block.add_rows(0.0, 0.0, (1.0, same[0]), (-1.0, same[1]))
    model = block.finish()
    solver = to_highs(model)
    if not run_lp(solver):
        raise ArithmeticError(f"window at {futures[0].start_utc}: {solver.getModelStatus()}")
    solution = solver.getSolution()
    x = np.clip(solution.col_value, model.low, model.high)
    pool_gpu = np.zeros((futures[0].n_pools, futures[0].n_periods))
    for p in range(futures[0].n_pools):
        pool_gpu[p, pools.start[p] : pools.end[p]] = x[model.columns[f"s0_pool{p}"]]
    lower = safe_bound(model, model.cost, np.array(solution.row_dual))
    return WindowPlan(pool_gpu, float(model.cost @ x), lower, 0.0)


def curve(instance: Instance, load: Array) -> Array:
    """IT power at a load (period), MW (2)."""
    return np.asarray(instance.sites.it_power_mw(load)[0])


def operate(instance: Instance, pool_gpu: Array) -> Schedule:
    """What happens when the pools run so: power on the curve, all wind taken, the grid makes up the rest."""
    load = instance.demand_gpu.sum(axis=0) + pool_gpu.sum(axis=0)
    power = curve(instance, load)[None, :]
    drawn = instance.sites.pue * power - instance.renewable_mw
    none = np.zeros_like(power)
    return Schedule(
        routed_gpu=instance.demand_gpu[instance.arcs.stream],
        unserved_gpu=np.zeros_like(instance.demand_gpu),
        job_site=np.zeros(0),
        job_start=np.zeros(0),
        pool_gpu=pool_gpu[instance.pool_arcs.pool],
        pool_shortfall_gpu_h=np.zeros(instance.n_pools),
        it_power_mw=power,
        import_mw=np.maximum(drawn, 0.0),
        export_mw=np.maximum(-drawn, 0.0),
        renewable_mw=instance.renewable_mw,
        charge_mw=none,
        discharge_mw=none,
        stored_mwh=np.zeros((1, instance.n_periods + 1)),
        generation_mw=np.zeros((0, instance.n_periods)),
        generator_on=np.zeros((0, instance.n_periods)),
    )


def roll(
    instance: Instance, every: int, ahead: int, forecast: Forecast | None = None, futures: Forecasts | None = None
) -> Rolled:
    """Plan `ahead` periods, do the first `every` of them, plan again; perfect foresight unless there is a forecast.

    With `futures` a plan is the best over several of them.

    What passes from window to window: the deferrable work that is left, and the peak of imports that is already to be
    paid for (8).
    """
    n = instance.n_periods
    done = np.zeros((instance.n_pools, n))
    peak = float(instance.sites.peak_so_far_mw[0])
    plans = []
    for now in range(0, n, every):
        end = min(now + ahead, n)
        left = np.maximum(instance.pools.work_gpu_h - instance.period_h * done.sum(axis=1), 0.0)

        expected = futures(instance, now, end) if futures else [forecast(instance, now, end) if forecast else instance]
        windows = []
        for future in expected:
            window = cut(replace(future, pools=replace(instance.pools, work_gpu_h=left)), now, end)
            windows.append(replace(window, sites=replace(window.sites, peak_so_far_mw=np.array([peak]))))
        plans.append(plan_among(windows, every) if futures else plan(windows[0]))
        step = min(every, end - now)
        done[due_in(instance, now, end), now : now + step] = plans[-1].pool_gpu[:, :step]
        drawn = operate(instance, done).import_mw[0, now : now + step]
        peak = max(peak, float(drawn.max()))
    return Rolled(operate(instance, done), tuple(plans))
