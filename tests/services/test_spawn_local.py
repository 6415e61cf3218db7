"""Spawning ports on the own node."""

from __future__ import annotations

import functools
import gc
import sys
from typing import Any

import pytest
import trio
from reason_helpers import Died
from trio.testing import wait_all_tasks_blocked

from trio_mp import ConfigurationError, Port, PortDied, current_node, current_port, open_node, spawnable

HERE = __name__
seen: list[object] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


@spawnable
def echo(port: Port, client: str, *arguments: object) -> None:
    seen.append(("echo", port, arguments))

    @port.on("echo")
    def answer(*message: object) -> None:
        current_node().send(client, *message)


@spawnable
async def process(port: Port, client: str, *arguments: object) -> None:
    current_node().send(client, "started", *arguments)
    async for message in port:
        current_node().send(client, *message)


@spawnable
def fail(port: Port, *_: object) -> None:
    raise ValueError("no good")


@spawnable
async def fail_later(port: Port, *_: object) -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("no good")


@spawnable
def note_context(port: Port) -> None:
    seen.append(current_port() is port)
    seen.append(current_node() is port.node)


@spawnable
def do_nothing(port: Port) -> None: ...


def not_released(port: Port) -> None: ...


NOT_A_FUNCTION = spawnable


def sync_front(function: Any) -> Any:
    @functools.wraps(function)
    def front(*arguments: Any) -> Any:
        return function(*arguments)

    return front


@spawnable
@sync_front
async def async_behind_a_sync_front(port: Port) -> None:
    seen.append("ran")
    await port.receive()


async def test_a_sync_function_installs_handlers() -> None:
    async with open_node() as node, node.open_port() as answers:
        port = node.spawn(node.id, f"{HERE}:echo", answers, 1, 2)
        node.send(port, "echo", "hello", 5)
        assert await answers.receive() == ("hello", 5)
        assert seen == [("echo", port, (1, 2))]


async def test_an_async_function_is_the_task_of_the_port() -> None:
    async with open_node() as node, node.open_port() as answers:
        port = node.spawn(node.id, f"{HERE}:process", answers, "x")
        node.send(port, "hello")
        assert await answers.receive() == ("started", "x")
        assert await answers.receive() == ("hello",)
        node.kill(port)
        assert await node.wait_death(port) == ()


async def test_spawn_returns_the_id_as_a_plain_string() -> None:
    async with open_node("here") as node:
        port = node.spawn("here", f"{HERE}:do_nothing")
        assert type(port) is str
        assert port.startswith("here#")


async def test_any_port_names_its_node() -> None:
    async with open_node("here") as node:
        port = node.spawn(node.port(), f"{HERE}:do_nothing")
        await wait_all_tasks_blocked()
        assert port.startswith("here#")


async def test_nothing_can_be_seen_before_spawn_returns() -> None:
    async with open_node() as node:
        await wait_all_tasks_blocked()
        node.spawn(node.id, f"{HERE}:note_context")
        assert not seen
        await wait_all_tasks_blocked()
        assert seen == [True, True]


async def test_nothing_can_be_seen_before_a_handler_that_spawns_has_returned() -> None:
    async with open_node() as node:

        def spawn() -> None:
            node.spawn(node.id, f"{HERE}:note_context")
            assert not seen

        port = node.port(spawn)
        node.send(port)
        await wait_all_tasks_blocked()
        assert seen == [True, True]
        assert port.alive


async def test_a_port_can_be_sent_to_and_monitored_before_it_exists() -> None:
    async with open_node() as node, node.open_port() as answers:
        port = node.spawn(node.id, f"{HERE}:echo", answers)
        monitor = node.monitor(port, lambda *_: None)
        for number in range(10):
            node.send(port, "echo", number)
        node.kill(port, "why")
        node.send(port, "echo", "too late")
        assert [await answers.receive() for _ in range(10)] == [(number,) for number in range(10)]
        await wait_all_tasks_blocked()
        assert monitor.reason == ("why",)


async def test_an_exception_in_a_sync_function_kills_the_port() -> None:
    async with open_node() as node:
        port = node.spawn(node.id, f"{HERE}:fail")
        assert await node.wait_death(port) == Died("ValueError: no good")


async def test_an_exception_in_an_async_function_kills_the_port() -> None:
    async with open_node() as node:
        port = node.spawn(node.id, f"{HERE}:fail_later")
        assert await node.wait_death(port) == Died("ValueError: no good")


