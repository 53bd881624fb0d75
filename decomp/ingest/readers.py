"""Readers: what turns a file into timed records.

A reader takes the path, the file's declaration and the years of interest; it returns the header and an iterator
over (line number, timestamp, cells). Timestamps mark the start of their interval and may be local (no offset).
To add a format, write such a function and put it into `READERS`; the spec names it with `reader = "…"`.
"""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from calendar import isleap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from decomp.ingest.spec import File
from decomp.model.instance import InputError

BLANK = frozenset(("", "na", "n/a", "nan", "null", "none", "-"))
Row = tuple[int, datetime, list[str]]
Reader = Callable[[Path, File, range], tuple[list[str], Iterator[Row]]]


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what can go wrong while reading a file into one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path.name}: no such file in {path.parent} (see --data)") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path.name}: cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not UTF-8 text: {error}") from error
    except csv.Error as error:
        raise InputError(f"{path.name}: not a CSV file: {error}") from error


def cells(path: Path, delimiter: str = ",") -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Header and (line number, cells) of a CSV file, unpacked when its name ends in .gz; blank lines are skipped."""

    def rows() -> Iterator[tuple[int, list[str]]]:
        opened = gzip.open if path.suffix == ".gz" else open
        with readable(path), opened(path, "rt", encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            for row in reader:
                if row:
                    yield reader.line_num, row

    numbered = rows()
    header = [name.strip() for name in next(numbered, (0, []))[1]]
    if not header:
        raise InputError(f"{path.name}: is empty")
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise InputError(f"{path.name}: column {min(repeated)!r} occurs twice in the header")
    return header, _whole(numbered, len(header), path)


def _whole(rows: Iterator[tuple[int, list[str]]], n: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    for line, row in rows:
        if len(row) != n:
            raise InputError(f"{path.name}, line {line}: {len(row)} cells where the header has {n}")
        yield line, row


def column(header: list[str], name: str, path: Path) -> int:
    """Position of a column."""
    if name not in header:
        shown = ", ".join(header[:12]) + (", …" if len(header) > 12 else "")
        raise InputError(f"{path.name}: no column {name!r}; there are {shown}")
    return header.index(name)


def select(
    path: Path, names: list[str], where: dict[str, str], what: str, delimiter: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """Line number and the named cells of the rows in which other columns have given values; at least one."""
    header, rows = cells(path, delimiter)
    at = [column(header, name, path) for name in names]
    keys = [(column(header, name, path), value) for name, value in where.items()]
    found = False
    for line, row in rows:
        if all(row[k].strip() == value for k, value in keys):
            found = True
            yield line, [row[k] for k in at]
    if not found:
        raise InputError(f"{path.name}: no {what}" + (f" with {where}" if where else ""))


def number_in(text: str, place: str) -> float:
    """A finite number, or NaN for a blank cell."""
    if text.strip().lower() in BLANK:
        return math.nan
    try:
        value = float(text)
    except ValueError as error:
        raise InputError(f"{place}: {text!r} is not a number") from error
    if not math.isfinite(value):
        raise InputError(f"{place}: {text!r} is not finite")
    return value


def parse_time(text: str, form: str, place: str) -> datetime:
    """A timestamp, ISO 8601 unless a strptime format is given."""
    try:
        return datetime.strptime(text, form) if form else datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise InputError(f"{place}: {text!r} is not a time {form or 'such as 2022-07-15T13:00Z'}") from error


def parse_hour(text: str, place: str) -> timedelta:
    """An hour of the day, 0 to 24, as in 7, 07:00 or 24."""
    hour, _, minute = text.strip().partition(":")
    if not hour.isdigit() or int(hour) > 24 or (minute and not minute.isdigit()):
        raise InputError(f"{place}: {text!r} is not an hour of the day")
    return timedelta(hours=int(hour), minutes=int(minute or 0))


def read_csv(path: Path, file: File, years: range) -> tuple[list[str], Iterator[Row]]:
    """One row per time (wide) or per time and key (long); the date's hour may stand in a column of its own."""
    header, rows = cells(path, file.delimiter)
    at = column(header, file.time_column, path)
    hour = column(header, file.hour_column, path) if file.hour_column else None
    shift = timedelta(minutes=file.step_min if file.stamp == "end" else 0)

    name = path.name

    def timed() -> Iterator[Row]:
        for line, row in rows:
            time = parse_time(row[at], file.time_format, f"{name}, line {line}, column {header[at]}")
            if hour is not None:
                time += parse_hour(row[hour], f"{name}, line {line}, column {header[hour]}")
            yield line, time - shift, row

    return header, timed()


def read_typical_year(path: Path, file: File, years: range) -> tuple[list[str], Iterator[Row]]:
    """A year of month, day and hour without a date, repeated for every year of interest."""
    header, rows = cells(path, file.delimiter)
    month, day = (column(header, c, path) for c in (file.month_column, file.day_column))
    hour = column(header, file.hour_column, path)
    shift = timedelta(minutes=file.step_min if file.stamp == "end" else 0)
    lines = list(rows)

    def timed() -> Iterator[Row]:
        for year in years:
            for line, row in lines:
                place = f"{path.name}, line {line}"
                if (row[month].strip("0 "), row[day].strip()) == ("2", "29") and not isleap(year):
                    continue
                try:
                    date = datetime(year, int(row[month]), int(row[day]))
                except ValueError as error:
                    raise InputError(f"{place}: month {row[month]!r}, day {row[day]!r} is no day of {year}") from error
                yield line, date + parse_hour(row[hour], f"{place}, column {header[hour]}") - shift, row

    return header, timed()


READERS: dict[str, Reader] = {"csv": read_csv, "typical_year": read_typical_year}
