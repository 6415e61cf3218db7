"""Workers as programs see them: `run` for one call, `map` for many."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, overload

import trio

from .functions import Callables
from .items import WorkItem
from .mapping import MapResults, open_results
from .pool import Pool

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """Worker processes that run functions for this program. Made by `Node.open_workers`.

    The functions must be `@spawnable`, and stand at the top level of one of the `modules`. Workers call them with the
    arguments alone, and without a port. A sync function has a worker's main thread for itself. Async functions run as
    tasks of Trio, many at once, in another thread of the worker. An async function that computes stops the others; if
    it computes for minutes, the worker looks dead.

    Arguments and results travel like messages: see `Node.send` for the values. A tuple arrives as a list.
    """

    def __init__(self, pool: Any, callables: Any, count: int) -> None:
        # `Any` in the signature: type checkers of programs need not read the modules that are not for users.
        self._pool: Pool = pool
        self._callables: Callables = callables
        self._count = count

    def __repr__(self) -> str:
        state = "closed" if self._pool.closed else f"{len(self._pool.workers)} of {self._count} up"
        return f"<Workers: {state}>"

    def __len__(self) -> int:
        """The number of workers when all are up."""
        return self._count

    @property
    def processes(self) -> tuple[int, ...]:
        """The process IDs of the workers that are up."""
        return tuple(worker.process for worker in self._pool.workers)

    @overload
    async def run(self, function: Callable[..., Awaitable[T]], *arguments: Any, idempotent: bool = ...) -> T: ...
    @overload
    async def run(self, function: Callable[..., T], *arguments: Any, idempotent: bool = ...) -> T: ...
    async def run(self, function: Callable[..., Any], *arguments: Any, idempotent: bool = False) -> Any:
        """Call a function in the least busy worker, and return its result.

        Args:
          function: a sync or async function that is `@spawnable` and at the top level of one of the `modules`. Each
            worker runs one sync function at a time; further ones wait. Async functions begin at once.
          arguments: the arguments of the function. Do not change them until `run` returns.
          idempotent: whether the function may run twice. If its worker ends, it then runs again on another one, at most
            three times in all.

        A checkpoint. Cancelled, it drops a task that has not begun, and cancels an async function in its worker.
        Nothing can interrupt a sync function. `run` waits until nothing of the call runs any more. After
        `shutdown_timeout` seconds it has the worker killed, and another one takes its place. If the function returns
        all the same, `run` returns its result.

        Raises:
          the exception that the function has raised, with a note that names the worker and shows the traceback there.
            It keeps its type, if that is one of Python, of Trio or of the `modules`, and can be made again from its
            `__reduce__`; else it is a `WorkerError`.
          WorkerLost: the worker has ended, and the function may have run.
          TypeError, ValueError: workers cannot find the function; or an argument or the result cannot travel: the text
            says where it is.
          trio.ClosedResourceError: the workers are closed.
        """
        name, asynchronous = self._callables.name_of(function)
        item = WorkItem(name, asynchronous, arguments, idempotent)
        self._pool.submit(item)
        if not item.finished:
            await _wait_finished(self._pool, item)
        if item.error is not None:
            error = item.error
            try:
                raise error
            finally:
                # The exception refers to this frame by its traceback.
                del error, item
        return item.value

    def map(
        self,
        function: Callable[[T], Any],
        iterable: Iterable[T] | AsyncIterable[T],
        *,
        limit: int | None = None,
        ordered: bool = True,
        idempotent: bool = False,
    ) -> AbstractAsyncContextManager[MapResults[Any]]:
        """Call a function for each item: `async with workers.map(f, items) as results: async for result in results:`.

        Args:
          function: as for `run`; called with one item.
          iterable: the items, sync or async. Items are taken when there is room for them; the task that takes results
            also takes the items of a sync iterable. An async generator is closed at the end.
          limit: how many items, at most, may be at work or have a result that was not taken yet; four for each worker
            by default.
          ordered: whether results come in the order of the items, or each as soon as it is there.
          idempotent: as for `run`.

        The first failure, of a function or of the iterable, cancels the other calls. The next step of the iterator
        raises it, as `run` does; if there is no next step, leaving the block raises it. So it is raised once,
        unwrapped. If the block is left early, `map` cancels the calls that still run, as `run` does, and waits for
        them.

        Entering, leaving and each step are checkpoints.

        Raises:
          TypeError, ValueError: workers cannot find the function; or the limit is not above 0.
          trio.ClosedResourceError: the workers are closed.
        """
        name, asynchronous = self._callables.name_of(function)
        if limit is not None and limit < 1:
            raise ValueError(f"map(): expected a limit above 0, got {limit}")

        def make_item(argument: T) -> WorkItem:
            return WorkItem(name, asynchronous, (argument,), idempotent)

        return open_results(self._pool, make_item, iterable, limit or 4 * self._count, ordered=ordered)


async def _wait_finished(pool: Pool, item: WorkItem) -> None:
    """Wait until a task is finished. Raises `Cancelled` if the task was cancelled and has not finished otherwise."""
    task = trio.lowlevel.current_task()
    raise_cancelled: Callable[[], Any] | None = None

    def wake() -> None:
        trio.lowlevel.reschedule(task)

    def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        nonlocal raise_cancelled
        raise_cancelled = raise_cancel
        item.on_finish = None
        pool.cancel(item)
        if item.finished:
            return trio.lowlevel.Abort.SUCCEEDED
        item.on_finish = wake
        return trio.lowlevel.Abort.FAILED

    item.on_finish = wake
    pool.flush()
    await trio.lowlevel.wait_task_rescheduled(abort)
    if item.cancelled:
        assert raise_cancelled is not None
        raise_cancelled()
