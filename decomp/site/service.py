"""What ranks are asked about their sites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from decomp.files.hdf5 import PathLike
from decomp.lp.highs import Effort
from decomp.model.instance import Array, Generators, Instance, Sites
from decomp.ranks.mpi import Team
from decomp.ranks.workers import Crew
from decomp.site.oracle import Answer, Plan, SiteRows


@dataclass(frozen=True)
class Given:
    """What one site, or every site (arrays with one more axis in front), is given.

    `load` (T,) GPU, of which `droppable` may be left out at `drop_price` (USD per GPU and period); an `allowance`
    (t, may be infinite) beyond which a tonne costs `excess_price` (USD/t).
    """

    load: Array
    droppable: Array
    drop_price: Array
    allowance: Array
    excess_price: Array

    def rows(self) -> Array:
        """All sites' shares as one table (S, 3 T + 2), to be scattered."""
        tail = np.column_stack([self.allowance, self.excess_price])
        return np.hstack([self.load, self.droppable, self.drop_price, tail])

    @classmethod
    def of(cls, row: Array) -> Given:
        """One site's share of `rows`."""
        load, droppable, drop_price = np.split(row[:-2], 3)
        return cls(load, droppable, drop_price, row[-2], row[-1])


SiteReader = Callable[[Array], tuple[Sites, Generators]]



@dataclass(frozen=True)
class Answers:
    """One answer per site, in site order: arrays (S,); load and price (S, T); load is NaN where a site failed."""

    lower: Array
    load: Array
    cost: Array
    emissions: Array
    price: Array
    carbon_price: Array
    seconds: Array

    def __iter__(self) -> Any:
        for i in range(len(self.lower)):
            load = None if np.isnan(self.load[i, 0]) else self.load[i]
            price, carbon_price = self.price[i], float(self.carbon_price[i])
            yield Answer(self.lower[i], load, self.cost[i], self.emissions[i], price, carbon_price, self.seconds[i])



@dataclass(frozen=True)
class Dispatch:
    """A request for the integral dispatch of a site at a given load (see SiteRows.evaluate_fixed); ready to travel."""

    site: int
    rows: SiteRows
    load: Array
    droppable: Array
    drop_price: Array
    carbon_price: float
    effort: Effort



def plan_of(r: Dispatch) -> Plan | None:
    """What is asked for; None where there is no such dispatch."""
    return r.rows.evaluate_fixed(r.load, r.droppable, r.drop_price, r.carbon_price, effort=r.effort)



def muster(
    instance: Instance | None, team: Team, read: SiteReader | None = None, beside: PathLike | None = None
) -> Crew:
    """The crew of an instance, on all ranks; parameters as of `solve`."""
    shape: tuple[int, int, float, float, PathLike | None] | None = None
    tables: tuple[Sites, Generators] | None = None
    if instance is not None and team.is_root:
        shape = (instance.n_sites, instance.n_periods, instance.period_h, instance.carbon_price_usd_per_t, beside)
        tables = (instance.sites, instance.generators) if read is None else None
    shape, tables = team.bcast((shape, tables), "instance")
    return Crew(team, read or partial(_rows, tables), *shape)



def _rows(tables: tuple[Sites, Generators], own: Array) -> tuple[Sites, Generators]:
    """Some sites with their generators, renumbered."""
    sites, generators = tables
    position = np.full(len(sites.name), -1)
    position[own] = np.arange(len(own))
    mine = generators.take(np.flatnonzero(position[generators.site] >= 0))
    return sites.take(own), replace(mine, site=position[mine.site])
