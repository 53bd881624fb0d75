"""Refusal of results that cannot be of an instance, before anything is told from them; `check` judges the rest."""

from __future__ import annotations

from functools import partial

import numpy as np

from decomp.model.instance import SECOND_STAGE, InputError, Instance
from decomp.model.refusal import Label, check_shapes, named, refuse
from decomp.model.result import Result


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
    n = max(instance.n_scenarios, 1)
    sizes = {dim: size * (n if dim in SECOND_STAGE else 1) for dim, size in instance.sizes.items()}
    sizes["instant"] = instance.n_periods + 1
    for name in ("schedule", "dual", "ray", "allowances"):
        if (table := getattr(result, name)) is None:
            continue
        check_shapes(name, table, sizes)
        for f in table.columns():
            array, dims = getattr(table, f.name), f.metadata["dims"]
            label: Label = partial("{} {}".format, dims[0])
            refuse(~np.isfinite(array), f"{name}.{f.name}", label, "{x}, must be finite", dims[-1], x=array)
    if result.schedule is not None:
        site, start, job = result.schedule.job_site, result.schedule.job_start, named("job", instance.jobs.name)
        text = f"{{site}}, must be an index of a site, 0 to {instance.n_sites - 1}, or -1"
        refuse((site < -1) | (site >= instance.n_sites), "schedule.job_site", job, text, site=site)
        last = np.where(site < 0, 0, instance.n_periods - instance.jobs.periods)
        text = "{start}, must be a period, 0 to {last}"
        refuse((site >= 0) & ((start < 0) | (start > last)), "schedule.job_start", job, text, start=start, last=last)
