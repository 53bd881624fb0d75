"""Broken files: every command says in one line what is wrong, ends with 2 and leaves nothing behind."""

from __future__ import annotations

import pickle
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from decomp.files.store import read_instance, read_result, read_sites, write_instance, write_result
from decomp.model.instance import InputError
from decomp.model.result import Dual, Iteration, Result, Schedule, Status
from drivers import check, common, explain, export, report, solve
from running import Finished, run_limited
from tiny import tiny

Break = Callable[[Path], Any]


def edited(change: Callable[[h5py.File], Any]) -> Break:
    """Change the open file."""

    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return apply


def put(name: str, index: Any, value: Any) -> Break:
    """Overwrite some numbers of a dataset."""
    return edited(lambda file: file[name].__setitem__(index, value))


def attribute(name: str, value: Any, owner: str = "/") -> Break:
    return edited(lambda file: file[owner].attrs.__setitem__(name, value))


def without(name: str) -> Break:
    return edited(lambda file: file.__delitem__(name))


def without_attribute(name: str, owner: str = "/") -> Break:
    return edited(lambda file: file[owner].attrs.__delitem__(name))


def swapped(name: str, unit: str, **how: Any) -> Break:
    """Put another dataset in the place of one."""

    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **how).attrs["units"] = unit

    return edited(change)


def linked(name: str, link: Any) -> Break:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return edited(change)


def truncated(share: float) -> Break:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flipped(path: Path) -> None:
    """A wrong byte among the prices, which makes another plausible price of one."""
    data = bytearray(path.read_bytes())
    data[data.index(tiny().sites.buy_price.tobytes()) + 6] ^= 0xFF
    path.write_bytes(data)


def in_its_place(write: Callable[[Path], Any]) -> Break:
    def apply(path: Path) -> None:
        path.unlink()
        write(path)

    return apply


def external(file: h5py.File) -> None:
    """Numbers that lie in some other file of the machine."""
    del file["sites/battery_mwh"]
    outside = Path(file.filename).with_name("outside.bin")
    outside.write_bytes(np.zeros(3).tobytes())
    dataset = file.create_dataset("sites/battery_mwh", (3,), "f8", external=[(str(outside), 0, 24)])
    dataset.attrs["units"] = "MWh"


def renamed(file: h5py.File) -> None:
    file.move("sites/wind_mw", "sites/wind_MW")


def longer_horizon(file: h5py.File) -> None:
    del file["period"]
    file["period"] = np.zeros(9)


def a_result() -> Result:
    instance = tiny()
    sizes = {**instance.sizes, "instant": instance.n_periods + 1}

    def zeros(cls: type[Any]) -> list[np.ndarray]:
        return [np.zeros([sizes[d] for d in f.metadata["dims"]]) for f in cls.columns()]

    log = (Iteration(0, "bound", -5.0, None, 0.1),)
    return Result(Status.LIMIT, -5.0, -3.0, Schedule(*zeros(Schedule)), Dual(*zeros(Dual)), log)


