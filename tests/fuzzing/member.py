"""Authenticated members that say anything at all to real nodes, in the simulated network.

These must hold: every node lives; the messages of bystanders arrive, under the oracle of the promise, and none of their
monitors fires; and no error is logged but the expected ones (`EXPECTED`).

The seed of a round decides who says what and when, and the same seed gives the same round.
"""

from __future__ import annotations

import logging
import random
import re
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from trio_mp import Node
from trio_mp._errors import RemoteProtocolError
from trio_mp._ids import random_token
from trio_mp._protocol.handshake.auth import stretch_secret
from trio_mp._protocol.handshake.events import Authenticated, LinkReceived, Messages, ProofWanted
from trio_mp._protocol.handshake.greeting import NONCE_SIZE, LocalInfo
from trio_mp._protocol.handshake.handshake import Step
from trio_mp._protocol.handshake.session import Session, TLSChannel
from trio_mp._transport.addresses import parse_address
from trio_mp._transport.pipe import Pipe
from trio_mp.testing import SimulatedNetwork, Witness, address_of, simulate
from trio_mp.testing._network import SECRET
from trio_mp.testing._nodes import NodeTransport

from .programs import serve
from .words import CHANNELS, MODULE, Speaker

MESSAGES = 2000
"""About how many messages the members say in one round."""

MEMBERS = ("a", "z")
"""The IDs of the members. The second is greater than those of the nodes, so it decides which connection is used."""

NODES = ("n", "p", "q")
"""The IDs of the nodes: the seed, and two nodes that are attached to it."""

SETTINGS: dict[str, Any] = {
    "spawn_modules": [MODULE],
    "connect_timeout": 16.0,
    "queue_limit": 1 << 20,
    "message_limit": 1 << 17,
    "port_limit": 50,
    "monitor_limit": 50,
    "mailbox_limit": 200,
    "inspect": "act",
}

EXPECTED = re.compile(
    # Programs that were asked to fail, or got arguments that do not fit.
    r"died and nobody monitors it|a task failed while it was unwinding|a handler failed after the port had died"
    r"|the function of a byte stream failed|the message about a death|the answer for that node cannot be sent"
    # Messages that were queued before the node knew that the peer speaks JSON or has a smaller limit: monitors fire.
    r"|a message of send_"
    # A member uses the ID of another node, or says that the node's ID is in use.
    r"|in use"
)
"""A pattern for the errors that may be in the log."""


class Unexpected(AssertionError):
    """A round has broken a rule; the text says which."""


@dataclass(slots=True)
class Round:
    """The outcome of one round.

    Attributes:
      seed: its seed.
      said: how many messages the members have sent.
      heard: how many messages the members have received.
      connections: how many of their connections came into use.
      delivered: how many of the bystanders' messages have arrived.
      errors: the errors that were logged and not expected.
    """

    seed: int
    said: int = 0
    heard: int = 0
    connections: int = 0
    delivered: int = 0
    errors: list[str] = field(default_factory=list)


