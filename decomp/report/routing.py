"""Pictures of inference: from which stream to which site, and how much of it is served."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.report.figure import (
    CYCLE,
    FAINT,
    HEAT,
    INK,
    RED,
    SOFT,
    Layer,
    Picture,
    TimeAxis,
    figure,
    gpu_scale,
    stack,
    steps,
    svg,
)
from decomp.report.words import amount, plural, short, stream_name

MATRIX = 40
CLASSES = 6


def routing_picture(instance: Instance, schedule: Schedule) -> Picture | None:
    """Mean load from each stream (origin and class) to each site."""
    if not instance.n_streams:
        return None
    load = schedule.routed_gpu.mean(axis=1)
    demand = instance.demand_gpu.mean(axis=1)
    served = np.bincount(instance.arcs.stream, load, instance.n_streams)
    share = np.minimum(100 * np.divide(served, demand, out=np.ones_like(demand), where=demand > 0), 100)
    small = max(instance.n_streams, instance.n_sites) <= MATRIX
    text, how = (_matrix if small else _map)(instance, load, share)
    trip = ""
    if np.any(instance.arcs.round_trip_ms) and load.sum() > 0:
        milliseconds = np.average(instance.arcs.round_trip_ms, weights=load)
        trip = f" The load-weighted mean round trip is {milliseconds:.0f} ms."
    return Picture(text, "Where inference runs", f"{how}{trip}")


def _matrix(instance: Instance, load: Array, share: Array) -> tuple[str, str]:
    """Every stream and site as a cell."""
    arcs, shape = instance.arcs, (instance.n_streams, instance.n_sites)
    mean, allowed = np.zeros(shape), np.zeros(shape, dtype=bool)
    np.add.at(mean, (arcs.stream, arcs.site), load)
    allowed[arcs.stream, arcs.site] = True
    names = [short(str(n), 16) for n in instance.sites.name]
    flat = len(names) * max(len(name) for name in names) <= 120
    fig = figure(10.4, 0.24 * len(mean) + (0.7 if flat else 1.4))
    ax = fig.subplots()
    _cells(fig, ax, mean, allowed)
    ax.set_yticks(np.arange(len(mean)) + 0.5, [stream_name(instance, d) for d in range(len(mean))])
    ax.set_xticks(np.arange(len(names)) + 0.5, names)
    if not flat:
        ax.tick_params(axis="x", rotation=50)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    for k, value in enumerate(share):
        colour = INK if value > 99.95 else RED
        ax.text(len(names) * 1.012, k + 0.5, f"{value:.1f} %", va="center", fontsize=7.5, color=colour)
    ax.text(1.012, 1.01, "served", transform=ax.transAxes, va="bottom", fontsize=7.5, color=SOFT)
    caption = (
        "Mean inference load in GPUs from each stream (row: origin and class) to each site (column): the darker, the "
        "more. White cells are out of reach of the latency limit, grey ones within reach but not used. On the right, "
        "the share of the stream's demand that is served."
    )
    return svg(fig, "Routing of inference"), caption


def _cells(fig: Figure, ax: Axes, mean: Array, allowed: Array) -> None:
    used = mean > 1e-6 * max(float(mean.max()), 1e-9)
    extent = (0, mean.shape[1], mean.shape[0], 0)
    how = dict(extent=extent, aspect="auto", interpolation="none")
    ax.imshow(np.where(allowed, 1.0, np.nan), cmap=ListedColormap([FAINT]), **how)  # type: ignore[arg-type]
    if used.any():
        low, high = float(mean[used].min()), float(mean[used].max())
        norm = LogNorm(max(low, 1e-3 * high), high) if high > 50 * low else Normalize(0, high)
        image = ax.imshow(np.where(used, mean, np.nan), cmap=HEAT, norm=norm, **how)  # type: ignore[arg-type]
        form = FuncFormatter(lambda value, _: amount(value) if value >= 1 else f"{value:g}")
        bar = fig.colorbar(image, ax=ax, label="GPUs, mean", pad=0.07, aspect=30, fraction=0.03, format=form)
        bar.outline.set_visible(False)
        for (r, c), value in np.ndenumerate(mean):
            if used[r, c] and mean.size <= 200:
                colour = "#ffffff" if norm(value) > 0.5 else INK
                ax.text(c + 0.5, r + 0.5, amount(float(value)), ha="center", va="center", fontsize=7.5, color=colour)
    for axis, n in ((ax.xaxis, mean.shape[1]), (ax.yaxis, mean.shape[0])):
        axis.set_ticks(np.arange(n + 1), minor=True)
    ax.grid(which="minor", color="#ffffff", linewidth=0.8)
    ax.tick_params(which="both", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _map(instance: Instance, load: Array, share: Array) -> tuple[str, str]:
    """Every flow as a dot; streams and sites ordered so that neighbours exchange load."""
    row, column, west_east = _places(instance, load)
    kinds, names = _classes(instance)
    arcs, largest = instance.arcs, max(float(load.max(initial=0.0)), 1e-9)
    used = load > 1e-6 * largest
    fig = figure(10.4, 5.4)
    ax, side = fig.subplots(1, 2, width_ratios=[8, 1], sharey=True)
    look: dict[str, Any] = dict(linewidths=0, alpha=0.85, rasterized=True)
    colours = np.array(CYCLE)[kinds[arcs.stream[used]]]
    x, y = column[arcs.site[used]] + 0.5, row[arcs.stream[used]] + 0.5
    ax.scatter(x, y, s=1.5 + 22 * load[used] / largest, c=colours, **look)
    ax.set(xlim=(0, instance.n_sites), ylim=(instance.n_streams, 0), xticks=[], yticks=[])
    ax.set_xlabel(plural(instance.n_sites, "site") + (", from west to east" if west_east else ""))
    ax.set_ylabel(plural(instance.n_streams, "stream"))
    dot: dict[str, Any] = dict(marker="o", linestyle="", markersize=4)
    keys = [Line2D([], [], color=CYCLE[k], label=name, **dot) for k, name in enumerate(names)]
    ax.legend(handles=keys, loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=7, borderaxespad=0.1)
    lines = np.append(share[np.argsort(row)], share[row.argmax()])
    edges = np.arange(instance.n_streams + 1)
    side.fill_betweenx(edges, 0, lines, step="post", color="#d5e6f2", linewidth=0, rasterized=True)
    side.fill_betweenx(edges, lines, 100, step="post", color=RED, linewidth=0, rasterized=True)
    side.set(xlim=(0, 100), xlabel="served, %")
    caption = (
        "Every flow of inference as a dot: row is the stream, column the site, area the mean load in GPUs (largest "
        f"{amount(largest)}), colour the class. Streams are ordered by where their load goes, so a narrow diagonal is "
        "work that stays near and scattered dots are work sent far. On the right the share of each stream that is "
        "served; red is dropped."
    )
    return svg(fig, "Routing of inference"), caption


def _places(instance: Instance, load: Array) -> tuple[Array, Array, bool]:
    """Rows of streams and columns of sites that put flows near the diagonal; True if sites go from west to east."""
    stream, site = instance.arcs.stream, instance.arcs.site
    west_east = bool(np.all(np.isfinite(instance.sites.longitude)))
    column = _ranks(instance.sites.longitude)
    row = np.arange(instance.n_streams, dtype=float)
    for _ in range(1 if west_east else 8):
        if not west_east:
            column = _ranks(_centre(site, row[stream], load, instance.n_sites))
        row = _ranks(_centre(stream, column[site], load, instance.n_streams))
    return row, column, west_east


def _centre(owner: Array, place: Array, load: Array, count: int) -> Array:
    """Mean place of each owner's load; the overall middle for one without load."""
    total = np.bincount(owner, load, count)
    middle = np.full(count, place.mean() if len(place) else 0.0)
    return np.divide(np.bincount(owner, load * place, count), total, out=middle, where=total > 0)


