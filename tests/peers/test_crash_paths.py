"""Failures that must neither be taken for something else, nor hide, nor keep a node from closing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from error_planter import Planted
from network_helpers import (
    SECRET,
    FakeNetwork,
    Inbox,
    Notices,
    RawPeer,
    network_of,
    open_pair,
    open_test_node,
    peer_of,
    place,
    until,
)

from trio_mp import Node, Port, open_node, spawnable
from trio_mp._peers.limited_log import BURST
from trio_mp._peers.network import Network
from trio_mp._ports.lifecycle import Job
from trio_mp._protocol.association import effects
from trio_mp._protocol.association.association import Association
from trio_mp._protocol.association.queue import OutgoingQueue
from trio_mp._protocol.database.effects import Grace
from trio_mp._protocol.database.replica import Replica
from trio_mp._services import logs
from trio_mp._services.membership import MembershipService
from trio_mp._services.redialler import Redialler
from trio_mp._settings.environment import Environment
from trio_mp.lowlevel import open_node_in


async def test_an_os_error_of_a_callback_is_not_taken_for_one_of_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_pair(FakeNetwork()) as (a, b):
            port = b.port(lambda *_: None)

            def callback(*_reason: object) -> None:
                raise OSError("a callback failed")

            a.monitor(port, callback)
            b.kill(port)
            await trio.sleep(60)
    assert caught.group_contains(OSError, match="a callback failed")


async def test_an_unmonitored_os_error_of_a_remote_message_crashes_where_it_should(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def handler(*_message: object) -> None:
        raise FileNotFoundError("a file of the program")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_pair(FakeNetwork(), unmonitored_death="raise") as (a, b):
            b.send(a.port(handler), "x")
            await trio.sleep(60)
    assert caught.group_contains(FileNotFoundError, match="a file of the program")


received: list[tuple[object, ...]] = []


@spawnable
def keep(port: Port) -> None:
    """Keep what comes."""
    port.on()(lambda *message: received.append(message))


async def test_a_message_of_a_peer_waits_until_a_port_spawned_here_is_initialised(
    autojump_clock: trio.testing.MockClock,
) -> None:
    received.clear()
    async with open_pair(FakeNetwork()) as (a, b):
        echo = b.port(lambda port: b.send(port, "hello"))
        busy = a.port(lambda *_: None)
        # More than one pass, so that the peer answers before the port's turn has come.
        for number in range(20_000):
            a.send(busy, number)
        port = a.spawn("a", f"{__name__}:keep")
        a.send(echo, port)
        await trio.sleep(1)
        assert received == [("hello",)]


async def test_a_callback_that_monitors_the_dead_port_again_does_not_keep_the_node_from_closing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def watch(node: Node, port: Port) -> None:
        node.monitor(port, lambda *_: watch(node, port))

    with trio.fail_after(60):
        async with open_node() as node:
            watch(node, node.port(lambda *_: None))


async def test_cancellation_by_a_crash_does_not_leak_out_of_the_block() -> None:
    def handler(*_message: object) -> None:
        raise ValueError("crash")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_node(unmonitored_death="raise") as node, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            node.send(node.port(handler), "x")
    assert caught.group_contains(ValueError, match="crash")


# Errors of this program itself: `test_own_errors.py` plants them at every line ----------------------------------------


def raise_planted(*_arguments: object) -> bool:
    raise Planted("here")


def raise_os_error(*_arguments: object) -> bool:
    raise OSError("no error of the connection")


class Forgetful(dict[str, Any]):
    """Cannot be asked for anything."""

    def get(self, *_: object) -> Any:
        raise Planted("here")


def errors_in(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("fail", [raise_planted, raise_os_error])
async def test_an_error_of_a_service_ends_the_connection_and_nothing_else(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, fail: Callable[..., bool]
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as m, open_test_node(network, "n", seeds=["m"]) as n:
        inbox = Inbox(m)
        network_of(m).node_port.services["log"] = fail
        raw = RawPeer(network.connect(place("m")).dialler, "a")
        await raw.adopt()
        await until(lambda: set(m.peers) == {"a", "n"})
        told, other = Notices(), Notices()
        m.monitor("a", told)
        m.monitor("n", other)
        await raw.send((inbox.port.name, "before"), ("", "log"), (inbox.port.name, "behind"))
        await raw.read_to_end()
        n.send(inbox.port, "of another")
        assert await inbox.wait(2) == [("before",), ("of another",)]
        assert "an error in this program" in (await told.wait())[2]
        assert not other.reasons
        (record,) = errors_in(caplog)
        assert record.exc_info
        assert "a: an error in this program" in record.getMessage()


@pytest.mark.parametrize("what", ["log records", "the grace", "a contact", "a search", "a dial that was asked for"])
async def test_an_error_of_a_task_for_others_is_logged_and_the_node_lives(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as m, open_test_node(network, "n", seeds=["m"]) as n:
        await until(lambda: m.peers and n.peers)
        inbox = Inbox(m)
        with monkeypatch.context() as broken:
            if what == "log records":
                # As if they were of two processes.
                broken.setattr(logs, "_nodes", ())
                broken.setattr(logs._forwarder, "add", raise_planted)
                network_of(n).node_port.services["log"]("m", (10, f"m#{inbox.port.name}"))
            elif what == "the grace":
                broken.setattr(Replica, "expire", raise_planted)
                n._database._do(Grace("m", 1))
            elif what == "a contact":
                broken.setattr(Redialler, "_use", raise_planted)
                network.wire.reset()
            elif what == "a search":
                broken.setattr(MembershipService, "_judge", raise_planted)
                n.send(f"nobody#{'A' * 16}.1", "x")
            else:
                broken.setattr(Network, "dial", raise_planted)
                network_of(n).node_port.services["dial"]("m", ("n", "nobody", ["unix:/fake/nobody"]))
            await trio.sleep(20)
        await until(lambda: n.peers, 60)
        n.send(inbox.port, "later")
        assert await inbox.wait(1) == [("later",)]
        assert errors_in(caplog)
        assert all("an error in this program" in record.getMessage() for record in errors_in(caplog))


async def test_errors_that_strangers_cause_are_logged_with_tracebacks_and_are_bounded(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as m:
        network_of(m).peers = Forgetful()
        for _ in range(2 * BURST):
            raw = RawPeer(network.connect(place("m")).dialler, "a")
            await raw.read_to_end()
        assert 0 < len(errors_in(caplog)) <= BURST + 1
        assert all(record.exc_info for record in errors_in(caplog))


async def test_an_error_in_accepting_does_not_end_the_listening(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    environment = Environment(transport=network, jitter=lambda: 0.5)
    async with open_node_in(environment, "m", secret=SECRET, encryption=False, binds=[place("m")]) as m:
        local = network_of(m).local
        network_of(m).local = None  # type: ignore[assignment]
        await RawPeer(network.connect(place("m")).dialler, "a").read_to_end()
        assert [record.exc_info is not None for record in errors_in(caplog)] == [True]
        network_of(m).local = local
        await RawPeer(network.connect(place("m")).dialler, "a").adopt()
        await until(lambda: m.peers)


@pytest.mark.parametrize("name", ["send", "monitor"])
async def test_an_error_in_what_a_program_asks_for_is_a_loss(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Such as the one that comes when the queue is half dropped: from then on nothing would ever be told."""
    async with open_pair(FakeNetwork()) as (a, b):
        port = b.port(lambda *_: None)
        told = Notices()
        a.monitor(port, told)
        with monkeypatch.context() as broken:
            broken.setattr(OutgoingQueue, "append", raise_planted)
            if name == "send":
                a.send(port, 1)
            else:
                with pytest.raises(Planted):
                    a.monitor(b.port(lambda *_: None), told)
        assert (await told.wait())[0] == "transport_error"
        assert len(errors_in(caplog)) == 1
        inbox = Inbox(b)
        await until(lambda: a.peers)
        a.send(inbox.port, 2)
        assert await inbox.wait(1) == [(2,)]


