"""Instances and results at a glance: what `repr` shows, a line a subject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from decomp.model.text import number, percent

if TYPE_CHECKING:
    from decomp.model.instance import Instance
    from decomp.model.result import Result


def summary_of_instance(instance: Instance) -> str:
    """Sizes, supply, work and carbon budget of an instance, in at most ten lines."""
    sites, generators, jobs, pools = instance.sites, instance.generators, instance.jobs, instance.pools
    hours = instance.period_h
    first = f"{instance.n_periods} periods of {hours:g} h from {instance.start_utc}"
    lines = {
        "instance": f"family {instance.family}, seed {instance.seed}: {instance.n_sites} sites, {first}",
        "compute": f"{_span(sites.capacity_gpu.sum(axis=0))} GPU",
        "grid": f"import up to {_span(sites.import_limit_mw.sum(axis=0))} MW, "
        f"at {_span(sites.buy_price, 2)} USD/MWh, {_span(sites.carbon_intensity, 3)} t/MWh",
        "supply": f"wind and sun {_span(instance.renewable_mw.sum(axis=0), 1)} MW, "
        f"batteries {number(float(sites.battery_mwh.sum()), 1)} MWh at {int((sites.battery_mwh > 0).sum())} sites, "
        f"generators {number(float(generators.p_max_mw.sum()), 1)} MW in {len(generators.site)} units",
        "inference": f"{instance.n_streams} streams, {_span(instance.demand_gpu.sum(axis=0))} GPU in all, "
        f"{len(instance.arcs.site)} arcs",
        "jobs": f"{instance.n_jobs}, {int(jobs.mandatory.sum())} of them mandatory, "
        f"{number(hours * float(jobs.gpus @ jobs.periods))} GPU h, {len(instance.candidates.site)} candidates",
        "pools": f"{instance.n_pools}, {number(float(pools.work_gpu_h.sum()))} GPU h",
        "carbon": _carbon(instance),
        "scenarios": str(instance.n_scenarios) if instance.n_scenarios else "none",
    }
    return _lines(lines)


def summary_of_result(result: Result) -> str:
    """Status, bound, incumbent, gap and where they come from, in at most ten lines."""
    facts = result.provenance
    ranks = facts.get("ranks", 1)
    how = f"by {facts.get('method', 'unknown')} on {ranks} rank{'s' * (ranks != 1)}"
    lines = {"result": f"{result.status.value} {how}"}
    if result.ray is not None:
        lines["reason"] = str(facts.get("reason", "proved by a ray"))
    else:
        lines["incumbent"] = f"{number(result.incumbent, 2)} USD" if result.schedule else "no schedule"
        lines["bound"] = f"{number(result.bound, 2)} USD" + (f", in form {result.dual.form}" if result.dual else "")
        lines["gap"] = f"{number(result.gap_abs, 2)} USD = {percent(result.gap_rel)}" if result.schedule else "none"
    if result.schedule is not None:
        run = int((result.schedule.job_site >= 0).sum())
        lines["jobs"] = f"{run} run, {len(result.schedule.job_site) - run} rejected"
    if result.dual is not None:
        lines["prices"] = f"load {_span(result.dual.load_price, 3)} USD/(GPU h), carbon "
        lines["prices"] += f"{number(result.dual.carbon_price, 2)} USD/t"
    if result.log:
        phases = ", ".join(f"{n} {phase}" for phase, n in Counter(line.phase for line in result.log).items())
        lines["log"] = f"{len(result.log)} lines in {number(result.log[-1].wall_seconds, 1)} s: {phases}"
    lines["instance"] = str(facts.get("instance_hash", "unknown"))[:16]
    return _lines(lines)


def _lines(lines: Mapping[str, str]) -> str:
    return "\n".join(f"{name:<10} {text}" for name, text in lines.items())


def _span(values: np.ndarray, digits: int = 0) -> str:
    """Least and largest value, or the one there is."""
    if not values.size:
        return "0"
    low, high = number(float(values.min()), digits), number(float(values.max()), digits)
    return low if low == high else f"{low} to {high}"


def _carbon(instance: Instance) -> str:
    price = f", {instance.carbon_price_usd_per_t:g} USD/t on all" if instance.carbon_price_usd_per_t else ""
    if np.isinf(instance.carbon_budget_t):
        return "no budget" + price
    excess = instance.carbon_excess_usd_per_t
    kind = "hard" if np.isinf(excess) else f"excess at {excess:g} USD/t"
    return f"budget of {number(instance.carbon_budget_t, 1)} t, {kind}{price}"
