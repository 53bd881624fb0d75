"""A small mixed-integer program: columns with finite bounds, rows, and lower bounds that need no trust.

Rows are `a x <= b` or `a x = b`. `safe_bound` turns any dual vector into a valid lower bound of the LP
relaxation, so neither a solver's status nor its objective is believed; `integer_bound` is HiGHS's
proven bound of the program with its integers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array, hstack, vstack

from decomp.model.instance import Array

DUAL_TOLERANCE = 1e-9
MOST_EXCLUDED = 20  # integers of points that are none, before a question is left open
MONEY = 1e3  # units that the largest cost is at least for HiGHS, whose tolerances are fixed
EMPTY = 1e-6  # least sum of violations (MW, MWh, ...) that is no rounding


class Verdict(NamedTuple):
    """Whether there is no such point, a point if one was found, and why neither is known."""

    none: bool
    point: Array | None
    open: str = ""


@dataclass
class Program:
    """min c x over the rows and low <= x <= high, some x integer; `ban` marks those that are only there to ban."""

    cost: Array
    low: Array
    high: Array
    integer: Array
    ban: Array
    matrix: csr_array
    right: Array
    equal: Array

    def safe_bound(self, dual: Array) -> float:
        """b'y + sum of min over [low, high] of (c - A'y) x, less a bound on its rounding errors.

        Valid for every `dual` (row,): entries of the wrong sign or not finite count as zero. In extended precision,
        where the machine has it: beside a million USD a GPU double precision leaves more open than is accepted.
        """
        y, reduced = self._priced(dual.astype(np.longdouble))
        value = self.right @ y + (reduced * np.where(reduced > 0, self.low, self.high)).sum()
        return float(value) - self.rounding(y)

    def rounding(self, dual: Array) -> float:
        """By how much arithmetic in the precision of a dual vector may be wrong about what that proves, USD."""
        y, _ = self._priced(dual)
        reach = np.maximum(np.abs(self.low), np.abs(self.high))
        size = np.abs(self.right) @ np.abs(y) + (np.abs(self.cost) + abs(self.matrix).T @ np.abs(y)) @ reach
        longest = np.bincount(self.matrix.indices, minlength=1).max() + np.log2(len(reach) + len(y) + 2)
        return float((longest + 8) * np.finfo(dual.dtype).eps * size)

    def _unit(self) -> float:
        """USD of the unit in which HiGHS is told costs; one below its tolerance is none to it, whatever is paid so."""
        largest = float(np.abs(self.cost).max(initial=0.0))
        return largest / MONEY if 0.0 < largest < MONEY else 1.0

    def _priced(self, dual: Array) -> tuple[Array, Array]:
        """The part of a dual vector (row,) that proves something, and the reduced costs (column,) there."""
        y = np.where(self.equal, dual, np.minimum(dual, 0.0))
        y = np.where(np.isfinite(y), y, 0.0)
        return y, self.cost - self.matrix.T @ y

    def linear_bound(self, seconds: float) -> tuple[float, bool]:
        """Safe lower bound of the relaxation from linprog's duals; True if linprog calls it infeasible."""
        dual, infeasible = self.linear_duals(seconds)
        return self.safe_bound(dual), infeasible

    def linear_duals(self, seconds: float) -> tuple[Array, bool]:
        """Duals of the relaxation (row,) by linprog, zero if it finds none; True if it calls it infeasible."""
        rows, ties = np.flatnonzero(~self.equal), np.flatnonzero(self.equal)
        dual = np.zeros(len(self.right))
        answer = linprog(
            self.cost,
            A_ub=self.matrix[rows],
            b_ub=self.right[rows],
            A_eq=self.matrix[ties],
            b_eq=self.right[ties],
            bounds=np.column_stack([self.low, self.high]),
            method="highs",
            options=dict(time_limit=seconds, dual_feasibility_tolerance=DUAL_TOLERANCE),
        )
        if answer.get("ineqlin") is not None and answer.ineqlin.marginals is not None and answer.status == 0:
            dual[rows], dual[ties] = answer.ineqlin.marginals, answer.eqlin.marginals
        return dual, answer.status == 2

    def is_empty(self, seconds: float) -> bool:
        """Whether no point keeps the rows: proved by the duals of the least sum of their violations.

        They give 0 a positive lower bound, which only the empty set has.
        """
        n_rows, n_columns = self.matrix.shape
        signs = np.concatenate([np.ones(n_rows), -np.ones(n_rows)])
        rows = np.tile(np.arange(n_rows), 2)
        slack = csr_array((signs, (rows, np.arange(2 * n_rows))), shape=(n_rows, 2 * n_rows))
        elastic = Program(
            cost=np.append(np.zeros(n_columns), np.ones(2 * n_rows)),
            low=np.append(self.low, np.zeros(2 * n_rows)),
            high=np.append(self.high, np.full(2 * n_rows, np.inf)),
            integer=np.zeros(n_columns + 2 * n_rows, dtype=bool),
            ban=np.zeros(n_columns + 2 * n_rows, dtype=bool),
            matrix=csr_array(hstack([self.matrix, slack])),
            right=self.right,
            equal=self.equal,
        )
        free = replace(self, cost=np.zeros(n_columns))
        return free.safe_bound(elastic.linear_duals(seconds)[0]) > EMPTY

    def integer_bound(self, seconds: float) -> float:
        """HiGHS's proven lower bound with all integers; -inf if it has none in time."""
        answer = self._by_highs(self.integer, seconds, 0.0)
        upper = np.inf if answer.x is None else float(self.cost @ answer.x)
        lower = answer.get("mip_dual_bound")
        return min(-np.inf if lower is None or not np.isfinite(lower) else self._unit() * float(lower), upper)

    def _by_highs(self, integer: Array, seconds: float, gap: float, *more: LinearConstraint) -> Any:
        """HiGHS's answer with the integrality of `integer` alone, and further rows."""
        rows = LinearConstraint(self.matrix, np.where(self.equal, self.right, -np.inf), self.right)
        return milp(
            self.cost / self._unit(),
            integrality=integer.astype(int),
            bounds=Bounds(self.low, self.high),
            constraints=[rows, *more],
            options=dict(time_limit=max(seconds, 0.01), mip_rel_gap=gap),
        )

    def none_below(self, limit: float, tolerance: float, seconds: float, bans: bool = True) -> Verdict:
        """Whether no integral point costs less than `limit` (inf: whether there is none at all), by HiGHS's word.

        HiGHS keeps rows to within its tolerances, which are worth something where prices are high. So its point counts
        only if its integers leave room for one; where duals prove that they do not, they are excluded and it is asked
        again.
        """
        until, program = time.perf_counter() + seconds, self
        integer = self.integer & (bans | ~self.ban)
        binary = not ((self.low < 0.0) | (self.high > 1.0))[integer].any()
        for _ in range(MOST_EXCLUDED if binary else 1):
            verdict = program._asked(limit, tolerance, until - time.perf_counter(), integer)
            if verdict.point is None or self._has_room(integer, verdict.point, limit, until - time.perf_counter()):
                return verdict
            program = program._without(integer, verdict.point)
        return Verdict(False, None, "what is cheaper is within HiGHS's tolerances")

    def _asked(self, limit: float, tolerance: float, seconds: float, integer: Array) -> Verdict:
        """HiGHS's answer, for what it is worth, with the integrality of `integer` alone.

        As a row the limit ends the search as soon as nothing cheaper is left; a gap would have it look for the optimum.
        The row is scaled so that HiGHS's tolerance (1e-6) is small beside this one.
        """
        below = []
        if np.isfinite(limit):
            scale = max(1.0, 1e-2 / tolerance)
            below = [LinearConstraint(scale * csr_array(self.cost[None, :]), -np.inf, scale * limit)]
        answer = self._by_highs(integer, seconds, np.inf, *below)
        if answer.status in (0, 1, 2):
            return Verdict(answer.status == 2, answer.x, "its time is over" if answer.status == 1 else "")
        return Verdict(False, None, f"HiGHS gave up: {answer.message}")

    def _has_room(self, integer: Array, point: Array, limit: float, seconds: float) -> bool:
        """Whether duals leave it open that a point with the rounded integers of this one costs less than `limit`."""
        low, high = self.low.copy(), self.high.copy()
        low[integer] = high[integer] = np.round(point[integer])
        fixed, seconds = replace(self, low=low, high=high), max(seconds, 1.0)
        lower, infeasible = fixed.linear_bound(seconds)
        return lower < limit and not (infeasible and fixed.is_empty(seconds))

    def _without(self, integer: Array, point: Array) -> Program:
        """The program without the points whose integers, all of them 0 or 1, are those of this one."""
        sign = np.where(integer, np.where(point > 0.5, 1.0, -1.0), 0.0)
        return replace(
            self,
            matrix=csr_array(vstack([self.matrix, csr_array(sign[None, :])])),
            right=np.append(self.right, (sign > 0.0).sum() - 1.0),
            equal=np.append(self.equal, False),
        )


