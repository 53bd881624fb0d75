"""The short relaxation of a site: the same optimum as that of the rows one reads."""

from __future__ import annotations

import numpy as np
import pytest

from decomp.families import generate
from decomp.lp.block import Block, Model
from decomp.lp.highs import to_highs
from decomp.model.instance import Array
from decomp.site.equations import add_site
from decomp.site.relaxation import power_pieces, relaxed_site


def optimum(model: Model, cost: Array) -> float:
    solver = to_highs(Model(**{**model.__dict__, "cost": cost}))
    solver.run()
    return float(solver.getInfo().objective_function_value)


@pytest.mark.parametrize("family, seed", [("small", seed) for seed in range(40)] + [("fleet", 1)])
def test_same_optimum_as_the_rows_one_reads(family: str, seed: int) -> None:
    instance = generate(family, seed=seed)
    sites, rng = instance.sites, np.random.default_rng(seed)
    for i in range(instance.n_sites):
        block = Block()
        add_site(block, instance.microgrids, i, instance.period_h, relaxed=True)
        long, short = block.finish(), relaxed_site(instance.microgrids, i, instance.period_h)
        pieces = [where for name, where in short.columns.items() if name.startswith("load")]
        assert sum(short.high[where] for where in pieces) == pytest.approx(sites.capacity_gpu[i])
        worth = instance.period_h * sites.buy_price[i] * sites.power_slope_mw_per_gpu[i].max()
        for factor in (-1.0, 0.0, 1.5, 3.0):
            price = factor * worth * rng.uniform(0.5, 1.5, instance.n_periods)
            carbon = rng.uniform(0.0, 50.0)
            costs = [model.cost + carbon * model.emission for model in (long, short)]
            costs[0][long.columns["load"]] -= price
            costs[1][np.stack(pieces)] -= price
            assert optimum(short, costs[1]) == pytest.approx(optimum(long, costs[0]), rel=1e-7, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_pieces_are_the_largest_of_the_lines(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slope = np.round(rng.uniform(0.0, 2.0, rng.integers(1, 6)), 1)
    intercept = np.round(rng.uniform(-1.0, 1.0, len(slope)), 1)
    starts, slopes, floor = power_pieces(slope, intercept)
    assert (np.diff(starts) > 0).all() and (np.diff(slopes) > 0).all() and starts[0] == 0.0
    load = np.linspace(0.0, 10.0, 101)
    width = np.clip(load, starts[:, None], np.append(starts[1:], np.inf)[:, None]) - starts[:, None]
    curve = np.maximum((slope[:, None] * load + intercept[:, None]).max(axis=0), 0.0)
    assert floor + slopes @ width == pytest.approx(curve, abs=1e-9)
