"""What a supervisor does with lives whose end is not the death of a port: it gives them up, and they may go on."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from network_helpers import warnings_in
from supervised import Crash
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import ChildRef, Node, Port, PortDied, Supervisor, open_node
from trio_mp._protocol.supervision import Restart
from trio_mp._supervision.arguments import ChildSettings
from trio_mp._supervision.block import SupervisorBlock
from trio_mp._supervision.child import EndOfLife


class FarLife:
    """A port that its supervisor cannot see die, as one behind a connection that is lost.

    Attributes:
      inbox: what has come to it.
    """

    shutdown_timeout = 1.0

    def __init__(self, node: Node, epoch: int, ended: EndOfLife) -> None:
        self.inbox: list[tuple[Any, ...]] = []
        self.ended = ended
        self.value = epoch
        self.stopped: list[float | None] = []
        self._local = node.port(self._take)

    def _take(self, *message: Any) -> None:
        self.inbox.append(message)

    @property
    def port(self) -> str:
        """See `Life`."""
        return self._local

    def stop(self, limit: float | None) -> None:
        """See `Life`. It answers at once, in the middle of the call."""
        self.stopped.append(limit)
        self.ended(("given_up",), None)


class FarKind:
    """A child of such lives.

    Attributes:
      lives: all of them.
      early: whether the end of a life is reported before its start has returned.
      takes: for how many seconds a start goes on, whoever cancels it.
    """

    def __init__(self, node: Node) -> None:
        self.lives: list[FarLife] = []
        self.early = False
        self.takes = 0.0
        self._node = node

    async def begin(self, epoch: int, ended: EndOfLife) -> FarLife:
        """See `Kind`."""
        life = FarLife(self._node, epoch, ended)
        self.lives.append(life)
        if self.early:
            self.early = False
            ended(("died", "early"), None)
        with trio.CancelScope(shield=True):
            await trio.sleep(self.takes)
        return life


async def add(crew: Supervisor, kind: FarKind, shutdown: float | None = None) -> ChildRef:
    settings = ChildSettings(Restart.PERMANENT, shutdown, significant=False, listed=None)
    return await crew._driver.add(kind, "far", settings)


async def test_monitors_through_a_reference_fire_before_it_moves_though_the_port_lives(
    autojump_clock: MockClock,
) -> None:
    seen: list[tuple[str, tuple[object, ...]]] = []
    async with open_node() as node, node.open_supervisor(backoff=None) as crew:
        kind = FarKind(node)
        child = await add(crew, kind)
        first = child.port
        owner = node.port()
        for _ in range(40):
            node.monitor(child, lambda *reason: seen.append((child.port, reason)))
        owner.run(node.monitor, child, lambda *reason: seen.append(("owner", reason)))
        cancelled = node.monitor(child, lambda *_: seen.append(("cancelled", ())))
        cancelled.cancel()
        by_port = node.monitor(first, lambda *reason: seen.append(("by port", reason)))
        node.send(child, 1)
        kind.lives[0].ended(("lost",), None)
        assert seen == [(first, ("lost",))] * 40 + [("owner", ("lost",))]
        await wait_all_tasks_blocked()
        assert child.port != first
        node.send(child, 2)
        await wait_all_tasks_blocked()
        assert [life.inbox for life in kind.lives] == [[(1,)], [(2,)]]
        assert by_port.active, "who has set it knows the port, which lives"
        kind.lives[0]._local.kill("now")
        await wait_all_tasks_blocked()
        assert seen[41:] == [("by port", ("now",))]


async def test_what_is_sent_between_two_lives_does_not_go_to_the_one_that_was_given_up(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node() as node, node.open_supervisor(backoff=None) as crew:
        kind = FarKind(node)
        child = await add(crew, kind)
        kind.takes = 5
        kind.lives[0].ended(("lost",), None)
        caplog.clear()
        node.send(child, 1)
        node.kill(child, "enough")
        node.send_after(1, child, 2)
        with pytest.raises(PortDied):
            await node.call(child, 3)
        await trio.sleep(2)
        assert kind.lives[0].inbox == []
        assert kind.lives[0]._local.alive
        await child.up()
        await wait_all_tasks_blocked()
        assert kind.lives[1].inbox == []
        assert [line for line in warnings_in(caplog) if "lost" in line][-1].endswith("3 messages to far were lost")


async def test_an_end_that_is_reported_before_the_start_has_returned_counts_after_it(
    autojump_clock: MockClock,
) -> None:
    async with open_node() as node, node.open_supervisor(backoff=None) as crew:
        kind = FarKind(node)
        kind.early = True
        child = await add(crew, kind)
        await wait_all_tasks_blocked()
        assert child.reason == ("died", "early")
        assert child.restarts == 1
        assert child.port == kind.lives[1].port
        kind.lives[0].ended(("died", "again"), None)
        await wait_all_tasks_blocked()
        assert child.restarts == 1, "each life ends once"


async def test_a_start_that_has_succeeded_although_it_was_stopped_is_stopped(autojump_clock: MockClock) -> None:
    async with open_node() as node, node.open_supervisor(backoff=None) as crew:
        kind = FarKind(node)
        kind.takes = 5
        with trio.move_on_after(1) as scope:
            await add(crew, kind, shutdown=3)
        assert scope.cancelled_caught
        assert [life.stopped for life in kind.lives] == [[3]]
        assert crew.children == ()


@pytest.mark.parametrize("shutdown, limit", [(None, 1.0), (7.0, 7.0), (float("inf"), None)])
async def test_the_time_in_which_a_life_is_to_stop(
    shutdown: float | None, limit: float | None, autojump_clock: MockClock
) -> None:
    async with open_node() as node:
        async with node.open_supervisor() as crew:
            kind = FarKind(node)
            await add(crew, kind, shutdown)
        assert kind.lives[0].stopped == [limit]


async def test_an_error_in_this_package_leaves_nobody_waiting(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FarLife):
        def stop(self, limit: float | None) -> None:
            raise Crash("in stop")

    class BrokenKind(FarKind):
        async def begin(self, epoch: int, ended: EndOfLife) -> FarLife:
            await trio.lowlevel.checkpoint()
            return Broken(self._node, epoch, ended)

    caplog.set_level(logging.CRITICAL)
    async with open_node() as node:
        child: list[ChildRef] = []

        async def run() -> None:
            async with node.open_supervisor() as crew:
                child.append(await add(crew, BrokenKind(node)))

        with pytest.raises(Crash, match="in stop"):
            await run()
        assert not node._runtime.supervisors


async def test_a_port_that_is_killed_unwinds_in_the_time_of_the_child(autojump_clock: MockClock) -> None:
    async def stubborn(port: Port, task_status: Any) -> None:
        task_status.started()
        with trio.CancelScope(shield=True):
            await trio.sleep(50)

    async with open_node(shutdown_timeout=1) as node, node.open_supervisor(backoff=None) as crew:
        child = await crew.start(stubborn, shutdown=20)
        node.kill(child, "enough")
        await node.wait_death(child)
        assert trio.current_time() == 20


async def test_a_part_of_the_package_adds_its_own_kind_by_the_block(autojump_clock: MockClock) -> None:
    async with open_node() as node:
        block = node.open_supervisor()
        assert isinstance(block, SupervisorBlock)
        kind, settings = FarKind(node), ChildSettings(Restart.PERMANENT, None, significant=False, listed=None)
        with pytest.raises(RuntimeError, match="far cannot be added"):
            await block.add(kind, "far", settings)
        async with block as crew:
            child = await block.add(kind, "far", settings)
            assert crew.children == (child,)
        assert kind.lives[0].stopped
