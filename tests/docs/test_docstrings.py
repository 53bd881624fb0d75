"""Sections of docstrings as the pages show them."""

from __future__ import annotations

import sys

import pytest

from running import CHECKOUT

pytest.importorskip("sphinx")
sys.path.append(str(CHECKOUT / "docs"))

from docstrings import spread  # noqa: E402

pytestmark = pytest.mark.docs


def spread_lines(text: str, what: str = "class") -> list[str]:
    lines = text.splitlines()
    spread(None, what, "name", None, None, lines)  # type: ignore[arg-type]
    return lines


def test_attributes_that_share_an_entry_have_one_each_with_its_shape() -> None:
    lines = spread_lines("Attributes\n----------\nload, cost (site) : what it\n    is, USD.\nleft (job), right : both.")
    assert lines[2:] == [
        *("load", "    (site) what it is, USD.", "cost", "    (site) what it is, USD."),
        *("left", "    (job) both.", "right", "     both."),
    ]


def test_parameters_keep_their_types_away_and_returns_come_last() -> None:
    lines = spread_lines("Parameters\n----------\na, b : two. *args : the rest.\n\nReturns\n-------\nAn amount.")
    assert lines[2:6] == ["a, b", "    two.", "*args", "    the rest."]
    assert "An amount." not in lines


def test_a_colon_in_a_property_is_no_type() -> None:
    assert spread_lines("Net cost, USD: the objective.", "property")[:2] == ["..", ""]
