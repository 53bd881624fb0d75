"""Instances and results as HDF5 files: versioned, self-describing, written atomically, data only.

`xarray.open_dataset(path, engine="h5netcdf", group="sites")` and `ncdump` read them. Root: attributes
`format`, `schema_version`, `content_hash` and the scalars; dimension scales with names and times.
Groups: the tables of an instance; or schedule, dual and log of a result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import h5py
import numpy as np

from decomp.files.hdf5 import (
    SCHEMA_VERSION,
    PathLike,
    create_dataset,
    create_dimension,
    find_dataset,
    new_file,
    open_hdf5,
    read_attribute,
    read_column,
    read_sizes,
    read_table,
    read_tables,
    read_values,
    write_attributes,
    write_table,
)
from decomp.model.frontier import CurveStep, CurveSteps, Frontier
from decomp.model.instance import (
    DIMENSIONS,
    TABLES,
    Arcs,
    Array,
    Candidates,
    Generators,
    InputError,
    Instance,
    Jobs,
    PoolArcs,
    Pools,
    Sites,
    Streams,
)
from decomp.model.result import Allowances, Blocks, Dual, Iteration, Ray, Result, Schedule, Status, Tree
from decomp.model.validate import parse_utc, validate, validate_coupling, validate_scalars, validate_sites

INSTANCE = "decomp instance"
RESULT = "decomp result"
FRONTIER = "decomp frontier"
KINDS: dict[str, type] = {"float": float, "int": int, "str": str}
SCALARS = {f.name: KINDS[str(f.type)] for f in fields(Instance) if f.name not in TABLES}


@dataclass(frozen=True, eq=False)
class FleetTables:
    """What couples the sites, without the sites: all that a root needs of a large instance.

    Attributes
    ----------
    sizes : length of every dimension.
    scalars : the instance's scalars by name (period_h, carbon_budget_t, ...).
    stored_hash : content hash of the instance, as the file gives it.
    site_name : (site,); capacity_gpu : (site, period), GPU; generator_site : (generator,), index of the site.
    """

    sizes: dict[str, int]
    scalars: dict[str, Any]
    stored_hash: str
    site_name: Array
    capacity_gpu: Array
    generator_site: Array
    streams: Streams
    arcs: Arcs
    jobs: Jobs
    candidates: Candidates
    pools: Pools
    pool_arcs: PoolArcs

    @property
    def period_h(self) -> float:
        return float(self.scalars["period_h"])

    def content_hash(self) -> str:
        """The stored hash: without the sites it cannot be computed."""
        return self.stored_hash


# ---------------------------------------------------------------- writing


def write_instance(path: PathLike, instance: Instance, *, check: bool = True) -> None:
    """Write an instance; it is validated first, so that what is on disk can be read back.

    Raises
    ------
    InputError : the instance is not valid (`check=False` writes it all the same).
    """
    if check:
        validate(instance)
    with new_file(path) as file:
        _write_header(file, INSTANCE, instance)
        write_attributes(file, **instance.scalars)
        for name, table in instance.tables():
            write_table(file, name, table)


def write_result(
    path: PathLike,
    result: Result,
    instance: Instance | FleetTables,
    extend: Callable[[h5py.File], None] = lambda file: None,
) -> None:
    """Write a result, labelled with the names and times of the instance it belongs to; `extend` may add to the file."""
    with new_file(path) as file:
        _write_header(file, RESULT, instance)
        _write_body(file, result)
        extend(file)


def write_frontier(path: PathLike, frontier: Frontier, instance: Instance) -> None:
    """Write a frontier: the certified minimum, a group with the result of each budget, and one with the steps."""
    with new_file(path) as file:
        _write_header(file, FRONTIER, instance)
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
            group = file.create_group(f"point{k:03d}", track_order=True)
            write_attributes(group, carbon_budget_t=float(budget))
            _write_body(group, result)
        if frontier.steps:
            _write_steps(file, frontier.steps)


def _write_steps(file: h5py.File, steps: tuple[CurveStep, ...]) -> None:
    """All steps in two tables: thousands of small datasets would take seconds."""
    create_dimension(file, "step", len(steps))
    columns = {f.name: np.array([getattr(step, f.name) for step in steps]) for f in CurveSteps.columns()}
    write_table(file, "steps", CurveSteps(**columns))
    write_table(file, "step_schedules", *(step.schedule for step in steps), along="step")


def _write_body(group: h5py.Group, result: Result) -> None:
    """A result's numbers, tables and log, in the file or in a group of it."""
    numbers = {name: float(getattr(result, name)) for name in ("bound", "incumbent", "gap_abs", "gap_rel")}
    provenance = json.dumps(result.provenance, sort_keys=True, default=_plain)
    write_attributes(group, status=result.status.value, **numbers, provenance=provenance)
    for name in ("schedule", "dual", "ray", "allowances"):
        if (table := getattr(result, name)) is not None:
            write_table(group, name, table)
    if result.dual is not None:
        write_attributes(group["dual"], carbon_price=float(result.dual.carbon_price), form=result.dual.form)
    if result.dual is not None and result.dual.tree is not None:
        tree = result.dual.tree
        create_dimension(group.file, "node", len(tree.job))
        create_dimension(group.file, "leaf", len(tree.carbon_price))
        write_table(group, "tree", tree)
    if result.dual is not None and result.dual.blocks is not None:
        write_table(group, "blocks", result.dual.blocks)
    if result.ray is not None:
        write_attributes(group["ray"], carbon_weight=float(result.ray.carbon_weight))
    if result.allowances is not None:
        write_attributes(group["allowances"], abatement_usd_per_t=float(result.allowances.abatement_usd_per_t))
    _write_log(group.create_group("log", track_order=True), result.log)


