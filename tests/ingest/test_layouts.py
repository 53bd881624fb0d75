"""Layouts of operators that no preset is for: a few keys read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from decomp.ingest.inspect import inspect_file
from ingest.reading import Keys, read

H24 = range(24)
NEM = (
    "C,NEMP.WORLD,DISPATCHIS,AEMO,PUBLIC\nI,DISPATCH,CASE,2,SETTLEMENTDATE,A,B,C\n"
    'D,DISPATCH,CASE,2,"2024/05/06 11:05:00",1,2,3\nI,DISPATCH,PRICE,5,SETTLEMENTDATE,RUNNO,REGIONID,RRP\n'
    + "".join(
        f'D,DISPATCH,PRICE,5,"2024/05/06 {11 + m // 60}:{m % 60:02d}:00",1,{region},{m + 40}\n'
        for m in range(5, 125, 5)
        for region in ("NSW1", "VIC1")
    )
    + "I,DISPATCH,UNITS,1,SETTLEMENTDATE,a,b,c,d,e,f,g\n"
    + 'D,DISPATCH,UNITS,1,"2024/05/06 11:05:00",1,2,3,4,5,6,7\nC,"END OF REPORT",55\n'
)
# operator: text, keys of the file, series, horizon, values
FILES: dict[str, tuple[str | bytes, Keys, Keys, Keys, list[float]]] = {
    "AEMO, tables of the market system below each other": (
        NEM, dict(format="aemo", skiprows="I,DISPATCH,PRICE", where={"c1": "D", "c3": "PRICE"}),
        dict(column="RRP", where={"REGIONID": "NSW1"}), dict(periods=2), [72.5, 132.5],
    ),
    "AESO, the hour ending 24 in the stamp": (
        "Date (HE),Price ($)\n" + "".join(f"05/0{d}/2024 {h:02d},{d}{h:02d}\n" for d in (5, 6) for h in range(1, 25)),
        dict(time_column="Date (HE)", time_format="%m/%d/%Y %H", time_zone="America/Edmonton", stamp="end",
             step_min=60),
        dict(column="Price ($)"), dict(start="2024-05-06T04:00Z"), [523, 524, 601],
    ),
    "IESO, lines above, standard time": (
        "\\\\Yearly HOEP\n\\\\CREATED AT 2024/05/07 01:00:00\n\\\\,\nDate,Hour,HOEP\n"
        + "".join(f"2024-05-0{d},{h},{d}{h:02d}.25\n" for d in (5, 6) for h in range(1, 25)),
        dict(skiprows="Date,Hour", time_column="Date", hour_column="Hour", time_zone="-05:00", stamp="end",
             step_min=60),
        dict(column="HOEP"), {}, [521.25, 522.25, 523.25],
    ),
    "OMIE, no header, a last line": (
        "MARGINALPDBC;\n" + "".join(f"2024;05;06;{h};{h + 10}.5;{h + 20}.5;\n" for h in range(1, 25)) + "*\n",
        dict(sep=";", skiprows=1, skipfooter=1, header=False, columns=["y", "m", "d", "h", "PT", "ES", ""],
             year_column="y", month_column="m", day_column="d", hour_column="h", stamp="end",
             time_zone="Europe/Madrid", step_min=60),
        dict(column="ES"), {}, [24.5, 25.5, 26.5],
    ),
    "Electricity Authority, periods of a local day": (
        "TradingDate,TradingPeriod,PointOfConnection,DollarsPerMegawattHour\n"
        + "".join(f"2024-05-06,{p},BEN2201,{p + 10}\n" for p in range(1, 49)),
        dict(time_column="TradingDate", period_column="TradingPeriod", time_zone="Pacific/Auckland", stamp="end",
             step_min=30),
        dict(column="DollarsPerMegawattHour"), dict(periods=1), [37.5],
    ),
    "JEPX, Japanese": (
        ("年月日,時刻コード,円/kWh\n" + "".join(f"2024/05/06,{p},{p + 10}\n" for p in range(1, 49))).encode("cp932"),
        dict(encoding="cp932", time_column="年月日", time_format="%Y/%m/%d", period_column="時刻コード",
             time_zone="Asia/Tokyo", stamp="end", step_min=30),
        dict(column="円/kWh"), dict(periods=1), [31.5],
    ),
    "RTE, French, half hours among quarters": (
        ("Périmètre\tDate\tHeures\tTaux de Co2\n"
         + "".join(f"France\t2024-05-06\t{h:02d}:{m:02d}\t{'' if m % 30 else h + 20}\n"
                   for h in H24 for m in (0, 15, 30, 45))).encode("latin-1"),
        dict(sep="\t", time_column="Date", hour_column="Heures", time_zone="Europe/Paris", step_min=15),
        dict(column="Taux de Co2", missing="hold"), {}, [23, 24, 25],
    ),
    "DWD, stamps of ten digits, padded": (
        "STATIONS_ID;MESS_DATUM;TT_TU;eor\n" + "".join(f"  3987;20240506{h:02d}; {h + 8:5.1f};eor\n" for h in H24),
        dict(sep=";", time_column="MESS_DATUM", time_format="%Y%m%d%H", time_zone="UTC", step_min=60),
        dict(column="TT_TU"), {}, [9, 10, 11],
    ),
    "a table of entsoe-py, whose first column has no name": (
        ",0\n" + "".join(f"2024-05-06 {h:02d}:00:00+02:00,{h + 10}.5\n" for h in H24),
        dict(time_column="c1", step_min=60), dict(column="0"), {}, [13.5, 14.5, 15.5],
    ),
}  # fmt: skip


@pytest.mark.parametrize("operator", FILES)
def test_a_layout_is_read_by_keys(tmp_path: Path, operator: str) -> None:
    text, file, series, horizon, expected = FILES[operator]
    values, _ = read(tmp_path, text, file, series, **horizon)
    assert values.tolist() == pytest.approx(expected)


def test_inspect_reads_encodings_of_one_byte(tmp_path: Path) -> None:
    for text, encoding in (("€", "cp1252"), ("é", "latin-1"), ("時刻コード", "cp932")):
        (tmp_path / "f.csv").write_bytes(f"time,price in {text}\n2024-05-06T00:00Z,5\n".encode(encoding))
        assert f'encoding = "{encoding}"' in inspect_file(tmp_path / "f.csv").block
