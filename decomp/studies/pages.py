"""The colocation study for readers: summary in Markdown, tables as CSV, figures, instances and results as HDF5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from decomp.files.atomic import atomic_path, write_rows, write_text
from decomp.files.store import write_instance, write_result
from decomp.model.text import markdown_table
from decomp.report.figure import BLUE, GREY, INK, ORANGE, figure, style
from decomp.studies.colocation import PAPER, TARIFFS, Foreseen, MonthRow, Point, Row, Study
from decomp.studies.errors import FUTURES
from decomp.studies.laws import Law
from decomp.studies.market import DAYS_BEFORE

COLOURS = dict(wholesale=BLUE, retail=ORANGE)
PROFILE = {"none": "as-it-arrives", "perfect": "perfect", "forecast": "forecast"}


@dataclass(frozen=True)
class Findings:
    """What the study found: Table II, points of the figures over share and wind, laws, and savings in other ways.

    `paces`: periods between plans, tariff, saving with the forecast. `months` is empty but on a year of real series.
    """

    rows: Sequence[Row]
    shares: Sequence[Point]
    ratios: Sequence[Point]
    laws: Sequence[Law]
    paces: Sequence[tuple[int, str, float]]
    foreseen: Sequence[Foreseen]
    months: Sequence[MonthRow]


def write_study(folder: Path, study: Study, found: Findings, command: str) -> None:
    """The summary, tables, figures, instances and results of a study that `command` ran."""
    write_csv(folder / "table2.csv", found.rows)
    write_csv(folder / "figures12.csv", found.shares, "saving", "benefit")
    write_csv(folder / "figures34.csv", found.ratios, "saving", "benefit")
    write_csv(folder / "laws.csv", found.laws)
    write_csv(folder / "foresight.csv", found.foreseen)
    if found.months:
        write_csv(folder / "months.csv", found.months)
    _write_files(folder, study)
    _write_figures(folder, found.shares, found.ratios)
    write_text(folder / "summary.md", summary(study, found, command))


def write_csv(path: Path, rows: Sequence[Any], *derived: str) -> None:
    """Records as a CSV file; `derived` are properties to write as well."""
    names = [*(f.name for f in fields(rows[0])), *derived]
    write_rows(path, names, ([getattr(row, name) for name in names] for row in rows))


def _write_files(folder: Path, study: Study) -> None:
    """The month of both tariffs as an instance, and its three runs as results that `check` and `report` read."""
    for tariff in TARIFFS:
        case = study.base(tariff)
        instance = study.instance(case)
        write_instance(folder / f"{tariff}.h5", instance)
        for foresight, name in PROFILE.items():
            write_result(folder / f"{tariff}-{name}.h5", study.result(case, foresight), instance)


# ---------------------------------------------------------------- figures


def _write_figures(folder: Path, shares: Sequence[Point], ratios: Sequence[Point]) -> None:
    """Figures 1 to 4."""
    for number, tariff in enumerate(TARIFFS, 1):
        save_figure(folder / f"figure{number}.png", partial(_shares, points=shares, tariff=tariff))
    for number, what in enumerate(("saving", "benefit"), 3):
        save_figure(folder / f"figure{number}.png", partial(_ratios, points=ratios, what=what))


def save_figure(path: Path, draw: Callable[[Axes], None]) -> None:
    """One picture as PNG."""
    with style():
        fig = figure(4.6, 3.0)
        draw(fig.add_subplot())
        with atomic_path(path) as temporary:
            fig.savefig(temporary, format="png", dpi=200, metadata={"Software": None})


def _shares(ax: Axes, points: Sequence[Point], tariff: str) -> None:
    """Savings over the deferrable share, under one tariff; both tariffs have the same height of axis."""
    marks = dict(perfect=("o", "-", "scheduled, perfect foresight"), forecast=("s", "--", "scheduled, forecast"))
    for foresight, (mark, line, label) in marks.items():
        chosen = [p for p in points if p.tariff == tariff and p.foresight == foresight]
        x = [100 * p.deferrable for p in chosen]
        ax.plot(x, [100 * p.saving for p in chosen], mark + line, color=COLOURS[tariff], ms=3.5, lw=1.2, label=label)
    arrives = [100 * (1 - p.arrives_usd / p.alone_usd) for p in chosen]
    ax.plot(x, arrives, ":", color=INK, lw=1.0, label="no scheduling")
    every = [100 * p.saving for p in points] + arrives
    low, high = min(every), max(every)
    ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    ax.set_title(f"{tariff.capitalize()}: savings over the deferrable share")
    ax.set_xlabel("deferrable share of the work, %")
    ax.set_ylabel("saved of the cost without colocation, %")
    ax.grid(axis="y", color=GREY, lw=0.4)
    ax.legend(handlelength=2.6)


def _ratios(ax: Axes, points: Sequence[Point], what: str) -> None:
    """Savings, or what scheduling adds to them, over the wind's power, both tariffs."""
    for tariff, mark in zip(TARIFFS, "os", strict=True):
        chosen = [p for p in points if p.tariff == tariff]
        x = [p.wind_mw / 100.0 for p in chosen]
        y = [100 * getattr(p, what) for p in chosen]
        ax.plot(
            x,
            y,
            mark + "-",
            color=COLOURS[tariff],
            ms=3.5,
            lw=1.2,
            label=f"{tariff}, scheduled" if what == "saving" else tariff,
        )
        if what == "saving":
            arrives = [100 * (1 - p.arrives_usd / p.alone_usd) for p in chosen]
            ax.plot(x, arrives, mark + ":", color=COLOURS[tariff], ms=2.5, lw=1.0, label=f"{tariff}, no scheduling")
    titles = dict(saving="Savings over the wind's power", benefit="What scheduling is worth over the wind's power")
    ax.set_title(titles[what])
    ax.set_xlabel("wind power over the data centre's")
    ax.set_ylabel("share of the cost without colocation, %")
    ax.set_ylim(bottom=0.0)
    ax.grid(axis="y", color=GREY, lw=0.4)
    ax.legend(handlelength=2.6)


