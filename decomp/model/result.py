"""Records that a solve leaves behind: schedule, dual solution, log, status."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from decomp.model.datasets import coordinates_of, dataset, dataset_of_lines
from decomp.model.instance import Array, Instance, Table, var
from decomp.model.strict import InputError
from decomp.model.summary import summary_of_result
from decomp.model.text import gap_rel


class Status(str, Enum):
    """What ended a solve, and so what may be trusted.

    GAP_REACHED: bound and schedule are as close as asked for. LIMIT: time, a signal or lack of progress; there may be a
    bound without a schedule. INFEASIBLE: there is no schedule, and the ray, or HiGHS for the extensive form, proves it.
    FAILED: the solver of the extensive form gave up.
    """

    GAP_REACHED = "gap_reached"
    LIMIT = "limit"
    INFEASIBLE = "infeasible"
    FAILED = "failed"

    @property
    def exit_code(self) -> int:
        """Exit code of the command `solve`."""
        return {Status.GAP_REACHED: 0, Status.LIMIT: 3, Status.INFEASIBLE: 4, Status.FAILED: 5}[self]


@dataclass(frozen=True, eq=False)
class Schedule(Table):
    """A complete schedule; every decision of the model, nothing derived."""

    routed_gpu: Array = var("arc,period", "GPU", "inference load of the arc's stream at the arc's site", low=0)
    unserved_gpu: Array = var("stream,period", "GPU", "inference demand not served", low=0)
    job_site: Array = var("job", "1", "site at which the job runs (-1: rejected)", kind="i8", low=-1)
    job_start: Array = var("job", "1", "first period of the job (-1: rejected)", kind="i8", low=-1)
    pool_gpu: Array = var("pool_arc,period", "GPU", "deferrable load of the arc's pool at the arc's site", low=0)
    pool_shortfall_gpu_h: Array = var("pool", "GPU h", "deferrable work not done", low=0)
    it_power_mw: Array = var("site,period", "MW", "IT power", low=0)
    import_mw: Array = var("site,period", "MW", "grid import", low=0)
    export_mw: Array = var("site,period", "MW", "grid export", low=0)
    renewable_mw: Array = var("site,period", "MW", "wind and sun used or exported", low=0)
    charge_mw: Array = var("site,period", "MW", "battery charging", low=0)
    discharge_mw: Array = var("site,period", "MW", "battery discharging", low=0)
    stored_mwh: Array = var("site,instant", "MWh", "stored energy at the start of each period and at the end", low=0)
    generation_mw: Array = var("generator,period", "MW", "generator output", low=0)
    generator_on: Array = var("generator,period", "1", "generator is on", kind="?")
    device_value: Array = field(
        default_factory=lambda: np.zeros(0),  # of a fleet without devices
        metadata=var("device_variable", "unit", "value of the device's variable", default=0.0, later=True).metadata,
    )


@dataclass(frozen=True, eq=False)
class Tree(Table):
    """Branching on jobs: nodes from the root on, and prices for the leaves, those without children, in that order.

    A node parts its schedules in those in which a job starts inside a box (at a site, no later than some period), and
    all others: the job starts elsewhere or later, or is rejected. `futures` : of each leaf, where the dual has them.
    """

    job: Array = var("node", "1", "job by which the node is split (-1: leaf)", kind="i8", low=-1)
    site: Array = var("node", "1", "site of the box (-1: all)", kind="i8", low=-1)
    last: Array = var("node", "1", "last start inside the box (-1: leaf)", kind="i8", low=-1)
    inside: Array = var("node", "1", "child in which the job starts inside the box (-1: leaf)", kind="i8", low=-1)
    outside: Array = var("node", "1", "child in which it does not (-1: leaf)", kind="i8", low=-1)
    load_price: Array = var("leaf,site,period", "USD/(GPU h)", "price of load at the site")
    carbon_price: Array = var("leaf", "USD/t", "price of carbon", low=0)
    site_lower: Array = var("leaf,site", "USD", "proven lower bound of the site problem at these prices")
    futures: tuple[Futures, ...] = ()


@dataclass(frozen=True, eq=False)
class Blocks(Table):
    """Sites whose lower bounds in form "work" are proved together: only their sum is a bound.

    Sites of one block know of each other that between them no stream is served beyond its demand and no job runs twice.
    """

    number: Array = var("site", "1", "number of the site's block", kind="i8", low=0)


@dataclass(frozen=True, eq=False)
class Futures(Table):
    """Multipliers of what joins scenarios beside jobs and a budget for expected emissions.

    weight : what net cost counts by: the probability, or what a share of CVaR in the objective makes of it.
    carbon_price : of emissions weighted by probability; all the same where the budget is for expected emissions.
    commitment_price : paid for being on, zero for generators that are not committed day-ahead.
    """

    weight: Array = var("scenario", "1", "weight of the scenario's net cost in the bound", low=0, high=1)
    carbon_price: Array = var("scenario", "USD/t", "price of carbon in the scenario", low=0)
    commitment_price: Array = var("generator,period", "USD", "price of the generator's commitment")


@dataclass(frozen=True, eq=False)
class Dual(Table):
    """Multipliers and the proven lower bounds of the sites at exactly these multipliers.

    `form` says which Lagrangian they belong to. "load": prices on the load of each site and period;
    streams, jobs and pools are answered in closed form. "work": prices on demand, jobs and pools;
    each site, or each of `blocks`, decides which of them to take. "whole": the prices and lower bounds of form "load"
    are kept to explain the schedule, but the bound is that of the whole fleet in one MILP. "tree": likewise, but the
    bound is the least of the leaves of `tree`, each proved in form "load" for the schedules that belong to it.
    `futures` : where risk, day-ahead commitments or a budget in each join scenarios; `carbon_price` is then a mean.
    """

    load_price: Array = var("site,period", "USD/(GPU h)", "price of load at the site")
    stream_price: Array = var("stream,period", "USD/(GPU h)", "price of inference")
    job_price: Array = var("job", "USD", "price of running the job")
    pool_price: Array = var("pool", "USD/(GPU h)", "price of deferrable work")
    site_lower: Array = var("site", "USD", "proven lower bound of the site problem at these prices")
    carbon_price: float = 0.0
    form: str = "load"
    tree: Tree | None = None
    blocks: Blocks | None = None
    futures: Futures | None = None


@dataclass(frozen=True, eq=False)
class Allowances(Table):
    """Who may emit how much of a carbon budget, and what a tonne of it is worth.

    A site's allowance is what the schedule emits there, and an equal share of what is left of the budget.
    `abatement_usd_per_t` is the marginal abatement price of the fleet: what one tonne less of budget would cost, by
    the prices of the bound (beside the instance's own price of carbon); NaN if there are none.
    """

    allowance_t: Array = var("site", "t", "part of the carbon budget that the site may emit")
    abatement_usd_per_t: float = np.nan


@dataclass(frozen=True, eq=False)
class Ray(Table):
    """Multipliers with which a sum is positive that no schedule makes so: proof that there is no schedule.

    The sum is the bound of form "load" with every amount of money zero: the sites' lower bounds, the closed-form
    terms of streams, jobs and pools, and minus `carbon_weight` times the budget. A dual ray of the problem.
    """

    load_price: Array = var("site,period", "1/(GPU h)", "weight of load at the site")
    site_lower: Array = var("site", "1", "proven lower bound of the site problem at these weights")
    carbon_weight: float = 0.0


@dataclass(frozen=True)
class Iteration:
    """One line of the log.

    Attributes
    ----------
    iteration : number of the line, from 0.
    phase : step of the method that it belongs to.
    bound, incumbent : best proven lower bound, and net cost of the best schedule (None: none yet), USD.
    wall_seconds : spent on the solve, those before it was resumed included.
    model : value of the master's model, an upper bound of what prices prove with the jobs as they are fixed, USD.
    step : "serious" or "null" step of the bundle method; empty where no prices were asked.
    residual_gpu : load put on sites less load that their columns carry, summed over sites, mean of the periods, GPU.
    carbon_price : of the best prices, USD/t, beside the instance's own.
    columns : answers that the master holds.
    site_seconds, master_seconds : of the iteration, for the sites' answers and for the master.
    recovery_seconds : since the line before, where no prices were asked.
    idle_seconds : that the root waited for other ranks since the line before.
    """

    iteration: int
    phase: str
    bound: float
    incumbent: float | None
    wall_seconds: float
    model: float | None = None
    step: str = ""
    residual_gpu: float = 0.0
    carbon_price: float = 0.0
    columns: int = 0
    site_seconds: float = 0.0
    master_seconds: float = 0.0
    recovery_seconds: float = 0.0
    idle_seconds: float = 0.0


@dataclass(frozen=True)
class Result:
    """What a solve returns.

    Attributes
    ----------
    status : what ended the solve.
    bound : proven lower bound on the net cost of every schedule, USD.
    incumbent : net cost of the schedule, USD; inf without one.
    schedule : every decision; None if none was found.
    dual : multipliers that prove the bound; None for the extensive form.
    log : a record for every line of the log.
    provenance : options, seed, ranks, versions, seconds, and the hash of the instance.
    ray : proof that there is no schedule, of an infeasible instance.
    allowances : the carbon budget divided among the sites, if there are a budget and a schedule.
    """

    status: Status
    bound: float
    incumbent: float
    schedule: Schedule | None
    dual: Dual | None
    log: tuple[Iteration, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    ray: Ray | None = None
    allowances: Allowances | None = None

    def __str__(self) -> str:
        gap = f"gap {self.gap_abs:,.2f} USD = {100 * self.gap_rel:.3f} %" if np.isfinite(self.gap_rel) else "no gap"
        return f"{self.status.value}: incumbent {self.incumbent:,.2f} USD, bound {self.bound:,.2f} USD, {gap}"

    def __repr__(self) -> str:
        """A summary in ten lines."""
        return summary_of_result(self)

    def to_xarray(self, instance: Instance | None = None) -> dict[str, Any]:
        """Schedule, dual solution and log as xarray data sets.

        Parameters
        ----------
        instance : what the result is of; with it, names and times (UTC) are coordinates, and what answers each
            scenario has the scenario as a dimension.

        Returns
        -------
        An `xarray.Dataset` each for "schedule", "dual", "allowances", "ray" (as far as the result has them) and "log",
        with dimensions, `units` and `long_name` of every array.

        Raises
        ------
        ImportError : xarray is not installed.
        InputError : the result says that it is of another instance.
        """
        if instance is not None:
            self.belongs_to(instance)
        coordinates = {} if instance is None else coordinates_of(instance)
        sizes = instance.sizes | dict(instant=instance.n_periods + 1) if instance and instance.n_scenarios else {}
        facts = dict(status=self.status.value, bound=self.bound, incumbent=self.incumbent)
        tables = {name: getattr(self, name) for name in ("schedule", "dual", "allowances", "ray")}
        found = {name: dataset(t, coordinates, facts, sizes) for name, t in tables.items() if t is not None}
        return found | dict(log=dataset_of_lines(Iteration, self.log))

    def belongs_to(self, instance: Instance) -> None:
        """Refuse (InputError) an instance other than the one that the result says it is of."""
        said, own = self.provenance.get("instance_hash", ""), instance.content_hash()
        if said not in ("", own):
            raise InputError(
                f"result: is of another instance: content hash {said[:12]}..., that of this is {own[:12]}..."
            )

    @property
    def gap_abs(self) -> float:
        """incumbent - bound, USD."""
        return self.incumbent - self.bound

    @property
    def gap_rel(self) -> float:
        """(incumbent - bound) / max(abs(incumbent), 1 USD); inf as long as either is missing."""
        return gap_rel(self.bound, self.incumbent)
