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
from .._protocol.supervision import Restart
from .._reason import describe, is_expected
from .._settings.settings import SettingArguments
from .._supervision.arguments import DEFAULT_BACKOFF, ChildSettings, check_supervisor
from .._supervision.block import SupervisorBlock
from .._supervision.errors import SupervisorFailed
from .._supervision.process_kind import ProcessKind
from .._supervision.processes import START_TIMEOUT
from .._supervision.reference import ChildRef
from .._workers.opening import private_directory
from .deployed import NOTHING, DeployedNode, NodeFrom, complain, where
from .exits import NO, OK
from .output import Output

RESTARTS = {"never": Restart.TEMPORARY, "on-failure": Restart.TRANSIENT, "always": Restart.PERMANENT}

LIMIT, WITHIN = 3, 30.0
"""How many restarts there may be for each worker within so many seconds, before the supervisor gives up."""

_OF_THE_PARENT = ("binds", "advertise", "seeds", "secret", "encryption")
"""The settings that a worker has from the process that supervises it."""


def run_workers(arguments: argparse.Namespace) -> int:
    """Run the workers of `trio-mp run --workers` until all have ended for good; returns the exit status.

    Raises:
      ConfigurationError: a setting cannot work.
      CommandFailed: the node of this process cannot listen where it should.
    """
    with ExitStack() as stack:

        def adjust(settings: SettingArguments) -> SettingArguments:
            return settings if settings.get("binds") or settings.get("seeds") else _private(settings, stack)

        async def main(node: Node) -> int:
            return await _supervise(node, arguments, Output(arguments))

        return DeployedNode(arguments, main, fixed=NOTHING, adjust=adjust).run()


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


def _private(settings: SettingArguments, stack: ExitStack) -> SettingArguments:
    """The settings of a node that has no network: one for its workers alone."""
    found = settings.copy()
    found["binds"] = [f"unix:{stack.enter_context(private_directory())}/workers"]
    if not any(found.get(name) for name in ("secret", "secret_file", "certificate")):
        found["secret"] = secrets.token_bytes(32)
    return found


def _command(arguments: argparse.Namespace, node_id: str) -> list[str]:
    """The command line of a worker: that of this process, without what is for this process alone."""
    options: list[str] = []
    for option, value in (("--profile", arguments.profile), ("--secret-file", arguments.secret_file)):
        options += [option, value] if value is not None else []
    options += ["-q"] * arguments.quiet + ["-v"] * arguments.verbose
    safe = ["-P"] if sys.flags.safe_path else []
    # Behind `--` all is the program's, even if it looks like an option.
    words = ["--", *arguments.words] if arguments.words[:1] != ["--"] else arguments.words
    return [sys.executable, *safe, "-m", "trio_mp.cli", "run", "--worker", node_id, *options, *words]


async def _supervise(node: Node, arguments: argparse.Namespace, output: Output) -> int:
    count: int = arguments.workers
    restart = RESTARTS[arguments.restart or "on-failure"]
    settings = check_supervisor(
        strategy="one_for_one",
        limit=LIMIT * count,
        within=WITHIN,
        backoff=DEFAULT_BACKOFF,
        auto_shutdown="never",
        name="of the workers",
        epochs=None,
    )
    output.say(f"{count} workers of the node {node.id}{where(node)}")
    crew = SupervisorBlock(node._runtime, node._spawner, node.database, settings)
    workers: list[ChildRef] = []
    try:
        async with crew as supervisor:
            names = [f"{node.id}/{number}" for number in range(1, count + 1)]
            child = ChildSettings(restart, None, significant=False, listed=None)

            async def start(name: str) -> None:
                kind = ProcessKind(node._runtime, _command(arguments, name), None, None, START_TIMEOUT)
                workers.append(await crew.add(kind, name, child))

            try:
                # One before the others: what is wrong with the program is said once.
                await start(names[0])
                await _at_once(start, names[1:])
            except (RuntimeError, OSError, trio.TooSlowError) as error:
                complain(f"the workers cannot be started: {error}")
                return NO
            await supervisor.wait()
    except SupervisorFailed as failure:
        complain(failure.message)
        return NO
    failed = [worker for worker in workers if not is_expected(worker.reason)]
    for worker in failed:
        complain(f"the worker {worker.name} has failed: {describe(worker.reason)}")
    return NO if failed else OK


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
