"""Series: from the rows of a table to one value per period, with units, clocks, gaps and resampling made explicit."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo

import numpy as np

from decomp.ingest import gaps
from decomp.ingest.checks import check_gaps, check_rows, check_stamps, check_values, one_each, summary, without_strays
from decomp.ingest.clock import ABBREVIATIONS, changes_clocks, zone
from decomp.ingest.keys import fill
from decomp.ingest.layout import File, Series
from decomp.ingest.library import Library
from decomp.ingest.records import HOUR, Records, Wanted, utc_text
from decomp.ingest.spec import Horizon
from decomp.ingest.stamps import Stamps, in_years, to_utc, zone_of
from decomp.ingest.table import Table
from decomp.ingest.units import QUANTITIES, conversion
from decomp.model.instance import Array, InputError


def read_series(library: Library, name: str, series: Series, horizon: Horizon, tags: dict[str, str]) -> Array:
    """One value per period, (period,), in the unit of the quantity.

    Raises
    ------
    InputError : names file, column, line, time and value, and the key that mends it.
    """
    series = fill(series, tags)
    quantity = QUANTITIES[name]
    factor, offset = conversion(name, series.unit, library.currencies)
    if (series.value is None) == (not series.file):
        raise InputError("needs either a file or a value")
    gaps.check_rule(series.missing)
    wanted = Wanted(name, quantity, series, series.resample or quantity.resample, factor, offset, library)
    for key in ("value", "missing"):
        said = getattr(series, key)
        if not series.plausible or not isinstance(said, (int, float)):
            continue
        known = float(wanted.converted(np.array(said)))
        if not quantity.low <= known <= quantity.high:
            raise InputError(f"{key}: {quantity.text(known)} is outside {quantity.low:g} … {quantity.high:g}")
    if series.value is not None:
        return wanted.converted(np.full(horizon.periods, series.value))
    if series.file not in library.files:
        raise InputError(f"file = {series.file!r}: no such file; [files] has {', '.join(library.files)}")
    return _from_file(wanted, fill(library.files[series.file], tags), horizon, tags)


def _from_file(wanted: Wanted, file: File, horizon: Horizon, tags: dict[str, str]) -> Array:
    """The series of a file over the horizon."""
    library, series = wanted.library, wanted.series
    table, stamps, file = library.timed(file)
    rows = table.where(series.where)
    if not rows.any():
        raise InputError(_no_row(table, series))
    at, taken = _readable(file, stamps, rows, horizon)
    local = _zone(table, file, taken, horizon, tags, library)
    records = _records(table, file, series, at, taken, local)
    start = horizon.start_utc
    if series.year is not None and not file.typical:
        start = same_days(horizon, series.year, local, records.place)
    low = int(start.timestamp())
    high = low + round(horizon.periods * horizon.step.total_seconds())
    check_stamps(wanted, records)
    check_rows(wanted, records, stamps, rows, low, high)
    reach = margin(series) + 2 * max(records.steps)
    near = records.take((records.start >= low - reach) & (records.start < high + reach) & ~records.never)
    if not len(near.start):
        raise InputError(_nothing_near(records, low))
    near = without_strays(wanted, check_values(wanted, records, near, low, high), low, high)
    near = one_each(near, low, high)
    grid, values, record = _on_grid(wanted, records, near)
    filled, count = _filled(wanted, near, grid, values, record, low, high)
    edges = np.arange(horizon.periods + 1) * horizon.step.total_seconds()
    periods = wanted.converted(gaps.resample(grid - low, filled, edges, near.step, wanted.how, near.lead))
    told = summary(wanted, near, periods, count, grid, low, high)
    library.summaries.append(f"{tags['name']}: {told}" if "name" in tags else told)
    return periods


def _readable(file: File, stamps: Stamps, rows: Array, horizon: Horizon) -> tuple[Array, Stamps]:
    """Rows of the series with a readable stamp; those of a typical year in every year of the horizon."""
    if not file.typical:
        at = np.flatnonzero(rows & stamps.readable)
        return at, stamps.take(at)
    first, last = horizon.start_utc, horizon.start_utc + horizon.periods * horizon.step
    at = np.flatnonzero(rows & stamps.readable)
    taken, chosen = in_years(stamps.take(at), range(first.year - 1, last.year + 2))
    return at[chosen], taken


def _records(table: Table, file: File, series: Series, at: Array, stamps: Stamps, local: tzinfo) -> Records:
    if stamps.reaches_end and not file.stamp:
        raise InputError(
            f"{table.name}, column {stamps.columns}: its numbers reach the end of the day, so they mark ends: "
            'say stamp = "end" (or "start")'
        )
    column = "value" if file.hours_across else series.column
    if not column:
        raise InputError(f"{table.name}: column is missing; {table.known_columns('')}")
    value, wrong = (array[at] for array in table.numbers(column))
    start, never = to_utc(stamps, local, min(file.steps), file.stamp, np.isnan(value) & ~wrong)
    return Records(table, file, column, at, start, stamps.wall, value, wrong, never, file.steps)


def _zone(table: Table, file: File, stamps: Stamps, horizon: Horizon, tags: dict[str, str], library: Library) -> tzinfo:
    """Zone of the stamps without offset; a fixed one in a place with summer time is noted."""
    name = zone_of(table, file)
    if not name and np.isnan(stamps.offset).any():
        raise InputError(f"{table.name}: timestamps carry no offset; give the file's time_zone")
    local = zone(name or "UTC", f"{table.name}: time_zone")
    if file.time_zone == "above" and name != "UTC":
        library.note(f"{table.name}: its clock is {name} all along, as the lines above the table say")
    if name in ABBREVIATIONS:
        around = (tags.get("time_zone", ""), horizon.time_zone)
        place = next((z for z in around if "/" in z), ABBREVIATIONS[name][1])
        if changes_clocks(zone(place, "time_zone"), horizon.start_utc.year):
            library.note(
                f"{table.name}: time_zone = {name!r} is {ABBREVIATIONS[name][0]} all year; if the file's clock is "
                f"changed in summer, say time_zone = {place!r}"
            )
    return local


def _no_row(table: Table, series: Series) -> str:
    wanted = {**table.layout.where, **series.where}
    if not wanted:
        return f"{table.name}: there is no row below its header"
    seen = []
    for name in wanted:
        words = sorted({str(w) for w in table.cells(name).words})
        seen.append(f"{name}: {', '.join(words[:12])}{', …' if len(words) > 12 else ''}")
    return f"{table.name}: no row has {wanted}; there are {'; '.join(seen)}"


def _nothing_near(records: Records, low: int) -> str:
    """No records near the horizon: what the file has instead."""
    file, table = records.file, records.table
    if not len(records.start):
        name = table.first_of(file.time_column or file.month_column or "c1")
        return (
            f"{table.place(0, name)}: {str(table.cells(name).text()[0])!r} is not a time "
            f"{file.time_format or 'such as 2022-07-15T13:00Z'}, and no other row has one; see time_format"
        )
    first, last = int(records.start.min()), int(records.start.max())
    years = [datetime.fromtimestamp(t, timezone.utc).year for t in (first, last)]
    here = datetime.fromtimestamp(low, timezone.utc).year
    hint = f"; year = {years[0]} in the series takes the same days of that year" if here not in years else ""
    span = f"{utc_text(first)} … {utc_text(last)}"
    return f"{records.place}: no rows for {utc_text(low)[:10]}; the file spans {span}{hint}"


def _on_grid(wanted: Wanted, records: Records, near: Records) -> tuple[Array, Array, Array]:
    """Even times, UTC, s; values, NaN where missing; and the record of each, -1 where there is none."""
    step = near.step
    order = np.argsort(near.start, kind="stable")
    times, length = near.start[order], np.full(len(order), step)
    if len(near.steps) > 1:
        length = gaps.steps_of(times, gaps.resolution_changes(records.start[~records.never], near.steps))
    elif wanted.how == "step" and (whole := gaps.held_hours(times, step)).any():
        length[whole] = HOUR
        wanted.library.note(
            f"{near.place}: {int(whole.sum())} hourly values among records of {step / 60:g} min are held for their "
            f"hour; step_min = [60, {step / 60:g}] says so"
        )
    grid, at = gaps.on_grid(np.append(times, times[-1] + length[-1] - step), step)
    at = at[:-1]
    values, record = np.full(len(grid), np.nan), np.full(len(grid), -1)
    values[at], record[at] = near.value[order], order
    for copy in range(1, int(length.max()) // step):
        long = (copy * step < length) & (at + copy < len(grid))
        long[long] = record[at[long] + copy] < 0
        values[at[long] + copy], record[at[long] + copy] = near.value[order][long], order[long]
    if len(near.steps) > 1 and wanted.how != "step":
        held = np.ones(len(grid), dtype=bool)
        held[at] = False
        good = ~held & ~np.isnan(values)
        held &= ~np.isnan(values)
        values[held] = np.interp(np.flatnonzero(held), np.flatnonzero(good), values[good])
    return grid, values, record


def _filled(
    wanted: Wanted, near: Records, grid: Array, values: Array, record: Array, low: int, high: int
) -> tuple[Array, int]:
    """The values with missing ones filled by the series' rule, and how many; what stays missing is refused."""
    step = near.step
    inside = (grid + step > low) & (grid < high)
    if grid[0] > low or grid[-1] + step < high:
        raise InputError(
            f"{near.place}: covers {utc_text(grid[0])} … {utc_text(grid[-1] + step)}, "
            f"not the horizon {utc_text(low)} … {utc_text(high)}"
        )
    filled = gaps.fill_gaps(values, wanted.series, step / HOUR)
    count = int((inside & np.isnan(values)).sum())
    if count:
        check_gaps(wanted, near, grid, record, np.flatnonzero(inside & np.isnan(filled)))
        wanted.library.note(f"{near.place}: {count} missing value(s) filled by {wanted.series.missing!r}")
    return filled, count


def same_days(horizon: Horizon, year: int, local: tzinfo, place: str) -> datetime:
    """Where the days of the horizon, by the file's clock, start in another year."""
    length = (horizon.periods - 1) * horizon.step
    first, last = (moment.astimezone(local) for moment in (horizon.start_utc, horizon.start_utc + length))
    try:
        start, end = (t.replace(year=t.year + year - first.year).astimezone(timezone.utc) for t in (first, last))
    except ValueError as error:
        raise InputError(f"{place}: 29 February does not exist in year = {year}") from error
    if abs(end - start - length) >= timedelta(hours=12):
        raise InputError(f"{place}: from {first:%d %B} to {last:%d %B} there is a 29 February in one of the years only")
    return start


def margin(series: Series) -> int:
    """How far around the horizon, s, records may matter to the series' rule."""
    if series.missing == "refuse":
        return 0
    reach = series.max_gap_h if series.max_gap_h is not None else 24.0
    return round(HOUR * (min(reach, 24.0 * 366) + 24.0))
