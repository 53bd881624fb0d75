"""Tables that explain a plan: why each job is where and when it is, what inference costs, what more would be worth."""

from __future__ import annotations

import math

import numpy as np

from decomp.insight.explain import Choice, Explanation
from decomp.model.instance import Array, Instance
from decomp.model.refusal import row_named
from decomp.model.result import Result, Schedule
from decomp.model.times import start_of
from decomp.report.tables import LISTED, Sheet
from decomp.report.words import amount, plural, stream_name

WORTH = dict(
    gpu=("A GPU", "USD/GPU", 2),
    import_mw=("A MW of import", "USD/MW", 1),
    battery_mwh=("A MWh of battery", "USD/MWh", 1),
    battery_mw=("A MW of battery power", "USD/MW", 1),
)
SCENARIOS = 8  # whose prices are shown beside each other
NET = (
    "Net is value less transfer less load at the prices of the bound, in which energy, carbon and scarcity are: what "
    "the fleet gains by the run at the margin, USD."
)


def why_sheets(instance: Instance, e: Explanation) -> list[Sheet]:
    """The three tables of the report."""
    tables = [_jobs(instance, e)] if instance.n_jobs else []
    tables += [_streams(instance, e)] if instance.n_streams else []
    return [*tables, _worth(instance, e)]


def when(instance: Instance, period: int) -> str:
    """Start of a period, UTC."""
    return f"{start_of(instance, period):%Y-%m-%d %H:%M}"


def _run(instance: Instance, choice: Choice | None) -> tuple[str, str]:
    """Where and when, and the net value."""
    if choice is None:
        return "none", ""
    if choice.site < 0:
        return "rejected", amount(0.0)
    full = "" if choice.room else ", taken"
    place = f"{instance.sites.name[choice.site]}, {when(instance, choice.start)[5:]}{full}"
    return place, amount(choice.net)


def _jobs(instance: Instance, e: Explanation) -> Sheet:
    order = np.argsort(-instance.jobs.value_usd, kind="stable")[:LISTED]
    rows = []
    for j in order:
        own, *others = e.choices[j]
        away = next((c for c in others if c.site not in (own.site, -1)), None)
        later = next((c for c in others if c.site == own.site and c.site >= 0), None)
        cells = [cell for choice in (own, away, later) for cell in _run(instance, choice)]
        rows.append((str(instance.jobs.name[j]), *cells))
    part = f" The {LISTED} most valuable of {plural(instance.n_jobs, 'job')}." if len(order) < instance.n_jobs else ""
    header = ("Job", "Runs at, from (UTC)", "Net", "Best at another site", "Net", "Best other start there", "Net")
    note = f"{NET} Rejection: 0. “Taken”: other jobs leave no GPUs there.{part}"
    return Sheet("Why the jobs run where and when they do", header, rows, note, wide=True)


def _streams(instance: Instance, e: Explanation) -> Sheet:
    weight = instance.demand_gpu.sum(axis=1)
    order = np.sort(np.argsort(-weight, kind="stable")[:LISTED])
    rows = []
    for d in order:
        price, setter = e.inference.price[d], e.inference.site[d]
        top = int(price.argmax())
        often, count = max(zip(*np.unique(setter, return_counts=True), strict=True), key=lambda pair: pair[1])
        rows.append(
            (
                stream_name(instance, int(d)),
                *(amount(float(v), 3) for v in (price.mean(), price.min(), price.max())),
                when(instance, top)[5:],
                _setter(instance, int(setter[top])),
                f"{_setter(instance, int(often))}, {100 * count / len(setter):.0f} %",
            )
        )
    header = ("Inference", "Mean", "Least", "Most", "When most (UTC)", "Set then by", "Set mostly by")
    note = (
        "What one more GPU-hour costs the fleet before its revenue, USD: load at the prices of the bound and routing "
        "at the cheapest site, which sets it; at most the revenue and penalty lost by not serving it."
    )
    note += f" The {LISTED} largest of {plural(instance.n_streams, 'stream')}." if len(order) < len(weight) else ""
    return Sheet("What inference costs at the margin", header, rows, note, wide=True)


def _setter(instance: Instance, site: int) -> str:
    return str(instance.sites.name[site]) if site >= 0 else "not served"


