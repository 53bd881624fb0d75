"""A model and what is left of it have the same optima, whatever the bounds of the changing columns."""

from __future__ import annotations

from dataclasses import replace

import highspy
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csc_matrix

from decomp.families import generate
from decomp.lp.block import Model
from decomp.lp.highs import to_highs
from decomp.lp.presolve import presolve
from decomp.model.instance import Array
from decomp.model.options import Options
from decomp.ranks.mpi import Serial
from decomp.schedule.group_lp import GroupTask, fixed_integers
from decomp.schedule.redispatch import redispatch_model
from decomp.solver.solve import solve
from draws import draws

N, M = 8, 7
OPTIMAL = highspy.HighsModelStatus.kOptimal


def optimum(model: Model) -> tuple[float, Array] | None:
    solver = to_highs(model)
    solver.run()
    if solver.getModelStatus() != OPTIMAL:
        return None
    x = np.array(solver.getSolution().col_value)
    return float(model.cost @ x), x


def random_model(rng: np.random.Generator) -> Model:
    """Small integers; every column has bounds, a third of them one value, and most rows few entries."""
    low = rng.integers(-3, 2, N).astype(float)
    high = low + rng.integers(0, 3, N)
    entries = np.where(rng.random((M, N)) < rng.choice([0.15, 0.4]), rng.integers(-2, 3, (M, N)), 0)
    middle = entries @ rng.uniform(low, high)
    row_low = np.where(rng.random(M) < 0.3, -np.inf, np.floor(middle))
    row_high = np.where(rng.random(M) < 0.3, np.inf, np.ceil(middle) - (rng.random(M) < 0.1) * 3)
    row_high = np.maximum(row_high, row_low)
    zero = np.zeros(N)
    return Model(
        matrix=csc_matrix(entries.astype(float)),
        low=low,
        high=high,
        cost=rng.normal(size=N),
        emission=zero,
        integer=zero.astype(bool),
        row_low=row_low,
        row_high=row_high,
        columns={},
        bans=np.zeros((0, 3), dtype=int),
    )


@given(st.integers(0, 2**32 - 1))
@draws(300)
def test_the_rest_has_the_optimum_of_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    changing = rng.choice(N, 2, replace=False)
    rest = presolve(model, changing)
    assert np.isin(changing, rest.columns).all()
    low, high = model.low.copy(), model.high.copy()
    low[changing] = high[changing] = rng.integers(-3, 4, 2)
    own = np.searchsorted(rest.columns, changing)
    rest_low, rest_high = rest.model.low.copy(), rest.model.high.copy()
    rest_low[own], rest_high[own] = low[changing], high[changing]
    for whole, part in (
        (model, rest.model),
        (replace(model, low=low, high=high), replace(rest.model, low=rest_low, high=rest_high)),
    ):
        one, other = optimum(whole), optimum(part)
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            point = rest.whole(other[1])
            np.testing.assert_allclose(whole.cost @ point, one[0], atol=1e-6)
            assert (whole.low - 1e-6 <= point).all() and (point <= whole.high + 1e-6).all()
            rows = whole.matrix @ point
            assert (whole.row_low - 1e-6 <= rows).all() and (rows <= whole.row_high + 1e-6).all()


def test_a_fleet_with_its_generators_held_is_half_as_large() -> None:
    instance = generate("fleet", seed=5, sites=3)
    result = solve(instance, Serial(), Options.from_dict(dict(rel_gap=0.1, method="lagrangian")))
    assert result is not None and result.schedule is not None
    model, _ = redispatch_model(GroupTask(instance, result.schedule), fixed_integers(instance, result.schedule))
    rest = presolve(model, model.bans[:, 1:].ravel())
    whole, part = optimum(model), optimum(rest.model)
    assert whole is not None and part is not None
    np.testing.assert_allclose(model.cost @ rest.whole(part[1]), whole[0], rtol=1e-8)
    assert rest.model.matrix.nnz < 0.6 * model.matrix.nnz
    assert (rest.model.bans[:, 1:] >= 0).all()
