"""Scenarios in the instance: what is stored, what one scenario is, what all are side by side, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import xarray

from decomp.files.store import read_instance, read_sites, write_instance
from decomp.model.instance import InputError, Instance
from decomp.model.scenarios import expand, mean, scenario, series_of, with_scenarios
from decomp.model.validate import validate
from tiny import tiny

P = [0.5, 0.3, 0.2]


def stochastic(**risk: Any) -> Instance:
    """Three scenarios: the second is dear, the third windy with more to serve."""
    base = tiny()
    buy = np.repeat(base.sites.buy_price[None], 3, axis=0)
    buy[1, 1:] += 30.0
    wind = np.repeat(base.sites.wind_mw[None], 3, axis=0)
    wind[2, 0] *= 1.5
    demand = np.repeat(base.streams.demand_rps[None], 3, axis=0)
    demand[2] *= 1.2
    return with_scenarios(base, P, dict(buy_price=buy, wind_mw=wind, demand_rps=demand), **risk)


def test_only_what_differs_is_stored() -> None:
    instance = stochastic()
    validate(instance)
    o = instance.overrides
    rows = set(zip(o.series.tolist(), o.scenario.tolist(), o.row.tolist(), strict=True))
    served = {("demand_rps", 2, 0), ("demand_rps", 2, 1)}
    assert rows == {("buy_price", 1, 1), ("buy_price", 1, 2), ("wind_mw", 2, 0)} | served
    assert (series_of(instance, "buy_price")[1, 1] == instance.sites.buy_price[1] + 30).all()
    dear = scenario(instance, 1)
    assert dear.n_scenarios == 0 and (dear.sites.buy_price[1] == instance.sites.buy_price[1] + 30).all()
    assert dear.sites.wind_mw is not None and (scenario(instance, 0).sites.buy_price == instance.sites.buy_price).all()
    assert np.allclose(mean(instance).sites.buy_price[1], instance.sites.buy_price[1] + 9.0)


def test_without_scenarios_nothing_changes() -> None:
    base = tiny()
    assert expand(base) is base
    assert base.content_hash() == replace(base, risk_weight=0.5).content_hash()
    assert base.content_hash() != stochastic().content_hash() != stochastic(risk_weight=0.5).content_hash()


def test_files_keep_scenarios_and_ranks_read_their_own_rows(tmp_path: Path) -> None:
    instance, path = stochastic(risk_weight=0.2, carbon_scope="every"), tmp_path / "s.h5"
    write_instance(path, instance)
    again = read_instance(path)
    assert again.content_hash() == instance.content_hash() and again.carbon_scope == "every"
    whole = expand(instance)
    grids = read_sites(path, [7, 2, 3])
    sites, generators = grids.sites, grids.generators
    for name in ("name", "buy_price", "wind_mw", "demand_charge", "carbon_intensity"):
        assert (getattr(sites, name) == getattr(whole.sites, name)[[7, 2, 3]]).all(), name
    rows = [np.flatnonzero(whole.generators.site == i) for i in (7, 2, 3)]
    assert generators.site.tolist() == np.repeat([0, 1, 2], [len(r) for r in rows]).tolist()
    assert (generators.fuel_usd_per_mwh == whole.generators.fuel_usd_per_mwh[np.concatenate(rows)]).all()
    with xarray.open_dataset(path, engine="h5netcdf", group="overrides") as overrides:
        assert overrides.value.dims == ("override", "period")


def test_side_by_side_every_row_is_weighted() -> None:
    instance = stochastic()
    fleet = expand(instance)
    dear = scenario(instance, 1)
    assert fleet.n_sites == 9 and fleet.n_streams == 6 and fleet.n_jobs == instance.n_jobs
    assert (fleet.sites.buy_price[3:6] == 0.3 * dear.sites.buy_price).all()
    assert (fleet.sites.carbon_intensity[6:] == 0.2 * instance.sites.carbon_intensity).all()
    assert (fleet.arcs.site[4:8] == instance.arcs.site + 3).all()
    assert (fleet.arcs.stream[4:8] == instance.arcs.stream + 2).all()
    assert fleet.generators.site.tolist() == [0, 2, 3, 5, 6, 8]
    assert (fleet.streams.unserved_penalty[4:] == 0.2 * instance.streams.unserved_penalty).all()
    assert fleet.pools.shortfall_penalty[1] == np.inf and (fleet.jobs.value_usd == instance.jobs.value_usd).all()
    assert fleet.content_hash() == instance.content_hash()


def changed(**table: Any) -> Instance:
    instance = stochastic()
    for name, columns in table.items():
        arrays = {key: np.array(getattr(getattr(instance, name), key)) for key in columns}
        for key, (at, value) in columns.items():
            arrays[key][at] = value
        instance = replace(instance, **{name: replace(getattr(instance, name), **arrays)})
    return instance


@pytest.mark.parametrize(
    "table, words",
    [
        (dict(scenarios=dict(probability=(0, 0.4))), "scenarios.probability: the probabilities sum to 0.9, must be 1"),
        (dict(scenarios=dict(probability=(1, 0.0))), "scenario 's1': 0, must be above 0; leave the scenario out"),
        (dict(scenarios=dict(name=(1, "s0"))), "the name 's0' is taken"),
        (dict(overrides=dict(series=(0, "buy"))), "override 0: 'buy': no such time series; known are buy_price"),
        (dict(overrides=dict(scenario=(0, 3))), "overrides.scenario: override 0: 3, must be an index of a scenario"),
        (dict(overrides=dict(row=(0, 3))), "buy_price in scenario 's1': 3, must be an index of a site, 0 to 2"),
        (dict(overrides=dict(row=(0, 2))), "override 1: this series is overridden twice in its scenario"),
        (
            dict(overrides=dict(value=((2, 4), -1.0))),
            "overrides.value, wind_mw: site 'Albany' in scenario 's2', period 4: -1 MW, must be between 0",
        ),
        (dict(overrides=dict(value=((0, 1), 1e7))), "'Buffalo' in scenario 's1', period 1: 1e+07 USD/MWh, must be"),
    ],
)
def test_refusal(table: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        validate(changed(**table))
    assert words in str(error.value)


def test_a_scenario_too_rare_for_its_emissions_is_named() -> None:
    """0.3 t/MWh keep their place in solvers from a probability of 2e-8 / 0.3 on."""
    base = tiny()
    for rare, ok in ((6.6e-8, False), (6.7e-8, True)):
        instance = with_scenarios(base, [1.0 - rare, rare], {}, ["often", "rare"])
        if ok:
            validate(instance)
            continue
        with pytest.raises(InputError, match=r"scenarios.probability: scenario 'rare': 6.6e-08, must be at least 6.66"):
            validate(instance)


def test_names_of_scenarios_are_those_of_their_labels() -> None:
    base, p = tiny(), pandas.Series([0.25, 0.75], index=["wet", "dry"])
    buy = np.repeat(base.sites.buy_price[None], 2, axis=0)
    buy[1] += 10.0
    labelled = xarray.DataArray(buy, dims=("scenario", "site", "period"), coords=dict(scenario=["wet", "dry"]))
    for found in (
        with_scenarios(base, p, dict(buy_price=buy)),
        with_scenarios(base, p, dict(buy_price=labelled)),
        with_scenarios(base, p.to_numpy(), dict(buy_price=labelled)),
        with_scenarios(base, p, dict(buy_price=labelled), ["wet", "dry"]),
    ):
        assert found.scenarios.name.tolist() == ["wet", "dry"]
        assert series_of(found, "buy_price")[1, 0, 0] == base.sites.buy_price[0, 0] + 10.0
    assert with_scenarios(base, [0.5, 0.5], dict(buy_price=buy)).scenarios.name.tolist() == ["s0", "s1"]
    with pytest.raises(InputError, match="scenarios: buy_price: row 0 is labelled 'dry', but scenario 0 is 'wet'"):
        with_scenarios(base, p, dict(buy_price=labelled[::-1]))
    with pytest.raises(InputError, match="scenarios.probability: row 0 is labelled 'wet', but scenario 0 is 'dry'"):
        with_scenarios(base, p, dict(buy_price=buy), ["dry", "wet"])
    with pytest.raises(InputError, match=r"scenarios.probability: shape \(\), must be"):
        with_scenarios(base, 0.5, {})  # type: ignore[arg-type]


def test_a_fleet_must_work_in_every_scenario() -> None:
    base = tiny()
    limit = np.repeat(base.sites.import_limit_mw[None], 2, axis=0)
    limit[1, 2, 5] = 0.0
    wind = np.repeat(base.sites.wind_mw[None], 2, axis=0)
    wind[1, 2, 5] = 0.0
    dark = with_scenarios(base, [0.5, 0.5], dict(import_limit_mw=limit, wind_mw=wind), ["fair", "dark"])
    dark = replace(dark, generators=base.generators.take([0]))
    with pytest.raises(InputError, match="site 'Cork in dark', period 5: idle load needs"):
        validate(dark)
    gpus = np.repeat(base.sites.capacity_gpu[None], 2, axis=0)
    gpus[1, 0, 2:6] = 100.0
    with pytest.raises(InputError, match="job 'must': mandatory, but no candidate site has 200 GPU"):
        validate(with_scenarios(base, [0.5, 0.5], dict(capacity_gpu=gpus)))
    with pytest.raises(InputError, match="price: no such time series"):
        with_scenarios(base, [1.0], dict(price=gpus))
    with pytest.raises(InputError, match="shape"):
        with_scenarios(base, [1.0], dict(capacity_gpu=gpus))
    with pytest.raises(InputError, match="carbon_scope: 'some'"):
        validate(replace(base, carbon_scope="some"))


@pytest.mark.parametrize(
    ("probability", "series", "words"),
    [
        (["a", "b"], {}, "scenarios.probability: .* must be a number"),
        ([True, False], {}, "scenarios.probability: .* must be a number"),
        ([0.5, 0.5], {"buy_price": np.full((2, 3, 8), "1")}, "scenarios: buy_price: holds .* values, must be numbers"),
        ([0.5, 0.5], {"buy_price": np.ma.masked_less(np.zeros((2, 3, 8)), 1)}, "scenarios: buy_price: .* is masked"),
    ],
)
def test_what_is_no_number_makes_no_scenario(probability: Any, series: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        with_scenarios(tiny(), probability, series)
