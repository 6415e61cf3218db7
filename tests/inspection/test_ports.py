"""The ports that an inspection shows: their order, their pages, and that nothing of the node notices it."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st
from network_helpers import FakeNetwork, open_pair

from trio_mp import CallError, Node, Port, PortView, open_node
from trio_mp._inspection import ports as inspected_ports, ranking, slices


def a_port_with(node: Node, count: int) -> Port:
    """A port in which so many messages wait."""

    async def stays(port: Port) -> None:
        await trio.sleep_forever()

    port = node.start_port(stays)
    for number in range(count):
        node.send(port, number)
    return port


async def all_pages(node: Node, by: str, limit: int) -> list[PortView]:
    inspector, after, views = node.inspect(node.id), None, []
    while True:
        page = await inspector.ports(by=by, limit=limit, after=after)
        views += page.ports
        after = page.after
        if after is None:
            return views


async def test_the_longest_queue_comes_first() -> None:
    async with open_node("a") as node:
        queues = [3, 0, 7, 1, 7]
        made = [a_port_with(node, count) for count in queues]
        await trio.testing.wait_all_tasks_blocked()
        views = await all_pages(node, "queue", 2)
        assert [view.queued for view in views] == [7, 7, 3, 1, 0]
        assert [view.id for view in views] == [made[index] for index in (2, 4, 0, 3, 1)]


async def test_the_oldest_comes_first() -> None:
    async with open_node("a") as node:
        made = [node.port(lambda: None) for _ in range(5)]
        node.kill(made[1])
        await trio.testing.wait_all_tasks_blocked()
        assert [view.id for view in await all_pages(node, "age", 2)] == [made[index] for index in (0, 2, 3, 4)]


async def test_a_number_belongs_to_one_port_for_ever() -> None:
    async with open_node("a") as node:
        made = [node.port(lambda: None) for _ in range(3)]
        before = {view.id: view.number for view in await all_pages(node, "age", 50)}
        node.kill(made[0])
        made.append(node.port(lambda: None))
        await trio.testing.wait_all_tasks_blocked()
        after = {view.id: view.number for view in await all_pages(node, "queue", 50)}
        assert after[made[1]] == before[made[1]]
        assert after[made[3]] not in before.values()


async def test_what_a_port_is_doing() -> None:
    async with open_node("a") as node:
        release = trio.Event()

        async def works(*_: Any) -> None:
            await release.wait()

        async def lingers(port: Port) -> None:
            with trio.CancelScope(shield=True):
                await release.wait()

        busy, dying = node.port(works), node.start_port(lingers)
        async with node.open_port() as box:
            node.monitor(box, print)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(4):
                node.send(busy, "work")
            node.kill(dying, "enough", str(busy))
            await trio.testing.wait_all_tasks_blocked()
            views = {view.id: view for view in await all_pages(node, "age", 50)}
            first, second, third = views[busy], views[dying], views[box]
            assert (first.kind, first.state, first.queued) == ("handlers", "busy", 3)
            assert (second.kind, second.state, second.tasks) == ("task", "unwinding", 1)
            assert second.reason.startswith("enough: a#")
            assert (third.kind, third.state, third.monitors, third.function) == ("mailbox", "idle", 1, "")
            release.set()


async def test_a_page_that_is_not_kept_any_more_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_node("a") as node:
        for _ in range(3):
            node.port(lambda: None)
        inspector = node.inspect("a")
        page = await inspector.ports(limit=1)
        await trio.sleep(inspected_ports.KEPT_FOR - 1)
        again = await inspector.ports(limit=1, after=page.after)
        assert again == await inspector.ports(limit=1, after=page.after)
        await trio.sleep(inspected_ports.KEPT_FOR + 1)
        assert node._inspections._ports._kept == {}
        for after in (again.after, "queue.99.1"):
            with pytest.raises(CallError) as raised:
                await inspector.ports(limit=1, after=after)
            assert raised.value.type_name == "gone"
        for after in ("age.1.1", "queue", "queue.1.x", "queue.1.-1", "queue.1.²", ""):
            with pytest.raises(CallError) as raised:
                await inspector.ports(limit=1, after=after)
            assert raised.value.type_name == "bad_question"


async def test_a_node_keeps_few_orders_and_each_for_who_has_asked(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b):
        for _ in range(3):
            b.port(lambda: None)
        theirs, own = a.inspect("b"), b.inspect("b")
        pages = [(await theirs.ports(limit=1)).after for _ in range(3)]
        await theirs.ports(limit=1, after=pages[2])
        await theirs.ports(limit=1, after=pages[1])
        for inspector, after in ((theirs, pages[0]), (own, pages[2])):
            with pytest.raises(CallError) as raised:
                await inspector.ports(limit=1, after=after)
            assert raised.value.type_name == "gone"
        assert len(b._inspections._ports._kept) == inspected_ports.KEPT_OF_ONE


# Whatever happens between slices and pages --------------------------------------------------------------------------

events = st.lists(
    st.tuples(st.sampled_from(["open", "kill", "send", "page", "age", "queue"]), st.integers(0, 30)), max_size=40
)


async def that_each_port_appears_once(by: str, count: int, limit: int, happenings: list[tuple[str, int]]) -> None:
    async with open_node("a") as node:
        alive = [a_port_with(node, number % 4) for number in range(count)]
        await trio.testing.wait_all_tasks_blocked()
        first, left = list(alive), list(happenings)

        def something_happens() -> None:
            what, number = left.pop()
            if what == "open":
                alive.append(a_port_with(node, number % 5))
            elif what == "kill" and alive:
                node.kill(alive.pop(number % len(alive)))
            elif what == "send" and alive:
                for _ in range(number):
                    node.send(alive[number % len(alive)], "more")

        async def happens() -> None:
            while left:
                something_happens()
                await trio.lowlevel.checkpoint()

        views: list[PortView] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(happens)
            views = await all_pages(node, by, limit)
        await trio.testing.wait_all_tasks_blocked()
        shown = [view.id for view in views]
        assert len(shown) == len(set(shown))
        lived_throughout = [port for port in first if port.alive]
        assert set(lived_throughout) <= set(shown)
        assert len({view.number for view in views}) == len(views)


@settings(deadline=None)
@given(by=st.sampled_from(["queue", "age"]), count=st.integers(0, 40), limit=st.integers(1, 7), happenings=events)
def test_a_port_that_lives_throughout_appears_once(
    by: str, count: int, limit: int, happenings: list[tuple[str, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Each port is a slice of its own, and a run of the sort has two: so all of it can happen in between.
        patch.setattr(slices, "SLICE", -1.0)
        patch.setattr(inspected_ports, "STRIDE", 1)
        patch.setattr(ranking, "STRIDE", 1)
        patch.setattr(ranking, "RUN", 2)
        trio.run(that_each_port_appears_once, by, count, limit, happenings)


async def test_a_hundred_thousand_ports_stall_nothing() -> None:
    async with open_node("a") as node:
        for _ in range(100_000):
            node.port(print)
        for count in (5, 3, 9):
            a_port_with(node, count)
        await trio.testing.wait_all_tasks_blocked()
        longest, before = 0.0, time.thread_time()

        def note(*_: object) -> None:
            nonlocal longest, before
            now = time.thread_time()
            longest, before = max(longest, now - before), now

        class Steps(trio.abc.Instrument):
            before_task_step = after_task_step = staticmethod(note)

        trio.lowlevel.add_instrument(watching := Steps())
        try:
            note()
            longest = 0.0
            page = await node.inspect("a").ports(by="queue", limit=5)
        finally:
            trio.lowlevel.remove_instrument(watching)
        assert [view.queued for view in page.ports] == [9, 5, 3, 0, 0]
        assert page.count == 100_003
        # Processor time, which does not count what else the machine does.
        assert longest < 0.01
