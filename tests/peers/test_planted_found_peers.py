"""What planted faults have shown that no test looked at: several peers, several connections, several frames."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Inbox, Notices, RawPeer, open_pair, open_test_node, peer_of, place, until

from trio_mp import Monitor
from trio_mp._protocol.handshake.events import Authenticated
from trio_mp._protocol.wire import codec

either_decides = pytest.mark.parametrize("raw_id", ["a", "z"], ids=["we-decide", "they-decide"])


async def connect(network: FakeNetwork, raw_id: str) -> RawPeer:
    """A raw peer whose connection with the node `m` is in use; the greater ID decides."""
    peer = RawPeer(network.connect(place("m")).dialler, raw_id)
    await (peer.choose() if raw_id > "m" else peer.adopt())
    return peer


async def test_a_death_is_believed_only_of_the_node_that_owns_the_port(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_pair(network, "a", "m") as (a, m):
        inbox, told = Inbox(a), Notices()
        m.monitor(inbox.port, told)
        liar = await connect(network, "b")
        await liar.send(("", "kil0", inbox.port.name, "a lie"))
        m.send(inbox.port, "alive")
        await inbox.wait(1)
        await trio.sleep(1)
        assert not told.reasons
        inbox.port.kill("the truth")
        assert await told.wait() == ("the truth",)


@either_decides
async def test_a_probe_is_answered_by_nobody_else(autojump_clock: trio.testing.MockClock, raw_id: str) -> None:
    """Another node says that it is alive, and the one that was asked says nothing: another run takes its place."""
    network = FakeNetwork()
    async with open_test_node(network, "m", handshake_timeout=20) as m:
        old, bystander = await connect(network, raw_id), await connect(network, "b")
        await until(lambda: len(m.peers) == 2)
        new = RawPeer(network.connect(place("m")).dialler, raw_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(new.choose if raw_id == "z" else new.adopt)
            await old.receive(1)
            assert old.received == [("", "ping")]
            await bystander.send(("", "pong"))
            await until(lambda: peer_of(m, raw_id).association.incarnation == new.incarnation, 10)
        assert not new.refused


@either_decides
async def test_a_probe_ends_with_its_connection(autojump_clock: trio.testing.MockClock, raw_id: str) -> None:
    """The one that is probed goes, another takes its place and is probed in turn: it has all the time there is."""
    network = FakeNetwork()
    async with open_test_node(network, "m", handshake_timeout=20) as m:
        wire = network.connect(place("m"))
        first = RawPeer(wire.dialler, raw_id)
        await (first.choose() if raw_id == "z" else first.adopt())
        await until(lambda: m.peers)
        async with trio.open_nursery() as nursery:
            second = RawPeer(network.connect(place("m")).dialler, raw_id)
            nursery.start_soon(second.choose if raw_id == "z" else second.adopt)
            # The first one is asked now, and has 5 s to answer.
            await trio.sleep(1)
            wire.reset()
            await until(lambda: peer_of(m, raw_id).association.incarnation == second.incarnation, 1)
            await until(lambda: m.peers, 1)
            told = Notices()
            m.monitor(raw_id, told)
            await trio.sleep(1)
            third = RawPeer(network.connect(place("m")).dialler, raw_id)
            nursery.start_soon(come_and_be_refused, third)
            # The second one is asked now.
            while ("", "ping") not in second.received:
                await second.step()
            await trio.sleep(4.5)
            assert not told.reasons
            await second.send(("", "pong"))
        assert third.refused == "node ID in use"
        assert not told.reasons


async def come_and_be_refused(peer: RawPeer) -> None:
    """Go through the handshake, and choose the connection if that is up to this side."""
    await peer.reach(Authenticated)
    if peer.session.handshake.local.node_id > "m":
        peer.session.link()
    await peer.read_to_end()


async def test_a_frame_behind_the_one_that_ended_its_connection(autojump_clock: trio.testing.MockClock) -> None:
    """Both were read at once. The rest of the first is not dispatched, so neither is the second."""
    network = FakeNetwork()
    ticks = itertools.count()
    async with open_test_node(network, "m", fairness_clock=lambda: float(next(ticks))) as m:
        got: list[int] = []

        def receive(number: int) -> None:
            got.append(number)
            if number == 20:
                peer_of(m, "a").execute(peer_of(m, "a").association.lose("as the test wants it"))

        port = m.port(receive)
        peer = await connect(network, "a")
        frames = bytearray()
        for numbers in (range(1000), range(1000, 1010)):
            frame = codec.open_frame()
            for number in numbers:
                codec.append_message(frame, port.name, (number,))
            codec.close_frame(frame, len(numbers))
            frames += frame
        await peer.send_raw(bytes(frames))
        await peer.read_to_end()
        await trio.sleep(1)
        assert 20 < len(got) < 40
        assert got == list(range(len(got)))


async def test_the_notice_of_a_death_comes_before_what_callbacks_send(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        events: list[Any] = []
        port, other = a.port(), b.port(events.append)
        b.monitor(port, lambda *reason: events.append(reason))
        a.monitor(port, lambda *_: a.send(other, "it is dead"))
        await b.flush("a")
        await trio.sleep(1)
        port.kill("why")
        await until(lambda: len(events) == 2)
        assert events == [("why",), "it is dead"]


async def test_a_loss_is_reported_before_what_waits_is_handled(autojump_clock: trio.testing.MockClock) -> None:
    """What waited is handled when the reasons are set, and what it sends is not dropped with what was lost."""
    async with open_pair(FakeNetwork(), queue_limit=400_000, message_limit=100_000) as (a, b):
        inbox = Inbox(a)
        seen: list[tuple[Any, ...] | None] = []
        monitors: list[Monitor] = []

        def overflow() -> None:
            b.send(waiting, "go on")
            while b.peers:
                b.send(inbox.port, b"x" * 90_000)

        def go_on(_tag: str) -> None:
            seen.append(monitors[0].reason)
            b.send(inbox.port, "behind the report")

        waiting = b.port(go_on)
        monitors.append(b.monitor(inbox.port, lambda *_: None))
        await b.flush("a")
        b.send(b.port(overflow))
        await until(lambda: ("behind the report",) in inbox.messages)
        (reason,) = seen
        assert reason is not None
        assert reason[0] == "transport_error"
