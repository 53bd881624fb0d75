"""From prices to a complete schedule: dive on the jobs, then an integral finish.

Whatever happens here, a schedule that leaves this module is complete: every job runs once or is
rejected, every unit of demand is served or counted as unserved, every integer is integral, emissions
are summed. Whether it is also feasible and what it costs is asked of the true data, not of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, vstack

from decomp import job_kernels, kernels, placing
from decomp.accounts import account, complete, emissions_t
from decomp.coupling import FREE, REJECTED, Coupling
from decomp.crew import Crew, Dispatch
from decomp.instance import Array, Instance
from decomp.lagrangian import LagrangianLoop, Step
from decomp.master import Fixing
from decomp.options import Recovery
from decomp.polish import polish_all
from decomp.recourse import Given
from decomp.restriction import around, restrict
from decomp.result import Schedule
from decomp.serial import Interrupted
from decomp.settlement import settle_carbon
from decomp.site import Effort, Plan, SiteRows

FEW_SITES = 8  # of a repair that is tried before anything is proved about the whole fleet
BALANCED = 1e-9  # relative; what arithmetic may leave between emissions and budget
NEAR = 0.01  # share of what its load costs, that a job decided before may lose against its best run

Heard = Callable[[Step], bool]  # told of every iteration; answers whether the time for more of them is over


@dataclass(frozen=True)
class Incumbent:
    """A complete feasible schedule, its true net cost (USD) and the job decisions behind it."""

    schedule: Schedule
    cost: float
    fixing: Fixing


@dataclass(frozen=True)
class Work:
    """Placed work: what is asked of the sites, and the room left. GPU; arcs and pool arcs in the coupling's order."""

    fixing: Fixing
    routed: Array
    pooled: Array
    room: Array

    def inference(self, c: Coupling) -> Array:
        """Inference load of the sites, (S, T) GPU."""
        load = np.zeros_like(c.capacity)
        kernels.arc_load(load, c.streams.site, self.routed)
        return load

    def load(self, c: Coupling) -> Array:
        """All load of the sites, (S, T) GPU."""
        load = self.inference(c) + fixed_load(c, self.fixing.run, self.fixing.start)
        kernels.arc_load(load, c.pools.site, self.pooled)
        return load


def dive(loop: LagrangianLoop, options: Recovery, heard: Heard) -> Fixing:
    """Fix the most decided jobs, let the prices answer, repeat; the contested rest goes by price and room.

    When time is over, all that is left goes at once.
    """
    while (loop.master.fixing.run == FREE).any():
        loop.refix(_fix_most_decided(loop, options))
        for _ in range(options.dive_iterations):
            if heard(loop.iterate()):
                options = replace(options, dive_share=1.0, dive_iterations=0)
                break
    return loop.master.fixing


def keep_decided(loop: LagrangianLoop, before: Fixing) -> None:
    """Fix jobs as they were before, as far as their runs are near the best at the prices."""
    jobs, price = loop.coupling.jobs, loop.centre.price
    known = before.run >= 0
    run, start = np.where(known, before.run, REJECTED), np.where(known, before.start, -1)
    cost = job_kernels.run_values(price, jobs, run, start) - np.where(known, jobs.cost[run], 0.0)
    best = job_kernels.cheapest_runs(price, jobs)[0]
    best = np.where(jobs.optional, np.minimum(best, 0.0), best)
    near = job_kernels.run_values(price, jobs, run, start) - best <= NEAR * np.abs(cost)
    loop.refix(Fixing(np.where(known & near, run, FREE), np.where(known & near, start, -1)))


def _fix_most_decided(loop: LagrangianLoop, options: Recovery) -> Fixing:
    """Fix every nearly decided job, and at least a share of the free ones, where they fit."""
    master, jobs, relaxed = loop.master, loop.coupling.jobs, loop.master.work()
    run, start = master.fixing.run.copy(), master.fixing.start.copy()
    room = loop.coupling.usable - fixed_load(loop.coupling, run, start)
    free = np.flatnonzero(run == FREE)
    top = relaxed.share[free].max(axis=1)
    order = free[np.lexsort((free, -jobs.gpus[free] * jobs.length[free], -np.round(top, 3), jobs.optional[free]))]
    least = int(np.ceil(max(options.dive_share * len(free), 0.03 * len(run))))
    for rank, j in enumerate(order):
        slot = int(np.argmax(relaxed.share[j]))
        if rank >= least and relaxed.share[j, slot] < options.decided:
            break
        k, s = int(relaxed.run[j, slot]), int(relaxed.start[j, slot])
        if k >= 0 and not placing.runs_fit(room, jobs, j, k, s):
            value, k, s = placing.best_fitting_start(master.price, room, jobs, j)
            if jobs.optional[j] and value >= 0.0:
                k, s = REJECTED, -1
            elif k < 0:
                _, k, s = job_kernels.best_start(master.price, jobs, j)
        run[j], start[j] = k, s
        if k >= 0:
            room[jobs.site[k], s : s + jobs.length[j]] -= jobs.gpus[j]
    return Fixing(run, start)


