"""The live table and the JSON log: made-up records in, lines out."""

import io
import json
import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from decomp.model.instance import InputError
from decomp.model.result import Iteration, Result, Status
from decomp.model.text import gap_rel
from decomp.ranks.clock import process_seconds
from decomp.state.progress import COLUMNS, HEADER_EVERY, JsonLog, Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def iteration(k, **values):
    return Iteration(
        **{**dict(iteration=k, phase="bound", bound=-120.0, incumbent=None, wall_seconds=1.5 * k), **values}
    )


def result(**values):
    plain = dict(status=Status.GAP_REACHED, bound=-120.0, incumbent=-100.0, schedule=None, dual=None)
    return Result(**{**plain, **values})


def show(stream, rows, **how):
    with Progress(stream=stream, **how) as progress:
        progress.banner({"sites": 3, "period_h": 0.25, "family": "fleet"})
        for row in rows:
            progress.row(row)
        progress.close(result())
    return stream.getvalue()


def test_plain_lines_are_aligned_and_repeat_their_header():
    text = show(io.StringIO(), [iteration(k, incumbent=-1e8 - k) for k in range(2 * HEADER_EVERY + 1)])
    lines = text.splitlines()
    assert lines[0].split() == ["sites", "3"] and lines[1].split() == ["period_h", "0.25"]
    table = lines[3:-1]
    headers = [k for k, line in enumerate(table) if line.startswith("phase")]
    assert headers == [0, HEADER_EVERY + 1, 2 * HEADER_EVERY + 2]
    assert len({len(line) for line in table}) == 1, "right edges are in one column"
    assert all(name in table[0] for name, _ in COLUMNS)
    assert lines[-1].startswith("gap reached") and "20.000 %" in lines[-1]


def test_what_is_missing_is_a_dash():
    row = show(io.StringIO(), [iteration(0, bound=-math.inf)]).splitlines()[-2]
    assert row.split()[:5] == ["bound", "0", "-", "-", "-"]


@pytest.mark.parametrize("terminal", [False, True])
def test_other_ranks_are_silent(terminal):
    assert show(Terminal() if terminal else io.StringIO(), [iteration(0)], root=False) == ""


def test_a_terminal_gets_a_live_table_that_ends_with_the_last_row(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    text = show(Terminal(), [iteration(k, columns=7000 + k) for k in range(200)])
    assert "\x1b[" in text, "escape sequences redraw the table"
    assert text.count("7199") >= 1 and text.count("phase") < 200, "redrawn only a few times a second"
    assert "gap reached" in text.rstrip().splitlines()[-1]
    assert "\x1b[?25h" in text, "the cursor is given back"


def test_a_failure_gives_the_terminal_back(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with pytest.raises(RuntimeError), Progress(stream=stream) as progress:
        progress.row(iteration(0))
        raise RuntimeError
    assert "\x1b[?25h" in stream.getvalue()


@pytest.mark.parametrize(
    ("bound", "incumbent", "gap"),
    [(-120, -100, 0.2), (0.0, 0.5, 0.5), (90, 100, 0.1), (1, None, math.inf), (-math.inf, 1, math.inf), (1, 1, 0)],
)
def test_gap(bound, incumbent, gap):
    assert gap_rel(bound, incumbent) == pytest.approx(gap)


def test_json_log(tmp_path):
    path = tmp_path / "run.jsonl"
    with JsonLog(path) as log:
        log.row(iteration(0, bound=-np.inf, model=np.nan))
        log.row(iteration(1, incumbent=np.float64(-100.0), columns=np.int64(4)))
        assert len(path.read_text().splitlines()) == 2, "a line is in the file as soon as it is written"
        log.close(result(provenance={"ranks": 3, "rank_seconds": {"sites": [2.0, 1.0], "idle": [0.0, 1.0]}}))
    first, second, last = (json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines())
    assert first["event"] == second["event"] == "iteration" and first["iteration"] == 0
    assert first["bound"] is None and first["model"] is None and first["incumbent"] is None
    assert second["incumbent"] == -100.0 and second["columns"] == 4 and second["phase"] == "bound"
    assert 0 < first["wall_seconds"] <= second["wall_seconds"] <= last["wall_seconds"] <= process_seconds() + 1e-3
    assert 0 < first["path_seconds"] <= last["path_seconds"]
    del last["wall_seconds"], last["path_seconds"]
    assert last.pop("rank_seconds") == {"sites": [2.0, 1.0], "idle": [0.0, 1.0]}
    assert last.pop("share_of_seconds") == {"sites": 0.75, "idle": 0.25}
    assert last == dict(
        event="result", status="gap_reached", bound=-120.0, incumbent=-100.0, gap_abs=20.0, gap_rel=0.2, ranks=3
    )


def test_json_log_of_a_run_without_schedule(tmp_path):
    path = tmp_path / "run.jsonl"
    log = JsonLog(path)
    log.close(result(status=Status.INFEASIBLE, bound=np.inf, incumbent=np.inf))
    line = json.loads(path.read_text())
    assert line["status"] == "infeasible" and line["ranks"] == 1
    assert [line[k] for k in ("bound", "incumbent", "gap_abs", "gap_rel")] == [None] * 4


def test_json_log_to_nowhere_and_to_a_missing_folder(tmp_path):
    with JsonLog(None) as log:
        log.row(iteration(0))
        log.close(result())
    with pytest.raises(FileNotFoundError):
        JsonLog(tmp_path / "no" / "run.jsonl")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_clock_starts_with_the_process():
    code = "import time; time.sleep(0.5); from decomp.ranks.clock import process_seconds; print(process_seconds())"
    began = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.45 <= float(out.stdout) <= time.monotonic() - began + 0.1


def test_a_log_has_one_writer(tmp_path):
    path = tmp_path / "run.jsonl"
    with JsonLog(path) as log:
        log.row(iteration(0))
        with pytest.raises(InputError, match="another run is writing this log"):
            JsonLog(path)
        log.row(iteration(1))
        assert len(path.read_text("utf-8").splitlines()) == 2
    with JsonLog(path) as log:  # the next run begins anew
        log.row(iteration(0))
    assert len(path.read_text("utf-8").splitlines()) == 1
    with JsonLog(os.devnull), JsonLog(os.devnull):
        pass
