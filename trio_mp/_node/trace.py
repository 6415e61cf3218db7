"""`TRIO_MP_TRACE`: the first instrument. It writes what a node does, line by line, for who looks for a fault.

Nothing of a message is written but its tag, if it has one, and how many elements it has. The IDs of ports are there,
and who knows such an ID can kill the port: so the file is for its owner alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from .._errors import ConfigurationError
from .._ports.instruments import Instrument
from .._reason import Reason, identifier_of

TRACE = "TRIO_MP_TRACE"
"""The variable: the path of a file; or `1` or `stderr`, for standard error."""

LIMIT = 64 * 1024 * 1024
"""How many bytes one node writes. Then the trace ends: it is to fill no disk."""

_LONGEST_TAG = 40


class TraceInstrument(Instrument):
    """Writes a line for each thing that a node does.

    Args:
      write: takes the lines.
      close: is called when nothing comes any more.
      clock: the time of day, in seconds since 1970.
      limit: how many bytes are written at most, and then one more line that says so.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        close: Callable[[], object],
        *,
        clock: Callable[[], float] = time.time,
        limit: int = LIMIT,
    ) -> None:
        self._write = write
        self._close = close
        self._clock = clock
        self._left = limit
        self._limit = limit
        self._node = ""

    def _line(self, *words: object) -> None:
        if self._left <= 0:
            return
        now = self._clock()
        day = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        text = " ".join(map(str, words))
        line = f"{day}.{int(now % 1 * 1_000_000):06}Z {self._node} {text}\n".encode("utf-8", "backslashreplace")
        self._left -= len(line)
        if self._left <= 0:
            line += f"{self._node} has traced {self._limit} bytes, and traces no more\n".encode()
        self._write(line)

    def added(self, node: str) -> None:
        """See `Instrument`."""
        self._node = node
        self._line("opened in process", os.getpid())

    def removed(self) -> None:
        """See `Instrument`."""
        try:
            self._line("closed")
        finally:
            self._close()

    def connection_up(self, peer: str, address: str) -> None:
        """See `Instrument`."""
        self._line("up", peer, "by way of", address)

    def connection_down(self, peer: str, cause: str) -> None:
        """See `Instrument`."""
        self._line("down", peer, cause)

    def message_received(self, port: str, message: tuple[Any, ...]) -> None:
        """See `Instrument`."""
        tag = message[0] if message and isinstance(message[0], str) else ""
        elements = "1 element" if len(message) == 1 else f"{len(message)} elements"
        self._line("message", port, *([ascii(str.__str__(tag)[:_LONGEST_TAG])] if tag else []), elements)

    def messages_lost(self, port: str, count: int, reason: str) -> None:
        """See `Instrument`."""
        self._line("lost", port, count, ascii(reason)[1:-1])

    def port_died(self, port: str, reason: Reason) -> None:
        """See `Instrument`."""
        self._line("died", port, ascii(identifier_of(reason))[1:-1])

    def call_begun(self, number: int, port: str) -> None:
        """See `Instrument`."""
        self._line("call", number, port)

    def call_ended(self, number: int, outcome: str) -> None:
        """See `Instrument`."""
        self._line("call", number, outcome)


def trace_of_environment(profile: str | bool | None = None) -> tuple[TraceInstrument, ...]:
    """Return the instrument that the variable wants, if it wants one and the node takes anything from outside.

    Raises:
      ConfigurationError: the file cannot be written. The text names the variable and the file.
    """
    wanted = os.environ.get(TRACE, "") if profile is not False else ""
    if wanted in {"", "0"}:
        return ()
    if wanted in {"1", "stderr"}:
        return (TraceInstrument(lambda line: sys.stderr.write(line.decode("utf-8")), sys.stderr.flush),)
    try:
        # Each line is one write to the end, so that the nodes of several processes may share a file.
        file = os.open(wanted, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"{TRACE}: expected a file that can be written, or 1 for standard error, got {wanted!r}: {error.strerror}"
        ) from None
    return (TraceInstrument(lambda line: os.write(file, line), lambda: os.close(file)),)
