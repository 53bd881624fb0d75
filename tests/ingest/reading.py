"""One series read from a text, for the tests of ingestion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from decomp.ingest.keys import record
from decomp.ingest.layout import File, Series
from decomp.ingest.library import Library
from decomp.ingest.series import read_series
from decomp.ingest.spec import Horizon

Keys = dict[str, Any]


def read(
    folder: Path, text: str | bytes, file: Keys, series: Keys, quantity: str = "price", **horizon: Any
) -> tuple[np.ndarray, Library]:
    """A series over three hours from 2024-05-06T01:00Z, unless said otherwise, and the library with its notes."""
    (folder / "f.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    keys = dict(start="2024-05-06T01:00Z", periods=3, period_min=60.0) | horizon
    given = dict(file="f", unit="usd/MWh", column="v") | series
    library = Library(
        folder, {"f": record(File, dict(path="f.csv") | file, "files.f")}, {"eur": 1.0, "gbp": 1.0, "aud": 1.0}
    )
    tags = {"time_zone": keys.pop("site_zone", "UTC")}
    values = read_series(library, quantity, record(Series, given, f"series.{quantity}"), Horizon(**keys), tags)
    return values, library
