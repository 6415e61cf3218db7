"""Connections: seeds, simultaneous dialling, losses, heartbeats, and which of two connections is used."""

from __future__ import annotations

import itertools
import logging
import random
from typing import Any, NoReturn

import pytest
import trio
import trio.testing
from manual_clock import ManualClock
from network_helpers import (
    FakeNetwork,
    Inbox,
    Notices,
    RawPeer,
    Wire,
    connect_raw,
    network_of,
    open_pair,
    open_test_node,
    peer_of,
    place,
    until,
    warnings_in,
)
from relay_helpers import check_promise

from trio_mp import Node
from trio_mp._protocol.association.outbox import Fence
from trio_mp._protocol.handshake.events import Authenticated, LinkReceived
from trio_mp._protocol.wire import codec

encrypted_or_not = pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])
both_deciders = pytest.mark.parametrize(
    "seed, other", [("a", "b"), ("b", "a")], ids=["dialler-decides", "seed-decides"]
)


# Seeds ---------------------------------------------------------------------------------------------------------------


@encrypted_or_not
@both_deciders
async def test_either_side_may_start_first(
    autojump_clock: trio.testing.MockClock, encryption: bool, seed: str, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, other, seeds=[seed], encryption=encryption) as one:
        await trio.sleep(60)
        assert not one.peers
        # Once in five seconds at the most, and it says so once.
        assert 10 <= network.dialled[place(seed)] <= 25
        assert len(warnings_in(caplog)) == 1
        async with open_test_node(network, seed, encryption=encryption) as two:
            await until(lambda: one.peers and two.peers, 10)
            inbox = Inbox(two)
            one.send(inbox.port, "hello")
            await inbox.wait(1)
        await until(lambda: not one.peers)
    assert len(warnings_in(caplog)) <= 2


