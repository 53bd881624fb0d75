"""From the tables of a family to an instance, with a carbon budget in proportion to its work."""

from __future__ import annotations

from typing import Any

from decomp.families import equipment, work
from decomp.families.family import Request
from decomp.families.weather import Clock
from decomp.model.instance import Instance, build_instance

Table = dict[str, Any]


def assembled(
    family: str, request: Request, clock: Clock, budget: float, sites: Table, generators: Table, rest: dict[str, Table]
) -> Instance:
    """The instance of a family's tables; it may emit `budget` times as much as with its work spread evenly.

    `rest` holds the tables of work: jobs, candidates, streams, arcs, pools, pool arcs.
    """
    evenly = equipment.emissions_t(sites, work.even_load(rest, sites["capacity_gpu"], clock), clock)
    return build_instance(
        len(sites["capacity_gpu"]),
        clock.n_periods,
        clock.period_h,
        sites=sites,
        generators=generators,
        carbon_budget_t=budget * evenly,
        start_utc=clock.start_utc,
        family=family,
        seed=request.seed,
        **rest,
    )
