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

from decomp.hdf5 import (
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
    read_values,
    write_attributes,
    write_table,
)
from decomp.instance import (
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
from decomp.result import Dual, Iteration, Ray, Result, Schedule, Status
from decomp.validate import parse_utc, validate, validate_coupling, validate_scalars, validate_sites

INSTANCE = "decomp instance"
RESULT = "decomp result"
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
        numbers = {name: float(getattr(result, name)) for name in ("bound", "incumbent", "gap_abs", "gap_rel")}
        provenance = json.dumps(result.provenance, sort_keys=True, default=_plain)
        write_attributes(file, status=result.status.value, **numbers, provenance=provenance)
        for name, table in (("schedule", result.schedule), ("dual", result.dual), ("ray", result.ray)):
            if table is not None:
                write_table(file, name, table)
        if result.dual is not None:
            write_attributes(file["dual"], carbon_price=float(result.dual.carbon_price), form=result.dual.form)
        if result.ray is not None:
            write_attributes(file["ray"], carbon_weight=float(result.ray.carbon_weight))
        _write_log(file.create_group("log", track_order=True), result.log)
        extend(file)


def _write_header(file: h5py.File, kind: str, instance: Instance | FleetTables) -> None:
    """Root attributes and dimension scales: names and times as coordinates, bare lengths for the rest."""
    header = dict(format=kind, schema_version=SCHEMA_VERSION, Conventions="CF-1.10")
    write_attributes(file, **header, content_hash=instance.content_hash())
    site_name = instance.sites.name if isinstance(instance, Instance) else instance.site_name
    names = dict(site=site_name, stream=instance.streams.name, job=instance.jobs.name, pool=instance.pools.name)
    sizes = {**instance.sizes, **({"instant": instance.sizes["period"] + 1} if kind == RESULT else {})}
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
    with open_hdf5(path, INSTANCE, RESULT) as file:
        return str(read_attribute(file, "content_hash", str))


def read_result(path: PathLike) -> Result:
    """Read a result; what it claims is for the certificate to judge."""
    with open_hdf5(path, RESULT) as file:
        sizes = read_sizes(file, (*DIMENSIONS, "instant"))
        status = read_attribute(file, "status", str)
        if status not in {s.value for s in Status}:
            raise InputError(f"attribute status is {status!r}, must be one of {', '.join(s.value for s in Status)}")
        dual = None
        if "dual" in file:
            scalars = {n: read_attribute(file["dual"], n, t) for n, t in (("carbon_price", float), ("form", str))}
            dual = read_table(file, "dual", Dual, sizes, **scalars)
        ray = None
        if "ray" in file:
            ray = read_table(file, "ray", Ray, sizes, carbon_weight=read_attribute(file["ray"], "carbon_weight", float))
        try:
            provenance = json.loads(read_attribute(file, "provenance", str))
        except ValueError as error:
            raise InputError(f"attribute provenance is not JSON: {error}") from error
        return Result(
            status=Status(status),
            bound=read_attribute(file, "bound", float),
            incumbent=read_attribute(file, "incumbent", float),
            schedule=read_table(file, "schedule", Schedule, sizes) if "schedule" in file else None,
            dual=dual,
            log=_read_log(file),
            provenance=provenance,
            ray=ray,
        )


def _scalars(file: h5py.File) -> dict[str, Any]:
    return {name: read_attribute(file, name, kind) for name, kind in SCALARS.items()}


def _read_log(file: h5py.File) -> tuple[Iteration, ...]:
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
