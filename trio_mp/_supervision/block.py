"""The block of a supervisor: entering it, and the exceptions that leave it."""

from __future__ import annotations

from types import TracebackType

import trio

from .._runtime import Runtime
from .._services.database import Database
from .._services.spawning import Spawner
from .arguments import ChildSettings, SupervisorSettings
from .child import Kind
from .driver import Driver
from .errors import SupervisorFailed
from .reference import ChildRef
from .supervisor import Supervisor


class SupervisorBlock:
    """`async with node.open_supervisor(…) as crew`; see `Node.open_supervisor`.

    A class and not a decorated generator, so that no interrupt can come between two lines of it.

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

    async def add(self, kind: Kind, name: str, settings: ChildSettings) -> ChildRef:
        """Add a child of any kind; see `Driver.add`. For what opens a supervisor in this package, for its own purposes.

        Raises:
          RuntimeError: the block has not been entered.
        """
        if self._driver is None:
            raise RuntimeError(f"{name} cannot be added to a supervisor whose block has not been entered")
        return await self._driver.add(kind, name, settings)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        driver = self._driver
        assert driver is not None
        left = [each for each in (_leave(driver.scope, kind, error, trace),) if each is not None]
        driver.leave()
        try:
            driver.end()
        except Exception as mistake:  # noqa: BLE001 - a bug of this package; the nursery must be left in any case
            left.append(mistake)
        left += await _wait(driver)
        try:
            await self._nursery.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            # Of a task of the driver, which is an error in this package; or an interrupt.
            left += group.exceptions
        failure = driver.take_failure()
        if failure is not None:
            left.append(failure)
        elif not left and driver.closed:
            left.append(trio.ClosedResourceError(f"node {self._runtime.id} has closed, and with it {driver.label}"))
        return _raise_all(left, error, driver.label)


async def _wait(driver: Driver) -> list[BaseException]:
    """Wait until no child of a supervisor runs any more; return the interrupts that have come meanwhile.

    This takes at most the sum of the times that the children have to stop. The log names a child that takes longer.
    """
    interrupts: list[BaseException] = []
    while True:
        try:
            with trio.CancelScope(shield=True):
                await driver.wait_ended()
                # Starts have ended but for their last step, unless `Driver.abandon` has left them to themselves.
                await driver.wait_tasks()
        except KeyboardInterrupt as interrupt:
            # Trio wakes the main task for it, protected or not. To leave now would leave the children behind.
            interrupts = [interrupt]
        else:
            return interrupts


def _raise_all(errors: list[BaseException], error: BaseException | None, label: str) -> bool:
    """Leave the block with these exceptions: one as it is, several as a group.

    Args:
      errors: the exceptions that leave the block.
      error: the exception of the body. Returning False has Python raise it again.
      label: the supervisor's name in errors.
    """
    if len(errors) > 1:
        # A cancellation adds nothing: the other exceptions pass through the same scopes.
        errors = [each for each in errors if not isinstance(each, trio.Cancelled)] or errors[:1]
    interrupts = [each for each in errors if isinstance(each, KeyboardInterrupt)]
    errors = [each for each in errors if each not in interrupts[1:]]
    if not errors:
        return True
    if len(errors) > 1:
        raise BaseExceptionGroup(f"{label} has ended, and not only its block has failed", errors)
    if errors[0] is error:
        return False
    if isinstance(errors[0], SupervisorFailed):
        # `from None`: the body was only cancelled because the supervisor has failed.
        raise errors[0] from None
    raise errors[0]


def _leave(
    scope: trio.CancelScope, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> BaseException | None:
    """Leave the scope of a body; return the exception of the body, unless it was the scope's own cancellation."""
    try:
        caught = scope.__exit__(kind, error, trace)
    except BaseException as rest:  # noqa: BLE001 - the other exceptions of the body
        return rest
    return None if caught else error
