"""Refusal of devices that mean nothing or cannot be: indexes, names, bounds, and rows that no values can keep."""

from __future__ import annotations

import numpy as np

from decomp.model.device_ranges import entry_range
from decomp.model.microgrids import Microgrids
from decomp.model.records import QUANTITIES
from decomp.model.refusal import (
    Label,
    check_columns,
    check_dimensions,
    check_index,
    check_shapes,
    named,
    refuse,
    repeated,
)
from decomp.model.rounding import FIT
from decomp.model.table import Array

TABLES = ("devices", "device_variables", "device_rows", "device_entries")


def validate_devices(grids: Microgrids) -> None:
    """Check the devices of some sites, which are valid themselves.

    Raises
    ------
    InputError : names the device, its site, the variable or row, the value, and what would be right.
    """
    tables = {name: getattr(grids, name) for name in TABLES}
    for name, table in tables.items():
        check_dimensions(name, table)
        first = table.columns()[0]
        check_shapes(name, table, {first.metadata["dims"][0]: len(getattr(table, first.name))})
    d, v, r, e = tables.values()
    site = named("site", grids.sites.name)
    check_index("devices", d, "device", "site", len(grids.sites.name))
    _sorted("devices", "site", d.site)
    for name, what, table in (("device_variables", "variable", v), ("device_rows", "row", r)):
        check_index(name, table, what, "device", len(d.site))
        _sorted(name, "device", table.device)
    device: Label = lambda k: f"device {str(d.name[k])!r} at {site(d.site[k])}"  # noqa: E731
    variable: Label = lambda k: f"{device(v.device[k])}, variable {place(v.name[k], v.index[k])}"  # noqa: E731
    row: Label = lambda k: f"{device(r.device[k])}, row {place(r.name[k], r.index[k])}"  # noqa: E731
    entry: Label = lambda k: f"{row(e.row[k])}, entry {k}"  # noqa: E731
    check_columns("devices", d, device)
    check_columns("device_variables", v, variable)
    check_columns("device_rows", r, row)
    for name, names, label, keys in (
        ("devices", d.name, device, (d.site,)),
        ("device_variables", v.name, variable, (v.device, v.index)),
        ("device_rows", r.name, row, (r.device, r.index)),
    ):
        refuse(names == "", f"{name}.name", label, "has no name")
        numbers = np.unique(names, return_inverse=True)[1]
        twice = repeated(np.unique(np.column_stack([*keys, numbers]), axis=0, return_inverse=True)[1].ravel())
        refuse(twice, f"{name}.name", label, "this name is taken")
    _check_variables(grids, variable)
    text = "{low:g}, must be at most high = {high:g}"
    refuse(r.low > r.high, "device_rows.low", row, text, low=r.low, high=r.high)
    check_index("device_entries", e, "entry", "row", len(r.device))
    _sorted("device_entries", "row", e.row)
    check_columns("device_entries", e, entry)
    _check_entries(grids, entry)
    _check_sums(grids, row)


def place(name: str, index: int) -> str:
    """How a variable or row is called: `stored[3]`, or the name alone where it has no place in time."""
    return str(name) if index < 0 else f"{name}[{index}]"


def _sorted(name: str, column: str, owner: Array) -> None:
    text = f"comes after one of a later {column}; sort the rows by {column}"
    refuse(np.diff(owner, prepend=0) < 0, f"{name}.{column}", lambda k: f"row {k}", text)


def _check_variables(grids: Microgrids, label: Label) -> None:
    v, n_periods = grids.device_variables, grids.sites.capacity_gpu.shape[1]
    text = "{low:g}, must be at most high = {high:g}"
    refuse(v.low > v.high, "device_variables.low", label, text, low=v.low, high=v.high)
    text = "{least:g}, must be at most high = {high:g}"
    refuse(v.end_low > v.high, "device_variables.end_low", label, text, least=v.end_low, high=v.high)
    none = v.integer & (np.ceil(v.low - FIT) > np.floor(v.high + FIT))
    refuse(
        none,
        "device_variables.integer",
        label,
        "no whole number is between {low:g} and {high:g}",
        low=v.low,
        high=v.high,
    )
    text = f"{{period}}, must be a period, 0 to {n_periods - 1}, or -1"
    refuse(v.period >= n_periods, "device_variables.period", label, text, period=v.period)
    text = "{power:g} MW per unit, but it acts in no single period; give it one"
    refuse((v.power != 0) & (v.period < 0), "device_variables.power", label, text, power=v.power)


def _check_entries(grids: Microgrids, label: Label) -> None:
    """What is multiplied exists, at a period that exists."""
    e, n_periods = grids.device_entries, grids.sites.capacity_gpu.shape[1]
    device = grids.device_rows.device[e.row]
    own, made = e.quantity == 0, e.quantity == len(QUANTITIES) - 1
    text = f"{{period}}, must be a period, 0 to {n_periods - 1}"
    refuse(~own & ((e.period < 0) | (e.period >= n_periods)), "device_entries.period", label, text, period=e.period)
    for mine, owner, of, what in (
        (own, device, grids.device_variables.device, "variables in the device"),
        (made, grids.devices.site[device], grids.generators.site, "generators at the site"),
    ):
        count = np.bincount(of, minlength=int(owner.max(initial=0)) + 1)[owner]
        text = f"{{at}}, must be below {{count}}, the number of {what}"
        refuse(mine & (e.at >= count), "device_entries.at", label, text, at=e.at, count=count)


def _check_sums(grids: Microgrids, label: Label) -> None:
    """Rows that no values within the bounds can keep, among them empty ones."""
    e, r = grids.device_entries, grids.device_rows
    least, most = (np.bincount(e.row, ends, minlength=len(r.low)) for ends in entry_range(grids))
    slack = FIT * (1.0 + np.abs([least, most]).max(axis=0))
    for bad, name, text in (
        (most < r.low - slack, "low", "{side:g}, but within all bounds the row sums to at most {sum:g}"),
        (least > r.high + slack, "high", "{side:g}, but within all bounds the row sums to at least {sum:g}"),
    ):
        refuse(bad, f"device_rows.{name}", label, text, side=getattr(r, name), sum=most if name == "low" else least)
