"""Carbon repair: integral dispatches of all sites that keep the carbon budget.

All sites are dispatched at the common carbon price. Where their emissions exceed the budget by more than redispatch
can make good, the largest emitters are dispatched again at rising carbon prices, and one dispatch a site is chosen,
greedily by money per tonne (a multiple-choice knapsack).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from decomp.model.instance import Array
from decomp.site.oracle import Plan
from decomp.site.service import Given

DEARER = (1.03, 1.1, 1.25, 1.6, 2.5, 6.0, 20.0, 100.0)  # prices of a tonne until the budget is kept, relative
FURTHER = 40.0  # USD/t, the same for a price of zero


def repair_carbon(
    plans: Sequence[Plan], ask: Callable[[Array, Array], list[Plan | None]], given: Given, price: Array, budget: float
) -> tuple[list[Plan], bool]:
    """A plan of every site, and whether their emissions keep the budget (t).

    From plans at the given prices on, sites plan at higher ones, the largest emitters first, until the budget is kept.
    What is then left of it is for `redispatch` to use.

    Parameters
    ----------
    plans : of all sites.
    ask : plans of some sites, for what they are given, at a price of carbon each.
    given : the rows of all sites.
    price : (S,) USD/t.
    """
    n_sites = len(given.load)
    menus = [[plan] for plan in plans]

    def plan(sites: Array, rung: float) -> None:
        for i, found in zip(sites, ask(sites, rung * price[sites] + FURTHER * (rung - 1.0)), strict=True):
            menus[i] += [] if found is None else [found]

    chosen, left = choose(menus, given, budget)
    batch = max(1, n_sites // 8)
    for rung in DEARER:
        order = np.argsort([-p.emissions for p in chosen], kind="stable")
        for first in range(0, n_sites, batch):
            if left >= 0.0:
                break
            plan(order[first : first + batch], rung)
            chosen, left = choose(menus, given, budget)
    return chosen, left >= 0.0


def choose(menus: list[list[Plan]], given: Given, budget: float) -> tuple[list[Plan], float]:
    """One plan a site, from the cleanest up by the most money per tonne; and what is left of the budget (t)."""
    shape = len(menus), max(map(len, menus))
    cost, tonnes = np.full(shape, np.inf), np.full(shape, np.inf)
    for i, menu in enumerate(menus):
        for k, plan in enumerate(menu):
            cost[i, k] = plan.cost + float((given.drop_price[i] * (given.load[i] - plan.load)).sum())
            tonnes[i, k] = plan.emissions
    site, pick = np.arange(len(menus)), tonnes.argmin(axis=1)
    while True:
        left = budget - float(tonnes[site, pick].sum())
        more, saving = tonnes - tonnes[site, pick, None], cost[site, pick, None] - cost
        fits = (more <= left) & (saving > 1e-9)
        if not fits.any():
            return [menu[k] for menu, k in zip(menus, pick, strict=True)], left
        worth = np.where(fits, saving, 0.0) / np.maximum(more, 1e-9)
        i, k = divmod(int(worth.argmax()), shape[1])
        pick[i] = k
