"""A node that drains: what it waits for, what it refuses, and what others hear of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from network_helpers import (
    NO_PORT,
    FakeNetwork,
    RawPeer,
    a_member,
    open_pair,
    open_test_node,
    peer_of,
    until,
    warnings_in,
)
from trio.testing import wait_all_tasks_blocked

from trio_mp import Drained, Node, Port, PortDied, TurnEpoch, Unfinished, open_node, spawnable


class Draining:
    """A drain that runs in a task of its own."""

    def __init__(self) -> None:
        self.result: Drained | None = None
        self.scope = trio.CancelScope()

    @property
    def is_over(self) -> bool:
        return self.result is not None

    async def run(self, node: Node) -> None:
        with self.scope:
            self.result = await node.drain()


@asynccontextmanager
async def drain_of(node: Node) -> AsyncGenerator[Draining, None]:
    """Drain a node beside the block, which the drain has to survive."""
    async with trio.open_nursery() as nursery:
        drain = Draining()
        nursery.start_soon(drain.run, node)
        await wait_all_tasks_blocked()
        yield drain
        nursery.cancel_scope.cancel()


def about(node: Node, port: str) -> list[str]:
    return [each.reason for each in node.unfinished() if each.port == port]


class TestAlone:
    async def test_a_node_with_nothing_to_do_has_drained_at_once(self) -> None:
        async with open_node("a") as node:
            assert not node.draining.is_set()
            assert node.unfinished() == ()
            assert await node.drain() == Drained(())
            assert node.draining.is_set()
            assert node.unfinished() == ()

    async def test_it_is_frozen_and_prints_as_people_read_it(self) -> None:
        left = Unfinished("a#p", "its handler runs")
        assert str(left) == "a#p: its handler runs"
        with pytest.raises(AttributeError):
            left.port = "b"  # type: ignore[misc]
        with pytest.raises(AttributeError):
            Drained((left,)).unfinished = ()  # type: ignore[misc]

    async def test_it_waits_for_handlers_and_for_what_they_send_on(self, autojump_clock: object) -> None:
        async with open_node("a") as node:
            done: list[str] = []
            second = node.port()

            @second.on()
            async def finish(text: str) -> None:
                await trio.sleep(5)
                done.append(text)

            first = node.port()

            @first.on()
            async def pass_on(text: str) -> None:
                await trio.sleep(5)
                node.send(second, text)

            node.send(first, "one")
            node.send(first, "two")
            await wait_all_tasks_blocked()
            assert about(node, first) == ["its handler runs; 1 message waiting"]
            started = trio.current_time()
            assert await node.drain() == Drained(())
            assert done == ["one", "two"]
            assert trio.current_time() - started < 15.1

    async def test_messages_are_handled_that_were_just_sent(self) -> None:
        async with open_node("a") as node:
            got: list[int] = []
            port = node.port(got.append)
            for number in range(5000):
                node.send(port, number)
            assert node.unfinished() == (Unfinished("a", "5000 messages on the way between its ports"),)
            await node.drain()
            assert got == [*range(5000)]

    async def test_it_waits_for_a_mailbox_and_for_the_message_that_an_iteration_works_at(
        self, autojump_clock: object
    ) -> None:
        done: list[int] = []

        async def work(port: Port) -> None:
            async for (number,) in port:
                await trio.sleep(1)
                done.append(number)

        async with open_node("a") as node:
            port = node.start_port(work)
            for number in range(3):
                node.send(port, number)
            await wait_all_tasks_blocked()
            (reason,) = about(node, port)
            assert reason == (
                "its task has taken a message, and has not asked for the next one; 2 messages waiting in its mailbox"
            )
            assert await node.drain() == Drained(())
            assert done == [0, 1, 2]

    async def test_a_mailbox_is_empty_when_a_task_that_receives_has_taken_all(self, autojump_clock: object) -> None:
        async def work(port: Port) -> None:
            while True:
                await port.receive()
                await trio.sleep(1)

        async with open_node("a") as node:
            port = node.start_port(work)
            for number in range(3):
                node.send(port, number)
            started = trio.current_time()
            assert await node.drain() == Drained(())
            assert 1.9 < trio.current_time() - started < 2.1

    async def test_what_does_not_fit_the_pattern_of_a_receive_is_waited_for(self, autojump_clock: object) -> None:
        got: list[Any] = []

        async def work(port: Port) -> None:
            got.append(await port.receive("go"))
            got.append(await port.receive())
            await trio.sleep_forever()

        async with open_node("a") as node:
            port = node.start_port(work)
            node.send(port, "later")
            async with drain_of(node) as drain:
                await trio.sleep(1)
                assert about(node, port) == ["1 message waiting in its mailbox"]
                assert not drain.is_over
                node.send(port, "go")
                await trio.sleep(1)
                assert drain.result == Drained(())
                assert got == [("go",), ("later",)]

    async def test_a_mailbox_that_nobody_reads_is_named_and_not_waited_for(self) -> None:
        async with open_node("a") as node, node.open_port() as port:
            node.send(port, "one")
            result = await node.drain()
            assert result.unfinished == (
                Unfinished(port, "1 message waiting in its mailbox, from which nobody has received"),
            )

    async def test_the_task_that_has_left_its_loop_and_drains_is_not_waited_for(self) -> None:
        async with open_node("a") as node, node.open_port() as port, trio.open_nursery() as nursery:

            async def stop() -> None:
                await wait_all_tasks_blocked()
                node.send(port, "stop")
                node.send(port, "more")

            nursery.start_soon(stop)
            async for message in port:
                assert message == ("stop",)
                break
            result = await node.drain()
            assert result.unfinished == (Unfinished(port, "1 message for it, and it awaits the drain"),)

    async def test_an_iteration_of_a_task_that_has_ended_is_over(self) -> None:
        async with open_node("a") as node, node.open_port() as port:

            async def take_one() -> None:
                async for _ in port:
                    return

            async with trio.open_nursery() as nursery:
                nursery.start_soon(take_one)
                await wait_all_tasks_blocked()
                node.send(port, "one")
            assert await node.drain() == Drained(())

    async def test_an_iteration_that_is_cancelled_while_it_waits_has_nothing_in_hand(
        self, autojump_clock: object
    ) -> None:
        async with open_node("a") as node, node.open_port() as port, trio.open_nursery() as nursery:

            async def look_for_a_while() -> None:
                with trio.move_on_after(1):
                    async for _ in port:
                        pass
                await trio.sleep_forever()

            nursery.start_soon(look_for_a_while)
            await trio.sleep(2)
            assert await node.drain() == Drained(())
            nursery.cancel_scope.cancel()

    async def test_called_in_a_port_that_port_is_not_waited_for(self) -> None:
        async with open_node("a") as node:
            results: list[Drained] = []

            async def drain() -> None:
                results.append(await node.drain())

            ports = [node.port(drain) for _ in range(2)]
            for port in ports:
                node.send(port)
            await until(lambda: len(results) == 2)
            assert results == [Drained(())] * 2

    async def test_messages_for_the_port_that_drains_are_named(self, autojump_clock: object) -> None:
        async with open_node("a") as node:
            results: list[Drained] = []
            port = node.port()

            @port.on("drain")
            async def drain() -> None:
                await trio.sleep(1)
                results.append(await node.drain())

            node.send(port, "drain")
            node.send(port, "drain")
            await until(lambda: len(results) == 2)
            assert results[0].unfinished == (Unfinished(port, "1 message for it, and it awaits the drain"),)
            assert results[1].unfinished == ()

    async def test_cancelled_it_goes_on_draining_and_may_be_asked_again(self, autojump_clock: object) -> None:
        async with open_node("a") as node:
            port = node.port()

            @port.on()
            async def work() -> None:
                await trio.sleep(10)

            node.send(port)
            with trio.move_on_after(1) as scope:
                await node.drain()
            assert scope.cancelled_caught
            assert node.draining.is_set()
            assert about(node, port) == ["its handler runs"]
            assert await node.drain() == Drained(())
            assert trio.current_time() == pytest.approx(10, abs=0.1)

    async def test_two_at_once_share_it(self, autojump_clock: object) -> None:
        async with open_node("a") as node:
            port = node.port()

            @port.on()
            async def work() -> None:
                await trio.sleep(10)

            node.send(port)
            async with trio.open_nursery() as nursery:
                drains = [Draining(), Draining()]
                for drain in drains:
                    nursery.start_soon(drain.run, node)
                await trio.sleep(1)
                drains[0].scope.cancel()
            assert [drain.result for drain in drains] == [None, Drained(())]

    async def test_a_port_that_dies_with_messages_is_named(self, autojump_clock: object) -> None:
        async with open_node("a") as node:
            port = node.port()

            @port.on()
            async def work() -> None:
                await trio.sleep(10)

            async with node.open_port() as box:
                node.send(port)
                node.send(port)
                node.send(box, "one")
                async with drain_of(node) as drain:
                    node.kill(port, "enough")
                    node.kill(box, "of it")
                    await until(lambda: drain.is_over)
                    assert drain.result is not None
                    assert set(drain.result.unfinished) == {
                        Unfinished(port, "it died with 1 message waiting: enough"),
                        Unfinished(box, "it died with 1 message waiting: of it"),
                    }

    async def test_a_closed_node_cannot_drain_and_one_that_closes_ends_the_drain(self) -> None:
        async with trio.open_nursery() as nursery:
            failures: list[BaseException] = []

            async def drain(node: Node) -> None:
                try:
                    await node.drain()
                except trio.ClosedResourceError as error:
                    failures.append(error)

            async with open_node("a") as node:
                port = node.port()
                port.on()(trio.sleep_forever)
                node.send(port)
                nursery.start_soon(drain, node)
                await wait_all_tasks_blocked()
        assert len(failures) == 1
        with pytest.raises(trio.ClosedResourceError):
            await node.drain()
        with pytest.raises(trio.ClosedResourceError):
            node.unfinished()

    async def test_it_closes_nothing_and_later_messages_arrive(self) -> None:
        async with open_node("a") as node:
            got: list[str] = []
            port = node.port(got.append)
            await node.drain()
            node.send(port, "later")
            assert node.port().alive
            assert await node.drain() == Drained(())
            assert got == ["later"]

    async def test_the_log_says_when_it_begins_and_what_is_left(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "trio_mp.drain")
        async with open_node("a") as node:
            await node.drain()
            async with node.open_port() as port:
                node.send(port, "one")
                await node.drain()
        left = "1 message waiting in its mailbox, from which nobody has received"
        lines = [record.getMessage() for record in caplog.records if record.name == "trio_mp.drain"]
        assert lines == [
            "this node drains: it takes no new work",
            "this node has drained: all that was sent before is handled",
            f"this node has drained: unfinished is {port}: {left}",
        ]


class TestEntries:
    async def test_entries_that_name_ports_are_withdrawn_and_not_set_any_more(self) -> None:
        async with open_node("a") as node:
            database, port, other = node.database, node.port(), node.port()
            database.register("workers", port)
            database.register("names", port, key="one")
            database.set("plain", "key", "value")
            database.set("plain", "port", str(port))
            await node.drain()
            assert await database.family("workers") == {}
            assert await database.family("names") == {}
            assert await database.family("plain") == {"key": "value"}
            database.register("workers", other)
            database.set("plain", "other", [str(other), 1])
            database.set("plain", "key", "another value")
            assert await database.family("workers") == {}
            assert await database.family("plain") == {"key": "another value"}
            port.kill()
            await node.wait_death(port)

    async def test_a_group_elsewhere_calls_others_and_what_is_on_its_way_is_answered(
        self, autojump_clock: object
    ) -> None:
        network = FakeNetwork()
        async with open_pair(network) as (a, b), open_test_node(network, "c", seeds=["a"]) as c:
            asked: list[str] = []

            def serve(node: Node) -> None:
                port = node.port()

                @port.on("where", reply=True)
                async def where() -> str:
                    asked.append(node.id)
                    await trio.sleep(1)
                    return node.id

                node.database.register("servers", port)

            serve(b)
            serve(c)
            async with a.open_group("servers") as group, trio.open_nursery() as nursery:
                await group.wait(2)
                answers: list[str] = []

                async def ask() -> None:
                    answers.append(await group.call("where", reply=str))

                for _ in range(2):
                    nursery.start_soon(ask)
                await until(lambda: len(asked) == 2)
                assert await b.drain() == Drained(())
                await until(lambda: len(group) == 1)
                for _ in range(4):
                    nursery.start_soon(ask)
                await until(lambda: len(answers) == 6)
                assert sorted(answers) == ["b", *["c"] * 5]

    async def test_a_group_prefers_members_of_nodes_that_do_not_drain(self, autojump_clock: object) -> None:
        network = FakeNetwork()
        async with open_pair(network) as (a, b), open_test_node(network, "c", seeds=["a"]) as c:
            ports: dict[str, Port] = {}
            for node in (b, c):
                ports[node.id] = node.port()
                ports[node.id].on(reply=True)(lambda *_, name=node.id: name)
                # Entries of a node that does not drain: they stay.
                a.database.register("servers", ports[node.id])
            async with a.open_group("servers") as group:
                await group.wait(2)
                keys = [str(number) for number in range(10)]
                assert {await group.call("who", key=key, reply=str) for key in keys} == {"b", "c"}
                await b.drain()
                assert len(group) == 2
                assert {group.pick() for _ in range(4)} == {ports["c"]}
                assert [await group.call("who", reply=str) for _ in range(4)] == ["c"] * 4
                assert {await group.call("who", key=key, reply=str) for key in keys} == {"c"}
                ports["c"].kill()
                await until(lambda: len(group) == 1)
                assert await group.call("who", reply=str) == "b"
                assert await group.call("who", key="1", reply=str) == "b"

    async def test_a_candidate_gets_no_turn_on_a_node_that_drains_and_keeps_the_one_that_it_has(
        self, autojump_clock: object
    ) -> None:
        turns: list[str] = []
        ends = trio.Event()

        async def lead(_epoch: TurnEpoch, name: str) -> None:
            turns.append(name)
            await ends.wait()

        async with open_pair(FakeNetwork()) as (a, b), trio.open_nursery() as nursery:
            nursery.start_soon(b.run_singleton, "leaders", lead, "b")
            await until(lambda: turns == ["b"])
            nursery.start_soon(b.run_singleton, "leaders", lead, "b again")
            await trio.sleep(1)
            assert await b.drain() == Drained(())
            nursery.start_soon(a.run_singleton, "leaders", lead, "a")
            await trio.sleep(10)
            assert turns == ["b"]
            ends.set()
            await until(lambda: len(turns) == 2)
            await trio.sleep(10)
            assert turns == ["b", "a"]
            nursery.cancel_scope.cancel()


class TestSupervisors:
    async def test_nothing_is_restarted_and_what_is_added_is_started(self) -> None:
        starts: list[str] = []

        async def child(port: Port, name: str, task_status: Any) -> None:
            starts.append(name)
            task_status.started()
            await trio.sleep_forever()

        async with open_node("a") as node, node.open_supervisor() as crew:
            first = await crew.start(child, "first")
            await node.drain()
            node.kill(first.port, "an error")
            await crew.wait()
            second = await crew.start(child, "second")
            node.kill(second.port, "an error")
            await crew.wait()
            assert starts == ["first", "second"]
            async with node.open_supervisor() as later:
                third = await later.start(child, "third")
                node.kill(third.port, "an error")
                await later.wait()
            assert starts == ["first", "second", "third"]


@spawnable
def installs_nothing(port: Port) -> None:
    pass


HERE = f"{__name__}:installs_nothing"


class TestPeers:
    async def test_what_was_sent_before_the_other_node_has_heard_is_handled(self, autojump_clock: object) -> None:
        network = FakeNetwork()
        async with open_pair(network) as (a, b):
            got: list[int] = []
            port = b.port(got.append)
            for number in range(2000):
                a.send(port, number)
            assert got == []
            assert await b.drain() == Drained(())
            assert got == [*range(2000)]
            assert peer_of(a, "b").drains

    async def test_calls_of_others_are_answered_by_handlers_of_all_kinds(self, autojump_clock: object) -> None:
        async with open_pair(FakeNetwork()) as (a, b):
            port = b.port()

            @port.on("slow", reply=True)
            async def slow() -> str:
                await trio.sleep(1)
                return "slow"

            @port.on("sent")
            def sent(reply_to: str) -> None:
                b.send_after(2, reply_to, "sent")

            answers: list[str] = []

            async def ask(what: str) -> None:
                answers.append(await a.call(port, what, reply=str))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "sent")
                await trio.sleep(0.1)
                nursery.start_soon(ask, "slow")
                await trio.sleep(0.5)
                assert about(b, port) == ["2 calls not answered; its handler runs"]
                started = trio.current_time()
                assert await b.drain() == Drained(())
                assert trio.current_time() - started > 1.4
            assert answers == ["slow", "sent"]

    async def test_an_inspection_and_the_call_by_which_a_port_drains_are_not_waited_for(
        self, autojump_clock: object
    ) -> None:
        async with open_pair(FakeNetwork()) as (a, b):
            port = b.port()

            @port.on("drain", reply=True)
            async def drain() -> int:
                return len((await b.drain()).unfinished)

            assert await a.call(port, "drain", reply=int) == 0

    async def test_a_drain_waits_for_the_fence_of_each_peer(self, autojump_clock: object) -> None:
        network = FakeNetwork()
        async with open_pair(network) as (a, b):
            got: list[int] = []
            port = b.port(got.append)
            way = network.wire.back
            way.stalled = True
            a.send(port, 1)
            async with drain_of(b) as drain:
                await trio.sleep(2)
                assert not drain.is_over
                assert b.unfinished() == (Unfinished("a", "that node has not said that it has heard"),)
                a.send(port, 2)
                way.resume()
                await until(lambda: drain.is_over)
                assert drain.result == Drained(())
                assert got == [1, 2]

    async def test_spawns_starts_and_streams_of_others_are_refused_and_own_ones_are_not(self) -> None:
        modules: dict[str, Any] = {"spawn_modules": [__name__]}
        async with open_pair(FakeNetwork(), **modules) as (a, b):
            await b.drain()
            text = "b is draining, and starts nothing for others"
            with pytest.raises(PortDied, match=text):
                await a.start_on("b", HERE)
            spawned = a.spawn("b", HERE)
            assert await a.wait_death(spawned) == ("spawn_failed", text)
            with pytest.raises(PortDied, match=text):
                async with a.open_stream("b", HERE):
                    pass
            with pytest.raises(PortDied, match=text):
                async with a.open_channel("b", HERE):
                    pass
            assert (await b.start_on("b", HERE)).port
            assert b.unfinished() == ()


WORDS = ("call", "draining")


def said_to(raw: RawPeer, *words: str) -> list[str]:
    return [message[1] for message in raw.received if message[0] == "" and message[1] in words]


class TestAMember:
    """Peers that do what no node does."""

    async def test_a_peer_is_told_and_what_it_sends_before_its_answer_is_handled(self) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "n") as node, a_member(network, node, words=WORDS) as raw:
            got: list[str] = []
            port = node.port(got.append)
            async with drain_of(node) as drain:
                while not said_to(raw, "draining"):
                    await raw.step()
                await wait_all_tasks_blocked()
                assert not drain.is_over
                await raw.send((port.name, "before"), ("", "heard"), ("", "heard"))
                await until(lambda: drain.is_over)
                assert drain.result == Drained(())
                assert got == ["before"]

    async def test_a_node_answers_behind_all_that_it_has_queued(self, autojump_clock: object) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "n") as node, a_member(network, node, words=WORDS) as raw:
            for number in range(3):
                node.send(f"0#{NO_PORT}", number)
            await raw.send(("", "draining"), ("", "draining"))
            while len(said_to(raw, "heard")) < 2:
                await raw.step()
            kinds = [message[1] for message in raw.received if message[0] or message[1] == "heard"]
            assert kinds == [0, 1, 2, "heard", "heard"]
            assert peer_of(node, "0").drains

    async def test_idle_is_answered_by_busy_while_a_node_drains_and_by_bye_before(self) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "n") as node:
            async with a_member(network, node, "0", words=WORDS) as raw:
                await raw.send(("", "idle"))
                while not said_to(raw, "bye", "busy"):
                    await raw.step()
                assert said_to(raw, "bye", "busy") == ["bye"]
            async with a_member(network, node, "1", words=WORDS) as raw:
                await raw.send(("", "heard"))
                async with drain_of(node):
                    while not said_to(raw, "draining"):
                        await raw.step()
                    await raw.send(("", "heard"), ("", "idle"))
                    while not said_to(raw, "bye", "busy"):
                        await raw.step()
                    assert said_to(raw, "bye", "busy") == ["busy"]

    async def test_a_peer_that_does_not_know_the_word_is_not_told_and_named(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "n") as node, a_member(network, node, words=("call",)) as raw:
            result = await node.drain()
            text = "that node does not know the word `draining`, and has given no fence"
            assert result.unfinished == (Unfinished("0", text),)
            node.send(f"0#{NO_PORT}", "end")
            while not any(message[0] for message in raw.received):
                await raw.step()
            assert said_to(raw, "draining") == []
        assert "0 does not know the word `draining`: what it sends is not waited for" in warnings_in(caplog)

    async def test_a_peer_that_is_lost_before_its_fence_is_named_and_told_again_when_it_comes_back(
        self, autojump_clock: object
    ) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "n") as node:
            port = node.port()

            @port.on()
            async def work() -> None:
                await trio.sleep(30)

            node.send(port)
            drain = Draining()
            lost = "the connection was lost before its fence: what it had sent may not have arrived"
            async with trio.open_nursery() as nursery:
                async with a_member(network, node, words=WORDS) as raw:
                    nursery.start_soon(drain.run, node)
                    while not said_to(raw, "draining"):
                        await raw.step()
                await until(lambda: about(node, "0") == [lost])
                async with a_member(network, node, words=WORDS) as again:
                    while not said_to(again, "draining"):
                        await again.step()
                    assert "that node has not said that it has heard" in about(node, "0")
                    await again.send(("", "heard"))
                    await until(lambda: drain.is_over)
            assert drain.result == Drained((Unfinished("0", lost),))

    async def test_a_connection_that_parts_as_the_drain_begins_has_lost_nothing(self) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "n") as node, a_member(network, node, words=WORDS) as raw:
            await raw.send(("", "idle"))
            await until(lambda: peer_of(node, "0").has_parted)
            assert await node.drain() == Drained(())
            assert said_to(raw, "draining") == []

    async def test_a_connection_that_parts_behind_the_word_has_lost_nothing(self, autojump_clock: object) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "n") as node, a_member(network, node, words=WORDS) as raw:
            # Its last word. The next one waits for the answer.
            assert peer_of(node, "0").ask_to_part()
            async with drain_of(node) as drain:
                await trio.sleep(0.1)
                assert not drain.is_over
                await raw.send(("", "bye"))
                await until(lambda: drain.is_over)
                assert drain.result == Drained(())
                assert said_to(raw, "draining") == []

    async def test_an_older_node_may_say_the_words_at_any_time(self) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "n") as node, a_member(network, node) as raw:
            await raw.send(("", "heard"), ("", "draining", 1), ("", "ping"))
            while not said_to(raw, "pong"):
                await raw.step()
            assert said_to(raw, "heard") == []
            assert not peer_of(node, "0").drains
