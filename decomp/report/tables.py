"""The numbers of the report: key figures and tables, as text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from decomp.model.accounts import Accounts
from decomp.model.devices import activity
from decomp.model.instance import Array, Instance
from decomp.model.result import Allowances, Result, Schedule
from decomp.model.times import stamp, start_of
from decomp.report.flows import homes
from decomp.report.money import benefits
from decomp.report.words import CO2, STATUS, amount, figures, gap_text, plural, share, usd

LISTED = 40
FORMS = {
    "load": "load of each site and period",
    "work": "streams, jobs and pools",
    "whole": "load of each site and period; the bound is that of the whole fleet in one MILP",
    "tree": "load of each site and period, in every leaf of a tree of job decisions; those shown are its root's",
}


@dataclass(frozen=True)
class Figure:
    """A key figure: a value with its unit, what it is, and a remark."""

    name: str
    value: str
    unit: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table: header, rows of text (first column flush left), a note below.

    `total` sets the last row apart, `wide` gives the table the page's width.
    """

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    total: bool = False
    wide: bool = False

    @property
    def classes(self) -> str:
        """Classes of the element that holds the table."""
        return " ".join(name for name, on in (("total", self.total), ("wide", self.wide)) if on)


def key_figures(instance: Instance, result: Result, accounts: Accounts | None) -> list[Figure]:
    """What a reader wants to know first."""
    left = f"{amount(result.gap_abs)} USD" if result.gap_rel < math.inf else ""
    shown = [Figure("Proven gap", gap_text(result.gap_rel), "", left)]
    if accounts is None:
        value, unit = usd(-result.bound)
        return [Figure("Benefit at most", value, unit, "no schedule, only a bound"), *shown]
    value, unit = usd(accounts.benefit)
    demand = accounts.served_gpu_h + accounts.unserved_gpu_h
    budget = instance.carbon_budget_t
    shown = [Figure("Benefit", value, unit, f"at most {' '.join(usd(-result.bound))}"), *shown]
    if demand > 0:
        lost = f"{amount(accounts.unserved_gpu_h)} GPU-h unserved"
        shown.append(Figure("Inference served", share(accounts.served_gpu_h, demand), "", lost))
    if instance.n_jobs:
        rejected, accepted = f"{amount(accounts.rejected_jobs)} rejected", amount(accounts.accepted_jobs)
        shown.append(Figure("Jobs accepted", f"{accepted} / {amount(instance.n_jobs)}", "", rejected))
    emitted = float(accounts.emissions_t.sum())
    limit = f"budget {figures(budget)} t" if budget < math.inf else "no budget"
    shown.append(Figure("Emissions", figures(emitted), f"t {CO2}", limit))
    bought = f"{amount(accounts.bought_mwh)} MWh bought"
    shown.append(Figure("Facility energy", amount(accounts.consumed_mwh), "MWh", bought))
    return shown


def sheets(instance: Instance, result: Result, accounts: Accounts | None) -> list[Sheet]:
    """All tables that the result allows."""
    tables = [_bounds(result)]
    if accounts is not None and result.schedule is not None:
        tables = [_benefit(accounts), _work(instance, accounts), _energy(instance, accounts), *tables]
        tables += _rejected(instance, result.schedule)
        tables.append(_sites(instance, result.schedule, accounts, result.allowances))
        tables += _devices(instance, result.schedule)
    return tables


def _benefit(a: Accounts) -> Sheet:
    rows = [(name, amount(value)) for name, value in benefits(a)]
    rows.append(("Benefit", amount(a.benefit)))
    note = "Positive: income; negative: cost. Components that are zero are not listed."
    return Sheet("Benefit", ("Component", "USD"), rows, note, total=True)


def _work(instance: Instance, a: Accounts) -> Sheet:
    demand = a.served_gpu_h + a.unserved_gpu_h
    jobs, pools = a.accepted_jobs + a.rejected_jobs, float(instance.pools.work_gpu_h.sum())
    used = float(instance.period_h * a.load_gpu.sum())
    capacity = float(instance.period_h * instance.sites.capacity_gpu.sum())
    rows = [
        ("Inference served, GPU-h", amount(a.served_gpu_h), share(a.served_gpu_h, demand)),
        ("Inference unserved, GPU-h", amount(a.unserved_gpu_h), share(a.unserved_gpu_h, demand)),
        ("Jobs accepted", amount(a.accepted_jobs), share(a.accepted_jobs, jobs)),
        ("Jobs rejected", amount(a.rejected_jobs), share(a.rejected_jobs, jobs)),
        ("Deferrable work done, GPU-h", amount(a.pool_gpu_h), share(a.pool_gpu_h, pools)),
        ("Deferrable shortfall, GPU-h", amount(a.shortfall_gpu_h), share(a.shortfall_gpu_h, pools)),
        ("GPU-hours used", amount(used), share(used, capacity)),
    ]
    note = "Shares of demand, of all jobs, of the work asked for, of installed GPU-hours."
    return Sheet("Work", ("", "amount", "share"), rows, note)


