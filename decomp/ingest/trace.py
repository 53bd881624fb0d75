"""Job traces: sizes, durations and submissions as schedulers write them, and their place in the horizon."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import NamedTuple

import numpy as np

from decomp.ingest.attempts import parse_attempts
from decomp.ingest.clock import DAY, offset_at, readings, zone
from decomp.ingest.library import Library
from decomp.ingest.spec import Horizon, JobTrace
from decomp.ingest.stamps import UNREADABLE, Stamps, parse_times, to_utc
from decomp.ingest.table import Table
from decomp.model.instance import Array, InputError

TRES = re.compile(r"[\w/:.-]+=[^,=]*(?:,[\w/:.-]+=[^,=]*)*")
GPUS = re.compile(r"(?:^|,)gres/gpu(:[^,=]+)?=(\d+)")
CLOCK = re.compile(r"(?:(\d+)(?:-| days?,? ))?(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)")
DAY_H = 24.0


@dataclass(frozen=True)
class Trace:
    """Submissions of the chosen days on the horizon, in order of time; arrays (job,)."""

    name: Array
    group: Array
    gpus: Array
    hours: Array
    submit_h: Array  # after the horizon's start

    def take(self, rows: Array) -> Trace:
        return Trace(*(getattr(self, k)[rows] for k in ("name", "group", "gpus", "hours", "submit_h")))


class Moments(NamedTuple):
    """Times of rows, arrays (row,), NaN where missing."""

    hours: Array  # since 1970 in UTC, or as counted
    day: Array  # of the calendar, as written; or as counted
    first: float  # day 0
    ahead_s: float  # of the clock before UTC, where that is the same all year
    local: tzinfo | None  # the clock's zone, where it is said


def read_trace(trace: JobTrace, horizon: Horizon, library: Library) -> Trace:
    """Jobs submitted on the chosen days, where they fall on the horizon.

    Jobs without GPUs or duration are left out with a note.

    Raises
    ------
    InputError : names file, line, column and text, and the key that mends it.
    """
    table = library.table(trace, parse_attempts if trace.layout == "attempts" else None)
    rows = table.rows("job")
    gpus = _numbers(table, trace.gpus_column, rows, gpus_of, "a number of GPUs, nor a text such as gres/gpu=4")
    hours = _durations(table, trace, rows)
    submit = _moments(table, trace.submit_column, trace, rows)
    wrong = np.flatnonzero((gpus < 0) | (hours < 0) | ~(submit.hours >= 0))
    if len(wrong):
        k = int(wrong[0])
        raise InputError(
            f"{table.place(int(rows[k]))}: a job of {gpus[k]:g} GPUs, {hours[k]:g} h, submitted at {submit.hours[k]:g} "
            "h; none of them may be negative, and the submission is needed (where leaves rows out)"
        )
    kept = (gpus > 0) & (hours > 0)
    if not kept.all():
        _note_left_out(table, rows, gpus, hours, library)
    day = submit.day - submit.first
    chosen = np.flatnonzero(kept & (day >= trace.first_day) & (day < trace.first_day + trace.days))
    if not len(chosen):
        raise InputError(_no_job(table, trace, day[kept]))
    at, moved = placed(submit.hours[chosen] - DAY_H * (submit.first + trace.first_day), horizon, submit)
    if moved:
        library.note(
            f"{table.name}: {moved} of {len(at)} jobs are of hours that the horizon does not have and move into it"
        )
    named = table.cells(table.first_of(trace.name_column)).text()[rows]
    grouped = table.cells(trace.group_column).text()[rows] if trace.group_column else np.full(len(rows), "all")
    order = sorted(
        (float(hour), str(named[k]), str(grouped[k]), float(gpus[k]), float(hours[k]))
        for hour, k in zip(at, chosen, strict=True)
    )
    submit_h, name, group, size, length = (np.array(c) for c in zip(*order, strict=True))
    return Trace(_told_apart(name, table, library), group, size, length, submit_h)


def placed(hours: Array, horizon: Horizon, clock: Moments) -> tuple[Array, int]:
    """Hours after the horizon's start, and how many had to leave their time of day for a horizon shorter than a day.

    Days follow each other as in the trace, the first one on the horizon's first, by the trace's calendar; what lies
    before or after the horizon moves into it by whole days.

    Parameters
    ----------
    hours : after midnight, UTC, of the first day's date.
    clock : of the trace.
    """
    start = int(horizon.start_utc.timestamp())
    ahead = clock.ahead_s if clock.local is None else offset_at(start, clock.local)
    at = hours - (start - DAY * ((start + ahead) // DAY)) / 3600
    length = horizon.periods * horizon.period_min / 60
    whole = DAY_H * max(1, int(length // DAY_H))
    at = np.where((at >= 0) & (at < length), at, at % whole)
    return at % length, int((at >= length).sum())


# ---------------------------------------------------------------------------------------------- columns


def gpus_of(text: str) -> float | None:
    """GPUs in a scheduler's list of resources, `cpu=8,gres/gpu=4`; None if the text is no such list.

    A total goes before the GPUs of each type that it is the sum of.
    """
    if not TRES.fullmatch(text):
        return None
    found = [(kind, float(count)) for kind, count in GPUS.findall(text)]
    total = [count for kind, count in found if not kind]
    return total[0] if total else sum(count for _, count in found)


def seconds_of(text: str) -> float | None:
    """Seconds of a duration [D-]HH:MM:SS; None if the text is none."""
    found = CLOCK.fullmatch(text)
    if not found:
        return None
    return 86400.0 * int(found[1] or 0) + 3600.0 * int(found[2]) + 60.0 * int(found[3]) + float(found[4])


def _numbers(
    table: Table, names: str | list[str], rows: Array, other: Callable[[str], float | None], what: str
) -> Array:
    """Numbers of some rows of a column, NaN where missing; `other` reads the texts that are no numbers."""
    name = table.first_of(names)
    cells = table.cells(name)
    values, wrong = table.numbers(name)
    if not wrong[rows].any():
        return values[rows]
    read = [other(str(word)) for word in cells.words]
    told = np.array([np.nan if value is None else value for value in read])
    bad = rows[(wrong & np.array([value is None for value in read])[cells.codes])[rows]]
    if len(bad):
        text = str(cells.words[cells.codes[bad[0]]])
        raise InputError(f"{table.place(int(bad[0]), name)}: {text!r} is not {what}; {_if_missing(text)}")
    return np.where(wrong, told[cells.codes], values)[rows]


def _if_missing(text: str) -> str:
    return f"na_values = [{text!r}] if it means missing"


def _durations(table: Table, trace: JobTrace, rows: Array) -> Array:
    """Durations, h, of some rows: of their own column, or from start to end."""
    unit = trace.hours_per_unit
    if trace.duration_column:
        clocks = _numbers(
            table,
            trace.duration_column,
            rows,
            lambda text: _in_units(text, unit),
            "a duration: a number, or [D-]HH:MM:SS",
        )
        return clocks * unit
    if not (trace.start_column and trace.end_column):
        raise InputError("duration_column is missing, or start_column and end_column")
    start = _moments(table, trace.start_column, trace, rows).hours
    return _moments(table, trace.end_column, trace, rows, start).hours - start


def _in_units(text: str, hours: float) -> float | None:
    seconds = seconds_of(text)
    return None if seconds is None else seconds / 3600 / hours


def _moments(table: Table, names: str | list[str], trace: JobTrace, rows: Array, after: Array | None = None) -> Moments:
    """Times of some rows of a column; of one that occurs twice the second where the first is before `after`, h."""
    name = table.first_of(names)
    cells = table.cells(name)
    values, wrong = table.numbers(name)
    if not trace.time_format and np.isfinite(values[rows]).sum() >= wrong[rows].sum():
        counted = table.numbers_in(name, rows) * trace.hours_per_unit
        return Moments(counted, counted // DAY_H, 0.0, 0.0, None)
    label, offset, abbreviations, _ = parse_times(cells.words, trace.time_format, "")
    blank = np.isnan(values) & ~wrong
    bad = rows[((label == UNREADABLE)[cells.codes] & ~blank)[rows]]
    if len(bad):
        text = str(cells.words[cells.codes[bad[0]]])
        form = f"by time_format = {trace.time_format!r}" if trace.time_format else "such as 2022-07-15T13:00:00Z"
        raise InputError(f"{table.place(int(bad[0]), name)}: {text!r} is not a time {form}; {_if_missing(text)}")
    there = ~blank[rows]
    codes = cells.codes[rows[there]]
    stamps = Stamps(label[codes], offset[codes], np.full(len(codes), -1), abbreviations[codes])
    naive = np.isnan(stamps.offset)
    if naive.any() and not trace.time_zone:
        raise InputError(f"{table.name}, column {name}: times carry no offset; give the trace's time_zone")
    local = zone(trace.time_zone or "UTC", "time_zone")
    utc, _ = to_utc(stamps, local, 1, "start", np.zeros(len(codes), dtype=bool))
    if after is not None and len(codes):
        utc = np.where(naive & (utc < 3600 * after[there]), readings(stamps.label, local).late, utc)
    hours, day = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    hours[there], day[there] = utc / 3600, stamps.label // DAY
    ahead = float((stamps.label - utc)[0]) if len(codes) else 0.0
    return Moments(hours, day, np.nanmin(day, initial=np.inf), ahead, local if naive.any() else None)


# ---------------------------------------------------------------------------------------------- what is told


def _note_left_out(table: Table, rows: Array, gpus: Array, hours: Array, library: Library) -> None:
    without = ~(gpus > 0), (gpus > 0) & ~(hours > 0)
    told = [
        f"{int(w.sum())} without {what}" for w, what in zip(without, ("GPUs", "a duration"), strict=True) if w.any()
    ]
    out = without[0] | without[1]
    line = table.line(int(rows[np.argmax(out)]))
    library.note(
        f"{table.name}: {int(out.sum())} of {len(rows)} jobs left out, {' and '.join(told)}, the first in line {line}"
    )


def _no_job(table: Table, trace: JobTrace, days: Array) -> str:
    if not len(days):
        return f"{table.name}: no job has GPUs and a duration"
    text = f"{table.name}: no job was submitted on days {trace.first_day} … {trace.first_day + trace.days - 1}"
    first, last = int(days.min()), int(days.max())
    epoch = '; seconds since 1970 are said by time_format = "epoch_s"' if first > 4000 and not trace.time_format else ""
    return f"{text}; submissions are on days {first} … {last} (first_day, days){epoch}"


def _told_apart(names: Array, table: Table, library: Library) -> Array:
    """The names, with a number behind those that occur again."""
    taken, told, again = set(names.tolist()), [], 0
    seen: dict[str, int] = {}
    for name in names.tolist():
        count = seen[name] = seen.get(name, 0) + 1
        other = name
        while count > 1 and other in taken:
            other = f"{name} ({count})"
            count += 1
        again += other != name
        taken.add(other)
        told.append(other)
    if again:
        repeated = next(name for name, count in seen.items() if count > 1)
        library.note(
            f"{table.name}: {again} job(s) have a name that occurs before, such as {repeated!r}, and get a number"
        )
    return np.array(told)
