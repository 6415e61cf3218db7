"""An error of this program in the work for one connection ends that connection, and neither the node nor the promise.

An exception is planted at each line that the work for a connection reaches, one at a time, while two nodes talk under
the oracle. Whatever line it is: both nodes live, one error is logged with its traceback, nothing is lost in silence,
and the two talk again.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import relay_helpers
import trio
import trio.testing
from error_planter import PACKAGE, Line, Planted, Planter
from network_helpers import (
    SECRET,
    FakeNetwork,
    Inbox,
    Notices,
    RawPeer,
    connect_raw,
    network_of,
    open_pair,
    open_test_node,
    peer_of,
    place,
    until,
)
from relay_helpers import Ledger

from trio_mp import Node
from trio_mp._peers.connection import Connection
from trio_mp._peers.limited_log import BURST
from trio_mp._peers.network import Network
from trio_mp._ports.run_queue import Job
from trio_mp._protocol.association import effects
from trio_mp._protocol.association.outbox import Outbox
from trio_mp._protocol.association.queue import OutgoingQueue
from trio_mp._protocol.database.effects import Grace
from trio_mp._protocol.database.replica import Replica
from trio_mp._protocol.handshake.events import Authenticated
from trio_mp._services import log_tap, logs
from trio_mp._services.redialler import Redialler
from trio_mp._services.search import Search
from trio_mp._settings.environment import Environment
from trio_mp.lowlevel import open_node_in
from trio_mp.testing._scheduler import deterministic_scheduling

CORE = (
    *(f"_protocol/association/{name}.py" for name in ("association", "outbox", "queue")),
    *("_protocol/transitions.py", "_peers/peer.py"),
)
"""What decides, and does what was decided: errors in it are losses of the association."""

AROUND = (
    *("_peers/connection.py", "_peers/reader.py", "_peers/writer.py", "_peers/watchers.py", "_peers/deadline.py"),
    "_peers/node_port.py",
    *("_protocol/handshake/session.py", "_protocol/handshake/handshake.py", "_protocol/handshake/greeting.py"),
    "_protocol/wire/framing.py",
    "_peers/stream_handover.py",
)
"""What leads to it: errors in it end the connection."""

Scenario = Callable[[FakeNetwork, Planter, str, str], Awaitable[None]]


def still() -> float:
    """A clock for fairness by which no machine is slow: each run of a scenario is to reach the same lines."""
    return 0.0


async def catch_up(ledgers: list[Ledger]) -> None:
    """Send until what was sent last has arrived: whatever was lost, the two must come to talk again."""
    for ledger in ledgers:
        for _ in range(60):
            ledger.send()
            await trio.sleep(2)
            if ledger.delivered[-1:] == [ledger.sent - 1]:
                break
        else:
            raise AssertionError(f"they do not talk any more: {ledger.reasons}")
        ledger.check()


async def meet_and_part(network: FakeNetwork, planter: Planter, dialler: str, listener: str) -> None:
    """Messages wait that do not fit the peer, a connection comes, is used, breaks and comes again."""
    async with (
        open_test_node(network, listener, message_limit=65536, fairness_clock=still) as there,
        open_test_node(
            network, dialler, seeds=[listener], message_limit=2**20, queue_limit=2**23, fairness_clock=still
        ) as here,
    ):
        network.refusing.add(place(listener))
        await trio.sleep(1)
        ledgers = [Ledger(here, there), Ledger(here, there), Ledger(there, here)]
        small, large, back = ledgers
        died = Notices()
        mortal = there.port(lambda *_: None)
        here.monitor(mortal, died)
        for number in range(3):
            small.send()
            large.send("x" * 100_000 if number == 1 else "")
            back.send()
        with planter.at_work():
            network.refusing.clear()
            await trio.sleep(10)
            for ledger in ledgers:
                ledger.send()
            there.kill(mortal, "why")
            await trio.sleep(10)
            for ledger in ledgers:
                ledger.send()
            for wire in network.live:
                wire.reset()
            await trio.sleep(10)
            for ledger in ledgers:
                ledger.send()
            await trio.sleep(10)
        await until(lambda: died.reasons, 60)
        await catch_up(ledgers)


async def grow_idle(network: FakeNetwork, planter: Planter, dialler: str, listener: str) -> None:
    """Nothing depends on a connection: the two part, and meet again."""
    settings: dict[str, Any] = {"idle_timeout": 20.0, "fairness_clock": still}
    async with (
        open_test_node(network, listener, **settings) as there,
        open_test_node(network, dialler, **settings) as here,
    ):
        got: list[int] = []
        port = there.port(got.append)
        # Nobody keeps the connection: there is no seed.
        introduce(here, listener)
        with planter.at_work():
            here.send(port, 1)
            await trio.sleep(90)
            here.send(port, 2)
            await trio.sleep(90)
        ledger = Ledger(here, there)
        await catch_up([ledger])


def introduce(node: Node, other: str) -> None:
    """Have a node know where another one listens, as the network would say."""

    async def find(_: str) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        return (place(other),)

    membership = node._membership
    assert membership is not None
    setattr(membership.search, "find_addresses", find)  # noqa: B010 - a method, for type checkers


def errors_in(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


PROGRAMS = (__file__, relay_helpers.__file__)


def play(scenario: Scenario, planter: Planter, names: tuple[str, str]) -> None:
    """One run of a scenario, the same each time."""

    async def main() -> None:
        with trio.fail_after(10_000):
            await scenario(FakeNetwork(), planter, *names)

    # An error at the line that enables it again leaves it disabled.
    gc.enable()
    with deterministic_scheduling(1):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@functools.cache
def reached(scenario: Scenario, files: tuple[str, ...], names: tuple[str, str]) -> dict[Line, int]:
    """The lines that a scenario reaches, and how often."""
    planter = Planter(files, PROGRAMS)
    play(scenario, planter, names)
    return dict(planter.reached)


def is_planted(record: logging.LogRecord) -> bool:
    """Whether a record has the traceback of what was planted. A nursery puts it into a group."""
    error = record.exc_info[1] if record.exc_info else None
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return isinstance(error, Planted)


def try_lines(
    scenario: Scenario,
    places: list[tuple[Line, int]],
    names: tuple[str, str],
    caplog: pytest.LogCaptureFixture,
) -> list[str]:
    """Plant an error at each of these, a line and at the how manyth time that it is reached; what has gone wrong."""
    wrong: list[str] = []
    for line, occurrence in places:
        caplog.clear()
        planter = Planter((line.file,), PROGRAMS, line, occurrence)
        try:
            play(scenario, planter, names)
        except Exception as error:  # noqa: BLE001 - collected
            wrong.append(f"{line} ({occurrence}): {error!r:.300}")
            continue
        found = errors_in(caplog)
        if not planter.planted:
            wrong.append(f"{line} ({occurrence}): not reached")
        elif not (len(found) == 1 and is_planted(found[0])):
            wrong.append(f"{line} ({occurrence}): logged {[record.getMessage() for record in found]}")
    return wrong


SCENARIOS = (meet_and_part, grow_idle)
NAMES = {"the listener decides": ("a", "b"), "the dialler decides": ("z", "b")}
HEART = frozenset(
    {
        *("Association.authenticated", "Association.link_received", "Association._take_up", "Association.give_up"),
        *("Outbox.adapt", "OutgoingQueue.adapt", "_concerns", "Peer.act", "Peer.execute", "Peer._do", "Peer._lost"),
        *("Peer._fire_loss", "Peer._went_up", "Peer._went_down", "Peer._tell_down"),
        *("Association._move", "Outbox._move"),
    }
)
"""Where an error that ended the connection alone would be a silent hole."""

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
PLAYS = [
    (scenario, order)
    for scenario in SCENARIOS
    for order in NAMES
    # An idle connection is given back in the same way whoever has dialled: once is enough, but for the long run.
    if THOROUGH or scenario is meet_and_part or order == "the listener decides"
]

each_order = pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())


@each_order
def test_an_error_at_any_line_of_the_heart_of_it(names: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    lines = reached(meet_and_part, CORE, names)
    places = [(line, 1) for line in lines if line.function in HEART]
    assert len(places) > 60
    assert not try_lines(meet_and_part, places, names, caplog)


def drawn(places: list[tuple[Line, int]]) -> list[tuple[Line, int]]:
    """A third of them; another third when the source of any of them changes. The thorough run tries all."""
    if THOROUGH:
        return places
    source = b"".join((PACKAGE / file).read_bytes() for file in CORE + AROUND)
    return places[zlib.crc32(source) % 3 :: 3]


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("scenario, order", PLAYS, ids=[f"{scenario.__name__}-{order}" for scenario, order in PLAYS])
def test_an_error_at_any_line(scenario: Scenario, order: str, part: int, caplog: pytest.LogCaptureFixture) -> None:
    """The first time that each line is reached, and the last."""
    lines = reached(scenario, CORE + AROUND, NAMES[order])
    places = [(line, occurrence) for line, count in lines.items() for occurrence in sorted({1, count})]
    assert len(places) > 700
    assert not try_lines(scenario, drawn(places)[part::4], NAMES[order], caplog)


# Errors at one place of each kind -------------------------------------------------------------------------------------


def raise_planted(*_arguments: object) -> bool:
    raise Planted("here")


def raise_os_error(*_arguments: object) -> bool:
    raise OSError("no error of the connection")


class Forgetful(dict[str, Any]):
    """Cannot be asked for anything."""

    def get(self, *_: object) -> Any:
        raise Planted("here")


async def test_an_error_in_the_network_as_a_whole_ends_its_connections(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    told = Notices()

    async def run() -> None:
        async with open_test_node(network, "m") as m, open_test_node(network, "n", seeds=["m"]):
            await until(lambda: m.peers)
            m.monitor("n", told)
            network_of(m)._limited_log.summarise = raise_planted  # type: ignore[method-assign,assignment]
            with trio.CancelScope(shield=True):
                await told.wait()
                # However long its block takes to unwind.
                assert m._runtime.standing.why_not_ready() == "closing"

    with pytest.raises(ExceptionGroup, match="a node failed"), trio.fail_after(60):
        await run()
    assert len(told.reasons) == 1
    # At once, and not when the other node notices the silence.
    assert trio.current_time() < 5


@pytest.mark.parametrize("fail", [raise_planted, raise_os_error])
async def test_an_error_of_a_service_ends_the_connection_and_nothing_else(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, fail: Callable[..., bool]
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as m, open_test_node(network, "n", seeds=["m"]) as n:
        inbox = Inbox(m)
        network_of(m).node_port.services["log"] = fail
        raw = RawPeer(network.connect(place("m")).dialler, "a")
        await raw.adopt()
        await until(lambda: set(m.peers) == {"a", "n"})
        told, other = Notices(), Notices()
        m.monitor("a", told)
        m.monitor("n", other)
        await raw.send((inbox.port.name, "before"), ("", "log"), (inbox.port.name, "behind"))
        await raw.read_to_end()
        n.send(inbox.port, "of another")
        assert await inbox.wait(2) == [("before",), ("of another",)]
        assert "an error in this program" in (await told.wait())[2]
        assert not other.reasons
        (record,) = errors_in(caplog)
        assert record.exc_info
        assert "a: an error in this program" in record.getMessage()


@pytest.mark.parametrize("what", ["log records", "the grace", "a redialler", "a search", "a dial that was asked for"])
async def test_an_error_of_a_task_for_others_is_logged_and_the_node_lives(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as m, open_test_node(network, "n", seeds=["m"]) as n:
        await until(lambda: m.peers and n.peers)
        inbox = Inbox(m)
        with monkeypatch.context() as broken:
            if what == "log records":
                # As if they were of two processes.
                broken.setattr(logs, "_nodes", ())
                broken.setattr(log_tap.tap, "add", raise_planted)
                network_of(n).node_port.services["log"]("m", (10, f"m#{inbox.port.name}"))
            elif what == "the grace":
                broken.setattr(Replica, "expire", raise_planted)
                n._database._do(Grace("m", 1))
            elif what == "a redialler":
                broken.setattr(Redialler, "_use", raise_planted)
                network.wire.reset()
            elif what == "a search":
                broken.setattr(Search, "_judge", raise_planted)
                n.send(f"nobody#{'A' * 16}.1", "x")
            else:
                broken.setattr(Network, "dial", raise_planted)
                network_of(n).node_port.services["dial"]("m", ("n", "nobody", ["unix:/fake/nobody"]))
            await trio.sleep(20)
        await until(lambda: n.peers, 60)
        n.send(inbox.port, "later")
        assert await inbox.wait(1) == [("later",)]
        assert errors_in(caplog)
        assert all("an error in this program" in record.getMessage() for record in errors_in(caplog))


async def test_errors_that_strangers_cause_are_logged_with_tracebacks_and_are_bounded(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m") as m:
        network_of(m).peers = Forgetful()
        for _ in range(2 * BURST):
            raw = RawPeer(network.connect(place("m")).dialler, "a")
            await raw.read_to_end()
        assert 0 < len(errors_in(caplog)) <= BURST + 1
        assert all(record.exc_info for record in errors_in(caplog))


async def test_an_error_in_accepting_does_not_end_the_listening(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    environment = Environment(transport=network, jitter=lambda: 0.5)
    async with open_node_in(environment, "m", secret=SECRET, encryption=False, binds=[place("m")]) as m:
        local = network_of(m).local
        network_of(m).local = None  # type: ignore[assignment]
        await RawPeer(network.connect(place("m")).dialler, "a").read_to_end()
        assert [record.exc_info is not None for record in errors_in(caplog)] == [True]
        network_of(m).local = local
        await RawPeer(network.connect(place("m")).dialler, "a").adopt()
        await until(lambda: m.peers)


@pytest.mark.parametrize("name", ["send", "monitor"])
async def test_an_error_in_what_a_program_asks_for_is_a_loss(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Such as the one that comes when the queue is half dropped: from then on nothing would ever be told."""
    async with open_pair(FakeNetwork()) as (a, b):
        port = b.port(lambda *_: None)
        told = Notices()
        a.monitor(port, told)
        with monkeypatch.context() as broken:
            broken.setattr(OutgoingQueue, "append", raise_planted)
            if name == "send":
                a.send(port, 1)
            else:
                with pytest.raises(Planted):
                    a.monitor(b.port(lambda *_: None), told)
        assert (await told.wait())[0] == "transport_error"
        assert len(errors_in(caplog)) == 1
        inbox = Inbox(b)
        await until(lambda: a.peers)
        a.send(inbox.port, 2)
        assert await inbox.wait(1) == [(2,)]


