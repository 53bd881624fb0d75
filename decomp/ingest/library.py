"""The data folder: every file is read once, and remembered with its digest; so is what there is to say of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from decomp.ingest.layout import File, Layout
from decomp.ingest.packing import read_text, readable
from decomp.ingest.parse import parse_table
from decomp.ingest.stamps import Stamps, read_stamps
from decomp.ingest.table import Table
from decomp.model.instance import InputError

Parser = Callable[[str, str, Layout], Table]
LONG_BYTES = 5_000_000  # files above are announced while they are read


class Timed(NamedTuple):
    """A table with what its time columns say, and its layout with what the file says of itself."""

    table: Table
    stamps: Stamps
    file: File


def need_readers() -> None:
    """Say in one line what to install."""
    for package in ("pandas", "pvlib"):
        if find_spec(package) is None:
            raise InputError(f"reading files needs {package}: pip install 'decomp-fleet[ingest]'")


@dataclass
class Library:
    """Files below a root, read as the spec lays them out."""

    root: Path
    files: dict[str, File] = field(default_factory=dict)
    currencies: dict[str, float] = field(default_factory=dict)
    spec_name: str = "spec"
    say: Callable[[str], None] = lambda text: None  # told what is being read
    used: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)
    _tables: dict[str, Table] = field(default_factory=dict)
    _timed: dict[str, Timed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        need_readers()

    def note(self, text: str) -> None:
        """Remember something to be told, once."""
        if text not in self.notes:
            self.notes.append(text)

    def provenance(self) -> list[str]:
        """Name and digest of every file read."""
        return [f"{name} sha256:{digest}" for name, digest in sorted(self.used.items())]

    def paths(self) -> list[Path]:
        """Every file read so far."""
        return [self.root / name for name in sorted(self.used)]

    def bytes_of(self, name: str) -> bytes:
        """Content of a data file; it enters the provenance."""
        path = self.root / name
        if not name:
            raise InputError("path: is empty")
        with readable(path):
            data = path.read_bytes()
        if len(data) > LONG_BYTES:
            self.say(f"reading {path.name}, {len(data) / 1e6:.0f} MB")
        self.used[name] = hashlib.sha256(data).hexdigest()[:12]
        return data

    def table(self, layout: Layout, parse: Parser | None = None) -> Table:
        """The table of a file by its layout, or by another parser of its text."""
        known = repr([getattr(layout, f) for f in Layout.__dataclass_fields__])
        if known not in self._tables:
            data, path = self.bytes_of(layout.path), self.root / layout.path
            text, used = read_text(data, path, layout.encoding)
            if used == "latin-1" and layout.encoding == "auto":
                self.note(
                    f'{path.name}: is not UTF-8 and was read as Latin-1 (encoding = "cp1252" if signs look wrong)'
                )
            if layout.pvlib:
                from decomp.ingest.weather_files import parse_weather

                self._tables[known] = parse_weather(text, path.name, layout)
            else:
                self._tables[known] = (parse or parse_table)(text, path.name, layout)
        return self._tables[known]

    def timed(self, file: File) -> Timed:
        """The table of a file with its stamps."""
        known = repr(file)
        if known not in self._timed:
            table, hour = self.table(file), None
            file = _as_said(file, table)
            if file.step_min is None:
                raise InputError(
                    f"{table.name}: step_min is missing: the minutes between records, such as step_min = 60"
                )
            if file.hours_across:
                table, hour = table.across(file.hours_across)
            stamps = read_stamps(table, file, hour)
            if file.times_from and not stamps.readable.any():
                stamps = self._numbered_rows(file, table)
            self._timed[known] = Timed(table, stamps, file)
        return self._timed[known]

    def _numbered_rows(self, file: File, table: Table) -> Stamps:
        """Stamps of rows that are only numbered, from the file beside that has their times."""
        beside = str(Path(file.path).with_name(file.times_from))
        other = self.table(Layout(path=beside))
        for k in range(len(other.header)):
            stamps = read_stamps(other, File(path=beside, step_min=file.step_min, time_column=f"c{k + 1}"))
            if stamps.readable.mean() > 0.5:
                break
        else:
            raise InputError(f"{other.name}: no column holds times; times_from = {file.times_from!r}")
        number = table.numbers(table.first_of(file.time_column))[0]
        if not np.isin(number, np.arange(len(other))).all():
            last = len(other) - 1
            raise InputError(f"{table.name}: its rows are not numbered 0 to {last} as the times of {other.name}")
        return stamps.take(number.astype(int))


def _as_said(file: File, table: Table) -> File:
    """The layout with what the file says of itself, and a year without date as a typical one."""
    said = {k: v for k, v in table.said.items() if getattr(file, k) in ("", None, False)}
    if file.month_column and not file.year_column:
        said["typical"] = True
    return replace(file, **said)
