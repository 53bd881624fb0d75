"""A case by hand that uses every feature of the model, and results that claim exactly what is true of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from decomp.certificate.bound import prove_bound
from decomp.certificate.findings import Findings
from decomp.model.accounts import account, allot
from decomp.model.instance import Instance, build_instance
from decomp.model.result import Dual, Result, Schedule, Status

T, STEP = 6, 0.5


def hand_instance(**scalars: Any) -> Instance:
    """Two sites that use every feature: exact curve, generators on and off, battery, wind that must be taken."""
    solar = np.zeros((2, T))
    solar[0] = [0.2, 0.2, 0.2, 0.2, 0.2, 2.0]
    return build_instance(
        2,
        T,
        STEP,
        sites=dict(
            name=["alpha", "beta"],
            capacity_gpu=[[100.0], [80.0]],
            power_slope_mw_per_gpu=[[0.01, 0.02], [0.02, 0.02]],
            power_intercept_mw=[[0.5, 0.0], [0.1, 0.1]],
            exact_power_curve=[True, False],
            import_limit_mw=5.0,
            export_limit_mw=2.0,
            buy_price=[[50.0, 60.0, -20.0, 80.0, 50.0, 40.0]],
            sell_price=[[45.0, 55.0, -25.0, 75.0, 45.0, 35.0]],
            demand_charge=[0.0, 1000.0],
            peak_so_far_mw=[0.0, 0.5],
            carbon_intensity=0.4,
            wind_mw=[[0.0], [0.3]],
            solar_mw=solar,
            curtailable=[True, False],
            battery_mwh=[0.0, 2.0],
            battery_min_mwh=[0.0, 0.2],
            battery_initial_mwh=[0.0, 1.0],
            battery_final_mwh=[0.0, 1.0],
            charge_mw=[0.0, 1.0],
            discharge_mw=[0.0, 1.0],
            self_discharge_per_h=0.01,
            wear_usd_per_mwh=20.0,
        ),
        generators=dict(
            site=[0, 1],
            p_min_mw=[0.5, 0.4],
            p_max_mw=[1.5, 1.0],
            fuel_usd_per_mwh=[70.0, 60.0],
            no_load_usd_per_h=[5.0, 4.0],
            start_usd=[30.0, 20.0],
            ramp_up_mw_per_h=[1.0, np.inf],
            ramp_down_mw_per_h=[1.0, np.inf],
            min_up_periods=[2, 3],
            min_down_periods=[2, 2],
            emission_t_per_mwh=0.5,
            initial_mw=[0.0, 0.8],
            initial_periods=[1, 1],
        ),
        streams=dict(
            name=["chat", "code"],
            demand_rps=[[30.0], [10.0]],
            gpu_per_rps=[1.0, 2.0],
            latency_limit_ms=100.0,
            service_ms=20.0,
            revenue=[2.0, 3.0],
            unserved_penalty=4.0,
        ),
        arcs=dict(stream=[0, 0, 1], site=[0, 1, 1], round_trip_ms=30.0, cost=[0.1, 0.2, 0.0]),
        jobs=dict(
            name=["train", "tune", "rest"],
            gpus=[40.0, 30.0, 60.0],
            periods=[3, 2, 2],
            release=[0, 2, 0],
            deadline=[6, 6, 6],
            value_usd=[100.0, 80.0, 10.0],
            mandatory=[True, False, False],
        ),
        candidates=dict(job=[0, 1, 1, 2], site=[0, 0, 1, 1], cost_usd=[1.0, 2.0, 3.0, 4.0]),
        pools=dict(name=["batch"], work_gpu_h=[11.0], start=[1], end=[5], shortfall_penalty=[2.0]),
        pool_arcs=dict(pool=[0, 0], site=[0, 1], rate_gpu=[20.0, 10.0]),
        **{"carbon_budget_t": 10.0, "carbon_price_usd_per_t": 10.0, **scalars},
    )


def hand_schedule(instance: Instance) -> Schedule:
    """A feasible schedule of the hand-made instance, everything chosen and the grid doing the rest."""
    routed = np.repeat([[20.0], [8.0], [20.0]], T, axis=1)
    inside = np.array([0.0, 1, 1, 1, 1, 0])
    pool = np.array([[3.0], [2.0]]) * inside
    load = np.array([20 + 40 * np.array([0, 1, 1, 1, 0, 0]), 28 + 30 * np.array([0, 0, 0, 1, 1, 0])]) + pool
    power = np.maximum([[0.5], [0.1]] + np.array([[0.01], [0.02]]) * load, [[0.02], [0.0]] * load)
    renewable = np.array([[0.1, 0.1, 0.1, 0.1, 0.1, 1.5], [0.3] * T])
    generation = np.array([[0, 0, 0.5, 1.0, 0.5, 0], [0.4, 0.4, 0, 0, 0, 0]])
    charge, discharge = np.zeros((2, T)), np.zeros((2, T))
    charge[1, 0], discharge[1, 3] = 0.8, 0.2
    stored = np.zeros((2, T + 1))
    stored[1, 0] = 1.0
    for t in range(T):
        kept = stored[1, t] * 0.99**STEP
        stored[1, t + 1] = kept + STEP * (0.922 * charge[1, t] - discharge[1, t] / 0.922)
    net = 1.2 * power + charge - discharge - renewable - generation
    return Schedule(
        routed_gpu=routed,
        unserved_gpu=np.repeat([[2.0], [0.0]], T, axis=1),
        job_site=[0, 1, -1],
        job_start=[1, 3, -1],
        pool_gpu=pool,
        pool_shortfall_gpu_h=[1.0],
        it_power_mw=power,
        import_mw=np.maximum(net, 0),
        export_mw=np.maximum(-net, 0),
        renewable_mw=renewable,
        charge_mw=charge,
        discharge_mw=discharge,
        stored_mwh=stored,
        generation_mw=generation,
        generator_on=generation > 0,
    )


def prices(instance: Instance, level: float = 0.1, carbon: float = 5.0, form: str = "load") -> Dual:
    """Constant prices, with the site bounds that the certificate itself can prove there."""
    sizes = dict(instance.sizes)
    values = dict(load_price=level, stream_price=level, job_price=-20.0, pool_price=level, site_lower=-1e9)
    made = Dual.make(sizes, **values)
    dual = Dual(*(getattr(made, f.name) for f in Dual.columns()), carbon, form)
    lower = [proof.lower for proof in prove_bound(instance, dual, Findings(instance)).sites]
    return replace(dual, site_lower=lower)


def claim(instance: Instance, schedule: Schedule | None, dual: Dual | None, **changes: Any) -> Result:
    """A result that claims what the accounts say of the schedule and what the prices prove."""
    incumbent = account(instance, schedule).net_cost if schedule is not None else 0.0
    bound = prove_bound(instance, dual, Findings(instance)).bound if dual is not None else incumbent
    provenance = dict(instance_hash=instance.content_hash())
    carbon = allot(instance, schedule, dual)
    right = Result(Status.LIMIT, bound, incumbent, schedule, dual, (), provenance, allowances=carbon)
    return replace(right, **changes)


INSTANCE = hand_instance()
RIGHT = claim(INSTANCE, hand_schedule(INSTANCE), prices(INSTANCE))
