"""The extensive finish: the gap that the decomposition leaves of a small fleet, closed by a MILP solver on the whole.

Prices on coupling rows cannot see a duality gap; a fleet of a few sites and hours fits into one model, and
there branch and bound starts from an incumbent that is nearly right. Larger fleets are not touched.
"""

from __future__ import annotations

from decomp.bound.infeasible import Infeasible
from decomp.model.result import Status
from decomp.schedule.incumbent import Incumbent, fixing_of
from decomp.state.solve_state import Outcome, Run


def finish_whole(run: Run) -> Outcome:
    """Hand incumbent and goal to HiGHS if the gap is open and the fleet small enough."""
    instance, options = run.instance, run.options.extensive_finish
    if run.must_stop() or instance.n_sites * instance.n_periods > options.site_periods:
        return Outcome.SKIPPED
    from decomp.extensive.pyomo_model import solve_extensive  # pyomo takes seconds to import

    run.phase = "whole"
    start = None if run.incumbent is None else run.incumbent.schedule
    seconds = min(options.seconds, run.seconds_left())
    run.workers.wait()
    answer = solve_extensive(instance, time_limit=seconds, rel_gap=run.options.rel_gap, start=start)
    if answer.schedule is not None:
        fixing = fixing_of(run.loop.coupling, answer.schedule)
        run.offer(Incumbent(answer.schedule, answer.incumbent, fixing))
    if answer.status is not Status.INFEASIBLE:
        run.strengthen(answer.bound, None)
    elif run.incumbent is None:
        raise Infeasible("no schedule of the fleet keeps all its rules", None)
    run.record(None)
    run.keep(run.result())
    return Outcome.DONE
