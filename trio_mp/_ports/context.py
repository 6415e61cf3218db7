"""Which port the running code belongs to.

Setting a `ContextVar` for every message would nearly double the cost of a dispatch (measured). So a task that
dispatches has one `Running`, put into its context once, and changes the port in it. A task of a port has one of its own
which never changes.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    # What users see of a node is put together above; nothing here calls it.
    from .._node.node import Node


class Running:
    """What the running code belongs to.

    Attributes:
      node: its node, as users see it.
      port: its port, or None outside any.
      task: the one task for which the port in it is true; None if it is true for whoever inherits the context. A task
        that a sync handler starts in a nursery of the program inherits that of its dispatcher, whose port will be
        another one a moment later.
    """

    __slots__ = ("node", "port", "task")

    def __init__(self, node: Node, port: object, task: trio.lowlevel.Task | None) -> None:
        self.node = node
        self.port = port
        self.task = task


running_variable: ContextVar[Running | None] = ContextVar("trio_mp_frame", default=None)


def find_running() -> Running | None:
    """Who runs: None outside a port's or a dispatcher's code, or if it is not true for this task."""
    running = running_variable.get()
    if running is None or running.task is None or running.task is trio.lowlevel.current_task():
        return running
    return None
