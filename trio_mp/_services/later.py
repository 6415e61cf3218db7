"""Messages that a program gives now and that are sent later: after a time, again and again, or by a monitor."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from .._events import fields
from .._ids import PortReference, join_port
from .._ports.handlers import is_sync_function
from .._ports.monitor import MonitorCallback
from .._ports.timer import Timer
from .._protocol.wire import codec
from .._protocol.wire.amount import check_amount
from .._protocol.wire.limits import UNCOUNTED
from .._reason import Reason, describe, reason_lost, transport_error
from .._runtime import Runtime

log = logging.getLogger("trio_mp")


def send_after(runtime: Runtime, seconds: float, port: str | PortReference, message: tuple[Any, ...]) -> Timer:
    """See `Node.send_after`."""
    _check_seconds("send_after", seconds)
    if not seconds >= 0:
        raise ValueError(f"send_after(): expected a number of seconds from 0, got {seconds!r}")
    return _start(runtime, _send_later, seconds, port, message)


def send_every(runtime: Runtime, seconds: float, port: str | PortReference, message: tuple[Any, ...]) -> Timer:
    """See `Node.send_every`."""
    _check_seconds("send_every", seconds)
    if not seconds > 0:
        raise ValueError(f"send_every(): expected a number of seconds above 0, got {seconds!r}")
    return _start(runtime, _send_again, seconds, port, message)


def _check_seconds(method: str, seconds: object) -> None:
    if not isinstance(seconds, int | float):
        raise TypeError(f"{method}(): expected a number of seconds, got {seconds!r}")


def _start(
    runtime: Runtime,
    send: Callable[[Runtime, Timer, float, str | PortReference, tuple[Any, ...]], Awaitable[None]],
    seconds: float,
    port: str | PortReference,
    message: tuple[Any, ...],
) -> Timer:
    """Start the task that sends, for the port that runs."""
    runtime.check_open()
    message = _fix(runtime, port, message)
    timer = Timer(runtime.owner())
    timer._begin(runtime.lifecycle.start_system_task(send, runtime, timer, seconds, port, message))
    return timer


async def _send_later(
    runtime: Runtime, timer: Timer, seconds: float, port: str | PortReference, message: tuple[Any, ...]
) -> None:
    try:
        await trio.sleep(seconds)
        _send_now(runtime, f"send_after({seconds:g})", port, message)
    finally:
        timer._ended()


async def _send_again(
    runtime: Runtime, timer: Timer, seconds: float, port: str | PortReference, message: tuple[Any, ...]
) -> None:
    try:
        due = trio.current_time() + seconds
        while True:
            await trio.sleep_until(due)
            # A port of this node that is dead stays dead: no ID is given twice.
            again = _may_live(runtime, port)
            if not _send_now(runtime, f"send_every({seconds:g})", port, message) or not again:
                return
            due = next_tick(due, seconds, trio.current_time())
    finally:
        timer._ended()


def next_tick(due: float, seconds: float, now: float) -> float:
    """The first tick behind now, of those that follow the one that was due, so many seconds apart.

    The ticks in between were overrun, because this program or its machine stood still: they are skipped.
    """
    following = due + seconds
    if following <= now:
        following = now + seconds - (now - due) % seconds
    # Rounding may bring it back to now.
    return following if following > now else now + seconds


def _may_live(runtime: Runtime, port: str | PortReference) -> bool:
    """Whether a message to a port may ever arrive again."""
    if isinstance(port, PortReference):
        return True
    peer, name = runtime.route(port)
    return peer is not None or not name or name in runtime.lifecycle.ports


def _send_now(runtime: Runtime, call: str, port: str | PortReference, message: tuple[Any, ...]) -> bool:
    """Send what was taken for later; whether it could be."""
    try:
        runtime.send(port, message)
    except (TypeError, ValueError) as error:
        # It was checked at the call, but the peer's limit and framing may have become known since.
        _lose(runtime, port, error, f"a message of {call} for {port} cannot be sent")
        return False
    return True


def callback_of(
    runtime: Runtime, action: Callable[..., object] | str | PortReference, message: tuple[Any, ...]
) -> MonitorCallback:
    """The callback of a monitor; see `Node.monitor`, whose arguments these are, and which raises what this raises."""
    if isinstance(action, str | PortReference):
        message = _fix(runtime, action, message)

        def notify(*reason: object) -> None:
            _notify(runtime, action, message, reason)

        return notify
    if not is_sync_function(action):
        raise TypeError(f"monitor(): expected a sync function or a port as the action, got {action!r}")
    if message:
        raise TypeError(
            "monitor(): expected no message, as the action is a function, got one; a message goes with a port"
        )
    return action


def _fix(runtime: Runtime, port: str | PortReference, message: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check a message that is to be sent to a port later. Returns it as it is now: a snapshot, if it is to travel.

    Raises:
      TypeError, ValueError, RuntimeError: as `Node.send`.
    """
    # Of a reference the present life, or the last one: where it goes is found out when it is sent.
    peer, name = runtime.route(port.port if isinstance(port, PortReference) else port)
    if peer is None:
        return message
    framing = peer.association.outbox.queue.framing
    frame = framing.open_frame()
    framing.append(frame, name, message)
    if len(frame) > UNCOUNTED:
        check_amount(message)
    return codec.snapshot(message)


def _notify(runtime: Runtime, port: str | PortReference, message: tuple[object, ...], reason: Reason) -> None:
    """Send a message with a reason appended. One that cannot travel there is logged: no caller could mend it."""
    try:
        runtime.send(port, (*message, *reason))
    except (TypeError, ValueError) as error:
        try:
            runtime.send(port, (*message, *reason_lost(error)))
        except (TypeError, ValueError):
            _lose(runtime, port, error, f"{port}: the message about a death ({describe(reason)[:200]}) cannot be sent")


def _lose(runtime: Runtime, port: str | PortReference, error: Exception, what: str) -> None:
    """Tell of a message that the program gave earlier, and that cannot be sent now: to the log, to monitors, to all."""
    log.error("%s: %s", what, error, extra=fields("dropped", runtime.id, reason="transport_error"))
    peer, name = runtime.route(port)
    if peer is not None:
        why = f"a message that was to be sent later is lost: {error}"
        peer.act(peer.association.message_lost, name, why)
        port_id = join_port(peer.id, name) if name else peer.id
        runtime.lifecycle.losses.count(port_id, 1, "transport_error")
        runtime.lifecycle.losses.note(port_id, 1, 0, transport_error(peer.id, why))
