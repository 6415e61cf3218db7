"""Faults in how connections are read, written, watched and closed."""

from __future__ import annotations

from .fault import Change, Fault

_PEER = "_node/peer.py"
_CONNECTION = "_node/connection.py"
_NETWORK = "_node/network.py"
_NODE_PORT = "_node/node_port.py"
_CONNECTIONS = "tests/test_network_connections.py"
_MESSAGES = "tests/test_network_messages.py"
_MONITORS = "tests/test_network_monitors.py"
_CLOSING = "tests/test_network_closing.py"
_FOUND = "tests/test_planted_found_peers.py"
_OWN = "tests/test_own_errors.py::test_an_error_at_any_line_of_the_heart_of_it"
_CRASH = "tests/test_crash_paths.py"
_ALSO_FOUND = "tests/test_planted_found_connections.py"

CONNECTIONS = (
    Fault(
        "fires_after",
        "rule 3: the fence is lifted, and the monitors fire when what else is due has been done",
        (
            Change(
                _PEER,
                'self._host.fire(cast("list[Monitor]", list(fire.monitors)), fire.reason)',
                "self._host.enqueue(Job(self._host.fire), (list(fire.monitors), fire.reason))",
            ),
            Change(_PEER, "from .monitor import", "from .keeper import Job\nfrom .monitor import"),
        ),
        (f"{_FOUND}::test_a_loss_is_reported_before_what_waits_is_handled",),
    ),
    Fault(
        "written_while_firing",
        "what one callback sends goes out before the other monitors have fired",
        (
            # Two guards, each enough by itself.
            Change(_PEER, "if self._host.firing or not self.association", "if not self.association"),
            Change(_PEER, "> self._inline_size and not self._host.firing:", "> self._inline_size:"),
        ),
        (f"{_MONITORS}::test_nothing_is_written_before_all_monitors_have_fired",),
    ),
    Fault(
        "monitored_too_late",
        "point 2: a monitor is asked for behind the message that it should cover",
        (
            Change(
                _PEER,
                "self._after(self.association.monitor, name, monitor)",
                "self._host.call_next(lambda: self._after(self.association.monitor, name, monitor))",
            ),
        ),
        (f"{_ALSO_FOUND}::test_a_monitor_is_asked_for_before_what_it_covers",),
    ),
    Fault(
        "error_ends_the_connection_alone",
        "an error out of the association ends the connection and no more: what it has taken out of the queue is lost in"
        " silence",
        (Change(_PEER, "        self._host.call_next(self._fire_loss)  # first", "        # first"),),
        (f"{_OWN}[the listener decides]",),
        hangs=True,
    ),
    Fault(
        "taken_monitors_forgotten",
        "monitors that were taken out of the table when an error came do not fire",
        (Change("_protocol/outbox.py", "self.unfired.update(self.monitors.get(name, {}))", "pass"),),
        ("tests/test_association.py::TestAnErrorOfThisSide::test_in_the_middle_of_adapting_the_queue",),
    ),
    Fault(
        "effects_left_behind",
        "an error in the middle of what is to be done leaves monitors that were to fire unfired",
        (Change(_PEER, "if isinstance(effect, effects.Fire):", "if False:"),),
        (f"{_CRASH}::test_a_death_is_told_though_an_error_comes_first",),
        hangs=True,
    ),
    Fault(
        "an_error_ends_the_node",
        "an error in the work for one connection ends the node",
        (Change("_node/own_errors.py", "            self.fail(error)\n            return None", "            raise"),),
        (f"{_CRASH}::test_an_error_of_a_service_ends_the_connection_and_nothing_else",),
    ),
    Fault(
        "errors_of_the_node_hidden",
        "an error in the node's own work is taken for one of the connection whose reader has come to it",
        (
            Change(
                "_node/dispatcher.py",
                "                self.crash(error)\n            return",
                "                pass\n            return",
            ),
        ),
        (f"{_CRASH}::test_an_error_in_work_of_the_node_is_not_taken_for_one_of_the_connection_that_comes_to_it",),
    ),
    Fault(
        "given_up_for_ever",
        "an error that comes again before the monitors could fire is met by another attempt, without end",
        (Change(_PEER, "            self._host.crash(error)\n            return\n", "            pass\n"),),
        (f"{_CRASH}::test_an_error_before_the_monitors_of_another_could_fire_ends_the_node",),
        hangs=True,
    ),
    Fault(
        "dispatched_behind_the_end",
        "what stands in a batch behind the message that has ended the connection is dispatched: it may begin a monitor"
        " that nothing ends",
        (Change("_node/dispatcher.py", "if ended:\n", "if False:\n"),),
        ("tests/test_hostile_peers.py::test_what_comes_behind_the_end_of_a_connection_in_one_batch",),
    ),
    Fault(
        "deaths_of_others_ports_believed",
        "a node says that a port of another node has died, and is believed",
        (
            Change(
                _NODE_PORT,
                "peer.act(peer.association.port_died, name, reason)",
                """for other in tuple(self.up_nodes.__self__.peers.values()):
                    other.act(other.association.port_died, name, reason)""",
            ),
        ),
        (f"{_FOUND}::test_a_death_is_believed_only_of_the_node_that_owns_the_port",),
    ),
    Fault(
        "probe_answered_by_another_node",
        "a sign of life of one node is taken for that of the one that is probed",
        (
            Change(
                _NODE_PORT,
                "peer.answered()",
                """for other in tuple(self.up_nodes.__self__.peers.values()):
                    other.answered()""",
            ),
        ),
        (f"{_FOUND}::test_a_probe_is_answered_by_nobody_else",),
    ),
    Fault(
        "probe_outlives_its_connection",
        "the silence of a connection that has ended is held against the one that has followed it",
        (
            Change("_node/probe.py", " and not self._connection.closed:", ":"),
            Change(_CONNECTION, "self.probe.cancel()\n            if self.peer", "if self.peer"),
        ),
        (f"{_FOUND}::test_a_probe_ends_with_its_connection",),
    ),
    Fault(
        "no_unwatching",
        "rule 2: the peer's monitors of ports here outlive the connection that they were asked for by",
        (
            Change(
                _PEER,
                "self.watchers.end_all()\n            case",
                "self.watchers._watchers.clear()\n            case",
            ),
        ),
        (f"{_ALSO_FOUND}::test_who_monitored_over_a_lost_connection_does_not_count",),
    ),
    Fault(
        "refused_monitor_not_told",
        "a monitor beyond the limit of the other node is never told that it is refused",
        (
            Change(
                "_node/watchers.py",
                'self._peer.send("", ("kil0", name, *too_many_monitors(self._limit)))',
                "pass",
            ),
        ),
        ("tests/test_limits_for_peers.py::test_a_node_may_monitor_so_many_ports_and_no_more",),
        hangs=True,
    ),
    Fault(
        "never_gives_up",
        "liveness: the monitors of a node that is never reached do not fire",
        (
            Change(
                _PEER,
                "elif self.association.wants_connection:\n            self._wait",
                "elif False:\n            self._wait",
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
        "flush_ignores_what_is_encrypted",
        "flush returns before all was handed to the operating system: what is encrypted is not looked at",
        (Change(_PEER, "if queue.written - unsent >= target:", "if queue.written >= target:"),),
        (f"{_ALSO_FOUND}::test_flush_waits_for_the_last_byte",),
    ),
    Fault(
        "flush_waits_for_a_part",
        "flush returns before the last message was handed to the operating system",
        (Change(_PEER, "if queue.written - unsent >= target:", "if queue.written - unsent >= target - 1:"),),
        (f"{_MESSAGES}::test_flush_waits_for_a_connection",),
    ),
    Fault(
        "no_heartbeat",
        "an idle connection is taken for a dead one",
        (Change(_CONNECTION, "if not self.sent and not self.said_all and (", "if False and ("),),
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
        (f"{_ALSO_FOUND}::test_silence_is_judged_when_the_reader_has_had_its_time",),
    ),
    Fault(
        "own_stall_not_noticed",
        "a process that was stopped takes its peer for dead: silence does not begin anew",
        (Change(_NETWORK, "connection.received_at = now\n", "pass\n"),),
        (
            f"{_CONNECTIONS}::test_a_process_that_was_stopped_does_not_mistake_its_peer_for_dead",
            "tests/test_silence.py::test_a_stall_of_our_own_is_not_the_peers_silence",
            "tests/test_silence.py::test_a_peer_that_had_nothing_to_say_while_this_process_stood_still_gets_its_time",
        ),
    ),
    Fault(
        "a_long_batch_is_silence",
        "a peer is taken for dead while what it has sent is still being dispatched",
        (
            Change(
                _CONNECTION,
                "so its silence says nothing.\n            self.received_at = trio.current_time()\n",
                "\n",
            ),
        ),
        (f"{_ALSO_FOUND}::test_a_batch_may_take_long_in_turns_that_are_short",),
    ),
    Fault(
        "no_half_close",
        "a node that closes resets the connection, which destroys what was already handed over",
        (Change(_CONNECTION, "self.pipe.send_eof()\n", 'self.close("this node is closing")\n'),),
        (f"{_ALSO_FOUND}::test_what_is_said_last_arrives_though_the_other_side_was_speaking",),
    ),
    Fault(
        "closes_without_flushing",
        "a node that closes does not write what is queued",
        (
            Change(
                _CONNECTION,
                '        self._note_end("this node is closing")\n        self._finishing = True\n',
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
                _CONNECTION,
                "            if self.closed:\n                # It has ended:",
                "            if False:\n                # It has ended:",
            ),
        ),
        (f"{_FOUND}::test_a_frame_behind_the_one_that_ended_its_connection",),
    ),
    Fault(
        "a_batch_goes_on_after_the_end",
        "the rest of a batch is dispatched though its connection has ended meanwhile",
        (
            Change(
                _CONNECTION,
                "await trio.lowlevel.checkpoint()\n            if self.closed:\n                return\n",
                "await trio.lowlevel.checkpoint()\n",
            ),
        ),
        (f"{_CONNECTIONS}::test_a_batch_is_not_dispatched_further_when_its_connection_ends",),
    ),
    Fault(
        "a_failed_write_stops_reading",
        "what has arrived before is lost when a write fails",
        (
            Change(
                _CONNECTION,
                "str(error))\n            self._send_failed = True",
                'str(error))\n            self.close("")',
            ),
        ),
        (f"{_ALSO_FOUND}::test_what_is_on_its_way_arrives_though_a_write_has_failed",),
    ),
    Fault(
        "bad_frame_ends_nothing",
        "what the peer does wrong is noted, and the connection is read on",
        (
            Change(
                "_node/reading.py",
                "        return len(data), len(data) == READ_SIZE, [] if ignored else session.receive(data)\n",
                """        try:
            return len(data), len(data) == READ_SIZE, [] if ignored else session.receive(data)
        except Exception:
            return len(data), True, []
""",
            ),
        ),
        ("tests/test_network_strangers.py::test_a_frame_that_does_not_decode_ends_the_connection",),
    ),
)
