"""Faults in groups: who joins and leaves, which member gets a call, what readers are told."""

from __future__ import annotations

from .fault import Change, Fault

_ROSTER = "_protocol/groups/roster.py"
_CHOICE = "_protocol/groups/choice.py"
_EVENTS = "_protocol/groups/events.py"
_GROUP = "_groups/group.py"
_SINGLETON = "_protocol/groups/singleton.py"
_TAKER = "_groups/singleton.py"
_TURN_RULES = "tests/protocol/groups/test_singleton.py"
_TURNS = "tests/groups/test_singletons.py"
_NODE_PORT = "_peers/node_port.py"
_RULES = "tests/protocol/groups/test_roster.py"
_ONE = "tests/groups/test_groups.py::TestOnOneNode"
_MANY = "tests/groups/test_groups.py::TestOnManyNodes"
_FULL = "tests/groups/test_groups.py::TestMembersOfFullNodes"
_END = "tests/groups/test_groups.py::TestTheEnd"
_FAULTY = "tests/groups/test_groups_under_faults.py"

GROUPS = (
    Fault(
        "joined_without_an_answer",
        "groups: a member joins as soon as it is monitored, before its node has answered",
        (
            Change(
                _GROUP,
                "        self._ask(attempt, port)\n\n    def _ask",
                "        self._effects.execute(self._roster.answered(attempt))\n\n    def _ask",
            ),
        ),
        (f"{_MANY}::test_a_port_that_is_missing_never_joins",),
    ),
    Fault(
        "answer_overtakes_the_missing",
        "groups: the answer of a node overtakes its report that a port is missing",
        (
            Change(
                _NODE_PORT,
                "self._dispatcher.queue.call_behind(self._answer_for, peer, port, answer)",
                "self._answer_for(peer, port, answer)",
            ),
        ),
        (
            "tests/peers/test_network_monitors.py::test_an_answer_comes_behind_the_report_that_a_port_is_missing",
            f"{_MANY}::test_a_port_that_is_missing_never_joins",
        ),
    ),
    Fault(
        "late_answer_counts",
        "groups: the answer to an attempt that is over makes a member",
        (Change(_ROSTER, "        if place.state is not PlaceState.ASKED:\n            return []\n", ""),),
        (f"{_RULES}::test_an_idle_member_makes_room_for_one_that_a_call_wants",),
    ),
    Fault(
        "lost_silently",
        "groups: a member that was lost and is found again has never left",
        (
            Change(
                _ROSTER,
                "            effects.append(Tell(Left(place.port, reason, place.key)))\n",
                "            pass\n",
            ),
        ),
        (f"{_RULES}::test_delays_double_until_the_longest_and_begin_anew_with_a_member",),
    ),
    Fault(
        "never_tried_again",
        "groups: a member that could not be reached is not tried again",
        (
            Change(
                _GROUP,
                "self._start_clock(attempt, seconds * (0.5 + self._runtime.environment.jitter()), self._due)",
                "pass",
            ),
        ),
        (f"{_FAULTY}::test_every_call_that_may_be_made_again_is_answered",),
    ),
    Fault(
        "tried_without_delay",
        "groups: a member that cannot be reached is tried at the same pace for ever",
        (Change(_ROSTER, "place.failures = min(place.failures + 1, 10)", "place.failures = 0"),),
        (f"{_RULES}::test_delays_double_until_the_longest_and_begin_anew_with_a_member",),
    ),
    Fault(
        "death_told_as_unregistered",
        "groups: a member that has died leaves because its entry has gone, and nobody learns why it has died",
        (Change(_ROSTER, "return [AskPlace(place.attempt, place.port)]", "return self.answered(place.attempt)"),),
        (f"{_RULES}::test_a_member_whose_entry_is_gone_leaves_once",),
    ),
    Fault(
        "left_by_an_entry_and_monitored",
        "groups: a member without an entry stays monitored",
        (
            Change(
                _ROSTER,
                "return [DropPlace(attempt), *self._leave(place, unregistered(place.key)), *self._fill()]",
                "return [*self._leave(place, unregistered(place.key)), *self._fill()]",
            ),
        ),
        (f"{_ONE}::test_an_entry_that_goes_without_its_port",),
    ),
    Fault(
        "joins_before_the_former_has_left",
        "groups: the next port of a key joins before the former one has left",
        (Change(_ROSTER, " and place.key not in self._leaving", ""),),
        (f"{_RULES}::test_the_next_port_of_a_key_is_monitored_when_the_former_has_left",),
    ),
    Fault(
        "group_monitors_all",
        "groups: all members are monitored, however many there are",
        (
            Change(_ROSTER, "while self._monitored < self.limit or self._wants:", "while True:"),
            Change(_ROSTER, "            if self._monitored >= self.limit:\n", "            if False:\n"),
        ),
        (f"{_RULES}::test_no_more_than_the_limit_are_monitored",),
    ),
    Fault(
        "busy_member_makes_room",
        "groups: a member that has calls to answer is dropped to make room for another one",
        (Change(_ROSTER, "if not place.busy and not place.wanted", "if not place.wanted"),),
        (f"{_RULES}::test_an_idle_member_makes_room_for_one_that_a_call_wants",),
    ),
    Fault(
        "room_is_not_made",
        "groups: a call waits for ever for a member while another one is idle",
        (Change(_ROSTER, "*(self._fill() if self._wants else [])]", "]"),),
        (f"{_RULES}::test_a_newcomer_makes_room_for_one_that_a_call_wants",),
    ),
    Fault(
        "all_monitor_the_same",
        "groups: all nodes monitor the same few members, which get all calls",
        (Change(_ROSTER, "weigh(self._node_id, key)", 'weigh("", key)'),),
        (f"{_RULES}::test_nodes_monitor_different_members",),
    ),
    Fault(
        "key_among_the_monitored",
        "groups: a key goes to a member that this node monitors, and elsewhere to another one",
        (
            Change(
                _ROSTER,
                "for place in self._places.values() if place.state is not PlaceState.TRIED}",
                "for place in self.joined}",
            ),
        ),
        (f"{_MANY}::test_all_groups_choose_the_same_member_for_a_key_whatever_they_monitor",),
    ),
    Fault(
        "keys_by_order",
        "groups: the order in which members have come decides who gets a key",
        (Change(_CHOICE, "key=lambda member: (weigh(key, member), member)", "key=lambda member: 0"),),
        ("tests/protocol/groups/test_choice.py::test_a_key_belongs_to_one_member_whatever_the_order",),
    ),
    Fault(
        "unfair_round_robin",
        "groups: one member gets all calls",
        (Change(_ROSTER, "        place.used = self._counter\n", ""),),
        (f"{_ONE}::test_round_robin_is_fair",),
    ),
    Fault(
        "least_busy_by_turns",
        "groups: the member with the fewest calls is not the one that gets the next",
        (Change(_CHOICE, 'if by == "least_busy":', "if False:"),),
        (f"{_ONE}::test_the_least_busy_member_is_called",),
    ),
    Fault(
        "called_again_unasked",
        "groups: a call that may not be made twice is",
        (Change(_GROUP, " or (error.maybe_delivered and not again):", ":"),),
        (f"{_ONE}::test_a_member_that_dies_fails_the_call_or_another_one_is_called",),
    ),
    Fault(
        "no_pause_between_members",
        "calls that kill one new member after the other leave no time to anybody",
        (Change(_GROUP, "if failures > 1:", "if False:"),),
        ("tests/groups/test_groups.py::test_calls_that_kill_one_new_member_after_the_other_leave_time_to_others",),
        hangs=True,
    ),
    Fault(
        "undelivered_call_fails",
        "groups: a call that nobody has got fails, although another member could take it",
        (Change(_GROUP, "(error.maybe_delivered and not again)", "not again"),),
        (f"{_ONE}::test_a_call_that_nobody_has_got_goes_to_another_member",),
    ),
    Fault(
        "reply_of_any_type",
        "groups: the reply of a member is not of the type that was asked for",
        (Change(_GROUP, "self._calls.call(port, message, reply)", "self._calls.call(port, message)"),),
        (f"{_ONE}::test_a_reply_has_the_type_that_was_asked_for",),
    ),
    Fault(
        "room_that_nobody_hears_of",
        "groups: a call that waits for room at a member waits for ever",
        (Change(_GROUP, "                    self._queue.unpark()\n", ""),),
        (f"{_ONE}::test_so_many_calls_at_once_and_the_rest_waits_for_room",),
    ),
    Fault(
        "more_calls_at_once",
        "groups: a member gets more calls at once than the program allows",
        (Change(_ROSTER, "if place.busy < at_once)", "if True)"),),
        (f"{_ONE}::test_so_many_calls_at_once_and_the_rest_waits_for_room",),
    ),
    Fault(
        "more_calls_of_a_key_at_once",
        "groups: a member gets more calls of a key at once than the program allows",
        (Change(_GROUP, "                if place.busy < self._at_once:\n", "                if True:\n"),),
        (f"{_ONE}::test_a_call_of_a_key_waits_for_room_at_its_member",),
    ),
    Fault(
        "key_that_nobody_asked_for",
        "groups: a group of one key has members of other keys",
        (Change(_GROUP, "return self.key is None or key == self.key", "return True"),),
        (f"{_ONE}::test_a_group_of_one_key_follows_the_port_that_has_it",),
    ),
    Fault(
        "own_death_is_the_members",
        "groups: a call whose reply port was killed is made again and again",
        (Change(_GROUP, "if error.port != place.port or (error", "if (error"),),
        (f"{_ONE}::test_a_call_whose_reply_port_is_killed_is_not_made_again",),
        hangs=True,
    ),
    Fault(
        "pairs_left_out_with_the_loss",
        "groups: a slow reader is not told that a member was lost and found",
        (Change(_EVENTS, "elif isinstance(events[0], Left):", "elif False:"),),
        ("tests/protocol/groups/test_events.py::test_what_a_slow_reader_gets",),
    ),
    Fault(
        "events_without_bound",
        "groups: the events of a reader that never comes fill the memory",
        (Change(_EVENTS, "if len(self._waiting) > self._most:", "if False:"),),
        ("tests/protocol/groups/test_events.py::test_a_reader_that_never_comes_costs_a_bounded_amount",),
    ),
    Fault(
        "waiting_calls_outlive_the_group",
        "groups: who waits for a member waits for ever when the group is closed",
        (
            Change(
                _GROUP,
                "        self._changed.unpark_all()\n        self._queue.unpark_all()\n        self._news",
                "        self._news",
            ),
        ),
        (f"{_END}::test_wakes_all_who_wait",),
        hangs=True,
    ),
    Fault(
        "group_leaves_monitors",
        "groups: a group that is closed goes on monitoring",
        (
            Change(
                _GROUP,
                "        for monitor in self._monitors.values():\n            monitor.cancel()\n",
                "",
            ),
        ),
        (f"{_END}::test_leaving_the_block_leaves_nothing_behind",),
    ),
    Fault(
        "turn_is_refused_for_ever",
        "the singleton: a turn goes on though a greater number is known, of a turn that is over",
        (Change(_SINGLETON, "newer = self._seen > self.epoch.number or any(", "newer = any("),),
        (_TURN_RULES,),
    ),
    Fault(
        "older_turn_goes_on",
        "the singleton: a turn goes on though a newer one is known",
        (Change(_SINGLETON, "case CandidateState.RUNS if newer:", "case CandidateState.RUNS if False:"),),
        (f"{_TURNS}::TestOnOneNode::test_a_newer_claim_ends_the_turn",),
    ),
    Fault(
        "entry_goes_before_the_turn",
        "the singleton: a turn that is to end says that it has ended before it has unwound",
        (Change(_SINGLETON, "self.state = CandidateState.YIELDS", "self.state = CandidateState.WAITS"),),
        (_TURN_RULES, f"{_TURNS}::test_turns_are_comparable_and_the_older_one_ends"),
    ),
    Fault(
        "numbers_are_forgotten",
        "the singleton: who comes later begins with a number that was used before",
        (Change(_SINGLETON, "return [self._seen, self.epoch.node_id,", "return [0, self.epoch.node_id,"),),
        (f"{_TURN_RULES}::test_a_candidate_that_comes_later_knows_the_greatest_number_from_those_that_wait",),
    ),
    Fault(
        "turn_before_the_older_ends",
        "the singleton: a turn begins while an older one is known to run",
        (Change(_SINGLETON, "case CandidateState.CLAIMS if claims == {self.epoch}:", "case CandidateState.CLAIMS:"),),
        (f"{_TURN_RULES}::test_a_newer_claim_waits_for_the_older_turn",),
    ),
    Fault(
        "called_off_and_waiting_for_ever",
        "the singleton: a turn that is called off before the function runs is never over",
        (Change(_TAKER, "                candidate.unwound()\n", "                pass\n"),),
        (f"{_TURNS}::TestOnOneNode::test_a_claim_that_is_called_off_before_the_turn_begins",),
        hangs=True,
    ),
    Fault(
        "place_not_freed",
        "the singleton: the entry of a candidate that has ended stays",
        (Change(_TAKER, "self._database._drop_own(self._family, self._candidate.key)", "pass"),),
        (f"{_TURNS}::TestOnOneNode::test_returns_what_the_function_returns_and_frees_the_place",),
    ),
    Fault(
        "busy_is_an_answer",
        "groups: a call that a full node has refused goes to no other member",
        (Change(_GROUP, "if error.type_name != BUSY or error.maybe_delivered:", "if True:"),),
        (f"{_FULL}::test_the_call_goes_to_a_member_of_another_node",),
    ),
    Fault(
        "any_error_is_busy",
        "groups: a call goes to another member though a handler has raised an exception whose name is busy",
        (Change(_GROUP, "if error.type_name != BUSY or error.maybe_delivered:", "if error.type_name != BUSY:"),),
        (f"{_FULL}::test_an_error_of_a_handler_that_looks_like_it_is_an_answer",),
        hangs=True,
    ),
    Fault(
        "full_nodes_asked_again",
        "groups: a call goes to the next member of a node that is known to be full",
        (Change(_ROSTER, "        if full:\n", "        if False:\n"),),
        (f"{_RULES}::test_a_member_of_a_full_node_is_chosen_only_if_there_is_no_other_one",),
    ),
    Fault(
        "full_for_ever",
        "groups: a node that was full is passed over although all others are full now",
        (
            Change(
                _ROSTER,
                "[place for place in free if place.node_id not in full] or free",
                "[place for place in free if place.node_id not in full]",
            ),
        ),
        (f"{_RULES}::test_a_member_of_a_full_node_is_chosen_only_if_there_is_no_other_one",),
    ),
)
