"""The door to SCIP: points go in and out of a process that ends at once."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from decomp.lp.block import Model
from decomp.lp.highs import Effort, solve_integral
from decomp.lp.scip import ARRAYS, Limits, ScipSearch, model_arrays
from lp_models import knapsacks

pyscipopt = pytest.importorskip("pyscipopt")
GENEROUS = 120.0


class Ear:
    """A connection that only keeps what is sent."""

    def __init__(self) -> None:
        self.heard: list[list[int]] = []

    def send_bytes(self, message: bytes) -> None:
        self.heard.append(json.loads(message))


def best(model: Model) -> np.ndarray:
    x = solve_integral(model, Effort(rel_gap=0.0, nodes=100_000))
    assert x is not None
    return x


def in_process(model: Model, given: np.ndarray | None) -> tuple[Any, Ear]:
    """SCIP in this process, at the root node alone and without heuristics but the one that takes points."""
    from decomp.lp.scip_process import Search

    ear: Any = Ear()
    search = Search(model_arrays(model, Limits(nodes=1), 0), ear)
    search.model.setHeuristics(pyscipopt.SCIP_PARAMSETTING.OFF)
    search.model.setParam("heuristics/taker/freq", 1)
    search.given = given
    search.model.optimize()
    return search, ear


def test_what_it_sends_are_better_and_better_points_the_last_one_optimal() -> None:
    model = knapsacks(5)
    search, costs = ScipSearch(model, Limits()), []
    try:
        found = search.news(GENEROUS)
        while not found.ended:
            x = np.array(found.integers, dtype=float)
            assert (model.matrix @ x <= model.row_high + 1e-6).all()
            costs.append(float(model.cost @ x))
            found = search.news(GENEROUS)
    finally:
        search.close()
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(float(model.cost @ best(model)))


def test_a_point_given_is_taken_and_not_sent_back() -> None:
    model = knapsacks(12)
    x = best(model)
    alone, _ = in_process(model, None)
    assert alone.model.getPrimalbound() > model.cost @ x + 0.5  # else the point would be no help
    helped, told = in_process(model, x)
    assert helped.model.getPrimalbound() == pytest.approx(float(model.cost @ x))
    assert np.round(x).astype(int).tolist() not in told.heard


def test_a_search_that_is_closed_ends_at_once_and_gives_nothing_more() -> None:
    search = ScipSearch(knapsacks(24), Limits())
    assert search.news(GENEROUS).integers is not None
    began = time.monotonic()
    search.close()
    assert time.monotonic() - began < GENEROUS and search.news() == (None, True)
    search.offer(np.zeros(72))
    search.close()


def test_arrays_hold_all_that_a_model_says() -> None:
    model = knapsacks(3)
    arrays = model_arrays(model, Limits(5.0, 7), 3)
    assert set(ARRAYS) < set(arrays) and arrays["limits"].tolist() == [5.0, 7.0] and arrays["seed"] == 3
