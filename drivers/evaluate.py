"""`evaluate`: what a plan is worth when the future is not the one that was planned for.

python -m drivers.evaluate fleet.h5 result.h5 --count 100 --seed 7
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from decomp.evaluation.evaluate import Evaluation, Interval, evaluate, fresh_scenarios
from decomp.files.atomic import write_rows
from decomp.files.store import read_instance
from decomp.lp.watch import limited
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.model.text import markdown_table
from decomp.ranks.mpi import Team
from decomp.report import write_report
from decomp.report.plans import run_of, worth_rows
from decomp.state.progress import Progress

from .arguments import SEED, Arguments, whole
from .common import add_options, code_of, make_team, options_of, read_at_root, read_result_of, run

LIMIT, INFEASIBLE = 3, 4
LISTED = 40  # jobs; all are in --json


def parser() -> Arguments:
    p = Arguments("evaluate", __doc__)
    p.reads("instance", help="instance file (HDF5)")
    p.reads("result", help="result file (HDF5)")
    p.reads("--scenarios", help="the fleet with the scenarios to come (default: its own)")
    p.add_argument("--count", type=whole(2), metavar="K", help="judge by K fresh synthetic scenarios instead")
    p.add_argument("--seed", type=SEED, default=1, metavar="K", help="seed of fresh scenarios (default 1)")
    p.add_argument("--cost-only", action="store_true", help="without the values VSS and EVPI: fewer solves")
    add_options(p, "gap asked for in each solve (default 1e-3)", "stop each solve after so many seconds")
    p.writes("--csv", help="write the costs of every scenario")
    p.writes("--report", help="write the page of `report` with what was found (HTML)")
    p.add_argument("--json", action="store_true", help="print everything as one JSON object")
    return p


class Input(NamedTuple):
    """What the root alone has: the fleet and its plan, and the fleet with the scenarios to come, if not its own."""

    instance: Instance | None = None
    result: Result | None = None
    fresh: Instance | None = None


def open_input(args: argparse.Namespace) -> tuple[Options, Input]:
    """Everything that can be wrong with the input is wrong here, before any work."""
    parser().keep_apart(args)
    options, instance = options_of(args), read_instance(args.instance)
    result = read_result_of(args.result, instance, args.instance)
    if args.scenarios and args.count:
        raise InputError("--count: not with --scenarios, which has its own")
    fresh = read_instance(args.scenarios) if args.scenarios else None
    if args.count:
        fresh = fresh_scenarios(instance, args.count, args.seed)
    return options, Input(instance, result, fresh)


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    with make_team() as team:
        options, given = read_at_root(team, lambda: open_input(args), Input())
        return code_of(team, lambda: work(args, team, options, given))


def work(args: argparse.Namespace, team: Team, options: Options, given: Input) -> int:
    """Evaluate, write and show what was found; the exit code."""
    instance, result, fresh = given
    values = not args.cost_only
    with Progress(root=team.is_root and not args.json and sys.stdout.isatty()) as progress:
        found = evaluate(instance, result, team, options, fresh=fresh, values=values, listeners=(progress,))
    if found is None or instance is None or result is None:
        return 0
    return finish(args, found, instance, result)


def finish(args: argparse.Namespace, evaluation: Evaluation, instance: Instance, result: Result) -> int:
    """Write and show what was found; the exit code."""
    if args.csv:
        write_costs(args.csv, evaluation)
    if args.report:
        with limited(np.inf, deaf=True):  # a signal that ended a solve does not end the page
            write_report(args.report, instance, result, evaluation=evaluation)
    print(json.dumps(record(evaluation, instance)) if args.json else "\n".join(markdown(evaluation, instance)))
    if np.isfinite(evaluation.cost).all():
        return 0
    if np.isposinf(evaluation.this.lower):
        print("infeasible: no dispatch does the plan's jobs in these scenarios", file=sys.stderr)
        return INFEASIBLE
    print("stopped before a dispatch was found that does the plan's jobs in these scenarios", file=sys.stderr)
    return LIMIT


def markdown(e: Evaluation, instance: Instance) -> list[str]:
    """The evaluation as a Markdown table, and the jobs that the mean-value plan runs otherwise."""
    lines = markdown_table((f"{len(e.cost)} scenarios", "USD"), worth_rows(e))
    if e.moves is None:
        return lines
    lines += ["", f"{len(e.moves)} of {instance.n_jobs} jobs run otherwise in the mean-value plan."]
    rows = [
        (str(instance.jobs.name[m.job]), run_of(instance, m.site, m.start), run_of(instance, m.mean_site, m.mean_start))
        for m in e.moves[:LISTED]
    ]
    if rows:
        lines += ["", *markdown_table(("job", "this plan", "mean-value plan"), rows, left=range(3))]
    return lines + ([f"and {len(e.moves) - LISTED} more"] if len(e.moves) > LISTED else [])


def record(e: Evaluation, instance: Instance) -> dict[str, object]:
    """Plain values, USD; sites by name, periods from 0; null where there is nothing."""

    def run_of(site: int, start: int) -> dict[str, object] | None:
        return dict(site=str(instance.sites.name[site]), start=start) if site >= 0 else None

    def plain(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    def interval(value: Interval | None) -> list[float | None] | None:
        return None if value is None else [plain(value.lower), plain(value.upper)]

    def each(values: np.ndarray | None) -> list[float | None] | None:
        return None if values is None else [plain(v) for v in values]

    return {
        "mean": plain(e.mean),
        "half_width_95": plain(e.half_width()),
        "cvar": plain(e.cvar),
        "level": e.level,
        "this": interval(e.this),
        "mean_value": interval(e.mean_value),
        "perfect": interval(e.perfect),
        "value_of_stochastic_solution": interval(e.stochastic),
        "value_of_perfect_information": interval(e.information),
        "scenarios": e.name.tolist(),
        "probability": e.probability.tolist(),
        "cost": each(e.cost),
        "mean_value_cost": each(e.mean_cost),
        "perfect_cost": each(e.perfect_cost),
        "moves": [
            dict(
                job=str(instance.jobs.name[m.job]),
                this=run_of(m.site, m.start),
                mean_value=run_of(m.mean_site, m.mean_start),
            )
            for m in e.moves or ()
        ],
    }


def write_costs(path: Path, e: Evaluation) -> None:
    """A line a scenario: probability, and the net costs in it."""
    named = dict(net_cost_usd=e.cost, mean_value_plan_usd=e.mean_cost, knowing_usd=e.perfect_cost)
    columns = {name: values for name, values in named.items() if values is not None}
    rows = (
        (name, f"{e.probability[s]:.9g}", *(f"{values[s]:.6f}" for values in columns.values()))
        for s, name in enumerate(e.name)
    )
    write_rows(path, ("scenario", "probability", *columns), rows)


if __name__ == "__main__":
    sys.exit(run(main))
