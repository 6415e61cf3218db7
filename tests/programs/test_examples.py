"""The programs in docs/examples, as processes: they find each other through one seed, and survive a server's death."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.lowlevel

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
LIMIT = 60.0


class Program:
    """One of the examples, running.

    Attributes:
      lines: what it has printed.
    """

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = trio.Event()

    async def read(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            self.lines += [line.decode() for line in lines]
            self._changed.set()
            self._changed = trio.Event()

    async def expect(self, pattern: str, after: int = 0) -> int:
        """Wait for a line; returns how many lines there are up to it."""
        while True:
            for index, line in enumerate(self.lines[after:], after):
                if re.search(pattern, line):
                    return index + 1
            await self._changed.wait()

    async def type(self, line: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(line.encode() + b"\n")

    async def end_of_input(self) -> int:
        """Type nothing more, and wait until it ends by itself."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        return await self.process.wait()


class Stage:
    """Runs examples in one network of Unix sockets."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.seed = f"unix:{directory / 'seed'}"
        self._nursery = nursery
        self._programs: list[Program] = []

    async def start(self, name: str, *arguments: str) -> Program:
        command = [sys.executable, "-P", str(EXAMPLES / f"{name}.py"), *(arguments or (self.seed,))]
        environment = {**os.environ, "SECRET": "a secret for the examples", "PYTHONUNBUFFERED": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(EXAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        program = Program(process)
        self._programs.append(program)
        self._nursery.start_soon(program.read)
        return program

    async def end(self) -> None:
        for program in self._programs:
            if program.process.returncode is None:
                program.process.kill()
                await program.process.wait()


@asynccontextmanager
async def a_stage(directory: Path) -> AsyncGenerator[Stage, None]:
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            stage = Stage(directory, nursery)
            try:
                await (await stage.start("seed_node")).expect("listening on")
                yield stage
            finally:
                with trio.CancelScope(shield=True):
                    await stage.end()
            nursery.cancel_scope.cancel()


async def test_senders_find_receivers(short_directory: Path) -> None:
    async with a_stage(short_directory) as stage:
        sender = await stage.start("sender", stage.seed, "0.05")
        one = await stage.start("receiver")
        await one.expect(r"^message \d+ from ")
        other = await stage.start("receiver")
        await other.expect(r"^message \d+ from ")
        one.process.kill()
        seen = len(other.lines)
        await other.expect(r"^message \d+ from ", seen + 3)
        numbers = [int(line.split()[1]) for line in other.lines]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert sender.process.returncode is None


async def test_the_chat_whose_server_is_killed(short_directory: Path) -> None:
    async with a_stage(short_directory) as stage:
        server = await stage.start("chat_server")
        anna = await stage.start("chat_client", stage.seed, "anna")
        await anna.expect(r"^\* anna has joined")
        bert = await stage.start("chat_client", stage.seed, "bert")
        await anna.expect(r"^\* bert has joined")
        await bert.expect(r"^\* bert has joined")
        await anna.type("hello")
        await bert.expect("^<anna> hello$")
        server.process.kill()
        seen = [await client.expect(r"^\* disconnected: transport_error") for client in (anna, bert)]
        await stage.start("chat_server")
        for client, lines in zip((anna, bert), seen, strict=True):
            await client.expect(r"^\* (anna|bert) has joined", lines)
        await anna.expect(r"^\* bert has joined|^\* anna has joined", seen[0])
        await trio.lowlevel.checkpoint()
        await bert.type("still there?")
        await bert.expect(r"^<bert> still there\?$", seen[1])
        assert await bert.end_of_input() == 0
        await anna.expect(r"^\* bert has left", seen[0])


async def test_the_chat_whose_server_moves_to_another_node(short_directory: Path) -> None:
    async with a_stage(short_directory) as stage:
        hosts = [await stage.start("chat_host", stage.seed, f"host-{number}") for number in (1, 2, 3)]
        await stage.start("chat_supervisor")
        anna = await stage.start("chat_client", stage.seed, "anna")
        await anna.expect(r"^\* anna has joined")
        bert = await stage.start("chat_client", stage.seed, "bert")
        await anna.expect(r"^\* bert has joined")
        await bert.expect(r"^\* bert has joined")
        (first,) = [host for host in hosts if host.lines]
        first.process.kill()
        seen = [await client.expect(r"^\* disconnected: transport_error") for client in (anna, bert)]
        for client, lines in zip((anna, bert), seen, strict=True):
            await client.expect(r"^\* (anna|bert) has joined", lines)
        await bert.type("still there?")
        await bert.expect(r"^<bert> still there\?$", seen[1])
        (second,) = [host for host in hosts if host.lines and host is not first]
        assert second.lines[0] != first.lines[0]


async def test_the_chat_with_bridge_heads_whose_server_is_killed(short_directory: Path) -> None:
    async with a_stage(short_directory) as stage:
        server = await stage.start("bridge_server")
        anna = await stage.start("bridge_client", stage.seed, "anna")
        await anna.expect(r"^\* anna has joined")
        bert = await stage.start("bridge_client", stage.seed, "bert")
        await anna.expect(r"^\* bert has joined")
        await bert.type("hello")
        await anna.expect("^<bert> hello$")
        # The client's side of the idiom: the server's bridge-head goes with it.
        bert.process.kill()
        await anna.expect(r"^\* bert has left")
        # The server's side of it.
        server.process.kill()
        seen = await anna.expect(r"^\* disconnected: transport_error")
        await stage.start("bridge_server")
        await anna.expect(r"^\* anna has joined", seen)
        await anna.type("alone")
        await anna.expect("^<anna> alone$", seen)
        assert await anna.end_of_input() == 0


async def test_a_service_on_every_node(short_directory: Path, tmp_path: Path) -> None:
    program = tmp_path / "member.py"
    program.write_text(
        "import os, sys, trio\n"
        "from trio_mp import open_node\n"
        "async def main():\n"
        "    async with open_node(sys.argv[2], seeds=[sys.argv[1]], secret=os.environ['SECRET'],\n"
        "                         spawn_modules=['everywhere']):\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    async with a_stage(short_directory) as stage:
        everywhere = await stage.start("everywhere")
        # The seed does not have the module, and says so.
        await everywhere.expect("^seed: spawn_failed")
        member = await stage.start(str(program.with_suffix("")), stage.seed, "member-1")
        await everywhere.expect(r"^member-1: \d+\.\d\d$")
        await stage.start(str(program.with_suffix("")), stage.seed, "member-2")
        await everywhere.expect(r"^member-2: \d+\.\d\d$")
        member.process.kill()
        # Its monitor may say so before: whether that or the seed's word comes first is a matter of chance.
        seen = await everywhere.expect("^member-1: gone")
        await stage.start(str(program.with_suffix("")), stage.seed, "member-1")
        await everywhere.expect(r"^member-1: \d+\.\d\d$", seen)
