"""Parts of pages that are made from the code: the table of options and the help of every command."""

from __future__ import annotations

import importlib
from pathlib import Path

from decomp.model.options import Options
from drivers.__main__ import verbs


def options_table() -> str:
    """Every option with its default, legal values and meaning, as a Markdown table."""
    rows = ["| option | default | legal values | meaning |", "|---|---|---|---|"]
    rows += ["| " + " | ".join(map(str, row)) + " |" for row in Options.describe()]
    return "\n".join(rows) + "\n"


def help_texts() -> str:
    """The help of every command."""
    texts = []
    for verb in verbs():
        parser = importlib.import_module(f"drivers.{verb}").parser()
        parser.prog = f"decomp {verb}"
        texts.append(f"## {verb}\n\n```text\n{parser.format_help()}```\n")
    return "\n".join(texts)


def write_generated(folder: Path) -> None:
    """Write the generated parts of pages into a folder; what has not changed keeps its time stamp."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("options.md", options_table()), ("commands.md", help_texts())):
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
