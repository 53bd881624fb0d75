"""The integral finish of the Lagrangian heuristic: with the jobs fixed, a complete schedule.

A schedule that leaves this module is complete: every job runs once or is
rejected, every unit of demand is served or counted as unserved, every integer is integral, emissions
are summed. Whether it is also feasible and what it costs is asked of the true data, not of a model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from decomp.bound.lagrangian import LagrangianLoop
from decomp.lp.highs import Effort
from decomp.lp.watch import Interrupted
from decomp.model.accounts import account, emissions_t, over_budget_t
from decomp.model.instance import Array, Instance
from decomp.model.options import Recovery
from decomp.model.result import Schedule
from decomp.ranks.workers import Workers
from decomp.schedule.carbon import repair_carbon
from decomp.schedule.incumbent import Incumbent, assemble, incumbent_of
from decomp.schedule.place import Work, given, place_work, undone
from decomp.schedule.redispatch import redispatch
from decomp.schedule.subinstance import around, restrict
from decomp.site.oracle import Plan
from decomp.site.service import Dispatch, Given, SiteService

FEW_SITES = 8  # of a repair that is tried before anything is proved about the whole fleet
BALANCED = 1e-9  # relative; what arithmetic may leave between emissions and budget


def finish(
    instance: Instance,
    loop: LagrangianLoop,
    options: Recovery,
    doubtful: Callable[[], None] | None = None,
    work: Work | None = None,
    joint: bool = True,
) -> Incumbent | None:
    """Settle the dispatch of every site for the work (default: the master's, placed), within the carbon budget.

    Where that fails, because a site cannot power what it was given, work that must be done found no room, or
    the budget cannot be kept, some sites are planned anew as one small model. None if that does not help either.
    `doubtful` is called when that takes more than a few sites: there may be no schedule at all. `joint`: what is not
    integral is settled once more, for groups of sites together.
    """
    work, workers = work or place_work(loop), loop.workers
    budget = instance.carbon_budget_t if np.isinf(instance.carbon_excess_usd_per_t) else np.inf
    asked, effort = given(loop, work), Effort(options.site_rel_gap, options.site_nodes)

    def ask(sites: Array, tonne: Array) -> list[Plan | None]:
        rows = asked.load[sites], asked.droppable[sites], asked.drop_price[sites]
        parts = zip(sites.tolist(), *rows, tonne.tolist(), strict=True)
        return workers.of(SiteService).dispatch(instance, [Dispatch(*part, effort) for part in parts])

    def settled(schedule: Schedule) -> Schedule:
        return redispatched(instance, schedule, workers, options.redispatch_sites) if joint else schedule

    carbon = loop.centre.own_money[1]
    plans, kept = ask(np.arange(len(carbon)), carbon), True
    schedule = assemble(instance, loop, work, plans)
    ready = [plan for plan in plans if plan is not None]
    if len(ready) == len(plans):
        schedule = settled(schedule)
        if _over(instance, schedule, budget):
            ready, kept = _within_budget(instance, ready, ask, asked, carbon, budget)
            schedule = settled(assemble(instance, loop, work, ready))
    wrong = np.flatnonzero([plan is None for plan in plans])
    wrong = np.union1d(wrong, undone(loop.coupling, work.pooled)).astype(int)
    if not len(wrong) and not kept:
        wrong = np.argsort(-emissions_t(instance, schedule), kind="stable")[:1]
    if len(wrong):
        repaired = repair(instance, workers, schedule, wrong, options, doubtful)
        if repaired is None:
            return None
        schedule = settled(repaired)
    for site in committed_apart(instance, schedule):
        repaired = repair(instance, workers, schedule, site, options, doubtful)
        if repaired is None:
            return None
        schedule = repaired
    return incumbent_of(instance, loop.coupling, schedule)


def _over(instance: Instance, schedule: Schedule, budget: float) -> bool:
    """Whether a budget (inf: none to keep) is exceeded, by the expected emissions or in one of the scenarios."""
    emissions = emissions_t(instance, schedule)
    if instance.budget_in_every and np.isfinite(budget):
        return over_budget_t(instance, emissions) > BALANCED * budget
    return bool(emissions.sum() > budget * (1.0 + BALANCED))


def _within_budget(
    instance: Instance,
    plans: list[Plan],
    ask: Callable[[Array, Array], list[Plan | None]],
    asked: Given,
    price: Array,
    budget: float,
) -> tuple[list[Plan], bool]:
    """Plans of all rows that keep the budget, together or scenario by scenario; whether they do."""
    if not instance.budget_in_every:
        return repair_carbon(plans, ask, asked, price, budget)
    n, kept = instance.n_places, True
    chosen: list[Plan] = []
    for s, p in enumerate(instance.scenarios.probability):
        rows = slice(s * n, (s + 1) * n)
        there = partial(_shifted, ask, s * n)
        found, good = repair_carbon(plans[rows], there, asked.take(rows), price[rows], p * budget)
        chosen, kept = chosen + found, kept and good
    return chosen, kept


def _shifted(
    ask: Callable[[Array, Array], list[Plan | None]], by: int, sites: Array, tonne: Array
) -> list[Plan | None]:
    """Plans of sites that are numbered within their scenario."""
    return ask(sites + by, tonne)


def committed_apart(instance: Instance, schedule: Schedule) -> list[Array]:
    """Sites with a day-ahead generator that is not committed alike in all scenarios, each as an array of one."""
    if instance.copies == 1 or not instance.generators.day_ahead.any():
        return []
    on = schedule.generator_on.reshape(instance.copies, -1, instance.n_periods)
    n = on.shape[1]
    apart = np.flatnonzero((on != on[:1]).any(axis=(0, 2)) & instance.generators.day_ahead[:n])
    return list(np.unique(instance.generators.site[:n][apart])[:, None])


def redispatched(instance: Instance, schedule: Schedule, workers: Workers, group_sites: int) -> Schedule:
    """The schedule with its integers held and all else settled together, where that is cheaper or it is over budget."""
    found = redispatch(instance, schedule, workers, group_sites)
    over = over_budget_t(instance, emissions_t(instance, schedule)) > 0.0
    cheaper = account(instance, found).net_cost < account(instance, schedule).net_cost
    return found if cheaper or (over and np.isinf(instance.carbon_excess_usd_per_t)) else schedule


def repair(
    instance: Instance,
    workers: Workers,
    schedule: Schedule,
    wrong: Array,
    options: Recovery,
    doubtful: Callable[[], None] | None = None,
) -> Schedule | None:
    """Plan the sites that went wrong anew, their jobs included, with ever more sites around them; None if in vain."""
    from decomp.extensive.pyomo_model import solve_extensive  # pyomo takes seconds to import, and is rarely needed here

    sites, few = np.unique(wrong % instance.n_places), max(FEW_SITES, instance.n_places // 100)
    while True:
        if doubtful is not None and len(sites) >= min(few, instance.n_places):
            doubtful()  # every site is asked for that, many times
            doubtful = None
        workers.wait()
        part = restrict(instance, schedule, instance.rows_of(sites))
        left = max(workers.end - workers.team.clock(), 1.0)
        answer = solve_extensive(
            part.instance,
            time_limit=min(options.repair_seconds, left),
            rel_gap=options.repair_gap,
        )
        if workers.stops.ask(lambda: workers.team.signalled):
            raise Interrupted
        if answer.schedule is not None:
            return part.merge(schedule, answer.schedule)
        if workers.stops.ask(lambda: workers.team.clock() > workers.end):
            raise Interrupted
        if len(sites) == instance.n_places:
            return None
        sites = around(instance, sites, min(2 * len(sites) + 1, instance.n_places))
