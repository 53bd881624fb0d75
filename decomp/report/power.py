"""Pictures of energy: GPUs in use, power stack, battery and prices, of the fleet and of single sites."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decomp.model.instance import Array, Instance
from decomp.report.figure import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    LIGHT,
    MIDDLE,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    SOFT,
    YELLOW,
    Layer,
    Picture,
    TimeAxis,
    band,
    clip_axis,
    gpu_scale,
    stack,
    steps,
    svg,
)
from decomp.report.flows import Flows
from decomp.report.words import MINUS, amount, plural

HOW_TO_READ = (
    "In the power panel, areas above zero are sources, areas below zero are charging and export, and the black line is "
    "what the facility draws: the sources reach as far above the line as the areas reach below zero."
)
WIDE = 10.4  # inches; narrower pictures carry their legends above the panels
Lines = list[tuple[str, Array, str]]  # name, values (row, period), colour


def fleet_picture(instance: Instance, f: Flows, price: Array | None) -> Picture:
    """GPUs, power, stored energy and prices of the whole fleet."""
    prices: list[tuple[str, Lines]] = [("USD/MWh", [("buying price", instance.sites.buy_price, INK)])]
    if price is not None:
        prices.append(("USD/GPU-h", [("price of load", price, BLUE)]))
    title = "The fleet's compute and power"
    text, clipped = _panels(instance, f.total(), prices, WIDE, title)
    caption = (
        f"All {plural(instance.n_sites, 'site')} added up: GPUs in use against installed capacity, power in MW, stored "
        f"energy in MWh, prices in USD. {HOW_TO_READ} Prices are the median over the sites (line) and their range from "
        f"the 10th to the 90th percentile (band).{clipped}"
    )
    return Picture(text, title, caption)


def site_picture(instance: Instance, f: Flows, price: Array | None, site: int, reason: str) -> Picture:
    """The same for one site, with its own prices."""
    row = Flows(**{field.name: getattr(f, field.name)[site : site + 1] for field in fields(f)})
    sites = instance.sites
    energy = [("buy", sites.buy_price[site : site + 1], INK)]
    if np.any(sites.export_limit_mw[site]):
        energy.append(("sell", sites.sell_price[site : site + 1], PURPLE))
    prices = [("USD/MWh", energy)]
    if price is not None:
        prices.append(("USD/GPU-h", [("price of load", price[site : site + 1], BLUE)]))
    name = str(sites.name[site])
    alone = instance.n_sites == 1
    text, clipped = _panels(instance, row, prices, WIDE if alone else 5.4, f"Site {name}")
    battery = f", battery {amount(float(row.storage.max()))} MWh" if row.storage.max() > 0 else ""
    why = f"Shown for its {reason}. " if reason else f"{HOW_TO_READ} " if alone else ""
    caption = f"{why}Peak import {amount(float(row.imports.max()), 1)} MW{battery}.{clipped}"
    return Picture(text, name, caption, half=not alone)


def _panels(instance: Instance, f: Flows, prices: list[tuple[str, Lines]], width: float, alt: str) -> tuple[str, str]:
    """Draw the stacked panels of one site or of the fleet; returns SVG and a remark on clipped prices."""
    clock, wide = TimeAxis.of(instance), width >= WIDE
    battery = f.storage.max() > 0
    scale = 1.0 if wide else 0.8
    heights = [1.4, 2.9, *([0.85] if battery else []), *([0.85] * len(prices))]
    gaps = [0.06 if wide else 0.22, 0.1 if wide else 0.38, *([0.24] * (len(heights) - 2))]
    fig, axes = _column(width, [h * scale for h in heights], gaps, right=1.5 if wide else 0.08)
    _gpus(axes[0], clock, f, wide)
    _power(axes[1], clock, f, wide)
    rest = axes[2:]
    if battery:
        _battery(rest.pop(0), clock, f)
    clipped = [_prices(ax, clock, unit, lines) for ax, (unit, lines) in zip(rest, prices, strict=True)]
    for ax in axes:
        clock.dress(ax, ax is axes[-1])
        ax.grid(axis="x", color=FAINT, linewidth=0.5)
        ax.yaxis.set_label_coords(-0.47 / (ax.get_position().width * width), 0.5)
    remark = " Where price spikes are cut off, their extremes are written." if any(clipped) else ""
    return svg(fig, alt), remark


def _column(width: float, heights: list[float], gaps: list[float], right: float) -> tuple[Figure, list[Axes]]:
    """Axes below each other at fixed places, inches: the same in every picture, and faster than a layout engine."""
    left, bottom = 0.62, 0.42
    total = sum(heights) + sum(gaps) + bottom
    fig = Figure(figsize=(width, total))
    axes, top = [], total
    for height, gap in zip(heights, gaps, strict=True):
        top -= gap + height
        rectangle = (left / width, top / total, (width - left - right) / width, height / total)
        axes.append(fig.add_axes(rectangle))
    return fig, axes


def _gpus(ax: Axes, clock: TimeAxis, f: Flows, wide: bool) -> None:
    scale, unit = gpu_scale(float(f.capacity.max()))
    layers: list[Layer] = [
        ("jobs", f.jobs[0] / scale, dict(color=BLUE)),
        ("deferrable", f.deferrable[0] / scale, dict(color=MIDDLE)),
        ("inference", f.inference[0] / scale, dict(color=LIGHT)),
    ]
    stack(ax, clock, layers)
    steps(ax, clock, f.capacity[0] / scale, color=INK, linewidth=0.9, label="capacity")
    ax.set_ylim(0, 1.05 * max(f.capacity.max() / scale, 1e-9))
    ax.set_ylabel(unit)
    _legend(ax, wide)


def _power(ax: Axes, clock: TimeAxis, f: Flows, wide: bool) -> None:
    sources: list[Layer] = [
        ("wind", f.wind[0], dict(color=SKY)),
        ("sun", f.sun[0], dict(color=YELLOW)),
        ("generators", f.generators[0], dict(color=RED)),
        ("discharge", f.discharge[0], dict(color=GREEN)),
        *([("devices", f.given[0], dict(color=MIDDLE))] if f.given[0].any() else []),
        ("import", f.imports[0], dict(color=GREY)),
    ]
    sinks: list[Layer] = [
        ("charging", f.charge[0], dict(facecolor="#ffffff", edgecolor=GREEN, hatch="//////", linewidth=0.5)),
        *([("into devices", f.drawn[0], dict(color=LIGHT))] if f.drawn[0].any() else []),
        ("export", f.exports[0], dict(color=PURPLE)),
    ]
    top = stack(ax, clock, sources)
    low = stack(ax, clock, sinks, sign=-1.0)
    if np.any(f.available[0] - f.wind[0] - f.sun[0] > 1e-3 * max(f.available.max(), 1e-9)):
        look = dict(color=ORANGE, linewidth=0.9, linestyle=(0, (1, 1.2)))
        steps(ax, clock, f.available[0], label="wind, sun available", **look)
    steps(ax, clock, f.facility[0], color=INK, linewidth=1.2, label="facility")
    ax.axhline(0, color=SOFT, linewidth=0.6)
    high = max(float(top.max()), float(f.facility.max()), 1e-6)
    ax.set_ylim(1.08 * float(low.min()) - 0.01 * high, 1.05 * high)
    ax.set_ylabel("MW")
    _legend(ax, wide)


def _battery(ax: Axes, clock: TimeAxis, f: Flows) -> None:
    ax.fill_between(clock.edges, f.stored[0], color=GREEN, alpha=0.25, linewidth=0)
    ax.plot(clock.edges, f.stored[0], color=GREEN, linewidth=1.1)
    ax.axhline(f.storage.max(), color=INK, linewidth=0.7, linestyle=(0, (4, 2)))
    ax.set_ylim(0, 1.12 * f.storage.max())
    ax.set_ylabel("MWh")
    _note(ax, "stored energy; dashed: battery size")


def _prices(ax: Axes, clock: TimeAxis, unit: str, lines: Lines) -> bool:
    """One or more price series; several rows are drawn as median and 10-90 % band. True when clipped."""
    shown: list[Array] = []
    for name, values, colour in lines:
        middle = np.median(values, axis=0)
        if len(values) > 1:
            low, high = np.percentile(values, [10, 90], axis=0)
            band(ax, clock, low, high, color=colour, alpha=0.18)
            shown += [low, high]
        steps(ax, clock, middle, color=colour, label=name, linewidth=1.0)
        shown.append(middle)
    cut = clip_axis(ax, *shown)
    if ax.get_ylim()[0] < 0 < ax.get_ylim()[1]:
        ax.axhline(0, color=SOFT, linewidth=0.5)
    ax.set_ylabel(unit)
    if len(lines) > 1:
        _legend(ax, False)
    else:
        _note(ax, lines[0][0])
    if cut:
        text = " and ".join(f"{value:,.3g}".replace("-", MINUS) for value in cut)
        ax.text(1.0, 1.02, f"extreme {text}", transform=ax.transAxes, ha="right", va="bottom", fontsize=7.5)
    return bool(cut)


def _legend(ax: Axes, wide: bool) -> None:
    """A legend beside wide axes, or in rows above narrow ones."""
    handles, labels = ax.get_legend_handles_labels()
    if wide:
        ax.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.005, 0.5), labelspacing=0.35)
    else:
        look = dict(ncols=5, borderaxespad=0.1, handletextpad=0.4, labelspacing=0.25, columnspacing=1.0)
        ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.99), **look)


def _note(ax: Axes, text: str) -> None:
    ax.text(0.0, 1.02, text, transform=ax.transAxes, ha="left", va="bottom", color=SOFT, fontsize=7.5)
