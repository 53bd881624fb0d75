"""What it costs a group of sites to emit less: one schedule with ever fewer jobs, or more than it has.

With commitments and the modes of grid and battery held, and every job at one place or rejected, a group is a linear
program but for the jobs. The optima at some prices of a tonne are points of the group's curve. Neighbouring points with
the same jobs may be mixed; from one to the next with more jobs is a jump.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise

import numpy as np

from decomp.bound.coupling import Coupling
from decomp.lp.block import Model
from decomp.lp.highs import keeping_bans, run_lp, to_highs
from decomp.lp.presolve import presolve
from decomp.model.instance import Array
from decomp.model.result import Schedule
from decomp.schedule.group_lp import GroupTask, fixed_integers, held, schedule_of, side_by_side
from decomp.schedule.incumbent import fixing_of

SAME_TONNES = 1e-6
KEPT, ALL = 0.5, 1.0 - 1e-6  # share of a job from which on it runs; where those do not fit, all of it
SEVERAL = 4  # jobs that make the difference, from which on a price is asked which of them are worth it
LITTLE = 0.02  # of the gap asked for: what a point below a chord must bring
EXHAUSTED = 0.85  # of the gap asked for: where a curve leaves more on both sides, it would take many points
CLOSE = 3.0  # times the gap asked for: where more is open, the ends do not say what is between
BEYOND = 1.08  # times the prices at the ends of a jump: where the curves with the jobs of either end are followed to
SAMPLED, OWN_GAP = 6, 0.5  # prices of a group's own lower curve, and its part of the gap asked for
SEAM = 1e-6  # of a segment: where a curve begins in the midst of it
CHECKED = np.linspace(0.0, 1.0, 9)  # of a chord
CROSSED = np.linspace(0.0, 1.0, 37)  # likewise, where two curves may cross


@dataclass(frozen=True, eq=False)
class Asked:
    """How close a group's curve is to come to a lower one: the fleet's, or if it is one of several, to its own.

    Attributes
    ----------
    value, price : (k,) lines of the lower curve, value - price * tonnes: USD, USD/t.
    gap : USD by which the fleet's curve may be above. groups : how many share it.
    """

    value: Array
    price: Array
    gap: float
    groups: int = 1

    def lower(self, tonnes: Array) -> Array:
        """The lower curve at (n,) t, USD."""
        return np.asarray((self.value[:, None] - np.outer(self.price, tonnes)).max(axis=0))

    def hole(self, clean: CurvePoint, cheap: CurvePoint) -> float:
        """How much above its lower curve the fleet may be between two neighbouring points of this group, USD."""
        lower = self.lower(clean.tonnes + CHECKED * (cheap.tonnes - clean.tonnes))
        if (clean.jobs == cheap.jobs).all():
            return float(self.groups * (clean.cost + CHECKED * (cheap.cost - clean.cost) - lower).max())
        return float(self.groups * (clean.cost - lower[0]) + lower[0] - lower[-1])

    def exhausted(self, point: CurvePoint) -> bool:
        """Whether little is left of the gap asked for."""
        return self.hole(point, point) > EXHAUSTED * self.gap


@dataclass(frozen=True, eq=False)
class AbatementTask:
    """A piece of a group's curve, with the group's piece of a schedule.

    Attributes
    ----------
    site, start (j,) : where each job of the group runs, if it does.
    prices : of a tonne at the ends of the piece, USD/t; modes of grid and battery are chosen at the first one.
    """

    group: GroupTask
    site: Array
    start: Array
    prices: tuple[float, float]
    asked: Asked


@dataclass(frozen=True, eq=False)
class Curve:
    """A group's schedules from the cleanest to the cheapest: tonnes (n,), cost (n,) in USD.

    mixes (n - 1,) : whether a schedule and the next have the same integers.
    """

    schedules: list[Schedule]
    tonnes: Array
    cost: Array
    mixes: Array

    def then(self, other: Curve) -> Curve:
        """One curve of two: this one, and what emits more and costs less of the other, within a segment that mixes.

        A segment is of one family, whose modes agree, so even where the curves meet there is a jump, if a small one.
        """
        more = np.flatnonzero((other.tonnes > self.tonnes[-1] + SAME_TONNES) & (other.cost < self.cost[-1]))
        if not len(more):
            return self
        first = int(more[0])
        rows = list(zip(other.schedules, other.tonnes, other.cost, strict=True))[first:]
        mixes = other.mixes[first:]
        if first > 0 and other.mixes[first - 1]:
            a = first - 1
            risen = (self.tonnes[-1] + SAME_TONNES - other.tonnes[a]) / (other.tonnes[first] - other.tonnes[a])
            fallen = (other.cost[a] - self.cost[-1]) / (other.cost[a] - other.cost[first])
            if (share := max(risen, fallen, 0.0) + SEAM) < 1.0:
                tonnes, cost = (v[a] + share * (v[first] - v[a]) for v in (other.tonnes, other.cost))
                rows.insert(0, (mix(other.schedules[a], other.schedules[first], share), tonnes, cost))
                mixes = other.mixes[a:]
        schedules, more_tonnes, less_cost = zip(*rows, strict=True)
        return Curve(
            self.schedules + list(schedules),
            np.append(self.tonnes, more_tonnes),
            np.append(self.cost, less_cost),
            np.concatenate([self.mixes, [False], mixes]),
        )


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """An optimum at a price, USD/t; `jobs` (j,) : which run; `reduced` (j,) : what one more costs, USD."""

    x: Array
    tonnes: float
    cost: float
    price: float
    jobs: Array
    reduced: Array


class Family:
    """The program of a group at one price of a tonne after the other, kept warm."""

    def __init__(self, task: AbatementTask):
        self.task = task
        self.model, jobs = _build(task)
        self.must = self.model.low[jobs]
        self.rest = presolve(self.model, np.concatenate([jobs, *self.model.bans.T[1:]]))
        self.columns = np.searchsorted(self.rest.columns, jobs).astype(np.int32)
        self.solver = to_highs(self.rest.model)
        self.every = np.arange(len(self.rest.columns), dtype=np.int32)

    def at(self, price: float, jobs: Array | None = None) -> CurvePoint | None:
        """The optimum at a price, of the jobs (default: those worth running); None if the solver finds none.

        Modes stay as they are first met, so that all points with the same jobs may be mixed.
        """
        rest, solver = self.rest.model, self.solver
        solver.changeColsCost(len(self.every), self.every, rest.cost + price * rest.emission)
        if jobs is not None:
            return self._of(jobs, price)
        self._hold(self.must, np.ones(len(self.must)))
        if not run_lp(solver):
            return None
        share = np.array(solver.getSolution().col_value)[self.columns]
        return self._of(share > KEPT, price) or self._of(share > ALL, price)

    def _of(self, jobs: Array, price: float) -> CurvePoint | None:
        """The optimum with the jobs, at the solver's costs."""
        self._hold(jobs, jobs)
        found = keeping_bans(self.rest.model, self.solver, for_good=True)
        if found is None:
            return None
        x = self.rest.whole(found)
        reduced = np.array(self.solver.getSolution().col_dual)[self.columns]
        return CurvePoint(x, float(self.model.emission @ x), float(self.model.cost @ x), price, jobs, reduced)

    def _hold(self, low: Array, high: Array) -> None:
        self.solver.changeColsBounds(len(self.columns), self.columns, low.astype(float), high.astype(float))

    def schedule(self, point: CurvePoint) -> Schedule:
        """The point as a schedule of the group."""
        runs, task = point.jobs, self.task
        site, start = np.where(runs, task.site, -1), np.where(runs, task.start, -1)
        return replace(schedule_of(task.group, self.model, point.x), job_site=site, job_start=start)


