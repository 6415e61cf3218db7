"""Workers as children of a supervisor: how each life begins, and which tasks a worker that has ended had begun."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from .._errors import ConfigurationError
from .._events import fields
from .._reason import NORMAL, Reason, describe
from .._runtime import Runtime
from .._supervision.child import EndOfLife
from .._supervision.process_kind import ProcessLife
from .._supervision.processes import ChildProcess, launch
from .board import Begun, new_board
from .items import HasBegun, WorkerHandle
from .orders import WorkerOrder, command_for
from .pool import Pool

log = logging.getLogger("trio_mp.workers")

_LONG = 30.0
"""After so many seconds the log names a worker that still imports its modules."""


class WorkerKind:
    """A child whose lives are worker processes; see `Kind`.

    Args:
      staff: the processes of all workers.
      name: the name of this worker, the same for all its lives.
    """

    def __init__(self, staff: Staff, name: str) -> None:
        self._staff = staff
        self._name = name

    async def begin(self, epoch: int, ended: EndOfLife) -> ProcessLife:
        """See `Kind.begin`. The life has started when it has imported its modules, and the pool has heard of it."""
        began = False

        def process_ended(reason: Reason) -> None:
            staff.pool.changed.unpark_all()
            if began:
                ended(reason, None)

        staff = self._staff
        process = await staff.launch(self._name, epoch)
        process.on_ended = process_ended
        try:
            while not staff.is_up(process):
                if process.ended.is_set():
                    why = staff.pool.broken.pop(process.pid, "")
                    raise ConfigurationError(f"{self._name}: {why or describe(process.reason or ())}")
                with trio.move_on_after(_LONG) as scope:
                    await staff.pool.changed.park()
                if scope.cancelled_caught:
                    log.warning(
                        "%s has not imported its modules after %g s; it is waited for",
                        self._name,
                        _LONG,
                        extra=fields("worker"),
                    )
        except BaseException:
            process.kill("its start was given up")
            with trio.CancelScope(shield=True):
                await process.wait()
            staff.forget(process)
            raise
        began = True
        if process.reason is not None:
            ended(process.reason, None)
        return ProcessLife(process, process.pid, staff.shutdown_timeout)


class Staff:
    """The processes of all workers of a pool.

    Args:
      runtime: the node that they are connected with.
      directory: the private directory of their boards.
      modules: the modules whose functions they run.
      main: how they find the main program, if that is one of the modules.
      shutdown_timeout: how long a worker may take to stop, in seconds.

    Attributes:
      pool: gives them tasks. Set after both are made, because each needs the other.
      shutdown_timeout: see above.
    """

    pool: Pool

    def __init__(
        self,
        runtime: Runtime,
        directory: Path,
        modules: Sequence[str],
        main: list[str] | None,
        *,
        shutdown_timeout: float,
    ) -> None:
        self.shutdown_timeout = shutdown_timeout
        self._runtime = runtime
        self._directory = directory
        self._modules = list(modules)
        self._main = main
        # The processes with their boards, by process ID, until the pool has sorted out their tasks.
        self._processes: dict[int, tuple[ChildProcess, Path]] = {}
        self._boards = 0

    async def launch(self, name: str, epoch: int) -> ChildProcess:
        """Launch the process of a worker; see `launch` of the supervision room."""
        self._boards += 1
        # A new board for each life, so that an earlier life cannot write into it.
        board = self._directory / f"board-{self._boards}"
        new_board(board)
        pool = str.__str__(self.pool.port)
        order = WorkerOrder(name, pool, self._modules, self._main, str(board), sys.path)
        try:
            process = await launch(self._runtime, command_for(order), epoch=epoch)
        except BaseException:
            board.unlink()
            raise
        # The name in logs and reasons; the real command is long.
        process.command = (name,)
        self._processes[process.pid] = (process, board)
        return process

    def is_up(self, process: ChildProcess) -> bool:
        """Whether the pool has heard of a process."""
        return any(worker.process == process.pid for worker in self.pool.workers)

    def forget(self, process: ChildProcess) -> None:
        """Drop a process that has ended, and its board."""
        _, board = self._processes.pop(process.pid)
        board.unlink(missing_ok=True)

    def kill(self, worker: WorkerHandle) -> None:
        """Kill the process of a worker."""
        if worker.process in self._processes:
            process, _ = self._processes[worker.process]
            process.kill("a task has not ended in time after it was cancelled")

    async def find_begun(self, worker: WorkerHandle) -> tuple[HasBegun, Reason]:
        """Wait until a lost worker has ended; return which tasks it had begun, and why it has ended."""
        if worker.process not in self._processes:
            # Its start was given up after the pool had heard of it, so the process has ended.
            await trio.lowlevel.checkpoint()
            return _may_have_begun, NORMAL
        process, board = self._processes[worker.process]
        reason = await process.wait()
        begun = Begun(board)
        self.forget(process)
        return begun, reason


def _may_have_begun(ticket: int, *, asynchronous: bool) -> bool:
    """See `HasBegun`."""
    return True
