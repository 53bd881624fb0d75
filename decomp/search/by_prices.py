"""Price-directive large-neighbourhood search: small clusters of sites choose their jobs anew, on all ranks at once.

Everything outside a cluster counts at the prices of load (price-directive: Geoffrion, Management Science 16, 1970). The
clusters of a round are disjoint, so that their moves combine. After a round the jobs are fixed where they are, some
iterations of the bundle method re-price, and the cost of a finished schedule decides what is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from decomp.bound import job_kernels, stream_kernels
from decomp.bound.coupling import REJECTED, Coupling, Fixing
from decomp.bound.lagrangian import LagrangianLoop
from decomp.lp.highs import Effort
from decomp.model.instance import Array, Instance
from decomp.model.options import Improvement
from decomp.model.scenarios import weighted_grids
from decomp.model.selection import forward_selection
from decomp.ranks.workers import Workers
from decomp.schedule.place import Work, place_work
from decomp.search.cluster import ClusterTask, Move, improve_cluster
from decomp.search.job_milp import JobChoice


@dataclass
class Neighbours:
    """How many candidate jobs each two sites share (sparse), and how often each was the seed of a cluster."""

    shared: csr_array
    tried: Array
    copies: int = 1

    @classmethod
    def of(cls, coupling: Coupling) -> Neighbours:
        n_sites, n = coupling.n_places, len(coupling.jobs.site)
        member = csr_array((np.ones(n), coupling.jobs.site, coupling.jobs.ptr), shape=(coupling.n_jobs, n_sites))
        return cls(csr_array(member.T @ member), np.zeros(n_sites), coupling.copies)


LEAST_SCENARIOS = 3  # that judge the moves of a cluster, if there are as many
CLAIMANTS = 3  # clusters that may each count on all of a stream's unserved work


class Claim(NamedTuple):
    """What a cluster may count on of what others see too: by stream (D,) all unserved work or none, share of room."""

    unserved: Array
    room: Array


@dataclass
class SearchState:
    """Where the search stands: how hard it tries, finishes in a row that brought little, rounds since the last one."""

    neighbours: Neighbours
    rng: np.random.Generator
    level: int = 0
    stale: int = 0
    rounds: int = 0

    def effort(self, options: Improvement) -> Improvement:
        """Larger clusters, more runs of a job and more nodes with every level; a small fleet is one cluster at once."""
        n_sites, growth = len(self.neighbours.tried), options.growth**self.level
        grown = replace(
            options,
            cluster_sites=round(options.cluster_sites * growth),
            runs_kept=round(options.runs_kept * growth),
            cluster_nodes=round(options.cluster_nodes * growth**2),
            rel_gap=options.rel_gap / growth,
            windows=max(round(options.windows / growth), 1),
        )
        if n_sites * self.neighbours.copies > options.whole_sites:
            return grown
        fleet = replace(grown, cluster_sites=n_sites, rounds_per_finish=1)
        return replace(fleet, runs_kept=2 * grown.runs_kept, rel_gap=grown.rel_gap / 4)


def clusters(neighbours: Neighbours, loss: Array, size: int, rng: np.random.Generator) -> list[Array]:
    """Disjoint clusters that cover the fleet: seeds by loss, companions by shared jobs, both with some chance."""
    n_sites = len(loss)
    free = np.ones(n_sites, dtype=bool)
    order = np.argsort(-(loss / (1.0 + neighbours.tried)) * rng.uniform(0.3, 1.0, n_sites))
    found = []
    for seed in order:
        if not free[seed]:
            continue
        chance = neighbours.shared[[seed]].toarray()[0] * free
        chance[seed] = 0.0
        members = [int(seed)]
        if chance.sum() > 0:
            n = min(size - 1, int((chance > 0).sum()))
            members += rng.choice(n_sites, n, replace=False, p=chance / chance.sum()).tolist()
        free[members] = False
        found.append(np.array(members))
    return found


def neighbourhood(
    instance: Instance,
    loop: LagrangianLoop,
    work: Work,
    load: Array,
    pooled: Array,
    members: Array,
    claim: Claim,
    options: Improvement,
    until: float = np.inf,
) -> ClusterTask:
    """The task of one cluster at the present fixing and placed work: (S, T) GPU in all and in pools, which stay.

    All jobs at its sites are its to move, and so are those that are rejected and could run there. A few scenarios that
    stand for all judge them, as many as the cluster's size leaves rows for.
    """
    c, fixing = loop.coupling, work.fixing
    chosen, factor = representatives(c, loop.centre.price, members, options.scenario_rows // len(members))
    rows = (members + c.n_places * chosen[:, None]).ravel()
    place, position = np.full(c.n_places, -1), np.full(len(c.capacity), -1)
    place[members], position[rows] = np.arange(len(members)), np.arange(len(rows))
    owner = np.repeat(np.arange(c.n_jobs), np.diff(c.jobs.ptr))
    touches, inside = np.zeros(c.n_jobs, dtype=bool), place >= 0
    touches[owner[inside[c.jobs.site]]] = True
    jobs = np.flatnonzero(touches & np.append(inside[c.jobs.site], True)[fixing.run])
    return ClusterTask(
        grids=weighted_grids(instance.microgrids.take(rows), np.repeat(factor[chosen], len(members))),
        period_h=instance.period_h,
        carbon_price=instance.carbon_price_usd_per_t + loop.centre.carbon_price,
        choices=tuple(job_choice(c, fixing, int(j), place) for j in jobs),
        load=load[rows],
        fixed_load=pooled[rows],
        runs_kept=options.runs_kept,
        effort=Effort(options.rel_gap, options.cluster_nodes),
        until=until,
        windows=1,
        seed=0,
        copies=len(chosen),
        **_inference_around(c, loop.centre.price, work, position, claim, factor),
    )


def representatives(c: Coupling, price: Array, members: Array, most: int) -> tuple[Array, Array]:
    """A few scenarios, at least LEAST_SCENARIOS, whose prices at some sites stand for all; and by how much more each
    counts there than it does by itself, (K,).
    """
    p, seen = c.probability, price.reshape(c.copies, c.n_places, -1)[:, members].reshape(c.copies, -1)
    seen = seen / p[:, None]
    distance = np.abs(seen[:, None] - seen[None]).sum(axis=2)
    chosen, weight = forward_selection(distance, p, max(most, LEAST_SCENARIOS))
    factor = np.ones(c.copies)
    factor[chosen] = weight / p[chosen]
    return chosen, factor


def claims(c: Coupling, chosen: list[Array], rng: np.random.Generator) -> list[Claim]:
    """Share out what several clusters see; unserved work goes whole to a few, since the jobs in its way are lumps."""
    number = np.full(c.n_places, len(chosen))
    for k, members in enumerate(chosen):
        number[members] = k
    number = np.tile(number, c.copies)
    n_streams = len(c.streams.unserved)
    owner = np.repeat(np.arange(n_streams), np.diff(c.streams.ptr))
    seen = np.zeros((n_streams, len(chosen) + 1), dtype=bool)
    seen[owner, number[c.streams.site]] = True
    seen = seen[:, :-1]
    rank = np.argsort(np.argsort(-1.0 * seen * rng.uniform(0.5, 1.0, seen.shape), axis=1), axis=1)
    room = 1.0 / np.maximum(seen.sum(axis=1), 1)
    return [Claim(seen[:, k] & (rank[:, k] < CLAIMANTS), room) for k in range(len(chosen))]


def job_choice(c: Coupling, fixing: Fixing | None, j: int, position: Array) -> JobChoice:
    """All runs of job j at sites that have a position (S,; -1: none), and rejection if it may be.

    Without a fixing it has its first run now.
    """
    jobs = c.jobs
    runs, starts = [], []
    for k in range(jobs.ptr[j], jobs.ptr[j + 1]):
        if position[jobs.site[k]] >= 0:
            s = jobs.release[j] + np.flatnonzero(jobs.allowed[jobs.first[k] : jobs.first[k] + jobs.n_starts[j]])
            runs.append(np.full(len(s), k))
            starts.append(s)
    run, start = np.concatenate(runs), np.concatenate(starts)
    place, cost = position[jobs.site[run]], jobs.cost[run]
    if jobs.optional[j]:
        run, start = np.append(run, REJECTED), np.append(start, -1)
        place, cost = np.append(place, -1), np.append(cost, 0.0)
    now = np.full(len(run), True) if fixing is None else (run == fixing.run[j]) & (start == fixing.start[j])
    at = int(np.flatnonzero(now)[0])
    return JobChoice(j, float(jobs.gpus[j]), int(jobs.length[j]), run, place, start, cost, at)


def _inference_around(
    c: Coupling, price: Array, work: Work, position: Array, claim: Claim, factor: Array
) -> dict[str, Array]:
    """Streams that the cluster may serve: arcs inside, work inside, its claim to work and room.

    `factor` (K,) : on the money of each scenario.
    """
    rows, inside = c.streams, position >= 0
    owner = np.repeat(np.arange(len(rows.unserved)), np.diff(rows.ptr))
    streams = np.unique(owner[inside[rows.site]])
    number = np.full(len(rows.unserved), -1)
    number[streams] = np.arange(len(streams))
    mine = np.flatnonzero(inside[rows.site])
    around = np.flatnonzero(~inside[rows.site] & (number[owner] >= 0))
    shape = (len(streams), price.shape[1])
    room, here, served = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    np.add.at(here, number[owner[mine]], work.routed[mine])
    np.add.at(served, number[owner[around]], work.routed[around])
    unserved = np.maximum(rows.demand[streams] - here - served, 0.0)
    np.add.at(room, number[owner[around]], work.room[rows.site[around]])
    cheapest = np.repeat(rows.unserved[streams, None], shape[1], axis=1)
    there = np.where(work.room[rows.site[around]] > 0, rows.cost[around, None] + price[rows.site[around]], np.inf)
    np.minimum.at(cheapest, number[owner[around]], there)
    each = np.repeat(factor, len(rows.unserved) // c.copies)
    return dict(
        arc_site=position[rows.site[mine]],
        arc_stream=number[owner[mine]],
        arc_cost=each[owner[mine]] * rows.cost[mine],
        demand=here + np.where(claim.unserved[streams, None], unserved, 0.0),
        unserved=each[streams] * rows.unserved[streams],
        leave_price=each[streams, None] * cheapest,
        leave_room=claim.room[streams, None] * room,
    )


def improve_round(
    instance: Instance,
    loop: LagrangianLoop,
    workers: Workers,
    neighbours: Neighbours,
    options: Improvement,
    rng: np.random.Generator,
    until: float = np.inf,
) -> float:
    """One round of disjoint cluster moves on all ranks; returns what the clusters' models gained, USD.

    No move is started after `until`, seconds by the root's clock.
    """
    work = place_work(loop)
    chosen = clusters(neighbours, job_loss(loop), options.cluster_sites, rng)
    # What a round gains lies mostly where jobs lose most by the prices: sooner re-priced, the others gain more.
    chosen = chosen[: max(options.least_clusters, round(options.share * len(chosen)))]
    for members in chosen:
        neighbours.tried[members[0]] += 1
    load, pooled = work.load(loop.coupling), np.zeros_like(loop.coupling.capacity)
    stream_kernels.arc_load(pooled, loop.coupling.pools.site, work.pooled)
    end = workers.deadline(until)
    tasks = [
        neighbourhood(instance, loop, work, load, pooled, members, claim, options, end)
        for members, claim in zip(chosen, claims(loop.coupling, chosen, rng), strict=True)
    ]
    tasks.sort(key=lambda task: -sum(len(choice.run) for choice in task.choices))  # the longest first
    if len(tasks) == 1:  # the whole fleet: what is for several ranks to do are several tries
        seeds = rng.integers(2**31, size=options.attempts)
        tasks = [replace(tasks[0], windows=options.windows + k, seed=int(seed)) for k, seed in enumerate(seeds)]
    answers = workers.farm(improve_cluster, tasks, until, "cluster moves")
    cut = [(k, m) for k, m in enumerate(answers) if m is not None and m.late]
    for at, rows, gain in workers.stops.ask(lambda: [_plain(k, m) for k, m in cut]) or []:
        jobs, run, start = (np.array(row, dtype=int) for row in rows)
        answers[at] = Move(jobs, run, start, gain)
    moves = [m for m in answers if m is not None and m.gain > 0.0]
    if len(chosen) == 1:
        moves = sorted(moves, key=lambda m: -m.gain)[:1]
    accept(loop, moves)
    return float(sum(m.gain for m in moves))


def _plain(k: int, m: Move) -> tuple[int, list[list[int]], float]:
    """A move that the clock has cut, as a log can hold it."""
    return k, [m.jobs.tolist(), m.run.tolist(), m.start.tolist()], float(m.gain)


def accept(loop: LagrangianLoop, moves: list[Move]) -> None:
    run, start = loop.master.fixing.run.copy(), loop.master.fixing.start.copy()
    for m in moves:
        run[m.jobs], start[m.jobs] = m.run, m.start
    loop.refix(Fixing(run, start))


def job_loss(loop: LagrangianLoop) -> Array:
    """What the jobs at each site (or rejected, at their candidates) lose against their best run at the prices."""
    jobs, fixing, price = loop.coupling.jobs, loop.master.fixing, loop.coupling.summed(loop.centre.price)
    best = job_kernels.cheapest_runs(price, jobs)[0]
    best = np.where(jobs.optional, np.minimum(best, 0.0), best)
    lost = job_kernels.run_values(price, jobs, fixing.run, fixing.start) - best
    places = np.diff(jobs.ptr)
    owner = np.repeat(np.arange(len(lost)), places)
    candidate = np.arange(len(owner))
    here = (fixing.run < 0)[owner] | (fixing.run[owner] == candidate)
    lost[fixing.run < 0] /= np.maximum(places, 1)[fixing.run < 0]
    loss = np.bincount(jobs.site[here], lost[owner[here]], minlength=len(price)) + 1e-6
    return loss
