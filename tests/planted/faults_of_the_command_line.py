"""Faults in the command line, and in what makes its commands tools."""

from __future__ import annotations

from .fault import Change, Fault

_TOOLS = "tests/services/test_tools.py"
_RULES = "tests/protocol/membership/test_membership.py"

COMMAND_LINE: tuple[Fault, ...] = (
    Fault(
        "tool_counted",
        "programs are told of a tool as if it were a node",
        (
            Change(
                "_services/database.py", "family = TOOLS if self._runtime.settings.tool else NODES", "family = NODES"
            ),
        ),
        (f"{_TOOLS}::test_programs_see_nothing_of_tools_that_come_and_go",),
    ),
    Fault(
        "tool_among_the_peers",
        "a tool is among the nodes that are connected",
        (Change("_peers/network.py", " and not peer.is_tool]", "]"),),
        (f"{_TOOLS}::test_programs_see_nothing_of_tools_that_come_and_go",),
    ),
    Fault(
        "tool_known",
        "a tool is among the nodes that are known",
        (
            Change(
                "_services/membership.py",
                "for peer in self.network.peers.values() if not peer.is_tool]",
                "for peer in self.network.peers.values()]",
            ),
        ),
        (f"{_TOOLS}::test_programs_see_nothing_of_tools_that_come_and_go",),
    ),
    Fault(
        "tools_not_watched",
        "who asks for tools is told of nodes alone",
        (
            Change(
                "_services/nodes.py", "[(NODES, False), (TOOLS, True)] if tools else", "[(NODES, False)] if tools else"
            ),
        ),
        (f"{_TOOLS}::test_who_asks_for_tools_is_told",),
    ),
    Fault(
        "empty_parking_lot",
        "a watch sleeps in a parking lot of its own, because the shared one is empty",
        (
            Change(
                "_services/changes.py",
                "trio.lowlevel.ParkingLot() if news is None else news",
                "news or trio.lowlevel.ParkingLot()",
            ),
        ),
        (f"{_TOOLS}::test_who_asks_for_tools_is_told",),
    ),
    Fault(
        "global_tool",
        "a tool becomes global when another node says so",
        (Change("_protocol/membership/rules.py", "_A_TOOL if self.is_tool else self.permissions", "self.permissions"),),
        (f"{_RULES}::test_a_tool_declines_to_be_global",),
    ),
    Fault(
        "tool_makes_global",
        "a node becomes global because a tool was pointed at it",
        (Change("_protocol/membership/rules.py", "if from_tool and not self.is_global:", "if False:"),),
        (f"{_RULES}::test_a_tool_is_sent_to_the_global_nodes",),
    ),
    Fault(
        "nodes_pushed_out",
        "many tools push out the nodes that are remembered",
        (Change("_services/membership.py", "if not self.network.peer(node_id).is_tool:", "if True:"),),
        (f"{_TOOLS}::test_nothing_is_remembered_of_tools",),
    ),
    Fault(
        "service_of_the_profile",
        "a tool has the node ID and the addresses of the service whose profile it takes",
        (Change("_profiles/gathering.py", 'if self.arguments.get("tool") else {}', "if False else {}"),),
        (f"{_TOOLS}::test_a_tool_takes_the_network_of_a_profile_and_not_its_service",),
    ),
    Fault(
        "nameless_tool",
        "a tool with a certificate has another ID than its certificate names",
        (Change("_node/assembly.py", "settings.node_id or _certified_id(settings) or", "settings.node_id or"),),
        ("tests/services/test_certified_globals.py::test_a_tool_has_the_id_that_its_certificate_names",),
    ),
    Fault(
        "kill_does_not_wait_for_the_death",
        "trio-mp kill says that a port may live whose tasks have not unwound yet",
        (
            Change(
                "cli/talk.py", "        await died.wait()\n", '        await tool.node.call(node_of(port), "info")\n'
            ),
        ),
        ("tests/programs/test_talking.py::test_a_port_is_killed_whose_tasks_take_their_time_to_unwind",),
    ),
)
