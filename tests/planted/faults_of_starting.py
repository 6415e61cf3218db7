"""Faults in starting ports: when one has started, who is told, and what is left of a start that has failed."""

from __future__ import annotations

from .fault import Change, Fault

_PROCESSES = "_services/processes.py"
_STARTING = "_services/starting.py"
_STARTS = "_services/starts.py"
_SPAWNING = "_services/spawning.py"
_NODE_PORT = "_peers/node_port.py"
_REQUESTS = "_protocol/requests.py"
_HERE = "tests/services/test_starting.py"
_THERE = "tests/services/test_starting_there.py"
_SIMULATED = "tests/services/test_starting_simulated.py"

STARTING = (
    Fault(
        "answer_overtakes",
        "a local answer overtakes the messages that the port has sent before",
        (
            Change(
                _STARTING,
                "self._runtime.dispatcher.queue.enqueue(Job(self.outcome.has_started), (value,))",
                "self.outcome.has_started(value)",
            ),
        ),
        (f"{_HERE}::test_what_a_port_sends_before_it_has_started_arrives_before_the_answer",),
    ),
    Fault(
        "never_said_started",
        "a function that returns without having started is waited for as if it had",
        (Change(_PROCESSES, "            status.check()\n", "            status.started()\n"),),
        (f"{_HERE}::test_a_function_that_returns_without_having_started",),
    ),
    Fault(
        "started_twice",
        "a port may say again that it has started, and nobody learns of the second value",
        (Change(_PROCESSES, "        if self._started:\n            raise", "        if False:\n            raise"),),
        (f"{_HERE}::test_started_twice",),
    ),
    Fault(
        "cancelled_start_left_running",
        "a cancelled start leaves at once, while its port unwinds",
        (Change(_STARTING, "            if limit != 0:\n", "            if False:\n"),),
        (f"{_HERE}::test_a_cancelled_start_has_unwound_first",),
    ),
    Fault(
        "cancelled_start_not_killed",
        "a start that is cancelled lets the port over there go on",
        (Change(_STARTING, 'self._peer.send("", requests.kill(self._name, start_cancelled()))', "pass"),),
        (f"{_THERE}::test_a_cancelled_start_has_unwound_first",),
    ),
    Fault(
        "cancelled_start_without_bound",
        "a node that answers nothing holds a cancelled start for ever",
        (Change(_STARTING, "return settings.shutdown_timeout + 3 * settings.heartbeat", "return 500"),),
        (f"{_THERE}::test_a_cancelled_start_at_a_node_that_does_not_answer_is_bounded",),
    ),
    Fault(
        "cancelled_start_waits_for_a_connection",
        "a cancelled start waits for a connection only to call off what was never asked",
        (Change(_STARTING, "if not self._peer.is_up():", "if False:"),),
        (f"{_THERE}::test_a_cancelled_start_without_a_connection_waits_for_none",),
    ),
    Fault(
        "called_off_and_run",
        "a port whose start was called off before it ran begins to run all the same",
        (Change(_PROCESSES, "        elif port.alive:\n", "        else:\n"),),
        (f"{_THERE}::test_a_cancelled_start_without_a_connection_waits_for_none",),
    ),
    Fault(
        "lost_answer_leaves_a_port",
        "a port whose answer was lost lives on, and nobody knows of it",
        (
            Change(
                _STARTS,
                "        monitor = self._runtime.monitor(asker, lost, port)\n",
                "        monitor = self._runtime.monitor(asker, lambda *_: None, port)\n",
            ),
        ),
        (f"{_THERE}::test_a_port_whose_answer_is_lost_dies", _SIMULATED),
    ),
    Fault(
        "kept_by_the_answer",
        "a port is kept from its answer on, whether that has arrived or not",
        (
            Change(
                _STARTS,
                "            except (TypeError, ValueError):\n",
                "                self.keep(peer, name)\n            except (TypeError, ValueError):\n",
            ),
        ),
        (f"{_THERE}::test_a_port_whose_answer_is_lost_dies", _SIMULATED),
    ),
    Fault(
        "never_kept",
        "a port that has started dies with the connection over which it was asked for",
        (Change(_STARTS, '            peer.send("", requests.keep(name))\n', ""),),
        (f"{_THERE}::test_a_port_that_has_started_outlives_a_connection_unless_it_is_linked",),
    ),
    Fault(
        "kept_by_anybody",
        "any member may say that a start is known to have succeeded",
        (
            Change(_STARTS, "key = port.name, (asker, port.name)", "key = port.name, (asker[:0], port.name)"),
            Change(_STARTS, "self._guards.pop((peer.id, name), None)", "self._guards.pop((peer.id[:0], name), None)"),
        ),
        (f"{_THERE}::test_only_who_has_asked_can_keep_a_port",),
    ),
    Fault(
        "answered_by_anybody",
        "any member may say that a port has started, of which it knows the name",
        (Change(_STARTS, "if awaited is not None and awaited[0] is peer:", "if awaited is not None:"),),
        (f"{_THERE}::test_an_answer_of_another_node_means_nothing",),
    ),
    Fault(
        "death_before_the_monitor",
        "a port that has died before the asker's monitor came is missing, and nobody says why",
        (
            Change(
                _NODE_PORT,
                "if isinstance(request, requests.StartPort) or (",
                "if False or (",
            ),
        ),
        (f"{_THERE}::test_a_port_that_has_died_before_the_monitor_of_the_asker_has_come",),
    ),
    Fault(
        "older_version_not_explained",
        "a node of an older version says only that there is no port",
        (Change(_STARTING, "if reason == no_such_port(self.port):", "if False:"),),
        (f"{_THERE}::test_a_node_of_an_older_version_is_an_error_at_once",),
    ),
    Fault(
        "closing_taken_for_old",
        "a node that closes does not say why it starts no port, and is taken for one of an older version",
        (Change(_SPAWNING, '            self.refuse(request.name, f"{self._runtime.id} is closing")\n', ""),),
        (f"{_THERE}::test_a_start_that_comes_while_a_node_closes",),
    ),
    Fault(
        "starts_beyond_the_monitors",
        "a port is started for a node that cannot be told of its death",
        (Change(_NODE_PORT, "if isinstance(request, requests.StartPort) and peer.watchers.full:", "if False:"),),
        (f"{_THERE}::test_the_limits_hold_for_ports_that_are_started",),
    ),
    Fault(
        "failed_start_kills_its_asker",
        "a linked start that fails kills the port that has asked for it and has been told",
        (
            Change(
                _STARTING,
                "            self.unwatch()\n        self.outcome.has_died(self._explain",
                "            pass\n        self.outcome.has_died(self._explain",
            ),
        ),
        (f"{_THERE}::test_a_linked_start_that_fails_kills_nobody",),
    ),
    Fault(
        "failure_said_twice",
        "the exception of a start is raised, and logged as one of which nobody knows",
        (Change(_STARTING, "            self._state.heard = True\n", ""),),
        (f"{_HERE}::test_the_exception_of_a_port_that_fails_before_it_has_started",),
    ),
    Fault(
        "own_failure_lost_to_cancellation",
        "an exception of a port that starts is lost when the start is cancelled while it unwinds",
        (
            Change(
                _STARTING,
                "if outcome.error is None or not isinstance(error, trio.Cancelled):",
                "if outcome.error is None or True:",
            ),
        ),
        (f"{_HERE}::test_a_start_that_has_failed_is_cancelled_while_it_unwinds",),
    ),
    Fault(
        "epoch_forgotten",
        "a port that was started on another node does not know its epoch",
        (Change(_SPAWNING, "state_of(port).epoch = request.epoch", "pass"),),
        (f"{_THERE}::test_an_answer_goes_to_who_has_asked",),
    ),
    Fault(
        "epoch_of_any_kind",
        "an epoch may be negative, or a truth value",
        (Change(_REQUESTS, "type(value) is int and 0 <= value < 2**63", "isinstance(value, int)"),),
        ("tests/protocol/test_requests.py",),
    ),
)
