"""Scenarios from the past: what came on days with a forecast like this one's, beside what had been forecast.

All sites, streams and series of a day stay together, so errors keep their correlation in space and in time.
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
from decomp.model.scenarios import with_scenarios
from decomp.model.times import start_of
from decomp.scenarios.known import known

DAY_H = 24.0
DIGITS = 6  # in the unit of a series: solvers drop coefficients that are next to nothing
INSTALLED = ("wind_mw", "solar_mw", "capacity_gpu", "import_limit_mw")  # never more than has been seen
AGO = dict(sites=1, streams=7)  # days: what came then is the forecast where a spec has none; weekends have other demand


@dataclass(frozen=True, eq=False)
class Past:
    """Earlier days, the latest first, each as long as a horizon and from the same time of day.

    name : (day,); rows : of the instance that the data are of, (k,), by table of SERIES;
    forecast, actual : by series of SERIES, (day, k, period).
    """

    name: Sequence[str]
    rows: Mapping[str, Array]
    forecast: dict[str, Array]
    actual: dict[str, Array]


@dataclass(frozen=True, eq=False)
class _Told:
    """What a spec tells of some days, by series (row, period); `rows` as in Past."""

    rows: Mapping[str, Array]
    actual: dict[str, Array]
    forecast: dict[str, Array]


def _told(instance: Instance, spec: Spec, library: Library, days_ago: int, days: int) -> _Told:
    """So many days, of which the first begins so many days before the instance."""
    start, periods = start_of(instance), days * round(DAY_H / instance.period_h)
    told = _Told({}, {}, {})
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
            told.actual.update(actual)
            told.forecast.update(given | {name: earlier[name] for name in unknown})
    return replace(told, rows=have.rows)


def read_past(instance: Instance, spec: Spec, library: Library) -> Past:
    """The days of a spec's history that were over when the instance's horizon starts.

    What had been forecast for more than a day is taken to have been that of the first day again.

    Raises
    ------
    InputError : a file does not cover them, or no site of the spec is one of the instance.
    """
    n, day = instance.n_periods, round(DAY_H / instance.period_h)
    last = -(-n // day)  # days before the start, of the latest horizon that ends by it
    first = spec.history.days + last - 1
    told = _told(instance, spec, library, first, first)
    days = np.arange(last, first + 1)
    starts = (first - days) * day
    start = start_of(instance)
    return Past(
        [f"{start - timedelta(days=int(k)):%Y-%m-%d}" for k in days],
        told.rows,
        {name: np.stack([_repeated(v, int(t), n, day) for t in starts]) for name, v in told.forecast.items()},
        {name: np.stack([v[:, t : t + n] for t in starts]) for name, v in told.actual.items()},
    )


def as_known(instance: Instance, spec: Spec, library: Library, count: int) -> Instance:
    """The instance as it is known when its horizon starts: as it is forecast, and what may come instead.

    A day ahead a series is what the spec says had been forecast, or what it was `AGO` days before; later days are as
    that first one. `count` : scenarios, days of the history; 0: none.

    Raises
    ------
    InputError : as for `read_past` and `analogs`.
    """
    n, day = instance.n_periods, round(DAY_H / instance.period_h)
    told, expected = _told(instance, spec, library, 0, 1), instance
    for name, forecast in told.forecast.items():
        table = getattr(expected, SERIES[name])
        values = np.array(getattr(table, name))
        values[told.rows[SERIES[name]]] = _repeated(forecast, 0, n, day)
        expected = replace(expected, **{SERIES[name]: replace(table, **{name: values})})
    return analogs(expected, read_past(expected, spec, library), count) if count else expected


def _repeated(series: Array, start: int, n: int, day: int) -> Array:
    """One day of a series (row, period) as often as it takes for n periods."""
    return np.asarray(series[:, start + np.arange(n) % day])


def analogs(instance: Instance, past: Past, count: int) -> Instance:
    """The instance with equally likely scenarios: its own series plus the errors of the days most like it.

    How much alike two forecasts are: the mean square of their difference, every series of a row in units of its
    spread over the past.

    Raises
    ------
    InputError : there are fewer days.
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
    """Forecast (row, period) plus errors (scenario, row, period), inside the range of the series.

    Of what is installed there is no more than was forecast or `seen` (day, row, period) in the row.
    """
    declared = next(f.metadata for f in TABLES[SERIES[name]].columns() if f.name == name)
    high = np.maximum(seen.max(axis=(0, 2)), own.max(axis=1))[:, None] if name in INSTALLED else declared["high"]
    values = np.round(np.clip(own + error, declared["low"], high), DIGITS)
    return np.where(error == 0.0, own, values)
