"""What a process does about its parent: it hears from it by the pipe, and does not outlive it.

A thread watches the pipe, so that the parent's death is noticed while the program's own code computes or blocks. It
asks the program to leave, and ends the process when that has taken too long. Whoever holds the interpreter lock when
the parent dies, as some extensions do, holds this up; an alarm of the kernel's bounds what comes after.

The kernel could be told to do it (`PR_SET_PDEATHSIG` of Linux), and that is left out on purpose. The signal comes when
the *thread* that has forked ends: Trio starts processes in threads that end when they are idle for ten seconds, so the
children of a healthy parent would die. And it kills at once, where this lets the program's `finally` blocks run.
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

from .process_invitation import STOP

CHECK = 0.25
"""How often a process looks whether it still has the same parent, in seconds."""

GRACE = 0.75
"""How long a process whose parent has died may take to leave, in seconds. All together is to take less than two, also
on a machine that is busy with other things."""

_TELLING = 0.15
"""How long the process takes at most to say why it ends, in seconds: whoever reads that may be dead, too."""


class ParentWatch:
    """Watches the parent of this process, in a thread, until the process ends.

    Args:
      pipe: the descriptor of the pipe from the parent, behind the invitation.
      pid: the parent's process ID.
      leave: called in the thread when the process is to leave, more than once perhaps; it must not raise or block.
    """

    def __init__(self, pipe: int, pid: int, leave: Callable[[], None]) -> None:
        self._pipe = pipe
        self._leave = leave
        # Another process may be between the two: a shell, or the launcher of a virtual environment on Windows.
        self._pid = pid if sys.platform != "win32" and os.getppid() == pid else None

    def start(self) -> None:
        """Begin. A daemon: the process may end before its parent."""
        threading.Thread(target=self._run, name="trio_mp: watches the parent process", daemon=True).start()

    def _run(self) -> None:
        while self._hear():
            pass
        self._leave()
        set_alarm(GRACE + 2 * _TELLING)
        time.sleep(GRACE)
        end_process()

    def _hear(self) -> bool:
        """Wait until the parent says something, or a while; whether the parent is alive."""
        if not self._wait_readable():
            return not self._is_orphan()
        try:
            said = os.read(self._pipe, len(STOP))
        except OSError:
            # The program has closed the pipe: nothing can be heard any more, so nothing may be left to chance.
            return False
        if said:
            # That it says something is all that counts.
            self._leave()
        return bool(said)

    def _wait_readable(self) -> bool:
        """Wait until there is something to read, or the parent is to be looked at."""
        if sys.platform == "win32":
            # Pipes cannot be polled there; `os.read` waits.
            return True
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        return bool(poll.poll(CHECK * 1000 if self._pid is not None else None))

    def _is_orphan(self) -> bool:
        """Whether the parent is another one now. The pipe does not end while a fork of the parent holds a copy."""
        return self._pid is not None and os.getppid() != self._pid


def set_alarm(seconds: float) -> None:
    """Have the kernel end this process after a time, unless its program uses alarms itself.

    It needs no thread: while the interpreter is torn down no other one runs, and that may take long.
    """
    if sys.platform != "win32" and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
        signal.setitimer(signal.ITIMER_REAL, seconds)


def end_process() -> None:
    """End this process, whatever its threads do. Where they are goes to standard error, if that takes it."""
    try:
        teller = threading.Thread(target=_tell, daemon=True)
        teller.start()
        teller.join(_TELLING)
    finally:
        os._exit(1)


def _tell() -> None:
    # Not by `logging`, whose locks the very thread may hold that does not end.
    text = f"trio_mp: the parent of process {os.getpid()} has died, and it did not leave by itself: it ends now\n"
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    lines = traceback.format_stack(frame) if frame is not None else []
    os.write(2, "".join([text, *lines]).encode(errors="backslashreplace"))
