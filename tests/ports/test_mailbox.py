"""Ports with a mailbox: `open_port`, `start_port`, selective receive and iteration."""

# ruff: noqa: PT012 - what leaves a whole block is what many of these tests are about

from __future__ import annotations

import pytest
import trio
from manual_clock import ManualClock
from reason_helpers import Died
from scheduler_passes import counting_passes
from trio.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from trio_mp import ANY, Port, PortDied, open_node
from trio_mp._ports.mailbox import Mailbox
from trio_mp._ports.port import state_of
from trio_mp._settings.environment import Environment
from trio_mp.lowlevel import open_node_in


async def test_receive_returns_the_whole_message() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port, "a", 1, 2)
        assert await port.receive() == ("a", 1, 2)
        node.send(port, "b", 3)
        assert await port.receive("b") == ("b", 3)


async def test_receive_waits_for_a_message() -> None:
    async with open_node() as node, node.open_port() as port, trio.open_nursery() as nursery:
        received: list[object] = []

        async def receive() -> None:
            received.append(await port.receive())

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert not received
        node.send(port, "a")
        await wait_all_tasks_blocked()
        assert received == [("a",)]


async def test_messages_are_received_in_order() -> None:
    async with open_node() as node, node.open_port() as port:
        for number in range(3000):
            node.send(port, number)
        assert [await port.receive() for _ in range(3000)] == [(number,) for number in range(3000)]


async def test_an_empty_message_is_received() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port)
        assert await port.receive() == ()


async def test_receive_takes_the_first_that_matches_and_leaves_the_others_in_order() -> None:
    async with open_node() as node, node.open_port() as port:
        for message in (("a", 1), ("b", 2), ("a", 3), ("b", 4), ("c", 5)):
            node.send(port, *message)
        assert await port.receive("b") == ("b", 2)
        assert await port.receive("c") == ("c", 5)
        assert await port.receive(ANY, 3) == ("a", 3)
        assert await port.receive() == ("a", 1)
        assert await port.receive() == ("b", 4)


async def test_a_waiting_receive_lets_pass_what_does_not_match() -> None:
    async with open_node() as node, node.open_port() as port, trio.open_nursery() as nursery:
        received: list[object] = []

        async def receive() -> None:
            received.append(await port.receive("b"))
            received.append(await port.receive())

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        node.send(port, "a")
        await wait_all_tasks_blocked()
        assert not received
        node.send(port, "b")
        await wait_all_tasks_blocked()
        assert received == [("b",), ("a",)]


async def test_receive_compares_unhashable_elements() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port, ["x"], 1)
        node.send(port, ["y"], 2)
        assert await port.receive(["y"]) == (["y"], 2)


async def test_handlers_come_before_the_mailbox() -> None:
    async with open_node() as node, node.open_port() as port:
        handled: list[object] = []
        port.on("handled")(handled.append)
        node.send(port, "handled", 1)
        node.send(port, "queued", 2)
        node.send(port, "handled", 3)
        assert await port.receive() == ("queued", 2)
        await wait_all_tasks_blocked()
        assert handled == [1, 3]


async def test_handlers_that_come_and_go_come_before_the_mailbox_while_they_are_there() -> None:
    async with open_node() as node, node.open_port() as port:
        handled: list[object] = []
        node.send(port, "x", 1)
        await wait_all_tasks_blocked()
        port.on("x")(handled.append)
        node.send(port, "x", 2)
        await wait_all_tasks_blocked()
        port.off("x")
        node.send(port, "x", 3)
        assert [await port.receive(), await port.receive()] == [("x", 1), ("x", 3)]
        assert handled == [2]


async def test_what_waits_for_an_async_handler_reaches_the_mailbox_after_it() -> None:
    async with open_node() as node, node.open_port() as port:
        go = trio.Event()

        @port.on("slow")
        async def slow() -> None:
            await go.wait()

        node.send(port, "slow")
        node.send(port, "queued")
        await wait_all_tasks_blocked()
        go.set()
        assert await port.receive() == ("queued",)


async def test_only_ports_with_a_mailbox_can_receive() -> None:
    async with open_node() as node:
        port = node.port()
        with pytest.raises(RuntimeError, match="a port with a mailbox"):
            await port.receive()
        with pytest.raises(RuntimeError, match="a port with a mailbox"):
            await Port(str(port)).receive()


