"""What the README shows is run: its commands, its Python, its table of options, its links.

`python tests/test_readme.py` writes the table of options anew.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest

from decomp.families import FAMILIES
from decomp.model.instance import TABLES
from decomp.model.options import Options
from decomp.model.result import Status
from running import CHECKOUT, find_mpiexec, run_limited

README = CHECKOUT / "README.md"
PAGES = [README, CHECKOUT / "CONTRIBUTING.md", CHECKOUT / "CHANGELOG.md", CHECKOUT / "instances" / "README.md"]
PAGES += [CHECKOUT / "slurm" / "README.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
OPTION_ROWS = re.compile(r"(?<=\| option \| default \| legal values \| meaning \|\n\|---\|---\|---\|---\|\n)(\|.*\n)+")

# What makes a command short enough for a test; everything else is run as it stands.
SHORTER = [(r"--sites \d+", "--sites 3 --periods 24 --jobs 4"), (r"--time-limit \d+", "--time-limit 20")]
SHORTER += [(r"mpiexec -n \d+", "mpiexec -n 2"), (r"--rel-gap \S+", "--rel-gap 0.1")]
SHORTER += [(r"(?<=joint_study -o joint)$", " --variants joint --sweeps")]
ALLOWED_CODES = {"solve": (0, 3)}


def blocks(language: str, page: Path = README) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def commands(page: Path = README) -> list[str]:
    """Lines of the shell blocks, and commands inside sentences, table cells and indented blocks."""
    text = page.read_text("utf-8")
    lines = [line for body in blocks("sh", page) for line in body.splitlines()]
    lines += re.findall(r"`((?:mpiexec|python -m drivers)[^`]*)`", text)
    lines += re.findall(r"^    (python -m drivers.*?)(?:  +#.*)?$", text, re.M)
    return lines


def verb_of(command: str) -> tuple[str, list[str]] | None:
    """The verb of a command and its arguments, if it is one of ours."""
    words = shlex.split(command)
    at = [k for k, word in enumerate(words) if re.fullmatch(r"drivers\.[a-z_]+", word)]
    return (words[at[0]].removeprefix("drivers."), words[at[0] + 1 :]) if at else None


def runnable() -> list[str]:
    """The commands of the shell blocks before the measured ones, which need no data and take no environment apart."""
    text = README.read_text("utf-8").partition("## Measured")[0]
    lines = [line for kind, body in BLOCK.findall(text) if kind == "sh" for line in body.splitlines()]
    return [line for line in lines if not re.search(r"DATA|^make|pip install", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_command_is_one_that_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verbs and flags are those of the drivers' parsers; targets those of the Makefile."""
    makefile = (CHECKOUT / "Makefile").read_text("utf-8")
    for command in commands(page):
        if (known := verb_of(command)) is None:
            continue
        verb, arguments = known
        parser = importlib.import_module(f"drivers.{verb}").parser()
        if "--help" not in arguments and "FAMILY" not in arguments:
            try:
                parser.parse_args(arguments)
            except SystemExit:
                pytest.fail(f"{page.name}: {command}\n{capsys.readouterr().err}")
    for target in re.findall(r"(?:`|^ *)make (\w+)", page.read_text("utf-8"), re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_every_flag_is_one_that_exists() -> None:
    """Flags named beside a verb in the table of commands are flags of that verb."""
    rows = re.findall(r"^\| `(\w+) [^|]*\|.*$", README.read_text("utf-8"), re.M)
    assert {"generate", "ingest", "solve", "check", "report", "compare", "export"} <= set(rows)
    for line in README.read_text("utf-8").splitlines():
        if found := re.match(r"\| `(\w+) [A-Z]", line):
            help_text = importlib.import_module(f"drivers.{found[1]}").parser().format_help()
            for flag in re.findall(r"--[a-z-]+", line):
                assert flag in help_text, (found[1], flag)


@pytest.fixture(scope="module")
def after_the_commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's commands were run, shortened, in their order."""
    mpiexec = find_mpiexec()
    if mpiexec is None:
        pytest.skip("no mpiexec")
    folder = tmp_path_factory.mktemp("readme")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in runnable():
        for pattern, short in SHORTER:
            command = re.sub(pattern, short, command)
        words = shlex.split(command)
        program = {"mpiexec": mpiexec, "python": sys.executable}.get(words[0], shutil.which(words[0], path=path))
        assert program, command
        done = run_limited([program, *words[1:]], 240, cwd=folder, PATH=path)
        verb = verb_of(command)
        assert done.returncode in ALLOWED_CODES.get(verb[0] if verb else "", (0,)), (command, done.stderr)
    return folder


def test_the_commands_run(after_the_commands: Path) -> None:
    left = {path.name for path in after_the_commands.iterdir()}
    assert left >= {"fleet.h5", "result.h5", "run.jsonl", "report.html", "fleet.mps", "start.sol"}


def test_the_snippets_run(after_the_commands: Path) -> None:
    pytest.importorskip("h5netcdf")
    snippets = blocks("python")
    assert len(snippets) == 3
    for snippet in snippets:
        done = run_limited([sys.executable, "-c", snippet], cwd=after_the_commands)
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("True")


def test_the_options_in_toml_are_options(tmp_path: Path) -> None:
    [example] = blocks("toml")
    (tmp_path / "o.toml").write_text(example, "utf-8")
    assert Options.from_toml(tmp_path / "o.toml") != Options()


@cache
def option_rows() -> str:
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in Options.describe())


def test_the_table_of_options_is_that_of_the_code() -> None:
    [command] = [line for line in runnable() if "Options.describe" in line]
    assert run_limited([sys.executable, *shlex.split(command)[1:]]).stdout == option_rows()
    written = OPTION_ROWS.search(README.read_text("utf-8"))
    assert written and written[0] == option_rows(), "options have changed: run python tests/test_readme.py"


def test_families_groups_and_exit_codes_are_all_named() -> None:
    text = README.read_text("utf-8")
    assert all(f"| `{family}` |" in text for family in FAMILIES)
    assert all(f"`{group}`" in text for group in (*TABLES, "schedule", "dual", "log"))
    assert all(f"\n| {status.exit_code} |" in text for status in Status)


def test_equations_are_numbered_as_the_code_quotes_them() -> None:
    [model] = [body for body in blocks("text") if "facility" in body]
    numbers = re.findall(r"   \((C?\d)\)$", model, re.M)
    assert numbers == [*map(str, range(1, 10)), "C1", "C2", "C3", "C4"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    headings = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_the_data_page_names_the_files_of_the_specs() -> None:
    page = (CHECKOUT / "instances" / "README.md").read_text("utf-8")
    used = {name for spec in (CHECKOUT / "instances").glob("*.toml") for name in csv_files(spec.read_text("utf-8"))}
    assert used == set(re.findall(r"^\| `([\w.]+\.csv(?:\.gz)?)` \|", page, re.M))
    assert all(f"`{spec.name}`" in page for spec in (CHECKOUT / "instances").glob("*.toml"))


def csv_files(text: str) -> set[str]:
    return set(re.findall(r'"([\w.]+\.csv(?:\.gz)?)"', text))


def rewrite() -> None:
    README.write_text(OPTION_ROWS.sub(lambda _: option_rows(), README.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    rewrite()
