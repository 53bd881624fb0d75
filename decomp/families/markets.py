"""Power markets: published price and carbon figures, and synthetic series that reproduce them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.families.weather import Clock, smooth_noise
from decomp.model.instance import Array

Rng = np.random.Generator

HOURS_PER_MONTH = 730.0


@dataclass(frozen=True)
class Market:
    """A market's figures: prices in USD/MWh, carbon intensities (direct) in t/MWh."""

    name: str
    latitude: float
    longitude: float
    price_mean: float
    price_low: float  # 5th percentile of the hours of a year
    price_high: float  # 95th percentile
    price_max: float
    carbon_mean: float
    carbon_low: float
    carbon_high: float
    solar: float = 0.2  # depth of the dip of price and carbon at noon, 0 to 1


# Hourly prices of 2024 and direct carbon intensities: mean, 5th and 95th percentile, maximum.
NY = Market("NY", 42.0, -75.0, 38, 20, 89, 438, 0.223, 0.177, 0.269, 0.10)
PJM = Market("PJM", 40.0, -79.5, 36, 13, 87, 618, 0.321, 0.269, 0.394, 0.10)
ERCOT = Market("ERCOT", 31.5, -98.0, 28, 7, 62, 2065, 0.303, 0.171, 0.433, 0.35)
CAISO = Market("CAISO", 36.5, -119.5, 41, 6, 71, 432, 0.168, 0.045, 0.275, 0.60)
GERMANY = Market("DE", 51.0, 10.0, 85, 0, 154, 946, 0.274, 0.105, 0.464, 0.50)
ONTARIO = Market("ON", 44.0, -79.5, 32, 6, 66, 600, 0.058, 0.010, 0.099, 0.15)
MARKETS = (NY, PJM, ERCOT, CAISO, GERMANY, ONTARIO)


def column(markets: tuple[Market, ...], name: str) -> Array:
    """One figure of every market, (market, 1)."""
    return np.array([[getattr(m, name)] for m in markets], dtype=float)


def _noon(markets: tuple[Market, ...], clock: Clock) -> Array:
    """Shape of the sun's share, 0 to 1, (market, period)."""
    local = clock.local_hours(column(markets, "longitude")[:, 0])
    return np.asarray(np.maximum(0.0, np.cos(2.0 * np.pi * (local - 12.5) / 24.0)) ** 1.5)


def _normalised(shape: Array) -> Array:
    return np.asarray(shape / shape.mean(axis=1, keepdims=True))


def market_prices(rng: Rng, markets: tuple[Market, ...], clock: Clock, spikes: float) -> Array:
    """Prices before local differences, USD/MWh, (market, period).

    `spikes` is the chance that a spike of 2-4 periods starts in a period; a spike multiplies the price 3 to 15 times.
    """
    local = clock.local_hours(column(markets, "longitude")[:, 0])
    peaks = np.exp(-0.5 * ((local - 8.0) / 1.5) ** 2) + 1.5 * np.exp(-0.5 * ((local - 19.5) / 2.0) ** 2)
    dip = column(markets, "solar") * _noon(markets, clock)
    spread = (column(markets, "price_high") - column(markets, "price_low")) / column(markets, "price_mean")
    shape = np.maximum(0.12, 1.0 + 0.30 * spread * (peaks - 0.5) - 1.1 * dip)
    noise = np.exp(0.09 * spread * smooth_noise(rng, len(markets), clock, 4.0))
    noise *= np.exp(0.09 * spread * smooth_noise(rng, len(markets), clock, 40.0))
    price = column(markets, "price_mean") * _normalised(shape * noise) * rng.uniform(0.85, 1.2, (len(markets), 1))
    return price * spiked(rng, price.shape, spikes)


def spiked(rng: Rng, shape: tuple[int, ...], chance: float) -> Array:
    """Factor of the spikes, (row, period): 1 nearly everywhere."""
    factor = np.ones(shape)
    starts = rng.random(shape) < chance
    length = rng.integers(2, 5, shape)
    height = rng.uniform(3.0, 15.0, shape)
    for lag in range(4):
        hit = starts & (length > lag)
        late = np.roll(np.where(hit, height, 1.0), lag, axis=1)
        late[:, :lag] = 1.0
        factor = np.maximum(factor, late)
    return factor