async def test_receive_nowait_takes_the_first_that_matches_and_leaves_the_others_in_order() -> None:
    async with open_node() as node, node.open_port() as port:
        for message in (("a", 1), ("b", 2), ("a", 3), ("b", 4)):
            node.send(port, *message)
        with pytest.raises(trio.WouldBlock):
            port.receive_nowait("a")  # what was sent is delivered at a checkpoint
        await wait_all_tasks_blocked()
        assert port.receive_nowait("b") == ("b", 2)
        assert port.receive_nowait(ANY, 3) == ("a", 3)
        with pytest.raises(trio.WouldBlock):
            port.receive_nowait("c")
        assert port.receive_nowait() == ("a", 1)
        assert await port.receive() == ("b", 4)
        with pytest.raises(trio.WouldBlock):
            port.receive_nowait()


async def test_receive_nowait_is_no_checkpoint() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port, "a")
        await wait_all_tasks_blocked()
        with assert_no_checkpoints():
            assert port.receive_nowait() == ("a",)


async def test_receive_nowait_raises_as_receive_does() -> None:
    async with open_node() as node:
        with pytest.raises(RuntimeError, match="a port with a mailbox"):
            node.port().receive_nowait()
        with pytest.raises(RuntimeError, match="a port with a mailbox"):
            Port("node#port").receive_nowait()
        async with node.open_port() as port, trio.open_nursery() as nursery:
            nursery.start_soon(port.receive, "a")
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="another task is already receiving"):
                port.receive_nowait("b")
            node.send(port, "a")
        with pytest.raises(PortDied) as caught:
            port.receive_nowait()
        assert caught.value.reason == ()


async def test_receive_nowait_leaves_the_cause_of_a_death_to_the_task_that_waits() -> None:
    async with open_node() as node, node.open_port() as port, trio.open_nursery() as nursery:
        causes: list[BaseException | None] = []

        async def wait() -> None:
            with pytest.raises(PortDied) as caught:
                await port.receive()
            causes.append(caught.value.__cause__)

        def fail() -> None:
            raise ValueError("no")

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        port.run(fail)
        with pytest.raises(PortDied) as caught:
            port.receive_nowait()
        await wait_all_tasks_blocked()
        assert caught.value.__cause__ is None
        assert [type(cause) for cause in causes] == [ValueError]


async def test_a_second_task_that_receives_is_refused() -> None:
    async with open_node() as node, node.open_port() as port, trio.open_nursery() as nursery:
        nursery.start_soon(port.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await port.receive()
        with pytest.raises(trio.BusyResourceError):
            await port.receive("a")
        node.send(port, "a")


async def test_receiving_works_again_after_one_was_refused_or_cancelled() -> None:
    async with open_node() as node, node.open_port() as port:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(port.receive)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await port.receive()
            nursery.cancel_scope.cancel()
        node.send(port, "a")
        assert await port.receive() == ("a",)


async def test_a_receive_of_what_is_there_checks_for_cancellation() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port, "a")
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await port.receive()
        assert scope.cancelled_caught
        assert await port.receive() == ("a",), "cancelled, it has taken no message"


async def test_a_receive_that_is_cancelled_while_it_waits_takes_no_message() -> None:
    async with open_node() as node, node.open_port() as port:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(port.receive)
                await wait_all_tasks_blocked()
                scope.cancel()
        node.send(port, "a")
        assert await port.receive() == ("a",)


async def test_a_message_that_comes_at_the_moment_of_cancellation_is_received_or_kept() -> None:
    async with open_node() as node, node.open_port() as port:
        for number in range(20):
            received: list[object] = []

            async def receive() -> None:
                received.append(await port.receive())  # noqa: B023 - it ends within the turn

            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(receive)
                    await wait_all_tasks_blocked()
                    node.send(port, number)
                    if number % 2:
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            if not received:
                received.append(await port.receive())
            assert received == [(number,)]


async def passes_in_ten_receives(seconds: float) -> int:
    """How many scheduler passes there are in ten receives of waiting messages, with such a pause before each."""
    clock = ManualClock()
    async with open_node_in(Environment(fairness_clock=clock)) as node, node.open_port() as port:
        for number in range(20):
            node.send(port, number)
        await port.receive()
        async with counting_passes() as passes:
            await trio.lowlevel.checkpoint()
            before = passes.count
            for _ in range(10):
                clock.now += seconds
                await port.receive()
            return passes.count - before


async def test_a_receive_of_what_is_there_does_without_a_scheduler_pass() -> None:
    assert await passes_in_ten_receives(0.0) == 0