async def test_retries_slow_down_and_start_fast_again(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b", seeds=["a"]) as b:
        await trio.sleep(100)
        async with open_test_node(network, "a"):
            await until(lambda: b.peers, 10)
            for _ in range(3):
                start = trio.current_time()
                network.wire.reset()
                await until(lambda: not b.peers)
                await until(lambda: b.peers)
                assert trio.current_time() - start < 0.5


async def test_a_seed_may_be_the_node_itself(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", seeds=["a", "b"]) as a,
        open_test_node(network, "b", seeds=["a", "b"]) as b,
    ):
        await until(lambda: a.peers == ("b",) and b.peers == ("a",))
        await trio.sleep(100)
        assert len(network.live) == 1
        # Neither tries its own address more than once in a minute or so.
        assert network.dialled[place("a")] + network.dialled[place("b")] <= 10


async def test_two_seeds_that_are_the_same_node(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", binds=(place("a"), place("also-a"))) as a,
        open_test_node(network, "b", seeds=["a", "also-a"]) as b,
    ):
        await until(lambda: a.peers and b.peers)
        await trio.sleep(100)
        assert len(network.live) == 1
        assert sum(network.dialled.values()) <= 6
        network.wire.reset()
        await trio.sleep(10)
        assert a.peers == ("b",)
        assert b.peers == ("a",)
        assert len(network.live) == 1
        assert not warnings_in(caplog)


async def test_a_seed_that_answers_nothing(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    network.dialling = 1000
    async with open_test_node(network, "b", seeds=["a"], handshake_timeout=10):
        await trio.sleep(45)
        assert network.dialled[place("a")] == 5


async def test_three_nodes_in_a_row(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", seeds=["b"]) as a,
        open_test_node(network, "b") as b,
        open_test_node(network, "c", seeds=["b"], listen=False) as c,
    ):
        await until(lambda: set(b.peers) == {"a", "c"})
        assert a.peers == c.peers == ("b",)
        assert b.binds == (place("b"),)
        assert c.binds == ()


async def test_nodes_that_come_and_go_leave_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    """A node that runs for long must not keep something for every short-lived one that ever visited it."""
    network = FakeNetwork()
    async with open_test_node(network, "seed") as seed:
        for _ in range(20):
            async with open_test_node(network, "anon/", seeds=["seed"], listen=False) as visitor:
                assert (await visitor.call("seed", "info")) == ("seed",)
        await until(lambda: not seed.peers)
        await trio.sleep(1000)
        assert len(network_of(seed).peers) < 5


# Simultaneous dialling -----------------------------------------------------------------------------------------------


@encrypted_or_not
@pytest.mark.parametrize("delay_there", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("delay_back", [0.0, 0.05, 0.2])
async def test_simultaneous_dialling_ends_with_one_connection_and_no_loss(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    encryption: bool,
    delay_there: float,
    delay_back: float,
) -> None:
    network = FakeNetwork()

    def slow(wire: Wire) -> None:
        late = delay_there if wire.address == place("a") else delay_back
        for direction in wire.directions:
            direction.delay = 0.01 + late

    network.prepare = slow
    async with (
        open_test_node(network, "a", seeds=["b"], encryption=encryption) as a,
        open_test_node(network, "b", seeds=["a"], encryption=encryption) as b,
    ):
        at_a, at_b = Inbox(a), Inbox(b)
        told = Notices()
        a.monitor(at_b.port, told)
        b.monitor(at_a.port, told)
        for number in range(200):
            a.send(at_b.port, number)
            b.send(at_a.port, number)
            await trio.sleep(0.005)
        await at_a.wait(200)
        await at_b.wait(200)
        await trio.sleep(60)
        assert len(network.live) == 1
        assert at_a.messages == at_b.messages == [(number,) for number in range(200)]
        assert not told.reasons
        network.wire.reset()
        await until(lambda: a.peers and b.peers)
        await trio.sleep(60)
        assert len(network.live) == 1
        assert len(told.reasons) == 2
        assert not warnings_in(caplog)


@pytest.mark.parametrize("steps", list(itertools.product([0, 1], repeat=4)))
async def test_many_connections_between_the_same_two_nodes(
    autojump_clock: trio.testing.MockClock, steps: tuple[int, ...]
) -> None:
    """Both dial the other at two addresses; cuts come in different places. Order holds, and no hole is untold."""
    network = FakeNetwork()
    delays = itertools.cycle(0.01 + 0.07 * step for step in steps)

    def slow(wire: Wire) -> None:
        for direction in wire.directions:
            direction.delay = next(delays)

    network.prepare = slow
    async with (
        open_test_node(network, "a", binds=(place("a"), place("a2")), seeds=["b", "b2"]) as a,
        open_test_node(network, "b", binds=(place("b"), place("b2")), seeds=["a", "a2"]) as b,
    ):
        log: list[int] = []
        receiver = a.port(log.append)
        told: list[int] = []
        sent = 0

        def watch(*_: object) -> None:
            told.append(sent)
            b.monitor(receiver, watch)

        b.monitor(receiver, watch)
        for round_ in range(300):
            b.send(receiver, sent)
            sent += 1
            await trio.sleep(0.02)
            if round_ % 40 == 25:
                for wire in network.live[round_ % 2 :: 2]:
                    wire.reset()
        await trio.sleep(100)
        check_promise(sent, log, told)
        assert len(network.live) == 1
        assert b.peers == ("a",)


@pytest.mark.parametrize("seed", range(40))
async def test_the_promise_holds_whatever_happens(autojump_clock: trio.testing.MockClock, seed: int) -> None:
    """Both sides send to each other over several wires that are slow, and are cut, stalled and reset at random."""
    chance = random.Random(seed)
    network = FakeNetwork()

    def unlike(wire: Wire) -> None:
        for direction in wire.directions:
            direction.delay = chance.choice([0, 0.01, 0.1, 0.4])
            direction.capacity = chance.choice([5000, 50_000, 256 * 1024])
            direction.largest_read = chance.choice([500, 100_000])

    network.prepare = unlike
    settings: dict[str, Any] = {
        "encryption": chance.random() < 0.3,
        "queue_limit": 300_000,
        "message_limit": 70_000,
        "heartbeat": 1,
        "handshake_timeout": 5,
        "connect_timeout": 8,
    }
    async with (
        open_test_node(network, "a", binds=(place("a"), place("a2")), seeds=["b", "b2"], **settings) as a,
        open_test_node(network, "b", binds=(place("b"), place("b2")), seeds=["a", "a2"], **settings) as b,
    ):
        records = [(one, Record(one, other)) for one, other in ((a, b), (b, a))]
        for _ in range(200):
            for _, record in records:
                for _ in range(chance.choice([0, 1, 1, 5])):
                    record.send(b"x" * chance.choice([0, 10, 10, 5000, 60_000]))
            if network.live and chance.random() < 0.08:
                wire = chance.choice(network.live)
                match chance.randrange(6):
                    case 0:
                        wire.reset()
                    case 1:
                        wire.hang_up()
                    case 2:
                        wire.cut()
                    case 3:
                        chance.choice(wire.directions).black_hole = True
                    case 4:
                        wire.stall()
                    case _:
                        wire.back.receive_error = ConnectionResetError(104, "Connection reset by peer")
                        wire.back.wake()
            for wire in network.live:
                if chance.random() < 0.3:
                    wire.resume()
            await trio.sleep(chance.choice([0, 0.01, 0.1, 0.5]))
        for wire in network.live:
            wire.resume()
        await trio.sleep(100)
        for _, record in records:
            check_promise(record.sent, record.delivered, record.told)
            # And all is well again.
            record.send(b"")
        await until(lambda: all(record.delivered[-1] == record.sent - 1 for _, record in records), 60)
        assert len(network.live) == 1


class Record:
    """What was sent from one node to a port of another, what arrived, and when the sender was told of a loss."""

    def __init__(self, receiver: Node, sender: Node) -> None:
        self.sent = 0
        self.delivered: list[int] = []
        self.told: list[int] = []
        self._sender = sender
        self._port = receiver.port(lambda number, _: self.delivered.append(number))
        self._watch()

    def _watch(self, *_: object) -> None:
        if self.sent:
            self.told.append(self.sent)
        self._sender.monitor(self._port, self._watch)

    def send(self, data: bytes) -> None:
        self._sender.send(self._port, self.sent, data)
        self.sent += 1


# Losses --------------------------------------------------------------------------------------------------------------


@both_deciders
@pytest.mark.parametrize("how", ["reset", "hang_up"])
async def test_a_lost_connection_is_made_again(
    autojump_clock: trio.testing.MockClock, seed: str, other: str, how: str
) -> None:
    network = FakeNetwork()
    async with open_pair(network, seed, other) as (one, two):
        inbox = Inbox(one)
        for number in range(5):
            two.send(inbox.port, number)
            await inbox.wait(number + 1)
            getattr(network.wire, how)()
            await until(lambda: not one.peers and not two.peers)
            await until(lambda: one.peers and two.peers)


@both_deciders
async def test_only_the_dialler_notices_the_loss(
    autojump_clock: trio.testing.MockClock, seed: str, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The other side holds on to a dead half, until the new connection says which one was lost."""
    network = FakeNetwork()
    async with open_pair(network, seed, other) as (one, two):
        inbox = Inbox(one)
        at_one, at_two = Notices(), Notices()
        one.monitor(two.id, at_one)
        two.monitor(one.id, at_two)
        wire = network.wire
        start = trio.current_time()
        wire.cut()
        wire.back.receive_error = ConnectionResetError(104, "Connection reset by peer")
        wire.back.wake()
        await at_two.wait()
        two.send(inbox.port, "after")
        await at_one.wait()
        await inbox.wait(1)
        assert trio.current_time() - start < 1, "it must not take a timeout"
        assert not warnings_in(caplog)


@both_deciders
@pytest.mark.parametrize("direction", ["there", "back", "both"])
async def test_a_silent_peer_is_noticed_within_three_heartbeats(
    autojump_clock: trio.testing.MockClock, seed: str, other: str, direction: str
) -> None:
    network = FakeNetwork()
    async with open_pair(network, seed, other) as (one, two):
        at_one, at_two = Notices(), Notices()
        one.monitor(two.id, at_one)
        two.monitor(one.id, at_two)
        await trio.sleep(20)
        assert not at_one.reasons
        assert not at_two.reasons
        start = trio.current_time()
        wire = network.wire
        for name in ("there", "back"):
            if direction in {name, "both"}:
                getattr(wire, name).black_hole = True
        await (at_two if direction == "back" else at_one).wait()
        # The last byte may have come just before; it is looked for every half heartbeat, and twice.
        assert 10 <= trio.current_time() - start <= 20
        await at_one.wait()
        await at_two.wait()
        assert trio.current_time() - start <= 21
        await until(lambda: one.peers and two.peers)


async def test_an_idle_connection_stays_up(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        told = Notices()
        a.monitor("b", told)
        b.monitor("a", told)
        wire = network.wire
        written = len(wire.there.sent), len(wire.back.sent)
        await trio.sleep(10_000)
        assert not told.reasons
        assert wire.open
        for before, direction in zip(written, wire.directions, strict=True):
            assert 15 * 1500 < len(direction.sent) - before < 20 * 4100


@pytest.mark.parametrize("one_beat, other_beat", [(0.5, 5), (5, 0.5), (0.1, 9.9)])
async def test_heartbeats_may_differ(
    autojump_clock: trio.testing.MockClock, one_beat: float, other_beat: float
) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", heartbeat=one_beat) as a,
        open_test_node(network, "b", seeds=["a"], heartbeat=other_beat) as b,
    ):
        await until(lambda: a.peers and b.peers)
        told = Notices()
        a.monitor("b", told)
        b.monitor("a", told)
        await trio.sleep(1000)
        assert not told.reasons


@pytest.mark.parametrize("own, theirs", [(5, 5), (5, 0.5), (0.5, 5)])
async def test_a_process_that_was_stopped_does_not_mistake_its_peer_for_dead(
    autojump_clock: trio.testing.MockClock, own: float, theirs: float
) -> None:
    """The clock jumps, as after SIGSTOP and SIGCONT or a long computation; what came meanwhile is read first."""
    network = FakeNetwork()
    for _ in range(10):
        async with (
            open_test_node(network, "a", heartbeat=own) as a,
            open_test_node(network, "b", seeds=["a"], heartbeat=theirs) as b,
        ):
            await until(lambda: a.peers and b.peers)
            told = Notices()
            a.monitor("b", told)
            await trio.sleep(own * 2.2)
            # One step of the scheduler: whoever runs first, judging or reading.
            b.send("a", "devnull")
            await b.flush("a")
            autojump_clock.jump(100)
            await trio.sleep(own * 3)
            assert not told.reasons


async def test_a_receiver_that_computes_for_long_does_not_mistake_its_peer_for_dead(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A batch that takes a minute to dispatch, in many turns: what came meanwhile has not been read yet."""
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", fairness_clock=ManualClock(step=1.0)) as a,
        open_test_node(network, "b", seeds=["a"]) as b,
    ):
        await until(lambda: a.peers and b.peers)
        told = Notices()
        a.monitor("b", told)
        done: list[int] = []

        def compute(number: int) -> None:
            autojump_clock.jump(1)
            done.append(number)

        port = a.port(compute)
        for number in range(200):
            b.send(port, number)
        await until(lambda: len(done) == 200 or told.reasons)
        assert not told.reasons
        assert done == list(range(200))


async def test_a_write_error_does_not_lose_what_was_received_before(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        inbox, told = Inbox(b), Notices()
        b.monitor(inbox.port, told)
        a.send(inbox.port, "on its way")
        await a.flush("b")
        network.wire.there.send_error = BrokenPipeError(32, "Broken pipe")
        network.wire.hang_up()
        b.send("a", "devnull")
        await inbox.wait(1)
        await until(lambda: not b.peers)


BROKEN = BrokenPipeError(32, "Broken pipe")


async def test_what_is_on_its_way_arrives_though_a_write_has_failed(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        inbox = Inbox(b)
        network.wire.back.stalled = True
        a.send(inbox.port, "on its way")
        await a.flush("b")
        network.wire.there.send_error = BROKEN
        b.send("a", "devnull")
        await trio.sleep(0.1)
        assert not inbox.messages
        network.wire.back.resume()
        await until(lambda: inbox.messages, 1)


async def test_a_connection_that_can_only_be_read_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """Writing fails, and the other side goes on as if nothing were. Whoever monitors must hear of it."""
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        told = Notices()
        b.monitor(a.port(), told)
        await b.flush("a")
        network.wire.there.send_error = BrokenPipeError(32, "Broken pipe")
        b.send("a", "devnull")
        with trio.move_on_after(100):
            await told.wait()
        assert told.reasons


# Batches of a connection that ends -----------------------------------------------------------------------------------


async def test_a_batch_is_not_dispatched_further_when_its_connection_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", fairness_clock=ManualClock(step=1.0)) as a,
        open_test_node(network, "b", seeds=["a"]) as b,
    ):
        await until(lambda: a.peers and b.peers)
        got: list[int] = []

        def receive(number: int) -> None:
            got.append(number)
            if number == 20:
                peer_of(a, "b").execute(peer_of(a, "b").association.lose("as the test wants it"))

        port = a.port(receive)
        told = Notices()
        b.monitor(port, told)
        for number in range(1000):
            b.send(port, number)
        await told.wait()
        await until(lambda: a.peers and b.peers)
        assert 20 < len(got) < 40
        count = len(got)
        b.send(port, 5000)
        await until(lambda: got[-1] == 5000)
        assert got[:count] == list(range(count))
        assert len(got) == count + 1


async def test_a_frame_behind_the_one_that_ended_its_connection(autojump_clock: trio.testing.MockClock) -> None:
    """Both were read at once. The rest of the first is not dispatched, so neither is the second."""
    network = FakeNetwork()
    async with open_test_node(network, "m", fairness_clock=ManualClock(step=1.0)) as m:
        got: list[int] = []

        def receive(number: int) -> None:
            got.append(number)
            if number == 20:
                peer_of(m, "a").execute(peer_of(m, "a").association.lose("as the test wants it"))

        port = m.port(receive)
        peer = await connect_raw(network, "a")
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


@pytest.mark.parametrize("what", ["a port", "mon1", "join", "db", "spawn", "ping"])
async def test_what_comes_behind_the_end_of_a_connection_in_one_batch(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """A handler ends the connection: monitors, services and the association have done with it before the batch is."""
    network = FakeNetwork()
    async with open_test_node(network, "m", queue_limit=400_000, message_limit=100_000) as m:
        raw = RawPeer(network.connect(place("m")).dialler, "a", limit=100_000)
        await raw.adopt()
        await until(lambda: m.peers)
        inbox = Inbox(m)
        flood = m.port(lambda: [m.send("a#AAAAAAAAAAAAAAAA.1", "x" * 90_000) for _ in range(100)])
        words: dict[str, tuple[Any, ...]] = {
            "a port": (inbox.port.name, "late"),
            "mon1": ("", "mon1", inbox.port.name),
            "join": ("", "join", True, ["unix:/fake/a"]),
            "db": ("", "db", "pull"),
            "spawn": ("", "spawn", f"{raw.incarnation}.1", "no.module:f"),
            "ping": ("", "ping"),
        }
        await raw.send((inbox.port.name, "early"), (flood.name,), words[what])
        await until(lambda: not m.peers)
        assert inbox.messages == [("early",)]
        peer = peer_of(m, "a")
        assert not peer.watchers
        assert not peer.association.watched
        await until(lambda: peer.association.outbox.fence is Fence.CLEAR)
        assert not peer.association.outbox.queue.size
        membership = m._membership
        assert membership is not None
        assert not membership.rules.mesh
        assert [line for line in warnings_in(caplog) if "dropped" not in line] == []


# Choices that are not answered ---------------------------------------------------------------------------------------


async def test_a_choice_that_is_not_answered_expires(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m", handshake_timeout=10) as node:
        told = Notices()
        node.send("a", "devnull", "queued")
        node.monitor("a", told)
        first = RawPeer(network.connect(place("m")).dialler, "a")
        await first.reach(LinkReceived)
        start = trio.current_time()
        # While it is chosen nobody else is.
        second = RawPeer(network.connect(place("m")).dialler, "a", incarnation=first.incarnation)
        await second.read_to_end()
        assert second.refused == "already connected"
        await first.read_to_end()
        assert trio.current_time() - start == pytest.approx(5, abs=0.1)
        assert len(warnings_in(caplog)) == 1
        # Nothing was lost by it: what was queued goes over the next one.
        third = RawPeer(network.connect(place("m")).dialler, "a", incarnation=first.incarnation)
        await third.adopt()
        assert await third.receive(1) == [("", "devnull", "queued")]
        assert not told.reasons
        await until(lambda: node.peers == ("a",))


async def test_a_chosen_connection_that_ends_leaves_the_queue(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as node:
        told = Notices()
        node.send("a", "devnull", "queued")
        node.monitor("a", told)
        first = RawPeer(network.connect(place("m")).dialler, "a")
        await first.reach(LinkReceived)
        first.pipe.close()
        await trio.sleep(0.1)
        second = RawPeer(network.connect(place("m")).dialler, "a", incarnation=first.incarnation)
        await second.adopt()
        assert await second.receive(1) == [("", "devnull", "queued")]
        assert not told.reasons


async def test_a_refused_connection_says_why(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as node:
        first = RawPeer(network.connect(place("m")).dialler, "a")
        await first.adopt()
        await until(lambda: node.peers)
        second = RawPeer(network.connect(place("m")).dialler, "a", incarnation=first.incarnation)
        await second.read_to_end()
        assert second.refused == "already connected"
        assert node.peers == ("a",)


async def test_the_side_that_does_not_decide_follows_a_new_choice(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as node:
        first = RawPeer(network.connect(place("m")).dialler, "z")
        await first.choose()
        await until(lambda: node.peers)
        told = Notices()
        node.monitor("z", told)
        second = RawPeer(network.connect(place("m")).dialler, "z", incarnation=first.incarnation)
        await second.choose()
        assert "chose another" in str((await told.wait())[2])
        await first.read_to_end()
        node.send("z", "devnull", 1)
        assert ("", "devnull", 1) in await second.receive(1)


# Incarnations --------------------------------------------------------------------------------------------------------


@both_deciders
async def test_a_restarted_node_takes_its_old_place(
    autojump_clock: trio.testing.MockClock, seed: str, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The old one vanished without a word, so it must be asked first."""
    network = FakeNetwork()
    async with open_test_node(network, seed) as one:
        with trio.CancelScope() as scope:
            async with open_test_node(network, other, seeds=[seed], listen=False) as old:
                await until(lambda: one.peers and old.peers)
                old_inbox, told = Inbox(old), Notices()
                one.monitor(old_inbox.port, told)
                one.send(old_inbox.port, "first")
                await old_inbox.wait(1)
                network.wire.cut()
                for _ in range(3):
                    one.send(old_inbox.port, "lost")
                scope.cancel()
        assert one.peers == (other,)
        async with open_test_node(network, other, seeds=[seed], listen=False) as new:
            start = trio.current_time()
            await until(lambda: new.peers)
            assert trio.current_time() - start < 5, "half of the handshake's timeout at the most"
            reason = await told.wait()
            assert reason[:2] == ("transport_error", other)
            inbox = Inbox(new)
            one.send(old_inbox.port, "for the dead")
            one.send(inbox.port, "for the living")
            await inbox.wait(1)
            await trio.sleep(1)
            assert inbox.messages == [("for the living",)]
            gone = Notices()
            one.monitor(old_inbox.port, gone)
            assert (await gone.wait())[0] == "no_such_port"
    assert not warnings_in(caplog)


@both_deciders
async def test_a_second_node_with_an_id_in_use_is_refused(
    autojump_clock: trio.testing.MockClock, seed: str, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, seed) as one:
        async with open_test_node(network, other, seeds=[seed], listen=False) as first:
            await until(lambda: one.peers and first.peers)
            told = Notices()
            one.monitor(other, told)
            first.monitor(seed, told)
            async with open_test_node(network, other, seeds=[seed], listen=False) as second:
                await trio.sleep(60)
                assert not second.peers
                assert first.peers
                assert not told.reasons
                # Once is enough, however long it goes on.
                (line,) = warnings_in(caplog, logging.ERROR)
                assert "in use" in line
                assert other in line
            network.refusing.add(place(seed))
        network.refusing.clear()
        async with open_test_node(network, other, seeds=[seed], listen=False) as second:
            await until(lambda: second.peers)


async def test_a_failure_that_only_reads_like_an_id_in_use_is_a_warning(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What went wrong is told by a field of its own: the text may come from the system, or from the other side."""
    network = FakeNetwork()
    said = "the proxy at that address is in use"

    async def dial(_: object) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise OSError(said)

    monkeypatch.setattr(network, "dial", dial)
    async with open_test_node(network, "a", seeds=["z"]):
        await trio.sleep(60)
    assert not warnings_in(caplog, logging.ERROR)
    assert any(said in line for line in warnings_in(caplog))


@pytest.mark.parametrize("raw_id", ["a", "z"], ids=["we-decide", "they-decide"])
@pytest.mark.parametrize("end", ["reset", "hang_up"])
async def test_the_old_connection_ends_while_it_is_being_probed(
    autojump_clock: trio.testing.MockClock, raw_id: str, end: str
) -> None:
    """Its host came up again, say, and answered the ping with a reset: the new one need not wait any longer."""
    network = FakeNetwork()
    async with open_test_node(network, "m", handshake_timeout=20) as node:
        wire = network.connect(place("m"))
        old = RawPeer(wire.dialler, raw_id)
        await (old.choose() if raw_id == "z" else old.adopt())
        await until(lambda: node.peers)
        new = RawPeer(network.connect(place("m")).dialler, raw_id)
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(new.choose if raw_id == "z" else new.adopt)
            await trio.sleep(1)
            assert not new.refused
            getattr(wire, end)()
            await until(lambda: peer_of(node, raw_id).association.incarnation == new.incarnation, 30)
            assert trio.current_time() - start < 3


@pytest.mark.parametrize("raw_id", ["a", "z"], ids=["we-decide", "they-decide"])
async def test_a_probe_that_is_answered_refuses_the_other_incarnation(
    autojump_clock: trio.testing.MockClock, raw_id: str
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m", handshake_timeout=20) as node:
        old = RawPeer(network.connect(place("m")).dialler, raw_id)
        await (old.choose() if raw_id == "z" else old.adopt())
        await until(lambda: node.peers)
        others = [RawPeer(network.connect(place("m")).dialler, raw_id) for _ in range(2)]
        async with trio.open_nursery() as nursery:
            for new in others:
                nursery.start_soon(choose_until_refused if raw_id == "z" else RawPeer.read_to_end, new)
            await old.receive(1)
            assert old.received[0] == ("", "ping")
            # A message that was on its way is no answer.
            await old.send(("", "devnull"))
            await trio.sleep(0.1)
            assert not others[0].refused
            await old.send(("", "pong"))
        assert [new.refused for new in others] == ["node ID in use"] * 2
        node.send(raw_id, "devnull", "goes on")
        while ("", "devnull", "goes on") not in old.messages:
            await old.step()


async def choose_until_refused(peer: RawPeer) -> None:
    await peer.reach(Authenticated)
    peer.session.link()
    await peer.read_to_end()


@pytest.mark.parametrize("raw_id", ["a", "z"], ids=["we-decide", "they-decide"])
async def test_a_probe_of_a_peer_whose_queue_is_full(autojump_clock: trio.testing.MockClock, raw_id: str) -> None:
    """The ping itself is one message too many."""
    network = FakeNetwork()
    async with open_test_node(network, "m", queue_limit=400_000, message_limit=100_000) as node:
        wire = network.connect(place("m"))
        old = RawPeer(wire.dialler, raw_id)
        await (old.choose() if raw_id == "z" else old.adopt())
        await until(lambda: node.peers)
        wire.back.capacity = 0
        association = peer_of(node, raw_id).association
        for _ in range(4):
            node.send(raw_id, "devnull", b"x" * 99_000)
        while (room := 400_000 - association.outbox.queue.size) > 20:
            node.send(raw_id, "devnull", b"x" * max(min(90_000, room - 30), 0))
            assert node.peers
        while 400_000 - association.outbox.queue.size >= 8:
            node.send(raw_id, "")
        assert node.peers
        new = RawPeer(network.connect(place("m")).dialler, raw_id)
        with trio.fail_after(60):
            await (new.choose() if raw_id == "z" else new.adopt())
        await until(lambda: node.peers == (raw_id,))


either_decides = pytest.mark.parametrize("raw_id", ["a", "z"], ids=["we-decide", "they-decide"])


@either_decides
async def test_a_probe_is_answered_by_nobody_else(autojump_clock: trio.testing.MockClock, raw_id: str) -> None:
    """Another node says that it is alive, and the one that was asked says nothing: another run takes its place."""
    network = FakeNetwork()
    async with open_test_node(network, "m", handshake_timeout=20) as m:
        old, bystander = await connect_raw(network, raw_id), await connect_raw(network, "b")
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


async def test_the_two_incarnations_never_share_a_port(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    names: set[str] = set()
    async with open_test_node(network, "a") as a:
        for _ in range(5):
            async with open_test_node(network, "b", seeds=["a"]) as b:
                inbox = Inbox(b)
                assert inbox.port.name not in names
                names.add(inbox.port.name)
                for name in names:
                    a.send(f"b#{name}", name)
                await inbox.wait(1)
                assert inbox.messages == [(inbox.port.name,)]
            await until(lambda: not a.peers)
