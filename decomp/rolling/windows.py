"""Windows cut in time from an instance that spans a whole run, and the run's past that they carry on.

A window starts where the past ends: with the energy that the batteries hold, with generators on or off since when they
are, with the jobs that run (each has to continue: one site, one start, its remaining length), with the pools' work that
is left, the peak that is already to be paid for, and its share of the carbon budget that is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from decomp.model.accounts import account, emissions_t
from decomp.model.instance import SERIES, Array, Instance, Sites
from decomp.model.reach import charged
from decomp.model.result import Schedule
from decomp.model.rounding import fits
from decomp.model.times import stamp, start_of
from decomp.rolling.device_cut import cut_devices, no_devices

ALIVE_MW = 1e-7  # output of a generator that is on with no output: the initial state knows on from off by output alone


Expect = Callable[[Instance], Instance]  # a window as it will come -> with the series that are expected, or scenarios


@dataclass(frozen=True, eq=False)
class Window:
    """Periods [now, end) of a run as an instance; `jobs`, `pool_arcs` and `device_variables` are the rows of the run's
    that it has.

    `instance` : as it will come. `known` : as it is known when it starts.
    `running` (job) marks the jobs that have started before; `target` (job) is the site of the last plan, -1 for none.
    """

    instance: Instance
    known: Instance
    now: int
    end: int
    jobs: Array
    pool_arcs: Array
    running: Array
    target: Array
    device_variables: Array

    def moved(self, schedule: Schedule) -> int:
        """Jobs planned before, not yet started, and now planned at another site."""
        site = schedule.job_site
        return int((~self.running & (self.target >= 0) & (site >= 0) & (site != self.target)).sum())


class Executed:
    """What has been done of a run up to period `now`; grows by `do`.

    Parameters
    ----------
    instance : the whole run.
    foresight : windows know all jobs and pools; else only those that have arrived (release, start), and those
        that must be done, which are contracts.
    switch_usd : cost of planning a job at another site than the last plan did.
    """

    def __init__(self, instance: Instance, *, foresight: bool = False, switch_usd: float = 0.0):
        self.instance, self.foresight, self.switch_usd, self.now = instance, foresight, switch_usd, 0
        sizes = instance.sizes | dict(instant=instance.n_periods + 1)
        self.done = {
            f.name: np.zeros([sizes[d] for d in f.metadata["dims"]], dtype=f.metadata["kind"])
            for f in Schedule.columns()
        }
        self.done["job_site"][:] = self.done["job_start"][:] = -1
        sites = instance.sites
        self.done["stored_mwh"][:, 0] = np.where(sites.battery_mwh > 0, sites.battery_initial_mwh, 0.0)
        self.target = np.full(instance.n_jobs, -1)

    @property
    def complete(self) -> bool:
        """Whether all periods have been done."""
        return self.now == self.instance.n_periods

    def schedule(self, upto: int | None = None) -> Schedule:
        """What has been done in the first `upto` periods, as a schedule of the whole run that does nothing later."""
        upto = self.now if upto is None else upto
        values = {name: array.copy() for name, array in self.done.items()}
        for f in Schedule.columns():
            if f.metadata["dims"][-1] == "period":
                values[f.name][:, upto:] = 0
        values["device_value"][self.instance.device_variables.period >= upto] = 0.0
        late = values["job_start"] >= upto
        values["job_site"][late] = values["job_start"][late] = -1
        over = self.instance.pools.end <= upto
        values["pool_shortfall_gpu_h"][over] = self._work_left()[over]
        return Schedule(**values)

    def cost(self, upto: int | None = None) -> float:
        """Net cost of what has been done in the first `upto` periods, USD."""
        return account(self.instance, self.schedule(upto)).net_cost

    def emitted(self) -> float:
        """Emissions so far, t CO2."""
        return float(emissions_t(self.instance, self.schedule()).sum())

    def carbon_left(self) -> float:
        """What is left of the budget, t CO2."""
        return max(self.instance.carbon_budget_t - self.emitted(), 0.0)

    def allowance(self, sites: Sites, end: int) -> float:
        """What the periods until `end` may emit, t: of what is left, their share of the emissions from now on.

        Those are the fleet's, were all sites at full load and fed by the grid. `sites` : from now on.
        """
        left = self.carbon_left()
        grid = np.maximum(sites.pue * sites.it_power_mw(sites.capacity_gpu) - sites.wind_mw - sites.solar_mw, 0.0)
        tonnes = (sites.carbon_intensity * grid).sum(axis=0)
        total = tonnes.sum()
        if np.isinf(left) or end == self.instance.n_periods or total <= 0:
            return left
        return float(left * tonnes[: end - self.now].sum() / total)

    def as_known(self, sites: Sites) -> Instance:
        """The run with the series of its sites from now on as `sites` has them, as far as these go.

        Later periods are taken to be like the same time of their first day, or like all of them on average.
        """
        whole, now, seen = self.instance, self.now, sites.capacity_gpu.shape[1]
        ahead = np.arange(whole.n_periods - now)
        at = np.where(ahead < seen, ahead, ahead % max(round(24 / whole.period_h), 1))
        series = {}
        for name in (name for name, table in SERIES.items() if table == "sites"):
            known, past = getattr(sites, name), getattr(whole.sites, name)[:, :now]
            later = np.where(at < seen, known[:, np.minimum(at, seen - 1)], known.mean(axis=1, keepdims=True))
            series[name] = np.concatenate([past, later], axis=1)
        return replace(whole, sites=replace(whole.sites, **series))

    def _work_left(self) -> Array:
        pools, arcs = self.instance.pools, self.instance.pool_arcs
        work = np.zeros(len(pools.work_gpu_h))
        np.add.at(work, arcs.pool, self.instance.period_h * self.done["pool_gpu"].sum(axis=1))
        return np.maximum(pools.work_gpu_h - work, 0.0)

    # ------------------------------------------------------------ windows

    def window(self, length: int, step: int, *, all_carbon: bool = False, expect: Expect | None = None) -> Window:
        """The next `length` periods, of which `step` will be done.

        Parameters
        ----------
        all_carbon : the window may emit all that is left.
        expect : gives the window, still without devices and budget, the series that are known of it when it starts;
            default: those that will be. How much of the budget is its own, and what rows of devices that reach beyond
            it ask of it, depend on later periods: they go by what is known.

        Raises
        ------
        InputError : by `expect`.
        """
        whole, now, end = self.instance, self.now, min(self.now + length, self.instance.n_periods)
        jobs, running = self._jobs(end, now + step)
        pools = self._pools(end)
        pool_arcs = np.flatnonzero(np.isin(whole.pool_arcs.pool, pools))
        instance = replace(
            whole,
            **no_devices(whole),
            carbon_budget_t=np.inf,
            sites=self._sites(end),
            generators=self._generators(),
            streams=whole.streams.between(now, end),
            overrides=whole.overrides.between(now, end),
            jobs=self._job_table(jobs, running, end),
            candidates=self._candidates(jobs, running),
            pools=self._pool_table(pools, end),
            pool_arcs=replace(
                whole.pool_arcs.take(pool_arcs), pool=np.searchsorted(pools, whole.pool_arcs.pool[pool_arcs])
            ),
            start_utc=stamp(start_of(whole, now)),
        )
        known, foreseen = instance, whole
        if expect is not None:
            known = expect(instance)
            foreseen = self.as_known(known.sites)
        budget = self.carbon_left() if all_carbon else self.allowance(foreseen.sites.between(now, whole.n_periods), end)
        devices, variables = cut_devices(foreseen, self.schedule(), now, end)
        instance, known = (replace(of, carbon_budget_t=budget, **devices) for of in (instance, known))
        return Window(instance, known, now, end, jobs, pool_arcs, running[jobs], self.target[jobs], variables)

    def _sites(self, end: int) -> Any:
        sites, now = self.instance.sites, self.now
        stored = np.clip(self.done["stored_mwh"][:, now], sites.battery_min_mwh, sites.battery_mwh)
        here = replace(
            sites.between(now, end),
            battery_initial_mwh=np.where(sites.battery_mwh > 0, stored, sites.battery_initial_mwh),
            peak_so_far_mw=np.maximum(sites.peak_so_far_mw, self.done["import_mw"][:, :now].max(axis=1, initial=0.0)),
        )
        if end == self.instance.n_periods:
            return here
        final, reached = sites.battery_final_mwh, charged(here, self.instance.period_h)[1]
        return replace(here, battery_final_mwh=np.where(fits(final, reached), final, reached))  # later windows go on

    def _generators(self) -> Any:
        """On or off, at what output, and since how many periods."""
        generators, now = self.instance.generators, self.now
        if now == 0:
            return generators
        on, output = self.done["generator_on"][:, :now], self.done["generation_mw"][:, now - 1]
        same = np.cumprod((on == on[:, -1:])[:, ::-1], axis=1).sum(axis=1)
        before = (same == now) & ((generators.initial_mw > 0) == on[:, -1])
        return replace(
            generators,
            initial_mw=np.where(on[:, -1], np.maximum(output, ALIVE_MW), 0.0),
            initial_periods=same + np.where(before, generators.initial_periods, 0),
        )

    def _jobs(self, end: int, soon: int) -> tuple[Array, Array]:
        """Jobs that run, or are known and can still be done before the end; and whether each job (job) runs."""
        jobs, now = self.instance.jobs, self.now
        started = self.done["job_site"] >= 0
        running = started & (self.done["job_start"] + jobs.periods > now)
        # a contract that can wait until the next window's plan is left to it
        contract = jobs.mandatory & ((jobs.release < soon) | (jobs.deadline <= end))
        known = contract | ~jobs.mandatory & (self.foresight | (jobs.release <= now))
        fits = np.maximum(jobs.release, now) + jobs.periods <= np.minimum(jobs.deadline, end)
        return np.flatnonzero(running | ~started & known & fits), running

    def _job_table(self, rows: Array, running: Array, end: int) -> Any:
        jobs, now, runs = self.instance.jobs.take(rows), self.now, running[rows]
        left = np.minimum(self.done["job_start"][rows] + jobs.periods, end) - now
        return replace(
            jobs,
            periods=np.where(runs, left, jobs.periods),
            release=np.where(runs, 0, np.maximum(jobs.release - now, 0)),
            deadline=np.where(runs, left, np.minimum(jobs.deadline, end) - now),
            mandatory=runs | jobs.mandatory,
            value_usd=np.where(runs, 0.0, jobs.value_usd),
        )

    def _candidates(self, jobs: Array, running: Array) -> Any:
        """Where the jobs may run: those that run only where they are, at no further cost; others move at a cost."""
        table = self.instance.candidates
        here = np.isin(table.job, jobs) & (~running[table.job] | (table.site == self.done["job_site"][table.job]))
        table = table.take(here)
        moves = (self.target[table.job] >= 0) & (table.site != self.target[table.job])
        cost = np.where(running[table.job], 0.0, table.cost_usd + np.where(moves, self.switch_usd, 0.0))
        return replace(table, job=np.searchsorted(jobs, table.job), cost_usd=cost)

    def _pools(self, end: int) -> Array:
        pools, now = self.instance.pools, self.now
        known = (pools.start <= now) | np.isinf(pools.shortfall_penalty) | self.foresight
        return np.flatnonzero(known & (pools.end > now) & (pools.start < end))

    def _pool_table(self, rows: Array, end: int) -> Any:
        """Work left, shared out by time where a pool goes on after the window: so it stays within reach of its rate."""
        pools, now = self.instance.pools.take(rows), self.now
        start, stop = np.maximum(pools.start, now), np.minimum(pools.end, end)
        work = self._work_left()[rows] * (stop - start) / (pools.end - start)
        return replace(pools, work_gpu_h=work, start=start - now, end=stop - now)

    # ------------------------------------------------------------ doing

    def do(self, window: Window, plan: Schedule, step: int) -> None:
        """Do the first `step` periods of a window's plan; what it says of later ones is only a plan."""
        upto = min(self.now + step, self.instance.n_periods)
        k = upto - self.now
        for f in Schedule.columns():
            dims, mine = f.metadata["dims"], getattr(plan, f.name)
            if dims[-1] == "period":
                rows = window.pool_arcs if dims[0] == "pool_arc" else slice(None)
                self.done[f.name][rows, self.now : upto] = mine[:, :k]
        devices = window.instance.device_variables
        value = np.where(devices.integer, np.round(plan.device_value), plan.device_value)
        self.done["device_value"][window.device_variables[devices.period < k]] = value[devices.period < k]
        self.done["stored_mwh"][:, self.now + 1 : upto + 1] = plan.stored_mwh[:, 1 : k + 1]
        starts = ~window.running & (plan.job_site >= 0) & (plan.job_start < k)
        started = window.jobs[starts]
        self.done["job_site"][started] = plan.job_site[starts]
        self.done["job_start"][started] = self.now + plan.job_start[starts]
        self.target[window.jobs] = plan.job_site
        self.now = upto
