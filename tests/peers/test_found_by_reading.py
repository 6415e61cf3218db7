"""What readers of the code have found: each of these crashed a node, lost something in silence, or waited for ever."""

from __future__ import annotations

import enum
import gc
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, RawPeer, open_test_node, peer_of, place, until, warnings_in
from stream_helpers import MODULE
from test_collected_logs import Collected, collected, log, open_three, other_processes, say, subscribers

from trio_mp import Node
from trio_mp._protocol.association.association import Association
from trio_mp._protocol.association.effects import Fire, Terms
from trio_mp._protocol.database.records import NODES
from trio_mp._protocol.wire.framing import FRAMINGS
from trio_mp._services.logs import WAITING, _Subscription
from trio_mp._transport.addresses import Address, parse_address

__all__ = ["collected", "other_processes"]

TAG = "I" * 16


class Level(enum.IntEnum):
    NOTICE = 25


class Broken(logging.Handler):
    """Fails once."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = False

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "node") and not self.failed:
            self.failed = True
            raise OSError("the disk is full")


# Names of ports ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["spawn", "stream"])
@pytest.mark.parametrize("before", [(), ("kil",)], ids=["alive", "killed"])
async def test_a_peer_that_claims_our_incarnation_takes_no_name_of_ours(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, word: str, before: tuple[str, ...]
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b") as b:
        raw = RawPeer(await network.dial(parse_address(place("b"))), "a", incarnation=b._runtime.incarnation)
        await raw.adopt()
        fired: list[object] = []
        async with b.open_port() as port:
            b.monitor(port, lambda *reason: fired.append(reason))
            extra = ("T" * 16,) if word == "stream" else ()
            kills = [("", kill, port.name) for kill in before]
            await raw.send(*kills, ("", word, port.name, *extra, "no.module:f"))
            # One that this node may give out later.
            name = f"{b._runtime.incarnation[:8]}.{'x' * 16}"
            await raw.send(("", word, name, *extra, "no.module:f"))
            await trio.sleep(1)
        await until(lambda: fired)
        assert b.peers == ("a",)
        assert name not in b._dispatcher.ports
    assert any("may not give" in line for line in warnings_in(caplog))


async def test_a_request_for_a_stream_that_does_not_fit_is_not_the_loss_of_the_node() -> None:
    association = Association("b", "a", queue_limit=2**24, message_limit=2**20)
    association.monitor("", "of the node")
    association.send("", ("stream", f"{TAG}.1", TAG, "m:f", b"bytes"))
    association.monitor(f"{TAG}.1", "of the port")
    association.send("", ("db", "something else"))
    association.greeted("c")
    effects = association.authenticated("c", "", Terms(TAG, 2**20, FRAMINGS["json"]))
    assert [effect.monitors for effect in effects if isinstance(effect, Fire)] == [("of the port",)]
    assert "" in association.monitors


# Closing -------------------------------------------------------------------------------------------------------------


async def test_close_does_not_wait_for_what_was_given_up(autojump_clock: trio.testing.MockClock) -> None:
    settings: dict[str, Any] = {"connect_timeout": 4.0, "heartbeat": 1.0, "shutdown_timeout": 300.0}
    async with open_test_node(FakeNetwork(), "a", **settings) as a:
        a.send("nobody", "hello")
        await trio.sleep(1)
        began = trio.current_time()
    assert trio.current_time() - began < 10


async def test_a_stream_is_not_there_in_time_because_the_process_stood_still(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    settings: dict[str, Any] = {"spawn_modules": [MODULE], "handshake_timeout": 1.0}
    async with open_test_node(network, "a", **settings), open_test_node(network, "b", seeds=["a"], **settings) as b:
        await until(lambda: b.peers)
        look_up = b._streams.look_up

        async def slow(node_id: str) -> tuple[Address, ...]:
            found = await look_up(node_id)
            autojump_clock.jump(1.1)
            return found

        b._streams.look_up = slow
        with pytest.raises(OSError, match="no byte stream with a"):
            async with b.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")


# Entries that make no sense ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [("b", []), ("b", 5), ("b", {}), ("not a node", ["x"]), ("c", [5])])
async def test_what_others_say_of_nodes_may_make_no_sense(
    autojump_clock: trio.testing.MockClock, collected: Collected, entry: tuple[str, Any]
) -> None:
    async with open_three(FakeNetwork()) as (_, b, c):
        with c.collect_logs("INFO"):
            async with c.watch_nodes() as changes:
                for _ in range(3):
                    await anext(changes)
                b._database._set(NODES, *entry)
                with trio.move_on_after(60):
                    async for _ in changes:
                        pass
            assert c.peers == ("a", "b")


@pytest.mark.parametrize("word", ["attach", "welcome"])
async def test_a_loss_in_the_middle_of_what_the_membership_does(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, open_test_node(network, "c", seeds=["a"]) as c:
        node = c if word == "attach" else a
        membership = node._membership
        assert membership is not None
        send = membership._send
        lost: list[str] = []

        def send_too_much(node_id: str, message: tuple[object, ...]) -> None:
            send(node_id, message)
            if message[0] == word and not lost:
                lost.append(node_id)
                peer = peer_of(node, node_id)
                peer.execute(peer.association.lose("what is queued has grown too large"))

        monkeypatch.setattr(membership, "_send", send_too_much)
        await until(lambda: lost)
        assert membership.rules.host == node._database._replica.host
        await until(lambda: c._database._replica.host == "a")


# Log records ---------------------------------------------------------------------------------------------------------


def a_surrogate(b: Node) -> None:
    # pytest could not print it.
    others = logging.getLogger().handlers[:]
    for each in others:
        logging.getLogger().removeHandler(each)
    try:
        say(b, logging.INFO, "file %s", "caf\udce9.txt")
    finally:
        for each in others:
            logging.getLogger().addHandler(each)


def a_level_of_its_own(b: Node) -> None:
    say(b, Level.NOTICE, "hello")


def more_than_it_takes(b: Node) -> None:
    error = ValueError("\U0001f600" * 16000)
    say(b, logging.INFO, "\U0001f600" * 16000, exc_info=(ValueError, error, None))


@pytest.mark.parametrize("record", [a_surrogate, a_level_of_its_own, more_than_it_takes])
async def test_one_record_does_not_end_those_behind_it(
    autojump_clock: trio.testing.MockClock, collected: Collected, record: Callable[[Node], None]
) -> None:
    log.setLevel(logging.DEBUG)
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", message_limit=65536) as a,
        open_test_node(network, "b", seeds=["a"]) as b,
    ):
        with a.collect_logs("INFO"):
            await until(subscribers)
            record(b)
            await trio.sleep(60)
            say(b, logging.ERROR, "on fire")
            await until(lambda: any("on fire" in text for text in collected.texts))


async def test_a_handler_that_fails_once_ends_nothing(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    broken = Broken()
    logging.getLogger().addHandler(broken)
    try:
        async with open_three(FakeNetwork()) as (_, b, c):
            with c.collect_logs("INFO"):
                await until(lambda: subscribers() == {"a", "b"})
                say(b, logging.ERROR, "first")
                await until(lambda: broken.failed)
                say(b, logging.ERROR, "second")
                await until(lambda: "b: second" in collected.texts)
    finally:
        logging.getLogger().removeHandler(broken)


async def test_the_end_of_one_request_does_not_end_another(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    log.setLevel(logging.DEBUG)
    async with open_three(FakeNetwork()) as (_, b, c):
        with c.collect_logs("INFO"):
            await until(lambda: subscribers() == {"a", "b"})
            with c.collect_logs("ERROR"):
                await trio.sleep(10)
            await trio.sleep(10)
            say(b, logging.INFO, "the first is still open")
            await until(lambda: collected.texts)


async def test_who_logs_while_it_logs_does_not_wait_for_itself(autojump_clock: trio.testing.MockClock) -> None:
    """As the destructor of an object does that is collected in the middle of it."""
    async with open_test_node(FakeNetwork(), "a") as a:
        subscription = _Subscription(a._runtime, "b#x", 0)

        def log_within() -> None:
            with subscription.lock:
                subscription.add("a", 1, 1.0, "text", "")

        thread = threading.Thread(target=log_within, daemon=True)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
        assert len(subscription.records) == 1 < WAITING
    gc.collect()
