"""Stamps: what the time columns of a table say of each row, before it is turned to UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import tzinfo

import numpy as np

from decomp.ingest.clock import ABBREVIATIONS, DAY, NAMED_CLOCKS, instants, midnight, offset_at, zone
from decomp.ingest.layout import File
from decomp.ingest.table import Table
from decomp.model.instance import Array, InputError

UNREADABLE = np.iinfo(np.int64).min
CLOCK = r"(?:[T ]\d{1,2}(?::?\d{2}){0,2}|\d{1,2}:\d{2}(?::\d{2})?(?: ?[AaPp][Mm])?)(?:[.,]\d+)?"
OFFSET = re.compile(rf"({CLOCK}) ?(Z|z|[+-]\d{{2}}(?::?\d{{2}})?)$")
ABBREVIATION = re.compile(r"(\d|[AaPp][Mm]) ?\(?([A-Z]{3,5})\)?$")
MIDNIGHT = re.compile(r"(?<=[T ])24(:00(?::00(?:\.0+)?)?|$)")
FIRST, LAST = (int(np.datetime64(day, "s").astype(np.int64)) for day in ("1900-01-01", "2200-01-01"))
MARKS = {"A": 0, "B": 1, "X": 1, "*": 1}


@dataclass(frozen=True, eq=False)
class Stamps:
    """Arrays (row,). A row without readable stamp has the label UNREADABLE."""

    label: Array  # the clock as written, s; with `start_s` of its day
    offset: Array  # ahead of UTC, s, where the stamp says so; NaN where not
    fold: Array  # which of an hour that occurs twice; -1: not said
    names: Array  # abbreviation of the zone behind the stamp, or ""
    start_s: Array | None = None  # start of the interval since midnight, s, where hours or periods are numbered
    counted: bool = False  # numbers count on through days of 23 and 25 hours
    reaches_end: bool = False  # 24:00, hour 24, period 48: the numbers mark ends
    columns: str = ""  # the columns, for messages

    def take(self, rows: Array) -> Stamps:
        columns = {name: getattr(self, name)[rows] for name in ("label", "offset", "fold", "names")}
        return replace(self, start_s=None if self.start_s is None else self.start_s[rows], **columns)

    @property
    def readable(self) -> Array:
        return self.label != UNREADABLE

    @property
    def wall(self) -> Array:
        """What the clock shows, s, also where hours are numbered."""
        return self.label if self.start_s is None else np.where(self.readable, self.label + self.start_s, UNREADABLE)


def parse_times(words: Array, formats: str | list[str], separator: str = "") -> tuple[Array, Array, Array, bool]:
    """Label (s), offset (s), abbreviation of each text, and whether one of them is 24:00.

    The format is the one of `formats` that reads most of the texts.
    """
    texts = np.array([_start_of(str(w), separator) for w in words], dtype=object)
    formats = formats if isinstance(formats, list) else [formats]
    if formats[0] in ("epoch_s", "epoch_ms"):
        return _epochs(texts, formats[0])
    with_offset = any(not form or "%z" in form for form in formats)
    offset, names = np.full(len(texts), np.nan), np.full(len(texts), "", dtype=object)
    late = np.zeros(len(texts), dtype=bool)
    for k, text in enumerate(texts):
        if found := ABBREVIATION.search(text):
            text, names[k] = text[: found.end(1)], found[2]
            if found[2] in ("UTC", "GMT"):
                offset[k], names[k] = 0.0, ""
        found = OFFSET.search(text)
        if found and (with_offset or found[0][len(found[1])] == " "):  # 01:00-02:00 is a range to a format without %z
            text, offset[k] = text[: found.end(1)], _seconds(found[2])
        if MIDNIGHT.search(text):
            text, late[k] = MIDNIGHT.sub(lambda m: "00" + m[1], text), True
        texts[k] = text.strip()
    parsed = max((_parsed(texts, f) for f in formats), key=lambda label: int((label != UNREADABLE).sum()))
    label = np.where(late & (parsed != UNREADABLE), parsed + DAY, parsed)
    return label, offset, names, bool(late.any())


def _start_of(text: str, separator: str) -> str:
    text = text.replace("\u00a0", " ").replace("\u202f", " ").strip()
    separator = separator.replace("\u00a0", " ")
    return text.split(separator, 1)[0].strip() if separator and separator in text else text


def _seconds(offset: str) -> int:
    if offset in "Zz":
        return 0
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return (-1 if offset[0] == "-" else 1) * (3600 * int(digits[:2]) + 60 * int(digits[2:]))


def _parsed(texts: Array, form: str) -> Array:
    import pandas as pd

    form = re.sub(r"\s*%z$", "", form)
    if ("%I" in form) != ("%p" in form):
        raise InputError(f"time_format = {form!r}: %I (hours 1 to 12) and %p (AM, PM) go together; 0 to 23 are %H")
    if "%Z" in form:
        raise InputError(f"time_format = {form!r}: leave %Z out; a zone's abbreviation behind a stamp is understood")
    try:
        stamps = pd.to_datetime(pd.Series(texts, dtype=object), format=form or "ISO8601", errors="coerce")
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"time_format = {form!r}: {error}") from error
    seconds = stamps.to_numpy("M8[s]").astype(np.int64)
    plain_number = np.array([t.isdigit() and len(t) < 8 for t in texts], dtype=bool) & (not form)
    return np.where((seconds < FIRST) | (seconds > LAST) | plain_number, UNREADABLE, seconds)


def _epochs(texts: Array, form: str) -> tuple[Array, Array, Array, bool]:
    import pandas as pd

    values = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(float)
    values = values / (1000.0 if form == "epoch_ms" else 1.0)
    good = (values > 0) & (values < LAST)
    label = np.where(good, np.where(good, np.floor(values), 0).astype(np.int64), UNREADABLE)
    return label, np.zeros(len(texts)), np.full(len(texts), "", dtype=object), False


def read_stamps(table: Table, file: File, hour: Array | None = None) -> Stamps:
    """What the time columns of the layout say; `hour` is the number (from 0) of a column of `hours_across`."""
    said = _from_parts(table, file) if file.year_column or file.month_column else _from_column(table, file)
    if hour is not None:
        return replace(said, start_s=3600 * hour, reaches_end=False)
    if file.period_column:
        return _in_periods(said, table, file)
    if file.hour_column and file.minute_column:
        return _at_minutes(said, table, file)
    return _in_hours(said, table, file) if file.hour_column else said


def _of_days(label: Array, columns: str) -> Stamps:
    """Stamps that say no more than a day."""
    n = len(label)
    return Stamps(label, np.full(n, np.nan), np.full(n, -1), np.full(n, "", dtype=object), columns=columns)


def _from_column(table: Table, file: File) -> Stamps:
    """What a column of times or days says, or a line above the table of the day of all rows."""
    if file.day_above:
        for row in table.above:
            label, *_ = parse_times(np.array([c for c in row if c.strip()] or [""], dtype=object), file.day_above)
            if (label != UNREADABLE).any():
                return _of_days(np.full(len(table), int(label[label != UNREADABLE][0])), "the line above")
        raise InputError(f"{table.name}: no line above the table holds a day by day_above = {file.day_above!r}")
    if not file.time_column:
        raise InputError(f"{table.name}: time_column is missing; {table.known_columns('time')}")
    name = table.first_of(file.time_column)
    cells = table.cells(name)
    label, offset, names, late = parse_times(cells.words, file.time_format, file.range_separator)
    rows = cells.codes
    return Stamps(label[rows], offset[rows], np.full(len(rows), -1), names[rows], reaches_end=late, columns=name)


def _from_parts(table: Table, file: File) -> Stamps:
    """Midnight of days given by year, month and day; without a year by month and day in 1904, a leap year."""
    for wanted in ("month_column", "day_column"):
        if not getattr(file, wanted):
            raise InputError(f"{table.name}: {wanted} is missing")
    month, day = _whole(table, file.month_column), _whole(table, file.day_column)
    year = _whole(table, file.year_column) if file.year_column else np.full(len(month), 1904)
    year = np.where((year >= 0) & (year < 100), year + np.where(year < 70, 2000, 1900), year)
    good = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year > 1899) & (year < 2200)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    date = months.astype("M8[D]") + np.where(good, day - 1, 0)
    good &= date.astype("M8[M]") == months
    columns = ", ".join(c for c in (file.year_column, file.month_column, file.day_column) if c)
    return _of_days(np.where(good, date.astype("M8[s]").astype(np.int64), UNREADABLE), columns)


def _in_periods(day: Stamps, table: Table, file: File) -> Stamps:
    """Stamps by the number of the period in its day, from 0 or 1 on."""
    name, step = table.first_of(file.period_column), min(file.steps)
    number = _whole(table, name)
    first = 0 if (number[number >= 0] == 0).any() else 1
    return replace(
        day,
        label=np.where(number < first, UNREADABLE, day.label),
        start_s=(number - first) * step,
        counted=True,
        reaches_end=bool(number.max(initial=0) * step >= DAY),
        columns=name,
    )


def _in_hours(day: Stamps, table: Table, file: File) -> Stamps:
    """Stamps by the hour of the day, and where there is a column of them by the interval in it."""
    name, step = table.first_of(file.hour_column), min(file.steps)
    seconds, fold, good = _hours(table, name, file.range_separator)
    length = 3600 if file.interval_column else step
    start = seconds - {"end": length, "middle": length // 2}.get(file.stamp, 0)
    if file.interval_column:
        number = _whole(table, file.interval_column)
        start, good = start + (number - 1) * step, good & (number >= 1)
    label, late = np.where(good, day.label, UNREADABLE), bool((seconds >= DAY).any())
    return replace(day, label=label, fold=fold, start_s=start, reaches_end=late, columns=name)


def _at_minutes(day: Stamps, table: Table, file: File) -> Stamps:
    """Stamps by columns of the hour and the minute."""
    seconds, fold, good = _hours(table, table.first_of(file.hour_column), file.range_separator)
    minutes = _whole(table, file.minute_column)
    label = np.where(good & day.readable & (minutes >= 0), day.label + seconds + 60 * minutes, UNREADABLE)
    return replace(day, label=label, fold=fold, reaches_end=bool((seconds >= DAY).any()))


def _whole(table: Table, name: str) -> Array:
    """Whole numbers of a column; -1 where there is none."""
    cells = table.cells(name)
    found = [re.fullmatch(r"(\d{1,4})(?:\.0+)?", str(w)) for w in cells.words]
    return np.array([int(m[1]) if m else -1 for m in found], dtype=int)[cells.codes]


def _hours(table: Table, name: str, separator: str) -> tuple[Array, Array, Array]:
    """Hours of the day, s; which of an hour that occurs twice; which are readable: 7, 07:00, 24, 02X, 2B, HE 3."""
    cells = table.cells(name)
    seconds, fold, good = (np.zeros(len(cells.words), dtype=t) for t in (int, int, bool))
    fold[:] = -1
    for k, word in enumerate(cells.words):
        text = _start_of(str(word), separator)
        found = re.fullmatch(r"(?:HE|HB|H|Hour)? ?(\d{1,2}):?(\d{2})?(?::00)?(?:\.0+)? ?([AP]M|[ABX*])?", text)
        if found and int(found[1]) <= 25 and int(found[2] or 0) < 60:
            hour = int(found[1]) % 12 + 12 * (found[3] == "PM") if found[3] in ("AM", "PM") else int(found[1])
            seconds[k] = 3600 * hour + 60 * int(found[2] or 0)
            fold[k], good[k] = MARKS.get(found[3] or "", -1), True
    return seconds[cells.codes], fold[cells.codes], good[cells.codes]


def zone_of(table: Table, file: File) -> str:
    """Name of the zone of stamps without offset, where need be as the file says."""
    if file.time_zone == "header":
        name = table.first_of(file.time_column)
        first = next((w for w in table.cells(name).words if "(" in w), "")
        for text in (name, first):
            for found in re.findall(r"\(([A-Z/]+)\)", text):
                if found in NAMED_CLOCKS:
                    return NAMED_CLOCKS[found]
        return ""
    if file.time_zone == "above":
        for names, values in zip(table.above, table.above[1:], strict=False):
            said = dict(zip(names, values, strict=False))
            if "timezone" in said or "utc_offset_seconds" in said:
                return _said_above(said)
        return ""
    return file.time_zone


def _said_above(said: dict[str, str]) -> str:
    """The clock of a table below a line of names and one of values: the offset goes before the name.

    Open-Meteo's local times keep one offset through all of a series, also where clocks are changed.
    """
    try:
        minutes = round(float(said.get("utc_offset_seconds", "").strip()) / 60)
    except ValueError:
        named = said.get("timezone", "").strip()
        return "UTC" if named in ("GMT", "UTC") else named
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}" if minutes else "UTC"


def to_utc(stamps: Stamps, local: tzinfo, step: int, stamp: str, blank: Array) -> tuple[Array, Array]:
    """Starts of the records' intervals, UTC, s, and which rows have an hour that does not exist, (row,).

    Ends are turned to UTC as ends, then moved back by a step. A numbered hour or period is placed by its start.

    Parameters
    ----------
    stamps : of readable rows.
    local : zone of stamps without offset.
    step : time between records, s.
    stamp : what a stamp marks: start, middle, end.
    blank : rows without value: those of hours that do not exist are passed over in silence.
    """
    if stamps.start_s is not None:
        return _numbered(stamps, local, step, blank)
    shift = {"end": step, "middle": step // 2}.get(stamp, 0)
    aware = ~np.isnan(stamps.offset)
    if aware.all():
        return stamps.label - stamps.offset.astype(np.int64) - shift, np.zeros(len(aware), dtype=bool)
    fold = _folds(stamps, local)
    utc, never = instants(stamps.label, fold, local, step, stamp == "end")
    told = np.where(aware, stamps.label - np.nan_to_num(stamps.offset).astype(np.int64), utc)
    return told - shift, never & ~aware


def _folds(stamps: Stamps, local: tzinfo) -> Array:
    """Which of an hour that occurs twice, also by the abbreviation behind the stamp: (CEST), EST."""
    fold = stamps.fold
    if not (stamps.names != "").any():
        return fold
    fold = fold.copy()
    for name in set(stamps.names[stamps.names != ""]):
        if name in ABBREVIATIONS or name in ("CET", "EET", "WET"):
            said = {"CET": 3600, "EET": 7200, "WET": 0}.get(name)
            if said is None:
                said = offset_at(0, zone(ABBREVIATIONS[name][0], "time_zone"))
            rows = np.flatnonzero(stamps.names == name)
            for row in rows:
                instant = int(stamps.label[row]) - said
                fold[row] = int(offset_at(instant - 7200, local) != offset_at(instant, local) == said)
    return fold


def _numbered(stamps: Stamps, local: tzinfo, step: int, blank: Array) -> tuple[Array, Array]:
    """Starts of numbered hours and periods.

    Hours that count on through a day of 23 or 25 hours are told by their numbers: up to 25, or the one that would
    not exist with a value. Else the number names the hour on the wall: 02 occurs twice, 03 not at all.
    """
    day, start = stamps.label, stamps.start_s
    assert start is not None
    begin = midnight(day, local)
    length = midnight(day + DAY, local) - begin
    utc, never = begin + start, start >= length
    if stamps.counted:
        return utc, never
    odd = length != DAY
    for date in np.unique(day[odd]).tolist():
        rows = np.flatnonzero(day == date)
        long = int(length[rows[0]])
        filled = rows[~blank[rows]]
        last = int(start[filled].max(initial=0))
        _, gone = instants(date + start[filled], stamps.fold[filled], local, step, False)
        counts = last >= DAY if long > DAY else bool(gone.any()) and last < long
        if not counts:
            utc[rows], gone = instants(date + start[rows], stamps.fold[rows], local, step, False)
            never[rows] = gone | (start[rows] >= DAY)
    return utc, never


def in_years(stamps: Stamps, years: range) -> tuple[Stamps, Array]:
    """The stamps of a typical year in each of some years, and the row that each comes from."""
    rows = np.flatnonzero(stamps.readable)
    label = stamps.label[rows]
    moment = label.astype("M8[s]")
    month, day = moment.astype("M8[M]"), moment.astype("M8[D]")
    in_year = month - moment.astype("M8[Y]").astype("M8[M]")
    in_month, in_day = day - month.astype("M8[D]"), moment - day.astype("M8[s]")
    labels, taken = [], []
    for year in years:
        there = np.datetime64(str(year), "M") + in_year
        date = there.astype("M8[D]") + in_month
        real = date.astype("M8[M]") == there  # there is no 29 February in most years
        labels.append((date.astype("M8[s]") + in_day).astype(np.int64)[real])
        taken.append(rows[real])
    at = np.concatenate(taken)
    return replace(stamps.take(at), label=np.concatenate(labels)), at
