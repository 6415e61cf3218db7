"""The programs in docs/examples, as processes: they find each other through one seed, and survive a server's death."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.lowlevel
from running_programs import Program, Stage, open_stage

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


class ExamplesStage:
    """Runs examples in one network of Unix sockets."""

    def __init__(self, stage: Stage) -> None:
        self.seed = f"unix:{stage.directory / 'seed'}"
        self._stage = stage

    async def start(self, name: str, *arguments: str) -> Program:
        return await self._stage.run(EXAMPLES / f"{name}.py", *(arguments or (self.seed,)))


@asynccontextmanager
async def a_stage(directory: Path) -> AsyncGenerator[ExamplesStage, None]:
    async with open_stage(directory) as programs:
        stage = ExamplesStage(programs)
        await (await stage.start("seed_node")).expect("listening on")
        yield stage


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


async def open_supervised_chat(stage: ExamplesStage) -> tuple[dict[str, Program], Program, list[Program]]:
    """Three hosts by their names, a supervisor, and two clients that see each other."""
    hosts = {name: await stage.start("chat_host", stage.seed, name) for name in ("host-1", "host-2", "host-3")}
    supervisor = await stage.start("chat_supervisor")
    anna = await stage.start("chat_client", stage.seed, "anna")
    await anna.expect(r"^\* anna has joined")
    bert = await stage.start("chat_client", stage.seed, "bert")
    await anna.expect(r"^\* bert has joined")
    await bert.expect(r"^\* bert has joined")
    return hosts, supervisor, [anna, bert]


async def expect_both_again(clients: list[Program], seen: list[int]) -> None:
    """Wait until the clients of `open_supervised_chat` have a server again, and hear each other through it."""
    for nick, client, lines in zip(("anna", "bert"), clients, seen, strict=True):
        await client.expect(rf"^\* {nick} has joined", lines)
    await clients[1].type("still there?")
    for client, lines in zip(clients, seen, strict=True):
        await client.expect(r"^<bert> still there\?$", lines)


async def test_the_chat_whose_server_moves_to_another_node(short_directory: Path) -> None:
    async with a_stage(short_directory) as stage:
        hosts, supervisor, clients = await open_supervised_chat(stage)
        first = supervisor.lines[0].removeprefix("the server runs on ")
        hosts[first].process.kill()
        seen = [await client.expect(rf"^\* disconnected: transport_error {first}") for client in clients]
        told = await supervisor.expect(rf"^the server is lost: transport_error {first}")
        await supervisor.expect("^the server runs on (?!" + first + r"$)host-\d$", told)
        await expect_both_again(clients, seen)


async def test_the_supervised_chat_whose_supervisor_is_killed(short_directory: Path) -> None:
    async with a_stage(short_directory) as stage:
        hosts, supervisor, clients = await open_supervised_chat(stage)
        supervisor.process.kill()
        # The node of the server runs, but has ended the server: nobody supervises it any more.
        seen = [await client.expect(r"^\* disconnected: transport_error supervisor ") for client in clients]
        assert all(host.process.returncode is None for host in hosts.values())
        await (await stage.start("chat_supervisor")).expect("^the server runs on ")
        await expect_both_again(clients, seen)


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
