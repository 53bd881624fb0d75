"""The extensive form against numbers worked out on paper, one test or more for every equation."""

import time
from dataclasses import replace

import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive.by_highs import solve
from decomp.extensive.matrices import start_vector, to_schedule
from decomp.extensive.pyomo_model import build, solve_extensive
from decomp.extensive.reductions import battery_ban_is_redundant, grid_ban_is_redundant, start_allowed, untangle
from decomp.families import generate
from decomp.model.accounts import account
from decomp.model.instance import InputError
from decomp.model.result import Status
from tiny import bare_sites, plain


def one_site(n_periods=1, need_mw=0.0, **changes):
    """One site that must power `need_mw` (period) of inference; a GPU takes 0.01 MW, nothing is free of charge."""
    demand = np.broadcast_to(np.asarray(need_mw) * 100.0, (1, n_periods))
    return bare_sites(1, n_periods, **dict(streams=dict(demand_rps=demand, unserved_penalty=1e5)) | changes)


def optimum(instance, **options):
    """Solve, check everything that must hold of any optimum, return cost and schedule."""
    result = solve_extensive(instance, **options)
    assert result.status == Status.GAP_REACHED, result.provenance
    assert result.bound <= result.incumbent <= result.bound + 1e-6 * max(1, abs(result.incumbent))
    form = build(instance)
    x = start_vector(form, result.schedule)
    assert form.violation(x)[0] <= 1e-7
    assert form.objective(x) == pytest.approx(result.incumbent, rel=1e-6, abs=1e-6)
    assert account(instance, result.schedule).net_cost == result.incumbent
    assert not {f.rule for f in check(instance, result, bound=False).findings}
    return result.incumbent, result.schedule


def cost(instance):
    return pytest.approx(optimum(instance)[0], abs=1e-5)


# ---------------------------------------------------------------- (1)-(4) load, power, balance


def test_capacity_leaves_demand_unserved():
    streams = dict(demand_rps=[[60.0]], gpu_per_rps=2.0, revenue=1.0, unserved_penalty=3.0)
    net_cost, schedule = optimum(one_site(streams=streams, capacity_gpu=100.0))
    assert schedule.unserved_gpu == pytest.approx(np.array([[20.0]]))
    assert net_cost == pytest.approx(10 * 1.0 - 100 * 1.0 + 20 * 3.0)


def test_power_curve_and_pue():
    curve = dict(power_slope_mw_per_gpu=[[0.01, 0.02]], power_intercept_mw=[[0.5, 0.0]])
    assert cost(one_site(need_mw=0.3, pue=1.5, **curve)) == 10 * 1.5 * 0.8  # first segment: 30 GPUs
    assert cost(one_site(need_mw=1.0, pue=1.5, **curve)) == 10 * 1.5 * 2.0  # second: 100 GPUs


def test_negative_price_burns_power_up_to_the_curve_at_full_load():
    curve = dict(power_slope_mw_per_gpu=[[0.01, 0.02]], power_intercept_mw=[[0.5, 0.0]], capacity_gpu=200.0)
    burning = one_site(need_mw=1.0, buy_price=-10.0, **curve)
    assert cost(burning) == -10 * 4.0
    exact = replace(burning, sites=replace(burning.sites, exact_power_curve=[True]))
    net_cost, schedule = optimum(exact)
    assert net_cost == pytest.approx(-10 * 2.0)
    assert schedule.it_power_mw == pytest.approx(np.array([[2.0]]))


def test_curtailment():
    windy = dict(need_mw=1.0, wind_mw=3.0, solar_mw=2.0)
    net_cost, schedule = optimum(one_site(**windy))
    assert (net_cost, schedule.renewable_mw[0, 0]) == pytest.approx((0.0, 1.0))
    stuck = windy | dict(curtailable=False, exact_power_curve=True)
    assert solve_extensive(one_site(**stuck)).status == Status.INFEASIBLE
    assert cost(one_site(**stuck, export_limit_mw=4.0, sell_price=-2.0)) == 8.0


# ---------------------------------------------------------------- (5) grid


def test_import_limit_and_export():
    assert cost(one_site(need_mw=1.0, import_limit_mw=0.6)) == 10 * 0.6 + 1e5 * 40
    assert cost(one_site(need_mw=1.0, wind_mw=5.0, export_limit_mw=3.0, sell_price=7.0)) == -21.0


