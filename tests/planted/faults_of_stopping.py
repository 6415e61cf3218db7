"""Faults in how a program stops in good order: by signals, by an operator, and to start again."""

from __future__ import annotations

from .fault import Change, Fault

_SIGNALS = "_node/signals.py"
_DRIVER = "_supervision/driver.py"
_DRAIN = "_services/drain.py"
_OPENING = "_node/opening.py"
_DEPLOYED = "cli/deployed.py"
_WORKERS = "cli/workers.py"
_SERVICE = "_inspection/service.py"
_RULES = "_protocol/supervision.py"
_KIND = "_supervision/process_kind.py"
_CHILD = "_node/child.py"
_TESTS = "tests/node/test_signals.py"
_ENDING = "tests/inspection/test_ending.py"
_RUN_TESTS = "tests/programs/test_run_command.py"
_WORKERS_TESTS = "tests/programs/test_workers_command.py"
_RULES_TESTS = "tests/protocol/supervision/test_supervision.py"
_FIRST = f"{_TESTS}::test_the_first_signal_drains_cancels_the_block_and_the_program_goes_on"
_SECOND = f"{_TESTS}::test_a_second_sigterm_cancels_now_and_a_third_one_is_no_more_ours"
_NOTHING = f"{_TESTS}::test_nothing_comes_and_the_handlers_are_restored"
_DRAINS_ONCE = f"{_WORKERS_TESTS}::test_workers_are_nodes_of_the_network_and_each_drains_once_whoever_is_told_to_stop"
_ROLLING = "tests/programs/test_rolling_restart.py::test_a_rolling_restart"
_AGAIN = f"{_WORKERS_TESTS}::test_a_worker_is_started_again_when_an_operator_says_so"

_LEAVES = "            if error is None and self.begun.is_set() and not self.over.is_set():\n"

_LEFT = f"{_WORKERS_TESTS}::test_an_operator_hears_what_all_workers_have_left"

