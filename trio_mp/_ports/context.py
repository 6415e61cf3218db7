"""Which port the running code belongs to.

Setting a `ContextVar` for every message would nearly double the cost of a dispatch (measured). So a task that
dispatches has one `Running`, put into its context once, and changes the port in it; a task of a port has a frame of its
own that never changes.
"""

from __future__ import annotations

from contextvars import ContextVar

import trio


class Running:
    """What the running code belongs to.

    Attributes:
      dispatcher: the runtime of its node.
      port: its port, or None outside any.
      task: the one task for which the port in it is true; None if it is true for whoever inherits the context. A task
        that a sync handler starts in a nursery of the program inherits its dispatcher's running, whose port will be
        another one a moment later.
    """

    __slots__ = ("dispatcher", "port", "task")

    def __init__(self, dispatcher: object, port: object, task: trio.lowlevel.Task | None) -> None:
        self.dispatcher = dispatcher
        self.port = port
        self.task = task


running_variable: ContextVar[Running | None] = ContextVar("trio_mp_frame", default=None)


def find_running() -> Running | None:
    """Who runs: None outside a port's or a dispatcher's code, or if it is not true for this task."""
    running = running_variable.get()
    if running is None or running.task is None or running.task is trio.lowlevel.current_task():
        return running
    return None
