"""Closing: what is flushed, what the other side sees, and what is left."""

from __future__ import annotations

import contextlib
import errno
import gc
import warnings
from typing import Any

import pytest
import trio
import trio.testing
from membership_helpers import service_of
from network_helpers import (
    FakeListener,
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

from trio_mp import Node
from trio_mp._protocol.membership.messages import Addresses

encrypted_or_not = pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])


async def sleep_shielded(seconds: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)


@encrypted_or_not
@pytest.mark.parametrize("size", [100, 50_000, 3_000_000])
async def test_what_was_queued_arrives_before_the_end(
    autojump_clock: trio.testing.MockClock, encryption: bool, size: int
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") if not encryption else open_test_node(network, "a", encryption=True) as a:
        count = max(2, 12_000_000 // size) if size > 100 else 20_000
        inbox, told = Inbox(a), Notices()
        async with open_test_node(network, "b", seeds=["a"], encryption=encryption) as b:
            await until(lambda: a.peers and b.peers)
            port = b.port()
            a.monitor(port, told)
            await a.flush("b")
            await until(lambda: peer_of(b, "a").watchers)
            network.wire.there.delay = 0.05
            for number in range(count):
                b.send(inbox.port, number, b"x" * size)
        await inbox.wait(count)
        assert [number for number, _ in inbox.messages] == list(range(count))
        assert {len(data) for _, data in inbox.messages} == {size}
        assert told.reasons == [("node_closed", "b")], "why its ports died came through"


@encrypted_or_not
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_large_messages_arrive_before_the_end(
    autojump_clock: trio.testing.MockClock, encryption: bool, count: int
) -> None:
    """Each is larger than what is written in one go, and there is nothing behind the last to push it out."""
    network = FakeNetwork()
    async with open_test_node(network, "a", encryption=encryption) as a:
        inbox = Inbox(a)
        async with open_test_node(network, "b", seeds=["a"], encryption=encryption) as b:
            await until(lambda: a.peers and b.peers)
            for _ in range(count):
                b.send(inbox.port, b"x" * 5_000_000)
        await until(lambda: not a.peers)
        assert [len(data) for (data,) in inbox.messages] == [5_000_000] * count


async def test_a_large_queue_arrives_at_a_slow_reader(autojump_clock: trio.testing.MockClock) -> None:
    """It reads for longer than all of it takes to write; nothing is reset under it, though it sends as well."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        inbox = Inbox(a)
        async with open_test_node(network, "b", seeds=["a"], shutdown_timeout=60) as b:
            await until(lambda: a.peers and b.peers)
            target = Inbox(b)
            network.wire.there.largest_read = 10_000

            def slow(_: object) -> None:
                autojump_clock.jump(0.01)
                a.send(target.port, b"y" * 1000)

            slow_port = a.port(slow)
            for number in range(500):
                b.send(slow_port, number)
                b.send(inbox.port, number, b"x" * 10_000)
        await until(lambda: not a.peers)
        assert [number for number, _ in inbox.messages] == list(range(500))


@pytest.mark.parametrize("first", ["a", "b"])
async def test_both_close_at_once(autojump_clock: trio.testing.MockClock, first: str) -> None:
    network = FakeNetwork()
    start = 0.0
    async with open_pair(network) as (a, b):
        for _ in range(100):
            a.send("b", "devnull", b"x" * 1000)
            b.send("a", "devnull", b"x" * 1000)
        start = trio.current_time()
        wire = network.wire
    assert trio.current_time() - start < 1
    assert wire.dialler.closed
    assert wire.listener.closed


async def test_a_peer_that_does_not_read_holds_closing_up_only_so_long(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        async with open_test_node(network, "b", seeds=["a"], shutdown_timeout=7) as b:
            await until(lambda: a.peers and b.peers)
            inbox, told = Inbox(a), Notices()
            b.monitor(inbox.port, told)
            network.wire.stall()
            for _ in range(100):
                b.send(inbox.port, b"x" * 10_000)
            start = trio.current_time()
        assert trio.current_time() - start == pytest.approx(7, abs=0.1)
        assert told.reasons[0][:2] == ("transport_error", "a")
        assert any("were dropped" in line for line in warnings_in(caplog))


async def test_a_peer_that_does_not_close_holds_closing_up_only_so_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m", shutdown_timeout=7) as node:
        peer = RawPeer(network.connect(place("m")).dialler, "a")
        await peer.adopt()
        await until(lambda: node.peers)
        start = trio.current_time()
    assert trio.current_time() - start == pytest.approx(7, abs=0.1)


async def test_a_cancelled_exit_does_not_flush(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        inbox, told = Inbox(a), Notices()
        with trio.CancelScope() as scope:
            async with open_test_node(network, "b", seeds=["a"]) as b:
                await until(lambda: a.peers and b.peers)
                a.monitor(b.port(), told)
                await a.flush("b")
                network.wire.there.stalled = True
                for _ in range(100):
                    b.send(inbox.port, b"x" * 100_000)
                start = trio.current_time()
                scope.cancel()
        assert trio.current_time() == start
        network.wires[0].there.resume()
        await told.wait()
        await until(lambda: not a.peers)
        assert len(inbox.messages) < 10


@pytest.mark.parametrize("how", ["cancelled", "crashed", "raised", "clean"])
async def test_nobody_listens_any_more_however_it_ended(autojump_clock: trio.testing.MockClock, how: str) -> None:
    network = FakeNetwork()

    async def crash() -> None:
        raise RuntimeError("as the test wants it")

    for _ in range(2):
        with trio.CancelScope() as scope:
            try:
                async with open_test_node(network, "a") as a:
                    assert set(network.listeners) == {place("a")}
                    if how == "cancelled":
                        scope.cancel()
                        await trio.sleep_forever()
                    if how == "crashed":
                        a._lifecycle.start_system_task(crash)
                        await trio.sleep_forever()
                    if how == "raised":
                        raise RuntimeError("as the test wants it")
            except (RuntimeError, ExceptionGroup):
                assert how in {"crashed", "raised"}
        assert not network.listeners


async def test_a_bind_that_fails_leaves_no_other_one_behind(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "taken"):
        with pytest.raises(OSError, match=place("taken")):
            async with open_test_node(network, "b", binds=(place("b"), place("taken"))):
                raise AssertionError("it cannot listen there")
        assert set(network.listeners) == {place("taken")}


async def test_a_connection_that_comes_as_the_block_is_interrupted_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    wires: list[Wire] = []
    with contextlib.suppress(KeyboardInterrupt):
        async with open_test_node(network, "a"):
            await trio.testing.wait_all_tasks_blocked()
            # It is accepted now, and the task that accepts it runs only when the node has been stopped.
            wires.append(network.connect(place("a")))
            raise KeyboardInterrupt
    assert wires[0].listener.closed


@pytest.mark.parametrize("how", ["cancelled", "clean"])
async def test_nothing_is_left_of_a_closed_node(autojump_clock: trio.testing.MockClock, how: str) -> None:
    network = FakeNetwork()
    statistics = trio.lowlevel.current_statistics
    async with open_test_node(network, "a") as a:
        await trio.testing.wait_all_tasks_blocked()
        before = statistics().tasks_living
        nodes: list[Node] = []
        with trio.CancelScope() as scope:
            async with open_test_node(network, "b", seeds=["a", "nowhere"]) as b:
                nodes.append(b)
                await until(lambda: a.peers and b.peers)
                b.send("nowhere", "devnull")
                b.send("a", "devnull")
                b.send_after(1000, "a", "devnull")
                network.connect(place("b"))
                await trio.sleep(0.1)
                if how == "cancelled":
                    scope.cancel()
        await until(lambda: not a.peers)
        assert statistics().tasks_living == before
        (b,) = nodes
        assert not network_of(b)._connections
        assert all(wire.dialler.closed or wire.listener.closed for wire in network.wires)
        with pytest.raises(trio.ClosedResourceError):
            b.send("a", "devnull")
        with pytest.raises(trio.ClosedResourceError):
            await b.flush("a")
        with pytest.raises(trio.ClosedResourceError):
            b.monitor("a", lambda *_: None)
        assert not b.peers
        await until(lambda: len(network_of(a)._connections) == 0)
        assert not peer_of(a, "b").connections


async def test_what_waits_for_a_connection_gets_its_chance(autojump_clock: trio.testing.MockClock) -> None:
    """A program that says something and ends."""
    network = FakeNetwork()
    network.dialling = 1
    async with open_test_node(network, "a") as a:
        inbox = Inbox(a)
        async with open_test_node(network, "b", seeds=["a"], listen=False) as b:
            b.send(inbox.port, "said and gone")
        await inbox.wait(1)


async def test_a_connection_that_comes_up_while_the_node_waits_for_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It has nothing to say on it, and must not be held up by it once the time is over."""
    network = FakeNetwork()
    async with trio.open_nursery() as nursery:
        async with open_test_node(network, "b", seeds=["nowhere"], shutdown_timeout=5) as b:
            b.send("nowhere", "devnull")
            wire = network.connect(place("b"))
            wire.there.delay = 1
            nursery.start_soon(RawPeer(wire.dialler, "z").choose)
            # Closing begins in the middle of its handshake, and goes on for as long as it may.
            await trio.sleep(0.5)
            start = trio.current_time()
        assert trio.current_time() - start == pytest.approx(5, abs=0.1)


async def test_a_node_goes_on_sending_heartbeats_while_its_ports_unwind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        told = Notices()
        async with open_test_node(network, "b", seeds=["a"], shutdown_timeout=60) as b:
            await until(lambda: a.peers and b.peers)
            port = b.port()
            port.start_soon(sleep_shielded, 30)
            a.monitor(port, told)
            await a.flush("b")
            await trio.sleep(1)
        assert await told.wait() == ("node_closed", "b")


@pytest.mark.parametrize("dialling", [0.0, 0.7], ids=["at once", "slowly"])
async def test_searches_hold_closing_up_only_so_long(autojump_clock: trio.testing.MockClock, dialling: float) -> None:
    """Each goes on to the next address when the one before has been given up; nobody says a word at any of them."""
    network = FakeNetwork()
    silent = [f"unix:/fake/silent/{number}" for number in range(10)]
    for name in silent:
        network.listeners[name] = FakeListener(network, name)

    async def find(_: str) -> Addresses:
        await trio.lowlevel.checkpoint()
        return tuple(silent)

    async with open_test_node(network, "n", shutdown_timeout=2.0) as n:
        # It does not close either, so that the time is needed.
        raw = RawPeer(network.connect(place("n")).dialler, "a")
        await raw.adopt()
        network.dialling = dialling
        setattr(service_of(n).search, "find_addresses", find)  # noqa: B010 - a method, for type checkers
        for number in range(20):
            # With nothing queued for it.
            n.monitor(f"x{number}", Notices())
            await trio.sleep(0.1)
        await until(lambda: len(network_of(n)._connections) == 21)
        begun = trio.current_time()
    assert trio.current_time() - begun == pytest.approx(2.0, abs=0.01)
    # Nothing is left open.
    raw.pipe.close()
    assert not network.live


async def test_what_ports_say_last_arrives(autojump_clock: trio.testing.MockClock) -> None:
    """Though unwinding took all the time that closing may take."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        told, inbox = Notices(), Inbox(a)
        async with open_test_node(network, "b", seeds=["a"], shutdown_timeout=5) as b:
            await until(lambda: a.peers and b.peers)
            port = b.port()
            port.start_soon(sleep_shielded, 4.9)
            a.monitor(port, told)
            await a.flush("b")
            await trio.sleep(1)
            network.wire.there.delay = 0.2
            b.monitor(port, lambda *_: b.send(inbox.port, b"x" * 1_000_000))
        assert await told.wait() == ("node_closed", "b")
        await inbox.wait(1)


async def test_what_is_said_last_arrives_though_the_other_side_was_speaking(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A connection that is closed with something unread is reset, and what is still on its way is lost with it."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        inbox = Inbox(a)
        async with open_test_node(network, "b", seeds=["a"]) as b:
            await until(lambda: a.peers and b.peers)
            network.wire.there.delay, network.wire.back.delay = 0.5, 1
            a.send("b", "devnull", "on its way")
            await a.flush("b")
            b.send(inbox.port, "the last word")
        await until(lambda: not a.peers)
        assert inbox.messages == [("the last word",)]


async def test_closing_says_nothing_in_the_log(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests that come while it closes are answered to nobody; that is no loss worth a warning."""
    network = FakeNetwork()
    for _ in range(5):
        async with open_pair(network) as (a, b):
            ports = [b.port() for _ in range(10)]
            for port in ports:
                a.monitor(port, lambda *_: None)
                b.monitor(a.port(), lambda *_: None)
            network.wire.back.delay = 0.1
            a.send("b", "info", a.port(lambda *_: None))
    assert not warnings_in(caplog)


async def test_what_a_node_has_said_for_itself_alone_is_no_loss_when_it_closes(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A monitor of a node that never came, and that is not wanted any more; but a message is worth a line."""
    network = FakeNetwork()
    for waits in (False, True):
        async with open_pair(network) as (a, _):
            port = f"nobody#{'A' * 16}.1"
            with a.monitor(port, lambda *_: None):
                pass
            if waits:
                a.send(port, "a message")
        assert len(warnings_in(caplog)) == waits
    # Nor when it has no time to be polite.
    caplog.clear()
    with trio.CancelScope() as scope:
        async with open_pair(network) as (a, b):
            network.wire.stall()
            for node in (a, b):
                node.database.set("a family", "key")
                node.monitor(b.port(), lambda *_: None)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert not warnings_in(caplog)


async def test_no_listener_and_no_pipe_is_left_to_the_garbage_collector(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = FakeNetwork()
        async with open_pair(network):
            network.wire.reset()
        gc.collect()
    assert not caught


async def test_the_listener_may_fail(autojump_clock: trio.testing.MockClock) -> None:
    """What the transport does not know how to bear crashes the node, and does not pass in silence."""
    network = FakeNetwork()

    async def fail() -> Any:
        raise OSError(errno.EBADF, "as the test wants it")

    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        async with open_test_node(network, "a"):
            network.listeners[place("a")].accept = fail  # type: ignore[method-assign]
            network.connect(place("a"))
            await trio.sleep(1)


async def test_close_does_not_wait_for_what_was_given_up(autojump_clock: trio.testing.MockClock) -> None:
    settings: dict[str, Any] = {"connect_timeout": 4.0, "heartbeat": 1.0, "shutdown_timeout": 300.0}
    async with open_test_node(FakeNetwork(), "a", **settings) as a:
        a.send("nobody", "hello")
        await trio.sleep(1)
        began = trio.current_time()
    assert trio.current_time() - began < 10


async def test_a_connection_that_comes_in_the_pass_in_which_the_node_closes_ends_nothing(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = FakeListener.accept

    async def was_to_run_already(self: FakeListener) -> Any:
        try:
            return await accept(self)
        except trio.Cancelled:
            # As Trio has it: a task that was woken is not cancelled, and finds that its listener was closed.
            raise trio.ClosedResourceError from None

    monkeypatch.setattr(FakeListener, "accept", was_to_run_already)
    async with open_test_node(FakeNetwork(), "a"):
        await trio.testing.wait_all_tasks_blocked()


async def test_a_listener_that_is_closed_under_a_node_is_an_error(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed(self: FakeListener) -> Any:
        await trio.lowlevel.checkpoint()
        raise trio.ClosedResourceError

    monkeypatch.setattr(FakeListener, "accept", closed)
    with pytest.RaisesGroup(trio.ClosedResourceError, flatten_subgroups=True):
        async with open_test_node(FakeNetwork(), "a"):
            await trio.sleep_forever()