def _ranks(values: Array) -> Array:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float)


def _classes(instance: Instance) -> tuple[Array, list[str]]:
    """Class number of each stream and the classes' names; beyond `CLASSES` they are lumped."""
    kinds = np.where(instance.streams.service_class == "", "inference", instance.streams.service_class).tolist()
    names = list(dict.fromkeys(kinds))
    number = np.array([min(names.index(kind), CLASSES) for kind in kinds])
    return number, names[:CLASSES] + (["other classes"] if len(names) > CLASSES else [])


def class_picture(instance: Instance, schedule: Schedule) -> Picture | None:
    """Served inference by class over time, and what goes unserved."""
    if not instance.n_streams:
        return None
    clock = TimeAxis.of(instance)
    kinds, names = _classes(instance)
    served = np.zeros((len(names), instance.n_periods))
    np.add.at(served, kinds[instance.arcs.stream], schedule.routed_gpu)
    demand = instance.demand_gpu.sum(axis=0)
    scale, unit = gpu_scale(float(demand.max()))
    fig = figure(10.4, 2.5)
    ax = fig.subplots()
    layers: list[Layer] = [(name, served[k] / scale, dict(color=CYCLE[k])) for k, name in enumerate(names)]
    look = dict(facecolor="#ffffff", edgecolor=RED, hatch="//////", linewidth=0.5)
    layers.append(("unserved", schedule.unserved_gpu.sum(axis=0) / scale, look))
    stack(ax, clock, layers)
    steps(ax, clock, demand / scale, color=INK, linewidth=1.0, label="demand")
    ax.set_ylim(bottom=0)
    ax.set_ylabel(unit)
    clock.dress(ax)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.005, 0.5))
    caption = (
        f"Inference load by service class, in {unit}, summed over origins and sites; the black line is demand. "
        "Served classes fill the space up to the line; a red hatched gap is demand that was dropped at a penalty."
    )
    return Picture(svg(fig, "Inference by class"), "Inference served, by class", caption)
