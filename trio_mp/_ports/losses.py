"""What a node tells its program of messages that were lost: one list of those who want to know, and one turn for them.

A loss is noted where a message is dropped, and told in a job at the end of the run queue: by then the monitors of a
lost connection have fired, and what the program sends in the function that is told is sent as at any other time. What
is noted until then for one port, for one reason, is one loss.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._events import fields
from .._ids import is_port_name, join_port, node_of
from .._reason import Reason, bad_message, no_such_port, not_running
from .context import running_variable
from .handlers import is_sync_function
from .instruments import Instruments
from .port import Port, state_of
from .run_queue import Job, RunQueue
from .tally import Tally

_REMEMBERED = 1000
"""Of how many ports of this node it is known that a refusal was logged."""

_AT_ONCE = 100
"""How many losses are told in one job; other work has its turn between two."""

log = logging.getLogger("trio_mp.port")


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages that this node has dropped, or that a port has refused; see `Node.on_lost`.

    Attributes:
      port: the ID of the port that they were for. The ID of a node stands for its node port, and for all ports of that
        node where so much was lost at once that it was not looked through.
      count: how many messages; each is counted in one loss at most.
      size: how many bytes they had on their way to another node; 0 where they were not encoded.
      reason: why, such as `("transport_error", nodeid, text)`, `("no_such_port", text)` or `("bad_message", text)`.
      certain: whether it is certain that no handler and no mailbox has got any of them. If not, some or all may have
        been taken: they were being written when the connection was lost.
    """

    port: str
    count: int
    size: int
    reason: Reason
    certain: bool


class LossListener:
    """What `Node.on_lost` returns: a context manager that stops the telling on exit.

    Made by `Node.on_lost`.
    """

    __slots__ = ("_function", "_losses", "_owner")

    # Any: programs see this class, and are not to see what is inside the package.
    def __init__(self, losses: Any, function: Callable[[Lost], object], owner: Port | None) -> None:
        self._losses: Losses = losses
        self._function = function
        self._owner = owner

    def __enter__(self) -> LossListener:
        """Return this listener, which has listened since it was made."""
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more, as `cancel` does."""
        self.cancel()

    def cancel(self) -> None:
        """Listen no more: the function is not called again. Does nothing the second time. Not a checkpoint."""
        self._losses._forget(self)


class Losses:
    """The losses of one node, and who wants to be told of them.

    Args:
      node_id: the node ID.
      queue: where the telling waits for its turn.
      instruments: are told of each loss.

    Attributes:
      wanted: whether anybody listens. Who drops messages looks at it first.
      counted: how many messages were lost, by the identifier of the reason, whether anybody listens or not.
    """

    def __init__(self, node_id: str, queue: RunQueue, instruments: Instruments) -> None:
        self.wanted = False
        self._instruments = instruments
        self.counted = Tally()
        self._node_id = node_id
        self._queue = queue
        self._job = Job(self._tell_some)
        # A dict for its order.
        self._listeners: dict[LossListener, None] = {}
        # What has been lost since the latest turn: how many messages of how many bytes.
        self._untold: dict[tuple[str, Reason, bool], tuple[int, int]] = {}
        # Ports whose refusals were logged, with how many there were.
        self._refused: dict[str, int] = {}

    def listen(self, function: Callable[[Lost], object], owner: Port | None) -> LossListener:
        """See `Node.on_lost`. The listener ends with its owner, in whose context the function is called."""
        if not is_sync_function(function):
            raise TypeError(f"on_lost(): expected a sync function, got {function!r}")
        listener = LossListener(self, function, owner)
        if owner is not None:
            state = state_of(owner)
            if not state.alive:
                return listener
            state.owned[listener] = None
        self._listeners[listener] = None
        self.wanted = True
        return listener

    def _forget(self, listener: LossListener) -> None:
        if listener._owner is not None:
            state_of(listener._owner).owned.pop(listener, None)
        self._listeners.pop(listener, None)
        if not self._listeners:
            self.wanted = False
            self._untold.clear()

    def note(self, port: str, count: int, size: int, reason: Reason, *, certain: bool = True) -> None:
        """Messages are lost, and counted by `count`: have it told soon, if anybody wants to know.

        See `Lost` for the arguments.
        """
        if not self.wanted:
            return
        if not self._untold:
            self._queue.enqueue(self._job, ())
        key = (port, reason, certain)
        messages, before = self._untold.get(key, (0, 0))
        self._untold[key] = (messages + count, before + size)

    def count(self, port: str, count: int, identifier: str) -> None:
        """Count messages that are lost, by the identifier of the reason. Each is counted once, and noted perhaps."""
        self.counted.add(identifier, count)
        if self._instruments.losses:
            self._instruments.tell("messages_lost", port, count, identifier)

    def note_dead(self, name: str, count: int = 1) -> None:
        """Messages for a port of this node are dropped, because it is dead, or there was never one of that name."""
        if self.wanted or self._instruments.losses:
            # Another node may say anything in the place of a name.
            port = join_port(self._node_id, name) if is_port_name(name) else self._node_id
            self.count(port, count, "no_such_port")
            self.note(port, count, 0, no_such_port(port))
        else:
            self.counted.add("no_such_port", count)

    def note_refused(self, port: str, count: int, text: str, *, is_logged: bool = False) -> None:
        """A port has refused so many messages of this node; the text says why. It is logged, unless it was."""
        if not is_logged:
            # Once for many: a program may send in a loop.
            if port not in self._refused:
                log.warning(
                    "%s refuses a message of this node: %s (later ones are not logged)",
                    port,
                    text,
                    extra=fields("dropped", self._node_id, peer=node_of(port), reason="bad_message"),
                )
            self._refused[port] = self._refused.pop(port, 0) + count
            if len(self._refused) > _REMEMBERED:
                del self._refused[next(iter(self._refused))]
        self.count(port, count, "bad_message")
        self.note(port, count, 0, bad_message(text))

    def note_not_running(self, port: str) -> None:
        """A message for a supervised child is dropped, because no life of it runs; the latest one had this port."""
        self.count(port, 1, "not_running")
        self.note(port, 1, 0, not_running(port))

    def _tell_some(self) -> None:
        """Tell those who listen, as many losses as have their turn now."""
        untold = self._untold
        told = [(key, untold.pop(key)) for key in tuple(untold)[:_AT_ONCE]]
        if untold:
            # Before anything is told, by which more may be lost, and noted.
            self._queue.enqueue(self._job, ())
        for (port, reason, certain), (count, size) in told:
            lost = Lost(port, count, size, reason, certain)
            for listener in tuple(self._listeners):
                if listener in self._listeners:
                    self._tell(listener, lost)

    def _tell(self, listener: LossListener, lost: Lost) -> None:
        running = running_variable.get()
        assert running is not None
        running.port = listener._owner
        try:
            result = listener._function(lost)
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError(f"on_lost(): expected a sync function, got {listener._function!r}")
        except Exception:
            log.exception(
                "the function of on_lost() has failed, and is not called again; it was told %r",
                lost,
                extra=fields("callback_failed", self._node_id),
            )
            listener.cancel()
        finally:
            running.port = None
