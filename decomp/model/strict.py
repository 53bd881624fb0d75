"""Values as arrays of a declared kind, or a refusal: nothing is rounded, parsed, masked or guessed on the way.

Lists, arrays of any layout and byte order, pandas and xarray objects are all taken, provided that what they hold is
already of the kind: a whole number may come as 3.0, a flag as 0 or 1, but not a fraction as an integer, text as a
number or a flag, a flag as a number, a number as text, or what is missing as anything.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

WORDS = {"f8": "a number", "i8": "an integer (of 64 bits)", "?": "true or false", "U": "text"}
TYPES: dict[str, Any] = {"f8": np.float64, "i8": np.int64, "?": np.bool_, "U": np.str_}
KINDS: dict[type, str] = {float: "f8", int: "i8", bool: "?", str: "U"}
NUMERIC = {"f8": "fiu", "i8": "fiu", "?": "fiub"}  # kinds of arrays whose values are looked at one by one
LONGEST_TEXT = 60  # of a value that is shown


class InputError(ValueError):
    """Input that cannot be scheduled: says which dataset, where, the value, and what would be right."""


def plain(value: Any, where: str) -> Array:
    """A value as an array of numpy's own, of whatever kind it is.

    Raises
    ------
    InputError : it is masked somewhere, its rows differ in length, or it cannot be read at all.
    """
    kinds = _kinds(value)
    if "masked" in kinds:
        index = np.argwhere(np.ma.getmaskarray(np.ma.array(value)))[0].tolist()
        raise InputError(f"{where}: the value at {index} is masked, must be there")
    try:
        # Of a mixed list numpy would make text, or numbers of flags, and it cuts text: so each item is looked at.
        return np.array(value, dtype=object) if len(kinds) > 1 or kinds == {"text"} else np.asarray(value)
    except Exception as error:  # whatever foreign objects raise
        raise InputError(f"{where}: {shown(value)} cannot be read as an array: {error}".split("\n")[0]) from error


def _kinds(value: Any) -> set[str]:
    """What a list holds: flags "b", numbers "n", "text", numpy's letter of other arrays, "masked", "O" for the rest."""
    if isinstance(value, list | tuple):
        return set().union(*map(_kinds, value))
    if isinstance(value, np.ma.MaskedArray):
        return {"masked"} if np.ma.is_masked(value) else _kinds(value.data)
    if isinstance(value, np.ndarray | np.generic):
        return {"n" if value.dtype.kind in "fiu" else value.dtype.kind}
    if isinstance(value, Real):
        return {"b" if isinstance(value, bool) else "n"}
    return {"text" if isinstance(value, str) else "O"}


def misfits(array: Array, kind: str) -> Array:
    """Which values are not of a kind: "f8", "i8", "?" or "U"."""
    given = array.dtype.kind
    if given == "O":
        return ~np.asarray(np.frompyfunc(lambda item: _fits(item, kind), 1, 1)(array), dtype=bool)
    if given in NUMERIC.get(kind, ""):
        return _misfit_numbers(array, kind)
    return np.broadcast_to(kind != "U" or given not in "UT", array.shape)


def _misfit_numbers(array: Array, kind: str) -> Array:
    if kind == "?":
        return (array != 0) & (array != 1)
    if kind == "i8" and array.dtype.kind != "i":
        return ~((abs(array) < 2**63) & (array == np.floor(array)))
    if kind == "f8" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            return np.isinf(array.astype(float)) & np.isfinite(array)
    return np.broadcast_to(False, array.shape)


def _fits(item: Any, kind: str) -> bool:
    if kind == "U":
        return isinstance(item, str) and not item.endswith("\0")  # which numpy would leave out
    if not isinstance(item, Real | np.bool_):
        return False
    try:
        number = np.asarray(item if isinstance(item, bool | np.generic) else float(item))
    except OverflowError:
        return False
    return number.dtype.kind in NUMERIC[kind] and not _misfit_numbers(number, kind)


def converted(array: Array, kind: str) -> Array:
    """A copy, row by row and read-only, of an array that has no misfits."""
    if array.size == 0:
        array = np.empty(array.shape, TYPES[kind])
    array = np.array(array, dtype=TYPES[kind], order="C")
    array.setflags(write=False)
    return array


def scalar(value: Any, wanted: type, where: str, what: str = "") -> Any:
    """A single value as float, int, bool or str; `what` says what is right, if it is more than the kind."""
    array, kind = plain(value, where), KINDS[wanted]
    if array.ndim or misfits(array, kind):
        raise InputError(f"{where}: {shown(value)}, must be {what or WORDS[kind]}")
    return converted(array, kind).item()


def shown(value: Any) -> str:
    """A value as it is written in a message; of large things the type."""
    if hasattr(value, "__len__") and not isinstance(value, str | bytes | list | tuple | dict) or is_dataclass(value):
        return type(value).__name__
    text = " ".join(repr(value.item() if isinstance(value, np.generic) else value).split())
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."


def count(value: Any, where: str) -> int:
    """A number of things."""
    number: int = scalar(value, int, where, what := "an integer of at least 0")
    if number < 0:
        raise InputError(f"{where}: {number}, must be {what}")
    return number


def instance_of(value: Any, wanted: type, where: str) -> None:
    """Refuse what is not an object of a class."""
    if not isinstance(value, wanted):
        raise InputError(f"{where}: {shown(value)}, must be of type {wanted.__name__}")
