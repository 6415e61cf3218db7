"""The functions that fuzzed nodes run for others, and ports that do what others ask."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import trio

from trio_mp import ChannelReceiver, ChannelSender, Node, Port, PortDied, current_node, spawnable

REFUSED = (TypeError, ValueError, RuntimeError, PortDied, trio.ClosedResourceError)
"""The exceptions that a program must expect when it uses arguments that came from others."""


@spawnable
def installs(port: Port, *_arguments: Any) -> None:
    """Install handlers that do what others ask."""
    serve(current_node(), port)


@spawnable
async def echoes(port: Port, *_arguments: Any) -> None:
    """Answer each message, in a task of the port."""
    async for message in port:
        if len(message) > 1 and isinstance(message[1], str):
            try_to(current_node().send, *message[1:])


@spawnable
def fails(_port: Port, *arguments: Any) -> None:
    """Raise at once."""
    raise ValueError(f"asked for: {arguments!r:.50}")


@spawnable
def ends(port: Port, *_arguments: Any) -> None:
    """End at once."""
    port.kill()


@spawnable
async def sleeps(_port: Port, *_arguments: Any) -> None:
    """End after a while."""
    await trio.sleep(1)


@spawnable
async def starts(port: Port, *arguments: Any, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
    """Start after a while, with the arguments as the value, and then answer each message."""
    await trio.sleep(0.2)
    try_to(task_status.started, list(arguments))
    await echoes(port)


@spawnable
async def never_starts(_port: Port, *_arguments: Any, task_status: trio.TaskStatus[Any]) -> None:
    """Return without having started."""
    await trio.sleep(0.1)


@spawnable
async def streams(stream: trio.abc.HalfCloseableStream, *_arguments: Any) -> None:
    """Answer with the bytes that have come."""
    data = await stream.receive_some(1000)
    await stream.send_all(data * 3)


@spawnable
async def breaks_off(stream: trio.abc.HalfCloseableStream, *_arguments: Any) -> None:
    """Write, and raise."""
    await stream.send_all(b"x" * 1000)
    raise ValueError("asked for")


@spawnable
async def pumps(receive: ChannelReceiver[Any], send: ChannelSender[Any], *_arguments: Any) -> None:
    """Send back what comes."""
    async for item in receive:
        await send.send(item)


@spawnable
async def takes(receive: ChannelReceiver[Any], _send: ChannelSender[Any], *_arguments: Any) -> None:
    """Take what comes, slowly, by two clones."""
    async with receive.clone() as other, trio.open_nursery() as nursery:

        async def take(receiver: ChannelReceiver[Any]) -> None:
            async for _ in receiver:
                await trio.sleep(0.01)

        nursery.start_soon(take, other)
        await take(receive)


@spawnable
async def ends_early(receive: ChannelReceiver[Any], send: ChannelSender[Any], *_arguments: Any) -> None:
    """Take nothing, send a little, and end."""
    receive.close()
    await send.send("all")


@spawnable
async def rows(*_arguments: Any) -> AsyncGenerator[int, None]:
    """Yield numbers."""
    for number in range(1000):
        yield number


@spawnable
async def no_rows(*_arguments: Any) -> AsyncGenerator[int, None]:
    """Raise after the first row."""
    yield 1
    raise ValueError("asked for")


def try_to(function: Any, *arguments: Any) -> None:
    """Do what others ask; ignore that it cannot be done."""
    try:
        function(*arguments)
    except REFUSED:
        pass


def serve(node: Node, port: Port) -> None:
    """Have a port do what others ask."""
    port.on("send")(lambda *message: try_to(node.send, *message))
    port.on("kill")(lambda other, *_: try_to(node.kill, other, "asked for"))
    port.on("link")(lambda other, *_: try_to(node.link, other))
    port.on("watch")(lambda other, *_: try_to(node.monitor, other, lambda *_: None))
    port.on("later")(lambda other, *message: try_to(node.send_after, 1, other, *message))
    port.on("set")(lambda key, value, *_: try_to(node.database.set, "red", key, value))
    port.on("answer", reply=True, errors=(Exception,))(lambda other, *_: node.send(str(other), "asked"))
    port.on()(lambda *_: None)

    @port.on("answer_slowly", reply=True, cancel=True)
    async def answer_slowly(*message: Any) -> Any:
        await trio.sleep(2)
        return message

    @port.on("call")
    async def call(other: object, *message: Any) -> None:
        with trio.move_on_after(5):
            try:
                await node.call(other, *message)  # type: ignore[call-overload]
            except REFUSED:
                pass

    @port.on("start")
    async def start(other: object, *message: Any) -> None:
        with trio.move_on_after(5):
            try:
                await node.start_on(other, "fuzzing.programs:starts", *message)  # type: ignore[arg-type]
            except REFUSED:
                pass

    @port.on("channel")
    async def channel(other: object, *_: object) -> None:
        with trio.move_on_after(5):
            try:
                async with node.open_channel(other, "fuzzing.programs:pumps", buffer=4) as (send, receive):  # type: ignore[arg-type]
                    for number in range(20):
                        await send.send(number)
                    await send.aclose()
                    async for _item in receive:
                        pass
            except (*REFUSED, trio.BrokenResourceError):
                pass

    @port.on("source")
    async def source(other: object, *_: object) -> None:
        with trio.move_on_after(5):
            try:
                async with node.open_source(other, "fuzzing.programs:rows", buffer=4) as receive:  # type: ignore[arg-type]
                    async for _item in receive:
                        await trio.sleep(0.01)
            except (*REFUSED, trio.BrokenResourceError):
                pass

    @port.on("stream")
    async def stream(other: object, *_: object) -> None:
        with trio.move_on_after(5):
            try:
                async with node.open_stream(other, "fuzzing.programs:streams") as opened:  # type: ignore[arg-type]
                    await opened.send_all(b"hello")
                    await opened.receive_some(10)
            except (*REFUSED, OSError, trio.BrokenResourceError):
                pass