@pytest.mark.parametrize("relax", [False, True])
def test_no_import_and_export_at_once(relax):
    instance = one_site(need_mw=1.0, buy_price=10.0, sell_price=30.0, export_limit_mw=5.0)
    assert not grid_ban_is_redundant(instance).any()
    # relaxed, too: without a surplus of its own the site has nothing to sell
    assert solve_extensive(instance, relax=relax).bound == pytest.approx(10.0)


def test_credit_for_export_keeps_the_ban():
    """Exporting cleaner than importing would wash emissions even though it loses money."""
    instance = one_site(
        need_mw=1.0,
        sell_price=9.0,
        export_limit_mw=5.0,
        carbon_intensity=0.1,
        export_credit=0.5,
        carbon_budget_t=0.0,
        carbon_excess_usd_per_t=1000.0,
    )
    assert not grid_ban_is_redundant(instance).any()
    assert cost(instance) == 10 + 100


# ---------------------------------------------------------------- (6) battery

BATTERY = dict(
    battery_mwh=1.0, charge_mw=5.0, discharge_mw=5.0, charge_efficiency=0.8, discharge_efficiency=0.8, sell_price=100.0
)


def test_battery_arbitrage():
    instance = one_site(2, export_limit_mw=5.0, buy_price=[[10.0, 100.0]], wear_usd_per_mwh=5.0, **BATTERY)
    instance = replace(instance, sites=replace(instance.sites, sell_price=[[0.0, 100.0]]))
    net_cost, schedule = optimum(instance)
    assert net_cost == pytest.approx(12.5 - 0.8 * (100 - 5))  # store 1 MWh from 1.25, sell 0.8
    assert schedule.stored_mwh == pytest.approx(np.array([[0.0, 1.0, 0.0]]))


def test_battery_final_energy_self_discharge_and_half_hours():
    instance = one_site(
        4,
        period_h=0.5,
        battery_initial_mwh=1.0,
        battery_final_mwh=1.0,
        self_discharge_per_h=0.19,
        **BATTERY | dict(sell_price=0.0, battery_mwh=2.0),
    )
    net_cost, schedule = optimum(instance)
    # cheapest is to wait: 0.9 is kept per half hour, so 1 MWh falls to 0.9^3 before the last charge
    assert net_cost == pytest.approx(10 * (1 - 0.9**4) / 0.8)
    assert schedule.charge_mw[0, 3] == pytest.approx((1 - 0.9**4) / 0.8 / 0.5)


def test_battery_floor_and_power_limit():
    instance = one_site(2, need_mw=[0.0, 2.0], buy_price=[[10.0, 50.0]], **BATTERY | dict(charge_efficiency=1.0))
    sites = replace(
        instance.sites, battery_mwh=[9.0], battery_min_mwh=[1.0], battery_initial_mwh=[1.0], charge_mw=[1.0]
    )
    net_cost, schedule = optimum(replace(instance, sites=sites))
    assert net_cost == pytest.approx(10 * 1.0 + 50 * (2.0 - 0.8))
    assert schedule.stored_mwh == pytest.approx(np.array([[1.0, 2.0, 1.0]]))


def test_no_charge_and_discharge_at_once():
    """At a negative price, burning power in the battery would pay; only filling it is allowed."""
    instance = one_site(buy_price=-10.0, exact_power_curve=True, battery_initial_mwh=0.5, **BATTERY)
    assert not battery_ban_is_redundant(instance).any()
    assert cost(instance) == -10 * 0.5 / 0.8


def test_battery_ban_is_kept_before_a_negative_price_and_with_generators():
    prices = dict(buy_price=[[10.0, -1.0, 10.0]], **BATTERY)
    assert battery_ban_is_redundant(one_site(3, **prices)).tolist() == [[False, False, True]]
    generators = dict(site=[0], p_min_mw=0.0, p_max_mw=1.0, fuel_usd_per_mwh=1.0)
    assert not battery_ban_is_redundant(one_site(3, generators=generators, **prices)).any()
    stuck = one_site(3, wind_mw=1.0, curtailable=False, **BATTERY)
    assert not battery_ban_is_redundant(stuck).any()
    assert battery_ban_is_redundant(one_site(3)).all()


# ---------------------------------------------------------------- (7) generators


def generator(**settings):
    return dict(site=[0], p_min_mw=1.0, p_max_mw=4.0, fuel_usd_per_mwh=50.0) | settings


