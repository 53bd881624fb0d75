"""Explanations: worth against finite differences, jobs and inference against brute force, the command."""

import json
from dataclasses import replace

import highspy
import numpy as np
import pytest

from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import random_small
from decomp.files.store import write_instance, write_result
from decomp.insight.explain import EQUIPMENT, explain, inference, job_choices, worth
from decomp.lp.block import Block
from decomp.lp.highs import to_highs
from decomp.model.instance import InputError
from decomp.model.result import Dual
from decomp.model.scenarios import expand, in_scenario, side_by_side, with_scenarios
from decomp.site.equations import add_site
from drivers.common import run
from drivers.explain import main
from tiny import tiny

SEEDS = range(8)


def dual_of(instance, seed=0):
    """Random prices, as a dual solution."""
    rng = np.random.default_rng(seed)
    n, t = instance.n_sites, instance.n_periods
    price = rng.uniform(0.0, 0.3, (n, t)) if seed else rng.uniform(-0.1, 1.0, (n, t))
    streams = np.zeros((instance.n_streams, t))
    jobs, pools = np.zeros(instance.n_jobs), np.zeros(instance.n_pools)
    return Dual(price, streams, jobs, pools, np.zeros(n), carbon_price=7.0)


def least_cost(instance, i, price, carbon):
    """The relaxation of a site at prices, as the model is read: not the form that `worth` uses. inf: no dispatch."""
    block = Block()
    add_site(block, instance.microgrids, i, instance.period_h, relaxed=True)
    model = block.finish()
    cost = model.cost + carbon * model.emission
    cost[model.columns["load"]] -= instance.period_h * price
    solver = to_highs(replace(model, cost=cost))
    solver.run()
    optimal = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return solver.getInfo().objective_function_value if optimal else np.inf


@pytest.mark.parametrize("instance", [tiny(), *map(random_small, SEEDS)], ids=["tiny", *map(str, SEEDS)])
def test_worth_lies_between_the_differences_on_both_sides(instance):
    """A marginal value is at least what a little more brings and at most what a little less costs."""
    dual, carbon = dual_of(instance, 1), instance.carbon_price_usd_per_t + 7.0
    found, step = worth(instance, dual), 1e-3

    def changed(columns, i, by):
        """Cost of site i with a little more or less."""
        larger = {c: np.array(getattr(instance.sites, c), dtype=float) for c in columns}
        for values in larger.values():
            values[i] = np.where(values[i] > 0, values[i] + by, values[i])
        other = replace(instance, sites=replace(instance.sites, **larger))
        return least_cost(other, i, dual.load_price[i], carbon)

    seen = 0
    for name, columns in EQUIPMENT.items():
        for i, value in enumerate(getattr(found, name)):
            if np.isfinite(value):
                now, more = (changed(columns, i, by) for by in (0.0, step))
                assert now - more <= value * step + 5e-6
                if name != "battery_mwh" or instance.sites.battery_initial_mwh[i] < instance.sites.battery_mwh[i]:
                    assert value * step <= changed(columns, i, -step) - now + 5e-6
                seen += value > 1e-6
    assert np.isnan(found.battery_mwh[instance.sites.battery_mwh == 0]).all()
    assert seen


@pytest.mark.parametrize("seed", SEEDS)
def test_choices_of_jobs_are_those_of_brute_force(seed):
    instance = random_small(seed)
    schedule = solve_extensive(instance, time_limit=600.0).schedule
    if schedule is None:
        pytest.skip("no schedule")
    price = dual_of(instance).load_price
    jobs, candidates = instance.jobs, instance.candidates
    for j, choices in enumerate(job_choices(instance, schedule, price)):
        own_site, own_start = int(schedule.job_site[j]), int(schedule.job_start[j])
        best, own = {}, 0.0
        for k in np.flatnonzero(candidates.job == j):
            i = int(candidates.site[k])
            for start in range(int(jobs.release[j]), int(jobs.deadline[j] - jobs.periods[j]) + 1):
                over = range(start, start + int(jobs.periods[j]))
                if any(instance.sites.capacity_gpu[i, t] < jobs.gpus[j] for t in over):
                    continue
                load = sum(jobs.gpus[j] * instance.period_h * price[i, t] for t in over)
                net = jobs.value_usd[j] - candidates.cost_usd[k] - load
                if (i, start) == (own_site, own_start):
                    own = net
                else:
                    best[i] = max(best.get(i, -np.inf), net)
        if own_site >= 0 and not jobs.mandatory[j]:
            best[-1] = 0.0
        assert (choices[0].site, choices[0].start) == (own_site, own_start)
        assert choices[0].net == pytest.approx(own) and choices[0].room
        assert {c.site: c.net for c in choices[1:]} == pytest.approx(best)
        nets = [c.net for c in choices[1:]]
        assert nets == sorted(nets, reverse=True)


def test_room_is_what_the_other_jobs_leave():
    instance = tiny(jobs=dict(gpus=[100.0, 800.0, 950.0]), candidates=dict(site=[0, 1, 2, 0]))
    blank = solve_extensive(instance, time_limit=600.0).schedule
    schedule = replace(blank, job_site=[1, -1, 0], job_start=[0, -1, 2])
    own, *others = job_choices(instance, schedule, np.zeros((3, 8)))[0]
    assert own.site == 1 and own.room
    cheap = np.ones((3, 8))
    cheap[0, 2:5] = 0.0
    there = next(c for c in job_choices(instance, schedule, cheap)[0] if c.site == 0)
    assert there.start == 2 and not there.room


