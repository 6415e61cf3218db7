"""An error of this program in the work for one connection ends that connection, and neither the node nor the promise.

An exception is planted at each line that the work for a connection reaches, one at a time, while two nodes talk under
the oracle. Whatever line it is: both nodes live, one error is logged with its traceback, nothing is lost in silence,
and the two talk again.
"""

from __future__ import annotations

import functools
import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import relay_helpers
import trio
import trio.testing
from error_planter import Line, Planted, Planter
from network_helpers import FakeNetwork, Notices, open_test_node, place, until
from relay_helpers import Ledger

from trio_mp import Node
from trio_mp.testing._scheduler import deterministic_scheduling

CORE = (*(f"_protocol/association/{name}.py" for name in ("association", "outbox", "queue")), "_peers/peer.py")
"""What decides, and does what was decided: errors in it are losses of the association."""

AROUND = (
    *("_peers/connection.py", "_peers/reader.py", "_peers/writer.py", "_peers/watchers.py", "_peers/probe.py"),
    "_peers/node_port.py",
    *("_protocol/handshake/session.py", "_protocol/handshake/handshake.py", "_protocol/wire/framing.py"),
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
    setattr(membership, "find_addresses", find)  # noqa: B010 - a method, for type checkers


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
        *("Outbox._adapt", "OutgoingQueue.adapt", "_concerns", "Peer.act", "Peer.execute", "Peer._do", "Peer._lost"),
        *("Peer._fire_loss", "Peer._went_up", "Peer._went_down"),
    }
)
"""Where an error that ended the connection alone would be a silent hole."""

each_order = pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())


@each_order
def test_an_error_at_any_line_of_the_heart_of_it(names: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    lines = reached(meet_and_part, CORE, names)
    places = [(line, 1) for line in lines if line.function in HEART]
    assert len(places) > 60
    assert not try_lines(meet_and_part, places, names, caplog)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(8))
@each_order
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.__name__ for scenario in SCENARIOS])
def test_an_error_at_any_line(
    scenario: Scenario, names: tuple[str, str], part: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The first time that each line is reached, and the last."""
    lines = reached(scenario, CORE + AROUND, names)
    places = [(line, occurrence) for line, count in lines.items() for occurrence in sorted({1, count})]
    assert len(places) > 700
    assert not try_lines(scenario, places[part::8], names, caplog)
