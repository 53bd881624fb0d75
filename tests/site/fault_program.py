"""A solve with something broken in it: `fault_program.py FAULT RANK ARGUMENTS OF SOLVE`; for tests alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import drivers.solve
from decomp.site.oracle import SiteOracle
from drivers.common import run

AFTER_QUESTIONS = 40  # the fault comes when a rank's sites have been asked so often


def unreadable(*_: Any) -> Any:
    raise OSError(5, "Input/output error", "fleet.h5")


def break_sites(fault: str) -> None:
    """From a certain question on, the sites of this rank do not answer as they should."""
    sane, asked = SiteOracle.evaluate, 0

    def evaluate(self: SiteOracle, *arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked >= AFTER_QUESTIONS:
            if fault == "stall":
                Path(os.environ["STALLED"]).touch()
                time.sleep(3000)
            elif fault == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            elif fault == "crash":
                raise ArithmeticError("singular basis")
        return sane(self, *arguments)

    SiteOracle.evaluate = evaluate  # type: ignore[method-assign]


def hurry(stalled: Path) -> None:
    """From when the file is there, the clock of this process is a hundred times as fast, which tries its patience."""
    real, since = time.monotonic, 0.0

    def monotonic() -> float:
        nonlocal since
        now = real()
        if not since and stalled.exists():
            since = now
        return now + 99.0 * (now - since) if since else now

    time.monotonic = monotonic


if __name__ == "__main__":
    fault, rank, *arguments = sys.argv[1:]
    if os.environ.get("PMI_RANK", "0") == rank:
        if fault == "unreadable":
            drivers.solve.read_sites = unreadable  # type: ignore[attr-defined]
        else:
            break_sites(fault)
    elif fault == "stall":
        hurry(Path(os.environ["STALLED"]))
    sys.exit(run(drivers.solve.main, arguments))