UTF8 = h5py.string_dtype()
PRICE = "sites.buy_price: site 'Buffalo', period 3: "
INSTANCES: dict[str, tuple[Break, str]] = {
    # not a file of ours
    "missing file": (Path.unlink, "No such file"),
    "folder": (in_its_place(Path.mkdir), "directory"),
    "empty file": (truncated(0.0), "not an HDF5 file"),
    "text file": (in_its_place(lambda p: p.write_text("sites: 3\n")), "not an HDF5 file"),
    "pickle": (in_its_place(lambda p: p.write_bytes(pickle.dumps({"sites": 3}))), "not an HDF5 file"),
    "truncated in the middle": (truncated(0.5), "truncated or damaged"),
    "truncated at the end": (truncated(0.999), "truncated or damaged"),
    "HDF5 of someone else": (in_its_place(lambda p: h5py.File(p, "w").close()), "attribute format is missing"),
    "result instead of instance": (
        in_its_place(lambda p: write_result(p, a_result(), tiny())),
        "attribute format is 'decomp result', must be 'decomp instance'",
    ),
    "future version": (attribute("schema_version", 2), "schema_version is 2, but this decomp reads version 1"),
    "version in words": (attribute("schema_version", "one"), "schema_version is 'one', must be an integer"),
    # structure
    "group missing": (without("streams"), "group streams is missing"),
    "group is a dataset": (
        edited(lambda f: (f.__delitem__("jobs"), f.__setitem__("jobs", 1))),
        "group jobs is missing",
    ),
    "dataset missing": (without("sites/pue"), "sites.pue: dataset is missing"),
    "dimension missing": (without("stream"), "dimension stream is missing"),
    "dataset misspelt": (edited(renamed), "sites.wind_MW: no such dataset; did you mean wind_mw?"),
    "dataset too many": (put("sites", "water", 1.0), "sites.water: no such dataset"),
    "wrong shape": (
        swapped("sites/buy_price", "USD/MWh", data=np.ones((3, 7))),
        "sites.buy_price: shape (3, 7), must be (site, period) = (3, 8)",
    ),
    "wrong number of axes": (
        swapped("sites/pue", "1", data=np.ones(3)),
        "sites.pue: shape (3,), must be (site, period)",
    ),
    "horizon too long": (edited(longer_horizon), "shape (3, 8), must be (site, period) = (3, 9)"),
    "wrong unit": (
        attribute("units", "USD/kWh", "sites/buy_price"),
        "sites.buy_price: units 'USD/kWh', must be 'USD/MWh'",
    ),
    "no unit": (without_attribute("units", "jobs/gpus"), "jobs.gpus: no units attribute, must be 'GPU'"),
    "unit is a number": (attribute("units", 3.0, "jobs/gpus"), "jobs.gpus: units 3.0, must be 'GPU'"),
    "texts for numbers": (
        swapped("sites/battery_mwh", "MWh", data=["a", "b", "c"], dtype=UTF8),
        "sites.battery_mwh: holds values of type object, must be real numbers",
    ),
    "numbers for texts": (
        swapped("jobs/name", "1", data=np.ones(3)),
        "jobs.name: holds values of type float64, must be",
    ),
    "complex numbers": (
        swapped("jobs/gpus", "GPU", data=np.ones(3, complex)),
        "jobs.gpus: holds values of type complex",
    ),
    "fractions for integers": (
        swapped("jobs/release", "1", data=np.ones(3)),
        "jobs.release: holds values of type float64, must be integers",
    ),
    "neither true nor false": (put("jobs/mandatory", 1, 2), "jobs.mandatory: holds 2, must be 0 or 1"),
    "object references": (
        swapped("jobs/gpus", "GPU", shape=(3,), dtype=h5py.ref_dtype),
        "jobs.gpus: holds values of type object, must be real numbers",
    ),
    "arrays in an array": (
        swapped("jobs/gpus", "GPU", shape=(3,), dtype=h5py.vlen_dtype(np.float64)),
        "jobs.gpus: holds values of type object",
    ),
    "opaque bytes": (swapped("jobs/name", "1", shape=(3,), dtype="V8"), "jobs.name: holds values of type |V8, must be"),
    "text not UTF-8": (swapped("jobs/name", "1", data=np.array([b"\xff"] * 3, "S1")), "not UTF-8"),
    "link to another file": (
        linked("sites/pue", h5py.ExternalLink("/etc/passwd", "/x")),
        "sites.pue: must be a dataset",
    ),
    "link to elsewhere": (linked("sites/pue", h5py.SoftLink("/sites/wind_mw")), "sites.pue: must be a dataset inside"),
    "numbers outside the file": (edited(external), "sites.battery_mwh: must be a dataset inside this file"),
    "unusual compression": (
        swapped("sites/battery_mwh", "MWh", data=np.ones(3), chunks=(3,), compression="lzf"),
        "sites.battery_mwh: compressed by lzf, must be gzip or nothing",
    ),
    "packed numbers": (
        attribute("scale_factor", 0.5, "sites/buy_price"),
        "sites.buy_price: is packed (scale_factor), must hold the values themselves",
    ),
    "scalar missing": (without_attribute("carbon_budget_t"), "attribute carbon_budget_t is missing"),
    "scalar in words": (attribute("carbon_budget_t", "none"), "attribute carbon_budget_t is 'none', must be a number"),
    "scalar is an array": (
        attribute("period_h", [1.0, 1.0]),
        "attribute period_h is [1.0, 1.0], must be a number",
    ),
    "scalar true": (attribute("period_h", True), "attribute period_h is"),
    "hash missing": (without_attribute("content_hash"), "attribute content_hash is missing"),
    # values
    "NaN": (put("sites/buy_price", (1, 3), np.nan), PRICE + "nan USD/MWh, must be between -1e+06 and 1e+06 USD/MWh"),
    "series with a gap": (
        put("streams/demand_rps", (0, slice(2, 5)), np.nan),
        "streams.demand_rps: stream 'chat', period 2",
    ),
    "absurd price": (put("sites/buy_price", (1, 3), 1e9), PRICE + "1e+09 USD/MWh"),
    "infinite capacity": (
        put("sites/capacity_gpu", (1, 3), np.inf),
        "sites.capacity_gpu: site 'Buffalo', period 3: inf",
    ),
    "negative capacity": (
        put("sites/capacity_gpu", (1, 3), -1),
        "sites.capacity_gpu: site 'Buffalo', period 3: -1 GPU",
    ),
    "pue below one": (put("sites/pue", (2, 0), 0.5), "sites.pue: site 'Cork', period 0: 0.5, must be between 1 and 5"),
    "battery without efficiency": (
        put("sites/charge_efficiency", 0, 0),
        "sites.charge_efficiency: site 'Albany': 0, must",
    ),
    "battery overfull": (
        put("sites/battery_initial_mwh", 0, 9),
        "sites.battery_initial_mwh: site 'Albany': 9 MWh, must",
    ),
    "idle load without power": (
        edited(lambda f: (f["sites/import_limit_mw"].__setitem__(1, 0), f["sites/wind_mw"].__setitem__(1, 0))),
        "site 'Buffalo', period 0: idle load needs 0.24 MW, but imports, wind, sun, generators and battery give",
    ),
    "too much wind": (put("sites/wind_mw", (1, 3), 9), "9 MW cannot be turned off, but full load, export and battery"),
    "two sites of one name": (put("sites/name", 1, "Albany"), "sites.name: site 1: the name 'Albany' is taken"),
    "generator of no site": (
        put("generators/site", 1, 7),
        "generators.site: generator 1: 7, must be an index of a site",
    ),
    "generator upside down": (
        put("generators/p_min_mw", 0, 5),
        "generators.p_min_mw: generator 0 at site 'Albany': 5 MW",
    ),
    "latency not met": (
        put("arcs/round_trip_ms", 0, 900),
        "arcs.round_trip_ms: arc 0 (stream 'chat' at site 'Albany')",
    ),
    "arc twice": (put("arcs/site", 1, 0), "arcs: arc 1 (stream 'chat' at site 'Albany'): this pair is listed twice"),
    "stream without site": (
        put("arcs/stream", slice(0, 2), 1),
        "streams: stream 'chat': has no site, must have at least one row in arcs",
    ),
    "deadline before release": (put("jobs/deadline", 1, 1), "jobs.deadline: job 'large': 1, must be at least release"),
    "deadline beyond horizon": (put("jobs/deadline", 0, 99), "jobs.deadline: job 'small': 99, must be at most 8"),
    "job without candidate": (put("candidates/job", 3, 1), "jobs: job 'must': has no site"),
    "mandatory job too large": (
        put("jobs/gpus", 2, 5000),
        "jobs.gpus: job 'must': mandatory, but no candidate site has",
    ),
    "pool too large": (put("pools/work_gpu_h", 1, 1e5), "pools.work_gpu_h: pool 'embed': 100000 GPU h must be done"),
    "pool without window": (put("pools/end", 0, 0), "pools.end: pool 'index': 0, must be"),
    "period too long": (attribute("period_h", 24.0), "period_h: 24 h, must be between 0.08333333333 and 1 h"),
    "budget not a number": (
        attribute("carbon_budget_t", np.nan),
        "carbon_budget_t: nan t, must be between 0 and 1e+12 t or inf",
    ),
    "no such time": (attribute("start_utc", "2022-13-01"), "start_utc: '2022-13-01', must be an ISO 8601 time"),
    # plausible, but not what was written
    "number changed": (put("sites/buy_price", (1, 3), 41.0), "content_hash does not match the data"),
    "byte flipped": (flipped, "content_hash does not match the data"),
}
RESULTS: dict[str, tuple[Break, str]] = {
    "missing file": (Path.unlink, "No such file"),
    "truncated": (truncated(0.7), "truncated or damaged"),
    "instance instead of result": (
        in_its_place(lambda p: write_instance(p, tiny())),
        "attribute format is 'decomp instance', must be 'decomp frontier' or 'decomp result'",
    ),
    "unknown status": (attribute("status", "fine"), "attribute status is 'fine', must be one of gap_reached, limit"),
    "bound missing": (without_attribute("bound"), "attribute bound is missing"),
    "provenance not JSON": (attribute("provenance", "{"), "attribute provenance is not JSON"),
    "provenance a list": (attribute("provenance", "[1]"), "attribute provenance is [1], must be a JSON object"),
    "provenance nested too deep": (attribute("provenance", "[" * 20_000), "attribute provenance is not JSON"),
    "seconds of no rank": (
        attribute("provenance", '{"rank_seconds": {"dive": 3}}'),
        "attribute provenance: rank_seconds is {'dive': 3}, must be an object of lists, the seconds of every rank",
    ),
    "options listed": (
        attribute("provenance", '{"options": ["rel_gap"]}'),
        "attribute provenance: options is ['rel_gap'], must be an object of options by name",
    ),
    "not Unicode": (attribute("status", np.bytes_(b"\xe9")), "attribute status holds text that is not UTF-8"),
    "units not Unicode": (
        attribute("units", np.bytes_(b"\xe9"), "schedule/import_mw"),
        "attribute schedule.import_mw.units holds text that is not UTF-8",
    ),
    "bound of several": (attribute("bound", [1.0, 2.0]), "attribute bound is [1.0, 2.0], must be a number"),
    "schedule incomplete": (without("schedule/import_mw"), "schedule.import_mw: dataset is missing"),
    "prices in cents": (attribute("units", "cent", "dual/load_price"), "dual.load_price: units 'cent', must be 'USD"),
    "form missing": (without_attribute("form", "dual"), "attribute dual.form is missing"),
    "log missing": (without("log"), "log.iteration: dataset is missing"),
    "log of one number": (swapped("log/columns", "1", data=3), "log.columns: shape (), must be (iteration)"),
    "log of nothing": (
        edited(lambda f: (f.__delitem__("log/columns"), f.__setitem__("log/columns", h5py.Empty("f8")))),
        "log.columns: shape None, must be (iteration)",
    ),
    "log uneven": (swapped("log/bound", "USD", data=np.ones(5)), "log: columns differ in length"),
    "start at half past": (swapped("schedule/job_start", "1", data=np.ones(3)), "schedule.job_start: holds values of"),
}


