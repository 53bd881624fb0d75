"""Benchmark rows as Markdown tables: what was reached, the bounds against the LP optimum, where the time went."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from decomp.model.instance import InputError
from decomp.model.text import gap_rel, markdown_table, number, percent, time_shares

Row = Mapping[str, Any]
Point = tuple[float, float, float]  # seconds, bound (-inf: none), incumbent (inf: none)
Columns = Sequence[tuple[str, str, Callable[[Any], str]]]  # heading, key, how it is shown

OURS = "decomp"
MILESTONES = (0.1, 0.03, 0.01, 0.005, 0.003, 0.002, 0.0015, 0.001, 0.0005, 0.0003)  # relative gaps
GROWTH_GAP = 0.005  # the gap whose time is compared over sizes
SAME_CASE = ("family", "sites", "limit_seconds", "rel_gap", "method")
SAME_INSTANCE = ("family", "sites", "seed")
TRACE_POINTS = 150


def one_digit(value: float) -> str:
    return number(value, 1)


def gap_text(value: float | None) -> str:
    return percent(math.inf if value is None else value)


COLUMNS: Columns = (
    ("family", "family", str),
    ("sites", "sites", str),
    ("seed", "seed", str),
    ("method", "method", str),
    ("limit, s", "limit_seconds", number),
    ("wall s", "seconds", one_digit),
    ("bound, USD", "bound", number),
    ("incumbent, USD", "incumbent", number),
    ("gap", "gap", gap_text),
    ("s to 1 %", "to_1", one_digit),
    ("s to 0.5 %", "to_half", one_digit),
    ("memory, MB", "memory_mb", number),
    ("outcome", "outcome", str),
)
BOUND_COLUMNS: Columns = (
    ("family", "family", str),
    ("sites", "sites", str),
    ("seed", "seed", str),
    ("method", "method", str),
    ("wall s", "seconds", one_digit),
    ("bound, USD", "bound", number),
    ("short of the LP", "short", gap_text),
    ("s to 1 %", "within_1", one_digit),
    ("s to 0.1 %", "within_01", one_digit),
    ("fastest LP / that", "speedup", one_digit),
)
FLUSH_LEFT = ("family", "method", "outcome")


def read_rows(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Rows of several runs; of rows that repeat, the last."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for path in paths:
        for n, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            try:
                row = json.loads(line)
                rows[_case(row) + (row["seed"],)] = row
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path}: line {n} is not a row of bench") from error
    if not rows:
        raise InputError("no rows")
    return list(rows.values())


def page(rows: Sequence[Row]) -> list[str]:
    """All tables that the rows allow, as lines of Markdown."""
    lines = markdown(rows)
    if len({row["seed"] for row in rows}) > 1:
        lines += ["", "Medians over the seeds:", "", *markdown(medians(rows))]
    if bounds := against_lp(rows):
        lines += ["", "Bounds: what they are short of the LP optimum, seconds until within 1 % and 0.1 % of it,"]
        lines += ["and what the fastest LP solver took, over our seconds to 0.1 %:", "", *table(bounds, BOUND_COLUMNS)]
    if seconds := [row for row in rows if row.get("rank_seconds")]:
        lines += ["", "Where the time of all ranks went:", "", *time_lines(seconds)]
    if parts := [row for row in rows if row.get("gap_parts")]:
        lines += ["", "Where the gap is, USD: its causes, then its places:", "", *gap_lines(parts)]
    if exponent := growth(rows):
        lines += ["", f"Time to a gap of {100 * GROWTH_GAP:g} % grows with the sites to the power {exponent[0]:.2f}."]
    return lines


def table(rows: Sequence[Row], columns: Columns) -> list[str]:
    """Lines of a Markdown table; what is not known is a dash."""
    head = [heading for heading, _, _ in columns]

    def text(row: Row, key: str, show: Callable[[Any], str]) -> str:
        return "-" if row.get(key) is None else show(row[key])

    body = [[text(row, key, show) for _, key, show in columns] for row in rows]
    return markdown_table(head, body, [k for k, (_, key, _) in enumerate(columns) if key in FLUSH_LEFT])


def markdown(rows: Sequence[Row]) -> list[str]:
    """The table of what was reached."""
    return table([dict(row, to_1=_reached(row, 0.01), to_half=_reached(row, 0.005)) for row in rows], COLUMNS)


def _reached(row: Row, gap: float) -> float | None:
    return (row.get("seconds_to") or {}).get(f"{gap:g}")


def medians(rows: Sequence[Row]) -> list[Row]:
    """One row a case and method: medians over the seeds, where a missing number is worse than any other."""
    found: list[Row] = []
    order = list(dict.fromkeys(_case(row) for row in rows))
    for case, group in groupby(sorted(rows, key=lambda row: order.index(_case(row))), key=_case):
        same = list(group)
        middle: dict[str, Any] = {
            key: _median([row.get(key) for row in same]) for key in ("seconds", "gap", "memory_mb")
        }
        reached = {f"{gap:g}": _median([_reached(row, gap) for row in same]) for gap in MILESTONES}
        middle["seconds_to"] = {gap: seconds for gap, seconds in reached.items() if seconds is not None}
        outcomes = [str(row.get("outcome")) for row in same]
        counted = ", ".join(f"{outcomes.count(word)} × {word}" for word in dict.fromkeys(outcomes))
        found.append(dict(zip(SAME_CASE, case, strict=True), seed=f"{len(same)} seeds", outcome=counted, **middle))
    return found


def _case(row: Row) -> tuple[Any, ...]:
    return tuple(row[key] for key in SAME_CASE)


def _median(values: Sequence[float | None]) -> float | None:
    middle = statistics.median(math.inf if value is None else value for value in values)
    return middle if math.isfinite(middle) else None


def by_instance(rows: Sequence[Row]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows of each instance."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in SAME_INSTANCE), []).append(row)
    return found


def against_lp(rows: Sequence[Row]) -> list[Row]:
    """Bounds of every instance whose LP relaxation an LP solver finished, compared with its optimum."""
    found: list[Row] = []
    for same in by_instance(rows).values():
        solved = [row for row in same if row.get("outcome") == "LP bound"]
        if not solved:
            continue
        optimum = max(row["bound"] for row in solved)
        fastest = min(row["seconds"] for row in solved)
        for row in (row for row in same if row.get("bound") is not None):
            more: dict[str, Any] = {"short": (optimum - row["bound"]) / max(abs(optimum), 1.0)}
            for key, share in (("within_1", 0.01), ("within_01", 0.001)):
                aim = optimum - share * max(abs(optimum), 1.0)
                more[key] = next((seconds for seconds, bound, _ in points(row) if bound >= aim), None)
            if row["method"] == OURS and more["within_01"]:
                more["speedup"] = fastest / more["within_01"]
            found.append({**row, **more})
    return found


def time_lines(rows: Sequence[Row]) -> list[str]:
    """Share of each section in the seconds of all ranks, one line a solve."""
    parts = [time_shares(row["rank_seconds"]) for row in rows]
    totals: dict[str, float] = {}
    for part in parts:
        for name, share in part.items():
            totals[name] = totals.get(name, 0.0) + share
    names = sorted(totals, key=lambda name: -totals[name])
    columns = [*COLUMNS[:3], *((name, f"share {name}", lambda share: f"{100 * share:.1f} %") for name in names)]
    return table(
        [{**row, **{f"share {k}": v for k, v in part.items()}} for row, part in zip(rows, parts, strict=True)], columns
    )


def gap_lines(rows: Sequence[Row]) -> list[str]:
    """Parts of the gap, USD, one line a solve."""
    names = dict.fromkeys(name for row in rows for name in row["gap_parts"])
    columns = [*COLUMNS[:3], *((name, f"gap {name}", number) for name in names)]
    return table([{**row, **{f"gap {k}": v for k, v in row["gap_parts"].items()}} for row in rows], columns)


def growth(rows: Sequence[Row]) -> tuple[float, float] | None:
    """Exponent and factor of seconds = factor * sites ** exponent to GROWTH_GAP on `fleet`; None below two sizes."""
    times = [(row["sites"], _reached(row, GROWTH_GAP)) for row in rows if _comparable(row)]
    known = np.array([(sites, seconds) for sites, seconds in times if seconds])
    if not len(known) or len(set(known[:, 0])) < 2:
        return None
    exponent, logarithm = np.polyfit(np.log(known[:, 0]), np.log(known[:, 1]), 1)
    return float(exponent), float(np.exp(logarithm))


def _comparable(row: Row) -> bool:
    return row["method"] == OURS and row["family"] == "fleet" and row["sites"] >= 30


def entries(text: str) -> Iterable[tuple[float, float, float]]:
    """Seconds, best bound and best incumbent so far at each JSON line of a solve or a rival."""
    bound, incumbent = -math.inf, math.inf
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the last line of a process that was ended
            continue
        if not isinstance(entry, dict):
            continue
        bound = max(bound, _or(entry.get("bound"), -math.inf))
        incumbent = min(incumbent, _or(entry.get("incumbent"), math.inf))
        yield entry["wall_seconds" if "wall_seconds" in entry else "seconds"], bound, incumbent


def seconds_to(text: str) -> dict[str, float]:
    """When a log first claimed each gap, wall seconds from its process start; gaps not reached are left out."""
    reached: dict[str, float] = {}
    for seconds, bound, incumbent in entries(text):
        gap = gap_rel(bound, incumbent)
        for milestone in MILESTONES:
            if gap <= milestone:
                reached.setdefault(f"{milestone:g}", seconds)
    return reached


def trace(text: str) -> list[list[float | None]]:
    """The log as [seconds, bound, incumbent], only where something got better; null where there is none yet."""
    found: list[Point] = []
    for point in entries(text):
        if not found or point[1:] != found[-1][1:]:
            found.append(point)
    keep = sorted({round(k) for k in np.linspace(0, len(found) - 1, min(len(found), TRACE_POINTS))})
    return [[value if math.isfinite(value) else None for value in found[k]] for k in keep]


def points(row: Row) -> list[Point]:
    """A row's trace with its infinities."""
    return [(s, _or(bound, -math.inf), _or(cost, math.inf)) for s, bound, cost in row.get("trace") or []]


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
