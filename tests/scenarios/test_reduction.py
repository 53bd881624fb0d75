"""Instances with fewer of their scenarios."""

from __future__ import annotations

import numpy as np
import pytest

from decomp.families.futures import synthetic
from decomp.model.instance import SERIES, InputError
from decomp.model.scenarios import scenario, series_of
from decomp.model.validate import validate
from decomp.scenarios.reduction import distances, reduced
from tiny import tiny


def test_an_instance_with_fewer_scenarios() -> None:
    many = synthetic(tiny(), 12, np.random.default_rng(1))
    few = reduced(many, 4)
    validate(few)
    assert few.n_scenarios == 4 and few.scenarios.probability.sum() == pytest.approx(1.0)
    for s, name in enumerate(few.scenarios.name):
        before = many.scenarios.name.tolist().index(str(name))
        assert (scenario(few, s).sites.buy_price == scenario(many, before).sites.buy_price).all()
    everything = reduced(many, 12)
    assert (everything.scenarios.probability == many.scenarios.probability).all()
    assert all((series_of(everything, name) == series_of(many, name)).all() for name in SERIES)
    between = distances(many)
    away = series_of(many, "buy_price")[0] - series_of(many, "buy_price")[1]
    assert (between == between.T).all() and between[0, 1] > 0.0 and np.abs(away).max() > 0.0
    for count in (0, 13):
        with pytest.raises(InputError, match=f"reduce: {count} of 12 scenarios"):
            reduced(many, count)
