"""Why a plan is as it is: what its jobs, its inference and its equipment are worth at the prices of the bound.

The prices of load hold everything that a GPU-hour costs its site: energy, carbon, and the scarcity of power and GPUs.
A run of a job is worth its value less transfer and load at these prices; inference costs the cheapest arc; what one
more unit of equipment is worth is a dual value of the site's relaxation. All are marginal values of the relaxed
problem: they hold for a little more or less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import highspy
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from decomp.lp.block import Model
from decomp.lp.highs import run_lp, to_highs
from decomp.model.accounts import load_gpu
from decomp.model.instance import Array, InputError, Instance, Microgrids, Table, var
from decomp.model.result import Dual, Result, Schedule
from decomp.model.rounding import FIT
from decomp.model.scenarios import expand
from decomp.site.relaxation import relaxed_site

STEP = 0.01  # of a GPU, MW or MWh
EQUIPMENT = dict(
    gpu=("capacity_gpu",),
    import_mw=("import_limit_mw",),
    battery_mwh=("battery_mwh",),
    battery_mw=("charge_mw", "discharge_mw"),
)


@dataclass(frozen=True)
class Choice:
    """A run of a job, or its rejection (site and start -1); USD. `room`: the other jobs leave GPUs for it."""

    site: int
    start: int
    value: float = 0.0
    transfer: float = 0.0
    load: float = 0.0
    room: bool = True

    @property
    def net(self) -> float:
        """Value less transfer and load at the prices: what the fleet gains by it at the margin, USD."""
        return self.value - self.transfer - self.load


@dataclass(frozen=True, eq=False)
class MarginalInference(Table):
    """What one more GPU-hour of inference costs, before its revenue, and where it would go."""

    price: Array = var("stream,period", "USD/(GPU h)", "load and routing at the cheapest site, at most what it forgoes")
    site: Array = var("stream,period", "1", "site that sets the price (-1: not serving it is cheaper)", kind="i8")


@dataclass(frozen=True, eq=False)
class Worth(Table):
    """What one more unit of equipment, in every period, would lower the net cost by; NaN where there is none."""

    gpu: Array = var("site", "USD/GPU", "one more GPU", missing=True)
    import_mw: Array = var("site", "USD/MW", "one more MW of grid import", missing=True)
    battery_mwh: Array = var("site", "USD/MWh", "one more MWh of battery", missing=True)
    battery_mw: Array = var("site", "USD/MW", "one more MW of charging and discharging", missing=True)


@dataclass(frozen=True, eq=False)
class RowWorth(Table):
    """What one more unit of the right-hand side of a device's row would lower the net cost by."""

    value: Array = var("device_row", "USD/unit", "one more unit of the row's sides", missing=True)


@dataclass(frozen=True, eq=False)
class Explanation:
    """All of it. `choices` has one list a job, its own run first, then the others, best first.

    `carbon` is what one more tonne of budget would be worth, USD/t (0 without a budget).
    """

    choices: tuple[list[Choice], ...]
    inference: MarginalInference
    worth: Worth
    carbon: float
    rows: RowWorth


def explain(instance: Instance, result: Result) -> Explanation:
    """Explain the schedule of a result by the prices of its bound.

    All values are marginal ones of the relaxed problem: they hold for a little more or less. With scenarios, a job
    pays the sum of their prices, each weighted by probability, and all else is the expected value over them; `result`
    and `instance` of one scenario alone (`decomp.model.scenarios.in_scenario`) are explained by its own prices.

    Parameters
    ----------
    instance : the fleet.
    result : of this instance, with a schedule and prices.

    Returns
    -------
    Alternatives of every job, the price of inference, and what more equipment and budget would be worth, USD.

    Raises
    ------
    InputError : there is no schedule, or there are no prices (the extensive form has none).
    """
    if result.schedule is None:
        raise InputError(f"result.schedule: there is none, the result's status is {result.status.value}")
    if result.dual is None:
        raise InputError("result.dual: there is none, the MILP of a whole fleet has no prices; --method lagrangian has")
    fleet, dual = expand(instance), result.dual
    priced, found = inference(fleet, dual.load_price), worth(fleet, dual)
    return Explanation(
        choices=job_choices(fleet, result.schedule, dual.load_price),
        inference=MarginalInference(price=_summed(fleet, priced.price), site=_usual(fleet, priced.site)),
        worth=Worth(**{f.name: _summed(fleet, getattr(found, f.name)) for f in Worth.columns()}),
        carbon=dual.carbon_price,
        rows=RowWorth(_summed(fleet, row_worth(fleet, dual).value)),
    )