def _build(task: AbatementTask) -> tuple[Model, Array]:
    """The group's model, commitments held, and the columns of its jobs: the share that is run."""
    instance, schedule = task.group.instance, task.group.schedule
    block, links = side_by_side(instance, np.zeros_like(instance.sites.capacity_gpu))
    coupling, jobs = Coupling.of(instance), instance.jobs
    run = fixing_of(coupling, replace(schedule, job_site=task.site, job_start=task.start)).run
    columns = []
    for j, (i, start) in enumerate(zip(task.site, task.start, strict=True)):
        share = block.add_columns(f"job{j}", 1, float(jobs.mandatory[j]), 1.0, coupling.jobs.cost[run[j]])
        link = links[i][start : start + jobs.periods[j]]
        block.add_entries(link, np.repeat(share, len(link)), -jobs.gpus[j])
        columns.append(share[0])
    model = held(instance, block.finish(), fixed_integers(instance, schedule))
    return _without_modes(model), np.array(columns, dtype=int)


def _without_modes(model: Model) -> Model:
    """The model whose bans are left to `keeping_bans`: modes are zero, their rows free."""
    modes = model.bans[:, 0]
    low, high, row_low, row_high = (v.copy() for v in (model.low, model.high, model.row_low, model.row_high))
    low[modes] = high[modes] = 0.0
    rows = model.matrix[:, modes].indices
    row_low[rows], row_high[rows] = -np.inf, np.inf
    return replace(model, low=low, high=high, row_low=row_low, row_high=row_high)


def abate(task: AbatementTask) -> Curve | None:
    """A piece of a group's curve; None if the solver does not find its ends."""
    family = Family(task)
    cheap, clean = (family.at(price) for price in task.prices)
    if cheap is None or clean is None:
        return None
    asked = task.asked if task.asked.groups == 1 else _of_its_own(family, clean, cheap, task.asked)
    points = [clean, *_between(family, clean, cheap, asked), cheap]
    same = [bool((a.jobs == b.jobs).all()) for a, b in pairwise(points)]
    paths = np.split(np.arange(len(points)), np.flatnonzero(~np.array(same, dtype=bool)) + 1)
    return reduce(Curve.then, [_path(family, [points[k] for k in path]) for path in paths])


