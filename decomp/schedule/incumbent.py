"""A complete feasible schedule put together from the sites' dispatches."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decomp.bound.coupling import REJECTED, Coupling, Fixing
from decomp.bound.lagrangian import LagrangianLoop
from decomp.model.accounts import account, complete
from decomp.model.devices import variable_site
from decomp.model.feasibility import broken_rule
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.schedule.place import Work
from decomp.site.oracle import Plan


@dataclass(frozen=True)
class Incumbent:
    """A complete feasible schedule, its true net cost (USD) and the job decisions behind it."""

    schedule: Schedule
    cost: float
    fixing: Fixing


def admits(instance: Instance, incumbent: Incumbent) -> bool:
    """Whether the schedule keeps every hard rule of the instance; if not, a warning names the rule and the place."""
    broken = broken_rule(instance, incumbent.schedule)
    if broken is not None:
        text = f"warning: a schedule of {incumbent.cost:,.2f} USD is not kept, it breaks a hard rule: {broken}"
        print(text, file=sys.stderr, flush=True)
    return broken is None


def fixing_of(c: Coupling, schedule: Schedule) -> Fixing:
    """The job decisions of a schedule, each at the cheapest candidate of its site."""
    run = np.full(c.n_jobs, REJECTED)
    for j in np.flatnonzero(schedule.job_site >= 0):
        own = np.arange(c.jobs.ptr[j], c.jobs.ptr[j + 1])
        own = own[c.jobs.site[own] == schedule.job_site[j]]
        run[j] = own[np.argmin(c.jobs.cost[own])]
    return Fixing(run, np.array(schedule.job_start))


def incumbent_of(instance: Instance, c: Coupling, schedule: Schedule) -> Incumbent:
    """A schedule with its net cost and its job decisions."""
    return Incumbent(schedule, account(instance, schedule).net_cost, fixing_of(c, schedule))


def assemble(instance: Instance, loop: LagrangianLoop, work: Work, plans: Sequence[Plan | None]) -> Schedule:
    """Put placed work and dispatch together in the instance's order; dropped load becomes unserved.

    A site without a plan keeps its work and has zeros for its dispatch: the caller's to replace.
    """
    c, run = loop.coupling, work.fixing.run
    site = np.where(run >= 0, np.append(c.jobs.site, -1)[run], -1)

    schedule = Schedule(
        routed_gpu=_unsort(_drop(c, work, plans), c.arc_order),
        unserved_gpu=instance.demand_gpu,
        job_site=site,
        job_start=np.where(run >= 0, work.fixing.start, -1),
        pool_gpu=_unsort(work.pooled, c.pool_arc_order),
        pool_shortfall_gpu_h=instance.pools.work_gpu_h,
        **dispatch_fields(instance, [None if plan is None else plan.values for plan in plans]),
    )
    return complete(instance, schedule)


def _drop(c: Coupling, work: Work, plans: Sequence[Plan | None]) -> Array:
    """Scale the routing at a site down to what its plan carries beside jobs and pools."""
    inference, asked = work.inference(c), work.load(c)
    carried = [asked[i] if plan is None else plan.load for i, plan in enumerate(plans)]
    dropped = np.maximum(asked - np.array(carried), 0.0)
    dropped[dropped < 1e-7 * (1.0 + asked)] = 0.0
    keep = 1.0 - np.divide(dropped, inference, out=np.zeros_like(dropped), where=inference > 0)
    return work.routed * np.clip(keep, 0.0, 1.0)[c.streams.site]


def _unsort(rows: Array, order: Array) -> Array:
    """Rows in the coupling's order, put back into the instance's."""
    out = np.empty_like(rows)
    out[order] = rows
    return out


def turn(sites: Array, g: int) -> int:
    """How many generators of its site stand before generator `g`; `sites`: the site of each, (generator,)."""
    return int((sites[:g] == sites[g]).sum())


def dispatch_fields(instance: Instance, values: Sequence[Mapping[str, Array] | None]) -> dict[str, Array]:
    """The sites' part of a schedule, by its fields.

    Parameters
    ----------
    values : of each site, by the names that `add_site` gives without a prefix: (period,) each, generators g0, g1, ...
        of the site in the instance's order, and the values of all its device variables; None: zero.
    """
    generators, n = instance.generators, instance.n_periods
    zero = np.zeros(n)

    def at_sites(name: str) -> Array:
        return np.array([zero if v is None else v.get(name, zero) for v in values]).reshape(len(values), n)

    def of_generators(name: str) -> Array:
        found = np.zeros((len(generators.site), n))
        for g, i in enumerate(generators.site):
            if (v := values[i]) is not None:
                found[g] = v[f"g{turn(generators.site, g)}_{name}"]
        return found

    device_value, site = np.zeros(len(instance.device_variables.low)), variable_site(instance)
    for i in np.unique(site):
        if (v := values[i]) is not None:
            device_value[site == i] = v["device"]
    start_mwh = np.where(instance.sites.battery_mwh > 0, instance.sites.battery_initial_mwh, 0.0)
    return dict(
        it_power_mw=at_sites("it_power"),
        import_mw=at_sites("import"),
        export_mw=at_sites("export"),
        renewable_mw=at_sites("renewable"),
        charge_mw=at_sites("charge"),
        discharge_mw=at_sites("discharge"),
        stored_mwh=np.column_stack([start_mwh, at_sites("stored")]),
        generation_mw=of_generators("output"),
        generator_on=of_generators("on") > 0.5,
        device_value=device_value,
    )
