"""The multipliers of the Lagrangian relaxation: of load and first-stage commitments, carbon, and scenarios' weights."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from decomp.model.instance import Array, Instance

LEAST_WEIGHT = 1e-5  # of a scenario, relative to its probability: sites are asked at prices divided by it
BISECTIONS = 60


@dataclass(frozen=True, eq=False)
class Multipliers:
    """A multiplier for every constraint that couples the sites; each row is a site in a scenario.

    Attributes
    ----------
    links : (S, T + L T) price of load, USD per GPU and period; then, for each of the L day-ahead generators that a site
        may have, the price of its commitment in every period, USD (nonanticipativity: it is the same in all scenarios).
    carbon : (B,) USD per tonne weighted by probability, of the one budget or of the budget of every scenario; >= 0.
    weight : (W,) probability of each scenario in the risk measure's dual, relative to its own; (1,) without risk.
    """

    links: Array
    carbon: Array
    weight: Array

    def same(self, other: Multipliers) -> bool:
        """Whether they are equal, number by number."""
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def in_own_money(self) -> tuple[Array, Array]:
        """Prices of links (S, .) and of carbon (S,) divided by the weight of each row's scenario.

        With these a site minimises its own cost in USD; its value times the weight is its share of the bound.
        """
        carbon, weight = self.of_rows()
        return (self.links, carbon) if len(self.weight) == 1 else (self.links / weight[:, None], carbon / weight)

    def of_rows(self) -> tuple[Array, Array]:
        """Price of carbon, USD/t, and weight of the scenario at each row, (S,) each."""
        n = len(self.links)
        return np.repeat(self.carbon, n // len(self.carbon)), np.repeat(self.weight, n // len(self.weight))


@dataclass(frozen=True)
class Risk:
    """The dual set of the risk measure: weights of scenarios between `low` and `high` whose mean is one.

    For (1 - w) times the mean plus w times CVaR at level a they are 1 - w and 1 - w + w / (1 - a) (Rockafellar and
    Uryasev 2000); the risk measure of given costs is the largest mean of weight times cost.
    """

    low: float = 1.0
    high: float = 1.0

    @classmethod
    def of(cls, instance: Instance) -> Risk:
        """The set of an instance; only the weight one where it has no risk measure."""
        if instance.copies == 1 or instance.risk_weight == 0.0:
            return cls()
        low = 1.0 - instance.risk_weight
        return cls(max(low, LEAST_WEIGHT), low + instance.risk_weight / (1.0 - instance.risk_level))

    @property
    def counts(self) -> bool:
        """Whether there is more than one vector of weights."""
        return self.high > self.low

    def weights(self, wanted: Array, probability: Array) -> tuple[Array, float]:
        """Projection of `wanted` (K,) onto the set, distances weighted by `probability` (K,), by bisection.

        Returns
        -------
        The weights (K,), and the multiplier of the constraint on their mean: what is taken from every weight.
        """
        least, most = float((wanted - self.high).min()), float((wanted - self.low).max())
        for _ in range(BISECTIONS):
            fall = 0.5 * (least + most)
            if probability @ np.clip(wanted - fall, self.low, self.high) > 1.0:
                least = fall
            else:
                most = fall
        weight = np.clip(wanted - most, self.low, self.high)
        return self.exact(weight, probability), most

    def worst(self, cost: Array, probability: Array) -> Array:
        """The weights (K,) of the set with the largest mean of weight times cost (K,): dearest scenarios first."""
        order = np.argsort(-cost, kind="stable")
        p, spread = probability[order], self.high - self.low
        left = np.clip((1.0 - self.low) - spread * (np.cumsum(p) - p), 0.0, spread * p)
        weight = np.empty_like(cost)
        weight[order] = self.low + left / p
        return weight

    def measure(self, cost: Array, probability: Array) -> float:
        """The risk measure of the scenarios' costs (K,), each times its probability, USD."""
        return float(self.worst(cost / probability, probability) @ cost)

    def exact(self, weight: Array, probability: Array) -> Array:
        """The weights (K,) with rounding errors of their mean removed, in proportion to their distance from a bound."""
        off = 1.0 - probability @ weight
        room = (self.high - weight) if off > 0 else (weight - self.low)
        total = float(probability @ room)
        return np.asarray(weight + off * room / total if total > 0 else weight)


def line_of_generators(instance: Instance) -> Array:
    """Number of each generator among the day-ahead generators of its site, (generator,), from 0; -1 for others."""
    line, seen = np.full(len(instance.generators.site), -1), np.zeros(instance.n_sites, dtype=int)
    for g in np.flatnonzero(instance.generators.day_ahead):
        site = int(instance.generators.site[g])
        line[g], seen[site] = seen[site], seen[site] + 1
    return line
