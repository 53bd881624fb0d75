"""Options of a solve: frozen, documented, checked; unknown keys are refused.

To add an option, add one line to a group: name, type, default, meaning, legal range.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from decomp.model.strict import InputError, scalar, shown
from decomp.model.toml import read_toml

METHODS = ("lagrangian", "benders", "hybrid", "extensive")  # see `decomp.solver.methods`


LARGEST = float(np.finfo(float).max)
LARGEST_INTEGER = 2**31 - 1  # what solvers take


def option(
    default: Any,
    help: str,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    choices: tuple[str, ...] | None = None,
    endless: bool = False,
) -> Any:
    """Declare an option: default, meaning, and its legal range (both ends included) or choices.

    No number is infinite, except where `endless`: times that may have no limit.
    """
    if not endless:
        high = min(high, LARGEST_INTEGER if isinstance(default, int) else LARGEST)
    return field(default=default, metadata=dict(help=help, low=low, high=high, choices=choices))


def group(cls: type[Group]) -> Any:
    """Declare a nested group of options."""
    return field(default_factory=cls)


@dataclass(frozen=True)
class Group:
    """A set of options; every way to make one checks every value."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):
            value = getattr(self, f.name)
            if f.metadata:
                object.__setattr__(self, f.name, _checked(f.name, value, hints[f.name], f.metadata))
            elif not isinstance(value, hints[f.name]):
                raise InputError(f"{f.name}: {value!r}, must be a group of options")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Any:
        """Build from nested dicts, as TOML has them; what is not given keeps its default."""
        hints, known = get_type_hints(cls), [f.name for f in fields(cls)]
        given = {}
        for key, value in values.items():
            if key not in known:
                near = get_close_matches(str(key), known, 1, cutoff=0.4)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                raise InputError(f"{key}: no such option; {hint}")
            if isinstance(value, Mapping) and _is_group(hints[key]):
                try:
                    value = hints[key].from_dict(value)
                except InputError as error:
                    raise InputError(f"{key}.{error}") from None
            given[key] = value
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Nested dict of all values; `from_dict` takes it back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {key: value.to_dict() if isinstance(value, Group) else value for key, value in values.items()}

    def updated(self, **values: Any) -> Any:
        """A copy with some values replaced; None means not given."""
        return type(self).from_dict(self.to_dict() | {k: v for k, v in values.items() if v is not None})

    @classmethod
    def describe(cls, prefix: str = "") -> Iterator[tuple[str, Any, str, str]]:
        """Rows (key, default, legal values, meaning) of all options, for documentation."""
        hints, defaults = get_type_hints(cls), cls()
        for f in fields(cls):
            if f.metadata:
                legal = _legal(hints[f.name], f.metadata)
                yield prefix + f.name, getattr(defaults, f.name), legal, f.metadata["help"]
            else:
                yield from hints[f.name].describe(f"{prefix}{f.name}.")


def _is_group(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Group)


def _checked(name: str, value: Any, hint: Any, meta: Mapping[str, Any]) -> Any:
    """The value in its declared type, or InputError; integers count as numbers, lists as tuples."""
    many = get_origin(hint) is tuple
    kind: type = get_args(hint)[0] if many else hint
    legal = _legal(hint, meta)
    if many != isinstance(value, list | tuple):
        raise InputError(f"{name}: {shown(value)}, must be {legal}")
    items = tuple(scalar(item, kind, name, legal) for item in (value if many else [value]))
    for item in items:
        in_range = kind not in (int, float) or meta["low"] <= item <= meta["high"]
        if not in_range or (meta["choices"] is not None and item not in meta["choices"]):
            told = legal if in_range or item < meta["low"] else _legal(hint, meta, high_too=True)
            raise InputError(f"{name}: {shown(value)}, must be {told}")
    return items if many else items[0]


