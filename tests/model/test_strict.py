"""What comes into an instance, a result or options is what was given: of the right kind, or refused where it stands."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from decomp.model.instance import InputError, Instance, build_instance
from decomp.model.options import Options
from decomp.model.validate import validate
from tiny import SITES, WORK, tiny

NAN = float("nan")
PRICES = np.linspace(20.0, 80.0, 24).reshape(3, 8)
MASKED = np.ma.masked_equal(np.where(PRICES[1, 2] == PRICES, 0.0, PRICES), 0.0)
REFUSED: list[tuple[str, str, Any, str]] = [
    ("jobs", "periods", [3, 2.5, 2], "jobs.periods: job 'large': 2.5, must be an integer"),
    ("jobs", "release", [NAN, 1, 2], "jobs.release: job 'small': nan, must be an integer"),
    ("jobs", "deadline", [8, 8, np.inf], "jobs.deadline: job 'must': inf, must be an integer"),
    ("jobs", "periods", [True, True, True], "jobs.periods: job 'small': True, must be an integer"),
    ("jobs", "periods", [3, True, 2], "jobs.periods: job 'large': True, must be an integer"),
    ("jobs", "periods", ["3", "4", "2"], "jobs.periods: job 'small': '3', must be an integer"),
    ("jobs", "periods", np.full(3, 2**63, np.uint64), "jobs.periods: job 'small': 9223372036854775808, must be an int"),
    ("jobs", "periods", [3, 10**30, 2], "jobs.periods: job 'large': 1000000000000000000000000000000, must be"),
    ("jobs", "mandatory", 0.3, "jobs.mandatory: job 'small': 0.3, must be true or false"),
    ("jobs", "mandatory", [0, NAN, 1], "jobs.mandatory: job 'large': nan, must be true or false"),
    ("jobs", "mandatory", [False, 2, True], "jobs.mandatory: job 'large': 2, must be true or false"),
    ("jobs", "mandatory", [False, None, True], "jobs.mandatory: job 'large': None, must be true or false"),
    ("jobs", "name", ["a", 2, "c"], "jobs.name: job 1: 2, must be text"),
    ("jobs", "name", ["a", None, "c"], "jobs.name: job 1: None, must be text"),
    ("jobs", "name", ["a", "b\0", "c"], "jobs.name: job 1: 'b\\x00', must be text"),
    ("jobs", "name", np.array([b"a", b"b", b"c"]), "jobs.name: job 0: b'a', must be text"),
    ("candidates", "site", [0, 1, 1.2, 0], "candidates.site: candidate 2: 1.2, must be an integer"),
    ("generators", "min_up_periods", [1, 1.5], "generators.min_up_periods: generator 1: 1.5, must be an integer"),
    ("sites", "curtailable", "False", "sites.curtailable: site 'Albany': 'False', must be true or false"),
    ("sites", "buy_price", PRICES + 3j, "sites.buy_price: site 'Albany', period 0: (20+3j), must be a number"),
    ("sites", "buy_price", PRICES.astype(str), "sites.buy_price: site 'Albany', period 0: '20.0', must be a number"),
    ("sites", "buy_price", PRICES > 30, "sites.buy_price: site 'Albany', period 0: False, must be a number"),
    ("sites", "buy_price", [[1.0] * 8, [1.0] * 7 + [None], [1.0] * 8], "site 'Buffalo', period 7: None, must be a num"),
    ("sites", "buy_price", PRICES.astype("M8[s]"), "sites.buy_price: site 'Albany', period 0: datetime.datetime(1970"),
    ("sites", "buy_price", MASKED, "sites.buy_price: the value at [1, 2] is masked, must be there"),
    ("sites", "buy_price", list(MASKED), "sites.buy_price: the value at [1, 2] is masked, must be there"),
    ("sites", "buy_price", [[1.0] * 8, [1.0] * 7, [1.0] * 8], "sites.buy_price: "),
    ("sites", "buy_price", {1: 2}, "sites.buy_price: site 'Albany', period 0: {1: 2}, must be a number"),
    ("sites", "buy_price", np.ones((8, 3)), "sites.buy_price: shape (8, 3) does not fit (site, period) = (3, 8)"),
    ("sites", "buy_price", np.ones(3), "sites.buy_price: shape (3,) does not fit (site, period) = (3, 8)"),
    ("sites", "power_slope_mw_per_gpu", [1e-3] * 3, "shape (3,), may be one a site or one a segment, must be of shape"),
    ("sites", "power_intercept_mw", np.ones((3, 3)), "shape (3, 3) does not fit (site, segment) = (3, 2)"),
    ("pool_arcs", "pool", [0, 1, 0.5], "pool_arcs.pool: pool_arc 2: 0.5, must be an integer"),
]


@pytest.mark.parametrize(("table", "field", "value", "words"), REFUSED, ids=[row[3][:50] for row in REFUSED])
def test_refused_where_it_stands(table: str, field: str, value: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        tiny(**{table: {field: value}})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value) and f"{table}.{field}: " in str(caught.value)


def foreign() -> list[Any]:
    pandas, xarray = pytest.importorskip("pandas"), pytest.importorskip("xarray")
    return [pandas.DataFrame(PRICES), xarray.DataArray(PRICES), pandas.DataFrame(PRICES).astype("Float64")]


def test_numbers_in_any_dress_are_the_same_numbers() -> None:
    wide = np.zeros((6, 16))
    wide[::2, ::2] = PRICES
    frozen = PRICES.copy()
    frozen.setflags(write=False)
    dresses = [PRICES.tolist(), list(PRICES), PRICES.astype(">f8"), np.asfortranarray(PRICES), wide[::2, ::2], frozen]
    dresses += [PRICES.astype(object), np.ma.masked_array(PRICES), PRICES.astype(np.longdouble), *foreign()]
    expected = tiny().content_hash()
    assert [tiny(sites=dict(buy_price=dress)).content_hash() for dress in dresses] == [expected] * len(dresses)
    assert tiny(sites=dict(buy_price=np.float32(15))).sites.buy_price.dtype == np.float64
    assert tiny(sites=dict(buy_price=Fraction(1, 4))).sites.buy_price[2, 7] == 0.25
    assert tiny(jobs=dict(periods=[3.0, np.int8(4), 2])).content_hash() == expected
    assert tiny(jobs=dict(mandatory=np.array([0, 0, 1], ">i2"))).content_hash() == expected
    assert tiny(jobs=dict(mandatory=[False, np.False_, 1.0])).content_hash() == expected
    assert tiny(jobs=dict(name=np.array(["small", "large", "must"], dtype=object))).content_hash() == expected


def test_what_pandas_does_not_know_is_refused() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InputError, match=r"jobs\.mandatory: job 'large': <NA>, must be true or false"):
        tiny(jobs=dict(mandatory=pandas.array([True, None, False], dtype="boolean")))
    with pytest.raises(InputError, match=r"jobs\.periods: job 'small': nan, must be an integer"):
        tiny(jobs=dict(periods=pandas.Series([None, 4, 2])))


def test_tables_may_be_data_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(WORK["jobs"])
    tables = {**WORK, "jobs": frame}
    given = dict(carbon_budget_t=30.0, carbon_excess_usd_per_t=200.0)
    instance = build_instance(3, 8, 1.0, sites=SITES, **tables, **given)  # type: ignore[arg-type]
    assert instance.content_hash() == tiny().content_hash()


def minimal(**changes: Any) -> Instance:
    sites = dict(capacity_gpu=1e3, power_slope_mw_per_gpu=1e-3, power_intercept_mw=0.1, import_limit_mw=2.0)
    sites |= dict(buy_price=50.0, sell_price=40.0)
    arguments: dict[str, Any] = dict(n_sites=2, n_periods=2, period_h=1.0, sites=sites)
    return build_instance(**{**arguments, **changes})


def test_one_slope_for_all_is_one_segment() -> None:
    assert minimal().sites.power_slope_mw_per_gpu.tolist() == [[1e-3], [1e-3]]
    validate(minimal())


def test_the_length_of_a_table_is_that_of_a_full_field() -> None:
    streams = dict(demand_rps=[1.0, 2.0], unserved_penalty=1.0)  # one demand a period, for one stream
    assert minimal(streams=streams).sizes["stream"] == 1
    assert minimal(streams={**streams, "name": ["a", "b", "c"]}).sizes["stream"] == 3
    assert minimal(jobs=dict(periods=1, gpus=[1.0, 2.0, 3.0], release=0, deadline=2)).n_jobs == 3
    assert minimal(jobs={}, streams=None).n_jobs == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(n_sites=2.5), "n_sites: 2.5, must be an integer of at least 0"),
        (dict(n_periods=-1), "n_periods: -1, must be an integer of at least 0"),
        (dict(n_periods="2"), "n_periods: '2', must be an integer"),
        (dict(period_h="1"), "period_h: '1', must be a number"),
        (dict(period_h=[1.0]), "period_h: [1.0], must be a number"),
        (dict(period_h=True), "period_h: True, must be a number"),
        (dict(carbon_budget_t=None), "carbon_budget_t: None, must be a number"),
        (dict(seed=1.5), "seed: 1.5, must be an integer"),
        (dict(seed=2**70), "seed: 1180591620717411303424, must be an integer (of 64 bits)"),
        (dict(family=3), "family: 3, must be text"),
        (dict(sites=[1.0]), "sites: [1.0], must be a dict of arrays"),
        (dict(sites={}), "sites.capacity_gpu: missing, and it has no default"),
        (dict(jobs="jobs.csv"), "jobs: 'jobs.csv', must be a dict of arrays"),
        (dict(jobs=dict(gpu=[1.0])), "jobs.gpu: no such dataset"),
    ],
)
def test_scalars_and_tables(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        minimal(**changes)
    assert words in str(caught.value)


def test_scalars_come_out_as_python_s_own() -> None:
    instance = minimal(period_h=np.float32(0.5), carbon_budget_t=np.array(3), seed=np.uint8(7))
    assert (type(instance.period_h), instance.period_h) == (float, 0.5)
    assert (type(instance.carbon_budget_t), instance.carbon_budget_t) == (float, 3.0)
    assert (type(instance.seed), instance.seed) == (int, 7)
    with pytest.raises(InputError, match="sites: 3, must be of type Sites"):
        replace(instance, sites=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (dict(rel_gap="0.1"), "rel_gap: '0.1', must be a number between 0 and 1"),
        (dict(rel_gap=np.True_), "rel_gap: True, must be a number between 0 and 1"),
        (dict(time_limit_seconds=None), "time_limit_seconds: None, must be a number of at least 0"),
        (dict(time_limit_seconds=10**400), "time_limit_seconds: 1000"),
        (dict(time_limit_seconds=[3.0]), "time_limit_seconds: [3.0], must be a number"),
        (dict(seed=2**70), "seed: 1180591620717411303424, must be an integer of at least 0"),
        (dict(method=b"hybrid"), "method: b'hybrid', must be one of"),
    ],
)
def test_options(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        Options(**values)
    assert str(caught.value).startswith(words)


def test_options_take_numpy_s_numbers() -> None:
    options = Options(rel_gap=np.float32(0.5), seed=np.int16(3))
    assert (type(options.rel_gap), options.rel_gap, type(options.seed), options.seed) == (float, 0.5, int, 3)
