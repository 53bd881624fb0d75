"""`rolling`: run a fleet window after window over an instance that spans the whole run, on all ranks.

    mpiexec -n 4 python -m mpi4py -m drivers.rolling week.h5 -o week --window 36 --step 24

With --history a window is planned by what was known when it starts, with --scenarios for several futures; then all but
jobs and day-ahead commitments answers what comes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from decomp.bound.lagrangian import Start
from decomp.files.store import read_instance, write_instance, write_result
from decomp.ingest.build import open_spec
from decomp.ingest.library import Library
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.model.text import markdown_table, number
from decomp.ranks.mpi import Team
from decomp.rolling.planner import Operation, Planned, Planner, Rolling, roll
from decomp.rolling.resume import Saved, refuse_changed, save, saved
from decomp.rolling.windows import Executed, Expect, Window
from decomp.rolling.write import STATE, clear, result_of, write_plan, write_windows
from decomp.scenarios.known import known
from decomp.scenarios.past import as_known
from decomp.state.checkpoint import or_warn
from decomp.state.progress import Progress

from .arguments import AMOUNT, POSITIVE, Arguments, whole
from .common import BRIEF, add_options, code_of, make_team, options_of, read_at_root, run
from .ingest import data_of

NO_PLAN = 3
SWITCH = "what a plan is charged for each job that the last plan had at another site (default 100)"
FOLDER = "folder to write; what an earlier run left in it is removed, but for --resume"
WRITTEN = ("fleet.h5", "windows.csv", "schedule.h5", STATE, "plans/*")


def parser() -> Arguments:
    p = Arguments("rolling", __doc__)
    p.reads("instance", help="instance file (HDF5) that spans the whole run")
    p.fills("-o", "--output", files=WRITTEN, required=True, help=FOLDER)
    p.add_argument("--window", type=POSITIVE, default=36.0, metavar="H", help="hours planned at once (default 36)")
    p.add_argument("--step", type=POSITIVE, default=24.0, metavar="H", help="hours done of each plan (default 24)")
    p.add_argument("--days", type=POSITIVE, metavar="N", help="only the first N days, as an instance of their own")
    p.add_argument("--foresight", action="store_true", help="plans know the jobs and pools that have yet to arrive")
    p.add_argument("--switch-usd", type=AMOUNT, default=100.0, metavar="USD", help=SWITCH)
    p.reads("--history", metavar="SPEC", help="spec of ingest: windows know forecasts of prices and weather only")
    p.add_argument("--data", type=Path, metavar="FOLDER", help="folder of the data files (default: the spec's)")
    p.add_argument("--scenarios", type=whole(1), metavar="K", help="plan for K futures: errors of past forecasts")
    p.add_argument("--cold", action="store_true", help="do not start solves from the last one's prices")
    add_options(p, "gap asked for in each window (default 0.01)", "stop each window's solve after so many seconds")
    p.add_argument("--resume", action="store_true", help="go on with the run in the folder, from its last window")
    p.add_argument("--quiet", action="store_true", help="print no iterations, only the table of windows")
    return p


def periods(name: str, hours: float, period_h: float) -> int:
    """Hours as a whole number of periods."""
    count = round(hours / period_h)
    if count < 1 or abs(count * period_h - hours) > 1e-9 * hours:
        raise InputError(f"--{name}: {hours:g} h, must be a multiple of the instance's period of {period_h:g} h")
    return count


def facts_of(args: argparse.Namespace, options: Options, rolling: Rolling, instance: Instance) -> dict[str, Any]:
    """What has to be the same for a run to be gone on with."""
    spec = hashlib.sha256(args.history.read_bytes()).hexdigest() if args.history else None
    known = dict(history=spec, scenarios=args.scenarios)
    return dict(instance=instance.content_hash(), **asdict(rolling), **known, options=options.to_dict())


def outlook(args: argparse.Namespace, instance: Instance) -> tuple[Expect | None, Library | None]:
    """What windows know of prices and weather, and the files that tell; None: everything is known."""
    if args.history is None:
        for name in ("data", "scenarios"):
            if getattr(args, name) is not None:
                raise InputError(f"--{name}: only with --history")
        return None, None
    spec, library = open_spec(args.history, args.data, ())
    known(instance, spec, library)
    return lambda window: as_known(window, spec, library, args.scenarios or 0), library


def open_input(args: argparse.Namespace) -> Planner:
    """Everything that can be wrong with the input is wrong here, before any work; then old plans are removed."""
    parser().keep_apart(args)
    options = options_of(args, BRIEF)
    if options.method == "extensive":
        raise InputError("method: 'extensive', windows are solved by decomposition: lagrangian, benders or hybrid")
    instance = read_instance(args.instance)
    rolling = Rolling(
        periods("window", args.window, instance.period_h),
        periods("step", args.step, instance.period_h),
        args.foresight,
        args.switch_usd,
        not args.cold,
    )
    if args.days is not None:
        length = periods("days", 24 * args.days, instance.period_h)
        instance = Executed(instance, foresight=True).window(length, length).instance
    expect, library = outlook(args, instance)
    facts, data = facts_of(args, options, rolling, instance), library.used if library else {}

    def tell(planned: Planned, window: Window, result: Result) -> None:
        write_plan(args.output, planned, window, result, rolling.step)

    def keep(plans: Sequence[Planned], start: Start | None) -> None:
        if not plans:
            return
        with or_warn(args.output / STATE):
            save(args.output, facts, plans, start, data)

    planner = Planner(instance, options, rolling, expect=expect, tell=tell, keep=keep)
    before = saved(args.output, facts) if args.resume else Saved([], None, {})
    planner.do_again(before.done, before.start)
    planner.look_ahead()
    refuse_changed(args.output, before.data, data)
    parser().keep_apart(args, data_of(library) if library else ())
    if not args.resume and (old := clear(args.output)):
        print(f"{args.output}: {old} files of an earlier run removed", file=sys.stderr)
    return planner


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    with make_team() as team:
        _, planner = read_at_root(team, lambda: (None, open_input(args)), None)
        return code_of(team, lambda: work(args, team, planner))


def work(args: argparse.Namespace, team: Team, planner: Planner | None) -> int:
    """Run the fleet, write and show what came of it; the exit code."""
    with Progress(root=team.is_root and not args.quiet) as progress:
        operation = roll(planner, team, (progress,))
    return 0 if operation is None else finish(args, operation)


def finish(args: argparse.Namespace, operation: Operation) -> int:
    """Write and show what the run came to; the exit code."""
    whole = operation.past.instance
    args.output.mkdir(parents=True, exist_ok=True)
    if args.days is not None:
        write_instance(args.output / "fleet.h5", whole)
    write_windows(args.output / "windows.csv", operation)
    print("\n".join(markdown(operation)))
    if not operation.complete:
        hours = whole.period_h * operation.past.now
        why = "by a signal" if operation.signalled else "no plan was found for what comes then"
        print(f"stopped after {hours:g} h: {why}", file=sys.stderr)
        return NO_PLAN
    write_result(args.output / "schedule.h5", result_of(operation), whole)
    return 0


def markdown(operation: Operation) -> list[str]:
    """The windows as a Markdown table, and what the run came to."""
    head = ("window", "hours", "jobs", "running", "moved", "bound iterations", "all", "gap", "planned, USD")
    rows = []
    hours = operation.past.instance.period_h
    for p in operation.plans:
        span = f"{hours * p.now:g}-{hours * p.end:g}"
        counts = (p.number, span, p.jobs, p.running, p.moved, p.bound_iterations, p.iterations)
        money = (number(p.planned_usd), number(operation.realised(p)))
        rows.append([*map(str, counts), f"{100 * p.gap:.2f} %", *money])
    lines = markdown_table([*head, "realised, USD"], rows, left=())
    emitted, budget = operation.past.emitted(), operation.past.instance.carbon_budget_t
    lines += ["", f"realised net cost: {number(operation.past.cost(), 2)} USD"]
    lines += [f"emitted: {number(emitted, 2)} t CO2 of {number(budget, 2)}"]
    return lines


if __name__ == "__main__":
    sys.exit(run(main))
