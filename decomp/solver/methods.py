"""The methods as data: which phases make one.

To add a method, add an entry to `METHODS`; a phase is a function from a run to its `Outcome`, named in an entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from decomp.exact.branching import branch
from decomp.exact.whole import finish_whole
from decomp.solver.bounding import raise_bound, raise_one_way_bound
from decomp.solver.phases import (
    Routing,
    bound_integers,
    by_benders,
    by_prices,
    dive_on_jobs,
    improve,
    replan,
)
from decomp.state.solve_state import Outcome, Run


@dataclass(frozen=True)
class Phase:
    """One step of a method.

    `name` : in checkpoints, which say where to go on. `section` : where its seconds are booked.
    """

    name: str
    work: Callable[[Run], Outcome]
    section: str


def _dive(routing: Routing) -> Phase:
    return Phase("dive", partial(dive_on_jobs, routing=routing), "recovery")


def _improve(routing: Routing, replans: bool = False) -> Phase:
    return Phase("improve", partial(improve, routing=routing, replans=replans, if_apart=False), "recovery")


def _milp_bound(routing: Routing) -> Phase:
    return Phase("milp bound", partial(bound_integers, routing=routing), "python")


BOUND = Phase("bound", raise_bound, "python")
ONE_WAY = Phase("one-way bound", raise_one_way_bound, "python")
BRANCH = Phase("branch", branch, "branching")
WHOLE = Phase("whole", finish_whole, "extensive form")
REPLAN = Phase("replan", replan, "recovery")

METHODS: dict[str, tuple[Phase, ...]] = {
    "lagrangian": (BOUND, _dive(by_prices), ONE_WAY, _improve(by_prices), _milp_bound(by_prices)),
    "benders": (BOUND, _dive(by_benders), ONE_WAY, _improve(by_benders), _milp_bound(by_benders)),
    "hybrid": (
        *(BOUND, _dive(by_prices), ONE_WAY, _improve(by_prices, replans=True), _milp_bound(by_prices)),
        *(BRANCH, WHOLE, REPLAN),
    ),
}
LAST_RESUMED = "improve"  # what a run that had gone further goes on with


def phases_left(method: str, phase: str) -> tuple[Phase, ...]:
    """The phases that a run has before it which stands in one of them."""
    phases = METHODS[method]
    names = [p.name for p in phases]
    last = names.index(LAST_RESUMED)
    return phases[min(names.index(phase) if phase in names else last, last) :]
