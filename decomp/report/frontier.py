"""The picture of a frontier: certified lower curve, schedules and their mixtures, certified minimum."""

from __future__ import annotations

import numpy as np

from decomp.files.atomic import PathLike, atomic_path
from decomp.model.frontier import Frontier
from decomp.report.figure import BLUE, ORANGE, RED, figure, style
from decomp.report.words import CO2, money_unit


def draw_frontier(path: PathLike, frontier: Frontier) -> None:
    """Write the picture as an SVG file."""
    budgets = np.linspace(frontier.minimum_t, float(frontier.budgets[-1]), 500)
    budgets = np.unique(np.concatenate([budgets, frontier.budgets, [step.tonnes for step in frontier.steps]]))
    unit, name = money_unit(frontier.scale)
    with style(), atomic_path(path) as temporary:
        fig = figure(7.0, 3.6)
        ax = fig.subplots()
        ax.plot(budgets, frontier.lower(budgets) / unit, color=BLUE, label="no schedule costs less (certified)")
        upper = frontier.upper(budgets)
        found = np.isfinite(upper)
        ax.plot(budgets[found], upper[found] / unit, color=ORANGE, label="schedules found, and mixtures of them")
        ax.axvline(frontier.minimum_t, color=RED, linewidth=0.8, linestyle=":", label="certified minimum of emissions")
        ax.set_xlabel(f"carbon budget, t {CO2}")
        ax.set_ylabel(f"net cost, {name}")
        ax.legend()
        fig.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
