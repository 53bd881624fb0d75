"""Joint compute and power scheduling, arXiv 2605.03751: what each freedom is worth, on any fleet.

The variants of `decomp.studies.variants` solved to a proven gap, on all ranks; sweeps; the paper's claims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from decomp.files.store import write_instance, write_result
from decomp.model.accounts import Totals, account, allot, candidate_cost, site_costs
from decomp.model.instance import Array, InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Result, Schedule, Status
from decomp.model.validate import validate
from decomp.ranks.clock import process_seconds
from decomp.solver.series import Ask
from decomp.state.solve_state import provenance
from decomp.studies.variants import SWEEPS, VARIANTS, Variant

BASELINES = ("compute-only", "energy-only", "no-battery", "no-routing")
NARROWER = {"no-battery": BASELINES[:1], "joint": BASELINES, "no-carbon": (*BASELINES, "joint")}  # its restrictions
SWEPT = ("energy-only", "joint", "no-carbon")
OPTIMAL = 1e-6  # relative gap at which the optimum is asked for
UNDONE_GPU = 1e-3  # of given work: what counts as done


@dataclass(frozen=True, kw_only=True)
class Solved:
    """One variant of one fleet; money in USD, positive is income; `over_budget_t` > 0: infeasible, by so much.

    `most_usd` is the proven upper bound of the benefit, `extensive_usd` the benefit of the extensive form where solved.
    """

    sweep: str
    value: float
    variant: str
    status: str
    benefit_usd: float
    most_usd: float
    gap: float
    extensive_usd: float
    emissions_t: float
    over_budget_t: float
    seconds: float

    @property
    def feasible(self) -> bool:
        return bool(np.isfinite(self.benefit_usd) and self.over_budget_t == 0.0)


@dataclass(frozen=True, kw_only=True)
class Row(Totals, Solved):
    """The same with the work and energy of its schedule."""


@dataclass(frozen=True)
class Site:
    """One site: what joint scheduling adds to its benefit over energy-only."""

    name: str
    local_share: float
    gain_usd: float
    gain_usd_per_gpu: float


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, what came of it here, and the numbers behind that."""

    claim: str
    outcome: str
    numbers: str


@dataclass(frozen=True)
class Solver:
    """Solves instances on all ranks, each in so many seconds at most, to the gap of the options."""

    ask: Ask
    options: Options
    seconds: float = np.inf

    def __call__(self, instance: Instance) -> Result:
        """A result with a proven bound."""
        return self._unless_stopped(self.ask(instance, self.options.updated(time_limit_seconds=self.seconds)))

    def _unless_stopped(self, result: Result) -> Result:
        """The result, unless a signal has ended its solve and so the study."""
        if self.ask.signalled:
            raise KeyboardInterrupt
        return result

    def small(self, instance: Instance) -> bool:
        """Whether the optimum is asked for and the extensive form can be solved to it."""
        few = instance.n_sites * instance.n_periods <= self.options.extensive_finish.site_periods
        return few and self.options.rel_gap <= OPTIMAL

    def extensive(self, instance: Instance) -> Result:
        """The same by the extensive form alone."""
        from decomp.extensive.pyomo_model import solve_extensive  # pyomo takes a second to import

        result = self._unless_stopped(solve_extensive(instance))
        options = self.options.updated(method="extensive", rel_gap=1e-9)
        return replace(result, provenance={**provenance(instance, options, 1), **result.provenance})


@dataclass
class Study:
    """Solves the variants of fleets, keeps instances and results in a folder, remembers what was solved."""

    solver: Solver
    folder: Path | None = None
    tell: Callable[[str], None] = print
    _known: dict[str, Result] = field(default_factory=dict)
    _truth: dict[str, Result] = field(default_factory=dict)

    def table(self, fleet: Instance, names: Sequence[str] = tuple(VARIANTS)) -> tuple[list[Row], dict[str, Schedule]]:
        """The variants of a fleet; beside the rows their schedules in terms of the fleet, where there are any."""
        return self.cell(fleet, names, "", np.nan)

    def sweep(self, fleet: Instance, name: str) -> list[Row]:
        """Baseline, joint and relaxation over one property of the fleet."""
        _, values, change = SWEEPS[name]
        unlimited_t = self.table(fleet, ("no-carbon",))[0][0].emissions_t if name == "budget" else 0.0
        if name == "routing":
            most = max(np.bincount(owner).max(initial=1) for owner in (fleet.arcs.stream, fleet.candidates.job))
            values = (*(v for v in values if v < most), float(most))
        rows = []
        for value in values:
            swept = change(fleet, value * unlimited_t if name == "budget" else value)
            rows += self.cell(swept, SWEPT, name, value)[0]
        return rows

    def cell(
        self, fleet: Instance, names: Sequence[str], sweep: str, value: float
    ) -> tuple[list[Row], dict[str, Schedule]]:
        """The variants of one fleet in the order of VARIANTS: a better schedule of a restriction is taken over."""
        rows: list[Row] = []
        found: dict[str, Schedule] = {}
        for name in (known for known in VARIANTS if known in names):
            variant = VARIANTS[name](fleet)
            key = variant.instance.content_hash()
            began, new, small = process_seconds(), key not in self._known, self.solver.small(fleet)
            if new:
                self._known[key] = self._solve(variant.instance, whole=bool(sweep) and small)
            spent, result = process_seconds() - began, self._known[key]
            narrower = [found[other] for other in NARROWER.get(name, ()) if other in found]
            result = self._known[key] = take_over(variant.instance, result, narrower)
            if small and key not in self._truth:
                self._truth[key] = result if sweep else self._solve(variant.instance, whole=True)
            rows.append(_row(fleet, variant, (sweep, value, name), result, self._truth.get(key), spent))
            if result.schedule is not None:
                found[name] = variant.lift(fleet, result.schedule)
            if self.folder is not None and new and result.schedule is not None:
                stem = name if not sweep else f"{sweep}-{value:g}-{name}"
                write_instance(self.folder / f"{stem}.h5", variant.instance)
                write_result(self.folder / f"{stem}-result.h5", result, variant.instance)
            self.tell(_said(rows[-1]))
        return rows, found

    def _solve(self, instance: Instance, whole: bool) -> Result:
        """By the extensive form or on all ranks; a restriction that leaves mandatory work no place is infeasible."""
        try:
            validate(instance)
        except InputError as error:
            return Result(Status.INFEASIBLE, np.inf, np.inf, None, None, provenance=dict(reason=str(error)))
        return self.solver.extensive(instance) if whole else self.solver(instance)


