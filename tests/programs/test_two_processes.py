"""Two programs, as processes of the operating system: what a user does, and what happens when one is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from network_helpers import SECRET, Inbox, Notices

from trio_mp import Node, PortDied, open_node

encrypted_or_not = pytest.mark.parametrize("encryption", [True, False], ids=["encrypted", "plain"])

RECEIVER = """
import sys
import trio
from trio_mp import open_node

async def main(bind, secret, encryption):
    async with open_node("receiver", binds=[bind], secret=secret, encryption=encryption == "True") as node:
        done = trio.Event()
        port = node.port()

        @port.on("test")
        def received(data):
            print("Ending with:", data, flush=True)
            done.set()

        @port.on("count")
        def count(number):
            print(number, flush=True)

        print(node.binds[0], port, flush=True)
        await done.wait()

trio.run(main, *sys.argv[1:])
"""

SENDER = """
import sys
import trio
from trio_mp import open_node

async def main(seed, secret, encryption, port):
    async with open_node(seeds=[seed], secret=secret, encryption=encryption == "True") as node:
        node.send(port, "test", 123)
        await node.flush(port)

trio.run(main, *sys.argv[1:])
"""

# Does what its standard input says, a line at a time, and says on its standard output when that is done.
PUPPET = """
import sys
import trio
from trio_mp import current_node, open_node, spawnable

@spawnable
def echo(port, *greeting):
    port.on("echo")(lambda reply_to, *rest: current_node().send(reply_to, *greeting, *rest))

async def main(secret, encryption, node_id, bind, seed):
    settings = {"binds": [bind]} if bind else {"seeds": [seed]}
    async with open_node(node_id, secret=secret, encryption=encryption == "True", **settings) as node:
        port = node.port()
        port.on("echo")(lambda *rest: node.send(rest[-1], *rest[:-1]))
        print(*node.binds, port, flush=True)
        while line := (await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)).split():
            if line[0] == "call":
                print(*await node.call(line[1], "echo", *line[2:]), flush=True)
            elif line[0] == "many":
                for number in range(int(line[2])):
                    node.send(line[1], number, b"x" * 1000)
                print("sent", flush=True)

trio.run(main, *sys.argv[1:])
"""


class Program:
    """A program in a process of its own."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._buffer = b""

    async def line(self) -> list[str]:
        """The words of the next line that it prints."""
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            data = await self.process.stdout.receive_some()
            assert data, "it ended without a word"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode().split()

    async def say(self, *words: object) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(" ".join(map(str, words)).encode() + b"\n")


