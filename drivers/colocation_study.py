"""`colocation_study`: a data centre beside a wind park over a month (arXiv 2507.08011): Table II, figures, laws."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from decomp.model.instance import InputError
from decomp.studies.colocation import Setting, Study, by_month
from decomp.studies.laws import laws, truth
from decomp.studies.market import DAY, FARMS, ZONES, Month, read_market
from decomp.studies.pages import Findings, write_study

from .arguments import AMOUNT, SEED, SHARE, Arguments, Named, real, whole
from .common import run

WIND = real(0.0, 1e4)
WRITTEN = ("*.csv", "*.png", "*.h5", "*.json", "summary.md")


def parser() -> Arguments:
    p = Arguments("colocation_study", __doc__)
    p.fills("-o", "--output", files=WRITTEN, required=True, help="folder to write")
    p.add_argument("--data", type=Path, metavar="FOLDER", help="folder of the real series (default: synthetic ones)")
    p.add_argument("--month", metavar="YYYY-MM", default=Month.month, help=f"month (default {Month.month})")
    p.add_argument("--days", type=whole(1), metavar="N", help="only the first N days of it")
    p.add_argument("--zone", choices=ZONES, default=Month.zone, help=f"price zone (default {Month.zone})")
    p.add_argument("--farm", choices=FARMS, default=Month.farm, help=f"wind farm (default {Month.farm})")
    p.add_argument("--seed", type=SEED, default=0, metavar="K", help="seed of all that is synthetic (default 0)")
    p.add_argument("--wind", type=WIND, default=Setting.wind_mw, metavar="MW", help="wind power (default 150)")
    p.add_argument(
        "--deferrable", type=SHARE, default=Setting.deferrable, metavar="SHARE", help="of the work (default 0.4)"
    )
    p.add_argument(
        "--demand-charge", type=AMOUNT, default=Setting.demand_charge, metavar="USD", help="retail, per kW (default 10)"
    )
    p.add_argument("--replan", type=real(0.25, 24.0), default=6.0, metavar="H", help="hours between plans (default 6)")
    return p


def setting_of(p: Arguments, args: argparse.Namespace) -> Setting:
    """The study asked for.

    Raises
    ------
    InputError : a number is out of range.
    """
    every = round(4 * args.replan)
    if every < 1 or abs(every - 4 * args.replan) > 1e-9 or DAY % every:
        raise InputError(f"replan {args.replan:g} h: must be quarter hours that divide a day")
    data = args.data.iterdir() if args.data and args.data.is_dir() else ()
    p.keep_apart(args, (Named("--data", path) for path in data))
    month = Month(args.month, args.days, args.zone, args.farm, args.seed)
    return Setting(month, every, DAY, args.wind, args.deferrable, args.demand_charge)


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    setting = setting_of(p, args)
    study = Study(read_market(setting.month, args.data), setting)
    args.output.mkdir(parents=True, exist_ok=True)
    rows, shares, ratios = study.table(), study.by_share(), study.by_ratio()
    found = Findings(
        rows=rows,
        shares=shares,
        ratios=ratios,
        laws=laws(study, shares, ratios, truth(study)),
        paces=study.by_pace(),
        foreseen=study.by_foresight(),
        months=by_month(setting, args.data, print) if args.data and args.days is None else [],
    )
    command = shlex.join(["python", "-m", "drivers.colocation_study", *(sys.argv[1:] if argv is None else argv)])
    write_study(args.output, study, found, command)
    print((args.output / "summary.md").read_text("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
