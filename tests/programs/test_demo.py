"""The demo: the verdict on planted holes, and the real thing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from trio_mp.cli.demo import scenario
from trio_mp.cli.demo.checker import ReportedLoss, Verdict, check
from trio_mp.cli.demo.crew import Crew, last_words
from trio_mp.cli.demo.journal import EntryKind, Journal, JournalEntry, JournalWriter, parse_journal, read_journal
from trio_mp.cli.demo.main import DemoOptions, run_demo
from trio_mp.cli.demo.relay import Cut, Relay
from trio_mp.cli.demo.talk import AllArrived, Assignment, Fired, LineDecoder, Ready, Report, encode_line

# The verdict ----------------------------------------------------------------------------------------------------------

SENDER, RECEIVER = "1", "2"
_SENDER_KINDS = {"m": EntryKind.BEGIN, "s": EntryKind.SEND, "f": EntryKind.END, "e": EntryKind.FINISHED}


def port_of(node: str, run: int, stream: int) -> str:
    """What the port for a stream is called."""
    return f"the port for stream {stream} of {node}-{run}"


def sender(script: str, *, node: str = SENDER, run: int = 0, stream: int = 1) -> Journal:
    """What a sender recorded: `m1` sets the monitor of epoch 1, `s4` sends 4, `f1` is told of a loss, `e` ends."""
    entries = [JournalEntry(EntryKind.OPEN, 0.0, RECEIVER, 0, stream, text=port_of(node, run, stream))]
    epoch = last = 0
    for word in script.split():
        kind, number = _SENDER_KINDS[word[0]], int(word[1:] or 0)
        if kind is EntryKind.FINISHED:
            entries.append(JournalEntry(kind, 0.0))
        elif kind is EntryKind.SEND:
            last = number
            entries.append(JournalEntry(kind, 0.0, RECEIVER, 0, stream, epoch, number, number))
        else:
            first, epoch = (last + 1, number) if kind is EntryKind.BEGIN else (0, epoch)
            entries.append(JournalEntry(kind, 0.0, RECEIVER, 0, stream, number, first))
    return Journal(node, run, tuple(entries))


def receiver(script: str, *, node: str = RECEIVER, run: int = 0, sender_run: int = 0, stream: int = 1) -> Journal:
    """What a receiver recorded: `2.5` is message 5, of epoch 2."""
    made = JournalEntry(EntryKind.MADE, 0.0, SENDER, sender_run, stream, text=port_of(SENDER, sender_run, stream))
    pairs = [tuple(map(int, word.split("."))) for word in script.split()]
    got = [
        JournalEntry(EntryKind.GOT, 0.0, SENDER, sender_run, stream, epoch, number, number) for epoch, number in pairs
    ]
    return Journal(node, run, (made, *got, JournalEntry(EntryKind.FINISHED, 0.0)))


def counts(verdict: Verdict) -> tuple[int, int, int, int, int]:
    return verdict.sent, verdict.delivered, verdict.reported, verdict.untold, verdict.unaccounted


@pytest.mark.parametrize(
    "sent, received, expected",
    [
        ("m1 e", "", (0, 0, 0, 0, 0)),
        ("m1 s1 s2 s3 e", "1.1 1.2 1.3", (3, 3, 0, 0, 0)),
        # Lost and told; what is sent under the next monitor arrives.
        ("m1 s1 s2 s3 f1 m2 s4 s5 e", "1.1 2.4 2.5", (5, 3, 2, 0, 0)),
        # A loss report says "may be lost": here nothing was.
        ("m1 s1 s2 f1 m2 s3 e", "1.1 1.2 2.3", (3, 3, 0, 0, 0)),
        # A whole epoch may be lost, and several in a row.
        ("m1 s1 f1 m2 s2 f2 m3 s3 e", "3.3", (3, 1, 2, 0, 0)),
        ("m1 s1 s2 f1 e", "", (2, 0, 2, 0, 0)),
        # The sender was killed: nobody knows whether the last one had left, and nobody was there to be told.
        ("m1 s1 s2 s3", "1.1 1.2 1.3", (3, 3, 0, 0, 0)),
        ("m1 s1 s2 s3", "1.1", (3, 1, 0, 2, 0)),
        ("m1 s1 f1 m2 s2 s3", "2.2", (3, 1, 1, 1, 0)),
    ],
)
def test_no_hole(sent: str, received: str, expected: tuple[int, ...]) -> None:
    verdict = check([sender(sent), receiver(received)])
    assert counts(verdict) == expected
    assert verdict.problems == []
    assert verdict.holds
    assert verdict.streams == 1


@pytest.mark.parametrize(
    "sent, received, problem",
    [
        # Missing, then a later one, and no report in between.
        ("m1 s1 s2 s3 e", "1.1 1.3", "a hole: 3 to 3 of epoch 1 arrived, and 2 did not"),
        # The report comes, but after the later one was sent.
        ("m1 s1 s2 s3 f1 m2 s4 e", "1.1 1.3 2.4", "a hole: 3 to 3 of epoch 1 arrived, and 2 did not"),
        ("m1 s1 s2 s3 f1 e", "1.2 1.3", "a hole: 2 to 2 of epoch 1 arrived, and 1 did not"),
        # A sender that was killed must not leave a hole either.
        ("m1 s1 s2 s3", "1.1 1.3", "a hole: 3 to 3 of epoch 1 arrived, and 2 did not"),
        # Lost, and never told.
        ("m1 s1 s2 s3 e", "1.1", "lost in silence: 2 of the 3 messages of epoch 1, from 2 on"),
        ("m1 s1 s2 e", "", "lost in silence: 2 of the 2 messages of epoch 1, from 1 on"),
        ("m1 s1 f1 m2 s2 e", "1.1", "lost in silence: 1 of the 1 messages of epoch 2, from 2 on"),
        # Order.
        ("m1 s1 s2 s3 e", "1.1 1.3 1.2", "2 to 2 of epoch 1 arrived after 3: twice, or out of order"),
        ("m1 s1 s2 f1 m2 s3 e", "1.1 2.3 1.2", "2 to 2 of epoch 1 arrived after something of epoch 2"),
        # Twice.
        ("m1 s1 s2 e", "1.1 1.2 1.2", "2 to 2 of epoch 1 arrived after 2: twice"),
        ("m1 s1 s2 e", "1.1 1.2 1.1", "1 to 1 of epoch 1 arrived after 2: twice"),
        # Out of nowhere, or not as it was sent.
        ("m1 s1 e", "1.1 1.2", "2 to 2 of epoch 1 arrived, and were not sent"),
        ("m1 s1 f1 m2 s2 e", "1.1 1.2 2.2", "2 to 2 of epoch 1 arrived, and were not sent"),
        # What the sender must not do, or the rest would prove nothing.
        ("m1 s1 f1 s2 e", "1.1 1.2", "epoch 1 is not the one whose monitor is set"),
        ("m1 s1 s1 e", "1.1 1.1", "1 is sent, not 2"),
        ("m1 s1 f2 e", "1.1", "epoch 2 is not the one whose monitor is set"),
        ("m1 m2 e", "", "an epoch begins in another"),
        ("m2 f2 m1 e", "", "epoch 2 begins with 1, not epoch 1"),
        ("m1 e s1", "1.1", "it sends after it has finished"),
    ],
)
def test_a_hole_is_found(sent: str, received: str, problem: str) -> None:
    verdict = check([sender(sent), receiver(received)])
    assert [text for text in verdict.problems if problem in text], verdict.problems
    assert not verdict.holds


def test_exactly_the_hole_is_found() -> None:
    verdict = check([sender("m1 s1 s2 s3 e"), receiver("1.1 1.3")])
    assert len(verdict.problems) == 2
    assert counts(verdict) == (3, 2, 0, 0, 1)


def test_a_port_is_never_used_again() -> None:
    """A message for a port of the receiver's earlier run must not reach anything in its later run."""
    earlier, later = receiver("1.1", run=0), receiver("2.3", run=1)
    verdict = check([sender("m1 s1 s2 f1 m2 s3 e"), earlier, later])
    assert [text for text in verdict.problems if "it arrived at 2-0 and at 2-1" in text]
    misdirected = Journal(
        RECEIVER, 1, (JournalEntry(EntryKind.WRONG, 0.0, SENDER, 0, 1, 1, 2, 2, "message 2 of another"),)
    )
    verdict = check([sender("m1 s1 s2 f1 e"), earlier, misdirected])
    assert verdict.problems == ["stream 1 of run 0 of node 1: it arrived at 2-0 and at 2-1"]
    assert not verdict.holds


