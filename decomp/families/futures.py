"""Synthetic scenarios: what a forecast of a day may become, as errors that are correlated in time and over sites.

Errors are a common part and one of each row, both first-order autoregressions that start at zero with the horizon: near
hours are nearly known. Prices are off by a share of their mean, everything else by a factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.model.instance import Array, InputError, Instance
from decomp.model.scenarios import with_scenarios, without_scenarios


@dataclass(frozen=True)
class Errors:
    """Standard deviations of errors, relative, far from the start of the horizon.

    memory_h : hours in which an error falls to 1/e. shared : share of its variance that all sites have in common.
    cautious : wind and sun never less than forecast, where they may be curtailed, and carbon intensity never more; so
        whatever schedule was feasible by the forecast is so in every scenario.
    """

    price: float = 0.25
    wind: float = 0.3
    sun: float = 0.2
    demand: float = 0.1
    carbon: float = 0.1
    memory_h: float = 6.0
    shared: float = 0.6
    cautious: bool = False


def synthetic(instance: Instance, count: int, rng: np.random.Generator, errors: Errors = Errors()) -> Instance:
    """The instance with so many equally likely scenarios around its own series.

    Raises
    ------
    InputError : a count below 1.
    """
    if count < 1:
        raise InputError(f"scenarios: {count}, must be at least 1")
    sites, hours = instance.sites, instance.period_h
    n, demand = (count, instance.n_sites, instance.n_periods), instance.streams.demand_rps

    def factor(size: float, rows: int) -> Array:
        error = correlated(rng, (count, rows, instance.n_periods), hours, errors)
        return np.asarray(np.exp(size * error - 0.5 * size**2))

    rise = errors.price * np.abs(sites.buy_price).mean(axis=1)[:, None] * correlated(rng, n, hours, errors)
    series = dict(buy_price=sites.buy_price + rise, sell_price=sites.sell_price + rise)
    for name, size in (("wind_mw", errors.wind), ("solar_mw", errors.sun)):
        forecast = getattr(sites, name)
        most = forecast.max(axis=1, initial=0.0)[:, None]  # what is installed gives no more
        changed = np.minimum(forecast * factor(size, instance.n_sites), most)
        if errors.cautious:
            changed = np.where(sites.curtailable[:, None], np.maximum(changed, forecast), forecast)
        series[name] = changed
    series["carbon_intensity"] = sites.carbon_intensity * factor(errors.carbon, instance.n_sites)
    if errors.cautious:
        series["carbon_intensity"] = np.minimum(series["carbon_intensity"], sites.carbon_intensity)
    series["demand_rps"] = demand * factor(errors.demand, instance.n_streams)
    return with_scenarios(instance, np.full(count, 1.0 / count), series)


def with_futures(instance: Instance, count: int, errors: Errors = Errors()) -> Instance:
    """The instance as it is for a count of 0, else with synthetic scenarios drawn from its own seed."""
    return drawn(instance, count, instance.seed, errors=errors) if count else instance


def drawn(instance: Instance, count: int, *seed: int, errors: Errors = Errors()) -> Instance:
    """The instance with so many synthetic scenarios in place of its own; other seeds give others."""
    rng = np.random.default_rng([seed[0], count, *seed[1:]])
    return synthetic(without_scenarios(instance), count, rng, errors)


def correlated(rng: np.random.Generator, shape: tuple[int, int, int], period_h: float, errors: Errors) -> Array:
    """Errors (scenario, row, period) of unit variance far from the start, where they are zero."""
    count, rows, n_periods = shape
    keep = np.exp(-period_h / errors.memory_h)
    steps = rng.normal(size=(count, rows + 1, n_periods)) * np.sqrt(1.0 - keep**2)
    walk, at = np.zeros(steps.shape), np.zeros((count, rows + 1))
    for t in range(n_periods):
        at = keep * at + steps[:, :, t]
        walk[:, :, t] = at
    both: Array = np.sqrt(errors.shared) * walk[:, :1] + np.sqrt(1.0 - errors.shared) * walk[:, 1:]
    return both
