"""The records of one series: the rows of a table that belong to it, with the starts of their intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.ingest.layout import File, Series
from decomp.ingest.library import Library
from decomp.ingest.table import Table
from decomp.ingest.units import Quantity
from decomp.model.instance import Array

HOUR = 3600


def utc_text(seconds: float) -> str:
    """An instant, s since 1970, as a text."""
    return f"{np.datetime64(int(seconds), 's')}"[: 16 if int(seconds) % 60 == 0 else 19] + "Z"


@dataclass(frozen=True)
class Wanted:
    """What a site asks of a file."""

    name: str  # of the quantity
    quantity: Quantity
    series: Series
    how: str  # resampling
    factor: float  # from the file's unit to the quantity's, without the series' own factor
    offset: float
    library: Library

    def converted(self, values: Array) -> Array:
        """Values of the file in the quantity's unit."""
        return (values * self.factor + self.offset) * self.series.factor


@dataclass(frozen=True, eq=False)
class Records:
    """Rows of one series with a readable stamp, in the order of the file; arrays (record,)."""

    table: Table
    file: File
    column: str
    row: Array  # of the table
    start: Array  # of the interval, UTC, s
    wall: Array  # the clock as written, s
    value: Array  # NaN where missing or unreadable
    wrong: Array  # unreadable
    never: Array  # hours that do not exist
    steps: list[int]  # between records, s

    @property
    def step(self) -> int:
        return min(self.steps)

    @property
    def lead(self) -> int:
        """From an interval's start to the moment its stamp names, s."""
        return {"end": self.step, "middle": self.step // 2}.get(self.file.stamp, 0)

    def take(self, keep: Array) -> Records:
        names = ("row", "start", "wall", "value", "wrong", "never")
        return replace(self, **{k: getattr(self, k)[keep] for k in names})

    @property
    def place(self) -> str:
        return f"{self.table.name}, column {self.column}"

    def place_of(self, k: int) -> str:
        """Where a record's value stands."""
        return self.table.place(int(self.row[k]), self.column)

    def text(self, k: int) -> str:
        """A record's value as it stands in the file."""
        cells = self.table.cells(self.column)
        return str(cells.words[cells.codes[self.row[k]]])