def room_for_all(loop: LagrangianLoop, fixing: Fixing) -> Fixing:
    """All jobs where they are fixed to run, and rejected ones where it is best for them, beside others if they can.

    Those that may run nowhere stay rejected.
    """
    c, price = loop.coupling, loop.centre.price
    run, start = fixing.run.copy(), fixing.start.copy()
    value, cheapest, first = job_kernels.cheapest_runs(price, c.jobs)
    room = c.usable - fixed_load(c, run, start)
    for j in sorted(np.flatnonzero(run < 0), key=lambda j: value[j]):
        _, k, s = placing.best_fitting_start(price, room, c.jobs, j)
        run[j], start[j] = (k, s) if k >= 0 else (cheapest[j], first[j])
        if run[j] < 0:
            continue
        room[c.jobs.site[run[j]], start[j] : start[j] + c.jobs.length[j]] -= c.jobs.gpus[j]
    return Fixing(run, start)


def fixed_load(c: Coupling, run: Array, start: Array) -> Array:
    """Load of the jobs that are fixed to run, (S, T) GPU."""
    load = np.zeros_like(c.capacity)
    share = (run >= 0).astype(float)[:, None]
    job_kernels.job_load(load, c.jobs, run[:, None], start[:, None], share)
    return load


def place_work(loop: LagrangianLoop, wanted: tuple[Array, Array] | None = None) -> Work:
    """Make routing and pools fit beside fixed jobs, no site above its usable load, all work counted.

    `wanted` : routing (arc, T) and pools (pool arc, T), GPU; default: the master's.
    """
    c, master = loop.coupling, loop.master
    room = np.maximum(c.usable - fixed_load(c, master.fixing.run, master.fixing.start), 0.0)
    if wanted is None:
        relaxed = master.work()
        wanted = relaxed.routed, relaxed.pooled
    routed, pooled = (rows.copy() for rows in wanted)
    left = room.copy()
    placing.fit_pools(loop.centre.price, room, c.pools, pooled)
    if len(undone(c, pooled)):
        pooled = fit_pools_jointly(c, loop.centre.price, left)
        kernels.arc_load(left, c.pools.site, -pooled)
        room = np.maximum(left, 0.0)
    placing.fit_streams(loop.centre.price, room, c.streams, routed)
    return Work(master.fixing, routed, pooled, room)


def finish(
    instance: Instance,
    loop: LagrangianLoop,
    crew: Crew,
    options: Recovery,
    doubtful: Callable[[], None] | None = None,
    work: Work | None = None,
    polish: bool = True,
) -> Incumbent | None:
    """Settle the dispatch of every site for the work (default: the master's, placed), within the carbon budget.

    Where that fails, because a site cannot power what it was given, work that must be done found no room, or
    the budget cannot be kept, some sites are planned anew as one small model. None if that does not help either.
    `doubtful` is called when that takes more than a few sites: there may be no schedule at all. `polish`: what is not
    integral is settled once more, for groups of sites together.
    """
    work = work or place_work(loop)
    budget = instance.carbon_budget_t if np.isinf(instance.carbon_excess_usd_per_t) else np.inf
    asked, effort = given(loop, work), Effort(options.site_rel_gap, options.site_nodes)

    def ask(sites: Array, tonne: float) -> list[Plan | None]:
        g, rows = asked, [SiteRows.of(instance, i) for i in sites.tolist()]
        parts = zip(sites.tolist(), rows, g.load[sites], g.droppable[sites], g.drop_price[sites], strict=True)
        return crew.dispatch([Dispatch(*part, tonne, effort) for part in parts])

    def settled(schedule: Schedule) -> Schedule:
        return polished(instance, schedule, crew, options.polish_sites) if polish else schedule

    plans, kept = ask(np.arange(len(asked.load)), loop.centre.carbon_price), True
    schedule, most = assemble(instance, loop, work, plans), budget * (1.0 + BALANCED)
    ready = [plan for plan in plans if plan is not None]
    if len(ready) == len(plans):
        schedule = settled(schedule)
        if emissions_t(instance, schedule).sum() > most:
            ready, kept = settle_carbon(ready, ask, asked, loop.centre.carbon_price, budget)
            schedule = settled(assemble(instance, loop, work, ready))
    wrong = np.flatnonzero([plan is None for plan in plans])
    wrong = np.union1d(wrong, undone(loop.coupling, work.pooled)).astype(int)
    if not len(wrong) and not kept:
        wrong = np.argsort(-emissions_t(instance, schedule), kind="stable")[:1]
    if len(wrong):
        repaired = repair(instance, crew, schedule, wrong, options, doubtful)
        if repaired is None:
            return None
        schedule = settled(repaired)
    return Incumbent(schedule, account(instance, schedule).net_cost, fixing_of(loop.coupling, schedule))


