"""`rivals`: run one other solver on an exported MPS file, or a textbook method on an instance, for `bench`.

    python -m drivers.rivals scip fleet.mps --time-limit 60
    python -m drivers.rivals textbook fleet.h5 --time-limit 60

Writes JSON lines, one whenever it has something better, the last one being what it ended with. Bounds and
incumbents are what the solver says. The time limit counts from the start of the process.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from decomp.bench.measure import cores
from decomp.model.instance import InputError
from decomp.ranks.clock import process_seconds
from decomp.state.progress import plain

from .arguments import SECONDS, SHARE, Arguments, whole
from .common import run

PDLP_ACCURACY = 1e-4  # relative; primal and dual residual and gap
UNKNOWN = 1e19  # SCIP and HiGHS say infinity in their own ways


@dataclass(frozen=True)
class Task:
    """What is asked of a rival: a model file, seconds left, the gap at which it may stop, and threads."""

    model: str
    seconds: float
    rel_gap: float
    threads: int


def tell(status: str, bound: float | None = None, incumbent: float | None = None, **more: Any) -> None:
    """Write one line; None: not known."""
    bound, incumbent = (v if v is not None and abs(v) < UNKNOWN else None for v in (bound, incumbent))
    line = dict(status=status, bound=bound, incumbent=incumbent, seconds=round(process_seconds(), 3), **more)
    print(json.dumps({k: plain(v) for k, v in line.items()}), flush=True)


def highs(task: Task, **options: Any) -> Any:
    """HiGHS with the model in it; options it does not know are an error."""
    highspy = import_module("highspy")
    solver = highspy.Highs()
    solver.setOptionValue("log_to_console", False)
    if solver.readModel(task.model) == highspy.HighsStatus.kError:
        raise InputError(f"{task.model}: HiGHS cannot read it")
    options |= dict(threads=task.threads)
    for name, value in options.items():
        if solver.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise InputError(f"HiGHS does not take {name} = {value}")
    return solver


def highs_relaxation(task: Task, solver: str) -> None:
    """The LP relaxation; the interior-point method without crossover, unless it ends imprecise."""
    model = highs(task, solver=solver, solve_relaxation=True, run_crossover="choose")
    began = time.perf_counter()
    import_module("decomp.lp.highs").run(model, task.seconds - process_seconds())
    status = model.modelStatusToString(model.getModelStatus())
    bound = model.getInfo().objective_function_value if status == "Optimal" else None
    tell(status.lower(), bound, solve_seconds=time.perf_counter() - began)


def highs_simplex(task: Task) -> None:
    """LP relaxation by HiGHS's dual simplex."""
    highs_relaxation(task, "simplex")


def highs_ipm(task: Task) -> None:
    """LP relaxation by HiGHS's interior-point method."""
    highs_relaxation(task, "ipm")


def highs_pdlp(task: Task) -> None:
    """LP relaxation by HiGHS's own first-order method, to its default accuracy."""
    highs_relaxation(task, "pdlp")


def highs_milp(task: Task) -> None:
    """The whole model by HiGHS."""
    model = highs(task, mip_rel_gap=task.rel_gap)
    began = time.perf_counter()

    def note(bound: float, incumbent: float) -> None:
        tell("running", bound, incumbent)

    import_module("decomp.lp.highs").run(model, task.seconds - process_seconds(), note=note)
    info, status = model.getInfo(), model.modelStatusToString(model.getModelStatus())
    incumbent = info.objective_function_value if info.primal_solution_status == 2 else None
    tell(status.lower(), info.mip_dual_bound, incumbent, solve_seconds=time.perf_counter() - began)


def scip(task: Task) -> None:
    """The whole model by SCIP, which uses one thread."""
    pyscipopt = import_module("pyscipopt")
    model = pyscipopt.Model()
    model.hideOutput()
    model.readProblem(task.model)
    model.setParam("limits/gap", task.rel_gap)
    model.setParam("limits/time", max(task.seconds - process_seconds(), 0.0))

    def note(_model: Any, _event: Any) -> None:
        tell("running", model.getDualbound(), model.getPrimalbound())

    model.attachEventHandlerCallback(note, [pyscipopt.SCIP_EVENTTYPE.BESTSOLFOUND])
    began = time.perf_counter()
    model.optimize()
    incumbent = model.getPrimalbound() if model.getNSols() else None
    tell(model.getStatus(), model.getDualbound(), incumbent, solve_seconds=time.perf_counter() - began)


