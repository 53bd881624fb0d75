"""Blocks of a few sites that serve a stream alone: its row (C1) is kept in their joint MILP instead of dualised.

Dualising it convexifies the sites, jobs included, and leaves a duality gap; the joint MILP has none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.bound.coupling import Coupling
from decomp.bound.work_prices import WorkPrices
from decomp.model.instance import Array


@dataclass(frozen=True)
class SiteBlock:
    """Sites of a block, and the streams that they alone can serve."""

    sites: Array
    streams: Array


def partition(c: Coupling, most: int) -> list[SiteBlock]:
    """Disjoint blocks of 2 to `most` sites; the sites of one stream after the other are joined while they fit."""
    reach = [set(sites.tolist()) for sites in np.split(c.streams.site, c.streams.ptr[1:-1])]
    blocks: list[set[int]] = []
    for sites in reach:
        near = [block for block in blocks if block & sites]
        joined = sites.union(*near)
        if len(joined) <= most:
            blocks = [block for block in blocks if block not in near] + [joined]
    several = [block for block in blocks if len(block) > 1]
    inner = [[d for d, sites in enumerate(reach) if sites and sites <= block] for block in several]
    return [SiteBlock(np.array(sorted(block)), np.array(d)) for block, d in zip(several, inner, strict=True)]


def without_price(c: Coupling, prices: WorkPrices, blocks: list[SiteBlock]) -> WorkPrices:
    """Price the blocks' own streams at the penalty of leaving them unserved: so their MILPs have them at true cost."""
    stream = prices.stream.copy()
    for block in blocks:
        stream[block.streams] = c.streams.unserved[block.streams, None]
    return replace(prices, stream=stream)


def rise(c: Coupling, prices: WorkPrices, lower: Array, block: SiteBlock, found: float) -> float:
    """What a block's lower bound gains over those of its sites (S,), USD; its inner streams need no price."""
    dearer = c.streams.unserved[block.streams, None] - prices.stream[block.streams]
    return float(found + (dearer * c.streams.demand[block.streams]).sum() - lower[block.sites].sum())


def join(
    c: Coupling, prices: WorkPrices, lower: Array, blocks: list[SiteBlock], found: Array, least: float
) -> tuple[WorkPrices, Array, Array]:
    """Replace the lower bounds of sites (S,) by those of blocks, `found` (b,), where that gains more than `least`; USD.

    Returns
    -------
    Prices; lower bounds of the sites (S,), of which only the sum over a block is proven; number of each site's block
    (S,).
    """
    lower, number, better = lower.copy(), np.arange(len(lower)), []
    for block, value in zip(blocks, found, strict=True):
        if rise(c, prices, lower, block, value) > least:
            lower[block.sites] = value / len(block.sites)
            number[block.sites] = block.sites[0]
            better.append(block)
    return without_price(c, prices, better), lower, number
