"""What a node does because others ask it to: bounded, and at no cost for its own program."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing
from network_helpers import (
    NO_PORT,
    FakeNetwork,
    Inbox,
    Notices,
    a_member,
    network_of,
    open_pair,
    open_test_node,
    peer_of,
    place,
    until,
    warnings_in,
)

from trio_mp import Node
from trio_mp._peers import errands
from trio_mp._peers.errands import AGAIN, SEARCHES
from trio_mp._peers.limited_log import BURST
from trio_mp._protocol.membership.messages import ADDRESS_LIMIT
from trio_mp._services.logs import _logger_of
from trio_mp._services.redialler import parse_addresses
from trio_mp._streams import service as streams
from trio_mp._streams.service import DIALS
from trio_mp._transport.addresses import Address
from trio_mp._transport.pipe import Pipe

MODULE = "network_helpers"


def searches_of(node: Node) -> set[str]:
    assert node._membership is not None
    return set(node._membership.search._seeking)


# Searches and dials ---------------------------------------------------------------------------------------------------


async def test_a_member_can_have_few_nodes_searched_for(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """By every request that names a port, or a node."""
    network = FakeNetwork()
    async with open_test_node(network, "a", spawn_modules=[MODULE]) as a, a_member(network, a) as raw:
        for number in range(300):
            port = f"x{number}#{NO_PORT}"
            await raw.send(
                ("", "info", port),
                ("", "time", port),
                ("", "snd", port, 1),
                ("", "spawn_linked", raw.name_to_spawn(number + 1), f"{MODULE}:installs_a_handler", port),
                ("", "kil", NO_PORT, port),
                ("", "mon1", NO_PORT),
                ("", "dial", "a", f"y{number}", [f"unix:/y/{number}"]),
                ("", "log", 0, port),
            )
        await trio.sleep(1)
        assert len(searches_of(a)) == SEARCHES
        assert len(network_of(a).peers) <= SEARCHES + 1
        lines = warnings_in(caplog)
        # One line for each kind, not for each message.
        assert sum("is not sent:" in line for line in lines) == 1
        assert sum("may link new ports to its own ports only" in line for line in lines) == 1
        assert len(lines) <= 6, lines
        # What this node wants itself is not in its way.
        async with open_test_node(network, "b", seeds=["a"]) as b:
            inbox = Inbox(b)
            a.send(inbox.port, "from its own program")
            await inbox.wait(1)
        # And when those have been given up, there is room again.
        await trio.sleep(100)
        assert not searches_of(a)
        await raw.send(("", "info", f"again#{NO_PORT}"))
        await trio.sleep(1)
        assert searches_of(a) == {"again"}


async def test_a_search_of_the_own_program_is_not_counted(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, a_member(network, a) as raw:
        for number in range(100):
            a.send(f"own{number}#{NO_PORT}", "hello")
        await raw.send(*(("", "info", f"x{number}#{NO_PORT}") for number in range(100)))
        await trio.sleep(1)
        assert len(searches_of(a)) == 100 + SEARCHES
        # What waits there already costs no search more.
        before = peer_of(a, "own0").association.outbox.queue.appended
        await raw.send(("", "info", f"own0#{NO_PORT}"))
        await until(lambda: peer_of(a, "own0").association.outbox.queue.appended == before + 1, 10)


async def test_a_spawn_that_is_to_be_tied_to_a_port_of_a_third_node_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", spawn_modules=[MODULE]) as a, a_member(network, a) as raw:
        name = raw.name_to_spawn(1)
        await raw.send(("", "spawn_linked", name, f"{MODULE}:installs_a_handler", f"third#{NO_PORT}"))
        # It is no hole: who has asked is told.
        (message,) = await raw.receive(1)
        assert message[:4] == ("", "kil0", name, "spawn_failed")
        assert "third" not in network_of(a).peers


async def test_a_member_cannot_speak_through_another_node(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer whose reply port is a node port would be a request there, in the name of who answers."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, open_test_node(network, "b", seeds=["a"]) as b:
        await until(lambda: a.peers == ("b",))
        inbox, told = Inbox(a), Notices()
        b.monitor(inbox.port, told)
        async with a_member(network, a) as raw:
            for target in ("b", "b#"):
                await raw.send(("", "info", target, "kil0", inbox.port.name))
            await raw.send(("", "time", f"0#{NO_PORT}"))
            await raw.receive(1)
        b.send(inbox.port, "still there")
        await inbox.wait(1)
        assert not told.reasons
        assert len([line for line in warnings_in(caplog) if "the node port of a third node" in line]) == 1


async def test_streams_that_others_cannot_dial_wait_for_each_other(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At no time are more connections made for a member than the limit; what finds no room in time is told."""

    class Counting(FakeNetwork):
        now = most = 0

        async def dial(self, address: Address) -> Pipe:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                return await super().dial(address)
            finally:
                self.now -= 1

    network = Counting()
    network.dialling = 4
    async with open_test_node(network, "a", spawn_modules=["stream_helpers"]) as a, a_member(network, a) as raw:
        assert a._membership is not None

        async def find(_: str) -> tuple[str, ...]:
            await trio.lowlevel.checkpoint()
            return (place("nobody"),)

        setattr(a._membership.search, "find_addresses", find)  # noqa: B010 - a method, for type checkers
        names = [raw.name_to_spawn(number + 1) for number in range(5 * DIALS)]
        for name in names:
            await raw.send(("", "stream", name, "t" * 16, "stream_helpers:echoes"), ("", "mon1", name))
        for name in names:
            await raw.send(("", "stream_dial", name))
        with trio.fail_after(60):
            while len([message for message in raw.received if message[1] == "kil0"]) < len(names):
                await raw.step()
        assert network.most == DIALS
        reasons = {str(message[4:]) for message in raw.received if message[1] == "kil0"}
        assert any("the limit" in reason for reason in reasons)
        assert any("nobody listens" in reason for reason in reasons)
        assert sum("no byte stream" in line for line in warnings_in(caplog)) == 1