async def test_a_task_that_finds_one_message_after_the_other_yields_every_millisecond() -> None:
    assert await passes_in_ten_receives(0.001) >= 9


async def test_the_first_receive_is_a_checkpoint() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port, "a")
        with assert_checkpoints():
            await port.receive()


async def test_a_receive_raises_when_the_port_dies() -> None:
    async with open_node() as node, node.open_port() as port, trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(PortDied) as caught:
                await port.receive()
            assert caught.value.port == port
            assert caught.value.reason == ("why", "because")

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        node.kill(port, "why", "because")


async def test_a_receive_from_a_dead_port_raises_and_what_was_queued_is_gone() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port, "a")
        node.kill(port)
        await wait_all_tasks_blocked()
        for _ in range(2):
            with pytest.raises(PortDied) as caught:
                await port.receive()
            assert caught.value.reason == ()


async def test_every_receive_from_a_dead_port_raises_an_exception_of_its_own() -> None:
    """One that is raised again and again collects tracebacks."""
    async with open_node() as node, node.open_port() as port:
        node.kill(port)
        await wait_all_tasks_blocked()
        caught: list[PortDied] = []
        for _ in range(2):
            with pytest.raises(PortDied) as info:
                await port.receive()
            caught.append(info.value)
        assert caught[0] is not caught[1]


async def test_the_block_of_open_port_is_not_cancelled_by_the_death_of_its_port() -> None:
    async with open_node() as node:
        async with node.open_port() as port:
            node.kill(port, "why")
            await wait_all_tasks_blocked()
            await trio.lowlevel.checkpoint()
            assert not port.alive
            finished = True
        assert finished


async def test_a_port_dies_normally_with_its_block() -> None:
    async with open_node() as node:
        async with node.open_port() as port:
            monitor = node.monitor(port, lambda *_: None)
        assert not port.alive
        await wait_all_tasks_blocked()
        assert monitor.reason == ()


async def test_a_port_whose_block_raises_dies_with_the_exception(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        error = ValueError("no good")
        with pytest.raises(ValueError, match="no good") as caught:
            async with node.open_port() as port:
                monitor = node.monitor(port, lambda *_: None)
                raise error
        assert caught.value is error
        await wait_all_tasks_blocked()
        assert monitor.reason == Died("ValueError: no good")
        assert not caplog.records


async def test_an_exception_of_a_block_is_not_logged_as_well(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        with pytest.raises(ValueError, match="no good"):
            async with node.open_port():
                raise ValueError("no good")
        await wait_all_tasks_blocked()
        assert not caplog.records


async def test_the_tasks_of_a_port_are_cancelled_with_its_block() -> None:
    async with open_node() as node:
        ended: list[object] = []

        async def task() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(True)

        async with node.open_port() as port:
            port.start_soon(task)
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert ended


async def test_entering_and_leaving_open_port_are_checkpoints() -> None:
    async with open_node() as node:
        manager = node.open_port()
        with assert_checkpoints():
            await manager.__aenter__()
        with assert_checkpoints():
            await manager.__aexit__(None, None, None)


async def test_a_cancelled_entry_of_open_port_leaves_no_port_behind() -> None:
    async with open_node() as node:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with node.open_port():
                raise AssertionError
        await wait_all_tasks_blocked()
        assert not node._runtime.dispatcher.ports


async def test_iteration_yields_messages_in_order() -> None:
    async with open_node() as node, node.open_port() as port:
        for number in range(3):
            node.send(port, number)
        received = []
        async for message in port:
            received.append(message)
            if len(received) == 3:
                break
        assert received == [(0,), (1,), (2,)]


async def test_iteration_checks_for_cancellation_at_each_message() -> None:
    async with open_node() as node, node.open_port() as port:
        for number in range(3):
            node.send(port, number)
        received = []
        with trio.CancelScope() as scope:
            async for message in port:
                received.append(message)
                if message == (1,):
                    scope.cancel()
        assert scope.cancelled_caught
        assert received == [(0,), (1,)]
        assert await port.receive() == (2,)


async def test_iteration_needs_a_mailbox() -> None:
    async with open_node() as node:
        with pytest.raises(RuntimeError, match="a port with a mailbox"):
            async for _ in node.port():
                pass


async def test_a_port_dies_of_an_element_that_cannot_be_compared_with_what_its_task_waits_for() -> None:
    class Hostile:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, _other: object) -> bool:
            raise ValueError("not to be compared")

    async with open_node() as node, node.open_port() as port, trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(PortDied):
                await port.receive("x")

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        node.send(port, Hostile())
        assert await node.wait_death(port) == Died("ValueError: not to be compared")


async def test_iteration_ends_when_the_port_dies_normally() -> None:
    async with open_node() as node, node.open_port() as port, trio.open_nursery() as nursery:
        received: list[object] = []

        async def iterate() -> None:
            received.extend([message async for message in port])
            received.append("end")

        nursery.start_soon(iterate)
        node.send(port, 1)
        await wait_all_tasks_blocked()
        node.kill(port)
        await wait_all_tasks_blocked()
        assert received == [(1,), "end"]


async def test_iteration_raises_when_the_port_dies_abnormally() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port, 1)
        received = []
        with pytest.raises(PortDied) as caught:
            async for message in port:
                received.append(message)
                node.kill(port, "why")
        assert caught.value.reason == ("why",)
        assert received == [(1,)]


