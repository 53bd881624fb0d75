"""Plots of benchmark rows: gap against time, time against sites."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from decomp.bench.tables import GROWTH_GAP, OURS, Row, by_instance, growth, points
from decomp.files.atomic import atomic_path
from decomp.model.text import gap_rel
from decomp.report.figure import CYCLE, FAINT, INK, figure, style

LEAST_PERCENT, MOST_PERCENT = 1e-3, 30.0  # gaps below are drawn here; gaps above are left out


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write all plots that the rows allow, each as SVG and PNG; their paths."""
    written = []
    with style():
        for (family, sites, seed), same in by_instance(rows).items():
            if any(points(row) for row in same):
                written += _save(gap_figure(same), folder / f"gap-{family}-{sites}-{seed}")
        if growth(rows):
            written += _save(growth_figure(rows), folder / "growth")
    return written


def _save(fig: Figure, stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("svg", "png")]
    for path in paths:
        kind = path.suffix[1:]
        with atomic_path(path) as beside:
            fig.savefig(beside, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
    return paths


def gap_figure(rows: Sequence[Row]) -> Figure:
    """One instance: left every method's own gap, right how far its bound is below the best schedule of all."""
    fig = figure(10.4, 3.6)
    own, bound = fig.subplots(1, 2, sharey=True)
    best = min((cost for row in rows for _, _, cost in points(row)), default=np.inf)
    if not np.isfinite(best):
        best = max(value for row in rows for _, value, _ in points(row))
    colours = dict(zip(dict.fromkeys(row["method"] for row in rows), CYCLE * 3, strict=False))
    for row in rows:
        trace = points(row)
        look = dict(color=colours[row["method"]], linewidth=2.0 if row["method"] == OURS else 1.2)
        look |= dict(linestyle="-" if row["limit_seconds"] <= min(r["limit_seconds"] for r in rows) else "--")
        _steps(own, [(s, gap_rel(b, c)) for s, b, c in trace], label=row["method"], **look)
        _steps(bound, [(s, gap_rel(b, best)) for s, b, _ in trace], label=row["method"], **look)
    own.set_title("gap between the method's own bound and schedule")
    bound.set_title("bound below the best schedule of all methods")
    for ax in (own, bound):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("wall time, s")
        ax.grid(color=FAINT, linewidth=0.5)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        if ax.get_legend_handles_labels()[0]:
            ax.legend()
    own.set_ylabel("relative gap, %")
    own.set_ylim(top=min(own.get_ylim()[1], MOST_PERCENT))
    return fig


def _steps(ax: Axes, values: list[tuple[float, float]], **look: Any) -> None:
    """A falling line; a method that only tells its end is a dot."""
    known = [(seconds, max(100 * gap, LEAST_PERCENT)) for seconds, gap in values if np.isfinite(gap)]
    if known:
        seconds, percents = zip(*known, strict=True)
        ax.plot(seconds, percents, drawstyle="steps-post", marker="o" if len(known) == 1 else None, **look)


def growth_figure(rows: Sequence[Row]) -> Figure:
    """Time to a gap against the number of sites, and the fitted power."""
    fig = figure(5.6, 3.8)
    ax = fig.subplots()
    exponent, factor = growth(rows) or (np.nan, np.nan)
    families = dict.fromkeys(row["family"] for row in rows)
    for family, colour in zip(families, CYCLE, strict=False):
        times = [
            (row["sites"], (row.get("seconds_to") or {}).get(f"{GROWTH_GAP:g}"))
            for row in rows
            if row["method"] == OURS and row["family"] == family
        ]
        known = [(sites, seconds) for sites, seconds in times if seconds]
        if known:
            ax.plot(*zip(*known, strict=True), "o", color=colour, label=family)
    ends = np.array(sorted(row["sites"] for row in rows if row["method"] == OURS))[[0, -1]].astype(float)
    ax.plot(ends, factor * ends**exponent, color=INK, linewidth=1.0, label=f"sites to the power {exponent:.2f}")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("sites")
    ax.set_ylabel(f"wall seconds to a gap of {100 * GROWTH_GAP:g} %")
    ax.grid(color=FAINT, linewidth=0.5)
    ax.legend()
    return fig
