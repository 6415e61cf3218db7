"""Faults in what a node counts, in what its log records say to programs, and in who watches it."""

from __future__ import annotations

from .fault import Change, Fault

_STATISTICS = "tests/services/test_statistics.py"
_PORTS = "tests/ports/test_port_statistics.py"
_INSTRUMENTS = "tests/ports/test_instruments.py"
_TRACE = "tests/node/test_trace.py"
_LEVELS = "tests/profiles/test_log_levels.py"
_FIELDS = "tests/peers/test_log_fields.py"
_DISPATCHER = "_ports/dispatcher.py"
_LIFECYCLE = "_ports/lifecycle.py"

STATISTICS = (
    Fault(
        "jobs_count_as_messages",
        "kills and firings are counted as messages of this node",
        (Change(_DISPATCHER, "            self.jobs += 1\n", ""),),
        (f"{_STATISTICS}::TestLocal::test_counts_messages_that_ports_were_handed_and_no_jobs",),
    ),
    Fault(
        "strides_count_as_full",
        "a stride of a pass counts as many messages as it could have had",
        (Change(_DISPATCHER, "taken += count", "taken += step"),),
        (f"{_STATISTICS}::TestLocal::test_counts_messages_that_ports_were_handed_and_no_jobs",),
    ),
    Fault(
        "dropped_messages_count_as_sent",
        "messages that were dropped are counted as handed to the operating system",
        (Change("_protocol/association/queue.py", "        self.discarded += self._closed + self._count\n", ""),),
        (f"{_STATISTICS}::TestPeers::test_counts_what_a_loss_has_dropped",),
    ),
    Fault(
        "misfits_count_as_sent",
        "messages that are too large for a peer are counted as handed to the operating system",
        (Change("_protocol/association/queue.py", "            self.discarded += dropped\n", ""),),
        (f"{_STATISTICS}::TestPeers::test_counts_messages_that_turn_out_too_large_as_lost",),
    ),
    Fault(
        "losses_are_not_counted",
        "messages that a connection has taken along are not among those that were lost",
        (
            Change(
                "_peers/peer.py",
                "        self._dispatcher.losses.count(self.id, dropped, identifier_of(reason))\n",
                "",
            ),
        ),
        (f"{_STATISTICS}::TestPeers::test_counts_what_a_loss_has_dropped",),
    ),
    Fault(
        "totals_shrink",
        "what went over connections with a node is forgotten together with the node",
        (Change("_peers/network.py", "                self.past.add(peer.traffic)\n", ""),),
        (f"{_STATISTICS}::TestPeers::test_keeps_the_totals_of_nodes_that_are_forgotten",),
    ),
    Fault(
        "handshakes_are_not_counted",
        "the bytes of a handshake are missing in those of the connection",
        (Change("_peers/connection.py", "        self.peer.traffic.add(self.traffic)\n", ""),),
        (f"{_STATISTICS}::TestPeers::test_both_sides_count_the_same_messages",),
    ),
    Fault(
        "signs_of_life_are_messages",
        "signs of life are counted as messages",
        (
            Change(
                "_peers/reader.py",
                "                        traffic.messages_in += len(batch)\n",
                "                    traffic.messages_in += len(batch)\n",
            ),
        ),
        (f"{_STATISTICS}::TestPeers::test_both_sides_count_the_same_messages",),
    ),
    Fault(
        "a_tally_without_a_bound",
        "a program that makes up identifiers of reasons fills the memory",
        (Change("_ports/tally.py", "len(counts) >= KINDS", "False"),),
        (f"{_STATISTICS}::TestLocal::test_a_program_that_makes_up_identifiers_costs_no_memory",),
    ),
    Fault(
        "monitors_are_taken_away_twice",
        "a monitor that was cancelled before is taken off the number of monitors",
        (
            Change(
                _LIFECYCLE,
                "if port is not None and state_of(port).monitors.pop(monitor, self) is not self:",
                "if state_of(port).monitors.pop(monitor, self) if port is not None else True:",
            ),
        ),
        (f"{_STATISTICS}::TestLocal::test_counts_monitors_until_they_fire_or_are_cancelled",),
    ),
    Fault(
        "calls_are_taken_off_the_monitors",
        "when a port dies its calls are taken off the number of monitors, in which they are not",
        (Change(_LIFECYCLE, "if monitor.__class__ is not CallMonitor:", "if True:"),),
        (f"{_STATISTICS}::TestLocal::test_counts_calls_and_not_their_monitors",),
    ),
    Fault(
        "mailboxes_hold_nothing",
        "messages in mailboxes are not counted as waiting",
        (Change(_LIFECYCLE, "        return boxed + ", "        return "),),
        (f"{_STATISTICS}::TestLocal::test_counts_what_waits_in_ports_until_it_is_taken_or_its_port_dies",),
    ),
    Fault(
        "nothing_waits_for_handlers",
        "messages for handlers that run are not counted as waiting",
        (Change(_LIFECYCLE, "for port in self.busy if port not in self.mailboxes", "for port in ()"),),
        (f"{_STATISTICS}::TestLocal::test_counts_what_waits_in_ports_until_it_is_taken_or_its_port_dies",),
    ),
    Fault(
        "mailboxes_for_ever",
        "mailboxes of dead ports are counted",
        (Change(_LIFECYCLE, "            del self.mailboxes[port]\n", ""),),
        (f"{_STATISTICS}::TestLocal::test_counts_ports_mailboxes_and_those_that_unwind",),
    ),
    Fault(
        "ports_are_as_old_as_the_node",
        "all ports of a node are said to be as old as the first",
        (Change("_ports/port.py", "if now - lifecycle.moment > SAME_MOMENT:", "if not lifecycle.moment:"),),
        (f"{_PORTS}::test_says_how_old_a_port_is",),
    ),
    Fault(
        "messages_of_others_leave_no_count",
        "a port does not count messages of other nodes",
        (
            Change(
                _DISPATCHER,
                "                    continue\n                port._received += 1\n",
                "                    continue\n",
            ),
        ),
        (f"{_PORTS}::test_counts_messages_and_calls_from_other_nodes",),
    ),
    Fault(
        "a_closed_node_sends",
        "a send on a closed node is not refused, because nothing makes it look",
        (Change("_runtime.py", "            lifecycle.lingering += 1\n", ""),),
        ("tests/node/test_closing.py::test_a_closed_node_refuses_to_send_to_whatever_port",),
    ),
    Fault(
        "an_instrument_takes_the_node_along",
        "what an instrument raises gets into the loop over messages",
        (Change("_ports/instruments.py", "        except BaseException:\n", "        except ZeroDivisionError:\n"),),
        (f"{_INSTRUMENTS}::test_one_that_fails_is_logged_and_removed_and_nothing_else_happens",),
    ),
    Fault(
        "an_instrument_is_told_for_ever",
        "an instrument that has failed is told on",
        (Change("_ports/instruments.py", "            if instrument in self._all:\n", "            if False:\n"),),
        (f"{_INSTRUMENTS}::test_one_that_fails_is_logged_and_removed_and_nothing_else_happens",),
    ),
    Fault(
        "instruments_hear_handlers_first",
        "an instrument hears of a message behind what its handler has done",
        (
            Change(
                _DISPATCHER,
                "            self._drain(running, 1)\n            if not self._items",
                "            if not self._items",
            ),
            Change(
                _DISPATCHER,
                "            port, message = self._items[0]\n",
                "            port, message = self._items[0]\n            self._drain(running, 1)\n",
            ),
        ),
        (f"{_INSTRUMENTS}::test_hears_messages_before_the_handler_and_deaths_and_losses_here",),
    ),
    Fault(
        "a_watched_batch_in_one_go",
        "instruments hear of the first message of a batch only",
        (Change(_DISPATCHER, "running, batch, done, serve, ended, 1)", "running, batch, done, serve, ended)"),),
        (f"{_INSTRUMENTS}::test_hears_what_comes_from_other_nodes_in_its_order",),
    ),
    Fault(
        "a_trace_shows_contents",
        "a trace shows what is in messages",
        (Change("_node/trace.py", "*([ascii(str.__str__(tag)[:_LONGEST_TAG])] if tag else [])", "message"),),
        (f"{_TRACE}::test_writes_lines_to_a_file_for_its_owner",),
    ),
    Fault(
        "a_trace_for_everybody",
        "others may read the IDs of ports in a trace",
        (Change("_node/trace.py", "0o600", "0o644"),),
        (f"{_TRACE}::test_writes_lines_to_a_file_for_its_owner",),
    ),
    Fault(
        "a_trace_without_end",
        "a trace fills the disk",
        (Change("_node/trace.py", "        if self._left <= 0:\n            return\n", ""),),
        (f"{_TRACE}::test_ends_at_its_limit",),
    ),
    Fault(
        "records_are_written_twice",
        "records go to standard error although the program writes them itself",
        (
            Change(
                "_profiles/log_levels.py",
                "        if not has_other_handlers(logging.getLogger(record.name)):\n",
                "        if True:\n",
            ),
        ),
        (f"{_LEVELS}::test_records_are_written_only_where_the_program_has_no_handler",),
    ),
    Fault(
        "the_operator_wins_again_and_again",
        "each node that is opened sets the levels of loggers anew",
        (Change("_profiles/log_levels.py", "if not text or text == self.taken:", "if not text:"),),
        (f"{_LEVELS}::test_a_node_takes_it_and_refuses_what_is_wrong",),
    ),
    Fault(
        "a_record_names_no_cause",
        "the record of a connection's end does not say of which cause it has ended",
        (
            Change(
                "_peers/peer.py",
                "            cause = cause or self.current.cause or GIVEN_UP\n",
                "            cause = cause or ''\n",
            ),
        ),
        (f"{_FIELDS}::test_both_ends_of_a_connection_say_who_and_why",),
    ),
)
