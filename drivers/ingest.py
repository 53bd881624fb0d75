"""`ingest`: make an instance from real data.

    python -m drivers.ingest SPEC.toml -o fleet.h5 [--data FOLDER] [--set key=value ...]

The spec names CSV series, job and request traces and latency tables; instances/README.md explains it and says
where public series come from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console

from decomp.files.store import write_instance
from decomp.ingest.budget import requested_gpu
from decomp.ingest.build import build, open_spec
from decomp.ingest.keys import key_reference
from decomp.ingest.library import Library
from decomp.ingest.spec import Spec
from decomp.ingest.units import QUANTITIES
from decomp.model.instance import Instance
from decomp.model.times import stamp, start_of
from decomp.model.validate import validate

from .arguments import Arguments, Named
from .common import run, what_there_is


def parser() -> Arguments:
    p = Arguments("ingest", __doc__)
    p.reads("spec", nargs="?", help="TOML spec, such as instances/world16.toml")
    p.writes("-o", "--output", help="instance file to write (HDF5)")
    p.add_argument("--data", type=Path, metavar="FOLDER", help="folder of the data files (default: the spec's)")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the spec, such as horizon.start=2022-07-15 or sites.Texas.gpus=20000",
    )
    p.add_argument("--keys", action="store_true", help="list every key a spec may have, and exit")
    return p


def summary(instance: Instance) -> str:
    """What was built, in two lines."""
    gpus = instance.sites.capacity_gpu
    asked = requested_gpu(instance).sum() / gpus.sum()
    budget = "none" if np.isinf(instance.carbon_budget_t) else f"{instance.carbon_budget_t:.0f} t"
    return (
        f"{instance.family}: {what_there_is(instance)}, from {stamp(start_of(instance))}\n"
        f"asks for {100 * asked:.1f} % of {gpus.mean(axis=1).sum():,.0f} GPUs; carbon budget {budget}"
    )


def data_of(library: Library) -> Iterator[Named]:
    """The files that were read for a spec, as inputs of the command."""
    return (Named("the spec's data", path) for path in library.paths())


@contextmanager
def reading() -> Iterator[Callable[[str], None]]:
    """Where to tell what is being read: on the terminal, if standard error is one."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    with Console(stderr=True).status("reading") as status:
        yield status.update


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    if args.keys:
        print("\n".join(f"{name}: {meaning} [{usual}]" for name, meaning, usual in key_reference(Spec)))
        print("\n".join(f"series {k}: units {', '.join(q.units) or 'CURRENCY/MWh'}" for k, q in QUANTITIES.items()))
        return 0
    if args.spec is None or args.output is None:
        p.error("a spec and -o OUTPUT are required")
    p.keep_apart(args)
    spec, library = open_spec(args.spec, args.data, args.set)
    with reading() as library.say:
        instance = build(spec, library)
    validate(instance)
    p.keep_apart(args, data_of(library))
    write_instance(args.output, instance)
    for series in library.summaries:
        print(series)
    for note in library.notes:
        print(f"note: {note}")
    print(summary(instance))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
