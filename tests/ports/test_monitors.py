"""Monitors in all their forms, and the tools made of them."""

# ruff: noqa: PT012 - what leaves a whole block is what many of these tests are about

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import trio
from reason_helpers import Died
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_mp import ChildRef, Monitor, Port, PortDied, current_port, open_node
from trio_mp._ports.port import state_of


async def test_a_callback_gets_the_elements_of_the_reason() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        node.monitor(port, lambda *reason: seen.append(reason))
        node.kill(port, "why", "because")
        await wait_all_tasks_blocked()
        assert seen == [("why", "because")]


async def test_a_normal_death_calls_it_with_nothing() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        node.monitor(port, lambda *reason: seen.append(reason))
        node.kill(port)
        await wait_all_tasks_blocked()
        assert seen == [()]


async def test_a_monitor_with_a_port_sends_it_the_message_with_the_reason_appended() -> None:
    async with open_node() as node, node.open_port() as watcher:
        port = node.port()
        node.monitor(port, watcher, "died", port)
        node.kill(port, "why", "because")
        assert await watcher.receive() == ("died", str(port), "why", "because")


async def test_a_monitor_with_a_port_and_no_message_sends_the_reason_alone() -> None:
    async with open_node() as node, node.open_port() as watcher:
        port = node.port()
        node.monitor(port, str(watcher))
        node.kill(port, "why")
        assert await watcher.receive() == ("why",)


async def test_a_monitor_fires_once() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        node.monitor(port, lambda *reason: seen.append(reason))
        for _ in range(3):
            node.kill(port, "why")
        await wait_all_tasks_blocked()
        assert seen == [("why",)]


async def test_every_monitor_of_a_port_fires_in_the_order_they_were_set() -> None:
    async with open_node() as node:
        seen: list[int] = []
        port = node.port()
        for number in range(10):
            node.monitor(port, lambda *_, number=number: seen.append(number))
        node.kill(port)
        await wait_all_tasks_blocked()
        assert seen == list(range(10))


async def test_setting_a_monitor_calls_nothing_yet() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        node.kill(port)
        await wait_all_tasks_blocked()
        node.monitor(port, lambda *reason: seen.append(reason))
        assert not seen
        await wait_all_tasks_blocked()
        assert len(seen) == 1


async def test_a_monitor_of_a_dead_port_says_that_there_is_none() -> None:
    async with open_node() as node:
        port = node.port()
        node.kill(port, "why")
        await wait_all_tasks_blocked()
        monitor = node.monitor(port, lambda *_: None)
        await wait_all_tasks_blocked()
        assert monitor.reason is not None
        assert monitor.reason[0] == "no_such_port"
        assert str(port) in str(monitor.reason[1])


async def test_a_monitor_of_a_port_that_never_was_says_that_there_is_none() -> None:
    async with open_node() as node:
        monitor = node.monitor(f"{node.id}#aaaaaaaaaaaaaaaa.77", lambda *_: None)
        await wait_all_tasks_blocked()
        assert monitor.reason is not None
        assert monitor.reason[0] == "no_such_port"


async def test_a_monitor_of_the_own_node_fires_when_it_closes() -> None:
    async with open_node("here") as node:
        monitor = node.monitor("here", lambda *_: None)
        await wait_all_tasks_blocked()
        assert monitor.active
    assert monitor.reason is not None
    assert monitor.reason[:2] == ("transport_error", "here")


async def test_a_cancelled_monitor_of_the_own_node_does_not_fire() -> None:
    async with open_node("here") as node:
        with node.monitor("here#", lambda *_: None) as monitor:
            assert monitor.active
    assert monitor.reason is None


async def test_a_cancelled_monitor_does_not_fire() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        monitor = node.monitor(port, lambda *reason: seen.append(reason))
        monitor.cancel()
        monitor.cancel()
        node.kill(port)
        await wait_all_tasks_blocked()
        assert not seen
        assert monitor.reason is None
        assert not monitor.active


async def test_a_monitor_may_be_cancelled_between_the_kill_and_its_firing() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        monitor = node.monitor(port, lambda *reason: seen.append(reason))
        node.kill(port)
        monitor.cancel()
        await wait_all_tasks_blocked()
        assert not seen


