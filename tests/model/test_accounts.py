"""Accounts of a schedule written by hand, every component with a number that can be checked on paper."""

from dataclasses import replace

import numpy as np
import pytest

from decomp.model.accounts import account, cvar, load_gpu
from decomp.model.instance import build_instance
from decomp.model.result import Schedule


@pytest.fixture
def instance():
    """Two sites, four half hours, one of everything."""
    return build_instance(
        2,
        4,
        0.5,
        sites=dict(
            capacity_gpu=100.0,
            power_slope_mw_per_gpu=[[0.01], [0.02]],
            power_intercept_mw=[[0.5], [0.0]],
            pue=[[1.5], [1.2]],
            import_limit_mw=10.0,
            export_limit_mw=10.0,
            buy_price=[[10.0, 20.0, 30.0, 40.0], [50.0, 50.0, 50.0, 50.0]],
            sell_price=5.0,
            demand_charge=[100.0, 0.0],
            peak_so_far_mw=[1.0, 0.0],
            carbon_intensity=[[0.4], [0.2]],
            export_credit=0.1,
            wind_mw=[[1.0], [0.0]],
            solar_mw=[[2.0], [0.0]],
            battery_mwh=[4.0, 0.0],
            charge_mw=2.0,
            discharge_mw=2.0,
            wear_usd_per_mwh=[8.0, 0.0],
        ),
        generators=dict(
            site=[1],
            p_min_mw=1.0,
            p_max_mw=3.0,
            fuel_usd_per_mwh=60.0,
            no_load_usd_per_h=7.0,
            start_usd=11.0,
            emission_t_per_mwh=0.5,
        ),
        streams=dict(demand_rps=[[10.0, 10.0, 10.0, 10.0]], gpu_per_rps=2.0, revenue=3.0, unserved_penalty=9.0),
        arcs=dict(stream=[0, 0], site=[0, 1], cost=[0.1, 0.4]),
        jobs=dict(gpus=[30.0, 50.0], periods=[2, 3], release=0, deadline=4, value_usd=[100.0, 200.0]),
        candidates=dict(job=[0, 0, 1], site=[0, 1, 0], cost_usd=[1.0, 2.0, 4.0]),
        pools=dict(work_gpu_h=[20.0], start=0, end=4, shortfall_penalty=6.0),
        pool_arcs=dict(pool=[0], site=[1], rate_gpu=40.0),
        carbon_budget_t=1.0,
        carbon_excess_usd_per_t=1000.0,
        carbon_price_usd_per_t=10.0,
    )


@pytest.fixture
def schedule():
    """A schedule for it; it need not be feasible, only countable."""
    return Schedule(
        routed_gpu=[[20.0, 10.0, 0.0, 0.0], [0.0, 10.0, 15.0, 20.0]],
        unserved_gpu=[[0.0, 0.0, 5.0, 0.0]],
        job_site=[1, -1],
        job_start=[2, -1],
        pool_gpu=[[10.0, 0.0, 0.0, 20.0]],
        pool_shortfall_gpu_h=[5.0],
        it_power_mw=[[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]],
        import_mw=[[0.0, 2.0, 3.0, 0.0], [1.0, 1.0, 1.0, 0.0]],
        export_mw=[[4.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]],
        renewable_mw=[[3.0, 2.0, 3.0, 3.0], [0.0, 0.0, 0.0, 0.0]],
        charge_mw=np.zeros((2, 4)),
        discharge_mw=[[1.0, 0.0, 0.0, 2.0], [0.0] * 4],
        stored_mwh=np.zeros((2, 5)),
        generation_mw=[[0.0, 1.5, 0.0, 3.0]],
        generator_on=[[False, True, False, True]],
    )