def test_the_wrong_receiver() -> None:
    verdict = check([sender("m1 s1 e"), receiver("1.1", node="3")])
    assert "stream 1 of run 0 of node 1: it arrived at 3, not 2" in verdict.problems
    assert verdict.unaccounted == 1


def test_a_stream_that_nobody_sent() -> None:
    verdict = check([sender("m1 s1 e"), receiver("1.1"), receiver("1.1 1.2", node="3", stream=2)])
    assert verdict.problems == ["stream 2 of run 0 of node 1: it arrived, and nobody has sent it"]
    assert not verdict.holds


def test_streams_and_runs_are_told_apart() -> None:
    """A node that is started again sends the same numbers once more."""
    verdict = check(
        [
            sender("m1 s1 s2"),
            sender("m1 s1 s2 s3 e", run=1),
            sender("m1 s1 f1 e", node="3", stream=9),
            receiver("1.1"),
            receiver("1.1 1.2 1.3", sender_run=1),
        ]
    )
    assert counts(verdict) == (6, 4, 1, 1, 0)
    assert verdict.losses == [ReportedLoss(sender=3, receiver=int(RECEIVER), messages=1)]
    assert verdict.streams == 3
    assert verdict.holds


# The journals ---------------------------------------------------------------------------------------------------------

RECORDS = (
    JournalEntry(EntryKind.BEGIN, 1.5, "2", 0, 1, 1, 1),
    JournalEntry(EntryKind.SEND, 1.5, "2", 0, 70_000, 3, 4_000_000_000, 5_000_000_000),
)


