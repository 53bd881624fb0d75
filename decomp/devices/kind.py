"""What a kind of device is: settings with units, and a draft of its variables and rows for a given site."""

from __future__ import annotations

import re
from dataclasses import Field, dataclass, field, fields
from typing import Any

import numpy as np

from decomp.devices.draft import Draft
from decomp.model.instance import Array, InputError, Microgrids
from decomp.model.strict import scalar


def setting(default: Any, unit: str, text: str, *, low: float = 0.0, high: float = np.inf) -> Any:
    """A field of a kind: default, unit, meaning, and the range of its values; None as default: by the site's size."""
    return field(default=default, metadata=dict(unit=unit, text=text, low=low, high=high))


@dataclass(frozen=True)
class Kind:
    """Settings of a device; a subclass says what they make of a site."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None or f.default is not None:
                object.__setattr__(self, f.name, _checked(value, f, self.called()))

    @classmethod
    def called(cls) -> str:
        """Name of the kind in the library, as `fuel_cell` of FuelCell."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def settings(cls) -> tuple[Field[Any], ...]:
        """The settings, with unit, text and range as metadata."""
        return fields(cls)

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Kind:
        """The kind with settings by name, numbers and flags also as text.

        Raises
        ------
        InputError : a setting that it does not have, or a value out of its range.
        """
        known: dict[str, Field[Any]] = {f.name: f for f in cls.settings()}
        for name in settings:
            if name not in known:
                raise InputError(f"{cls.called()} has no setting {name!r}; it has {', '.join(known)}")
        return cls(**{name: _read(value, known[name], cls.called()) for name, value in settings.items()})

    def draft(self, site: Place) -> Draft:
        """The device's variables and rows at a site."""
        raise NotImplementedError


def _checked(value: Any, f: Field[Any], kind: str) -> Any:
    """A value of the setting's type and in its range; numbers are finite."""
    meta, wanted = f.metadata, type(f.default) if isinstance(f.default, bool | str) else float
    value = scalar(value, wanted, f"{kind}.{f.name}", f"a number ({meta['unit']})" if wanted is float else "")
    if wanted is float and not (meta["low"] <= value <= meta["high"] and np.isfinite(value)):
        ends = f"at least {meta['low']:g}" if np.isinf(meta["high"]) else f"{meta['low']:g} to {meta['high']:g}"
        legal = ends if np.isfinite(meta["low"]) and value < np.inf else "finite"
        unit = "" if meta["unit"] == "1" else f" {meta['unit']}"
        raise InputError(f"{kind}.{f.name}: {value:g}{unit}, must be {legal}")
    return value


def _read(value: Any, f: Field[Any], kind: str) -> Any:
    """A value, text as what the setting is."""
    if not isinstance(value, str) or isinstance(f.default, str):
        return value
    if isinstance(f.default, bool):
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise InputError(f"{kind}.{f.name}: {value!r}, must be true or false")
    try:
        return float(value)
    except ValueError:
        raise InputError(f"{kind}.{f.name}: {value!r}, must be a number ({f.metadata['unit']})") from None


@dataclass(frozen=True, eq=False)
class Place:
    """A site that gets a device: its tables, with one site in them, and the length of a period in hours."""

    grids: Microgrids
    hours: float

    def series(self, name: str) -> Array:
        """A time series of the site (period,)."""
        return np.asarray(getattr(self.grids.sites, name)[0])

    @property
    def periods(self) -> Array:
        return np.arange(self.grids.sites.capacity_gpu.shape[1])

    @property
    def full_it_mw(self) -> Array:
        """IT power at full load (period,), MW."""
        sites = self.grids.sites
        return np.asarray(np.maximum(sites.it_power_mw(sites.capacity_gpu)[0], 0.0))

    @property
    def full_mw(self) -> float:
        """The most facility power in any period, MW."""
        return float((self.series("pue") * self.full_it_mw).max())
