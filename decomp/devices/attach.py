"""Devices put on sites: kinds of the library, or blocks written in Pyomo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from decomp.devices.draft import Addition, Draft, attach_drafts
from decomp.devices.kind import Kind, Place
from decomp.model.instance import InputError, Instance
from decomp.model.refusal import row_named
from decomp.model.strict import misfits, plain, scalar, shown
from decomp.model.validate_sites import validate_sites


def place_of(instance: Instance, site: str) -> tuple[int, Place]:
    """Row of a site by its name, and the site alone.

    Raises
    ------
    InputError : no site has this name.
    """
    i = row_named(instance.sites.name, site, "site")
    return i, Place(instance.microgrids.take(np.array([i])), instance.period_h)


def site_block(instance: Instance, site: str) -> Any:
    """A Pyomo block of what a site does, to be added to and handed to `attach`.

    Parameters
    ----------
    instance : the fleet.
    site : name of the site.

    Returns
    -------
    A block with the sets `T` (periods) and `T_ends` (instants, 0 to their number), and over T `load` (GPU), `it_power`,
    `facility`, `grid_import`, `grid_export`, `renewable`, `charge`, `discharge`, `generation` (MW, all generators;
    `output` over generators and T) and `stored` (MWh, at the end of the period).

    Raises
    ------
    InputError : no site has this name.
    """
    from decomp.devices import pyomo_block  # pyomo takes a second to import

    return pyomo_block.site_block(place_of(instance, site)[1])


def attach(
    instance: Instance,
    site: str | Sequence[str],
    device: Any,
    *,
    name: str = "",
    cumulative: Sequence[str] = (),
    end_low: Mapping[str, float] | None = None,
) -> Instance:
    """The instance with a device more at a site, or at each of several.

    Parameters
    ----------
    instance : the fleet.
    site : name of the site; of several only for a kind of the library.
    device : a kind of `decomp.devices` with its settings, or a block of `decomp.site_block` with what was added to it.
    name : of the device; default: its kind.
    cumulative : constraints of the block that a rolling plan keeps over all periods so far, by name.
    end_low : least values of variables of the block in the last period of a rolling plan, by name.

    Returns
    -------
    A new instance.

    Raises
    ------
    InputError : the device cannot be stored as rows, or cannot be at this site; it names the component.
    """
    sites, held = _names(site, "site"), _names(cumulative, "cumulative")
    if not sites or len(set(sites)) < len(sites):
        raise InputError(f"site: {shown(list(sites))}, must be a name or several, each once")
    kind, usual = (device.called(), device.called()) if isinstance(device, Kind) else ("pyomo", "device")
    name = scalar(name, str, "name") or usual
    additions = []
    for one in sites:
        i, place = place_of(instance, one)
        if (instance.devices.name[instance.devices.site == i] == name).any():
            raise InputError(f"device {name!r} at site {one!r}: this name is taken; give it another")
        additions.append(Addition(i, _draft(device, place, one, name, held, dict(end_low or {})), name, kind))
    found = attach_drafts(instance, additions)
    validate_sites(found.microgrids.take(np.array([a.site for a in additions])), found.period_h)
    return found


def _names(value: Any, where: str) -> tuple[str, ...]:
    """One name or several."""
    array = np.atleast_1d(plain(value, where))
    if array.ndim > 1 or misfits(array, "U").any():
        raise InputError(f"{where}: {shown(value)}, must be a name or several")
    return tuple(map(str, array))


def _draft(
    device: Any, place: Place, site: str, name: str, cumulative: tuple[str, ...], end_low: dict[str, float]
) -> Draft:
    if isinstance(device, Kind):
        for what, said in (("cumulative", cumulative), ("end_low", end_low)):
            if said:
                raise InputError(f"{what}: only for a block; a kind of the library has its own")
        return device.draft(place)
    from decomp.devices import pyomo_block

    return pyomo_block.read_block(device, site, name, cumulative, end_low)
