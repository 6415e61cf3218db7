"""Channels between two nodes and within one: what Trio asks of its channels, and what the docs promise beyond that."""

# ruff: noqa: PT012 - what leaves a whole block is what many of these tests are about

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, RawPeer, a_member, open_pair, open_test_node, warnings_in

from trio_mp import ChannelReceiver, ChannelSender, Node, PortDied, current_node, current_port, spawnable

HERE = __name__

told: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_is_told() -> Iterator[None]:
    told.clear()
    yield
    told.clear()


@spawnable
async def echoes(receive: ChannelReceiver[Any], send: ChannelSender[Any], *arguments: Any) -> None:
    for argument in arguments:
        await send.send(argument)
    async for item in receive:
        await send.send(item)


@spawnable
async def collects(receive: ChannelReceiver[Any], send: ChannelSender[Any]) -> None:
    """Take items only when the test says so; tell what has come."""
    current_node().context["collector"] = receive, send
    await trio.sleep_forever()


@spawnable
async def drains(receive: ChannelReceiver[Any], send: ChannelSender[Any]) -> None:
    try:
        while True:
            told.append(await receive.receive())
    except trio.BrokenResourceError as error:
        told.append(error.__cause__)
        raise
    except trio.EndOfChannel:
        told.append("the end")


@spawnable
async def counts(receive: ChannelReceiver[Any], send: ChannelSender[Any], number: int) -> None:
    for item in range(number):
        await send.send(item)


@spawnable
async def fails_after(receive: ChannelReceiver[Any], send: ChannelSender[Any], number: int) -> None:
    for item in range(number):
        await send.send(item)
    raise ValueError("enough")


@spawnable
async def is_killed_after(receive: ChannelReceiver[Any], send: ChannelSender[Any], number: int) -> None:
    for item in range(number):
        await send.send(item)
    current_port().kill()
    await trio.sleep_forever()


@spawnable
async def takes_one(receive: ChannelReceiver[Any], send: ChannelSender[Any]) -> None:
    told.append(await receive.receive())
    await receive.aclose()
    await trio.sleep_forever()


@spawnable
async def floods(receive: ChannelReceiver[Any], send: ChannelSender[Any]) -> None:
    try:
        while True:
            await send.send(0)
    except trio.BrokenResourceError as error:
        told.append(error.__cause__)
        raise


@spawnable
async def yields() -> AsyncGenerator[int, None]:
    yield 1


@spawnable
def is_sync(receive: object, send: object) -> None: ...


async def not_released(receive: object, send: object) -> None: ...


def pair(network: FakeNetwork, **settings: Any) -> Any:
    return open_pair(network, spawn_modules=[HERE], context={}, **settings)


@asynccontextmanager
async def both(local: bool, **settings: Any) -> AsyncGenerator[tuple[Node, str, Node], None]:
    """A node, and the node on which it opens channels, by ID and itself: perhaps the same."""
    async with pair(FakeNetwork(), **settings) as (a, b):
        yield b, ("b" if local else "a"), (b if local else a)


where = pytest.mark.parametrize("local", [True, False], ids=["here", "there"])


@where
async def test_items_go_both_ways_in_order(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there, _), b.open_channel(there, f"{HERE}:echoes", "first") as (send, receive):
        assert await receive.receive() == "first"

        async def send_all() -> None:
            async with send:
                for number in range(1000):
                    await send.send(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all)
            assert [item async for item in receive] == list(range(1000))
        with pytest.raises(trio.EndOfChannel):
            await receive.receive()
        with pytest.raises(trio.EndOfChannel):
            receive.receive_nowait()


