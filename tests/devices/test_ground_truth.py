"""Random devices against the extensive form, and device values that the certificate must reject."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import decomp
from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.model.instance import Array, Instance
from decomp.model.options import Options
from decomp.model.result import Result, Schedule
from decomp.model.validate import validate
from decomp.ranks.mpi import Serial
from decomp.solver.solve import solve
from devices.random_devices import random_instance
from draws import seldom

SEEDS = range(int(os.environ.get("DECOMP_RANDOM_DEVICES", "6")))
GAP = 1e-4
OPTIONS = Options.from_dict(
    dict(rel_gap=GAP, improvement=dict(stale_finishes=1), moves=dict(programs=30))
)  # ends by itself, at any speed


@cache
def compared(seed: int) -> tuple[list[str], float]:
    """What is wrong with a solve of a random instance and its proof, and its gap."""
    instance = random_instance(seed)
    validate(instance)
    truth, found = solve_extensive(instance, rel_gap=1e-7, time_limit=600.0), solve(instance, Serial(), OPTIONS)
    assert found is not None and found.schedule is not None
    slack, wrong = 1e-6 * max(1.0, abs(truth.incumbent)), []
    if not found.bound <= truth.incumbent + slack:
        wrong.append(f"bound {found.bound} above a schedule of {truth.incumbent}")
    if not found.incumbent >= truth.bound - slack:
        wrong.append(f"schedule of {found.incumbent} below the optimum {truth.bound}")
    for result in (truth, found):
        wrong += [str(finding) for finding in check(instance, result).findings]
    for name, value in impossible_values(instance, found.schedule):
        schedule = replace(found.schedule, device_value=value)
        if check(instance, replace(found, schedule=schedule), bound=False).ok:
            wrong.append(f"{name}: accepted")
    return wrong, found.gap_rel


def impossible_values(instance: Instance, schedule: Schedule) -> Iterator[tuple[str, Array]]:
    """Values of the devices that no schedule can have, beside what the sites do in this one."""
    v, value = instance.device_variables, schedule.device_value
    size = 0.05 * np.maximum(np.maximum(np.abs(v.low), np.abs(v.high)), 1.0)
    inward = np.where(value + size <= v.high, value + size, value - size)
    cases = [
        ("above its largest value", v.high + size, np.ones(len(value))),
        ("below its least value", v.low - size, np.ones(len(value))),
        ("not a number", np.full(len(value), np.nan), np.ones(len(value))),
        ("endless", np.full(len(value), np.inf), np.ones(len(value))),
        ("half of a whole number", value + 0.5, v.integer),
        ("more power than the balance has", inward, np.abs(v.power) * size > 1e-3),
    ]
    for name, other, at in cases:
        for k in np.flatnonzero(at)[:1]:
            yield f"{v.name[k]}[{v.index[k]}] {name}", np.where(np.arange(len(value)) == k, other, value)
    if len(value):
        yield "one too few", value[:-1]


@pytest.mark.parametrize("seed", seldom(SEEDS, daily=3))
def test_random_devices_against_the_extensive_form(seed: int) -> None:
    """bound <= optimum <= incumbent, proved anew; and values that devices cannot have are rejected."""
    assert not compared(seed)[0]


@pytest.mark.slow
def test_hybrid_closes_small_fleets_with_devices() -> None:
    """At least nine of ten reach the goal."""
    assert np.mean([compared(seed)[1] <= GAP for seed in SEEDS]) >= 0.9


@pytest.fixture(scope="module")
def solved() -> tuple[Instance, Result]:
    """A fleet with a tank, a battery, a fuel cell and a ramp limit, solved."""
    instance = decomp.generate("small", seed=4)
    name = str(instance.sites.name[0])
    for device in ("thermal_storage", "battery", "fuel_cell", "interconnection_ramp", "flexible_connection"):
        instance = decomp.attach(instance, name, decomp.devices.KINDS[device]())
    return instance, solve_extensive(instance, rel_gap=1e-6, time_limit=600.0)


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
