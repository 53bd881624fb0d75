"""Mixtures of a frontier's steps are schedules at mixed costs and emissions; what may not be mixed is found."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from decomp.certificate import check
from decomp.certificate.mixture import check_mixture
from decomp.families import generate
from decomp.frontier.trace import trace
from decomp.model.frontier import CurveStep, at_budget, chords
from decomp.model.instance import Array, Instance
from decomp.model.options import Options
from decomp.model.result import Result, Schedule, Status
from decomp.ranks.mpi import Serial

pytestmark = pytest.mark.slow

OPTIONS = Options.from_dict(dict(rel_gap=0.01, improvement=dict(stale_finishes=1), moves=dict(programs=30)))


@cache
def pairs(seed: int) -> tuple[Instance, list[tuple[CurveStep, CurveStep]]]:
    """Neighbours of the chains of a frontier."""
    instance = generate("small", seed=seed)
    frontier = trace(instance, Serial(), OPTIONS, 4)
    assert frontier is not None
    return instance, [pair for chain in frontier.chains() for pair in zip(chain[1:], chain, strict=False)]


def mixture(one: Schedule, other: Schedule, share: float) -> Schedule:
    values = {f.name: getattr(one, f.name) for f in one.columns()}
    for name, value in values.items():
        if value.dtype.kind == "f":
            values[name] = (1.0 - share) * value + share * getattr(other, name)
    cancelled = np.minimum(values["import_mw"], values["export_mw"])
    values["import_mw"], values["export_mw"] = values["import_mw"] - cancelled, values["export_mw"] - cancelled
    return Schedule(**values)


@pytest.mark.parametrize("seed", [8, 23])
def test_any_mixture_is_a_schedule_and_at_most_as_dear_as_its_parts_together(seed: int) -> None:
    instance, found = pairs(seed)
    assert found
    rng = np.random.default_rng(seed)
    for one, other in found:
        assert check_mixture(instance, one.schedule, other.schedule) == ()
        for share in rng.random(3):
            cost = (1.0 - share) * one.cost + share * other.cost
            tonnes = (1.0 - share) * one.tonnes + share * other.tonnes
            at = at_budget(instance, tonnes + 1e-9 * abs(tonnes))
            schedule, own = mixture(one.schedule, other.schedule, share), {"instance_hash": at.content_hash()}
            certificate = check(at, Result(Status.LIMIT, -np.inf, cost, schedule, None, provenance=own), bound=False)
            assert certificate.cost <= cost + 1e-6 * max(1.0, abs(cost))
            assert [f for f in certificate.findings if f.rule != "net cost"] == []


def plus(values: Array, amount: float) -> Array:
    """The values, with a little more at the first site in the first period."""
    more = values.copy()
    more[0, 0] += amount
    return more


def test_what_may_not_be_mixed() -> None:
    instance, found = pairs(8)
    one, other = found[0][0].schedule, found[0][1].schedule

    def rules(at: Instance, a: Schedule, b: Schedule) -> list[str]:
        return [f.rule for f in check_mixture(at, a, b)]

    assert rules(instance, one, replace(other, job_start=other.job_start + 1)) == ["mixture: job_start"]
    charging = replace(one, charge_mw=plus(one.charge_mw, 5.0), discharge_mw=plus(0.0 * one.discharge_mw, 0.0))
    discharging = replace(other, discharge_mw=plus(other.discharge_mw, 5.0), charge_mw=0.0 * other.charge_mw)
    assert "(6) charge and discharge at once" in rules(instance, charging, discharging)
    buying = replace(one, import_mw=plus(one.import_mw, 5.0), export_mw=0.0 * one.export_mw)
    selling = replace(other, export_mw=plus(other.export_mw, 5.0), import_mw=0.0 * other.import_mw)
    sites = instance.sites
    dear = replace(instance, sites=replace(sites, sell_price=sites.buy_price + 1.0))
    clean = replace(instance, sites=replace(sites, export_credit=sites.carbon_intensity + 0.1))
    assert "mixture: price of export where import cancels it" in rules(dear, buying, selling)
    assert "mixture: carbon of export where import cancels it" in rules(clean, buying, selling)


def test_chords_are_close_above_a_curve_with_few_corners() -> None:
    x = np.linspace(1.0, 4.0, 1000)
    y = 1.0 / x
    corners = chords(x, y, 0.001)
    assert corners[0] == 0 and corners[-1] == 999 and len(corners) < 30
    above = np.interp(x, x[corners], y[corners]) - y
    assert above.min() > -1e-12 and above.max() <= 0.001
    assert chords(x[:1], y[:1], 0.1) == [0] and chords(x[:2], y[:2], 0.1) == [0, 1]
