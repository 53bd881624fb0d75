"""The arguments of a command: files that are read, files that are written, numbers in their range.

A command declares which is which; what cannot be is refused in one line, before any work: a number that makes no sense,
an output whose folder is not there, an output that would take the place of an input or of another output.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from decomp.model.instance import InputError

LARGEST = 2**31 - 1  # what solvers take as an integer


class Named(NamedTuple):
    """A file and the argument that names it."""

    label: str
    path: Path


class Output(NamedTuple):
    """An argument for a file that is written, or for a folder: then patterns of the files in it."""

    action: argparse.Action
    files: tuple[str, ...] = ()
    renews: str = ""

    def paths(self, args: argparse.Namespace) -> Iterator[Path]:
        """What is written, as far as it is known or there."""
        for path in _paths(args, self.action):
            yield from (found for pattern in self.files for found in path.glob(pattern)) if self.files else [path]


def described(verb: str, doc: str) -> str:
    """What a docstring "`verb`: does something." says, without the verb."""
    text = doc.strip().removeprefix(f"`{verb}`: ")
    return text[:1].upper() + text[1:]


class Arguments(argparse.ArgumentParser):
    """A parser that knows inputs from outputs."""

    def __init__(self, verb: str, doc: str | None, epilog: str | None = None) -> None:
        """Of a command and its module's docstring, which `--help` shows."""
        told = described(verb, doc or "")
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=f"decomp {verb}", description=told, epilog=epilog, formatter_class=form)
        for kind, what in ((float, "a number"), (int, "a whole number")):
            self.register("type", kind, _read_as(kind, what))
        self.inputs: list[argparse.Action] = []
        self.outputs: list[Output] = []

    def reads(self, *names: str, metavar: str = "FILE", **how: Any) -> None:
        """Add an argument for one or more files that are read; one without a dash shows its name."""
        shown = metavar if names[0].startswith("-") else names[0].upper()
        self.inputs.append(self.add_argument(*names, type=Path, metavar=shown, **how))

    def writes(self, *names: str, metavar: str = "FILE", renews: str = "", **how: Any) -> None:
        """Add an argument for a file that is written; it may take the place of the input `renews`."""
        self.outputs.append(Output(self.add_argument(*names, type=Path, metavar=metavar, **how), renews=renews))

    def fills(self, *names: str, files: Sequence[str], **how: Any) -> None:
        """Add an argument for a folder, made if it is not there, in which `files` (patterns) are written."""
        self.outputs.append(Output(self.add_argument(*names, type=Path, metavar="FOLDER", **how), tuple(files)))

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong, and end with 2."""
        print(f"error: {message.removeprefix('argument ')}; {self.prog} --help tells more", file=sys.stderr)
        sys.exit(2)

    def keep_apart(self, args: argparse.Namespace, more: Iterable[Named] = ()) -> None:
        """Refuse outputs that cannot be written, and those that are an input, one of `more`, or another output.

        By any path: names that link to the same file are the same. At the root only, since other ranks may not see
        the files.

        Raises
        ------
        InputError : naming both arguments.
        """
        taken = [Named(_label(a), path) for a in self.inputs for path in _paths(args, a)] + list(more)
        for output in self.outputs:
            label = _label(output.action)
            for path in _paths(args, output.action):
                _refuse_unwritable(Named(label, path), folder=bool(output.files))
            written = [Named(label, path) for path in output.paths(args)]
            for path, other in ((w.path, t) for w in written for t in taken):
                if other.label.lstrip("-") != output.renews and same_file(path, other.path):
                    raise InputError(f"{label}: {path} is also the file of {other.label}; nothing is overwritten")
            taken += written


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths lead to one regular file, or would if they were made."""
    try:
        return os.path.samefile(a, b) and a.is_file()
    except OSError:
        return not a.exists() and a.resolve() == b.resolve()


def _refuse_unwritable(output: Named, folder: bool) -> None:
    path = output.path
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"{output.label}: {path}: {(error.strerror or str(error)).lower()}") from None
    place = path.resolve()
    if folder:
        if path.exists() and not path.is_dir():
            raise InputError(f"{output.label}: {path} is not a folder")
        place = next(there for there in (place, *place.parents) if there.is_dir())
    elif path.is_dir():
        raise InputError(f"{output.label}: {path} is a folder")
    elif not place.exists() or place.is_file():  # else a device or a pipe, written into as it is
        place = place.parent
        if not place.is_dir():
            raise InputError(f"{output.label}: {path}: its folder does not exist")
    if not os.access(place, os.W_OK):
        raise InputError(f"{output.label}: {path}: {place} may not be written to")


def _label(action: argparse.Action) -> str:
    return max(action.option_strings, key=len, default=action.dest)


def _paths(args: argparse.Namespace, action: argparse.Action) -> Iterator[Path]:
    value = getattr(args, action.dest)
    yield from value if isinstance(value, list) else [] if value is None else [value]


# ---------------------------------------------------------------- numbers


def _read_as(kind: Callable[[str], Any], what: str) -> Callable[[str], Any]:
    """A type of argument: whatever `kind` reads; its range is judged elsewhere."""

    def convert(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text}: must be {what}") from None

    return convert


def whole(low: int, high: int = LARGEST) -> Callable[[str], int]:
    """A type of argument: whole numbers from `low` to `high`."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            limits = f"of at least {low}" if high == LARGEST and value < low else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"{text}: must be a whole number {limits}")
        return value

    return convert


def several(low: int) -> Callable[[str], tuple[int, ...]]:
    """A type of argument: whole numbers of at least `low`, with commas between them."""
    one = whole(low)
    return lambda text: tuple(one(word) for word in text.split(","))


def real(low: float, high: float = math.inf, *, above: bool = False, endless: bool = False) -> Callable[[str], float]:
    """A type of argument: numbers from `low` (`above`: without it) to `high`; infinite ones only where `endless`."""
    least = f"above {low:g}" if above else f"of at least {low:g}"
    limits = least if high == math.inf else f"{least} and at most {high:g}"

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        fits = low < value <= high if above else low <= value <= high
        if not fits or (math.isinf(value) and not endless):
            raise argparse.ArgumentTypeError(f"{text}: must be a number {limits}")
        return value

    return convert


SHARE = real(0.0, 1.0)
AMOUNT = real(0.0)
POSITIVE = real(0.0, above=True)
SECONDS = real(0.0, endless=True)  # a time limit may be none
PATIENCE = real(0.0, above=True, endless=True)
SEED = whole(0, 2**63 - 1)
