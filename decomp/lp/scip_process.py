"""The process in which SCIP searches: `python -m decomp.lp.scip_process HANDLE`, begun by `scip.ScipSearch`.

Messages come and go on the connection with that handle: first the model, then points to take; back go the
integers of every better point of its own. The process ends when the connection does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from io import BytesIO
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

import numpy as np
import pyscipopt
from scipy.sparse import csc_array, csr_array

from decomp.lp.scip import Limits
from decomp.lp.watch import STOP_SIGNALS
from decomp.model.instance import Array

LITTLE = 1e-9  # relative; a point that is no better than that is an echo of one given
PRIORITY = 1_000_000
EVER = 1e20


class Search:
    """The model in SCIP, which takes points from outside."""

    def __init__(self, arrays: dict[str, Array], talk: Connection) -> None:
        self.talk, self.value = talk, EVER
        self.given: Array | None = None
        self.model, self.columns = to_scip(arrays)
        self.cost, self.integer = arrays["cost"], np.flatnonzero(arrays["integer"]).tolist()
        limits = Limits(*arrays["limits"].tolist())
        self.model.setParam("limits/time", min(limits.seconds, EVER))
        self.model.setParam("limits/totalnodes", int(limits.nodes))
        self.model.setParam("randomization/randomseedshift", int(arrays["seed"]))
        when = pyscipopt.SCIP_HEURTIMING
        timing = when.BEFORENODE | when.DURINGLPLOOP | when.AFTERLPNODE | when.AFTERPSEUDONODE
        taker = Taker(self)
        self.model.includeHeur(taker, "taker", "takes points from outside", "Y", PRIORITY, 1, timingmask=timing)
        self.model.attachEventHandlerCallback(self.tell, [pyscipopt.SCIP_EVENTTYPE.BESTSOLFOUND])

    def listen(self) -> None:
        """Keep the last point given, until there is nobody who gives."""
        try:
            while True:
                self.given = np.frombuffer(self.talk.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)

    def take(self, heuristic: Any) -> bool | None:
        """Put the last point given to SCIP; whether it is taken, None if there is none."""
        point, self.given = self.given, None
        if point is None:
            return None
        self.value = min(self.value, float(self.cost @ point))
        solution = self.model.createOrigSol(heuristic)
        for column, value in zip(self.columns, point.tolist(), strict=True):
            self.model.setSolVal(solution, column, value)
        return bool(self.model.trySol(solution, printreason=False))

    def tell(self, model: Any, event: Any) -> None:
        """Send a better point than those given."""
        solution = model.getBestSol()
        value = model.getSolObjVal(solution)
        if value < self.value - LITTLE * max(abs(value), 1.0):
            self.value = value
            integers = [round(model.getSolVal(solution, self.columns[k])) for k in self.integer]
            self.talk.send_bytes(json.dumps(integers).encode())


class Taker(pyscipopt.Heur):
    """A heuristic whose points come from outside."""

    def __init__(self, search: Search) -> None:
        self.search = search

    def heurexec(self, heurtiming: Any, nodeinfeasible: bool) -> dict[str, Any]:
        taken = self.search.take(self)
        results = pyscipopt.SCIP_RESULT
        if taken is None:
            return {"result": results.DIDNOTRUN}
        return {"result": results.FOUNDSOL if taken else results.DIDNOTFIND}


def to_scip(arrays: dict[str, Array]) -> tuple[Any, list[Any]]:
    """A silent SCIP with the model, and its columns."""
    model = pyscipopt.Model()
    model.hideOutput()
    model.setParam("misc/catchctrlc", False)
    names = ("low", "high", "cost", "integer")
    columns = [
        model.addVar(lb=low, ub=high, obj=cost, vtype="I" if integer else "C")
        for low, high, cost, integer in zip(*(arrays[name].tolist() for name in names), strict=True)
    ]
    shape = len(arrays["row_low"]), len(columns)
    rows = csr_array(csc_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape))
    for r, (low, high) in enumerate(zip(arrays["row_low"].tolist(), arrays["row_high"].tolist(), strict=True)):
        here = slice(rows.indptr[r], rows.indptr[r + 1])
        terms = list(zip(rows.data[here].tolist(), rows.indices[here].tolist(), strict=True))
        if not terms:
            continue
        coefficient, k = terms[0]
        sides = (low if np.isfinite(low) else None, high if np.isfinite(high) else None)
        row = model.addCons(pyscipopt.scip.ExprCons(coefficient * columns[k], *sides))
        for coefficient, k in terms[1:]:
            model.addConsCoeff(row, columns[k], coefficient)
    return model, columns


def main(handle: int) -> None:
    """Search until done; signals are for the one that began this process."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    talk = Connection(handle)
    with np.load(BytesIO(talk.recv_bytes()), allow_pickle=False) as arrays:
        search = Search(dict(arrays), talk)
    Thread(target=search.listen, daemon=True).start()
    search.model.optimizeNogil()
    talk.close()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
