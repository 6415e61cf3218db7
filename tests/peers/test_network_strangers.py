"""Before authentication: what strangers, mistaken peers and broken ones can do, which is little."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from network_helpers import (
    SECRET,
    FakeNetwork,
    Inbox,
    Notices,
    RawPeer,
    Wire,
    network_of,
    open_pair,
    open_test_node,
    peer_of,
    place,
    until,
    warnings_in,
)
from tls_helpers import Deaf

from trio_mp._ids import spawned_prefix, spawner_mark
from trio_mp._protocol.handshake.events import Authenticated, LinkReceived
from trio_mp._protocol.wire import codec
from trio_mp._settings.environment import Environment
from trio_mp._transport.admission import Admission
from trio_mp.lowlevel import open_node_in

encrypted_or_not = pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])


class Undisturbed:
    """Two nodes that go on talking whatever a test does."""

    def __init__(self, **settings: Any) -> None:
        self.network = FakeNetwork()
        self.settings = settings

    async def run(self, disturb: Callable[[FakeNetwork], Awaitable[object]]) -> None:
        async with open_pair(self.network, "m", "n", **self.settings) as (m, n):
            inbox, told = Inbox(m), Notices()
            n.monitor(inbox.port, told)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def talk() -> None:
                        for number in range(100_000):
                            n.send(inbox.port, number)
                            await trio.sleep(0.1)

                    await disturb(self.network)
                    count = len(inbox.messages)
                    await inbox.wait(count + 10)
                    scope.cancel()
            assert inbox.messages == [(number,) for number in range(len(inbox.messages))]
            assert not told.reasons
            connections = network_of(m)._connections
            await until(lambda: len(connections) == 1, 100)
            assert not len(network_of(m)._strangers)
            assert set(network_of(m).peers) == {"n"}
            assert len(peer_of(m, "n").connections) == 1


GARBAGE = [
    b"\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"aemp;1\nAAAA\n",
    b"aemp;2;x;hmac_sha256;msgpack\n" + b"A" * 44 + b"\n",
    b"aemp;1;x;hmac_sha256;msgpack;incarnation=bad\n" + b"A" * 44 + b"\n",
    b"aemp;1;x;hmac_sha256;msgpack;incarnation=0123456789abcdef;limit=1\n" + b"A" * 44 + b"\n",
    b"aemp;1;x;hmac_sha256;msgpack;incarnation=0123456789abcdef;limit=99999;heartbeat=x\n" + b"A" * 44 + b"\n",
    b"aemp;1;x;hmac_md6_64_256;msgpack;incarnation=0123456789abcdef;limit=99999\n" + b"A" * 44 + b"\n",
    b"aemp;1;x;hmac_sha256;json;incarnation=0123456789abcdef;limit=99999\n" + b"A" * 44 + b"\n",
    b"aemp;1;m;hmac_sha256;msgpack;incarnation=0123456789abcdef;limit=99999\n" + b"A" * 44 + b"\n",
    b"aemp;1;x;hmac_sha256;msgpack;incarnation=0123456789abcdef;limit=99999\nshort\n",
    b"aemp;1;x;hmac_sha256;msgpack;incarnation=0123456789abcdef;limit=99999\n" + b"A" * 44 + b"\nlink\n",
    b"x" * 5000,
    b"\xff\xfe\n",
    bytes(range(256)) * 100,
]


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_gives_one_warning_and_disturbs_nobody(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    async def disturb(network: FakeNetwork) -> None:
        pipe = network.connect(place("m")).dialler
        pipe.send_nowait(data)
        received = b""
        try:
            while (some := await receive(pipe)) != b"":
                received += some
        except OSError:
            pass
        assert received.count(b"\n") <= 2, "nothing but the greeting"
        assert len(warnings_in(caplog)) == 1

    await Undisturbed().run(disturb)


async def receive(pipe: Any) -> bytes:
    await pipe.wait_readable()
    data: bytes | None = pipe.receive_nowait(65536)
    assert data is not None
    return data


@encrypted_or_not
async def test_a_wrong_secret(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, encryption: bool
) -> None:
    async def disturb(network: FakeNetwork) -> None:
        wrong = "another secret that is long"
        stranger = RawPeer(network.connect(place("m")).dialler, "x", secret=wrong, encryption=encryption)
        with trio.move_on_after(60):
            await stranger.read_to_end()
        assert stranger.ended
        (line,) = warnings_in(caplog)
        assert "secret" in line
        assert wrong not in line

    await Undisturbed(encryption=encryption).run(disturb)


async def test_two_nodes_with_different_secrets(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a") as a,
        open_test_node(network, "b", seeds=["a"], secret="another secret that is long") as b,
    ):
        await trio.sleep(0.15)
        lines = warnings_in(caplog)
        # The dialler says so when it has happened twice: once it may be a process that was killed just then.
        assert len(lines) == 3
        assert sum("the other side has another secret than ours" in line for line in lines) == 2
        assert sum("is the secret the same on both sides?" in line for line in lines) == 1
        await trio.sleep(100)
        assert not a.peers
        assert not b.peers
        assert not network_of(a).peers


@pytest.mark.parametrize("ours", [False, True], ids=["plain-seed", "encrypted-seed"])
async def test_encryption_must_be_set_alike(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, ours: bool
) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", encryption=ours) as a,
        open_test_node(network, "b", seeds=["a"], encryption=not ours) as b,
    ):
        await trio.sleep(0.05)
        lines = warnings_in(caplog)
        assert any("encryption is" in line for line in lines)
        assert len(lines) == 2
        await trio.sleep(10)
        assert not a.peers
        assert not b.peers


async def test_another_node_with_the_id_of_its_seed(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, open_test_node(network, "a", binds=(), seeds=["a"]) as twin:
        await trio.sleep(100)
        assert not a.peers
        assert not twin.peers
        assert network.dialled[place("a")] > 10, "it goes on trying: the other one may be the mistake"
        assert any("node ID other than our own" in line for line in warnings_in(caplog))


@encrypted_or_not
async def test_a_stranger_who_says_nothing_goes_when_its_time_is_over(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, encryption: bool
) -> None:
    async def disturb(network: FakeNetwork) -> None:
        start = trio.current_time()
        pipe = network.connect(place("m")).dialler
        while await receive(pipe):
            pass
        assert trio.current_time() - start == pytest.approx(10, abs=0.1)
        (line,) = warnings_in(caplog)
        assert "in time" in line

    await Undisturbed(encryption=encryption).run(disturb)


@encrypted_or_not
async def test_a_stranger_who_dribbles_has_no_more_time(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, encryption: bool
) -> None:
    async def disturb(network: FakeNetwork) -> None:
        start = trio.current_time()
        wire = network.connect(place("m"))
        wire.there.delay = 1
        wire.there.largest_read = 1
        stranger = RawPeer(wire.dialler, "x", encryption=encryption)
        data, stranger.session.outgoing = bytes(stranger.session.outgoing), bytearray()
        try:
            for byte in data:
                wire.dialler.send_nowait(bytes([byte]))
                await trio.sleep(0.3)
        except OSError:
            pass
        assert trio.current_time() - start == pytest.approx(10.2, abs=0.3)
        assert len(warnings_in(caplog)) == 1

    await Undisturbed(encryption=encryption).run(disturb)


async def test_a_connection_whose_tls_cannot_send_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    server = Environment(transport=network, make_tls=lambda _: Deaf())
    # The smallest of all nonces, "++++…" in base64, makes the side that dials, which has to prove itself first, the
    # TLS client, which speaks first.
    client = dataclasses.replace(server, entropy=lambda count: (b"\xfb\xef\xbe" * count)[:count])
    begun = trio.current_time()
    async with (
        open_node_in(server, "a", secret=SECRET, binds=[place("a")]),
        open_node_in(client, "b", secret=SECRET, binds=(), seeds=[place("a")]) as node,
    ):
        await until(lambda: network_of(node).failures)
        assert trio.current_time() - begun < 1


@encrypted_or_not
async def test_a_peer_that_closes_at_every_byte(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, encryption: bool
) -> None:
    """However far it came; a peer that is there and goes again is nothing to warn of more than once."""

    async def disturb(network: FakeNetwork) -> None:
        total = 10_000
        cut = 0
        while cut < total:
            caplog.clear()
            wire = network.connect(place("m"))
            sent = 0

            def stop(count: int) -> None:
                nonlocal sent
                sent = count

            wire.there.on_sent = stop
            wire.there.largest_write = 1
            peer = RawPeer(wire.dialler, "a", encryption=encryption)
            peer_done = False

            async def go(peer: RawPeer = peer) -> None:
                nonlocal peer_done
                await peer.adopt()
                peer_done = True

            with trio.CancelScope() as scope:

                def enough(count: int, scope: trio.CancelScope = scope, limit: int = cut) -> None:
                    if count >= limit:
                        scope.cancel()

                wire.there.on_sent = enough
                await go()
            wire.dialler.close()
            await until(listener_closed(wire), 30)
            lines = warnings_in(caplog)
            assert len(lines) <= 1, (cut, lines)
            if peer_done:
                total = cut
            cut += 1 if cut < 20 or cut % 7 == 0 or not encryption else 7
        assert 100 < total < 10_000
        await until(lambda: "a" not in network_nodes(network))

    pair = Undisturbed(encryption=encryption)
    async with open_pair(pair.network, "m", "n", encryption=encryption) as (m, n):
        inbox = Inbox(m)
        await disturb(pair.network)
        n.send(inbox.port, "undisturbed")
        await inbox.wait(1)
        await until(lambda: len(network_of(m)._connections) == 1, 100)
        assert m.peers == ("n",)


def listener_closed(wire: Wire) -> Callable[[], bool]:
    return lambda: wire.listener.closed


def network_nodes(network: FakeNetwork) -> set[str]:
    return {wire.address for wire in network.live if wire.address.endswith("/a")}


@pytest.mark.parametrize("where", ["fields", "nonce", "proof"])
@pytest.mark.parametrize("end", ["close", "reset", "stall"])
async def test_the_seed_fails_while_it_is_dialled(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, where: str, end: str
) -> None:
    """What the dialler reads ends after one line, two, or in its proof; it tries again until all is well."""
    network = FakeNetwork()
    lines = {"fields": 1, "nonce": 2, "proof": 2}[where]

    def prepare(wire: Any) -> None:
        if len(network.wires) >= 3:
            return

        def cut(count: int) -> None:
            if wire.back.sent.count(b"\n") >= lines and (where != "proof" or count > 300):
                if end == "stall":
                    wire.cut()
                elif end == "reset":
                    wire.reset()
                else:
                    wire.hang_up()

        wire.back.largest_write = 50
        wire.back.on_sent = cut

    network.prepare = prepare
    async with open_test_node(network, "a") as a, open_test_node(network, "b", seeds=["a"], connect_timeout=100) as b:
        with trio.fail_after(100):
            inbox = Inbox(a)
            b.send(inbox.port, "at last")
            await inbox.wait(1)
        assert len(network.live) == 1
        await until(lambda: len(network_of(b)._connections) == 1)
        await until(lambda: len(network_of(a)._connections) == 1)


async def test_only_so_many_strangers_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async def disturb(network: FakeNetwork) -> None:
        wires = []
        for _ in range(10):
            wires.append(network.connect(place("m")))
            await trio.sleep(0.01)
        assert [wire.open for wire in wires] == [False] * 6 + [True] * 4
        # A real one gets through all the same, and does not count any more when it has authenticated.
        guest = RawPeer(network.connect(place("m")).dialler, "a")
        await guest.adopt()
        await trio.sleep(0.01)
        assert [wire.open for wire in wires] == [False] * 7 + [True] * 3
        for _ in range(10):
            wires.append(network.connect(place("m")))
            await trio.sleep(0.01)
        assert [wire.open for wire in wires] == [False] * 16 + [True] * 4
        await guest.send(("", "devnull"))
        guest.pipe.close()
        await trio.sleep(11)
        assert not any(wire.open for wire in wires)

    pair = Undisturbed()
    async with open_pair(pair.network, "m", "n") as (m, _):
        network_of(m)._strangers = Admission(slots=4)
        await disturb(pair.network)
        await until(lambda: m.peers == ("n",))
        assert not len(network_of(m)._strangers)


async def test_an_evicted_stranger_is_in_the_log(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as m:
        network_of(m)._strangers = Admission(slots=1)
        network.connect(place("m"))
        network.connect(place("m"))
        await trio.sleep(1)
        (line,) = warnings_in(caplog)
        assert "handshake" in line


async def test_strangers_who_claim_to_be_a_peer(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """They prove nothing, so they change nothing."""

    async def disturb(network: FakeNetwork) -> None:
        strangers = [
            RawPeer(network.connect(place("m")).dialler, "n", secret="a secret that is wrong") for _ in range(20)
        ]
        for stranger in strangers:
            await stranger.read_to_end()
        silent = network.connect(place("m"))
        greeting = RawPeer(silent.dialler, "n")
        silent.dialler.send_nowait(bytes(greeting.session.outgoing))
        while await receive(silent.dialler):
            pass
        assert len(warnings_in(caplog)) == 21

    await Undisturbed().run(disturb)


# Peers that are authentic, and broken ---------------------------------------------------------------------------------


async def adopted(network: FakeNetwork, node_id: str = "a", **arguments: Any) -> RawPeer:
    peer = RawPeer(network.connect(place("m")).dialler, node_id, **arguments)
    await (peer.adopt() if node_id < "m" else peer.choose())
    return peer


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02\x91\x01",
        b"\x00\x00\x00\x03\x91\x91\x90",
        b"\x00\x00\x00\x05\x91\x92\xa1x\xd4",
        b"\x00\x00\x00\x03\x91\x91\x05",
    ],
    ids=["reserved", "empty", "huge", "no-array", "list-for-a-name", "cut-off", "number-for-a-name"],
)
@pytest.mark.parametrize("node_id", ["a", "z"])
async def test_a_frame_that_does_not_decode_ends_the_connection(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, frame: bytes, node_id: str
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as node:
        peer = await adopted(network, node_id)
        told = Notices()
        await until(lambda: node.peers)
        node.monitor(node_id, told)
        await peer.send_raw(frame)
        assert (await told.wait())[:2] == ("transport_error", node_id)
        await peer.read_to_end()
        assert len(warnings_in(caplog)) == 1
        again = await adopted(network, node_id, incarnation=peer.incarnation)
        await until(lambda: node.peers)
        assert not again.ended


async def test_a_bad_frame_of_a_node_that_we_dialled_is_in_the_log_too(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    (listener,) = await network.listen(place("z"))  # type: ignore[arg-type]
    async with open_test_node(network, "m", seeds=["z"]) as node:
        peer = RawPeer(await listener.accept(), "z", dialler=False)
        await peer.choose()
        await until(lambda: node.peers)
        await peer.send_raw(b"\x00\x00\x00\x01\xc1")
        await until(lambda: not node.peers)
        (line,) = warnings_in(caplog)
        assert "expected a frame that decodes" in line


async def test_an_empty_message_is_a_keep_alive(autojump_clock: trio.testing.MockClock) -> None:
    """`[]`, as the original sends it."""
    network = FakeNetwork()
    async with open_test_node(network, "m") as node:
        peer = await adopted(network)
        await until(lambda: node.peers)
        await peer.send_raw(b"\x00\x00\x00\x02\x91\x90")
        await trio.sleep(1)
        assert node.peers == ("a",)


@pytest.mark.parametrize("line", [b"link\n", b"no;because\n", b"ok\n", b"nonsense\n"])
@pytest.mark.parametrize("node_id", ["a", "z"])
async def test_a_line_right_behind_the_proof(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, line: bytes, node_id: str
) -> None:
    """Read in one piece with it. A peer that says what is not its to say loses its connection, and nothing else."""
    network = FakeNetwork()
    (listener,) = await network.listen(place(node_id))  # type: ignore[arg-type]
    async with open_test_node(network, "m", seeds=[node_id]) as node:
        peer = RawPeer(await listener.accept(), node_id, dialler=False)
        while not any(isinstance(event, Authenticated) for event in peer.events):
            await peer.flush()
            await peer.pipe.wait_readable()
            data = peer.pipe.receive_nowait(65536)
            assert data
            peer.events += peer.session.receive(data)
        peer.session.prove("")
        await peer.send_raw(line)
        await trio.sleep(20)
        inbox = Inbox(node)
        node.send(inbox.port, "alive")
        await inbox.wait(1)


@pytest.mark.parametrize("node_id", ["a", "z"])
@pytest.mark.parametrize("line", [b"link\n", b"no;because\n", b"ok\n", b"\x00\x00\x00\x02\x91\x90"])
@pytest.mark.parametrize("busy", [False, True], ids=["first", "second"])
async def test_a_line_that_is_not_to_be_said(
    autojump_clock: trio.testing.MockClock, node_id: str, line: bytes, busy: bool
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as node:
        if busy:
            await adopted(network, node_id)
        peer = RawPeer(network.connect(place("m")).dialler, node_id)
        await peer.reach(Authenticated if node_id == "z" else LinkReceived) if not busy else await peer.step()
        await peer.send_raw(line)
        with trio.move_on_after(30):
            await peer.read_to_end()
        inbox = Inbox(node)
        node.send(inbox.port, "alive")
        await inbox.wait(1)


@pytest.mark.parametrize(
    "requests",
    [
        [("", "info", "a#", {"x": 1}), ("", "info", "a#" + "y" * 16 + ".1")],
        [("", "kil0", "x" * 16 + ".1", "never monitored")],
        [("", "mon1", "x" * 16 + ".1")] * 3 + [("", "mon0", "x" * 16 + ".1")] * 3,
        [("", "kil", "x" * 16 + ".1", "no such port")],
        [("", "ping"), ("", "pong"), ("", "pong")],
        [("", "devnull", 1, 2), ("", ""), ("",)],
        [("no such port", "x")],
    ],
    ids=range(7),
)
async def test_odd_requests_harm_nobody(
    autojump_clock: trio.testing.MockClock, requests: list[tuple[Any, ...]]
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as node:
        peer = await adopted(network)
        await peer.send(*requests)
        inbox = Inbox(node)
        await peer.send((inbox.port.name, "still here"))
        await inbox.wait(1)
        assert node.peers == ("a",)


@pytest.mark.parametrize(
    "payload",
    [
        ["", "info", "a#", {1: 2}],
        ["", "kil", "NAME", {1: 2}],
        ["", "kil", "NAME", [[[{1: 2}]]]],
        ["", "snd", "m#NAME", {1: 2}],
        ["", "mon1", 5],
        ["", "spawn", "x", "y"],
        ["", {1: 2}],
        ["", None],
    ],
    ids=range(8),
)
async def test_values_that_no_node_of_ours_would_send(
    autojump_clock: trio.testing.MockClock, payload: list[Any]
) -> None:
    """An authentic peer in another language may send maps with numbers for keys. Nothing crashes of it."""
    network = FakeNetwork()
    async with open_test_node(network, "m") as node:
        peer = await adopted(network)
        inbox, victim = Inbox(node), Inbox(node)
        name = victim.port.name
        message = [part.replace("NAME", name) if isinstance(part, str) else part for part in payload]
        await peer.send(("", "mon1", name))
        frame = msgspec.msgpack.encode([message])
        await peer.send_raw(len(frame).to_bytes(4, "big") + frame)
        await trio.sleep(1)
        node.send(inbox.port, "still here")
        await inbox.wait(1)


async def test_malformed_requests_are_in_the_log(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as node:
        peer = await adopted(network)
        await peer.send(("", "no such request", "x" * 1000))
        await peer.send(("", "devnull"))
        await until(lambda: warnings_in(caplog))
        (line,) = warnings_in(caplog)
        assert "no such request" in line
        assert line.startswith("a: ")
        assert len(line) < 400
        assert node.peers == ("a",)


async def test_a_spawn_under_a_name_that_is_not_the_peers(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m", spawn_modules=["network_helpers"]) as node:
        peer = await adopted(network)
        own = peer.name_to_spawn
        function = "network_helpers:installs_a_handler"
        refused = [
            spawned_prefix(spawner_mark("y", peer.incarnation), 1) + "r" * 16,
            spawned_prefix(spawner_mark(peer.node_id, "f" * 16), 2) + "r" * 16,
            own(5),
            own(5, "s" * 16),
            own(4),
            f"{peer.incarnation}.7",
            f"{peer.incarnation[:8]}.{'r' * 16}",
        ]
        for name in (*refused[:2], own(5), *refused[2:], own(6)):
            await peer.send(("", "spawn", name, function))
        await peer.send(("", "ping"))
        await until(lambda: len(node._lifecycle.ports) == 2)
        assert set(node._lifecycle.ports) == {own(5), own(6)}
        # The others are counted, and said with the next line.
        (line,) = warnings_in(caplog)
        assert line.endswith(f"may not give the name {refused[0]!r}")


def test_the_frames_above_are_what_they_claim() -> None:
    assert codec.decode_frame(b"\x91\x90") == [()]