@where
async def test_a_sender_waits_for_the_receiver(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with (
        both(local) as (b, there, node),
        b.open_channel(there, f"{HERE}:collects", buffer=4) as (send, _),
    ):
        for number in range(4):
            send.send_nowait(number)
        with pytest.raises(trio.WouldBlock):
            send.send_nowait(4)
        sent: list[int] = []

        async def go_on() -> None:
            for number in range(4, 20):
                await send.send(number)
                sent.append(number)

        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            await trio.sleep(1)
            far, _ = node.context["collector"]
            assert not sent
            assert send.statistics().tasks_waiting == 1
            assert far.statistics().current_buffer_used == 4
            for number in range(20):
                assert await far.receive() == number
            await trio.sleep(1)
        assert sent == list(range(4, 20))
        with pytest.raises(trio.WouldBlock):
            far.receive_nowait()


async def test_bytes_count_between_nodes(autojump_clock: trio.testing.MockClock) -> None:
    """What is larger than all credit passes, but alone; and small items do not pass a large one that waits."""
    async with (
        both(False) as (b, there, a),
        b.open_channel(there, f"{HERE}:collects", buffer_size=1000) as (send, _),
    ):
        send.send_nowait(b"x" * 600)
        with pytest.raises(trio.WouldBlock):
            send.send_nowait(b"y" * 600)
        send.send_nowait("z" * 400)
        assert send.statistics().current_buffer_size == 1000
        await trio.sleep(1)
        far, _ = a.context["collector"]
        order: list[int] = []

        async def send_one(item: bytes) -> None:
            await send.send(item)
            order.append(len(item))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_one, b"L" * 5000)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(send_one, b"s")
            await trio.sleep(1)
            assert await far.receive() == b"x" * 600
            await trio.sleep(1)
            with pytest.raises(trio.WouldBlock):
                send.send_nowait(b"")
            assert order == []
            assert await far.receive() == "z" * 400
            await trio.sleep(1)
            assert order == [5000]
            assert await far.receive() == b"L" * 5000
            await trio.sleep(1)
            assert order == [5000, 1]
            assert await far.receive() == b"s"


async def test_a_large_item_that_is_called_off_lets_small_ones_pass(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        both(False) as (b, there, a),
        b.open_channel(there, f"{HERE}:collects", buffer_size=1000) as (send, _),
    ):
        send.send_nowait(b"x" * 600)
        done = False

        async def send_small() -> None:
            nonlocal done
            await send.send(b"s" * 400)
            done = True

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(1) as scope:
                nursery.start_soon(trio.sleep, 0)
                async with trio.open_nursery() as inner:
                    inner.start_soon(send.send, b"L" * 500)
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(send_small)
                    await trio.testing.wait_all_tasks_blocked()
                    assert send.statistics().tasks_waiting == 2
            assert scope.cancelled_caught
            await trio.sleep(0.5)
            assert done
        await trio.sleep(1)
        far, _ = a.context["collector"]
        assert [await far.receive(), await far.receive()] == [b"x" * 600, b"s" * 400]
        with trio.move_on_after(1):
            raise AssertionError(await far.receive())


async def test_a_task_that_is_woken_by_credit_comes_before_others(autojump_clock: trio.testing.MockClock) -> None:
    """Credit has come, and the task that has waited for it has not run yet: nobody may use that moment."""
    async with both(False) as (b, there, a):
        for _ in range(10):  # which of two tasks runs first is left to chance
            async with b.open_channel(there, f"{HERE}:collects", buffer=2) as (send, _):
                send.send_nowait(0)
                send.send_nowait(1)

                async def send_at_once(send: ChannelSender[Any] = send) -> None:
                    while True:
                        with contextlib.suppress(trio.WouldBlock):
                            send.send_nowait("behind")
                            break
                        await trio.lowlevel.checkpoint()

                await trio.sleep(1)
                far, _ = a.context["collector"]
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send.send, "first")
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(send_at_once)
                    for expected in (0, 1, "first", "behind"):
                        assert await far.receive() == expected


