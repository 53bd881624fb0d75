"""The colocation study: windows against the extensive form, rolling, forecasts, the laws of the problem."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.files.store import read_instance, read_result
from decomp.model.accounts import account
from decomp.studies.colocation import TARIFFS, Setting, Study
from decomp.studies.errors import among_errors
from decomp.studies.laws import days, laws, operated, truth
from decomp.studies.market import DAY, Before, Case, Market, Month, as_it_arrives, honest, instance_of, read_market
from decomp.studies.window import curve, cut, operate, plan, plan_among, roll
from drivers.colocation_study import main
from drivers.common import run
from running import CHECKOUT, refused

pytestmark = pytest.mark.slow

DATA = CHECKOUT.parent / "shared" / "data"
real_data = pytest.mark.skipif(not (DATA / "nyiso_lbmp_5min_2019_4zones.csv.gz").exists(), reason="no data")


@cache
def market(n_days: int = 2) -> Market:
    return read_market(Month(days=n_days), None)


def study(n_days: int = 2) -> Study:
    return Study(market(n_days), Setting(Month(days=n_days), truth_days=1), tell=lambda line: None)


@pytest.mark.parametrize("tariff", TARIFFS)
@pytest.mark.parametrize("deferrable", [0.0, 0.1, 0.4])
def test_a_window_is_the_extensive_form(tariff: str, deferrable: float) -> None:
    """Also where many prices are negative, so that the exact power curve needs its binaries."""
    shifted = replace(market(), real_time=market().real_time - 35.0, day_ahead=market().day_ahead - 60.0)
    for series in (market(), shifted):
        day = days(instance_of(series, Case(tariff, 150.0, deferrable)))[1]
        found, whole = plan(day), solve_extensive(day)
        assert whole.gap_rel < 1e-9
        assert found.cost == pytest.approx(whole.incumbent, rel=1e-6)
        assert found.relaxed <= found.cost + 1e-6
        assert operated(day, found) == pytest.approx(found.cost, rel=1e-9)


def test_the_power_curve_as_an_inequality_promises_too_much() -> None:
    negative = replace(market(), real_time=market().real_time - 35.0)
    day = days(instance_of(negative, Case(deferrable=0.1)))[0]
    found = plan(day)
    assert found.burnt_mwh > 1.0
    assert found.relaxed < found.cost - 10.0
    loose = replace(day, sites=replace(day.sites, exact_power_curve=np.array([False])))
    assert plan(loose).cost == pytest.approx(found.relaxed)
    schedule = operate(day, found.pool_gpu)
    load = schedule.routed_gpu.sum(axis=0) + schedule.pool_gpu.sum(axis=0)
    assert schedule.it_power_mw[0] == pytest.approx(curve(day, load))


@pytest.mark.parametrize("foresight", ["none", "perfect", "forecast", "scenarios"])
@pytest.mark.parametrize("tariff", TARIFFS)
def test_every_run_does_all_work_and_passes_the_certificate(tariff: str, foresight: str) -> None:
    one = study()
    case = one.base(tariff)
    instance, schedule = one.instance(case), one.run(case, foresight)
    certificate = check(instance, one.result(case, foresight), bound=False)
    assert certificate.ok, certificate.findings
    assert instance.period_h * schedule.pool_gpu.sum(axis=1) == pytest.approx(instance.pools.work_gpu_h)
    cost = account(instance, schedule).net_cost
    assert one.lower_bound(case) <= cost + 1e-6 * abs(cost)


def test_one_future_that_is_certain_is_perfect_foresight() -> None:
    """And plans for two futures do the same until the next plan, between what each of them would do best."""
    m, case = market(), Case("retail")
    instance = instance_of(m, case)
    known = roll(instance, DAY, DAY, futures=lambda whole, now, end: [whole])
    assert account(instance, known.schedule).net_cost == pytest.approx(
        account(instance, roll(instance, DAY, DAY).schedule).net_cost, rel=1e-6
    )
    calm = replace(instance, sites=replace(instance.sites, wind_mw=0.0 * instance.sites.wind_mw))
    day, still = days(instance)[0], days(calm)[0]
    both = plan_among([day, still], DAY)
    alone = [plan_among([future], DAY) for future in (day, still)]
    held = [account(f, operate(f, both.pool_gpu)).net_cost for f in (day, still)]
    assert both.cost == pytest.approx(np.mean(held), rel=1e-6) and both.relaxed <= both.cost + 1e-6
    assert both.cost >= np.mean([one.cost for one in alone]) - 1e-6
    free = plan_among([day, still], 0)
    assert free.cost == pytest.approx(np.mean([one.cost for one in alone]), rel=1e-6)


def test_scenarios_know_nothing_that_is_still_to_come() -> None:
    case, m = Case("wholesale"), market()
    now = DAY + 40
    later = np.arange(m.site.n_periods) >= now
    other = replace(m, real_time=np.where(later, 999.0, m.real_time), wind_factor=np.where(later, 0.5, m.wind_factor))
    seen = [among_errors(x, case)(instance_of(x, case), now, now + DAY - 40) for x in (m, other)]
    assert len(seen[0]) == len(seen[1]) == 1  # one day is over
    for a, b in zip(*seen, strict=True):
        part = [cut(future, now, now + DAY - 40).sites for future in (a, b)]
        assert np.array_equal(part[0].buy_price, part[1].buy_price)
        assert np.array_equal(part[0].wind_mw, part[1].wind_mw)
    before = Before(m.real_time + 5.0, m.day_ahead, m.wind_factor)
    futures = among_errors(replace(m, before=before), case, 2)(instance_of(m, case), now, now + DAY - 40)
    assert len(futures) == 2


def test_the_demand_charge_is_paid_once_over_all_windows() -> None:
    instance = study().instance(Case("retail"))
    done = roll(instance, DAY, DAY)
    month = account(instance, done.schedule)
    assert sum(p.cost for p in done.plans) == pytest.approx(month.net_cost, rel=1e-9)
    peaks = done.schedule.import_mw.reshape(-1, DAY).max(axis=1)
    assert month.components["demand_charge"] == pytest.approx(10_000.0 * peaks.max())


def test_planning_again_within_the_day_changes_nothing_when_all_is_known() -> None:
    """Wholesale days are separate: any pace of planning gives the optimum."""
    instance = study().instance(Case("wholesale"))
    costs = [account(instance, roll(instance, every, DAY).schedule).net_cost for every in (DAY, 24, 8)]
    assert costs == pytest.approx([costs[0]] * 3, rel=1e-9)


def test_a_forecast_knows_nothing_that_is_still_to_come() -> None:
    case = Case("wholesale")
    instance = instance_of(market(), case)
    now = 40  # ten o'clock: tomorrow's prices are not out
    later = np.arange(instance.n_periods) >= now
    other = replace(
        market(),
        real_time=np.where(later, 999.0, market().real_time),
        wind_factor=np.where(later, 0.5, market().wind_factor),
        day_ahead=np.where(np.arange(instance.n_periods) >= DAY, 777.0, market().day_ahead),
    )
    seen = [honest(m, case)(instance_of(m, case), now, now + DAY) for m in (market(), other)]
    windows = [cut(expected, now, now + DAY) for expected in seen]
    for name in ("buy_price", "sell_price", "wind_mw"):
        assert np.array_equal(getattr(windows[0].sites, name), getattr(windows[1].sites, name)), name
    assert np.array_equal(windows[0].sites.buy_price[0, : DAY - now], market().day_ahead[now:DAY])
    after = honest(other, case)(instance_of(other, case), 44, 44 + DAY)
    assert after.sites.buy_price[0, DAY] == 777.0  # at eleven they are


def test_the_baselines_do_not_depend_on_the_deferrable_share() -> None:
    costs = [study().cost(Case("retail", deferrable=share), "none") for share in (0.0, 0.3, 1.0)]
    assert costs == pytest.approx([costs[0]] * 3, rel=1e-12)
    case = Case(deferrable=0.3)
    pools = as_it_arrives(market(), case)
    assert 0.25 * pools.sum(axis=1) == pytest.approx(instance_of(market(), case).pools.work_gpu_h)


def test_the_laws_hold_on_a_few_days() -> None:
    one = study()
    found = laws(one, one.by_share((0.0, 0.1, 0.4, 0.9, 1.0)), one.by_ratio((0.0, 1.0, 3.0)), truth(one))
    open_ones = [law for law in found if law.name.startswith("Retail")]  # these depend on the tariff and on the month
    assert (len(found), len(open_ones)) == (11, 4)
    assert all(law.holds for law in found if law not in open_ones), [law for law in found if not law.holds]
    retail = one.base("retail")
    saving = 1.0 - one.cost(retail, "forecast") / one.cost(replace(retail, wind_mw=0.0), "none")
    assert one.by_pace((one.setting.every,))[1] == (one.setting.every, "retail", pytest.approx(saving, rel=1e-12))


def test_the_command_writes_tables_figures_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    assert main(["-o", str(folder), "--days", "1", "--replan", "12"]) == 0
    text = (folder / "summary.md").read_text("utf-8")
    assert text in capsys.readouterr().out
    assert f"python -m drivers.colocation_study -o {folder} --days 1 --replan 12" in text
    for name in ("figure1.png", "figure2.png", "figure3.png", "figure4.png"):
        assert name in text
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"
    with (folder / "table2.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["configuration"] for row in rows[:3]] == [
        "no colocation", "colocation, no scheduling", "optimal colocation",
    ]  # fmt: skip
    instance, result = read_instance(folder / "retail.h5"), read_result(folder / "retail-forecast.h5")
    assert check(instance, result, bound=False).ok
    assert result.incumbent == pytest.approx(float(rows[7]["cost_usd"]))
    assert not list(folder.glob("*.tmp*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--month", "July"], "month 'July': not a month such as"),
        (["--days", "32"], "32 days: 2019-03 has 31"),
        (["--replan", "5"], "replan 5 h: must be quarter hours that divide a day"),
        (["--wind", "-1"], "--wind: -1: must be a number of at least 0 and at most 10000"),
        (["--deferrable", "nan"], "--deferrable: nan: must be a number of at least 0 and at most 1"),
        (["--data", "nowhere"], "nowhere: no such data folder"),
    ],
)
def test_bad_input_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(main, arguments, tmp_path / "out", capsys)


def test_an_output_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("mine")
    assert run(main, ["-o", str(tmp_path / "out")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


@cache
def real_market() -> Market:
    return read_market(Month("2019-07", 4), DATA)


@real_data
def test_days_without_real_time_prices_take_the_day_ahead_ones() -> None:
    """The first of July 2019 is one."""
    found = real_market()
    assert found.site.start_utc == "2019-07-01T05:00Z"
    assert found.site.n_periods == 4 * DAY
    same = np.abs(found.real_time - found.day_ahead) < 1e-9
    assert same[:DAY].mean() > 0.9
    assert same[DAY:].mean() < 0.1
    assert "missing: day-ahead instead" in found.source


@real_data
def test_the_wholesale_law_on_real_series() -> None:
    one = Study(real_market(), Setting(Month("2019-07", 4)), tell=lambda line: None)
    points = [p for p in one.by_ratio((0.0, 1.5, 3.0)) if p.tariff == "wholesale"]
    assert np.ptp([p.benefit for p in points]) < 1e-3
    assert points[1].benefit > 0.01
    assert 2 * points[1].saving - points[0].saving == pytest.approx(points[2].saving, abs=1e-6)
