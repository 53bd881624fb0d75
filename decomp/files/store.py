"""Instances and results as HDF5 files: versioned, self-describing, written atomically, data only.

`xarray.open_dataset(path, engine="h5netcdf", group="sites")` and `ncdump` read them. Root: attributes
`format`, `schema_version`, `content_hash` and the scalars; dimension scales with names and times.
Groups: the tables of an instance; or schedule, dual and log of a result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

import h5py
import numpy as np

from decomp.files.atomic import PathLike
from decomp.files.hdf5 import (
    SCHEMA_VERSION,
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
from decomp.model.instance import (
    DIMENSIONS,
    OPTIONAL,
    RISK,
    SCALARS,
    TABLES,
    Array,
    InputError,
    Instance,
    Microgrids,
    Overrides,
    Scenarios,
    Sites,
)
from decomp.model.microgrids import FOLLOWERS, OWNERS, followers
from decomp.model.result import Allowances, Blocks, Dual, Futures, Iteration, Ray, Result, Schedule, Status, Tree
from decomp.model.scenarios import site_rows
from decomp.model.strict import shown
from decomp.model.times import parse_utc
from decomp.model.validate import validate, validate_scalars
from decomp.model.validate_scenarios import validate_overrides
from decomp.model.validate_sites import validate_sites

INSTANCE = "decomp instance"
RESULT = "decomp result"
FRONTIER = "decomp frontier"


# ---------------------------------------------------------------- writing


def write_instance(path: PathLike, instance: Instance) -> None:
    """Write an instance; it is validated first, so that what is on disk can be read back.

    Raises
    ------
    InputError : the instance is not valid.
    """
    validate(instance)
    with new_file(path) as file:
        write_header(file, INSTANCE, instance)
        write_attributes(file, **instance.scalars)
        for name, table in instance.tables():
            write_table(file, name, table)


def write_result(
    path: PathLike,
    result: Result,
    instance: Instance,
    extend: Callable[[h5py.File], None] = lambda file: None,
) -> None:
    """Write a result, labelled with the names and times of the instance it belongs to; `extend` may add to the file."""
    with new_file(path) as file:
        write_header(file, RESULT, instance)
        write_body(file, result)
        extend(file)


def write_body(group: h5py.Group, result: Result) -> None:
    """A result's numbers, tables and log, in the file or in a group of it."""
    n = group.file["scenario"].shape[0]
    numbers = {name: float(getattr(result, name)) for name in ("bound", "incumbent", "gap_abs", "gap_rel")}
    provenance = json.dumps(result.provenance, sort_keys=True, default=_plain)
    write_attributes(group, status=result.status.value, **numbers, provenance=provenance)
    for name in ("schedule", "dual", "ray", "allowances"):
        if (table := getattr(result, name)) is not None:
            write_table(group, name, table, scenarios=n)
    if result.dual is not None:
        write_attributes(group["dual"], carbon_price=float(result.dual.carbon_price), form=result.dual.form)
    if result.dual is not None and result.dual.tree is not None:
        tree = result.dual.tree
        create_dimension(group.file, "node", len(tree.job))
        create_dimension(group.file, "leaf", len(tree.carbon_price))
        write_table(group, "tree", tree, scenarios=n)
        if tree.futures:
            write_table(group, "leaf_futures", *tree.futures, along="leaf", scenarios=n)
    for name in ("blocks", "futures"):
        if result.dual is not None and (table := getattr(result.dual, name)) is not None:
            write_table(group, name, table, scenarios=n)
    if result.ray is not None:
        write_attributes(group["ray"], carbon_weight=float(result.ray.carbon_weight))
    if result.allowances is not None:
        write_attributes(group["allowances"], abatement_usd_per_t=float(result.allowances.abatement_usd_per_t))
    _write_log(group.create_group("log", track_order=True), result.log)


def write_header(file: h5py.File, kind: str, instance: Instance) -> None:
    """Root attributes and dimension scales: names and times as coordinates, bare lengths for the rest."""
    header = dict(format=kind, schema_version=SCHEMA_VERSION, Conventions="CF-1.10")
    write_attributes(file, **header, content_hash=instance.content_hash())
    named = dict(site="sites", stream="streams", job="jobs", pool="pools", scenario="scenarios")
    names = {dim: getattr(instance, table).name for dim, table in named.items()}
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
                "write it again with decomp.write"
            )
    return instance