def _energy(instance: Instance, a: Accounts) -> Sheet:
    available = float(instance.period_h * instance.renewable_mw.sum())
    emitted, budget = float(a.emissions_t.sum()), instance.carbon_budget_t
    rows = [
        ("Facility consumption", amount(a.consumed_mwh), ""),
        ("Bought", amount(a.bought_mwh), share(a.bought_mwh, a.consumed_mwh)),
        ("Sold", amount(a.sold_mwh), share(a.sold_mwh, a.consumed_mwh)),
        ("Self-consumed (local sources)", amount(a.self_consumed_mwh), share(a.self_consumed_mwh, a.consumed_mwh)),
        ("Wind and sun used", amount(available - a.curtailed_mwh), share(available - a.curtailed_mwh, available)),
        ("Wind and sun curtailed", amount(a.curtailed_mwh), share(a.curtailed_mwh, available)),
        ("Generators", amount(a.generated_mwh), share(a.generated_mwh, a.consumed_mwh)),
        ("Battery discharge", amount(a.discharged_mwh), share(a.discharged_mwh, a.consumed_mwh)),
        ("Sum of the sites' import peaks, MW", amount(float(a.peak_mw.sum()), 1), ""),
        (f"Emissions, t {CO2}", amount(emitted, 1), share(emitted, budget) if budget < math.inf else ""),
    ]
    note = "Shares of facility consumption; wind and sun of what was available; emissions of the budget."
    return Sheet("Energy", ("", "MWh", "share"), rows, note)


def _bounds(result: Result) -> Sheet:
    dual = result.dual
    rows = [
        ("Status", STATUS[result.status]),
        ("Incumbent, net cost, USD", amount(result.incumbent, 2)),
        ("Bound, net cost, USD", amount(result.bound, 2)),
        ("Absolute gap, USD", amount(result.gap_abs, 2) if math.isfinite(result.gap_abs) else "none"),
        ("Relative gap", gap_text(result.gap_rel)),
    ]
    if dual is not None:
        rows.append(("Marginal abatement price, USD/t", amount(dual.carbon_price, 2)))
        rows.append(("Prices on", FORMS.get(dual.form, dual.form)))
    if result.log:
        last = result.log[-1]
        rows.append(("Iterations, wall time", f"{amount(last.iteration)}, {amount(last.wall_seconds, 1)} s"))
    note = (
        "The relative gap is (incumbent − bound) / max(|incumbent|, 1 USD). "
        "“decomp check FLEET RESULT” re-proves bound and schedule from the two files alone."
    )
    return Sheet("Proof", ("", ""), rows, note)


def _rejected(instance: Instance, schedule: Schedule) -> list[Sheet]:
    lost = np.flatnonzero(schedule.job_site < 0)
    if not len(lost):
        return []
    jobs, home = instance.jobs, homes(instance)
    order = lost[np.argsort(-jobs.value_usd[lost], kind="stable")]
    rows = [
        (
            str(jobs.name[j]),
            str(instance.sites.name[home[j]]) if home[j] >= 0 else "",
            amount(jobs.gpus[j]),
            amount(jobs.periods[j] * instance.period_h, 2),
            f"{amount(jobs.release[j] * instance.period_h, 2)} to {amount(jobs.deadline[j] * instance.period_h, 2)}",
            amount(jobs.value_usd[j]),
        )
        for j in order[:LISTED]
    ]
    worth = amount(float(jobs.value_usd[lost].sum()))
    total = f"{amount(len(lost))} of {plural(instance.n_jobs, 'job')}, worth {worth} USD, are rejected."
    more = f" The {LISTED} most valuable are listed." if len(lost) > LISTED else ""
    header = ("Job", "Home", "GPUs", "Hours", "Window, h", "Value, USD")
    return [Sheet("Rejected jobs", header, rows, total + more, wide=True)]


