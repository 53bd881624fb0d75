"""Inference: a request trace gives GPU seconds per request, local time gives the shape, latency gives the arcs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np

from decomp.ingest.clock import zone
from decomp.ingest.keys import within
from decomp.ingest.layout import Series
from decomp.ingest.library import Library
from decomp.ingest.network import great_circle_km, round_trip_ms
from decomp.ingest.series import read_series
from decomp.ingest.spec import Horizon, Inference, Origin, RequestTrace, ServiceClass, Spec
from decomp.ingest.units import OF_STREAMS
from decomp.model.instance import Array, InputError


class Stream(NamedTuple):
    """A class of requests from an origin, number `place` of all: GPU seconds of a request, mean demand in GPUs."""

    name: str
    place: int
    origin: Origin
    service: ServiceClass
    seconds: float
    level_gpu: float

    @property
    def tags(self) -> dict[str, str]:
        """What {placeholders} in a series of demand stand for."""
        origin = self.origin
        known = dict(name=self.name, origin=origin.name, region=origin.region, time_zone=origin.time_zone)
        return known | {"class": self.service.name}


def mean_tokens(trace: RequestTrace, library: Library) -> tuple[float, float]:
    """Mean prompt and output tokens of a trace's requests."""
    table = library.table(trace)
    rows = table.rows("request")
    columns = [trace.prompt_column, trace.output_column]
    tokens = np.stack([table.numbers_in(name, rows) for name in columns], axis=1)
    wrong = np.flatnonzero(~(tokens.min(axis=1) >= 0))
    if len(wrong):
        k = int(wrong[0])
        raise InputError(
            f"{table.place(int(rows[k]))}: tokens are {tokens[k].tolist()}; must be at least 0 "
            f'(where = {{ {trace.output_column!r} = ">0" }} leaves others out)'
        )
    prompt, output = tokens.mean(axis=0)
    return float(prompt), float(output)


def gpu_seconds(service: ServiceClass, tokens: dict[str, tuple[float, float]]) -> float:
    """GPU seconds a request takes on average: prompt read plus answer written."""
    if service.trace not in tokens:
        raise InputError(f"trace = {service.trace!r}: must be one of [requests]: {', '.join(tokens)}")
    prompt, output = tokens[service.trace]
    seconds = prompt / service.prefill_tokens_per_gpu_s + output / service.decode_tokens_per_gpu_s
    if seconds <= 0:
        raise InputError(f"trace {service.trace!r} has no tokens")
    return seconds


def local_shape(service: ServiceClass, origin: Origin, horizon: Horizon) -> Array:
    """Relative demand, (period,): 1 on average over a working day, by the origin's local time."""
    weights = np.array(service.shape)
    if weights.shape != (24,) or weights.min() < 0 or weights.sum() <= 0:
        raise InputError("shape: must be 24 weights of at least 0, not all 0")
    local = zone(origin.time_zone, f"origin {origin.name}: time_zone")
    start = horizon.start_utc + horizon.step / 2
    clock = [(start + k * horizon.step).astimezone(local) for k in range(horizon.periods)]
    midnight = [timedelta(hours=c.hour, minutes=c.minute, seconds=c.second) for c in clock]
    hours = np.array([m / timedelta(hours=1) for m in midnight])
    shape = np.interp(hours, np.arange(-0.5, 25), np.r_[weights[-1], weights, weights[0]]) / weights.mean()
    return shape * np.where([c.weekday() >= 5 for c in clock], service.weekend, 1.0)


