"""Whatever surrounds a command, it does the same: no assertions, few files, no home, a folder that is gone."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from decomp.files.store import read_result, write_instance
from running import run_limited
from tiny import tiny

pytestmark = pytest.mark.slow

SURROUNDINGS = {  # lines of a shell before the commands, and flags of Python
    "no assertions and no docstrings": ("true", "-OO"),
    "few open files": ("ulimit -n 24", ""),
    "no home": ("unset HOME TMPDIR", ""),
    "a home that is not there": ("export HOME=/nowhere TMPDIR=/nowhere", ""),
    "a folder that is gone": ("mkdir gone && cd gone && rmdir ../gone", ""),
    "files for the owner alone": ("umask 077", ""),
}


@pytest.mark.parametrize("around", SURROUNDINGS)
def test_a_command_does_the_same(around: str, tmp_path: Path) -> None:
    before, flags = SURROUNDINGS[around]
    fleet, result = tmp_path / "fleet.h5", tmp_path / "result.h5"
    write_instance(fleet, tiny())
    decomp = f'"{sys.executable}" {flags} -m drivers'
    script = f"""
    {before}
    {decomp} solve "{fleet}" -o "{result}" --method lagrangian --rel-gap 0.05 &&
    {decomp} check "{fleet}" "{result}" && {decomp} explain "{fleet}" "{result}" > "{tmp_path / "words"}"
    """
    done = run_limited(["bash", "-c", script], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "certificate: OK" in done.stdout and (tmp_path / "words").stat().st_size > 0
    assert read_result(result).incumbent == pytest.approx(-19574.1649, rel=1e-6)
    assert "umask" not in before or stat.S_IMODE(result.stat().st_mode) == 0o600
