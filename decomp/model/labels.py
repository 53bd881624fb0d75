"""Labels of pandas and xarray objects: they must say what a field counts along each axis, in its order.

Only the values of such an object go into a table. If its rows were those of other sites, or its columns other hours,
nothing later could tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from decomp.model.strict import Array, InputError, scalar
from decomp.model.times import parse_utc

Starts = Callable[[], Array]  # when each period starts, UTC, datetime64[s]; asked for only where times are labels


def starts_of(start_utc: Any, period_h: Any, n_periods: int) -> Starts:
    """When each of so many periods starts."""

    def starts() -> Array:
        first = np.datetime64(parse_utc(scalar(start_utc, str, "start_utc")).replace(tzinfo=None), "s")
        after = 3600.0 * scalar(period_h, float, "period_h") * np.arange(n_periods)
        return np.asarray(first + np.round(after).astype("m8[s]"))

    return starts


def names_of(values: Iterable[Any]) -> Array | None:
    """Names of rows that the first labelled of some values says: the distinct texts along its first axis."""
    for value in values:
        for _, index in _axes(value)[:1]:
            if index is not None and _is_text(index) and len(set(index)) == len(index):
                return np.array(list(index), dtype=str)
    return None


def check_labels(
    where: str, value: Any, dims: tuple[str, ...], names: Mapping[str, Any], starts: Starts | None = None
) -> None:
    """Refuse a value of pandas or xarray whose axes are other ones than `dims`, or are labelled in another order.

    Parameters
    ----------
    where : what the value is, for the message.
    names : of the rows of each dimension that has names, as they are given.
    starts : of the periods; without them times are not compared.

    Raises
    ------
    InputError : names the axis, the label, and what would be right.
    """
    axes = _axes(value)
    for dim, (axis, index) in zip(dims[len(dims) - len(axes) :], axes, strict=False):
        if axis != dim and axis in dims:
            raise InputError(f"{where}: dimensions are {', '.join(a for a, _ in axes)}, must be {', '.join(dims)}")
        times = None if index is None else _times(index, dim == "period")
        if times is not None and dim != "period" and "period" in dims:
            raise InputError(f"{where}: the {dim}s are labelled with times; dimensions must be {', '.join(dims)}")
        if times is not None and dim == "period" and starts is not None:
            _compare_times(where, times, starts())
        elif index is not None and dim == "period" and index.dtype.kind in "iufm":
            _check_rising(where, index)
        elif index is not None and dim in names and _is_text(index):
            _compare_names(where, dim, list(index), np.asarray(names[dim], dtype=object).ravel().tolist())


def _axes(value: Any) -> list[tuple[str, Any]]:
    """Name and labels (None: there are none) of each axis of a pandas or xarray object; of others nothing."""
    if hasattr(value, "dims") and hasattr(value, "indexes"):
        return [(str(dim), value.indexes.get(dim)) for dim in value.dims]
    axes = value.axes if hasattr(value, "axes") and hasattr(value, "iloc") else ()
    return [(str(index.name), index) for index in axes]


def _is_text(index: Any) -> bool:
    return len(index) > 0 and all(isinstance(label, str) for label in index)


def _times(index: Any, also_text: bool) -> Array | None:
    """Labels that are times, UTC, datetime64[s]; text counts where it is a time by ISO 8601 throughout."""
    if hasattr(index, "to_timestamp"):  # pandas' spans of time
        index = index.to_timestamp()
    if index.dtype.kind == "M":
        return np.asarray(index.to_numpy("M8[ns]").astype("M8[s]"))
    if not also_text or not _is_text(index):
        return None
    try:
        return np.array([parse_utc(label).replace(tzinfo=None) for label in index], dtype="M8[s]")
    except InputError:
        return None


def _compare_times(where: str, times: Array, starts: Array) -> None:
    near = np.abs(times - starts) <= np.timedelta64(1, "s") if len(times) == len(starts) else np.ones(1, dtype=bool)
    if not near.all():
        k = int(np.argmin(near))
        mend = "say start_utc" if k == 0 else "a time is missing, twice or out of order, or period_h is another"
        raise InputError(f"{where}: period {k} is labelled {times[k]}Z, but starts at {starts[k]}Z; {mend}")


def _check_rising(where: str, index: Any) -> None:
    """Numbers and durations along the periods rise."""
    fallen = np.flatnonzero(~(index[1:] > index[:-1]))
    if len(fallen):
        k = int(fallen[0])
        raise InputError(
            f"{where}: period {k + 1} is labelled {index[k + 1]}, after {index[k]}; put the periods in order"
        )


def check_rows(table: str, values: Mapping[str, Any], rank: Mapping[str, int]) -> None:
    """Refuse fields of one table whose rows have the same numbers as labels, but in another order.

    Parameters
    ----------
    rank : number of dimensions of each field.
    """
    first: tuple[str, Array] | None = None
    for name, value in values.items():
        axes = _axes(value)
        if len(axes) != rank.get(name) or axes[0][1] is None or axes[0][1].dtype.kind not in "iu":
            continue
        mine = np.asarray(axes[0][1])
        if first is None:
            first = name, mine
        elif not np.array_equal(first[1], mine) and np.array_equal(np.sort(first[1]), np.sort(mine)):
            k = int(np.argmin(first[1] == mine))
            raise InputError(
                f"{table}.{name}: row {k} is labelled {mine[k]}, but that of {table}.{first[0]} {first[1][k]}; put the "
                "rows in the same order"
            )


def _compare_names(where: str, dim: str, labels: list[str], names: list[Any]) -> None:
    if len(labels) == len(names) and labels != names:
        k = next(k for k, name in enumerate(names) if labels[k] != name)
        raise InputError(
            f"{where}: row {k} is labelled {labels[k]!r}, but {dim} {k} is {names[k]!r}; put the rows in the order "
            f"of {dim}s.name, or give their values alone if the labels are no names"
        )