def _sites(instance: Instance, s: Schedule, a: Accounts, carbon: Allowances | None) -> Sheet:
    hours = instance.period_h
    capacity = instance.sites.capacity_gpu.sum(axis=1)
    generated = np.zeros(instance.n_sites)
    np.add.at(generated, instance.generators.site, hours * s.generation_mw.sum(axis=1))
    curtailed = hours * (instance.renewable_mw - s.renewable_mw).sum(axis=1)
    columns = [
        100 * np.divide(a.load_gpu.sum(axis=1), capacity, out=np.zeros(instance.n_sites), where=capacity > 0),
        hours * a.facility_mw.sum(axis=1),
        hours * s.import_mw.sum(axis=1),
        hours * s.export_mw.sum(axis=1),
        hours * s.renewable_mw.sum(axis=1),
        curtailed,
        generated,
        hours * s.discharge_mw.sum(axis=1),
    ]
    jobs = np.bincount(s.job_site[s.job_site >= 0], minlength=instance.n_sites)
    order = np.arange(instance.n_sites)
    if len(order) > LISTED:
        order = np.sort(np.argsort(-columns[1], kind="stable")[:LISTED])
    rows = [
        (
            str(instance.sites.name[i]),
            *(amount(float(c[i])) for c in columns),
            amount(float(a.peak_mw[i]), 1),
            amount(float(a.emissions_t[i]), 1),
            *(() if carbon is None else (amount(float(carbon.allowance_t[i]), 1),)),
            amount(int(jobs[i])),
        )
        for i in order
    ]
    energy = ("Facility", "Bought", "Sold", "Wind, sun", "Curtailed", "Generators", "Discharge")
    allowed = () if carbon is None else (f"Allowance, t {CO2}",)
    header = ("Site", "GPUs used, %", *energy, "Peak, MW", f"t {CO2}", *allowed, "Jobs")
    note = "Energy in MWh; peak of grid import."
    note += " Allowances: what is emitted, and an equal share of what is left of the budget." if allowed else ""
    if len(order) < instance.n_sites:
        note += f" The {LISTED} of {plural(instance.n_sites, 'site')} that use most energy are listed."
    return Sheet("Sites", header, rows, note, wide=True)


def _devices(instance: Instance, schedule: Schedule) -> list[Sheet]:
    """One row a device: cost, emissions and energy; those of largest cost or energy if there are many. None without."""
    d, v = instance.devices, instance.device_variables
    if not len(d.site):
        return []

    def total(values: Array) -> Array:
        return np.bincount(v.device, values, minlength=len(d.site))

    energy = instance.period_h * v.power * schedule.device_value
    cost, given, drawn = total(v.cost * schedule.device_value), total(energy.clip(0.0)), total((-energy).clip(0.0))
    columns = [cost, total(v.emission * schedule.device_value), given, drawn]
    order = np.arange(len(d.site))
    if len(order) > LISTED:
        order = np.sort(np.lexsort((order, -(given + drawn), -np.abs(cost)))[:LISTED])
    rows = [
        (*map(str, (instance.sites.name[d.site[k]], d.name[k], d.kind[k])), *(amount(float(c[k]), 1) for c in columns))
        for k in order
    ]
    header = ("Site", "Device", "Kind", "Cost, USD", f"t {CO2}", "Gives, MWh", "Draws, MWh")
    note = "Income is a negative cost. The values of all variables are in devices.csv of `export --csv`."
    if len(order) < len(d.site):
        note += f" {LISTED} of {plural(len(d.site), 'device')} are listed, those of largest cost."
    return [Sheet("Devices", header, rows, note, wide=True), *_rules(instance, schedule)]


def _rules(instance: Instance, schedule: Schedule) -> list[Sheet]:
    """What the devices have once for the horizon: variables, and rows with a side, each with what it comes to."""
    rows, d = [], instance.devices
    sums = activity(instance, schedule)[0]
    for table, values in ((instance.device_variables, schedule.device_value), (instance.device_rows, sums)):
        for k in np.flatnonzero((table.index < 0) & (np.isfinite(table.low) | np.isfinite(table.high))):
            device = table.device[k]
            place = instance.sites.name[d.site[device]], d.name[device], table.name[k]
            ends = (amount(float(x), 1) if np.isfinite(x) else "" for x in (table.low[k], table.high[k]))
            rows.append((*map(str, place), amount(float(values[k]), 1), *ends, str(table.unit[k])))
    header = ("Site", "Device", "What", "Comes to", "At least", "At most", "Unit")
    note = "Variables and sums of the devices that stand for the whole horizon."
    if len(rows) > LISTED:
        note += f" The first {LISTED} of {amount(len(rows))} are listed."
    return [Sheet("Rules of devices over the horizon", header, rows[:LISTED], note, wide=True)] if rows else []


def provenance(instance: Instance, result: Result, digest: str) -> list[tuple[str, str]]:
    """Where instance and result come from, as name and value."""
    facts = {key: value for key, value in result.provenance.items() if (key, value) != ("instance_hash", digest)}
    facts.pop("rank_seconds", None)  # has a table of its own
    rows = [
        ("instance", f"{instance.family}, seed {instance.seed}"),
        ("instance hash", digest),
        ("source", instance.source),
        ("start", stamp(start_of(instance))),
        *_flat(facts),
    ]
    return [(name, value) for name, value in rows if value]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list | tuple):
            yield name, json.dumps(value, default=str)
        else:
            yield name, str(value)
