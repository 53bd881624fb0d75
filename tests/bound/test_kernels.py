"""The kernels: exact block updates, closed-form dual terms and fitting, against SciPy and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from decomp.bound import job_kernels, stream_kernels
from decomp.bound.coupling import FREE, REJECTED, Coupling
from decomp.bound.lagrangian import first_prices
from decomp.bound.layout import ProximalStep
from decomp.bound.master_part import ATOMS
from decomp.bound.multipliers import Multipliers
from decomp.extensive.reductions import start_allowed
from decomp.families import generate
from decomp.model.instance import Array, Instance
from decomp.model.options import Bundle
from decomp.schedule import placing
from decomp.schedule.dive import fixed_load
from loops import loop_of

SEEDS = range(25)


def case(seed: int) -> tuple[Instance, Coupling, Array]:
    """An instance, its coupling, and prices of the size of its own with noise, USD per GPU and period."""
    instance = generate("small", seed=seed, streams=3, jobs=4)
    c = Coupling.of(instance)
    price = first_prices(c, instance.sites, 0.0)
    worth = c.period_h * 2.0
    return instance, c, price + worth * np.random.default_rng(seed).normal(0.5, 1.0, price.shape)


def runs(c: Coupling, instance: Instance, j: int) -> list[tuple[int, int]]:
    """Every allowed run (candidate row of the coupling, start) of a job, by brute force from the instance."""
    jobs, found = instance.jobs, []
    for k in range(c.jobs.ptr[j], c.jobs.ptr[j + 1]):
        room = instance.sites.capacity_gpu[instance.candidates.site[c.candidate_order[k]]]
        for s in range(jobs.release[j], jobs.deadline[j] - jobs.periods[j] + 1):
            if (room[s : s + jobs.periods[j]] >= jobs.gpus[j]).all():
                found.append((k, s))
    return found


def value(c: Coupling, price: Array, j: int, k: int, s: int) -> float:
    rows = c.jobs
    return float(rows.cost[k] + rows.gpus[j] * price[rows.site[k], s : s + rows.length[j]].sum())


@pytest.mark.parametrize("seed", SEEDS)
def test_starts_best_start_and_job_value_against_brute_force(seed: int) -> None:
    instance, c, price = case(seed)
    rows, total = c.jobs, 0.0
    allowed = start_allowed(instance)[c.candidate_order]
    for j in range(c.n_jobs):
        every = runs(c, instance, j)
        marked = [
            (k, rows.release[j] + q)
            for k in range(rows.ptr[j], rows.ptr[j + 1])
            for q in range(rows.n_starts[j])
            if rows.allowed[rows.first[k] + q]
        ]
        here = range(rows.ptr[j], rows.ptr[j + 1])
        assert marked == every == [(k, s) for k in here for s in np.flatnonzero(allowed[k])]
        best, k, s = job_kernels.best_start(price, rows, j)
        right = min((value(c, price, j, *run) for run in every), default=np.inf)
        assert best == pytest.approx(right, rel=1e-9, abs=1e-9)
        if every:
            assert (k, s) in every and job_kernels.run_value(price, rows, j, k, s) == pytest.approx(best, abs=1e-9)
        sums, scratch = job_kernels.sums_before(price), np.empty(price.shape[1] + 1)
        assert job_kernels.cheapest_run(sums, rows, j, scratch) == pytest.approx((best, k, s), abs=1e-9)
        total += min(right, 0.0) if rows.optional[j] else right
    values = job_kernels.job_values(price, rows, *c.free_jobs(), 0, 1)
    assert values.sum() == pytest.approx(total, rel=1e-9, abs=1e-9)
    rejected = np.full(c.n_jobs, REJECTED)
    assert (job_kernels.job_values(price, rows, rejected, rejected, 0, 1) == 0.0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_stream_value_is_the_cheapest_routing(seed: int) -> None:
    _, c, price = case(seed)
    rows, total = c.streams, 0.0
    for d in range(len(rows.unserved)):
        arcs = slice(rows.ptr[d], rows.ptr[d + 1])
        for t in range(price.shape[1]):
            cost = np.append(rows.cost[arcs] + price[rows.site[arcs], t], rows.unserved[d])
            total += linprog(cost, A_eq=np.ones((1, len(cost))), b_eq=[rows.demand[d, t]]).fun
    assert stream_kernels.stream_values(price, rows).sum() == pytest.approx(total, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_pool_value_is_the_cheapest_fill(seed: int) -> None:
    _, c, price = case(seed)
    rows, total = c.pools, 0.0
    for p in range(len(rows.work)):
        sites, rates = rows.site[rows.ptr[p] : rows.ptr[p + 1]], rows.rate[rows.ptr[p] : rows.ptr[p + 1]]
        width = int(rows.end[p] - rows.start[p])
        cost, most = price[sites, rows.start[p] : rows.end[p]].ravel(), np.repeat(rates, width)
        if np.isfinite(rows.penalty[p]):
            cost, most = np.append(cost, rows.penalty[p]), np.append(most, np.inf)
        bounds = np.column_stack([np.zeros_like(most), most])
        total += linprog(cost, A_eq=np.ones((1, len(cost))), b_eq=[rows.work[p]], bounds=bounds).fun
    assert stream_kernels.pool_value(price, rows) == pytest.approx(total, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("seed", range(12))
def test_stream_pass_minimises_cost_and_proximal_term(seed: int) -> None:
    """One stream alone at fresh prices: its routing is the minimum that SciPy finds, and prices follow it."""
    instance = generate("small", seed=seed, streams=1)
    c = Coupling.of(instance)
    rows, rng = c.streams, np.random.default_rng(seed)
    centre = first_prices(c, instance.sites, 0.0) * rng.uniform(0.0, 2.0, c.capacity.shape)
    bend = 3.0 * np.abs(centre).mean() / c.capacity.max() * np.ones_like(centre)
    price, routed = centre.copy(), np.zeros((len(rows.site), centre.shape[1]))
    stream_kernels.stream_pass(price, bend, rows, routed)
    load = np.zeros_like(price)
    stream_kernels.arc_load(load, rows.site, routed)
    assert price == pytest.approx(centre + bend * load, rel=1e-9, abs=1e-12)
    for t in range(price.shape[1]):
        demand, unserved = rows.demand[0, t], rows.unserved[0]
        slope, curve = rows.cost + centre[rows.site, t] - unserved, bend[rows.site, t]

        def cost(x: Array, slope: Array = slope, curve: Array = curve) -> float:
            return float(slope @ x + 0.5 * (curve * x * x).sum())

        assert routed[:, t].min() >= 0 and routed[:, t].sum() <= demand * (1 + 1e-9)
        if demand > 0:
            limit: Any = dict(type="ineq", fun=lambda x, demand=demand: (demand - x.sum()) / demand)
            start = np.full(len(rows.site), 0.5 * demand / len(rows.site))
            best = minimize(cost, start, bounds=[(0, demand)] * len(start), constraints=[limit])
            assert cost(routed[:, t]) <= best.fun + 1e-6 * (1.0 + abs(best.fun))


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("seed", range(15))
def test_no_block_update_makes_the_augmented_lagrangian_worse(seed: int, blocks: int) -> None:
    instance = generate("small", seed=seed, jobs=6)
    loop = loop_of(instance, Bundle(part_size=max(instance.n_sites * instance.n_periods // blocks**2, 1)))
    for _ in range(2):
        loop.iterate()
    [part], m, c = loop.master.parts.parts.values(), loop.master, loop.coupling
    assert (part.layout.blocks > 1) == (blocks > 1)
    carbon_size = 10.0 * m.carbon_weight * (c.carbon_cap > 0)
    step = ProximalStep(10.0, 1.0 * (carbon_size > 0), np.ones(1), carbon_size, 0.0, c.budgets, c.carbon_cap, 0.0, 1)
    part.centre, part.curve, part.own_curve = first_prices(c, instance.sites, 0.0), *([step.size * m.weight] * 2)
    part.curve_then = part.own_curve
    part.routed[:], part.pooled[:] = 0.0, 0.0
    tonnes = part.begin()

    def augmented() -> float:
        emitted = part._of_budgets(tonnes, step)
        return part.primal(Multipliers(part.price, part._carbon(emitted, step), np.ones(1)), emitted, step)[1]

    jobs = (part.move_jobs_in_turn, part.move_jobs_at_once)[min(blocks, 2) - 1]
    moves = (lambda: part.move_sites(tonnes, step), jobs, part.move_pools, part.move_streams)
    part.move_pools()
    before = augmented()
    for _ in range(4):
        for move in moves:
            move()
            after = augmented()
            assert after <= before + 1e-8 * (1.0 + abs(before))
            before = after
    price = part.price.copy()
    assert part.begin() == pytest.approx(tonnes, rel=1e-9, abs=1e-9)
    assert price == pytest.approx(part.price, rel=1e-6, abs=1e-6)
    assert part.theta.sum(axis=1) == pytest.approx(np.ones(instance.n_sites)) and (part.theta >= -1e-12).all()
    assert part.share.sum(axis=1) == pytest.approx(np.ones(c.n_jobs)) and part.share.shape[1] == ATOMS


@pytest.mark.parametrize("seed", SEEDS)
def test_fitting_keeps_room_demand_and_work(seed: int) -> None:
    instance, c, price = case(seed)
    rng = np.random.default_rng(seed)
    before = c.usable * rng.uniform(0.0, 1.0, c.usable.shape)
    room = before.copy()
    routed = rng.uniform(0.0, c.capacity.max(), (len(c.streams.site), instance.n_periods))
    inside = [(t >= c.pools.start) & (t < c.pools.end) for t in range(instance.n_periods)]
    owner = np.repeat(np.arange(instance.n_pools), np.diff(c.pools.ptr))
    window = np.array(inside).T[owner] if len(owner) else np.zeros((0, instance.n_periods), dtype=bool)
    pooled = np.where(window, c.pools.rate[:, None], 0.0)
    placing.fit_pools(price, room, c.pools, pooled)
    placing.fit_streams(price, room, c.streams, routed)
    load = np.zeros_like(room)
    stream_kernels.arc_load(load, c.streams.site, routed)
    stream_kernels.arc_load(load, c.pools.site, pooled)
    slack = 1e-9 * c.capacity.max()
    assert (load <= before + slack).all() and room == pytest.approx(before - load, abs=slack)
    assert (routed >= 0).all() and (pooled >= 0).all() and (pooled[~window] == 0).all()
    assert (pooled <= c.pools.rate[:, None] + slack).all()
    streams = np.repeat(np.arange(instance.n_streams), np.diff(c.streams.ptr))
    served, done = np.zeros_like(c.streams.demand), np.zeros(instance.n_pools)
    np.add.at(served, streams, routed)
    np.add.at(done, owner, pooled.sum(axis=1))
    assert (served <= c.streams.demand + slack).all() and (done <= c.pools.work * (1 + 1e-9)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_best_fitting_start_against_brute_force(seed: int) -> None:
    instance, c, price = case(seed)
    room = c.capacity * np.random.default_rng(seed).uniform(0.3, 1.0, c.capacity.shape)
    for j in range(c.n_jobs):
        fitting = [
            value(c, price, j, k, s)
            for k, s in runs(c, instance, j)
            if (room[c.jobs.site[k], s : s + c.jobs.length[j]] >= c.jobs.gpus[j] * (1 - 1e-9)).all()
        ]
        best, k, s = placing.best_fitting_start(price, room, c.jobs, j)
        assert best == pytest.approx(min(fitting, default=np.inf))
        assert (k >= 0) == bool(fitting) and (not fitting or placing.runs_fit(room, c.jobs, j, k, s))
    assert (c.free_jobs()[0] == FREE).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_exchange_against_brute_force(seed: int) -> None:
    instance, c, price = case(seed)
    rng, rows = np.random.default_rng(seed), c.jobs
    every = [runs(c, instance, j) for j in range(c.n_jobs)]
    for j in range(c.n_jobs):
        now = [runs_of[rng.integers(len(runs_of))] if len(runs_of) else (REJECTED, -1) for runs_of in every]
        now[j] = (FREE, -1)
        run, start = np.array(now).T.copy()
        load = fixed_load(c, run, start)
        room = np.maximum(c.capacity * rng.uniform(0.5, 1.0, c.capacity.shape), load) - load

        def fits(left: Array, i: int, k: int, s: int) -> bool:
            return bool((left[rows.site[k], s : s + rows.length[i]] >= rows.gpus[i] * (1 - 1e-9)).all())

        def without(left: Array, i: int, k: int, s: int, sign: float = 1.0) -> Array:
            left = left.copy()
            left[rows.site[k], s : s + rows.length[i]] += sign * rows.gpus[i]
            return left

        least = np.inf
        for other in np.flatnonzero(run >= 0):
            freed = without(room, other, run[other], start[other])
            there = rows.site[run[other]]
            here = [(value(c, price, j, *r), r) for r in every[j] if rows.site[r[0]] == there and fits(freed, j, *r)]
            for cheapest, r in [min(here)] if here else []:
                left = without(freed, j, *r, -1.0)
                again = [value(c, price, other, *r2) for r2 in every[other] if fits(left, other, *r2)]
                again += [0.0] if rows.optional[other] else []
                before = value(c, price, other, run[other], start[other])
                least = min(least, cheapest + min(again, default=np.inf) - before)
        kept = room.copy()
        every_exchange = [
            (placing.exchange(price, room, rows, j, k, other, run, start), k, other)
            for k in range(rows.ptr[j], rows.ptr[j + 1])
            for other in np.flatnonzero(run >= 0)
            if rows.site[run[other]] == rows.site[k]
        ]
        (together, s, k2, s2), k, other = min(every_exchange, default=((np.inf, -1, -1, -1), -1, -1))
        assert together == pytest.approx(least, rel=1e-9, abs=1e-9) and room == pytest.approx(kept)
        if np.isfinite(least):
            run[[j, other]], start[[j, other]] = (k, k2), (s, s2)
            assert (fixed_load(c, run, start) <= (room + load) * (1 + 1e-9)).all()
