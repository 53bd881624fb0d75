"""The team: the same numbers on any number of ranks, and no silent hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decomp.files.atomic import atomic_path
from decomp.lp.watch import STOP_SIGNALS
from decomp.model.instance import InputError
from decomp.ranks.mpi import AtRoot, Serial, TaskAnswer
from decomp.ranks.team import NOT_DONE
from decomp.ranks.workers import Workers
from drivers.common import make_team, run
from running import CHECKOUT, find_mpiexec, run_limited

PROGRAM = Path(__file__).with_name("team_program.py")
RANKS = (1, 2, 3, 7)


def play(mpirun: Callable[..., Any], n: int, scene: str, meeting: Path | None = None) -> dict[str, Any]:
    """Run a scene that ends well, with a folder in which its ranks meet; what the root printed."""
    done = mpirun(n, PROGRAM, scene, **({} if meeting is None else dict(MEETING=str(meeting))))
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer.pop("mpi") == (n > 1)
    return answer


@pytest.mark.parametrize("n", RANKS)
def test_same_numbers_on_any_number_of_ranks(mpirun: Callable[..., Any], n: int) -> None:
    answer = play(mpirun, n, "numbers")
    rows = np.random.default_rng(1).standard_normal((5, 3, 2))
    assert answer["sum"] == float(np.exp(rows).sum()).hex()
    assert answer["sites"] == [0, 1, 2, 3, 4] and answer["dtype"] == "int64"
    assert answer["ranks"] == list(range(n)) and all(answer["heard"])


def test_what_fails_in_a_farm_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    workers = Workers(Serial())
    for _ in range(2):
        assert workers.farm(lambda n: 12 // n, [4, 0], what="shares") == [3, None]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: shares: 1 of 2 failed") and "ZeroDivisionError" in line and "test_team.py" in line


@pytest.mark.parametrize("n", [2, 3])
def test_messages_too_large_to_be_sent_unasked(mpirun: Callable[..., Any], n: int) -> None:
    assert play(mpirun, n, "large") == {"same": True}


@pytest.mark.parametrize("n", RANKS)
def test_some_ranks_exchange_values_while_the_others_wait(mpirun: Callable[..., Any], n: int) -> None:
    heard = play(mpirun, n, "some")["heard"]
    rounds = [min(k, n) for k in (2, 3, 1, 2)]
    for rank, lists in enumerate(heard):
        assert lists == [[4 * [list(range(k))], 0] for k in rounds if rank < k]


@pytest.mark.parametrize("n", RANKS)
def test_a_failing_task_is_an_answer(mpirun: Callable[..., Any], n: int, tmp_path: Path) -> None:
    answer = play(mpirun, n, "tasks", tmp_path)
    assert answer["values"] == [None if i == 3 else i * i for i in range(12)]
    [error] = answer["errors"]
    assert error.startswith("ValueError: three is too many (team_program.py:")
    assert answer["ranks"] == list(range(n))
    assert answer["none"] == []
    assert answer["late"] == 2 * ["not done before the stop"]


def test_short_tasks_do_not_wait_for_the_root_to_finish_a_long_one(mpirun: Callable[..., Any], tmp_path: Path) -> None:
    ranks = play(mpirun, 2, "uneven", tmp_path)["ranks"]
    long_one = ranks[0]
    assert ranks.count(long_one) == 1 and len(ranks) == 9


def test_deadlines_go_by_the_roots_clock_alone(mpirun: Callable[..., Any], tmp_path: Path) -> None:
    answer = play(mpirun, 2, "skewed", tmp_path)
    assert answer["processes"] == 2
    assert 0.9e6 < answer["least"] <= answer["most"] <= 1e6 + 0.1
    asked = [path for path in (CHECKOUT / "decomp").rglob("*.py") if "time.time()" in path.read_text("utf-8")]
    assert asked == []


def test_waiting_is_counted_and_the_clock_is_the_roots(mpirun: Callable[..., Any]) -> None:
    answer = play(mpirun, 3, "waiting")
    *others, late = answer["waits"]
    assert min(others) > max(late, 0.25) and answer["clock"] > max(others)


def test_the_path_is_the_longest_chain_of_work_on_any_ranks(mpirun: Callable[..., Any], tmp_path: Path) -> None:
    answer = play(mpirun, 2, "path", tmp_path)
    assert 0.3 <= answer["together"] < 0.4  # and not 0.1, 0.4 or the 0.5 that it took
    assert 0.4 <= answer["tasks"] < 0.7  # two or three of the four tasks one after the other


@pytest.mark.parametrize("n", [2, 3])
def test_bad_input_found_by_the_root_is_one_line_from_one_rank(mpirun: Callable[..., Any], n: int) -> None:
    done = mpirun(n, PROGRAM, "refused")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: sites.pue: 0.5 at site 3, must be at least 1\n"


def test_ranks_that_agree_leave_together_with_any_code(mpirun: Callable[..., Any]) -> None:
    done = mpirun(3, PROGRAM, "agreed")
    assert (done.returncode, done.stderr) == (3, "")
    assert json.loads(done.stdout)["values"] == [42, 42, 42]


@pytest.mark.parametrize("n", [2, 7])
def test_an_error_on_one_rank_ends_all(mpirun: Callable[..., Any], n: int) -> None:
    done = mpirun(n, PROGRAM, "raising")
    assert done.returncode == 5
    assert "error: internal failure, ArithmeticError: a number too many" in done.stderr


def test_an_error_on_one_rank_ends_all_without_mpi4py_as_runner() -> None:
    mpiexec = find_mpiexec()
    if mpiexec is None:
        pytest.skip("no mpiexec")
    done = run_limited([mpiexec, "-n", "2", sys.executable, str(PROGRAM), "raising"])
    assert done.returncode == 5


@pytest.mark.parametrize("n", [2, 7])
def test_a_rank_that_dies_ends_all(mpirun: Callable[..., Any], n: int) -> None:
    assert mpirun(n, PROGRAM, "dying").returncode != 0


def test_a_rank_that_ends_before_mpi_begins_does_not_keep_the_others_waiting(
    mpirun: Callable[..., Any], tmp_path: Path
) -> None:
    script = tmp_path / "half.py"
    script.write_text(
        "import atexit, os, pathlib, time\n"
        "from decomp.ranks import mpi\n"
        "ended = pathlib.Path(os.environ['MEETING'], 'ended')\n"
        "if any(os.environ.get(name) == '1' for name in ('PMI_RANK', 'PMIX_RANK', 'OMPI_COMM_WORLD_RANK')):\n"
        "    atexit.register(ended.touch)\n"
        "    raise ImportError('this node lacks a module')\n"
        "while not ended.exists():\n"
        "    time.sleep(0.01)\n"
        "mpi.START_SECONDS = 1.0\n"
        "mpi.load_mpi()\n"
    )
    done = mpirun(2, script, MEETING=str(tmp_path))
    assert done.returncode != 0
    assert "this node lacks a module" in done.stderr and "in load_mpi" in done.stderr


@pytest.mark.parametrize(
    ("scene", "who", "where", "line"),
    [
        ("stalling", "rank 0 has waited", "in gather(site answers) for rank 2 (", "in stalling"),
        ("stalling_root", "rank 1 has waited", "in bcast(prices) for rank 0 (", "in stalling_root"),
        ("stalling_task", "rank 0 has waited", "in map_tasks(clusters) for rank ", "in stalling_task"),
    ],
)
def test_a_rank_that_stalls_is_named_and_shows_its_stack(
    mpirun: Callable[..., Any], scene: str, who: str, where: str, line: str
) -> None:
    done = mpirun(3, PROGRAM, scene, 3.0)
    assert done.returncode == 5
    assert who in done.stderr and where in done.stderr
    assert line in done.stderr


def test_a_signal_on_one_rank_is_known_to_all(mpirun: Callable[..., Any]) -> None:
    answer = play(mpirun, 3, "signalled")
    assert answer["stops"] == 3 * [[False, True]]
    assert answer["errors"] == 2 * ["not done before the stop"]


@pytest.mark.parametrize("quiet", [0, 1])
def test_a_signal_on_one_rank_ends_long_work_on_all(mpirun: Callable[..., Any], quiet: int) -> None:
    """The others are inside HiGHS, with a limit of a quarter of an hour, and would call nobody before that."""
    done = mpirun(3, PROGRAM, "grinding", QUIET=str(quiet))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer["errors"]) == {NOT_DONE} and answer["stopped"] == [True] * 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_ranks_stop_in_order_when_mpiexec_is_interrupted(number: int) -> None:
    mpiexec = find_mpiexec()
    if mpiexec is None:
        pytest.skip("no mpiexec")
    command = [mpiexec, "-n", "2", sys.executable, "-m", "mpi4py", str(PROGRAM), "listening"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(number)
        out, _ = process.communicate()
    assert process.returncode == 0 and json.loads(out.splitlines()[-1])["stopped"] is True


def test_serial_team() -> None:
    team = Serial()
    rows = np.arange(6.0).reshape(3, 2)
    owner = np.zeros(3, dtype=int)
    assert team.is_root and team.bcast("x") == "x" and team.gather(1) == [1]
    np.testing.assert_array_equal(team.gather_rows(rows, owner), rows)
    answers = team.map_tasks(lambda task: 1 / task, [1, 0, 2])
    assert [a.value for a in answers] == [1.0, None, 0.5]
    assert answers[1].error is not None and answers[1].error.startswith("ZeroDivisionError")
    assert isinstance(answers[0], TaskAnswer)
    assert team.waited_seconds < 0.1 * team.clock()


def test_serial_team_stops_at_a_signal() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with Serial() as team:
            os.kill(os.getpid(), signal.SIGINT)
            assert not team.stop_requested()
            team.bcast(None)
            assert team.stop_requested()
        with pytest.raises(KeyboardInterrupt):  # the usual handler is back
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_a_run_in_order_unless_it_is_ignored(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with Serial() as team:
            for _ in range(2):  # the kernel and the shell may both say so
                os.kill(os.getpid(), signal.SIGHUP)
            team.bcast(None)
            assert team.stop_requested() is not ignored
        assert signal.getsignal(signal.SIGHUP) is (signal.SIG_IGN if ignored else signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_asked_to_end_leaves_nothing_half_written(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(known) for known in STOP_SIGNALS]

    def command(argv: object) -> int:
        with atomic_path(tmp_path / "file") as beside:
            beside.write_text("half")
            os.kill(os.getpid(), number)
            time.sleep(1)
        return 0

    assert run(command) == 128 + number
    assert capsys.readouterr().err == f"error: interrupted by {number.name}\n"
    assert not list(tmp_path.iterdir())
    assert [signal.getsignal(known) for known in STOP_SIGNALS] == before


def test_serial_failures() -> None:
    def refuse() -> None:
        raise InputError("no such site")

    with pytest.raises(InputError), Serial() as team:
        team.at_root(refuse)


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: BaseException) -> int:
        def command(argv: object) -> int:
            raise error

        return run(command)

    elsewhere = AtRoot("read")
    elsewhere.__cause__ = InputError("no such site")
    assert fail(elsewhere) == 2 and capsys.readouterr().err == ""
    assert fail(InputError("no such site")) == 2 and capsys.readouterr().err == "error: no such site\n"
    assert fail(FileNotFoundError(2, "No such file or directory", "x.h5")) == 2
    assert capsys.readouterr().err == "error: x.h5: No such file or directory\n"
    assert fail(ArithmeticError("a number too many")) == 5
    assert "Traceback" in capsys.readouterr().err
    assert fail(KeyboardInterrupt()) == 130
    assert fail(BrokenPipeError()) == 5  # not of standard output, which is a window
    assert run(lambda argv: 3) == 3


def test_a_foreign_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PMI_SIZE", "PMIX_RANK", "PALS_RANKID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(make_team(), Serial)
    done = run_limited([sys.executable, str(PROGRAM), "numbers"], OMPI_COMM_WORLD_SIZE="4")
    assert done.returncode == 2
    assert "error: started as 4 ranks, but the MPI library sees 1: the launcher is not" in done.stderr
