"""A real Slurm of two nodes on this machine runs the batch scripts.

Runs where Slurm is installed or, in CI, where it can be: `slurm/testcluster.sh` knows how.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from running import CHECKOUT, run_limited

pytestmark = pytest.mark.slurm

TESTCLUSTER = CHECKOUT / "slurm" / "testcluster.sh"
ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL")


def installable() -> bool:
    return bool(os.environ.get("CI")) and os.geteuid() == 0 and shutil.which("apt-get") is not None


if not (shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin") or installable()):
    pytest.skip("Slurm is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which sbatch talks to a cluster of two nodes."""
    folder = tmp_path_factory.mktemp("slurm") / "cluster"
    own = dict(TESTCLUSTER=str(folder), PYTHON=sys.executable, DECOMP=str(CHECKOUT))
    started = run_limited([str(TESTCLUSTER), "start"], **own)
    assert started.returncode == 0, started.stderr
    yield own | dict(re.findall(r"^export (\w+)=(.*)$", started.stdout, re.M))
    assert run_limited([str(TESTCLUSTER), "stop"], **own).returncode == 0
    assert not folder.exists()
    assert str(folder) not in processes()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fleet") / "fleet.h5"
    words = ["generate", "fleet", "-o", str(path), "--sites", "3", "--periods", "24", "--jobs", "4", "--seed", "1"]
    assert run_limited([sys.executable, "-m", "drivers", *words]).returncode == 0
    return path


@pytest.fixture
def job(cluster: dict[str, str], tmp_path: Path) -> Callable[..., dict[str, str]]:
    """job(*words of sbatch): what `scontrol show job` says of it when it has ended, and its output as "out"."""

    def show(number: str) -> list[dict[str, str]]:
        shown = run_limited(["scontrol", "--oneliner", "show", "job", number], **cluster).stdout
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in shown.splitlines()]

    def submit(*words: object, seconds: float = 600.0) -> dict[str, str]:
        command = ["sbatch", "--parsable", f"--output={tmp_path}/job-%j.out", *map(str, words)]
        sent = run_limited(command, cwd=tmp_path, **cluster)
        assert sent.returncode == 0, sent.stderr
        until = time.monotonic() + seconds
        while not all(task["JobState"] in ENDED for task in show(sent.stdout.strip())):
            if time.monotonic() > until:
                run_limited(["scancel", sent.stdout.strip()], **cluster)
                pytest.fail("not done: " + "".join(p.read_text("utf-8") for p in tmp_path.glob("*.out")))
            time.sleep(0.5)
        out = "".join(path.read_text("utf-8") for path in sorted(tmp_path.glob("*.out")))
        return show(sent.stdout.strip())[0] | {"out": out}

    return submit


def lines(log: Path) -> list[dict[str, Any]]:
    """The iterations of a log."""
    found = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return [line for line in found if line["event"] == "iteration"]


def timeless(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if not key.endswith("_seconds")}


def processes() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_ranks_on_both_nodes_solve_and_a_job_that_is_warned_goes_on_in_its_next_run(
    job: Callable[..., dict[str, str]], cluster: dict[str, str], fleet: Path, tmp_path: Path
) -> None:
    """Warned as Slurm does before a time limit, but at a moment of our choice; nothing is solved twice."""

    def warn() -> None:
        until = time.monotonic() + 600
        while time.monotonic() < until:
            for log in tmp_path.glob("r.*-0.jsonl"):
                if log.read_text("utf-8").count("\n") >= 5:
                    number = log.name.split(".")[1].split("-")[0]
                    run_limited(["scancel", "--batch", "--signal=USR1", number], **cluster)
                    return
            time.sleep(0.1)

    warner = threading.Thread(target=warn)
    warner.start()
    script = CHECKOUT / "slurm" / "solve.sbatch"
    done = job("--nodes=2", "--ntasks=3", "--time=5", script, fleet, "r.h5", "--rel-gap", "0.01")
    warner.join()
    assert (done["JobState"], done["ExitCode"], done["Restarts"]) == ("COMPLETED", "0:0", "1"), done["out"]
    first, second = ([line["iteration"] for line in lines(log)] for log in sorted(tmp_path.glob("r.*.jsonl")))
    assert first + second == list(range(len(first) + len(second)))
    assert (tmp_path / "r.h5").exists() and not (tmp_path / "r.checkpoint.h5").exists()
    assert "3 ranks on one,two" in done["out"] and re.search(r"^ranks +3$", done["out"], re.M)
    assert "exit code 3" in done["out"] and "goes on from r.checkpoint.h5" in done["out"]