@asynccontextmanager
async def running(source: str, *arguments: object) -> AsyncGenerator[Program, None]:
    """Run a program; it is killed if it has not ended at the end of the block."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-W", "error", "-c", source, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()


@asynccontextmanager
async def patience() -> AsyncGenerator[None, None]:
    """For a slow machine; nothing here waits for time to pass."""
    with trio.fail_after(30):
        yield


@encrypted_or_not
async def test_the_first_program_between_two_processes(bind: str, encryption: bool) -> None:
    async with patience(), running(RECEIVER, bind, SECRET, encryption) as receiver:
        address, port = await receiver.line()
        async with running(SENDER, address, SECRET, encryption, port) as sender:
            assert await receiver.line() == ["Ending", "with:", "123"]
            assert await sender.process.wait() == 0
        assert await receiver.process.wait() == 0


@encrypted_or_not
async def test_a_program_that_says_something_and_ends(bind: str, encryption: bool) -> None:
    """Without `flush`: what it said is said when its block is left."""
    source = SENDER.replace("await node.flush(port)", "pass")
    assert source != SENDER
    async with patience(), running(RECEIVER, bind, SECRET, encryption) as receiver:
        address, port = await receiver.line()
        async with running(source, address, SECRET, encryption, port) as sender:
            assert await receiver.line() == ["Ending", "with:", "123"]
            assert await sender.process.wait() == 0


@encrypted_or_not
async def test_killing_a_process_fires_the_monitor(bind: str, encryption: bool) -> None:
    async with (
        patience(),
        open_node("here", binds=[bind], secret=SECRET, encryption=encryption) as node,
        running(PUPPET, SECRET, encryption, "puppet", "", node.binds[0]) as puppet,
    ):
        (port,) = await puppet.line()
        assert await node.call(port, "echo", 1) == (1,)
        told, also_told = Notices(), Notices()
        node.monitor(port, told)
        node.monitor("puppet", also_told)
        assert await node.call(port, "echo", 2) == (2,)
        start = trio.current_time()
        puppet.process.kill()
        reason = await told.wait()
        assert trio.current_time() - start < 5, "at once, not after three heartbeats"
        assert reason[:2] == ("transport_error", "puppet")
        assert also_told.reasons == [reason]
        assert not node.peers


async def call_again(node: Node, port: str, *message: Any) -> tuple[Any, ...]:
    """Call, again and again as long as the other node seems to have gone: it is being started."""
    while True:
        try:
            return await node.call(port, *message)
        except PortDied as error:
            if error.reason[0] != "transport_error":
                raise


@encrypted_or_not
async def test_a_process_that_starts_again_takes_its_old_place(bind: str, encryption: bool) -> None:
    async with patience(), open_node("here", binds=[bind], secret=SECRET, encryption=encryption) as node:
        ports: list[str] = []
        for _ in range(3):
            async with running(PUPPET, SECRET, encryption, "puppet", "", node.binds[0]) as puppet:
                (port,) = await puppet.line()
                assert port not in ports
                assert await call_again(node, port, "echo", "hello") == ("hello",)
                for old in ports:
                    assert (await node.wait_death(old))[0] == "no_such_port"
                ports.append(port)
                puppet.process.kill()
                await puppet.process.wait()


@encrypted_or_not
async def test_a_seed_that_is_killed_and_starts_again(bind: str, encryption: bool) -> None:
    """Its socket, if it was a file, is left behind; the new one takes it over."""
    async with patience(), running(PUPPET, SECRET, encryption, "seed", bind, "") as seed:
        address, port = await seed.line()
        async with open_node("here", seeds=[address], secret=SECRET, encryption=encryption) as node:
            assert await node.call(port, "echo", 1) == (1,)
            told = Notices()
            node.monitor(port, told)
            await node.flush(port)
            seed.process.kill()
            assert (await told.wait())[:2] == ("transport_error", "seed")
            await seed.process.wait()
            async with running(PUPPET, SECRET, encryption, "seed", address, "") as again:
                _, new_port = await again.line()
                assert new_port != port
                assert await node.call(new_port, "echo", 2) == (2,)


@encrypted_or_not
async def test_a_call_from_over_there_and_a_spawn_in_its_main_program(bind: str, encryption: bool) -> None:
    async with (
        patience(),
        open_node("here", binds=[bind], secret=SECRET, encryption=encryption) as node,
        running(PUPPET, SECRET, encryption, "puppet", "", node.binds[0]) as puppet,
    ):
        await puppet.line()
        port = node.port()
        port.on("echo")(lambda *rest: node.send(rest[-1], *rest[:-1]))
        await puppet.say("call", port, "a", "b")
        assert await puppet.line() == ["a", "b"]
        spawned = node.spawn("puppet", "::echo", "greeting")
        inbox = Inbox(node)
        node.send(spawned, "echo", inbox.port, "rest")
        assert await inbox.wait(1) == [("greeting", "rest")]


@encrypted_or_not
async def test_ten_megabytes_and_the_end_of_the_program(bind: str, encryption: bool) -> None:
    """It leaves its block with most of them still queued; all of them arrive, in order."""
    async with (
        patience(),
        open_node("here", binds=[bind], secret=SECRET, encryption=encryption) as node,
        running(PUPPET, SECRET, encryption, "puppet", "", node.binds[0]) as puppet,
    ):
        await puppet.line()
        inbox = Inbox(node)
        await puppet.say("many", inbox.port, 10_000)
        await puppet.say()
        assert await puppet.line() == ["sent"]
        assert await puppet.process.wait() == 0
        await inbox.wait(10_000)
        assert [number for number, _ in inbox.messages] == list(range(10_000))


async def test_two_processes_that_disagree_about_encryption(bind: str) -> None:
    async with (
        patience(),
        open_node("here", binds=[bind], secret=SECRET, encryption=True, connect_timeout=2, heartbeat=0.5) as node,
        running(PUPPET, SECRET, False, "puppet", "", node.binds[0]) as puppet,
    ):
        (port,) = await puppet.line()
        assert (await node.wait_death(port))[:2] == ("transport_error", "puppet")
        assert not node.peers
