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
from trio_mp._inspection.ports import PortLister
from trio_mp._inspection.slices import Slices


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


async def test_a_page_is_merged_from_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "RUN", 2)
    async with open_node("a") as node:
        for count in (5, 1, 4, 2, 3, 0):
            a_port_with(node, count)
        await trio.testing.wait_all_tasks_blocked()
        assert [view.queued for view in await all_pages(node, "queue", 2)] == [5, 4, 3, 2, 1, 0]


async def test_the_oldest_comes_first() -> None:
    async with open_node("a") as node:
        made = [node.port(lambda: None) for _ in range(5)]
        node.kill(made[1])
        await trio.testing.wait_all_tasks_blocked()
        assert [view.id for view in await all_pages(node, "age", 2)] == [made[index] for index in (0, 2, 3, 4)]


async def test_the_busiest_comes_first(autojump_clock: trio.testing.MockClock) -> None:
    async with open_node("a") as node:
        made = [node.port(lambda *_: None) for _ in range(4)]

        async def keep_sending() -> None:
            while True:
                for index, count in enumerate((2, 0, 5, 1)):
                    for _ in range(count):
                        node.send(made[index], "work")
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending)
            await trio.sleep(10)
            # Nobody has counted yet, so the answer takes a second; of later ones none does.
            for seconds in (1, 0, 0):
                began = trio.current_time()
                views = await all_pages(node, "rate", 3)
                assert trio.current_time() - began == pytest.approx(seconds, abs=0.01)
                assert [view.id for view in views] == [made[index] for index in (2, 0, 3, 1)]
                assert [view.rate for view in views] == pytest.approx([50, 20, 10, 0], rel=0.2)
                await trio.sleep(3)
            views = (await node.inspect("a").ports(by="age")).ports
            assert [view.rate for view in views] == pytest.approx([20, 0, 50, 10], rel=0.2)
            assert views[1].delivered == 0
            assert views[0].delivered > 200  # type: ignore[operator]
            assert views[0].age is not None
            nursery.cancel_scope.cancel()
        await trio.sleep(100)
        assert node._inspections._ports._census is None
        assert (await node.inspect("a").ports()).ports[0].rate is None


@settings(deadline=None)
@given(before=st.lists(st.integers(0, 50), max_size=20), more=st.data())
def test_rates_are_those_of_the_ports_that_are_in_both_counts(before: list[int], more: st.DataObject) -> None:
    async def count() -> None:
        async with open_node("a") as node:
            made = [node.port(print) for _ in before]
            lister = PortLister(node._runtime.lifecycle)
            for port, received in zip(made, before, strict=True):
                port._received = received
            first = await lister.count(Slices(time.perf_counter))
            gone = more.draw(st.sets(st.sampled_from(made) if made else st.nothing()))
            for port in gone:
                node.kill(port)
            made += [node.port(print) for _ in range(more.draw(st.integers(0, 5)))]
            await trio.testing.wait_all_tasks_blocked()
            added = {port: more.draw(st.integers(0, 50)) for port in made if port not in gone}
            for port, count in added.items():
                port._received += count
            second = await lister.count(Slices(time.perf_counter))
            rates = await second.since(first, Slices(time.perf_counter))
            assert second.ports == list(added)
            assert list(rates) == [
                pytest.approx(2 * added[port]) if port in first.ports else 0 for port in second.ports
            ]

    trio.run(count)


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
        (view,), (same,) = again.ports, (await inspector.ports(limit=1, after=page.after)).ports
        assert (view.number, view.id) == (same.number, same.id)
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


async def test_many_ports_are_looked_at_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each pause lets others have their turn then, so the turns say how much is done between two pauses. How long that
    # takes is measured by `python -m benchmarks.inspecting`.
    monkeypatch.setattr(slices, "SLICE", -1.0)
    async with open_node("a") as node:
        for _ in range(20_000):
            node.port(print)
        for count in (5, 3, 9):
            a_port_with(node, count)
        await trio.testing.wait_all_tasks_blocked()
        turns = 0

        class Turns(trio.abc.Instrument):
            def before_task_step(self, task: trio.lowlevel.Task) -> None:
                nonlocal turns
                turns += 1

        trio.lowlevel.add_instrument(watching := Turns())
        try:
            page = await node.inspect("a").ports(by="queue", limit=500)
        finally:
            trio.lowlevel.remove_instrument(watching)
        assert [view.queued for view in page.ports[:5]] == [9, 5, 3, 0, 0]
        assert page.count == 20_003
        assert turns >= 20_000 / slices.STRIDE + 20_000 / ranking.RUN
