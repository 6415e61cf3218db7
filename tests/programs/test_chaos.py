"""Real processes under chaos (`PYTHONPATH=tests python -m chaos`): its oracle, its files, and one short run."""

from __future__ import annotations

import contextlib
import json
import random
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import trio
import trio.testing
from chaos.campaign import Campaign, Plan, excerpt, read_journals
from chaos.crew import Member, Unexpected, environment
from chaos.process import Order
from chaos.proxy import Proxy

from trio_mp.cli.demo.journal import EntryKind, Journal, JournalEntry, JournalWriter, parse_journal, parse_line
from trio_mp.cli.demo.oracle import check

PORT = "hub#abc.1"

# The oracle ---------------------------------------------------------------------------------------------------------


def sender(*lines: str, finished: bool = True, node: str = "alpha", run: int = 0) -> Journal:
    """A sender with a stream to the hub; `lines` are those of `parse_line`, without time, peer and run."""
    entries = [JournalEntry(EntryKind.OPEN, 0.0, "hub", 0, 1, text=PORT)]
    for line in lines:
        kind, epoch, first, last, *reason = line.split()
        entries.append(
            JournalEntry(EntryKind(kind), 0.0, "hub", 0, 1, int(epoch), int(first), int(last), " ".join(reason))
        )
    if finished:
        entries.append(JournalEntry(EntryKind.FINISHED, 0.0))
    return Journal(node, run, tuple(entries))


def receiver(*ranges: tuple[int, int, int], node: str = "hub", run: int = 0, port: str = PORT) -> Journal:
    """A receiver of that stream; `ranges` are epoch, first and last."""
    made = JournalEntry(EntryKind.MADE, 0.0, "alpha", 0, 1, text=port)
    got = (JournalEntry(EntryKind.GOT, 0.0, "alpha", 0, 1, *of_epoch) for of_epoch in ranges)
    return Journal(node, run, (made, *got))


ONE_EPOCH = ("begin 1 1 0", "send 1 1 10", "send 1 11 20")
TWO_EPOCHS = (*ONE_EPOCH, "end 1 0 0 transport_error hub reset", "begin 2 21 0", "send 2 21 30")


def problems(*journals: Journal) -> str:
    """Everything that the oracle says; and its excerpts name lines that there are."""
    findings = check(journals)
    by_name = {journal.name: journal for journal in journals}
    for violation in findings.violations:
        assert any(line.startswith("  > ") for line in excerpt(violation, by_name))
    return "\n".join(violation.text for violation in findings.violations)


def test_what_may_be() -> None:
    assert not problems(sender(*ONE_EPOCH), receiver((1, 1, 20)))
    assert not problems(sender(*ONE_EPOCH), receiver((1, 1, 7), (1, 8, 20)))
    for late in range(21):
        for later in range(20, 31):
            ranges = [(1, 1, late), (2, 21, later)]
            arrived = receiver(*(one for one in ranges if one[2] >= one[1]))
            findings = check([sender(*TWO_EPOCHS, "end 2 0 0"), arrived])
            assert not findings.violations
            assert (findings.sent, findings.delivered, findings.reported) == (30, late + later - 20, 50 - late - later)
            assert (findings.untold, findings.silent, findings.streams, findings.epochs) == (0, 0, 1, 2)
            assert findings.reasons == {"transport_error": 1, "normal": 1}


def test_the_first_epoch_may_arrive_late_but_before_anything_of_the_second() -> None:
    assert not problems(sender(*TWO_EPOCHS), receiver((1, 1, 3), (1, 4, 20), (2, 21, 30)))
    assert "after something of epoch 2" in problems(sender(*TWO_EPOCHS), receiver((1, 1, 3), (2, 21, 30), (1, 4, 20)))
    # Nothing of the second is missing, and nothing came twice: that alone is what is wrong.
    assert "after something of epoch 2" in problems(sender(*TWO_EPOCHS), receiver((2, 21, 30), (1, 1, 1)))


@pytest.mark.parametrize("ranges", [((1, 1, 5), (1, 5, 20)), ((1, 1, 20), (1, 20, 20)), ((1, 1, 20), (1, 1, 20))])
def test_twice(ranges: tuple[tuple[int, int, int], ...]) -> None:
    assert "twice, or out of order" in problems(sender(*ONE_EPOCH), receiver(*ranges))


def test_out_of_order() -> None:
    assert "out of order" in problems(sender(*ONE_EPOCH), receiver((1, 1, 5), (1, 11, 20), (1, 6, 10)))


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("finished", [False, True])
def test_a_hole_is_one_whatever_became_of_the_sender(ended: bool, finished: bool) -> None:
    """Told afterwards is too late, if something was delivered behind the loss."""
    lines = [*ONE_EPOCH, *(["end 1 0 0 transport_error"] if ended else [])]
    assert "a hole: 7 to 9" in problems(sender(*lines, finished=finished), receiver((1, 1, 5), (1, 7, 9)))
    assert "a hole: 2 to 20" in problems(sender(*lines, finished=finished), receiver((1, 2, 20)))


