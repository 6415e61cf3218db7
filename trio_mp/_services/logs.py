"""Log records of other nodes: asked for by one node, sent by all, said again there through `logging`.

A node that is asked hears what its process logs by the tap of that process, see `log_tap.py`.

Nothing goes round in circles: a record that came from another node is not sent on, and neither is what is logged about
single messages, for every record is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from weakref import WeakSet

import trio

from .._events import fields
from .._ids import node_of, split_port
from .._ports.monitor import Monitor
from .._ports.port import Port, new_port
from .._protocol import log_records
from .._protocol.log_records import LOG_RECORDS, LOG_REQUESTS
from .._reason import NORMAL
from .._runtime import Runtime
from .log_tap import FROM_NODE, Subscription, tap
from .nodes import NodeChange, NodeChanges

LAST_TIME = 253370764800.0
"""The end of the times that are believed of a record, in seconds since 1970: all can be shown in each time zone."""

log = logging.getLogger("trio_mp")

_nodes: WeakSet[Runtime] = WeakSet()
"""The nodes of this process. They do not send log records to each other: the process has these already."""


class LogCollector:
    """Log records of other nodes, until it is cancelled. Made by `Node.collect_logs`.

    A context manager, too, that cancels it on exit.
    """

    def __init__(self) -> None:
        self._scope: trio.CancelScope = trio.CancelScope()

    def __enter__(self) -> LogCollector:
        """Return this collector."""
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel the request, as `cancel` does."""
        self.cancel()

    def cancel(self) -> None:
        """Ask for no more records. Not a checkpoint."""
        self._scope.cancel()


class LogService:
    """The log service of one node: it sends records to nodes that have asked for them, and asks others for theirs.

    Args:
      runtime: the node.
      watch_nodes: see `Node.watch_nodes`.
    """

    def __init__(self, runtime: Runtime, watch_nodes: Callable[[], AbstractAsyncContextManager[NodeChanges]]) -> None:
        self._runtime = runtime
        self._watch_nodes = watch_nodes
        self._subscriptions: dict[str, Subscription] = {}
        # The requests of this node, the latest last: that one counts.
        self._collecting: dict[_Collecting, None] = {}
        _nodes.add(runtime)

    def collect(self, level: int) -> LogCollector:
        """See `Node.collect_logs`."""
        self._runtime.check_open()
        collector = LogCollector()
        self._runtime.lifecycle.start_system_task(self._collect, collector._scope, level)
        return collector

    async def _collect(self, scope: trio.CancelScope, level: int) -> None:
        collecting = _Collecting(self._runtime, level)
        self._collecting[collecting] = None
        try:
            with scope:
                async with self._watch_nodes() as changes:
                    async for change in changes:
                        collecting.changed(change)
        except trio.ClosedResourceError:
            return
        finally:
            del self._collecting[collecting]
        if not self._runtime.closed:
            collecting.stop()
            if self._collecting and not self._runtime.closing:
                # The request that has ended had taken the place of an earlier one, which counts again now.
                next(reversed(self._collecting)).ask_again()

    # Sending -------------------------------------------------------------------------------------------------------

    def asked(self, node_id: str, arguments: tuple[object, ...]) -> bool:
        """Serve a request of another node that begins or ends the sending of log records; see `NodePort`."""
        wanted = LOG_REQUESTS.read((log_records.WORD, *arguments))
        if wanted is None or not _is_port_of(wanted.port, node_id):
            return False
        port = wanted.port
        if not self._runtime.settings.share_logs:
            complain = self._runtime.errands.complain
            complain(node_id, "logs", log, "%s: this node does not share log records, for which that one asks", node_id)
        elif port not in self._subscriptions and not any(one.id == node_id for one in _nodes if not one.closed):
            # Each node has one subscription at most: a later request takes the place of the earlier one.
            for other in [other for other in self._subscriptions if node_of(other) == node_id]:
                self._end(other)
            subscription = self._subscriptions[port] = Subscription(self._runtime, port, wanted.level)
            self._runtime.lifecycle.start_system_task(self._send_all, subscription)
        return True

    async def _send_all(self, subscription: Subscription) -> None:
        port = subscription.port
        monitor = self._runtime.monitor(port, lambda *_: self._end(port), None)
        try:
            tap.add(subscription)
            while not subscription.ended:
                while subscription.records and not subscription.ended:
                    with subscription.lock:
                        record = subscription.records.popleft()
                    try:
                        self._runtime.send(port, log_records.record(*record))
                    except (TypeError, ValueError):
                        # The record is larger than what that node takes: it is left out, and counted.
                        with subscription.lock:
                            subscription.left_out += record.left_out + 1
                        continue
                    peer, _ = self._runtime.route(port)
                    if peer is not None:
                        # This waits for a slow collector. Meanwhile the bounded list fills, and no memory is used.
                        await peer.wait_flushed()
                if not subscription.ended:
                    await subscription.arrived.park()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            # The collector's node is lost, or this node has closed. The collector asks again when it is back.
            self._end(port)
        except Exception:
            log.exception(
                "%s: an error in this program, while log records were sent to that port",
                port,
                extra=fields("own_error", self._runtime.id),
            )
            self._end(port)
        finally:
            tap.remove(subscription)
            monitor.cancel()

    def _end(self, port: str) -> None:
        subscription = self._subscriptions.pop(port, None)
        if subscription is not None:
            subscription.ended = True
            subscription.arrived.unpark_all()


