"""Workers as children of a supervisor: how each life of one is begun, and what it had begun when it has ended."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from .._errors import ConfigurationError
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
"""After so many seconds a worker that still imports its modules is logged."""


class WorkerKind:
    """A child whose lives are worker processes; see `Kind`.

    Args:
      staff: the processes of all workers.
      name: of this worker, over all its lives.
    """

    def __init__(self, staff: Staff, name: str) -> None:
        self._staff = staff
        self._name = name

    async def begin(self, epoch: int, ended: EndOfLife) -> ProcessLife:
        """See `Kind.begin`. It has started when it has imported its modules, and the pool has heard of it."""
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
                    log.warning("%s has not imported its modules after %g s; it is waited for", self._name, _LONG)
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
      directory: where their boards are; nobody else's.
      modules: whose functions they run.
      main: how they find the main program, if that is one of these.
      shutdown_timeout: how long a worker may take to stop, in seconds.

    Attributes:
      pool: gives them tasks; set when that is made, which needs this.
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
        # Those that are up, or were and are not sorted out, by process ID, with their boards.
        self._processes: dict[int, tuple[ChildProcess, Path]] = {}
        self._boards = 0

    async def launch(self, name: str, epoch: int) -> ChildProcess:
        """Launch a worker; see `launch`."""
        self._boards += 1
        # A new one for each life: nobody who is still alive may write into it.
        board = self._directory / f"board-{self._boards}"
        new_board(board)
        pool = str.__str__(self.pool.port)
        order = WorkerOrder(name, pool, self._modules, self._main, str(board), sys.path)
        try:
            process = await launch(self._runtime, command_for(order), epoch=epoch)
        except BaseException:
            board.unlink()
            raise
        # What logs and reasons call it; the real command is long.
        process.command = (name,)
        self._processes[process.pid] = (process, board)
        return process

    def is_up(self, process: ChildProcess) -> bool:
        """Whether the pool has heard of a process."""
        return any(worker.process == process.pid for worker in self.pool.workers)

    def forget(self, process: ChildProcess) -> None:
        """A process has ended, and nobody asks any more what it had begun."""
        _, board = self._processes.pop(process.pid)
        board.unlink(missing_ok=True)

    def kill(self, worker: WorkerHandle) -> None:
        """Kill the process of a worker."""
        if worker.process in self._processes:
            process, _ = self._processes[worker.process]
            process.kill("a task has not ended in time after it was cancelled")

    async def find_begun(self, worker: WorkerHandle) -> tuple[HasBegun, Reason]:
        """What a worker had begun of which the pool has lost sight, and why it has ended. Waits until it has."""
        if worker.process not in self._processes:
            # Its start was given up after it had said that it is up, and so it has ended.
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
