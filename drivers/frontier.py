"""`frontier`: trace net cost against carbon budget, with certified bounds, on all ranks.

mpiexec -n 4 python -m mpi4py -m drivers.frontier fleet.h5 -o frontier.h5 --budgets 10
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from decomp.bound.infeasible import Infeasible
from decomp.files.frontiers import read_frontier, write_frontier
from decomp.files.store import instance_hash, read_instance, read_sites
from decomp.frontier.trace import trace
from decomp.lp.watch import Interrupted
from decomp.model.frontier import Frontier
from decomp.model.instance import Array, InputError, Instance
from decomp.model.options import Options
from decomp.model.refusal import NUMBER_LIMIT
from decomp.model.text import markdown_table, number
from decomp.model.validate_result import validate_frontier
from decomp.ranks.clock import process_seconds
from decomp.ranks.mpi import Team
from decomp.state.checkpoint import Spacing
from decomp.state.progress import Progress

from .arguments import POSITIVE, Arguments
from .common import BRIEF, add_options, code_of, make_team, options_of, read_at_root, run

LIMIT, INFEASIBLE = 3, 4
MOST_BUDGETS = 1000


def parser() -> Arguments:
    p = Arguments("frontier", __doc__)
    p.reads("instance", help="instance file (HDF5); its own budget does not matter")
    p.writes("-o", "--output", required=True, renews="resume", help="frontier file, also written every --save-seconds")
    p.reads("--resume", metavar="FRONTIER", help="go on from the bounds and schedules of an earlier frontier file")
    p.add_argument("--save-seconds", type=POSITIVE, default=60.0, metavar="S", help="saved this often (default 60)")
    p.add_argument(
        "--budgets", default="10", metavar="N|T,T,...", help="least number of budgets (default 10), or which, t"
    )
    gap = "gap asked for, relative to the largest net cost (default 0.01)"
    add_options(p, gap, "stop after so many seconds, all budgets together")
    p.writes("--plot", metavar="SVG", help="draw both curves")
    p.add_argument("--quiet", action="store_true", help="print no iterations, only the table of the frontier")
    return p


def read_budgets(text: str) -> int | list[float]:
    """A number of budgets, or a list of them."""
    try:
        if text.isdigit():
            if not 2 <= int(text) <= MOST_BUDGETS:
                raise ValueError
            return int(text)
        budgets = [float(part) for part in text.split(",") if part.strip()]
        if not budgets or not all(0 <= b <= NUMBER_LIMIT for b in budgets) or len(set(budgets)) < len(budgets):
            raise ValueError
    except ValueError:
        raise InputError(
            f"--budgets: {text!r}, must be a number from 2 to {MOST_BUDGETS}, or different tonnes from 0: 500,600.0"
        ) from None
    return budgets


class Input(NamedTuple):
    """What the root alone has: the instance, and what is known of its frontier."""

    instance: Instance | None = None
    known: Frontier | None = None


def open_input(args: argparse.Namespace) -> tuple[tuple[Options, int | list[float]], Input]:
    """Everything that can be wrong with the input is wrong here, before any work."""
    parser().keep_apart(args)
    options, instance = options_of(args, BRIEF), read_instance(args.instance)
    known = read_known(args.resume, instance) if args.resume else None
    return (options, read_budgets(args.budgets)), Input(instance, known)


def read_known(path: Path, instance: Instance) -> Frontier:
    """The frontier in a file, if it is of this instance."""
    if instance_hash(path) != instance.content_hash():
        raise InputError(f"{path}: the frontier of another instance")
    frontier = read_frontier(path)
    try:
        validate_frontier(instance, frontier)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return frontier


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    with make_team() as team:
        (options, budgets), given = read_at_root(team, lambda: open_input(args), Input())
        return code_of(team, lambda: work(args, team, options, budgets, given))


def work(args: argparse.Namespace, team: Team, options: Options, budgets: int | list[float], given: Input) -> int:
    """Trace, save now and then, show; the exit code."""
    instance, spacing = given.instance, Spacing(args.save_seconds)

    def keep(so_far: Callable[[], Frontier]) -> None:
        if spacing.due and instance is not None:
            with spacing.saving(args.output):
                write_frontier(args.output, so_far(), instance)

    with Progress(root=team.is_root and not args.quiet) as progress:
        try:
            frontier = trace(
                instance,
                team,
                options,
                budgets,
                read=lambda own: read_sites(args.instance, own),
                listeners=(progress,),
                keep=keep,
                known=given.known,
            )
        except Infeasible as proof:
            print(f"infeasible: {proof}", file=sys.stderr)
            return INFEASIBLE
        except Interrupted:
            print("stopped before the first bound: nothing is known of the frontier", file=sys.stderr)
            return LIMIT
    if frontier is None or instance is None:
        return 0
    write_frontier(args.output, frontier, instance)
    if args.plot:
        from decomp.report.frontier import draw_frontier

        draw_frontier(args.plot, frontier)
    print("\n".join(markdown(frontier)))
    late = process_seconds() >= options.time_limit_seconds
    if not (late or team.signalled) or between(frontier).max() <= options.rel_gap:
        return 0
    print(f"stopped {'at the time limit' if late else 'by a signal'}, with what is known by then", file=sys.stderr)
    return LIMIT


def between(frontier: Frontier) -> Array:
    """The gap at many budgets between the first and the last, relative to the largest net cost; NaN: no schedule."""
    at = np.linspace(frontier.budgets[0], frontier.budgets[-1], 4000)
    return np.asarray((frontier.upper(at) - frontier.lower(at)) / frontier.scale)


def markdown(frontier: Frontier) -> list[str]:
    """The frontier as a Markdown table; gaps are relative to its largest net cost."""
    lower, upper = frontier.lower(frontier.budgets), frontier.upper(frontier.budgets)
    head = ("budget, t CO2", "emissions, t CO2", "lower bound, USD", "net cost, USD", "gap", "price of a tonne, USD/t")
    rows = []
    for k, result in enumerate(frontier.results):
        gap = 100 * (upper[k] - lower[k]) / frontier.scale
        cells = (
            number(float(frontier.budgets[k]), 2),
            number(float(frontier.emissions[k]), 2),
            number(float(lower[k])),
            number(float(upper[k])),
            f"{gap:.2f} %" if np.isfinite(gap) else "-",
            number(result.dual.carbon_price if result.dual else None, 2),
        )
        rows.append(cells)
    lines = [f"certified minimum of emissions: {number(frontier.minimum_t, 2)} t CO2", ""]
    lines += markdown_table(head, rows, left=())
    gap = 100 * between(frontier)
    if frontier.steps and np.isfinite(gap).all():
        gaps = f"a gap of {gap.mean():.2f} % on average, {gap.max():.2f} % at most"
        lines += ["", f"with {len(frontier.steps)} more schedules between the budgets: {gaps}"]
    return lines


if __name__ == "__main__":
    sys.exit(run(main))
