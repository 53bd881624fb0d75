"""Part B: the lower bound, re-proved from the multipliers alone.

bound = sum of the sites' lower bounds + closed-form terms of streams, jobs and pools - gamma x budget.
Valid for any finite prices and any gamma in [0, price of the excess]. In form "tree": the least of the leaves' bounds.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from decomp.certificate.devices import site_devices
from decomp.certificate.findings import TOLERANCE, Findings
from decomp.certificate.scenarios import (
    budget_term,
    commitment_terms,
    futures_allowed,
    joint,
    priced_pieces,
    sizes_of,
)
from decomp.certificate.sites import SiteProof, SiteTask, prove_block
from decomp.certificate.terms import largest, load_terms, work_terms
from decomp.certificate.tree import Restriction, leaves
from decomp.model.instance import Array, Instance, Table
from decomp.model.result import Dual

FORMS = ("load", "work")


@dataclass(frozen=True)
class BoundProof:
    """The bound (USD, -inf if nothing is proved), the scale of its terms, and the sites' proofs."""

    bound: float
    scale: float
    sites: tuple[SiteProof, ...] = ()


UNPROVED = BoundProof(-np.inf, 1.0)


def prove_bound(
    instance: Instance, dual: Dual, findings: Findings, *, jobs: int = 1, seconds: float = 60.0
) -> BoundProof:
    """Re-prove the bound; `jobs` processes share the sites, each site may take `seconds`, a block as much for each."""
    before = len(findings.items)
    parts: list[tuple[Dual, Restriction | None]] = [(dual, None)]
    if dual.form == "tree":
        parts = list(leaves(instance, dual, findings))
    sums = [(part, *_closed_form(instance, part, only, findings)) for part, only in parts]
    sums = [(part, total, gross) for part, total, gross in sums if np.isfinite(total)]
    if len(findings.items) > before or not sums:
        return UNPROVED
    blocks = _blocks(dual, len(dual.site_lower))
    tasks = []
    for part, _, _ in sums:
        of_site = [task for piece in priced_pieces(instance, part) for task in site_tasks(*piece, seconds)]
        tasks += [[of_site[i] for i in block] for block in blocks]
    if jobs > 1 and len(tasks) > 1:
        with multiprocessing.get_context("spawn").Pool(min(jobs, len(tasks))) as pool:
            proofs = list(pool.imap(prove_block, tasks, chunksize=4))
    else:
        proofs = [prove_block(task) for task in tasks]
    n, bounds = len(blocks), []
    for k, (part, total, gross) in enumerate(sums):
        own = proofs[k * n : (k + 1) * n]
        for block, proof in zip(blocks, own, strict=True):
            if not proof.proved:
                claimed, place = float(part.site_lower[block].sum()), ", ".join(findings.names["site"][block])
                right = f"at most {proof.lower:.9g} USD ({proof.remark})"
                findings.add("bound: site_lower", place, claimed, right, undecided=proof.undecided)
        total += sum(proof.lower for proof in own)
        gross += sum(abs(proof.lower) for proof in own)
        # what was accepted of the sites is not held against their sum
        short = sum(proof.short for proof in own) / TOLERANCE
        bounds.append((float(total), max(1.0, abs(total), 1e-3 * gross) + short))
    by_site: dict[int, SiteProof] = {}
    for b, block in enumerate(blocks):
        by_site |= dict.fromkeys(block.tolist(), _hardest(proofs[b::n]))
    return BoundProof(*min(bounds), tuple(by_site[i] for i in range(len(dual.site_lower))))


def _blocks(dual: Dual, n_sites: int) -> list[Array]:
    """The sites of every block; each alone where the form or the result knows of none."""
    if dual.form != "work" or dual.blocks is None:
        return list(np.arange(n_sites)[:, None])
    return [np.flatnonzero(dual.blocks.number == number) for number in np.unique(dual.blocks.number)]


def _hardest(proofs: list[SiteProof]) -> SiteProof:
    """Of one site's proofs: one that failed if there is any, else one by MILP."""
    return min(proofs, key=lambda proof: (proof.proved, proof.method != "MILP"))


def _closed_form(instance: Instance, dual: Dual, only: Restriction | None, findings: Findings) -> tuple[float, float]:
    """All but the sites, and the sum of absolute values, USD; infinite for a part of the schedules that is empty."""
    sizes = sizes_of(instance)
    if not (_prices_allowed(instance, dual, findings) and findings.well_formed("dual", dual, sizes)):
        return -np.inf, 0.0
    if dual.blocks is not None and not findings.well_formed("blocks", dual.blocks, sizes):
        return -np.inf, 0.0
    carbon_term = -budget_term(instance, dual)
    once = commitment_terms(instance, dual)
    total, gross = carbon_term + float(once.sum()), abs(carbon_term) + float(np.abs(once).sum())
    if dual.form == "load":
        pieces = [(world, part.load_price) for world, part in priced_pieces(instance, dual)]
        terms = load_terms(pieces, joint([world for world, _ in pieces]), only)
    else:
        terms = work_terms(instance, dual)
    for what, rows, value in terms:
        if only is not None and what == "jobs" and np.isposinf(value).any():
            return np.inf, np.inf
        for k in np.flatnonzero(~np.isfinite(value)):
            findings.add(f"bound: {what}", str(findings.names[rows][k]), float(value[k]), "something the fleet can do")
        total, gross = total + float(value.sum()), gross + float(np.abs(value).sum())
    return total, gross


