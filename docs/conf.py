"""Sphinx: the pages of docs/, with tables that are generated from the code."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from parts import write_generated  # noqa: E402

import decomp  # noqa: E402

project = "decomp"
author = "the decomp authors"
release = version = decomp.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "formulas", "docstrings"]
exclude_patterns = ["_build", "generated"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
# Links to files of the checkout are for readers of the repository.
suppress_warnings = ["myst.xref_missing"]
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_type_aliases = {"Array": "Array", "PathLike": "PathLike"}
napoleon_numpy_docstring = True
napoleon_use_ivar = True
default_role = "code"
html_theme = "furo"
html_title = f"decomp {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]

write_generated(HERE / "generated")
