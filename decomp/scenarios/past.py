"""Scenarios from the past: what came on days with a forecast like this one's, beside what had been forecast.

All sites and series of a day stay together, so errors keep their correlation in space and in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np

from decomp.ingest.keys import within
from decomp.ingest.library import Library
from decomp.ingest.sites import site_columns, with_series
from decomp.ingest.spec import Horizon, Site, Spec
from decomp.model.instance import SERIES, TABLES, Array, InputError, Instance
from decomp.model.scenarios import with_scenarios
from decomp.model.times import start_of

DAY_H = 24.0
SITE_SERIES = tuple(name for name, table in SERIES.items() if table == "sites")
DIGITS = 6  # in the unit of a series: solvers drop coefficients that are next to nothing
INSTALLED = ("wind_mw", "solar_mw", "capacity_gpu", "import_limit_mw")  # never more than has been seen


@dataclass(frozen=True, eq=False)
class Past:
    """Earlier days, the latest first, each as long as a horizon and from the same time of day.

    name : (day,); site : rows of the instance that the data are of, (k,);
    forecast, actual : by series of SERIES, (day, k, period).
    """

    name: Sequence[str]
    site: Array
    forecast: dict[str, Array]
    actual: dict[str, Array]


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
    actual = _series(instance, spec, library, first + 1, (first + 1) * day)
    given = _series(instance, spec, library, first + 1, (first + 1) * day, spec.history.forecast)
    days = np.arange(last, first + 1)
    starts = (first + 1 - days) * day
    start, known = start_of(instance), {}
    for name in SITE_SERIES:
        unknown = np.array_equal(given[name], actual[name])
        series, ago = (actual[name], day) if unknown else (given[name], 0)
        known[name] = np.stack([_repeated(series, t - ago, n, day) for t in starts])
    return Past(
        [f"{start - timedelta(days=int(k)):%Y-%m-%d}" for k in days],
        known_sites(instance, spec)[1],
        known,
        {name: np.stack([series[:, t : t + n] for t in starts]) for name, series in actual.items()},
    )


def as_known(instance: Instance, spec: Spec, library: Library, count: int) -> Instance:
    """The instance as it is known when its horizon starts: as it is forecast, and what may come instead.

    A day ahead a series is what the spec says had been forecast, or what it was the day before; later days are as
    that first one. `count` : scenarios, days of the history; 0: none.

    Raises
    ------
    InputError : as for `read_past` and `analogs`.
    """
    n, day = instance.n_periods, round(DAY_H / instance.period_h)
    given = _series(instance, spec, library, 0, day, spec.history.forecast)
    came, before = _series(instance, spec, library, 0, day), _series(instance, spec, library, 1, day)
    rows, changed = known_sites(instance, spec)[1], {}
    for name in SITE_SERIES:
        known = before[name] if np.array_equal(given[name], came[name]) else given[name]
        values = np.array(getattr(instance.sites, name))
        values[rows] = _repeated(known, 0, n, day)
        changed[name] = values
    expected = replace(instance, sites=replace(instance.sites, **changed))
    return analogs(expected, read_past(expected, spec, library), count) if count else expected


def _series(
    instance: Instance, spec: Spec, library: Library, days_ago: int, periods: int, given: dict[str, Any] | None = None
) -> dict[str, Array]:
    """Series (site, period) of the sites of a spec from so many days before the start of the instance on."""
    with within(library.spec_name):
        sites, _ = known_sites(instance, spec)
        start = start_of(instance) - timedelta(days=days_ago)
        horizon = Horizon(start=start, periods=periods, period_min=60 * instance.period_h)
        rows = [series_of_site(with_series(site, given or {}), horizon, library) for site in sites]
    return {name: np.stack([row[name] for row in rows]) for name in SITE_SERIES}


def _repeated(series: Array, start: int, n: int, day: int) -> Array:
    """One day of a series (site, period) as often as it takes for n periods."""
    return np.asarray(series[:, start + np.arange(n) % day])


def known_sites(instance: Instance, spec: Spec) -> tuple[list[Site], Array]:
    """The sites of a spec that an instance has, by name, and their rows in it."""
    known = {str(name): i for i, name in enumerate(instance.sites.name)}
    sites = [site for site in spec.sites if site.name in known]
    if not sites:
        raise InputError(f"sites: {spec.sites[0].name if spec.sites else 'none'}, must be sites of the instance")
    return sites, np.array([known[site.name] for site in sites])


def series_of_site(site: Site, horizon: Horizon, library: Library) -> dict[str, Array]:
    """What scenarios may override of a site, (period,) each."""
    with within(f"site {site.name}"):
        columns = site_columns(site, horizon, library)
    return {name: columns[name] for name in SITE_SERIES}


def analogs(instance: Instance, past: Past, count: int) -> Instance:
    """The instance with equally likely scenarios: its own series plus the errors of the days most like it.

    How much alike two forecasts are: the mean square of their difference, every series of a site in units of its
    spread over the past.

    Raises
    ------
    InputError : there are fewer days.
    """
    if not 1 <= count <= len(past.name):
        raise InputError(f"count: {count}, must be between 1 and the {len(past.name)} days of the history")
    own = {name: getattr(instance.sites, name) for name in SITE_SERIES}
    away = np.zeros(len(past.name))
    for name, forecast in past.forecast.items():
        spread = forecast.std(axis=(0, 2))[:, None]
        difference = (forecast - own[name][past.site]) / np.where(spread > 0, spread, np.inf)
        away += (difference**2).mean(axis=(1, 2))
    days = np.argsort(away, kind="stable")[:count]
    series = {}
    for name, actual in past.actual.items():
        error = actual[days] - past.forecast[name][days]
        if error.any():
            series[name] = np.repeat(own[name][None], count, axis=0)
            series[name][:, past.site] = possible(name, own[name][past.site], error, actual)
    return with_scenarios(instance, np.full(count, 1.0 / count), series, [past.name[d] for d in days])


def possible(name: str, own: Array, error: Array, seen: Array) -> Array:
    """Forecast (site, period) plus errors (scenario, site, period), inside the range of the series.

    Of what is installed there is no more than was forecast or `seen` (day, site, period) at the site.
    """
    declared = next(f.metadata for f in TABLES[SERIES[name]].columns() if f.name == name)
    high = np.maximum(seen.max(axis=(0, 2)), own.max(axis=1))[:, None] if name in INSTALLED else declared["high"]
    values = np.round(np.clip(own + error, declared["low"], high), DIGITS)
    return np.where(error == 0.0, own, values)
