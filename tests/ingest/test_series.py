"""Series: units, time zones, gaps, resampling, weather; and what is refused."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from decomp.ingest import weather
from decomp.ingest.layout import File, Series
from decomp.ingest.library import Library
from decomp.ingest.series import read_series
from decomp.ingest.spec import Horizon
from decomp.model.instance import InputError
from series_files import times, write

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
REAL = pytest.mark.skipif(not (DATA / "zones.csv").exists(), reason="the public series are not here")


def read(
    folder: Path, file: dict[str, object], series: dict[str, object], name: str = "price", **horizon: object
) -> np.ndarray:
    """One series over a horizon of 2022-07-15, 4 periods of 15 min unless said otherwise."""
    values: dict[str, object] = dict(start="2022-07-15T00:00Z", periods=4, period_min=15.0) | horizon
    given: dict[str, object] = dict(file="f", column="v", unit="usd/MWh") | series
    declared: dict[str, object] = dict(path="f.csv", step_min=60.0, time_column="t") | file
    library = Library(folder, {"f": File(**declared)}, {"eur": 2.0})  # type: ignore[arg-type]
    tags = {"zone": "X", "time_zone": "Asia/Tokyo"}
    return read_series(library, name, Series(**given), Horizon(**values), tags)  # type: ignore[arg-type]


def test_short_records_are_averaged_and_long_ones_held(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", "t,v", times("2022-07-15T00:00", 24, 5), list(range(24)))
    assert read(tmp_path, dict(step_min=5.0), {}).tolist() == [1, 4, 7, 10]
    assert read(tmp_path, dict(step_min=5.0), {}, periods=2, period_min=60.0).tolist() == [5.5, 17.5]
    write(tmp_path / "f.csv", "t,v", times("2022-07-15T00:00", 3, 60), [10, 20, 30])
    assert read(tmp_path, {}, {}, periods=8).tolist() == [10] * 4 + [20] * 4
    assert read(tmp_path, {}, {}, periods=1, period_min=60.0).tolist() == [10]


def test_a_horizon_may_start_inside_a_record(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", "t,v", times("2022-07-15T00:00", 3, 60), [10, 20, 30])
    assert read(tmp_path, {}, {}, start="2022-07-15T00:30Z").tolist() == [10, 10, 20, 20]


def test_samples_and_means_are_interpolated_where_they_stand(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", "t,v", times("2022-07-14T23:00", 4, 60), [0, 4, 8, 12])
    samples = read(tmp_path, {}, dict(resample="samples"))
    assert samples.tolist() == [4.5, 5.5, 6.5, 7.5]
    assert read(tmp_path, {}, dict(resample="linear")).tolist() == [2.5, 3.5, 4.5, 5.5]
    assert read(tmp_path, {}, dict(resample="linear"), periods=2, period_min=60.0).tolist() == [4, 8]


def test_units_and_currencies(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", "t,v", times("2022-07-15T00:00", 2, 60), [50, 50])
    assert read(tmp_path, {}, dict(unit="eur/MWh", factor=1.5))[0] == 150
    assert read(tmp_path, {}, dict(unit="EUR/kWh", factor=0.01))[0] == 1000
    assert read(tmp_path, {}, dict(unit="g/kWh"), "carbon")[0] == pytest.approx(0.05)
    assert read(tmp_path, {}, dict(unit="degF"), "temperature")[0] == pytest.approx(10)
    assert read(tmp_path, {}, dict(unit="%"), "cloud")[0] == 0.5
    assert read(tmp_path, {}, dict(unit="km/h"), "wind_speed")[0] == pytest.approx(50 / 3.6)
    constant = dict(file="", column="", value=3.0)
    assert read(tmp_path, {}, constant).tolist() == [3.0] * 4


def test_long_files_gzip_and_placeholders(tmp_path: Path) -> None:
    stamps = times("2022-07-15T00:00", 2, 60)
    write(tmp_path / "X.csv.gz", "zone,t,v", ["X", "Y"] * 2, [t for t in stamps for _ in "XY"], [1, 2, 3, 4])
    file = dict(path="{zone}.csv.gz")
    assert read(tmp_path, file, dict(where={"zone": "{zone}"}), periods=8).tolist() == [1] * 4 + [3] * 4
    assert read(tmp_path, file, dict(where={"zone": "Y"}), periods=8)[-1] == 4


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "+09:00", "{time_zone}"])
def test_local_clocks(tmp_path: Path, zone: str) -> None:
    write(tmp_path / "f.csv", "t,v", times("2022-07-15T09:00", 2, 60, ""), [1, 2])
    assert read(tmp_path, dict(time_zone=zone), {}).tolist() == [1] * 4


def test_clocks_going_back_and_forward(tmp_path: Path) -> None:
    local = ["2022-10-30T00:00", "2022-10-30T01:00", "2022-10-30T02:00", "2022-10-30T02:00", "2022-10-30T03:00"]
    file = dict(time_zone="Europe/Berlin")
    day = dict(start="2022-10-29T22:00Z", periods=5, period_min=60.0)
    write(tmp_path / "f.csv", "t,v", local, [1, 2, 3, 4, 5])
    assert read(tmp_path, file, {}, **day).tolist() == [1, 2, 3, 4, 5]
    skipped = ["2022-03-27T01:00", "2022-03-27T03:00"]
    write(tmp_path / "f.csv", "t,v", skipped, [1, 2])
    spring = dict(start="2022-03-27T00:00Z", periods=2, period_min=60.0)
    assert read(tmp_path, file, {}, **spring).tolist() == [1, 2]
    write(tmp_path / "f.csv", "t,v", ["2022-03-27T01:00", "2022-03-27T02:00"], [1, 2])
    with pytest.raises(InputError, match=r"line 3, column v: 2022-03-27T02:00 does not exist in the file's time_zone"):
        read(tmp_path, file, {}, **spring)


def test_stamps_at_the_end_and_hours_in_their_own_column(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", "t,v", times("2022-07-15T01:00", 2, 60), [7, 8])
    assert read(tmp_path, dict(stamp="end"), {}).tolist() == [7] * 4
    write(tmp_path / "f.csv", "t,he,v", ["07/15/2022"] * 2, ["01:00", "2"], [7, 8])
    file = dict(stamp="end", hour_column="he", time_format="%m/%d/%Y", time_zone="UTC")
    assert read(tmp_path, file, {}, periods=8).tolist() == [7] * 4 + [8] * 4


def test_typical_years_and_other_years(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", "month,day,h,v", [2, 7, 7], [29, 15, 15], [1, 1, 2], [0, 5, 6])
    file = dict(time_column="", month_column="month", day_column="day", hour_column="h", stamp="end", time_zone="UTC")
    assert read(tmp_path, file, {}, periods=8).tolist() == [5] * 4 + [6] * 4
    write(tmp_path / "f.csv", "t,v", times("2020-07-15T00:00", 2, 60, ""), [5, 6])
    assert read(tmp_path, dict(time_zone="UTC"), dict(year=2020), periods=8).tolist() == [5] * 4 + [6] * 4
    with pytest.raises(InputError, match="29 February does not exist in year = 2022"):
        read(tmp_path, dict(time_zone="UTC"), dict(year=2022), start="2020-02-29T00:00Z")
    with pytest.raises(
        InputError, match="from 28 February to 01 March there is a 29 February in one of the years only"
    ):
        read(tmp_path, dict(time_zone="UTC"), dict(year=2022), start="2020-02-28T00:00Z", periods=72, period_min=60)
    write(tmp_path / "f.csv", "t,v", times("2022-12-31T00:00", 48, 60, ""), list(range(48)))
    over = read(tmp_path, dict(time_zone="UTC"), dict(year=2022), start="2020-12-31T23:00Z", periods=2, period_min=60)
    assert over.tolist() == [23, 24]


@pytest.mark.parametrize(
    ("rule", "filled"),
    [("interpolate", [2, 3, 4]), ("hold", [1, 1, 4]), (-9.0, [-9, -9, 4]), ("day_before", [12, 13, 4])],
)
def test_rules_for_missing_values(tmp_path: Path, rule: object, filled: list[float]) -> None:
    """The values are 1, none, none, 4 in the four hours, and 11 to 14 the day before."""
    stamps = times("2022-07-14T00:00", 4, 60) + times("2022-07-15T00:00", 4, 60)
    gap = times("2022-07-14T04:00", 20, 60)
    write(tmp_path / "f.csv", "t,v", stamps + gap, [11, 12, 13, 14, 1, "", "n/a", 4] + [0] * 20)
    values = read(tmp_path, {}, dict(missing=rule), periods=4, period_min=60.0)
    assert values.tolist() == [1, *filled]
    with pytest.raises(InputError, match=r"no value at 2022-07-15T01:00Z \(line 7 is blank\); the gap exceeds"):
        read(tmp_path, {}, dict(missing=rule, max_gap_h=1.0), periods=4, period_min=60.0)


def test_absent_rows_are_gaps_too(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", "t,v", [*times("2022-07-15T00:00", 1, 60), *times("2022-07-15T02:00", 2, 60)], [1, 3, 4])
    day = dict(periods=4, period_min=60.0)
    with pytest.raises(InputError, match=r"f.csv, column v: no value at 2022-07-15T01:00Z \(there is no such row\)"):
        read(tmp_path, {}, {}, **day)
    assert read(tmp_path, {}, dict(missing="interpolate"), **day).tolist() == [1, 2, 3, 4]


GOOD = times("2022-07-15T00:00", 3, 60)
REFUSED_SERIES = {
    "blank": ([*GOOD], [1, "", 3], {}, {}, r"f.csv, column v: no value at 2022-07-15T01:00Z \(line 3 is blank\)"),
    "text": ([*GOOD], [1, "two", 3], {}, {}, r"f.csv, line 3, column v: 'two' is not a number"),
    "infinite": ([*GOOD], [1, "inf", 3], {}, {}, r"line 3, column v: 'inf' is not finite"),
    "twice": ([GOOD[0], GOOD[1], GOOD[1]], [1, 2, 3], {}, {}, r"2022-07-15T01:00Z occurs twice, in lines 3 and 4"),
    "irregular": (
        [GOOD[0], "2022-07-15T01:10Z"],
        [1, 2],
        {},
        {},
        r"line 3, column v: 2022-07-15T01:10Z is off the file's ste",
    ),
    "ends early": (GOOD[:1], [1], {}, {}, r"covers 2022-07-15T00:00Z … 2022-07-15T01:00Z, not the horizon"),
    "other year": (times("2021-07-15T00:00", 3, 60), [1, 2, 3], {}, {}, r"no rows for 2022-07-15; the file spans 2021"),
    "no such time": (["yesterday"], [1], {}, {}, r"f.csv, line 2, column t: 'yesterday' is not a time"),
    "no offset": (
        times("2022-07-15T00:00", 3, 60, ""),
        [1, 2, 3],
        {},
        {},
        "carry no offset; give the file's time_zone",
    ),
    "time zone": (GOOD, [1, 2, 3], dict(time_zone="Mars/North"), {}, "'Mars/North': must be UTC, an IANA name"),
    "time column": (GOOD, [1, 2, 3], dict(time_column="when"), {}, "no column 'when'; there are t, v"),
    "column": (GOOD, [1, 2, 3], {}, dict(column="w"), "f.csv: no column 'w'; there are t, v"),
    "unit": (GOOD, [1, 2, 3], {}, dict(unit="usd"), "unit = 'usd': must be CURRENCY/MWh"),
    "currency": (GOOD, [1, 2, 3], {}, dict(unit="gbp/MWh"), r"no rate for 'gbp' in \[currencies\]; there are usd, eur"),
    "magnitude": (
        GOOD,
        [1, 9e6, 3],
        {},
        {},
        r"9e\+06 USD/MWh at 2022-07-15T01:00Z, outside -20000 … 20000: is unit = 'usd/MWh' right",
    ),
    "file": (GOOD, [1, 2, 3], {}, dict(file="g"), r"file = 'g': no such file; \[files\] has f"),
    "placeholder": (GOOD, [1, 2, 3], {}, dict(column="{land}"), r"no placeholder \{land\}"),
    "both": (GOOD, [1, 2, 3], {}, dict(value=3.0), "either a file or a value"),
    "rule": (GOOD, [1, 2, 3], {}, dict(missing="guess"), "missing = 'guess': must be"),
    "where": (GOOD, [1, 2, 3], {}, dict(where={"t": "x"}), "no row has {'t': 'x'}; there are t: 2022-07-15T00:00Z"),
}


@pytest.mark.parametrize("kind", REFUSED_SERIES)
def test_broken_series_are_refused(tmp_path: Path, kind: str) -> None:
    stamps, values, file, series, message = REFUSED_SERIES[kind]
    write(tmp_path / "f.csv", "t,v", stamps, values)
    with pytest.raises(InputError, match=message):
        read(tmp_path, file, series, periods=3, period_min=60.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "f.csv: is empty"),
        (b"t,v,v\n2022-07-15T00:00Z,1,2\n", "column 'v' occurs twice"),
        (b"t,v\n2022-07-15T00:00Z,1,2\n", "line 2: 3 cells where the header has 2"),
        (None, "f.csv: no such file in"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "f.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path, {}, {})


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "f.csv.gz", "t,v", times("2022-07-15T00:00", 24, 60), list(range(24)))
    (tmp_path / "f.csv.gz").write_bytes((tmp_path / "f.csv.gz").read_bytes()[:60])
    with pytest.raises(InputError, match="f.csv.gz: cannot be read"):
        read(tmp_path, dict(path="f.csv.gz"), {})


def test_wind() -> None:
    factor = weather.wind_factor(np.array([0.0, 2.0, 5.0, 9.0, 30.0]))
    assert factor[[0, 1, 3, 4]].tolist() == [0, 0, 1, 0] and 0.1 < factor[2] < 0.3


@pytest.mark.parametrize(
    ("time", "latitude", "longitude", "zenith", "azimuth"),
    [
        ("2022-10-27T20:00", 37.4, -122.0, 50.517, 184.945),
        ("2022-01-20T15:15", -33.4, -70.6, 24.219, 62.250),
        ("2022-06-21T04:30", 50.1, 8.6, 79.741, 65.565),
        ("2022-03-20T08:45", 1.3, 103.9, 55.166, 268.961),
    ],
)
def test_the_sun_is_where_pvlib_sees_it(
    time: str, latitude: float, longitude: float, zenith: float, azimuth: float
) -> None:
    """Middle of a quarter of an hour; angles by pvlib 0.16.1, get_solarposition."""
    start = datetime.fromisoformat(time).replace(tzinfo=timezone.utc)
    sun = weather.sun_position(start, timedelta(minutes=15), 1, latitude, longitude).iloc[0]
    assert sun["zenith"] == pytest.approx(zenith, abs=0.01) and sun["azimuth"] == pytest.approx(azimuth, abs=0.01)


@pytest.mark.parametrize("latitude", [40.0, -40.0])
def test_clouds_dim_the_sun_and_night_is_dark(latitude: float) -> None:
    start = datetime(2022, 3, 21, tzinfo=timezone.utc)
    sun = weather.sun_position(start, timedelta(hours=1), 24, latitude, 0.0)
    clear, cloudy = (
        weather.solar_factor(weather.panel_irradiance(weather.cloudy_irradiance(np.full(24, c), sun), sun, latitude))
        for c in (0.0, 1.0)
    )
    assert 0.7 < clear.max() <= 1 and cloudy.max() < 0.5 * clear.max()
    assert not clear[sun["zenith"] >= 90].any() and abs(int(clear.argmax()) - 12) <= 1


@REAL
def test_real_curiosities_read_as_they_are() -> None:
    """Five-minute prices of 2019 with their extremes, wind of 2020 by another clock, typical-year irradiance."""
    files = dict(
        lbmp=File(path="nyiso_lbmp_5min_2019_4zones.csv.gz", step_min=5, time_column="timestamp_utc"),
        wind=File(
            path="rts_gmlc_wind_rt_5min_2020.csv.gz",
            step_min=5,
            time_column="timestamp_local_mst",
            time_zone="-07:00",
        ),
        tmy=File(
            path="tmy_irradiance_us8_hourly.csv.gz",
            step_min=60,
            month_column="month",
            day_column="day",
            hour_column="hour_ending_lst",
            stamp="end",
            time_zone="-07:00",
        ),
    )
    library, horizon = Library(DATA, files), Horizon(start="2019-07-15", periods=96)
    price = read_series(
        library, "price", Series(file="lbmp", column="NORTH_rt_usd_per_mwh", unit="usd/MWh"), horizon, {}
    )
    wind = Series(file="wind", column="309_WIND_1_rt_cf", unit="1", year=2020)
    sun = Series(file="tmy", column="ghi_wh_per_m2", unit="W/m2", where={"city": "Phoenix_AZ"})
    assert price.shape == (96,) and read_series(library, "wind_factor", wind, horizon, {}).max() <= 1
    assert 800 < read_series(library, "irradiance", sun, horizon, {}).max() < 1200
