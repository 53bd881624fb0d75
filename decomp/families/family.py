"""What every generator family shares: settings with a meaning and a range, and the sizes a user may ask for.

A family is a frozen dataclass: its fields are the settings, its method `instance` makes the arrays. Every random
number comes from one `numpy.random.Generator` made from the seed, so the same request always gives the same arrays.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from decomp.model.instance import InputError, Instance
from decomp.model.strict import KINDS, WORDS, scalar


def setting(
    default: Any, meaning: str, *, low: float = -np.inf, high: float = np.inf, choices: tuple[str, ...] = ()
) -> Any:
    """Declare a setting: default, meaning with its unit, legal range or choices."""
    return field(default=default, metadata=dict(meaning=meaning, low=low, high=high, choices=choices))


@dataclass(frozen=True)
class Request:
    """The sizes a user asked for (None: the family's default) and the seed."""

    sites: int | None = None
    periods: int | None = None
    jobs: int | None = None
    streams: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Family:
    """Base of the families; `fixed` names the sizes that the family does not let a user choose."""

    fixed: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def settings(cls) -> dict[str, Field[Any]]:
        """The settings by name."""
        return {f.name: f for f in fields(cls)}

    @classmethod
    def configured(cls, name: str, given: dict[str, Any]) -> Family:
        """The family with some settings given, as values or as text.

        Raises
        ------
        InputError : unknown setting, or a value that is of the wrong type or out of range.
        """
        known = cls.settings()
        values = {}
        for key, value in given.items():
            if key not in known:
                raise InputError(f"family {name}: no setting {key!r}; known are {', '.join(known) or 'none'}")
            values[key] = _converted(f"family {name}, setting {key}", known[key], value)
        return cls(**values)

    def instance(self, request: Request) -> Instance:
        """Make the instance."""
        raise NotImplementedError


def _converted(place: str, known: Field[Any], value: Any) -> Any:
    """The value as the type of the setting's default, inside its range."""
    kind: type = type(known.default)
    meta = known.metadata
    if isinstance(value, str) and kind is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if value.lower() not in words:
            raise InputError(f"{place}: {value!r} is neither true nor false")
        value = words[value.lower()]
    if isinstance(value, str):
        try:
            value = kind(value)
        except ValueError as error:
            raise InputError(f"{place}: {value!r}, must be {WORDS[KINDS[kind]]}") from error
    converted = scalar(value, kind, place)
    if meta["choices"] and converted not in meta["choices"]:
        raise InputError(f"{place}: {value!r}; known are {', '.join(meta['choices'])}")
    if kind in (int, float) and not meta["low"] <= converted <= meta["high"]:
        raise InputError(f"{place}: {value!r} is outside {meta['low']:g} to {meta['high']:g}")
    return converted
