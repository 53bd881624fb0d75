"""Sphinx extension: sections of the docstrings, whose entries are `name : meaning`, as NumPy has them.

Types stand in the signatures; behind the colon, in the first line of `Returns`, and before a colon in the first line of
a property, numpydoc expects a type. So entries are spread over lines before napoleon reads them, attributes that share
an entry over entries of their own, and what is returned is added as a field after it has.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

SECTIONS = ("Parameters", "Attributes", "Returns", "Raises")
NAME = r"\*{0,2}\w+(?: \([^)]*\))?"  # with the shape of an array
NAMES = rf"{NAME}(?:, {NAME})*"
ENTRY = re.compile(rf"(?P<names>{NAMES}) : (?P<meaning>.+)")
SEVERAL = re.compile(rf"(?<=\.) (?={NAMES} : )")  # entries that share a line
RETURNED: dict[str, list[str]] = {}


def spread(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite the lines of a docstring in place; keep what it returns for later."""
    found = ["..", ""] if what == "property" else []  # an empty comment: what has a colon in a first line is a type
    section = ""
    RETURNED[name] = []
    joined = join_entries(lines)
    for line, after in zip(joined, [*joined[1:], ""], strict=True):
        if line in SECTIONS and set(after) == {"-"}:
            section = line
        if section == "Returns":
            RETURNED[name].append(line)
            continue
        for part in SEVERAL.split(line) if section else [line]:
            entry = ENTRY.fullmatch(part) if section else None
            found += entries(entry["names"], entry["meaning"], section == "Attributes") if entry else [part]
    lines[:] = found


def join_entries(lines: list[str]) -> list[str]:
    """The lines, those of each entry of a section joined."""
    joined: list[str] = []
    inside = False
    for line in lines:
        inside |= line in SECTIONS
        if inside and line.startswith(" ") and joined[-1]:
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line)
    return joined


def entries(names: str, meaning: str, apart: bool) -> list[str]:
    """Lines of one entry; `apart`: of one for each name, its shape or that of the last name in front of the meaning."""
    if not apart:
        return [names, f"    {meaning}"]
    each = [re.fullmatch(r"(\S+)(?: (\(.*\)))?", name) for name in re.split(r", (?![^(]*\))", names)]
    pairs = [(one[1], one[2]) for one in each if one]
    return [line for name, shape in pairs for line in (name, f"    {shape or pairs[-1][1] or ''} {meaning}")]


def add_returned(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Say what is returned at the end of a docstring."""
    if text := " ".join(line.strip() for line in RETURNED.get(name, [])[2:]).strip():
        lines += [f":returns: {text}", ""]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", spread, priority=100)
    app.connect("autodoc-process-docstring", add_returned, priority=900)
    return dict(parallel_read_safe=True)
