"""Certified scheduling of fleets of AI data centres with their own microgrids, by decomposition."""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# Before numpy is loaded: the ranks are the parallelism, one process a core and one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from decomp.model.instance import InputError, Instance, build_instance
from decomp.model.result import Dual, Result, Schedule, Status

__version__ = "0.1.0"
# Functions of decomp.api, which loads the solvers when the first of them is asked for.
_API = (
    *("attach", "check", "evaluate", "explain", "generate", "ingest", "read", "site_block", "solve"),
    *("validate", "write"),
)
__all__ = ["Dual", "InputError", "Instance", "Result", "Schedule", "Status", "__version__", "build_instance", *_API]


def __getattr__(name: str) -> Any:
    if name == "devices":
        return import_module("decomp.devices")
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import decomp.api

    return getattr(decomp.api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_API, "devices"})


class _Package(ModuleType):
    """A function of the interface keeps its name, also after an import of a module of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _API:
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
