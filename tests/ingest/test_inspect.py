"""What `inspect` sees in a file, and that the block it prints reads the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from decomp.ingest.build import ingest
from decomp.ingest.inspect import inspect_file
from decomp.model.instance import InputError
from drivers import inspect as driver
from specs import PLACE

SITE = f"""
[[sites]]
name = "A"
{PLACE}
series.carbon = {{ value = 0.4, unit = "t/MWh" }}
series.pue = {{ value = 1.2, unit = "1" }}
"""
HEAD = 'name = "t"\n[currencies]\neur = 1.0\n[horizon]\nstart = 2024-05-06T01:00:00\nperiods = 3\nperiod_min = 60\n'
HOURS = range(6)
FILES = {
    "plain": "time,price in EUR/MWh\n" + "".join(f"2024-05-06T0{h}:00Z,{10 + h}.5\n" for h in HOURS),
    "german": "Wert\n\nZeit (UTC);Land;Preis [€/MWh]\n"
    + "".join(f"06.05.2024 0{h}:00;DE;1.01{h},5\n06.05.2024 0{h}:00;FR;{h},5\n" for h in HOURS),
    "american": "Date UTC,Hour Ending,LMP\n"
    + "".join(f"05/{d:02d}/2024,{h + 1},{20 + h + d}\n" for d in (5, 6, 13) for h in range(24)),
    "quarters": "# from somewhere\nunix,price\n" + "".join(f"{1714953600 + 900 * k},{30 + k}\n" for k in range(24)),
    "overlap": "time,price\n" + "".join(f"2024-05-06 0{h}:00+00,{10 + h}\n" for h in [*HOURS, 2, 3]),
    "units": '"Start UTC","b"\n"","EUR/MWh"\n' + "".join(f'"2024-05-06T0{h}:00",{h + 5}\n' for h in HOURS),
    "sentinel": "t,price\n" + "".join(f"2024-05-06T0{h}:00Z,{-999 if h == 5 else 40 + h}\n" for h in HOURS),
    "elexon": "SettlementDate,SettlementPeriod,SystemSellPrice\n"
    + "".join(f"2024-05-06,{p},{p + 10}\n" for p in range(1, 49)),
}
EXPECTED = {
    "plain": [11.5, 12.5, 13.5],
    "german": [1011.5, 1012.5, 1013.5],
    "american": [27, 28, 29],
    "quarters": [35.5, 39.5, 43.5],
    "overlap": [11, 12, 13],
    "units": [6, 7, 8],
    "sentinel": [41, 42, 43],
    "elexon": [15.5, 17.5, 19.5],
}


@pytest.mark.parametrize("kind", FILES)
def test_the_block_reads_the_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "f.csv").write_text(FILES[kind], encoding="utf-8")
    found = inspect_file(tmp_path / "f.csv")
    block, series = found.block.split("\n\n# in a site, for example:\n# ")
    spec = tmp_path / "spec.toml"
    spec.write_text(HEAD + block + SITE + series.replace("gbp/", "eur/") + "\n")
    instance, _ = ingest(spec)
    assert instance.sites.buy_price[0].tolist() == pytest.approx(EXPECTED[kind])


def test_it_says_what_it_sees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"2024-05-06 0{h}:00,{h},x" for h in (0, 1, 1, 3, 4)]
    (tmp_path / "f.csv").write_bytes("\n".join(["Zeit,Größe,Art", *rows]).encode("latin-1"))
    assert driver.main([str(tmp_path / "f.csv")]) == 0
    out = capsys.readouterr().out
    for words in (
        "latin-1", "header in line 1", "5 rows", "Größe: 0 … 4, mean 1.8", "1 text(s): x", "step 60 min",
        "1 gap(s), 1 time(s) twice", "preset: none fits", "the file does not say its time zone", "[files.f]",
    ):  # fmt: skip
        assert words in out


def test_presets_are_guessed_and_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("Time Stamp,Name,LBMP ($/MWHr)\n05/06/2024 00:05:00,N.Y.C.,20\n")
    assert 'format = "nyiso_rt"' in inspect_file(tmp_path / "f.csv").block
    assert 'format = "nyiso_da"' in inspect_file(tmp_path / "f.csv", "nyiso_da").block
    with pytest.raises(InputError, match=r"format = 'nyiso': no such preset; known are entsoe"):
        inspect_file(tmp_path / "f.csv", "nyiso")


def test_a_grid_of_regions_is_a_table_of_latency(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("Region,a-1,b-2\na-1,1.5,80\nb-2,81,2.5\n")
    assert inspect_file(tmp_path / "f.csv").block == '[latency]\npath = "f.csv"\nlayout = "matrix"'


def test_gpus_and_durations_are_a_trace_of_jobs(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("job;gpus;submit;seconds\na;8;2024-03-01 00:43;60\nb;16;2024-03-01 02:10;90\n")
    expected = """[trace]
path = "f.csv"
sep = ";"
gpus_column = "gpus"
duration_column = "seconds"
name_column = "job"
submit_column = "submit"
time_zone = "UTC"   # not in the file: check"""
    assert inspect_file(tmp_path / "f.csv").block == expected


def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.csv").write_bytes(b"PAR1\0\0")
    assert driver.run(driver.main, [str(tmp_path / "f.csv")]) == 2
    assert capsys.readouterr().err == "error: f.csv: is no text but a Parquet file\n"


def test_a_folder_by_any_name_is_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".", str(tmp_path)):
        assert driver.run(driver.main, [name]) == 2
        assert capsys.readouterr().err.startswith(f"error: {tmp_path.name}: is a folder")