def test_a_nodes_entry_may_have_any_number_of_addresses_and_few_are_dialled() -> None:
    assert len(parse_addresses(f"host{number}:1" for number in range(1000))) == ADDRESS_LIMIT


async def test_the_machine_is_not_asked_for_its_addresses_in_every_attempt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked = 0

    class Machine(FakeNetwork):
        def own_hosts(self) -> list[str]:
            nonlocal asked
            asked += 1
            return []

    network = Machine()
    async with open_test_node(network, "a") as a:
        for number in range(50):
            a.send(f"x{number}#{NO_PORT}", "hello")
        await trio.sleep(29)
        assert asked == 1
        a.send(f"y#{NO_PORT}", "hello")
        await trio.sleep(20)
        assert asked == 2


# Answers --------------------------------------------------------------------------------------------------------------


async def test_answers_that_nobody_reads_cost_the_own_program_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A member has answers sent to another node, which does not read: what this node sends there is not lost."""
    network = FakeNetwork()
    limit = 4 * 2**20
    async with (
        open_test_node(network, "a", queue_limit=limit, message_limit=limit // 4) as a,
        open_test_node(network, "b", seeds=["a"]) as b,
    ):
        await until(lambda: a.peers == ("b",))
        inbox, told = Inbox(b), Notices()
        a.monitor(inbox.port, told)
        wire = network.wire
        async with a_member(network, a) as raw:
            wire.stall()
            with trio.move_on_after(4):
                for _ in range(200):
                    await raw.send(*(("", "info", f"b#{NO_PORT}", "x" * 1000) for _ in range(100)))
            queue = peer_of(a, "b").association.outbox.queue
            await until(lambda: queue.size > limit // 16, 5)
            assert queue.size < limit // 4
            # The own program's questions, with the same reply, and its messages still go.
            for number in range(100):
                a.send("a", "info", inbox.port, number)
            wire.resume()
            await inbox.wait(100)
        assert inbox.messages == [(number, "a") for number in range(100)]
        assert not told.reasons
        (line,) = [line for line in warnings_in(caplog) if "the answer for b#" in line]
        assert "0:" in line
        assert "the limit" in line
        # When they have been read there is room again.
        assert not [line for line in warnings_in(caplog) if "dropped" in line]


async def test_there_is_room_for_answers_again_when_some_were_written(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "ANSWERS", 10)
    async with open_pair(FakeNetwork()) as (a, b):
        for number in range(200):
            assert await b.call(a.id, "info") == ("a",), number


# Lines in the log -----------------------------------------------------------------------------------------------------

NONSENSE = [
    ("", "nonsense", "x" * 100),
    ("", "db", "nonsense"),
    ("", "join", "nonsense"),
    ("", "log", "nonsense"),
    ("", "log", 0, f"0#{NO_PORT}"),
    ("", "snd", f"elsewhere#{NO_PORT}"),
    ("", "spawn", "another.1", "no:function"),
    ("", "info", f"a#{NO_PORT}", b"x"),
    ("", "info", f"z#{NO_PORT}"),
    ("", "kil0"),
]


@pytest.mark.parametrize("message", NONSENSE, ids=range(len(NONSENSE)))
async def test_what_makes_no_sense_is_logged_once_for_each_node(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, message: tuple[object, ...]
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", share_logs=False) as a, a_member(network, a) as raw:
        for _ in range(50):
            await raw.send(*[message] * 20)
        await raw.send(("", "time", f"0#{NO_PORT}"))
        await raw.receive(1)
        assert len(warnings_in(caplog)) <= 1
        assert all("0" in line for line in warnings_in(caplog))


async def test_spawns_that_fail_are_logged_once_for_each_node_and_all_told(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(FakeNetwork(), "a", "b") as (_, b):
        for number in range(20):
            assert (await b.wait_death(b.spawn("a", f"no.module:function{number}")))[0] == "spawn_failed"
        assert len(warnings_in(caplog)) == 1
        # This node's own are each a line, as they are its program's mistakes.
        caplog.clear()
        for _ in range(3):
            assert (await b.wait_death(b.spawn("b", "no.module:function")))[0] == "spawn_failed"
        assert len(warnings_in(caplog)) == 3


async def test_it_is_said_again_after_a_while_with_how_often_it_was(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, a_member(network, a) as raw:
        await raw.send(*[("", "nonsense")] * 5)
        await trio.sleep(AGAIN)
        await raw.send(("", "nonsense"))
        await until(lambda: len(warnings_in(caplog)) == 2, 5)
        assert "4 times more" in warnings_in(caplog)[1]


async def test_many_nodes_that_say_nonsense_cannot_fill_the_log(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who holds the secret may call itself anything."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        for number in range(200):
            async with a_member(network, a, f"0{number}") as raw:
                await raw.send(("", "nonsense"), ("", "time", f"0{number}#{NO_PORT}"))
                await raw.receive(1)
        assert 20 < len(warnings_in(caplog)) < 40


async def test_records_that_are_refused_are_said_once_for_each_node_and_counted(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever part of this node refuses, the same bound holds; and what was left out is told with the next line."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, open_test_node(network, "g", seeds=["a", "g"]) as g:
        await until(lambda: "g" in a.database._replica._globals)

        def lie(number: int) -> None:
            g.send("a", "db", "begin", False)
            g.send("a", "db", "record", f"x{number}", 1, "i" * 16, 2**33, 0)
            g.send("a", "db", "done")

        for number in range(100):
            lie(number)
        await g.flush("a")
        await trio.sleep(AGAIN)
        lie(100)
        await until(lambda: len(warnings_in(caplog)) >= 2, 5)
        first, second = warnings_in(caplog)
        assert first.startswith("g: this node refuses a record of x0 that was attached 8589934592 times")
        assert "a record of x100" in second
        assert second.endswith("(and 99 times more since this line was logged last)")


async def test_what_is_not_used_is_said_once_for_each_node_too(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever looks at all records, and not at warnings alone, must not be flooded either."""
    caplog.set_level(logging.INFO, "trio_mp")
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, a_member(network, a) as raw:
        for number in range(100):
            await raw.send(("", "db", "set", "x", number, "red", "k", 1))
        await raw.send(("", "time", f"0#{NO_PORT}"))
        await raw.receive(1)
        assert len([record for record in caplog.records if "this node ignores" in record.getMessage()]) == 1


