"""How to run a program in a process of its own, or on several ranks."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from decomp.ranks.team import Serial, TaskAnswer
from drivers.common import run

CHECKOUT = Path(__file__).resolve().parent.parent
Finished = subprocess.CompletedProcess[str]
HANG_SECONDS = 3600.0  # nothing here takes as long on the busiest machine: whatever does will never end


def run_limited(command: list[str], cwd: Path | None = None, **environment: str) -> Finished:
    """Run a command with the checkout importable; one that hangs is ended with all it started, and the test fails."""
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", **environment}
    with subprocess.Popen(
        command,
        cwd=cwd or CHECKOUT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=HANG_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"{' '.join(command)}: not done in {HANG_SECONDS:g} s\n{out[-4000:]}\n{err[-4000:]}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def refused(
    main: Callable[[Sequence[str] | None], int],
    arguments: Sequence[str],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """What a program says that refuses its arguments before it makes the folder it was to write to."""
    assert run(main, ["-o", str(folder), *arguments]) == 2
    assert not folder.exists()
    return capsys.readouterr().err


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Inside, no file grows beyond so many bytes, as on a full disk; also in programs that are started."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Reader(io.StringIO):
    """A standard output whose reader sends this process a signal, once, as soon as `ready()` at the end of a line."""

    def __init__(self, number: signal.Signals, ready: Callable[[], bool]) -> None:
        super().__init__()
        self.number, self.ready, self.sent = number, ready, False

    def write(self, text: str) -> int:
        if not self.sent and "\n" in text and self.ready():
            self.sent = True
            os.kill(os.getpid(), self.number)
        return super().write(text)


class StandIns(Serial):
    """A team of one that does other work instead of some tasks: `work` by the name of the tasks."""

    def __init__(self, work: Mapping[str, Callable[[Any], Any]]) -> None:
        super().__init__()
        self.work = work

    def map_tasks(
        self, function: Callable[[Any], Any], tasks: Sequence[Any] = (), *, what: str = "", **how: Any
    ) -> list[TaskAnswer]:
        return super().map_tasks(self.work.get(what, function), tasks, what=what, **how)


def find_mpiexec() -> str | None:
    """The mpiexec beside this Python (that of the MPI wheel), else the one on the PATH."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")
