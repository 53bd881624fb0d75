"""Refusal of instances that cannot be scheduled, in one sentence that says where and what would be right.

Ranges and shapes come from the field metadata of the tables; the rest are the cross-checks that no
single field can express. A site's checks need only its own rows, so that a rank can do its part alone.
All conditions are necessary ones: what passes may still be infeasible, what is refused never works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from decomp.model.device_ranges import power_range
from decomp.model.instance import (
    Arcs,
    Array,
    Candidates,
    Generators,
    InputError,
    Instance,
    Jobs,
    Microgrids,
    PoolArcs,
    Pools,
    Sites,
    Streams,
    Table,
)
from decomp.model.rounding import FIT, fits, possible_work
from decomp.model.times import parse_utc

PRICE_LIMIT = 1e6  # USD per MWh, GPU h, ...: beyond it units were mixed up
INTENSITY_LIMIT = 10.0  # t/MWh; coal emits 1
NUMBER_LIMIT = 1e12  # of anything
LEAST_COEFFICIENT = 2e-8  # times the hours of a period, 1/12 or more, it is above 1e-9, below which solvers drop it
LEAST_SLOPE = 1e-6  # MW/GPU: a watt; with less, what a GPU costs is lost in solvers' tolerances

COUPLING = ("streams", "arcs", "jobs", "candidates", "pools", "pool_arcs")

Label = Callable[[int], str]


def validate(instance: Instance) -> None:
    """Raise InputError on the first thing that makes the instance meaningless or impossible."""
    validate_scalars(instance.scalars)
    for name, table in instance.tables():
        _check_dimensions(name, table)
    for name, table in instance.tables():
        _check_shapes(name, table, instance.sizes)
    validate_sites(instance.microgrids, instance.period_h)
    coupling = {name: getattr(instance, name) for name in COUPLING}
    validate_coupling(coupling, instance.sites.name, instance.sites.capacity_gpu, instance.period_h)
    if instance.n_scenarios or len(instance.overrides.row):
        from decomp.model.validate_scenarios import validate_scenarios  # made of the checks below

        validate_scenarios(instance)


def validate_scalars(scalars: Mapping[str, Any]) -> None:
    """Check the instance's scalars: period length, carbon budget and prices, labels."""
    ranges = dict(
        period_h=(1 / 12, 1.0, "h"),
        carbon_budget_t=(0.0, NUMBER_LIMIT, "t"),
        carbon_excess_usd_per_t=(0.0, NUMBER_LIMIT, "USD/t"),
        carbon_price_usd_per_t=(0.0, PRICE_LIMIT, "USD/t"),
        risk_weight=(0.0, 1.0, ""),
        risk_level=(0.0, 0.999, ""),
    )
    for name, (low, high, unit) in ranges.items():
        value, endless = scalars[name], high == NUMBER_LIMIT
        if not (low * (1 - FIT) <= value <= high * (1 + FIT) or (endless and value == np.inf)):
            none = " or inf" * endless
            raise InputError(f"{name}: {value:g} {unit}, must be between {low:g} and {high:g} {unit}{none}")
    if scalars["carbon_scope"] not in ("expected", "every"):
        raise InputError(f"carbon_scope: {scalars['carbon_scope']!r}, must be 'expected' or 'every'")
    for name in ("start_utc", "family", "source"):
        text = scalars[name]
        if not text.replace("\n", "").replace("\t", "").isprintable():
            raise InputError(f"{name}: {text!r}, must be printable text")
    parse_utc(scalars["start_utc"])


def validate_sites(grids: Microgrids, period_h: float) -> None:
    """Check some sites and their generators, whose `site` counts within the given sites."""
    sites, generators = grids.sites, grids.generators
    for name, table in (("sites", sites), ("generators", generators)):
        _check_dimensions(name, table)
    n_sites, n_periods = sites.capacity_gpu.shape
    sizes = dict(site=n_sites, period=n_periods, segment=sites.power_slope_mw_per_gpu.shape[1])
    for dim, size in sizes.items():
        if size == 0 and dim != "site":
            raise InputError(f"sites: there is no {dim}, must be at least one")
    _check_shapes("sites", sites, sizes)
    _check_shapes("generators", generators, dict(generator=len(generators.site)))
    site = _named("site", sites.name)
    _check_columns("sites", sites, site)
    _check_names("sites", "site", sites.name)
    _check_index("generators", generators, "generator", "site", n_sites)
    generator: Label = lambda k: f"generator {k} at {site(generators.site[k])}"  # noqa: E731
    _check_columns("generators", generators, generator)
    _check_generators(generators, generator)
    _check_battery(sites, site, period_h)
    if len(grids.devices.site):
        from decomp.model.validate_devices import validate_devices  # made of the checks below

        validate_devices(grids)
    _check_power(grids, site, period_h)


