"""`submit`: a Slurm batch script for an instance, with nodes, ranks, memory and time estimated; and its submission.

    python -m drivers.submit fleet.h5 -o fleet.sbatch --dry-run      # write it, with the reasons
    python -m drivers.submit fleet.h5 -o fleet.sbatch                # and hand it to sbatch

The job saves its state before its time limit and goes back into the queue (see slurm/README.md), so that an estimate of
time that is too short costs a restart and no more.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from decomp.bench.estimate import EFFICIENCY, RATES, SLACK, Calibration, Estimate, calibrate, estimate
from decomp.files.atomic import write_text
from decomp.files.store import read_instance
from decomp.model.instance import InputError, Instance
from decomp.model.options import METHODS, Options
from decomp.model.text import number

from .arguments import SHARE, Arguments, whole
from .common import run

SOLVE = Path(__file__).resolve().parents[len((__package__ or "drivers").split("."))] / "slurm" / "solve.sbatch"
START_SECONDS = 60.0  # loading modules on all ranks at once, from a shared disk
MOST_RANKS = 1_000_000
LEAST_MINUTES, MOST_MINUTES = 10, 24 * 60
LEAST_WARNING, MOST_WARNING = 120, 900  # seconds before the time limit

SCRIPT = """\
#!/usr/bin/env bash
{reasons}
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks={ranks}
#SBATCH --ntasks-per-node={per_node}
#SBATCH --cpus-per-task=1
#SBATCH --mem={memory}M
#SBATCH --time={minutes}
#SBATCH --signal=B:USR1@{warning}
#SBATCH --requeue
#SBATCH --open-mode=append
export DECOMP={checkout}
exec bash "$DECOMP/slurm/solve.sbatch" {words}
"""


@dataclass(frozen=True)
class SlurmRequest:
    """What the script asks of Slurm, each with its reason."""

    nodes: int
    ranks: int
    per_node: int
    memory: int
    minutes: int
    warning: int
    reasons: tuple[str, ...]


def parser() -> Arguments:
    p = Arguments("submit", __doc__)
    p.reads("instance", help="instance file (HDF5)")
    p.writes("-o", "--output", metavar="SCRIPT", help="batch script (default: beside the instance)")
    p.writes("--result", help="result file of the job (default: beside the instance)")
    p.add_argument("--dry-run", action="store_true", help="write the script, submit nothing")
    p.add_argument("--ranks", type=whole(1, MOST_RANKS), metavar="N", help="ranks, instead of the estimate")
    p.add_argument("--minutes", type=whole(1), metavar="N", help="time limit, instead of the estimate")
    p.add_argument(
        "--cores-per-node", type=whole(1), metavar="N", help="cores of a node (default: as sinfo says, else 32)"
    )
    p.add_argument("--rel-gap", type=SHARE, metavar="G", help="handed to solve")
    p.add_argument("--method", choices=METHODS, help="handed to solve")
    p.reads("--options", metavar="TOML", help="handed to solve")
    return p


def cores_per_node(given: int | None) -> tuple[int, str]:
    """Cores of the smallest node, and who says so."""
    if given:
        return given, "as given"
    if shutil.which("sinfo"):
        command = ["sinfo", "-h", "-o", "%c"]
        if partition := os.environ.get("SBATCH_PARTITION"):
            command += ["-p", partition]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if cores := [int(word) for word in re.findall(r"\d+", said)]:
            return min(cores), "the smallest node that sinfo names"
    return 32, "a guess, since no sinfo tells; --cores-per-node says better"


def plan(args: argparse.Namespace, instance: Instance, c: Calibration, e: Estimate) -> SlurmRequest:
    """The request and its reasons."""
    cores, who = cores_per_node(args.cores_per_node)
    nodes = math.ceil(e.ranks / cores)
    per_node = math.ceil(e.ranks / nodes)
    memory = math.ceil(SLACK * (e.root_mb + (per_node - 1) * e.rank_mb))
    seconds = START_SECONDS + SLACK * e.seconds
    minutes = args.minutes or min(max(math.ceil(seconds / 60), LEAST_MINUTES), MOST_MINUTES)
    step = RATES.move_sites * float(c.seconds.max())
    warning = int(min(max(LEAST_WARNING, 3 * step), MOST_WARNING, 30 * minutes))
    n, scenarios = instance.n_sites, instance.n_scenarios
    t, own = e.times, -(-n * max(scenarios, 1) // e.ranks)
    sites = f"{n} sites" if not scenarios else f"{n} sites in {scenarios} scenarios"
    limit = "as given; expected are" if args.minutes else f"{START_SECONDS:.0f} s to start, {SLACK:g} times"
    asked = "as given" if args.ranks else f"doubled while efficiency stays above {100 * EFFICIENCY:.0f} %"
    reasons = (
        f"{sites}, {instance.n_periods} periods, {instance.n_jobs} jobs. A site takes "
        f"{1e3 * c.seconds.mean():.1f} ms an iteration, {1e3 * c.seconds.max():.1f} ms at most, measured here on "
        f"{len(c.seconds)} sites.",
        f"{e.ranks} ranks: {asked}; here {100 * e.efficiency:.0f} %, limited by {t.limit}.",
        f"{nodes} node{'s' if nodes > 1 else ''} of {cores} cores ({who}), at most {per_node} ranks each.",
        f"{number(memory)} MB a node: {c.base_mb:.0f} MB a rank and {c.site_mb:.1f} MB a site ({own} a rank), "
        f"measured here; {e.root_mb - e.rank_mb:.0f} MB for instance and columns at the root; times {SLACK:g}.",
        f"{minutes} minutes: {limit} {e.seconds:.0f} s (root alone {t.root:.0f} s, sites and moves {t.work:.0f} s, "
        f"messages {t.messages:.0f} s) for {RATES.iterations} iterations and {RATES.rounds} rounds of moves.",
        f"Warned {warning} s before: three times the longest cluster move expected, {LEAST_WARNING} s at least.",
    )
    return SlurmRequest(nodes, e.ranks, per_node, memory, minutes, warning, reasons)


def script(args: argparse.Namespace, request: SlurmRequest) -> str:
    asked = {name: value for name, value in vars(request).items() if name != "reasons"}
    options = args.options and args.options.resolve()
    given = {"--rel-gap": args.rel_gap, "--method": args.method, "--options": options}
    words = [str(word) for name, value in given.items() if value is not None for word in (name, value)]
    return SCRIPT.format(
        **asked,
        reasons="\n".join(f"# {line}" for line in request.reasons),
        name=re.sub(r"[^\w.+-]+", "-", args.instance.stem),  # a comment to bash, words to sbatch: neither quotes
        checkout=shlex.quote(str(SOLVE.parents[1])),
        words=shlex.join([str(args.instance.resolve()), str(args.result.resolve()), *words]),
    )


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    args.output = args.output or args.instance.with_suffix(".sbatch")
    args.result = args.result or args.instance.with_name(f"{args.instance.stem}-result.h5")
    p.keep_apart(args)
    if not SOLVE.exists():
        raise InputError("submit needs a checkout: the batch scripts in its folder slurm are not installed")
    if not args.dry_run and shutil.which("sbatch") is None:
        raise InputError("sbatch: not found; --dry-run writes the script all the same")
    if args.options:
        Options.from_toml(args.options)  # refused here, not when the job's turn comes
    instance = read_instance(args.instance)
    calibration = calibrate(args.instance, instance)
    request = plan(args, instance, calibration, estimate(instance, calibration, args.ranks))
    write_text(args.output, script(args, request))
    print("\n".join(request.reasons))
    if args.dry_run:
        print(f"script: {args.output}, not submitted")
        return 0
    sent = subprocess.run(["sbatch", "--parsable", str(args.output)], capture_output=True, text=True, check=False)
    if sent.returncode:
        raise InputError(f"sbatch: {sent.stderr.strip()}")
    print(f"script: {args.output}, submitted as job {sent.stdout.strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
