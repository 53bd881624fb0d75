"""The MILP bound of a fleet in which one site takes fifty times as long as any other; the root prints JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from decomp.bound import milp_bound
from decomp.bound.coupling import Coupling
from decomp.bound.lagrangian import DualPoint, first_prices
from decomp.bound.milp_bound import MilpTask, SiteWork
from decomp.families import generate
from decomp.model.options import MilpBound
from decomp.ranks.timesheet import IDLE
from decomp.ranks.workers import Workers
from decomp.site.service import muster
from drivers.common import make_team

N_SITES, SLOW, SECONDS = 100, "site60", 0.05


def times(work: SiteWork) -> float:
    return 50.0 if work.grids.sites.name[0] == SLOW else 1.0


def relax(work: SiteWork) -> tuple[float, float, float]:
    """All alike but for their size; the slow one has least money to split."""
    return 0.0, 1.0 / times(work), times(work)


def solve_milp(task: MilpTask) -> tuple[float, bool, None]:
    time.sleep(SECONDS * times(task.work))
    return 0.0, False, None


if __name__ == "__main__":
    milp_bound.relax, milp_bound.solve_milp = relax, solve_milp
    instance = generate("fleet", sites=N_SITES, periods=4, period_h=1.0, jobs=0, seed=1)
    with make_team() as team:
        workers = muster(instance if team.is_root else None, Workers(team))
        if team.is_root:
            coupling = Coupling.of(instance)
            price = first_prices(coupling, instance.sites, 0.0)
            point = DualPoint(price, 0.0, np.full(N_SITES, -np.inf), -np.inf)
            before, started = workers.rank_seconds()[IDLE], time.monotonic()
            milp_bound.milp_bound(instance, coupling, workers, point, MilpBound(), np.inf)
            seconds = time.monotonic() - started
            idle = np.subtract(workers.rank_seconds()[IDLE], before)
            workers.dismiss()
            print(json.dumps((idle / seconds).tolist()))
        else:
            workers.serve()
