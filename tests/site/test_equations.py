"""The blocks: shapes, finite bounds, several sites side by side."""

from __future__ import annotations

import numpy as np
import pytest

from decomp.families import generate
from decomp.lp.block import Block
from decomp.lp.highs import to_highs
from decomp.model.instance import Instance
from decomp.site.equations import add_site
from decomp.site.oracle import SiteOracle
from tiny import tiny


def whole(instance: Instance, relaxed: bool) -> Block:
    block = Block()
    for i in range(instance.n_sites):
        add_site(block, instance.microgrids, i, instance.period_h, f"{i}_", relaxed)
    return block


def test_rows_and_entries() -> None:
    block = Block()
    x, y = block.add_columns("x", 3, 0.0, [1.0, 2.0, 3.0], cost=1.0), block.add_columns("y", 3, -1.0, 1.0, integer=True)
    rows = block.add_rows(1.0, np.inf, (2.0, x), (np.array([0.0, 1.0, 1.0]), y))
    block.add_entries(rows[1:], x[:-1], -1.0)
    model = block.finish()
    assert model.matrix.toarray().tolist() == [[2, 0, 0, 0, 0, 0], [-1, 2, 0, 0, 1, 0], [0, -1, 2, 0, 0, 1]]
    assert model.integer.tolist() == [False] * 3 + [True] * 3 and model.high.tolist() == [1, 2, 3, 1, 1, 1]
    assert model.cost.tolist() == [1, 1, 1, 0, 0, 0] and model.bans.shape == (0, 3)


@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_every_variable_is_bounded_and_every_row_has_a_side(seed: int, relaxed: bool) -> None:
    model = whole(generate("small", seed=seed), relaxed).finish()
    assert np.isfinite(model.low).all() and np.isfinite(model.high).all() and (model.low <= model.high).all()
    assert (np.isfinite(model.row_low) | np.isfinite(model.row_high)).all()
    assert np.isfinite(model.matrix.data).all() and np.isfinite(model.cost).all()
    assert relaxed <= (len(model.bans) == 0)


@pytest.mark.parametrize("seed", range(5))
def test_sites_side_by_side_cost_the_sum(seed: int) -> None:
    instance = generate("small", seed=seed)
    model = whole(instance, relaxed=True).finish()
    solver = to_highs(model)
    solver.run()
    none = np.zeros(instance.n_periods)
    sites = range(instance.n_sites)
    alone = [SiteOracle(instance.microgrids, i, instance.period_h).evaluate(none, 0.0) for i in sites]
    together = solver.getInfo().objective_function_value
    assert together == pytest.approx(sum(answer.lower for answer in alone), rel=1e-7, abs=1e-6)


def test_bans_only_where_they_can_pay() -> None:
    instance = tiny(sites=dict(sell_price=np.linspace(0.0, 100.0, 8)))
    block = Block()
    add_site(block, instance.microgrids, 1, instance.period_h)
    modes = block.columns["import_mode"]
    assert len(modes) == int((instance.sites.buy_price[1] < instance.sites.sell_price[1]).sum())
    assert "charge" not in block.columns and "peak" not in block.columns
