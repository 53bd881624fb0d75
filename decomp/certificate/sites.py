"""Part B, per site or block of sites: the certificate's own formulation of the problem, and proofs of its lower bound.

Equations (1)-(9) of one site with every variable bounded. Besides the model's own rows the relaxation
knows three things that hold at every integer point: importing excludes exporting, so the limits of both
shrink to what the site can take or give; an exact power curve lies below its chord.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np

from decomp.certificate.devices import add_devices, power_reach
from decomp.certificate.model import Builder, Program
from decomp.certificate.packing import add_packing, fitting_sets
from decomp.certificate.terms import largest, possible_starts
from decomp.model.instance import Array

MATTERS = 1e-6
"""Least dual of a period's sets, USD, with which it gets them in the MILP."""


@dataclass(frozen=True)
class SiteTask:
    """One site at given prices, with the lower bound claimed for it; travels to worker processes.

    `site`, `generators`, `devices` and `work` hold the instance's columns for this site; `carbon` is USD/t on every
    tonne; `load_price` is (period,), USD/(GPU h), zero in form "work"; `commitment_price` is (generator, period), USD.
    """

    site: SimpleNamespace
    generators: SimpleNamespace
    devices: SimpleNamespace
    work: SimpleNamespace | None
    period_h: float
    carbon: float
    load_price: Array
    commitment_price: Array
    claimed: float
    tolerance: float
    seconds: float


@dataclass(frozen=True)
class SiteProof:
    """A proven lower bound of one site or block: by which program, in which time, and what went wrong.

    `undecided` : nothing is known to be wrong. `short` : what the bound of a proved one is below its claim, USD.
    """

    lower: float
    method: str
    seconds: float
    proved: bool
    remark: str = ""
    undecided: bool = False
    short: float = 0.0


def prove_block(tasks: Sequence[SiteTask]) -> SiteProof:
    """Prove what the sites claim together (USD) by the LP relaxation, else by the MILP, first with the bans relaxed.

    Where the sites choose their jobs, both also know which jobs fit side by side.
    """
    begun = time.perf_counter()
    program = block_program(tasks)
    claimed, seconds = sum(task.claimed for task in tasks), sum(task.seconds for task in tasks)
    enough = claimed - sum(task.tolerance for task in tasks)
    lower, infeasible = program.linear_bound(seconds)

    def proof(method: str, remark: str = "", undecided: bool = False) -> SiteProof:
        proved, short = lower >= enough, max(claimed - lower, 0.0)
        return SiteProof(lower, method, time.perf_counter() - begun, proved, remark, undecided, proved * short)

    if infeasible:
        if program.is_empty(seconds):
            lower = max(lower, claimed)
        return proof("LP", "no dispatch exists for any load")
    if lower >= enough or not program.integer.any():
        return proof("LP", "" if lower >= enough else "its relaxation is exact and stays below")
    if any(task.work is not None for task in tasks):
        program, packed = _packed_program(tasks, seconds - (time.perf_counter() - begun))
        lower = max(lower, packed)
        if lower >= enough:
            return proof("LP")
    reason = ""
    for bans, limit in product((False, True), (claimed, enough)):
        if (left := seconds - (time.perf_counter() - begun)) <= 0.0:
            break
        none, point, reason = program.none_below(limit, claimed - enough, left, bans)
        if none:
            lower = max(lower, limit)
            return proof("MILP")
        if bans and point is not None and (cost := float(program.cost @ point)) < enough:
            return proof("MILP", f"a dispatch of {cost:.9g} USD exists")
    if (left := seconds - (time.perf_counter() - begun)) <= 0.0:
        return proof("MILP", f"not proved within {seconds:g} s", undecided=True)
    lower = max(lower, program.integer_bound(left))
    if lower >= enough:
        return proof("MILP")
    return proof("MILP", reason or "not proved, cheaper dispatches are within HiGHS's tolerances", undecided=True)


def block_program(tasks: Sequence[SiteTask]) -> Program:
    """The sites' problems as one program; its value is net cost in USD less what their load and work are paid."""
    return _build(tasks)[0].program()


