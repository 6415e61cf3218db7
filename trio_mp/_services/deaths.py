"""Waiting for the death of a port: as a cancel scope, or in place."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .._ids import PortReference
from .._ports.monitor import DeathScope, Monitor
from .._reason import Reason
from .._runtime import Runtime


def death_scope(runtime: Runtime, port: str | PortReference, *, fail: bool) -> DeathScope:
    """See `Node.move_on_death`, and `Node.fail_on_death` for `fail`."""
    owner = runtime.owner()

    def set_monitor(callback: Callable[..., object]) -> Monitor:
        return runtime.monitor(port, callback, owner)

    return DeathScope(str(port), set_monitor, lambda: runtime.lifecycle.cause, fail=fail)


async def wait_death(runtime: Runtime, port: str | PortReference) -> Reason:
    """See `Node.wait_death`."""
    died = trio.Event()
    with runtime.monitor(port, lambda *_: died.set(), None) as monitor:
        await died.wait()
    assert monitor.reason is not None
    return monitor.reason