def _write_header(file: h5py.File, kind: str, instance: Instance | FleetTables) -> None:
    """Root attributes and dimension scales: names and times as coordinates, bare lengths for the rest."""
    header = dict(format=kind, schema_version=SCHEMA_VERSION, Conventions="CF-1.10")
    write_attributes(file, **header, content_hash=instance.content_hash())
    site_name = instance.sites.name if isinstance(instance, Instance) else instance.site_name
    names = dict(site=site_name, stream=instance.streams.name, job=instance.jobs.name, pool=instance.pools.name)
    sizes = {**instance.sizes, **({"instant": instance.sizes["period"] + 1} if kind != INSTANCE else {})}
    since = f"seconds since {parse_utc(instance.scalars['start_utc']):%Y-%m-%d %H:%M:%S}"
    for dim, size in sizes.items():
        if dim in names:
            create_dataset(file, dim, names[dim], "U", "1", f"name of the {dim}").make_scale(dim)
        elif dim in ("period", "instant"):
            seconds = np.arange(size) * instance.scalars["period_h"] * 3600.0
            scale = create_dataset(file, dim, seconds, "f8", since, f"start of the {dim}")
            write_attributes(scale, calendar="standard")
            scale.make_scale(dim)
        else:
            create_dimension(file, dim, size)


def _write_log(group: h5py.Group, log: Sequence[Iteration]) -> None:
    """One column per field of Iteration; what is not known is NaN. The iteration is the dimension."""
    write_attributes(group, long_name="Log of the iterations")
    for f in fields(Iteration):
        kind = _log_kind(str(f.type))
        raw = [getattr(line, f.name) for line in log]
        values = np.array([np.nan if value is None else value for value in raw], dtype=str if kind == "U" else kind)
        create_dataset(group, f.name, values, kind, _log_unit(f.name), f.name.replace("_", " "))
    group["iteration"].make_scale("iteration")
    for f in fields(Iteration)[1:]:
        group[f.name].dims[0].attach_scale(group["iteration"])