def read_sites(path: PathLike, ids: Sequence[int] | Array) -> Microgrids:
    """Read and validate some sites with what belongs to them, touching only these rows (to a block of rows).

    Parameters
    ----------
    ids : (n,) distinct indexes of sites, in any order; with scenarios, of rows of the expanded instance.

    Returns
    -------
    Sites in the order of `ids`, and their generators sorted by, and numbered as, positions in `ids`.
    """
    wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
    with open_hdf5(path, INSTANCE) as file:
        sizes = read_sizes(file, DIMENSIONS)
        n_sites, n = sizes["site"], sizes["scenario"]
        if len(np.unique(wanted)) < len(wanted) or np.any((wanted < 0) | (wanted >= n_sites * max(n, 1))):
            raise InputError(f"sites {wanted.tolist()[:10]}: must be distinct indexes below {n_sites * max(n, 1)}")
        places = np.unique(wanted % n_sites) if n else wanted
        grids = _read_places(file, places, sizes)
        if n:
            grids = _read_scenarios(file, grids, wanted, places, sizes)
        scalars = _scalars(file)
        validate_scalars(scalars)
        validate_sites(grids, scalars["period_h"])
    return grids


def _read_places(file: h5py.File, wanted: Array, sizes: dict[str, int]) -> Microgrids:
    """The tables' rows of some sites, and of what belongs to them."""
    taken, tables = {"site": wanted}, {"sites": read_table(file, "sites", Sites, sizes, wanted)}
    for name, (dimension, column) in FOLLOWERS.items():
        if sizes[dimension] == 0 and name in OPTIONAL:
            tables[name], taken[dimension] = read_table(file, name, TABLES[name], sizes), np.zeros(0, dtype=int)
            continue
        of = OWNERS[column]
        owner = read_column(file, name, TABLES[name].column(column), sizes)
        if np.any((owner < 0) | (owner >= sizes[of])):
            raise InputError(f"{name}.{column}: must be indexes below {sizes[of]}, the number of {of.split('_')[-1]}s")
        if np.any(np.diff(owner) < 0):
            raise InputError(f"{name}.{column}: must rise; sort the rows by {of.split('_')[-1]}")
        taken[dimension], place = followers(owner, taken[of])
        tables[name] = replace(read_table(file, name, TABLES[name], sizes, taken[dimension]), **{column: place})
    return Microgrids(**tables)


def _read_scenarios(
    file: h5py.File, grids: Microgrids, wanted: Array, places: Array, sizes: dict[str, int]
) -> Microgrids:
    """Rows of the expanded instance at some sites, `places`, reading no other overrides."""
    scenarios: Scenarios = read_table(file, "scenarios", Scenarios, sizes)
    named = ("series", "scenario", "row")
    heads = {key: read_column(file, "overrides", Overrides.column(key), sizes) for key in named}
    key = np.where(heads["series"] == "demand_rps", -1, heads["scenario"] * sizes["site"] + heads["row"])
    mine = np.flatnonzero(np.isin(key, wanted))
    overrides: Overrides = read_table(file, "overrides", Overrides, sizes, mine)
    names = dict(sites=grids.sites.name, streams=np.zeros(0, dtype=str))
    position = np.searchsorted(places, np.arange(sizes["site"]))
    overrides = replace(overrides, row=position[overrides.row])
    here = {**sizes, "override": len(mine)}
    validate_overrides(scenarios, overrides, names, here)
    s, i = wanted // sizes["site"], position[wanted % sizes["site"]]
    return site_rows(grids, scenarios, overrides, s * len(places) + i)


def instance_hash(path: PathLike) -> str:
    """Content hash of an instance file, or of the instance that a result file belongs to."""
    with open_hdf5(path, INSTANCE, RESULT, FRONTIER) as file:
        return str(read_attribute(file, "content_hash", str))


def read_result(path: PathLike) -> Result:
    """Read a result; what it claims is for the certificate to judge."""
    with open_hdf5(path, RESULT) as file:
        sizes = read_sizes(file, (*DIMENSIONS, "instant"))
        return read_body(file, sizes)


