"""What is known at all budgets in the midst of a sweep: the lower and the upper curve, and where to look next."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from decomp.frontier.fleet_curve import Trade
from decomp.frontier.group_curve import Asked
from decomp.model.accounts import emissions_t
from decomp.model.frontier import CurveStep, Frontier, chords
from decomp.model.instance import Array
from decomp.schedule.incumbent import Incumbent
from decomp.state.solve_state import Run

AIM, CURVE = 0.975, 0.82  # of the gap asked for: what a sweep tries for, since curves lose corners, and every curve
BENT = 0.2  # of the gap aimed at: by how much the lower curve may be too low between two budgets
REACH, LEAST = 4.0, 200.0  # a schedule's curve is of use up to so many times the price of a tonne, USD/t more than it
WIDER = 1.1  # than the prices in a hole: those of a curve that is to close it
SNAP = 0.01  # of all budgets: so near a budget that is known, that one is taken
GRID = 4000  # budgets among which places and corners are chosen
THIN = 0.02  # of the gap asked for: what mixtures of steps may be above the curve


@dataclass
class Envelope:
    """Runs at budgets with their proofs, each a line over all budgets, and curves of schedules.

    Attributes
    ----------
    rel_gap : asked for at every budget, relative to the scale.
    runs : by budget, t CO2. tried : budgets for which schedules have been made.
    """

    rel_gap: float
    runs: dict[float, Run] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    tried: set[float] = field(default_factory=set)

    @property
    def scale(self) -> float:
        """What gaps are relative to, USD: the largest net cost found, as long as there is none the largest bound."""
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
        return np.asarray(np.min([*runs, *(trade.cost_at(budgets) for trade in self.trades)], axis=0))

    def lines(self) -> Array:
        """What the proofs say: budget, t, bound there, USD, and price of a tonne, USD/t, by rising price (k, 3)."""
        known = [(b, r.proof.bound, r.proof.carbon_price) for b, r in self.runs.items() if r.proof is not None]
        return np.array(sorted(known, key=lambda line: line[2]))

    def lower(self, budgets: Array) -> Array:
        """The lower curve so far (n,), USD."""
        return np.asarray(self._lower(budgets).max(axis=0))

    def price(self, budgets: Array) -> Array:
        """What a tonne is worth on the lower curve (n,), USD/t."""
        return np.asarray(self.lines()[self._lower(budgets).argmax(axis=0), 2])

    def _lower(self, budgets: Array) -> Array:
        at, bound, price = self.lines().T
        return bound[:, None] + price[:, None] * (at[:, None] - budgets)

    def open(self, budgets: Array) -> Array:
        """Where the curves are further apart than aimed at (n,)."""
        return np.asarray(self.upper(budgets) - self.lower(budgets) > self.gap)

    def _grid(self) -> tuple[Array, Array]:
        """The known budgets, rising, and many between them, these among them."""
        at = np.array(sorted(self.runs))
        return at, np.union1d(np.linspace(at[0], at[-1], GRID), at)

    def cheapest(self, budget: float, limit: float = np.inf) -> Incumbent | None:
        """The cheapest schedule on the curves at a budget, where it costs less than a limit (USD)."""
        costs = [float(trade.cost_at(budget)) for trade in self.trades]
        return self.trades[int(np.argmin(costs))].at(budget) if min(costs, default=np.inf) < limit else None

    def bend(self) -> float | None:
        """Where the lower curve may be too low by most, if that is much: lines of two neighbouring budgets cross there.

        It is convex, so nowhere above a chord.
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
        """A budget at which a schedule may close a hole between the curves, that with most of the net cost first.

        By `apart`, of the gap aimed at, the lower curve differs from where it is at budgets that have been tried.
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
        """A place in a hole (n,) for a schedule whose curve may close all of it, or the upper part of it."""
        price = LEAST + self.price(hole)
        return float(hole[price >= min(REACH * price[-1], np.sqrt(price[0] * price[-1]))][-1])

    def reach(self, budget: float, own: float) -> list[float]:
        """Rising prices of a tonne, USD/t, for the curve of a schedule with a price of its own, for a budget.

        The ends of the holes that it may close; and between them, where emissions are in the middle, to share the work.
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
        """What is asked of a curve."""
        at, bound, price = self.lines().T
        return Asked(bound + price * at, price, CURVE * self.rel_gap * self.scale)

    def steps(self, frontier: Frontier) -> tuple[CurveStep, ...]:
        """Chains of schedules along the cheapest curves; mixtures of two neighbours are hardly dearer."""
        grid = np.linspace(frontier.budgets[-1], frontier.budgets[0], GRID)
        costs = np.array([frontier.upper(grid), *(trade.cost_at(grid) for trade in self.trades)])
        chains = np.array([np.zeros(GRID), *(trade.chain(grid) for trade in self.trades)])
        cheapest, found = costs.argmin(axis=0), list[CurveStep]()
        own = np.column_stack([cheapest, chains[cheapest, np.arange(GRID)]])
        for part in np.split(np.arange(GRID), np.flatnonzero(np.diff(own, axis=0).any(axis=1)) + 1):
            if (k := cheapest[part[0]]) > 0:
                corners = chords(grid[part], costs[k, part], THIN * self.rel_gap * frontier.scale)
                found += _chain(self.trades[k - 1], grid[part][corners])
        return tuple(found)


def _chain(trade: Trade, budgets: Array) -> list[CurveStep]:
    """Schedules of a curve at falling budgets (n,), as steps."""
    steps: list[CurveStep] = []
    for budget in budgets.tolist():
        if (incumbent := trade.at(budget)) is not None:
            tonnes = float(emissions_t(trade.instance, incumbent.schedule).sum())
            if not steps or tonnes < steps[-1].tonnes:
                steps.append(CurveStep(incumbent.schedule, tonnes, incumbent.cost, mixes=bool(steps)))
    return steps
