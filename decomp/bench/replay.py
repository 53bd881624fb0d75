"""How a solve would run on other numbers of ranks: a replay of what was measured in one that was recorded.

A solve is a chain of steps. In each, the root works alone (master, recovery), sends word to the ranks, all ranks work
on items (their own sites, or tasks for whoever is free), and the root takes in the answers. `Recorder` writes that
chain down with the seconds of every item, in processor time, so that what else the machine does is not counted; the
steps are the same on any number of ranks. `replay` runs the chain on given ranks: events are messages and ends of
work, and the root handles one message at a time.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

from decomp.bound.layout import power_of_two
from decomp.model.instance import Array, Instance
from decomp.model.options import Options
from decomp.model.result import Iteration
from decomp.model.scenarios import expand
from decomp.ranks.team import Serial, TaskAnswer
from decomp.ranks.workers import Service, Workers
from decomp.site.service import SiteAnswers, SiteReader, muster
from decomp.solver.bounding import first_loop
from decomp.solver.methods import phases_left
from decomp.state.solve_state import Hooks, Run

T = TypeVar("T")


@dataclass(frozen=True)
class ReplayStep:
    """Work of all ranks, and of the root alone before it.

    Attributes
    ----------
    root_seconds : the root's work since the last step, while the others wait; but
    block_seconds : so much of it is shared by the ranks that have a part of the master (`decomp.bound.master_part`),
    exchanges, exchanged : telling each other so often so many bytes in all; the root's word to them counts as one.
    block_rows : the fleet's sites times periods by those that the square of its number of blocks asks for.
    seconds : (n,) of each item.
    site : (n,) the site of each item, worked on by its owner; None: tasks for whoever is free.
    out, back : bytes sent with each item, and with each answer.
    """

    root_seconds: float
    seconds: Array
    site: Array | None
    out: float
    back: float
    block_seconds: float = 0.0
    exchanges: int = 0
    exchanged: float = 0.0
    block_rows: float = 1.0


@dataclass(frozen=True)
class Cluster:
    """Ranks and what their messages take.

    Attributes
    ----------
    ranks, cores : ranks that must share cores get an equal part of them.
    message_seconds, byte_seconds : of the root's time, for each message and each of its bytes.
    latency_seconds : between sending and receiving, while nobody is busy.
    tree : messages go over other ranks, so that the root handles log2(ranks) of them.
    """

    ranks: int
    cores: float = np.inf
    message_seconds: float = 0.0
    byte_seconds: float = 0.0
    latency_seconds: float = 0.0
    tree: bool = False


@dataclass(frozen=True)
class Times:
    """Seconds of a replayed run: in all and by what they went to at the root; busy: work of all ranks together."""

    total: float
    root: float
    work: float
    messages: float
    busy: float
    ranks: int

    @property
    def idle_share(self) -> float:
        """Share of the ranks' time in which they neither work on items nor are the root's own work."""
        return 1.0 - self.busy / (self.ranks * self.total)

    @property
    def limit(self) -> str:
        """What most of the time goes to."""
        parts = {"root's own work": self.root, "its messages": self.messages, "sites and moves": self.work}
        return max(parts, key=lambda name: parts[name])


class OneForAll(Serial):
    """A team of one that notes what the ranks of a master would share: seconds, exchanges, bytes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = np.zeros(3)

    def exchange(self, work: Callable[[], Sequence[Array]], ranks: int, what: str = "") -> list[Array]:
        before = time.process_time()
        found = super().exchange(work, ranks, what)
        self.shared += time.process_time() - before, 1.0, sum(value.nbytes for value in found)
        return found

    def agree(self, value: T, ranks: int, what: str = "") -> T:
        self.shared += 0.0, 1.0, 0.0
        return super().agree(value, ranks, what)


