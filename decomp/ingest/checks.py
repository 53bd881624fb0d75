"""Nothing wrong goes in silently: what of a file is refused inside the horizon, and noted outside."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from decomp.ingest import gaps
from decomp.ingest.clock import newest_first
from decomp.ingest.numbers import BLANK
from decomp.ingest.records import HOUR, Records, Wanted, utc_text
from decomp.ingest.stamps import Stamps
from decomp.ingest.table import Table
from decomp.ingest.units import SENTINELS, better_unit, implausible
from decomp.model.instance import Array, InputError


def check_rows(wanted: Wanted, records: Records, stamps: Stamps, rows: Array, low: int, high: int) -> None:
    """Refuse rows inside the horizon whose stamp cannot be read or does not exist; note others."""
    stray = np.flatnonzero(~stamps.readable & _may_belong(records.table, wanted, rows))
    stray = stray[~_blank(records.table, stray)]
    if len(stray):
        inside = _between(records, stray, low, high)
        if inside.any():
            row = int(stray[inside][0])
            raise InputError(_bad_stamp(records, stamps, row))
        row = int(stray[0])
        wanted.library.note(
            f"{records.table.place(row)}: no readable time, outside the horizon; {len(stray)} such row(s) passed over"
        )
    gone = np.flatnonzero(records.never & (~np.isnan(records.value) | records.wrong))
    near = gone[(records.start[gone] >= low - HOUR) & (records.start[gone] <= high + HOUR)]
    if len(near):
        raise InputError(
            f"{records.place_of(int(near[0]))}: {utc_text(records.wall[near[0]])[:-1]} does not exist in the file's "
            f"time_zone (clocks go forward) and has the value {records.text(int(near[0]))!r}; is time_zone right?"
        )
    if len(gone):
        wanted.library.note(
            f"{records.place_of(int(gone[0]))}: {len(gone)} value(s) of hours that do not exist passed over"
        )


def _may_belong(table: Table, wanted: Wanted, rows: Array) -> Array:
    """Rows that the series takes, or whose keys are blank."""
    belong = rows.copy()
    for name in {**table.layout.where, **wanted.series.where}:
        cells = table.cells(name)
        belong |= np.array([w.lower() in BLANK for w in cells.words], dtype=bool)[cells.codes]
    return belong


def _blank(table: Table, rows: Array) -> Array:
    """Which of some rows have no content."""
    blank = np.ones(len(rows), dtype=bool)
    for k in range(len(table.header)):
        cells = table.column(k)
        blank &= np.array([str(w).lower() in BLANK for w in cells.words[cells.codes[rows]]], dtype=bool)
    return blank


def _between(records: Records, stray: Array, low: int, high: int) -> Array:
    """Whether rows without time may lie inside the horizon, by the times of the rows before and after them."""
    start, row, step = records.start, records.row, max(records.steps)
    if not len(start):
        return np.zeros(len(stray), dtype=bool)
    order = np.argsort(row, kind="stable")
    at = np.searchsorted(row[order], stray)
    before, after = start[order[np.maximum(at - 1, 0)]], start[order[np.minimum(at, len(row) - 1)]]
    downwards = newest_first(start)
    far = np.int64(1) << 60
    before = np.where(at > 0, before, far if downwards else -far)
    after = np.where(at < len(row), after, -far if downwards else far)
    earliest, latest = np.minimum(before, after), np.maximum(before, after)
    return (earliest + step < high) & (latest > low)


def _bad_stamp(records: Records, stamps: Stamps, row: int) -> str:
    names = [n.strip() for n in stamps.columns.split(",")]
    table = records.table
    texts = [str(table.cells(n).text()[row]) for n in names if n in table.header]
    form = records.file.time_format
    likely = f"by time_format = {form!r}" if form else "such as 2022-07-15T13:00Z (see time_format)"
    return (
        f"{table.place(row, stamps.columns)}: {' '.join(texts)!r} is not a time {likely}; "
        "lines below the table are left out by skipfooter"
    )


def check_values(wanted: Wanted, records: Records, near: Records, low: int, high: int) -> Records:
    """Refuse unreadable and implausible values inside the horizon; the records with others clipped or missing."""
    inside = (near.start + near.step > low) & (near.start < high)
    series, quantity = wanted.series, wanted.quantity
    bad = np.flatnonzero(near.wrong & inside)
    if len(bad):
        raise InputError(f"{near.place_of(int(bad[0]))}: {near.text(int(bad[0]))!r} {_not_a_number(near, int(bad[0]))}")
    far = int(records.wrong.sum())
    if far:
        k = int(np.flatnonzero(records.wrong)[0])
        wanted.library.note(
            f"{records.place_of(k)}: {records.text(k)!r} is no number; {far} such cell(s) outside the horizon"
        )
    value = near.value.copy()
    if series.plausible:
        sentinel = np.isin(value, SENTINELS)
        hit = np.flatnonzero(sentinel & inside)
        if len(hit):
            text = near.text(int(hit[0]))
            raise InputError(
                f"{near.place_of(int(hit[0]))}: {text} often means missing: na_values = [{text}] if so, "
                "plausible = false in the series if it is a value"
            )
        value[sentinel] = np.nan
    real = wanted.converted(value)
    _check_plausible(wanted, records, replace(near, value=value), real, inside)
    if quantity.full_scale and series.plausible:
        value = _clipped(wanted, near, value, real, inside)
    return replace(near, value=value)


def _not_a_number(near: Records, k: int) -> str:
    text, layout = near.text(k), near.table.layout
    if "," in text and not layout.decimal and layout.thousands != ",":
        return 'is not a number; decimal = "," or thousands = ","?'
    if layout.thousands and layout.thousands in text:
        return f"is not a number by thousands = {layout.thousands!r}; is that the decimal sign (decimal)?"
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return f"is not finite; na_values = [{text!r}] if it means missing"
    return f"is not a number{'' if re.search('[0-9]', text) else f'; na_values = [{text!r}] if it means missing'}"


def _check_plausible(wanted: Wanted, records: Records, near: Records, real: Array, inside: Array) -> None:
    """Refuse values that no market or weather has, with the unit that would fit."""
    series, quantity = wanted.series, wanted.quantity
    if not series.plausible:
        return
    slack = max(0.05, series.clip) * quantity.full_scale
    with np.errstate(invalid="ignore"):
        outside = np.flatnonzero(((real > quantity.high + slack) | (real < quantity.low - slack)) & inside)
    raw = records.value[~np.isnan(records.value)]
    advice = better_unit(wanted.name, series.unit, raw, series.factor, wanted.library.currencies)
    if len(outside):
        k = int(outside[0])
        clips = f", clip = {series.clip:g} allows less" if quantity.full_scale else ""
        raise InputError(
            f"{near.place_of(k)}: {near.text(k)} is {quantity.text(real[k])} at {utc_text(near.start[k])}, outside "
            f"{quantity.low:g} … {quantity.high:g}{clips}: {advice} na_values = [{near.text(k)}] if it means missing, "
            "plausible = false if it is so"
        )
    whole = implausible(replace(quantity, low=-np.inf, high=np.inf), wanted.converted(records.value))
    if whole:
        raise InputError(f"{records.place}: {whole} is too little: {advice} plausible = false if it is so")


def _clipped(wanted: Wanted, near: Records, value: Array, real: Array, inside: Array) -> Array:
    """Values a little beyond 0 or full scale are taken as those."""
    quantity, series = wanted.quantity, wanted.series
    slack = series.clip * quantity.full_scale
    with np.errstate(invalid="ignore"):
        beyond = (real < quantity.low) | (real > quantity.high)
        far = np.flatnonzero(((real < quantity.low - slack - 1e-12) | (real > quantity.high + slack + 1e-12)) & inside)
    if len(far):
        k = int(far[0])
        raise InputError(
            f"{near.place_of(k)}: {near.text(k)} is {quantity.text(real[k])}, beyond 0 … {quantity.high:g} by "
            f"more than clip = {series.clip:g} of full scale; a larger clip takes it as the nearest"
        )
    count = int((beyond & inside).sum())
    if count:
        k = int(np.flatnonzero(beyond & inside)[0])
        wanted.library.note(
            f"{near.place}: {count} value(s) beyond 0 … {quantity.high:g} clipped, the first {near.text(k)} in line "
            f"{near.table.line(int(near.row[k]))}"
        )
    limit = np.clip(real[beyond], quantity.low, quantity.high)
    value[beyond] = (limit / series.factor - wanted.offset) / wanted.factor
    return value


def check_stamps(wanted: Wanted, records: Records) -> None:
    """Refuse records that all stand at half the step unless it is said what their stamps mark."""
    step = records.step
    half = len(records.wall) and step >= 120 and (records.wall % step * 2 == step).all()
    if half and not records.file.stamp and wanted.how != "samples":
        raise InputError(
            f"{records.place}: stamps stand at half the step of {step / 60:g} min: "
            'say stamp = "middle" (or "start", "end")'
        )


def without_strays(wanted: Wanted, near: Records, low: int, high: int) -> Records:
    """Records on the step only: others are refused, or dropped by off_grid = "drop"."""
    step = near.step
    usual = gaps.phase(near.start, step)
    off = np.flatnonzero(near.start % step != usual)
    inside = off[(near.start[off] + step > low) & (near.start[off] < high)]
    if not len(off):
        return near
    if near.file.off_grid == "refuse" and len(inside):
        k, apart = int(inside[0]), gaps.spacing(near.start)
        other = (
            f"records stand {apart / 60:g} min apart: step_min = {apart / 60:g}? " if apart and apart != step else ""
        )
        raise InputError(
            f"{near.place_of(k)}: {utc_text(near.start[k])} is off the file's step of {step / 60:g} min; {other}"
            'off_grid = "drop" leaves such records out'
        )
    if len(inside):
        wanted.library.note(f"{near.place}: {len(inside)} record(s) between the steps of {step / 60:g} min left out")
    return near.take(near.start % step == usual)


def one_each(near: Records, low: int, high: int) -> Records:
    """One record for each time; several are refused unless their rows say the same and drop_duplicates is said."""
    order = np.argsort(near.start, kind="stable")
    times = near.start[order]
    twice = np.flatnonzero(times[1:] == times[:-1])
    if not len(twice):
        return near
    keep = np.ones(len(order), dtype=bool)
    for k in twice.tolist():
        a, b = int(order[k]), int(order[k + 1])
        differ = differences(near.table, int(near.row[a]), int(near.row[b]))
        if near.file.drop_duplicates and not differ:
            keep[b] = False
        elif times[k] + near.step > low and times[k] < high:
            lines = [near.table.line(int(near.row[r])) for r in (a, b)]
            advice = (
                _which(near, differ, a, b) if differ else "drop_duplicates = true takes rows that say the same once"
            )
            raise InputError(
                f"{near.place}: {utc_text(times[k])} occurs twice, in lines {lines[0]} and {lines[1]}; {advice}"
            )
        else:
            keep[b] = False
    return near.take(keep)


def differences(table: Table, a: int, b: int) -> list[str]:
    """Columns in which two rows differ."""
    codes = [table.column(k).codes for k in range(len(table.header))]
    return [name or f"c{k + 1}" for k, name in enumerate(table.header) if codes[k][a] != codes[k][b]]


def _which(near: Records, differ: list[str], a: int, b: int) -> str:
    """Advice: the column whose value tells two rows of one time apart."""
    others = [name for name in differ if name != near.column]
    if not others:
        return f"they say {near.text(a)} and {near.text(b)}"
    words = [str(near.table.cells(others[0]).text()[near.row[r]]) for r in (a, b)]
    return f"they differ in {', '.join(others[:4])}: where = {{ {others[0]!r} = {words[0]!r} }} (or {words[1]!r})?"


def check_gaps(wanted: Wanted, near: Records, grid: Array, record: Array, left: Array) -> None:
    """Refuse values that stay missing; and an hourly value in shorter records that a rule would bend."""
    step, rule = near.step, wanted.series.missing
    absent = np.flatnonzero(record < 0)
    hourly = wanted.how == "step" and step < HOUR and _on_the_hour_only(grid, record, step)
    if hourly and rule == "interpolate" and len(absent):
        raise InputError(
            f"{near.place}: there are rows on the hour only from {utc_text(grid[max(int(absent[0]) - 1, 0)])}; an "
            f'hourly value holds for its hour: step_min = [60, {step / 60:g}], or missing = "hold"'
        )
    if not len(left):
        return
    k = int(left[0])
    what = f"line {near.table.line(int(near.row[record[k]]))} is blank" if record[k] >= 0 else "there is no such row"
    apart = gaps.spacing(near.start)
    if record[k] < 0 and apart > step and not hourly:
        advice = f"; records stand {apart / 60:g} min apart: step_min = {apart / 60:g}?"
    elif rule != "refuse":
        advice = f"; the gap exceeds what missing = {rule!r} may fill (max_gap_h)"
    elif wanted.how == "step":
        hours = f"; hourly values hold for their hour by step_min = [60, {step / 60:g}]" if hourly else ""
        advice = f'; give a rule such as missing = "hold" or "day_before", or choose another day{hours}'
    else:
        advice = '; give a rule such as missing = "interpolate", or choose another day'
    raise InputError(f"{near.place}: no value at {utc_text(grid[k])} ({what}){advice}")


def _on_the_hour_only(grid: Array, record: Array, step: int) -> bool:
    """Whether a gap begins after a record on the hour and ends before the next one an hour later."""
    per = HOUR // step
    present = np.flatnonzero(record >= 0)
    apart = np.diff(present) == per
    return bool((apart & (grid[present[:-1]] % HOUR == 0)).any())


def summary(wanted: Wanted, records: Records, periods: Array, count: int, grid: Array, low: int, high: int) -> str:
    """A series in one line, in the quantity's unit."""
    times = grid[(grid + records.step > low) & (grid < high)]
    extra = f", measured at {wanted.series.wind_height_m:g} m" if wanted.name == "wind_speed" else ""
    extra += f", on the {wanted.series.plane} plane" if wanted.name == "irradiance" else ""
    return (
        f"{wanted.name} {periods.min():.5g} … {periods.max():.5g}, mean {wanted.quantity.text(periods.mean(), '.5g')}, "
        f"{100 * count / max(len(times), 1):.3g} % filled, {utc_text(times[0])} … {utc_text(times[-1])}, "
        f"{records.place}{extra}"
    )
