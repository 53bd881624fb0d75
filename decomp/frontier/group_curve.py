"""The abatement cost curve of a group of sites: net cost against emissions, around one schedule.

Held are generator commitments, and site and start of every job; free are dispatch, routing, and which jobs run.
Minimising cost + price * emissions at one carbon price after the other (the weighted-sum method of bi-objective
optimisation; Aneja and Nair 1979) gives points of the curve. Between two neighbouring points with the same integers
every convex combination is a schedule; where the set of jobs changes, the curve jumps.
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

SAME_TONNES = 1e-6  # t; points closer than that are one
KEPT, ALL = 0.5, 1.0 - 1e-6  # a job runs from this relaxed share on; where those jobs do not fit, only whole shares do
SEVERAL = 4  # from so many differing jobs on, the relaxation at the chord's price chooses among them
LITTLE = 0.02  # of the gap asked for: least improvement below a chord for which a point is kept
EXHAUSTED = 0.85  # of the gap asked for: with more than that open at both ends, refinement does not pay
CLOSE = 3.0  # times the gap asked for: with more than that open, the ends say nothing of what is between
BEYOND = 1.08  # factor on the prices at the ends of a jump, up to which the curve of either set of jobs is followed
SAMPLED, OWN_GAP = 6, 0.5  # prices that sample a group's own lower curve, and its share of the gap asked for
SEAM = 1e-6  # share of a segment, added where a curve is entered between two points
CHECKED = np.linspace(0.0, 1.0, 9)  # shares of a chord at which it is compared with the lower curve
CROSSED = np.linspace(0.0, 1.0, 37)  # shares of an interval at which two curves are compared


@dataclass(frozen=True, eq=False)
class Asked:
    """The accuracy asked of a cost curve: its largest distance above a convex lower curve.

    Attributes
    ----------
    value, price : (k,) supporting lines of the lower curve, value - price * emissions; USD and USD/t.
    gap : largest distance of the fleet's curve, USD.
    groups : number of groups that share the gap; with several, a group is compared with a lower curve of its own.
    """

    value: Array
    price: Array
    gap: float
    groups: int = 1

    def lower(self, tonnes: Array) -> Array:
        """The lower curve at emissions (n,) t, USD (n,)."""
        return np.asarray((self.value[:, None] - np.outer(self.price, tonnes)).max(axis=0))

    def hole(self, clean: CurvePoint, cheap: CurvePoint) -> float:
        """Largest distance of the fleet from its lower curve between two neighbouring points of this group, USD."""
        lower = self.lower(clean.tonnes + CHECKED * (cheap.tonnes - clean.tonnes))
        if (clean.jobs == cheap.jobs).all():
            return float(self.groups * (clean.cost + CHECKED * (cheap.cost - clean.cost) - lower).max())
        return float(self.groups * (clean.cost - lower[0]) + lower[0] - lower[-1])

    def exhausted(self, point: CurvePoint) -> bool:
        """Whether the point itself is so far above the lower curve that points near it can gain little."""
        return self.hole(point, point) > EXHAUSTED * self.gap


@dataclass(frozen=True, eq=False)
class AbatementTask:
    """A piece of a group's cost curve that is to be computed; picklable.

    Attributes
    ----------
    group : the sub-instance with its part of the schedule.
    site, start (j,) : site and first period of each job of the group, if it runs.
    prices : carbon prices at the ends of the piece, USD/t. Modes (import or export, charge or discharge) are those
        of the optimum at the first.
    asked : accuracy.
    """

    group: GroupTask
    site: Array
    start: Array
    prices: tuple[float, float]
    asked: Asked


@dataclass(frozen=True, eq=False)
class GroupCurve:
    """Schedules of a group from the least emissions to the least cost.

    Attributes
    ----------
    tonnes, cost : (n,) emissions, t, rising; cost, USD, falling.
    mixes : (n - 1,) whether a schedule and the next have the same integers, so that convex combinations are schedules.
    """

    schedules: list[Schedule]
    tonnes: Array
    cost: Array
    mixes: Array

    def then(self, other: GroupCurve) -> GroupCurve:
        """This curve followed by the part of the other that emits more and costs less.

        The other may be entered between two points that mix. The two come from different programs, whose modes of grid
        and battery may differ, so the step between them is a jump even where they meet.
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
        return GroupCurve(
            self.schedules + list(schedules),
            np.append(self.tonnes, more_tonnes),
            np.append(self.cost, less_cost),
            np.concatenate([self.mixes, [False], mixes]),
        )


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """An optimum at a carbon price.

    Attributes
    ----------
    x : values of the program's variables. tonnes, cost : t and USD.
    price : USD/t.
    jobs, reduced : (j,) which jobs run, and their reduced costs, USD.
    """

    x: Array
    tonnes: float
    cost: float
    price: float
    jobs: Array
    reduced: Array