async def test_a_failure_of_an_unmonitored_spawn_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        node.spawn(node.id, f"{HERE}:fail")
        await wait_all_tasks_blocked()
        assert "no good" in caplog.text


async def test_a_monitor_that_comes_after_the_failure_is_told_why() -> None:
    async with open_node() as node:
        failed = node.spawn(node.id, f"{HERE}:fail")
        missing = node.spawn(node.id, f"{HERE}:missing")
        await wait_all_tasks_blocked()
        assert await node.wait_death(failed) == Died("ValueError: no good")
        assert (await node.wait_death(missing))[0] == "spawn_failed"


async def test_only_the_latest_failures_are_remembered(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        first = node.spawn(node.id, f"{HERE}:missing")
        for _ in range(1024):
            last = node.spawn(node.id, f"{HERE}:missing")
        await wait_all_tasks_blocked()
        assert (await node.wait_death(first))[0] == "no_such_port"
        assert (await node.wait_death(last))[0] == "spawn_failed"
        assert "missing" in caplog.text


MISSING = [
    ("{here}:missing", "missing"),
    ("{here}:not_released", "spawnable"),
    ("{here}:NOT_A_FUNCTION", "spawnable"),
    ("{here}:seen", "spawnable"),
    ("no_such_module:function", "no_such_module"),
    ("::no_such_function", "__main__"),
]


@pytest.mark.parametrize("reference, text", MISSING)
async def test_what_cannot_be_spawned_fails_with_a_reason(reference: str, text: str) -> None:
    async with open_node() as node:
        port = node.spawn(node.id, reference.format(here=HERE))
        reason = await node.wait_death(port)
        assert reason[0] == "spawn_failed"
        assert text in str(reason[1])


async def test_a_module_that_has_gone_is_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gone_module", None)
    async with open_node() as node:
        port = node.spawn(node.id, "gone_module:function")
        assert (await node.wait_death(port))[0] == "spawn_failed"


async def test_two_colons_name_a_function_of_the_main_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "spawned_in_main", do_nothing, raising=False)
    async with open_node() as node:
        port = node.spawn(node.id, "::spawned_in_main")
        with node.monitor(port, lambda *_: None) as monitor:
            await wait_all_tasks_blocked()
            assert monitor.active


BAD_REFERENCES: list[tuple[Any, type[Exception]]] = [
    (None, TypeError),
    (do_nothing, TypeError),
    ("", ValueError),
    ("module", ValueError),
    ("module:", ValueError),
    (":function", ValueError),
    ("module:a.b", ValueError),
    ("module:function()", ValueError),
    ("mo dule:function", ValueError),
    ("../module:function", ValueError),
]


@pytest.mark.parametrize("reference, error", BAD_REFERENCES)
async def test_what_names_no_function_is_refused_by_name(reference: Any, error: type[Exception]) -> None:
    async with open_node() as node:
        with pytest.raises(error) as caught:
            node.spawn(node.id, reference)
        assert repr(reference) in str(caught.value)


@pytest.mark.parametrize("what", ["nested", "method", "class", "lambda", "partial", "builtin"])
def test_only_functions_at_the_top_level_of_a_module_can_be_spawnable(what: str) -> None:
    def nested(port: Port) -> None: ...

    class Class:
        def method(self) -> None: ...

    things: dict[str, Any] = {
        "nested": nested,
        "method": Class.method,
        "class": Class,
        "lambda": lambda port: None,
        "partial": functools.partial(do_nothing),
        "builtin": len,
    }
    with pytest.raises(TypeError, match="top level"):
        spawnable(things[what])


def test_spawnable_returns_the_function() -> None:
    assert spawnable(do_nothing) is do_nothing


async def test_a_linked_spawn_needs_a_running_port() -> None:
    async with open_node() as node:
        with pytest.raises(RuntimeError, match="linked"):
            node.spawn(node.id, f"{HERE}:do_nothing", linked=True)
        await wait_all_tasks_blocked()
        assert not node._runtime.dispatcher.ports


async def test_a_linked_port_takes_its_parent_along() -> None:
    async with open_node() as node:
        parent = node.port()
        child = parent.run(lambda: node.spawn(node.id, f"{HERE}:do_nothing", linked=True))
        assert child is not None
        await wait_all_tasks_blocked()
        node.kill(child, "why")
        assert await node.wait_death(parent) == ("why",)


