"""Cluster moves: costs that are convex, answers that are never worse, the best one by brute force."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from decomp.bound import job_kernels
from decomp.bound.coupling import REJECTED, Coupling, Fixing
from decomp.families import generate
from decomp.lp.highs import Effort, to_highs
from decomp.model.instance import Array, build_instance
from decomp.model.options import Bundle, Options
from decomp.search.by_prices import CLAIMANTS, Neighbours, claims, clusters, job_loss
from decomp.search.cluster import ClusterTask, Move, cluster_model, cost_pieces, improve_cluster
from decomp.search.job_milp import JobChoice
from decomp.solver.solve import solve
from loops import loop_of
from running import StandIns

pytestmark = pytest.mark.slow

SEEDS = (4, 7, 9, 10, 13, 16, 28)
OPTIONS = Options.from_dict(dict(method="lagrangian", rel_gap=0.0, improvement=dict(stale_finishes=1, cluster_sites=3)))
TASKS: dict[int, list[ClusterTask]] = {}


@pytest.fixture(params=SEEDS)
def tasks(request: pytest.FixtureRequest) -> Iterator[list[ClusterTask]]:
    """Clusters that a real solve met."""
    seed = request.param
    if seed not in TASKS:
        met: list[ClusterTask] = []

        def noted(task: ClusterTask) -> Move:
            met.append(task)
            return improve_cluster(task)

        solve(generate("small", seed=seed), StandIns({"cluster moves": noted}), OPTIONS)
        TASKS[seed] = met[:12]
    yield TASKS[seed]


def value(task: ClusterTask, chosen: tuple[int, ...]) -> float:
    """Value of the cluster's model with every job at a given one of its runs."""
    model, runs = cluster_model(task)
    low, high = model.low.copy(), model.high.copy()
    for y, r in zip(runs, chosen, strict=True):
        low[y] = high[y] = 0.0
        low[y[r]] = high[y[r]] = 1.0
    solver = to_highs(replace(model, low=low, high=high))
    solver.run()
    optimal = solver.modelStatusToString(solver.getModelStatus()) == "Optimal"
    return solver.getInfo().objective_function_value if optimal else np.inf


def position(task: ClusterTask, move: Move) -> tuple[int, ...]:
    pairs = zip(task.choices, move.run, move.start, strict=True)
    return tuple(int(np.flatnonzero((c.run == r) & (c.start == s))[0]) for c, r, s in pairs)


def test_moves_are_never_worse_and_gain_what_they_say(tasks: list[ClusterTask]) -> None:
    assert tasks
    for task in tasks:
        move = improve_cluster(task)
        assert move.jobs.tolist() == [c.job for c in task.choices] and move.gain >= 0.0
        stay = value(task, tuple(c.here for c in task.choices))
        if np.isfinite(stay):
            after = value(task, position(task, move))
            assert after == pytest.approx(stay - move.gain, rel=1e-6, abs=1e-5)


def test_the_best_move_is_found_when_all_runs_are_kept(tasks: list[ClusterTask]) -> None:
    for task in tasks:
        widths = [len(c.run) for c in task.choices]
        stay = value(task, tuple(c.here for c in task.choices))
        if not widths or np.prod(widths) > 120 or not np.isfinite(stay):
            continue
        best = min(value(task, chosen) for chosen in itertools.product(*map(range, widths)))
        move = improve_cluster(replace(task, runs_kept=1000, effort=Effort(0.0, 100_000)))
        assert stay - move.gain == pytest.approx(best, rel=1e-6, abs=1e-5)


def test_cost_of_load_is_convex_where_energy_costs_and_ends_at_capacity(tasks: list[ClusterTask]) -> None:
    for task in tasks:
        price = task.grids.sites.buy_price + task.carbon_price * task.grids.sites.carbon_intensity
        for k in range(len(task.load)):
            width, slope = cost_pieces(task, k)
            capacity = task.grids.sites.capacity_gpu[k]
            assert (width >= 0).all() and (width.sum(axis=1) <= capacity * (1 + 1e-9)).all()
            for t in np.flatnonzero(price[k] >= 0):
                rising = slope[t][width[t] > 1e-6 * max(capacity[t], 1.0)]
                assert (np.diff(rising) >= -1e-6 * (1.0 + np.abs(rising[1:]))).all()


def standing(sites: dict[str, Any], load: Array) -> ClusterTask:
    """Sites with a load (site, T), GPU, that stays as it is."""
    n, none = load.shape[1], np.zeros(0, dtype=int)
    return ClusterTask(
        choices=(), runs_kept=2, effort=Effort(0.0, 100), until=np.inf, windows=1, seed=0,
        grids=build_instance(len(load), n, 1.0, sites=sites).microgrids, period_h=1.0, carbon_price=0.0, load=load,
        fixed_load=load, arc_site=none, arc_stream=none, arc_cost=np.zeros(0), demand=np.zeros((0, n)),
        unserved=np.zeros(0), leave_price=np.zeros((0, n)), leave_room=np.zeros((0, n)), copies=1,
    )  # fmt: skip


@pytest.mark.parametrize(("sell", "credit"), [(50.0, 0.5), (290.0, 0.0)])
def test_load_is_priced_beside_a_dispatch_that_does_not_import_and_export_at_once(sell: float, credit: float) -> None:
    """Wind of 0.5 MW is enough for 300 GPU, however well exports are paid: all import adds to the peak."""
    sites = dict(capacity_gpu=1000.0, power_slope_mw_per_gpu=1e-3, power_intercept_mw=0.0, pue=1.0, wind_mw=0.5)
    sites |= dict(import_limit_mw=2.0, export_limit_mw=1.0, buy_price=50.0, sell_price=sell, demand_charge=40.0)
    sites |= dict(carbon_intensity=0.3, export_credit=credit)
    width, cost = cost_pieces(replace(standing(sites, np.full((1, 2), 300.0)), carbon_price=600.0), 0)
    there = width[0] > 0
    assert width[0, there] == pytest.approx([500.0, 500.0])
    assert cost[0, there] == pytest.approx([1e-3 * (50 + 0.3 * 600), 1e-3 * (50 + 0.3 * 600 + 40)])


