"""`scenarios`: give a fleet scenarios, from its past, from an ensemble, or synthetic; or fewer of those it has.

python -m drivers.scenarios fleet.h5 -o out.h5 --count 50 --history spec.toml --reduce 10
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from decomp.families.futures import drawn
from decomp.files.store import read_instance, write_instance
from decomp.ingest.build import open_spec
from decomp.ingest.library import Library
from decomp.model.instance import SERIES, InputError, Instance
from decomp.model.scenarios import without_scenarios
from decomp.scenarios.members import from_members
from decomp.scenarios.past import analogs, read_past
from decomp.scenarios.reduction import reduced

from .arguments import SEED, Arguments, whole
from .common import run
from .ingest import data_of


def parser() -> Arguments:
    p = Arguments("scenarios", __doc__)
    p.reads("instance", help="instance file (HDF5); its own series are the forecast")
    p.writes("-o", "--output", required=True, help="instance file to write (HDF5)")
    p.add_argument("--count", type=whole(1), metavar="K", help="scenarios: days of the history, or synthetic ones")
    source = p.add_mutually_exclusive_group()
    p.inputs += [
        source.add_argument("--history", type=Path, metavar="SPEC", help="spec of ingest: errors of earlier days"),
        source.add_argument("--ensemble", type=Path, metavar="SPEC", help="spec of ingest with an [ensemble]"),
    ]
    p.add_argument("--data", type=Path, metavar="FOLDER", help="folder of the data files (default: the spec's)")
    p.add_argument("--reduce", type=whole(1), metavar="K", help="keep so many, by fast forward selection")
    p.add_argument("--seed", type=SEED, default=0, metavar="K", help="seed of synthetic scenarios (default 0)")
    return p


def futures(args: argparse.Namespace) -> tuple[Instance, Library | None]:
    """The instance asked for, and the files that were read, with what there is to say of them.

    Raises
    ------
    InputError : what was asked for does not fit together, or a file is refused.
    """
    instance, spec = read_instance(args.instance), args.history or args.ensemble
    if args.ensemble and args.count is not None:
        raise InputError("--count: not with --ensemble, which has as many scenarios as members; see --reduce")
    if spec is None:
        if args.data is not None:
            raise InputError("--data: only with --history or --ensemble")
        if args.count is None and args.reduce is None:
            raise InputError("--count: missing; how many scenarios")
        if args.count is not None:
            instance = drawn(instance, args.count, args.seed)
        return reduced(instance, args.reduce) if args.reduce else instance, None
    if args.history and args.count is None:
        raise InputError("--count: missing; how many days of the history")
    read, library = open_spec(spec, args.data, ())
    alone = without_scenarios(instance)
    if args.history:
        instance = analogs(alone, read_past(alone, read, library), args.count)
    else:
        instance = from_members(alone, read, library)
    return reduced(instance, args.reduce) if args.reduce else instance, library


def summary(instance: Instance) -> str:
    """What the scenarios are, in one line."""
    p, names = instance.scenarios.probability, np.unique(instance.overrides.series)
    series = ", ".join(name for name in SERIES if name in names) or "nothing"
    even = f"{p.min():.3g}" if np.allclose(p, p[0]) else f"{p.min():.3g} to {p.max():.3g}"
    return f"{len(p)} scenarios of probability {even}; {len(instance.overrides.row)} series of {series} differ"


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    p.keep_apart(args)
    instance, library = futures(args)
    p.keep_apart(args, data_of(library) if library else ())
    write_instance(args.output, instance)
    for note in library.notes if library else ():
        print(f"note: {note}")
    print(f"{args.output}: {summary(instance)}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