class GroupProgram:
    """The linear program of a group, re-optimised from its last basis as the carbon price and the jobs change."""

    def __init__(self, task: AbatementTask):
        self.task = task
        self.model, jobs = _build(task)
        self.must = self.model.low[jobs]
        self.rest = presolve(self.model, np.concatenate([jobs, *self.model.bans.T[1:]]))
        self.columns = np.searchsorted(self.rest.columns, jobs).astype(np.int32)
        self.solver = to_highs(self.rest.model)
        self.every = np.arange(len(self.rest.columns), dtype=np.int32)

    def at(self, price: float, jobs: Array | None = None) -> CurvePoint | None:
        """The optimum at a carbon price (USD/t) with given jobs; None if the solver finds none.

        `jobs` (j,) : which run; default: those of the relaxation, rounded. Modes of grid and battery stay as they are
        first chosen, so that points with the same jobs have the same integers.
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
        """The optimum with given jobs, at the costs that the solver has."""
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
    """The group's model with commitments held, and the columns (j,) of its jobs, shares between 0 and 1."""
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
    """The model without the binaries of (5) and (6): which direction grid and battery take `keeping_bans` decides."""
    modes = model.bans[:, 0]
    low, high, row_low, row_high = (v.copy() for v in (model.low, model.high, model.row_low, model.row_high))
    low[modes] = high[modes] = 0.0
    rows = model.matrix[:, modes].indices
    row_low[rows], row_high[rows] = -np.inf, np.inf
    return replace(model, low=low, high=high, row_low=row_low, row_high=row_high)


def abate(task: AbatementTask) -> GroupCurve | None:
    """A piece of a group's cost curve between two carbon prices; None if the solver finds no optimum at one of them."""
    program = GroupProgram(task)
    cheap, clean = (program.at(price) for price in task.prices)
    if cheap is None or clean is None:
        return None
    asked = task.asked if task.asked.groups == 1 else _of_its_own(program, clean, cheap, task.asked)
    points = [clean, *points_between(program, clean, cheap, asked), cheap]
    same = [bool((a.jobs == b.jobs).all()) for a, b in pairwise(points)]
    paths = np.split(np.arange(len(points)), np.flatnonzero(~np.array(same, dtype=bool)) + 1)
    return reduce(GroupCurve.then, [_path(program, [points[k] for k in path]) for path in paths])


def _path(program: GroupProgram, points: list[CurvePoint]) -> GroupCurve:
    """The curve through points with the same jobs, dominated ones left out."""
    rising = points[:1]
    for point in points[1:]:
        if point.tonnes > rising[-1].tonnes + SAME_TONNES and point.cost < rising[-1].cost:
            rising.append(point)
    tonnes, cost = np.array([(p.tonnes, p.cost) for p in rising]).T
    return GroupCurve([program.schedule(p) for p in rising], tonnes, cost, np.ones(len(rising) - 1, dtype=bool))


def _of_its_own(program: GroupProgram, clean: CurvePoint, cheap: CurvePoint, asked: Asked) -> Asked:
    """The accuracy relative to the group's own lower curve: the fleet's does not tell what a single group can reach."""
    prices = np.geomspace(max(cheap.price, 1e-3 * clean.price), clean.price, SAMPLED + 2)[1:-1]
    found = [clean, *(program.at(float(price)) for price in prices), cheap]
    lines = np.array([(p.cost + p.price * p.tonnes, p.price) for p in found if p is not None])
    return replace(asked, value=lines[:, 0], price=lines[:, 1], gap=OWN_GAP * asked.gap)