def validate_coupling(tables: Mapping[str, Any], site_name: Array, capacity_gpu: Array, period_h: float) -> None:
    """Check streams, jobs and pools, with the sites' names (site,) and capacities (site, period), GPU.

    Parameters
    ----------
    tables : streams, arcs, jobs, candidates, pools and pool_arcs by name.
    """
    if len(site_name) == 0:
        raise InputError("sites: there is no site, must be at least one")
    sizes = dict(period=capacity_gpu.shape[1], site=len(site_name))
    for name, table in tables.items():
        _check_dimensions(name, table)
        dim = table.columns()[0].metadata["dims"][0]
        sizes[dim] = len(getattr(table, table.columns()[0].name))
        _check_shapes(name, table, sizes)
    site = _named("site", site_name)
    _check_names("sites", "site", site_name)
    owners = dict(arcs=("streams", "stream"), candidates=("jobs", "job"), pool_arcs=("pools", "pool"))
    for links, (name, kind) in owners.items():
        owner = _named(kind, tables[name].name)
        _check_columns(name, tables[name], owner)
        _check_names(name, kind, tables[name].name)
        _check_links(links, tables[links], kind, owner, site, sizes)
    _check_streams(tables["streams"], tables["arcs"], site)
    _check_jobs(tables["jobs"], tables["candidates"], capacity_gpu)
    _check_pools(tables["pools"], tables["pool_arcs"], capacity_gpu, period_h)


# ---------------------------------------------------------------- what every table shares


def _named(kind: str, names: Array) -> Label:
    return lambda k: f"{kind} {str(names[k])!r}"


def _refuse(bad: Array, where: str, label: Label, text: str, second: str = "period", **values: Array) -> None:
    """Raise InputError for the first row (and column) that is bad; `text` is formatted with the values there."""
    if not bad.any():
        return
    index = tuple(int(k) for k in np.unravel_index(np.argmax(bad), bad.shape))
    place = label(index[0]) + "".join(f", {second} {k}" for k in index[1:])
    there = {name: value[index[: value.ndim]] for name, value in values.items()}
    raise InputError(f"{where}: {place}: {text.format(**there)}")


def _check_dimensions(name: str, table: Table) -> None:
    for f in table.columns():
        dims, array = f.metadata["dims"], getattr(table, f.name)
        if array.ndim != len(dims):
            raise InputError(f"{name}.{f.name}: shape {array.shape}, must be ({', '.join(dims)})")


def _check_shapes(name: str, table: Table, sizes: Mapping[str, int]) -> None:
    for f in table.columns():
        dims, array = f.metadata["dims"], getattr(table, f.name)
        shape = tuple(sizes[dim] for dim in dims)
        if array.shape != shape:
            raise InputError(f"{name}.{f.name}: shape {array.shape}, must be ({', '.join(dims)}) = {shape}")


def _check_columns(name: str, table: Table, label: Label) -> None:
    """Every number of a table is finite and in its declared range, every text printable."""
    for f in table.columns():
        _check_column(f"{name}.{f.name}", f.metadata, getattr(table, f.name), label)


