"""Numbers, percentages, shares and tables as text."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence


def gap_rel(bound: float, incumbent: float | None) -> float:
    """(incumbent - bound) / max(|incumbent|, 1 USD); inf as long as either is missing."""
    if incumbent is None or not math.isfinite(incumbent) or not math.isfinite(bound):
        return math.inf
    return (incumbent - bound) / max(abs(incumbent), 1.0)


def number(value: float | None, digits: int = 0) -> str:
    """A number with thousands separated by commas, or a dash when there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def percent(value: float) -> str:
    return "-" if not math.isfinite(value) else f"{100 * value:.3f} %"


def time_shares(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Share of each section in the seconds of all ranks."""
    total = sum(map(sum, seconds.values()))
    return {name: sum(of_ranks) / total if total > 0 else 0.0 for name, of_ranks in seconds.items()}


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Lines of a Markdown table, aligned for the eye too: columns `left` flush left, the others right."""
    cells = [[text.replace("|", "\\|") for text in line] for line in (head, *rows)]
    widths = [max(3, *(len(line[k]) for line in cells)) for k in range(len(head))]
    rule = "|".join(f":{'-' * w}-" if k in left else f"-{'-' * w}:" for k, w in enumerate(widths))

    def aligned(line: Sequence[str]) -> str:
        texts = (t.ljust(w) if k in left else t.rjust(w) for k, (t, w) in enumerate(zip(line, widths, strict=True)))
        return f"| {' | '.join(texts)} |"

    return [aligned(cells[0]), f"|{rule}|", *map(aligned, cells[1:])]
