"""Opening workers: a private node beside that of the program, a supervisor, and a pool."""

from __future__ import annotations

import operator
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Unpack

import trio

from .._ports.instruments import Instrument
from .._protocol.supervision import Restart
from .._runtime import Runtime
from .._services.spawning import import_modules
from .._settings.environment import Environment
from .._settings.settings import SettingArguments
from .._supervision.arguments import Backoff, ChildSettings, SupervisorSettings, check_number, check_supervisor
from .._supervision.block import SupervisorBlock
from .functions import Callables
from .main_module import check_not_importing, describe_main
from .orders import CONNECT_TIMEOUT, HEARTBEAT
from .pool import Pool
from .processes import Staff, WorkerKind
from .workers import Workers

if TYPE_CHECKING:
    # For the type alone: `_node` is above this room.
    from .._node.node import Node


class NodeOpener(Protocol):
    """Opens a node; see `open_node_in`."""

    def __call__(
        self,
        environment: Environment,
        node_id: str | None = None,
        *,
        instruments: Iterable[Instrument] = (),
        **settings: Unpack[SettingArguments],
    ) -> AbstractAsyncContextManager[Node]:
        """See `open_node_in`."""
        ...


@dataclass(frozen=True, slots=True)
class WorkersSettings:
    """The arguments of `Node.open_workers`, checked.

    Attributes:
      count, modules, shutdown_timeout: see there.
      supervisor: the settings of the supervisor.
    """

    count: int
    modules: tuple[str, ...]
    shutdown_timeout: float
    supervisor: SupervisorSettings


def check_workers(
    count: object, *, modules: Iterable[str], shutdown_timeout: object, limit: object, within: object
) -> WorkersSettings:
    """Check the arguments of `Node.open_workers`. Raises `TypeError` or `ValueError`, naming argument and value."""
    if count is None:
        number = _usable_cores()
    else:
        try:
            number = operator.index(count)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"open_workers(): expected a number of workers, got {count!r}") from None
        if number < 1:
            raise ValueError(f"open_workers(): expected a number of workers above 0, got {number}")
    names = () if isinstance(modules, str) else tuple(modules)
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"open_workers(): modules: expected the names of one module or more, such as [__name__], got {modules!r}"
        )
    seconds = check_number("open_workers(): shutdown_timeout", shutdown_timeout)
    if not seconds >= 0:
        raise ValueError(f"open_workers(): shutdown_timeout: expected seconds, 0 or more, got {seconds}")
    supervisor = check_supervisor(
        strategy="one_for_one",
        limit=limit,
        within=within,
        # Short delays, because callers wait for the workers.
        backoff=Backoff(0.05, 1.0),
        auto_shutdown="never",
        name="of the workers",
        epochs=None,
    )
    return WorkersSettings(number, names, float(seconds), supervisor)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@asynccontextmanager
async def open_workers(runtime: Runtime, open_node: NodeOpener, settings: WorkersSettings) -> AsyncGenerator[Workers]:
    """See `Node.open_workers`.

    Args:
      runtime: the program's node. The workers are not part of its network.
      open_node: opens the private node.
      settings: what the program has said.
    """
    runtime.check_open()
    check_not_importing()
    if not hasattr(socket, "AF_UNIX"):
        raise RuntimeError("open_workers() needs Unix sockets, which Trio does not have on this platform")
    main = describe_main(settings.modules)
    # Also here, so that a failing import raises in the program, with its traceback.
    import_modules(settings.modules, "modules")
    callables = Callables(settings.modules)
    with private_directory() as directory:
        async with open_node(
            Environment(),
            binds=[f"unix:{directory}/pool"],
            secret=secrets.token_bytes(32),
            # No other user can open the socket, and each connection is authenticated all the same.
            encryption=False,
            heartbeat=HEARTBEAT,
            connect_timeout=CONNECT_TIMEOUT,
            share_logs=False,
        ) as node:
            beside = node._runtime
            timeout = settings.shutdown_timeout
            staff = Staff(beside, directory, settings.modules, main, shutdown_timeout=timeout)
            pool = Pool(
                beside,
                settings.modules,
                shutdown_timeout=timeout,
                kill=staff.kill,
                find_begun=staff.find_begun,
            )
            staff.pool = pool
            supervisor = SupervisorBlock(beside, node._spawner, node.database, settings.supervisor)
            async with supervisor:
                pool.start_soon(pool.oversee)
                try:
                    await _start_all(supervisor, staff, settings)
                    yield Workers(pool, callables, settings.count)
                finally:
                    pool.close()


async def _start_all(supervisor: SupervisorBlock, staff: Staff, settings: WorkersSettings) -> None:
    """Start all workers at once. Raises the exception of the first one that cannot be started."""
    child = ChildSettings(Restart.PERMANENT, settings.shutdown_timeout, False, None)
    failures: list[Exception] = []

    async def start(number: int) -> None:
        name = f"worker-{number}"
        try:
            await supervisor.add(WorkerKind(staff, name), name, child)
        except Exception as error:  # noqa: BLE001 - a start may raise anything
            failures.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for number in range(1, settings.count + 1):
            nursery.start_soon(start, number)
    if failures:
        raise failures[0]


@contextmanager
def private_directory() -> Iterator[Path]:
    """Make a directory that only this user can read, for the length of the block."""
    # Paths of Unix sockets must be short, and $TMPDIR may be long.
    parent = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp makes it private
    directory = tempfile.mkdtemp(prefix="trio-mp-", dir=parent)
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
