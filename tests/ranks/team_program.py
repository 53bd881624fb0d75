"""What the tests of the team run on several ranks: `team_program.py SCENE`; the root prints JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from decomp.lp.block import Block
from decomp.lp.highs import run as highs_run
from decomp.lp.highs import to_highs
from decomp.model.instance import InputError
from decomp.ranks.clock import root_seconds
from decomp.ranks.mpi import MPI, Team
from decomp.ranks.workers import Workers
from drivers.common import make_team, run


def meet(place: str, count: int) -> None:
    """Wait at a place until so many processes have come there."""
    folder = Path(os.environ["MEETING"])
    (folder / f"{place}-{os.getpid()}").touch()
    while len(list(folder.glob(f"{place}-*"))) < count:
        time.sleep(0.01)


def dealt(team: Team, rows: Any, owner: Any) -> Any:
    """A rank's own rows of what the root holds."""
    if not team.is_root:
        return team.bcast(None)
    team.deal([rows[owner == rank] for rank in range(team.size)])
    return rows[owner == 0]


def numbers(team: Team) -> dict[str, Any]:
    """The same floating-point sums on any number of ranks."""
    n_sites = 5
    owner = np.arange(n_sites) % team.size
    rows = np.random.default_rng(1).standard_normal((n_sites, 3, 2)) if team.is_root else None
    own = dealt(team, rows, owner)
    back = team.gather_rows(np.exp(own), owner)
    kinds = team.gather_rows(np.flatnonzero(owner == team.rank), owner)
    ranks = team.gather(team.rank)
    word = team.bcast({"price": 1.5} if team.is_root else None)
    team.barrier()
    heard = team.gather(word == {"price": 1.5})
    if not team.is_root:
        assert back is None and kinds is None and ranks is None and heard is None
        return {}
    assert rows is not None and back is not None and kinds is not None
    np.testing.assert_array_equal(back, np.exp(rows))
    return dict(sum=float(back.sum()).hex(), sites=kinds.tolist(), dtype=str(kinds.dtype), ranks=ranks, heard=heard)


def large(team: Team) -> dict[str, Any]:
    """Messages far above what MPI sends without the receiver's consent."""
    owner = np.arange(1000) % team.size
    rows = np.arange(2e6).reshape(1000, 2000) if team.is_root else None
    back = team.gather_rows(dealt(team, rows, owner), owner)
    return {} if back is None else dict(same=bool(np.array_equal(back, rows)))


def some(team: Team) -> dict[str, Any]:
    """Some ranks exchange messages, large ones too, while the others wait for the next call of all."""
    heard: list[Any] = []
    for k, taking_part in enumerate(min(n, team.size) for n in (2, 3, 1, 2)):
        team.deal([team.meet()] * team.size) if team.is_root else team.meet(team.bcast(None))
        if team.rank < taking_part:
            said = []
            for n in (200_000, 1, 0, 1_000):
                rows = [np.array([float(team.rank)]), np.full((n, team.rank + 1), float(k))]
                found = team.exchange(lambda rows=rows: rows, taking_part)
                assert all(len(v) == 1 + n * (r + 1) and (v[1:] == k).all() for r, v in enumerate(found))
                said.append([int(v[0]) for v in found])
            heard.append((said, team.agree(team.rank, taking_part)))
    return dict(heard=team.gather(heard)) if team.is_root else {"": team.gather(heard)}


def square(task: int) -> int:
    if task == 3:
        raise ValueError("three is too many")
    return task * task


def tasks(team: Team) -> dict[str, Any]:
    """A failing task is an answer; answers are in task order; then the team goes on."""

    def work(task: int) -> int:
        if task != 3:
            meet("squares", team.size)
        return square(task)

    answers = team.map_tasks(work, range(12), what="squares")
    none = team.map_tasks(square, [])
    late = team.map_tasks(square, [1, 2], until=0.0)
    team.barrier()
    if not team.is_root:
        return {}
    return dict(
        values=[a.value for a in answers],
        errors=[a.error for a in answers if a.error],
        ranks=sorted({a.rank for a in answers}),
        none=none,
        late=[a.error for a in late],
    )


def uneven(team: Team) -> dict[str, Any]:
    """While one rank works on a long task, which ends with the last short one, the other gets all these."""
    done = Path(os.environ["MEETING"])

    def work(task: int) -> None:
        while task == 0 and len(list(done.iterdir())) < 8:
            time.sleep(0.01)
        if task:
            (done / str(task)).touch()

    return dict(ranks=[a.rank for a in team.map_tasks(work, range(9))])


def refused(team: Team) -> dict[str, Any]:
    """The root finds the input bad: every rank ends, the root alone says why."""

    def read() -> None:
        raise InputError("sites.pue: 0.5 at site 3, must be at least 1")

    team.at_root(read)
    return {}


def agreed(team: Team) -> dict[str, Any]:
    value = team.at_root(lambda: 42)
    values = team.gather(value)
    return dict(values=values)


def raising(team: Team) -> dict[str, Any]:
    """The last rank fails where the others wait for it."""
    if team.rank == team.size - 1:
        raise ArithmeticError("a number too many")
    team.barrier("the others")
    return {}


