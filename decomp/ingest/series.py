"""Series: from timed records to one value per period, with units, time zones, gaps and resampling made explicit."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np

from decomp.ingest.clock import to_utc, zone
from decomp.ingest.keys import fill
from decomp.ingest.readers import READERS, Row, column, number_in, readable
from decomp.ingest.spec import File, Horizon, Series
from decomp.model.instance import Array, InputError

HOUR = timedelta(hours=1)


class Quantity(NamedTuple):
    """What a series may hold: (factor, offset) of each unit, legal range in the first one, usual resampling."""

    units: dict[str, tuple[float, float]]
    low: float
    high: float
    resample: str


FRACTION = {"1": (1.0, 0.0), "%": (0.01, 0.0)}
QUANTITIES = {
    "price": Quantity({}, -20_000, 30_000, "step"),
    "sell_price": Quantity({}, -20_000, 30_000, "step"),
    "carbon": Quantity(
        {"t/MWh": (1.0, 0.0), "kg/MWh": (1e-3, 0.0), "g/kWh": (1e-3, 0.0), "lb/MWh": (0.45359237e-3, 0.0)}, 0, 3, "step"
    ),
    "temperature": Quantity({"degC": (1.0, 0.0), "K": (1.0, -273.15), "degF": (5 / 9, -160 / 9)}, -75, 60, "samples"),
    "pue": Quantity({"1": (1.0, 0.0)}, 1, 5, "linear"),
    "wind_speed": Quantity(
        {"m/s": (1.0, 0.0), "km/h": (1 / 3.6, 0.0), "mph": (0.44704, 0.0), "kn": (0.514444, 0.0)}, 0, 80, "samples"
    ),
    "wind_factor": Quantity(FRACTION, 0, 1, "linear"),
    "cloud": Quantity(FRACTION, 0, 1, "samples"),
    "irradiance": Quantity({"W/m2": (1.0, 0.0), "kW/m2": (1000.0, 0.0)}, 0, 1500, "linear"),
    "solar_factor": Quantity(FRACTION, 0, 1, "linear"),
    "availability": Quantity(FRACTION, 0, 1, "step"),
}


def conversion(name: str, unit: str, currencies: dict[str, float]) -> tuple[float, float]:
    """(factor, offset) from a unit to the quantity's own: USD/MWh, t/MWh, degC, m/s, W/m2, 1."""
    if name not in ("price", "sell_price"):
        units = QUANTITIES[name].units
        if unit not in units:
            raise InputError(f"unit = {unit!r}: must be one of {', '.join(units)}")
        return units[unit]
    currency, _, per = unit.partition("/")
    known = {"usd": 1.0} | {k.lower(): v for k, v in currencies.items()}
    if per not in ("MWh", "kWh"):
        raise InputError(f"unit = {unit!r}: must be CURRENCY/MWh or CURRENCY/kWh")
    if currency.lower() not in known:
        raise InputError(f"unit = {unit!r}: no rate for {currency!r} in [currencies]; there are {', '.join(known)}")
    return known[currency.lower()] * (1000.0 if per == "kWh" else 1.0), 0.0


