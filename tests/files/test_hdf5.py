"""How files come to be and are opened: links, long names, devices, locks."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from decomp.files.atomic import atomic_path
from decomp.files.store import read_instance, write_instance
from decomp.model.instance import InputError
from tiny import tiny


def write(path: Path, text: str) -> None:
    with atomic_path(path) as beside:
        beside.write_text(text)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to("disk/real")
    write(link, "new")
    assert link.is_symlink() and real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    (tmp_path / "dangling").symlink_to("disk/none")
    write(tmp_path / "dangling", "made")
    assert (tmp_path / "dangling").is_symlink() and (tmp_path / "disk" / "none").read_text() == "made"
    assert sorted(p.name for p in (tmp_path / "disk").iterdir()) == ["none", "real"]


def test_another_name_of_a_file_keeps_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    os.link(tmp_path / "a", tmp_path / "b")
    write(tmp_path / "a", "new")
    assert (tmp_path / "b").read_text() == "old"


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, ".h", "a b'c\"d\ne$f"])
def test_any_legal_name(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, "text")
    assert [p.name for p in tmp_path.iterdir()] == [name]
    write_instance(tmp_path / name, tiny())
    assert read_instance(tmp_path / name).content_hash() == tiny().content_hash()


def test_no_name_is_too_much(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        write(tmp_path / ("x" * 256), "text")


def test_a_device_is_written_into(tmp_path: Path) -> None:
    write(Path(os.devnull), "text")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        write(pipe, "text")
        assert reader.communicate()[0] == "text"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_file_that_another_program_writes_is_in_use_not_damaged(tmp_path: Path) -> None:
    write_instance(tmp_path / "fleet.h5", tiny())
    program = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(tmp_path / "fleet.h5")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        with pytest.raises(InputError, match=r"fleet\.h5: in use by another program"):
            read_instance(tmp_path / "fleet.h5")
        holder.communicate("")
    assert read_instance(tmp_path / "fleet.h5").content_hash() == tiny().content_hash()