def test_a_hole_at_the_beginning_of_the_second_epoch() -> None:
    assert "a hole: 22 to 30 of epoch 2 arrived, and 21" in problems(sender(*TWO_EPOCHS), receiver((2, 22, 30)))


@pytest.mark.parametrize("wrong", [(1, 21, 22), (2, 20, 21), (2, 30, 31), (3, 31, 31), (1, 0, 5)])
def test_something_that_was_not_sent(wrong: tuple[int, int, int]) -> None:
    assert "were not sent in it" in problems(sender(*TWO_EPOCHS), receiver(wrong))
    assert "were not sent in it" in problems(sender(*TWO_EPOCHS, finished=False), receiver(wrong))


def test_something_from_a_stream_that_nobody_has_opened() -> None:
    assert "nobody has sent it" in problems(Journal("alpha", 0, ()), receiver((1, 1, 1)))
    assert "nobody has sent it" in problems(sender(*ONE_EPOCH, run=1, finished=False), receiver((1, 1, 1)))
    # A sender that was killed when its request for a port was out.
    assert not problems(Journal("alpha", 0, ()), receiver())


def test_lost_in_silence() -> None:
    silent = [sender(*ONE_EPOCH), receiver((1, 1, 5))]
    assert "lost in silence: 15 of the 20" in problems(*silent)
    assert check(silent).silent == 15
    assert "lost in silence: 20 of the 20" in problems(sender(*ONE_EPOCH))
    told_of_the_first_only = (sender(*TWO_EPOCHS), receiver((1, 1, 20), (2, 21, 29)))
    assert "lost in silence: 1 of the 10 messages of epoch 2" in problems(*told_of_the_first_only)


def test_a_killed_sender_was_told_nothing() -> None:
    """What it recorded and had no time to send, too."""
    findings = check([sender(*TWO_EPOCHS, finished=False), receiver((1, 1, 5), (2, 21, 23))])
    assert not findings.violations
    assert (findings.reported, findings.untold, findings.silent) == (15, 7, 0)


def test_two_receivers() -> None:
    text = problems(sender(*TWO_EPOCHS), receiver((1, 1, 20)), receiver((2, 21, 30), run=1, port="hub#def.1"))
    assert "arrived at hub-0 and at hub-1" in text
    assert "arrived at mike, not hub" in problems(sender(*ONE_EPOCH), receiver((1, 1, 20), node="mike"))


def test_ports() -> None:
    other = Journal("hub", 1, (JournalEntry(EntryKind.MADE, 0.0, "mike", 0, 1, text=PORT),))
    assert "is there already" in problems(sender(*ONE_EPOCH), receiver((1, 1, 20)), other)
    assert "its port is hub#xyz.1" in problems(sender(*ONE_EPOCH), receiver((1, 1, 20), port="hub#xyz.1"))
    wrong = Journal("hub", 0, (JournalEntry(EntryKind.WRONG, 0.0, "alpha", 0, 1, 1, 5, 5, "5 of epoch 1 of another"),))
    assert "of another" in problems(sender(*ONE_EPOCH, "end 1 0 0"), wrong)


@pytest.mark.parametrize(
    "lines",
    [
        (*ONE_EPOCH, "send 1 22 23"),
        (*ONE_EPOCH, "send 2 21 23"),
        (*ONE_EPOCH, "begin 2 21 0"),
        (*ONE_EPOCH, "end 1 0 0", "end 1 0 0"),
        (*ONE_EPOCH, "end 1 0 0", "send 1 21 22"),
        (*ONE_EPOCH, "end 1 0 0", "begin 3 21 0"),
        (*TWO_EPOCHS, "end 1 0 0"),
    ],
)
def test_a_sender_that_contradicts_itself(lines: tuple[str, ...]) -> None:
    """Above all a monitor that fires twice, or another than the one that is set."""
    assert "a broken journal" in problems(sender(*lines, finished=False))


def test_a_sender_that_goes_on_after_its_end() -> None:
    journal = sender(*ONE_EPOCH)
    late = JournalEntry(EntryKind.SEND, 0.0, "hub", 0, 1, 1, 21, 21)
    assert "after it has finished" in problems(Journal("alpha", 0, (*journal.entries, late)), receiver((1, 1, 20)))
    unopened = Journal("alpha", 0, (JournalEntry(EntryKind.BEGIN, 0.0, "hub", 0, 7, 1, 1),))
    assert "it was not opened" in problems(unopened)


