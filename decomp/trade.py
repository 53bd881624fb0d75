"""What a schedule costs at every budget, its integers held: groups of sites sell each other tonnes.

With jobs, commitments and the modes of grid and battery held, a group of sites is a linear program, and its least cost
is a convex, falling function of what it emits. Some prices of a tonne give points of this curve; neighbouring points
may be mixed. The tonnes that are worth most, of whatever group, make the curve of the fleet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from decomp.accounts import account, complete, emissions_t
from decomp.blocks import Model
from decomp.crew import Crew
from decomp.instance import Array, Instance
from decomp.polish import PolishTask, build, groups, keeping_bans, schedule_of, share_out
from decomp.recovery import Incumbent
from decomp.restriction import Part, merge_all, restrict
from decomp.result import Schedule
from decomp.site import to_highs

SAME_TONNES = 1e-6


@dataclass(frozen=True, eq=False)
class TradeTask:
    """A group with its piece of a schedule; least, own and largest price of a tonne (USD/t); accuracy (USD)."""

    group: PolishTask
    prices: tuple[float, float, float]
    accuracy: float


@dataclass(frozen=True, eq=False)
class Curve:
    """A group's schedules with the same integers, from the cleanest to the cheapest: tonnes (n,), cost (n,) in USD."""

    schedules: list[Schedule]
    tonnes: Array
    cost: Array


@dataclass(frozen=True, eq=False)
class _Point:
    x: Array
    tonnes: float
    cost: float


class _Family:
    """The linear program of a group at one price of a tonne after the other, kept warm."""

    def __init__(self, model: Model):
        self.model, self.solver = model, to_highs(model)
        self.every = np.arange(len(model.cost), dtype=np.int32)

    def at(self, price: float) -> _Point | None:
        """The optimum at a price; modes stay as they are first met, so that all points may be mixed."""
        model, solver = self.model, self.solver
        solver.changeColsCost(len(self.every), self.every, model.cost + price * model.emission)
        x = keeping_bans(model, solver, for_good=True)
        return None if x is None else _Point(x, float(model.emission @ x), float(model.cost @ x))


def trade(task: TradeTask) -> Curve | None:
    """A group's curve between the least and the largest price; None if the solver finds none."""
    model, (low, own, high) = build(task.group), task.prices
    family = _Family(model)
    middle, cleanest, cheapest = (family.at(price) for price in (own, high, low))
    if middle is None or cleanest is None or cheapest is None:
        return None
    found = [cleanest, *_between(family, cleanest, middle, task.accuracy), middle]
    found += [*_between(family, middle, cheapest, task.accuracy), cheapest]
    points = found[:1]
    for point in found[1:]:
        if point.tonnes > points[-1].tonnes + SAME_TONNES and point.cost < points[-1].cost:
            points.append(point)
    tonnes, cost = np.array([(p.tonnes, p.cost) for p in points]).T
    return Curve([schedule_of(task.group, model, p.x) for p in points], tonnes, cost)


def _between(family: _Family, clean: _Point, cheap: _Point, accuracy: float) -> Iterator[_Point]:
    """Points between two: the slope of their chord is the next price (Aneja, Nair 1979), until that brings little."""
    if cheap.tonnes - clean.tonnes <= SAME_TONNES or clean.cost - cheap.cost <= accuracy:
        return
    slope = (clean.cost - cheap.cost) / (cheap.tonnes - clean.tonnes)
    point = family.at(slope)
    if point is None or clean.cost - point.cost + slope * (clean.tonnes - point.tonnes) <= accuracy:
        return
    yield from _between(family, clean, point, accuracy)
    yield point
    yield from _between(family, point, cheap, accuracy)


