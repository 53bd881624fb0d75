"""Distances, round trips and the cost of moving data between places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import product
from typing import Protocol

import numpy as np

from decomp.families.geography import haversine_km
from decomp.ingest.keys import within
from decomp.ingest.library import Library
from decomp.ingest.spec import Egress, Latency, PairTable
from decomp.ingest.table import Table
from decomp.model.instance import Array, InputError

USUAL_EGRESS_USD_PER_GB = 0.08
LIGHT_KM_PER_MS = 299.792458
MS = dict(ms=1.0, s=1000.0, us=0.001)  # milliseconds in a unit


class Located(Protocol):
    """A site or an origin."""

    @property
    def name(self) -> str: ...
    @property
    def latitude(self) -> float: ...
    @property
    def longitude(self) -> float: ...
    @property
    def region(self) -> str: ...


def great_circle_km(a: Sequence[Located], b: Sequence[Located]) -> Array:
    """Distances, km, (a, b)."""
    degrees = ("latitude", "longitude")
    latitude, longitude = (np.array([[getattr(p, k)] for p in a]) for k in degrees)
    return haversine_km(latitude, longitude, *(np.array([getattr(p, k) for p in b]) for k in degrees))


@dataclass(frozen=True)
class Pairs:
    """A table of pairs of regions."""

    file: str
    value: dict[tuple[str, str], float]  # by the regions in lower case
    regions: dict[str, str]  # as written in the table, by lower case

    def region(self, name: str) -> str | None:
        """The region of the table that a name means, in lower case: spelled so, or but for blanks, hyphens and case.

        Raises
        ------
        InputError : the table has several that differ from the name by such signs only.
        """
        same = name.strip().lower()
        if same in self.regions:
            return same
        near = [region for region in self.regions if plain(region) == plain(name)]
        if len(near) > 1:
            ways = " or ".join(self.regions[region] for region in near)
            raise InputError(f"{self.file}: region {name!r} may be {ways}: write it as the table does")
        return near[0] if near else None

    def nearest(self, name: str) -> str:
        """What the table has instead of a region."""
        near = get_close_matches(name.lower(), list(self.regions), 3, 0.6)
        shown = [self.regions[region] for region in near or list(self.regions)[:8]]
        more = ", …" if not near and len(self.regions) > 8 else ""
        return f"{'the nearest are' if near else 'there are'} {', '.join(shown)}{more}"


def plain(region: str) -> str:
    """Region names agree up to case, blanks and hyphens: "East US 2" is eastus2."""
    return re.sub(r"[\s_-]", "", region).lower()


def read_pairs(table: PairTable, library: Library) -> Pairs:
    """Value of each ordered pair of regions; blank cells are missing pairs."""
    read, froms, tos, column = _columns(table, library)
    rows = read.rows("pair")
    values = read.numbers_in(column, rows)
    value: dict[tuple[str, str], float] = {}
    regions: dict[str, str] = {}
    for row, a, b, number in zip(rows.tolist(), froms[rows], tos[rows], values.tolist(), strict=True):
        for region in (a, b):
            regions.setdefault(region.lower(), region)
        pair = (a.lower(), b.lower())
        if number < 0:
            raise InputError(f"{read.place(row, column)}: {a} → {b} is {number:g}; must be at least 0")
        if pair in value:
            raise InputError(f"{read.place(row, column)}: {a} → {b} occurs twice; is a `where` missing?")
        if not np.isnan(number):
            value[pair] = number
    return Pairs(read.name, value, regions)


def _columns(table: PairTable, library: Library) -> tuple[Table, Array, Array, str]:
    """The table with a row for each pair, regions from and to of each row, and the column of the values."""
    read = library.table(table)
    if table.layout == "matrix":
        first = read.position(table.from_column or "c1")
        others = [k for k, name in enumerate(read.header) if k != first and name]
        tall, which = read.across([f"c{k + 1}" for k in others])
        to = np.array([read.header[k] for k in others], dtype=object)[which]
        return tall, tall.column(first).text(), to, "value"
    for key in ("from_column", "to_column", "value_column"):
        if not getattr(table, key):
            raise InputError(f"{read.name}: {key} is missing; {read.known_columns('')}")
    froms, tos = (read.cells(name).text() for name in (table.from_column, table.to_column))
    return read, froms, tos, table.value_column


def lookup(
    pairs: Pairs, a: Sequence[Located], b: Sequence[Located], rule: Array, mend: str, allowed: bool
) -> tuple[Array, list[str]]:
    """Values of all pairs of different places, (a, b), and those the table lacks, which take the rule's if allowed.

    A pair that is not in the table takes the other direction's value. A place without region takes the rule's.
    """
    values, lacking = rule.copy(), []
    rows, columns = ([_region(pairs, place, mend, allowed) for place in places] for places in (a, b))
    for (i, p), (k, q) in product(enumerate(rows), enumerate(columns)):
        if a[i] is b[k]:
            continue
        found = None if p is None or q is None else pairs.value.get((p, q), pairs.value.get((q, p)))
        if found is not None:
            values[i, k] = found
            continue
        if not allowed and p is not None and q is not None:
            raise InputError(f"{pairs.file}: no pair {a[i].region} → {b[k].region}; {mend}")
        lacking.append(f"{a[i].region or a[i].name} → {b[k].region or b[k].name}")
    return values, lacking


def _region(pairs: Pairs, place: Located, mend: str, allowed: bool) -> str | None:
    found = pairs.region(place.region) if place.region else None
    if found is None and place.region and not allowed:
        raise InputError(
            f"{pairs.file}: no region {place.region!r} (of {place.name}); {pairs.nearest(place.region)}; or {mend}"
        )
    return found


def _note(library: Library, pairs: Pairs, lacking: list[str], rule: str) -> None:
    if lacking:
        named = list(dict.fromkeys(lacking))
        shown = ", ".join(named[:8]) + (", …" if len(named) > 8 else "")
        library.note(f"{pairs.file}: {len(named)} pair(s) are not in the table and take {rule}: {shown}")


def round_trip_ms(latency: Latency, library: Library, a: Sequence[Located], b: Sequence[Located]) -> Array:
    """Round trips, ms, (a, b); pairs that the table lacks by great circle, if that is said.

    Raises
    ------
    InputError : a region or pair is not in the table; names the nearest.
    """
    with within("latency"):
        rule = latency.ms_per_km * great_circle_km(a, b) + latency.offset_ms
        if not latency.path:
            return rule
        pairs = read_pairs(latency, library)
        said = f"{latency.ms_per_km:g} ms per km of great circle + {latency.offset_ms:g} ms"
        mend = f'missing = "great_circle" takes {said}'
        table = replace(pairs, value={pair: trip * MS[latency.unit] for pair, trip in pairs.value.items()})
        trips, lacking = lookup(table, a, b, rule, mend, latency.missing == "great_circle")
        light = 2 / LIGHT_KM_PER_MS * great_circle_km(a, b)
        if trips.sum() < light.sum():
            raise InputError(
                f"{pairs.file}: round trips of {trips.mean():.3g} ms on average, where light takes {light.mean():.3g} "
                f'ms there and back; they are read as {latency.unit}: say unit = "s", "ms" or "us"'
            )
        _note(library, pairs, lacking, said)
        return trips


def egress_usd_per_gb(egress: Egress, library: Library, a: Sequence[Located]) -> Array:
    """Cost of moving a GB, (a, a), USD; zero at home.

    Raises
    ------
    InputError : a region or pair is not in the table; names the nearest.
    """
    usual = egress.missing_usd_per_gb if egress.missing_usd_per_gb is not None else USUAL_EGRESS_USD_PER_GB
    with within("egress"):
        cost = np.full((len(a), len(a)), usual)
        if egress.path:
            pairs = read_pairs(egress, library)
            mend = f"missing_usd_per_gb = {usual:g} says what such pairs cost"
            cost, lacking = lookup(pairs, a, a, cost, mend, egress.missing_usd_per_gb is not None)
            _note(library, pairs, lacking, f"{usual:g} USD/GB")
    np.fill_diagonal(cost, 0.0)
    return cost
