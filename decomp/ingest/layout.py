"""How a table is laid out: the keys of `[files.NAME]`, which traces and tables of pairs share, and of a series.

A key that pandas.read_csv has is named as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from decomp.ingest.keys import key
from decomp.ingest.presets import with_preset

Names = str | list[str]  # of several the first that fits
LONGEST = 366 * 24 * 60.0  # minutes of a step


@dataclass(frozen=True, kw_only=True)
class Layout:
    path: str = key("path relative to the data folder; .gz .bz2 .xz .zip (one member) are unpacked")
    format: str = key("preset: the keys of a known layout; keys beside it win", "")
    sep: str = key('separator of columns, or "auto"', ",")
    encoding: str = key('"auto": UTF-8, UTF-16 by its mark, else Latin-1; or the name of an encoding', "auto")
    skiprows: int | str | list[str] = key(
        "lines above the header; or a text: the header is the first line that holds it", 0, low=0, filled=True
    )
    skipfooter: int = key("lines below the table", 0, low=0)
    comment: str = key("sign that starts a comment", "")
    unit_rows: int = key("rows between header and values", 0, low=0)
    header: bool = key("the table has a header; else columns are c1, c2, …", True)
    columns: list[str] = key("names of the columns of a table without header", [])
    decimal: str = key('decimal sign (default: a point), or "auto"', "")
    thousands: str = key("sign between thousands", "")
    na_values: Any = key("words and numbers that mean missing: a list, or a table of lists by column", [])
    drop_duplicates: bool = key("drop rows that say the same as another", False)
    where: dict[str, Any] = key(
        'only rows in which these columns are so: a text, a list, ">0", "!=x", "!~regular expression"', {}
    )
    pvlib: str = key("read by this reader of pvlib.iotools (epw, tmy3, nsrdb_psm4, pvgis, surfrad …)", "")

    @classmethod
    def prepare(cls, table: dict[str, Any], place: str) -> dict[str, Any]:
        """The table with the keys of its preset and the present names of old keys."""
        return with_preset(table, place)


@dataclass(frozen=True, kw_only=True)
class File(Layout):
    step_min: float | list[float] | None = key(
        "time between records, minutes; a list where it changes: [60, 15]", None, low=1 / 60, high=LONGEST, filled=True
    )
    time_column: Names = key("column of the timestamp or date; a list: the first that is there", "", filled=True)
    time_format: Names = key('strptime format of the timestamp, "epoch_s", "epoch_ms"; "": ISO 8601', "", filled=True)
    year_column: str = key("column of the year", "")
    month_column: str = key("column of the month; without a year's: a year without a date", "")
    day_column: str = key("column of the day of the month", "")
    hour_column: Names = key("column of the hour, when it is apart from the date", "", filled=True)
    minute_column: str = key("column of the minute", "")
    period_column: Names = key("column of the number of the period in its day: 1, 2, … of step_min", "", filled=True)
    interval_column: str = key("column of the number of the interval in its hour: 1, 2, … of step_min", "")
    hours_across: list[str] = key("columns of a day's hours, one an hour ending", [])
    day_above: str = key("strptime format of the day in a line above the table", "")
    range_separator: str = key("the stamp is what stands before this", "")
    times_from: str = key("file beside it with the times of the rows that this one numbers", "")
    time_zone: str = key(
        'zone of stamps without offset: UTC, an IANA name, ±hh:mm; "header", "above": named in the file', ""
    )
    stamp: str = key("what a timestamp marks of its interval", "", among="start middle end")
    off_grid: str = key("records between the steps", "refuse", among="refuse drop")
    typical: bool = key("a typical year: month, day and hour count for any year", False)

    @property
    def steps(self) -> list[int]:
        """Times between records, s."""
        said = self.step_min if isinstance(self.step_min, list) else [self.step_min]
        return [round(60 * step) for step in said if step is not None]


@dataclass(frozen=True, kw_only=True)
class Series:
    unit: str = key("unit in the file; a price is CURRENCY/MWh with CURRENCY in [currencies]")
    file: str = key("name of a [files.NAME]", "")
    column: str = key("column of the values", "")
    where: dict[str, Any] = key("long layout: only rows in which these columns are so, as in files", {})
    value: float | None = key("a constant instead of a file", None)
    factor: float = key("multiplies the values", 1.0)
    resample: str = key(
        "step: time average of held values; linear: between the middles of records; samples: between stamps",
        "",
        among="step linear samples",
    )
    missing: Any = key(
        'rule for missing values: "refuse", "interpolate", "hold", "day_before" or a number, in the unit of the file',
        "refuse",
    )
    max_gap_h: float | None = key("longest gap the rule may fill, hours (3; day_before 24; number: any)", None, low=0)
    year: int | None = key("take the same calendar days of this year instead", None, low=1900, high=2200)
    clip: float = key(
        "values this far below 0 or above full scale are clipped, share of full scale", 0.02, low=0, high=1
    )
    plausible: bool = key("refuse what no market or weather has; false: take it as it is", True)
    wind_height_m: float = key("height at which a wind speed was measured, m", 10.0, low=1, high=300)
    plane: str = key("what an irradiance falls on: the ground, or the panels", "horizontal", among="horizontal panels")
