"""The workers: all ranks, as the root asks them.

The root asks, all ranks, the root included, do their share, and the answers arrive at the root in a fixed order.
What is asked belongs to services: a `Service` holds on every rank what its requests need (its own sites, its part of
the master) and is made where the first request for it arrives, so that this module knows none of them. Work that needs
no memory goes to whoever is free (`farm`). The ranks besides the root sit in `serve`.
A share that fails is an answer with a flag, never an exception between two collectives.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from decomp.lp import watch
from decomp.ranks.clock_decisions import Stops
from decomp.ranks.mpi import Team
from decomp.ranks.team import NOT_DONE, Placement, TaskAnswer
from decomp.ranks.timesheet import by_rank

GRACE_SECONDS = 5.0  # beyond a time limit, for what is being finished


class Service:
    """What every rank does for the root with what it holds itself. A subclass needs no entry anywhere.

    A method for the root calls `Workers.ask` with a request, a small record that travels; `serve` does the share of
    any other rank.
    """

    def __init__(self, workers: Workers) -> None:
        self.workers, self.team = workers, workers.team

    def serve(self, request: Any) -> None:
        """This rank's share of a request of the root."""
        raise NotImplementedError


T = TypeVar("T")
S = TypeVar("S", bound=Service)


@dataclass(frozen=True)
class Tasks:
    """Independent tasks are dealt: `work` is a function of a module, `what` its name in the watchdog's message.

    `kind` : the service whose instance on the rank is the function's first argument; None: the task is all it gets.
    """

    work: Callable[..., Any]
    what: str
    kind: type[Service] | None = None


class Seconds:
    """The seconds of every rank are gathered."""


@dataclass(frozen=True)
class Limit:
    """Long work ends in so many seconds."""

    seconds: float


class Wait:
    """Until the next request the root is busy alone, and nobody is to give up on it."""


class Stop:
    """The ranks are no longer needed."""


class Workers:
    """All ranks of a run, as the root sees them; on the other ranks, what serves it.

    Parameters
    ----------
    team : Serial or MPI.

    Attributes
    ----------
    end : when the time is over, seconds by the root's clock.
    until : when to begin no more dispatches; as long as there is no schedule to keep, that is never.
    """

    def __init__(self, team: Team) -> None:
        self.team = team
        self.stops, self.end, self.until = Stops(), np.inf, np.inf
        self.dismissed = False
        self._services: dict[type[Service], Service] = {}
        self._failed: set[str] = set()  # kinds of tasks of which one failed

    def add(self, service: S) -> S:
        """Take a service that needs more than the workers to be made; every rank adds it before it is asked for."""
        self._services[type(service)] = service
        return service

    def of(self, kind: type[S]) -> S:
        """This rank's service of a kind; made at its first use."""
        service = self._services.get(kind)
        if service is None:
            service = self.add(kind(self))
        assert isinstance(service, kind)
        return service

    def ask(self, kind: type[Service], request: Any, own: Callable[[], T]) -> T:
        """Have the other ranks serve a request, and do the root's share, which takes in their answers. Root only."""
        self.team.bcast((kind, request))
        return own()

    def deal(self, kind: type[Service], requests: Sequence[Any], own: Callable[[], T], what: str = "") -> T:
        """As `ask`, with another request for each rank, (size,); the root's own is in `own`. Root only."""
        self.team.deal([(kind, request) for request in requests], what)
        return own()

    def farm(
        self, work: Callable[[Any], Any], tasks: Sequence[Any], until: float = np.inf, what: str = ""
    ) -> list[Any]:
        """Results of independent tasks, each on whoever is free, in the order asked. Root only.

        `work` is a function of a module; none is started after `until`, seconds by the root's clock. A task
        that failed or was not started gives None; the first failure of its kind is told on standard error.
        """
        answers = self.answers(work, tasks, until, what)
        failed = [a.error for a in answers if a.error not in (None, NOT_DONE)]
        if failed and what not in self._failed:
            self._failed.add(what)
            text = f"warning: {what}: {len(failed)} of {len(tasks)} failed, the solve goes on without: {failed[0]}"
            print(text, file=sys.stderr, flush=True)
        return [None if a.error else a.value for a in answers]

    def answers(
        self,
        work: Callable[..., Any],
        tasks: Sequence[Any],
        until: float = np.inf,
        what: str = "",
        kind: type[Service] | None = None,
        place: Placement | None = None,
    ) -> list[TaskAnswer]:
        """As `farm`, with what became of every task; `kind`: see `Tasks`, `place`: see `Team.map_tasks`."""
        order = Tasks(work, what, kind)
        self._tell(order)
        own = self._bound(order)
        if not self.stops.replayed:
            answers = self.team.map_tasks(own, tasks, until=until, what=what, place=place)
            self.stops.ask(lambda: [k for k, a in enumerate(answers) if a.error == NOT_DONE])
            return answers
        missed = self.stops.ask(list) or []
        started = np.setdiff1d(np.arange(len(tasks)), missed)
        answers = [TaskAnswer(None, NOT_DONE, self.team.rank, 0.0)] * len(tasks)
        again = self.team.map_tasks(own, [tasks[k] for k in started], what=what, place=place)
        for k, answer in zip(started, again, strict=True):
            answers[k] = answer
        return answers

    def _bound(self, tasks: Tasks) -> Callable[[Any], Any]:
        """The function of tasks on this rank."""
        return tasks.work if tasks.kind is None else partial(tasks.work, self.of(tasks.kind))

    def deadline(self, until: float) -> float:
        """When tasks have to end, by `root_seconds`: at `until`, but never in a replay."""
        return np.inf if self.stops.replayed else until

    def limit(self, end: float) -> None:
        """When the time is over, seconds by the root's clock; long work on all ranks ends a little later. Root only."""
        self.end = end
        seconds = np.inf if self.stops.replayed else end + GRACE_SECONDS - self.team.clock()
        self._tell(Limit(seconds))
        watch.end_in(seconds)

    def rank_seconds(self) -> dict[str, list[float]]:
        """Seconds of every rank by what they went to. Root only."""
        self._tell(Seconds())
        return by_rank(self.team.gather(self.team.sheet.read()) or [])

    def serve(self) -> None:
        """Do what the root asks until it says stop."""
        patience: AbstractContextManager[None] = nullcontext()
        while True:
            with patience:
                kind, request = self.team.bcast(None)
            patience = self.team.patient() if isinstance(request, Wait) else nullcontext()
            if isinstance(request, Stop):
                watch.end_in(np.inf)
                return
            if isinstance(request, Tasks):
                self.team.map_tasks(self._bound(request), what=request.what)
            elif isinstance(request, Limit):
                watch.end_in(request.seconds)
            elif isinstance(request, Seconds):
                self.team.gather(self.team.sheet.read())
            elif kind is not None:
                self.of(kind).serve(request)

    def wait(self) -> None:
        """Until the next request the root is busy alone, and nobody is to give up on it. Root only."""
        self._tell(Wait())

    def dismiss(self) -> None:
        """Let the other ranks leave `serve`. Root only."""
        self.dismissed = True
        self._tell(Stop())
        watch.end_in(np.inf)

    def _tell(self, request: Any) -> None:
        self.team.bcast((None, request))
