"""What a team of ranks does together, whatever carries the messages; and the team of one.

All talk is a star around the root. The same methods serve one process and many: with one rank
there is nobody to write to. Every method that takes `what` is called by all ranks in the same
order; `what` names the call in the watchdog's message.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from types import FrameType, TracebackType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from decomp.lp import watch
from decomp.lp.watch import Interrupted
from decomp.model.instance import Array
from decomp.ranks.clock import root_seconds
from decomp.ranks.timesheet import IDLE, Timesheet

T = TypeVar("T")
NextTask = Callable[[int], "tuple[int, Any] | None"]  # for a rank

ROOT = 0
N_TAGS = 16_383  # of calls of all ranks, and as many of exchanges among some; MPI grants 32 768
STOP_TAG = 2 * N_TAGS  # of word of a stop signal, which waits for no call
HEAD = 2  # numbers at the front of an exchange
NEAR = 2  # times as many tasks as ranks are looked through for one of the rank's own
NOT_DONE = "not done before the stop"


@dataclass(frozen=True)
class TaskAnswer:
    """What became of a task: its value, or one line on why there is none; on which rank, in how many seconds."""

    value: Any
    error: str | None
    rank: int
    seconds: float


class AtRoot(Exception):
    """Raised on the other ranks when the root fails in `Team.at_root`; the cause is the root's error."""


@dataclass(frozen=True)
class Placement:
    """Tasks that need something which one rank holds: `owner` names it, `full` is the task for any other rank."""

    owner: Callable[[Any], int]
    full: Callable[[Any], Any]


class Call(NamedTuple):
    """A call as the watchdog names it, and the tag of its messages."""

    name: str
    tag: int


