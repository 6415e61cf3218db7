"""Links, tasks and supervisors as an inspection shows them."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, open_pair, open_test_node, until

from trio_mp import Port, TaskView, open_node
from trio_mp._inspection import links, supervisors, tasks


async def test_links_come_in_pages_that_hold_each_once(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MOST", 2)
    network = FakeNetwork()
    async with (
        open_test_node(network, "hub", inspect="read") as hub,
        open_test_node(network, "a", seeds=["hub"]) as a,
        open_test_node(network, "b", seeds=["hub"]),
        open_test_node(network, "c", seeds=["hub"]),
    ):
        await until(lambda: len(hub.peers) == 3)
        assert [link.node for link in await a.inspect("hub").links()] == ["a", "b", "c"]
        assert [link.node for link in await hub.inspect("hub").links()] == ["a", "b", "c"]


async def rests(port: Port) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeps)
        nursery.start_soon(sleeps)
        await sleeps()


async def sleeps() -> None:
    await trio.sleep(1000)


def all_of(task: TaskView) -> list[TaskView]:
    return [task, *[one for child in task.children for one in all_of(child)]]


async def test_tasks_are_a_tree_that_says_what_each_waits_for(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b):
        b.start_port(rests)
        await trio.testing.wait_all_tasks_blocked()
        root = await a.inspect("b").tasks()
        assert (root.name, root.hidden) == ("b", 0)
        (number,) = [view.number for view in (await a.inspect("b").ports()).ports]
        (top,) = [task for task in root.children if task.port == number]
        assert top.name == f"{__name__}:rests"
        assert [child.name for child in top.children] == [f"{__name__}:sleeps"] * 2
        for task in all_of(top):
            assert (task.where, task.waits_for, task.stack) == (f"{__name__}:sleeps", "trio:sleep", None)
            assert task.line > 0
        names = {task.name for task in root.children}
        assert any(name.endswith(":Dispatcher.pump") for name in names), names


async def test_tasks_that_have_no_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "DEEPEST", 1)
    async with open_node("a") as node:
        for _ in range(4):
            node.start_port(rests)
        await trio.testing.wait_all_tasks_blocked()
        root = await node.inspect("a").tasks(limit=3)
        # The pump is a task of the node itself.
        assert (len(root.children), root.hidden) == (3, 2)
        assert [child.hidden for child in root.children if child.port is not None] == [2, 2]


async def starts(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


async def test_supervisors_show_their_children(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        open_pair(FakeNetwork(), inspect="act") as (a, b),
        b.open_supervisor("rest_for_one", name="crew", limit=7, within=9) as outer,
        b.open_supervisor() as inner,
    ):
        child = await outer.start(starts, restart="permanent", significant=False)
        await inner.start(starts, restart="temporary")
        b.kill(child, "fault", 5)
        await trio.sleep(1)
        one, other = await a.inspect("b").supervisors()
        assert (one.name, one.strategy, one.state, one.limit, one.within) == ("crew", "rest_for_one", "running", 7, 9)
        assert (one.restarts, one.parent, one.port, one.hidden) == (1, None, None, 0)
        (view,) = one.children
        assert (view.name, view.kind, view.restart, view.state) == ("starts", "local", "permanent", "up")
        assert (view.restarts, view.reason, view.node, view.id) == (1, "fault: 5", "b", child.port)
        assert view.port in {port.number for port in (await a.inspect("b").ports()).ports}
        assert (other.name, other.parent) == ("", 0)
        assert [each.restart for each in other.children] == ["temporary"]
        monkeypatch.setattr(supervisors, "MOST", 1)
        (one,) = await a.inspect("b").supervisors()
        assert (len(one.children), one.hidden) == (1, 0)