async def test_a_monitor_of_a_port_that_is_not_there_may_be_cancelled_before_it_fires() -> None:
    async with open_node() as node:
        seen: list[object] = []
        node.monitor(f"{node.id}#aaaaaaaaaaaaaaaa.77", lambda *reason: seen.append(reason)).cancel()
        await wait_all_tasks_blocked()
        assert not seen


async def test_a_callback_may_cancel_another_monitor_of_the_same_port() -> None:
    async with open_node() as node:
        seen: list[str] = []
        port = node.port()

        def first(*_: object) -> None:
            seen.append("first")
            second.cancel()

        node.monitor(port, first)
        second = node.monitor(port, lambda *_: seen.append("second"))
        node.kill(port)
        await wait_all_tasks_blocked()
        assert seen == ["first"]


async def test_a_monitor_is_a_context_manager_that_cancels_it() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        with node.monitor(port, lambda *reason: seen.append(reason)) as monitor:
            assert isinstance(monitor, Monitor)
            states = [monitor.active]
        states.append(monitor.active)
        assert states == [True, False]
        node.kill(port)
        await wait_all_tasks_blocked()
        assert not seen


async def test_the_block_of_a_monitor_lets_exceptions_pass() -> None:
    async with open_node() as node:
        with pytest.raises(KeyError), node.monitor(node.port(), lambda *_: None):
            raise KeyError


async def test_a_monitor_says_what_it_is() -> None:
    async with open_node() as node:
        port = node.port()
        monitor = node.monitor(port, lambda *_: None)
        other = node.monitor(port, lambda *_: None)
        assert monitor.port == port
        assert type(monitor.port) is str
        assert "active" in repr(monitor)
        other.cancel()
        assert "cancelled" in repr(other)
        node.kill(port, "why")
        await wait_all_tasks_blocked()
        assert "why" in repr(monitor)
        assert str(port) in repr(monitor)


async def test_a_monitor_ends_with_the_port_that_set_it() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        owner = node.port()
        monitor = owner.run(node.monitor, port, lambda *reason: seen.append(reason))
        assert monitor is not None
        node.kill(owner)
        node.kill(port)
        await wait_all_tasks_blocked()
        assert not seen
        assert not monitor.active


async def test_a_monitor_that_begins_to_fire_ends_with_the_port_that_set_it() -> None:
    """One callback kills the port that set both monitors."""
    async with open_node() as node:
        seen: list[str] = []
        port = node.port()
        owner = node.port()

        def fail(*_: object) -> None:
            seen.append("first")
            raise ValueError("no good")

        owner.run(node.monitor, port, fail)
        owner.run(node.monitor, port, lambda *_: seen.append("second"))
        node.monitor(owner, lambda *_: None)
        node.kill(port)
        await wait_all_tasks_blocked()
        assert not owner.alive
        assert seen == ["first"]


async def test_a_callback_runs_in_the_context_of_the_port_that_set_the_monitor() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        owner = node.port()

        @owner.on("watch")
        def watch(other: str) -> None:
            node.monitor(other, lambda *_: seen.append(current_port()))

        node.send(owner, "watch", port)
        await wait_all_tasks_blocked()
        node.kill(port)
        await wait_all_tasks_blocked()
        assert seen == [owner]


async def test_a_callback_set_outside_ports_runs_outside_ports() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()

        def callback(*_: object) -> None:
            with pytest.raises(RuntimeError):
                current_port()
            seen.append("called")

        node.monitor(port, callback)
        node.kill(port)
        await wait_all_tasks_blocked()
        assert seen == ["called"]


async def test_a_callback_that_raises_kills_the_port_that_set_the_monitor() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port, owner = node.port(), node.port()

        def fail(*_: object) -> None:
            raise ValueError("no good")

        owner.run(node.monitor, port, fail)
        node.monitor(port, lambda *_: seen.append("other"))
        node.kill(port)
        assert await node.wait_death(owner) == Died("ValueError: no good")
        assert seen == ["other"]


async def test_a_callback_that_raises_outside_ports_crashes_the_node() -> None:
    seen: list[object] = []

    def fail(*_: object) -> None:
        raise ValueError("no good")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_node() as node:
            port = node.port()
            node.monitor(port, fail)
            node.monitor(port, lambda *_: seen.append("other"))
            node.kill(port)
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert seen == ["other"], "the other callbacks are called all the same"


