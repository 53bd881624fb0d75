"""From a checked spec to an instance."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from decomp.ingest.budget import with_budget
from decomp.ingest.demand import build_streams
from decomp.ingest.equip import equipped
from decomp.ingest.keys import within
from decomp.ingest.library import Library
from decomp.ingest.sites import generator_columns, power_curves, site_columns
from decomp.ingest.spec import Spec, load_spec
from decomp.ingest.trace import read_trace
from decomp.ingest.work import build_jobs, build_pools
from decomp.model.instance import Array, InputError, Instance, build_instance
from decomp.model.times import stamp


def ingest(
    path: str | Path, data: str | Path | None = None, overrides: Iterable[str] = ()
) -> tuple[Instance, list[str]]:
    """Build the instance a spec describes.

    Parameters
    ----------
    path : the spec, a TOML file.
    data : folder to which the spec's file names are relative; default: the spec's own.
    overrides : key=value settings with dotted keys, such as horizon.start=2022-07-15.

    Returns
    -------
    The instance, and a note for every rule that filled missing values.

    Raises
    ------
    InputError : names the spec's key, or file, column, line, time and value, and what would be right.
    """
    spec, library = open_spec(path, data, overrides)
    return build(spec, library), library.notes


def open_spec(path: str | Path, data: str | Path | None, overrides: Iterable[str]) -> tuple[Spec, Library]:
    """A checked spec and the library of its files, for `build`."""
    path = Path(path)
    spec = load_spec(path, overrides)
    root = Path(data) if data is not None else path.parent
    if not root.is_dir():
        raise InputError(f"{root}: no such data folder")
    return spec, Library(root, spec.files, spec.currencies, path.name)


def build(spec: Spec, library: Library) -> Instance:
    """The instance of a checked spec, from the files of a library, which holds notes and summaries then."""
    with within(library.spec_name):
        return _build(spec, library)


def _build(spec: Spec, library: Library) -> Instance:
    horizon = spec.horizon
    rng_demand, rng_jobs = np.random.default_rng(spec.seed).spawn(2)
    if not spec.sites or len({s.name for s in spec.sites}) < len(spec.sites):
        raise InputError("sites: must have one or more, with different names")
    rows = []
    for site in spec.sites:
        with within(f"site {site.name}"):
            rows.append(site_columns(site, horizon, library))
    sites = {k: np.stack([r[k] for r in rows]) for k in rows[0]}
    sites |= power_curves(spec.sites)
    capacity: Array = sites["capacity_gpu"]
    tables: dict[str, dict[str, Any]] = dict(generators=generator_columns(spec.sites, spec.generators, horizon))
    if spec.inference is not None:
        with within("inference"):
            tables["streams"], tables["arcs"] = build_streams(spec, spec.inference, capacity, library, rng_demand)
    if (spec.jobs or spec.pools) and spec.trace is None:
        raise InputError("[jobs] and [pools] need a [trace]")
    if spec.trace is not None:
        with within("trace"):
            trace = read_trace(spec.trace, horizon, library)
        if spec.jobs is not None:
            with within("jobs"):
                tables["jobs"], tables["candidates"] = build_jobs(spec, spec.jobs, trace, capacity, library, rng_jobs)
        if spec.pools is not None:
            with within("pools"):
                tables["pools"], tables["pool_arcs"] = build_pools(spec, spec.pools, trace, capacity)
    instance = build_instance(
        len(spec.sites),
        horizon.periods,
        horizon.period_min / 60,
        sites=sites,
        **tables,
        carbon_excess_usd_per_t=spec.carbon.excess_usd_per_t,
        carbon_price_usd_per_t=spec.carbon.price_usd_per_t,
        start_utc=stamp(horizon.start_utc),
        family=spec.name,
        seed=spec.seed,
        source="; ".join([spec.source or spec.name, *library.provenance(), *library.summaries]),
    )
    return equipped(with_budget(instance, spec.carbon), spec.sites)
