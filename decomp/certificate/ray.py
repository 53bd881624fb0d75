"""Proof that there is no schedule: with every amount of money zero, the bound is still positive.

A schedule of the instance is one of the instance without money, where it costs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from decomp.certificate.bound import UNPROVED, BoundProof, prove_bound
from decomp.certificate.findings import TOLERANCE, Findings
from decomp.certificate.scenarios import sizes_of
from decomp.model.instance import Instance, Table
from decomp.model.result import Dual, Ray


def prove_ray(instance: Instance, ray: Ray, findings: Findings, *, jobs: int = 1, seconds: float = 60.0) -> BoundProof:
    """Re-prove the bound of the instance without money at the multipliers of the ray; object if it is not positive.

    Tonnes (times `carbon_weight`) by which every schedule exceeds the budget; GPU h or MWh where carbon has no weight.
    """
    sizes = sizes_of(instance)
    if not findings.well_formed("ray", ray, sizes):
        return UNPROVED
    zero = Dual.make(sizes, **{f.name: 0.0 for f in Dual.columns()})
    dual = replace(zero, load_price=ray.load_price, site_lower=ray.site_lower, carbon_price=ray.carbon_weight)
    proof = prove_bound(without_money(instance), dual, findings, jobs=jobs, seconds=seconds)
    if not proof.bound > TOLERANCE * proof.scale:
        findings.add("infeasible", "sum at the ray", proof.bound, "above 0 beyond rounding")
    return proof


def without_money(instance: Instance) -> Instance:
    """The instance with zero for all that is in USD, but for the infinite prices of what must be."""
    names = ("sites", "generators", "device_variables", "streams", "arcs", "jobs", "candidates", "pools")
    excess = instance.carbon_excess_usd_per_t
    bare: dict[str, Any] = {name: _free(getattr(instance, name)) for name in names}
    bare |= dict(carbon_price_usd_per_t=0.0, carbon_excess_usd_per_t=excess if np.isinf(excess) else 0.0)
    return replace(instance, **bare)


def _free(table: Table) -> Table:
    paid = [f.name for f in table.columns() if f.metadata["unit"].startswith("USD")]
    columns = {name: getattr(table, name) for name in paid}
    return replace(table, **{name: np.where(np.isinf(v), v, 0.0) for name, v in columns.items()})