async def test_an_error_before_the_monitors_of_another_could_fire_ends_the_node(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would be told any more, and that is the one thing that must not be."""
    fire, calls = Association.fire, iter(range(100))
    monkeypatch.setattr(Association, "fire", lambda self: raise_planted() if next(calls) < 1 else fire(self))
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_pair(FakeNetwork()) as (a, b):
            a.monitor(b.port(), lambda *_: None)
            peer_of(a, "b").fail(Planted("first"))
            await trio.sleep(60)
    assert caught.group_contains(Planted, match="here")


async def test_an_error_in_work_of_the_node_is_not_taken_for_one_of_the_connection_that_comes_to_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_pair(FakeNetwork()) as (a, b):
            port = a.port(lambda: a._runtime.dispatcher.enqueue(Job(raise_planted), ()))  # type: ignore[arg-type]
            b.send(port)
            await trio.sleep(60)
    assert caught.group_contains(Planted)


async def test_a_death_is_told_though_an_error_comes_first(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What was to be done behind the error is not done, but for the monitors that are in no table any more."""
    async with open_pair(FakeNetwork()) as (a, b):
        port = b.port()
        told = Notices()
        monitor = a.monitor(port, told)
        peer = peer_of(a, "b")
        (taken,) = peer.association.monitors.pop(port.name)
        assert taken is monitor
        peer.execute([effects.Refuse("no such connection", ""), effects.Fire((monitor,), ("died",))])
        assert (await told.wait())[0] == "transport_error"
        assert len(errors_in(caplog)) == 1
        await until(lambda: a.peers)
