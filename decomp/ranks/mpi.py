"""The team over MPI: the only module that knows MPI.

Every message is non-blocking and point to point between a rank and the root, so whoever waits
knows for whom. A rank that keeps others waiting is named on stderr, with its stack where it can be
had, and all ranks end with exit code 5: within `patience` seconds if the root waits for it; if it
is the root, within twice that (the root may rightly have waited for others before) and a little.
"""

from __future__ import annotations

import faulthandler
import math
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from decomp.model.instance import Array, InputError
from decomp.model.strict import instance_of
from decomp.ranks.clock import follow_root, process_seconds
from decomp.ranks.team import HEAD, ROOT, STOP_TAG, AtRoot, Call, NextTask, Serial, TaskAnswer, Team, attempt
from decomp.ranks.timesheet import IDLE, TALK

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm, Request

__all__ = ["MPI", "AtRoot", "Serial", "TaskAnswer", "Team", "exit_code", "load_mpi"]

GIVEN_UP = 5  # exit code
START_SECONDS = 300.0  # least patience with ranks that are still loading their modules
YIELD_SECONDS = 1e-4  # of waiting, before the naps begin
NAP_SHARE = 0.05  # of the time waited so far: what a nap may add to the wait
LONGEST_NAP_SECONDS = 1e-3
LOOK_SECONDS = 0.05  # of long work, between two looks for word of a stop signal


