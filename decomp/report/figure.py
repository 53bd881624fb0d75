"""The look of the pictures: palette, axes, and SVG that stands on its own inside a page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from decomp.model.instance import Array, Instance
from decomp.report.words import plural, short, start

# Okabe and Ito's palette, safe for colour-blind readers; the grid is a quiet grey
INK, SOFT, FAINT = "#1f2328", "#6b7280", "#e5e7eb"
BLUE, SKY, GREEN, YELLOW = "#0072B2", "#56B4E9", "#009E73", "#F0E442"
ORANGE, RED, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#BCC2C9"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, GREY)
MIDDLE, LIGHT = "#4a97c9", "#bfdcee"  # lighter shades of blue: blue means compute
HEAT = LinearSegmentedColormap.from_list("load", ["#eaf3fa", "#8fc1e0", BLUE, "#00304d"])
PRICE_MAP = "viridis"
MOST_NAMES = 40  # rows of a heat map that are named

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "decomp",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 8,
    "axes.edgecolor": "#9aa1a9",
    "axes.linewidth": 0.6,
    "axes.formatter.useoffset": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "xtick.color": "#9aa1a9",
    "ytick.color": "#9aa1a9",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 1.2,
    "legend.handleheight": 0.8,
    "legend.columnspacing": 1.2,
    "hatch.linewidth": 0.6,
    "path.simplify": True,
}


Layer = tuple[str, Array, dict[str, Any]]  # name, values (period), look


@dataclass(frozen=True)
class Picture:
    """One figure of the page: SVG text, a title, and a caption with units and how to read it."""

    svg: str
    title: str
    caption: str
    half: bool = False


@contextmanager
def style() -> Iterator[None]:
    """Draw in the report's style, without touching the user's matplotlib."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        warnings.filterwarnings("ignore", message=".*constrained_layout not applied.*")
        yield


_serial = count(1)


def svg(fig: Figure, alt: str) -> str:
    """The figure as inline SVG: no external reference, unique ids, text as text, short coordinates."""
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    prefix = f"f{next(_serial)}-"
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r'xlink:href="#', f'href="#{prefix}', body).replace("xlink:href=", "href=")
    body = re.sub(r"url\(#", f"url(#{prefix}", body)
    body = re.sub(r"font-family: [^;\"]*; ?", "", body)
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d\d)\d+", r"\1", tag[0]), body)
    body = re.sub(r"\n\s*", "\n", body)
    label = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<svg {box.group(0) if box else ""} preserveAspectRatio="xMinYMid" role="img" aria-label="{label}">{body}'


