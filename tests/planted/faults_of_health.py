"""Faults in what a node says of itself to who asks from outside: whether it is ready, and whether it lives."""

from __future__ import annotations

from .fault import Change, Fault

_STANDING = "_peers/standing.py"
_MEMBERSHIP = "_services/membership.py"
_SEEDS = "_services/seeds.py"
_REDIALLER = "_services/redialler.py"
_OPENING = "_node/opening.py"
_DEPLOYED = "cli/deployed.py"
_RUNTIME = "_runtime.py"
_GATHERING = "_profiles/gathering.py"
_HEALTH = "_node/health.py"
_SERVER = "_node/probe_server.py"
_CHECKS = "_settings/checks.py"
_SOCKETS = "_transport/sockets.py"
_WORKERS = "cli/workers.py"
_COMMAND = "cli/health.py"
_HEALTH_TESTS = "tests/node/test_health.py"
_COMMAND_TESTS = "tests/programs/test_health_command.py"
_TOOL = "tests/services/test_tools.py::test_a_tool_takes_the_network_of_a_profile_and_not_its_service"
_FIRST = f"{_HEALTH_TESTS}::test_of_a_process_the_first_node_takes_it_from_outside_and_no_tool_does"
_STANDING_TESTS = "tests/peers/test_standing.py"
_RUN = "tests/programs/test_run_command.py"
_ATTACHED = "tests/services/test_attached.py"

