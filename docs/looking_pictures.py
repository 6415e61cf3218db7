"""Draws the pictures of docs/looking.md from a real network: `python docs/looking_pictures.py`.

Ten nodes run as processes of this machine: two seeds, two shops that sell, and what works for them, with supervisors, a
service that dies now and then, a slow one, one process that stands still, and a node that nobody may look into. The
pictures are what `trio-mp top`, `trio-mp links` and `trio-mp ps orders --tree` print, by the functions that draw it
there. It needs Rich, and takes half a minute.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import trio
from rich.console import Console

from trio_mp import CallError, Node, Port, PortDied, open_node
from trio_mp.cli.look.asking import ask_all, nodes_now
from trio_mp.cli.look.board import TopBoard, draw_board
from trio_mp.cli.look.drawing import Line
from trio_mp.cli.look.links import network_of
from trio_mp.cli.look.live import as_text
from trio_mp.cli.look.network import draw_network
from trio_mp.cli.look.processes import draw_processes
from trio_mp.cli.look.top import measure

HERE = Path(__file__).resolve().parent
SECRET = "a secret for the pictures"
SETTLING = 12.0
"""For how long the network runs before anybody looks, in seconds."""

Task = trio.TaskStatus[None]


# What the nodes do -------------------------------------------------------------------------------------------------


async def answer(port: Port, node: Node, family: str, seconds: float, *, task_status: Task) -> None:
    """Answer calls, each after a while."""
    node.database.register(family, port)

    @port.on("do", reply=True)
    async def do(number: int) -> int:
        await trio.sleep(seconds)
        return number

    task_status.started()
    await trio.sleep_forever()


async def take_slowly(port: Port, node: Node, family: str, seconds: float, *, task_status: Task) -> None:
    """Take messages, each after a while: they may come faster than that."""
    node.database.register(family, port)
    task_status.started()
    async for _ in port:
        await trio.sleep(seconds)


async def print_invoices(port: Port, *, task_status: Task) -> None:
    """Die now and then."""
    task_status.started()
    await trio.sleep(2.5)
    raise OSError("the printer has no paper")


async def feed_printer(port: Port, *, task_status: Task) -> None:
    """Feed it on two trays."""
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(trio.sleep_forever)
        task_status.started()


async def sell(node: Node, number: int) -> None:
    """Send orders, mail and images, all the time."""
    async with node.open_group("orders") as orders, node.open_group("images") as images:
        await orders.wait()
        while True:
            try:
                await orders.call("do", number)
            except (PortDied, CallError):
                await trio.sleep(1)
            for port in await node.database.keys("mail"):
                node.send(port, "mail", number)
            for port in images.members:
                node.send(port, "resize", b"x" * 4000)


async def run_orders(node: Node) -> None:
    async with node.open_supervisor(name="orders", limit=1000) as orders:
        for _ in range(2):
            await orders.start(answer, node, "orders", 0.02)
        async with node.open_supervisor("rest_for_one", name="printing", limit=100, within=60) as printing:
            await printing.start(print_invoices)
            await printing.start(feed_printer)
            await trio.sleep_forever()


async def run_one(node: Node, function: Callable[..., Awaitable[None]], family: str, seconds: float) -> None:
    async with node.open_supervisor(name=family) as crew:
        await crew.start(function, node, family, seconds)
        await trio.sleep_forever()


async def run_nothing(_: Node) -> None:
    await trio.sleep_forever()


async def run_shop(node: Node) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(sell, node, number)


NODES: dict[str, Callable[[Node], Awaitable[None]]] = {
    "seed1": run_nothing,
    "seed2": run_nothing,
    "shop1": run_shop,
    "shop2": run_shop,
    "orders": run_orders,
    "stock": lambda node: run_one(node, answer, "stock", 0.01),
    "mail": lambda node: run_one(node, take_slowly, "mail", 0.02),
    "images1": lambda node: run_one(node, take_slowly, "images", 0.0001),
    "images2": lambda node: run_one(node, take_slowly, "images", 0.0001),
    "payments": run_nothing,
}


async def run_node(name: str) -> None:
    """Run one of the nodes."""
    seeds = ["unix:seed1.sock", "unix:seed2.sock"]
    binds = [f"unix:{name}.sock"]
    inspect: Literal["off", "act"] = "off" if name == "payments" else "act"
    async with open_node(name, binds=binds, seeds=seeds, secret=SECRET, inspect=inspect, profile=False) as node:
        await NODES[name](node)


# The pictures ------------------------------------------------------------------------------------------------------


def save(name: str, command: str, width: int, draw: Callable[[int], list[Line]]) -> None:
    """Write a picture of a terminal that is so wide, in characters."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=width, file=nowhere, force_terminal=True, highlight=False)
        for each in draw(width):
            console.print(as_text(each), soft_wrap=True)
        console.save_svg(str(HERE / f"{name}.svg"), title=command)


async def look(folder: Path, standing: subprocess.Popen[bytes]) -> None:
    """Join the network as a tool, and draw it."""
    async with AsyncExitStack() as stack:
        os.chdir(folder)
        node = await stack.enter_async_context(
            open_node(binds=(), seeds=["unix:seed1.sock"], secret=SECRET, tool=True, profile=False)
        )
        with trio.fail_after(60):
            while len(await nodes_now(node)) < len(NODES):
                await trio.sleep(0.1)
        await trio.sleep(SETTLING)
        board = TopBoard(node.id)
        await measure(node, board, 1)
        standing.send_signal(signal.SIGSTOP)
        await trio.sleep(1)
        await measure(node, board, 1)
        save("top", "trio-mp top", 84, lambda width: draw_board(board, "rate", width))
        answers = await ask_all(node, await nodes_now(node), lambda inspector: inspector.links(), 2)
        network = network_of(answers, {node.id})
        save("links", "trio-mp links", 92, lambda width: draw_network(network, width))
        standing.send_signal(signal.SIGCONT)
        inspector = node.inspect("orders")
        supervisors = await inspector.supervisors()
        while any(child.state != "up" for view in supervisors for child in view.children):
            await trio.sleep(0.1)
            supervisors = await inspector.supervisors()
        tasks = await inspector.tasks()
        save("ps", "trio-mp ps orders --tree", 120, lambda width: draw_processes(supervisors, tasks, width))


def main() -> None:
    """Start the network, draw it, and end it."""
    if len(sys.argv) > 1:
        trio.run(run_node, sys.argv[1])
        return
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        processes = {
            name: subprocess.Popen([sys.executable, str(Path(__file__).resolve()), name], cwd=folder) for name in NODES
        }
        try:
            trio.run(look, Path(folder), processes["images2"])
        finally:
            for process in processes.values():
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
