"""Progressive hedging by mpi-sppy, for the bench to compare with: no part of the solver.

Three cylinders, one a rank: a hub of progressive hedging, a spoke of Lagrangian bounds, and one that holds each
scenario's first stage in turn against all of them (Knueven, Mildebrath, Muir, Siirola, Watson and Woodruff, A parallel
hub-and-spoke system for large-scale scenario-based optimization under uncertainty, Mathematical Programming
Computation 2023). A scenario is a subproblem: the extensive form of the fleet in it, by HiGHS.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np

from decomp.extensive.pyomo_model import build_model
from decomp.model.instance import InputError, Instance
from decomp.model.scenarios import scenario

MOST_ITERATIONS = 100_000
SUBPROBLEM_SHARE = 0.5  # of the gap asked for: that of the subproblems
Tell = Callable[[str, float, float], None]


def hedge(instance: Instance, seconds: float, rel_gap: float, tell: Tell) -> None:
    """Run the three cylinders on the ranks that there are; the hub's tells status, bound and cost after an iteration.

    Raises
    ------
    InputError : no scenarios, or something besides jobs joins them.
    """
    _check(instance)
    with _aside():
        wheel = _wheel(instance, seconds, rel_gap, tell)
        wheel.spin()
    if wheel.strata_rank == 0:
        tell("ended", float(wheel.BestOuterBound), float(wheel.BestInnerBound))


def _wheel(instance: Instance, seconds: float, rel_gap: float, tell: Tell) -> Any:
    """The hub and its spokes."""
    vanilla = import_module("mpisppy.utils.cfg_vanilla")
    names = [f"scenario{s}" for s in range(instance.n_scenarios)]
    about = dict(
        scenario_creator=lambda name: _subproblem(instance, int(name.removeprefix("scenario"))),
        scenario_denouement=None,
        all_scenario_names=names,
    )
    settings = _settings(len(names), seconds, rel_gap)
    hub = vanilla.ph_hub(settings, **about, rho_setter=_rho, ph_extensions=_listener(tell))
    spokes = [
        vanilla.lagrangian_spoke(settings, **about, rho_setter=_rho),
        vanilla.xhatshuffle_spoke(settings, **about),
    ]
    return import_module("mpisppy.spin_the_wheel").WheelSpinner(hub, spokes)


def _check(instance: Instance) -> None:
    if not instance.n_scenarios:
        raise InputError("scenarios: there are none")
    if instance.generators.day_ahead.any() or instance.risk_weight:
        raise InputError("scenarios: joined by commitments or by risk, which are not in these subproblems")
    most = max(_most_emissions_t(scenario(instance, s)) for s in range(instance.n_scenarios))
    if instance.carbon_scope == "expected" and most > instance.carbon_budget_t:
        raise InputError("carbon_budget_t: may bind and joins the scenarios, which these subproblems do not know")


def _most_emissions_t(instance: Instance) -> float:
    """More than the fleet without scenarios can emit, t."""
    grid = (np.maximum(instance.sites.carbon_intensity, 0.0) * instance.sites.import_limit_mw).sum()
    made = instance.n_periods * (instance.generators.emission_t_per_mwh * instance.generators.p_max_mw).sum()
    return float(instance.period_h * (grid + made))


def _settings(n: int, seconds: float, rel_gap: float) -> Any:
    """Its configuration; binaries have a linear proximal term, since HiGHS takes no quadratic one beside integers."""
    settings = import_module("mpisppy.utils.config").Config()
    for group in ("popular_args", "mip_options", "ph_args", "two_sided_args", "lagrangian_args", "xhatshuffle_args"):
        getattr(settings, group)()
    settings.num_scens_required()
    chosen = dict(
        num_scens=n,
        solver_name="appsi_highs",
        default_rho=1.0,
        max_iterations=MOST_ITERATIONS,
        time_limit=max(int(seconds), 1),
        max_solver_threads=1,
        iter0_mipgap=SUBPROBLEM_SHARE * rel_gap,
        iterk_mipgap=SUBPROBLEM_SHARE * rel_gap,
        linearize_binary_proximal_terms=True,
        rel_gap=rel_gap,
    )
    for name, value in chosen.items():
        settings[name] = value
    return settings


def _subproblem(instance: Instance, s: int) -> Any:
    """The fleet in one scenario, with the starts of its jobs as first stage."""
    model = build_model(scenario(instance, s))
    model._mpisppy_probability = float(instance.scenarios.probability[s])
    import_module("mpisppy.utils.sputils").attach_root_node(model, 0.0, [model.start])
    return model


def _rho(model: Any) -> list[tuple[int, float]]:
    """Penalties in proportion to costs (Watson and Woodruff 2011): here the net cost of a start, at least 1 USD."""
    repn = import_module("pyomo.repn").generate_standard_repn(model.net_cost.expr, compute_values=True)
    own = {id(v): abs(float(c)) for v, c in zip(repn.linear_vars, repn.linear_coefs, strict=True)}
    return [(id(v), max(own.get(id(v), 0.0), 1.0)) for v in model.start.values()]


def _listener(tell: Tell) -> type:
    """An extension of the hub that tells its bounds."""
    base = import_module("mpisppy.extensions.extension").Extension

    class Listener(base):  # type: ignore[misc, valid-type]
        def post_iter0_after_sync(self) -> None:
            self.enditer_after_sync()

        def enditer_after_sync(self) -> None:
            hub = self.opt.spcomm
            if self.opt.cylinder_rank == 0:
                tell("running", float(hub.BestOuterBound), float(hub.BestInnerBound))

    return Listener


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """What it writes, from the first import on, goes to a folder that is thrown away."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(here)
