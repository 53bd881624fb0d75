"""What all checks of an instance share: how a refusal is worded, and the checks that the fields of a table declare.

Ranges, units and shapes come from the metadata of the fields.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from decomp.model.table import Array, InputError, Table

PRICE_LIMIT = 1e6  # USD per MWh, GPU h, ...: beyond it units were mixed up
INTENSITY_LIMIT = 10.0  # t/MWh; coal emits 1
NUMBER_LIMIT = 1e12  # of anything
LEAST_COEFFICIENT = 2e-8  # times the hours of a period, 1/12 or more, it is above 1e-9, below which solvers drop it
TINY = 1e-30  # what is smaller is no matter of units
LEAST_SLOPE = 1e-6  # MW/GPU: a watt; with less, what a GPU costs is lost in solvers' tolerances

Label = Callable[[int], str]


def named(kind: str, names: Array) -> Label:
    return lambda k: f"{kind} {str(names[k])!r}"


def refuse(bad: Array, where: str, label: Label, text: str, second: str = "period", **values: Array) -> None:
    """Raise InputError for the first row (and column) that is bad; `text` is formatted with the values there."""
    if not bad.any():
        return
    index = tuple(int(k) for k in np.unravel_index(np.argmax(bad), bad.shape))
    place = label(index[0]) + "".join(f", {second} {k}" for k in index[1:])
    there = {name: value[index[: value.ndim]] for name, value in values.items()}
    raise InputError(f"{where}: {place}: {text.format(**there)}")


def check_dimensions(name: str, table: Table) -> None:
    for f in table.columns():
        dims, array = f.metadata["dims"], getattr(table, f.name)
        if array.ndim != len(dims):
            raise InputError(f"{name}.{f.name}: shape {array.shape}, must be ({', '.join(dims)})")


def check_shapes(name: str, table: Table, sizes: Mapping[str, int]) -> None:
    for f in table.columns():
        dims, array = f.metadata["dims"], getattr(table, f.name)
        shape = tuple(sizes[dim] for dim in dims)
        if array.shape != shape:
            raise InputError(f"{name}.{f.name}: shape {array.shape}, must be ({', '.join(dims)}) = {shape}")


def check_columns(name: str, table: Table, label: Label) -> None:
    """Every number of a table is finite and in its declared range, every text printable."""
    for f in table.columns():
        check_column(f"{name}.{f.name}", f.metadata, getattr(table, f.name), label)


def check_column(where: str, meta: Mapping[str, Any], array: Array, label: Label) -> None:
    if meta["kind"] == "U":
        if not "".join(array.tolist()).isprintable():
            bad = np.array([not text.isprintable() for text in array.tolist()])
            refuse(bad, where, label, "must be printable text")
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
    legal = f"between {low:g} and {high:g}{unit}" + " or inf" * meta["infinite"]
    refuse(bad, where, label, f"{{value:g}}{unit}, must be {legal}", meta["dims"][-1], value=array)


def _check_coefficients(where: str, array: Array, label: Label, meta: Mapping[str, Any]) -> None:
    """Nothing is so small, but not 0, that a solver leaves it out; else in which unit the load fits."""
    sizes, advice = np.abs(array), ""
    unit = "" if meta["unit"] == "1" else f" {meta['unit']}"
    least = LEAST_SLOPE if unit == " MW/GPU" else LEAST_COEFFICIENT
    small = (sizes > 0) & (sizes < least)
    if small.any() and "GPU" in unit:
        factor = 1000.0 ** np.ceil(np.log10(least / max(sizes[small].min(), TINY)) / 3)
        advice = f"; give load in units of {factor if unit == ' MW/GPU' else 1 / factor:,.15g} GPU"
    text = f"{{value:g}}{unit}, which solvers drop, must be 0 or at least {least:g}{unit}{advice}"
    refuse(small, where, label, text, meta["dims"][-1], value=array)


def check_names(table: str, kind: str, names: Array) -> None:
    """Every row has a name of its own, which looks like no other."""
    row: Label = lambda k: f"{kind} {k}"  # noqa: E731
    looks = np.array([seen(name) for name in names.tolist()], dtype=str)
    refuse(looks == "", f"{table}.name", row, "has no name")
    twice = repeated(np.unique(looks, return_inverse=True)[1])
    refuse(twice, f"{table}.name", row, "the name {name!r} is taken", name=names.astype(object))


def seen(name: str) -> str:
    """What a name looks like, whatever blanks are around and in it and however its letters are composed."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def repeated(keys: Array) -> Array:
    """(n,) whether an equal key occurs earlier."""
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return ~first


def row_named(names: Array, name: str, kind: str) -> int:
    """The row of a table whose rows are each a `kind`, by its name.

    Raises
    ------
    InputError : there is none of this name; says which there are.
    """
    found = np.flatnonzero(np.array([seen(other) for other in names.tolist()], dtype=str) == seen(name))
    if not len(found):
        known = [*map(str, names[:8]), *(["..."] if len(names) > 8 else [])]
        raise InputError(f"{kind} {name!r}: no such {kind}; there are {', '.join(known) or 'none'}")
    return int(found[0])


def check_index(name: str, table: Any, row: str, column: str, size: int) -> None:
    index = getattr(table, column)
    legal = f"must be an index of a {column}, 0 to {size - 1}" if size else f"but there is no {column}"
    bad = (index < 0) | (index >= size)
    refuse(bad, f"{name}.{column}", lambda k: f"{row} {k}", f"{{value}}, {legal}", value=index)
