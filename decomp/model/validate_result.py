"""Refusal of results and frontiers that cannot be of an instance, before anything is told from them or begun with them.

`check` judges the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from decomp.model.frontier import Frontier, at_budget
from decomp.model.instance import SECOND_STAGE, InputError, Instance, Table
from decomp.model.refusal import Label, check_shapes, named, refuse
from decomp.model.result import Result, Schedule


def validate_result(instance: Instance, result: Result) -> None:
    """Check that a result says to be of the instance and has its shapes, finite numbers, and sites and periods it has.

    Raises
    ------
    InputError : names the array, the row, the value, and what would be right.
    """
    result.belongs_to(instance)
    for name in ("bound", "incumbent"):
        if np.isnan(getattr(result, name)):
            raise InputError(f"{name}: nan, must be net cost in USD, or infinite where there is none")
    if result.dual is not None and not 0.0 <= result.dual.carbon_price < np.inf:
        raise InputError(f"dual.carbon_price: {result.dual.carbon_price:g} USD/t, must be finite and not negative")
    for name in ("dual", "ray", "allowances"):
        if (table := getattr(result, name)) is not None:
            _check_table(instance, name, table)
    if result.schedule is not None:
        _check_schedule(instance, result.schedule)


def validate_frontier(instance: Instance, frontier: Frontier) -> None:
    """Check the results of a frontier, each as one of the instance with its budget, and the schedules of its steps.

    Raises
    ------
    InputError : names the point or step too.
    """
    budgets, point = frontier.budgets, partial("point {}".format)
    refuse(~np.isfinite(budgets), "carbon_budget_t", point, "{b:g} t, must be finite", b=budgets)
    falls = np.diff(budgets, prepend=-np.inf) <= 0
    refuse(falls, "carbon_budget_t", point, "{b:g} t, must be above that of the point before", b=budgets)
    for k, (budget, result) in enumerate(zip(budgets.tolist(), frontier.results, strict=True)):
        with _naming(f"point {k}"):
            validate_result(at_budget(instance, budget), result)
            if result.schedule is not None:
                _check_places(instance, result.schedule)
    for k, step in enumerate(frontier.steps):
        with _naming(f"step {k}"):
            _check_schedule(instance, step.schedule)
            _check_places(instance, step.schedule)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Inside, a refusal begins with the place."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _check_table(instance: Instance, name: str, table: Table) -> None:
    n = max(instance.n_scenarios, 1)
    sizes = {dim: size * (n if dim in SECOND_STAGE else 1) for dim, size in instance.sizes.items()}
    check_shapes(name, table, sizes | {"instant": instance.n_periods + 1})
    for f in table.columns():
        array, dims = getattr(table, f.name), f.metadata["dims"]
        label: Label = partial("{} {}".format, dims[0])
        refuse(~np.isfinite(array), f"{name}.{f.name}", label, "{x}, must be finite", dims[-1], x=array)


def _check_schedule(instance: Instance, schedule: Schedule) -> None:
    _check_table(instance, "schedule", schedule)
    site, start, job = schedule.job_site, schedule.job_start, named("job", instance.jobs.name)
    text = f"{{site}}, must be an index of a site, 0 to {instance.n_sites - 1}, or -1"
    refuse((site < -1) | (site >= instance.n_sites), "schedule.job_site", job, text, site=site)
    last = np.where(site < 0, 0, instance.n_periods - instance.jobs.periods)
    text = "{start}, must be a period, 0 to {last}"
    refuse((site >= 0) & ((start < 0) | (start > last)), "schedule.job_start", job, text, start=start, last=last)


def _check_places(instance: Instance, schedule: Schedule) -> None:
    """Every job runs where it may: what goes on from a schedule knows no other places."""
    site, candidates = schedule.job_site, instance.candidates
    pair = np.arange(instance.n_jobs) * instance.n_sites + site
    known = np.isin(pair, candidates.job * instance.n_sites + candidates.site)
    text = "{site}, must be a site that the job may run at"
    refuse((site >= 0) & ~known, "schedule.job_site", named("job", instance.jobs.name), text, site=site)
