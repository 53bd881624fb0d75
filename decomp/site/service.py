"""What ranks are asked about the sites they own: their answers at prices, their integral dispatch."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from decomp.files.atomic import PathLike
from decomp.lp.highs import Effort
from decomp.lp.watch import Interrupted
from decomp.model.instance import Array, InputError, Instance, Microgrids
from decomp.ranks.team import NOT_DONE, ROOT, Placement
from decomp.ranks.workers import Service, Workers
from decomp.site.faults import FaultBook, objection
from decomp.site.grid_ban import Ban
from decomp.site.oracle import Plan, SiteAnswer, SiteOracle, SiteRows

SiteReader = Callable[[Array], Microgrids]


@dataclass(frozen=True)
class SiteAnswers:
    """One answer per site, in site order: arrays (S,); load and price (S, .); load is NaN where a site failed.

    `price` None: for a reader who holds the prices.
    """

    lower: Array
    load: Array
    cost: Array
    emissions: Array
    price: Array | None
    carbon_price: Array
    seconds: Array

    def __iter__(self) -> Iterator[SiteAnswer]:
        assert self.price is not None
        for i in range(len(self.lower)):
            load = None if np.isnan(self.load[i, 0]) else self.load[i]
            price, carbon_price = self.price[i], float(self.carbon_price[i])
            yield SiteAnswer(self.lower[i], load, self.cost[i], self.emissions[i], price, carbon_price, self.seconds[i])

    def take(self, rows: Any) -> SiteAnswers:
        """The answers of some sites (an index of arrays)."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: column[rows] for name, column in columns.items() if column is not None})


