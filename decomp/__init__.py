"""Certified scheduling of fleets of AI data centres with their own microgrids, by decomposition."""

import os

# Before numpy is loaded: the ranks are the parallelism, one process a core and one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from decomp.instance import InputError, Instance, build_instance
from decomp.result import Result, Schedule, Status

__version__ = "0.1.0"
__all__ = ["InputError", "Instance", "Result", "Schedule", "Status", "__version__", "build_instance"]
