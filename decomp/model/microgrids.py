"""Sites with what belongs to each of them: all that the energy problem of a site is stated from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.model.records import Generators, Sites
from decomp.model.table import Array


@dataclass(frozen=True, eq=False)
class Microgrids:
    """Sites and their generators, whose `site` counts within these sites."""

    sites: Sites
    generators: Generators

    def rows(self, chosen: Array) -> dict[str, Array]:
        """The rows that belong to some sites (distinct, in any order), by dimension, in the order of these sites."""
        chosen = np.asarray(chosen)
        return dict(site=chosen, generator=followers(self.generators.site, chosen)[0])

    def take(self, chosen: Array) -> Microgrids:
        """Some sites (distinct, in any order) with what belongs to them, renumbered."""
        rows, owner = followers(self.generators.site, np.asarray(chosen))
        return Microgrids(self.sites.take(chosen), replace(self.generators.take(rows), site=owner))


def followers(owner: Array, chosen: Array) -> tuple[Array, Array]:
    """Rows that belong to the chosen ones, in their order, and to which of them; `owner` is sorted."""
    first, end = np.searchsorted(owner, chosen), np.searchsorted(owner, chosen, side="right")
    count = end - first
    place = np.repeat(np.arange(len(chosen)), count)
    return np.arange(count.sum()) - (np.cumsum(count) - count - first)[place], place
