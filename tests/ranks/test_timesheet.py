"""Where the seconds went: every second counted once, on every rank, in the result and on the screen."""

from __future__ import annotations

import io

import pytest

from decomp.families import generate
from decomp.files.store import read_result, write_result
from decomp.model.options import Options
from decomp.model.text import time_shares
from decomp.ranks.clock import process_seconds
from decomp.ranks.mpi import Serial
from decomp.ranks.timesheet import IDLE, START, Timesheet, by_rank
from decomp.solver.solve import solve
from decomp.state.progress import Progress, time_table


def test_a_second_counts_for_the_innermost_section(monkeypatch):
    age = 1.0
    monkeypatch.setattr("decomp.ranks.timesheet.process_seconds", lambda: age)
    sheet = Timesheet()
    with sheet.section("outer"):
        with sheet.section("inner"):
            age += 0.2
        age += 0.1
    assert sheet.read() == pytest.approx({START: 1.0, "inner": 0.2, "outer": 0.1})
    with pytest.raises(ValueError), sheet.section("failing"):
        raise ValueError
    age += 0.05
    assert sheet.read()[START] == pytest.approx(1.05), "a section that fails is closed all the same"
    sheet.move(0.15, "inner", "other")
    assert sheet.seconds["other"] == pytest.approx(0.15)


def test_ranks_side_by_side_and_shares_that_sum_to_one():
    seconds = by_rank([{"sites": 3.0, "master": 5.0}, {"sites": 4.0, "idle": 4.0}])
    assert list(seconds) == ["sites", "master", "idle"]
    assert seconds == {"sites": [3.0, 4.0], "master": [5.0, 0.0], "idle": [0.0, 4.0]}
    assert time_shares(seconds) == pytest.approx({"sites": 7 / 16, "master": 5 / 16, "idle": 4 / 16})
    lines = [line.split() for line in time_table(seconds)]
    assert lines[1] == ["sites", "3.5", "3.0", "4.0", "43.8", "%"] and len({len(line) for line in lines[1:]}) == 1
    assert time_table({}) == [] and time_shares({}) == {}


def test_a_result_says_where_its_time_went(tmp_path):
    instance = generate("small", seed=4)
    result = solve(instance, Serial(), Options(rel_gap=0.05))
    write_result(tmp_path / "r.h5", result, instance)
    seconds = read_result(tmp_path / "r.h5").provenance["rank_seconds"]
    assert {"start", "sites", "master", "dispatch", "python"} <= set(seconds)
    assert seconds.get(IDLE, [0.0])[0] < 0.1 * sum(map(sum, seconds.values())), "alone there is nobody to wait for"
    assert sum(time_shares(seconds).values()) == pytest.approx(1.0)
    assert sum(map(sum, seconds.values())) <= process_seconds()
    screen = io.StringIO()
    Progress(stream=screen).close(result)
    assert screen.getvalue().splitlines()[0].startswith("seconds of a rank")
