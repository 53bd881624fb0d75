"""Small fleets over wide scales: prices 1e-6 to 1e6, limits 1e-3 to 1e12, and whatever is degenerate.

Nothing here is likely; all of it is allowed. Many have no schedule, and some are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from decomp.model.instance import Array, Instance, build_instance

Rng = np.random.Generator
LEAST_SLOPE = 1.5e-6  # MW/GPU; below 1e-6 the instance is refused


class Wild:
    """The draw of one instance."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.n_sites, self.n = int(self.rng.integers(1, 4)), int(self.rng.integers(2, 9))
        self.shape = (self.n_sites, self.n)
        self.period_h = float(self.rng.choice([1 / 12, 0.25, 0.5, 1.0]))
        self.mw = self.scale(-3, 3, 0.3)  # at full load
        self.gpus = np.minimum(self.scale(-2, 7, 0.3), self.mw / LEAST_SLOPE)
        self.usd = float(10 ** self.rng.uniform(-6, 6))  # of a MWh

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def scale(self, low: float, high: float, apart: float) -> Array:
        """A size, (site,): the same order of magnitude everywhere, or (`apart`) another at each site."""
        n = self.n_sites if self.chance(apart) else 1
        return np.asarray(10 ** self.rng.uniform(low, high, n) * np.ones(self.n_sites))

    def limit(self, usual: Array) -> Array:
        """A limit (site, 1) beside a usual amount: none, exact, a little less, ample, or of any size."""
        kind = self.rng.integers(0, 6)
        factor = [0.0, 1.0, self.rng.uniform(0.3, 1.0), self.rng.uniform(1.0, 3.0), 10 ** self.rng.uniform(0, 3)]
        if kind == 5:
            return np.full((self.n_sites, 1), 10 ** self.rng.uniform(-3, 12))
        return np.asarray((factor[kind] * usual)[:, None])

    def prices(self) -> tuple[Array, Array]:
        """Prices of energy bought and sold."""
        usd, rng = self.usd, self.rng
        buy = {
            0: usd * rng.uniform(0.3, 1.7, self.shape),
            1: np.full(self.shape, usd),
            2: np.zeros(self.shape),
            3: usd * rng.uniform(-1, 1, self.shape),
            4: usd * 10 ** rng.uniform(-3, 0, self.shape),
            5: usd * rng.integers(-1, 2, self.shape),
        }[int(rng.integers(0, 6))]
        sell = buy * rng.choice([1.0, 0.8, 0.0, 1.0, 1.5]) - usd * rng.choice([0.0, 0.0, 0.1])
        return np.clip(buy, -1e6, 1e6), np.clip(sell, -1e6, 1e6)

    def sites(self) -> dict[str, Any]:
        rng, gpus = self.rng, self.gpus[:, None] * np.ones(self.shape)
        if self.chance(0.3):
            gpus = np.round(gpus) * 0.57
        if self.chance(0.2):
            gpus *= rng.choice([0.0, 1.0], gpus.shape)
        if self.chance(0.1):
            gpus[rng.integers(0, self.n_sites)] = 0.0
        self.capacity = gpus
        slope = (self.mw / np.maximum(self.gpus, 1e-9))[:, None] * np.ones((1, 1 + self.chance(0.3)))
        idle = self.mw * rng.choice([0.0, 0.1, 0.3])
        intercept = np.tile(idle[:, None], slope.shape[1])
        if slope.shape[1] == 2:
            slope[:, 1] *= 1.5
            intercept[:, 1] -= 0.3 * self.mw
        buy, sell = self.prices()
        made = dict(
            capacity_gpu=gpus,
            power_slope_mw_per_gpu=slope,
            power_intercept_mw=intercept,
            exact_power_curve=self.chance(0.3),
            pue=float(rng.choice([1.0, 1.2, 1.5])),
            import_limit_mw=self.limit(2.0 * self.mw),
            export_limit_mw=self.limit(self.mw),
            buy_price=buy,
            sell_price=sell,
            curtailable=self.chance(0.8),
        )
        for name in ("wind_mw", "solar_mw"):
            if self.chance(0.4):
                made[name] = self.mw[:, None] * rng.uniform(0, 1.5, self.shape)
        if self.chance(0.2):
            made["demand_charge"] = min(self.usd * 10 ** rng.uniform(-1, 2), 1e6)
            made["peak_so_far_mw"] = self.mw * rng.choice([0.0, 0.5])
        return made | self.battery()

    def battery(self) -> dict[str, Any]:
        if self.chance(0.5):
            return {}
        rng, size = self.rng, self.limit(self.mw)[:, 0]
        power = np.maximum(self.limit(self.mw)[:, 0], 1e-3)
        start = np.minimum(size * rng.choice([0.0, 0.5, 1.0]), 1e7)  # what is stored may be no more
        return dict(
            battery_mwh=size,
            battery_initial_mwh=start,
            battery_final_mwh=start * rng.choice([0.0, 1.0]),
            charge_mw=power,
            discharge_mw=power * rng.choice([1.0, 0.5]),
            charge_efficiency=rng.choice([1.0, 0.9]),
            discharge_efficiency=rng.choice([1.0, 0.9]),
            wear_usd_per_mwh=self.usd * rng.choice([0.0, 0.1]),
        )

    def generators(self) -> dict[str, Any]:
        if self.chance(0.6):
            return {}
        rng, site = self.rng, np.flatnonzero(self.rng.random(self.n_sites) < 0.7)
        most = np.maximum(self.limit(self.mw)[site, 0], 1e-3)
        least = most * rng.choice([0.0, 0.3, 1.0])
        on = self.chance(0.3)
        return dict(
            site=site,
            p_min_mw=least,
            p_max_mw=most,
            fuel_usd_per_mwh=self.usd * rng.choice([0.0, 0.7, 1.0]),
            start_usd=self.usd * self.mw[site] * rng.choice([0.0, 1.0]),
            no_load_usd_per_h=self.usd * self.mw[site] * rng.choice([0.0, 0.1]),
            ramp_up_mw_per_h=most * rng.choice([0.5, np.inf]),
            ramp_down_mw_per_h=most * rng.choice([0.5, np.inf]),
            min_up_periods=int(rng.integers(1, 4)),
            min_down_periods=int(rng.integers(1, 4)),
            emission_t_per_mwh=float(rng.choice([0.0, 0.5])),
            initial_mw=most * on,
            initial_periods=int(rng.integers(1, 4)),
        )

    def worth(self) -> float:
        """USD of a GPU hour: anything between a hundredth and a thousand times its energy."""
        energy = self.usd * float(np.median(self.mw / np.maximum(self.gpus, 1e-9)))
        return float(np.clip(energy * 10 ** self.rng.uniform(-2, 3), 0.0, 1e5)) * self.rng.choice([0.0, 1.0, 1.0, 1.0])

    def jobs(self) -> dict[str, Any]:
        """Jobs of a part of a site, exactly as large as one, or too large; windows with room or without."""
        rng, n_jobs = self.rng, int(self.rng.integers(0, 4))
        rows: list[dict[str, Any]] = []
        places: list[tuple[int, int]] = []
        for job in range(n_jobs):
            length = int(rng.integers(1, self.n + 1))
            release = int(rng.integers(0, self.n - length + 1))
            spare = 0 if self.chance(0.3) else int(rng.integers(0, self.n - length - release + 1))
            where = rng.permutation(self.n_sites)[: rng.integers(1, self.n_sites + 1)].tolist()
            room = float(self.capacity[where[0], release : release + length].min())
            share = rng.choice([1.0, rng.uniform(0.1, 0.9), rng.uniform(1.0, 2.0)], p=[0.3, 0.6, 0.1])
            gpus = float(f"{room * share:.10g}") or 1.0
            rows.append(
                dict(
                    gpus=max(gpus, 3e-8),
                    periods=length,
                    release=release,
                    deadline=release + length + spare,
                    value_usd=min(self.worth() * gpus * length * self.period_h, 1e6),
                    mandatory=self.chance(0.25),
                )
            )
            places += [(job, site) for site in where]
        if not rows:
            return {}
        job_of, site = np.array(places).T
        move = np.minimum(np.array([r["value_usd"] for r in rows])[job_of] * rng.choice([0.0, 0.1]), 1e6)
        return dict(
            jobs={name: [row[name] for row in rows] for name in rows[0]},
            candidates=dict(job=job_of, site=site, cost_usd=move),
        )

    def streams(self) -> dict[str, Any]:
        rng, n_streams = self.rng, int(self.rng.integers(0, 3))
        if not n_streams:
            return {}
        reach = rng.random((n_streams, self.n_sites)) < 0.7
        reach[:, 0] |= ~reach.any(axis=1)
        stream, site = np.nonzero(reach)
        demand = self.capacity.max() * rng.choice([0.0, 0.3, 1.0, 2.0]) * rng.uniform(0, 1, (n_streams, self.n))
        worth = self.worth()
        return dict(
            streams=dict(demand_rps=demand, revenue=worth, unserved_penalty=worth * rng.choice([0.0, 1.0, 10.0])),
            arcs=dict(stream=stream, site=site, cost=worth * rng.choice([0.0, 0.1], len(site))),
        )

    def pools(self) -> dict[str, Any]:
        if self.chance(0.7):
            return {}
        rng, where = self.rng, np.flatnonzero(self.rng.random(self.n_sites) < 0.8)
        start = int(rng.integers(0, self.n))
        end = int(rng.integers(start + 1, self.n + 1))
        rate = self.capacity.max(axis=1)[where] * rng.choice([0.3, 1.0])
        possible = self.period_h * np.minimum(self.capacity[where, start:end], rate[:, None]).sum()
        work = possible * rng.choice([1.0, rng.uniform(0, 1), 0.0])
        penalty = float(rng.choice([np.inf, self.worth()]))
        return dict(
            pools=dict(work_gpu_h=[work], start=[start], end=[end], shortfall_penalty=[penalty]),
            pool_arcs=dict(pool=np.zeros(len(where), dtype=int), site=where, rate_gpu=rate),
        )

    def carbon(self, sites: dict[str, Any]) -> dict[str, Any]:
        rng = self.rng
        sites["carbon_intensity"] = rng.choice([0.0, 1.0]) * rng.uniform(0, 1, self.shape)
        if self.chance(0.3):
            sites["export_credit"] = rng.uniform(0, 1, self.shape) * rng.choice([0.1, 1.0])
        if self.chance(0.5):
            return {}
        energy = float(self.mw.sum()) * self.n * self.period_h
        made: dict[str, Any] = dict(carbon_budget_t=energy * rng.choice([0.0, 1e-3, rng.uniform(0, 1), 10.0]))
        if self.chance(0.3):
            made["carbon_excess_usd_per_t"] = min(self.usd * 10 ** rng.uniform(-1, 2), 1e6)
        if self.chance(0.3):
            made["carbon_price_usd_per_t"] = min(self.usd * 10 ** rng.uniform(-2, 1), 1e6)
        return made

    def instance(self) -> Instance:
        sites = self.sites()
        scalars = self.carbon(sites)
        work = self.jobs() | self.streams() | self.pools()
        return build_instance(
            self.n_sites, self.n, self.period_h, sites=sites, generators=self.generators(), **work, **scalars
        )


def wild(seed: int) -> Instance:
    """The instance of a seed."""
    return Wild(seed).instance()
