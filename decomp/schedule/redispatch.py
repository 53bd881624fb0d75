"""Redispatch: with every integer held, routing, batteries, dispatch and emissions of many sites as a linear program.

The finish dispatches each site alone, at a common price of carbon. Here groups of sites that share work are dispatched
jointly, so that what prices divide only on average is divided exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from decomp.lp.block import Model
from decomp.lp.highs import keeping_bans, to_highs
from decomp.model.accounts import complete, load_gpu
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.ranks.workers import Workers
from decomp.schedule.group_lp import GroupTask, fixed_integers, groups, held, schedule_of, share_out, side_by_side
from decomp.schedule.subinstance import merge_all, restrict


def redispatch(instance: Instance, schedule: Schedule, workers: Workers, group_sites: int) -> Schedule:
    """Redispatch disjoint groups of sites on all ranks; what work and tonnes are left over is shared out. Root only.

    `group_sites` : at most, half of it where there are devices: rows across periods make linear programs of this size
    several times as dear, and two small groups lose little against one.
    """
    size = max(group_sites // 2, 1) if len(instance.device_rows.device) else group_sites
    parts = [restrict(instance, schedule, sites) for sites in groups(instance, size)]
    tasks = share_out(instance, schedule, parts)
    found = zip(parts, workers.farm(redispatch_group, tasks, workers.until, "redispatch"), strict=True)
    return complete(instance, merge_all(schedule, [(part, own) for part, own in found if own is not None]))


def redispatch_group(task: GroupTask) -> Schedule | None:
    """The cheapest schedule with the same jobs and commitments; None if the solver finds none."""
    model, _ = redispatch_model(task, fixed_integers(task.instance, task.schedule))
    point = keeping_bans(model, to_highs(model))
    return None if point is None else schedule_of(task, model, point)


def redispatch_model(task: GroupTask, values: Iterable[tuple[str, Array]] = ()) -> tuple[Model, list[Array]]:
    """All sites side by side with routing, pools and the budget; costs include the carbon price.

    Also the rows (T,) of each site in which the load of its jobs is the right-hand side.

    `values` : of the integers that are held, see `hold`.
    """
    instance, schedule = task.instance, task.schedule
    jobs = load_gpu(instance, replace(schedule, routed_gpu=0 * schedule.routed_gpu, pool_gpu=0 * schedule.pool_gpu))
    block, links = side_by_side(instance, jobs)
    return held(instance, block.finish(), values), links