def _said(row: Row) -> str:
    where = f"{row.sweep} {row.value:g}, " if row.sweep else ""
    if not np.isfinite(row.benefit_usd):
        return f"{where}{row.variant}: no schedule that does what it must ({row.seconds:.0f} s)"
    over = f", {row.over_budget_t:,.2f} t above the budget" if row.over_budget_t else ""
    return f"{where}{row.variant}: {row.benefit_usd:,.0f} USD, gap {row.gap:.2e}{over} ({row.seconds:.0f} s)"


def take_over(instance: Instance, result: Result, narrower: Sequence[Schedule]) -> Result:
    """The result with a schedule of a restriction in place of its own where that is cheaper."""
    costs = [account(instance, schedule).net_cost for schedule in narrower]
    if min(costs, default=np.inf) >= result.incumbent:
        return result
    schedule = narrower[int(np.argmin(costs))]
    status = Status.GAP_REACHED if result.status is Status.GAP_REACHED else Status.LIMIT
    allowances = allot(instance, schedule, result.dual)
    return replace(result, schedule=schedule, incumbent=min(costs), status=status, allowances=allowances)


def _row(
    fleet: Instance, variant: Variant, key: tuple[str, float, str], result: Result, truth: Result | None, spent: float
) -> Row:
    """What the variant's schedule is worth to the fleet."""
    values: dict[str, Any] = dict.fromkeys((f.name for f in fields(Row)), np.nan)
    values |= dict(zip(("sweep", "value", "variant"), key, strict=True)) | dict(seconds=spent)
    if result.schedule is None or variant.work_left(result.schedule) > UNDONE_GPU:
        return Row(**{**values, "status": Status.INFEASIBLE.value, "accepted_jobs": 0, "rejected_jobs": 0})
    unlimited = np.isinf(fleet.carbon_excess_usd_per_t) or key[2] == "no-carbon"
    free = replace(fleet, carbon_budget_t=np.inf) if unlimited else fleet
    a = account(free, variant.lift(fleet, result.schedule))
    values |= {f.name: getattr(a, f.name) for f in fields(Totals)}
    emitted, constant = float(a.emissions_t.sum()), a.benefit + result.incumbent  # what the variant does not count
    over = emitted - fleet.carbon_budget_t
    values |= dict(
        status=result.status.value,
        benefit_usd=a.benefit,
        most_usd=constant - result.bound,
        gap=result.gap_abs / max(abs(a.benefit), 1.0),
        extensive_usd=np.nan if truth is None else constant - truth.incumbent,
        emissions_t=emitted,
        over_budget_t=over if key[2] != "no-carbon" and over > 1e-6 * max(1.0, fleet.carbon_budget_t) else 0.0,
    )
    return Row(**values)


# ---------------------------------------------------------------- sites


def site_benefit(fleet: Instance, schedule: Schedule) -> Array:
    """Benefit of each site (site,), USD: the work done there less its energy; unserved work belongs to no site."""
    n, jobs, arcs = fleet.n_sites, fleet.jobs, fleet.arcs
    benefit = -np.sum(list(site_costs(fleet, schedule).values()), axis=0)
    served = fleet.period_h * schedule.routed_gpu.sum(axis=1)
    benefit += np.bincount(arcs.site, (fleet.streams.revenue[arcs.stream] - arcs.cost) * served, minlength=n)
    ran = schedule.job_site >= 0
    worth = (jobs.value_usd - candidate_cost(fleet, schedule))[ran]
    return np.asarray(benefit + np.bincount(schedule.job_site[ran], worth, minlength=n))