def _log_kind(annotation: str) -> str:
    return {"int": "i8", "str": "U"}.get(annotation, "f8")


def _log_unit(name: str) -> str:
    known = dict(bound="USD", incumbent="USD", model="USD", carbon_price="USD/t")
    return known.get(name) or {"seconds": "s", "gpu": "GPU", "usd": "USD"}.get(name.split("_")[-1], "1")


def _plain(value: Any) -> Any:
    """NumPy numbers and arrays, paths and the like in a provenance, as JSON."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


# ---------------------------------------------------------------- reading


def read_instance(path: PathLike) -> Instance:
    """Read a whole instance, validate it and verify its content hash."""
    with open_hdf5(path, INSTANCE) as file:
        sizes, scalars = read_sizes(file, DIMENSIONS), _scalars(file)
        tables = {name: read_table(file, name, cls, sizes) for name, cls in TABLES.items()}
        instance = Instance(**scalars, **tables)
        validate(instance)
        if read_attribute(file, "content_hash", str) != instance.content_hash():
            raise InputError(
                "content_hash does not match the data, so the file was changed after it was written; "
                "write it again with decomp.store.write_instance"
            )
    return instance


def read_sites(path: PathLike, ids: Sequence[int] | Array) -> tuple[Sites, Generators]:
    """Read and validate some sites and their generators, touching only these rows (to a block of rows).

    Parameters
    ----------
    ids : (n,) distinct indexes of sites, in any order.

    Returns
    -------
    Sites in the order of `ids`, and their generators sorted by, and numbered as, positions in `ids`.
    """
    wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
    with open_hdf5(path, INSTANCE) as file:
        sizes = read_sizes(file, DIMENSIONS)
        n_sites = sizes["site"]
        if len(np.unique(wanted)) < len(wanted) or np.any((wanted < 0) | (wanted >= n_sites)):
            raise InputError(f"sites {wanted.tolist()[:10]}: must be distinct indexes below {n_sites}")
        sites: Sites = read_table(file, "sites", Sites, sizes, wanted)
        owner = read_column(file, "generators", Generators, "site", sizes)
        if np.any((owner < 0) | (owner >= n_sites)):
            raise InputError(f"generators.site: must be indexes below {n_sites}, the number of sites")
        position = np.full(n_sites, -1)
        position[wanted] = np.arange(len(wanted))
        rows = np.flatnonzero(position[owner] >= 0)
        rows = rows[np.argsort(position[owner[rows]], kind="stable")]
        generators: Generators = read_table(file, "generators", Generators, sizes, rows)
        generators = replace(generators, site=position[owner[rows]])
        scalars = _scalars(file)
        validate_scalars(scalars)
        validate_sites(sites, generators, scalars["period_h"])
    return sites, generators


def read_fleet_tables(path: PathLike) -> FleetTables:
    """Read and validate all that couples the sites, without the sites' microgrids."""
    with open_hdf5(path, INSTANCE) as file:
        sizes, scalars = read_sizes(file, DIMENSIONS), _scalars(file)
        light = {n: read_table(file, n, c, sizes) for n, c in TABLES.items() if n not in ("sites", "generators")}
        fleet = FleetTables(
            sizes=sizes,
            scalars=scalars,
            stored_hash=read_attribute(file, "content_hash", str),
            site_name=read_column(file, "sites", Sites, "name", sizes),
            capacity_gpu=read_column(file, "sites", Sites, "capacity_gpu", sizes),
            generator_site=read_column(file, "generators", Generators, "site", sizes),
            **light,
        )
        validate_scalars(scalars)
        validate_coupling(light, fleet.site_name, fleet.capacity_gpu, fleet.period_h)
    return fleet


def instance_hash(path: PathLike) -> str:
    """Content hash of an instance file, or of the instance that a result file belongs to."""
    with open_hdf5(path, INSTANCE, RESULT, FRONTIER) as file:
        return str(read_attribute(file, "content_hash", str))


