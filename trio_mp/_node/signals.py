"""Stopping a program in good order, because a signal says so, or an operator: `stop_on_signals`.

The kernel stops processes, not nodes. So all blocks of a process stop together: each has its node drain, and when the
last node has drained, or its time is up, all blocks are cancelled. A block that was cancelled earlier would take the
blocks inside it along, whose nodes still drain. The nodes inside it close in good order all the same.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

import trio

from .._events import fields
from .._protocol.drain import Drained, Unfinished
from .._reason import listed
from .._supervision.processes import RESTART_STATUS
from .._transport.service_manager import SERVICE_MANAGER
from .node import Node

_MOST_LOGGED = 10
"""How many ports with something unfinished the log names."""

log = logging.getLogger("trio_mp")


def stop_on_signals(node: Node) -> AbstractAsyncContextManager[Stopping, bool]:
    """Stop in good order on SIGTERM and Ctrl-C: `async with open_node(…) as node, stop_on_signals(node):`.

    The first SIGTERM or SIGINT has the node drain, as `Node.drain` does, for at most its `drain_timeout`. Then the log
    names what was unfinished, the block is cancelled, and the cancellation is swallowed: the block unwinds, the node
    closes in good order, and the program goes on behind it. The second signal has the block cancelled now. After the
    first one SIGINT has its own handler again, and after the second one SIGTERM, too. So a second Ctrl-C raises
    `KeyboardInterrupt` also in a program that blocks Trio, and a third SIGTERM ends the process.

    An operator has the same done by `trio-mp stop` or `Inspector.stop`. A signal that comes then is the first one.
    After `trio-mp restart`, the node raises `SystemExit(75)` when it has closed: whoever runs the process starts it
    again.

    Signals belong to the process. If several such blocks are open, for one node or for several, all nodes drain, and
    all blocks are cancelled when the last node has drained. A block that is entered later drains at once. When the last
    block is left, the handlers are as they were before the first one, also if no signal has come. A signal that came
    too late for the block comes again, to them. A SIGINT that the process ignores, as shells have programs in the
    background do, stays ignored.

    Args:
      node: the node.

    A block that ends by itself while the node drains waits for the drain: else the node would close, and cut it short.
    A second signal, or a cancellation from outside, ends that wait. An exception that leaves the block does not wait:
    the drain is cut short, and `cut_short` is True.

    Entering and leaving are checkpoints. If another scope cancels the block, nothing is drained.

    Raises:
      RuntimeError: this is not the main thread, which alone gets signals.
      trio.ClosedResourceError: the node is closed.
    """
    return Stopping(node, node.drain, seconds=node._runtime.settings.drain_timeout)


class Stopping:
    """What comes of signals, in a block of `stop_on_signals`.

    Attributes:
      begun: set when the program is to stop, before anything is drained.
      cause: why, such as `"SIGTERM"`; empty before.
      over: set when the node has drained, its time was up, or it has closed; the block is cancelled then.
      unfinished: what was unfinished then, by ports.
      cut_short: whether the node had not drained: its time was up, a second signal came, or the block was left by an
        exception or a cancellation from outside. Not if the node has ended before its block, as by an error.
      restarter: who starts the process again when it ends with the status 75, for people; empty if nobody is known.
    """

    def __init__(
        self,
        node: Any,
        drain: Any,
        *,
        seconds: float,
        restarter: str | None = None,
        tell: Any = None,
        unfinished: Any = None,
        report: Any = None,
    ) -> None:
        # `Any` in the signature: type checkers of programs need not read the modules that are not for users.
        # The arguments: how the node drains and for how long; who starts the process again that ends with 75 (None if
        # that is to be found out); what takes the words for people; what says what is unfinished when the time is up;
        # what is called with all that was unfinished, before the block is cancelled.
        self.begun: trio.Event = trio.Event()
        self.cause: str = ""
        self.over: trio.Event = trio.Event()
        self.unfinished: tuple[Unfinished, ...] = ()
        self.cut_short: bool = False
        self._node: Node = node
        if restarter is None:
            # The variables of a manager reach the processes that a supervisor has launched, too.
            told = bool(SERVICE_MANAGER.name)
            restarter = "" if self._node._runtime.launched else manager_of(os.environ, told=told)
        self.restarter: str = restarter
        self._drain: Callable[[], Awaitable[Drained]] = drain
        self._seconds = seconds
        self._tell_people: Callable[[str], object] = tell or (lambda _: None)
        self._left: Callable[[], tuple[Unfinished, ...]] = unfinished or node.unfinished
        self._report: Callable[[tuple[Unfinished, ...]], object] = report or (lambda _: None)
        self._scope = trio.CancelScope()
        self._patience = trio.CancelScope()
        self._task: trio.CancelScope | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    def __repr__(self) -> str:
        state = "over" if self.over.is_set() else f"begun by {self.cause}" if self.begun.is_set() else "not begun"
        return f"<Stopping of {self._node.id}: {state}>"

    @property
    def exit_status(self) -> int:
        """The exit status for a program that ends now. 0, or 1 if its node was cut short; 75 to be started again."""
        return self._node._runtime.exit_status or int(self.cut_short)

    # The block -----------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Stopping:
        if self._task is not None:
            raise RuntimeError("a block is entered once: call stop_on_signals() for each")
        runtime = self._node._runtime
        runtime.check_open()
        await trio.lowlevel.checkpoint()
        self._token = trio.lowlevel.current_trio_token()
        STOPPING_PROCESS.enter(self)
        self._task = runtime.lifecycle.start_system_task(self._run)
        runtime.observers.ended.append(self._node_ended)
        runtime.stopping = self
        self._scope.__enter__()
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # Also for operators that wait until it is over: the node may close now, and their answers are queued before.
        await trio.lowlevel.cancel_shielded_checkpoint()
        try:
            if error is None and self.begun.is_set() and not self.over.is_set():
                # The program has ended by itself, perhaps because a child was not restarted. The node would close, and
                # end the calls that it drains for. No cancellation of the block ends this wait: it comes behind `over`.
                await self.over.wait()
        finally:
            try:
                self._leave()
            finally:
                # Last, because it may raise what is left of the block's exceptions.
                caught = self._scope.__exit__(kind, error, trace)
        return caught

    def _leave(self) -> None:
        assert self._task is not None
        self._task.cancel()
        if self.begun.is_set() and not self.over.is_set():
            # By an exception, or another scope has cancelled the block: whoever has asked hears how far the node is.
            with suppress(trio.ClosedResourceError):
                self.unfinished = self._left()
                self._report(self.unfinished)
            self.cut_short = True
            self.over.set()
        try:
            STOPPING_PROCESS.leave(self)
        finally:
            # A signal may have come again, whose handler raises.
            runtime = self._node._runtime
            runtime.stopping = STOPPING_PROCESS.find(self._node)
            runtime.observers.ended.remove(self._node_ended)

    def _run_soon(self, function: Callable[[], object]) -> None:
        """Have Trio call a function, from the handler of a signal."""
        assert self._token is not None
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function)

    # What is asked of it ---------------------------------------------------------------------------------------------

    def _begin(self, cause: str) -> None:
        """Begin to drain. Does nothing if it has begun. Not a checkpoint."""
        if not self.begun.is_set():
            self.cause = cause
            self.begun.set()
            if self._node._runtime.closed:
                self._node_ended()

    def _node_ended(self) -> None:
        """The node has closed, though the block was not left: no task drains it any more, and others do not wait."""
        if self.begun.is_set():
            self.over.set()
            STOPPING_PROCESS.settle()

    def _cut(self) -> None:
        """Drain no longer. Not a checkpoint."""
        self._patience.cancel()

    def _cancel(self) -> None:
        """Cancel the block. Not a checkpoint."""
        self._node._runtime.ends_in_order = True
        self._scope.cancel()

    async def _stop(self, cause: str, *, restart: bool) -> None:
        """See `StopDoor._stop`."""
        STOPPING_PROCESS.begin(cause, restart=restart)
        await self.over.wait()

    # What is done ----------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        """Wait until the program is to stop, and drain the node. A task of the runtime.

        An interrupt is for the program's main task, and not for this one.
        """
        await self.begun.wait()
        self._say_begun()
        self._node._runtime.standing.begin_stopping()
        self._patience.deadline = trio.current_time() + self._seconds
        # A node that closes was left by its program at the same moment.
        with suppress(trio.ClosedResourceError), self._patience:
            self.unfinished = (await self._drain()).unfinished
        if self._patience.cancelled_caught:
            self.cut_short = True
            self.unfinished = self._left()
        with suppress(trio.ClosedResourceError):
            self._report(self.unfinished)
        self._say_over()
        self.over.set()
        STOPPING_PROCESS.settle()

    def _say_begun(self) -> None:
        node_id = self._node.id
        log.info(
            "%s: the node %s drains, for at most %g s",
            *(self.cause, node_id, self._seconds),
            extra=fields("stopping", node_id),
        )
        self._tell(f"{self.cause}: the node {node_id} drains, for at most {self._seconds:g} s")

    def _tell(self, text: str) -> None:
        # Nobody may read the standard error any more; that must not end the node.
        with suppress(OSError, ValueError):
            self._tell_people(text)

    def _say_over(self) -> None:
        node_id, told = self._node.id, told_unfinished(self.unfinished)
        if self.cut_short:
            log.warning(
                "the node %s was cut short while it drained; unfinished: %s",
                *(node_id, told),
                extra=fields("stopping", node_id),
            )
            self._tell(f"the node {node_id} was cut short; unfinished: {told}")
        elif self.unfinished:
            # The log has it from the drain.
            self._tell(f"the node {node_id} has drained; unfinished: {told}")


def is_cancellation(error: BaseException | None) -> bool:
    """Whether a block is left by cancellations alone: one, or a group of them, as a nursery makes it."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def told_unfinished(unfinished: tuple[Unfinished, ...]) -> str:
    """Say what is unfinished, in one line of bounded length."""
    return listed(unfinished, _MOST_LOGGED) or "nothing that is known"


