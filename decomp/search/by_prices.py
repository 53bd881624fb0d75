"""Price-directive large-neighbourhood search: clusters of few sites reassign their jobs, all clusters in parallel.

A cluster's MILP decides where and when the jobs of its sites run; load outside the cluster is worth the multipliers of
load there (price-directive decomposition: Geoffrion, Management Science 16, 1970). The clusters of a round are
disjoint, so that their moves can be made together. After a round the jobs are fixed, some iterations of the bundle
method adapt the multipliers, and the cost of a completed schedule decides what is kept.

A run of a job is one of its alternatives: a candidate site and a first period.
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
from decomp.schedule.place import Work, place_work
from decomp.search.cluster import ClusterTask, Move, improve_cluster
from decomp.search.job_milp import JobChoice


@dataclass
class Neighbours:
    """Which sites have jobs in common.

    Attributes
    ----------
    shared : (N, N) sparse, jobs for which both of two sites are candidates; N sites (places, not rows of scenarios).
    streams : (N, N) sparse, streams that both can serve.
    tried : (N,) how often each site was the seed of a cluster.
    copies : scenarios, each with a row of every site.
    """

    shared: csr_array
    streams: csr_array
    tried: Array
    copies: int = 1

    @classmethod
    def of(cls, coupling: Coupling) -> Neighbours:
        n, copies, (jobs, streams) = coupling.n_places, coupling.copies, (coupling.jobs, coupling.streams)
        ptr = streams.ptr[: (len(streams.ptr) - 1) // copies + 1]  # those of the first scenario
        return cls(_common(jobs.site, jobs.ptr, n), _common(streams.site, ptr, n), np.zeros(n), copies)


def _common(site: Array, ptr: Array, n_sites: int) -> csr_array:
    """How many rows have both of two sites, (N, N); row r has `site[ptr[r] : ptr[r + 1]]`."""
    member = csr_array((np.ones(ptr[-1]), site[: ptr[-1]], ptr), shape=(len(ptr) - 1, n_sites))
    return csr_array(member.T @ member)


GROWTH = 1.4  # of sites and runs, and squared of nodes, after a finish that brought little
ATTEMPTS = 2  # at a fleet that is a single cluster, each with one window more than the one before
LEAST_SCENARIOS = 3  # in a cluster's MILP, if there are as many
CLAIMANTS = 3  # clusters of a round that may each serve all of a stream's unserved demand


class Contested(NamedTuple):
    """What a cluster may use of what several clusters of a round can reach, by stream.

    Attributes
    ----------
    unserved : (D,) bool, whether it may serve the stream's unserved demand, all of it.
    room : (D,) share of the free capacity outside the cluster to which it may move the stream's load.
    """

    unserved: Array
    room: Array


@dataclass(frozen=True, eq=False)
class StandIns:
    """Scenarios that stand for all in a MILP of some sites.

    Attributes
    ----------
    chosen : (k,) these scenarios; all, where there are not too many.
    factor : (K,) on the costs of each scenario: its probability with that of those it stands for, by its own.
    missed : (site, T) price of load in all scenarios beyond that in the chosen ones, USD per GPU and period. Where runs
        of jobs pay it too, they are compared by the prices of all scenarios, and only curvature is that of the chosen.
    """

    chosen: Array
    factor: Array
    missed: Array

    @classmethod
    def of(cls, c: Coupling, price: Array, members: Array, most: int) -> StandIns:
        """By fast forward selection on the prices of load (S, T): `most` of them but at least LEAST_SCENARIOS."""
        p, own = c.probability, price.reshape(c.copies, c.n_places, -1)[:, members]
        seen = own.reshape(c.copies, -1) / p[:, None]
        distance = np.abs(seen[:, None] - seen[None]).sum(axis=2)
        chosen, weight = forward_selection(distance, p, max(most, LEAST_SCENARIOS))
        factor = np.ones(c.copies)
        factor[chosen] = weight / p[chosen]
        return cls(chosen, factor, own.sum(axis=0) - (factor[chosen, None, None] * own[chosen]).sum(axis=0))


@dataclass
class SearchState:
    """The state of the search between two rounds; a checkpoint keeps it.

    Attributes
    ----------
    rng : draws clusters and seeds.
    level : how often the clusters have been enlarged.
    stale : how many completed schedules were hardly cheaper than the best one before.
    rounds : rounds since a schedule was last completed.
    """

    neighbours: Neighbours
    rng: np.random.Generator
    level: int = 0
    stale: int = 0
    rounds: int = 0

    def effort(self, options: Improvement) -> Improvement:
        """The options at the present level: more sites, runs and nodes with each; a small fleet is a single cluster."""
        n_sites, growth = len(self.neighbours.tried), GROWTH**self.level
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
    """Draw disjoint clusters that cover the fleet, each an array of sites.

    The seed of a cluster is the free site with the largest randomised `loss` (N,), USD, divided by one more than the
    times it was a seed before; the other sites, `size` in all, are drawn in proportion to the jobs shared with it.
    """
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


@dataclass(frozen=True, eq=False)
class Present:
    """What the clusters of a round are planned around: work, and load in GPU, (S, T), all of it and that of pools."""

    work: Work
    load: Array
    pooled: Array

    @classmethod
    def of(cls, loop: LagrangianLoop) -> Present:
        """The work that the loop's fixing and prices say."""
        c, work = loop.coupling, place_work(loop)
        pooled = np.zeros_like(c.capacity)
        stream_kernels.arc_load(pooled, c.pools.site, work.pooled)
        return cls(work, work.load(c), pooled)


