"""Write a result as one self-contained HTML page: pictures, numbers, provenance."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from decomp.certificate import check
from decomp.instance import InputError
from decomp.report import write_report
from decomp.store import instance_hash, read_instance, read_result

from .common import run


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="report", description=__doc__)
    p.add_argument("instance", type=Path, help="instance file")
    p.add_argument("result", type=Path, help="result file")
    p.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="page to write (report.html)")
    p.add_argument("--check", action="store_true", help="re-prove schedule and bound first and show the outcome")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    instance, result = read_instance(args.instance), read_result(args.result)
    if instance_hash(args.result) != instance.content_hash():
        raise InputError(f"{args.result}: belongs to another instance than {args.instance}")
    certificate = check(instance, result) if args.check else None
    write_report(args.output, instance, result, certificate)
    print(f"report: {args.output} ({args.output.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