class MPI(Team):
    """The ranks of a communicator; all of them construct it.

    Parameters
    ----------
    comm : communicator of mpi4py, used for nothing else meanwhile; only drivers pass that of all ranks.
    patience : seconds that the root waits for a rank before it ends the run. It must exceed the
        longest work between two calls and the longest task.
    ends_mpi : whether MPI ends with the team, as it does in a program that has nothing else to do with it.
    """

    def __init__(self, comm: Intracomm, patience: float = 600.0, ends_mpi: bool = False) -> None:
        super().__init__()
        self._comm, self._ends_mpi = comm, ends_mpi
        self._mpi = load_mpi()
        instance_of(comm, self._mpi.Intracomm, "comm")
        self.rank, self.size = comm.rank, comm.size
        self._patience = self._own_patience(max(patience, START_SECONDS))
        self._may_work_while_dispatching = self._mpi.Query_thread() >= self._mpi.THREAD_SERIALIZED
        self._places: list[tuple[str, int]] = []
        self._stops_sent: list[Request] = []
        self._stops_from: set[int] = set()
        self._looked, self._ending = time.monotonic(), False
        places = self.gather((socket.gethostname(), os.getpid()), "start")
        self._places, root_seconds = self.bcast((places, process_seconds()), "start")
        follow_root(0.0 if self.is_root else root_seconds - process_seconds())
        self._patience = self._own_patience(patience)

    def _own_patience(self, seconds: float) -> float:
        """The root knows who is late and speaks first; of the others, one rank after the other."""
        return seconds if self.is_root else 2 * seconds + 1 + 0.5 * self.rank

    @contextmanager
    def patient(self) -> Iterator[None]:
        usual, self._patience = self._patience, math.inf
        try:
            yield
        finally:
            self._patience = usual

    def _send(self, values: dict[int, Any], call: Call) -> None:
        with self.sheet.section(TALK):
            posted = self._post(values, call, self.path_seconds())
        with self.sheet.section(IDLE):
            self._complete(posted, call)
        self._await(0.0)

    def _receive(self, ranks: Sequence[int], call: Call, inbox: _Inbox | None = None) -> list[tuple[bool, Any]]:
        inbox = inbox or _Inbox(self._comm, self._mpi, call.tag)
        inbox.expect(ranks)
        self.path_seconds()
        with self.sheet.section(IDLE):
            self._wait(inbox.waiting, inbox.poll, call)
        self.sheet.move(inbox.seconds, IDLE, TALK)
        self._await(max((path for _, path, _ in inbox.messages.values()), default=0.0))
        return [(inbox.messages[rank][0], inbox.messages[rank][2]) for rank in ranks]

    def _swap(self, message: Array, others: Sequence[int], call: Call) -> list[Array]:
        with self.sheet.section(TALK):
            message[:HEAD] = self._signalled, self.path_seconds()
            posted = {rank: self._comm.Isend([message, self._mpi.BYTE], rank, call.tag) for rank in others}
        received = self._receive(others, call, _Vectors(self._comm, self._mpi, call.tag, memory=self._vector))
        with self.sheet.section(IDLE):
            self._complete(posted, call)
        return [theirs for _, theirs in received]

    def _post(self, values: dict[int, Any], call: Call, path: float) -> dict[int, Request]:
        """Start sending, with the path to here; a value for several ranks is pickled once."""
        payloads = {id(value): pickle.dumps((self._signalled, path, value), 5) for value in values.values()}
        return {
            rank: self._comm.Isend([payloads[id(value)], self._mpi.BYTE], rank, call.tag)
            for rank, value in values.items()
        }

    def _complete(self, posted: dict[int, Request], call: Call) -> None:
        waiting = dict.fromkeys(posted, time.monotonic())

        def poll() -> bool:
            done = [rank for rank in waiting if posted[rank].Test()]
            for rank in done:
                del waiting[rank]
            return bool(done)

        self._wait(waiting, poll, call)

    def _dispatch(self, next_task: NextTask, answers: list[TaskAnswer], call: Call) -> float:
        """Give each free worker a task, or word that there are no more; in a thread beside the root's own work."""
        inbox = _Inbox(self._comm, self._mpi, call.tag)
        posted: dict[int, Request] = {}
        begin = last = self._path

        def hand_out(rank: int, path: float) -> None:
            item = next_task(rank)
            posted.update(self._post({rank: item}, call, path))
            if item is not None:
                inbox.expect([rank])

        def poll() -> bool:
            nonlocal last
            if not inbox.poll():
                return False
            for rank in list(inbox.messages):
                posted[rank].Wait()  # answered, so received
                signalled, path, (index, answer) = inbox.messages.pop(rank)
                self._signalled |= signalled
                answers[index], last = answer, max(last, path)
                hand_out(rank, path)
            return True

        for rank in self.workers:
            hand_out(rank, begin)
        self._wait(inbox.waiting, poll, call)
        self._complete(posted, call)
        return last

    def _work(self, function: Callable[[Any], Any], call: Call) -> None:
        while (item := self._receive([ROOT], call)[0][1]) is not None:
            index, task = item
            self._send({ROOT: (index, attempt(function, task, self.rank))}, call)

    def _wait(self, waiting: dict[int, float], poll: Callable[[], bool], call: Call) -> None:
        """Poll until nobody is waited for: first giving way to other processes, then in growing naps."""
        last = time.monotonic()
        while waiting:
            if poll():
                last = time.monotonic()
                continue
            idle = time.monotonic() - last
            if idle < YIELD_SECONDS:
                _give_way()
                continue
            nap = min(NAP_SHARE * idle, LONGEST_NAP_SECONDS)
            time.sleep(nap)
            if nap == LONGEST_NAP_SECONDS:
                self._pass_on_stops()
                self._watch(waiting, call)

    def _watch(self, waiting: dict[int, float], call: Call) -> None:
        """Give up when somebody is too late: name the late ranks, show their stacks, end all ranks."""
        now = time.monotonic()
        late = sorted(rank for rank, since in waiting.items() if now - since > self._patience)
        if not late:
            return
        names = ", ".join(f"rank {rank} {self._place(rank)}" for rank in late[:8])
        more = f" and {len(late) - 8} more" if len(late) > 8 else ""
        seconds = now - min(waiting.values())
        text = f"error: rank {self.rank} has waited {seconds:.0f} s in {call.name} for {names}{more}; all ranks end"
        print(text, file=sys.stderr, flush=True)
        if self._old_handlers:  # inside `with`, where every rank shows its stack on this signal
            for host, process in (self._places[rank] for rank in late if self._places):
                if host == socket.gethostname():
                    os.kill(process, signal.SIGUSR2)
            time.sleep(0.3)
        self._comm.Abort(GIVEN_UP)

    def _place(self, rank: int) -> str:
        return "({}, process {})".format(*self._places[rank]) if self._places else "(not started)"

    def _hears(self) -> bool:
        if not self._handing_out and time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            self._pass_on_stops()
        return self._signalled

    def _pass_on_stops(self) -> None:
        """Hear of a stop signal and tell of it, out of turn, as a call may be a long while off: the root tells all."""
        if self._ending:
            return
        status = self._mpi.Status()
        while self._comm.Iprobe(self._mpi.ANY_SOURCE, STOP_TAG, status):
            self._take_stop(status.source)
        if self._signalled and not self._stops_sent:
            others = self.workers if self.is_root else [ROOT]
            self._stops_sent = [self._comm.Isend([b"", self._mpi.BYTE], rank, STOP_TAG) for rank in others]

    def _take_stop(self, rank: int) -> None:
        self._comm.Recv([bytearray(), self._mpi.BYTE], rank, STOP_TAG)
        self._stops_from.add(rank)
        self._signalled = True

    def _leave(self) -> None:
        """Together, and with no word of a signal still on its way."""
        self.barrier("the end")  # until here a rank may be in long work
        self._ending = True
        told = self.gather(bool(self._stops_sent), "the end") or []
        told += [] if self.is_root else [self.bcast(None, "the end")]
        if self.is_root:
            self.bcast(bool(self._stops_sent), "the end")
        for rank in (rank for rank, sent in enumerate(told) if sent and rank != self.rank):
            if rank not in self._stops_from:
                self._take_stop(rank)
        for request in self._stops_sent:
            request.Wait()
        if self._ends_mpi:
            self._mpi.Finalize()

    def __enter__(self) -> Team:
        faulthandler.register(signal.SIGUSR2, file=2, all_threads=True)
        return super().__enter__()