def _path(family: Family, points: list[CurvePoint]) -> Curve:
    """The curve of points with the same jobs."""
    rising = points[:1]
    for point in points[1:]:
        if point.tonnes > rising[-1].tonnes + SAME_TONNES and point.cost < rising[-1].cost:
            rising.append(point)
    tonnes, cost = np.array([(p.tonnes, p.cost) for p in rising]).T
    return Curve([family.schedule(p) for p in rising], tonnes, cost, np.ones(len(rising) - 1, dtype=bool))


def _of_its_own(family: Family, clean: CurvePoint, cheap: CurvePoint, asked: Asked) -> Asked:
    """A part of the gap for the group's own curve: what the fleet's lower one leaves to a group, nobody can tell."""
    prices = np.geomspace(max(cheap.price, 1e-3 * clean.price), clean.price, SAMPLED + 2)[1:-1]
    found = [clean, *(family.at(float(price)) for price in prices), cheap]
    lines = np.array([(p.cost + p.price * p.tonnes, p.price) for p in found if p is not None])
    return replace(asked, value=lines[:, 0], price=lines[:, 1], gap=OWN_GAP * asked.gap)


def _between(family: Family, clean: CurvePoint, cheap: CurvePoint, asked: Asked) -> Iterator[CurvePoint]:
    """Points between two, where they are needed: at the slope of their chord as price (Aneja, Nair 1979).

    If several jobs make the difference and that price does not say which, then with those half of them that are best
    worth their tonnes; if it is one job, or nothing is found between, then the curves with and without them.
    """
    more, saved, differ = cheap.tonnes - clean.tonnes, clean.cost - cheap.cost, np.flatnonzero(clean.jobs != cheap.jobs)
    if more <= SAME_TONNES or saved <= 0.0 or (hole := asked.hole(clean, cheap)) <= asked.gap:
        return
    if hole <= CLOSE * asked.gap and asked.exhausted(clean) and asked.exhausted(cheap):
        return
    point = None
    if len(differ) == 0:
        point = family.at(saved / more, clean.jobs)
        if point is None or _below(point, clean, cheap) <= LITTLE * asked.gap / asked.groups:
            return
    elif len(differ) > 1:
        point = family.at(saved / more) if len(differ) >= SEVERAL else None
        if point is None or any((point.jobs == end.jobs).all() for end in (clean, cheap)):
            half = clean.jobs.copy()
            best = differ[np.argsort(clean.reduced[differ], kind="stable")[: len(differ) // 2]]
            half[best] = cheap.jobs[best]
            point = family.at(saved / more, half)
    if point is not None and clean.tonnes + SAME_TONNES < point.tonnes < cheap.tonnes - SAME_TONNES:
        yield from _between(family, clean, point, asked)
        yield point
        yield from _between(family, point, cheap, asked)
    elif len(differ):
        yield from _meet(family, clean, cheap, asked)


def _below(point: CurvePoint, clean: CurvePoint, cheap: CurvePoint) -> float:
    """How far a point is below the chord of two others, USD."""
    share = (point.tonnes - clean.tonnes) / (cheap.tonnes - clean.tonnes)
    return clean.cost + share * (cheap.cost - clean.cost) - point.cost


def _meet(family: Family, clean: CurvePoint, cheap: CurvePoint, asked: Asked) -> Iterator[CurvePoint]:
    """Points with the jobs of the clean end, and from where that is cheaper, with those of the other."""
    upward, downward = family.at(cheap.price / BEYOND, clean.jobs), family.at(BEYOND * clean.price, cheap.jobs)
    if upward is None or downward is None:
        return
    left = [clean, *_between(family, clean, upward, asked), upward]
    right = [downward, *_between(family, downward, cheap, asked), cheap]
    first = max(clean.tonnes, downward.tonnes)
    at = first + CROSSED * (cheap.tonnes - first)
    without, with_ = (np.interp(at, *np.array([(p.tonnes, p.cost) for p in path]).T) for path in (left, right))
    change = float(at[np.argmax(without > with_)]) if (without > with_).any() else cheap.tonnes
    yield from [p for p in left[1:] if p.tonnes < change - SAME_TONNES]
    yield from _on(left, change - SAME_TONNES)
    yield from _on(right, change + SAME_TONNES)
    yield from [p for p in right[:-1] if p.tonnes > change + SAME_TONNES]


def _on(path: list[CurvePoint], tonnes: float) -> Iterator[CurvePoint]:
    """The mixture of two neighbours on a path that emits so much, if there is one."""
    for a, b in pairwise(path):
        if a.tonnes < tonnes < b.tonnes:
            share = (tonnes - a.tonnes) / (b.tonnes - a.tonnes)
            yield replace(a, x=a.x + share * (b.x - a.x), tonnes=tonnes, cost=a.cost + share * (b.cost - a.cost))
            return


def mix(one: Schedule, other: Schedule, share: float) -> Schedule:
    """The schedule that is by a share the other, of the same integers; what is bought and sold at once cancels."""
    values = {f.name: getattr(one, f.name) for f in one.columns()}
    values |= {k: v + share * (getattr(other, k) - v) for k, v in values.items() if v.dtype.kind == "f"}
    both = np.minimum(values["import_mw"], values["export_mw"])
    return Schedule(**values | dict(import_mw=values["import_mw"] - both, export_mw=values["export_mw"] - both))
