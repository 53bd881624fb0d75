"""Options: defaults, nesting, and refusal of everything that is not an option."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from decomp.model.instance import InputError
from decomp.model.options import Bundle, Options


def test_defaults() -> None:
    options = Options()
    assert options.method == "hybrid"
    assert options.rel_gap == 1e-3
    assert options.time_limit_seconds == math.inf


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Options().rel_gap = 0.5  # type: ignore[misc]


def test_round_trip_through_dicts() -> None:
    options = Options(method="extensive", rel_gap=0, bundle=Bundle(max_iterations=7, first_factors=(2,)))
    again = Options.from_dict(options.to_dict())
    assert again == options
    assert isinstance(again.rel_gap, float)
    assert again.bundle.first_factors == (2.0,)


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_text(
        'method = "extensive"\ntime_limit_seconds = inf\n[bundle]\nmax_iterations = 3\nfirst_factors = [1, 0.5]\n'
    )
    options = Options.from_toml(path)
    assert options.method == "extensive"
    assert options.bundle == Bundle(max_iterations=3, first_factors=(1.0, 0.5))
    assert options.recovery == Options().recovery


def test_toml_from_an_editor_that_marks_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_bytes(b"\xef\xbb\xbfrel_gap = 0.25\r\n")
    assert Options.from_toml(path).rel_gap == 0.25


def test_updated_ignores_what_is_not_given() -> None:
    options = Options().updated(rel_gap=0.5, seed=None)
    assert (options.rel_gap, options.seed) == (0.5, 0)


def test_describe_lists_every_option() -> None:
    rows = {key: (default, legal, text) for key, default, legal, text in Options.describe()}
    assert rows["bundle.max_iterations"][0] == Bundle().max_iterations
    assert rows["rel_gap"][1] == "a number between 0 and 1"
    assert all(text for _, _, text in rows.values())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rel_gpa": 1}, "rel_gpa: no such option; did you mean rel_gap?"),
        ({"zzz": 1}, "zzz: no such option; known are method"),
        ({"bundle": {"max_iteration": 1}}, "bundle.max_iteration: no such option; did you mean max_iterations?"),
        ({"bundle": 3}, "bundle: 3, must be a group"),
        ({"rel_gap": {"a": 1}}, "rel_gap: {'a': 1}, must be a number between 0 and 1"),
        ({"rel_gap": "small"}, "must be a number"),
        ({"rel_gap": True}, "must be a number"),
        ({"rel_gap": math.nan}, "rel_gap: nan, must be a number between 0 and 1"),
        ({"rel_gap": -1}, "rel_gap: -1, must be a number between 0 and 1"),
        ({"seed": 1.5}, "seed: 1.5, must be an integer"),
        ({"seed": -1}, "must be an integer of at least 0"),
        ({"seed": 3_000_000_000}, "seed: 3000000000, must be an integer between 0 and 2147483647"),
        ({"bundle": {"step": math.inf}}, "bundle.step: inf, must be a number between 1e-09 and 1.797693135e+308"),
        ({"seed": [1]}, "seed: [1], must be an integer"),
        ({"method": "magic"}, "method: 'magic', must be one of lagrangian"),
        ({"method": 3}, "method: 3, must be one of lagrangian"),
        ({"bundle": {"first_factors": 1.0}}, "bundle.first_factors: 1.0, must be a list"),
        ({"bundle": {"first_factors": [1.0, "x"]}}, "must be a list, each a number"),
        ({"bundle": {"serious": 2}}, "bundle.serious: 2, must be a number between 0 and 1"),
    ],
)
def test_refusals(values: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        Options.from_dict(values)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["method = ", "\xff\xfe", "[bundle]\nstep = 'x'\n"])
def test_bad_toml_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "o.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"o\.toml: "):
        Options.from_toml(path)


def test_constructor_checks_too() -> None:
    with pytest.raises(InputError, match="max_iterations"):
        Bundle(max_iterations=-1)
    with pytest.raises(InputError, match="group of options"):
        Options(bundle=None)  # type: ignore[arg-type]
