"""Instruments: who watches what a node does, and is told in the middle of it.

A node without instruments runs the same code as before there were any, but for one look at an empty tuple in each pass
and batch, death and call. With one that wants messages, a pass takes one message at a time.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable
from typing import Any

from .._events import fields
from .._reason import Reason

log = logging.getLogger("trio_mp")


class Instrument:
    """Watches one node, in the manner of `trio.abc.Instrument`: override the methods that you want to be called.

    Give it to `open_node` or `Node.add_instrument`; each node needs one of its own. The methods are sync, and are
    called in the thread of the node, in the middle of what they tell of. So they are to note something, and to return:
    they must not use the node, and whatever they take of time is taken from the node. Nothing that they do changes what
    the node does. A method that raises is logged, and the instrument is removed.
    """

    def added(self, node: str) -> None:
        """The instrument watches from now on the node of this ID."""

    def removed(self) -> None:
        """The instrument watches no more: it was removed, or the node has ended."""

    def connection_up(self, peer: str, address: str) -> None:
        """A connection with the node of this ID is in use now; the address says for people by way of what."""

    def connection_down(self, peer: str, cause: str) -> None:
        """No connection with that node is in use any more. `NodeStatistics.connections_broken` lists the causes."""

    def message_received(self, port: str, message: tuple[Any, ...]) -> None:
        """A message or a call comes to a port of this node, from this node or another one.

        Args:
          port: the ID of the port.
          message: the very object that the handler or the mailbox gets: do not change it, and do not keep it.
        """

    def messages_lost(self, port: str, count: int, reason: str) -> None:
        """Messages are lost.

        Args:
          port: the ID of the port that they were for; that of a node, where it is not known or there are several.
          count: how many.
          reason: the identifier of the reason, as in `NodeStatistics.lost`.
        """

    def port_died(self, port: str, reason: Reason) -> None:
        """A port of this node has died; its monitors are told when its tasks have ended."""

    def call_begun(self, number: int, port: str) -> None:
        """This node calls the port of this ID; `number` tells its calls apart."""

    def call_ended(self, number: int, outcome: str) -> None:
        """That call has ended: `answered`, `died` with the port or its node, `failed`, or `cancelled`."""


class Instruments:
    """The instruments of one node.

    Args:
      node_id: the ID of the node.

    Attributes:
      messages, deaths, losses, calls: those that want to be told of them. Who would tell looks at these first.
    """

    __slots__ = ("_all", "_node_id", "calls", "deaths", "losses", "messages")

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        # Replaced as a whole: one may be removed while they are told.
        self._all: tuple[Instrument, ...] = ()
        self.messages: tuple[Instrument, ...] = ()
        self.deaths: tuple[Instrument, ...] = ()
        self.losses: tuple[Instrument, ...] = ()
        self.calls: tuple[Instrument, ...] = ()

    def add(self, instrument: Instrument) -> None:
        """See `Node.add_instrument`."""
        check_instrument(instrument)
        if instrument not in self._all:
            self._set((*self._all, instrument))
            self._tell_one(instrument, "added", (self._node_id,))

    def remove(self, instrument: Instrument) -> None:
        """See `Node.remove_instrument`."""
        if instrument not in self._all:
            raise KeyError(instrument)
        self._set(tuple([other for other in self._all if other is not instrument]))
        self._tell_one(instrument, "removed", ())

    def remove_all(self) -> None:
        """Remove all, because the node has ended."""
        for instrument in self._all:
            self.remove(instrument)

    def _set(self, instruments: tuple[Instrument, ...]) -> None:
        self._all = instruments
        self.messages = _wanting(instruments, "message_received")
        self.deaths = _wanting(instruments, "port_died")
        self.losses = _wanting(instruments, "messages_lost")
        self.calls = _wanting(instruments, "call_begun", "call_ended")

    def tell(self, method: str, *arguments: object) -> None:
        """Call this method of all instruments. Raises nothing."""
        for instrument in self._all:
            self._tell_one(instrument, method, arguments)

    def _tell_one(self, instrument: Instrument, method: str, arguments: tuple[object, ...]) -> None:
        try:
            result = getattr(instrument, method)(*arguments)
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError(f"{method}(): expected a sync function, got an async one")
        except BaseException:
            # Whatever it is, as in Trio: the node is in the middle of something, which must go on.
            log.exception(
                "an instrument has failed in %s(), and is removed: %.200r",
                *(method, type(instrument)),
                extra=fields("callback_failed", self._node_id),
            )
            if instrument in self._all:
                self.remove(instrument)


def _wanting(instruments: tuple[Instrument, ...], *methods: str) -> tuple[Instrument, ...]:
    """Those that have one of these methods of their own."""
    plain = vars(Instrument)
    return tuple(
        [each for each in instruments if any(getattr(type(each), name) is not plain[name] for name in methods)]
    )


def check_instrument(instrument: object) -> None:
    """Check that something is an instrument. Raises `TypeError`."""
    if not isinstance(instrument, Instrument):
        raise TypeError(f"expected an instrument, an object of trio_mp.abc.Instrument, got {instrument!r:.200}")


def check_instruments(instruments: Iterable[Instrument]) -> tuple[Instrument, ...]:
    """Return these instruments. Raises `TypeError` for anything else."""
    try:
        found = tuple(instruments)
    except TypeError:
        raise TypeError(f"instruments: expected a list of instruments, got {instruments!r:.200}") from None
    for instrument in found:
        check_instrument(instrument)
    return found
