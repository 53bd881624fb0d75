"""Tables of arrays whose fields carry their dimensions, unit, meaning and legal range.

Files, validation and documentation are all derived from these declarations.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class InputError(ValueError):
    """Input that cannot be scheduled: says which dataset, where, the value, and what would be right."""


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
) -> Any:
    """Declare an array field: dimensions (comma separated), unit, meaning, legal range, default.

    `infinite` admits +inf ("no limit"), `missing` admits NaN ("not known"). `later`: the first files did not have it,
    so a file may lack it, and as long as it keeps its default it has no part in the content hash.
    """
    meta = dict(dims=tuple(dims.split(",")), unit=unit, long_name=long_name, low=low, high=high)
    meta |= dict(default=default, kind=kind, infinite=infinite, missing=missing, later=later)
    return field(metadata=meta)


@dataclass(frozen=True, eq=False)
class Table:
    """A set of arrays that share dimensions; arrays are converted, checked for type and made read-only."""

    def __post_init__(self) -> None:
        for f in self.columns():
            raw = np.asarray(getattr(self, f.name))
            kind = np.dtype(f.metadata["kind"]) if f.metadata["kind"] != "U" else np.dtype(str)
            try:
                array = np.array(raw, dtype=kind.type if kind.char == "U" else kind, order="C")
            except (TypeError, ValueError) as error:
                raise InputError(f"{self.label()}.{f.name}: {raw.dtype} values cannot be read as {kind}") from error
            array.setflags(write=False)
            object.__setattr__(self, f.name, array)

    @classmethod
    def label(cls) -> str:
        return cls.__name__.lower()

    @classmethod
    def columns(cls) -> tuple[Field[Any], ...]:
        """The array fields (a subclass may add scalars, which carry no metadata)."""
        return tuple(f for f in fields(cls) if f.metadata)

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
            shape = tuple(sizes[d] for d in f.metadata["dims"])
            try:
                arrays[f.name] = np.broadcast_to(np.asarray(value), shape)
            except ValueError as error:
                raise InputError(
                    f"{cls.label()}.{f.name}: shape {np.shape(value)} does not fit "
                    f"({', '.join(f.metadata['dims'])}) = {shape}"
                ) from error
        return cls(**arrays)

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
