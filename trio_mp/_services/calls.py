"""Calls: a message, and the reply to it."""

from __future__ import annotations

from typing import Any

import trio

from .._errors import PortDied
from .._node.core import Core
from .._node.port import new_port
from .._reason import NORMAL, Reason


async def call(core: Core, port: str, message: tuple[object, ...]) -> tuple[Any, ...]:
    """See `Node.call`."""
    replied = trio.Event()
    reply: tuple[Any, ...] = ()
    death: Reason | None = None

    def take_reply(*elements: object) -> None:
        nonlocal reply
        if not replied.is_set():
            reply = elements
            replied.set()

    def died(*reason: object) -> None:
        nonlocal death
        if not replied.is_set():
            death = reason
            replied.set()

    reply_port = new_port(core.dispatcher, core.next_name(), take_reply)
    try:
        # First the monitor, so that the promise covers the message.
        with core.monitor(port, died, core.owner()), core.monitor(reply_port, died, None):
            core.send(port, (*message, reply_port))
            await replied.wait()
    finally:
        core.dispatcher.die(reply_port, NORMAL)
    if death is not None:
        raise PortDied(str(port), death)
    return reply
