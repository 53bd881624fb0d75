"""Checkpoints: a result file that also holds where the search stands, so that a solve can go on from it.

Commands that read results read a checkpoint too. Nothing in it depends on the number of ranks. What it claims is not
believed: prices are asked of the sites again, the schedule is accounted again; a digest guards against damage.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from decomp.bound.coupling import Coupling, Fixing
from decomp.bound.lagrangian import LagrangianLoop
from decomp.bound.master import RelaxedWork
from decomp.bound.multipliers import Multipliers
from decomp.files.atomic import PathLike
from decomp.files.hdf5 import (
    create_dimension,
    open_hdf5,
    read_attribute,
    read_sizes,
    read_table,
    write_attributes,
    write_table,
)
from decomp.files.store import RESULT, instance_hash, read_result, write_result
from decomp.model.instance import DIMENSIONS, Array, InputError, Instance, Table, var
from decomp.model.options import Options
from decomp.model.result import Iteration, Result
from decomp.model.scenarios import base_of
from decomp.ranks.clock import process_seconds
from decomp.schedule.incumbent import incumbent_of
from decomp.search.by_prices import Neighbours, SearchState
from decomp.site.faults import SiteFailure
from decomp.site.grid_ban import Ban
from decomp.state.solve_state import Run

FREE_TO_CHANGE = {"method", "rel_gap", "time_limit_seconds"}
LARGEST_SHARE = 0.05  # of the time that saving may take


@dataclass(frozen=True, eq=False)
class State(Table):
    """Where a search stands; arcs and pool arcs in the master's order, prices per GPU and period.

    Links are load period by period, then commitments made once for all scenarios; see `Multipliers`.
    """

    price: Array = var("site,link", "USD/GPU", "prices that the master last proposed")
    weight: Array = var("site,link", "USD/GPU2", "scale of the proximal term")
    centre_price: Array = var("site,link", "USD/GPU", "best prices for the present fixing of jobs")
    proof_price: Array = var("site,link", "USD/GPU", "best prices with all jobs free")
    column_site: Array = var("column", "1", "site of the column", kind="i8")
    column_load: Array = var("column,link", "GPU", "load of the column")
    column_cost: Array = var("column", "USD", "energy cost of the column")
    column_emissions: Array = var("column", "t", "emissions of the column")
    column_share: Array = var("column", "1", "weight of the column in its site's mixture")
    column_idle: Array = var("column", "1", "iterations since the column was last in use", kind="i8")
    routed: Array = var("arc,period", "GPU", "relaxed inference load")
    pooled: Array = var("pool_arc,period", "GPU", "relaxed deferrable load")
    atom_run: Array = var("job,atom", "1", "candidate of a job's relaxed run", kind="i8")
    atom_start: Array = var("job,atom", "1", "first period of a job's relaxed run", kind="i8")
    atom_share: Array = var("job,atom", "1", "share of a job's relaxed run")
    fixed_run: Array = var("job", "1", "candidate to which the job is fixed", kind="i8")
    fixed_start: Array = var("job", "1", "first period to which the job is fixed", kind="i8")
    tried: Array = var("site", "1", "how often the site was the seed of a cluster, the same in all scenarios")


# ---------------------------------------------------------------- writing


@contextmanager
def or_warn(path: PathLike) -> Iterator[None]:
    """Inside, a file is written that work can do without: if it cannot be written, that is a warning."""
    try:
        yield
    except OSError as error:
        print(f"warning: {path}: not saved, the solve goes on: {error.strerror}", file=sys.stderr)


class Spacing:
    """When to save again: after so many seconds, and never for more than a small share of the time."""

    def __init__(self, seconds: float):
        self.seconds, self.next = seconds, process_seconds() + seconds

    @property
    def due(self) -> bool:
        return process_seconds() >= self.next

    @contextmanager
    def saving(self, path: PathLike) -> Iterator[None]:
        """Inside, the file is written, see `or_warn`."""
        began = process_seconds()
        with or_warn(path):
            yield
        now = process_seconds()
        self.next = now + max(self.seconds, (now - began) / LARGEST_SHARE)


class Saver:
    """Saves a run whenever its schedule improves, and when some time has passed; one of the run's listeners.

    A checkpoint that cannot be written is a warning: the solve goes on.
    """

    def __init__(self, run: Run, path: PathLike, seconds: float):
        self.run, self.path, self.spacing, self.cost = run, path, Spacing(seconds), run.cost

    def row(self, it: Iteration) -> None:
        if self.run.cost < self.cost or self.spacing.due:
            self.save()

    def save(self) -> None:
        """Write the checkpoint."""
        if self.run.present is None:
            return
        self.cost = self.run.cost
        with self.spacing.saving(self.path):
            write_checkpoint(self.path, self.run)


def write_checkpoint(path: PathLike, run: Run) -> None:
    """Write what `resume` needs; only at the root, between two iterations."""
    result, state, facts = run.result(), _state(run), _facts(run)

    def extend(file: h5py.File) -> None:
        create_dimension(file, "column", len(state.column_site))
        create_dimension(file, "atom", state.atom_run.shape[1])
        create_dimension(file, "link", state.price.shape[1])
        write_table(file, "state", state, scenarios=file["scenario"].shape[0])
        write_attributes(file["state"], facts=facts, digest=_digest(result, state, facts))

    write_result(path, result, base_of(run.instance), extend)


def _state(run: Run) -> State:
    assert run.proof is not None
    loop = run.loop
    work, places = loop.master.work(), loop.coupling.n_places
    tried = run.search.neighbours.tried if run.search else np.zeros(places)
    return State(
        price=loop.master.price,
        weight=loop.master.weight,
        **{f"column_{name}": rows for name, rows in loop.master.columns().items()},
        routed=work.routed,
        pooled=work.pooled,
        atom_run=work.run,
        atom_start=work.start,
        atom_share=work.share,
        fixed_run=loop.master.fixing.run,
        fixed_start=loop.master.fixing.start,
        centre_price=loop.centre.prices.links,
        proof_price=run.proof.prices.links,
        tried=np.tile(tried, loop.coupling.copies),
    )


def _facts(run: Run) -> str:
    """The scalars of the state, as JSON."""
    assert run.proof is not None
    loop = run.loop
    points = dict(master=loop.master.reached, centre=loop.centre.prices, proof=run.proof.prices)
    search = None
    if run.search is not None:
        random = run.search.rng.bit_generator.state
        search = dict(level=run.search.level, stale=run.search.stale, rounds=run.search.rounds, random=random)
    return json.dumps(
        dict(
            phase=run.phase,
            seconds=run.clock(),
            ban=dict(now=run.ban.value, proof=run.proof_ban.value),
            step=loop.master.step,
            carbon_weight=loop.master.carbon_weight.tolist(),
            risk_weight=loop.master.risk_weight,
            nulls=loop.nulls,
            carbon_price={name: prices.carbon.tolist() for name, prices in points.items()},
            scenario_weight={name: prices.weight.tolist() for name, prices in points.items()},
            stronger=run.stronger is not None and run.stronger[0] >= run.bound,
            search=search,
        )
    )


def _digest(result: Result, state: State, facts: str) -> str:
    """SHA-256 over all that a resumed solve starts from."""
    digest = hashlib.sha256(f"{facts}{result.bound!r}{result.incumbent!r}".encode())
    dual = result.dual
    leaves = dual.tree.futures if dual and dual.tree else ()
    beside = (dual.tree, dual.blocks, dual.futures, *leaves) if dual else ()
    for table in (state, result.schedule, dual, *beside):
        for f in table.columns() if table is not None else ():
            digest.update(np.ascontiguousarray(getattr(table, f.name)).data)
    return digest.hexdigest()


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a solve starts from when it is resumed."""

    result: Result
    state: State
    facts: dict[str, Any]

    @property
    def seconds(self) -> float:
        """Seconds spent before."""
        return float(self.facts["seconds"])