async def test_several_callbacks_that_raise_outside_ports_crash_the_node_with_all_they_raised() -> None:
    def fail(*_: object) -> None:
        raise ValueError("no good")

    def fail_differently(*_: object) -> None:
        raise KeyError("no good")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_node() as node:
            port = node.port()
            node.monitor(port, fail)
            node.monitor(port, fail_differently)
            node.kill(port)
            await trio.sleep_forever()
    values, keys = caught.value.split(ValueError)
    assert values is not None
    assert keys is not None


async def test_an_async_callback_is_refused() -> None:
    async def callback(*_: object) -> None: ...

    async with open_node() as node:
        with pytest.raises(TypeError, match="callback"):
            node.monitor(node.port(), callback)


async def test_a_callback_that_turns_out_async_kills_the_port_that_set_the_monitor() -> None:
    async with open_node() as node:

        async def never(*_: object) -> None:
            raise AssertionError

        def sync_front(function: Callable[..., object], *arguments: object) -> object:
            return function(*arguments)

        port, owner = node.port(), node.port()
        owner.run(node.monitor, port, functools.partial(sync_front, never))
        node.kill(port)
        reason = await node.wait_death(owner)
        assert reason[0] == "die"
        assert "sync" in str(reason[1])


@pytest.mark.parametrize("action", [None, 5, ()])
async def test_what_is_neither_a_callback_nor_a_port_is_refused_by_name(action: Any) -> None:
    async with open_node() as node:
        with pytest.raises(TypeError) as caught:
            node.monitor(node.port(), action)
        assert repr(action) in str(caught.value)


async def test_a_callback_takes_no_message() -> None:
    async with open_node() as node:
        with pytest.raises(TypeError, match="message"):
            node.monitor(node.port(), lambda *_: None, "message")  # type: ignore[call-overload]


async def test_a_port_to_tell_is_checked_when_the_monitor_is_set() -> None:
    async with open_node() as node:
        with pytest.raises(ValueError, match="no port"):
            node.monitor(node.port(), "no port", "message")


async def test_all_monitors_fire_before_what_one_of_them_sends_is_delivered() -> None:
    async with open_node() as node:
        seen: list[object] = []
        receiver = node.port(seen.append)
        port = node.port()
        for number in range(3):
            node.monitor(port, receiver, f"message {number}")
            node.monitor(port, lambda *_, number=number: seen.append(f"callback {number}"))
        node.kill(port)
        await wait_all_tasks_blocked()
        assert seen == [
            *("callback 0", "callback 1", "callback 2"),
            *("message 0", "message 1", "message 2"),
        ]


async def test_the_reason_is_set_on_all_monitors_before_any_callback_runs() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        monitors: list[Monitor] = []
        for _ in range(3):
            monitors.append(node.monitor(port, lambda *_: seen.append([m.reason for m in monitors])))
        node.kill(port, "why")
        await wait_all_tasks_blocked()
        assert seen == [[("why",)] * 3] * 3


async def test_messages_of_the_port_before_its_death_come_before_the_notice_of_it() -> None:
    async with open_node() as node, node.open_port() as watcher:

        def fail(*_: object) -> None:
            node.send(watcher, "last words")
            raise ValueError("no good")

        port = node.port(fail)
        node.monitor(port, watcher, "died")
        node.send(port)
        assert await watcher.receive() == ("last words",)
        assert (await watcher.receive())[0] == "died"


async def test_a_callback_may_set_another_monitor_of_the_dead_port() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        node.monitor(port, lambda *_: node.monitor(port, lambda *reason: seen.append(reason[0])))
        node.kill(port, "why")
        await wait_all_tasks_blocked()
        assert seen == ["no_such_port"]


async def test_a_callback_may_start_the_successor() -> None:
    async with open_node() as node:
        ports: list[Port] = []

        def start() -> None:
            ports.append(node.port(lambda *_: None))
            node.monitor(ports[-1], restart)

        def restart(*_: object) -> None:
            start()

        start()
        for _ in range(3):
            node.kill(ports[-1], "why")
            await wait_all_tasks_blocked()
        assert [port.alive for port in ports] == [False, False, False, True]


async def test_a_callback_that_starts_the_successor_after_every_death_does_not_spoil_a_clean_close() -> None:
    """A supervisor need not know that its node is closing."""
    async with open_node() as node:

        def start() -> None:
            node.monitor(node.port(lambda *_: None), lambda *_: start())

        start()


