"""The bundle of columns and cuts: each answer of a site bounds its cost function from above and from below.

An answer holds a feasible point (load, cost, emissions) of the site's relaxation: a Dantzig-Wolfe column, an upper
bound. It also holds a lower bound proved at prices of load and carbon: a Benders cut

    cost of load w under allowance e  >=  lower + price . w - carbon_price * e.

Answers to prices (Lagrangian) and to loads (Benders) have both. The point proves no cut and the cut gives no point.
"""

from __future__ import annotations

import numpy as np

from decomp.bound import column_kernels
from decomp.model.instance import Array
from decomp.site.oracle import SiteAnswer


class ColumnBundle:
    """At most `size` answers a site.

    Attributes
    ----------
    count (S,) : answers held. idle (S, K) : proposals since an answer was last in use.
    loads (S, K, T) GPU, cost (S, K) USD, emission (S, K) t : upper side.
    price (S, K, T) USD per GPU and period, carbon_price (S, K) USD/t, lower (S, K) USD : lower side.
    """

    def __init__(self, n_sites: int, n_periods: int, size: int):
        self.size = size
        self.count = np.zeros(n_sites, dtype=np.int64)
        self.idle = np.zeros((n_sites, size), dtype=np.int64)
        self.loads, self.price = np.zeros((2, n_sites, size, n_periods))
        self.cost, self.emission, self.carbon_price, self.lower = np.zeros((4, n_sites, size))

    def slot(self, i: int, weight: Array) -> int:
        """Slot for site i's next answer: a free one, else the one longest at weight zero, else that of least weight."""
        if self.count[i] < self.size:
            self.count[i] += 1
            return int(self.count[i]) - 1
        k = int(np.argmax(np.where(weight > column_kernels.TINY, -1, self.idle[i])))
        return int(np.argmin(weight)) if weight[k] > column_kernels.TINY else k

    def put(self, i: int, k: int, answer: SiteAnswer) -> None:
        """Store an answer that has a load in slot k of site i."""
        self.loads[i, k], self.cost[i, k], self.emission[i, k] = answer.load, answer.cost, answer.emissions
        self.price[i, k], self.carbon_price[i, k] = answer.price, answer.carbon_price
        self.lower[i, k], self.idle[i, k] = answer.lower, 0

    def used(self, weight: Array) -> None:
        """Count the proposals since each answer last had a positive weight (S, K)."""
        self.idle = np.where(weight > column_kernels.TINY, 0, self.idle + 1)

    def least_cost(self, load: Array, allowance: Array) -> Array:
        """Largest cut: proven least cost (S,), USD, of loads (S, T) GPU under carbon allowances (S,) t.

        Commitments that have prices behind those of load are as they cost least.
        """
        held, n = np.arange(self.size) < self.count[:, None], load.shape[1]
        cuts = self.lower + np.einsum("skt,st->sk", self.price[:, :, :n], load)
        cuts += np.minimum(self.price[:, :, n:], 0.0).sum(axis=2)
        priced = np.where(self.carbon_price > 0, self.carbon_price, 0.0)
        cuts -= np.multiply(priced, allowance[:, None], out=np.zeros_like(priced), where=priced > 0)
        return np.where(held, cuts, -np.inf).max(axis=1)

    def least_value(self, price: Array, carbon_price: Array, weight: Array) -> Array:
        """Least reduced cost of the columns (S,), USD, at these prices: not below the site's dual value.

        `carbon_price`, `weight` (S,) : of each site, USD/t and what its cost counts by.
        """
        return column_kernels.site_values(price, carbon_price, weight, self.loads, self.cost, self.emission, self.count)
