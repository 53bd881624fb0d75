"""What scenarios differ in and what they cost: fans, a histogram, a table; and the one scenario that the rest shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from decomp.model.accounts import Accounts, by_scenario, cvar, load_gpu
from decomp.model.instance import Array, Instance
from decomp.model.result import Result, Schedule
from decomp.model.scenarios import expand, in_scenario, series_of
from decomp.report.figure import BLUE, INK, LIGHT, MIDDLE, ORANGE, RED, Picture, TimeAxis, band, figure, steps, svg
from decomp.report.tables import LISTED, Sheet
from decomp.report.words import amount, money_unit, plural, share

SHADES = ((0.05, 0.95, LIGHT), (0.25, 0.75, MIDDLE))  # quantiles by probability


def typical(instance: Instance, result: Result) -> tuple[Instance, Result, str]:
    """The scenario whose cost is the median, with its part of the schedule but without prices, and its name.

    A budget for the expected emissions is no scenario's own.
    """
    assert result.schedule is not None
    cost = np.array([a.net_cost for a in by_scenario(instance, result.schedule)])
    s = int(_order(cost, instance.scenarios.probability, (0.5,))[0])
    fleet, alone = in_scenario(instance, result, s)
    if instance.carbon_scope == "expected":
        fleet = replace(fleet, carbon_budget_t=np.inf)
    return fleet, replace(alone, dual=None, allowances=None), str(instance.scenarios.name[s])


def fans(instance: Instance, schedule: Schedule) -> tuple[tuple[str, Array], ...]:
    """What the fleet pays for energy, runs, imports and gets from wind and sun, (scenario, period), with its label."""
    fleet, n = expand(instance), instance.n_scenarios

    def summed(values: Array) -> Array:
        return np.asarray(values.reshape(n, instance.n_sites, -1).sum(axis=1))

    gpus = series_of(instance, "capacity_gpu")
    capacity = np.maximum(gpus.sum(axis=1), 1e-9)
    price = (series_of(instance, "buy_price") * gpus).sum(axis=1) / capacity
    return (
        ("mean price of energy,\nUSD/MWh", price),
        ("GPUs in use, %", 100.0 * summed(load_gpu(fleet, schedule)) / capacity),
        ("import, MW", summed(schedule.import_mw)),
        ("wind and sun used, MW", summed(schedule.renewable_mw)),
    )


def fan_picture(instance: Instance, schedule: Schedule) -> Picture:
    """Price, load and import of the fleet over all scenarios."""
    rows, p = fans(instance, schedule), instance.scenarios.probability
    clock = TimeAxis.of(instance)
    fig = figure(10.4, 6.4)
    axes: Sequence[Axes] = fig.subplots(len(rows), 1, sharex=True)
    for ax, (label, values) in zip(axes, rows, strict=True):
        for low, high, colour in SHADES:
            name = f"{100 * low:.0f} to {100 * high:.0f} %"
            band(ax, clock, *weighted_quantiles(values, p, (low, high)), color=colour, label=name)
        steps(ax, clock, p @ values, color=INK, linewidth=1.3, label="expected")
        ax.set_ylabel(label)
        clock.dress(ax, label=ax is axes[-1])
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    caption = (
        f"{plural(len(p), 'scenario')}: the line is the expected value, the shades hold the middle 50 % and 90 % of "
        "the probability, hour by hour. Price: mean of the sites by their GPUs. Jobs are the same in all scenarios; "
        "a wide fan of load or import shows where routing, pools and batteries answer what comes."
    )
    return Picture(svg(fig, "Fans of price, load, import and renewable power over scenarios"), "What may come", caption)


def cost_picture(instance: Instance, accounts: Sequence[Accounts]) -> Picture:
    """Histogram of the net cost by probability."""
    cost, p = np.array([a.net_cost for a in accounts]), instance.scenarios.probability
    scale, unit = money_unit(float(np.abs(cost).max()))
    fig = figure(10.4, 2.6)
    ax = fig.subplots()
    bins = min(30, max(8, len(cost) // 3))
    ax.hist(cost / scale, bins=bins, weights=100.0 * p, color=LIGHT, edgecolor=BLUE, linewidth=0.6)
    worst = cvar(cost, p, instance.risk_level)
    ax.axvline(float(p @ cost) / scale, color=BLUE, linewidth=1.4, label="expected")
    ax.axvline(
        worst / scale, color=RED, linewidth=1.4, label=f"mean of the worst {100 * (1 - instance.risk_level):g} %"
    )
    ax.plot(cost / scale, np.zeros(len(cost)), "|", color=ORANGE, markersize=10, clip_on=False, label="a scenario")
    ax.set_xlabel(f"net cost, {unit}")
    ax.set_ylabel("probability, %")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    caption = "Net cost of the plan by scenario; less is better. What a common carbon budget costs is not in it."
    return Picture(svg(fig, "Histogram of net cost over scenarios"), "What it may cost", caption)


def scenario_sheet(instance: Instance, accounts: Sequence[Accounts]) -> Sheet:
    """A line a scenario, the dearest first."""
    p = instance.scenarios.probability
    order = np.argsort([-a.net_cost for a in accounts], kind="stable")[:LISTED]
    rows = [
        (
            str(instance.scenarios.name[s]),
            f"{100 * p[s]:.1f} %",
            amount(accounts[s].net_cost),
            amount(accounts[s].bought_mwh),
            amount(accounts[s].sold_mwh),
            amount(accounts[s].curtailed_mwh),
            share(accounts[s].served_gpu_h, accounts[s].served_gpu_h + accounts[s].unserved_gpu_h),
            amount(float(accounts[s].emissions_t.sum()), 1),
        )
        for s in order
    ]
    header = ("Scenario", "Probability", "Net cost, USD", "Bought, MWh", "Sold", "Curtailed", "Served", "t CO\u2082")
    more = f" The {LISTED} dearest are listed." if len(accounts) > LISTED else ""
    return Sheet("Scenarios", header, rows, f"The dearest first.{more}", wide=True)


def _order(cost: Array, p: Array, at: Sequence[float]) -> Array:
    """Numbers of the scenarios at some quantiles of a cost (s,)."""
    order = np.argsort(cost, kind="stable")
    return np.asarray(order[np.minimum(np.searchsorted(np.cumsum(p[order]), np.array(at) - 1e-12), len(p) - 1)])


def weighted_quantiles(values: Array, p: Array, at: Sequence[float]) -> Array:
    """Quantiles (quantile, period) of values (s, period) by probability."""
    return np.stack([values[_order(column, p, at), t] for t, column in enumerate(values.T)], axis=1)
