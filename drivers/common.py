"""What every command shares: exit codes and one-line refusals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from decomp.instance import InputError

BAD_INPUT = 2
INTERNAL_FAILURE = 5

Command = Callable[[Sequence[str] | None], int]


def run(command: Command, argv: Sequence[str] | None = None) -> int:
    """Run a command's main; bad input ends as one line on stderr and exit code 2, never as a traceback."""
    try:
        return command(argv)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        return 0