def _packed_program(tasks: Sequence[SiteTask], seconds: float) -> tuple[Program, float]:
    """The program with the sets of jobs that fit, and what its relaxation proves, USD.

    It has them for the periods alone that matter to the relaxation.
    """
    builder, sites = _build(tasks)
    packings = [
        {} if task.work is None else fitting_sets(site, largest(task.site.capacity_gpu))
        for task, site in zip(tasks, sites, strict=True)
    ]
    if not any(packings):  # the relaxation is the one already solved
        return builder.program(), -np.inf
    sums = [add_packing(builder, site, packing) for site, packing in zip(sites, packings, strict=True)]
    program = builder.program()
    dual, _ = program.linear_duals(max(seconds, 0.01))
    builder, sites = _build(tasks)
    for site, packing, rows in zip(sites, packings, sums, strict=True):
        matter = [t for t, value in zip(packing, dual[rows], strict=True) if abs(value) > MATTERS]
        add_packing(builder, site, {t: packing[t] for t in matter})
    return builder.program(), program.safe_bound(dual)


def _build(tasks: Sequence[SiteTask]) -> tuple[Builder, list[SimpleNamespace]]:
    """The sites side by side. What several of them may take, they take once: demand of a stream, and jobs."""
    builder = Builder()
    sites = [add_site(builder, task) for task in tasks]
    works = [task.work for task in tasks if task.work is not None]
    if len(works) > 1:
        stream, most = (np.concatenate([getattr(w, name) for w in works]) for name in ("arc_stream", "arc_most"))
        _share(builder, stream, np.concatenate([site.routed for site in sites]), most)
        begun = np.concatenate([site.begun for site in sites])
        _share(builder, np.concatenate([site.begun_job for site in sites]), begun, np.ones(len(begun)))
    return builder, sites


def _share(builder: Builder, owner: Array, columns: Array, most: Array) -> None:
    """What columns (n, ...) of one owner (n,) sum up to is at most what each of them may be (n, ...)."""
    _, first, number = np.unique(owner, return_index=True, return_inverse=True)
    if len(first):
        rows = builder.rows([(0.0, columns[first])], most[first])
        builder.entries(rows[number], columns, 1.0)


def add_site(builder: Builder, task: SiteTask) -> SimpleNamespace:
    """Add one site; returns the columns that couple it: routed, begun, pool, emission (t per unit).

    `begun_job`, `begun_at`, `begun_for`, `begun_gpu` : job, first period, periods and GPU of the columns `begun`.
    """
    site, step, battery = task.site, task.period_h, task.site.battery_mwh > 0
    n_periods = len(site.capacity_gpu)
    load = builder.columns(n_periods, 0.0, site.capacity_gpu, -step * task.load_price)
    power, full = _power(builder, site, load)
    charge, discharge, stored = _battery(builder, site, step, n_periods)
    output, on = _generators(builder, task, n_periods)
    available = site.wind_mw + site.solar_mw
    least = np.where(site.curtailable, 0.0, available)
    renewable = builder.columns(n_periods, least, available)
    draw, supply = power_reach(task.devices, n_periods)
    take = site.pue * full + battery * site.charge_mw - least + draw
    idle = site.pue * np.max(site.power_intercept_mw)
    give = available + battery * site.discharge_mw + np.sum(task.generators.p_max_mw) - idle + supply
    most_in, most_out = np.clip(take, 0.0, site.import_limit_mw), np.clip(give, 0.0, site.export_limit_mw)
    bought, sold = _grid(builder, task, most_in, most_out)
    terms = [(1.0, bought), (-1.0, sold), (1.0, renewable), (-site.pue, power)]
    terms += [(1.0, discharge), (-1.0, charge)] if battery else []
    balance = builder.rows(terms + [(1.0, g) for g in output], 0.0, equal=True)
    emission = [(step * site.carbon_intensity, bought), (-step * site.export_credit, sold)]
    emission += [(step * e, g) for e, g in zip(task.generators.emission_t_per_mwh, output, strict=True)]
    quantities = [(1.0, load), (1.0, power), (site.pue, power), (1.0, bought), (1.0, sold), (1.0, renewable)]
    quantities += [(1.0, charge), (1.0, discharge), (1.0, stored)]
    emission += add_devices(builder, task.devices, task.carbon, balance, quantities, output)
    work = {} if task.work is None else _work(builder, task.work, site.capacity_gpu, step, load)
    return SimpleNamespace(emission=emission, on=on, **work)


