"""Kinds of the library: equal to what is built in, with optima known by hand, and in a window of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import decomp
from decomp.bound.infeasible import contradiction
from decomp.devices.attach import place_of
from decomp.extensive.pyomo_model import build, solve_extensive
from decomp.model.instance import InputError, Instance
from decomp.model.result import Schedule
from decomp.model.validate import validate
from decomp.rolling.device_cut import cut_devices
from tiny import bare_sites

T = 4


def plain_site(**sites: Any) -> Instance:
    """One site that draws 1 MW in every hour, for 20, 40, 80 and 10 USD/MWh."""
    table: dict[str, Any] = dict(name=["Ames"], capacity_gpu=100.0, pue=1.25, import_limit_mw=5.0)
    table["buy_price"] = np.array([[20.0, 40.0, 80.0, 10.0]])
    return bare_sites(1, T, streams=dict(demand_rps=np.full((1, T), 80.0), unserved_penalty=1e3), **table | sites)


def optimum(instance: Instance) -> float:
    return solve_extensive(instance, rel_gap=1e-9).incumbent


def test_without_devices_it_costs_what_it_draws() -> None:
    assert optimum(plain_site()) == pytest.approx(150.0)


BY_HAND = {  # kind with its settings, and what the site then costs, USD
    # 1 MWh kept from the start goes into hour 2 (80 USD) and comes back in hour 3 (10 USD)
    "battery": (dict(mwh=1, mw=1, initial_mwh=1, charge_efficiency=1, discharge_efficiency=1), 150.0 - 80.0 + 10.0),
    # runs in hours 1 and 2 at 30 USD/MWh
    "generator": (dict(p_max_mw=1, p_min_mw=0, fuel_usd_per_mwh=30, emission_t_per_mwh=0), 150.0 - 10.0 - 50.0),
    # must stay on for all four hours once it is: 9 USD/MWh are cheaper than every hour's price
    "fuel_cell": (dict(p_max_mw=1, ramp_share_per_h=1, min_up_h=4), 36.0),
    # 0.8 MWh of heat: 0.8 * 0.25 = 0.2 MW are saved in hour 2, drawn in hour 3
    "thermal_storage": (
        dict(tank_mwh=0.8, charge_mw=0.8, chiller_share=1, loss_per_h=0, initial_share=1),
        150.0 - 0.2 * 80.0 + 0.2 * 10.0,
    ),
    # 1 MWh of hydrogen is sold at 30 USD each hour for 2 MWh of power: pays in hour 3 alone
    "hydrogen": (
        dict(electrolyser_mw=2, electrolyser_efficiency=0.5, tank_mwh=0, offtake_mw=1, offtake_usd_per_mwh=30),
        150.0 - (30.0 - 2 * 10.0),
    ),
    # it draws 1 MW in all hours, which never changes
    "interconnection_ramp": (dict(mw_per_h=0.1), 150.0),
    # 1 MW is beyond 0.5 MW in two hours at most; in two others 40 GPU go unserved
    "flexible_connection": (dict(firm_mw=0.5, periods_above=2), None),
    # nothing clean is there: half of 4 MWh is missed at 7 USD/MWh
    "carbon_free_matching": (dict(share=0.5, penalty_usd_per_mwh=7), 150.0 + 2.0 * 7.0),
    # without battery and generators there is nothing to hold
    "reserve": (dict(price_usd_per_mw_h=5), 150.0),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_optimum_known_by_hand(kind: str) -> None:
    settings, cost = BY_HAND[kind]
    instance = decomp.attach(plain_site(), "Ames", decomp.devices.KINDS[kind](**settings))
    if cost is None:  # 40 GPU h in each of two hours, and half of their energy
        cost = 2 * 40 * 1e3 + 150.0 - 0.5 * (80.0 + 40.0)
    assert optimum(instance) == pytest.approx(cost, rel=1e-9)


def test_reserve_is_held_by_the_battery() -> None:
    instance = plain_site(battery_mwh=2.0, battery_initial_mwh=2.0, battery_final_mwh=2.0, charge_mw=1.0)
    instance = replace(instance, sites=replace(instance.sites, discharge_mw=np.array([0.5])))
    before = optimum(instance)
    held = decomp.attach(instance, "Ames", decomp.devices.reserve(price_usd_per_mw_h=1000.0, duration_h=1.0))
    # 0.5 MW in every hour as the battery rests; a MW of charging could be stopped too, but only where it charges
    assert optimum(held) <= before + 0.0 and optimum(held) < -0.5 * T * 1000.0 + 200.0


def test_columns_have_readable_names() -> None:
    form = build(decomp.attach(plain_site(), "Ames", decomp.devices.battery(), name="cell A"))
    assert {"cell_A_Ames_stored_0", "cell_A_Ames_charging_3"} <= set(form.columns)


def test_settings_are_refused_by_name() -> None:
    kinds = decomp.devices.KINDS
    with pytest.raises(InputError, match="battery has no setting 'size'; it has mwh, mw"):
        kinds["battery"].of(dict(size=3))
    with pytest.raises(InputError, match=r"battery\.mwh: 'large', must be a number \(MWh\)"):
        kinds["battery"].of(dict(mwh="large"))
    with pytest.raises(InputError, match=r"battery\.charge_efficiency: 2, must be 0\.001 to 1"):
        kinds["battery"].of(dict(charge_efficiency="2"))
    with pytest.raises(InputError, match=r"'3-1', must be first-last of periods 0 to 3"):
        decomp.attach(plain_site(), "Ames", kinds["flexible_connection"].of(dict(events="3-1")))


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("thermal_storage", dict(tank_mwh=True), "thermal_storage.tank_mwh: True, must be a number (MWh)"),
        ("thermal_storage", dict(tank_mwh="10"), "thermal_storage.tank_mwh: '10', must be a number (MWh)"),
        ("thermal_storage", dict(tank_mwh=np.inf), "thermal_storage.tank_mwh: inf MWh, must be finite"),
        ("thermal_storage", dict(tank_mwh=(1, 2)), "thermal_storage.tank_mwh: (1, 2), must be a number"),
        ("thermal_storage", dict(tank_mwh=10**400), "must be a number (MWh)"),
        ("carbon_free_matching", dict(hourly="no"), "carbon_free_matching.hourly: 'no', must be true or false"),
        ("carbon_free_matching", dict(hourly=0.5), "carbon_free_matching.hourly: 0.5, must be true or false"),
        ("flexible_connection", dict(events=5), "flexible_connection.events: 5, must be text"),
        ("flexible_connection", dict(events="\u00b2"), "must be first-last of periods 0 to 3"),
        ("generator", dict(min_up_h=np.inf), "generator.min_up_h: inf h, must be finite"),
        ("generator", dict(p_max_mw=1, p_min_mw=2), "generator.p_min_mw: 2 MW, must be at most p_max_mw = 1 MW"),
        ("generator", dict(p_max_mw=1, initial_mw=2), "generator.initial_mw: 2 MW, must be 0 or between 0.4 and 1 MW"),
        ("fuel_cell", dict(p_max_mw=1, initial_mw=0.45), "fuel_cell.initial_mw: 0.45 MW, must be 0 or between 0.5"),
        ("fuel_cell", dict(emission_t_per_mwh=450), "fuel_cell.emission_t_per_mwh: 450 t/MWh, must be 0 to 10"),
        ("battery", dict(mwh=1, initial_mwh=2, final_mwh=0), "battery.initial_mwh: 2 MWh, must be between least_mwh"),
        ("battery", dict(mwh=1, least_mwh=0.2, initial_mwh=0.1), "battery.initial_mwh: 0.1 MWh, must be between"),
    ],
)
def test_settings_are_converted_by_nobody(kind: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        decomp.attach(plain_site(), "Ames", decomp.devices.KINDS[kind](**settings))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_least_times_are_whole_periods_or_more() -> None:
    """On for 1.5 hours is on for two: hour 2 pays (60 USD for 80), and hour 1 (60 for 40) has to go with it."""
    once = dict(p_max_mw=1, p_min_mw=1, fuel_usd_per_mwh=60.0, emission_t_per_mwh=0.0, min_up_h=1.5)
    device = decomp.devices.generator(**once)
    assert optimum(decomp.attach(plain_site(), "Ames", device)) == pytest.approx(150.0 + (60 - 40) + (60 - 80))
    device = decomp.devices.generator(**once | dict(min_up_h=1.0))
    assert optimum(decomp.attach(plain_site(), "Ames", device)) == pytest.approx(150.0 + (60 - 80))


def test_a_site_that_its_devices_make_impossible_is_named_with_the_rows() -> None:
    ramp = decomp.devices.interconnection_ramp(mw_per_h=0.1, initial_mw=1.3)
    flexible = decomp.devices.flexible_connection(firm_mw=5.0, events="1", event_mw=0.5)
    instance = decomp.attach(decomp.attach(plain_site(), "Ames", ramp), "Ames", flexible)
    rows = contradiction(instance, 0)
    assert rows == ["interconnection_ramp.ramp[1]", "interconnection_ramp.ramp[0]", "flexible_connection.event[1]"]
    result = decomp.solve(instance)
    assert result is not None and result.status is decomp.Status.INFEASIBLE
    assert decomp.check(instance, result).ok


def test_in_a_window_the_past_is_known_and_the_future_open() -> None:
    instance = decomp.attach(plain_site(), "Ames", decomp.devices.battery(mwh=2, mw=1, initial_mwh=1))
    instance = decomp.attach(instance, "Ames", decomp.devices.interconnection_ramp(mw_per_h=0.5))
    instance = decomp.attach(instance, "Ames", decomp.devices.flexible_connection(firm_mw=0.5, periods_above=2))
    whole = solve_extensive(instance).schedule
    assert whole is not None
    values = {f.name: np.array(getattr(whole, f.name)) for f in Schedule.columns()}
    v = instance.device_variables
    values["device_value"] = np.where(v.name == "stored", 0.7, np.where(v.name == "above", 1.0, 0.0))
    values["import_mw"][:] = 1.0
    tables, kept = cut_devices(instance, Schedule(**values), 1, 3)
    rest = {name: _cut(getattr(instance, name), 1, 3) for name in ("sites", "streams", "overrides")}
    window = replace(instance, **tables, **rest)
    validate(window)
    assert (v.period[kept] >= 1).all() and (v.period[kept] < 3).all()
    r, w = window.device_rows, window.device_variables
    first = np.flatnonzero(r.name == "balance")[0]
    assert r.low[first] == pytest.approx(0.7) and r.high[first] == pytest.approx(0.7)
    ramp = np.flatnonzero(r.name == "ramp")
    assert r.low[ramp].tolist() == [0.5, -0.5] and r.high[ramp].tolist() == [1.5, 0.5]  # the third one would go beyond
    assert r.high[r.name == "periods"].tolist() == [1.0]
    stored = w.name == "stored"
    assert w.low[stored].tolist() == [0.0, 1.0]  # as at the start, where the plan ends


def _cut(table: Any, start: int, end: int) -> Any:
    timed = [f.name for f in table.columns() if f.metadata["dims"][-1] == "period"]
    return replace(table, **{name: getattr(table, name)[:, start:end] for name in timed})


def test_places_are_sites_alone() -> None:
    i, place = place_of(plain_site(), "Ames")
    assert i == 0 and place.full_mw == pytest.approx(1.25)
