"""Faults in how a node notices that its loop stands, and what it says of it."""

from __future__ import annotations

from .fault import Change, Fault

_WATCHDOG = "_node/watchdog.py"
_BLOCKS = "_peers/own_blocks.py"
_REASON = "_reason.py"
_CONNECTION = "_peers/connection.py"
_TESTS = "tests/node/test_watchdog.py"
_BEHIND = f"{_TESTS}::test_connections_that_end_behind_three_heartbeats"
_ONCE = f"{_TESTS}::test_the_reader_and_the_beat_put_down_the_same_time_once"

WATCHDOG = (
    Fault(
        "idle loops are asked",
        "the watchdog wakes a process that has nothing to do",
        (Change(_WATCHDOG, "is_idle = frame is not None and is_waiting(frame)", "is_idle = frame is None"),),
        (f"{_TESTS}::test_a_loop_that_waits_sleeps_on",),
    ),
    Fault(
        "frames are always read",
        "the watchdog reads the frames of all threads at each look, also while the loop sleeps",
        (Change(_WATCHDOG, "            if self._sleeps_on():\n", "            if False:\n"),),
        (f"{_TESTS}::test_the_frames_of_all_threads_are_not_read_while_the_loop_sleeps",),
    ),
    Fault(
        "seen once to wait is waiting",
        "a loop that was seen to wait is not looked at any more when it runs",
        (Change(_WATCHDOG, "return self._processor_time() == self._idle_at", "return True"),),
        (
            f"{_TESTS}::test_the_frames_of_all_threads_are_not_read_while_the_loop_sleeps",
            f"{_TESTS}::test_a_loop_that_has_run_since_it_was_seen_to_wait_is_looked_at",
        ),
    ),
    Fault(
        "starved is blocked",
        "a loop that has no processor is taken for one that the program blocks",
        (Change(_WATCHDOG, "passed - stolen - count.starvation.seconds(now, held)", "passed - stolen"),),
        (f"{_TESTS}::test_what_the_machine_takes_is_taken_off",),
    ),
    Fault(
        "who has the lock may starve",
        "a loop is taken for blocked that waits for the interpreter lock of a thread that has no processor",
        (Change(_WATCHDOG, "return own + others.unread + min(waited, wanted)", "return own"),),
        (f"{_TESTS}::test_who_has_no_processor",),
    ),
    Fault(
        "who starves has the lock",
        "the watchdog takes off what threads wait for a processor of which the loop needs nothing",
        (Change(_WATCHDOG, "min(waited, wanted)", "waited"),),
        (f"{_TESTS}::test_who_has_no_processor",),
    ),
    Fault(
        "stopped is blocked",
        "a process that was stopped is taken for one that the program blocks",
        (Change(_WATCHDOG, "passed - stolen - count", "passed - count"),),
        (f"{_TESTS}::test_time_that_the_machine_has_taken_does_not_count",),
    ),
    Fault(
        "stopped is blocked for who asks at once",
        "a process that was stopped says that it was blocked, until the watchdog has looked again",
        (Change(_WATCHDOG, "turn.stood(now, self._thread.taken(now))", "turn.stood(now, self._thread._nap.taken)"),),
        (f"{_TESTS}::test_who_asks_before_the_watchdog_has_looked_hears_nothing_of_a_stop",),
    ),
    Fault(
        "a stop is forgotten for a moment",
        "between the watchdog's waking and its look a process that was stopped says that it was blocked",
        (Change(_WATCHDOG, "self._nap = Nap(taken=taken)", "self._nap = Nap(taken=before)"),),
        (f"{_TESTS}::test_who_asks_while_the_watchdog_looks_hears_nothing_of_a_stop",),
    ),
    Fault(
        "all threads are read",
        "the watchdog reads what the kernel says of all threads, whoever has the interpreter lock",
        (Change(_WATCHDOG, " and self._wanted(now, sleeps):", ":"),),
        (f"{_TESTS}::test_other_threads_are_read_only_where_the_lock_is_waited_for",),
    ),
    Fault(
        "read before it is late",
        "the watchdog reads the kernel's counts for each loop that it asks, though nearly all turn at once",
        (Change(_WATCHDOG, "            if held:\n", "            if held >= 0:\n"),),
        (f"{_TESTS}::test_nothing_is_read_of_a_loop_that_turns_when_it_is_asked",),
    ),
    Fault(
        "to be read is to wait",
        "a loop that computes is taken for one that waits for the lock, because the watchdog takes that to read",
        (Change(_WATCHDOG, " - self._noise)", ")"),),
        (f"{_TESTS}::test_to_be_read_is_not_to_wait_for_the_lock",),
    ),
    Fault(
        "what is not known is the program's",
        "before the other threads are read, waiting for one that has no processor is blocking",
        (Change(_WATCHDOG, "return own + self._unread(now, held, sleeps, own)", "return own"),),
        (f"{_TESTS}::test_who_asks_before_the_others_are_read_hears_nothing_of_what_they_may_have_starved",),
    ),
    Fault(
        "the lock is nothing to who is not late",
        "a loop that has held the lock since it was asked is not told of",
        (
            Change(
                _WATCHDOG,
                "        turn.count = TurnCount(now - held, taken,",
                "        turn.count = TurnCount(now, taken,",
            ),
        ),
        (f"{_TESTS}::test_the_interpreter_lock_was_held_by_the_loop",),
    ),
    Fault(
        "the interpreter lock is the machine",
        "code that holds the interpreter lock is not noticed",
        (
            Change(
                _WATCHDOG,
                "return Taken(held + late, stolen) if is_held else Taken(held, stolen + late)",
                "return Taken(held, stolen + late)",
            ),
        ),
        (
            f"{_TESTS}::test_why_the_thread_was_late",
            f"{_TESTS}::test_code_that_holds_the_interpreter_lock_is_told_of_behind_it",
        ),
    ),
    Fault(
        "said at each look",
        "a loop that stands is logged twice a second",
        (Change(_WATCHDOG, "            while turn.say_at <= stood:\n                turn.say_at *= 2\n", ""),),
        (f"{_TESTS}::test_it_is_said_at_each_doubling",),
    ),
    Fault(
        "told twice",
        "the end of a blocked loop is told by the node and by the watchdog",
        (Change(_WATCHDOG, " and not self._is_told:", ":"),),
        (f"{_TESTS}::test_who_asks_tells_of_it_and_the_watchdog_says_no_more",),
    ),
    Fault(
        "the watchdog stays",
        "the watchdog's thread does not end with the last node",
        (
            Change(
                _WATCHDOG, "                if not loops:\n", "                if not loops and not self.patience:\n"
            ),
        ),
        (f"{_TESTS}::test_the_thread_ends_with_the_last_node_and_comes_back",),
    ),
    Fault(
        "forks have no watchdog",
        "in a fork the watchdog of the parent is taken for one that runs",
        (Change(_WATCHDOG, "    os.register_at_fork(", "    (lambda **_: None)("),),
        (f"{_TESTS}::test_a_fork_has_a_watchdog_of_its_own",),
    ),
    Fault(
        "watched in virtual time",
        "a simulated node has a watchdog, which measures another time than the node's",
        (Change(_WATCHDOG, "    return wait < 2 and ", "    return "),),
        (f"{_TESTS}::test_which_clocks_go_on_by_themselves", f"{_TESTS}::test_no_thread_in_virtual_time"),
    ),
    Fault(
        "the last place counts",
        "a blocked loop is said to stand where it was seen last, however seldom",
        (
            Change(
                _WATCHDOG, 'max(self.places, key=self.places.__getitem__, default="")', 'next(iter(self.places), "")'
            ),
        ),
        (f"{_TESTS}::test_the_place_is_where_it_was_seen_most_often",),
    ),
    Fault(
        "the place is outside of the loop",
        "a blocked loop is said to stand where the program has started it",
        (Change(_REASON, "while frame is not None and not is_loop(frame):", "while frame is not None:"),),
        (f"{_TESTS}::test_what_has_started_the_loop_is_not_the_place",),
    ),
    Fault(
        "no own reasons",
        "the reasons of connections that a blocked node has lost do not say that it was blocked",
        (
            Change(
                _CONNECTION,
                "            why += self.network.own_blocks.explain(",
                "            self.network.own_blocks.explain(",
            ),
        ),
        (_BEHIND,),
    ),
    Fault(
        "explained too long",
        "connections that end long behind a blocked loop are put down to it",
        (
            Change(
                _BLOCKS,
                "            self._tell_cost(self._open)\n            self._open = None\n",
                "            self._tell_cost(self._open)\n",
            ),
        ),
        (_BEHIND, _ONCE),
    ),
    Fault(
        "three heartbeats are none",
        "connections are put down to times in which no other node can have given this one up",
        (Change(_BLOCKS, "if passed < 3 * self._heartbeat or", "if passed < 2 * self._heartbeat or"),),
        (_BEHIND,),
    ),
    Fault(
        "noted twice",
        "the reader and the beat put down the same time, each for itself",
        (Change(_BLOCKS, "        self._noted = True\n", ""),),
        (_ONCE,),
    ),
    Fault(
        "no cost",
        "the log does not say which connections a blocked loop has cost",
        (
            Change(
                _BLOCKS,
                "            self._tell_cost(self._open)\n            self._open = None\n",
                "            self._open = None\n",
            ),
        ),
        (_BEHIND,),
    ),
)
