"""The proximal master: an augmented Lagrangian over site columns, routing, job starts, pools and the budget.

Around a centre (price, carbon price) it maximises the model of the dual minus a proximal term; the
primal of that problem is what the kernels solve, and its residual (load put on a site minus load its
columns carry) moves the price: price = centre + step * weight * residual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decomp import kernels, site_kernels
from decomp.coupling import FREE, REJECTED, Coupling
from decomp.instance import Array
from decomp.pool import Pool
from decomp.site import Answer

PASSES_PER_CHECK = 6
ATOMS = 16  # runs a job's relaxed start may be spread over
COLUMNS = 40  # answers kept per site


@dataclass(frozen=True)
class Proposal:
    """Where the master wants the sites to be asked next, and what its model promises there, USD."""

    price: Array
    carbon_price: float
    model: float
    site_model: Array
    passes: int


@dataclass(frozen=True)
class Fixing:
    """Decisions on jobs: candidate row (FREE, REJECTED or k) and start of each job."""

    run: Array
    start: Array


class Master:
    """Column model of the sites, exact model of the work, and the proximal subproblem over both."""

    def __init__(self, coupling: Coupling, price: Array, carbon_price: float, carbon_scale: float):
        """price (S, T) in USD per GPU and period; carbon_scale: typical fleet emissions, t."""
        self.coupling = coupling
        n_sites, n = price.shape
        self.price, self.carbon_price = price.copy(), carbon_price
        scale = float(np.mean(np.abs(price))) + 1e-9
        self.weight = scale / np.maximum(coupling.capacity, 1e-3 * coupling.capacity.max())
        self.carbon_weight = 500.0 / max(carbon_scale, 1e-9)
        self.step = 1.0
        self.pool = Pool(n_sites, n, COLUMNS)
        self.theta = np.zeros((n_sites, COLUMNS))
        self.gram = np.zeros((n_sites, COLUMNS, COLUMNS))
        self.routed = np.zeros((len(coupling.streams.site), n))
        self.pooled = np.zeros((len(coupling.pools.site), n))
        self.run = np.full((coupling.n_jobs, ATOMS), REJECTED)
        self.start = np.full((coupling.n_jobs, ATOMS), -1)
        self.share = np.zeros((coupling.n_jobs, ATOMS))
        self.fixing = Fixing(*coupling.free_jobs())
        self._place_work()

    def _place_work(self) -> None:
        """First position: every job at its cheapest run, demand and pools not yet placed."""
        jobs = self.coupling.jobs
        value, run, start = kernels.cheapest_runs(self.price, jobs)
        taken = ~jobs.optional | (value < 0.0)
        self.run[:, 0], self.start[:, 0] = np.where(taken, run, REJECTED), np.where(taken, start, -1)
        self.share[:, 0] = 1.0

    @property
    def n_columns(self) -> int:
        return int(self.pool.count.sum())

    def add(self, answers: Sequence[Answer]) -> None:
        """Take one answer per site into the pool; a full site forgets the one idle for longest."""
        for i, answer in enumerate(answers):
            if answer.load is not None:
                self._add_column(i, answer)

    def _add_column(self, i: int, answer: Answer) -> None:
        theta = self.theta[i]
        first = self.pool.count[i] == 0
        k = self.pool.slot(i, theta)
        if theta[k] > site_kernels.TINY:
            theta[np.argmax(theta)] += theta[k]
        self.pool.put(i, k, answer)
        theta[k] = 1.0 if first else 0.0
        site_kernels.add_gram(self.pool.loads, self.weight, self.gram, i, k, int(self.pool.count[i]))

    def work_load(self) -> Array:
        """Load that routing, jobs and pools put on the sites, (S, T) GPU."""
        load = np.zeros_like(self.price)
        kernels.arc_load(load, self.coupling.streams.site, self.routed)
        kernels.arc_load(load, self.coupling.pools.site, self.pooled)
        kernels.job_load(load, self.coupling.jobs, self.run, self.start, self.share)
        return load

    def site_load(self) -> Array:
        """Load that the convexified site columns carry, (S, T) GPU."""
        return site_kernels.site_load(self.theta, self.pool.loads, self.pool.count)

    def emissions(self) -> float:
        return float((self.theta * self.pool.emission).sum())

    def model(self, price: Array, carbon_price: float) -> tuple[float, Array]:
        """Value of the column model at given prices, in all and by site: never below the true dual function."""
        sites = self.pool.least_value(price, carbon_price)
        fixed = (self.fixing.run, self.fixing.start)
        return float(sites.sum()) + self.coupling.dual_terms(price, carbon_price, fixed), sites

    def propose(self, centre: Array, centre_carbon: float, *, accuracy: float, max_passes: int) -> Proposal:
        """Solve the proximal subproblem around a centre until its own gap is `accuracy` of the promised rise."""
        c, step, pool = self.coupling, self.step, self.pool
        carbon_step = step * self.carbon_weight if c.carbon_cap > 0 else 0.0
        curve = step * self.weight
        price = centre + curve * (self.work_load() - self.site_load())
        carbon = np.array([0.0, centre_carbon, carbon_step, c.carbon_cap])
        site_kernels.carbon_update(carbon, self.emissions() - c.budget if carbon_step > 0 else 0.0)
        base = self.model(centre, centre_carbon)[0]
        done = 0
        while True:
            for _ in range(PASSES_PER_CHECK):
                site_kernels.site_pass(
                    price, curve, step, pool.loads, pool.cost, pool.emission, self.theta, pool.count, self.gram,
                    carbon, 2 * COLUMNS,
                )  # fmt: skip
                kernels.stream_pass(price, curve, c.streams, self.routed)
                if done % 2 == 0:  # scanning all starts is dear, and routing moves more than jobs do
                    kernels.job_pass(price, curve, c.jobs, self.fixing.run, self.run, self.start, self.share)
                kernels.pool_pass(price, curve, c.pools, self.pooled)
                done += 1
            value, sites = self.model(price, float(carbon[0]))
            penalty = self._proximity(price - centre, float(carbon[0]) - centre_carbon, carbon_step)
            slack = self._primal(price, centre, carbon, centre_carbon, carbon_step) - (value - penalty)
            if slack <= accuracy * max(value - penalty - base, 0.0) or done >= max_passes:
                break
        pool.used(self.theta)
        self.price, self.carbon_price = price, float(carbon[0])
        return Proposal(price, float(carbon[0]), value, sites, done)

    def _proximity(self, move: Array, carbon_move: float, carbon_step: float) -> float:
        """The proximal term at a distance from the centre."""
        far = 0.5 * float((move * move / self.weight).sum()) / self.step
        return far + (0.5 * carbon_move**2 / carbon_step if carbon_step > 0 else 0.0)

    def _primal(
        self, price: Array, centre: Array, carbon: Array, centre_carbon: float, carbon_step: float
    ) -> float:
        """Value of the augmented Lagrangian at the current weights: an upper bound of the subproblem."""
        residual = (price - centre) / (self.step * self.weight)
        total = self.work_cost() + float((self.theta * self.pool.cost).sum())
        total += float((residual * (centre + price)).sum()) / 2.0
        if carbon_step > 0:
            # max over the carbon price of price * excess - (price - centre)^2 / (2 step)
            excess = (carbon[1] - centre_carbon) / carbon_step
            total += float(carbon[0]) * excess - 0.5 * (float(carbon[0]) - centre_carbon) ** 2 / carbon_step
        return total

    def work_cost(self) -> float:
        """Net cost of the current routing, runs and pools, USD."""
        c = self.coupling
        return c.flow_cost(self.routed, self.pooled) + kernels.run_cost(c.jobs, self.run, self.share)

    def pack(self) -> dict[str, Array]:
        """Where the master stands, for a checkpoint; the columns of all sites one after the other."""
        used = np.arange(COLUMNS) < self.pool.count[:, None]
        return dict(
            price=self.price,
            weight=self.weight,
            column_site=np.nonzero(used)[0],
            column_load=self.pool.loads[used],
            column_cost=self.pool.cost[used],
            column_emissions=self.pool.emission[used],
            column_share=self.theta[used],
            column_idle=self.pool.idle[used],
            routed=self.routed,
            pooled=self.pooled,
            atom_run=self.run,
            atom_start=self.start,
            atom_share=self.share,
            fixed_run=self.fixing.run,
            fixed_start=self.fixing.start,
        )

    def unpack(self, packed: Mapping[str, Array]) -> None:
        """Go back to where `pack` was called; takes the arrays, which must be writable, for its own."""
        site = packed["column_site"]
        self.pool.count = np.bincount(site, minlength=len(self.price))
        used = np.arange(COLUMNS) < self.pool.count[:, None]
        self.price, self.weight = packed["price"], packed["weight"]
        self.pool.loads[used], self.pool.cost[used] = packed["column_load"], packed["column_cost"]
        self.pool.lower[used] = -np.inf  # a checkpoint is not believed
        self.pool.emission[used], self.theta[used] = packed["column_emissions"], packed["column_share"]
        self.pool.idle[used] = packed["column_idle"]
        for i, k in np.argwhere(used):
            site_kernels.add_gram(self.pool.loads, self.weight, self.gram, i, k, int(self.pool.count[i]))
        self.routed, self.pooled = packed["routed"], packed["pooled"]
        self.run, self.start, self.share = packed["atom_run"], packed["atom_start"], packed["atom_share"]
        self.fixing = Fixing(packed["fixed_run"], packed["fixed_start"])

    def fix_jobs(self, run: Array, start: Array) -> None:
        """Fix jobs to runs (FREE leaves a job as it is); their relaxed starts move there at once."""
        self.fixing = Fixing(run.copy(), start.copy())
        hit = run != FREE
        self.share[hit], self.share[hit, 0] = 0.0, 1.0
        self.run[hit, 0], self.start[hit, 0] = run[hit], start[hit]
