"""`bench`: measure solve and check against other solvers, on the same instances in the same run.

    python -m drivers.bench [--rows 10,30,100] [--seeds 101,102,103] [--rivals scip,pdlp | none] [--full]
    python -m drivers.bench --show bench/bench.jsonl other/bench.jsonl -o both

Every line of the table is whole processes, timed from their start. `decomp` is solve on MPI ranks, then check, whose
bound, incumbent and gap are the ones shown (the time of check is not in the seconds). Rivals get the exported
MPS file (the time to write it is not in their seconds), the same time limit, all cores and the same gap to stop at;
their bounds and incumbents are their own word. LP solvers prove a bound only and get at least 300 s; the baselines
prove bounds from the instance, on one core. One JSON line a row in FOLDER/bench.jsonl, plots beside it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from decomp import __version__
from decomp.bench.curves import draw
from decomp.bench.measure import Measured, machine, measure
from decomp.bench.tables import page, read_rows, seconds_to, trace
from decomp.files.store import read_instance, read_result
from decomp.insight.gap import split
from decomp.model.instance import InputError
from decomp.model.text import gap_rel
from decomp.state.progress import plain

from .arguments import Arguments, whole
from .cases import FULL_SEEDS, OURS, USUAL_SEEDS, Case, add_arguments, left_out, plan
from .common import HERE, command_line, mpiexec, run
from .rivals import RIVALS

ROOT = Path(__file__).resolve().parents[len(HERE.split("."))]  # where the children find this package
PLOTS = ("*.svg", "*.png")
GRACE_SECONDS = 15.0  # past its time limit, a process is ended
PREPARE_SECONDS = 900.0  # for generating, exporting, checking
PACKAGES = ("highspy", "numba", "numpy", "scipy", "mpi4py", "ortools", "pyscipopt", "mpi-sppy")
OWN_VERSIONS = {"decomp": __version__, "python": platform.python_version()}


def parser() -> Arguments:
    p = Arguments("bench", __doc__)
    p.fills("-o", "--output", files=PLOTS, default=Path("bench"), help="folder (default bench)")
    p.add_argument("--ranks", type=whole(1), default=2, metavar="N", help="MPI ranks of solve (default 2)")
    p.reads("--show", nargs="+", metavar="JSONL", help="tables and plots from rows measured before; no new ones")
    add_arguments(p)
    return p


class Bench:
    """One run: its folder, its facts, its rows so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.folder = args, args.output
        self.rows: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = dict(
            run=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            machine=machine(),
            versions={name: installed(name) for name in PACKAGES} | OWN_VERSIONS,
            commit=commit(),
        )

    def measure(self, command: list[str], limit_seconds: float) -> Measured:
        path = os.pathsep.join(word for word in (str(ROOT), os.environ.get("PYTHONPATH")) if word)
        return measure(command, limit_seconds, {"PYTHONPATH": path})

    def prepare(self, verb: str, *words: object) -> float:
        """Run a command that must succeed; seconds."""
        done = self.measure(command_line(verb, *words), PREPARE_SECONDS)
        if done.code:
            raise InputError(f"{verb} {shlex.join(map(str, words))}: {reason(done)}")
        return round(done.seconds, 2)

    def row(self, case: Case, seed: int, method: str, command: list[str], **facts: Any) -> None:
        """Keep one row: on disk at once, on the screen in short."""
        gap = gap_rel(nan(facts.get("bound")), facts.get("incumbent"))
        asked = {k: v for k, v in asdict(case).items() if k not in ("rivals", "scenarios")}
        asked |= dict(family=case.label, limit_seconds=case.limit(method))
        row = dict(method=method, **asked, seed=seed, command=readable(command), gap=gap, **facts)
        self.rows.append({k: plain(v) for k, v in row.items()})
        with open(self.folder / "bench.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({**self.rows[-1], **self.facts}, allow_nan=False) + "\n")
        print(f"{case.name(seed)} {method}: {facts['outcome']}, {facts.get('seconds') or 0:.1f} s", file=sys.stderr)

    def warm_up(self) -> float:
        """Compile and cache the kernels on a very small instance, so that no row pays for it; seconds."""
        fleet, result = self.folder / "warm-up.h5", self.folder / "warm-up-result.h5"
        self.prepare("generate", "fleet", "-o", fleet, "--sites", 2, "--periods", 12)
        command = command_line("solve", fleet, "-o", result, "--rel-gap", 0.01, "--time-limit", 20)
        return self.measure(command, 120).seconds

    def run(self, case: Case, seed: int) -> None:
        """Our row and the rivals' on one instance."""
        fleet, model = (self.folder / f"{case.name(seed)}.{ending}" for ending in ("h5", "mps"))
        periods = ["--periods", self.args.periods] if self.args.periods else []
        more = [*periods, *case.settings]
        self.prepare("generate", case.family, "-o", fleet, "--sites", case.sites, "--seed", seed, *more)
        if "ours" not in self.args.skip:
            self.ours(case, seed, fleet)
        absent = [name for name in case.rivals if importlib.util.find_spec(RIVALS[name].needs) is None]
        why, export_seconds = "", 0.0
        if any(not RIVALS[name].reads_instance for name in case.rivals if name not in absent):
            try:
                export_seconds = self.prepare("export", fleet, "--mps", model)
            except InputError as error:
                why = f"no model: {error}"
        for name in case.rivals:
            if name in absent:
                self.row(case, seed, name, [], outcome=f"absent: {RIVALS[name].package} is not installed")
            elif RIVALS[name].reads_instance:
                self.rival(case, seed, name, fleet, 0.0)
            elif why:
                self.row(case, seed, name, [], outcome=why)
            else:
                self.rival(case, seed, name, model, export_seconds)

    def ours(self, case: Case, seed: int, fleet: Path) -> None:
        """Solve, then let the certificate say what was reached."""
        stem = f"{case.name(seed)}-{case.limit_seconds:g}s"
        result, log = self.folder / f"{stem}-result.h5", self.folder / f"{stem}.jsonl"
        for path in (result, log):
            path.unlink(missing_ok=True)
        words = [fleet, "-o", result, *case.words(OURS), "--log", log]
        command = command_line("solve", *words, ranks=self.args.ranks)
        done = self.measure(command, case.limit_seconds + GRACE_SECONDS)
        checked, proof = None, {}
        facts: dict[str, Any] = {}
        if result.exists():
            jobs = self.facts["machine"]["cores"]
            checked = self.measure(command_line("check", fleet, result, "--json", "--jobs", jobs), PREPARE_SECONDS)
            proof = last_json(checked.out)
            facts = dict(gap_parts=gap_parts(fleet, result))
        found = dict(bound=proof.get("certified_bound"), incumbent=proof.get("cost"))
        facts |= dict(certified=proof.get("ok", False), check_seconds=checked.seconds if checked else None)
        outcome = our_outcome(case, done, proof)
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        facts |= dict(seconds_to=seconds_to(text), trace=trace(text), rank_seconds=last_json(text).get("rank_seconds"))
        self.row(case, seed, OURS, command, outcome=outcome, **used(done), **found, **facts)

    def rival(self, case: Case, seed: int, name: str, model: Path, export_seconds: float) -> None:
        """One rival, ended soon after its time limit if it does not end by itself."""
        command = command_line("rivals", name, model, *case.words(name), ranks=RIVALS[name].ranks)
        done = self.measure(command, case.limit(name) + GRACE_SECONDS)
        said = last_json(done.out)
        facts = {key: said.get(key) for key in ("bound", "incumbent", "status", "solve_seconds")}
        facts |= dict(seconds_to=seconds_to(done.out), trace=trace(done.out))
        outcome = rival_outcome(case, name, done, said)
        self.row(case, seed, name, command, outcome=outcome, **used(done), **facts, export_seconds=export_seconds)


def gap_parts(fleet: Path, result: Path) -> dict[str, float]:
    """Causes and places of the gap, USD."""
    gap = split(read_instance(fleet), read_result(result))
    if gap is None:
        return {}
    return {name: round(value, 2) for name, value in (gap.causes | gap.parts).items()}


def used(done: Measured) -> dict[str, float]:
    """What a command took."""
    return dict(
        seconds=round(done.seconds, 2), cpu_seconds=round(done.cpu_seconds, 2), memory_mb=round(done.memory_mb, 1)
    )


def our_outcome(case: Case, done: Measured, proof: dict[str, Any]) -> str:
    """What became of solve and check, in a few words."""
    if done.code not in (0, 3) and not done.overdue:
        return f"failed: {reason(done)}"
    if proof.get("cost") is None:
        return f"no schedule in {case.limit_seconds:g} s"
    if not proof.get("ok"):
        return "certificate REJECTED"
    return ending(case, done, proof.get("certified_bound"), proof["cost"])


def rival_outcome(case: Case, name: str, done: Measured, said: dict[str, Any]) -> str:
    """What became of a rival, in a few words; nothing is held against it but what it did not find."""
    if done.code and not done.overdue:
        return f"failed: {reason(done)}"
    kind, bound = RIVALS[name].kind, said.get("bound")
    if kind == "lp":
        return "LP bound" if bound is not None else f"no LP optimum in {case.limit(name):g} s"
    if kind == "baseline":
        return f"no bound in {case.limit(name):g} s" if bound is None else "bound"
    if said.get("incumbent") is None:
        return f"no schedule in {case.limit_seconds:g} s"
    return ending(case, done, said.get("bound"), said["incumbent"])


def ending(case: Case, done: Measured, bound: float | None, incumbent: float) -> str:
    """How a run with a schedule ended."""
    if gap_rel(nan(bound), incumbent) <= case.rel_gap * (1 + 1e-6):
        return "gap reached"
    if done.overdue:
        return "limit, ended by force"
    return "limit" if done.seconds >= 0.9 * case.limit_seconds else "ended early"


def reason(done: Measured) -> str:
    """Why a command failed: its last words, or the signal that ended it."""
    lines = [line for line in done.err.splitlines() if line.strip()]
    if done.overdue:
        return f"not done in {done.seconds:.0f} s"
    return lines[-1][:200] if lines else f"signal {-done.code}" if done.code < 0 else f"exit code {done.code}"


def last_json(text: str) -> dict[str, Any]:
    """The last line that is a complete JSON object; {} if there is none."""
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def nan(value: float | None) -> float:
    return float("nan") if value is None else value


def readable(command: list[str]) -> str:
    """A command as one would type it: programs by name."""
    names = {sys.executable: "python", shutil.which("mpiexec"): "mpiexec", mpiexec(): "mpiexec"}
    return shlex.join(names.get(word, word) for word in command)


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit measured, in a checkout with git; with a plus if files differ from it."""
    try:
        words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def show(rows: list[dict[str, Any]], folder: Path) -> None:
    """The tables on standard output, the plots in the folder."""
    known = rows[-1]["machine"]
    print(f"{known['cpu']}, {known['cores']} cores, {rows[-1]['run']}, commit {rows[-1]['commit']}\n")
    print("\n".join(page(rows)))
    for path in draw(rows, folder):
        print(f"plot: {path}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    p.keep_apart(args)
    if args.show:
        args.output.mkdir(parents=True, exist_ok=True)
        show(read_rows(args.show), args.output)
        return 0
    if args.ranks > 1 and shutil.which(mpiexec()) is None:
        raise InputError("mpiexec: not found beside python nor on the PATH; --ranks 1 does without")
    seeds = args.seeds or (FULL_SEEDS if args.full else USUAL_SEEDS)
    cases = plan(args)
    args.output.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)
    try:
        bench.facts["warm_up_seconds"] = round(bench.warm_up(), 2)
        print(f"warm-up, compiles what is not cached: {bench.facts['warm_up_seconds']} s", file=sys.stderr)
        for case in cases:
            for seed in seeds:
                bench.run(case, seed)
    finally:  # after Ctrl-C and the like too: what was measured is shown
        if bench.rows:
            show([row | bench.facts for row in bench.rows], args.output)
            if rows := left_out(cases):
                print(f"\nLeft out: rows {', '.join(rows)} (--rows, --full).")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
