"""The bench's baselines: every bound they yield is proven, and they come close to the linear relaxation."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from decomp.bench.baselines import BASELINES, on_load, on_work
from decomp.bound.coupling import Coupling
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate

pytestmark = pytest.mark.slow

SEEDS = (1, 4, 7)


@pytest.fixture(scope="module", params=SEEDS)
def case(request):
    instance = generate("small", seed=request.param)
    return instance, solve_extensive(instance).incumbent, solve_extensive(instance, relax=True).bound


@pytest.mark.parametrize("name", BASELINES)
def test_bounds_are_valid_and_rise_to_the_relaxation(case, name):
    instance, optimum, relaxation = case
    bounds = list(islice(BASELINES[name](instance), 150))
    assert max(bounds) <= relaxation + 1e-6 * abs(relaxation) <= optimum + 1e-5 * abs(optimum)
    assert max(bounds) > bounds[0] or len(bounds) == 1
    near = 1e-3 if name == "cutting-planes" else 1e-2
    assert max(bounds) >= relaxation - near * max(abs(relaxation), 1.0)


def test_the_work_by_itself_is_what_the_solver_takes_it_for():
    instance = generate("small", seed=4)
    c, dual = Coupling.of(instance), on_load(instance)
    price = dual.price * np.random.default_rng(0).uniform(-1.0, 3.0, len(dual.price))
    value, x = dual.work.cheapest(price)
    assert value == pytest.approx(c.dual_terms(c.multipliers(price.reshape(instance.n_sites, -1)), c.free_jobs()))
    filled = np.bincount(dual.work.block, x, minlength=len(dual.work.need))
    np.testing.assert_allclose(filled, dual.work.need)


def test_no_site_beats_its_own_bound():
    """At zero prices, in either form."""
    instance = generate("small", seed=1)
    for form in (on_load, on_work):
        dual = form(instance)
        taken = dual.ask(np.zeros_like(dual.price), 0.0)
        assert taken.uses.shape == (len(dual.price), instance.n_sites)
        assert (taken.lower <= taken.cost + 1e-6 * np.abs(taken.cost) + 1e-6).all()
