"""Faults in the rules of the association, and in its queue."""

from __future__ import annotations

from .fault import Change, Fault

_FILE = "_protocol/association/association.py"
_SMALLER = "tests/protocol/association/test_queue.py::TestTheLimitOfThePeerIsSmaller"
_OUTBOX = "_protocol/association/outbox.py"
_QUEUE = "_protocol/association/queue.py"
_TESTS = "tests/protocol/association/test_association.py"
_RULES = "tests/protocol/association/test_association_properties.py"
_WORLDS = "tests/protocol/association/test_explorer.py::test_every_interleaving_keeps_the_promise"

_OTHERS_STAY_OPEN = Change(
    _FILE, "others = [other for other in self._connections if other != connection]", "others: list[str] = []"
)
_DATA_BEFORE_OK = (
    Change(
        _FILE,
        "Row(Stage.AUTHENTICATED, StageEvent.TAKEN_UP, Stage.CHOSEN,",
        "Row(Stage.AUTHENTICATED, StageEvent.TAKEN_UP, Stage.IN_USE,",
    ),
    Change(_FILE, "return [Choose(connection)]", "return [Choose(connection), NodeUp(connection)]"),
    Change(
        _FILE,
        "if self._move(connection, StageEvent.OK) is None:\n",
        "if self._move(connection, StageEvent.OK) is None:\n            return []\n",
    ),
)

