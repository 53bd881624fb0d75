"""`export`: write the extensive form as MPS, a result as a start solution for it, a schedule as CSV.

    python -m drivers.export fleet.h5 --mps fleet.mps [--result result.h5 --sol start.sol [--plain start.mst]]
    python -m drivers.export fleet.h5 --result result.h5 --csv FOLDER

Any MIP solver reads the MPS. `--sol` is HiGHS's solution file; `--plain` has lines of a column name and its value,
which SCIP reads as .sol and Gurobi as .mst. `--csv` makes a file for every site, one of the jobs, one of the routing,
in the place of those of an earlier export.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from decomp.extensive.by_highs import with_integers_fixed
from decomp.extensive.matrices import ExtensiveForm, start_vector
from decomp.extensive.pyomo_model import build
from decomp.files.store import read_instance
from decomp.model.instance import Array, InputError, Instance
from decomp.model.result import Result, Schedule
from decomp.report.timetable import TIMETABLES, write_timetables

from .arguments import Arguments
from .common import read_result_of, run

ACCEPTED = 1e-6  # absolute; rows missed by less are feasible to solvers
REPAIRED = 1e-3  # absolute; rows missed by less are mended by a linear program with all integers kept


def parser() -> Arguments:
    p = Arguments("export", __doc__)
    p.reads("instance", help="instance file (HDF5)")
    p.writes("--mps", help="where to write the model")
    p.reads("--result", help="result file to export as a start solution or as CSV")
    p.writes("--sol", help="where to write the start in HiGHS's format")
    p.writes("--plain", help="where to write the start as lines of name and value (SCIP, Gurobi)")
    p.fills("--csv", files=TIMETABLES, help="where to write the schedule: sites, jobs, routing")
    return p


def start_of(form: ExtensiveForm, schedule: Schedule) -> Array:
    """A value for every column."""
    x = start_vector(form, schedule)
    amount, place = form.violation(x)
    if amount > ACCEPTED:
        mended = with_integers_fixed(form, x)[0] if amount <= REPAIRED else None
        if mended is None:
            raise InputError(f"result.schedule: infeasible, {place} is missed by {amount:g}")
        x = start_vector(form, mended)
    return x


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    starts = args.sol is not None or args.plain is not None
    if args.mps is None and args.csv is None:
        p.error("one of --mps and --csv is needed")
    if starts and args.mps is None:
        p.error("--sol and --plain are for the model of --mps")
    if (args.result is not None) != (starts or args.csv is not None):
        p.error("--result and one of --sol, --plain, --csv go together")
    p.keep_apart(args)
    instance = read_instance(args.instance)
    result = read_result_of(args.result, instance, args.instance) if args.result else None
    if result is not None and result.schedule is None:
        raise InputError(f"result.schedule: there is none, the result's status is {result.status.value}")
    if args.mps:
        write_model(args, instance, result if starts else None)
    if args.csv and result is not None:
        print(f"{args.csv}: {len(write_timetables(args.csv, instance, result))} files")
    return 0


def write_model(args: argparse.Namespace, instance: Instance, result: Result | None) -> None:
    """The extensive form, and the result as its start."""
    form = build(instance)
    start = None if result is None or result.schedule is None else start_of(form, result.schedule)
    form.write_mps(args.mps)
    print(f"{args.mps}: {len(form.rows)} rows, {len(form.columns)} columns, {int(form.integer.sum())} integer")
    for path, plain in ((args.sol, False), (args.plain, True)):
        if path is not None and start is not None:
            form.write_solution(path, start, plain)
            print(f"{path}: net cost {form.objective(start):.6f} USD")


if __name__ == "__main__":
    sys.exit(run(main))
