"""Time zones and instants."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from decomp.model.instance import InputError


def zone(name: str, place: str) -> tzinfo:
    """Time zone by name: UTC, an IANA name, or a fixed offset such as -07:00."""
    fixed = re.fullmatch(r"([+-])([01]\d|2[0-3]):([0-5]\d)", name)
    if fixed:
        offset = timedelta(hours=int(fixed[2]), minutes=int(fixed[3]))
        return timezone(offset if fixed[1] == "+" else -offset)
    try:
        return timezone.utc if name == "UTC" else ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{place} = {name!r}: must be UTC, an IANA name such as Europe/Berlin, or ±hh:mm") from error


def to_utc(stamp: datetime, local: tzinfo, place: str, after: datetime | None = None) -> datetime:
    """An instant in UTC.

    A local hour that occurs twice (clocks go back) is its second occurrence once the first has passed,
    that is when the first would not come after `after`, the instant of the record before.
    """
    if stamp.tzinfo is not None:
        return stamp.astimezone(timezone.utc)
    utc = stamp.replace(tzinfo=local).astimezone(timezone.utc)
    if utc.astimezone(local).replace(tzinfo=None) != stamp:
        raise InputError(f"{place}: {stamp:%Y-%m-%dT%H:%M} does not exist in {local} (clocks go forward)")
    if after is not None and utc <= after:
        return stamp.replace(tzinfo=local, fold=1).astimezone(timezone.utc)
    return utc
