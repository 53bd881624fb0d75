"""Presets: a small invented file in each layout reads as it should, whatever its season."""

from __future__ import annotations

from pathlib import Path

import pytest

from decomp.ingest.presets import guess_preset, names_for, presets
from ingest.reading import Keys, read

H24 = range(24)
FALL = ["00", "01", "02", "02", "03", "04", "05"]  # hours of 27 October 2024 in central Europe, as starts


def entsoe(zone: str, form: str) -> str:
    rows = "".join(f'"{form.format(h)} - {form.format("xx")}","DE","{k + 10}.5"\n' for k, h in enumerate(FALL))
    return f'"MTU ({zone})","Area","Day-ahead Price (EUR/MWh)"\n{rows}'


def psm(stamps: list[tuple[int, int]]) -> str:
    rows = "".join(f"2024,5,6,{h},{m},{10 + h}\n" for h, m in stamps)
    place = "Source,Location ID,Latitude,Longitude,Time Zone,Elevation,Local Time Zone\nNSRDB,1,40.5,-105,-7,1500,-7\n"
    return f"{place}Year,Month,Day,Hour,Minute,Temperature\n{rows}"


MISO = "Day Ahead Market ExPost LMPs\n05/06/2024\n\n,,,All Hours-Ending are EST\n" + ",".join(
    ["Node", "Type", "Value", *(f"HE {h}" for h in range(1, 25))]
)
HOURS = [f"{h:02d}" for h in H24]
EUROPE: Keys = dict(start="2024-10-26T22:00Z", periods=5)

