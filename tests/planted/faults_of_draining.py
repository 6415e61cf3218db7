"""Faults in how a node drains: it ends too early, or never, or others do not hear of it."""

from __future__ import annotations

from .fault import Change, Fault

_RULES = "_protocol/drain.py"
_SERVICE = "_services/drain.py"
_PEER = "_peers/peer.py"
_TABLE = "tests/protocol/test_drain.py"
_MAILBOX = "_ports/mailbox.py"
_PORT = "_ports/port.py"
_LIFECYCLE = "_ports/lifecycle.py"
_TESTS = "tests/services/test_draining.py"
_BOXES = "tests/services/test_draining_mailboxes.py"
_WITHIN = "tests/services/test_draining_within.py"
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
        (f"{_TABLE}::TestWork::test_rules_4_to_6_what_is_waited_for_and_what_is_said",),
    ),
    Fault(
        "calls_are_not_seen",
        "rule 4: a drain does not look at the calls of peers",
        (Change(_SERVICE, "                    if call.name:\n", "                    if False:\n"),),
        (f"{_TESTS}::TestPeers::test_calls_of_others_are_answered_by_handlers_of_all_kinds",),
    ),
    Fault(
        "drains_itself_into_a_knot",
        "rule 6: a drain waits for the handler that awaits it",
        (
            Change(
                _SERVICE, "handler_awaits = self._runtime.lifecycle.busy.get(port) in tasks", "handler_awaits = False"
            ),
        ),
        (f"{_WITHIN}::test_called_in_a_port_that_port_is_not_waited_for",),
        hangs=True,
    ),
    Fault(
        "the_port_that_drains_is_hidden",
        "rule 6: a drain does not wait for the other work of the port whose code awaits it",
        (
            Change(
                _SERVICE,
                "running=(state.busy and not handler_awaits)",
                "running=(state.busy and port not in left_out.ports)",
            ),
        ),
        (f"{_WITHIN}::test_the_other_work_of_the_port_is_waited_for",),
    ),
    Fault(
        "the_loop_that_drains_is_awaited",
        "rule 6: a drain waits for the message that its own task has in hand",
        (Change(_SERVICE, "loop.is_at_work and loop.task not in left_out for", "loop.is_at_work for"),),
        (f"{_WITHIN}::test_the_task_of_a_loop_awaits_the_drain_with_a_message_in_hand",),
        hangs=True,
    ),
    Fault(
        "handlers_that_wait_for_a_drain_are_awaited",
        "rule 6: a drain waits for the handler in whose nursery it is awaited",
        (Change(_SERVICE, "            found.add(task)\n", ""),),
        (f"{_WITHIN}::test_a_task_that_the_handler_waits_for_awaits_the_drain",),
        hangs=True,
    ),
    Fault(
        "calls_answered_behind_the_drain_are_awaited",
        "rule 6: a drain waits for a call that is answered behind it",
        (Change(_SERVICE, "if may_answer and call.was_handed_on:", "if False:"),),
        (f"{_WITHIN}::test_a_call_that_is_perhaps_answered_behind_the_drain_is_named",),
        hangs=True,
    ),
    Fault(
        "the_call_that_drains_is_awaited",
        "rule 6: a drain waits for the call by which it was asked for",
        (Change(_SERVICE, "if behind or call in left_out.calls or", "if behind or"),),
        (f"{_WITHIN}::test_an_inspection_and_the_call_by_which_a_port_drains_are_not_waited_for",),
        hangs=True,
    ),
    Fault(
        "all_leave_out_those_that_drain",
        "rule 6: a drain that is awaited outside of ports does not wait for handlers that await one",
        (Change(_SERVICE, "if awaiter.port is None:", "if False:"),),
        (f"{_WITHIN}::test_a_drain_that_is_awaited_outside_of_ports_waits_for_those_that_await_one",),
    ),
    Fault(
        "the_draining_task_is_awaited",
        "rule 6: a drain waits for the mailbox that only the task reads which awaits it",
        (Change(_SERVICE, "nobody_else = bool(readers) and readers <= tasks", "nobody_else = False"),),
        (f"{_BOXES}::test_the_task_that_has_left_its_loop_and_drains_is_not_waited_for",),
        hangs=True,
    ),
    Fault(
        "who_never_waits_reads_nothing",
        "rule 6: a drain does not know the task that takes messages without waiting",
        (
            Change(
                _MAILBOX,
                "        mailbox._latest = trio.lowlevel.current_task()\n        message = mailbox._find(",
                "        message = mailbox._find(",
            ),
        ),
        (f"{_BOXES}::test_a_task_that_takes_messages_without_waiting_and_drains_is_not_waited_for",),
    ),
    Fault(
        "unread_calls_are_awaited",
        "rule 5: a drain waits for calls in a mailbox from which nobody has received",
        (
            Change(
                _SERVICE,
                "if mailbox is not None and calls and (nobody_else or not mailbox.was_asked):",
                "if mailbox is not None and calls and nobody_else:",
            ),
        ),
        (f"{_BOXES}::test_calls_that_wait_where_nobody_reads_are_unfinished_at_once",),
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
            Change(
                "_ports/dispatcher.py",
                "        self.lifecycle.busy[port] = trio.lowlevel.current_task()\n",
                "",
            ),
        ),
        (f"{_TESTS}::TestAlone::test_it_waits_for_handlers_and_for_what_they_send_on", _JUDGE),
    ),
    Fault(
        "loops_are_not_awaited",
        "rule 4: a node has drained while a task works at a message that its loop has taken",
        (Change(_SERVICE, "any(loop.is_at_work and loop.task", "any(False and loop.task"),),
        (f"{_BOXES}::test_it_waits_for_a_mailbox_and_for_the_message_that_an_iteration_works_at",),
    ),
    Fault(
        "a_receive_ends_the_work_of_a_loop",
        "rule 4: a receive inside of a loop hides the message of the loop",
        (Change(_PORT, "return self._receiver().begin_loop()", "return self._receiver()"),),
        (f"{_BOXES}::test_a_receive_inside_of_a_loop_leaves_the_message_of_the_loop_in_hand",),
    ),
    Fault(
        "handed_messages_are_in_no_hand",
        "rule 4: a message that was handed to a loop is not seen until its task runs",
        (Change(_MAILBOX, "return self._in_hand or bool(self._handed)", "return self._in_hand"),),
        ("tests/ports/test_mailbox.py::test_a_loop_has_a_message_in_hand_from_the_moment_in_which_it_is_handed_over",),
    ),
    Fault(
        "loops_never_end",
        "rule 4: a drain waits for a loop that was left",
        (Change(_MAILBOX, "weakref.ref(loop))", "lambda: loop)"),),
        (f"{_BOXES}::test_a_loop_that_was_left_has_nothing_in_hand_whatever_its_task_does",),
        hangs=True,
    ),
    Fault(
        "loops_outlive_their_tasks",
        "rule 4: a drain waits for a loop whose task has ended, because the program keeps the iterator",
        (Change(_MAILBOX, "and not (loop.task is not None and _has_ended(loop.task))", ""),),
        (f"{_BOXES}::test_a_loop_that_is_kept_when_its_task_has_ended_has_nothing_in_hand",),
        hangs=True,
    ),
    Fault(
        "loops_are_their_makers",
        "rule 4: a loop counts as that of the task that began it, though another one goes on with it",
        (Change(_MAILBOX, "        self._yielded = _NEVER\n        loop", "        loop"),),
        (f"{_BOXES}::test_a_loop_belongs_to_the_task_that_goes_on_with_it",),
    ),
    Fault(
        "cancelled_loops_have_a_message",
        "rule 4: a drain waits for a loop that was cancelled while it waited",
        (
            Change(
                _MAILBOX,
                "        self._in_hand = False\n        mailbox = self._mailbox\n",
                "        mailbox = self._mailbox\n",
            ),
        ),
        (f"{_BOXES}::test_a_loop_that_was_cancelled_while_it_waited_and_is_kept_has_nothing_in_hand",),
        hangs=True,
    ),
    Fault(
        "deaths_with_messages_are_not_named",
        "rule 5: a drain does not name a port that has died with messages",
        (Change(_SERVICE, "        runtime.lifecycle.tell_unfinished = self._port_died\n", ""),),
        (f"{_TESTS}::TestAlone::test_a_port_that_dies_with_messages_is_named",),
    ),
    Fault(
        "deaths_by_an_exception_are_not_named",
        "rule 5: a drain does not name a port whose handler has raised",
        (Change(_LIFECYCLE, "or is_in_hand or error is not None:", "or is_in_hand:"),),
        (f"{_TESTS}::TestAlone::test_a_port_whose_handler_raises_is_named",),
    ),
    Fault(
        "deaths_of_loops_are_not_named",
        "rule 5: a drain does not name a port that was killed while its task was at work",
        (Change(_LIFECYCLE, "or is_in_hand or error is not None:", "or error is not None:"),),
        (f"{_TESTS}::TestAlone::test_a_port_whose_loop_raises_or_is_killed_with_a_message_is_named",),
    ),
    Fault(
        "parts_while_it_drains",
        "a node that drains gives a connection back, and the peer comes again without having heard",
        (Change(_SERVICE, "            peer.keep(_KEPT)\n", ""),),
        (f"{_TESTS}::TestAMember::test_idle_is_answered_by_busy_while_a_node_drains_and_by_bye_before",),
        hangs=True,
    ),
    Fault(
        "peers_stay_for_ever",
        "a node that has drained, and goes on, keeps what it knows of all that come and go",
        (Change(_SERVICE, "            peer.release(_KEPT)\n", ""),),
        (f"{_TESTS}::TestAMember::test_peers_that_come_and_go_while_a_node_drains_are_forgotten",),
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
        (Change(_SERVICE, "        self._database._withdraw_ports()\n", ""),),
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
        (Change("_groups/group.py", "self._at_once, full, leaving)", "self._at_once, full)"),),
        (f"{_TESTS}::TestEntries::test_a_group_prefers_members_of_nodes_that_do_not_drain",),
    ),
    Fault(
        "stops_of_the_drained_are_not_told",
        "a service manager does not hear that a node stops which has drained before",
        (
            Change(
                "_peers/standing.py",
                "        if self.draining.is_set():\n            self._tell()\n",
                "",
            ),
        ),
        ("tests/peers/test_standing.py::test_the_observers_of_a_node_that_has_drained_are_told_that_it_stops",),
    ),
    Fault(
        "busy_groups_call_the_leaving",
        "a group calls a member whose node drains, because all others are busy",
        (
            Change(
                "_protocol/groups/roster.py",
                "[place for place in joined if place.node_id not in leaving] or joined",
                "[place for place in joined if place.node_id not in leaving and place.busy < at_once] or joined",
            ),
        ),
        (
            "tests/protocol/groups/test_roster.py::test_a_member_of_a_leaving_node_is_chosen_only_if_there_are_no_others_busy_or_not",
            f"{_TESTS}::TestEntries::test_a_group_whose_other_members_are_busy_waits_for_them",
        ),
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
