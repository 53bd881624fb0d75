"""A model of HiGHS as an MPS file, whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import highspy

from decomp.files.atomic import PathLike, atomic_path
from decomp.model.instance import InputError


def write_model(highs: highspy.Highs, path: PathLike) -> None:
    """Write the model in HiGHS's own words.

    Raises
    ------
    InputError : HiGHS cannot write to such a path.
    OSError : the disk does not take all of it, which HiGHS does not say.
    """
    with atomic_path(path) as partial:
        named = partial.with_name(partial.name + ".mps")  # HiGHS chooses the format by the ending
        if str(named).encode(errors="replace") != os.fsencode(named):
            raise InputError(f"{ascii(os.fspath(path))}: HiGHS writes to paths in UTF-8 alone")
        try:
            if highs.writeModel(str(named)) == highspy.HighsStatus.kError or not _is_whole(named):
                raise OSError(errno.ENOSPC, "the whole model could not be written; is there room on the disk?")
            os.replace(named, partial)
        finally:
            named.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    """Whether a file is there and ends as MPS files do."""
    if not path.exists():
        return False
    with open(path, "rb") as file:
        file.seek(-min(path.stat().st_size, 16), os.SEEK_END)
        return file.read().rstrip().endswith(b"ENDATA")
