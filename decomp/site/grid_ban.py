"""A site that never imports and exports at once, not even in its answers to prices.

In the linear relaxation a site may do half of each, which pays where export is credited with more carbon than import is
charged with, or sells for more than it costs. Then the ban (5) has to be a matter of integers, in the periods in which
an answer breaks it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from decomp.lp.block import Block
from decomp.lp.highs import SIMULTANEOUS_MW, Effort, has_point, money_unit, to_highs
from decomp.model.instance import Array, Instance, Microgrids
from decomp.site.equations import add_site

EFFORT = Effort(rel_gap=1e-5, nodes=200, seconds=10.0)
ROUNDS = 4  # of periods in which an answer breaks the ban
ROOM = 1e-6  # claimed below what HiGHS proved, relative


class BannedAnswer(NamedTuple):
    """Proven lower bound, USD; of the best point found load (T,), GPU, cost without prices, USD, and emissions, t."""

    lower: float
    load: Array
    cost: float
    emissions: float


def tempting(instance: Instance) -> bool:
    """Whether importing and exporting at once may pay somewhere."""
    s = instance.sites
    pays = (s.buy_price < s.sell_price) | (s.carbon_intensity < s.export_credit)
    return bool((pays & (s.import_limit_mw > 0) & (s.export_limit_mw > 0)).any())


class BannedSite:
    """The problem of a site with the ban's integers; everything else is relaxed as usual."""

    def __init__(self, grids: Microgrids, i: int, period_h: float) -> None:
        block = Block()
        add_site(block, grids, i, period_h)
        self.model = block.finish()
        mode, bought = self.model.bans[:, 0], self.model.bans[:, 1]
        self.mode = mode[np.isin(bought, self.model.columns["import"])]
        self.at = bought[np.isin(bought, self.model.columns["import"])] - self.model.columns["import"][0]

    def answer(self, broken: Array, price: Array, money: float, tonne: float) -> BannedAnswer | None:
        """The cheapest point at prices of load (T,), USD per GPU and period, and of a tonne; None: no better answer.

        Parameters
        ----------
        broken : (T,) bool, periods in which the relaxation's answer breaks the ban. money : weight of the site's cost.
        """
        model, integer = self.model, np.zeros(len(self.model.cost), dtype=bool)
        cost = money * model.cost + tonne * model.emission
        cost[model.columns["load"]] -= price
        unit = money_unit(cost)
        for _ in range(ROUNDS):
            integer[self.mode[broken[self.at]]] = True
            if not integer.any():  # both at once at no gain; of a linear program HiGHS states no MIP bound
                return None
            solver = to_highs(replace(model, cost=cost / unit), integer=integer)
            EFFORT.run(solver)
            lower = unit * float(solver.getInfo().mip_dual_bound)
            if not has_point(solver) or not np.isfinite(lower):
                return None
            x = np.clip(np.array(solver.getSolution().col_value), model.low, model.high)
            both = np.minimum(x[model.columns["import"]], x[model.columns["export"]]) > SIMULTANEOUS_MW
            if not (both & ~broken)[self.at].any():
                break
            broken = broken | both
        lower -= ROOM * max(abs(lower), 1.0)
        return BannedAnswer(lower, x[model.columns["load"]], float(model.cost @ x), float(model.emission @ x))