async def test_one_bucket_holds_for_all_that_other_nodes_can_have_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty-five lines at once are for all kinds together: for requests, the database and the membership."""
    network = FakeNetwork()
    network.dialling = 5
    async with open_test_node(network, "a") as a, open_test_node(network, "g", seeds=["a", "g"]) as g:
        await until(lambda: "g" in a.database._replica._globals)
        for number in range(BURST):
            async with a_member(network, a, f"0{number}") as raw:
                await raw.send(("", "nonsense"), ("", "time", f"0{number}#{NO_PORT}"))
                await raw.receive(1)
        before = len(warnings_in(caplog))
        assert before >= BURST
        g.send("a", "db", "begin", False)
        g.send("a", "db", "record", "x", 1, "i" * 16, 2**33, 0)
        g.send("a", "db", "done")
        for number in range(100):
            g.send("a", "dial", "a", f"y{number}", [f"unix:/y/{number}"])
        await g.flush("a")
        await trio.sleep(0.1)
        assert len(warnings_in(caplog)) <= before + 1


def test_names_of_loggers_that_others_say_are_not_kept() -> None:
    known = logging.Logger.manager.loggerDict
    parent = logging.getLogger("of_this_test.parent")
    before = len(known)
    for number in range(1000):
        logger = _logger_of(f"of_this_test.parent.deeper.{number}")
        assert logger.parent is parent
        assert _logger_of(f"unheard_of_{number}").parent is logging.getLogger()
    assert len(known) == before
    assert _logger_of("of_this_test.parent") is parent
    # A name that only others lie below is no logger.
    assert _logger_of("of_this_test").parent is logging.getLogger()


def test_the_limits_are_those_of_the_documentation() -> None:
    assert SEARCHES == streams.DIALS == 16
