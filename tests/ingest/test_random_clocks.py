"""Random clocks: files written by the standard library's clock, in any layout, are read without one wrong hour.

CLOCKS=2000 in the environment tries as many.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from draws import draws
from ingest.reading import Keys, read

WHOLE_HOURS = [
    "Europe/Berlin",
    "Europe/London",
    "Europe/Helsinki",
    "America/New_York",
    "America/Los_Angeles",
    "America/Santiago",  # changes at midnight, in the south
    "America/Havana",  # changes at midnight, in the north
    "Australia/Sydney",
    "Pacific/Auckland",
    "Africa/Casablanca",  # four changes in some years
    "Asia/Tokyo",
    "UTC",
]
PARTS_OF_HOURS = ["Asia/Kolkata", "Australia/Adelaide", "America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham"]
HALF_AN_HOUR_OF_SUMMER = ["Australia/Lord_Howe"]
FORMATS = ["%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%Y%m%d %H%M%S", "%d-%b-%Y %H:%M:%S"]


@dataclass(frozen=True)
class Truth:
    """Records of whole local days: record k begins at `first` + k `step`, UTC, and its value is `value(k)`."""

    zone: ZoneInfo
    first: datetime
    n: int
    minutes: int

    @property
    def step(self) -> timedelta:
        return timedelta(minutes=self.minutes)

    def start(self, k: int) -> datetime:
        return (self.first + k * self.step).astimezone(self.zone)

    def moment(self, k: int, stamp: str) -> datetime:
        """The local time that a stamp names."""
        after = {"start": timedelta(0), "middle": self.step / 2, "end": self.step}[stamp]
        return (self.first + k * self.step + after).astimezone(self.zone)


def value(k: int) -> str:
    return f"{10 + k}.25"


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a day; where midnight does not exist, the one after it."""
    moment = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(timezone.utc)
    return moment if moment.astimezone(zone).date() == day else moment + timedelta(hours=1)


def changes(zone: ZoneInfo, year: int) -> list[date]:
    """Days on which the clocks are changed."""
    noons = [datetime(year, 1, 1, 12, tzinfo=timezone.utc) + timedelta(days=k) for k in range(366)]
    offsets = [noon.astimezone(zone).utcoffset() for noon in noons]
    return [b.date() for b, x, y in zip(noons[1:], offsets, offsets[1:], strict=False) if x != y]


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    zone = ZoneInfo(draw(st.sampled_from(WHOLE_HOURS + PARTS_OF_HOURS + HALF_AN_HOUR_OF_SUMMER)))
    year = draw(st.integers(2014, 2026))
    days = changes(zone, year)
    usual = date(year, draw(st.integers(1, 12)), draw(st.integers(1, 28)))
    day = draw(st.sampled_from(days)) if days and draw(st.integers(0, 3)) else usual
    begin = day - timedelta(days=draw(st.integers(0, 1)))
    length = draw(st.integers(2, 3))
    first, last = (local_midnight(begin + timedelta(days=k), zone) for k in (0, length))
    minutes = draw(st.sampled_from([5, 15, 30, 60]))
    return Truth(zone, first, int((last - first) / timedelta(minutes=minutes)), minutes)


# ------------------------------------------------------------------------------------------------ layouts

Written = tuple[str, list[list[str]], Keys]  # header, rows, keys of the file


def naive(truth: Truth, draw: st.DrawFn) -> Written:
    """Local stamps without offset, in order of time or backwards."""
    stamp, form = draw(st.sampled_from(["start", "middle", "end"])), draw(st.sampled_from(["", *FORMATS]))
    late = stamp == "end" and draw(st.booleans()) and "%p" not in form
    rows = []
    for k in range(truth.n):
        moment = truth.moment(k, stamp)
        if late and (moment.hour, moment.minute, moment.fold) == (0, 0, 0) and form in ("", FORMATS[0]):
            day = moment - timedelta(days=1)
            text = day.strftime(form or "%Y-%m-%dT%H:%M:%S").replace("00:00:00", "24:00:00")
        else:
            text = moment.strftime(form or "%Y-%m-%dT%H:%M:%S")
        rows.append([text, value(k)])
    if draw(st.booleans()):
        rows.reverse()
    return "time,v", rows, dict(time_column="time", time_format=form, stamp=stamp, time_zone=truth.zone.key)


def aware(truth: Truth, draw: st.DrawFn) -> Written:
    """Stamps with offset, or seconds or milliseconds since 1970, in any order."""
    stamp, kind = (
        draw(st.sampled_from(["start", "middle", "end"])),
        draw(st.sampled_from(["iso", "epoch_s", "epoch_ms"])),
    )
    scale = {"epoch_s": 1, "epoch_ms": 1000}.get(kind, 0)
    moments = [truth.moment(k, stamp) for k in range(truth.n)]
    texts = [str(int(m.timestamp()) * scale) if scale else m.isoformat() for m in moments]
    rows = [[text, value(k)] for k, text in enumerate(texts)]
    order = draw(st.permutations(range(min(truth.n, 50))))
    rows = [rows[k] for k in order] + rows[len(order) :]
    return "time,v", rows, dict(time_column="time", time_format=kind if scale else "", stamp=stamp)


