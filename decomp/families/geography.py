"""Places on the globe, distances between them, and the network round trips they imply."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from decomp.model.instance import Array

EARTH_KM = 6371.0
ROUND_TRIP_MS_PER_KM = 0.021  # fibre detours and routing included: median of public inter-region measurements
ROUND_TRIP_MS = 2.0
CHUNK = 512
NEIGHBOURS = 6


@dataclass(frozen=True, eq=False)
class Places:
    """Where the sites of a fleet are, degrees, and how many GPUs each has installed, (site,) each."""

    latitude: Array
    longitude: Array
    gpus: Array

    def __len__(self) -> int:
        return len(self.gpus)

    @cached_property
    def neighbours(self) -> Array:
        """The other sites nearest to each, nearest first, (site, at most 6)."""
        count = min(NEIGHBOURS + 1, len(self))
        return nearest(self.latitude, self.longitude, self.latitude, self.longitude, count)[0][:, 1:]


def distance_km(latitude: Array, longitude: Array, to_latitude: Array, to_longitude: Array) -> Array:
    """Great-circle distances of all pairs, km, (from, to); degrees in. A matrix product, fast for many."""
    cosine = _unit_vectors(latitude, longitude) @ _unit_vectors(to_latitude, to_longitude).T
    return np.asarray(EARTH_KM * np.arccos(np.clip(cosine, -1.0, 1.0)))


def haversine_km(latitude: Array, longitude: Array, to_latitude: Array, to_longitude: Array) -> Array:
    """Great-circle distances between pairs of places, km; degrees in, all of one shape or broadcast to one."""
    lat, lon, to_lat, to_lon = (np.radians(x) for x in (latitude, longitude, to_latitude, to_longitude))
    half = np.sin((lat - to_lat) / 2) ** 2 + np.cos(lat) * np.cos(to_lat) * np.sin((lon - to_lon) / 2) ** 2
    return np.asarray(2 * EARTH_KM * np.arcsin(np.sqrt(np.minimum(half, 1.0))))


def nearest(
    latitude: Array, longitude: Array, to_latitude: Array, to_longitude: Array, count: int
) -> tuple[Array, Array]:
    """The nearest points and their distances in km, nearest first, both (from, count)."""
    count = min(count, len(to_latitude))
    index = np.empty((len(latitude), count), dtype=np.int64)
    km = np.empty((len(latitude), count))
    for first in range(0, len(latitude), CHUNK):
        rows = slice(first, first + CHUNK)
        away = distance_km(latitude[rows], longitude[rows], to_latitude, to_longitude)
        some = np.argpartition(away, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(away, some, axis=1), axis=1, kind="stable")
        index[rows] = np.take_along_axis(some, order, axis=1)
        km[rows] = np.take_along_axis(away, index[rows], axis=1)
    return index, km


def round_trip_ms(km: Array) -> Array:
    """Network round trip over a great-circle distance, ms."""
    return np.asarray(ROUND_TRIP_MS + ROUND_TRIP_MS_PER_KM * km)


def _unit_vectors(latitude: Array, longitude: Array) -> Array:
    lat, lon = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
