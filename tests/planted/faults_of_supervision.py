"""Faults in the rules of a supervisor."""

from __future__ import annotations

from .fault import Change, Fault

_FILE = "_protocol/supervision.py"
_TESTS = "tests/protocol/supervision/test_supervision.py"
_ORDERS = f"{_TESTS}::test_every_order_of_events_keeps_the_rules"
_OTP = "tests/protocol/supervision/test_supervision_otp.py::test_the_same_starts_and_stops_as_otp"

_DRIVER = "_supervision/driver.py"
_REFERENCE = "_supervision/reference.py"
_STATES = "tests/supervision/test_cancelled_in_every_state.py"
_NESTED = "tests/supervision/test_nested.py"
_CHILDREN = "tests/supervision/test_children.py"
_KINDS = "tests/supervision/test_kinds.py"
_MOMENT = "tests/supervision/test_same_moment.py"
_ESCALATION = "tests/supervision/test_escalation.py"
_REFERENCES = "tests/supervision/test_references.py"

SUPERVISION = (
    Fault(
        "starts_while_frozen",
        "rule 6: a child is started although the node is closing",
        (Change(_FILE, "if not (tied and self._doomed) and not self.frozen:", "if not (tied and self._doomed):"),),
        (f"{_TESTS}::test_a_frozen_supervisor_lets_a_start_go_on_and_begins_no_other", _ORDERS),
    ),
    Fault(
        "restarts_while_frozen",
        "rule 6: a death counts, and is to be followed by a restart, although the node is closing",
        (Change(_FILE, "if self.frozen or self.restarts_nothing:", "if self.restarts_nothing:"),),
        (f"{_TESTS}::test_a_frozen_supervisor_starts_nothing_and_stops_all_at_its_end",),
    ),
    Fault(
        "believes_a_start_that_was_stopped",
        "a start that succeeds while it is being stopped counts as one",
        (Change(_FILE, "ChildEvent.STARTED, State.STOPPING)", "ChildEvent.STARTED, State.UP)"),),
        (f"{_TESTS}::test_what_crosses_with_a_stop_is_a_stop", _ORDERS),
    ),
    Fault(
        "forgets_who_waits_with_it",
        "rule 4: with children that are tied together only the one that something has happened to is looked at",
        (
            Change(
                _FILE, "if tied:\n            self._look_at_all()", "if self.ending:\n            self._look_at_all()"
            ),
        ),
        (f"{_TESTS}::test_which_are_restarted", _ORDERS),
    ),
    Fault(
        "restarts_while_others_unwind",
        "rule 4: a child is started while another one, which is tied to it, has not stopped",
        (Change(_FILE, "if not (tied and self._doomed) and", "if not self.ending and"),),
        (f"{_TESTS}::test_a_death_in_the_middle_of_a_restart_begins_it_anew", _ORDERS),
    ),
    Fault(
        "removal_of_a_tied_child_unnoticed",
        "rule 4: a child that is taken out of those that are tied together is not stopped",
        (
            Change(
                _FILE,
                "            self._stale = True\n            self._tidy(child)\n        return",
                "            self._tidy(child)\n        return",
            ),
        ),
        (f"{_TESTS}::test_a_child_that_is_being_taken_out_is_not_started_again_with_others", _ORDERS),
    ),
    Fault(
        "every_step_looks_at_all",
        "each step of a group restart looks at all children, so that a thousand take long",
        (Change(_FILE, "        if self._stale:\n", "        if True:\n"),),
        (f"{_TESTS}::test_a_group_restart_takes_as_long_as_there_are_children",),
    ),
    Fault(
        "stops_the_first_first",
        "rule 4: what depends on others is stopped behind them",
        (Change(_FILE, ", reversed(self._doomed.values())", ", self._doomed.values()"),),
        (f"{_TESTS}::test_which_are_restarted", _ORDERS),
    ),
    Fault(
        "does_not_wait_for_those_before",
        "rule 4: a child is started before the one that it depends on is up",
        (
            Change(
                _FILE,
                "child.delay))\n            if tied:\n                break",
                "child.delay))\n            if tied and not child.wanted:\n                break",
            ),
        ),
        (f"{_TESTS}::test_who_is_tied_to_a_child_that_waits_waits_behind_it", _ORDERS),
    ),
    Fault(
        "counts_what_it_stops",
        "a child that dies while it waits for its turn to be stopped counts as a death of its own",
        (Change(_FILE, "if stopping or child.doomed:\n            # It was", "if stopping:\n            # It was"),),
        (f"{_TESTS}::test_a_death_before_its_turn_to_be_stopped_counts_as_none",),
    ),
    Fault(
        "one_too_many",
        "rule 3: one more restart than the limit allows",
        (Change(_FILE, "if len(self._recent) > self.limit:", "if len(self._recent) > self.limit + 1:"),),
        (f"{_TESTS}::test_too_many_restarts_end_all_in_reverse_and_name_who_it_was", _OTP),
    ),
    Fault(
        "counts_for_ever",
        "rule 3: a restart of long ago counts as well",
        (Change(_FILE, "while self._recent and now - self._recent[0][0] > self.within:", "while False:"),),
        (f"{_TESTS}::test_restarts_of_long_ago_do_not_count",),
    ),
    Fault(
        "keeps_temporary_children",
        "rule 2: a temporary child is started again with the others",
        (Change(_FILE, "if other.restart is Restart.TEMPORARY and not other.new:", "if False:"),),
        (f"{_TESTS}::test_a_temporary_child_is_taken_out_when_it_ends_and_when_others_are_restarted", _OTP),
    ),
    Fault(
        "takes_a_failed_start_for_the_end",
        "rule 1: a start that fails after a restart takes the child out, as the first start does",
        (Change(_FILE, "if stopping or child.new or child.doomed:", "if True:"),),
        (f"{_TESTS}::test_a_start_that_fails_again_counts_as_a_death", _OTP),
    ),
    # The driver --------------------------------------------------------------------------------------------------
    Fault(
        "starts_are_not_shielded",
        "an outer cancellation reaches a start at once, and the child dies before those that depend on it",
        (Change(_DRIVER, "child.scope = trio.CancelScope(shield=True)", "child.scope = trio.CancelScope()"),),
        (f"{_CHILDREN}::test_a_start_is_cancelled_behind_the_children_that_were_added_later",),
    ),
    Fault(
        "node_goes_before_its_block",
        "an outer cancellation reaches the tasks of a node while its block still needs them",
        (
            Change(
                "_ports/lifecycle.py",
                "scope = trio.CancelScope(shield=True)\n        self._scopes",
                "scope = trio.CancelScope()\n        self._scopes",
            ),
        ),
        (
            "tests/supervision/test_one_for_one.py::test_an_outer_cancellation_of_the_node_too",
            f"{_ESCALATION}::test_an_interrupt_in_a_child_is_no_failure_of_it",
        ),
        hangs=True,
    ),
    Fault(
        "dispatcher_ends_with_the_block",
        "after a crash nothing is dispatched while the block is being left: supervisors in it wait for ever",
        (
            Change(
                "_ports/dispatcher.py",
                "while not queue.ended:",
                "while not self.lifecycle.nursery.cancel_scope.cancel_called:",
            ),
        ),
        (f"{_ESCALATION}::test_a_task_of_the_node_that_fails_leaves_no_supervisor_waiting",),
        hangs=True,
    ),
    Fault(
        "dispatcher_ends_with_a_program_that_exits",
        "a handler that leaves the program takes the dispatcher along, and supervisors in the block wait for ever",
        (Change("_ports/dispatcher.py", "except BaseException as error:", "except Exception as error:"),),
        (f"{_ESCALATION}::test_a_handler_that_leaves_the_program_leaves_no_child_behind",),
        hangs=True,
    ),
    Fault(
        "dispatcher_ends_before_the_tasks",
        "the dispatcher of a cancelled node ends while ports unwind, and what these wait for is not dispatched",
        (Change("_ports/lifecycle.py", "if self._stopping and not self._scopes:\n", "if self._stopping:\n"),),
        ("tests/ports/test_tasks.py::test_a_task_that_unwinds_is_served_to_the_end",),
        hangs=True,
    ),
    Fault(
        "failed_task_leaves_others_running",
        "a task of the node that fails leaves those for ever that wait for its work in a shield",
        (Change("_ports/lifecycle.py", "            self.cancel_tasks()\n            raise\n", "            raise\n"),),
        ("tests/ports/test_tasks.py::test_a_task_of_the_node_that_fails_ends_the_others_before_the_block",),
        hangs=True,
    ),
    Fault(
        "network_fails_alone",
        "an error in the network as a whole leaves connections without heartbeats, and those who wait for them",
        (Change("_runtime.py", "            self.lifecycle.cancel_tasks()\n", ""),),
        ("tests/peers/test_own_errors.py::test_an_error_in_the_network_as_a_whole_ends_its_connections",),
        hangs=True,
    ),
    Fault(
        "late_tasks_are_not_stopped",
        "a task that starts while the node is stopped is never cancelled, and the node never ends",
        (Change("_ports/lifecycle.py", "        if self._cancelled:\n            scope.cancel()\n", ""),),
        ("tests/ports/test_tasks.py::test_a_task_that_starts_while_the_node_is_stopped_is_cancelled",),
        hangs=True,
    ),
    Fault(
        "interrupt_leaves_children",
        "an interrupt while the children are being stopped leaves the block without them",
        (Change("_supervision/block.py", "interrupts = [interrupt]\n", "return [interrupt]\n"),),
        (f"{_STATES}::test_interrupted_at_each_step",),
    ),
    Fault(
        "port_does_not_wait_for_its_supervisors",
        "the time of a port is over before the supervisors in it have ended",
        (Change("_ports/lifecycle.py", "for supervisor in tuple(state.supervisors or ()):", "for supervisor in ():"),),
        (f"{_NESTED}::test_a_port_with_a_supervisor_in_it_unwinds_when_that_one_has_ended",),
    ),
    Fault(
        "supervisor_outlives_a_shielded_block",
        "a supervisor goes on when the port around it has died, and only its block hears of that",
        (Change(_DRIVER, "            state.owned[self] = None\n", ""),),
        (f"{_NESTED}::test_its_supervisors_are_stopped_when_a_port_dies_that_shields_its_block",),
    ),
    Fault(
        "outer_supervisor_ends_with_the_inner",
        "the children of a supervisor are stopped before those of one that was opened in its block",
        (Change(_DRIVER, "if not inner:", "if True:"),),
        (
            f"{_NESTED}::test_of_two_supervisors_in_one_port_the_inner_one_ends_first",
            f"{_NESTED}::test_a_node_that_closes_stops_the_outermost_supervisors_in_reverse",
        ),
    ),
    Fault(
        "first_supervisor_first",
        "a node that closes stops the supervisors that others may depend on before those",
        (Change("_runtime.py", "not in self.supervisors][-1]", "not in self.supervisors][0]"),),
        (f"{_NESTED}::test_a_node_that_closes_stops_the_outermost_supervisors_in_reverse",),
    ),
    Fault(
        "closing_node_freezes_nothing",
        "a child is started again while its node closes",
        (Change("_runtime.py", "            supervisor.freeze()\n", "            pass\n"),),
        (f"{_NESTED}::test_a_node_that_closes_restarts_nothing",),
    ),
    Fault(
        "forgets_an_early_end",
        "a life that ends before its supervisor knows that it has started is taken for one that runs",
        (Change(_DRIVER, "if turn.end is not None and turn.life is not None:", "if False:"),),
        (f"{_KINDS}::test_an_end_that_is_reported_before_the_start_has_returned_counts_after_it",),
        hangs=True,
    ),
    Fault(
        "keeps_a_start_that_was_stopped",
        "a start that has succeeded although it was stopped is never stopped",
        (Change(_DRIVER, "if scope.cancel_called:", "if False:"),),
        (f"{_KINDS}::test_a_start_that_has_succeeded_although_it_was_stopped_is_stopped",),
        hangs=True,
    ),
    Fault(
        "starts_a_cancelled_child",
        "a child whose start was cancelled by who has asked for it is kept",
        (Change(_DRIVER, "            await self._withdraw(child)\n", ""),),
        (f"{_CHILDREN}::test_a_start_that_is_cancelled_leaves_nothing",),
    ),
    Fault(
        "epochs_stand_still",
        "two lives have the same epoch when the time of day stands still",
        (Change(_DRIVER, "max(latest + 1, ", "max(latest, "),),
        (f"{_CHILDREN}::test_epochs_are_the_time_of_day_and_rise_when_that_does_not",),
    ),
    Fault(
        "believes_any_epoch",
        "a source of epochs may give a number a second time",
        (Change(_DRIVER, "if epoch <= child.reference.epoch:", "if epoch < child.reference.epoch:"),),
        (f"{_CHILDREN}::test_a_source_that_does_not_rise_is_a_start_that_fails",),
    ),
    Fault(
        "lists_the_dead",
        "the name of a child stands for its last life while it does not run",
        (Change(_DRIVER, "        for each in tuple(turn.owned):\n", "        for each in ():\n"),),
        (f"{_CHILDREN}::test_a_name_in_the_database_is_set_anew_at_each_life",),
    ),
    Fault(
        "restarts_in_the_context_of_a_death",
        "a later life begins with the context variables of whatever has told of the death",
        (Change(_DRIVER, "child.context.run(self._start_soon, ", "self._start_soon("),),
        (f"{_CHILDREN}::test_each_life_begins_with_the_same_context",),
    ),
    Fault(
        "waits_for_a_timer",
        "a supervisor that ends waits until a delay is over that nobody needs any more",
        (Change(_DRIVER, "for scope in self._timers.values():", "for scope in ():"),),
        (f"{_CHILDREN}::test_a_child_that_waits_for_its_restart_can_be_taken_out",),
        hangs=True,
    ),
    Fault(
        "forgets_a_timer_that_has_not_begun",
        "a supervisor that ends in the moment in which a delay begins waits until it is over",
        (
            Change(_DRIVER, "scope = self._timers[until] = trio", "scope = trio"),
            Change(
                _DRIVER,
                "        with scope:\n            await trio.sleep_until",
                "        self._timers[until] = scope\n        with scope:\n            await trio.sleep_until",
            ),
        ),
        (f"{_MOMENT}::test_a_supervisor_ends_in_the_moment_in_which_a_back_off_begins",),
        hangs=True,
    ),
    Fault(
        "monitors_outlive_the_time_between",
        "a reference moves to the next life although a monitor set between two lives has not fired",
        (Change(_REFERENCE, "            self._fire_early(monitors, not_running(last))", "            pass"),),
        (f"{_MOMENT}::test_a_monitor_set_between_two_lives_fires_before_the_next_one_begins",),
    ),
    Fault(
        "starts_fail_as_well",
        "a start in the block fails because the supervisor gives up, which then leaves in a group with that",
        (Change(_DRIVER, "            self.scope.cancel()\n        if key", "            pass\n        if key"),),
        (f"{_ESCALATION}::test_a_start_in_the_block_is_cancelled_when_the_supervisor_gives_up",),
    ),
    # References --------------------------------------------------------------------------------------------------
    Fault(
        "reference_moves_past_monitors",
        "a reference moves to the next life although monitors that were set through it have not fired",
        (Change(_REFERENCE, "self._fire_early(monitors, reason)", "del monitors"),),
        (f"{_KINDS}::test_monitors_through_a_reference_fire_before_it_moves_though_the_port_lives",),
    ),
    Fault(
        "sends_to_a_life_given_up",
        "what is sent between two lives goes to the last one, which may be alive",
        (Change("_runtime.py", "return None, NOWHERE", "return self.route(port.port)"),),
        (f"{_KINDS}::test_what_is_sent_between_two_lives_does_not_go_to_the_one_that_was_given_up",),
    ),
    Fault(
        "loses_without_a_word",
        "what is sent to a child between two lives is lost, and nothing says so",
        (Change(_REFERENCE, "if self._lost == 1:", "if False:"),),
        (f"{_REFERENCES}::test_between_two_lives",),
    ),
    Fault(
        "link_follows_a_child",
        "a link that was set for one life kills a later one",
        (Change("_runtime.py", "            to = to.port\n", "            pass\n"),),
        (f"{_REFERENCES}::test_a_link_to_a_child_kills_the_life_that_there_was",),
    ),
    Fault(
        "monitors_nothing_for_ever",
        "a callback that monitors a child which does not run keeps its node from closing",
        (
            Change(
                "_runtime.py",
                "if self.closing and self.lifecycle.firing:\n            # As for a dead",
                "if False:\n            # As for a dead",
            ),
        ),
        (f"{_REFERENCES}::test_a_callback_that_sets_its_monitor_again_ends_with_the_node",),
        hangs=True,
    ),
)
