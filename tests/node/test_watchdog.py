"""An event loop that does not turn is noticed, while it lasts and behind it; what the machine takes is none of it."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest
import trio
import trio.lowlevel
import trio.testing
from manual_clock import ManualClock
from network_helpers import SECRET, FakeNetwork, Notices, RawPeer, network_of, open_test_node, place, until

import trio_mp
from trio_mp._node import watchdog
from trio_mp._node.watchdog import (
    AwaitedTurn,
    Nap,
    Starvation,
    Taken,
    TurnCount,
    WatchdogThread,
    WatchedLoop,
    is_real_time,
    is_waiting,
    own_sleeps,
    read_sleeps,
    read_waited,
)
from trio_mp._peers.own_blocks import OwnBlocks
from trio_mp._ports.blocked import Blocked
from trio_mp._ports.boundary import LocalPorts
from trio_mp._reason import place_of_frame

LONG = 20.0
"""How long a test waits for what must come, in seconds."""


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> WatchdogThread:
    """The watchdog of this process looks often, and has little patience."""
    # That of the test before may be about to end.
    block(lambda: watchdog.WATCHDOG_THREAD._thread is None)
    monkeypatch.setattr(watchdog.WATCHDOG_THREAD, "_look", 0.02)
    monkeypatch.setattr(watchdog.WATCHDOG_THREAD, "patience", 0.1)
    return watchdog.WATCHDOG_THREAD


@pytest.fixture(autouse=True)
def all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio_mp.watchdog")


def lines_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "trio_mp.watchdog"]


def block(done: Callable[[], object]) -> None:
    """Keep the loop from turning until something is true."""
    end = time.monotonic() + LONG
    while not done():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.001)


def seconds_in(line: str) -> float:
    found = re.search(r"blocked (\d+\.\d) s ", line)
    assert found is not None, line
    return float(found[1])


def has_ended() -> bool:
    return not [each for each in threading.enumerate() if each.name == "trio_mp: watches event loops"]


def waiting_frame() -> FrameType:
    """The frame of a loop that waits for the operating system."""
    frames: list[FrameType] = []

    def look(ident: int) -> None:
        block(lambda: is_waiting(sys._current_frames()[ident]))
        frames.append(sys._current_frames()[ident])

    async def main() -> None:
        await trio.to_thread.run_sync(look, threading.get_ident())

    run = threading.Thread(target=trio.run, args=(main,))
    run.start()
    run.join()
    return frames[0]


# The thread, in real time --------------------------------------------------------------------------------------------


async def test_a_loop_that_stands_is_logged_while_it_lasts_with_the_place(caplog: pytest.LogCaptureFixture) -> None:
    thread = WatchdogThread(0.01, 0.05)
    loop = thread.enter("n")
    try:
        block(lambda: lines_in(caplog))
        (line,) = lines_in(caplog)
        assert re.match(r"the event loop is blocked \d\.\d s at test_watchdog\.py:\d+, in block, ", line)
        found = loop.blocked()
        assert found is not None
        assert found.seconds >= 0.05
        assert re.fullmatch(r"test_watchdog\.py:\d+, in block", found.place)
        assert caplog.records[-1].levelno == logging.WARNING
        assert vars(caplog.records[-1])["event"] == "stalled"
        assert vars(caplog.records[-1])["node"] == "n"
    finally:
        thread.leave(loop, "n")


async def test_it_is_said_again_at_growing_intervals_and_once_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    thread = WatchdogThread(0.01, 0.1)
    loop = thread.enter("n")
    try:
        block(lambda: len(lines_in(caplog)) == 3)
        first, second, third = map(seconds_in, lines_in(caplog))
        assert first >= 0.1
        assert second >= 0.2
        assert third >= 0.4
        with trio.fail_after(LONG):
            await until(lambda: len(lines_in(caplog)) == 4)
        assert loop.blocked() is None
        last = lines_in(caplog)[-1]
        assert last.startswith("the event loop turns again: it was blocked")
        assert seconds_in(last) >= third
    finally:
        thread.leave(loop, "n")


async def test_who_asks_tells_of_it_and_the_watchdog_says_no_more(caplog: pytest.LogCaptureFixture) -> None:
    thread = WatchdogThread(0.01, 0.2)
    loop = thread.enter("n")

    def has_stood() -> bool:
        # Longer than it has to: what other programs have taken from this one until it is asked does not count.
        found = loop.blocked()
        return found is not None and found.seconds >= 0.3 and len(lines_in(caplog)) > 0

    try:
        for when in ("before it has turned", "behind it"):
            caplog.clear()
            block(has_stood)
            said = len(lines_in(caplog))
            if when == "behind it":
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
            found = loop.lately(1.0)
            assert found is not None
            assert "in block" in found.place
            # Two more looks.
            await trio.sleep(0.05)
            assert len(lines_in(caplog)) == said, when
        assert loop.lately(0.0) is None
    finally:
        thread.leave(loop, "n")


async def test_a_loop_is_watched_before_it_turns_for_the_first_time(
    hasty: WatchdogThread, short_directory: Path, all_lines: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A program may begin by computing, and never come to wait."""
    async with trio_mp.open_node(binds=[f"unix:{short_directory}/a"], secret=SECRET) as node:
        block(lambda: node._watchdog.blocked() is not None)
    assert not hasty._loops


