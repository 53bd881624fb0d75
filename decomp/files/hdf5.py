"""Tables to and from HDF5: the mechanics under `store`, which says what an instance and a result are.

One group per table, one dataset per array; units, meanings and types come from the field metadata of
the tables, dimensions are HDF5 dimension scales as netCDF-4 lays them out. Reading trusts nothing:
every departure from the declaration is an InputError, and no object is ever made from the data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import Field
from difflib import get_close_matches
from typing import Any

import h5py
import numpy as np

from decomp.files.atomic import PathLike, atomic_path
from decomp.model.instance import OPTIONAL, SECOND_STAGE, Array, InputError, Table, dims_by_scenario
from decomp.model.strict import shown

SCHEMA_VERSION = 1
CHUNK_BYTES = 1 << 16  # of a (row, period) dataset: some 85 sites at 96 periods
FILTERS = {"deflate", "shuffle", "fletcher32"}  # part of every HDF5; others would load plugins
NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable."


# ---------------------------------------------------------------- writing


@contextmanager
def new_file(path: PathLike) -> Iterator[h5py.File]:
    """A new file that takes its place whole at the end, in the format of HDF5 1.10, which checksums its structure.

    It is made in memory: HDF5 cannot close a file that did not fit on the disk.
    """
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", libver=("v110", "v110"), driver="core", backing_store=False) as file:
            yield file
            file.flush()
            image = file.id.get_file_image()
        temporary.write_bytes(image)


def write_attributes(target: h5py.Group | h5py.Dataset, **values: Any) -> None:
    """Attributes; text is of fixed length, which every netCDF reader shows as plain characters."""
    for name, value in values.items():
        if isinstance(value, str):
            value = np.array(value.encode(), dtype=h5py.string_dtype("utf-8", max(1, len(value.encode()))))
        target.attrs[name] = value


def create_dimension(file: h5py.File, dim: str, size: int) -> None:
    """A dimension that has a length but no coordinate, as netCDF-4 writes it."""
    file.create_dataset(dim, shape=(size,), dtype=">f4").make_scale(f"{NO_VARIABLE}{size:10d}")


def create_dataset(group: h5py.Group, name: str, array: Array, kind: str, unit: str, long_name: str) -> h5py.Dataset:
    """One dataset: text as variable-length UTF-8, booleans as int8 flags, large arrays in compressed blocks of rows."""
    how: dict[str, Any] = {}
    if array.ndim > 1 and array.nbytes > CHUNK_BYTES:
        *outer, rows, columns = array.shape
        block = max(1, min(rows, CHUNK_BYTES // (8 * columns)))
        chunks = (*(1 for _ in outer), block, columns)
        how = dict(chunks=chunks, compression="gzip", compression_opts=1, shuffle=True)
    elif array.nbytes > CHUNK_BYTES and kind != "U":
        how = dict(chunks=(CHUNK_BYTES // 8,), compression="gzip", compression_opts=1, shuffle=True)
    if kind == "U":
        dataset = group.create_dataset(name, data=array.astype(object), dtype=h5py.string_dtype())
    elif kind == "f8":
        dataset = group.create_dataset(name, data=np.asarray(array, "f8"), fillvalue=np.nan, **how)
        write_attributes(dataset, _FillValue=np.array([np.nan]))
    else:
        dataset = group.create_dataset(name, data=np.asarray(array, "i1" if kind == "?" else kind), **how)
    if kind == "?":
        # xarray knows booleans by `dtype`; flags are CF's way
        write_attributes(dataset, dtype="bool", flag_values=np.array([0, 1], "i1"), flag_meanings="false true")
    write_attributes(dataset, units=unit, long_name=long_name)
    return dataset


def write_table(file: h5py.Group, name: str, *tables: Table, along: str = "", scenarios: int = 0) -> None:
    """A group with a table's arrays, on the dimensions at the root; those of several `along` one more dimension.

    `scenarios` : what answers each of so many has the scenario as a dimension of its own.
    """
    group = file.create_group(name, track_order=True)
    write_attributes(group, long_name=(type(tables[0]).__doc__ or "").split("\n")[0])
    for f in tables[0].columns():
        meta, arrays = f.metadata, [getattr(table, f.name) for table in tables]
        array, dims = (np.stack(arrays), (along, *meta["dims"])) if along else (arrays[0], meta["dims"])
        if scenarios:
            flat = tuple(file.file[dim].shape[0] * (scenarios if dim in SECOND_STAGE else 1) for dim in dims)
            dims = dims_by_scenario(dims)
            array = array.reshape([file.file[dim].shape[0] for dim in dims]) if array.shape == flat else array
        shape = tuple(file.file[dim].shape[0] for dim in dims)
        if array.shape != shape:
            raise ValueError(f"{name}.{f.name}: shape {array.shape}, must be ({', '.join(dims)}) = {shape}")
        dataset = create_dataset(group, f.name, array, meta["kind"], meta["unit"], meta["long_name"])
        for axis, dim in enumerate(dims):
            dataset.dims[axis].attach_scale(file.file[dim])


# ---------------------------------------------------------------- reading


@contextmanager
def open_hdf5(path: PathLike, *formats: str) -> Iterator[h5py.File]:
    """The file, opened for reading, of one of the given formats; whatever goes wrong inside names the file."""
    with open(path, "rb"):  # for the operating system's own message if there is no such file
        pass
    label = os.fspath(path)
    try:
        if not h5py.is_hdf5(path):
            raise InputError("not an HDF5 file")
        with h5py.File(path, "r", locking="best-effort") as file:
            found = read_attribute(file, "format", str)
            if found not in formats:
                raise InputError(f"attribute format is {found!r}, must be {' or '.join(map(repr, formats))}")
            version = read_attribute(file, "schema_version", int)
            if version != SCHEMA_VERSION:
                raise InputError(f"schema_version is {version}, but this decomp reads version {SCHEMA_VERSION}")
            yield file
    except InputError as error:
        raise InputError(f"{label}: {error}") from error
    except BlockingIOError as error:
        raise InputError(f"{label}: in use by another program, which has it open for writing") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{label}: holds text that is not UTF-8") from error
    except (OSError, RuntimeError, KeyError, MemoryError) as error:
        reason = str(error).strip("'\"").splitlines() or [type(error).__name__]
        raise InputError(f"{label}: truncated or damaged: {reason[0]}") from error


def holds(path: PathLike, *formats: str) -> bool:
    """Whether there is a file, and it is of one of the given formats."""
    try:
        with open_hdf5(path, *formats):
            return True
    except (InputError, OSError):
        return False


def read_attribute(group: h5py.Group, name: str, kind: type) -> Any:
    """A scalar attribute as str, int or float."""
    label = _label(group, name)
    value = _get_attribute(group, name)
    if value is None:
        raise InputError(f"attribute {label} is missing")
    wanted: Any = {str: str, int: int, float: int | float}[kind]
    if not isinstance(value, wanted) or isinstance(value, bool):
        what = {str: "text", int: "an integer", float: "a number"}[kind]
        raise InputError(f"attribute {label} is {shown(value)}, must be {what}")
    return kind(value)


def _get_attribute(target: h5py.Group | h5py.Dataset, name: str) -> Any:
    """An attribute as plain text, number or list, arrays of one as what they hold; None if there is none."""
    try:
        value = target.attrs.get(name)
        if isinstance(value, np.ndarray | np.generic):
            value = value.item() if value.size == 1 else value.tolist()
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise InputError(f"attribute {_label(target, name)} holds text that is not UTF-8") from None


def _label(target: h5py.Group | h5py.Dataset, name: str) -> str:
    """What belongs to a group or a dataset, as it is named in a message."""
    return name if target.name == "/" else f"{target.name[1:].replace('/', '.')}.{name}"


def read_sizes(file: h5py.File, dims: Sequence[str]) -> dict[str, int]:
    """Length of every dimension, from the scales at the root; 0 for those that a file may lack."""
    sizes = {}
    for dim in dims:
        scale = file.get(dim)
        if scale is None and dim in OPTIONAL.values():
            sizes[dim] = 0
            continue
        if not isinstance(scale, h5py.Dataset) or scale.ndim != 1:
            raise InputError(f"dimension {dim} is missing")
        sizes[dim] = int(scale.shape[0])
    return sizes


def read_table(
    file: h5py.Group,
    name: str,
    cls: type[Table],
    sizes: Mapping[str, int],
    rows: Array | None = None,
    scenarios: int = 0,
    **scalars: Any,
) -> Any:
    """A table, or some rows of it; a dataset too few or too many is refused. Without scenarios there is no group.

    `scenarios` : as for `write_table`.
    """
    if name in OPTIONAL and name not in file and not sizes[OPTIONAL[name]]:
        return cls(*(np.zeros([sizes[dim] for dim in f.metadata["dims"]]) for f in cls.columns()))
    _check_group(file, name, cls)
    columns = {f.name: read_column(file, name, f, sizes, rows, scenarios=scenarios) for f in cls.columns()}
    return cls(**columns, **scalars)


def read_tables(
    file: h5py.Group, name: str, cls: type[Table], sizes: Mapping[str, int], along: str, scenarios: int = 0
) -> list[Any]:
    """Several tables, along one more dimension."""
    _check_group(file, name, cls)
    stacks = {f.name: read_column(file, name, f, sizes, along=along, scenarios=scenarios) for f in cls.columns()}
    return [cls(**{key: stack[k] for key, stack in stacks.items()}) for k in range(sizes[along])]


def _check_group(file: h5py.Group, name: str, cls: type[Table]) -> None:
    """Refuse a group that holds anything but the arrays of its table."""
    group = file.get(name)
    if not isinstance(group, h5py.Group):
        raise InputError(f"group {name} is missing")
    known = [f.name for f in cls.columns()]
    for extra in set(group) - set(known):
        near = get_close_matches(extra, known, 1)
        raise InputError(f"{name}.{extra}: no such dataset" + (f"; did you mean {near[0]}?" if near else ""))


def read_column(
    file: h5py.Group,
    table: str,
    column: Field[Any],
    sizes: Mapping[str, int],
    rows: Array | None = None,
    along: str = "",
    scenarios: int = 0,
) -> Array:
    """One array of a table, some rows of it, or that of several, after checking that it is what is declared."""
    key, meta = column.name, column.metadata
    dims = (along, *meta["dims"]) if along else meta["dims"]
    flat = [sizes[dim] * (scenarios if dim in SECOND_STAGE else 1) for dim in dims]
    if scenarios:
        dims = dims_by_scenario(dims)
    shape = tuple(sizes[dim] for dim in dims)
    if meta["later"] and file.get(f"{table}/{key}", getlink=True) is None:
        return np.full(shape if rows is None else (len(rows), *shape[1:]), meta["default"])
    dataset = find_dataset(file, f"{table}/{key}")
    if dataset.shape != shape:
        raise InputError(f"{table}.{key}: shape {dataset.shape}, must be ({', '.join(dims)}) = {shape}")
    unit = _get_attribute(dataset, "units")
    if not isinstance(unit, str) or unit != meta["unit"]:
        given = "no units attribute" if unit is None else f"units {shown(unit)}"
        raise InputError(f"{table}.{key}: {given}, must be {meta['unit']!r}")
    values = read_values(dataset, f"{table}.{key}", meta["kind"], rows)
    return values.reshape(flat) if scenarios else values


def find_dataset(file: h5py.Group, key: str) -> h5py.Dataset:
    """A dataset stored in this very file by filters that are part of HDF5; links to other files are not followed."""
    label = key.replace("/", ".")
    link = file.get(key, getlink=True, default=None)
    if link is None:
        raise InputError(f"{label}: dataset is missing")
    dataset = file[key] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise InputError(f"{label}: must be a dataset inside this file")
    packed = [name for name in ("scale_factor", "add_offset") if name in dataset.attrs]
    if packed:
        raise InputError(f"{label}: is packed ({', '.join(packed)}), must hold the values themselves")
    pipeline = dataset.id.get_create_plist()
    names = {pipeline.get_filter(k)[3].decode() for k in range(pipeline.get_nfilters())}
    if names - FILTERS:
        raise InputError(f"{label}: compressed by {', '.join(sorted(names))}, must be gzip or nothing")
    return dataset


def read_values(dataset: h5py.Dataset, label: str, kind: str, rows: Array | None = None) -> Array:
    """The numbers or texts of a dataset, refusing types that do not convert without loss."""
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    allowed = {"f8": "fiu", "i8": "iu", "?": "iub", "U": ""}[kind]
    fits = is_text if kind == "U" else not is_text and dataset.dtype.kind in allowed
    if not fits:
        what = {"f8": "real numbers", "i8": "integers", "?": "0 or 1", "U": "text"}[kind]
        raise InputError(f"{label}: holds values of type {dataset.dtype}, must be {what}")
    if kind == "U":
        try:
            text: Array = np.array(dataset.asstr()[...], dtype=str).reshape(dataset.shape)
        except UnicodeDecodeError:
            raise InputError(f"{label}: holds text that is not UTF-8") from None
        return text if rows is None else text[rows]
    values = _rows(dataset, rows)
    if kind == "?" and np.any((values != 0) & (values != 1)):
        raise InputError(f"{label}: holds {values[(values != 0) & (values != 1)][0]}, must be 0 or 1")
    return values


def _rows(dataset: h5py.Dataset, rows: Array | None) -> Array:
    """Some rows of a dataset, reading only the blocks of rows that they lie in."""
    if rows is None or dataset.chunks is None:
        values: Array = dataset[...]
        return values if rows is None else values[rows]
    step = dataset.chunks[0]
    block = rows // step
    out: Array = np.empty((len(rows), *dataset.shape[1:]), dataset.dtype)
    for b in np.unique(block):
        mine = np.flatnonzero(block == b)
        out[mine] = dataset[b * step : (b + 1) * step][rows[mine] - b * step]
    return out
