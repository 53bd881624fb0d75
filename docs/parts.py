"""Parts of pages that are made from the code and from measured rows, as Markdown."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from decomp.bench.tables import OURS, Columns, Row, by_instance, one_digit, table
from decomp.devices import KINDS
from decomp.families import FAMILIES
from decomp.ingest.keys import key_reference
from decomp.ingest.spec import Spec
from decomp.ingest.units import QUANTITIES
from decomp.model import result
from decomp.model.instance import TABLES as INSTANCE_TABLES
from decomp.model.options import METHODS, Options
from decomp.model.result import Status
from decomp.model.table import Table
from decomp.model.text import number, percent
from decomp.solver.methods import METHODS as PHASES
from drivers.__main__ import GROUPS, verbs

MEASURED = Path(__file__).parent / "measured"  # JSON lines, one a row, as `python -m drivers.bench` writes them
INSTANCE: Columns = (("family", "family", str), ("sites", "sites", number), ("seed", "seed", str))
REACHED: Columns = (
    ("bound, USD", "bound", number),
    ("incumbent, USD", "incumbent", number),
    ("gap", "gap", percent),
)
LIMITS = (60, 300)  # seconds, of the solves of small fleets
SIDES = (("`solve`", OURS), ("SCIP", "scip"))
LOOP: Columns = (("sites", "sites", number), ("ranks", "ranks", number))
TABLES: dict[str, Columns] = {
    "fleets": (
        *INSTANCE,
        ("jobs", "jobs", number),
        ("gap asked", "rel_gap", percent),
        ("limit, s", "limit_seconds", number),
        *REACHED,
        ("wall s", "seconds", number),
        ("check, s", "check_seconds", one_digit),
    ),
    "small-fleets": (
        *INSTANCE,
        *((f"{heading}, {limit} s", f"{method} {limit}", percent) for limit in LIMITS for heading, method in SIDES),
        ("certified", "certified", str),
    ),
    "linear-programs": (
        *INSTANCE,
        ("method", "method", str),
        ("wall s", "seconds", number),
        ("s to 0.1 %", "within_01", one_digit),
        ("outcome", "outcome", str),
    ),
    "budgets": (
        ("budget, t", "budget_t", one_digit),
        ("which is", "note", str),
        *REACHED,
        ("gap, USD", "gap_usd", number),
        ("abatement price, USD/t", "carbon_price", number),
        ("outcome", "outcome", str),
    ),
    "methods": (*INSTANCE, ("lagrangian", "lagrangian", percent), ("hybrid", "hybrid", percent)),
    "frontier": (
        ("seed", "seed", str),
        ("budgets", "budgets", number),
        ("mean gap", "mean_gap", percent),
        ("largest gap", "most_gap", percent),
        ("wall s", "seconds", number),
        ("a cold solve, s", "cold_mean", one_digit),
        ("the slowest, s", "cold_most", str),
    ),
    "rolling": (
        ("step, h", "step_h", number),
        ("windows", "windows", number),
        ("start", "start", str),
        ("iterations of the bound", "bound_iterations", number),
        ("other iterations", "other_iterations", number),
        ("net cost, USD", "net_cost", number),
        ("mean gap", "mean_gap", percent),
    ),
    "replay": (
        *LOOP,
        ("processor s along the path", "path_seconds", one_digit),
        ("replayed, s", "replayed_seconds", one_digit),
        ("off by", "off", percent),
        ("wall s on two cores", "wall_seconds", one_digit),
    ),
    "distance": (
        ("sites", "sites", number),
        ("line, delay one way", "line", str),
        ("message of MPI, ms", "message_ms", lambda value: number(value, 2)),
        ("runs", "runs", str),
        ("solve, wall s", "wall_seconds", one_digit),
        ("its loop, wall s", "loop_seconds", one_digit),
        ("replayed, s", "replayed_seconds", one_digit),
        ("off by", "off", percent),
    ),
    "foreseen": (
        *LOOP,
        ("loop, s", "loop_seconds", number),
        ("root alone", "root_seconds", number),
        ("messages", "message_seconds", number),
        ("sites and moves", "work_seconds", number),
        ("loop with messages in a tree", "tree_seconds", number),
    ),
}
RESULT_TABLES: dict[str, type[Table]] = {
    cls.label(): cls for cls in vars(result).values() if isinstance(cls, type) and cls in Table.__subclasses__()
}
EXIT_CODES = {
    Status.GAP_REACHED: "the gap asked for is reached",
    Status.LIMIT: "stopped at a limit, by a signal or for lack of progress; the result holds what was found, "
    "which may be a bound without a schedule",
    Status.INFEASIBLE: "proven infeasible; the result holds the [proof](bound.md#proof-that-there-is-no-schedule)",
    Status.FAILED: "internal failure, a rank that keeps the others waiting for too long, or no room on the disk",
}


def measured_rows(name: str) -> list[dict[str, Any]]:
    """Rows of one file of measurements."""
    return [json.loads(line) for line in (MEASURED / f"{name}.jsonl").read_text("utf-8").splitlines()]


def measured(name: str) -> str:
    """A table of measured rows with the date, machine and command of each kind; gap and limit stand in the rows."""
    rows, lines = measured_rows(name), dict[str, None]()
    for row in rows:
        machine = row["machine"]
        command = re.sub(r"(--rel-gap|--time-limit) [\d.e-]+", r"\1 …", row["command"])
        lines[f"- {row['run'][:10]}, {machine['cores']} cores {machine['cpu']}: `{command}`"] = None
    shown = side_by_side(rows) if name == "small-fleets" else rows
    return "\n".join([*table(shown, TABLES[name]), "", *lines]) + "\n"


def side_by_side(rows: Sequence[Row]) -> list[Row]:
    """One row an instance: the gaps of all methods after all limits, and the limits whose results were certified."""
    found: list[Row] = []
    for same in by_instance(rows).values():
        gaps = {f"{row['method']} {row['limit_seconds']:g}": row["gap"] for row in same}
        limits = sorted(row["limit_seconds"] for row in same if row.get("certified"))
        found.append({**same[0], **gaps, "certified": ", ".join(f"{limit:g} s" for limit in limits)})
    return found


def options_table() -> str:
    """Every option with its default, legal values and meaning."""
    return _table(("option", "default", "legal values", "meaning"), Options.describe())


def keys_tables() -> str:
    """Every key of a spec with its meaning and default, a table for each part of the spec; units of series."""
    parts: dict[str, list[tuple[str, ...]]] = {}
    for name, meaning, usual in key_reference(Spec):
        part = re.split(r"[.\[]", name)[0] if re.search(r"[.\[]", name) else "the spec itself"
        words = meaning.replace("|", "\\|"), usual.replace("|", "\\|")
        parts.setdefault(part, []).append((f"`{name}`", words[0], f"`{words[1]}`" if words[1] else ""))
    texts = [f"## {part}\n\n{_table(('key', 'meaning', 'default'), rows)}" for part, rows in parts.items()]
    units = [
        (f"`{name}`", ", ".join(f"`{unit}`" for unit in q.units) or "`CURRENCY/MWh`, `CURRENCY/kWh`")
        for name, q in QUANTITIES.items()
    ]
    return "\n".join([*texts, f"## Units of series\n\n{_table(('series', 'units'), units)}"])


def methods_table() -> str:
    """The phases of every method."""
    rows = [(f"`{name}`", " → ".join(p.name for p in PHASES[name])) for name in METHODS if name in PHASES]
    return _table(("`--method`", "phases"), rows)


def families_table() -> str:
    """Every family with the first line of its docstring."""
    return _table(("family", "what"), [(f"`{k}`", (f.__doc__ or "").splitlines()[0]) for k, f in FAMILIES.items()])


def device_text(name: str) -> str:
    """A kind of device: what it is, and its settings."""
    rows = [
        (f"`{f.name}`", f.metadata["text"], f.metadata["unit"], "" if f.default in (None, "") else f"{f.default:g}")
        for f in KINDS[name].settings()
    ]
    return f"{inspect.getdoc(KINDS[name])}\n\n" + _table(("setting", "what", "unit", "default"), rows)


def verbs_table() -> str:
    """The commands by group, with the first line of each."""
    known = verbs()
    rows = [(group, f"`{verb}`", known[verb]) for group, members in GROUPS.items() for verb in members if verb in known]
    return _table(("to", "verb", "what it does"), rows)


def exit_codes_table() -> str:
    """The exit codes of `solve`."""
    bad = (2, "bad usage or bad input; one line says which dataset or file, where, the value, and what would be right")
    rows = [bad, *((status.exit_code, EXIT_CODES[status]) for status in Status)]
    return _table(("exit code", "of `solve`"), sorted(rows))


def fields_of(tables: Mapping[str, type[Table]]) -> str:
    """Every array of some tables with its dimensions, unit, legal range and default."""
    texts = []
    for name, cls in tables.items():
        rows = [
            (f"`{f.name}`", ", ".join(f.metadata["dims"]), f.metadata["unit"], _range(f.metadata), _default(f.metadata))
            + (f.metadata["long_name"],)
            for f in cls.columns()
        ]
        text = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        heading = ("array", "dimensions", "unit", "legal", "default", "meaning")
        texts.append(f"### {name}\n\n{text}\n\n{_table(heading, rows)}")
    return "\n".join(texts)


def _range(meta: Mapping[str, Any]) -> str:
    low, high = meta["low"], meta["high"]
    words = [f"≥ {low:g}"] * bool(np.isfinite(low)) + [f"≤ {high:g}"] * bool(np.isfinite(high))
    words += ["or inf"] * meta["infinite"] + ["or NaN"] * meta["missing"]
    return " ".join(words)


def _default(meta: Mapping[str, Any]) -> str:
    default = meta["default"]
    return "" if default is None or default == "" else f"{default:g}" if isinstance(default, float) else str(default)


def help_texts() -> str:
    """The help of every command."""
    texts = []
    for verb in verbs():
        parser = importlib.import_module(f"drivers.{verb}").parser()
        texts.append(f"## {verb}\n\n```text\n{parser.format_help()}```\n")
    return "\n".join(texts)


def _table(heading: Sequence[str], rows: Any) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "options": options_table,
    "keys": keys_tables,
    "methods": methods_table,
    "families": families_table,
    "exit-codes": exit_codes_table,
    "verbs": verbs_table,
    "instance-tables": partial(fields_of, INSTANCE_TABLES),
    "result-tables": partial(fields_of, RESULT_TABLES),
    "commands": help_texts,
    **{f"device-{name}": partial(device_text, name) for name in KINDS},
    **{f"measured-{name}": partial(measured, name) for name in TABLES},
}


def write_generated(folder: Path) -> None:
    """Write the generated parts of pages into a folder; what has not changed keeps its time stamp."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((f"{name}.md", part()) for name, part in PARTS.items()):
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
