"""The certificate rejects every kind of mutated result, and names the rule and the place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.model.instance import Array, Instance
from decomp.model.result import Iteration, Result, Status
from hand_case import INSTANCE, RIGHT, claim, hand_instance, prices

Case = tuple[Instance, Result]
MUTATIONS: dict[str, tuple[str, Callable[[], Case]]] = {}


def rejects(expected: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Register a mutation, with a part of the finding that must come of it."""

    def register(make: Callable[[], Case]) -> Callable[[], Case]:
        MUTATIONS[make.__name__] = (expected, make)
        return make

    return register


def edit(array: Array, *changes: tuple[Any, Any]) -> Array:
    """A copy with `array[index] += change` (booleans flip)."""
    copy = np.array(array)
    for index, change in changes:
        copy[index] = ~copy[index] if copy.dtype == bool else copy[index] + change
    return copy


def bent(name: str, expected: str, **changes: list[tuple[Any, Any]]) -> None:
    """Register a mutation of the schedule alone: {array: [(index, change), ...]}."""

    def make() -> Case:
        schedule = RIGHT.schedule
        assert schedule is not None
        arrays = {field: edit(getattr(schedule, field), *list_) for field, list_ in changes.items()}
        return INSTANCE, replace(RIGHT, schedule=replace(schedule, **arrays))

    MUTATIONS[name] = (expected, make)