def manager_of(environ: Mapping[str, str], *, told: bool = False) -> str:
    """Say who runs this process and starts it again when it has ended; empty if nobody is known.

    The variables of systemd reach all descendants of a service, so they count only in the process that it has started
    itself, which is known since systemd 248. Slurm is not among them: it starts no task again.

    Args:
      environ: the variables of this process.
      told: whether systemd has said where it listens, by a variable that was taken out of the environment since.
    """
    own = environ.get("SYSTEMD_EXEC_PID", str(os.getpid())) == str(os.getpid())
    if own and (told or "INVOCATION_ID" in environ or "NOTIFY_SOCKET" in environ):
        return "systemd"
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "Kubernetes"
    return "the container" if os.getpid() == 1 else ""


class StoppingProcess:
    """The handlers of this process, and the blocks that are to stop. There is one, because signals are the process's.

    All methods are called in the main thread. `_handle` may come between any two lines of the others.
    """

    def __init__(self) -> None:
        # In the order in which they were entered.
        self._blocks: dict[Stopping, None] = {}
        self._hearers = 0
        # The handlers that were there before, of those that are replaced now.
        self._before: dict[int, Any] = {}
        # How many signals have come, and how many of them the blocks know.
        self._signals = 0
        self._cause = ""
        # The first signal, until a block or a command has taken it up; 0 if there is none.
        self._missed = 0
        # What a signal cancels before the first block is entered, and the way there.
        self._opening: trio.CancelScope | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    @property
    def hears(self) -> bool:
        """Whether somebody stops when a signal comes, or will as soon as a block is entered."""
        return self._hearers > 0

    @contextmanager
    def hearing(self) -> Generator[trio.CancelScope]:
        """Hear signals for the length of the block, also before a `Stopping` is entered, and after it was left.

        Gives a scope, to be entered, that a signal cancels which comes before: there is nothing to drain yet, and a
        node that is being opened may wait for long. To be used in a task of Trio's.

        Raises:
          RuntimeError: this is not the main thread.
        """
        self._opening = opening = trio.CancelScope()
        self._token = trio.lowlevel.current_trio_token()
        self._hear()
        try:
            yield opening
        finally:
            # The command ends: that is what the signal wants.
            self._missed = 0
            self._stop_hearing()
            self._opening = self._token = None

    def enter(self, block: Stopping) -> None:
        """Note that a block is entered. Raises `RuntimeError` in another thread than the main thread."""
        self._hear()
        self._opening = None
        self._blocks[block] = None
        if self._cause:
            self._missed = 0
            block._begin(self._cause)
        if self._signals > 1:
            block._cut()

    def leave(self, block: Stopping) -> None:
        """Note that a block is left. The others may have waited for it.

        If it is the last one, a signal that no block has taken up comes again, to the handler that was there before.
        """
        if block not in self._blocks:
            return  # this process is a child, and has forgotten it
        del self._blocks[block]
        self.settle()
        self._stop_hearing()

    def forget(self) -> None:
        """Give all signals their own handlers again, and know no block any longer: in a child that `os.fork` has made.

        It has none of the tasks that would do what a signal asks for.
        """
        for number in tuple(self._before):
            self._restore(number)
        self._blocks.clear()
        self._hearers = self._signals = self._missed = 0
        self._cause = ""
        self._opening = self._token = None

    def find(self, node: Node) -> Stopping | None:
        """Return a block of this node; None if there is none."""
        return next((block for block in self._blocks if block._node is node), None)

    def begin(self, cause: str, *, restart: bool = False) -> None:
        """Have all nodes drain. Does nothing if they do already, or if nobody hears any longer.

        Args:
          cause: why.
          restart: whether the process asks to be started again.
        """
        if not self._hearers:
            return
        self._missed = 0
        if self._cause:
            return
        self._cause = cause
        open_runtimes = [block._node._runtime for block in self._blocks if not block._node._runtime.closed]
        if restart and open_runtimes:
            # By the outermost node, which closes last: what leaves one node by an exception cuts those around it.
            open_runtimes[0].exit_status = RESTART_STATUS
        for block in tuple(self._blocks):
            block._begin(cause)

    def settle(self) -> None:
        """Cancel all blocks if no node drains any longer."""
        if self._blocks and all(block.over.is_set() for block in self._blocks):
            for block in tuple(self._blocks):
                block._cancel()

    # Signals ---------------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "stop_on_signals(): expected the main thread, which alone gets signals, got the thread"
                f" {threading.current_thread().name}; call Node.drain() there, when the main thread says so"
            )
        self._hearers += 1
        if self._hearers > 1:
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if number == signal.SIGINT and before is signal.SIG_IGN:
                continue
            # None is a handler that was not set by Python, which cannot set it again.
            self._before[number] = signal.SIG_DFL if before is None else before
            signal.signal(number, self._handle)

    def _stop_hearing(self) -> None:
        if not self._hearers:
            return  # this process is a child, and has forgotten it
        self._hearers -= 1
        if not self._hearers:
            for number in tuple(self._before):
                self._restore(number)
            missed, self._signals, self._cause, self._missed = self._missed, 0, "", 0
            if missed:
                signal.raise_signal(missed)

    def _restore(self, number: int) -> None:
        """Give a signal its own handler again, unless the program has set another one meanwhile."""
        before = self._before.pop(number, None)
        if before is not None and signal.getsignal(number) == self._handle:
            signal.signal(number, before)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._signals += 1
        # Here and not in Trio, which a program may block.
        self._restore(signal.SIGINT)
        if self._signals > 1:
            self._restore(signal.SIGTERM)
        name = signal.Signals(number).name
        block = next(iter(self._blocks), None)
        if not self._cause and (block is not None or self._token is None):
            self._missed = self._missed or number
        if block is None:
            self._cause = self._cause or name
            if self._token is not None:
                self._token.run_sync_soon(self._cancel_opening)
        elif self._signals > 1:
            block._run_soon(self._cut)
        else:
            block._run_soon(lambda: self.begin(name))

    def _cancel_opening(self) -> None:
        # A block that was entered meanwhile drains.
        if self._opening is not None:
            self._opening.cancel()

    def _cut(self) -> None:
        for block in tuple(self._blocks):
            block._cut()


STOPPING_PROCESS = StoppingProcess()
"""Of this process."""

os.register_at_fork(after_in_child=STOPPING_PROCESS.forget)
