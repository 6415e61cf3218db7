"""What the ports promise to whoever speaks with other nodes, with one that only writes down what it is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from trio_mp import Monitor, Node, current_node, current_port, open_node
from trio_mp._ports.boundary import LocalPorts, RemoteMonitor
from trio_mp._reason import Reason


class OtherNode:
    """Speaks with another node: a writer and a watcher, as `boundary.py` asks for them.

    Attributes:
      log: in their order: notices that were queued, messages that were sent, and what was written of both.
    """

    def __init__(self, ports: LocalPorts) -> None:
        self._ports = ports
        self._queued: list[object] = []
        self.log: list[tuple[str, object]] = []

    def send(self, message: object) -> None:
        self.log.append(("queued", message))
        self._queued.append(message)
        self._ports.queue.mark_dirty(self)

    def write(self) -> None:
        """Write at once, as for a queue that has grown large, if that may be."""
        if not self._ports.lifecycle.firing:
            self.flush_dirty()

    def tell_death(self, name: str, reason: Reason) -> None:
        self.send(("died", name, *reason))

    def flush_dirty(self) -> None:
        assert not self._ports.lifecycle.firing
        self.log += [("written", message) for message in self._queued]
        self._queued.clear()


@asynccontextmanager
async def open_with_other() -> AsyncGenerator[tuple[Node, LocalPorts, OtherNode], None]:
    async with open_node() as node:
        ports: LocalPorts = node._runtime.dispatcher
        yield node, ports, OtherNode(ports)


@asynccontextmanager
async def reading(ports: LocalPorts, read: Callable[[Any], object]) -> AsyncGenerator[None, None]:
    """A task that brings messages in, once."""

    async def run() -> None:
        running = ports.enter()
        try:
            read(running)
        finally:
            ports.queue.release_pump()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield


def refuse(message: tuple[Any, ...]) -> None:
    raise AssertionError(f"not for the node port: {message}")


async def test_nothing_is_written_between_the_first_monitor_and_the_last() -> None:
    async with open_with_other() as (node, _, other):
        port = node.port()
        monitors: list[Monitor] = []

        def told(number: int) -> Callable[..., None]:
            def callback(*_: object) -> None:
                assert all(monitor.reason == ("why",) for monitor in monitors)
                other.send(number)
                other.write()

            return callback

        monitors += [node.monitor(port, told(number)) for number in range(3)]
        node.kill(port, "why")
        await wait_all_tasks_blocked()
        assert other.log == [("queued", n) for n in range(3)] + [("written", n) for n in range(3)]


async def test_the_notice_of_a_death_is_queued_before_any_callback_runs() -> None:
    async with open_with_other() as (node, ports, other):
        port = node.port()
        node.monitor(port, lambda *_: other.send("from a callback"))
        ports.lifecycle.add_local_monitor(port.name, RemoteMonitor(other, port.name))
        node.kill(port, "why")
        await wait_all_tasks_blocked()
        assert [message for what, message in other.log if what == "written"] == [
            ("died", port.name, "why"),
            "from a callback",
        ]


async def test_a_remote_monitor_of_a_dead_port_is_told_and_not_before_it_is_set() -> None:
    async with open_with_other() as (node, ports, other):
        ports.lifecycle.add_local_monitor("nobody", RemoteMonitor(other, "nobody"))
        assert not other.log
        await wait_all_tasks_blocked()
        (_, notice), _ = other.log
        assert isinstance(notice, tuple)
        assert notice[:3] == ("died", "nobody", "no_such_port")
        port = node.port()
        monitor = RemoteMonitor(other, port.name)
        ports.lifecycle.add_local_monitor(port.name, monitor)
        ports.lifecycle.remove_local_monitor(port.name, monitor)
        node.kill(port)
        await wait_all_tasks_blocked()
        assert len(other.log) == 2, "it was taken away"


async def test_what_is_brought_in_is_dispatched_in_order_and_what_it_causes_before_the_flush() -> None:
    async with open_with_other() as (node, ports, other):
        seen: list[object] = []

        @node.port
        def second(number: int) -> None:
            seen.append(("second", number))
            other.send(number)

        def first(number: int) -> None:
            assert current_port() is not None
            assert current_node() is node
            seen.append(("first", number))
            node.send(second, number)

        port = node.port(first)
        batch: list[tuple[Any, ...]] = [(port.name, number) for number in range(3)]

        def read(running: Any) -> None:
            assert ports.dispatch_batch(running, batch, 0, refuse) == len(batch)
            assert seen == [("first", number) for number in range(3)]
            ports.run_pass(running)
            seen.append("end of the pass")
            assert [what for what, _ in other.log] == ["queued"] * 3 + ["written"] * 3

        async with reading(ports, read):
            pass
        assert seen[3:] == [("second", 0), ("second", 1), ("second", 2), "end of the pass"]


async def test_the_pump_sleeps_until_the_pass_and_wakes_again_afterwards() -> None:
    async with open_with_other() as (node, ports, _):
        seen: list[int] = []
        port = node.port(seen.append)

        async with reading(ports, lambda running: ports.dispatch_batch(running, [(port.name, 1)], 0, refuse)):
            pass
        node.send(port, 2)
        await wait_all_tasks_blocked()
        assert seen == [1, 2]


async def test_what_is_to_come_next_comes_before_what_waits() -> None:
    async with open_with_other() as (node, ports, _):
        seen: list[int] = []
        port = node.port(seen.append)
        node.send(port, 2)
        ports.queue.call_next(seen.append, 1)
        await wait_all_tasks_blocked()
        assert seen == [1, 2]


async def test_what_comes_next_comes_between_deaths_that_were_monitored_late() -> None:
    """Ports with handlers alone are buried many at a time, but a loss that one death brings about is told first."""
    seen: list[str] = []
    async with open_with_other() as (node, ports, _):
        made = [node.port() for _ in range(4)]

        def die() -> None:
            for port in made:
                node._lifecycle.die(port, ("why",))
            for number in (1, 2):
                node.monitor(made[number], lambda *_, number=number: told(number))

        def told(number: int) -> None:
            seen.append(f"death {number}")
            ports.queue.call_next(seen.append, f"loss {number}")

        node.port().run(die)
        await wait_all_tasks_blocked()
    assert seen == ["death 1", "loss 1", "death 2", "loss 2"]
