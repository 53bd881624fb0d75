"""Where plans differ: what answers each scenario otherwise, and what a plan for the expected series does otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from decomp.evaluation.evaluate import Evaluation, Interval
from decomp.model.accounts import load_gpu
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.model.scenarios import expand
from decomp.model.text import number
from decomp.model.times import stamp, start_of
from decomp.report.figure import HEAT, Picture, TimeAxis, figure, heat, name_rows, row_order, svg
from decomp.report.tables import LISTED, Sheet
from decomp.report.words import amount, figures, plural

ROWS = 15
SEEN = 1e-6  # of the fleet's largest value; less is rounding
LEAST = 1e-4  # of what the fleet has of a quantity; less is not worth a line


class Answer(NamedTuple):
    """A quantity of the sites in every scenario, values (s, site, period); what is added up over time, and its unit."""

    name: str
    unit: str
    values: Array
    summed: str
    total: Array

    def spread(self, p: Array) -> Array:
        """Standard deviation over the scenarios (site, period)."""
        away = self.values - np.tensordot(p, self.values, axes=1)
        return np.asarray(np.sqrt(np.tensordot(p, away**2, axes=1)))


def answers(instance: Instance, schedule: Schedule) -> list[Answer]:
    """What of a plan answers the scenarios, as far as it differs between them."""
    fleet, n = expand(instance), instance.n_scenarios
    made = np.zeros_like(schedule.import_mw)
    np.add.at(made, fleet.generators.site, schedule.generation_mw)
    load, drawn = load_gpu(fleet, schedule), schedule.import_mw - schedule.export_mw
    stored = schedule.discharge_mw - schedule.charge_mw
    found = (
        ("GPUs in use", "GPU", load, "GPUs in use, GPU-h", load),
        ("import less export", "MW", drawn, "import less export, MWh", drawn),
        ("generators", "MW", made, "generators, MWh", made),
        ("battery, discharge less charge", "MW", stored, "battery discharge, MWh", schedule.discharge_mw),
    )

    def each(values: Array) -> Array:
        return values.reshape(n, instance.n_sites, -1)

    every = [
        Answer(name, unit, each(values), summed, instance.period_h * each(total).sum(axis=2))
        for name, unit, values, summed, total in found
    ]
    return [a for a in every if np.ptp(a.values, axis=0).max() > SEEN * max(np.abs(a.values).max(), 1.0)]


def spread_picture(instance: Instance, found: list[Answer]) -> Picture:
    """Where and when the scenarios are answered differently."""
    p, clock = instance.scenarios.probability, TimeAxis.of(instance)
    spreads = [a.spread(p) for a in found]
    order, how = row_order(instance, spreads[0])
    height = float(np.clip(0.17 * len(order) + 0.45, 1.1, 3.2))
    fig = figure(10.4, height * len(found) + 0.5)
    axes = np.atleast_1d(fig.subplots(len(found), 1))
    for ax, answer, spread in zip(axes, found, spreads, strict=True):
        heat(fig, ax, clock, spread[order], answer.unit, HEAT)
        if ax is not axes[-1]:
            ax.set_xlabel("")
            clock.dress(ax, label=False)
        name_rows(ax, instance.sites.name[order], "site")
        ax.set_title(answer.name)
    caption = (
        f"Standard deviation over the scenarios, hour by hour; one row per site, {how}. Jobs are the same in all: "
        "in dark hours routing, deferrable work, batteries, generators and the grid answer what comes."
    )
    return Picture(svg(fig, "Where scenarios are answered differently"), "Where the scenarios differ", caption)


def spread_sheets(instance: Instance, found: list[Answer]) -> list[Sheet]:
    """Sites and quantities that differ most between scenarios, in shares of what the fleet has of each; none: none."""
    p, names, rows = instance.scenarios.probability, instance.scenarios.name, []
    for answer in found:
        spread, scale = answer.spread(p), max(float(np.abs(answer.values).sum(axis=(1, 2)) @ p), 1e-9)
        total, part = answer.total, spread.sum(axis=1) / scale
        for i in np.flatnonzero(part > LEAST):
            widest = int(spread[i].argmax())
            least, most = int(total[:, i].argmin()), int(total[:, i].argmax())
            then = answer.values[:, i, widest]
            cells = (
                str(instance.sites.name[i]),
                answer.summed,
                figures(float(p @ total[:, i])),
                f"{figures(float(total[least, i]))} ({names[least]})",
                f"{figures(float(total[most, i]))} ({names[most]})",
                stamp(start_of(instance, widest)),
                f"{figures(float(then.min()))} to {figures(float(then.max()))} {answer.unit}",
            )
            rows.append((float(part[i]), cells))
    if not rows:
        return []
    rows.sort(key=lambda row: -row[0])
    header = ("Site", "What", "Expected", "Least", "Most", "Most apart (UTC)", "Range then")
    more = f" The {ROWS} sites and quantities that differ most, in shares of the fleet's." if len(rows) > ROWS else ""
    note = f"Over the whole horizon, and in the period in which the scenarios are most apart.{more}"
    return [Sheet("Where the scenarios differ", header, [cells for _, cells in rows[:ROWS]], note, wide=True)]


# ---------------------------------------------------------------- the plan for the expected series


def run_of(instance: Instance, site: int, start: int) -> str:
    """Where and when a job runs."""
    return f"{instance.sites.name[site]}, {stamp(start_of(instance, start))}" if site >= 0 else "rejected"


def worth_rows(e: Evaluation, show: Callable[[float], str] = number) -> list[tuple[str, str]]:
    """What there is to say of an evaluation, in words and USD."""

    def between(interval: Interval) -> str:
        return f"{show(interval.lower)} to {show(interval.upper)}"

    shown = [("expected net cost", show(e.mean))]
    half = e.half_width()
    if np.isfinite(half):
        shown.append(("95 % confidence interval", f"{show(e.mean - half)} to {show(e.mean + half)}"))
    shown += [
        (f"mean of the worst {100 * (1 - e.level):g} % (CVaR)", show(e.cvar)),
        ("least and most", f"{show(e.cost.min())} to {show(e.cost.max())}"),
        ("these jobs at best", between(e.this)),
    ]
    if e.stochastic is not None and e.mean_value is not None:
        shown.append(("jobs of the mean-value plan at best", between(e.mean_value)))
        shown.append(("value of the stochastic solution", between(e.stochastic)))
    if e.information is not None and e.perfect is not None:
        shown.append(("knowing the scenario", between(e.perfect)))
        shown.append(("expected value of perfect information", between(e.information)))
    return shown


def moved_gpu(instance: Instance, e: Evaluation) -> Array:
    """Load of jobs under this plan less that under the mean-value plan (site, period), GPU."""
    moved = np.zeros((instance.n_sites, instance.n_periods))
    for m in e.moves or ():
        for sign, site, start in ((1.0, m.site, m.start), (-1.0, m.mean_site, m.mean_start)):
            if site >= 0:
                moved[site, start : start + instance.jobs.periods[m.job]] += sign * instance.jobs.gpus[m.job]
    return moved


def moved_picture(instance: Instance, e: Evaluation) -> Picture | None:
    """Where and when jobs load sites more or less than under the mean-value plan; None where no job is moved."""
    moved = moved_gpu(instance, e)
    if not moved.any():
        return None
    order, how = row_order(instance, np.abs(moved))
    most = float(np.abs(moved).max())
    fig = figure(10.4, float(np.clip(0.2 * len(order) + 0.9, 1.6, 4.6)))
    ax = fig.subplots()
    heat(fig, ax, TimeAxis.of(instance), moved[order], "GPU", "RdBu", span=(-most, most))
    name_rows(ax, instance.sites.name[order], "site")
    caption = (
        f"GPUs in use by jobs, less those under the plan for the expected series; one row per site, {how}. "
        f"Blue: this plan has more of them there and then, red: fewer. {plural(len(e.moves or ()), 'job')} of "
        f"{amount(instance.n_jobs)} are run otherwise."
    )
    title = "Where this plan and the mean-value plan differ"
    return Picture(svg(fig, title), title, caption)


def plan_sheets(instance: Instance, e: Evaluation) -> list[Sheet]:
    """What the plan is worth against the mean-value plan and against knowing, and the jobs that are moved."""
    note = "From a proven bound to the cost of a schedule; the jobs are held, and all else answers each scenario."
    worth = [(name[:1].upper() + name[1:], value) for name, value in worth_rows(e, amount)]
    sheets = [Sheet("What planning for scenarios is worth", ("", "USD"), worth, note)]
    if e.moves:
        jobs = instance.jobs
        order = sorted(e.moves, key=lambda m: -jobs.gpus[m.job] * jobs.periods[m.job])[:LISTED]
        rows = [
            (
                str(jobs.name[m.job]),
                amount(jobs.gpus[m.job]),
                amount(jobs.periods[m.job] * instance.period_h, 2),
                run_of(instance, m.site, m.start),
                run_of(instance, m.mean_site, m.mean_start),
            )
            for m in order
        ]
        more = f" The {LISTED} largest are listed." if len(e.moves) > LISTED else ""
        note = f"{len(e.moves)} of {plural(instance.n_jobs, 'job')} run otherwise in the mean-value plan.{more}"
        header = ("Job", "GPUs", "Hours", "This plan", "Mean-value plan")
        sheets.append(Sheet("Jobs that the mean-value plan runs otherwise", header, rows, note, wide=True))
    return sheets