def _check_column(where: str, meta: Mapping[str, Any], array: Array, label: Label) -> None:
    if meta["kind"] == "U":
        if not "".join(array.tolist()).isprintable():
            bad = np.array([not text.isprintable() for text in array.tolist()])
            _refuse(bad, where, label, "must be printable text")
        return
    unit = "" if meta["unit"] == "1" else f" {meta['unit']}"
    limit = PRICE_LIMIT if "USD/" in unit else INTENSITY_LIMIT if unit == " t/MWh" else NUMBER_LIMIT
    low, high = max(meta["low"], -limit), min(meta["high"], limit)
    if meta["coefficient"]:
        _check_coefficients(where, array, label, meta)
    if array.size == 0 or (array.min() >= low and array.max() <= high):
        return
    bad = ~((array >= low) & (array <= high))
    bad &= ~(meta["missing"] & np.isnan(array)) & ~(meta["infinite"] & np.isinf(array) & (array >= meta["low"]))
    legal = f"at least {low:g}" if meta["kind"] == "i8" else f"between {low:g} and {high:g}"
    legal += unit + " or inf" * meta["infinite"]
    _refuse(bad, where, label, f"{{value:g}}{unit}, must be {legal}", meta["dims"][-1], value=array)


def _check_coefficients(where: str, array: Array, label: Label, meta: Mapping[str, Any]) -> None:
    """Nothing is so small, but not 0, that a solver leaves it out; else in which unit the load fits."""
    sizes, advice = np.abs(array), ""
    unit = "" if meta["unit"] == "1" else f" {meta['unit']}"
    least = LEAST_SLOPE if unit == " MW/GPU" else LEAST_COEFFICIENT
    small = (sizes > 0) & (sizes < least)
    if small.any() and "GPU" in unit:
        factor = 1000.0 ** np.ceil(np.log10(least / sizes[small].min()) / 3)
        advice = f"; give load in units of {factor if unit == ' MW/GPU' else 1 / factor:,.15g} GPU"
    text = f"{{value:g}}{unit}, which solvers drop, must be 0 or at least {least:g}{unit}{advice}"
    _refuse(small, where, label, text, meta["dims"][-1], value=array)


def _check_names(table: str, kind: str, names: Array) -> None:
    row: Label = lambda k: f"{kind} {k}"  # noqa: E731
    _refuse(names == "", f"{table}.name", row, "has no name")
    twice = _repeated(np.unique(names, return_inverse=True)[1])
    _refuse(twice, f"{table}.name", row, "the name {name!r} is taken", name=names.astype(object))


def _repeated(keys: Array) -> Array:
    """(n,) whether an equal key occurs earlier."""
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return ~first


def _check_index(name: str, table: Any, row: str, column: str, size: int) -> None:
    index = getattr(table, column)
    legal = f"must be an index of a {column}, 0 to {size - 1}" if size else f"but there is no {column}"
    bad = (index < 0) | (index >= size)
    _refuse(bad, f"{name}.{column}", lambda k: f"{row} {k}", f"{{value}}, {legal}", value=index)


def _check_links(name: str, table: Any, kind: str, owner: Label, site: Label, sizes: Mapping[str, int]) -> None:
    """Arcs, candidates, pool arcs: indexes in range, no pair twice, every stream, job and pool has a site."""
    row, first = table.columns()[0].metadata["dims"][0], getattr(table, kind)
    _check_index(name, table, row, kind, sizes[kind])
    _check_index(name, table, row, "site", sizes["site"])
    label: Label = lambda k: f"{row} {k} ({owner(first[k])} at {site(table.site[k])})"  # noqa: E731
    _check_columns(name, table, label)
    lonely = np.bincount(first, minlength=sizes[kind]) == 0
    _refuse(lonely, f"{kind}s", owner, f"has no site, must have at least one row in {name}")
    _refuse(_repeated(first * sizes["site"] + table.site), name, label, "this pair is listed twice")


# ---------------------------------------------------------------- sites


def _check_generators(g: Generators, label: Label) -> None:
    unsorted = np.diff(g.site, prepend=0) < 0
    _refuse(unsorted, "generators.site", label, "comes after a generator of a later site; sort the rows by site")
    _refuse(
        ~fits(g.p_min_mw, g.p_max_mw),
        "generators.p_min_mw",
        label,
        "{low:g} MW, must be at most p_max_mw = {high:g} MW",
        low=g.p_min_mw,
        high=g.p_max_mw,
    )
    outside = (g.initial_mw > 0) & ~(fits(g.p_min_mw, g.initial_mw) & fits(g.initial_mw, g.p_max_mw))
    _refuse(
        outside,
        "generators.initial_mw",
        label,
        "{value:g} MW, must be 0 or between {low:g} and {high:g} MW",
        value=g.initial_mw,
        low=g.p_min_mw,
        high=g.p_max_mw,
    )


