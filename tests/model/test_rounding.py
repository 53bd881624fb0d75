"""What fits by rounding fits everywhere: in validation, every method, the extensive form and the certificate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import decomp
from decomp.certificate import terms
from decomp.extensive.pyomo_model import solve_extensive
from decomp.model.instance import InputError, Instance
from decomp.model.rounding import FIT, fits
from decomp.model.scenarios import with_scenarios
from decomp.model.validate import validate
from tiny import bare_sites

pytestmark = pytest.mark.slow

METHODS = ("lagrangian", "benders", "hybrid", "extensive")
PRICE = np.array([40.0, 60.0, 20.0, 80.0, 50.0, 30.0])


def site(capacity: float, gpus: float, mandatory: bool = True, second: float | None = None, **sites: Any) -> Instance:
    """One site, a job as large as it, beside it one as large as what another leaves, all the way; inference."""
    both = [gpus] if second is None else [gpus, second]
    unit = 1.0 / capacity
    power = dict(power_slope_mw_per_gpu=[[unit]], power_intercept_mw=0.1, pue=1.2, import_limit_mw=3.0)
    work: dict[str, Any] = dict(
        jobs=dict(gpus=both, periods=6, release=0, deadline=6, value_usd=900.0, mandatory=mandatory),
        candidates=dict(job=np.arange(len(both)), site=np.zeros(len(both), dtype=int)),
        streams=dict(demand_rps=np.full((1, 6), capacity), revenue=20.0 * unit, unserved_penalty=10.0 * unit),
    )
    price = dict(buy_price=PRICE[None, :], sell_price=0.8 * PRICE[None, :])
    return bare_sites(1, 6, capacity_gpu=capacity, **power | price | work | sites)


CASES = {
    "57 % of 100": site(100 * 0.57, 57.0),
    "optional": site(100 * 0.57, 57.0, mandatory=False),
    "a third of all": site(0.3, 0.1 + 0.2),
    "two that fill it": site(0.3, 0.1, second=0.2),
    "by the last of what may be": site(1e6, 1e6 * (1 + 0.9 * FIT)),
    "import just enough": site(0.3, 0.1 + 0.2, import_limit_mw=1.1, pue=1.0),
    "battery full in the end": site(
        *(1.0, 1.0),
        battery_mwh=0.3,
        battery_initial_mwh=0.1 + 0.2,
        battery_final_mwh=0.1 + 0.2,
        charge_mw=1.0,
        discharge_mw=1.0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_method_runs_what_fits(case: str) -> None:
    """Job, or jobs, fill the site: all inference stays unserved, and there is one schedule but for the battery."""
    instance = CASES[case]
    validate(instance)
    truth = solve_extensive(instance, rel_gap=1e-9)
    assert truth.schedule is not None and (truth.schedule.job_site == 0).all()
    for method in METHODS[:3]:
        result = decomp.solve(instance, method=method, rel_gap=1e-3, extensive_finish=dict(site_periods=0))
        assert result is not None and result.schedule is not None and (result.schedule.job_site == 0).all(), method
        assert result.incumbent == pytest.approx(truth.incumbent, rel=1e-5, abs=1e-3), method
        assert result.bound <= truth.incumbent + 1e-5 * max(1.0, abs(truth.incumbent)), method
        assert decomp.check(instance, result).findings == (), method
    assert decomp.check(instance, truth).findings == ()


def test_hard_work_at_its_full_rate_is_done() -> None:
    """Three tenths of 1e9 GPUs all day: rounding alone is more than a solver's tolerance."""
    work = 0.1 * 3 * 6 * 1e9 * (1 + 0.9 * FIT)
    instance = bare_sites(
        n_periods=6,
        capacity_gpu=1e9,
        power_slope_mw_per_gpu=[[1e-6]],
        power_intercept_mw=0.1,
        pue=1.2,
        import_limit_mw=1e4,
        buy_price=PRICE[None, :],
        pools=dict(work_gpu_h=[work], start=[0], end=[6]),
        pool_arcs=dict(pool=[0], site=[0], rate_gpu=[3e8]),
    )
    validate(instance)
    truth = 1.2 * (300.0 + 0.1) * PRICE.sum()
    for method in METHODS:
        result = decomp.solve(instance, method=method, extensive_finish=dict(site_periods=0))
        assert result is not None and result.incumbent == pytest.approx(truth, rel=1e-6), method
        assert decomp.check(instance, result).findings == (), method


def test_in_every_scenario() -> None:
    """A job of 57 in 57 % of 100 GPUs, also where another future has a little less or more of them."""
    fleet = site(100 * 0.57, 57.0)
    capacity = np.stack(
        [fleet.sites.capacity_gpu, fleet.sites.capacity_gpu * (1 - FIT / 2), fleet.sites.capacity_gpu + 1]
    )
    instance = with_scenarios(fleet, [0.5, 0.25, 0.25], dict(capacity_gpu=capacity))
    validate(instance)
    for method in ("lagrangian", "extensive"):
        result = decomp.solve(instance, method=method, rel_gap=1e-3)
        assert result is not None and result.schedule is not None and (result.schedule.job_site == 0).all(), method
        assert decomp.check(instance, result).findings == (), method


def test_more_than_rounding_does_not_fit() -> None:
    with pytest.raises(InputError, match="no candidate site has"):
        validate(site(1000.0, 1000.0 * (1 + 3 * FIT)))
    assert fits(np.array(0.1 + 0.2), np.array(0.3)) and not fits(np.array(0.3 + 1e-8), np.array(0.3))


def test_the_certificate_has_the_same_tolerance() -> None:
    assert terms.FIT == FIT