@where
async def test_credit_for_several_is_used_by_all_who_wait(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with (
        both(local) as (b, there, a),
        b.open_channel(there, f"{HERE}:collects", buffer=4) as (send, _),
        trio.open_nursery() as nursery,
    ):
        for number in range(6):
            nursery.start_soon(send.send, number)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        assert send.statistics().tasks_waiting == 2
        far, _ = a.context["collector"]
        assert [await far.receive(), await far.receive()] == [0, 1]
        await trio.sleep(1)
        assert send.statistics().tasks_waiting == 0
        assert [await far.receive() for _ in range(4)] == [2, 3, 4, 5]


async def test_a_clone_is_closed_before_the_task_runs_that_was_woken_by_credit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The task raises and has sent nothing, or it was quicker and has sent its item."""
    async with both(False) as (b, there, a):
        for _ in range(10):
            async with b.open_channel(there, f"{HERE}:collects", buffer=2) as (send, _):
                clone = send.clone()
                send.send_nowait(0)
                send.send_nowait(1)
                sent = True

                async def send_by_clone(clone: ChannelSender[Any] = clone) -> None:
                    nonlocal sent
                    try:
                        await clone.send("by the clone")
                    except trio.ClosedResourceError:
                        sent = False

                await trio.sleep(1)
                far, _ = a.context["collector"]
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_by_clone)
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(far.receive)
                    while send.statistics().current_buffer_used == 2 and send.statistics().tasks_waiting:
                        await trio.lowlevel.checkpoint()
                    clone.close()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send.send, "behind")
                    assert await far.receive() == 1
                    if sent:
                        assert await far.receive() == "by the clone"
                    assert await far.receive() == "behind"


@where
async def test_a_cancelled_send_has_sent_nothing_and_cost_nothing(
    autojump_clock: trio.testing.MockClock, local: bool
) -> None:
    async with (
        both(local) as (b, there, node),
        b.open_channel(there, f"{HERE}:collects", buffer=2) as (send, receive),
    ):
        send.send_nowait(1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await send.send("never")
        assert scope.cancelled_caught
        send.send_nowait(2)
        with trio.move_on_after(1) as scope:
            await send.send("never")
        assert scope.cancelled_caught
        assert send.statistics().current_buffer_used == 2
        await trio.sleep(1)
        far, far_send = node.context["collector"]
        assert [await far.receive(), await far.receive()] == [1, 2]
        await trio.sleep(1)
        assert send.statistics().current_buffer_used == 0
        with trio.move_on_after(1) as scope:
            await receive.receive()
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            far_send.send_nowait("kept")
            await receive.receive()
        assert scope.cancelled_caught
        assert await receive.receive() == "kept"


@where
async def test_the_end_comes_behind_all_items_when_the_last_clone_is_closed(
    autojump_clock: trio.testing.MockClock, local: bool
) -> None:
    async with (
        both(local) as (b, there, _),
        b.open_channel(there, f"{HERE}:drains") as (send, _),
    ):
        other = send.clone()
        with other:
            other.send_nowait(1)
        with pytest.raises(trio.ClosedResourceError):
            other.send_nowait(2)
        with pytest.raises(trio.ClosedResourceError):
            await other.send(2)
        with pytest.raises(trio.ClosedResourceError):
            other.clone()
        await trio.sleep(1)
        assert told == [1]
        assert send.statistics().open_clones == 1
        send.send_nowait(3)
        await send.aclose()
        await send.aclose()
        await trio.sleep(1)
        assert told == [1, 3, "the end"]


@where
async def test_leaving_the_block_ends_the_channel_behind_what_was_sent(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, local: bool
) -> None:
    async with both(local) as (b, there, node):
        async with b.open_channel(there, f"{HERE}:drains") as (send, receive):
            for number in range(64):
                send.send_nowait(number)
        assert repr(send).startswith("<ChannelSender (closed)")
        with pytest.raises(trio.ClosedResourceError):
            await receive.receive()
        await trio.sleep(1)
        assert told == [*range(64), "the end"]
        assert not node._lifecycle.ports
        assert not b._lifecycle.ports
    assert not warnings_in(caplog)


@where
async def test_leaving_the_block_by_an_exception_breaks_the_channel(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, local: bool
) -> None:
    async with both(local) as (b, there, node):
        with pytest.raises(KeyError):
            async with b.open_channel(there, f"{HERE}:drains") as (send, _):
                send.send_nowait(1)
                raise KeyError("no more")
        await trio.sleep(1)
        assert told[0] == 1
        assert isinstance(told[1], PortDied)
        assert told[1].reason[0] == "die"
        assert "KeyError: 'no more'" in str(told[1].reason[1])
        told.clear()
        with trio.move_on_after(1):
            async with b.open_channel(there, f"{HERE}:drains") as (send, _):
                await trio.sleep_forever()
        await trio.sleep(1)
        assert told[0].reason == ("channel_broken", "its block was left by Cancelled")
        assert not node._lifecycle.ports
    # That it ends so is what the other side wanted.
    assert not warnings_in(caplog)


@where
async def test_an_exception_over_there_breaks_the_channel_behind_what_was_sent(
    autojump_clock: trio.testing.MockClock, local: bool
) -> None:
    async with (
        both(local) as (b, there, _),
        b.open_channel(there, f"{HERE}:fails_after", 3) as (send, receive),
    ):
        await trio.sleep(1)
        assert [await receive.receive() for _ in range(3)] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="ValueError: enough") as caught:
                await receive.receive()
            assert isinstance(caught.value.__cause__, PortDied)
            assert caught.value.__cause__.reason[0] == "die"
        with pytest.raises(trio.BrokenResourceError):
            receive.receive_nowait()
        with pytest.raises(trio.BrokenResourceError, match="ValueError: enough"):
            await send.send(1)


@where
async def test_a_normal_death_is_no_end(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    """What kills the port has not said that there is no more."""
    async with (
        both(local) as (b, there, _),
        b.open_channel(there, f"{HERE}:is_killed_after", 2) as (_, receive),
    ):
        assert [await receive.receive() for _ in range(2)] == [0, 1]
        with pytest.raises(trio.BrokenResourceError) as caught:
            await receive.receive()
        assert isinstance(caught.value.__cause__, PortDied)
        assert caught.value.__cause__.reason == ()


@where
async def test_a_function_that_returns_has_said_the_end(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there, _), b.open_channel(there, f"{HERE}:counts", 5) as (send, receive):
        await trio.sleep(1)
        with pytest.raises(trio.BrokenResourceError, match="takes nothing"):
            await send.send(1)
        assert [item async for item in receive] == [0, 1, 2, 3, 4]


@where
async def test_a_receiver_that_is_closed_breaks_the_sender(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there, _), b.open_channel(there, f"{HERE}:takes_one", buffer=3) as (send, receive):
        with pytest.raises(trio.BrokenResourceError, match="takes nothing") as caught:
            while True:
                await send.send(7)
        assert caught.value.__cause__ is None
        assert told == [7]
        # The other direction goes on.
        with pytest.raises(trio.WouldBlock):
            receive.receive_nowait()


@where
async def test_a_task_that_waits_to_send_is_told_that_the_receiver_is_closed(
    autojump_clock: trio.testing.MockClock, local: bool
) -> None:
    async with both(local) as (b, there, node), b.open_channel(there, f"{HERE}:collects", buffer=1) as (send, _):
        await send.send(1)
        far = node.context["collector"][0]

        async def close() -> None:
            await trio.sleep(1)
            twin = far.clone()
            await far.aclose()
            await trio.sleep(1)
            assert send.statistics().tasks_waiting == 2
            await twin.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            for _ in range(2):
                nursery.start_soon(is_broken, send)
        with pytest.raises(trio.ClosedResourceError):
            far.receive_nowait()
        with pytest.raises(trio.ClosedResourceError):
            far.clone()


async def is_broken(send: ChannelSender[Any]) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await send.send(2)


@where
async def test_closing_an_end_wakes_the_tasks_that_use_it(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there, node), b.open_channel(there, f"{HERE}:collects", buffer=1) as (send, receive):
        twin, second = send.clone(), receive.clone()
        await send.send(1)

        async def is_closed(use: Any, *arguments: Any) -> None:
            with pytest.raises(trio.ClosedResourceError, match="another task"):
                await use(*arguments)

        got: list[Any] = []

        async def gets() -> None:
            got.append(await second.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(is_closed, send.send, "never")
            nursery.start_soon(is_closed, receive.receive)
            nursery.start_soon(gets)
            nursery.start_soon(twin.send, 2)
            await trio.testing.wait_all_tasks_blocked()
            await send.aclose()
            await receive.aclose()
            await trio.testing.wait_all_tasks_blocked()
            far, far_send = node.context["collector"]
            assert [await far.receive(), await far.receive()] == [1, 2]
            await far_send.send("for the clone")
        assert got == ["for the clone"]


@where
async def test_several_tasks_send_and_receive_in_the_order_in_which_they_came(
    autojump_clock: trio.testing.MockClock, local: bool
) -> None:
    async with both(local) as (b, there, node), b.open_channel(there, f"{HERE}:collects", buffer=1) as (send, receive):
        await send.send("first")
        got: list[int] = []

        async def receive_one(number: int) -> None:
            assert await receive.receive() == number
            got.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(send.send, number)
                nursery.start_soon(receive_one, number)
                await trio.testing.wait_all_tasks_blocked()
            far, far_send = node.context["collector"]
            assert await far.receive() == "first"
            for number in range(20):
                assert await far.receive() == number
                await far_send.send(number)
        assert sorted(got) == list(range(20))


@pytest.mark.parametrize("local", [False], ids=["there"])
async def test_an_item_that_cannot_travel_costs_nothing(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there, node), b.open_channel(there, f"{HERE}:collects", buffer=1) as (send, _):
        with pytest.raises(TypeError, match=r'item\["here"\]'):
            send.send_nowait({"here": object()})
        with pytest.raises(ValueError, match="64 bits"):
            await send.send(2**70)
        circle: list[Any] = []
        circle += [circle, circle]
        with pytest.raises((TypeError, ValueError)):
            send.send_nowait(circle)
        send.send_nowait(1)

        async def cannot() -> None:
            with pytest.raises(TypeError, match="item"):
                await send.send(object())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cannot)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(send.send, 2)
            await trio.testing.wait_all_tasks_blocked()
            far = node.context["collector"][0]
            assert [await far.receive(), await far.receive()] == [1, 2]


async def test_within_a_node_the_very_objects_are_handed_over(autojump_clock: trio.testing.MockClock) -> None:
    async with both(True) as (b, there, node), b.open_channel(there, f"{HERE}:collects", buffer_size=1) as (send, _):
        item = object()
        send.send_nowait(item)
        send.send_nowait(b"x" * 1000)
        await trio.sleep(1)
        far = node.context["collector"][0]
        assert await far.receive() is item
        assert far.statistics().current_buffer_size == 0


@where
async def test_a_sender_with_credit_and_a_receiver_with_items_let_others_run(
    autojump_clock: trio.testing.MockClock, local: bool
) -> None:
    """Neither makes a full pass each time, and both make one each millisecond."""
    async with both(local) as (b, there, node):
        clock = [0.0]
        for one in {b, node}:
            one._lifecycle.clock = lambda: clock[0]
        async with b.open_channel(there, f"{HERE}:collects", buffer=100) as (send, _):
            await trio.sleep(1)
            far = node.context["collector"][0]
            for _ in range(50):
                await send.send(0)
            await trio.sleep(1)
            await far.receive()
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            for _ in range(40):
                await send.send(1)
                await far.receive()
            assert steps.count == 0
            for use, arguments in ((send.send, (1,)), (far.receive, ())):
                clock[0] += 0.0011
                with trio.testing.assert_checkpoints():
                    await use(*arguments)
                assert steps.count == 1
                steps.count = 0
            trio.lowlevel.remove_instrument(steps)


class Steps(trio.abc.Instrument):
    """Counts the steps of the task that has made it."""

    def __init__(self) -> None:
        self.count = 0
        self._task = trio.lowlevel.current_task()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self._task


# Openings ------------------------------------------------------------------------------------------------------------


@where
@pytest.mark.parametrize(
    "function, text",
    [
        ("is_sync", "not async"),
        ("not_released", "not @spawnable"),
        ("missing", "has no missing"),
        ("yields", "without `yield`"),
    ],
)
async def test_a_function_that_is_refused(
    autojump_clock: trio.testing.MockClock, local: bool, function: str, text: str
) -> None:
    async with both(local) as (b, there, node):
        with pytest.raises(PortDied, match=text) as caught:
            async with b.open_channel(there, f"{HERE}:{function}"):
                raise AssertionError("it was opened")
        assert caught.value.reason[0] == "spawn_failed"
        await trio.sleep(1)
        assert not node._lifecycle.ports
        assert not b._lifecycle.ports


@where
async def test_what_is_refused_at_the_call(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there, _):
        for error, text, function, arguments in (
            (ValueError, "buffer: expected 1 to", f"{HERE}:echoes", {"buffer": 0}),
            (TypeError, "buffer: expected an int", f"{HERE}:echoes", {"buffer": 1.5}),
            (TypeError, "buffer: expected an int", f"{HERE}:echoes", {"buffer": True}),
            (ValueError, "buffer_size: expected 1 to", f"{HERE}:echoes", {"buffer_size": 2**40}),
            (ValueError, "name of a function", "echoes", {}),
        ):
            with pytest.raises(error, match=text):
                async with b.open_channel(there, function, **arguments):
                    raise AssertionError("it was opened")
        assert not b._lifecycle.ports
        if not local:
            with pytest.raises(TypeError, match=r"arguments\[1\]"):
                async with b.open_channel(there, f"{HERE}:echoes", 1, object()):
                    raise AssertionError("it was opened")
            assert not b._lifecycle.ports


@where
async def test_opening_is_cancelled(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there, node):
        with trio.CancelScope() as scope:
            scope.cancel()
            async with b.open_channel(there, f"{HERE}:echoes"):
                raise AssertionError("it was opened")
        assert scope.cancelled_caught
        await trio.sleep(1)
        assert not node._lifecycle.ports
        assert not b._lifecycle.ports


# Losses --------------------------------------------------------------------------------------------------------------


async def test_a_lost_connection_breaks_both_ends_behind_what_has_arrived(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with pair(network) as (a, b), b.open_channel("a", f"{HERE}:collects") as (send, receive):
        await trio.sleep(1)
        far, far_send = a.context["collector"]
        await send.send(1)
        await far_send.send(2)
        await trio.sleep(1)
        network.wire.reset()
        await trio.sleep(1)
        for arrived, item, end in ((far, 1, far_send), (receive, 2, send)):
            assert await arrived.receive() == item
            with pytest.raises(trio.BrokenResourceError) as caught:
                await arrived.receive()
            assert isinstance(caught.value.__cause__, PortDied)
            assert caught.value.__cause__.reason[0] == "transport_error"
            with pytest.raises(trio.BrokenResourceError, match="is broken"):
                end.send_nowait(3)
    assert not warnings_in(caplog, logging.ERROR)


@pytest.mark.parametrize("which", ["opener", "other"])
async def test_a_node_that_closes_breaks_its_channels(autojump_clock: trio.testing.MockClock, which: str) -> None:
    network = FakeNetwork()
    context: dict[str, Any] = {}
    leave = trio.Event()

    async def run_opener(a: Node, *, task_status: trio.TaskStatus[None]) -> None:
        async with open_test_node(network, "b", seeds=["a"]) as b:

            async def use(port: object, *, task_status: trio.TaskStatus[None]) -> None:
                async with b.open_channel("a", f"{HERE}:collects") as (send, _):
                    context["sender"] = send
                    await send.send(1)
                    task_status.started()
                    await trio.sleep_forever()

            await b.start(use)
            task_status.started()
            await (leave if which == "opener" else trio.Event()).wait()

    async def run_other(*, task_status: trio.TaskStatus[Node]) -> None:
        async with open_test_node(network, "a", spawn_modules=[HERE], context=context) as a:
            task_status.started(a)
            await (leave if which == "other" else trio.Event()).wait()

    async with trio.open_nursery() as nursery:
        a = await nursery.start(run_other)
        await nursery.start(run_opener, a)
        await trio.sleep(1)
        far, _ = context["collector"]
        leave.set()
        await trio.sleep(1)
        if which == "opener":
            assert await far.receive() == 1
            with pytest.raises(trio.BrokenResourceError):
                await far.receive()
        else:
            with pytest.raises(trio.BrokenResourceError) as caught:
                await context["sender"].send(2)
            assert isinstance(caught.value.__cause__, PortDied)
            assert caught.value.__cause__.reason[0] in {"node_closed", "node_failed"}
        nursery.cancel_scope.cancel()


# What the other side may do ------------------------------------------------------------------------------------------


@asynccontextmanager
async def hostile(*opening: Any) -> AsyncGenerator[tuple[RawPeer, Node, str, str], None]:
    """A member that has opened a channel to a node as it likes, the node, and both ports' names."""
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", spawn_modules=[HERE], context={}, mailbox_limit=1000) as a,
        a_member(network, a) as raw,
    ):
        name = raw.name_to_spawn(1)
        near = f"{raw.node_id}#{'n' * 16}"
        arguments = [near if argument == "near" else argument for argument in opening]
        await raw.send(("", "start", name, "trio_mp:channel", None, None, *arguments))
        await trio.sleep(1)
        yield raw, a, name, near


