"""What a spec of ingest says of the series of a fleet's sites and streams, over any horizon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from decomp.ingest.demand import Stream, measured_demand, streams_of
from decomp.ingest.keys import within
from decomp.ingest.layout import Series
from decomp.ingest.library import Library
from decomp.ingest.sites import site_columns, with_series
from decomp.ingest.spec import Horizon, Site, Spec
from decomp.ingest.units import OF_STREAMS
from decomp.model.instance import SERIES, Array, InputError, Instance

T = TypeVar("T", Site, Stream)
SITE_SERIES = tuple(name for name, table in SERIES.items() if table == "sites")


@dataclass(frozen=True, eq=False)
class Known:
    """Sites, and streams with measured demand, that a spec and an instance have, and their rows in it by table."""

    spec: Spec
    library: Library
    sites: list[Site]
    streams: list[Stream]
    rows: dict[str, Array]

    def series(self, horizon: Horizon, table: str, given: Mapping[str, Series] | None = None) -> dict[str, Array]:
        """The series of a table that scenarios may override, by name, (k, period) each, over a horizon.

        `given` : series by quantity in place of the spec's own; those of the other table do not count.

        Raises
        ------
        InputError : a file lacks what is read from it.
        """
        mine = {name: s for name, s in (given or {}).items() if (name in OF_STREAMS) == (table == "streams")}
        if table == "streams":
            return self._demand(horizon, mine)
        rows = []
        for site in self.sites:
            with within(f"site {site.name}"):
                rows.append(site_columns(with_series(site, mine), horizon, self.library))
        return {name: np.stack([row[name] for row in rows]) for name in SITE_SERIES}

    def _demand(self, horizon: Horizon, given: dict[str, Series]) -> dict[str, Array]:
        measured = self.spec.inference.series if self.spec.inference is not None else {}
        if given and not measured:
            raise InputError(f"{next(iter(given))}: of no use where inference.series has no measured demand")
        if not self.streams:
            return {}
        with within("inference"):
            return dict(demand_rps=np.stack(measured_demand(self.streams, given or measured, horizon, self.library)))


def known(instance: Instance, spec: Spec, library: Library) -> Known:
    """The sites and streams of a spec that are in an instance, by name.

    Raises
    ------
    InputError : no site of the spec is in the instance.
    """
    sites, here = _named(spec.sites, instance.sites.name)
    if not sites:
        raise InputError(f"sites: {spec.sites[0].name if spec.sites else 'none'}, must be sites of the instance")
    streams: list[Stream] = []
    if spec.inference is not None and spec.inference.series:
        with within("inference"):
            gpus = sum(site.gpus for site in spec.sites)
            streams = streams_of(spec.inference, spec.requests, gpus, library)
    streams, there = _named(streams, instance.streams.name)
    return Known(spec, library, sites, streams, dict(sites=here, streams=there))


def _named(items: Sequence[T], names: Array) -> tuple[list[T], Array]:
    """The items whose name is among some names, and their positions there (k,)."""
    row = {str(name): i for i, name in enumerate(names)}
    found = [item for item in items if item.name in row]
    return found, np.array([row[item.name] for item in found], dtype=int)
