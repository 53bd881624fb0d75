"""Scaling studies: logs of the same solve on several numbers of ranks, as a table and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from decomp.bench.tables import Columns, one_digit, table
from decomp.files.atomic import atomic_path
from decomp.files.store import read_result
from decomp.model.instance import InputError
from decomp.model.text import number, percent
from decomp.report.figure import figure, style

Row = dict[str, Any]
START, IDLE = "start", "idle"
LARGEST = 4  # sections of time that the table shows

RUN_COLUMNS: Columns = (
    ("ranks", "ranks", str),
    ("sites", "sites", number),
    ("iterations", "iterations", str),
    ("wall s", "wall_seconds", one_digit),
    ("of it loop s", "seconds", one_digit),
    ("processors' s", "path", one_digit),
    ("speed-up", "speed_up", lambda value: number(value, 2)),
    ("efficiency", "efficiency", percent),
    ("idle", "idle", percent),
    ("time of all ranks after the start", "shares", str),
)


def read_study(folder: Path, ranks: Sequence[int] = ()) -> list[Row]:
    """One row for each log RANKS.jsonl of a folder with its result RANKS.h5, by ranks; with speed-up and efficiency.

    `ranks` : those alone, whatever else earlier studies have left there.
    """
    paths = [path for path in folder.glob("*.jsonl") if path.stem.isdigit() and (not ranks or int(path.stem) in ranks)]
    if not paths:
        raise InputError(f"{folder}: holds no log of a scaling study, 1.jsonl, 2.jsonl and so on")
    return compare([read_run(path) for path in sorted(paths, key=lambda path: int(path.stem))])


def read_run(path: Path) -> Row:
    """What a log tells: seconds of its loop (from its first line to its last), and of all ranks by section."""
    try:
        return _row(path, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: not the log of a solve") from None


def _row(path: Path, lines: Sequence[Mapping[str, Any]]) -> Row:
    iterations = [line for line in lines if line["event"] == "iteration"]
    if len(iterations) < 2 or lines[-1]["event"] != "result":
        raise InputError(f"{path}: the run has not come to its end")
    result = read_result(path.with_suffix(".h5"))
    split = {name: sum(of_ranks) for name, of_ranks in lines[-1]["rank_seconds"].items() if name != START}
    total = sum(split.values())
    shares = {name: seconds / total for name, seconds in split.items()}
    return dict(
        ranks=lines[-1]["ranks"],
        sites=0 if result.dual is None else len(result.dual.site_lower),
        iterations=len(iterations),
        wall_seconds=lines[-1]["wall_seconds"],
        seconds=iterations[-1]["wall_seconds"] - iterations[0]["wall_seconds"],
        path=iterations[-1]["path_seconds"] - iterations[0]["path_seconds"],
        idle=shares.get(IDLE, 0.0),
        split=shares,
        gap=lines[-1]["gap_rel"],
    )


def compare(rows: Sequence[Row]) -> list[Row]:
    """With speed-up and efficiency against the fewest ranks, in sites times iterations per second of the loop.

    So the same holds for strong scaling (one instance), weak scaling (sites in proportion to ranks), and
    runs that were stopped at a time limit.
    """
    base = rows[0]
    found = []
    for row in rows:
        speed_up = base["ranks"] * _pace(row) / _pace(base)
        found.append({**row, "speed_up": speed_up, "efficiency": speed_up / row["ranks"]})
    return found


def _pace(row: Row) -> float:
    return float(row["sites"] * row["iterations"] / row["seconds"])


def study_table(rows: Sequence[Row]) -> list[str]:
    """The table, as lines of Markdown."""
    return table([{**row, "shares": _shares(row["split"])} for row in rows], RUN_COLUMNS)


def _shares(split: Mapping[str, float]) -> str:
    largest = sorted(split.items(), key=lambda item: -item[1])[:LARGEST]
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in largest)


def plot_study(rows: Sequence[Row], path: Path) -> None:
    """Speed-up, efficiency with idle share, and the split of time over ranks, as one picture."""
    with style():
        fig = figure(11.0, 3.4)
        speed, share, split = fig.subplots(1, 3)
        ranks = [row["ranks"] for row in rows]
        speed.plot(ranks, ranks, color="0.7", linestyle="--", label="ideal")
        speed.plot(ranks, [row["speed_up"] for row in rows], marker="o", label="measured")
        speed.set(xscale="log", yscale="log", ylabel="speed-up")
        share.plot(ranks, [100 * row["efficiency"] for row in rows], marker="o", label="efficiency")
        share.plot(ranks, [100 * row["idle"] for row in rows], marker="s", label="idle share")
        share.set(xscale="log", ylim=(0, None), ylabel="%")
        names = sorted({name for row in rows for name in row["split"]}, key=lambda name: -rows[0]["split"].get(name, 0))
        below = [0.0] * len(rows)
        for name in names:
            part = [100 * row["split"].get(name, 0.0) for row in rows]
            split.bar([str(r) for r in ranks], part, bottom=below, label=name)
            below = [a + b for a, b in zip(below, part, strict=True)]
        split.set(ylabel="% of the time of all ranks")
        for axes in (speed, share):
            axes.set_xticks(ranks, [str(r) for r in ranks])
            axes.minorticks_off()
            axes.legend()
        split.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        for axes in (speed, share, split):
            axes.set_xlabel("ranks")
        with atomic_path(path) as beside:
            fig.savefig(beside, format="png", dpi=150)