class Team:
    """What does not depend on how messages travel."""

    rank = ROOT
    size = 1

    def __init__(self) -> None:
        self.sheet = Timesheet()
        self._path = self._charged = 0.0  # seconds; processor time of the thread up to which it is on the path
        self._calls = self._exchanges = 0
        self._vectors: dict[int, Array] = {}
        self._signalled = self._stop = False
        self._handing_out = False  # another thread speaks for this rank
        self._agreed_failure: Exception | None = None
        self._old_handlers: dict[int, Any] = {}
        self._listened: Callable[[], bool] | None = None

    @property
    def is_root(self) -> bool:
        return self.rank == ROOT

    @property
    def waited_seconds(self) -> float:
        """Seconds that this rank has waited for others."""
        return self.sheet.seconds.get(IDLE, 0.0)

    @property
    def workers(self) -> range:
        """The ranks besides the root."""
        return range(1, self.size)

    def clock(self) -> float:
        """Seconds since the root's process started (on other ranks: to a few milliseconds)."""
        return root_seconds()

    def path_seconds(self) -> float:
        """Processor seconds along the longest chain of work and messages that has led here, on whatever ranks.

        That is how long the run would have taken so far with a core for every rank and instant messages; what
        else a machine does is not in it.
        """
        now = time.thread_time()
        self._path, self._charged = self._path + now - self._charged, now
        return self._path

    def _await(self, path: float) -> None:
        """After a wait for work that took the path to here; the processor time of waiting itself is on no path."""
        self._path, self._charged = max(self._path, path), time.thread_time()

    def stop_requested(self) -> bool:
        """Whether the root knew at the last `bcast` that some rank had a stop signal; the same on all ranks."""
        return self._stop

    @property
    def signalled(self) -> bool:
        """Whether this rank has had a stop signal, or has heard of one."""
        return self._signalled

    def bcast(self, value: Any, what: str = "") -> Any:
        """The root's value, on every rank."""
        call = self._next_call("bcast", what)
        if self.is_root:
            self._send(dict.fromkeys(self.workers, value), call)
            self._stop = self._signalled
        else:
            [(self._stop, value)] = self._receive([ROOT], call)
        return value

    def deal(self, values: Sequence[Any], what: str = "") -> None:
        """What `bcast` is on the other ranks, with another value for each, (size,). Root only."""
        call = self._next_call("bcast", what)
        self._send({rank: values[rank] for rank in self.workers}, call)
        self._stop = self._signalled

    def exchange(self, work: Callable[[], Sequence[Array]], ranks: int, what: str = "") -> list[Array]:
        """Do this rank's work, which gives arrays of float64; the rest of the ranks do not call.

        What each of the first `ranks` ranks got, its arrays end to end (n,), in rank order; to be copied before the
        next exchange. Numbers only, in memory that is kept, since a master does this a thousand times a second.
        """
        call, at = self._next_exchange("exchange", what), HEAD
        arrays = work()
        message = self._vector(self.rank, HEAD + sum(a.size for a in arrays))
        for a in arrays:
            message[at : at + a.size] = a.ravel()
            at += a.size
        others = [rank for rank in range(ranks) if rank != self.rank]
        values = self._swap(message, others, call) if others else []
        values.insert(self.rank, message)
        return [value[HEAD:] for value in values]

    def _vector(self, rank: int, n: int) -> Array:
        """Memory for n numbers of a rank."""
        if len(self._vectors.get(rank, ())) < n:
            self._vectors[rank] = np.empty(n)
        return self._vectors[rank][:n]

    def agree(self, value: T, ranks: int, what: str = "") -> T:
        """The root's value on the first `ranks` ranks; the others do not call it."""
        call = self._next_exchange("agree", what)
        if self.is_root:
            self._send(dict.fromkeys(range(1, ranks), value), call)
            return value
        return self._receive([ROOT], call)[0][1]

    def meet(self, count: int | None = None) -> int:
        """How many exchanges there were, as the root tells those that begin to take part in them."""
        self._exchanges = self._exchanges if count is None else count
        return self._exchanges

    def gather(self, value: T, what: str = "", ranks: int | None = None) -> list[T] | None:
        """Every rank's value, in rank order, at the root; None elsewhere.

        `ranks` : only that of the first so many ranks; the others do not call it.
        """
        call = self._next_call("gather", what) if ranks is None else self._next_exchange("gather", what)
        if not self.is_root:
            self._send({ROOT: value}, call)
            return None
        messages = self._receive(self.workers[: None if ranks is None else ranks - 1], call)
        self._signalled |= any(signalled for signalled, _ in messages)
        return [value, *(answer for _, answer in messages)]

    def gather_rows(self, rows: Array, owner: Array) -> Array | None:
        """All ranks' own rows in one array, (S, ...) in row order, at the root; None elsewhere.

        `owner` (S,) : rank that owns each row, the same on all ranks. One that owns none sends an empty array of the
        right shape, (0, ...).
        """
        pieces = self.gather(rows)
        if pieces is None:
            return None
        full = np.empty((len(owner), *rows.shape[1:]), np.result_type(*pieces))
        for rank, piece in enumerate(pieces):
            full[owner == rank] = piece
        return full

    def barrier(self, what: str = "") -> None:
        """Wait until every rank is here."""
        self.gather(None, what)
        self.bcast(None, what)

    def at_root(self, function: Callable[[], T], what: str = "") -> T:
        """Run a function at the root; every rank gets its value, or fails with it: see `AtRoot`."""
        outcome: tuple[Any, Exception | None] = None, None
        if self.is_root:
            try:
                outcome = function(), None
            except Exception as error:
                outcome = None, error
        value, failure = self.bcast(outcome, what)
        if failure is None:
            return value
        self._agreed_failure = failure if self.is_root else AtRoot(what)
        raise self._agreed_failure from (None if self.is_root else failure)

    def agreed_on(self, error: BaseException) -> bool:
        """Whether all ranks fail together where this one fails by an error, see `at_root`."""
        return error is self._agreed_failure

    def map_tasks(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any] = (),
        *,
        until: float = np.inf,
        what: str = "",
        place: Placement | None = None,
    ) -> list[TaskAnswer]:
        """Run independent tasks on whoever is free, the root too; their answers in task order (elsewhere: none).

        A task that raises is answered with an error, and so is one that was not started or not done because of
        `until` or a stop signal. Tasks start in the given order: put the longest first.

        Parameters
        ----------
        function : what every rank does with a task; it must not use the team.
        tasks : picklable records at the root, ignored elsewhere.
        until : time by `clock` after which no task is started.
        place : a rank gets the first task that it owns, if one of the next few is its own.
        """
        call = self._next_call("map_tasks", what)

        def timed(task: Any) -> Any:
            with self.sheet.section(what or "tasks"):
                return function(task)

        if not self.is_root:
            self._work(timed, call)
            return []
        answers = [TaskAnswer(None, NOT_DONE, ROOT, 0.0)] * len(tasks)
        queue, lock = list(enumerate(tasks))[::-1], Lock()  # the next one last

        def next_task(rank: int) -> tuple[int, Any] | None:
            with lock:
                if not queue or watch.over() or self.clock() >= until:
                    return None
                if place is None:
                    return queue.pop()
                nearest = range(len(queue) - 1, max(len(queue) - 1 - NEAR * self.size, -1), -1)
                own = next((k for k in nearest if place.owner(queue[k][1]) == rank), None)
                if own is not None:
                    return queue.pop(own)
                index, task = queue.pop()
                return index, place.full(task)

        self.path_seconds()
        self._handing_out = True
        with ThreadPoolExecutor(1) as thread:
            dispatching = thread.submit(self._dispatch, next_task, answers, call)
            try:
                while self._may_work_while_dispatching and (item := next_task(self.rank)) is not None:
                    answers[item[0]] = attempt(timed, item[1], self.rank)
                own = self.path_seconds()
                with self.sheet.section(IDLE):
                    self._await(max(own, dispatching.result()))
            finally:
                queue.clear()
        self._handing_out = False
        return answers

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Inside, nobody gives up on a rank that is late; for work whose length only the user knows."""
        yield

    def _next_call(self, method: str, what: str) -> Call:
        self._calls += 1
        return Call(f"{method}({what})", self._calls % N_TAGS)

    def _next_exchange(self, method: str, what: str) -> Call:
        """Ranks that do not take part do not count, so these have tags of their own."""
        self._exchanges += 1
        return Call(f"{method}({what})", N_TAGS + self._exchanges % N_TAGS)

    # How messages travel: in a team of one there is nobody to write to.

    _may_work_while_dispatching = True

    def _send(self, values: dict[int, Any], call: Call) -> None:
        assert not values

    def _receive(self, ranks: Sequence[int], call: Call) -> list[tuple[bool, Any]]:
        assert not ranks
        return []

    def _swap(self, value: Array, others: Sequence[int], call: Call) -> list[Array]:
        """Send a vector to some ranks and receive theirs."""
        raise NotImplementedError

    def _dispatch(self, next_task: NextTask, answers: list[TaskAnswer], call: Call) -> float:
        """Hand out tasks and take in answers; the path to the last of them."""
        return 0.0

    def _work(self, function: Callable[[Any], Any], call: Call) -> None:
        raise NotImplementedError

    def _leave(self) -> None:
        pass

    # A program, which owns its signals and its MPI, does everything inside `with team:`.

    def __enter__(self) -> Team:
        self._old_handlers |= watch.catch(watch.STOP_SIGNALS, self._on_signal)
        self._listened = watch.listen(self._hears)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """All ranks leave together, except one that fails alone: its exit ends the others, see `exit_code`."""
        watch.listen(self._listened)
        if error is None or self.agreed_on(error):
            self._leave()
        self._restore_handlers(*watch.STOP_SIGNALS)

    def _hears(self) -> bool:
        """What long work asks all the time: whether a stop signal has come, wherever it came."""
        return self._signalled

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        if number in (signal.SIGINT, signal.SIGTERM):  # a second ends as usual; of the others several may come
            self._restore_handlers(signal.SIGINT, signal.SIGTERM)

    def _restore_handlers(self, *numbers: int) -> None:
        for number in numbers:
            if number in self._old_handlers:
                signal.signal(number, self._old_handlers.pop(number))


class Serial(Team):
    """A team of one."""


def attempt(function: Callable[[Any], Any], task: Any, rank: int) -> TaskAnswer:
    """Do a task; a failure becomes a line of text."""
    started = time.monotonic()
    value, failure = None, None
    try:
        value = function(task)
    except Interrupted:
        failure = NOT_DONE
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"{type(error).__name__}: {error} ({os.path.basename(place.filename)}:{place.lineno})"
    return TaskAnswer(value, failure, rank, time.monotonic() - started)
