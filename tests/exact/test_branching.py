"""Branch and bound on jobs: small fleets proven optimal by prices, and the certificate of a tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from decomp.bound.coupling import Coupling
from decomp.certificate import check
from decomp.exact.column_lp import Runs
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.files.store import read_result, write_result
from decomp.model.instance import Array, Instance
from decomp.model.options import Options
from decomp.model.result import Dual, Result, Status, Tree
from decomp.ranks.mpi import Serial
from decomp.solver.solve import solve

GOAL = 1e-4
ALONE = Options.from_dict(  # without what else could close such a gap
    dict(
        rel_gap=GOAL,
        extensive_finish=dict(site_periods=0),
        improvement=dict(stale_finishes=1),
        milp_bound=dict(block_sites=1),
    )
)
SEED = 1


@cache
def paper() -> Instance:
    return generate("paper", seed=SEED)


@cache
def solved() -> Result:
    result = solve(paper(), Serial(), ALONE)
    assert result is not None
    return result


@cache
def cut_short() -> Result:
    result = solve(paper(), Serial(), replace(ALONE, branching=replace(ALONE.branching, nodes=8)))
    assert result is not None
    return result


def tree_of(result: Result) -> tuple[Dual, Tree]:
    assert result.dual is not None and result.dual.tree is not None
    return result.dual, result.dual.tree


@pytest.mark.slow
def test_paper_ends_proven_optimal_by_branching_alone() -> None:
    result = solved()
    dual, tree = tree_of(result)
    assert result.status is Status.GAP_REACHED and dual.form == "tree" and len(tree.job) > 1
    assert not [line for line in result.log if line.phase == "whole"]
    certificate = check(paper(), result)
    assert certificate.ok and certificate.gap_rel <= GOAL + 1e-6
    truth = solve_extensive(paper(), rel_gap=1e-6)
    slack = 1e-6 * abs(truth.incumbent)
    assert result.bound <= truth.incumbent + slack and truth.bound <= result.incumbent + slack


@pytest.mark.parametrize("seed", [503, 511, 518])
def test_small_fleets_with_pools_rejection_and_hard_budgets(seed: int) -> None:
    instance = generate("small", seed=seed)
    result, truth = solve(instance, Serial(), ALONE), solve_extensive(instance, time_limit=600.0)
    assert result is not None
    slack = 1e-6 * max(1.0, abs(truth.bound))
    assert result.bound <= truth.incumbent + slack and truth.bound <= result.incumbent + slack
    assert not check(instance, result).findings


def test_a_tree_cut_short_proves_what_it_has() -> None:
    result = cut_short()
    assert result.status is Status.LIMIT and len(tree_of(result)[1].job) == 9
    assert result.bound < result.incumbent and check(paper(), result).ok


def test_no_tree_for_larger_fleets_or_other_methods() -> None:
    instance = generate("small", seed=503)
    most = instance.n_sites * instance.n_periods - 1
    larger = replace(ALONE, branching=replace(ALONE.branching, site_periods=most))
    for options in (larger, replace(ALONE, method="lagrangian")):
        result = solve(instance, Serial(), options)
        assert result is not None and result.dual is not None and result.dual.tree is None


def test_runs_are_the_allowed_ones_and_their_values_true() -> None:
    instance = paper()
    c = Coupling.of(instance)
    runs, price = Runs.of(c), np.random.default_rng(0).uniform(0.0, 1.0, c.capacity.shape)
    assert len(runs.job) == np.count_nonzero(c.jobs.allowed)
    for r in range(0, len(runs.job), 7):
        job, at = runs.job[r], slice(runs.start[r], runs.start[r] + runs.length[r])
        assert instance.jobs.release[job] <= at.start and at.stop <= instance.jobs.deadline[job]
        value = runs.cost[r] + instance.jobs.gpus[job] * price[runs.site[r], at].sum()
        assert runs.values(price)[r] == pytest.approx(value)


def test_a_tree_survives_its_file(tmp_path: Path) -> None:
    result, path = cut_short(), tmp_path / "result.h5"
    write_result(path, result, paper())
    before, after = tree_of(result)[1], tree_of(read_result(path))[1]
    for f in Tree.columns():
        assert np.array_equal(getattr(before, f.name), getattr(after, f.name))


@cache
def risky() -> tuple[Instance, Result]:
    """Two scenarios with risk, a budget in each and generators that are committed once, ended by a tree."""
    instance = generate("small", seed=37, scenarios=2)
    once = np.ones(len(instance.generators.site), dtype=bool)
    instance = replace(instance, risk_weight=0.4, risk_level=0.6, carbon_scope="every")
    instance = replace(instance, generators=replace(instance.generators, day_ahead=once))
    result = solve(instance, Serial(), ALONE)
    assert result is not None
    return instance, result


def test_a_tree_over_scenarios_that_risk_budgets_and_commitments_join(tmp_path: Path) -> None:
    instance, result = risky()
    truth = solve_extensive(instance, rel_gap=1e-6, time_limit=600.0)
    slack = 1e-6 * abs(truth.incumbent)
    assert result.bound <= truth.incumbent + slack and truth.bound <= result.incumbent + slack
    write_result(tmp_path / "result.h5", result, instance)
    read = read_result(tmp_path / "result.h5")
    assert len(tree_of(read)[1].futures) == len(tree_of(read)[1].carbon_price) > 1
    assert check(instance, read).ok


@pytest.mark.parametrize("name, value", [("weight", 0.25), ("carbon_price", 1e4), ("commitment_price", 1e3)])
def test_a_mutated_leaf_of_scenarios_is_rejected(name: str, value: float) -> None:
    instance, result = risky()
    dual, tree = tree_of(result)
    first = tree.futures[0]
    other = replace(first, **{name: getattr(first, name) + value})
    for futures in ((other, *tree.futures[1:]), tree.futures[1:]):
        assert not check(instance, replace(result, dual=replace(dual, tree=replace(tree, futures=futures)))).ok


def changed(**arrays: Callable[[Tree], Array]) -> Result:
    """The short tree with some arrays replaced."""
    dual, tree = tree_of(cut_short())
    new = replace(tree, **{name: make(tree) for name, make in arrays.items()})
    return replace(cut_short(), dual=replace(dual, tree=new))


def put(name: str, at: int, value: float) -> Callable[[Tree], Array]:
    """A copy of an array with one row replaced."""

    def make(tree: Tree) -> Array:
        array = np.array(getattr(tree, name))
        array[at] = value
        return array

    return make


def dearer(tree: Tree) -> Array:
    lower = np.array(tree.site_lower)
    lower[0, 0] += 1.0
    return lower


MUTATIONS: dict[str, tuple[str, Callable[[], Result]]] = {
    "no tree": ("dual.tree", lambda: replace(cut_short(), dual=replace(tree_of(cut_short())[0], tree=None))),
    "a child left out": ("tree: children", lambda: changed(outside=put("outside", 0, 1))),
    "a child twice": ("tree: children", lambda: changed(inside=put("inside", 0, 2))),
    "a circle": ("tree: children", lambda: changed(inside=put("inside", 1, 0))),
    "a job that does not exist": ("tree.job: node 0", lambda: changed(job=put("job", 0, 6))),
    "a site that does not exist": ("tree.site: node 0", lambda: changed(site=put("site", 0, 3))),
    "another job": ("what its prices prove", lambda: changed(job=lambda t: np.where(t.job < 0, -1, 5 - t.job))),
    "a leaf's site too dear": ("bound: site_lower", lambda: changed(site_lower=dearer)),
    "a leaf's prices": ("bound: site_lower", lambda: changed(load_price=put("load_price", 0, 1.0))),
    "NaN in a leaf": ("tree.load_price", lambda: changed(load_price=put("load_price", 0, np.nan))),
    "negative carbon price": ("dual.carbon_price: -1", lambda: changed(carbon_price=put("carbon_price", 0, -1.0))),
    "bound too high": ("what its prices prove", lambda: replace(cut_short(), bound=cut_short().bound + 3.0)),
    "fewer leaves": ("tree.load_price: shape", lambda: changed(load_price=lambda tree: tree.load_price[1:])),
    "a leaf cut off": ("tree.carbon_price: shape", lambda: changed(job=put("job", -1, 0))),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_tree_is_rejected(name: str) -> None:
    expected, make = MUTATIONS[name]
    certificate = check(paper(), make())
    assert not certificate.ok
    assert any(expected in str(finding) for finding in certificate.findings), certificate.findings
