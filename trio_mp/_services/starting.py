"""Starting: ports that say when they have started, and who waits for that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import trio

from .._errors import PortDied
from .._ports.monitor import MonitorCallback
from .._ports.port import Port, new_port, state_of
from .._ports.run_queue import Job
from .._reason import Reason, start_cancelled
from .._runtime import Runtime
from .processes import PortStatus, start_process

P_co = TypeVar("P_co", bound=str, covariant=True)


@dataclass(frozen=True, slots=True)
class Started(Generic[P_co]):
    """A port that has started.

    Attributes:
      port: the `Port` that `Node.start` has made; of `Node.start_on` the ID of the port over there.
      value: what its function has given to `task_status.started`.
    """

    port: P_co
    value: Any


class _Outcome:
    """What becomes of a start.

    Attributes:
      known: set when the port has started, or has died before and unwound.
      gone: set when the port has died and unwound, whether it has started or not.
      started: whether it has started.
      value: what with.
      reason: why it has died before it had started.
      error: the exception that was the cause of that, if there is one.
    """

    __slots__ = ("error", "gone", "known", "reason", "started", "value")

    def __init__(self) -> None:
        self.known = trio.Event()
        self.gone = trio.Event()
        self.started = False
        self.value: Any = None
        self.reason: Reason = ()
        self.error: Exception | None = None

    def has_started(self, value: Any) -> None:
        """The port has started, with this value."""
        self.started, self.value = True, value
        self.known.set()

    def has_died(self, reason: Reason, error: Exception | None) -> None:
        """The port has died and unwound."""
        if not self.started:
            self.reason, self.error = reason, error
        self.gone.set()
        self.known.set()

    def failure(self, port: str) -> Exception:
        """What to raise for a port that has not started."""
        # Not kept: its traceback keeps the frame that keeps this.
        error, self.error = self.error, None
        return error if error is not None else PortDied(port, self.reason)


async def start(
    runtime: Runtime,
    function: Callable[..., Awaitable[object]],
    arguments: tuple[Any, ...],
    *,
    epoch: int | None = None,
    died: MonitorCallback | None = None,
) -> Started[Port]:
    """See `Node.start`.

    Args:
      runtime, function, arguments: see there.
      epoch: what `current_epoch` says in the port.
      died: the callback of a monitor that is set before the port runs, belongs to no port, and is still set when this
        returns, so that no death is missed in between. It may be called before the task that waits here runs again.
        It is not called if this raises.
    """
    if not callable(function):
        raise TypeError(f"start(): expected an async function, got {function!r}")
    await trio.lowlevel.checkpoint_if_cancelled()
    lifecycle, queue = runtime.lifecycle, runtime.dispatcher.queue
    port = new_port(lifecycle, runtime.next_name())
    state = state_of(port)
    state.epoch = epoch
    outcome = _Outcome()
    monitor = runtime.monitor(port, died, None) if died is not None else None

    def answer(value: Any) -> None:
        # Behind the messages that the port has sent before.
        queue.enqueue(Job(outcome.has_started), (value,))

    def unwound() -> None:
        if not outcome.started:
            # It is raised below, so it is no news to anybody else.
            state.heard = True
            if monitor is not None:
                monitor.cancel()
        outcome.has_died(state.reason, state.error)

    state.unwound.append(unwound)
    try:
        start_process(port, function, arguments, PortStatus(port, answer))
        try:
            await outcome.known.wait()
        except BaseException:
            # An answer that is on its way comes to nobody.
            if monitor is not None:
                monitor.cancel()
            lifecycle.die(port, start_cancelled())
            await _wait_shielded(runtime, outcome.gone)
            if outcome.error is None:
                raise
            # It has failed before it was cancelled, and nobody else would be told.
            outcome.started = False
    finally:
        # Its closure holds the value.
        if unwound in state.unwound:
            state.unwound.remove(unwound)
    if not outcome.started:
        raise outcome.failure(port)
    return Started(port, outcome.value)


async def _wait_shielded(runtime: Runtime, gone: trio.Event) -> None:
    """Wait until a port has unwound, whoever is cancelled, or until this node has been cancelled.

    After that nothing is dispatched, and who waits for a port here could wait for ever; its tasks unwind in the node's
    nursery.
    """
    dispatcher = runtime.dispatcher
    if dispatcher.halted:
        return
    dispatcher.halting[gone.set] = None
    try:
        with trio.CancelScope(shield=True):
            await gone.wait()
    finally:
        del dispatcher.halting[gone.set]
