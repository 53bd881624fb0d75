"""A rank's part of the proximal master: the columns of some sites, the routing in some periods, the runs of some jobs.

The proximal problem is solved by block-coordinate descent. A small fleet is one block: sites and jobs are updated in
turn, each at the prices that the last update left (Gauss-Seidel). A large fleet is split into several blocks, updated
in parallel (Jacobi): each block assumes a carbon price that reacts as many times as strongly as there are blocks, and
each job load prices that react as many times as strongly as jobs meet there; by convexity the joint step never worsens
the master's objective. Periods are routed independently. The blocks depend on the fleet alone, not on the ranks that
hold them, so the numbers are the same on any number of ranks. Every rank of the master holds all prices, and tells the
others what its part has become.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from decomp.bound import column_kernels, job_kernels, stream_kernels
from decomp.bound.columns import ColumnBundle
from decomp.bound.coupling import FREE, REJECTED, Coupling, paid
from decomp.bound.layout import Layout, ProximalStep
from decomp.bound.multipliers import Multipliers
from decomp.model.instance import Array
from decomp.ranks.team import Team
from decomp.site.oracle import SiteAnswer
from decomp.site.service import SiteAnswers

PASSES_PER_CHECK = 6
ATOMS = 16  # runs a job's relaxed start may be spread over
COLUMNS = 40  # answers kept per site
ONCE = np.array([[1.0, 0.0, 1.0, 1.0]])  # cost counts once, whatever it is
DAMPING = 0.5  # of a move of the weights of scenarios, which answer the routing and are answered by it


class MasterPart:
    """One rank's part. Methods that end in `together` are called by all ranks of the layout at the same time."""

    def __init__(self, team: Team, layout: Layout, coupling: Coupling, weight: Array, price: Array):
        """weight, price (S, .): proximal weights, and first prices of load and commitments, see `Multipliers`.

        `coupling` : demand of the own periods only.
        """
        self.team, self.layout, self.coupling, self.weight = team, layout, coupling, weight
        self.sites, self.periods, n = layout.rows_of(team.rank), layout.periods_of(team.rank), price.shape[1]
        self.own_weight = np.ascontiguousarray(weight[self.sites])
        self.scenario = (np.arange(len(weight)) // coupling.n_places)[self.sites]
        self.pool = ColumnBundle(len(self.own_weight), n, COLUMNS)
        self.theta = np.zeros((len(self.own_weight), COLUMNS))
        self.gram = np.zeros((len(self.own_weight), COLUMNS, COLUMNS))
        self.routed = np.zeros((len(coupling.streams.site), price[self.periods].shape[1]))
        self.pooled = np.zeros((len(coupling.pools.site), coupling.n_periods))
        self.committed = np.zeros((coupling.n_places, n - coupling.n_periods))
        self.fixed = coupling.free_jobs()
        self.price = self.centre = price
        self._weigh(np.ones(coupling.copies if coupling.risk.counts else 1))
        self._place_jobs(price)

    def _place_jobs(self, price: Array) -> None:
        """First primal solution: every job at its cheapest run."""
        jobs = self.coupling.jobs
        self.run, self.start = (np.full((len(jobs.gpus), ATOMS), nothing) for nothing in (REJECTED, -1))
        self.share = np.zeros(self.run.shape)
        value, run, start = job_kernels.cheapest_runs(self.coupling.summed(price), jobs)
        taken = ~jobs.optional | (value < 0.0)
        self.run[:, 0], self.start[:, 0] = np.where(taken, run, REJECTED), np.where(taken, start, -1)
        self.share[:, 0] = 1.0

    # ------------------------------------------------------------ columns

    def add(self, answers: SiteAnswers) -> None:
        """Take one answer per own site into the bundle; a full site forgets the one idle for longest.

        Without prices: those of the last proposal.
        """
        if answers.price is None:
            answers = replace(answers, price=self.price[self.sites])
        for i, answer in enumerate(answers):
            if answer.load is not None:
                self._add_column(i, answer)

    def _add_column(self, i: int, answer: SiteAnswer) -> None:
        theta = self.theta[i]
        first = self.pool.count[i] == 0
        k = self.pool.slot(i, theta)
        if theta[k] > column_kernels.TINY:
            theta[np.argmax(theta)] += theta[k]
        self.pool.put(i, k, answer)
        theta[k] = 1.0 if first else 0.0
        column_kernels.add_gram(self.pool.loads, self.own_weight, self.gram, i, k, int(self.pool.count[i]))

    def least_value(self, price: Array, carbon_price: Array, weight: Array) -> Array:
        """Least reduced cost of the columns of each own site at prices (own, .), (own,) USD; see `ColumnBundle`."""
        return self.pool.least_value(price, carbon_price, weight)

    def least_cost(self, load: Array, allowance: Array) -> Array:
        """Proven least cost (own,) of loads (own, T) under carbon allowances (own,); see `ColumnBundle`."""
        return self.pool.least_cost(load, allowance)

    def means(self) -> Array:
        """Cost (USD) and emissions (t) of the convex combination of columns at each own site, (own, 2)."""
        return np.stack([(self.theta * self.pool.cost).sum(axis=1), (self.theta * self.pool.emission).sum(axis=1)], 1)

    def most_used(self, k: int) -> Array:
        """Prices at which each own site gave its k columns of largest weight, (own, k, T)."""
        order = np.argsort(-self.theta, axis=1, kind="stable")[:, :k]
        order = np.where(order < self.pool.count[:, None], order, order[:, :1])
        return self.pool.price[np.arange(len(order))[:, None], order]

    def columns(self) -> dict[str, Array]:
        """The own sites' columns one after the other: site, load, cost, emissions, share, idle."""
        used = np.arange(COLUMNS) < self.pool.count[:, None]
        return dict(
            site=np.arange(len(self.weight))[self.sites][np.nonzero(used)[0]],
            load=self.pool.loads[used],
            cost=self.pool.cost[used],
            emissions=self.pool.emission[used],
            share=self.theta[used],
            idle=self.pool.idle[used],
        )

    def set_columns(self, columns: Mapping[str, Array], weight: Array) -> None:
        """Go back to where `columns` was called, with the proximal weights (S, T) of then."""
        self.pool.count = np.bincount(columns["site"], minlength=len(weight))[self.sites].copy()
        used = np.arange(COLUMNS) < self.pool.count[:, None]
        self.pool.loads[used], self.pool.cost[used] = columns["load"], columns["cost"]
        self.pool.emission[used], self.theta[used] = columns["emissions"], columns["share"]
        self.pool.lower[used] = -np.inf  # what was saved is not believed
        self.pool.idle[used] = columns["idle"]
        self.reweigh(weight)

    def reweigh(self, weight: Array) -> None:
        """Set the proximal weights (S, .) of all sites."""
        self.weight, self.own_weight = weight, np.ascontiguousarray(weight[self.sites])
        column_kernels.all_grams(self.pool.loads, self.own_weight, self.gram, self.pool.count)

    # ------------------------------------------------------------ work

    def fix_jobs(self, run: Array, start: Array) -> None:
        """Fix jobs to runs (FREE leaves a job as it is); their relaxed starts move there at once."""
        self.fixed = run, start
        hit = run != FREE
        self.share[hit], self.share[hit, 0] = 0.0, 1.0
        self.run[hit, 0], self.start[hit, 0] = run[hit], start[hit]

    def set_work(self, routed: Array, pooled: Array, run: Array, start: Array, share: Array) -> None:
        """Set the primal solution: routed (arc, T), pooled (pool arc, T) GPU; run, start, share (job, atom)."""
        self.routed, self.pooled = np.ascontiguousarray(routed[self.periods]), pooled.copy()
        self.run, self.start, self.share = run.copy(), start.copy(), share.copy()

    def own_routing(self) -> Array:
        """Routing in the own periods, (arc, .) GPU."""
        return self.routed

    # ------------------------------------------------------------ a proximal step

    def propose_together(
        self, centre: Array | None, reached: bool, step: ProximalStep
    ) -> tuple[Multipliers, float, float, float, int] | None:
        """Solve the proximal subproblem until its own gap is small enough.

        Around a centre (S, .) of links, or (None) those reached the last time, or else the same centre again.
        Returns at the root the multipliers, the model's value there and the part of it that is exact (work and
        budget), by how much the primal costs more at the weights that are worst for it, USD, and the passes it took.
        """
        self.centre = (self.price if reached else self.centre) if centre is None else centre
        self.curve = step.size * self.weight
        self.own_curve = np.ascontiguousarray(self.curve[self.sites])
        self.curve_then = np.ascontiguousarray(self.curve[self.periods])
        self._weigh(step.weight_centre)
        tonnes, risk = self.begin(), self.coupling.risk.counts
        base, passes = sum(self._model(Multipliers(self.centre, step.carbon_centre, step.weight_centre), step)), 0
        while True:
            for _ in range(PASSES_PER_CHECK):
                self.move_sites(tonnes, step)
                if self.layout.blocks == 1:
                    self.move_streams()
                    if passes % 2 == 0:  # scanning all starts is dear, and routing moves more than jobs do
                        self.move_jobs_in_turn()
                    self.move_pools()
                else:
                    self.move_jobs_at_once()  # not as far as in turn, so more often, and routing makes up for it
                    self.move_pools()
                    self.move_streams()
                self.move_commitments()
                if risk:
                    self.move_weights(step)
                passes += 1
            emitted = self._of_budgets(tonnes, step)
            prices = Multipliers(self.price, self._carbon(emitted, step), self.scenario_weight)
            columns, terms = self._model(prices, step)
            penalty, primal = self.primal(prices, emitted, step)
            value = columns + terms
            slack = primal - (value - penalty)
            enough = slack <= step.accuracy * max(value - penalty - base, 0.0) or passes >= step.max_passes
            if self.team.agree(enough, self.layout.ranks, "master"):
                break
        self.pool.used(self.theta)
        return (prices, value, terms, self.unweighed, passes) if self.team.is_root else None

    def _of_budgets(self, tonnes: Array, step: ProximalStep) -> Array:
        """Emissions under each budget (B,), t."""
        return np.asarray(tonnes.reshape(len(step.budgets), -1).sum(axis=1))

    def _carbon(self, emitted: Array, step: ProximalStep) -> Array:
        """Price of each budget (B,), USD/t."""
        return np.minimum(np.maximum(step.open_carbon(emitted), 0.0), self._dearest(step))

    def _dearest(self, step: ProximalStep) -> Array | float:
        """The most it may be: excess in a scenario is a cost of that scenario."""
        return step.carbon_cap * self.scenario_weight if len(step.budgets) > 1 else step.carbon_cap

    def begin(self) -> Array:
        """Set the price that the present primal solution implies; returns emissions of each site, (S,) t."""
        c, residual = self.coupling, np.zeros_like(self.centre)
        routing, carried, tonnes = np.empty_like(residual), np.empty_like(residual), np.empty(len(residual))
        routing[:, c.n_periods :] = c.everywhere(self.committed)
        stream_kernels.arc_load(residual, c.pools.site, self.pooled)
        c.add_job_load(residual, self.run, self.start, self.share)

        def own() -> Sequence[Array]:
            routed = np.zeros((len(residual), self.routed.shape[1]))
            stream_kernels.arc_load(routed, c.streams.site, self.routed)
            return routed, column_kernels.site_load(self.theta, self.pool.loads, self.pool.count), self.means()[:, 1]

        layout = self.layout
        self._share(own, (routing, layout.periods_of), (carried, layout.rows_of), (tonnes, layout.rows_of))
        self.price = self.centre + self.curve * (residual + routing - carried)
        return tonnes

    def _share(self, own: Callable[[], Sequence[Array]], *places: tuple[Array, Callable[[int], Any]]) -> None:
        """Compute the own part, exchange it, and put every rank's numbers in its place of each array."""
        for rank, numbers in enumerate(self.team.exchange(own, self.layout.ranks, "master")):
            for array, place in places:
                part = array[place(rank)]
                part[...], numbers = numbers[: part.size].reshape(part.shape), numbers[part.size :]

    def move_sites(self, tonnes: Array, step: ProximalStep) -> None:
        """Pairwise Frank-Wolfe steps on the columns' weights of all sites; updates `tonnes` (S,) and the price."""
        layout, blocks = self.layout, self.layout.blocks
        carbon, money, more = np.empty((len(step.budgets), 3)), self._money(step), np.empty(len(tonnes))
        carbon[:, 0], carbon[:, 1] = step.open_carbon(self._of_budgets(tonnes, step)), step.carbon_size * blocks
        carbon[:, 2] = self._dearest(step)
        owner = np.minimum(self.scenario, [[len(carbon) - 1], [len(money) - 1]])

        def own() -> Sequence[Array]:
            pool, price, emitted = self.pool, np.ascontiguousarray(self.price[self.sites]), np.zeros(len(self.theta))
            column_kernels.site_pass(
                price, self.own_curve, step.size, pool.loads, pool.cost, pool.emission, self.theta, pool.count,
                self.gram, blocks // layout.ranks, owner, carbon, money, emitted, 2 * COLUMNS,
            )  # fmt: skip
            return price, emitted

        self._share(own, (self.price, layout.rows_of), (more, layout.rows_of))
        tonnes += more

    def _money(self, step: ProximalStep) -> Array:
        """What the cost of sites counts by, for `site_pass`, (W, 4)."""
        c = self.coupling
        if not c.risk.counts:
            return ONCE
        steep = self.layout.blocks * step.risk_size / c.probability
        limits = np.broadcast_to([c.risk.low, c.risk.high], (c.copies, 2))
        return np.column_stack([self.open_weight, steep, limits])

    def _weigh(self, weight: Array) -> None:
        """Let scenarios count by so much, (W,)."""
        self.scenario_weight, self.open_weight, self.unweighed = weight, weight, 0.0
        self.weighed = self.coupling.weighing(weight)

    def move_weights(self, step: ProximalStep) -> None:
        """Scenarios that cost more than others count more, by steps, since what they cost depends on it."""
        c, layout = self.coupling, self.layout
        costs, streams = np.empty(len(self.price)), np.empty((c.copies, c.n_periods))

        def own() -> Sequence[Array]:
            return self.means()[:, 0], c.scenario_routing(self.routed)

        self._share(own, (costs, layout.rows_of), (streams, layout.periods_of))
        total = costs.reshape(c.copies, -1).sum(axis=1) + streams.sum(axis=1) + c.scenario_shortfall(self.pooled)
        wanted = step.weight_centre + step.risk_size * total / c.probability
        reached, fall = c.risk.weights(wanted, c.probability)
        self._weigh(self.scenario_weight + DAMPING * (reached - self.scenario_weight))
        self.open_weight = wanted - fall
        most = c.risk.worst(total / c.probability, c.probability)
        self.unweighed = float((most - self.scenario_weight) @ total)

    def move_streams(self) -> None:
        """Route every stream anew in the own periods, by water-filling."""

        def own() -> Sequence[Array]:
            price = np.ascontiguousarray(self.price[self.periods])
            stream_kernels.stream_pass(price, self.curve_then, self.weighed.streams, self.routed)
            return (price,)

        self._share(own, (self.price, self.layout.periods_of))

    def move_pools(self) -> None:
        """Spread the pools' work anew, by water-filling; every rank does the same."""
        stream_kernels.pool_pass(self.price, self.curve, self.weighed.pools, self.pooled)

    def move_commitments(self) -> None:
        """What is committed once follows the sum over scenarios of its prices."""
        c = self.coupling
        if c.lines == 0:
            return
        links = np.s_[:, c.n_periods :]
        step = c.summed(self.price[links]) / c.summed(self.curve[links])
        moved = np.clip(self.committed - step, 0.0, 1.0)
        self.price[links] += self.curve[links] * c.everywhere(moved - self.committed)
        self.committed = moved

    def move_jobs_in_turn(self) -> None:
        """Pairwise Frank-Wolfe steps of all free jobs, one after the other."""
        state, price = (self.run, self.start, self.share), self.coupling.summed(self.price)
        job_kernels.job_pass(price, self.coupling.summed(self.curve), self.coupling.jobs, self.fixed[0], *state)
        self._follow(price)

    def _follow(self, moved: Array) -> None:
        """Spread the change of the summed prices (place, T), which jobs have moved, over the scenarios' prices."""
        c = self.coupling
        if c.copies > 1:  # else they are the same array
            self.price += self.curve * c.everywhere((moved - c.summed(self.price)) / c.summed(self.curve))

    def move_jobs_at_once(self) -> None:
        """Pairwise Frank-Wolfe steps of all free jobs in parallel."""
        if not (self.fixed[0] == FREE).any():
            return
        jobs, state, layout = self.coupling.jobs, (self.run, self.start, self.share), self.layout

        price = self.coupling.summed(self.price)

        def own() -> Sequence[Array]:
            return [job_kernels.propose_job_steps(price, jobs, self.fixed[0], *state, self.team.rank, layout.ranks)]

        proposed = np.concatenate(self.team.exchange(own, layout.ranks, "master")).reshape(-1, 6)
        proposed = proposed[np.argsort(proposed[:, 0], kind="stable")]
        job_kernels.take_job_steps(price, self.coupling.summed(self.curve), jobs, *state, proposed)
        self._follow(price)

    def _model(self, prices: Multipliers, step: ProximalStep) -> tuple[float, float]:
        """The model at prices, USD: least reduced costs of the columns, and the exact part of work and budget."""
        c, layout, rank, price = self.coupling, self.layout, self.team.rank, prices.links
        work = c.weighing(prices.weight)
        columns, streams, jobs = np.empty(len(price)), np.empty(c.n_periods), np.empty(len(self.fixed[0]))
        carbon, weight = (rows[self.sites].copy() for rows in prices.of_rows())

        def own() -> Sequence[Array]:
            return (
                self.pool.least_value(np.ascontiguousarray(price[self.sites]), carbon, weight),
                stream_kernels.stream_values(np.ascontiguousarray(price[self.periods]), work.streams),
                job_kernels.job_values(c.summed(price), c.jobs, *self.fixed, rank, layout.ranks),
            )

        self._share(own, (columns, layout.rows_of), (streams, layout.periods_of), (jobs, layout.rows_of))
        terms = float(streams.sum()) + float(jobs.sum()) + stream_kernels.pool_value(price, work.pools)
        terms += c.commitment_value(price)
        return float(columns.sum()), terms - paid(prices.carbon, step.budgets)

    def primal(self, prices: Multipliers, emitted: Array, step: ProximalStep) -> tuple[float, float]:
        """The proximal term, and the augmented Lagrangian at the primal solution, not below the maximum sought; USD."""
        c, layout = self.weighed, self.layout
        table, streams = np.empty((len(self.price), 3)), np.empty(c.n_periods)

        def own() -> Sequence[Array]:
            return self._own_costs(prices), stream_kernels.stream_costs(c.streams, self.routed)

        self._share(own, (table, layout.rows_of), (streams, layout.periods_of))
        penalty, priced, cost = table.sum(axis=0).tolist()
        work = stream_kernels.pool_cost(c.pools, self.pooled) + job_kernels.run_cost(c.jobs, self.run, self.share)
        primal = priced + cost + float(streams.sum()) + work
        limited = step.carbon_size > 0
        if limited.any():
            # max over the carbon price of price * excess - (price - centre)^2 / (2 step)
            far = 0.5 * (prices.carbon - step.carbon_centre)[limited] ** 2 / step.carbon_size[limited]
            gain = (prices.carbon * (emitted - step.budgets))[limited]
            penalty, primal = penalty + float(far.sum()), primal + float(gain.sum()) - float(far.sum())
        if c.risk.counts:
            away = float(c.probability @ (prices.weight - step.weight_centre) ** 2) / (2.0 * step.risk_size)
            penalty, primal = penalty + away, primal - away
        return penalty, primal

    def _own_costs(self, prices: Multipliers) -> Array:
        """Of the own sites (own, 3) USD: proximal term, residual at the mean of price and centre, cost of columns."""
        price, centre = self.price[self.sites], self.centre[self.sites]
        residual = (price - centre) / self.own_curve
        near, mean = (0.5 * ((price + sign * centre) * residual).sum(axis=1) for sign in (-1.0, 1.0))
        return np.stack([near, mean, prices.of_rows()[1][self.sites] * self.means()[:, 0]], axis=1)
