"""The watchdog: a thread that notices when an event loop of this process does not turn, and says where it stands.

There is one thread for the process, for all of its nodes that have a network and live in real time. It starts with the
first of them and ends with the last. It is a daemon, so it never keeps the process alive.

Twice a second it looks at the frame that each loop's thread is in. A loop that waits for the operating system is well,
and is not asked anything: so an idle process costs two short looks a second, and its loop sleeps on. While its thread
does not run, its frame is not looked at again: Python gives the frames of all threads, or none. Any other loop is
asked to turn. Nearly all do so at once, and nothing is read for them. A loop that has not turned after a fifth of the
time between two looks is late: it stands, and from then on it is counted what the machine takes from it.

Three things must not be mistaken for a loop that the program blocks:

- The machine, or the whole process, stood still. Then this thread has woken too late, and takes that time off.
- The process was starved. The kernel counts for how long a thread was ready and had no processor. That is taken off,
  too: for the loop's thread, and for one that holds the interpreter lock while the loop's waits for it.
- Neither of both, but this thread was late because somebody held the interpreter lock, as a computation in C may do.
  A thread that waits for this lock wakes every few milliseconds, and the kernel counts how often it wakes. That time is
  not taken off: nothing of the program could run meanwhile, and it is told as soon as the lock is free.

Where the kernel does not count, which is everywhere but on Linux, the processor time of the process tells the third
case from the first.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import NamedTuple

import trio

from .._events import fields
from .._ports.blocked import Blocked
from .._reason import place_of_frame

LOOK = 0.5
"""How often the thread looks, in seconds."""

PATIENCE = 1.0
"""How long a loop may stand before the log says so, in seconds."""

_SLACK = 0.1
"""By how much the thread may wake too late, in seconds, before it asks why."""

_NOISE = 12
"""How often a thread that computes may sleep because its counts are read: it gives the interpreter lock away for each
of six calls, and gets it back."""

_SOON, _SOONER = 2, 0.2
"""After how many looks a loop that was asked to turn is looked at as often as others; and how long these looks take to
come, as a part of the time between two others. At the first one a loop that has not turned is late, and from then on it
is counted for how long it stands. At the second one it is clear whether it waits for the interpreter lock."""

_UNSEEN = 3
"""How many looks in a row believe the processor time of a thread that it still waits. Some systems count this time only
from tick to tick, so a thread may run a little that seems not to have run."""

log = logging.getLogger("trio_mp.watchdog")


def read_waited(thread: int) -> float:
    """For how many seconds a thread of this process was ready and had no processor; 0 where the kernel does not say.

    Args:
      thread: its native ID.
    """
    found = _read(thread, "schedstat").split()
    return int(found[1]) / 1e9 if len(found) == 3 and found[1].isdigit() else 0.0


def read_sleeps(thread: int) -> int | None:
    """How often a thread of this process has gone to sleep; None where the kernel does not say."""
    _, _, text = _read(thread, "status").partition(b"\nvoluntary_ctxt_switches:")
    found = text.split()[:1]
    return int(found[0]) if found and found[0].isdigit() else None


def own_sleeps() -> int | None:
    """How often this thread has gone to sleep: what `read_sleeps` says of it, in a microsecond."""
    if sys.platform != "linux":
        return None
    import resource  # which is not there on Windows

    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def _read(thread: int, name: str) -> bytes:
    """What the kernel says of a thread; empty if it says nothing."""
    try:
        descriptor = os.open(f"/proc/self/task/{thread}/{name}", os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 10_000)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


class Starvation:
    """For how long a thread could not run for want of a processor, since this was made.

    It is also kept from running by a thread that holds the interpreter lock and has no processor. A thread that waits
    for the lock sleeps again and again, for one switch interval at a time. Only where the thread sleeps so often are
    the other threads read: of 200 threads that takes 2 ms of a processor, and 600 calls that release the lock.

    Args:
      thread: its native ID.
      now: by the watchdog's clock.
    """

    __slots__ = ("_begun", "_noise", "_others", "_sleeps", "_thread", "_waited")

    def __init__(self, thread: int, now: float) -> None:
        self._thread = thread
        self._begun = now
        self._waited = read_waited(thread)
        self._sleeps = read_sleeps(thread)
        # None until they are read.
        self._others: OtherThreads | None = None
        # How often the thread may have slept only because this was asked.
        self._noise = 0

    def note_others(self, now: float, held: float) -> None:
        """Count what the other threads wait from now on, if this thread seems to wait for the interpreter lock.

        Args:
          now: by the watchdog's clock.
          held: for how many seconds since this was made the lock was held, as the watchdog itself has found.
        """
        sleeps, own = self._read_own()
        if self._others is None and sleeps is not None and self._wanted(now, sleeps):
            unread = self._unread(now, held, sleeps, own)
            self._others = OtherThreads(self._read_others(), sleeps, unread)

    def seconds(self, now: float, held: float) -> float:
        """For how many seconds. Waiting for the lock before the others were read counts, as if they had starved.

        Args:
          now, held: as for `note_others`.
        """
        others = self._others
        sleeps, own = self._read_own()
        if sleeps is None or self._sleeps is None:
            return own
        if others is None:
            return own + self._unread(now, held, sleeps, own)
        waited = sum(seconds - others.waited.get(each, 0.0) for each, seconds in self._read_others().items())
        wanted = (sleeps - others.sleeps) * sys.getswitchinterval()
        return own + others.unread + min(waited, wanted)

    def _read_own(self) -> tuple[int | None, float]:
        """How often the thread has slept, and how many seconds it has waited for a processor since this was made."""
        self._noise += _NOISE
        return read_sleeps(self._thread), read_waited(self._thread) - self._waited

    def _wanted(self, now: float, sleeps: int) -> float:
        """For how many seconds the thread may have waited for the lock, before others were read; 0 if it hardly did."""
        wanted = (sleeps - (self._sleeps or 0) - self._noise) * sys.getswitchinterval()
        return wanted if wanted >= max(0.001, (now - self._begun) / 4) else 0.0

    def _unread(self, now: float, held: float, sleeps: int, own: float) -> float:
        """For how many of these seconds whoever had the lock may have starved."""
        return max(0.0, min(self._wanted(now, sleeps), now - self._begun - own) - held)

    def _read_others(self) -> dict[int, float]:
        return {each: read_waited(each) for each in _threads() if each != self._thread}


@dataclass(frozen=True, slots=True)
class OtherThreads:
    """What was read of the other threads, when a thread was seen to wait for the interpreter lock.

    Attributes:
      waited: for how many seconds each had waited for a processor, by its native ID.
      sleeps: how often the thread itself had slept.
      unread: for how many seconds it may have waited for the lock before.
    """

    waited: dict[int, float]
    sleeps: int
    unread: float


def _threads() -> list[int]:
    """The native IDs of all threads of this process, where the kernel says them."""
    try:
        with os.scandir("/proc/self/task") as found:
            return [int(each.name) for each in found]
    except OSError:
        return []


def is_real_time(clock: trio.abc.Clock) -> bool:
    """Whether a clock goes on by itself: not one of a test, which stands still until it is moved, or leaps."""
    wait = clock.deadline_to_sleep_time(clock.current_time() + 1)
    return wait < 2 and getattr(clock, "autojump_threshold", math.inf) == math.inf


class Taken(NamedTuple):
    """What has kept the watchdog from looking, since its thread was started: each in seconds.

    Attributes:
      held: the interpreter lock, which somebody else held.
      stolen: the machine, which stood still.
    """

    held: float = 0.0
    stolen: float = 0.0


@dataclass(frozen=True, slots=True)
class TurnCount:
    """Since when a loop is known to stand.

    Attributes:
      since: by the watchdog's clock.
      taken: what was taken before.
      starvation: what the loop has had no processor for; None until the loop is late. Most turns come at once, so
        nothing is read for them; of that time only what the interpreter lock has taken is known.
    """

    since: float
    taken: Taken
    starvation: Starvation | None = None


class AwaitedTurn:
    """A turn of which a loop was asked, and which it has not made: for so long it stands.

    Args:
      count: since when.
      say_at: how many seconds it has to stand before the log says so for the first time.

    Attributes:
      count: since when it is known to stand, and what else is known; replaced when the loop is late.
      looks: how often it was looked at since it was asked.
      places: where the loop was seen, and how often.
      say_at: how many seconds it has to stand before the log says so again.
      found: how it has stood, when it has turned; None if it was not for long.
    """

    __slots__ = ("count", "found", "looks", "places", "say_at")

    def __init__(self, count: TurnCount, say_at: float) -> None:
        self.count = count
        self.looks = 0
        self.places: Counter[str] = Counter()
        self.say_at = say_at
        self.found: Blocked | None = None

    def stood(self, now: float, taken: Taken) -> float:
        """For how many seconds the loop has stood.

        Args:
          now: by the watchdog's clock.
          taken: what was taken until now.
        """
        # Once: the watchdog's thread may replace it meanwhile.
        count = self.count
        passed, held = now - count.since, taken.held - count.taken.held
        if count.starvation is None:
            return min(passed, held)
        stolen = taken.stolen - count.taken.stolen
        return max(0.0, passed - stolen - count.starvation.seconds(now, held))

    def may_have_stood(self, now: float, seconds: float) -> bool:
        """Whether the loop was asked so long ago."""
        return now - self.count.since >= seconds

    def place(self) -> str:
        """Where the loop was seen most often; empty if it never was."""
        return max(self.places, key=self.places.__getitem__, default="")


class WatchedLoop:
    """One event loop of this process: whether it turns, and if not, since when and where it stands.

    Args:
      thread: the watchdog's.
      token: the loop's, in whose thread this is made.

    Attributes:
      ident: the loop's thread.
      nodes: the IDs of the nodes that run in it, and want it to be watched.
    """

    def __init__(self, thread: WatchdogThread, token: trio.lowlevel.TrioToken) -> None:
        self.token = token
        self.ident = threading.get_ident()
        self.nodes: list[str] = []
        self._thread = thread
        self._native = threading.get_native_id()
        # Here, in the thread itself: for one that has ended the system may crash.
        self._clock_id = time.pthread_getcpuclockid(self.ident) if hasattr(time, "pthread_getcpuclockid") else None
        # How long the thread had run when it was seen to wait, if it was; and how many looks believed it since.
        self._idle_at: float | None = None
        self._unseen = 0
        self._turn: AwaitedTurn | None = None
        # The turn of which the log has said that it does not come, and whether somebody has told of it since.
        self._said: AwaitedTurn | None = None
        self._is_told = False
        # The latest time that it stood, and when that ended.
        self._latest: Blocked | None = None
        self._ended = -math.inf

    def blocked(self) -> Blocked | None:
        """How the loop is blocked now; None if it turns. Any thread may call this."""
        turn = self._turn
        return self._judge(turn) if turn is not None else None

    def lately(self, seconds: float) -> Blocked | None:
        """See `Lately`: how the loop is blocked, or was in the last so many seconds."""
        found = self.blocked()
        if found is None and self._thread.clock() - self._ended <= seconds:
            found = self._latest
        self._is_told = self._is_told or found is not None
        return found

    def _judge(self, turn: AwaitedTurn) -> Blocked | None:
        now = self._thread.clock()
        if not turn.may_have_stood(now, self._thread.patience):
            return None
        seconds = turn.stood(now, self._thread.taken(now))
        return Blocked(seconds, turn.place()) if seconds >= self._thread.patience else None

    def _turned(self, turn: AwaitedTurn) -> None:
        """The loop turns again: it has called this itself."""
        if self._turn is turn:
            turn.found = self._judge(turn)
            self._turn = None
            if turn.found is not None:
                self._note(turn.found)

    def _note(self, found: Blocked) -> None:
        self._latest, self._ended = found, self._thread.clock()

    # In the watchdog's thread --------------------------------------------------------------------------------------

    def look(self, find: Callable[[], FrameType | None], held: float, taken: Taken) -> bool:
        """See whether the loop turns.

        Args:
          find: finds the innermost frame of its thread. It reads all threads, so it is only called if need be.
          held: for how many seconds the interpreter lock has kept the watchdog from this look.
          taken: what was taken until now, with that.

        Returns:
          Whether the next look is to come soon: the loop was asked to turn, or has just been found to be late.

        Raises:
          trio.RunFinishedError: the loop has ended.
        """
        said, self._said = self._said, None
        if said is not None and said is self._turn:
            self._said = said
        elif said is not None and said.found is not None and not self._is_told:
            log.info("the event loop turns again: it was %s", said.found, extra=fields("stalled", self._who()))
        turn = self._turn
        if turn is None:
            if self._sleeps_on():
                frame, is_idle = None, True
            else:
                # First: a thread that runs on behind that has another one when it is looked at again.
                used = self._processor_time()
                frame = find()
                is_idle = frame is not None and is_waiting(frame)
                self._idle_at, self._unseen = used if is_idle else None, 0
            if is_idle:
                if held >= self._thread.patience:
                    # It was code of another thread, or code of the loop that has ended meanwhile.
                    blocked = Blocked(held, "")
                    self._note(blocked)
                    log.warning("the event loop was %s", blocked, extra=fields("stalled", self._who()))
                return False
            turn = AwaitedTurn(TurnCount(self._thread.clock(), taken), self._thread.patience)
            turn.places[place_of_frame(frame)] += 1
            if held:
                self._count(turn, held, taken)
            self._turn = turn
            self.token.run_sync_soon(self._turned, turn)
        else:
            frame = find()
            turn.looks += 1
            turn.places[place_of_frame(frame)] += 1
            starvation = turn.count.starvation
            if starvation is None:
                self._count(turn, held, taken)
            else:
                starvation.note_others(self._thread.clock(), taken.held - turn.count.taken.held)
        self._say(turn, frame, taken)
        return turn.looks < _SOON

    def _sleeps_on(self) -> bool:
        """Whether the loop still waits where it was seen to wait: its thread has not run since."""
        if self._idle_at is None or self._unseen == _UNSEEN:
            return False
        self._unseen += 1
        return self._processor_time() == self._idle_at

    def _processor_time(self) -> float | None:
        """How long the loop's thread has run, in seconds; None where the system does not say, or it has ended."""
        if self._clock_id is None:
            return None
        try:
            return time.clock_gettime(self._clock_id)
        except OSError:
            return None

    def _count(self, turn: AwaitedTurn, held: float, taken: Taken) -> None:
        """Count for how long the loop stands, from now on, or from when the interpreter lock was taken."""
        now = self._thread.clock()
        turn.count = TurnCount(now - held, taken, Starvation(self._native, now))

    def _say(self, turn: AwaitedTurn, frame: FrameType | None, taken: Taken) -> None:
        now = self._thread.clock()
        if not turn.may_have_stood(now, turn.say_at):
            return
        stood = turn.stood(now, taken)
        if stood >= turn.say_at:
            while turn.say_at <= stood:
                turn.say_at *= 2
            self._said, self._is_told = turn, False
            log.warning(
                "the event loop is %s, and nothing else runs in it, heartbeats included: use trio.to_thread, or await",
                Blocked(stood, place_of_frame(frame)),
                extra=fields("stalled", self._who()),
            )

    def _who(self) -> str:
        return self.nodes[0] if len(self.nodes) == 1 else ""


