"""Refusal of instances that cannot be scheduled, in one sentence that says where and what would be right.

Ranges and shapes come from the field metadata of the tables (`refusal`); the rest are the cross-checks that no single
field can express: of sites, devices, work and scenarios, each in a module of its own.
All conditions are necessary ones: what passes may still be infeasible, what is refused never works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from decomp.model.instance import InputError, Instance
from decomp.model.refusal import NUMBER_LIMIT, PRICE_LIMIT, check_dimensions, check_shapes
from decomp.model.rounding import FIT
from decomp.model.times import parse_utc
from decomp.model.validate_scenarios import validate_scenarios
from decomp.model.validate_sites import validate_sites
from decomp.model.validate_work import validate_work


def validate(instance: Instance) -> None:
    """Raise InputError on the first thing that makes the instance meaningless or impossible."""
    validate_scalars(instance.scalars)
    for name, table in instance.tables():
        check_dimensions(name, table)
    for name, table in instance.tables():
        check_shapes(name, table, instance.sizes)
    validate_sites(instance.microgrids, instance.period_h)
    validate_work(instance)
    if instance.n_scenarios or len(instance.overrides.row):
        validate_scenarios(instance)


def validate_scalars(scalars: Mapping[str, Any]) -> None:
    """Check the instance's scalars: period length, carbon budget and prices, labels."""
    ranges = dict(
        period_h=(1 / 12, 1.0, " h"),
        carbon_budget_t=(0.0, NUMBER_LIMIT, " t"),
        carbon_excess_usd_per_t=(0.0, NUMBER_LIMIT, " USD/t"),
        carbon_price_usd_per_t=(0.0, PRICE_LIMIT, " USD/t"),
        risk_weight=(0.0, 1.0, ""),
        risk_level=(0.0, 0.999, ""),
    )
    for name, (low, high, unit) in ranges.items():
        value, endless = scalars[name], high == NUMBER_LIMIT
        if not (low * (1 - FIT) <= value <= high * (1 + FIT) or (endless and value == np.inf)):
            none = " or inf" * endless
            raise InputError(f"{name}: {value:.10g}{unit}, must be between {low:.10g} and {high:.10g}{unit}{none}")
    if scalars["carbon_scope"] not in ("expected", "every"):
        raise InputError(f"carbon_scope: {scalars['carbon_scope']!r}, must be 'expected' or 'every'")
    for name in ("start_utc", "family", "source"):
        text = scalars[name]
        if not text.replace("\n", "").replace("\t", "").isprintable():
            raise InputError(f"{name}: {text!r}, must be printable text")
    parse_utc(scalars["start_utc"])