class Member:
    """A member that has the secret, and says anything.

    Args:
      network, node_id: its network and its node ID.
      outcome: counts its messages.
    """

    def __init__(self, network: SimulatedNetwork, node_id: str, outcome: Round) -> None:
        self.node_id = node_id
        self.numbers = network.generator(f"member {node_id}")
        self.outcome = outcome
        self.json = self.numbers.random() < 0.5
        host = network._host(node_id)
        host.run, host.up = host.run + 1, True
        self.transport = NodeTransport(network, host)
        places = [address_of(one) for one in (*NODES, *MEMBERS)]
        self.incarnation = random_token(self.numbers.randbytes)
        self.speaker = Speaker(self.numbers, node_id, self.incarnation, [*NODES, *MEMBERS], places, json=self.json)

    def session(self, *, dialler: bool, stream: str = "") -> Session:
        """Make one side of a new connection."""
        numbers = self.numbers
        local = LocalInfo(
            self.node_id,
            self.incarnation if numbers.random() < 0.97 else random_token(numbers.randbytes),
            (stretch_secret(SECRET.encode()),),
            encryption=False,
            heartbeat=numbers.choice((0.1, 1, 5, 60)),
            limit=numbers.choice((65536, 1 << 20)),
            provider="member",
            framings=("json",) if self.json else ("msgpack",),
            words=("call", "inspect", "draining") if numbers.random() < 0.8 else (),
        )
        session = Session(local, numbers.randbytes(NONCE_SIZE), dialler=dialler, peer_address="", make_tls=no_tls)
        if stream:
            session.want_stream(stream)
        return session

    async def run(self) -> None:
        """Listen, and dial the nodes again and again."""
        (listener,) = await self.transport.listen(parse_address(address_of(self.node_id)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._dial, nursery)
            while True:
                pipe = await listener.accept()
                nursery.start_soon(self._converse, pipe, self.session(dialler=False))

    async def _dial(self, nursery: trio.Nursery) -> None:
        while True:
            target = self.numbers.choice(("n", "n", *NODES))
            stream = self.speaker.token() if self.numbers.random() < 0.1 else ""
            try:
                pipe = await self.transport.dial(parse_address(address_of(target)))
            except OSError:
                await trio.sleep(1)
                continue
            nursery.start_soon(self._converse, pipe, self.session(dialler=True, stream=stream))
            await trio.sleep(self.numbers.choice((0, 0.5, 2, 10)))

    async def _converse(self, pipe: Pipe, session: Session) -> None:
        """Use one connection until either side ends it."""
        opened = trio.Event()
        patience = self.numbers.choice((1, 5, 20, 60))
        with trio.move_on_after(patience):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._speak, pipe, session, opened)
                    await self._listen(pipe, session, opened)
                    nursery.cancel_scope.cancel()
            except* (OSError, RemoteProtocolError, trio.ClosedResourceError):
                pass
        pipe.close()

    async def _listen(self, pipe: Pipe, session: Session, opened: trio.Event) -> None:
        while True:
            await self._flush(pipe, session)
            if session.open:
                opened.set()
            await pipe.wait_readable()
            data = pipe.receive_nowait(65536)
            if data is None:
                continue
            if not data:
                return
            for event in session.receive(data):
                match event:
                    case ProofWanted() | Authenticated(owes_proof=True):
                        session.prove("")
                    case Authenticated() | LinkReceived():
                        pass
                    case Messages(batch):
                        self._hear(batch)
                        continue
                    case _:
                        continue
                if isinstance(event, LinkReceived):
                    session.accept()
                elif isinstance(event, Authenticated) and session.handshake.peer is not None:
                    decides = self.node_id.encode() > session.handshake.peer.node_id.encode()
                    if (decides or session.handshake.streams) and session.handshake.step is Step.DECISION:
                        session.link()

    def _hear(self, batch: list[tuple[object, ...]]) -> None:
        self.outcome.heard += len(batch)
        for message in batch:
            if message[:2] == ("", "start") and len(message) > 2:
                self.speaker.asked = [*self.speaker.asked[-20:], str(message[2])]
                if len(message) > 7 and message[3] in CHANNELS:
                    # A program over there has opened a channel: this is the port of its side.
                    self.speaker.channels = [*self.speaker.channels[-10:], str(message[7]).partition("#")[2]]
            if message[:2] == ("", "call") and len(message) > 3:
                self.speaker.called = [*self.speaker.called[-20:], str(message[3])]
            # The IDs of ports in what it was told.
            for value in message[1:]:
                if isinstance(value, str) and "#" in value and value.partition("#")[0] in NODES:
                    self.speaker.ports = [*self.speaker.ports[-50:], value]

    async def _speak(self, pipe: Pipe, session: Session, opened: trio.Event) -> None:
        await opened.wait()
        self.outcome.connections += 1
        numbers, framing = self.numbers, session.handshake.writes
        while True:
            if session.handshake.streams:
                session.send(numbers.randbytes(numbers.randrange(20)))
            else:
                frame, count = framing.open_frame(), 0
                for _ in range(numbers.choice((1, 2, 5, 20, 60))):
                    name, *rest = self.speaker.message()
                    try:
                        framing.append(frame, str(name), tuple(rest))
                        count += 1
                    except (TypeError, ValueError):
                        # Its framing, or any framing, cannot hold this value.
                        continue
                framing.close_frame(frame, count)
                self.outcome.said += count
                if numbers.random() < 0.002 and frame:
                    # Break the frame itself.
                    frame[numbers.randrange(len(frame))] ^= 1 << numbers.randrange(8)
                session.send(frame)
            await self._flush(pipe, session)
            await trio.sleep(numbers.choice((0, 0.001, 0.01, 0.1, 0.5)))

    async def _flush(self, pipe: Pipe, session: Session) -> None:
        while session.outgoing:
            sent = pipe.send_nowait(session.outgoing)
            del session.outgoing[:sent]
            if not sent:
                await pipe.wait_writable()


def no_tls(_is_server: bool) -> TLSChannel:
    """Fail: these sessions have no TLS."""
    raise AssertionError("nobody asked for TLS")


class Bystanders:
    """Programs on the nodes that send messages to each other, each to all.

    Attributes:
      fired: the reasons of monitors that have fired, although none must.
      sent: how many messages they have sent.
    """

    def __init__(self, network: SimulatedNetwork, nodes: list[Node], outcome: Round) -> None:
        self.outcome = outcome
        self.fired: list[tuple[object, ...]] = []
        self.sent = 0
        self._witnesses = [Witness(network, node) for node in nodes]
        self._ports = [witness.port(self._take) for witness in self._witnesses]

    def _take(self, *_message: object) -> None:
        self.outcome.delivered += 1

    def begin(self) -> None:
        """Have each monitor the ports of all."""
        for witness in self._witnesses:
            for port in self._ports:
                witness.monitor(port, lambda *reason: self.fired.append(reason))

    def send(self) -> None:
        """Have each send one message to each port."""
        for witness in self._witnesses:
            for port in self._ports:
                witness.send(port, "of a bystander")
                self.sent += 1

    def check(self) -> None:
        """Check that all messages have arrived, and that no monitor has fired."""
        if self.fired:
            raise Unexpected(f"monitors of bystanders have fired: {self.fired[:3]}")
        if self.outcome.delivered != self.sent:
            raise Unexpected(f"{self.outcome.delivered} of {self.sent} messages of bystanders arrived")


