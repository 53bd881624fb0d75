"""What is in a data file: its layout, columns, times, the preset it looks like, and a block for the spec."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from decomp.ingest import gaps
from decomp.ingest.checks import differences
from decomp.ingest.clock import zone
from decomp.ingest.guess import guess_layout, guess_times, guess_zone
from decomp.ingest.keys import record
from decomp.ingest.layout import File
from decomp.ingest.library import Library
from decomp.ingest.packing import read_text, unpack
from decomp.ingest.presets import guess_preset, names_for, presets
from decomp.ingest.records import utc_text
from decomp.ingest.stamps import Stamps, to_utc, zone_of
from decomp.ingest.table import Table
from decomp.ingest.units import SENTINELS
from decomp.model.instance import Array, InputError

UNITS = (
    (r"(?:€|eur)/ ?mwh", "price", "eur/MWh"),
    (r"(?:\$|usd)/ ?mwh|lmp|lbmp", "price", "usd/MWh"),
    (r"(?:£|gbp)/ ?mwh|system(?:sell|buy)price", "price", "gbp/MWh"),
    (r"\brrp\b", "price", "aud/MWh"),
    (r"price|preis", "price", "usd/MWh"),
    (r"g ?co\S*/ ?kwh|carbon.?intensity", "carbon", "g/kWh"),
    (r"lb\S*/ ?mwh", "carbon", "lb/MWh"),
    (r"°c|temp|t2m|dry.?bulb", "temperature", "degC"),
    (r"wind.?speed.*km/h", "wind_speed", "km/h"),
    (r"wind.?speed|ws10", "wind_speed", "m/s"),
    (r"\bghi\b|g\(h\)|irradiance|g\(i\)", "irradiance", "W/m2"),
    (r"cloud", "cloud", "%"),
    (r"solar|pv|electricity|wind|capacity.?factor", "wind_factor", "1"),
)
UNCHECKED = "   # not in the file: check"
JOBS = dict(gpus_column=r"gpu", duration_column=r"second|duration|elapsed|runtime", name_column=r"job|\bid\b")


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was found; `block` goes into a spec."""

    lines: list[str]
    block: str

    def __str__(self) -> str:
        return "\n".join([*self.lines, "", self.block])


def inspect_file(path: str | Path, preset: str = "") -> Inspection:
    """Look into a data file.

    Parameters
    ----------
    path : the file.
    preset : its layout; "": guessed.

    Raises
    ------
    InputError : no table in it, or no such preset.
    """
    path = Path(path).absolute()  # so that "." has a name
    library = Library(path.parent)
    data = library.bytes_of(path.name)
    text, encoding = read_text(data, path)
    guessed = guess_preset(text)
    if not guessed and path.with_name("snapshots.csv").exists():
        guessed = "pypsa"
    named = preset or guessed
    if preset and preset not in presets():
        raise InputError(f"format = {preset!r}: no such preset; known are {', '.join(presets())}")
    lines = [f"{path.name}: {len(data):,} bytes, {encoding}, {len(text.splitlines()):,} lines"]
    lines.append(f"preset: {guessed or 'none fits'}" + (f", read as {preset}" if preset and preset != guessed else ""))
    if named and named not in names_for("files"):
        kind = presets()[named]["for"]
        head = {"trace": "trace", "requests": f"requests.{_name(path)}"}.get(kind, "latency")
        return Inspection(lines, _table_of(head, path, dict(format=named)))
    keys: dict[str, Any] = dict(format=named) if named else guess_layout(text)
    if encoding == "latin-1":
        keys["encoding"] = _one_byte(data)
    file = _file(path, keys)
    table = library.table(file)
    if not named:
        keys |= guess_times(table)
        if not any(k in keys for k in ("time_column", "month_column")):
            lines += [*_about_table(table), "times: no column looks like times"]
            if set(table.header[1:]) <= set(table.column(0).words):  # regions along both sides
                return Inspection(lines, _table_of("latency", path, dict(layout="matrix") | keys))
            return Inspection(lines, _table_of(f"files.{_name(path)}", path, keys))
        if jobs := _of_jobs(table):
            lines += [*_about_table(table), *_columns(table)]
            layout = {key: value for key, value in keys.items() if not key.endswith(("_column", "_separator"))}
            jobs |= dict(submit_column=keys["time_column"], time_zone="UTC")
            return Inspection(lines, _table_of("trace", path, layout | jobs) + UNCHECKED)
    keys, where, told = _clock(library, path, keys)
    lines += [*_about_table(table), *told]
    lines += list(_columns(table))
    if not keys.get("format") and (absent := _meaning_missing(table)):
        keys["na_values"] = absent
    return Inspection(lines, _block(path, keys, where, table))


