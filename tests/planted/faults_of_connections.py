"""Faults in how connections are read, written, watched and closed."""

from __future__ import annotations

from .fault import Change, Fault

_PEER = "_peers/peer.py"
_CONNECTION = "_peers/connection.py"
_NETWORK = "_peers/network.py"
_READER = "_peers/reader.py"
_WRITER = "_peers/writer.py"
_NODE_PORT = "_peers/node_port.py"
_ADMISSION = "_transport/admission.py"
_ADMISSION_TESTS = "tests/transport/test_admission.py"
_LET_IN = "tests/peers/test_strangers_let_in.py"
_ERRANDS = "_peers/errands.py"
_FOR_OTHERS = "tests/peers/test_work_for_others.py"
_CONNECTIONS = "tests/peers/test_network_connections.py"
_MESSAGES = "tests/peers/test_network_messages.py"
_MONITORS = "tests/peers/test_network_monitors.py"
_OBSERVED = f"{_MONITORS}::test_observers_hear_of_a_loss_between_its_last_monitor_and_the_next_connection"
_CLOSING = "tests/peers/test_network_closing.py"
_GONE = "tests/services/test_gone_nodes.py"
_OWN_ERRORS = "tests/peers/test_own_errors.py"
_OWN = f"{_OWN_ERRORS}::test_an_error_at_any_line_of_the_heart_of_it"
_SILENCE = "tests/peers/test_silence.py"

_LATER = "_services/later.py"
_ASSEMBLY = "_node/assembly.py"
_PROMISED = "tests/node/test_promise_words.py::test_what_was_taken_for_later_and_cannot_travel_any_more_is_a_loss"