def hours(truth: Truth, draw: st.DrawFn) -> Written:
    """A date and an hour, which names the hour by its start or end, or counts the hours of the day."""
    ends, counted, marked = draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from(["", "X", "AB"]))
    form = draw(st.sampled_from(["%Y-%m-%d", "%m/%d/%Y"]))
    header, rows, per = "date,hour,v", [], 60 // truth.minutes
    for k in range(truth.n):
        start = truth.start(k)
        elapsed = int((truth.first + k * truth.step - local_midnight(start.date(), truth.zone)) / timedelta(hours=1))
        number = (elapsed if counted else start.hour) + ends
        text = f"{number:02d}"
        later, earlier = start.replace(fold=1), start.replace(fold=0)
        if not counted and later.utcoffset() != earlier.utcoffset() and start.replace(tzinfo=None):
            twice = later.utcoffset() < earlier.utcoffset()  # type: ignore[operator]
            text += ({"X": ["", "X"], "AB": ["A", "B"]}.get(marked, ["", ""])[start.fold]) if twice else ""
        rows.append([start.strftime(form), text, *([str(k % per + 1)] if per > 1 else []), value(k)])
    keys = dict(
        time_column="date", time_format="" if form[1] == "Y" else form, hour_column="hour", time_zone=truth.zone.key,
        stamp="end" if ends else "start",
    )  # fmt: skip
    return ("date,hour,part,v", rows, keys | dict(interval_column="part")) if per > 1 else (header, rows, keys)


def periods(truth: Truth, draw: st.DrawFn) -> Written:
    """A date and a number that counts the periods of the day."""
    rows = []
    for k in range(truth.n):
        day = truth.start(k).date()
        number = int((truth.first + k * truth.step - local_midnight(day, truth.zone)) / truth.step)
        rows.append([str(day), str(number + 1), value(k)])
    keys = dict(time_column="date", period_column="period", time_zone=truth.zone.key)
    return "date,period,v", rows, keys | dict(stamp=draw(st.sampled_from(["start", "end"])))


def across(truth: Truth, draw: st.DrawFn) -> Written:
    """A row for each day, its hours one after the other; in spring named or counted."""
    named = draw(st.booleans())
    rows: dict[date, list[str]] = {}
    for k in range(truth.n):
        start = truth.start(k)
        day = rows.setdefault(start.date(), [""] * 25)
        elapsed = int((truth.first + k * truth.step - local_midnight(start.date(), truth.zone)) / truth.step)
        next_day = local_midnight(start.date() + timedelta(days=1), truth.zone)
        short = next_day - local_midnight(start.date(), truth.zone) < timedelta(hours=24)
        day[start.hour if named and short else elapsed] = value(k)
    columns = [f"HE{k + 1}" for k in range(25)]
    keys = dict(time_column="date", hours_across=columns, time_zone=truth.zone.key)
    return ",".join(["date", *columns]), [[str(day), *cells] for day, cells in rows.items()], keys


def layouts(truth: Truth) -> list[Callable[[Truth, st.DrawFn], Written]]:
    found = [naive, aware]
    if truth.zone.key in WHOLE_HOURS:
        found += [hours, periods]
        found += [across] if truth.minutes == 60 else []
    elif truth.zone.key in PARTS_OF_HOURS:
        found += [periods, hours]
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[Truth, str, Keys, Keys, int, int]:
    """What is true, a file that says so, the keys by which it is read, and the records asked for."""
    truth = draw(truths())
    layout = draw(st.sampled_from(layouts(truth)))
    header, rows, keys = layout(truth, draw)
    series: Keys = {} if layout is across else dict(column="v")
    if layout is not across and draw(st.booleans()):  # another place in the same file
        header, series = f"{header},zone", series | dict(where={"zone": "A"})
        other = [[*row[:-1], "-5"] for row in rows]
        mixed = zip(rows, other, strict=True) if draw(st.booleans()) else [rows, other]
        if mixed == [rows, other]:
            rows = [[*r, "A"] for r in rows] + [[*r, "B"] for r in other]
        else:
            rows = [cells for a, b in mixed for cells in ([*a, "A"], [*b, "B"])]
    text = "\n".join([header, *(",".join(row) for row in rows)]) + "\n"
    low = draw(st.integers(0, truth.n - 1))
    return truth, text, keys | dict(step_min=truth.minutes), series, low, draw(st.integers(low + 1, truth.n))


@given(cases())
@settings(draws(int(os.environ.get("CLOCKS", "100"))), suppress_health_check=[HealthCheck.too_slow])
def test_no_hour_is_wrong(case: tuple[Truth, str, Keys, Keys, int, int]) -> None:
    truth, text, keys, series, low, high = case
    note(f"{truth}\n{keys}\n{series}\n{text}")
    horizon = dict(
        start=(truth.first + low * truth.step).isoformat(), periods=high - low, period_min=float(truth.minutes)
    )
    with TemporaryDirectory() as folder:
        values, _ = read(Path(folder), text, keys, series, **horizon)
    assert values.tolist() == [float(value(k)) for k in range(low, high)], np.flatnonzero(
        values != [float(value(k)) for k in range(low, high)]
    )
