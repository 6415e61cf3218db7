"""Faults in calls: who may answer, what begins, what the caller is told."""

from __future__ import annotations

from .fault import Change, Fault

_CALLERS = "_peers/callers.py"
_CALLS = "_services/calls.py"
_OUTGOING = "_services/outgoing_calls.py"
_ARRIVED = "_ports/calls.py"
_WORDS = "tests/services/test_call_words.py"
_KNOWN = "tests/services/test_maybe_delivered.py"
_REPLYING = "tests/services/test_replying.py"
_TICKETS = "tests/protocol/test_tickets.py"

CALLS = (
    Fault(
        "anybody_answers",
        "any node that knows the ticket of a call may answer it",
        (Change(_CALLS, "isinstance(call, RemoteCall) and call.peer is peer", "isinstance(call, RemoteCall)"),),
        (f"{_WORDS}::test_only_the_node_that_was_called_may_answer",),
    ),
    Fault(
        "tickets_twice",
        "a second call with a ticket that is in flight takes the place of the first",
        (Change("_protocol/calls.py", "        if ticket in self._calls:\n            return TicketFate.TWICE\n", ""),),
        (f"{_TICKETS}::test_a_ticket_ends_once_and_there_are_never_more_than_the_limit",),
    ),
    Fault(
        "calls_without_limit",
        "one node may have any number of calls in flight",
        (Change("_protocol/calls.py", "if len(self._calls) >= self._limit:", "if False:"),),
        (f"{_WORDS}::test_too_many_calls_are_told_so_and_have_certainly_not_been_delivered",),
    ),
    Fault(
        "given_up_and_begun",
        "a call begins though nobody waits for it any more",
        (
            Change(
                _ARRIVED,
                "if self._wanted and (self.deadline == FOREVER or self.deadline > trio.current_time()):",
                "if True:",
            ),
        ),
        (f"{_REPLYING}::test_a_call_whose_caller_has_gone_does_not_begin",),
    ),
    Fault(
        "calls_outlive_their_connection",
        "the handler of a lost caller is not cancelled",
        (Change("_peers/peer.py", "                self.callers.end_all()\n            case", "            case"),),
        (f"{_REPLYING}::test_a_lost_caller_cancels_its_handlers",),
    ),
    Fault(
        "reply_overtakes",
        "a local reply overtakes the messages that the handler has sent before",
        (Change(_OUTGOING, "if queue.items:", "if False:"),),
        (f"{_REPLYING}::test_messages_before_the_reply_arrive_before_it",),
    ),
    Fault(
        "tracebacks_for_all",
        "the traceback of an exception travels though the node does not share its logs",
        (Change(_CALLERS, "_traceback_of(error) if self._tracebacks else", "_traceback_of(error) if True else"),),
        (f"{_REPLYING}::test_the_traceback_travels_only_where_logs_are_shared",),
    ),
    Fault(
        "no_falling_back",
        "a call that has waited for a connection is lost if the other node does not understand the word",
        (Change(_CALLS, "if call.peer is peer and not call.peer.understands(call.word):", "if False:"),),
        (f"{_WORDS}::test_a_call_that_waits_for_a_connection_takes_the_form_that_is_understood",),
        hangs=True,
    ),
    Fault(
        "all_lost_calls_were_perhaps_delivered",
        "a call that was never written is said to have been delivered, perhaps",
        (Change(_OUTGOING, "return self._number <= self.peer.outbox.begun", "return True"),),
        (f"{_KNOWN}::test_what_is_known_of_a_call_that_has_failed[was_not_written-there]",),
    ),
    Fault(
        "no_lost_call_was_delivered",
        "a call that was written before its connection was lost is said to be certainly undelivered",
        (Change("_protocol/association/outbox.py", "            self.begun = begun\n", ""),),
        (f"{_KNOWN}::test_what_is_known_of_a_call_that_has_failed[was_written_and_lost-there]",),
    ),
    Fault(
        "misfit_calls_wait_for_ever",
        "a call that the other node does not take is dropped, and nobody is told",
        (
            Change(
                "_protocol/association/queue.py",
                "                if ticket is not None:\n",
                "                if False:\n",
            ),
        ),
        (f"{_KNOWN}::test_what_is_known_of_a_call_that_has_failed[was_not_taken-there]",),
        hangs=True,
    ),
    Fault(
        "lost_calls_called_off",
        "a call that was lost with its connection is called off, and a connection is looked for to say so",
        (Change("_peers/peer.py", "if self.current is not None or self.queue.size:", "if True:"),),
        (f"{_WORDS}::test_calls_that_were_lost_are_not_called_off_by_the_next_connection",),
    ),
    Fault(
        "watchers_of_calls_kept",
        "what hears of the death of a port for calls of a peer is kept when the last of them has ended",
        (Change(_CALLERS, "            if not calls:\n", "            if False:\n"),),
        (f"{_WORDS}::test_calls_in_flight_of_one_node_are_bounded_by_work_and_not_by_waiting",),
    ),
    Fault(
        "too_many_in_one_call_off",
        "all calls that end in a pass are called off by one message, however large",
        (Change("_peers/peer.py", "_TICKETS = 500", "_TICKETS = 5_000_000"),),
        (f"{_WORDS}::test_all_calls_that_end_in_one_pass_are_called_off_together",),
    ),
    Fault(
        "unwatched_calls",
        "the death of a port is not told to who waits there for the answer to a call",
        (Change(_CALLERS, "            if self._calls.find(ticket) is call:\n", "            if False:\n"),),
        (f"{_WORDS}::test_what_waits_in_a_busy_port_when_it_dies_was_not_begun",),
    ),
    Fault(
        "the_dead_answer",
        "the value that the handler of a dead port returns is the reply",
        (Change(_ARRIVED, "        if not port.alive:\n", "        if False:\n"),),
        (f"{_REPLYING}::test_the_answer_of_a_port_that_has_died_is_dropped_and_the_caller_is_told",),
    ),
    Fault(
        "errors_of_any_kind",
        "interrupts and cancellations may be named among the errors that are for the caller",
        (Change("_ports/port.py", "issubclass(one, Exception) for one in errors", "True for one in errors"),),
        (f"{_REPLYING}::test_arguments_of_on",),
    ),
    Fault(
        "interrupts_are_answers",
        "an interrupt of an async handler goes to the caller as an error",
        (
            Change(
                _ARRIVED,
                "        except self._errors as error:\n            failure = error\n",
                "        except (*self._errors, KeyboardInterrupt) as error:\n            failure = error\n",
            ),
        ),
        (f"{_REPLYING}::test_an_interrupt_is_no_error_for_the_caller",),
    ),
    Fault(
        "reasons_are_believed",
        "a call whose port dies of a reason that says there is no such port is said to be certainly undelivered",
        (
            Change(
                _CALLERS,
                "        begun = call.was_begun\n",
                '        begun = call.was_begun and reason[:1] != ("no_such_port",)\n',
            ),
        ),
        (f"{_KNOWN}::test_what_is_known_of_a_call_that_has_failed[died_with_a_reason_that_lies-there]",),
    ),
)
