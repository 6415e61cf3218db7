"""Messages that are sent later, and again and again: when, how often, and until which end."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, strategies as st
from trio.testing import wait_all_tasks_blocked

from trio_mp import Node, Port, Timer, open_node
from trio_mp._ports.port import state_of
from trio_mp._services.later import next_tick


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_send_every_refuses_times_that_cannot_be(seconds: float) -> None:
    async with open_node() as node:
        with pytest.raises(ValueError, match=str(seconds)):
            node.send_every(seconds, node.port(), "x")


async def test_send_every_refuses_what_is_no_number_by_name() -> None:
    async with open_node() as node:
        with pytest.raises(TypeError, match="'soon'"):
            node.send_every("soon", node.port(), "x")  # type: ignore[arg-type]


async def test_ticks_come_at_one_distance_the_first_after_that_time(autojump_clock: object) -> None:
    async with open_node() as node, node.open_port() as port:
        start = trio.current_time()
        node.send_every(2.5, port, "tick", 1)
        for number in range(1, 5):
            assert await port.receive() == ("tick", 1)
            assert trio.current_time() == pytest.approx(start + 2.5 * number)


async def test_ticks_that_were_overrun_are_skipped(mock_clock: trio.testing.MockClock) -> None:
    """The clock jumps, as when a laptop wakes up: one tick comes, and the next ones at the times that they had."""
    clock = mock_clock
    start = clock.current_time()
    async with open_node() as node:
        seen: list[float] = []
        port = node.port(lambda: seen.append(round(clock.current_time() - start, 3)))
        node.send_every(1, port)
        await wait_all_tasks_blocked()
        for seconds in (1, 5.25, 0.5, 0.25, 1):
            clock.jump(seconds)
            await wait_all_tasks_blocked()
        assert seen == [1, 6.25, 7, 8]


@given(due=st.floats(0, 1e9), seconds=st.floats(1e-9, 1e9), late=st.one_of(st.floats(0, 1e-6), st.floats(0, 1e9)))
def test_the_next_tick_is_the_first_one_behind_now(due: float, seconds: float, late: float) -> None:
    now = due + late
    following = next_tick(due, seconds, now)
    assert now < following <= now + seconds * (1 + 1e-9) + 1e-6 or now + seconds == now
    if seconds > 1e-3:
        ticks = (following - due) / seconds
        assert abs(ticks - round(ticks)) * seconds < 1e-5 * max(1.0, ticks)


async def test_a_cancelled_timer_ticks_no_more(autojump_clock: object) -> None:
    async with open_node() as node:
        seen: list[int] = []
        port = node.port(seen.append)
        timer = node.send_every(1, port, 1)
        await trio.sleep(3.5)
        timer.cancel()
        timer.cancel()
        await trio.sleep(5)
        assert seen == [1, 1, 1]


def ask(node: Node, how: str, port: Port) -> Timer:
    return node.send_after(5, port, 1) if how == "send_after" else node.send_every(5, port, 1)


@pytest.mark.parametrize("asks_in", ["handler", "task", "run"])
@pytest.mark.parametrize("how", ["send_after", "send_every"])
async def test_it_ends_with_the_port_that_asked(autojump_clock: object, how: str, asks_in: str) -> None:
    async with open_node() as node:
        seen: list[int] = []
        target, asker = node.port(seen.append), node.port()

        async def ask_in_a_task() -> None:
            ask(node, how, target)

        @asker.on("ask")
        def ask_in_a_handler() -> None:
            ask(node, how, target)

        if asks_in == "handler":
            node.send(asker, "ask")
        elif asks_in == "task":
            asker.start_soon(ask_in_a_task)
        else:
            asker.run(ask, node, how, target)
        await trio.sleep(4)
        node.kill(asker)
        await trio.sleep(20)
        assert seen == []
        assert target.alive


@pytest.mark.parametrize("how", ["send_after", "send_every"])
async def test_one_that_no_port_has_asked_for_goes_on(autojump_clock: object, how: str) -> None:
    async with open_node() as node:
        seen: list[int] = []
        target, other = node.port(seen.append), node.port()
        ask(node, how, target)
        node.kill(other)
        await trio.sleep(6)
        assert seen == [1]


async def test_a_port_keeps_no_timer_that_has_ended(autojump_clock: object) -> None:
    async with open_node() as node:
        target, asker = node.port(lambda *_: None), node.port()
        timers: list[Timer] = []

        @asker.on("ask")
        def ask_for_three() -> None:
            timers.extend((node.send_after(1, target), node.send_after(9, target), node.send_every(9, target)))

        node.send(asker, "ask")
        await trio.sleep(2)
        assert len(state_of(asker).owned) == 2
        for timer in timers:
            timer.cancel()
        assert not state_of(asker).owned


async def test_a_timer_of_a_port_that_has_just_died_sends_nothing(autojump_clock: object) -> None:
    """Its sync code goes on after its death, and nothing would ever end what it starts then."""
    async with open_node() as node:
        seen: list[int] = []
        target, asker = node.port(seen.append), node.port()

        def die_and_ask() -> None:
            node._lifecycle.die(asker, ("gone",))
            node.send_every(1, target, 1)

        asker.run(die_and_ask)
        await trio.sleep(5)
        assert seen == []


async def test_ticks_for_a_dead_port_of_this_node_end(autojump_clock: object) -> None:
    async with open_node() as node:
        target = node.port(lambda *_: None)
        tasks = len(node._lifecycle._scopes)
        node.send_every(1, target, 1)
        node.send_every(1, str(target), 1)
        await trio.sleep(3.5)
        assert len(node._lifecycle._scopes) == tasks + 2
        node.kill(target)
        await trio.sleep(2)
        assert len(node._lifecycle._scopes) == tasks