async def test_start_port_runs_a_process() -> None:
    async with open_node() as node, node.open_port() as answers:

        async def double(port: Port, client: str, factor: int) -> None:
            async for tag, number in port:
                node.send(client, tag, factor * number)

        process = node.start_port(double, answers, 2)
        node.send(process, "x", 21)
        assert await answers.receive() == ("x", 42)


async def test_messages_wait_for_a_process_that_has_not_begun_to_receive() -> None:
    async with open_node() as node, node.open_port() as answers:
        go = trio.Event()

        async def process(port: Port) -> None:
            await go.wait()
            node.send(answers, *[(await port.receive())[0] for _ in range(3)])

        port = node.start_port(process)
        for number in range(3):
            node.send(port, number)
        await wait_all_tasks_blocked()
        go.set()
        assert await answers.receive() == (0, 1, 2)


async def test_a_process_that_returns_dies_normally(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:

        async def process(port: Port) -> None:
            await port.receive()

        port = node.start_port(process)
        node.send(port, "end")
        assert await node.wait_death(port) == ()
        assert not caplog.records


async def test_a_process_that_raises_dies_of_it() -> None:
    async with open_node() as node:

        async def process(port: Port) -> None:
            await port.receive()
            raise ValueError("no good")

        port = node.start_port(process)
        node.send(port, "end")
        assert await node.wait_death(port) == Died("ValueError: no good")


async def test_a_process_that_returns_takes_the_other_tasks_of_its_port_along() -> None:
    async with open_node() as node:
        ended: list[object] = []

        async def other() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(True)

        async def process(port: Port) -> None:
            port.start_soon(other)
            await port.receive()

        port = node.start_port(process)
        node.send(port, "end")
        assert await node.wait_death(port) == ()
        assert ended


async def test_a_process_is_cancelled_when_its_port_is_killed() -> None:
    async with open_node() as node:
        seen: list[object] = []

        async def process(port: Port) -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                seen.append("cancelled")
                raise

        port = node.start_port(process)
        await wait_all_tasks_blocked()
        node.kill(port, "why")
        assert await node.wait_death(port) == ("why",)
        assert seen == ["cancelled"]


KILLS: list[tuple[str, ...]] = [(), ("why",)]


@pytest.mark.parametrize("reason", KILLS)
@pytest.mark.parametrize("kind", ["process", "iterating process", "task", "nested task", "handler"])
async def test_a_task_that_only_waited_for_messages_is_not_logged_when_its_port_is_killed(
    kind: str, reason: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node() as node:

        async def sleep(_: Port) -> None:
            await trio.sleep_forever()

        async def receive(port: Port) -> None:
            while True:
                await port.receive("x")

        async def iterate(port: Port) -> None:
            async for _ in port:
                pass

        async def nested(port: Port) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(iterate, port)

        if kind == "handler":
            port = node.start_port(sleep)
            port.on("go")(lambda: receive(port))
            node.send(port, "go")
        elif kind == "task":
            port = node.start_port(sleep)
            port.start_soon(receive, port)
        else:
            port = node.start_port({"process": receive, "iterating process": iterate, "nested task": nested}[kind])
        await wait_all_tasks_blocked()
        node.kill(port, *reason)
        assert await node.wait_death(port) == reason
        assert not caplog.records


async def test_a_full_mailbox_kills_the_port() -> None:
    async with open_node(mailbox_limit=3) as node, node.open_port() as port:
        for number in range(3):
            node.send(port, number)
        await wait_all_tasks_blocked()
        assert port.alive
        node.send(port, 3)
        reason = await node.wait_death(port)
        assert reason[0] == "mailbox_full"
        assert "3" in str(reason[1])


async def test_too_many_messages_behind_an_async_handler_kill_the_port() -> None:
    async with open_node(mailbox_limit=3) as node:

        async def block(_: int) -> None:
            await trio.sleep_forever()

        port = node.port(block)
        for number in range(4):
            node.send(port, number)
        await wait_all_tasks_blocked()
        assert port.alive
        node.send(port, 4)
        assert (await node.wait_death(port))[0] == "mailbox_full"


async def test_a_message_that_a_task_is_waiting_for_needs_no_room() -> None:
    async with open_node(mailbox_limit=1) as node, node.open_port() as port, trio.open_nursery() as nursery:
        received: list[object] = []

        async def receive() -> None:
            received.append(await port.receive("b"))

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        node.send(port, "a")
        node.send(port, "b")
        await wait_all_tasks_blocked()
        assert received == [("b",)]
        assert port.alive


async def test_a_full_mailbox_is_logged_when_nobody_monitors(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node(mailbox_limit=1) as node, node.open_port() as port:
        node.send(port, 1)
        node.send(port, 2)
        await wait_all_tasks_blocked()
        assert "mailbox_full" in caplog.text


async def test_ports_can_receive_for_each_other() -> None:
    """Whoever holds the port may receive from it: no context is needed."""
    async with open_node() as node, node.open_port() as one, node.open_port() as other:
        node.send(one, 1)
        node.send(other, 2)
        assert await other.receive() == (2,)
        assert await one.receive() == (1,)


async def test_a_process_dies_of_what_another_port_died_of() -> None:
    async with open_node() as node, node.open_port() as other:

        async def process(_: Port) -> None:
            await other.receive()

        port = node.start_port(process)
        await wait_all_tasks_blocked()
        node.kill(other, "why")
        reason = await node.wait_death(port)
        assert reason[0] == "die"
        assert "PortDied" in str(reason[1])


async def test_the_length_of_a_mailbox_is_what_waits_in_it() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port, 1)
        node.send(port, 2)
        await wait_all_tasks_blocked()
        mailbox = state_of(port).mailbox
        assert mailbox is not None
        assert len(mailbox) == 2


async def test_a_loop_has_a_message_in_hand_from_the_moment_in_which_it_is_handed_over() -> None:
    async with open_node() as node, node.open_port() as port, trio.open_nursery() as nursery:
        mailbox = state_of(port).mailbox
        assert mailbox is not None
        seen: list[bool] = []

        def look(at: Mailbox = mailbox) -> None:
            seen.append(at.is_in_hand)

        async def loop() -> None:
            async for _ in port:
                look()
                break
            look()

        nursery.start_soon(loop)
        await wait_all_tasks_blocked()
        assert mailbox.is_waited_at
        look()
        mailbox.put("one")
        # Its task has not run since.
        look()
        await wait_all_tasks_blocked()
        assert seen == [False, True, True, False]


async def test_mailboxes_of_two_nodes_do_not_meet() -> None:
    async with open_node() as one, open_node() as other, one.open_port() as left, other.open_port() as right:
        one.send(left, 1)
        other.send(right, 2)
        assert await left.receive() == (1,)
        assert await right.receive() == (2,)


@pytest.mark.parametrize("equal", [False, True])
async def test_a_port_that_dies_while_a_message_is_compared_does_not_get_it(
    equal: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the mailbox of a dead port kept it, or handed it over, and `receive` returned it."""
    async with open_node() as node, node.open_port() as port, trio.open_nursery() as nursery:

        def fail() -> None:
            raise ValueError("as it was told")

        class Odd:
            __hash__ = object.__hash__

            def __eq__(self, other: object) -> bool:
                if port.alive:
                    port.run(fail)
                return equal

        async def receive() -> None:
            with pytest.raises(PortDied, match="as it was told"):
                await port.receive("wanted")

        node.monitor(port, lambda *_: None)
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        node.send(port, Odd(), "late")
        await wait_all_tasks_blocked()
        with pytest.raises(PortDied, match="as it was told"):
            await port.receive()
    assert not caplog.records


async def test_the_next_one_of_a_port() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port, 1)
        assert await anext(port) == (1,)
        port.kill()
        with pytest.raises(StopAsyncIteration):
            await anext(port)
