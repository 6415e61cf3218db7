"""Faults in children on other nodes: when a life has ended, and where the next one runs."""

from __future__ import annotations

from .fault import Change, Fault

_REMOTE = "_supervision/remote.py"
_PLACES = "_supervision/places.py"
_TESTS = "tests/supervision/test_remote_children.py"
_CUT_OFF = f"{_TESTS}::test_a_node_that_is_cut_off_ends_its_child_before_the_next_one_begins"

REMOTE_CHILDREN = (
    Fault(
        "lost_taken_for_dead",
        "a lost connection is a death, and the next life begins at once",
        (
            Change(
                _REMOTE,
                "        if self.is_certain(reason):\n            if identifier_of",
                "        if True:\n            if identifier_of",
            ),
        ),
        (f"{_TESTS}::test_a_node_that_is_killed_has_its_child_run_elsewhere_within_the_bound",),
    ),
    Fault(
        "back_to_a_node_that_closes",
        "the next life is started on the node that has just closed, because its entry is still there",
        (
            Change(
                _REMOTE,
                "                self._places.lost = self.node_id\n            self._end",
                "                pass\n            self._end",
            ),
        ),
        (f"{_TESTS}::test_a_node_that_closes_has_ended_its_children",),
    ),
    Fault(
        "child_not_linked",
        "nothing ends a life whose node has lost the supervisor's",
        (Change(_REMOTE, "                linked_to=str.__str__(life.anchor),\n", ""),),
        (_CUT_OFF,),
    ),
    Fault(
        "unwinding_left_out",
        "the bound leaves out the time that a life may take to unwind",
        (Change(_REMOTE, "self.heartbeat) + self.unwinding", "self.heartbeat)"),),
        (f"{_TESTS}::test_a_node_that_is_killed_has_its_child_run_elsewhere_within_the_bound",),
    ),
    Fault(
        "their_heartbeat_left_out",
        "the bound leaves out how seldom the other node looks",
        (Change(_REMOTE, "_SILENCE * ours + theirs / 2 + ", "_SILENCE * ours + ours / 2 + "),),
        (
            f"{_TESTS}::test_a_child_on_a_node_that_is_slow_to_look_gets_the_time_for_it",
            f"{_TESTS}::test_the_bound_follows_from_both_heartbeats",
        ),
    ),
    Fault(
        "doubted_and_not_killed",
        "a life that was given up is only asked about, though it may be alive and connected",
        (Change(_REMOTE, "            self._runtime.kill(self.port, order)\n", ""),),
        (f"{_TESTS}::test_a_loss_of_one_message_is_no_loss_of_the_connection_and_the_child_is_killed",),
        hangs=True,
    ),
    Fault(
        "order_sent_to_nobody",
        "each attempt to reach a lost node loses messages, and logs that",
        (Change(_REMOTE, "            await self._wait_up()\n", ""),),
        (f"{_TESTS}::test_looking_for_a_lost_node_drops_nothing",),
    ),
    Fault(
        "nobody_looks_for_the_node",
        "no connection is looked for with a node that may have lost a life",
        (
            Change(
                _REMOTE,
                "looking = self._runtime.monitor(self.node_id, _nothing_is_done, None)",
                "looking = None",
            ),
        ),
        (f"{_TESTS}::test_a_connection_is_looked_for_also_with_a_node_that_nobody_else_would_dial",),
    ),
    Fault(
        "asked_once",
        "what a node says when it is connected again is not waited for",
        (Change(_REMOTE, "            if self.is_certain(reason):\n                return reason\n", ""),),
        (f"{_TESTS}::test_a_reset_is_no_death_but_is_followed_by_one_soon",),
    ),
    Fault(
        "connected_node_not_heard",
        "a node that is connected, and has not said that a life has ended, is not waited for",
        (
            Change(
                _REMOTE,
                "            if self._peer is not None and not (self._peer.is_up() and self._is_asked):\n",
                "            if self.port:\n",
            ),
        ),
        (f"{_TESTS}::test_a_child_with_a_supervisor_inside_has_the_time_that_its_own_children_take",),
    ),
    Fault(
        "failed_start_forgotten",
        "of a start whose answer was lost a port may be left",
        (Change(_REMOTE, "            if life.port and not certain:\n", "            if life.port and False:\n"),),
        (f"{_TESTS}::test_a_start_whose_answer_is_lost_leaves_nothing",),
    ),
    Fault(
        "lost_node_picked_again",
        "the next life may be sent to the node that was just lost",
        (Change(_PLACES, "if node_id != self.lost]", "if node_id]"),),
        (f"{_TESTS}::test_a_node_that_has_lost_a_life_is_avoided_though_it_is_back_at_once",),
    ),
    Fault(
        "epoch_not_told",
        "a life on another node does not know which it is",
        (Change(_REMOTE, "                epoch=epoch,\n", ""),),
        (f"{_TESTS}::test_a_child_on_another_node_is_started_stopped_and_started_again",),
    ),
    Fault(
        "name_of_the_doubtful",
        "a child that is to end stays in the database, and others go on to it",
        (
            Change(
                "_supervision/driver.py",
                "            if turn.life is not None:\n                self._leave_life(child, turn, reason)\n",
                "            if turn.life is not None:\n                child.reference._end(reason)\n",
            ),
        ),
        (f"{_TESTS}::test_the_name_of_a_child_in_doubt_is_taken_out_of_the_database",),
    ),
    Fault(
        "name_of_another_deleted",
        "a child that ends takes the name out of the database that another child has by now",
        (
            Change(
                "_services/registrations.py",
                "        self._owned.pop(self, None)\n",
                "        pass\n",
            ),
        ),
        ("tests/supervision/test_children.py::test_a_child_that_ends_takes_no_name_away_from_another_one",),
    ),
)