ASSOCIATION = (
    Fault(
        "no_fence_for_messages",
        "rule 3: what is sent between a loss and its report is queued, and arrives behind the hole",
        (Change(_OUTBOX, "if self.fence is Fence.LOST:\n            # Rule 3.", "if False:\n            # Rule 3."),),
        (f"{_TESTS}::TestALoss::test_what_is_sent_before_the_report_is_dropped",),
    ),
    Fault(
        "no_fence_for_connections",
        "rule 3: another connection is taken up before a loss has been reported",
        (
            Change(
                _FILE,
                "return association.outbox.fence is Fence.CLEAR",
                "return association.outbox.fence is not Fence.FIRING",
            ),
        ),
        (f"{_TESTS}::TestTheFence",),
    ),
    Fault(
        "believed_against_the_evidence",
        "a peer that seems to have gone is given up though a connection with it is in its handshake",
        (
            Change(
                _FILE,
                "return self.lose(why) if self.wants_connection and not self._connections else []",
                "return self.lose(why) if self.wants_connection else []",
            ),
        ),
        (f"{_TESTS}::TestALoss::test_a_peer_that_seems_to_have_gone_is_waited_for_while_a_connection_is_on_its_way",),
    ),
    Fault(
        "believed_for_nothing",
        "a loss is reported of a peer that seems to have gone, and for which nothing waits",
        (
            Change(
                _FILE,
                "return self.lose(why) if self.wants_connection and not self._connections else []",
                "return self.lose(why) if not self._connections else []",
            ),
        ),
        (f"{_TESTS}::TestALoss::test_nothing_waits_for_a_peer_that_seems_to_have_gone",),
    ),
    Fault(
        "the_queue_is_kept",
        "rule 2: what was queued at a loss goes out by the next connection",
        (
            Change(
                _OUTBOX,
                "self.queue.drop()\n        if self._move(FenceEvent.LOSS):",
                "if self._move(FenceEvent.LOSS):",
            ),
        ),
        (f"{_TESTS}::TestALoss::test_it_closes_the_connection_drops_the_queue_and_fires_every_monitor",),
    ),
    Fault(
        "lifted_before_firing",
        "rule 3: the fence is lifted before the monitors have fired",
        (
            Change(
                _OUTBOX,
                "Row(Fence.LOST, FenceEvent.FIRE, Fence.FIRING)",
                "Row(Fence.LOST, FenceEvent.FIRE, Fence.CLEAR)",
            ),
        ),
        (f"{_TESTS}::TestTheFence",),
    ),
    Fault(
        "callbacks_overflow_in_silence",
        "rule 3: what callbacks send is too much for the queue, it is dropped, and no second round tells of it",
        (Change(_OUTBOX, "    Row(Fence.FIRING, FenceEvent.LOSS, Fence.LOST),\n", ""),),
        (f"{_TESTS}::TestTheFence", f"{_TESTS}::TestTheQueueIsBounded"),
    ),
    Fault(
        "table_kept_when_fired",
        "rule 2: the table of monitors is not taken, so that they fire again, and are never asked for again",
        (Change(_OUTBOX, "            self.monitors.pop(name, None)\n", ""),),
        (f"{_TESTS}::TestALoss",),
    ),
    Fault(
        "a_death_fires_twice",
        "a monitor that has fired for a death is still in the table, and fires again at the next loss",
        (Change(_OUTBOX, "Fire(tuple(self.monitors.pop(name)), reason)", "Fire(tuple(self.monitors[name]), reason)"),),
        (f"{_TESTS}::TestMonitors::test_a_death_fires_those_of_the_port_and_no_others",),
    ),
    Fault(
        "replaced_in_silence",
        "rule 4: the side that does not decide takes a new connection without firing for the old one",
        (
            Change(
                _FILE,
                'return self._replace(connection, "the other side chose another connection")',
                "return self._take_up(connection)",
            ),
        ),
        (f"{_TESTS}::TestOneConnectionReplacesAnother",),
    ),
    Fault(
        "others_stay_open",
        "rule 4: the side that does not decide leaves other connections open, whose `link` may be on its way",
        (_OTHERS_STAY_OPEN,),
        (f"{_TESTS}::TestTakingUpAConnection::test_the_other_side_closes_all_others_first",),
    ),
    Fault(
        "data_before_ok",
        "rule 4: the side that decides writes before the other one has said `ok`",
        _DATA_BEFORE_OK,
        (f"{_TESTS}::TestTakingUpAConnection",),
    ),
    Fault(
        "others_stay_open_and_data_before_ok",
        "rule 4: both: a later message overtakes an earlier one through another connection",
        (_OTHERS_STAY_OPEN, *_DATA_BEFORE_OK),
        (f"{_WORLDS}[the higher overflows]", _RULES),
    ),
    Fault(
        "stale_claim_believed",
        "rule 5: a peer that has lost an older connection is believed to have lost this one",
        (Change(_FILE, "if lost == current:", "if lost:"),),
        (f"{_TESTS}::TestOneConnectionReplacesAnother::test_a_stale_claim_is_not_believed",),
    ),
    Fault(
        "claim_not_made",
        "rule 5: a side that lost a connection does not say so, and the other holds on to the dead half",
        (Change(_FILE, "self.last_ended = self._current\n", "pass\n"),),
        (
            f"{_TESTS}::TestALoss",
            "tests/peers/test_network_connections.py::test_only_the_dialler_notices_the_loss",
        ),
    ),
    Fault(
        "incarnation_replaced_in_silence",
        "rule 2: another run of a node takes the place of the old one, whose monitors are forgotten",
        (
            Change(
                _FILE,
                'return self._end(self._current, "the peer does not answer,',
                'self.outbox.monitors = {}\n        return self._end(self._current, "the peer does not answer,',
            ),
        ),
        (f"{_TESTS}::TestAnotherIncarnation::test_it_takes_the_place_of_one_that_is_gone",),
    ),
    Fault(
        "incarnation_not_probed",
        "a second node under one ID evicts the first one while that is alive",
        (Change(_FILE, "return [Probe(self._current)]", "return self.probe_failed()"),),
        (f"{_TESTS}::TestAnotherIncarnation::test_it_is_refused_while_the_one_we_know_answers",),
    ),
    Fault(
        "watched_kept",
        "rule 2: the peer's monitors of ports here outlive the connection that they were asked for by",
        (Change(_FILE, "return [Unwatch(names)] if names else []", "return []"),),
        (f"{_TESTS}::TestALoss::test_the_peers_monitors_end_with_the_connection",),
    ),
    Fault(
        "no_queue_limit",
        "point 4: what is queued for a peer grows without a bound",
        (Change(_OUTBOX, "if self.queue.size > self.queue_limit:", "if False:"),),
        (f"{_TESTS}::TestTheQueueIsBounded::test_more_than_the_limit_is_a_loss",),
    ),
    Fault(
        "high_water_too_high",
        "point 4: the queue does not say that it holds too much until the next frame is closed",
        (Change(_QUEUE, "self._high_water + 1 - self.closed_size", "self._target"),),
        ("tests/protocol/association/test_queue.py::test_it_says_when_it_holds_more_than_its_high_water_mark",),
    ),
    Fault(
        "queue_silent_at_the_fence",
        "rule 3: what is sent between a loss and its report is kept, because the queue does not say that it is there",
        (Change(_OUTBOX, "self.queue.high_water = -1", "pass"),),
        (f"{_TESTS}::TestALoss::test_what_is_sent_before_the_report_is_dropped",),
    ),
    Fault(
        "overflow_in_silence",
        "point 4: a queue that is full is dropped, and nobody is told",
        (
            Change(
                _OUTBOX,
                "self.lose(transport_error("
                'self.peer_id, f"more than {self.queue_limit} bytes were queued for the peer"))\n'
                "            return True",
                "self.queue.drop()",
            ),
        ),
        (f"{_TESTS}::TestTheQueueIsBounded::test_more_than_the_limit_is_a_loss",),
    ),
    Fault(
        "end_is_no_loss",
        "rule 2: the end of a connection in use is taken for that of one after the last word",
        (
            Change(
                _FILE,
                "    Row(Stage.ASKED, StageEvent.ENDED, Stage.GONE),",
                "    Row(Stage.IN_USE, StageEvent.ENDED, Stage.GONE),\n"
                "    Row(Stage.ASKED, StageEvent.ENDED, Stage.GONE),",
            ),
        ),
        (f"{_TESTS}::TestALoss",),
    ),
    Fault(
        "choice_never_expires",
        "liveness: a chosen connection that is not answered is waited for for ever",
        (
            Change(
                _FILE, 'return self._end(connection, "the peer did not take up the connection in time")', "return []"
            ),
        ),
        (f"{_TESTS}::TestTakingUpAConnection::test_a_choice_that_is_not_answered_ends_and_nothing_is_lost",),
    ),
    Fault(
        "monitors_want_no_connection",
        "liveness: a monitor of a node that is never reached does not fire, if nothing is sent there",
        (Change(_FILE, "(self.outbox.queue.size > 0 or bool(self.outbox.monitors))", "self.outbox.queue.size > 0"),),
        (f"{_TESTS}::TestALoss", f"{_TESTS}::TestMonitors"),
    ),
    Fault(
        "demonitored_for_all",
        "a monitor that is cancelled takes the others of the same port with it",
        (
            Change(
                _OUTBOX,
                "del monitors[monitor]\n        if monitors:\n            return False\n",
                "del monitors[monitor]\n",
            ),
        ),
        (f"{_TESTS}::TestMonitors::test_the_first_of_a_port_asks_for_it_and_the_last_one_stops_it",),
    ),
    Fault(
        "peers_limit_ignored",
        "a message that the peer does not take is sent: it ends the connection, instead of raising at the call",
        (Change(_OUTBOX, "self.send_limit = min(terms.limit, self.message_limit)", "pass"),),
        (f"{_TESTS}::TestTheLimitOfThePeer::test_it_holds_as_soon_as_it_is_known",),
    ),
    Fault(
        "oversized_in_silence",
        "a queued message that the peer does not take is dropped, and its port is not told",
        (Change(_OUTBOX, "if not concerned:\n            return []", "if True:\n            return []"),),
        (f"{_TESTS}::TestTheLimitOfThePeer::test_what_was_queued_and_is_larger_is_lost_and_only_its_port_is_told",),
    ),
    Fault(
        "kept_behind_an_oversized_message",
        "point 2: what was queued behind a message that is too large arrives, though its port was not told yet",
        (Change(_QUEUE, "if name not in concerned:", "if True:"),),
        (
            "tests/protocol/association/test_queue.py::TestTheLimitOfThePeerIsSmaller::test_a_port_loses_what_was_too_large_and_all_behind_it",
        ),
    ),
    Fault(
        "requests_concern_nobody",
        "a request to spawn, kill or monitor that is too large is lost, and the port that it names is not told",
        (Change(_QUEUE, "if word in ABOUT_PORTS:", "if word in ():"),),
        (
            "tests/protocol/association/test_queue.py::TestTheLimitOfThePeerIsSmaller::test_the_port_that_a_request_is_about_is_concerned",
        ),
    ),
    Fault(
        "a_list_to_a_node_port_crashes",
        "what a program sends to a node port is looked up as if it were a word: a list or dict ends the node",
        (Change(_QUEUE, 'case ("", str(word), str(name), *_)', 'case ("", word, str(name), *_)'),),
        (f"{_SMALLER}::test_whatever_a_program_sends_to_a_node_port_is_sorted",),
    ),
    Fault(
        "flush_does_not_hear_of_losses",
        "flush returns as if what was dropped had been written",
        (Change(_QUEUE, "self.losses += 1\n        self._empty(MSGPACK)", "self._empty(MSGPACK)"),),
        ("tests/peers/test_network_messages.py::test_flush_raises_when_the_connection_is_lost",),
    ),
)
