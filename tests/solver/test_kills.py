"""A rank is killed at a random moment: all others end soon, and a new run goes on from the checkpoint.

A few kills in the suite; `DECOMP_KILLS=40` makes it forty.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decomp.families import generate
from decomp.files.store import read_result, write_instance
from drivers.check import main as check
from running import CHECKOUT, find_mpiexec

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("DECOMP_KILLS", "3"))
RANKS = 3
GONE_SECONDS = 600.0  # of which all but a few are for a busy machine
START_SECONDS, LATEST_SECONDS = 4.0, 3.0  # of the kill: after the start, or after the first checkpoint
OPTIONS = "rel_gap = 0.0\n[improvement]\nstale_finishes = 100\n[bundle]\npart_size = 4\n"


def descendants(root: int) -> dict[int, str]:
    """Processes that a process has started, and those that they have, with the rank that MPI gave each ("" if none)."""
    parents, found = {}, {root: ""}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    growing = True
    while growing:
        new = {p: rank_of(p) for p, parent in parents.items() if parent in found and p not in found}
        growing = bool(new)
        found |= new
    return found


def rank_of(process: int) -> str:
    try:
        words = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((w.partition(b"=")[2].decode() for w in words if w.startswith(b"PMI_RANK=")), "")


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kills")
    write_instance(path / "fleet.h5", generate("fleet", seed=1, sites=8, periods=24, period_h=1.0))
    write_instance(path / "futures.h5", generate("fleet", seed=1, sites=4, periods=24, period_h=1.0, scenarios=3))
    (path / "o.toml").write_text(OPTIONS)
    return path


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("kill", range(KILLS))
def test_killed_and_resumed(folder: Path, mpirun: Callable[..., Any], kill: int, capfd: Any) -> None:
    chance = random.Random(kill)
    saved, out = folder / f"{kill}.c.h5", folder / f"{kill}.h5"
    fleet = str(folder / ("futures.h5" if kill % 3 == 1 else "fleet.h5"))
    common = [fleet, "-o", str(out), "--options", str(folder / "o.toml"), "--checkpoint", str(saved)]
    program = [sys.executable, "-m", "mpi4py", "-m", "drivers.solve", *common, "--checkpoint-seconds", "1"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    early, victim = kill % 5 == 4, str(chance.randrange(RANKS))
    moment = chance.uniform(0.5, START_SECONDS if early else LATEST_SECONDS)
    with subprocess.Popen(
        [str(find_mpiexec()), "-n", str(RANKS), *program],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as run:  # fmt: skip
        while not early and not saved.exists() and run.poll() is None:
            time.sleep(0.05)
        time.sleep(moment)
        ranks: dict[str, int] = {}
        while len(ranks) < RANKS and run.poll() is None:
            family = descendants(run.pid)
            ranks = {rank: process for process, rank in family.items() if rank}
        assert run.poll() is None
        os.kill(ranks[victim], signal.SIGKILL)
        killed = time.monotonic()
        while any(map(alive, family)) and time.monotonic() - killed < GONE_SECONDS:
            run.poll()
            time.sleep(0.05)
        seconds = time.monotonic() - killed
        left = [process for process in family if alive(process)]
        for process in left:
            os.kill(process, signal.SIGKILL)
    assert not left and run.returncode != 0
    before = read_result(saved) if saved.exists() else None
    n = RANKS if kill % 2 else chance.choice([1, 2, 4])
    more = ["--resume", saved] if before else []
    done = mpirun(n, "drivers.solve", *common, *more, "--rel-gap", 0.1)
    result = read_result(out)
    with capfd.disabled():
        place = f"rank {victim} after {moment:.1f} s ({before.log[-1].phase if before else 'start'})"
        print(f"\nkill {kill}: {place}, gone in {seconds:.1f} s, then {n} ranks", end="")
    assert done.returncode == 0, done.stderr
    if before is not None:
        slack = 1e-9 * max(1.0, abs(before.bound))
        assert result.bound >= before.bound - slack
        assert not np.isfinite(before.incumbent) or result.incumbent <= before.incumbent + slack
        assert result.log[: len(before.log)] == before.log
    assert check([fleet, str(out)]) == 0
