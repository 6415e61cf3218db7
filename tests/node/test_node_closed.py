"""What is tied to a node ends with it: the reason of ports that die because their node closes, and whom it reaches."""

# ruff: noqa: PT012 - what leaves a whole block is what many of these tests are about

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    FakeNetwork,
    Inbox,
    Notices,
    network_of,
    open_test_node,
    peer_of,
    until,
    warnings_in,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import Monitor, Node, Port, PortDied, open_node, spawnable
from trio_mp._ports.dispatcher import PASS_MESSAGES
from trio_mp._ports.port import state_of
from trio_mp.testing import SimulatedNetwork, simulate

CLOSED = ("node_closed", "b")


@spawnable
def stays(_port: Port) -> None:
    """A port that nothing ends but a death elsewhere."""


@spawnable
async def stays_as_a_task(port: Port) -> None:
    """As above."""
    async for _ in port:
        pass


@asynccontextmanager
async def open_closing(network: FakeNetwork, a: Node, **settings: Any) -> AsyncGenerator[Node, None]:
    """A node `b`, connected with `a`: its closing is what these tests are about."""
    async with open_test_node(network, "b", seeds=["a"], spawn_modules=[__name__], **settings) as b:
        await until(lambda: a.peers and b.peers)
        yield b


def open_survivor(network: FakeNetwork, **settings: Any) -> Any:
    return open_test_node(network, "a", spawn_modules=[__name__], **settings)


async def told_in_time(told: Notices) -> tuple[Any, ...]:
    """What a monitor was told; it must be soon."""
    await until(lambda: told.reasons, 40)
    return told.reasons[0]


async def sleep(_port: Port) -> None:
    await trio.sleep_forever()


async def unwind(seconds: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)


# On the node itself --------------------------------------------------------------------------------------------------


async def test_who_waits_for_a_death_is_told_that_the_node_closed() -> None:
    caught: list[object] = []
    async with trio.open_nursery() as nursery, open_node("b") as b:
        port, silent = b.port(), b.port(lambda *_: None)

        async def wait() -> None:
            caught.append(await b.wait_death(port))

        async def call() -> None:
            with pytest.raises(PortDied) as died:
                await b.call(silent, "never answered")
            caught.append(died.value.reason)

        async def work() -> None:
            with pytest.raises(PortDied) as died, b.fail_on_death(port):
                await trio.sleep_forever()
            caught.append(died.value.reason)

        async def move_on() -> None:
            with b.move_on_death(port) as scope:
                await trio.sleep_forever()
            caught.append(scope.reason)

        for task in (wait, call, work, move_on):
            nursery.start_soon(task)
        await wait_all_tasks_blocked()
    assert caught == [CLOSED] * 4


async def test_a_port_that_was_killed_normally_before_keeps_its_reason() -> None:
    async with open_node("b") as b:
        ports = [b.port(), b.port(), b.port()]
        monitors = [b.monitor(port, lambda *_: None) for port in ports]
        b.kill(ports[0])
        b.kill(ports[1], "enough")
        # No checkpoint: that the node closes is behind these.
    assert [monitor.reason for monitor in monitors] == [(), ("enough",), CLOSED]


async def test_a_process_that_is_still_unwinding_keeps_its_reason(autojump_clock: MockClock) -> None:
    async with open_node("b") as b:
        port = b.start_port(lambda _: unwind(1))
        monitor = b.monitor(port, lambda *_: None)
        await wait_all_tasks_blocked()
        b.kill(port)
        await wait_all_tasks_blocked()
        assert not port.alive
        assert monitor.active
    assert monitor.reason == ()


async def test_iterations_end_with_their_node_and_receive_says_why() -> None:
    seen: list[object] = []
    received: list[object] = []
    async with trio.open_nursery() as nursery, open_node("b") as b:

        async def iterate() -> None:
            async with b.open_port() as port:
                b.send(port, "first")
                seen.extend([message async for message in port])
                seen.append("ended")
                async for _ in port:
                    raise AssertionError("it is dead")
                with pytest.raises(PortDied) as died:
                    await port.receive()
                seen.append(died.value.reason)

        async def receive() -> None:
            async with b.open_port() as port:
                with pytest.raises(PortDied) as died:
                    await port.receive()
                received.append(died.value.reason)

        nursery.start_soon(iterate)
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
    assert seen == [("first",), "ended", CLOSED]
    assert received == [CLOSED]


@pytest.mark.parametrize("reason", [("node_closed", "elsewhere"), ("node_closed", "b"), ("node_failed", "b")])
async def test_an_iteration_raises_what_only_looks_like_the_end_of_its_node(reason: tuple[str, ...]) -> None:
    async with open_node("b") as b, b.open_port() as port:
        b.kill(port, *reason)
        with pytest.raises(PortDied) as died:
            async for _ in port:
                pass
        assert died.value.reason == reason


