"""The proximal master of the bundle method, as the root sees it.

It maximises the cutting-plane model of the dual minus a quadratic term around a centre (price, carbon price). Solved is
the primal of that problem, an augmented Lagrangian over convex weights of the sites' columns, routing, starts of jobs
and pools. Its residual r, load assigned to a site minus load that its columns carry, gives the prices:
price = centre + step * weight * r.

Columns and work are held by parts (`decomp.bound.master_part`), one on each of the first ranks.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from decomp.bound.coupling import Coupling, Fixing
from decomp.bound.layout import Layout, ProximalStep, periods_alone
from decomp.bound.master_part import COLUMNS
from decomp.bound.multipliers import Multipliers
from decomp.bound.part_service import PartService
from decomp.model.instance import Array
from decomp.ranks.workers import Workers
from decomp.site.service import SiteAnswers

NUMBERS = count()
RISKY = 0.01  # share of their range by which weights of scenarios move, at a step of one, with a typical net cost


@dataclass(frozen=True)
class Proposal:
    """The maximiser of the proximal master: the prices to ask the sites at next.

    Attributes
    ----------
    model : value of the cutting-plane model at `prices`, USD, not below the dual function.
    terms : its part of work and budget, which is exact, USD.
    unweighed : by how much the master's schedule costs more at the weights of scenarios that are worst for it, USD.
    passes : of the block-coordinate method.
    """

    prices: Multipliers
    model: float
    terms: float
    unweighed: float
    passes: int


@dataclass(frozen=True)
class RelaxedWork:
    """The work in the master's primal solution, in the order of the coupling's rows.

    Attributes
    ----------
    routed : (arc, T) GPU. pooled : (pool arc, T) GPU.
    run, start, share : (job, atom) candidate row (-1: rejected), first period and convex weight of each run in use.
    """

    routed: Array
    pooled: Array
    run: Array
    start: Array
    share: Array


@dataclass(frozen=True)
class Scales:
    """What is typical: a price of load, USD per GPU and period; emissions of the fleet, t; its net cost, USD."""

    price: float
    tonnes: float
    cost: float

    def weights(self, c: Coupling) -> tuple[Array, Array, float]:
        """Proximal weights of links (S, .), of budgets (B,) and of scenarios."""
        scale = self.price + 1e-9  # there may be no money at all
        likely = c.copies * np.repeat(c.probability, c.n_places)[:, None]  # prices are, as much
        links = scale * likely / np.maximum(c.capacity, 1e-3 * c.capacity.max() or 1.0)
        if c.lines:  # a commitment is worth what it makes of so much load
            worth = scale * likely * c.capacity.mean(axis=1, keepdims=True)
            links = np.hstack([links, np.repeat(worth, c.lines * c.n_periods, axis=1)])
        share = c.probability if c.in_every else np.ones(1)
        return links, 500.0 / (self.tonnes * share), RISKY * (c.risk.high - c.risk.low) / self.cost


class Master:
    """Column model of the sites, exact model of the work, and the proximal subproblem over both. Root only."""

    def __init__(
        self,
        coupling: Coupling,
        workers: Workers,
        prices: Multipliers,
        scales: Scales,
        part_size: int,
    ):
        """`prices` : the first ones. `part_size` : see `Layout.of`."""
        self.coupling, self.parts = coupling, workers.of(PartService)
        self.price, self.reached = prices.links.copy(), prices
        self.weight, self.carbon_weight, self.risk_weight = scales.weights(coupling)
        self.step = 1.0
        self.fixing = Fixing(*coupling.free_jobs())
        self.held = np.zeros(len(self.price), dtype=np.int64)  # columns of each site
        self.layout = Layout.of(coupling.capacity.shape, part_size, workers.team.size)
        self._centre: Array | None = None  # of the last proposal
        self._number = next(NUMBERS)
        weakref.finalize(self, self.parts.forgotten.append, self._number)
        self._tell(
            "found",
            [
                (self.layout, periods_alone(coupling, self.layout.periods_of(rank)), self.weight, self.price)
                for rank in range(self.layout.ranks)
            ],
        )

    def _ask(self, method: str, each: Sequence[tuple[Any, ...]]) -> list[Any]:
        return self.parts.call(self._number, method, each)

    def _tell(self, method: str, each: Sequence[tuple[Any, ...]]) -> None:
        self.parts.tell(self._number, method, each)

    def _all(self, method: str, *arguments: Any) -> list[Any]:
        """Ask all parts the same."""
        return self._ask(method, [arguments] * self.layout.ranks)

    def _deal(self, method: str, *rows: Array) -> Array:
        """Ask every part about its own sites' rows; the answers in site order."""
        own = [self.layout.rows_of(rank) for rank in range(self.layout.ranks)]
        parts = self._ask(method, [tuple(r[sites] if np.ndim(r) else r for r in rows) for sites in own])
        found = np.empty((len(self.held), *parts[0].shape[1:]))
        for sites, part in zip(own, parts, strict=True):
            found[sites] = part
        return found

    @property
    def n_columns(self) -> int:
        return int(self.held.sum())

    def add(self, answers: SiteAnswers) -> None:
        """Take one answer per site into the bundle. The parts hold the prices of the last proposal."""
        self.held = np.minimum(self.held + ~np.isnan(answers.load[:, 0]), COLUMNS)
        sent = replace(answers, price=None) if answers.price is self.price else answers
        self._tell("add", [(sent.take(self.layout.rows_of(rank)),) for rank in range(self.layout.ranks)])

    def model(self, prices: Multipliers) -> tuple[float, Array]:
        """Value of the cutting-plane model at prices, USD, and its parts by site (S,): not below the dual function."""
        sites = self._deal("least_value", prices.links, *prices.of_rows())
        fixed = (self.fixing.run, self.fixing.start)
        return float(sites.sum()) + self.coupling.dual_terms(prices, fixed), sites

    def least_cost(self, load: Array, allowance: Array) -> Array:
        """Proven least cost (S,), USD, of loads (S, T) GPU under carbon allowances (S,) t, by the bundle's cuts."""
        return self._deal("least_cost", load, allowance)

    def means(self) -> tuple[Array, Array]:
        """Cost (USD) and emissions (t) of each site's convex combination of columns, (S,) each."""
        cost, tonnes = self._deal("means").T
        return cost, tonnes

    def most_used(self, k: int) -> Array:
        """Prices at which each site gave its k columns of largest weight, (S, k, T) USD per GPU and period."""
        return self._deal("most_used", np.asarray(k))

    def propose(self, centre: Multipliers, *, accuracy: float, max_passes: int) -> Proposal:
        """Maximise model minus proximal term around a centre, until the gap is `accuracy` of the promised rise."""
        c, links = self.coupling, centre.links
        step = ProximalStep(
            size=self.step,
            carbon_centre=centre.carbon,
            weight_centre=centre.weight,
            carbon_size=self.step * self.carbon_weight * (c.carbon_cap > 0),
            risk_size=self.step * self.risk_weight,
            budgets=c.budgets,
            carbon_cap=c.carbon_cap,
            accuracy=accuracy,
            max_passes=max_passes,
        )
        reached = links is self.price
        new = None if reached or links is self._centre else links
        orders = [(new, reached, step)] * self.layout.ranks
        found = self.parts.call(self._number, "propose_together", orders, answered=1)
        prices, value, terms, unweighed, passes = found[0]
        self._centre = links
        self.price, self.reached = prices.links, prices
        return Proposal(prices, value, terms, unweighed, passes)

    def residual(self) -> Array:
        """Load put on the sites less the load that their columns carried in the last proposal, (S, T) GPU."""
        assert self._centre is not None
        return np.asarray((self.price - self._centre) / (self.step * self.weight))

    def work(self) -> RelaxedWork:
        """The work in the present primal solution."""
        routed = np.concatenate(self._all("own_routing"), axis=1)
        own = self.parts.parts[self._number]
        return RelaxedWork(routed, own.pooled.copy(), own.run.copy(), own.start.copy(), own.share.copy())

    def set_work(self, work: RelaxedWork) -> None:
        """Start the next proposal from this work."""
        placed = work.routed, work.pooled, work.run, work.start, work.share
        self._tell("set_work", [placed] * self.layout.ranks)

    def columns(self) -> dict[str, Array]:
        """The columns of all sites in site order; see `MasterPart.columns`."""
        parts = self._all("columns")
        order = np.argsort(np.concatenate([part["site"] for part in parts]), kind="stable")
        return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}

    def set_columns(self, columns: Mapping[str, Array], weight: Array) -> None:
        """Go back to where `columns` was called, with the proximal weights (S, T) of then."""
        self.weight = weight
        self.held = np.bincount(columns["site"], minlength=len(self.held))
        turn = columns["site"] % self.layout.ranks
        ranks = range(self.layout.ranks)
        self._tell("set_columns", [({name: rows[turn == r] for name, rows in columns.items()}, weight) for r in ranks])

    def reweigh(self, weight: Array) -> None:
        """Set the proximal weights of links (S, .) for the next proposals."""
        self.weight = weight
        self._tell("reweigh", [(weight,)] * self.layout.ranks)

    def fix_jobs(self, fixing: Fixing) -> None:
        """Fix jobs to runs (FREE leaves a job as it is); their relaxed starts move there at once."""
        self.fixing = Fixing(fixing.run.copy(), fixing.start.copy())
        self._tell("fix_jobs", [(self.fixing.run, self.fixing.start)] * self.layout.ranks)