class _Collecting:
    """One request for the records of all nodes.

    Args:
      runtime: the node that wants them.
      level: the lowest level that it wants.
    """

    def __init__(self, runtime: Runtime, level: int) -> None:
        self._runtime = runtime
        self._level = level
        # By the ID of each other node: where its records come in, and what tells when they do not any more.
        self._sources: dict[str, tuple[Port, Monitor]] = {}

    def changed(self, change: NodeChange) -> None:
        """Ask a node that has joined the network, and forget one that has left."""
        if change.node_id == self._runtime.id:
            return
        if change.up:
            self._ask(change.node_id)
        else:
            self._stop(change.node_id)

    def ask_again(self) -> None:
        """A later request has taken the place of this one, and is over."""
        nodes = [*self._sources]
        self.stop()
        for node_id in nodes:
            self._ask(node_id)

    def stop(self) -> None:
        """Stop taking records from all nodes."""
        for node_id in [*self._sources]:
            self._stop(node_id)

    def _ask(self, node_id: str) -> None:
        # Each node gets a port of its own, of which no other node knows: so what comes in there is that node's word.
        port = new_port(self._runtime.lifecycle, self._runtime.next_name(), partial(self._take, node_id))
        monitor = self._runtime.monitor(node_id, partial(self._lost, node_id), None)
        self._sources[node_id] = port, monitor
        self._runtime.send(node_id, log_records.want_logs(self._level, port))

    def _stop(self, node_id: str) -> None:
        port, monitor = self._sources.pop(node_id)
        monitor.cancel()
        # The other node monitors this port, and ends the subscription when the port dies.
        self._runtime.lifecycle.die(port, NORMAL)

    def _lost(self, node_id: str, *_reason: object) -> None:
        if node_id in self._sources and not self._runtime.closing:
            self._stop(node_id)
            self._ask(node_id)

    def _take(self, node_id: str, *message: object) -> None:
        sent = LOG_RECORDS.read(message)
        if sent is None:
            complain = self._runtime.errands.complain
            complain(node_id, "record", log, "%s: expected a log record, got %.200r", node_id, message)
            return
        name, level, created, text, trace, left_out = sent
        record = logging.LogRecord(name, level, node_id, 0, f"{node_id}: {text}", (), None)
        if 0 <= created < LAST_TIME:
            # Any other value is no time (no comparison holds of NaN), and handlers that show it would fail: the record
            # then keeps the time of its arrival.
            record.created, record.msecs = created, (created % 1) * 1000
        record.exc_text = trace or None
        record.__dict__.update(fields("", node_id), **{FROM_NODE: True})
        if left_out:
            record.msg += f" ({left_out} records before it were left out)"
        # `handle` and not `log`: the program has asked for these records, whatever the level of the logger is here.
        try:
            _logger_of(name).handle(record)
        except Exception:
            # A handler that fails must not end what comes from that node.
            log.exception(
                "%s: a handler of this program failed for a log record of that node",
                node_id,
                extra=fields("callback_failed", self._runtime.id, peer=node_id),
            )


def _logger_of(name: str) -> logging.Logger:
    """The logger of this name, if there is one; else one for this moment.

    `logging` keeps what it has made for as long as the process lives, and other nodes can say as many names as they
    like. Nobody has configured a logger that is not there, so only those above it count.
    """
    known = logging.Logger.manager.loggerDict
    found = known.get(name)
    if isinstance(found, logging.Logger):
        return found
    logger = logging.Logger(name)  # noqa: LOG001 - one that is not kept
    logger.parent = logging.getLogger()
    above = name.rpartition(".")[0]
    while above:
        parent = known.get(above)
        if isinstance(parent, logging.Logger):
            logger.parent = parent
            break
        above = above.rpartition(".")[0]
    return logger


def check_level(level: object) -> int:
    """The number of a level of `logging`. Raises `TypeError` or `ValueError`."""
    if isinstance(level, str):
        number = logging.getLevelNamesMapping().get(level.upper())
        if number is None:
            raise ValueError(f"level: expected the name of a level of logging, got {level!r}; give one such as 'INFO'")
        return number
    if isinstance(level, bool) or not isinstance(level, int):
        raise TypeError(f"level: expected a level of logging, got {level!r}; give one such as logging.INFO or 'INFO'")
    if level < 0:
        raise ValueError(f"level: expected a level of logging from 0 on, got {level}")
    return level


def _is_port_of(port: str, node_id: str) -> bool:
    try:
        owner, name = split_port(port)
    except ValueError:
        return False
    return owner == node_id and bool(name)
