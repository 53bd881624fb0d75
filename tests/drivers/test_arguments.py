"""Arguments: no command writes over what it reads, or twice over one file; numbers that make no sense are refused."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from decomp.files.store import write_instance
from decomp.model.options import Options
from drivers import common
from drivers.__main__ import verbs
from drivers.arguments import Arguments, same_file
from tiny import tiny

MODULES = {name: importlib.import_module(f"drivers.{name}") for name in (*verbs(), "rivals")}
PARSERS: dict[str, Arguments] = {verb: module.parser() for verb, module in MODULES.items() if hasattr(module, "parser")}

# Every output beside every input and every other output of its command: x and y are one file, D/ is its folder.
ONE_FILE = """
solve x -o y
solve in -o y --options x
solve in -o y --resume x
solve in -o y --replay x
solve x -o out --log y
solve in -o out --options x --log y
solve in -o out --resume x --log y
solve in -o out --replay x --log y
solve in -o x --log y
solve x -o out --checkpoint y
solve in -o out --options x --checkpoint y
solve in -o out --replay x --checkpoint y
solve in -o x --checkpoint y
solve in -o out --log x --checkpoint y
frontier x -o y
frontier in -o y --options x
frontier x -o out --plot y
frontier in -o out --options x --plot y
frontier in -o out --resume x --plot y
frontier in -o x --plot y
rolling x -o D/windows.csv
rolling in -o D/plans/0000.h5 --options x
rolling in -o D/plans/0000.h5 --history x
report x r -o y
report in x -o y
export x --mps y
export in --mps y --result x --sol s
export x --mps m --result r --sol y
export in --mps m --result x --sol y
export in --mps x --result r --sol y
export x --mps m --result r --plain y
export in --mps m --result x --plain y
export in --mps x --result r --plain y
export in --mps m --result r --sol x --plain y
export x --result r --csv D/jobs.csv
export in --result x --csv D/site-1-A.csv
export in --mps x --result r --csv D/jobs.csv
export in --mps m --result r --sol x --csv D/jobs.csv
export in --mps m --result r --plain x --csv D/jobs.csv
ingest x -o y
attach x -o y --site A --kind battery
scenarios x -o y --count 1
scenarios in -o y --history x
scenarios in -o y --ensemble x
evaluate x r --csv y
evaluate in x --csv y
evaluate in r --csv y --scenarios x
evaluate in r --csv y --options x
evaluate x r --report y
evaluate in x --report y
evaluate in r --report y --scenarios x
evaluate in r --report y --options x
evaluate in r --csv x --report y
submit x -o y --dry-run
submit in -o y --options x --dry-run
submit x --result y --dry-run
submit in --options x --result y --dry-run
submit in -o x --result y --dry-run
scaling x -o D/2.h5
scaling in -o D/2.jsonl --options x
bench --show x -o D/growth.svg
""".strip().splitlines()
PRECIOUS = b"precious = 1\n"
LINKS = ("same path", "symbolic link", "hard link", "folder's link")


def command_line(line: str, how: str, folder: Path) -> tuple[str, list[str], Path, list[str]]:
    """Verb, words, the file that must not be touched, and the flags whose files are the same."""
    verb, *words = line.split()
    inside = next((word[2:] for word in words if word.startswith("D/")), "precious")
    (folder / "real").mkdir()
    (folder / "other").symlink_to("real")
    target = folder / "real" / inside
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(PRECIOUS)
    for name in ("in", "r"):
        (folder / name).write_bytes(b"other")
    if how == "symbolic link":
        (folder / "x").symlink_to(target)
    elif how == "hard link":
        os.link(target, folder / "x")
    x = {"same path": target, "folder's link": folder / "other" / inside}.get(how, folder / "x")
    places = {"x": x, "y": target, f"D/{inside}": folder / "real"}
    flags = [before for before, word in zip(["", *words], words, strict=False) if word in places and before[:1] == "-"]
    return verb, [str(places.get(word, word)) for word in words], target, flags


@pytest.mark.parametrize("how", LINKS)
def test_what_is_read_is_not_written(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for k, line in enumerate(ONE_FILE):
        folder = tmp_path / str(k)
        folder.mkdir()
        monkeypatch.chdir(folder)
        verb, words, target, flags = command_line(line, how, folder)
        before = sorted(folder.rglob("*"))
        assert common.run(MODULES[verb].main, words) == common.BAD_INPUT, line
        [told] = capsys.readouterr().err.splitlines()
        assert told.startswith("error: ") and "nothing is overwritten" in told, (line, told)
        full = {"-o": "--output"}
        assert all(full.get(flag, flag) in told for flag in flags), (line, told)
        assert target.read_bytes() == PRECIOUS and sorted(folder.rglob("*")) == before, line


def test_every_output_stands_beside_every_input() -> None:
    tried = set()
    for line in ONE_FILE:
        verb, *words = line.split()
        words = [word.split("/")[0] if word.startswith("D/") else word for word in words]
        args = PARSERS[verb].parse_args(words)
        lists = {name: value if isinstance(value, list) else [value] for name, value in vars(args).items()}
        same = [name for name, values in lists.items() if {"x", "y", "D"} & set(map(str, values))]
        assert len(same) == 2, line
        tried.add((verb, frozenset(same)))
    for verb, p in PARSERS.items():
        inputs, outputs = [a.dest for a in p.inputs], [o for o in p.outputs if o.action.dest != "collect"]
        for k, output in enumerate(outputs):
            for other in [*(i for i in inputs if i != output.renews), *(o.action.dest for o in outputs[:k])]:
                assert (verb, frozenset((output.action.dest, other))) in tried


def test_a_checkpoint_may_go_on_in_its_own_file(tmp_path: Path) -> None:
    for name in ("in", "c"):
        (tmp_path / name).write_bytes(b"")
    p = PARSERS["solve"]
    words = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), *("--resume", str(tmp_path / "c")) * 1]
    p.keep_apart(p.parse_args([*words, "--checkpoint", str(tmp_path / "c")]))


def test_what_is_no_file_is_never_the_same(tmp_path: Path) -> None:
    assert not same_file(Path(os.devnull), Path(os.devnull))
    assert same_file(tmp_path / "new", tmp_path / "no" / ".." / "new")
    assert not same_file(tmp_path / "new", tmp_path / "newer")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("export in --mps no/m", "--mps: no/m: its folder does not exist"),
        ("generate fleet -o .", "--output: . is a folder"),
        ("rolling in -o in", "--output: in is not a folder"),
    ],
)
def test_outputs_that_cannot_be(
    line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_bytes(b"")
    verb, *rest = line.split()
    assert common.run(MODULES[verb].main, rest) == common.BAD_INPUT
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("solve in -o shut/r", "--output: shut/r: {}/shut may not be written to"),
        ("rolling in -o shut/deep/run", "--output: shut/deep/run: {}/shut may not be written to"),
        ("frontier in -o shut/f", "--output: shut/f: {}/shut may not be written to"),
    ],
)
def test_a_folder_that_takes_nothing_is_known_before_the_work(
    line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The superuser may write anywhere, so that the answer of the operating system is put in its place."""
    monkeypatch.chdir(tmp_path)
    write_instance("in", tiny())
    (tmp_path / "shut").mkdir()
    monkeypatch.setattr("drivers.arguments.os.access", lambda path, mode: Path(path) != tmp_path / "shut")
    verb, *rest = line.split()
    assert common.run(MODULES[verb].main, rest) == common.BAD_INPUT
    assert words.format(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize("path", ["in/fleet.h5", "n" * 300, "loop/fleet.h5"])
def test_a_path_that_leads_nowhere_is_bad_input(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    assert common.run(MODULES["compare"].main, [path]) == common.BAD_INPUT
    [told] = capsys.readouterr().err.splitlines()
    assert path in told


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("scenarios in -o out --count 3000000000", "3000000000: must be a whole number from 1 to 2147483647"),
        ("scenarios in -o out --count 0", "0: must be a whole number of at least 1"),
    ],
)
def test_the_limit_that_a_number_breaks_is_named(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    verb, *rest = line.split()
    assert common.run(MODULES[verb].main, rest) == common.BAD_INPUT
    assert words in capsys.readouterr().err


NO_NUMBERS = """
check in r --jobs 0
check in r --seconds nan
check in r --seconds 0
solve in -o out --patience nan
solve in -o out --patience -1
solve in -o out --checkpoint c --checkpoint-seconds nan
solve in -o out --checkpoint c --checkpoint-seconds -5
solve in -o out --time-limit nan
solve in -o out --time-limit -1
solve in -o out --rel-gap nan
solve in -o out --rel-gap 1.5
solve in -o out --rel-gap inf
solve in -o out --seed -1
solve in -o out --seed 99999999999999999999999
frontier in -o out --rel-gap nan
frontier in -o out --time-limit -1
frontier in -o out --budgets nan
frontier in -o out --budgets 1
frontier in -o out --budgets 10,-5
frontier in -o out --budgets inf,10
frontier in -o out --budgets 1001
frontier in -o out --budgets 1e13
submit in --ranks 1000001
rolling in -o out --window nan
rolling in -o out --window -1
rolling in -o out --step inf
rolling in -o out --days 0
rolling in -o out --switch-usd inf
rolling in -o out --rel-gap -0.1
rolling in -o out --time-limit nan
generate fleet -o out --sites -1
generate fleet -o out --jobs 1e3
generate fleet -o out --seed -1
generate fleet -o out --set negative=nan
scenarios in -o out --count 0
scenarios in -o out --count 2 --reduce -1
scenarios in -o out --count 2 --seed -1
evaluate in r --count 1
evaluate in r --count 2 --seed -1
evaluate in r --rel-gap 1.5
evaluate in r --time-limit nan
submit in --ranks 0
submit in --minutes -1
submit in --rel-gap nan
submit in --method none
scaling in -o out --ranks 0
scaling in -o out --ranks 1,nan
scaling in -o out --time-limit -1
scaling in -o out --message-seconds inf
bench -o out --time-limit nan
bench -o out --rel-gap -1
bench -o out --ranks 0
bench -o out --seeds -1
bench -o out --periods 0
rivals scip in --time-limit nan
rivals scip in --threads 0
colocation_study -o out --wind nan
colocation_study -o out --wind 1e5
colocation_study -o out --deferrable 1.1
colocation_study -o out --replan nan
colocation_study -o out --demand-charge -1
colocation_study -o out --days 0
joint_study -o out --seconds nan
joint_study -o out --rel-gap nan
joint_study -o out --sites 0
""".strip().splitlines()


def test_numbers_that_make_no_sense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_instance(tmp_path / "in", tiny())
    (tmp_path / "r").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    for line in NO_NUMBERS:
        verb, *words = line.split()
        assert common.run(MODULES[verb].main, words) == common.BAD_INPUT, line
        [told] = capsys.readouterr().err.splitlines()
        flag = max((k for k, word in enumerate(words) if word.startswith("--")), default=0)
        name, value = words[flag].strip("-"), words[flag + 1].split("=")[-1].split(",")[-1]
        assert told.startswith("error: ") and name.replace("-", "_") in told.replace("-", "_"), (line, told)
        assert value in told or "method" in line, (line, told)
        assert sorted(tmp_path.rglob("*")) == before, line


@pytest.mark.parametrize(
    ("words", "said"), [("--rel-gap 5%", "5%: must be a number"), ("--seed 1.5", "1.5: must be a whole")]
)
def test_what_is_no_number_is_refused_in_plain_words(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        PARSERS["solve"].parse_args(["in", *words.split()])
    assert said in capsys.readouterr().err


def test_a_name_that_is_too_long_is_refused_before_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_instance(tmp_path / "in", tiny())
    words = [str(tmp_path / "in"), "-o", str(tmp_path / ("x" * 256))]
    assert common.run(MODULES["solve"].main, words) == common.BAD_INPUT
    assert "--output" in (told := capsys.readouterr().err) and "name too long" in told


def test_a_refusal_is_one_line_whatever_a_file_is_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert common.run(MODULES["check"].main, 2 * [str(tmp_path / "a\nb.h5")]) == common.BAD_INPUT
    assert capsys.readouterr().err == f"error: {tmp_path}/a b.h5: No such file or directory\n"


@pytest.mark.parametrize(
    "verb, usual, gap",
    [
        ("solve", common.USUAL, 1e-3),
        ("evaluate", common.USUAL, 1e-3),
        ("rolling", common.BRIEF, 0.01),
        ("frontier", common.BRIEF, 0.01),
    ],
)
def test_the_gap_of_an_options_file_is_kept_unless_the_command_line_says_another(
    verb: str, usual: Options, gap: float, tmp_path: Path
) -> None:
    files = ["in", "r"] if verb == "evaluate" else ["in", "-o", "out"]
    (tmp_path / "none.toml").write_text("seed = 3\n")
    (tmp_path / "gap.toml").write_text("rel_gap = 0.2\n")

    def asked(*more: str) -> float:
        return common.options_of(PARSERS[verb].parse_args([*files, *more]), usual).rel_gap

    assert asked() == asked("--options", str(tmp_path / "none.toml")) == gap
    assert asked("--options", str(tmp_path / "gap.toml")) == 0.2
    assert asked("--options", str(tmp_path / "gap.toml"), "--rel-gap", "0.3") == 0.3
