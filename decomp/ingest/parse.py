"""From a text to a table: lines above and below, header, separator; the cells are read by pandas."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from decomp.ingest.layout import Layout
from decomp.ingest.table import SEPARATORS, Table, pattern, records
from decomp.model.instance import InputError


def parse_table(text: str, name: str, layout: Layout) -> Table:
    """The table in a text.

    Raises
    ------
    InputError : no table; names file, line and the key that mends it.
    """
    lines = text.removesuffix("\n").split("\n")
    top = _lines_above(lines, name, layout)
    if top >= len(lines) - layout.skipfooter:
        raise InputError(
            f"{name}: has {len(lines)} lines; skiprows = {layout.skiprows!r} and skipfooter = {layout.skipfooter} "
            "leave none"
        )
    kept = lines[top : len(lines) - layout.skipfooter]
    if layout.sep == "auto":
        read = (line for line in kept if line.strip() and not (layout.comment and line.startswith(layout.comment)))
        names = next(read, "")
        layout = replace(layout, sep=guess_separator(kept, [sep for sep in SEPARATORS if sep in names])[0])
    if layout.decimal == "auto":
        comma = layout.sep != "," and re.search(r"\d,\d", "\n".join(kept[:400]))
        layout = replace(layout, decimal="," if comma else "")
    if not layout.sep:
        raise InputError(f'{name}: sep = "": must be a sign, or "auto"')
    above = [next(csv.reader([line]), []) for line in lines[:top]]
    header, skipped = _header(kept, name, layout, top)
    body = "\n".join(kept[skipped:])
    frame = _frame(body, name, layout, len(header), top + skipped)
    if layout.header and layout.columns:
        raise InputError(f"{name}: columns names those of a table without header; say header = false")
    if not layout.header and not layout.columns:
        header = [f"c{k + 1}" for k in range(len(header))]
    table = Table(name, layout, header, frame, above, body, top + skipped + 1)
    _check_width(table)
    return table


def _lines_above(lines: list[str], name: str, layout: Layout) -> int:
    """How many lines stand above the header."""
    said = layout.skiprows
    if isinstance(said, int):
        return said
    for words in [said] if isinstance(said, str) else said:
        for k, line in enumerate(lines[:200]):
            if words in line:
                return k
    raise InputError(f"{name}: no line among the first 200 holds {said!r}, which skiprows expects in the header")


def _header(kept: list[str], name: str, layout: Layout, top: int) -> tuple[list[str], int]:
    """Names of the columns, and how many lines they take."""
    rows = records("\n".join(kept[:400]), layout)
    try:
        line, cells = next(iter(rows))
    except (StopIteration, csv.Error) as error:
        raise InputError(f"{name}: no header from line {top + 1} on") from error
    if not layout.header:
        return layout.columns or cells, line - 1
    try:
        follower = next(iter(rows))[0]
    except (StopIteration, csv.Error):
        follower = len(kept) + 1
    if follower > len(kept):
        raise InputError(f"{name}: has a header in line {top + line} and no row below it")
    return cells, follower - 1


def _frame(body: str, name: str, layout: Layout, width: int, above: int) -> Any:
    """All cells as text by pandas; one column more than the header has, for what stands beyond it."""
    import pandas as pd

    sample = records("\n".join(body.split("\n", 30)[:30]), layout)
    try:
        width = max([width, *(len(cells) for _, cells in sample)]) + 1
        if layout.where:  # the file may hold other, wider tables
            width = max(width, max(line.count(layout.sep) for line in body.split("\n")) + 2)
    except csv.Error as error:
        raise InputError(f"{name}, below line {above}: {error}") from error
    sep = layout.sep if len(layout.sep) == 1 or layout.sep == r"\s+" else pattern(layout.sep)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(body),
                sep=sep,
                header=None,
                names=range(width),
                index_col=False,
                dtype=str,
                na_filter=False,
                comment=layout.comment or None,
                skipinitialspace=True,
                engine="c" if len(sep) == 1 or sep == r"\s+" else "python",
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, ValueError) as error:
        raise InputError(_why(error, name, layout, above)) from error
    frame = frame.iloc[layout.unit_rows :].reset_index(drop=True)
    return frame if len(sep) == 1 else frame.fillna("")


def _why(error: Exception, name: str, layout: Layout, above: int) -> str:
    """pandas' reason in the words of the file."""
    text = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text):
        line, cells = above + int(found[2]), int(found[3])
        return f"{name}, line {line}: {cells} cells where the header has fewer; {_too_wide(layout)}"
    if found := re.search(r"EOF inside string starting at row (\d+)", text):
        return f"{name}, line {above + int(found[1]) + 1}: a quotation mark is opened and never closed"
    return f"{name}, below line {above}: no table by sep = {layout.sep!r}: {text}"


def _too_wide(layout: Layout) -> str:
    return (
        f"is sep = {layout.sep!r} right, or is it a decimal comma (decimal), a title above the header (skiprows) or a "
        "line below the table (skipfooter)?"
    )


def _check_width(table: Table) -> None:
    """Refuse content beyond the header in rows that are wanted; empty cells there carry nothing."""
    n, mine = len(table.header), table.where({})
    for k in range(n, table.frame.shape[1]):
        filled = np.flatnonzero(mine & (table.frame.iloc[:, k].str.strip() != "").to_numpy(bool))
        if filled.size:
            raise InputError(
                f"{table.place(int(filled[0]))}: {k + 1} cells where the header has {n}; "
                + (table.known_columns("") if n == 1 else _too_wide(table.layout))
            )
    table.frame = table.frame.iloc[:, :n]


def guess_separator(lines: list[str], among: Sequence[str] = SEPARATORS) -> tuple[str, int]:
    """The separator by which most lines have the same number of cells, more than one; and that number."""
    at = np.unique(np.linspace(0, len(lines) - 1, min(len(lines), 200)).astype(int))
    best, most, width = ",", -1.0, 1
    for sep in among:
        count = Counter(width_of(lines[k], sep) for k in at if lines[k].strip())
        count.pop(0, None)
        count.pop(1, None)
        if not count:
            continue
        usual, n = max(count.items(), key=lambda item: (item[1], item[0]))
        # A decimal comma makes cells too: a separator that is never inside numbers goes before.
        score = n / len(at) + (0.2 if sep != "," else 0.0) + 0.001 * min(usual, 20)
        if score > most:
            best, most, width = sep, score, usual
    return best, width


def cells_of(line: str, sep: str) -> list[str]:
    """The cells of a line, without blanks around."""
    return [cell.strip() for cell in next(csv.reader([line], delimiter=sep, skipinitialspace=True), [])]


def width_of(line: str, sep: str) -> int:
    """How many cells a line has; 0 where it cannot be divided."""
    try:
        return len(cells_of(line, sep))
    except csv.Error:
        return 0
