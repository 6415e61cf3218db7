# ruff: noqa: PT012 - a chain breaks after some sends
"""A chain of four programs: the last one slows the first one down, and a death in the middle ends both sides."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import channel_process
import pytest
import trio
from chaos.crew import environment

from trio_mp import ChannelSender, PortDied, open_node

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets, SIGKILL")

BUFFER = 4
ITEM = bytes(100_000)
IN_THE_CHAIN = 3 * BUFFER + 3
"""What three channels hold, and the two programs between them; and one that was taken and not given back."""

MANY = 1500
GROWTH = 30 * 1024
"""How much a process may grow, in KiB, while it passes on five times as much."""


@asynccontextmanager
async def program(node_id: str, bind: str, *seeds: str) -> AsyncGenerator[trio.Process, None]:
    """A node in a process of its own."""
    command = [sys.executable, str(Path(channel_process.__file__)), node_id, bind, *seeds]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    )
    try:
        assert process.stdout is not None
        assert (await process.stdout.receive_some()).startswith(b"up")
        yield process
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


async def send_until_it_waits(send: ChannelSender[bytes], most: int = 10_000) -> int:
    """Send until the sender has waited for a second; returns how many items were sent."""
    sent = 0
    while sent < most:
        with trio.move_on_after(1) as scope:
            await send.send(ITEM)
            sent += 1
        if scope.cancelled_caught:
            break
    return sent


async def test_a_chain_of_four_programs(short_directory: Path) -> None:
    first = f"unix:{short_directory / 'a'}"
    with trio.fail_after(120):
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(
                open_node("a", binds=[first], secret=channel_process.SECRET, heartbeat=1)
            )
            processes = {
                name: await stack.enter_async_context(program(name, f"unix:{short_directory / name}", first))
                for name in ("b", "c", "d")
            }
            doors = {name: node.spawn(name, "channel_process:answers") for name in processes}
            relay = f"{channel_process.MODULE}:passes_on"
            async with node.open_channel("b", relay, BUFFER, "c", "d", buffer=BUFFER) as (send, _):
                sent = await send_until_it_waits(send)
                assert BUFFER <= sent <= IN_THE_CHAIN
                node.send(doors["d"], "take", 20)
                sent += await send_until_it_waits(send)
                assert 20 <= sent <= 20 + IN_THE_CHAIN
                before = {name: (await node.call(door, "memory"))[0] for name, door in doors.items()}
                node.send(doors["d"], "take", MANY)
                sent += await send_until_it_waits(send)
                assert 20 + MANY <= sent <= 20 + MANY + IN_THE_CHAIN
                for name, door in doors.items():
                    (memory,) = await node.call(door, "memory")
                    assert memory - before[name] < GROWTH, name
                processes["c"].kill()
                with pytest.raises(trio.BrokenResourceError) as caught:
                    while True:
                        await send.send(ITEM)
                assert isinstance(caught.value.__cause__, PortDied)
                # What has arrived is taken first.
                node.send(doors["d"], "take", 100)
                for name in ("b", "d"):
                    assert "transport_error" in str(await node.call(doors[name], "said"))
