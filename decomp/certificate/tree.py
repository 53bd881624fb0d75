"""Form "tree": schedules parted by where and when jobs start, a bound in form "load" for every part.

The tree is walked from its root: the two children of a node are complements, so the leaves reached leave no schedule
out. Every node has to be reached exactly once. What a leaf forbids, its own closed-form term of the jobs leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from decomp.certificate.findings import Findings
from decomp.certificate.scenarios import sizes_of
from decomp.model.instance import Array, Instance
from decomp.model.result import Dual, Tree


@dataclass(frozen=True)
class Restriction:
    """Splits (job, site, last start, inside) between the root and a leaf."""

    splits: tuple[tuple[int, int, int, bool], ...] = ()

    def allows(self, job: Array, site: Array, start: Array) -> Array:
        """Which runs belong to the leaf."""
        allowed = np.ones(len(job), dtype=bool)
        for j, at, last, inside in self.splits:
            box = ((site == at) | (at == -1)) & (start <= last)
            allowed &= (job != j) | (box == inside)
        return allowed

    def rejectable(self, mandatory: Array) -> Array:
        """Which jobs (job,) may be rejected."""
        may = ~mandatory
        may[[j for j, _, _, inside in self.splits if inside]] = False
        return may


def leaves(instance: Instance, dual: Dual, findings: Findings) -> Iterator[tuple[Dual, Restriction]]:
    """The leaves as proofs in form "load", each with its restriction; none if the tree is not one."""
    tree = dual.tree
    if tree is None:
        findings.add("dual.tree", "", "none", 'there, for form "tree"')
        return
    ends = np.flatnonzero(tree.job == -1)
    sizes = {**sizes_of(instance), "node": len(tree.job), "leaf": len(ends)}
    findings.names["leaf"] = np.array([f"leaf at node {n}" for n in ends])
    if not findings.well_formed("dual", dual, sizes):
        return
    if not findings.well_formed("tree", tree, sizes) or not _is_tree(instance, tree, findings):
        return
    if tree.futures and len(tree.futures) != len(ends):
        findings.add("tree.futures", "", str(len(tree.futures)), f"{len(ends)}, one for each leaf, or none")
        return
    number = {int(n): k for k, n in enumerate(ends)}
    stack: list[tuple[int, Restriction]] = [(0, Restriction())]
    while stack:
        n, restriction = stack.pop()
        if n in number:
            k = number[n]
            prices = dict(load_price=tree.load_price[k], carbon_price=float(tree.carbon_price[k]))
            futures = tree.futures[k] if tree.futures else None
            own = replace(dual, form="load", tree=None, site_lower=tree.site_lower[k], futures=futures, **prices)
            yield own, restriction
            continue
        split = int(tree.job[n]), int(tree.site[n]), int(tree.last[n])
        for child, inside in (int(tree.inside[n]), True), (int(tree.outside[n]), False):
            stack.append((child, Restriction((*restriction.splits, (*split, inside)))))


def _is_tree(instance: Instance, tree: Tree, findings: Findings) -> bool:
    """Children come after their parents, every node but the root is the child of one, and splits name what there is."""
    before, n_nodes = len(findings.items), len(tree.job)
    split = np.flatnonzero(tree.job != -1)
    children = np.concatenate([tree.inside[split], tree.outside[split]])
    if not n_nodes or not np.array_equal(np.sort(children), np.arange(1, n_nodes)):
        findings.add("tree", "children", str(children.tolist()[:10]), "every node but the first, once each")
    elif (children <= np.tile(split, 2)).any():
        findings.add("tree", "children", str(children.tolist()[:10]), "after their parents")
    for name, most in (("job", instance.n_jobs), ("site", instance.n_sites)):
        value = getattr(tree, name)
        for n in np.flatnonzero((value < -1) | (value >= most))[:3]:
            findings.add(f"tree.{name}", f"node {n}", str(value[n]), f"-1 or below {most}")
    return len(findings.items) == before
