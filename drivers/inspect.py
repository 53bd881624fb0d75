"""`inspect`: what is in a data file, and a block for a spec.

    python -m drivers.inspect FILE [--format NAME]

The block, pasted into a spec, reads the file with `ingest`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from decomp.ingest.inspect import inspect_file

from .arguments import Arguments
from .common import run


def parser() -> Arguments:
    p = Arguments("inspect", __doc__)
    p.reads("file", help="a table of prices, carbon, weather, jobs, requests or round trips")
    p.add_argument("--format", default="", metavar="NAME", help="read it by this preset (default: guessed)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    print(inspect_file(args.file, args.format))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
