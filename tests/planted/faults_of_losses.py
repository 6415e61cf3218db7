"""Faults in what is sent later, in what is refused, and in what is said of messages that are lost."""

from __future__ import annotations

from .fault import Change, Fault

_LATER = "_services/later.py"
_TIMER = "_ports/timer.py"
_TIMERS = "tests/ports/test_timers.py"

LOSSES = (
    Fault(
        "a_burst_of_ticks",
        "ticks that were overrun come all at once",
        (Change(_LATER, "due = next_tick(due, seconds, trio.current_time())", "due += seconds"),),
        (f"{_TIMERS}::test_ticks_that_were_overrun_are_skipped",),
    ),
    Fault(
        "ticks_move",
        "after an overrun the ticks have other times than before",
        (Change(_LATER, "now + seconds - (now - due) % seconds", "now + seconds"),),
        (f"{_TIMERS}::test_ticks_that_were_overrun_are_skipped",),
    ),
    Fault(
        "timers_outlive_their_port",
        "a timer goes on when the port has died that asked for it",
        (Change(_TIMER, "                state.owned[self] = None\n", "                pass\n"),),
        (f"{_TIMERS}::test_it_ends_with_the_port_that_asked",),
    ),
    Fault(
        "timers_of_the_dead",
        "a timer that the code of a dead port asks for is never ended",
        (Change(_TIMER, "                scope.cancel()\n", "                pass\n"),),
        (f"{_TIMERS}::test_a_timer_of_a_port_that_has_just_died_sends_nothing",),
    ),
    Fault(
        "timers_pile_up",
        "a port keeps its timers that have sent",
        (Change(_TIMER, "state_of(self._owner).owned.pop(self, None)", "pass"),),
        (f"{_TIMERS}::test_a_port_keeps_no_timer_that_has_ended",),
    ),
    Fault(
        "ticks_for_the_dead",
        "a timer ticks for ever for a port of this node that is dead",
        (Change(_LATER, " or not again:", ":"),),
        (f"{_TIMERS}::test_ticks_for_a_dead_port_of_this_node_end",),
    ),
)