def _legal(hint: Any, meta: Mapping[str, Any], high_too: bool = False) -> str:
    """The legal values in words; `high_too`: also an upper end that is but what computers take."""
    many = get_origin(hint) is tuple
    kind = get_args(hint)[0] if many else hint
    if meta["choices"]:
        return "one of " + ", ".join(meta["choices"])
    words = {float: "a number", int: "an integer", bool: "true or false", str: "text"}[kind]
    low, high = meta["low"], meta["high"]
    bounded = high_too or high not in (np.inf, LARGEST, LARGEST_INTEGER)
    if np.isfinite(low):
        words += f" between {low:g} and {high:.10g}" if bounded else f" of at least {low:g}"
    elif bounded:
        words += f" of at most {high:.10g}"
    return f"a list, each {words}" if many else words


# ---------------------------------------------------------------- the options


@dataclass(frozen=True)
class Bundle(Group):
    """The bound: proximal bundle method on the prices."""

    max_iterations: int = option(200, "most iterations of the bound", low=0)
    first_factors: tuple[float, ...] = option((3.0,), "multiples of the first prices asked for columns", low=0)
    step: float = option(10.0, "first proximal step, relative to the natural scale of the prices", low=1e-9)
    serious: float = option(0.1, "least share of the predicted increase that moves the centre", low=0, high=1)
    accuracy: float = option(0.03, "gap of the master, relative to the increase that it predicts", low=1e-9, high=1)
    part_size: int = option(10_000, "sites x periods; from n^2 times as many on the master has n parts", low=1)
    max_passes: int = option(40, "most block-coordinate passes of a master", low=1)


@dataclass(frozen=True)
class Recovery(Group):
    """The schedule: dive on the jobs, then an integral finish."""

    dive_share: float = option(0.25, "least share of the free jobs fixed in a round of the dive", low=1e-6, high=1)
    dive_iterations: int = option(2, "iterations of the bound between rounds of the dive", low=0)
    decided: float = option(0.99, "share of a start from which a job counts as decided", low=0, high=1)
    settle_iterations: int = option(30, "iterations of the bound with all jobs fixed, before the finish", low=0)
    site_rel_gap: float = option(5e-4, "relative gap of a site's dispatch in the finish", low=0, high=1)
    site_nodes: int = option(50, "nodes for a site's dispatch in the finish", low=1)
    redispatch_sites: int = option(10, "sites of a group that is redispatched jointly, integers held", low=1)
    repair_gap: float = option(1e-3, "relative gap of the small models that repair a finish", low=0, high=1)
    repair_seconds: float = option(60.0, "most seconds for a model that repairs a finish", low=0, endless=True)


@dataclass(frozen=True)
class Benders(Group):
    """Routing and carbon allowances with the jobs fixed: Benders decomposition."""

    max_iterations: int = option(40, "most iterations with the jobs fixed", low=0)
    rel_gap: float = option(1e-4, "relative gap, sites relaxed, at which routing counts as settled", low=0, high=1)


@dataclass(frozen=True)
class Improvement(Group):
    """Neighbourhood search over clusters of sites."""

    cluster_sites: int = option(4, "sites of a cluster", low=1)
    runs_kept: int = option(3, "runs (site, start) of a job in a cluster's MILP besides the relaxation's", low=1)
    cluster_nodes: int = option(20, "nodes for a cluster's MILP", low=1)
    rel_gap: float = option(3e-4, "relative gap of a cluster's MILP", low=0, high=1)
    whole_sites: int = option(8, "most sites of a fleet that is searched as one cluster", low=0)
    share: float = option(0.25, "share of the clusters of a large fleet that move in a round", low=0.01, high=1)
    least_clusters: int = option(16, "clusters that move in a round whatever their share", low=1)
    scenario_rows: int = option(12, "most sites x scenarios of a cluster's or group's MILP", low=1)
    windows: int = option(2, "parts of the jobs that move in turn where a fleet is one cluster", low=1)
    iterations: int = option(6, "iterations that re-price after a round", low=0)
    rounds_per_finish: int = option(4, "most rounds between two finishes", low=1)
    plateau: float = option(1e-4, "relative gain below which a round or a finish brought little", low=0)
    stale_finishes: int = option(6, "finishes that brought little before the search ends", low=1)


