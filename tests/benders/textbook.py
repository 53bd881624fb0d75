"""Benders as textbooks have it, jobs fixed: an independent way to the same value.

The master is a linear program in HiGHS with explicit routing, one cost-to-go a site and no stabilisation. It proposes
an extreme point, every site answers with a cut, and so on; recourse and cuts are those of `benders`.
"""

from __future__ import annotations

from collections.abc import Iterator

import highspy
import numpy as np
from scipy.sparse import bmat, csc_matrix, csr_matrix, identity, kron

from decomp.benders.recourse import RecourseService
from decomp.bound.coupling import Coupling, Fixing
from decomp.lp.block import Model
from decomp.lp.highs import run_lp, to_highs
from decomp.model.instance import Array
from decomp.ranks.workers import Workers
from decomp.schedule.dive import fixed_load
from decomp.site.oracle import SiteAnswer
from decomp.site.service import Given, SiteService

FREE_T = 1e9  # bound of an allowance, t


def textbook_benders(
    c: Coupling, workers: Workers, fixing: Fixing, excess_price: float
) -> Iterator[tuple[float, float]]:
    """Lower bound and least cost so far (USD; inf until one keeps the budget) after each iteration.

    `excess_price` is what a tonne beyond a site's allowance costs its recourse, USD/t.
    Without pools only; ends when HiGHS fails.
    """
    if len(c.pools.work):
        raise ValueError("instances with pools are not compared")
    n_sites, n = c.capacity.shape
    model = _master(c, fixing, workers.of(SiteService).evaluate(np.zeros_like(c.capacity), 0.0).lower)
    solver, best = to_highs(model), np.inf
    jobs = float(np.append(c.jobs.cost, 0.0)[fixing.run].sum())
    while True:
        if not run_lp(solver, warm=True):
            return
        x = np.array(solver.getSolution().col_value)
        lower = solver.getInfo().objective_function_value + jobs
        load, allowance = x[model.columns["load"]].reshape(n_sites, n), x[model.columns["allowance"]]
        inference = np.maximum(load - fixed_load(c, fixing.run, fixing.start), 0.0)
        dear = np.full_like(load, float(c.streams.unserved.max() - min(c.streams.cost.min(), 0.0)))
        answers = workers.of(RecourseService).evaluate(
            Given(load, inference, dear, allowance, np.full(n_sites, excess_price))
        )
        cost = lower - float(x[model.columns["to_go"]].sum()) + float(answers.cost.sum())
        cost += float((dear * (load - answers.load)).sum())
        if answers.emissions.sum() <= c.budget * (1.0 + 1e-9):
            best = min(best, cost)
        for i, answer in enumerate(answers):
            _add_cut(solver, model, i, n, answer)
        yield lower, best


def _master(c: Coupling, fixing: Fixing, least: Array) -> Model:
    """Routing, unserved demand, loads, allowances and costs-to-go above `least`; rows (C1), (1), (C3)."""
    (n_sites, n), arcs, streams = c.capacity.shape, len(c.streams.site), len(c.streams.unserved)
    fixed = fixed_load(c, fixing.run, fixing.start)
    owner = np.repeat(np.arange(streams), np.diff(c.streams.ptr))
    ones, each = np.ones(arcs), identity(n)
    by_stream = kron(csr_matrix((ones, (owner, np.arange(arcs))), shape=(streams, arcs)), each)
    by_site = kron(csr_matrix((ones, (c.streams.site, np.arange(arcs))), shape=(n_sites, arcs)), each)
    total = csr_matrix(np.ones((1, n_sites)))
    loads, budget = identity(n_sites * n), min(c.budget, n_sites * FREE_T)
    matrix = bmat(
        [
            [by_stream, identity(streams * n), None, None, None],
            [by_site, None, -loads, None, None],
            [None, None, None, total, csr_matrix((1, n_sites))],
        ]
    )
    sizes = [arcs * n, streams * n, n_sites * n, n_sites, n_sites]
    names = ("routed", "unserved", "load", "allowance", "to_go")
    columns = dict(zip(names, np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]), strict=True))
    cost, low, high = np.zeros(sum(sizes)), np.zeros(sum(sizes)), np.full(sum(sizes), highspy.kHighsInf)
    cost[columns["routed"]] = np.repeat(c.streams.cost, n)
    cost[columns["unserved"]] = np.repeat(c.streams.unserved, n)
    cost[columns["to_go"]], low[columns["to_go"]] = 1.0, least
    high[columns["load"]] = np.maximum(c.usable, fixed).ravel()
    low[columns["allowance"]], high[columns["allowance"]] = -FREE_T, FREE_T
    row_low = np.concatenate([c.streams.demand.ravel(), -fixed.ravel(), [-highspy.kHighsInf]])
    row_high = np.concatenate([c.streams.demand.ravel(), -fixed.ravel(), [budget]])
    none = np.zeros(sum(sizes))
    return Model(
        csc_matrix(matrix), low, high, cost, none, none > 0, row_low, row_high, columns, np.zeros((0, 3), dtype=int)
    )


def _add_cut(solver: highspy.Highs, model: Model, i: int, n: int, answer: SiteAnswer) -> None:
    """to_go - price . load + carbon_price * allowance >= lower, for site i."""
    at = [model.columns["load"][i * n : (i + 1) * n], model.columns["allowance"][i : i + 1]]
    index = np.concatenate([*at, model.columns["to_go"][i : i + 1]]).astype(np.int32)
    value = np.concatenate([-answer.price, [answer.carbon_price, 1.0]])
    solver.addRow(answer.lower, highspy.kHighsInf, len(index), index, value)
