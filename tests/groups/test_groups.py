"""`node.open_group`: members join, are called and leave."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Inbox, open_test_node, until, warnings_in
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_mp import CallError, Group, Joined, Left, Node, Port, PortDied, current_node, open_node


def doubler(node: Node, name: object = None, *, family: str = "doublers", key: str | None = None) -> Port:
    """A member that doubles, says its name, and dies when it is told to."""
    port = node.port()
    port.on("double")(lambda number, reply: current_node().send(reply, 2 * number))
    port.on("name")(lambda reply: current_node().send(reply, name))
    port.on("die")(lambda _reply: port.kill("asked", "to"))
    port.on("hang")(lambda _reply: None)
    node.database.register(family, port, name, key=key)
    return port


async def events_of(group: Group, count: int) -> list[Joined | Left]:
    with trio.fail_after(10):
        return [await anext(group) for _ in range(count)]


def monitors_of(node: Node) -> int:
    """How many ports of other nodes a node monitors."""
    network = node._runtime.network
    assert network is not None
    return sum(1 for peer in network.peers.values() for name in peer.association.outbox.monitors if name)


@asynccontextmanager
async def open_star(*names: str, **settings: Any) -> AsyncGenerator[list[Node], None]:
    """A seed and nodes that are attached to it."""
    network = FakeNetwork()
    async with open_test_node(network, "s", **settings) as seed, trio.open_nursery() as nursery:
        nodes: dict[str, Node] = {}
        leave = trio.Event()

        async def run(name: str) -> None:
            async with open_test_node(network, name, seeds=["s"], **settings) as node:
                nodes[name] = node
                await leave.wait()

        for name in names:
            nursery.start_soon(run, name)
        await until(lambda: len(seed.peers) == len(nodes) == len(names))
        yield [seed, *(nodes[name] for name in names)]
        leave.set()


class TestOnOneNode:
    async def test_a_member_joins_is_called_and_leaves(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            assert group.members == {}
            port = doubler(node, {"speed": ["fair"]})
            with assert_checkpoints():
                await group.wait()
            assert repr(group) == "<Group doublers: 1 members>"
            assert group.pick() == port
            assert await group.call("double", 21) == (42,)
            node.kill(port, "tired", "of it")
            joined, left = await events_of(group, 2)
            assert joined == Joined(port, {"speed": ["fair"]}, port)
            assert left == Left(port, ("tired", "of it"), port)
            assert group.members == {}

    async def test_members_of_before_join_too(self) -> None:
        async with open_node("a") as node:
            ports = {doubler(node, number, key=f"key {number}"): number for number in range(3)}
            async with node.open_group("doublers") as group:
                await group.wait(3)
                assert group.members == ports
                assert {(event.port, event.key) for event in await events_of(group, 3)} == {
                    (port, f"key {number}") for port, number in ports.items()
                }

    async def test_the_value_is_the_readers_own_and_follows_the_entry(self) -> None:
        async with open_node("a") as node:
            port = doubler(node, [1])
            async with node.open_group("doublers") as group:
                (joined,) = await events_of(group, 1)
                assert isinstance(joined, Joined)
                joined.value.append(2)
                group.members[port].append(3)
                assert group.members == {port: [1]}
                node.database.register("doublers", port, [4])
                await wait_all_tasks_blocked()
                assert group.members == {port: [4]}
                with trio.move_on_after(0):
                    pytest.fail(f"nobody has joined or left: {await anext(group)}")

    async def test_an_entry_that_goes_without_its_port(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            port = doubler(node)
            await group.wait()
            node.database.delete("doublers", port)
            _, left = await events_of(group, 2)
            assert isinstance(left, Left)
            assert (left.port, left.reason[0]) == (port, "unregistered")
            # It is not monitored any more, and may join again.
            assert not node._runtime.lifecycle.ports[port.name]._state.monitors  # type: ignore[union-attr]
            node.database.register("doublers", port)
            assert await events_of(group, 1) == [Joined(port, None, port)]

    async def test_a_key_that_gets_another_port(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            first = doubler(node, key="k")
            await group.wait()
            second = doubler(node, key="k")
            one, two, three = await events_of(group, 3)
            assert (one, three) == (Joined(first, None, "k"), Joined(second, None, "k"))
            assert isinstance(two, Left)
            assert (two.port, two.reason[0]) == (first, "unregistered")

    async def test_an_entry_that_names_no_port_is_no_member(self, caplog: pytest.LogCaptureFixture) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            node.database.set("doublers", "x", "y")
            node.database.set("doublers", "z")
            # Of a node that this one cannot reach without a network, and of a port that there is not.
            node.database.set("doublers", "b#" + "x" * 20)
            node.database.set("doublers", "a#" + "x" * 20)
            port = doubler(node)
            await group.wait()
            await wait_all_tasks_blocked()
            assert group.members == {port: None}
            assert await events_of(group, 1) == [Joined(port, None, port)]
            assert warnings_in(caplog) == ["the key 'x' of the family doublers names no port, and is no member"]
            node.database.set("doublers", port, "z")
            node.database.register("doublers", port, key="w")
            await group.wait(2)
            node.database.set("doublers", "w", "no port now")
            assert [type(event) for event in await events_of(group, 2)] == [Joined, Left]

    async def test_round_robin_is_fair(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            for name in "abc":
                doubler(node, name)
            await group.wait(3)
            names = [(await group.call("name"))[0] for _ in range(9)]
            assert sorted(names[:3]) == ["a", "b", "c"]
            assert names[:3] == names[3:6] == names[6:]
            assert len({group.pick() for _ in range(3)}) == 3

    async def test_the_least_busy_member_is_called(self, nursery: trio.Nursery) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            for name in "abc":
                doubler(node, name)
            await group.wait(3)

            async def hang() -> None:
                with pytest.raises(PortDied):
                    await group.call("hang", by="least_busy")

            for _ in range(5):
                nursery.start_soon(hang)
                await wait_all_tasks_blocked()
            assert sorted(place.busy for place in group._roster.joined) == [1, 2, 2]
            idle = min(group._roster.joined, key=lambda place: place.busy)
            assert await group.call("name", by="least_busy") == (idle.value,)
            assert group.pick(by="least_busy") == idle.port

    async def test_a_key_stays_with_its_member(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            ports = {name: doubler(node, name, key=name) for name in "abcde"}
            await group.wait(5)
            keys = [f"user-{number}" for number in range(50)]
            before = {key: (await group.call("name", key=key))[0] for key in keys}
            assert set(before.values()) == set("abcde")
            node.kill(ports["c"])
            await until_gone(group, ports["c"])
            after = {key: (await group.call("name", key=key))[0] for key in keys}
            assert {key for key in keys if before[key] != after[key]} == {key for key in keys if before[key] == "c"}

    async def test_a_call_waits_for_the_first_member(self, nursery: trio.Nursery) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            answers: list[object] = []

            async def ask(**how: Any) -> None:
                answers.append(await group.call("double", 4, **how))

            nursery.start_soon(ask)
            nursery.start_soon(lambda: ask(key="k"))
            await wait_all_tasks_blocked()
            doubler(node)
            await wait_all_tasks_blocked()
            assert answers == [(8,), (8,)]

    async def test_a_member_that_dies_fails_the_call_or_another_one_is_called(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            killed: list[str] = []

            def fragile(name: str) -> Port:
                port = node.port()

                @port.on("work")
                def work(reply: str) -> None:
                    if len(killed) < 2:
                        killed.append(name)
                        port.kill("broken")
                    else:
                        current_node().send(reply, name)

                node.database.register("doublers", port, name)
                return port

            for name in "abc":
                fragile(name)
            await group.wait(3)
            with pytest.raises(PortDied) as caught:
                await group.call("work")
            assert caught.value.reason == ("broken",)
            (last,) = await group.call("work", again=True)
            assert sorted([*killed, last]) == ["a", "b", "c"]

    async def test_a_call_that_nobody_has_got_goes_to_another_member(self, nursery: trio.Nursery) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            handled: list[int] = []
            outcomes: dict[int, object] = {}

            def member() -> Port:
                port = node.port()

                @port.on("work", reply=True)
                async def work(number: int) -> int:
                    handled.append(number)
                    if port is first:
                        await trio.sleep_forever()
                    return number

                node.database.register("doublers", port)
                return port

            async def ask(number: int) -> None:
                try:
                    outcomes[number] = await group.call("work", number, reply=int)
                except PortDied as error:
                    outcomes[number] = error.reason

            first = member()
            await group.wait()
            for number in range(3):
                nursery.start_soon(ask, number)
                await wait_all_tasks_blocked()
            assert handled == [0]
            node.kill(first, "broken")
            await wait_all_tasks_blocked()
            # The first one had begun. The others waited for their turn, so nobody had got them.
            assert outcomes == {0: ("broken",)}
            member()
            await wait_all_tasks_blocked()
            assert outcomes == {0: ("broken",), 1: 1, 2: 2}
            assert sorted(handled) == [0, 1, 2]

    async def test_a_reply_has_the_type_that_was_asked_for(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            doubler(node)
            assert await group.call("double", 2, reply=int) == 4
            assert await group.call("double", 2, reply=float, key="k") == 4.0
            with pytest.raises(CallError, match="bad_reply"):
                await group.call("double", 2, reply=str)

    async def test_an_error_for_the_caller_is_an_answer(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            asked: list[str] = []

            def refuser(name: str) -> None:
                port = node.port()

                @port.on("work", reply=True, errors=(LookupError,))
                def work() -> None:
                    asked.append(name)
                    raise LookupError("no such thing")

                node.database.register("doublers", port)

            refuser("a")
            refuser("b")
            await group.wait(2)
            with pytest.raises(CallError, match="no such thing"):
                await group.call("work", again=True)
            assert len(asked) == 1
            assert len(group) == 2

    async def test_so_many_calls_at_once_and_the_rest_waits_for_room(self, nursery: trio.Nursery) -> None:
        async with open_node("a") as node, node.open_group("doublers", at_once=2) as group:
            held: list[tuple[str, int, str]] = []
            answered: list[int] = []
            scopes = [trio.CancelScope() for _ in range(9)]

            def holder(name: str) -> Port:
                port = node.port(lambda number, reply: held.append((name, number, reply)))
                node.database.register("doublers", port, key=name)
                return port

            async def ask(number: int) -> None:
                with scopes[number]:
                    answered.append(await group.call(number, reply=int, again=True))

            first = holder("first")
            await group.wait()
            for number in range(9):
                nursery.start_soon(ask, number)
                await wait_all_tasks_blocked()
            assert [each[:2] for each in held] == [("first", 0), ("first", 1)]
            # One that comes later gets what has waited the longest.
            holder("second")
            await wait_all_tasks_blocked()
            assert sorted(each[:2] for each in held[2:]) == [("second", 2), ("second", 3)]
            # There is room again after an answer, after a cancellation, and after a death.
            (_, number, reply) = held[2]
            node.send(reply, number)
            await wait_all_tasks_blocked()
            assert answered == [number]
            assert [each[:2] for each in held[4:]] == [("second", 4)]
            scopes[0].cancel()
            await wait_all_tasks_blocked()
            assert [each[:2] for each in held[5:]] == [("first", 5)]
            # `pick` is no call.
            assert {group.pick() for _ in range(4)} == set(group.members)
            node.kill(first)
            await wait_all_tasks_blocked()
            assert len(held) == 6
            holder("third")
            await wait_all_tasks_blocked()
            # Two calls of the first one are made again, behind those that have waited all the time.
            assert sorted(each[:2] for each in held[6:]) == [("third", 6), ("third", 7)]
            for scope in scopes:
                scope.cancel()

    async def test_a_call_of_a_key_waits_for_room_at_its_member(self, nursery: trio.Nursery) -> None:
        async with open_node("a") as node, node.open_group("doublers", at_once=1) as group:
            held: list[tuple[str, str]] = []
            for name in "ab":
                port = node.port(lambda reply, name=name: held.append((name, reply)))
                node.database.register("doublers", port, key=name)
            await group.wait(2)

            async def ask() -> None:
                await group.call(key="k")

            for _ in range(3):
                nursery.start_soon(ask)
            for count in range(1, 4):
                await wait_all_tasks_blocked()
                assert len(held) == count
                node.send(held[-1][1])
            assert len({name for name, _ in held}) == 1

    async def test_a_group_of_one_key_follows_the_port_that_has_it(self) -> None:
        async with open_node("a") as node, node.open_group("rooms", key="lobby") as group:
            doubler(node, "bar", family="rooms", key="bar")
            node.database.set("rooms", "not a room", "nor a port")
            await wait_all_tasks_blocked()
            assert group.members == {}
            assert group.send("reload") == 0
            first = doubler(node, "lobby", family="rooms", key="lobby")
            assert await group.call("name", reply=str) == "lobby"
            assert await group.call("name", reply=str, key="any") == "lobby"
            node.kill(first, "tired")
            second = doubler(node, "lobby again", family="rooms", key="lobby")
            await wait_all_tasks_blocked()
            node.database.delete("rooms", "bar")
            assert await events_of(group, 3) == [
                Joined(first, "lobby", "lobby"),
                Left(first, ("tired",), "lobby"),
                Joined(second, "lobby again", "lobby"),
            ]
            assert group.members == {second: "lobby again"}

    async def test_a_call_whose_reply_port_is_killed_is_not_made_again(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            port = node.port(lambda reply: node.kill(reply, "refused"))
            node.database.register("doublers", port)
            with trio.fail_after(5), pytest.raises(PortDied) as caught:
                await group.call(again=True)
            assert caught.value.reason == ("refused",)
            assert port.alive

    async def test_a_cancelled_call_leaves_nothing(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            with trio.move_on_after(0) as scope:
                await group.call("double", 1, again=True)
            assert scope.cancelled_caught
            port = doubler(node)
            await group.wait()
            with trio.CancelScope() as scope, trio.testing.assert_checkpoints():
                scope.cancel()
                await group.call("hang", key="k")
            assert scope.cancelled_caught
            (place,) = group._roster.joined
            assert (place.port, place.busy, place.wanted) == (port, 0, 0)

    async def test_who_is_dead_can_call_nobody(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            doubler(node)
            await group.wait()
            errors: list[PortDied] = []

            async def call_while_dead(port: Port) -> None:
                try:
                    await group.call("hang")
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.lowlevel.checkpoint()
                        try:
                            await group.call("double", 1, again=True)
                        except PortDied as error:
                            errors.append(error)

            caller = node.start_port(call_while_dead)
            await wait_all_tasks_blocked()
            node.kill(caller)
            await wait_all_tasks_blocked()
            assert [error.port for error in errors] == [caller]
            assert await group.call("double", 1) == (2,)

    async def test_a_message_goes_to_all(self) -> None:
        async with open_node("a") as node, node.open_group("doublers", watch=1) as group:
            inboxes = [Inbox(node) for _ in range(3)]
            for inbox in inboxes:
                node.database.register("doublers", inbox.port)
            await group.wait()
            assert group.send("reload", {"now": True}) == 3
            for inbox in inboxes:
                assert await inbox.wait(1) == [("reload", {"now": True})]
            with pytest.raises(TypeError):
                group.send("reload", object())
            await wait_all_tasks_blocked()
            assert [len(inbox.messages) for inbox in inboxes] == [1, 1, 1]

    async def test_nobody_has_joined(self) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            with pytest.raises(LookupError, match="await its wait"):
                group.pick()
            assert group.send("reload") == 0

    @pytest.mark.parametrize(
        "how, error",
        [
            ({"by": "chance"}, ValueError),
            ({"key": 1}, TypeError),
            ({"key": "k", "by": "least_busy"}, ValueError),
        ],
        ids=str,
    )
    async def test_what_cannot_be_chosen_by_is_refused(self, how: dict[str, Any], error: type[Exception]) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            with pytest.raises(error, match="expected"):
                await group.call("double", 1, **how)

    @pytest.mark.parametrize("count, error", [(0, ValueError), (17, ValueError), (True, TypeError), ("1", TypeError)])
    async def test_what_cannot_be_waited_for_is_refused(self, count: Any, error: type[Exception]) -> None:
        async with open_node("a") as node, node.open_group("doublers") as group:
            with pytest.raises(error, match="expected"):
                await group.wait(count)

    @pytest.mark.parametrize("watch, error", [(0, ValueError), (True, TypeError), (1.5, TypeError)])
    async def test_what_cannot_be_opened_is_refused(self, watch: Any, error: type[Exception]) -> None:
        async with open_node("a") as node:
            with pytest.raises(error, match="watch: expected"):
                node.open_group("doublers", watch=watch)
            with pytest.raises(TypeError, match="name of a family"):
                node.open_group(1)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="key: expected"):
                node.open_group("doublers", key=1)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="at_once: expected"):
                node.open_group("doublers", at_once=True)
            with pytest.raises(ValueError, match="at_once: expected"):
                node.open_group("doublers", at_once=0)


async def until_gone(group: Group, port: str) -> None:
    async for event in group:
        if isinstance(event, Left) and event.port == port:
            return


class TestTheEnd:
    async def test_leaving_the_block_leaves_nothing_behind(self) -> None:
        async with open_node("a") as node:
            port = doubler(node)
            before = len(node._runtime.lifecycle.ports)
            async with node.open_group("doublers") as group:
                await group.wait()
                assert len(node._runtime.lifecycle.ports) == before
            async with node.open_group("doublers"):
                await trio.lowlevel.checkpoint()
            assert len(node._runtime.lifecycle.ports) == before
            assert not node._runtime.lifecycle.ports[port.name]._state.monitors  # type: ignore[union-attr]
            assert node.database._watches == {}
            assert repr(group) == "<Group doublers: 1 members (closed)>"
            with pytest.raises(trio.ClosedResourceError):
                group.pick()
            with pytest.raises(trio.ClosedResourceError):
                group.send("x")
            for ask in (group.wait, group.__anext__, lambda: group.call("double", 1)):
                with pytest.raises(trio.ClosedResourceError):
                    await ask()

    @pytest.mark.parametrize("node_closes", [False, True])
    async def test_wakes_all_who_wait(self, nursery: trio.Nursery, node_closes: bool) -> None:
        ended: list[str] = []

        async def expect(name: str, ask: Callable[[], Any]) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await ask()
            ended.append(name)

        async with open_node("a") as node:
            block = node.open_group("doublers")
            group = await block.__aenter__()
            asks: dict[str, Callable[[], Any]] = {
                "wait": group.wait,
                "event": group.__anext__,
                "call": lambda: group.call("double", 1),
                "key": lambda: group.call("double", 1, key="k", again=True),
            }
            for name, ask in asks.items():
                nursery.start_soon(expect, name, ask)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await anext(group)
            if not node_closes:
                await block.__aexit__(None, None, None)
        await wait_all_tasks_blocked()
        assert sorted(ended) == ["call", "event", "key", "wait"]
        if node_closes:
            await block.__aexit__(None, None, None)
        with pytest.raises(RuntimeError, match="opened once"):
            await block.__aenter__()

    async def test_an_exception_of_the_body_leaves_as_it_is(self) -> None:
        async with open_node("a") as node:
            with pytest.raises(KeyError):
                async with node.open_group("doublers"):
                    raise KeyError
        with pytest.raises(trio.ClosedResourceError):
            async with node.open_group("doublers"):
                pass

    async def test_a_call_under_way_goes_on(self, nursery: trio.Nursery) -> None:
        async with open_node("a") as node:
            replies: list[str] = []
            port = node.port(replies.append)
            node.database.register("slow", port)
            answers: list[object] = []
            async with node.open_group("slow") as group:

                async def ask() -> None:
                    answers.append(await group.call())

                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
            node.send(replies[0], "late")
            await wait_all_tasks_blocked()
            assert answers == [("late",)]


class TestOnManyNodes:
    async def test_members_of_other_nodes_are_called(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_star("a", "b", "c") as (_, a, b, c), c.open_group("doublers") as group:
            ports = {doubler(a, "a"): "a", doubler(b, "b"): "b"}
            await group.wait(2)
            assert group.members == ports
            assert sorted([(await group.call("name"))[0] for _ in range(4)]) == ["a", "a", "b", "b"]

    async def test_a_port_that_is_missing_never_joins(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_star("a", "b") as (s, a, b), b.open_group("doublers") as group:
            s.database.set("doublers", "a#" + "x" * 20)
            await trio.sleep(60)
            port = doubler(a)
            assert await events_of(group, 1) == [Joined(port, None, port)]

    async def test_the_reason_of_a_death_is_told_and_not_only_that_the_entry_is_gone(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_star("a", "b") as (_, a, b), b.open_group("doublers") as group:
            for _ in range(20):
                port = doubler(a)
                await group.wait()
                a.kill(port, "tired")
                assert await events_of(group, 2) == [Joined(port, None, port), Left(port, ("tired",), port)]

    async def test_no_more_than_so_many_are_monitored(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_star("a", "b", "c") as (_, a, b, c), c.open_group("doublers", watch=3) as group:
            for number in range(20):
                doubler(a if number % 2 else b, number, key=f"m{number}")
            await group.wait(3)
            await trio.sleep(5)
            assert len(group) == monitors_of(c) == 3
            counts: dict[int, int] = {}
            for number in range(60):
                (name,) = await group.call("name", key=f"user {number}")
                counts[name] = counts.get(name, 0) + 1
                assert monitors_of(c) <= 3
            assert len(counts) > 10
            events = await events_of(group, 3)
            while len(group._log):
                events += await events_of(group, 1)
            reasons = {event.reason[0] for event in events if isinstance(event, Left)}
            assert reasons == {"not_watched"}
            assert sum(1 if isinstance(event, Joined) else -1 for event in events) == 3

    async def test_all_groups_choose_the_same_member_for_a_key_whatever_they_monitor(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_star("a", "b", "c") as (_, a, b, c):
            for number in range(10):
                doubler(a, number, key=f"m{number}")
            async with b.open_group("doublers", watch=2) as one, c.open_group("doublers", watch=10) as other:
                await one.wait(2)
                await other.wait(10)
                assert {place.key for place in one._roster.joined} < {place.key for place in other._roster.joined}
                for number in range(20):
                    key = f"user {number}"
                    assert await one.call("name", key=key) == await other.call("name", key=key)

    async def test_a_call_that_wants_a_member_that_is_not_monitored_waits_for_room(
        self, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
    ) -> None:
        async with open_star("a", "b") as (_, a, b), b.open_group("doublers", watch=1) as group:
            for number in range(2):
                doubler(a, number, key=f"m{number}")
            await group.wait()
            keys: dict[object, str] = {}
            for number in range(20):
                place = group._roster.choose_by_key(f"user {number}")
                assert place is not None
                keys.setdefault(place.value, f"user {number}")
            scope = trio.CancelScope()

            async def hang() -> None:
                with scope:
                    await group.call("hang", key=keys[0])

            nursery.start_soon(hang)
            await trio.sleep(1)
            with trio.move_on_after(5) as waiting:
                await group.call("name", key=keys[1])
            assert waiting.cancelled_caught
            answers: list[object] = []

            async def ask() -> None:
                answers.append(await group.call("name", key=keys[1]))

            nursery.start_soon(ask)
            await trio.sleep(1)
            assert answers == []
            scope.cancel()
            await trio.sleep(1)
            assert answers == [(1,)]


class TestMembersOfFullNodes:
    """A node that has as many calls of one other node in flight as may be answers `busy`: nobody has got the call."""

    @staticmethod
    def workers(nodes: list[Node], handled: list[str]) -> dict[str, str]:
        """Two members on each node, which say where they work; returns a port on each node that only waits."""
        waiting: dict[str, str] = {}
        for node in nodes:
            for _ in range(2):
                port = node.port()

                @port.on("work", reply=True)
                def work(node: Node = node) -> str:
                    handled.append(node.id)
                    return node.id

                node.database.register("workers", port)
            waits = node.port()
            waits.on("wait", reply=True)(trio.sleep)
            waiting[node.id] = str(waits)
        return waiting

    @staticmethod
    @asynccontextmanager
    async def calls_to(node: Node, *calls: tuple[str, int]) -> AsyncGenerator[trio.Nursery, None]:
        """Calls of these ports are in flight, each for so many seconds."""
        async with trio.open_nursery() as nursery:
            for port, seconds in calls:
                nursery.start_soon(node.call, port, "wait", seconds)
            await trio.sleep(0.1)
            yield nursery
            nursery.cancel_scope.cancel()

    @pytest.mark.parametrize("by", ["round_robin", "least_busy"])
    async def test_the_call_goes_to_a_member_of_another_node(
        self, by: Any, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_star("a", "b", "c", call_limit=2) as (_, a, b, c), c.open_group("workers") as group:
            handled: list[str] = []
            waiting = self.workers([a, b], handled)
            await group.wait(4)
            async with self.calls_to(c, *[(waiting["a"], 1000)] * 2):
                for _ in range(12):
                    before = trio.current_time()
                    assert await group.call("work", by=by, reply=str) == "b"
                    assert trio.current_time() - before < 0.005, "at once, and not past the other member of that node"
            assert handled == ["b"] * 12, "each once"

    async def test_while_all_nodes_are_full_the_call_waits(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_star("a", "b", "c", call_limit=2) as (_, a, b, c), c.open_group("workers") as group:
            handled: list[str] = []
            waiting = self.workers([a, b], handled)
            await group.wait(4)
            calls = [(waiting[node_id], seconds) for node_id, seconds in (("a", 99), ("a", 99), ("b", 20), ("b", 20))]
            answers: list[str] = []

            async def ask() -> None:
                answers.append(await group.call("work", by="least_busy", reply=str))

            async with self.calls_to(c, *calls) as nursery:
                nursery.start_soon(ask)
                await trio.sleep(18)
                assert not handled
                await trio.sleep(5)
                assert answers == handled == ["b"]

    async def test_a_call_of_a_key_waits_for_its_member(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_star("a", "b", "c", call_limit=2) as (_, a, b, c), c.open_group("workers") as group:
            waiting = self.workers([a, b], [])
            await group.wait(4)
            place = group._roster.choose_by_key("k")
            assert place is not None
            async with self.calls_to(c, *[(waiting[place.node_id], 10)] * 2):
                before = trio.current_time()
                assert await group.call("work", key="k", reply=str) == place.node_id
                assert 9 < trio.current_time() - before < 12

    async def test_an_error_of_a_handler_that_looks_like_it_is_an_answer(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_star("a", "b") as (_, a, b), b.open_group("workers") as group:
            kind = type("busy", (Exception,), {"__module__": "builtins"})
            asked: list[None] = []

            def refuse() -> None:
                asked.append(None)
                raise kind("I have no time")

            for _ in range(2):
                port = a.port()
                port.on("work", reply=True, errors=(kind,))(refuse)
                a.database.register("workers", port)
            await group.wait(2)
            with pytest.raises(CallError, match="I have no time") as caught:
                await group.call("work", again=True)
            assert caught.value.type_name == "busy"
            assert len(asked) == 1


@pytest.mark.timeout(30)
async def test_calls_that_kill_one_new_member_after_the_other_leave_time_to_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Without a pause they would call again before any time has passed, for ever."""
    begun: list[Port] = []

    async def is_busy(*_: object) -> None:
        await trio.sleep_forever()

    async with open_node("a", mailbox_limit=1) as node, node.open_group("busy") as group:

        def begin(*_: object) -> None:
            port = node.port()
            port.on("x")(is_busy)
            begun.append(port)
            node.database.register("busy", port)
            node.monitor(port, begin)

        async def call() -> None:
            await group.call("x", again=True)

        begin()
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(call)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    assert 2 < len(begun) < 1000
