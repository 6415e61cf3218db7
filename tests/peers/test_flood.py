"""A flood of strangers who say nothing disturbs nobody, and costs a bounded amount of memory."""

from __future__ import annotations

import contextlib
import resource
import ssl
import sys
import tracemalloc
from pathlib import Path

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Inbox, Notices, Wire, network_of, open_pair, open_test_node, place, warnings_in

from trio_mp import open_node
from trio_mp._peers.limited_log import BURST, SUMMARY
from trio_mp._transport.admission import SLOTS, SOURCE_SLOTS, Admission

SECONDS = 60
GREETING = b"aemp;1;x;hmac_sha256;msgpack;tls=1.0;incarnation=0123456789abcdef;limit=99999\n" + b"/" * 44 + b"\n"


@pytest.mark.exhaustive
@pytest.mark.parametrize("addresses", [1, 1000], ids=["from one address", "from many"])
async def test_ten_thousand_strangers_and_two_hundred_more_a_second(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, addresses: int
) -> None:
    """In virtual time; `python -m benchmarks.flood` does the same with processes and sockets."""
    network = FakeNetwork()
    wires: list[Wire] = []

    def connect() -> None:
        wire = network.connect(place("m"))
        number = len(wires) % addresses
        wire.listener.peer_address = f"192.0.{number // 256}.{number % 256}:{len(wires)}"
        wires.append(wire)

    async with open_pair(network, "m", "n", encryption=True) as (m, n):
        inbox, back, told = Inbox(m), Inbox(n), Notices()
        n.monitor(inbox.port, told)
        m.monitor(back.port, told)

        async def flood() -> None:
            for _ in range(10_000):
                connect()
                # A listener's own queue is bounded; whoever is not let in is refused.
                if len(wires) % 50 == 0:
                    await trio.lowlevel.checkpoint()
            for _ in range(SECONDS):
                for _ in range(200):
                    connect()
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            for number in range(SECONDS * 10):
                n.send(inbox.port, number)
                m.send(back.port, number)
                await trio.sleep(0.1)
                strangers = network_of(m)._strangers
                assert len(strangers) <= (SOURCE_SLOTS if addresses == 1 else SLOTS)
        expected = [(number,) for number in range(SECONDS * 10)]
        assert await inbox.wait(len(expected)) == expected
        assert await back.wait(len(expected)) == expected
        assert not told.reasons
        # A newcomer is let in, though perhaps not at once.
        async with open_test_node(network, "friend", seeds=["m"], encryption=True) as friend:
            with trio.fail_after(15):
                assert await friend.call("m", "info") == ("m",)
        assert sum(wire.open for wire in wires) <= SLOTS + 1
        await trio.sleep(SUMMARY)
        # A burst, one more every ten seconds, and a line a minute that counts the rest.
        assert 1 < len(warnings_in(caplog)) < BURST + 12
        assert any("more connections were refused" in line for line in warnings_in(caplog))
        assert not n.peers[1:]


@pytest.mark.parametrize("said", [b"", GREETING], ids=["silent", "greets"])
async def test_the_memory_that_a_stranger_costs(short_directory: Path, said: bytes) -> None:
    """With real sockets; they count in the kernel, everything else here."""
    address = f"unix:{short_directory / 'm'}"
    count = 500
    # However long a busy machine takes, no stranger's time is over before all of them are counted.
    async with (
        open_node("m", binds=[address], secret="0123456789abcdef", handshake_timeout=600) as m,
        contextlib.AsyncExitStack() as stack,
    ):
        # Below half of the slots nobody is refused at random.
        network_of(m)._strangers = Admission(slots=4 * count)
        strangers = []

        async def connect(number: int) -> None:
            for _ in range(number):
                stranger = stack.enter_context(trio.socket.socket(trio.socket.AF_UNIX))
                await stranger.connect(address.removeprefix("unix:"))
                await stranger.send(said)
                strangers.append(stranger)
            # When one of them is accepted is for the operating system to say.
            while len(network_of(m)._strangers) < len(strangers):
                await trio.testing.wait_all_tasks_blocked(0.01)
            await trio.testing.wait_all_tasks_blocked(0.01)

        await connect(10)
        tracemalloc.start()
        await connect(count)
        size, _ = tracemalloc.get_traced_memory()
        assert len(network_of(m)._strangers) == count + 10
        assert size / count < 16 * 1024


def beginning_of_tls() -> bytes:
    """What a stranger says who greets, and begins TLS as its client: who has the smaller nonce is that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return GREETING[:-45] + b"+" * 44 + b"\n" + outgoing.read()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process has now")
async def test_the_memory_that_a_stranger_costs_who_has_begun_tls(short_directory: Path) -> None:
    """OpenSSL's is not seen by tracemalloc, so it is all that the process takes; it was 60 KiB for each."""

    def memory() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()

    address = f"unix:{short_directory / 'm'}"
    count = 300
    async with (
        open_node("m", binds=[address], secret="0123456789abcdef", handshake_timeout=600) as m,
        contextlib.AsyncExitStack() as stack,
    ):
        network_of(m)._strangers = Admission(slots=4 * count)

        async def connect(number: int) -> None:
            for _ in range(number):
                stranger = stack.enter_context(trio.socket.socket(trio.socket.AF_UNIX))
                await stranger.connect(address.removeprefix("unix:"))
                await stranger.send(beginning_of_tls())
                greeted = b""
                while greeted.count(b"\n") < 2 or len(greeted) < 500:
                    # Its greeting, and then its part of TLS, with a certificate in it.
                    greeted += await stranger.recv(65536)

        await connect(20)
        before = memory()
        await connect(count)
        assert len(network_of(m)._strangers) == count + 20
        assert (memory() - before) / count < 100 * 1024