bent("job shifted", "(2) IT power", job_start=[(0, 1)])
bent("job before its release", "(C2) start not before release: job 'tune'", job_start=[(1, -2)])
bent("job past its deadline", "(C2) end not after deadline: job 'tune'", job_start=[(1, 2)])
bent("job far beyond the horizon", "(C2) end not after deadline: job 'tune'", job_start=[(1, 2**40)])
bent("job at a site that is no candidate", "(C2) candidate site: job 'train': 'beta'", job_site=[(0, 1)])
bent("job at a site that does not exist", "(C2) candidate site: job 'train': '7'", job_site=[(0, 7)])
bent("job beyond the capacity", "(1) load: site 'beta', period 3: 120", job_site=[(2, 2)], job_start=[(2, 4)])
bent("mandatory job missing", "(C2) mandatory job runs: job 'train'", job_site=[(0, -1)], job_start=[(0, -2)])
bent("job half rejected", "(C2) site and start of a rejected job: job 'tune'", job_site=[(1, -2)])
bent("unserved understated", "(C1) demand served and unserved: stream 'chat', period 0", unserved_gpu=[((0, 0), -1)])
bent("negative routing", "sign of routed_gpu: stream 'chat' at site 'beta'", routed_gpu=[((1, 0), -9), ((0, 0), 9)])
bent("demand overserved", "sign of unserved_gpu", routed_gpu=[((0, 2), 5)], unserved_gpu=[((0, 2), -5)])
bent("load above capacity", "(1) load: site 'alpha'", routed_gpu=[((0, 1), 50)])
bent("pool short", "(C4) work done and shortfall: pool 'batch'", pool_gpu=[((0, 2), -1)])
bent("pool too late", "(C4) rate in the window: pool 'batch' at site 'alpha', period 5", pool_gpu=[((0, 5), 1)])
bent("pool too fast", "(C4) rate in the window: pool 'batch' at site 'beta'", pool_gpu=[((1, 2), 9)])
bent("negative shortfall", "sign of pool_shortfall", pool_shortfall_gpu_h=[(0, -2)], pool_gpu=[((0, 2), 4)])
bent("import above its limit", "(5) import limit: site 'alpha', period 0", import_mw=[((0, 0), 5)])
bent("export above its limit", "(5) export limit: site 'alpha', period 5", export_mw=[((0, 5), 2)])
bent("import and export at once", "(5) import and export at once", import_mw=[((0, 0), 0.5)], export_mw=[((0, 0), 0.5)])
bent("negative export", "sign of export_mw", import_mw=[((0, 0), -0.5)], export_mw=[((0, 0), -0.5)])
bent("both battery flows", "(6) charge and discharge at once", charge_mw=[((1, 3), 0.1)], discharge_mw=[((1, 3), 0.1)])
bent("charging too fast", "(6) charging limit: site 'beta', period 0", charge_mw=[((1, 0), 0.3)])
bent("discharging too fast", "(6) discharging limit", discharge_mw=[((1, 3), 0.9)])
bent("charging without a battery", "(6) charging limit: site 'alpha'", charge_mw=[((0, 0), 0.1)])
bent("battery above its size", "(6) largest stored energy: site 'beta', period 2", stored_mwh=[((1, 3), 1.0)])
bent("battery below its floor", "(6) least stored energy", stored_mwh=[((1, 3), -1.3)])
bent("stored energy from nothing", "(6) stored energy at the end of the period", stored_mwh=[((1, slice(3, 7)), 0.1)])
bent("another start of the battery", "(6) stored energy at the start", stored_mwh=[((1, 0), 0.1)])
bent("battery emptied at the end", "(6) stored energy at the end: site 'beta'", stored_mwh=[((1, 6), -0.3)])
bent("on flag missing", "(7) output at most p_max when on: generator 0 at site 'alpha'", generator_on=[((0, 3), 1)])
bent("on flag without output", "(7) output at least p_min when on", generator_on=[((1, 2), 1)])
bent("output below p_min", "(7) output at least p_min when on", generation_mw=[((1, 1), -0.1)])
bent("output above p_max", "(7) output at most p_max", generation_mw=[((1, 1), 0.7)])
off = dict(generator_on=[((0, 3), 1), ((0, 4), 1)], generation_mw=[((0, 3), -1.0), ((0, 4), -0.5)])
bent("minimum up time", "(7) minimum up time: generator 0", **off)
again = dict(generator_on=[((1, 2), 1), ((1, 1), 1)], generation_mw=[((1, 2), 0.4), ((1, 1), -0.4)])
bent("minimum down time", "(7) minimum down time: generator 1", **again)
first = dict(generator_on=[((1, 0), 1), ((1, 1), 1)], generation_mw=[((1, 0), -0.4), ((1, 1), -0.4)])
bent("up time from before", "(7) minimum up time from before the start: generator 1", **first)
early = dict(generator_on=[((0, 0), 1), ((0, 1), 1)], generation_mw=[((0, 0), 0.5), ((0, 1), 0.5)])
bent("down time from before", "(7) minimum down time from before the start: generator 0", **early)
bent("ramp up", "(7) ramp up: generator 0 at site 'alpha', period 3", generation_mw=[((0, 3), 0.3)])
bent("output of what is off", "(7) output at most p_max when on: generator 1", generation_mw=[((1, 4), 0.1)])
drop = dict(generator_on=[((0, 4), 1)], generation_mw=[((0, 4), -0.5)])
bent("ramp down", "(7) ramp down: generator 0 at site 'alpha', period 4", **drop)
less = dict(renewable_mw=[((1, 2), -0.1)], import_mw=[((1, 2), 0.1)])
bent("curtailment that is not allowed", "(4) wind and sun without curtailment: site 'beta', period 2", **less)
more = dict(renewable_mw=[((0, 0), 0.2)], import_mw=[((0, 0), -0.2)])
bent("more sun than there is", "(4) wind and sun: site 'alpha', period 0", **more)
low = dict(it_power_mw=[((1, 1), -0.1)], import_mw=[((1, 1), -0.12)])
bent("IT power too low", "(2) IT power above the curve: site 'beta', period 1", **low)
burn = dict(it_power_mw=[((0, 2), 0.1)], import_mw=[((0, 2), 0.12)])
bent("power burnt for money", "(2) IT power at most the exact curve or full load: site 'alpha', period 2", **burn)
full = dict(it_power_mw=[((1, 2), 2.0)], import_mw=[((1, 2), 2.4)])
bent("IT power above full load", "(2) IT power at most the exact curve or full load: site 'beta'", **full)
bent("power from nowhere", "(3,4) power balance: site 'beta', period 4", import_mw=[((1, 4), -0.2)])
bent("NaN in the schedule", "schedule.import_mw: site 'beta', period 4: nan", import_mw=[((1, 4), np.nan)])
bent("infinity in the schedule", "schedule.routed_gpu", routed_gpu=[((1, 4), np.inf)])