STOPPING = (
    # Workers.
    Fault(
        "workers_do_not_say_what_they_left",
        "`trio-mp stop` of the process that supervises workers does not name what they left unfinished",
        (Change(_WORKERS, "tell=tell, report=report)", "tell=tell)"),),
        (_LEFT,),
    ),
    Fault(
        "killed_workers_left_nothing",
        "a worker that is killed while it drains seems to have left nothing",
        (Change(_WORKERS, "    if is_expected(process.reason):\n", "    if True:\n"),),
        (_LEFT,),
    ),
    # Signals.
    Fault(
        "blocks_outlive_their_nodes",
        "a block whose node has closed holds all other blocks of the process",
        (
            Change(
                _SIGNALS,
                "            self.over.set()\n            STOPPING_PROCESS.settle()\n\n    def _cut",
                "            pass\n\n    def _cut",
            ),
        ),
        (
            f"{_TESTS}::test_a_block_that_outlives_its_node_holds_no_other_one",
            f"{_TESTS}::test_a_block_whose_node_has_closed_is_cancelled_when_a_signal_comes",
        ),
    ),
    Fault(
        "signal_cuts_the_node",
        "a signal cancels the node, too, so that what the program sends last is lost",
        (
            Change(
                _SIGNALS,
                "        self._scope.cancel()\n",
                "        self._node._runtime.lifecycle.nursery.cancel_scope.cancel()\n",
            ),
        ),
        (_FIRST, f"{_RUN_TESTS}::test_sigterm_has_the_program_unwind_and_what_it_sends_goes_out"),
    ),
    Fault(
        "signal_drains_nothing",
        "a signal cancels the block at once",
        (Change(_SIGNALS, "            self.unfinished = (await self._drain()).unfinished\n", "            pass\n"),),
        (_FIRST, _ROLLING),
    ),
    Fault(
        "drains_for_ever",
        "the drain that a signal begins has no end of its own",
        (Change(_SIGNALS, "        self._patience.deadline = trio.current_time() + self._seconds\n", ""),),
        (f"{_TESTS}::test_when_the_time_is_up_the_log_names_what_was_unfinished",),
        hangs=True,
    ),
    Fault(
        "ctrl_c_kept",
        "a second Ctrl-C does not end a program that blocks Trio",
        (Change(_SIGNALS, "        self._restore(signal.SIGINT)\n", ""),),
        (f"{_TESTS}::test_sigint_has_its_own_handler_again_at_once",),
    ),
    Fault(
        "sigterm_kept",
        "a program that does not unwind cannot be ended by SIGTERM",
        (Change(_SIGNALS, "            self._restore(signal.SIGTERM)\n", "            pass\n"),),
        (_SECOND, f"{_RUN_TESTS}::test_a_second_sigterm_ends_a_program_that_does_not_unwind"),
    ),
    Fault(
        "second_signal_unheard",
        "a second SIGTERM does not cut the drain short",
        (Change(_SIGNALS, "            block._run_soon(self._cut)\n", "            pass\n"),),
        (_SECOND,),
    ),
    Fault(
        "handlers_kept",
        "a block that is left goes on hearing signals",
        (Change(_SIGNALS, "            for number in tuple(self._before):\n", "            for number in ():\n"),),
        (_NOTHING,),
    ),
    Fault(
        "late_signal_swallowed",
        "a signal that comes while the last block is left is lost",
        (Change(_SIGNALS, "                signal.raise_signal(missed)\n", "                pass\n"),),
        (f"{_TESTS}::test_a_signal_while_the_last_block_is_left_comes_again_to_the_handler_from_before",),
    ),
    Fault(
        "late_signal_stays",
        "a signal that comes while the last block is left has the next one drain at once",
        (
            Change(
                _SIGNALS,
                "        if not self._hearers:\n            return\n        self._missed",
                "        self._missed",
            ),
        ),
        (f"{_TESTS}::test_nothing_begins_when_nobody_hears",),
    ),
    Fault(
        "children_swallow_sigterm",
        "a forked child of a program that stops on signals is not ended by SIGTERM",
        (Change(_SIGNALS, "os.register_at_fork(after_in_child=STOPPING_PROCESS.forget)\n", ""),),
        (f"{_TESTS}::test_a_forked_child_ends_by_sigterm",),
    ),
    Fault(
        "foreign_handler_replaced",
        "leaving the block takes away the handler that the program has set in it",
        (
            Change(
                _SIGNALS,
                "        if before is not None and signal.getsignal(number) == self._handle:\n",
                "        if before is not None:\n",
            ),
        ),
        (f"{_TESTS}::test_a_handler_that_the_program_has_set_meanwhile_stays",),
    ),
    Fault(
        "ignored_is_heard",
        "a program in the background of a shell stops by the Ctrl-C that is for another one",
        (Change(_SIGNALS, "before is signal.SIG_IGN:", "before is None:"),),
        (f"{_TESTS}::test_an_ignored_sigint_stays_ignored",),
    ),
    Fault(
        "first_block_takes_the_others",
        "the block whose node has drained first is cancelled, with the nodes in it that still drain",
        (
            Change(
                _SIGNALS,
                "        if self._blocks and all(block.over.is_set() for block in self._blocks):\n",
                "        if self._blocks and any(block.over.is_set() for block in self._blocks):\n",
            ),
        ),
        (f"{_TESTS}::test_all_nodes_of_the_process_drain_before_the_first_block_is_cancelled",),
    ),
    Fault(
        "inner_node_cut",
        "a node inside another one's block closes without flushing, because both blocks are cancelled",
        (Change(_OPENING, "elif runtime.ends_in_order and", "elif False and"),),
        (f"{_TESTS}::test_a_node_inside_another_closes_in_good_order_although_both_are_cancelled",),
    ),
    Fault(
        "cancelled_nursery_cut",
        "a node whose block is left by a group of cancellations closes without flushing",
        (Change(_SIGNALS, "        return error.split(trio.Cancelled)[1] is None\n", "        return False\n"),),
        (f"{_TESTS}::test_a_node_inside_another_closes_in_good_order_although_both_are_cancelled",),
    ),
    Fault(
        "early_signal_lost",
        "a signal that comes while a command opens its node is forgotten",
        (Change(_SIGNALS, "            self._cause = self._cause or name\n", "            pass\n"),),
        (f"{_TESTS}::test_a_block_that_is_entered_after_a_signal_drains_at_once",),
        hangs=True,
    ),
    Fault(
        "opening_waits_on",
        "a signal does not reach a command whose node waits for its network",
        (Change(_SIGNALS, "            self._opening.cancel()\n", "            pass\n"),),
        (f"{_TESTS}::test_a_signal_while_a_command_opens_its_node",),
    ),
    Fault(
        "closing_is_cut",
        "a signal cuts a node that is closing",
        (Change(_SIGNALS, "        self._opening = None\n        self._blocks", "        self._blocks"),),
        (f"{_TESTS}::test_a_signal_while_a_command_closes_its_node",),
    ),
    Fault(
        "left_while_it_drains",
        "a program that ends by itself while its node drains does not wait for the drain",
        (Change(_SIGNALS, _LEAVES, "            if False:\n"),),
        (f"{_TESTS}::test_a_program_that_ends_by_itself_while_it_drains_waits_for_the_drain",),
    ),
    Fault(
        "left_behind_the_drain",
        "who leaves a block that a drain has just cancelled is cancelled in the leaving, outside of the block",
        (Change(_SIGNALS, _LEAVES, _LEAVES.replace(" and not self.over.is_set()", "")),),
        (f"{_TESTS}::test_a_block_may_be_left_as_soon_as_it_is_over",),
    ),
    Fault(
        "missed_children_end_the_program",
        "a permanent child that dies in a drain has `Supervisor.wait` return, and what still drains is left",
        (Change(_DRIVER, "if self._rules.misses_permanent and self.runtime.standing.drains:", "if False:"),),
        (f"{_TESTS}::test_a_child_that_is_not_restarted_does_not_end_the_supervisor_around_its_own",),
    ),
    Fault(
        "wait_is_not_woken",
        "a supervisor does not notice that the drain has ended, and its `wait` does not return",
        (Change(_DRAIN, "                    supervisor.drain_ended()\n", "                    pass\n"),),
        ("tests/supervision/test_children.py::test_wait_returns_when_the_drain_has_ended",),
        hangs=True,
    ),
    Fault(
        "exception_waits_for_the_drain",
        "an exception leaves the block of a node that drains only when the drain has ended",
        (
            Change(
                _SIGNALS,
                _LEAVES,
                _LEAVES.replace("error is None and ", ""),
            ),
        ),
        (f"{_TESTS}::test_an_exception_does_not_wait_for_the_drain",),
    ),
    Fault(
        "cut_short_is_well",
        "the exit status does not say that the drain was cut short",
        (Change(_SIGNALS, "or int(self.cut_short)", "or 0"),),
        (f"{_TESTS}::test_when_the_time_is_up_the_log_names_what_was_unfinished",),
    ),
    # Operators.
    Fault(
        "reader_stops_nodes",
        "who may only look into a node can stop it",
        (Change(_SERVICE, '        self._check_may_act(asker, f"to {what} the node")\n', ""),),
        (f"{_ENDING}::test_who_may_only_read_ends_nothing",),
    ),
    Fault(
        "reader_drains_nodes",
        "who may only look into a node can have it drain",
        (Change(_SERVICE, '        self._check_may_act(asker, "to drain the node")\n', ""),),
        (f"{_ENDING}::test_who_may_only_read_ends_nothing",),
    ),
    Fault(
        "restart_into_nothing",
        "a process that nobody starts again is ended all the same",
        (Change(_SERVICE, "if asked.restart and not (door.restarter or asked.force):", "if False:"),),
        (f"{_ENDING}::test_nobody_would_start_it_again",),
        hangs=True,
    ),
    Fault(
        "shells_are_services",
        "a program in a terminal believes that systemd starts it again",
        (Change(_SIGNALS, "    if own and (", "    if ("),),
        (f"{_TESTS}::test_who_starts_a_process_again",),
    ),
    Fault(
        "restart_ends_well",
        "a process that is to start again ends with the status 0, and stays away",
        (Change(_OPENING, "    if runtime.exit_status is not None:\n", "    if False:\n"),),
        (f"{_ENDING}::test_a_node_that_is_to_start_again_closes_and_then_leaves_by_status_75",),
    ),
    # Starting again.
    Fault(
        "restart_counts",
        "rule 8: a child that asks to be started again uses up the restarts of its supervisor",
        (
            Change(
                _RULES,
                "            self._restart(child, now, jitter, counts=False)\n",
                "            self._restart(child, now, jitter)\n",
            ),
        ),
        (f"{_RULES_TESTS}::test_a_child_that_asks_to_be_started_again_does_not_count", _AGAIN),
    ),
    Fault(
        "restart_of_the_temporary",
        "rule 8: a temporary child is started again when it asks for it",
        (Change(_RULES, "        elif again and child.restart is not Restart.TEMPORARY:\n", "        elif again:\n"),),
        (f"{_RULES_TESTS}::test_which_children_are_started_again_when_they_ask_for_it",),
    ),
    Fault(
        "status_75_unheard",
        "a worker that asks to be started again stays away, because it has ended well",
        (Change(_KIND, "            if process.returncode == RESTART_STATUS:\n", "            if False:\n"),),
        (_AGAIN,),
        hangs=True,
    ),
    # Workers.
    Fault(
        "workers_cancelled",
        "the workers of a command are cancelled and do not drain",
        (Change(_WORKERS, "START_TIMEOUT, drains=True)", "START_TIMEOUT)"),),
        (_DRAINS_ONCE,),
    ),
    Fault(
        "worker_stops_twice",
        "a worker that has heard SIGTERM itself is cut short when its supervisor stops it",
        (
            Change(
                _CHILD,
                '            STOPPING_PROCESS.begin("the supervisor")\n',
                "            signal.raise_signal(signal.SIGTERM)\n",
            ),
            Change(_CHILD, "import trio\n", "import signal\n\nimport trio\n"),
        ),
        (_DRAINS_ONCE,),
    ),
    Fault(
        "cut_is_not_passed_on",
        "a second Ctrl-C does not reach the workers, which drain on",
        (
            Change(
                _WORKERS,
                "            if kind.process is not None and not kind.process.ended.is_set():\n",
                "            if False:\n",
            ),
        ),
        (f"{_WORKERS_TESTS}::test_a_second_ctrl_c_stops_the_workers_now",),
        hangs=True,
    ),
)
