"""The coupling rows (C1)-(C4), which Lagrangian relaxation dualises, as flat arrays for the kernels.

Prices inside the solver are per GPU and *period*; users read USD per GPU-hour. The conversion is
the period length and happens here and where a result is written, nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np

from decomp.bound import job_kernels, stream_kernels
from decomp.bound.multipliers import Multipliers, Risk
from decomp.model.instance import Array, Instance
from decomp.model.rounding import with_exact_fits

FREE, REJECTED = job_kernels.FREE, -1


class StreamRows(NamedTuple):
    """Streams (C1): demand (D, T); arcs of stream d are ptr[d]:ptr[d+1]."""

    demand: Array
    unserved: Array
    ptr: Array
    site: Array
    cost: Array


class JobRows(NamedTuple):
    """Jobs (C2): candidates of job j are ptr[j]:ptr[j+1]; starts of candidate k are release[j] + (0..).

    `allowed[first[k] + n]` says whether candidate k may start n periods after the release.
    """

    gpus: Array
    length: Array
    release: Array
    n_starts: Array
    optional: Array
    ptr: Array
    site: Array
    cost: Array
    first: Array
    allowed: Array


class PoolRows(NamedTuple):
    """Pools (C4): work in GPU-periods; arcs of pool p are ptr[p]:ptr[p+1]."""

    work: Array
    start: Array
    end: Array
    penalty: Array
    ptr: Array
    site: Array
    rate: Array


R = TypeVar("R", StreamRows, PoolRows)


def hourly(price: Array, period_h: float) -> Array:
    """Prices in USD per GPU-hour, the unit of results, from prices in USD per GPU and period, the solver's unit.

    In the solver's unit a GPU in a period costs its price, so kernels, master and site problems need no period length.
    """
    return price / period_h


@dataclass(frozen=True, eq=False)
class Coupling:
    """Work, carbon budget and capacities: the data of the master, without the sites' energy data.

    Attributes
    ----------
    period_h : hours.
    capacity : (S, T) load that the GPUs can take, GPU.
    usable : (S, T) largest load that the power can carry as well, ramps and stored energy left aside, GPU; a necessary
        condition of a placement, not a sufficient one.
    streams, jobs, pools : rows (C1), (C2), (C4).
    arc_order, candidate_order, pool_arc_order : rows of the instance that the rows here are.
    budget, carbon_cap : (C3), t (inf: none), and largest carbon price, USD/t (0: no budget; inf: hard).
    probability : (K,) of the scenarios. With several, S = K * sites; row s * sites + i is site i in scenario s, and a
        job loads its site's row in each.
    in_every : each of them keeps its share of the budget by itself. risk : what they may count by.
    lines : day-ahead generators at the site that has most, see `Multipliers`.
    """

    period_h: float
    capacity: Array
    usable: Array
    streams: StreamRows
    jobs: JobRows
    pools: PoolRows
    arc_order: Array
    candidate_order: Array
    pool_arc_order: Array
    budget: float
    carbon_cap: float
    probability: Array
    in_every: bool
    risk: Risk
    lines: int

    @classmethod
    def of(cls, instance: Instance) -> Coupling:
        """The coupling of an instance, its rows grouped by stream, job and pool."""
        instance = with_exact_fits(instance)
        arc_order, arc_ptr = _group(instance.arcs.stream, instance.n_streams)
        candidate_order, candidate_ptr = _group(instance.candidates.job, instance.n_jobs)
        pool_order, pool_ptr = _group(instance.pool_arcs.pool, instance.n_pools)
        has_budget = np.isfinite(instance.carbon_budget_t)
        return cls(
            period_h=instance.period_h,
            capacity=instance.sites.capacity_gpu,
            usable=usable_capacity(instance),
            streams=_stream_rows(instance, arc_order, arc_ptr),
            jobs=_job_rows(instance, candidate_order, candidate_ptr),
            pools=_pool_rows(instance, pool_order, pool_ptr),
            arc_order=arc_order,
            candidate_order=candidate_order,
            pool_arc_order=pool_order,
            budget=instance.carbon_budget_t if has_budget else np.inf,
            carbon_cap=instance.carbon_excess_usd_per_t if has_budget else 0.0,
            probability=instance.scenarios.probability if instance.copies > 1 else np.ones(1),
            in_every=instance.budget_in_every and has_budget,
            risk=Risk.of(instance),
            lines=instance.day_ahead_lines,
        )

    @property
    def n_jobs(self) -> int:
        return len(self.jobs.gpus)

    @property
    def copies(self) -> int:
        return len(self.probability)

    @property
    def n_places(self) -> int:
        """Sites, whatever scenario."""
        return len(self.capacity) // self.copies

    @property
    def n_periods(self) -> int:
        return int(self.capacity.shape[1])

    @property
    def budgets(self) -> Array:
        """The budget, or the weighted one of every scenario, (B,) t."""
        return self.probability * self.budget if self.in_every else np.array([self.budget])

    def multipliers(self, price: Array, carbon_price: float | Array = 0.0) -> Multipliers:
        """Prices of load (S, T) and of carbon, commitments free, and scenarios counting as is probable."""
        links = price if self.lines == 0 else np.pad(price, ((0, 0), (0, self.lines * self.n_periods)))
        carbon = np.full(len(self.budgets), 1.0) * carbon_price
        return Multipliers(links, carbon, np.ones(len(self.probability) if self.risk.counts else 1))

    @property
    def homes(self) -> tuple[Array, Array, Array]:
        """The only row of every stream (D,), job (J,) and pool (P,); -1 where there is a choice, none, or several."""
        streams, jobs, pools = (_only(rows.ptr, rows.site) for rows in (self.streams, self.jobs, self.pools))
        return streams, jobs if self.copies == 1 else np.full_like(jobs, -1), pools

    def summed(self, rows: Array) -> Array:
        """Sum over scenarios of prices or curvatures (S, T): what a job at each site sees, (place, T)."""
        return rows if self.copies == 1 else rows.reshape(self.copies, -1, rows.shape[1]).sum(axis=0)

    def everywhere(self, load: Array) -> Array:
        """Load of jobs at each site, (place, T), in all scenarios, (S, T)."""
        return load if self.copies == 1 else np.tile(load, (self.copies, 1))

    def least(self, room: Array) -> Array:
        """What room (S, T) there is in every scenario, (place, T)."""
        return room if self.copies == 1 else room.reshape(self.copies, -1, room.shape[1]).min(axis=0)

    def add_job_load(self, load: Array, run: Array, start: Array, share: Array) -> None:
        """Add the load of jobs spread over runs, (J, M) each, to `load` (S, T) GPU."""
        one = load if self.copies == 1 else np.zeros((self.n_places, load.shape[1]))
        job_kernels.job_load(one, self.jobs, run, start, share)
        if self.copies > 1:
            load += self.everywhere(one)

    def worth(self) -> float:
        """Mean worth of a GPU's work in a period over leaving it undone, energy not counted, USD."""
        s, j, p = self.streams, self.jobs, self.pools
        soft = np.isfinite(p.penalty)
        value = s.demand.sum(axis=1) @ np.maximum(s.unserved - _cheapest(s), 0.0)
        value += np.maximum(-_cheapest(j), 0.0).sum() + p.penalty[soft] @ p.work[soft]
        work = s.demand.sum() + j.gpus @ j.length + p.work.sum()
        return float(value / work) if work else 0.0

    def free_jobs(self) -> tuple[Array, Array]:
        """Fixings that leave every job free: candidate row (FREE, REJECTED or k) and start of each job."""
        return np.full(self.n_jobs, FREE), np.full(self.n_jobs, -1)

    def dual_terms(self, prices: Multipliers, fixed: tuple[Array, Array]) -> float:
        """The dual function's part of streams, jobs, pools, commitments and budgets, USD.

        In closed form: each unit of work takes its cheapest allowed place or its penalty.

        Parameters
        ----------
        fixed : candidate row (FREE, REJECTED or k) and start of each job, (J,) each.
        """
        price = self.summed(prices.links[:, : self.n_periods])
        return self.dual_terms_with(prices, float(job_kernels.job_values(price, self.jobs, *fixed, 0, 1).sum()))

    def dual_terms_with(self, prices: Multipliers, jobs: float) -> float:
        """The same for jobs that are worth so much at these prices, USD."""
        own, price = self.weighing(prices.weight), prices.links[:, : self.n_periods]
        total = float(stream_kernels.stream_values(price, own.streams).sum()) + stream_kernels.pool_value(
            price, own.pools
        )
        return total + jobs + self.commitment_value(prices.links) - paid(prices.carbon, self.budgets)

    def commitment_value(self, links: Array) -> float:
        """Least value of commitments made once for all scenarios, each in every period by itself, USD."""
        if self.lines == 0:
            return 0.0
        return float(np.minimum(self.summed(links[:, self.n_periods :]), 0.0).sum())

    def weighing(self, weight: Array) -> Coupling:
        """The coupling with the money of streams and pools weighed by scenario, (W,); jobs cost the same in all."""
        if not self.risk.counts:
            return self
        s, p = self.streams, self.pools

        def rows(n: int) -> Array:
            return np.repeat(weight, n // len(weight))

        streams = s._replace(unserved=rows(len(s.unserved)) * s.unserved, cost=rows(len(s.cost)) * s.cost)
        return replace(self, streams=streams, pools=p._replace(penalty=rows(len(p.penalty)) * p.penalty))

    def scenario_routing(self, routed: Array) -> Array:
        """Net cost of routing by scenario and period (K, .), unweighed, USD."""
        each = _by_scenario(self.streams, ("demand", "unserved"), self.copies)
        return np.array([stream_kernels.stream_costs(own, routed) for own in each])

    def scenario_shortfall(self, pooled: Array) -> Array:
        """What pools leave undone by scenario (K,), unweighed, USD."""
        each = _by_scenario(self.pools, ("work", "penalty"), self.copies)
        return np.array([stream_kernels.pool_cost(own, pooled) for own in each])

    def flow_costs(self, routed: Array, pooled: Array) -> Array:
        """Net cost of routing (arc, T) and pool loads (pool arc, T), GPU, in every scenario (K,), USD.

        Unweighed, with penalties on what is left undone; a shortfall of a pool that must be done counts nothing.
        """
        return np.asarray(self.scenario_routing(routed).sum(axis=1) + self.scenario_shortfall(pooled))

    def allowances(self, tonnes: Array) -> Array:
        """Allowances (S,) that sum to each budget: emissions (S,), and an equal share of what is left; t."""
        each = tonnes.reshape(len(self.budgets), -1)
        left = self.budgets - each.sum(axis=1)
        return np.asarray((each + left[:, None] / each.shape[1]).ravel())

    def excess_price(self, prices: Multipliers) -> Array:
        """What a tonne beyond a budget costs (S,), in the money of each row's scenario, USD/t.

        Excess in a scenario is a cost of that scenario; what is beyond the budget for all is weighed by none.
        """
        _, weight = prices.of_rows()
        return self.carbon_cap / (np.ones_like(weight) if self.in_every else weight)


def _by_scenario(rows: R, owned: tuple[str, ...], copies: int) -> list[R]:
    """The rows of each scenario: of streams or pools, whose fields `owned` have an entry an owner."""
    n = (len(rows.ptr) - 1) // copies
    return [
        rows._replace(ptr=rows.ptr[d : d + n + 1], **{name: getattr(rows, name)[d : d + n] for name in owned})
        for d in np.arange(copies) * n
    ]


def paid(carbon: Array, budgets: Array) -> float:
    """What budgets (B,), t, take from the bound at their prices (B,), USD/t; an infinite one has none."""
    return float(np.multiply(carbon, budgets, out=np.zeros_like(budgets), where=carbon > 0).sum())


def _stream_rows(instance: Instance, order: Array, ptr: Array) -> StreamRows:
    streams, arcs, dt = instance.streams, instance.arcs, instance.period_h
    return StreamRows(
        demand=instance.demand_gpu,
        unserved=dt * streams.unserved_penalty,
        ptr=ptr,
        site=arcs.site[order],
        cost=dt * (arcs.cost - streams.revenue[arcs.stream])[order],
    )


def _job_rows(instance: Instance, order: Array, ptr: Array) -> JobRows:
    jobs, candidates = instance.jobs, instance.candidates
    job, site = candidates.job[order], candidates.site[order]
    n_starts = np.maximum(jobs.deadline - jobs.periods - jobs.release + 1, 0)
    first = np.concatenate([[0], np.cumsum(n_starts[job])]).astype(np.int64)
    allowed = np.zeros(int(first[-1]), dtype=np.bool_)
    job_kernels.mark_allowed_starts(
        instance.least_capacity, jobs.gpus, jobs.periods, jobs.release, n_starts, ptr, site, first, allowed
    )
    return JobRows(
        gpus=np.array(jobs.gpus),
        length=np.array(jobs.periods),
        release=np.array(jobs.release),
        n_starts=n_starts,
        optional=~jobs.mandatory,
        ptr=ptr,
        site=site,
        cost=(candidates.cost_usd - jobs.value_usd[candidates.job])[order],
        first=first,
        allowed=allowed,
    )


def _pool_rows(instance: Instance, order: Array, ptr: Array) -> PoolRows:
    pools, dt = instance.pools, instance.period_h
    return PoolRows(
        work=pools.work_gpu_h / dt,
        start=np.array(pools.start),
        end=np.array(pools.end),
        penalty=dt * pools.shortfall_penalty,
        ptr=ptr,
        site=instance.pool_arcs.site[order],
        rate=instance.pool_arcs.rate_gpu[order],
    )


def usable_capacity(instance: Instance) -> Array:
    """Largest load that import, renewables, generators and battery at full power can supply together, (S, T) GPU."""
    sites = instance.sites
    battery = np.where(sites.battery_mwh > 0, sites.discharge_mw, 0.0)
    supply = sites.import_limit_mw + instance.renewable_mw + battery[:, None]
    np.add.at(supply, instance.generators.site, instance.generators.p_max_mw[:, None])
    it_power = supply / sites.pue
    load = np.array(sites.capacity_gpu)
    for slope, intercept in zip(sites.power_slope_mw_per_gpu.T, sites.power_intercept_mw.T, strict=True):
        rising = slope > 0
        at_most = (it_power - intercept[:, None])[rising] / slope[rising, None]
        load[rising] = np.minimum(load[rising], np.maximum(at_most, 0.0))
    return load


def _group(owner: Array, n: int) -> tuple[Array, Array]:
    """Stable order of rows by owner, and where each owner's rows begin, (n + 1,)."""
    order = np.argsort(owner, kind="stable")
    return order, np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]).astype(np.int64)


def _cheapest(rows: StreamRows | JobRows) -> Array:
    """Cost of the cheapest site of every stream or job."""
    cost = np.full(len(rows.ptr) - 1, np.inf)
    np.minimum.at(cost, np.repeat(np.arange(len(cost)), np.diff(rows.ptr)), rows.cost)
    return cost


def _only(ptr: Array, site: Array) -> Array:
    """The site of each owner whose rows all name the same one; -1 for the others."""
    home = np.full(len(ptr) - 1, -1)
    some = np.flatnonzero(np.diff(ptr))
    if len(some):
        least, most = (ufunc.reduceat(site, ptr[some]) for ufunc in (np.minimum, np.maximum))
        home[some] = np.where(least == most, least, -1)
    return home


@dataclass(frozen=True)
class Fixing:
    """Decisions on jobs, (J,) each: `run`, candidate row of the coupling (FREE, REJECTED or k), and `start`, period."""

    run: Array
    start: Array
