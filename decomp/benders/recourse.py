"""A site's recourse: what a given load under a given carbon allowance costs, and a Benders cut on it.

The linear relaxation of one site with its load fixed, kept warm in HiGHS; only bounds and a few costs change. It
always has an answer: inference may be dropped at what it is worth, and emissions beyond the allowance are priced.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import highspy
import numpy as np

from decomp.lp.highs import run_lp, safe_bound, to_highs
from decomp.model.instance import Array
from decomp.ranks.team import ROOT
from decomp.ranks.workers import Service, Workers
from decomp.site.oracle import SiteAnswer, SiteOracle
from decomp.site.relaxation import relaxed_site
from decomp.site.service import Given, SiteAnswers, SiteService


class Recourse:
    """The recourse of a site, whose `oracle` answers prices.

    The site's relaxation with one more row a period, the load it is given, and one for its emissions. Commitments are
    free: their prices in a cut are zero.
    """

    def __init__(self, oracle: SiteOracle):
        grids, i, carbon_price = oracle.grids, oracle.i, oracle.carbon_price
        self.carbon_price, self.committed, self.n_links = carbon_price, oracle.committed, len(oracle.most)
        self.model = model = relaxed_site(grids, i, oracle.period_h)
        self.capacity = grids.sites.capacity_gpu[i]
        self.pieces = np.stack([where for name, where in model.columns.items() if name.startswith("load")])
        self.own_cost = model.cost + carbon_price * model.emission
        self.n_rows, n = model.matrix.shape
        self.given_rows = np.arange(self.n_rows, self.n_rows + len(self.capacity), dtype=np.int32)
        self.solver = to_highs(replace(model, cost=self.own_cost))
        self.solver.setOptionValue("presolve", "off")
        self.solver.setOptionValue("solver", "simplex")
        inf, ones = highspy.kHighsInf, np.ones(len(self.pieces))
        self.solver.addCol(0.0, 0.0, inf, 0, np.zeros(0, dtype=np.int32), np.zeros(0))
        for piece in self.pieces.T:
            self.solver.addRow(-inf, inf, len(piece), piece.astype(np.int32), ones)
        emitting = np.append(np.flatnonzero(model.emission), n).astype(np.int32)
        self.solver.addRow(-inf, inf, len(emitting), emitting, np.append(model.emission, -1.0)[emitting])

    def evaluate(self, given: Given) -> SiteAnswer:
        """Cheapest relaxed dispatch of what is given."""
        started = time.perf_counter()
        solver, model = self.solver, self.model
        high = np.minimum(given.load, self.capacity)
        low = np.clip(given.load - given.droppable, 0.0, high)
        columns = self.pieces.ravel().astype(np.int32)
        solver.changeColsCost(len(columns), columns, (self.own_cost[self.pieces] - given.drop_price).ravel())
        solver.changeColCost(len(model.cost), float(given.excess_price))
        for row, least, most in zip(self.given_rows, low, high, strict=True):
            solver.changeRowBounds(int(row), float(least), float(most))
        solver.changeRowBounds(int(self.given_rows[-1]) + 1, -highspy.kHighsInf, float(given.allowance))
        optimal = run_lp(solver, small=True, warm=True)
        solution = solver.getSolution()
        n_duals = self.n_rows + len(self.given_rows) + 1
        duals = np.array(solution.row_dual) if solution.dual_valid else np.zeros(n_duals)
        lower, price, carbon_price = self._cut(duals, given.drop_price)
        if not optimal:
            return SiteAnswer(lower, None, np.nan, np.nan, price, carbon_price, time.perf_counter() - started)
        x = np.clip(np.array(solution.col_value)[: len(model.cost)], model.low, model.high)
        emissions = float(model.emission @ x)
        cost = float(model.cost @ x) + self.carbon_price * emissions
        load = self._links(np.append(x[self.pieces].sum(axis=0), x[self.committed]))
        return SiteAnswer(lower, load, cost, emissions, price, carbon_price, time.perf_counter() - started)

    def _cut(self, duals: Array, drop_price: Array) -> tuple[float, Array, float]:
        """The cut that any duals prove; what the rows of load and emissions are worth are its slopes."""
        model, carbon_price = self.model, max(-float(duals[-1]), 0.0)
        cost = model.cost + (self.carbon_price + carbon_price) * model.emission
        price = duals[self.given_rows] + drop_price
        cost[self.pieces] -= price
        return safe_bound(model, cost, duals[: self.n_rows]), self._links(price), carbon_price

    def _links(self, values: Array) -> Array:
        """Values of load, and maybe commitments, as long as the links of the site; zero for those it does not have."""
        return np.append(values, np.zeros(self.n_links - len(values)))


@dataclass(frozen=True)
class Recourses:
    """A rank's sites are asked what the load and the allowance cost that they are given."""

    given: Given


class RecourseService(Service):
    """The recourse of the own sites, on every rank; each is built when it is first needed."""

    def __init__(self, workers: Workers) -> None:
        super().__init__(workers)
        self.sites = workers.of(SiteService)
        self.recourses: dict[int, Recourse] = {}

    def serve(self, request: Recourses) -> None:
        self._evaluate(request)

    def evaluate(self, given: Given) -> SiteAnswers:
        """Ask every site what a load under a carbon allowance costs. Root only."""
        requests = [Recourses(given.take(self.sites.owner == rank)) for rank in range(self.team.size)]

        def own() -> SiteAnswers:
            table, n = self._evaluate(requests[ROOT]), self.sites.n_links
            assert table is not None
            lower, cost, emissions, carbon_price, seconds = table[:, :5].T
            return SiteAnswers(lower, table[:, 5 + n :], cost, emissions, table[:, 5 : 5 + n], carbon_price, seconds)

        return self.workers.deal(RecourseService, requests, own)

    def _evaluate(self, request: Recourses) -> Array | None:
        sites, n = self.sites, self.sites.n_links
        table = np.full((len(sites.own), 2 * n + 5), np.nan)  # stays so where a site fails
        with self.team.sheet.section("recourse"):
            for k, i in enumerate(sites.own):
                given = request.given.take(k)
                try:
                    answer = self._recourse(int(i)).evaluate(given)
                except Exception as error:
                    wrong = f"recourse: {type(error).__name__}: {error}"
                    sites.faults.note(int(i), sites.oracles[int(i)], wrong, given.drop_price, 0.0)
                    continue
                table[k, :5] = answer.lower, answer.cost, answer.emissions, answer.carbon_price, answer.seconds
                table[k, 5 : 5 + n] = answer.price
                if answer.load is not None:
                    table[k, 5 + n :] = answer.load
        return self.team.gather_rows(table, sites.owner)

    def _recourse(self, i: int) -> Recourse:
        if i not in self.recourses:
            self.recourses[i] = Recourse(self.sites.oracles[i])
        return self.recourses[i]