class Builder:
    """Collects columns and rows as arrays."""

    def __init__(self) -> None:
        self._columns: list[tuple[Array, ...]] = []
        self._entries: list[tuple[Array, ...]] = []
        self._rows: list[tuple[Array, Array]] = []
        self.n_columns = 0
        self.n_rows = 0

    def columns(
        self, shape: Any, low: Any, high: Any, cost: Any = 0.0, integer: Any = False, ban: bool = False
    ) -> Array:
        """Add columns; everything broadcasts to `shape`. Returns their numbers in that shape."""
        given = (low, high, cost, np.logical_or(integer, ban), ban)
        low, high, *rest = (np.broadcast_to(np.asarray(x, dtype=float), shape).ravel() for x in given)
        self._columns.append((low, np.maximum(low, high), *rest))
        first, self.n_columns = self.n_columns, self.n_columns + len(low)
        return np.arange(first, self.n_columns).reshape(shape)

    def rows(self, terms: Sequence[tuple[Any, Array]], right: Any, equal: Any = False) -> Array:
        """Add one row for each element of the terms' columns: sum of coefficient x column <= (or =) right."""
        shape = terms[0][1].shape
        right = np.broadcast_to(np.asarray(right, dtype=float), shape).ravel()
        first, self.n_rows = self.n_rows, self.n_rows + len(right)
        rows = np.arange(first, self.n_rows).reshape(shape)
        self._rows.append((right, np.full(len(right), equal)))
        for coefficient, columns in terms:
            self.entries(rows, columns, coefficient)
        return rows

    def entries(self, rows: Array, columns: Array, coefficient: Any) -> None:
        """Add further terms to rows already there; coefficients of one place add up."""
        value = np.broadcast_to(np.asarray(coefficient, dtype=float), rows.shape)
        self._entries.append((rows.ravel(), columns.ravel(), value.ravel()))

    def program(self) -> Program:
        low, high, cost, integer, ban = (np.concatenate(x) for x in zip(*self._columns, strict=True))
        rows, columns, values = (np.concatenate(x) for x in zip(*self._entries, strict=True))
        right, equal = (np.concatenate(x) for x in zip(*self._rows, strict=True))
        matrix = csr_array((values, (rows, columns)), shape=(self.n_rows, self.n_columns))
        return Program(cost, low, high, integer > 0, ban > 0, matrix, right, equal)
