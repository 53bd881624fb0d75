"""SCIP, which is optional: a search for better points of a MIP, concurrently with everything else.

A linear program at SCIP's root may take long after an interrupt, so SCIP runs in a process of its own, which can be
ended at once, and which ends with the one that began it. Points go in and out while it works.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_array

import decomp
from decomp.lp.block import Model
from decomp.model.instance import Array

ARRAYS = ("low", "high", "cost", "integer", "row_low", "row_high")
PROGRAM = "decomp.lp.scip_process"


def present() -> bool:
    """Whether SCIP is installed."""
    return importlib.util.find_spec("pyscipopt") is not None


class Limits(NamedTuple):
    """When SCIP ends: after so many seconds, or nodes (negative: any number)."""

    seconds: float = 1e20
    nodes: int = -1


class Found(NamedTuple):
    """What SCIP has found since it was last asked.

    Attributes
    ----------
    integers : values of the integer columns, in their order, in its best point; None if it is no better than before.
    ended : it does nothing more.
    """

    integers: list[int] | None
    ended: bool


class ScipSearch:
    """A MIP in a SCIP that looks for better points until it is closed."""

    def __init__(self, model: Model, limits: Limits, seed: int = 0) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            words = [sys.executable, "-m", PROGRAM, str(theirs.fileno())]
            home = str(Path(decomp.__file__).parent.parent)
            path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
            self._process = subprocess.Popen(
                words,
                env={**os.environ, "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._talk = Connection(ours.detach())
        self._ended = False
        stream = BytesIO()
        np.savez(stream, allow_pickle=False, **model_arrays(model, limits, seed))
        self._send(stream.getvalue())

    def offer(self, point: Array) -> None:
        """Give it a point (column,), which it takes if it has none as good."""
        self._send(np.asarray(point, dtype=float).tobytes())

    def news(self, seconds: float = 0.0) -> Found:
        """What it has found since; waits so many seconds for something."""
        integers = None
        try:
            while not self._ended and self._talk.poll(0.0 if integers is not None else seconds):
                integers = json.loads(self._talk.recv_bytes())
        except (EOFError, OSError):
            self._ended = True
        return Found(integers, self._ended)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._talk.close()
        self._ended = True

    def _send(self, message: bytes) -> None:
        try:
            self._talk.send_bytes(message)
        except OSError:
            self._ended = True


def model_arrays(model: Model, limits: Limits, seed: int) -> dict[str, Array]:
    """Model, limits and seed as plain arrays: how they travel to the process."""
    matrix = csc_array(model.matrix)
    arrays = {name: getattr(model, name) for name in ARRAYS}
    arrays |= dict(data=matrix.data, indices=matrix.indices, indptr=matrix.indptr)
    return arrays | dict(limits=np.array(limits, dtype=float), seed=np.array(seed))
