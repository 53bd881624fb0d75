"""Where prices say little: free energy, export that pays more than import, sites without GPUs, power to be used."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import decomp
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.model.accounts import emissions_t
from decomp.model.instance import Instance
from decomp.model.options import Bundle, Options
from decomp.model.result import Iteration, Status
from decomp.ranks.mpi import Serial
from decomp.site.grid_ban import BannedAnswer, BannedSite
from decomp.solver.solve import solve
from decomp.state.solve_state import Hooks
from loops import loop_of
from tiny import plain

METHODS = ("lagrangian", "benders", "hybrid")
PRICE = 40 + 20 * np.sin(np.arange(6) / 6 * 2 * np.pi + np.arange(2)[:, None])


def pair(**sites: Any) -> Instance:
    """Two sites for six hours with three jobs and a stream that either may take."""
    return plain(sites=dict(buy_price=PRICE, sell_price=0.8 * PRICE, carbon_intensity=0.0) | sites)


@pytest.mark.parametrize("share", (0.0, 1e-6))
@pytest.mark.parametrize("free", (range(8), range(4)))
def test_bound_where_energy_is_free(share: float, free: range) -> None:
    """The loop goes on until the prices tell what scarce GPUs are worth, at all sites or at those without bills."""
    fleet = generate("fleet", sites=8, periods=24, jobs=16, seed=1)
    factor = np.where(np.isin(np.arange(8), free), share, 1.0)[:, None]
    buy, sell = fleet.sites.buy_price * factor, fleet.sites.sell_price * factor
    instance = replace(fleet, sites=replace(fleet.sites, buy_price=buy, sell_price=sell))
    relaxed = solve_extensive(instance, relax=True).bound
    loop = loop_of(instance, Bundle())
    for _ in range(100):
        if loop.iterate().converged(1e-4):
            break
    assert relaxed - 1e-3 * abs(relaxed) <= loop.centre.bound <= relaxed + 1e-6 * abs(relaxed)


@pytest.mark.parametrize("limit", (1e3, 1e6, 1e9))
def test_limits_beyond_all_use_weaken_no_bound(limit: float) -> None:
    """Selling above buying: without the ban on both at once the bound would be as low as the limits are wide."""
    instance = pair(sell_price=1.5 * PRICE, wind_mw=2.0, import_limit_mw=limit, export_limit_mw=limit)
    truth = solve_extensive(instance)
    result = decomp.solve(instance, method="lagrangian", improvement=dict(stale_finishes=1))
    assert result is not None and truth.incumbent == pytest.approx(-2216.94885, rel=1e-4)
    assert result.bound == pytest.approx(truth.incumbent, rel=0.04) and result.bound <= truth.incumbent
    assert result.incumbent == pytest.approx(truth.incumbent, rel=0.01)
    assert decomp.check(instance, result).findings == ()


@pytest.mark.parametrize("method", METHODS)
def test_sites_without_gpus(method: str) -> None:
    """All demand unserved, all jobs rejected; idle power is bought; no division by nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = decomp.solve(pair(capacity_gpu=0.0), method=method)
    assert result is not None and result.incumbent == pytest.approx(396.96) == result.bound


def wind(capacity: float, demand: float) -> Instance:
    """Wind of 1.8 MW that site a has to use: with 466.7 GPU, or more, at work."""
    instance = pair(
        wind_mw=np.array([[1.8], [0.3]]) * np.ones(6), curtailable=False, exact_power_curve=True, capacity_gpu=capacity
    )
    streams = replace(instance.streams, demand_rps=np.full((1, 6), demand))
    jobs = replace(instance.jobs, gpus=np.array([6.0, 5.0, 4.0]))
    return replace(instance, streams=streams, jobs=jobs)


@pytest.mark.parametrize("method", METHODS)
def test_power_that_must_be_used_needs_work(method: str) -> None:
    result = decomp.solve(wind(1000.0, 440.0), method=method)
    assert result is not None and result.status is Status.INFEASIBLE and result.status.exit_code == 4
    assert "site 'site0' has power that it cannot turn off" in str(result.provenance["reason"])
    assert decomp.check(wind(1000.0, 440.0), result).findings == ()


@pytest.mark.parametrize("method", METHODS)
def test_work_enough_for_power_that_must_be_used(method: str) -> None:
    instance = wind(1000.0, 470.0)
    truth, result = solve_extensive(instance), decomp.solve(instance, method=method, rel_gap=1e-3)
    assert result is not None and result.bound <= truth.incumbent + 1e-6 * abs(truth.incumbent)
    assert result.incumbent == pytest.approx(truth.incumbent, rel=0.01)


