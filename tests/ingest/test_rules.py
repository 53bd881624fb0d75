"""Nothing wrong goes in silently: each rule on both of its sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decomp.model.instance import InputError
from ingest.reading import read

UTC = dict(time_column="t", step_min=60)
STAMPS = [f"2024-05-06T0{h}:00Z" for h in range(6)]


def table(values: list[object], stamps: list[str] = STAMPS) -> str:
    return "t,v\n" + "".join(f"{t},{v}\n" for t, v in zip(stamps, values, strict=False))


# ---------------------------------------------------------------- 1: numbers that reach the end of a day mark ends


HOURS = "d,h,v\n" + "".join(f"2024-05-{d:02d},{h},{100 * d + h}\n" for d in (5, 6) for h in range(1, 25))
PERIODS = "d,p,v\n" + "".join(f"2024-05-06,{p},{p}\n" for p in range(1, 49))
NUMBERED = dict(time_column="d", time_zone="UTC")


def test_hours_to_24_are_ends_and_must_be_said(tmp_path: Path) -> None:
    hours = NUMBERED | dict(hour_column="h", step_min=60)
    assert read(tmp_path, HOURS, hours | dict(stamp="end"), {})[0].tolist() == [602, 603, 604]
    with pytest.raises(InputError, match=r"f.csv, column h: .* mark ends: say stamp = \"end\""):
        read(tmp_path, HOURS, hours, {})
    early = "\n".join(line for line in HOURS.split("\n") if ",24," not in line)
    assert read(tmp_path, early, hours, {})[0].tolist() == [601, 602, 603]


def test_periods_to_48_are_ends_and_must_be_said(tmp_path: Path) -> None:
    periods = NUMBERED | dict(period_column="p", step_min=30)
    assert read(tmp_path, PERIODS, periods | dict(stamp="end"), {})[0].tolist() == [3.5, 5.5, 7.5]
    with pytest.raises(InputError, match="column p: .* stamp"):
        read(tmp_path, PERIODS, periods, {})
    assert read(tmp_path, PERIODS[: PERIODS.index("2024-05-06,20")], periods, {})[0].tolist() == [3.5, 5.5, 7.5]


def test_24_00_marks_an_end(tmp_path: Path) -> None:
    text = table([1, 2, 3, 4], ["2024-05-05 24:00", "2024-05-06 01:00", "2024-05-06 02:00", "2024-05-06 03:00"])
    file = UTC | dict(time_zone="UTC", stamp="end")
    assert read(tmp_path, text, file, {}, start="2024-05-05T23:00Z")[0].tolist() == [1, 2, 3]
    with pytest.raises(InputError, match="stamp"):
        read(tmp_path, text, UTC | dict(time_zone="UTC"), {}, start="2024-05-06T00:00Z")


# ------------------------------------------------------------------------- 2: ends are turned to UTC as ends


@pytest.mark.parametrize(
    ("zone", "local", "first"),
    [
        # clocks go back: New York at 02:00, Sydney at 03:00, Lord Howe by half an hour at 02:00
        ("America/New_York", ["00:00", "01:00", "01:00", "02:00", "03:00"], "2024-11-03T03:00Z"),
        ("Australia/Sydney", ["01:00", "02:00", "02:00", "03:00", "04:00"], "2024-04-06T13:00Z"),
        # clocks go forward: the hour before ends when the next but one begins
        ("America/New_York", ["00:00", "01:00", "03:00", "04:00", "05:00"], "2024-03-10T04:00Z"),
        ("America/Santiago", ["22:00", "23:00", "01:00", "02:00", "03:00"], "2024-09-08T01:00Z"),
    ],
)
def test_ends_over_a_change_of_the_clocks(tmp_path: Path, zone: str, local: list[str], first: str) -> None:
    day = {"03": "2024-11-03", "06": "2024-04-07", "10": "2024-03-10", "08": "2024-09-08"}[first[8:10]]
    before = {"2024-09-08": "2024-09-07"}
    stamps = [f"{before.get(day, day) if t >= '22' else day} {t}" for t in local]
    file = UTC | dict(time_zone=zone, stamp="end")
    values, _ = read(tmp_path, table([1, 2, 3, 4, 5], stamps), file, {}, start=first, periods=5)
    assert values.tolist() == [1, 2, 3, 4, 5]
    values, _ = read(tmp_path, table([5, 4, 3, 2, 1], stamps[::-1]), file, {}, start=first, periods=5)
    assert values.tolist() == [1, 2, 3, 4, 5]


def test_a_blank_row_for_the_hour_that_does_not_exist_is_passed_over(tmp_path: Path) -> None:
    stamps = [f"2024-03-31 0{h}:00" for h in range(6)]
    file, day = UTC | dict(time_zone="Europe/Berlin"), dict(start="2024-03-30T23:00Z", periods=5)
    assert read(tmp_path, table([0, 1, "", 3, 4, 5], stamps), file, {}, **day)[0].tolist() == [0, 1, 3, 4, 5]
    with pytest.raises(InputError, match=r"f.csv, line 4, column v: 2024-03-31T02:00 does not exist .*'2'"):
        read(tmp_path, table([0, 1, 2, 3, 4, 5], stamps), file, {}, **day)


# ------------------------------------------------------------------------------------------- 4: plausible values


@pytest.mark.parametrize(
    ("quantity", "unit", "values", "message"),
    [
        ("price", "eur/MWh", [0.04, 0.05, 0.06, 0.05], "a mean of 0.05 USD/MWh is too little: unit = 'eur/kWh'"),
        ("price", "eur/MWh", [25_000] * 4, "line 3, column v: 25000 is 25000 USD/MWh .* outside -20000 … 20000"),
        ("carbon", "g/kWh", [0.3, 0.4, 0.5, 0.4], "unit = 't/MWh'"),
        ("carbon", "kg/MWh", [400_000] * 4, "outside 0 … 1.6"),
        ("carbon", "t/MWh", [400] * 4, "unit = 'kg/MWh' or 'g/kWh'"),
        ("wind_factor", "1", [40, 50, 60, 50], "unit = '%'"),
        ("wind_factor", "%", [0.4, 0.5, 0.6, 0.5], "unit = '1'"),
        ("temperature", "degC", [280, 281, 282, 283], "unit = 'K'"),
        ("demand", "1", [90, 95, 100, 110], "95 is 95 at .*outside 0 … 20.*unit = '%'"),
        ("demand", "%", [0.9, 1.0, 1.1, 1.0], "unit = '1'"),
    ],
)
def test_implausible_values_are_refused_with_the_unit_that_fits(
    tmp_path: Path, quantity: str, unit: str, values: list[object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, table(values), UTC, dict(unit=unit), quantity)
    if quantity != "temperature":
        assert read(tmp_path, table(values), UTC, dict(unit=unit, plausible=False), quantity)[0].shape == (3,)


@pytest.mark.parametrize(
    ("quantity", "unit", "values"),
    [
        ("price", "eur/MWh", [-40, 0, 0.01, 45]),
        ("price", "eur/kWh", [0.04, 0.05, 0.06, 0.05]),
        ("carbon", "g/kWh", [12, 13, 14, 3]),
        ("wind_factor", "1", [0, 0, 0, 0]),
        ("solar_factor", "%", [0, 0, 3, 80]),
    ],
)
def test_rare_values_are_taken(tmp_path: Path, quantity: str, unit: str, values: list[object]) -> None:
    assert read(tmp_path, table(values), UTC, dict(unit=unit), quantity)[0].shape == (3,)


@pytest.mark.parametrize(
    ("quantity", "series", "message"),
    [
        ("carbon", dict(unit="t/MWh", missing=400.0), "missing: 400 t/MWh is outside 0 … 1.6"),
        ("wind_factor", dict(unit="1", missing=-1), "missing: -1 is outside 0 … 1"),
    ],
)
def test_a_number_for_what_is_missing_is_plausible_too(
    tmp_path: Path, quantity: str, series: dict[str, Any], message: str
) -> None:
    values = table([0.1, 0.2, "", 0.3])
    with pytest.raises(InputError, match=message):
        read(tmp_path, values, UTC, series, quantity)
    assert read(tmp_path, values, UTC, series | dict(missing=0.4), quantity)[0].tolist() == [0.2, 0.4, 0.3]


def test_every_series_is_summed_up(tmp_path: Path) -> None:
    series = dict(unit="eur/MWh", missing="interpolate")
    _, library = read(tmp_path, table([1, 10, "", 30, 5]), UTC, series)
    assert library.summaries == [
        "price 10 … 30, mean 20 USD/MWh, 33.3 % filled, 2024-05-06T01:00Z … 2024-05-06T03:00Z, f.csv, column v"
    ]


# ------------------------------------------------------------------------------------------------ 5: sentinels


@pytest.mark.parametrize("text", ["-9999", "-999", "9999", "-9999.00", "-99.9"])
def test_sentinels_are_refused_unless_declared(tmp_path: Path, text: str) -> None:
    series = dict(unit="eur/MWh", missing="interpolate")
    with pytest.raises(
        InputError, match=rf"f.csv, line 4, column v: {text} often means missing: na_values = \[{text}\]"
    ):
        read(tmp_path, table([1, 10, text, 30]), UTC, series)
    values, _ = read(tmp_path, table([1, 10, text, 30]), UTC | dict(na_values=[float(text)]), series)
    assert values.tolist() == [10, 20, 30]
    values, _ = read(tmp_path, table([1, 10, text, 30]), UTC | dict(na_values={"v": [text]}), series)
    assert values.tolist() == [10, 20, 30]


# ---------------------------------------------------------------------------- 6: an hourly price holds for its hour


def test_hourly_prices_in_quarter_hours_are_held(tmp_path: Path) -> None:
    quarters = [f"2024-05-06T03:{m:02d}Z" for m in (0, 15, 30, 45)] + ["2024-05-06T04:00Z"]
    text = table([1, 10, 30, 40, 50, 60, 70, 80], [*STAMPS[:3], *quarters])
    day = dict(period_min=15.0, periods=12)
    held = [10] * 4 + [30] * 4 + [40, 50, 60, 70]
    for file in (UTC | dict(step_min=15), UTC | dict(step_min=[60, 15])):
        values, library = read(tmp_path, text, file, dict(missing="interpolate"), **day)
        assert values.tolist() == held
        assert bool(library.notes) == (file["step_min"] == 15)
    early = [t.replace("T03", "T01") for t in quarters[:4]]
    one = table([1, 2, 3, 4, 10, 20, 30, 40, 50, 60], [*early, STAMPS[2], *quarters])
    with pytest.raises(InputError, match=r"holds for its hour: step_min = \[60, 15\], or missing = \"hold\""):
        read(tmp_path, one, UTC | dict(step_min=15), dict(missing="interpolate"), **day)
    values, _ = read(tmp_path, one, UTC | dict(step_min=15), dict(missing="hold"), **day)
    assert values.tolist() == [1, 2, 3, 4] + [10] * 4 + [20, 30, 40, 50]


# ---------------------------------------------------------------------------------------- 7: years and clocks


def test_the_years_must_agree_or_be_said(tmp_path: Path) -> None:
    text = table(list(range(6))).replace("2024", "2019")
    with pytest.raises(InputError, match=r"no rows for 2024-05-06; the file spans 2019.*year = 2019"):
        read(tmp_path, text, UTC, {})
    assert read(tmp_path, text, UTC, dict(year=2019, plausible=False))[0].tolist() == [1, 2, 3]


def test_an_abbreviation_in_a_place_with_summer_time_is_noted(tmp_path: Path) -> None:
    text = table(list(range(6))).replace("Z", "")
    day = dict(start="2024-05-06T06:00Z", site_zone="America/New_York")
    values, library = read(tmp_path, text, UTC | dict(time_zone="EST"), {}, **day)
    assert values.tolist() == [1, 2, 3] and "-05:00 all year" in library.notes[0]
    assert "America/New_York" in library.notes[0]
    assert not read(tmp_path, text, UTC | dict(time_zone="-05:00"), {}, **day)[1].notes
    with pytest.raises(InputError, match=r"time_zone = 'PST': .*'?\"-08:00\", .*\"America/Los_Angeles\""):
        read(tmp_path, text, UTC | dict(time_zone="PST"), {}, **day)


# -------------------------------------------------------------------------- 9: unreadable cells where they are needed


def test_unreadable_cells_are_refused_inside_and_noted_outside(tmp_path: Path) -> None:
    days = [f"2024-05-{d:02d}T{h:02d}:00Z" for d in (6, 9) for h in range(24)]
    values: list[object] = [10 + k for k in range(48)]
    bad_value = table([*values[:40], "see note", *values[41:]], days)
    result, library = read(tmp_path, bad_value, UTC, {})
    assert result.tolist() == [11, 12, 13] and "f.csv, line 42, column v: 'see note'" in library.notes[0]
    bad_stamp = table(values, [*days[:40], "n.n.", *days[41:]])
    assert "f.csv, line 42: no readable time" in read(tmp_path, bad_stamp, UTC, {})[1].notes[0]
    tail = table(values, days) + ",\n,\n;Source: somebody\n".replace(";", ",")
    result, library = read(tmp_path, tail, UTC, {})
    assert result.tolist() == [11, 12, 13] and len(library.notes) <= 2
    with pytest.raises(InputError, match="f.csv, line 4, column v: 'x' is not a number"):
        read(tmp_path, table([1, 2, "x", 4, 5]), UTC, {})
    with pytest.raises(InputError, match="f.csv, line 4, column t: 'noon' is not a time"):
        read(tmp_path, table([1, 2, 3, 4, 5, 6], [*STAMPS[:2], "noon", *STAMPS[3:]]), UTC, {})


# ------------------------------------------------------------------------------------------------------ 10: clip


def test_a_little_beyond_is_clipped_and_noted(tmp_path: Path) -> None:
    night = table([0, -0.4, 55, 100.3, 0])
    values, library = read(tmp_path, night, UTC, dict(unit="%", resample="step"), "solar_factor")
    assert values.tolist() == [0, 0.55, 1] and "2 value(s) beyond 0 … 1 clipped" in library.notes[0]
    with pytest.raises(InputError, match=r"line 3, column v: -4 is -0.04, beyond 0 … 1 by more than clip = 0.02"):
        read(tmp_path, night.replace("-0.4", "-4"), UTC, dict(unit="%", resample="step"), "solar_factor")
    wide = dict(unit="%", resample="step", clip=0.05)
    assert read(tmp_path, night.replace("-0.4", "-4"), UTC, wide, "solar_factor")[0].tolist() == [0, 0.55, 1]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        *((dict(step_min=v), "files.f.step_min = .*: must be") for v in (0, -1, "60", True, [], {}, float("nan"), 1e9)),
        (dict(step_min=[60, "x"]), "files.f.step_min.1 = 'x': must be a number"),
        *((dict(time_column=v), "files.f.time_column = .*: must be a") for v in (5, True, [], {"t": 1})),
        (dict(time_column=["t", 1]), "files.f.time_column.1 = 1: must be a string"),
        *((dict(time_format=v), "files.f.time_format = .*: must be a") for v in (5, [], {})),
        *((dict(hour_column=v), "files.f.hour_column = .*: must be a") for v in (1.5, {})),
        *((dict(skiprows=v), "files.f.skiprows = .*: must be") for v in (-1, 1.5, True, [], {})),
        (dict(columns=["t", "v"]), "columns names those of a table without header; say header = false"),
        (dict(time_format="%Y-%m-%d %H:%M %p"), r"%I \(hours 1 to 12\) and %p \(AM, PM\) go together; 0 to 23 are %H"),
        (dict(time_format="%Y-%m-%d %I:%M"), r"%I \(hours 1 to 12\) and %p \(AM, PM\) go together"),
    ],
)
def test_keys_of_several_kinds_are_of_one_of_them(tmp_path: Path, keys: dict[str, Any], words: str) -> None:
    text = "t,v\n" + "".join(f"2024-05-06 0{k}:00 PM,{10 * k}\n" for k in range(1, 6))
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path, text, dict(time_column="t", step_min=60, time_zone="UTC") | keys, {})
    assert "\n" not in str(caught.value)


def test_the_afternoon_is_twelve_hours_later(tmp_path: Path) -> None:
    text = "t,v\n" + "".join(f"2024-05-06 0{k}:00 PM,{10 * k}\n" for k in range(1, 6))
    keys = dict(time_column="t", step_min=60, time_zone="UTC", time_format="%Y-%m-%d %I:%M %p")
    assert read(tmp_path, text, keys, {}, start="2024-05-06T14:00Z")[0].tolist() == [20.0, 30.0, 40.0]


def test_sun_in_kilowatts_is_not_taken_for_watts(tmp_path: Path) -> None:
    text = "t,v\n" + "".join(f"2024-05-06T0{k}:00Z,{v}\n" for k, v in enumerate((0.0, 0.2, 0.4, 0.6, 0.8)))
    keys = dict(time_column="t", step_min=60)
    with pytest.raises(InputError, match=r"a mean of 0\.5 W/m2 is too little: unit = 'kW/m2'\? plausible = false"):
        read(tmp_path, text, keys, dict(unit="W/m2"), "irradiance")
    assert read(tmp_path, text, keys, dict(unit="kW/m2"), "irradiance")[0].max() == pytest.approx(600.0)