async def test_a_node_keeps_nothing_of_monitors_that_have_ended() -> None:
    async with open_node() as node:
        port, owner = node.port(), node.port()
        for _ in range(3):
            node.monitor(port, lambda *_: None).cancel()
            owner.run(lambda: node.monitor(port, lambda *_: None).cancel())
            with node.monitor(node.id, lambda *_: None):
                pass
            with node.move_on_death(port):
                pass
        node.send(port, "x")
        assert not state_of(port).monitors
        assert not state_of(owner).owned
        assert not node._runtime._node_monitors
        dying = node.port()
        owner.run(node.monitor, dying, lambda *_: None)
        owner.run(node.monitor, f"{node.id}#aaaaaaaaaaaaaaaa.77", lambda *_: None)
        node.kill(dying)
        await wait_all_tasks_blocked()
        assert not state_of(owner).owned
        other = node.port()
        owner.run(node.monitor, other, lambda *_: None)
        owner.run(node.monitor, node.id, lambda *_: None)
        node.kill(owner)
        await wait_all_tasks_blocked()
        assert not state_of(other).monitors
        assert not node._runtime._node_monitors


@pytest.mark.parametrize("action", ["callback", "port"])
async def test_a_port_that_monitors_itself_is_refused(action: str) -> None:
    """The monitor would end with the port that set it, and so could never tell of its death."""
    async with open_node() as node:
        refused: list[str] = []
        other = node.port()
        port = node.port()

        def monitor(watched: str) -> None:
            with pytest.raises(ValueError, match=r"expected another port, .* in a port that lives longer") as caught:
                node.monitor(watched, (lambda *_: None) if action == "callback" else other)
            refused.append(str(caught.value))

        port.run(monitor, port)
        port.run(monitor, str(port))
        assert len(refused) == 2
        assert str(port) in refused[0]
        assert port.alive
        assert not state_of(port).monitors