HEALTH = (
    # Whether it is ready.
    Fault(
        "ready_without_a_global_node",
        "a node that has lost its global node says that it is ready",
        (Change(_STANDING, "        self._anchor = None\n        self.changed()\n", "        self.changed()\n"),),
        (
            f"{_STANDING_TESTS}::test_what_is_said_at_each_step_and_the_observers_are_told_once_of_each_change",
            f"{_ATTACHED}::test_a_node_is_attached_when_a_global_node_has_welcomed_it",
        ),
    ),
    Fault(
        "starts_what_it_has_not_begun",
        "a node that waits for its network before its services start says that they start",
        (Change(_STANDING, "(is_attached or not self._waits_to_attach)", "True"),),
        (
            f"{_STANDING_TESTS}::test_who_waits_to_be_attached_before_its_services_start_does_not_say_that_they_start",
            f"{_HEALTH_TESTS}::test_a_node_that_waits_for_its_network_before_its_services_says_so",
        ),
    ),
    Fault(
        "read_while_it_changes",
        "a thread that asks why a node is not ready reads the failures while they change",
        (Change(_STANDING, "failures = dict(self._failures or {})", "failures = self._failures or {}"),),
        (f"{_STANDING_TESTS}::test_another_thread_may_ask_while_seeds_fail",),
    ),
    Fault(
        "ready_while_it_closes",
        "a node that closes says so only when it has closed",
        (
            Change(
                _RUNTIME,
                "        self.standing.begin_closing(failed=reason != node_closed(self.id))\n",
                "",
            ),
        ),
        (f"{_ATTACHED}::test_who_waits_outside_of_the_block_is_told_that_the_node_closes",),
    ),
    Fault(
        "starts_too_early",
        "a command says that it is ready before its services have started",
        (
            Change(_DEPLOYED, "    return open_unstarted(", "    return open_node_in("),
            Change(_DEPLOYED, "import open_unstarted\n", "import open_node_in\n"),
        ),
        (f"{_RUN}::test_a_program_runs_with_the_services_of_its_profile_and_the_command_line_decides",),
    ),
    # Whether it is attached.
    Fault(
        "has_not_tried",
        "a global node says that it is attached before it has tried its other seeds",
        (
            Change(_SEEDS, "seed.looked_up and all(one.was_tried or", "all(one.was_tried or"),
            Change(_REDIALLER, "        self.was_tried = False\n", "        self.was_tried = True\n"),
        ),
        (f"{_ATTACHED}::test_a_global_node_has_tried_each_of_its_seeds_first",),
    ),
    Fault(
        "tried_by_a_connection",
        "a seed counts as tried when there is a connection, though the two parts of the network are not one yet",
        (
            Change(
                _REDIALLER,
                "                await self._use(peer)\n",
                "                self._ended_attempt()\n                await self._use(peer)\n",
            ),
        ),
        (f"{_ATTACHED}::test_a_global_node_that_finds_another_one_is_attached_when_both_know",),
    ),
    Fault(
        "a_name_is_never_tried",
        "a name that cannot be resolved never counts as tried, so a global node is never ready",
        (Change(_SEEDS, "                self._looked_up(seed)\n                await", "                await"),),
        (f"{_ATTACHED}::test_a_name_that_cannot_be_resolved_counts_as_tried",),
    ),
    Fault(
        "itself_is_never_tried",
        "a node that is its own seed is never attached",
        (
            Change(
                _REDIALLER,
                "            backoff.lengthen()\n            self._ended_attempt()\n",
                "            backoff.lengthen()\n",
            ),
        ),
        (f"{_ATTACHED}::test_a_node_that_is_its_own_only_seed_is_attached_when_it_knows_that",),
    ),
    Fault(
        "services_before_the_network",
        "with `attach_timeout`, services start before the node is attached",
        (
            Change(
                _OPENING,
                "                        await _attach(node, checked.attach_timeout)\n"
                "                        start_services(node, services)\n",
                "                        start_services(node, services)\n"
                "                        await _attach(node, checked.attach_timeout)\n",
            ),
        ),
        (f"{_ATTACHED}::test_with_the_setting_services_and_the_block_begin_when_it_is_attached",),
    ),
    Fault(
        "a_global_node_fails",
        "a global node fails because one of its seeds is silent for longer than its `attach_timeout`",
        (Change(_MEMBERSHIP, '        if self.rules.is_global:\n            self._standing.attach("")\n', ""),),
        (f"{_ATTACHED}::test_a_global_node_waits_for_silent_seeds_no_longer_than_its_time",),
    ),
    Fault(
        "a_tool_waits_as_a_service",
        "a tool takes the `attach_timeout` of the service whose profile it uses",
        (Change(_GATHERING, '"spawn_modules", "attach_timeout", "health"', '"spawn_modules", "health"'),),
        (_TOOL,),
    ),
    # What probes are answered.
    Fault(
        "a_dead_loop_lives",
        "a node whose loop stands is live, however long",
        (Change(_HEALTH, "blocked.seconds >= self._patience else", "blocked.seconds < 0 else"),),
        (f"{_HEALTH_TESTS}::test_a_loop_that_stands_is_neither_live_nor_ready",),
    ),
    Fault(
        "ready_while_it_stands",
        "a node whose loop stands is ready",
        (Change(_HEALTH, "self._why_dead() or self._standing", "self._standing"),),
        (f"{_HEALTH_TESTS}::test_a_loop_that_stands_is_neither_live_nor_ready",),
    ),
    Fault(
        "nobody_watches_a_lonely_loop",
        "nobody watches the loop of a node that answers probes and has no network",
        (Change(_OPENING, "wanted=checked.networked or bool(runtime.probed_at)", "wanted=checked.networked"),),
        (f"{_COMMAND_TESTS}::test_a_process_that_is_blocked_killed_and_started_again",),
    ),
    Fault(
        "silent_while_it_closes",
        "a node answers no probe any more as soon as its block is left",
        (
            Change(
                _OPENING,
                "runtime.observers.ended += [listener.close]",
                "runtime.standing.observers += [lambda: runtime.standing.closing and listener.close()]",
            ),
        ),
        (f"{_HEALTH_TESTS}::test_what_a_node_says_from_its_first_service_to_its_end",),
    ),
    Fault(
        "half_a_node_is_left",
        "a node that cannot listen where it should goes on answering probes",
        (Change(_OPENING, "    except BaseException:\n        listener.close()\n", "    except BaseException:\n"),),
        (f"{_HEALTH_TESTS}::test_a_node_that_cannot_listen_leaves_nothing",),
    ),
    Fault(
        "a_line_is_looked_at_for_ever",
        "a long line that is no request keeps the interpreter lock for seconds",
        (Change(_SERVER, r"(/[^\s?#]*)(?:[?#]\S*)? HTTP", r"(/[^\s?#]*)\S* HTTP"),),
        (f"{_HEALTH_TESTS}::test_a_long_line_that_is_no_request_takes_no_time",),
    ),
    Fault(
        "sockets_without_a_thread",
        "a node that can have no thread to answer probes leaves its sockets open",
        (
            Change(
                _SERVER,
                "        except BaseException:\n            self._close_all()\n",
                "        except ZeroDivisionError:\n            self._close_all()\n",
            ),
        ),
        (
            f"{_HEALTH_TESTS}::test_without_a_thread_nothing_of_the_node_is_left",
            f"{_HEALTH_TESTS}::test_what_fails_while_it_opens_leaves_no_socket_and_no_file",
        ),
    ),
    Fault(
        "sockets_without_a_selector",
        "a node whose answers cannot begin leaves its listening sockets and their files",
        (Change(_HEALTH, "                failing.callback(listener.close_nowait)\n", "                pass\n"),),
        (f"{_HEALTH_TESTS}::test_what_fails_while_it_opens_leaves_no_socket_and_no_file",),
    ),
    Fault(
        "a_client_ends_the_answers",
        "a client for which the system has no memory ends the answers to all others",
        (
            Change(
                _SERVER,
                "        except OSError:\n            connected.close()\n",
                "        except ZeroDivisionError:\n            connected.close()\n",
            ),
        ),
        (f"{_HEALTH_TESTS}::test_a_client_that_cannot_be_waited_for_costs_no_other_its_answer",),
    ),
    Fault(
        "a_client_that_is_dropped_twice",
        "a client that cannot be waited for any more ends the answers, and leaves its socket open",
        (Change(_SERVER, "with contextlib.suppress(KeyError):", "with contextlib.suppress(ZeroDivisionError):"),),
        (f"{_HEALTH_TESTS}::test_a_client_that_cannot_be_waited_for_costs_no_other_its_answer",),
    ),
    Fault(
        "removes_the_file_of_another",
        "a node that answers no more removes what another has put in the place of its socket",
        (
            Change(
                _SOCKETS, "                if self._path.stat().st_ino == self._inode:\n", "                if True:\n"
            ),
        ),
        (f"{_HEALTH_TESTS}::test_the_socket_of_a_dead_process_is_replaced_and_a_live_one_is_not",),
    ),
    # What clients can cost.
    Fault(
        "silent_clients_fill_it",
        "when silent clients have taken all places, nobody else is answered",
        (
            Change(
                _SERVER,
                "            self._drop(next(iter(self._clients)))\n",
                "            connected.close()\n            return\n",
            ),
        ),
        (f"{_HEALTH_TESTS}::test_silent_clients_keep_nobody_from_an_answer",),
        hangs=True,
    ),
    Fault(
        "slow_clients_stay",
        "a client that says nothing stays for as long as it likes",
        (Change(_SERVER, "if one.ends <= now]", "if one.ends <= 0]"),),
        (f"{_HEALTH_TESTS}::test_a_slow_client_is_left_after_its_time",),
        hangs=True,
    ),
    Fault(
        "closed_before_it_is_read",
        "a connection is closed at once behind its answer, which is lost when the client has sent more",
        (
            Change(
                _SERVER,
                "        client.connected.shutdown(socket.SHUT_WR)\n",
                "        self._drop(client)\n        return\n",
            ),
        ),
        (f"{_HEALTH_TESTS}::test_a_client_that_goes_on_after_its_answer_gets_the_answer_and_is_left",),
    ),
    Fault(
        "reads_on_and_on",
        "a client that sends on behind its request is read for as long as it likes",
        (
            Change(_SERVER, "if not found or client.read > MOST:", "if not found:"),
            Change(_SERVER, "LINGER = 1.0", "LINGER = 100.0"),
        ),
        (f"{_HEALTH_TESTS}::test_a_client_that_goes_on_after_its_answer_gets_the_answer_and_is_left",),
        hangs=True,
    ),
    Fault(
        "a_head_without_end",
        "the head of a request may be of any length",
        (Change(_SERVER, "if len(head) > HEAD:", "if False:"),),
        (f"{_HEALTH_TESTS}::test_what_is_no_request_is_answered_and_ended",),
        hangs=True,
    ),
    Fault(
        "a_flood_at_once",
        "a flood of connections is taken up as fast as it comes",
        (Change(_SERVER, "if self._accepted >= AT_ONCE:", "if False:"),),
        (f"{_HEALTH_TESTS}::test_a_flood_is_taken_up_slowly_and_nobody_is_lost",),
    ),
    Fault(
        "tries_again_at_once",
        "without a file descriptor the thread tries again at once, and keeps a core busy",
        (
            Change(
                _SERVER,
                "        except OSError:\n            self._pause(now + PAUSE)\n",
                "        except OSError:\n            pass\n",
            ),
        ),
        (f"{_HEALTH_TESTS}::test_without_a_file_descriptor_it_waits_and_goes_on",),
    ),
    Fault(
        "one_error_ends_the_answers",
        "an error of this program ends the answers to all others",
        (
            Change(
                _SERVER,
                "        except Exception as error:  # noqa: BLE001 - whatever it is, the others",
                "        except ZeroDivisionError as error:  # noqa: BLE001 - whatever it is, the others",
            ),
        ),
        (f"{_HEALTH_TESTS}::test_an_error_of_ours_costs_one_client_and_one_line",),
    ),
    # Who answers.
    Fault(
        "the_second_node_answers_too",
        "two nodes of a process take the address from outside",
        (
            Change(
                _GATHERING,
                'ONCE = ("node_id", "binds", "advertise", "services", "health")',
                'ONCE = ("node_id", "binds", "advertise", "services")',
            ),
        ),
        (_FIRST,),
    ),
    Fault(
        "a_tool_answers_as_a_service",
        "a tool answers probes at the address of the service whose profile it uses",
        (Change(_GATHERING, '"spawn_modules", "attach_timeout", "health"', '"spawn_modules", "attach_timeout"'),),
        (_FIRST, _TOOL),
    ),
    Fault(
        "workers_answer_too",
        "a worker answers probes at the address of the process that supervises it",
        (Change(_WORKERS, '"encryption", "health")', '"encryption")'),),
        ("tests/programs/test_workers_command.py::test_workers_run_the_services_and_read_the_secrets_themselves",),
    ),
    Fault(
        "check_without_health",
        "a check does not try to listen where probes are answered",
        (Change("cli/check.py", '    "health": _check_health,\n', ""),),
        ("tests/programs/test_check_command.py::test_all_that_is_wrong_is_said_at_once",),
    ),
    Fault(
        "answers_at_the_port_of_nodes",
        "an address without a port is that of the port at which nodes listen",
        (Change(_CHECKS, "not _WITH_PORT.search(str(value))", "False"),),
        (f"{_HEALTH_TESTS}::test_what_is_no_address_to_answer_at",),
    ),
    # The command.
    Fault(
        "nobody_says_no",
        "when nobody answers, the command says that the node is not ready",
        (Change(_COMMAND, 'raise CommandFailed(CANNOT_JOIN, f"nobody', 'raise CommandFailed(NO, f"nobody'),),
        (f"{_COMMAND_TESTS}::test_a_node_that_answers_on_all_interfaces_is_asked_on_this_machine",),
    ),
    Fault(
        "each_address_has_all_of_the_time",
        "a host name with several silent addresses takes as many times as long as the time says",
        (Change(_COMMAND, "(ends - time.monotonic()) / left", "1.0"),),
        (
            f"{_COMMAND_TESTS}::test_all_addresses_of_a_name_have_one_time",
            f"{_COMMAND_TESTS}::test_a_silent_address_leaves_time_for_the_next_one",
        ),
    ),
    Fault(
        "the_first_address_has_all_of_the_time",
        "when the first address of a name is silent, no other one is asked",
        (Change(_COMMAND, "(ends - time.monotonic()) / left", "ends - time.monotonic()"),),
        (f"{_COMMAND_TESTS}::test_a_silent_address_leaves_time_for_the_next_one",),
    ),
    Fault(
        "a_name_server_has_its_own_time",
        "a name server that is away is waited for, however long the command may take",
        (Change(_COMMAND, "asking.join(max(0.0, ends - time.monotonic()))", "asking.join()"),),
        (f"{_COMMAND_TESTS}::test_a_name_server_that_does_not_answer_takes_no_longer",),
        hangs=True,
    ),
    Fault(
        "another_program_says_no",
        "what another program answers counts as the answer of a node",
        (Change(_COMMAND, "int(found[1]) not in (200, 503)", "False"),),
        (f"{_COMMAND_TESTS}::test_what_is_no_node_says_neither_yes_nor_no",),
    ),
    Fault(
        "a_probe_imports_all",
        "each probe imports Trio and the settings",
        (Change(_COMMAND, "import argparse\n", "import argparse\n\nimport trio\n"),),
        (f"{_COMMAND_TESTS}::test_as_a_process_it_imports_neither_trio_nor_the_settings",),
    ),
)
