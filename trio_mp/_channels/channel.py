"""One side of a channel: a port, what it sends, what it receives, and whether the channel is broken.

Both sides are the same. These words go from the port of one to the port of the other, in order, as messages do:

    item     one item, for which the sender had credit
    credit   so many items were taken, and may be sent again
    wait     a task waits to send an item that has more bytes than there is credit for
    end      no item follows: all clones of the sending end are closed
    closed   no item is taken any more: all clones of the receiving end are closed

Each side monitors the other's port. What the monitor says comes behind all that was sent before, so a side that is told
of a death has everything that could arrive. Only `end` ends a channel; a death without it breaks the channel.
"""

from __future__ import annotations

from typing import Any, NoReturn

import trio

from .._errors import PortDied
from .._ports.monitor import Monitor
from .._ports.port import Port, state_of
from .._reason import NORMAL, Reason, describe
from .._runtime import Runtime
from .ends import ChannelReceiver, ChannelSender
from .incoming import ReceivingDirection
from .outgoing import SendingDirection
from .side import Side


class Channel(Side):
    """One side of a channel.

    Args:
      runtime: the node.
      port: the port of this side. Other nodes send it nothing but the words of the channel.
      buffer, buffer_size: how many items, and how many bytes, may be on their way or wait, in each direction.

    Attributes:
      sender, receiver: the first clones of both ends, for the program.
    """

    def __init__(self, runtime: Runtime, port: Port, buffer: int, buffer_size: int) -> None:
        self.other = ""
        self.measured = True
        self.broken = None
        self.gone = _nothing
        self._runtime = runtime
        self._port = port
        # Whether this side has left the channel, by its own program's will.
        self._left = False
        self._outgoing = outgoing = SendingDirection(self, runtime, buffer, buffer_size)
        self._incoming = incoming = ReceivingDirection(self, runtime, buffer, buffer_size)
        self.sender: ChannelSender[Any] = ChannelSender(outgoing, buffer, buffer_size)
        self.receiver: ChannelReceiver[Any] = ChannelReceiver(incoming, buffer, buffer_size)
        port.on("item")(incoming.arrived)
        port.on("credit")(outgoing.given)
        port.on("wait")(incoming.awaited)
        port.on("end")(incoming.ended)
        port.on("closed")(outgoing.closed_there)
        # With the port the channel ends, whoever kills it.
        state_of(port).owned[self] = None

    def watch(self, other: str) -> Monitor:
        """Monitor the port of the other side, which is known now. Nothing may be said before."""
        self.other = other
        peer, name = self._runtime.route(other)
        self.measured = peer is not None
        self._outgoing.go_to(peer, name)
        return self._runtime.monitor(other, self._lost, self._port)

    def say(self, *words: object) -> None:
        """See `Side.say`. A side that has left says nothing, and neither does one whose channel is broken."""
        if self.broken is None and not self._left:
            self._runtime.send(self.other, words)

    def write(self) -> None:
        """See `Side.write`."""
        self._outgoing.write()

    def leave(self, reason: Reason = NORMAL) -> None:
        """Leave the channel, and let the port of this side die. Not a checkpoint.

        Args:
          reason: why. With a normal one the other side takes what it was sent, and then the end; with any other the
            channel breaks over there.
        """
        try:
            if not reason:
                self._outgoing.close_all()
                self._incoming.close_all()
        finally:
            self._left = True
            self._runtime.lifecycle.die(self._port, reason)
            # Those that were not closed above: nothing is said of them.
            self._outgoing.close_all()
            self._incoming.close_all()

    def cancel(self) -> None:
        """Take up that the port of this side has died; see `Owned`."""
        self._break(str.__str__(self._port), state_of(self._port).reason)

    def _lost(self, *reason: object) -> None:
        self._break(self.other, reason)

    def _break(self, port: str, reason: Reason) -> None:
        if self.broken is None and not self._left:
            self.broken = PortDied(port, reason)
            self._outgoing.stop()
            self._incoming.wake_all()
            self.gone()

    def raise_broken(self) -> NoReturn:
        """See `Side.raise_broken`. It is a new one each time: one that is raised again collects tracebacks."""
        assert self.broken is not None
        port, reason = self.broken.port, self.broken.reason
        text = f"the channel with {self.other} is broken: {describe(reason)}"
        raise trio.BrokenResourceError(text) from PortDied(port, reason)

    @property
    def is_over_there(self) -> bool:
        """Whether the other side takes nothing any more, or the channel is broken."""
        return self._outgoing.refused or self.broken is not None

    def is_consequence(self, error: BaseException) -> bool:
        """Whether all that an exception says is that the channel is over, of which this side was told."""
        if isinstance(error, BaseExceptionGroup):
            return all(map(self.is_consequence, error.exceptions))
        return isinstance(error, trio.BrokenResourceError) and (self._outgoing.told or self._incoming.told)


def _nothing() -> None: ...