def test_every_deletion_and_every_exchange_of_deliveries_is_seen_unless_it_is_no_loss() -> None:
    """Single messages of two epochs, in every order of two exchanged, and without each: nothing else is in order."""
    right = [(1, number, number) for number in range(1, 21)] + [(2, number, number) for number in range(21, 31)]
    assert not problems(sender(*TWO_EPOCHS), receiver(*right))
    for one in range(30):
        # The last of the first epoch may be missing: it is over. Of the second, which is not, none.
        assert bool(problems(sender(*TWO_EPOCHS), receiver(*right[:one], *right[one + 1 :]))) == (one != 19)
        for other in range(one):
            exchanged = list(right)
            exchanged[one], exchanged[other] = right[other], right[one]
            assert problems(sender(*TWO_EPOCHS), receiver(*exchanged))


# The files ----------------------------------------------------------------------------------------------------------


def test_journals_and_their_files(tmp_path: Path) -> None:
    entries = [
        JournalEntry(EntryKind.OPEN, 1.5, "hub", 0, 1, text=PORT),
        JournalEntry(EntryKind.BEGIN, 1.5, "hub", 0, 1, 1, 1),
        JournalEntry(EntryKind.END, 2.25, "hub", 0, 1, 1, text="transport_error hub a text  with\nmuch in it"),
        JournalEntry(EntryKind.FINISHED, 3.0),
    ]
    writer = JournalWriter(tmp_path / "a-b-3.journal")
    writer.write(*entries[:2])
    writer.write(*entries[2:])
    writer.close()
    (journal,) = read_journals(tmp_path)
    assert (journal.node, journal.run, journal.name) == ("a-b", 3, "a-b-3")
    assert list(journal.entries[:2]) == entries[:2]
    assert journal.entries[2].text == "transport_error hub a text with much in it"
    assert journal.entries[3] == entries[3]
    text = (tmp_path / "a-b-3.journal").read_text()
    for size in range(len(text)):
        assert len(parse_journal("a-b", 3, text[:size]).entries) == text[:size].count("\n")
    with pytest.raises(ValueError, match="sent"):
        parse_line("sent 1.0 hub 0 1 1 1 0 ")
    with pytest.raises(FileExistsError):
        JournalWriter(tmp_path / "a-b-3.journal")


# Real processes -----------------------------------------------------------------------------------------------------

posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP, Unix sockets")


@posix
async def test_a_process_that_ends_by_itself_or_complains_is_a_violation(short_directory: Path) -> None:
    order = Order("hub", 0, ["unix:/nowhere/at/all"], [], [], "short", True, 0.5, "1", str(short_directory))
    member = Member(order, environment())
    async with trio.open_nursery() as nursery:
        with trio.fail_after(60), pytest.raises(Unexpected, match=r"hub-0 ended with 1 instead of saying 'ready'"):
            await member.start(nursery)
        with pytest.raises(Unexpected, match="ended by itself"):
            await member.kill()
    await member.reap()
    campaign = Campaign(Plan(1, 1, "unix", True, 0.5), short_directory)
    (problem,) = campaign.read_logs()
    assert "hub-0 has " in problem
    assert "ConfigurationError" in problem
    assert json.loads(json.dumps(asdict(order))) == asdict(order)


@posix
async def test_a_proxy_forwards_and_does_what_is_done_to_it(short_directory: Path) -> None:
    resets: list[trio.BrokenResourceError] = []

    async def echo(stream: trio.SocketStream) -> None:
        try:
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError as error:
            resets.append(error)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, echo, listeners)
        proxy = Proxy("it", random.Random(1))
        await nursery.start(proxy.serve, short_directory / "p")
        proxy.target = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"

        async def said(stream: trio.SocketStream, data: bytes) -> None:
            await stream.send_all(data)
            received = b""
            while len(received) < len(data):
                received += await stream.receive_some()
            assert received == data

        with trio.fail_after(60):
            async with await trio.open_unix_socket(str(short_directory / "p")) as stream:
                await said(stream, b"hello")
                (channel,) = proxy.channels
                for way in channel.ways:
                    way.pieces, way.until = 3, trio.current_time() + 1000
                await said(stream, bytes(range(100)))
                channel.ways[1].gate = trio.Event()
                await stream.send_all(b"later")
                with trio.move_on_after(0.2) as scope:
                    await stream.receive_some()
                assert scope.cancelled_caught
                channel.ways[1].gate.set()
                assert await stream.receive_some()
                channel.reset()
                # A reset there; here an end, or a reset, as the kind of socket has it.
                with contextlib.suppress(trio.BrokenResourceError):
                    while await stream.receive_some():
                        pass
                while proxy.channels or not resets:
                    await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()


@pytest.mark.exhaustive
@posix
async def test_eight_seconds_of_chaos(short_directory: Path) -> None:
    plan = Plan(seconds=8, seed=1, kind="unix", encryption=True, heartbeat=0.4)
    outcome = await Campaign(plan, short_directory).run()
    assert outcome.holds, outcome.table() + "\n" + outcome.limited_log()
    assert outcome.findings.delivered > 1000
    assert outcome.findings.silent == 0
    assert sum(outcome.diary.counts.values()) >= 3, "little was done"
    assert "violations         0" in outcome.table()
