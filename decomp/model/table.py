"""Tables of arrays whose fields carry their dimensions, unit, meaning and legal range.

Files, validation and documentation are all derived from these declarations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

import numpy as np

from decomp.model.labels import Starts, check_labels, check_rows
from decomp.model.strict import WORDS, Array, InputError, converted, misfits, plain, shown

__all__ = ["Array", "InputError", "Table", "var"]


def var(
    dims: str,
    unit: str,
    long_name: str,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    default: Any = None,
    kind: str = "f8",
    infinite: bool = False,
    missing: bool = False,
    later: bool = False,
    coefficient: bool = False,
) -> Any:
    """Declare an array field: dimensions (comma separated), unit, meaning, legal range, default.

    `infinite` admits +inf ("no limit"), and -inf where there is no `low`; `missing` admits NaN ("not known").
    `later`: the first files did not have it, so a file may lack it, and as long as it keeps its default it has no
    part in the content hash. A `coefficient` stands in the matrix of the model, where solvers
    leave out what is very small.
    """
    meta = dict(dims=tuple(dims.split(",")), unit=unit, long_name=long_name, low=low, high=high)
    meta |= dict(default=default, kind=kind, infinite=infinite, missing=missing, later=later, coefficient=coefficient)
    return field(metadata=meta)


@dataclass(frozen=True, eq=False)
class Table:
    """A set of arrays that share dimensions: of their declared kinds, or refused, and read-only."""

    def __post_init__(self) -> None:
        self.check_labels({f.name: getattr(self, f.name) for f in self.columns()})
        for f in self.columns():
            where, kind = f"{self.label()}.{f.name}", f.metadata["kind"]
            array = plain(getattr(self, f.name), where)
            if array.size and (bad := misfits(array, kind)).any():
                index = tuple(int(k) for k in np.unravel_index(np.argmax(bad), bad.shape))
                place = ", ".join(self._places(f, index))
                raise InputError(f"{where}: {place}: {shown(array[index])}, must be {WORDS[kind]}")
            object.__setattr__(self, f.name, converted(array, kind))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What was copied or pickled is read-only too: numpy's copies are not, and hashes of the content are kept."""
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        self.__dict__.update(state)

    def _places(self, f: Field[Any], index: tuple[int, ...]) -> Iterator[str]:
        """Where a value stands, dimension by dimension; rows by their name, as far as names are known."""
        for dim, k in zip(f.metadata["dims"], index, strict=False):
            own = f.name != "name" and dim == self.columns()[0].metadata["dims"][0]
            names: Any = getattr(self, "name", ()) if own else ()
            yield f"{dim} {str(names[k])!r}" if k < len(names) else f"{dim} {k}"

    @classmethod
    def label(cls) -> str:
        """Name of the table, as `pool_arcs` of PoolArcs."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def columns(cls) -> tuple[Field[Any], ...]:
        """The array fields (a subclass may add scalars, which carry no metadata)."""
        return tuple(f for f in fields(cls) if f.metadata)

    @classmethod
    def column(cls, name: str) -> Field[Any]:
        """The array field of a name."""
        return next(f for f in cls.columns() if f.name == name)

    @classmethod
    def given(cls, table: Any) -> dict[str, Any]:
        """What is given for a table, by field: in a dict, a data frame, or whatever else has keys; None: nothing."""
        if table is not None and not hasattr(table, "keys"):
            raise InputError(f"{cls.label()}: {shown(table)}, must be a dict of arrays")
        return {} if table is None else {key: table[key] for key in table.keys()}  # noqa: SIM118

    @classmethod
    def check_labels(cls, values: dict[str, Any], starts: Starts | None = None) -> None:
        """Refuse values of pandas and xarray that are labelled in another order than the rows or periods."""
        names = {cls.columns()[0].metadata["dims"][0]: values["name"]} if cls.columns()[0].name == "name" else {}
        for f in cls.columns():
            if f.name in values:
                check_labels(f"{cls.label()}.{f.name}", values[f.name], f.metadata["dims"], names, starts)
        check_rows(cls.label(), values, {f.name: len(f.metadata["dims"]) for f in cls.columns()})

    @classmethod
    def rows(cls, values: dict[str, Any]) -> int:
        """Number of rows: the length of the first field that is given in all its dimensions; 1 if none is."""
        for f in cls.columns():
            if f.name in values:
                array = plain(values[f.name], f"{cls.label()}.{f.name}")
                if array.ndim == len(f.metadata["dims"]):
                    return len(array)
        return min(len(values), 1)

    @classmethod
    def make(cls, sizes: dict[str, int], **values: Any) -> Any:
        """Build the table with every value broadcast to its dimensions; absent fields take their default."""
        known = {f.name for f in cls.columns()}
        for name in values:
            if name not in known:
                raise InputError(f"{cls.label()}.{name}: no such dataset; known are {', '.join(sorted(known))}")
        arrays = {}
        for f in cls.columns():
            value = values.get(f.name, f.metadata["default"])
            if value is None:
                raise InputError(f"{cls.label()}.{f.name}: missing, and it has no default")
            arrays[f.name] = cls._broadcast(f, value, sizes)
        return cls(**arrays)

    @classmethod
    def _broadcast(cls, f: Field[Any], value: Any, sizes: dict[str, int]) -> Array:
        """A value in the shape of its field; a list for a field of two dimensions is read along the second."""
        where, dims = f"{cls.label()}.{f.name}", f.metadata["dims"]
        array, shape = plain(value, where), tuple(sizes[d] for d in dims)
        if array.ndim == 1 and len(dims) == 2 and len(array) == shape[0] == shape[1] > 1:
            raise InputError(
                f"{where}: shape {array.shape}, may be one a {dims[0]} or one a {dims[1]}, "
                f"must be of shape ({len(array)}, 1) or (1, {len(array)})"
            )
        try:
            return np.broadcast_to(array, shape)
        except ValueError as error:
            raise InputError(f"{where}: shape {array.shape} does not fit ({', '.join(dims)}) = {shape}") from error

    def __str__(self) -> str:
        """What is in the table: name, dimensions with their lengths, unit, meaning."""
        lines = []
        for f in self.columns():
            shape = zip(f.metadata["dims"], getattr(self, f.name).shape, strict=True)
            dims = ", ".join(f"{dim} {length}" for dim, length in shape)
            lines.append(f"{f.name} ({dims}) [{f.metadata['unit']}]: {f.metadata['long_name']}")
        return "\n".join(lines)

    def take(self, rows: Any) -> Any:
        """The table restricted to some rows of its first dimension."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in self.columns()})

    def between(self, start: int, end: int) -> Any:
        """The table with the periods [start, end) of its time series."""
        timed = [f.name for f in self.columns() if f.metadata["dims"][-1] == "period"]
        return replace(self, **{name: getattr(self, name)[..., start:end] for name in timed})
