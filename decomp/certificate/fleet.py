"""Part B without multipliers: the whole fleet as one program, for results of the extensive form.

The site problems side by side, joined by (C1)-(C4). Only small fleets: the bound is a MIP solver's word, and
that word has to be given anew.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array, hstack, vstack

from decomp.certificate.bound import UNPROVED, BoundProof, rows_by_site, site_tasks
from decomp.certificate.findings import TOLERANCE, Findings
from decomp.certificate.model import Builder, Program
from decomp.certificate.scenarios import priced_pieces, sizes_of
from decomp.certificate.sites import add_site
from decomp.certificate.terms import largest, possible_work
from decomp.model.instance import Array, Instance
from decomp.model.result import Dual

ALONE = -2
"""What no scenario pays by itself."""

MOST_COLUMNS = 20_000
"""Largest program that is tried, in columns; a guard, not a promise."""


def prove_whole(instance: Instance, claimed: float, findings: Findings, *, seconds: float = 60.0) -> BoundProof:
    """Re-prove a bound (USD) by the fleet's LP relaxation, else by its MILP, which is asked for anything cheaper."""
    program = _small_program(instance, findings, "bound")
    if program is None:
        return UNPROVED
    begun = time.perf_counter()
    dual, infeasible = program.linear_duals(seconds)
    lower, rounding = program.safe_bound(dual), program.rounding(dual)
    tolerance = max(0.5 * TOLERANCE * max(1.0, abs(claimed)), rounding)
    if infeasible:
        findings.add("bound", "", "not re-proved, the fleet has no schedule", "re-proved")
        return UNPROVED
    enough = claimed - tolerance
    if lower < enough and program.integer.any():
        left = seconds - (time.perf_counter() - begun)
        none, point, reason = program.none_below(enough, tolerance, left)
        if point is not None:
            cost = f"at most {program.cost @ point:.9g} USD, the cost of a schedule"
            findings.add("bound", "claimed", float(claimed), cost)
            return UNPROVED
        if not none and (left := seconds - (time.perf_counter() - begun)) > 0.0:
            lower = max(lower, program.integer_bound(left))
        if not none and lower < enough:
            _leave_open(findings, "bound", reason, seconds, f"re-proved; what is proved is {lower:.9g} USD")
            return UNPROVED
        lower = max(lower, enough)
    return BoundProof(lower, max(1.0, abs(lower), rounding / TOLERANCE))


def prove_empty(instance: Instance, findings: Findings, *, seconds: float = 60.0) -> bool:
    """Re-prove that there is no schedule: the LP relaxation has no point, or else the MILP by HiGHS's word."""
    program = _small_program(instance, findings, "infeasible")
    if program is None:
        return False
    begun = time.perf_counter()
    if program.is_empty(seconds):
        return True
    none, point, reason = program.none_below(np.inf, 1.0, seconds - (time.perf_counter() - begun))
    if point is not None:
        findings.add("infeasible", "", "a schedule exists", f"not there; one costs {program.cost @ point:.9g} USD")
    elif not none:
        _leave_open(findings, "infeasible", reason, seconds, "re-proved")
    return none


def _small_program(instance: Instance, findings: Findings, what: str) -> Program | None:
    """The fleet's program, unless it is too large for a proof."""
    slots = len(instance.arcs.site) + len(instance.pool_arcs.site) + 10 * instance.n_sites
    slots *= max(instance.n_scenarios, 1)
    program = fleet_program(instance) if slots * instance.n_periods <= MOST_COLUMNS else None
    if program is None or len(program.cost) > MOST_COLUMNS:
        none = "not re-proved, the result has no multipliers"
        findings.add(what, "", none, "re-proved; the fleet is too large", undecided=True)
        return None
    return program


def _leave_open(findings: Findings, what: str, reason: str, seconds: float, right: str) -> None:
    findings.add(what, "", f"not re-proved in {seconds:g} s ({reason})", right, undecided=True)