def test_a_job_that_fails_is_not_tried_again(job: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    script = CHECKOUT / "slurm" / "solve.sbatch"
    done = job("--nodes=2", "--ntasks=2", "--time=5", script, "nowhere.h5", "r.h5")
    assert (done["JobState"], done["ExitCode"], done["Restarts"]) == ("FAILED", "2:0", "0")
    assert "error: nowhere.h5: No such file or directory" in done["out"]


def test_an_array_of_rank_counts_yields_the_table(
    job: Callable[..., dict[str, str]], cluster: dict[str, str], fleet: Path, tmp_path: Path
) -> None:
    script = CHECKOUT / "slurm" / "scaling.sbatch"
    done = job("--array=1,2%1", "--nodes=2", "--ntasks=2", script, fleet, "study", "--rel-gap", "0.1")
    assert done["JobState"] == "COMPLETED", done["out"]
    shown = run_limited([sys.executable, "-m", "drivers.scaling", "--collect", str(tmp_path / "study")])
    assert shown.returncode == 0, shown.stderr
    assert re.findall(r"^\| +(\d+) \| +3 \|", shown.stdout, re.M) == ["1", "2"]


def test_machines_that_are_a_network_apart_reach_the_same_numbers_later(fleet: Path, tmp_path: Path) -> None:
    """Each iteration needs word to the far machine and back; nothing is left of machines and cluster."""
    distance, delay = CHECKOUT / "slurm" / "distance.py", 5e-3
    if run_limited([str(distance), "true"]).returncode == 2:
        pytest.skip("no namespaces to be had")
    solve = f"drivers.solve {fleet} --rel-gap 0.05 -o"
    script = f"""
        set -e
        eval "$({TESTCLUSTER} start)"
        trap "{TESTCLUSTER} stop" EXIT
        . {CHECKOUT}/slurm/env.sh
        $LAUNCH --nodes=2 --ntasks=2 hostname
        $LAUNCH --nodes=2 --ntasks=2 --wait=30 $PYTHON -m mpi4py -m {solve} {tmp_path}/far.h5 --log {tmp_path}/far.jsonl
    """
    own = dict(TESTCLUSTER=str(tmp_path / "cluster"), PYTHON=sys.executable, DECOMP=str(CHECKOUT))
    apart = run_limited([str(distance), "--delay-us", str(1e6 * delay), "bash", "-c", script], **own)
    assert apart.returncode == 0, apart.stderr
    assert sorted(apart.stdout.split()[:2]) == ["far", "near"]
    here = run_limited([sys.executable, "-m", *solve.split(), f"{tmp_path}/here.h5", "--log", f"{tmp_path}/here.jsonl"])
    assert here.returncode == 0, here.stderr
    far, near = (lines(tmp_path / f"{name}.jsonl") for name in ("far", "here"))
    assert [timeless(line) for line in far] == [timeless(line) for line in near]
    clocks = [line["wall_seconds"] for line in far if line["phase"] == "bound"]
    assert len(clocks) > 3 and min(b - a for a, b in zip(clocks, clocks[1:], strict=False)) > 1.9 * delay
    assert not (tmp_path / "cluster").exists() and str(tmp_path) not in processes()
