"""Tables of pandas and xarray whose labels say another order than the instance are refused, not taken as they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from decomp.model.instance import InputError, Instance, build_instance
from decomp.model.scenarios import series_of, with_scenarios
from tiny import SITES, tiny

pandas, xarray = pytest.importorskip("pandas"), pytest.importorskip("xarray")
PRICES, NAMES = np.asarray(SITES["buy_price"]), SITES["name"]
HOURS = pandas.date_range("2022-01-01", periods=8, freq="h")
TEXT = [str(hour) for hour in HOURS]
LATE = HOURS[:3].append(HOURS[4:]).append(HOURS[-1:] + pandas.Timedelta("1h"))  # one hour is missing


def frame(index: Any = NAMES, columns: Any = HOURS) -> Any:
    return pandas.DataFrame(PRICES, index=index, columns=columns)


@pytest.mark.parametrize("columns", [HOURS, HOURS.tz_localize("UTC").tz_convert("Asia/Tokyo"), TEXT, range(8)])
@pytest.mark.parametrize("index", [NAMES, range(3)])
def test_labels_that_agree_are_taken(index: Any, columns: Any) -> None:
    assert tiny(sites=dict(buy_price=frame(index, columns))).content_hash() == tiny().content_hash()


REFUSED: list[tuple[str, str, Any, str]] = [
    ("sites", "buy_price", frame(NAMES[::-1]), "row 0 is labelled 'Cork', but site 0 is 'Albany'"),
    ("sites", "battery_mwh", pandas.Series([4.0, 0, 0], ["Albany", "Cork", "Buffalo"]), "row 1 is labelled 'Cork'"),
    ("jobs", "gpus", pandas.Series([1.0, 2, 3], ["must", "small", "large"]), "but job 0 is 'small'"),
    ("sites", "buy_price", frame(columns=HOURS + HOURS.freq), "period 0 is labelled 2022-01-01T01:00:00Z, but starts"),
    ("sites", "buy_price", frame(columns=HOURS.tz_localize("Asia/Tokyo")), "labelled 2021-12-31T15:00:00Z, but"),
    ("sites", "buy_price", frame(columns=TEXT[::-1]), "period 0 is labelled 2022-01-01T07:00:00Z"),
    ("sites", "buy_price", frame(columns=LATE), "period 3 is labelled 2022-01-01T04:00:00Z, but starts"),
    ("sites", "wind_mw", pandas.Series(np.ones(8), HOURS[::-1]), "period 0 is labelled 2022-01-01T07:00:00Z"),
    ("streams", "demand_rps", pandas.DataFrame(np.ones((2, 8)), HOURS[:2]), "the streams are labelled with times"),
    ("sites", "wind_mw", pandas.Series(np.ones(8), HOURS[:8].to_period("h") + 1), "period 0 is labelled 2022-01-01T01"),
    ("sites", "wind_mw", pandas.Series(np.ones(8), range(8, 0, -1)), "period 1 is labelled 7, after 8; put"),
    ("sites", "wind_mw", xarray.DataArray(np.ones(8), [("period", [0, 1, 2, 3, 3, 4, 5, 6])]), "period 4 is labelled"),
    ("sites", "wind_mw", pandas.Series(np.ones(8), (HOURS - HOURS[0])[::-1]), "period 1 is labelled 0 days 06:00:00"),
    ("sites", "buy_price", xarray.DataArray(PRICES.T, dims=("period", "site")), "dimensions are period, site, must be"),
    ("sites", "buy_price", xarray.DataArray(PRICES, [("site", NAMES[::-1]), ("period", HOURS)]), "site 0 is 'Albany'"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "field", "value", "words"), REFUSED)
def test_labels_that_do_not_are_refused(table: str, field: str, value: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        tiny(**{table: {field: value}})
    assert str(caught.value).startswith(f"{table}.{field}: ") and words in str(caught.value)


def two_by_two(**series: Any) -> Instance:
    """As many sites as periods, so that the shape does not tell one from the other."""
    sites = dict(capacity_gpu=1e3, power_slope_mw_per_gpu=1e-3, power_intercept_mw=0.1, import_limit_mw=2.0)
    return build_instance(2, 2, 1.0, sites={**sites, "buy_price": 50.0, "sell_price": 40.0, **series})


def test_a_table_that_lies_on_its_side_is_not_taken_for_one_that_stands() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    lying = pandas.DataFrame(values, index=HOURS[:2], columns=["east", "west"])
    with pytest.raises(InputError, match="the sites are labelled with times"):
        two_by_two(buy_price=lying)
    standing = two_by_two(buy_price=lying.T)
    assert standing.sites.buy_price.tolist() == [[1.0, 3.0], [2.0, 4.0]]


def test_names_are_those_of_the_labels_and_other_tables_must_have_them_in_the_same_order() -> None:
    price = pandas.DataFrame([[1.0, 2.0], [3.0, 4.0]], index=["west", "east"])
    assert two_by_two(buy_price=price).sites.name.tolist() == ["west", "east"]
    with pytest.raises(InputError, match="row 0 is labelled 'east', but site 0 is 'west'"):
        two_by_two(buy_price=price, wind_mw=price.sort_index())


def test_numbered_rows_are_in_the_same_order_in_all_fields_of_a_table() -> None:
    jobs = pandas.DataFrame(dict(gpus=[100.0, 800.0, 200.0], value_usd=[1.0, 2.0, 3.0]))
    by_value = jobs.sort_values("value_usd", ascending=False)
    with pytest.raises(
        InputError, match="jobs.value_usd: row 0 is labelled 2, but that of jobs.gpus 0; put the rows in"
    ):
        tiny(jobs=dict(gpus=jobs.gpus, value_usd=by_value.value_usd))
    assert tiny(jobs=dict(by_value)).jobs.gpus.tolist() == [200.0, 800.0, 100.0]


def test_labels_that_are_neither_names_nor_starts_of_periods_may_be_anything() -> None:
    submitted = pandas.Series([100.0, 800.0, 200.0], HOURS[[5, 2, 2]])
    assert tiny(jobs=dict(gpus=submitted)).content_hash() == tiny().content_hash()
    one_for_all = pandas.DataFrame(np.full((1, 8), 15.0), index=["Europe"])
    assert tiny(sites=dict(sell_price=one_for_all)).content_hash() == tiny().content_hash()


def test_what_an_instance_gives_it_takes_again() -> None:
    given = tiny()
    tables = given.to_xarray()
    again = build_instance(3, 8, 1.0, carbon_budget_t=30.0, carbon_excess_usd_per_t=200.0, **tables)
    assert again.content_hash() == given.content_hash()


def test_series_of_scenarios_too() -> None:
    given = tiny()
    axes = [("scenario", ["low", "high"]), ("site", NAMES), ("period", HOURS)]
    prices = xarray.DataArray(np.stack([0.5 * PRICES, 1.5 * PRICES]), axes)
    made = with_scenarios(given, [0.5, 0.5], dict(buy_price=prices))
    assert (series_of(made, "buy_price")[1] == 1.5 * PRICES).all()
    with pytest.raises(InputError, match="scenarios: buy_price: row 0 is labelled 'Cork', but site 0 is 'Albany'"):
        with_scenarios(given, [0.5, 0.5], dict(buy_price=prices.sel(site=NAMES[::-1])))
    with pytest.raises(InputError, match="dimensions are period, site, scenario, must be scenario, site, period"):
        with_scenarios(given, [0.5, 0.5], dict(buy_price=prices.T))
