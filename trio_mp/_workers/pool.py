"""The pool: which tasks wait, which worker has which, and what becomes of them.

One port takes the words of all workers (`server.py` lists them). A call needs no port of its own, because each task has
a ticket. A task gets a new, higher ticket each time that it is sent, so a late answer finds no task.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import trio

from .._errors import WorkerLost
from .._events import fields
from .._protocol.wire.values import plain_message
from .._reason import Reason, describe, identifier_of
from .._runtime import Runtime
from .assignment import SLOW, Durations, least_busy
from .failures import rebuild
from .items import HasBegun, WorkerHandle, WorkItem
from .server import BoundedSender

log = logging.getLogger("trio_mp.workers")

MOST_LIVES = 3
"""So many workers may end with one idempotent task before the pool gives it up, because the task may end them."""


class Pool:
    """Gives tasks to workers, and takes their answers.

    Args:
      runtime: the node that the workers are connected with.
      modules: the modules whose functions run there.
      shutdown_timeout: how long a task that was cancelled may take to end before its worker is killed, in seconds.
      kill: kills the process of a worker.
      find_begun: finds out which tasks a worker that has ended had begun, and why it has ended. Async, because it waits
        until nothing of the worker runs.

    Attributes:
      port: takes the words of the workers.
      workers: the workers that are up, in the order in which they came.
      closed: whether the pool refuses tasks.
      changed: woken when a worker comes or goes.
      broken: why a process could not become a worker, by its process ID.
    """

    def __init__(
        self,
        runtime: Runtime,
        modules: Collection[str],
        *,
        shutdown_timeout: float,
        kill: Callable[[WorkerHandle], None],
        find_begun: Callable[[WorkerHandle], Awaitable[tuple[HasBegun, Reason]]],
    ) -> None:
        self._runtime = runtime
        self._modules = modules
        self._shutdown_timeout = shutdown_timeout
        self._kill = kill
        self._find_begun = find_begun
        self._tickets = itertools.count(1)
        self._durations = Durations()
        # Sync tasks for which no worker has room, and tasks of any kind while no worker is up.
        self._waiting: deque[WorkItem] = deque()
        self._waiting_async: deque[WorkItem] = deque()
        self.changed = trio.lowlevel.ParkingLot()
        self.broken: dict[int, str] = {}
        # Tasks that were cancelled and have not ended, and the times at which their workers are killed.
        self._ending: dict[WorkItem, float] = {}
        # All tasks that are not finished; and the tasks that workers have, by ticket.
        self._unfinished: dict[WorkItem, None] = {}
        self._items: dict[int, WorkItem] = {}
        self._overseer = trio.Event()
        self.workers: list[WorkerHandle] = []
        self.closed = False
        self.port = runtime.lifecycle.public.port()
        self.port.on("ready")(self._ready)
        self.port.on("broken")(self.broken.__setitem__)
        self.port.on("done")(self._done)
        self.port.on("failed")(self._failed)
        self.port.on("cancelled")(self._was_cancelled)
        self.port.on("returned")(self._returned)

    # Workers -------------------------------------------------------------------------------------------------------

    def _ready(self, port: str, name: str, process: int) -> None:
        worker: WorkerHandle

        def lost(*reason: object) -> None:
            self._lost(worker, reason)

        worker = WorkerHandle(name, process, BoundedSender(self._runtime, port, self._assign))
        # No owner, so that it fires even if the pool's port dies.
        self._runtime.monitor(port, lost, None)
        self.workers.append(worker)
        log.info("%s is up", worker, extra=fields("worker", self._runtime.id))
        self.changed.unpark_all()
        self._assign()

    async def wait_ready(self, count: int) -> None:
        """Wait until so many workers are up. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while len(self.workers) < count:
            await self.changed.park()

    def _lost(self, worker: WorkerHandle, reason: Reason) -> None:
        self.workers.remove(worker)
        self.changed.unpark_all()
        items, worker.items = worker.items, {}
        for ticket, item in items.items():
            del self._items[ticket]
            item.worker = None
        self.start_soon(self._sort_out, worker, items, reason)

    async def _sort_out(self, worker: WorkerHandle, items: dict[int, WorkItem], seen: Reason) -> None:
        """Decide what becomes of the tasks of a worker that has ended.

        Args:
          worker: the worker.
          items: its tasks, by ticket.
          seen: the reason that the monitor has given: mostly that the connection was lost.
        """
        begun, reason = await self._find_begun(worker)
        reason = reason or seen
        if not self.closed:
            log.warning(
                "%s ended with %d tasks: %s",
                worker,
                len(items),
                describe(reason),
                extra=fields("worker", self._runtime.id, reason=identifier_of(reason)),
            )
        for ticket, item in items.items():
            if item.finished:
                # The pool was closed meanwhile.
                continue
            item.ticket = 0
            has_begun = begun(ticket, asynchronous=item.asynchronous)
            item.lives += has_begun
            if item.cancelled:
                self._finish(item)
            elif not has_begun or (item.idempotent and item.lives < MOST_LIVES):
                self._wait(item, first=True)
            else:
                item.error = WorkerLost(str(worker.sender.port), reason, worker.name)
                if item.lives > 1:
                    item.error.add_note(f"{item.lives} workers have ended with this task")
                self._finish(item)
        self._assign()

    # Tasks ---------------------------------------------------------------------------------------------------------

    def submit(self, item: WorkItem) -> None:
        """Give a task to a worker, or let it wait. If its arguments cannot travel, it is finished when this returns.

        Raises:
          trio.ClosedResourceError: the workers were closed.
        """
        if self.closed:
            raise trio.ClosedResourceError("these workers are closed")
        self._unfinished[item] = None
        if not self._waiting or item.asynchronous:
            worker = least_busy(self._free(), sync=not item.asynchronous)
            if worker is not None:
                self._send(worker, item)
                return
        self._wait(item)

    def _free(self) -> list[WorkerHandle]:
        return [worker for worker in self.workers if not worker.sender.blocked]

    def _wait(self, item: WorkItem, *, first: bool = False) -> None:
        waiting = self._waiting_async if item.asynchronous else self._waiting
        if first:
            waiting.appendleft(item)
        else:
            waiting.append(item)

    def _send(self, worker: WorkerHandle, item: WorkItem) -> None:
        ticket = next(self._tickets)
        try:
            worker.sender.send(("run", ticket, item.function, *item.arguments))
        except (TypeError, ValueError) as error:
            item.error = _explain(error, item.arguments)
            self._finish(item)
            return
        if not worker.items:
            worker.answered_at = trio.current_time()
        item.ticket, item.worker = ticket, worker
        item.seconds = None if item.asynchronous else self._durations.of(item.function)
        self._items[ticket] = worker.items[ticket] = item
        worker.load.add(item.seconds)

    def _assign(self) -> None:
        """Send tasks that wait to workers that have room."""
        for waiting, sync in ((self._waiting_async, False), (self._waiting, True)):
            while waiting:
                if waiting[0].cancelled:
                    waiting.popleft()
                    continue
                worker = least_busy(self._free(), sync=sync)
                if worker is None:
                    break
                self._send(worker, waiting.popleft())
        if self._is_uneven():
            self._overseer.set()

    def start_soon(self, async_function: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """Start a Trio task, which runs until it returns or the node ends."""
        self._runtime.lifecycle.start_system_task(async_function, *arguments)

    def flush(self) -> None:
        """Hand sent messages to the operating system now, because the caller is about to wait for the answer."""
        self._runtime.dispatcher.queue.flush_early()

    def cancel(self, item: WorkItem) -> None:
        """Cancel a task. It finishes now if no worker has it, else when its worker says so, or was killed for it."""
        if item.finished or item.cancelled:
            return
        item.cancelled = True
        if item.worker is None:
            # `_assign` passes over it in the queue. If its worker has ended, `_sort_out` finishes it.
            if item.ticket == 0:
                self._finish(item)
            return
        self._runtime.send(item.worker.sender.port, ("cancel", item.ticket))
        self._ending[item] = trio.current_time() + self._shutdown_timeout
        self._overseer.set()

    def _finish(self, item: WorkItem) -> None:
        if self._ending:
            self._ending.pop(item, None)
        self._unfinished.pop(item, None)
        item.finish()

    # Answers -------------------------------------------------------------------------------------------------------

    def _take(self, ticket: int) -> tuple[WorkItem, WorkerHandle] | None:
        """Take the task of this ticket from its worker; return both. None for an answer that comes too late."""
        item = self._items.pop(ticket, None)
        if item is None or item.worker is None:
            return None
        worker = item.worker
        del worker.items[ticket]
        worker.load.remove(item.seconds)
        worker.answered_at = trio.current_time()
        item.ticket = 0
        item.worker = None
        return item, worker

    def _done(self, ticket: int, value: object, seconds: float | None) -> None:
        taken = self._take(ticket)
        if taken is not None:
            item, worker = taken
            if seconds is not None:
                self._durations.learn(item.function, seconds)
            item.value = value
            # If it was too late to cancel the task, its caller gets the value.
            item.cancelled = False
            self._finish(item)
            self._go_on(worker)

    def _failed(self, ticket: int, description: object, trace: str, seconds: float | None) -> None:
        taken = self._take(ticket)
        if taken is not None:
            item, worker = taken
            if seconds is not None:
                self._durations.learn(item.function, seconds)
            item.error = rebuild(description, self._modules)
            item.error.add_note(f"in {worker}:\n{trace}" if trace else f"in {worker}")
            item.cancelled = False
            self._finish(item)
            self._go_on(worker)

    def _was_cancelled(self, ticket: int) -> None:
        taken = self._take(ticket)
        if taken is not None:
            item, worker = taken
            self._finish(item)
            self._go_on(worker)

    def _returned(self, ticket: int) -> None:
        taken = self._take(ticket)
        if taken is not None:
            item, _ = taken
            if item.cancelled:
                self._finish(item)
            else:
                self._wait(item, first=True)
            self._assign()

    def _go_on(self, worker: WorkerHandle) -> None:
        if self._waiting or self._waiting_async:
            self._assign()
        elif not worker.load.sync_tasks and self._is_uneven():
            self._overseer.set()

    # What takes long -----------------------------------------------------------------------------------------------

    def _is_uneven(self) -> bool:
        """Whether a worker has nothing to compute while another one has sync tasks that have not begun."""
        if len(self.workers) < 2:
            return False
        counts = [worker.load.sync_tasks for worker in self.workers]
        return min(counts) == 0 and max(counts) > 1

    async def oversee(self) -> None:
        """Call back tasks behind one that takes long, and kill workers whose cancelled tasks do not end.

        It runs as long as the node. If the node crashes, its end finishes all tasks, for which callers wait.
        """
        try:
            await self._oversee()
        finally:
            self.close()

    async def _oversee(self) -> None:
        while True:
            await self._overseer.wait()
            self._overseer = trio.Event()
            while self._ending or self._is_uneven():
                now = trio.current_time()
                if self._is_uneven():
                    self._call_back(now)
                    delay = SLOW
                else:
                    delay = min(self._ending.values()) - now
                with trio.move_on_after(max(delay, 0)):
                    await self._overseer.wait()
                self._overseer = trio.Event()
                self._kill_overdue(trio.current_time())

    def _call_back(self, now: float) -> None:
        for worker in self.workers:
            if worker.load.sync_tasks > 1 and now - worker.answered_at > SLOW:
                tickets = [ticket for ticket, item in worker.items.items() if not item.asynchronous]
                self._runtime.send(worker.sender.port, ("return", *tickets[1:]))
                worker.answered_at = now

    def _kill_overdue(self, now: float) -> None:
        overdue = [item for item, until in self._ending.items() if until <= now]
        for worker in {item.worker: None for item in overdue}:
            if worker is not None:
                log.warning(
                    "%s is killed: a task has not ended within %g s after it was cancelled",
                    *(worker, self._shutdown_timeout),
                    extra=fields("worker", self._runtime.id),
                )
                self._kill(worker)
        for item in overdue:
            del self._ending[item]

    # The end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Refuse tasks from now on, and finish those that are left with `ClosedResourceError`."""
        self.closed = True
        self._waiting.clear()
        self._waiting_async.clear()
        for item in tuple(self._unfinished):
            item.error = trio.ClosedResourceError("the workers were closed before this task was done")
            self._finish(item)


def _explain(error: Exception, arguments: tuple[Any, ...]) -> Exception:
    """Return the exception that says why arguments cannot travel, with the argument's place as the caller counts."""
    try:
        plain_message(arguments, thorough=True, what="arguments")
    except (TypeError, ValueError) as better:
        return better
    return error
