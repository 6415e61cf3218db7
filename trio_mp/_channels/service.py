"""Channels of a node: opening them to functions on other nodes, and running functions for the channels of others."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import trio

from .._errors import PortDied
from .._events import fields
from .._ids import PortReference, node_of, split_port
from .._ports.lifecycle import call_async
from .._ports.port import Port, lifecycle_of, new_port
from .._protocol.wire.values import plain_message
from .._reason import NORMAL, Reason, channel_broken, describe, exception_reason, identifier_of, spawn_failed
from .._runtime import Runtime
from .._services.spawning import Spawner, check_reference
from .._services.starting import start_on
from .channel import Channel
from .ends import ChannelReceiver, ChannelSender

CHANNEL, SOURCE = "trio_mp:channel", "trio_mp:source"
"""The names under which the far ends are started; `docs/protocol.md` has the arguments."""

log = logging.getLogger("trio_mp.spawn")


class Channels:
    """The channels of a node.

    Args:
      runtime: the node.
      spawner: the node's, which is told here what to run for other nodes.
    """

    def __init__(self, runtime: Runtime, spawner: Spawner) -> None:
        self._runtime = runtime
        self._spawner = spawner
        spawner.provide(CHANNEL, partial(self._prepare, CHANNEL))
        spawner.provide(SOURCE, partial(self._prepare, SOURCE))

    # The side that asks --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open_channel(
        self, where: str | PortReference, function: str, arguments: tuple[Any, ...], buffer: int, buffer_size: int
    ) -> AsyncGenerator[tuple[ChannelSender[Any], ChannelReceiver[Any]], None]:
        """See `Node.open_channel`."""
        async with self._open(CHANNEL, where, function, arguments, buffer, buffer_size) as channel:
            yield channel.sender, channel.receiver

    @asynccontextmanager
    async def open_source(
        self, where: str | PortReference, function: str, arguments: tuple[Any, ...], buffer: int, buffer_size: int
    ) -> AsyncGenerator[ChannelReceiver[Any], None]:
        """See `Node.open_source`."""
        async with self._open(SOURCE, where, function, arguments, buffer, buffer_size) as channel:
            yield channel.receiver

    @asynccontextmanager
    async def _open(
        self,
        kind: str,
        where: str | PortReference,
        function: str,
        arguments: tuple[Any, ...],
        buffer: int,
        buffer_size: int,
    ) -> AsyncGenerator[Channel, None]:
        runtime = self._runtime
        check_reference(function)
        self._check("buffer", buffer, runtime.settings.mailbox_limit, "mailbox_limit")
        self._check("buffer_size", buffer_size, runtime.settings.mailbox_size_limit, "mailbox_size_limit")
        # Of a reference one life, and one node.
        where = where.port if isinstance(where, PortReference) else where
        if runtime.route(where)[0] is not None:
            # The place as the caller counts.
            plain_message(arguments, thorough=True, what="arguments")
        port = new_port(runtime.lifecycle, runtime.next_name())
        channel = Channel(runtime, port, buffer, buffer_size)
        try:
            request = (function, str.__str__(port), buffer, buffer_size, *arguments)
            try:
                await start_on(runtime, self._spawner, where, kind, request, watch=channel.watch)
            except PortDied as died:
                raise _explained(died, kind, node_of(where)) from died.__cause__
            yield channel
        except BaseException as error:
            channel.leave(_why_left(error))
            raise
        else:
            channel.leave()

    @staticmethod
    def _check(name: str, number: object, limit: int, setting: str) -> None:
        if type(number) is not int:
            raise TypeError(f"{name}: expected an int, got {number!r}")
        if not 1 <= number <= limit:
            raise ValueError(f"{name}: expected 1 to {limit}, the {setting} of this node, got {number}")

    # The side that is asked ----------------------------------------------------------------------------------------

    def _prepare(self, kind: str, asker: str, arguments: tuple[Any, ...]) -> Callable[[Port], None]:
        """What initialises the port of the far end, as a request says. Raises `LookupError`, with a text, to refuse."""
        settings = self._runtime.settings
        match arguments:
            case (str(reference), str(near), int(buffer), int(buffer_size), *rest):
                pass
            case _:
                raise LookupError(f"{kind}: expected a function, a port and two numbers, got other arguments")
        if not _is_port_of(near, asker or self._runtime.id):
            # Whose node it is on would be dialled, in the name of somebody else.
            raise LookupError(f"{kind}: expected a port of the node that asks, got {near:.200}")
        if not (1 <= buffer <= settings.mailbox_limit and 1 <= buffer_size <= settings.mailbox_size_limit):
            raise LookupError(
                f"{kind}: expected a buffer of at most {settings.mailbox_limit} items and"
                f" {settings.mailbox_size_limit} bytes, the mailbox limits of {self._runtime.id}"
            )
        function = self._spawner.find(reference, remote=bool(asker), source=kind == SOURCE)
        if kind == CHANNEL and not inspect.iscoroutinefunction(function):
            raise LookupError(f"{reference} is not async: only an async function can use a channel")
        run = self._run_source if kind == SOURCE else self._run

        def initialise(port: Port) -> None:
            channel = Channel(self._runtime, port, buffer, buffer_size)
            channel.watch(near)
            port.start_soon(run, port, channel, function, *rest)

        return initialise

    async def _run(self, port: Port, channel: Channel, function: Callable[..., Any], *arguments: Any) -> None:
        """The task of the far end: it runs the function, and then the port dies, normally if the function returned."""
        try:
            await call_async(function, (channel.receiver, channel.sender, *arguments))
        except Exception as error:
            if not channel.is_consequence(error):
                raise
            # The function was told that the channel is over, and that is how it ended: no news to anybody.
            reason = channel.broken.reason if channel.broken is not None else NORMAL
            log.debug(
                "%s: the function of a channel ended with it: %s",
                port,
                describe(reason),
                exc_info=error,
                extra=fields("channel", node_of(port), reason=identifier_of(reason)),
            )
            lifecycle_of(port).die(port, reason or channel_broken("the other side takes nothing any more"))
        else:
            channel.leave()

    async def _run_source(self, port: Port, channel: Channel, function: Callable[..., Any], *arguments: Any) -> None:
        """The task of the far end of a source: this task runs the generator, and closes it whatever has ended it."""
        channel.receiver.close()
        await self._run(port, channel, _send_all_of, channel, function, *arguments)


async def _send_all_of(
    _: object, sender: ChannelSender[Any], channel: Channel, function: Callable[..., Any], *arguments: Any
) -> None:
    """Send what an async generator yields. When nobody takes it any more, the generator is cancelled where it waits."""
    waits = False

    def cancel() -> None:
        # Not while this task sends: that raises, and then the generator is closed without being cancelled.
        if waits:
            scope.cancel()

    with trio.CancelScope() as scope:
        channel.gone = cancel
        async with aclosing(function(*arguments)) as generator:
            while not channel.is_over_there:
                waits = True
                try:
                    item = await anext(generator)
                except StopAsyncIteration:
                    return
                finally:
                    waits = False
                await sender.send(item)


def _is_port_of(port: str, node_id: str) -> bool:
    """Whether this is the ID of a port, not of the node port, of that node."""
    try:
        owner, name = split_port(port)
    except ValueError:
        return False
    return owner == node_id and bool(name)


def _why_left(error: BaseException) -> Reason:
    """The reason of a channel whose block was left by this exception."""
    if isinstance(error, Exception):
        return exception_reason(error)
    return channel_broken(f"its block was left by {type(error).__name__}")


def _explained(died: PortDied, kind: str, node_id: str) -> PortDied:
    """A start that has failed, said so that the program understands it: an older node knows no channels."""
    reason = died.reason
    text = str(reason[1]) if len(reason) == 2 and reason[0] == spawn_failed("")[0] else ""
    if text.startswith(f"{kind}: trio_mp is not one of the spawn_modules"):
        word = "open_channel()" if kind == CHANNEL else "open_source()"
        return PortDied(died.port, spawn_failed(f"{node_id} does not understand {word}: it runs an older version"))
    return died