def streams_of(
    inference: Inference, requests: dict[str, RequestTrace], fleet_gpus: float, library: Library
) -> list[Stream]:
    """The streams of a spec, every class of every origin; together they ask for a share of the fleet's GPUs."""
    origins, classes = inference.origins, inference.classes
    total = sum(o.weight for o in origins) * sum(c.share for c in classes)
    if total <= 0:
        raise InputError("weights of the origins and shares of the classes must not all be 0")
    tokens: dict[str, tuple[float, float]] = {}
    for name, trace in requests.items():
        with within(f"requests.{name}"):
            tokens[name] = mean_tokens(trace, library)
    per_request = []
    for service in classes:
        with within(f"class {service.name}"):
            per_request.append(gpu_seconds(service, tokens))
    return [
        Stream(
            f"{origin.name}/{service.name}",
            i,
            origin,
            service,
            seconds,
            inference.gpu_hours_share * fleet_gpus * origin.weight * service.share / total,
        )
        for i, origin in enumerate(origins)
        for service, seconds in zip(classes, per_request, strict=True)
    ]


def measured_demand(
    streams: list[Stream], series: dict[str, Series], horizon: Horizon, library: Library
) -> list[Array]:
    """Requests per second of every stream, (period,) each, from the one series that measured them."""
    for name in series:
        if name not in OF_STREAMS:
            raise InputError(f"series.{name}: no such quantity of a stream; known are {', '.join(OF_STREAMS)}")
    if len(series) != 1:
        raise InputError(f"series: needs one of {', '.join(OF_STREAMS)}; there are {len(series)}")
    [(name, declared)] = series.items()
    found = []
    for stream in streams:
        with within(f"stream {stream.name}"), within(f"series {name}"):
            values = read_series(library, name, declared, horizon, stream.tags)
        found.append(values if name == "requests" else stream.level_gpu * values / stream.seconds)
    return found


def build_streams(
    spec: Spec, inference: Inference, capacity: Array, library: Library, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Streams (one per origin and class) and the arcs to the sites within their latency limit.

    `capacity` : GPUs, (site, period); measured demand is relative to all that are installed, else to the mean of these.
    """
    sites, horizon = spec.sites, spec.horizon
    gpus = sum(site.gpus for site in sites) if inference.series else float(capacity.sum(axis=0).mean())
    streams = streams_of(inference, spec.requests, gpus, library)
    trips = round_trip_ms(spec.latency, library, inference.origins, sites)
    km = great_circle_km(inference.origins, sites)
    arcs: list[tuple[int, Any, float, float]] = []
    demand = measured_demand(streams, inference.series, horizon, library) if inference.series else []
    for d, (name, i, origin, service, seconds, level) in enumerate(streams):
        if not inference.series:
            with within(f"class {service.name}"):
                shape = local_shape(service, origin, horizon)
            noise = np.exp(inference.noise * rng.standard_normal(horizon.periods))
            demand.append(level * shape * noise / seconds)
        within_reach = np.flatnonzero(trips[i] + service.service_ms <= service.latency_limit_ms)
        if not within_reach.size:
            raise InputError(
                f"stream {name}: no site within {service.latency_limit_ms:g} ms; the nearest takes "
                f"{trips[i].min():.1f} ms round trip plus {service.service_ms:g} ms of service"
            )
        arcs += [(d, s, trips[i, s], km[i, s]) for s in within_reach]
    return _streams(streams, demand), _arcs(arcs, inference.route_usd_per_gpu_h_1000km)


def _streams(streams: list[Stream], demand: list[Array]) -> dict[str, Any]:
    services = [stream.service for stream in streams]
    same = ("latency_limit_ms", "service_ms", "revenue", "unserved_penalty")
    return dict(
        name=[stream.name for stream in streams],
        origin=[stream.origin.name for stream in streams],
        service_class=[service.name for service in services],
        demand_rps=np.array(demand),
        gpu_per_rps=[stream.seconds for stream in streams],
        **{k: [getattr(service, k) for service in services] for k in same},
    )


def _arcs(arcs: list[tuple[int, Any, float, float]], usd_per_1000km: float) -> dict[str, Any]:
    stream, site, trip, km = (np.array(c) for c in zip(*arcs, strict=True))
    return dict(stream=stream, site=site, round_trip_ms=trip, cost=usd_per_1000km * km / 1000.0)