UNTRUE: dict[str, tuple[Break, str]] = {  # what no schedule can be, of which nothing can be told
    "bound of no value": (attribute("bound", np.nan), "bound: nan, must be net cost in USD"),
    "no such site": (
        put("schedule/job_site", 0, 9),
        "schedule.job_site: job 'small': 9, must be an index of a site, 0",
    ),
    "below no site": (
        put("schedule/job_site", 0, -7),
        "schedule.job_site: job 'small': -7, must be an index of a site",
    ),
    "negative price of carbon": (
        attribute("carbon_price", -1.0, "dual"),
        "dual.carbon_price: -1 USD/t, must be finite and not negative",
    ),
    "ends too late": (
        edited(
            lambda file: (file["schedule/job_site"].__setitem__(0, 0), file["schedule/job_start"].__setitem__(0, 7))
        ),
        "schedule.job_start: job 'small': 7, must be a period, 0 to 5",
    ),
    "no number": (
        put("schedule/import_mw", (1, 2), np.nan),
        "schedule.import_mw: site 1, period 2: nan, must be finite",
    ),
    "endless price": (put("dual/load_price", (0, 0), np.inf), "dual.load_price: site 0, period 0: inf, must be finite"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a valid instance and a valid result, to be copied and broken."""
    folder = tmp_path_factory.mktemp("good")
    write_instance(folder / "fleet.h5", tiny())
    write_result(folder / "result.h5", a_result(), tiny())
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    return tmp_path


def refused(main: common.Command, *arguments: Any, folder: Path, words: str, capsys: Any) -> None:
    """Run a command in this process: exit code 2, one line on stderr with these words, no new file."""
    before = sorted(folder.iterdir())
    code = common.run(main, [str(a) for a in arguments])
    one_line(code, capsys.readouterr().err, words)
    assert sorted(folder.iterdir()) == before


def one_line(code: int, err: str, words: str) -> None:
    assert code == common.BAD_INPUT, err
    assert words in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err


def test_the_good_files_are_good(good: Path) -> None:
    assert read_instance(good / "fleet.h5").content_hash() == tiny().content_hash()
    assert read_result(good / "result.h5").status is Status.LIMIT


@pytest.mark.parametrize("kind", INSTANCES)
def test_solve_refuses(kind: str, folder: Path, capsys: Any) -> None:
    spoil, words = INSTANCES[kind]
    spoil(folder / "fleet.h5")
    arguments = (folder / "fleet.h5", "-o", folder / "out.h5", "--log", folder / "log.jsonl")
    refused(solve.main, *arguments, folder=folder, words=words, capsys=capsys)


@pytest.mark.parametrize("kind", RESULTS)
def test_check_refuses(kind: str, folder: Path, capsys: Any) -> None:
    spoil, words = RESULTS[kind]
    spoil(folder / "result.h5")
    refused(check.main, folder / "fleet.h5", folder / "result.h5", folder=folder, words=words, capsys=capsys)


@pytest.mark.parametrize("kind", UNTRUE)
def test_nothing_is_told_of_what_no_schedule_can_be(kind: str, folder: Path, capsys: Any) -> None:
    spoil, words = UNTRUE[kind]
    spoil(folder / "result.h5")
    files = (folder / "fleet.h5", folder / "result.h5")
    refused(report.main, *files, "-o", folder / "page.html", folder=folder, words=words, capsys=capsys)
    refused(explain.main, *files, folder=folder, words=words, capsys=capsys)
    assert common.run(check.main, [str(file) for file in files]) == 1


@pytest.mark.parametrize("command", ["solve", "check", "export", "report"])
def test_every_command_refuses(command: str, folder: Path, capsys: Any) -> None:
    fleet, result = folder / "fleet.h5", folder / "result.h5"
    mains = dict(solve=solve.main, check=check.main, export=export.main, report=report.main)
    arguments = dict(
        solve=(fleet, "-o", folder / "out.h5"),
        check=(fleet, result),
        export=(fleet, "--mps", folder / "fleet.mps"),
        report=(fleet, result, "-o", folder / "report.html"),
    )
    put("sites/buy_price", (1, 3), np.nan)(fleet)
    refused(mains[command], *arguments[command], folder=folder, words=PRICE + "nan USD/MWh", capsys=capsys)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("rel_gpa = 0.1", "rel_gpa: no such option; did you mean rel_gap?"),
        ("[bundle]\nmax_iteration = 1", "bundle.max_iteration: no such option; did you mean max_iterations?"),
        ("rel_gap = 'small'", "rel_gap: 'small', must be a number between 0 and 1"),
        ("rel_gap = -1", "rel_gap: -1, must be a number between 0 and 1"),
        ("rel_gap", "not a TOML file"),
        (None, "No such file"),
    ],
)
def test_solve_refuses_options(toml: str | None, words: str, folder: Path, capsys: Any) -> None:
    options = folder / "o.toml"
    if toml is not None:
        options.write_text(toml)
    arguments = (folder / "fleet.h5", "-o", folder / "out.h5", "--options", options)
    refused(solve.main, *arguments, folder=folder, words=words, capsys=capsys)


def test_solve_refuses_usage(folder: Path, capsys: Any) -> None:
    fleet, out = folder / "fleet.h5", folder / "out.h5"
    refused(solve.main, fleet, "-o", out, "--rel-gap", -1, folder=folder, words="rel_gap: -1", capsys=capsys)
    refused(solve.main, fleet, "-o", folder / "no" / "out.h5", folder=folder, words="no/out.h5", capsys=capsys)


def test_the_command_line_says_it_too(folder: Path) -> None:
    INSTANCES["NaN"][0](folder / "fleet.h5")
    before = sorted(folder.iterdir())
    command = [sys.executable, "-m", "drivers.solve", str(folder / "fleet.h5"), "-o", str(folder / "out.h5")]
    done = run_limited(command)
    one_line(done.returncode, done.stderr, INSTANCES["NaN"][1])
    assert sorted(folder.iterdir()) == before


def test_several_ranks_say_it_once(folder: Path, mpirun: Callable[..., Finished]) -> None:
    INSTANCES["NaN"][0](folder / "fleet.h5")
    before = sorted(folder.iterdir())
    done = mpirun(2, "drivers.solve", folder / "fleet.h5", "-o", folder / "out.h5")
    assert done.returncode == common.BAD_INPUT
    assert done.stderr.count("error: ") == 1
    assert INSTANCES["NaN"][1] in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("kind", ["dataset missing", "NaN", "wrong unit", "generator of no site", "period too long"])
def test_a_rank_refuses_its_sites(kind: str, folder: Path) -> None:
    spoil, words = INSTANCES[kind]
    spoil(folder / "fleet.h5")
    with pytest.raises(InputError) as caught:
        read_sites(folder / "fleet.h5", [1, 0])
    assert words.split(":")[0] in str(caught.value)


@pytest.mark.parametrize("seed", range(60))
def test_damage_anywhere_is_refused_or_harmless(seed: int, good: Path, tmp_path: Path) -> None:
    """Random bytes overwritten: what is still read is what was written."""
    rng = random.Random(seed)
    data = bytearray((good / "fleet.h5").read_bytes())
    for _ in range(rng.choice([1, 1, 4])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    (tmp_path / "fleet.h5").write_bytes(data)
    try:
        assert read_instance(tmp_path / "fleet.h5").content_hash() == tiny().content_hash()
    except InputError as error:
        assert "fleet.h5: " in str(error)
        assert "\n" not in str(error)