# ---------------------------------------------------------------- summary


def summary(study: Study, found: Findings, command: str) -> str:
    """The study in Markdown."""
    setting, month = study.setting, study.setting.month
    head = f"""# A data centre beside a wind park

The setting of [arXiv 2507.08011](https://arxiv.org/abs/2507.08011), {month.n_days} days of {month.month} in quarter
hours: {setting.wind_mw:g} MW of wind, a data centre of 100 MW, {setting.deferrable:.0%} of its work deferrable
within its day. Source: {study.market.source}.

    {command}

Rolling: planned every {setting.every / 4:g} h, {setting.ahead / 4:g} h ahead. *Perfect* foresight knows the prices
and the wind of that window. *Forecast* takes the published day-ahead price for the real-time one (tomorrow's from
11:00 on, until then today's again) and the last wind for all that follow; what it costs is reckoned with what came.
Work is known in both.
"""
    parts = [
        _table(found.rows),
        _bounds(study),
        _paces(found.paces),
        _foreseen(found.foreseen, study.market.before is not None),
        _beside_the_paper(study, found.rows),
        *([_months(found.months)] if found.months else []),
        _laws(found.laws),
        _figures(found.shares),
        ASSUMED.format(charge=setting.demand_charge),
    ]
    return "\n".join([head, *parts])


ASSUMED = """## Assumed

Prices and wind are data where the source says so; work and cooling are those of the family `colocation`: a
two-segment power curve, exact; wind not curtailed. Retail buys at 1.05 times the day-ahead price plus 30 USD/MWh,
sells at 0.8 times, and pays {charge:g} USD per kW of the month's peak. *No scheduling* runs work as it arrives;
scheduled, the day's deferrable work may run at any time of its day (midnight to midnight, Eastern standard time).
The annuity of the wind park is 196.8 USD per kW and year. Instances and results are beside this file
(`wholesale.h5`, `wholesale-perfect.h5`, ...): `python -m drivers.report` draws them,
`python -m drivers.check --no-bound` proves the schedules.
"""


