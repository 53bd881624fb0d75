"""Presets: known layouts as tables of the same keys, in presets.toml."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from decomp.ingest.keys import merge
from decomp.model.instance import InputError
from decomp.model.toml import read_toml

FORMER = {"delimiter": "sep", "reader": "format"}  # names of keys in the first version
ABOUT = ("for", "known_by")  # what a preset says of itself
KINDS = {"files": "[files.NAME]", "trace": "[trace]", "requests": "[requests.NAME]", "pairs": "[latency] and [egress]"}


@cache
def presets() -> dict[str, dict[str, Any]]:
    """Every preset with its keys; `for` says which tables it is for, `known_by` how such files begin."""
    return read_toml(Path(__file__).with_name("presets.toml"))


def names_for(kind: str) -> list[str]:
    """Presets for a kind of table."""
    return [name for name, keys in presets().items() if keys["for"] == kind]


def with_preset(table: dict[str, Any], place: str) -> dict[str, Any]:
    """A table of a spec with the keys of the preset it names; its own keys win, those of `where` column by column."""
    table = {FORMER.get(name, name): value for name, value in table.items()}
    name = table.get("format", "")
    if name in ("", "csv"):
        table.pop("format", None)
        return table
    kind = place.split(".")[0]
    kind = kind if kind in KINDS else "pairs"
    known = names_for(kind)
    if name not in known:
        other = presets()[name]["for"] if name in presets() else ""
        near = get_close_matches(str(name), known, 1, 0.5)
        hint = f"; it is for {KINDS[other]}" if other else f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{place}.format = {name!r}: no such preset{hint}; known are {', '.join(known)}")
    keys = {k: v for k, v in presets()[name].items() if k not in ABOUT}
    return merge(keys, table)


def guess_preset(text: str) -> str:
    """The preset whose pattern the first lines of a file show; "" if there is none."""
    head = "\n".join(text.split("\n", 40)[:40])
    known = {name: keys["known_by"] for name, keys in presets().items() if "known_by" in keys}
    return next((name for name, pattern in known.items() if re.search(pattern, head, re.M | re.S)), "")
