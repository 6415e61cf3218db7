"""Handlers that keep busy leave others their turn, and an interrupt cannot corrupt what is queued."""

from __future__ import annotations

import itertools
import os
import signal
import threading

import pytest
import trio
from manual_clock import ManualClock
from scheduler_passes import counting_passes
from trio.testing import wait_all_tasks_blocked

from trio_mp import Node, Port, open_node
from trio_mp._ports.dispatcher import PASS_MESSAGES, PASS_SECONDS
from trio_mp._settings.environment import Environment
from trio_mp.lowlevel import open_node_in


async def test_a_handler_that_answers_itself_does_not_starve_trio() -> None:
    async with open_node() as node:
        count = 0

        def again() -> None:
            nonlocal count
            count += 1
            node.send(port)

        port = node.port(again)
        node.send(port)
        for _ in range(10):
            before = count
            await trio.lowlevel.checkpoint()
            assert count - before <= 2 * PASS_MESSAGES
        assert count > 0
        node.kill(port)


async def test_two_handlers_that_answer_each_other_do_not_starve_trio() -> None:
    async with open_node() as node:
        counts = [0, 0]

        def answer(number: int) -> None:
            counts[number] += 1
            node.send(ports[1 - number], 1 - number)

        ports = [node.port(answer), node.port(answer)]
        node.send(ports[0], 0)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        assert min(counts) > 0
        assert abs(counts[0] - counts[1]) <= 1
        node.kill(ports[0])


async def test_busy_handlers_do_not_starve_other_ports() -> None:
    async with open_node() as node:
        seen: list[object] = []
        busy = node.port(lambda: node.send(busy))
        other = node.port(seen.append)
        node.send(busy)
        await trio.lowlevel.checkpoint()
        node.send(other, 1)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        assert seen == [1]
        node.kill(busy)


async def test_a_pass_takes_at_most_a_thousand_messages() -> None:
    async with open_node_in(Environment(fairness_clock=ManualClock())) as node:
        count = 0

        def take() -> None:
            nonlocal count
            count += 1

        port = node.port(take)
        await wait_all_tasks_blocked()
        for _ in range(3 * PASS_MESSAGES + 1):
            node.send(port)
        counts = []
        while count <= 3 * PASS_MESSAGES:
            await trio.lowlevel.checkpoint()
            counts.append(count)
        # Whether this task or the dispatcher goes first in a pass is Trio's choice.
        assert all(after - before <= 2 * PASS_MESSAGES for before, after in zip([0, *counts], counts, strict=False))
        assert PASS_MESSAGES == 1000


async def test_a_pass_takes_at_most_five_milliseconds_and_a_few_messages() -> None:
    clock = ManualClock()
    async with open_node_in(Environment(fairness_clock=clock)) as node:
        turns: list[int] = []
        count = 0

        def take() -> None:
            nonlocal count
            count += 1
            clock.now += 0.003

        async def take_turns() -> None:
            while True:
                turns.append(count)
                await trio.lowlevel.checkpoint()

        port = node.port(take)
        await wait_all_tasks_blocked()
        for _ in range(100):
            node.send(port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_turns)
            while count < 100:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        steps = [after - before for before, after in itertools.pairwise(turns)]
        # The clock is looked at every eighth message; and two passes may lie between two turns of another task.
        assert max(steps) <= 2 * (8 + 1)
        assert PASS_SECONDS == 0.005


async def test_an_async_handler_with_many_messages_waiting_leaves_others_their_turn() -> None:
    clock = ManualClock()
    async with open_node_in(Environment(fairness_clock=clock)) as node:
        go = trio.Event()
        count = 0

        def take() -> None:
            nonlocal count
            count += 1
            clock.now += 0.001

        port = node.port()
        port.on("wait")(go.wait)
        port.on("x")(take)
        node.send(port, "wait")
        for _ in range(1000):
            node.send(port, "x")
        await wait_all_tasks_blocked()
        go.set()
        turns = 0
        while count < 1000:
            await trio.lowlevel.checkpoint()
            turns += 1
        assert turns >= 50


async def test_a_thousand_passes_later_the_node_still_works() -> None:
    async with open_node() as node, node.open_port() as answers:

        def count_down(number: int) -> None:
            if number:
                node.send(port, number - 1)
            else:
                node.send(answers, "done")

        port = node.port(count_down)
        node.send(port, 20_000)
        assert await answers.receive() == ("done",)


async def test_sync_handlers_and_callbacks_are_protected_from_interrupts_and_tasks_are_not() -> None:
    async with open_node() as node:
        seen: dict[str, bool] = {}

        def note(where: str) -> None:
            seen[where] = trio.lowlevel.currently_ki_protected()

        async def note_later(where: str) -> None:
            note(where)
            await trio.lowlevel.checkpoint()

        port, dying = node.port(), node.port()
        port.on("sync")(note)
        port.on("async")(note_later)
        port.start_soon(note_later, "task")
        node.start_port(lambda _: note_later("process"))
        node.monitor(dying, lambda *_: note("monitor"))
        node.send(port, "sync", "sync")
        node.send(port, "async", "async")
        node.kill(dying)
        await wait_all_tasks_blocked()
        assert seen == {"sync": True, "monitor": True, "async": False, "task": False, "process": False}


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to this process")
@pytest.mark.parametrize("where", ["handler", "send"])
def test_an_interrupt_while_messages_flow_corrupts_nothing(where: str) -> None:
    """Every message that was sent before it arrives, in order, and the interrupt comes out."""
    assert threading.current_thread() is threading.main_thread()
    received: list[int] = []
    nodes: list[Node] = []

    async def main() -> None:
        async with open_node() as node:
            nodes.append(node)

            def take(number: int) -> None:
                received.append(number)
                if where == "handler" and number == 500:
                    os.kill(os.getpid(), signal.SIGINT)
                    received.append(-1)

            port = node.port(take)
            number = 0
            while True:
                number += 1
                if where == "send" and number == 500:
                    os.kill(os.getpid(), signal.SIGINT)
                node.send(port, number)
                if number % 50 == 0:
                    await trio.lowlevel.checkpoint()

    # Who was started in the background ignores interrupts, and would go on for ever.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            trio.run(main)
    finally:
        signal.signal(signal.SIGINT, before)
    handled = [number for number in received if number >= 0]
    assert handled == list(range(1, len(handled) + 1))
    if where == "handler":
        assert -1 in received, "a handler runs to its end"
    assert not nodes[0]._runtime.dispatcher.ports


async def test_a_mailbox_task_with_a_full_mailbox_leaves_others_their_turn() -> None:
    """Real time: a thousand messages a millisecond would be a fast machine."""
    async with open_node() as node, node.open_port() as port:
        for number in range(50_000):
            node.send(port, number)
        async with counting_passes() as passes:
            for _ in range(50_000):
                await port.receive()
        assert passes.count > 5


async def test_a_process_that_sends_to_itself_leaves_others_their_turn() -> None:
    async with open_node() as node:
        stop = False

        async def process(port: Port) -> None:
            node.send(port)
            while not stop:
                await port.receive()
                node.send(port)

        port = node.start_port(process)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        stop = True
        assert await node.wait_death(port) == ()