@dataclass(frozen=True)
class Given:
    """What one site, or every site (arrays with one more axis in front), is given.

    `load` (T,) GPU, of which `droppable` may be left out at `drop_price` (USD per GPU and period); an `allowance`
    (t, may be infinite) beyond which a tonne costs `excess_price` (USD/t).
    """

    load: Array
    droppable: Array
    drop_price: Array
    allowance: Array
    excess_price: Array

    def take(self, rows: Any) -> Given:
        """The shares of some sites (an index of arrays), or of one."""
        return Given(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class Dispatch:
    """A request for the integral dispatch of a site at a given load (see SiteRows.evaluate_fixed); ready to travel.

    `rows` : of the site, for a rank that does not own it.
    """

    site: int
    load: Array
    droppable: Array
    drop_price: Array
    carbon_price: float
    effort: Effort
    rows: SiteRows | None = None


def plan_of(sites: SiteService, r: Dispatch) -> Plan | None:
    """What is asked for; None where there is no such dispatch."""
    rows = r.rows or sites.rows_of(r.site)
    return rows.evaluate_fixed(r.load, r.droppable, r.drop_price, r.carbon_price, effort=r.effort)


@dataclass(frozen=True)
class Evaluate:
    """A rank's sites are asked at prices: their rows (own, .) of links, see `Multipliers`, and (own,) USD/t."""

    price: Array
    carbon_price: Array


@dataclass(frozen=True)
class Weigh:
    """From now on sites weigh costs by `money` and emissions by `carbon` (USD/t)."""

    money: float
    carbon: float


@dataclass(frozen=True)
class TreatBan:
    """From now on sites treat the ban on importing and exporting at once so in their answers to prices."""

    ban: Ban


class Shortages:
    """All sites are asked for the energy they miss at every load."""


@dataclass(frozen=True)
class Fleet:
    """What every rank knows of the whole fleet; `carbon_price` in USD/t.

    `lines` : day-ahead generators of a site whose commitments have prices, see `SiteOracle`.
    """

    n_sites: int
    n_periods: int
    period_h: float
    carbon_price: float
    lines: int

    @classmethod
    def of(cls, instance: Instance) -> Fleet:
        """That of an instance."""
        price, lines = instance.carbon_price_usd_per_t, instance.day_ahead_lines
        return cls(instance.n_sites, instance.n_periods, instance.period_h, price, lines)


class SiteService(Service):
    """The oracles of the own sites, on every rank.

    Parameters
    ----------
    workers : of the run.
    read : returns the rows of given sites; each rank reads its own only.
    beside : files on sites that fail are named after this one; see `FaultBook`.
    """

    def __init__(self, workers: Workers, read: SiteReader, fleet: Fleet, beside: PathLike | None):
        super().__init__(workers)
        self.n_links = fleet.n_periods * (1 + fleet.lines)
        self.n_sites, self.n_periods, self.carbon_price = fleet.n_sites, fleet.n_periods, fleet.carbon_price
        self.owner = np.arange(fleet.n_sites) % self.team.size
        self.own = np.flatnonzero(self.owner == self.team.rank)
        self.faults = FaultBook(beside)
        grids = self._read_own(read)
        with self.team.sheet.section("sites"):
            self.oracles = {
                int(i): SiteOracle(grids, k, fleet.period_h, fleet.carbon_price, fleet.lines)
                for k, i in enumerate(self.own)
            }
        self.plan_seconds = np.zeros(fleet.n_sites)  # of each site's last dispatch

    def rows_of(self, i: int) -> SiteRows:
        """The rows of an own site."""
        oracle = self.oracles[i]
        return SiteRows(oracle.grids, oracle.i, oracle.period_h, oracle.carbon_price)

    def _read_own(self, read: SiteReader) -> Microgrids:
        """This rank's rows; if one rank cannot read its own, all say so together."""
        failure, grids = None, None
        try:
            grids = read(self.own)
        except (InputError, OSError) as error:
            failure = f"rank {self.team.rank} on {socket.gethostname()} cannot read its sites: {error}"
        failures = [text for text in self.team.gather(failure, "reading the sites") or [] if text]

        def refuse() -> None:
            if failures:
                raise InputError(failures[0])

        self.team.at_root(refuse, "reading the sites")
        assert grids is not None
        return grids

    def serve(self, request: Evaluate | Weigh | TreatBan | Shortages) -> None:
        if isinstance(request, Evaluate):
            self._evaluate(request)
        elif isinstance(request, Weigh):
            self._weigh(request)
        elif isinstance(request, TreatBan):
            self._treat_ban(request)
        else:
            self._shortages()

    def evaluate(self, price: Array, carbon_price: float | Array) -> SiteAnswers:
        """Ask every site at prices of its links (S, .), see `Multipliers`, and of carbon (S,), USD/t. Root only."""
        tonne = np.full(self.n_sites, 1.0) * carbon_price

        mine = [self.owner == rank for rank in range(self.team.size)]
        requests = [Evaluate(price[own_rows], tonne[own_rows]) for own_rows in mine]

        def own() -> SiteAnswers:
            table = self._evaluate(requests[ROOT])
            assert table is not None
            return SiteAnswers(table[:, 0], table[:, 4:], table[:, 1], table[:, 2], price, tonne, table[:, 3])

        return self.workers.deal(SiteService, requests, own)

    def _evaluate(self, request: Evaluate) -> Array | None:
        rows = np.full((len(self.own), self.n_links + 4), np.nan)
        with self.team.sheet.section("sites"):
            for k, i in enumerate(self.own):
                answer = self._ask(int(i), request.price[k], float(request.carbon_price[k]))
                rows[k, :4] = answer.lower, answer.cost, answer.emissions, answer.seconds
                if answer.load is not None:
                    rows[k, 4:] = answer.load
        return self.team.gather_rows(rows, self.owner)

    def _ask(self, i: int, price: Array, carbon_price: float) -> SiteAnswer:
        """The answer of an own site, or what its last duals prove if there is none that can be right."""
        oracle = self.oracles[i]
        try:
            answer = oracle.evaluate(price, carbon_price)
            wrong = objection(answer, oracle.most, price, carbon_price)
        except Interrupted:
            return oracle.fallback(price, carbon_price)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if not wrong:
            return answer
        self.faults.note(i, oracle, wrong, price, carbon_price)
        return oracle.fallback(price, carbon_price)

    @contextmanager
    def weighing(self, money: float, carbon: float) -> Iterator[None]:
        """Inside, `evaluate` weighs the sites' costs by `money` and their emissions by `carbon` (USD/t). Root only."""
        self._order_weights(Weigh(money, carbon))
        try:
            yield
        finally:
            self._order_weights(Weigh(1.0, self.carbon_price))

    def _order_weights(self, weights: Weigh) -> None:
        self.workers.ask(SiteService, weights, partial(self._weigh, weights))

    def _weigh(self, weights: Weigh) -> None:
        for oracle in self.oracles.values():
            oracle.weigh(weights.money, weights.carbon)

    def treat_ban(self, ban: Ban) -> None:
        """Have all answers to prices treat the ban on importing and exporting at once (5) so. Root only."""
        order = TreatBan(ban)
        self.workers.ask(SiteService, order, partial(self._treat_ban, order))

    def _treat_ban(self, order: TreatBan) -> None:
        for oracle in self.oracles.values():
            oracle.treat_ban(order.ban)

    def shortages(self) -> Array:
        """Proven least energy, MWh, by which each site (S,) misses its power balance at every load. Root only."""
        found = self.workers.ask(SiteService, Shortages(), self._shortages)
        assert found is not None
        return found[:, 0]

    def _shortages(self) -> Array | None:
        rows = np.array([[self.oracles[int(i)].shortage()] for i in self.own]).reshape(len(self.own), 1)
        return self.team.gather_rows(rows, self.owner)

    def dispatch(self, instance: Instance, requests: Sequence[Dispatch]) -> list[Plan | None]:
        """Integral dispatch of sites, each by whoever is free, in the order asked; None where it fails. Root only.

        Some sites take fifty times as long as others: those that took longest the last time start first. Only to a
        rank that does not own the site do the instance's rows of it travel.

        Raises
        ------
        Interrupted : a stop signal came in between, or the time is over.
        """
        place = Placement(lambda r: int(self.owner[r.site]), lambda r: replace(r, rows=SiteRows.of(instance, r.site)))
        order = np.argsort([-self.plan_seconds[r.site] for r in requests], kind="stable")
        answers = self.workers.answers(
            plan_of, [requests[k] for k in order], self.workers.until, "dispatch", SiteService, place
        )
        plans: list[Plan | None] = [None] * len(requests)
        for k, answer in zip(order, answers, strict=True):
            if answer.error == NOT_DONE:
                raise Interrupted
            if answer.error:
                self._note(instance, requests[k], f"dispatch: {answer.error}")
            plans[k], self.plan_seconds[requests[k].site] = answer.value, answer.seconds
        return plans

    def _note(self, instance: Instance, r: Dispatch, what: str) -> None:
        rows = SiteRows.of(instance, r.site)
        oracle = SiteOracle(rows.grids, rows.i, rows.period_h, rows.carbon_price)
        self.faults.note(r.site, oracle, what, r.drop_price, r.carbon_price)


def muster(
    instance: Instance | None, workers: Workers, read: SiteReader | None = None, beside: PathLike | None = None
) -> Workers:
    """Give the workers of a run the sites of an instance, on all ranks.

    Parameters
    ----------
    instance : at the root; other ranks may pass None.
    read : returns the microgrids of given sites; default takes them from the root's instance.
    beside : files on sites whose solver fails are named after this one (root only).
    """
    known: tuple[Fleet, PathLike | None, Microgrids | None] | None = None
    if instance is not None and workers.team.is_root:
        known = Fleet.of(instance), beside, instance.microgrids if read is None else None
    fleet, beside, grids = workers.team.bcast(known, "instance")
    if read is None:
        assert grids is not None
        read = grids.take
    workers.add(SiteService(workers, read, fleet, beside))
    return workers