class Recorder(Workers):
    """Workers that write down their steps between the first and the last line of the log; also a `Listener`."""

    def __init__(self, team: OneForAll, block_rows: float) -> None:
        super().__init__(team)
        self.one, self.block_rows = team, block_rows
        self.steps: list[ReplayStep] = []
        self._kept = 0
        self._since: float | None = None

    def row(self, it: Iteration) -> None:
        """What comes before the first line is start-up; what comes after the last one is not kept."""
        if self._since is None:
            self._since = time.process_time()
        self._kept = len(self.steps)

    def chain(self) -> list[ReplayStep]:
        """The steps between the first and the last line of the log."""
        return self.steps[: self._kept]

    def _took(self, call: Callable[[], Any], describe: Callable[[Any], Mapping[str, Any]]) -> Any:
        """Do a step and write it down, if the log has begun."""
        before, wall = time.process_time(), time.perf_counter()
        (block_seconds, exchanges, exchanged), self.one.shared = self.one.shared, np.zeros(3)
        value = call()
        if self._since is not None:
            step = ReplayStep(
                root_seconds=before - self._since, block_seconds=block_seconds, exchanges=int(exchanges),
                exchanged=exchanged, block_rows=self.block_rows, **describe(value),
            )  # fmt: skip
            used = (time.process_time() - before) / max(time.perf_counter() - wall, 1e-9)
            self.steps.append(replace(step, seconds=min(used, 1.0) * step.seconds))
            self._since = time.process_time()
        return value

    def deal(self, kind: type[Service], requests: Sequence[Any], own: Callable[[], T], what: str = "") -> T:
        def describe(answers: SiteAnswers) -> Mapping[str, Any]:
            n_sites, n_periods = answers.load.shape
            seconds, out = np.nan_to_num(answers.seconds), size_of(list(requests)) / n_sites
            return dict(seconds=seconds, site=np.arange(n_sites), out=out, back=8.0 * (n_periods + 4))

        return self._took(lambda: super(Recorder, self).deal(kind, requests, own, what), describe)

    def answers(self, work: Callable[..., Any], tasks: Sequence[Any], *where: Any, **how: Any) -> list[TaskAnswer]:
        return self._took(
            lambda: super(Recorder, self).answers(work, tasks, *where, **how),
            lambda answers: dict(
                seconds=np.array([a.seconds for a in answers]), site=None,
                out=size_of(list(tasks)) / max(len(tasks), 1), back=size_of(answers) / max(len(answers), 1),
            ),
        )  # fmt: skip


def record(instance: Instance, options: Options, read: SiteReader) -> list[ReplayStep]:
    """Solve an instance, with all its scenarios, in this process and return the chain of its steps."""
    instance = expand(instance)
    rows = instance.n_sites * instance.n_periods / options.bundle.part_size
    workers = Recorder(OneForAll(), rows)
    muster(instance, workers, read)
    run = Run(instance, workers, options, Hooks(listeners=[workers]))
    run.present = first_loop(run)
    for phase in phases_left("lagrangian", run.phase):
        phase.work(run)
    return workers.chain()


def size_of(value: Any) -> float:
    """About as many bytes as a record takes in a message: its arrays, and 8 for anything else."""
    if isinstance(value, np.ndarray):
        return float(value.nbytes)
    if is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Mapping):
        return sum(size_of(part) for part in value.values())
    return sum(size_of(part) for part in value) if isinstance(value, list | tuple) else 8.0


def grow(steps: Sequence[ReplayStep], sites: int, rng: np.random.Generator) -> list[ReplayStep]:
    """The same chain for another number of sites: seconds drawn from those measured, the root's work in proportion.

    A site drawn keeps its seconds through all steps, so that slow sites stay slow.
    """
    measured = 1 + max(int(step.site.max()) for step in steps if step.site is not None and len(step.site))
    drawn = rng.integers(measured, size=sites)
    factor = sites / measured
    grown = []
    for step in steps:
        part = replace(
            step, root_seconds=factor * step.root_seconds, block_seconds=factor * step.block_seconds,
            exchanged=factor * step.exchanged, block_rows=factor * step.block_rows,
        )  # fmt: skip
        if step.site is None:
            count = round(factor * len(step.seconds))
            part = replace(part, seconds=np.sort(rng.choice(step.seconds, count))[::-1] if count else step.seconds)
        else:
            of_site = np.full(measured, np.nan)
            of_site[step.site] = step.seconds
            site = np.flatnonzero(~np.isnan(of_site[drawn]))
            part = replace(part, seconds=of_site[drawn][site], site=site)
        grown.append(part)
    return grown


