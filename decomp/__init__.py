"""Certified scheduling of fleets of AI data centres with their own microgrids, by decomposition."""

from decomp.instance import InputError, Instance, build_instance
from decomp.result import Result, Schedule, Status

__version__ = "0.1.0"
__all__ = ["InputError", "Instance", "Result", "Schedule", "Status", "__version__", "build_instance"]
