"""What is known between the curves: where the lower one bends, where a schedule is due, how far it is of use."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from decomp.frontier.envelope import AIM, Envelope


def known(*rows: tuple[float, float, float, float]) -> Envelope:
    """Runs at budgets (t) with bound, price of a tonne and net cost."""
    envelope = Envelope(0.01)
    for budget, bound, price, cost in rows:
        run: Any = SimpleNamespace(proof=SimpleNamespace(bound=bound, carbon_price=price), cost=cost, bound=bound)
        envelope.runs[budget] = run
    return envelope


def test_lines_of_two_budgets_make_the_lower_curve_and_cross_where_it_bends() -> None:
    envelope = known((10.0, 0.0, 90.0, 0.0), (20.0, -500.0, 10.0, -490.0))
    at = np.array([10.0, 15.0, 20.0])
    assert envelope.lower(at).tolist() == [0.0, -450.0, -500.0] and envelope.scale == 490.0
    assert envelope.price(at).tolist() == [90.0, 10.0, 10.0]
    assert envelope.upper(at).tolist() == [0.0, 0.0, -490.0]
    # 90 (x - 10) = 500 - 10 (20 - x): the chord is 50 per t
    assert envelope.bend() == pytest.approx(15.0)
    assert known((10.0, 0.0, 50.0, 0.0), (20.0, -500.0, 50.0, -490.0)).bend() is None
    assert known((10.0, 0.0, 50.0, 0.0)).bend() is None


def test_one_budget_is_a_curve_of_one_point() -> None:
    envelope = known((10.0, 0.0, 50.0, 5.0))
    curve: Any = SimpleNamespace(cost_at=lambda at: 0.0 * at + 4.0, chain=lambda at: 0.0 * at, at=lambda budget: None)
    envelope.curves = [curve]
    frontier: Any = SimpleNamespace(budgets=np.array([10.0]), upper=lambda at: 0.0 * at + 5.0, scale=5.0)
    with np.errstate(all="raise"):
        assert envelope.steps(frontier) == ()


def test_a_place_is_in_the_largest_hole_and_not_where_it_was_tried() -> None:
    envelope = known((10.0, 0.0, 50.0, 0.0), (20.0, -500.0, 50.0, -500.0), (24.0, -516.0, 4.0, -516.0))
    place = envelope.place(apart=0.1)
    assert place is not None and 10.0 < place < 20.0
    grid = np.linspace(10.0, 24.0, 500)
    assert envelope.open(grid).tolist() == (envelope.upper(grid) - envelope.lower(grid) > AIM * 5.16).tolist()
    envelope.tried = set(np.linspace(10.0, 20.0, 1001).tolist())
    other = envelope.place(apart=0.1)
    assert other is not None and 20.0 < other < 24.0
    envelope.tried |= {21.0, 22.0, 23.0}
    assert envelope.place(apart=10.0) is None


def test_a_curve_reaches_over_the_holes_about_its_price_and_no_further() -> None:
    rows = [(10.0 * k, 1e5 - 1e3 * k * (21.0 - 0.5 * k) * 10.0, 1e3 * (21.0 - k), np.inf) for k in range(1, 21)]
    low, middle, high = known(*rows).reach(100.0, 11e3)
    assert low < middle < high and low >= 11e3 / 4 - 200.0 - 300.0 and high <= 1.1 * 20e3
    closed = known(*[(b, bound, price, bound) for b, bound, price, _ in rows])
    closed.rel_gap = 10.0
    reached = closed.reach(100.0, 11e3)
    assert reached[0] > low and reached[-1] < high
