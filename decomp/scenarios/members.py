"""Scenarios from an ensemble forecast: members as columns or files, read as any series of a spec."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from decomp.ingest.keys import within
from decomp.ingest.library import Library
from decomp.ingest.spec import Horizon, Spec
from decomp.model.instance import SERIES, InputError, Instance
from decomp.model.refusal import check_names
from decomp.model.rounding import FIT
from decomp.model.scenarios import with_scenarios
from decomp.model.times import start_of
from decomp.scenarios.known import known

T = TypeVar("T")


def from_members(instance: Instance, spec: Spec, library: Library) -> Instance:
    """The instance with a scenario for every member of a spec's ensemble.

    Series that the ensemble names are overridden at the sites and streams of the spec; all others are the instance's
    own. Members without stated probabilities are equally likely.

    Raises
    ------
    InputError : the spec has no ensemble, its probabilities are not one for each member, nothing of it is in the
        instance, or a file lacks what is read from it.
    """
    ensemble = spec.ensemble
    with within(library.spec_name):
        if ensemble is None or not ensemble.members or not ensemble.series:
            raise InputError("ensemble: needs members and series")
        n = len(ensemble.members)
        if ensemble.probability and len(ensemble.probability) != n:
            raise InputError(f"ensemble.probability: {len(ensemble.probability)} of {n} members")
        if ensemble.probability and abs(sum(ensemble.probability) - 1.0) > FIT:
            raise InputError(f"ensemble.probability: {sum(ensemble.probability):.9g} in all, must be 1")
        check_names("ensemble.members", "member", np.array(ensemble.members))
        have = known(instance, spec, library)
        horizon = Horizon(start=start_of(instance), periods=instance.n_periods, period_min=60 * instance.period_h)
        own = {name: getattr(getattr(instance, table), name) for name, table in SERIES.items()}
        values = {name: np.repeat(array[None], n, axis=0) for name, array in own.items()}
        usual = {table: have.series(horizon, table) for table in have.rows}
        for s, member in enumerate(ensemble.members):
            files = {name: of_member(file, member) for name, file in spec.files.items()}
            given = {name: of_member(series, member) for name, series in ensemble.series.items()}
            mine = replace(have, library=replace(library, files=files))
            with within(f"member {member}"):
                for table, rows in have.rows.items():
                    for name, found in mine.series(horizon, table, given).items():
                        differ = (found != usual[table][name]).any(axis=1)
                        values[name][s, rows[differ]] = found[differ]
    probability = np.array(ensemble.probability or [1.0 / n] * n)
    changed = {name: array for name, array in values.items() if (array != own[name]).any()}
    return with_scenarios(instance, probability, changed, ensemble.members)


def of_member(item: T, member: str) -> T:
    """A record of the spec with `{member}` replaced by the member's name in all its texts."""
    texts = {f.name: getattr(item, f.name) for f in fields(item)}  # type: ignore[arg-type]
    changed = {k: v.replace("{member}", member) for k, v in texts.items() if isinstance(v, str)}
    return replace(item, **changed)  # type: ignore[type-var]
