"""`attach`: put a device of the library on one site or on all."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from decomp.devices import KINDS
from decomp.devices.attach import attach
from decomp.files.store import read_instance, write_instance

from .arguments import Arguments
from .common import run
from .generate import settings


def parser() -> Arguments:
    p = Arguments("attach", __doc__, epilog=settings_told())
    p.reads("instance", help="instance file (HDF5)")
    p.add_argument("--site", required=True, metavar="NAME", help="site that gets the device, or all")
    p.add_argument("--kind", required=True, choices=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    p.add_argument("--name", default="", metavar="NAME", help="name of the device (default: its kind)")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the kind, see below")
    p.writes("-o", "--output", required=True, help="instance file to write (HDF5)")
    return p


def settings_told() -> str:
    """Every kind with its settings and their defaults."""
    lines = ["kinds and their settings:"]
    for name, kind in KINDS.items():
        lines += ["", f"{name}: {(kind.__doc__ or '').splitlines()[0]}"]
        for f in kind.settings():
            shown = "" if f.default is None or f.default == "" else f"{f.default:g}"
            lines.append(f"  {f.name + '=' + shown:28}  {f.metadata['text']}, {f.metadata['unit']}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    p.keep_apart(args)
    device = KINDS[args.kind].of(settings(args.set))
    instance = read_instance(args.instance)
    sites = instance.sites.name.tolist() if args.site == "all" else args.site
    equipped = attach(instance, sites, device, name=args.name)
    write_instance(args.output, equipped)
    added = {what: equipped.sizes[what] - instance.sizes[what] for what in ("device_variable", "device_row")}
    where = f"{len(sites)} sites" if args.site == "all" else args.site
    print(
        f"{args.output}: {args.kind} at {where}: "
        f"{added['device_variable']} variables and {added['device_row']} rows more"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
