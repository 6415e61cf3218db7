"""Faults in the rules of a supervisor."""

from __future__ import annotations

from .fault import Change, Fault

_FILE = "_protocol/supervision.py"
_TESTS = "tests/protocol/supervision/test_supervision.py"
_ORDERS = f"{_TESTS}::test_every_order_of_events_keeps_the_rules"
_OTP = "tests/protocol/supervision/test_supervision_otp.py::test_the_same_starts_and_stops_as_otp"

SUPERVISION = (
    Fault(
        "starts_while_frozen",
        "rule 6: a child is started although the node is closing",
        (Change(_FILE, "if not (tied and doomed) and not self.frozen:", "if not (tied and doomed):"),),
        (f"{_TESTS}::test_a_frozen_supervisor_lets_a_start_go_on_and_begins_no_other", _ORDERS),
    ),
    Fault(
        "restarts_while_frozen",
        "rule 6: a death counts, and is to be followed by a restart, although the node is closing",
        (Change(_FILE, "if self.frozen:\n            child.wanted", "if False:\n            child.wanted"),),
        (f"{_TESTS}::test_a_frozen_supervisor_starts_nothing_and_stops_all_at_its_end",),
    ),
    Fault(
        "believes_a_start_that_was_stopped",
        "a start that succeeds while it is being stopped counts as one",
        (Change(_FILE, "ChildEvent.STARTED, State.STOPPING)", "ChildEvent.STARTED, State.UP)"),),
        (f"{_TESTS}::test_what_crosses_with_a_stop_is_a_stop", _ORDERS),
    ),
    Fault(
        "forgets_who_waits_with_it",
        "rule 4: with children that are tied together only the one that something has happened to is looked at",
        (Change(_FILE, "if affected is not None and not tied:", "if affected is not None and not self.ending:"),),
        (f"{_TESTS}::test_which_are_restarted", _ORDERS),
    ),
    Fault(
        "restarts_while_others_unwind",
        "rule 4: a child is started while another one, which is tied to it, has not stopped",
        (Change(_FILE, "if not (tied and doomed) and", "if not self.ending and"),),
        (f"{_TESTS}::test_a_death_in_the_middle_of_a_restart_begins_it_anew", _ORDERS),
    ),
    Fault(
        "stops_the_first_first",
        "rule 4: what depends on others is stopped behind them",
        (Change(_FILE, "for child in reversed(children):", "for child in children:"),),
        (f"{_TESTS}::test_which_are_restarted", _ORDERS),
    ),
    Fault(
        "does_not_wait_for_those_before",
        "rule 4: a child is started before the one that it depends on is up",
        (
            Change(
                _FILE,
                "child.delay))\n            if tied:\n                break",
                "child.delay))\n            if tied and not child.wanted:\n                break",
            ),
        ),
        (f"{_TESTS}::test_who_is_tied_to_a_child_that_waits_waits_behind_it", _ORDERS),
    ),
    Fault(
        "counts_what_it_stops",
        "a child that dies while it waits for its turn to be stopped counts as a death of its own",
        (Change(_FILE, "if stopping or child.doomed:\n            # It was", "if stopping:\n            # It was"),),
        (f"{_TESTS}::test_a_death_before_its_turn_to_be_stopped_counts_as_none",),
    ),
    Fault(
        "one_too_many",
        "rule 3: one more restart than the limit allows",
        (Change(_FILE, "if len(self._recent) > self.limit:", "if len(self._recent) > self.limit + 1:"),),
        (f"{_TESTS}::test_too_many_restarts_end_all_in_reverse_and_name_who_it_was", _OTP),
    ),
    Fault(
        "counts_for_ever",
        "rule 3: a restart of long ago counts as well",
        (Change(_FILE, "while now - self._recent[0][0] > self.within:", "while not self._recent:"),),
        (f"{_TESTS}::test_restarts_of_long_ago_do_not_count",),
    ),
    Fault(
        "keeps_temporary_children",
        "rule 2: a temporary child is started again with the others",
        (Change(_FILE, "if other.restart is Restart.TEMPORARY and not other.new:", "if False:"),),
        (f"{_TESTS}::test_a_temporary_child_is_taken_out_when_it_ends_and_when_others_are_restarted", _OTP),
    ),
    Fault(
        "takes_a_failed_start_for_the_end",
        "rule 1: a start that fails after a restart takes the child out, as the first start does",
        (Change(_FILE, "if child.new:\n            child.wanted", "if True:\n            child.wanted"),),
        (f"{_TESTS}::test_a_start_that_fails_again_counts_as_a_death", _OTP),
    ),
)
