"""Sphinx configuration."""

from importlib.metadata import version as version_of

project = "trio_mp"
author = "the trio_mp developers"
copyright = "the trio_mp developers"
release = version = version_of("trio_mp")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
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