def neighbourhood(
    instance: Instance, loop: LagrangianLoop, present: Present, members: Array, claim: Contested, options: Improvement
) -> ClusterTask:
    """The MILP of one cluster around the present schedule.

    It may move all jobs at its sites, and accept those that are rejected and could run there. With scenarios its cost
    is that of a few that represent all, as many as `options.scenario_rows` leaves rows for.

    Parameters
    ----------
    present : the schedule; the MILP keeps the load of its pools.
    members : sites of the cluster.
    claim : what it may use of what other clusters of the round can reach, too.
    """
    c, fixing = loop.coupling, present.work.fixing
    few = StandIns.of(c, loop.centre.price, members, options.scenario_rows // len(members))
    rows = (members + c.n_places * few.chosen[:, None]).ravel()
    place, position = np.full(c.n_places, -1), np.full(len(c.capacity), -1)
    place[members], position[rows] = np.arange(len(members)), np.arange(len(rows))
    owner = np.repeat(np.arange(c.n_jobs), np.diff(c.jobs.ptr))
    touches, inside = np.zeros(c.n_jobs, dtype=bool), place >= 0
    touches[owner[inside[c.jobs.site]]] = True
    jobs = np.flatnonzero(touches & np.append(inside[c.jobs.site], True)[fixing.run])
    return ClusterTask(
        grids=weighted_grids(instance.microgrids.take(rows), np.repeat(few.factor[few.chosen], len(members))),
        period_h=instance.period_h,
        carbon_price=instance.carbon_price_usd_per_t + loop.centre.carbon_price,
        choices=tuple(job_choice(c, fixing, int(j), place).at_prices(few.missed) for j in jobs),
        load=present.load[rows],
        fixed_load=present.pooled[rows],
        runs_kept=options.runs_kept,
        effort=Effort(options.rel_gap, options.cluster_nodes),
        until=np.inf,
        windows=1,
        seed=0,
        copies=len(few.chosen),
        **_inference_around(c, loop.centre.price, present.work, position, claim, few.factor),
    )


def claims(c: Coupling, chosen: list[Array], rng: np.random.Generator) -> list[Contested]:
    """Divide among the clusters of a round what several of them can reach.

    Free capacity outside is divided equally. Unserved demand is not divided but offered whole to up to CLAIMANTS
    clusters: making room for it takes moving whole jobs, which a small share of it would not pay for.
    """
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
    return [Contested(seen[:, k] & (rank[:, k] < CLAIMANTS), room) for k in range(len(chosen))]


def job_choice(c: Coupling, fixing: Fixing | None, j: int, position: Array) -> JobChoice:
    """The alternatives of job j: its runs at the sites of a model, and its rejection where the job is optional.

    `position` (N,) : of each site in the model, -1 for sites that are not in it. The present alternative is that of
    `fixing`; without one, the first.
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
    c: Coupling, price: Array, work: Work, position: Array, claim: Contested, factor: Array
) -> dict[str, Array]:
    """The streams that reach a cluster, as fields of `ClusterTask`.

    Demand is what the cluster serves now and the unserved demand that it may serve. It may leave at the cheapest price
    outside, as far as its share of the free capacity there goes. `factor` (K,) : on the costs of each scenario.
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
    instance: Instance, loop: LagrangianLoop, search: SearchState, options: Improvement, until: float
) -> float:
    """Solve the MILPs of a round's clusters on all ranks and fix the jobs as they say.

    A fleet that is a single cluster is solved ATTEMPTS times with other seeds, and the best answer counts.

    Returns
    -------
    Sum of what the clusters' models got cheaper by, USD; what the schedule gains is known when it is completed.
    """
    workers, neighbours, rng, present = loop.workers, search.neighbours, search.rng, Present.of(loop)
    chosen = clusters(neighbours, job_loss(loop), options.cluster_sites, rng)
    # Most of a round's gain lies where jobs lose most at the prices; the others gain more after these were adapted.
    chosen = chosen[: max(options.least_clusters, round(options.share * len(chosen)))]
    for members in chosen:
        neighbours.tried[members[0]] += 1
    end = workers.deadline(until)
    tasks = [
        replace(neighbourhood(instance, loop, present, members, claim, options), until=end)
        for members, claim in zip(chosen, claims(loop.coupling, chosen, rng), strict=True)
    ]
    tasks.sort(key=lambda task: -sum(len(choice.run) for choice in task.choices))  # the longest first
    if len(tasks) == 1:  # the whole fleet: several attempts are what occupies several ranks
        seeds = rng.integers(2**31, size=ATTEMPTS)
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
    """A move of a search that the clock ended, as the log of such answers can hold it for a replay."""
    return k, [m.jobs.tolist(), m.run.tolist(), m.start.tolist()], float(m.gain)


