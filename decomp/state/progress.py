"""What a solve shows while it runs: a live table for people, JSON lines for programs.

Both listen to the same records: `row(Iteration)` as they come, `close(Result)` at the end. Neither
decides anything, and on ranks other than the root both are silent.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TextIO

from decomp.model.instance import InputError
from decomp.model.result import Allowances, Iteration, Result
from decomp.model.text import gap_rel, number, percent, time_shares
from decomp.ranks.clock import process_seconds

HEADER_EVERY = 20
LIVE_ROWS = 18
REDRAW_SECONDS = 0.1


def cells(it: Iteration) -> tuple[str, ...]:
    """The table's columns of one record, as text; the order is that of `COLUMNS`."""
    return (
        it.phase,
        str(it.iteration),
        number(it.bound),
        number(it.incumbent),
        percent(gap_rel(it.bound, it.incumbent)),
        number(it.residual_gpu, 1),
        number(it.carbon_price, 2),
        str(it.columns),
        number(it.wall_seconds, 1),
    )


COLUMNS = (
    ("phase", 10),
    ("iter", 5),
    ("bound USD", 15),
    ("incumbent USD", 15),
    ("gap", 10),
    ("residual GPU", 12),
    ("carbon USD/t", 12),
    ("columns", 8),
    ("seconds", 9),
)


def aligned(texts: tuple[str, ...]) -> str:
    """One plain line: the first column flush left, the others flush right."""
    pairs = zip(texts, COLUMNS, strict=True)
    parts = [text.ljust(width) if k == 0 else text.rjust(width) for k, (text, (_, width)) in enumerate(pairs)]
    return " ".join(parts).rstrip()


def verdict(result: Result) -> str:
    """The outcome in one line."""
    status = result.status.value.replace("_", " ")
    return (
        f"{status}: incumbent {number(result.incumbent, 2)} USD, bound {number(result.bound, 2)} USD, "
        f"gap {number(result.gap_abs, 2)} USD = {percent(gap_rel(result.bound, result.incumbent))}, "
        f"{process_seconds():.1f} s"
    )


def abatement(allowances: Allowances) -> str:
    """What a tonne of the carbon budget is worth, in one line."""
    return f"marginal abatement price {number(allowances.abatement_usd_per_t, 2)} USD/t"


def time_table(seconds: Mapping[str, Sequence[float]]) -> list[str]:
    """Where the time went: mean, least and most seconds of a rank, and the share of all."""
    if not seconds:
        return []
    part = time_shares(seconds)
    rows = [("seconds of a rank", "mean", "least", "most", "share")]
    for name, t in seconds.items():
        mean, least, most = (number(value, 1) for value in (sum(t) / len(t), min(t), max(t)))
        rows.append((name, mean, least, most, f"{100 * part[name]:.1f} %"))
    width = max(len(row[0]) for row in rows)
    return [" ".join([row[0].ljust(width), *(cell.rjust(9) for cell in row[1:])]) for row in rows]


