"""The joint study for readers: summary in Markdown and figures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from decomp.model.instance import Instance
from decomp.model.text import markdown_table
from decomp.report.figure import BLUE, GREEN, GREY, INK, ORANGE, RED
from decomp.studies.joint import Claim, Row, Site
from decomp.studies.pages import save_figure
from decomp.studies.variants import SWEEPS

MARKS = {"no-carbon": ("^", GREEN), "joint": ("o", BLUE), "energy-only": ("s", ORANGE)}


def write_figures(folder: Path, rows: Sequence[Row], swept: Sequence[Row], places: Sequence[Site]) -> None:
    """The variants, every sweep, the sites."""
    save_figure(folder / "variants.png", partial(_variants, rows=rows))
    for name in dict.fromkeys(row.sweep for row in swept):
        save_figure(folder / f"{name}.png", partial(_sweep, rows=[r for r in swept if r.sweep == name], name=name))
    if places:
        save_figure(folder / "sites.png", partial(_sites, places=places))


def _variants(ax: Axes, rows: Sequence[Row]) -> None:
    """Benefits as bars; a baseline that breaks the budget is hatched."""
    shown = [row for row in rows if np.isfinite(row.benefit_usd)][::-1]
    for k, row in enumerate(shown):
        colour = MARKS.get(row.variant, ("", BLUE if row.variant == "joint" else GREY))[1]
        ax.barh(k, row.benefit_usd, color=colour, hatch="" if row.feasible else "/", edgecolor="white", height=0.7)
        note = "" if row.feasible else f", {row.over_budget_t:,.1f} t above the budget"
        said = f"{row.emissions_t:,.1f} t CO2{note}"
        ink = "white" if row.variant == "joint" else INK
        ax.annotate(said, (0.0, k), (4, 0), textcoords="offset points", color=ink, fontsize=7, va="center")
    ax.set_yticks(range(len(shown)), [row.variant for row in shown])
    ax.set_title("Benefit and emissions of every variant")
    ax.set_xlabel("benefit, USD")
    ax.grid(axis="x", color=GREY, lw=0.4)


def _sweep(ax: Axes, rows: Sequence[Row], name: str) -> None:
    """Benefit over one property; crosses: the budget is broken."""
    for variant, (mark, colour) in MARKS.items():
        chosen = [row for row in rows if row.variant == variant and np.isfinite(row.benefit_usd)]
        x, y = [row.value for row in chosen], [row.benefit_usd for row in chosen]
        ax.plot(x, y, mark + "-", color=colour, ms=3.5, lw=1.2, label=variant)
        broken = [row for row in chosen if not row.feasible]
        ax.plot([r.value for r in broken], [r.benefit_usd for r in broken], "x", color=RED, ms=7)
    ax.set_title(f"Benefit over the {name}" + (" (crosses: the budget is broken)" if _broken(rows) else ""))
    ax.set_xlabel(SWEEPS[name][0])
    ax.set_ylabel("benefit, USD")
    ax.grid(axis="y", color=GREY, lw=0.4)
    ax.legend()


def _broken(rows: Sequence[Row]) -> bool:
    return any(row.over_budget_t > 0 for row in rows)


def _sites(ax: Axes, places: Sequence[Site]) -> None:
    """Gain of every site over its local generation."""
    ax.plot([100 * p.local_share for p in places], [p.gain_usd_per_gpu for p in places], "o", color=BLUE, ms=4)
    if len(places) <= 8:
        for p in places:
            at = (100 * p.local_share, p.gain_usd_per_gpu)
            ax.annotate(p.name, at, (5, 3), textcoords="offset points", fontsize=7)
    ax.axhline(0.0, color=GREY, lw=0.8)
    ax.set_title("What joint scheduling adds to each site, over energy-only")
    ax.set_xlabel("wind and sun available, % of the site's energy at full load")
    ax.set_ylabel("gain, USD per GPU")
    ax.grid(axis="y", color=GREY, lw=0.4)


# ---------------------------------------------------------------- summary


def summary(
    command: str,
    fleet: Instance,
    rows: Sequence[Row],
    swept: Sequence[Row],
    places: Sequence[Site],
    checked: Sequence[Claim],
) -> str:
    """The study in Markdown."""
    limited = np.isfinite(fleet.carbon_budget_t)
    budget = f"a carbon budget of {fleet.carbon_budget_t:,.1f} t" if limited else "no carbon budget"
    head = f"""# Joint compute and power scheduling