@pytest.mark.parametrize("seed", SEEDS)
def test_inference_costs_its_cheapest_arc_or_what_it_forgoes(seed):
    instance = random_small(seed)
    price = dual_of(instance).load_price
    found = inference(instance, price)
    for d in range(instance.n_streams):
        for t in range(instance.n_periods):
            ways = {-1: float(instance.streams.unserved_penalty[d] + instance.streams.revenue[d])}
            for a in np.flatnonzero(instance.arcs.stream == d):
                ways[int(instance.arcs.site[a])] = float(instance.arcs.cost[a] + price[instance.arcs.site[a], t])
            assert found.price[d, t] == pytest.approx(min(ways.values()))
            assert ways[int(found.site[d, t])] == pytest.approx(min(ways.values()))


@pytest.fixture
def files(tmp_path):
    """Instance and result with made-up prices, as arguments."""
    instance = tiny()
    result = replace(solve_extensive(instance), dual=dual_of(instance, 1))
    write_instance(tmp_path / "fleet.h5", instance)
    write_result(tmp_path / "result.h5", result, instance)
    return [str(tmp_path / "fleet.h5"), str(tmp_path / "result.h5")]


def test_the_command_answers(files, capsys):
    assert main(files) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("| large ", "| Albany ", "USD/MWh", "One more tonne"))
    assert main([*files, "--job", "small", "--site", "Buffalo"]) == 0
    out = capsys.readouterr().out
    assert "### Job small" in out and "(the plan)" in out and "### Site Buffalo" in out
    assert main([*files, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert len(record["jobs"]) == 3 and record["carbon_budget_usd_per_t"] == 7.0
    assert record["worth"]["gpu"]["unit"] == "USD/GPU" and record["worth"]["battery_mwh"]["values"][1] is None


def in_two_scenarios(share=0.25):
    """A fleet and its result, and the same in two equal scenarios, whose prices are shares of the one's."""
    instance = tiny()
    result = replace(solve_extensive(instance), dual=dual_of(instance, 1))
    p = np.array([share, 1.0 - share])
    shares = {f.name: np.concatenate([p[0] * v, p[1] * v]) for f, v in rows_of(result.dual)}
    dual, schedule = replace(result.dual, **shares), side_by_side([result.schedule] * 2)
    both = replace(result, schedule=schedule, dual=dual, allowances=None, provenance={})
    return instance, result, with_scenarios(instance, p, {}), both


def rows_of(dual):
    return [(f, getattr(dual, f.name)) for f in dual.columns() if f.name != "job_price"]


def test_equal_scenarios_are_explained_as_one():
    instance, result, several, both = in_two_scenarios()
    one, two = explain(instance, result), explain(several, both)
    for own, sum_of_two in zip(one.choices, two.choices, strict=True):
        assert [(c.site, c.start, c.room) for c in own] == [(c.site, c.start, c.room) for c in sum_of_two]
        assert [c.net for c in own] == pytest.approx([c.net for c in sum_of_two])
    assert two.inference.price == pytest.approx(one.inference.price)
    assert (two.inference.site == one.inference.site).all() and two.carbon == one.carbon
    for name in EQUIPMENT:
        assert getattr(two.worth, name) == pytest.approx(getattr(one.worth, name), nan_ok=True)
    fleet, alone = in_scenario(several, both, 1)
    assert alone.dual.load_price == pytest.approx(result.dual.load_price)
    assert explain(fleet, alone).inference.price == pytest.approx(one.inference.price)


def test_a_job_pays_in_all_scenarios_and_its_room_is_the_least():
    instance, result, several, both = in_two_scenarios(0.5)
    price = np.array(both.dual.load_price)
    price[3:, :4] += 1.0
    gpus = np.repeat(instance.sites.capacity_gpu[None], 2, axis=0)
    gpus[1, 1] = 250.0
    several = with_scenarios(instance, [0.5, 0.5], dict(capacity_gpu=gpus))
    before, after = (
        {(c.site, c.start): c for c in job_choices(expand(several), both.schedule, p)[0]}
        for p in (both.dual.load_price, price)
    )
    own = next(iter(before))
    dear = sum(t < 4 for t in range(own[1], own[1] + several.jobs.periods[0]))
    first = before[own].load + several.period_h * several.jobs.gpus[0] * dear
    assert after[own].load == pytest.approx(first)
    assert expand(several).least_capacity[1].max() == 250.0


def test_the_command_answers_by_scenario(tmp_path, capsys):
    _, _, several, both = in_two_scenarios()
    write_instance(tmp_path / "fleet.h5", several)
    write_result(tmp_path / "result.h5", both, several)
    files = [str(tmp_path / "fleet.h5"), str(tmp_path / "result.h5")]
    assert main([*files, "--site", "Albany"]) == 0
    assert "| A job pays | s0 | s1 |" in " ".join(capsys.readouterr().out.split())
    assert main([*files, "--site", "Albany", "--scenario", "s1"]) == 0
    assert "| Grid, USD/MWh " in capsys.readouterr().out
    assert main([*files, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [s["probability"] for s in record["scenarios"]] == [0.25, 0.75]
    one, two = (np.array(s["load_usd_per_gpu_h"]) for s in record["scenarios"])
    assert one == pytest.approx(two)
    assert run(main, [*files, "--scenario", "s2"]) == 2
    assert "scenario 's2': no such scenario; there are s0, s1" in capsys.readouterr().err


def test_what_cannot_be_explained_is_refused(files, tmp_path, capsys):
    assert run(main, [*files, "--job", "nobody"]) == 2
    assert "small, large, must" in capsys.readouterr().err
    assert run(main, [*files, "--site", "nowhere"]) == 2
    instance = tiny()
    with pytest.raises(InputError, match="no prices"):
        explain(instance, solve_extensive(instance))
