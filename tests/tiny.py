"""A valid instance with a bit of everything, small enough to read."""

from __future__ import annotations

from typing import Any

import numpy as np

from decomp.model.instance import SCALARS, TABLES, Instance, build_instance

SITES: dict[str, Any] = dict(
    name=["Albany", "Buffalo", "Cork"],
    capacity_gpu=1000.0,
    power_slope_mw_per_gpu=[0.0008, 0.001],
    power_intercept_mw=[0.2, 0.1],
    exact_power_curve=[False, True, False],
    pue=1.2,
    import_limit_mw=2.0,
    export_limit_mw=1.0,
    buy_price=np.linspace(20.0, 80.0, 24).reshape(3, 8),
    sell_price=15.0,
    wind_mw=np.linspace(0.0, 1.0, 8),
    curtailable=[True, False, True],
    carbon_intensity=0.3,
    battery_mwh=[4.0, 0.0, 0.0],
    battery_min_mwh=[0.4, 0.0, 0.0],
    battery_initial_mwh=[2.0, 0.0, 0.0],
    battery_final_mwh=[2.0, 0.0, 0.0],
    charge_mw=[1.0, 0.0, 0.0],
    discharge_mw=[1.0, 0.0, 0.0],
    self_discharge_per_h=0.001,
)
WORK: dict[str, dict[str, Any]] = dict(
    generators=dict(
        site=[0, 2],
        p_min_mw=0.4,
        p_max_mw=1.0,
        fuel_usd_per_mwh=60.0,
        initial_mw=[0.0, 0.5],
        initial_periods=[9, 1],
        min_up_periods=[1, 3],
        emission_t_per_mwh=0.5,
    ),
    streams=dict(
        name=["chat", "code"],
        demand_rps=np.full((2, 8), 300.0),
        latency_limit_ms=[700.0, 2000.0],
        service_ms=450.0,
        revenue=1.0,
        unserved_penalty=5.0,
    ),
    arcs=dict(stream=[0, 0, 1, 1], site=[0, 1, 1, 2], round_trip_ms=[10.0, 20.0, 20.0, 90.0], cost=0.01),
    jobs=dict(
        name=["small", "large", "must"],
        gpus=[100.0, 800.0, 200.0],
        periods=[3, 4, 2],
        release=[0, 1, 2],
        deadline=[8, 8, 6],
        value_usd=5000.0,
        mandatory=[False, False, True],
    ),
    candidates=dict(job=[0, 0, 1, 2], site=[0, 1, 2, 0], cost_usd=[0.0, 10.0, 0.0, 0.0]),
    pools=dict(
        name=["index", "embed"], work_gpu_h=[400.0, 600.0], start=[0, 2], end=[8, 7], shortfall_penalty=[3.0, np.inf]
    ),
    pool_arcs=dict(pool=[0, 1, 1], site=[1, 0, 2], rate_gpu=[100.0, 200.0, 200.0]),
)


def tiny(**changes: Any) -> Instance:
    """The instance; `changes` holds scalars, or dicts of arrays that replace a table's."""
    tables = {"sites": SITES, **WORK}
    scalars: dict[str, Any] = dict(carbon_budget_t=30.0, carbon_excess_usd_per_t=200.0, family="tiny", seed=3)
    for name, change in changes.items():
        if name in tables:
            tables[name] = {**tables[name], **change}
        else:
            scalars[name] = change
    period_h = scalars.pop("period_h", 1.0)
    return build_instance(3, 8, period_h, **tables, **scalars)


def plain(n_periods: int = 6, **changes: Any) -> Instance:
    """Two sites with wind, a stream, and three jobs that fit anywhere; `changes` as of `tiny`, None: no such table."""
    hour = np.arange(n_periods) / n_periods + np.array([[0.0], [0.2]])
    sites: dict[str, Any] = dict(
        capacity_gpu=1000.0,
        power_slope_mw_per_gpu=np.full((2, 1), 0.001),
        power_intercept_mw=np.full((2, 1), 0.2),
        import_limit_mw=3.0,
        export_limit_mw=1.0,
        buy_price=40.0 + 20.0 * np.sin(2 * np.pi * hour),
        sell_price=20.0,
        carbon_intensity=np.array([[0.2], [0.5]]) * np.ones((2, n_periods)),
        wind_mw=0.3,
    )
    tables: dict[str, Any] = dict(
        streams=dict(demand_rps=np.full((1, n_periods), 700.0), revenue=0.2, unserved_penalty=0.1),
        arcs=dict(stream=[0, 0], site=[0, 1], cost=0.001),
        jobs=dict(
            gpus=[600.0, 500.0, 400.0],
            periods=[3, 2, 1],
            release=0,
            deadline=n_periods,
            value_usd=[300.0, 150.0, 100.0],
        ),
        candidates=dict(job=[0, 0, 1, 1, 2, 2], site=[0, 1, 0, 1, 0, 1], cost_usd=0.0),
    )
    sites |= changes.pop("sites", {})
    for name in WORK:
        if name in changes:
            change = changes.pop(name)
            tables[name] = None if change is None else {**(tables.get(name) or {}), **change}
    return build_instance(2, n_periods, changes.pop("period_h", 1.0), sites=sites, **tables, **changes)


def bare_sites(n_sites: int = 1, n_periods: int = 1, period_h: float = 1.0, **changes: Any) -> Instance:
    """Sites alike, on the grid alone, with 0.01 MW a GPU, no idle load and no work.

    `changes` holds arrays of the sites, tables, and scalars of the instance. Streams without arcs run at one site each.
    """
    sites: dict[str, Any] = dict(
        capacity_gpu=1000.0,
        power_slope_mw_per_gpu=[[0.01]] * n_sites,
        power_intercept_mw=0.0,
        pue=1.0,
        import_limit_mw=20.0,
        buy_price=10.0,
        sell_price=0.0,
    )
    given = {name: changes.pop(name) for name in (*TABLES, *SCALARS) if name in changes}
    if "streams" in given:
        given.setdefault("arcs", dict(stream=range(n_sites), site=range(n_sites)))
    return build_instance(n_sites, n_periods, period_h, sites=sites | changes, **given)
