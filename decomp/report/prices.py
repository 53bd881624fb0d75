"""Pictures of prices, carbon and convergence."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from decomp.model.instance import Array, Instance
from decomp.model.result import Iteration, Result, Schedule
from decomp.report.figure import (
    BLUE,
    CYCLE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SOFT,
    Picture,
    TimeAxis,
    clip_axis,
    figure,
    heat,
    name_rows,
    row_order,
    steps,
    svg,
)
from decomp.report.words import CO2, amount, figures, short, stream_name

BARS = 30


def load_price_picture(instance: Instance, price: Array) -> Picture:
    """Price of a GPU-hour by site and hour."""
    clock = TimeAxis.of(instance)
    order, how = row_order(instance, price)
    fig = figure(10.4, float(np.clip(0.22 * len(order) + 1.0, 1.7, 4.6)))
    ax = fig.subplots()
    clipped = heat(fig, ax, clock, price[order], "USD/GPU-h")
    name_rows(ax, instance.sites.name[order], "site")
    note = " The colour scale covers the middle 98 % of the values." if clipped else ""
    caption = (
        f"Shadow price of load, USD/GPU-h; one row per site, {how}. It is what one more GPU in use for an hour costs "
        "the fleet there and then: bright hours are full or expensive, dark hours are where flexible work should "
        f"go.{note}"
    )
    return Picture(svg(fig, "Price of load by site and time"), "What a GPU-hour costs, site by site", caption)


def stream_price_picture(instance: Instance, price: Array) -> Picture:
    """Price of inference by stream: lines for a few, a heat map for many."""
    clock = TimeAxis.of(instance)
    few, many = instance.n_streams <= 6, instance.n_streams > 40
    order = np.argsort(-price.mean(axis=1), kind="stable") if many else np.arange(instance.n_streams)
    names, price = [stream_name(instance, int(d)) for d in order], price[order]
    fig = figure(10.4, 2.5 if few else float(np.clip(0.2 * len(names) + 1.0, 2.0, 4.6)))
    ax = fig.subplots()
    if few:
        for k, name in enumerate(names):
            dash = (0, (4, 2.5)) if k % 2 else "-"  # of two equal prices both stay visible
            steps(ax, clock, price[k], color=CYCLE[k], label=name, linewidth=1.3, linestyle=dash)
        clipped = bool(clip_axis(ax, price))
        ax.set_ylabel("USD/GPU-h")
        ax.legend(loc="center left", bbox_to_anchor=(1.005, 0.5))
        clock.dress(ax)
    else:
        clipped = heat(fig, ax, clock, price, "USD/GPU-h")
        name_rows(ax, names, "stream")
    note = (" Spikes are cut off." if few else " The colour scale covers the middle 98 %.") if clipped else ""
    caption = (
        "Shadow price of inference, USD/GPU-h, per stream: what serving one more GPU-hour of this demand costs the "
        "fleet at the cheapest site its latency allows, routing included. Where it reaches the revenue plus the "
        f"penalty, demand goes unserved.{note}{' The dearest streams are at the top.' if many else ''}"
    )
    return Picture(svg(fig, "Price of inference by stream"), "What inference costs, stream by stream", caption)


def carbon_picture(instance: Instance, schedule: Schedule) -> Picture:
    """Cumulative emissions against the budget, and who emits them."""
    sites, hours = instance.sites, instance.period_h
    grid = hours * (sites.carbon_intensity * schedule.import_mw - sites.export_credit * schedule.export_mw)
    own = np.zeros_like(grid)
    output = instance.generators.emission_t_per_mwh[:, None] * schedule.generation_mw
    np.add.at(own, instance.generators.site, hours * output)
    rows = min(instance.n_sites, BARS)
    fig = figure(10.4, float(np.clip(0.17 * rows + 0.9, 2.6, 5.4)))
    left, right = fig.subplots(1, 2, width_ratios=[1.15, 1])
    _cumulative(left, instance, grid.sum(axis=0), own.sum(axis=0))
    names = _emission_bars(right, instance, grid.sum(axis=1), own.sum(axis=1))
    budget = ""
    if np.isfinite(instance.carbon_budget_t):
        hard = (
            "may be touched, not crossed" if np.isinf(instance.carbon_excess_usd_per_t) else "may be crossed at a price"
        )
        budget = f" The budget of {figures(instance.carbon_budget_t)} t is the dashed line: it {hard}."
    caption = (
        f"Emissions in tonnes of {CO2}. Left: added up over time, from the grid (net of export credits) and own "
        f"generators.{budget} Right: {names}."
    )
    return Picture(svg(fig, "Emissions over time and by site"), "Emissions over time and by site", caption)


def _cumulative(ax: Axes, instance: Instance, grid: Array, own: Array) -> None:
    clock = TimeAxis.of(instance)
    lines = [np.append(0.0, np.cumsum(v)) for v in (own, grid)]
    total = lines[0] + lines[1]
    ax.fill_between(clock.edges, lines[0], color=RED, linewidth=0, label="generators")
    ax.fill_between(clock.edges, lines[0], total, color=GREY, linewidth=0, label="grid")
    ax.plot(clock.edges, total, color=INK, linewidth=1.2)
    if np.isfinite(instance.carbon_budget_t):
        ax.axhline(instance.carbon_budget_t, color=PURPLE, linewidth=1.2, linestyle=(0, (4, 2)), label="budget")
    ax.set_ylabel(f"t {CO2}, cumulative")
    ax.set_ylim(bottom=min(0.0, float(total.min())))
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, borderaxespad=0.1)
    clock.dress(ax)


def _emission_bars(ax: Axes, instance: Instance, grid: Array, own: Array) -> str:
    """Bars of the largest emitters; returns what they are."""
    order = np.argsort(-(grid + own), kind="stable")
    shown, rest = order[:BARS], order[BARS:]
    y = np.arange(len(shown))
    ax.barh(y, own[shown], color=RED, height=0.72)
    ax.barh(y, grid[shown], left=own[shown], color=GREY, height=0.72)
    for k, i in enumerate(shown):
        ax.annotate(
            figures(grid[i] + own[i]),
            (max(grid[i] + own[i], 0.0), k),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    ax.set_yticks(y, [short(str(instance.sites.name[i]), 18) for i in shown])
    ax.tick_params(axis="y", length=0, labelsize=7.5 if len(y) <= 20 else 7)
    ax.set_ylim(len(y) - 0.4, -0.6)
    ax.margins(x=0.1)
    ax.set_xlabel(f"t {CO2}")
    if not len(rest):
        return "by site, largest first"
    others = figures(float((grid + own)[rest].sum()))
    return f"the {BARS} sites that emit most; the other {amount(len(rest))} emit {others} t together"


def convergence_picture(result: Result) -> Picture | None:
    """Bound and incumbent, gap, residual and carbon price over wall time."""
    log = [it for it in result.log if np.isfinite(it.bound) or it.incumbent is not None]
    if len(log) < 2:
        return None
    time = np.array([it.wall_seconds for it in log])
    bound = np.array([it.bound if np.isfinite(it.bound) else np.nan for it in log])
    found = np.array([it.incumbent if it.incumbent is not None else np.nan for it in log])
    found[~np.isfinite(found)] = np.nan
    gap = 100 * (found - bound) / np.maximum(np.abs(found), 1.0)
    extra = [
        ("residual, GPUs", np.array([it.residual_gpu for it in log]), GREEN),
        ("carbon price, USD/t", np.array([it.carbon_price for it in log]), PURPLE),
    ]
    extra = [e for e in extra if np.any(e[1] > 0)]
    fig = figure(10.4, 3.0 + (1.7 if extra else 0))
    grid = fig.add_gridspec(2 if extra else 1, 2, height_ratios=[1.7, 1] if extra else None)
    cost, rel = fig.add_subplot(grid[0, 0]), fig.add_subplot(grid[0, 1])
    _bounds(cost, time, bound, found)
    _phases(cost, log)
    if np.any(gap > 0):
        rel.semilogy(time, np.where(gap > 0, gap, np.nan), color=INK, linewidth=1.3, marker=".", markersize=4)
        rel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        rel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        rel.yaxis.set_minor_formatter(NullFormatter())
    else:
        rel.text(0.5, 0.5, "the log holds no gap above zero", transform=rel.transAxes, ha="center", color=SOFT)
        rel.set_axis_off()
    rel.set_ylabel("relative gap, %")
    for k, (name, values, colour) in enumerate(extra):
        ax = fig.add_subplot(grid[1, k])
        ax.plot(time, values, color=colour, linewidth=1.2)
        ax.set_ylabel(name)
    for ax in fig.axes:
        ax.grid(axis="y", color=FAINT, linewidth=0.5)
        ax.set_xlim(0, max(float(time[-1]), 1e-6))
        ax.set_xlabel("wall time, s")
    caption = (
        "Net cost (negative: income) over the wall time of the solve: no schedule can cost less than the blue bound, "
        "and the orange incumbent is the best schedule in hand. The space between them, on the right as a share of "
        "the incumbent, is all that is left to gain."
    )
    return Picture(svg(fig, "Convergence of bound and incumbent"), "Convergence", caption)


def _bounds(ax: Axes, time: Array, bound: Array, found: Array) -> None:
    """Both series, their last values written out; early values far from these are left outside."""
    ends = [float(v[np.isfinite(v)][-1]) for v in (bound, found) if np.isfinite(v).any()]
    scale, unit = (1e6, "million") if max(map(abs, ends)) >= 1e7 else (1e3, "thousand")
    for values, colour, label in ((bound, BLUE, "bound"), (found, ORANGE, "incumbent")):
        if np.isfinite(values).any():
            ax.plot(time, values / scale, color=colour, linewidth=1.4, label=label, drawstyle="steps-post")
            last = np.flatnonzero(np.isfinite(values))[-1]
            ax.plot(time[last], values[last] / scale, "o", color=colour, markersize=4, clip_on=False)
    spread = max(max(ends) - min(ends), 2e-3 * max(map(abs, ends)), 1e-6)
    everything = np.concatenate([bound[np.isfinite(bound)], found[np.isfinite(found)]])
    low, high = max(everything.min(), min(ends) - 8 * spread), min(everything.max(), max(ends) + 8 * spread)
    pad = 0.06 * max(high - low, spread)
    ax.set_ylim((low - pad) / scale, (high + pad) / scale)
    ax.set_ylabel(f"net cost, {unit} USD")
    ax.legend(loc="best")


def _phases(ax: Axes, log: list[Iteration]) -> None:
    """A tick with the name of each phase where it begins."""
    changes = [k for k in range(len(log)) if k == 0 or log[k].phase != log[k - 1].phase]
    if len(changes) > 12:
        return
    last = -np.inf
    span = max(log[-1].wall_seconds, 1e-9)
    for k in changes:
        at = log[k].wall_seconds
        ax.axvline(at, color=SOFT, linewidth=0.5, linestyle=(0, (2, 2)))
        if at > last:
            ax.text(at, 1.01, log[k].phase, transform=ax.get_xaxis_transform(), fontsize=7.5, color=SOFT, va="bottom")
            last = at + span * (len(log[k].phase) + 1) / 80  # about as far as the text reaches
