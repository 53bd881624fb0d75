"""The whole model in one piece: ground truth, MPS, and a solver of small fleets.

Read `pyomo_model`, then `matrices` and `by_highs`; `reductions` holds what an instance proves about its own model.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """`build` and `solve_extensive`, loaded when asked for: Pyomo takes a second to import."""
    if name not in ("build", "solve_extensive"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from decomp.extensive import pyomo_model

    return getattr(pyomo_model, name)