@pytest.mark.parametrize(
    "opening",
    [
        (),
        (f"{HERE}:collects", "near", 4),
        (f"{HERE}:collects", "near", "4", 4),
        (f"{HERE}:collects", "near", 0, 4),
        (f"{HERE}:collects", "near", 4, 0),
        (f"{HERE}:collects", "near", 1001, 4),
        (f"{HERE}:collects", "near", 4, 2**60),
        (f"{HERE}:collects", "third#nnnnnnnnnnnnnnnn", 4, 4),
        (f"{HERE}:collects", "no port", 4, 4),
        (f"{HERE}:collects", "a", 4, 4),
        (f"{HERE}:missing", "near", 4, 4),
        ("os:system", "near", 4, 4),
    ],
)
async def test_an_opening_that_cannot_be(autojump_clock: trio.testing.MockClock, opening: tuple[Any, ...]) -> None:
    async with hostile(*opening) as (raw, a, name, _):
        assert [tuple(message[:4]) for message in await raw.receive(1)] == [("", "kil0", name, "spawn_failed")]
        assert not a._lifecycle.ports
        assert a.peers == (raw.node_id,)


@pytest.mark.parametrize(
    "words, text",
    [
        ([("item", 1)] * 5, "expected at most 4 items"),
        ([("item", b"x" * 60)] * 2, "100 bytes"),
        ([("credit", 1)], "items given back"),
        ([("credit", "1")], "a number of items"),
        ([("end",), ("item", 1)], "behind the end"),
        ([("what",)], "unhandled_message"),
        ([("item",)], "missing 1 required"),
    ],
)
async def test_words_that_no_side_says(
    autojump_clock: trio.testing.MockClock, words: list[tuple[Any, ...]], text: str
) -> None:
    """The port dies of them, both sides are told, and nothing else suffers."""
    async with hostile(f"{HERE}:collects", "near", 4, 100) as (raw, a, name, _):
        far, far_send = a.context["collector"]
        await raw.receive(1)
        await raw.send(*[(name, *each) for each in words])
        await trio.sleep(1)
        assert not a._lifecycle.ports
        with contextlib.suppress(trio.BrokenResourceError, trio.EndOfChannel):
            while True:
                far.receive_nowait()
        with pytest.raises(trio.BrokenResourceError, match=text):
            far_send.send_nowait(1)
        assert a.peers == (raw.node_id,)


async def test_items_for_a_receiver_that_is_closed_are_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with hostile(f"{HERE}:collects", "near", 4, 100) as (raw, a, name, _):
        far, _ = a.context["collector"]
        await raw.send((name, "item", 1))
        await trio.sleep(1)
        await far.aclose()
        assert far.statistics().current_buffer_used == 0
        await raw.send(*[(name, "item", number) for number in range(10)])
        await trio.sleep(1)
        assert len(a._lifecycle.ports) == 1


async def test_a_node_of_an_older_version_is_an_error_that_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async with both(False) as (b, _, a):
        a._spawner._provided.clear()
        for opening, word in ((b.open_channel, "open_channel"), (b.open_source, "open_source")):
            with pytest.raises(PortDied, match=rf"does not understand {word}\(\): it runs an older version"):
                async with opening("a", f"{HERE}:echoes"):
                    raise AssertionError("it was opened")
