"""Instruments: they hear what a node does, and change nothing of it, whatever they do themselves."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Inbox, open_pair, until
from trio.testing import wait_all_tasks_blocked

import trio_mp
from trio_mp import CallError, PortDied
from trio_mp.abc import Instrument
from trio_mp.lowlevel import Environment, open_node_in


class Recorder(Instrument):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def added(self, node: str) -> None:
        self.heard.append(("added", node))

    def removed(self) -> None:
        self.heard.append(("removed",))

    def connection_up(self, peer: str, address: str) -> None:
        self.heard.append(("connection_up", peer, address))

    def connection_down(self, peer: str, cause: str) -> None:
        self.heard.append(("connection_down", peer, cause))

    def message_received(self, port: str, message: tuple[Any, ...]) -> None:
        self.heard.append(("message_received", port, *message))

    def messages_lost(self, port: str, count: int, reason: str) -> None:
        self.heard.append(("messages_lost", port, count, reason))

    def port_died(self, port: str, reason: tuple[object, ...]) -> None:
        self.heard.append(("port_died", port, reason))

    def call_begun(self, number: int, port: str) -> None:
        self.heard.append(("call_begun", number, port))

    def call_ended(self, number: int, outcome: str) -> None:
        self.heard.append(("call_ended", number, outcome))

    def of(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [told for told in self.heard if told[0] in kinds]


def test_the_recorder_hears_all_there_is() -> None:
    assert {name for name in vars(Instrument) if name[0] != "_"} <= set(vars(Recorder))


async def test_hears_messages_before_the_handler_and_deaths_and_losses_here() -> None:
    recorder = Recorder()
    async with open_node_in(Environment(), "n", instruments=[recorder]) as node:

        def handle(number: int) -> None:
            recorder.heard.append(("handled", number))
            if number == 3:
                raise ValueError("as planned")

        port = node.port(handle)
        with node.monitor(port, lambda *_: None):
            for number in range(5):
                node.send(port, number)
            await wait_all_tasks_blocked()
        expected: list[tuple[Any, ...]] = []
        for number in range(4):
            expected += [("message_received", port, number), ("handled", number)]
        ((kind, died, reason), *lost) = recorder.heard[1 + len(expected) :]
        assert recorder.heard[: 1 + len(expected)] == [("added", "n"), *expected]
        assert (kind, died, reason[0]) == ("port_died", port, "die")
        # The fifth was on its way already.
        assert [told for told in lost if told[0] == "messages_lost"] == [("messages_lost", port, 1, "no_such_port")]
        assert all(type(told[1]) is str for told in recorder.of("message_received", "port_died"))
    assert recorder.heard[-1] == ("removed",)


async def test_hears_what_comes_from_other_nodes_in_its_order(autojump_clock: trio.testing.MockClock) -> None:
    recorder = Recorder()
    async with open_pair(FakeNetwork()) as (one, two):
        two.add_instrument(recorder)
        inbox = Inbox(two)
        for number in range(2500):
            one.send(inbox.port, number)
        await inbox.wait(2500)
        assert inbox.messages == [(number,) for number in range(2500)]
        assert recorder.of("message_received") == [("message_received", inbox.port, number) for number in range(2500)]
        assert inbox.port.statistics().received == 2500


async def test_hears_connections(autojump_clock: trio.testing.MockClock) -> None:
    recorder = Recorder()
    async with open_pair(FakeNetwork(), instruments=()) as (one, two):
        one.add_instrument(recorder)
        network = two._runtime.network
        assert network is not None
        for connection in tuple(network._connections):
            connection.close("as planned")
        await until(lambda: len(recorder.of("connection_up")) == 1 and one.peers)
        assert recorder.of("connection_down") == [("connection_down", "b", "closed")]
        assert recorder.of("connection_up")[0][1] == "b"


async def test_hears_calls_and_how_they_end(autojump_clock: trio.testing.MockClock) -> None:
    recorder = Recorder()
    async with open_node_in(Environment(), "n", instruments=[recorder]) as node:
        port = node.port()

        @port.on("ask", reply=True, errors=(ValueError,))
        async def ask(how: str) -> int:
            if how == "fail":
                raise ValueError
            if how == "die":
                port.kill("stop")
            if how != "answer":
                await trio.sleep_forever()
            return 5

        assert await node.call(port, "ask", "answer") == (5,)
        with pytest.raises(CallError):
            await node.call(port, "ask", "fail")
        with trio.move_on_after(1):
            await node.call(port, "ask", "wait")
        other = node.port()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def kill_soon() -> None:
                await trio.sleep(1)
                other.kill("stop")

            with pytest.raises(PortDied):
                await node.call(port if not port.alive else other, "ask", "die")
    outcomes = [told[1:] for told in recorder.of("call_ended")]
    assert outcomes[:3] == [(1, "answered"), (2, "failed"), (3, "cancelled")]
    assert outcomes[3] == (4, "died")
    assert [told[1] for told in recorder.of("call_begun")] == [1, 2, 3, 4]
    assert ("message_received", port, "ask", "answer") in recorder.heard


class Broken(Instrument):
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.calls = 0

    def message_received(self, port: str, message: tuple[Any, ...]) -> Any:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.wait()

    async def wait(self) -> None:
        raise AssertionError("nobody awaits it")


@pytest.mark.parametrize("error", [ValueError("as planned"), KeyboardInterrupt(), SystemExit(5), None])
async def test_one_that_fails_is_logged_and_removed_and_nothing_else_happens(
    error: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    broken, recorder = Broken(error), Recorder()
    async with open_node_in(Environment(), "n", instruments=[broken, recorder]) as node:
        inbox = Inbox(node)
        for number in range(3):
            node.send(inbox.port, number)
        await inbox.wait(3)
        assert broken.calls == 1
        assert len(recorder.of("message_received")) == 3
        with pytest.raises(KeyError):
            node.remove_instrument(broken)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("an instrument has failed in message_received(), and is removed: ")
    assert vars(record)["event"] == "callback_failed"


async def test_one_that_fails_when_it_is_removed_does_not_keep_the_node_open(caplog: pytest.LogCaptureFixture) -> None:
    class FailsLate(Instrument):
        def removed(self) -> None:
            raise ValueError("as planned")

    recorder = Recorder()
    async with open_node_in(Environment(), "n", instruments=[FailsLate(), recorder]):
        pass
    assert recorder.heard == [("added", "n"), ("removed",)]
    assert len(caplog.records) == 1


async def test_can_be_added_and_removed_at_any_time_also_by_a_handler() -> None:
    recorder = Recorder()
    async with trio_mp.open_node("n") as node:

        def handle(number: int) -> None:
            if number == 2:
                node.add_instrument(recorder)
                node.add_instrument(recorder)
            if number == 1005:
                node.remove_instrument(recorder)

        port = node.port(handle)
        for number in range(3000):
            node.send(port, number)
        await wait_all_tasks_blocked()
        # It watches from the next pass on.
        heard = [told[2] for told in recorder.of("message_received")]
        assert heard == [*range(heard[0], 1006)]
        assert heard[0] <= 1003
        assert recorder.heard[0] == ("added", "n")
        assert recorder.heard[-1] == ("removed",)
        assert port.statistics().received == 3000


@pytest.mark.parametrize("wrong", [5, [5], [Recorder], None])
async def test_anything_else_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected a"):
        async with trio_mp.open_node("n", instruments=wrong):
            pass
    async with trio_mp.open_node("n") as node:
        with pytest.raises(TypeError, match="expected an instrument"):
            node.add_instrument(wrong)


async def test_none_are_told_of_what_they_do_not_want() -> None:
    class Idle(Instrument):
        pass

    async with open_node_in(Environment(), "n", instruments=[Idle()]) as node:
        found = node._lifecycle.instruments
        assert (found.messages, found.deaths, found.losses, found.calls) == ((), (), (), ())
