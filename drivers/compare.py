"""`compare`: put several results side by side, as a Markdown table."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from decomp.files.store import read_instance, read_result
from decomp.model.accounts import Accounts, account
from decomp.model.instance import Instance
from decomp.model.result import Result
from decomp.model.text import gap_rel, markdown_table

from .arguments import Arguments
from .common import read_result_of, run

HEADER = ("file", "method", "status", "bound", "incumbent", "gap", "seconds", "ranks", "served", "jobs", "emissions")
UNITS = ("", "", "", "USD", "USD", "", "s", "", "", "", "t CO2")
MORE = ("costs more, at least, USD", "at most, USD")  # than the baseline


def parser() -> Arguments:
    p = Arguments("compare", __doc__)
    p.reads("results", nargs="+", help="result files")
    p.reads("--instance", help="their instance file: for emissions, and shares by the probability of scenarios")
    p.reads("--baseline", help="a result to compare with: adds proven limits of how much more each costs")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    instance = read_instance(args.instance) if args.instance else None
    results = [
        read_result_of(path, instance, args.instance) if instance is not None else read_result(path)
        for path in args.results
    ]
    rows = [row(path, result, instance) for path, result in zip(args.results, results, strict=True)]
    head = tuple(f"{name}, {unit}" if unit else name for name, unit in zip(HEADER, UNITS, strict=True))
    if args.baseline:
        base, head = read_result(args.baseline), head + MORE
        rows = [line + costs_more(result, base) for line, result in zip(rows, results, strict=True)]
    print("\n".join(markdown_table(head, rows, left=range(3))))
    return 0


def costs_more(result: Result, base: Result) -> tuple[str, str]:
    """Ends of what the best plan of one fleet costs more than that of another: from its bound, from its schedule."""
    return number(result.bound - base.incumbent), number(result.incumbent - base.bound)


def row(path: Path, result: Result, instance: Instance | None = None) -> tuple[str, ...]:
    """One result as the cells of the table."""
    facts, gap = result.provenance, gap_rel(result.bound, result.incumbent)
    seconds = facts.get("wall_seconds", result.log[-1].wall_seconds if result.log else None)
    sums = account(instance, result.schedule) if instance is not None and result.schedule is not None else None
    served, jobs = work(result, sums)
    return (
        path.name,
        str(facts.get("method", "")),
        result.status.value,
        number(result.bound),
        number(result.incumbent),
        f"{100 * gap:.3f} %" if math.isfinite(gap) else "",
        number(seconds, 1),
        str(facts.get("ranks", "")),
        served,
        jobs,
        number(emissions(result, sums), 1),
    )


def work(result: Result, sums: Accounts | None) -> tuple[str, str]:
    """Share of inference that is served, all scenarios alike where no accounts weigh them, and jobs accepted of all."""
    schedule = result.schedule
    if schedule is None:
        return "", ""
    served, lost = float(schedule.routed_gpu.sum()), float(schedule.unserved_gpu.sum())
    if sums is not None:
        served, lost = sums.served_gpu_h, sums.unserved_gpu_h
    share = f"{100 * served / (served + lost):.1f} %" if served + lost > 0 else ""
    jobs = f"{np.count_nonzero(schedule.job_site >= 0)}/{len(schedule.job_site)}" if len(schedule.job_site) else ""
    return share, jobs


def emissions(result: Result, sums: Accounts | None) -> float | None:
    """Emissions of the schedule, t CO2: from its accounts, else as the result states them."""
    if sums is not None:
        return float(sums.emissions_t.sum())
    stated = result.provenance.get("emissions_t")
    return float(stated) if isinstance(stated, int | float) else None


def number(value: float | None, digits: int = 0) -> str:
    return f"{value:,.{digits}f}" if value is not None and math.isfinite(value) else ""


if __name__ == "__main__":
    sys.exit(run(main))
