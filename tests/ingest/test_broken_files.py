"""Kinds of broken files: exit code 2, one line that names the file and where a line is at fault the line, no output."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest

from drivers import ingest as driver
from specs import PLACE

SPEC = """
name = "t"
[currencies]
eur = 1.0
[horizon]
start = 2024-05-06T01:00:00
periods = 3
period_min = 60
[files.p]
path = "p.csv"
{file}
[[sites]]
name = "A"
{place}
wind_capacity_mw = 1.0
series.carbon = {{ value = 0.4, unit = "t/MWh" }}
series.pue = {{ value = 1.2, unit = "1" }}
{series}
"""
FILE = 'time_column = "time"\nstep_min = 60'
NAIVE = FILE + '\ntime_zone = "UTC"'
STILL = 'series.wind_factor = { value = 0.4, unit = "1" }'
PRICE = 'series.price = { file = "p", column = "price", unit = "eur/MWh" }\n' + STILL
FILLED = PRICE.replace('MWh"', 'MWh", missing = "interpolate"')
WIND = """series.price = {{ value = 50.0, unit = "eur/MWh" }}
series.wind_factor = {{ file = "p", column = "{}", unit = "{}" }}"""
TIMES = [f"2024-05-06T0{h}:00Z" for h in range(7)]
ROWS = [f"{t},{40 + k}.25" for k, t in enumerate(TIMES)]
GOOD = "\n".join(["time,price", *ROWS]) + "\n"
DAY = 'time_column = "date"\ntime_format = "%m/%d/%Y"\nhour_column = "hour"\nstep_min = 60\ntime_zone = "UTC"'


def row(k: int, text: str) -> str:
    """The good table with one row replaced; row k is in line k + 2."""
    return "\n".join(["time,price", *ROWS[:k], text, *ROWS[k + 1 :]]) + "\n"


def table(form: str) -> str:
    """The good table with other values."""
    return "\n".join(["time,price", *(f"{t},{form.format(k + 1)}" for k, t in enumerate(TIMES))]) + "\n"


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in names:
            file.writestr(name, GOOD)
    return stream.getvalue()


def hours(numbers: list[int], dates: tuple[str, ...] = ("05/06/2024",)) -> str:
    return "\n".join(["date,hour,price", *(f"{d},{h},{50 + h}" for d in dates for h in numbers)]) + "\n"


PACKED = gzip.compress(GOOD.encode() * 20)
# kind: content, keys of the file, series, words of the message beside the name of the file
BROKEN: dict[str, tuple[str | bytes | None, str, str, list[str]]] = {
    # what is no text
    "no file": (None, FILE, PRICE, ["no such file"]),
    "empty": ("", FILE, PRICE, ["is empty"]),
    "blank lines only": ("\n \n\n", FILE, PRICE, ["is empty"]),
    "gzip cut off": (PACKED[:60], FILE, PRICE, ["cannot be read"]),
    "gzip damaged": (PACKED[:40] + b"\xff\xff\xff" + PACKED[43:], FILE, PRICE, ["cannot be read"]),
    "bzip2 cut off": (bz2.compress(GOOD.encode())[:40], FILE, PRICE, ["cannot be read"]),
    "xz cut off": (lzma.compress(GOOD.encode())[:50], FILE, PRICE, ["cannot be read"]),
    "zip cut off": (archive("a.csv")[:80], FILE, PRICE, ["cannot be read"]),
    "zip of two": (archive("a.csv", "b.csv"), FILE, PRICE, ["zip", "a.csv, b.csv"]),
    "zip of none": (archive(), FILE, PRICE, ["zip", "0 members"]),
    "workbook": (archive("[Content_Types].xml", "xl/a.xml"), FILE, PRICE, ["xlsx"]),
    "old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(90), FILE, PRICE, ["Excel"]),
    "parquet": (b"PAR1\x15\x04", FILE, PRICE, ["Parquet"]),
    "zero bytes": (GOOD.encode().replace(b"41", b"\0\0"), FILE, PRICE, ["zero bytes"]),
    "web page": ("<!DOCTYPE html>\n<html><body>Not found</body></html>", FILE, PRICE, ["web page"]),
    "half of UTF-16": (GOOD.encode("utf-16")[:-1], FILE, PRICE, ["utf-16"]),
    "other encoding": (GOOD.replace("41.25", "41.25 €").encode("cp1252"),
        FILE + '\nencoding = "utf-8"', PRICE, ["line 3"]),
    "no such encoding": (GOOD, FILE + '\nencoding = "utf-5"', PRICE, ["encoding"]),
    # what is no table
    "header only": ("time,price\n", FILE, PRICE, ["line 1", "no row"]),
    "other separator": (GOOD.replace(",", ";"), FILE, PRICE, ["sep = ';'"]),
    "tabs": (GOOD.replace(",", "\t"), FILE, PRICE, ["sep = '\\t'"]),
    "quotation mark open": (row(2, f'{TIMES[2]},"42.25'), FILE, PRICE, ["line 4", "quotation"]),
    "cell too many": (row(2, f"{TIMES[2]},42,25"), FILE, PRICE, ["line 4", "3 cells"]),
    "two cells too many": (row(3, f"{TIMES[3]},1,2,3,4"), FILE, PRICE, ["line 5"]),
    "header repeated": ("time,price,price\n" + "".join(f"{t},1,2\n" for t in TIMES),
        FILE, PRICE, ["'price' occurs twice", "c2"]),
    "skiprows beyond the end": (GOOD, FILE + "\nskiprows = 40", PRICE, ["skiprows"]),
    "skiprows unknown": (GOOD, FILE + '\nskiprows = "Zeit"', PRICE, ["skiprows", "Zeit"]),
    "skipfooter beyond": (GOOD, FILE + "\nskipfooter = 8", PRICE, ["skipfooter"]),
    "no such column": (GOOD.replace("price", "Price"), FILE, PRICE, ["no column 'price'", "Price"]),
    "no time column": (GOOD.replace("time", "Zeit"), FILE, PRICE, ["no column 'time'", "Zeit"]),
    "title above": ("Prices\n" + GOOD, FILE, PRICE, ["line 2", "skiprows"]),
    # times
    "no time": (row(2, "yesterday,42.25"), FILE, PRICE, ["line 4", "yesterday"]),
    "month 13": (row(2, "2024-13-06T02:00Z,42.25"), FILE, PRICE, ["line 4", "2024-13-06"]),
    "hour 27": (row(2, "2024-05-06T27:00Z,42.25"), FILE, PRICE, ["line 4", "T27:00"]),
    "all in another format": (GOOD.replace("2024-05-06T", "06.05.2024 ").replace("Z", ""),
        NAIVE, PRICE, ["line 2", "time_format"]),
    "wrong format": (GOOD, FILE + '\ntime_format = "%d.%m.%Y"', PRICE, ["line 2", "%d.%m.%Y"]),
    "bad directive": (GOOD, FILE + '\ntime_format = "%Q"', PRICE, ["time_format", "%Q"]),
    "seconds as text": (GOOD, FILE + '\ntime_format = "epoch_s"', PRICE, ["line 2", "epoch_s"]),
    "no offset": (GOOD.replace("Z", ""), FILE, PRICE, ["time_zone"]),
    "no such zone": (GOOD.replace("Z", ""), FILE + '\ntime_zone = "Mars/North"', PRICE, ["time_zone", "Mars/North"]),
    "twice": (row(3, f"{TIMES[2]},9.0"), FILE, PRICE, ["lines 4 and 5", "02:00"]),
    "twice the same": (row(3, ROWS[2]), FILE, PRICE, ["lines 4 and 5", "drop_duplicates"]),
    "off the step": (row(2, "2024-05-06T02:10Z,42.25"), FILE, PRICE, ["line 4", "off_grid"]),
    "finer than said": ("time,price\n" + "".join(f"2024-05-06T0{h}:{m}Z,50\n" for h in range(6) for m in ("00", "30")),
        FILE, PRICE,
                        ["line 3", "step_min = 30"]),
    "half hours unsaid": (GOOD.replace(":00Z", ":30Z"), FILE, PRICE, ["stamp"]),
    "hours to 24 unsaid": (hours(list(range(1, 25))), DAY, PRICE, ["hour", "stamp"]),
    "hour 30": (hours([*range(2), 30, 3, 4, 5]), DAY, PRICE, ["line 4", "30"]),
    "day 32": (hours(list(range(6)), ("05/32/2024",)), DAY, PRICE, ["line 2", "05/32/2024"]),
    "another year": (GOOD.replace("2024", "2019"), FILE, PRICE, ["year = 2019"]),
    "ends early": ("\n".join(["time,price", *ROWS[:3]]), FILE, PRICE, ["not the horizon"]),
    "no step": (GOOD, 'time_column = "time"', PRICE, ["step_min"]),
    # values
    "word": (row(2, f"{TIMES[2]},closed"), FILE, PRICE, ["line 4", "price", "closed"]),
    "letter in a number": (row(2, f"{TIMES[2]},4l.5"), FILE, PRICE, ["line 4", "4l.5"]),
    "decimal comma": (row(2, f'{TIMES[2]},"42,5"'), FILE, PRICE, ["line 4", "42,5", "decimal"]),
    "wrong thousands": (row(2, f'{TIMES[2]},"42,5"'),
        FILE + '\nthousands = ","', PRICE, ["line 4", "42,5", "thousands"]),
    "two numbers": (row(2, f"{TIMES[2]},42.25 / 43"), FILE, PRICE, ["line 4", "42.25 / 43", "not a number"]),
    "infinite": (row(2, f"{TIMES[2]},inf"), FILE, PRICE, ["line 4", "inf"]),
    "blank": (row(2, f"{TIMES[2]},"), FILE, PRICE, ["line 4", "missing"]),
    "row missing": ("\n".join(["time,price", *ROWS[:2], *ROWS[3:]]), FILE, PRICE, ["02:00", "missing"]),
    "gap too long": ("\n".join(["time,price", *ROWS[:2], *ROWS[3:]]),
        FILE, FILLED.replace("missing", "max_gap_h = 0.5, missing"),
                     ["max_gap_h"]),
    "sentinel": (row(2, f"{TIMES[2]},-9999"), FILE, FILLED, ["line 4", "na_values"]),
    "price of no market": (row(2, f"{TIMES[2]},50000"), FILE, PRICE, ["line 4", "50000"]),
    "per kWh": (table("0.0{}"), FILE, PRICE, ["eur/kWh"]),
    "factor above one": (GOOD, FILE, WIND.format("price", "1"), ["line 3", "unit = '%'", "clip"]),
    "percent of a fraction": (table("0.{}"), FILE, WIND.format("price", "%"), ["unit = '1'"]),
    "thousand or fraction": (table("1.45{}").replace("1.452", "981"), FILE, PRICE, ["thousands"]),
    "no such row": (GOOD, FILE + '\nwhere = { time = "noon" }', PRICE, ["no row has", "noon"]),
    "no number to compare": (GOOD, FILE + '\nwhere = { price = ">many" }', PRICE, ["where", "many"]),
    # presets
    "not that preset": (GOOD, 'format = "nyiso_da"', PRICE, ["Time Stamp"]),
    "not that weather": (GOOD, 'format = "tmy3"', PRICE, ["tmy3", "line 1"]),
    "no epw": ("LOCATION,X\n1,2,3\n", 'format = "epw"', PRICE, ["epw"]),
    "no such preset": (GOOD, 'format = "entso-e"', PRICE, ["entsoe"]),
    "no such reader": (GOOD, 'pvlib = "nothing"\nstep_min = 60', PRICE, ["pvlib", "tmy3"]),
}  # fmt: skip
NAMELESS = {
    "no such preset",
    "no such reader",
    "bad directive",
    "no number to compare",
}  # the spec is at fault, not the file


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    content, file, series, words = BROKEN[kind]
    if content is not None:
        (tmp_path / "p.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "spec.toml").write_text(SPEC.format(place=PLACE, file=file, series=series))
    assert driver.run(driver.main, [str(tmp_path / "spec.toml"), "-o", str(tmp_path / "fleet.h5")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("error: spec.toml: ")
    assert [w for w in words + ["p.csv"] * (kind not in NAMELESS) if w not in said] == [], said
    assert not list(tmp_path.glob("*.h5*"))


def test_the_good_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    (tmp_path / "spec.toml").write_text(SPEC.format(place=PLACE, file=FILE, series=PRICE))
    assert driver.run(driver.main, [str(tmp_path / "spec.toml"), "-o", str(tmp_path / "fleet.h5")]) == 0
