"""Linear programs as blocks of columns and rows, built term by term."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse import csc_matrix

from decomp.model.instance import Array

Terms = list[tuple[Array | float, Array]]


@dataclass
class Block:
    """A linear problem under construction; `columns` and `rows` map names to numbers (of rows only some are named)."""

    low: list[Array] = field(default_factory=list)
    high: list[Array] = field(default_factory=list)
    cost: list[Array] = field(default_factory=list)
    emission: list[Array] = field(default_factory=list)
    integer: list[Array] = field(default_factory=list)
    row_low: list[Array] = field(default_factory=list)
    row_high: list[Array] = field(default_factory=list)
    entries: list[tuple[Array, Array, Array]] = field(default_factory=list)
    columns: dict[str, Array] = field(default_factory=dict)
    bans: list[Array] = field(default_factory=list)
    rows: dict[str, Array] = field(default_factory=dict)
    n_columns: int = 0
    n_rows: int = 0

    def add_columns(
        self,
        name: str,
        n: int,
        low: Array | float,
        high: Array | float,
        cost: Array | float = 0.0,
        emission: Array | float = 0.0,
        integer: Array | bool = False,
    ) -> Array:
        """Add n variables; returns their column numbers."""
        for store, value in ((self.low, low), (self.high, high), (self.cost, cost), (self.emission, emission)):
            store.append(np.broadcast_to(np.asarray(value, dtype=float), (n,)))
        self.integer.append(np.full(n, integer))
        self.columns[name] = np.arange(self.n_columns, self.n_columns + n)
        self.n_columns += n
        return self.columns[name]

    def add_rows(self, low: Array | float, high: Array | float, *terms: tuple[Array | float, Array]) -> Array:
        """Add rows low <= sum of coefficient * column <= high; each term has one column per row.

        Without terms, as many empty rows as `high` has values.
        """
        n = len(terms[0][1]) if terms else np.size(high)
        rows = np.arange(self.n_rows, self.n_rows + n)
        for coefficient, column in terms:
            self.add_entries(rows, column, coefficient)
        self.row_low.append(np.broadcast_to(np.asarray(low, dtype=float), (n,)))
        self.row_high.append(np.broadcast_to(np.asarray(high, dtype=float), (n,)))
        self.n_rows += n
        return rows

    def add_entries(self, rows: Array, column: Array, coefficient: Array | float) -> None:
        """Put coefficients into rows that exist or are being added."""
        values = np.broadcast_to(np.asarray(coefficient, dtype=float), np.shape(rows))
        keep = values != 0
        self.entries.append((np.asarray(rows)[keep], np.asarray(column)[keep], values[keep]))

    def finish(self) -> Model:
        rows, columns, values = (np.concatenate(part) for part in zip(*self.entries, strict=True))
        return Model(
            matrix=csc_matrix((values, (rows, columns)), shape=(self.n_rows, self.n_columns)),
            low=np.concatenate(self.low),
            high=np.concatenate(self.high),
            cost=np.concatenate(self.cost),
            emission=np.concatenate(self.emission),
            integer=np.concatenate(self.integer),
            row_low=np.concatenate(self.row_low),
            row_high=np.concatenate(self.row_high),
            columns=dict(self.columns),
            bans=np.concatenate([np.zeros((0, 3), dtype=int), *self.bans]),
            rows=dict(self.rows),
        )


@dataclass(frozen=True)
class Model:
    """min cost·x subject to row_low <= matrix x <= row_high, low <= x <= high, some x integer.

    `columns`, `rows` : numbers by name. `bans` (n, 3) : mode column, and two columns of which only one may be positive.
    """

    matrix: csc_matrix
    low: Array
    high: Array
    cost: Array
    emission: Array
    integer: Array
    row_low: Array
    row_high: Array
    columns: dict[str, Array]
    bans: Array
    rows: dict[str, Array] = field(default_factory=dict)

    def held_at(self, point: Array, integer: Array, within: float = 0.5) -> Model:
        """The model with columns (mask `integer`) held at integers that a point (column,) has so near; default: all."""
        nearest = np.round(point)
        held = integer & (np.abs(point - nearest) <= within)
        return replace(self, low=np.where(held, nearest, self.low), high=np.where(held, nearest, self.high))


def either(block: Block, prefix: str, first: Array, second: Array, most: tuple[Array, Array], relaxed: bool) -> None:
    """Forbid two non-negative variables at once: a mode column, or the projection of its relaxation."""
    if relaxed:
        block.add_rows(-np.inf, 1.0, (1.0 / most[0], first), (1.0 / most[1], second))
        return
    mode = block.add_columns(prefix + "mode", len(first), 0.0, 1.0)
    block.add_rows(-np.inf, 0.0, (1.0, first), (-most[0], mode))
    block.add_rows(-np.inf, most[1], (1.0, second), (most[1], mode))
    block.bans.append(np.stack([mode, first, second], axis=1))