async def test_an_error_before_the_monitors_of_another_could_fire_ends_the_node(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would be told any more, and that is the one thing that must not be."""
    fire, calls = Outbox.fire, iter(range(100))
    monkeypatch.setattr(Outbox, "fire", lambda self: raise_planted() if next(calls) < 1 else fire(self))
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_pair(FakeNetwork()) as (a, b):
            a.monitor(b.port(), lambda *_: None)
            peer_of(a, "b").fail(Planted("first"))
            await trio.sleep(60)
    assert caught.group_contains(Planted, match="here")


@pytest.mark.parametrize("what", ["refused", "closed"])
async def test_an_error_in_ending_a_connection_leaves_it_to_nobody(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It ends with all others of the node, and does not go on with a handshake that nobody waits for."""
    network = FakeNetwork()
    async with open_test_node(network, "m", handshake_timeout=60) as m:
        first = await connect_raw(network, "a" if what == "refused" else "z")
        await until(lambda: m.peers)
        second = RawPeer(network.connect(place("m")).dialler, first.node_id, incarnation=first.incarnation)
        ending, calls = getattr(Connection, "finish" if what == "refused" else "close"), iter(range(100))

        def fail_once(connection: Connection, why: str) -> None:
            if next(calls) < 1:
                raise Planted("here")
            ending(connection, why)

        monkeypatch.setattr(Connection, ending.__name__, fail_once)
        with trio.fail_after(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.read_to_end)
                if what == "closed":
                    # Now it is the first one that is to be closed.
                    await second.reach(Authenticated)
                    second.session.link()
                await second.read_to_end()
        assert next(calls) >= 1


async def test_an_error_in_work_of_the_node_is_not_taken_for_one_of_the_connection_that_comes_to_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_pair(FakeNetwork()) as (a, b):
            port = a.port(lambda: a._runtime.dispatcher.queue.enqueue(Job(raise_planted), ()))  # type: ignore[arg-type]
            b.send(port)
            await trio.sleep(60)
    assert caught.group_contains(Planted)


async def test_a_death_is_told_though_an_error_comes_first(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What was to be done behind the error is not done, but for the monitors that are in no table any more."""
    async with open_pair(FakeNetwork()) as (a, b):
        port = b.port()
        told = Notices()
        monitor = a.monitor(port, told)
        peer = peer_of(a, "b")
        (taken,) = peer.association.outbox.monitors.pop(port.name)
        assert taken is monitor
        peer.execute([effects.Refuse("no such connection", ""), effects.Fire((monitor,), ("died",))])
        assert (await told.wait())[0] == "transport_error"
        assert len(errors_in(caplog)) == 1
        await until(lambda: a.peers)
