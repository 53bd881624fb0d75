"""What the root knows of a solve: best prices, best schedule, log; and when to stop."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

import numpy as np

from decomp.bound.coupling import hourly
from decomp.bound.infeasible import Infeasible
from decomp.bound.lagrangian import BundleStep, DualPoint, LagrangianLoop, Start
from decomp.bound.multipliers import Multipliers, line_of_generators
from decomp.files.atomic import PathLike
from decomp.lp.watch import Interrupted
from decomp.model.accounts import allot
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.result import Dual, Futures, Iteration, Result, Status
from decomp.model.rounding import money_slack
from decomp.model.text import gap_rel
from decomp.ranks.clock import process_seconds
from decomp.ranks.clock_decisions import Stops
from decomp.ranks.workers import Workers
from decomp.schedule.incumbent import Incumbent, admits
from decomp.search.by_prices import SearchState
from decomp.site.grid_ban import Ban
from decomp.site.service import SiteService


class Outcome(Enum):
    """How a phase ended; the result and the log hold what it found."""

    DONE = "done"  # it did what it could
    SKIPPED = "skipped"  # nothing in it for this fleet, or no time or gap left for it


class Listener(Protocol):
    """Anything that wants to hear of progress: the screen, the JSON log, a checkpoint."""

    def row(self, it: Iteration) -> None: ...


def _nobody(what: object) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Hooks:
    """Who is told of a solve, what is written while it lasts, and what it repeats; at the root.

    Attributes
    ----------
    listeners : told of every iteration.
    keep : called with the result so far whenever the schedule improves.
    after : called with the run at its end; not by the extensive form, which leaves none.
    checkpoint : file for checkpoints, and seconds between two.
    beside : files on sites whose solver fails are named after this one.
    stops : a recorded run to repeat, or who is told what is cut short.
    """

    listeners: Sequence[Listener] = ()
    keep: Callable[[Result], None] = _nobody
    after: Callable[[Run], None] = _nobody
    checkpoint: tuple[PathLike, float] | None = None
    beside: PathLike | None = None
    stops: Stops | None = None


class Run:
    """The root's record of a solve: best prices, best schedule, log; and when to stop."""

    def __init__(self, instance: Instance, workers: Workers, options: Options, hooks: Hooks, since: float = 0.0):
        """`since`: seconds of the process before this solve began; its time limit counts from there."""
        self.instance, self.workers, self.options = instance, workers, options
        self.team, self.keep, self.stops = workers.team, hooks.keep, hooks.stops or Stops()
        self.listeners = list(hooks.listeners)
        self.log: list[Iteration] = []
        self.proof: DualPoint | None = None
        self.ban = self.proof_ban = Ban.RELAXED  # now, and as the prices were proved
        self.stronger: tuple[float, Dual | None] | None = None
        self.incumbent: Incumbent | None = None
        self.infeasible: Infeasible | None = None
        self.phase = "bound"
        self.present: LagrangianLoop | None = None
        self.start: Start | None = None
        self.search: SearchState | None = None
        self.seconds_before = 0.0
        self.finish_seconds = 0.0
        self.waited_before = 0.0
        self.since = since
        self.deadline = since + options.time_limit_seconds * (1.0 - options.milp_bound.share)
        self.rank_seconds: dict[str, list[float]] = {}

    @property
    def small(self) -> bool:
        """Whether it is a small fleet, over not too many periods and scenarios, none of whose decisions join these."""
        n, options = self.instance.n_places, self.options
        few = n <= options.small_fleet and n * self.instance.n_periods <= options.moves.site_periods
        return few and self.instance.copies <= options.moves.scenarios and not self.instance.day_ahead_lines

    @property
    def bound(self) -> float:
        return min(self._proven, self.cost)

    @property
    def _proven(self) -> float:
        proven = -np.inf if self.proof is None else self.proof.bound
        return proven if self.stronger is None else max(proven, self.stronger[0])

    @property
    def cost(self) -> float:
        return np.inf if self.incumbent is None else self.incumbent.cost

    @property
    def gap(self) -> float:
        """(incumbent - bound) / max(|incumbent|, 1 USD); inf as long as either is missing."""
        return gap_rel(self.bound, self.cost)

    def prove(self, point: DualPoint) -> None:
        """Keep the prices if they prove more, for the problem with all jobs free; not of sites without temptation."""
        if self.ban is not Ban.UNTEMPTED and (self.proof is None or point.bound > self.proof.bound):
            self.proof, self.proof_ban = point, self.ban
        self._consistent()

    def ask_so(self, ban: Ban) -> None:
        """From now on the sites treat the ban on importing and exporting at once so in their answers to prices."""
        if ban is not self.ban:
            self.workers.of(SiteService).treat_ban(ban)
            self.ban = ban

    def strengthen(self, bound: float, dual: Dual | None) -> None:
        """Keep a bound that load prices do not prove; `dual` None: the whole fleet in one MILP does."""
        if bound > self.bound:
            self.stronger = bound, dual
        self._consistent()

    def offer(self, incumbent: Incumbent | None) -> bool:
        """Keep the schedule if it is cheaper and keeps every hard rule; no other leaves the solver."""
        better = incumbent is not None and incumbent.cost < self.cost and admits(self.instance, incumbent)
        if better:
            self.incumbent = incumbent
        self._consistent()
        return better

    def _consistent(self) -> None:
        if np.isfinite(self.cost) and self._proven > self.cost + money_slack(self.instance, self.cost):
            raise ArithmeticError(f"bound {self._proven:.6f} USD above a schedule of {self.cost:.6f} USD")

    @property
    def loop(self) -> LagrangianLoop:
        """The loop on prices; there is one from the first answers of the sites on."""
        assert self.present is not None
        return self.present

    def record(self, step: BundleStep | None) -> bool:
        """Log the present state; whether the time for more iterations is over.

        Raises
        ------
        Interrupted : a stop signal has been heard.
        """
        loop = self.loop
        line = Iteration(
            iteration=len(self.log),
            phase=self.phase,
            bound=self.bound,
            incumbent=self.cost if np.isfinite(self.cost) else None,
            wall_seconds=self.clock(),
            model=step.model if step else None,
            step=("serious" if step.serious else "null") if step else "",
            residual_gpu=step.residual_gpu if step else 0.0,
            carbon_price=loop.centre.carbon_price,
            columns=loop.master.n_columns,
            site_seconds=step.site_seconds if step else 0.0,
            master_seconds=step.master_seconds if step else 0.0,
            recovery_seconds=0.0 if step or not self.log else self.clock() - self.log[-1].wall_seconds,
            idle_seconds=self.team.waited_seconds - self.waited_before,
        )
        self.waited_before = self.team.waited_seconds
        self.log.append(line)
        for listener in self.listeners:
            listener.row(line)
        if self.stops.ask(lambda: self.team.signalled):
            raise Interrupted
        return self.late()

    def clock(self) -> float:
        """Seconds spent on this solve, those before it was resumed included."""
        return self.seconds_before + process_seconds() - self.since

    def seconds_left(self) -> float:
        """Until the deadline: of the search for schedules, and in the end of the whole solve; inf in a replay."""
        return np.inf if self.stops.replayed else self.deadline - process_seconds()

    def before_deadline(self, share: float) -> float:
        """When so large a share of the time left is still to come, by the clock of the process."""
        now = process_seconds()
        return now + (1.0 - share) * (self.deadline - now)

    @property
    def finish_reserve(self) -> float:
        """Seconds kept for the next completion of a schedule: what the last one took, and some."""
        return 1.3 * self.finish_seconds

    def late(self, least: float = 0.0) -> bool:
        """Whether no more than so many seconds are left."""
        return bool(self.stops.ask(lambda: self.seconds_left() <= least))

    def must_stop(self) -> bool:
        """Gap reached, time over, or somebody asked to stop."""
        if self.gap <= self.options.rel_gap:
            return True
        return bool(self.stops.ask(lambda: self.seconds_left() <= 0.0 or self.team.stop_requested()))

    def result(self) -> Result:
        """What is known now."""
        facts = provenance(self.instance, self.options, self.team.size) | {"rank_seconds": self.rank_seconds}
        if self.infeasible is not None:
            facts, log = facts | {"reason": str(self.infeasible)}, tuple(self.log)
            return Result(Status.INFEASIBLE, np.inf, np.inf, None, None, log, facts, self.infeasible.ray)
        status = Status.GAP_REACHED if self.gap <= self.options.rel_gap else Status.LIMIT
        dual = dual_of(self.instance, self.proof) if self.proof else None
        if self.stronger and self.stronger[0] >= self.bound:
            dual = self.stronger[1] or (replace(dual, form="whole") if dual else None)
        schedule = self.incumbent.schedule if self.incumbent else None
        return Result(
            status=status,
            bound=self.bound,
            incumbent=self.cost,
            schedule=schedule,
            dual=dual,
            log=tuple(self.log),
            provenance=facts,
            allowances=allot(self.instance, schedule, dual),
        )


