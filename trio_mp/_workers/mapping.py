"""Many calls of one function: a bounded number of items are at work, or have results that wait."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Generic, TypeVar

import trio

from .items import WorkItem
from .pool import Pool

T = TypeVar("T")
R = TypeVar("R")


class MapResults(AsyncIterator[R], Generic[R]):
    """The results of `Workers.map`: an async iterator."""

    def __init__(self, pool: Pool, make_item: Callable[[Any], WorkItem], limit: int, *, ordered: bool) -> None:
        self._pool = pool
        self._make_item = make_item
        self._limit = limit
        self._ordered = ordered
        # Tasks whose results were not taken. If `ordered`, all of them in the order of their items; else only the
        # finished ones.
        self._queue: deque[WorkItem] = deque()
        self._unfinished: dict[WorkItem, None] = {}
        # The iterator of a sync iterable; None when it is exhausted, or if the iterable is async.
        self._items: Iterator[Any] | None = None
        self._exhausted = False
        self._failure: BaseException | None = None
        self._over = False
        self._busy = False
        self._changed = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()

    # Items ---------------------------------------------------------------------------------------------------------

    def _pending(self) -> int:
        """How many items are at work, or have a result that was not taken."""
        return len(self._queue) if self._ordered else len(self._queue) + len(self._unfinished)

    def _fill(self) -> None:
        """Take items of a sync iterable while there is room."""
        while self._items is not None and self._failure is None and self._pending() < self._limit:
            try:
                argument = next(self._items)
            except StopIteration:
                self._items = None
                self._exhausted = True
            except BaseException as error:  # noqa: BLE001 - whatever the program's iterable raises
                self._fail(error)
            else:
                self._submit(argument)

    async def _feed(self, iterable: AsyncIterable[Any]) -> None:
        """Take items of an async iterable while there is room."""
        try:
            async with AsyncExitStack() as stack:
                if isinstance(iterable, AsyncGenerator):
                    # Trio warns of an async generator that nobody has closed.
                    stack.push_async_callback(iterable.aclose)
                async for argument in iterable:
                    self._submit(argument)
                    self._pool.flush()
                    while self._pending() >= self._limit:
                        await self._room.park()
        except Exception as error:  # noqa: BLE001 - whatever the program's iterable raises
            self._fail(error)
        else:
            self._exhausted = True
        self._changed.unpark_all()

    def _submit(self, argument: object) -> None:
        if self._over or self._failure is not None:
            return
        item = self._make_item(argument)
        item.on_finish = lambda: self._finished(item)
        self._unfinished[item] = None
        if self._ordered:
            self._queue.append(item)
        try:
            self._pool.submit(item)
        except trio.ClosedResourceError as error:
            item.on_finish = None
            self._unfinished.pop(item)
            self._fail(error)

    def _finished(self, item: WorkItem) -> None:
        self._unfinished.pop(item, None)
        if item.error is not None and self._failure is None and not self._over:
            self._fail(item.error)
        if not self._ordered:
            self._queue.append(item)
        self._changed.unpark_all()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._cancel()
        self._changed.unpark_all()

    def _cancel(self) -> None:
        for item in tuple(self._unfinished):
            self._pool.cancel(item)

    # MapResults -------------------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[R]:
        """Return this object, the iterator."""
        return self

    async def __anext__(self) -> R:
        """Return the next result. A checkpoint.

        Raises:
          StopAsyncIteration: there are no more results.
          trio.BusyResourceError: another task waits for the next result.
          the first failure, as `Workers.map` says.
        """
        if self._busy:
            raise trio.BusyResourceError("another task waits for the next result of this map()")
        self._busy = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                self._raise_failure()
                if self._over:
                    raise StopAsyncIteration
                self._fill()
                self._raise_failure()
                if self._queue and self._queue[0].finished:
                    item = self._queue.popleft()
                    self._room.unpark_all()
                    self._fill()
                    self._pool.flush()
                    return item.value  # type: ignore[return-value]
                if self._exhausted and not self._pending():
                    raise StopAsyncIteration
                self._pool.flush()
                await self._changed.park()
        finally:
            self._busy = False

    def _raise_failure(self) -> None:
        if self._failure is not None and not self._over:
            # Raised once: the iterator ends with it.
            self._over = True
            raise self._failure

    # The block -----------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Cancel the calls that still run, and wait for their end, shielded."""
        self._over = True
        self._cancel()
        self._pool.flush()
        with trio.CancelScope(shield=True):
            while self._unfinished:
                await self._changed.park()


@asynccontextmanager
async def open_results(
    pool: Pool,
    make_item: Callable[[Any], WorkItem],
    iterable: Iterable[Any] | AsyncIterable[Any],
    limit: int,
    *,
    ordered: bool,
) -> AsyncGenerator[MapResults[Any]]:
    """See `Workers.map`."""
    results: MapResults[Any] = MapResults(pool, make_item, limit, ordered=ordered)
    feeding = trio.CancelScope()
    fed = trio.Event()

    async def feed(items: AsyncIterable[Any]) -> None:
        try:
            with feeding:
                await results._feed(items)
        finally:
            fed.set()

    await trio.lowlevel.checkpoint()
    if isinstance(iterable, AsyncIterable):
        pool.start_soon(feed, iterable)
    else:
        fed.set()
        results._items = iter(iterable)
        results._fill()
    try:
        yield results
        seen = results._over
    except BaseException:
        seen = True
        raise
    finally:
        feeding.cancel()
        await results._end()
        with trio.CancelScope(shield=True):
            await fed.wait()
    if results._failure is not None and not seen:
        raise results._failure