# name of the case: preset, text, keys beside the preset, series, horizon, values
FILES: dict[str, tuple[str, str, Keys, Keys, Keys, list[float]]] = {
    "entsoe old": (
        "entsoe", entsoe("CET/CEST", "27.10.2024 {}:00"), dict(step_min=60), dict(column="Day-ahead*"), EUROPE,
        [10.5, 11.5, 12.5, 13.5, 14.5],
    ),
    "entsoe new, UTC": (
        "entsoe", entsoe("UTC", "27/10/2024 {}:00:00").replace("27/10/2024 02:00:00 -", "27/10/2024 02:30:00 -", 1),
        dict(step_min=60, off_grid="drop"), dict(column="Day-ahead Price (EUR/MWh)"),
        dict(start="2024-10-27T02:00Z", periods=3), [13.5, 14.5, 15.5],
    ),
    "entsoe new, marked": (
        "entsoe",
        '"MTU (CET/CEST)","Price"\n'
        + "".join(
            f'"27/10/2024 {t} - x","{v}"\n'
            for t, v in [("00:00:00", 1), ("01:00:00 (CEST)", 2), ("02:00:00 (CET)", 4), ("02:00:00 (CEST)", 3),
                         ("03:00:00", 5)]
        ),
        dict(step_min=60), dict(column="Price", plausible=False), EUROPE, [1, 2, 3, 4, 5],
    ),
    "smard": (
        "smard",
        "Datum von;Datum bis;DE [€/MWh];AT [€/MWh]\n"
        + "".join(f"27.10.2024 {h}:00;x;1.00{k},5;-\n" for k, h in enumerate(FALL)),
        dict(step_min=60), dict(column="DE [€/MWh]"), EUROPE, [1000.5, 1001.5, 1002.5, 1003.5, 1004.5],
    ),
    "smard_en": (
        "smard_en",
        "Start date;End date;Germany/Luxembourg [€/MWh] Original resolutions\n"
        + "".join(f"May 6, 2024 {h % 12 or 12}:00 {'AP'[h // 12]}M;x;1,0{h:02d}.5\n" for h in H24),
        dict(step_min=60), dict(column="Germany*"), {}, [1003.5, 1004.5, 1005.5],
    ),
    "nordpool": (
        "nordpool",
        "Elspot Prices in EUR/MWh;;\nData was last updated 28-10-2024;;\n;Hours;SE1\n"
        + "".join(f"27-10-2024;{h}\u00a0-\u00a0{int(h) + 1:02d};{k},25\n" for k, h in enumerate(FALL, 20)),
        {}, dict(column="SE1"), EUROPE, [20.25, 21.25, 22.25, 23.25, 24.25],
    ),
    "energy_charts": (
        "energy_charts",
        '"Datum (MESZ)","Preis"\n"","EUR/MWh"\n' + "".join(f'"2024-07-01T{h}:00+02:00",{int(h) + 9}\n' for h in HOURS),
        dict(step_min=60), dict(column="Preis"), dict(start="2024-06-30T22:00Z"), [9, 10, 11],
    ),
    "opsd": (
        "opsd",
        "utc_timestamp,cet_cest_timestamp,DE_price\n"
        + "".join(f"2019-05-06T{h}:00:00Z,2019-05-06T{h}:00:00+0200,{int(h) + 9}\n" for h in HOURS),
        dict(step_min=60), dict(column="DE_price"), dict(start="2019-05-06T00:00Z"), [9, 10, 11],
    ),
    "aemo": (
        "aemo",
        "REGION,SETTLEMENTDATE,RRP\n"
        + "".join(f"SA1,2024/10/06 {10 + k // 12:02d}:{k % 12 * 5:02d}:00,{k}\n" for k in range(1, 60)),
        {}, dict(column="RRP", unit="aud/MWh"), dict(start="2024-10-06T00:00Z", period_min=15.0), [2, 5, 8],
    ),
    "elexon, as the interface writes it": (
        "elexon",
        "settlementDate,settlementPeriod,systemSellPrice\n" + "".join(f"2024-10-27,{p},{p}\n" for p in range(1, 51)),
        {}, dict(column="systemSellPrice", unit="gbp/MWh"), dict(start="2024-10-27T00:00Z", periods=2), [3.5, 5.5],
    ),
    "neso_carbon": (
        "neso_carbon",
        "Datetime (UTC),Actual Carbon Intensity (gCO2/kWh)\n"
        + "".join(f"2024-05-06T{h}:{m}Z,{100 + int(h)}\n" for h in HOURS for m in ("00", "30")),
        {}, dict(column="Actual*", unit="g/kWh"), {}, [0.101, 0.102, 0.103],
    ),
    "nyiso_da": (
        "nyiso_da",
        "Time Stamp,Name,LBMP ($/MWHr)\n"
        + "".join(f"11/03/2024 {h}:00,N.Y.C.,{k}\n" for k, h in enumerate(["00", "01", "01", "02", "03"], 30)),
        {}, dict(column="LBMP ($/MWHr)"), dict(start="2024-11-03T04:00Z", periods=4), [30, 31, 32, 33],
    ),
    "nyiso_rt": (
        "nyiso_rt",
        "Time Stamp,Name,LBMP ($/MWHr)\n"
        + "".join(f"05/06/2024 {h:02d}:{m:02d}:{s:02d},N.Y.C.,{h * 60 + m}\n"
                  for h in range(3) for m in range(0, 60, 5) for s in ([0, 17] if m == 10 else [0])),
        {}, dict(column="LBMP ($/MWHr)"), dict(start="2024-05-06T04:00Z", periods=2), [32.5, 92.5],
    ),
    "pjm": (
        "pjm",
        "datetime_beginning_utc,datetime_beginning_ept,pnode_name,total_lmp_da\n"
        + "".join(f"5/6/2024 {h % 12 or 12}:00:00 {'AP'[h // 12]}M,x,WEST,{h}\n" for h in H24),
        {}, dict(column="total_lmp_da"), dict(start="2024-05-06T11:00Z"), [11, 12, 13],
    ),
    "caiso_oasis": (
        "caiso_oasis",
        "INTERVALSTARTTIME_GMT,NODE,LMP_TYPE,MW\n"
        + "".join(f"2024-05-06T{h}:00:00-00:00,N,{kind},{int(h) + k}\n"
                  for k, kind in ((50, "MCC"), (0, "LMP")) for h in HOURS),
        {}, dict(column="MW", where={"LMP_TYPE": "LMP"}), dict(start="2024-05-06T03:00Z"), [3, 4, 5],
    ),
    "ercot": (
        "ercot",
        "Delivery Date,Hour Ending,Repeated Hour Flag,Settlement Point,Settlement Point Price\n"
        + "".join(f"11/03/2024,{h}:00,{f},HB_X, {k}\n"
                  for k, (h, f) in enumerate([("01", "N"), ("02", "N"), ("02", "Y"), ("03", "N"), ("04", "N")], 30)),
        {}, dict(column="Settlement Point Price"), dict(start="2024-11-03T05:00Z", periods=4), [30, 31, 32, 33],
    ),
    "miso": (
        "miso", MISO + "\nX.HUB,Hub,LMP," + ",".join(str(h) for h in range(1, 25)) + "\n",
        {}, dict(column="", where={"Node": "X.HUB"}), dict(start="2024-05-06T05:00Z"), [1, 2, 3],
    ),
    "miso_archive": (
        "miso_archive", "MARKET_DAY,NODE,TYPE,VALUE," + ",".join(f"HE{h}" for h in range(1, 25)) + "\n"
        + "".join(f"05/0{d}/2024,X.HUB,Hub,LMP," + ",".join(f"{d}{h:02d}" for h in range(1, 25)) + "\n" for d in (5, 6)
                  ),
        {}, dict(where={"NODE": "X.HUB", "VALUE": "LMP"}), dict(start="2024-05-06T03:00Z"), [523, 524, 601],
    ),
    "isone": (
        "isone",
        '"C","Report"\n"C","made up"\n"H","Date","Hour Ending","Location","LMP"\n"H","Date","HE","String","Number"\n'
        + "".join(f'"D","11/03/2024","{h}","HUB",{k}\n' for k, h in enumerate(["01", "02", "02X", "03", "04"], 30))
        + '"T","5"\n',
        {}, dict(column="LMP"), dict(start="2024-11-03T04:00Z", periods=4), [30, 31, 32, 33],
    ),
    "electricity_maps": (
        "electricity_maps",
        "Datetime (UTC),Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct)\n"
        + "".join(f"2024-05-06 {h}:00:00,Germany,DE,{100 + int(h)}\n" for h in HOURS),
        {}, dict(column="*(direct)", unit="g/kWh"), {}, [0.101, 0.102, 0.103],
    ),
    "watttime": (
        "watttime", "point_time,value\n" + "".join(f"2024-05-06T{h}:{m:02d}:00+00:00,{500 + int(h)}\n" for h in HOURS
                                                  for m in range(0, 60, 5)),
        {}, dict(column="value", unit="kg/MWh"), {}, [0.501, 0.502, 0.503],
    ),
    "eia930": (
        "eia930",
        "Balancing Authority,UTC Time at End of Hour,Demand (MW)\n"
        + "".join(f'ERCO,05/06/2024 {h % 12 or 12}:00:00 {"AP"[h // 12]}M,"3{h},000"\n' for h in range(10, 20)),
        {}, dict(column="Demand (MW)", factor=1e-3), dict(start="2024-05-06T10:00Z"), [311, 312, 313],
    ),
    "open_meteo, local": (
        "open_meteo",
        "latitude,longitude,utc_offset_seconds,timezone\n50,8,7200,Europe/Berlin\n\ntime,temperature_2m (°C)\n"
        + "".join(f"2024-05-06T{h}:00,{h}\n" for h in HOURS),
        dict(step_min=60), dict(column="temperature_2m (°C)", unit="degC"), dict(start="2024-05-06T00:00Z"),
        [2.5, 3.5, 4.5],
    ),
    "ninja": (
        "ninja", "# Renewables.ninja Wind\n# Units: kW\ntime,electricity\n"
        + "".join(f"2024-05-06 {h}:00,0.{h}\n" for h in HOURS),
        {}, dict(column="electricity", unit="1", resample="step"), {}, [0.01, 0.02, 0.03],
    ),
    "pypsa": (
        "pypsa", "snapshot,north wind\n" + "".join(f"2024-05-06 {h}:00:00,0.{h}\n" for h in HOURS),
        dict(step_min=60), dict(column="north wind", unit="1", resample="step"), {}, [0.01, 0.02, 0.03],
    ),
    "nsrdb, middles of hours": (
        "nsrdb", psm([(h, 30) for h in H24]), {}, dict(column="Temperature", unit="degC"),
        dict(start="2024-05-06T09:00Z"), [12, 13, 14],
    ),
    "typical_year": (
        "typical_year", "month,day,hour,v\n" + "".join(f"5,6,{h},{h + 10}\n" for h in H24),
        dict(step_min=60, hour_column="hour", time_zone="UTC"), {}, {}, [11, 12, 13],
    ),
}  # fmt: skip
QUANTITIES = {"degC": "temperature", "1": "wind_factor", "g/kWh": "carbon", "kg/MWh": "carbon"}


@pytest.mark.parametrize("case", FILES)
def test_a_preset_reads_its_layout(tmp_path: Path, case: str) -> None:
    preset, text, file, series, horizon, expected = FILES[case]
    quantity = QUANTITIES.get(str(series.get("unit", "")), "price")
    values, _ = read(tmp_path, text, dict(format=preset) | file, series, quantity, **horizon)
    assert values.tolist() == pytest.approx(expected)
    assert guess_preset(text) in (preset, "") and (guess_preset(text) or preset == "typical_year")


def test_every_preset_for_files_is_tried() -> None:
    weather = {name for name, keys in presets().items() if "pvlib" in keys}
    assert set(names_for("files")) - weather <= {preset for preset, *_ in FILES.values()}
