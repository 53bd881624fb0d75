"""What a rolling run leaves behind: every plan, what to do now, the table of windows, the realised schedule."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from decomp.files.atomic import write_rows
from decomp.files.store import write_instance, write_result
from decomp.model.accounts import load_gpu
from decomp.model.result import Result, Status
from decomp.model.times import stamp, start_of
from decomp.rolling.planner import Operation, Planned
from decomp.rolling.windows import Window

STATE = "state.npz"  # what a run goes on from, see `resume`
PLAN_FILE = re.compile(r"\d{4,}\.(fleet\.h5|h5|sites\.csv|jobs\.csv)")
ORDERS = ("it_power_mw", "import_mw", "export_mw", "renewable_mw", "charge_mw", "discharge_mw")


def write_plan(folder: Path, planned: Planned, window: Window, result: Result, step: int) -> None:
    """A window's instance and result for `check` and `report`, and the first `step` periods as CSV: what to do now."""
    (folder / "plans").mkdir(parents=True, exist_ok=True)
    write_instance(plan_path(folder, planned.number, "fleet.h5"), window.instance)
    write_result(plan_path(folder, planned.number, "h5"), result, window.instance)
    write_now(plan_path(folder, planned.number, "sites.csv"), window, result, step)
    write_jobs(plan_path(folder, planned.number, "jobs.csv"), window, result, step)


def plan_path(folder: Path, number: int, what: str) -> Path:
    """Where a file of a window's plan is: its instance (fleet.h5), its result (h5) or what to do now (CSV)."""
    return folder / "plans" / f"{number:04d}.{what}"


def write_now(path: Path, window: Window, result: Result, step: int) -> None:
    """One line per period and site: load, power, grid, battery, output of all its generators."""
    schedule, instance = result.schedule, window.instance
    assert schedule is not None
    load = load_gpu(instance, schedule)
    generation = np.zeros_like(load)
    np.add.at(generation, instance.generators.site, schedule.generation_mw)
    values = {"load_gpu": load, **{name: getattr(schedule, name) for name in ORDERS}}
    values |= dict(generation_mw=generation, stored_mwh_after=schedule.stored_mwh[:, 1:])
    rows = (
        [stamp(start_of(instance, t)), site, *(f"{array[i, t]:.6f}" for array in values.values())]
        for t in range(min(step, instance.n_periods))
        for i, site in enumerate(instance.sites.name)
    )
    write_rows(path, ("start_utc", "site", *values), rows)


def write_jobs(path: Path, window: Window, result: Result, step: int) -> None:
    """One line per job that runs or is planned: `continue`, `start` in this step, or `planned` for later."""
    schedule, instance = result.schedule, window.instance
    assert schedule is not None
    order = np.argsort(schedule.job_start, kind="stable")
    rows = []
    for j in order[schedule.job_site[order] >= 0]:
        start = int(schedule.job_start[j])
        what = "continue" if window.running[j] else "start" if start < step else "planned"
        when = stamp(start_of(instance, start))
        rows.append([instance.jobs.name[j], what, when, instance.sites.name[schedule.job_site[j]]])
    write_rows(path, ("job", "what", "start_utc", "site"), rows)


def write_windows(path: Path, operation: Operation) -> None:
    """One line per plan, with what was then realised in its periods."""
    rows = [[*asdict(p).values(), operation.realised(p)] for p in operation.plans]
    write_rows(path, [*(f.name for f in fields(Planned)), "realised_usd"], rows)


def clear(folder: Path) -> int:
    """Remove what an earlier run left in a folder, so that none of it is taken for this one's; how many files."""
    plans = [path for path in (folder / "plans").glob("*") if PLAN_FILE.fullmatch(path.name)]
    others = [folder / name for name in ("windows.csv", "schedule.h5", STATE)]
    old = [path for path in (*plans, *others) if path.is_file()]
    for path in old:
        path.unlink()
    return len(old)


def result_of(operation: Operation) -> Result:
    """What was done as a result of the whole instance; nobody proved a bound for it."""
    instance = operation.past.instance
    facts: dict[str, Any] = dict(instance_hash=instance.content_hash(), method="rolling")
    cost = operation.past.cost()
    return Result(Status.LIMIT, -np.inf, cost, operation.schedule, None, provenance=facts)
