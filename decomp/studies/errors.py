"""What may come instead of the forecast: the errors of earlier days, made into futures of a window.

A day's errors of price and wind stay together. Only what was known at the hour of planning enters: forecasts made on
earlier days at the same hour, whose windows are over.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decomp.model.instance import Array, Instance
from decomp.studies.market import DAY, Case, Market, published, tariff_prices
from decomp.studies.window import Forecasts

FUTURES = 24  # of a window


def among_errors(market: Market, case: Case, count: int = FUTURES) -> Forecasts:
    """The `count` futures of each window whose days had forecasts most like the present one; fewer at the start."""
    before = market.before
    real, ahead, wind = (
        values if before is None else np.concatenate([getattr(before, name), values])
        for name, values in (
            ("real_time", market.real_time),
            ("day_ahead", market.day_ahead),
            ("wind_factor", market.wind_factor),
        )
    )
    first = len(real) - market.site.n_periods

    def forecast(origin: int, length: int) -> tuple[Array, Array]:
        return published(ahead, origin, origin + length), np.full(length, wind[max(origin - 1, 0)])

    def futures(instance: Instance, now: int, end: int) -> list[Instance]:
        length, origin = end - now, first + now
        price, blowing = forecast(origin, length)
        origins = range(origin - DAY, 0, -DAY)  # the window of the first ends now
        made = [forecast(o, length) for o in origins]
        came = [((ahead if case.tariff == "retail" else real)[o : o + length], wind[o : o + length]) for o in origins]
        away = [_apart(price, p, ahead.std()) + _apart(blowing, w, wind.std()) for p, w in made]
        chosen = np.argsort(away, kind="stable")[:count]
        errors = [(came[k][0] - made[k][0], came[k][1] - made[k][1]) for k in chosen] or [(0.0 * price, 0.0 * price)]
        return [_expected(instance, case, now, end, price + e, np.clip(blowing + f, 0.0, 1.0)) for e, f in errors]

    return futures


def _apart(a: Array, b: Array, spread: float) -> float:
    return float(np.mean((a - b) ** 2) / max(spread, 1e-9) ** 2)


def _expected(instance: Instance, case: Case, now: int, end: int, price: Array, wind: Array) -> Instance:
    """The instance with a price and a wind factor in periods [now, end)."""
    prices = np.zeros(instance.n_periods)
    prices[now:end] = price
    blows = instance.sites.wind_mw.copy()
    blows[0, now:end] = case.wind_mw * wind
    return replace(instance, sites=replace(instance.sites, wind_mw=blows, **tariff_prices(case.tariff, prices, prices)))
