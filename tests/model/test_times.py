"""The time stamp: any offset means the same everywhere, and what is written is UTC."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import h5py
import pytest

from decomp.files.store import write_instance
from decomp.model.instance import InputError
from decomp.model.times import parse_utc, stamp, start_of
from decomp.report import words
from decomp.report.timetable import period_starts
from decomp.report.why import when
from tiny import plain


@pytest.mark.parametrize(
    "text, meant",
    [
        ("2022-06-01T00:00Z", "2022-06-01T00:00Z"),
        ("2022-06-01T00:00+02:00", "2022-05-31T22:00Z"),
        ("2022-06-01T00:00-04:30", "2022-06-01T04:30Z"),
        ("2022-06-01T00:00", "2022-06-01T00:00Z"),
        ("2022-06-01", "2022-06-01T00:00Z"),
        ("2022-06-01T00:00:30+00:00", "2022-06-01T00:00:30Z"),
    ],
)
def test_a_stamp_is_written_in_utc(text: str, meant: str) -> None:
    assert stamp(parse_utc(text)) == meant == stamp(parse_utc(meant))


@pytest.mark.parametrize("text", ["yesterday", "2022-13-01", "0001-01-01T00:00+02:00", "1699-12-31", "9999-12-31T23Z"])
def test_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="start_utc: .* must be (an ISO 8601 time|in one of the years 1700 to 2200)"):
        parse_utc(text)


def test_periods_follow_to_the_second() -> None:
    """A third of an hour is no binary number."""
    instance = plain(start_utc="2022-06-01T00:00+02:00", period_h=1 / 3)
    assert [stamp(start_of(instance, t)) for t in (0, 1, 3, 5)] == [
        f"2022-05-31T{time}Z" for time in ("22:00", "22:20", "23:00", "23:40")
    ]
    assert start_of(plain(start_utc="2022-06-01", period_h=1 / 12), 288) == datetime(2022, 6, 2, tzinfo=timezone.utc)


def test_every_reader_says_the_same(tmp_path: Path) -> None:
    instance = plain(start_utc="2022-06-01T00:00+02:00")
    assert words.start(instance) == "2022-05-31 22:00 UTC"
    assert when(instance, 3) == "2022-06-01 01:00"
    assert period_starts(instance)[2] == "2022-06-01T00:00:00Z"
    write_instance(tmp_path / "fleet.h5", instance)
    with h5py.File(tmp_path / "fleet.h5") as file:
        assert file["period"].attrs["units"] == b"seconds since 2022-05-31 22:00:00"
