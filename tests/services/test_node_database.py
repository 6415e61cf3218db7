"""`node.database` on one node: what may be set, what is registered with a port, and what its readers get."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
import sys
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, open_test_node, until
from trio.testing import wait_all_tasks_blocked

from trio_mp import Change, Node, Port, PortDied, open_node
from trio_mp._ports.port import state_of
from trio_mp._services.changes import WATCH_LIMIT


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with open_node("a") as node:
        yield node


class TestWhatIsSet:
    async def test_is_read(self, node: Node) -> None:
        node.database.set("red", "k", {"list": [1, 2]})
        node.database.set("red", "l")
        assert await node.database.family("red") == {"k": {"list": [1, 2]}, "l": None}
        assert await node.database.keys("red") == ["k", "l"]
        assert await node.database.values("red") == [{"list": [1, 2]}, None]
        node.database.delete("red", "k", "never was")
        assert await node.database.keys("red") == ["l"]
        assert await node.database.family("green") == {}

    async def test_is_a_snapshot_in_and_out(self, node: Node) -> None:
        value = {"list": [1]}
        node.database.set("red", "k", value)
        value["list"].append(2)
        (await node.database.family("red"))["k"]["list"].append(3)
        async with node.database.watch("red") as changes:
            (await anext(changes)).table["k"]["list"].append(4)
            node.database.set("red", "l", 0)
            assert (await anext(changes)).table == {"k": {"list": [1]}, "l": 0}
        assert await node.database.family("red") == {"k": {"list": [1]}, "l": 0}

    @pytest.mark.parametrize(
        "family, key, value, error, text",
        [
            (1, "k", 1, TypeError, "family: expected a str, got a int"),
            ("red", None, 1, TypeError, "key: expected a str, got a NoneType"),
            ("red", "k", {"when": object()}, TypeError, r'value\["when"\]: expected .* of type object'),
            ("red", "k", "x" * 40_000, ValueError, "value: expected an entry of at most 32768 bytes, got 40"),
            ("trio_mp.nodes", "k", 1, ValueError, "as those of the package do"),
        ],
        ids=["family", "key", "value", "size", "reserved"],
    )
    async def test_what_cannot_be_set_is_refused(
        self, node: Node, family: str, key: str, value: object, error: type[Exception], text: str
    ) -> None:
        with pytest.raises(error, match=text):
            node.database.set(family, key, value)
        assert await node.database.family("red") == {}

    async def test_what_cannot_be_deleted_is_refused_and_nothing_is_deleted(self, node: Node) -> None:
        node.database.set("red", "k", 1)
        with pytest.raises(TypeError, match=r"keys\[1\]: expected a str, got a int"):
            node.database.delete("red", "k", 1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="as those of the package do"):
            node.database.delete("trio_mp.nodes", "a")
        assert await node.database.family("red") == {"k": 1}

    @pytest.mark.parametrize("name, error", [(1, TypeError), ("\ud800", ValueError), ("x" * 40_000, ValueError)])
    async def test_what_is_no_family_cannot_be_read(self, node: Node, name: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            await node.database.family(name)
        with pytest.raises(error):
            async with node.database.watch(name):
                pass

    async def test_the_packages_own_families_can_be_read(self, node: Node) -> None:
        assert await node.database.family("trio_mp.nodes") == {node.id: [node._runtime.incarnation]}

    async def test_it_belongs_to_the_thread_of_the_node(self, node: Node) -> None:
        with pytest.raises(RuntimeError, match="expected a call from the thread"):
            await trio.to_thread.run_sync(node.database.set, "red", "k")


class TestARegistration:
    async def test_goes_with_its_port(self, node: Node) -> None:
        port, other = node.port(), node.port()
        node.database.register("red", port, {"load": 1})
        node.database.register("red", str(other))
        assert await node.database.family("red") == {port: {"load": 1}, other: None}
        async with node.database.watch("red") as changes:
            await anext(changes)
            node.kill(port)
            assert (await anext(changes)).deleted == (port,)
        assert await node.database.keys("red") == [other]

    async def test_goes_at_once_though_its_tasks_are_unwinding(self, node: Node) -> None:
        unwinding, go_on = trio.Event(), trio.Event()

        async def slow(port: Port) -> None:
            try:
                await trio.sleep_forever()
            finally:
                unwinding.set()
                with trio.CancelScope(shield=True):
                    await go_on.wait()

        port = node.start_port(slow)
        node.database.register("red", port)
        await wait_all_tasks_blocked()
        node.kill(port)
        await unwinding.wait()
        assert await node.database.family("red") == {}
        go_on.set()

    async def test_is_in_as_many_families_as_wanted(self, node: Node) -> None:
        port = node.port()
        for family in ("red", "green"):
            node.database.register(family, port)
        node.database.delete("green", port)
        assert await node.database.family("green") == {}
        node.kill(port)
        await wait_all_tasks_blocked()
        assert await node.database.family("red") == {}

    async def test_made_again_is_one(self, node: Node) -> None:
        port = node.port()
        node.database.register("red", port, 1)
        node.database.register("red", port, 2)
        assert await node.database.family("red") == {port: 2}
        assert len(state_of(port).owned) == 1
        node.kill(port)
        await wait_all_tasks_blocked()
        assert await node.database.family("red") == {}

    async def test_that_is_set_over_stays(self, node: Node) -> None:
        port = node.port()
        node.database.register("red", port)
        node.database.set("red", port, "to stay")
        node.kill(port)
        await wait_all_tasks_blocked()
        assert await node.database.family("red") == {port: "to stay"}

    async def test_does_not_hide_the_death_of_its_port(self, node: Node, caplog: pytest.LogCaptureFixture) -> None:
        port = node.port(lambda: 1 / 0)
        node.database.register("red", port)
        node.send(port)
        await wait_all_tasks_blocked()
        assert "ZeroDivisionError" in caplog.text

    @pytest.mark.parametrize("port", ["a", "a#"])
    async def test_is_for_no_node_port(self, node: Node, port: str) -> None:
        # What it says to write instead works.
        said = r"expected a port, got the node port a#?; .* database\.set\('red', 'a'\)$"
        with pytest.raises(ValueError, match=said):
            node.database.register("red", port)
        node.database.set("red", "a")
        assert await node.database.family("red") == {"a": None}

    @pytest.mark.parametrize("port", ["b#" + "x" * 16 + ".1", "b"])
    async def test_without_a_network_is_for_ports_of_this_node(self, node: Node, port: str) -> None:
        with pytest.raises(RuntimeError, match="expected a port of the node 'a', which has no network"):
            node.database.register("red", port)

    async def test_is_for_ports(self, node: Node) -> None:
        with pytest.raises(ValueError, match="expected a port ID"):
            node.database.register("red", "no port")
        with pytest.raises(ValueError, match="as those of the package do"):
            node.database.register("trio_mp.x", node.port())
        with pytest.raises(TypeError, match="value: expected"):
            node.database.register("red", node.port(), object())
        assert await node.database.family("red") == {}

    async def test_of_a_dead_port_is_refused(self, node: Node) -> None:
        port = node.port()
        node.kill(port, "tired", "of it")
        await wait_all_tasks_blocked()
        with pytest.raises(PortDied, match="tired: of it"):
            node.database.register("red", port)
        with pytest.raises(PortDied, match="there is no port"):
            node.database.register("red", str(port))


class TestAWatch:
    async def test_gives_the_table_then_each_change_once(self, node: Node) -> None:
        node.database.set("red", "k", 1)
        async with node.database.watch("red") as changes:
            assert await anext(changes) == Change({"k": 1}, ("k",), (), ())
            node.database.set("red", "k", 2)
            node.database.set("red", "l", 3)
            node.database.set("red", "l", 3)
            node.database.set("green", "k", 1)
            node.database.delete("red", "k", "m")
            assert await anext(changes) == Change({"k": 2}, (), ("k",), ())
            assert await anext(changes) == Change({"k": 2, "l": 3}, ("l",), (), ())
            assert await anext(changes) == Change({"l": 3}, (), (), ("k",))
            with trio.move_on_after(0):
                pytest.fail(f"one too many: {await anext(changes)}")

    async def test_of_nothing_gives_an_empty_table(self, node: Node) -> None:
        async with node.database.watch("red") as changes:
            assert await anext(changes) == Change({}, (), (), ())

    async def test_begins_with_the_table_as_it_is_when_it_is_read(self, node: Node) -> None:
        async with node.database.watch("red") as changes:
            node.database.set("red", "k", 1)
            assert await anext(changes) == Change({"k": 1}, ("k",), (), ())
            node.database.set("red", "l", 1)
            assert (await anext(changes)).added == ("l",)

    async def test_is_one_of_many(self, node: Node) -> None:
        async with node.database.watch("red") as one, node.database.watch("red") as other:
            for changes in (one, other):
                await anext(changes)
            node.database.set("red", "k", 1)
            for changes in (one, other):
                assert (await anext(changes)).added == ("k",)
            async with node.database.watch("red") as third:
                assert await anext(third) == Change({"k": 1}, ("k",), (), ())
            node.database.set("red", "k", 2)
            assert (await anext(one)).changed == ("k",)
        assert node.database._watches == {}

    async def test_wakes_a_reader_that_waits(self, node: Node, nursery: trio.Nursery) -> None:
        async with node.database.watch("red") as changes:
            await anext(changes)
            send, receive = trio.open_memory_channel[Change](1)

            async def read() -> None:
                await send.send(await anext(changes))

            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await anext(changes)
            node.database.set("red", "k", 1)
            assert (await receive.receive()).added == ("k",)

    async def test_that_is_cancelled_loses_nothing(self, node: Node) -> None:
        async with node.database.watch("red") as changes:
            await anext(changes)
            node.database.set("red", "k", 1)
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(changes)
            assert scope.cancelled_caught
            assert (await anext(changes)).added == ("k",)

    async def test_tells_a_slow_reader_once_what_it_has_missed(self, node: Node) -> None:
        async with node.database.watch("red") as changes:
            node.database.set("red", "stays", 1)
            node.database.set("red", "goes", 1)
            await anext(changes)
            node.database.delete("red", "goes")
            for number in range(WATCH_LIMIT):
                node.database.set("red", "k", number)
            change = await anext(changes)
            assert change == Change({"stays": 1, "k": WATCH_LIMIT - 1}, ("k",), (), ("goes",), resynchronised=True)
            node.database.set("red", "k", 0)
            assert await anext(changes) == Change({"stays": 1, "k": 0}, (), ("k",), ())

    async def test_tells_a_slow_reader_even_if_all_is_as_it_was(self, node: Node) -> None:
        async with node.database.watch("red") as changes:
            await anext(changes)
            for number in range(WATCH_LIMIT + 1):
                node.database.set("red", "k", number)
            node.database.delete("red", "k")
            assert await anext(changes) == Change({}, (), (), (), resynchronised=True)

    async def test_keeps_what_may_wait(self, node: Node) -> None:
        async with node.database.watch("red") as changes:
            await anext(changes)
            for number in range(WATCH_LIMIT):
                node.database.set("red", "k", number)
            for number in range(WATCH_LIMIT):
                assert (await anext(changes)).table == {"k": number}
            # There is room again.
            for number in range(WATCH_LIMIT):
                node.database.set("red", "l", number)
            assert not (await anext(changes)).resynchronised

    async def test_may_get_any_change_that_is_one(self, node: Node) -> None:
        keys = [str(number) for number in range(2 * WATCH_LIMIT)]
        for key in keys:
            node.database.set("red", key)
        async with node.database.watch("red") as changes:
            await anext(changes)
            node.database.delete("red", *keys)
            change = await anext(changes)
            assert (change.deleted, change.resynchronised) == (tuple(keys), False)

    @pytest.mark.parametrize("size", [0, 5, 100])
    async def test_gives_each_change_the_table_of_its_time_however_late_it_is_looked_at(
        self, node: Node, size: int
    ) -> None:
        database, numbers = node.database, random.Random(size)
        for number in range(size):
            database.set("red", str(number), [number])
        given: list[Change] = []
        tables: list[dict[str, object]] = []
        async with database.watch("red") as changes:
            await anext(changes)
            for number in range(500):
                key = str(numbers.randrange(size + 3))
                if numbers.random() < 0.3:
                    database.delete("red", key, str(numbers.randrange(size + 3)))
                else:
                    database.set("red", key, [number])
                table = await database.family("red")
                if tables and table == tables[-1]:
                    continue
                tables.append(table)
                given.append(await anext(changes))
        numbers.shuffle(order := list(range(len(given))))
        for index in order:
            assert given[index].table == tables[index]
            # It is the reader's own, and stays the one that it is.
            assert given[index].table is given[index].table
            for value in given[index].table.values():
                value.append("of the reader")

    async def test_costs_what_a_change_touches(self, node: Node) -> None:
        calls: list[int] = []
        for size in (10, 1000):
            for number in range(size):
                node.database.set(f"of {size}", str(number), [number])
            async with node.database.watch(f"of {size}") as changes:
                await anext(changes)
                calls.append(0)

                def count(_frame: object, event: str, _argument: object) -> None:
                    calls[-1] += event == "call"

                for number in range(10):
                    node.database.set(f"of {size}", str(number), [-1])
                    sys.setprofile(count)
                    try:
                        change = await anext(changes)
                    finally:
                        sys.setprofile(None)
                    assert change.changed == (str(number),)
        assert calls[0] == calls[1]

    async def test_keeps_no_more_of_the_past_than_the_table_is_large(self, node: Node) -> None:
        async with node.database.watch("red") as changes:
            first = await anext(changes)
            for number in range(2000):
                node.database.set("red", "k", number)
                last = await anext(changes)
            for change in (first, last):
                assert len(change._moment.history._changes) < 50
            assert (first.table, last.table) == ({}, {"k": 1999})

    async def test_gives_what_is_a_frozen_value_like_any_other(self, node: Node) -> None:
        async with node.database.watch("red") as changes:
            node.database.set("red", "k", 1)
            change = await anext(changes)
        assert copy.copy(change) == pickle.loads(pickle.dumps(change)) == Change({"k": 1}, ("k",), (), ())
        assert repr(change) == "Change(table={'k': 1}, added=('k',), changed=(), deleted=(), resynchronised=False)"
        with pytest.raises(dataclasses.FrozenInstanceError):
            change.table = {}  # type: ignore[misc]
        with pytest.raises(AttributeError, match="'Change' object has no attribute 'tables'"):
            _ = change.tables  # type: ignore[attr-defined]

    async def test_ends_with_its_block(self, node: Node) -> None:
        async with node.database.watch("red") as changes:
            await anext(changes)
            node.database.set("red", "k", 1)
        with pytest.raises(trio.ClosedResourceError, match="block of this watch"):
            await anext(changes)


class TestAClosedNode:
    async def test_answers_nothing_any_more(self, nursery: trio.Nursery) -> None:
        ended: list[str] = []

        async def follow(node: Node, entered: trio.Event) -> None:
            async with node.database.watch("red") as changes:
                await anext(changes)
                entered.set()
                assert (await anext(changes)).table == {}
                with pytest.raises(trio.ClosedResourceError):
                    await anext(changes)
                ended.append("watch")

        async with open_node("a") as node:
            port = node.port()
            node.database.register("red", port)
            entered = trio.Event()
            nursery.start_soon(follow, node, entered)
            await entered.wait()
        await wait_all_tasks_blocked()
        assert ended == ["watch"]
        database = node.database
        with pytest.raises(trio.ClosedResourceError):
            database.set("red", "k")
        with pytest.raises(trio.ClosedResourceError):
            database.delete("red", "k")
        with pytest.raises(trio.ClosedResourceError):
            database.register("red", port)
        with pytest.raises(trio.ClosedResourceError):
            await database.family("red")
        with pytest.raises(trio.ClosedResourceError):
            async with database.watch("red"):
                pass


async def test_known_nodes_are_all_those_of_the_network(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a") as a,
        open_test_node(network, "b", seeds=["a"]) as b,
        open_test_node(network, "c", seeds=["a"]),
    ):
        await until(lambda: len(a.peers) == 2)
        await trio.sleep(1)
        assert sorted(await a.call("a", "known_nodes")) == ["a", "b", "c"]
        # Who is not global knows those that it has to do with.
        assert sorted(await b.call("b", "known_nodes")) == ["a", "b"]
        assert sorted(await a.call("a", "up_nodes")) == ["b", "c"]
