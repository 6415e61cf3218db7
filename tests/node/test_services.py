"""The services of a node: found by their names, called with the node, before the block begins."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import service_functions
import trio
import trio.testing

from trio_mp import ConfigurationError, Node, open_node


@pytest.fixture(autouse=True)
def calls() -> Iterator[list[tuple[object, ...]]]:
    service_functions.calls.clear()
    yield service_functions.calls
    service_functions.calls.clear()


async def the_port(node: Node, family: str) -> str:
    async with node.database.watch(family) as changes:
        async for change in changes:
            if change.table:
                return str(next(iter(change.table)))
    raise AssertionError


async def test_a_sync_service_is_called_with_the_node_and_its_arguments_before_the_block(calls: list[Any]) -> None:
    services = ["service_functions:sync", ("service_functions", 1, ["two"]), ["service_functions:sync", None]]
    async with open_node("n", services=services):
        assert calls == [("sync", "n"), ("main", "n", 1, ["two"]), ("sync", "n", None)]


async def test_a_sync_service_serves_by_its_ports() -> None:
    async with open_node(services=[("service_functions:open_a_port", "doublers")]) as node:
        with trio.fail_after(10):
            assert await node.call(await the_port(node, "doublers"), "double", 21) == (42,)


async def test_an_async_service_is_the_task_of_a_port_and_ends_with_the_node(
    calls: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trio_mp")
    async with open_node("n", services=[("service_functions:echo", "echoes")]) as node:
        with trio.fail_after(10):
            port = await the_port(node, "echoes")
            assert await node.call(port, "a text") == ("a text",)
        assert f"the service service_functions:echo is the port {port}" in caplog.messages
        assert calls == []
    assert calls == [("echo ends", "n")]


async def test_an_async_service_that_raises_is_a_port_that_dies(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("n", services=["service_functions:fail"]) as node:
        await trio.testing.wait_all_tasks_blocked()
        assert node.port().alive
    assert re.search(r"died and nobody monitors it\n(?s:.*), in fail\n(?s:.*)ValueError: of the service", caplog.text)


async def test_where_deaths_crash_the_node_that_of_a_service_does() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_node(services=["service_functions:fail"], unmonitored_death="raise"):
            await trio.sleep_forever()
    assert caught.group_contains(ValueError, match="of the service")


async def test_an_exception_of_a_sync_service_leaves_open_node_and_the_next_service_is_not_called(
    calls: list[Any],
) -> None:
    services = ["service_functions:sync", "service_functions:fail_at_once", "service_functions:main"]
    with pytest.raises(ValueError, match=r"^at once$"):
        async with open_node("n", services=services):
            raise AssertionError
    assert calls == [("sync", "n")]


async def test_an_async_function_behind_a_sync_one_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"^the service service_functions:wrapped: expected an async function"):
        async with open_node(services=["service_functions:wrapped"]):
            raise AssertionError


@pytest.mark.parametrize(
    "service, text",
    [
        ("no_such_module:f", r"services\[1\]: cannot import 'no_such_module': ModuleNotFoundError"),
        (
            "service_functions:missing",
            r"services\[1\]: expected a function missing\(node\) in the module service_functions, got none",
        ),
        ("service_functions:NOT_A_FUNCTION", r"services\[1\]: .*, got 5; write 'package\.module:function'"),
        ("service_functions:generate", r"services\[1\]: .*, got <function generate"),
    ],
)
async def test_a_service_that_cannot_be_found_is_refused_before_anything_runs(
    service: str, text: str, calls: list[Any]
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{text}"):
        async with open_node(services=["service_functions", service]):
            raise AssertionError
    assert calls == []


async def test_a_profile_names_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[Any]) -> None:
    path = tmp_path / "profiles.toml"
    path.write_text("[profile.a]\nservices = ['service_functions', ['service_functions:sync', 'imap', {port = 3}]]\n")
    path.chmod(0o600)
    monkeypatch.setenv("TRIO_MP_CONFIG", str(path))
    async with open_node("n", profile="a", services=["service_functions:fail_at_once"]):
        assert calls == [("main", "n"), ("sync", "n", "imap", {"port": 3})]
        # The second node of the process does not run them again.
        async with open_node("m", profile="a", services=["service_functions"]):
            assert calls[2:] == [("main", "m")]
    path.write_text("[profile.a]\nservices = ['service_functions:missing']\n")
    with pytest.raises(ConfigurationError, match=rf"got none.* \(services is from {path}: profile\.a\.services\)$"):
        async with open_node(profile="a"):
            raise AssertionError
