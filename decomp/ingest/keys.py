"""Strict reading of TOML tables into frozen records.

Every key is declared once with `key`: meaning, unit, default, range. Unknown keys, wrong types and values out
of range are refused with their dotted place.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, field, fields, is_dataclass, replace
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from decomp.model.instance import InputError
from decomp.model.toml import tomllib

T = TypeVar("T")


def key(
    text: str,
    default: Any = MISSING,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    among: str = "",
    filled: bool = False,
) -> Any:
    """Declare a key: meaning (with its unit), default (none: required), range, legal words; `filled`: no empty list."""
    meta = dict(text=text, low=low, high=high, among=tuple(among.split()), filled=filled)
    if isinstance(default, (list, dict)) or callable(default):
        make = default if callable(default) else type(default)
        return field(default_factory=make, metadata=meta)
    return field(default=default, metadata=meta)


@contextmanager
def within(place: str) -> Iterator[None]:
    """Prefix the place to every refusal raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def record(cls: type[T], table: Any, place: str) -> T:
    """Read a TOML table into a frozen record; unknown, missing and illegal keys are refused."""
    if not isinstance(table, dict):
        raise InputError(f"{place}: must be a table, not {table!r}")
    if prepare := getattr(cls, "prepare", None):
        table = prepare(table, place)
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for name in table:
        if name not in known:
            raise InputError(f"{_join(place, name)}: no such key; known are {', '.join(known)}")
    kinds = get_type_hints(cls)
    values = {}
    for name, f in known.items():
        if name in table:
            values[name] = _convert(kinds[name], table[name], _join(place, name), f.metadata)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise InputError(f"{_join(place, name)}: missing ({f.metadata['text']})")
    return cls(**values)


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _convert(kind: Any, value: Any, place: str, meta: Any) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert(_kind_of(value, get_args(kind)), value, place, meta)
    if is_dataclass(kind):
        return record(kind, value, place)  # type: ignore[arg-type]
    if origin is list:
        if not isinstance(value, list) or (meta["filled"] and not value):
            some = " of one or more" if meta["filled"] else ""
            raise InputError(f"{place} = {value!r}: must be a list{some} ({meta['text']})")
        return [_convert(get_args(kind)[0], v, f"{place}.{_label(v, k)}", meta) for k, v in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{place} = {value!r}: must be a table ({meta['text']})")
        return {k: _convert(get_args(kind)[1], v, f"{place}.{k}", meta) for k, v in value.items()}
    return _scalar(kind, value, place, meta)


def _kind_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    """The one of several kinds that a value is; the first if it is none."""
    known = int | float if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)
    return next((k for k in kinds if (get_origin(k) or k) in (get_args(known) or (known,))), kinds[0])


def _label(value: Any, k: int) -> str:
    return str(value.get("name", k)) if isinstance(value, dict) else str(k)


def _scalar(kind: Any, value: Any, place: str, meta: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and number:
        value = float(value)
    if type(value) is not kind:
        word = {float: "a number", int: "a whole number", str: "a string", bool: "true or false"}[kind]
        raise InputError(f"{place} = {value!r}: must be {word} ({meta['text']})")
    if number and not meta["low"] <= value <= meta["high"]:
        raise InputError(f"{place} = {value}: must be within {meta['low']:g} … {meta['high']:g} ({meta['text']})")
    if meta["among"] and value not in meta["among"]:
        raise InputError(f"{place} = {value!r}: must be one of {', '.join(meta['among'])}")
    return value


def merge(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `extra` over it, table by table; a series is replaced whole."""
    merged = dict(base)
    for name, value in extra.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            merged[name] = {**base[name], **value} if name == "series" else merge(base[name], value)
        else:
            merged[name] = value
    return merged


def override(tree: dict[str, Any], text: str) -> None:
    """Apply one key=value setting; an empty value removes the key, list members go by name or number."""
    dotted, equals, value = text.partition("=")
    path = [p.strip() for p in dotted.split(".")]
    if not equals or not all(path):
        raise InputError(f"--set {text}: must look like key=value, for example horizon.start=2022-07-15")
    node: Any = tree
    for name in path[:-1]:
        node = _member(node, name, text) if isinstance(node, list) else node.setdefault(name, {})
        if not isinstance(node, (dict, list)):
            raise InputError(f"--set {text}: {name} is not a table")
    if isinstance(node, list):
        raise InputError(f"--set {text}: a key must follow the name of a list's member")
    if value.strip() == "":
        node.pop(path[-1], None)
        return
    try:
        node[path[-1]] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        node[path[-1]] = value


def _member(members: list[Any], name: str, text: str) -> Any:
    names = [str(m.get("name", "")) if isinstance(m, dict) else "" for m in members]
    if name in names:
        return members[names.index(name)]
    if name.isdigit() and int(name) < len(members):
        return members[int(name)]
    raise InputError(f"--set {text}: no member {name!r}; there are {', '.join(names)}")


def fill(item: T, tags: dict[str, str]) -> T:
    """A record with the {placeholders} of its texts filled in."""
    changes: dict[str, Any] = {}
    for f in fields(item):  # type: ignore[arg-type]
        value = getattr(item, f.name)
        if isinstance(value, str) and "{" in value:
            changes[f.name] = _fill(value, tags)
        elif isinstance(value, dict):
            changes[f.name] = {k: _fill(v, tags) for k, v in value.items()}
    return replace(item, **changes)  # type: ignore[type-var]


def _fill(text: Any, tags: dict[str, str]) -> Any:
    if isinstance(text, list):
        return [_fill(member, tags) for member in text]
    if not isinstance(text, str):
        return text

    def tag(match: re.Match[str]) -> str:
        if match[1] not in tags:
            raise InputError(f"{text!r}: no placeholder {match[0]}; there are {', '.join(tags)}")
        return tags[match[1]]

    return re.sub(r"\{(\w*)\}", tag, text)


def key_reference(cls: type[Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Dotted name, meaning and default of every key of the spec."""
    kinds = get_type_hints(cls)
    for f in fields(cls):
        kind, name = kinds[f.name], _join(prefix, f.name)
        inner = next((k for k in (kind, *get_args(kind)) if is_dataclass(k)), None)
        if inner is not None:
            mark = {dict: ".NAME", list: "[]"}.get(get_origin(kind) or kind, "")
            yield from key_reference(inner, name + mark)  # type: ignore[arg-type]
            continue
        usual: Any = f.default
        if usual is MISSING:
            usual = f.default_factory() if callable(f.default_factory) else "required"
        words = f" ({' | '.join(f.metadata['among'])})" if f.metadata["among"] else ""
        yield name, f"{f.metadata['text']}{words}", str(usual)