def dual_of(instance: Instance, proof: DualPoint) -> Dual:
    """The proof in the units of the result: prices per GPU-hour; work priced at its cheapest place."""
    price = hourly(proof.price, instance.period_h)
    arcs = instance.arcs
    stream = np.repeat(instance.streams.unserved_penalty[:, None], instance.n_periods, axis=1)
    np.minimum.at(stream, arcs.stream, (arcs.cost - instance.streams.revenue[arcs.stream])[:, None] + price[arcs.site])
    return Dual(
        load_price=price,
        stream_price=stream,
        job_price=np.zeros(instance.n_jobs),
        pool_price=np.zeros(instance.n_pools),
        site_lower=proof.site_lower,
        carbon_price=proof.carbon_price,
        form="load",
        futures=futures_of(instance, proof.prices),
    )


def futures_of(instance: Instance, prices: Multipliers) -> Futures | None:
    """What joins the scenarios besides, where anything does."""
    n = instance.n_periods
    if max(len(prices.carbon), len(prices.weight)) == 1 and prices.links.shape[1] == n:
        return None
    p, commitment = instance.scenarios.probability, np.zeros((len(instance.generators.site), n))
    line = line_of_generators(instance)
    for g in np.flatnonzero(line >= 0):
        commitment[g] = prices.links[instance.generators.site[g], n * (1 + line[g]) : n * (2 + line[g])]
    return Futures(p * prices.weight, np.full(len(p), 1.0) * prices.carbon, commitment)


def provenance(instance: Instance, options: Options, ranks: int) -> dict[str, object]:
    """Where a result comes from."""
    packages = ("numpy", "scipy", "numba", "highspy", "mpi4py", "h5py")
    return dict(
        instance_hash=instance.content_hash(),
        method=options.method,
        options=options.to_dict(),
        seed=options.seed,
        ranks=ranks,
        python=platform.python_version(),
        machine=platform.machine(),
        versions={name: _version(name) for name in packages},
        decomp=_version("decomp-fleet"),
    )


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
