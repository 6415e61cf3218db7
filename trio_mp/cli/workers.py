"""`trio-mp run --workers`: several processes that run the same program, and the one that supervises them."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack

import trio

from .._node.child import Parent, open_node_beside
from .._node.node import Node
from .._node.signals import Stopping
from .._protocol.drain import Drained, Unfinished
from .._protocol.supervision import Restart
from .._reason import describe, is_expected
from .._settings.settings import SettingArguments
from .._supervision.arguments import DEFAULT_BACKOFF, ChildSettings, check_supervisor
from .._supervision.block import SupervisorBlock
from .._supervision.errors import SupervisorFailed
from .._supervision.process_kind import ProcessKind
from .._supervision.processes import START_TIMEOUT, ChildProcess, drained_message
from .._supervision.reference import ChildRef
from .._supervision.supervisor import Supervisor
from .._workers.opening import private_directory
from .deployed import NOTHING, DeployedNode, NodeFrom, StopFrom, complain, where
from .exits import NO, OK
from .output import Output

RESTARTS = {"never": Restart.TEMPORARY, "on-failure": Restart.TRANSIENT, "always": Restart.PERMANENT}

DEFAULT_RESTART = "on-failure"
"""When a worker is started again if the command does not say it: a word of `RESTARTS`."""

LIMIT, WITHIN = 3, 30.0
"""How many restarts there may be for each worker within so many seconds, before the supervisor gives up."""

_OF_THE_PARENT = ("binds", "advertise", "seeds", "secret", "encryption", "health")
"""The settings that a worker has from the process that supervises it, or leaves to that process."""


def run_workers(arguments: argparse.Namespace) -> int:
    """Run the workers of `trio-mp run --workers` until all have ended for good; returns the exit status.

    Raises:
      ConfigurationError: a setting cannot work.
      CommandFailed: the node of this process cannot listen where it should.
    """
    with ExitStack() as stack:

        def adjust(settings: SettingArguments) -> SettingArguments:
            return settings if settings.get("binds") or settings.get("seeds") else _private(settings, stack)

        crews: dict[Node, WorkerCrew] = {}

        def stop(node: Node, tell: Callable[[str], object]) -> Stopping:
            crew = crews[node] = WorkerCrew(node, arguments)
            return crew.stopping(tell)

        async def main(node: Node) -> int:
            Output(arguments).say(f"{arguments.workers} workers of the node {node.id}{where(node)}")
            return await crews[node].run()

        return DeployedNode(arguments, main, fixed=NOTHING, adjust=adjust, stop=stop).run()


def worker_opener(parent: Parent, node_id: str) -> NodeFrom:
    """Make the function that opens the node of a worker.

    Args:
      parent: the process that supervises the workers.
      node_id: the ID of the worker's node.
    """

    def open_worker_node(_: str | None, settings: SettingArguments) -> AbstractAsyncContextManager[Node]:
        found = settings.copy()
        for name in _OF_THE_PARENT:
            found.pop(name, None)  # type: ignore[misc]
        return open_node_beside(parent, node_id, **found)

    return open_worker_node


def worker_stopper(parent: Parent, restart: str) -> StopFrom:
    """Make the function that stops the node of a worker in good order.

    Args:
      parent: the process that supervises the workers, and is told what was unfinished.
      restart: when the worker is started again: a word of `RESTARTS`.
    """
    restarter = "" if restart == "never" else f"`trio-mp run --workers` with --restart {restart}"

    def stop_worker(node: Node, tell: Callable[[str], object]) -> Stopping:
        def report(unfinished: Sequence[Unfinished]) -> None:
            try:
                node.send(parent.invitation.parent, *drained_message(node.id, unfinished))
            except ValueError:
                # Too large all the same, or with texts of the program that cannot travel.
                left = Unfinished(node.id, f"{len(unfinished)} ports")
                node.send(parent.invitation.parent, *drained_message(node.id, [left]))

        seconds = node._runtime.settings.drain_timeout
        return Stopping(node, node.drain, seconds=seconds, restarter=restarter, tell=tell, report=report)

    return stop_worker


def _private(settings: SettingArguments, stack: ExitStack) -> SettingArguments:
    """The settings of a node that has no network: one for its workers alone."""
    found = settings.copy()
    found["binds"] = [f"unix:{stack.enter_context(private_directory())}/workers"]
    if not any(found.get(name) for name in ("secret", "secret_file", "certificate")):
        found["secret"] = secrets.token_bytes(32)
    return found


def _command(arguments: argparse.Namespace, node_id: str, restart: str) -> list[str]:
    """The command line of a worker: that of this process, without what is for this process alone."""
    options: list[str] = []
    for option, value in (("--profile", arguments.profile), ("--secret-file", arguments.secret_file)):
        options += [option, value] if value is not None else []
    options += ["-q"] * arguments.quiet + ["-v"] * arguments.verbose
    safe = ["-P"] if sys.flags.safe_path else []
    # Behind `--` all is the program's, even if it looks like an option.
    words = ["--", *arguments.words] if arguments.words[:1] != ["--"] else arguments.words
    run = [sys.executable, *safe, "-m", "trio_mp.cli", "run"]
    return [*run, "--worker", node_id, "--restart", restart, *options, *words]


class WorkerCrew:
    """The workers of one command, and the supervisor of them.

    Args:
      node: of this process.
      arguments: of the command line.
    """

    def __init__(self, node: Node, arguments: argparse.Namespace) -> None:
        self._node = node
        self._arguments = arguments
        settings = node._runtime.settings
        # A worker that has drained unwinds, and closes its node.
        self._shutdown = settings.drain_timeout + 2 * settings.shutdown_timeout
        self._crew = SupervisorBlock(
            node._runtime,
            node._spawner,
            node.database,
            check_supervisor(
                strategy="one_for_one",
                limit=LIMIT * arguments.workers,
                within=WITHIN,
                backoff=DEFAULT_BACKOFF,
                auto_shutdown="never",
                name="of the workers",
                epochs=None,
            ),
        )
        self._kinds: list[ProcessKind] = []
        self._workers: list[ChildRef] = []
        self._supervisor: Supervisor | None = None
        # The workers that ran when they were told to stop.
        self._stopped: list[ChildProcess] = []
        self._has_ended = trio.Event()
        self._stops = False

    def stopping(self, tell: Callable[[str], object]) -> Stopping:
        """Make what stops this process in good order: a little later than the last worker, which has its own time."""
        seconds = self._shutdown + 1
        return Stopping(self._node, self._drain, seconds=seconds, tell=tell, unfinished=self._unfinished)

    async def run(self) -> int:
        """Run the workers until all have ended for good; returns the exit status. A checkpoint."""
        try:
            return await self._run()
        except SupervisorFailed as failure:
            complain(failure.message)
            return NO
        finally:
            self._has_ended.set()

    async def _run(self) -> int:
        async with self._crew as self._supervisor:
            try:
                if not await self._start():
                    return NO
                await self._supervisor.wait()
            except BaseException:
                # Before the supervisor stops them, for which they would have the time to drain.
                self._cut()
                raise
        failed = [worker for worker in self._workers if not is_expected(worker.reason)]
        for worker in failed:
            complain(f"the worker {worker.name} has failed: {describe(worker.reason)}")
        return NO if failed else OK

    async def _start(self) -> bool:
        """Start all workers; returns whether that has succeeded, as far as they were not stopped meanwhile."""
        names = [f"{self._node.id}/{number}" for number in range(1, self._arguments.workers + 1)]
        try:
            # One before the others: what is wrong with the program is said once.
            await self._start_one(names[0])
            await _at_once(self._start_one, names[1:])
        except trio.ClosedResourceError:
            if not self._stops:
                raise
        except (RuntimeError, OSError, trio.TooSlowError) as error:
            complain(f"the workers cannot be started: {error}")
            return False
        return True

    async def _start_one(self, name: str) -> None:
        if self._stops:
            raise trio.ClosedResourceError(f"the workers are stopped, so {name} cannot be started")
        restart = self._arguments.restart or DEFAULT_RESTART
        command = _command(self._arguments, name, restart)
        kind = ProcessKind(self._node._runtime, command, None, None, START_TIMEOUT, drains=True)
        self._kinds.append(kind)
        child = ChildSettings(RESTARTS[restart], self._shutdown, significant=False, listed=None)
        self._workers.append(await self._crew.add(kind, name, child))

    async def _drain(self) -> Drained:
        """Have all workers drain and end, at once. Returns when `run` has. Cancelled, they end now."""
        self._stops = True
        processes = [kind.process for kind in self._kinds if kind.process is not None]
        self._stopped = [process for process in processes if not process.ended.is_set()]
        try:
            async with trio.open_nursery() as nursery:
                # The node drains, too, so that its supervisor starts no worker again.
                nursery.start_soon(self._node.drain)
                if self._supervisor is not None:
                    for worker in self._supervisor.children:
                        nursery.start_soon(self._supervisor.stop, worker)
            await self._has_ended.wait()
        except BaseException:
            self._cut()
            raise
        return Drained(self._unfinished())

    def _unfinished(self) -> tuple[Unfinished, ...]:
        """What the workers have left unfinished, and this process."""
        found = [left for process in self._stopped for left in _left_by(process)]
        names = {process.node_id for process in self._stopped}
        # What this node says of the nodes of workers, they say themselves.
        found += [left for left in self._node.unfinished() if left.port not in names]
        return tuple(found)

    def _cut(self) -> None:
        """Have the workers that still run end now."""
        for kind in self._kinds:
            if kind.process is not None and not kind.process.ended.is_set():
                kind.process.stop(self._node._runtime.settings.shutdown_timeout)


def _left_by(process: ChildProcess) -> Sequence[Unfinished]:
    """What a worker has left unfinished that was told to stop."""
    if process.unfinished is not None:
        return process.unfinished
    if process.reason is None:
        return [Unfinished(process.node_id, "that worker has not drained")]
    if is_expected(process.reason):
        # Its program had ended before.
        return ()
    return [Unfinished(process.node_id, f"that worker has not said what it left: {describe(process.reason)}")]


async def _at_once(start: Callable[[str], Awaitable[None]], names: Sequence[str]) -> None:
    """Start several workers at once. Raises the exception of the first one that cannot be started."""
    failures: list[Exception] = []

    async def try_start(name: str) -> None:
        try:
            await start(name)
        except Exception as error:  # noqa: BLE001 - a start may raise anything
            failures.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(try_start, name)
    if failures:
        raise failures[0]