def _check_battery(s: Sites, site: Label, period_h: float) -> None:
    """Efficiencies, powers and energies fit together, and the stored energy can follow its bounds (equation 6)."""
    for name in ("charge_efficiency", "discharge_efficiency", "charge_mw", "discharge_mw"):
        value = getattr(s, name)
        text = "{value:g}, must be above 0 where there is a battery"
        _refuse((s.battery_mwh > 0) & (value <= 0), f"sites.{name}", site, text, value=value)
    for name in ("battery_min_mwh", "battery_initial_mwh", "battery_final_mwh"):
        value = getattr(s, name)
        text = "{value:g} MWh, must be at most battery_mwh = {most:g} MWh"
        _refuse(~fits(value, s.battery_mwh), f"sites.{name}", site, text, value=value, most=s.battery_mwh)
    _refuse(
        ~fits(s.battery_min_mwh, s.battery_initial_mwh),
        "sites.battery_initial_mwh",
        site,
        "{value:g} MWh, must be at least battery_min_mwh = {least:g} MWh",
        value=s.battery_initial_mwh,
        least=s.battery_min_mwh,
    )
    stored = lowest = s.battery_initial_mwh
    for _ in range(s.capacity_gpu.shape[1]):  # charging all the time
        stored = stored * (1 - s.self_discharge_per_h) ** period_h + period_h * s.charge_efficiency * s.charge_mw
        stored = np.minimum(stored, s.battery_mwh)
        lowest = np.minimum(lowest, stored)
    for name, most in (("battery_min_mwh", lowest), ("battery_final_mwh", stored)):
        value = getattr(s, name)
        bad = ~fits(value, most)
        text = "{value:g} MWh cannot be reached: charging all the time gives {most:g} MWh"
        _refuse(bad, f"sites.{name}", site, text, value=value, most=most)


def _check_power(grids: Microgrids, site: Label, period_h: float) -> None:
    """Each site can power its idle load, and get rid of what it cannot turn off, in every period (equations 2-4)."""
    s = grids.sites
    drawn, given = power_range(grids)
    idle = s.power_intercept_mw.max(axis=1)
    text = "idle power is {idle:g} MW, must be at least 0 in some segment"
    _refuse(idle < 0, "sites.power_intercept_mw", site, text, idle=idle)
    battery = s.battery_mwh > 0
    least, most = _generation_range(grids.generators, s.capacity_gpu.shape, period_h)
    renewable = s.wind_mw + s.solar_mw
    need = s.pue * idle[:, None]
    supply = s.import_limit_mw + renewable + most + (battery * s.discharge_mw)[:, None] + given
    text = "idle load needs {need:g} MW, but imports, wind, sun, generators and battery give at most {supply:g} MW"
    bad = ~fits(need, supply)
    _refuse(bad, "sites.import_limit_mw", site, text, need=need, supply=supply)
    full = s.it_power_mw(s.capacity_gpu)
    text = f"{{full:g}} MW at full load, must be at most {NUMBER_LIMIT:g} MW"
    _refuse(full > NUMBER_LIMIT, "sites.power_slope_mw_per_gpu", site, text, full=full)
    forced = least + np.where(s.curtailable[:, None], 0.0, renewable)
    sink = s.pue * full + s.export_limit_mw + (battery * s.charge_mw)[:, None] - drawn
    text = "{forced:g} MW cannot be turned off, but full load, export and battery take at most {sink:g} MW"
    bad = ~fits(forced, sink)
    _refuse(bad, "sites.export_limit_mw", site, text, forced=forced, sink=sink)


