"""Schedules as CSV: one file a site; jobs, routing, the carbon budget; times in UTC, units in the headers."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from decomp.files.atomic import PathLike, write_rows
from decomp.model.accounts import candidate_cost, emissions_t
from decomp.model.instance import Instance
from decomp.model.result import Result, Schedule
from decomp.model.scenarios import in_scenario
from decomp.model.times import start_of
from decomp.report.flows import flows

TIMETABLES = (
    "site-[0-9]*-*.csv",
    "jobs.csv",
    "routing.csv",
    "devices.csv",
    "carbon.csv",
)  # patterns of what is written


def write_timetables(folder: PathLike, instance: Instance, result: Result) -> list[Path]:
    """Write `site-N-NAME.csv` for every site, `jobs.csv` and `routing.csv` into a folder; returns their paths.

    Files of another schedule that were written there before, such as those of further sites, are removed.

    If there are devices, `devices.csv` has the values of their variables; if the carbon budget is divided among the
    sites, `carbon.csv` says how. With scenarios, each line of all but the jobs begins with the name of its own.

    Parameters
    ----------
    folder : is made if it is not there.
    result : must have a schedule; without a dual solution the column of load prices is left out.
    """
    assert result.schedule is not None
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    if instance.n_scenarios:
        parts = [in_scenario(instance, result, s) for s in range(instance.n_scenarios)]
        named = list(zip(instance.scenarios.name.tolist(), map(_tables, *zip(*parts, strict=True)), strict=True))
    else:
        named = [("", _tables(instance, result))]
    for name in named[0][1]:
        header, _ = named[0][1][name]
        paths.append(target / name)
        lead = ("scenario",) if instance.n_scenarios else ()
        rows = ([*([s] * len(lead)), *row] for s, tables in named for row in tables[name][1])
        _write(paths[-1], [*lead, *header], rows)
    paths.append(target / "jobs.csv")
    _write(paths[-1], JOBS, _job_rows(instance, result.schedule))
    for old in {path for pattern in TIMETABLES for path in target.glob(pattern)}.difference(paths):
        old.unlink()
    return paths


def _tables(instance: Instance, result: Result) -> dict[str, tuple[Sequence[str], Iterable[Sequence[Any]]]]:
    """What answers each scenario, by the name of its file: the header and the rows."""
    schedule = result.schedule
    assert schedule is not None
    found: dict[str, tuple[Sequence[str], Iterable[Sequence[Any]]]] = {}
    times, columns = period_starts(instance)[:-1], _site_columns(instance, result, schedule)
    digits = len(str(max(instance.n_sites - 1, 0)))
    for i, name in enumerate(instance.sites.name):
        rows = zip(times, *(values[i] for values in columns.values()), strict=True)
        found[f"site-{i:0{digits}}-{_slug(str(name))}.csv"] = ["time (UTC)", *columns], rows
    found["routing.csv"] = ROUTING, _routing_rows(instance, schedule)
    if len(instance.device_variables.low):
        found["devices.csv"] = DEVICES, _device_rows(instance, schedule)
    if result.allowances is not None:
        emitted, allowed = emissions_t(instance, schedule), result.allowances.allowance_t
        found["carbon.csv"] = CARBON, zip(instance.sites.name, emitted, allowed, strict=True)
    return found


def _slug(name: str) -> str:
    """A name as part of a file's: what letters the file system's encoding lacks are left out, and all beyond 60."""
    text = name.encode(sys.getfilesystemencoding(), "replace").decode(sys.getfilesystemencoding())
    return re.sub(r"[^\w.]+", "-", text).strip("-")[:60]


def period_starts(instance: Instance) -> list[str]:
    """Starts of the periods, and the end of the last."""
    return [f"{start_of(instance, t):%Y-%m-%dT%H:%M:%SZ}" for t in range(instance.n_periods + 1)]


def _site_columns(instance: Instance, result: Result, schedule: Schedule) -> dict[str, Any]:
    """Series (site, period) by header."""
    f, sites = flows(instance, schedule), instance.sites
    columns = {
        "capacity (GPU)": f.capacity,
        "inference (GPU)": f.inference,
        "jobs (GPU)": f.jobs,
        "deferrable (GPU)": f.deferrable,
        "IT power (MW)": schedule.it_power_mw,
        "facility power (MW)": f.facility,
        "import (MW)": f.imports,
        "export (MW)": f.exports,
        "renewables available (MW)": f.available,
        "renewables used (MW)": schedule.renewable_mw,
        "generators (MW)": f.generators,
        "battery charge (MW)": f.charge,
        "battery discharge (MW)": f.discharge,
        "stored at the end (MWh)": schedule.stored_mwh[:, 1:],
        "buy price (USD/MWh)": sites.buy_price,
        "sell price (USD/MWh)": sites.sell_price,
        "carbon intensity (t/MWh)": sites.carbon_intensity,
    }
    if len(instance.devices.site):
        columns |= {"devices give (MW)": f.given, "devices draw (MW)": f.drawn}
    return columns | ({"load price (USD/GPU h)": result.dual.load_price} if result.dual is not None else {})


JOBS = ("job", "site", "start (UTC)", "end (UTC)", "load (GPU)", "duration (h)", "value (USD)", "transfer cost (USD)")
CARBON = ("site", "emissions (t)", "allowance (t)")
DEVICES = ("site", "device", "variable", "index", "value", "unit")
ROUTING = ("time (UTC)", "stream", "origin", "class", "site", "load (GPU)")


def _job_rows(instance: Instance, schedule: Schedule) -> Iterable[Sequence[Any]]:
    """One row a job; a rejected one has neither site nor times."""
    jobs, times, cost = instance.jobs, period_starts(instance), candidate_cost(instance, schedule)
    for j, (site, start) in enumerate(zip(schedule.job_site, schedule.job_start, strict=True)):
        runs = site >= 0
        place = (instance.sites.name[site], times[start], times[start + jobs.periods[j]]) if runs else ("", "", "")
        hours = float(jobs.periods[j] * instance.period_h)
        yield jobs.name[j], *place, jobs.gpus[j], hours, jobs.value_usd[j], cost[j]


def _routing_rows(instance: Instance, schedule: Schedule) -> Iterable[Sequence[Any]]:
    """One row for every period, stream and site with load; without a site: not served."""
    streams, times = instance.streams, period_starts(instance)
    stream = np.append(instance.arcs.stream, np.arange(instance.n_streams))
    site = [*instance.sites.name[instance.arcs.site], *[""] * instance.n_streams]
    load = np.concatenate([schedule.routed_gpu, schedule.unserved_gpu])
    for t, row in np.argwhere(load.T > 0):
        d = stream[row]
        yield times[t], streams.name[d], streams.origin[d], streams.service_class[d], site[row], load[row, t]


def _device_rows(instance: Instance, schedule: Schedule) -> Iterable[Sequence[Any]]:
    """One row a variable, with its place in time if it has one."""
    v, d, site = instance.device_variables, instance.devices, instance.sites.name
    for k, value in enumerate(schedule.device_value.tolist()):
        index = int(v.index[k]) if v.index[k] >= 0 else ""
        yield site[d.site[v.device[k]]], d.name[v.device[k]], v.name[k], index, value, v.unit[k]


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    write_rows(path, header, ([f"{cell:.10g}" if isinstance(cell, float) else cell for cell in row] for row in rows))
