"""Seconds since the process began."""

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



def process_seconds() -> float:
    """Wall seconds since the process started (since this module's import where that is not known)."""
    return time.monotonic() - _BIRTH



def restart_clock() -> None:
    """Let `process_seconds` count from now: in a session a solve begins when it is asked for."""
    global _BIRTH
    _BIRTH = time.monotonic()
