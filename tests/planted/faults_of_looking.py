"""Faults in the commands that look into a network: hostile texts, pictures that say something else, lost lines."""

from __future__ import annotations

from .fault import Change, Fault

_HARMLESS = "cli/harmless.py"
_OUTPUT = "cli/output.py"
_EXITS = "cli/exits.py"
_JOINING = "cli/joining.py"
_DRAWING = "cli/look/drawing.py"
_NETWORK = "cli/look/network.py"
_BOARD = "cli/look/board.py"
_LOGS = "cli/look/logs.py"
_DATABASE = "cli/look/database.py"
_LINKS = "cli/look/links.py"
_PROCESSES = "cli/look/processes.py"
_SHELL = "cli/look/shell.py"
_MEMBERSHIP = "_services/membership.py"
_DRAWN = "tests/programs/test_drawing.py"
_LOOKING = "tests/programs/test_looking.py"
_ASKED = "tests/inspection/test_asking.py"

LOOKING = (
    Fault(
        "marks_without_end",
        "a text of combining marks takes no room, and any length of it is printed",
        (Change(_HARMLESS, "and marks <= MARKS else", "else"),),
        (f"{_DRAWN}::test_marks_without_end_take_room",),
    ),
    Fault(
        "text_obeyed",
        "a terminal obeys the text of a row",
        (
            Change(
                _OUTPUT,
                'harmless("  ".join(map(shown, values.values())) if text is None else text)',
                '"  ".join(map(shown, values.values())) if text is None else text',
            ),
        ),
        (f"{_DRAWN}::test_rows_are_harmless",),
    ),
    Fault(
        "table_obeyed",
        "a terminal obeys the cells of a table",
        (Change(_OUTPUT, "(harmless(shown(value)) for value in row)", "map(shown, row)"),),
        (f"{_DRAWN}::test_rows_are_harmless",),
    ),
    Fault(
        "json_obeyed",
        "a terminal obeys control characters of 8 bits in lines of JSON",
        (Change(_OUTPUT, "    if text.isprintable():\n", "    if text:\n"),),
        (f"{_DRAWN}::test_rows_are_harmless",),
    ),
    Fault(
        "error_obeyed",
        "a terminal obeys the text of an error",
        (Change(_EXITS, 'print(f"trio-mp: {harmless(told)}"', 'print(f"trio-mp: {told}"'),),
        (f"{_DRAWN}::test_the_line_of_an_error_is_harmless",),
    ),
    Fault(
        "log_obeyed",
        "a terminal obeys the log that -v shows",
        (Change(_JOINING, '"\\n    ".join(harmless_lines(super().format(record)))', "super().format(record)"),),
        (f"{_DRAWN}::test_what_v_shows_of_the_log_is_harmless",),
    ),
    Fault(
        "late_record_obeyed",
        "a log record of another node that comes late is printed by `logging`, as it is",
        (Change(_JOINING, "    logging.getLogger().addHandler(logging.NullHandler())\n", ""),),
        (f"{_DRAWN}::test_without_v_nothing_of_the_log_is_shown",),
    ),
    Fault(
        "record_forged",
        "a log record of several lines passes for several records",
        (Change(_LOGS, 'line(f"    {each}", Tone.DIM)', "line(each, Tone.DIM)"),),
        (f"{_DRAWN}::test_a_record_cannot_pass_for_one_of_another_node",),
    ),
    Fault(
        "print_obeyed",
        "a terminal obeys what a line of the shell prints",
        (Change(_SHELL, "self._stream.write(harmless_text(text))", "self._stream.write(text)"),),
        (f"{_LOOKING}::test_a_shell_runs_what_comes_by_a_pipe",),
    ),
    Fault(
        "dot_left",
        "the name of a node leaves its quotes in a file for Graphviz",
        (Change(_NETWORK, """.replace('"', '\\\\"')""", ""),),
        (f"{_DRAWN}::test_what_nodes_say_cannot_leave_its_place_in_a_diagram",),
    ),
    Fault(
        "mermaid_left",
        "the name of a node leaves its label in a diagram for Mermaid",
        (
            Change(
                _NETWORK,
                'character if character.isalnum() or character in " .,:/_-–…" else f"#{ord(character)};"',
                "character",
            ),
        ),
        (f"{_DRAWN}::test_what_nodes_say_cannot_leave_its_place_in_a_diagram",),
    ),
    Fault(
        "wrong_column_left_out",
        "a narrow terminal loses the most important columns first",
        (Change(_DRAWING, "shown.remove(max(droppable", "shown.remove(min(droppable"),),
        (f"{_DRAWN}::test_a_table_wide_and_narrow",),
    ),
    Fault(
        "line_too_wide",
        "a line that is cut is one character too wide",
        (Change(_DRAWING, "fit(each.text, width) if own > width", "each.text + '…' if own > width"),),
        (f"{_DRAWN}::test_no_line_is_wider_than_the_terminal",),
    ),
    Fault(
        "deep_tree_recurses",
        "a tree that is as deep as another node likes takes all the width",
        (Change(_DRAWING, "        level = below[:deepest]\n", "        level = below\n"),),
        (f"{_DRAWN}::test_a_tree_as_deep_as_another_node_likes",),
    ),
    Fault(
        "one_side_believed",
        "of a connection only what one node queues is shown",
        (Change(_NETWORK, "{**before.queued, **each.queued}", "before.queued"),),
        (f"{_DRAWN}::test_a_network_as_a_tree",),
    ),
    Fault(
        "busy_connection_hidden",
        "a connection in which messages wait shares a line with those in which none do",
        (Change(_NETWORK, "and not any(each.queued.values())", "and True"),),
        (f"{_DRAWN}::test_connections_of_one_node_that_are_alike_share_a_line",),
    ),
    Fault(
        "guests_not_said",
        "a node does not say of its guests that they are guests",
        (Change(_MEMBERSHIP, "        if node_id in rules.guests:\n", "        if not node_id:\n"),),
        (f"{_ASKED}::test_a_link_says_what_the_other_node_is_to_this_one",),
    ),
    Fault(
        "tool_in_the_picture",
        "the tool that asks is drawn as a node of the network",
        (Change(_LINKS, "            if link.node in hidden:\n", "            if not link.node:\n"),),
        (f"{_LOOKING}::test_what_is_connected",),
    ),
    Fault(
        "own_question_counted",
        "top counts its own question among the calls in flight",
        (Change(_BOARD, "max(0, statistics.calls_in - asked)", "statistics.calls_in"),),
        (f"{_DRAWN}::test_the_board_of_all_nodes",),
    ),
    Fault(
        "the_first_block_is_the_latest",
        "below the table of all nodes an old block of a loop is shown in place of the latest one",
        (Change(_BOARD, "    block = row.blocks[-1]\n", "    block = row.blocks[0]\n"),),
        (f"{_DRAWN}::test_the_board_shows_loops_that_stood_if_any_has",),
    ),
    Fault(
        "a_line_too_much",
        "a table of all nodes with a loop that stood is higher than the terminal",
        (
            Change(_BOARD, "len(table) + len(tail) + 2 > height", "len(table) + 2 > height"),
            Change(_BOARD, "height - len(tail) - 3", "height - 3"),
        ),
        (f"{_DRAWN}::test_the_board_shows_loops_that_stood_if_any_has",),
    ),
    Fault(
        "rates_of_two_runs",
        "the rates of a node that has run anew are taken from both of its runs",
        (Change(_BOARD, "if after.started != before.started or seconds <= 0:", "if seconds == 0:"),),
        (f"{_DRAWN}::test_the_board_of_all_nodes",),
    ),
    Fault(
        "silent_first",
        "top shows what does not answer before what does",
        (Change(_BOARD, "key=lambda row: row.statistics is None)", "key=lambda row: row.statistics is not None)"),),
        (f"{_DRAWN}::test_the_board_of_all_nodes",),
    ),
    Fault(
        "child_without_tasks",
        "the tasks of a supervised child are shown twice",
        (Change(_PROCESSES, "            supervised.update(map(id, own))\n", ""),),
        (f"{_LOOKING}::test_tasks_and_supervisors",),
    ),
    Fault(
        "supervisors_flat",
        "a supervisor inside another one is drawn beside it",
        (Change(_PROCESSES, "parent is not None and 0 <= parent < number else roots", "number < 0 else roots"),),
        (f"{_LOOKING}::test_tasks_and_supervisors",),
    ),
    Fault(
        "entry_not_kept",
        "db set ends at once, and its entry with it",
        (Change(_DATABASE, "    await trio.sleep(math.inf if seconds is None else seconds)\n", ""),),
        (f"{_LOOKING}::test_an_entry_is_there_as_long_as_the_command_runs",),
    ),
    Fault(
        "hidden_entry_not_said",
        "db set does not say that another node's value is the one that is seen",
        (Change(_DATABASE, "    if seen != value:\n", "    if seen is None:\n"),),
        (f"{_LOOKING}::test_an_entry_that_another_node_hides_is_said",),
    ),
    Fault(
        "records_of_all_shown",
        "logs --node shows the records of all nodes",
        (Change(_LOGS, "(self._wanted and node_id not in self._wanted)", "not node_id"),),
        (f"{_LOOKING}::test_log_records_of_all_nodes",),
    ),
    Fault(
        "block_left_out",
        "the shell leaves out a block at the end of its input",
        (Change(_SHELL, "if not line and not self.buffer:", "if not line:"),),
        (f"{_LOOKING}::test_a_shell_runs_what_comes_by_a_pipe",),
    ),
    Fault(
        "error_of_a_line_forgotten",
        "a shell that reads a pipe ends with 0 although a line has raised",
        (Change(_SHELL, "self.status = OK if self._interactive else NO", "self.status = OK"),),
        (f"{_LOOKING}::test_a_shell_runs_what_comes_by_a_pipe",),
    ),
    Fault(
        "ctrl_c_ends_the_shell",
        "Ctrl-C ends the shell, and not only the line that waits",
        (Change(_SHELL, "                except KeyboardInterrupt:\n", "                except trio.TooSlowError:\n"),),
        (f"{_LOOKING}::test_a_shell_on_a_terminal",),
    ),
)
