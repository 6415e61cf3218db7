"""Faults in what a node says of itself to who asks from outside: whether it is ready, and whether it lives."""

from __future__ import annotations

from .fault import Change, Fault

_STANDING = "_peers/standing.py"
_MEMBERSHIP = "_services/membership.py"
_REDIALLER = "_services/redialler.py"
_OPENING = "_node/opening.py"
_DEPLOYED = "cli/deployed.py"
_RUNTIME = "_runtime.py"
_GATHERING = "_profiles/gathering.py"
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
                '        """\n        self.standing.begin_closing()\n        if not',
                '        """\n        if not',
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
            Change(_MEMBERSHIP, "seed.looked_up and all(one.was_tried or", "all(one.was_tried or"),
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
        (Change(_MEMBERSHIP, "                self._looked_up(seed)\n                await", "                await"),),
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
                "                    await _attach(node, checked.attach_timeout)\n"
                "                    start_services(node, services)\n",
                "                    start_services(node, services)\n"
                "                    await _attach(node, checked.attach_timeout)\n",
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
        (Change(_GATHERING, '"spawn_modules", "attach_timeout"', '"spawn_modules"'),),
        ("tests/services/test_tools.py::test_a_tool_takes_the_network_of_a_profile_and_not_its_service",),
    ),
)
