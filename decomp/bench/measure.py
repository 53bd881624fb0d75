"""A command measured as a whole: wall time from process start, peak memory of all its processes, an end in time."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

WAIT_SECONDS = 0.02  # between looks for the end; also the accuracy of `seconds`
SAMPLE_SECONDS = 0.25  # between looks at the memory
MERCY_SECONDS = 5.0  # from being asked to end to being killed

Process = tuple[int, str]  # number, start time: numbers are used again


@dataclass(frozen=True)
class Measured:
    """What became of a command.

    Attributes
    ----------
    seconds, cpu_seconds : wall time from the start of the process to its end; processor time of all its processes.
    code : exit code, negative: ended by that signal.
    overdue : it had to be ended.
    memory_mb : sum over its processes of each one's peak resident memory, shared pages counted in each, MB.
    out, err : what it wrote.
    """

    seconds: float
    cpu_seconds: float
    code: int
    overdue: bool
    memory_mb: float
    out: str
    err: str


def measure(command: Sequence[str], limit_seconds: float, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end, at the latest to `limit_seconds`; nothing it started outlives this call."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        family = ProcessTree(child.pid)
        overdue, end = False, None
        try:
            while end is None:
                left = began + limit_seconds - time.monotonic()
                end = family.watch(left)
                if end is None:
                    family.signal(signal.SIGKILL if overdue else signal.SIGTERM)
                    limit_seconds, overdue = limit_seconds + MERCY_SECONDS, True
            seconds = time.monotonic() - began
        finally:
            family.signal(signal.SIGKILL)
            if end is None:
                end = family.watch(MERCY_SECONDS)
            child.returncode = 0 if end is None else os.waitstatus_to_exitcode(end[0])  # Popen need not wait any more
        status, usage = end if end is not None else (0, None)
        return Measured(
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime if usage is not None else 0.0,
            code=os.waitstatus_to_exitcode(status),
            overdue=overdue,
            memory_mb=family.peak_mb(usage),
            out=_text(out),
            err=_text(err),
        )


class ProcessTree:
    """A child and all that descends from it, as far as /proc tells; without /proc the child alone."""

    def __init__(self, child: int) -> None:
        self.child = child
        self.peak_kb: dict[Process, int] = {}

    def watch(self, seconds: float) -> tuple[int, Any] | None:
        """Wait so long for the child's end: its wait status and resource usage, or None; notes memory meanwhile."""
        until, sample_at = time.monotonic() + seconds, 0.0
        while True:
            pid, status, usage = os.wait4(self.child, os.WNOHANG)
            if pid:
                return status, usage
            now = time.monotonic()
            if now >= until:
                return None
            if now >= sample_at:
                self._sample()
                sample_at = now + SAMPLE_SECONDS
            time.sleep(min(WAIT_SECONDS, max(until - now, 0.0)))

    def signal(self, number: int) -> None:
        """Send a signal to every member that is still there."""
        present = _processes()
        for process in self.peak_kb:
            if process in present:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process[0], number)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child, number)

    def peak_mb(self, usage: Any) -> float:
        """Sum of the members' peaks; where they are unknown, the largest one's."""
        known = sum(self.peak_kb.values()) / 1024
        if known or usage is None:
            return known
        return float(usage.ru_maxrss) / (1024**2 if sys.platform == "darwin" else 1024)

    def _sample(self) -> None:
        parents = _processes()
        members, grown = {self.child, *(pid for pid, _ in self.peak_kb)}, True
        while grown:
            more = {pid for (pid, _), parent in parents.items() if parent in members} - members
            members, grown = members | more, bool(more)
        for process in parents:
            if process[0] in members:
                self.peak_kb[process] = max(self.peak_kb.get(process, 0), _peak_kb(process[0]))


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def _processes() -> dict[Process, int]:
    """Parent of every process."""
    found: dict[Process, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            found[int(stat.parent.name), fields[19]] = int(fields[1])
    return found


def _peak_kb(pid: int) -> int:
    """Largest resident memory a process ever had, kB."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """What the measurements are of: processor, cores, memory, system."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return dict(cpu=model, cores=cores(), memory_gib=round(memory, 1), system=platform.platform())
