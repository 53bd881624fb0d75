"""Clocks: from local time to UTC, over hours that occur twice and hours that do not occur.

Times are whole seconds since 1970, of UTC or as a wall clock shows them ("labels").
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from functools import cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from decomp.model.instance import Array, InputError

DAY = 86_400
# Abbreviations that name no place: the fixed offset each means, and the zone of those who write it.
ABBREVIATIONS = {
    "EST": ("-05:00", "America/New_York"),
    "CST": ("-06:00", "America/Chicago"),
    "MST": ("-07:00", "America/Denver"),
    "PST": ("-08:00", "America/Los_Angeles"),
    "EDT": ("-04:00", "America/New_York"),
    "CDT": ("-05:00", "America/Chicago"),
    "MDT": ("-06:00", "America/Denver"),
    "PDT": ("-07:00", "America/Los_Angeles"),
    "GMT": ("+00:00", "Europe/London"),
    "BST": ("+01:00", "Europe/London"),
    "WEST": ("+01:00", "Europe/Lisbon"),
    "CEST": ("+02:00", "Europe/Berlin"),
    "EEST": ("+03:00", "Europe/Helsinki"),
    "IST": ("+05:30", "Asia/Kolkata"),
    "JST": ("+09:00", "Asia/Tokyo"),
    "KST": ("+09:00", "Asia/Seoul"),
    "AEST": ("+10:00", "Australia/Sydney"),
    "AEDT": ("+11:00", "Australia/Sydney"),
    "ACST": ("+09:30", "Australia/Adelaide"),
    "AWST": ("+08:00", "Australia/Perth"),
    "NZST": ("+12:00", "Pacific/Auckland"),
}
# What a header calls the clock of its column.
NAMED_CLOCKS = {
    "UTC": "UTC",
    "GMT": "UTC",
    "GMT/BST": "Europe/London",
    "WET/WEST": "Europe/Lisbon",
    "CET": "Europe/Brussels",
    "CET/CEST": "Europe/Brussels",
    "MEZ": "Europe/Berlin",
    "MEZ/MESZ": "Europe/Berlin",
    "EET/EEST": "Europe/Helsinki",
}


def zone(name: str, place: str) -> tzinfo:
    """Time zone by name: UTC, an IANA name, or a fixed offset such as -07:00."""
    fixed = re.fullmatch(r"([+-])([01]\d|2[0-3]):?([0-5]\d)", name)
    if fixed:
        offset = timedelta(hours=int(fixed[2]), minutes=int(fixed[3]))
        return timezone(offset if fixed[1] == "+" else -offset)
    try:
        return timezone.utc if name in ("UTC", "Z") else ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        known = ABBREVIATIONS.get(name.upper())
        hint = f'; {name} all year is "{known[0]}", a clock that is changed "{known[1]}"' if known else ""
        raise InputError(
            f"{place} = {name!r}: must be UTC, an IANA name such as Europe/Berlin, or ±hh:mm{hint}"
        ) from error


def offset_at(instant: int, local: tzinfo) -> int:
    """Seconds by which the zone's clocks are ahead of UTC."""
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=instant)
    return int((moment.astimezone(local).utcoffset() or timedelta()).total_seconds())


def changes_clocks(local: tzinfo, year: int) -> bool:
    """Whether the zone's clocks are changed in a year."""
    return len(_regimes(local, year, year)[0]) > 1


@cache
def _regimes(local: tzinfo, first: int, last: int) -> tuple[Array, Array]:
    """Start in UTC and offset, s, of the times between changes of the clocks, from a year to a year."""
    days = range(
        int(datetime(first, 1, 1, tzinfo=timezone.utc).timestamp()) - 2 * DAY,
        int(datetime(last + 1, 1, 1, tzinfo=timezone.utc).timestamp()) + 3 * DAY,
        DAY,
    )
    begin, offsets = [days[0]], [offset_at(days[0], local)]
    for low, high in pairwise(days):
        if (after := offset_at(high, local)) == offsets[-1]:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset_at(middle, local) == offsets[-1] else (low, middle)
        begin.append(high)
        offsets.append(after)
    return np.array(begin), np.array(offsets)


class Readings(NamedTuple):
    """What labels of a local clock may mean, arrays (label,)."""

    early: Array  # UTC, s; of a label that occurs twice the first
    late: Array  # UTC, s; of a label that occurs twice the second
    twice: Array
    never: Array
    change: Array  # UTC, s: the change of the clocks that a label of `twice` or `never` belongs to


