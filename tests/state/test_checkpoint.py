"""Stop, save, go on: from any phase, nothing lost, nothing believed, and what does not fit is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.files.store import read_result, write_instance
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Iteration, Result, Status
from decomp.ranks.mpi import Serial
from decomp.solver.solve import solve
from decomp.state.checkpoint import read_checkpoint
from decomp.state.solve_state import Hooks
from drivers.common import run
from drivers.solve import main
from running import CHECKOUT, find_mpiexec
from solver.test_weak_prices import credited
from together import together

SIGNALS = {"bound": signal.SIGINT, "dive": signal.SIGTERM, "finish": signal.SIGUSR1, "improve": signal.SIGUSR1}
PHASES = tuple(SIGNALS)


@cache
def instance() -> Instance:
    return generate("small", seed=4)


def options(**values: Any) -> Options:
    usual = dict(method="lagrangian", rel_gap=0.0, improvement=dict(stale_finishes=1))
    made: Options = Options.from_dict({**usual, **values})
    return made


class Enough:
    """Sends this process a signal at the second line that has a schedule."""

    def __init__(self) -> None:
        self.seen = 0

    def row(self, it: Iteration) -> None:
        self.seen += it.incumbent is not None
        if self.seen == 2:
            os.kill(os.getpid(), signal.SIGUSR1)


class Stopper:
    """Sends this process a signal at the second line of a phase, or another one, of those with bounds `above` USD."""

    def __init__(self, phase: str, line: int = 2, above: float = -np.inf):
        self.phase, self.line, self.above, self.seen = phase, line, above, 0

    def row(self, it: Iteration) -> None:
        self.seen += it.phase == self.phase and it.bound > self.above
        if self.seen == self.line:
            os.kill(os.getpid(), SIGNALS[self.phase])
            self.seen += 1


def interrupted(folder: Path, phase: str) -> Path:
    path = folder / f"{phase}.h5"
    with Serial() as team:
        result = solve(instance(), team, options(), hooks=Hooks(listeners=[Stopper(phase)], checkpoint=(path, 1e9)))
    assert result is not None and result.status is Status.LIMIT
    assert [line.phase for line in result.log].count(phase) == 2
    return path


def resumed(path: Path, **values: Any) -> Result:
    changed = options(**values)
    result = solve(instance(), Serial(), changed, start=read_checkpoint(path, instance(), changed))
    assert result is not None
    return result


@cache
def whole() -> Result:
    result = solve(instance(), Serial(), options())
    assert result is not None
    return result


# ---------------------------------------------------------------- stop and go on


@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_stops_at_once_and_the_solve_goes_on_where_it_was(tmp_path: Path, phase: str) -> None:
    before = read_result(interrupted(tmp_path, phase))
    after = resumed(tmp_path / f"{phase}.h5")
    assert after.log[: len(before.log)] == before.log
    assert [line.iteration for line in after.log] == list(range(len(after.log)))
    clocks = [line.wall_seconds for line in after.log]
    assert clocks == sorted(clocks)
    slack = 1e-9 * abs(before.bound)
    assert after.bound >= before.bound - slack and after.incumbent <= before.incumbent + slack
    assert [str(f) for f in check(instance(), after).findings] == []
    phases = list(dict.fromkeys(line.phase for line in after.log))
    assert phases[:4] == ["bound", "dive", "finish", "improve"]
    # The bases of the sites' linear programs are not saved, so other columns may come; what they lead to is as good.
    assert after.bound == pytest.approx(whole().bound, rel=1e-4)
    assert sum(line.phase == "dive" for line in after.log) <= sum(line.phase == "dive" for line in whole().log) + 2


@pytest.mark.parametrize("phase, joined", [("finish", False), ("bound", True), ("improve", True)])
def test_a_fleet_with_scenarios_goes_on_where_it_was(tmp_path: Path, phase: str, joined: bool) -> None:
    """Also where risk, budgets of each scenario and commitments have multipliers."""
    path, fleet = tmp_path / "c.h5", together("every") if joined else generate("small", seed=4, scenarios=2)
    with Serial() as team:
        solve(fleet, team, options(), hooks=Hooks(listeners=[Stopper(phase)], checkpoint=(path, 1e9)))
    before = read_result(path)
    with Serial() as team:
        saved = read_checkpoint(path, fleet, options())
        after = solve(fleet, team, options(), hooks=Hooks(listeners=[Enough()]), start=saved)
    assert after is not None and after.schedule is not None
    assert after.log[: len(before.log)] == before.log and len(after.log) > len(before.log)
    slack = 1e-9 * abs(before.bound)
    assert after.bound >= before.bound - slack and after.incumbent <= before.incumbent + slack
    assert [str(f) for f in check(fleet, after).findings] == []
    if joined:
        assert before.dual is not None and after.dual is not None and after.dual.futures is not None
        first = after.log[len(before.log)]
        assert first.bound >= before.bound - slack, "the multipliers of then prove what they proved"


@pytest.mark.parametrize("phase", ["bound", "improve"])
def test_a_bound_that_rests_on_the_ban_is_not_lost(tmp_path: Path, phase: str) -> None:
    """Importing and exporting at once would earn credits; relaxed, the sites prove less."""
    path, fleet = tmp_path / "c.h5", credited()
    relaxed = solve_extensive(fleet, relax=True).bound
    with Serial() as team:
        stop = Hooks(listeners=[Stopper(phase, 1, above=relaxed + 100.0)], checkpoint=(path, 1e9))
        solve(fleet, team, options(), hooks=stop)
    before, chosen = read_result(path), options(rel_gap=0.9)
    after = solve(fleet, Serial(), chosen, start=read_checkpoint(path, fleet, chosen))
    assert after is not None and after.bound >= before.bound - 1e-9 * abs(before.bound)
    assert after.bound > relaxed + 100.0


@pytest.mark.parametrize("phase", ["bound", "improve"])
def test_a_checkpoint_is_a_result_that_the_certificate_accepts(tmp_path: Path, phase: str) -> None:
    result = read_result(interrupted(tmp_path, phase))
    missing = ["schedule: none in the result, must be there"] if phase == "bound" else []
    assert [str(f) for f in check(instance(), result).findings] == missing


def test_saved_when_the_schedule_improves_and_when_time_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decomp.state.checkpoint.LARGEST_SHARE", np.inf)
    path, found = tmp_path / "c.h5", []

    class Reader:
        def row(self, it: Iteration) -> None:
            found.append((it, read_result(path) if path.exists() else None))

    for seconds in (0.0, 1e9):
        found.clear()
        path.unlink(missing_ok=True)
        few = options(bundle=dict(max_iterations=10), rel_gap=1e-3)
        solve(instance(), Serial(), few, hooks=Hooks(listeners=[Reader()], checkpoint=(path, seconds)))
        for (line, _), (_, saved) in zip(found, found[1:], strict=False):  # what the file held when the next line came
            if seconds == 0.0:
                assert saved is not None and saved.log[-1] == line
            elif line.incumbent is not None:
                assert saved is not None and saved.incumbent == line.incumbent
        assert read_result(path).log == tuple(line for line, _ in found)


def test_another_gap_and_time_limit_are_free(tmp_path: Path) -> None:
    path = interrupted(tmp_path, "improve")
    assert resumed(path, rel_gap=0.9).status is Status.GAP_REACHED
    assert resumed(path, time_limit_seconds=0.0).incumbent <= read_result(path).incumbent


def test_another_method_goes_on_from_it_and_its_bound_is_kept(tmp_path: Path) -> None:
    first, second = interrupted(tmp_path, "improve"), tmp_path / "second.h5"
    hybrid, saved = options(method="hybrid"), read_checkpoint(first, instance(), options())
    closed = solve(instance(), Serial(), hybrid, start=saved, hooks=Hooks(checkpoint=(second, 1e9)))
    assert closed is not None and closed.bound > read_result(first).bound
    assert closed.log[-1].phase in ("branch", "whole")
    again = solve(instance(), Serial(), hybrid, start=read_checkpoint(second, instance(), hybrid))
    assert again is not None and (again.bound, again.incumbent) == (closed.bound, closed.incumbent)
    assert again.log == closed.log  # nothing was left to do


def test_bound_and_cost_are_established_anew(tmp_path: Path) -> None:
    """A checkpoint whose claims were tampered with (and its digest with them) leads to true numbers."""
    path = interrupted(tmp_path, "improve")
    saved = read_checkpoint(path, instance(), options())
    object.__setattr__(saved.result, "bound", saved.result.bound + 1e6)
    object.__setattr__(saved.result, "incumbent", saved.result.incumbent - 1e6)
    result = solve(instance(), Serial(), options(), start=saved)
    assert result is not None and [str(f) for f in check(instance(), result).findings] == []


# ---------------------------------------------------------------- what does not fit


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_instance(tmp_path / "i.h5", instance())
    interrupted(tmp_path, "dive")
    return tmp_path


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str, instance: str = "i.h5") -> str:
    """The one line with which the command refuses."""
    (folder / "o.toml").write_text("rel_gap = 0.0\nimprovement.stale_finishes = 1\n")
    given = ["--options", str(folder / "o.toml"), "--resume", str(folder / "dive.h5"), *arguments]
    assert run(main, [str(folder / instance), "-o", str(folder / "out.h5"), *given]) == 2
    assert not (folder / "out.h5").exists()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_another_instance_or_other_options_are_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_instance(files / "other.h5", generate("small", seed=5))
    assert "the checkpoint is of another instance: content hash" in refused(files, capsys, instance="other.h5")
    assert "other options: seed was 0, is 3" in refused(files, capsys, "--seed", "3")
    (files / "p.toml").write_text("[bundle]\nstep = 5\nfirst_factors = [1]\n[improvement]\nstale_finishes = 1\n")
    said = refused(files, capsys, "--options", str(files / "p.toml"))
    assert "bundle.first_factors was [3.0], is (1.0,); bundle.step was 10.0, is 5.0\n" in said
    assert "extensive form" in refused(files, capsys, "--method", "extensive")


def test_options_of_an_earlier_version_do_not_count_but_those_it_did_not_have_do(tmp_path: Path) -> None:
    path = interrupted(tmp_path, "bound")
    with h5py.File(path, "r+") as file:
        facts = json.loads(file.attrs["provenance"])
        facts["options"]["bundle"]["inertia"], facts["options"]["gone"] = 0.5, {"site_periods": 0}
        file.attrs["provenance"] = np.bytes_(json.dumps(facts))
    assert resumed(path, rel_gap=0.9).status is Status.GAP_REACHED
    with h5py.File(path, "r+") as file:
        del facts["options"]["bundle"]["step"]
        file.attrs["provenance"] = np.bytes_(json.dumps(facts))
    with pytest.raises(InputError, match=r"other options: bundle.step was unknown, is 10.0$"):
        resumed(path)


def test_files_that_are_no_checkpoints_are_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, good = files / "dive.h5", (files / "dive.h5").read_bytes()
    path.write_bytes(good[: len(good) // 2])
    assert "truncated or damaged" in refused(files, capsys)
    path.write_bytes(b"prices")
    assert "not an HDF5 file" in refused(files, capsys)
    path.write_bytes((files / "i.h5").read_bytes())
    assert "must be 'decomp result'" in refused(files, capsys)
    path.unlink()
    assert "No such file" in refused(files, capsys)
    path.write_bytes(good)
    with h5py.File(path, "r+") as file:
        file["state/column_cost"][0] += 1e-9 + 1e-9 * abs(file["state/column_cost"][0])
    assert "damaged: the digest of its state does not match" in refused(files, capsys)
    with h5py.File(path, "r+") as file:
        del file["state"]
    assert "a result, not a checkpoint" in refused(files, capsys)


def test_a_checkpoint_that_cannot_be_written_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = solve(instance(), Serial(), options(), hooks=Hooks(checkpoint=(tmp_path / "gone" / "c.h5", 1e9)))
    assert result is not None and np.isfinite(result.incumbent)
    said = capsys.readouterr().err.splitlines()
    assert said and all(line.startswith("warning: ") and "the solve goes on" in line for line in said)


def test_every_damaged_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    """Wherever a byte flips: the checkpoint is refused, or what is read is what was written."""
    path = interrupted(tmp_path, "dive")
    good = path.read_bytes()
    right = read_checkpoint(path, instance(), options())
    for at in np.random.default_rng(0).integers(0, len(good), 60):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        try:
            found = read_checkpoint(path, instance(), options())
        except InputError:
            continue
        assert found.facts == right.facts
        for f in right.state.columns():
            assert np.array_equal(getattr(found.state, f.name), getattr(right.state, f.name))


# ---------------------------------------------------------------- signals to a whole program


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, launcher", [("extensive", []), pytest.param("lagrangian", ["-n", "2"], marks=pytest.mark.mpi)]
)
def test_the_signal_before_a_limit_ends_the_command_with_what_is_known(
    tmp_path: Path, method: str, launcher: list[str]
) -> None:
    """What Slurm does: SIGUSR1 to the launcher; the command ends soon, with code 3, result and checkpoint."""
    mpiexec = find_mpiexec()
    if launcher and mpiexec is None:
        pytest.skip("no mpiexec")
    fleet, out, saved = tmp_path / "i.h5", tmp_path / "r.h5", tmp_path / "c.h5"
    write_instance(fleet, generate("fleet", seed=1, sites=6, periods=48, period_h=0.5))
    arguments = [fleet, "-o", out, "--method", method, "--rel-gap", 0]
    arguments += ["--checkpoint", saved] if method == "lagrangian" else []
    runner = ["-m", "mpi4py", "-m"] if launcher else ["-m"]
    command = [*([str(mpiexec), *launcher] if launcher else []), sys.executable, *runner, "drivers.solve"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(("bound ", "mip ")):
                break
        process.send_signal(signal.SIGUSR1)
        _, said = process.communicate()
    assert process.returncode == 3, said
    assert said.startswith("stopped with ") and said.count("\n") == 1
    result = read_result(out)
    assert result.status is Status.LIMIT and np.isfinite(result.bound)
    if method == "lagrangian":
        assert read_result(saved).log == result.log and [line.phase for line in result.log][-1] == "bound"
