"""Sites with what belongs to each of them: all that the energy problem of a site is stated from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from decomp.model.records import DeviceEntries, DeviceRows, Devices, DeviceVariables, Generators, Sites
from decomp.model.table import Array


@dataclass(frozen=True, eq=False)
class Microgrids:
    """Sites, their generators and devices, whose `site` counts within these sites."""

    sites: Sites
    generators: Generators
    devices: Devices
    device_variables: DeviceVariables
    device_rows: DeviceRows
    device_entries: DeviceEntries

    def tables(self) -> dict[str, Any]:
        """The tables by their names in an instance."""
        return dict(vars(self))

    def rows(self, chosen: Array) -> dict[str, Array]:
        """The rows that belong to some sites (in any order), by dimension, in the order of these sites."""
        return {dimension: rows for dimension, (rows, _) in self._follow(chosen).items()}

    def take(self, chosen: Array) -> Microgrids:
        """Some sites (in any order, and more than once if asked for) with what belongs to them, renumbered."""
        follow = self._follow(chosen)
        taken = {name: getattr(self, name).take(follow[dimension][0]) for name, (dimension, _) in FOLLOWERS.items()}
        return Microgrids(
            sites=self.sites.take(follow["site"][0]),
            **{name: replace(taken[name], **{owner: follow[d][1]}) for name, (d, owner) in FOLLOWERS.items()},
        )

    def _follow(self, chosen: Array) -> dict[str, tuple[Array, Array]]:
        """By dimension: rows, and to which of the rows taken of their owner's table they belong."""
        chosen = np.asarray(chosen)
        found = {"site": (chosen, chosen)}
        for name, (dimension, owner) in FOLLOWERS.items():
            found[dimension] = followers(getattr(getattr(self, name), owner), found[OWNERS[owner]][0])
        return found


FOLLOWERS = dict(  # tables that follow the sites: their dimension, and the column that names the owner
    generators=("generator", "site"),
    devices=("device", "site"),
    device_variables=("device_variable", "device"),
    device_rows=("device_row", "device"),
    device_entries=("device_entry", "row"),
)
OWNERS = dict(site="site", device="device", row="device_row")  # dimension that such a column counts


def followers(owner: Array, chosen: Array) -> tuple[Array, Array]:
    """Rows that belong to the chosen ones, in their order, and to which of them; `owner` is sorted."""
    first, end = np.searchsorted(owner, chosen), np.searchsorted(owner, chosen, side="right")
    count = end - first
    place = np.repeat(np.arange(len(chosen)), count)
    return np.arange(count.sum()) - (np.cumsum(count) - count - first)[place], place
