"""Standard output and error that never fail: that nobody reads them any more, or can, neither ends nor changes a run.

A closed pipe, a full disk, a stream that was closed from the start, a terminal that lacks a letter: what does not get
through is lost, and the run goes on to its own exit code. What libraries print themselves (HiGHS does, with logging
off) goes to standard error, so that standard output holds what a command says and nothing else.
"""

from __future__ import annotations

import ctypes
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

OUT, ERR = 1, 2


class LossyFile(io.FileIO):
    """A file whose writes never fail: what it does not take is lost, and `lost` hears why."""

    def __init__(self, descriptor: int, lost: Callable[[OSError], None] = lambda error: None) -> None:
        super().__init__(descriptor, "w")
        self.lost = lost

    def write(self, data: Any) -> int:
        """Write what can be written; a pipe that does not wait is waited for."""
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as error:
            self.lost(error)
            return memoryview(data).nbytes
        return int(written)


def _text(file: LossyFile, like: TextIO | None) -> TextIO:
    """Text into a file, in the encoding of the stream it stands for; letters that it lacks become question marks."""
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=like.encoding if like is not None else "utf-8",
        errors="replace",
        line_buffering=like is None or getattr(like, "line_buffering", True),
        write_through=getattr(like, "write_through", False),
    )


@contextmanager
def lossy_streams() -> Iterator[None]:
    """Inside, standard output and error never fail; if somebody else has taken their places, nothing is changed."""
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        yield
        return
    _occupy()
    before, own = (sys.stdout, sys.stderr), os.dup(OUT)
    told = False

    def tell(error: OSError) -> None:
        nonlocal told
        if not told and not isinstance(error, BrokenPipeError):
            reason = os.strerror(error.errno or 0).lower()
            print(f"warning: standard output is lost ({reason}), the run goes on", file=sys.stderr)
        told = True

    os.dup2(ERR, OUT)
    sys.stdout, sys.stderr = _text(LossyFile(own, tell), before[0]), _text(LossyFile(os.dup(ERR)), before[1])
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        ctypes.CDLL(None).fflush(None)  # what libraries have printed and C still holds
        os.dup2(own, OUT)
        sys.stdout, sys.stderr = before


def _occupy() -> None:
    """Put something where a standard stream is closed: the next file to be opened would get its number, and its text.

    What is put there can only be read, so that whoever writes to it hears that nothing gets through.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)  # which gets the lowest number that is free
