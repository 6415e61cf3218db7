"""`trio-mp drain`, `stop` and `restart`: what they print, and their exit statuses."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from running_programs import SECRET

from trio_mp import Node, open_node, stop_on_signals
from trio_mp.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets, and signals")


class Desk:
    """Runs commands in a thread of this process, which is quicker than in a process of their own.

    Args:
      folder: of the seed's socket, and of the file with the secret.
      capsys: what they print.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        path = folder / "secret"
        path.write_text(f"{SECRET}\n", encoding="utf-8")
        path.chmod(0o600)
        self._joining = ("--seed", f"unix:{folder}/s", "--secret-file", str(path))

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Run a command until it ends. Returns its exit status, and its two outputs."""
        status = await trio.to_thread.run_sync(main, [*words, *self._joining])
        told = self._capsys.readouterr()
        return status, told.out, told.err


@pytest.fixture
async def desk(short_directory: Path, capsys: pytest.CaptureFixture[str]) -> AsyncGenerator[Desk, None]:
    with trio.fail_after(30):
        async with open_node("s", binds=[f"unix:{short_directory}/s"], secret=SECRET, profile=False):
            yield Desk(short_directory, capsys)


@asynccontextmanager
async def open_w1(folder: Path, **settings: str) -> AsyncGenerator[Node, None]:
    """A node w1 that has joined."""
    async with open_node(
        "w1",
        seeds=[f"unix:{folder}/s"],
        secret=SECRET,
        profile=False,
        inspect=settings.get("inspect", "act"),  # type: ignore[arg-type]
    ) as node:
        await node.wait_attached()
        yield node


async def test_a_node_drains(desk: Desk, short_directory: Path) -> None:
    async with open_w1(short_directory) as node:
        assert await desk.run("drain", "w1") == (0, "w1 has drained\n", "")
        assert node.draining.is_set()
        status, out, _ = await desk.run("drain", "w1", "--json")
        assert (status, json.loads(out)) == (0, {"node": "w1", "outcome": "drained", "unfinished": 0})


async def test_what_is_unfinished_is_a_no(desk: Desk, short_directory: Path) -> None:
    async with open_w1(short_directory) as node, node.open_port() as port:
        node.send(port, "nobody receives")
        status, out, err = await desk.run("drain", "w1")
        assert (status, err) == (1, "")
        first, last = out.splitlines()
        assert first.startswith(f"unfinished: {port}: 1 message waiting in its mailbox")
        assert last == "w1 has drained"


async def test_who_is_refused_and_who_is_not_there(desk: Desk, short_directory: Path) -> None:
    async with open_w1(short_directory, inspect="read") as node:
        for word in ("drain", "stop", "restart"):
            status, out, err = await desk.run(word, "w1")
            assert (status, out) == (4, "")
            assert "needs inspect='act' on w1" in err
        assert not node.draining.is_set()
        status, _, err = await desk.run("stop", "w2")
        assert (status, err) == (1, "trio-mp: there is no node w2 in the network; did you mean w1?\n")
    # Wrong words are told before anybody is dialled.
    status, _, err = await desk.run("drain", "w1#0000000000000000")
    assert (status, err) == (2, "trio-mp: expected the ID of a node, got that of a port, w1#0000000000000000\n")
    status, _, err = await desk.run("drain", "%")
    assert status == 2


async def run_w1(folder: Path, opened: Callable[[], object]) -> None:
    """A program that is started again as long as it asks for that."""
    status: object = 75
    while status == 75:
        status = 0
        try:
            async with open_w1(folder) as node, stop_on_signals(node):
                opened()
                await trio.sleep_forever()
        except SystemExit as left:
            status = left.code


async def test_a_program_is_stopped(desk: Desk, short_directory: Path) -> None:
    async with trio.open_nursery() as nursery:
        opened = trio.Event()
        nursery.start_soon(run_w1, short_directory, opened.set)
        await opened.wait()
        assert await desk.run("stop", "w1") == (0, "w1 has stopped\n", "")


async def test_a_program_is_started_again(desk: Desk, short_directory: Path) -> None:
    async with trio.open_nursery() as nursery:
        opened = trio.Event()
        nursery.start_soon(run_w1, short_directory, opened.set)
        await opened.wait()
        status, _, err = await desk.run("restart", "w1")
        assert status == 4
        assert "nobody is known who would start w1 again" in err
        assert await desk.run("restart", "w1", "--force") == (
            0,
            "w1 runs again\n",
            "trio-mp: w1 has stopped, and is awaited\n",
        )
        assert (await desk.run("stop", "w1"))[0] == 0
