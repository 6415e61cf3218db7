"""The mailbox of a process-style port: messages wait until the port's task takes them, in any order it likes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

import trio
from trio.lowlevel import checkpoint_if_cancelled

from .._errors import PortDied
from .._reason import Reason
from .backlog import Backlog
from .handlers import Pattern, matches

YIELD_INTERVAL = 0.001
"""A task that finds one message after the other waiting lets others run at least this often, in seconds."""

_NEVER = float("-inf")
"""When the first task has let others run: so it does so at once, and the mailbox knows which task it is."""


class Mailbox:
    """Messages that wait, and the one task that may wait for them.

    Args:
      port: the ID of the port to which the mailbox belongs.
      messages: where messages wait.
      clock: a monotonic clock in seconds, for fairness only.
      overflow: called with a text that says why when there is no room for a message.
    """

    __slots__ = (
        *("_cause", "_clock", "_handed", "_latest", "_loops", "_messages", "_overflow", "_pattern", "_port"),
        *("_quietly", "_reason", "_task", "_yielded", "_yielding"),
    )

    def __init__(
        self, port: str, messages: Backlog, clock: Callable[[], float], overflow: Callable[[str], None]
    ) -> None:
        self._port = port
        self._messages = messages
        self._clock = clock
        self._overflow = overflow
        self._task: trio.lowlevel.Task | None = None
        self._pattern: Pattern = ()
        self._handed: list[tuple[object, ...]] = []
        self._reason: Reason | None = None
        self._quietly = False
        self._cause: Exception | None = None
        self._yielded = _NEVER
        # How many tasks have begun to receive, and let others run first.
        self._yielding = 0
        # The loops over it that have not been left: only the interpreter keeps the iterator of an `async for`, and
        # drops it when the loop ends, in whatever way.
        self._loops: tuple[weakref.ref[Receiver], ...] = ()
        # The task that has waited here last, or has let others run here, or has taken a message without waiting.
        self._latest: trio.lowlevel.Task | None = None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size(self) -> int:
        """How many bytes of memory those messages take that were received from other nodes."""
        return self._messages.size

    @property
    def was_asked(self) -> bool:
        """Whether a task has ever received from it."""
        return self._yielded != _NEVER or self._yielding > 0 or self._latest is not None

    @property
    def is_waited_at(self) -> bool:
        """Whether a task waits for a message."""
        return self._task is not None

    @property
    def is_in_hand(self) -> bool:
        """Whether a loop over it has taken a message, and has not asked for the next one."""
        return bool(self._loops) and any(loop.is_at_work for loop in self.loops())

    @property
    def has_work(self) -> bool:
        """Whether messages wait in it, or a loop over it has one in hand."""
        return len(self._messages) > 0 or self.is_in_hand

    def loops(self) -> list[Receiver]:
        """The loops over it that have not been left, of tasks that have not ended."""
        found = [reference() for reference in self._loops]
        return [loop for loop in found if loop is not None and not (loop.task is not None and _has_ended(loop.task))]

    def readers(self) -> set[trio.lowlevel.Task]:
        """The tasks that take messages from it, as far as it knows: those that loop, and the one that was here last."""
        readers = {loop.task for loop in self.loops() if loop.task is not None}
        if self._latest is not None and not _has_ended(self._latest):
            readers.add(self._latest)
        return readers

    def waiting_ends(self) -> set[str]:
        """The last elements of the messages that wait, as far as they are texts: those of calls are reply ports."""
        return {message[-1] for message in self._messages if message and isinstance(message[-1], str)}

    def put(self, *message: object, received: bool = False) -> None:
        """Hand a message to the task that waits for it, or keep it.

        It takes a message as a handler does, so that the dispatcher can call it as the port's default handler.
        """
        task = self._task
        # Comparing may run the program's code, which may end the wait, or the port.
        if task is not None and matches(self._pattern, message) and task is self._task:
            self._handed.append(message)
            self._wake(task)
            return
        full = self._messages.append(message, received)
        if full:
            self._overflow(full)

    def die(self, reason: Reason, *, quietly: bool, cause: Exception | None) -> None:
        """Close the mailbox of a port that has died: drop the messages, and wake the task that waits for one.

        Args:
          reason: why the port has died.
          quietly: whether an iteration ends without an exception.
          cause: the exception that has killed the port, for the task that waits now. It is not kept for later ones:
            its traceback would keep frames, and all that they hold, alive.
        """
        self._reason = reason
        self._quietly = quietly
        self._cause = cause if self._task is not None or self._yielding else None
        # A limit of 0 refuses what a dispatch that is going on may still put in.
        self._messages = Backlog(0, 0)
        self._latest = None
        self._loops = ()
        if self._task is not None:
            self._wake(self._task)

    def _wake(self, task: trio.lowlevel.Task) -> None:
        self._task = None
        trio.lowlevel.reschedule(task)

    def loop(self) -> Receiver:
        """Begin a loop over it, in this task. Only the loop is to keep what this returns."""
        # Another task may go on with it: the first receive lets others run, and so finds out which task it is.
        self._yielded = _NEVER
        loop = Receiver(self, trio.lowlevel.current_task())
        self._loops = (*[reference for reference in self._loops if reference() is not None], weakref.ref(loop))
        return loop

    async def _wait(self, pattern: Pattern, handed: list[tuple[object, ...]]) -> None:
        """Wait for a message, which is put into the list, or for the death of the port: then the list stays empty."""
        self._task = self._latest = trio.lowlevel.current_task()
        self._pattern = pattern
        self._handed = handed

        def abort(_: object) -> trio.lowlevel.Abort:
            # It has taken nothing.
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        self._yielded = self._clock()

    def _find(self, pattern: Pattern) -> tuple[object, ...] | None:
        for index, message in enumerate(self._messages):
            if matches(pattern, message):
                return self._messages.pop(index)[0]
        return None


def _has_ended(task: trio.lowlevel.Task) -> bool:
    # Trio takes coroutines of other compilers, too, which have no such attribute.
    return getattr(task.coro, "cr_frame", True) is None


class Receiver:
    """Takes messages from a mailbox: one for each loop over it, and one for all tasks that receive without a loop.

    Args:
      mailbox: from which it takes them.
      task: the task that loops; None if this is for no loop.

    Attributes:
      task: see above.
    """

    __slots__ = ("__weakref__", "_handed", "_in_hand", "_mailbox", "task")

    def __init__(self, mailbox: Mailbox, task: trio.lowlevel.Task | None = None) -> None:
        self._mailbox = mailbox
        self.task = task
        # What was handed to a task that waits, until it runs.
        self._handed: Sequence[tuple[object, ...]] = ()
        self._in_hand = False

    @property
    def is_at_work(self) -> bool:
        """Whether it has given a message, or is about to, and has not been asked for the next one."""
        return self._in_hand or bool(self._handed)

    def __aiter__(self) -> Receiver:
        return self

    def begin_loop(self) -> Receiver:
        """See `Mailbox.loop`."""
        return self._mailbox.loop()

    @trio.lowlevel.enable_ki_protection
    async def receive(self, pattern: Pattern = (), *, iterates: bool = True) -> tuple[object, ...]:
        """See `Port.receive`.

        Args:
          pattern: which messages.
          iterates: whether to raise `StopAsyncIteration`, and not `PortDied`, if the port has died quietly.
        """
        self._in_hand = False
        mailbox = self._mailbox
        await checkpoint_if_cancelled()  # imported by name, because looking it up in a module costs a measurable time
        if mailbox._clock() - mailbox._yielded >= YIELD_INTERVAL:
            # In the first receive, too: so the mailbox knows the task, even if it never has to wait.
            mailbox._latest = trio.lowlevel.current_task()
            if self.task is not None:
                self.task = mailbox._latest
            mailbox._yielding += 1
            await trio.lowlevel.cancel_shielded_checkpoint()
            mailbox._yielding -= 1
            mailbox._yielded = mailbox._clock()
        if mailbox._task is not None:
            raise _busy(mailbox._port)
        message = mailbox._find(pattern) if pattern else mailbox._messages.pop_first()
        if message is not None:
            self._in_hand = True
            return message
        # Only a living port is waited for: a dead one gets no message, and nothing would wake the task.
        if mailbox._reason is None:
            # Each wait has a list of its own, because another task may begin to wait before this one runs again.
            handed: list[tuple[object, ...]] = []
            self._handed = handed
            if self.task is not None:
                self.task = trio.lowlevel.current_task()
            await mailbox._wait(pattern, handed)
            if handed:
                self._in_hand = True
                return handed.pop()
        assert mailbox._reason is not None
        if mailbox._quietly and iterates:
            raise StopAsyncIteration
        cause, mailbox._cause = mailbox._cause, None
        # Each call raises a new exception, because one that is raised again collects tracebacks.
        raise PortDied(mailbox._port, mailbox._reason) from cause

    # The same function and not one that calls it: that would be one more coroutine for each message.
    __anext__ = receive

    @trio.lowlevel.enable_ki_protection
    def receive_nowait(self, pattern: Pattern) -> tuple[object, ...]:
        """See `Port.receive_nowait`."""
        mailbox = self._mailbox
        if mailbox._task is not None:
            raise _busy(mailbox._port)
        if mailbox._reason is not None:
            # Without the cause of the death: that is for the task that was waiting when the port died.
            raise PortDied(mailbox._port, mailbox._reason)
        # A drain asks who reads from the mailbox. A task that never waits here is a reader, too.
        mailbox._latest = trio.lowlevel.current_task()
        message = mailbox._find(pattern) if pattern else mailbox._messages.pop_first()
        if message is None:
            raise trio.WouldBlock
        return message


def _busy(port: str) -> trio.BusyResourceError:
    return trio.BusyResourceError(f"another task is already receiving from {port}")