def replay(steps: Sequence[ReplayStep], cluster: Cluster) -> Times:
    """Run the chain on a cluster."""
    ranks = cluster.ranks
    now = root = work = messages = busy = 0.0
    for step in steps:
        alone, talk = _master(step, cluster)
        begin = now + alone + talk
        now, longest = _owned(step, cluster, begin) if step.site is not None else _farmed(step, cluster, begin)
        root, work, messages = root + alone, work + longest, messages + talk + now - begin - longest
        busy += float(step.seconds.sum()) + step.root_seconds
    return Times(now, root, work, messages, busy, ranks)


def _master(step: ReplayStep, cluster: Cluster) -> tuple[float, float]:
    """Seconds before a step: of work, some of it shared by the ranks that have blocks; of their exchanges."""
    ranks = min(power_of_two(math.sqrt(step.block_rows)), power_of_two(cluster.ranks))
    work = step.root_seconds - step.block_seconds * (1.0 - 1.0 / min(ranks, cluster.cores))
    each = cluster.message_seconds * (ranks - 1) + (cluster.latency_seconds if ranks > 1 else 0.0)
    return work, step.exchanges * each + cluster.byte_seconds * step.exchanged * (1.0 - 1.0 / ranks)


def _owned(step: ReplayStep, cluster: Cluster, begin: float) -> tuple[float, float]:
    """Every rank works on its own sites: when the root has all answers, and the longest work of a rank."""
    assert step.site is not None
    ranks = cluster.ranks
    owner = step.site % ranks
    work = shared(np.bincount(owner, step.seconds, ranks), cluster.cores)
    items = np.bincount(owner, minlength=ranks)[1:]
    handling = cluster.message_seconds * _direct(cluster)
    sent = begin + np.cumsum(handling + cluster.byte_seconds * step.out * items)
    free = (sent[-1] if ranks > 1 else begin) + work[0]
    arrived = sent + 2 * cluster.latency_seconds + work[1:]
    turn = np.argsort(arrived, kind="stable")
    service = (handling + cluster.byte_seconds * step.back * items)[turn]
    return one_at_a_time(arrived[turn], service, free), float(work.max())


def _farmed(step: ReplayStep, cluster: Cluster, begin: float) -> tuple[float, float]:
    """Tasks in their order to whoever is free: when the root has all answers, and the longest work of a rank.

    The root, here the last one, hands out before it takes a task itself.
    """
    hands = int(min(cluster.ranks, cluster.cores))
    handling = 2 * cluster.message_seconds * _direct(cluster) + cluster.byte_seconds * (step.out + step.back)
    free = [(begin, rank, 0.0) for rank in range(1, hands + 1)]
    clock, longest, end = begin, 0.0, begin
    for seconds in step.seconds:
        at, rank, done = heapq.heappop(free)
        if rank < hands:
            clock = max(clock, at) + handling
            at = clock + 2 * cluster.latency_seconds
        heapq.heappush(free, (at + seconds, rank, done + seconds))
        longest, end = max(longest, done + seconds), max(end, at + seconds)
    return end, longest


def _direct(cluster: Cluster) -> float:
    """Share of the messages to or from all ranks that the root handles itself."""
    return float(np.ceil(np.log2(cluster.ranks))) / max(cluster.ranks - 1, 1) if cluster.tree else 1.0


def one_at_a_time(arrived: Array, service: Array, free: float) -> float:
    """When a server that is free at a time has served everybody, in order of arrival; it may wait for them."""
    if not len(arrived):
        return free
    after = np.cumsum(service[::-1])[::-1]  # of this one and all that follow
    return float(max(free + after[0], (arrived + after).max()))


def shared(work: Array, cores: float) -> Array:
    """When each of several processes that start together is done, if they share cores equally."""
    if len(work) <= cores:
        return work
    order = np.argsort(work, kind="stable")
    steps = np.diff(work[order], prepend=0.0)
    left = len(work) - np.arange(len(work))
    done = np.empty(len(work))
    done[order] = np.cumsum(steps * np.maximum(left / cores, 1.0))
    return done
