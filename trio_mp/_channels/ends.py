"""The ends of a channel, as programs use them: Trio's `SendChannel` and `ReceiveChannel`, with clones."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled, enable_ki_protection

from .incoming import ReceivingDirection
from .outgoing import SendingDirection

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

YIELD_INTERVAL = 0.001
"""A task that need not wait lets others run at least this often, in seconds."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What is going on at one end of a channel.

    Attributes:
      current_buffer_used: of a sender, the items that were sent and for which no credit has come back yet; of a
        receiver, the items that have arrived and wait.
      current_buffer_size: how many bytes these items count for; 0 within one node.
      max_buffer_used, max_buffer_size: the most that may be on their way or wait: `buffer` and `buffer_size`.
      open_clones: how many clones of this end are open.
      tasks_waiting: how many tasks wait in `send`, or in `receive`.
    """

    current_buffer_used: int
    current_buffer_size: int
    max_buffer_used: int
    max_buffer_size: int
    open_clones: int
    tasks_waiting: int


class ChannelSender(trio.abc.SendChannel[T_contra]):
    """The sending end of a channel to another node; a `trio.abc.SendChannel`. See `Node.open_channel`.

    Any number of tasks may use it at the same time, and close it. They send in the order in which they come.
    """

    __slots__ = ("_closed", "_limits", "_outgoing")

    def __init__(self, outgoing: Any, buffer: int, buffer_size: int) -> None:
        # `Any` in the signature: type checkers of programs need not read the modules that are not for users.
        self._outgoing: SendingDirection = outgoing
        self._limits = buffer, buffer_size
        self._closed = False
        outgoing.clones[self] = None

    def __repr__(self) -> str:
        return f"<ChannelSender{' (closed)' if self._closed else ''} at {id(self):#x}>"

    @enable_ki_protection
    async def send(self, value: T_contra) -> None:
        """Send an item; wait for credit if there is none.

        Args:
          value: the item: what a message may hold, see `Node.send`. To another node a snapshot travels.

        When this returns, credit was taken and the item is queued, in order with all other messages. It does not say
        that the item was received, or will be: if it is lost, both ends break.

        With credit this returns without a full scheduler pass: cancellation is checked, and other tasks run at least
        every millisecond. Cancelled, the item was not sent, and has cost no credit.

        Raises:
          trio.BrokenResourceError: the other side takes nothing any more; or the channel is broken, and the
            `__cause__` is the `PortDied` that says why.
          trio.ClosedResourceError: this clone is closed, perhaps while this waits.
          TypeError, ValueError: the item cannot travel. The channel goes on without it.
        """
        outgoing = self._outgoing
        await checkpoint_if_cancelled()
        if outgoing.clock() - outgoing.yielded >= YIELD_INTERVAL:
            await cancel_shielded_checkpoint()
            outgoing.yielded = outgoing.clock()
        if self._closed:
            raise trio.ClosedResourceError("this end of the channel is closed")
        if not outgoing.put(value):
            await outgoing.wait(value, self)

    @enable_ki_protection
    def send_nowait(self, value: T_contra) -> None:
        """Send an item now. Not a checkpoint.

        Raises:
          trio.WouldBlock: there is no credit for it, or other tasks wait for some.
          what `send` raises.
        """
        if self._closed:
            raise trio.ClosedResourceError("this end of the channel is closed")
        if not self._outgoing.put(value):
            raise trio.WouldBlock

    def clone(self) -> ChannelSender[T_contra]:
        """Another sender of the same channel, on this node. The other side ends when all clones are closed.

        Raises:
          trio.ClosedResourceError: this clone is closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("this end of the channel is closed")
        return ChannelSender(self._outgoing, *self._limits)

    @enable_ki_protection
    def close(self) -> None:
        """Close this clone. Not a checkpoint.

        Tasks that wait to send by it raise `trio.ClosedResourceError`. With the last clone the end is sent: the other
        side takes what it was sent before, and then gets `trio.EndOfChannel`.
        """
        if not self._closed:
            self._closed = True
            self._outgoing.close(self)

    async def aclose(self) -> None:
        """Close this clone, as `close` does. A checkpoint; cancelled, it is closed all the same."""
        self.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> ChannelStatistics:
        """What is going on at this end."""
        outgoing = self._outgoing
        credit = outgoing.credit
        return ChannelStatistics(
            *(credit.used, credit.used_size, *self._limits), len(outgoing.clones), len(outgoing.waiting)
        )

    def __enter__(self) -> ChannelSender[T_contra]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ChannelReceiver(trio.abc.ReceiveChannel[T_co]):
    """The receiving end of a channel from another node; a `trio.abc.ReceiveChannel`. See `Node.open_channel`.

    Any number of tasks may use it at the same time, and close it. Each item goes to one of them.
    """

    __slots__ = ("_closed", "_incoming", "_limits")

    def __init__(self, incoming: Any, buffer: int, buffer_size: int) -> None:
        # `Any` in the signature: type checkers of programs need not read the modules that are not for users.
        self._incoming: ReceivingDirection = incoming
        self._limits = buffer, buffer_size
        self._closed = False
        incoming.clones[self] = None

    def __repr__(self) -> str:
        return f"<ChannelReceiver{' (closed)' if self._closed else ''} at {id(self):#x}>"

    @enable_ki_protection
    async def receive(self) -> T_co:
        """Take the next item; wait for one if there is none. To be awaited.

        An item that is already there is returned without a full scheduler pass: cancellation is checked, and other
        tasks run at least every millisecond. Cancelled, no item was taken.

        Raises:
          trio.EndOfChannel: all items were taken, and the other side has closed all its senders.
          trio.BrokenResourceError: all items that have arrived were taken, and the channel is broken; the `__cause__`
            is the `PortDied` that says why.
          trio.ClosedResourceError: this clone is closed, perhaps while this waits.
        """
        incoming = self._incoming
        await checkpoint_if_cancelled()
        if incoming.clock() - incoming.yielded >= YIELD_INTERVAL:
            await cancel_shielded_checkpoint()
            incoming.yielded = incoming.clock()
        item: T_co
        if incoming.items and not self._closed:
            item = incoming.take()
        else:
            item = await self._wait()
        return item

    @enable_ki_protection
    async def __anext__(self) -> T_co:
        # The same lines and not a call: one more for each item.
        incoming = self._incoming
        await checkpoint_if_cancelled()
        if incoming.clock() - incoming.yielded >= YIELD_INTERVAL:
            await cancel_shielded_checkpoint()
            incoming.yielded = incoming.clock()
        if incoming.items and not self._closed:
            item: T_co = incoming.take()
            return item
        try:
            return await self._wait()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def _wait(self) -> T_co:
        """Wait for an item, because none is there or this clone is closed."""
        if self._closed:
            raise trio.ClosedResourceError("this end of the channel is closed")
        self._incoming.check()
        item: T_co = await self._incoming.wait(self)
        return item

    @enable_ki_protection
    def receive_nowait(self) -> T_co:
        """Take an item that is already there. Not a checkpoint.

        Raises:
          trio.WouldBlock: none is there.
          what `receive` raises.
        """
        if self._closed:
            raise trio.ClosedResourceError("this end of the channel is closed")
        if not self._incoming.items:
            self._incoming.check()
            raise trio.WouldBlock
        item: T_co = self._incoming.take()
        return item

    def clone(self) -> ChannelReceiver[T_co]:
        """Another receiver of the same channel, on this node. The other side breaks when all clones are closed.

        Raises:
          trio.ClosedResourceError: this clone is closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("this end of the channel is closed")
        return ChannelReceiver(self._incoming, *self._limits)

    @enable_ki_protection
    def close(self) -> None:
        """Close this clone. Not a checkpoint.

        Tasks that wait to receive by it raise `trio.ClosedResourceError`. With the last clone the items are dropped
        that have arrived, and on the other side `send` raises `trio.BrokenResourceError`.
        """
        if not self._closed:
            self._closed = True
            self._incoming.close(self)

    async def aclose(self) -> None:
        """Close this clone, as `close` does. A checkpoint; cancelled, it is closed all the same."""
        self.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> ChannelStatistics:
        """What is going on at this end."""
        incoming = self._incoming
        debt = incoming.debt
        return ChannelStatistics(
            *(len(incoming.items), debt.waiting_size, *self._limits), len(incoming.clones), len(incoming.waiting)
        )

    def __enter__(self) -> ChannelReceiver[T_co]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
