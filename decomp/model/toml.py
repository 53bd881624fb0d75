"""TOML files: specs of ingest, and options."""

from __future__ import annotations

import os
import sys
from typing import Any

from decomp.model.strict import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

__all__ = ["read_toml", "tomllib"]


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a file in UTF-8, with or without a byte order mark.

    Raises
    ------
    InputError : it is no TOML.
    """
    with open(path, "rb") as stream:
        data = stream.read()
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{os.fspath(path)}: not a TOML file: {error}") from error
