"""Batch scripts from an instance: what is asked for, why, and that it is bash."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import decomp
from decomp.bench.estimate import RATES, Calibration, calibrate, chain, estimate
from decomp.bench.replay import ReplayStep, size_of
from decomp.families import generate
from decomp.files.store import write_instance
from decomp.lp.highs import Effort
from decomp.model.instance import SERIES, Instance
from decomp.model.scenarios import with_scenarios
from decomp.site.oracle import SiteRows
from drivers.common import run
from drivers.submit import main
from hand_case import hand_instance
from running import CHECKOUT, run_limited

CALIBRATION = Calibration(np.full(10, 2e-3), 1.0, 200.0)


@pytest.fixture(scope="module")
def fleet() -> Instance:
    return generate("fleet", sites=64, periods=24, jobs=60, seed=1)


@pytest.fixture
def path(fleet: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = tmp_path / "bin"  # of a machine without Slurm
    programs.mkdir()
    (programs / "bash").symlink_to(shutil.which("bash") or "/bin/bash")
    monkeypatch.setenv("PATH", str(programs))
    write_instance(tmp_path / "fleet.h5", fleet)
    return tmp_path / "fleet.h5"


def test_a_calibration_measures_sites_of_the_instance(path: Path, fleet: Instance) -> None:
    found = calibrate(path, fleet)
    assert len(found.seconds) == 24
    assert (found.seconds > 0).all() and found.seconds.max() < 1.0
    assert 50 < found.base_mb < 5000 and 0.1 <= found.site_mb < 50


def test_more_or_slower_sites_want_more_ranks_and_more_memory(fleet: Instance) -> None:
    here = estimate(fleet, CALIBRATION)
    slower = estimate(fleet, replace(CALIBRATION, seconds=10 * CALIBRATION.seconds))
    assert 1 < here.ranks <= slower.ranks <= fleet.n_sites
    assert slower.seconds > here.seconds
    assert here.efficiency >= 0.5
    assert here.rank_mb == 200.0 + 1.0 * -(-64 // here.ranks) < here.root_mb
    assert estimate(fleet, CALIBRATION, 1).seconds == pytest.approx(
        sum(s.root_seconds + s.seconds.sum() for s in chain(fleet, CALIBRATION))
    )


def test_scenarios_are_sites_to_the_cluster(path: Path, fleet: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    many = with_scenarios(fleet, [0.25] * 4, {})
    write_instance(path, many)
    assert len(calibrate(path, many).seconds) == 24
    one, four = estimate(fleet, CALIBRATION, 1), estimate(many, CALIBRATION, 1)
    assert 3.0 < four.seconds / one.seconds < 4.5
    assert four.rank_mb == 200.0 + 4 * 64 and four.root_mb - four.rank_mb > 3 * (one.root_mb - one.rank_mb)
    assert estimate(many, CALIBRATION).ranks >= estimate(fleet, CALIBRATION).ranks
    assert main([str(path), "--dry-run"]) == 0
    assert "64 sites in 4 scenarios, 24 periods" in capsys.readouterr().out


def test_a_chain_has_no_moves_without_jobs() -> None:
    fleet = generate("colocation", periods=96)
    assert len(chain(fleet, CALIBRATION)) == RATES.iterations + RATES.dispatches


def test_messages_are_as_long_as_the_records_with_their_devices() -> None:
    bare = hand_instance()
    devices = decomp.attach(bare, "alpha", decomp.devices.battery(mwh=1.0, mw=1.0))

    def dispatch(instance: Instance) -> ReplayStep:
        return chain(instance, CALIBRATION)[RATES.iterations]

    nothing = np.zeros(devices.n_periods)
    plans = [
        SiteRows.of(devices, i).evaluate_fixed(nothing, nothing, nothing, 0.0, effort=Effort())
        for i in range(devices.n_sites)
    ]
    assert dispatch(devices).back == np.mean([size_of(plan) for plan in plans])
    assert dispatch(devices).out > dispatch(bare).out > len(SERIES) * nothing.nbytes


def test_the_script_is_written_with_its_reasons(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = path.with_suffix(".sbatch")
    assert main([str(path), "--dry-run", "--cores-per-node", "4", "--ranks", "10", "--rel-gap", "0.01"]) == 0
    text, said = output.read_text("utf-8"), capsys.readouterr().out
    assert subprocess.run(["bash", "-n", str(output)], check=False).returncode == 0
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", text, re.M))
    assert (asked["nodes"], asked["ntasks"], asked["ntasks-per-node"]) == ("3", "10", "4")
    assert asked["signal"].startswith("B:USR1@") and int(asked["time"]) >= 10
    assert int(asked["mem"].removesuffix("M")) > 4 * 100
    assert f"{path} {path.parent}/fleet-result.h5 --rel-gap 0.01" in text
    for line in said.splitlines()[:-1]:
        assert f"# {line}\n" in text
    for word in ("64 sites", "10 ranks: as given", "3 nodes of 4 cores", "MB a node", "minutes", "Warned"):
        assert word in said
    assert said.splitlines()[-1] == f"script: {output}, not submitted"


def test_options_are_refused_before_the_job_waits(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "o.toml").write_text("relgap = 0.1\n")
    script = tmp_path / "s.sbatch"
    assert run(main, [str(path), "-o", str(script), "--options", str(tmp_path / "o.toml"), "--dry-run"]) == 2
    assert "relgap: no such option; did you mean rel_gap?" in capsys.readouterr().err and not script.exists()


def test_without_slurm_nothing_is_submitted(path: Path) -> None:
    assert run(main, [str(path), "--ranks", "0"]) == 2
    assert run(main, [str(path)]) == 2
    assert not path.with_suffix(".sbatch").exists()


def test_any_path_goes_through_the_script_unharmed(path: Path, tmp_path: Path) -> None:
    """In a checkout of any name, with a stand-in for its script of Slurm, that hands on the very words."""
    folder = tmp_path / "a b 'q' \"d\" $HOME `id` ü\nx"
    shutil.copytree(CHECKOUT / "drivers", folder / "drivers", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "slurm").mkdir(parents=True)
    fleet = path.rename(folder / "f l;$(touch no).h5")
    stand_in = folder / "slurm" / "solve.sbatch"
    stand_in.write_text("printf '%s\\0' \"$@\"\n")
    (folder / "o p.toml").write_text("rel_gap = 0.01\n")
    output = folder / "s b.sh"
    words = [str(fleet), "-o", str(output), "--result", str(folder / "r é.h5"), "--options", str(folder / "o p.toml")]
    submit = [sys.executable, "-m", "drivers.submit", *words, "--dry-run", "--ranks", "2"]
    done = run_limited(submit, cwd=folder, PYTHONPATH=f"{folder}:{CHECKOUT}")
    assert done.returncode == 0, done.stderr
    said = subprocess.run(["bash", str(output)], capture_output=True, check=True, cwd=tmp_path).stdout.decode()
    assert said.split("\0")[:-1] == [words[0], words[4], "--options", words[6]]
    directives = [line for line in output.read_text("utf-8").splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --job-name=f-l-touch-no-" in directives
    assert all(re.fullmatch(r"#SBATCH --[\w-]+(=[\w.+:@-]+)?", line) for line in directives)
