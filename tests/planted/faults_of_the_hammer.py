"""Faults in what watches: rules of the hammer that are not checked, so that a broken promise would pass."""

from __future__ import annotations

from .fault import Change, Fault

_LEDGER = "testing/_ledger.py"
_CIRCLE = "testing/_circle.py"
_REGISTRY = "testing/_registry.py"
_TURNS = "testing/_turns.py"
_RULES = "tests/testing/test_testing_groups.py"
_TURN_RULES = "tests/testing/test_testing_turns.py"


def _unchecked(name: str, rule: str, file: str, old: str, test: str) -> Fault:
    """A condition of a rule that never holds."""
    indent = old[: len(old) - len(old.lstrip())]
    return Fault(name, f"the hammer: {rule}", (Change(file, old, f"{indent}if False:"),), (test,))


HAMMER = (
    _unchecked(
        "handled_twice_unseen",
        "a call may be handled twice",
        _LEDGER,
        "if question.handlings and not question.again:",
        f"{_RULES}::test_a_call_that_is_handled_twice",
    ),
    _unchecked(
        "any_answer_will_do",
        "a call may return the answer to another one",
        _LEDGER,
        "if answer not in question.handlings:",
        f"{_RULES}::test_an_answer_that_no_handler_has_given",
    ),
    _unchecked(
        "dropped_and_answered_unseen",
        "a call that was not begun may be answered",
        _LEDGER,
        "if question.dropped < inf and not question.again:",
        f"{_RULES}::test_an_answer_to_a_call_that_was_dropped",
    ),
    _unchecked(
        "late_beginnings_unseen",
        "a call may begin long after its caller has gone",
        _LEDGER,
        "if oracle.lives(question.run) and oracle.calm_since(over) > oracle.bounds.latency:",
        f"{_RULES}::test_a_call_that_begins_long_after_its_end",
    ),
    _unchecked(
        "early_ends_unseen",
        "a call may expire before its time",
        _LEDGER,
        'if isinstance(error, CallError) and error.type_name == "expired" and trio.current_time() < question.deadline:',
        f"{_RULES}::test_a_call_that_expires_too_early",
    ),
    _unchecked(
        "false_proofs_unseen",
        "a call may be handled though its caller was told that nobody has got it",
        _LEDGER,
        "if question.undelivered and question.handlings:",
        f"{_RULES}::test_a_call_that_is_undelivered_and_handled",
    ),
    _unchecked(
        "handlers_outlive_calls_unseen",
        "a handler may go on for ever for whose answer nobody waits",
        _LEDGER,
        "if handling.going_on and not handling.clings and oracle.lives(handling.run):",
        f"{_RULES}::test_a_handler_that_goes_on_when_nobody_waits",
    ),
    _unchecked(
        "not_called_again_unseen",
        "a call that may be made again may fail",
        _LEDGER,
        "if question.again and isinstance(error, PortDied):",
        f"{_RULES}::test_a_call_that_may_be_made_again_and_fails",
    ),
    _unchecked(
        "hanging_calls_unseen",
        "a call may never end",
        _LEDGER,
        "if question.ended == inf and alive:",
        f"{_RULES}::test_a_call_that_does_not_end",
    ),
    _unchecked(
        "joining_twice_unseen",
        "a member may join without having left",
        _CIRCLE,
        "            if member is not None:",
        f"{_RULES}::test_a_member_that_joins_twice",
    ),
    _unchecked(
        "leaving_twice_unseen",
        "a member may leave without having joined",
        _CIRCLE,
        "if member is None or member.port != event.port:",
        f"{_RULES}::test_a_member_that_leaves_and_had_not_joined",
    ),
    _unchecked(
        "divergence_unseen",
        "a group at rest may have other members than are registered",
        _CIRCLE,
        "if not set(members) <= set(expected) or len(members) != min(watch, len(expected)):",
        f"{_RULES}::test_a_group_without_a_registered_member",
    ),
    _unchecked(
        "invented_entries_unseen",
        "the database may name a port that nobody has registered",
        _REGISTRY,
        "if (family, key, port) not in self._ever:",
        f"{_RULES}::test_an_entry_that_nobody_has_made",
    ),
    _unchecked(
        "epochs_twice_unseen",
        "two turns may have one epoch",
        _TURNS,
        "if other.epoch == turn.epoch:",
        f"{_TURN_RULES}::test_an_epoch_that_is_used_twice",
    ),
    _unchecked(
        "older_epochs_unseen",
        "a turn may be older than the one before",
        _TURNS,
        "if (other.was_seen or other.epoch.run == turn.epoch.run) and other.epoch > turn.epoch:",
        f"{_TURN_RULES}::test_a_turn_that_is_older_than_the_one_before",
    ),
    _unchecked(
        "turns_beside_unseen",
        "a turn may begin beside one that it sees",
        _TURNS,
        "if self.is_running(other) and self._is_seen(other):",
        f"{_TURN_RULES}::test_a_turn_that_begins_beside_another_one",
    ),
    _unchecked(
        "early_entries_unseen",
        "the entry of a turn may go before the turn has unwound",
        _TURNS,
        "if claim not in witness.node.database._replica.owned(FAMILY).values():",
        f"{_TURN_RULES}::test_a_turn_whose_entry_goes_before_it_has_unwound",
    ),
    _unchecked(
        "two_turns_unseen",
        "any number of turns may run at rest",
        _TURNS,
        "if len(running) != 1:",
        f"{_TURN_RULES}::test_no_turn_or_two_at_rest",
    ),
    _unchecked(
        "refused_turns_unseen",
        "a turn may run at rest that the resource refuses",
        _TURNS,
        "if self.obeyed and not self.write(running[0].epoch):",
        f"{_TURN_RULES}::test_a_turn_at_rest_that_the_resource_refuses",
    ),
)
