"""Sphinx extension: sections of the docstrings, whose entries are `name : meaning`, as NumPy has them.

Types stand in the signatures; behind the colon, and in the first line of `Returns`, numpydoc expects a type. So entries
are spread over lines before napoleon reads them, and what is returned is added as a field after it has.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

SECTIONS = ("Parameters", "Attributes", "Returns", "Raises")
NAMES = r"\*{0,2}\w[\w, *]*(?: \([^)]*\))?"
ENTRY = re.compile(rf"(?P<names>{NAMES}) : (?P<meaning>.+)")
SEVERAL = re.compile(rf"(?<=\.) (?={NAMES} : )")  # entries that share a line
RETURNED: dict[str, list[str]] = {}


def spread(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite the lines of a docstring in place; keep what it returns for later."""
    found: list[str] = []
    section = ""
    RETURNED[name] = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line in SECTIONS and set(after) == {"-"}:
            section = line
        if section == "Returns":
            RETURNED[name].append(line)
            continue
        for part in SEVERAL.split(line) if section else [line]:
            entry = ENTRY.fullmatch(part) if section else None
            found += [entry["names"], f"    {entry['meaning']}"] if entry else [part]
    lines[:] = found


def add_returned(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Say what is returned at the end of a docstring."""
    if text := " ".join(line.strip() for line in RETURNED.get(name, [])[2:]).strip():
        lines += [f":returns: {text}", ""]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", spread, priority=100)
    app.connect("autodoc-process-docstring", add_returned, priority=900)
    return dict(parallel_read_safe=True)
