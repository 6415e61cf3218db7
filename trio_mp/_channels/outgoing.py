"""The direction of a channel in which a side sends: its credit, and the tasks that wait for some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio

from .._errors import RemoteProtocolError
from .._peers.peer import Peer
from .._ports.run_queue import Job
from .._protocol.credit import Credit, size_of
from .._protocol.wire.values import plain_value
from .._runtime import Runtime
from .side import WRITTEN_AT_ONCE, Side


class Closable(Protocol):
    """A clone of an end."""

    def close(self) -> None:
        """Close it."""
        ...


class WaitingSend:
    """A task that waits for credit.

    Attributes:
      task: the task.
      item, size: what it wants to send, and how many bytes that counts for.
      clone: by which clone.
      woken: whether the task was woken, and has not run since.
      error: what it is to raise when it is woken; None if the item was sent, or is to be sent by the task.
    """

    __slots__ = ("clone", "error", "item", "size", "task", "woken")

    def __init__(self, item: Any, size: int, clone: Closable) -> None:
        self.task = trio.lowlevel.current_task()
        self.item = item
        self.size = size
        self.clone = clone
        self.woken = False
        self.error: Exception | None = None


class SendingDirection:
    """The direction in which a side sends.

    Args:
      side: the side.
      runtime: its node.
      buffer, buffer_size: how many items, and how many bytes, may be on their way or wait over there.

    Attributes:
      clones: the open clones of the sending end.
      clock: a monotonic clock in seconds, for fairness only.
      yielded: when a task that sends has last let others run.
      waiting: the tasks that wait for credit, in their order.
      credit: what may be sent.
      refused: whether the other side takes nothing any more.
      told: whether the program of this side has been told that nothing can be sent any more.
    """

    def __init__(self, side: Side, runtime: Runtime, buffer: int, buffer_size: int) -> None:
        # Dicts for their order.
        self.clones: dict[Closable, None] = {}
        self.clock: Callable[[], float] = runtime.lifecycle.clock
        self.yielded = 0.0
        self.waiting: dict[WaitingSend, None] = {}
        self.credit = Credit(buffer, buffer_size)
        self.refused = False
        self._stopped = False
        self.told = False
        self._side = side
        self._runtime = runtime
        self._peer: Peer | None = None
        self._name = ""
        # So many items are written at once, if that is more than a few: then half a buffer, so that the other side
        # takes one half while this one sends the other. And how many are missing to that.
        self._batch = buffer // 2 if buffer // 2 >= WRITTEN_AT_ONCE else 0
        self._missing = self._batch
        # Whether this side has said that its first waiting task lacks bytes.
        self._said_wait = False

    def go_to(self, peer: Peer | None, name: str) -> None:
        """Send to the port of this name from now on, on that peer, or on this node."""
        self._peer, self._name = peer, name

    def write(self) -> None:
        """Write what was sent, now and not at the end of the pass."""
        self._missing = self._batch
        if self._peer is not None:
            self._peer.write()

    def check(self) -> None:
        """Raise `trio.BrokenResourceError` if nothing can be sent any more."""
        if self.refused:
            self.told = True
            raise trio.BrokenResourceError(f"{self._side.other} takes nothing from the channel any more")
        if self._side.broken is not None:
            self.told = True
            self._side.raise_broken()

    def put(self, item: Any) -> bool:
        """Send an item if there is credit for it and no task waits; returns whether it was sent.

        Raises:
          trio.BrokenResourceError: nothing can be sent any more.
          TypeError, ValueError: the item cannot travel. It has cost nothing.
        """
        if self._stopped:
            self.check()
        size = size_of(item) if self._side.measured else 0
        if self.waiting or not self.credit.take(size):
            return False
        self._send(item)
        return True

    def _send(self, item: Any) -> None:
        """Send an item whose credit was taken. The credit comes back if this raises."""
        runtime, peer = self._runtime, self._peer
        try:
            # As `Runtime.send`, without looking up the route each time: while the other side is monitored it stays.
            if runtime.closed or runtime.lifecycle.lingering:
                runtime.check_open()
            if peer is None:
                runtime.send_here(self._name, ("item", item))
            else:
                peer.send(self._name, ("item", item))
        except BaseException as error:
            self.credit.refund()
            if isinstance(error, TypeError | ValueError):
                # The place as the caller counts.
                plain_value(item, "item", room=2)
            raise
        self._missing -= 1
        if not self._missing:
            self.write()

    async def wait(self, item: Any, clone: Closable) -> None:
        """Wait until there is credit for an item, and it was sent. Cancelled, it was not sent.

        Raises what `put` does, and `trio.ClosedResourceError` if the clone is closed meanwhile.
        """
        waiting = WaitingSend(item, size_of(item) if self._side.measured else 0, clone)
        self.waiting[waiting] = None
        self._say_wait()

        def abort(_: object) -> trio.lowlevel.Abort:
            del self.waiting[waiting]
            if self.waiting:
                # It may have waited for more credit than the next one needs. A job, because a send may raise.
                self._runtime.dispatcher.queue.enqueue(Job(self._serve), ())
            self._said_wait = False
            return trio.lowlevel.Abort.SUCCEEDED

        # What was sent goes out before this task waits, and not in the pass after that.
        self._runtime.dispatcher.queue.flush_early()
        await trio.lowlevel.wait_task_rescheduled(abort)
        self.yielded = self.clock()
        if waiting in self.waiting:
            # There is credit. No other task could take it meanwhile: this one still waits.
            del self.waiting[waiting]
            if self.waiting:
                self._runtime.dispatcher.queue.enqueue(Job(self._serve), ())
            self._said_wait = False
            self.credit.take(waiting.size)
            self._send(item)
        error, waiting.error = waiting.error, None
        if error is not None:
            raise error

    def _wake(self, waiting: WaitingSend, error: Exception | None) -> None:
        del self.waiting[waiting]
        waiting.error = error
        if not waiting.woken:
            waiting.woken = True
            trio.lowlevel.reschedule(waiting.task)

    def _wake_first(self) -> None:
        """Have the first task that waits send its item itself, if there is credit for it.

        It goes on sending then. If the item was sent here, it would be written alone, at the end of this pass, and wake
        the other side for itself.
        """
        first = next(iter(self.waiting))
        if not first.woken:
            if self.credit.covers(first.size):
                first.woken = True
                trio.lowlevel.reschedule(first.task)
            else:
                self._say_wait()

    def _serve(self) -> None:
        """Send for the tasks that wait, as far as the credit goes: here, and not in the tasks, to keep their order."""
        while self.waiting:
            first = next(iter(self.waiting))
            if not self.credit.take(first.size):
                self._say_wait()
                return
            self._said_wait = False
            error: Exception | None = None
            try:
                self._send(first.item)
            except Exception as why:  # noqa: BLE001 - whatever it is, the task that wanted to send it gets it
                error = why
            self._wake(first, error)

    def _say_wait(self) -> None:
        """Say that the first task waits, if it lacks bytes: what it lacks in items comes back without that."""
        if self.credit.items and not self._said_wait:
            self._said_wait = True
            self._side.say("wait")

    def given(self, items: object) -> None:
        """Take up that the other side gives credit back."""
        if type(items) is not int:
            raise RemoteProtocolError(f"credit: expected a number of items, got {items!r:.100}")
        self.credit.give(items)
        if self.waiting:
            self._wake_first()

    def closed_there(self) -> None:
        """Take up that the other side takes nothing any more."""
        self.refused = True
        self.stop()
        self._side.gone()

    def stop(self) -> None:
        """Have `put` raise what `check` raises, and all tasks that wait."""
        self._stopped = True
        for waiting in tuple(self.waiting):
            try:
                self.check()
            except trio.BrokenResourceError as error:
                self._wake(waiting, error)

    def close(self, clone: Closable) -> None:
        """Take up that a clone is closed. Tasks that wait by it raise; with the last clone the end is said."""
        for waiting in tuple(self.waiting):
            if waiting.clone is clone:
                self._said_wait = False
                self._wake(waiting, trio.ClosedResourceError("another task has closed this end of the channel"))
        del self.clones[clone]
        if not self.clones:
            self._side.say("end")
        elif self.waiting:
            self._serve()

    def close_all(self) -> None:
        """Close all clones."""
        for clone in tuple(self.clones):
            clone.close()
