"""Pictures of training: a Gantt chart over sites, and a heat map where the sites are too many for one."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.report.figure import BLUE, HEAT, INK, ORANGE, Picture, TimeAxis, figure, heat, name_rows, row_order, svg
from decomp.report.flows import Flows, homes
from decomp.report.words import plural, short

GANTT_SITES = 40
SPACE = 0.15  # between strips, as a share of a site


def job_pictures(instance: Instance, schedule: Schedule, f: Flows, shown: list[int]) -> list[Picture]:
    """The Gantt chart of all jobs; in a large fleet a heat map of all, and the chart for the shown sites."""
    if not np.any(schedule.job_site >= 0):
        return []
    if instance.n_sites <= GANTT_SITES:
        return [_gantt(instance, schedule, list(range(instance.n_sites)))]
    return [_heat(instance, f), _gantt(instance, schedule, sorted(shown))]


def pack(start: Array, end: Array, gpus: Array) -> Array:
    """Offsets (job), GPU, at which jobs drawn as start..end x gpus do not overlap: lowest place first."""
    offset = np.zeros(len(start))
    placed: list[int] = []
    for j in np.lexsort((-gpus, start)):
        floor = 0.0
        rivals = [k for k in placed if start[k] < end[j] and end[k] > start[j]]
        for k in sorted(rivals, key=lambda k: offset[k]):
            if offset[k] - floor >= gpus[j] * (1 - 1e-9):
                break
            floor = max(floor, offset[k] + gpus[k])
        offset[j] = floor
        placed.append(int(j))
    return offset


def _gantt(instance: Instance, schedule: Schedule, rows: list[int]) -> Picture:
    clock = TimeAxis.of(instance)
    strips = [_strip(instance, schedule, i) for i in rows]
    heights = [max(1.0, float((offset + size).max(initial=0.0))) for _, offset, size in strips]
    inches = float(np.clip(7.0 / sum(heights), 0.2, 0.7))
    away = schedule.job_site != homes(instance)
    fig = figure(10.4, inches * (sum(heights) + SPACE * len(rows)) + 0.9)
    ax = fig.subplots()
    bottoms = list(accumulate(h + SPACE for h in heights))
    for (jobs, offset, size), height, bottom in zip(strips, heights, bottoms, strict=True):
        floor = bottom - SPACE
        ax.add_patch(Rectangle((0, floor - height), float(clock.edges[-1]), height, color="#f3f4f6", linewidth=0))
        for j, low, tall in zip(jobs, offset, size, strict=True):
            _box(ax, instance, schedule, clock, int(j), bool(away[j]), (floor - low - tall, tall, inches))
    ax.set_ylim(bottoms[-1], -SPACE)
    middles = [bottom - SPACE - height / 2 for bottom, height in zip(bottoms, heights, strict=True)]
    ax.set_yticks(middles, [short(str(instance.sites.name[i])) for i in rows])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    clock.dress(ax)
    keys = [Patch(color=BLUE, label="at its home site"), Patch(color=ORANGE, label="moved to another site")]
    if np.any(instance.jobs.mandatory):
        keys.append(Patch(facecolor="#ffffff", edgecolor=INK, label="mandatory (outline)"))
    ax.legend(handles=keys, loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=3, borderaxespad=0.1)
    some = len(rows) < instance.n_sites
    part = f"{len(rows)} of {plural(instance.n_sites, 'site')}: those shown in detail. " if some else ""
    tall = " Strips taller than the others hold boxes that could not be drawn lower." if max(heights) > 1 + 1e-6 else ""
    caption = (
        f"{part}Each grey strip is a site, each box a job: its width is its run, its height its share of the site's "
        "GPUs, so a strip full of boxes is a site full of training. Blue boxes run at home, orange ones were sent "
        f"where power was cheaper or room was left.{tall}"
    )
    return Picture(svg(fig, "Job Gantt chart over sites"), "Training jobs over sites and time", caption)


def _strip(instance: Instance, schedule: Schedule, site: int) -> tuple[Array, Array, Array]:
    """Jobs of a site, where to draw them and how tall, in units of the site's GPUs."""
    jobs = np.flatnonzero(schedule.job_site == site)
    size = instance.jobs.gpus[jobs] / max(float(instance.sites.capacity_gpu[site].max()), 1e-9)
    start = schedule.job_start[jobs]
    return jobs, pack(start, start + instance.jobs.periods[jobs], size), size


def _box(
    ax: Axes,
    instance: Instance,
    schedule: Schedule,
    clock: TimeAxis,
    job: int,
    away: bool,
    place: tuple[float, float, float],
) -> None:
    """One job, with its name if it fits; place is top, height and inches per unit of height."""
    top, tall, inches = place
    start = int(schedule.job_start[job])
    left, right = (float(clock.edges[t]) for t in (start, start + int(instance.jobs.periods[job])))
    mandatory = bool(instance.jobs.mandatory[job])
    box = Rectangle((left, top), right - left, tall, facecolor=ORANGE if away else BLUE)
    box.set(edgecolor=INK if mandatory else "#ffffff", linewidth=1.2 if mandatory else 0.6)
    ax.add_patch(box)
    name = str(instance.jobs.name[job])
    points = 650 * (right - left) / float(clock.edges[-1])  # about: the axes are 9 inches wide
    if points > 4.6 * len(name) + 4 and tall * inches * 72 > 8:
        colour = INK if away else "#ffffff"
        ax.text((left + right) / 2, top + tall / 2, name, ha="center", va="center", fontsize=7, color=colour)


def _heat(instance: Instance, f: Flows) -> Picture:
    clock = TimeAxis.of(instance)
    share = 100 * np.divide(f.jobs, f.capacity, out=np.zeros_like(f.jobs), where=f.capacity > 0)
    order, how = row_order(instance, share)
    fig = figure(10.4, 4.2)
    ax = fig.subplots()
    heat(fig, ax, clock, share[order], "GPUs running jobs, % of the site", HEAT)
    name_rows(ax, instance.sites.name[order], "site")
    caption = (
        f"Every job of the fleet at once: one row per site, {how}; colour is the share of the site's GPUs that run "
        "jobs, %. Dark stretches are sites full of training; pale ones leave room for inference or wait for cheaper "
        "power."
    )
    return Picture(svg(fig, "Share of GPUs running jobs"), "Training over all sites", caption)
