"""Spawning on another node, and the services of the node port."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    FakeNetwork,
    Inbox,
    Notices,
    installs_a_handler,
    network_of,
    open_pair,
    open_test_node,
    peer_of,
    until,
    warnings_in,
)
from reason_helpers import Died

from trio_mp import Port, PortDied, node_of, spawnable

MODULE = "network_helpers"


def spawning(network: FakeNetwork, **settings: Any) -> Any:
    return open_pair(network, spawn_modules=[MODULE], **settings)


# Spawn ---------------------------------------------------------------------------------------------------------------


async def test_a_spawned_port_can_be_used_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with spawning(FakeNetwork()) as (a, b):
        inbox, told = Inbox(b), Notices()
        port = b.spawn("a", f"{MODULE}:installs_a_handler", 1, "two", inbox.port)
        assert type(port) is str
        assert node_of(port) == "a"
        b.monitor(port, told)
        b.send(port, "arguments", inbox.port)
        assert not a._lifecycle.ports
        assert await inbox.wait(1) == [(1, "two", str(inbox.port))]
        b.send(port, "die", "as", "asked")
        assert await told.wait() == ("as", "asked")


async def test_any_port_of_the_node_will_do(autojump_clock: trio.testing.MockClock) -> None:
    async with spawning(FakeNetwork()) as (a, b):
        port = b.spawn(a.port(), f"{MODULE}:installs_a_handler")
        assert await b.call(port, "arguments") == ()


async def test_a_spawned_process(autojump_clock: trio.testing.MockClock) -> None:
    async with spawning(FakeNetwork()) as (_, b):
        inbox, told = Inbox(b), Notices()
        port = b.spawn("a", f"{MODULE}:is_a_process", inbox.port)
        b.monitor(port, told)
        b.send(port, 1)
        b.send(port, "stop")
        assert await told.wait() == ()
        assert inbox.messages == [(1,), ("stop",)]
        told = Notices()
        b.monitor(b.spawn("a", f"{MODULE}:is_a_process_that_raises"), told)
        assert await told.wait() == Died("ValueError: after a second")


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


async def test_a_function_of_the_main_program(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "main_function", installs_a_handler, raising=False)
    async with open_pair(FakeNetwork()) as (_, b):
        assert await b.call(b.spawn("a", "::main_function", 1), "arguments") == (1,)


@pytest.mark.parametrize(
    "function, text",
    [
        (f"{MODULE}:is_not_spawnable", "not @spawnable"),
        (f"{MODULE}:NOT_A_FUNCTION", "not @spawnable"),
        (f"{MODULE}:no_such_function", "has no no_such_function"),
        (f"{MODULE}:__name__", "not @spawnable"),
        ("os:system", "not one of the spawn_modules"),
        ("no.such.module:function", "not one of the spawn_modules"),
        ("::no_such_function", "has no no_such_function"),
    ],
)
async def test_what_is_not_released_is_not_spawned(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, function: str, text: str
) -> None:
    async with spawning(FakeNetwork()) as (a, b):
        for _ in range(2):
            told, later = Notices(), Notices()
            port = b.spawn("a", function)
            b.monitor(port, told)
            reason = await told.wait()
            assert reason[0] == "spawn_failed"
            assert text in str(reason[1])
            assert not a._lifecycle.ports
            # Who asks later is told the same.
            b.monitor(port, later)
            assert await later.wait() == reason
        # Once for each node that asks.
        assert len([line for line in warnings_in(caplog) if text in line]) == 1
        with pytest.raises(PortDied) as caught:
            await b.call(b.spawn("a", function), "anything")
        assert caught.value.reason == reason


async def test_a_listed_module_that_is_gone(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with spawning(FakeNetwork()) as (_, b):
        monkeypatch.delitem(sys.modules, MODULE)
        told = Notices()
        b.monitor(b.spawn("a", f"{MODULE}:installs_a_handler"), told)
        assert "has not been imported" in str((await told.wait())[1])


async def test_names_that_cannot_be_a_function_raise_at_the_call(autojump_clock: trio.testing.MockClock) -> None:
    async with spawning(FakeNetwork()) as (_, b):
        for name in ("", "function", "module.function", ":::function", "module:a.b", "module:"):
            with pytest.raises(ValueError, match="expected the name of a function"):
                b.spawn("a", name)
        with pytest.raises(TypeError):
            b.spawn("a", installs_a_handler)
        with pytest.raises(TypeError, match=r"arguments\[0\]"):
            b.spawn("a", f"{MODULE}:installs_a_handler", object())
        with pytest.raises(RuntimeError, match="linked"):
            b.spawn("a", f"{MODULE}:installs_a_handler", linked=True)


async def test_an_initialisation_that_fails_says_why(autojump_clock: trio.testing.MockClock) -> None:
    async with spawning(FakeNetwork()) as (a, b):
        told, later = Notices(), Notices()
        port = b.spawn("a", f"{MODULE}:fails_at_once", 1)
        b.monitor(port, told)
        assert await told.wait() == Died("ValueError: cannot be made with (1,)")
        b.monitor(port, later)
        assert await later.wait() == Died("ValueError: cannot be made with (1,)")
        assert a.peers
        # Only so many failures are remembered.
        for _ in range(1100):
            b.spawn("a", f"{MODULE}:fails_at_once")
        last = b.spawn("a", f"{MODULE}:fails_at_once", "last")
        with pytest.raises(PortDied, match="last"):
            await b.call(last, "x")
        gone = Notices()
        b.monitor(port, gone)
        assert (await gone.wait())[0] == "no_such_port"


async def test_a_linked_port_dies_with_its_spawner(autojump_clock: trio.testing.MockClock) -> None:
    async with spawning(FakeNetwork()) as (a, b):
        parent, told = b.port(), Notices()
        child = parent.run(b.spawn, "a", f"{MODULE}:installs_a_handler")
        linked = parent.run(lambda: b.spawn("a", f"{MODULE}:installs_a_handler", linked=True))
        assert child is not None
        assert linked is not None
        b.monitor(linked, told)
        await until(lambda: len(a._lifecycle.ports) == 2)
        b.kill(parent, "bad", "news")
        assert await told.wait() == ("bad", "news")
        assert len(a._lifecycle.ports) == 1


async def test_the_spawner_dies_with_its_linked_port(autojump_clock: trio.testing.MockClock) -> None:
    async with spawning(FakeNetwork()) as (_, b):
        parent, told = b.port(), Notices()
        b.monitor(parent, told)
        normal = parent.run(lambda: b.spawn("a", f"{MODULE}:installs_a_handler", linked=True))
        linked = parent.run(lambda: b.spawn("a", f"{MODULE}:installs_a_handler", linked=True))
        assert normal is not None
        assert linked is not None
        b.kill(normal)
        b.kill(linked, "bad", "news")
        assert await told.wait() == ("bad", "news")


@pytest.mark.parametrize("function", ["fails_at_once", "is_not_spawnable"])
async def test_the_spawner_dies_when_its_linked_port_cannot_be_made(
    autojump_clock: trio.testing.MockClock, function: str
) -> None:
    async with spawning(FakeNetwork()) as (_, b):
        parent, told = b.port(), Notices()
        b.monitor(parent, told)
        parent.run(lambda: b.spawn("a", f"{MODULE}:{function}", linked=True))
        assert (await told.wait())[0] in {"die", "spawn_failed"}


async def test_a_linked_port_that_ends_normally_leaves_its_spawner_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Even if it has ended before the request to monitor it is read."""
    network = FakeNetwork()
    async with spawning(network) as (a, b):
        network.wire.there.largest_read = 8
        parent = b.port()
        for _ in range(20):
            parent.run(lambda: b.spawn("a", f"{MODULE}:ends_at_once", linked=True))
        await b.flush("a")
        await trio.sleep(10)
        assert parent.alive
        assert not a._lifecycle.ports