def _table(rows: Sequence[Row]) -> str:
    heads = ["tariff", "configuration", "foresight", "imported, MWh", "exported, MWh", "self-consumed, MWh", "peak, kW"]
    heads += ["cost, USD", "savings", "savings less investment", "paper"]
    lines = []
    for row in rows:
        energies = (row.imported_mwh, row.exported_mwh, row.self_consumed_mwh, row.peak_kw, row.cost_usd)
        cells = [row.tariff, row.configuration, "" if row.foresight == "none" else row.foresight]
        cells += [f"{value:,.0f}" for value in energies] + [f"{row.saving:.1%}", f"{row.adjusted_saving:.1%}"]
        lines.append([*cells, f"{row.paper:.1%}" if row.paper is not None else ""])
    return "\n".join(["## Table II", "", *markdown_table(heads, lines, left=range(3)), ""])


def _bounds(study: Study) -> str:
    """How far the rolling runs are from the month planned in one piece."""
    lines = []
    for tariff in TARIFFS:
        case = study.base(tariff)
        bound = study.lower_bound(case)
        perfect, forecast = (max(study.cost(case, f) - bound, 0.0) / abs(bound) for f in ("perfect", "forecast"))
        lines += [
            f"- {tariff}: planned in one piece the month costs {bound:,.0f} USD at least (proven); the rolling run is",
            f"  {perfect:.2%} above that with perfect foresight, {forecast:.2%} with the forecast.",
        ]
    return "\n".join(lines)


def _paces(paces: Sequence[tuple[int, str, float]]) -> str:
    """What planning more often brings."""
    saved = {tariff: [f"{saving:.1%}" for _, t, saving in paces if t == tariff] for tariff in TARIFFS}
    often = ", ".join(f"{every / 4:g}" for every in dict.fromkeys(every for every, _, _ in paces))
    found = "; ".join(f"{tariff} {', '.join(savings)}" for tariff, savings in saved.items())
    return f"- Savings with the forecast when planned every {often} h: {found}.\n"


def _months(months: Sequence[MonthRow]) -> str:
    """The whole year."""
    heads = ["month", "prices missing", "capacity factor", "price, USD/MWh", "price of the wind, USD/MWh"]
    heads += [f"{tariff}, {how}" for tariff in TARIFFS for how in ("no scheduling", "scheduled")]
    lines = []
    for row in months:
        cells = [
            row.month,
            f"{row.missing_prices:.1%}",
            f"{row.capacity_factor:.1%}",
            f"{row.real_time_usd_per_mwh:.2f}",
        ]
        cells += [f"{row.wind_usd_per_mwh:.2f}", f"{row.wholesale_arrives:.1%}", f"{row.wholesale_scheduled:.1%}"]
        cells += [f"{row.retail_arrives:.1%}", f"{row.retail_scheduled:.1%}"]
        lines.append(cells)
    intro = "The same site in all months, perfect foresight, planned a day at a time; savings against no colocation:"
    return "\n".join([intro, "", *markdown_table(heads, lines), ""])


def _foreseen(rows: Sequence[Foreseen], known: bool) -> str:
    """Forecast, scenarios and perfect foresight side by side."""
    heads = ("tariff", "foresight", "net cost, USD", "saved", "of the forecast's loss won back")
    lines = []
    for row in rows:
        won = f"{row.won_back:.0%}" if row.foresight == "scenarios" else ""
        lines.append((row.tariff, row.foresight, f"{row.cost_usd:,.0f}", f"{row.saving:.1%}", won))
    since = f"the month so far and the {DAYS_BEFORE} days before" if known else "the month so far"
    return f"""
## An uncertain future

*Scenarios*: each plan is the best over up to {FUTURES} futures, the forecast plus the errors of earlier days at the
same hour whose forecasts were most like it: price and wind of a day together, of {since},
none that was not over. What is done until the next plan is the same in all of them.

{chr(10).join(markdown_table(heads, lines, left=range(2)))}
"""


