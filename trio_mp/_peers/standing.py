"""Whether a node is ready: the one place that all look at who are asked from outside.

A probe, systemd and a person ask the same question, and get the same answer. It stands below the services, because
these tell it what becomes of the node, and the node port reads from it that the node drains.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import trio

from .._reason import listed

SHOWN = 5
"""How many seeds a text names with what is wrong there."""

LONGEST = 200
"""How many characters of what is wrong at one seed a text has: other nodes may have written some of them."""


class Standing:
    """Whether one node is ready, and if not, why.

    `why_not_ready` may be called in any thread. All else belongs to the thread that runs Trio.

    Args:
      failures: why seeds cannot be used, by what they are called; None for a node without a network.

    Attributes:
      attached: set when this node has a global node, or is one and has tried each of its seeds once; at once without a
        network. It stays set: a node that has lost its global node looks for another.
      started: set when this node listens, and the services of its setting have started.
      draining: set when this node has begun to drain; never unset.
      drains: whether a task awaits the drain now.
      drained: whether nothing is unfinished any more that a drain waits for.
      stopping: whether the program is to end, for which the node drains first.
      closing: whether this node closes, or has closed.
      failed: whether it does so after an exception or a cancellation, and not in good order.
      unfinished: says for people what a drain still waits for, such as "3 calls, 1 mailbox"; empty if it does not know.
      observers: called, without arguments, when the text of `status` has changed, and when a node that drains, or has
        drained, begins to stop.
    """

    def __init__(self, failures: Mapping[str, str] | None = None) -> None:
        self._failures = failures
        self.attached = trio.Event()
        self.started = trio.Event()
        self.draining = trio.Event()
        self.drains = False
        self.drained = False
        self.stopping = False
        self.closing = False
        self.failed = False
        self.unfinished: Callable[[], str] = str
        self.observers: list[Callable[[], object]] = []
        # The global node that this node is attached to; empty if it is global itself; None if it looks for one.
        self._anchor: str | None = None
        self._waits_to_attach = False
        self._changed = trio.lowlevel.ParkingLot()
        self._told = self.status()
        if failures is None:
            self.attach("")

    # What becomes of the node --------------------------------------------------------------------------------------

    def attach(self, anchor: str) -> None:
        """Note the global node that this node is attached to; an empty text if it is global itself."""
        self._anchor = anchor
        self.attached.set()
        self.changed()

    def detach(self) -> None:
        """Note that this node looks for a global node."""
        self._anchor = None
        self.changed()

    @contextmanager
    def waits_to_attach(self) -> Generator[None]:
        """Note that this node starts its services behind the block, in which it waits to be attached."""
        self._waits_to_attach = True
        self.changed()
        try:
            yield
        finally:
            self._waits_to_attach = False
            self.changed()

    def start(self) -> None:
        """Note that this node listens, and that its services have started."""
        self.started.set()
        self.changed()

    def begin_draining(self) -> None:
        """Note that this node drains from now on."""
        self.draining.set()
        self.changed()

    def begin_stopping(self) -> None:
        """Note that the program is to end when this node has drained."""
        self.stopping = True
        # No text says it. A node that does not drain yet begins to, and that changes the text. One that has drained
        # has nothing more to say, and a service manager would hear of its end too late.
        if self.draining.is_set():
            self._tell()

    def begin_closing(self, *, failed: bool) -> None:
        """Note that this node closes, and whether it has failed. Whoever waits for it to be attached is told."""
        if not self.closing:
            self.failed = failed
        self.closing = True
        self.changed()

    def changed(self) -> None:
        """Tell the observers if the text of `status` is another one. Whoever changes what it shows calls this."""
        self._changed.unpark_all()
        status = self.status()
        if status != self._told:
            self._told = status
            self._tell()

    def _tell(self) -> None:
        for observer in tuple(self.observers):
            observer()

    # What others ask -------------------------------------------------------------------------------------------------

    async def wait_attached(self, node_id: str) -> None:
        """Wait until this node is attached. A checkpoint. Cancelled, it changes nothing.

        Args:
          node_id: its ID, for the error.

        Raises:
          trio.ClosedResourceError: it closes before.
        """
        await trio.lowlevel.checkpoint()
        while not self.attached.is_set():
            if self.closing:
                raise trio.ClosedResourceError(f"node {node_id} closes, and was never attached")
            await self._changed.park()

    def why_not_ready(self) -> str:
        """Say in one line why this node is not ready; empty if it is. Safe in all threads. Not a checkpoint."""
        if self.closing:
            return "closing"
        if self.draining.is_set():
            return "draining"
        is_attached = self.attached.is_set()
        if not self.started.is_set() and (is_attached or not self._waits_to_attach):
            return "services are starting"
        if not is_attached:
            return f"not attached: {self._wrong() or 'no seed has answered yet'}"
        if self._anchor is None:
            wrong = self._wrong()
            return f"looking for another global node{': ' if wrong else ''}{wrong}"
        return ""

    def status(self) -> str:
        """Say in one line for people what this node is doing. Not a checkpoint."""
        if self.draining.is_set() and not self.closing:
            unfinished = "" if self.drained else self.unfinished()
            return f"{'drained' if self.drained else 'draining'}{': ' if unfinished else ''}{unfinished}"
        if why := self.why_not_ready():
            return why
        if self._failures is None:
            return "without a network"
        return f"attached to {self._anchor}" if self._anchor else "a global node"

    def _wrong(self) -> str:
        """What is wrong at the seeds, in one line."""
        # Copied in one step: another thread may ask while the thread of Trio writes.
        failures = dict(self._failures or {})
        return listed(failures.items(), SHOWN, lambda failure: _printable(": ".join(failure)))


def _printable(text: str) -> str:
    """The beginning of a text without what would break a line, or what a terminal would obey."""
    return "".join(letter for letter in text[:LONGEST] if letter.isprintable())
