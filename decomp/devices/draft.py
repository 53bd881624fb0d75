"""A device being written down: variables and rows as arrays, and how an instance gets it.

Variables are named by numbers, rows are sums of terms over these and over what the site does. `attach_drafts` puts
finished drafts into the tables of an instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from decomp.model.instance import (
    QUANTITIES,
    Array,
    DeviceEntries,
    DeviceRows,
    Devices,
    DeviceVariables,
    Instance,
    Microgrids,
)
from decomp.model.table import Table

T = TypeVar("T", bound=Table)


@dataclass(frozen=True, eq=False)
class Use:
    """What the site does in some periods, as a term: `name` of QUANTITIES; `at` : number of the generator."""

    name: str
    period: Array
    at: int = 0


Term: TypeAlias = "tuple[Any, Array | Use]"
Terms: TypeAlias = "list[Term]"


class Draft:
    """Variables and rows of one device, for a site with so many periods of so many hours."""

    def __init__(self) -> None:
        self._variables: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._entries: list[tuple[Array, int, Any, Any, Array]] = []
        self.n_variables = self.n_rows = 0

    def variables(self, name: str, low: Any, high: Any, *, index: Any = -1, period: Any = None, **more: Any) -> Array:
        """Add variables with finite bounds; all arguments broadcast. Returns their numbers.

        Parameters
        ----------
        index : places in time, -1 for none. period : in which they act, default the index.
        more : unit, integer, cost (USD), emission (t), power (MW) of one unit.
        """
        values = dict(low=low, high=high, index=index, period=index if period is None else period, **more)
        shape = np.broadcast_shapes(*(np.shape(value) for value in values.values()))
        n = int(np.prod(shape))
        self._variables.append({"name": name} | {key: np.broadcast_to(v, shape).ravel() for key, v in values.items()})
        self.n_variables += n
        return np.arange(self.n_variables - n, self.n_variables)

    def rows(
        self, name: str, low: Any, high: Any, *terms: tuple[Any, Array | Use], index: Any = -1, **more: Any
    ) -> None:
        """Add rows low <= sum of coefficient times variable or use <= high; a term has one of these for each row.

        Parameters
        ----------
        terms : a coefficient, and variables by number or a `Use`. more : unit, cumulative.
        """
        values = dict(low=low, high=high, index=index, **more)
        sizes = [np.shape(w.period) if isinstance(w, Use) else np.shape(w) for _, w in terms]
        shape = np.broadcast_shapes(*sizes, *(np.shape(value) for value in values.values()))
        n = int(np.prod(shape))
        self._rows.append({"name": name} | {key: np.broadcast_to(v, shape).ravel() for key, v in values.items()})
        row, self.n_rows = np.arange(self.n_rows, self.n_rows + n).reshape(shape), self.n_rows + n
        for coefficient, what in terms:
            self.entries(row, coefficient, what)

    def total(self, name: str, low: float, high: float, *terms: Term, **more: Any) -> None:
        """Add one row for the sum of all variables or uses of all terms."""
        values = dict(index=-1) | dict(low=low, high=high, **more)
        self._rows.append({"name": name} | {key: np.array([value]) for key, value in values.items()})
        self.n_rows += 1
        for coefficient, what in terms:
            size = np.shape(what.period) if isinstance(what, Use) else np.shape(what)
            self.entries(np.full(size, self.n_rows - 1), coefficient, what)

    def entries(self, row: Array, coefficient: Any, what: Array | Use) -> None:
        """Add a term to rows that are there, by number."""
        if isinstance(what, Use):
            quantity, places = QUANTITIES.index(what.name), (np.asarray(what.at), what.period)
        else:
            quantity, places = 0, (what, np.asarray(-1))
        row, at, period, coefficient = np.broadcast_arrays(row, *places, np.asarray(coefficient, dtype=float))
        keep = coefficient != 0
        self._entries.append((row[keep], quantity, at[keep], period[keep], coefficient[keep]))

    def columns(self, device: int, first_row: int) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """The device's rows in the tables of variables, rows and entries."""
        variables = _table(DeviceVariables, self._variables, device)
        rows = _table(DeviceRows, self._rows, device)
        parts = [tuple(np.broadcast_arrays(*part)) for part in self._entries] or [tuple(np.zeros((5, 0)))]
        row, quantity, at, period, coefficient = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(row, kind="stable")
        entries = dict(row=row + first_row, quantity=quantity, at=at, period=period, coefficient=coefficient)
        return variables, rows, {name: value[order] for name, value in entries.items()}


def _table(cls: type[Table], parts: list[dict[str, Any]], device: int) -> dict[str, Array]:
    """The columns of a table from groups of rows; what a group does not say is the default."""
    columns: dict[str, list[Array]] = {f.name: [np.zeros(0)] for f in cls.columns()}
    for part in parts:
        n = len(part["low"])
        for f in cls.columns():
            value = device if f.name == "device" else part.get(f.name, f.metadata["default"])
            columns[f.name].append(np.broadcast_to(value, n))
    return {name: np.concatenate(values[min(1, len(values) - 1) :]) for name, values in columns.items()}


@dataclass(frozen=True, eq=False)
class Addition:
    """A draft with the row of the site that gets it, its name there, and its kind."""

    site: int
    draft: Draft
    name: str
    kind: str = ""


def attach_drafts(instance: Instance, additions: Sequence[Addition]) -> Instance:
    """The instance with further devices, behind those that its sites have."""
    n_devices, first = len(instance.devices.site), len(instance.device_rows.device)
    parts: list[tuple[dict[str, Array], ...]] = []
    for k, one in enumerate(additions):
        parts.append(one.draft.columns(n_devices + k, first))
        first += one.draft.n_rows
    devices = dict(
        name=[one.name for one in additions], site=[one.site for one in additions], kind=[one.kind for one in additions]
    )
    grids = replace(
        instance.microgrids,
        devices=_behind(instance.devices, devices),
        device_variables=_behind(instance.device_variables, *(part[0] for part in parts)),
        device_rows=_behind(instance.device_rows, *(part[1] for part in parts)),
        device_entries=_behind(instance.device_entries, *(part[2] for part in parts)),
    )
    return replace(instance, **_sorted(grids).tables())


def _behind(table: T, *parts: dict[str, Any]) -> T:
    columns = {f.name: [getattr(table, f.name), *(part[f.name] for part in parts)] for f in table.columns()}
    return replace(table, **{name: np.concatenate(values) for name, values in columns.items()})


def _sorted(grids: Microgrids) -> Microgrids:
    """Devices sorted by site, and what they have by device: tables follow their owners."""
    d: Devices = grids.devices
    order = np.argsort(d.site, kind="stable")
    place = np.argsort(order)
    v, r, e = grids.device_variables, grids.device_rows, grids.device_entries
    v_order, r_order = (np.argsort(place[owner], kind="stable") for owner in (v.device, r.device))
    r_place = np.argsort(r_order)
    e_order = np.argsort(r_place[e.row], kind="stable")
    entries: DeviceEntries = e.take(e_order)
    return replace(
        grids,
        devices=d.take(order),
        device_variables=replace(v.take(v_order), device=place[v.device][v_order]),
        device_rows=replace(r.take(r_order), device=place[r.device][r_order]),
        device_entries=replace(entries, row=r_place[e.row][e_order]),
    )