@dataclass(frozen=True)
class Replan(Group):
    """Hybrid only: groups of sites plan their jobs anew with what the schedule allots to them."""

    sites: int = option(3, "sites of a group that is replanned", low=1)
    runs_kept: int = option(3, "runs (site, start) of a job in a group's MILP besides the relaxation's", low=1)
    nodes: int = option(50, "nodes for a group's MILP", low=1)
    rel_gap: float = option(1e-4, "relative gap of a group's MILP", low=0, high=1)


@dataclass(frozen=True)
class Moves(Group):
    """Hybrid only: in a small fleet, single jobs move and pairs change places."""

    site_periods: int = option(4000, "most sites x periods of a fleet whose jobs move singly", low=0)
    scenarios: int = option(30, "most scenarios of a fleet whose jobs move singly", low=0)
    searches: int = option(2, "searches from the incumbent that go on side by side", low=1)
    programs: int = option(800, "linear programs of a search, one for each scenario of a move that it evaluates", low=1)
    placed_anew: int = option(4, "jobs placed anew, at random prices, where no move gains", low=1)
    commitment_gap: float = option(2e-4, "relative gap of the MILP of the commitments", low=0, high=1)
    commitment_nodes: int = option(20, "nodes for the MILP of the commitments", low=1)


@dataclass(frozen=True)
class MilpBound(Group):
    """The bound once more, from the sites' MILPs at prices of the work itself."""

    share: float = option(0.15, "share of the time limit kept for the MILPs of the bound", low=0, high=0.9)
    joint_sites: int = option(16, "most sites of a fleet whose work one linear program prices again", low=0)
    rel_gap: float = option(1e-4, "relative gap of a site's MILP", low=0, high=1)
    site_nodes: int = option(200, "nodes for a site's MILP", low=1)
    site_seconds: float = option(20.0, "most seconds for a site's MILP", low=0, endless=True)
    block_sites: int = option(4, "most sites that are one MILP, serving streams that no other site can", low=1)
    block_seconds: float = option(60.0, "most seconds for the MILP of several sites", low=0, endless=True)


@dataclass(frozen=True)
class Branching(Group):
    """Hybrid only: branch and bound on the jobs of a small fleet."""

    site_periods: int = option(400, "most sites x periods of a fleet whose jobs are branched on", low=0)
    jobs: int = option(12, "most jobs of a fleet whose jobs are branched on", low=0)
    nodes: int = option(2000, "most nodes of the tree", low=1)
    seconds: float = option(60.0, "most seconds for the tree", low=0, endless=True)


@dataclass(frozen=True)
class ExtensiveFinish(Group):
    """Hybrid only: a small fleet's open gap goes to a MILP solver, with the incumbent."""

    site_periods: int = option(400, "most sites x periods of a fleet solved as one model in the end", low=0)
    seconds: float = option(120.0, "most seconds for the whole fleet as one model", low=0, endless=True)


@dataclass(frozen=True)
class Options(Group):
    """All options of a solve."""

    method: str = option("hybrid", "which phases make a solve", choices=METHODS)
    rel_gap: float = option(1e-3, "relative gap at which a solve stops", low=0, high=1)
    time_limit_seconds: float = option(np.inf, "wall seconds after which a solve stops", low=0, endless=True)
    seed: int = option(0, "seed of every random choice", low=0)
    small_fleet: int = option(16, "most sites of a fleet that counts as small: its jobs may move singly", low=0)
    bundle: Bundle = group(Bundle)
    recovery: Recovery = group(Recovery)
    benders: Benders = group(Benders)
    improvement: Improvement = group(Improvement)
    replan: Replan = group(Replan)
    moves: Moves = group(Moves)
    milp_bound: MilpBound = group(MilpBound)
    branching: Branching = group(Branching)
    extensive_finish: ExtensiveFinish = group(ExtensiveFinish)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], **unless_said: Any) -> Options:
        """Read options from a TOML file; `unless_said`: instead of the defaults."""
        values = unless_said | read_toml(path)
        try:
            options: Options = cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{os.fspath(path)}: {error}") from None
        return options
