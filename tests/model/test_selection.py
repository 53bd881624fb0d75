"""Fast forward selection: which scenarios stand for all of them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from decomp.model.selection import forward_selection


def test_each_stands_for_those_nearest_to_it() -> None:
    at = np.array([0.0, 1.0, 10.0, 11.0, 12.0])
    distance = np.abs(at[:, None] - at)
    chosen, weight = forward_selection(distance, np.full(5, 0.2), 2)
    assert chosen[0] in (0, 1) and chosen[1] == 2  # the middle of all comes first
    assert weight == pytest.approx([0.4, 0.6])


def test_all_of_them_keep_their_probability() -> None:
    p = np.array([0.1, 0.2, 0.7])
    chosen, weight = forward_selection(np.ones((3, 3)), p, 7)
    assert chosen.tolist() == [0, 1, 2] and (weight == p).all()


def test_equal_ones_keep_their_places() -> None:
    chosen, weight = forward_selection(np.zeros((3, 3)), np.array([0.2, 0.5, 0.3]), 2)
    assert chosen.tolist() == [0, 1] and weight == pytest.approx([0.5, 0.5])


def test_clusters_are_found() -> None:
    rng = np.random.default_rng(3)
    centre = np.repeat([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], [5, 3, 2], axis=0)
    points = centre + 0.1 * rng.normal(size=centre.shape)
    _, weight = forward_selection(np.linalg.norm(points[:, None] - points, axis=2), np.full(10, 0.1), 3)
    assert sorted(weight.round(9).tolist()) == [0.2, 0.3, 0.5]


@pytest.mark.parametrize("seed", range(10))
def test_the_first_one_is_the_best_and_the_others_not_far_from_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    point, p = rng.normal(size=(8, 3)), rng.dirichlet(np.ones(8))
    distance = np.linalg.norm(point[:, None] - point[None], axis=2)

    def left(chosen: tuple[int, ...]) -> float:
        return float(p @ distance[list(chosen)].min(axis=0))

    for count in (1, 3):
        chosen, weight = forward_selection(distance, p, count)
        best = min(left(c) for c in combinations(range(8), count))
        assert left(tuple(chosen.tolist())) <= (1.0 if count == 1 else 1.5) * best + 1e-12
        assert weight.sum() == pytest.approx(1.0) and len(chosen) == count
