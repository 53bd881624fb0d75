"""Shared by all tests: a program on several ranks, markers by what a test needs, a steady hypothesis."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from draws import DAILY, FULL
from running import Finished, find_mpiexec, run_limited

# Some hundred processes import this package. Where Python may not keep what it compiled, as in many containers, every
# one of them compiles all libraries anew, which takes longer than most tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell has what it starts in the background ignore Ctrl-C, and every child inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

for name, most in dict(full=FULL, daily=DAILY).items():
    settings.register_profile(name, max_examples=most, deadline=None, derandomize=True, print_blob=True)


def pytest_configure(config: pytest.Config) -> None:
    """Fewer examples where slow tests are left out."""
    settings.load_profile("daily" if "not slow" in config.option.markexpr else "full")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start ranks are `mpi` by the fixture they use."""
    for item in items:
        if "mpirun" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.mpi)


@pytest.fixture
def mpirun() -> Callable[..., Finished]:
    """mpirun(n, target, *arguments, **environment): a module ("drivers.solve") or a script (.py) on n ranks."""
    mpiexec = find_mpiexec()
    if mpiexec is None:
        pytest.skip("no mpiexec")

    def run(n: int, target: str | Path, *arguments: object, **environment: str) -> Finished:
        program = [str(target)] if str(target).endswith(".py") else ["-m", str(target)]
        command = [mpiexec, "-n", str(n), sys.executable, "-m", "mpi4py", *program, *map(str, arguments)]
        return run_limited(command, **environment)

    return run
