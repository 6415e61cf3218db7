"""Sphinx configuration."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for the extensions `diagrams` and `kinds`

project = "trio_mp"
author = "the trio_mp developers"
copyright = "the trio_mp developers"
release = version = version_of("trio_mp")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "diagrams", "kinds"]
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