@pytest.mark.parametrize("how", ["raised", "cancelled"])
async def test_an_iteration_raises_where_the_node_fails(how: str) -> None:
    class Failure(Exception):
        pass

    seen: list[object] = []
    async with trio.open_nursery() as nursery:
        with pytest.raises(Failure):
            with trio.CancelScope() as scope:
                async with open_node("b") as b:

                    async def iterate() -> None:
                        port = b.start_port(sleep)
                        with pytest.raises(PortDied) as died:
                            async for _ in port:
                                pass
                        seen.append(died.value.reason[0])

                    nursery.start_soon(iterate)
                    await wait_all_tasks_blocked()
                    if how == "raised":
                        raise Failure
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            assert how == "cancelled"
            raise Failure
    assert seen == ["node_failed"]


async def test_processes_that_iterate_end_without_a_word_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[object] = []

    async def iterate(port: Port) -> None:
        async for _ in port:
            pass
        ended.append(port)

    async with open_node("b") as b:
        ports = [b.start_port(iterate) for _ in range(3)]
        b.link(ports[0], ports[1])
        await wait_all_tasks_blocked()
    assert len(ended) == 3
    assert not caplog.records


async def test_who_supervises_need_not_know_that_the_node_closes(caplog: pytest.LogCaptureFixture) -> None:
    started: list[Port] = []

    async with open_node("b", unmonitored_death="raise") as b:

        def start(*_reason: object) -> None:
            started.append(b.start_port(stays_as_a_task))
            b.monitor(started[-1], start)

        start()
        await wait_all_tasks_blocked()
    assert len(started) == 1
    assert not caplog.records


async def test_the_own_node_port_cannot_be_monitored_anew_at_the_end() -> None:
    said: list[str] = []

    async with open_node("a") as node:

        def again(*_: object) -> None:
            try:
                node.monitor("a", lambda *_: said.append("fired"))
            except trio.ClosedResourceError:
                said.append("refused")

        node.monitor("a", again)
    assert said == ["refused"]


def test_a_monitor_set_anew_while_the_node_closes_fires_or_is_refused() -> None:
    """Found by seed 0 of the hammer: nothing fired it, nobody was told."""

    async def scenario(network: SimulatedNetwork) -> None:
        monitors: list[Monitor] = []
        refused: list[Exception] = []

        async with network.open_node("b") as b:
            port = b.port(print)
            async with network.open_node("a", seeds=["b"]) as a:

                def fired(*_: object) -> None:
                    if len(monitors) < 10:
                        try:
                            monitors.append(a.monitor(str(port), fired))
                        except trio.ClosedResourceError as error:
                            refused.append(error)

                monitors.append(a.monitor(str(port), fired))
                await trio.sleep(1)
        assert all(monitor.reason is not None for monitor in monitors)

    simulate(scenario)


def test_a_monitor_of_the_node_itself_set_anew_while_it_closes_fires_or_is_refused() -> None:
    """As the one above; found by looking at its mend."""

    async def scenario(network: SimulatedNetwork) -> None:
        monitors: list[Monitor] = []
        refused: list[Exception] = []

        async with network.open_node("a") as a:

            def fired(*_: object) -> None:
                try:
                    monitors.append(a.monitor("a", fired))
                except trio.ClosedResourceError as error:
                    refused.append(error)

            monitors.append(a.monitor("a", fired))
        assert all(monitor.reason is not None for monitor in monitors)

    simulate(scenario)


# On others -----------------------------------------------------------------------------------------------------------


