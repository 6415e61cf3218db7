"""A Sphinx extension: `{state-diagram} NAME` draws one of the state diagrams of this documentation.

What is drawn are the tables that the code runs, at every build; `state_diagrams.py` says how.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx import addnodes
from sphinx.application import Sphinx
from state_diagrams import Table, draw, table_of

from trio_mp._protocol import supervision
from trio_mp._protocol.association import association, outbox
from trio_mp._protocol.handshake import handshake

SOURCES: dict[str, tuple[str, ModuleType, Table]] = {
    "fence": ("The fence", outbox, table_of(outbox.FENCE.rows)),
    "connection": ("A connection", association, table_of(association.STAGES.rows)),
    "handshake": ("The handshake", handshake, table_of(handshake.STEPS.rows)),
    "child": ("A supervised child", supervision, table_of(supervision.CHILD.rows)),
}
"""The diagrams: what each is called, the module whose table it shows, and what is drawn of it."""


class StateDiagram(Directive):
    """Draws a diagram in pages that can show it; the others have its table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in SOURCES:
            raise self.error(f"no state diagram {name!r}: there are {', '.join(SOURCES)}")
        title, module, table = SOURCES[name]
        self.state.document.settings.env.note_dependency(str(module.__file__))
        shown = addnodes.only(expr="html")
        shown += nodes.raw("", draw(table, title), format="html")
        listed = addnodes.only(expr="not html")
        listed += nodes.literal_block(str(table), str(table), language="text")
        return [shown, listed]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("state-diagram", StateDiagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
