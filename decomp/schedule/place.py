"""Inference and deferrable work placed into the room that jobs leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.bound import stream_kernels
from decomp.bound.coupling import Coupling, Fixing
from decomp.bound.lagrangian import LagrangianLoop
from decomp.lp.block import Block
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
    n = price.shape[1]
    pool = np.repeat(np.arange(len(c.pools.work)), np.diff(c.pools.ptr))
    inside = (np.arange(n) >= c.pools.start[pool, None]) & (np.arange(n) < c.pools.end[pool, None])
    high = np.where(inside, c.pools.rate[:, None], 0.0)
    dear = 1e3 * (1.0 + float(np.abs(price).max()))
    worth = np.where(np.isinf(c.pools.penalty), dear, c.pools.penalty)[pool, None]
    block = Block()
    load = block.add_columns("pool", high.size, 0.0, high.ravel(), (price[c.pools.site] - worth).ravel())
    most, work = (block.add_rows(-np.inf, limit.ravel()) for limit in (room, c.pools.work))
    block.add_entries(most[(c.pools.site[:, None] * n + np.arange(n)).ravel()], load, 1.0)
    block.add_entries(work[np.repeat(pool, n)], load, 1.0)
    solver = to_highs(block.finish())
    x = np.array(solver.getSolution().col_value) if run_lp(solver) else np.zeros(high.size)
    return np.clip(x.reshape(high.shape), 0.0, high)


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
