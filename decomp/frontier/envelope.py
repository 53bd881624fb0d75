"""The lower and the upper curve over all carbon budgets while a frontier is traced, and where to refine next."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from decomp.frontier.fleet_curve import CostCurve
from decomp.frontier.group_curve import Asked
from decomp.frontier.known import KnownCurve
from decomp.model.accounts import emissions_t
from decomp.model.frontier import CurveStep, Frontier, chords
from decomp.model.instance import Array
from decomp.schedule.incumbent import Incumbent
from decomp.state.solve_state import Run

AIM, CURVE = 0.975, 0.82  # of the gap asked for: aim of the loop, since written curves lose corners; of one cost curve
BENT = 0.2  # of the gap aimed at: most by which the lower curve may be too low between two budgets
REACH, LEAST = 4.0, 200.0  # a cost curve is followed up to REACH * (its carbon price + LEAST), USD/t
WIDER = 1.1  # factor on the range of carbon prices in a gap that a cost curve is to close
SNAP = 0.01  # of the range of budgets: a new budget nearer than that to a known one is the known one
GRID = 4000  # points on the axis of budgets
THIN = 0.02  # of the gap asked for: most that mixtures of the steps written may be above the curve


@dataclass
class Envelope:
    """All solves and cost curves so far: a lower and an upper bound of net cost at every budget.

    Prices (pi, gamma) that prove a bound at one budget prove bound - gamma * (B - budget) at every budget B.

    Attributes
    ----------
    rel_gap : asked for at every budget, relative to `scale`.
    runs : solves by budget, t CO2. curves : cost curves of schedules.
    tried : budgets at which new schedules have been sought.
    """

    rel_gap: float
    runs: dict[float, Run] = field(default_factory=dict)
    curves: list[CostCurve | KnownCurve] = field(default_factory=list)
    tried: set[float] = field(default_factory=set)

    @property
    def scale(self) -> float:
        """What gaps are relative to, USD: the largest absolute net cost found; before the first, the largest bound."""
        costs = np.abs([run.cost for run in self.runs.values()])
        bounds = np.abs([run.bound for run in self.runs.values()])
        known = costs[np.isfinite(costs)] if np.isfinite(costs).any() else bounds[np.isfinite(bounds)]
        return float(known.max(initial=1.0))

    @property
    def gap(self) -> float:
        """The gap aimed at, USD."""
        return AIM * self.rel_gap * self.scale

    def upper(self, budgets: Array) -> Array:
        """The upper curve so far (n,), USD; inf: no schedule."""
        runs = [np.where(budgets >= b, run.cost, np.inf) for b, run in self.runs.items()]
        return np.asarray(np.min([*runs, *(curve.cost_at(budgets) for curve in self.curves)], axis=0))

    def lines(self) -> Array:
        """The proven lines, by rising carbon price, (k, 3): budget, t; bound there, USD; carbon price, USD/t."""
        known = [(b, r.proof.bound, r.proof.carbon_price) for b, r in self.runs.items() if r.proof is not None]
        return np.array(sorted(known, key=lambda line: line[2]))

    def lower(self, budgets: Array) -> Array:
        """The lower curve so far (n,), USD."""
        return np.asarray(self._lower(budgets).max(axis=0))

    def price(self, budgets: Array) -> Array:
        """Carbon price of the lower curve at budgets (n,) t, its negative slope, USD/t (n,)."""
        return np.asarray(self.lines()[self._lower(budgets).argmax(axis=0), 2])

    def _lower(self, budgets: Array) -> Array:
        at, bound, price = self.lines().T
        return bound[:, None] + price[:, None] * (at[:, None] - budgets)

    def open(self, budgets: Array) -> Array:
        """Whether the gap at budgets (n,) t is larger than aimed at (n,)."""
        return np.asarray(self.upper(budgets) - self.lower(budgets) > self.gap)

    def _grid(self) -> tuple[Array, Array]:
        """The budgets solved, rising, and a grid that contains them."""
        at = np.array(sorted(self.runs))
        return at, np.union1d(np.linspace(at[0], at[-1], GRID), at)

    def cheapest(self, budget: float, limit: float = np.inf) -> Incumbent | None:
        """The cheapest schedule of the cost curves at a budget (t), if it costs less than a limit (USD)."""
        costs = [float(curve.cost_at(budget)) for curve in self.curves]
        return self.curves[int(np.argmin(costs))].at(budget) if min(costs, default=np.inf) < limit else None

    def bend(self) -> float | None:
        """The budget (t) at which the lower curve may be too low by most; None if by little everywhere.

        The true curve of the Lagrangian dual is convex, hence between the lines proved at two neighbouring budgets and
        their chord; the distance is largest where the lines cross.
        """
        lines = self.lines()
        at, bound, price = lines[np.argsort(lines[:, 0], kind="stable")].T
        if len(at) < 2:
            return None
        more, falls = np.diff(at), -np.diff(price)
        crossing = np.divide(-np.diff(bound) - price[1:] * more, falls, out=np.zeros_like(more), where=falls > 0)
        share = np.clip(crossing / more, 0.0, 1.0)
        lost = share * (np.diff(bound) + price[:-1] * more)
        k = int(np.argmax(lost))
        return float(at[k] + share[k] * more[k]) if lost[k] > BENT * self.gap else None

    def place(self, apart: float) -> float | None:
        """The budget (t) at which to seek a new schedule: in the gap that spans most net cost; None if there is none.

        `apart` : least difference of the lower curve from its value at the budgets tried, relative to the gap aimed at.
        """
        at, grid = self._grid()
        lower, opens = self.lower(grid), self.open(grid)
        tried = self.lower(np.array(sorted(self.tried)))
        far = np.abs(lower[:, None] - tried).min(axis=1, initial=np.inf) > apart * self.gap
        pieces = np.split(np.arange(len(grid)), np.flatnonzero(np.diff(opens)) + 1)
        for hole in sorted(pieces, key=lambda piece: lower[piece[-1]] - lower[piece[0]]):
            free = grid[hole][far[hole]]
            if opens[hole[0]] and len(free):
                place = free[np.abs(free - self._middle(grid[hole])).argmin()]
                known = np.intersect1d(free, at)
                near = known[np.abs(known - place) <= SNAP * (at[-1] - at[0])]
                return float(near[np.abs(near - place).argmin()] if len(near) else place)
        return None

    def _middle(self, hole: Array) -> float:
        """The budget in a gap (n,) t from which one cost curve reaches all of it, or the part of larger budgets."""
        price = LEAST + self.price(hole)
        return float(hole[price >= min(REACH * price[-1], np.sqrt(price[0] * price[-1]))][-1])

    def reach(self, budget: float, own: float) -> list[float]:
        """Carbon prices (USD/t, rising) over which to follow the cost curve of a schedule found for a budget (t).

        `own` : carbon price at which it was found. The range covers the gaps within reach; a price near the middle of
        their emissions divides it in two pieces.
        """
        _, grid = self._grid()
        price = self.price(grid)
        holes = price[self.open(grid) | (grid == budget)]
        inside = holes[(holes >= own / REACH - LEAST) & (holes <= REACH * (own + LEAST))]
        low, high = inside.min(initial=own) / WIDER, WIDER * inside.max(initial=own + LEAST)
        part = np.flatnonzero((price >= low) & (price <= high))
        middle = price[part[len(part) // 2]] if len(part) else own
        return sorted({float(low), float(np.clip(middle, low, high)), float(high)})

    def asked(self) -> Asked:
        """The accuracy asked of a cost curve."""
        at, bound, price = self.lines().T
        return Asked(bound + price * at, price, CURVE * self.rel_gap * self.scale)

    def steps(self, frontier: Frontier) -> tuple[CurveStep, ...]:
        """Chains of schedules along the upper curve, thinned; convex combinations of neighbours stay near it."""
        grid = np.unique(np.linspace(frontier.budgets[0], frontier.budgets[-1], GRID))[::-1]  # falling; one of one
        costs = np.array([frontier.upper(grid), *(curve.cost_at(grid) for curve in self.curves)])
        chains = np.array([np.zeros(len(grid)), *(curve.chain(grid) for curve in self.curves)])
        cheapest, found = costs.argmin(axis=0), list[CurveStep]()
        own = np.column_stack([cheapest, chains[cheapest, np.arange(len(grid))]])
        for part in np.split(np.arange(len(grid)), np.flatnonzero(np.diff(own, axis=0).any(axis=1)) + 1):
            if (k := cheapest[part[0]]) > 0:
                corners = chords(grid[part], costs[k, part], THIN * self.rel_gap * frontier.scale)
                found += _chain(self.curves[k - 1], grid[part][corners])
        return tuple(found)


def _chain(curve: CostCurve | KnownCurve, budgets: Array) -> list[CurveStep]:
    """Schedules of a cost curve at falling budgets (n,) t, as steps of a frontier."""
    steps: list[CurveStep] = []
    for budget in budgets.tolist():
        if (incumbent := curve.at(budget)) is not None:
            tonnes = float(emissions_t(curve.instance, incumbent.schedule).sum())
            if not steps or tonnes < steps[-1].tonnes:
                steps.append(CurveStep(incumbent.schedule, tonnes, incumbent.cost, mixes=bool(steps)))
    return steps
