"""The oracle of the promise for the tests of the network: it is told what their nodes do, and nothing is added to it.

A `Witness` stamps what it sends. Here a test decides what travels, down to the byte, so messages are told apart by what
they hold: a stream in which two equal ones are on their way at once is not followed any further. What `Rule`s are left:

- ORDER, INVENTED, HOLE for all messages between watched nodes, of whatever runs; not for what comes from raw peers.
- ONCE, FALSE_DEATH and, when a node closes, SILENCE for all monitors of programs.
- MEMORY at each send.

How late a monitor fires is not judged, for nobody tells what a test does to its wires; DEAD_PORT and PORT_ID cannot be
seen from here; and CONNECTED, AGREEMENT and UNANSWERED are for a network that has come to rest, which these do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from trio_mp import Monitor, Node
from trio_mp._ids import join_port
from trio_mp._peers.network import Network
from trio_mp._peers.peer import Peer
from trio_mp._protocol.association.queue import OutgoingQueue
from trio_mp._protocol.wire import codec
from trio_mp._transport.pipe import Transport
from trio_mp.testing import Oracle, Trace

SEEN: Counter[str] = Counter()
"""How much all oracles of this process were told, for the test that they are told something."""


class Told:
    """The callback of a monitor, which tells the oracle that it is called."""

    def __init__(self, oracle: Oracle, monitor: Monitor, callback: Callable[..., object]) -> None:
        self.oracle = oracle
        self.monitor = monitor
        self.callback = callback

    def __repr__(self) -> str:
        return repr(self.callback)

    def __call__(self, *reason: object) -> object:
        SEEN["fired"] += 1
        self.oracle.fire_begins(self.monitor, reason)
        result = self.callback(*reason)
        self.oracle.fire_ends(self.monitor)
        return result


class Stream:
    """What one run sends to one port: the number of each message, by what it holds."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.last = -1
        self.followed = True


def key_of(message: tuple[Any, ...]) -> bytes:
    """What a message holds, the same on either side."""
    frame = codec.open_frame()
    codec.append_message(frame, "", message)
    return bytes(frame)