def _find_frame(ident: int) -> FrameType | None:
    """Return the innermost frame of a thread; None if it has ended."""
    return sys._current_frames().get(ident)


def is_waiting(frame: FrameType) -> bool:
    """Whether a thread, of which this is the innermost frame, waits in Trio's loop for the operating system."""
    return frame.f_code.co_name == "get_events" and str(frame.f_globals.get("__name__")).startswith("trio.")


class Nap(NamedTuple):
    """What the watchdog's thread knows while it sleeps, in one piece, because other threads read it at any moment.

    Attributes:
      due: when it is to wake, by its clock; never while it looks.
      taken: what was taken before.
      sleeps: how often it had slept; None if the kernel does not say.
      computed: the processor time of the process, in seconds.
    """

    due: float = math.inf
    taken: Taken = Taken()
    sleeps: int | None = None
    computed: float = 0.0


class WatchdogThread:
    """The thread that watches the event loops of a process.

    Args:
      look: how often it looks, in seconds.
      patience: how long a loop may stand before the log says so, in seconds.
    """

    def __init__(self, look: float = LOOK, patience: float = PATIENCE) -> None:
        self.clock = time.monotonic
        self.patience = patience
        self._look = look
        self.forget()

    def forget(self) -> None:
        """Forget all loops, and the thread: in a fork of the process there is none of them."""
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._loops: dict[trio.lowlevel.TrioToken, WatchedLoop] = {}
        self._thread: threading.Thread | None = None
        self._native = 0
        self._nap = Nap()

    def enter(self, node_id: str) -> WatchedLoop:
        """Watch the loop that runs the caller, for a node. Not a checkpoint."""
        token = trio.lowlevel.current_trio_token()
        with self._lock:
            loop = self._loops.get(token)
            if loop is None:
                loop = self._loops[token] = WatchedLoop(self, token)
            loop.nodes.append(node_id)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="trio_mp: watches event loops", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    # This process may have no more threads. The next node tries again.
                    log.warning("nothing watches the event loop: %s", error, extra=fields("unwatched", node_id))
                else:
                    self._thread = thread
        return loop

    def leave(self, loop: WatchedLoop, node_id: str) -> None:
        """Watch the loop no more for that node. The thread ends with the last one. Not a checkpoint."""
        with self._lock:
            loop.nodes.remove(node_id)
            if not loop.nodes:
                self._loops.pop(loop.token, None)
            if not self._loops:
                self._bell.set()

    def taken(self, now: float) -> Taken:
        """Return what was taken until now, which includes by how much the thread is late. Any thread may call this."""
        nap = self._nap
        late = now - nap.due
        if late < _SLACK:
            return nap.taken
        sleeps = read_sleeps(self._native)
        if sleeps is not None and nap.sleeps is not None:
            # On a busy machine each wake may come late, so not all of the time is needed. A thread that does not wait
            # for the lock wakes once, or twice if the process was stopped.
            is_held = (sleeps - nap.sleeps - 3) * sys.getswitchinterval() >= late / 8
        else:
            is_held = time.process_time() - nap.computed >= late / 2
        held, stolen = nap.taken
        return Taken(held + late, stolen) if is_held else Taken(held, stolen + late)

    def _run(self) -> None:
        self._native = threading.get_native_id()
        taken, pause = Taken(), self._look
        while True:
            self._nap = Nap(self.clock() + pause, taken, own_sleeps(), time.process_time())
            if self._bell.wait(pause):
                self._bell.clear()
            before, taken = taken, self.taken(self.clock())
            # In one step: whoever asks now finds what was taken either as lateness, or as what was taken before.
            self._nap = Nap(taken=taken)
            with self._lock:
                loops = [*self._loops.values()]
                if not loops:
                    self._thread = None
                    return
            is_soon = self._look_at(loops, taken.held - before.held, taken)
            pause = self._look * _SOONER if is_soon else self._look

    def _look_at(self, loops: list[WatchedLoop], held: float, taken: Taken) -> bool:
        """Look at all loops; returns whether one of them is to be looked at again soon."""
        is_soon = False
        for loop in loops:
            try:
                is_soon = loop.look(partial(_find_frame, loop.ident), held, taken) or is_soon
            except trio.RunFinishedError:
                with self._lock:
                    self._loops.pop(loop.token, None)
        return is_soon