@dataclass
class _Inbox:
    """The messages of one call: those who owe one (and since when), those on their way, those that are here."""

    comm: Intracomm
    mpi: ModuleType
    tag: int
    waiting: dict[int, float] = field(default_factory=dict)
    arriving: dict[int, tuple[Request, Any]] = field(default_factory=dict)
    messages: dict[int, tuple[bool, float, Any]] = field(default_factory=dict)
    seconds: float = 0.0  # with a message at hand: taking it in and unpacking it

    def room(self, rank: int, n_bytes: int) -> Any:
        """Memory for a message."""
        return bytearray(n_bytes)

    def unpack(self, buffer: Any) -> tuple[bool, float, Any]:
        """Whether its sender knows of a stop signal, the path to there, what it says."""
        message: tuple[bool, float, Any] = pickle.loads(buffer)
        return message

    def expect(self, ranks: Iterable[int]) -> None:
        self.waiting |= dict.fromkeys(ranks, time.monotonic())

    def poll(self) -> bool:
        """Take in what has come; whether a message is complete."""
        status, found, started = self.mpi.Status(), bool(self.arriving), time.monotonic()
        while (message := self.comm.Improbe(self.mpi.ANY_SOURCE, self.tag, status)) is not None:
            buffer = self.room(status.source, status.Get_count(self.mpi.BYTE))
            self.arriving[status.source], found = (message.Irecv([buffer, self.mpi.BYTE]), buffer), True
        complete = [rank for rank, (request, _) in self.arriving.items() if request.Test()]
        for rank in complete:
            self.messages[rank] = self.unpack(self.arriving.pop(rank)[1])
            del self.waiting[rank]
        if found:
            self.seconds += time.monotonic() - started
        return bool(complete)


@dataclass
class _Vectors(_Inbox):
    """The messages of an exchange: numbers, in memory that is kept."""

    memory: Callable[[int, int], Any] = np.empty

    def room(self, rank: int, n_bytes: int) -> Any:
        return self.memory(rank, n_bytes // 8)

    def unpack(self, buffer: Any) -> tuple[bool, float, Any]:
        return bool(buffer[0]), float(buffer[1]), buffer


def load_mpi() -> ModuleType:
    """The module mpi4py.MPI; its import initialises MPI, for which all ranks have to come."""
    try:
        with _a_rank_may_be_missing(START_SECONDS):
            from mpi4py import MPI as mpi
    except (ImportError, RuntimeError) as error:
        raise InputError(
            "no MPI library can be loaded: install the wheel of one (pip install mpich), or make the cluster's known "
            "(module load, or MPI4PY_LIBMPI=/path/to/libmpi.so)"
        ) from error
    return mpi


@contextmanager
def _a_rank_may_be_missing(seconds: float) -> Iterator[None]:
    """Inside for longer, this process shows its stack and ends.

    MPI is initialised in one call, in which no Python runs: nothing else gets a word in while it waits for a rank
    that ended before, because it could not import its modules, say.
    """
    with suppress(OSError, RuntimeError, ValueError, AttributeError):  # there may be no standard error to write to
        faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def exit_code(code: int) -> int:
    """The code; and unless it is 0 or MPI has ended here, this process's exit will end all ranks with it."""
    mpi = sys.modules.get("mpi4py.MPI")
    if code and mpi is not None and not mpi.Is_finalized():
        from mpi4py.run import set_abort_status

        set_abort_status(code)
    return code


def _give_way() -> None:
    """Let another process run."""
    if hasattr(os, "sched_yield"):
        os.sched_yield()
    else:
        time.sleep(0)
