"""What the root meets alone, and late, ends all ranks together: its exit code, its line, and no word of an abort."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decomp.families import generate
from decomp.files.store import write_instance
from running import Finished

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.is_char_device(), reason="needs /dev/full")


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    write_instance(tmp_path / "fleet.h5", generate("small", seed=4, scenarios=2))
    write_instance(tmp_path / "plain.h5", generate("small", seed=4))
    return tmp_path / "fleet.h5"


def in_order(done: Finished, code: int, *said: str) -> None:
    lines = done.stderr.splitlines()
    assert (done.returncode, lines) == (code, list(said))


def test_a_budget_below_the_minimum(fleet: Path, mpirun: Callable[..., Any]) -> None:
    out = fleet.with_name("frontier.h5")
    done = mpirun(2, "drivers.frontier", fleet.with_name("plain.h5"), "-o", out, "--budgets", "1,5", "--quiet")
    in_order(done, 2, "error: budget of 1 t is below the certified minimum of 1.33832 t")
    assert not out.exists()


def test_a_frontier_by_another_method(fleet: Path, mpirun: Callable[..., Any]) -> None:
    (fleet.parent / "o.toml").write_text('method = "lagrangian"\n')
    done = mpirun(2, "drivers.frontier", fleet, "-o", fleet.with_name("f.h5"), "--options", fleet.parent / "o.toml")
    in_order(done, 2, "error: method: 'lagrangian', a frontier is traced by the phases of method 'hybrid'")


@needs_full
def test_a_full_disk(fleet: Path, mpirun: Callable[..., Any]) -> None:
    full = "error: /dev/full: No space left on device"
    done = mpirun(2, "drivers.solve", fleet, "-o", FULL, "--rel-gap", 0.5)
    in_order(done, 5, "warning: /dev/full: not written yet: No space left on device", full)
    result = fleet.with_name("r.h5")
    assert mpirun(2, "drivers.solve", fleet, "-o", result, "--rel-gap", 0.5).returncode == 0
    in_order(mpirun(2, "drivers.evaluate", fleet, result, "--cost-only", "--csv", FULL), 5, full)
    folder = fleet.with_name("run")
    folder.mkdir()
    (folder / "windows.csv").symlink_to(FULL)
    done = mpirun(2, "drivers.rolling", fleet.with_name("plain.h5"), "-o", folder, "--rel-gap", 0.5)
    in_order(done, 5, f"error: {folder / 'windows.csv'}: No space left on device")
