"""`decomp VERB ...`, in a checkout also `python -m drivers VERB ...`: runs the command of that name."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from .arguments import described
from .common import BAD_INPUT, run

FOLDER = Path(__file__).parent
GROUPS = {
    "make": ("generate", "ingest", "inspect", "attach", "scenarios"),
    "solve": ("solve", "check", "frontier", "evaluate"),
    "look": ("report", "explain", "compare", "export"),
    "operate": ("rolling",),
    "study": ("joint_study", "colocation_study"),
    "cluster": ("submit", "scaling", "bench"),
}


def verbs() -> dict[str, str]:
    """Every command, in the order of the groups, with the first line of its module's docstring; nothing is imported."""
    paths = [FOLDER / f"{verb}.py" for group in GROUPS.values() for verb in group]
    return {path.stem: _summary(path) for path in paths if path.exists()}


def _summary(path: Path) -> str:
    return described(path.stem, ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]


def usage() -> str:
    known = verbs()
    width = max(map(len, known), default=0)
    lines = ["usage: decomp VERB ...; decomp VERB --help tells more."]
    for group, members in GROUPS.items():
        lines += ["", f"{group}:", *(f"  {verb:{width}}  {known[verb]}" for verb in members if verb in known)]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    return run(dispatch, argv)


def dispatch(argv: Sequence[str] | None) -> int:
    """Run the command that is named first; what is no command is answered here."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else BAD_INPUT
    if arguments[0] == "--version":
        from decomp import __version__

        print(f"decomp {__version__}")
        return 0
    verb, *rest = arguments
    known = verbs()
    if verb not in known:
        close = get_close_matches(verb, known, 1)
        hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
        print(f"error: no command {verb!r}{hint}", file=sys.stderr)
        return BAD_INPUT
    return int(importlib.import_module(f".{verb}", __package__).main(rest))


if __name__ == "__main__":
    sys.exit(main())
