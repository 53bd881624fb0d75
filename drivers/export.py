"""Write the extensive form of an instance as MPS, and a result as a start solution for it.

    python -m drivers.export fleet.h5 --mps fleet.mps [--result result.h5 --sol start.sol [--plain start.mst]]

Any MIP solver reads the MPS. `--sol` is HiGHS's solution file; `--plain` has lines of a column name and its value,
which SCIP reads as .sol and Gurobi as .mst.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from decomp.extensive import build
from decomp.instance import Array, InputError
from decomp.monolith import ExtensiveForm, polish, start_vector
from decomp.result import Result
from decomp.store import instance_hash, read_instance, read_result

from .common import run

ACCEPTED = 1e-6  # absolute; rows missed by less are feasible to solvers
REPAIRED = 1e-3  # absolute; rows missed by less are mended by a linear program with all integers kept


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="drivers.export", description="Write the whole model as MPS, and a start for it.")
    p.add_argument("instance", help="instance file (HDF5)")
    p.add_argument("--mps", required=True, metavar="FILE", help="where to write the model")
    p.add_argument("--result", metavar="FILE", help="result file to export as a start solution")
    p.add_argument("--sol", metavar="FILE", help="where to write the start in HiGHS's format")
    p.add_argument("--plain", metavar="FILE", help="where to write the start as lines of name and value (SCIP, Gurobi)")
    return p


def start_of(form: ExtensiveForm, result: Result) -> Array:
    """A value for every column, from the result's schedule."""
    if result.schedule is None:
        raise InputError(f"result.schedule: there is none, the result's status is {result.status.value}")
    x = start_vector(form, result.schedule)
    amount, place = form.violation(x)
    if amount > ACCEPTED:
        mended = polish(form, x)[0] if amount <= REPAIRED else None
        if mended is None:
            raise InputError(f"result.schedule: infeasible, {place} is missed by {amount:g}")
        x = start_vector(form, mended)
    return x


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    if (args.result is None) != (args.sol is None and args.plain is None):
        p.error("--result and one of --sol, --plain go together")
    instance = read_instance(args.instance)
    if args.result and instance_hash(args.result) != instance.content_hash():
        raise InputError(f"{args.result}: belongs to another instance than {args.instance}")
    result = read_result(args.result) if args.result else None
    form = build(instance)
    start = None if result is None else start_of(form, result)
    form.write_mps(args.mps)
    print(f"{args.mps}: {len(form.rows)} rows, {len(form.columns)} columns, {int(form.integer.sum())} integer")
    for path, plain in ((args.sol, False), (args.plain, True)):
        if path is not None and start is not None:
            form.write_solution(path, start, plain)
            print(f"{path}: net cost {form.objective(start):.6f} USD")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
