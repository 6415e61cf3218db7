"""Two walks through the package, counted: the functions and files that one message passes, and one lost connection.

    python -m benchmarks.walks [--list] [--plain]

A profile function notes each function of the package that is entered. The first walk is that of a message from one node
of this process to another, over a Unix socket that both have used before: from `node.send` until the handler is called.
The second walk is that of a lost connection: from the kill of another process until the callback of a monitor is
called. A function counts once, however often it is entered; a lambda or a comprehension belongs to the function around
it. The program prints the number of all calls too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import trio

import trio_mp
from trio_mp import Node, open_node

PACKAGE = Path(trio_mp.__file__).parent
SECRET = "a secret for a walk through"
ROUNDS = 20
"""How many messages are sent and answered before the walk begins."""

SETTINGS: dict[str, Any] = {"secret": SECRET, "heartbeat": 60.0, "connect_timeout": 200.0}
"""The settings of all nodes. The heartbeat is so long that none comes into a walk."""


class Walk:
    """Notes the functions of the package that are entered between `begin` and `end`.

    Attributes:
      calls: how often each function was entered, by its file and its name.
    """

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        path = Path(code.co_filename)
        if event == "call" and PACKAGE in path.parents and "<" not in code.co_name:
            self.calls[str(path.relative_to(PACKAGE)), code.co_qualname] += 1

    def begin(self) -> None:
        """Begin to note functions that are entered."""
        self.calls.clear()
        sys.setprofile(self._note)

    def end(self) -> None:
        """Stop noting functions."""
        sys.setprofile(None)

    def report(self, title: str, *, in_full: bool) -> None:
        """Print the counts."""
        files = {file for file, _ in self.calls}
        total = sum(self.calls.values())
        print(f"{title}: {len(self.calls)} functions in {len(files)} files ({total} calls)")
        if in_full:
            for (file, function), count in self.calls.items():
                print(f"    {file:40} {function}{f' x {count}' if count > 1 else ''}")


async def exchange(sender: Node, there: str) -> None:
    """Make calls to another node, so that all code has run once; then wait until both nodes are idle."""
    for _ in range(ROUNDS):
        await sender.call(there, "info")
    for _ in range(ROUNDS):
        await trio.sleep(0.01)


async def walk_message(*, plain: bool) -> Walk:
    """Walk from `node.send` to the handler."""
    walk, arrived = Walk(), trio.Event()

    def handle(text: str) -> None:
        if text == "counted":
            walk.end()
            arrived.set()

    with tempfile.TemporaryDirectory() as directory:
        address = f"unix:{directory}/node"
        async with (
            open_node("there", binds=[address], encryption=not plain, **SETTINGS) as there,
            open_node("here", seeds=[address], binds=[], encryption=not plain, **SETTINGS) as here,
        ):
            port = str(there.port(handle))
            here.send(port, "first")
            await exchange(here, "there")
            walk.begin()
            here.send(port, "counted")
            await arrived.wait()
    return walk


async def walk_loss(*, plain: bool) -> Walk:
    """Walk from the end of a connection, which the kernel reports, to the callback of a monitor."""
    walk, told = Walk(), trio.Event()

    def callback(*_: object) -> None:
        walk.end()
        told.set()

    with tempfile.TemporaryDirectory() as directory:
        address = f"unix:{directory}/node"
        command = [sys.executable, str(Path(__file__)), "--other", address, *(["--plain"] if plain else [])]
        async with open_node("here", binds=[address], encryption=not plain, **SETTINGS) as here:
            with subprocess.Popen(command) as other:  # noqa: ASYNC220 - it is only killed
                try:
                    await exchange(here, "there")
                    here.monitor("there", callback)
                    await exchange(here, "there")
                    walk.begin()
                finally:
                    other.kill()
                await told.wait()
    return walk


async def be_the_other(address: str, *, plain: bool) -> None:
    """Run the node of the other process."""
    async with open_node("there", seeds=[address], binds=[], encryption=not plain, **SETTINGS):
        await trio.sleep_forever()


async def main(*, in_full: bool, plain: bool) -> None:
    """Count both walks, and print them."""
    (await walk_message(plain=plain)).report("a message, from node.send to the handler", in_full=in_full)
    (await walk_loss(plain=plain)).report("a lost connection, to the monitor's callback", in_full=in_full)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the functions, in the order in which they come")
    parser.add_argument("--plain", action="store_true", help="without encryption")
    parser.add_argument("--other", metavar="ADDRESS", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.other:
        trio.run(lambda: be_the_other(given.other, plain=given.plain))
    else:
        trio.run(lambda: main(in_full=given.list, plain=given.plain))