def figure(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    return Figure(figsize=(width, height), layout="constrained")


@dataclass(frozen=True)
class TimeAxis:
    """The time axis of an instance: hours, or days on a long horizon."""

    edges: Array
    label: str

    @classmethod
    def of(cls, instance: Instance) -> TimeAxis:
        hours = np.arange(instance.n_periods + 1) * instance.period_h
        long = hours[-1] > 96
        return cls(hours / 24 if long else hours, f"{'days' if long else 'hours'} from {start(instance)}")

    @property
    def fine(self) -> bool:
        """So many periods that areas are drawn as pixels, lest the page grow with them."""
        return len(self.edges) > 700

    def dress(self, ax: Axes, label: bool = True) -> None:
        """Limits and ticks of the time axis."""
        end = float(self.edges[-1])
        ax.set_xlim(0, end)
        steps = (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48) if "hours" in self.label else (1, 2, 5, 7, 14, 28)
        step = next((s for s in steps if end / s <= 9), steps[-1])
        ax.set_xticks(np.arange(0, end + 1e-9, step))
        ax.tick_params(labelbottom=label)
        if label:
            ax.set_xlabel(self.label)


def steps(ax: Axes, clock: TimeAxis, values: Array, **kwargs: Any) -> None:
    """A line that is constant over each period."""
    look = {"linewidth": 1.0, "rasterized": clock.fine, **kwargs}
    ax.plot(clock.edges, np.append(values, values[-1:]), drawstyle="steps-post", **look)


def band(ax: Axes, clock: TimeAxis, low: Array, high: Array, **kwargs: Any) -> None:
    """An area between two lines that are constant over each period."""
    look = {"linewidth": 0, "rasterized": clock.fine, **kwargs}
    ax.fill_between(clock.edges, np.append(low, low[-1:]), np.append(high, high[-1:]), step="post", **look)


def stack(ax: Axes, clock: TimeAxis, layers: list[Layer], sign: float = 1.0) -> Array:
    """Layers on top of each other (below zero with sign -1); empty layers leave no trace. Returns the top."""
    base = np.zeros(len(clock.edges) - 1)
    for label, values, look in layers:
        if np.any(np.abs(values) > 1e-9):
            band(ax, clock, base, base + sign * values, label=label, **look)
            base = base + sign * values
    return base


def limits(*values: Array, low: float = 1.0, high: float = 99.0) -> tuple[float, float]:
    """A range that a few spikes cannot stretch: from the low to the high percentile, never empty."""
    flat = np.concatenate([np.ravel(v) for v in values])
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        return 0.0, 1.0
    a, b = np.percentile(flat, [low, high])
    return (float(a), float(b)) if b - a > 1e-9 * max(abs(a), abs(b), 1e-3) else (float(a) - 0.5, float(b) + 0.5)


def clip_axis(ax: Axes, *values: Array) -> list[float]:
    """Fit the y axis to the values without their spikes; returns the extremes that lie outside."""
    low, high = limits(*values, low=5, high=95)
    margin = 1.2 * (high - low)
    lowest, highest = min(float(np.min(v)) for v in values), max(float(np.max(v)) for v in values)
    bottom, top = max(lowest, low - margin), min(highest, high + margin)
    pad = 0.06 * max(top - bottom, 0.02 * max(abs(top), abs(bottom)), 1e-6)
    ax.set_ylim(bottom - pad, top + pad)
    return [value for value, outside in ((lowest, lowest < bottom), (highest, highest > top)) if outside]


def heat(
    fig: Figure,
    ax: Axes,
    clock: TimeAxis,
    values: Array,
    label: str,
    cmap: str | Colormap = PRICE_MAP,
    span: tuple[float, float] | None = None,
) -> bool:
    """A (row, period) picture; rows downwards; `span` of the colours. True when their scale is clipped."""
    low, high = span or limits(values)
    image = ax.imshow(
        values,
        aspect="auto",
        interpolation="none" if len(values) <= 300 else "antialiased",
        extent=(0, float(clock.edges[-1]), len(values), 0),
        cmap=cmap,
        vmin=low,
        vmax=high,
    )
    under, over = bool(np.nanmin(values) < low - 1e-9), bool(np.nanmax(values) > high + 1e-9)
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((under, over), "neither")
    bar = fig.colorbar(image, ax=ax, label=label, extend=extend, pad=0.015, aspect=30, fraction=0.05)
    bar.outline.set_visible(False)
    clock.dress(ax)
    return under or over


def gpu_scale(most: float) -> tuple[float, str]:
    """Divisor and name of the unit in which to draw a number of GPUs."""
    units = ((2e6, 1e6, "million GPUs"), (2e4, 1e3, "thousand GPUs"))
    return next(((scale, unit) for limit, scale, unit in units if most >= limit), (1.0, "GPUs"))


def name_rows(ax: Axes, names: Sequence[str] | Array, what: str) -> None:
    """Write the rows' names beside a heat map, or how many there are where there is no room."""
    ax.set_yticks([])
    if len(names) <= MOST_NAMES:
        ax.set_yticks(np.arange(len(names)) + 0.5, [short(str(n)) for n in names])
        ax.tick_params(axis="y", length=0, labelsize=8 if len(names) <= 25 else 6.5)
    else:
        ax.set_ylabel(plural(len(names), what))


def row_order(instance: Instance, by: Array) -> tuple[Array, str]:
    """Rows of a site picture: as given when few, else west to east, else by the values' mean."""
    if instance.n_sites <= MOST_NAMES:
        return np.arange(instance.n_sites), "in the order of the instance"
    longitude = instance.sites.longitude
    if np.all(np.isfinite(longitude)):
        return np.argsort(longitude, kind="stable"), "from west (top) to east"
    return np.argsort(-by.mean(axis=1), kind="stable"), "from the highest mean (top) to the lowest"