def _grid(builder: Builder, task: SiteTask, most_in: Array, most_out: Array) -> tuple[Array, Array]:
    """(5), (8): columns of import and export."""
    site, step, n_periods = task.site, task.period_h, len(most_in)
    bought = builder.columns(n_periods, 0.0, most_in, step * (site.buy_price + task.carbon * site.carbon_intensity))
    sold = builder.columns(n_periods, 0.0, most_out, -step * (site.sell_price + task.carbon * site.export_credit))
    both = np.flatnonzero((most_in > 0) & (most_out > 0))
    importing = builder.columns(len(both), 0.0, 1.0, ban=True)
    builder.rows([(1.0, bought[both]), (-most_in[both], importing)], 0.0)
    builder.rows([(1.0, sold[both]), (most_out[both], importing)], most_out[both])
    if site.demand_charge > 0:
        rise = max(0.0, most_in.max() - site.peak_so_far_mw)
        peak = builder.columns(1, 0.0, rise, site.demand_charge)
        builder.rows([(1.0, bought), (-1.0, np.repeat(peak, n_periods))], site.peak_so_far_mw)
    return bought, sold


def _power(builder: Builder, site: SimpleNamespace, load: Array) -> tuple[Array, Array]:
    """(2): IT power columns, and the most they can be, MW."""
    slope, intercept = site.power_slope_mw_per_gpu, site.power_intercept_mw
    idle, capacity = np.max(intercept), site.capacity_gpu
    curve = slope[:, None] * capacity + intercept[:, None]
    full = curve.max(axis=0)
    power = builder.columns(len(load), idle, full)
    for a, b in zip(slope, intercept, strict=True):
        builder.rows([(a, load), (-1.0, power)], -b)
    if site.exact_power_curve:
        chord = np.divide(full - idle, capacity, out=np.zeros_like(full), where=capacity > 0)
        builder.rows([(1.0, power), (-chord, load)], idle)
        if len(slope) > 1:
            segment = builder.columns((len(slope), len(load)), 0.0, 1.0, integer=True)
            rows = builder.rows([(1.0, segment[0])], 1.0, equal=True)
            for m in range(len(slope)):
                if m:
                    builder.entries(rows, segment[m], 1.0)
                beyond = np.maximum(idle - intercept[m], full - curve[m])
                builder.rows([(1.0, power), (-slope[m], load), (beyond, segment[m])], intercept[m] + beyond)
    return power, full


def _battery(builder: Builder, site: SimpleNamespace, step: float, n_periods: int) -> tuple[Array, Array, Array]:
    """(6): columns of charging, discharging and stored energy; empty without a battery."""
    if not site.battery_mwh > 0:
        none = np.zeros(0, dtype=int)
        return none, none, none
    charge = builder.columns(n_periods, 0.0, site.charge_mw)
    discharge = builder.columns(n_periods, 0.0, site.discharge_mw, step * site.wear_usd_per_mwh)
    charging = builder.columns(n_periods, 0.0, 1.0, ban=True)
    builder.rows([(1.0, charge), (-site.charge_mw, charging)], 0.0)
    builder.rows([(1.0, discharge), (site.discharge_mw, charging)], site.discharge_mw)
    filled = site.battery_initial_mwh + n_periods * step * site.charge_efficiency * site.charge_mw
    most = min(site.battery_mwh, float(largest(filled)))  # wide limits cost accuracy
    least = np.full(n_periods, site.battery_min_mwh)
    least[-1] = max(least[-1], site.battery_final_mwh)
    stored = builder.columns(n_periods, np.minimum(least, most), most)
    keep = (1.0 - site.self_discharge_per_h) ** step
    start = np.zeros(n_periods)
    start[0] = keep * site.battery_initial_mwh
    flows = [(-step * site.charge_efficiency, charge), (step / site.discharge_efficiency, discharge)]
    rows = builder.rows([(1.0, stored), *flows], start, equal=True)
    builder.entries(rows[1:], stored[:-1], -keep)
    return charge, discharge, stored


