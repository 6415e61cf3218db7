"""The node port: what a node does for others, and for its own programs, when asked by message."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from .._ids import spawn_counter, split_port
from .._protocol import codec, requests
from .._reason import Reason
from .context import Frame
from .dispatcher import Dispatcher
from .environment import Environment
from .peer import Peer
from .port import Port

log = logging.getLogger("trio_mp")


class SpawnService(Protocol):
    """What makes and initialises ports; see `Spawner`."""

    def spawn(self, request: requests.Spawn, *, remote: bool) -> Port | None:
        """Make a port and initialise it; None if the node is closing."""
        ...

    def refuse(self, name: str, why: str) -> None:
        """Tell whoever monitors the port of this name that it could not be spawned."""
        ...

    def failure_of(self, name: str) -> Reason | None:
        """Why the port of this name could not be spawned, if that is why it is missing."""
        ...


class StreamService(Protocol):
    """What sets up byte streams; see `Streams`."""

    def serve(self, request: requests.OpenStream, peer: Peer) -> Port | None:
        """Make a port whose function gets the stream; None if that is refused, or the node is closing."""
        ...

    def ready(self, peer: Peer, name: str) -> None:
        """The peer expects the connection of the stream of this name, which we have asked it for."""
        ...

    def dial(self, peer: Peer, name: str) -> None:
        """The peer cannot make the connection of the stream of this name, which it has asked for: this side is to."""
        ...


class NodePort:
    """Serves the requests of `requests.py`.

    Args:
      host: the ports of this node.
      environment: for the time of day.
      send: sends a message to any port.
      spawner: makes and initialises ports.
      port_limit: how many ports that another node has spawned here may be alive.
      incarnation: the token of this run, with which the names begin that no other node may give.
    """

    def __init__(
        self,
        host: Dispatcher,
        environment: Environment,
        *,
        send: Callable[[str, tuple[object, ...]], None],
        spawner: SpawnService,
        port_limit: int,
        incarnation: str,
    ) -> None:
        self._host = host
        self._environment = environment
        self._send = send
        self._spawner = spawner
        self._port_limit = port_limit
        self._incarnation = incarnation
        self._streams: StreamService
        # The IDs of the nodes that are connected, and of all known ones; the network says.
        self.up_nodes: Callable[[], Iterable[str]] = tuple
        self.known_nodes: Callable[[], Iterable[str]] = tuple
        # By the word that their messages begin with: what takes the sender's node ID and the rest, and says whether it
        # was understood.
        self.services: dict[str, Callable[[str, tuple[object, ...]], bool]] = {}

    def serve_streams_by(self, streams: StreamService) -> None:
        """What sets up byte streams; it is made last."""
        self._streams = streams

    def serve(self, message: tuple[object, ...], peer: Peer, frame: Frame) -> None:
        """A request from another node."""
        match requests.parse(message):
            case requests.Nothing():
                pass
            case requests.Watch(name):
                self._watch(peer, name)
            case requests.Unwatch(name):
                peer.unwatch(name)
            case requests.Died(name, reason):
                peer.execute(peer.association.port_died(name, reason))
            case requests.Kill(name, reason):
                self._host.kill_now(name, reason)
            case requests.Spawn() as spawn:
                self._spawn_for(peer, spawn)
            case requests.OpenStream() as stream:
                self._spawn_for(peer, stream)
            case requests.StreamReady(name):
                self._streams.ready(peer, name)
            case requests.DialStream(name):
                self._streams.dial(peer, name)
            case requests.Forward(port, forwarded):
                self._forward(frame, port, forwarded)
            case requests.Query(what, port, prefix):
                self._answer(what, port, prefix)
            case requests.Ping():
                peer.send("", ("pong",))
            case requests.Pong():
                peer.answered()
            case requests.Parting(word):
                peer.parting_word(word)
            case requests.ForService(word, arguments):
                service = self.services.get(word)
                if service is None or not service(peer.id, arguments):
                    _not_understood(message, peer)
            case _:
                _not_understood(message, peer)

    def serve_local(self, message: tuple[object, ...]) -> None:
        """A message of a program on this node to its own node port."""
        match requests.parse(message):
            case requests.Nothing() | requests.Ping() | requests.Pong():
                pass
            case requests.Kill(name, reason):
                self._host.kill_now(name, reason)
            case requests.Forward(port, forwarded):
                self._try_to_send(port, forwarded)
            case requests.Query(what, port, prefix):
                self._answer(what, port, prefix)
            case _:
                log.warning(
                    "a message to this node's own port, which answers %s, is not understood: %s",
                    *(", ".join(sorted(requests.QUERIES)), _short(message)),
                )

    def _watch(self, peer: Peer, name: str) -> None:
        peer.watch(name)
        failure = self._spawner.failure_of(name)
        if failure is not None:
            peer.tell_death(name, failure)

    def _spawn_for(self, peer: Peer, request: requests.Spawn | requests.OpenStream) -> None:
        incarnation = peer.association.incarnation
        counter = spawn_counter(request.name, incarnation)
        seen_incarnation, seen = peer.last_spawn
        if counter is None or incarnation == self._incarnation or (incarnation == seen_incarnation and counter <= seen):
            log.warning("%s: a spawn under a name that it may not give: %.200r", peer.id, request.name)
            return
        if self._host.find(request.name) is not None:
            # The other one would never die, and its monitors never fire.
            log.warning("%s: a spawn under a name that a port has: %.200r", peer.id, request.name)
            return
        peer.last_spawn = (incarnation, counter)
        if peer.spawned >= self._port_limit:
            self._spawner.refuse(request.name, f"{peer.id} has {self._port_limit} ports on this node, the limit")
        else:
            port = self._make(peer, request)
            if port is not None:
                peer.spawned += 1
                port.state.unwound.append(peer.spawned_port_gone)
        if isinstance(request, requests.Spawn) and request.linked_to:
            # Its request to monitor comes right behind, but the port may have ended by then, and not of an error.
            self._watch(peer, request.name)

    def _make(self, peer: Peer, request: requests.Spawn | requests.OpenStream) -> Port | None:
        if isinstance(request, requests.Spawn):
            return self._spawner.spawn(request, remote=True)
        return self._streams.serve(request, peer)

    def _forward(self, frame: Frame, port: str, message: tuple[object, ...]) -> None:
        """Echo. Not to other nodes: nobody there would hear of a loss."""
        node_id, name = split_port(port)
        if node_id != self._host.id:
            log.warning("not forwarded, because %s is not on this node: %r", port, _short(message))
            return
        target = self._host.ports.get(name)
        if target is not None:
            # Now and not through the queue, so that it keeps its order with what came directly.
            self._host.deliver(frame, target, message, True)

    def _answer(self, what: str, port: str, prefix: tuple[object, ...]) -> None:
        answer: tuple[object, ...]
        if what == "info":
            answer = (self._host.id,)
        elif what == "time":
            answer = (self._environment.wall_clock(),)
        elif what == "up_nodes":
            answer = tuple(self.up_nodes())
        else:
            answer = (self._host.id, *self.known_nodes())
        self._try_to_send(port, (*prefix, *answer))

    def _try_to_send(self, port: str, message: tuple[object, ...]) -> None:
        """Send for somebody who asked by message, to whom nothing can be raised."""
        try:
            self._send(port, message)
        except (TypeError, ValueError, RuntimeError) as error:
            log.warning("not sent to %s, as it was asked for: %s", port, error)


def _not_understood(message: tuple[object, ...], peer: Peer) -> None:
    log.warning("%s: a request to the node port that is not understood: %r", peer.id, _short(message))


def _short(message: tuple[object, ...]) -> str:
    return codec.excerpt(message)
