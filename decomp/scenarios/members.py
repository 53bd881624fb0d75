"""Scenarios from an ensemble: members as columns or files, read as any series of a spec."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from decomp.ingest.keys import within
from decomp.ingest.library import Library
from decomp.ingest.sites import with_series
from decomp.ingest.spec import Horizon, Spec
from decomp.model.instance import Array, InputError, Instance
from decomp.model.scenarios import with_scenarios
from decomp.model.times import start_of
from decomp.scenarios.past import SITE_SERIES, known_sites, series_of_site

T = TypeVar("T")


def from_members(instance: Instance, spec: Spec, library: Library) -> Instance:
    """The instance with a scenario for every member of a spec's ensemble.

    Only what the ensemble's series say differs from the instance's own, at the sites that the spec has.

    Raises
    ------
    InputError : no ensemble, probabilities that do not fit, or what a file's refusal says.
    """
    ensemble = spec.ensemble
    with within(library.spec_name):
        if ensemble is None or not ensemble.members or not ensemble.series:
            raise InputError("ensemble: needs members and series")
        n = len(ensemble.members)
        if ensemble.probability and len(ensemble.probability) != n:
            raise InputError(f"ensemble.probability: {len(ensemble.probability)} of {n} members")
        sites, rows = known_sites(instance, spec)
        horizon = Horizon(start=start_of(instance), periods=instance.n_periods, period_min=60 * instance.period_h)
        values = {name: np.repeat(getattr(instance.sites, name)[None], n, axis=0) for name in SITE_SERIES}
        own = [series_of_site(site, horizon, library) for site in sites]
        for s, member in enumerate(ensemble.members):
            files = {name: of_member(file, member) for name, file in spec.files.items()}
            given = {name: of_member(series, member) for name, series in ensemble.series.items()}
            mine = replace(library, files=files)
            with within(f"member {member}"):
                for i, site, usual in zip(rows, sites, own, strict=True):
                    found = series_of_site(with_series(site, given), horizon, mine)
                    _take(values, s, int(i), found, usual)
    probability = np.array(ensemble.probability or [1.0 / n] * n)
    changed = {name: array for name, array in values.items() if (array != getattr(instance.sites, name)).any()}
    return with_scenarios(instance, probability, changed, ensemble.members)


def _take(values: dict[str, Array], s: int, i: int, found: dict[str, Array], usual: dict[str, Array]) -> None:
    """Put what a member changes at a site into scenario s."""
    for name, array in found.items():
        if not np.array_equal(array, usual[name]):
            values[name][s, i] = array


def of_member(item: T, member: str) -> T:
    """A record with {member} filled in where its texts have it."""
    texts = {f.name: getattr(item, f.name) for f in fields(item)}  # type: ignore[arg-type]
    changed = {k: v.replace("{member}", member) for k, v in texts.items() if isinstance(v, str)}
    return replace(item, **changed)  # type: ignore[type-var]
