"""Calls: a message, and the reply to it."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio

from .._errors import PortDied
from .._ports.port import new_port
from .._protocol.requests import QUERIES
from .._protocol.wire import codec
from .._reason import NORMAL
from .._runtime import Runtime


async def call(runtime: Runtime, port: str, message: tuple[object, ...]) -> tuple[Any, ...]:
    """See `Node.call`."""
    peer, name = runtime.route(port)
    if not name and not (message and isinstance(message[0], str) and message[0] in QUERIES):
        raise ValueError(f"the node port {port} answers {', '.join(sorted(QUERIES))}; not {message[:1]!r}")
    if peer is not None:
        # What cannot travel is refused before anything is set up for it, over there too.
        codec.plain_message(message, thorough=True)
    replied = trio.Event()
    reply: tuple[Any, ...] = ()
    death: PortDied | None = None

    def take_reply(*elements: object) -> None:
        nonlocal reply
        if not replied.is_set():
            reply = elements
            replied.set()

    def died(who: str, *reason: object) -> None:
        nonlocal death
        if not replied.is_set():
            death = PortDied(who, reason)
            death.__cause__ = runtime.lifecycle.cause
            replied.set()

    reply_port = new_port(runtime.lifecycle, runtime.next_name(), take_reply)
    on_death, on_own_death = partial(died, str(port)), partial(died, str(reply_port))
    try:
        # First the monitor, so that the promise covers the message.
        with runtime.monitor(port, on_death, runtime.owner()), runtime.monitor(reply_port, on_own_death, None):
            runtime.send(port, (*message, reply_port))
            runtime.dispatcher.queue.flush_early()
            await replied.wait()
    finally:
        runtime.lifecycle.die(reply_port, NORMAL)
    if death is not None:
        raise death
    return reply
