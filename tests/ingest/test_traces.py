"""Job traces, request traces and tables of pairs, as schedulers and clouds write them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from decomp.ingest.keys import record
from decomp.ingest.library import Library
from decomp.ingest.network import egress_usd_per_gb, round_trip_ms
from decomp.ingest.spec import Egress, Horizon, JobTrace, Latency, Site
from decomp.ingest.trace import Moments, Trace, gpus_of, placed, read_trace, seconds_of
from decomp.model.instance import InputError

PLAIN = dict(name_column="job", gpus_column="gpus", duration_column="dur", submit_column="sub")
SACCT = """JobID|Submit|Start|End|Elapsed|AllocTRES|Partition|State
7|2024-05-06T01:10:00|Unknown|Unknown|00:00:00||gpu|CANCELLED
8|2024-05-06T02:00:00|2024-05-06T02:00:05|2024-05-06T04:00:05|02:00:00|billing=8,cpu=8,gres/gpu=4|gpu|COMPLETED
8.batch|2024-05-06T02:00:00|2024-05-06T02:00:05|2024-05-06T04:00:05|02:00:00|cpu=8,gres/gpu=4||COMPLETED
9_3|2024-05-06T03:00:00|2024-05-06T03:00:00|2024-05-07T04:30:00|1-01:30:00|cpu=8,gres/gpu:a100=4,gres/gpu:v100=2|ai|FAILED
10|2024-05-06T03:10:00|2024-05-06T03:10:00|2024-05-06T03:20:00|00:10:00|cpu=4,mem=4G|cpu|COMPLETED
"""


def read(
    folder: Path, text: str, keys: dict[str, Any], start: str = "2024-05-06", hours: int = 24
) -> tuple[Trace, list[str]]:
    (folder / "j.csv").write_text(text)
    library = Library(folder)
    horizon = Horizon(start=start, periods=hours, period_min=60.0)
    return read_trace(record(JobTrace, dict(path="j.csv") | keys, "trace"), horizon, library), library.notes


def rows(*members: tuple[str, Any, Any, Any]) -> str:
    return "job,sub,dur,gpus\n" + "".join(f"{','.join(map(str, m))}\n" for m in members)


def test_sacct_as_it_is_printed(tmp_path: Path) -> None:
    jobs, notes = read(tmp_path, SACCT, dict(format="sacct", time_zone="Europe/Berlin"))
    assert jobs.name.tolist() == ["8", "9_3"] and jobs.gpus.tolist() == [4, 6]
    assert jobs.hours.tolist() == [2, 25.5] and jobs.submit_h.tolist() == [0, 1], "UTC"
    assert notes == ["j.csv: 2 of 4 jobs left out, 2 without GPUs, the first in line 2"]
    only, _ = read(tmp_path, SACCT, dict(format="sacct", time_zone="UTC", where={"Partition": ["ai", "cpu"]}))
    assert only.name.tolist() == ["9_3"], "the preset's condition on steps stays beside another column's"


def test_times_without_offset_need_a_zone_and_are_placed_in_utc(tmp_path: Path) -> None:
    keys = dict(format="sacct")
    with pytest.raises(InputError, match="j.csv, column Submit: times carry no offset; give the trace's time_zone"):
        read(tmp_path, SACCT, keys)
    tokyo, _ = read(tmp_path, SACCT, dict(keys, time_zone="Asia/Tokyo"))
    assert tokyo.submit_h.tolist() == [17, 18]


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("billing=8,cpu=8,gres/gpu=4,node=1", 4),
        ("gres/gpu:a100=4", 4),
        ("gres/gpu:a100=8,gres/gpu=8", 8),
        ("cpu=2,gres/gpumem=80G,gres/gpuutil=5", 0),
        ("cpu=4,mem=4G", 0),
        ("4 GPUs", None),
        ("gpu", None),
    ],
)
def test_gpus_in_a_list_of_resources(text: str, gpus: float | None) -> None:
    assert gpus_of(text) == gpus


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("02:00:00", 7200),
        ("1-01:30:00", 91800),
        ("49:00:01", 176401),
        ("1 day, 2:00:00", 93600),
        ("0 days 00:00:30.5", 30.5),
        ("10:30", None),  # minutes or hours?
        ("02:75:00", None),
        ("soon", None),
    ],
)
def test_durations_of_the_clock(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_durations_of_the_clock_do_not_depend_on_the_unit(tmp_path: Path) -> None:
    text = rows(("a", 60, "02:00:00", 4), ("b", 120, "90", 4))
    jobs, _ = read(tmp_path, text, dict(PLAIN, time_unit="min"))
    assert jobs.hours.tolist() == [2, 1.5] and jobs.submit_h.tolist() == [1, 2]
    with pytest.raises(InputError, match=r"j.csv, line 2, column dur: '10:30' is not a duration"):
        read(tmp_path, rows(("a", 60, "10:30", 4)), PLAIN)


@pytest.mark.parametrize(
    ("unit", "start", "end", "zone"),
    [
        ("s", "3600", "10800", ""),
        ("s", "2024-10-27T02:50:00", "2024-10-27T02:10:00", "Europe/Berlin"),  # through the hour that occurs twice
        ("s", "2024-03-31T01:50:00", "2024-03-31T03:10:00", "Europe/Berlin"),  # over the hour that does not exist
        ("s", "2024-05-06T01:00:00+02:00", "2024-05-06T01:00:00Z", ""),
    ],
)
def test_start_and_end_instead_of_a_duration(tmp_path: Path, unit: str, start: str, end: str, zone: str) -> None:
    keys = dict(name_column="job", gpus_column="gpus", submit_column="s", start_column="s", end_column="e")
    jobs, _ = read(tmp_path, f"job,s,e,gpus\na,{start},{end},4\n", dict(keys, time_unit=unit, time_zone=zone))
    assert jobs.hours == pytest.approx([2 if "T" not in start or "Z" in end else 1 / 3])
    with pytest.raises(InputError, match="j.csv, line 2: a job of 4 GPUs, -1 h"):
        read(tmp_path, "job,s,e,gpus\na,7200,3600,4\n", keys)
    with pytest.raises(InputError, match="duration_column is missing, or start_column and end_column"):
        read(tmp_path, "job,s,e,gpus\na,7200,3600,4\n", {k: v for k, v in keys.items() if k != "end_column"})


def test_several_days_keep_their_own(tmp_path: Path) -> None:
    dated = rows(*((name, f"2019-03-{day:02d} 09:30:00", 3600, 4) for name, day in (("m", 4), ("t", 5), ("w", 6))))
    keys = dict(PLAIN, time_zone="UTC")
    three, _ = read(tmp_path, dated, dict(keys, days=3), hours=72)
    assert three.submit_h.tolist() == [9.5, 33.5, 57.5] and three.name.tolist() == ["m", "t", "w"]
    noon, _ = read(tmp_path, dated, dict(keys, days=3), start="2024-05-06T12:00Z", hours=72)
    assert dict(zip(noon.name, noon.submit_h, strict=True)) == {"t": 21.5, "w": 45.5, "m": 69.5}
    second, _ = read(tmp_path, dated, dict(keys, first_day=1))
    assert second.name.tolist() == ["t"] and second.submit_h.tolist() == [9.5]
    with pytest.raises(InputError, match="no job was submitted on days 5 … 6; submissions are on days 0 … 2"):
        read(tmp_path, dated, dict(keys, first_day=5, days=2))


COUNTED = Moments(np.zeros(0), np.zeros(0), 0.0, 0.0, None)


def test_days_move_into_the_horizon_whole() -> None:
    submit = np.array([1.0, 13.0, 30.0, 47.0])
    noon = {h: Horizon(start="2024-05-06T12:00Z", periods=h, period_min=60.0) for h in (6, 24, 36, 48)}
    at = {h: placed(submit, horizon, COUNTED)[0] for h, horizon in noon.items()}
    assert (
        at[24].tolist() == [13, 1, 18, 11] and at[36].tolist() == [13, 1, 18, 35] and at[48].tolist() == [37, 1, 18, 35]
    )
    assert all(np.all((at[h] + 12) % 24 == submit % 24) for h in (24, 36, 48)), "the time of day stays"
    assert placed(submit, noon[6], COUNTED)[1] == 3 and (at[6] < 6).all(), "what a short horizon lacks is counted"


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
def test_days_are_those_of_the_calendar_of_the_trace(tmp_path: Path, zone: str) -> None:
    text = rows(*((f"{d} {h}", f"2019-01-{d:02d} {h:02d}:00:00", 600, 4) for d in (7, 8, 9) for h in (0, 11, 23)))
    start = datetime(2024, 1, 8, tzinfo=ZoneInfo(zone)).isoformat()
    jobs, notes = read(tmp_path, text, dict(PLAIN, time_zone=zone, first_day=1, days=2), start=start, hours=48)
    assert jobs.name.tolist() == ["8 0", "8 11", "8 23", "9 0", "9 11", "9 23"] and notes == []
    assert jobs.submit_h.tolist() == [0, 11, 23, 24, 35, 47]


def test_counted_times_that_are_epochs_are_recognised(tmp_path: Path) -> None:
    text = rows(("a", 1714957200, 7200, 4))
    with pytest.raises(InputError, match=r'submissions are on days 19849 .*time_format = "epoch_s"'):
        read(tmp_path, text, PLAIN)
    assert read(tmp_path, text, dict(PLAIN, time_format="epoch_s"))[0].submit_h.tolist() == [1]


def test_jobs_of_equal_name_are_told_apart(tmp_path: Path) -> None:
    text = rows(("t", 0, 60, 1), ("t", 60, 60, 1), ("t (2)", 120, 60, 1), ("t", 180, 60, 1))
    jobs, notes = read(tmp_path, text, PLAIN)
    assert len(set(jobs.name)) == 4 and {"t", "t (2)"} <= set(jobs.name)
    assert notes == ["j.csv: 2 job(s) have a name that occurs before, such as 't', and get a number"]


def test_what_is_left_out_is_counted_and_what_is_wrong_is_refused(tmp_path: Path) -> None:
    text = rows(("a", 0, 60, 1), ("b", 0, 60, 0), ("c", 0, "", 2), ("d", 0, 0, 2), ("e", 0, 60, ""))
    jobs, notes = read(tmp_path, text, PLAIN)
    assert jobs.name.tolist() == ["a"]
    assert notes == ["j.csv: 4 of 5 jobs left out, 2 without GPUs and 2 without a duration, the first in line 3"]
    for member, words in (
        (("a", 0, 60, "many"), "line 2, column gpus: 'many' is not a number of GPUs"),
        (("a", "soon", 60, 1), "line 2, column sub: 'soon' is not a time such as"),
        (("a", 0, -60, 1), "line 2: a job of 1 GPUs, -0.0166667 h"),
        (("a", "", 60, 1), "line 2: a job of 1 GPUs, 0.0166667 h, submitted at nan"),
    ):
        with pytest.raises(InputError, match=f"j.csv, {words}"):
            read(tmp_path, rows(member), PLAIN)
    with pytest.raises(InputError, match="j.csv: no job has GPUs and a duration"):
        read(tmp_path, rows(("a", 0, 60, 0)), PLAIN)


def philly(*jobs: dict[str, Any]) -> str:
    return json.dumps(list(jobs), indent=1)


def attempt(start: str | None, end: str | None, *gpus: int) -> dict[str, Any]:
    places = [dict(ip=f"m{k}", gpus=[f"gpu{g}" for g in range(n)]) for k, n in enumerate(gpus)]
    return dict(start_time=start, end_time=end, detail=places)


def test_the_last_attempt_of_a_log_counts(tmp_path: Path) -> None:
    said = dict(vc="v", user="u", status="Pass")
    twice = [
        attempt("2017-10-09 00:50:00", "2017-10-09 00:51:00", 8),
        attempt("2017-10-09 01:00:00", "2017-10-09 03:00:00", 8, 4),
    ]
    log = philly(
        dict(said, jobid="a", submitted_time="2017-10-09 00:45:00", attempts=twice),
        dict(said, jobid="b", submitted_time="2017-10-09 00:46:00", attempts=[]),
        dict(
            said,
            jobid="c",
            submitted_time="2017-10-09 00:47:00",
            attempts=[attempt("2017-10-09 01:00:00", None, 1)],
            vc=None,
        ),
    )
    jobs, notes = read(tmp_path, log, dict(format="philly", time_zone="America/Los_Angeles"))
    assert (jobs.name.tolist(), jobs.gpus.tolist(), jobs.hours.tolist()) == (["a"], [12], [2])
    assert (
        jobs.submit_h.tolist() == [7.75] and "2 of 3 jobs left out, 1 without GPUs and 1 without a duration" in notes[0]
    )
    assert notes[0].endswith(f"the first in line {log.splitlines().index(' {', 2) + 1}")
    for text, words in (
        (log[:-40], "is no JSON"),
        ("jobid,vc\n1,2\n", "is no JSON list of jobs"),
        ("[]", "has no jobs"),
        ('[{"jobid": 1}]', 'line 1: is no job with a list of "attempts"'),
        ('[\n{"jobid": 1, "attempts": [{"detail": [7]}]}]', "line 2: an attempt of this job cannot be understood"),
    ):
        with pytest.raises(InputError, match=f"j.csv.*{words}"):
            read(tmp_path, text, dict(format="philly", time_zone="UTC"))


# ------------------------------------------------------------------------------------------------ pairs

MATRIX = "\tus-east-1\tEU Central 1\t\nus-east-1\t4.1\t91,5\t\nEU Central 1\t91,7\t\t\n"


def places(*regions: str) -> list[Site]:
    return [
        Site(name=f"S{k}", latitude=50.0, longitude=8.0 + k, gpus=1, import_limit_mw=1, region=r)
        for k, r in enumerate(regions)
    ]


def trips(folder: Path, text: str, a: list[Site], b: list[Site], **keys: Any) -> tuple[Any, list[str]]:
    (folder / "l.csv").write_text(text)
    library = Library(folder)
    table = record(Latency, dict(path="l.csv") | keys, "latency")
    return round_trip_ms(table, library, a, b).tolist(), library.notes


def test_a_matrix_of_pairs(tmp_path: Path) -> None:
    keys = dict(layout="matrix", sep="\t", decimal=",")
    here, there = places("us-east-1"), places("EU Central 1")
    assert trips(tmp_path, MATRIX.replace("4.1", "4,1"), here, there, **keys)[0] == [[91.5]]
    assert trips(tmp_path, MATRIX.replace("4.1", "4,1"), there, here, **keys)[0] == [[91.7]]
    with pytest.raises(InputError, match=r"l.csv, line 2, column value: '4.1' is not a number"):
        trips(tmp_path, MATRIX, here, there, **keys)
    with pytest.raises(
        InputError, match=r"no pair EU Central 1 → eu-central-1; missing = .great_circle. takes 0.021 ms"
    ):
        trips(tmp_path, MATRIX.replace("4.1", "4,1"), there, places("eu-central-1"), **keys)


PAIRS = dict(from_column="a", to_column="b", value_column="ms")


def test_regions_are_found_as_they_are_spelled(tmp_path: Path) -> None:
    both = "a,b,ms\nus-west-1,us-west1,21\nus-west1,East US,60\n"
    assert trips(tmp_path, both, places("US-West1"), places("eastus"), **PAIRS)[0] == [[60]]
    with pytest.raises(InputError, match="region 'us west 1' may be us-west-1 or us-west1"):
        trips(tmp_path, both, places("us west 1"), places("eastus"), **PAIRS)
    with pytest.raises(InputError, match=r"no region 'east' \(of S0\); the nearest are East US"):
        trips(tmp_path, both, places("us-west1"), places("east"), **PAIRS)


def test_missing_pairs_are_counted_and_named(tmp_path: Path) -> None:
    text = "a,b,ms\nx,y,20\n"
    said, notes = trips(tmp_path, text, places("x", "z"), places("y", ""), missing="great_circle", **PAIRS)
    assert said[0][0] == 20 and said[1][0] == pytest.approx(5 + 0.021 * 71.47, abs=0.01)
    assert notes == [
        "l.csv: 3 pair(s) are not in the table and take 0.021 ms per km of great circle + 5 ms: x → S1, z → y, z → S1"
    ]
    assert trips(tmp_path, text, places(""), places("x"), **PAIRS)[1], "a place without region is noted, not refused"
    with pytest.raises(InputError, match="to_column is missing"):
        trips(tmp_path, text, places("x"), places("y"), from_column="a", value_column="ms")


def test_round_trips_in_seconds(tmp_path: Path) -> None:
    far = [replace(place, longitude=8.0 + 60.0 * k) for k, place in enumerate(places("x", "y"))]
    text = "a,b,ms\nx,y,0.06\n"
    with pytest.raises(InputError, match='round trips of 0.06 ms on average, where light takes 27.* unit = "s"'):
        trips(tmp_path, text, far[:1], far[1:], **PAIRS)
    assert trips(tmp_path, text, far[:1], far[1:], unit="s", **PAIRS)[0] == [[60.0]]


def test_egress_that_a_table_lacks(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("a,b,ms\nx,y,0.02\n\nx,y,0.02\n")
    table = dict(path="e.csv", drop_duplicates=True, **PAIRS)
    library = Library(tmp_path)
    assert egress_usd_per_gb(record(Egress, table, "egress"), library, places("x", "y")).tolist() == [
        [0, 0.02],
        [0.02, 0],
    ]
    assert library.notes == []
    with pytest.raises(InputError, match="egress: e.csv: no region 'zz' .* or missing_usd_per_gb = 0.08 says what"):
        egress_usd_per_gb(record(Egress, table, "egress"), library, places("x", "zz"))
    cost = egress_usd_per_gb(record(Egress, dict(table, missing_usd_per_gb=0.05), "egress"), library, places("x", "zz"))
    assert cost.tolist() == [[0, 0.05], [0.05, 0]] and "2 pair(s)" in library.notes[0]
    assert egress_usd_per_gb(Egress(), library, places("x", "zz")).tolist() == [[0, 0.08], [0.08, 0]]
