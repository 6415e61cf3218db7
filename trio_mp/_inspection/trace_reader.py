"""The operator's side of a trace."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from .._errors import CallError
from .._ports.port import new_port
from .service import InspectionService
from .tracing import TRACED, TRACING
from .views import TracedMessage, TraceEnd


class PortTrace:
    """The messages that a port gets, as an async iterator of `TracedMessage`. Made by `Inspector.trace`.

    The iteration ends with the trace. A step raises `PortDied` if the connection with the node is lost, and
    `trio.ClosedResourceError` if this node is closed.

    Attributes:
      number: what the node calls the port.
      ended: why the trace has ended: `"limit"`, as many messages were shown as were asked for; `"time"`; or `"died"`,
        the port has died. Empty before, and if the connection was lost.
      dropped: how many messages were left out, because there was no room for them on their way. The numbers of the
        messages show the gaps.
    """

    def __init__(self, limit: int) -> None:
        self.number: int = 0
        self.ended: str = ""
        self.dropped: int = 0
        self._begun = trio.Event()
        self._error: Exception | None = None
        self._send, self._receive = trio.open_memory_channel[TracedMessage](limit)

    def __repr__(self) -> str:
        return f"<PortTrace of port {self.number}{f', ended: {self.ended}' if self.ended else ''}>"

    def __aiter__(self) -> PortTrace:
        return self

    async def __anext__(self) -> TracedMessage:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            error, self._error = self._error, None
            if error is not None:
                raise error from None
            raise StopAsyncIteration from None

    def _take(self, *message: Any) -> None:
        """Take a message of the node that traces: it may say anything."""
        match message:
            case (word, int(number)) if word == TRACING:
                self.number = number
                self._begun.set()
            case (word, int(number), float() | int() as seconds, str(text)) if word == TRACED:
                try:
                    self._send.send_nowait(TracedMessage(number, float(seconds), text))
                except (trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
                    self.dropped += 1
            case _:
                # Of a newer version, perhaps.
                self.dropped += 1

    async def _run(self, service: InspectionService, node_id: str, arguments: dict[str, object]) -> None:
        """Ask for the trace, and wait until it has ended."""
        try:
            answer = await service.ask(node_id, "trace", arguments)
            end = msgspec.convert(answer, TraceEnd)
            self.ended, self.dropped = end.why, self.dropped + end.dropped
        except msgspec.ValidationError as error:
            self._error = CallError("bad_reply", f"trace of {node_id}: {error}")
        except Exception as error:  # noqa: BLE001 - raised where the trace is read
            self._error = error
        finally:
            self._send.close()
            self._begun.set()


@asynccontextmanager
async def open_trace(
    service: InspectionService, node_id: str, arguments: dict[str, object], limit: int
) -> AsyncGenerator[PortTrace, None]:
    """See `Inspector.trace`."""
    runtime = service.runtime
    trace = PortTrace(limit)
    port = new_port(runtime.lifecycle, runtime.next_name(), trace._take)
    scope = runtime.lifecycle.start_system_task(trace._run, service, node_id, {**arguments, "to": port.name})
    try:
        await trace._begun.wait()
        if trace._error is not None and not trace.number:
            raise trace._error
        yield trace
    finally:
        scope.cancel()
        runtime.lifecycle.retire(port)
        trace._receive.close()
