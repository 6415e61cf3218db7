"""How a process hears from its parent by the pipe, and how it avoids outliving its parent.

A thread watches the pipe, so that it notices the parent's death while the program's own code computes or blocks. It
asks the program to leave, and ends the process when that takes too long. An extension that holds the interpreter lock
when the parent dies delays this thread. After that an alarm of the kernel bounds the time.

The kernel could do this by a signal (`PR_SET_PDEATHSIG` of Linux). That is left out on purpose: the signal comes when
the *thread* that has forked ends. Trio starts processes in threads that end when they are idle for ten seconds, so the
children of a healthy parent would die. The signal also kills at once, while this lets `finally` blocks run.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable

from .process_invitation import DRAIN, STOP

CHECK = 0.25
"""How often a process checks that it still has the same parent, in seconds."""

GRACE = 0.75
"""How long a process whose parent has died may take to leave, in seconds. Together with the rest it must take less
than two seconds, also on a busy machine."""

_TELLING = 0.15
"""How long the process may take to write why it ends, in seconds: the reader of its standard error may be dead, too."""


class ParentWatch:
    """Watches the parent of this process, in a thread, until the process ends.

    Args:
      pipe: the descriptor of the pipe from the parent, behind the invitation.
      pid: the parent's process ID.
      leave: called in the thread when the process is to leave, perhaps more than once; it must not raise or block.
      drain: called, as `leave` is, when the process is to drain before.
    """

    def __init__(self, pipe: int, pid: int, leave: Callable[[], None], drain: Callable[[], None]) -> None:
        self._pipe = pipe
        self._leave = leave
        self._drain = drain
        # None if another process stands between the two: a shell, or the launcher of a virtual environment.
        self._pid = pid if sys.platform != "win32" and os.getppid() == pid else None

    def start(self) -> None:
        """Start the thread. It is a daemon thread, so it does not keep the process alive."""
        threading.Thread(target=self._run, name="trio_mp: watches the parent process", daemon=True).start()

    def _run(self) -> None:
        while self._hear():
            pass
        self._leave()
        set_alarm(GRACE + 2 * _TELLING)
        time.sleep(GRACE)
        end_process()

    def _hear(self) -> bool:
        """Wait until the parent says something, or a while; return whether the parent is alive."""
        if not self._wait_readable():
            return not self._is_orphan()
        try:
            said = os.read(self._pipe, len(STOP))
        except OSError:
            # The program has closed the pipe. This thread could not notice the parent's death any more, so it ends the
            # process now.
            return False
        if said == DRAIN:
            self._drain()
        elif said:
            # Whatever else the parent writes, it means `stop`.
            self._leave()
        return bool(said)

    def _wait_readable(self) -> bool:
        """Wait until the pipe can be read; return False when it is time to check the parent instead."""
        if sys.platform == "win32":
            # Windows cannot poll pipes; `os.read` waits instead.
            return True
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        return bool(poll.poll(CHECK * 1000 if self._pid is not None else None))

    def _is_orphan(self) -> bool:
        """Whether the parent process has changed. The pipe does not end while a fork of the parent holds a copy."""
        return self._pid is not None and os.getppid() != self._pid


def set_alarm(seconds: float) -> None:
    """Have the kernel end this process after a time, unless its program uses alarms itself.

    A thread could not do this: none runs while the interpreter is torn down, which may take long.
    """
    if sys.platform != "win32" and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
        signal.setitimer(signal.ITIMER_REAL, seconds)


def end_process() -> None:
    """End this process, whatever its threads do. Before, write to standard error where the main thread stands."""
    try:
        teller = threading.Thread(target=_tell, daemon=True)
        teller.start()
        teller.join(_TELLING)
    finally:
        os._exit(1)


def _tell() -> None:
    # Not by `logging`: the thread that does not end may hold its locks.
    text = f"trio_mp: the parent of process {os.getpid()} has died, and it did not leave by itself: it ends now\n"
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    lines = traceback.format_stack(frame) if frame is not None else []
    os.write(2, "".join([text, *lines]).encode(errors="backslashreplace"))