def _worth(instance: Instance, e: Explanation) -> Sheet:
    columns = [(getattr(e.worth, name), digits) for name, (_, _, digits) in WORTH.items()]
    score = np.nan_to_num(e.worth.import_mw) + np.nan_to_num(e.worth.gpu)
    order = np.sort(np.argsort(-score, kind="stable")[:LISTED])
    rows = [
        (str(instance.sites.name[i]), *("none" if math.isnan(v[i]) else amount(float(v[i]), n) for v, n in columns))
        for i in order
    ]
    budget = f"One more tonne of carbon budget would be worth {amount(e.carbon, 2)} USD. "
    note = (
        (budget if math.isfinite(instance.carbon_budget_t) else "")
        + "What the net cost would fall by over the horizon with a little more of each in every period, per unit: dual "
        "values of the sites' relaxations at the prices of the bound. A whole unit brings less where they change."
    )
    header = ("Site", *(f"{name}, {unit}" for name, unit, _ in WORTH.values()))
    return Sheet("What one more would be worth", header, rows, note, wide=True)


def job_sheet(instance: Instance, e: Explanation, job: str) -> Sheet:
    """Everything that one job could do."""
    j = row_named(instance.jobs.name, job, "job")
    own = e.choices[j][0]
    rows = []
    for choice in e.choices[j]:
        place = _setter(instance, choice.site) if choice.site >= 0 else "rejected"
        rows.append(
            (
                f"{place}{' (the plan)' if choice is own else ''}",
                when(instance, choice.start) if choice.start >= 0 else "",
                *(amount(v) for v in (choice.value, choice.transfer, choice.load, choice.net, choice.net - own.net)),
                "yes" if choice.room else "no",
            )
        )
    header = ("Site", "From (UTC)", "Value", "Transfer", "Load", "Net", "Against the plan", "Room")
    note = f"USD. {NET} The best run at each site, and the best other start at the plan's. Room: beside the other jobs."
    return Sheet(f"Job {job}", header, rows, note, wide=True)


def site_sheet(instance: Instance, result: Result, e: Explanation, load: Array, site: str) -> Sheet:
    """One site hour by hour: what load costs there, and whose inference it prices; `load` (site, period), GPU."""
    i = row_named(instance.sites.name, site, "site")
    assert result.dual is not None and result.schedule is not None
    schedule: Schedule = result.schedule
    sites = instance.sites
    rows = []
    for t in range(instance.n_periods):
        priced = np.flatnonzero(e.inference.site[:, t] == i)
        rows.append(
            (
                when(instance, t),
                amount(float(result.dual.load_price[i, t]), 4),
                amount(float(sites.buy_price[i, t]), 2),
                f"{amount(float(load[i, t]))} / {amount(float(sites.capacity_gpu[i, t]))}",
                f"{amount(float(schedule.import_mw[i, t]), 2)} / {amount(float(sites.import_limit_mw[i, t]), 2)}",
                ", ".join(stream_name(instance, int(d)) for d in priced),
            )
        )
    header = ("Period (UTC)", "Load, USD/GPU-h", "Grid, USD/MWh", "GPUs, used / there", "Import / limit, MW", "Prices")
    value = ", ".join(
        f"{name.lower()} {amount(float(getattr(e.worth, key)[i]), digits)} USD"
        for key, (name, _, digits) in WORTH.items()
        if not math.isnan(getattr(e.worth, key)[i])
    )
    note = f"Prices: inference for which one more GPU-hour is cheapest here. One more over the horizon: {value}."
    return Sheet(f"Site {site}", header, rows, note, wide=True)


def price_sheet(instance: Instance, result: Result, site: str) -> Sheet:
    """One site hour by hour: what load costs there in every scenario, and what a job pays, which runs in all."""
    i, p = row_named(instance.sites.name, site, "site"), instance.scenarios.probability
    assert result.dual is not None
    price = result.dual.load_price.reshape(len(p), instance.n_sites, -1)[:, i]
    shown = np.sort(np.argsort(-p, kind="stable")[:SCENARIOS])
    own = price[shown] / p[shown, None]
    rows = [
        (when(instance, t), *(amount(float(v), 4) for v in (price[:, t].sum(), *own[:, t])))
        for t in range(instance.n_periods)
    ]
    header = ("Period (UTC)", "A job pays", *map(str, instance.scenarios.name[shown]))
    some = f" The {len(shown)} most likely scenarios of {len(p)}." if len(shown) < len(p) else ""
    note = f"Load, USD/GPU-h: expected over the scenarios, and in each of them by itself.{some}"
    return Sheet(f"Site {site}", header, rows, note, wide=True)