def _summed(fleet: Instance, values: Array) -> Array:
    """Sum over scenarios of values whose rows are of all of them; NaN where there is nothing in any."""
    by_scenario = values.reshape(fleet.copies, -1, *values.shape[1:])
    return np.where(np.isnan(by_scenario).all(axis=0), np.nan, np.nansum(by_scenario, axis=0))


def _usual(fleet: Instance, site: Array) -> Array:
    """The site (stream, period) that is one in most scenarios by probability, of rows of all of them."""
    places = np.where(site >= 0, site % fleet.n_places, -1).reshape(fleet.copies, -1, fleet.n_periods)
    agreeing = [np.tensordot(fleet.expected(fleet.copies), places == one, axes=1) for one in places]
    return np.take_along_axis(places, np.argmax(agreeing, axis=0)[None], axis=0)[0]


def job_choices(fleet: Instance, schedule: Schedule, price: Array) -> tuple[list[Choice], ...]:
    """Of every job: its own run, the best one at each other site, the best other start at its site, rejection.

    `fleet` : with its scenarios side by side. `price` (site, period) of load, USD/(GPU h); a job pays that of its site
    in all scenarios.
    """
    n = fleet.n_places
    paid = np.column_stack([np.zeros(n), np.cumsum(fleet.period_h * _summed(fleet, price), axis=1)])
    idle = replace(schedule, routed_gpu=0.0 * schedule.routed_gpu, pool_gpu=0.0 * schedule.pool_gpu)
    capacity = fleet.least_capacity
    room = capacity - load_gpu(fleet, idle)[:n]
    return tuple(_choices(fleet, schedule, paid, capacity, room, j) for j in range(fleet.n_jobs))


def _choices(instance: Instance, schedule: Schedule, paid: Array, capacity: Array, room: Array, j: int) -> list[Choice]:
    jobs, candidates = instance.jobs, instance.candidates
    gpus, length, value = float(jobs.gpus[j]), int(jobs.periods[j]), float(jobs.value_usd[j])
    own_site, own_start = int(schedule.job_site[j]), int(schedule.job_start[j])
    starts, fits = np.arange(jobs.release[j], jobs.deadline[j] - length + 1), gpus - FIT * (1.0 + gpus)
    own, others = Choice(-1, -1), [] if jobs.mandatory[j] or own_site < 0 else [Choice(-1, -1)]
    for k in np.flatnonzero(candidates.job == j):
        i = int(candidates.site[k])
        free = room[i].copy()
        if i == own_site:
            free[own_start : own_start + length] += gpus
        least = sliding_window_view(np.stack([capacity[i], free]), length, axis=1).min(axis=2)
        load = gpus * (paid[i, starts + length] - paid[i, starts])
        runs = {
            int(t): Choice(i, int(t), value, float(candidates.cost_usd[k]), float(cost), bool(least[1, t] >= fits))
            for t, cost in zip(starts, load, strict=True)
            if least[0, t] >= fits
        }
        if i == own_site:
            own = runs.pop(own_start)
        others += [max(runs.values(), key=lambda run: run.net)] if runs else []
    return [own, *sorted(others, key=lambda run: -run.net)]


