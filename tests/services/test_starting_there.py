"""Ports that say on another node when they have started: `Node.start_on`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    FakeNetwork,
    Inbox,
    Notices,
    a_member,
    connect_raw,
    open_pair,
    open_test_node,
    peer_of,
    requests_in,
    until,
    warnings_in,
)

from trio_mp import Node, Port, PortDied, Started, current_epoch, current_node, spawnable
from trio_mp._services.starting import RemoteStarted, start_on

HERE = __name__
IGNORED: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED

ended: list[str] = []


@pytest.fixture(autouse=True)
def nothing_has_ended() -> None:
    ended.clear()


@spawnable
async def serves(port: Port, *arguments: Any, task_status: trio.TaskStatus[Any] = IGNORED) -> None:
    task_status.started([*arguments, current_epoch()])
    try:
        async for message in port:
            current_node().send(message[0], *message[1:])
    finally:
        ended.append("serves")


@spawnable
async def talks_first(port: Port, listener: str, *, task_status: trio.TaskStatus[None]) -> None:
    for number in range(3):
        current_node().send(listener, number)
    task_status.started()
    await trio.sleep_forever()


@spawnable
async def never_starts(port: Port, seconds: float = 0, *, task_status: trio.TaskStatus[None]) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        ended.append("never_starts")
        task_status.started()


@spawnable
async def takes_a_while(port: Port, *, task_status: trio.TaskStatus[str]) -> None:
    try:
        await trio.sleep(10)
        task_status.started("after ten seconds")
        await trio.sleep_forever()
    finally:
        ended.append("takes_a_while")


@spawnable
async def returns(port: Port, *, task_status: trio.TaskStatus[None]) -> None: ...


@spawnable
async def starts_and_returns(port: Port, *, task_status: trio.TaskStatus[int]) -> None:
    task_status.started(7)


@spawnable
async def starts_twice(port: Port, *, task_status: trio.TaskStatus[int]) -> None:
    task_status.started(1)
    await trio.sleep(1)
    task_status.started(2)


@spawnable
async def fails(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("no good")


@spawnable
async def says_what_cannot_travel(port: Port, *, task_status: trio.TaskStatus[Any]) -> None:
    try:
        task_status.started({"here": object()})
    except TypeError as error:
        task_status.started(str(error))
    await trio.sleep_forever()


@spawnable
async def knows_no_task_status(port: Port) -> None: ...


@spawnable
def handles(port: Port, *arguments: Any) -> None:
    port.on("arguments")(lambda reply_to: current_node().send(reply_to, *arguments))


@spawnable
def kills_itself(port: Port) -> None:
    port.kill("why")


@spawnable
def breaks(port: Port) -> None:
    raise KeyError("broken")


def not_released(port: Port) -> None: ...


def pair(network: FakeNetwork, **settings: Any) -> Any:
    return open_pair(network, spawn_modules=[HERE], **settings)


@asynccontextmanager
async def both(local: bool) -> AsyncGenerator[tuple[Node, str], None]:
    """A node, and the ID of the one on which it starts ports: perhaps itself."""
    async with pair(FakeNetwork()) as (_, b):
        yield b, "b" if local else "a"


where = pytest.mark.parametrize("local", [True, False], ids=["here", "there"])


@where
async def test_an_async_function_has_started_when_it_says_so(
    autojump_clock: trio.testing.MockClock, local: bool
) -> None:
    async with both(local) as (b, there):
        inbox = Inbox(b)
        started = await b.start_on(there, f"{HERE}:serves", 1, "two")
        assert started == Started(started.port, [1, "two", None])
        assert type(started.port) is str
        b.send(started.port, inbox.port, "hello")
        assert await inbox.wait(1) == [("hello",)]
        assert (await b.start_on(started.port, f"{HERE}:takes_a_while")).value == "after ten seconds"


@where
async def test_a_sync_function_has_started_when_it_has_returned(
    autojump_clock: trio.testing.MockClock, local: bool
) -> None:
    async with both(local) as (b, there):
        started = await b.start_on(there, f"{HERE}:handles", 1, 2)
        assert started.value is None
        assert await b.call(started.port, "arguments") == (1, 2)


@where
async def test_what_it_sends_before_it_has_started_arrives_before(
    autojump_clock: trio.testing.MockClock, local: bool
) -> None:
    async with both(local) as (b, there):
        inbox = Inbox(b)
        await b.start_on(there, f"{HERE}:talks_first", inbox.port)
        assert inbox.messages == [(0,), (1,), (2,)]


@where
@pytest.mark.parametrize(
    "function, kind, text",
    [
        ("returns", "die", "returned without calling task_status.started()"),
        ("fails", "die", "ValueError: no good"),
        ("breaks", "die", "broken"),
        ("knows_no_task_status", "die", "task_status"),
        ("not_released", "spawn_failed", "not @spawnable"),
        ("missing", "spawn_failed", "missing"),
    ],
)
async def test_what_ends_before_it_has_started(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    local: bool,
    function: str,
    kind: str,
    text: str,
) -> None:
    async with both(local) as (b, there):
        with pytest.raises(PortDied) as caught:
            await b.start_on(there, f"{HERE}:{function}")
        assert caught.value.reason[0] == kind
        assert text in str(caught.value.reason[1])
        if local and function == "fails":
            assert isinstance(caught.value.__cause__, ValueError)
    assert not warnings_in(caplog, logging.ERROR)


@where
async def test_what_ends_just_after_it_has_started(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there):
        assert (await b.start_on(there, f"{HERE}:starts_and_returns")).value == 7
        assert (await b.start_on(there, f"{HERE}:kills_itself")).value is None


async def test_a_port_that_has_died_before_the_monitor_of_the_asker_has_come(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", spawn_modules=[HERE]) as a, a_member(network, a) as raw:
        name = raw.name_to_spawn(1)
        await raw.send(("", "start", name, f"{HERE}:fails", None, None))
        await trio.sleep(1)
        await raw.send(("", "mon1", name))
        assert tuple((await raw.receive(1))[0][:4]) == ("", "kil0", name, "die")


@where
async def test_a_monitor_of_a_start_misses_nothing(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    """A death that follows at once is told with its reason; one of a start that fails is raised alone."""
    async with both(local) as (b, there):
        runtime, told = b._runtime, Notices()

        async def start(function: str) -> RemoteStarted:
            return await start_on(
                *(runtime, b._spawner, there, f"{HERE}:{function}", ()),
                epoch=12,
                died=told,
            )

        started = await start("starts_and_returns")
        assert await told.wait() == ()
        assert started.shutdown_timeout == b._runtime.settings.shutdown_timeout
        told.reasons.clear()
        await start("starts_twice")
        assert "called twice" in (await told.wait())[1]
        told.reasons.clear()
        with pytest.raises(PortDied):
            await start("fails")
        await trio.sleep(1)
        assert not told.reasons
        assert (await start("serves")).value == [12]


async def test_the_answer_says_how_long_that_node_unwinds(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", spawn_modules=[HERE], shutdown_timeout=7.5),
        open_test_node(network, "b", seeds=["a"], shutdown_timeout=3) as b,
    ):
        started = await start_on(b._runtime, b._spawner, "a", f"{HERE}:serves", ())
        assert started.shutdown_timeout == 7.5


@where
async def test_a_value_that_cannot_travel(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there):
        value = (await b.start_on(there, f"{HERE}:says_what_cannot_travel")).value
        if local:
            assert type(value["here"]) is object
        else:
            assert 'value["here"]' in value


async def test_what_is_refused_at_the_call(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(FakeNetwork()) as (a, b):
        with pytest.raises(ValueError, match="expected the name of a function"):
            await b.start_on("a", "serves")
        with pytest.raises(TypeError, match=r"arguments\[1\]"):
            await b.start_on("a", f"{HERE}:serves", 1, object())
        with pytest.raises(RuntimeError, match=r"start_on\(linked=True\)"):
            await b.start_on("a", f"{HERE}:serves", linked=True)
        assert not a._lifecycle.ports
        assert not b._spawner.starts._awaited


# Cancellation --------------------------------------------------------------------------------------------------------


@where
async def test_a_cancelled_start_has_unwound_first(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there):
        told = Notices()
        begun = trio.current_time()
        with trio.move_on_after(1) as scope:
            await start_on(
                *(b._runtime, b._spawner, there, f"{HERE}:never_starts", (2,)),
                died=told,
            )
        assert scope.cancelled_caught
        assert ended == ["never_starts"]
        assert trio.current_time() - begun == pytest.approx(3)
        assert not told.reasons


async def test_a_cancelled_start_whose_port_does_not_unwind(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(FakeNetwork(), shutdown_timeout=4) as (_, b):
        begun = trio.current_time()
        with trio.move_on_after(1) as scope:
            await b.start_on("a", f"{HERE}:never_starts", 100)
        assert scope.cancelled_caught
        assert trio.current_time() - begun == pytest.approx(5)


async def test_a_cancelled_start_at_a_node_that_does_not_answer_is_bounded(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "m", shutdown_timeout=4, heartbeat=2) as m,
        open_test_node(network, "a"),
    ):
        raw = await connect_raw(network, "0")
        await until(lambda: m.peers)
        async with trio.open_nursery() as nursery:

            async def live() -> None:
                while True:
                    await raw.send(("", ""))
                    await trio.sleep(1)

            nursery.start_soon(live)
            begun = trio.current_time()
            with trio.move_on_after(1) as scope:
                await m.start_on("0", f"{HERE}:serves")
            assert scope.cancelled_caught
            assert trio.current_time() - begun == pytest.approx(1 + 4 + 3 * 2)
            assert any("its start was cancelled 10 s ago" in line for line in warnings_in(caplog))
            nursery.cancel_scope.cancel()
        raw.pipe.close()


async def test_a_cancelled_start_without_a_connection_waits_for_none(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b", seeds=["a"]) as b:
        begun = trio.current_time()
        with trio.move_on_after(1) as scope:
            await b.start_on("a", f"{HERE}:never_starts")
        assert scope.cancelled_caught
        assert trio.current_time() - begun == pytest.approx(1)
        async with open_test_node(network, "a", spawn_modules=[HERE]) as a:
            await until(lambda: b.peers)
            assert await b.call("a", "info") == ("a",)
            await trio.lowlevel.checkpoint()
            assert not a._lifecycle.ports
            assert not ended, "what is dead already does not run"


@where
@pytest.mark.parametrize("asker", ["block", "port", "outside"])
async def test_a_start_is_cancelled_together_with_its_node(
    autojump_clock: trio.testing.MockClock, local: bool, asker: str
) -> None:
    """Whoever waits, shielded, for what the node's tasks have to tell."""
    network = FakeNetwork()
    errors: list[BaseException] = []

    async def wait(port: Port | None = None) -> None:
        try:
            await b.start_on("b" if local else "a", f"{HERE}:never_starts", 1)
        except BaseException as error:
            errors.append(error)
            raise

    async with open_test_node(network, "a", spawn_modules=[HERE]) as a:
        with trio.move_on_after(5) as scope:
            async with trio.open_nursery() as nursery, open_test_node(network, "b", seeds=["a"]) as b:
                if asker == "outside":
                    nursery.start_soon(wait)
                elif asker == "port":
                    b.start_port(wait)
                else:
                    await wait()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() <= 6.1
        await until(lambda: ended == ["never_starts"])
        assert not a._lifecycle.ports
    assert [type(error) for error in errors] == [trio.Cancelled]