def within_wide_limits(name: str) -> Case:
    """A mutation beside a battery and a generator of any size: tolerances are of what flows, not of what might."""
    _, right = MUTATIONS[name][1]()
    battery = dict(battery_mwh=[0.0, 1e12], charge_mw=[0.0, 1e12], discharge_mw=[0.0, 1e12])
    sites = replace(INSTANCE.sites, **battery)
    instance = replace(INSTANCE, sites=sites, generators=replace(INSTANCE.generators, p_max_mw=[1.5, 1e12]))
    assert check(instance, claim(instance, RIGHT.schedule, prices(instance))).ok
    return instance, claim(instance, right.schedule, prices(instance))


for name in ("power from nowhere", "both battery flows", "stored energy from nothing", "output of what is off"):
    MUTATIONS[f"{name}, in wide limits"] = (MUTATIONS[name][0], partial(within_wide_limits, name))


@rejects("schedule.import_mw: shape: (2, 5)")
def wrong_shape() -> Case:
    assert RIGHT.schedule is not None
    return INSTANCE, replace(RIGHT, schedule=replace(RIGHT.schedule, import_mw=RIGHT.schedule.import_mw[:, 1:]))


@rejects("(C3) carbon budget: fleet")
def budget_exceeded() -> Case:
    instance = hand_instance(carbon_budget_t=0.5)
    return instance, claim(instance, RIGHT.schedule, prices(instance))


@rejects("(C1) latency of a used arc: stream 'code' at site 'beta'")
def too_slow() -> Case:
    instance = replace(INSTANCE, arcs=replace(INSTANCE.arcs, round_trip_ms=[30.0, 30.0, 90.0]))
    return instance, claim(instance, RIGHT.schedule, prices(instance))


@rejects("(C4) shortfall: pool 'batch'")
def pool_that_must_be_done() -> Case:
    instance = replace(INSTANCE, pools=replace(INSTANCE.pools, shortfall_penalty=[np.inf]))
    return instance, claim(instance, RIGHT.schedule, prices(instance))


@rejects("net cost: incumbent")
def incumbent_understated() -> Case:
    return INSTANCE, replace(RIGHT, incumbent=RIGHT.incumbent - 0.01)


@rejects("what its prices prove")
def bound_too_high() -> Case:
    return INSTANCE, replace(RIGHT, bound=RIGHT.bound + 0.01)


@rejects("at most the incumbent")
def bound_above_incumbent() -> Case:
    return INSTANCE, replace(RIGHT, bound=RIGHT.incumbent + 1.0)


@rejects("bound: site_lower: site 'beta'")
def site_bound_too_high() -> Case:
    assert RIGHT.dual is not None
    return INSTANCE, replace(RIGHT, dual=replace(RIGHT.dual, site_lower=edit(RIGHT.dual.site_lower, (1, 0.01))))


@rejects("bound: site_lower: site 'alpha'")
def other_prices() -> Case:
    assert RIGHT.dual is not None
    return INSTANCE, replace(RIGHT, dual=replace(RIGHT.dual, load_price=RIGHT.dual.load_price + 0.5))


@rejects("bound: site_lower: site 'alpha'")
def other_form() -> Case:
    assert RIGHT.dual is not None
    return INSTANCE, replace(RIGHT, dual=replace(RIGHT.dual, form="work"))


@rejects("dual.form: 'magic'")
def unknown_form() -> Case:
    assert RIGHT.dual is not None
    return INSTANCE, replace(RIGHT, dual=replace(RIGHT.dual, form="magic"))


@rejects("dual.carbon_price: -5")
def negative_carbon_price() -> Case:
    assert RIGHT.dual is not None
    return INSTANCE, replace(RIGHT, dual=replace(RIGHT.dual, carbon_price=-5.0))


@rejects("the price of the excess")
def carbon_price_above_the_excess() -> Case:
    instance = hand_instance(carbon_excess_usd_per_t=4.0)
    return instance, claim(instance, RIGHT.schedule, RIGHT.dual, bound=RIGHT.bound)