def test_records_in_a_file(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal")
    for entry in RECORDS:
        writer.write(entry)
    # Read while the writer has it open: nothing waits in the process.
    assert read_journal("5", 1, tmp_path / "journal") == Journal("5", 1, RECORDS)
    writer.close()
    assert read_journal("5", 1, tmp_path / "none") == Journal("5", 1, ())


def test_a_torn_record_at_the_end_is_left_out() -> None:
    text = "".join(entry.line() for entry in RECORDS)
    assert parse_journal("5", 1, text).entries == RECORDS
    for cut in range(1, len(RECORDS[1].line()) + 1):
        assert parse_journal("5", 1, text[:-cut]).entries == RECORDS[:1]
    with pytest.raises(ValueError, match="EntryKind"):
        parse_journal("5", 1, text.replace("send", "sent"))


def test_lines_in_pieces() -> None:
    reports: list[Report] = [Ready(), Fired(1.5, 2, "transport_error"), AllArrived()]
    data = b"".join(encode_line(report) for report in reports)
    decoder = LineDecoder(Report)
    assert [found for index in range(len(data)) for found in decoder.feed(data[index : index + 1])] == reports


# The cut --------------------------------------------------------------------------------------------------------------


async def test_the_relay_forwards_and_cuts(short_directory: Path) -> None:
    target, path = str(short_directory / "target"), str(short_directory / "relay")
    arrived, into = trio.open_memory_channel[trio.SocketStream](10)
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(target)
    listening.listen()

    async def accept(stream: trio.SocketStream) -> None:
        await arrived.send(stream)
        await trio.sleep_forever()

    relay = Relay(path, target)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, accept, [trio.SocketListener(listening)])
        await nursery.start(relay.serve)
        for _ in range(2):
            dialled = await trio.open_unix_socket(path)
            other = await into.receive()
            await dialled.send_all(b"there")
            await other.send_all(b"back")
            assert [await other.receive_some(), await dialled.receive_some()] == [b"there", b"back"]

            async def send_more(one: trio.SocketStream = dialled, another: trio.SocketStream = other) -> None:
                await one.send_all(b"lost")
                await trio.sleep(0.2)
                await another.send_all(b"gone too")

            nursery.start_soon(send_more)
            cut = await relay.cut()
            assert cut.dropped == (4, 8)
            # Both ends hear of it at once, and get nothing of what was on its way.
            for stream in (dialled, other):
                with trio.fail_after(5):
                    assert await end_of(stream) == b""
                await stream.aclose()
        nursery.cancel_scope.cancel()


async def end_of(stream: trio.SocketStream) -> bytes:
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


async def test_the_relay_passes_an_ending_on(short_directory: Path) -> None:
    relay = Relay(str(short_directory / "relay"), str(short_directory / "nobody"))
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.serve)
        with trio.fail_after(5):
            async with await trio.open_unix_socket(relay.path) as stream:
                assert await end_of(stream) == b""
        nursery.cancel_scope.cancel()


# The real thing -------------------------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-P", "-m", "trio_mp.cli", "demo"]


def check_output(text: str, others: int) -> None:
    summed_up = re.findall(r"^  ([a-z ]+?) +([\d,]+)", text, re.MULTILINE)
    assert "✓ No hole" in text
    found = {name: int(count.replace(",", "")) for name, count in summed_up}
    assert found["unaccounted"] == 0
    assert found["sent"] == found["delivered"] + found["reported lost"] + found.get("sender gone", 0)
    assert found["delivered"] > 1000
    assert found["reported lost"] > 0
    assert re.search(r"cut seed – node-1: monitors fired in [\d.]+ and [\d.]+ ms; messages again in \d+ ms", text)
    assert re.search(rf"kill node-\d: monitors of all {others} others fired in [\d.]+ to [\d.]+ ms", text)
    assert re.search(r"restart node-\d: messages to and from all others again in \d+ ms", text)


