"""Sphinx configuration."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for the extensions of this folder

project = "trio_mp"
author = "the trio_mp developers"
copyright = "the trio_mp developers"
release = version = version_of("trio_mp")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
    # Those of this folder.
    "diagrams",
    "kinds",
    "public_names",
]
exclude_patterns = ["_build"]
default_role = "py:obj"
highlight_language = "text"

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# The inventories are in the repository: a build needs no network, and finds the same every day. That of Python is from
# Debian's package python3.11-doc. Sphinx has made that of Trio from the documentation in the sdist of 0.35.0.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "inventories/python.inv"),
    "trio": ("https://trio.readthedocs.io/en/stable/", "inventories/trio.inv"),
}

# Each name in a signature, and each name of this package or of Trio in a text, leads somewhere; see `public_names`.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"trio_mp\.[\w.]+\.(T|F|T_co|P_co|T_contra)"),  # a type variable is nothing to look up
    ("py:class", r"trio_mp\._settings\.settings\.SettingArguments"),  # the settings have a page, settings.md
    ("py:class", r"trio_mp\._ids\.PortReference"),  # what `Port` and `ChildRef` have in common
    ("py:class", r"trio_mp\._workers\.mapping\.MapResults"),  # an async iterator, as `Workers.map` says
    # What a transport gets and returns for addresses that only sockets have.
    ("py:class", r"trio_mp\._transport\.(addresses\.\w+(Seed|Bind)|service_records\.ServiceRecords)"),
    # What the world outside is for a node; programs leave it at the default.
    ("py:class", r"trio_mp\._settings\.environment\.InThread|trio_mp\._transport\.(service_manager|inherited)\.\w+"),
]

html_theme = "furo"
html_title = f"trio_mp {release}"
