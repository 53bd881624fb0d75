"""Scenario reduction against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from decomp.families.futures import synthetic
from decomp.model.instance import SERIES, InputError
from decomp.model.scenarios import scenario, series_of
from decomp.model.validate import validate
from decomp.scenarios.reduction import distances, fast_forward, reduced
from tiny import tiny


def drawn(seed: int, n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3))
    p = rng.uniform(0.5, 2.0, n)
    return np.linalg.norm(points[:, None] - points, axis=2), p / p.sum()


def to_nearest(between: np.ndarray, p: np.ndarray, kept: tuple[int, ...]) -> float:
    return float(p @ between[:, list(kept)].min(axis=1))


@pytest.mark.parametrize("seed", range(5))
def test_each_choice_is_the_best_one_and_the_sum_is_near_the_optimum(seed: int) -> None:
    between, p = drawn(seed)
    for count in range(1, 9):
        kept, probability, distance = fast_forward(between, p, count)
        assert len(set(kept.tolist())) == count and probability.sum() == pytest.approx(1.0)
        assert distance == pytest.approx(to_nearest(between, p, tuple(kept)), abs=1e-12)
        before = tuple(kept[:-1].tolist())
        best = min(to_nearest(between, p, (*before, k)) for k in range(8) if k not in before)
        assert distance == pytest.approx(best, abs=1e-12)
        optimum = min(to_nearest(between, p, subset) for subset in combinations(range(8), count))
        assert optimum - 1e-12 <= distance <= 1.3 * optimum + 1e-12
        for k, place in enumerate(kept):
            taken = [s for s in range(8) if np.argmin(between[s, kept]) == k]
            assert place in taken and probability[k] == pytest.approx(p[taken].sum())


def test_clusters_are_found() -> None:
    rng = np.random.default_rng(3)
    centre = np.repeat([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], [5, 3, 2], axis=0)
    points = centre + 0.1 * rng.normal(size=centre.shape)
    chosen = fast_forward(np.linalg.norm(points[:, None] - points, axis=2), np.full(10, 0.1), 3)
    assert sorted(chosen.probability.round(9).tolist()) == [0.2, 0.3, 0.5]


def test_equal_scenarios_keep_their_places() -> None:
    chosen = fast_forward(np.zeros((3, 3)), np.array([0.2, 0.5, 0.3]), 3)
    assert chosen.probability[np.argsort(chosen.kept)] == pytest.approx([0.2, 0.5, 0.3])


def test_an_instance_with_fewer_scenarios() -> None:
    many = synthetic(tiny(), 12, np.random.default_rng(1))
    few = reduced(many, 4)
    validate(few)
    assert few.n_scenarios == 4 and few.scenarios.probability.sum() == pytest.approx(1.0)
    for s, name in enumerate(few.scenarios.name):
        before = many.scenarios.name.tolist().index(str(name))
        assert (scenario(few, s).sites.buy_price == scenario(many, before).sites.buy_price).all()
    everything = reduced(many, 12)
    assert (everything.scenarios.probability == many.scenarios.probability).all()
    assert all((series_of(everything, name) == series_of(many, name)).all() for name in SERIES)
    between = distances(many)
    away = series_of(many, "buy_price")[0] - series_of(many, "buy_price")[1]
    assert (between == between.T).all() and between[0, 1] > 0.0 and np.abs(away).max() > 0.0
    for count in (0, 13):
        with pytest.raises(InputError, match=f"reduce: {count} of 12 scenarios"):
            reduced(many, count)
