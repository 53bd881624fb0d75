"""Random devices against the extensive form, and device values that the certificate must reject."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import decomp
from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.model.instance import Instance
from decomp.model.result import Result
from decomp.model.validate import validate
from devices.random_devices import random_instance

SEEDS = range(6)
GAP = 1e-4


def compare(seed: int, method: str = "hybrid", time_limit: float = 60.0) -> float:
    """Gap of the method on a random instance, after comparing it with the optimum."""
    instance = random_instance(seed)
    validate(instance)
    truth = solve_extensive(instance, rel_gap=1e-7, time_limit=60.0)
    found = decomp.solve(instance, method=method, rel_gap=GAP, time_limit=time_limit)
    assert found is not None
    slack = 1e-6 * max(1.0, abs(truth.incumbent))
    assert found.bound <= truth.incumbent + slack
    assert found.incumbent >= truth.bound - slack
    for result in (truth, found):
        if result.schedule is not None:
            certificate = check(instance, result)
            assert certificate.ok, certificate.findings
    return found.gap_rel


@pytest.mark.parametrize("seed", SEEDS)
def test_random_devices_against_the_extensive_form(seed: int) -> None:
    assert compare(seed) <= GAP


@pytest.fixture(scope="module")
def solved() -> tuple[Instance, Result]:
    """A fleet with a tank, a battery, a fuel cell and a ramp limit, solved."""
    instance = decomp.generate("small", seed=4)
    name = str(instance.sites.name[0])
    for device in ("thermal_storage", "battery", "fuel_cell", "interconnection_ramp", "flexible_connection"):
        instance = decomp.attach(instance, name, decomp.devices.KINDS[device]())
    return instance, solve_extensive(instance, rel_gap=1e-6, time_limit=30.0)


MUTATIONS = [
    ("thermal_storage", "charge", "more"),
    ("thermal_storage", "discharge", "more"),
    ("thermal_storage", "stored", "more"),
    ("thermal_storage", "stored", "less"),
    ("thermal_storage", "stored", "above"),
    ("thermal_storage", "charge", "below"),
    ("battery", "charge", "more"),
    ("battery", "discharge", "more"),
    ("battery", "stored", "more"),
    ("battery", "stored", "above"),
    ("battery", "charging", "half"),
    ("battery", "discharge", "below"),
    ("fuel_cell", "output", "more"),
    ("fuel_cell", "on", "half"),
    ("fuel_cell", "on", "flipped"),
    ("fuel_cell", "start", "more"),
    ("flexible_connection", "above", "above"),
    ("flexible_connection", "above", "half"),
    ("battery", "stored", "nan"),
    ("fuel_cell", "output", "shape"),
]


@pytest.mark.parametrize("device, variable, how", MUTATIONS)
def test_other_values_are_rejected(solved: tuple[Instance, Result], device: str, variable: str, how: str) -> None:
    instance, result = solved
    assert result.schedule is not None
    v = instance.device_variables
    mine = np.flatnonzero((instance.devices.name[v.device] == device) & (v.name == variable))
    value = result.schedule.device_value.copy()
    at = mine[len(mine) // 2]
    size = 0.05 * max(abs(v.high[at]), 1.0)
    value[at] = dict(
        more=value[at] + size if value[at] + size <= v.high[at] else value[at] - size,
        less=value[at] - size,
        above=v.high[at] + size,
        below=v.low[at] - size,
        half=0.5,
        flipped=1.0 - value[at],
        nan=np.nan,
        shape=value[at],
    )[how]
    value = value[:-1] if how == "shape" else value
    wrong = replace(result, schedule=replace(result.schedule, device_value=value))
    assert check(instance, result, bound=False).ok
    assert not check(instance, wrong, bound=False).ok