def _name(path: Path) -> str:
    stem = re.sub(r"\W+", "_", path.name.split(".")[0]).strip("_").lower()
    return stem or "data"


def _one_byte(data: bytes) -> str:
    """The likely encoding of text that is no UTF: signs that Latin-1 lacks are those of cp1252, or Japanese."""
    for name in ("latin-1", "cp1252", "cp932"):
        try:
            if not re.search("[\x80-\x9f]", unpack(data, "").decode(name)):
                return name
        except UnicodeDecodeError:
            continue
    return "latin-1"


def _table_of(name: str, path: Path, keys: dict[str, Any]) -> str:
    """A table of a spec for the file."""
    return "\n".join([f"[{name}]", *_toml(dict(path=path.name) | keys)])


def _file(path: Path, keys: dict[str, Any]) -> File:
    return record(File, dict(path=path.name) | keys, f"files.{_name(path)}")


def _about_table(table: Table) -> Iterator[str]:
    layout = table.layout
    if layout.pvlib:
        yield f"table: {len(table):,} rows, {len(table.header)} columns, read by pvlib"
        return
    above = table.first_line - 1 - (1 if layout.header else 0)
    yield (
        f"table: separator {layout.sep!r}, "
        + (f"header in line {above + 1}" if layout.header else "no header")
        + f", {len(table.header)} columns, {len(table):,} rows"
    )


# ------------------------------------------------------------------------------------------------ times


