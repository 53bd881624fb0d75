"""`joint_study`: what each freedom of joint compute and power scheduling is worth (arXiv 2605.03751)."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from decomp.families import FAMILIES, generate
from decomp.files.atomic import write_text
from decomp.files.store import write_instance
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.solver.series import Ask, led_by_root
from decomp.studies.joint import OPTIMAL, Solver, Study, claims, sites
from decomp.studies.joint_pages import summary, write_figures
from decomp.studies.pages import write_csv
from decomp.studies.variants import SWEEPS, VARIANTS

from .arguments import PATIENCE, SEED, Arguments, whole
from .common import make_team, read_at_root, run
from .generate import settings

SIZES = ("sites", "periods", "jobs", "streams")
COARSE = 1e-2  # relative gap of a fleet that is too large to be solved to optimality


def parser() -> Arguments:
    p = Arguments("joint_study", __doc__)
    p.fills("-o", "--output", files=("*",), required=True, help="folder to write")
    p.add_argument("--family", choices=tuple(FAMILIES), default="paper", help="family of the fleet (default paper)")
    for size in SIZES:
        p.add_argument(f"--{size}", type=whole(1), metavar="N", help=f"number of {size} (default: the family's)")
    p.add_argument("--seed", type=SEED, default=0, metavar="K", help="seed of the fleet (default 0)")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the family")
    names = tuple(VARIANTS)
    p.add_argument("--variants", nargs="+", choices=names, default=names, metavar="NAME", help="which (default all)")
    p.add_argument(
        "--sweeps", nargs="*", choices=tuple(SWEEPS), metavar="NAME", help="which (default: of paper all, else none)"
    )
    p.add_argument(
        "--rel-gap",
        type=float,
        metavar="G",
        help="gap asked for in each solve (default 1e-6 on small fleets, else 1e-2)",
    )
    p.add_argument("--seconds", type=PATIENCE, default=np.inf, metavar="S", help="time limit of a solve (default none)")
    return p


def open_input(args: argparse.Namespace) -> tuple[Options, Instance]:
    """The fleet, and options that suit its size.

    Raises
    ------
    InputError : something asked for cannot be.
    """
    parser().keep_apart(args)
    if "joint" not in args.variants:
        raise InputError("variants: joint must be one of them, what the others are measured by")
    sizes = {size: getattr(args, size) for size in SIZES}
    fleet = generate(args.family, **sizes, seed=args.seed, **settings(args.set))
    small = fleet.n_sites * fleet.n_periods <= Options().extensive_finish.site_periods
    return Options().updated(rel_gap=args.rel_gap if args.rel_gap is not None else OPTIMAL if small else COARSE), fleet


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    with make_team() as team:
        options, fleet = read_at_root(team, lambda: open_input(args), None)
        ranks = ["mpiexec", "-n", str(team.size), "python", "-m", "mpi4py"] if team.size > 1 else ["python"]
        command = shlex.join([*ranks, "-m", "drivers.joint_study", *(sys.argv[1:] if argv is None else argv)])

        def work(ask: Ask) -> None:
            assert fleet is not None
            study(args, fleet, Solver(ask, options, args.seconds), command)

        led_by_root(team, work)
    return 0


def study(args: argparse.Namespace, fleet: Instance, solver: Solver, command: str) -> None:
    """Solve, conclude, write. Root only."""
    args.output.mkdir(parents=True, exist_ok=True)
    done = Study(solver, args.output, partial(print, flush=True))
    write_instance(args.output / "fleet.h5", fleet)
    rows, found = done.table(fleet, args.variants)
    names = args.sweeps if args.sweeps is not None else list(SWEEPS) if args.family == "paper" else []
    swept = []
    for name in names:
        swept += done.sweep(fleet, name)
    places = sites(fleet, found)
    checked = claims(rows, places)
    tables: dict[str, Sequence[Any]] = dict(variants=rows, sweeps=swept, sites=places, claims=checked)
    for name, records in tables.items():
        if records:
            write_csv(args.output / f"{name}.csv", records)
    write_figures(args.output, rows, swept, places)
    write_text(args.output / "summary.md", summary(command, fleet, rows, swept, places, checked))
    print((args.output / "summary.md").read_text("utf-8"))


if __name__ == "__main__":
    sys.exit(run(main))