def polished(instance: Instance, schedule: Schedule, crew: Crew, group_sites: int) -> Schedule:
    """The schedule with its integers held and all else settled together, where that is cheaper or it is over budget."""
    found = polish_all(instance, schedule, crew, group_sites)
    over = emissions_t(instance, schedule).sum() > instance.carbon_budget_t
    cheaper = account(instance, found).net_cost < account(instance, schedule).net_cost
    return found if cheaper or (over and np.isinf(instance.carbon_excess_usd_per_t)) else schedule


def repair(
    instance: Instance,
    crew: Crew,
    schedule: Schedule,
    wrong: Array,
    options: Recovery,
    doubtful: Callable[[], None] | None = None,
) -> Schedule | None:
    """Plan the sites that went wrong anew, their jobs included, with ever more sites around them; None if in vain."""
    from decomp.extensive import solve_extensive  # pyomo takes seconds to import, and is rarely needed here

    sites, few = wrong, max(FEW_SITES, instance.n_sites // 100)
    while True:
        if doubtful is not None and len(sites) >= min(few, instance.n_sites):
            doubtful()  # every site is asked for that, many times
            doubtful = None
        crew.wait()
        part = restrict(instance, schedule, sites)
        left = max(crew.end - crew.team.clock(), 1.0)
        answer = solve_extensive(
            part.instance,
            time_limit=min(options.repair_seconds, left),
            rel_gap=options.repair_gap,
            stop=lambda: crew.team.signalled,
        )
        if crew.stops.ask(lambda: crew.team.signalled):
            raise Interrupted
        if answer.schedule is not None:
            return part.merge(schedule, answer.schedule)
        if crew.stops.ask(lambda: crew.team.clock() > crew.end):
            raise Interrupted
        if len(sites) == instance.n_sites:
            return None
        sites = around(instance, sites, 2 * len(sites) + 1)


def fixing_of(c: Coupling, schedule: Schedule) -> Fixing:
    """The job decisions of a schedule, each at the cheapest candidate of its site."""
    run = np.full(c.n_jobs, REJECTED)
    for j in np.flatnonzero(schedule.job_site >= 0):
        own = np.arange(c.jobs.ptr[j], c.jobs.ptr[j + 1])
        own = own[c.jobs.site[own] == schedule.job_site[j]]
        run[j] = own[np.argmin(c.jobs.cost[own])]
    return Fixing(run, np.array(schedule.job_start))


def fit_pools_jointly(c: Coupling, price: Array, room: Array) -> Array:
    """Pool loads (pool arc, T) that do the most hard work the room admits: a linear program over all pools."""
    n, n_arcs = price.shape[1], len(c.pools.site)
    pool = np.repeat(np.arange(len(c.pools.work)), np.diff(c.pools.ptr))
    inside = (np.arange(n) >= c.pools.start[pool, None]) & (np.arange(n) < c.pools.end[pool, None])
    high = np.where(inside, c.pools.rate[:, None], 0.0).ravel()
    column = np.arange(n_arcs * n)
    place = (c.pools.site[:, None] * n + np.arange(n)).ravel()
    most = csr_matrix((np.ones(n_arcs * n), (place, column)), shape=(room.size, n_arcs * n))
    work = csr_matrix((np.ones(n_arcs * n), (np.repeat(pool, n), column)), shape=(len(c.pools.work), n_arcs * n))
    dear = 1e3 * (1.0 + float(np.abs(price).max()))
    worth = np.where(np.isinf(c.pools.penalty), dear, c.pools.penalty)[pool, None]
    answer = linprog(
        (price[c.pools.site] - worth).ravel(),
        A_ub=vstack([most, work]),
        b_ub=np.concatenate([room.ravel(), c.pools.work]),
        bounds=np.column_stack([np.zeros_like(high), high]),
        method="highs",
    )
    return np.zeros((n_arcs, n)) if answer.x is None else np.clip(answer.x, 0.0, high).reshape(n_arcs, n)


def undone(c: Coupling, pooled: Array) -> Array:
    """Sites of the pools that must be done and are not."""
    pool = np.repeat(np.arange(len(c.pools.work)), np.diff(c.pools.ptr))
    done = np.bincount(pool, pooled.sum(axis=1), minlength=len(c.pools.work))
    short = np.isinf(c.pools.penalty) & (done < c.pools.work * (1.0 - 1e-7))
    return np.unique(c.pools.site[short[pool]])


def given(loop: LagrangianLoop, work: Work) -> Given:
    """What the sites are given with the work: loads without allowances, inference droppable at what it is worth."""
    c, n_sites = loop.coupling, len(loop.coupling.capacity)
    inference = work.inference(c)
    worth = inference_worth(loop, work, inference)
    return Given(work.load(c), inference, worth, np.full(n_sites, np.inf), np.zeros(n_sites))


def inference_worth(loop: LagrangianLoop, work: Work, inference: Array) -> Array:
    """Mean loss per GPU and period if inference is dropped at a site, (S, T) USD."""
    s = loop.coupling.streams
    owner = np.repeat(np.arange(len(s.unserved)), np.diff(s.ptr))
    loss = np.zeros_like(inference)
    kernels.arc_load(loss, s.site, work.routed * (s.unserved[owner] - s.cost)[:, None])
    fallback = float(s.unserved.max()) if len(s.unserved) else 1.0
    return np.divide(loss, inference, out=np.full_like(loss, fallback), where=inference > 1e-9)


def assemble(instance: Instance, loop: LagrangianLoop, work: Work, plans: Sequence[Plan | None]) -> Schedule:
    """Put placed work and dispatch together in the instance's order; dropped load becomes unserved.

    A site without a plan keeps its work and has zeros for its dispatch: the caller's to replace.
    """
    c, n = loop.coupling, instance.n_periods
    run = work.fixing.run
    site = np.where(run >= 0, np.append(c.jobs.site, -1)[run], -1)

    def stack(name: str) -> Array:
        return np.array([np.zeros(n) if p is None else p.values.get(name, np.zeros(n)) for p in plans])

    start_mwh = np.where(instance.sites.battery_mwh > 0, instance.sites.battery_initial_mwh, 0.0)
    generation, on = _generators(instance, plans)
    schedule = Schedule(
        routed_gpu=_unsort(_drop(c, work, plans), c.arc_order),
        unserved_gpu=instance.demand_gpu,
        job_site=site,
        job_start=np.where(run >= 0, work.fixing.start, -1),
        pool_gpu=_unsort(work.pooled, c.pool_arc_order),
        pool_shortfall_gpu_h=instance.pools.work_gpu_h,
        it_power_mw=stack("it_power"),
        import_mw=stack("import"),
        export_mw=stack("export"),
        renewable_mw=stack("renewable"),
        charge_mw=stack("charge"),
        discharge_mw=stack("discharge"),
        stored_mwh=np.column_stack([start_mwh, stack("stored")]),
        generation_mw=generation,
        generator_on=on,
    )
    return complete(instance, schedule)


def _drop(c: Coupling, work: Work, plans: Sequence[Plan | None]) -> Array:
    """Scale the routing at a site down to what its plan carries beside jobs and pools."""
    inference, asked = work.inference(c), work.load(c)
    carried = [asked[i] if plan is None else plan.load for i, plan in enumerate(plans)]
    dropped = np.maximum(asked - np.array(carried), 0.0)
    dropped[dropped < 1e-7 * (1.0 + asked)] = 0.0
    keep = 1.0 - np.divide(dropped, inference, out=np.zeros_like(dropped), where=inference > 0)
    return work.routed * np.clip(keep, 0.0, 1.0)[c.streams.site]


def _unsort(rows: Array, order: Array) -> Array:
    """Rows in the coupling's order, put back into the instance's."""
    out = np.empty_like(rows)
    out[order] = rows
    return out


def _generators(instance: Instance, plans: Sequence[Plan | None]) -> tuple[Array, Array]:
    """Output and on/off of every generator, (generator, period)."""
    shape = (len(instance.generators.site), instance.n_periods)
    output, on = np.zeros(shape), np.zeros(shape, dtype=bool)
    for g, i in enumerate(instance.generators.site):
        first = int(np.searchsorted(instance.generators.site, i))
        plan = plans[i]
        if plan is None:
            continue
        values = plan.values
        names = sorted((name for name in values if name.endswith("output")), key=lambda s: int(s[1:-7]))
        prefix = names[g - first][: -len("output")]
        output[g], on[g] = values[prefix + "output"], values[prefix + "on"] > 0.5
    return output, on
