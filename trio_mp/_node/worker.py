"""The program of a worker process.

Its main thread computes: it calls sync functions, one after the other. Its node runs in a thread of its own, so that
heartbeats, requests to cancel and async functions go on meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback

import trio

from .._services.spawning import import_modules
from .._workers.board import TicketBoard
from .._workers.computing import Computer
from .._workers.functions import Released
from .._workers.main_module import ImportGuard, import_main
from .._workers.orders import CONNECT_TIMEOUT, HEARTBEAT, WorkerOrder
from .._workers.server import TaskServer
from .child import open_child_node

SWITCH_INTERVAL = 0.0005
"""How long Python lets one thread compute before another one that wants to run may, in seconds: a tenth of Python's own
value, because the node needs the interpreter lock several times to answer one message."""


def main(order: dict[str, object]) -> None:
    """Run a worker until its parent stops it, or dies."""
    WorkerProgram(WorkerOrder(**order)).run()  # type: ignore[arg-type]


class WorkerProgram:
    """A worker process, from its start to its end.

    Args:
      order: the order from the parent.
    """

    def __init__(self, order: WorkerOrder) -> None:
        self._order = order
        self._board = TicketBoard(order.board)
        self._computer = Computer(self._board.begin_sync, self._wake)
        self._token: trio.lowlevel.TrioToken | None = None
        self._server: TaskServer | None = None
        # Set when the modules have been imported, or could not be; then the text says why.
        self._imported = trio.Event()
        self._failure = ""

    def run(self) -> None:
        """Run the worker, in the main thread, until it ends."""
        sys.setswitchinterval(SWITCH_INTERVAL)
        opened = threading.Event()
        node = threading.Thread(target=self._run_node, args=(opened,), name="trio_mp: the worker's node")
        node.start()
        # From now on a thread watches the parent, whatever the modules do.
        opened.wait()
        try:
            self._import()
        except BaseException as error:  # noqa: BLE001 - whatever modules raise, sys.exit() too
            self._failure = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        self._in_node(self._imported.set)
        if not self._failure:
            self._computer.run()
        node.join()

    def _import(self) -> None:
        ImportGuard.importing = True
        try:
            if self._order.main is not None:
                import_main(self._order.main)
            import_modules(self._order.modules, "modules")
        finally:
            ImportGuard.importing = False

    def _in_node(self, function: object) -> None:
        assert self._token is not None
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function)  # type: ignore[arg-type]

    def _wake(self) -> None:
        assert self._server is not None
        self._in_node(self._server.wake)

    # The thread of the node ----------------------------------------------------------------------------------------

    def _run_node(self, opened: threading.Event) -> None:
        try:
            trio.run(self._serve, opened)
        except BaseException:  # noqa: BLE001 - without its node the process is no worker, whatever it computes
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        self._computer.end()

    async def _serve(self, opened: threading.Event) -> None:
        order = self._order
        self._token = trio.lowlevel.current_trio_token()
        async with (
            open_child_node(
                order.name, heartbeat=HEARTBEAT, connect_timeout=CONNECT_TIMEOUT, binds=(), share_logs=False
            ) as node,
            trio.open_nursery() as nursery,
        ):
            opened.set()
            await self._imported.wait()
            if self._failure:
                node.send(order.pool, "broken", os.getpid(), self._failure)
                await node.flush(order.pool)
                sys.exit(1)
            released = Released(order.modules)
            begins = self._board.begin_async
            self._server = TaskServer(node._runtime, order.pool, released, self._computer, begins, nursery)
            node.send(order.pool, "ready", self._server.port, order.name, os.getpid())
            await trio.sleep_forever()
