"""The proximal master: a model that is never below the dual, columns that are kept, jobs that are fixed."""

from __future__ import annotations

import numpy as np
import pytest

from decomp.bound.coupling import Fixing
from decomp.bound.layout import Layout
from decomp.bound.master_part import COLUMNS
from decomp.families import generate
from decomp.model.options import Bundle
from decomp.site.service import SiteService
from loops import loop_of


@pytest.mark.parametrize("seed", range(12))
def test_model_is_never_below_the_dual_and_exact_where_it_was_asked(seed: int) -> None:
    loop = loop_of(generate("small", seed=seed), Bundle())
    for _ in range(6):
        loop.iterate()
    rng = np.random.default_rng(seed)
    centre = loop.centre
    for factor in (1.0, 0.5, 2.0):
        price = factor * centre.price * rng.uniform(0.8, 1.2, centre.price.shape) if factor != 1.0 else centre.price
        prices = loop.coupling.multipliers(price, centre.carbon_price)
        answers = loop.workers.of(SiteService).evaluate(price, centre.carbon_price)
        dual = loop.proof(prices, answers).bound
        model, sites = loop.master.model(prices)
        slack = 1e-6 * max(1.0, abs(dual), np.abs(answers.lower).sum())
        assert model >= dual - slack and (sites >= answers.lower - slack).all()
        if factor == 1.0:
            assert model == pytest.approx(dual, abs=slack)


def test_a_full_site_forgets_an_idle_column() -> None:
    loop = loop_of(generate("small", seed=4), Bundle())
    for _ in range(COLUMNS + 5):
        loop.iterate()
    [part], master = loop.master.parts.parts.values(), loop.master
    assert (part.pool.count == COLUMNS).all() and master.n_columns == COLUMNS * len(part.theta)
    assert part.theta.sum(axis=1) == pytest.approx(np.ones(len(part.theta)))
    full = np.einsum("skt,st,sqt->skq", part.pool.loads, part.weight, part.pool.loads)
    assert part.gram == pytest.approx(full, rel=1e-9, abs=1e-9)


def test_a_longer_step_promises_more() -> None:
    loop = loop_of(generate("small", seed=2), Bundle())
    promises = []
    for step in (1e-3, 1.0, 1e3):
        loop.master.step = step
        promises.append(loop.master.propose(loop.centre.prices, accuracy=1e-6, max_passes=400).model)
    assert promises == sorted(promises) and promises[0] >= loop.centre.bound - 1e-6


def test_fixing_jobs_raises_the_bound_and_freeing_them_restores_it() -> None:
    instance = generate("small", seed=4)
    loop = loop_of(instance, Bundle())
    for _ in range(10):
        loop.iterate()
    free, n = loop.centre.bound, loop.coupling.n_jobs
    assert n > 1
    jobs = loop.coupling.jobs
    run, start = np.full(n, -1), np.full(n, -1)
    for j in np.flatnonzero(~jobs.optional):
        k = int(jobs.ptr[j])
        run[j], start[j] = k, jobs.release[j] + int(np.argmax(jobs.allowed[jobs.first[k] : jobs.first[k + 1]]))
    loop.refix(Fixing(run, start))
    assert loop.centre.bound >= free - 1e-9
    work = loop.master.work()
    assert work.share[:, 0].tolist() == [1.0] * n and work.run[:, 0].tolist() == run.tolist()
    loop.refix(Fixing(*loop.coupling.free_jobs()))
    assert loop.centre.bound == pytest.approx(free, abs=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_ranks_share_the_lanes_that_a_fleet_asks_for(size: int) -> None:
    """Blocks do not depend on the ranks; every site and period is some rank's, and only one's."""
    for shape, blocks in (((1, 24), 1), ((399, 96), 1), ((420, 96), 2), ((1_000, 96), 2), ((10_000, 96), 8)):
        layout = Layout.of(shape, Bundle().part_size, size)
        assert layout.blocks == blocks and layout.ranks <= min(size, blocks) and blocks % layout.ranks == 0
        assert 2 * layout.ranks > min(size, blocks)
        seen = np.zeros(shape, dtype=int)
        for rank in range(layout.ranks):
            seen[layout.rows_of(rank)] += 1
            seen[layout.periods_of(rank)] += 10
        assert (seen == 11).all()