def _clock(library: Library, path: Path, keys: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The keys completed by step, stamp and zone, the conditions that pick one series, what to say of the times."""
    said = _file(path, keys)
    numbered = bool(said.hour_column) and not said.minute_column
    step = said.step_min or _numbered_step(library.table(said), said)
    trial = replace(said, step_min=step or 60, stamp=said.stamp or ("end" if numbered else ""))
    table, stamps, file = library.timed(trial)
    if not stamps.readable.any():
        return keys, {}, ["times: no readable time"]
    keys = dict(keys)
    naive = bool(np.isnan(stamps.offset[stamps.readable]).any())
    name = zone_of(table, file) or guess_zone(keys)
    where, rows = _one_series(table, stamps)
    start = _starts(stamps, rows, zone(name or "UTC", "time_zone"), file)
    if said.step_min is None:
        changes = [step] if step else _changes(start)
        keys["step_min"] = changes if len(changes) > 1 else changes[0]
    steps = keys.get("step_min") or file.step_min
    least = round(60 * min(steps if isinstance(steps, list) else [steps]))
    keys |= _stamp(file, said, stamps, rows, least)
    told = []
    if naive and not (said.time_zone and name):
        keys["time_zone"] = name or "UTC"
        if not name:
            told.append("clock: the file does not say its time zone; UTC stands in the block until you do")
    faults, mended = _faults(table, stamps, start, rows, least)
    told = [_span(start, steps, naive, name), *told, *faults]
    if where:
        told.append("rows of one time differ in " + ", ".join(where))
    return keys | (mended if said.off_grid == "refuse" else {}), where, told


def _numbered_step(table: Table, file: File) -> float | None:
    """The step, minutes, that the numbers of periods or intervals show."""
    if file.interval_column:
        return 60 / max(float(np.nanmax(table.numbers(file.interval_column)[0])), 1.0)
    if file.period_column:
        most = float(np.nanmax(table.numbers(table.first_of(file.period_column))[0]))
        return next((step for step, n in ((60, 25), (30, 50), (15, 100), (5, 300)) if most <= n), 5)
    return None


def _stamp(file: File, said: File, stamps: Stamps, rows: Array, step: int) -> dict[str, Any]:
    """What the stamps mark, where the file shows it."""
    columns = f"{file.time_column} {file.hour_column}".lower()
    if said.stamp:
        return {}
    if stamps.reaches_end or re.search(r"\bend", columns):
        return {"stamp": "end"}
    if file.stamp == "middle" or (gaps.phase(stamps.wall[rows], step) * 2 == step and step >= 120):
        return {"stamp": "middle"}
    return {}


def _starts(stamps: Stamps, rows: Array, local: Any, file: File) -> Array:
    taken = stamps.take(rows)
    return to_utc(taken, local, min(file.steps), file.stamp or "start", np.zeros(len(rows), dtype=bool))[0]


def _changes(start: Array) -> list[float]:
    """The steps of a file that changes once from hours to something shorter, minutes; else its one step."""
    apart = np.diff(np.unique(start))
    step = gaps.spacing(start) or 3600
    shorter = [s for s in (300, 900, 1800) if (apart == s).sum() > 3]
    if shorter and apart[0] == 3600:
        last = int(np.flatnonzero(apart == 3600)[-1])
        if (apart[: last + 1] == 3600).mean() > 0.9:
            return [60, shorter[0] // 60]
    minutes = (shorter[0] if shorter and step == 3600 else step) / 60
    return [int(minutes) if minutes == int(minutes) else minutes]


def _span(start: Array, step: Any, naive: bool, name: str) -> str:
    clock = f"local time of {name}" if naive and name else "without offset" if naive else "with offset"
    return f"times: {utc_text(start.min())} … {utc_text(start.max())}, step {step} min, {clock}"


def _faults(table: Table, stamps: Stamps, start: Array, rows: Array, step: int) -> tuple[list[str], dict[str, Any]]:
    """What is wrong with the times, in one line, and the keys that mend it."""
    order = np.argsort(start, kind="stable")
    unique = np.unique(start)
    usual = gaps.phase(start, step)
    off = int((start % step != usual).sum())
    gap = int((np.diff(unique) > max(gaps.spacing(unique), step)).sum())
    pairs = [(int(rows[order[k]]), int(rows[order[k + 1]])) for k in np.flatnonzero(np.diff(start[order]) == 0)]
    bad = int((~stamps.readable).sum())
    found = [
        (gap, "gap(s)"),
        (len(pairs), "time(s) twice"),
        (off, "record(s) off the step"),
        (bad, "row(s) without time"),
    ]
    told = ", ".join(f"{n} {what}" for n, what in found if n)
    mended: dict[str, Any] = {"off_grid": "drop"} if off else {}
    if pairs and not any(differences(table, a, b) for a, b in pairs[:50]):
        mended["drop_duplicates"] = True
    return ([f"faults: {told}"] if told else []), mended


def _one_series(table: Table, stamps: Stamps) -> tuple[dict[str, str], Array]:
    """Columns that tell rows of one time apart, with the values of the first row; and the rows of that series."""
    readable = np.flatnonzero(stamps.readable)
    rows, where = readable, {}
    wall = stamps.wall
    for _ in range(4):
        found, count = np.unique(wall[rows], return_counts=True)
        if (count > 1).mean() <= 0.1:
            break
        best, least, value = "", float((count - 1).sum()), ""
        for k, name in enumerate(table.header):
            cells = table.column(k)
            if name in where or not name or not 2 <= len(cells.words) <= 3000:
                continue
            codes = cells.codes[rows]
            first = codes[0]
            mine = rows[codes == first]
            again = float((np.unique(wall[mine], return_counts=True)[1] - 1).sum())
            covers = len(np.unique(wall[mine])) / len(found)
            if again < least and covers > 0.8 and not re.fullmatch(r"[\d.-]*\.\d+", str(cells.words[first])):
                best, least, value = name, again, str(cells.words[first])
        if not best:
            break
        where[best] = value
        cells = table.cells(best)
        rows = rows[cells.words[cells.codes[rows]] == value]
    return where, rows


# ---------------------------------------------------------------------------------------------- columns


def _columns(table: Table) -> Iterator[str]:
    """Each column in one line: least, mean and most of numbers, examples of texts."""
    for k, name in enumerate(table.header):
        cells = table.column(k)
        shown = name if name and table.header.count(name) == 1 else f"c{k + 1}"
        try:
            values, wrong = table.numbers(shown)
        except InputError as error:
            yield f"  {shown}: {error}"
            continue
        good = ~np.isnan(values)
        if good.sum() > 0.5 * len(values) or (good.any() and not wrong.any()):
            seen = values[good]
            line = f"  {shown}: {seen.min():g} … {seen.max():g}, mean {seen.mean():.5g}"
            if (~good & ~wrong).any():
                line += f", {int((~good & ~wrong).sum())} blank"
            if wrong.any():
                line += f", {int(wrong.sum())} no number ({cells.words[cells.codes[np.flatnonzero(wrong)[0]]]!r})"
            if (sentinel := np.isin(values, SENTINELS)).any():
                line += f", {int(sentinel.sum())} × {values[sentinel][0]:g}: missing? (na_values)"
            yield line
        else:
            words = ", ".join(str(w) for w in cells.words[:3])
            yield f"  {shown}: {len(cells.words)} text(s): {words[:90]}{' …' if len(cells.words) > 3 else ''}"


def _of_numbers(table: Table) -> Iterator[tuple[str, Array, Array]]:
    """Columns with a name of their own that mostly hold numbers: the name, the numbers, which are unreadable."""
    for name in table.header:
        if name and table.header.count(name) == 1:
            with suppress(InputError):
                values, wrong = table.numbers(name)
                if (~np.isnan(values)).sum() > 0.5 * len(values):
                    yield name, values, wrong


def _meaning_missing(table: Table) -> list[Any]:
    """Words and numbers in columns of numbers that seem to mean missing."""
    found: list[Any] = []
    for name, values, wrong in _of_numbers(table):
        cells = table.cells(name)
        words = cells.words[np.unique(cells.codes[wrong])]
        found += [str(w) for w in words if re.fullmatch(r"[A-Za-z/. -]{1,12}", w)]
        found += [int(v) if v == int(v) else float(v) for v in np.unique(values[np.isin(values, SENTINELS)])]
    return list(dict.fromkeys(found))


def _block(path: Path, keys: dict[str, Any], where: dict[str, str], table: Table) -> str:
    name, file = _name(path), _file(path, keys)
    lines = _table_of(f"files.{name}", path, keys).split("\n")
    if keys.get("time_zone") == "UTC" and not file.format and not re.search("utc|gmt", str(file.time_column), re.I):
        at = next(k for k, line in enumerate(lines) if line.startswith("time_zone"))
        lines[at] += UNCHECKED
    quantity, column, unit = _value_column(table, file, where)
    said = dict(file=name) | ({} if file.hours_across else dict(column=column)) | dict(unit=unit)
    inner = ", ".join(_toml(said | ({"where": where} if where else {})))
    lines += ["", "# in a site, for example:", f"# series.{quantity} = {{ {inner} }}"]
    return "\n".join(lines)


def _of_jobs(table: Table) -> dict[str, Any]:
    """The columns of a table of jobs: there are GPUs and durations in it."""
    columns = {key: [name for name in table.header if re.search(text, name, re.I)] for key, text in JOBS.items()}
    found = {key: names[0] for key, names in columns.items() if names}
    return found if {"gpus_column", "duration_column"} <= found.keys() else {}


def _value_column(table: Table, file: File, where: dict[str, str]) -> tuple[str, str, str]:
    """The quantity, the column that seems to hold it, and its unit."""
    said = [v for k, v in file.__dict__.items() if k.endswith("_column")]
    times = {name for v in said for name in (v if isinstance(v, list) else [v])} | set(where)
    numeric = [name for name, *_ in _of_numbers(table) if name not in times]
    for pattern, quantity, unit in UNITS:
        for name in numeric:
            if re.search(pattern, name, re.I):
                return quantity, name, unit
    most = max(numeric, key=lambda name: len(table.cells(name).words), default="?")
    return "price", most, "usd/MWh"


def _toml(keys: dict[str, Any]) -> list[str]:
    def value(v: Any) -> str:
        if isinstance(v, dict):
            return "{ " + ", ".join(f"{key(k)} = {value(x)}" for k, x in v.items()) + " }"
        if isinstance(v, list):
            return "[" + ", ".join(value(x) for x in v) + "]"
        return json.dumps(v, ensure_ascii=False)

    def key(k: str) -> str:
        return k if re.fullmatch(r"[A-Za-z0-9_-]+", k) else json.dumps(k, ensure_ascii=False)

    return [f"{key(k)} = {value(v)}" for k, v in keys.items()]
