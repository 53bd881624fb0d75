"""The text of a data file: unpacked and decoded by what the file holds, not by its name."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from decomp.model.instance import InputError

NO_TEXT = {
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV",
    b"%PDF": "a PDF",
    b"SQLite": "a database",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it first",
    b"CDF": "a NetCDF file",
}


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what can go wrong while reading a file into one sentence."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*")], 1) if path.parent.is_dir() else []
        hint = f"; there is {near[0]}" if near else ""
        raise InputError(f"{path.name}: no such file in {path.parent} (see --data){hint}") from error
    except IsADirectoryError as error:
        raise InputError(f"{path.name}: is a folder; path must name a file in it") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, ValueError) as error:
        raise InputError(f"{path.name}: cannot be read: {error}") from error


def read_text(data: bytes, path: Path, encoding: str = "auto") -> tuple[str, str]:
    """Text of a file's bytes, with \\n at the ends of lines, and the encoding it was read by.

    Raises
    ------
    InputError : broken or no text; says what it is.
    """
    with readable(path):
        data = unpack(data, path.name)
    for mark, what in NO_TEXT.items():
        if data.startswith(mark):
            raise InputError(f"{path.name}: is no text but {what}")
    text, used = _decode(data, path.name, encoding)
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise InputError(f"{path.name}: is empty")
    if text.lstrip()[:14].lower().startswith(("<!doctype html", "<html")):
        raise InputError(f"{path.name}: is a web page, not a table: download the file itself")
    return text.replace("\r\n", "\n").replace("\r", "\n"), used


def unpack(data: bytes, name: str) -> bytes:
    """The bytes inside gzip, bzip2, xz or a zip archive of one member."""
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"BZh"):
        return bz2.decompress(data)
    if data.startswith(b"\xfd7zXZ\x00"):
        return lzma.decompress(data)
    if data.startswith(b"PK\x03\x04") or data.startswith(b"PK\x05\x06"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            hidden = ("__MACOSX", ".")
            names = [m for m in archive.namelist() if not m.endswith("/")]
            members = [m for m in names if not m.startswith(hidden) and not Path(m).name.startswith(".")]
            if "[Content_Types].xml" in members:
                raise InputError(f"{name}: is a workbook (xlsx); save the sheet as CSV")
            if len(members) != 1:
                raise InputError(
                    f"{name}: is a zip archive of {len(members)} members ({', '.join(members[:4])}); "
                    "must be one: unpack it"
                )
            return archive.read(members[0])
    return data


def _decode(data: bytes, name: str, encoding: str) -> tuple[str, str]:
    if encoding != "auto":
        try:
            codecs.lookup(encoding)
            return data.decode(encoding), encoding
        except LookupError as error:
            raise InputError(
                f"{name}: encoding = {encoding!r}: no such encoding; try utf-8, latin-1 or cp1252"
            ) from error
        except UnicodeError as error:
            line = data[: getattr(error, "start", 0)].count(b"\n") + 1
            raise InputError(f"{name}, line {line}: is not {encoding}: {error}; see encoding") from error
    guess = _wide(data)
    if guess is None and b"\0" in data[:4096]:
        raise InputError(f"{name}: is no text: it has zero bytes")
    try:
        return data.decode(guess or "utf-8-sig"), guess or "utf-8"
    except UnicodeDecodeError as error:
        if guess:
            raise InputError(f"{name}: is not the {guess} that it begins as: {error.reason}") from error
        return data.decode("latin-1"), "latin-1"


def _wide(data: bytes) -> str | None:
    """The encoding of text in units of two or four bytes: by its mark, or by where the zero bytes stand."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = data[:400]
    for odd, guess in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) > 3 and head[odd::2].count(0) > 0.8 * len(head[odd::2]) and not head[1 - odd :: 2].count(0):
            return guess
    return None
