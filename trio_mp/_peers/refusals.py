"""What ports of this node have refused of a peer's messages, and how the peer is told: together, and not too often."""

from __future__ import annotations

from typing import Protocol

import trio

from .._ports.boundary import LocalPorts
from .._protocol import requests

INTERVAL = 1.0
"""How long refusals are collected before the next ones are told, in seconds."""

AT_ONCE = 100
"""How many ports are told of at a time. The others have their turn later."""

WAITING = 1000
"""Of how many ports refusals may wait. Those of further ports are left out."""


class RefusedPeer(Protocol):
    """A peer whose messages are refused; see `Peer`."""

    def is_up(self) -> bool:
        """Whether there is a connection in use."""
        ...

    def understands(self, word: str) -> bool:
        """Whether the peer has said that it understands this word."""
        ...

    def send(self, name: str, message: tuple[object, ...]) -> None:
        """Queue a message for a port there."""
        ...


class Refusals:
    """Refused messages of one peer, of which it has not been told yet. See `boundary.MessageSource`, too.

    The first is told at once, with what else the pass refuses, and after that no more often than once in `INTERVAL`:
    a storm of bad messages is not answered by a storm of words. They end with the connection.

    Args:
      peer: who has sent the messages.
      dispatcher: the ports of this node.
    """

    def __init__(self, peer: RefusedPeer, dispatcher: LocalPorts) -> None:
        self._peer = peer
        self._dispatcher = dispatcher
        # By the name of the port: how many, and why the first one.
        self._waiting: dict[str, tuple[int, str]] = {}
        self._telling = False

    def refused(self, name: str, text: str) -> None:
        """See `MessageSource.refused`."""
        count, first = self._waiting.get(name, (0, text))
        if not count and len(self._waiting) >= WAITING:
            return
        self._waiting[name] = (count + 1, first)
        if not self._telling:
            self._telling = True
            # Before the answer to whatever the peer has asked behind the message: so who is answered knows of it.
            self._dispatcher.queue.call_behind(self._begin)

    def end_all(self) -> None:
        """The connection has ended by which the messages came."""
        self._waiting.clear()

    def _begin(self) -> None:
        self._tell()
        self._dispatcher.lifecycle.start_system_task(self._go_on)

    def _tell(self) -> None:
        for name in tuple(self._waiting)[:AT_ONCE]:
            count, text = self._waiting.pop(name)
            if self._peer.is_up() and self._peer.understands(requests.REFUSED):
                self._peer.send("", requests.refused(name, count, text))

    async def _go_on(self) -> None:
        try:
            while True:
                await trio.sleep(INTERVAL)
                if not self._waiting:
                    break
                self._tell()
        finally:
            self._telling = False
