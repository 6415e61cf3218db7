"""Traces: what an operator sees of the messages of a port, and that the port notices nothing."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st
from network_helpers import FakeNetwork, Inbox, open_pair, peer_of, until

from trio_mp import CallError, Node, Port, PortDied, PortTrace, TracedMessage, open_node
from trio_mp._inspection.tracing import BURST, LONGEST, text_of_message
from trio_mp._ports.port import state_of


class Unprintable:
    def __repr__(self) -> str:
        raise AssertionError("the package has printed an object of the program")


async def collected(trace: PortTrace) -> list[str]:
    return [message.text async for message in trace]


async def test_an_operator_sees_the_messages_of_a_port(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        inbox = Inbox(b)
        inspector = a.inspect("b")
        (view,) = (await inspector.ports()).ports
        async with inspector.trace(view.number, limit=3) as trace:
            assert trace.number == view.number
            assert "a traces the port 1, b#" in caplog.text
            b.send(inbox.port, "local", Unprintable())
            await trio.sleep(1)
            a.send(inbox.port, "remote", [1, {"two": b"2"}])
            for number in range(5):
                a.send(inbox.port, number)
            first = await trace.__anext__()
            assert first == TracedMessage(1, first.seconds, f"('local', <{__name__}.Unprintable>)")
            second = await trace.__anext__()
            assert (second.number, second.text) == (2, "('remote', [1, {'two': b'2'}])")
            assert second.seconds == pytest.approx(1, abs=0.1)
            assert await collected(trace) == ["(0,)"]
            assert (trace.ended, trace.dropped) == ("limit", 0)
        assert len(await inbox.wait(7)) == 7
        # As if it had never been traced.
        assert inbox.port._default is not None


async def test_a_trace_ends_with_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        port = b.port(print)
        async with a.inspect("b").trace(port, seconds=5) as trace:
            assert await collected(trace) == []
            assert trace.ended == "time"
        assert state_of(port).tracer is None


async def test_a_trace_ends_with_its_port(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        port = b.port(lambda *_: None)
        async with a.inspect("b").trace(port) as trace:
            b.send(port, "last")
            b.kill(port)
            assert await collected(trace) == ["('last',)"]
            assert trace.ended == "died"
        with pytest.raises(CallError) as raised:
            async with a.inspect("b").trace(port):
                raise AssertionError
        assert raised.value.type_name == "gone"


async def test_a_trace_ends_with_the_block_of_the_operator(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        port = b.port(lambda *_: None)
        async with a.inspect("b").trace(port):
            assert state_of(port).tracer is not None
            with pytest.raises(CallError, match="is being traced already"):
                async with b.inspect("b").trace(port):
                    raise AssertionError
        await until(lambda: state_of(port).tracer is None)
        assert not state_of(port).owned
        assert not a._runtime.lifecycle.ports


async def test_a_trace_ends_with_the_node_of_the_operator(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        port = b.port(lambda *_: None)
        async with a.inspect("b").trace(port) as trace:
            peer_of(b, "a").current.close("a fault in the network")  # type: ignore[union-attr]
            with pytest.raises(PortDied):
                await collected(trace)
            assert trace.ended == ""
        await until(lambda: state_of(port).tracer is None)


async def test_who_may_only_read_cannot_trace(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b):
        port = b.port(lambda *_: None)
        with pytest.raises(CallError, match="to trace a port needs inspect='act' on b") as raised:
            async with a.inspect("b").trace(port):
                raise AssertionError
        assert raised.value.type_name == "refused"
        assert port._state is None


async def test_what_has_no_room_on_its_way_is_dropped_and_counted(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        inbox = Inbox(b)
        async with a.inspect("b").trace(inbox.port, limit=3) as trace:
            monkeypatch.setattr(b._runtime.errands, "answer", lambda *_: "no room")
            b.send(inbox.port, 1)
            await inbox.wait(1)
            monkeypatch.undo()
            for number in (2, 3, 4):
                b.send(inbox.port, number)
            assert [message.number async for message in trace] == [2, 3, 4]
            assert (trace.ended, trace.dropped) == ("limit", 1)
        assert len(inbox.messages) == 4


async def test_a_flood_is_shown_in_part(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        inbox = Inbox(b)
        async with a.inspect("b").trace(inbox.port, limit=BURST + 10) as trace:
            for number in range(10 * BURST):
                b.send(inbox.port, number)
            await inbox.wait(10 * BURST)
            await trio.sleep(1)
            for number in range(20):
                b.send(inbox.port, number)
            numbers = [message.number async for message in trace]
            assert numbers == [*range(1, BURST + 1), *range(10 * BURST + 1, 10 * BURST + 11)]
            assert (trace.ended, trace.dropped) == ("limit", 9 * BURST)
        assert len(await inbox.wait(10 * BURST + 20)) == 10 * BURST + 20


async def test_arguments_that_cannot_work_are_refused_at_the_call() -> None:
    async with open_node("a") as node:
        inspector = node.inspect("a")
        bad: list[tuple[Any, Any, Any]] = [
            (0, 1, 1),
            ("b#1234567890123456", 1, 1),
            ("a#x", 1, 1),
            (1, 0, 1),
            (1, 10_001, 1),
            (1, 1, 0),
            (1, 1, 3601),
            (1, 1, float("nan")),
        ]
        for port, limit, seconds in bad:
            with pytest.raises(ValueError, match=r"expected"):
                inspector.trace(port, limit=limit, seconds=seconds)
        for port, limit, seconds in ((None, 1, 1), (1, "1", 1), (1, 1, "1"), (1, 1, True), (True, 1, 1)):
            with pytest.raises(TypeError):
                inspector.trace(port, limit=limit, seconds=seconds)  # type: ignore[arg-type]


async def test_a_node_traces_its_own_ports_and_not_where_it_shows_them() -> None:
    async with open_node("a") as node:
        inbox = Inbox(node)
        async with node.inspect("a").trace(inbox.port, limit=2) as trace:
            node.send(inbox.port, "one")
            node.send(inbox.port, "two")
            node.send(inbox.port, "three")
            assert await collected(trace) == ["('one',)", "('two',)"]
        assert await inbox.wait(3) == [("one",), ("two",), ("three",)]
        asked = {"port": str(inbox.port), "to": inbox.port.name, "limit": 1, "seconds": 1.0}
        with pytest.raises(CallError, match="expected the name of another port"):
            await node._inspections.ask("a", "trace", asked)


# What the port gets --------------------------------------------------------------------------------------------------


async def got_by(kind: str, messages: list[tuple[Any, ...]], traced_at: int) -> tuple[list[Any], list[str]]:
    """What a port of some kind gets of these messages, and what its trace shows, which begins before one of them."""
    got: list[Any] = []
    shown: list[str] = []

    async def receives(port: Port) -> None:
        while True:
            got.append(await port.receive())

    async with open_node("a") as node:
        port = made(node, kind, got, receives)
        for message in messages[:traced_at]:
            await give(node, port, message)
        async with node.inspect("a").trace(port, limit=1000) as trace:
            for message in messages[traced_at:]:
                await give(node, port, message)
            await trio.testing.wait_all_tasks_blocked()
            node.kill(port)
            shown = await collected(trace)
    return got, shown


def made(node: Node, kind: str, got: list[Any], receives: Any) -> Port:
    async def slowly(*arguments: Any) -> None:
        await trio.lowlevel.checkpoint()
        got.append(arguments)

    def at_once(*arguments: Any) -> None:
        got.append(arguments)

    if kind == "mailbox":
        return node.start_port(receives)
    port = node.port(slowly if kind == "async" else at_once, on_bad="refuse" if kind == "refusing" else "die")
    port.on("a")(lambda *arguments: got.append(("a", *arguments)))
    if kind == "patterns":
        port.on("a", "b")(lambda *arguments: got.append(("a b", *arguments)))
        port.on("b", reply=True)(lambda *arguments: got.append(("b", *arguments)))
    return port


async def give(node: Node, port: Port, message: tuple[Any, ...]) -> None:
    node.send(port, *message)
    if message[:1] == ("wait",):
        await trio.testing.wait_all_tasks_blocked()


one_message = st.lists(st.sampled_from(["a", "b", "wait", 1]), min_size=1, max_size=3).map(tuple)


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(["handlers", "patterns", "async", "mailbox", "refusing"]),
    messages=st.lists(one_message, max_size=8),
    data=st.data(),
)
def test_a_traced_port_gets_what_it_would_get(kind: str, messages: list[tuple[Any, ...]], data: st.DataObject) -> None:
    traced_at = data.draw(st.integers(0, len(messages)))
    got, shown = trio.run(got_by, kind, messages, traced_at)
    assert got == [expected_of(kind, message) for message in messages]
    # What was sent before may wait still when the trace begins; it is not skipped then.
    texts = [text_of_message(message) for message in messages]
    assert len(shown) >= len(messages) - traced_at
    assert shown == texts[len(texts) - len(shown) :]


def expected_of(kind: str, message: tuple[Any, ...]) -> tuple[Any, ...]:
    if kind == "patterns" and message[:2] == ("a", "b"):
        return ("a b", *message[2:])
    return message


async def test_calls_are_traced_without_their_reply_ports(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        port = b.port()
        port.on("double", reply=True)(lambda number: 2 * number)
        async with a.inspect("b").trace(port, limit=2) as trace:
            assert await a.call(port, "double", 3) == (6,)
            assert await b.call(port, "double", 4) == (8,)
            assert await collected(trace) == ["('double', 3)", "('double', 4)"]
        assert await a.call(port, "double", 5) == (10,)


@pytest.mark.parametrize(
    "message, text",
    [
        ((), "()"),
        (("x" * 10_000,), None),
        ((10**10_000,), "(<a large int>,)"),
        (([1, (2, {3}), {"k": None}], True, 1.5), "([1, (2, {3}), {'k': None}], True, 1.5)"),
        ((b"\0",), "(b'\\x00',)"),
        (("\udc80",), "('\\udc80',)"),
        ((Unprintable,), "(<builtins.type>,)"),
        (([[[[[[[1]]]]]]],), "([[[[[[…]]]]]],)"),
        ((list(range(10**6)),), None),
        ((dict.fromkeys(range(10**5), "x" * 100),), None),
    ],
    ids=["empty", "long", "int", "nested", "bytes", "surrogate", "type", "deep", "list", "dict"],
)
def test_the_text_of_a_message_is_bounded(message: tuple[Any, ...], text: str | None) -> None:
    found = text_of_message(message)
    if text is not None:
        assert found == text
    else:
        assert len(found) == LONGEST
        assert found.endswith("…")
    assert found.encode()