async def test_a_node_works_where_no_thread_is_to_be_had(
    hasty: WatchdogThread, short_directory: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        loop = hasty.enter("n")
    (line,) = lines_in(caplog)
    assert line == "nothing watches the event loop: can't start new thread"
    assert not has_thread(hasty)
    # The next one finds a thread, and it watches both.
    assert hasty.enter("m") is loop
    assert has_thread(hasty)
    for node_id in "nm":
        hasty.leave(loop, node_id)
    block(lambda: not has_thread(hasty))


def has_thread(watching: WatchdogThread) -> bool:
    return watching._thread is not None


async def test_a_loop_that_waits_sleeps_on() -> None:
    """A busy one is asked, and turns."""

    class Passes(trio.abc.Instrument):
        def __init__(self) -> None:
            self.count = 0

        def before_io_wait(self, timeout: float) -> None:
            self.count += 1

    thread, passes = WatchdogThread(0.005, 1.0), Passes()
    loop = thread.enter("n")
    trio.lowlevel.add_instrument(passes)
    try:
        await trio.sleep(0.2)
        assert passes.count <= 3, "forty looks"
        asked = False
        with trio.fail_after(LONG):
            while not asked:
                # It computes for longer than a switch interval: else the thread only ever sees it wait.
                end = time.monotonic() + 0.02
                while time.monotonic() < end:
                    pass
                asked = loop._turn is not None
                await trio.lowlevel.checkpoint()
            while loop._turn is not None:
                await trio.lowlevel.checkpoint()
    finally:
        trio.lowlevel.remove_instrument(passes)
        thread.leave(loop, "n")


@pytest.mark.skipif(sys.platform != "linux", reason="a C library that is known to hold the interpreter lock")
async def test_code_that_holds_the_interpreter_lock_is_told_of_behind_it(caplog: pytest.LogCaptureFixture) -> None:
    """It does not even compute, so only the kernel's counts tell it from a process that is stopped."""
    thread = WatchdogThread(0.01, 0.1)
    loop = thread.enter("n")
    try:
        for _ in range(10):
            await trio.sleep(0.03)
            ctypes.PyDLL(None).usleep(300_000)
            found = loop.lately(1.0)
            # On a busy machine the thread may have been kept from looking by others.
            if found is not None:
                break
        assert found is not None
        assert 0.2 < found.seconds < LONG
        # The thread looks as soon as it gets the lock. Where the loop goes on before that, the place is not known.
        here = "in test_code_that_holds_the_interpreter_lock_is_told_of_behind_it"
        assert here in found.place or not found.place
        assert lines_in(caplog)
        assert all(here in line or "held the interpreter lock" in line for line in lines_in(caplog))
    finally:
        thread.leave(loop, "n")


async def test_the_thread_ends_with_the_last_node_and_comes_back(hasty: WatchdogThread, short_directory: Path) -> None:
    for number in range(2):
        async with trio_mp.open_node(binds=[f"unix:{short_directory}/{number}"], secret=SECRET):
            async with trio_mp.open_node(binds=[f"unix:{short_directory}/{number}x"], secret=SECRET):
                await trio.testing.wait_all_tasks_blocked()
                (loop,) = hasty._loops.values()
                assert len(loop.nodes) == 2
                thread = hasty._thread
                assert thread is not None
                assert thread.daemon
            assert hasty._thread is thread
        thread.join(LONG)
        assert has_ended()
    assert not hasty._loops


async def test_a_loop_that_has_ended_is_forgotten(hasty: WatchdogThread) -> None:
    """Its nodes have crashed so badly that they could not leave."""
    loops: list[WatchedLoop] = []

    async def enter() -> None:
        loops.append(hasty.enter("n"))

    other = threading.Thread(target=trio.run, args=(enter,))
    other.start()
    other.join()
    (loop,) = loops
    thread = hasty._thread
    assert thread is not None
    thread.join(LONG)
    assert not hasty._loops
    assert not thread.is_alive()
    assert loop.blocked() is None


async def test_no_thread_without_a_network() -> None:
    async with trio_mp.open_node() as node:
        await trio.testing.wait_all_tasks_blocked()
        assert has_ended()
        assert node.statistics().blocks == ()


async def test_no_thread_in_virtual_time(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_node(FakeNetwork(), "a"):
        await trio.sleep(10)
        assert has_ended()


async def test_which_clocks_go_on_by_themselves() -> None:
    assert is_real_time(trio.lowlevel.current_clock())
    assert is_real_time(trio.testing.MockClock(rate=1.0))
    assert not is_real_time(trio.testing.MockClock())
    assert not is_real_time(trio.testing.MockClock(rate=1.0, autojump_threshold=0.0))


FORKS = """
import os, sys, threading, time, trio, warnings
import trio_mp
from trio_mp._node.watchdog import WATCHDOG_THREAD as watchdog

watchdog._look, watchdog.patience = 0.01, 0.05
up, stop = threading.Event(), threading.Event()

async def main(name):
    async with trio_mp.open_node(binds=["unix:" + sys.argv[1] + "/" + name], secret="a secret for the tests"):
        token = trio.lowlevel.current_trio_token()
        while token not in watchdog._loops:
            await trio.sleep(0.001)
        loop = watchdog._loops[token]
        up.set()
        end = time.monotonic() + 10
        while name == "child" and loop.blocked() is None:
            assert time.monotonic() < end
            time.sleep(0.001)
        while not stop.is_set():
            await trio.sleep(0.01)

parent = threading.Thread(target=trio.run, args=(main, "parent"))
parent.start()
up.wait()
warnings.simplefilter("ignore", DeprecationWarning)
with watchdog._lock:
    child = os.fork()
stop.set()
if not child:
    trio.run(main, "child")
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
parent.join()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_fork_has_a_watchdog_of_its_own(short_directory: Path) -> None:
    command = [sys.executable, "-P", "-W", "error", "-c", FORKS, str(short_directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


STOPPED = """
import sys, threading, time, trio
from trio_mp._node.watchdog import WatchdogThread
import logging
logging.basicConfig(stream=sys.stdout, format="%(message)s")

async def main():
    thread = WatchdogThread(0.02, 0.2)
    loop = thread.enter("n")
    await trio.sleep(0.1)
    stopped, before = 0, time.monotonic()
    print("up", flush=True)
    # Busy, so that the loop has been asked when the process is stopped; and then waiting.
    while stopped < 2:
        if stopped:
            await trio.sleep(0.01)
        else:
            time.sleep(0.01)
            await trio.sleep(0)
        before, now = time.monotonic(), before
        if before - now > 0.25:
            stopped += 1
            print("lately", loop.lately(0.2), flush=True)
    await trio.sleep(0.1)
    print("over", flush=True)

trio.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="SIGSTOP, and the kernel's counts")
async def test_a_process_that_was_stopped_is_not_blocked() -> None:
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-P", "-W", "error", "-c", STOPPED], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        assert process.stdout is not None
        said = b""
        try:
            async for data in process.stdout:
                said += data
                if said.count(b"\n") - said.count(b"over") < 3 and data.endswith(b"\n"):
                    process.send_signal(signal.SIGSTOP)
                    await trio.sleep(0.4)
                    process.send_signal(signal.SIGCONT)
        finally:
            process.kill()
            await process.wait()
    assert said.decode().splitlines() == ["up", "lately None", "lately None", "over"]


# What is judged, to the moment ---------------------------------------------------------------------------------------


@pytest.fixture
def frame() -> FrameType:
    return sys._getframe()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def loop(clock: ManualClock) -> WatchedLoop:
    """A loop at which only the test looks."""
    thread = WatchdogThread()
    thread.clock = clock
    return WatchedLoop(thread, trio.lowlevel.current_trio_token())


class Counted(Starvation):
    """A thread of which the test says for how long it had no processor."""

    def __init__(self, waited: float) -> None:
        self.waited = waited

    def seconds(self, now: float, held: float) -> float:
        return self.waited


def test_what_the_machine_takes_is_taken_off() -> None:
    counted = Counted(0.0)
    turn = AwaitedTurn(TurnCount(100.0, Taken(), counted), 1.0)
    assert turn.stood(103.0, Taken()) == 3.0
    counted.waited = 1.5
    assert turn.stood(103.0, Taken()) == 1.5, "it was ready, and had no processor"
    counted.waited = 0.0
    assert turn.stood(103.0, Taken(stolen=2.0)) == 1.0, "the watchdog was late, and not by the interpreter lock"
    assert turn.stood(103.0, Taken(held=2.0)) == 3.0
    turn.count = TurnCount(100.0, Taken(9.0, 7.0), counted)
    counted.waited = 0.5
    assert turn.stood(103.0, Taken(9.0, 8.5)) == 1.0, "what was taken before is nothing to it"
    counted.waited = 4.0
    assert turn.stood(103.0, Taken(9.0, 7.0)) == 0.0


def test_of_a_loop_that_is_not_late_only_what_the_lock_has_taken_is_known() -> None:
    turn = AwaitedTurn(TurnCount(100.0, Taken(5.0, 5.0)), 1.0)
    assert turn.stood(103.0, Taken(5.0, 5.0)) == 0.0
    assert turn.stood(103.0, Taken(5.0, 8.0)) == 0.0
    assert turn.stood(103.0, Taken(7.5, 5.0)) == 2.5
    assert turn.stood(103.0, Taken(50.0, 5.0)) == 3.0, "it was asked later"


class Kernel:
    """What the kernel counts of three threads, of which the test looks at the first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waited = {1: 10.0, 2: 20.0, 3: 30.0}
        self.sleeps: int | None = 1000
        self.read: list[int] = []
        monkeypatch.setattr(watchdog, "_threads", lambda: [*self.waited])
        monkeypatch.setattr(watchdog, "read_waited", self._read_waited)
        monkeypatch.setattr(watchdog, "read_sleeps", lambda _: self.sleeps)
        monkeypatch.setattr(watchdog, "_NOISE", 0)
        monkeypatch.setattr(sys, "getswitchinterval", lambda: 0.005)

    def _read_waited(self, thread: int) -> float:
        self.read.append(thread)
        return self.waited[thread]

    def sleep(self, times: int) -> None:
        assert self.sleeps is not None
        self.sleeps += times


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.mark.parametrize(
    "own, others, sleeps, starved",
    [
        (2.0, [0.0], 0, 2.0),
        (0.5, [3.0, 1.0], 0, 0.5),
        (0.5, [3.0, 1.0], 400, 2.5),
        (0.5, [1.0, 0.5], 400, 2.0),
        (0.5, [], 400, 0.5),
    ],
    ids=["itself", "others, which it does not need", "who has the lock", "who has had the lock", "alone"],
)
def test_who_has_no_processor(kernel: Kernel, own: float, others: list[float], sleeps: int, starved: float) -> None:
    starvation = Starvation(1, 100.0)
    assert starvation.seconds(100.0, 0.0) == 0.0
    # It waits for the lock from the beginning, so the others are read when it is looked at.
    kernel.sleep(20)
    starvation.note_others(100.1, 0.1)
    assert starvation.seconds(100.1, 0.1) == 0.0
    kernel.sleep(sleeps)
    kernel.waited = {1: 10.0 + own} | {2 + at: 20.0 + 10 * at + seconds for at, seconds in enumerate(others)}
    assert starvation.seconds(110.0, 0.1) == starved
    kernel.waited[9] = 0.1
    assert starvation.seconds(110.0, 0.1) == own + min(sum(others) + 0.1, sleeps * 0.005), "a thread that is new"
    kernel.sleeps = None
    assert starvation.seconds(110.0, 0.1) == own


def test_other_threads_are_read_only_where_the_lock_is_waited_for(kernel: Kernel) -> None:
    """There may be hundreds, and each costs three calls that release the interpreter lock."""
    starvation = Starvation(1, 100.0)
    kernel.sleep(20)
    for now in (101.0, 102.0, 103.0):
        starvation.note_others(now, 0.0)
        assert starvation.seconds(now, 0.0) == 0.0, "a tenth of the time is not worth it"
    assert set(kernel.read) == {1}
    kernel.sleep(580)
    starvation.note_others(106.0, 0.0)
    assert set(kernel.read) == {1, 2, 3}


def test_who_asks_before_the_others_are_read_hears_nothing_of_what_they_may_have_starved(kernel: Kernel) -> None:
    starvation = Starvation(1, 100.0)
    kernel.sleep(600)
    assert starvation.seconds(105.0, 0.0) == 3.0
    assert starvation.seconds(105.0, 2.0) == 1.0, "the watchdog has found the lock to be held"
    kernel.waited[1] += 2.5
    assert starvation.seconds(105.0, 0.0) == 5.0, "not more than there was"
    starvation.note_others(105.0, 2.0)
    kernel.sleep(600)
    assert starvation.seconds(109.0, 2.0) == 2.5 + 0.5, "the others had their processors since"


def test_to_be_read_is_not_to_wait_for_the_lock(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_NOISE", 12)
    starvation = Starvation(1, 100.0)
    for look in range(1, 5):
        kernel.sleep(12)
        starvation.note_others(100 + look / 10, 0.0)
    assert set(kernel.read) == {1}


def look(loop: WatchedLoop, frame: FrameType, held: float = 0.0, stolen: float = 0.0) -> bool:
    """Look at a loop as the watchdog's thread does that was kept from it for so many seconds."""
    before = loop._thread._nap.taken
    taken = Taken(before.held + held, before.stolen + stolen)
    loop._thread._nap = Nap(taken=taken)
    return loop.look(lambda: frame, held, taken)


async def test_a_second_is_long(
    loop: WatchedLoop, clock: ManualClock, frame: FrameType, caplog: pytest.LogCaptureFixture
) -> None:
    assert look(loop, frame), "the next look comes soon"
    clock.now += 0.1
    assert look(loop, frame), "it is late, and from now on it stands"
    clock.now += 0.99
    assert not look(loop, frame)
    assert loop.blocked() is None
    assert not lines_in(caplog)
    # The kernel may have let this thread wait meanwhile.
    clock.now += 1.0
    look(loop, frame)
    assert loop.blocked() is not None
    assert len(lines_in(caplog)) == 1


async def test_nothing_is_read_of_a_loop_that_turns_when_it_is_asked(
    loop: WatchedLoop, frame: FrameType, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def note_read(thread: int) -> float:
        read.append(thread)
        return 0.0

    monkeypatch.setattr(watchdog, "read_waited", note_read)
    look(loop, frame)
    await trio.testing.wait_all_tasks_blocked()
    look(loop, waiting_frame())
    assert not read
    look(loop, frame)
    look(loop, frame)
    assert read == [threading.get_native_id()], "it is late"


async def test_the_frames_of_all_threads_are_not_read_while_the_loop_sleeps(
    loop: WatchedLoop, frame: FrameType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread has not run since it was seen to wait, so it is where it was."""
    ran: list[float | None] = [1.0]
    monkeypatch.setattr(WatchedLoop, "_processor_time", lambda _: ran[-1])
    waiting, found = waiting_frame(), 0

    def find() -> FrameType:
        nonlocal found
        found += 1
        return waiting

    def count(looks: int) -> int:
        nonlocal found
        found = 0
        for _ in range(looks):
            assert not loop.look(find, 0.0, Taken())
        return found

    assert count(1) == 1
    assert count(3) == 0
    assert count(9) == 3, "the clock of the thread may go from tick to tick"
    ran.append(1.000001)
    assert count(4) == 1
    ran.append(None)
    assert count(5) == 5, "nobody says"
    waiting = frame
    assert loop.look(find, 0.0, Taken()), "it is asked"


async def test_a_loop_that_has_run_since_it_was_seen_to_wait_is_looked_at(loop: WatchedLoop, frame: FrameType) -> None:
    assert not loop.look(waiting_frame, 0.0, Taken())
    end = time.monotonic() + 0.002
    while time.monotonic() < end:
        pass
    assert loop.look(lambda: frame, 0.0, Taken())


async def test_it_is_said_at_each_doubling(
    loop: WatchedLoop, clock: ManualClock, frame: FrameType, caplog: pytest.LogCaptureFixture
) -> None:
    # The kernel may have let this thread wait meanwhile: a hundredth of a second is far from what is looked at.
    clock.now = 0.01
    for _ in range(36):
        look(loop, frame)
        clock.now += 0.5
    clock.now += 0.1
    assert [round(seconds_in(line)) for line in lines_in(caplog)] in ([1, 2, 4, 8, 16], [2, 2, 4, 8, 16])


async def test_who_asks_before_the_watchdog_has_looked_hears_nothing_of_a_stop(
    loop: WatchedLoop, clock: ManualClock, frame: FrameType
) -> None:
    """The process was stopped, and the loop runs on before the watchdog's thread does."""
    look(loop, frame)
    look(loop, frame)
    loop._thread._nap = Nap(clock.now + 0.5, Taken(), None, time.process_time())
    clock.now += 100
    assert loop.blocked() is None
    assert loop.lately(1000) is None
    loop._thread._nap = Nap()
    assert loop.lately(1000) is not None


async def test_time_that_the_machine_has_taken_does_not_count(
    loop: WatchedLoop, clock: ManualClock, frame: FrameType, caplog: pytest.LogCaptureFixture
) -> None:
    look(loop, frame)
    look(loop, frame)
    clock.now += 3600
    look(loop, frame, stolen=3599.5)
    assert loop.blocked() is None
    await trio.testing.wait_all_tasks_blocked()
    assert loop.lately(10) is None
    assert not lines_in(caplog)


class AsksAtEachStep:
    """A loop which somebody asks, between all steps of the watchdog, how it is blocked."""

    def __init__(self, loop: WatchedLoop, frame: FrameType) -> None:
        self.loop, self.frame = loop, frame
        self.token = loop.token
        self.ident = loop.ident
        self.nodes = loop.nodes
        self.found: list[object] = []

    def look(self, _: object, held: float, taken: Taken) -> bool:
        """As the loop's thread does that runs on before the watchdog's."""
        self.found.append(self.loop.blocked())
        is_soon = self.loop.look(lambda: self.frame, held, taken)
        self.found.append(self.loop.blocked())
        return is_soon


async def test_who_asks_while_the_watchdog_looks_hears_nothing_of_a_stop(
    loop: WatchedLoop, clock: ManualClock, frame: FrameType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog knows that it is late, and has told no loop of it yet."""
    thread, asks = loop._thread, AsksAtEachStep(loop, frame)
    look(loop, frame)
    look(loop, frame)
    thread._loops[loop.token] = cast("WatchedLoop", asks)
    monkeypatch.setattr(watchdog, "own_sleeps", lambda: None)

    class Bell:
        """It wakes the thread 100 s late once, and then ends it."""

        def wait(self, seconds: float) -> bool:
            asks.found.append(loop.blocked())
            clock.now += seconds
            if asks.found[1:]:
                thread._loops.clear()
            else:
                clock.now += 100
                asks.found.append(loop.blocked())
            return False

    monkeypatch.setattr(thread, "_bell", Bell())
    thread._run()
    assert asks.found == [None] * 5


async def test_the_place_is_where_it_was_seen_most_often(loop: WatchedLoop, clock: ManualClock) -> None:
    def mostly() -> FrameType:
        return sys._getframe()

    def once() -> FrameType:
        return sys._getframe()

    for function in (once, mostly, mostly, once, mostly):
        look(loop, function())
        clock.now += 1
    found = loop.blocked()
    assert found is not None
    assert found.place.endswith("in mostly")


async def test_the_interpreter_lock_was_held_by_another_thread(
    loop: WatchedLoop, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    look(loop, waiting_frame(), held=0.9)
    assert not lines_in(caplog)
    look(loop, waiting_frame(), held=2.0)
    assert lines_in(caplog) == ["the event loop was blocked 2.0 s by code that held the interpreter lock"]
    clock.now += 1
    assert loop.lately(0.5) is None
    assert str(loop.lately(1.5)) == "blocked 2.0 s by code that held the interpreter lock"


@pytest.mark.parametrize("asked", [False, True], ids=["not asked", "asked"])
async def test_the_interpreter_lock_was_held_by_the_loop(
    loop: WatchedLoop, clock: ManualClock, frame: FrameType, caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    """It stands since the lock was taken, though nothing else was read of it."""
    if asked:
        look(loop, frame)
    clock.now += 5
    look(loop, frame, held=4.5)
    assert [seconds_in(line) for line in lines_in(caplog)] == [4.5]


@pytest.mark.parametrize(
    "sleeps, computed, held",
    [(None, 0.0, False), (None, 9.0, True), (2, 9.0, False), (200, 9.0, False), (300, 0.0, True)],
    ids=["stopped", "computing", "starved", "often for a moment", "waiting for the lock"],
)
def test_why_the_thread_was_late(
    monkeypatch: pytest.MonkeyPatch, sleeps: int | None, computed: float, held: bool
) -> None:
    """By what the kernel counts where it counts, else by the processor time of the process."""
    thread, clock = WatchdogThread(), ManualClock()
    thread.clock = clock
    counted = 100 if sleeps is not None else None
    thread._nap = Nap(10.0, Taken(3.0, 4.0), counted, time.process_time() - computed)
    monkeypatch.setattr(watchdog, "read_sleeps", lambda _: 100 + (sleeps or 0))
    assert thread.taken(10.05) == (3.0, 4.0)
    assert thread.taken(20.0) == ((13.0, 4.0) if held else (3.0, 14.0))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's counts")
def test_what_the_kernel_counts_of_a_thread() -> None:
    own = threading.get_native_id()
    waited, sleeps = read_waited(own), own_sleeps()
    assert sleeps is not None
    assert waited > 0 or not Path("/proc/self/schedstat").exists()
    for _ in range(10):
        time.sleep(0.0001)
    assert read_waited(own) >= waited
    assert sleeps + 10 <= (read_sleeps(own) or 0) <= (own_sleeps() or 0)
    assert (read_waited(0), read_sleeps(0)) == (0, None)


# Places --------------------------------------------------------------------------------------------------------------


def test_a_thread_that_runs_nothing_is_nowhere() -> None:
    assert place_of_frame(None) == ""


async def test_the_programs_own_frame_is_named() -> None:
    """Not the library that it has called, nor what has started the loop."""
    found: list[str] = []

    def compare(one: int, other: int) -> int:
        return one

    class Late:
        def __del__(self) -> None:
            found.append(place_of_frame(sys._getframe(1)))

    def take() -> None:
        late = Late()
        del late

    take()
    assert re.fullmatch(r"test_watchdog\.py:\d+, in take", found.pop())
    frames: list[FrameType] = []

    def look(_: re.Match[str]) -> str:
        frames.append(sys._getframe(1))
        return ""

    re.sub("x", look, "x")
    # The innermost frame is one of `re`.
    assert place_of_frame(frames[0]).endswith("in test_the_programs_own_frame_is_named")


async def test_what_has_started_the_loop_is_not_the_place() -> None:
    """Where only the package and Trio run, the innermost frame is better than nothing."""
    found: list[str] = []
    trio.lowlevel.current_trio_token().run_sync_soon(lambda: found.append(place_of_frame(sys._getframe(1))))
    await trio.testing.wait_all_tasks_blocked()
    assert re.fullmatch(r"_entry_queue\.py:\d+, in .*run_cb", found[0])


def test_a_thread_that_waits_in_trio() -> None:
    assert is_waiting(waiting_frame())
    assert not is_waiting(sys._getframe())


# What it costs -------------------------------------------------------------------------------------------------------


class Other:
    """A node in a loop and a thread of its own, which monitors another node, and says when it has lost it."""

    def __init__(self, seed: str, heartbeat: float) -> None:
        self.lost = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main, seed, heartbeat))

    async def _main(self, seed: str, heartbeat: float) -> None:
        # Not long: the other loop waits for the end of this one, and answers nothing meanwhile.
        settings: dict[str, Any] = {"secret": SECRET, "heartbeat": heartbeat, "shutdown_timeout": 0.05}
        async with trio_mp.open_node("other", seeds=[seed], **settings) as node:
            node.monitor("me", lambda *_: self.lost.set())
            await trio.to_thread.run_sync(self._stop.wait)

    def __enter__(self) -> Other:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


async def test_a_node_that_was_blocked_says_so_in_its_reasons_its_log_and_its_statistics(
    hasty: WatchdogThread, short_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"binds": [f"unix:{short_directory}/s"], "secret": SECRET, "heartbeat": 0.1}
    with trio.fail_after(LONG):
        async with trio_mp.open_node("me", **settings) as node:
            with Other(node.binds[0], 0.1) as other:
                await until(lambda: node.peers)
                told = Notices()
                node.monitor("other", told)
                block(lambda: other.lost.is_set() and lines_in(caplog))
                reason = await told.wait()
                blocked = r"blocked \d\.\d s at test_watchdog\.py:\d+, in block"
                assert reason[:2] == ("transport_error", "other")
                assert re.search(f"; this node was {blocked}$", str(reason[2])), reason
                found = node.statistics().blocks[-1]
                assert re.fullmatch(blocked, found.what)
                assert found.peers == ("other",)
                assert 0.1 <= found.seconds < LONG
                cost = f"this node was {blocked}, so others have given it up: it has lost the connections with other"
                await until(lambda: [line for line in caplog.messages if re.fullmatch(cost, line)])
                assert trio_mp.NodeStatistics.from_plain(node.statistics().to_plain()).blocks[-1] == found


@pytest.mark.parametrize("seconds", [14.0, 16.0])
@pytest.mark.parametrize("seen", ["by the reader", "by the beat", "later"])
async def test_connections_that_end_behind_three_heartbeats(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, seconds: float, seen: str
) -> None:
    """In virtual time nobody knows where the loop stood. The beats come at 2.5 s, 5 s and so on."""
    network = FakeNetwork()
    async with open_test_node(network, "m", heartbeat=5.0, connect_timeout=300) as node:
        start = trio.current_time()
        peer = RawPeer(network.connect(place("m")).dialler, "a")
        await peer.adopt()
        told = Notices()
        node.monitor("a", told)
        await trio.sleep_until(start + 2.5)
        await trio.testing.wait_all_tasks_blocked()
        if seen == "by the reader":
            peer.pipe.close()
        autojump_clock.jump(seconds)
        if seen != "by the reader":
            await trio.testing.wait_all_tasks_blocked()
            if seen == "later":
                await trio.sleep(2.6)
            peer.pipe.close()
        reason = await told.wait()
        long = seconds > 15 and seen != "later"
        assert ("; this node was standing still for 13.5 s" in str(reason[2])) == long
        assert [block.peers for block in node.statistics().blocks] == ([("a",) if long else ()] if seconds > 15 else [])
        await trio.sleep(6)
        costs = [line for line in caplog.messages if "it has lost the connections with a" in line]
        assert len(costs) == long


class Calm:
    """A dispatcher of which no handler computes."""

    id, stalls = "m", 0


@pytest.mark.parametrize("first", ["reader", "beat"])
def test_the_reader_and_the_beat_put_down_the_same_time_once(first: str) -> None:
    """Whichever of them comes first when the loop turns again."""
    blocks = OwnBlocks(cast("LocalPorts", Calm()), 5.0, lambda _: Blocked(18.2, "app.py:40, in take"), lambda: 1000.0)
    blocks.begin(0.0)
    if first == "beat":
        blocks.beat(20.0)
    assert blocks.explain("a", 20.0) == "; this node was blocked 18.2 s at app.py:40, in take"
    assert blocks.explain("a", 20.0) != ""
    if first == "reader":
        blocks.beat(20.0)
    assert blocks.explain("b", 21.0) != ""
    blocks.beat(22.5)
    assert blocks.explain("c", 23.0) == ""
    assert [(block.peers, block.ended, block.seconds) for block in blocks.latest] == [(["a", "b"], 1000.0, 18.2)]


async def test_only_the_last_ten_are_kept(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_node(FakeNetwork(), "m", heartbeat=5.0) as node:
        await trio.sleep(1)
        for number in range(12):
            autojump_clock.jump(100 + number)
            await trio.sleep(6)
        found = node.statistics().blocks
        assert len(found) == 10
        assert found[-1].seconds > found[0].seconds
        assert network_of(node).own_blocks.latest.maxlen == 10
