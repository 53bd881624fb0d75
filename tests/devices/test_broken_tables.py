"""Broken devices in an instance file: one sentence that names the place, and exit code 2, before work starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import decomp
from decomp.files.store import write_instance
from drivers.common import run
from drivers.solve import main

BROKEN: list[tuple[str, Any]] = [
    ("device_variables/low", np.nan),
    ("device_variables/low", -np.inf),
    ("device_variables/low", 1e6),
    ("device_variables/high", np.inf),
    ("device_variables/high", np.nan),
    ("device_variables/cost", np.nan),
    ("device_variables/cost", np.inf),
    ("device_variables/emission", np.nan),
    ("device_variables/power", np.inf),
    ("device_variables/period", 96),
    ("device_variables/device", 7),
    ("device_variables/device", -1),
    ("device_rows/low", np.nan),
    ("device_rows/low", 1e9),
    ("device_rows/high", -1e9),
    ("device_rows/device", 7),
    ("device_entries/coefficient", np.nan),
    ("device_entries/coefficient", np.inf),
    ("device_entries/quantity", 99),
    ("device_entries/quantity", -1),
    ("device_entries/at", 10_000),
    ("device_entries/row", 10_000),
    ("device_entries/period", 96),
    ("devices/site", 9),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet with a battery, whose first entry is of a variable and last one of what the site does."""
    instance = decomp.generate("small", seed=4)
    for kind in ("battery", "interconnection_ramp"):
        instance = decomp.attach(instance, str(instance.sites.name[0]), decomp.devices.KINDS[kind]())
    path = tmp_path_factory.mktemp("broken") / "fleet.h5"
    write_instance(path, instance)
    return path


@pytest.mark.parametrize("name, value", BROKEN, ids=lambda x: str(x))
def test_a_broken_table_is_refused(whole: Path, tmp_path: Path, name: str, value: Any, capsys: Any) -> None:
    path = tmp_path / "broken.h5"
    path.write_bytes(whole.read_bytes())
    with h5py.File(path, "r+") as file:
        at = -1 if name.endswith("entries/period") else 0
        values = file[name][...]
        values[at] = value
        file[name][...] = values
    assert run(main, [str(path), "-o", str(tmp_path / "r.h5")]) == 2
    said = capsys.readouterr().err.rstrip("\n")
    assert "\n" not in said and name.split("/")[0] in said, said