def fleet_program(instance: Instance) -> Program:
    """The extensive form in the certificate's own words; its value is the net cost in USD."""
    builder, starts, ends = Builder(), [], [0]
    emission: list[list[tuple[Array, Array]]] = []
    on: list[Array] = []
    zero = Dual.make(sizes_of(instance), **{f.name: 0.0 for f in Dual.columns()})
    pieces = [world for world, _ in priced_pieces(instance, zero)]
    for s, world in enumerate(pieces):
        emission.append([])
        starts.append(_second_stage(builder, world if s == 0 else _unpaid(world), emission[s], on))
        ends.append(builder.n_columns)
    first = starts[0]
    rejected = builder.columns(instance.n_jobs, 0.0, ~instance.jobs.mandatory)
    decided = builder.rows([(1.0, rejected)], 1.0, equal=True)
    job = np.array([j for j, _, _ in first], dtype=int)
    builder.entries(decided[job], np.array(list(first.values()), dtype=int), 1.0)
    for other in starts[1:]:
        _same(builder, first, other)
    for g in np.flatnonzero(instance.generators.day_ahead):
        for other_on in on[g + len(instance.generators.site) :: len(instance.generators.site)]:
            builder.rows([(1.0, on[g]), (-1.0, other_on)], 0.0, equal=True)
    owner = np.repeat(np.arange(len(pieces)), np.diff(ends))
    if np.isfinite(instance.carbon_budget_t):
        owner = np.concatenate(
            [owner, np.full(builder.n_columns - len(owner), -1), _budget(builder, instance, pieces, emission)]
        )
    program = builder.program()
    if not (instance.risk_weight > 0 and len(pieces) > 1):
        return program
    owner = np.concatenate([owner, np.full(len(program.cost) - len(owner), -1)])
    owner[list(first.values())] = -1
    return with_risk(program, owner, instance)


def _second_stage(
    builder: Builder, instance: Instance, emission: list[tuple[Array, Array]], on: list[Array]
) -> dict[tuple[int, int, int], int]:
    """Sites, streams and pools of one scenario; its columns of starts by (job, site, period)."""
    step, sizes = instance.period_h, instance.sizes
    zero = Dual.make(sizes, **{f.name: 0.0 for f in Dual.columns()})
    tasks = site_tasks(instance, replace(zero, form="work"), 0.0)
    routed = np.zeros((sizes["arc"], sizes["period"]), dtype=int)
    pool = np.zeros((sizes["pool_arc"], sizes["period"]), dtype=int)
    begun: dict[tuple[int, int, int], int] = {}
    arcs_of, pool_arcs_of = rows_by_site(instance, "arcs"), rows_by_site(instance, "pool_arcs")
    for i, (task, arcs, pool_arcs) in enumerate(zip(tasks, arcs_of, pool_arcs_of, strict=True)):
        site = add_site(builder, task)
        routed[arcs], pool[pool_arcs] = site.routed, site.pool
        keys = zip(site.begun_job.tolist(), [i] * len(site.begun), site.begun_at.tolist(), strict=True)
        begun |= zip(keys, site.begun.tolist(), strict=True)
        emission.extend(site.emission)
        on.extend(site.on)  # generators are sorted by site
    demand = instance.demand_gpu
    unserved = builder.columns(demand.shape, 0.0, demand, step * instance.streams.unserved_penalty[:, None])
    met = builder.rows([(1.0, unserved)], demand, equal=True)
    builder.entries(met[instance.arcs.stream], routed, 1.0)
    work, penalty = instance.pools.work_gpu_h, instance.pools.shortfall_penalty
    hard = np.isinf(penalty)
    rounding = np.clip(work - possible_work(instance), 0.0, largest(work) - work)  # of a pool that just fits
    shortfall = builder.columns(instance.n_pools, 0.0, np.where(hard, rounding, work), np.where(hard, 0.0, penalty))
    done = builder.rows([(1.0, shortfall)], work, equal=True)
    builder.entries(np.repeat(done[instance.pool_arcs.pool, None], sizes["period"], axis=1), pool, step)
    return begun


