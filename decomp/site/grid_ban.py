"""Subproblems of sites that keep the ban on simultaneous import and export (5).

The linear relaxation of a site may import and export at once. That pays where exports are credited with more carbon
than imports are charged with, or sell for more than imports cost. There the binaries of (5) are made integral, in those
periods only in which the answer violates it; or, in a search for schedules, exports are credited with less.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from decomp.lp.block import Block
from decomp.lp.highs import SIMULTANEOUS_MW, Effort, has_point, to_bound
from decomp.model.instance import Array, Instance, Microgrids
from decomp.site.equations import add_site

EFFORT = Effort(rel_gap=1e-5, nodes=200, seconds=np.inf)
NODE_ROWS = 400_000  # nodes times rows of a MILP, at most: fewer nodes where each takes long
ROUNDS = 4  # MILPs solved at most, each with the periods added in which the last answer violates the ban
ROOM = 1e-6  # relative; by so much less than HiGHS proved is claimed


class Ban(Enum):
    """How answers to prices treat the ban (5) where breaking it pays."""

    RELAXED = "relaxed"
    KEPT = "kept"  # by MILPs
    UNTEMPTED = "untempted"  # exports are credited with no more carbon than imports are charged with; proves nothing


class BannedAnswer(NamedTuple):
    """Answer of a site that keeps the ban.

    Attributes
    ----------
    lower : proven lower bound of its cost and emissions at the prices, less the worth of its load, USD.
    load : (T,) GPU, of the best point found, like all that follows.
    cost : USD, without prices of load and carbon.
    emissions : t.
    """

    lower: float
    load: Array
    cost: float
    emissions: float


def tempting(instance: Instance) -> bool:
    """Whether simultaneous import and export may pay at some site, in some period."""
    s = instance.sites
    pays = (s.buy_price < s.sell_price) | (s.carbon_intensity < s.export_credit)
    return bool((pays & (s.import_limit_mw > 0) & (s.export_limit_mw > 0)).any())


def credited(instance: Instance) -> bool:
    """Whether some site, in some period, exports for more carbon than it is charged with for imports."""
    s = instance.sites
    return bool(((s.carbon_intensity < s.export_credit) & (s.import_limit_mw > 0) & (s.export_limit_mw > 0)).any())


def untempted(instance: Instance) -> Instance:
    """The instance with exports credited with no more carbon than imports are charged with."""
    s = instance.sites
    return replace(instance, sites=replace(s, export_credit=np.minimum(s.export_credit, s.carbon_intensity)))


class BannedSite:
    """The subproblem of site `i` of `grids` with the binaries of (5); `period_h` : length of a period, hours."""

    def __init__(self, grids: Microgrids, i: int, period_h: float) -> None:
        block = Block()
        add_site(block, grids, i, period_h)
        self.model = block.finish()
        nodes = NODE_ROWS // max(self.model.matrix.shape[0], 1)
        self.effort = replace(EFFORT, nodes=min(max(nodes, 1), EFFORT.nodes))
        mode, bought = self.model.bans[:, 0], self.model.bans[:, 1]
        self.mode = mode[np.isin(bought, self.model.columns["import"])]
        self.at = bought[np.isin(bought, self.model.columns["import"])] - self.model.columns["import"][0]

    def answer(self, broken: Array, price: Array, money: float, tonne: float) -> BannedAnswer | None:
        """Minimise weighted cost and emissions less the worth of load, the ban kept.

        Only the binaries of violated periods are integral, everything else is relaxed as in the site's usual answer.

        Parameters
        ----------
        broken : (T,) bool, periods in which the relaxation's answer violates the ban.
        price : (T,) of load, USD per GPU and period.
        money : weight of the site's cost.
        tonne : price of its emissions, USD/t.

        Returns
        -------
        None where the relaxation's answer stands: no binary is concerned, or HiGHS has no point or bound.
        """
        model, integer = self.model, np.zeros(len(self.model.cost), dtype=bool)
        cost = money * model.cost + tonne * model.emission
        cost[model.columns["load"]] -= price
        for _ in range(ROUNDS):
            integer[self.mode[broken[self.at]]] = True
            if not integer.any():  # nothing gained by it; and for a linear program HiGHS states no MIP bound
                return None
            solver, unit = to_bound(replace(model, cost=cost), integer)
            self.effort.run(solver)
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