def _prices_allowed(instance: Instance, dual: Dual, findings: Findings) -> bool:
    """0 <= gamma <= price of the excess, zero without a budget; a known form."""
    before, gamma = len(findings.items), dual.carbon_price
    every = instance.carbon_scope == "every"
    forms = FORMS[:1] if len(instance.scenarios.name) > 1 else FORMS
    if dual.form not in forms:
        findings.add("dual.form", "", repr(dual.form), " or ".join((*forms, "tree")))
    if not (np.isfinite(gamma) and gamma >= 0):
        findings.add("dual.carbon_price", "", float(gamma), "finite and not negative")
    elif not futures_allowed(instance, dual, findings):
        return False
    elif gamma > instance.carbon_excess_usd_per_t * (1 + 1e-12) and (dual.futures is None or not every):
        right = f"at most {instance.carbon_excess_usd_per_t:.9g} USD/t, the price of the excess"
        findings.add("dual.carbon_price", "", float(gamma), right)
    elif gamma > 0 and np.isinf(instance.carbon_budget_t):
        findings.add("dual.carbon_price", "", float(gamma), "0, there is no budget")
    return len(findings.items) == before


def site_tasks(instance: Instance, dual: Dual, seconds: float) -> list[SiteTask]:
    """What each site has to prove."""
    carbon = instance.carbon_price_usd_per_t + dual.carbon_price
    load_price = dual.load_price if dual.form == "load" else np.zeros_like(dual.load_price)
    paid = instance.period_h * np.abs(load_price * instance.sites.capacity_gpu).sum(axis=1)
    claimed = dual.site_lower
    tolerance = TOLERANCE * np.maximum.reduce([np.ones(instance.n_sites), np.abs(claimed), 1e-3 * paid])
    of_site = {name: rows_by_site(instance, name) for name in ("generators", "arcs", "candidates", "pool_arcs")}
    devices, tasks = site_devices(instance), []
    free = np.zeros((len(instance.generators.site), instance.n_periods))
    committed = free if dual.futures is None else dual.futures.commitment_price
    for i in range(instance.n_sites):
        rows = {name: listed[i] for name, listed in of_site.items()}
        site = _columns(instance.sites, i)
        jobs = instance.candidates.job[rows["candidates"]]
        site.capacity_gpu = _with_jobs(site.capacity_gpu, instance.jobs.gpus[jobs])
        tasks.append(
            SiteTask(
                site=site,
                generators=_columns(instance.generators, rows["generators"]),
                devices=devices[i],
                work=_work(instance, dual, rows) if dual.form == "work" else None,
                period_h=instance.period_h,
                carbon=carbon,
                load_price=load_price[i],
                commitment_price=committed[rows["generators"]],
                claimed=float(claimed[i]),
                tolerance=float(tolerance[i]),
                seconds=seconds,
            )
        )
    return tasks


def _with_jobs(capacity: Array, gpus: Array) -> Array:
    """The capacity (period,) with room for every job that fits by rounding, GPU."""
    for job in np.unique(gpus):
        capacity = np.where((job > capacity) & (job <= largest(capacity)), job, capacity)
    return capacity


def _columns(table: Table, rows: int | Array) -> SimpleNamespace:
    return SimpleNamespace(**{f.name: getattr(table, f.name)[rows] for f in table.columns()})


def rows_by_site(instance: Instance, name: str) -> list[Array]:
    """The rows of a table at each site."""
    site = getattr(instance, name).site
    order = np.argsort(site, kind="stable")
    return np.split(order, np.searchsorted(site[order], np.arange(1, instance.n_sites)))


def _work(instance: Instance, dual: Dual, rows: dict[str, Array]) -> SimpleNamespace:
    """The work a site may take in form "work", with its reduced costs."""
    arcs, streams, candidates, jobs = instance.arcs, instance.streams, instance.candidates, instance.jobs
    a, c, p = rows["arcs"], rows["candidates"], rows["pool_arcs"]
    alone = np.bincount(candidates.job, minlength=instance.n_jobs) == 1
    stream, job, pool = arcs.stream[a], candidates.job[c], instance.pool_arcs.pool[p]
    return SimpleNamespace(
        arc_stream=stream,
        arc_most=instance.streams.demand_rps[stream] * streams.gpu_per_rps[stream, None],
        arc_cost=(arcs.cost[a] - streams.revenue[stream])[:, None] - dual.stream_price[stream],
        gpus=jobs.gpus[job],
        periods=jobs.periods[job],
        release=jobs.release[job],
        deadline=jobs.deadline[job],
        job=job,
        job_cost=candidates.cost_usd[c] - jobs.value_usd[job] - dual.job_price[job],
        job_must=jobs.mandatory[job] & alone[job],
        rate=instance.pool_arcs.rate_gpu[p],
        start=instance.pools.start[pool],
        end=instance.pools.end[pool],
        pool_cost=-dual.pool_price[pool],
    )