def test_generator_costs():
    instance = one_site(need_mw=3.0, buy_price=100.0, generators=generator(no_load_usd_per_h=7.0, start_usd=30.0))
    assert cost(instance) == 3 * 50 + 7 + 30
    assert cost(one_site(need_mw=3.0, buy_price=100.0, generators=generator(start_usd=200.0))) == 300
    assert cost(one_site(need_mw=0.5, buy_price=90.0, generators=generator(p_min_mw=1.0))) == 45  # cannot run that low


def test_minimum_up_time():
    spike = dict(need_mw=1.0, buy_price=[[10.0, 200.0, 10.0, 10.0]])
    assert cost(one_site(4, **spike, generators=generator())) == 80
    assert cost(one_site(4, **spike, generators=generator(min_up_periods=3))) == 160
    assert cost(one_site(4, **spike, generators=generator(min_up_periods=3, fuel_usd_per_mwh=90.0))) == 230


def test_minimum_down_time():
    dip = dict(need_mw=1.0, buy_price=[[100.0, 10.0, 100.0, 100.0]], generators=generator(initial_mw=1.0))
    assert cost(one_site(4, **dip)) == 160
    dip["generators"]["min_down_periods"] = 2
    assert cost(one_site(4, **dip)) == 200  # 50 for all; or off from 1 to 2: 50 + 10 + 100 + 50


def test_state_before_the_horizon():
    on = generator(initial_mw=2.0, initial_periods=1, min_up_periods=3)
    net_cost, schedule = optimum(one_site(4, need_mw=1.0, generators=on))
    assert (net_cost, schedule.generator_on.tolist()) == (pytest.approx(120), [[True, True, False, False]])
    off = generator(initial_periods=1, min_down_periods=3)
    net_cost, schedule = optimum(one_site(4, need_mw=1.0, buy_price=100.0, generators=off))
    assert (net_cost, schedule.generator_on.tolist()) == (pytest.approx(300), [[False, False, True, True]])


@pytest.mark.parametrize("period_h", [1.0, 0.5])
def test_ramps(period_h):
    rate = 1.0 / period_h
    up = generator(ramp_up_mw_per_h=rate, fuel_usd_per_mwh=10.0)
    net_cost, schedule = optimum(one_site(4, need_mw=4.0, period_h=period_h, buy_price=100.0, generators=up))
    assert schedule.generation_mw == pytest.approx(np.array([[1.0, 2.0, 3.0, 4.0]]))
    assert net_cost == pytest.approx(700 * period_h)
    down = generator(ramp_down_mw_per_h=rate, fuel_usd_per_mwh=100.0, initial_mw=4.0)
    net_cost, schedule = optimum(one_site(4, need_mw=4.0, period_h=period_h, generators=down))
    assert schedule.generation_mw == pytest.approx(np.array([[3.0, 2.0, 1.0, 0.0]]))
    assert net_cost == pytest.approx(700 * period_h)


def test_start_below_the_ramp_reaches_minimum_output():
    slow = generator(ramp_up_mw_per_h=0.5, fuel_usd_per_mwh=10.0)
    _, schedule = optimum(one_site(3, need_mw=4.0, buy_price=100.0, generators=slow))
    assert schedule.generation_mw == pytest.approx(np.array([[1.0, 1.5, 2.0]]))


# ---------------------------------------------------------------- (8), (9), (C3) peak and carbon


def test_demand_charge_counts_only_what_exceeds_the_peak_so_far():
    peaky = dict(need_mw=[1.0, 3.0], demand_charge=100.0)
    assert cost(one_site(2, **peaky)) == 40 + 300
    assert cost(one_site(2, **peaky, peak_so_far_mw=2.0)) == 40 + 100
    assert cost(one_site(2, **peaky, peak_so_far_mw=5.0)) == 40
    battery = dict(battery_mwh=9.0, charge_mw=9.0, discharge_mw=9.0, charge_efficiency=1.0, discharge_efficiency=1.0)
    assert cost(one_site(2, **peaky, **battery)) == 40 + 200  # shaved to two and two


def test_emissions_and_carbon_price():
    clean = generator(emission_t_per_mwh=0.2)
    instance = one_site(2, need_mw=2.0, carbon_intensity=[[0.1, 0.9]], carbon_price_usd_per_t=100.0, generators=clean)
    net_cost, schedule = optimum(instance)
    assert net_cost == pytest.approx(2 * (10 + 10) + 2 * (50 + 20))
    assert account(instance, schedule).emissions_t == pytest.approx([0.2 + 0.4])


def carbon(**settings):
    """2 MW for an hour: 10 USD and 1 t per MWh from the grid, 50 USD and none from the generator."""
    return one_site(need_mw=2.0, carbon_intensity=1.0, generators=generator(p_min_mw=0.0), **settings)


