"""A worker's port: it takes tasks from the pool and answers each with one message.

The words, from the pool to the worker:

- `("run", ticket, function, *arguments)`: call this function.
- `("cancel", ticket)`: drop the task, or cancel it if it is async. A sync function that runs is not disturbed.
- `("return", ticket, …)`: give these tasks back for another worker, unless they have begun.

The words from the worker to the pool, of which one of the first four answers each task:

- `("done", ticket, value, seconds)`: the function has returned; how long a sync one took, None for an async one.
- `("failed", ticket, description, traceback, seconds)`: the function has raised; see `failures.py`.
- `("cancelled", ticket)`: the task was dropped before it began, or has unwound.
- `("returned", ticket)`: the task had not begun, and the worker does not run it.
- `("ready", port, name, process)`: the first word of a worker that has imported its modules.
- `("broken", process, text)`: the only word of a worker that could not import its modules.
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
"""How long the node waits for the results of tasks that have just come, in seconds, before it goes on."""

HIGH_WATER = 4 * 1024 * 1024
"""How much may wait in the queue for the other side, in bytes. Beyond it, results and tasks wait outside the queue."""


class BoundedSender:
    """Sends to one port on another node, and says when the queue for that node is full enough.

    `Node.send` takes what `queue_limit` allows, and drops all when there is more. So beyond `HIGH_WATER` this is
    `blocked`, and its users wait until the queue was flushed.

    Args:
      runtime: the node.
      port: the ID of the port.
      drained: called when the port can take more again.

    Attributes:
      port: see above.
      blocked: whether users should wait until `drained` is called.
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
            # The other side is gone; the monitor of its port says so.
            return
        self.blocked = False
        self._drained()


class TaskServer:
    """The port of a worker, which takes tasks.

    Args:
      runtime: the worker's node.
      pool: the ID of the pool's port, which gets the answers.
      released: the functions that may be called.
      computer: calls sync functions.
      begins: called with the ticket of an async task when it begins.
      nursery: runs async functions.

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
                # One job for all tasks that have come together.
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
                # The worker ends; the pool needs no answer.
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
        """Answer short tasks in the pass of the scheduler in which they have come."""
        self._collects = False
        self._answer_computed(self._computer.collect(PATIENCE))

    def wake(self) -> None:
        """Answer tasks that the computing thread has finished. Called in the node's thread."""
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
            # The node has closed while a task unwinds; the pool knows that.
            return
        except (TypeError, ValueError) as error:
            # Without an answer the caller would wait for ever. This answer is small, and can travel.
            word, ticket, *_ = message
            what = "value that the function returned" if word == "done" else "exception that the function raised"
            refused = type(error)(f"the {what}: {error}")
            self._sender.send(("failed", ticket, describe(refused), "", None))

    def _release(self) -> None:
        while self._held and not self._sender.blocked:
            self._answer(self._held.popleft())
        self._runtime.dispatcher.queue.flush_early()


def _is_cancelled(error: BaseException) -> bool:
    """Whether an exception holds a cancellation, which must go on to its cancel scope."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)