def _generators(builder: Builder, task: SiteTask, n_periods: int) -> tuple[list[Array], list[Array]]:
    """(7): output and commitment columns of each generator."""
    g, step, carbon = task.generators, task.period_h, task.carbon
    output, commitment, t = [], [], np.arange(n_periods)
    for k in range(len(g.p_max_mw)):
        was_on = bool(g.initial_mw[k] > 0)
        held = t < (g.min_up_periods[k] if was_on else g.min_down_periods[k]) - g.initial_periods[k]
        keeping = step * g.no_load_usd_per_h[k] - task.commitment_price[k]
        on = builder.columns(n_periods, held & was_on, ~held | was_on, keeping, integer=True)
        start = builder.columns(n_periods, 0.0, 1.0, g.start_usd[k])
        stop = builder.columns(n_periods, 0.0, 1.0)
        unit = step * (g.fuel_usd_per_mwh[k] + carbon * g.emission_t_per_mwh[k])
        out = builder.columns(n_periods, 0.0, g.p_max_mw[k], unit)
        first = np.where(t == 0, 1.0, 0.0)
        rows = builder.rows([(1.0, on), (-1.0, start), (1.0, stop)], first * was_on, equal=True)
        builder.entries(rows[1:], on[:-1], -1.0)
        builder.rows([(g.p_min_mw[k], on), (-1.0, out)], 0.0)
        builder.rows([(1.0, out), (-g.p_max_mw[k], on)], 0.0)
        for sign, changes, least in ((-1.0, start, g.min_up_periods[k]), (1.0, stop, g.min_down_periods[k])):
            rows = builder.rows([(sign, on)], 0.0 if sign < 0 else 1.0)
            for back in range(min(int(least), n_periods)):
                builder.entries(rows[back:], changes[: n_periods - back], 1.0)
        _ramps(builder, SimpleNamespace(on=on, start=start, stop=stop, out=out, was_on=was_on), g, k, step)
        output.append(out)
        commitment.append(on)
    return output, commitment


def _ramps(builder: Builder, c: SimpleNamespace, g: SimpleNamespace, k: int, step: float) -> None:
    initial = np.zeros(len(c.out))
    initial[0] = g.initial_mw[k]
    if np.isfinite(g.ramp_up_mw_per_h[k]):
        ramp = min(g.ramp_up_mw_per_h[k] * step, g.p_max_mw[k])
        right = initial.copy()
        right[0] += ramp * c.was_on
        rows = builder.rows([(1.0, c.out), (-max(g.p_min_mw[k], ramp), c.start)], right)
        builder.entries(rows[1:], c.out[:-1], -1.0)
        builder.entries(rows[1:], c.on[:-1], -ramp)
    if np.isfinite(g.ramp_down_mw_per_h[k]):
        ramp = min(g.ramp_down_mw_per_h[k] * step, g.p_max_mw[k])
        rows = builder.rows([(-1.0, c.out), (-ramp, c.on), (-max(g.p_min_mw[k], ramp), c.stop)], -initial)
        builder.entries(rows[1:], c.out[:-1], 1.0)


def _work(builder: Builder, work: Any, capacity: Array, step: float, load: Array) -> dict[str, Array]:
    """Form "work": the load is what the site takes of streams, jobs and pools at their prices.

    `work` holds routing (arc, period): arc_most, GPU, and arc_cost, USD/(GPU h); candidates: gpus, periods,
    release, deadline, job, job_cost in USD, job_must; pool arcs: rate, start, end, pool_cost in USD/(GPU h).
    A mandatory job that has this candidate alone (job_must) is run in every schedule, so the site runs it here too.
    """
    rows = builder.rows([(-1.0, load)], 0.0, equal=True)
    most = np.minimum(work.arc_most, capacity)
    routed = builder.columns(most.shape, 0.0, most, step * work.arc_cost)
    for arc in routed:
        builder.entries(rows, arc, 1.0)
    here = np.zeros(len(work.gpus), dtype=int)
    row, start = possible_starts(work.gpus, work.periods, work.release, work.deadline, capacity[None, :], here)
    begun = builder.columns(len(row), 0.0, 1.0, work.job_cost[row], integer=True)
    runs = work.periods[row]
    column = np.repeat(np.arange(len(row)), runs)
    period = start[column] + np.arange(len(column)) - np.repeat(np.cumsum(runs) - runs, runs)
    builder.entries(rows[period], begun[column], work.gpus[row[column]])
    _, first, job = np.unique(work.job[row], return_index=True, return_inverse=True)
    once = builder.rows([(0.0, np.repeat(begun[:1], len(first)))], 1.0, equal=work.job_must[row][first])
    builder.entries(once[job], begun, 1.0)
    t = np.arange(len(load))
    window = (t >= work.start[:, None]) & (t < work.end[:, None])
    rate = np.where(window, np.minimum(work.rate[:, None], capacity), 0.0)
    pool = builder.columns(rate.shape, 0.0, rate, step * work.pool_cost[:, None])
    for arc in pool:
        builder.entries(rows, arc, 1.0)
    jobs = dict(begun_job=work.job[row], begun_at=start, begun_for=runs, begun_gpu=work.gpus[row])
    return dict(routed=routed, begun=begun, pool=pool, **jobs)
