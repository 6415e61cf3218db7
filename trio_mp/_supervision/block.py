"""The block of a supervisor: what enters it, and what leaves it."""

from __future__ import annotations

from types import TracebackType

import trio

from .._runtime import Runtime
from .._services.database import Database
from .._services.spawning import Spawner
from .arguments import SupervisorSettings
from .driver import Driver
from .supervisor import Supervisor


class SupervisorBlock:
    """`async with node.open_supervisor(…) as crew`; see `Node.open_supervisor`.

    A class, and no decorated generator, so that an interrupt cannot come between two lines of it.

    Args:
      runtime, spawner, database: the node's.
      settings: what the program has said.
    """

    def __init__(self, runtime: Runtime, spawner: Spawner, database: Database, settings: SupervisorSettings) -> None:
        self._runtime = runtime
        self._spawner = spawner
        self._database = database
        self._settings = settings
        self._driver: Driver | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Supervisor:
        if self._driver is not None:
            raise RuntimeError("a supervisor is opened once: call open_supervisor() for each block")
        await trio.lowlevel.checkpoint()
        self._driver = driver = Driver(self._runtime, self._database, self._settings)
        self._nursery = trio.open_nursery(strict_exception_groups=True)
        driver.enter(await self._nursery.__aenter__())
        driver.scope.__enter__()
        return Supervisor(self._runtime, self._spawner, self._database, driver)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        driver = self._driver
        assert driver is not None
        left = _leave(driver.scope, kind, error, trace)
        driver.leave()
        driver.cancel()
        with trio.CancelScope(shield=True):
            # At most the time that the children have, one after the other. Each is told loudly that takes longer.
            await driver.wait_ended()
            while driver.nursery.child_tasks:
                # Starts that have ended, but for their last step.
                await trio.lowlevel.cancel_shielded_checkpoint()
        try:
            await self._nursery.__aexit__(None, None, None)
        finally:
            failure = driver.take_failure()
        if failure is not None:
            if left is None:
                raise failure
            text = f"{driver.label} has given up, and its block was left by an exception"
            raise BaseExceptionGroup(text, [left, failure])
        if left is None and driver.closed:
            raise trio.ClosedResourceError(f"node {self._runtime.id} has closed, and with it {driver.label}")
        if left is not None and left is not error:
            raise left
        return left is None


def _leave(
    scope: trio.CancelScope, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> BaseException | None:
    """Leave the scope of a body; what the body was left with, but for the scope's own cancellation."""
    try:
        caught = scope.__exit__(kind, error, trace)
    except BaseException as rest:  # noqa: BLE001 - what the body was left with besides
        return rest
    return None if caught else error
