"""Processes that a node launches: the programs, and how tests launch them and find out that they are gone.

As a program, its first argument is the name of one of `PROGRAMS`. All of them open their node by `open_child_node`,
those that say so excepted.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import trio
from chaos.crew import environment

import trio_mp
from trio_mp._supervision.process_invitation import VARIABLE
from trio_mp._supervision.processes import ChildProcess, launch

SECRET = "the secret of nodes with children"
HEARTBEAT = 1.0
"""Of all nodes, in seconds: shorter ones are missed where many tests run at the same time."""

LIMIT = 25.0
"""Whatever a test does takes less, in seconds, however slow the machine is."""

PATIENCE = 10.0
"""How long what is left of a parent is waited for, in seconds."""

WITHIN = 2.0
"""In how many seconds nothing is left of the children of a parent that was killed."""

T = TypeVar("T")

PROGRAMS: dict[str, Callable[[], Awaitable[object]]] = {}


def program(function: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    PROGRAMS[function.__name__.removeprefix("be_")] = function
    return function


# Children -------------------------------------------------------------------------------------------------------------


@program
async def be_idle() -> None:
    async with trio_mp.open_child_node(heartbeat=HEARTBEAT):
        await trio.sleep_forever()


def answer(word: str, *rest: Any) -> None:
    node = trio_mp.current_node()
    match word:
        case "double":
            number, reply = rest
            node.send(reply, 2 * number)
        case "tell":
            (reply,) = rest
            files = [int(entry.name) for entry in Path("/dev/fd").iterdir() if entry.exists()]
            inheritable = [file for file in files if file > 2 and os.get_inheritable(file)]
            told = [os.getpid(), os.getpgid(0), sys.argv, dict(os.environ), sys.stdin.read(), inheritable]
            node.send(reply, *told)
        case "epoch":
            (reply,) = rest
            node.send(reply, trio_mp.current_epoch())
        case "raise":
            raise ValueError("as it was told")
        case "block":
            time.sleep(LIMIT)
        case _:
            raise AssertionError(word)


@program
async def be_server() -> None:
    """It listens at the addresses in its arguments, if there are some."""
    async with trio_mp.open_child_node(handler=answer, heartbeat=HEARTBEAT, binds=sys.argv[2:] or None):
        await trio.sleep_forever()


@program
async def be_stubborn() -> None:
    async with trio_mp.open_child_node(heartbeat=HEARTBEAT, shutdown_timeout=LIMIT):
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


@program
async def be_blocking() -> None:
    async with trio_mp.open_child_node(heartbeat=HEARTBEAT):
        time.sleep(LIMIT)  # noqa: ASYNC251 - the point of it


@program
async def be_lingering() -> None:
    """It leaves its node when it is told, and does not end."""
    async with trio_mp.open_child_node(heartbeat=HEARTBEAT):
        await trio.Event().wait()
    threading.Event().wait(LIMIT)


class SlowToGo:
    """It takes long to be torn down with its module, when the interpreter has stopped all threads but one."""

    def __del__(self) -> None:
        time.sleep(LIMIT)


@program
async def be_finalising() -> None:
    """It leaves its node when it is told, and takes long to end."""
    kept.append(SlowToGo())
    async with trio_mp.open_child_node(heartbeat=HEARTBEAT):
        await trio.Event().wait()


kept: list[SlowToGo] = []


@program
async def be_tidy() -> None:
    """It says in a file that it was asked to leave, and takes its time."""
    async with trio_mp.open_child_node(heartbeat=HEARTBEAT) as node:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.2)
            Path(sys.argv[2]).write_text(node.id)


@program
async def be_done() -> None:
    async with trio_mp.open_child_node():
        pass


@program
async def be_failing() -> None:
    async with trio_mp.open_child_node():
        sys.exit(7)


@program
async def be_dead_on_arrival() -> None:
    sys.exit(3)


@program
async def be_mute() -> None:
    """It never opens its node."""
    await trio.sleep(LIMIT)


@program
async def be_asking_twice() -> None:
    async with trio_mp.open_child_node(handler=answer):
        try:
            async with trio_mp.open_child_node():
                pass
        except RuntimeError:
            await trio.sleep_forever()


@program
async def be_wrong() -> None:
    async with trio_mp.open_child_node(secret="a secret of its own"):
        pass


@program
async def be_certified() -> None:
    chain, key, authority = sys.argv[2:]
    certificate = trio_mp.Certificate(chain, key, authority, verify_node_id=False)
    async with trio_mp.open_child_node(certificate=certificate, handler=answer):
        await trio.sleep_forever()


# Parents --------------------------------------------------------------------------------------------------------------


@program
async def be_parent() -> None:
    """A parent of such children as its arguments name; it says `up` when all are ready, and waits to be killed.

    A child that is called `forked` is no child: from then on a fork of the parent holds its ends of all pipes.
    """
    bind, *names = sys.argv[2:]
    async with trio_mp.open_node("parent", binds=[bind], secret=SECRET, heartbeat=5) as node:
        for name in names:
            if name == "forked":
                fork_idle()
            else:
                await launch_program(node, name)
        print("up", flush=True)
        await trio.sleep_forever()


def fork_idle() -> None:
    """Fork without executing anything, as `multiprocessing` does; the fork has no part in our output."""
    with warnings.catch_warnings():
        # Python 3.12 warns of forks where there are threads: this one only sleeps.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        Path(os.environ["FORKED"]).write_text(str(os.getpid()))
        time.sleep(LIMIT)
        os._exit(0)


# Who launches them ----------------------------------------------------------------------------------------------------


def command_of(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-P", "-W", "error", str(Path(__file__).resolve()), name, *map(str, arguments)]


async def launch_program(node: trio_mp.Node, name: str, *arguments: object, **options: Any) -> ChildProcess:
    options.setdefault("env", environment())
    return await launch(node._runtime, command_of(name, *arguments), **options)


@asynccontextmanager
async def open_parent(bind: str, node_id: str = "parent", **settings: Any) -> AsyncGenerator[trio_mp.Node, None]:
    """A node that can have children, within a time in which every test is over."""
    settings = {"secret": SECRET, "heartbeat": HEARTBEAT, "shutdown_timeout": 10.0, **settings}
    with trio.fail_after(LIMIT):
        async with trio_mp.open_node(node_id, binds=[bind], **settings) as node:
            yield node


@contextmanager
def started_parent(bind: str, *names: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A parent in a process of its own, with such children, all of which are ready. All that is left of it is killed.

    Its output is inherited by its children, so that has ended when they have, all of them.
    """
    with log.open("wb") as errors:
        env = environment() | {"FORKED": str(log.with_suffix(".pid"))}
        command = command_of("parent", bind, *names)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=env)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n", log.read_text()
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        forked = log.with_suffix(".pid")
        if forked.exists():
            os.kill(int(forked.read_text()), 9)


def seconds_until_gone(process: subprocess.Popen[bytes]) -> float:
    """Kill a parent; how long until nothing of its children is left, in seconds, or infinity if that takes for ever."""
    begun = time.monotonic()
    process.kill()
    assert process.stdout is not None
    # It ends with the last of those that have inherited it.
    readable, _, _ = select.select([process.stdout], [], [], PATIENCE)
    if not readable:
        return inf
    assert process.stdout.read() == b""
    return time.monotonic() - begun


def is_running(pid: int) -> bool:
    """Whether there is a process of this number that has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    """See the top of the file."""
    assert VARIABLE in os.environ or sys.argv[1] == "parent"
    trio.run(PROGRAMS[sys.argv[1]])


if __name__ == "__main__":
    main()
