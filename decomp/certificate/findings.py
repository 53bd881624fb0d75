"""What the certificate objects to, and the one tolerance by which it judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from decomp.model.instance import Array, Instance, Table

TOLERANCE = 1e-6
"""Largest accepted violation of a row, relative to the natural scale of that row."""

WORST = 3
"""Violations of one rule that are named; the rest are counted."""


@dataclass(frozen=True)
class Finding:
    """One objection: the rule (with its equation), the place, the value found and what would be right.

    `undecided` : nothing is known to be wrong; the proof was not found in the time that it had, or at all.
    """

    rule: str
    place: str
    period: int | None
    value: float | str
    right: str
    others: int = 0
    undecided: bool = False

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:.9g}"
        where = ", ".join(part for part in (self.place, "" if self.period is None else f"period {self.period}") if part)
        more = f" (and {self.others} more)" if self.others else ""
        return f"{self.rule}: {where + ': ' if where else ''}{value}, must be {self.right}{more}"


def verdict_of(findings: Sequence[Finding]) -> str:
    """`OK`, `REJECTED`, or `NOT RE-PROVED`: nothing is known to be wrong, but not all was proved."""
    if not findings:
        return "OK"
    return "NOT RE-PROVED" if all(f.undecided for f in findings) else "REJECTED"


def row_names(instance: Instance) -> dict[str, Array]:
    """What the rows of each dimension of a schedule or a dual are called: `site 'ashburn'`."""
    site, stream, pool = (np.asarray(t.name) for t in (instance.sites, instance.streams, instance.pools))

    def each(text: str, *columns: Array) -> Array:
        return np.array([text.format(*row) for row in zip(*columns, strict=True)], dtype=str)

    devices, v, r = instance.devices, instance.device_variables, instance.device_rows
    device = each("device '{}' at site '{}'", devices.name, site[devices.site])
    arcs, pool_arcs, generators = instance.arcs, instance.pool_arcs, instance.generators
    return dict(
        site=each("site '{}'", site),
        stream=each("stream '{}'", stream),
        job=each("job '{}'", instance.jobs.name),
        pool=each("pool '{}'", pool),
        arc=each("stream '{}' at site '{}'", stream[arcs.stream], site[arcs.site]),
        pool_arc=each("pool '{}' at site '{}'", pool[pool_arcs.pool], site[pool_arcs.site]),
        device_variable=each("{}, {}[{}]", device[v.device], v.name, v.index),
        device_row=each("{}, {}[{}]", device[r.device], r.name, r.index),
        generator=each("generator {} at site '{}'", np.arange(len(generators.site)), site[generators.site]),
    )


class Findings:
    """Collects objections; every comparison is written so that NaN counts as a violation."""

    def __init__(self, instance: Instance) -> None:
        self.items: list[Finding] = []
        self.names = row_names(instance)

    def add(self, rule: str, place: str, value: float | str, right: str, *, undecided: bool = False) -> None:
        """Object outright, or say that something is `undecided`."""
        self.items.append(Finding(rule, place, None, value, right, undecided=undecided))

    def at_most(self, rule: str, rows: str, value: Array, limit: Any, scale: Any, unit: str = "") -> None:
        """Require value <= limit + TOLERANCE scale; arrays are (rows,) or (rows, period)."""
        self._require(rule, rows, value, limit, scale, f"at most {{:.9g}} {unit}", lambda v, b: v - b)

    def at_least(self, rule: str, rows: str, value: Array, limit: Any, scale: Any, unit: str = "") -> None:
        """Require value >= limit - TOLERANCE scale."""
        self._require(rule, rows, value, limit, scale, f"at least {{:.9g}} {unit}", lambda v, b: b - v)

    def equal(self, rule: str, rows: str, value: Array, limit: Any, scale: Any, unit: str = "") -> None:
        """Require |value - limit| <= TOLERANCE scale."""
        self._require(rule, rows, value, limit, scale, f"{{:.9g}} {unit}", lambda v, b: np.abs(v - b))

    def _require(self, rule: str, rows: str, value: Array, limit: Any, scale: Any, right: str, excess: Any) -> None:
        value = np.asarray(value, dtype=float)
        limit, scale = (np.broadcast_to(np.asarray(x, dtype=float), value.shape) for x in (limit, scale))
        with np.errstate(invalid="ignore"):
            measure = excess(value, limit) / scale
        bad = np.argwhere(~(measure <= TOLERANCE))
        if len(bad) == 0:
            return
        worst = bad[np.argsort(-np.nan_to_num(measure[tuple(bad.T)], nan=np.inf), kind="stable")]
        for k, index in enumerate(worst[:WORST]):
            at = tuple(int(i) for i in index)
            others = len(bad) - WORST if k == WORST - 1 else 0
            period = at[1] if len(at) > 1 else None
            text = right.format(float(limit[at])).strip()
            self.items.append(Finding(rule, str(self.names[rows][at[0]]), period, float(value[at]), text, others))

    def well_formed(self, label: str, table: Table, sizes: dict[str, int]) -> bool:
        """Require every array of the table to have the instance's shape and finite entries."""
        before = len(self.items)
        for f in table.columns():
            array = np.asarray(getattr(table, f.name))
            shape = tuple(sizes[d] for d in f.metadata["dims"])
            if array.shape != shape:
                self.add(f"{label}.{f.name}", "shape", str(array.shape), f"({', '.join(f.metadata['dims'])}) = {shape}")
            elif array.dtype.kind == "f" and not np.isfinite(array).all():
                at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
                place = str(self.names[f.metadata["dims"][0]][at[0]])
                period = at[1] if len(at) > 1 else None
                self.items.append(Finding(f"{label}.{f.name}", place, period, float(array[at]), "finite"))
        return len(self.items) == before
