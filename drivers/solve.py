"""`solve`: schedule a fleet on all ranks, to a proven gap.

mpiexec -n 4 python -m mpi4py -m drivers.solve fleet.h5 -o result.h5
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from decomp.files.store import read_instance, read_sites, write_result
from decomp.model.instance import InputError, Instance, describe
from decomp.model.options import METHODS, Options
from decomp.model.result import Result, Status
from decomp.ranks.clock_decisions import Stops
from decomp.ranks.mpi import Team
from decomp.solver.solve import refuse_state, solve
from decomp.state.checkpoint import Checkpoint, read_checkpoint
from decomp.state.progress import JsonLog, Progress
from decomp.state.solve_state import Hooks

from .arguments import PATIENCE, SECONDS, Arguments
from .common import add_options, code_of, make_team, options_of, read_at_root, run

LATE = "give up when a rank keeps the others waiting for so long (default 600)"


def parser() -> Arguments:
    p = Arguments("solve", __doc__)
    p.reads("instance", help="instance file (HDF5)")
    p.writes("-o", "--output", metavar="RESULT", help="result file (default: NAME.result.h5 beside the instance)")
    p.add_argument("--method", choices=METHODS, help="which phases make the solve (default hybrid)")
    gap = "stop at (incumbent - bound) / max(|incumbent|, 1 USD) (default 1e-3)"
    add_options(p, gap, "stop after so many seconds (default: never)")
    p.writes("--log", metavar="JSONL", help="write one JSON line per iteration")
    p.add_argument("--seed", type=int, metavar="K", help="seed of every random choice")
    p.writes("--checkpoint", renews="resume", help="save here what --resume needs")
    p.add_argument("--checkpoint-seconds", type=SECONDS, default=30.0, metavar="S", help="how often (default 30)")
    p.reads("--resume", help="go on from a checkpoint")
    p.reads("--replay", metavar="JSONL", help="repeat the run of this log, stops by the clock included")
    p.add_argument("--patience", type=PATIENCE, default=600.0, metavar="SECONDS", help=LATE)
    return p


class Input(NamedTuple):
    """What the root alone has: the instance, where to go on, what of another run is to be repeated, and the log."""

    instance: Instance | None
    saved: Checkpoint | None
    stopped: dict[int, Any] | None
    log: JsonLog


def open_input(args: argparse.Namespace, team: Team) -> tuple[Options, Input]:
    """Everything that can be wrong with the input is wrong here, before any work."""
    parser().keep_apart(args)
    options = options_of(args, method=args.method, seed=args.seed)
    refuse_state(options, bool(args.checkpoint or args.resume or args.replay))
    instance = read_instance(args.instance)
    saved = read_checkpoint(args.resume, instance, options) if args.resume else None
    stopped = recorded(args.replay) if args.replay else None
    return options, Input(instance, saved, stopped, JsonLog(args.log, team.path_seconds))


def recorded(path: Path) -> dict[int, Any]:
    """What the clock or a signal cut short in the run of a log, by number of the question; see `Stops`."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {line["question"]: line["answer"] for line in lines if line["event"] == "stop"}
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not the log of a solve") from None


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    args.output = args.output or args.instance.parent / f"{args.instance.stem}.result.h5"
    with make_team(args.patience) as team:
        nothing = Input(None, None, None, JsonLog(None))
        options, given = read_at_root(team, lambda: open_input(args, team), nothing)
        return code_of(team, lambda: work(args, team, options, given))


def reason(result: Result) -> str:
    """Why the exit code is not 0, in one line."""
    if result.status is Status.INFEASIBLE:
        nothing = "no schedule can do the mandatory work within the limits of the sites and the carbon budget"
        return f"infeasible: {result.provenance.get('reason', nothing)}"
    if result.status is Status.FAILED:
        return f"failed: {result.provenance.get('reason', 'the solver gave no reason')}"
    found = f"a schedule within {100 * result.gap_rel:.3g} % of the bound" if result.schedule else "no schedule"
    return f"stopped with {found}, before the gap that was asked for"


def work(args: argparse.Namespace, team: Team, options: Options, given: Input) -> int:
    """Solve, show, save; the exit code."""
    instance, saved, stopped, log = given
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(root=team.is_root))
        stack.enter_context(log)
        if instance is not None:
            facts = {"ranks": team.size, "method": options.method, "result": args.output}
            progress.banner({**describe(instance), **facts})
        if saved is not None:
            before = dict(iterations=len(saved.result.log), spent_seconds=round(saved.seconds, 1))
            progress.banner({"resumed": "{iterations} iterations and {spent_seconds} s before".format(**before)})
            log.event("resumed", before)

        def keep(result: Result) -> None:
            if instance is not None:
                try:
                    write_result(args.output, result, instance)
                except OSError as error:
                    print(f"warning: {args.output}: not written yet: {error.strerror}", file=sys.stderr)

        result = solve(
            instance,
            team,
            options,
            read=lambda own: read_sites(args.instance, own),
            hooks=Hooks(
                listeners=(progress, log),
                keep=keep,
                checkpoint=(args.checkpoint, args.checkpoint_seconds) if args.checkpoint else None,
                beside=args.output,
                stops=Stops(stopped, lambda number, answer: log.event("stop", dict(question=number, answer=answer))),
            ),
            start=saved,
        )
        if result is None or instance is None:
            return 0
        write_result(args.output, result, instance)
        progress.close(result)
        log.close(result)
        if result.status.exit_code:
            print(reason(result), file=sys.stderr)
        return result.status.exit_code


if __name__ == "__main__":
    sys.exit(run(main))
