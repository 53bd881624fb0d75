"""Families `fleet` and `swarm`: synthetic fleets of any size that are hard to schedule, and stay so.

Sites lie around the centres of six markets. Training and inference together ask for nearly all GPUs, jobs are large,
and the carbon budget is a share of what the fleet would emit if it simply did all its work: it binds at every size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from decomp.devices import interconnection_ramp, thermal_storage
from decomp.families import equipment, markets, work
from decomp.families.assemble import assembled
from decomp.families.family import Request, setting
from decomp.families.futures import with_futures
from decomp.families.geography import Places
from decomp.families.many_sites import ManySites
from decomp.families.weather import Clock
from decomp.model.instance import Array, Instance

Rng = np.random.Generator
Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Fleet(ManySites):
    """A synthetic fleet of any size; the defaults are hard."""

    job_low: float = setting(1 / 6, "smallest job, share of its home site", low=1e-3, high=1.0)
    job_high: float = setting(0.97, "largest job, share of its home site", low=1e-3, high=1.0)
    reach: float = setting(0.25, "sites within a stream's latency limit, share of the fleet", low=0.0, high=1.0)
    reach_most: int = setting(20, "most sites within a stream's latency limit", low=1, high=1000)
    pools: int = setting(0, "deferrable pools", low=0, high=1_000_000)
    mandatory: float = setting(0.0, "share of the sites with one mandatory job", low=0.0, high=1.0)
    exact: float = setting(0.0, "share of sites with an exact power curve", low=0.0, high=1.0)
    devices: float = setting(0.0, "share of sites with a cold tank and a ramp at the grid", low=0.0, high=1.0)
    scenarios: int = setting(0, "equally likely scenarios of price, weather and demand", low=0, high=10_000)

    name = "fleet"

    def instance(self, request: Request) -> Instance:
        n_sites = request.sites or 10
        clock = self.clock(request)
        rngs = np.random.default_rng(request.seed).spawn(5)
        latitude, longitude, market = _geography(rngs[0], n_sites)
        places = Places(latitude, longitude, self.installed(rngs[1], n_sites, 0.8, 1.25))
        table, generators = self.energy(rngs[1:3], places, markets.MARKETS, market, clock, self.exact)
        sections = self._work(rngs[3], rngs[4], places, market, clock, request)
        instance = assembled(self.name, request, clock, self.budget, table, generators, sections)
        equipped = equipment.with_devices(instance, self.devices, thermal_storage(), interconnection_ramp())
        return with_futures(equipped, self.scenarios)

    def _work(
        self, rng_jobs: Rng, rng_streams: Rng, places: Places, market: Array, clock: Clock, request: Request
    ) -> Sections:
        """Jobs, pools and streams that ask for `load` of the GPU-hours; inference takes what training leaves."""
        n_sites = len(places)
        shape = work.JobShape(self.job_low, max(self.job_low, self.job_high))
        jobs, candidates = self.training(rng_jobs, places, shape, clock, request)
        if jobs:  # at most one a home site, the smallest: they fit, and the grid can carry them
            gpus = jobs["gpus"]
            size = gpus[:n_sites] / places.gpus[: len(gpus)]
            chosen = np.argsort(size, kind="stable")[: round(self.mandatory * n_sites)]
            jobs["mandatory"] = np.isin(np.arange(len(gpus)), chosen)
        wanted = self.load * clock.horizon_h * float(places.gpus.sum())
        deferrable = 0.2 * wanted if self.pools else 0.0
        pools, pool_arcs = work.deferrable_pools(rng_jobs, self.pools, places, deferrable, clock)
        rest = max(wanted - deferrable - work.training_gpu_h(jobs, clock), 0.15 * wanted)
        n_streams = max(4, round(n_sites / 3)) if request.streams is None else request.streams
        streams, arcs = self._streams(rng_streams, n_streams, places, market, rest, clock)
        return dict(jobs=jobs, candidates=candidates, pools=pools, pool_arcs=pool_arcs, streams=streams, arcs=arcs)

    def _streams(
        self, rng: Rng, n: int, places: Places, market: Array, gpu_h: float, clock: Clock
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        if not n:
            return {}, {}
        near = np.arange(n) % len(places)  # sites cycle through the markets, and so do the origins
        latitude = np.clip(places.latitude[near] + rng.normal(0.0, 0.8, n), -85.0, 85.0)
        longitude = places.longitude[near] + rng.normal(0.0, 0.8, n)
        arcs, limit = work.reach(rng, latitude, longitude, places, self.reach, self.reach_most)
        weight = work.accessible_share(arcs, places.gpus, n)
        kind = rng.integers(0, len(work.CLASSES), n)
        origin = np.array([m.name for m in markets.MARKETS])[market[near]]
        origins = work.Origins(origin, longitude, kind, limit, weight)
        return work.inference_streams(rng, origins, gpu_h, clock), arcs


@dataclass(frozen=True)
class Swarm(Fleet):
    """As `fleet`, with 50 small jobs a site."""

    jobs_per_site: float = setting(50.0, "training jobs a site and day", low=0.0, high=1000.0)
    job_low: float = setting(0.01, "smallest job, share of its home site", low=1e-3, high=1.0)
    job_high: float = setting(0.10, "largest job, share of its home site", low=1e-3, high=1.0)

    name = "swarm"


def _geography(rng: Rng, n_sites: int) -> tuple[Array, Array, Array]:
    """Latitude, longitude and market of the sites, spread evenly over the markets."""
    market = np.resize(rng.permutation(len(markets.MARKETS)), n_sites)
    latitude = markets.column(markets.MARKETS, "latitude")[market, 0] + rng.normal(0.0, 1.5, n_sites)
    longitude = markets.column(markets.MARKETS, "longitude")[market, 0] + rng.normal(0.0, 2.0, n_sites)
    return latitude, longitude, market
