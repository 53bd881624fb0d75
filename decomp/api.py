"""What `import decomp` offers: make, ingest, read, validate, solve, check, explain, evaluate, write."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from decomp import certificate
from decomp.devices import attach as devices_attach
from decomp.evaluation.evaluate import Evaluation, fresh_scenarios
from decomp.evaluation.evaluate import evaluate as evaluate_on
from decomp.families import generate
from decomp.files.atomic import PathLike
from decomp.files.hdf5 import holds, open_hdf5, read_attribute
from decomp.files.store import INSTANCE, RESULT, read_instance, read_result, write_instance, write_result
from decomp.insight import explain as insight
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.model.strict import count as whole
from decomp.model.strict import instance_of
from decomp.model.validate import validate as refuse
from decomp.model.validate_result import validate_result
from decomp.ranks.clock import restart_clock
from decomp.ranks.mpi import MPI, Serial
from decomp.solver.solve import solve as solve_on

__all__ = ["attach", "check", "evaluate", "explain", "generate", "ingest", "read", "site_block", "solve"]
__all__ += ["validate", "write"]


F = TypeVar("F", bound=Callable[..., Any])


def _typed(function: F, own: bool = False) -> F:
    """The function, which refuses what is no instance or result where it takes one; `own`: and a foreign result."""
    signature = inspect.signature(function, eval_str=True)

    @wraps(function)
    def call(*args: Any, **settings: Any) -> Any:
        given: dict[type, Any] = {}
        for name, value in signature.bind(*args, **settings).arguments.items():
            if (wanted := signature.parameters[name].annotation) in (Instance, Result):
                instance_of(value, wanted, name)
                given[wanted] = value
        if own:
            validate_result(given[Instance], given[Result])
        return function(*args, **settings)

    return call  # type: ignore[return-value]


validate: Callable[[Any], None] = _typed(refuse)
check = _typed(certificate.check)
explain = _typed(insight.explain, own=True)
attach = _typed(devices_attach.attach)
site_block = _typed(devices_attach.site_block)


def ingest(spec: PathLike, data: PathLike | None = None, overrides: Iterable[str] = ()) -> Instance:
    """The instance of a fleet described by a spec and its data files.

    Parameters
    ----------
    spec : a TOML file, as the command `ingest` reads it.
    data : folder of the data files; None: the spec's own.
    overrides : key=value settings with dotted keys, such as "horizon.start=2022-07-15".

    Returns
    -------
    The instance; its `source` sums up every series. What was filled, clipped or passed over is a warning.

    Raises
    ------
    InputError : names the spec's key, or file, line, column and text, and the key that mends it.
    """
    from decomp.ingest.build import ingest as build_from

    instance, notes = build_from(os.fspath(spec), None if data is None else os.fspath(data), overrides)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return instance


def read(path: PathLike) -> Instance | Result:
    """Read an instance or a result, whichever the file holds.

    Returns
    -------
    The instance, validated, or the result.

    Raises
    ------
    InputError : names file, dataset, place and value, and what would be right.
    """
    with open_hdf5(path, INSTANCE, RESULT) as file:
        is_result = read_attribute(file, "format", str) == RESULT
    return read_result(path) if is_result else read_instance(path)


def write(path: PathLike, what: Instance | Result, instance: Instance | None = None) -> None:
    """Write an instance, or a result with the `instance` that it belongs to.

    Raises
    ------
    InputError : a result without its instance or with another one, or in the place of an instance, which it may have
        been made from.
    """
    if isinstance(what, Instance):
        write_instance(path, what)
    elif instance is None:
        raise InputError("a result is written with its instance: write(path, result, instance)")
    elif holds(path, INSTANCE):
        raise InputError(f"{os.fspath(path)}: holds an instance, which a result does not overwrite")
    else:
        instance_of(what, Result, "what")
        instance_of(instance, Instance, "instance")
        what.belongs_to(instance)
        write_result(path, what, instance)


def solve(instance: Instance | None, *, comm: Any = None, time_limit: float = np.inf, **options: Any) -> Result | None:
    """Schedule a fleet to a proven gap.

    Parameters
    ----------
    instance : what to schedule; of several ranks only the root needs it.
    comm : communicator of mpi4py, all of whose ranks call this; None: in this process alone.
    time_limit : seconds from this call after which the solve stops.
    options : as in the options file, `rel_gap=0.01`, `method="lagrangian"`, `improvement=dict(cluster_sites=5)`.

    Returns
    -------
    The result, at the root; None on other ranks.

    Raises
    ------
    InputError : the instance or an option is not valid.
    """
    if "time_limit_seconds" in options and time_limit != np.inf:
        raise InputError("time_limit_seconds: given twice, as time_limit too")
    chosen: Options = Options.from_dict(dict(time_limit_seconds=time_limit) | options)
    restart_clock()
    with Serial() if comm is None else MPI(comm) as team:
        team.at_root(lambda: validate(instance), "the instance")
        return solve_on(instance, team, chosen)


def evaluate(
    instance: Instance | None,
    result: Result | None,
    scenarios: Instance | None = None,
    *,
    count: int | None = None,
    seed: int = 1,
    values: bool = True,
    comm: Any = None,
    **options: Any,
) -> Evaluation | None:
    """Hold the jobs of a plan against scenarios; everything else answers each of them.

    Parameters
    ----------
    instance, result : the fleet and its plan; of several ranks only the root needs them.
    scenarios : the fleet with the scenarios to come; None: its own.
    count : so many fresh synthetic scenarios instead.
    seed : of these.
    values : also what planning for the expected series, and what knowing the scenario, would cost.
    comm : as in `solve`.
    options : of every solve, with `time_limit_seconds` for each.

    Returns
    -------
    The evaluation, at the root; None on other ranks.

    Raises
    ------
    InputError : a plan of another instance, no schedule, no scenarios, scenarios of another fleet, or an option that is
        not valid.
    """
    chosen: Options = Options.from_dict(options)

    def fresh() -> None:
        nonlocal scenarios
        validate(instance)
        instance_of(result, Result, "result")
        if instance is not None and result is not None:
            validate_result(instance, result)
        if count is not None and scenarios is not None:
            raise InputError("count: not with scenarios, which are given")
        if count is not None and instance is not None:
            scenarios = fresh_scenarios(instance, whole(count, "count"), whole(seed, "seed"))
        if scenarios is not None:
            validate(scenarios)

    restart_clock()
    with Serial() if comm is None else MPI(comm) as team:
        team.at_root(fresh, "the instance")
        return evaluate_on(instance, result, team, chosen, fresh=scenarios, values=values)