def pdlp(task: Task) -> None:
    """LP relaxation by OR-Tools PDLP to 1e-4.

    Its dual objective may be above the LP optimum, as its duals are feasible only up to the accuracy; the corrected
    one pays for that at the columns' bounds, and is what is told as the bound.
    """
    solver = import_module("ortools.pdlp.python.pdlp")
    protos, logs = (import_module(f"ortools.pdlp.{name}_pb2") for name in ("solvers", "solve_log"))
    program = solver.read_quadratic_program_or_die(task.model)
    parameters = protos.PrimalDualHybridGradientParams(num_threads=task.threads)
    parameters.presolve_options.use_glop = True
    criteria = parameters.termination_criteria
    criteria.time_sec_limit = max(task.seconds - process_seconds(), 0.0)
    criteria.simple_optimality_criteria.eps_optimal_absolute = PDLP_ACCURACY
    criteria.simple_optimality_criteria.eps_optimal_relative = PDLP_ACCURACY
    began = time.perf_counter()
    log = solver.primal_dual_hybrid_gradient(program, parameters).solve_log
    status = logs.TerminationReason.Name(log.termination_reason).removeprefix("TERMINATION_REASON_")
    solved = time.perf_counter() - began
    ends = log.solution_stats.convergence_information if status == "OPTIMAL" else []
    bound, dual = (ends[0].corrected_dual_objective, ends[0].dual_objective) if ends else (None, None)
    tell(status.lower().replace("_", " "), bound, dual_objective=dual, solve_seconds=solved)


def baseline(name: str) -> Callable[[Task], None]:
    """A textbook method on the instance itself, on one core: proven bounds, one line whenever one is better."""

    def solve(task: Task) -> None:
        # Not at the top: loading HiGHS here breaks OR-Tools.
        bounds = import_module("decomp.bench.baselines").BASELINES[name]
        began, best, iterations = time.perf_counter(), -math.inf, 0
        for bound in bounds(import_module("decomp.files.store").read_instance(task.model)):
            iterations += 1
            if bound > best:
                best = bound
                tell("running", best)
            if process_seconds() >= task.seconds:
                break
        tell("ended", best, solve_seconds=time.perf_counter() - began, iterations=iterations)

    return solve


def hedging(task: Task) -> None:
    """Progressive hedging over the scenarios of an instance, by mpi-sppy on three ranks."""
    hedge = import_module("decomp.bench.hedging").hedge
    instance = import_module("decomp.files.store").read_instance(task.model)
    hedge(instance, task.seconds - process_seconds(), task.rel_gap, tell)


@dataclass(frozen=True)
class Rival:
    """What to compare with: what runs it, the module it needs, up to how many sites it is worth a try, what it does.

    `kind`: "milp", "lp" (solves the relaxation of the exported model), "baseline" (bounds from the instance) or
    "scenarios" (takes an instance with scenarios). `ranks`: as many as it asks for.
    """

    solve: Callable[[Task], None]
    needs: str
    package: str
    most_sites: int
    kind: str
    ranks: int = 1

    @property
    def reads_instance(self) -> bool:
        """Whether it is given the instance, not the exported model."""
        return self.kind in ("baseline", "scenarios")


RIVALS = {
    "highs-simplex": Rival(highs_simplex, "highspy", "highspy", 100, "lp"),
    "highs-ipm": Rival(highs_ipm, "highspy", "highspy", 100, "lp"),
    "highs-pdlp": Rival(highs_pdlp, "highspy", "highspy", 10, "lp"),
    "pdlp": Rival(pdlp, "ortools", "ortools", 100, "lp"),
    "scip": Rival(scip, "pyscipopt", "pyscipopt", 30, "milp"),
    "highs-milp": Rival(highs_milp, "highspy", "highspy", 30, "milp"),
    "subgradient": Rival(baseline("subgradient"), "highspy", "highspy", 100, "baseline"),
    "cutting-planes": Rival(baseline("cutting-planes"), "highspy", "highspy", 10, "baseline"),
    "textbook": Rival(baseline("textbook"), "highspy", "highspy", 30, "baseline"),
    "mpi-sppy": Rival(hedging, "mpisppy", "mpi-sppy", 0, "scenarios", ranks=3),
}


def parser() -> Arguments:
    p = Arguments("rivals", __doc__)
    p.add_argument("rival", choices=RIVALS, help="the solver: " + ", ".join(RIVALS))
    p.add_argument("model", metavar="FILE", help="model file, as `export --mps` writes it; baselines: the instance")
    p.add_argument("--time-limit", type=SECONDS, default=60.0, metavar="S", help="from process start (default 60)")
    p.add_argument("--rel-gap", type=SHARE, default=1e-4, metavar="G", help="gap at which MILPs end (default 1e-4)")
    p.add_argument("--threads", type=whole(1), default=cores(), metavar="N", help="default: all cores")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if not Path(args.model).is_file():
        raise FileNotFoundError(2, "No such file or directory", args.model)
    rival = RIVALS[args.rival]
    try:
        import_module(rival.needs)
    except ImportError as error:
        raise InputError(f"{args.rival}: {rival.package} is not installed") from error
    rival.solve(Task(args.model, args.time_limit, args.rel_gap, args.threads))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
