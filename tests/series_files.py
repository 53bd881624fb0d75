"""Small CSV files for the tests of ingestion."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from pathlib import Path


def times(start: str, n: int, minutes: float, suffix: str = "Z") -> list[str]:
    first = datetime.fromisoformat(start)
    return [f"{first + k * timedelta(minutes=minutes):%Y-%m-%dT%H:%M}{suffix}" for k in range(n)]


def write(path: Path, header: str, *columns: list[object]) -> None:
    rows = [header, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt") as stream:
        stream.write("\n".join(rows) + "\n")
