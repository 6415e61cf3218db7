"""The names of ports: nobody can guess one, and none is ever used again, whatever other nodes say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from network_helpers import (
    FakeNetwork,
    Notices,
    RawPeer,
    open_pair,
    open_test_node,
    peer_of,
    place,
    until,
    warnings_in,
)

from trio_mp import Port, PortDied, open_node
from trio_mp._ids import is_port_name, spawned_prefix, spawner_mark
from trio_mp._peers import spawned_names
from trio_mp._peers.spawned_names import SpawnedNames
from trio_mp._settings.environment import Environment
from trio_mp._transport.addresses import parse_address
from trio_mp.lowlevel import open_node_in

MODULE = "network_helpers"
INSTALLS = f"{MODULE}:installs_a_handler"


def random_part(name: str) -> str:
    return name.rpartition(".")[2]


# Of a node's own ports -----------------------------------------------------------------------------------------------


async def test_no_name_says_anything_of_another() -> None:
    async with open_node() as node:
        names = [node.port().name for _ in range(1000)]
    parts = [random_part(name) for name in names]
    assert len(set(parts)) == 1000
    # Of 64 characters each is in each place of the random part; by chance one or two may be missing.
    assert all(len({part[place] for part in parts}) > 60 for place in range(16))
    # What is not random is the same for all, so it is no help, either.
    assert {name.removesuffix(part) for name, part in zip(names, parts, strict=True)} == {
        f"{node._runtime.incarnation[:8]}."
    }


async def test_reply_ports_and_spawned_ones_cannot_be_guessed_either(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), spawn_modules=[MODULE]) as (a, b):
        names = [spawned.partition("#")[2] for spawned in (b.spawn("a", INSTALLS) for _ in range(1000))]
        names += [b.spawn("b", INSTALLS).partition("#")[2]]
        callers: list[Port] = []
        port = a.port()

        @port.on("who calls")
        def answer(reply: Port) -> None:
            callers.append(reply)
            a.send(reply)

        for _ in range(3):
            await b.call(str(port), "who calls")
        parts = [random_part(name) for name in names] + [random_part(reply.partition("#")[2]) for reply in callers]
        assert len(set(parts)) == 1004
        assert all(len({part[place] for part in parts}) > 60 for place in range(16))


@pytest.mark.parametrize("first", [0, 1])
async def test_the_same_entropy_gives_the_same_names_and_other_entropy_others(first: int) -> None:
    async def names_by(entropy: Callable[[int], bytes]) -> list[str]:
        async with open_node_in(Environment(entropy=entropy), "n") as node:
            return [node.port().name for _ in range(100)]

    def entropy_from(start: int) -> Callable[[int], bytes]:
        drawn = [start]

        def entropy(size: int) -> bytes:
            drawn[0] += 1
            return bytes((drawn[0] * 37 + index * 101 + (index >> 8)) % 256 for index in range(size))

        return entropy

    names = await names_by(entropy_from(first))
    assert names == await names_by(entropy_from(first))
    assert not set(names) & set(await names_by(entropy_from(first + 100)))
    assert all(is_port_name(name) for name in names)


# Of ports that others spawn ------------------------------------------------------------------------------------------


def name_of(node_id: str, incarnation: str, counter: int) -> str:
    return spawned_prefix(spawner_mark(node_id, incarnation), counter) + "r" * 16


def test_a_counter_rises_for_each_run_of_each_node() -> None:
    names = SpawnedNames()
    first, second = "f" * 16, "s" * 16
    for node_id, incarnation in (("a", first), ("a", second), ("b", first)):
        assert names.may_be_given(node_id, incarnation, name_of(node_id, incarnation, 3))
        assert not names.take(node_id, incarnation, name_of(node_id, incarnation, 3))
    # The run of before comes back, or says that it does.
    for node_id, incarnation in (("a", first), ("a", second), ("b", first)):
        for counter, right in ((1, False), (3, False), (4, True)):
            assert names.may_be_given(node_id, incarnation, name_of(node_id, incarnation, counter)) is right
    assert not names.may_be_given("a", first, name_of("b", first, 9))
    assert not names.may_be_given("a", first, name_of("a", second, 9))


def test_what_is_refused_uses_nothing_up() -> None:
    names = SpawnedNames()
    assert names.may_be_given("a", "f" * 16, name_of("a", "f" * 16, 3))
    assert names.may_be_given("a", "f" * 16, name_of("a", "f" * 16, 2))


def test_the_table_has_a_limit_and_those_in_it_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawned_names, "RUNS", 5)
    monkeypatch.setattr(spawned_names, "RUNS_OF_ONE", 3)
    names = SpawnedNames()

    def take(node_id: str, run: str, counter: int = 1) -> str:
        return names.take(node_id, run * 16, name_of(node_id, run * 16, counter))

    assert [take("a", run) for run in "123"] == [""] * 3
    assert take("a", "4") == "a may spawn no ports here: 3 of its runs have done so, the limit until this node restarts"
    assert [take("b", "4"), take("c", "1")] == ["", ""]
    for node_id in ("b", "d"):
        why = f"{node_id} may spawn no ports here: 5 runs of nodes have done so, the limit until this node restarts"
        assert take(node_id, "5") == why
    assert [take("a", "1", 2), take("c", "1", 7)] == ["", ""]
    assert not names.may_be_given("c", "1" * 16, name_of("c", "1" * 16, 7))


async def adopted(network: FakeNetwork, node_id: str, incarnation: str) -> RawPeer:
    peer = RawPeer(await network.dial(parse_address(place("b"))), node_id, incarnation=incarnation)
    await peer.adopt()
    return peer


@pytest.mark.parametrize("between", ["another run", "forgotten"])
async def test_a_name_is_not_used_again_by_a_run_that_comes_back(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, between: str
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b", spawn_modules=[MODULE]) as b:
        peer = await adopted(network, "a", "f" * 16)
        name = peer.name_to_spawn(1)
        await peer.send(("", "spawn", name, INSTALLS), ("", "kil", name))
        await peer.send(("", "ping"))
        await peer.receive(1)
        assert not b._lifecycle.ports
        peer.pipe.close()
        await until(lambda: not b.peers)
        if between == "forgotten":
            await trio.sleep(400)
            assert "a" not in b._runtime.network.peers  # type: ignore[union-attr]
        else:
            other = await adopted(network, "a", "s" * 16)
            await other.send(("", "spawn", other.name_to_spawn(1), INSTALLS))
            await until(lambda: len(b._lifecycle.ports) == 1)
            other.pipe.close()
            await until(lambda: not b.peers)
        again = await adopted(network, "a", "f" * 16)
        await again.send(("", "spawn", name, INSTALLS), ("", "spawn", again.name_to_spawn(2), INSTALLS))
        await until(lambda: again.name_to_spawn(2) in b._lifecycle.ports)
        assert name not in b._lifecycle.ports
    assert any("may not give" in line for line in warnings_in(caplog))


async def test_a_node_that_restarts_spawns_again(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b", spawn_modules=[MODULE]):
        spawned: set[str] = set()
        for run in range(3):
            async with open_test_node(network, "a", seeds=["b"]) as a:
                port = a.spawn("b", INSTALLS, run)
                assert await a.call(port, "arguments") == (run,)
                spawned.add(port)
        assert len(spawned) == 3


async def test_no_node_uses_a_name_again_that_another_has_used(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b", spawn_modules=[MODULE]) as b:
        victim = await adopted(network, "a", "f" * 16)
        name = victim.name_to_spawn(1)
        await victim.send(("", "spawn", name, INSTALLS), ("", "kil", name), ("", "ping"))
        await victim.receive(1)
        # It says of itself what it has read in the other one's greeting.
        thief = await adopted(network, "A", victim.incarnation)
        await thief.send(("", "spawn", name, INSTALLS), ("", "ping"))
        await thief.receive(1)
        assert not b._lifecycle.ports


@pytest.mark.parametrize("linked", [False, True])
async def test_who_may_spawn_nothing_is_told(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    network = FakeNetwork()
    monkeypatch.setattr(spawned_names, "RUNS", 1)
    async with open_pair(network, spawn_modules=[MODULE]) as (a, b):
        known = b.spawn("a", INSTALLS, 1)
        assert await b.call(known, "arguments") == (1,)
        async with open_test_node(network, "c", seeds=["a"]) as c:
            await until(lambda: c.peers)
            if linked:

                async def spawns(port: Port) -> None:
                    c.spawn("a", INSTALLS, linked=True)
                    await trio.sleep_forever()

                reason = await c.wait_death(c.start_port(spawns))
            else:
                told = Notices()
                c.monitor(c.spawn("a", INSTALLS), told)
                reason = await told.wait()
                # Sending to it is as sending to any port that is dead.
                later = c.spawn("a", INSTALLS)
                c.send(later, "arguments", "nobody")
                assert (await c.wait_death(later))[0] == "spawn_failed"
            assert reason[0] == "spawn_failed"
            assert "c may spawn no ports here: 1 runs of nodes have done so" in str(reason[1])
            assert peer_of(a, "c").spawned == 0
            with pytest.raises(PortDied, match="1 runs of nodes"):
                async with c.open_stream("a", f"{MODULE}:is_a_process"):
                    pass
        # Whoever was in the table goes on.
        assert await b.call(b.spawn("a", INSTALLS, 2), "arguments") == (2,)


@pytest.mark.parametrize("word", ["spawn", "stream"])
@pytest.mark.parametrize("before", [(), ("kil",)], ids=["alive", "killed"])
async def test_a_peer_that_claims_our_incarnation_takes_no_name_of_ours(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, word: str, before: tuple[str, ...]
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b") as b:
        raw = RawPeer(await network.dial(parse_address(place("b"))), "a", incarnation=b._runtime.incarnation)
        await raw.adopt()
        fired: list[object] = []
        async with b.open_port() as port:
            b.monitor(port, lambda *reason: fired.append(reason))
            extra = ("T" * 16,) if word == "stream" else ()
            kills = [("", kill, port.name) for kill in before]
            await raw.send(*kills, ("", word, port.name, *extra, "no.module:f"))
            # One that this node may give out later.
            name = f"{b._runtime.incarnation[:8]}.{'x' * 16}"
            await raw.send(("", word, name, *extra, "no.module:f"))
            await trio.sleep(1)
        await until(lambda: fired)
        assert b.peers == ("a",)
        assert name not in b._lifecycle.ports
    assert any("may not give" in line for line in warnings_in(caplog))
