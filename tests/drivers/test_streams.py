"""Whatever becomes of standard output, it neither ends nor changes a command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from decomp.files.store import read_result, write_instance
from running import run_limited
from tiny import tiny

pytestmark = pytest.mark.slow

# A command that prints, lets a library of C print, prints into a table, writes a file last, and has an exit code.
PROGRAM = """
import ctypes, sys
from pathlib import Path
from rich.console import Console
from drivers.common import run

def main(argv):
    libc = ctypes.CDLL(None)
    for k in range(3000):
        print("Zürich 日本", k)
        libc.printf(b"noise\\n")
    print("warned", file=sys.stderr)
    Console().print("table")
    Path(sys.argv[1]).write_text("done")
    return 3

sys.exit(run(main))
"""
ENDS = {
    "a pipe that is closed": "| head -n 1 > /dev/null",
    "a full disk": "> /dev/full",
    "a closed stream": ">&-",
    "errors on a full disk": "> /dev/null 2> /dev/full",
    "errors closed": "2>&- | cat > /dev/null",
    "all closed": "<&- >&- 2>&-",
    "a terminal without letters": "| cat > /dev/null",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_command_goes_on_whoever_listens(end: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    command = f'"{sys.executable}" "{tmp_path / "program.py"}" "{made}" {ENDS[end]}; exit ${{PIPESTATUS[0]}}'
    done = run_limited(["bash", "-c", command], PYTHONIOENCODING="ascii" if "letters" in end else "utf-8")
    assert done.returncode == 3 and made.read_text() == "done"
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    if end in ("a full disk", "a closed stream"):
        assert done.stderr.count("warning: standard output is lost") == 1 and "warned" in done.stderr


def test_standard_output_holds_what_the_command_says(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    done = run_limited([sys.executable, str(tmp_path / "program.py"), str(tmp_path / "made")], PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines() == [f"Z?rich ?? {k}" for k in range(3000)] + ["table"]
    assert done.stderr.count("noise") == 3000 and "warned" in done.stderr


def test_commands_say_by_their_exit_code_what_happened(tmp_path: Path) -> None:
    """What is proved is not rejected because nobody listens; a result is written though its table is lost."""
    write_instance(tmp_path / "fleet.h5", tiny())
    decomp = f'"{sys.executable}" -m drivers'
    script = f"""
    code() {{ echo "$1 ${{PIPESTATUS[0]}}" >> codes; }}
    cd "{tmp_path}"
    {decomp} solve fleet.h5 -o r.h5 --rel-gap 0.02 > /dev/full; code solve
    {decomp} check fleet.h5 r.h5 | true; code check
    {decomp} check fleet.h5 r.h5 --json > json.txt; code json
    {decomp} compare --help | true; code help
    """
    run_limited(["bash", "-c", script])
    assert (tmp_path / "codes").read_text().split("\n") == ["solve 0", "check 0", "json 0", "help 0", ""]
    assert read_result(tmp_path / "r.h5").schedule is not None
    assert json.loads((tmp_path / "json.txt").read_text())["ok"]
