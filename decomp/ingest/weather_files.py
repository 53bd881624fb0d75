"""Files of weather services, read by pvlib.iotools and handed on as tables whose first column is the time."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np

from decomp.ingest.layout import Layout
from decomp.ingest.table import Table
from decomp.model.instance import InputError

TIME = "time"


def parse_weather(text: str, name: str, layout: Layout) -> Table:
    """The table of a weather file; columns are named as in the file, those of EPW as by pvlib.

    Raises
    ------
    InputError : pvlib has no such reader, or cannot read the file by it.
    """
    import pandas as pd
    from pvlib import iotools

    said: dict[str, Any] = {"time_column": TIME}
    kind = layout.pvlib
    if kind == "pvgis":
        typical = any(line.startswith("month,year") for line in text.split("\n", 40)[:40])
        kind, said["typical"] = ("pvgis_tmy", True) if typical else ("pvgis_hourly", False)
    if kind.startswith("nsrdb_psm") and not hasattr(iotools, f"read_{kind}"):
        kind = "psm3"  # the name in older releases
    reader = getattr(iotools, f"read_{kind}", None)
    if reader is None:
        known = sorted(r.removeprefix("read_") for r in dir(iotools) if r.startswith("read_"))
        raise InputError(f"pvlib = {layout.pvlib!r}: pvlib.iotools has no such reader; there are {', '.join(known)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = _read(reader, kind, text)
            index = pd.DatetimeIndex(frame.index)
    except Exception as error:  # whatever a library raises on a file that is not what it says
        words = " ".join(str(error).split())[:160]
        first = next((k + 1 for k, line in enumerate(text.split("\n")) if line.strip()), 1)
        raise InputError(
            f"{name}, line {first}: cannot be read as {layout.pvlib} ({type(error).__name__}: {words}); "
            "is the format right?"
        ) from error
    index = index.tz_localize("UTC") if index.tz is None else index
    stamps = [moment.isoformat() for moment in index]
    cells = frame.reset_index(drop=True).astype(object).map(lambda v: "" if v is None else str(v))
    cells.insert(0, TIME, stamps)
    line = _first_row(text, len(frame), kind)
    said |= _clock(index)
    return Table(name, layout, [str(c).strip() for c in cells.columns], cells, first_line=line, said=said)


def _read(reader: Any, kind: str, text: str) -> Any:
    """Call a reader of pvlib so that columns keep their names and years are those of the file."""
    import inspect
    import tempfile
    from pathlib import Path

    takes = inspect.signature(reader).parameters
    wanted = dict(map_variables=False, coerce_year=None, roll_utc_offset=None)
    options: dict[str, Any] = {k: v for k, v in wanted.items() if k in takes}
    if kind == "epw":
        options.pop("map_variables", None)
    if kind.startswith("pvgis"):
        options["pvgis_format"] = "csv"
    try:
        result = reader(io.StringIO(text), **options)
    except (TypeError, OSError, ValueError) as error:
        if not isinstance(error, TypeError):
            raise
        with tempfile.TemporaryDirectory() as folder:  # readers that take names of files only
            path = Path(folder) / "weather"
            path.write_text(text, encoding="utf-8")
            result = reader(str(path), **options)
    return next(part for part in result if hasattr(part, "columns")) if isinstance(result, tuple) else result


def _first_row(text: str, n: int, kind: str) -> int:
    """Line of the first row of values."""
    above = {"epw": 8, "tmy3": 2, "psm3": 3, "nsrdb_psm4": 3, "nsrdb_psm3": 3}
    if kind in above:
        return above[kind] + 1
    for k, line in enumerate(text.split("\n")):
        if line.lower().startswith("time"):
            return k + 2
    return max(len(text.rstrip("\n").split("\n")) - n + 1, 1)


def _clock(index: Any) -> dict[str, Any]:
    """The step of the stamps; between the hours they are in the middle of their interval."""
    seconds = (index.tz_convert("UTC").tz_localize(None).to_numpy("M8[s]")).astype(np.int64)
    apart = np.diff(seconds)
    if not len(apart):
        return {}
    found, count = np.unique(apart, return_counts=True)
    step = int(found[count.argmax()])
    local = index.tz_localize(None).to_numpy("M8[s]").astype(np.int64)
    said: dict[str, Any] = {"step_min": step / 60}
    if step > 0 and np.median(local % step) != 0:
        said["stamp"] = "middle"
    return said
