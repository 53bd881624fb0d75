"""Inference and deferrable work placed into the room that jobs leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, vstack

from decomp.bound import stream_kernels
from decomp.bound.coupling import Coupling, Fixing
from decomp.bound.lagrangian import LagrangianLoop
from decomp.lp.block import Model
from decomp.lp.highs import run_lp, to_highs
from decomp.model.instance import Array
from decomp.schedule import placing
from decomp.schedule.dive import fixed_load
from decomp.site.service import Given


@dataclass(frozen=True)
class Work:
    """Placed work: what is asked of the sites, and the room left. GPU; arcs and pool arcs in the coupling's order."""

    fixing: Fixing
    routed: Array
    pooled: Array
    room: Array

    def inference(self, c: Coupling) -> Array:
        """Inference load of the sites, (S, T) GPU."""
        load = np.zeros_like(c.capacity)
        stream_kernels.arc_load(load, c.streams.site, self.routed)
        return load

    def load(self, c: Coupling) -> Array:
        """All load of the sites, (S, T) GPU."""
        load = self.inference(c) + fixed_load(c, self.fixing.run, self.fixing.start)
        stream_kernels.arc_load(load, c.pools.site, self.pooled)
        return load


def place_work(loop: LagrangianLoop, wanted: tuple[Array, Array] | None = None) -> Work:
    """Make routing and pools fit beside fixed jobs, no site above its usable load, all work counted.

    `wanted` : routing (arc, T) and pools (pool arc, T), GPU; default: the master's.
    """
    c, master, price = loop.coupling, loop.master, loop.centre.own_money[0]
    room = np.maximum(c.usable - fixed_load(c, master.fixing.run, master.fixing.start), 0.0)
    if wanted is None:
        relaxed = master.work()
        wanted = relaxed.routed, relaxed.pooled
    routed, pooled = (rows.copy() for rows in wanted)
    left = room.copy()
    placing.fit_pools(price, room, c.pools, pooled)
    if len(undone(c, pooled)):
        pooled = fit_pools_jointly(c, price, left)
        stream_kernels.arc_load(left, c.pools.site, -pooled)
        room = np.maximum(left, 0.0)
    placing.fit_streams(price, room, c.streams, routed)
    return Work(master.fixing, routed, pooled, room)


def fit_pools_jointly(c: Coupling, price: Array, room: Array) -> Array:
    """Pool loads (pool arc, T) that do the most hard work the room admits: a linear program over all pools."""
    n, n_arcs = price.shape[1], len(c.pools.site)
    pool = np.repeat(np.arange(len(c.pools.work)), np.diff(c.pools.ptr))
    inside = (np.arange(n) >= c.pools.start[pool, None]) & (np.arange(n) < c.pools.end[pool, None])
    high = np.where(inside, c.pools.rate[:, None], 0.0).ravel()
    column = np.arange(n_arcs * n)
    place = (c.pools.site[:, None] * n + np.arange(n)).ravel()
    most = csr_matrix((np.ones(n_arcs * n), (place, column)), shape=(room.size, n_arcs * n))
    work = csr_matrix((np.ones(n_arcs * n), (np.repeat(pool, n), column)), shape=(len(c.pools.work), n_arcs * n))
    dear = 1e3 * (1.0 + float(np.abs(price).max()))
    worth = np.where(np.isinf(c.pools.penalty), dear, c.pools.penalty)[pool, None]
    none, row_high = np.zeros_like(high), np.concatenate([room.ravel(), c.pools.work])
    model = Model(
        matrix=vstack([most, work], format="csc"),
        low=none,
        high=high,
        cost=(price[c.pools.site] - worth).ravel(),
        emission=none,
        integer=none > 0,
        row_low=np.full_like(row_high, -np.inf),
        row_high=row_high,
        columns={},
        bans=np.zeros((0, 3), dtype=int),
    )
    solver = to_highs(model)
    x = np.array(solver.getSolution().col_value) if run_lp(solver) else none
    return np.clip(x, 0.0, high).reshape(n_arcs, n)


def undone(c: Coupling, pooled: Array) -> Array:
    """Sites of the pools that must be done and are not."""
    pool = np.repeat(np.arange(len(c.pools.work)), np.diff(c.pools.ptr))
    done = np.bincount(pool, pooled.sum(axis=1), minlength=len(c.pools.work))
    short = np.isinf(c.pools.penalty) & (done < c.pools.work * (1.0 - 1e-7))
    return np.unique(c.pools.site[short[pool]])


def given(loop: LagrangianLoop, work: Work) -> Given:
    """What the sites are given with the work: loads without allowances, inference droppable at what it is worth."""
    c, n_sites = loop.coupling, len(loop.coupling.capacity)
    inference = work.inference(c)
    worth = inference_worth(loop, work, inference)
    return Given(work.load(c), inference, worth, np.full(n_sites, np.inf), np.zeros(n_sites))


def inference_worth(loop: LagrangianLoop, work: Work, inference: Array) -> Array:
    """Mean loss per GPU and period if inference is dropped at a site, (S, T) USD."""
    s = loop.coupling.streams
    owner = np.repeat(np.arange(len(s.unserved)), np.diff(s.ptr))
    loss = np.zeros_like(inference)
    stream_kernels.arc_load(loss, s.site, work.routed * (s.unserved[owner] - s.cost)[:, None])
    fallback = float(s.unserved.max()) if len(s.unserved) else 1.0
    return np.divide(loss, inference, out=np.full_like(loss, fallback), where=inference > 1e-9)
