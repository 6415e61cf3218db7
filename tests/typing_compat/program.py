"""A program of someone who uses trio-typing. It is type-checked with trio-typing's plugin and stubs, and never run."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio
from mypy_extensions import VarArg
from trio_typing import Nursery, TaskStatus, takes_callable_and_args

from trio_mp import Node, Port, PortDied, current_node, current_port, node_of, open_node, spawnable

T = TypeVar("T")


@takes_callable_and_args
async def patiently(seconds: float, function: Callable[[VarArg()], Awaitable[T]], *args: Any) -> T:
    with trio.fail_after(seconds):
        return await function(*args)


async def greeter(port: Port, name: str, times: int) -> None:
    async for message in port:
        tag, *rest = message
        print(name, times, tag, rest)
    with trio.move_on_after(1):
        answer = await port.receive("answer")
        print(len(answer))


async def background(seconds: float) -> None:
    await trio.sleep(seconds)


@spawnable
def echo(port: Port, prefix: str) -> None:
    @port.on("echo")
    def received(reply: str, *data: object) -> None:
        current_node().send(reply, prefix, *data)

    @port.on("stop", once=True)
    async def stop() -> None:
        await trio.sleep(0)
        current_port().kill()

    port.start_soon(background, 0.5)


@asynccontextmanager
async def running() -> AsyncIterator[Node]:
    async with open_node("compat", binds=(), seeds=()) as node:
        yield node


async def serve(*, task_status: TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    async with running() as node, node.open_port() as port:
        task_status.started(str(port))
        await port.receive()


async def converse(nursery: Nursery, node: Node) -> None:
    address: str = await nursery.start(serve)
    print(node_of(address))
    node.start_port(greeter, "world", 2)
    identifier: str = node.spawn(node.id, "package.module:echo", "prefix")
    with node.monitor(identifier, lambda *reason: print(reason)) as monitor:
        node.send(identifier, "echo", address, 1, 2.0, b"three", None, [4], {"five": 5})
        await node.flush(identifier)
        print(monitor.reason)
    with node.move_on_death(identifier) as scope:
        await trio.sleep_forever()
    print(scope.reason)
    try:
        reply = await patiently(1, node.call, identifier, "echo")
        print(len(reply))
    except PortDied as error:
        print(error.port, error.reason)
    reason = await patiently(1, node.wait_death, identifier)
    print(reason[:1])


async def main() -> None:
    async with trio.open_nursery() as nursery, running() as node:
        nursery.start_soon(converse, nursery, node)


if __name__ == "__main__":
    trio.run(main)
