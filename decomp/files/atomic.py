"""Files that are there whole or not at all, whatever happens while they are written: pictures, text, tables as CSV."""

from __future__ import annotations

import csv
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PathLike = str | os.PathLike[str]


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """A temporary file beside the one that `path` leads to; takes its place at the end, vanishes on any failure.

    A link stays, and what it leads to is replaced, with its permissions. A device or a pipe is written into.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(21, "is a directory", str(path))
    special = target.exists() and not target.is_file()
    folder = Path(tempfile.gettempdir()) if special else target.parent
    # a name of its own for runs on several hosts that write the same file, and no longer than names may be
    temporary = folder / f"{target.name[:40]}.tmp-{secrets.token_hex(6)}"
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
    try:
        yield temporary
        if special:
            with open(temporary, "rb") as made, open(target, "wb") as stream:
                shutil.copyfileobj(made, stream)
        else:
            with open(temporary, "rb+") as stream:
                os.fsync(stream.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
    except OSError as error:
        raise type(error)(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: PathLike, text: str) -> None:
    """Write a text as UTF-8; bytes of file names that are none go through as they are."""
    with atomic_path(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_rows(path: PathLike, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV."""
    with atomic_path(path) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
