"""A Sphinx extension: `{state-diagram} NAME` draws one of the state diagrams of this documentation.

What is drawn is read from the tables at every build, `state_diagrams.py` says how.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx import addnodes
from sphinx.application import Sphinx
from state_diagrams import Table, draw, read_steps, read_transitions

DOCS = Path(__file__).resolve().parent


def _steps(text: str) -> Table:
    return read_steps(ast.get_docstring(ast.parse(text), clean=False) or "")


SOURCES: dict[str, tuple[str, str, Callable[[str], Table]]] = {
    "fence": ("The fence", "transitions.txt", lambda text: read_transitions(text, "fence")),
    "connection": ("A connection", "transitions.txt", lambda text: read_transitions(text, "connection")),
    "handshake": ("The handshake", "../trio_mp/_protocol/handshake/handshake.py", _steps),
}
"""The diagrams: what each is called, and the file, from here, and how to read its table there."""


class StateDiagram(Directive):
    """Draws a diagram in pages that can show it; the others have its table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in SOURCES:
            raise self.error(f"no state diagram {name!r}: there are {', '.join(SOURCES)}")
        title, file, read = SOURCES[name]
        path = (DOCS / file).resolve()
        self.state.document.settings.env.note_dependency(str(path))
        try:
            table = read(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise self.error(f"{file}: {error}") from None
        shown = addnodes.only(expr="html")
        shown += nodes.raw("", draw(table, title), format="html")
        listed = addnodes.only(expr="not html")
        listed += nodes.literal_block(str(table), str(table), language="text")
        return [shown, listed]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("state-diagram", StateDiagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