def read_result(path: PathLike) -> Result:
    """Read a result; what it claims is for the certificate to judge."""
    with open_hdf5(path, RESULT) as file:
        sizes = read_sizes(file, (*DIMENSIONS, "instant"))
        return _read_body(file, sizes)


def read_frontier(path: PathLike) -> Frontier:
    """Read a frontier; what it claims is for the certificate to judge."""
    with open_hdf5(path, FRONTIER) as file:
        sizes = read_sizes(file, (*DIMENSIONS, "instant"))
        groups = [file[name] for name in sorted(file) if name.startswith("point")]
        if len(groups) != read_attribute(file, "points", int) or not groups:
            raise InputError(f"has {len(groups)} points, must be as many as the attribute points says, at least 1")
        return Frontier(
            minimum_t=read_attribute(file, "minimum_t", float),
            ray=_read_ray(file, sizes),
            budgets=np.array([read_attribute(group, "carbon_budget_t", float) for group in groups]),
            results=tuple(_read_body(group, sizes) for group in groups),
            emissions=read_values(find_dataset(file, "emissions"), "emissions", "f8"),
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


def _read_ray(group: h5py.Group, sizes: dict[str, int]) -> Ray:
    weight = read_attribute(group["ray"], "carbon_weight", float)
    ray: Ray = read_table(group, "ray", Ray, sizes, carbon_weight=weight)
    return ray


def _read_body(group: h5py.Group, sizes: dict[str, int]) -> Result:
    """What `_write_body` wrote."""
    status = read_attribute(group, "status", str)
    if status not in {s.value for s in Status}:
        raise InputError(f"attribute status is {status!r}, must be one of {', '.join(s.value for s in Status)}")
    dual = None
    if "dual" in group:
        scalars = {n: read_attribute(group["dual"], n, t) for n, t in (("carbon_price", float), ("form", str))}
        tree = None
        if "tree" in group:
            tree = read_table(group, "tree", Tree, {**sizes, **read_sizes(group.file, ("node", "leaf"))})
        blocks = read_table(group, "blocks", Blocks, sizes) if "blocks" in group else None
        dual = read_table(group, "dual", Dual, sizes, tree=tree, blocks=blocks, **scalars)
    ray = _read_ray(group, sizes) if "ray" in group else None
    allowances = None
    if "allowances" in group:
        price = read_attribute(group["allowances"], "abatement_usd_per_t", float)
        allowances = read_table(group, "allowances", Allowances, sizes, abatement_usd_per_t=price)
    try:
        provenance = json.loads(read_attribute(group, "provenance", str))
    except ValueError as error:
        raise InputError(f"attribute provenance is not JSON: {error}") from error
    return Result(
        status=Status(status),
        bound=read_attribute(group, "bound", float),
        incumbent=read_attribute(group, "incumbent", float),
        schedule=read_table(group, "schedule", Schedule, sizes) if "schedule" in group else None,
        dual=dual,
        log=_read_log(group),
        provenance=provenance,
        ray=ray,
        allowances=allowances,
    )


def _scalars(file: h5py.File) -> dict[str, Any]:
    return {name: read_attribute(file, name, kind) for name, kind in SCALARS.items()}


def _read_log(file: h5py.Group) -> tuple[Iteration, ...]:
    """The log; a column that the file does not have takes its default."""
    columns: dict[str, list[Any]] = {}
    for f in fields(Iteration):
        if f"log/{f.name}" not in file and f.default is not MISSING:
            continue
        values = read_values(find_dataset(file, f"log/{f.name}"), f"log.{f.name}", _log_kind(str(f.type))).tolist()
        unknown = "None" in str(f.type)
        columns[f.name] = [None if unknown and value != value else value for value in values]
    if len({len(values) for values in columns.values()}) > 1:
        raise InputError("log: columns differ in length")
    return tuple(Iteration(**dict(zip(columns, line, strict=True))) for line in zip(*columns.values(), strict=True))
