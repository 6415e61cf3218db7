"""Where a port was killed by an exception: in its reason, in the log, and in what is raised for who waits for it."""

# ruff: noqa: PT012 - what leaves a whole block is what some of these tests are about

from __future__ import annotations

import functools
import gc
import json
import logging
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from network_helpers import FakeNetwork, open_pair
from reason_helpers import Died
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import Node, Port, PortDied, open_node
from trio_mp._protocol.wire import codec
from trio_mp._reason import exception_reason, node_failed

HERE = r"test_death_traces\.py:\d+"


class Broken(Exception):
    """What kills a port here."""


def raise_it(*_: object) -> None:
    raise Broken("no good")


def reason_of(function: Callable[[], object]) -> tuple[object, ...]:
    """The reason of a port that this kills."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
        function()
    # Without this function itself.
    return exception_reason(caught.value.with_traceback(caught.tb.tb_next))


def code_of(text: str, file: str, module: object) -> Callable[[], object]:
    """A function `call` of a made-up file and module."""
    names: dict[str, Any] = {"__name__": module}
    exec(compile(text, file, "exec"), names)
    found: Callable[[], object] = names["call"]
    return found


# The place in the reason ---------------------------------------------------------------------------------------------


async def test_a_reason_says_where_the_handler_has_failed() -> None:
    async with open_node() as node:
        port = node.port(raise_it)
        node.send(port)
        line = raise_it.__code__.co_firstlineno + 1
        text = f"Broken: no good (test_death_traces.py:{line}, in raise_it)"
        assert await node.wait_death(port) == ("die", text)


async def asks_for_more(port: Port) -> None:
    await port.receive()
    raise_it()


WAYS: dict[str, Callable[[Node], Port]] = {
    "handler": lambda node: node.port(raise_it),
    "task": lambda node: node.start_port(asks_for_more),
}


def with_async_handler(node: Node) -> Port:
    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise_it()

    return node.port(fail)


def with_nursery(node: Node) -> Port:
    async def fail() -> None:
        raise_it()

    async def process(port: Port) -> None:
        await port.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)

    return node.start_port(process)


def with_callback(node: Node) -> Port:
    port, other = node.port(), node.port()
    port.run(node.monitor, other, raise_it)
    port.on()(lambda *_: other.kill())
    return port


def with_run(node: Node) -> Port:
    port = node.port()
    port.on()(lambda *_: node.port(lambda *_: port.run(raise_it)).node)
    port.on()(lambda *_: port.run(raise_it))
    return port


WAYS |= {"async": with_async_handler, "nursery": with_nursery, "callback": with_callback, "run": with_run}


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_code_of_a_port_it_was(way: str) -> None:
    async with open_node() as node:
        port = WAYS[way](node)
        await wait_all_tasks_blocked()
        node.send(port, "now")
        reason = await node.wait_death(port)
        assert str(reason[1]).endswith("in raise_it)"), reason


def test_the_innermost_frame_of_the_program_is_named_and_not_that_of_a_library() -> None:
    def read() -> None:
        json.loads("no json")

    assert reason_of(read)[1] == (
        "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"
        f" (test_death_traces.py:{read.__code__.co_firstlineno + 1}, in read)"
    )


async def test_a_mistake_in_a_call_of_this_package_is_found_where_the_call_is() -> None:
    async with open_node() as node:

        class Sender:
            def send(self, *_: object) -> None:
                node.send("not a port", 1)  # it has a blank

        port = node.port(Sender().send)
        node.send(port)
        reason = await node.wait_death(port)
        assert str(reason[1]).endswith("in Sender.send)")


def test_where_only_libraries_were_running_the_closest_is_named() -> None:
    installed = code_of("import json\ndef call(): json.loads('no')", "/opt/lib/site-packages/theirs/parts.py", "theirs")
    assert "(parts.py:2, in call)" in str(reason_of(installed)[1])
    mine = code_of("def call(): theirs()", "/home/somebody/mine.py", "mine")
    mine.__globals__["theirs"] = installed
    assert str(reason_of(mine)[1]).endswith("(mine.py:1, in call)")
    assert "(decoder.py:" in str(reason_of(functools.partial(json.loads, "no json"))[1])


async def test_a_handler_that_cannot_be_called_so_has_no_place() -> None:
    async with open_node() as node:
        port = node.port(lambda: None)
        node.send(port, "one too many")
        reason = await node.wait_death(port)
        assert reason[0] == "die"
        assert "(" not in str(reason[1]).partition("<lambda>()")[2]


@pytest.mark.parametrize(
    "file, name",
    [
        ("/home/somebody/secret/worker.py", "worker.py"),
        (r"C:\Users\somebody\worker.py", "worker.py"),
        ("<string>", "<string>"),
        ("x" * 10_000 + ".py", "x" * 100),
        ("caf\udce9.py", "caf\\udce9.py"),
        ("/home/somebody/", ""),
    ],
)
@pytest.mark.parametrize("module", ["__main__", None, 5])
def test_only_the_name_of_the_file_is_told(file: str, name: str, module: object) -> None:
    call = code_of("def call():\n    raise ValueError('no good')", file, module)
    reason = reason_of(call)
    assert reason == ("die", f"ValueError: no good ({name}:2, in call)")
    codec.append_message(bytearray(), "", ("kil0", "name", *reason))


def test_a_reason_stays_bounded() -> None:
    def fail() -> None:
        raise ValueError("long" * 1_000_000)

    fail.__code__ = fail.__code__.replace(co_qualname="f" * 100_000, co_filename="n" * 100_000)
    text = str(reason_of(fail)[1])
    assert text.endswith(f"… ({'n' * 100}:{fail.__code__.co_firstlineno + 1}, in {'f' * 100})")
    assert len(text) < 4400


def test_a_deep_traceback_is_walked_to_its_end() -> None:
    def recurse() -> None:
        recurse()

    assert str(reason_of(recurse)[1]).endswith("in recurse)")


def test_a_node_that_fails_says_where_too() -> None:
    with pytest.raises(Broken) as caught:
        raise_it()
    assert str(node_failed(caught.value)[1]).endswith("in raise_it)")


async def test_a_reason_that_travels_names_each_place_on_its_way(autojump_clock: MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        far = a.port(raise_it)

        async def ask(_port: Port) -> None:
            await b.call(far)

        near = b.start_port(ask)
        reason = await b.wait_death(near)
        text = str(reason[1])
        assert text.startswith(f"PortDied: port {far} died: die: Broken: no good (test_death_traces.py:")
        assert text.count("test_death_traces.py") == 2
        assert text.endswith("in ask)") or ".ask)" in text


# The log -------------------------------------------------------------------------------------------------------------


def traces(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        record.name
        for record in caplog.records
        if record.levelno == level and record.exc_info and record.exc_info[1] is not None and "died" in record.msg
    ]


async def test_the_traceback_of_a_monitored_death_is_in_the_log_for_who_looks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "trio_mp")
    async with open_node() as node:
        port = node.port(raise_it)
        node.send(port)
        await node.wait_death(port)
        assert traces(caplog, logging.DEBUG) == ["trio_mp.port"]
        assert "in raise_it" in caplog.text
        caplog.clear()
        unheard = node.port(raise_it)
        node.send(unheard)
        await wait_all_tasks_blocked()
        assert traces(caplog, logging.ERROR) == ["trio_mp.port"], "nobody monitors it"
        assert not traces(caplog, logging.DEBUG)


async def test_nothing_is_logged_of_it_by_default(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        port = node.port(raise_it)
        node.send(port)
        await node.wait_death(port)
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_a_death_that_another_node_monitors_leaves_its_traceback_as_well(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_mp.port")
    async with open_pair(FakeNetwork()) as (a, b):
        port = a.port(raise_it)
        with pytest.raises(PortDied) as died:
            await b.call(port)
        assert died.value.reason == Died("Broken: no good", rf"{HERE}, in raise_it")
        assert died.value.__cause__ is None, "the exception itself does not travel"
        assert traces(caplog, logging.DEBUG)


async def test_a_kill_and_a_normal_death_leave_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio_mp.port")
    async with open_node() as node:
        for reason in ((), ("enough",)):
            port = node.port()
            node.kill(port, *reason)
            assert await node.wait_death(port) == reason
    assert not traces(caplog, logging.DEBUG)


# The cause -----------------------------------------------------------------------------------------------------------


async def by_call(node: Node, port: Port) -> None:
    await node.call(port, "now")


async def by_scope(node: Node, port: Port) -> None:
    with node.fail_on_death(port):
        node.send(port, "now")
        await trio.sleep_forever()


async def by_receive(node: Node, port: Port) -> None:
    node.send(port, "now")
    await port.receive("never sent")


async def by_iteration(node: Node, port: Port) -> None:
    node.send(port, "now")
    async for _ in port:
        pass


@pytest.mark.parametrize("wait", [by_call, by_scope, by_receive, by_iteration])
async def test_who_waits_on_the_same_node_gets_the_exception_as_the_cause(
    wait: Callable[[Node, Port], Awaitable[None]],
) -> None:
    async with open_node() as node, node.open_port() as port:
        port.on("now")(raise_it)
        with pytest.raises(PortDied) as died:
            await wait(node, port)
        assert isinstance(died.value.__cause__, Broken)
        assert died.value.reason == Died("Broken: no good")
        with pytest.raises(PortDied) as late:
            await port.receive()
        assert late.value.__cause__ is None, "it has not waited"
        with pytest.raises(PortDied) as later:
            await node.call(port, "now")
        assert later.value.__cause__ is None


async def test_who_waits_for_the_port_of_a_block_that_fails_gets_it_too(caplog: pytest.LogCaptureFixture) -> None:
    causes: list[object] = []
    async with open_node(unmonitored_death="raise") as node, trio.open_nursery() as nursery:
        for monitored in (True, False):
            with pytest.raises(Broken):
                async with node.open_port() as port:

                    async def watch(port: Port = port) -> None:
                        with pytest.raises(PortDied) as died:
                            await by_scope(node, port)
                        causes.append(died.value.__cause__)

                    if monitored:
                        nursery.start_soon(watch)
                        await wait_all_tasks_blocked()
                    raise Broken("no good")
        await wait_all_tasks_blocked()
    assert [type(cause) for cause in causes] == [Broken]
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_a_death_without_an_exception_has_no_cause() -> None:
    async with open_node() as node, trio.open_nursery() as nursery:
        deaths: list[PortDied] = []

        async def watch(port: Port) -> None:
            with pytest.raises(PortDied) as died:
                await by_scope(node, port)
            deaths.append(died.value)

        # One is killed, the other gets a message that no handler takes.
        ports = [node.port(), node.port()]
        ports[0].on()(lambda *_: None)
        for port in ports:
            nursery.start_soon(watch, port)
        await wait_all_tasks_blocked()
        node.kill(ports[0], "enough")
    assert {death.reason[0] for death in deaths} == {"enough", "unhandled_message"}
    assert all(death.__cause__ is None for death in deaths)


async def test_the_cause_is_of_that_port_and_of_no_other() -> None:
    async with open_node() as node:
        port, other = node.port(raise_it), node.port()
        causes: list[object] = []

        def kill_other(*_: object) -> None:
            causes.append(node._lifecycle.cause)
            node.kill(other, "as well")

        node.monitor(port, kill_other)
        with pytest.raises(PortDied) as died, node.fail_on_death(other):
            node.send(port)
            await trio.sleep_forever()
        assert [type(cause) for cause in causes] == [Broken]
        assert died.value.reason == ("as well",)
        assert died.value.__cause__ is None
        assert node._lifecycle.cause is None


@pytest.mark.parametrize("receives", [True, False])
async def test_nothing_keeps_the_exception_when_those_who_waited_are_gone(receives: bool) -> None:
    class Heavy(Broken):
        pass

    kept: list[weakref.ref[Heavy]] = []

    def fail(*_: object) -> None:
        error = Heavy("no good")
        kept.append(weakref.ref(error))
        raise error

    async with open_node() as node, node.open_port() as port:
        port.on("now")(fail)
        scope = node.move_on_death(port)
        with scope:
            node.send(port, "now")
            if receives:
                with pytest.raises(PortDied):
                    await port.receive()
            await trio.sleep_forever()
        assert scope.reason == Died("Heavy: no good")
        await wait_all_tasks_blocked()
        gc.collect()
        assert kept[0]() is None
