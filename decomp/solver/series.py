"""Several solves, one after the other: the root does work of its own, in which it asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from decomp.bound.lagrangian import Start
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.ranks.clock import process_seconds
from decomp.ranks.mpi import Team
from decomp.solver.solve import solve
from decomp.state.solve_state import Hooks, Listener, Run

T = TypeVar("T")
NEXT = "next solve"


class Ask:
    """Has instances solved on all ranks, at the root; its time limit is that of each solve."""

    def __init__(self, team: Team, listeners: Iterable[Listener] = ()) -> None:
        self.team, self.listeners = team, list(listeners)

    def __call__(
        self,
        instance: Instance,
        options: Options,
        *,
        start: Start | None = None,
        after: Callable[[Run], None] = lambda run: None,
    ) -> Result:
        """The result; `start` and `after`: see `solve` and `Hooks`."""
        self.team.at_root(lambda: options, NEXT)
        hooks, since = Hooks(listeners=self.listeners, after=after), process_seconds()
        result = solve(instance, self.team, options, hooks=hooks, start=start, since=since)
        assert result is not None
        return result

    @property
    def signalled(self) -> bool:
        """Whether somebody has asked to stop."""
        return self.team.signalled


def led_by_root(team: Team, work: Callable[[Ask], T], listeners: Iterable[Listener] = ()) -> T | None:
    """Do work at the root that asks for solves, in which the other ranks take part until it is done.

    Parameters
    ----------
    work : is given what solves; done at the root only.
    listeners : told of every iteration of every solve (root only).

    Returns
    -------
    What the work returns, at the root; None on the others. What it raises is raised on all ranks.
    """
    if not team.is_root:
        while True:
            with team.patient():
                options = team.at_root(lambda: None, NEXT)
            if options is None:
                return None
            solve(None, team, options)
    try:
        found = work(Ask(team, listeners))
    except Exception as error:
        if not team.agreed_on(error):
            team.at_root(_raising(error), NEXT)
        raise
    team.at_root(lambda: None, NEXT)
    return found


def _raising(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail
