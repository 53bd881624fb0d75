"""Sphinx extension: formulas as MathML, made when the pages are built, so that they are read without a network."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def mathml(latex: str, display: str) -> str:
    """A formula as MathML; its \\tag stands beside it."""
    tag = re.search(r"\\tag\{([^}]*)\}", latex)
    latex = latex.replace(tag[0], "") if tag else latex
    html = convert(re.sub(r"(begin|end)\{aligned\}", r"\1{split}", latex.strip()), display=display)
    return f'<span class="eqno">({tag[1]})</span>{html}' if tag else html


def visit_inline(self: Any, node: nodes.math) -> None:
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return dict(parallel_read_safe=True)
