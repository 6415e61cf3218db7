"""What a process logs, heard without a handler.

A node that is asked hears what reaches the root of its process's loggers. It does as little as a handler can, in
whatever thread logs: the text is made, and put into a bounded list. A task of the node sends what is in the list, and
waits for a slow collector; what finds no room meanwhile is counted, and the next record says how many were left out.

It is no handler of the root, because the first handler there takes something from the program: `logging` prints
warnings on stderr, and `basicConfig` does its work, only where there is none; and `basicConfig(force=True)` and
`dictConfig` remove whatever handler they find. So the step between a logger and the handlers is wrapped instead, while
anybody wants records. A record factory would hear records that the program's filters drop.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import trio

from .._ids import node_of
from .._ports.context import find_running
from .._protocol.log_records import LONGEST_NAME, SentRecord
from .._runtime import Runtime

WAITING = 1000
"""How many records wait for one collector at most."""

LONGEST = 16_000
"""The longest text of a record, or of its traceback, in characters; the rest is cut off."""

SILENT = "trio_mp.trace"
"""The logger of single messages. Its records are not sent: sending one is a message, which would log another one."""

FROM_NODE = "from_other_node"
"""The attribute of a record that came from another node. (Those of this process have a `node`, too.)"""

_CallHandlers: TypeAlias = Callable[[logging.Logger, logging.LogRecord], None]


class Subscription:
    """One collector that wants the log records of this process, by way of one node of it.

    Args:
      runtime: the node that was asked.
      port: the ID of the port that takes them.
      level: the lowest level that is wanted.
    """

    def __init__(self, runtime: Runtime, port: str, level: int) -> None:
        self.runtime = runtime
        self.port = port
        self.level = level
        self.records: deque[SentRecord] = deque()
        self.left_out = 0
        self.arrived = trio.lowlevel.ParkingLot()
        self.ended = False
        # Reentrant, because the garbage collector may log while this lock is held.
        self.lock = threading.RLock()
        self._token = trio.lowlevel.current_trio_token()

    def add(self, name: str, level: int, created: float, text: str, trace: str) -> None:
        """Let a record wait for the collector, or count it if too many wait. Any thread may call this."""
        with self.lock:
            if len(self.records) >= WAITING:
                self.left_out += 1
                return
            self.records.append(SentRecord(name, level, created, text, trace, self.left_out))
            self.left_out = 0
            first = len(self.records) == 1
        if first:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.arrived.unpark_all)


class Tap(logging.Handler):
    """Hears what a process logs, and hands it to each subscription. No logger has it as its handler; see above."""

    def __init__(self) -> None:
        super().__init__()
        # A tuple, replaced as a whole: it is read in any thread.
        self.subscriptions: tuple[Subscription, ...] = ()
        # What stands in the place of `Logger.callHandlers`, and what stood there before.
        self._call_handlers: _CallHandlers | None = None
        self._replaced: _CallHandlers = logging.Logger.callHandlers

    def add(self, subscription: Subscription) -> None:
        """Hand records to this subscription, too."""
        if not self.subscriptions:
            self._listen()
        self.subscriptions = (*self.subscriptions, subscription)

    def remove(self, subscription: Subscription) -> None:
        """Hand no more records to this subscription."""
        self.subscriptions = tuple(each for each in self.subscriptions if each is not subscription)
        if not self.subscriptions:
            if logging.Logger.callHandlers is self._call_handlers:
                _replace_call_handlers(self._replaced)
            # Else somebody has wrapped it since, and theirs stays: ours passes records on from now on.
            self._call_handlers = None

    def _listen(self) -> None:
        replaced = self._replaced = logging.Logger.callHandlers

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            if self._call_handlers is call_handlers and _reaches_root(logger):
                self.handle(record)
            replaced(logger, record)

        self._call_handlers = call_handlers
        _replace_call_handlers(call_handlers)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        if hasattr(record, FROM_NODE) or record.name == SILENT:
            return
        # A record that is logged in the context of a node is sent by that node. Any other record is sent to each
        # collector once, by the node that it has asked first.
        running = find_running()
        wanted = [
            each
            for each in self.subscriptions
            if record.levelno >= each.level and (running is None or running.node is each.runtime.lifecycle.public)
        ]
        if not wanted:
            return
        try:
            text = record.getMessage()[:LONGEST]
            trace = ""
            text, name = _clean(text), _clean(record.name[:LONGEST_NAME])
            if record.exc_info:
                formatter = self.formatter or logging.Formatter()
                trace = _clean(formatter.formatException(record.exc_info)[-LONGEST:])
        except Exception:  # noqa: BLE001 - as all handlers do: what cannot be formatted must not hurt who logs
            self.handleError(record)
            return
        told: set[str] = set()
        for each in wanted:
            collector = node_of(each.port)
            if collector not in told:
                told.add(collector)
                each.add(name, int(record.levelno), float(record.created), text, trace)


def _replace_call_handlers(function: _CallHandlers) -> None:
    logging.Logger.callHandlers = function  # type: ignore[method-assign, assignment]


def _reaches_root(logger: logging.Logger) -> bool:
    """Whether a handler of the root would get what this logger lets through."""
    while logger.propagate and logger.parent is not None:
        logger = logger.parent
    return logger is logging.getLogger()


def _clean(text: str) -> str:
    """The text as it can travel: lone surrogates, which stand for bytes that are no text, are spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()


tap = Tap()
"""The one tap of this process, because its loggers are shared by all of its nodes."""
