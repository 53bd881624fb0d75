"""Benchmark rows as a Markdown table, their medians, and what a solve's log tells about its pace."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from decomp.progress import gap_rel, number, percent

Row = Mapping[str, Any]

MILESTONES = (0.1, 0.03, 0.01, 0.005, 0.003, 0.002, 0.0015, 0.001, 0.0005, 0.0003)  # relative gaps
SAME_CASE = ("family", "sites", "limit_seconds", "rel_gap", "method")


COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (  # heading, key, how it is shown; text is flush left
    ("family", "family", str),
    ("sites", "sites", str),
    ("seed", "seed", str),
    ("method", "method", str),
    ("limit, s", "limit_seconds", number),
    ("wall s", "seconds", lambda value: number(value, 1)),
    ("bound, USD", "bound", number),
    ("incumbent, USD", "incumbent", number),
    ("gap", "gap", lambda value: percent(math.inf if value is None else value)),
    ("memory, MB", "memory_mb", number),
    ("outcome", "outcome", str),
)
FLUSH_LEFT = ("family", "method", "outcome")


def markdown(rows: Sequence[Row]) -> list[str]:
    """Lines of a Markdown table, aligned for the eye too; what is not known is a dash."""
    head = [heading for heading, _, _ in COLUMNS]
    body = [[show(row.get(key)).replace("|", "\\|") for _, key, show in COLUMNS] for row in rows]
    widths = [max(3, *(len(line[k]) for line in (head, *body))) for k in range(len(head))]
    left = [key in FLUSH_LEFT for _, key, _ in COLUMNS]
    rule = "|".join(f":{'-' * w}-" if flush else f"-{'-' * w}:" for w, flush in zip(widths, left, strict=True))
    lines = [
        "| " + " | ".join(t.ljust(w) if f else t.rjust(w) for t, w, f in zip(line, widths, left, strict=True)) + " |"
        for line in (head, *body)
    ]
    return [lines[0], f"|{rule}|", *lines[1:]]


def medians(rows: Sequence[Row]) -> list[Row]:
    """One row a case and method: medians over the seeds, where a missing number is worse than any other."""
    found: list[Row] = []
    order = list(dict.fromkeys(_case(row) for row in rows))
    for case, group in groupby(sorted(rows, key=lambda row: order.index(_case(row))), key=_case):
        same = list(group)
        middle = {key: _median([row.get(key) for row in same]) for key in ("seconds", "gap", "memory_mb")}
        outcomes = [str(row.get("outcome")) for row in same]
        counted = ", ".join(f"{outcomes.count(word)} × {word}" for word in dict.fromkeys(outcomes))
        found.append(dict(zip(SAME_CASE, case, strict=True), seed=f"{len(same)} seeds", outcome=counted, **middle))
    return found


def _case(row: Row) -> tuple[Any, ...]:
    return tuple(row[key] for key in SAME_CASE)


def _median(values: Sequence[float | None]) -> float | None:
    middle = statistics.median(math.inf if value is None else value for value in values)
    return middle if math.isfinite(middle) else None


def seconds_to(log: Path) -> dict[str, float]:
    """When a solve first claimed each gap, wall seconds from its process start; gaps not reached are left out."""
    reached: dict[str, float] = {}
    bound = -math.inf
    incumbent = math.inf
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:  # the last line of a solve that was ended
            continue
        bound = max(bound, _or(entry.get("bound"), -math.inf))
        incumbent = min(incumbent, _or(entry.get("incumbent"), math.inf))
        gap = gap_rel(bound, incumbent)
        for milestone in MILESTONES:
            if gap <= milestone:
                reached.setdefault(f"{milestone:g}", entry["wall_seconds"])
    return reached


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
