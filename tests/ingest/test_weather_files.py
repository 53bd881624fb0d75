"""Weather files by pvlib: instants, means, missing values, typical years; and wind and sun from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from decomp.ingest import weather
from decomp.model.instance import InputError
from ingest.reading import read

EPW_HEAD = (
    "LOCATION,Made up,-,XXX,Nowhere,000000,50.0,8.0,1.0,112.0\nDESIGN CONDITIONS,0\nTYPICAL/EXTREME PERIODS,0\n"
    "GROUND TEMPERATURES,0\nHOLIDAYS/DAYLIGHT SAVINGS,No,0,0,0\nCOMMENTS 1,x\nCOMMENTS 2,y\n"
    "DATA PERIODS,1,1,Data,Sunday, 1/ 1,12/31\n"
)


def epw(days: list[tuple[int, int, int]]) -> str:
    """Days (year, month, day) of an EPW file: 10 degC plus the hour, GHI 30 W/m2 times it, by hours ending."""
    rows = [
        f"{y},{m},{d},{h},60,x,{99.9 if h == 20 else 10 + h},1.0,80,100000,0,1400,300,{h * 30},0,0,0,0,0,0,180,3,5,5,"
        "20,77777,9,999999999,0,0.05,0,88,0,0,1"
        for y, m, d in days
        for h in range(1, 25)
    ]
    return EPW_HEAD + "\n".join(rows) + "\n"


def tmy3(days: list[tuple[int, int, int]]) -> str:
    head = '1,"FIELD",TX,-6.0,30.3,-97.7,198\nDate (MM/DD/YYYY),Time (HH:MM),GHI (W/m^2),Dry-bulb (C)\n'
    return head + "".join(f"{m:02d}/{d:02d}/{y},{h:02d}:00,{h * 30},{h}\n" for y, m, d in days for h in range(1, 25))


def pvgis(n: int) -> str:
    head = "Latitude (decimal degrees):\t50.000\nLongitude (decimal degrees):\t8.000\nElevation (m):\t112\n"
    head += "Radiation database:\tPVGIS-SARAH2\n\n\nSlope: 0 deg. \nAzimuth: 0 deg. \ntime,G(i),H_sun,T2m,WS10m,Int\n"
    rows = "".join(f"202005{6 + k // 24:02d}:{k % 24:02d}10,{k * 10}.0,0.0,{k}.0,2.5,0.0\n" for k in range(n))
    return head + rows + "\nG(i): Global irradiance\nT2m: 2-m air temperature\n\nPVGIS (c) European Union\n"


MEAN = dict(unit="W/m2", resample="step")


def test_epw_is_a_typical_year_in_hours_of_standard_time(tmp_path: Path) -> None:
    text = epw([(1995, 5, 5), (1995, 5, 6), (1998, 6, 1)])
    values, _ = read(tmp_path, text, dict(format="epw"), dict(column="ghi", **MEAN), "irradiance")
    assert values.tolist() == [90, 120, 150]  # 01:00 UTC is 02:00 there, the third hour
    said, _ = read(tmp_path, text, dict(format="epw"), dict(column="ghi", year=1995, **MEAN), "irradiance")
    assert said.tolist() == values.tolist()
    evening = dict(start="2024-05-06T17:00Z")
    with pytest.raises(InputError, match=r"line 52 is blank"):
        read(tmp_path, text, dict(format="epw"), dict(column="temp_air", unit="degC"), "temperature", **evening)
    filled = dict(column="temp_air", unit="degC", missing="interpolate")
    assert read(tmp_path, text, dict(format="epw"), filled, "temperature", **evening)[0].shape == (3,)


def test_a_header_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no row below its header"):
        read(tmp_path, EPW_HEAD, dict(format="epw"), dict(column="ghi", **MEAN), "irradiance")


def test_the_end_of_a_leap_year_s_february_is_the_end_of_any(tmp_path: Path) -> None:
    """Typical years take their February from any year; the last hour of its 28th ends on a 29th in some."""
    text = tmy3([(1996, 2, 28), (1997, 3, 1)])
    values, _ = read(
        tmp_path, text, dict(format="tmy3"), dict(column="GHI (W/m^2)", **MEAN), "irradiance", start="2023-03-01T05:00Z"
    )
    assert values.tolist() == [720, 30, 60]


def test_a_typical_year_has_no_leap_day_and_goes_on_over_new_year(tmp_path: Path) -> None:
    text = epw([(1990, 2, 28), (1991, 3, 1), (1992, 12, 31), (1993, 1, 1)])
    series = dict(column="ghi", **MEAN)
    over, _ = read(tmp_path, text, dict(format="epw"), series, "irradiance", start="2023-12-31T22:00Z", periods=3)
    assert over.tolist() == [720, 30, 60]
    common, _ = read(tmp_path, text, dict(format="epw"), series, "irradiance", start="2023-02-28T22:00Z", periods=3)
    assert common.tolist() == [720, 30, 60]
    with pytest.raises(InputError, match="not the horizon"):
        read(tmp_path, text, dict(format="epw"), series, "irradiance", start="2024-02-28T22:00Z", periods=3)


def test_tmy3_has_ends_of_hours(tmp_path: Path) -> None:
    text = tmy3([(1998, 5, 5), (1998, 5, 6)])
    values, _ = read(
        tmp_path, text, dict(format="tmy3"), dict(column="GHI (W/m^2)", **MEAN), "irradiance", start="2024-05-06T05:00Z"
    )
    assert values.tolist() == [720, 30, 60]
    temperature, _ = read(
        tmp_path, text, dict(format="tmy3"), dict(column="Dry-bulb (C)", unit="degC"), "temperature",
        start="2024-05-06T10:00Z",
    )  # fmt: skip
    assert temperature.tolist() == [4.5, 5.5, 6.5]  # instants at the stamps


def test_pvgis_is_read_up_to_its_legend(tmp_path: Path) -> None:
    series, day = dict(column="T2m", unit="degC"), dict(start="2020-05-06T05:00Z")
    values, library = read(tmp_path, pvgis(24), dict(format="pvgis"), series, "temperature", **day)
    assert values.tolist() == pytest.approx([5 + 1 / 3, 6 + 1 / 3, 7 + 1 / 3]) and not library.notes
    mean, _ = read(tmp_path, pvgis(24), dict(format="pvgis"), dict(column="G(i)", unit="W/m2"), "irradiance", **day)
    assert mean.tolist() == pytest.approx([50 + 10 / 3, 60 + 10 / 3, 70 + 10 / 3])


def test_wind_is_carried_to_the_hub() -> None:
    at_hub = weather.wind_factor(8.0, 100.0, 100.0)
    assert at_hub == pytest.approx((8**3 - 27) / (12**3 - 27))
    assert weather.wind_factor(8.0 * 0.1 ** (1 / 7), 10.0, 100.0) == pytest.approx(at_hub)
    assert weather.wind_factor(8.0, 100.0, 160.0) > at_hub
