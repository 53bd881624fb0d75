"""The command `solve`: where its result goes."""

from pathlib import Path

import pytest

from decomp.files.store import read_result, write_instance
from drivers import common, solve
from tiny import tiny


def test_a_result_without_a_name_stands_beside_its_instance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_instance(tmp_path / "fleet.h5", tiny())
    assert common.run(solve.main, [str(tmp_path / "fleet.h5"), "--method", "extensive"]) == 0
    assert read_result(tmp_path / "fleet.result.h5").schedule is not None
    assert str(tmp_path / "fleet.result.h5") in capsys.readouterr().out


@pytest.mark.parametrize("name", ["..", ".", "/", "nothing.h5"])
def test_what_is_no_instance_is_refused_also_without_a_name(name: str, tmp_path: Path) -> None:
    assert common.run(solve.main, [str(tmp_path / name)]) == 2