class Handed(list[tuple[Any, ...]]):
    """A batch that knows which of its messages were taken out of it while its connection lived."""

    def __init__(self, batch: list[tuple[Any, ...]], ended: list[str]) -> None:
        super().__init__(batch)
        self.taken: dict[int, tuple[Any, ...]] = {}
        self._ended = ended

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return self._hand_out(place.start, found) if isinstance(place, slice) else found

    def _hand_out(self, start: int, messages: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        for index, message in enumerate(messages, start):
            if not self._ended:
                self.taken[index] = message
            yield message


class WatchedQueue:
    """The queue of a peer, as whoever sends sees it.

    Args:
      queue: which.
      tell: called with the name of the port and the message when one was appended.
      look: called when nobody else looks how much there is in it now.
    """

    def __init__(
        self, queue: OutgoingQueue, tell: Callable[[str, tuple[Any, ...]], None], look: Callable[[], None]
    ) -> None:
        self._queue = queue
        self._tell = tell
        self._look = look

    def append(self, name: str, message: tuple[Any, ...], limit: int) -> bool:
        """See `OutgoingQueue.append`."""
        is_told = self._queue.append(name, message, limit)
        self._tell(name, message)
        if not is_told:
            self._look()
        return is_told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


class Watch:
    """One oracle, and the nodes of one network that it watches."""

    def __init__(self) -> None:
        self.oracle = Oracle(trace=Trace())
        # Wires are cut and stalled without a word.
        self.oracle.disturbed(calm=False)
        self._streams: dict[tuple[str, str], Stream] = {}
        self._ports: set[str] = set()

    def attach(self, node: Node, run: str) -> None:
        """Watch a node that has just been opened."""
        core = node._runtime
        if core.network is not None:
            self._attach_sending(core.network, run)
        self._attach_dispatching(node)
        set_monitor = core.monitor

        def monitor(*arguments: Any, **named: Any) -> Monitor:
            new = set_monitor(*arguments, **named)
            # Nothing fires before this has returned.
            if new._callback is not None:
                new._callback = Told(self.oracle, new, new._callback)
            self.oracle.monitor_set(run, new)
            return new

        core.monitor = monitor  # type: ignore[method-assign]

    def _attach_sending(self, network: Network, run: str) -> None:
        find = network.peer

        def peer(node_id: str) -> Peer:
            found = find(node_id)
            if not isinstance(found.queue, WatchedQueue):
                self._attach_peer(found, run, network)
            return found

        network.peer = peer  # type: ignore[method-assign]

    def _attach_peer(self, peer: Peer, run: str, network: Network) -> None:
        settings, queued = network.settings, peer.queued

        def tell(name: str, message: tuple[Any, ...]) -> None:
            if name:
                self._sent(run, join_port(peer.id, name), key_of(message))

        def look() -> None:
            size = peer.outbox.queue.size
            self.oracle.queued(run, peer.id, size, settings.queue_limit, settings.message_limit)

        def act_and_look() -> None:
            queued()
            look()

        peer.queue = WatchedQueue(peer.queue, tell, look)  # type: ignore[assignment]
        peer.queued = act_and_look  # type: ignore[method-assign]

    def _sent(self, run: str, port: str, key: bytes) -> None:
        SEEN["sent"] += 1
        stream = self._streams.setdefault((run, port), Stream())
        if stream.followed:
            if stream.numbers.get(key, -1) > stream.last:
                stream.followed = False
                SEEN["streams not followed"] += 1
            stream.numbers[key] = self.oracle.next_number(run, port)
            self.oracle.message_sent(run, port)

    def _attach_dispatching(self, node: Node) -> None:
        dispatcher = node._runtime.dispatcher
        lifecycle = node._runtime.lifecycle
        dispatch, die = dispatcher.dispatch_batch, lifecycle.die

        def dispatch_batch(frame: Any, batch: list[tuple[Any, ...]], start: int, serve: Any, ended: list[str]) -> int:
            connection = serve.__self__
            # The rest of a batch is left when the connection has ended: `Handed` knows how much of it was not.
            handed = Handed(batch, ended)
            stop = dispatch(frame, handed, start, serve, ended)
            sender = f"{connection.peer.id}/{connection.info.incarnation}"
            for name, *message in filter(None, handed.taken.values()):
                # Of those that have died meanwhile it cannot be said what they got.
                if name in dispatcher.ports:
                    self._delivered(node, join_port(node.id, name), sender, key_of(tuple(message)))
            return stop

        def died(port: Any, reason: Any, *error: Any, **how: Any) -> None:
            alive = dispatcher.ports.get(port.name) is port
            die(port, reason, *error, **how)
            if alive and str(port) in self._ports:
                self.oracle.port_died(str(port), reason)

        dispatcher.dispatch_batch = dispatch_batch  # type: ignore[method-assign, assignment]
        lifecycle.die = died  # type: ignore[method-assign]

    def _delivered(self, node: Node, port: str, sender: str, key: bytes) -> None:
        stream = self._streams.get((sender, port))
        if stream is None or not stream.followed:
            return
        if port not in self._ports:
            self._ports.add(port)
            self.oracle.port_made(run_of(node), port)
        SEEN["delivered"] += 1
        number = stream.numbers.get(key, len(stream.numbers) + 1_000_000)
        self.oracle.delivered_to(port, sender, number)
        stream.last = number


def run_of(node: Node) -> str:
    """The name of a run of a node; there may be two of one ID at a time."""
    return f"{node.id}/{node._runtime.incarnation}"


@asynccontextmanager
async def watched(network: Transport, opening: AbstractAsyncContextManager[Node]) -> AsyncGenerator[Node, None]:
    """Open a node under the oracle of its network.

    Raises:
      PromiseBroken: the promise was broken there.
    """
    watch = vars(network).setdefault("watch", Watch())
    run = ""
    try:
        async with opening as node:
            run = run_of(node)
            watch.oracle.node_started(run, node.id)
            watch.attach(node, run)
            yield node
    finally:
        watch.oracle.node_stopped(run)
        watch.oracle.check()
