"""Faults in what is sent later, in what is refused, and in what is said of messages that are lost."""

from __future__ import annotations

from .fault import Change, Fault

_LATER = "_services/later.py"
_TIMER = "_ports/timer.py"
_TIMERS = "tests/ports/test_timers.py"
_LOSSES = "_ports/losses.py"
_QUEUE = "_protocol/association/queue.py"
_HERE = "tests/ports/test_losses.py"
_BAD = "tests/ports/test_bad_messages.py"
_HANDLERS = "_ports/handlers.py"
_REFUSALS = "_peers/refusals.py"
_REFUSED = "tests/peers/test_refusals.py"
_LOST = "tests/peers/test_lost_messages.py"

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
    Fault(
        "told_before_the_monitors",
        "the program is told of a loss before the monitors have fired",
        (
            Change(
                _LOSSES,
                "        self._untold[key] = (messages + count, before + size)\n",
                "        self._untold[key] = (messages + count, before + size)\n        self._tell_some()\n",
            ),
        ),
        (f"{_LOST}::test_the_program_is_told_behind_the_monitors_and_may_send_then",),
    ),
    Fault(
        "a_listener_that_fails_goes_on",
        "a function that has failed is called again for the next loss",
        (Change(_LOSSES, "            listener.cancel()\n", ""),),
        (f"{_HERE}::test_an_exception_is_logged_and_ends_the_telling",),
    ),
    Fault(
        "certainly_lost_though_written",
        "messages that were being written are said to be certainly lost",
        (Change(_QUEUE, "certain = not self._is_begun", "certain = True"),),
        (f"{_LOST}::test_what_was_being_written_is_not_certainly_lost",),
    ),
    Fault(
        "in_hand_and_forgotten",
        "what is encrypted and perhaps written counts as not begun",
        (Change("_peers/writer.py", "association.outbox.queue.in_hand = True", "pass"),),
        (f"{_LOST}::test_what_was_being_written_is_not_certainly_lost",),
    ),
    Fault(
        "lost_in_a_backlog",
        "messages that waited for a busy handler are dropped without a word",
        (Change("_ports/lifecycle.py", "self.losses.note_dead(name, len(state.pending))", "pass"),),
        (f"{_HERE}::test_what_waits_for_a_busy_handler_is_told_and_what_is_in_a_mailbox_was_delivered",),
    ),
    Fault(
        "own_requests_are_losses",
        "the requests that a node makes for itself count among the messages of the program",
        (Change(_QUEUE, "            if not is_upkeep(message):\n", "            if True:\n"),),
        (f"{_LOST}::test_what_was_queued_for_a_node_that_never_came_is_told_by_its_ports",),
    ),
    Fault(
        "refuses_by_the_tag_only",
        "a message with the wrong number of elements reaches the handler of a port that refuses such",
        (Change(_HANDLERS, "if not least <= len(found[1]) <= most:", "if False:"),),
        (f"{_BAD}::test_bad_messages_are_refused_and_the_others_are_handled",),
    ),
    Fault(
        "refused_calls_were_perhaps_delivered",
        "a call that was refused is said to have been delivered, perhaps",
        (Change("_services/outgoing_calls.py", '"bad_message", text, maybe_delivered=False', '"bad_message", text'),),
        (f"{_BAD}::test_a_call_is_told_and_has_certainly_not_been_delivered",),
    ),
    Fault(
        "refusals_forget_their_sender",
        "the node is not told whose message was refused",
        (Change("_peers/connection.py", "self._running.source = peer.refusals", "pass"),),
        (f"{_REFUSED}::test_a_storm_is_not_answered_by_a_storm_and_an_older_node_by_nothing",),
    ),
    Fault(
        "refusals_to_older_nodes",
        "a node is told of refusals by a word that it has not said it understands",
        (Change(_REFUSALS, " and self._peer.understands(requests.REFUSED)", ""),),
        (f"{_REFUSED}::test_a_storm_is_not_answered_by_a_storm_and_an_older_node_by_nothing",),
    ),
    Fault(
        "a_storm_of_refusals",
        "refusals are told as fast as they come",
        (Change(_REFUSALS, "await trio.sleep(INTERVAL)", "await trio.lowlevel.checkpoint()"),),
        (f"{_REFUSED}::test_a_storm_is_not_answered_by_a_storm_and_an_older_node_by_nothing",),
    ),
    Fault(
        "refusals_of_another_connection",
        "refusals outlive the connection by which the messages came",
        (Change("_peers/peer.py", "        self.refusals.end_all()\n", ""),),
        (f"{_REFUSED}::test_refusals_end_with_the_connection_and_call_no_peer_back",),
    ),
)