WATCHDOG_THREAD = WatchdogThread()
"""Of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WATCHDOG_THREAD.forget)


class Watchdog:
    """The watchdog of one node.

    Args:
      node_id: the node.
      thread: the one that watches.
    """

    def __init__(self, node_id: str, thread: WatchdogThread = WATCHDOG_THREAD) -> None:
        self._node_id = node_id
        self._thread = thread
        self._loop: WatchedLoop | None = None

    @contextmanager
    def at_work(self, *, wanted: bool) -> Generator[None]:
        """Have the loop that runs this task watched for the length of the block, if it is wanted; not in virtual time.

        It is watched from the first moment on: the program may begin by computing.
        """
        if not wanted or not is_real_time(trio.lowlevel.current_clock()):
            yield
            return
        loop = self._loop = self._thread.enter(self._node_id)
        try:
            yield
        finally:
            self._loop = None
            self._thread.leave(loop, self._node_id)

    def blocked(self) -> Blocked | None:
        """How the node's loop is blocked now; None if it turns, or nobody watches it. Any thread may call this."""
        loop = self._loop
        return loop.blocked() if loop is not None else None

    def lately(self, seconds: float) -> Blocked | None:
        """See `Lately`. Only the node's own loop may call this."""
        return self._loop.lately(seconds) if self._loop is not None else None
