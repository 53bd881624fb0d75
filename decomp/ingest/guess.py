"""Guesses: how a table of text is laid out, from its lines alone."""

from __future__ import annotations

import re
from itertools import dropwhile, pairwise
from typing import Any

import numpy as np

from decomp.ingest.gaps import spacing
from decomp.ingest.numbers import BLANK
from decomp.ingest.parse import cells_of, guess_separator, width_of
from decomp.ingest.stamps import UNREADABLE, parse_times
from decomp.ingest.table import Table
from decomp.model.instance import Array

FORMATS = (
    "", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M:%S %p", "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M", "%Y%m%d:%H%M", "%Y%m%d%H%M", "%d-%m-%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%m-%d-%Y %H:%M",
    "%d-%b-%Y %H:%M:%S", "%d-%b-%Y %H:%M", "%d %b %Y %H:%M", "%b %d, %Y %I:%M %p", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y",
    "%Y/%m/%d", "%d-%b-%y", "%d-%b-%Y", "%d-%m-%Y", "%Y%m%d",
)  # fmt: skip
EPOCHS = {"epoch_s": (1e9, 4e9), "epoch_ms": (1e12, 4e12)}
PARTS = {
    "year_column": "year",
    "month_column": "month",
    "day_column": "day",
    "hour_column": "hour",
    "minute_column": "minute",
}
HOURS = re.compile(r"hour|^he$|^hb$|stunde|heure|uhrzeit|^time\b", re.I)
PERIODS = re.compile(r"period", re.I)


def guess_layout(text: str) -> dict[str, Any]:
    """Keys of the layout of a table: separator, lines above and below, header, rows of units, decimal sign."""
    lines = text.rstrip("\n").split("\n")
    sep, width = guess_separator(lines)
    commented = any(line.startswith("#") for line in lines[:50])
    said = [k for k, line in enumerate(lines) if not (commented and line.startswith("#"))]
    table = _lines_of_table(lines, said, sep, width)
    top = next((k for k, after in pairwise(table) if not any(line.strip() for line in lines[k + 1 : after])), 0)
    below = len(lines) - 1 - table[-1] if table else 0
    keys: dict[str, Any] = {}
    if commented:
        keys["comment"] = "#"
    if sep != ",":
        keys["sep"] = sep
    if any(k < top for k in said):
        keys["skiprows"] = top
    if below and top < len(lines) - below - 2:
        keys["skipfooter"] = below
    rows = [cells_of(lines[k], sep) for k in table if k >= top]
    heading = _heading(rows)
    return keys | heading | _decimal(rows[1 + heading.get("unit_rows", 0) :], sep)


def _lines_of_table(lines: list[str], said: list[int], sep: str, width: int) -> list[int]:
    """Which of the lines that are no comments have about as many cells as most of them, from the header on."""
    # A header may lack the empty cell that every row ends with; a title is one cell among empty ones.
    least = width - all(line.endswith(sep) for line in lines[-3:])
    fits = [k for k in said if least <= width_of(lines[k], sep) <= width + 1]
    return list(dropwhile(lambda k: sum(map(bool, cells_of(lines[k], sep))) < 2, fits))


def _heading(rows: list[list[str]]) -> dict[str, Any]:
    """Keys of what stands above the values: no header, or rows of units below it."""
    alike = len(rows) > 1 and all(_is_value(a) == _is_value(b) for a, b in zip(rows[0], rows[1], strict=False))
    if alike and any(map(_is_value, rows[0])):
        return {"header": False}
    units = 0
    while units + 2 < len(rows) and not any(_is_value(cell) for cell in rows[1 + units]):
        units += 1
    return {"unit_rows": units} if 0 < units <= 3 else {}


def _is_value(cell: str) -> bool:
    """Whether a cell is a number or a time."""
    text = cell.strip()
    return bool(re.fullmatch(r"[+-]?[\d.,' ]*\d(?:[eE][+-]?\d+)?", text)) or bool(
        re.match(r"\d{1,4}[-/.]\w{2,3}[-/.]\d{2,4}", text)
    )


def _decimal(rows: list[list[str]], sep: str) -> dict[str, Any]:
    cells = [cell for row in rows[:400] for cell in row if re.fullmatch(r"[+-]?[\d.,]+", cell)]
    commas = [c for c in cells if "," in c]
    points = [c for c in cells if "." in c]
    grouped = r"[+-]?\d{1,3}(?:%s\d{3})+"
    if commas and all(re.fullmatch(grouped % "," + r"(?:\.\d+)?", c) for c in commas):
        return {"thousands": ","}
    if commas:
        keys: dict[str, Any] = {"decimal": ","}
        if any(re.fullmatch(grouped % r"\." + r"(?:,\d+)?", c) for c in points):
            keys["thousands"] = "."
        return keys
    whole = [c for c in cells if re.fullmatch(r"\d{3}", c)]
    if points and sep == ";" and whole and all(re.fullmatch(grouped % r"\.", c) for c in points):
        return {"decimal": ",", "thousands": "."}
    return {}