CONNECTIONS = (
    Fault(
        "taken for later and lost",
        "what `send_after` has taken, and what cannot travel when its time has come, is only logged",
        (Change(_LATER, '_lose(runtime, port, error, f"a message', 'log.error(f"a message'),),
        (_PROMISED,),
    ),
    Fault(
        "a notice that is lost",
        "the message of a monitor, which cannot travel when the monitor fires, is only logged",
        (
            Change(
                _LATER,
                '_lose(runtime, port, error, f"{port}',
                'log.error(f"{port}',
            ),
        ),
        (_PROMISED,),
    ),
    Fault(
        "fires_after",
        "rule 3: the fence is lifted, and the monitors fire when what else is due has been done",
        (
            Change(
                _PEER,
                'self._dispatcher.lifecycle.fire(cast("list[Monitor]", list(fire.monitors)), fire.reason)',
                "fire_all = self._dispatcher.lifecycle.fire\n"
                "        self._dispatcher.queue.enqueue(Job(fire_all), (list(fire.monitors), fire.reason))",
            ),
            Change(_PEER, "from .._ports.monitor", "from .._ports.run_queue import Job\nfrom .._ports.monitor"),
        ),
        (f"{_MONITORS}::test_a_loss_is_reported_before_what_waits_is_handled",),
    ),
    Fault(
        "written_while_firing",
        "what one callback sends goes out before the other monitors have fired",
        (
            # Two guards, each enough by itself.
            Change(_WRITER, "or self._deaths.firing or not association", "or not association"),
            Change(_PEER, "> self._inline_size and not self._dispatcher.lifecycle.firing:", "> self._inline_size:"),
        ),
        (f"{_MONITORS}::test_nothing_is_written_before_all_monitors_have_fired",),
    ),
    Fault(
        "observers_hear_first",
        "the monitors of a loss wait until membership and database have done what they do about it",
        (
            Change(
                _PEER,
                '        log.info("%s is down: %s", self.id, why, extra=extra)\n',
                '        log.info("%s is down: %s", self.id, why, extra=extra)\n        self._tell_down()\n',
            ),
        ),
        (_OBSERVED,),
    ),
    Fault(
        "observers_hear_too_late",
        "membership and database hear of the next connection before they hear that the one before has ended",
        (
            Change(
                _PEER,
                "        self._tell_down()\n        decided = self.association.fired()\n        self._failing = False\n"
                "        self.execute(decided)\n",
                "        decided = self.association.fired()\n        self._failing = False\n"
                "        self.execute(decided)\n        self._tell_down()\n",
            ),
        ),
        (_OBSERVED,),
    ),
    Fault(
        "told_without_a_connection",
        "what the database has to say to a node that is not connected waits for the next connection",
        (Change("_services/database.py", "        if peer.is_up():\n", "        if peer is not None:\n"),),
        (f"{_MONITORS}::test_what_a_callback_of_a_loss_sets_in_the_database",),
    ),
    Fault(
        "monitored_too_late",
        "point 2: a monitor is asked for behind the message that it should cover",
        (
            Change(
                _PEER,
                "self._after(self.outbox.monitor, name, monitor)",
                "self._dispatcher.queue.call_next(lambda: self._after(self.outbox.monitor, name, monitor))",
            ),
        ),
        (f"{_MONITORS}::test_a_monitor_is_asked_for_before_what_it_covers",),
    ),
    Fault(
        "error_ends_the_connection_alone",
        "an error out of the association ends the connection and no more: what it has taken out of the queue is lost in"
        " silence",
        (Change(_PEER, "        self._dispatcher.queue.call_next(self._fire_loss)  # first", "        # first"),),
        (f"{_OWN}[the listener decides]",),
        hangs=True,
    ),
    Fault(
        "taken_monitors_forgotten",
        "monitors that were taken out of the table when an error came do not fire",
        (Change("_protocol/association/outbox.py", "self.unfired.update(self.monitors.get(name, {}))", "pass"),),
        (
            "tests/protocol/association/test_association.py::TestAnErrorOfThisSide::test_in_the_middle_of_adapting_the_queue",
        ),
    ),
    Fault(
        "effects_left_behind",
        "an error in the middle of what is to be done leaves monitors that were to fire unfired",
        (Change(_PEER, "if isinstance(effect, effects.Fire):", "if False:"),),
        (f"{_OWN_ERRORS}::test_a_death_is_told_though_an_error_comes_first",),
        hangs=True,
    ),
    Fault(
        "refused_past_the_table",
        "a connection leaves its peer's table before it is refused, and goes on when an error comes in between",
        (
            Change(
                _PEER,
                "self.connections[connection].finish(why)\n                self.connections.pop(connection, None)",
                "self.connections.pop(connection).finish(why)",
            ),
        ),
        (f"{_OWN_ERRORS}::test_an_error_in_ending_a_connection_leaves_it_to_nobody[refused]",),
    ),
    Fault(
        "closed_past_the_table",
        "a connection leaves its peer's table before it is closed, and goes on when an error comes in between",
        (Change(_PEER, "= self.connections.get(connection)", "= self.connections.pop(connection, None)"),),
        (f"{_OWN_ERRORS}::test_an_error_in_ending_a_connection_leaves_it_to_nobody[closed]",),
    ),
    Fault(
        "an_error_ends_the_node",
        "an error in the work for one connection ends the node",
        (Change("_peers/own_errors.py", "            self.fail(error)\n            return None", "            raise"),),
        (f"{_OWN_ERRORS}::test_an_error_at_any_line_of_the_heart_of_it",),
    ),
    Fault(
        "accepting_ends_the_node",
        "a connection that comes in the pass in which a node closes makes the node fail",
        (
            Change(
                "_peers/network.py",
                "                if self._accepting.cancel_called:\n                    return\n",
                "",
            ),
        ),
        (
            (
                "tests/peers/test_network_closing.py::"
                "test_a_connection_that_comes_in_the_pass_in_which_the_node_closes_ends_nothing"
            ),
        ),
    ),
    Fault(
        "an_error_in_a_request_ends_the_node",
        "an error in the work for a request of another node ends this node",
        (
            Change(
                "_peers/connection.py",
                "self._running)\n        except RemoteProtocolError:\n            raise\n"
                "        except Exception as error:  # noqa: BLE001 - whatever it is\n            self.fail(error)",
                "self._running)\n        except RemoteProtocolError:\n            raise",
            ),
        ),
        (f"{_OWN_ERRORS}::test_an_error_of_a_service_ends_the_connection_and_nothing_else",),
    ),
    Fault(
        "errors_of_the_node_hidden",
        "an error in the node's own work is taken for one of the connection whose reader has come to it",
        (
            Change(
                "_ports/dispatcher.py",
                "                self.lifecycle.crash(error)\n            return",
                "                pass\n            return",
            ),
        ),
        (f"{_OWN_ERRORS}::test_an_error_in_work_of_the_node_is_not_taken_for_one_of_the_connection_that_comes_to_it",),
    ),
    Fault(
        "given_up_for_ever",
        "an error that comes again before the monitors could fire is met by another attempt, without end",
        (Change(_PEER, "self._dispatcher.lifecycle.crash(error)\n            return\n", "pass\n"),),
        (f"{_OWN_ERRORS}::test_an_error_before_the_monitors_of_another_could_fire_ends_the_node",),
        hangs=True,
    ),
    Fault(
        "dispatched_behind_the_end",
        "what stands in a batch behind the message that has ended the connection is dispatched: it may begin a monitor"
        " that nothing ends",
        (Change("_ports/dispatcher.py", "if ended:\n", "if False:\n"),),
        (f"{_CONNECTIONS}::test_what_comes_behind_the_end_of_a_connection_in_one_batch",),
    ),
    Fault(
        "dials_on_while_closing",
        "a search makes new connections while the node closes, and closing waits for each handshake",
        (
            Change(
                _NETWORK,
                "if self._outreach.cancel_called:\n            # Nobody",
                "if not address:\n            # Nobody",
            ),
        ),
        (f"{_CLOSING}::test_searches_hold_closing_up_only_so_long",),
    ),
    Fault(
        "accepts_when_stopped",
        "a connection that comes as the node is stopped is never closed: no task runs it",
        (
            Change(
                _NETWORK,
                "if self._outreach.cancel_called:\n            # The node",
                "if not self.settings.networked:\n            # The node",
            ),
        ),
        (f"{_CLOSING}::test_a_connection_that_comes_as_the_block_is_interrupted_is_closed",),
    ),
    Fault(
        "timeless_records",
        "the time of another node's log record is taken as it is, though it is none, and handlers fail",
        (Change("_services/logs.py", "if 0 <= created < LAST_TIME:", "if LAST_TIME:"),),
        ("tests/services/test_collected_logs.py::test_a_record_whose_time_is_none_gets_that_of_its_arrival",),
    ),
    Fault(
        "routes_to_the_forgotten",
        "what is kept of a node is forgotten, and messages still go to that",
        (Change(_ASSEMBLY, "[runtime.routes.clear]", "[]"),),
        (f"{_GONE}::test_a_node_that_comes_back_after_it_was_forgotten_is_called",),
    ),
    Fault(
        "deaths_of_others_ports_believed",
        "a node says that a port of another node has died, and is believed",
        (
            Change(
                _NODE_PORT,
                "peer.act(peer.association.outbox.port_died, name, reason)",
                """for other in tuple(self._up_nodes.__self__.peers.values()):
                    other.act(other.association.outbox.port_died, name, reason)""",
            ),
        ),
        (f"{_MONITORS}::test_a_death_is_believed_only_of_the_node_that_owns_the_port",),
    ),
    Fault(
        "probe_answered_by_another_node",
        "a sign of life of one node is taken for that of the one that is probed",
        (
            Change(
                _NODE_PORT,
                "peer.answered()",
                """for other in tuple(self._up_nodes.__self__.peers.values()):
                    other.answered()""",
            ),
        ),
        (f"{_CONNECTIONS}::test_a_probe_is_answered_by_nobody_else",),
    ),
    Fault(
        "probe_outlives_its_connection",
        "the silence of a connection that has ended is held against the one that has followed it",
        (Change(_PEER, "self._probe.cancel()\n        self.refusals", "self.refusals"),),
        (f"{_CONNECTIONS}::test_a_probe_ends_with_its_connection",),
    ),
    Fault(
        "no_unwatching",
        "rule 2: the peer's monitors of ports here outlive the connection that they were asked for by",
        (
            Change(
                _PEER,
                "self.watchers.end_all()\n                self.callers.end_all()\n            case",
                "self.watchers._watchers.clear()\n            case",
            ),
        ),
        (f"{_MONITORS}::test_who_monitored_over_a_lost_connection_does_not_count",),
    ),
    Fault(
        "refused_monitor_not_told",
        "a monitor beyond the limit of the other node is never told that it is refused",
        (
            Change(
                "_peers/watchers.py",
                'self._peer.send("", died(name, too_many_monitors(self._limit)))',
                "pass",
            ),
        ),
        ("tests/peers/test_limits_for_peers.py::test_a_node_may_monitor_so_many_ports_and_no_more",),
        hangs=True,
    ),
    Fault(
        "never_gives_up",
        "liveness: the monitors of a node that is never reached do not fire",
        (
            Change(
                _PEER,
                "elif self.association.wants_connection:\n                self._wait",
                "elif False:\n                self._wait",
            ),
        ),
        (f"{_MONITORS}::test_no_connection_in_time_fires_monitors",),
        hangs=True,
    ),
    Fault(
        "loss_not_logged",
        "point 4: a loss that no monitor covers is not in the log",
        (Change(_PEER, "if loss.messages:", "if False:"),),
        (f"{_MESSAGES}::test_an_overflow_drops_the_connection_and_fires_monitors_later", _MESSAGES),
    ),
    Fault(
        "much_is_taken_for_little",
        "a queue that is over its limit when its first message comes is not looked at",
        (Change("_protocol/association/queue.py", "self.is_much = end >= self._mark", "self.is_much = False"),),
        (
            "tests/protocol/association/test_queue.py::test_the_first_message_since_one_asked_for_it_is_told_of",
            f"{_MESSAGES}::test_an_overflow_drops_the_connection_and_fires_monitors_later",
        ),
    ),
    Fault(
        "told_of_the_first_message_only",
        "what is sent after the queue was written for the first time waits in it until something else is to be written",
        (Change(_PEER, "            self.queue.tell_next()\n            if self.c", "            if self.c"),),
        (f"{_MESSAGES}::test_who_receives_a_port_can_answer", _MESSAGES),
        hangs=True,
    ),
    Fault(
        "told_of_the_first_message_never",
        "the queue forgets, when something of it is written, that the next message is to be told of",
        (
            Change(
                "_protocol/association/queue.py",
                "self._mark = 0 if self._awaited else min(",
                "self._mark = min(",
            ),
        ),
        (
            "tests/protocol/association/test_queue.py::test_the_first_message_since_one_asked_for_it_is_told_of",
            _MESSAGES,
        ),
        hangs=True,
    ),
    Fault(
        "flush_ignores_what_is_encrypted",
        "flush returns before all was handed to the operating system: what is encrypted is not looked at",
        (Change(_WRITER, "self._in_session = len(chunk)\n", "association.outbox.queue.advance(len(chunk))\n"),),
        (f"{_MESSAGES}::test_flush_waits_for_the_last_byte",),
    ),
    Fault(
        "flush_waits_for_a_part",
        "flush returns before the last message was handed to the operating system",
        (Change(_PEER, "if queue.written >= target:", "if queue.written >= target - 1:"),),
        (f"{_MESSAGES}::test_flush_waits_for_a_connection",),
    ),
    Fault(
        "no_heartbeat",
        "an idle connection is taken for a dead one",
        (Change(_CONNECTION, "if not writer.wrote and not writer.said_all and (", "if False and ("),),
        (f"{_CONNECTIONS}::test_an_idle_connection_stays_up",),
    ),
    Fault(
        "silence_never_judged",
        "liveness: a peer that says nothing any more is never given up",
        (Change(_CONNECTION, "if silence >= limit and self.suspect:", "if False:"),),
        (f"{_CONNECTIONS}::test_a_silent_peer_is_noticed_within_three_heartbeats",),
        hangs=True,
    ),
    Fault(
        "silence_judged_before_a_read",
        "a peer is taken for dead though what it has sent has only not been read yet",
        (Change(_CONNECTION, "if silence >= limit and self.suspect:", "if silence >= limit:"),),
        (f"{_SILENCE}::test_silence_is_judged_when_the_reader_has_had_its_time",),
    ),
    Fault(
        "own_stall_not_noticed",
        "a process that was stopped takes its peer for dead: silence does not begin anew",
        (Change(_NETWORK, "connection.reader.received_at = now\n", "pass\n"),),
        (
            f"{_CONNECTIONS}::test_a_process_that_was_stopped_does_not_mistake_its_peer_for_dead",
            f"{_SILENCE}::test_a_stall_of_our_own_is_not_the_peers_silence",
            f"{_SILENCE}::test_a_peer_that_had_nothing_to_say_while_this_process_stood_still_gets_its_time",
        ),
    ),
    Fault(
        "a_long_batch_is_silence",
        "a peer is taken for dead while what it has sent is still being dispatched",
        (
            Change(
                _READER,
                "so its silence says nothing.\n                self.received_at = trio.current_time()\n",
                "\n",
            ),
        ),
        (f"{_SILENCE}::test_a_batch_may_take_long_in_turns_that_are_short",),
    ),
    Fault(
        "no_half_close",
        "a node that closes resets the connection, which destroys what was already handed over",
        (Change(_WRITER, "pipe.send_eof()\n", "pipe.close()\n"),),
        (f"{_CLOSING}::test_what_is_said_last_arrives_though_the_other_side_was_speaking",),
    ),
    Fault(
        "closes_without_flushing",
        "a node that closes does not write what is queued",
        (
            Change(
                _CONNECTION,
                '        self._note_end("this node is closing", CLOSING)\n        self.writer.finish()\n',
                '        self.close("this node is closing")\n',
            ),
        ),
        (f"{_CLOSING}::test_what_was_queued_arrives_before_the_end",),
        hangs=True,
    ),
    Fault(
        "events_after_the_end",
        "what is left of a connection that has ended is dispatched, behind what has come another way",
        (
            Change(
                _READER,
                "if self._ended:\n                        # What",
                "if False:\n                        # What",
            ),
            # Three guards, each enough by itself.
            Change(_READER, "if self._ended:\n                    break", "if False:\n                    break"),
            Change("_ports/dispatcher.py", "if ended:\n", "if False:\n"),
        ),
        (f"{_CONNECTIONS}::test_a_frame_behind_the_one_that_ended_its_connection",),
    ),
    Fault(
        "a_batch_goes_on_after_the_end",
        "the rest of a batch is dispatched though its connection has ended meanwhile",
        (
            Change(
                _READER,
                "await trio.lowlevel.checkpoint()\n                if ended:\n                    return\n",
                "await trio.lowlevel.checkpoint()\n",
            ),
            # Two guards, each enough by itself.
            Change("_ports/dispatcher.py", "if ended:\n", "if False:\n"),
        ),
        (f"{_CONNECTIONS}::test_a_batch_is_not_dispatched_further_when_its_connection_ends",),
    ),
    Fault(
        "a_failed_write_stops_reading",
        "what has arrived before is lost when a write fails",
        (
            Change(
                _WRITER,
                "self._ended(error.strerror or str(error))",
                'self._failed("")',
            ),
        ),
        (f"{_CONNECTIONS}::test_what_is_on_its_way_arrives_though_a_write_has_failed",),
    ),
    Fault(
        "nothing_kept_for_friends",
        "a flood from other addresses takes the slots of those from which nodes have come before",
        (Change(_ADMISSION, "return not source or source in self._trusted", "return not source"),),
        (_ADMISSION_TESTS, f"{_LET_IN}::test_a_newcomer_from_a_known_address_is_let_in_at_once_under_a_flood"),
    ),
    Fault(
        "friends_never_noted",
        "it is not remembered from where nodes have authenticated",
        (Change(_NETWORK, "self._strangers.authenticated(connection)", "self._strangers.leave(connection)"),),
        (f"{_LET_IN}::test_a_newcomer_from_a_known_address_is_let_in_at_once_under_a_flood",),
    ),
    Fault(
        "a_crowd_is_no_crowd",
        "handshakes are begun with half of a flood, and friends wait behind it",
        (Change(_ADMISSION, "most = CROWD_REFUSED if crowd else MOST_REFUSED", "most = MOST_REFUSED"),),
        (f"{_ADMISSION_TESTS}::test_in_a_crowd_more_are_refused_but_nobody_from_a_known_source",),
    ),
    Fault(
        "nobody_is_in_a_crowd",
        "of those that wait behind one another no more are refused than of those that come alone",
        (Change(_NETWORK, "crowd=number >= CROWD", "crowd=False"),),
        (f"{_LET_IN}::test_of_more_than_eight_that_wait_behind_one_another_more_are_refused",),
    ),
    Fault(
        "largest_network_stays",
        "of strangers the oldest leaves, and a flood from one network takes the slots of all",
        (Change(_ADMISSION, "return first[max(shares, key=shares.__getitem__)]", "return next(iter(self._unknown))"),),
        (_ADMISSION_TESTS,),
    ),
    Fault(
        "no_time_for_who_greets",
        "whoever goes on with its handshake has to leave before those that say nothing",
        (Change(_ADMISSION, "for strangers in (self._known, self._unknown):", "for strangers in ({}, {}):"),),
        (_ADMISSION_TESTS,),
    ),
    Fault(
        "original_each_time",
        "a node of AnyEvent::MP that dials is a line in the log every few seconds",
        (Change(_NETWORK, "connection.fault and connection.session.handshake.meets_original", "False"),),
        (f"{_LET_IN}::test_a_node_of_the_original_is_named_once_for_each_source",),
    ),
    Fault(
        "itself_each_time",
        "strangers can have the log say without end that they are this node itself",
        (Change(_NETWORK, "if self._limited_log.allows(trio.current_time()):", "if True:"),),
        (f"{_LET_IN}::test_what_strangers_say_of_themselves_cannot_fill_the_log_at_any_level",),
    ),
    Fault(
        "upkeep_is_a_loss",
        "a node that closes warns of messages that it has only said for itself",
        (Change("_protocol/association/queue.py", "and not self._is_upkeep():", "and True:"),),
        ("tests/protocol/association/test_queue.py::test_what_the_nodes_say_for_themselves_is_no_loss",),
    ),
    Fault(
        "a_loss_is_upkeep",
        "point 4: a loss is not logged, because something of what the nodes say for themselves was lost with it",
        (Change("_protocol/association/queue.py", "return all(is_upkeep(message)", "return any(is_upkeep(message)"),),
        ("tests/protocol/association/test_queue.py::test_what_the_nodes_say_for_themselves_is_no_loss",),
    ),
    Fault(
        "searches_without_end",
        "a member has as many nodes searched for at once as it likes",
        (Change(_ERRANDS, "if len(self._searches) >= SEARCHES:", "if False:"),),
        (f"{_FOR_OTHERS}::test_a_member_can_have_few_nodes_searched_for",),
    ),
    Fault(
        "own_searches_counted",
        "what this node's own program searches for is counted with what others have it search for",
        (
            Change(
                _ERRANDS,
                "if peer is None or not peer.association.wants_connection:",
                "if peer is None:",
            ),
        ),
        (f"{_FOR_OTHERS}::test_a_member_can_have_few_nodes_searched_for",),
    ),
    Fault(
        "tied_to_anybody",
        "a member has a port monitored on a third node, to which a connection is made for that",
        (Change(_NODE_PORT, "linked_to and node_of(linked_to) != peer.id", "False"),),
        (f"{_FOR_OTHERS}::test_a_spawn_that_is_to_be_tied_to_a_port_of_a_third_node_is_refused",),
    ),
    Fault(
        "speaks_through_others",
        "an answer goes to a node port, and is a request of this node there, in the words of who has asked",
        (Change(_NODE_PORT, "if not name and node_id != peer.id else", "if False else"),),
        (f"{_FOR_OTHERS}::test_a_member_cannot_speak_through_another_node",),
    ),
    Fault(
        "answers_without_end",
        "answers that nobody reads fill the queue, and what this node's own program has sent is lost with them",
        (Change(_ERRANDS, "or waiting.size > self._most_bytes:", ":"),),
        (f"{_FOR_OTHERS}::test_answers_that_nobody_reads_cost_the_own_program_nothing",),
    ),
    Fault(
        "answers_never_forgotten",
        "answers that were written count as if they still waited",
        (Change(_ERRANDS, "        waiting.forget(queue.written)\n", ""),),
        (f"{_FOR_OTHERS}::test_there_is_room_for_answers_again_when_some_were_written",),
        hangs=True,
    ),
    Fault(
        "complains_each_time",
        "whatever a member says that makes no sense is a line in the log, each time",
        (Change(_ERRANDS, "if now - at < AGAIN or not self._bucket.allows(now):", "if False:"),),
        (f"{_FOR_OTHERS}::test_what_makes_no_sense_is_logged_once_for_each_node",),
    ),
    Fault(
        "a_line_for_each_name",
        "who holds the secret fills the log under one node ID after the other",
        (Change(_ERRANDS, "if now - at < AGAIN or not self._bucket.allows(now):", "if now - at < AGAIN:"),),
        (f"{_FOR_OTHERS}::test_many_nodes_that_say_nonsense_cannot_fill_the_log",),
    ),
    Fault(
        "refused_records_fill_the_log",
        "each record of the database that is refused is a line in the log, though its owner may be invented",
        (
            Change(
                "_services/database.py",
                'self._runtime.errands.complain(from_id, "refused", log, "%s: this node refuses %s", from_id, why)',
                'log.warning("%s: this node refuses %s", from_id, why)',
            ),
        ),
        (f"{_FOR_OTHERS}::test_records_that_are_refused_are_said_once_for_each_node_and_counted",),
    ),
    Fault(
        "unused_records_fill_the_log",
        "who logs at INFO gets a line for each change of the database that nobody can use",
        (
            Change(
                "_services/database.py",
                'complain(from_id, "not used", log, "%s: this node ignores %s", from_id, why, level=logging.INFO)',
                'log.info("%s: this node ignores %s", from_id, why)',
            ),
        ),
        (f"{_FOR_OTHERS}::test_what_is_not_used_is_said_once_for_each_node_too",),
    ),
    Fault(
        "a_line_for_each_node_to_dial",
        "a member has a line logged for each node that it invents, and asks to have dialled",
        (Change("_services/search.py", 'errands.complain("", "dial"', 'errands.complain(node_id, "dial"'),),
        ("tests/services/test_network_membership.py::test_floods_of_requests_to_dial",),
    ),
    Fault(
        "forwards_to_its_own_node_port",
        "what is to be passed on to the node port of who is asked is served as if its own program had said it",
        (
            Change(
                _NODE_PORT,
                "        target = self._dispatcher.ports.get(name)\n",
                "        if not name:\n            self.serve_local(message)\n"
                "        target = self._dispatcher.ports.get(name)\n",
            ),
        ),
        ("tests/node/test_security_words.py::test_no_word_is_served_as_one_of_the_node_that_was_asked",),
    ),
    Fault(
        "spawn_imports",
        "who spawns has any module of this machine imported, and so run",
        (
            Change(
                "_services/spawning.py",
                'if remote and module_name != "__main__" and module_name not in self._runtime.settings.spawn_modules:',
                "if False:",
            ),
            Change(
                "_services/spawning.py",
                "module = sys.modules.get(module_name)",
                "module = importlib.import_module(module_name)",
            ),
        ),
        ("tests/node/test_security_words.py::test_who_spawns_has_nothing_imported",),
    ),
    Fault(
        "streams_dialled_all_at_once",
        "a member has a connection made for each of its streams, all at the same time",
        (Change("_streams/service.py", "await self._dials.acquire()", "self._dials.release()"),),
        (f"{_FOR_OTHERS}::test_streams_that_others_cannot_dial_wait_for_each_other",),
    ),
    Fault(
        "loggers_for_ever",
        "each name of a logger that another node says is kept for the life of the process",
        (Change("_services/logs.py", "logger = logging.Logger(name)", "logger = logging.getLogger(name)"),),
        (f"{_FOR_OTHERS}::test_names_of_loggers_that_others_say_are_not_kept",),
    ),
    Fault(
        "bad_frame_ends_nothing",
        "what the peer does wrong is noted, and the connection is read on",
        (
            Change(
                _READER,
                "                return len(data), len(data) == READ_SIZE, incoming.receive(data)\n",
                """                try:
                    return len(data), len(data) == READ_SIZE, incoming.receive(data)
                except Exception:
                    return len(data), True, []
""",
            ),
        ),
        ("tests/peers/test_network_strangers.py::test_a_frame_that_does_not_decode_ends_the_connection",),
    ),
)