def accept(loop: LagrangianLoop, moves: list[Move]) -> None:
    """Fix the jobs of the moves at their new runs; the others stay."""
    run, start = loop.master.fixing.run.copy(), loop.master.fixing.start.copy()
    for m in moves:
        run[m.jobs], start[m.jobs] = m.run, m.start
    loop.refix(Fixing(run, start))


def job_loss(loop: LagrangianLoop) -> Array:
    """Reduced cost of the jobs by site, (N,) USD: cost of the present run at the prices less that of the cheapest run.

    That of a rejected job is divided equally among its candidate sites.
    """
    jobs, fixing, price = loop.coupling.jobs, loop.master.fixing, loop.coupling.summed(loop.centre.price)
    best = job_kernels.cheapest_runs(price, jobs)[0]
    best = np.where(jobs.optional, np.minimum(best, 0.0), best)
    lost = job_kernels.run_values(price, jobs, fixing.run, fixing.start) - best
    places = np.diff(jobs.ptr)
    owner = np.repeat(np.arange(len(lost)), places)
    candidate = np.arange(len(owner))
    here = (fixing.run < 0)[owner] | (fixing.run[owner] == candidate)
    lost[fixing.run < 0] /= np.maximum(places, 1)[fixing.run < 0]
    return np.bincount(jobs.site[here], lost[owner[here]], minlength=len(price)) + 1e-6
