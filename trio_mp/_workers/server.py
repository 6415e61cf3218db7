"""A worker's port: it takes tasks from the pool and answers each with one message.

The words, from the pool to the worker:

- `("run", ticket, function, *arguments)`: call this function.
- `("cancel", ticket)`: drop the task, or cancel it if it is async. A sync function that runs is not disturbed.
- `("return", ticket, …)`: these are wanted on another worker, unless they have begun.

And back, where each task is answered by one of the first four:

- `("done", ticket, value, seconds)`: it has returned; how long a sync function took, None for an async one.
- `("failed", ticket, description, traceback, seconds)`: it has raised; see `failures.py`.
- `("cancelled", ticket)`: it was dropped before it began, or has unwound.
- `("returned", ticket)`: it has not begun, and does not.
- `("ready", port, name, process)`: the worker's first word; or
- `("broken", process, text)`: its only one.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from .._ports.run_queue import Job
from .._runtime import Runtime
from .computing import Computed, Computer
from .failures import describe, traceback_of
from .functions import Released

PATIENCE = 200e-6
"""How long the node waits for tasks that have just come, in seconds, before it goes on without their results."""

HIGH_WATER = 4 * 1024 * 1024
"""How much may wait in the queue for the other side, in bytes, before results, or tasks, wait outside of it."""


class BoundedSender:
    """Sends to one port on another node, never more than that node's queue holds.

    `Node.send` takes what `queue_limit` allows, and drops all when there is more. So what is beyond `HIGH_WATER` waits
    here, in order, until the queue was flushed.

    Args:
      runtime: the node.
      port: where to.
      drained: called when the port can take more again.
    """

    def __init__(self, runtime: Runtime, port: str, drained: Callable[[], None]) -> None:
        self._runtime = runtime
        self._peer = runtime.route(port)[0]
        self._drained = drained
        self.port = port
        self.blocked = False

    def send(self, message: tuple[object, ...]) -> None:
        """Send a message. Raises `TypeError` or `ValueError` for what cannot travel; see `Node.send`."""
        self._runtime.send(self.port, message)
        if self._peer is not None and not self.blocked and self._peer.queue.size > HIGH_WATER:
            self.blocked = True
            self._runtime.lifecycle.start_system_task(self._drain)

    async def _drain(self) -> None:
        assert self._peer is not None
        try:
            await self._peer.wait_flushed()
        except trio.BrokenResourceError:
            # The other side is gone; its monitor says so.
            return
        self.blocked = False
        self._drained()


class TaskServer:
    """The port of a worker, which takes tasks.

    Args:
      runtime: the worker's node.
      pool: the port that is answered.
      modules: whose functions are called.
      computer: calls the sync ones.
      begins: called with the ticket of an async task when it begins.
      nursery: where async ones run.

    Attributes:
      port: takes the tasks.
    """

    def __init__(
        self,
        runtime: Runtime,
        pool: str,
        released: Released,
        computer: Computer,
        begins: Callable[[int], None],
        nursery: trio.Nursery,
    ) -> None:
        self._runtime = runtime
        self._released = released
        self._computer = computer
        self._begins = begins
        self._nursery = nursery
        self._scopes: dict[int, trio.CancelScope] = {}
        # Answers that wait until the queue for the pool's node has been flushed.
        self._held: deque[tuple[object, ...]] = deque()
        self._sender = BoundedSender(runtime, pool, self._release)
        self._collects = False
        self._collect_job = Job(self._collect)
        self.port = runtime.lifecycle.public.port()
        self.port.on("run")(self._run)
        self.port.on("cancel")(self._cancel)
        self.port.on("return")(self._return)

    # Tasks ---------------------------------------------------------------------------------------------------------

    def _run(self, ticket: int, reference: str, *arguments: Any) -> None:
        try:
            function = self._released.find(reference)
        except LookupError as error:
            self._answer_failure(ticket, error)
            return
        if inspect.iscoroutinefunction(function):
            self._begins(ticket)
            scope = self._scopes[ticket] = trio.CancelScope()
            self._nursery.start_soon(self._run_async, ticket, function, arguments, scope, name=function)
        else:
            self._computer.give(ticket, function, arguments)
            if not self._collects:
                # Once for all that have come together.
                self._collects = True
                self._runtime.dispatcher.queue.enqueue(self._collect_job, ())

    async def _run_async(
        self, ticket: int, function: Callable[..., Any], arguments: tuple[Any, ...], scope: trio.CancelScope
    ) -> None:
        value: object = None
        try:
            with scope:
                value = await function(*arguments)
        except BaseException as error:
            if _is_cancelled(error):
                # The worker ends.
                raise
            self._answer_failure(ticket, error)
        else:
            if scope.cancelled_caught:
                self._answer(("cancelled", ticket))
            else:
                self._answer(("done", ticket, value, None))
        finally:
            del self._scopes[ticket]

    def _cancel(self, ticket: int) -> None:
        if self._computer.take_back(ticket):
            self._answer(("cancelled", ticket))
        elif ticket in self._scopes:
            self._scopes[ticket].cancel()

    def _return(self, *tickets: int) -> None:
        for ticket in tickets:
            if self._computer.take_back(ticket):
                self._answer(("returned", ticket))

    # Answers -------------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Answer what is computed at once, in the same pass in which it has come."""
        self._collects = False
        self._answer_computed(self._computer.collect(PATIENCE))

    def wake(self) -> None:
        """Something was computed; called by the node's thread soon after the other one has said so."""
        self._answer_computed(self._computer.collect(0))

    def _answer_computed(self, finished: list[Computed]) -> None:
        for one in finished:
            if one.failure is None:
                self._answer(("done", one.ticket, one.value, one.seconds))
            else:
                self._answer(("failed", one.ticket, *one.failure, one.seconds))

    def _answer_failure(self, ticket: int, error: BaseException) -> None:
        self._answer(("failed", ticket, describe(error), traceback_of(error), None))

    def _answer(self, message: tuple[object, ...]) -> None:
        if self._sender.blocked:
            self._held.append(message)
            return
        try:
            self._sender.send(message)
        except trio.ClosedResourceError:
            # The node has closed under a task that unwinds; the pool knows of it.
            return
        except (TypeError, ValueError) as error:
            # No answer would be a hole. This one is small, and can travel.
            word, ticket, *_ = message
            what = "value that the function returned" if word == "done" else "exception that the function raised"
            refused = type(error)(f"the {what}: {error}")
            self._sender.send(("failed", ticket, describe(refused), "", None))

    def _release(self) -> None:
        while self._held and not self._sender.blocked:
            self._answer(self._held.popleft())
        self._runtime.dispatcher.queue.flush_early()


def _is_cancelled(error: BaseException) -> bool:
    """Whether there is a cancellation in it, which must go on to the scope that it belongs to."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)