def sites(fleet: Instance, found: dict[str, Schedule]) -> list[Site]:
    """Every site's local generation and its gain from joint scheduling over energy-only."""
    if not {"joint", "energy-only"} <= found.keys():
        return []
    s = fleet.sites
    gain = site_benefit(fleet, found["joint"]) - site_benefit(fleet, found["energy-only"])
    full = (s.pue * s.it_power_mw(s.capacity_gpu)).sum(axis=1)
    share = fleet.renewable_mw.sum(axis=1) / np.maximum(full, 1e-9)
    per_gpu = gain / np.maximum(s.capacity_gpu.mean(axis=1), 1e-9)
    columns = (s.name.tolist(), share.tolist(), gain.tolist(), per_gpu.tolist())
    return [Site(*row) for row in zip(*columns, strict=True)]


# ---------------------------------------------------------------- claims


def claims(rows: Sequence[Row], places: Sequence[Site]) -> list[Claim]:
    """The paper's claims beside what came out."""
    of = {row.variant: row for row in rows if np.isfinite(row.benefit_usd)}
    if "joint" not in of:
        return []
    found = [_several(of), _emissions(of), _routing(of), _battery(of), _budget(of)]
    return [claim for claim in [*found, _local(places)] if claim is not None]


def _outcome(whole: bool, direction: bool) -> str:
    return "reproduced" if whole else "direction only" if direction else "not reproduced"


def _several(of: dict[str, Row]) -> Claim | None:
    joint, others = of["joint"].benefit_usd, [of[name] for name in BASELINES if name in of]
    if not others:
        return None
    factor = {row.variant: joint / row.benefit_usd if row.benefit_usd > 0 else np.inf for row in others}
    said = [
        f"{row.variant} ×{factor[row.variant]:.2f}" if row.benefit_usd > 0 else f"{row.variant} loses money"
        for row in others
    ]
    said += [f"{row.variant} breaks the budget by {row.over_budget_t:,.1f} t" for row in others if row.over_budget_t]
    two = [factor[name] for name in ("compute-only", "energy-only") if name in factor]
    outcome = _outcome(bool(two) and min(two) >= 3.0, min(factor.values()) > 1.0)
    return Claim("Joint benefit is 3–4 times the baselines'", outcome, "joint over " + ", ".join(said))


def _emissions(of: dict[str, Row]) -> Claim | None:
    joint, others = of["joint"].emissions_t, [of[name] for name in ("compute-only", "energy-only") if name in of]
    if not others:
        return None
    change = [joint / row.emissions_t - 1.0 for row in others]
    said = ", ".join(f"{c:+.1%} against {row.variant}" for c, row in zip(change, others, strict=True))
    return Claim("Emissions fall by about 35 %", _outcome(max(change) <= -0.3, max(change) < 0.0), said)


def _loss(of: dict[str, Row], name: str) -> float:
    """Share of joint's benefit that is lost without a freedom."""
    joint = of["joint"].benefit_usd
    return (joint - of[name].benefit_usd) / max(abs(joint), 1.0) if name in of else np.nan


def _routing(of: dict[str, Row]) -> Claim | None:
    loss, battery = _loss(of, "no-routing"), _loss(of, "no-battery")
    if np.isnan(loss):
        return None
    outcome = _outcome(loss >= 0.05 and not loss < battery, loss > of["joint"].gap)
    return Claim("Routing is a major source of value", outcome, f"without it {loss:.1%} of the benefit is lost")


def _battery(of: dict[str, Row]) -> Claim | None:
    loss = _loss(of, "no-battery")
    if np.isnan(loss):
        return None
    outcome = _outcome(loss >= 0.01, loss > of["joint"].gap)
    return Claim("Batteries give useful flexibility", outcome, f"without them {loss:.1%} of the benefit is lost")


def _budget(of: dict[str, Row]) -> Claim | None:
    if "no-carbon" not in of:
        return None
    loss = -_loss(of, "no-carbon")
    emitted = of["no-carbon"].emissions_t / of["joint"].emissions_t - 1.0
    said = f"without it {loss:+.2%} benefit, {emitted:+.1%} emissions"
    return Claim("The budget binds weakly: no-carbon ≈ joint", _outcome(loss <= 0.01, loss <= 0.05), said)


def _local(places: Sequence[Site]) -> Claim | None:
    if len(places) < 3:
        return None
    share, gain = (np.array([getattr(p, name) for p in places]) for name in ("local_share", "gain_usd_per_gpu"))
    if not (np.ptp(share) > 0 and np.ptp(gain) > 0):
        return None
    rank = float(spearmanr(share, gain).statistic)
    cut = np.median(share)
    rich, poor = float(gain[share > cut].mean()), float(gain[share <= cut].mean())
    said = (
        f"gain over energy-only, USD per GPU: {rich:.2f} at the richer half, {poor:.2f} at the rest; rank correlation "
    )
    outcome = _outcome(rank >= 0.3 and rich > poor, rank > 0.0)
    return Claim("Sites rich in local generation gain most", outcome, f"{said}{rank:+.2f} over {len(places)} sites")
