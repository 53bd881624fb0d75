"""Devices of the library at the sites of a spec: `[[sites.devices]]`."""

from __future__ import annotations

from typing import Any

from decomp.devices import KINDS
from decomp.devices.attach import attach
from decomp.ingest.keys import within
from decomp.ingest.spec import Site
from decomp.model.instance import InputError, Instance


def equipped(instance: Instance, sites: list[Site]) -> Instance:
    """The instance with the devices that its sites are said to have."""
    for site in sites:
        for number, said in enumerate(site.devices):
            with within(f"sites.{site.name}.devices.{said.get('name', number)}"):
                instance = _attach(instance, site.name, dict(said))
    return instance


def _attach(instance: Instance, site: str, said: dict[str, Any]) -> Instance:
    kind, name = said.pop("kind", None), said.pop("name", "")
    if kind not in KINDS:
        raise InputError(f"kind: {kind!r}, must be one of {', '.join(KINDS)}")
    if not isinstance(name, str):
        raise InputError(f"name: {name!r}, must be a string")
    return attach(instance, site, KINDS[kind].of(said), name=name)