def _generation_range(g: Generators, shape: tuple[int, ...], period_h: float) -> tuple[Array, Array]:
    """Least and largest generation of each site, (site, period), MW, given the generators' initial state (equation 7).

    An upper limit needs ramps and remaining down time only; a lower one counts a generator until it may stop.
    """
    n_sites, n_periods = shape
    least, most = np.zeros(shape), np.zeros(shape)
    up, down = (np.minimum(ramp * period_h, g.p_max_mw) for ramp in (g.ramp_up_mw_per_h, g.ramp_down_mw_per_h))
    on = g.initial_mw > 0
    stay_on = np.where(on, g.min_up_periods - g.initial_periods, 0)
    stay_off = np.where(on, 0, g.min_down_periods - g.initial_periods).clip(0)
    held = on
    for t in range(n_periods):
        before = np.maximum(g.p_min_mw, g.initial_mw - down * t)
        held = held & ((t < stay_on) | ~fits(before, np.maximum(g.p_min_mw, down)))
        low = held * np.maximum(g.p_min_mw, g.initial_mw - down * (t + 1))
        started = np.maximum(g.p_min_mw, up) + up * (t - stay_off)
        high = np.where(on, g.initial_mw + up * (t + 1), (t >= stay_off) * started)
        least[:, t] = np.bincount(g.site, low, n_sites)
        most[:, t] = np.bincount(g.site, np.minimum(high, g.p_max_mw), n_sites)
    return least, most


# ---------------------------------------------------------------- streams, jobs, pools


def _check_streams(streams: Streams, arcs: Arcs, site: Label) -> None:
    total, limit = arcs.round_trip_ms + streams.service_ms[arcs.stream], streams.latency_limit_ms[arcs.stream]
    _refuse(
        ~fits(total, limit),
        "arcs.round_trip_ms",
        lambda k: f"arc {k} (stream {str(streams.name[arcs.stream[k]])!r} at {site(arcs.site[k])})",
        "round trip plus service take {total:g} ms, must be at most latency_limit_ms = {limit:g} ms",
        total=total,
        limit=limit,
    )


def _check_jobs(jobs: Jobs, candidates: Candidates, capacity_gpu: Array) -> None:
    """Windows are long enough and end in time; a mandatory job fits somewhere (C2)."""
    job, horizon = _named("job", jobs.name), capacity_gpu.shape[1]
    text = f"{{deadline}}, must be at most {horizon}, the number of periods"
    _refuse(jobs.deadline > horizon, "jobs.deadline", job, text, deadline=jobs.deadline)
    bad = jobs.release + jobs.periods > jobs.deadline
    text = "{deadline}, must be at least release + periods = {release} + {periods}"
    _refuse(bad, "jobs.deadline", job, text, deadline=jobs.deadline, release=jobs.release, periods=jobs.periods)
    rows = np.flatnonzero(jobs.mandatory[candidates.job])
    k, i = candidates.job[rows], candidates.site[rows]
    run, longest = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for t in range(horizon):
        usable = (t >= jobs.release[k]) & (t < jobs.deadline[k]) & fits(jobs.gpus[k], capacity_gpu[i, t])
        run = (run + 1) * usable
        np.maximum(longest, run, out=longest)
    placed = np.zeros(len(jobs.name), dtype=bool)
    placed[k[longest >= jobs.periods[k]]] = True
    text = "mandatory, but no candidate site has {gpus:g} GPU for {periods} periods between release and deadline"
    _refuse(jobs.mandatory & ~placed, "jobs.gpus", job, text, gpus=jobs.gpus, periods=jobs.periods)


def _check_pools(pools: Pools, arcs: PoolArcs, capacity_gpu: Array, period_h: float) -> None:
    """Windows lie in the horizon; work that must be done can be done at the given rates (C4)."""
    pool, horizon = _named("pool", pools.name), capacity_gpu.shape[1]
    text = f"{{end}}, must be at most {horizon}, the number of periods"
    _refuse(pools.end > horizon, "pools.end", pool, text, end=pools.end)
    text = "{end}, must be after start = {start}"
    _refuse(pools.end <= pools.start, "pools.end", pool, text, end=pools.end, start=pools.start)
    most = possible_work(pools, arcs, capacity_gpu, period_h)
    bad = np.isinf(pools.shortfall_penalty) & ~fits(pools.work_gpu_h, most)
    text = "{work:g} GPU h must be done, but its rates and the sites' capacity allow {most:g} GPU h"
    _refuse(bad, "pools.work_gpu_h", pool, text, work=pools.work_gpu_h, most=most)
