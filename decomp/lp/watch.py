"""When long work has to end: one deadline, and one place where stop signals are heard, in every process.

HiGHS and Pyomo know of neither. What calls them asks here, so that nobody on the way down has to pass it on.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

TICK_SECONDS = 0.1
# SIGHUP comes from a terminal that is closed, SIGUSR1 from batch systems before a limit
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Interrupted(Exception):
    """A stop signal has been heard, or the time is over: what is known is kept, nothing is begun."""


class _Watch:
    """The deadline (seconds of the monotonic clock) and whether a stop signal has been heard."""

    end = np.inf
    heard: Callable[[], bool] | None = None


def catch(numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Handle signals, from the main thread alone, which others cannot; the handlers before, by number.

    A hang-up that is ignored, as behind nohup, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    kept = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    return {number: signal.signal(number, handler) for number in numbers if number not in kept}


def listen(heard: Callable[[], bool] | None) -> Callable[[], bool] | None:
    """From now on `heard` says whether a stop signal has come (None: none can); returns who said so before."""
    before, _Watch.heard = _Watch.heard, heard
    return before


def end_in(seconds: float) -> None:
    """From now on long work ends in so many seconds; inf: it may take as long as it likes."""
    _Watch.end = time.monotonic() + seconds


def seconds_left() -> float:
    """Until long work has to end."""
    return _Watch.end - time.monotonic()


def signalled() -> bool:
    """Whether a stop signal has been heard."""
    return _Watch.heard is not None and _Watch.heard()


def over() -> bool:
    """Whether long work has to end now."""
    return signalled() or seconds_left() <= 0.0


def check() -> None:
    """Raise Interrupted if long work has to end now."""
    if over():
        raise Interrupted


@contextmanager
def limited(seconds: float, *, deaf: bool = False) -> Iterator[None]:
    """Inside, long work ends in so many seconds at the latest.

    `deaf` : in no fewer either, whatever the deadline and signals say: for the few seconds that what was found needs
    to become a schedule.
    """
    end, heard = _Watch.end, _Watch.heard
    inner = time.monotonic() + seconds
    _Watch.end = inner if deaf else min(end, inner)
    _Watch.heard = None if deaf else heard
    try:
        yield
    finally:
        _Watch.end, _Watch.heard = end, heard


@contextmanager
def breaking_off(*packages: str) -> Iterator[None]:
    """Inside, Interrupted is raised wherever code of `packages` runs as soon as long work has to end.

    For work in pure Python that nothing is left of if it fails. Nowhere else: an exception would be lost in what
    other packages run inside it, such as callbacks of the garbage collector. Outside the main thread, and where there
    are no timers, it is raised before and after.
    """
    check()
    ticking = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not ticking:
        yield
        check()
        return

    def tick(number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in packages:
            check()

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