def test_benders_says_that_mandatory_work_has_no_place() -> None:
    instance = pair()
    jobs = replace(instance.jobs, gpus=np.full(3, 900.0), periods=np.full(3, 6), mandatory=np.ones(3, dtype=bool))
    result = decomp.solve(replace(instance, jobs=jobs), method="benders")
    assert result is not None and result.status is Status.INFEASIBLE
    assert "mandatory work" in str(result.provenance["reason"])


def test_no_place_for_whole_jobs_alone() -> None:
    """Spread over their starts the two jobs would take the wind in every hour; whole they leave two without."""
    instance = wind(1000.0, 0.0)
    jobs = instance.jobs.take(np.array([0, 1]))
    jobs = replace(jobs, gpus=np.array([900.0, 990.0]), periods=np.array([2, 2]), deadline=np.array([3, 6]))
    at_home = replace(instance.candidates.take(np.array([0, 2])), site=np.zeros(2, dtype=int))
    instance = replace(instance, jobs=jobs, candidates=at_home)
    result = decomp.solve(instance, method="hybrid")
    assert result is not None and result.status is Status.INFEASIBLE
    assert decomp.check(instance, result).findings == ()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_sold_where_there_is_nothing(method: str) -> None:
    """Rounding sells a billionth of a MW at prices of up to a million; that proves nobody wrong."""
    nothing = dict(capacity_gpu=0.0, power_intercept_mw=[[0.0]] * 2, wind_mw=0.0)
    instance = pair(**nothing, buy_price=9e5, sell_price=8e5, export_limit_mw=1e9, export_credit=0.5)
    result = decomp.solve(replace(instance, carbon_price_usd_per_t=500.0), method=method)
    assert result is not None and result.status is Status.GAP_REACHED
    assert result.incumbent == pytest.approx(6 * 70.0, abs=0.05) and result.bound <= result.incumbent
    assert decomp.check(replace(instance, carbon_price_usd_per_t=500.0), result).findings == ()


def credited() -> Instance:
    """Export is credited with more carbon than import is charged with, and the budget binds."""
    fleet = generate("fleet", sites=3, periods=8, jobs=3, seed=3)
    credit = np.full_like(fleet.sites.export_credit, 0.5)
    instance = replace(fleet, sites=replace(fleet.sites, export_credit=credit), carbon_budget_t=np.inf)
    free = solve_extensive(instance, rel_gap=1e-2)
    assert free.schedule is not None
    return replace(instance, carbon_budget_t=0.7 * float(emissions_t(instance, free.schedule).sum()))


def test_credits_are_not_made_by_importing_and_exporting_at_once() -> None:
    """The relaxation does half of each in every hour; the bound rests on answers that do not."""
    instance = credited()
    truth, relaxed = solve_extensive(instance, rel_gap=1e-4), solve_extensive(instance, relax=True)
    result = decomp.solve(instance, method="lagrangian", rel_gap=5e-3)
    assert result is not None and truth.bound <= truth.incumbent and result.bound <= truth.incumbent
    assert truth.bound - result.bound < 0.5 * (truth.bound - relaxed.bound)
    assert decomp.check(instance, result).findings == ()
    assert result.incumbent <= truth.incumbent + 5e-3 * abs(truth.incumbent)


def test_credits_make_no_fleet_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule of the fleet without them keeps the budget with them. It comes before MILPs of the bound."""
    instance, asked = credited(), list[str]()
    answer = BannedSite.answer

    def noted(self: BannedSite, *args: Any) -> BannedAnswer | None:
        asked.append("answer")
        return answer(self, *args)

    class Reader:
        def row(self, it: Iteration) -> None:
            asked.extend(["schedule"] if it.incumbent is not None else [])

    monkeypatch.setattr(BannedSite, "answer", noted)
    none = np.zeros_like(instance.sites.export_credit)
    few = Options.from_dict(dict(method="lagrangian", rel_gap=5e-3, improvement=dict(stale_finishes=1)))
    with Serial() as team:
        without = solve(replace(instance, sites=replace(instance.sites, export_credit=none)), team, few)
        result = solve(instance, team, few, hooks=Hooks(listeners=[Reader()]))
    assert without is not None and result is not None
    assert "answer" in asked and "schedule" in asked[: asked.index("answer")]
    assert result.incumbent <= without.incumbent + 1e-9 * abs(without.incumbent)
    assert decomp.check(instance, result).findings == ()
