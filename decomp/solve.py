"""A whole solve: bound, dive, finish, improvement; the order of things and nothing else.

Every rank calls `solve`; the root decides and the others serve it. What the root knows at any moment
is in a `Run`: the best proven prices, the best schedule, the log.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

import numpy as np

from decomp.coupling import Coupling
from decomp.crew import Crew, SiteReader
from decomp.improvement import Neighbours, improve_round
from decomp.instance import Array, Generators, Instance, Sites
from decomp.lagrangian import DualPoint, LagrangianLoop, Step, first_prices
from decomp.options import Options
from decomp.progress import process_seconds
from decomp.recovery import Incumbent, dive, finish
from decomp.result import Dual, Iteration, Result, Status
from decomp.team import Team

Keep = Callable[[Result], None]


class Listener(Protocol):
    """Anything that wants to hear of progress: the screen, the JSON log, a checkpoint."""

    def row(self, it: Iteration) -> None: ...


class Run:
    """The root's record of a solve: best prices, best schedule, log; and when to stop."""

    def __init__(self, instance: Instance, team: Team, options: Options, listeners: Iterable[Listener]):
        self.instance, self.team, self.options = instance, team, options
        self.listeners = list(listeners)
        self.log: list[Iteration] = []
        self.proof: DualPoint | None = None
        self.incumbent: Incumbent | None = None
        self.phase = "bound"
        self.finish_seconds = 0.0
        self.waited_before = 0.0

    @property
    def bound(self) -> float:
        return -np.inf if self.proof is None else self.proof.bound

    @property
    def cost(self) -> float:
        return np.inf if self.incumbent is None else self.incumbent.cost

    @property
    def carbon_price(self) -> float:
        """Price of a tonne in the best proof, USD/t."""
        return 0.0 if self.proof is None else self.proof.carbon_price

    @property
    def gap(self) -> float:
        """(incumbent - bound) / max(|incumbent|, 1 USD)."""
        if not np.isfinite(self.cost):
            return np.inf
        return (self.cost - self.bound) / max(abs(self.cost), 1.0)

    def prove(self, point: DualPoint) -> None:
        """Keep the prices if they prove more, for the problem with all jobs free."""
        if point.bound > self.bound:
            self.proof = point
        self._consistent()

    def offer(self, incumbent: Incumbent | None) -> bool:
        """Keep the schedule if it is cheaper."""
        better = incumbent is not None and incumbent.cost < self.cost
        if better:
            self.incumbent = incumbent
        self._consistent()
        return better

    def _consistent(self) -> None:
        slack = 1e-6 * max(abs(self.cost), 1.0) if np.isfinite(self.cost) else np.inf
        if self.bound > self.cost + slack:
            raise ArithmeticError(f"bound {self.bound:.6f} USD above a schedule of {self.cost:.6f} USD")

    def record(self, step: Step | None, loop: LagrangianLoop) -> None:
        """Log the present state."""
        line = Iteration(
            iteration=len(self.log),
            phase=self.phase,
            bound=self.bound,
            incumbent=self.cost if np.isfinite(self.cost) else None,
            wall_seconds=process_seconds(),
            model=step.model if step else None,
            step=("serious" if step.serious else "null") if step else "",
            residual_gpu=step.residual_gpu if step else 0.0,
            carbon_price=loop.centre.carbon_price,
            columns=loop.master.n_columns,
            site_seconds=step.site_seconds if step else 0.0,
            master_seconds=step.master_seconds if step else 0.0,
            recovery_seconds=0.0 if step or not self.log else process_seconds() - self.log[-1].wall_seconds,
            idle_seconds=self.team.waited_seconds - self.waited_before,
        )
        self.waited_before = self.team.waited_seconds
        self.log.append(line)
        for listener in self.listeners:
            listener.row(line)

    def seconds_left(self) -> float:
        return self.options.time_limit_seconds - process_seconds()

    def must_stop(self) -> bool:
        """Gap reached, time over, or somebody asked to stop."""
        return self.gap <= self.options.rel_gap or self.seconds_left() <= 0.0 or self.team.stop_requested()

    def result(self) -> Result:
        """What is known now."""
        status = Status.GAP_REACHED if self.gap <= self.options.rel_gap else Status.LIMIT
        return Result(
            status=status,
            bound=self.bound,
            incumbent=self.cost,
            schedule=self.incumbent.schedule if self.incumbent else None,
            dual=dual_of(self.instance, self.proof) if self.proof else None,
            log=tuple(self.log),
            provenance=provenance(self.instance, self.options, self.team.size),
        )


def dual_of(instance: Instance, proof: DualPoint) -> Dual:
    """The proof in the units of the result: prices per GPU-hour; work priced at its cheapest place."""
    hours = instance.period_h
    price = proof.price / hours
    arcs = instance.arcs
    stream = np.repeat(instance.streams.unserved_penalty[:, None], instance.n_periods, axis=1)
    np.minimum.at(stream, arcs.stream, (arcs.cost - instance.streams.revenue[arcs.stream])[:, None] + price[arcs.site])
    return Dual(
        load_price=price,
        stream_price=stream,
        job_price=np.zeros(instance.n_jobs),
        pool_price=np.zeros(instance.n_pools),
        site_lower=proof.site_lower,
        carbon_price=proof.carbon_price,
        form="load",
    )


