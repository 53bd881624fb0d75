"""`@compiled`: numba's compiler, with machine code kept on disk between runs for as long as it is right.

Numba's own cache compares a kernel with the file it stands in, so that a kernel keeps old code of kernels it calls
in other files, and it takes a damaged file or a read-only disk for an error. Here a file of machine code counts only
if it is whole and was made from the same sources of all kernels by the same versions for the same processor.
It is written in one move, so that any number of processes may start at once. Where nothing can be written, every
start compiles anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import stat
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature

PACKAGE = Path(__file__).resolve().parent
MARK = b"@compiled"  # what a source file with kernels contains
DIGEST_BYTES = 32
# Environment variables of MPI launchers; MPI itself is not needed here.
RANK_IN = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function at its first call, or load what an earlier process compiled; options as of `numba.njit`."""
    if function is None:
        return partial(compiled, **options)
    kernel: Any = numba.njit(**options)(function)
    if hasattr(kernel, "enable_caching"):  # not so while numba is switched off
        kernel._cache = KernelCache(function)
    return kernel


class KernelCache(_Cache):
    """The machine code of one kernel, a file for each signature and processor."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.enabled = True

    @property
    def cache_path(self) -> str:
        """The folder that is tried first."""
        return str(next(folders()))

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False

    def flush(self) -> None:
        """Nothing to do: what is compiled anew is written over the old."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel for a signature, if some folder has it whole and up to date."""
        target_context.refresh()
        if self.enabled:
            file, key = self.entry(sig, target_context.codegen())
            for folder in folders():
                if (payload := read(folder / file, key)) is not None:
                    return CompileResult._rebuild(target_context, *pickle.loads(payload))
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a kernel in the first folder that takes it."""
        if not self.enabled or data.library.has_dynamic_globals or stamp() is None:
            return
        file, key = self.entry(sig, data.codegen)
        payload, refusal = dumps(data._reduce()), ""
        for folder in folders():
            try:
                write(folder / file, key, payload)
            except OSError as error:
                refusal = refusal or f"{folder}: {error.strerror or error}"
            else:
                if refusal:
                    tell(f"compiled code is kept in {folder}, since it cannot be in {refusal}")
                return
        tell(f"compiled code cannot be kept, so every start compiles anew, for half a minute: {refusal}")

    def entry(self, sig: Any, codegen: Any) -> tuple[str, bytes]:
        """File name, and the digest of all that the code depends on. The order of a record's fields is part of it."""
        arguments = [f"{kind}{getattr(kind, 'fields', '')}" for kind in normalize_signature(sig)[0]]
        what = repr((arguments, codegen.magic_tuple(), sys.implementation.cache_tag)).encode()
        return f"{self.name}-{hashlib.sha256(what).hexdigest()[:16]}.nbc", digest(what, stamp() or b"")


@cache
def stamp() -> bytes | None:
    """Digest of the sources of all kernels and the versions that compile them; None where there are no sources."""
    versions = repr((numba.__version__, np.__version__)).encode()
    sources = [path.read_bytes() for path in sorted(PACKAGE.rglob("*.py"))]
    kernels = [source for source in sources if MARK in source]
    return digest(versions, *kernels) if kernels else None


def digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def folders() -> Iterator[Path]:
    """Where machine code may lie: numba's folder if one is set, beside the package, the user's cache, a temporary one.

    The last two hold what the user alone may write: whoever writes machine code runs it.
    """
    own = f"decomp-{os.getuid()}-{hashlib.sha256(os.fsencode(PACKAGE)).hexdigest()[:16]}"
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(given) / own
    yield PACKAGE / "__pycache__"
    for parent in (os.environ.get("XDG_CACHE_HOME") or "~/.cache", os.environ.get("TMPDIR") or "/tmp"):
        folder = Path(os.path.expanduser(parent)) / own
        if folder.is_absolute() and is_private(folder):
            yield folder


def is_private(folder: Path) -> bool:
    """Whether a folder, itself and no link to one, is the user's and nobody else may write to it; or is not there."""
    try:
        about = folder.lstat()
    except OSError:
        return True
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o022


def read(path: Path, key: bytes) -> bytes | None:
    """What was written under the key; None if there is nothing, or it is for another key or not whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    head, payload = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    return payload if head == digest(key, payload) else None


def write(path: Path, key: bytes, payload: bytes) -> None:
    """Put a payload under a key, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial_path = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}")
    try:
        with open(partial_path, "xb") as file:
            file.write(digest(key, payload) + payload)
        os.replace(partial_path, path)
    finally:
        partial_path.unlink(missing_ok=True)


@cache
def tell(message: str) -> None:
    """One line for the user, however many kernels and ranks it is about."""
    if all(os.environ.get(name, "0") == "0" for name in RANK_IN):
        logging.getLogger("decomp").warning("decomp: %s", message)
