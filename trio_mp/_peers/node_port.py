"""The node port: what a node does for others, and for its own programs, when asked by message."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

import trio

from .._events import fields
from .._ids import join_port, node_of, split_port
from .._ports.boundary import LocalPorts
from .._ports.context import Running
from .._ports.port import Port, state_of
from .._protocol import requests
from .._protocol.wire.values import excerpt
from .._reason import Reason
from .._settings.environment import Environment
from .errands import Errands
from .peer import Peer
from .spawned_names import SpawnedNames
from .standing import Standing

LOOKUPS = 16
"""How many lookups of one other node may be in flight here."""

LOOKUP_SECONDS = 30.0
"""After how many seconds a lookup of another node is not answered any more, while this one waits for its anchor."""

log = logging.getLogger("trio_mp")
spawn_log = logging.getLogger("trio_mp.spawn")
port_log = logging.getLogger("trio_mp.port")


Service: TypeAlias = Callable[[str, tuple[object, ...]], bool]


class SpawnService(Protocol):
    """What makes and initialises ports; see `Spawner`."""

    def spawn(self, request: requests.Spawn | requests.StartPort, *, asker: str) -> Port | None:
        """Make a port and initialise it for the node `asker`; None if this node is closing.

        The port is dead already if the function cannot be had or has failed: monitors of the port are told why.
        """
        ...

    def refuse(self, name: str, why: str) -> None:
        """Tell whoever monitors the port of this name that it could not be spawned. Nothing is logged."""
        ...

    def failure_of(self, name: str) -> Reason | None:
        """Why the port of this name could not be spawned, if that is why it is missing."""
        ...


class StartService(Protocol):
    """What knows the starts that are under way with other nodes; see `Starts`."""

    def answered(self, peer: Peer, name: str, value: object, shutdown_timeout: float) -> None:
        """The port of this name has started over there, as we have asked; nothing if we have not."""
        ...

    def keep(self, peer: Peer, name: str) -> None:
        """The peer, which has asked for the port of this name, knows that it has started."""
        ...


class CallService(Protocol):
    """What knows the calls of this node that other nodes have not answered yet; see `Calls`."""

    def replied(self, peer: Peer, ticket: str, value: object) -> None:
        """The peer has answered the call of this ticket; nothing if it was not asked."""
        ...

    def failed(self, peer: Peer, failure: requests.CallFailed) -> None:
        """The peer has answered a call by an error; nothing if it was not asked."""
        ...

    def died(self, peer: Peer, death: requests.CallDied) -> None:
        """The port has died that was called over there; nothing if it was not called."""
        ...


class StreamService(Protocol):
    """What sets up byte streams; see `Streams`."""

    def serve(self, request: requests.OpenStream, peer: Peer) -> Port | None:
        """Make a port whose function gets the stream; None if this node is closing.

        The port is dead already if the function cannot be had: monitors of the port are told why.
        """
        ...

    def ready(self, peer: Peer, name: str) -> None:
        """The peer expects the connection of the stream of this name, which we have asked it for."""
        ...

    def dial(self, peer: Peer, name: str) -> None:
        """The peer cannot make the connection of the stream of this name, which it has asked for: this side is to."""
        ...


class InspectionDoor(Protocol):
    """What lets other nodes look into this one; see `InspectionService`."""

    def begin(self, peer: Peer, request: requests.Inspect) -> bool:
        """Answer a question of a peer, later; returns False if its ticket is that of another call, and does nothing."""
        ...


class NodePort:
    """Serves the requests of `requests.py`.

    Args:
      dispatcher: the ports of this node.
      environment: for the time of day.
      send: sends a message to any port.
      spawner: makes and initialises ports.
      starts: knows the starts that are under way with other nodes.
      calls: knows the calls of this node that others have not answered.
      streams: sets up byte streams.
      inspections: lets other nodes look into this one.
      services: the parts of the node that answer other requests, by the word that these begin with. Each takes the
        sender's node ID and the rest of the message, and returns whether it has understood it.
      find_registered: finds the port that is registered under a name in the database, or None; a checkpoint. It
        raises `ValueError` for what can be no name.
      up_nodes, known_nodes: say the IDs of the nodes that are connected, and of all that are known.
      port_limit: how many ports that another node has spawned here may be alive.
      errands: bounds what is done for others.
      standing: says whether this node drains, and makes no port for others.
    """

    def __init__(
        self,
        dispatcher: LocalPorts,
        environment: Environment,
        *,
        send: Callable[[str, tuple[object, ...]], None],
        spawner: SpawnService,
        starts: StartService,
        calls: CallService,
        streams: StreamService,
        inspections: InspectionDoor,
        services: Mapping[str, Service],
        find_registered: Callable[[str], Awaitable[str | None]],
        up_nodes: Callable[[], Iterable[str]],
        known_nodes: Callable[[], Iterable[str]],
        port_limit: int,
        errands: Errands,
        standing: Standing,
    ) -> None:
        self._dispatcher = dispatcher
        self._environment = environment
        self._send = send
        self._spawner = spawner
        self._starts = starts
        self._calls = calls
        self._port_limit = port_limit
        self._standing = standing
        self.errands = errands
        self._spawned_names = SpawnedNames()
        self._streams = streams
        self._inspections = inspections
        self.services = dict(services)
        self._find_registered = find_registered
        # The lookups of other nodes that are not answered yet.
        self._looking_up: dict[str, list[requests.Query]] = {}
        self._up_nodes = up_nodes
        self._known_nodes = known_nodes

    def failure_of(self, name: str) -> Reason | None:
        """Why the port of this name could not be spawned, if that is why it is missing."""
        return self._spawner.failure_of(name)

    def serve(self, message: tuple[object, ...], peer: Peer, running: Running) -> None:
        """A request from another node."""
        match requests.parse(message):
            # First what there is most of: each case that is tried before costs something.
            case requests.Call() as call:
                if not peer.callers.begin(call, running, self._spawner.failure_of):
                    self._warn(peer, "ticket", "%s: a call with the ticket of another one is ignored", peer.id)
            case requests.Reply(ticket, value):
                self._calls.replied(peer, ticket, value)
            case requests.CallOff(tickets):
                for ticket in tickets:
                    peer.callers.call_off(ticket)
            case requests.Nothing():
                pass
            case requests.StartMonitor(name):
                self._watch(peer, name)
            case requests.StopMonitor(name):
                peer.watchers.end(name)
            case requests.Died(name, reason):
                peer.act(peer.association.outbox.port_died, name, reason)
            case requests.Kill(name, reason):
                self._dispatcher.lifecycle.kill_now(name, reason)
            case requests.Spawn() as spawn:
                self._spawn_for(peer, spawn)
            case requests.StartPort() as start:
                self._spawn_for(peer, start)
            case requests.HasStarted(name, value, shutdown_timeout):
                self._starts.answered(peer, name, value, shutdown_timeout)
            case requests.Keep(name):
                self._starts.keep(peer, name)
            case requests.CallFailed() as failure:
                self._calls.failed(peer, failure)
            case requests.CallDied() as death:
                self._calls.died(peer, death)
            case requests.Inspect() as question:
                if not self._inspections.begin(peer, question):
                    self._warn(peer, "ticket", "%s: a question with the ticket of a call is ignored", peer.id)
            case requests.RefusedMessages(name, count, text):
                self._refused(peer, join_port(peer.id, name), count, text)
            case requests.OpenStream() as stream:
                self._spawn_for(peer, stream)
            case requests.StreamReady(name):
                self._streams.ready(peer, name)
            case requests.DialStream(name):
                self._streams.dial(peer, name)
            case requests.Forward(port, forwarded):
                self._forward(running, peer, port, forwarded)
            case requests.Query(requests.LOOKUP) as query:
                if len(self._looking_up.setdefault(peer.id, [])) >= LOOKUPS:
                    self._warn(peer, "lookup", "%s: that node has %d lookups in flight, the limit", peer.id, LOOKUPS)
                else:
                    self._looking_up[peer.id].append(query)
                    self._dispatcher.lifecycle.start_system_task(self._look_up_for, peer, query)
            case requests.Query(what, port, prefix):
                # Behind the report of each port that was missing when the peer asked to monitor it before: so who is
                # answered behind a monitor knows that the port was there.
                answer = (*prefix, *self._answer(what))
                self._dispatcher.queue.call_behind(self._answer_for, peer, port, answer)
            case requests.Ping():
                peer.send("", requests.pong())
            case requests.Pong():
                peer.answered()
            case requests.Parting(word):
                peer.parting_word(word)
            case requests.Draining(word):
                peer.draining_word(word)
            case requests.ForService(word, arguments):
                service = self.services.get(word)
                if service is None or not service(peer.id, arguments):
                    self._not_understood(message, peer)
            case _:
                self._not_understood(message, peer)

    def serve_local(self, message: tuple[object, ...]) -> None:
        """A message of a program on this node to its own node port."""
        match requests.parse(message):
            case requests.Nothing() | requests.Ping() | requests.Pong():
                pass
            case requests.Kill(name, reason):
                self._dispatcher.lifecycle.kill_now(name, reason)
            case requests.Forward(port, forwarded):
                self._try_to_send(port, forwarded)
            case requests.Query(requests.LOOKUP) as query:
                self._dispatcher.lifecycle.start_system_task(self._look_up_here, query)
            case requests.Query(what, port, prefix):
                self._try_to_send(port, (*prefix, *self._answer(what)))
            case _:
                log.warning(
                    "a message of this program to its node port: expected one of %s, got %s",
                    *(", ".join(sorted(requests.QUERIES)), _short(message)),
                    extra=fields("request", self._dispatcher.id),
                )

    def _refused(self, peer: Peer, port: str, count: int, text: str) -> None:
        self.errands.complain(peer.id, "refused", port_log, "%s refuses messages of this node: %s", port, text)
        self._dispatcher.losses.note_refused(port, count, text, is_logged=True)

    def _watch(self, peer: Peer, name: str) -> None:
        if not peer.watchers.begin(name):
            text = "%s: that node monitors %d ports here, the limit; more monitors are refused"
            self._warn(peer, "monitors", text, peer.id, len(peer.watchers))
        failure = self._spawner.failure_of(name)
        if failure is not None:
            peer.watchers.tell_death(name, failure)

    def _spawn_for(self, peer: Peer, request: requests.ForNewPort) -> None:
        incarnation = peer.association.incarnation
        if not self._spawned_names.may_be_given(peer.id, incarnation, request.name):
            # It is not told: a port may have that name, and whoever monitors that would hear of another's failure.
            text = "%s: a spawn is ignored, because that node may not give the name %.200r"
            self._warn(peer, "name", text, peer.id, request.name)
            return
        why = self._spawned_names.take(peer.id, incarnation, request.name) or self._refusal(peer, request)
        if why:
            self.errands.complain(peer.id, "spawn", spawn_log, "a spawn is refused: %s", why)
            self._spawner.refuse(request.name, why)
        else:
            port = self._make(peer, request)
            if port is not None:
                peer.spawned += 1
                state_of(port).unwound.append(peer.spawned_port_gone)
        if isinstance(request, requests.StartPort) or (isinstance(request, requests.Spawn) and request.linked_to):
            # Its request to monitor comes right behind, but the port may have ended by then, and not of an error.
            self._watch(peer, request.name)

    def _refusal(self, peer: Peer, request: requests.ForNewPort) -> str:
        """Why a port is not spawned for a peer, or nothing."""
        if self._standing.draining.is_set():
            return f"{self._dispatcher.id} is draining, and starts nothing for others"
        if peer.spawned >= self._port_limit:
            return f"{peer.id} has {self._port_limit} ports on this node, the limit"
        linked_to = "" if isinstance(request, requests.OpenStream) else request.linked_to
        if linked_to and node_of(linked_to) != peer.id:
            # A connection with that node would be looked for, in the name of somebody else.
            return f"{peer.id} may link new ports to its own ports only, not to {linked_to:.200}"
        if isinstance(request, requests.StartPort) and peer.watchers.full:
            # It waits for the answer or the port's death, and could not be told of the latter.
            return f"{peer.id} monitors {len(peer.watchers)} ports on this node, the limit"
        return ""

    def _make(self, peer: Peer, request: requests.ForNewPort) -> Port | None:
        if isinstance(request, requests.OpenStream):
            return self._streams.serve(request, peer)
        return self._spawner.spawn(request, asker=peer.id)

    def _forward(self, running: Running, peer: Peer, port: str, message: tuple[object, ...]) -> None:
        """Echo. Not to other nodes: nobody there would hear of a loss."""
        node_id, name = split_port(port)
        if node_id != self._dispatcher.id:
            text = "%s: a message is not forwarded, because %s is not on this node: %r"
            self._warn(peer, "forward", text, peer.id, port, _short(message))
            return
        target = self._dispatcher.ports.get(name)
        if target is not None:
            # Now and not through the queue, so that it keeps its order with what came directly.
            self._dispatcher.deliver(running, target, message, True)

    def _answer(self, what: str) -> tuple[object, ...]:
        if what == "info":
            return (self._dispatcher.id,)
        if what == "time":
            return (self._environment.wall_clock(),)
        if what == "up_nodes":
            return tuple(self._up_nodes())
        return (self._dispatcher.id, *self._known_nodes())

    async def _look_up_for(self, peer: Peer, query: requests.Query) -> None:
        """Answer a `lookup` of another node, if there is an answer in time."""
        try:
            with trio.move_on_after(LOOKUP_SECONDS):
                answer = (*query.prefix, await self._find_registered(query.name))
                self._dispatcher.queue.call_behind(self._answer_for, peer, query.port, answer)
        except Exception as error:  # noqa: BLE001 - a question of another node must not end this one
            self._warn(peer, "lookup", "%s: a lookup is not answered: %s", peer.id, error)
        finally:
            waiting = self._looking_up[peer.id]
            waiting.remove(query)
            if not waiting:
                del self._looking_up[peer.id]

    async def _look_up_here(self, query: requests.Query) -> None:
        """Answer a `lookup` of a program of this node."""
        try:
            self._try_to_send(query.port, (*query.prefix, await self._find_registered(query.name)))
        except Exception as error:  # noqa: BLE001 - nothing can be raised to a program that has asked by message
            extra = fields("request", self._dispatcher.id)
            log.warning("a lookup of this program is not answered: %s", error, extra=extra)

    def _answer_for(self, peer: Peer, port: str, message: tuple[object, ...]) -> None:
        """Send an answer for another node, as far as that is no burden."""
        node_id, name = split_port(port)
        try:
            if name and node_id == self._dispatcher.id:
                self._send(port, message)
                return
            # What it says there would be taken for this node's own word, whatever the asker has put before it.
            why = "that is the node port of a third node" if not name and node_id != peer.id else ""
            why = why or self.errands.answer(node_id, name, message)
        except (TypeError, ValueError) as error:
            why = str(error)
        if why:
            self._warn(peer, "answer", "%s: the answer for %s is not sent: %s", peer.id, port, why)

    def _try_to_send(self, port: str, message: tuple[object, ...]) -> None:
        """Send for a program of this node that asked by message, to whom nothing can be raised."""
        try:
            self._send(port, message)
        except (TypeError, ValueError, RuntimeError) as error:
            log.warning(
                "a message for %s, which the node port was to send, is not sent: %s",
                port,
                error,
                extra=fields("request", self._dispatcher.id),
            )

    def _not_understood(self, message: tuple[object, ...], peer: Peer) -> None:
        text = "%s: a request to the node port is not understood: %r"
        self._warn(peer, "request", text, peer.id, _short(message))

    def _warn(self, peer: Peer, kind: str, text: str, *arguments: object) -> None:
        self.errands.complain(peer.id, kind, log, text, *arguments)


def _short(message: tuple[object, ...]) -> str:
    return excerpt(message)