def _beside_the_paper(study: Study, rows: Sequence[Row]) -> str:
    """Why the savings are not the paper's, in numbers."""
    capacity, worth = study.wind_worth()
    alone, arrives, scheduled = rows[:3]
    retail, retail_arrives, retail_scheduled = rows[4:7]
    hours = study.market.site.period_h * study.market.site.n_periods
    energy = capacity * study.setting.wind_mw * hours
    share, paid = energy / alone.imported_mwh, alone.cost_usd / alone.imported_mwh
    paper = PAPER["wholesale", arrives.configuration]
    needed = paper * alone.cost_usd / (hours * capacity * worth)
    gain, gain_retail = scheduled.saving - arrives.saving, retail_scheduled.saving - retail_arrives.saving
    guessed, guessed_retail = rows[3].saving - arrives.saving, rows[7].saving - retail_arrives.saving
    invested = study.investment_usd(study.setting.wind_mw)
    return f"""
## Beside the paper

Which prices, which wind, which data centre and which tariff the paper used is not known here; what differs follows
from them:

- Under wholesale prices colocation saves what the wind earns. Here the wind yields {energy:,.0f} MWh, {share:.0%} of
  the {alone.imported_mwh:,.0f} MWh consumed (capacity factor {capacity:.1%}), at {worth:.2f} USD/MWh against the
  {paid:.2f} that the data centre pays: {share:.3f} × {worth / paid:.3f} = {arrives.saving:.1%}. As this is linear in
  the wind's power, {needed:,.0f} MW would save the paper's {paper:.1%}.
- Scheduling adds {100 * gain:.1f} points wholesale and {100 * gain_retail:.1f} retail with perfect foresight; in the
  paper 10.7 and 6.3. Wholesale it rests on the spread of prices within a day ({study.gain_when_dear():.0%} of it is
  earned in the 5 % of periods with the highest prices) and on the room that the data centre has (here 75 % of it is
  busy on average); in retail on the demand charge, which a flatter import avoids, and on the gap between buying and
  selling, which self-consumption avoids.
- With the forecast it adds {100 * guessed:.1f} and {100 * guessed_retail:.1f} points. Day-ahead prices miss the spikes;
  and wind that is believed to stay draws work to hours in which it does not, one of which sets the month's peak:
  {rows[7].peak_kw:,.0f} kW, against {retail_scheduled.peak_kw:,.0f} with perfect foresight and
  {retail_arrives.peak_kw:,.0f} without scheduling.
- The investment for these days, {invested:,.0f} USD, is {invested / alone.cost_usd:.0%} of what the data centre pays
  without wind at wholesale prices and {invested / retail.cost_usd:.0%} at retail prices; savings above that pay for it.
"""


def _laws(checked: Sequence[Law]) -> str:
    words = {True: "reproduced", False: "**not reproduced**", None: "not tested here"}
    rows = [(law.name, words[law.holds], law.numbers) for law in checked]
    return "\n".join(["## Laws", "", *markdown_table(("law", "outcome", "numbers"), rows, left=range(3)), ""])


def _figures(shares: Sequence[Point]) -> str:
    axes = ("wholesale, over the deferrable share", "retail, over the deferrable share", "over the wind's power")
    titles = [*(f"savings, {axis}" for axis in axes), "what scheduling is worth, over the wind's power"]
    lines = [f"![Figure {k}: {title}](figure{k}.png)\n" for k, title in enumerate(titles, 1)]
    columns = [(tariff, foresight) for tariff in TARIFFS for foresight in ("perfect", "forecast")]
    rows = []
    for share in sorted({p.deferrable for p in shares}):
        saving = {(p.tariff, p.foresight): p.saving for p in shares if p.deferrable == share}
        rows.append([f"{share:.0%}", *(f"{saving[column]:.1%}" for column in columns)])
    lines += markdown_table(["deferrable", *map(", ".join, columns)], rows, left=())
    return "\n".join(["## Figures", "", *lines, ""])