def inference(instance: Instance, price: Array) -> MarginalInference:
    """The cheapest arc of every stream and period at the prices of load (site, period), USD/(GPU h)."""
    arcs, streams = instance.arcs, instance.streams
    unit = arcs.cost[:, None] + price[arcs.site]
    cost = np.repeat((streams.unserved_penalty + streams.revenue)[:, None], instance.n_periods, axis=1)
    site = np.full(cost.shape, -1)
    for d in range(instance.n_streams):
        own = np.flatnonzero(arcs.stream == d)
        if len(own):
            best = own[unit[own].argmin(axis=0)]
            least = unit[own].min(axis=0)
            site[d] = np.where(least <= cost[d], arcs.site[best], -1)
            cost[d] = np.minimum(least, cost[d])
    return MarginalInference(price=cost, site=site)


def worth(instance: Instance, dual: Dual) -> Worth:
    """One linear program a site: its relaxation at the prices of load and carbon."""
    carbon = instance.carbon_price_usd_per_t + dual.carbon_price
    rows = []
    for i in range(instance.n_sites):
        site = instance.microgrids.take(np.array([i]))
        rows.append(site_worth(site, instance.period_h, dual.load_price[i], carbon))
    return Worth(**{name: np.array([row[name] for row in rows]) for name in EQUIPMENT})


def row_worth(instance: Instance, dual: Dual) -> RowWorth:
    """Dual values of the rows of devices in the sites' relaxations, their signs turned; NaN where a site has none."""
    carbon, value = instance.carbon_price_usd_per_t + dual.carbon_price, np.full(len(instance.device_rows.low), np.nan)
    owner = instance.devices.site[instance.device_rows.device]
    for i in np.unique(owner):
        model = _priced(instance.microgrids.take(np.array([i])), instance.period_h, dual.load_price[i], carbon)
        solver = to_highs(model)
        if run_lp(solver):
            value[owner == i] = 0.0 - np.array(solver.getSolution().row_dual)[model.rows["device"]]
    return RowWorth(value)


def _priced(grids: Microgrids, period_h: float, load_price: Array, carbon: float) -> Model:
    """The relaxation of the only site at prices of load, USD/(GPU h), and carbon, USD/t."""
    model = relaxed_site(grids, 0, period_h)
    cost = model.cost + carbon * model.emission
    for name, where in model.columns.items():
        if name.startswith("load"):
            cost[where] -= period_h * load_price
    return replace(model, cost=cost)


def site_worth(grids: Microgrids, period_h: float, load_price: Array, carbon: float) -> dict[str, float]:
    """What a little more of each kind of equipment saves one site, per unit; all its duals kept.

    Parameters
    ----------
    grids : this site alone.
    load_price : what it is paid for load (period,), USD/(GPU h).
    carbon : price of emissions, USD/t.
    """
    site, model = grids.sites, _priced(grids, period_h, load_price, carbon)
    solver = to_highs(model)
    if not run_lp(solver):
        return dict.fromkeys(EQUIPMENT, np.nan)
    found = {}
    for name, columns in EQUIPMENT.items():
        present = {column: getattr(site, column) for column in columns}
        there = all(v.any() for v in present.values()) and (site.battery_mwh[0] > 0 or "battery" not in name)
        more = {column: np.where(v > 0, v + STEP, v) for column, v in present.items()}
        larger = relaxed_site(replace(grids, sites=replace(site, **more)), 0, period_h)
        same = there and larger.matrix.shape == model.matrix.shape
        found[name] = -_rise(model, larger, solver.getSolution()) / STEP if same else np.nan
    return found


def _rise(model: Model, larger: Model, solution: highspy.HighsSolution) -> float:
    """First-order change of an optimal cost with the model's sides, bounds and coefficients: the Lagrangian's."""
    x, rows, columns = (np.array(v) for v in (solution.col_value, solution.row_dual, solution.col_dual))
    with np.errstate(invalid="ignore"):  # infinite limits stay infinite
        sides = np.where(rows > 0, larger.row_low - model.row_low, larger.row_high - model.row_high)
        bounds = np.where(columns > 0, larger.low - model.low, larger.high - model.high)
    change = rows @ (np.nan_to_num(sides) - (larger.matrix - model.matrix) @ x)
    return float(change + columns @ np.nan_to_num(bounds))
