"""Lagrangian relaxation of the load balance of every site: the dual by a disaggregate proximal bundle method.

The dual function is a sum over sites of what a site's relaxation is worth at prices of load and carbon, plus a closed
form of the work. A site's answer is a column (a point) and a cut (a subgradient with a proven value), both kept in the
bundle (Lemarechal 1975; step control by Kiwiel 1990).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from decomp.bound.coupling import Coupling, Fixing
from decomp.bound.master import Master, Scales
from decomp.bound.multipliers import Multipliers
from decomp.model.instance import Array, Sites
from decomp.model.options import Bundle
from decomp.ranks.workers import Workers
from decomp.site.faults import SiteFailure
from decomp.site.service import SiteAnswers, SiteService

STILL = 0.01  # emissions below that share of the largest at any of the first prices set no scale
LONGER, SHORTER, MOST = 1.3, 0.7, 20.0  # factors on the step of prices in a period of a scenario, and their range
WORTH = 0.1  # scale of prices of load where energy is free, relative to what work is worth
FREE_ENERGY = 1e-3  # of that; prices of energy below it count as free
CALMER, BOLD, BOLDER = 0.25, 1.5, 4.0  # factors on the step of scenarios' weights
ROUNDING = 1e-9  # relative
LONGEST_STEP = 1e5  # largest proximal step; an infeasible fixing of jobs has an unbounded dual


@dataclass(frozen=True)
class DualPoint:
    """Dual multipliers and the lower bound that they prove.

    Attributes
    ----------
    site_lower : (S,) proven least value of each site's cost and emissions at the prices, less its load's worth, USD.
    bound : sum of `site_lower` and the closed form of work and budget (`Coupling.dual_terms`), USD.
    periods : so many of the links are of load.
    """

    prices: Multipliers
    site_lower: Array
    bound: float
    periods: int

    @property
    def price(self) -> Array:
        """Of load, (S, T) USD per GPU and period."""
        return np.ascontiguousarray(self.prices.links[:, : self.periods])

    @property
    def own_money(self) -> tuple[Array, Array]:
        """Prices of load (S, T) and of carbon (S,) in the money of each row's scenario."""
        links, carbon = self.prices.in_own_money()
        return np.ascontiguousarray(links[:, : self.periods]), carbon

    @property
    def carbon_price(self) -> float:
        """USD/t; where every scenario has its own, the mean of those."""
        return float(self.prices.carbon.mean())


@dataclass(frozen=True)
class BundleStep:
    """What one iteration did, for the log and the stopping rules.

    Attributes
    ----------
    bound, model : proven bound of the centre, and the model's value at the proposal, USD.
    serious : the bound rose by the share asked for of what the model promised; else a null step.
    passes : of the block-coordinate method in the master.
    residual_gpu : mean over periods of the fleet's absolute residual, GPU. imbalance : residual times price, USD.
    site_seconds, master_seconds : wall time of the sites' answers, and of the master.
    """

    bound: float
    model: float
    serious: bool
    residual_gpu: float
    passes: int
    imbalance: float
    site_seconds: float
    master_seconds: float

    def converged(self, tolerance: float) -> bool:
        """Whether model - bound, and the value of the residual, are small relative to the bound.

        A model below the bound, by more than rounding, is no sign of convergence: the master is not solved well enough.
        """
        scale = max(abs(self.bound), 1.0)
        promised, balanced = self.model - self.bound, self.imbalance <= 30.0 * tolerance * scale
        return -ROUNDING * scale <= promised <= tolerance * scale and balanced


@dataclass(frozen=True)
class Start:
    """A warm start of the bundle method.

    Attributes
    ----------
    price : (S, T) USD per GPU and period. carbon_price : USD/t. step : first proximal step.
    columns : (K, S, T) further prices for first columns; the loop is centred at those of all that prove most.
    fixing : of jobs in an earlier solution; the dive begins with those whose runs are near the best at the prices.
    """

    price: Array
    carbon_price: float
    columns: Array
    step: float
    fixing: Fixing | None = None


def first_prices(coupling: Coupling, sites: Sites, carbon_price: float) -> Array:
    """Marginal energy cost of load at each site and period, (S, T) USD per GPU and period."""
    steepest = sites.power_slope_mw_per_gpu.max(axis=1)[:, None] * sites.pue
    energy = sites.buy_price + carbon_price * sites.carbon_intensity
    return coupling.period_h * steepest * energy


