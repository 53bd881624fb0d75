"""The certificate: schedule and bound of a result, re-proved from instance and result alone.

Shares no code with any solver of this package: it knows the data model, NumPy and SciPy.

Part A recomputes every equation of the model for the schedule, and its net cost. A row may be violated by
`TOLERANCE` = 1e-6 of its natural scale, never less than one unit (GPU, MW, MWh, GPU h, t, USD): capacity for
loads, the stream's demand in the period (C1), the work (C4), the site's largest device or full-load power for
(2)-(5), the battery's size or power (6), p_max (7), budget plus gross grid emissions (C3), and for the net
cost the larger of its value and a thousandth of its components' absolute sum. Integers are exact: starts,
sites, on/off, minimum times. "Not both at once" means that the smaller one is zero by that tolerance.
Periods in findings count from 0; for stored energy they name the period at whose end it is reached.

Part B recomputes the bound at the dual's prices. The closed-form terms are exact up to rounding. A site is
proved by its LP relaxation through a safe bound (any dual vector gives a valid one, rounding is subtracted),
and only if that stays below the claim by HiGHS's proven MIP bound; the latter is the one number that rests on
a solver's word, and on its tolerances (1e-6 on integrality and rows). A site's claim is accepted within
1e-6 max(1 USD, |claim|, a thousandth of what full load would be paid), the fleet's likewise with the absolute
sum of its terms. Every claimed `site_lower` must be re-proved, even if the sum would do without it.

A result without a dual (extensive form) has no multipliers to prove anything with. A small one is put to the
certificate's own model of the whole fleet, which must not have anything cheaper than the claim. A larger one is "not
re-proved" and the certificate is not ok, unless only the schedule was asked for (`bound=False`). The same holds where
the time is over or HiGHS gives up: such a finding is `undecided`, and if all are, the verdict is not "rejected".
HiGHS's point is something cheaper only if its integers allow it: where duals prove that they do not, the point rests on
HiGHS's tolerances, and what else there is is asked for.

A result that says "infeasible" has neither schedule nor bound. Its multipliers have to prove, in the same way, that
the instance without money would cost something; a site of which not even a dispatch exists is proved by a dual ray.
Without multipliers (extensive form) the whole fleet's model must have no point: by its relaxation, or by HiGHS's word.

Allowances, where a result has them: no site emits more than its own, they sum to at most the budget and the
excess that is paid for, and the price of abatement is that of the dual. They belong to the schedule's part.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from decomp.certificate.bound import UNPROVED, BoundProof, prove_bound
from decomp.certificate.findings import TOLERANCE, Finding, Findings, verdict_of
from decomp.certificate.fleet import prove_empty, prove_whole
from decomp.certificate.ray import prove_ray
from decomp.certificate.scenarios import check_scenarios, name_ends, names_of, row_weights, sizes_of
from decomp.certificate.schedule import Account, check_allowances, check_schedule, worth_of_units
from decomp.model.instance import InputError, Instance
from decomp.model.result import Result, Status

__all__ = ["TOLERANCE", "Certificate", "Finding", "check"]


@dataclass(frozen=True)
class Certificate:
    """What was re-proved. USD and t CO2; NaN or -inf where nothing could be computed.

    Attributes
    ----------
    ok : nothing to object to, in the parts asked for.
    schedule_ok, bound_ok : the two parts; bound_ok is None if the bound was not asked for.
    findings : every objection, worst places first within a rule.
    cost, emissions_t, components : recomputed from the schedule.
    certified_bound : own lower bound at the result's prices, from own site bounds.
    claimed_bound, incumbent : as the result states them.
    sites_lp, sites_milp : sites whose bound was proved by LP duals, by MILP.
    excess : of an infeasible result: by how much every schedule misses a limit (t if the budget has a part in it).
    sites_unproved : names of the sites whose claimed lower bound was not re-proved.
    """

    schedule_ok: bool
    bound_ok: bool | None
    findings: tuple[Finding, ...]
    cost: float
    emissions_t: float
    components: dict[str, float]
    claimed_bound: float
    incumbent: float
    certified_bound: float
    excess: float = np.nan
    sites_lp: int = 0
    sites_milp: int = 0
    sites_unproved: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.schedule_ok and self.bound_ok is not False

    @property
    def verdict(self) -> str:
        """See `verdict_of`."""
        return verdict_of(self.findings)

    @property
    def gap_rel(self) -> float:
        """(cost - certified bound) / max(abs(cost), 1 USD), both recomputed."""
        return (self.cost - self.certified_bound) / max(abs(self.cost), 1.0)

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        own = {"ok": self.ok, "verdict": self.verdict, "gap_rel": self.gap_rel}
        return {**own, **asdict(self), "findings": [str(f) for f in self.findings]}


def check(
    instance: Instance, result: Result, *, bound: bool = True, jobs: int = 1, seconds: float = 60.0
) -> Certificate:
    """Re-prove schedule and bound of a result, from these two alone.

    Parameters
    ----------
    instance : taken as it is; reading one validates it.
    result : what a solve, or anybody else, claims about it.
    bound : also re-prove the bound; False accepts the schedule alone.
    jobs : processes that share the sites (spawned, so call from under `if __name__ == "__main__"`).
    seconds : time limit of one site's proof, or of the whole fleet's if no multipliers prove the bound.

    Returns
    -------
    The certificate; what is wrong is a finding in it, not an exception.

    Raises
    ------
    InputError : `jobs` or `seconds` cannot be.
    """
    if not seconds >= 0:
        raise InputError(f"seconds: {seconds}, must be a number of at least 0")
    if not (isinstance(jobs, int) and jobs >= 1):
        raise InputError(f"jobs: {jobs}, must be an integer of at least 1")
    findings = Findings(instance)
    findings.names = names_of(instance, findings.names)
    stored, own = _stated(result).get("instance_hash"), instance.content_hash()
    if stored != own:
        findings.add("instance hash", "", str(stored), own)
    if result.status is Status.INFEASIBLE:
        return _check_infeasible(instance, result, findings, jobs, seconds)
    account = None
    if result.schedule is None:
        findings.add("schedule", "", "none in the result", "there", undecided=_claims_none(result))
    else:
        judge = check_scenarios if instance.n_scenarios else check_schedule
        account = judge(instance, result.schedule, findings)
        _check_cost(result, account, findings)
    if result.allowances is not None and findings.well_formed("allowances", result.allowances, sizes_of(instance)):
        allowed = row_weights(instance) * result.allowances.allowance_t
        weighted = replace(result.allowances, allowance_t=allowed)
        check_allowances(instance, weighted, result.dual, account, findings)
    schedule_findings = len(findings.items)
    proof = UNPROVED
    if bound:
        _check_claims(result, findings)
        if result.dual is not None and result.dual.form != "whole":
            proof = prove_bound(instance, result.dual, findings, jobs=jobs, seconds=seconds)
        else:
            proof = prove_whole(instance, result.bound, findings, seconds=seconds)
        if proof is not UNPROVED:
            _check_bound(instance, result, proof, account, findings)
    return Certificate(
        schedule_ok=schedule_findings == 0,
        bound_ok=len(findings.items) == schedule_findings if bound else None,
        findings=tuple(findings.items),
        cost=account.cost if account else np.nan,
        emissions_t=account.emissions_t if account else np.nan,
        components=account.components if account else {},
        claimed_bound=float(result.bound),
        incumbent=float(result.incumbent),
        certified_bound=proof.bound,
        **_by_site(instance, proof),
    )


def _check_infeasible(instance: Instance, result: Result, findings: Findings, jobs: int, seconds: float) -> Certificate:
    """Nothing but the proof that there is no schedule; there must not be one beside it."""
    if result.schedule is not None or np.isfinite(result.incumbent):
        findings.add("schedule", "", "in the result", "absent, as there is none")
    proof = UNPROVED
    if result.ray is not None:
        proof = prove_ray(instance, result.ray, findings, jobs=jobs, seconds=seconds)
    else:
        prove_empty(instance, findings, seconds=seconds)
    return Certificate(
        schedule_ok=not findings.items,
        bound_ok=not findings.items,
        findings=tuple(findings.items),
        cost=np.nan,
        emissions_t=np.nan,
        components={},
        claimed_bound=float(result.bound),
        incumbent=float(result.incumbent),
        certified_bound=np.inf if not findings.items else -np.inf,
        excess=proof.bound if result.ray is not None else np.nan,
        **_by_site(instance, proof),
    )


def _by_site(instance: Instance, proof: BoundProof) -> dict[str, Any]:
    sites = [(site.method, site.proved) for site in proof.sites]
    names = [f"{site}{end}" for end in name_ends(instance) for site in instance.sites.name]
    return dict(
        sites_lp=sites.count(("LP", True)),
        sites_milp=sites.count(("MILP", True)),
        sites_unproved=tuple(names[i] for i, (_, proved) in enumerate(sites) if not proved),
    )


def _check_cost(result: Result, account: Account | None, findings: Findings) -> None:
    """The incumbent is the schedule's true net cost."""
    if account is not None and not abs(account.cost - result.incumbent) <= TOLERANCE * account.scale:
        findings.add("net cost", "incumbent", float(result.incumbent), f"{account.cost:.9g} USD")


