"""Ports in the manner of a process: with a mailbox, and alive as long as a block or a task."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from .._errors import PortDied
from .._ports.lifecycle import call_async
from .._ports.port import Port, attach_mailbox, lifecycle_of, new_port
from .._reason import NORMAL, exception_reason
from .._runtime import Runtime


@asynccontextmanager
async def open_port(runtime: Runtime) -> AsyncGenerator[Port, None]:
    """See `Node.open_port`."""
    port = new_port(runtime.lifecycle, runtime.next_name())
    attach_mailbox(port)
    try:
        await trio.lowlevel.checkpoint()
        yield port
    except Exception as error:
        runtime.lifecycle.die(port, exception_reason(error), error, heard=True)
        raise
    finally:
        unwound = trio.Event()
        runtime.watch_unwinding(port, unwound.set)
        runtime.lifecycle.die(port, NORMAL)
    await unwound.wait()


def start_port(
    runtime: Runtime, async_function: Callable[..., Awaitable[object]], arguments: tuple[Any, ...]
) -> Port:
    """See `Node.start_port`."""
    if not callable(async_function):
        raise TypeError(f"start_port(): expected an async function, got {async_function!r}")
    port = new_port(runtime.lifecycle, runtime.next_name())
    start_process(port, async_function, arguments)
    return port


def start_process(port: Port, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Give a port a mailbox, and a task that runs `function(port, *arguments)`."""
    attach_mailbox(port)
    lifecycle_of(port).start_task(port, run_process, (port, function, arguments))


async def run_process(port: Port, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The task of a port: when it returns, the port dies normally."""
    try:
        await call_async(function, (port, *arguments))
    except PortDied as died:
        if died.port != port:
            raise
        # It tried to receive from, or send through, the port that is already dead: that is how it was told.
        return
    except Exception as error:  # noqa: BLE001 - it is the port that dies, and now: its monitors wait for this task
        lifecycle_of(port).die(port, exception_reason(error), error)
        return
    lifecycle_of(port).die(port, NORMAL)
