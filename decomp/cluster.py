"""A few sites with the jobs they share as one small MILP, inference and carbon at prices.

The neighbourhood of the improvement search: sites stand side by side as real energy models, the jobs
that run there (or are rejected) choose anew among their starts there, inference earns its price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.blocks import Block, Model, add_site
from decomp.coupling import REJECTED, Coupling
from decomp.instance import Array, Generators, Sites


@dataclass(frozen=True)
class Neighbourhood:
    """What a cluster move is about; everything a rank needs besides its site data.

    Attributes
    ----------
    sites (n,) : the cluster. jobs (m,) : jobs that may move. fixed_load (n, T) : load of everything that stays,
    GPU. worth (n, T) : price of inference, USD per GPU and period. most (n, T) : largest inference, GPU.
    carbon_price : USD/t, all in. run, start (m,) : where the jobs are now.
    """

    sites: Array
    jobs: Array
    fixed_load: Array
    worth: Array
    most: Array
    carbon_price: float
    run: Array
    start: Array


@dataclass(frozen=True)
class ClusterModel:
    """The MILP and what its job columns mean: job, candidate row, start of each (REJECTED, -1)."""

    model: Model
    column: Array
    job: Array
    run: Array
    start: Array


def build_cluster(
    coupling: Coupling, sites: Sites, generators: Generators, rows: Array, hood: Neighbourhood
) -> ClusterModel:
    """The cluster's MILP; `rows` are the rows of its sites in the tables given. Generators are relaxed."""
    block = Block()
    at_site: dict[int, Array] = {}
    for k, i in enumerate(hood.sites):
        add_site(block, sites, generators, int(rows[k]), coupling.period_h, prefix=f"s{k}_", relaxed=True)
        load = block.columns[f"s{k}_load"]
        x = block.add_columns(f"s{k}_inference", len(load), 0.0, hood.most[k], -hood.worth[k])
        at_site[int(i)] = block.add_rows(hood.fixed_load[k], hood.fixed_load[k], (1.0, load), (-1.0, x))
    n_energy = block.n_columns
    column, job, run, start = _add_jobs(block, coupling, hood, at_site)
    model = block.finish()
    cost = model.cost + hood.carbon_price * model.emission
    integer = np.arange(len(cost)) >= n_energy
    return ClusterModel(Model(**{**model.__dict__, "cost": cost, "integer": integer}), column, job, run, start)


def _add_jobs(
    block: Block, coupling: Coupling, hood: Neighbourhood, at_site: dict[int, Array]
) -> tuple[Array, Array, Array, Array]:
    """One binary per job and allowed start inside the cluster, and one for rejection."""
    jobs = coupling.jobs
    first = block.n_columns
    meaning: list[tuple[int, int, int]] = []
    for j in hood.jobs:
        mine = []
        for k in range(jobs.ptr[j], jobs.ptr[j + 1]):
            if int(jobs.site[k]) in at_site:
                ok = np.flatnonzero(jobs.allowed[jobs.first[k] : jobs.first[k] + jobs.n_starts[j]])
                mine += [(int(j), k, int(jobs.release[j]) + int(q)) for q in ok]
        if jobs.optional[j]:
            mine.append((int(j), REJECTED, -1))
        meaning += mine
        cost = [jobs.cost[k] if k >= 0 else 0.0 for _, k, _ in mine]
        y = block.add_columns(f"job{j}", len(mine), 0.0, 1.0, np.array(cost), integer=True)
        one = block.add_rows(1.0, 1.0, (1.0, y[:1]))
        block.add_entries(np.repeat(one, len(y) - 1), y[1:], 1.0)
        for column, (_, k, s) in zip(y, mine, strict=True):
            if k >= 0:
                link = at_site[int(jobs.site[k])][s : s + jobs.length[j]]
                block.add_entries(link, np.full(len(link), column), -float(jobs.gpus[j]))
    columns = np.arange(first, block.n_columns)
    job, run, start = np.array(meaning, dtype=int).reshape(-1, 3).T
    return columns, job, run, start