class Progress:
    """The table on the screen: live on a terminal, plain aligned lines elsewhere.

    Parameters
    ----------
    root : only the root shows anything.
    stream : where to write; default standard output.
    """

    def __init__(self, *, root: bool = True, stream: TextIO | None = None) -> None:
        self.root = root
        self.stream = stream or sys.stdout
        self._rows: deque[tuple[str, ...]] = deque(maxlen=LIVE_ROWS)
        self._count = 0
        self._live: Any = None
        self._due = 0.0
        self._terminal = root and self.stream.isatty() and os.environ.get("TERM", "") != "dumb"

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def banner(self, facts: Mapping[str, Any]) -> None:
        """Say what is about to be solved, one `name value` pair a line."""
        if self.root:
            width = max((len(str(name)) for name in facts), default=0)
            for name, value in facts.items():
                self._print(f"{name!s:<{width}}  {f'{value:g}' if isinstance(value, float) else value}")

    def row(self, it: Iteration) -> None:
        """Show one record."""
        if not self.root:
            return
        if self._terminal:
            self._rows.append(cells(it))
            if time.monotonic() >= self._due:
                self._refresh()
            return
        if self._count % HEADER_EVERY == 0:
            self._print(aligned(tuple(name for name, _ in COLUMNS)))
        self._count += 1
        self._print(aligned(cells(it)))

    def close(self, result: Result) -> None:
        """Leave the table as it is and say how it ended."""
        self._stop()
        if self.root:
            for line in time_table(result.provenance.get("rank_seconds") or {}):
                self._print(line)
            if result.allowances is not None:
                self._print(abatement(result.allowances))
            self._print(verdict(result))

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)

    def _stop(self) -> None:
        if self._live is not None:
            self._refresh()
            self._live.stop()
            self._live = None

    def _refresh(self) -> None:
        """Redraw the last rows; refreshing by hand keeps threads out of a parallel run."""
        from rich import box
        from rich.console import Console
        from rich.live import Live
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for k, (name, _) in enumerate(COLUMNS):
            style = {"bound USD": "blue", "incumbent USD": "yellow", "gap": "bold"}.get(name)
            table.add_column(name, justify="left" if k == 0 else "right", style=style, no_wrap=True)
        for row in self._rows:
            table.add_row(*row)
        if self._live is None:
            console = Console(file=self.stream, highlight=False)
            self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
            self._live.start()
        self._live.update(table, refresh=True)
        self._due = time.monotonic() + REDRAW_SECONDS


def plain(value: Any) -> Any:
    """The value as JSON knows it; what is not finite becomes null."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _open_alone(path: str | os.PathLike[str]) -> TextIO:
    """Open an empty log for one run at a time; the lock goes with the file's end, however that comes."""
    file = open(path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
    if os.path.isfile(path):  # and not a pipe or the like
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise InputError(f"{os.fspath(path)}: another run is writing this log") from None
        except OSError:  # of a file system that has no locks
            pass
        file.truncate(0)
    return file


class JsonLog:
    """The run as JSON lines, each on disk when `row` returns.

    One line per `Iteration` (event "iteration", its fields), then one with event "result".
    `wall_seconds` counts from the start of the process at the moment the line is written,
    `solve_seconds` is the record's own clock.

    Parameters
    ----------
    path : the file to write; None logs nothing.
    path_seconds : gives `path_seconds` of every line; see `Team`.

    Raises
    ------
    InputError : another run is writing this log.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, path_seconds: Callable[[], float] = time.process_time
    ) -> None:
        self._path_seconds = path_seconds
        self._file = _open_alone(path) if path is not None else None

    def __enter__(self) -> JsonLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # of a line that was not written, and has been reported
                self._file.close()
            self._file = None

    def row(self, it: Iteration) -> None:
        """Write one record."""
        self._write({"event": "iteration", **asdict(it), "solve_seconds": it.wall_seconds})

    def event(self, name: str, facts: Mapping[str, Any]) -> None:
        """Write something that is no iteration."""
        self._write({"event": name, **facts})

    def close(self, result: Result) -> None:
        """Write the outcome and close the file."""
        gap = gap_rel(result.bound, result.incumbent)
        seconds = result.provenance.get("rank_seconds") or {}
        self._write(
            dict(
                event="result",
                status=result.status.value,
                bound=result.bound,
                incumbent=result.incumbent,
                gap_abs=result.gap_abs,
                gap_rel=gap,
                ranks=int(result.provenance.get("ranks", 1)),
                rank_seconds=seconds,
                share_of_seconds={name: round(share, 4) for name, share in time_shares(seconds).items()},
            )
        )
        self.__exit__()

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            clocks = dict(wall_seconds=round(process_seconds(), 3), path_seconds=round(self._path_seconds(), 3))
            line = {**line, **clocks}
            try:
                self._file.write(json.dumps({k: plain(v) for k, v in line.items()}, allow_nan=False) + "\n")
            except OSError as error:
                print(f"warning: {self._file.name}: the log ends here: {error.strerror}", file=sys.stderr)
                self.__exit__()