def _check_claims(result: Result, findings: Findings) -> None:
    """Bound, incumbent and gaps are finite and fit together, now and in every line of the log."""
    for name in ("bound",) if result.schedule is None else ("bound", "incumbent", "gap_abs", "gap_rel"):
        value = float(getattr(result, name))
        if not np.isfinite(value):
            findings.add(f"result.{name}", "", value, "finite", undecided=value == -np.inf and _claims_none(result))
            continue
        stated = _stated(result).get(name, value)
        slack = TOLERANCE * max(1e-3 if name == "gap_rel" else 1.0, abs(value))
        if not (isinstance(stated, int | float) and abs(stated - value) <= slack):
            findings.add(f"stated {name}", "", str(stated), f"{value:.9g}")
    slack = TOLERANCE * max(1.0, abs(result.incumbent)) if np.isfinite(result.incumbent) else 0.0
    if result.bound > result.incumbent + slack:
        findings.add("bound", "claimed", float(result.bound), f"at most the incumbent {result.incumbent:.9g} USD")
    options = _stated(result).get("options")
    asked = options.get("rel_gap") if isinstance(options, dict) else None
    if result.status is Status.GAP_REACHED and isinstance(asked, int | float) and result.gap_rel > asked + TOLERANCE:
        findings.add("status", "gap reached", f"{result.gap_rel:.6g}", f"at most {asked:.6g}, the gap asked for")
    for line in result.log:
        if line.incumbent is not None and line.bound > line.incumbent + slack:
            findings.add("log", f"iteration {line.iteration}", line.bound, f"at most {line.incumbent:.9g} USD")


def _claims_none(result: Result) -> bool:
    """Whether a result says that its time was over before there was a schedule."""
    return result.status is Status.LIMIT and result.schedule is None and result.incumbent == np.inf


def _stated(result: Result) -> dict[str, Any]:
    """What the result says of itself; a file may say anything."""
    return result.provenance if isinstance(result.provenance, dict) else {}


def _check_bound(
    instance: Instance, result: Result, proof: BoundProof, account: Account | None, findings: Findings
) -> None:
    """The claimed bound is covered by the certified one, and that one by the schedule, its rows' tolerance included."""
    slack = TOLERANCE * proof.scale
    if not result.bound <= proof.bound + slack:
        findings.add("bound", "claimed", float(result.bound), f"at most {proof.bound:.9g} USD, what its prices prove")
    if account is not None and proof.bound > account.cost + max(slack, TOLERANCE * worth_of_units(instance)):
        right = f"at least the certified bound {proof.bound:.9g} USD: schedule or prices are wrong"
        findings.add("net cost", "schedule", account.cost, right)
