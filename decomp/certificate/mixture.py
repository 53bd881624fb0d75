"""Mixtures: between two schedules of the same integers lie schedules, at costs and emissions that are at most mixed.

With the integers equal, every rule of the model is convex but for (2) where power is exact, (5) and (6). What one of
those forbids in any mixture of two schedules it forbids in the half of each, as they do not break it themselves: so
the half is checked. Buying in one and selling in the other cancels, which costs and emits nothing where export is not
credited with more than import is charged.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decomp.certificate.findings import TOLERANCE, Finding, Findings
from decomp.certificate.schedule import Account, check_schedule
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule


def check_mixture(instance: Instance, one: Schedule, other: Schedule) -> tuple[Finding, ...]:
    """Objections to mixing two schedules that are right themselves, in any shares; the budget apart."""
    free = replace(instance, carbon_budget_t=np.inf)
    findings = Findings(free)
    columns = {f.name: (np.asarray(getattr(one, f.name)), np.asarray(getattr(other, f.name))) for f in one.columns()}
    for name, (a, b) in columns.items():
        if a.dtype.kind != "f" and not np.array_equal(a, b):
            findings.add(f"mixture: {name}", "", "different", "the same in both schedules")
    if findings.items:
        return tuple(findings.items)
    _prices(free, one, other, findings)
    ends = [check_schedule(free, schedule, Findings(free)) for schedule in (one, other)]
    middle = check_schedule(free, _half(columns), findings)
    if middle is None or None in ends:
        findings.add("mixture", "", "arrays of another shape", "those of the instance")
    else:
        _at_most_mixed(middle, [end for end in ends if end is not None], findings)
    return tuple(findings.items)


def _prices(instance: Instance, one: Schedule, other: Schedule, findings: Findings) -> None:
    """Where one buys and the other sells."""
    sites = instance.sites
    cancels = np.minimum(one.import_mw, other.export_mw) + np.minimum(one.export_mw, other.import_mw) > TOLERANCE
    for name, unit, sold, bought in (
        ("price", "USD/MWh", sites.sell_price, sites.buy_price),
        ("carbon", "t/MWh", sites.export_credit, sites.carbon_intensity),
    ):
        most, scale = np.where(cancels, bought, np.inf), np.maximum(1.0, np.abs(bought))
        findings.at_most(f"mixture: {name} of export where import cancels it", "site", sold, most, scale, unit)


def _half(columns: dict[str, tuple[Array, Array]]) -> Schedule:
    values = {name: 0.5 * (a + b) if a.dtype.kind == "f" else a for name, (a, b) in columns.items()}
    both = np.minimum(values["import_mw"], values["export_mw"])
    return Schedule(**values | {name: values[name] - both for name in ("import_mw", "export_mw")})


def _at_most_mixed(middle: Account, ends: list[Account], findings: Findings) -> None:
    scale = max(end.scale for end in ends)
    for name, unit, size in (("cost", "USD", scale), ("emissions_t", "t", max(1.0, middle.emissions_t))):
        mixed = 0.5 * sum(getattr(end, name) for end in ends)
        value = getattr(middle, name)
        if not value <= mixed + TOLERANCE * size:
            findings.add(f"mixture: {name} of the half", "", value, f"at most {mixed:.9g} {unit}")
