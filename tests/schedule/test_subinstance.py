"""A part of a fleet: its schedules complete the rest, its costs differ from the fleet's by a constant."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.model.accounts import account
from decomp.model.instance import Array, Instance
from decomp.model.result import Result, Schedule, Status
from decomp.model.validate import validate
from decomp.schedule.subinstance import SubInstance, around, restrict

SEEDS = (0, 3, 5, 7, 8, 11, 12, 21)


@cache
def scheduled(seed: int) -> tuple[Instance, Schedule]:
    """An instance and some schedule of it, not the best."""
    instance = generate("small", seed=seed)
    half = replace(instance, jobs=replace(instance.jobs, value_usd=0.3 * instance.jobs.value_usd))
    schedule = solve_extensive(half, rel_gap=0.05, time_limit=600.0).schedule
    assert schedule is not None
    return instance, schedule


def cut(part: SubInstance, schedule: Schedule) -> Schedule:
    """The part's own piece of a schedule of the whole."""
    values = {f.name: getattr(schedule, f.name)[part.rows[f.metadata["dims"][0]]] for f in schedule.columns()}
    position = np.full(int(part.rows["site"].max(initial=-1)) + 2, -1)
    position[part.rows["site"]] = np.arange(len(part.rows["site"]))
    return Schedule(**values | dict(job_site=position[values["job_site"]]))


def halves(instance: Instance) -> list[Array]:
    every = np.arange(instance.n_sites)
    return [every, every[:1], every[1:]] if instance.n_sites > 1 else [every]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_part_is_a_legal_instance_and_the_present_schedule_is_one_of_its(seed: int) -> None:
    instance, schedule = scheduled(seed)
    for sites in halves(instance):
        part = restrict(instance, schedule, sites)
        validate(replace(part.instance, carbon_budget_t=max(part.instance.carbon_budget_t, 0.0)))
        own = cut(part, schedule)
        whole = part.merge(schedule, own)
        for f in schedule.columns():
            assert np.array_equal(getattr(whole, f.name), getattr(schedule, f.name)), f.name
        result = Result(Status.LIMIT, -np.inf, account(part.instance, own).net_cost, own, None)
        faults = [f for f in check(part.instance, result, bound=False).findings if f.rule != "instance hash"]
        assert faults == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_better_part_makes_the_whole_better_by_as_much(seed: int) -> None:
    instance, schedule = scheduled(seed)
    before = account(instance, schedule).net_cost
    for sites in halves(instance):
        part = restrict(instance, schedule, sites)
        was = account(part.instance, cut(part, schedule)).net_cost
        answer = solve_extensive(part.instance, time_limit=600.0, start=cut(part, schedule))
        assert answer.schedule is not None and answer.incumbent <= was + 1e-6 * abs(was)
        whole = part.merge(schedule, answer.schedule)
        result = Result(Status.LIMIT, -np.inf, account(instance, whole).net_cost, whole, None)
        result = replace(result, provenance=dict(instance_hash=instance.content_hash()))
        assert [str(f) for f in check(instance, result, bound=False).findings] == []
        assert account(instance, whole).net_cost - before == pytest.approx(answer.incumbent - was, abs=1e-4)


def test_growing_around_a_site_ends_with_the_fleet() -> None:
    instance = generate("fleet", sites=9, periods=12, seed=0)
    sites = np.array([4])
    for size in (3, 7, 9, 9):
        larger = around(instance, sites, 2 * len(sites) + 1)
        assert len(larger) == size and set(sites) <= set(larger.tolist())
        sites = larger
