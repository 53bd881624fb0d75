"""Tables of text: columns of cells, with the line of every row.

Series, traces, requests and tables of pairs all come in here.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from decomp.ingest.layout import Layout
from decomp.ingest.numbers import looks_like_thousands, missing_of, numbers
from decomp.model.instance import Array, InputError

SEPARATORS = (",", ";", "\t", "|")


class Cells(NamedTuple):
    """A column: the texts that occur in it, without blanks around, and which of them each row has."""

    words: Array  # (word,)
    codes: Array  # (row,)

    def text(self) -> Array:
        return self.words[self.codes]


@dataclass(eq=False)
class Table:
    """Columns of cells by name."""

    name: str  # of the file, for messages
    layout: Layout
    header: list[str]
    frame: Any  # pandas: all cells as text, columns by position
    above: list[list[str]] = field(default_factory=list)  # cells of the lines above the header
    body: str = ""  # the text below the header
    first_line: int = 1  # of the body, in the file
    origin: Array | None = None  # row of the body that each row came from, when they are not the same
    lines: Array | None = None  # of the rows in the file, where they do not follow from the body
    said: dict[str, Any] = field(default_factory=dict)  # keys of the layout that the file itself gives
    _cells: dict[int, Cells] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame) if self.origin is None else len(self.origin)

    # ------------------------------------------------------------------------------------------ columns

    def position(self, name: str) -> int:
        """Position of a column by its name; else c1, c2, …; else by a pattern with one *."""
        at = [k for k, known in enumerate(self.header) if known == name]
        if not at and re.fullmatch(r"c\d+", name) and 0 < int(name[1:]) <= len(self.header):
            at = [int(name[1:]) - 1]
        if not at and "*" in name:
            at = [k for k, known in enumerate(self.header) if fnmatchcase(known, name.replace("[", "[[]"))]
        if len(at) > 1:
            ways = " or ".join(f"c{k + 1}" for k in at)
            raise InputError(f"{self.name}: column {name!r} occurs twice in the header; by position it is {ways}")
        if not at:
            raise InputError(f"{self.name}: no column {name!r}; {self.known_columns(name)}")
        return at[0]

    def known_columns(self, name: str) -> str:
        """Advice on a column that is not there."""
        if len(self.header) == 1:
            other = next((s for s in SEPARATORS if s in self.header[0] and s != self.layout.sep), None)
            if other:
                return f"the header is one cell, {self.header[0][:60]!r}: sep = {other!r}?"
        if re.search("[\x80-\x9f]", "".join(self.header)):
            return f'there are {", ".join(self.header[:12])}; encoding = "cp1252"?'
        shown = ", ".join(self.header[:12]) + (", …" if len(self.header) > 12 else "")
        near = get_close_matches(name, self.header, 1, 0.75)
        hint = f"; did you mean {near[0]!r}?" if near else "; skiprows passes over lines above the header"
        return f"there are {shown}{hint}"

    def first_of(self, names: str | list[str]) -> str:
        """The first of several names that is a column."""
        wanted = [names] if isinstance(names, str) else names
        for name in wanted:
            if name in self.header or (
                "*" in name and any(fnmatchcase(h, name.replace("[", "[[]")) for h in self.header)
            ):
                return self.header[self.position(name)] if "*" in name else name
        return wanted[-1]

    def cells(self, name: str) -> Cells:
        """The cells of a column."""
        return self.column(self.position(name))

    def column(self, k: int) -> Cells:
        """The cells of a column by its position."""
        if k not in self._cells:
            import pandas as pd

            codes, words = pd.factorize(self.frame.iloc[:, k])
            cells = Cells(np.array([str(w).strip() for w in words], dtype=object), codes)
            if self.origin is not None:
                cells = Cells(cells.words, codes[self.origin])
            self._cells[k] = cells
        return self._cells[k]

    def numbers(self, name: str) -> tuple[Array, Array]:
        """Numbers of a column, NaN where missing, and which are unreadable, (row,)."""
        layout, cells = self.layout, self.cells(name)
        if not (layout.decimal or layout.thousands) and looks_like_thousands(cells.words):
            sample = next(w for w in cells.words if "." in w)
            raise InputError(
                f"{self.place(int(np.argmax(cells.text() == sample)), name)}: {sample!r} may be a thousand or a "
                'fraction; say thousands = "." or decimal = "."'
            )
        values, wrong = numbers(cells.words, layout.decimal, layout.thousands, missing_of(layout.na_values, name))
        return values[cells.codes], wrong[cells.codes]

    def rows(self, what: str) -> Array:
        """Positions of the rows in which the layout's conditions hold; at least one."""
        held = self.where({})
        if self.layout.drop_duplicates:
            held &= ~self.frame.duplicated().to_numpy(bool)
        rows = np.flatnonzero(held)
        if not len(rows):
            where = self.layout.where
            raise InputError(f"{self.name}: no {what}" + (f" with {where}" if where else ""))
        return rows

    def numbers_in(self, name: str, rows: Array) -> Array:
        """Numbers of some rows of a column, NaN where missing; unreadable ones are refused."""
        values, wrong = self.numbers(name)
        bad = rows[wrong[rows]]
        if len(bad):
            row = int(bad[0])
            text = self.cells(name).text()[row]
            raise InputError(
                f"{self.place(row, name)}: {text!r} is not a number; na_values = [{text!r}] if it means missing"
            )
        return values[rows]

    def where(self, conditions: dict[str, Any]) -> Array:
        """Rows in which all conditions of the layout and these hold, (row,)."""
        rows = np.ones(len(self), dtype=bool)
        for name, wanted in [*self.layout.where.items(), *conditions.items()]:
            cells = self.cells(name)
            rows &= self._holding(cells, name, wanted)[cells.codes]
        return rows

    def _holding(self, cells: Cells, name: str, wanted: Any) -> Array:
        """Which texts of a column meet a condition; a list is any of its members and none of what it excludes."""
        members = wanted if isinstance(wanted, list) else [wanted]
        exact = set(cells.words)
        allowed, banned = np.zeros(len(cells.words), dtype=bool), np.zeros(len(cells.words), dtype=bool)
        positive = False
        for member in members:
            found = re.fullmatch(r"(>=|<=|!=|!~|>|<)\s*(.*)", member) if isinstance(member, str) else None
            if found is None or member in exact:
                positive = True
                allowed |= self._equal(cells, name, member)
            elif found[1] == "!=":
                banned |= self._equal(cells, name, found[2])
            elif found[1] == "!~":
                banned |= self._matching(cells, name, found[2])
            else:
                positive = True
                allowed |= self._compared(cells, name, found[1], found[2], member)
        return (allowed | (not positive)) & ~banned

    def _equal(self, cells: Cells, name: str, member: Any) -> Array:
        if isinstance(member, str):
            return cells.words == member.strip()
        if isinstance(member, bool):
            return np.array([w.lower() == str(member).lower() for w in cells.words], dtype=bool)
        return self._word_numbers(cells, name) == member

    def _matching(self, cells: Cells, name: str, pattern: str) -> Array:
        try:
            return np.array([bool(re.search(pattern, w)) for w in cells.words], dtype=bool)
        except re.error as error:
            raise InputError(f"where: {name} = {'!~' + pattern!r}: not a regular expression: {error}") from error

    def _compared(self, cells: Cells, name: str, sign: str, bound: str, said: str) -> Array:
        try:
            limit = float(bound)
        except ValueError as error:
            raise InputError(f"where: {name} = {said!r}: what follows {sign} must be a number") from error
        values = self._word_numbers(cells, name)
        with np.errstate(invalid="ignore"):
            return {">": values > limit, "<": values < limit, ">=": values >= limit, "<=": values <= limit}[sign]

    def _word_numbers(self, cells: Cells, name: str) -> Array:
        layout = self.layout
        return numbers(cells.words, layout.decimal, layout.thousands, missing_of(layout.na_values, name))[0]

    # -------------------------------------------------------------------------------------------- lines

    @cached_property
    def _lines(self) -> Array:
        """Line in the file of every row of the body."""
        if self.lines is not None:
            return self.lines
        if not self.body:
            return self.first_line + np.arange(len(self.frame))
        if self.layout.sep in SEPARATORS and not self.layout.comment and '"' not in self.body:  # a line a record
            lines = [k for k, text in enumerate(self.body.split("\n"), self.first_line) if text.strip(" ")]
        else:
            lines = [at for at, _ in records(self.body, self.layout, self.first_line)]
        lines = lines[self.layout.unit_rows :]
        return np.array(lines + [lines[-1] if lines else 0] * (len(self.frame) - len(lines)))

    def line(self, row: int) -> int:
        """Line in the file of a row."""
        return int(self._lines[row if self.origin is None else self.origin[row]])

    def place(self, row: int, column: str = "") -> str:
        """Where a cell stands, for a message."""
        return f"{self.name}, line {self.line(row)}" + (f", column {column}" if column else "")

    # ------------------------------------------------------------------------------------------- layout

    def across(self, names: list[str]) -> tuple[Table, Array]:
        """The table with a row for each of some columns, their cells in a column "value"; and which one, (row,)."""
        n, m = len(self), len(names)
        columns = [self.cells(name) for name in names]
        words = [cells.words for cells in columns]
        start = np.cumsum([0, *(len(w) for w in words)])[:-1]
        codes = np.stack([c.codes + s for c, s in zip(columns, start, strict=True)], axis=1).ravel()
        origin = np.repeat(np.arange(n), m)
        table = Table(
            self.name, self.layout, [*self.header, "value"], self.frame, self.above, self.body, self.first_line, origin
        )
        table._cells[len(self.header)] = Cells(np.concatenate(words), codes)
        return table, np.tile(np.arange(m), n)


def records(text: str, layout: Layout, first_line: int = 1) -> Iterable[tuple[int, list[str]]]:
    """(line, cells) of the records of a text; blank and comment lines are passed over."""
    lines = text.split("\n")
    if layout.comment:
        lines = [line.split(layout.comment, 1)[0] for line in lines]
    sep = layout.sep if len(layout.sep) == 1 else "\0"
    reader = csv.reader(lines, delimiter=sep, skipinitialspace=True)
    before = 0
    for row in reader:
        at, before = before + 1, reader.line_num
        if row and (len(row) > 1 or row[0].strip()):
            if len(layout.sep) > 1:
                row = re.split(pattern(layout.sep), row[0].strip() if layout.sep.startswith("\\s") else row[0])
            yield first_line + at - 1, [cell.strip() for cell in row]


def pattern(sep: str) -> str:
    """A separator of several characters as a regular expression; with a backslash it is one already."""
    return sep if "\\" in sep else re.escape(sep)