async def test_linked_ports_die_when_the_other_node_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with spawning(network) as (a, b):
        parent, told = b.port(), Notices()
        b.monitor(parent, told)
        linked = parent.run(lambda: b.spawn("a", f"{MODULE}:installs_a_handler", linked=True))
        assert linked is not None
        await until(lambda: a._lifecycle.ports)
        await b.flush("a")
        network.wire.reset()
        assert (await told.wait())[:2] == ("transport_error", "a")
        await until(lambda: not a._lifecycle.ports)


async def test_a_linked_spawn_whose_spawner_is_dead_already(autojump_clock: trio.testing.MockClock) -> None:
    async with spawning(FakeNetwork()) as (a, b):
        parent, told = b.port(), Notices()
        linked = parent.run(lambda: b.spawn("a", f"{MODULE}:installs_a_handler", linked=True))
        assert linked is not None
        b.monitor(linked, told)
        parent.kill("early")
        assert (await told.wait())[0] in {"no_such_port", "early"}
        assert not a._lifecycle.ports


async def test_spawns_that_are_lost_are_reported(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_node(FakeNetwork(), "b", seeds=["a"]) as b:
        told = Notices()
        b.monitor(b.spawn("a", f"{MODULE}:installs_a_handler"), told)
        assert (await told.wait())[0] == "transport_error"


async def test_spawns_across_a_reconnection(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with spawning(network) as (_, b):
        for number in range(5):
            assert await b.call(b.spawn("a", f"{MODULE}:installs_a_handler", number), "arguments") == (number,)
            network.wire.reset()
            await until(lambda: not b.peers)


async def test_a_spawn_at_a_node_that_is_closing(autojump_clock: trio.testing.MockClock) -> None:
    """It must not keep that node from closing."""
    network = FakeNetwork()
    told = Notices()
    async with open_test_node(network, "b") as b:
        with trio.fail_after(60):
            async with open_test_node(network, "a", seeds=["b"], spawn_modules=[MODULE]) as a:
                await until(lambda: b.peers)

                async def unwind_slowly() -> None:
                    try:
                        await trio.sleep_forever()
                    finally:
                        with trio.CancelScope(shield=True):
                            await trio.sleep(3)

                port = a.port()
                port.start_soon(unwind_slowly)
                b.monitor(port, lambda *_: None)
                await b.flush("a")

                def spawn_when_it_closes() -> None:
                    b.monitor(b.spawn("a", f"{MODULE}:installs_a_handler"), told)

                b.send_after(1, b.port(spawn_when_it_closes))
        assert (await told.wait())[0] in {"transport_error", "spawn_failed", "no_such_port"}


# The node port -------------------------------------------------------------------------------------------------------


async def test_the_queries(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        inbox = Inbox(b)
        for node in ("a", "b"):
            b.send(node, "info", inbox.port, "info", 1)
            b.send(node, "time", inbox.port, "time")
            b.send(node, "up_nodes", inbox.port, "up")
            b.send(node, "known_nodes", inbox.port, "known")
        messages = await inbox.wait(8)
        assert ("info", 1, "a") in messages
        assert ("info", 1, "b") in messages
        assert ("up", "a") in messages
        assert ("up", "b") in messages
        assert ("known", "a", "b") in messages
        assert ("known", "b", "a") in messages
        times = [message[1] for message in messages if message[0] == "time"]
        assert all(isinstance(time, float) and time > 1e9 for time in times)
        assert a.peers == ("b",)


async def test_queries_of_a_node_without_network(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_node(FakeNetwork(), "a", listen=False, secret=None) as a:
        inbox = Inbox(a)
        a.send("a", "up_nodes", inbox.port, "up")
        a.send("a#", "known_nodes", inbox.port, "known")
        assert await inbox.wait(2) == [("up",), ("known", "a")]


async def test_an_echo(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        at_a = Inbox(a)
        b.send("a", "snd", at_a.port, "to a port", [1])
        b.send(at_a.port, "directly")
        b.send("a", "snd", "a#" + "x" * 16 + ".1", "to nobody")
        b.send("a", "snd", at_a.port)
        assert await at_a.wait(3) == [("to a port", [1]), ("directly",), ()]


async def test_nothing_is_forwarded_to_other_nodes(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        inbox = Inbox(b)
        b.send("a", "snd", inbox.port, "round about")
        b.send("a", "snd", "c#" + "x" * 16 + ".1", "to a third")
        await b.call("a", "info")
        assert not inbox.messages
        (line,) = warnings_in(caplog)
        assert line.startswith("b: a message is not forwarded")
        assert set(network_of(a).peers) == {"b"}


async def test_ones_own_node_port_forwards_anywhere(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        here, there = Inbox(b), Inbox(a)
        b.send("b", "snd", here.port, 1)
        b.send("b", "snd", there.port, 2)
        await here.wait(1)
        await there.wait(1)


@pytest.mark.parametrize("networked", [True, False])
async def test_what_ones_own_node_port_cannot_forward_crashes_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, networked: bool
) -> None:
    settings: dict[str, Any] = {} if networked else {"listen": False, "secret": None}
    async with open_test_node(FakeNetwork(), "b", **settings) as b:
        inbox = Inbox(b)
        b.send("b", "snd", "other#" + "x" * 16 + ".1", object())
        b.send("b", "info", "other#" + "x" * 16 + ".1", object())
        b.send(inbox.port, "still here")
        await inbox.wait(1)
        assert warnings_in(caplog)


async def test_messages_that_do_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(FakeNetwork()) as (_, b):
        for node in ("a", "b"):
            b.send(node, "devnull", 1, 2)
            b.send(node, "")
            b.send(node)
        assert await b.call("a", "info") == ("a",)
        assert await b.call("b", "info") == ("b",)
        assert not warnings_in(caplog)


async def test_malformed_requests_are_in_the_log(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    malformed: list[tuple[Any, ...]] = [
        *[("unknown",), (5,), (None, "x"), ("info",), ("info", "not a port ID"), ("snd", 5), ("snd", "a b", 1)],
        *[("mon1",), ("mon1", "bad name"), ("kil", ""), ("kil",), ("spawn", "x", "y"), ("ping", "x"), (["list"],)],
    ]
    async with open_pair(FakeNetwork()) as (_, b):
        # Those of another node once, those of its own program each.
        for node, count in (("a", 1), ("b", len(malformed))):
            caplog.clear()
            for message in malformed:
                b.send(node, *message)
            assert await b.call(node, "info") == (node,)
            assert len(warnings_in(caplog)) == count


async def test_kill_by_way_of_the_node_port(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        far, near, told = a.port(), b.port(), Notices()
        b.monitor(far, told)
        b.monitor(near, told)
        b.send("a", "kil", far.name, "far")
        b.send("b", "kil", near.name, "near")
        await until(lambda: len(told.reasons) == 2)
        assert sorted(told.reasons) == [("far",), ("near",)]


async def test_an_answer_that_is_too_large_for_who_asked(autojump_clock: trio.testing.MockClock) -> None:
    """The question was small enough; the answer carries the name of the node as well."""
    network = FakeNetwork()
    long_id = "a" * 250
    async with (
        open_test_node(network, long_id, binds=("unix:/fake/a",)) as a,
        open_test_node(network, "b", seeds=["a"], message_limit=65536) as b,
    ):
        await until(lambda: a.peers)
        inbox = Inbox(b)
        b.send(long_id, "info", inbox.port, b"x" * 65_450)
        b.send(long_id, "info", inbox.port, "small")
        assert (await inbox.wait(1))[-1] == ("small", long_id)
        assert a.peers == ("b",)


async def test_answers_to_a_third_node(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a") as a,
        open_test_node(network, "b", seeds=["a"]) as b,
        open_test_node(network, "c", seeds=["a"]) as c,
    ):
        await until(lambda: len(a.peers) == 2)
        inbox = Inbox(c)
        b.send("a", "info", inbox.port)
        assert await inbox.wait(1) == [("a",)]
        assert set(peer_of(a, "c").connections)


async def test_a_list_to_a_node_port_that_is_not_connected_yet(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", message_limit=2**20) as a:
        a.send("b", ["x"], 1)
        a.send("b", {"x": 1}, 1)
        a.send("b", "mon1", ["x"])
        a.send("b#AAAAAAAAAAAAAAAA.1", "x" * 100_000)
        async with open_test_node(network, "b", seeds=["a"], message_limit=65536) as b:
            await until(lambda: b.peers == ("a",))
            inbox = Inbox(b)
            a.send(inbox.port, "later")
            assert await inbox.wait(1) == [("later",)]
