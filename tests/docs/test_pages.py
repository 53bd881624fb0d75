"""What the pages show is run: their commands, their Python, their TOML; their links lead somewhere.

Blocks `sh` and `python` of a page run one after the other in a folder that holds `fleet.h5` and `result.h5`, and in
this process; commands of several ranks have processes of their own on pages about ranks, and are serial elsewhere. A
block behind a comment `<!-- parsed only: reason -->` is checked against the parsers and not run; one behind
`<!-- file: NAME -->` is written to a file of that name.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import pytest

import decomp
from decomp.api import __all__ as FUNCTIONS
from decomp.ingest import keys
from decomp.ingest.layout import File, Series
from decomp.ingest.presets import presets
from decomp.ingest.spec import Egress, JobTrace, Latency, RequestTrace
from decomp.model.instance import TABLES
from decomp.model.options import Options
from decomp.model.result import Status
from decomp.ranks.clock import restart_clock
from drivers.__main__ import verbs
from drivers.common import run
from running import CHECKOUT, find_mpiexec, run_limited

pytestmark = pytest.mark.docs

README, DOCS = CHECKOUT / "README.md", CHECKOUT / "docs"
PAGES = [README, *sorted(p for p in DOCS.rglob("*.md") if not {"_build", "generated"} & set(p.parts))]
PAGES += [CHECKOUT / "CONTRIBUTING.md", CHECKOUT / "CHANGELOG.md"]
PAGES += [CHECKOUT / "instances" / "README.md", CHECKOUT / "slurm" / "README.md"]
DATA = CHECKOUT.parent / "shared" / "data"
NOTE = r"(?:<!-- (?P<note>(?:parsed only|file): [^>]+) -->\n+)?"
BLOCK = re.compile(NOTE + r"^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.M | re.S)

# What makes a command short enough for a test; everything else is run as it stands.
SHORTER = [(r"--sites \d+", "--sites 3 --periods 24 --jobs 4"), (r"--time-limit \d+", "--time-limit 3600")]
SHORTER += [(r"mpiexec -n \d+", "mpiexec -n 2"), (r"--rel-gap \S+", "--rel-gap 0.1")]
SHORTER += [(r"(?<=joint_study -o joint)$", " --variants joint --sweeps")]
SHORTER += [(r"joint_study -o joint-fleet", "joint_study -o joint-fleet --variants joint no-routing")]
SERIAL = (r"^mpiexec -n \d+ python -m mpi4py", "python")
SHORTER += [
    (r"(drivers\.(?:solve|frontier) (?!.*--rel-gap).*)$", r"\1 --rel-gap 0.1"),
    (r"--budgets \d+", "--budgets 2"),
]
SHORTER += [(r"--periods 672", "--periods 48"), (r"--window 36 --step 24", "--window 24 --step 24")]
ALLOWED_CODES = {"solve": (0, 3), "frontier": (0, 3)}
WITH_RANKS = ("README.md", "docs/clusters.md", "docs/interrupted.md", "docs/python.md", "docs/tutorials/cluster.md")
NOT_RUN = re.compile(r"^make|pip install|^export |^\. |^cd |^git ")


class Block(NamedTuple):
    """A fenced block: its language, its text, whether it is run, and the file that it is."""

    kind: str
    body: str
    runs: bool
    file: str = ""


def name(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


def blocks(page: Path) -> list[Block]:
    found = [(m["kind"], m["body"], m["note"] or "") for m in BLOCK.finditer(page.read_text("utf-8"))]
    return [Block(k, b, not n.startswith("parsed"), n.partition("file: ")[2]) for k, b, n in found]


def lines(body: str) -> list[str]:
    """Commands of a shell block; a backslash joins lines, and comments are left out."""
    joined = body.replace("\\\n", " ").splitlines()
    return [line for raw in joined if (line := re.sub(r"\s+# .*", "", raw).strip()) and not line.startswith("#")]


def commands(page: Path) -> list[str]:
    """Commands of the shell blocks, and those inside sentences, table cells and indented blocks."""
    text = page.read_text("utf-8")
    found = [line for block in blocks(page) if block.kind in ("sh", "console") for line in lines(block.body)]
    found += re.findall(r"`((?:mpiexec|python -m drivers)[^`]*)`", text)
    found += re.findall(r"^    (python -m drivers.*?)(?:  +#.*)?$", text, re.M)
    return found


def verb_of(command: str) -> tuple[str, list[str]] | None:
    """The verb of a command and its arguments, if it is one of ours."""
    words = shlex.split(command)
    at = [k for k, word in enumerate(words) if re.fullmatch(r"drivers\.[a-z_]+", word)]
    if at:
        return words[at[0]].removeprefix("drivers."), words[at[0] + 1 :]
    return (words[1], words[2:]) if words[:1] == ["decomp"] and len(words) > 1 else None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_is_one_that_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verbs and flags are those of the drivers' parsers; targets those of the Makefile."""
    makefile = (CHECKOUT / "Makefile").read_text("utf-8")
    for command in commands(page):
        if (known := verb_of(command)) is None or "…" in command or "..." in command:
            continue
        verb, arguments = known
        parser = importlib.import_module(f"drivers.{verb}").parser()
        if not {"--help", "FAMILY"} & {*arguments}:
            try:
                parser.parse_args(arguments)
            except SystemExit:
                pytest.fail(f"{page.name}: {command}\n{capsys.readouterr().err}")
    for target in re.findall(r"(?:`|^ *)make (\w+)(?=`|$| )", page.read_text("utf-8"), re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_every_flag_of_the_table_of_commands_exists() -> None:
    rows = re.findall(r"^\| `(\w+)[ `][^|]*\|.*$", README.read_text("utf-8"), re.M)
    assert {"generate", "ingest", "solve", "check", "report", "compare", "export"} <= set(rows)
    for line in README.read_text("utf-8").splitlines():
        if found := re.match(r"\| `(\w+) [A-Z]", line):
            help_text = importlib.import_module(f"drivers.{found[1]}").parser().format_help()
            for flag in re.findall(r"--[a-z-]+", line):
                assert flag in help_text, (found[1], flag)


# ---------------------------------------------------------------- what runs


@pytest.fixture(scope="session")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small fleet and its result, as pages take for granted."""
    folder = tmp_path_factory.mktemp("solved")
    fleet = decomp.generate("fleet", sites=3, periods=24, jobs=4, seed=1)
    decomp.write(folder / "fleet.h5", fleet)
    decomp.write(folder / "result.h5", decomp.solve(fleet, rel_gap=0.1, method="lagrangian"), fleet)
    return folder


def runnable(page: Path) -> Iterator[Block]:
    for block in blocks(page):
        if block.runs and block.kind in ("sh", "python", "toml"):
            yield block


RUN = [page for page in PAGES if page.name not in ("CHANGELOG.md",) and any(runnable(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=name)
def test_the_page_runs(page: Path, solved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in solved.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    for block in runnable(page):
        if block.file:
            Path(block.file).write_text(block.body, "utf-8")
        elif block.kind == "python":
            run_python(block.body)
        elif block.kind == "toml" and "[files" not in block.body:
            Path("o.toml").write_text(block.body, "utf-8")
            assert Options.from_toml("o.toml") != Options()
        elif block.kind == "sh":
            for command in lines(block.body):
                run_command(command, ranks=name(page) in WITH_RANKS)


def run_python(body: str) -> None:
    """Run a block as a program of its own; its pictures go to files."""
    pytest.importorskip("h5netcdf")
    plt.switch_backend("agg")
    exec(compile(body, "a block of a page", "exec"), {"__name__": "__main__"})
    plt.close("all")


def run_command(command: str, ranks: bool) -> None:
    """Run one command of a page, shortened, in this folder; Make's targets and preparations are not run."""
    if NOT_RUN.search(command):
        return
    if "DATA" in command:
        if not DATA.exists():
            return
        command = command.replace("DATA", str(DATA))
    for pattern, short in SHORTER if ranks else (*SHORTER, SERIAL):
        command = re.sub(pattern, short, command)
    command = command.replace("instances/", f"{CHECKOUT}/instances/")
    verb, arguments = verb_of(command) or ("", [])
    if verb and not command.startswith("mpiexec"):
        restart_clock()
        code, said = run(importlib.import_module(f"drivers.{verb}").main, arguments), ""
    else:
        done = run_limited(program_of(command), cwd=Path.cwd())
        code, said = done.returncode, done.stderr
    assert code in ALLOWED_CODES.get(verb, (0,)), (command, said)


def program_of(command: str) -> list[str]:
    """The words of a command; Python and what starts ranks are those of this environment."""
    words, mpiexec = shlex.split(command), find_mpiexec()
    if words[0] == "mpiexec" and mpiexec is None:
        pytest.skip("no mpiexec")
    known = {"mpiexec": mpiexec, "python": sys.executable}
    return [known.get(word, word) or word for word in words]


# ---------------------------------------------------------------- what is complete


def test_the_readme_is_short() -> None:
    assert len(README.read_bytes()) <= 12_288


def test_exit_codes_are_all_named() -> None:
    assert all(f"\n| {status.exit_code} |" in README.read_text("utf-8") for status in Status)


def test_every_command_has_its_help_on_the_page_of_commands() -> None:
    programs = {path.stem for path in (CHECKOUT / "drivers").glob("*.py") if "def parser(" in path.read_text("utf-8")}
    assert set(verbs()) == programs - {"rivals"}  # which `bench` runs
    shown = re.findall(r"\{include\} generated/(.*)\.md", (DOCS / "commands.md").read_text("utf-8"))
    assert {"verbs", "exit-codes", "commands"} <= set(shown)
    assert [v for v in verbs() if not re.search(rf"^\| `{v}[ `]", README.read_text("utf-8"), re.M)] == []


def test_every_public_name_is_in_the_reference() -> None:
    page = (DOCS / "api.md").read_text("utf-8")
    assert ".. automodule:: decomp.api\n" in page
    assert [n for n in decomp.__all__ if n != "__version__" and f"decomp.{n}\n" not in page] == FUNCTIONS


def test_equations_are_numbered_as_the_code_quotes_them() -> None:
    numbers = re.findall(r"\\tag\{(C?\d)\}", (DOCS / "model.md").read_text("utf-8"))
    assert numbers == [*map(str, range(1, 10)), "C1", "C2", "C3", "C4"]


def test_the_notation_names_fields_of_the_records() -> None:
    for table, column in re.findall(r"`(\w+)\.(\w+)`", (DOCS / "model.md").read_text("utf-8")):
        assert column in {f.name for f in TABLES[table].columns()}, (table, column)


def test_the_numbers_of_the_readme_are_measured_ones() -> None:
    """Rows of its table of results: bound, incumbent and seconds stand in the measured rows, to the last digit."""
    rows = [json.loads(line) for path in (DOCS / "measured").glob("*.jsonl") for line in path.read_text().splitlines()]
    certified = [r for r in rows if r.get("certified") and "bound" in r]
    known = {(round(r["bound"]), round(r["incumbent"]), r["seconds"]) for r in certified}
    shown = re.findall(r"^\|.*\| (−[\d,]+) \| (−[\d,]+) \| [\d.]+ % \| ([\d,]+) \|$", README.read_text("utf-8"), re.M)
    numbers = [[float(text.replace(",", "").replace("−", "-")) for text in row] for row in shown]
    assert len(numbers) == 6 and all(tuple(row) in known for row in numbers), numbers


def test_the_page_of_sources_names_every_preset_and_its_blocks_are_legal() -> None:
    kinds = dict(files=File, requests=RequestTrace, series=Series)
    named = set()
    for block in blocks(DOCS / "sources.md"):
        for part, table in keys.tomllib.loads(block.body).items():
            if part in ("trace", "latency", "egress"):
                read = [keys.record(dict(trace=JobTrace, latency=Latency, egress=Egress)[part], table, part)]
            else:
                part = part if part in kinds else "series"
                members, kind = table["series"] if part == "series" else table, kinds[part]
                read = [keys.record(kind, member, f"{part}.{name}") for name, member in members.items()]
            named |= {getattr(entry, "format", "") for entry in read}
    assert named - {""} == set(presets())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, target


def test_the_data_page_names_the_files_of_the_specs() -> None:
    page = (CHECKOUT / "instances" / "README.md").read_text("utf-8")
    used = {f for spec in (CHECKOUT / "instances").glob("*.toml") for f in csv_files(spec.read_text("utf-8"))}
    assert used == set(re.findall(r"^\| `([\w.]+\.csv(?:\.gz)?)` \|", page, re.M))
    assert all(f"`{spec.name}`" in page for spec in (CHECKOUT / "instances").glob("*.toml"))


def csv_files(text: str) -> set[str]:
    return set(re.findall(r'"([\w.]+\.csv(?:\.gz)?)"', text))
