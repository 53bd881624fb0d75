"""The time stamp of an instance: what it means, what comes so many periods later, and how that is written.

`start_utc` may carry any offset, or none, which is UTC. Nothing else reads, adds to or writes it.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from decomp.model.strict import InputError

if TYPE_CHECKING:
    from decomp.model.instance import Instance

YEARS = range(1700, 2201)  # so that all of a horizon is within 1678 to 2261, as nanoseconds of 64 bits can be


def parse_utc(text: str) -> datetime:
    """The time that `start_utc` denotes, in UTC.

    Raises
    ------
    InputError : it is not an ISO 8601 time, or not of the years 1700 to 2200: pandas and xarray know few others.
    """
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
        time = time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise InputError(f"start_utc: {text!r}, must be an ISO 8601 time such as 2022-01-01T00:00Z") from None
    if time.year not in YEARS:
        raise InputError(f"start_utc: {text!r}, must be in one of the years {YEARS[0]} to {YEARS[-1]}")
    return time


def start_of(instance: Instance, period: int = 0) -> datetime:
    """When a period starts, UTC, to the second."""
    return parse_utc(instance.start_utc) + timedelta(seconds=round(3600.0 * period * instance.period_h))


def stamp(time: datetime) -> str:
    """A time as `start_utc` and tables have it: UTC, to the minute unless there are seconds."""
    exact = "minutes" if time.second == time.microsecond == 0 else "auto"
    return time.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec=exact) + "Z"
