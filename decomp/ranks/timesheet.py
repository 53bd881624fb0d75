"""Where the seconds of a rank go: each counts for the innermost section that is open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from decomp.ranks.clock import process_seconds

START, OTHER, IDLE, TALK = "start", "python", "idle", "communication"


class Timesheet:
    """Seconds of this process by section, from its start; for one thread.

    "start" is what comes before the first section: loading modules, reading the instance.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open = [START]
        self._since = 0.0

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Seconds inside count for `name`, but for those of sections opened within."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def move(self, seconds: float, source: str, target: str) -> None:
        """Count seconds of one section for another after all."""
        self.seconds[source] = self.seconds.get(source, 0.0) - seconds
        self.seconds[target] = self.seconds.get(target, 0.0) + seconds

    def read(self) -> dict[str, float]:
        """Seconds so far by section; their sum is the age of the process."""
        self._charge()
        return dict(self.seconds)

    def _charge(self) -> None:
        now = process_seconds()
        self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now


def by_rank(sheets: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Seconds of every rank by section, the longest section first."""
    names = {name for sheet in sheets for name in sheet}
    found = {name: [round(sheet.get(name, 0.0), 3) for sheet in sheets] for name in names}
    return dict(sorted(found.items(), key=lambda item: (-sum(item[1]), item[0])))
