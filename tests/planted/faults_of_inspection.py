"""Faults in inspections: who may see and do what, what pages hold, what a trace changes."""

from __future__ import annotations

from .fault import Change, Fault

_SERVICE = "_inspection/service.py"
_PORTS = "_inspection/ports.py"
_ASKING = "tests/inspection/test_asking.py"
_ACTING = "tests/inspection/test_acting.py"
_PAGES = "tests/inspection/test_ports.py"
_NO_IDS = "tests/inspection/test_no_ids.py"
_TRACING = "tests/inspection/test_tracing.py"
_LOOKUP = "tests/services/test_registered_names.py"

INSPECTION = (
    Fault(
        "ids_for_readers",
        "who may only read sees the IDs of ports",
        (Change(_PORTS, "id=str.__str__(port) if ids else None", "id=str.__str__(port)"),),
        (f"{_ASKING}::test_a_node_shows_its_ports_to_another",),
    ),
    Fault(
        "ids_in_reasons",
        "the reason of a death shows the IDs in it to who may only read",
        (Change(_PORTS, "reason if ids else without_ids(reason)", "reason"),),
        (f"{_NO_IDS}::test_nothing_that_is_shown_holds_an_id",),
    ),
    Fault(
        "ids_in_names_of_tasks",
        "a task is shown by the name that Trio has for it, with the ID of its port",
        (Change("_inspection/tasks.py", "TaskView(name=name,", "TaskView(name=task.name,"),),
        (f"{_NO_IDS}::test_nothing_that_is_shown_holds_an_id",),
    ),
    Fault(
        "ids_in_names_of_supervisors",
        "a supervisor is shown by its name in logs, with the ID of the port that has opened it",
        (Change("_inspection/supervisors.py", '_text(driver.settings.name or "", ids=ids)', "driver.label"),),
        (f"{_NO_IDS}::test_nothing_that_is_shown_holds_an_id",),
    ),
    Fault(
        "ids_in_counts",
        "deaths are counted under texts with IDs in them for who may only read",
        (Change(_SERVICE, "deaths=_without_ids(found.deaths)", "deaths=found.deaths"),),
        (f"{_NO_IDS}::test_nothing_that_is_shown_holds_an_id",),
    ),
    Fault(
        "readers_act",
        "who may only read may also act",
        (Change(_SERVICE, 'self.runtime.settings.inspect == "act"', 'self.runtime.settings.inspect != "off"'),),
        (f"{_ACTING}::test_who_may_only_read_cannot_act",),
    ),
    Fault(
        "inspected_though_off",
        "a node answers questions though its setting is off",
        (Change(_SERVICE, 'if settings.inspect == "off":', "if False:"),),
        (f"{_ASKING}::test_the_default_is_off",),
    ),
    Fault(
        "everybody_inspects",
        "a node answers those whom `inspect_from` does not name",
        (Change(_SERVICE, "if settings.inspect_from and asker not in settings.inspect_from:", "if False:"),),
        (f"{_ASKING}::test_only_those_who_are_named_may_ask",),
    ),
    Fault(
        "kills_without_record",
        "an operator kills a port, and the log of the node does not say so",
        (
            Change(
                _SERVICE,
                '        self._log_act(asker, f"kills the port {asked.number}, {port}: {describe(reason)}")\n',
                "",
            ),
        ),
        (f"{_ACTING}::test_each_act_is_logged_with_the_node_of_the_operator",),
    ),
    Fault(
        "a_page_skips",
        "the first port behind a page is in no page",
        (
            Change(
                "_inspection/ranking.py",
                "return found, place if place < len(self._ports) else None",
                "return found, place + 1 if place < len(self._ports) else None",
            ),
        ),
        (f"{_PAGES}::test_the_longest_queue_comes_first",),
    ),
    Fault(
        "an_order_for_each_page",
        "each page is cut from an order of its own, so a port whose queue grows is shown twice, or never",
        (
            Change(
                _PORTS,
                "        if kept is None:\n            kept = _Kept",
                "        if True:\n            kept = _Kept",
            ),
        ),
        (f"{_PAGES}::test_a_port_that_lives_throughout_appears_once",),
    ),
    Fault(
        "runs_do_not_merge",
        "the sorted runs of ports are given out one after the other",
        (
            Change(
                "_inspection/ranking.py",
                "heapq.heapreplace(self._heads, (keys[following], following, number, at + 1))",
                "self._heads[0] = (keys[following], following, number, at + 1)",
            ),
        ),
        (f"{_PAGES}::test_a_page_is_merged_from_the_runs",),
    ),
    Fault(
        "pages_of_others",
        "a node goes on with the pages of another one",
        (Change(_PORTS, "if kept is None or kept.asker != asker or", "if kept is None or"),),
        (f"{_PAGES}::test_a_node_keeps_few_orders_and_each_for_who_has_asked",),
    ),
    Fault(
        "work_in_one_piece",
        "an inspection does not let others have their turn",
        (Change("_inspection/slices.py", "            await trio.lowlevel.checkpoint()\n", ""),),
        (f"{_PAGES}::test_a_hundred_thousand_ports_stall_nothing",),
    ),
    Fault(
        "any_number_of_questions",
        "one node may have any number of questions in flight",
        (Change(_SERVICE, "if self._in_flight[peer.id] >= MOST_OF_ONE:", "if False:"),),
        (f"{_ASKING}::test_one_node_may_have_few_questions_in_flight",),
    ),
    Fault(
        "older_nodes_are_inspected",
        "a node that does not know the word is asked all the same, and never answers",
        (Change("_services/calls.py", "if not peer.understands(requests.INSPECT):", "if False:"),),
        (f"{_ASKING}::test_an_older_node_is_not_asked",),
    ),
    Fault(
        "traced_for_ever",
        "a trace does not end with its limit",
        (Change("_inspection/tracing.py", "elif self._count - self._dropped >= self._limit:", "elif False:"),),
        (f"{_TRACING}::test_an_operator_sees_the_messages_of_a_port",),
    ),
    Fault(
        "a_flood_is_traced",
        "a trace shows messages as fast as they come, and slows the port",
        (Change("_inspection/tracing.py", "        if self._room < 1:\n            return False\n", ""),),
        (f"{_TRACING}::test_a_flood_is_shown_in_part",),
    ),
    Fault(
        "the_trace_stays",
        "a port goes the long way for ever once it was traced",
        (Change("_inspection/tracing.py", "            state.tracer = None\n", ""),),
        (f"{_TRACING}::test_a_trace_ends_with_its_time",),
    ),
    Fault(
        "traced_by_repr",
        "the text of a traced message is made by the code of the program's objects",
        (
            Change(
                "_inspection/tracing.py",
                '        yield f"<{kind.__module__}.{kind.__qualname__}>"',
                "        yield repr(value)",
            ),
        ),
        (f"{_TRACING}::test_an_operator_sees_the_messages_of_a_port",),
    ),
    Fault(
        "queued_messages_are_not_traced",
        "a trace shows only messages that come while its port is idle",
        (
            Change(
                "_ports/dispatcher.py",
                "            else:\n                if state.tracer is not None:\n",
                "            else:\n                if state.tracer is not None and not state.busy:\n",
            ),
        ),
        (f"{_TRACING}::test_a_traced_port_gets_what_it_would_get",),
    ),
    Fault(
        "any_number_of_lookups",
        "one node may have any number of lookups in flight",
        (
            Change(
                "_peers/node_port.py",
                "if len(self._looking_up.setdefault(peer.id, [])) >= LOOKUPS:",
                "if self._looking_up.setdefault(peer.id, []) is None:",
            ),
        ),
        (f"{_LOOKUP}::test_few_lookups_of_one_node_wait_and_not_for_ever",),
    ),
)
