"""Faults in how a node drains: it ends too early, or never, or others do not hear of it."""

from __future__ import annotations

from .fault import Change, Fault

_RULES = "_protocol/drain.py"
_SERVICE = "_services/drain.py"
_PEER = "_peers/peer.py"
_TABLE = "tests/protocol/test_drain.py"
_TESTS = "tests/services/test_draining.py"
_JUDGE = "tests/testing/test_testing_drains.py"

DRAINING = (
    Fault(
        "drains_without_fences",
        "rule 1: a node has drained while messages are on their way that were sent before others heard",
        (Change(_RULES, "return not self._awaited and not work.is_awaited", "return not work.is_awaited"),),
        (f"{_TABLE}::TestPeers::test_rule_1_a_peer_is_awaited_until_it_has_heard", _JUDGE),
    ),
    Fault(
        "late_peers_are_not_told",
        "rule 1: a peer whose connection comes up while the node drains does not hear of it",
        (Change(_SERVICE, "if self._rules.begun and peer is not None:", "if False:"),),
        (
            f"{_TESTS}::TestAMember::test_a_peer_that_is_lost_before_its_fence_is_named_and_told_again_when_it_comes_back",
        ),
        hangs=True,
    ),
    Fault(
        "lost_fences_are_not_named",
        "rule 2: a drain does not say that what a lost peer had sent may be missing",
        (Change(_RULES, "if self.heard(node_id) and not parted:", "if self.heard(node_id) and False:"),),
        (f"{_TABLE}::TestPeers::test_rule_2_a_peer_that_is_lost_before_its_fence_is_noted",),
    ),
    Fault(
        "parted_peers_are_lost",
        "rule 2: a drain says that something may be missing of a peer that has parted",
        (Change(_SERVICE, "parted=peer.has_parted", "parted=False"),),
        (f"{_TESTS}::TestAMember::test_a_connection_that_parts_behind_the_word_has_lost_nothing",),
    ),
    Fault(
        "strangers_to_the_word_are_awaited",
        "rule 3: a drain waits for the fence of a peer that does not know the word",
        (Change(_RULES, "if not understands:", "if False:"),),
        (f"{_TABLE}::TestPeers::test_rule_3_a_peer_that_does_not_know_the_word_is_noted_and_not_awaited",),
    ),
    Fault(
        "drains_before_calls_are_answered",
        "rule 4: a node has drained before a handler has sent the reply to a call",
        (Change(_RULES, "if self.running or self.calls or self", "if self.running or self"),),
        (f"{_TABLE}::TestWork::test_rules_4_and_5_what_is_waited_for_and_what_is_said",),
    ),
    Fault(
        "calls_are_not_seen",
        "rule 4: a drain does not look at the calls of peers",
        (
            Change(
                _SERVICE, "call in peer.callers.in_flight() if call.name", "call in peer.callers.in_flight() if False"
            ),
        ),
        (f"{_TESTS}::TestPeers::test_calls_of_others_are_answered_by_handlers_of_all_kinds",),
    ),
    Fault(
        "drains_itself_into_a_knot",
        "rule 5: a drain waits for the port that awaits it",
        (Change(_RULES, "        if self.awaits_drain:\n            return False\n", ""),),
        (f"{_TABLE}::TestWork::test_rules_4_and_5_what_is_waited_for_and_what_is_said",),
    ),
    Fault(
        "the_draining_task_is_awaited",
        "rule 5: a drain waits for the mailbox that the task has read which awaits it",
        (Change(_SERVICE, "is_read_by(self._tasks)", "is_read_by(())"),),
        (f"{_TESTS}::TestAlone::test_the_task_that_has_left_its_loop_and_drains_is_not_waited_for",),
        hangs=True,
    ),
    Fault(
        "what_is_on_its_way_is_not_seen",
        "rule 4: a node has drained while messages are on their way between its ports",
        (Change(_RULES, "return self.queued > 0 or any(", "return any("),),
        (f"{_TABLE}::TestWork::test_rule_4_nothing_may_be_on_its_way_between_ports",),
    ),
    Fault(
        "handlers_are_not_awaited",
        "rule 4: a node has drained while a handler runs",
        (
            Change(
                "_ports/dispatcher.py",
                "        self.lifecycle.busy[port] = None\n        rearm(port)\n        self.lifecycle.start_task",
                "        rearm(port)\n        self.lifecycle.start_task",
            ),
        ),
        (f"{_TESTS}::TestAlone::test_it_waits_for_handlers_and_for_what_they_send_on", _JUDGE),
    ),
    Fault(
        "iterations_are_not_awaited",
        "rule 4: a node has drained while a task works at a message that its iteration has taken",
        (Change("_ports/mailbox.py", "        return not ended\n", "        return False\n"),),
        (f"{_TESTS}::TestAlone::test_it_waits_for_a_mailbox_and_for_the_message_that_an_iteration_works_at",),
    ),
    Fault(
        "iterations_never_end",
        "rule 4: a drain waits for the iteration of a task that has ended",
        (Change("_ports/mailbox.py", "        return not ended\n", "        return True\n"),),
        (f"{_TESTS}::TestAlone::test_an_iteration_of_a_task_that_has_ended_is_over",),
        hangs=True,
    ),
    Fault(
        "cancelled_iterations_have_a_message",
        "rule 4: a drain waits for an iteration that was cancelled while it waited",
        (Change("_ports/mailbox.py", "self._task, self._iterates = None, False", "self._task = None"),),
        (f"{_TESTS}::TestAlone::test_an_iteration_that_is_cancelled_while_it_waits_has_nothing_in_hand",),
        hangs=True,
    ),
    Fault(
        "deaths_with_messages_are_not_named",
        "rule 5: a drain does not name a port that has died with messages",
        (Change(_SERVICE, "        runtime.lifecycle.tell_unfinished = self._port_died\n", ""),),
        (f"{_TESTS}::TestAlone::test_a_port_that_dies_with_messages_is_named",),
    ),
    Fault(
        "parts_while_it_drains",
        "a node that drains gives a connection back, and the peer comes again without having heard",
        (Change(_SERVICE, '            peer.keep("this node drains")\n', ""),),
        (f"{_TESTS}::TestAMember::test_idle_is_answered_by_busy_while_a_node_drains_and_by_bye_before",),
        hangs=True,
    ),
    Fault(
        "spawns_while_it_drains",
        "a node that drains makes ports for others",
        (Change("_peers/node_port.py", "if self._standing.draining.is_set():", "if False:"),),
        (f"{_TESTS}::TestPeers::test_spawns_starts_and_streams_of_others_are_refused_and_own_ones_are_not",),
    ),
    Fault(
        "entries_stay",
        "the ports of a node that drains are still found",
        (Change(_SERVICE, "        self._database.withdraw_ports()\n", ""),),
        (f"{_TESTS}::TestEntries::test_entries_that_name_ports_are_withdrawn_and_not_set_any_more", _JUDGE),
    ),
    Fault(
        "entries_come_back",
        "a port is registered on a node that drains",
        (
            Change(
                "_services/database.py",
                "if self._runtime.standing.draining.is_set() and read_port(",
                "if False and read_port(",
            ),
        ),
        (f"{_TESTS}::TestEntries::test_entries_that_name_ports_are_withdrawn_and_not_set_any_more",),
    ),
    Fault(
        "restarts_while_it_drains",
        "supervisors restart children on a node that drains",
        (Change(_SERVICE, "            supervisor.stop_restarting()\n", "            pass\n"),),
        (f"{_TESTS}::TestSupervisors::test_nothing_is_restarted_and_what_is_added_is_started",),
        hangs=True,
    ),
    Fault(
        "late_supervisors_restart",
        "a supervisor that is opened on a node that drains restarts children",
        (
            Change(
                "_supervision/driver.py",
                "        if self.runtime.standing.draining.is_set():\n            self.stop_restarting()\n",
                "",
            ),
        ),
        (f"{_TESTS}::TestSupervisors::test_nothing_is_restarted_and_what_is_added_is_started",),
        hangs=True,
    ),
    Fault(
        "waiting_restarts_come",
        "a restart that has waited since before the drain is made",
        (
            Change(
                "_protocol/supervision.py",
                "elif not child.new and child.state in (State.DOWN, State.STOPPING):",
                "elif False:",
            ),
        ),
        (
            "tests/protocol/supervision/test_supervision.py::test_restarts_that_wait_are_called_off_and_one_that_has_begun_goes_on",
        ),
    ),
    Fault(
        "stops_for_restarts_that_never_come",
        "a child is stopped for the sake of a restart that was called off",
        (Change("_protocol/supervision.py", "if child.doomed and child.state is not State.STOPPING:", "if False:"),),
        (
            "tests/protocol/supervision/test_supervision.py::test_what_was_to_be_stopped_for_the_sake_of_a_restart_goes_on",
        ),
    ),
    Fault(
        "groups_call_the_leaving",
        "a group calls a member whose node drains, although there is another one",
        (Change("_groups/group.py", "full | leaving if leaving else full", "full"),),
        (f"{_TESTS}::TestEntries::test_a_group_prefers_members_of_nodes_that_do_not_drain",),
    ),
    Fault(
        "keys_stay_with_the_leaving",
        "a key belongs to a member whose node drains, although there is another one",
        (Change("_protocol/groups/roster.py", "if place.node_id not in leaving} or reachable", "if True}"),),
        (f"{_TESTS}::TestEntries::test_a_group_prefers_members_of_nodes_that_do_not_drain",),
    ),
    Fault(
        "turns_begin_while_it_drains",
        "a candidate on a node that drains gets the one place",
        (Change("_groups/singleton.py", "if waits and self._runtime.standing.draining.is_set():", "if False:"),),
        (f"{_TESTS}::TestEntries::test_a_candidate_gets_no_turn_on_a_node_that_drains_and_keeps_the_one_that_it_has",),
    ),
    Fault(
        "unhandled_messages_unseen",
        "the hammer: a node may have drained before it has got a message of somebody who had not heard",
        (
            Change(
                "testing/_oracle.py",
                "            if number > stream.last:\n                self.fail(Rule.DRAINED",
                "            if False:\n                self.fail(Rule.DRAINED",
            ),
        ),
        (f"{_JUDGE}::test_a_message_that_comes_behind_the_fence_of_its_sender",),
    ),
    Fault(
        "work_in_hand_unseen",
        "the hammer: a node may have drained while a handler runs",
        (Change("testing/_oracle.py", "if (sender, number) in self._in_hand.get(port, ()):", "if False:"),),
        (f"{_JUDGE}::test_a_drain_that_waits_for_no_handler",),
    ),
    Fault(
        "deaf_peers_unseen",
        "the hammer: a node may have drained while a connected node has not heard of it",
        (
            Change(
                "testing/_oracle.py",
                "if self.lives(run) and (run, drained) not in self._heard:\n            self.fail",
                "if False:\n            self.fail",
            ),
        ),
        (f"{_JUDGE}::test_a_drain_that_tells_nobody",),
    ),
    Fault(
        "fences_that_are_missing_unseen",
        "the hammer: a drain may end before all have heard",
        (Change("testing/_drains.py", "if node._drains._rules.awaited:", "if False:"),),
        (f"{_JUDGE}::test_a_drain_that_ends_before_all_have_heard",),
    ),
    Fault(
        "hammer_parts_what_drains",
        "the hammer has a node part that drains, and blames the drain for what comes then",
        (Change("testing/_parting.py", "        return self[_DRAINS] > 0", "        return False"),),
        (f"{_JUDGE}::test_a_node_that_drains_does_not_part_though_nothing_else_keeps_the_connection",),
    ),
    Fault(
        "endless_drains_unseen",
        "the hammer: a drain may never end, and not say why",
        (Change("testing/_drains.py", "if not node.unfinished() and oracle.lives(run):", "if False:"),),
        (f"{_JUDGE}::test_a_drain_that_does_not_end",),
    ),
    Fault(
        "entries_of_the_leaving_unseen",
        "the hammer: a node that drains may have entries that name ports",
        (
            Change(
                "testing/_drains.py",
                "if not family.startswith(RESERVED) and read_port(key, value) is not None:",
                "if False:",
            ),
        ),
        (f"{_JUDGE}::test_entries_that_are_not_withdrawn",),
    ),
)
