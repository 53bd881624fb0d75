"""Where the time and the gap went: pictures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from decomp.insight.gap import Gap
from decomp.model.instance import Array, Instance
from decomp.model.result import Result
from decomp.model.text import time_shares
from decomp.report.figure import BLUE, CYCLE, GREY, ORANGE, PURPLE, Picture, figure, svg
from decomp.report.tables import Sheet
from decomp.report.words import amount, share, short

BARS = 15
SEEN = 5e-7  # of the gap; less is rounding
RANKS = 32
PARTS = {
    "integers": "Integers of the sites",
    "load": "Load of the sites",
    "streams": "Inference",
    "jobs": "Jobs",
    "pools": "Deferrable work",
    "carbon": "Carbon budget",
    "commitments": "Commitments made once",
    "risk": "Weights of the scenarios",
    "other": "Proved beyond these prices",
}
CAUSES = {
    "unconverged": "Prices not yet best (model above bound)",
    "integers": "Integers of the sites (dispatch above what the bound counts)",
    "rest": "Duality and recovery (the rest)",
}


def seconds_of(result: Result) -> dict[str, list[float]]:
    """Seconds of every rank by section, as the solve left them, the longest section first."""
    kept = result.provenance.get("rank_seconds")
    return dict(sorted(kept.items(), key=lambda item: -sum(item[1]))) if isinstance(kept, Mapping) else {}


def proof_sheets(instance: Instance, result: Result, gap: Gap | None) -> list[Sheet]:
    """Tables of the gap and of the time."""
    sheets = []
    if gap is not None and gap.total > 0:
        sheets = [_causes(gap), _parts(gap), _losers(instance, gap)]
        sheets += [_scenarios(instance, gap)] if instance.n_scenarios else []
    if seconds := seconds_of(result):
        sheets.append(_seconds(seconds))
    return sheets


def _causes(gap: Gap) -> Sheet:
    rows = [(CAUSES[name], amount(value), share(value, gap.total)) for name, value in gap.causes.items()]
    note = "Only better prices lower the first, only better schedules or other bounds the rest."
    return Sheet("Causes of the gap", ("", "USD", "share"), [*rows, _total(gap)], note, total=True)


def _parts(gap: Gap) -> Sheet:
    parts = {name: value for name, value in gap.parts.items() if abs(value) > SEEN * gap.total}
    rows = [(PARTS[name], amount(value), share(value, gap.total)) for name, value in parts.items()]
    note = (
        "What each loses against the best it could do alone at the prices of the bound: a site with another load, a "
        "job at another place or time, inference at its cheapest site. These losses add up to the gap."
    )
    return Sheet("Places of the gap", ("", "USD", "share"), [*rows, _total(gap)], note, total=True)


def _total(gap: Gap) -> tuple[str, str, str]:
    return "Gap", amount(gap.total), share(gap.total, gap.total)


def _losers(instance: Instance, gap: Gap) -> Sheet:
    of_sites = gap.over_scenarios(gap.integers + gap.load)
    lost = [(str(instance.sites.name[i]), "site", value) for i, value in enumerate(of_sites)]
    lost += [(str(instance.jobs.name[j]), "job", value) for j, value in enumerate(gap.jobs)]
    lost.sort(key=lambda row: -row[2])
    seen = [row for row in lost[:BARS] if row[2] > SEEN * gap.total]
    rows = [(name, what, amount(value), share(value, gap.total)) for name, what, value in seen]
    note = "Sites and jobs that lose most at the prices."
    return Sheet("Largest losses", ("Name", "", "USD", "share"), rows, note)


def _scenarios(instance: Instance, gap: Gap) -> Sheet:
    """What each scenario loses, and the site that loses most in it."""
    sites = (gap.integers + gap.load).reshape(gap.copies, -1)
    rows = []
    for s in np.argsort(-gap.scenarios, kind="stable")[:BARS]:
        i, loss = int(sites[s].argmax()), float(gap.scenarios[s])
        most = f"{instance.sites.name[i]}, {amount(float(sites[s, i]))}"
        rows.append((str(instance.scenarios.name[s]), amount(loss), share(loss, gap.total), most))
    note = "Sites, inference and deferrable work in a scenario, counted by its weight in the bound; jobs are of all."
    return Sheet("Gap by scenario", ("Scenario", "USD", "share", "Most of it at"), rows, note)


def _seconds(seconds: Mapping[str, Sequence[float]]) -> Sheet:
    shares = time_shares(seconds)
    rows = [
        (name.capitalize(), *(amount(v, 1) for v in (sum(t) / len(t), min(t), max(t))), f"{100 * shares[name]:.1f} %")
        for name, t in seconds.items()
    ]
    note = (
        "Each second counted once. Start: loading programs and the instance; sites: their answers to prices; dispatch: "
        "their schedules; recovery and python: what the root does beside the master; idle: waiting for others."
    )
    return Sheet("Time", ("Seconds of a rank", "mean", "least", "most", "share"), rows, note)


def gap_picture(instance: Instance, gap: Gap) -> Picture:
    """What each site and each job loses, largest first."""
    load, integers = gap.over_scenarios(gap.load), gap.over_scenarios(gap.integers)
    sites = np.argsort(-(integers + load), kind="stable")[:BARS]
    jobs = np.argsort(-gap.jobs, kind="stable")[:BARS]
    jobs = jobs[gap.jobs[jobs] > SEEN * gap.total]
    fig = figure(10.4, 0.2 * max(len(sites), len(jobs), 3) + 0.9)
    left, right = fig.subplots(1, 2)
    layers = [("load", load[sites], BLUE), ("integers", integers[sites], ORANGE)]
    _bars(left, [short(str(instance.sites.name[i]), 18) for i in sites], layers)
    _bars(right, [short(str(instance.jobs.name[j]), 18) for j in jobs], [("jobs", gap.jobs[jobs], PURPLE)])
    left.legend(loc="lower right")
    left.set_xlabel("loss of a site, USD")
    right.set_xlabel("loss of a job, USD")
    caption = (
        f"Of the gap of {amount(gap.total)} USD: what sites and jobs lose against the best that each could do alone at "
        "the prices, largest first. Blue: another load would suit the site better; orange: its on/off decisions cost "
        "more than the bound counts; purple: another place or time would suit the job better."
    )
    return Picture(svg(fig, "Where the gap is, by site and by job"), "Where the gap is", caption)


def _bars(ax: Axes, names: list[str], layers: list[tuple[str, Array, str]]) -> None:
    """Horizontal bars on top of each other, the first row at the top."""
    y, base = np.arange(len(names)), np.zeros(len(names))
    for label, values, colour in layers:
        ax.barh(y, values, left=base, color=colour, height=0.7, label=label)
        base = base + values
    ax.set_yticks(y, names)
    ax.tick_params(axis="y", length=0, labelsize=7.5)
    ax.set_ylim(len(names) - 0.4, -0.6)


def time_picture(seconds: Mapping[str, Sequence[float]]) -> Picture:
    """Seconds of the ranks, by what they went to."""
    n = min(len(next(iter(seconds.values()))), RANKS)
    fig = figure(10.4, 0.22 * n + 1.1)
    ax = fig.subplots()
    colours = (*CYCLE[:-1], GREY)
    work = [(name, np.array(of_ranks[:n])) for name, of_ranks in seconds.items() if any(of_ranks) and name != "idle"]
    if len(work) >= len(colours):  # one colour for what took least
        rest = np.sum([times for _, times in work[len(colours) - 2 :]], axis=0)
        work = [*work[: len(colours) - 2], ("other", rest)]
    idle = np.array(seconds.get("idle", [0.0] * n)[:n])
    layers = [(name, times, colours[k]) for k, (name, times) in enumerate(work)]
    layers += [("idle", idle, GREY)] if idle.any() else []
    _bars(ax, [f"rank {k}" for k in range(n)], layers)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=8)
    ax.set_xlabel("wall time, s")
    caption = "Seconds of each rank by what they went to; grey is waiting for others."
    return Picture(svg(fig, "Where the time went"), "Where the time went", caption)
