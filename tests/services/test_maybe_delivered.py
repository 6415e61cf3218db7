"""What is known of a call that has failed: for each way to fail, whether it is proven that nobody got the message.

`docs/calls.md` has a table of them, whose rows are the rows here. Each is tried with a port of the node that calls, and
with a port of another node.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
import trio
import trio.testing
from here_and_there import two_nodes
from network_helpers import NO_PORT, FakeNetwork, Inbox, a_member, open_test_node, peer_of, until

from trio_mp import CallError, Node, Port, PortDied, _reason
from trio_mp._ids import join_port

PAGE = Path(__file__).resolve().parents[2] / "docs" / "calls.md"


class Failed(NamedTuple):
    """How a call has failed.

    Attributes:
      what: the identifier of the reason, or the type name of a `CallError`.
      maybe: its `maybe_delivered`.
    """

    what: object
    maybe: bool


async def failed(node: Node, port: object, *message: Any, **named: Any) -> Failed:
    """Call, and say how it has failed."""
    try:
        answer = await node.call(port, *message, **named)  # type: ignore[call-overload]
    except CallError as error:
        return Failed(error.type_name, error.maybe_delivered)
    except PortDied as error:
        return Failed(error.reason[0], error.maybe_delivered)
    raise AssertionError(f"it was answered: {answer!r}")


async def no_such_port(one: Node, other: Node, _: FakeNetwork) -> Failed:
    return await failed(one, f"{other.id}#{NO_PORT}", "x")


async def could_not_be_spawned(one: Node, other: Node, _: FakeNetwork) -> Failed:
    return await failed(one, one.spawn(other.id, "no_module:nothing"), "x")


async def between_two_lives(one: Node, _other: Node, _: FakeNetwork) -> Failed:
    lives: list[Port] = []
    ends: list[Failed] = []

    async def serve(port: Port, task_status: trio.TaskStatus[None]) -> None:
        lives.append(port)
        # The second life takes long to start.
        await trio.sleep(10 * (len(lives) - 1))
        task_status.started()
        await port.receive("die")
        raise ValueError("enough")

    async with one.open_supervisor() as supervisor:
        child = await supervisor.start(serve)
        one.send(child, "die")
        await until(lambda: not child.running)
        ends.append(await failed(one, child, "x"))
    return ends[0]


async def died_while_it_waited_there(one: Node, other: Node, _: FakeNetwork) -> Failed:
    port = other.port()
    begun = trio.Event()

    @port.on("wait", reply=True)
    async def wait() -> None:
        begun.set()
        await trio.sleep_forever()

    one.send(str(port), "wait")
    ends: list[Failed] = []

    async def call() -> None:
        ends.append(await failed(one, str(port), "wait"))

    async with trio.open_nursery() as nursery:
        await begun.wait()
        nursery.start_soon(call)
        await trio.sleep(1)
        other.kill(port, "no_time")
    return ends[0]


async def had_no_room(one: Node, other: Node, _: FakeNetwork) -> Failed:
    port = other.port()
    port.on("wait", reply=True)(trio.sleep)
    one.send(str(port), "wait", 1000)
    for _number in range(other._runtime.settings.mailbox_limit):
        one.send(str(port), "wait", 1000)
    return await failed(one, str(port), "wait", 1)


async def node_could_not_be_reached(one: Node, _other: Node, _: FakeNetwork) -> Failed:
    return await failed(one, f"nowhere#{NO_PORT}", "x")


async def was_not_written(one: Node, other: Node, network: FakeNetwork) -> Failed:
    inbox = Inbox(other)
    network.wire.stall()
    for _number in range(40):
        one.send(str(inbox.port), b"x" * 60_000)
    return await failed(one, str(inbox.port), "x")


async def was_not_taken(_one: Node, _other: Node, network: FakeNetwork) -> Failed:
    ends: list[Failed] = []
    async with open_test_node(network, "c") as node, trio.open_nursery() as nursery:

        async def call() -> None:
            ends.append(await failed(node, join_port("0", NO_PORT), b"x" * 100_000))

        nursery.start_soon(call)
        await trio.sleep(1)
        # It says in its greeting that it takes no message as large as that.
        async with a_member(network, node, limit=64 * 1024, words=("call",)) as raw:
            with trio.move_on_after(5):
                while not ends:
                    await raw.step()
    return ends[0]


async def was_written_and_lost(one: Node, other: Node, network: FakeNetwork) -> Failed:
    port = other.port(lambda *_: None)
    ends: list[Failed] = []

    async def call() -> None:
        ends.append(await failed(one, str(port), "x"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await until(lambda: len(peer_of(other, "a").callers))
        network.wire.cut()
    return ends[0]


async def died_of_it(one: Node, other: Node, _: FakeNetwork) -> Failed:
    port = other.port()
    port.on("fail", reply=True)(lambda: dict[str, int]()["x"])
    return await failed(one, str(port), "fail")


async def has_no_handler_for_it(one: Node, other: Node, _: FakeNetwork) -> Failed:
    port = other.port()
    port.on("x")(lambda *_: None)
    return await failed(one, str(port), "y")


async def died_with_a_reason_that_lies(one: Node, other: Node, _: FakeNetwork) -> Failed:
    port = other.port()
    port.on("die")(lambda _: port.kill("no_such_port", f"there is no port {port}"))
    return await failed(one, str(port), "die")


async def node_closed(one: Node, other: Node, _: FakeNetwork) -> Failed:
    port = other.port(lambda *_: None)
    ends: list[Failed] = []

    async def call() -> None:
        ends.append(await failed(one, str(port), "x"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.sleep(1)
        other._runtime.lifecycle.kill_all(_reason.node_closed(other.id))
    return ends[0]


async def too_many_in_flight(one: Node, other: Node, _: FakeNetwork) -> Failed:
    port = other.port()
    port.on("wait", reply=True)(trio.sleep)
    async with trio.open_nursery() as nursery:
        for _number in range(other._runtime.settings.call_limit):
            nursery.start_soon(one.call, str(port), "wait", 1)
        await until(lambda: len(peer_of(other, "a").callers) == other._runtime.settings.call_limit)
        return await failed(one, str(port), "wait", 1)


async def refused(one: Node, other: Node, _: FakeNetwork) -> Failed:
    port = other.port(on_bad="refuse")
    port.on("get", reply=True)(lambda: None)
    return await failed(one, str(port), "get", "too many elements")


async def expired(one: Node, other: Node, begun: bool) -> Failed:
    """Call with a second of time, which is extended here so that only the other node finds it to be up."""
    port = other.port()

    @port.on("wait", reply=True, cancel=True)
    async def wait() -> None:
        await trio.sleep(10)

    if not begun:
        one.send(str(port), "wait")
        await trio.sleep(0.01)
    with trio.move_on_after(1) as scope:
        async with trio.open_nursery() as nursery:

            async def extend() -> None:
                await trio.sleep(0.5)
                scope.deadline += 1000

            nursery.start_soon(extend)
            return await failed(one, str(port), "wait")
    raise AssertionError("it was cancelled here")


async def expired_before_it_began(one: Node, other: Node, _: FakeNetwork) -> Failed:
    return await expired(one, other, False)


async def expired_and_was_cancelled(one: Node, other: Node, _: FakeNetwork) -> Failed:
    return await expired(one, other, True)


async def reply_of_another_type(one: Node, other: Node, _: FakeNetwork) -> Failed:
    port = other.port()
    port.on("get", reply=True)(lambda: "text")
    return await failed(one, str(port), "get", reply=int)


async def error_for_the_caller(one: Node, other: Node, _: FakeNetwork) -> Failed:
    port = other.port()
    port.on("get", reply=True, errors=(LookupError,))(lambda: dict[str, int]()["x"])
    return await failed(one, str(port), "get")


Way: TypeAlias = Callable[[Node, Node, FakeNetwork], Awaitable[Failed]]
BOTH, HERE, THERE = ("here", "there"), ("here",), ("there",)

ROWS: tuple[tuple[str, bool, tuple[tuple[Way, str, tuple[str, ...]], ...]], ...] = (
    (
        "`PortDied`: `no_such_port`, `spawn_failed`, or `not_running`, between two lives of a `ChildRef`",
        False,
        (
            (no_such_port, "no_such_port", BOTH),
            (could_not_be_spawned, "spawn_failed", BOTH),
            (between_two_lives, "not_running", HERE),
        ),
    ),
    (
        "`PortDied`, whatever the reason: the port died while the call waited for its turn, or had no room for it",
        False,
        ((died_while_it_waited_there, "no_time", BOTH), (had_no_room, "mailbox_full", BOTH)),
    ),
    (
        "`PortDied`: `transport_error`, and the message was not written to a connection",
        False,
        (
            (node_could_not_be_reached, "transport_error", THERE),
            (was_not_written, "transport_error", THERE),
            (was_not_taken, "transport_error", THERE),
        ),
    ),
    ("`PortDied`: `transport_error`, else", True, ((was_written_and_lost, "transport_error", THERE),)),
    (
        "`PortDied`: any other death",
        True,
        (
            (died_of_it, "die", BOTH),
            (has_no_handler_for_it, "unhandled_message", BOTH),
            (died_with_a_reason_that_lies, "no_such_port", BOTH),
            (node_closed, "node_closed", BOTH),
        ),
    ),
    (
        '`CallError("busy", …)`: as many calls of this node were in flight there as may be (`call_limit`)',
        False,
        ((too_many_in_flight, "busy", THERE),),
    ),
    (
        '`CallError("bad_message", …)`: the port [refuses](lost-messages.md) the message',
        False,
        ((refused, "bad_message", BOTH),),
    ),
    (
        '`CallError("expired", …)`: the time was up over there, and the handler did not begin',
        False,
        ((expired_before_it_began, "expired", THERE),),
    ),
    (
        '`CallError("expired", …)`: the time was up, and the handler was cancelled',
        True,
        ((expired_and_was_cancelled, "expired", THERE),),
    ),
    (
        '`CallError("bad_reply", …)`, and an exception of the handler',
        True,
        ((reply_of_another_type, "bad_reply", BOTH), (error_for_the_caller, "KeyError", BOTH)),
    ),
)

LIKE_ANY_OTHER = {
    *("exception_reason", "shutdown", "mailbox_full", "channel_broken", "process_ended", "stream_failed"),
    *("start_cancelled", "node_failed", "node_closed", "unhandled_message", "transport_error", "reason_lost"),
}
"""The reasons of `_reason.py` that prove nothing: it counts whether the call had begun, or was written."""

NO_CALL = {"too_many_monitors", "bad_message"}
"""Those that no call gets: it needs no monitor of the port, and a refused one raises `CallError`."""

PROVEN = {"no_such_port", "spawn_failed", "not_running"}

CASES = [(way, what, maybe, kind) for _, maybe, ways in ROWS for way, what, kinds in ways for kind in kinds]


@pytest.mark.parametrize("way, what, maybe, kind", CASES, ids=[f"{way.__name__}-{kind}" for way, _, _, kind in CASES])
async def test_what_is_known_of_a_call_that_has_failed(
    way: Way, what: str, maybe: bool, kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    network = FakeNetwork()
    settings = {"mailbox_limit": 5} if way is had_no_room else {"call_limit": 2} if way is too_many_in_flight else {}
    async with two_nodes(kind, network, **settings) as (one, other):
        assert await way(one, other, network) == (what, maybe)


def test_the_page_has_these_rows() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## What is known of a call that has failed")[2]
    found = re.findall(r"^\| (.*) \| (True|False) \|$", text, re.MULTILINE)
    assert found == [(row, str(maybe)) for row, maybe, _ in ROWS]


def test_each_reason_is_of_some_row() -> None:
    makers = {
        name for name, one in vars(_reason).items() if inspect.isfunction(one) and one.__module__ == _reason.__name__
    }
    reasons = {name for name in makers if inspect.signature(getattr(_reason, name)).return_annotation == "Reason"}
    assert reasons == LIKE_ANY_OTHER | NO_CALL | PROVEN
    tried = {what for _, _, ways in ROWS for _, what, _ in ways}
    assert tried >= PROVEN
