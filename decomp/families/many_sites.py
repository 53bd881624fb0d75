"""What families of many sites share: settings, how sites get their energy, and their training jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from decomp.families import equipment, markets, work
from decomp.families.family import Family, Request, setting
from decomp.families.geography import Places
from decomp.families.weather import Clock
from decomp.model.instance import Array

Rng = np.random.Generator
Table = dict[str, Any]


@dataclass(frozen=True)
class ManySites(Family):
    """Sites in markets, each with a microgrid; jobs with candidate sites near their home."""

    period_h: float = setting(0.25, "length of a period, h", low=1 / 12, high=1.0)
    day: int = setting(200, "day of the year", low=1, high=365)
    gpus: float = setting(4096.0, "GPUs of a middling site", low=8.0, high=1e6)
    load: float = setting(0.95, "GPU-hours asked for per GPU-hour installed", low=0.0, high=5.0)
    jobs_per_site: float = setting(5.0, "training jobs a site and day", low=0.0, high=1000.0)
    candidates: int = setting(5, "candidate sites of a job", low=1, high=50)
    negative: float = setting(0.02, "share of negative prices", low=0.0, high=0.5)
    spikes: float = setting(0.004, "chance that a price spike starts in a period", low=0.0, high=0.2)
    retail: float = setting(0.2, "share of sites on a retail tariff with demand charge", low=0.0, high=1.0)
    generators: float = setting(0.6, "share of sites with a generator", low=0.0, high=1.0)
    battery: float = setting(1.0, "scale of the batteries", low=0.0, high=10.0)
    renewables: float = setting(1.0, "scale of wind and sun at the sites", low=0.0, high=10.0)
    budget: float = setting(1.05, "carbon budget, share of the emissions of work spread evenly", low=0.3, high=100.0)

    def clock(self, request: Request) -> Clock:
        """The periods asked for, else those of a day."""
        return Clock(request.periods or round(24 / self.period_h), self.period_h, self.day)

    def installed(self, rng: Rng, n_sites: int, low: float, high: float) -> Array:
        """GPUs of the sites, (site,), in eights, from `low` to `high` times a middling site's."""
        return np.maximum(8.0, np.rint(self.gpus * rng.uniform(low, high, n_sites) / 8.0) * 8.0)

    def energy(
        self,
        rngs: Sequence[Rng],
        places: Places,
        traded: tuple[markets.Market, ...],
        market: Array,
        clock: Clock,
        exact: float = 0.0,
    ) -> tuple[Table, Table]:
        """Sites with their microgrids and tariffs, and the generators.

        Parameters
        ----------
        rngs : for equipment, for tariffs.
        market : number of each site's market among those `traded`, (site,).
        exact : share of the sites with an exact power curve.
        """
        table, peak = equipment.microgrids(
            rngs[0], places, clock, renewables=self.renewables, battery=self.battery, exact=exact
        )
        chances = markets.Chances(self.spikes, self.negative, self.retail)
        table |= markets.tariffs(rngs[1], traded, market, peak, clock, chances)
        return table, equipment.generators(rngs[0], peak, self.generators, clock)

    def training(
        self, rng: Rng, places: Places, shape: work.JobShape, clock: Clock, request: Request
    ) -> tuple[Table, Table]:
        """Training jobs, as many as asked for, and their candidates; see `work.training_jobs`."""
        by_default = round(self.jobs_per_site * len(places) * clock.horizon_h / 24.0)
        n_jobs = by_default if request.jobs is None else request.jobs
        return work.training_jobs(rng, n_jobs, places, self.candidates, shape, clock)
