"""What can be wrong with a site's answer, and the file that keeps the point at which it was.

A site that fails does not end a run: its last good dual vector bounds it at any prices. But somebody must be
able to find out why, so the first failure of a site is written down with its model and its prices.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import numpy as np

from decomp.files.atomic import PathLike
from decomp.files.hdf5 import new_file, write_attributes
from decomp.model.instance import Array

if TYPE_CHECKING:  # loads HiGHS, which a process that runs OR-Tools must not
    from decomp.site.oracle import SiteAnswer, SiteOracle

TOLERANCE = 1e-5  # relative; a solver's feasibility tolerance may bring a point's cost below its proven bound


class SiteFailure(RuntimeError):
    """A site without which the run cannot go on."""


def objection(answer: SiteAnswer, capacity: Array, load_price: Array, carbon_price: float) -> str:
    """What is impossible about an answer; empty if nothing is."""
    if answer.load is None:
        return "the solver found no optimum"
    if np.shape(answer.load) != capacity.shape:
        return f"the load has shape {np.shape(answer.load)}, must be {capacity.shape}"
    if not np.isfinite([answer.lower, answer.cost, answer.emissions, *answer.load]).all():
        return "the answer holds what is no number"
    slack = TOLERANCE * (1.0 + capacity.max())
    if (answer.load < -slack).any() or (answer.load > capacity + slack).any():
        return "the load is outside 0 and the capacity"
    worth = load_price * answer.load
    cost = answer.cost + carbon_price * answer.emissions - worth.sum()
    if answer.lower > cost + TOLERANCE * (1.0 + abs(answer.cost) + np.abs(worth).sum()):
        return f"the lower bound of {answer.lower:.6g} USD is above the cost of its own point, {cost:.6g} USD"
    return ""


class FaultBook:
    """Says on stderr, once a site, what went wrong there, and writes its model and prices to a file.

    Parameters
    ----------
    beside : files are named after this one, with the site's number; None writes none.
    """

    def __init__(self, beside: PathLike | None):
        self.beside = beside
        self.known: set[int] = set()

    def note(self, site: int, oracle: SiteOracle, what: str, load_price: Array, carbon_price: float) -> None:
        """Write down a failure: number of the site in the fleet, its oracle, and the prices asked at."""
        if site in self.known:
            return
        self.known.add(site)
        name = oracle.grids.sites.name[oracle.i]
        text = f"warning: site {site} ({name}): {what}; its last dual solution bounds it meanwhile"
        if self.beside is not None:
            path = f"{os.fspath(self.beside)}.site-{site}.h5"
            try:
                write_fault(path, site, oracle, what, load_price, carbon_price)
                text += f"; model and prices are in {path}"
            except OSError as error:
                text += f"; its model could not be written: {error}"
        print(text, file=sys.stderr, flush=True)


def write_fault(
    path: PathLike, site: int, oracle: SiteOracle, what: str, load_price: Array, carbon_price: float
) -> None:
    """The linear model of a site (min cost x, row_low <= A x <= row_high, low <= x <= high) with its prices.

    `cost` is without the prices: these add carbon_price times `emission` and take load_price off the columns `load`.
    """
    model = oracle.model
    facts = dict(format="decomp fault", site=site, name=str(oracle.grids.sites.name[oracle.i]), reason=what)
    with new_file(path) as file:
        write_attributes(file, **facts, carbon_price=carbon_price, rows=model.matrix.shape[0])
        for name in ("cost", "emission", "low", "high", "row_low", "row_high"):
            file[name] = getattr(model, name)
        matrix = model.matrix.tocsc()
        file["matrix_start"], file["matrix_row"], file["matrix_value"] = matrix.indptr, matrix.indices, matrix.data
        file["load"], file["load_price"] = oracle.load, load_price
