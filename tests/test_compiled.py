"""Machine code kept between runs: right whatever became of sources and files, and never a reason to fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from decomp.compiled import read, write
from running import CHECKOUT, run_limited

pytestmark = pytest.mark.slow

LOW = "from pkg.compiled import compiled\n\n@compiled\ndef low(x, pair):\n    return x + 1.0 + 100.0 * pair.a\n"
HIGH = "from pkg.compiled import compiled\nfrom pkg.low import low\n\n@compiled(fastmath=True)\n"
HIGH += "def high(x, pair):\n    return 2.0 * low(x, pair)\n"
RECORDS = "from typing import NamedTuple\n\nclass Pair(NamedTuple):\n    a: float\n    b: float\n"
CALL = "from pkg.high import high; from pkg.records import Pair; "
CALL += "print(high(3.0, Pair(a=1.0, b=7.0)), sum(high.stats.cache_hits.values()))"
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of two kernels, one of which calls the other, that has run once."""
    root = tmp_path_factory.mktemp("warm")
    package = root / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(CHECKOUT / "decomp" / "compiled.py", package)
    for name, text in (("low", LOW), ("high", HIGH), ("records", RECORDS)):
        (package / f"{name}.py").write_text(text)
    assert call(root) == ("208.0 0", "")
    assert len(kept(root)) == 2
    return root


@pytest.fixture
def root(warm: Path, tmp_path: Path) -> Path:
    return shutil.copytree(warm, tmp_path / "root")


def call(root: Path, before: str = "", **environment: str) -> tuple[str, str]:
    """What the upper kernel returns and how many kernels were loaded; and what is said about it."""
    places = dict(PYTHONPATH=str(root), XDG_CACHE_HOME=str(root / "user"), TMPDIR=str(root / "temporary"))
    done = run_limited([sys.executable, "-B", "-c", before + CALL], cwd=root, **{**places, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr.strip()


def kept(root: Path) -> list[Path]:
    return sorted(root.rglob("*.nbc*"))


def block(*folders: Path) -> None:
    """Make folders that nobody can write to, root neither."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.touch()


def test_a_second_process_loads_what_the_first_compiled(root: Path) -> None:
    assert call(root) == ("208.0 1", "")


def test_a_kernel_follows_those_it_calls_in_other_files(root: Path) -> None:
    (root / "pkg" / "low.py").write_text(LOW.replace("1.0", "2.0"))
    assert call(root) == ("210.0 0", "")
    assert call(root) == ("210.0 1", "") and len(kept(root)) == 2


def test_a_kernel_follows_the_fields_of_a_record(root: Path) -> None:
    head, a, b = RECORDS.rpartition("    a: float\n")[0], "    a: float\n", "    b: float\n"
    (root / "pkg" / "records.py").write_text(head + b + a)
    assert call(root) == ("208.0 0", "")


def test_damaged_files_are_compiled_anew_and_mended(root: Path) -> None:
    short, changed = kept(root)
    short.write_bytes(short.read_bytes()[:-50])
    data = bytearray(changed.read_bytes())
    data[-50] ^= 1
    changed.write_bytes(data)
    assert call(root) == ("208.0 0", "")
    assert call(root) == ("208.0 1", "")


@pytest.mark.parametrize("left", [0, 10, 40])
def test_a_file_counts_only_whole_and_under_its_key(tmp_path: Path, left: int) -> None:
    path = tmp_path / "new" / "file"
    write(path, b"key", b"machine code")
    assert read(path, b"key") == b"machine code" and read(path, b"other") is None
    path.write_bytes(path.read_bytes()[:left])
    assert read(path, b"key") is None
    assert read(tmp_path, b"key") is None and read(tmp_path / "none", b"key") is None


def test_where_the_package_cannot_be_written_the_user_s_cache_is(root: Path) -> None:
    block(root / "pkg" / "__pycache__")
    result, said = call(root)
    assert result == "208.0 0" and said.count("\n") == 0
    assert "compiled code is kept in" in said and str(root / "user") in said and "__pycache__" in said
    assert call(root) == ("208.0 1", "")
    folder = kept(root)[0].parent
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)  # another user may have put code there
    result, said = call(root)
    assert result == "208.0 0" and str(root / "temporary") in said


def test_where_nothing_can_be_written_one_line_says_so(root: Path) -> None:
    block(root / "pkg" / "__pycache__", root / "user", root / "temporary")
    result, said = call(root)
    assert result == "208.0 0" and said.count("\n") == 0 and "every start compiles anew" in said
    assert call(root, PMI_RANK="1") == ("208.0 0", "")


def test_a_full_disk(root: Path) -> None:
    shutil.rmtree(root / "pkg" / "__pycache__")
    result, said = call(root, FULL)
    assert result == "208.0 0" and said.count("\n") == 0 and "cannot be kept" in said
    assert kept(root) == []


def test_many_may_start_at_once(root: Path) -> None:
    shutil.rmtree(root / "pkg" / "__pycache__")
    command = [sys.executable, "-B", "-c", CALL]
    started = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].split()[0] for process in started] == ["208.0"] * 2
    assert call(root) == ("208.0 1", "") and len(kept(root)) == 2