async def test_a_parent_takes_its_linked_port_along() -> None:
    async with open_node() as node:
        parent = node.port()
        child = parent.run(lambda: node.spawn(node.id, f"{HERE}:do_nothing", linked=True))
        assert child is not None
        monitor = node.monitor(child, lambda *_: None)
        await wait_all_tasks_blocked()
        node.kill(parent, "why")
        await wait_all_tasks_blocked()
        assert monitor.reason == ("why",)


@pytest.mark.parametrize("which", ["parent", "child"])
async def test_a_normal_death_leaves_the_other_of_two_linked_alone(which: str) -> None:
    async with open_node() as node:
        parent = node.port()
        child = parent.run(lambda: node.spawn(node.id, f"{HERE}:do_nothing", linked=True))
        assert child is not None
        monitors = {"parent": node.monitor(parent, lambda *_: None), "child": node.monitor(child, lambda *_: None)}
        await wait_all_tasks_blocked()
        node.kill(parent if which == "parent" else child)
        await wait_all_tasks_blocked()
        assert {name for name, monitor in monitors.items() if monitor.reason is not None} == {which}


async def test_a_linked_spawn_that_fails_kills_its_parent() -> None:
    async with open_node() as node:
        for function, kind in (("fail", "die"), ("missing", "spawn_failed"), ("fail_later", "die")):
            parent = node.port()
            parent.run(lambda function=function: node.spawn(node.id, f"{HERE}:{function}", linked=True))
            assert (await node.wait_death(parent))[0] == kind


async def test_a_linked_spawn_in_a_task_ties_the_port_of_the_task() -> None:
    async with open_node() as node:
        children: list[str] = []

        async def spawn(port: Port) -> None:
            children.append(node.spawn(node.id, f"{HERE}:do_nothing", linked=True))
            await port.receive()

        parent = node.start_port(spawn)
        await wait_all_tasks_blocked()
        node.kill(children[0], "why")
        assert await node.wait_death(parent) == ("why",)


async def test_an_async_function_behind_a_sync_front_is_not_forgotten() -> None:
    """It runs, or the spawn fails and says why; but no coroutine is dropped in silence."""
    async with open_node() as node:
        port = node.spawn(node.id, f"{HERE}:async_behind_a_sync_front")
        monitor = node.monitor(port, lambda *_: None)
        await wait_all_tasks_blocked()
        assert seen == ["ran"] or monitor.reason
    gc.collect()


async def test_spawn_modules_are_imported_and_must_exist() -> None:
    async with open_node(spawn_modules=["json", HERE]):
        pass
    with pytest.raises(ConfigurationError, match=r"spawn_modules.*no_such_module"):
        async with open_node(spawn_modules=["no_such_module"]):
            raise AssertionError


async def test_a_spawn_that_is_still_queued_when_the_node_is_cancelled_makes_no_noise() -> None:
    """More is queued before it than one pass of the dispatcher takes."""
    for function in ("do_nothing", "process", "fail", "missing"):
        with trio.CancelScope() as scope:
            async with open_node() as node:
                port = node.port(lambda *_: None)
                for _ in range(5000):
                    node.send(port)
                spawned = node.spawn(node.id, f"{HERE}:{function}", port)
                monitor = node.monitor(spawned, lambda *_: None)
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert monitor.reason is not None
        assert monitor.reason[0] == "node_failed"


async def test_a_spawn_that_is_still_queued_when_the_node_closes_is_done() -> None:
    async with open_node() as node:
        node.spawn(node.id, f"{HERE}:note_context")
    assert seen == [True, True]


async def test_a_spawned_port_is_killed_when_the_node_closes() -> None:
    async with open_node("here") as node:
        client = node.port(lambda *_: None)
        port = node.spawn(node.id, f"{HERE}:process", client)
        monitor = node.monitor(port, lambda *_: None)
    assert monitor.reason == ("node_closed", "here")


async def test_a_task_of_a_dead_port_cannot_spawn(autojump_clock: object) -> None:
    async with open_node() as node:
        errors: list[Exception] = []

        async def task() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                try:
                    node.spawn(node.id, f"{HERE}:note_context")
                except PortDied as error:
                    errors.append(error)

        port = node.port()
        port.start_soon(task)
        await wait_all_tasks_blocked()
        node.kill(port)
        await node.wait_death(port)
        assert len(errors) == 1
        assert not seen
