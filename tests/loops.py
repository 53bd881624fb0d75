"""A loop on prices of one process, for tests that look inside a solve; and optima to compare with."""

from __future__ import annotations

from functools import cache

from decomp.bound.coupling import Coupling
from decomp.bound.lagrangian import LagrangianLoop, first_prices
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.model.instance import Instance
from decomp.model.options import Bundle
from decomp.model.result import Result
from decomp.ranks.mpi import Serial
from decomp.ranks.workers import Workers
from decomp.site.service import muster


def workers_of(instance: Instance) -> Workers:
    return muster(instance, Workers(Serial()))


def loop_of(instance: Instance, options: Bundle) -> LagrangianLoop:
    c = Coupling.of(instance)
    price = first_prices(c, instance.sites, instance.carbon_price_usd_per_t)
    return LagrangianLoop(c, workers_of(instance), c.multipliers(price), options)


@cache
def optimum(seed: int) -> tuple[Instance, Result]:
    """A small instance and its optimum."""
    instance = generate("small", seed=seed)
    return instance, solve_extensive(instance, rel_gap=1e-9, time_limit=600.0)
