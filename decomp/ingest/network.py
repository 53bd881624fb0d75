"""Distances, round trips and the cost of moving data between places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from decomp.ingest.keys import within
from decomp.ingest.library import Library
from decomp.ingest.spec import Egress, Latency, PairTable
from decomp.model.instance import Array, InputError

EARTH_KM = 6371.0


class Place(Protocol):
    """A site or an origin."""

    @property
    def latitude(self) -> float: ...
    @property
    def longitude(self) -> float: ...
    @property
    def region(self) -> str: ...


def great_circle_km(a: Sequence[Place], b: Sequence[Place]) -> Array:
    """Distances, km, (a, b), by the haversine formula."""
    lat_a, lon_a = (np.radians([getattr(p, k) for p in a])[:, None] for k in ("latitude", "longitude"))
    lat_b, lon_b = (np.radians([getattr(p, k) for p in b])[None, :] for k in ("latitude", "longitude"))
    h = np.sin((lat_b - lat_a) / 2) ** 2 + np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))


def plain(region: str) -> str:
    """Region names agree up to case, blanks and hyphens: "East US 2" is eastus2."""
    return re.sub(r"[\s_-]", "", region).lower()


def read_pairs(table: PairTable, library: Library) -> dict[tuple[str, str], float]:
    """Value of each ordered pair of regions; blank cells are missing pairs."""
    if not table.path:
        return {}
    read = library.table(table)
    rows = read.rows("pair")
    values = read.numbers_in(table.value_column, rows)
    froms, tos = (read.cells(name).text()[rows] for name in (table.from_column, table.to_column))
    pairs: dict[tuple[str, str], float] = {}
    for row, a, b, value in zip(rows.tolist(), froms, tos, values.tolist(), strict=True):
        pair = (plain(a), plain(b))
        if value < 0:
            raise InputError(f"{read.place(row, table.value_column)}: {a} → {b} is {value:g}; must be at least 0")
        if pair in pairs:
            raise InputError(f"{read.place(row, table.value_column)}: {a} → {b} occurs twice; is a `where` missing?")
        if not np.isnan(value):
            pairs[pair] = value
    return pairs


def lookup(pairs: dict[tuple[str, str], float], a: Sequence[Place], b: Sequence[Place], rule: Array) -> Array:
    """Values of all pairs, (a, b); a missing pair takes the other direction's value, else the rule's."""
    values = rule.copy()
    for i, p in enumerate(a):
        for k, q in enumerate(b):
            there, back = (plain(p.region), plain(q.region)), (plain(q.region), plain(p.region))
            values[i, k] = pairs.get(there, pairs.get(back, rule[i, k]))
    return values


def round_trip_ms(latency: Latency, library: Library, a: Sequence[Place], b: Sequence[Place]) -> Array:
    """Round trips, ms, (a, b); missing pairs by great circle."""
    with within("latency"):
        rule = latency.ms_per_km * great_circle_km(a, b) + latency.offset_ms
        return lookup(read_pairs(latency, library), a, b, rule)


def egress_usd_per_gb(egress: Egress, library: Library, a: Sequence[Place]) -> Array:
    """Cost of moving a GB, (a, a), USD; zero at home."""
    with within("egress"):
        rule = np.full((len(a), len(a)), egress.missing_usd_per_gb)
        cost = lookup(read_pairs(egress, library), a, a, rule)
    np.fill_diagonal(cost, 0.0)
    return cost
