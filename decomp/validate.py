"""Refusal of instances that cannot be scheduled."""
from typing import Any

from decomp.instance import Instance


def validate(instance: Instance) -> None:
    pass


def validate_scalars(scalars: Any) -> None:
    pass


def validate_sites(sites: Any, generators: Any, period_h: float) -> None:
    pass


def validate_coupling(tables: Any, site_name: Any, capacity_gpu: Any, period_h: float) -> None:
    pass