@dataclass
class Library:
    """The data directory: files are read once for each window of time, and remembered with their digest."""

    root: Path
    files: dict[str, File] = field(default_factory=dict)
    currencies: dict[str, float] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _rows: dict[tuple[File, datetime, datetime], tuple[list[str], list[Row], str]] = field(default_factory=dict)

    def locate(self, name: str) -> Path:
        """Path of a data file; it enters the provenance."""
        path = self.root / name
        if name not in self.used:
            with readable(path):
                self.used[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        return path

    def rows(self, file: File, low: datetime, high: datetime) -> tuple[list[str], list[Row], str]:
        """Header, the records within a day of [low, high), and the span of the whole file."""
        known = (file, low, high)
        if known not in self._rows:
            if file.reader not in READERS:
                raise InputError(f"reader = {file.reader!r}: must be one of {', '.join(READERS)}")
            years = range((low - 24 * HOUR).year, (high + 24 * HOUR).year + 1)
            header, rows = READERS[file.reader](self.locate(file.path), file, years)
            near, first, last = [], None, None
            for row in rows:
                clock = row[1].replace(tzinfo=timezone.utc) if row[1].tzinfo is None else row[1]
                first, last = min(first or clock, clock), max(last or clock, clock)
                if low - 24 * HOUR <= clock < high + 24 * HOUR:
                    near.append(row)
            span = f"{first:%Y-%m-%dT%H:%M} … {last:%Y-%m-%dT%H:%M}" if first and last else "no rows"
            self._rows[known] = header, near, span
        return self._rows[known]

    def read(self, name: str, series: Series, horizon: Horizon, tags: dict[str, str]) -> Array:
        """One value per period, (period,), in the unit of the quantity.

        Raises
        ------
        InputError : names file, column, time and value, and what would be right.
        """
        quantity = QUANTITIES[name]
        series = fill(series, tags)
        factor, offset = conversion(name, series.unit, self.currencies)
        if (series.value is None) == (not series.file):
            raise InputError("needs either a file or a value")
        if series.value is not None:
            values, place = np.full(horizon.periods, series.value), "value"
        else:
            if series.file not in self.files:
                raise InputError(f"file = {series.file!r}: no such file; [files] has {', '.join(self.files)}")
            file = fill(self.files[series.file], tags)
            place = f"{file.path}, column {series.column}"
            values = self._resampled(file, series, horizon, series.resample or quantity.resample, place)
        values = (values * factor + offset) * series.factor
        outside = np.flatnonzero((values < quantity.low) | (values > quantity.high))
        if outside.size:
            time = horizon.start_utc + int(outside[0]) * horizon.step
            raise InputError(
                f"{place}: {values[outside[0]]:g} at {time:%Y-%m-%dT%H:%MZ} is outside {quantity.low:g} … "
                f"{quantity.high:g}; is {series.unit!r} the right unit?"
            )
        return values

    def _resampled(self, file: File, series: Series, horizon: Horizon, how: str, place: str) -> Array:
        """Values of the file's records over the horizon, averaged or interpolated to its periods."""
        step = timedelta(minutes=file.step_min)
        start = begin = horizon.start_utc
        if series.year is not None:
            start = same_day(begin, series.year, file, place)
        end = start + horizon.periods * horizon.step
        reach = margin(series)
        low, high = start - reach - 2 * step, end + reach + 2 * step
        header, rows, span = self.rows(file, low, high)
        times, texts, lines = matching(file, series, header, rows, Path(file.path), low, high)
        if not times:
            raise InputError(f"{place}: no rows for {start:%Y-%m-%d}; the file spans {span}")
        grid, values, line = on_grid(times, texts, lines, step, place)
        values = self._filled(grid, values, line, series, step, start, end, place)
        seconds = (grid - np.datetime64(start.replace(tzinfo=None), "s")) / np.timedelta64(1, "s")
        edges = np.arange(horizon.periods + 1) * horizon.step.total_seconds()
        return resample(seconds, values, edges, step.total_seconds(), how)

    def _filled(
        self, grid: Array, values: Array, line: Array, series: Series, step: timedelta,
        start: datetime, end: datetime, place: str,
    ) -> Array:  # fmt: skip
        """The values with missing ones filled by the series' rule; what stays missing inside the horizon is refused."""
        low, high = (np.datetime64(t.replace(tzinfo=None), "s") for t in (start, end))
        inside = (grid + np.timedelta64(step) > low) & (grid < high)
        if grid[0] > low or grid[-1] + np.timedelta64(step) < high:
            raise InputError(f"{place}: covers {grid[0]} … {grid[-1]}, not the horizon {low} … {high}")
        filled = fill_gaps(values, series, step / HOUR)
        count = int((inside & np.isnan(values)).sum())
        left = np.flatnonzero(inside & np.isnan(filled))
        if left.size:
            k = left[0]
            what = f"line {line[k]} is blank" if line[k] else "there is no such row"
            rule = f"; the gap exceeds what missing = {series.missing!r} may fill"
            advice = '; give a rule such as missing = "interpolate", or choose another day'
            raise InputError(
                f"{place}: no value at {grid[k]}Z ({what})" + (advice if series.missing == "refuse" else rule)
            )
        if count:
            self.notes.append(f"{place}: {count} missing value(s) filled by {series.missing!r}")
        return filled


def same_day(start: datetime, year: int, file: File, place: str) -> datetime:
    """The instant of the same calendar position, by the file's clock, in another year."""
    local = zone(file.time_zone or "UTC", "time_zone")
    try:
        return start.astimezone(local).replace(year=year).astimezone(timezone.utc)
    except ValueError as error:
        raise InputError(f"{place}: {start:%d %B} does not exist in year = {year}") from error


def margin(series: Series) -> timedelta:
    """How far around the horizon records may matter to the series' rule."""
    if series.missing == "refuse":
        return timedelta(0)
    reach = series.max_gap_h if series.max_gap_h is not None else 24.0
    return timedelta(hours=min(reach, 24.0 * 366) + 24.0)


def matching(
    file: File, series: Series, header: list[str], rows: list[Row], path: Path, low: datetime, high: datetime
) -> tuple[list[datetime], list[str], list[int]]:
    """UTC times, cells and line numbers of one series' records in [low, high)."""
    at = column(header, series.column, path)
    keys = [(column(header, name, path), value) for name, value in series.where.items()]
    kept = [row for row in rows if all(row[2][k].strip() == value for k, value in keys)]
    if rows and not kept:
        seen = sorted({", ".join(row[2][k] for k, _ in keys) for row in rows})
        raise InputError(f"{path.name}: no row has {series.where}; there are {'; '.join(seen[:12])}")
    naive = any(row[1].tzinfo is None for row in kept)
    if naive and not file.time_zone:
        raise InputError(f"{path.name}: timestamps carry no offset; give the file's time_zone")
    local = zone(file.time_zone or "UTC", f"{path.name}: time_zone")
    times: list[datetime] = []
    for line, stamp, _ in kept:
        times.append(to_utc(stamp, local, f"{path.name}, line {line}", times[-1] if times else None))
    chosen = [k for k, time in enumerate(times) if low <= time < high]
    return [times[k] for k in chosen], [kept[k][2][at] for k in chosen], [kept[k][0] for k in chosen]


def on_grid(
    times: list[datetime], texts: list[str], lines: list[int], step: timedelta, place: str
) -> tuple[Array, Array, Array]:
    """Equidistant times from the first record to the last, (n,); values, NaN where missing; lines, 0 where no row."""
    first = min(times)
    n = round((max(times) - first) / step) + 1
    values, line = np.full(n, np.nan), np.zeros(n, dtype=int)
    for time, text, number in zip(times, texts, lines, strict=True):
        k, rest = divmod(time - first, step)
        if rest:
            raise InputError(
                f"{place}, line {number}: {time:%Y-%m-%dT%H:%M:%SZ} is off the file's step of "
                f"{step / timedelta(minutes=1):g} min counted from {first:%Y-%m-%dT%H:%M:%SZ}"
            )
        if line[k]:
            raise InputError(f"{place}: {time:%Y-%m-%dT%H:%MZ} occurs twice, in lines {line[k]} and {number}")
        line[k], values[k] = number, number_in(text, f"{place}, line {number}")
    start = np.datetime64(first.replace(tzinfo=None), "s")
    return start + np.arange(n) * np.timedelta64(step).astype("m8[s]"), values, line


def fill_gaps(values: Array, series: Series, step_h: float) -> Array:
    """Missing values filled by the rule wherever a gap is short enough."""
    rule, n = series.missing, len(values)
    missing = np.isnan(values)
    if rule not in ("refuse", "interpolate", "hold", "day_before") and not (
        isinstance(rule, (int, float)) and not isinstance(rule, bool) and math.isfinite(rule)
    ):
        raise InputError(f'missing = {rule!r}: must be "refuse", "interpolate", "hold", "day_before" or a number')
    if rule == "refuse" or not missing.any():
        return values
    usual = {"interpolate": 3.0, "hold": 3.0, "day_before": 24.0}.get(rule, math.inf)
    longest = series.max_gap_h if series.max_gap_h is not None else usual
    filled, day = values.copy(), round(24 / step_h)
    starts = np.flatnonzero(missing & ~np.r_[False, missing[:-1]])
    stops = np.flatnonzero(missing & ~np.r_[missing[1:], False]) + 1
    for a, b in zip(starts.tolist(), stops.tolist(), strict=True):
        if (b - a) * step_h > longest + 1e-9:
            continue
        if rule == "hold" and a > 0:
            filled[a:b] = values[a - 1]
        elif rule == "interpolate" and a > 0 and b < n:
            filled[a:b] = np.interp(np.arange(a, b), [a - 1, b], values[[a - 1, b]])
        elif rule == "day_before":
            for k in range(max(a, day), b):
                filled[k] = filled[k - day]
        elif not isinstance(rule, str):
            filled[a:b] = rule
    return filled


def resample(seconds: Array, values: Array, edges: Array, step: float, how: str) -> Array:
    """Values per period, (period,), from records at `seconds` that last `step` seconds.

    "step" is the time average of held values: the mean of shorter records, the held value of longer ones.
    "linear" interpolates at the middle of each period between the middles of the records, "samples" between
    their stamps; records shorter than a period are averaged.
    """
    good = ~np.isnan(values)
    if how != "step" and step >= edges[1]:
        middle = seconds + (step / 2 if how == "linear" else 0.0)
        return np.interp((edges[:-1] + edges[1:]) / 2, middle[good], values[good])
    total = np.concatenate([[0.0], np.cumsum(np.where(good, values, 0.0) * step)])
    at = np.interp(edges, np.append(seconds, seconds[-1] + step), total)
    return np.diff(at) / np.diff(edges)