async def test_a_port_that_dies_while_it_waits_for_a_start(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(FakeNetwork()) as (a, b):

        async def wait(port: Port) -> None:
            await b.start_on("a", f"{HERE}:never_starts", 1)

        port = b.start_port(wait)
        await until(lambda: a._lifecycle.ports)
        b.kill(port, "why")
        assert await b.wait_death(port) == ("why",)
        assert ended == ["never_starts"]
        assert not a._lifecycle.ports


# Lost connections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("linked", [False, True])
async def test_a_lost_connection_ends_a_start_at_both_ends(
    autojump_clock: trio.testing.MockClock, linked: bool
) -> None:
    network = FakeNetwork()
    async with pair(network) as (a, b):
        caught: list[PortDied] = []

        async def wait(port: Port) -> None:
            try:
                await b.start_on("a", f"{HERE}:never_starts", linked=linked)
            except PortDied as error:
                caught.append(error)

        port = b.start_port(wait)
        await until(lambda: a._lifecycle.ports)
        network.wire.reset()
        await until(lambda: caught)
        assert caught[0].reason[:2] == ("transport_error", "a")
        await until(lambda: ended == ["never_starts"])
        assert await b.wait_death(port) in {(), ("no_such_port", f"there is no port {port}")}


class Waiting:
    """A task of a node's block that waits for a start, and what has come of it."""

    def __init__(self, node: Node, nursery: trio.Nursery, where: str, function: str, *arguments: Any) -> None:
        self.outcomes: list[Started[str] | PortDied] = []
        nursery.start_soon(self._wait, node, where, function, arguments)

    async def _wait(self, node: Node, where: str, function: str, arguments: tuple[Any, ...]) -> None:
        try:
            self.outcomes.append(await node.start_on(where, f"{HERE}:{function}", *arguments))
        except PortDied as error:
            self.outcomes.append(error)

    async def reason(self) -> tuple[Any, ...]:
        await until(lambda: self.outcomes)
        (died,) = self.outcomes
        assert isinstance(died, PortDied)
        return died.reason


async def test_a_port_whose_answer_is_lost_dies(autojump_clock: trio.testing.MockClock) -> None:
    """It has started, but nobody knows: it would be left behind."""
    network = FakeNetwork()
    async with pair(network) as (a, b), trio.open_nursery() as nursery:
        waiting = Waiting(b, nursery, "a", "takes_a_while")
        await until(lambda: a._lifecycle.ports)
        await trio.sleep(8)
        network.wire.back.black_hole = True
        await trio.sleep(4)
        assert not ended
        network.wire.reset()
        assert (await waiting.reason())[0] == "transport_error"
        await until(lambda: ended == ["takes_a_while"], 30)


@pytest.mark.parametrize("linked", [False, True])
async def test_a_port_that_has_started_outlives_a_connection_unless_it_is_linked(
    autojump_clock: trio.testing.MockClock, linked: bool
) -> None:
    network = FakeNetwork()
    async with pair(network) as (a, b):
        started: list[Started[str]] = []

        async def wait(port: Port) -> None:
            started.append(await b.start_on("a", f"{HERE}:serves", linked=linked))
            await trio.sleep_forever()

        parent = b.start_port(wait)
        await until(lambda: started and not a._spawner.starts._guards)
        network.wire.reset()
        await until(lambda: not b.peers)
        await until(lambda: b.peers)
        await trio.sleep(1)
        assert ended == (["serves"] if linked else [])
        assert parent.alive is not linked


@where
async def test_a_linked_start_that_fails_kills_nobody(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there):
        survived: list[bool] = []

        async def try_it(port: Port) -> None:
            for function in ("fails", "missing", "returns"):
                with pytest.raises(PortDied):
                    await b.start_on(there, f"{HERE}:{function}", linked=True)
            await trio.sleep(1)
            survived.append(port.alive)

        await b.wait_death(b.start_port(try_it))
        assert survived == [True]


@where
async def test_a_linked_start_ties_both(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there):
        started: list[str] = []

        async def parent(port: Port) -> None:
            started.append((await b.start_on(there, f"{HERE}:serves", linked=True)).port)
            await trio.sleep_forever()

        first, second = b.start_port(parent), b.start_port(parent)
        await until(lambda: len(started) == 2)
        b.kill(started[0], "child")
        told = Notices()
        b.monitor(started[1], told)
        await until(lambda: first.alive + second.alive == 1)
        b.kill(second if second.alive else first, "parent")
        # Of the two the one is left whose child was not killed.
        assert await told.wait() == ("parent",)


async def test_the_parent_of_a_linked_start_dies_before_it_has_started(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(FakeNetwork()) as (a, b):

        async def parent(port: Port) -> None:
            await b.start_on("a", f"{HERE}:never_starts", linked=True)

        port = b.start_port(parent)
        await until(lambda: a._lifecycle.ports)
        b.kill(port, "why")
        await until(lambda: ended)
        assert not a._lifecycle.ports


async def test_a_start_at_a_node_that_is_never_reached(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_node(FakeNetwork(), "b", seeds=["a"]) as b:
        with pytest.raises(PortDied) as caught:
            await b.start_on("a", f"{HERE}:serves")
        assert caught.value.reason[:2] == ("transport_error", "a")


# Nodes that close ----------------------------------------------------------------------------------------------------


async def test_a_start_at_a_node_that_closes(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b") as b, trio.open_nursery() as nursery:
        async with open_test_node(network, "a", seeds=["b"], spawn_modules=[HERE]) as a:
            await until(lambda: b.peers)
            waiting = Waiting(b, nursery, "a", "never_starts", 2)
            await until(lambda: a._lifecycle.ports)
            closed = trio.current_time()
        assert await waiting.reason() == ("node_closed", "a")
        assert trio.current_time() - closed < 3


async def test_a_start_that_comes_while_a_node_closes(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b") as b, trio.open_nursery() as nursery:
        async with open_test_node(network, "a", seeds=["b"], spawn_modules=[HERE]) as a:
            await until(lambda: b.peers)
            slow = await b.start_on("a", f"{HERE}:takes_a_while_to_end")
            b.monitor(slow.port, lambda *_: None)
            waiting: list[Waiting] = []
            nursery.start_soon(_start_in_a_second, b, nursery, waiting)
        assert a._runtime.closed
        assert await waiting[0].reason() == ("spawn_failed", "a is closing")


async def _start_in_a_second(node: Node, nursery: trio.Nursery, waiting: list[Waiting]) -> None:
    await trio.sleep(1)
    waiting.append(Waiting(node, nursery, "a", "serves"))


@spawnable
async def takes_a_while_to_end(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)


async def test_the_asker_closes_while_a_port_starts(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", spawn_modules=[HERE]) as a,
        trio.open_nursery() as nursery,
    ):
        async with open_test_node(network, "b", seeds=["a"]) as b:
            waiting = Waiting(b, nursery, "a", "never_starts")
            await until(lambda: a._lifecycle.ports)
        assert (await waiting.reason())[:2] == ("transport_error", "a")
        await until(lambda: ended == ["never_starts"])


# What others say -----------------------------------------------------------------------------------------------------


async def test_a_node_of_an_older_version_is_an_error_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """It ignores the word, and says of the port, which is monitored right behind, that there is none."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, a_member(network, a) as raw, trio.open_nursery() as nursery:
        waiting = Waiting(a, nursery, "0", "serves")
        (start, monitor) = (await raw.receive(2))[:2]
        assert tuple(start[:2]) == ("", "start")
        assert tuple(monitor) == ("", "mon1", start[2])
        await raw.send(("", "kil0", start[2], "no_such_port", f"there is no port 0#{start[2]}"))
        reason = await waiting.reason()
        assert reason[0] == "spawn_failed"
        assert "0 does not understand start_on()" in str(reason[1])


async def test_an_answer_of_another_node_means_nothing(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a") as a,
        a_member(network, a, "0") as asked,
        a_member(network, a, "1") as other,
        trio.open_nursery() as nursery,
    ):
        waiting = Waiting(a, nursery, "0", "serves")
        (start,) = (await asked.receive(1))[:1]
        await other.send(("", "started", start[2], "a lie", 5.0))
        await trio.sleep(1)
        assert not waiting.outcomes
        await asked.send(("", "started", start[2], "the truth", 5.0), ("", "started", start[2], "again", 5.0))
        await until(lambda: waiting.outcomes)
        assert waiting.outcomes == [Started(f"0#{start[2]}", "the truth")]
        keeps = [message for message in await asked.receive(4) if message[1] == "keep"]
        assert [tuple(message) for message in keeps] == [("", "keep", start[2])]


async def test_an_answer_that_nobody_waits_for_means_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, a_member(network, a) as raw:
        await raw.send(("", "started", "A" * 16, 1, 5.0), ("", "keep", "A" * 16))
        await trio.sleep(1)
        assert a.peers == ("0",)
        assert not warnings_in(caplog)


async def test_only_who_has_asked_can_keep_a_port(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", spawn_modules=[HERE]) as a,
        a_member(network, a, "0") as asker,
        a_member(network, a, "1") as other,
    ):
        name = asker.name_to_spawn(1)
        await asker.send(("", "start", name, f"{HERE}:serves", None, None))
        await until(lambda: a._spawner.starts._guards)
        await other.send(("", "keep", name))
        await trio.sleep(1)
        asker.pipe.close()
        await until(lambda: ended == ["serves"])


async def test_an_answer_goes_to_who_has_asked(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", spawn_modules=[HERE]) as a, a_member(network, a) as raw:
        await raw.send(("", "start", raw.name_to_spawn(1), f"{HERE}:serves", None, 3, "x"))
        assert tuple((await raw.receive(1))[0]) == ("", "started", raw.name_to_spawn(1), ["x", 3], 5.0)
        # Tied to a port of another node: its monitors, which the request has set, are told.
        await raw.send(("", "start", raw.name_to_spawn(2), f"{HERE}:serves", f"x#{'A' * 16}", None))
        refused = (await raw.receive(2))[1]
        assert tuple(refused[:4]) == ("", "kil0", raw.name_to_spawn(2), "spawn_failed")
        assert "its own ports only" in refused[4]


async def test_the_limits_hold_for_ports_that_are_started(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(FakeNetwork(), port_limit=2) as (_, b):
        started = [await b.start_on("a", f"{HERE}:serves") for _ in range(2)]
        with pytest.raises(PortDied, match="2 ports on this node, the limit"):
            await b.start_on("a", f"{HERE}:serves")
        b.kill(started[0].port)
        await b.wait_death(started[0].port)
        await b.start_on("a", f"{HERE}:serves")
    async with pair(FakeNetwork(), monitor_limit=2) as (a, b):
        for _ in range(2):
            b.monitor((await b.start_on("a", f"{HERE}:serves")).port, lambda *_: None)
        with pytest.raises(PortDied, match="a node may monitor 2 ports"):
            await b.start_on("a", f"{HERE}:serves")
        assert len(a._lifecycle.ports) == 2


async def test_nothing_is_left_of_starts_that_are_over(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with pair(network) as (a, b):
        for function in ("serves", "starts_and_returns", "handles", "kills_itself"):
            await b.start_on("a", f"{HERE}:{function}")
        for function in ("fails", "returns", "missing"):
            with pytest.raises(PortDied):
                await b.start_on("a", f"{HERE}:{function}")
        with trio.move_on_after(1):
            await b.start_on("a", f"{HERE}:never_starts")
        await trio.sleep(1)
        assert not a._spawner.starts._guards
        assert not b._spawner.starts._awaited
        assert not peer_of(a, "b").association.outbox.monitors
        assert not peer_of(b, "a").association.outbox.monitors
        words = [message[1] for message in requests_in(network.wire.there.sent) if message[:1] == ("",)]
        assert words.count("keep") == 4
