"""Handlers that return their reply, called from their own node and from another one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from here_and_there import both, two_nodes
from network_helpers import FakeNetwork, Inbox, open_pair, peer_of, until, warnings_in
from trio.testing import wait_all_tasks_blocked

from trio_mp import ANY, CallError, CurrentCall, PortDied, current_call, open_node


@both
async def test_what_a_handler_returns_is_the_reply(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        seen: list[tuple[object, ...]] = []

        @port.on("add", reply=True)
        def add(*numbers: int) -> int:
            seen.append(numbers)
            return sum(numbers)

        assert await one.call(str(port), "add", 1, 2) == (3,)
        assert seen == [(1, 2)], "it gets no reply port"


@both
@pytest.mark.parametrize("value", [None, [], (), [1, 2], {"a": [1]}, 0, ""], ids=repr)
async def test_a_reply_is_exactly_one_element(kind: str, value: object, autojump_clock: trio.testing.MockClock) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        port.on("get", reply=True)(lambda: value)
        (reply,) = await one.call(str(port), "get")
        assert reply == (list(value) if isinstance(value, tuple) and kind == "there" else value)


@both
async def test_an_async_handler_answers_when_it_has_ended_and_others_wait_meanwhile(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        running: list[int] = []

        @port.on("wait", reply=True)
        async def wait(number: int) -> int:
            running.append(number)
            assert len(running) == 1
            await trio.sleep(1)
            running.remove(number)
            return -number

        results: dict[int, int] = {}

        async def call(number: int) -> None:
            results[number] = await one.call(str(port), "wait", number, reply=int)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(call, number)
        assert results == {number: -number for number in range(5)}


@both
async def test_sent_plainly_the_value_is_dropped(
    kind: str, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        seen: list[object] = []

        @port.on("now", reply=True, errors=(LookupError,))
        def now(value: int) -> int:
            seen.append((value, current_call()))
            if value == 2:
                raise KeyError(value)
            return value

        @port.on("later", reply=True, errors=(LookupError,))
        async def later(value: int) -> int:
            await trio.lowlevel.checkpoint()
            return now(value)

        for value in (1, 2, 3):
            one.send(str(port), "now", value)
            one.send(str(port), "later", value)
        await until(lambda: len(seen) == 6)
        assert seen == [(value, None) for value in (1, 1, 2, 2, 3, 3)]
        assert port.alive
        assert not warnings_in(caplog)


@both
async def test_handlers_of_both_kinds_and_a_mailbox_in_one_port(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other), other.open_port() as port, trio.open_nursery() as nursery:
        port.on("returns", reply=True)(lambda value: value)
        port.on("sends")(lambda value, reply: other.send(reply, value, value))

        async def receive() -> None:
            value, reply = (await port.receive("receives"))[1:]
            other.send(reply, "received", value)

        nursery.start_soon(receive)
        assert await one.call(str(port), "returns", 1) == (1,)
        assert await one.call(str(port), "sends", 2) == (2, 2)
        assert await one.call(str(port), "receives", 3) == ("received", 3)
        assert await one.call(str(port), "returns", 4) == (4,)


@both
async def test_patterns_do_not_match_the_reply_port(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        port.on("a", ANY, reply=True)(lambda *arguments: list(arguments))
        assert await one.call(str(port), "a", 1, 2) == ([1, 2],)
        with pytest.raises(PortDied) as caught:
            await one.call(str(port), "a")
        assert caught.value.reason[0] == "unhandled_message"


@both
async def test_a_handler_that_is_there_once(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port(lambda *_: port.kill("other"))
        port.on("once", reply=True, once=True)(lambda: "first")
        assert await one.call(str(port), "once") == ("first",)
        with pytest.raises(PortDied):
            await one.call(str(port), "once")


@both
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_exception_kills_the_port_and_the_caller_is_told(
    kind: str, asynchronous: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()

        def fail() -> int:
            raise ValueError("no good")

        async def fail_later() -> int:
            await trio.lowlevel.checkpoint()
            raise ValueError("no good")

        port.on("fail", reply=True, errors=(LookupError,))(fail_later if asynchronous else fail)
        with pytest.raises(PortDied) as caught:
            await one.call(str(port), "fail")
        assert caught.value.reason[0] == "die"
        assert str(caught.value.reason[1]).startswith("ValueError: no good (test_replying.py")
        assert caught.value.maybe_delivered
        assert not port.alive
        assert isinstance(caught.value.__cause__, ValueError) == (kind == "here")


@both
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_errors_for_the_caller_kill_nothing(
    kind: str, asynchronous: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()

        class NotHere(LookupError):
            pass

        def find(name: str) -> str:
            if name == "own":
                raise NotHere("not here")
            return {"a": "b"}[name]

        async def find_later(name: str) -> str:
            await trio.lowlevel.checkpoint()
            return find(name)

        port.on("find", reply=True, errors=(LookupError,))(find_later if asynchronous else find)
        assert await one.call(str(port), "find", "a") == ("b",)
        with pytest.raises(CallError, match=r"^KeyError: 'x'") as caught:
            await one.call(str(port), "find", "x")
        assert (caught.value.type_name, caught.value.text) == ("KeyError", "'x'")
        assert caught.value.maybe_delivered
        with pytest.raises(CallError) as caught:
            await one.call(str(port), "find", "own")
        assert caught.value.type_name.endswith(".NotHere")
        assert caught.value.type_name.startswith(f"{__name__}.")
        assert await one.call(str(port), "find", "a") == ("b",)


@pytest.mark.parametrize("shares", [True, False])
async def test_the_traceback_travels_only_where_logs_are_shared(
    shares: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_pair(FakeNetwork(), share_logs=shares) as (one, other):
        port = other.port()
        port.on("find", reply=True, errors=(LookupError,))(lambda: dict[str, int]()["x"])
        with pytest.raises(CallError) as caught:
            await one.call(str(port), "find")
        notes = "".join(getattr(caught.value, "__notes__", []))
        assert ("test_replying.py" in notes) == shares


@both
async def test_a_value_that_cannot_travel_kills_the_port(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        port.on("get", reply=True)(lambda: [1, {2}])
        if kind == "here":
            assert await one.call(port, "get") == ([1, {2}],)
            return
        with pytest.raises(PortDied) as caught:
            await one.call(str(port), "get")
        assert "reply[1]" in str(caught.value.reason[1])


@both
async def test_a_generator_kills_the_port(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()

        @port.on("get", reply=True)
        def get() -> Any:
            yield 1

        with pytest.raises(PortDied, match="yield"):
            await one.call(str(port), "get")


class Row(msgspec.Struct):
    name: str
    size: int


@both
async def test_a_reply_is_converted_to_the_type_that_is_asked_for(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        port.on("rows", reply=True)(lambda: [{"name": "a", "size": 1}])
        port.on("nothing", reply=True)(lambda: None)
        port.on("two")(lambda reply: other.send(reply, 1, 2))
        port.on("one")(lambda reply: other.send(reply, 1))
        where = str(port)
        assert await one.call(where, "rows", reply=list[Row]) == [Row("a", 1)]
        assert await one.call(where, "nothing", reply=None) is None
        assert await one.call(where, "nothing", reply=int | None) is None
        assert await one.call(where, "one", reply=int) == 1
        for tag, text in (("rows", "expected a reply of the type"), ("two", "expected a reply of one element")):
            with pytest.raises(CallError, match=text) as caught:
                await one.call(where, tag, reply=list[str])
            assert caught.value.type_name == "bad_reply"
            assert caught.value.maybe_delivered
        assert port.alive


async def test_what_is_no_type_of_a_reply(autojump_clock: trio.testing.MockClock) -> None:
    async with open_node() as node:
        port = node.port(lambda *_: pytest.fail("it was called"))
        no_types: list[Any] = ["nothing", 5, []]
        for no_type in no_types:
            with pytest.raises(TypeError):
                await node.call(port, "x", reply=no_type)
        await wait_all_tasks_blocked()


def test_arguments_of_on() -> None:
    async def main() -> None:
        async with open_node() as node:
            port = node.port()
            for errors in (LookupError, [LookupError], (KeyboardInterrupt,), (trio.Cancelled,), (BaseExceptionGroup,)):
                with pytest.raises(TypeError, match="tuple of subclasses of Exception"):
                    port.on("x", reply=True, errors=errors)  # type: ignore[arg-type]
            for named in ({"cancel": True}, {"errors": (LookupError,)}):
                with pytest.raises(TypeError, match="reply=True"):
                    port.on("x", **named)

    trio.run(main)


@both
async def test_messages_before_the_reply_arrive_before_it(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with two_nodes(kind) as (one, other):
        port, inbox = other.port(), Inbox(one)

        # More than one pass dispatches, so that the caller could run before they have arrived.
        @port.on("do", reply=True)
        def do() -> str:
            for number in range(3000):
                other.send(str(inbox.port), number)
            return "done"

        assert await one.call(str(port), "do") == ("done",)
        assert len(inbox.messages) == 3000


@both
async def test_a_reply_counts_though_the_port_dies_right_behind_it(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()

        @port.on("last", reply=True)
        def last() -> str:
            other.kill(port, "enough")
            return "words"

        assert await one.call(str(port), "last") == ("words",)
        await until(lambda: not port.alive)


@both
@pytest.mark.parametrize("how", ["returns", "raises", "wants to be cancelled", "sends"])
async def test_the_answer_of_a_port_that_has_died_is_dropped_and_the_caller_is_told(
    kind: str, how: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        ended: list[bool] = []

        async def last(*reply: str) -> str:
            port.kill("enough")
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            ended.append(port.alive)
            if how == "raises":
                raise LookupError("words")
            for each in reply:
                other.send(each, "words")
            return "words"

        if how == "sends":
            port.on("last")(last)
        else:
            port.on("last", reply=True, errors=(LookupError,), cancel=how == "wants to be cancelled")(last)
        with pytest.raises(PortDied) as caught:
            await one.call(str(port), "last")
        assert (caught.value.reason, caught.value.maybe_delivered) == (("enough",), True)
        assert ended == [False], "it had died before it answered"


@both
async def test_a_cancellation_is_no_error_for_the_caller(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with two_nodes(kind) as (one, other), trio.open_nursery() as nursery:
        port = other.port()

        @port.on("wait", reply=True, errors=(Exception,))
        async def wait() -> None:
            begun.set()
            await trio.sleep_forever()

        begun = trio.Event()

        async def die() -> None:
            await begun.wait()
            other.kill(port, "enough")

        nursery.start_soon(die)
        with pytest.raises(PortDied, match="enough"):
            await one.call(str(port), "wait")


@both
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_is_no_error_for_the_caller(kind: str, asynchronous: bool, error: type[BaseException]) -> None:
    ends: list[BaseException] = []

    async def main() -> None:
        async with two_nodes(kind) as (one, other):
            port = other.port()

            def interrupted() -> None:
                raise error

            async def later() -> None:
                await trio.lowlevel.checkpoint()
                interrupted()

            port.on("work", reply=True, errors=(Exception,))(later if asynchronous else interrupted)
            try:
                await one.call(str(port), "work")
            except BaseException as caught:
                ends.append(caught)
                raise

    with pytest.raises((error, BaseExceptionGroup)) as caught:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert isinstance(caught.value, error) or caught.group_contains(error)
    # It ends the node, and with that the call.
    assert [type(each) for each in ends] in ([trio.Cancelled], [PortDied])


# Calling off ------------------------------------------------------------------------------------------------------


@both
async def test_a_call_is_called_off_and_a_handler_that_wants_it_is_cancelled(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        ended: list[str] = []

        def waiter(name: str, **named: Any) -> None:
            @port.on(name, reply=True, **named)
            async def wait() -> str:
                try:
                    await trio.sleep(5)
                finally:
                    ended.append(f"{name} at {trio.current_time() - start:.0f}")
                return name

        waiter("cancelled", cancel=True)
        waiter("not cancelled")
        start = trio.current_time()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.call, str(port), "cancelled")
                await trio.sleep(1)
                scope.cancel()
        await until(lambda: ended)
        with trio.move_on_after(1):
            await one.call(str(port), "not cancelled")
        await until(lambda: len(ended) == 2)
        assert ended == ["cancelled at 1", "not cancelled at 6"]
        assert port.alive
        await wait_all_tasks_blocked()
        if kind == "there":
            assert not len(peer_of(other, "a").callers)


@both
async def test_a_part_of_a_handler_can_be_cancelled_by_the_caller(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        seen: list[object] = []

        @port.on("search", reply=True)
        async def search() -> str:
            call = current_call()
            assert isinstance(call, CurrentCall)
            with call.move_on_cancel() as scope:
                seen.append((call.caller, trio.current_effective_deadline() == call.deadline))
                await trio.sleep(50)
            seen.append(scope.cancelled_caught)
            with call.move_on_cancel() as again:
                await trio.sleep(1)
            seen.append(again.cancelled_caught)
            return "too late"

        with trio.move_on_after(3):
            await one.call(str(port), "search")
        await until(lambda: len(seen) == 3)
        assert seen == [(one.id, True), True, True]
        assert port.alive


@both
async def test_the_time_that_is_left_travels_and_nested_calls_inherit_it(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        inner, outer = other.port(), other.port()

        @inner.on("left", reply=True)
        def left() -> float:
            call = current_call()
            assert call is not None
            return call.deadline - trio.current_time()

        @outer.on("ask", reply=True, cancel=True)
        async def ask() -> float:
            await trio.sleep(1)
            return await other.call(inner, "left", reply=float)

        with trio.fail_after(5):
            assert 4.9 <= await one.call(str(inner), "left", reply=float) <= 5
        with trio.fail_after(5):
            assert 3.9 <= await one.call(str(outer), "ask", reply=float) <= 4
        assert await one.call(str(outer), "ask", reply=float | str) == float("inf")
        assert current_call() is None


@both
async def test_a_call_whose_caller_has_gone_does_not_begin(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with two_nodes(kind) as (one, other):
        port = other.port()
        begun: list[str] = []

        @port.on("work", reply=True)
        async def work(name: str) -> None:
            begun.append(name)
            await trio.sleep(10)

        @port.on("sends")
        def sends(reply: str) -> None:
            begun.append("sends")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, str(port), "work", "first")
            await trio.sleep(1)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as impatient:
                    impatient.start_soon(one.call, str(port), "work", "called off")
                    impatient.start_soon(one.call, str(port), "sends")
                    await trio.sleep(1)
                    scope.cancel()
            with trio.move_on_after(1):
                await one.call(str(port), "work", "out of time")
            nursery.start_soon(one.call, str(port), "work", "last")
        assert begun == ["first", "last"]
        assert other._runtime.dispatcher.expired == 3
        if kind == "there":
            assert not len(peer_of(other, "a").callers)


async def test_a_call_whose_time_is_up_there_and_not_here_is_told_so(autojump_clock: trio.testing.MockClock) -> None:
    async with two_nodes("there") as (one, other):
        port = other.port()

        @port.on("work", reply=True, cancel=True)
        async def work() -> None:
            await trio.sleep(10)

        async def late(begun: bool) -> None:
            with trio.move_on_after(1) as scope:
                async with trio.open_nursery() as nursery:

                    async def extend() -> None:
                        await trio.sleep(0.5)
                        scope.deadline += 1000

                    nursery.start_soon(extend)
                    with pytest.raises(CallError) as caught:
                        await one.call(str(port), "work")
            assert caught.value.type_name == "expired"
            assert caught.value.maybe_delivered == begun

        await late(True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, str(port), "work")
            await trio.sleep(0.01)
            await late(False)


@both
async def test_a_call_whose_time_is_up_before_it_begins_is_not_sent(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with two_nodes(kind) as (one, other):
        inbox = Inbox(other)
        with trio.move_on_after(0) as scope:
            await one.call(str(inbox.port), "x")
        assert scope.cancelled_caught
        one.send(str(inbox.port), "last")
        assert await inbox.wait(1) == [("last",)]


async def test_a_lost_caller_cancels_its_handlers(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (one, other):
        port = other.port()
        ended: list[str] = []

        @port.on("work", reply=True, cancel=True)
        async def work(name: str) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(name)

        async def call(name: str) -> None:
            with pytest.raises(PortDied) as caught:
                await one.call(str(port), "work", name)
            assert caught.value.reason[0] == "transport_error"
            assert caught.value.maybe_delivered
            ended.append(f"call of {name}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "first")
            await until(lambda: len(peer_of(other, "a").callers) == 1)
            nursery.start_soon(call, "second")
            await until(lambda: len(peer_of(other, "a").callers) == 2)
            network.wire.cut()
        await until(lambda: len(ended) == 3)
        assert sorted(ended) == ["call of first", "call of second", "first"]
        assert port.alive
        assert not len(peer_of(other, "a").callers)
