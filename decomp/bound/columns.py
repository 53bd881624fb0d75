"""The bundle of columns and cuts: the sites' answers, each with a proven upper and a proven lower side.

An answer holds a point (load, cost, emissions) that the relaxed site can run: a Dantzig-Wolfe column, which
prices the site from above. It also holds a lower bound proved at a price on load and on carbon: a Benders cut

    cost of load w under allowance e  >=  lower + price . w - carbon_price * e,

which bounds the site from below. Answers to prices and to loads have both sides; use neither for the other.
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
        """Where site i's next answer goes: a new place, else the unused one idle for longest, else the least used."""
        if self.count[i] < self.size:
            self.count[i] += 1
            return int(self.count[i]) - 1
        k = int(np.argmax(np.where(weight > column_kernels.TINY, -1, self.idle[i])))
        return int(np.argmin(weight)) if weight[k] > column_kernels.TINY else k

    def put(self, i: int, k: int, answer: SiteAnswer) -> None:
        """Hold an answer with a load in place k of site i."""
        self.loads[i, k], self.cost[i, k], self.emission[i, k] = answer.load, answer.cost, answer.emissions
        self.price[i, k], self.carbon_price[i, k] = answer.price, answer.carbon_price
        self.lower[i, k], self.idle[i, k] = answer.lower, 0

    def used(self, weight: Array) -> None:
        """One more proposal has been made, with these weights (S, K) on the answers."""
        self.idle = np.where(weight > column_kernels.TINY, 0, self.idle + 1)

    def least_cost(self, load: Array, allowance: Array) -> Array:
        """Lower side: proven least cost (S,) of loads (S, T) under carbon allowances (S,)."""
        held = np.arange(self.size) < self.count[:, None]
        cuts = self.lower + np.einsum("skt,st->sk", self.price, load)
        priced = np.where(self.carbon_price > 0, self.carbon_price, 0.0)
        cuts -= np.multiply(priced, allowance[:, None], out=np.zeros_like(priced), where=priced > 0)
        return np.where(held, cuts, -np.inf).max(axis=1)

    def least_value(self, price: Array, carbon_price: Array, weight: Array) -> Array:
        """Upper side: no site is better off (S,) at these prices than its best column; never below the dual.

        `carbon_price`, `weight` (S,) : of each site, USD/t and what its cost counts by.
        """
        return column_kernels.site_values(
            price, carbon_price, weight, self.loads, self.cost, self.emission, self.count
        )