class Trade:
    """The curve of a fleet: one integer schedule, at every budget down to where its groups are cleanest.

    Attributes
    ----------
    tonnes, cost : (n,) t CO2, rising, and net cost in USD, falling; between two points costs are linear.
    """

    def __init__(self, instance: Instance, incumbent: Incumbent, pieces: list[tuple[Part, Curve]]):
        self.instance, self.incumbent, self.pieces = instance, incumbent, pieces
        rows = [(g, k) for g, (_, curve) in enumerate(pieces) for k in range(len(curve.tonnes) - 1)]
        self.more = np.concatenate([np.diff(curve.tonnes) for _, curve in pieces])
        saved = np.concatenate([-np.diff(curve.cost) for _, curve in pieces])
        # convex but for modes that were held on the way: a group's points are taken in their order
        worth = np.concatenate([np.minimum.accumulate(-np.diff(c.cost) / np.diff(c.tonnes)) for _, c in pieces])
        order = np.argsort(-worth, kind="stable")
        self.order, self.more = [rows[k] for k in order], self.more[order]
        cleanest = self._schedule([0] * len(pieces))
        self.tonnes = float(emissions_t(instance, cleanest).sum()) + np.append(0.0, np.cumsum(self.more))
        self.cost = account(instance, cleanest).net_cost - np.append(0.0, np.cumsum(saved[order]))

    def cost_at(self, budgets: Array | float) -> Array:
        """Net cost at budgets (n,), USD; inf where it emits more."""
        return np.asarray(np.interp(budgets, self.tonnes, self.cost, left=np.inf))

    def at(self, budget: float) -> Incumbent | None:
        """The schedule at a budget of at least the least tonnes; None where rounding gets in the way."""
        rounding = 1e-9 * max(abs(budget), 1.0) if np.isfinite(budget) else 0.0
        taken, left = [0] * len(self.pieces), budget - rounding - self.tonnes[0]
        last = None
        for (g, k), more in zip(self.order, self.more, strict=True):
            if more > left:
                last = g, k, max(left, 0.0) / more
                break
            taken[g], left = k + 1, left - more
        schedule = self._schedule(taken, last)
        if float(emissions_t(self.instance, schedule).sum()) > budget:
            return None
        return replace(self.incumbent, schedule=schedule, cost=account(self.instance, schedule).net_cost)

    def _schedule(self, taken: list[int], last: tuple[int, int, float] | None = None) -> Schedule:
        """Every group at one of its points; the `last` group mixes its point k with the next one."""
        own = [curve.schedules[k] for (_, curve), k in zip(self.pieces, taken, strict=True)]
        if last is not None:
            g, k, share = last
            own[g] = mix(own[g], self.pieces[g][1].schedules[k + 1], share)
        parts = [part for part, _ in self.pieces]
        return complete(self.instance, merge_all(self.incumbent.schedule, list(zip(parts, own, strict=True))))


def mix(one: Schedule, other: Schedule, share: float) -> Schedule:
    """The schedule that is by a share the other, of the same integers; what is bought and sold at once cancels."""
    values = {f.name: getattr(one, f.name) for f in one.columns()}
    values |= {k: v + share * (getattr(other, k) - v) for k, v in values.items() if v.dtype.kind == "f"}
    both = np.minimum(values["import_mw"], values["export_mw"])
    return Schedule(**values | dict(import_mw=values["import_mw"] - both, export_mw=values["export_mw"] - both))


def trade_all(
    instance: Instance,
    incumbent: Incumbent,
    crew: Crew,
    group_sites: int,
    prices: tuple[float, float, float],
    accuracy: float,
) -> Trade | None:
    """The curve of a schedule, its groups on all ranks; None if one finds no point. Root only.

    Parameters
    ----------
    instance : without a budget.
    prices : of a tonne, USD/t: least, the one at which the modes of grid and battery are chosen, largest.
    accuracy : USD by which the curve of the fleet may lie above the best one.
    """
    parts = [restrict(instance, incumbent.schedule, sites) for sites in groups(instance, group_sites)]
    shared = share_out(instance, incumbent.schedule, parts)
    tasks = [TradeTask(group, prices, accuracy / len(parts)) for group in shared]
    found = crew.farm(trade, tasks, crew.until, "trade")
    pieces = [(part, curve) for part, curve in zip(parts, found, strict=True) if curve is not None]
    return Trade(instance, incumbent, pieces) if len(pieces) == len(parts) else None