def read_checkpoint(path: PathLike, instance: Instance, options: Options) -> Checkpoint:
    """Read a checkpoint of this instance, made with these options (limits, gap and method may differ)."""
    if instance_hash(path) != instance.content_hash():
        raise InputError(
            f"{path}: the checkpoint is of another instance: content hash {instance_hash(path)[:12]}..., "
            f"that of the instance is {instance.content_hash()[:12]}..."
        )
    with open_hdf5(path, RESULT) as file:
        if "state" not in file:
            raise InputError("a result, not a checkpoint: there is no state of a search to resume")
        sizes = read_sizes(file, (*DIMENSIONS, "column", "atom", "link"))
        state: State = read_table(file, "state", State, sizes, scenarios=sizes["scenario"])
        facts, digest = (read_attribute(file["state"], name, str) for name in ("facts", "digest"))
    result = read_result(path)
    if digest != _digest(result, state, facts):
        raise InputError(f"{path}: damaged: the digest of its state does not match")
    before = result.provenance.get("options", {})
    changes = [
        f"{key} was {old}, is {new}"
        for key, old, new in differences(before, options.to_dict())
        if key not in FREE_TO_CHANGE
    ]
    if changes:
        raise InputError(f"{path}: the checkpoint is of a solve with other options: {'; '.join(changes)}")
    return Checkpoint(result, state, json.loads(facts))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Options that differ, (key, old, new); one that is new counts, one that there no longer is does not."""
    for key, now in new.items():
        before = old.get(key, "unknown")
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from differences(before, now, f"{prefix}{key}.")
        elif before != (list(now) if isinstance(now, tuple) else now):
            yield prefix + key, before, now


# ---------------------------------------------------------------- going on


def resume(saved: Checkpoint, run: Run) -> LagrangianLoop:
    """Put run and loop back to where they were; bound and schedule are established anew."""
    facts, coupling, workers = saved.facts, Coupling.of(run.instance), run.workers
    # copies: the kernels are compiled for writable arrays
    state = {f.name: getattr(saved.state, f.name).copy() for f in State.columns()}
    run.log, run.phase, run.seconds_before = list(saved.result.log), facts["phase"], saved.seconds
    if run.phase != "bound" and facts["search"] is None:
        run.phase = "dive"
    fresh = replace(run.options.bundle, first_factors=())
    master, centre, proof = (
        Multipliers(state[key], *(np.array(facts[f][name], dtype=float) for f in ("carbon_price", "scenario_weight")))
        for key, name in (("price", "master"), ("centre_price", "centre"), ("proof_price", "proof"))
    )
    now, before = (Ban(facts["ban"][name]) if "ban" in facts else Ban.RELAXED for name in ("now", "proof"))
    run.ask_so(Ban.RELAXED if now is Ban.KEPT else now)  # without MILPs, which a short time may cut
    loop = LagrangianLoop(coupling, workers, centre, fresh)
    run.prove(loop.centre)
    if run.ban is not before or not centre.same(proof):
        run.ask_so(before)
        with suppress(SiteFailure):  # cut short
            run.prove(LagrangianLoop(coupling, workers, proof, fresh).centre)
    run.ask_so(now)
    loop.options, loop.nulls = run.options.bundle, facts["nulls"]
    columns = {f.name.removeprefix("column_"): state[f.name] for f in State.columns() if f.name.startswith("column_")}
    loop.master.set_columns(columns, state["weight"])
    loop.master.set_work(RelaxedWork(*(state[n] for n in ("routed", "pooled", "atom_run", "atom_start", "atom_share"))))
    loop.master.price, loop.master.reached = state["price"], master
    loop.master.carbon_weight, loop.master.risk_weight = np.array(facts["carbon_weight"]), facts["risk_weight"]
    loop.master.step = facts["step"]
    loop.refix(Fixing(state["fixed_run"], state["fixed_start"]))
    if saved.result.schedule is not None:
        run.offer(incumbent_of(run.instance, coupling, saved.result.schedule))
    if facts["stronger"]:
        run.strengthen(saved.result.bound, saved.result.dual)
    if facts["search"] is not None:
        run.search = _search(facts["search"], state["tried"], coupling)
        if run.phase == "improve" and run.search.stale >= run.options.improvement.stale_finishes:
            run.search.stale = 0  # it had given up, and whoever resumes it wants more
    run.present = loop
    return loop


def _search(facts: dict[str, Any], tried: Array, coupling: Coupling) -> SearchState:
    rng = np.random.default_rng()
    rng.bit_generator.state = facts["random"]
    neighbours = replace(Neighbours.of(coupling), tried=tried[: coupling.n_places])
    return SearchState(neighbours, rng, facts["level"], facts["stale"], facts["rounds"])
