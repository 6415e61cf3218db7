"""The simulated network: its faults, its nodes, and that the same seed gives the same run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio._core import _run

import trio_mp
from trio_mp import ChannelReceiver, ChannelSender, Node, Port, RemoteProtocolError, node_of, spawnable
from trio_mp.testing import (
    Program,
    PromiseBroken,
    Rule,
    SimulatedNetwork,
    Witness,
    address_of,
    open_simulated_network,
    simulate,
)
from trio_mp.testing._scheduler import deterministic_scheduling
from trio_mp.testing._tls import SimulatedTLS

Scenario = Callable[[SimulatedNetwork, Node, Node], Awaitable[None]]


def with_pair(scenario: Scenario, *, seed: int = 0, encryption: bool = False) -> None:
    """Run a scenario with two nodes, `a` and `b`, that are connected."""

    async def run(network: SimulatedNetwork) -> None:
        async with (
            network.open_node("a", encryption=encryption) as a,
            network.open_node("b", seeds=["a"], encryption=encryption) as b,
        ):
            await trio.sleep(1)
            assert a.peers == ("b",)
            assert b.peers == ("a",)
            await scenario(network, a, b)

    simulate(run, seed=seed)


async def time_of_death(node: Node, port: str, limit: float = 1000) -> tuple[float, object]:
    """After how many seconds a monitor fires, and with which text."""
    start = trio.current_time()
    with trio.fail_after(limit):
        reason = await node.wait_death(port)
    return trio.current_time() - start, reason[-1]


# How long monitors take, cause by cause ------------------------------------------------------------------------------


def test_a_reset_is_told_at_once() -> None:
    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        port = b.port(print)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later, 0.5, lambda: network.reset("a", "b"))
            seconds, _ = await time_of_death(a, port)
        assert seconds == pytest.approx(0.5)

    with_pair(scenario)


async def later(seconds: float, function: Callable[[], object]) -> None:
    await trio.sleep(seconds)
    function()


@pytest.mark.parametrize("seed", range(10))
def test_silence_is_told_after_three_to_three_and_a_half_heartbeats(seed: int) -> None:
    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        port = b.port(print)
        await trio.sleep(network.random.uniform(0, 10))
        network.black_hole("b", "a")
        seconds, why = await time_of_death(a, port)
        assert "nothing was heard" in str(why)
        # The last byte came up to a heartbeat before.
        assert 10 <= seconds <= 17.5 + 0.01

    with_pair(scenario, seed=seed)


@pytest.mark.parametrize("seed", range(10))
def test_half_open_is_noticed_by_the_one_that_was_not_told(seed: int) -> None:
    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        # `b` is told, and so dials again; `a` is not, and hears of it from that.
        port = b.port(print)
        assert network.half_open("b", "a")
        seconds, _ = await time_of_death(a, port)
        assert seconds < 2
        await trio.sleep(1)
        await network.settle()

    with_pair(scenario, seed=seed)


def test_what_is_never_reachable_is_told_after_connect_timeout() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        async with network.open_node("a", connect_timeout=20) as a:
            seconds, why = await time_of_death(a, "b#0123456789abcdef.1")
            assert seconds == pytest.approx(20)
            assert "no connection within 20 s" in str(why)

    simulate(scenario)


# Faults --------------------------------------------------------------------------------------------------------------


def test_truncation_ends_the_connection_for_both() -> None:
    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        got: list[object] = []
        port = b.port(lambda *message: got.append(message))
        assert network.truncate("a", "b")
        a.monitor(port, lambda *_: None)
        a.send(port, b"x" * 10_000)
        seconds, _ = await time_of_death(a, port)
        assert seconds < 0.1
        assert not got
        await network.settle()
        assert a.peers == ("b",)

    with_pair(scenario)


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_bit_ends_an_encrypted_connection(seed: int) -> None:
    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        got: list[object] = []
        port = b.port(lambda *message: got.append(message))
        assert network.flip_bit("a", "b")
        a.send(port, b"x" * 1000)
        seconds, _ = await time_of_death(a, port)
        assert seconds < 0.1
        assert not got

    with_pair(scenario, seed=seed, encryption=True)


def test_a_bit_is_not_flipped_where_nobody_would_notice() -> None:
    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        with pytest.raises(ValueError, match="expected nodes with encryption, which notice a changed bit, got "):
            network.flip_bit("a", "b")

    with_pair(scenario)


def test_a_partition_holds_back_and_heals() -> None:
    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        got: list[object] = []
        port = b.port(lambda *message: got.append(message))
        network.partition(["a"], ["b"])
        a.send(port, "now")
        await trio.sleep(5)
        assert not got
        network.heal()
        await trio.sleep(1)
        # It was short: the connection has survived it.
        assert got == [("now",)]
        assert len(network._open_wires()) == 1

    with_pair(scenario)


def test_a_pause_loses_nothing() -> None:
    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        got: list[object] = []
        port = b.port(lambda *message: got.append(message))
        network.pause("b")
        a.send(port, "now")
        await trio.sleep(5)
        assert not got
        network.resume("b")
        await trio.sleep(1)
        assert got == [("now",)]

    with_pair(scenario)


def test_a_clock_jump_loses_no_connection() -> None:
    """All processes were asleep: their silence means nothing."""

    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        fired: list[object] = []
        b.monitor(str(a.port(print)), lambda *reason: fired.append(reason))
        await trio.sleep(1)
        network.jump_clock(1000)
        await trio.sleep(100)
        assert not fired

    with_pair(scenario)


def test_a_full_queue_is_lost_and_reported() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        small = {"queue_limit": 256 * 1024, "message_limit": 64 * 1024}
        async with network.open_node("a", **small) as a, network.open_node("b", seeds=["a"]) as b:  # type: ignore[arg-type]
            await trio.sleep(1)
            port = b.port(print)
            network.fill_queue("a", "b")
            fired: list[tuple[object, ...]] = []
            a.monitor(port, lambda *reason: fired.append(reason))
            for _ in range(10):
                a.send(port, b"x" * 60_000)
            await trio.sleep(0.01)
            ((*_, text),) = fired
            assert "were queued" in str(text)

    simulate(scenario)


def test_a_slow_reader_gets_so_many_bytes_a_second() -> None:
    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        got: list[float] = []
        port = b.port(lambda *_: got.append(trio.current_time()))
        network.slow_reader("b", 1000)
        start = trio.current_time()
        a.send(port, b"x" * 5000)
        await trio.sleep(10)
        assert 4 < got[0] - start < 6

    with_pair(scenario)


def test_held_dials_are_let_go_together() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        network.hold_dials()
        async with (
            network.open_node("a", seeds=["b"]),
            network.open_node("b", seeds=["a"]),
        ):
            await trio.sleep(3)
            assert not network._open_wires()
            network.release_dials()
            await trio.sleep(0.0025)
            assert len(network._open_wires("a", "b")) == 2
            await network.settle()
            assert network.agree("a", "b")

    simulate(scenario)


def test_a_stall_is_logged_with_its_port(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        async with network.open_node("a") as a:
            port = a.port(lambda: network.stall("a", 7.0))
            a.send(port)
            await trio.sleep(1)

    simulate(scenario)
    assert any("computed for 7.0 s" in message for message in caplog.messages)


def test_the_time_of_day_can_be_set() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        async with network.open_node("a") as a:
            (before,) = await a.call("a", "time")
            network.jump_wall_clock("a", -1000)
            (after,) = await a.call("a", "time")
            assert after - before == pytest.approx(-1000)

    simulate(scenario)


# Nodes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silently", [False, True])
def test_crash_and_restart(silently: bool) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        ports: list[str] = []
        told: list[object] = []

        async def worker(node: Node) -> None:
            port = node.port(print)
            node.monitor(port, lambda *reason: told.append(reason))
            ports.append(str(port))
            await trio.sleep_forever()

        network.start("w", worker)
        async with network.open_node("a", seeds=["w"]) as a:
            await trio.sleep(1)
            start = trio.current_time()
            network.crash("w", silently=silently)
            assert not network.is_up("w")
            reason = await a.wait_death(ports[0])
            assert reason[0] == "transport_error"
            assert trio.current_time() - start < (17.6 if silently else 0.1)
            network.restart("w")
            await trio.sleep(6)
            assert a.peers == ("w",)
            # Its first life told nobody of its end, and is no part of the second.
            assert not told
            assert len(ports) == 2
            assert node_of(ports[0]) == node_of(ports[1])
            assert ports[0] != ports[1]
            assert (await a.wait_death(ports[0]))[0] == "no_such_port"

    simulate(scenario)


@spawnable
async def _never_starts(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
    await trio.sleep_forever()


@spawnable
async def _starts_at_once(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


@spawnable
async def _keeps_silent(receive: ChannelReceiver[object], send: ChannelSender[object]) -> None:
    await trio.sleep_forever()


async def _supervises(node: Node) -> None:
    async with node.open_supervisor() as crew:
        await crew.start(_starts_at_once)
        await crew.spawn("a", f"{__name__}:_starts_at_once")
        await trio.sleep_forever()


async def _supervises_what_starts(node: Node) -> None:
    async with node.open_supervisor() as crew:
        await crew.start(_never_starts)


async def _supervises_what_starts_there(node: Node) -> None:
    async with node.open_supervisor() as crew:
        await crew.spawn("a", f"{__name__}:_never_starts")


async def _supervises_what_starts_again(node: Node) -> None:
    begun = False

    async def starts_once(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
        nonlocal begun
        if not begun:
            begun = True
            task_status.started()
            node.kill(port, "so that it is started again")
        await trio.sleep_forever()

    async with node.open_supervisor() as crew:
        await crew.start(starts_once)
        await trio.sleep_forever()


async def _supervises_twice(node: Node) -> None:
    async with node.open_supervisor():
        await _supervises(node)


async def _starts(node: Node) -> None:
    await node.start(_never_starts)


async def _starts_there(node: Node) -> None:
    await node.start_on("a", f"{__name__}:_starts_at_once")
    await trio.sleep_forever()


async def _never_starts_there(node: Node) -> None:
    await node.start_on("a", f"{__name__}:_never_starts")


async def _waits_for_a_death(node: Node) -> None:
    await node.wait_death(node.port(print))


async def _calls(node: Node) -> None:
    await node.call(node.port(lambda *_: None), "and nobody answers")


async def _has_a_channel(node: Node) -> None:
    async with node.open_channel(node.id, f"{__name__}:_keeps_silent") as (_, receive):
        await receive.receive()


async def _has_a_group(node: Node) -> None:
    node.database.register("things", node.port(print))
    async with node.open_group("things") as group:
        await group.call("and nobody answers")


async def _is_a_singleton(node: Node) -> None:
    await node.run_singleton("the one", _forever)


async def _forever(_epoch: object) -> None:
    await trio.sleep_forever()


async def _in_a_port(node: Node) -> None:
    async with node.open_port():
        await _supervises(node)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "program",
    [
        _supervises,
        _supervises_what_starts,
        _supervises_what_starts_there,
        _supervises_what_starts_again,
        _supervises_twice,
        _starts,
        _starts_there,
        _never_starts_there,
        _waits_for_a_death,
        _calls,
        _has_a_channel,
        _has_a_group,
        _is_a_singleton,
        _in_a_port,
    ],
)
def test_nothing_in_a_crashed_node_waits_for_ever(program: Program) -> None:
    """What unwinds under a shield would hold the whole simulation up: its virtual clock would turn without end."""

    async def scenario(network: SimulatedNetwork) -> None:
        network.start("w", program, seeds=["a"], spawn_modules=[__name__])
        async with network.open_node("a", spawn_modules=[__name__]) as a:
            await trio.sleep(1)
            assert a.peers == ("w",)
            ended = network._runs["w"].ended
            network.crash("w")
            with trio.fail_after(60):
                await ended.wait()

    simulate(scenario)


def test_stop_closes_in_good_order() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        ports: list[str] = []

        async def worker(node: Node) -> None:
            ports.append(str(node.port(print)))
            await trio.sleep_forever()

        network.start("w", worker)
        async with network.open_node("a", seeds=["w"]) as a:
            await trio.sleep(1)
            told: list[tuple[object, ...]] = []
            a.monitor(ports[0], lambda *reason: told.append(reason))
            await trio.sleep(1)
            await network.stop("w")
            assert told == [("node_closed", "w")]
            assert not network.is_up("w")

    simulate(scenario)


def test_an_exception_of_a_program_ends_the_simulation() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        async def broken(_: Node) -> None:
            raise ValueError("a mistake")

        network.start("a", broken)
        await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as info:
        simulate(scenario)
    assert info.group_contains(ValueError, match="a mistake")


def test_an_exception_of_the_scenario_leaves_as_it_is() -> None:
    async def scenario(_: SimulatedNetwork) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        simulate(scenario)


def test_a_node_id_is_used_once_at_a_time() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        async with network.open_node("a"):
            with pytest.raises(RuntimeError, match="expected the ID of a node that does not run, got a"):
                async with network.open_node("a"):
                    pass

    simulate(scenario)


async def test_it_needs_a_virtual_clock() -> None:
    with pytest.raises(RuntimeError, match="MockClock"):
        async with open_simulated_network():
            pass


async def test_it_works_in_a_run_of_pytest_trio(autojump_clock: trio.testing.MockClock) -> None:
    async with open_simulated_network(3) as network, network.open_node("a") as a:
        assert a.binds == (f"{address_of('a')}:4040",)


def test_node_ids_that_are_no_host_names_have_addresses_too() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        async with (
            network.open_node("x/y") as a,
            network.open_node("b", seeds=[address_of("x/y")]),
        ):
            await trio.sleep(1)
            assert a.peers == ("b",)

    simulate(scenario)


def test_a_violation_in_a_handler_is_raised_all_the_same() -> None:
    async def scenario(network: SimulatedNetwork, a: Node, b: Node) -> None:
        witness = Witness(network, b)
        port = witness.port()
        a.send(port, "witness", "a/1", 7, str(port))
        await trio.sleep_forever()

    with pytest.raises(PromiseBroken) as info:
        with_pair(scenario, seed=42)
    assert info.value.rule is Rule.INVENTED
    assert info.value.seed == 42
    assert "broken" in info.value.trace


# Determinism ---------------------------------------------------------------------------------------------------------

PROGRAM = """
import logging, sys
logging.disable()
from trio_mp.testing._seed import run_seed
result = run_seed(int(sys.argv[1]))
print(result.digest, result.sent, result.violation)
"""


def digest_of(seed: int, hash_seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-c", PROGRAM, str(seed)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("seed", [3, 8, 21])
def test_the_same_seed_gives_the_same_trace_in_another_process(seed: int) -> None:
    """Seeds 8 and 21 encrypt."""
    assert digest_of(seed, 1) == digest_of(seed, 2) == digest_of(seed, 3)


def test_other_seeds_give_other_traces() -> None:
    assert len({digest_of(seed, 1) for seed in range(4)}) == 4


def test_the_scheduler_is_left_as_it_was() -> None:
    switch, state = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    with deterministic_scheduling(1):
        assert _run._ALLOW_DETERMINISTIC_SCHEDULING
        assert _run._r.getstate() != state
    assert switch == _run._ALLOW_DETERMINISTIC_SCHEDULING
    assert state == _run._r.getstate()


def test_one_module_alone_reaches_into_trio() -> None:
    package = Path(trio_mp.__file__).parent
    reaches = re.compile(r"(import|from) trio\._core")
    guilty = [path.name for path in package.rglob("*.py") if reaches.search(path.read_text(encoding="utf-8"))]
    assert guilty == ["_scheduler.py"]


# The stand-in for TLS ------------------------------------------------------------------------------------------------


def shaken_pair() -> tuple[SimulatedTLS, SimulatedTLS]:
    client, server = SimulatedTLS(bytes, server=False), SimulatedTLS(lambda size: b"s" * size, server=True)
    assert server.start() == b""
    plain, reply = server.receive(client.start())
    assert plain == b""
    assert client.receive(reply) == (b"", b"")
    assert client.fingerprint == server.fingerprint != b""
    return client, server


def test_simulated_tls_carries_bytes_of_any_length() -> None:
    client, server = shaken_pair()
    data = bytes(range(256)) * 300
    assert server.receive(client.send(data)) == (data, b"")
    assert client.receive(server.send(b"yes")) == (b"yes", b"")


def test_simulated_tls_notices_every_bit() -> None:
    for bit in range(8 * len(shaken_pair()[0].send(b"hello"))):
        client, server = shaken_pair()
        data = bytearray(client.send(b"hello"))
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteProtocolError):
            server.receive(bytes(data))
