"""Failures that must neither be taken for something else, nor hide, nor keep a node from closing."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, open_pair

from trio_mp import Node, Port, open_node, spawnable


async def test_an_os_error_of_a_callback_is_not_taken_for_one_of_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_pair(FakeNetwork()) as (a, b):
            port = b.port(lambda *_: None)

            def callback(*_reason: object) -> None:
                raise OSError("a callback failed")

            a.monitor(port, callback)
            b.kill(port)
            await trio.sleep(60)
    assert caught.group_contains(OSError, match="a callback failed")


async def test_an_unmonitored_os_error_of_a_remote_message_crashes_where_it_should(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def handler(*_message: object) -> None:
        raise FileNotFoundError("a file of the program")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_pair(FakeNetwork(), unmonitored_death="raise") as (a, b):
            b.send(a.port(handler), "x")
            await trio.sleep(60)
    assert caught.group_contains(FileNotFoundError, match="a file of the program")


received: list[tuple[object, ...]] = []


@spawnable
def keep(port: Port) -> None:
    """Keep what comes."""
    port.on()(lambda *message: received.append(message))


async def test_a_message_of_a_peer_waits_until_a_port_spawned_here_is_initialised(
    autojump_clock: trio.testing.MockClock,
) -> None:
    received.clear()
    async with open_pair(FakeNetwork()) as (a, b):
        echo = b.port(lambda port: b.send(port, "hello"))
        busy = a.port(lambda *_: None)
        # More than one pass, so that the peer answers before the port's turn has come.
        for number in range(20_000):
            a.send(busy, number)
        port = a.spawn("a", f"{__name__}:keep")
        a.send(echo, port)
        await trio.sleep(1)
        assert received == [("hello",)]


async def test_a_callback_that_monitors_the_dead_port_again_does_not_keep_the_node_from_closing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def watch(node: Node, port: Port) -> None:
        node.monitor(port, lambda *_: watch(node, port))

    with trio.fail_after(60):
        async with open_node() as node:
            watch(node, node.port(lambda *_: None))


async def test_cancellation_by_a_crash_does_not_leak_out_of_the_block() -> None:
    def handler(*_message: object) -> None:
        raise ValueError("crash")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_node(unmonitored_death="raise") as node, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            node.send(node.port(handler), "x")
    assert caught.group_contains(ValueError, match="crash")
