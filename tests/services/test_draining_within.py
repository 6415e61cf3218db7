"""A drain that is awaited in the work of a port: it waits for all but what would wait for it."""

from __future__ import annotations

import trio
from drain_helpers import Draining, drain_of
from network_helpers import FakeNetwork, open_pair, until
from trio.testing import wait_all_tasks_blocked

from trio_mp import Drained, Node, Port, Unfinished, open_node


async def test_called_in_a_port_that_port_is_not_waited_for() -> None:
    async with open_node("a") as node:
        results: list[Drained] = []

        async def drain() -> None:
            results.append(await node.drain())

        ports = [node.port(drain) for _ in range(2)]
        for port in ports:
            node.send(port)
        await until(lambda: len(results) == 2)
        assert results == [Drained(())] * 2


async def test_messages_for_the_port_that_drains_are_named(autojump_clock: object) -> None:
    async with open_node("a") as node:
        results: list[Drained] = []
        port = node.port()

        @port.on("drain")
        async def drain() -> None:
            await trio.sleep(1)
            results.append(await node.drain())

        node.send(port, "drain")
        node.send(port, "drain")
        await until(lambda: len(results) == 2)
        assert results[0].unfinished == (Unfinished(port, "1 message for it, and it awaits the drain"),)
        assert results[1].unfinished == ()


async def test_an_inspection_and_the_call_by_which_a_port_drains_are_not_waited_for(
    autojump_clock: object,
) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        port = b.port()

        @port.on("drain", reply=True)
        async def drain() -> int:
            return len((await b.drain()).unfinished)

        assert await a.call(port, "drain", reply=int) == 0


async def test_the_other_work_of_the_port_is_waited_for(autojump_clock: object) -> None:
    """A task of the port awaits the drain, its handler runs, and a message waits behind that."""
    done: list[str] = []
    results: list[Drained] = []
    async with open_node("a") as node:
        port = node.port()

        @port.on("work")
        async def work() -> None:
            await trio.sleep(5)
            done.append("work")

        async def drain() -> None:
            results.append(await node.drain())

        node.send(port, "work")
        node.send(port, "work")
        port.start_soon(drain)
        await until(lambda: bool(results))
        assert done == ["work", "work"]
        assert results == [Drained(())]


async def test_a_loop_is_waited_for_while_a_handler_of_its_port_awaits_the_drain(autojump_clock: object) -> None:
    done: list[str] = []
    results: list[Drained] = []

    async def work(port: Port) -> None:
        @port.on("drain")
        async def drain() -> None:
            results.append(await port.node.drain())

        async for (text,) in port:
            await trio.sleep(5)
            done.append(text)

    async with open_node("a") as node:
        port = node.start_port(work)
        await wait_all_tasks_blocked()
        node.send(port, "one")
        node.send(port, "two")
        node.send(port, "drain")
        await until(lambda: bool(results))
        assert done == ["one", "two"]
        assert results == [Drained(())]


async def test_calls_that_handlers_of_the_port_answer_are_waited_for(autojump_clock: object) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        answers: list[object] = []

        async def work(port: Port) -> None:
            @port.on("slow", reply=True)
            async def slow() -> str:
                await trio.sleep(5)
                return "slow"

            @port.on("go")
            def go() -> None:
                port.start_soon(drain)

            async def drain() -> None:
                answers.append(await b.drain())

            await trio.sleep_forever()

        port = b.start_port(work)
        await wait_all_tasks_blocked()

        async def ask() -> None:
            answers.append(await a.call(port, "slow", reply=str))

        async with trio.open_nursery() as nursery:
            a.send(port, "go")
            nursery.start_soon(ask)
            await until(lambda: len(answers) == 2)
        assert answers == ["slow", Drained(())]


async def test_a_call_that_is_perhaps_answered_behind_the_drain_is_named(autojump_clock: object) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        port = b.port()
        results: list[Drained] = []

        @port.on("drain")
        async def drain(reply_to: str) -> None:
            results.append(await b.drain())
            b.send(reply_to, "it has drained")

        with trio.fail_after(10):
            assert await a.call(port, "drain", reply=str) == "it has drained"
        assert results == [Drained((Unfinished(port, "1 call not answered, and it awaits the drain"),))]


async def test_a_task_that_the_handler_waits_for_awaits_the_drain(autojump_clock: object) -> None:
    results: list[Drained] = []
    async with open_node("a") as node:
        port = node.port()

        async def drain() -> None:
            results.append(await node.drain())

        @port.on()
        async def handle() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drain)

        node.send(port)
        with trio.fail_after(1):
            await until(lambda: bool(results))
        assert results == [Drained(())]


async def test_the_task_of_a_loop_awaits_the_drain_with_a_message_in_hand(autojump_clock: object) -> None:
    async with open_node("a") as node, node.open_port() as port:
        node.send(port, "stop")
        node.send(port, "more")
        async for _ in port:
            with trio.fail_after(1):
                result = await node.drain()
            break
        assert result.unfinished == (Unfinished(port, "1 message for it, and it awaits the drain"),)


async def test_two_ports_that_both_await_a_drain_do_not_wait_for_each_other(autojump_clock: object) -> None:
    async with open_node("a") as node:
        results: list[Drained] = []

        async def loop(port: Port) -> None:
            async for _ in port:
                result = await node.drain()
                results.append(result)

        async def handle() -> None:
            results.append(await node.drain())

        ports = [node.start_port(loop), node.port(handle)]
        for port in ports:
            node.send(port)
        with trio.fail_after(1):
            await until(lambda: len(results) == 2)
        assert results == [Drained(())] * 2


async def test_a_drain_that_is_awaited_outside_of_ports_waits_for_those_that_await_one(autojump_clock: object) -> None:
    done: list[str] = []

    async with open_node("a") as node:
        port, other = node.port(), node.port()

        @other.on()
        async def work_elsewhere() -> None:
            await trio.sleep(1)

        @port.on("drain")
        async def drain() -> None:
            await node.drain()
            await trio.sleep(5)
            done.append("drained")

        @port.on("work")
        async def work() -> None:
            done.append("worked")

        node.send(other)
        async with drain_of(node) as outside:
            # At another time than a multiple of the pauses between two looks: so that the two look at different times.
            await trio.sleep(0.51)
            node.send(port, "drain")
            node.send(port, "work")
            await until(lambda: outside.is_over)
            assert outside.result == Drained(())
            assert done == ["drained", "worked"]


async def test_what_is_said_of_a_port_that_awaits_the_drain_and_of_what_it_hides_not(autojump_clock: object) -> None:
    async def shown(node: Node) -> str:
        await trio.sleep(1)
        return node._runtime.standing.status()

    async with open_node("a") as node:
        other, port = node.port(), node.port()
        other.on()(trio.sleep_forever)

        @port.on()
        async def drain() -> None:
            await node.drain()

        node.send(other)
        node.send(port)
        assert await shown(node) == "draining: 1 handler"
        async with drain_of(node) as outside:
            assert await shown(node) == "draining: 2 handlers"
            assert isinstance(outside, Draining)
            assert not outside.is_over
            node.kill(other)
            await until(lambda: outside.is_over)
            assert outside.result is not None
            assert [left.port for left in outside.result.unfinished] == [other]
