"""Peers made of a session alone: they can send what no node sends, and show what a node sends to them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from fake_network import FakeNetwork, place
from watched_nodes import SECRET, until

from trio_mp import Node
from trio_mp._errors import RemoteProtocolError
from trio_mp._ids import random_token, spawned_prefix, spawner_mark
from trio_mp._protocol.handshake.auth import stretch_secret
from trio_mp._protocol.handshake.events import (
    Authenticated,
    Event,
    LinkReceived,
    Messages,
    OkReceived,
    ProofWanted,
    RefusedByPeer,
)
from trio_mp._protocol.handshake.greeting import NONCE_SIZE, LocalInfo
from trio_mp._protocol.handshake.session import Session
from trio_mp._protocol.wire import codec
from trio_mp._transport.pipe import Pipe
from trio_mp._transport.throwaway import throwaway_tls


def requests_in(sent: bytes | bytearray) -> list[tuple[Any, ...]]:
    """Return the messages in the bytes that an unencrypted side has sent, behind its handshake."""
    # The last line of either side's handshake is `link` or `ok`.
    for mark in (b"\nlink\n", b"\nok\n"):
        _, found, frames = bytes(sent).partition(mark)
        if found:
            break
    messages: list[tuple[Any, ...]] = []
    while len(frames) >= 4:
        size = int.from_bytes(frames[:4], "big")
        if len(frames) < 4 + size:
            break
        messages += codec.decode_frame(frames[4 : 4 + size])
        frames = frames[4 + size :]
    return messages


class RawPeer:
    """A peer made of a session and a pipe, so that a test can send what no node sends.

    Attributes:
      session, pipe: its session and its pipe.
      messages: the messages that have arrived.
      refused: why the node has refused it, or None.
    """

    def __init__(
        self,
        pipe: Pipe,
        node_id: str,
        *,
        incarnation: str | None = None,
        secret: str = SECRET,
        dialler: bool = True,
        limit: int = 2**20,
        heartbeat: float = 5,
        encryption: bool = False,
        framings: tuple[str, ...] = ("msgpack",),
        words: tuple[str, ...] = (),
    ) -> None:
        self.pipe = pipe
        self.node_id = node_id
        self.incarnation = incarnation or random_token(os.urandom)
        local = LocalInfo(
            node_id,
            self.incarnation,
            (stretch_secret(secret.encode()),),
            encryption=encryption,
            heartbeat=heartbeat,
            limit=limit,
            provider="raw",
            framings=framings,
            words=words,
        )
        self.session = Session(
            local, os.urandom(NONCE_SIZE), dialler=dialler, peer_address="raw", make_tls=throwaway_tls
        )
        self.messages: list[tuple[Any, ...]] = []
        self.events: list[Event] = []
        self.refused: str | None = None
        self.ended = False

    def name_to_spawn(self, counter: int, random_part: str = "r" * 16) -> str:
        """Return a name that this run of the peer may give to a port that it spawns."""
        return spawned_prefix(spawner_mark(self.node_id, self.incarnation), counter) + random_part

    async def flush(self) -> None:
        while self.session.outgoing:
            count = self.pipe.send_nowait(self.session.outgoing)
            del self.session.outgoing[:count]
            if not count:
                await self.pipe.wait_writable()

    async def step(self) -> list[Event]:
        """Write what there is, read once, and answer with a proof where one is wanted."""
        await self.flush()
        await self.pipe.wait_readable()
        data = self.pipe.receive_nowait(65536)
        if data is None:
            return []
        if not data:
            self.ended = True
            return []
        events = self.session.receive(data)
        for event in events:
            match event:
                case ProofWanted() | Authenticated(owes_proof=True):
                    self.session.prove("")
                case Messages(batch):
                    self.messages += batch
                case RefusedByPeer(why):
                    self.refused = why
                case _:
                    pass
        self.events += events
        await self.flush()
        return events

    async def reach(self, kind: type[Event]) -> None:
        """Read until this kind of event has come."""
        while not any(isinstance(event, kind) for event in self.events):
            assert not self.ended, "the connection ended before"
            await self.step()

    async def adopt(self) -> None:
        """Go through the whole handshake; this side must not be the one that decides."""
        await self.reach(LinkReceived)
        self.session.accept()
        await self.flush()

    async def choose(self) -> None:
        """Go through the whole handshake; this side must be the one that decides."""
        await self.reach(Authenticated)
        self.session.link()
        await self.reach(OkReceived)

    async def send(self, *messages: Sequence[Any]) -> None:
        """Send a batch; each message begins with the name of a port."""
        frame = codec.open_frame()
        for message in messages:
            codec.append_message(frame, message[0], tuple(message[1:]))
        codec.close_frame(frame, len(messages))
        self.session.send(frame)
        await self.flush()

    async def send_raw(self, data: bytes) -> None:
        self.session.send(data)
        await self.flush()

    async def receive(self, count: int) -> list[tuple[Any, ...]]:
        """Read until so many messages have come, not counting signs of life; return them all."""
        while len(self.received) < count:
            assert not self.ended, f"the connection ended after {self.received}"
            await self.step()
        return self.received

    @property
    def received(self) -> list[tuple[Any, ...]]:
        return [message for message in self.messages if tuple(message) != ("", "")]

    async def read_to_end(self) -> None:
        """Read until the other side closes, or resets, the connection."""
        while not self.ended:
            try:
                await self.step()
            except (OSError, RemoteProtocolError):
                self.ended = True


async def connect_raw(network: FakeNetwork, raw_id: str, to: str = "m", **arguments: Any) -> RawPeer:
    """Make a raw peer whose connection with the node `to` is in use; the greater ID decides."""
    peer = RawPeer(network.connect(place(to)).dialler, raw_id, **arguments)
    await (peer.choose() if raw_id > to else peer.adopt())
    return peer


NO_PORT = "AAAAAAAAAAAAAAAA.1"
"""The name of a port that no node has."""


@asynccontextmanager
async def a_member(
    network: FakeNetwork, node: Node, node_id: str = "0", **arguments: Any
) -> AsyncGenerator[RawPeer, None]:
    """A peer of a node that does what no node would."""
    raw = RawPeer(network.connect(place(node.id)).dialler, node_id, **arguments)
    await raw.adopt()
    await until(lambda: node_id in node.peers)

    async def give_signs_of_life() -> None:
        while True:
            await raw.send(("", ""))
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_signs_of_life)
        yield raw
        nursery.cancel_scope.cancel()
    raw.pipe.close()