def read_ray(group: h5py.Group, sizes: dict[str, int]) -> Ray:
    weight = read_attribute(group["ray"], "carbon_weight", float)
    ray: Ray = read_table(group, "ray", Ray, sizes, scenarios=sizes["scenario"], carbon_weight=weight)
    return ray


def read_body(group: h5py.Group, sizes: dict[str, int]) -> Result:
    """What `write_body` wrote."""
    status = read_attribute(group, "status", str)
    if status not in {s.value for s in Status}:
        raise InputError(f"attribute status is {status!r}, must be one of {', '.join(s.value for s in Status)}")
    dual, n = None, sizes["scenario"]
    if "dual" in group:
        scalars = {n: read_attribute(group["dual"], n, t) for n, t in (("carbon_price", float), ("form", str))}
        tree = None
        if "tree" in group:
            sizes = {**sizes, **read_sizes(group.file, ("node", "leaf"))}
            each = "leaf_futures" in group
            futures = read_tables(group, "leaf_futures", Futures, sizes, "leaf", scenarios=n) if each else ()
            tree = read_table(group, "tree", Tree, sizes, scenarios=n, futures=tuple(futures))
        more: dict[str, Any] = dict(blocks=Blocks, futures=Futures)
        parts = {name: read_table(group, name, c, sizes, scenarios=n) for name, c in more.items() if name in group}
        dual = read_table(group, "dual", Dual, sizes, scenarios=n, tree=tree, **parts, **scalars)
    ray = read_ray(group, sizes) if "ray" in group else None
    allowances = None
    if "allowances" in group:
        price = read_attribute(group["allowances"], "abatement_usd_per_t", float)
        allowances = read_table(group, "allowances", Allowances, sizes, scenarios=n, abatement_usd_per_t=price)
    return Result(
        status=Status(status),
        bound=read_attribute(group, "bound", float),
        incumbent=read_attribute(group, "incumbent", float),
        schedule=read_table(group, "schedule", Schedule, sizes, scenarios=n) if "schedule" in group else None,
        dual=dual,
        log=_read_log(group),
        provenance=_read_provenance(group),
        ray=ray,
        allowances=allowances,
    )


def _read_provenance(group: h5py.Group) -> dict[str, Any]:
    """What the result says of itself: any facts, but those that this package reads are what it writes."""
    try:
        facts = json.loads(read_attribute(group, "provenance", str))
    except (ValueError, RecursionError) as error:
        raise InputError(f"attribute provenance is not JSON: {error}") from error
    if not isinstance(facts, dict):
        raise InputError(f"attribute provenance is {shown(facts)}, must be a JSON object")
    for name, (fits, what) in FACTS.items():
        if name in facts and not fits(facts[name]):
            raise InputError(f"attribute provenance: {name} is {shown(facts[name])}, must be {what}")
    return facts


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_seconds(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, list) and all(map(_is_number, v)) for v in value.values())


FACTS: dict[str, tuple[Callable[[Any], bool], str]] = dict(
    instance_hash=(lambda value: isinstance(value, str), "text"),
    options=(lambda value: isinstance(value, dict), "an object of options by name"),
    rank_seconds=(_are_seconds, "an object of lists, the seconds of every rank"),
    wall_seconds=(_is_number, "a number of seconds"),
)


def _scalars(file: h5py.File) -> dict[str, Any]:
    return {
        name: getattr(Instance, name) if name in RISK and name not in file.attrs else read_attribute(file, name, kind)
        for name, kind in SCALARS.items()
    }


def _read_log(file: h5py.Group) -> tuple[Iteration, ...]:
    """The log; a column that the file does not have takes its default."""
    columns: dict[str, list[Any]] = {}
    for f in fields(Iteration):
        if f"log/{f.name}" not in file and f.default is not MISSING:
            continue
        dataset = find_dataset(file, f"log/{f.name}")
        if dataset.shape is None or len(dataset.shape) != 1:
            raise InputError(f"log.{f.name}: shape {dataset.shape}, must be (iteration)")
        values = read_values(dataset, f"log.{f.name}", _log_kind(str(f.type))).tolist()
        unknown = "None" in str(f.type)
        columns[f.name] = [None if unknown and value != value else value for value in values]
    if len({len(values) for values in columns.values()}) > 1:
        raise InputError("log: columns differ in length")
    return tuple(Iteration(**dict(zip(columns, line, strict=True))) for line in zip(*columns.values(), strict=True))
