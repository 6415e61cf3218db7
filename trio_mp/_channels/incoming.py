"""The direction of a channel in which a side receives: the items that wait, and the tasks that wait for items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from .._errors import RemoteProtocolError
from .._protocol.credit import Debt, size_of
from .._runtime import Runtime
from .outgoing import Closable
from .side import WRITTEN_AT_ONCE, ChannelSide


class WaitingReceive:
    """A task that waits for an item.

    Attributes:
      task: the task.
      clone: by which clone.
      item: what it has got, if `error` is None when it is woken.
      error: what it is to raise.
    """

    __slots__ = ("clone", "error", "item", "task")

    def __init__(self, clone: Closable) -> None:
        self.task = trio.lowlevel.current_task()
        self.clone = clone
        self.item: Any = None
        self.error: Exception | None = None


class ReceivingDirection:
    """The direction in which a side receives.

    Args:
      side: the side.
      runtime: its node.
      buffer, buffer_size: how many items, and how many bytes, may be on their way or wait here.

    Attributes:
      clones: the open clones of the receiving end.
      clock: a monotonic clock in seconds, for fairness only.
      yielded: when a task that receives has last let others run.
      waiting: the tasks that wait for an item, in their order.
      items: the items that wait, the oldest first, each with its size.
      debt: what was received and not given back.
      told: whether the program of this side has been told that the channel is broken.
    """

    def __init__(self, side: ChannelSide, runtime: Runtime, buffer: int, buffer_size: int) -> None:
        # Dicts for their order.
        self.clones: dict[Closable, None] = {}
        self.clock: Callable[[], float] = runtime.lifecycle.clock
        self.yielded = 0.0
        self.waiting: dict[WaitingReceive, None] = {}
        self.items: deque[tuple[Any, int]] = deque()
        self.debt = Debt(buffer, buffer_size)
        self.told = False
        self._queue = runtime.dispatcher.queue
        self._side = side
        self._closed = False
        # Whether the other side has said that no item follows.
        self._ended = False

    def arrived(self, item: Any) -> None:
        """Take up an item: the task that has waited longest gets it, or it waits."""
        if self._ended:
            raise RemoteProtocolError("channel: expected nothing behind the end, got an item")
        if self._closed:
            return
        size = size_of(item) if self._side.measured else 0
        self.debt.arrived(size)
        if self.waiting:
            first = next(iter(self.waiting))
            first.item = item
            self._wake(first, None)
            given_back = self.debt.taken(size)
            if given_back:
                self._give_back(given_back)
        else:
            self.items.append((item, size))

    def take(self) -> Any:
        """Take the oldest item that waits, of which there is one."""
        item, size = self.items.popleft()
        given_back = self.debt.taken(size)
        if given_back:
            self._give_back(given_back)
        return item

    def _give_back(self, count: int) -> None:
        self._side.say("credit", count)
        if count >= WRITTEN_AT_ONCE:
            # The other side goes on while this one takes what is left.
            self._side.write()

    def check(self) -> None:
        """Raise `trio.EndOfChannel` or `trio.BrokenResourceError` if no item can come any more. None waits."""
        if self._ended:
            raise trio.EndOfChannel
        if self._side.broken is not None:
            self.told = True
            self._side.raise_broken()

    async def wait(self, clone: Closable) -> Any:
        """Wait for an item. Cancelled, none was taken.

        Raises what `check` does, and `trio.ClosedResourceError` if the clone is closed meanwhile.
        """
        waiting = WaitingReceive(clone)
        self.waiting[waiting] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            del self.waiting[waiting]
            return trio.lowlevel.Abort.SUCCEEDED

        # The credit that is given back goes out before this task waits, and not in the pass after that.
        self._queue.flush_early()
        await trio.lowlevel.wait_task_rescheduled(abort)
        self.yielded = self.clock()
        error, waiting.error = waiting.error, None
        if error is not None:
            raise error
        return waiting.item

    def _wake(self, waiting: WaitingReceive, error: Exception | None) -> None:
        del self.waiting[waiting]
        waiting.error = error
        trio.lowlevel.reschedule(waiting.task)

    def awaited(self) -> None:
        """Take up that a task over there waits for more bytes of credit."""
        given_back = self.debt.awaited()
        if given_back:
            self._give_back(given_back)

    def ended(self) -> None:
        """Take up that no item follows."""
        if self._ended:
            raise RemoteProtocolError("channel: expected one end, got another")
        self._ended = True
        self.wake_all()

    def wake_all(self) -> None:
        """Have all tasks that wait raise what `check` raises."""
        for waiting in tuple(self.waiting):
            try:
                self.check()
            except (trio.EndOfChannel, trio.BrokenResourceError) as error:
                self._wake(waiting, error)

    def close(self, clone: Closable) -> None:
        """Take up that a clone is closed. Tasks that wait by it raise; with the last one the items are dropped."""
        for waiting in tuple(self.waiting):
            if waiting.clone is clone:
                self._wake(waiting, trio.ClosedResourceError("another task has closed this end of the channel"))
        del self.clones[clone]
        if not self.clones:
            self._closed = True
            self.items.clear()
            self._side.say("closed")

    def close_all(self) -> None:
        """Close all clones."""
        for clone in tuple(self.clones):
            clone.close()
