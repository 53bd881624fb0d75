"""What the pictures draw, derived once from instance and schedule: power flows, GPU use, which sites to show."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from decomp.model.devices import device_mw
from decomp.model.instance import Array, Instance
from decomp.model.result import Dual, Schedule

SHOWN_SITES = 6
RULE = (
    "the sites with the largest import peak, battery throughput, generator output, curtailment, "
    "emissions and mean load price, each counted once"
)


@dataclass(frozen=True, eq=False)
class Flows:
    """Series of some sites (row, period) or of their sum (1, period): MW, GPU, MWh; devices give or draw net."""

    wind: Array
    sun: Array
    generators: Array
    discharge: Array
    given: Array
    imports: Array
    charge: Array
    drawn: Array
    exports: Array
    facility: Array
    available: Array
    jobs: Array
    deferrable: Array
    inference: Array
    capacity: Array
    stored: Array
    storage: Array

    def total(self) -> Flows:
        """The same series summed over the rows."""
        return Flows(**{f.name: getattr(self, f.name).sum(axis=0, keepdims=True) for f in fields(self)})


def flows(instance: Instance, schedule: Schedule) -> Flows:
    """All series of all sites."""
    sites = instance.sites
    available = instance.renewable_mw
    wind_share = np.divide(sites.wind_mw, available, out=np.zeros_like(available), where=available > 0)

    def by_site(rows: Array, values: Array) -> Array:
        total = np.zeros((instance.n_sites, instance.n_periods))
        np.add.at(total, rows, values)
        return total

    device = device_mw(instance, schedule)
    return Flows(
        wind=schedule.renewable_mw * wind_share,
        sun=schedule.renewable_mw * (1 - wind_share),
        generators=by_site(instance.generators.site, schedule.generation_mw),
        discharge=schedule.discharge_mw,
        given=np.maximum(device, 0.0),
        imports=schedule.import_mw,
        charge=schedule.charge_mw,
        drawn=np.maximum(-device, 0.0),
        exports=schedule.export_mw,
        facility=sites.pue * schedule.it_power_mw,
        available=available,
        jobs=job_load(instance, schedule),
        deferrable=by_site(instance.pool_arcs.site, schedule.pool_gpu),
        inference=by_site(instance.arcs.site, schedule.routed_gpu),
        capacity=sites.capacity_gpu,
        stored=schedule.stored_mwh,
        storage=sites.battery_mwh[:, None],
    )


def job_load(instance: Instance, schedule: Schedule) -> Array:
    """GPUs in use by jobs (site, period): a step up at each start, a step down after each end."""
    change = np.zeros((instance.n_sites, instance.n_periods + 1))
    runs = np.flatnonzero(schedule.job_site >= 0)
    site, start, gpus = schedule.job_site[runs], schedule.job_start[runs], instance.jobs.gpus[runs]
    np.add.at(change, (site, start), gpus)
    np.add.at(change, (site, start + instance.jobs.periods[runs]), -gpus)
    return np.cumsum(change, axis=1)[:, :-1]


def homes(instance: Instance) -> Array:
    """The first candidate site of each job (job); -1 for a job without candidates."""
    home = np.full(instance.n_jobs, -1)
    job, first = np.unique(instance.candidates.job, return_index=True)
    home[job] = instance.candidates.site[first]
    return home


def load_price(dual: Dual | None) -> Array | None:
    """Prices of load (site, period), USD/GPU-h, if the dual solution holds any."""
    if dual is None or not np.all(np.isfinite(dual.load_price)) or not np.any(dual.load_price):
        return None
    return dual.load_price


def stream_price(instance: Instance, dual: Dual | None) -> Array | None:
    """What one more GPU-h of each stream costs the fleet, before its revenue (stream, period), USD/GPU-h.

    The cheapest allowed site, routing included, or the lost revenue and the penalty where demand goes unserved.
    """
    if dual is None or not instance.n_streams:
        return None
    streams, arcs = instance.streams, instance.arcs
    price = load_price(dual)
    if dual.form != "work" and price is not None:
        cheapest = np.full((instance.n_streams, instance.n_periods), np.inf)
        np.minimum.at(cheapest, arcs.stream, arcs.cost[:, None] + price[arcs.site])
    elif np.any(dual.stream_price) and np.all(np.isfinite(dual.stream_price)):
        cheapest = dual.stream_price + streams.revenue[:, None]
    else:
        return None
    return np.minimum(cheapest, (streams.unserved_penalty + streams.revenue)[:, None])


def choose(instance: Instance, f: Flows, emissions: Array, price: Array | None) -> tuple[list[tuple[int, str]], bool]:
    """The sites to show in detail with the reason for each, and whether some were left out.

    All sites when there are at most `SHOWN_SITES`; else those that `RULE` names, filled up by energy use.
    """
    n = instance.n_sites
    if n <= SHOWN_SITES:
        return [(i, "") for i in range(n)], False
    reasons = [
        ("largest import peak", f.imports.max(axis=1)),
        ("largest battery throughput", f.discharge.sum(axis=1)),
        ("largest generator output", f.generators.sum(axis=1)),
        ("largest curtailment", (f.available - f.wind - f.sun).sum(axis=1)),
        ("largest emissions", emissions),
        ("highest mean load price", price.mean(axis=1) if price is not None else np.zeros(n)),
    ]
    chosen: dict[int, str] = {}
    for reason, score in reasons:
        score = np.where(np.isin(np.arange(n), list(chosen)), -np.inf, score)
        if score.max() > 1e-9:
            chosen[int(score.argmax())] = reason
    for i in np.argsort(-f.facility.sum(axis=1), kind="stable"):
        if len(chosen) >= SHOWN_SITES:
            break
        chosen.setdefault(int(i), "energy use")
    return list(chosen.items()), True
