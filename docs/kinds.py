"""A Sphinx extension: each page says its kind in a line below its title. `page_kinds.py` says which kinds there are."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from page_kinds import KINDS
from sphinx.application import Sphinx


def show_kind(app: Sphinx, document: nodes.document, name: str) -> None:
    """Put a line with the kind of a page behind its title."""
    kind = app.env.metadata[name].get("kind")
    if kind in KINDS:
        shown = KINDS[kind]
        line = nodes.paragraph("", "", nodes.emphasis("", f"{shown.caption}: {shown.purpose}"), classes=["kind"])
        title = next(document.findall(nodes.title))
        title.parent.insert(title.parent.index(title) + 1, line)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("doctree-resolved", show_kind)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