def readings(label: Array, local: tzinfo) -> Readings:
    """All readings of local labels, s."""
    if not len(label):
        none = np.zeros(0, dtype=int)
        return Readings(none, none, none > 0, none > 0, none)
    first, last = (1970 + int(edge) // (365 * DAY + DAY // 4) for edge in (label.min(), label.max()))
    begin, offsets = _regimes(local, max(first - 1, 1890), min(last + 1, 2300))
    low = np.searchsorted(begin[1:] + offsets[:-1], label, side="right")  # regimes that are over
    high = np.searchsorted(begin[1:] + offsets[1:], label, side="right")  # regimes that have begun
    return Readings(label - offsets[low], label - offsets[high], low < high, low > high, begin[np.maximum(low, high)])


def midnight(day: Array, local: tzinfo) -> Array:
    """First instant of local days, UTC, s; days as labels of their midnight."""
    read = readings(day, local)
    return np.where(read.never, read.change, read.early)


def instants(label: Array, fold: Array, local: tzinfo, step: int, ends: bool) -> tuple[Array, Array]:
    """Instants of labels in the order of their rows.

    A label that occurs twice is the first of the two unless `fold` (label,) says 1; where it says -1, its first row
    is the first and its next row the second, row by row as the file goes on. A single row is taken as the one that
    its neighbours, a step away, leave room for.

    Parameters
    ----------
    label : wall clock, s, (row,).
    fold : 0, 1 or -1 (not said), (row,).
    local : the clock's zone.
    step : time between records, s.
    ends : labels mark ends; one at which clocks go forward is the instant of the change.

    Returns
    -------
    UTC, s, (row,), and which labels never occur.
    """
    read = readings(label, local)
    never = read.never.copy()
    utc = np.where(fold == 1, read.late, read.early)
    if ends:
        # The hour before clocks go forward ends when they do, whatever the label calls that.
        edge = never & (read.late == read.change)
        utc, never = np.where(edge, read.change, utc), never & ~edge
    unsaid = read.twice & (fold < 0)
    if unsaid.any():
        order = np.arange(len(label))[:: -1 if newest_first(label) else 1]
        for group in _groups(label[order], unsaid[order], read, order):
            late = _is_late(order, group, label, utc, read, step)
            utc[order[group]] = np.where(late, read.late[order[group]], read.early[order[group]])
    return np.where(never, read.change, utc), never


def newest_first(times: Array) -> bool:
    """Whether times mostly fall from row to row."""
    return bool((np.diff(times) < 0).sum() > (np.diff(times) > 0).sum())


def _groups(label: Array, unsaid: Array, read: Readings, order: Array) -> list[Array]:
    """Positions of the rows of one repeated hour in one passage through time, in order.

    A step backwards by more than clocks ever go back starts a new passage: a download that overlaps, another place.
    """
    longest = int((read.late - read.early)[read.twice].max())
    passage = np.r_[0, np.cumsum(np.diff(label) < -longest)]
    at = np.flatnonzero(unsaid)
    change = read.change[order[at]]
    breaks = np.flatnonzero((np.diff(passage[at]) != 0) | (np.diff(change) != 0)) + 1
    return np.split(at, breaks)


def _is_late(order: Array, group: Array, label: Array, utc: Array, read: Readings, step: int) -> Array:
    """Which rows of a repeated hour are its second passage; `group` : their positions in `order`."""
    rows = order[group]
    back = np.diff(label[rows]) < 0
    if back.any():
        return np.r_[False, np.cumsum(back) > 0]
    again = np.r_[False, np.diff(label[rows]) == 0]
    if again.any():
        return again
    before, after = group[0] - 1, group[-1] + 1
    follows = before >= 0 and utc[order[before]] + step == read.early[rows[0]]
    precedes = after < len(order) and utc[order[after]] - step == read.late[rows[-1]]
    return np.full(len(rows), precedes and not follows)


def utc_of(stamp: datetime, local: tzinfo, place: str) -> datetime:
    """A moment in UTC; of a local hour that occurs twice the first."""
    if stamp.tzinfo is not None:
        return stamp.astimezone(timezone.utc)
    utc = stamp.replace(tzinfo=local).astimezone(timezone.utc)
    if utc.astimezone(local).replace(tzinfo=None) != stamp:
        raise InputError(f"{place}: {stamp:%Y-%m-%dT%H:%M} does not exist in {local} (clocks go forward)")
    return utc
