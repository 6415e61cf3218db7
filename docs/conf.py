"""Sphinx configuration."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for the extension `diagrams`

project = "trio_mp"
author = "the trio_mp developers"
copyright = "the trio_mp developers"
release = version = version_of("trio_mp")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "diagrams"]
exclude_patterns = ["_build"]
default_role = "py:obj"
highlight_language = "text"

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"trio_mp {release}"


def skip_fields(_app: object, _what: str, name: str, member: object, skip: bool, _options: object) -> bool:
    """Leave out the fields of a named tuple as members: its docstring lists them as attributes."""
    return skip or type(member).__name__ == "_tuplegetter"


def setup(app: object) -> None:
    app.connect("autodoc-skip-member", skip_fields)  # type: ignore[attr-defined]
