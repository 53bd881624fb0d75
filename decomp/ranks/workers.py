"""The crew: every rank's site oracles behind one voice at the root.

The root says what is to be done (`evaluate`, `recourse`); all ranks, the root included, do it for the
sites they own and the answers arrive at the root in site order; what needs no memory of a site goes to whoever is
free (`dispatch`, `farm`). The other ranks sit in `serve`.
A site that fails is an answer with a flag, never an exception between two collectives.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from decomp.benders.recourse import Recourse
from decomp.bound.master import PartOrder
from decomp.bound.master_part import Part
from decomp.files.hdf5 import PathLike
from decomp.model.instance import Array, Generators, InputError, Sites
from decomp.ranks.clock_decisions import Stops
from decomp.ranks.mpi import Team
from decomp.ranks.team import NOT_STARTED, Interrupted
from decomp.ranks.team import Answer as TaskAnswer
from decomp.ranks.timesheet import by_rank
from decomp.site.faults import FaultBook, objection
from decomp.site.oracle import Answer, Plan, SiteOracle
from decomp.site.service import Answers, Dispatch, Given, SiteReader, plan_of


class Crew:
    """All oracles of a run.

    Parameters
    ----------
    team : Serial or MPI.
    read : returns the rows of given sites; each rank reads its own only.
    n_sites, n_periods, period_h, carbon_price : of the fleet.
    beside : files on sites that fail are named after this one; see `FaultBook`.

    Attributes
    ----------
    end : when the time is over, seconds by the root's clock.
    until : when to begin no more dispatches; as long as there is no schedule to keep, that is never.
    """

    def __init__(
        self,
        team: Team,
        read: SiteReader,
        n_sites: int,
        n_periods: int,
        period_h: float,
        carbon_price: float = 0.0,
        beside: PathLike | None = None,
    ):
        self.team, self.n_sites, self.n_periods, self.carbon_price = team, n_sites, n_periods, carbon_price
        self.owner = np.arange(n_sites) % team.size
        self.own = np.flatnonzero(self.owner == team.rank)
        self.faults = FaultBook(beside)
        sites, generators = self._read_own(read)
        with team.sheet.section("sites"):
            self.oracles = {
                int(i): SiteOracle(sites, generators, k, period_h, carbon_price) for k, i in enumerate(self.own)
            }
        self.stops, self.end, self.until = Stops(), np.inf, np.inf
        self.recourses: dict[int, Recourse] = {}
        self.plan_seconds = np.zeros(n_sites)  # of each site's last dispatch
        self.parts: dict[int, Part] = {}  # of this rank in the masters there are
        self.dismissed = False
        self.forgotten: list[int] = []  # masters that are no more, for the parts to follow

    def _read_own(self, read: SiteReader) -> tuple[Sites, Generators]:
        """This rank's rows; if one rank cannot read its own, all say so together."""
        failure, tables = None, None
        try:
            tables = read(self.own)
        except (InputError, OSError) as error:
            failure = f"rank {self.team.rank} on {socket.gethostname()} cannot read its sites: {error}"
        failures = [text for text in self.team.gather(failure, "reading the sites") or [] if text]

        def refuse() -> None:
            if failures:
                raise InputError(failures[0])

        self.team.at_root(refuse, "reading the sites")
        assert tables is not None
        return tables

    def evaluate(self, price: Array, carbon_price: float) -> Answers:
        """Ask every site at prices (S, T) USD per GPU and period, and USD/t. Root only."""
        self.team.bcast(("evaluate", carbon_price))
        answers = self._evaluate(price, carbon_price)
        assert answers is not None
        return answers

    @contextmanager
    def weighing(self, money: float, carbon: float) -> Iterator[None]:
        """Inside, `evaluate` weighs the sites' costs by `money` and their emissions by `carbon` (USD/t). Root only."""
        self._order_weights(money, carbon)
        try:
            yield
        finally:
            self._order_weights(1.0, self.carbon_price)

    def _order_weights(self, money: float, carbon: float) -> None:
        self.team.bcast(("weigh", (money, carbon)))
        self._weigh(money, carbon)

    def _weigh(self, money: float, carbon: float) -> None:
        for oracle in self.oracles.values():
            oracle.weigh(money, carbon)

    def _evaluate(self, price: Array | None, carbon_price: float) -> Answers | None:
        mine = self.team.scatter_rows(price, self.owner)
        rows = np.full((len(self.own), self.n_periods + 4), np.nan)
        with self.team.sheet.section("sites"):
            for k, i in enumerate(self.own):
                answer = self._ask(int(i), mine[k], carbon_price)
                rows[k, :4] = answer.lower, answer.cost, answer.emissions, answer.seconds
                if answer.load is not None:
                    rows[k, 4:] = answer.load
        table = self.team.gather_rows(rows, self.owner)
        if table is None:
            return None
        assert price is not None
        same = np.full(self.n_sites, carbon_price)
        return Answers(table[:, 0], table[:, 4:], table[:, 1], table[:, 2], price, same, table[:, 3])

    def recourse(self, given: Given) -> Answers:
        """Ask every site what a load under a carbon allowance costs. Root only."""
        self.team.bcast(("recourse", None))
        answers = self._recourse(given)
        assert answers is not None
        return answers

    def _recourse(self, given: Given | None) -> Answers | None:
        mine = self.team.scatter_rows(None if given is None else given.rows(), self.owner)
        n = self.n_periods
        rows = np.full((len(self.own), 2 * n + 5), np.nan)  # stays so where a site fails
        with self.team.sheet.section("recourse"):
            for k, i in enumerate(self.own):
                given_here = Given.of(mine[k])
                try:
                    answer = self._recourse_of(int(i)).evaluate(given_here)
                except Exception as error:
                    wrong = f"recourse: {type(error).__name__}: {error}"
                    self.faults.note(int(i), self.oracles[int(i)], wrong, given_here.drop_price, 0.0)
                    continue
                rows[k, :5] = answer.lower, answer.cost, answer.emissions, answer.carbon_price, answer.seconds
                rows[k, 5 : 5 + n] = answer.price
                if answer.load is not None:
                    rows[k, 5 + n :] = answer.load
        table = self.team.gather_rows(rows, self.owner)
        if table is None:
            return None
        lower, cost, emissions, carbon_price, seconds = table[:, :5].T
        return Answers(lower, table[:, 5 + n :], cost, emissions, table[:, 5 : 5 + n], carbon_price, seconds)

    def _recourse_of(self, i: int) -> Recourse:
        """The recourse of an own site, built when it is first needed."""
        if i not in self.recourses:
            o = self.oracles[i]
            self.recourses[i] = Recourse(o.sites, o.generators, o.i, o.period_h, o.carbon_price)
        return self.recourses[i]

    def _ask(self, i: int, price: Array, carbon_price: float) -> Answer:
        """The answer of an own site, or what its last duals prove if there is none that can be right."""
        oracle = self.oracles[i]
        try:
            answer = oracle.evaluate(price, carbon_price)
            wrong = objection(answer, oracle.sites.capacity_gpu[oracle.i], price, carbon_price)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if not wrong:
            return answer
        self.faults.note(i, oracle, wrong, price, carbon_price)
        return oracle.fallback(price, carbon_price)

    def ask_parts(self, master: int, method: str, each: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of the first ranks' parts of a master, with arguments for each; what they return. Root only.

        Method "found" makes the parts. One part is the root's own, and no other rank hears of it.
        """
        if len(each) == 1:
            for number in self.forgotten:
                self.parts.pop(number, None)
            return [self._own_part(PartOrder(master, method, each[0], [], 0))]
        assert not self.dismissed, "the other ranks have left, with their parts of the master"
        gone, self.forgotten[:] = list(self.forgotten), []
        orders = [PartOrder(master, method, arguments, gone, self.team.meet()) for arguments in each]
        idle = [None] * (self.team.size - len(each))
        self.team.deal([("part", order) for order in [*orders, *idle]], "master")
        return (self._part(orders[0]) or [])[: len(each)]

    def _part(self, order: PartOrder | None) -> list[Any] | None:
        value = None
        if order is not None:
            self.team.meet(order.at)
            for number in order.gone:
                self.parts.pop(number, None)
            value = self._own_part(order)
        with self.team.sheet.section("master"):
            return self.team.gather(value, "master")

    def _own_part(self, order: PartOrder) -> Any:
        with self.team.sheet.section("master"):
            if order.method == "found":
                self.parts[order.master] = Part(self.team, *order.arguments)
                return None
            return getattr(self.parts[order.master], order.method)(*order.arguments)

    def shortages(self) -> Array:
        """Proven least energy, MWh, by which each site (S,) misses its power balance at every load. Root only."""
        self.team.bcast(("shortages", None))
        found = self._shortages()
        assert found is not None
        return found[:, 0]

    def _shortages(self) -> Array | None:
        rows = np.array([[self.oracles[int(i)].shortage()] for i in self.own]).reshape(len(self.own), 1)
        return self.team.gather_rows(rows, self.owner)

    def dispatch(self, requests: Sequence[Dispatch]) -> list[Plan | None]:
        """Integral dispatch of sites, each by whoever is free, in the order asked; None where it fails. Root only.

        Some sites take fifty times as long as others: those that took longest the last time start first.

        Raises
        ------
        Interrupted : a stop signal came in between, or the time is over.
        """
        order = np.argsort([-self.plan_seconds[r.site] for r in requests], kind="stable")
        answers = self.answers(plan_of, [requests[k] for k in order], self.until, "dispatch")
        plans: list[Plan | None] = [None] * len(requests)
        for k, answer in zip(order, answers, strict=True):
            if answer.error == NOT_STARTED:
                raise Interrupted
            if answer.error:
                self._note(requests[k], f"dispatch: {answer.error}")
            plans[k], self.plan_seconds[requests[k].site] = answer.value, answer.seconds
        return plans

    def _note(self, r: Dispatch, what: str) -> None:
        oracle = SiteOracle(r.rows.sites, r.rows.generators, r.rows.i, r.rows.period_h, r.rows.carbon_price)
        self.faults.note(r.site, oracle, what, r.drop_price, r.carbon_price)

    def farm(
        self, work: Callable[[Any], Any], tasks: Sequence[Any], until: float = np.inf, what: str = ""
    ) -> list[Any]:
        """Results of independent tasks, each on whoever is free, in the order asked. Root only.

        `work` is a function of a module; none is started after `until`, seconds by the root's clock. A task
        that failed or was not started gives None.
        """
        return [None if a.error else a.value for a in self.answers(work, tasks, until, what)]

    def answers(
        self, work: Callable[[Any], Any], tasks: Sequence[Any], until: float = np.inf, what: str = ""
    ) -> list[TaskAnswer]:
        """As `farm`, with what became of every task."""
        self.team.bcast(("farm", (work, what)))
        if not self.stops.replayed:
            answers = self.team.map_tasks(work, tasks, until=until, what=what)
            self.stops.ask(lambda: [k for k, a in enumerate(answers) if a.error == NOT_STARTED])
            return answers
        missed = self.stops.ask(list) or []
        started = np.setdiff1d(np.arange(len(tasks)), missed)
        answers = [TaskAnswer(None, NOT_STARTED, self.team.rank, 0.0)] * len(tasks)
        for k, answer in zip(started, self.team.map_tasks(work, [tasks[k] for k in started], what=what), strict=True):
            answers[k] = answer
        return answers

    def epoch(self, until: float) -> float:
        """A time by the root's clock in seconds of the epoch, since ranks share no other clock; inf in a replay."""
        return np.inf if self.stops.replayed else time.time() + until - self.team.clock()

    def rank_seconds(self) -> dict[str, list[float]]:
        """Seconds of every rank by what they went to. Root only."""
        self.team.bcast(("seconds", None))
        return by_rank(self.team.gather(self.team.sheet.read()) or [])

    def serve(self) -> None:
        """Do what the root says until it says stop."""
        patience: AbstractContextManager[None] = nullcontext()
        while True:
            with patience:
                order, argument = self.team.bcast(None)
            patience = self.team.patient() if order == "wait" else nullcontext()
            if order == "stop":
                return
            if order == "wait":
                continue
            if order == "evaluate":
                self._evaluate(None, argument)
            elif order == "recourse":
                self._recourse(None)
            elif order == "weigh":
                self._weigh(*argument)
            elif order == "part":
                self._part(argument)
            elif order == "shortages":
                self._shortages()
            elif order == "seconds":
                self.team.gather(self.team.sheet.read())
            else:
                work, what = argument
                self.team.map_tasks(work, what=what)

    def wait(self) -> None:
        """Until the next order the root is busy alone, and nobody is to give up on it. Root only."""
        self.team.bcast(("wait", None))

    def dismiss(self) -> None:
        """Let the other ranks leave `serve`. Root only."""
        self.dismissed = True
        self.team.bcast(("stop", None))
