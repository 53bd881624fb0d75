"""`check`: re-prove a result's schedule and bound from the instance and the result alone.

Exit codes: 0 schedule and bound are re-proved (with --no-bound: the schedule), 1 rejected, 2 bad input,
3 not re-proved: nothing is wrong as far as is known, but a proof was not found in the time that it had, or there is
no schedule in a result that claims none.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from decomp.certificate import Certificate, Finding, check
from decomp.certificate.findings import TOLERANCE, verdict_of
from decomp.certificate.mixture import check_mixture
from decomp.files.frontiers import is_frontier, read_frontier
from decomp.files.store import read_instance, read_result
from decomp.model.frontier import CurveStep, at_budget
from decomp.model.instance import Instance
from decomp.model.result import Result, Status
from decomp.model.text import gap_rel

from .arguments import PATIENCE, Arguments, whole
from .common import run

CODES = {"REJECTED": 1, "NOT RE-PROVED": 3, "OK": 0}  # the worst first


def parser() -> Arguments:
    p = Arguments("check", __doc__)
    p.reads("instance", help="instance file (HDF5)")
    p.reads("result", help="result file (HDF5)")
    p.add_argument("--no-bound", action="store_true", help="check the schedule only")
    p.add_argument("--jobs", type=whole(1), default=1, metavar="N", help="processes that share the sites (default 1)")
    p.add_argument(
        "--seconds", type=PATIENCE, default=60.0, metavar="S", help="time limit of one site's proof (default 60)"
    )
    p.add_argument("--json", action="store_true", help="print the certificate as one JSON object")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if is_frontier(args.result):
        return check_frontier(args)
    instance, result = read_instance(args.instance), read_result(args.result)
    begun = time.perf_counter()
    certificate = check(instance, result, bound=not args.no_bound, jobs=args.jobs, seconds=args.seconds)
    seconds = time.perf_counter() - begun
    if args.json:
        print(json.dumps({**finite(certificate.record()), "check_seconds": round(seconds, 3)}))
    else:
        show(certificate, seconds)
    return CODES[certificate.verdict]


def check_frontier(args: argparse.Namespace) -> int:
    """Every point of a frontier is a result of the instance with that budget; the minimum is a proof by itself."""
    instance, frontier = read_instance(args.instance), read_frontier(args.result)
    # Below the certified minimum there is no schedule: the ray has to prove it a little below.
    below = frontier.minimum_t - 2e-5 * max(1.0, abs(frontier.minimum_t))
    least = Result(Status.INFEASIBLE, math.inf, math.inf, None, None, ray=frontier.ray)
    least = replace(least, provenance={"instance_hash": at_budget(instance, below).content_hash()})
    verdicts = []
    points = zip(frontier.budgets, frontier.results, frontier.emissions.tolist(), strict=True)
    for budget, result, tonnes in ((below, least, math.inf), *points):
        options = dict(bound=not args.no_bound, jobs=args.jobs, seconds=args.seconds)
        certificate = check(at_budget(instance, float(budget)), result, **options)
        findings, emitted = certificate.findings, certificate.emissions_t
        if result.schedule is not None and not tonnes >= emitted - TOLERANCE * max(1.0, abs(emitted)):
            findings += (Finding("emissions", "", None, tonnes, f"at least {emitted:.9g} t"),)
        what = "no schedule" if result is least else "schedule and bound"
        if result is not least and result.schedule is None and result.incumbent == math.inf:
            what, findings = "bound, no schedule found", tuple(f for f in findings if f.rule != "schedule")
        verdicts.append(judge(f"{budget:,.2f} t", what, findings))
    for chain in frontier.chains():
        verdicts += check_chain(instance, chain)
    verdict = next(v for v in CODES if v in verdicts)
    print(f"certificate: {verdict}")
    return CODES[verdict]


def check_chain(instance: Instance, chain: Sequence[CurveStep]) -> list[str]:
    """Every step is a schedule that keeps what it emits, and its mixtures with the one before are schedules too."""
    verdicts = []
    for k, step in enumerate(chain):
        at = at_budget(instance, step.tonnes)
        own = {"instance_hash": at.content_hash()}
        result = Result(Status.LIMIT, -math.inf, step.cost, step.schedule, None, provenance=own)
        findings = check(at, result, bound=False).findings
        verdicts.append(judge(f"{step.tonnes:,.2f} t", "schedule", findings))
        if k > 0:
            findings = check_mixture(instance, chain[k - 1].schedule, step.schedule)
            verdicts.append(judge(f"{step.tonnes:,.2f} to {chain[k - 1].tonnes:,.2f} t", "mixtures", findings))
    return verdicts


def judge(place: str, what: str, findings: Sequence[Finding]) -> str:
    """Print a line, and the objections; the verdict."""
    verdict = verdict_of(findings)
    print(f"{place}: {what}: {verdict}")
    for finding in findings:
        print(f"- {finding}")
    return verdict


def finite(value: Any) -> Any:
    """Numbers that JSON does not know become null."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(certificate: Certificate, seconds: float) -> None:
    """A table of what was recomputed, the objections, and one line of verdict."""
    console = Console(soft_wrap=True, highlight=False)
    if math.isfinite(certificate.excess):
        console.print(f"no schedule keeps the limits: missed by at least {certificate.excess:,.6g} (t, GPU h or MWh)")
    elif certificate.certified_bound == math.inf:
        console.print("no schedule keeps the limits: the model of the whole fleet has no point")
    else:
        show_schedule(console, certificate)
    counts = (certificate.sites_lp, certificate.sites_milp, len(certificate.sites_unproved))
    if any(counts):
        console.print("site bounds re-proved: {} by LP duals, {} by MILP; not re-proved: {}".format(*counts))
    for finding in certificate.findings:
        console.print(f"- {escape(str(finding))}", style="red")
    console.print(f"certificate: {certificate.verdict} ({seconds:.1f} s)", style="bold")


def show_schedule(console: Console, certificate: Certificate) -> None:
    """Cost, emissions and bound: recomputed and claimed."""
    table = Table("", "recomputed", "claimed", "verdict", box=None, pad_edge=False)
    verdict = {True: "OK", False: certificate.verdict, None: "not asked for"}
    costs = (certificate.cost, certificate.incumbent)
    table.add_row("schedule: net cost, USD", *numbers(*costs), verdict[certificate.schedule_ok])
    table.add_row("emissions, t CO2", *numbers(certificate.emissions_t), "", "")
    bounds = (certificate.certified_bound, certificate.claimed_bound)
    table.add_row("lower bound, USD", *numbers(*bounds), verdict[certificate.bound_ok])
    if math.isfinite(certificate.gap_rel):
        claimed = gap_rel(certificate.claimed_bound, certificate.incumbent)
        table.add_row("relative gap", f"{certificate.gap_rel:.4%}", f"{claimed:.4%}", "")
    console.print(table)


def numbers(*values: float) -> list[str]:
    return [f"{value:,.2f}" if math.isfinite(value) else "-" for value in values]


if __name__ == "__main__":
    sys.exit(run(main))
