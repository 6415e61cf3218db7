"""Faults in ports: their names, their mailboxes, their death and their monitors."""

from __future__ import annotations

from .fault import Change, Fault

_RUNTIME = "_runtime.py"
_ASSEMBLY = "_node/assembly.py"
_IDS = "_ids.py"
_SPAWNED_NAMES = "_peers/spawned_names.py"
_DISPATCHER = "_ports/dispatcher.py"
_LIFECYCLE = "_ports/lifecycle.py"
_RUN_QUEUE = "_ports/run_queue.py"
_NODE_PORT = "_peers/node_port.py"
_BACKLOG = "_ports/backlog.py"
_MAILBOX = "_ports/mailbox.py"
_HANDLERS = "_ports/handlers.py"
_REASON = "_reason.py"
_TRACES = "tests/ports/test_death_traces.py"
_CLOSED = "tests/node/test_node_closed.py"

# What counts, in the place of what is drawn.
_COUNTED = "urlsafe_b64encode(b''.join(number.to_bytes(_RANDOM_BYTES, 'big') for number in range(_POOL)))"

# The end of `next_name`.
_NEXT_PART = """            self.check_new()
        parts = self._random_parts or self._refill()
        return (prefix or self._name_prefix) + parts.pop()
"""

PORTS = (
    Fault(
        "killed_reply_ports_waited_for",
        "somebody kills the reply port of a call, and the call waits for ever",
        (Change("_ports/lifecycle.py", "port.taker.reply_port_died(reason, error)", "pass"),),
        ("tests/services/test_calls.py::test_a_reply_port_that_is_killed_ends_the_call",),
        hangs=True,
    ),
    Fault(
        "reply_ports_vanish",
        "a reply port that is monitored is forgotten when its call is over, and its monitors never fire",
        (Change("_ports/lifecycle.py", "if state.monitors or state.tasks or", "if state.tasks or"),),
        ("tests/services/test_calls.py::test_who_monitors_a_reply_port_is_told_when_the_call_is_over",),
    ),
    Fault(
        "retired_ports_without_gravestone",
        "a port that was forgotten takes handlers, as if it could still receive",
        (Change("_ports/lifecycle.py", "            self._set_gravestone(port, NORMAL)", "            pass"),),
        ("tests/ports/test_death.py::test_a_port_that_is_retired_without_a_state_gets_none",),
    ),
    Fault(
        "port_name_used_again",
        "point 3: a port gets the name of one that has died",
        (Change(_RUNTIME, _NEXT_PART, _NEXT_PART.replace("pop()", "__getitem__(-1 - len(self.lifecycle.ports))")),),
        ("tests/ports/test_ports.py::test_ports_never_share_an_id",),
    ),
    Fault(
        "names_without_randomness",
        "who knows a port ID can guess others: their random parts do not depend on the entropy",
        (Change(_IDS, "urlsafe_b64encode(entropy(_POOL * _RANDOM_BYTES))", _COUNTED),),
        (
            "tests/ports/test_port_names.py::test_no_name_says_anything_of_another",
            "tests/vocabulary/test_ids.py::test_random_parts_of_names_are_all_of_the_entropy_and_nothing_else",
        ),
    ),
    Fault(
        "names_from_the_operating_system",
        "a simulation cannot be repeated: names do not come from the entropy that its nodes were given",
        (Change(_RUNTIME, "random_parts(self.environment.entropy)", "random_parts(__import__('os').urandom)"),),
        ("tests/ports/test_port_names.py::test_the_same_entropy_gives_the_same_names_and_other_entropy_others",),
    ),
    Fault(
        "spawned_names_without_randomness",
        "who knows the ID of a port that was spawned from elsewhere can guess others of that spawner",
        (
            Change(
                _RUNTIME,
                _NEXT_PART,
                _NEXT_PART.replace("parts.pop()", "(self._spawn_mark if prefix else parts.pop())"),
            ),
        ),
        ("tests/ports/test_port_names.py::test_reply_ports_and_spawned_ones_cannot_be_guessed_either",),
    ),
    Fault(
        "counters_of_earlier_runs_forgotten",
        "point 3: a peer uses a name again by coming back as an earlier run of itself",
        (Change(_SPAWNED_NAMES, "runs[incarnation] = counter", "runs.clear()\n        runs[incarnation] = counter"),),
        (
            "tests/ports/test_port_names.py::test_a_counter_rises_for_each_run_of_each_node",
            "tests/ports/test_port_names.py::test_a_name_is_not_used_again_by_a_run_that_comes_back",
        ),
    ),
    Fault(
        "no_limit_of_counters",
        "point 4: a peer that comes back as ever new runs has the table of counters grow for ever",
        (Change(_SPAWNED_NAMES, "if full:", "if False:"),),
        ("tests/ports/test_port_names.py::test_the_table_has_a_limit_and_those_in_it_go_on",),
    ),
    Fault(
        "no_limit_of_one_nodes_counters",
        "one node that comes back as ever new runs uses up the table of counters for all",
        (Change(_SPAWNED_NAMES, "if len(runs) >= RUNS_OF_ONE", "if False"),),
        ("tests/ports/test_port_names.py::test_the_table_has_a_limit_and_those_in_it_go_on",),
    ),
    Fault(
        "refused_counter_not_told",
        "whoever may spawn nothing waits for ever: the refusal is logged, and told to nobody",
        (Change(_NODE_PORT, "            self._spawner.refuse(request.name, why)\n", "            return\n"),),
        ("tests/ports/test_port_names.py::test_who_may_spawn_nothing_is_told",),
    ),
    Fault(
        "marks_without_the_node",
        "point 3: a peer that claims another's incarnation uses a name again that the other one has used",
        (Change(_IDS, 'f"{node_id}#{incarnation}".encode()', "incarnation.encode()"),),
        ("tests/ports/test_port_names.py::test_no_node_uses_a_name_again_that_another_has_used",),
    ),
    Fault(
        "same_incarnation_every_run",
        "a node that has restarted passes for the run of before, whose spawned names are used up",
        (Change(_ASSEMBLY, "incarnation = random_token(environment.entropy)", 'incarnation = "A" * 16'),),
        ("tests/ports/test_port_names.py::test_a_node_that_restarts_spawns_again",),
    ),
    Fault(
        "same_names_every_run",
        "point 3: a message for a port of an earlier run reaches one of this run",
        (
            Change(_ASSEMBLY, "incarnation = random_token(environment.entropy)", 'incarnation = "A" * 16'),
            Change(_IDS, "urlsafe_b64encode(entropy(_POOL * _RANDOM_BYTES))", _COUNTED),
        ),
        ("tests/ports/test_ports.py::test_a_message_for_a_port_of_an_earlier_run_reaches_none",),
    ),
    Fault(
        "what_matched_any_is_lost",
        "a handler is not called with what `ANY` in its pattern matched",
        (Change(_HANDLERS, "(*[message[index] for index in anys], *message[length:])", "message[length:]"),),
        ("tests/ports/test_patterns.py::test_a_handler_gets_what_matched_any_and_then_the_rest",),
    ),
    Fault(
        "what_matched_any_comes_last",
        "a handler is called with what `ANY` in its pattern matched, but behind the rest of the message",
        (
            Change(
                _HANDLERS,
                "(*[message[index] for index in anys], *message[length:])",
                "(*message[length:], *[message[index] for index in anys])",
            ),
        ),
        ("tests/ports/test_patterns.py::test_a_handler_gets_what_matched_any_and_then_the_rest",),
    ),
    Fault(
        "full_mailbox_drops",
        "point 4: a message for a full mailbox is dropped, and nobody is told",
        (Change(_MAILBOX, "if full:\n            self._overflow", "if False:\n            self._overflow"),),
        ("tests/ports/test_mailbox.py::test_a_full_mailbox_kills_the_port",),
        hangs=True,
    ),
    Fault(
        "full_backlog_drops",
        "point 4: a message for a port whose handler is busy is dropped, and nobody is told",
        (
            Change(
                _DISPATCHER,
                "            if full:\n                self.lifecycle.die_of_overflow",
                "            if False:\n                self.lifecycle.die_of_overflow",
            ),
        ),
        ("tests/ports/test_mailbox.py::test_too_many_messages_behind_an_async_handler_kill_the_port",),
        hangs=True,
    ),
    Fault(
        "no_limit_of_a_backlog",
        "point 4: a port holds any number of messages",
        (Change(_BACKLOG, "if len(self._messages) >= self._limit:", "if False:"),),
        ("tests/ports/test_mailbox.py::test_a_full_mailbox_kills_the_port",),
        hangs=True,
    ),
    Fault(
        "no_limit_of_a_backlogs_memory",
        "point 4: a port holds messages of any size from another node",
        (Change(_BACKLOG, "if self._size + size > self._size_limit:", "if False:"),),
        ("tests/peers/test_limits_for_peers.py::test_received_messages_wait_up_to_a_size",),
        hangs=True,
    ),
    Fault(
        "mailbox_takes_all_for_local",
        "point 4: messages from another node wait in a mailbox as those of this node do, which are not measured",
        (Change(_DISPATCHER, " if port._state is None or port._state.mailbox is None else None", ""),),
        ("tests/peers/test_limits_for_peers.py::test_received_messages_wait_up_to_a_size",),
        hangs=True,
    ),
    Fault(
        "messages_for_the_dead_reach_the_next",
        "point 3: a local message for a port that has died is delivered to another one",
        (
            Change(
                _DISPATCHER,
                "        if not state.alive:\n            self.losses.note_dead(port.name)\n            return\n"
                "        if received is True",
                """        if not state.alive:
            if not self.ports:
                return
            port = next(reversed(self.ports.values()))
            state = state_of(port)
        if received is True""",
            ),
        ),
        ("tests/ports/test_death.py::test_messages_for_a_dead_port_reach_no_other",),
    ),
    Fault(
        "kill_overtakes_messages",
        "a kill comes before the messages that were sent before it",
        (Change(_LIFECYCLE, "self._queue.enqueue(self._kill_job, (name, reason))", "self.kill_now(name, reason)"),),
        ("tests/ports/test_death.py::test_a_kill_keeps_its_place_among_the_messages_sent_before_it",),
    ),
    Fault(
        "runtime_runs_as_a_port",
        "a task that the runtime starts in the middle of a port's code counts as that port's, and ends with it",
        (Change(_LIFECYCLE, "running_variable.set(None)", "pass"),),
        ("tests/ports/test_context.py::test_a_task_of_the_runtime_is_of_no_port_whoever_starts_it",),
    ),
    Fault(
        "remote_kill_comes_late",
        "a kill from another node comes behind messages that were sent after it",
        (
            Change(
                _NODE_PORT,
                "self._dispatcher.lifecycle.kill_now(name, reason)\n            case requests.Spawn()",
                "self._dispatcher.lifecycle.kill(name, reason)\n            case requests.Spawn()",
            ),
        ),
        ("tests/peers/test_network_monitors.py::test_kill_keeps_its_place_among_messages",),
    ),
    Fault(
        "spawned_under_any_counter",
        "point 3: a peer names a port that it spawns as one that it has spawned before",
        (Change(_SPAWNED_NAMES, " and counter > self._last.get(node_id, {}).get(incarnation, 0)", ""),),
        ("tests/peers/test_network_strangers.py::test_a_spawn_under_a_name_that_is_not_the_peers",),
    ),
    Fault(
        "spawned_under_any_incarnation",
        "point 3: a peer names a port that it spawns as if another node had",
        (Change(_IDS, "if parts is None or parts[1] != mark:", "if parts is None:"),),
        ("tests/peers/test_network_strangers.py::test_a_spawn_under_a_name_that_is_not_the_peers",),
    ),
    Fault(
        "monitored_between_death_and_burial",
        "point 2: a monitor of a port with handlers alone, set between its death and its firing, never fires",
        (Change(_LIFECYCLE, "if isinstance(port._state, PortState):", "if False:"),),
        ("tests/ports/test_death.py::test_a_port_with_handlers_alone_that_is_monitored_after_it_died_says_why",),
    ),
    Fault(
        "death_fired_twice",
        "a port whose last task ends when the time for that is up dies twice, and the node of that",
        (
            Change(
                _LIFECYCLE,
                "if self.unwinding.pop(port.name, None) is None:",
                "if self.unwinding.pop(port.name) is None:",
            ),
        ),
        ("tests/ports/test_death.py::test_the_last_task_may_end_when_the_shutdown_timeout_is_up",),
    ),
    Fault(
        "buried_across_messages",
        "the death of one port overtakes messages that were sent before it, because another port has just died",
        (
            Change(
                _LIFECYCLE,
                "        latest = self._queue.items[-1] if self._queue.items else None\n",
                "        deaths = [item for item in self._queue.items if item[0] is self._bury_job]\n"
                "        latest = deaths[-1] if deaths else None\n",
            ),
        ),
        ("tests/ports/test_death.py::test_a_message_between_two_deaths_keeps_its_place",),
    ),
    Fault(
        "deaths_overtake_a_loss",
        "point 1: a loss that the callback of one death brings about is told behind the next deaths",
        (
            Change(
                _LIFECYCLE,
                "                self._fire_death(port, port._state)\n                return\n"
                "            del self.unwinding[port.name]",
                "                self._queue.items.popleft() if number < len(ports) else None\n"
                "                self._fire_death(port, port._state)\n                continue\n"
                "            del self.unwinding[port.name]",
            ),
        ),
        ("tests/ports/test_boundary.py::test_what_comes_next_comes_between_deaths_that_were_monitored_late",),
    ),
    Fault(
        "reasons_set_one_by_one",
        "a callback sees a monitor of the same loss whose reason is not set",
        (
            Change(
                _LIFECYCLE,
                "                monitor._begin_firing(reason)\n            for monitor in monitors:\n",
                "                monitor._begin_firing(reason)\n",
            ),
        ),
        ("tests/ports/test_monitors.py::test_the_reason_is_set_on_all_monitors_before_any_callback_runs",),
    ),
    Fault(
        "missing_port_not_told",
        "a monitor of a port that is dead already never fires",
        (Change(_LIFECYCLE, "self._queue.enqueue(Job(self._fire_missing), (", "bool((self._fire_missing, "),),
        ("tests/ports/test_monitors.py::test_a_monitor_of_a_dead_port_says_that_there_is_none",),
    ),
    Fault(
        "fired_before_unwound",
        "a supervisor hears of a death before the resources are free",
        (Change(_LIFECYCLE, "if not state.tasks or self.nursery is None:", "if True:"),),
        ("tests/ports/test_death.py::test_monitors_fire_when_the_tasks_have_unwound",),
    ),
    Fault(
        "never_fired_if_not_unwound",
        "liveness: the monitors of a port whose tasks do not end never fire",
        (Change(_LIFECYCLE, "state.unwinding = self.start_system_task(self._await_unwinding, port, state)", "pass"),),
        ("tests/ports/test_death.py::test_monitors_fire_after_the_shutdown_timeout_at_the_latest",),
    ),
    Fault(
        "death_notice_not_sent",
        "another node is not told of the death of a port that it monitors",
        (
            Change(
                _LIFECYCLE,
                "if isinstance(monitor, RemoteMonitor):\n                monitor.watcher",
                "if False:\n                monitor.watcher",
            ),
        ),
        ("tests/peers/test_network_monitors.py::test_a_monitor_fires_with_the_reason_of_the_death",),
        hangs=True,
    ),
    Fault(
        "death_notice_behind_callbacks",
        "what a callback sends to another node arrives before the notice of the death that it was called for",
        (
            Change(
                _LIFECYCLE,
                "        # The notices to other nodes are queued",
                "        self.fire([monitor for monitor in monitors if isinstance(monitor, Monitor)], state.reason)\n"
                "        # The notices to other nodes are queued",
            ),
        ),
        ("tests/peers/test_network_monitors.py::test_the_notice_of_a_death_comes_before_what_callbacks_send",),
    ),
    Fault(
        "report_waits_its_turn",
        "a loss is reported behind all that waits, and what that sends is dropped without need",
        (
            Change(
                _RUN_QUEUE,
                "self.items.appendleft((Job(function), arguments))",
                "self.items.append((Job(function), arguments))",
            ),
        ),
        ("tests/peers/test_network_monitors.py::test_a_loss_is_reported_before_what_waits_is_handled",),
    ),
    Fault(
        "forgotten_while_busy",
        "what has come while a port was being initialised is dropped",
        (
            Change(
                _DISPATCHER,
                "        while pending:\n            self.deliver(",
                "        while False:\n            self.deliver(",
            ),
        ),
        ("tests/peers/test_network_spawn.py::test_a_message_of_a_peer_waits_until_a_port_spawned_here_is_initialised",),
    ),
    Fault(
        "closing_is_a_normal_death",
        "what is linked to a port of another node outlives the clean exit of that node",
        (Change(_RUNTIME, "node_closed(self.id) if error is None", "() if error is None"),),
        (f"{_CLOSED}::test_a_link_from_another_node_fires",),
    ),
    Fault(
        "links_end_with_their_owner",
        "a port of another node is not killed if the port that has linked it dies with the one that it is linked to",
        (Change(_LIFECYCLE, "isinstance(owned, Monitor) and self._outlives_owner(owned)", "False"),),
        (f"{_CLOSED}::test_a_link_that_a_port_sets_on_itself_fires_whenever_it_dies",),
    ),
    Fault(
        "links_end_in_the_order_of_closing",
        "whether a port of another node is killed depends on which port of a closing node dies first",
        (
            Change(
                _LIFECYCLE, "name in self.unwinding or (self.closing and name in self.ports)", "name in self.unwinding"
            ),
        ),
        (f"{_CLOSED}::test_a_link_to_another_node_fires_though_its_owner_dies_as_well",),
    ),
    Fault(
        "closing_dials_for_links",
        "a node that closes dials others, and waits for them, only to kill what was linked",
        (Change(_RUNTIME, "peer is not None and _is_out_of_reach(peer)", "False"),),
        (f"{_CLOSED}::test_closing_dials_nobody_only_to_kill_what_is_linked",),
    ),
    Fault(
        "closing_raises_in_iterations",
        "an iteration over a port raises when its own node closes",
        (Change(_LIFECYCLE, "not reason or (self.closing and reason == node_closed(self.id))", "not reason"),),
        (f"{_CLOSED}::test_iterations_end_with_their_node_and_receive_says_why",),
    ),
    Fault(
        "iterations_end_for_what_looks_like_closing",
        "an iteration over a port that another one has killed ends as if nothing had happened",
        (Change(_LIFECYCLE, "(self.closing and reason == node_closed(self.id))", "reason[0] == 'node_closed'"),),
        (f"{_CLOSED}::test_an_iteration_raises_what_only_looks_like_the_end_of_its_node",),
    ),
    Fault(
        "reasons_without_a_place",
        "the reason of a death does not say where in the program it was",
        (Change(_REASON, "    text += _place_of(error)\n", ""),),
        (f"{_TRACES}::test_a_reason_says_where_the_handler_has_failed",),
    ),
    Fault(
        "reasons_with_whole_paths",
        "the reason of a death tells other nodes where a program is installed",
        (Change(_REASON, r're.split(r"[/\\]", code.co_filename)[-1]', "code.co_filename"),),
        (f"{_TRACES}::test_only_the_name_of_the_file_is_told",),
    ),
    Fault(
        "places_in_libraries",
        "the reason of a death names a line of a library, and not of the program that has called it",
        (Change(_REASON, "if closeness and closeness >= closest:", "if closeness:"),),
        (f"{_TRACES}::test_the_innermost_frame_of_the_program_is_named_and_not_that_of_a_library",),
    ),
    Fault(
        "monitored_deaths_leave_no_trace",
        "the traceback of a death that somebody monitors is nowhere",
        (Change(_LIFECYCLE, "log.debug(", "(lambda *_, **__: None)("),),
        (f"{_TRACES}::test_the_traceback_of_a_monitored_death_is_in_the_log_for_who_looks",),
    ),
    Fault(
        "cause_of_another_death",
        "who waits for a port is told the exception that has killed another one",
        (
            Change(_LIFECYCLE, "running.port, self.cause = before", "running.port = before[0]"),
            Change(_LIFECYCLE, "self.cause), cause", "self.cause), cause or self.cause"),
        ),
        (f"{_TRACES}::test_the_cause_is_of_that_port_and_of_no_other",),
    ),
    Fault(
        "cause_is_kept",
        "a node keeps the exception of the latest death, with all the frames of its traceback",
        (Change(_LIFECYCLE, "running.port, self.cause = before", "running.port = before[0]"),),
        (f"{_TRACES}::test_nothing_keeps_the_exception_when_those_who_waited_are_gone",),
    ),
    Fault(
        "mailbox_keeps_the_cause",
        "a dead port keeps the exception that has killed it, with all the frames of its traceback",
        (Change(_MAILBOX, "cause if self._task is not None or self._yielding else None", "cause"),),
        (f"{_TRACES}::test_nothing_keeps_the_exception_when_those_who_waited_are_gone",),
    ),
    Fault(
        "an_exception_of_a_block_is_told_twice",
        "the exception of a block of open_port, which leaves it anyhow, is an unmonitored death as well",
        (Change("_services/processes.py", ", error, heard=True)", ", error)"),),
        (f"{_TRACES}::test_who_waits_for_the_port_of_a_block_that_fails_gets_it_too",),
    ),
)
