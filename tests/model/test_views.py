"""What is shown of instances and results: ten lines by `repr`, data sets by `to_xarray`."""

import copy
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import decomp
from decomp.model.instance import Instance
from decomp.model.result import Result
from decomp.model.scenarios import side_by_side, with_scenarios


@pytest.fixture(scope="module")
def fleet() -> Instance:
    return decomp.generate("fleet", sites=3, periods=12, jobs=2, seed=1)


@pytest.fixture(scope="module")
def result(fleet: Instance) -> Result:
    found = decomp.solve(fleet, method="lagrangian", rel_gap=0.2)
    assert found is not None
    return found


def test_an_instance_is_shown_in_ten_lines(fleet: Instance) -> None:
    lines = repr(fleet).splitlines()
    assert len(lines) <= 10 and max(map(len, lines)) <= 160
    assert "3 sites, 12 periods of 0.25 h" in lines[0] and f"budget of {fleet.carbon_budget_t:,.1f} t" in repr(fleet)


def test_a_result_is_shown_in_ten_lines(result: Result) -> None:
    lines = repr(result).splitlines()
    assert len(lines) <= 10 and max(map(len, lines)) <= 160
    assert f"{result.incumbent:,.2f} USD" in repr(result) and result.status.value in lines[0]


def test_a_fleet_without_work_or_budget_is_shown_too() -> None:
    sites = dict(capacity_gpu=1.0, power_slope_mw_per_gpu=[[0.001]], power_intercept_mw=0.0, import_limit_mw=1.0)
    bare = decomp.build_instance(1, 2, 1.0, sites=sites | dict(buy_price=1.0, sell_price=0.0))
    assert "no budget" in repr(bare)


def test_data_sets_of_an_instance_hold_its_arrays_with_units_names_and_times(fleet: Instance) -> None:
    pytest.importorskip("xarray")
    sets = fleet.to_xarray()
    price = sets["sites"].buy_price
    assert price.dims == ("site", "period") and price.attrs["units"] == "USD/MWh"
    assert price.sel(site=str(fleet.sites.name[1])).values == pytest.approx(fleet.sites.buy_price[1])
    assert np.diff(price.period.values).tolist() == [900 * 10**9] * 11
    assert sets["arcs"].site.values.tolist() == fleet.arcs.site.tolist()
    assert sets["jobs"].attrs["carbon_budget_t"] == fleet.carbon_budget_t


def test_data_sets_of_a_result_know_the_instance_or_do_without(fleet: Instance, result: Result) -> None:
    pytest.importorskip("xarray")
    bare, named = result.to_xarray(), result.to_xarray(fleet)
    assert bare["schedule"].import_mw.values == pytest.approx(named["schedule"].import_mw.values)
    assert named["schedule"].stored_mwh.sizes["instant"] == 13
    first = named["dual"].load_price.sel(site=str(fleet.sites.name[0]))
    assert first.values == pytest.approx(result.dual.load_price[0])
    assert named["log"].bound.values[-1] == result.log[-1].bound and named["schedule"].attrs["bound"] == result.bound


def test_a_result_of_another_instance_is_refused(fleet: Instance, result: Result, tmp_path: Path) -> None:
    other = replace(fleet, sites=replace(fleet.sites, buy_price=2 * fleet.sites.buy_price))
    calls: list[Callable[[], object]] = [
        lambda: result.to_xarray(other),
        lambda: decomp.explain(other, result),
        lambda: decomp.evaluate(other, result, count=2),
        lambda: decomp.write(tmp_path / "result.h5", result, other),
    ]
    for call in calls:
        with pytest.raises(decomp.InputError, match="result: is of another instance: content hash"):
            call()
    assert not any(tmp_path.iterdir()) and not decomp.check(other, result).ok


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda record: pickle.loads(pickle.dumps(record))])
def test_copies_are_read_only_like_what_they_are_of(fleet: Instance, again: Callable[[Instance], Instance]) -> None:
    assert (other := again(fleet)).content_hash() == fleet.content_hash()
    with pytest.raises(ValueError, match="read-only"):
        other.sites.buy_price[0, 0] = 99.0


def test_scenarios_are_a_dimension_of_what_answers_them(fleet: Instance, result: Result) -> None:
    pytest.importorskip("xarray")
    series = np.stack([fleet.sites.buy_price, 2 * fleet.sites.buy_price])
    two = with_scenarios(fleet, [0.5, 0.5], dict(buy_price=series))
    other = replace(result.schedule, import_mw=result.schedule.import_mw + 1)
    both = side_by_side([result.schedule, other])
    schedule = Result(result.status, 0.0, 0.0, both, None).to_xarray(two)["schedule"]
    assert schedule.import_mw.dims == ("scenario", "site", "period") and schedule.job_site.dims == ("job",)
    assert schedule.import_mw.sel(scenario="s1").values == pytest.approx(other.import_mw)


def test_without_xarray_one_sentence_says_what_to_install(fleet: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match="pip install 'decomp-fleet\\[xarray\\]'"):
        fleet.to_xarray()