def test_hard_and_priced_carbon_budget():
    assert cost(carbon()) == 20
    assert cost(carbon(carbon_budget_t=0.5)) == 0.5 * 10 + 1.5 * 50
    assert cost(carbon(carbon_budget_t=0.5, carbon_excess_usd_per_t=30.0)) == 20 + 1.5 * 30
    assert cost(carbon(carbon_budget_t=0.5, carbon_excess_usd_per_t=60.0)) == 0.5 * 10 + 1.5 * 50
    stuck = one_site(need_mw=1.0, carbon_intensity=1.0, curtailable=False, carbon_budget_t=-1.0)
    assert solve_extensive(stuck).status == Status.INFEASIBLE


def test_relaxation_prices_carbon():
    result = solve_extensive(carbon(carbon_budget_t=0.5), relax=True)
    assert result.provenance["lp_objective"] == pytest.approx(80)
    assert result.bound == pytest.approx(80)
    assert result.provenance["lp_carbon_price"] == pytest.approx(40)
    assert result.dual.carbon_price == pytest.approx(40)
    assert result.dual.load_price == pytest.approx(np.array([[0.5]]))  # 50 USD/MWh and 100 GPUs a MW
    assert (result.schedule, result.incumbent) == (None, np.inf)
    slack = solve_extensive(carbon(carbon_budget_t=5.0), relax=True)
    assert slack.provenance["lp_carbon_price"] == 0


# ---------------------------------------------------------------- (C1), (C2), (C4) work


def two_sites(**tables):
    """Two sites of 100 GPUs for three hours: power at 10 and at 40 USD/MWh, 0.01 MW a GPU."""
    return bare_sites(2, 3, capacity_gpu=100.0, import_limit_mw=9.0, buy_price=[[10.0], [40.0]], **tables)


def test_streams_take_the_cheapest_way():
    streams = dict(demand_rps=[[50.0, 100.0, 150.0]], revenue=1.0, unserved_penalty=2.0)
    far = two_sites(streams=streams, arcs=dict(stream=[0, 0], site=[0, 1], cost=[0.2, 0.0]))
    net_cost, schedule = optimum(far)
    # site 0: 0.2 + 0.1, site 1: 0.4 per GPU h
    assert schedule.routed_gpu == pytest.approx(np.array([[50, 100, 100], [0, 0, 50]], dtype=float))
    assert net_cost == pytest.approx(250 * 0.3 + 50 * 0.4 - 300)
    near = two_sites(streams=streams, arcs=dict(stream=[0, 0], site=[0, 1], cost=[0.4, 0.0]))
    assert optimum(near)[1].routed_gpu == pytest.approx(np.array([[0, 0, 50], [50, 100, 100]], dtype=float))


def one_job(gpus=80.0, **settings):
    jobs = dict(gpus=[gpus], periods=2, release=0, deadline=3, value_usd=100.0) | settings
    return two_sites(jobs=jobs, candidates=dict(job=[0, 0], site=[0, 1], cost_usd=[50.0, 0.0]))


def test_job_weighs_site_cost_and_power():
    net_cost, schedule = optimum(one_job())
    assert schedule.job_site.tolist() == [1]
    assert net_cost == pytest.approx(64 - 100)  # 1.6 MWh at 40 beats 50 USD of moving and 1.6 MWh at 10


def test_job_is_rejected_unless_mandatory():
    _, schedule = optimum(one_job(value_usd=60.0))
    assert (schedule.job_site.tolist(), schedule.job_start.tolist()) == ([-1], [-1])
    assert cost(one_job(value_usd=60.0, mandatory=True)) == 64 - 60
    assert cost(one_job(gpus=101.0)) == 0  # larger than either site
    assert solve_extensive(one_job(gpus=101.0, mandatory=True)).status == Status.INFEASIBLE


def test_job_keeps_its_window_and_runs_unbroken():
    instance = one_job()
    assert start_allowed(instance).tolist() == [[True, True, False]] * 2
    late = one_job(release=1)
    assert start_allowed(late).tolist() == [[False, True, False]] * 2
    assert start_allowed(one_job(deadline=2)).tolist() == [[True, False, False]] * 2
    capacity = [[100.0, 70.0, 100.0], [100.0, 80.0, 70.0]]
    outage = replace(instance, sites=replace(instance.sites, capacity_gpu=capacity))
    assert start_allowed(outage).tolist() == [[False] * 3, [True, False, False]]
    _, schedule = optimum(outage)
    assert (schedule.job_site.tolist(), schedule.job_start.tolist()) == ([1], [0])
    assert not start_allowed(one_job(periods=4)).any()