def _unpaid(instance: Instance) -> Instance:
    """The instance with jobs that are paid for elsewhere."""
    jobs, candidates = instance.jobs, instance.candidates
    free = replace(candidates, cost_usd=np.zeros_like(candidates.cost_usd))
    return replace(instance, jobs=replace(jobs, value_usd=np.zeros_like(jobs.value_usd)), candidates=free)


def _same(builder: Builder, first: dict[tuple[int, int, int], int], other: dict[tuple[int, int, int], int]) -> None:
    """A job runs in one scenario as it does in another; where it cannot in one, it does in none."""
    both = np.array([(first[key], other[key]) for key in first if key in other], dtype=int).reshape(-1, 2)
    builder.rows([(1.0, both[:, 0]), (-1.0, both[:, 1])], 0.0, equal=True)
    alone = [column for key, column in first.items() if key not in other]
    alone += [column for key, column in other.items() if key not in first]
    builder.rows([(1.0, np.array(alone, dtype=int))], 0.0, equal=True)


def _budget(
    builder: Builder, instance: Instance, pieces: list[Instance], emission: list[list[tuple[Array, Array]]]
) -> Array:
    """(C3), of all scenarios or of each; the excess is bounded by what imports and generators could emit at most.

    Returns the scenario of the excess in each, -1 for all.
    """
    every, price = instance.carbon_scope == "every", instance.carbon_excess_usd_per_t
    soft, most = np.isfinite(price), np.array([_most_t(part) for part in pieces])
    p = instance.scenarios.probability if len(pieces) > 1 else np.ones(1)
    each = every and len(pieces) > 1
    top, budget = (most, p * instance.carbon_budget_t) if each else (np.array([most.sum()]), instance.carbon_budget_t)
    excess = builder.columns(len(top), 0.0, top if soft else 0.0, price if soft else 0.0)
    row = builder.rows([(-1.0, excess)], budget)
    for s, terms in enumerate(emission):
        for coefficient, columns in terms:
            builder.entries(np.repeat(row[s if each else 0], len(columns)), columns, coefficient)
    return np.arange(len(top)) if each else np.full(1, ALONE)


def _most_t(part: Instance) -> float:
    """The most that the sites of a scenario could emit, t."""
    s, g, v = part.sites, part.generators, part.device_variables
    most = part.period_h * (s.carbon_intensity * s.import_limit_mw).sum()
    most += part.period_h * part.n_periods * (g.emission_t_per_mwh * g.p_max_mw).sum()
    return float(most + np.maximum(v.emission * v.low, v.emission * v.high).clip(0.0).sum())


def with_risk(program: Program, owner: Array, instance: Instance) -> Program:
    """The program with its share of CVaR: eta, and by how much each scenario is worse than that.

    `owner` : scenario of each column, -1: paid in every one, ALONE: in none.
    """
    p, weight = instance.scenarios.probability, instance.risk_weight
    reach = 1.0 + 2.0 * np.abs(program.cost) @ np.maximum(np.abs(program.low), np.abs(program.high)) / p.min()
    tails = np.array(
        [np.where(owner == s, program.cost / share, (owner == -1) * program.cost) for s, share in enumerate(p)]
    )
    wide = hstack([program.matrix, csr_array((len(program.right), len(p) + 1))])
    tail = hstack([csr_array(tails), -csr_array(np.eye(len(p))), csr_array(-np.ones((len(p), 1)))])
    more = np.append(weight * p / (1.0 - instance.risk_level), weight)
    flags = np.zeros(len(p) + 1, dtype=bool)
    return Program(
        cost=np.append(np.where(owner == ALONE, 1.0, 1.0 - weight) * program.cost, more),
        low=np.concatenate([program.low, np.zeros(len(p)), [-reach]]),
        high=np.append(program.high, np.full(len(p) + 1, reach)),
        integer=np.append(program.integer, flags),
        ban=np.append(program.ban, flags),
        matrix=csr_array(vstack([wide, tail])),
        right=np.append(program.right, np.zeros(len(p))),
        equal=np.append(program.equal, np.zeros(len(p), dtype=bool)),
    )
