"""Seeded families of synthetic instances: `generate("fleet", sites=30, seed=1, negative=0.2)`.

A family is a subclass of `family.Family` with its settings as fields. Read `fleet`, then `markets`, `weather`,
`equipment` and `work`, which families share.
"""

from __future__ import annotations

from typing import Any

from decomp.families.cloud import Cloud
from decomp.families.colocation import Colocation
from decomp.families.family import Family, Request
from decomp.families.fleet import Fleet, Swarm
from decomp.families.paper import Paper
from decomp.families.small import Small, random_small
from decomp.model.instance import InputError, Instance
from decomp.model.strict import scalar, shown

FAMILIES: dict[str, type[Family]] = dict(
    paper=Paper, fleet=Fleet, swarm=Swarm, cloud=Cloud, colocation=Colocation, small=Small
)

__all__ = ["FAMILIES", "Family", "generate", "random_small"]


def generate(
    family: str,
    *,
    sites: int | None = None,
    periods: int | None = None,
    jobs: int | None = None,
    streams: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> Instance:
    """Make an instance of a family; sizes left out take the family's defaults.

    Parameters
    ----------
    family : name of the family, a key of `FAMILIES`.
    sites, periods, jobs, streams : sizes.
    seed : seed of every random number, 0 or more.
    settings : settings of the family, as values or as text.

    Returns
    -------
    The instance; the same request gives the same arrays.

    Raises
    ------
    InputError : unknown family or setting, or a value out of range.
    """
    if not isinstance(family, str) or family not in FAMILIES:
        raise InputError(f"family {shown(family)}: no such family; known are {', '.join(FAMILIES)}")
    cls = FAMILIES[family]
    given = dict(sites=sites, periods=periods, jobs=jobs, streams=streams)
    sizes = {name: None if size is None else scalar(size, int, name) for name, size in given.items()}
    for name, size in sizes.items():
        if size is not None and name in cls.fixed:
            raise InputError(f"family {family}: the number of {name} is fixed")
        if size is not None and size < (least := int(name in ("sites", "periods"))):
            raise InputError(f"family {family}: {size} {name}, must be at least {least}")
    number = scalar(seed, int, "seed")
    if number < 0:
        raise InputError(f"seed {number}: must be 0 or more")
    return cls.configured(family, settings).instance(Request(**sizes, seed=number))