async def test_a_child_that_monitors_itself_by_its_reference_is_refused() -> None:
    async with open_node() as node, node.open_supervisor() as supervisor:
        children: list[ChildRef] = []

        async def child(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            await port.receive("monitor")
            with pytest.raises(ValueError, match="expected another port"):
                node.monitor(children[0], lambda *_: None)
            children.clear()
            await trio.sleep_forever()

        children.append(await supervisor.start(child))
        node.send(children[0], "monitor")
        await wait_all_tasks_blocked()
        assert not children


async def test_a_port_may_wait_for_its_own_death_and_set_links_of_its_own() -> None:
    """These do not need the port to be told afterwards: a wait is broken off, and a link kills the other port."""
    async with open_node() as node:
        other = node.port()

        async def wait(port: Port) -> None:
            node.link(port, other)
            with node.move_on_death(port):
                node.kill(port, "why", "because")
                await trio.sleep_forever()

        assert await node.wait_death(node.start_port(wait)) == ("why", "because")
        assert not other.alive


# Scopes tied to a port ----------------------------------------------------------------------------------------------


async def for_ever() -> None:
    """As `trio.sleep_forever`, but type checkers do not know that it never returns."""
    await trio.sleep_forever()


async def test_move_on_death_cancels_the_block_when_the_port_dies() -> None:
    async with open_node() as node:
        port = node.port()
        with node.move_on_death(port) as scope:
            node.kill(port, "why")
            await for_ever()
        assert scope.reason == ("why",)
        assert scope.cancelled_caught
        assert scope.cancel_called
        assert scope.port == port


async def test_move_on_death_lets_a_block_that_ends_before_go_on() -> None:
    async with open_node() as node:
        port = node.port()
        with node.move_on_death(port) as scope:
            await trio.lowlevel.checkpoint()
        node.kill(port)
        await wait_all_tasks_blocked()
        assert scope.reason is None
        assert not scope.cancelled_caught
        assert not scope.cancel_called


async def test_move_on_death_of_a_dead_port_cancels_the_block() -> None:
    async with open_node() as node:
        port = node.port()
        node.kill(port)
        await wait_all_tasks_blocked()
        with node.move_on_death(port) as scope:
            await for_ever()
        assert scope.reason is not None
        assert scope.reason[0] == "no_such_port"


async def test_move_on_death_may_be_cancelled_by_hand() -> None:
    async with open_node() as node:
        with node.move_on_death(node.port()) as scope:
            scope.cancel()
            await for_ever()
        assert scope.cancelled_caught
        assert scope.reason is None


async def test_move_on_death_lets_exceptions_pass() -> None:
    async with open_node() as node:
        with pytest.raises(KeyError), node.move_on_death(node.port()):
            raise KeyError


async def test_move_on_death_says_why_even_if_the_block_was_not_cancelled() -> None:
    async with open_node() as node:
        port = node.port()
        with node.move_on_death(port) as scope:
            node.kill(port, "why")
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
        assert scope.reason == ("why",)
        assert not scope.cancelled_caught


async def test_fail_on_death_raises() -> None:
    async with open_node() as node:
        port = node.port()
        with pytest.raises(PortDied) as caught, node.fail_on_death(port):
            node.kill(port, "why")
            await for_ever()
        assert caught.value.port == port
        assert caught.value.reason == ("why",)


async def test_fail_on_death_raises_for_a_normal_death_too() -> None:
    async with open_node() as node:
        port = node.port()
        with pytest.raises(PortDied) as caught, node.fail_on_death(port):
            node.kill(port)
            await for_ever()
        assert caught.value.reason == ()


async def test_fail_on_death_is_quiet_when_the_block_ends_before() -> None:
    async with open_node() as node:
        port = node.port()
        with node.fail_on_death(port) as scope:
            await trio.lowlevel.checkpoint()
        assert scope.reason is None


async def test_fail_on_death_cancelled_by_hand_does_not_raise() -> None:
    async with open_node() as node:
        with node.fail_on_death(node.port()) as scope:
            scope.cancel()
            await for_ever()
        assert scope.reason is None


async def test_fail_on_death_lets_exceptions_and_outer_cancellation_pass() -> None:
    async with open_node() as node:
        with pytest.raises(KeyError), node.fail_on_death(node.port()):
            raise KeyError
        with trio.CancelScope() as outer, node.fail_on_death(node.port()):
            outer.cancel()
            await for_ever()
        assert outer.cancelled_caught


async def test_scopes_tied_to_ports_nest() -> None:
    async with open_node() as node:
        one, other = node.port(), node.port()
        with node.move_on_death(one) as outer:
            with node.move_on_death(other) as inner:
                node.kill(other, "inner")
                await for_ever()
            assert inner.reason == ("inner",)
            node.kill(one, "outer")
            await for_ever()
        assert outer.reason == ("outer",)


async def test_a_scope_works_in_a_task_of_a_port() -> None:
    async with open_node() as node, node.open_port() as answers:
        other = node.port()

        async def process(_: Port) -> None:
            with node.move_on_death(other) as scope:
                await for_ever()
            node.send(answers, *(scope.reason or ()))

        node.start_port(process)
        await wait_all_tasks_blocked()
        node.kill(other, "why")
        assert await answers.receive() == ("why",)


async def test_wait_death_returns_the_reason() -> None:
    async with open_node() as node:
        port = node.port()
        node.kill(port, "why")
        with assert_checkpoints():
            assert await node.wait_death(port) == ("why",)
        with assert_checkpoints():
            assert (await node.wait_death(port))[0] == "no_such_port"


async def test_many_may_wait_for_the_same_death() -> None:
    async with open_node() as node:
        port = node.port()
        seen: list[object] = []

        async def wait() -> None:
            seen.append(await node.wait_death(port))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            node.kill(port, "why")
        assert seen == [("why",)] * 3


async def test_a_cancelled_wait_for_a_death_leaves_no_monitor_behind() -> None:
    async with open_node() as node:
        port = node.port()
        with trio.move_on_after(0):
            await node.wait_death(port)
        assert not state_of(port).monitors


WAYS: list[Callable[[Any, str], Any]] = [
    lambda node, port: node.monitor(port, lambda *_: None),
    lambda node, port: node.link(port, node.port()),
]


@pytest.mark.parametrize("way", WAYS)
async def test_a_port_may_be_named_by_its_id(way: Callable[[Any, str], Any]) -> None:
    async with open_node() as node:
        port = node.port()
        monitor = way(node, str(port))
        node.kill(port, "why")
        await wait_all_tasks_blocked()
        assert monitor.reason == ("why",)
