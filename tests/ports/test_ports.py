"""Ports: handlers of messages, in order and one at a time, and the port's own methods."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from reason_helpers import Died
from trio.testing import Sequencer, wait_all_tasks_blocked

from trio_mp import Port, PortDied, node_of, open_node


async def test_a_sync_handler_gets_what_follows_the_tag() -> None:
    async with open_node() as node:
        received: list[object] = []
        port = node.port()

        @port.on("test")
        def take(*rest: object) -> None:
            received.append(rest)

        node.send(port, "test", 123, "x")
        await wait_all_tasks_blocked()
        assert received == [(123, "x")]


async def test_an_async_handler_gets_what_follows_the_tag() -> None:
    async with open_node() as node:
        received: list[object] = []
        port = node.port()

        @port.on("test")
        async def take(*rest: object) -> None:
            await trio.lowlevel.checkpoint()
            received.append(rest)

        node.send(port, "test", 123, "x")
        await wait_all_tasks_blocked()
        assert received == [(123, "x")]


async def test_a_handler_given_to_port_takes_whole_messages() -> None:
    async with open_node() as node:
        received: list[object] = []
        port = node.port(lambda *message: received.append(message))
        node.send(port, "test", 1)
        node.send(port)
        node.send(port, 5)
        await wait_all_tasks_blocked()
        assert received == [("test", 1), (), (5,)]


async def test_an_async_handler_can_be_given_to_port() -> None:
    async with open_node() as node:
        received: list[object] = []

        async def take(*message: object) -> None:
            await trio.lowlevel.checkpoint()
            received.append(message)

        port = node.port(take)
        node.send(port, "a", 1)
        node.send(port, "b", 2)
        await wait_all_tasks_blocked()
        assert received == [("a", 1), ("b", 2)]


async def test_a_bound_method_and_a_partial_of_an_async_function_are_handlers() -> None:
    async with open_node() as node:
        received: list[object] = []

        async def take(first: object, second: object) -> None:
            await trio.lowlevel.checkpoint()
            received.append((first, second))

        port = node.port()
        port.on("sync")(received.append)
        port.on("async")(functools.partial(take, "bound"))
        node.send(port, "sync", 1)
        node.send(port, "async", 2)
        await wait_all_tasks_blocked()
        assert received == [1, ("bound", 2)]


async def test_what_a_sync_handler_returns_does_not_matter() -> None:
    async with open_node() as node:
        port = node.port(lambda *_: "something")
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert port.alive


async def test_the_decorator_returns_the_function() -> None:
    async with open_node() as node:
        port = node.port()

        def take() -> None:
            raise AssertionError

        assert port.on("test")(take) is take
        assert port.on("test", once=True)(take) is take


async def test_local_messages_are_handed_over_as_the_very_objects() -> None:
    async with open_node() as node:
        received: list[object] = []
        port = node.port()
        port.on("take")(received.append)
        thing = {1, 2, 3}
        node.send(port, "take", thing)
        await wait_all_tasks_blocked()
        assert received[0] is thing


async def test_messages_arrive_in_the_order_they_were_sent() -> None:
    async with open_node() as node:
        received: list[int] = []
        port = node.port(received.append)
        for number in range(2500):
            node.send(port, number)
        await wait_all_tasks_blocked()
        assert received == list(range(2500))


async def test_messages_by_port_and_by_port_id_keep_their_order() -> None:
    async with open_node() as node:
        received: list[int] = []
        port = node.port(received.append)
        for number in range(100):
            node.send(port if number % 3 else str(port), number)
        await wait_all_tasks_blocked()
        assert received == list(range(100))


async def test_send_does_not_run_the_handler() -> None:
    async with open_node() as node:
        received: list[object] = []
        port = node.port(received.append)
        await wait_all_tasks_blocked()
        node.send(port, 1)
        assert not received
        await wait_all_tasks_blocked()
        assert received == [1]


async def test_what_a_handler_sends_comes_behind_what_was_sent_before() -> None:
    async with open_node() as node:
        received: list[object] = []

        def take(number: int) -> None:
            received.append(number)
            if number == 1:
                node.send(port, 3)

        port = node.port(take)
        node.send(port, 1)
        node.send(port, 2)
        await wait_all_tasks_blocked()
        assert received == [1, 2, 3]


async def test_an_async_handler_makes_later_messages_wait_in_order() -> None:
    async with open_node() as node:
        seen: list[object] = []
        go = trio.Event()
        port = node.port()

        @port.on("slow")
        async def slow(number: int) -> None:
            seen.append(("begin", number))
            await go.wait()
            seen.append(("end", number))

        @port.on("fast")
        def fast(number: int) -> None:
            seen.append(("fast", number))

        node.send(port, "slow", 1)
        node.send(port, "fast", 2)
        node.send(port, "slow", 3)
        node.send(port, "fast", 4)
        await wait_all_tasks_blocked()
        assert seen == [("begin", 1)]
        node.send(port, "fast", 5)
        await wait_all_tasks_blocked()
        assert seen == [("begin", 1)]
        go.set()
        await wait_all_tasks_blocked()
        node.send(port, "fast", 6)
        await wait_all_tasks_blocked()
        assert seen == [
            *(("begin", 1), ("end", 1), ("fast", 2), ("begin", 3), ("end", 3)),
            *(("fast", 4), ("fast", 5), ("fast", 6)),
        ]


async def test_an_async_handler_does_not_make_other_ports_wait() -> None:
    async with open_node() as node:
        received: list[object] = []

        async def block(*_: object) -> None:
            await trio.sleep_forever()

        blocked = node.port(block)
        other = node.port(received.append)
        node.send(blocked, 1)
        node.send(other, 2)
        await wait_all_tasks_blocked()
        assert received == [2]


async def test_an_async_handler_that_sends_to_its_own_port_goes_on_afterwards() -> None:
    async with open_node() as node:
        received: list[int] = []

        async def count(number: int) -> None:
            received.append(number)
            if number < 2000:
                node.send(port, number + 1)
            if number % 100 == 0:
                await trio.lowlevel.checkpoint()

        port = node.port(count)
        node.send(port, 1)
        await wait_all_tasks_blocked()
        assert received == list(range(1, 2001))


async def test_messages_that_waited_for_an_async_handler_are_overtaken_by_none(autojump_clock: object) -> None:
    async with open_node() as node:
        received: list[int] = []

        async def take(number: int) -> None:
            if number % 5 == 0:
                await trio.sleep(0.01)
            received.append(number)

        port = node.port(take)
        for number in range(100):
            node.send(port, number)
            if number % 7 == 0:
                await trio.sleep(0.003)
        await trio.sleep(10)
        assert received == list(range(100))


async def test_handlers_can_be_changed_while_an_async_one_runs() -> None:
    async with open_node() as node:
        seen: list[object] = []
        go = trio.Event()
        port = node.port()
        port.on("x")(lambda: seen.append("old"))

        @port.on("wait")
        async def wait() -> None:
            port.on("x")(lambda: seen.append("new"))
            await go.wait()

        node.send(port, "wait")
        node.send(port, "x")
        await wait_all_tasks_blocked()
        go.set()
        await wait_all_tasks_blocked()
        assert seen == ["new"]


async def test_once_takes_the_handler_away_before_it_is_called() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(lambda *message: seen.append(("default", *message)))
        port.on("x", once=True)(lambda value: seen.append(("once", value)))
        node.send(port, "x", 1)
        node.send(port, "x", 2)
        await wait_all_tasks_blocked()
        assert seen == [("once", 1), ("default", "x", 2)]


async def test_once_holds_for_async_handlers() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(lambda *message: seen.append(("default", *message)))

        @port.on("x", once=True)
        async def take(value: int) -> None:
            await trio.lowlevel.checkpoint()
            seen.append(("once", value))

        node.send(port, "x", 1)
        node.send(port, "x", 2)
        await wait_all_tasks_blocked()
        assert seen == [("once", 1), ("default", "x", 2)]


async def test_a_once_handler_may_install_its_successor() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()

        @port.on("x", once=True)
        def first() -> None:
            seen.append("first")
            port.on("x")(lambda: seen.append("second"))

        for _ in range(3):
            node.send(port, "x")
        await wait_all_tasks_blocked()
        assert seen == ["first", "second", "second"]


async def test_a_once_handler_without_pattern_takes_one_message() -> None:
    async with open_node() as node:
        seen: list[object] = []
        async with node.open_port() as port:
            port.on(once=True)(lambda *message: seen.append(message))
            node.send(port, "a")
            node.send(port, "b")
            assert await port.receive() == ("b",)
            assert seen == [("a",)]


async def test_a_once_handler_that_was_replaced_leaves_its_successor_alone() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        port.on("x", once=True)(lambda: seen.append("old"))
        port.on("x")(lambda: seen.append("new"))
        node.send(port, "x")
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert seen == ["new", "new"]


async def test_off_takes_a_handler_away() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(lambda *message: seen.append(message))
        port.on("x")(lambda: seen.append("handler"))
        node.send(port, "x")
        await wait_all_tasks_blocked()
        port.off("x")
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert seen == ["handler", ("x",)]


async def test_off_without_pattern_takes_the_default_handler_away() -> None:
    async with open_node() as node:
        port = node.port(lambda *_: None)
        port.off()
        node.send(port, "x")
        assert (await node.wait_death(port))[0] == "unhandled_message"


async def test_off_of_a_handler_that_is_not_there_is_no_error() -> None:
    async with open_node() as node:
        port = node.port()
        port.off("x")
        port.off("x", 1)
        port.off()
        assert port.alive


async def test_a_handler_may_take_itself_away() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(lambda *message: seen.append(message))

        @port.on("x")
        def take() -> None:
            seen.append("handler")
            port.off("x")

        node.send(port, "x")
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert seen == ["handler", ("x",)]


async def test_a_message_that_no_handler_matches_kills_the_port() -> None:
    async with open_node() as node:
        port = node.port()
        port.on("x")(lambda: None)
        node.send(port, "y", 1)
        reason = await node.wait_death(port)
        assert reason[0] == "unhandled_message"
        assert "'y'" in str(reason[1])


async def test_an_empty_message_that_no_handler_takes_kills_the_port() -> None:
    async with open_node() as node:
        port = node.port()
        port.on("x")(lambda: None)
        node.send(port)
        assert (await node.wait_death(port))[0] == "unhandled_message"


async def test_a_port_is_a_string_its_own_id() -> None:
    async with open_node("here") as node:
        port = node.port()
        assert isinstance(port, str)
        assert str(port).startswith("here#")
        assert f"{port}" == port == str(port)
        assert hash(port) == hash(str(port))
        assert {str(port): 1}[port] == 1
        assert node_of(port) == "here"
        assert port.node is node


async def test_ports_never_share_an_id() -> None:
    async with open_node("here") as node:
        ports = set()
        for _ in range(100):
            port = node.port()
            node.kill(port)
            ports.add(str(port))
            await wait_all_tasks_blocked()
    async with open_node("here") as node:
        ports.update(str(node.port()) for _ in range(100))
    assert len(ports) == 200


async def test_a_message_for_a_port_of_an_earlier_run_reaches_none() -> None:
    async with open_node("here") as node:
        old = node.port()
    async with open_node("here") as node:
        seen: list[object] = []
        node.port(lambda *message: seen.append(message))
        node.send(old, "x")
        node.send(str(old), "x")
        await wait_all_tasks_blocked()
        assert not seen
        assert (await node.wait_death(old))[0] == "no_such_port"


async def test_a_copied_or_pickled_port_is_its_id_and_nothing_more() -> None:
    async with open_node() as node:
        port = node.port()
        for other in (copy.copy(port), copy.deepcopy(port), pickle.loads(pickle.dumps(port))):
            assert other == port
            assert type(other) is str


def test_a_port_made_by_hand_is_only_an_id() -> None:
    port = Port("node#aaaaaaaaaaaaaaaa.1")
    assert port == "node#aaaaaaaaaaaaaaaa.1"
    assert not port.alive
    uses: list[Callable[[], object]] = [
        lambda: port.on("x"),
        lambda: port.off("x"),
        lambda: port.node,
        port.kill,
        lambda: port.run(lambda: None),
        lambda: port.start_soon(trio.sleep, 1),
    ]
    for use in uses:
        with pytest.raises(RuntimeError, match=r"node#aaaaaaaaaaaaaaaa\.1"):
            use()


async def test_a_port_made_by_hand_of_a_local_id_can_be_sent_to() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(seen.append)
        node.send(Port(str(port)), 1)
        await wait_all_tasks_blocked()
        assert seen == [1]


async def test_alive_ends_with_the_port() -> None:
    async with open_node() as node:
        port = node.port()
        assert port.alive
        port.kill()
        assert port.alive, "a kill keeps its place among the messages"
        await wait_all_tasks_blocked()
        assert not port.alive


async def test_start_soon_runs_a_task() -> None:
    async with open_node() as node:
        seen: list[object] = []

        async def task(*arguments: object) -> None:
            await trio.lowlevel.checkpoint()
            seen.append(arguments)

        port = node.port()
        port.start_soon(task, 1, "two")
        await wait_all_tasks_blocked()
        assert seen == [(1, "two")]
        assert port.alive


async def test_a_task_that_raises_kills_its_port() -> None:
    async with open_node() as node:

        async def fail() -> None:
            await trio.lowlevel.checkpoint()
            raise ValueError("no good")

        port = node.port()
        port.start_soon(fail)
        assert await node.wait_death(port) == Died("ValueError: no good")


async def test_tasks_of_a_port_do_not_make_its_messages_wait() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(seen.append)
        port.start_soon(trio.sleep_forever)
        node.send(port, 1)
        await wait_all_tasks_blocked()
        assert seen == [1]


async def test_run_returns_what_the_function_returns() -> None:
    async with open_node() as node:
        port = node.port()
        assert port.run(lambda a, b: a + b, 1, 2) == 3


async def test_an_exception_in_run_kills_the_port_and_goes_no_further() -> None:
    async with open_node() as node:
        port = node.port()

        def fail() -> None:
            raise ValueError("no good")

        with node.monitor(port, lambda *_: None) as monitor:
            result = port.run(fail)
            assert result is None
            assert not port.alive
            await wait_all_tasks_blocked()
            assert monitor.reason == Died("ValueError: no good")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_run_lets_what_is_no_exception_pass(error: type[BaseException]) -> None:
    async with open_node() as node:
        port = node.port()

        def fail() -> None:
            raise error

        with pytest.raises(error):
            port.run(fail)
        assert port.alive


async def test_wrap_runs_in_the_port_whenever_it_is_called() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        wrapped = port.wrap(lambda *arguments: seen.append(arguments))
        assert not seen
        wrapped(1)
        wrapped(2, 3)
        assert seen == [(1,), (2, 3)]


async def test_an_exception_in_a_wrapped_function_kills_the_port() -> None:
    async with open_node() as node:
        port = node.port()

        def fail() -> None:
            raise ValueError("no good")

        port.wrap(fail)()
        assert not port.alive


async def test_run_and_wrap_refuse_async_functions() -> None:
    async with open_node() as node:
        port = node.port()
        with pytest.raises(TypeError, match="start_soon"):
            port.run(trio.sleep, 1)
        with pytest.raises(TypeError, match="start_soon"):
            port.wrap(trio.sleep)


async def test_a_dead_port_refuses_what_would_need_it_alive() -> None:
    async with open_node() as node:
        port = node.port()
        wrapped = port.wrap(lambda: None)
        node.kill(port, "why")
        await wait_all_tasks_blocked()
        uses: list[Callable[[], object]] = [
            lambda: port.on("x"),
            lambda: port.start_soon(trio.sleep, 1),
            lambda: port.run(lambda: None),
            wrapped,
        ]
        for use in uses:
            with pytest.raises(PortDied) as caught:
                use()
            assert caught.value.port == port
            assert caught.value.reason == ("why",)


async def test_a_decorator_that_is_used_after_the_death_raises() -> None:
    async with open_node() as node:
        port = node.port()
        install = port.on("x")
        node.kill(port)
        await wait_all_tasks_blocked()
        with pytest.raises(PortDied):
            install(lambda: None)


async def test_off_and_kill_of_a_dead_port_do_nothing() -> None:
    async with open_node() as node:
        port = node.port()
        node.kill(port, "first")
        await wait_all_tasks_blocked()
        port.off("x")
        port.kill("second")
        await wait_all_tasks_blocked()
        with pytest.raises(PortDied) as caught:
            port.run(lambda: None)
        assert caught.value.reason == ("first",)


async def test_sends_to_a_dead_port_are_dropped() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(seen.append)
        node.kill(port)
        await wait_all_tasks_blocked()
        node.send(port, 1)
        node.send(str(port), 2)
        await wait_all_tasks_blocked()
        assert not seen


async def test_send_is_no_checkpoint_and_neither_is_kill() -> None:
    async with open_node() as node:
        port = node.port(lambda *_: None)
        with trio.testing.assert_no_checkpoints():
            node.send(port, 1)
            node.send(str(port), 1)
            node.monitor(port, lambda *_: None).cancel()
            node.kill(port)


async def test_messages_to_the_own_node_port_are_served(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("here") as node:
        seen: list[object] = []
        port = node.port(lambda *message: seen.append(message))
        node.send("here", "info", port, "answer")
        node.send("here#", "snd", port, "forwarded", 1)
        node.send("here", "up_nodes", port, "up")
        node.send("here", "known_nodes", port, "known")
        node.send("here", "devnull")
        node.send("here")
        await wait_all_tasks_blocked()
        assert seen[0] == ("answer", "here")
        assert sorted(seen[1:], key=str) == [("forwarded", 1), ("known", "here"), ("up",)]
        assert not caplog.records


async def test_a_message_that_the_node_port_does_not_know_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("here") as node:
        node.send("here", "nonsense", 1)
        node.send("here", {})
        await wait_all_tasks_blocked()
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
        assert "nonsense" in caplog.text


async def test_the_node_port_kills_on_request() -> None:
    async with open_node("here") as node:
        port = node.port()
        node.send("here", "kil", port.name, "why")
        assert await node.wait_death(port) == ("why",)


BAD_PORTS: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, "None"),
    (5, TypeError, "5"),
    (["a"], TypeError, "a"),
    (b"node", TypeError, "node"),
    ("", ValueError, "''"),
    ("a b", ValueError, "a b"),
    ("here#not-a-name", ValueError, "not-a-name"),
    ("#aaaaaaaaaaaaaaaa.1", ValueError, "#aaaaaaaaaaaaaaaa.1"),
]


@pytest.mark.parametrize("port, error, text", BAD_PORTS)
async def test_what_is_no_port_is_refused_by_name(port: Any, error: type[Exception], text: str) -> None:
    async with open_node() as node:
        own = node.port()
        uses: list[Callable[[], object]] = [
            lambda: node.send(port, "x"),
            lambda: node.kill(port),
            lambda: node.monitor(port, lambda *_: None),
            lambda: node.link(port, own),
            lambda: node.send_after(1, port, "x"),
            lambda: node.spawn(port, "module:function"),
            lambda: node.move_on_death(port).__enter__(),
            lambda: node_of(port),
        ]
        for use in uses:
            with pytest.raises(error, match=text):
                use()
        with pytest.raises(error, match=text):
            await node.call(port, "x")
        with pytest.raises(error, match=text):
            await node.wait_death(port)
        with pytest.raises(error, match=text):
            await node.flush(port)


async def test_a_port_of_another_node_needs_a_network() -> None:
    async with open_node("here") as node:
        uses: list[Callable[[], object]] = [
            lambda: node.send("elsewhere#aaaaaaaaaaaaaaaa.1", "x"),
            lambda: node.kill("elsewhere#aaaaaaaaaaaaaaaa.1"),
            lambda: node.monitor("elsewhere", lambda *_: None),
            lambda: node.spawn("elsewhere", "module:function"),
        ]
        for use in uses:
            with pytest.raises(RuntimeError, match=r"'here', which has no network, got elsewhere"):
                use()


@pytest.mark.parametrize("handler", [5, "handler", ()])
async def test_what_is_no_handler_is_refused_by_name(handler: Any) -> None:
    async with open_node() as node:
        with pytest.raises(TypeError, match="handler"):
            node.port(handler)
        with pytest.raises(TypeError, match="handler"):
            node.port().on("x")(handler)


@pytest.mark.parametrize("function", [None, 5, "name"])
async def test_what_is_no_function_is_refused_as_a_task_by_name(function: Any) -> None:
    async with open_node() as node:
        port = node.port()
        with pytest.raises(TypeError, match=repr(function)):
            port.start_soon(function)
        with pytest.raises(TypeError, match=repr(function)):
            node.start_port(function)
        with pytest.raises(TypeError, match=repr(function)):
            port.run(function)
        with pytest.raises(TypeError, match=repr(function)):
            port.wrap(function)
        await wait_all_tasks_blocked()
        assert port.alive


@pytest.mark.parametrize("seconds", [-1, float("nan")])
async def test_send_after_refuses_times_that_cannot_be(seconds: float) -> None:
    async with open_node() as node:
        with pytest.raises(ValueError, match=str(seconds)):
            node.send_after(seconds, node.port(), "x")


async def test_send_after_refuses_what_is_no_number_by_name() -> None:
    async with open_node() as node:
        with pytest.raises(TypeError, match="'soon'"):
            node.send_after("soon", node.port(), "x")  # type: ignore[arg-type]


async def test_send_after_sends_later(autojump_clock: object) -> None:
    async with open_node() as node, node.open_port() as port:
        start = trio.current_time()
        node.send_after(20, port, "second")
        node.send_after(10, port, "first", 1)
        assert await port.receive() == ("first", 1)
        assert trio.current_time() == pytest.approx(start + 10)
        assert await port.receive() == ("second",)
        assert trio.current_time() == pytest.approx(start + 20)


async def test_send_after_no_time_sends_soon() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send_after(0, port, "now")
        assert await port.receive() == ("now",)


async def test_a_cancelled_timer_sends_nothing(autojump_clock: object) -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(seen.append)
        at_once = node.send_after(10, port, 1)
        at_once.cancel()
        later = node.send_after(10, port, 2)
        await trio.sleep(5)
        later.cancel()
        later.cancel()
        await trio.sleep(100)
        assert not seen


async def test_cancelling_a_timer_that_has_sent_does_nothing(autojump_clock: object) -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(seen.append)
        timer = node.send_after(1, port, 1)
        await trio.sleep(2)
        timer.cancel()
        assert seen == [1]


async def test_a_timer_that_is_cancelled_when_its_time_has_come_sends_nothing() -> None:
    """Between the moment when Trio wakes the timer's task and the task's next step."""
    clock = trio.testing.MockClock()
    seen: list[object] = []

    class CancelsBeforeTheNextStep(trio.abc.Instrument):
        timer: Any = None

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if self.timer is not None:
                self.timer.cancel()

    async def main() -> None:
        instrument = CancelsBeforeTheNextStep()
        async with open_node() as node:
            port = node.port(seen.append)
            timer = node.send_after(1, port, 1)
            await wait_all_tasks_blocked()

            class ArmsWhenWoken(trio.abc.Instrument):
                def task_scheduled(self, task: trio.lowlevel.Task) -> None:
                    if "_send_later" in task.name:
                        instrument.timer = timer

            trio.lowlevel.add_instrument(ArmsWhenWoken())
            trio.lowlevel.add_instrument(instrument)
            clock.jump(1)
            await wait_all_tasks_blocked()
            assert instrument.timer is timer

    await trio.lowlevel.checkpoint()
    await trio.to_thread.run_sync(functools.partial(trio.run, main, clock=clock))
    assert not seen


async def test_flush_of_a_local_port_is_a_checkpoint_and_no_more() -> None:
    async with open_node() as node:
        with trio.testing.assert_checkpoints():
            await node.flush(node.port())
        with trio.testing.assert_checkpoints():
            await node.flush(node.id)


async def test_a_node_without_a_network_has_neither_binds_nor_peers() -> None:
    async with open_node("here") as node:
        assert node.binds == ()
        assert node.peers == ()
        assert node.id == "here"
        assert repr(node) == "<Node here>"
    assert repr(node) == "<Node here (closed)>"


async def test_two_async_handlers_of_different_ports_run_at_the_same_time() -> None:
    async with open_node() as node:
        sequencer = Sequencer()
        order: list[int] = []

        def step(*positions: int) -> Callable[[], Any]:
            async def take() -> None:
                for position in positions:
                    async with sequencer(position):
                        order.append(position)

            return take

        one, other = node.port(step(0, 2, 4)), node.port(step(1, 3, 5))
        node.send(one)
        node.send(other)
        await wait_all_tasks_blocked()
        assert order == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("tags, most", [((), 400), (("one", "two"), 700)])
async def test_an_idle_port_with_shared_handlers_costs_little_memory(tags: tuple[str, ...], most: int) -> None:
    count = 10_000

    def handler(*_: object) -> None: ...

    async with open_node() as node:
        ports: list[Port | None] = [None] * count
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for index in range(count):
                ports[index] = port = node.port(handler)
                for tag in tags:
                    port.on(tag)(handler)
            gc.collect()
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert (after - before) / count <= most


async def test_a_port_that_has_had_one_message_costs_no_more() -> None:
    count = 2_000
    async with open_node() as node:
        ports = [node.port(lambda *_: None) for _ in range(count)]
        await wait_all_tasks_blocked()
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for port in ports:
                node.send(port, "x")
            await wait_all_tasks_blocked()
            gc.collect()
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert (after - before) / count < 20


async def test_a_port_that_has_handlers_for_tags_alone_has_no_state_of_its_own() -> None:
    """It would take twice the memory; and when it gets one, all its handlers are found there."""
    async with open_node() as node:
        handled: list[object] = []
        port = node.port()
        port.on("a")(lambda: handled.append("a"))
        port.on("b")(lambda: handled.append("not b"))
        port.on("b")(lambda: handled.append("b"))
        port.on()(lambda *message: handled.append(message))
        assert port._state is None
        node.send(port, "a")
        node.send(port, "b")
        await wait_all_tasks_blocked()
        assert port._state is None
        node.send(port, "c")
        await wait_all_tasks_blocked()
        port.on("a", 1)(lambda: handled.append("a, 1"))
        port.on("d")(lambda: handled.append("d"))
        for message in (("a", 1), ("a",), ("b",), ("c",), ("d",)):
            node.send(port, *message)
        await wait_all_tasks_blocked()
        assert handled == ["a", "b", ("c",), "a, 1", "a", "b", ("c",), "d"]


async def test_a_node_keeps_nothing_of_a_port_that_has_died() -> None:
    async with open_node() as node:
        core = node._runtime
        for _ in range(10):
            port = node.port()
            node.monitor(port, lambda *_: None)
            port.start_soon(trio.sleep_forever)
            node.kill(port, "why")
        await wait_all_tasks_blocked()
        assert not core.dispatcher.ports
        assert not core.lifecycle.unwinding
        assert not core.dispatcher.queue


async def test_a_handler_with_a_yield_behind_an_async_one() -> None:
    reasons: list[tuple[Any, ...]] = []
    async with open_node() as node:
        port = node.port()
        port.on("slow")(trio.testing.wait_all_tasks_blocked)

        @port.on("x")
        def generator() -> Any:
            yield

        with pytest.raises(TypeError, match="sync function"):
            node.monitor(port, generator)
        node.monitor(port, lambda *reason: reasons.append(reason))
        node.send(port, "slow")
        node.send(port, "x")
        assert (await node.wait_death(port))[0] == "die"
