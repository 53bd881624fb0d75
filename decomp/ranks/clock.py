"""Seconds since the process began: this rank's own, and the root's, by which all deadlines go.

Clocks of the wall differ from node to node, and may be set meanwhile; none is asked for the time.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def _age() -> float:
    """Seconds since this process started; 0 where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
        if time.process_time() / (os.cpu_count() or 1) - 1.0 <= age < 1e8:
            return max(age, 0.0)
    return 0.0


_BIRTH = time.monotonic() - _age()
_root_lead = 0.0


def process_seconds() -> float:
    """Wall seconds since the process started (since this module's import where that is not known)."""
    return time.monotonic() - _BIRTH


def restart_clock() -> None:
    """Let `process_seconds` count from now: in a session a solve begins when it is asked for."""
    global _BIRTH
    _BIRTH = time.monotonic()
    follow_root(0.0)


def root_seconds() -> float:
    """Wall seconds since the root's process started, on every rank (to a few milliseconds)."""
    return process_seconds() + _root_lead


def follow_root(lead: float) -> None:
    """Take the root's clock: its process is older than this one by so many seconds."""
    global _root_lead
    _root_lead = lead
