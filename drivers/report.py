"""`report`: write a result as one self-contained HTML page: pictures, numbers, provenance."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from decomp.certificate import check
from decomp.files.store import read_instance
from decomp.report import write_report

from .arguments import Arguments
from .common import read_result_of, run


def parser() -> Arguments:
    p = Arguments("report", __doc__)
    p.reads("instance", help="instance file (HDF5)")
    p.reads("result", help="result file (HDF5)")
    p.writes("-o", "--output", default=Path("report.html"), help="page to write (default report.html)")
    p.add_argument("--check", action="store_true", help="re-prove schedule and bound first and show the outcome")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    p.keep_apart(args)
    instance = read_instance(args.instance)
    result = read_result_of(args.result, instance, args.instance)
    certificate = check(instance, result) if args.check else None
    write_report(args.output, instance, result, certificate)
    print(f"report: {args.output} ({args.output.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
