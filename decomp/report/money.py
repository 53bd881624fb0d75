"""The picture of money: from income to benefit, step by step."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from decomp.model.accounts import Accounts
from decomp.report.figure import BLUE, GREEN, INK, RED, Picture, figure, svg
from decomp.report.words import MINUS, amount, money_unit

COMPONENTS = {
    "revenue": "Inference revenue",
    "job_value": "Value of accepted jobs",
    "sold": "Energy sold",
    "bought": "Energy bought",
    "demand_charge": "Demand charge",
    "fuel": "Generator fuel",
    "no_load": "Generators running (no-load)",
    "starts": "Generator starts",
    "wear": "Battery wear",
    "routing": "Routing",
    "candidate_cost": "Placement of jobs",
    "unserved": "Penalty on unserved inference",
    "shortfall": "Penalty on deferrable shortfall",
    "carbon_price": "Carbon price",
    "carbon_excess": "Carbon beyond the budget",
}


def benefits(accounts: Accounts) -> list[tuple[str, float]]:
    """Contributions to the benefit, USD, by name; those that are zero are left out."""
    names = [*COMPONENTS, *(name for name in accounts.components if name not in COMPONENTS)]
    parts = [(COMPONENTS.get(n, n.replace("_", " ").capitalize()), -accounts.components.get(n, 0.0)) for n in names]
    return [(name, value) for name, value in parts if abs(value) > 5e-3]


def money_picture(accounts: Accounts) -> Picture | None:
    """Income and benefit on one scale, costs on another, because they are so much smaller."""
    parts = benefits(accounts)
    if not parts or not np.isfinite(accounts.benefit):
        return None
    income = [(name, value, GREEN) for name, value in parts if value > 0]
    costs = [(name, -value, RED) for name, value in parts if value < 0]
    rows = max(len(income) + 1, len(costs))
    fig = figure(10.4, 0.24 * rows + 0.65)
    left, right = fig.subplots(1, 2)
    _bars(left, [*income, ("Benefit", accounts.benefit, BLUE)], rows)
    _bars(right, costs, rows)
    caption = (
        "Left: income (green) and what is left of it, the benefit (blue). Right: costs (red) on their own scale. "
        "Benefit is income less costs; long red bars are where a better schedule could save."
    )
    return Picture(svg(fig, "Components of the benefit"), "Where the money comes from and where it goes", caption)


def _bars(ax: Axes, parts: list[tuple[str, float, str]], rows: int) -> None:
    values = np.array([value for _, value, _ in parts])
    scale, unit = money_unit(float(np.abs(values).max(initial=0.0)))
    values = values / scale
    y = np.arange(len(parts))
    ax.barh(y, values, color=[colour for _, _, colour in parts], height=0.7)
    for k, value in enumerate(values):
        text = f"{value:,.3g}".replace("-", MINUS) if abs(value) < 100 else amount(float(value))
        ax.annotate(text, (max(value, 0), k), (4, 0), textcoords="offset points", va="center", fontsize=7.5)
    ax.set_yticks(y, [name for name, _, _ in parts])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(rows - 0.4, -0.6)
    ax.axvline(0, color=INK, linewidth=0.6)
    ax.set_xlim(min(0.0, 1.1 * float(values.min(initial=0.0))), 1.14 * max(float(values.max(initial=0.0)), 1e-9))
    ax.set_xlabel(unit)
