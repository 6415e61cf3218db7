"""Ports in the manner of a process: with a mailbox, and alive as long as a block or a task."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from .._errors import PortDied
from .._ports.lifecycle import call_async
from .._ports.port import Port, attach_mailbox, lifecycle_of, new_port, refuse_bad
from .._reason import NORMAL, exception_reason
from .._runtime import Runtime


@asynccontextmanager
async def open_port(runtime: Runtime, *, refuses: bool = False) -> AsyncGenerator[Port, None]:
    """See `Node.open_port`."""
    port = new_port(runtime.lifecycle, runtime.next_name())
    attach_mailbox(port)
    if refuses:
        refuse_bad(port)
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
    runtime: Runtime,
    async_function: Callable[..., Awaitable[object]],
    arguments: tuple[Any, ...],
    *,
    refuses: bool = False,
) -> Port:
    """See `Node.start_port`."""
    if not callable(async_function):
        raise TypeError(f"start_port(): expected an async function, got {async_function!r}")
    port = new_port(runtime.lifecycle, runtime.next_name())
    if refuses:
        refuse_bad(port)
    start_process(port, async_function, arguments)
    return port


class PortStatus:
    """The `task_status` of a port that is being started; a `trio.TaskStatus`.

    Args:
      port: which.
      answer: called once, with the value that the port's function says it has started with. What it raises is raised
        by `started`, which may be called again then.
    """

    def __init__(self, port: Port, answer: Callable[[Any], None]) -> None:
        self._port = port
        self._answer = answer
        self._started = False

    def __repr__(self) -> str:
        return f"<task_status of {self._port}>"

    def started(self, value: Any = None) -> None:
        """Say that the port has started: whoever waits for it gets this value. Not a checkpoint.

        Does nothing if the port has died: its tasks are cancelled.

        Raises:
          RuntimeError: it was said before.
          TypeError, ValueError: the value cannot travel to the node that waits for it. It was not said.
        """
        if self._started:
            raise RuntimeError(f"started() was called twice on the same task status, that of {self._port}")
        if self._port.alive:
            self._answer(value)
            self._started = True

    def check(self) -> None:
        """The port's function has returned. Raises `RuntimeError` if it has not said before that it has started."""
        if not self._started:
            raise RuntimeError("the function of the port returned without calling task_status.started()")


def start_process(
    port: Port, function: Callable[..., Any], arguments: tuple[Any, ...], status: PortStatus | None = None
) -> None:
    """Give a port a mailbox, and a task that runs `function(port, *arguments)`; see `run_process` for the status."""
    attach_mailbox(port)
    lifecycle_of(port).start_task(port, run_process, (port, function, arguments, status))


async def run_process(
    port: Port, function: Callable[..., Any], arguments: tuple[Any, ...], status: PortStatus | None
) -> None:
    """The task of a port: when it returns, the port dies normally.

    Args:
      port, function, arguments: it runs `function(port, *arguments)`.
      status: given to the function as `task_status=`. None if nobody waits until the port has started.
    """
    try:
        if status is None:
            await call_async(function, (port, *arguments))
        elif port.alive:
            # Else who waited for it has called it off already, and nothing of it need be seen.
            await call_async(function, (port, *arguments), task_status=status)
            status.check()
    except PortDied as died:
        if died.port != port:
            raise
        # It tried to receive from, or send through, the port that is already dead: that is how it was told.
        return
    except Exception as error:  # noqa: BLE001 - it is the port that dies, and now: its monitors wait for this task
        lifecycle_of(port).die(port, exception_reason(error), error)
        return
    lifecycle_of(port).die(port, NORMAL)
