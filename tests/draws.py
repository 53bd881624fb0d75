"""How much is drawn: all of it in the whole suite, a share of it in the daily selection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

FULL, DAILY = 100, 30  # examples of a test that asks for no number


def draws(most: int) -> settings:
    """So many examples; in the daily selection as large a share of them as everywhere."""
    return settings(max_examples=max(1, most * settings().max_examples // FULL))


def seldom(values: Iterable[Any], daily: int) -> list[Any]:
    """Parameters of a test, of which the first few run daily and the others are `slow`."""
    return [pytest.param(v, marks=[pytest.mark.slow] * (k >= daily)) for k, v in enumerate(values)]