@rejects("there is no budget")
def carbon_price_without_budget() -> Case:
    instance = hand_instance(carbon_budget_t=np.inf)
    return instance, claim(instance, RIGHT.schedule, RIGHT.dual, bound=RIGHT.bound)


@rejects("dual.load_price: site 'alpha', period 3: nan")
def nan_in_the_dual() -> Case:
    assert RIGHT.dual is not None
    price = edit(RIGHT.dual.load_price, ((0, 3), np.nan))
    return INSTANCE, replace(RIGHT, dual=replace(RIGHT.dual, load_price=price))


@rejects("dual.site_lower: shape")
def short_dual() -> Case:
    assert RIGHT.dual is not None
    return INSTANCE, replace(RIGHT, dual=replace(RIGHT.dual, site_lower=RIGHT.dual.site_lower[:1]))


@rejects("result.bound: -inf")
def no_bound_claimed() -> Case:
    return INSTANCE, replace(RIGHT, bound=-np.inf)


@rejects("schedule: none")
def no_schedule() -> Case:
    return INSTANCE, replace(RIGHT, schedule=None)


@rejects("instance hash")
def another_instance() -> Case:
    return hand_instance(carbon_price_usd_per_t=10.1), RIGHT


@rejects("instance hash: None")
def no_hash() -> Case:
    return INSTANCE, replace(RIGHT, provenance={})


@rejects("stated gap_rel")
def wrong_gap_stated() -> Case:
    return INSTANCE, replace(RIGHT, provenance={**RIGHT.provenance, "gap_rel": RIGHT.gap_rel / 2})


@rejects("stated bound: very good")
def nonsense_stated() -> Case:
    return INSTANCE, replace(RIGHT, provenance={**RIGHT.provenance, "bound": "very good"})


@rejects("status: gap reached")
def gap_not_reached() -> Case:
    provenance = {**RIGHT.provenance, "options": {"rel_gap": RIGHT.gap_rel / 2}}
    return INSTANCE, replace(RIGHT, status=Status.GAP_REACHED, provenance=provenance)


@rejects("log: iteration 3")
def bound_above_incumbent_in_the_log() -> Case:
    return INSTANCE, replace(RIGHT, log=(Iteration(3, "dual", RIGHT.incumbent + 5.0, RIGHT.incumbent, 1.0),))


@rejects("claimed")
def extensive_bound_too_high() -> Case:
    result = solve_extensive(INSTANCE)
    return INSTANCE, replace(result, bound=result.bound + 0.1, incumbent=result.bound + 0.1)


def carbon(expected: str, **changes: Any) -> None:
    """Register a mutation of the allowances: {field: what is added}."""
    name = f"allowances: {expected}"
    right = RIGHT.allowances
    assert right is not None
    changed = replace(right, **{field: getattr(right, field) + more for field, more in changes.items()})
    MUTATIONS[name] = (expected, lambda: (INSTANCE, replace(RIGHT, allowances=changed)))


carbon("(C3) allowance: site 'beta'", allowance_t=np.array([99.0, -99.0]))
carbon("(C3) allowances: fleet", allowance_t=np.array([0.01, 0.0]))
carbon("abatement_usd_per_t: 6, must be 5 USD/t", abatement_usd_per_t=1.0)
carbon("abatement_usd_per_t: nan, must be 5 USD/t", abatement_usd_per_t=np.nan)
carbon("allowances.allowance_t: site 'alpha': nan", allowance_t=np.array([np.nan, 0.0]))


@rejects("allowances: in the result")
def allowances_without_a_budget() -> Case:
    instance = hand_instance(carbon_budget_t=np.inf)
    right = claim(instance, RIGHT.schedule, prices(instance, carbon=0.0))
    return instance, replace(right, allowances=RIGHT.allowances)


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_are_rejected(name: str) -> None:
    expected, make = MUTATIONS[name]
    instance, result = make()
    certificate = check(instance, result)
    assert not certificate.ok
    assert any(expected in str(finding) for finding in certificate.findings), certificate.findings
