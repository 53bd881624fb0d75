"""What a solve will take on a cluster: ranks, seconds and memory, from an instance's size and a short calibration.

The calibration asks a few sites of the instance here, for a second or two. How many iterations, dispatches and cluster
moves a solve makes, and what a move and the master take beside a site, was measured on the family `fleet`
(`RATES`). The chain of steps that follows is replayed on numbers of ranks (see `replay`). Every number comes with
its reason; time is the least certain, by a factor of about two.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from decomp.bench.replay import Cluster, ReplayStep, Times, replay, size_of
from decomp.bound.coupling import Coupling
from decomp.bound.lagrangian import first_prices
from decomp.bound.master import COLUMNS
from decomp.files.store import read_sites
from decomp.lp.block import Block
from decomp.lp.highs import Effort
from decomp.model.instance import TABLES, Array, Instance
from decomp.model.scenarios import expand
from decomp.search.by_prices import LEAST_SCENARIOS
from decomp.site.equations import add_site
from decomp.site.oracle import Plan, SiteOracle, SiteRows
from decomp.site.service import Dispatch

CALIBRATION_SECONDS = 2.0
CALIBRATION_SITES = 24
EFFICIENCY = 0.5  # the least that a further doubling of the ranks must leave
MOST_RANKS = 4096
SLACK = 2.0  # on time and memory asked for, over the estimate


@dataclass(frozen=True)
class Rates:
    """Constants of the family `fleet` at 30 sites of 96 periods; rounds of moves for a gap well below 0.5 %."""

    iterations: int = 100
    dispatches: int = 4
    rounds: int = 12
    cluster_sites: int = 4
    dispatch_sites: float = 40.0  # time of a site's integral dispatch, in times of its linear relaxation
    move_sites: float = 400.0  # time of a cluster move, likewise
    root_seconds: float = 15e-6  # of the root alone, an iteration, for each site and period
    message_seconds: float = 30e-6
    byte_seconds: float = 1e-9


RATES = Rates()


@dataclass(frozen=True)
class Calibration:
    """What sites of the instance take here: seconds of those asked, MB a site and MB of the process without any."""

    seconds: Array
    site_mb: float
    base_mb: float


@dataclass(frozen=True)
class Estimate:
    """What to ask the cluster for. Times are of one run without a restart."""

    ranks: int
    seconds: float
    root_mb: float
    rank_mb: float
    times: Times
    efficiency: float


def sample(instance: Instance) -> Array:
    """Some sites, evenly spaced over the instance and its scenarios."""
    return np.unique(np.linspace(0, instance.n_sites - 1, CALIBRATION_SITES).astype(int))


def calibrate(path: Path, instance: Instance) -> Calibration:
    """Ask some sites at the first prices and around them."""
    instance = expand(instance)
    chosen = sample(instance)
    price = first_prices(Coupling.of(instance), instance.sites, instance.carbon_price_usd_per_t)[chosen]
    gc.collect()
    base = resident_mb()
    grids = read_sites(path, chosen)
    oracles = [SiteOracle(grids, k, instance.period_h, instance.carbon_price_usd_per_t) for k in range(len(chosen))]
    rng, until = np.random.default_rng(0), time.monotonic() + CALIBRATION_SECONDS
    seconds: list[list[float]] = []
    while not seconds or (len(seconds) < 10 and time.monotonic() < until):
        factor = rng.uniform(0.9, 1.1, price.shape)
        wall, cpu = time.perf_counter(), time.process_time()
        asked = [oracle.evaluate(p, 0.0).seconds for oracle, p in zip(oracles, factor * price, strict=True)]
        used = (time.process_time() - cpu) / (time.perf_counter() - wall)  # what else the machine does is not counted
        seconds.append([min(used, 1.0) * s for s in asked])
    warm = np.mean(seconds[1:] or seconds, axis=0)
    return Calibration(warm, max((resident_mb() - base) / len(chosen), 0.1), base)


def resident_mb() -> float:
    """Memory of this process now, MB; its peak where the system does not tell."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


@dataclass(frozen=True)
class Bytes:
    """What the messages about a site hold, bytes; means over some sites of the instance.

    series : one number a period; rows : its tables; request : of its dispatch, for a rank that does not own it;
    plan : the answer.
    """

    series: float
    rows: float
    request: float
    plan: float

    @classmethod
    def of(cls, instance: Instance) -> Bytes:
        series = np.zeros(instance.n_periods)
        sizes = []
        for i in sample(instance):
            rows, block = SiteRows.of(instance, int(i)), Block()
            add_site(block, rows.grids, rows.i, rows.period_h)
            request = Dispatch(int(i), series, series, series, 0.0, Effort(), rows)
            plan = Plan(series, 0.0, 0.0, block.finish().columns, 0.0)
            sizes.append([size_of(rows), size_of(request), size_of(plan)])
        return cls(float(series.nbytes), *np.mean(sizes, axis=0).tolist())


def chain(instance: Instance, calibration: Calibration) -> list[ReplayStep]:
    """The steps that a solve of this instance is expected to take."""
    instance, m = expand(instance), RATES
    n, size = instance.n_sites, Bytes.of(instance)
    site = np.arange(n)
    seconds = np.random.default_rng(0).choice(calibration.seconds, n)
    root = m.root_seconds * n * instance.n_periods
    links = (1 + instance.day_ahead_lines) * size.series
    iteration = ReplayStep(root, seconds, site, links, links)
    plans = np.sort(m.dispatch_sites * seconds)[::-1]
    dispatch = ReplayStep(root, plans, None, size.request, size.plan)
    judges = min(instance.copies, LEAST_SCENARIOS)  # scenarios in a cluster's model
    moves = np.sort(judges * m.move_sites * seconds[: instance.n_places // m.cluster_sites])[::-1]
    # A cluster's task: every site's rows, its load and what of it stays; of every stream three series.
    streams = min(len(instance.arcs.site) / n * m.cluster_sites, len(instance.streams.name) / instance.copies)
    task = judges * (m.cluster_sites * (size.rows + 2 * size.series) + 3 * streams * size.series)
    farm = ReplayStep(root, moves, None, task, size.series)
    return [iteration] * m.iterations + [dispatch] * m.dispatches + [farm] * (m.rounds if instance.n_jobs else 0)


def estimate(instance: Instance, calibration: Calibration, ranks: int | None = None) -> Estimate:
    """For given ranks, or for as many doublings as leave `EFFICIENCY`."""
    instance = expand(instance)
    steps = chain(instance, calibration)
    cluster = Cluster(1, message_seconds=RATES.message_seconds, byte_seconds=RATES.byte_seconds)
    alone = replay(steps, cluster).total

    def on(ranks: int) -> tuple[Times, float]:
        times = replay(steps, replace(cluster, ranks=ranks))
        return times, alone / times.total / ranks

    if ranks is None:
        ranks = 1
        while 2 * ranks <= min(instance.n_sites, MOST_RANKS) and on(2 * ranks)[1] >= EFFICIENCY:
            ranks *= 2
    times, efficiency = on(ranks)
    own = -(-instance.n_sites // ranks)
    rank_mb = calibration.base_mb + own * calibration.site_mb
    return Estimate(ranks, times.total, rank_mb + master_mb(instance), rank_mb, times, efficiency)


def master_mb(instance: Instance) -> float:
    """Columns of all sites with their products, and the instance thrice: as read, in the master, in a result."""
    columns = instance.n_sites * COLUMNS * (instance.n_periods + COLUMNS + 4) * 8
    return (columns + 3 * sum(size_of(getattr(instance, name)) for name in TABLES)) / 2**20