def test_components(instance, schedule):
    accounts = account(instance, schedule)
    emissions = 0.5 * (0.4 * 5 - 0.1 * 5 + 0.2 * 3 + 0.5 * 4.5)
    expected = dict(
        bought=0.5 * (20 * 2 + 30 * 3 + 50 * 3),
        sold=-0.5 * 5 * 5,
        demand_charge=100 * (3 - 1),
        wear=0.5 * 8 * 3,
        fuel=0.5 * 60 * 4.5,
        no_load=0.5 * 7 * 2,
        starts=11 * 2,
        routing=0.5 * (0.1 * 30 + 0.4 * 45),
        revenue=-0.5 * 3 * 75,
        unserved=0.5 * 9 * 5,
        job_value=-100,
        candidate_cost=2,
        shortfall=6 * 5,
        carbon_price=10 * emissions,
        carbon_excess=1000 * (emissions - 1.0),
    )
    assert accounts.components == pytest.approx(expected)
    assert accounts.net_cost == pytest.approx(sum(expected.values()))
    assert accounts.benefit == -accounts.net_cost


def test_totals(instance, schedule):
    accounts = account(instance, schedule)
    assert np.array_equal(accounts.load_gpu, [[20, 10, 0, 0], [10, 10, 45, 70]])
    assert np.array_equal(load_gpu(instance, schedule), accounts.load_gpu)
    assert accounts.facility_mw == pytest.approx(np.array([[1.5] * 4, [2.4] * 4]))
    assert accounts.emissions_t == pytest.approx([0.75, 0.3 + 0.5 * 0.5 * 4.5])
    assert accounts.peak_mw == pytest.approx([3, 1])
    assert (accounts.served_gpu_h, accounts.unserved_gpu_h) == pytest.approx((37.5, 2.5))
    assert (accounts.pool_gpu_h, accounts.shortfall_gpu_h) == pytest.approx((15, 5))
    assert (accounts.accepted_jobs, accounts.rejected_jobs) == (1, 1)
    assert (accounts.bought_mwh, accounts.sold_mwh) == pytest.approx((4, 2.5))
    assert (accounts.curtailed_mwh, accounts.generated_mwh) == pytest.approx((0.5, 2.25))
    assert (accounts.discharged_mwh, accounts.consumed_mwh) == pytest.approx((1.5, 0.5 * 4 * (1.5 + 2.4)))
    # site 0 exports 4 MW in period 0, more than its 3 MW of wind and sun: the rest came from the battery
    assert accounts.self_consumed_mwh == pytest.approx(0.5 * (0 + 2 + 3 + 2) + 0.5 * 4.5)


def test_hard_rows_cost_infinity(instance, schedule):
    hard = replace(instance, carbon_excess_usd_per_t=np.inf)
    assert account(hard, schedule).components["carbon_excess"] == np.inf
    roomy = replace(hard, carbon_budget_t=10.0)
    assert account(roomy, schedule).components["carbon_excess"] == 0
    must = replace(instance, pools=replace(instance.pools, shortfall_penalty=[np.inf]))
    assert account(must, schedule).components["shortfall"] == np.inf
    rounding = replace(schedule, pool_shortfall_gpu_h=[1e-9])
    assert account(must, rounding).components["shortfall"] == 0


def test_no_candidate_costs_infinity(instance, schedule):
    elsewhere = replace(schedule, job_site=[1, 1], job_start=[2, 0])
    assert account(instance, elsewhere).components["candidate_cost"] == np.inf


def test_generator_running_before_the_horizon_does_not_start(instance, schedule):
    warm = replace(instance, generators=replace(instance.generators, initial_mw=[2.0]))
    running = replace(schedule, generator_on=[[True, True, False, False]])
    assert account(warm, running).components["starts"] == 0
    assert account(instance, running).components["starts"] == 11


def test_the_worst_may_be_infinite() -> None:
    p = np.full(4, 0.25)
    assert cvar(np.array([1.0, np.inf, np.inf, 3.0]), p, 0.95) == np.inf
    assert cvar(np.array([-np.inf, 4.0, 2.0, 1.0]), p, 0.5) == 3.0
