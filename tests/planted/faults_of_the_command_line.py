"""Faults in the command line, and in what makes its commands tools."""

from __future__ import annotations

from .fault import Change, Fault

_TOOLS = "tests/services/test_tools.py"
_TALKING = "tests/programs/test_talking.py"
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
    Fault(
        "nobody_asked_behind",
        "send says that a message was delivered as soon as it is on its way",
        (
            Change(
                "cli/talk.py",
                '            await tool.node.call(node_of(port), "info")\n',
                "            await trio.sleep(0)\n",
            ),
        ),
        (f"{_TALKING}::test_a_message_to_a_dead_port",),
    ),
    Fault(
        "killed_unasked",
        "kill kills a port without --yes",
        (Change("cli/talk.py", "if not arguments.yes:", "if False:"),),
        (f"{_TALKING}::test_wrong_arguments_are_one_line",),
    ),
    Fault(
        "profile_over_the_option",
        "a variable decides where the command line gives the setting",
        (
            Change(
                "_profiles/gathering.py",
                "[command_line or {}, variables_layer(environ)]",
                "[variables_layer(environ), command_line or {}]",
            ),
        ),
        (f"{_TALKING}::test_settings_of_the_command_line_decide",),
    ),
    Fault(
        "failures_unsaid",
        "a command that cannot join does not say what was wrong with the addresses",
        (Change("cli/joining.py", '"; ".join(f"{name}: {why}" for name, why in network.failures.items())', '""'),),
        (f"{_TALKING}::test_a_network_that_cannot_be_joined_is_named",),
    ),
    Fault(
        "heavy_parser",
        "the parser imports Trio",
        (Change("cli/parser.py", "from . import exits\n", "import trio\nfrom . import exits\n"),),
        ("tests/programs/test_cli.py::test_the_parser_imports_neither_trio_nor_the_package",),
    ),
    Fault(
        "heavy_package",
        "the package loads all that it offers before anybody wants it",
        (Change("__init__.py", "if not TYPE_CHECKING:\n", "if not TYPE_CHECKING:\n    from . import _public\n"),),
        ("tests/programs/test_cli.py::test_the_package_alone_imports_neither_trio_nor_its_parts",),
    ),
    Fault(
        "our_error_is_a_no",
        "an error of the command itself looks like the answer no",
        (Change("cli/exits.py", "            return OUR_ERROR\n", "            return NO\n"),),
        (f"{_TALKING}::test_an_error_of_our_own_says_how_to_report_it",),
    ),
    Fault(
        "our_error_hides",
        "a command that has no -v shows nothing of an error of its own",
        (Change("cli/exits.py", 'getattr(arguments, "verbose", True)', 'getattr(arguments, "verbose", False)'),),
        (f"{_TALKING}::test_a_command_without_verbose_shows_an_error_of_our_own_at_once",),
    ),
    Fault(
        "option_with_one_address",
        "an option takes commas for a part of an address, as no variable does",
        (
            Change(
                "cli/options.py",
                'for text in given for one in cast("list[object]", texts.words(text))]',
                "for one in given]",
            ),
        ),
        (f"{_TALKING}::test_settings_of_the_command_line_decide",),
    ),
    Fault(
        "comma_in_a_text",
        "a list is written with commas between its texts although one of these has a comma",
        (
            Change(
                "_settings/texts.py",
                "return joined if not _LIST.match(joined) and words(joined) == list(value) else in_toml(value)",
                "return joined if not _LIST.match(joined) else in_toml(value)",
            ),
        ),
        ("tests/settings/test_texts.py::test_a_list_is_written_as_it_is_read",),
    ),
    Fault(
        "unnamed_secret_file",
        "a node that dials with another secret does not say in which file its own is",
        (Change("_peers/network.py", "            if self.local.keys_from:\n", "            if False:\n"),),
        ("tests/peers/test_secret_file.py::test_two_files_that_differ_are_both_named",),
    ),
    Fault(
        "unnamed_secret_file_when_dialled",
        "a node that refuses another secret does not say in which file its own is",
        (
            Change(
                "_protocol/handshake/handshake.py",
                ' if self.local.keys_from else ""\n',
                ' if not self.local.keys_from else ""\n',
            ),
        ),
        ("tests/protocol/handshake/test_handshake_admits.py::test_who_refuses_a_secret_says_in_which_file_its_own_is",),
    ),
    Fault(
        "help_to_nobody",
        "a help that nobody reads ends with an error of Python's",
        (Change("cli/parser.py", "print(text, flush=True)", "print(text)"),),
        (f"{_TALKING}::test_nobody_reads_at_all",),
    ),
    Fault(
        "files_not_completed",
        "the shell offers options where a file is expected",
        (Change("cli/completion.py", "if action.type is Path or action.metavar in FILES:", "if False:"),),
        ("tests/programs/test_completion.py::test_bash_offers",),
    ),
)