def local_prices(rng: Rng, price: Array, market: Array, highest: Array, clock: Clock) -> Array:
    """Prices at the sites, USD/MWh, (site, period): the market's with a lasting and a passing local difference."""
    lasting = rng.normal(0.0, 0.06, (len(market), 1))
    passing = 0.08 * smooth_noise(rng, len(market), clock, 2.0)
    return np.asarray(np.minimum(price[market] * np.exp(lasting + passing), highest[market]))


def make_negative(rng: Rng, price: Array, share: float, eligible: Array) -> Array:
    """Turn a share of all (site, period) prices negative, the lowest for their site first.

    Which sites are hit differs: congestion pockets see more. Only `eligible` sites, (site,) of bool, are touched.
    """
    count = min(round(share * price.size), int(eligible.sum()) * price.shape[1])
    if not count:
        return price
    rank = price / np.median(price, axis=1, keepdims=True) + rng.exponential(0.3, (len(price), 1))
    rank = np.where(eligible[:, None], rank, np.inf)
    hit = np.argpartition(rank, count - 1, axis=None)[:count]
    changed = price.copy()
    changed.flat[hit] = -(1.0 + rng.exponential(18.0, count))
    return changed


def market_carbon(rng: Rng, markets: tuple[Market, ...], clock: Clock) -> Array:
    """Direct carbon intensity of the grid, t/MWh, (market, period)."""
    low, high = column(markets, "carbon_low"), column(markets, "carbon_high")
    swing = (high - low) / column(markets, "carbon_mean")
    dip = column(markets, "solar") * _noon(markets, clock)
    shape = np.maximum(0.1, 1.0 - 0.9 * dip + 0.12 * swing * smooth_noise(rng, len(markets), clock, 8.0))
    level = 1.0 + 0.12 * swing * rng.uniform(-1.0, 1.0, (len(markets), 1))
    return np.clip(column(markets, "carbon_mean") * level * _normalised(shape), 0.7 * low, 1.15 * high)


@dataclass(frozen=True)
class Chances:
    """Chance that a price spike starts in a period, share of negative prices, share of sites on a retail tariff."""

    spikes: float
    negative: float
    retail: float


def tariffs(
    rng: Rng, markets: tuple[Market, ...], market: Array, peak_mw: Array, clock: Clock, chances: Chances
) -> dict[str, Array]:
    """Prices and carbon intensities of sites in markets, (site, period).

    A wholesale site trades at the market's price. A retail site (a share of them) pays 25 USD/MWh more, sells for
    less, and pays a demand charge: the horizon's part of 5-20 USD per kW and month.
    """
    n = len(market)
    price = market_prices(rng, markets, clock, chances.spikes)
    price = local_prices(rng, price, market, column(markets, "price_max"), clock)
    on_retail = rng.random(n) < chances.retail
    price = make_negative(rng, price, chances.negative, ~on_retail)
    carbon = local_carbon(rng, market_carbon(rng, markets, clock), market)
    per_kw_month = rng.uniform(5.0, 20.0, n)
    return dict(
        buy_price=np.where(on_retail[:, None], price + 25.0, price),
        sell_price=np.where(on_retail[:, None], 0.7 * price, price - 1.0),
        demand_charge=np.where(on_retail, per_kw_month * 1000.0 * clock.horizon_h / HOURS_PER_MONTH, 0.0),
        peak_so_far_mw=np.where(on_retail, 0.6 * peak_mw, 0.0),
        carbon_intensity=carbon,
    )


def local_carbon(rng: Rng, carbon: Array, market: Array) -> Array:
    """Carbon intensity at the sites, t/MWh, (site, period): the market's, some sites cleaner or dirtier."""
    return carbon[market] * rng.uniform(0.8, 1.2, (len(market), 1))