def test_job_starts_when_power_is_cheap():
    jobs = dict(gpus=[100.0], periods=2, release=1, deadline=5, value_usd=1e3)
    prices = [[0.0, 50.0, 30.0, 10.0, 20.0, 0.0]]
    instance = one_site(6, buy_price=prices, jobs=jobs, candidates=dict(job=[0], site=[0]))
    net_cost, schedule = optimum(instance)
    assert (net_cost, schedule.job_start[0]) == (pytest.approx(30 - 1e3), 3)


def test_jobs_share_a_site():
    jobs = dict(gpus=[60.0, 60.0], periods=2, release=0, deadline=3, value_usd=100.0)
    instance = two_sites(jobs=jobs, candidates=dict(job=[0, 1], site=[0, 0]))
    assert cost(instance) == 12 - 100  # 120 GPUs do not fit at once, and 3 periods hold one run of 2


def pool(**settings):
    arcs = settings.pop("pool_arcs", dict(pool=[0], site=[0], rate_gpu=60.0))
    return dict(pools=dict(work_gpu_h=[100.0], start=0, end=3) | settings, pool_arcs=arcs)


def test_pool_fills_the_cheapest_periods_of_its_window():
    prices = dict(buy_price=[[30.0, 10.0, 20.0, 0.0]])
    net_cost, schedule = optimum(one_site(4, **prices, **pool()))
    assert schedule.pool_gpu == pytest.approx(np.array([[0.0, 60.0, 40.0, 0.0]]))
    assert net_cost == pytest.approx(0.6 * 10 + 0.4 * 20)
    assert cost(one_site(4, **prices, **pool(start=2, end=4))) == 0.4 * 20


def test_pool_over_several_sites():
    both = pool(work_gpu_h=[200.0], pool_arcs=dict(pool=[0, 0], site=[0, 1], rate_gpu=[50.0, 80.0]))
    net_cost, schedule = optimum(two_sites(**both))
    assert net_cost == pytest.approx(1.5 * 10 + 0.5 * 40)
    assert schedule.pool_gpu.sum(axis=1) == pytest.approx([150, 50])


def test_pool_shortfall():
    assert cost(two_sites(**pool(work_gpu_h=[200.0], shortfall_penalty=3.0))) == 1.8 * 10 + 20 * 3
    assert cost(two_sites(**pool(shortfall_penalty=0.05))) == 100 * 0.05
    assert solve_extensive(two_sites(**pool(work_gpu_h=[200.0]))).status == Status.INFEASIBLE


# ---------------------------------------------------------------- reductions, relaxation, starts, limits

SEEDS = range(7)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_optimal_without_redundant_bans_keeps_them(seed):
    """The model leaves them out, the certificate does not: what costs the bound and keeps them is optimal."""
    instance = generate("small", seed=seed)
    assert grid_ban_is_redundant(instance).any() or battery_ban_is_redundant(instance).any()
    optimum(instance, time_limit=600)


@pytest.mark.parametrize("seed", SEEDS)
def test_relaxation_is_a_bound_that_its_duals_prove(seed):
    instance = generate("small", seed=seed)
    relaxed = solve_extensive(instance, relax=True)
    assert relaxed.bound == pytest.approx(relaxed.provenance["lp_objective"], rel=1e-7, abs=1e-6)
    certificate = check(instance, relaxed)
    assert certificate.sites_unproved == ()
    assert certificate.certified_bound >= relaxed.bound - 1e-6 * max(1, abs(relaxed.bound))
    result = solve_extensive(instance, time_limit=600)
    assert relaxed.bound <= result.incumbent + 1e-6 * max(1, abs(result.incumbent))


def test_untangle_removes_simultaneous_flows_at_no_cost():
    instance = one_site(
        2,
        need_mw=1.0,
        export_limit_mw=5.0,
        sell_price=10.0,
        battery_initial_mwh=0.5,
        **{key: value for key, value in BATTERY.items() if key != "sell_price"},
    )
    _, schedule = optimum(instance)
    flat = np.array([[1.0, 1.0]])
    tangled = replace(
        schedule,
        import_mw=flat + [[2.0, 2.0]],
        export_mw=flat,
        charge_mw=[[1.25, 2.0]],
        discharge_mw=[[0.25, 1.0]],
        stored_mwh=[[0.5, 1.1875, 1.5375]],
    )
    clean = untangle(instance, tangled)
    assert not (clean.import_mw * clean.export_mw).any()
    assert not (clean.charge_mw * clean.discharge_mw).any()
    assert clean.stored_mwh == pytest.approx(np.array([[0.5, 1.0, 1.0]]))  # full: what is left is not bought
    assert account(instance, clean).net_cost <= account(instance, tangled).net_cost
    balance = clean.import_mw - clean.export_mw + clean.discharge_mw - clean.charge_mw
    assert balance == pytest.approx(flat)


