"""Programs that several tests of the doors to solvers use."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_matrix

from decomp.lp.block import Model


def knapsacks(n: int = 24, seed: int = 0) -> Model:
    """n knapsacks at random that share 3 n things: an easy LP, and a MIP that has to branch."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(10, 100, size=(n, 3 * n)).astype(float)
    columns = 3 * n
    return Model(
        matrix=csc_matrix(weight),
        low=np.zeros(columns),
        high=np.ones(columns),
        cost=-rng.integers(10, 100, size=columns).astype(float),
        emission=np.zeros(columns),
        integer=np.ones(columns, dtype=bool),
        row_low=np.full(n, -np.inf),
        row_high=np.floor(weight.sum(axis=1) / 2),
        columns={},
        bans=np.zeros((0, 3), dtype=int),
    )
