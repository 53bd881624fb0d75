"""Scenarios from the past: forecast errors of the days whose forecasts were most similar (analogues).

The errors of a day are taken for all sites, streams and series together, which keeps their correlation in space and
time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from decomp.ingest.keys import within
from decomp.ingest.library import Library
from decomp.ingest.spec import Horizon, Spec
from decomp.model.instance import SERIES, TABLES, Array, InputError, Instance
from decomp.model.rounding import FIT
from decomp.model.scenarios import with_scenarios
from decomp.model.times import start_of
from decomp.scenarios.known import known

DAY_H = 24.0
DIGITS = 6  # decimals of a series in its unit: solvers drop very small coefficients
INSTALLED = ("wind_mw", "solar_mw", "capacity_gpu", "import_limit_mw")  # limited by the largest value of the past
AGO = dict(sites=1, streams=7)  # days; a series without a forecast counts as forecast by its outcome so long before


@dataclass(frozen=True, eq=False)
class Past:
    """Forecasts and outcomes of earlier days, the latest first.

    Each is as long as the instance's horizon and starts at the same time of day.

    Attributes
    ----------
    name : (day,) dates.
    rows : by table of SERIES, (k,) sites or streams of the instance that the data are of.
    forecast, actual : by series of SERIES, (day, k, period) in the unit of the series.
    """

    name: Sequence[str]
    rows: Mapping[str, Array]
    forecast: dict[str, Array]
    actual: dict[str, Array]


@dataclass(frozen=True, eq=False)
class _Days:
    """Series of a spec over some days: outcomes and forecasts (k, period); `rows` as in Past."""

    rows: Mapping[str, Array]
    actual: dict[str, Array]
    forecast: dict[str, Array]


def periods_of_day(instance: Instance) -> int:
    """Number of periods of a day.

    Raises
    ------
    InputError : they do not divide it, so that other days have other times of day.
    """
    number = round(DAY_H / instance.period_h)
    if abs(number * instance.period_h - DAY_H) > FIT * DAY_H:
        raise InputError(f"period_h: {instance.period_h:.10g} h, must divide a day where a history has its days")
    return number


def _days(instance: Instance, spec: Spec, library: Library, days_ago: int, days: int) -> _Days:
    """The series of `days` days, the first of which begins `days_ago` days before the instance."""
    start, periods = start_of(instance), days * periods_of_day(instance)
    read = _Days({}, {}, {})
    with within(library.spec_name):
        have = known(instance, spec, library)
        for table, ago in AGO.items():
            then, before = (
                Horizon(start=start - timedelta(days=k), periods=periods, period_min=60 * instance.period_h)
                for k in (days_ago, days_ago + ago)
            )
            actual, earlier = have.series(then, table), have.series(before, table)
            given = have.series(then, table, spec.history.forecast)
            unknown = [name for name in actual if np.array_equal(given[name], actual[name])]
            read.actual.update(actual)
            read.forecast.update(given | {name: earlier[name] for name in unknown})
    return replace(read, rows=have.rows)


def read_past(instance: Instance, spec: Spec, library: Library) -> Past:
    """The days of a spec's history that are over when the instance's horizon starts.

    A series without a forecast in the history counts as forecast by its outcome of AGO days before (persistence).
    Beyond a day ahead the forecast of the first day is repeated.

    Raises
    ------
    InputError : a file does not cover the days, or no site of the spec is one of the instance.
    """
    n, day = instance.n_periods, periods_of_day(instance)
    last = -(-n // day)  # days before the start, of the latest horizon that ends by it
    first = spec.history.days + last - 1
    read = _days(instance, spec, library, first, first)
    days = np.arange(last, first + 1)
    starts = (first - days) * day
    start = start_of(instance)
    return Past(
        [f"{start - timedelta(days=int(k)):%Y-%m-%d}" for k in days],
        read.rows,
        {name: np.stack([_repeated(v, int(t), n, day) for t in starts]) for name, v in read.forecast.items()},
        {name: np.stack([v[:, t : t + n] for t in starts]) for name, v in read.actual.items()},
    )


def as_known(instance: Instance, spec: Spec, library: Library, count: int) -> Instance:
    """The instance with forecasts in place of outcomes, and scenarios around them.

    For the first day a series is its forecast in the spec's history, or else its outcome of AGO days before; that day
    is repeated for later ones. `count` : scenarios, one from each of so many days of the history; 0: no scenarios.

    Raises
    ------
    InputError : as for `read_past` and `analogs`.
    """
    n, day = instance.n_periods, periods_of_day(instance)
    read, expected = _days(instance, spec, library, 0, 1), instance
    for name, forecast in read.forecast.items():
        table = getattr(expected, SERIES[name])
        values = np.array(getattr(table, name))
        values[read.rows[SERIES[name]]] = _repeated(forecast, 0, n, day)
        expected = replace(expected, **{SERIES[name]: replace(table, **{name: values})})
    return analogs(expected, read_past(expected, spec, library), count) if count else expected


def _repeated(series: Array, start: int, n: int, day: int) -> Array:
    """The `day` periods of a series (k, period) from `start` on, repeated until there are n periods."""
    return np.asarray(series[:, start + np.arange(n) % day])


def analogs(instance: Instance, past: Past, count: int) -> Instance:
    """The instance with `count` equally likely scenarios: its series plus forecast errors of the most similar days.

    The distance of two forecasts is the mean square of their difference, each series of a site or stream divided by its
    standard deviation over the past.

    Raises
    ------
    InputError : the past has fewer days, or `count` is less than 1.
    """
    if not 1 <= count <= len(past.name):
        raise InputError(f"count: {count}, must be between 1 and the {len(past.name)} days of the history")
    own = {name: getattr(getattr(instance, SERIES[name]), name) for name in past.actual}
    rows = {name: past.rows[SERIES[name]] for name in past.actual}
    away = np.zeros(len(past.name))
    for name, forecast in past.forecast.items():
        spread = forecast.std(axis=(0, 2))[:, None]
        difference = (forecast - own[name][rows[name]]) / np.where(spread > 0, spread, np.inf)
        away += (difference**2).mean(axis=(1, 2))
    days = np.argsort(away, kind="stable")[:count]
    series = {}
    for name, actual in past.actual.items():
        error = actual[days] - past.forecast[name][days]
        if error.any():
            series[name] = np.repeat(own[name][None], count, axis=0)
            series[name][:, rows[name]] = possible(name, own[name][rows[name]], error, actual)
    return with_scenarios(instance, np.full(count, 1.0 / count), series, [past.name[d] for d in days])


def possible(name: str, own: Array, error: Array, seen: Array) -> Array:
    """Forecast (k, period) plus errors (scenario, k, period), clipped to the legal range of the series.

    Series of INSTALLED are at most the largest value forecast or `seen` (day, k, period) in the row.
    """
    declared = TABLES[SERIES[name]].column(name).metadata
    high = np.maximum(seen.max(axis=(0, 2)), own.max(axis=1))[:, None] if name in INSTALLED else declared["high"]
    values = np.round(np.clip(own + error, declared["low"], high), DIGITS)
    return np.where(error == 0.0, own, values)