def typical_price(price: Array, coupling: Coupling) -> float:
    """Scale of the prices of load, USD per GPU and period: the first ones' mean; by work's worth if energy is free."""
    first, worth = float(np.mean(np.abs(price))), WORTH * coupling.worth()
    return first if first > FREE_ENERGY * worth else worth


def typical_emissions(first: SiteAnswers, *others: SiteAnswers) -> float:
    """Scale of the fleet's emissions, t CO2, from the sites' first answers.

    The first set of answers gives it, or the one with most emissions if the first has next to none; else 1 t.
    """
    tonnes = [float(np.nansum(np.abs(answers.emissions))) for answers in (first, *others)]
    if tonnes[0] > STILL * max(tonnes):
        return tonnes[0]
    return max(tonnes) or 1.0


def typical_cost(c: Coupling, *asked: SiteAnswers) -> float:
    """What scenarios may differ by in net cost, USD: the most that the first answers to any prices do; not zero."""
    costs = [np.nansum(answers.cost.reshape(c.copies, -1), axis=1) / c.probability for answers in asked]
    return max(float(np.ptp(cost)) for cost in costs) or 1.0


class LagrangianLoop:
    """Proximal bundle method on the dual of the coupling rows. Root only.

    Attributes
    ----------
    centre : stability centre, the best proven prices for the present fixing of jobs.
    master : the proximal master over all columns.
    least_value : (S, 1) least price at which a residual counts in `BundleStep.imbalance`, USD per GPU and period; above
        zero where energy is free.

    Raises
    ------
    SiteFailure : a site has answered at none of the first prices.
    """

    def __init__(
        self,
        coupling: Coupling,
        workers: Workers,
        first: Multipliers,
        options: Bundle,
        columns: Array | None = None,
    ):
        """`columns`: see `Start`; default: multiples of the first prices, as the options say."""
        self.coupling, self.workers, self.options = coupling, workers, options
        price = first.links[:, : coupling.n_periods]
        others = [factor * price for factor in options.first_factors] if columns is None else columns
        more = [coupling.multipliers(p, first.carbon) for p in others]
        answer, *answers = (self.ask(prices) for prices in (first, *more))
        scale = typical_price(price, coupling)
        self.least_value = scale * (np.abs(price).mean(axis=1, keepdims=True) <= FREE_ENERGY * scale)
        scales = Scales(scale, typical_emissions(answer, *answers), typical_cost(coupling, answer, *answers))
        self.master = Master(coupling, workers, first, scales, options.part_size)
        self.master.add(answer)
        self.centre = self.proof(first, answer)
        for trial_prices, found in zip(more, answers, strict=True):
            self.master.add(found)
            trial = self.proof(trial_prices, found)
            if columns is not None and trial.bound > self.centre.bound:
                self.centre = trial
        silent = np.flatnonzero(self.master.held == 0)
        if len(silent):
            raise SiteFailure(f"site {silent[0]} has answered at none of the first prices, so there is no start")
        self.master.step = options.step
        self.nulls = 0
        self.missing = np.zeros((coupling.copies, first.links.shape[1]))  # signs of the last residuals
        self.factor = np.ones(self.missing.shape)  # on the proximal weights there

    def ask(self, prices: Multipliers) -> SiteAnswers:
        """All sites at these prices, each told what they are for a USD of its scenario as it counts."""
        return self.workers.of(SiteService).evaluate(*prices.in_own_money())

    def prove_at(self, prices: Multipliers) -> DualPoint:
        """What these prices prove; the sites' answers become columns, and the centre moves there if that is better."""
        answers = self.ask(prices)
        point = self.proof(prices, answers)
        self.master.add(answers)
        if point.bound > self.centre.bound:
            self.centre = point
        return point

    def proof(self, prices: Multipliers, answers: SiteAnswers) -> DualPoint:
        """What the sites' answers at these prices prove, for the present fixing of jobs."""
        c, fixing = self.coupling, self.master.fixing
        lower = prices.of_rows()[1] * answers.lower
        terms = c.dual_terms(prices, (fixing.run, fixing.start))
        return DualPoint(prices, lower, float(lower.sum()) + terms, c.n_periods)

    def refix(self, fixing: Fixing) -> None:
        """Fix jobs, or free them. Columns and cuts stay valid; the closed form of the work in the bound changes."""
        self.master.fix_jobs(fixing)
        c = self.centre
        terms = self.coupling.dual_terms(c.prices, (fixing.run, fixing.start))
        self.centre = replace(c, bound=float(c.site_lower.sum()) + terms)

    def set_budget(self, budget: float) -> None:
        """Set a hard carbon budget, t CO2 (inf: none). Columns and cuts stay valid; the bound's term changes."""
        cap = np.inf if np.isfinite(budget) else 0.0
        self.coupling = self.master.coupling = replace(self.coupling, budget=budget, carbon_cap=cap)
        self.refix(self.master.fixing)

    def iterate(self) -> BundleStep:
        """One iteration: propose prices, ask the sites there, move the centre if the bound rises, add their columns."""
        master, centre, options = self.master, self.centre, self.options
        started = time.perf_counter()
        proposal = master.propose(centre.prices, accuracy=options.accuracy, max_passes=options.max_passes)
        prices, between = proposal.prices, time.perf_counter()
        answers = self.ask(prices)
        asked = time.perf_counter()
        lower = prices.of_rows()[1] * answers.lower
        trial = DualPoint(prices, lower, float(lower.sum()) + proposal.terms, self.coupling.n_periods)
        residual, value = master.residual(), np.abs(prices.links)
        value[:, : self.coupling.n_periods] = np.maximum(value[:, : self.coupling.n_periods], self.least_value)
        promised = proposal.model - centre.bound
        gained = trial.bound - centre.bound
        serious = gained >= options.serious * max(promised, 0.0)
        self._adapt_step(gained, promised, serious)
        self._adapt_risk(promised, proposal.unweighed, serious)
        if trial.bound > centre.bound:
            self.centre = trial
        master.add(answers)
        if self.coupling.copies > 1:
            self._adapt_weights(residual)
        return BundleStep(
            bound=self.centre.bound,
            model=proposal.model,
            serious=serious,
            residual_gpu=float(np.abs(residual[:, : self.coupling.n_periods]).sum() / self.coupling.n_periods),
            passes=proposal.passes,
            imbalance=float((value * np.abs(residual)).sum()) + proposal.unweighed,
            site_seconds=asked - between,
            master_seconds=between - started + time.perf_counter() - asked,
        )

    def _adapt_risk(self, promised: float, unweighed: float, serious: bool) -> None:
        """Shorter steps of the scenarios' weights where these and costs chased each other, and nothing was promised."""
        if promised < 0.0:
            self.master.risk_weight *= CALMER
        elif serious:
            self.master.risk_weight *= BOLDER if unweighed > promised else BOLD

    def _adapt_step(self, gained: float, promised: float, serious: bool) -> None:
        """Longer steps while the model keeps its promise, shorter ones after it has not (Kiwiel 1990)."""
        ratio = min(gained / promised, 1.0) if promised > 0 else 1.0
        if serious:
            self.nulls = 0
            if ratio > 0.5:
                self.master.step = min(self.master.step * (2.0 if ratio > 0.8 else 1.3), LONGEST_STEP)
        else:
            self.nulls += 1
            if ratio < -1.0 or self.nulls > 2:
                self.master.step *= max(0.3, 0.5 / max(1.0 - ratio, 0.5))

    def _adapt_weights(self, residual: Array) -> None:
        """Longer steps in periods of scenarios where load stays too much or too little, shorter where that alternates.

        Jobs cannot leave a scenario that is short of power, so that its prices have further to go than others.
        """
        c, weight = self.coupling, self.master.weight
        missing = np.sign(residual.reshape(c.copies, c.n_places, -1).sum(axis=1))
        same = missing * self.missing
        factor = self.factor * np.where(same > 0, LONGER, np.where(same < 0, SHORTER, 1.0))
        factor = np.clip(factor / np.median(factor), 1.0 / MOST, MOST)
        change = np.repeat(factor / self.factor, c.n_places, axis=0)
        self.missing, self.factor = missing, factor
        self.master.reweigh(weight * change)
