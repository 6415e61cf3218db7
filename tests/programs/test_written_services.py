"""The programs of the pages about a job queue, a chat and a replicated service, while their processes are killed."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from doc_pages import files_of
from network_helpers import until
from running_programs import SECRET, Program, Stage, open_stage

from trio_mp import CallError, Group, open_node

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs use Unix sockets")


@asynccontextmanager
async def open_page(page: str, directory: Path) -> AsyncGenerator[Stage, None]:
    """A stage in a directory that holds the programs of a page."""
    for name, text in files_of(f"docs/{page}.md").items():
        (directory / name).write_text(text, encoding="utf-8")
    async with open_stage(directory) as stage:
        yield stage


async def killed(program: Program) -> None:
    program.process.kill()
    await program.process.wait()


async def first_to_print(programs: Sequence[Program], pattern: str) -> Program:
    """The first of these programs that prints such a line."""
    found: list[Program] = []
    async with trio.open_nursery() as nursery:

        async def look(program: Program) -> None:
            await program.expect(pattern)
            found.append(program)
            nursery.cancel_scope.cancel()

        for program in programs:
            nursery.start_soon(look, program)
    return found[0]


# The job queue -----------------------------------------------------------------------------------------------------


async def test_the_job_of_a_worker_that_is_killed_is_done_by_another(short_directory: Path) -> None:
    async with open_page("job-queue", short_directory) as stage:
        directory = stage.directory
        # The same worker, but it never ends the first job that it begins.
        text = (directory / "worker.py").read_text()
        endless = text.replace("    return sum(", "    import threading\n    threading.Event().wait()\n    return sum(")
        assert endless != text
        (directory / "endless.py").write_text(endless)
        await stage.run(directory / "hub.py")
        victim = await stage.run(directory / "endless.py")
        client = await stage.run(directory / "jobs.py")
        await victim.expect("^job 0$")
        others = [await stage.run(directory / "worker.py") for _ in range(2)]
        # They do all jobs but those that the victim has, and the client waits for these.
        async with trio.open_nursery() as nursery:
            for other in others:
                nursery.start_soon(other.expect, "^job ")
        assert client.lines == []
        await killed(victim)
        await client.expect("^100 jobs, 9592 primes$")
        assert await client.process.wait() == 0
        assert victim.lines == ["job 0"]
        done = [line for other in others for line in other.lines]
        assert sorted(done) == sorted(f"job {first}" for first in range(0, 100_000, 1000))


# The chat ----------------------------------------------------------------------------------------------------------


async def test_rooms_move_when_their_host_and_their_keeper_are_killed(short_directory: Path) -> None:
    async with open_page("chat", short_directory) as stage:
        directory = stage.directory
        await stage.run(directory / "hub.py")
        hosts = {name: await stage.run(directory / "host.py", name) for name in ("host-1", "host-2", "host-3")}
        clients = {nick: await stage.run(directory / "client.py", "lobby", nick) for nick in ("anna", "bert")}
        anna, bert = clients.values()
        await anna.expect(r"^\* the lobby is on host-")
        await bert.expect(r"^\* the lobby is on host-")

        def host_of(client: Program) -> str:
            return [line for line in client.lines if line.startswith("* the lobby is on ")][-1].split()[-1]

        async def kill_and_meet_again(name: str) -> None:
            seen = [len(client.lines) for client in clients.values()]
            await killed(hosts.pop(name))
            for client, lines in zip(clients.values(), seen, strict=True):
                lost = await client.expect(r"^\* lost the lobby: .* transport_error", lines)
                await client.expect(rf"^\* the lobby is on (?!{name}$)", lost)
            await bert.type("still there?")
            for client, lines in zip(clients.values(), seen, strict=True):
                await client.expect(r"^<bert> still there\?$", lines)

        await kill_and_meet_again(host_of(anna))
        keeper = await first_to_print(list(hosts.values()), "^keeping the rooms")
        # The lobby is at one of the two that are left; the keeper is one of them, and all rooms end with it.
        await kill_and_meet_again(next(name for name, program in hosts.items() if program is keeper))
        assert await bert.end_of_input() == 0
        await anna.expect(r"^\* bert has left$")


# The replicated service --------------------------------------------------------------------------------------------


async def put(writers: Group, key: str, value: str) -> int:
    return await writers.call("put", key, value, reply=int, again=True)


async def test_writers_are_killed_and_stopped_and_nothing_is_lost(short_directory: Path) -> None:
    async with open_page("replicated-service", short_directory) as stage:
        directory = stage.directory
        await stage.run(directory / "store.py")
        replicas = {name: await stage.run(directory / "replica.py", name) for name in "abc"}
        async with (
            open_node("client", seeds=[f"unix:{directory / 'store.sock'}"], secret=SECRET, heartbeat=1) as node,
            node.open_group("writers") as writers,
            node.open_group("replicas") as copies,
            node.open_group("stores") as store,
        ):
            assert await put(writers, "first", "1") == 1
            first = await first_to_print(list(replicas.values()), "writes in turn ")
            await killed(first)
            replicas = {name: program for name, program in replicas.items() if program is not first}
            assert await put(writers, "second", "2") >= 2
            second = await first_to_print(list(replicas.values()), "writes in turn ")
            (third,) = (program for program in replicas.values() if program is not second)

            # It stands still, and a message for it waits in its socket: it reads it when its turn is over.
            second.process.send_signal(signal.SIGSTOP)
            try:
                version = await put(writers, "third", "3")
                await third.expect("writes in turn ")
                number, *_ = await store.call("newest", reply=tuple[int, str, str])
                with pytest.raises(CallError, match="turn 1 of a is over"):
                    await store.call("write", [1, "a", ""], 99, "third", "wrong")
                assert number > 1
            finally:
                second.process.send_signal(signal.SIGCONT)

            # Both copies have all of it in the end, and the store says the same.
            await copies.wait(2)
            for port in copies.members:
                while (await node.call(port, "get", "third", reply=tuple[str | None, int]))[1] < version:  # noqa: ASYNC110
                    await trio.sleep(0.01)
                for key, value in (("first", "1"), ("second", "2"), ("third", "3")):
                    assert (await node.call(port, "get", key, reply=tuple[str, int]))[0] == value
            await until(lambda: len(writers) == 1, 10)
            version = await put(writers, "fourth", "4")
            (found, table) = await store.call("begin", [number + 100, "z", ""], reply=tuple[int, dict[str, str]])
            assert (found, table) == (version, {"first": "1", "second": "2", "third": "3", "fourth": "4"})
