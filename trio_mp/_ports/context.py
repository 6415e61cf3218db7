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
      node: the node of the running code, as users see it.
      port: the port of the running code; None if it belongs to no port.
      task: the one task for which the port in it is true; None if it is true for whoever inherits the context. A task
        that a sync handler starts in a nursery of the program inherits that of its dispatcher, whose port will be
        another one a moment later.
      source: who is told of refusals of what the task reads from another node; None if it reads nothing.
      handled_call: the call that the running handler answers; None if it answers none. It is that of `port` at most.
    """

    __slots__ = ("handled_call", "node", "port", "source", "task")

    def __init__(self, node: Node, port: object, task: trio.lowlevel.Task | None) -> None:
        self.node = node
        self.port = port
        self.task = task
        self.handled_call: object = None
        self.source: object = None


running_variable: ContextVar[Running | None] = ContextVar("trio_mp_frame", default=None)


def find_running() -> Running | None:
    """What the running code belongs to; None outside the code of ports and dispatchers.

    Also None in a task that has inherited the context of another one, for which the answer would be wrong.
    """
    running = running_variable.get()
    if running is None or running.task is None or running.task is trio.lowlevel.current_task():
        return running
    return None