def guess_times(table: Table) -> dict[str, Any]:
    """Keys of the time columns of a table."""
    lower = {name.lower(): name for name in table.header}
    parts = {key: lower[name] for key, name in PARTS.items() if name in lower}
    if {"month_column", "day_column"} <= set(parts):
        hours = [n for n in table.header if HOURS.search(n)]
        return parts if "hour_column" in parts or not hours else parts | {"hour_column": hours[0]}
    found = []
    for k, name in enumerate(table.header):
        form, separator = _time_format(table.column(k).words)
        if form is not None:
            found.append((_preference(name, form, k), name or f"c{k + 1}", form, separator))
    if not found:
        return {}
    _, name, form, separator = min(found)
    keys: dict[str, Any] = {"time_column": name}
    if form:
        keys["time_format"] = form
    if separator:
        keys["range_separator"] = separator
    label, *_ = parse_times(table.cells(name).words, form, separator)
    if (label[label != UNREADABLE] % 86_400 == 0).all():
        keys |= _numbered(table, name)
    return keys


def _preference(name: str, form: str, k: int) -> tuple[int, int]:
    text = name.lower()
    worse = ("end" in text or "bis" in text) + ("local" in text or "forecast" in text)
    return (2 * form.startswith("epoch") + worse - ("utc" in text or "gmt" in text), k)


def _time_format(words: Array) -> tuple[str | None, str]:
    """The format that reads a column's texts as times, and the separator of ranges; None if there is none."""
    texts = np.array([w for w in words if str(w).lower() not in BLANK][:3000], dtype=object)
    if not len(texts):
        return None, ""
    separator = " - " if sum(" - " in str(w).replace("\u00a0", " ") for w in texts) > 0.9 * len(texts) else ""
    best: tuple[float, str] | None = None
    for form in FORMATS:
        label = parse_times(texts[:20], form, separator)[0]
        if (label != UNREADABLE).mean() < 0.7:
            continue
        label = parse_times(texts, form, separator)[0]
        good = label[label != UNREADABLE]
        if len(good) < 0.9 * len(texts) and len(good) < len(texts) - 12:
            continue
        apart = np.diff(np.unique(good))
        even = float((apart == spacing(good)).mean()) if len(apart) else 0.0
        score = len(good) / len(texts) + 0.1 * even
        if best is None or score > best[0] + 1e-9:
            best = (score, form)
    if best is not None:
        return best[1], separator
    for form, (low, high) in EPOCHS.items():
        try:
            values = np.array([float(w) for w in texts])
        except ValueError:
            break
        if ((values > low) & (values < high)).all():
            return form, ""
    return None, ""


def _numbered(table: Table, day: str) -> dict[str, Any]:
    """The columns of hours or periods beside a column of days."""
    keys: dict[str, Any] = {}
    across = [n for n in table.header if re.fullmatch(r"(?:HE|H|Hour) ?0?\d{1,2}", n)]
    if len(across) >= 23:
        return {"hours_across": across}
    for name in table.header:
        if name == day or not name:
            continue
        words = [str(w).replace("\u00a0", " ") for w in table.cells(name).words]
        hour = [re.match(r"(?:HE ?)?(\d{1,2})(?::\d\d)*(?:\.0)? ?[ABX*]?(?: ?- ?\d\d(?::\d\d)?)?$", w) for w in words]
        numbers = [int(m[1]) for m in hour if m]
        if len(numbers) < len(words) or not numbers or max(numbers) > 100:
            continue
        if PERIODS.search(name) and max(numbers) > 2 and "hour_column" not in keys:
            return {"period_column": name}
        if HOURS.search(name) and max(numbers) <= 25 and "hour_column" not in keys:
            keys["hour_column"] = name
            if any(" - " in w for w in words):
                keys["range_separator"] = " - "
        elif re.search(r"interval", name, re.I) and max(numbers) <= 12 and "hour_column" in keys:
            keys["interval_column"] = name
    return keys


def guess_zone(keys: dict[str, Any]) -> str:
    """What the header says of the clock; "" if nothing."""
    names = " ".join(str(v) for k, v in keys.items() if k.endswith("_column"))
    if re.search(r"utc|gmt", names, re.I):
        return "UTC"
    if found := re.search(r"\((CET/CEST|MEZ|MESZ|CET|CEST|EET/EEST|WET/WEST)\)", names):
        return {"E": "Europe/Helsinki", "W": "Europe/Lisbon"}.get(found[1][0], "Europe/Berlin")
    return ""