def test_a_site_whose_battery_cannot_keep_up_its_load_gives_jobs_away() -> None:
    """0.5 MW of import and 0.2 MWh in store meet 0.8 MW for two hours: 400 GPU h of inference are dropped.

    With the job at the other site all is served, for 0.4 MWh more of import.
    """
    demand, price, penalty = np.array([[0.0, 0.0, 500.0, 500.0]]), 50.0, 3.0
    sites = dict(capacity_gpu=1000.0, power_slope_mw_per_gpu=1e-3, power_intercept_mw=0.0, pue=1.0)
    sites |= dict(import_limit_mw=[[0.5], [2.0]], buy_price=price, sell_price=price, discharge_efficiency=1.0)
    sites |= dict(battery_mwh=[0.2, 0.0], battery_initial_mwh=[0.2, 0.0], charge_mw=[1.0, 0.0], discharge_mw=[1.0, 0.0])
    job = np.array([[0.0, 0.0, 300.0, 300.0], [0.0] * 4])
    run, start, free = np.array([0, 1]), np.array([2, 2]), np.zeros(2)
    task = replace(
        standing(sites, job + np.concatenate([demand, np.zeros((1, 4))])),
        choices=(JobChoice(0, 300.0, 2, run, run, start, free, 0),),
        **dict(fixed_load=np.zeros((2, 4)), demand=demand, unserved=np.array([penalty])),
        **dict(arc_site=np.array([0]), arc_stream=np.array([0]), arc_cost=np.zeros(1)),
        **dict(leave_price=np.zeros((1, 4)), leave_room=np.zeros((1, 4))),
    )
    move = improve_cluster(task)
    assert move.run.tolist() == [1] and move.gain == pytest.approx(400 * penalty - 0.4 * price, abs=1e-6)


def test_unserved_work_is_claimed_by_few_clusters_that_can_serve_it() -> None:
    coupling = Coupling.of(generate("fleet", sites=24, periods=12, seed=0))
    chosen = [np.arange(k, k + 2) for k in range(0, 24, 2)]
    shared = claims(coupling, chosen, np.random.default_rng(0))
    owner = np.repeat(np.arange(len(coupling.streams.unserved)), np.diff(coupling.streams.ptr))
    for d in range(len(coupling.streams.unserved)):
        able = [bool(np.isin(coupling.streams.site[owner == d], members).any()) for members in chosen]
        claimed = [bool(claim.unserved[d]) for claim in shared]
        assert not any(c and not a for c, a in zip(claimed, able, strict=True))
        assert sum(claimed) == min(CLAIMANTS, sum(able))


def test_clusters_are_disjoint_and_cover_the_fleet() -> None:
    rng = np.random.default_rng(0)
    shared = rng.integers(0, 3, (9, 9)).astype(float)
    shared = shared + shared.T
    np.fill_diagonal(shared, 0.0)
    neighbours = Neighbours(csr_array(shared), csr_array((9, 9)), np.zeros(9))
    for size in (1, 3, 20):
        chosen = clusters(neighbours, np.ones(9), size, rng)
        assert sorted(np.concatenate(chosen).tolist()) == list(range(9))
        assert max(map(len, chosen)) <= size
    lonely = Neighbours(csr_array((4, 4)), csr_array((4, 4)), np.zeros(4))
    assert sorted(map(len, clusters(lonely, np.ones(4), 3, rng))) == [1, 1, 1, 1]


def test_loss_of_jobs_lies_where_they_run_or_could() -> None:
    for seed in range(6):
        loop = loop_of(generate("small", seed=seed), Bundle())
        c, rng = loop.coupling, np.random.default_rng(seed)
        loop.refix(fixing := Fixing(*random_runs(c, rng)))
        price, loss = loop.centre.price, np.full(len(c.capacity), 1e-6)
        for j in range(c.n_jobs):
            k = int(fixing.run[j])
            best = job_kernels.best_start(price, c.jobs, j)[0]
            best = min(best, 0.0) if c.jobs.optional[j] else best
            places = c.jobs.site[c.jobs.ptr[j] : c.jobs.ptr[j + 1]] if k < 0 else c.jobs.site[k : k + 1]
            for i in places:
                loss[i] += (job_kernels.run_value(price, c.jobs, j, k, int(fixing.start[j])) - best) / len(places)
        assert job_loss(loop) == pytest.approx(loss, rel=1e-9, abs=1e-6)


def random_runs(c: Coupling, rng: np.random.Generator) -> tuple[Array, Array]:
    """Every job at a random allowed run, or rejected if it may be."""
    run, start = np.full(c.n_jobs, REJECTED), np.full(c.n_jobs, -1)
    for j in range(c.n_jobs):
        own = range(c.jobs.ptr[j], c.jobs.ptr[j + 1])
        runs = [(k, c.jobs.release[j] + q) for k in own for q in range(c.jobs.n_starts[j])
                if c.jobs.allowed[c.jobs.first[k] + q]]  # fmt: skip
        if runs and not (c.jobs.optional[j] and rng.random() < 0.4):
            run[j], start[j] = runs[rng.integers(len(runs))]
    return run, start
