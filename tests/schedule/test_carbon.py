"""Plans within a carbon budget: kept wherever some price of a tonne keeps it, and used if the first price was near."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from decomp.model.instance import Array
from decomp.schedule.carbon import choose, repair_carbon
from decomp.site.oracle import Plan
from decomp.site.service import Given

SITES = 24
Ask = Callable[[Array, Array], list[Plan | None]]


def plan(load: float, cost: float, emissions: float) -> Plan:
    return Plan(np.array([load]), cost, emissions, {}, 0.0)


def emitted(plans: list[Plan]) -> float:
    return sum(p.emissions for p in plans)


def nothing(n: int) -> Given:
    return Given(np.zeros((n, 1)), np.zeros((n, 1)), np.zeros((n, 1)), np.zeros(n), np.zeros(n))


def fleet(least_t: float = 0.0) -> Ask:
    """Sites whose abatement gets dearer in steps, at other prices and of other sizes at each."""
    rng = np.random.default_rng(7)
    prices = np.sort(rng.uniform(40.0, 160.0, (SITES, 30)), axis=1)
    tonnes = rng.uniform(0.2, 1.0, SITES)

    def one(i: int, price: float) -> Plan:
        steps = int((prices[i] < price).sum())
        return plan(0.0, float(tonnes[i] * prices[i, :steps].sum()), least_t + float(tonnes[i] * (30 - steps)))

    return lambda sites, price: [one(i, p) for i, p in zip(sites, price, strict=True)]


def settled(ask: Ask, price: float, budget: float) -> tuple[list[Plan], bool]:
    prices = np.full(SITES, price)
    plans = [plan for plan in ask(np.arange(SITES), prices) if plan is not None]
    return repair_carbon(plans, ask, nothing(SITES), prices, budget)


def test_choice_within_the_budget() -> None:
    menus = [[plan(1.0, 10.0, 5.0), plan(1.0, 16.0, 2.0)], [plan(1.0, 10.0, 5.0), plan(1.0, 12.0, 3.0)]]
    work = Given(np.ones((2, 1)), np.zeros((2, 1)), np.zeros((2, 1)), np.zeros(2), np.zeros(2))
    costs = {budget: [p.cost for p in choose(menus, work, budget)[0]] for budget in (np.inf, 10.0, 8.5, 7.0, 5.0)}
    assert costs == {np.inf: [10, 10], 10.0: [10, 10], 8.5: [10, 12], 7.0: [16, 10], 5.0: [16, 12]}
    assert choose(menus, work, 4.0)[1] == -1.0


@pytest.mark.parametrize("price", [0.0, 20.0, 95.0, 100.0, 105.0, 300.0])
def test_the_budget_is_kept_from_any_price_and_used_from_a_near_one(price: float) -> None:
    budget = emitted(settled(fleet(), 100.0, np.inf)[0]) + 0.3
    plans, kept = settled(fleet(), price, budget)
    used = emitted(plans)
    assert kept and used <= budget
    if 95.0 <= price <= 100.0:
        assert used >= budget - 0.3


def test_what_cannot_be_kept_is_said() -> None:
    plans, kept = settled(fleet(1.0), 50.0, SITES - 0.5)
    assert not kept and emitted(plans) == SITES