class Errors(logging.Handler):
    """Keeps logged errors that are not expected."""

    def __init__(self, outcome: Round) -> None:
        super().__init__(logging.ERROR)
        self._outcome = outcome

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`. Ignores log records that a member has sent as its own."""
        text = record.getMessage()
        if not hasattr(record, "node") and not EXPECTED.search(text):
            if record.exc_info:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
            self._outcome.errors.append(text)


@contextmanager
def watched_log(outcome: Round) -> Iterator[None]:
    """Keep errors for the length of the block. Nothing is printed, unless the root logger has a handler."""
    logger, handler = logging.getLogger("trio_mp"), Errors(outcome)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


async def scenario(network: SimulatedNetwork, outcome: Round, messages: int) -> None:
    """Play one round in the simulated network."""
    first, *others = NODES
    seeds = [address_of(first)]
    async with (
        network.open_node(first, **SETTINGS) as n,
        network.open_node(others[0], seeds=seeds, **SETTINGS) as p,
        network.open_node(others[1], seeds=seeds, **SETTINGS) as q,
    ):
        nodes = [n, p, q]
        bystanders = Bystanders(network, nodes, outcome)
        bystanders.begin()
        bystanders.send()
        # By now all nodes are connected with all, and must stay so.
        await trio.sleep(30)
        async with trio.open_nursery() as nursery:
            with n.collect_logs("INFO"):
                for node in nodes:
                    nursery.start_soon(follow, node)
                for node_id in MEMBERS:
                    nursery.start_soon(be_a_member, network, node_id, nodes, outcome)
                for _ in range(300):
                    # The number of rounds bounds the time, because the nodes may refuse all members.
                    bystanders.send()
                    await trio.sleep(1)
                    if outcome.said >= messages:
                        break
                    if outcome.said >= messages / 2 and not q.draining.is_set():
                        # It tells the members so, and awaits their fences, or never ends.
                        nursery.start_soon(q.drain)
                        await q.draining.wait()
                nursery.cancel_scope.cancel()
        # More than three heartbeats, so that nodes notice peers that have fallen silent.
        await trio.sleep(20)
        bystanders.check()


async def be_a_member(network: SimulatedNetwork, node_id: str, nodes: list[Node], outcome: Round) -> None:
    """Run a member that knows one port of each node."""
    member = Member(network, node_id, outcome)
    for node in nodes:
        port = node.port()
        serve(node, port)
        member.speaker.ports.append(str(port))
    await member.run()


async def follow(node: Node) -> None:
    """Use the database of a node as programs do."""
    async with trio.open_nursery() as nursery:
        for family in ("red", "blue", "trio_mp.nodes"):
            nursery.start_soon(watch, node, family)
        nursery.start_soon(watch_nodes, node)


async def watch(node: Node, family: str) -> None:
    """Follow a family."""
    async with node.database.watch(family) as changes:
        async for _ in changes:
            pass


async def watch_nodes(node: Node) -> None:
    """Follow the nodes of the network."""
    async with node.watch_nodes() as changes:
        async for _ in changes:
            pass


def play(seed: int, messages: int = MESSAGES) -> Round:
    """Play one round. Raises for a broken rule, with the seed in a note."""
    outcome = Round(seed)
    try:
        with watched_log(outcome):
            simulate(scenario, outcome, messages, seed=seed)
        if outcome.errors:
            raise Unexpected(f"{len(outcome.errors)} errors were logged; the first:\n{outcome.errors[0]}")
    except Exception as error:
        error.add_note(f"fuzzing member, seed {seed}, {messages} messages")
        raise
    return outcome


def run(seed: int, messages: int, minutes: float) -> int:
    """Play rounds from this seed on, until so many messages were sent or the time is over; return how many broke."""
    began = shown = time.monotonic()
    said = heard = rounds = broken = connections = delivered = 0
    while said < messages and time.monotonic() - began < minutes * 60:
        try:
            outcome = play(seed + rounds)
        except Exception as error:  # noqa: BLE001 - shown, and counted
            broken += 1
            print(f"seed {seed + rounds} is broken:", *traceback.format_exception(error), flush=True)
        else:
            said, heard = said + outcome.said, heard + outcome.heard
            connections, delivered = connections + outcome.connections, delivered + outcome.delivered
        rounds += 1
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            print(f"{said:,} messages in {rounds:,} rounds, {shown - began:.0f} s", flush=True)
    print(
        f"member: seeds {seed} to {seed + rounds - 1}, {said:,} messages said and {heard:,} heard over {connections:,}"
        f" connections, {delivered:,} of bystanders delivered, {broken} rounds broken, {time.monotonic() - began:.0f} s"
    )
    return broken


def new_seed() -> int:
    """Return a seed that was probably never tried."""
    return random.SystemRandom().randrange(10**9)