async def test_a_link_from_another_node_fires(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        tied, told = a.port(), Notices()
        a.monitor(tied, told)
        async with open_closing(network, a) as b:
            a.link(b.port(), tied)
            await a.flush("b")
        assert await told_in_time(told) == CLOSED


@pytest.mark.parametrize("function", ["stays", "stays_as_a_task"])
async def test_a_port_that_was_spawned_linked_ends_with_its_spawners_node(
    autojump_clock: MockClock, function: str
) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        told = Notices()
        async with open_closing(network, a) as b:
            spawned = b.port().run(lambda: b.spawn("a", f"{__name__}:{function}", linked=True))
            assert spawned
            a_port = spawned
            await until(lambda: a._lifecycle.ports)
            a.monitor(a_port, told)
        assert await told_in_time(told) == CLOSED
        assert not a._lifecycle.ports


async def test_the_spawner_of_a_linked_port_ends_with_that_ports_node(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        spawner, told = a.port(), Notices()
        a.monitor(spawner, told)
        async with open_closing(network, a) as b:
            spawner.run(lambda: a.spawn("b", f"{__name__}:stays", linked=True))
            await until(lambda: b._lifecycle.ports)
        assert await told_in_time(told) == CLOSED


async def test_a_port_that_ended_normally_leaves_what_it_spawned_alone(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        async with open_closing(network, a) as b:
            port = b.port()
            port.run(lambda: b.spawn("a", f"{__name__}:stays", linked=True))
            await until(lambda: a._lifecycle.ports)
            b.kill(port)
        await trio.sleep(60)
        assert len(a._lifecycle.ports) == 1


WHO_SETS_IT: dict[str, Callable[[list[Port]], tuple[Port, Port]]] = {
    # Which port is watched, and which one sets the link.
    "older": lambda ports: (ports[1], ports[0]),
    "younger": lambda ports: (ports[0], ports[1]),
    "itself": lambda ports: (ports[0], ports[0]),
    "far apart": lambda ports: (ports[-1], ports[0]),
    "far apart, younger": lambda ports: (ports[0], ports[-1]),
}


@pytest.mark.parametrize("who", WHO_SETS_IT)
async def test_a_link_to_another_node_fires_though_its_owner_dies_as_well(autojump_clock: MockClock, who: str) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        far, told = a.port(), Notices()
        a.monitor(far, told)
        async with open_closing(network, a) as b:
            # More than die in one pass.
            ports = [b.port() for _ in range(3 * PASS_MESSAGES)]
            watched, owner = WHO_SETS_IT[who](ports)
            owner.run(b.link, watched, far)
        assert await told_in_time(told) == CLOSED


@pytest.mark.parametrize("slow", ["watched", "owner"])
async def test_such_a_link_fires_when_the_port_has_unwound(autojump_clock: MockClock, slow: str) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        far, times = a.port(), list[float]()
        a.monitor(far, lambda *_: times.append(trio.current_time()))
        async with open_closing(network, a) as b:
            ports = {name: b.port() for name in ("watched", "owner")}
            ports["owner"].run(b.link, ports["watched"], far)
            ports[slow].start_soon(unwind, 3)
            await wait_all_tasks_blocked()
            start = trio.current_time()
        await until(lambda: times, 40)
        assert times[0] - start == pytest.approx(3 if slow == "watched" else 0, abs=0.1)


async def test_a_link_that_a_port_sets_on_itself_fires_whenever_it_dies(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        far, told = a.port(), Notices()
        a.monitor(far, told)
        async with open_closing(network, a) as b:
            port = b.port()
            port.run(b.link, port, far)
            b.kill(port, "bad", "news")
            assert await told_in_time(told) == ("bad", "news")


async def test_a_link_fires_though_its_owner_dies_while_the_port_unwinds(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        far, told = a.port(), Notices()
        a.monitor(far, told)
        async with open_closing(network, a) as b:
            watched, owner = b.port(), b.port()
            owner.run(b.link, watched, far)
            watched.start_soon(unwind, 3)
            await wait_all_tasks_blocked()
            b.kill(watched, "bad", "news")
            b.kill(owner)
            assert await told_in_time(told) == ("bad", "news")


async def test_a_link_to_another_node_ends_with_its_owner_as_long_as_the_port_lives(
    autojump_clock: MockClock,
) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        far = a.port()
        async with open_closing(network, a) as b:
            watched, owner = b.port(), b.port()
            owner.run(b.link, watched, far)
            b.kill(owner)
            await wait_all_tasks_blocked()
            assert not state_of(watched).monitors
            b.kill(watched, "bad", "news")
        await trio.sleep(60)
        assert far.alive


async def test_the_callbacks_of_a_port_end_with_it_in_closing_too(autojump_clock: MockClock) -> None:
    called: list[object] = []
    network = FakeNetwork()
    async with open_survivor(network) as a:
        far = a.port()
        async with open_closing(network, a) as b:
            watched, owner = b.port(), b.port()
            owner.run(b.monitor, watched, lambda *reason: called.append(reason))
            owner.run(b.monitor, far, lambda *reason: called.append(reason))
            b.monitor(watched, lambda *reason: called.append(("outside", *reason)))
    assert called == [("outside", *CLOSED)]


async def test_others_see_every_death_before_the_end_of_the_stream(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        reasons: list[object] = []
        ended: list[int] = []
        async with open_closing(network, a) as b:
            ports = [b.port() for _ in range(3 * PASS_MESSAGES)]
            for port in ports:
                a.monitor(port, lambda *reason: reasons.append(reason))
            a.monitor("b", lambda *_: ended.append(len(reasons)))
            await a.flush("b")
            await until(lambda: len(peer_of(b, "a").watchers) == len(ports))
            network.wire.there.delay = 0.05
        await until(lambda: not a.peers)
    assert reasons == [CLOSED] * len(ports)
    assert ended == [len(ports)]


async def test_a_closing_that_is_too_slow_is_a_transport_error(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        tied, told = a.port(), Notices()
        a.monitor(tied, told)
        async with open_closing(network, a, shutdown_timeout=3) as b:
            a.link(b.port(), tied)
            await until(lambda: len(peer_of(b, "a").watchers))
            network.wire.there.stalled = True
        assert (await told_in_time(told))[:2] == ("transport_error", "b")
    assert not [line for line in warnings_in(caplog) if "were dropped" not in line]


async def test_a_cancelled_exit_is_a_transport_error_for_others(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        tied, far, told = a.port(), a.port(), Notices()
        a.monitor(tied, told)
        with trio.CancelScope() as scope:
            async with open_closing(network, a) as b:
                port = b.port()
                port.run(b.link, port, far)
                a.link(port, tied)
                await until(lambda: len(peer_of(b, "a").watchers))
                scope.cancel()
        assert (await told_in_time(told))[:2] == ("transport_error", "b")
        await until(lambda: not a.peers)
        assert far.alive, "a cancelled exit tells nobody anything"


async def test_an_exception_of_the_block_reaches_others_too(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a:
        far, told = a.port(), Notices()
        a.monitor(far, told)
        with pytest.raises(ValueError, match="no good"):
            async with open_closing(network, a) as b:
                owner, watched = b.port(), b.port()
                owner.run(b.link, watched, far)
                raise ValueError("no good")
        assert (await told_in_time(told))[0] == "node_failed"


# Nobody is dialled only for that -------------------------------------------------------------------------------------


@asynccontextmanager
async def linked_beyond_reach(network: FakeNetwork, *, owned: bool) -> AsyncGenerator[Node, None]:
    """A node `b` that has a link to a port of `c`, with which it is not connected, although it could be."""
    async with open_survivor(network), open_test_node(network, "c", seeds=["a"]) as c:
        far = c.port()
        async with open_test_node(network, "b", seeds=["a"]) as b:
            await until(lambda: b.peers == ("a",))
            await trio.sleep(30)
            port = b.port()
            if owned:
                port.run(b.link, port, far)
            else:
                b.link(port, far)
            network.dialled.clear()
            yield b
            start = trio.current_time()
        assert trio.current_time() - start < 0.1
        await trio.sleep(60)
        assert far.alive


@pytest.mark.parametrize("owned", [True, False])
async def test_closing_dials_nobody_only_to_kill_what_is_linked(autojump_clock: MockClock, owned: bool) -> None:
    network = FakeNetwork()
    async with linked_beyond_reach(network, owned=owned) as b:
        assert b.peers == ("a",)
    assert not network.dialled


async def test_what_waits_for_a_connection_takes_the_deaths_along(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network), open_test_node(network, "c", seeds=["a"]) as c:
        inbox, far, told = Inbox(c), c.port(), Notices()
        c.monitor(far, told)
        async with open_test_node(network, "b", seeds=["a"]) as b:
            await until(lambda: b.peers == ("a",))
            await trio.sleep(30)
            b.link(b.port(), far)
            b.send(inbox.port, "said and gone")
            assert b.peers == ("a",)
        assert await told_in_time(told) == CLOSED
        assert inbox.messages == [("said and gone",)]


async def test_a_death_before_the_end_still_dials(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network), open_test_node(network, "c", seeds=["a"]) as c:
        far, told = c.port(), Notices()
        c.monitor(far, told)
        async with open_test_node(network, "b", seeds=["a"]) as b:
            await until(lambda: b.peers == ("a",))
            await trio.sleep(30)
            port = b.port()
            b.link(port, far)
            b.kill(port, "bad", "news")
            assert await told_in_time(told) == ("bad", "news")
            assert set(network_of(b).up_nodes()) == {"a", "c"}


# Streams -------------------------------------------------------------------------------------------------------------


@spawnable
async def writes_for_ever(stream: trio.abc.HalfCloseableStream) -> None:
    """Write until it is cancelled."""
    while True:
        await stream.send_all(bytes(10_000))
        await trio.sleep(1)


async def test_a_byte_stream_breaks_when_the_node_of_its_function_closes(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_survivor(network) as a, trio.open_nursery() as nursery:
        texts: list[str] = []
        begun = trio.Event()

        async def read() -> None:
            with pytest.raises(trio.BrokenResourceError) as broken:
                async with a.open_stream("b", f"{__name__}:writes_for_ever") as stream:
                    begun.set()
                    while await stream.receive_some():
                        pass
            texts.append(str(broken.value))

        async with open_closing(network, a):
            nursery.start_soon(read)
            await begun.wait()
            await trio.sleep(5)
    (text,) = texts
    # The connection of the stream may end before the notice of the death has come by the other one.
    assert "the connection ended" in text or "node_closed" in text
