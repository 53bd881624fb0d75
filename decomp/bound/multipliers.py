"""The multipliers of the bound: prices of load and of commitments made once, of carbon, and weights of scenarios."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from decomp.model.instance import Array, Instance

LEAST_WEIGHT = 1e-5  # of a scenario, relative to its probability: sites are asked at prices divided by it
BISECTIONS = 60


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Prices of all that joins the sites' rows.

    Attributes
    ----------
    links (S, T + L T) : price of load, USD per GPU and period, then of each of the L day-ahead generators that a site
        may have its commitment in every period, USD.
    carbon (B,) : USD per tonne (weighted by probability) of each budget: one of all, or one of every scenario.
    weight (W,) : by how much more a USD in a scenario counts than its probability says; (1,) where risk does not count.
    """

    links: Array
    carbon: Array
    weight: Array

    def same(self, other: Multipliers) -> bool:
        """Whether they are equal, number by number."""
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def in_own_money(self) -> tuple[Array, Array]:
        """Prices of links, and of carbon at each row (S,), where a USD counts as it is."""
        carbon, weight = self.of_rows()
        return (self.links, carbon) if len(self.weight) == 1 else (self.links / weight[:, None], carbon / weight)

    def of_rows(self) -> tuple[Array, Array]:
        """Price of carbon and weight at each row (S,)."""
        n = len(self.links)
        return np.repeat(self.carbon, n // len(self.carbon)), np.repeat(self.weight, n // len(self.weight))


@dataclass(frozen=True)
class Risk:
    """What a scenario may count by, relative to its probability: at least `low`, at most `high`, one on average.

    These are the dual's bounds for a net cost of (1 - weight) times its mean plus weight times its CVaR at a level:
    the tail, and no more than the tail, may count by 1 / (1 - level) (Rockafellar and Uryasev 2000).
    """

    low: float = 1.0
    high: float = 1.0

    @classmethod
    def of(cls, instance: Instance) -> Risk:
        if instance.copies == 1 or instance.risk_weight == 0.0:
            return cls()
        low = 1.0 - instance.risk_weight
        return cls(max(low, LEAST_WEIGHT), low + instance.risk_weight / (1.0 - instance.risk_level))

    @property
    def counts(self) -> bool:
        return self.high > self.low

    def weights(self, wanted: Array, probability: Array) -> tuple[Array, float]:
        """The weights nearest to `wanted` (K,) in the metric of the probabilities, and by how much all had to fall."""
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
        """The weights (K,) with which costs (K,) count most."""
        order = np.argsort(-cost, kind="stable")
        p, spread = probability[order], self.high - self.low
        left = np.clip((1.0 - self.low) - spread * (np.cumsum(p) - p), 0.0, spread * p)
        weight = np.empty_like(cost)
        weight[order] = self.low + left / p
        return weight

    def exact(self, weight: Array, probability: Array) -> Array:
        """Weights (K,) whose mean is one exactly: what rounding left goes to where there is room for it."""
        off = 1.0 - probability @ weight
        room = (self.high - weight) if off > 0 else (weight - self.low)
        total = float(probability @ room)
        return np.asarray(weight + off * room / total if total > 0 else weight)


def line_of_generators(instance: Instance) -> Array:
    """Which of its site's day-ahead generators each generator is, (generator,); -1: none."""
    line, seen = np.full(len(instance.generators.site), -1), np.zeros(instance.n_sites, dtype=int)
    for g in np.flatnonzero(instance.generators.day_ahead):
        site = int(instance.generators.site[g])
        line[g], seen[site] = seen[site], seen[site] + 1
    return line
