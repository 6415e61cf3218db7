"""Which port the running code belongs to.

Setting a `ContextVar` for every message would nearly double the cost of a dispatch (measured). So a task that
dispatches has one `Frame`, put into its context once, and changes the port in it; a task of a port has a frame of its
own that never changes.
"""

from __future__ import annotations

from contextvars import ContextVar

import trio


class Frame:
    """What the running code belongs to.

    Attributes:
      host: the runtime of its node.
      port: its port, or None outside any.
      task: the one task for which the port in it is true; None if it is true for whoever inherits the context. A task
        that a sync handler starts in a nursery of the program inherits its dispatcher's frame, whose port will be
        another one a moment later.
    """

    __slots__ = ("host", "port", "task")

    def __init__(self, host: object, port: object, task: trio.lowlevel.Task | None) -> None:
        self.host = host
        self.port = port
        self.task = task


frame_variable: ContextVar[Frame | None] = ContextVar("trio_mp_frame", default=None)


def current_frame() -> Frame | None:
    """The frame of the running code, if it is in one and that frame is true for it."""
    frame = frame_variable.get()
    if frame is None or frame.task is None or frame.task is trio.lowlevel.current_task():
        return frame
    return None