def provenance(instance: Instance, options: Options, ranks: int) -> dict[str, object]:
    """Where a result comes from."""
    packages = ("numpy", "scipy", "numba", "highspy", "mpi4py", "h5py")
    return dict(
        instance_hash=instance.content_hash(),
        method=options.method,
        options=options.to_dict(),
        seed=options.seed,
        ranks=ranks,
        python=platform.python_version(),
        machine=platform.machine(),
        versions={name: _version(name) for name in packages},
        decomp=_version("decomp-fleet"),
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def solve(
    instance: Instance | None,
    team: Team,
    options: Options,
    *,
    read: SiteReader | None = None,
    listeners: Iterable[Listener] = (),
    keep: Keep | None = None,
) -> Result | None:
    """Solve an instance on all ranks of a team.

    Parameters
    ----------
    instance : at the root; other ranks may pass None.
    team : `Serial()` or `MPI(comm)`.
    options : the same on every rank.
    read : returns (Sites, Generators) of given rows; default takes them from the root's instance.
    listeners : told of every iteration (root only).
    keep : called with the result so far whenever the schedule improves (root only).

    Returns
    -------
    The result at the root, None on the others.
    """
    shape: tuple[int, int, float, float] | None = None
    tables: tuple[Sites, Generators] | None = None
    if instance is not None and team.is_root:
        shape = (instance.n_sites, instance.n_periods, instance.period_h, instance.carbon_price_usd_per_t)
        tables = (instance.sites, instance.generators) if read is None else None
    shape, tables = team.bcast((shape, tables), "instance")
    crew = Crew(team, read or partial(_rows, tables), *shape)
    if not team.is_root:
        crew.serve()
        return None
    assert instance is not None
    run = Run(instance, team, options, listeners)
    try:
        lagrangian(run, crew, keep or (lambda result: None))
    finally:
        crew.dismiss()
    return run.result()


def _rows(tables: tuple[Sites, Generators], own: Array) -> tuple[Sites, Generators]:
    """Some sites with their generators, renumbered."""
    sites, generators = tables
    position = np.full(len(sites.name), -1)
    position[own] = np.arange(len(own))
    mine = generators.take(np.flatnonzero(position[generators.site] >= 0))
    return sites.take(own), replace(mine, site=position[mine.site])


def lagrangian(run: Run, crew: Crew, keep: Keep) -> None:
    """Bound, dive, finish; then improvement while the gap is open and time is left."""
    instance, options = run.instance, run.options
    coupling = Coupling.of(instance)
    price = first_prices(coupling, instance.sites, instance.carbon_price_usd_per_t)
    loop = LagrangianLoop(coupling, crew, price, 0.0, options.bundle)
    raise_bound(run, loop)
    run.phase = "dive"
    dive(loop, options.recovery, lambda step: run.record(step, loop))
    settle(run, loop, crew, keep)
    improve(run, loop, crew, keep)


def raise_bound(run: Run, loop: LagrangianLoop) -> None:
    """Iterate with all jobs free until the model promises little, or it is time to stop."""
    run.prove(loop.centre)
    tolerance = float(np.clip(0.1 * run.options.rel_gap, 1e-6, 1e-4))
    for _ in range(run.options.bundle.max_iterations):
        step = loop.iterate()
        run.prove(loop.centre)
        run.record(step, loop)
        if run.must_stop() or step.converged(tolerance):
            return


def settle(run: Run, loop: LagrangianLoop, crew: Crew, keep: Keep) -> bool:
    """With all jobs fixed: a few more iterations for the routing, then the integral finish. True if cheaper."""
    started, phase, run.phase = process_seconds(), run.phase, "finish"
    for _ in range(run.options.recovery.settle_iterations):
        step = loop.iterate()
        run.record(step, loop)
        if step.converged(1e-5):
            break
    better = run.offer(finish(run.instance, loop, crew, run.options.recovery, lambda step: run.record(step, loop)))
    run.record(None, loop)
    if better:
        keep(run.result())
    run.finish_seconds, run.phase = process_seconds() - started, phase
    return better


def improve(run: Run, loop: LagrangianLoop, crew: Crew, keep: Keep) -> None:
    """Rounds of cluster moves; a finish whenever they bring little, larger clusters when that did not help."""
    options, rng = run.options.improvement, np.random.default_rng(run.options.seed)
    neighbours = Neighbours.of(loop.coupling)
    run.phase, size, stale, rounds = "improve", options.cluster_sites, 0, 0
    while loop.coupling.n_jobs and not run.must_stop() and stale < options.stale_finishes:
        until = run.options.time_limit_seconds - 1.3 * run.finish_seconds
        started = process_seconds()
        present = replace(options, cluster_sites=size)
        gained = improve_round(run.instance, loop, crew, neighbours, present, rng, run.carbon_price, until)
        for _ in range(options.iterations):
            run.record(loop.iterate(), loop)
        rounds += 1
        late = 2 * process_seconds() - started > until
        if late or rounds >= options.rounds_per_finish or gained <= options.plateau * abs(run.cost):
            rounds = 0
            before = run.cost
            settle(run, loop, crew, keep)
            saved = before - run.cost if np.isfinite(run.cost) else 0.0
            if saved <= options.plateau * abs(run.cost):
                stale, size = stale + 1, size + 1
                if run.incumbent is not None:
                    loop.refix(run.incumbent.fixing)
            if late:
                return
