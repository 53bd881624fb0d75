"""A tiny fleet in which all that joins scenarios comes together; as a program, what solves of it find, into a file."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import decomp
from decomp.certificate import check
from decomp.families import generate
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.ranks.mpi import Team
from decomp.solver.solve import solve
from drivers.common import make_team

ASKED = (("benders", "expected"), ("hybrid", "every"))
BUNDLE = dict(max_iterations=15, part_size=4)
BRIEF: dict[str, Any] = dict(rel_gap=1e-3, bundle=BUNDLE, improvement=dict(stale_finishes=1))


def together(scope: str) -> Instance:
    """Three scenarios, risk, generators committed once, a device, and a budget of `scope` that may be exceeded."""
    instance = generate("small", seed=0, scenarios=3)
    unequal = replace(instance.scenarios, probability=np.array([0.5, 0.3, 0.2]))
    once = replace(instance.generators, day_ahead=np.ones(len(instance.generators.site), dtype=bool))
    joined = replace(instance, scenarios=unequal, generators=once, risk_weight=0.5, risk_level=0.7)
    joined = replace(joined, carbon_scope=scope, carbon_excess_usd_per_t=300.0)
    return decomp.attach(joined, str(joined.sites.name[0]), decomp.devices.battery(), name="second")


def told(result: Result) -> dict[str, Any]:
    """Bound, incumbent, the log, and a digest of every array, to the last bit."""
    dual, digest = result.dual, hashlib.sha256()
    for table in (result.schedule, dual, dual.futures if dual is not None else None):
        for f in table.columns() if table is not None else ():
            digest.update(getattr(table, f.name).tobytes())
    lines = [(i.phase, i.bound, i.incumbent, i.model, i.carbon_price, i.columns) for i in result.log]
    return dict(bound=result.bound, incumbent=result.incumbent, log=lines, digest=digest.hexdigest())


def solved(team: Team, method: str, scope: str) -> dict[str, Any] | None:
    """What a solve finds, and what the certificate objects to; at the root."""
    instance = together(scope)
    result = solve(instance if team.is_root else None, team, Options.from_dict(dict(method=method, **BRIEF)))
    if result is None:
        return None
    return told(result) | dict(findings=[str(f) for f in check(instance, result).findings])


if __name__ == "__main__":
    with make_team() as team:
        found = [solved(team, *words) for words in ASKED]
        if team.is_root:
            Path(sys.argv[1]).write_text(json.dumps(found))