def dying(team: Team) -> dict[str, Any]:
    """The last rank is killed (out of memory, say)."""
    if team.rank == team.size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    team.barrier()
    return {}


def stalling(team: Team) -> dict[str, Any]:
    """The last rank never comes to the gather."""
    if team.rank == team.size - 1:
        time.sleep(600)
    team.gather(1, "site answers")
    return {}


def stalling_root(team: Team) -> dict[str, Any]:
    if team.is_root:
        time.sleep(600)
    team.bcast(None, "prices")
    return {}


def stalling_task(team: Team) -> dict[str, Any]:
    """A worker gets stuck in a task, the root does not."""
    team.map_tasks(lambda seconds: team.is_root or time.sleep(seconds), [600, 600, 600], what="clusters")
    return {}


def signalled(team: Team) -> dict[str, Any]:
    """A signal on the last rank alone is known to all after the next gather and bcast, and stops the hand-out."""
    before = team.stop_requested()
    if team.rank == team.size - 1:
        os.kill(os.getpid(), signal.SIGTERM)
    team.gather(None)
    team.bcast(None)
    answers = team.map_tasks(square, [1, 2])
    stops = team.gather((before, team.stop_requested()))
    return dict(stops=stops, errors=[a.error for a in answers])


def grind(seconds: float) -> str:
    """A MIP that nothing but a limit or a signal ends: a market split (Cornuejols and Dawande 1998)."""
    rng, n_rows, n = np.random.default_rng(1), 6, 50
    weights = rng.integers(0, 100, (n_rows, n)).astype(float)
    half, block = np.floor(weights.sum(axis=1) / 2), Block()
    chosen = block.add_columns("chosen", n, 0.0, 1.0, integer=True)
    off = [block.add_columns(name, n_rows, 0.0, 100.0, 1.0) for name in ("more", "less")]
    rows = block.add_rows(half, half, (1.0, off[0]), (-1.0, off[1]))
    for k in range(n_rows):
        block.add_entries(np.full(n, rows[k]), chosen, weights[k])
    model = block.finish()
    solver = to_highs(model, integer=model.integer)
    highs_run(solver, seconds)
    return solver.modelStatusToString(solver.getModelStatus())


def grinding(team: Team) -> dict[str, Any]:
    """Every rank but the one with the signal is inside HiGHS; that one waits, or is the root."""
    quiet = int(os.environ["QUIET"])
    if team.rank == quiet:
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()

    def work(task: int) -> str:
        if team.rank == quiet:
            time.sleep(0.01)
            return "nothing to do"
        return grind(1000.0)

    answers = team.map_tasks(work, range(team.size))
    team.barrier()
    return dict(errors=[a.error for a in answers if a.rank != quiet], stopped=team.gather(team.signalled))


def listening(team: Team) -> dict[str, Any]:
    """Loops until the root hears of a signal (sent to mpiexec by the test)."""
    if team.is_root:
        print("ready", flush=True)
    while not team.stop_requested() and team.clock() < 600:
        time.sleep(0.01)
        team.gather(None)
        team.bcast(None)
    return dict(stopped=team.stop_requested())


def waiting(team: Team) -> dict[str, Any]:
    """The time that ranks wait for each other is counted."""
    if team.rank == team.size - 1:
        time.sleep(2.0)
    team.barrier()
    waits = team.gather(team.waited_seconds)
    return {} if waits is None else dict(waits=waits, clock=team.clock())


def toil(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def path(team: Team) -> dict[str, Any]:
    """On two ranks: the longer of two works at the same time, then tasks of 0.2 s on both; naps do not count."""
    team.barrier()
    start = team.path_seconds()
    toil(0.1 if team.is_root else 0.3)
    time.sleep(0.2)
    team.barrier()
    together = team.path_seconds()

    def work(seconds: float) -> None:
        meet("toil", 2)
        toil(seconds)

    team.map_tasks(work, [0.2] * 4)
    return dict(together=together - start, tasks=team.path_seconds() - together)


def left(until: float) -> tuple[int, float]:
    """The process, and the seconds it has by its word."""
    meet("left", 2)
    return os.getpid(), until - root_seconds()


def skewed(team: Team) -> dict[str, Any]:
    """The clock on the wall of every rank but the root is years ahead; a task is to be done in a million seconds."""
    if not team.is_root:
        time.time = lambda: 4e9  # type: ignore[assignment]
        time.sleep(0.3)
    workers = Workers(team)
    if not team.is_root:
        workers.serve()
        return {}
    found = workers.farm(left, [workers.deadline(team.clock() + 1e6)] * 20)
    workers.dismiss()
    processes, seconds = zip(*found, strict=True)
    return dict(processes=len(set(processes)), least=min(seconds), most=max(seconds))


def main(argv: Sequence[str] | None = None) -> int:
    scene, *patience = sys.argv[1:] if argv is None else argv
    with make_team(*map(float, patience)) as team:
        answer = globals()[scene](team)
        if team.is_root:
            print(json.dumps({"mpi": isinstance(team, MPI), **answer}), flush=True)
    return 3 if scene == "agreed" else 0


if __name__ == "__main__":
    sys.exit(run(main))