@pytest.mark.parametrize("nodes", ["2", "4"])
def test_the_demo(nodes: str) -> None:
    started = time.monotonic()
    command = [*COMMAND, "--plain", "--nodes", nodes, "--seconds", "4"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    check_output(done.stdout, others=int(nodes))
    assert time.monotonic() - started < 20


def temporary_directories(process: int) -> set[Path]:
    """Those of the demo that this process runs. Others may run theirs at the same time."""
    return set(Path("/tmp").glob(f"trio-mp-{process}-*"))


def read_terminal(terminal: int, chunks: list[bytes]) -> None:
    try:
        while data := os.read(terminal, 65536):
            chunks.append(data)
    except OSError:
        # What Linux says when the other side has closed.
        pass


def run_on_terminal(command: list[str]) -> str:
    """What a command that succeeds shows on a terminal, escape sequences included."""
    terminal, inner = os.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    chunks: list[bytes] = []
    with subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=environment) as process:
        os.close(inner)
        reader = threading.Thread(target=read_terminal, args=(terminal, chunks))
        reader.start()
        assert process.wait(60) == 0
        reader.join()
    os.close(terminal)
    return b"".join(chunks).decode()


def test_the_demo_on_a_terminal() -> None:
    text = run_on_terminal([*COMMAND, "--nodes", "2", "--seconds", "3"])
    assert "✓ No hole" in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
    # Drawn again and again, with colours.
    assert text.count("median µs") > 5
    assert "\x1b[32m" in text


WITHOUT_RICH = """
import sys
sys.modules["rich"] = None
from trio_mp.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_demo_on_a_terminal_without_rich() -> None:
    text = run_on_terminal([sys.executable, "-P", "-c", WITHOUT_RICH, "demo", "--nodes", "2", "--seconds", "3"])
    assert text.startswith("Rich is not installed, so this shows lines; for a live picture: pip install 'trio-mp[cli]'")
    assert "\x1b" not in text
    check_output(text.replace("\r\n", "\n"), others=2)


def test_nobody_reads_the_demo() -> None:
    with subprocess.Popen([*COMMAND, "--nodes", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 1
        assert process.stderr.read() == b""
    assert not temporary_directories(process.pid)


def lines_until(lines: Iterable[str], wanted: str) -> None:
    for line in lines:
        if wanted in line:
            return
    pytest.fail(f"never said: {wanted}")


def test_an_interrupted_demo_leaves_nothing() -> None:
    command = [*COMMAND, "--plain", "--nodes", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        lines_until(process.stdout, "all nodes talk")
        assert temporary_directories(process.pid)
        process.send_signal(signal.SIGINT)
        assert "Interrupted" in process.stdout.read()
        assert process.wait(20) == 130
    assert not temporary_directories(process.pid)


def test_a_cut_that_does_not_happen_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def pretend(self: Relay) -> Cut:
        await trio.lowlevel.checkpoint()
        return Cut(time.monotonic(), (1, 1))

    monkeypatch.setattr(Relay, "cut", pretend)
    monkeypatch.setattr(scenario, "REPORT_SECONDS", 0.3)
    assert run_demo(DemoOptions(nodes=2, seconds=3, plain=True)) == 1
    text = capsys.readouterr().out
    assert "expected within 0.3 s: the monitors of both sides of the cut fire" in text
    assert "not everything happened" in text
    kept = re.search(r"kept in (\S+)", text)
    assert kept is not None
    assert sorted(path.name[:3] for path in Path(kept[1]).iterdir() if path.is_file()) == ["jou"] * 3 + ["log"] * 3
    shutil.rmtree(kept[1])


def test_a_worker_that_dies_is_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # An address at which nobody can listen.
    monkeypatch.setattr(Crew, "socket_path", lambda self, number: "/dev/null")
    assert run_demo(DemoOptions(nodes=2, seconds=3, plain=True)) == 1
    text = capsys.readouterr().out
    assert re.search(r"ended by itself, with status 1: .*cannot listen", text)
    for kept in temporary_directories(os.getpid()):
        shutil.rmtree(kept)


def test_last_words() -> None:
    assert last_words("Traceback\n    | OSError: no such thing\n    +--------\n\n") == "OSError: no such thing"
    assert last_words("") == "it said nothing"


def test_a_worker_ends_with_its_input(short_directory: Path) -> None:
    """As when the command was killed with SIGKILL."""
    assignment = Assignment(
        number=0,
        run=0,
        names=("seed", "node"),
        bind=f"unix:{short_directory}/0.sock",
        seeds=(),
        secret="a secret of enough bytes",
        journal=str(short_directory / "journal"),
        rate=100.0,
    )
    command = [sys.executable, "-P", "-m", "trio_mp.cli.demo.worker"]
    for order in (encode_line(assignment), b""):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if order:
                process.stdin.write(order)
                process.stdin.flush()
                assert LineDecoder(Report).feed(process.stdout.readline()) == [Ready()]
            process.stdin.close()
            assert process.wait(20) == 0
