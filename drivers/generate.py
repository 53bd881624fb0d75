"""`generate`: make a synthetic instance of a generator family."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from decomp.families import FAMILIES, generate
from decomp.files.store import write_instance
from decomp.model.instance import InputError, Instance

from .arguments import SEED, Arguments, whole
from .common import run, what_there_is


def parser() -> Arguments:
    p = Arguments("generate", __doc__, epilog=settings_told())
    p.add_argument("family", metavar="FAMILY", help=", ".join(FAMILIES))
    p.writes("-o", "--output", required=True, help="instance file to write (HDF5)")
    for size in ("sites", "periods", "jobs", "streams"):
        p.add_argument(f"--{size}", type=whole(0), metavar="N", help=f"number of {size} (default: the family's)")
    p.add_argument("--seed", type=SEED, default=0, metavar="K", help="seed of all random numbers (default 0)")
    p.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the family, see below"
    )
    return p


def settings_told() -> str:
    """Every family with its settings and their defaults."""
    lines = ["families and their settings:"]
    for name, family in FAMILIES.items():
        lines += ["", f"{name}: {(family.__doc__ or '').splitlines()[0]}"]
        for key, known in family.settings().items():
            shown = f"{known.default:g}" if isinstance(known.default, float) else str(known.default)
            choices = known.metadata["choices"]
            among = f" ({' or '.join(choices)})" if choices else ""
            lines.append(f"  {key + '=' + shown:24}  {known.metadata['meaning']}{among}")
    return "\n".join(lines)


def settings(words: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` words as a dict; the last one of a name wins."""
    for word in words:
        if "=" not in word:
            raise InputError(f"--set {word}: must be NAME=VALUE")
    return dict(word.split("=", 1) for word in words)


def requested_share(instance: Instance) -> float:
    """GPU-hours asked for by jobs, pools and inference per GPU-hour installed."""
    jobs = float(instance.jobs.gpus @ instance.jobs.periods) + instance.demand_gpu.sum()
    asked = instance.period_h * jobs + instance.pools.work_gpu_h.sum()
    return float(asked / max(instance.period_h * instance.sites.capacity_gpu.sum(), 1e-9))


def summary(instance: Instance) -> str:
    """What was made, in one line."""
    budget = f"{instance.carbon_budget_t:,.1f} t CO2" if np.isfinite(instance.carbon_budget_t) else "none"
    asked = f"{100 * requested_share(instance):.1f} % of the GPU-hours asked for"
    return f"{what_there_is(instance)}; {asked}; carbon budget {budget}"


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    p.keep_apart(args)
    sizes = dict(sites=args.sites, periods=args.periods, jobs=args.jobs, streams=args.streams)
    given = settings(args.set)
    for name in given.keys() & {"family", "seed", *sizes}:
        raise InputError(f"--set {name}: not a setting but an argument of its own")
    instance = generate(args.family, **sizes, seed=args.seed, **given)
    write_instance(args.output, instance)
    print(f"{args.output}: {args.family}, seed {args.seed}: {summary(instance)}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