def points_between(program: GroupProgram, clean: CurvePoint, cheap: CurvePoint, asked: Asked) -> Iterator[CurvePoint]:
    """Further points between two, where the accuracy asked for needs them.

    The next price is the slope of the chord (Aneja and Nair 1979). Where that gives no new set of jobs between two that
    differ in several, the half with the least reduced costs is exchanged; where they differ in one, or nothing is found
    between, the curves of both sets are followed until they cross.
    """
    more, saved, differ = cheap.tonnes - clean.tonnes, clean.cost - cheap.cost, np.flatnonzero(clean.jobs != cheap.jobs)
    if more <= SAME_TONNES or saved <= 0.0 or (hole := asked.hole(clean, cheap)) <= asked.gap:
        return
    if hole <= CLOSE * asked.gap and asked.exhausted(clean) and asked.exhausted(cheap):
        return
    point = None
    if len(differ) == 0:
        point = program.at(saved / more, clean.jobs)
        if point is None or _below(point, clean, cheap) <= LITTLE * asked.gap / asked.groups:
            return
    elif len(differ) > 1:
        point = program.at(saved / more) if len(differ) >= SEVERAL else None
        if point is None or any((point.jobs == end.jobs).all() for end in (clean, cheap)):
            half = clean.jobs.copy()
            best = differ[np.argsort(clean.reduced[differ], kind="stable")[: len(differ) // 2]]
            half[best] = cheap.jobs[best]
            point = program.at(saved / more, half)
    if point is not None and clean.tonnes + SAME_TONNES < point.tonnes < cheap.tonnes - SAME_TONNES:
        yield from points_between(program, clean, point, asked)
        yield point
        yield from points_between(program, point, cheap, asked)
    elif len(differ):
        yield from _meet(program, clean, cheap, asked)


def _below(point: CurvePoint, clean: CurvePoint, cheap: CurvePoint) -> float:
    """Distance of a point below the chord of two others, USD."""
    share = (point.tonnes - clean.tonnes) / (cheap.tonnes - clean.tonnes)
    return clean.cost + share * (cheap.cost - clean.cost) - point.cost


def _meet(program: GroupProgram, clean: CurvePoint, cheap: CurvePoint, asked: Asked) -> Iterator[CurvePoint]:
    """Points with the jobs of the clean end up to where the curve with those of the cheap end is below, then those."""
    upward, downward = program.at(cheap.price / BEYOND, clean.jobs), program.at(BEYOND * clean.price, cheap.jobs)
    if upward is None or downward is None:
        return
    left = [clean, *points_between(program, clean, upward, asked), upward]
    right = [downward, *points_between(program, downward, cheap, asked), cheap]
    first = max(clean.tonnes, downward.tonnes)
    at = first + CROSSED * (cheap.tonnes - first)
    without, with_ = (np.interp(at, *np.array([(p.tonnes, p.cost) for p in path]).T) for path in (left, right))
    change = float(at[np.argmax(without > with_)]) if (without > with_).any() else cheap.tonnes
    yield from [p for p in left[1:] if p.tonnes < change - SAME_TONNES]
    yield from _on(left, change - SAME_TONNES)
    yield from _on(right, change + SAME_TONNES)
    yield from [p for p in right[:-1] if p.tonnes > change + SAME_TONNES]


def _on(path: list[CurvePoint], tonnes: float) -> Iterator[CurvePoint]:
    """The convex combination of two neighbours on a path that emits so much (t), if there is one."""
    for a, b in pairwise(path):
        if a.tonnes < tonnes < b.tonnes:
            share = (tonnes - a.tonnes) / (b.tonnes - a.tonnes)
            yield replace(a, x=a.x + share * (b.x - a.x), tonnes=tonnes, cost=a.cost + share * (b.cost - a.cost))
            return


def mix(one: Schedule, other: Schedule, share: float) -> Schedule:
    """(1 - share) of one schedule plus `share` of another with the same integers; import and export at once cancel."""
    values = {f.name: getattr(one, f.name) for f in one.columns()}
    values |= {k: v + share * (getattr(other, k) - v) for k, v in values.items() if v.dtype.kind == "f"}
    both = np.minimum(values["import_mw"], values["export_mw"])
    return Schedule(**values | dict(import_mw=values["import_mw"] - both, export_mw=values["export_mw"] - both))
