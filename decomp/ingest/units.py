"""What a series may hold: units, limits, and what no market or weather has."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from decomp.model.instance import Array, InputError

# Numbers that mean "missing" in many files and are refused as values.
SENTINELS = (9999.0, 9999.9, 99999.0, 999999.0, -99.0, -99.9, -999.0, -999.9, -9900.0, -9999.0, -9999.9, -99999.0)


@dataclass(frozen=True)
class Quantity:
    """Units with (factor, offset) to the first one, in which all else is told."""

    units: dict[str, tuple[float, float]] = field(default_factory=dict)
    low: float = -np.inf  # values below are refused
    high: float = np.inf  # values above are refused
    least_mean: float = 0.0  # a file whose mean magnitude is below is refused
    full_scale: float = 0.0  # values at most `clip` of this beyond 0 and full scale are clipped
    resample: str = "step"

    @property
    def unit(self) -> str:
        return next(iter(self.units), "USD/MWh")

    def text(self, value: float, digits: str = "g") -> str:
        """A value in the quantity's unit."""
        return f"{value:{digits}}{'' if self.unit == '1' else ' ' + self.unit}"


FRACTION = {"1": (1.0, 0.0), "%": (0.01, 0.0)}
PRICE = Quantity({}, -20_000, 20_000, 1.0)
FACTOR = Quantity(FRACTION, 0, 1, 0.01, 1.0, "linear")
QUANTITIES = {
    "price": PRICE,
    "sell_price": PRICE,
    "carbon": Quantity(
        {"t/MWh": (1.0, 0.0), "kg/MWh": (1e-3, 0.0), "g/kWh": (1e-3, 0.0), "kg/kWh": (1.0, 0.0),
         "lb/MWh": (0.45359237e-3, 0.0)},
        0, 1.6, 0.005,
    ),
    "temperature": Quantity(
        {"degC": (1.0, 0.0), "K": (1.0, -273.15), "degF": (5 / 9, -160 / 9)}, -75, 60, resample="samples"
    ),
    "pue": Quantity({"1": (1.0, 0.0)}, 1, 5, resample="linear"),
    "wind_speed": Quantity(
        {"m/s": (1.0, 0.0), "km/h": (1 / 3.6, 0.0), "mph": (0.44704, 0.0), "kn": (0.514444, 0.0)},
        0, 80, resample="samples",
    ),
    "wind_factor": FACTOR,
    "cloud": Quantity(FRACTION, 0, 1, 0.0, 1.0, "samples"),
    "irradiance": Quantity({"W/m2": (1.0, 0.0), "kW/m2": (1000.0, 0.0)}, 0, 1500, 1.0, 1500.0, "linear"),
    "solar_factor": FACTOR,
    "availability": Quantity(FRACTION, 0, 1, 0.01, 1.0),
    "requests": Quantity({"1/s": (1.0, 0.0), "1/min": (1 / 60, 0.0), "1/h": (1 / 3600, 0.0)}, 0),
    "demand": Quantity(FRACTION, 0, 20, 0.05),
}  # fmt: skip
OF_STREAMS = ("requests", "demand")  # all others are of sites


def check_rates(currencies: dict[str, float]) -> None:
    """Refuse another rate of the dollar than 1, and a currency that is given twice."""
    for name, rate in currencies.items():
        if sum(name.lower() == other.lower() for other in currencies) > 1:
            raise InputError(f"currencies.{name}: given twice, in other letters")
        if name.lower() == "usd" and rate != 1:
            raise InputError(f"currencies.{name} = {rate:g}: must be 1; a rate is the USD that a unit is worth")


def price_units(currencies: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Units of a price: every currency per MWh and per kWh."""
    known = {"usd": 1.0} | {k.lower(): v for k, v in currencies.items()}
    per = {"MWh": 1.0, "kWh": 1000.0}
    return {f"{name}/{unit}": (rate * size, 0.0) for name, rate in known.items() for unit, size in per.items()}


def conversion(name: str, unit: str, currencies: dict[str, float]) -> tuple[float, float]:
    """(factor, offset) from a unit to the quantity's own: USD/MWh, t/MWh, degC, m/s, W/m2, 1/s, 1."""
    if name not in ("price", "sell_price"):
        units = QUANTITIES[name].units
        if unit not in units:
            raise InputError(f"unit = {unit!r}: must be one of {', '.join(units)}")
        return units[unit]
    currency, _, per = unit.partition("/")
    if per not in ("MWh", "kWh"):
        raise InputError(f"unit = {unit!r}: must be CURRENCY/MWh or CURRENCY/kWh")
    units = price_units(currencies)
    if f"{currency.lower()}/{per}" not in units:
        known = ", ".join(dict.fromkeys(u.partition("/")[0] for u in units))
        raise InputError(f"unit = {unit!r}: no rate for {currency!r} in [currencies]; there are {known}")
    return units[f"{currency.lower()}/{per}"]


def better_unit(name: str, unit: str, raw: Array, factor: float, currencies: dict[str, float]) -> str:
    """Advice: the unit by which values as they stand in the file would be plausible."""
    quantity = QUANTITIES[name]
    units = price_units(currencies) if not quantity.units else quantity.units
    mine = conversion(name, unit, currencies)
    fitting = []
    for other, (scale, offset) in units.items():
        if not quantity.units and other.partition("/")[0] != unit.partition("/")[0].lower():
            continue
        if (scale, offset) != mine and not implausible(quantity, (raw * scale + offset) * factor):
            fitting.append(other)
    return f"unit = {' or '.join(map(repr, fitting[:2]))}?" if fitting else f"is unit = {unit!r} right?"


def implausible(quantity: Quantity, values: Array) -> str:
    """What no market or weather has in a file's values in the quantity's unit; "" if nothing."""
    values = values[~np.isnan(values)]
    if not values.size:
        return ""
    if values.max() > quantity.high * (1.05 if quantity.full_scale else 1.0):
        return quantity.text(values.max())
    if values.min() < quantity.low - 0.05 * quantity.full_scale:
        return quantity.text(values.min())
    present = np.abs(values[values != 0] if quantity.full_scale else values)
    if quantity.least_mean and present.size and present.mean() < quantity.least_mean:
        return f"a mean of {quantity.text(present.mean(), '.3g')}"
    return ""
