"""Calls: a message, and the reply to it."""

from __future__ import annotations

from typing import Any

import trio

from .._errors import PortDied
from .._ids import PortReference
from .._ports.port import new_port, state_of
from .._protocol.requests import QUERIES
from .._protocol.wire.values import plain_message
from .._reason import not_running
from .._runtime import Runtime


async def call(runtime: Runtime, port: str | PortReference, message: tuple[object, ...]) -> tuple[Any, ...]:
    """See `Node.call`."""
    if isinstance(port, PortReference):
        # Of a reference one life, which is that of the monitor and of the message.
        target = port.port
        if not port.running:
            await trio.lowlevel.checkpoint()
            raise PortDied(target, not_running(target))
    else:
        target = port
    peer, name = runtime.route(target)
    if not name and not (message and isinstance(message[0], str) and message[0] in QUERIES):
        known = ", ".join(sorted(QUERIES))
        raise ValueError(f"call(): expected one of {known} for the node port {port}, got {message[:1]!r}")
    if peer is not None:
        # What cannot travel is refused before anything is set up for it, over there too.
        plain_message(message, thorough=True)
    lifecycle = runtime.lifecycle
    replied = trio.Event()
    reply: tuple[Any, ...] = ()
    death: PortDied | None = None

    def take_reply(*elements: object) -> None:
        nonlocal reply
        if not replied.is_set():
            reply = elements
            replied.set()

    def died(*reason: object) -> None:
        nonlocal death
        if not replied.is_set():
            death = PortDied(str(target), reason)
            death.__cause__ = lifecycle.cause
            replied.set()

    def reply_port_died() -> None:
        # Somebody has killed it. No monitor: it is set and taken away for every call, and costs as much as the message.
        nonlocal death
        if not replied.is_set():
            death = PortDied(str(reply_port), reply_state.reason)
            death.__cause__ = reply_state.error
            replied.set()

    reply_port = new_port(lifecycle, runtime.next_name(), take_reply)
    reply_state = state_of(reply_port)
    reply_state.unwound.append(reply_port_died)
    try:
        # First the monitor, so that the promise covers the message.
        with runtime.monitor(port, died, runtime.owner()):
            runtime.send(target, (*message, reply_port))
            runtime.dispatcher.queue.flush_early()
            await replied.wait()
    finally:
        # It refers to the port, and the port to it: not garbage for the collector, but gone now.
        reply_state.unwound.clear()
        lifecycle.retire(reply_port)
    if death is not None:
        raise death
    return reply
