"""A step of the proximal master as all its parts hear of it, and who of them has what."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from decomp.bound.coupling import Coupling
from decomp.model.instance import Array


@dataclass(frozen=True)
class ProximalStep:
    """The parameters of one proximal problem.

    size : factor on the proximal weights. centre : carbon prices (B,) and weights of scenarios (W,), links left out.
    carbon_size (B,) : USD/t by which a tonne moves the price of each budget; 0: no budget.
    risk_size : by how much the weight of a scenario moves with a USD of its net cost.
    budgets (B,), carbon_cap : of the coupling now, t and USD/t.
    accuracy, max_passes : stop at this gap, relative to the promised rise, or after so many passes.
    """

    size: float
    carbon_centre: Array
    weight_centre: Array
    carbon_size: Array
    risk_size: float
    budgets: Array
    carbon_cap: float
    accuracy: float
    max_passes: int

    def open_carbon(self, tonnes: Array) -> Array:
        """Price of each budget (B,) at emissions (B,) before it is cut off, USD/t."""
        limited = self.carbon_size > 0
        excess = np.where(limited, tonnes - self.budgets, 0.0)
        return np.where(limited, self.carbon_centre + self.carbon_size * excess, 0.0)


@dataclass(frozen=True)
class Layout:
    """How the master is divided: blocks for the Jacobi updates, and the ranks that hold them.

    Attributes
    ----------
    blocks, ranks : powers of two, ranks <= blocks. Site i is in block i mod blocks; sites and jobs i are of rank
        i mod ranks.
    periods : (ranks + 1,) ends of the ranks' slices of the periods.
    """

    blocks: int
    ranks: int
    periods: Array

    @classmethod
    def of(cls, shape: tuple[int, int], part_size: int, size: int) -> Layout:
        """For a shape (sites, periods) and a number of ranks: n blocks if sites * periods >= n^2 * `part_size`.

        For twice as many blocks halve the work and double the messages.
        """
        blocks = power_of_two(math.sqrt(shape[0] * shape[1] / part_size))
        ranks = min(blocks, power_of_two(size))
        return cls(blocks, ranks, shape[1] * np.arange(ranks + 1) // ranks)

    def rows_of(self, rank: int) -> slice:
        """Its sites among sites, its jobs among jobs."""
        return slice(rank, None, self.ranks)

    def periods_of(self, rank: int) -> Any:
        """An index of arrays whose last axis are periods."""
        return np.s_[..., self.periods[rank] : self.periods[rank + 1]]


def power_of_two(most: float) -> int:
    """The largest one up to a number of at least 1."""
    return 1 << max(int(most).bit_length() - 1, 0)


def periods_alone(coupling: Coupling, periods: Any) -> Coupling:
    """The coupling with the demand of some periods only."""
    streams = coupling.streams._replace(demand=np.ascontiguousarray(coupling.streams.demand[periods]))
    return replace(coupling, streams=streams)
