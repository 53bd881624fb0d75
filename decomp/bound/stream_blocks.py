"""Blocks of a few sites that serve a stream alone: between them it needs no price, and the block is one MILP.

Jobs are lumps. What room they leave for a stream is decided where all its sites are seen at once;
a price only sees mixtures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.bound.coupling import Coupling
from decomp.bound.work_prices import WorkPrices
from decomp.model.instance import Array


@dataclass(frozen=True)
class SiteBlock:
    """Sites of a block, and the streams that no other site can serve."""

    sites: Array
    streams: Array


def partition(c: Coupling, most: int) -> list[SiteBlock]:
    """Disjoint blocks of 2 to `most` sites, joined stream by stream."""
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
    """Inner streams pay what leaving them unserved costs: then a block decides on them by their true cost."""
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
    """Put the blocks' lower bounds (b,) in the place of their sites' (S,), where more than `least` USD is gained.

    Returns prices, lower bounds of the sites, of which a block's count in sum alone, and each site's block (S,).
    """
    lower, number, better = lower.copy(), np.arange(len(lower)), []
    for block, value in zip(blocks, found, strict=True):
        if rise(c, prices, lower, block, value) > least:
            lower[block.sites] = value / len(block.sites)
            number[block.sites] = block.sites[0]
            better.append(block)
    return without_price(c, prices, better), lower, number
