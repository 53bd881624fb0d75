"""Frontiers as HDF5 files: the results of all budgets, and the steps between them."""

from __future__ import annotations

import h5py
import numpy as np

from decomp.files.atomic import PathLike
from decomp.files.hdf5 import (
    create_dataset,
    create_dimension,
    find_dataset,
    new_file,
    open_hdf5,
    read_attribute,
    read_sizes,
    read_table,
    read_tables,
    read_values,
    write_attributes,
    write_table,
)
from decomp.files.store import FRONTIER, RESULT, read_body, read_ray, write_body, write_header
from decomp.model.frontier import CurveStep, CurveSteps, Frontier
from decomp.model.instance import DIMENSIONS, InputError, Instance
from decomp.model.result import Schedule


def write_frontier(path: PathLike, frontier: Frontier, instance: Instance) -> None:
    """Write a frontier: the certified minimum, a group with the result of each budget, and one with the steps."""
    with new_file(path) as file:
        write_header(file, FRONTIER, instance)
        write_attributes(file, minimum_t=frontier.minimum_t, points=len(frontier.budgets))
        write_table(file, "ray", frontier.ray)
        write_attributes(file["ray"], carbon_weight=float(frontier.ray.carbon_weight))
        curves = dict(lower=frontier.lower(frontier.budgets), upper=frontier.upper(frontier.budgets))
        columns = dict(budget=frontier.budgets, emissions=frontier.emissions, **curves)
        for name, values in columns.items():
            unit = "USD" if name in curves else "t"
            create_dataset(file, name, values, "f8", unit, f"{name} of the frontier")
        file["budget"].make_scale("budget")
        for name in list(columns)[1:]:
            file[name].dims[0].attach_scale(file["budget"])
        for k, (budget, result) in enumerate(zip(frontier.budgets, frontier.results, strict=True)):
            group = file.create_group(_point(k), track_order=True)
            write_attributes(group, carbon_budget_t=float(budget))
            write_body(group, result)
        if frontier.steps:
            _write_steps(file, frontier.steps)


def _point(k: int) -> str:
    """Name of the group of a point; more than a thousand do not lie in the order of their names."""
    return f"point{k:03d}"


def _write_steps(file: h5py.File, steps: tuple[CurveStep, ...]) -> None:
    """All steps in two tables: thousands of small datasets would take seconds."""
    create_dimension(file, "step", len(steps))
    columns = {f.name: np.array([getattr(step, f.name) for step in steps]) for f in CurveSteps.columns()}
    write_table(file, "steps", CurveSteps(**columns))
    write_table(file, "step_schedules", *(step.schedule for step in steps), along="step")


def read_frontier(path: PathLike) -> Frontier:
    """Read a frontier; what it claims is for the certificate to judge."""
    with open_hdf5(path, FRONTIER) as file:
        sizes = read_sizes(file, (*DIMENSIONS, "instant"))
        count = sum(name.startswith("point") for name in file)
        if count != read_attribute(file, "points", int) or not count:
            raise InputError(f"has {count} points, must be as many as the attribute points says, at least 1")
        groups = [file[_point(k)] for k in range(count)]
        emissions = read_values(find_dataset(file, "emissions"), "emissions", "f8")
        if emissions.shape != (count,):
            raise InputError(f"emissions: shape {emissions.shape}, must be (point) = ({count},)")
        return Frontier(
            minimum_t=read_attribute(file, "minimum_t", float),
            ray=read_ray(file, sizes),
            budgets=np.array([read_attribute(group, "carbon_budget_t", float) for group in groups]),
            results=tuple(read_body(group, sizes) for group in groups),
            emissions=emissions,
            steps=_read_steps(file, sizes) if "step" in file else (),
        )


def _read_steps(file: h5py.File, sizes: dict[str, int]) -> tuple[CurveStep, ...]:
    sizes = sizes | read_sizes(file, ("step",))
    heads = read_table(file, "steps", CurveSteps, sizes)
    schedules = read_tables(file, "step_schedules", Schedule, sizes, along="step")
    rows = zip(schedules, heads.tonnes.tolist(), heads.cost.tolist(), heads.mixes.tolist(), strict=True)
    return tuple(CurveStep(*row) for row in rows)


def is_frontier(path: PathLike) -> bool:
    """Whether a file holds a frontier; a result otherwise."""
    with open_hdf5(path, FRONTIER, RESULT) as file:
        return bool(read_attribute(file, "format", str) == FRONTIER)
