"""Family `cloud`: the regions of a public cloud, with the prices, carbon, weather and distances of where they lie.

Inference follows the sun at each origin; its classes differ in how far away it may be served. Beyond the number of
regions, sites are further campuses of the same regions, in the same market but with power prices of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from decomp.families import work
from decomp.families.assemble import assembled
from decomp.families.family import Request, setting
from decomp.families.geography import Places, distance_km, round_trip_ms
from decomp.families.many_sites import ManySites
from decomp.families.regions import REGIONS, Region
from decomp.families.weather import Clock
from decomp.model.instance import Array, Instance

Rng = np.random.Generator

# Allowed to the classes of work.CLASSES: within a continent, across an ocean, around the world.
ROUND_TRIP_MS = np.array([60.0, 120.0, 300.0])
MOST_SITES = 20


@dataclass(frozen=True)
class Cloud(ManySites):
    """Public cloud regions by latitude and longitude; follow-the-sun inference, training jobs, a binding budget."""

    day: int = setting(172, "day of the year", low=1, high=365)
    gpus: float = setting(8192.0, "GPUs of a middling site", low=8.0, high=1e6)
    load: float = setting(0.85, "GPU-hours asked for per GPU-hour installed", low=0.0, high=5.0)
    spikes: float = setting(0.002, "chance that a price spike starts in a period", low=0.0, high=0.2)
    budget: float = setting(0.95, "carbon budget, share of the emissions of work spread evenly", low=0.3, high=100.0)
    latency: float = setting(1.0, "scale of the round trips allowed", low=0.0, high=100.0)

    def instance(self, request: Request) -> Instance:
        n_sites = request.sites or len(REGIONS)
        clock = self.clock(request)
        rngs = np.random.default_rng(request.seed).spawn(5)
        region = [REGIONS[k % len(REGIONS)] for k in range(n_sites)]
        places = Places(*_coordinates(rngs[0], region), self.installed(rngs[1], n_sites, 0.6, 1.5))
        traded = tuple(dict.fromkeys(r.market for r in region))
        market = np.array([traded.index(r.market) for r in region])
        table, generators = self.energy(rngs[1:3], places, traded, market, clock)
        campus = [k // len(REGIONS) for k in range(n_sites)]
        table["name"] = np.array([r.name + (f"-{c + 1}" if c else "") for r, c in zip(region, campus, strict=True)])
        sections = self._work(rngs[3], rngs[4], places, region, clock, request)
        return assembled("cloud", request, clock, self.budget, table, generators, sections)

    def _work(
        self, rng_jobs: Rng, rng_streams: Rng, places: Places, region: list[Region], clock: Clock, request: Request
    ) -> dict[str, dict[str, Any]]:
        """Training jobs as in `fleet`, a little smaller; inference takes what they leave of the load."""
        jobs, candidates = self.training(rng_jobs, places, work.JobShape(0.1, 0.9), clock, request)
        wanted = self.load * clock.horizon_h * float(places.gpus.sum())
        rest = max(wanted - work.training_gpu_h(jobs, clock), 0.15 * wanted)
        n_streams = max(6, round(2.5 * len(places))) if request.streams is None else request.streams
        streams, arcs = self._streams(rng_streams, n_streams, places, region, rest, clock)
        return dict(jobs=jobs, candidates=candidates, streams=streams, arcs=arcs, pools={}, pool_arcs={})

    def _streams(
        self, rng: Rng, n: int, places: Places, region: list[Region], gpu_h: float, clock: Clock
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """One stream a region and class, the classes of the first regions first when there are fewer."""
        if not n:
            return {}, {}
        n_origins = min(len(region), len(REGIONS), -(-n // len(work.CLASSES)))
        origin = np.arange(n) % n_origins
        kind = (np.arange(n) // n_origins) % len(work.CLASSES)
        latitude, longitude = places.latitude, places.longitude
        trip = round_trip_ms(distance_km(latitude[origin], longitude[origin], latitude, longitude))
        limit = np.maximum(self.latency * ROUND_TRIP_MS[kind], trip.min(axis=1) + 1.0)
        limit = np.minimum(limit, np.sort(trip, axis=1)[:, min(MOST_SITES, len(places)) - 1])
        stream, site = np.nonzero(trip <= limit[:, None])
        arcs = dict(stream=stream, site=site, round_trip_ms=trip[stream, site], cost=2e-4 * trip[stream, site])
        weight = work.accessible_share(arcs, places.gpus, n)
        names = np.array([r.name for r in region])[origin]
        origins = work.Origins(names, longitude[origin], kind, limit, weight)
        return work.inference_streams(rng, origins, gpu_h, clock, swing=(0.35, 0.55)), arcs


def _coordinates(rng: Rng, region: list[Region]) -> tuple[Array, Array]:
    """Coordinates of the sites: a region's own, further campuses up to about 50 km away."""
    place = np.array([[r.latitude, r.longitude] for r in region])
    further = np.arange(len(region)) >= len(REGIONS)
    place += np.where(further[:, None], rng.uniform(-0.4, 0.4, place.shape), 0.0)
    return place[:, 0], place[:, 1]
