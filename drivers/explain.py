"""`explain`: why the plan is as it is: jobs, inference and equipment at the prices of the bound.

python -m drivers.explain fleet.h5 result.h5 [--job NAME] [--site NAME] [--scenario NAME] [--json]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from decomp.files.store import read_instance
from decomp.insight.explain import Explanation, explain
from decomp.model.accounts import load_gpu
from decomp.model.devices import device_place
from decomp.model.instance import Instance
from decomp.model.refusal import row_named
from decomp.model.result import Result
from decomp.model.scenarios import in_scenario
from decomp.model.text import markdown_table
from decomp.report.tables import Sheet
from decomp.report.why import job_sheet, price_sheet, site_sheet, why_sheets

from .arguments import Arguments
from .common import read_result_of, run


def parser() -> Arguments:
    p = Arguments("explain", __doc__)
    p.reads("instance", help="instance file (HDF5)")
    p.reads("result", help="result file (HDF5)")
    p.add_argument("--job", metavar="NAME", help="everything that this job could do")
    p.add_argument("--site", metavar="NAME", help="this site, period by period")
    p.add_argument("--scenario", metavar="NAME", help="by the prices of this scenario alone (default: of all together)")
    p.add_argument("--json", action="store_true", help="print everything as one JSON object")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    instance = read_instance(args.instance)
    result = read_result_of(args.result, instance, args.instance)
    if args.scenario is not None:
        instance, result = in_scenario(instance, result, row_named(instance.scenarios.name, args.scenario, "scenario"))
    found = explain(instance, result)
    sheets = [job_sheet(instance, found, args.job)] if args.job else []
    if args.site and instance.n_scenarios:
        sheets.append(price_sheet(instance, result, args.site))
    elif args.site and result.schedule is not None:
        sheets.append(site_sheet(instance, result, found, load_gpu(instance, result.schedule), args.site))
    if args.json:
        print(json.dumps(record(instance, found) | prices(instance, result)))
        return 0
    for sheet in sheets or why_sheets(instance, found):
        show(sheet)
    return 0


def show(sheet: Sheet) -> None:
    """A table on a terminal, Markdown anywhere else."""
    console = Console()
    if not console.is_terminal:
        print("\n".join([f"### {sheet.title}", "", *markdown_table(sheet.header, sheet.rows), "", sheet.note, ""]))
        return
    table = Table(title=sheet.title, caption=sheet.note, title_justify="left", caption_justify="left")
    for k, name in enumerate(sheet.header):
        table.add_column(name, justify="right" if k else "left")
    for row in sheet.rows:
        table.add_row(*row)
    console.print(table)


def prices(instance: Instance, result: Result) -> dict[str, Any]:
    """What load costs in every scenario by itself (site, period), if there are several."""
    found = []
    for s, name in enumerate(instance.scenarios.name.tolist()):
        dual = in_scenario(instance, result, s)[1].dual
        assert dual is not None
        about = dict(scenario=name, probability=float(instance.scenarios.probability[s]))
        found.append(dict(**about, load_usd_per_gpu_h=dual.load_price.tolist()))
    return {"scenarios": found} if found else {}


def record(instance: Instance, e: Explanation) -> dict[str, Any]:
    """Plain values: USD; rows of the instance's tables by name, periods from 0; null where there is nothing."""
    names = [*map(str, instance.sites.name)]

    def place(site: int) -> str | None:
        return names[site] if site >= 0 else None

    def plain(values: Any) -> dict[str, Any]:
        units = {f.name: f.metadata["unit"] for f in values.columns()}
        return {
            name: {"unit": unit, "values": [v if np.isfinite(v) else None for v in getattr(values, name).tolist()]}
            for name, unit in units.items()
        }

    return {
        "carbon_budget_usd_per_t": e.carbon,
        "sites": names,
        "worth": plain(e.worth),
        "device_rows": [
            {"row": device_place(instance, instance.device_rows, k), "usd_per_unit": value}
            for k, value in enumerate(e.rows.value.tolist())
            if value and np.isfinite(value)
        ],
        "jobs": [
            {
                "job": str(name),
                "choices": [{**asdict(c), "site": place(c.site), "net": c.net} for c in choices],
            }
            for name, choices in zip(instance.jobs.name, e.choices, strict=True)
        ],
        "inference": [
            {"stream": str(name), "price_usd_per_gpu_h": price.tolist(), "site": [place(i) for i in site]}
            for name, price, site in zip(instance.streams.name, e.inference.price, e.inference.site, strict=True)
        ],
    }


if __name__ == "__main__":
    sys.exit(run(main))