def test_start_is_complete_and_taken():
    instance = generate("small", seed=4)
    form = build(instance)
    result = solve(form, time_limit=600)
    x = start_vector(form, result.schedule)
    again = to_schedule(form, x)
    for f in again.columns():
        assert getattr(again, f.name) == pytest.approx(getattr(result.schedule, f.name), abs=1e-7)
    seen = []
    warm = solve(form, rel_gap=1e9, start=result.schedule, report=seen.append)
    assert warm.status == Status.GAP_REACHED
    assert warm.incumbent == pytest.approx(result.incumbent, rel=1e-6)


def test_start_unknown_to_the_model_is_refused():
    instance = one_job()
    _, schedule = optimum(instance)
    form = build(instance)
    for start in (2, -1, 3):
        with pytest.raises(InputError, match=r"job_start\[0\]"):
            start_vector(form, replace(schedule, job_start=[start]))


def test_time_limit_is_a_limit_not_a_claim():
    instance = generate("fleet", sites=3, seed=1)
    result = solve(build(instance), time_limit=1.0)
    assert result.status == Status.LIMIT
    assert result.bound < result.incumbent
    assert result.provenance["highs_status"] == "Time limit reached"


def test_build_has_named_columns_and_is_fast():
    instance = generate("fleet", sites=3, seed=1)
    began = time.process_time()
    form = build(instance)
    assert time.process_time() - began < 20 and form.build_seconds > 0
    assert {"imp_2_95", "gpu_0_0", "reject_14", "emis_1"} <= set(form.columns)
    assert len(set(form.columns)) == len(form.columns)
    assert len(set(form.rows)) == len(form.rows)
    assert not any(c.isspace() for name in (*form.columns, *form.rows) for c in name)
    assert build(instance, relax=True).integer.sum() == 0
    assert np.isfinite(form.lower).all() and np.isfinite(form.upper).all()


def test_infeasible_is_not_taken_on_the_word_of_presolve() -> None:
    """An instance whose schedule the presolve of HiGHS 1.15 denies."""
    result = solve_extensive(generate("small", seed=11864), rel_gap=1e-3, time_limit=600.0)
    assert result.schedule is not None and result.status is Status.GAP_REACHED


def test_no_time_left_is_no_time() -> None:
    """HiGHS would take a negative limit for none at all."""
    instance = generate("fleet", sites=6, periods=12, period_h=1.0, seed=1)
    assert solve_extensive(instance, time_limit=-1.0, rel_gap=0.0).status is Status.LIMIT


@pytest.mark.parametrize("factor", (1e-9, 1e-6, 1.0, 1e3))
def test_money_of_any_size(factor: float) -> None:
    """Where all of it is small beside the solver's tolerances, these are meant in money of that size."""
    instance = plain()
    sites, streams = instance.sites, instance.streams
    scaled = replace(
        instance,
        sites=replace(sites, buy_price=factor * sites.buy_price, sell_price=factor * sites.sell_price),
        streams=replace(streams, revenue=factor * streams.revenue, unserved_penalty=factor * streams.unserved_penalty),
        arcs=replace(instance.arcs, cost=factor * instance.arcs.cost),
        jobs=replace(instance.jobs, value_usd=factor * instance.jobs.value_usd),
    )
    optimum = solve_extensive(instance, rel_gap=1e-9).incumbent
    result = solve_extensive(scaled, rel_gap=1e-9)
    assert result.status is Status.GAP_REACHED and result.incumbent == pytest.approx(factor * optimum, rel=1e-6)
    assert result.bound == pytest.approx(factor * optimum, rel=1e-6)
    relaxed, usual = (solve_extensive(i, relax=True) for i in (scaled, instance))
    assert relaxed.bound == pytest.approx(factor * usual.bound, rel=1e-6)
    assert relaxed.provenance["lp_objective"] == pytest.approx(factor * usual.bound, rel=1e-6)