The questions of [arXiv 2605.03751](https://arxiv.org/abs/2605.03751), whose parameters are not public, on the family
`{fleet.family}`, seed {fleet.seed}: {fleet.n_sites} sites, {fleet.n_periods} periods of {fleet.period_h:g} h,
{fleet.n_jobs} jobs, {fleet.n_streams} streams, {budget}.

    {command}

## Variants
"""
    parts = [head, _table(rows), *_extensive(rows), "![variants](variants.png)\n", _claims(checked)]
    parts += [_order([*rows, *swept])]
    if places:
        parts.append("![sites](sites.png)\n")
    for name in dict.fromkeys(row.sweep for row in swept):
        parts.append(_swept(name, [row for row in swept if row.sweep == name]))
    return "\n".join([*parts, DEFINED])


DEFINED = """## Variants, precisely

- *joint*: work and energy decided together.
- *compute-only*: jobs and routing decided at the sites' prices; batteries rest, nothing is exported.
- *energy-only*: work placed first come, first served and blind to energy: mandatory jobs, then inference at the
  nearest site with room, then the other jobs at their homes at the earliest start that fits; then the energy of that
  load is decided. If that load breaks the budget, the variant is infeasible; shown is then the dispatch that exceeds
  it least, and by how much.
- *no-battery*: batteries rest. *no-routing*: streams at the nearest site, jobs and pools at home.
- *no-carbon*: joint without the budget.

Restrictions are such of the fleet's own problem: their schedules are schedules of *joint*, at the same cost. `NAME.h5`
and `NAME-result.h5` beside this file are instance and result of each: `python -m drivers.check` re-proves them.
"""


def _table(rows: Sequence[Row]) -> str:
    heads = ["variant", "benefit, USD", "of joint", "gap", "emissions, t", "above budget, t", "served", "jobs"]
    heads += ["consumed, MWh", "bought", "sold", "self-consumed", "curtailed", "engines", "batteries", "s"]
    joint = next((row.benefit_usd for row in rows if row.variant == "joint"), np.nan)
    lines = []
    for row in rows:
        if not np.isfinite(row.benefit_usd):
            lines.append([row.variant, "infeasible", *[""] * (len(heads) - 2)])
            continue
        asked = row.served_gpu_h + row.unserved_gpu_h
        cells = [row.variant, f"{row.benefit_usd:,.0f}", f"{row.benefit_usd / joint:.1%}", _gap(row.gap)]
        cells += [f"{row.emissions_t:,.1f}", f"{row.over_budget_t:,.1f}" if row.over_budget_t else ""]
        cells += [f"{row.served_gpu_h / asked:.1%}" if asked else ""]
        cells += [f"{row.accepted_jobs}/{row.accepted_jobs + row.rejected_jobs}"]
        energies = (row.consumed_mwh, row.bought_mwh, row.sold_mwh, row.self_consumed_mwh, row.curtailed_mwh)
        cells += [f"{value:,.0f}" for value in (*energies, row.generated_mwh, row.discharged_mwh, row.seconds)]
        lines.append(cells)
    return "\n".join([*markdown_table(heads, lines), ""])


def _gap(gap: float) -> str:
    return f"{max(gap, 0.0):.2%}" if gap > 5e-6 else f"{max(gap, 0.0):.0e}"


def _extensive(rows: Sequence[Row]) -> list[str]:
    """The agreement with the extensive form."""
    off = [abs(r.benefit_usd - r.extensive_usd) / max(abs(r.extensive_usd), 1.0) for r in rows]
    off = [value for value in off if np.isfinite(value)]
    if not off:
        return []
    return [f"Difference from the extensive form, solved beside: at most {max(off):.1e} of the benefit.\n"]


def _claims(checked: Sequence[Claim]) -> str:
    rows = [(c.claim, c.outcome, c.numbers) for c in checked]
    table = markdown_table(("claim", "here", "numbers"), rows, left=range(3))
    return "\n".join(["## Claims of the paper", "", *table, ""])


def ordered(rows: Sequence[Row]) -> tuple[int, int]:
    """Cells (a fleet's variants), and those in which restriction ≤ joint ≤ no-carbon holds, to 1e-6."""
    cells: dict[tuple[str, float], dict[str, Row]] = {}
    for row in rows:
        cells.setdefault((row.sweep, row.value if row.sweep else 0.0), {})[row.variant] = row
    good = 0
    for cell in cells.values():
        benefit = {name: row.benefit_usd for name, row in cell.items() if row.feasible}
        joint = benefit.get("joint", -np.inf)
        slack = 1e-6 * max(abs(joint), 1.0) if np.isfinite(joint) else 0.0
        below = [value for name, value in benefit.items() if name != "no-carbon"]
        good += max(below, default=-np.inf) <= joint + slack and joint <= benefit.get("no-carbon", np.inf) + slack
    return len(cells), good


def _order(rows: Sequence[Row]) -> str:
    cells, good = ordered(rows)
    return f"Restriction ≤ joint ≤ no-carbon holds in {good} of {cells} fleets (that above, and those of the sweeps).\n"


def _swept(name: str, rows: Sequence[Row]) -> str:
    variants = list(dict.fromkeys(row.variant for row in rows))
    rows_of = []
    for value in dict.fromkeys(row.value for row in rows):
        cell = {row.variant: row for row in rows if row.value == value}
        cells = [f"{value:g}", *(_benefit(cell[v]) for v in variants)]
        emitted = cell["joint"].emissions_t
        rows_of.append([*cells, f"{emitted:,.1f}" if np.isfinite(emitted) else ""])
    table = markdown_table([SWEEPS[name][0], *variants, "joint's emissions, t"], rows_of, left=())
    return "\n".join([f"## {name.capitalize()}", "", *table, "", f"![{name}]({name}.png)", ""])


def _benefit(row: Row) -> str:
    if not np.isfinite(row.benefit_usd):
        return "infeasible"
    note = f" ({row.over_budget_t:,.1f} t above the budget)" if row.over_budget_t else ""
    return f"{row.benefit_usd:,.0f}{note}"
