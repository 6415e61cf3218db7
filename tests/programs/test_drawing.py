"""Tables, trees and networks as text: what fits, what is left out, and what texts of other nodes cannot do."""

from __future__ import annotations

import argparse
import json
import logging
import unicodedata

import pytest
from hypothesis import given, strategies as st

from trio_mp import BlockStatistics, CallError, NodeStatistics, PeerStatistics
from trio_mp.cli.exits import report
from trio_mp.cli.harmless import MARKS, fit, harmless, harmless_lines, width_of
from trio_mp.cli.joining import HarmlessFormatter, log_to_people
from trio_mp.cli.look.board import TopBoard, draw_board
from trio_mp.cli.look.drawing import (
    DEEPEST,
    Branch,
    Column,
    Line,
    Spanning,
    Tone,
    draw_table,
    draw_tree,
    duration_text,
    fit_line,
    line,
    number_text,
    plain,
    size_text,
)
from trio_mp.cli.look.logs import draw_record
from trio_mp.cli.look.network import (
    MOST,
    SeenConnection,
    SeenNode,
    draw_dot,
    draw_mermaid,
    draw_network,
    join_networks,
)
from trio_mp.cli.look.top import row_of
from trio_mp.cli.output import Output

HOSTILE = "\x1b[2J\x1b]0;mine\x07\r\x08\x9b6n\x00\x7f\u202e\u2066\u200d\ufeff\n\u2028\ud800 ok"
"""It clears the screen, sets the title, goes back, asks for an answer, and changes the direction of writing."""

COLUMNS = (Column("name"), Column("size", right=True), Column("text", rank=1), Column("age", right=True, rank=2))


def texts(lines: list[Line]) -> list[str]:
    return [plain(each) for each in lines]


def is_harmless(text: str) -> bool:
    return text.isprintable()


# Texts of other nodes ----------------------------------------------------------------------------------------------


def test_a_terminal_obeys_nothing_of_a_hostile_text() -> None:
    told = harmless(HOSTILE)
    assert is_harmless(told)
    assert told.endswith(r"\n\u2028\ud800 ok")
    assert told.startswith(r"\x1b[2J\x1b]0;mine\x07\r\x08\x9b6n\x00\x7f\u202e")


@given(st.text())
def test_any_text_becomes_harmless_and_stays_so(text: str) -> None:
    told = harmless(text)
    assert is_harmless(told)
    assert harmless(told) == told
    assert "\n" not in told


@pytest.mark.parametrize("text", ["plain", "naïve", "漢字", "Ωμέγα", "e\u0301", "🙂", "", r"C:\new"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


def test_marks_without_end_take_room() -> None:
    told = harmless("a" + 1000 * "\u0301")
    assert sum(unicodedata.combining(each) > 0 for each in told) == MARKS
    assert width_of(fit(told, 20)) == 20
    # The mark at the beginning would belong to a character of this program.
    assert harmless("\u0301") == r"\u0301"


def test_lines_of_a_text() -> None:
    assert harmless_lines("one\r\ntwo\x1b\n\n") == [r"one\r", r"two\x1b"]


def test_width_counts_what_a_terminal_shows() -> None:
    assert (width_of("ab"), width_of("漢字"), width_of("e\u0301")) == (2, 4, 1)
    assert fit("漢字漢字", 5) == "漢字…"
    assert fit("漢字漢字", 4) == "漢…"
    assert fit("abc", 0) == ""
    assert fit("abc", 1) == "…"


def test_the_line_of_an_error_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.Namespace(verbose=True, quiet=False, json=False)
    assert report(CallError("refused", HOSTILE), arguments) == 4
    assert report(ValueError(HOSTILE), arguments) == 70
    Output(arguments).say(HOSTILE)
    told = capsys.readouterr().err
    assert all(map(is_harmless, told.splitlines()))
    # The line break in the text is no line break here, but for the traceback.
    assert told.splitlines()[0] == f"trio-mp: refused: {harmless(HOSTILE)}"
    assert told.splitlines()[-1] == f"trio-mp: {harmless(HOSTILE)}"


def test_what_v_shows_of_the_log_is_harmless() -> None:
    record = logging.LogRecord("trio_mp", logging.INFO, "", 0, "%s\nforged", (HOSTILE,), None)
    first, *others = HarmlessFormatter("%(message)s").format(record).split("\n")
    assert all(map(is_harmless, (first, *others)))
    assert all(other.startswith("    ") for other in others)


def test_without_v_nothing_of_the_log_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without any handler `logging` prints warnings as they are: those of other nodes, too, that come late.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger("trio_mp"), "handlers", [])
    log_to_people(verbose=False)
    logging.getLogger("an.app").warning(HOSTILE)
    logging.getLogger("trio_mp.port").warning(HOSTILE)
    assert capsys.readouterr().err == ""


def test_rows_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        out = Output(argparse.Namespace(json=as_json))
        out.row({"key": HOSTILE, HOSTILE: [HOSTILE]})
        out.row({"key": 1}, HOSTILE)
        out.table(["key"], [[HOSTILE]])
        out.text(HOSTILE)
    lines = capsys.readouterr().out.splitlines()
    assert all(map(is_harmless, lines))
    assert [json.loads(each) for each in lines[-4:]] == [
        {"key": HOSTILE, HOSTILE: [HOSTILE]},
        {"key": 1},
        {"key": HOSTILE},
        {"text": HOSTILE},
    ]


# Tables ------------------------------------------------------------------------------------------------------------


def test_a_table_wide_and_narrow() -> None:
    rows = [
        [line("first"), line("12"), line("a text that is rather long, and longer still"), line("5 s")],
        [line("second"), line("1,234")],
    ]
    assert texts(draw_table(COLUMNS, rows, 100)) == [
        "name     size  text                                          age",
        "first      12  a text that is rather long, and longer still  5 s",
        "second  1,234",
    ]
    assert texts(draw_table(COLUMNS, rows, 36)) == [
        "name     size  text              age",
        "first      12  a text that is …  5 s",
        "second  1,234",
    ]
    # What is ranked is left out, the greatest rank first.
    assert texts(draw_table(COLUMNS, rows, 30)) == [
        "name     size  text",
        "first      12  a text that is…",
        "second  1,234",
    ]
    assert texts(draw_table(COLUMNS, rows, 20)) == ["name     size", "first      12", "second  1,234"]
    assert texts(draw_table(COLUMNS, rows, 4)) == ["name", "fir…", "sec…"]


def test_a_column_without_a_value_is_left_out() -> None:
    assert texts(draw_table(COLUMNS, [[line("a"), line("1"), (), line("2 s")]], 80)) == [
        "name  size  age",
        "a        1  2 s",
    ]
    assert texts(draw_table(COLUMNS, [], 80)) == ["name  size"]


@given(st.lists(st.lists(st.text(max_size=60), max_size=4), max_size=5), st.integers(min_value=1, max_value=120))
def test_no_line_is_wider_than_the_terminal(rows: list[list[str]], width: int) -> None:
    for each in draw_table(COLUMNS, [[line(cell, Tone.BAD) for cell in row] for row in rows], width):
        assert width_of(plain(each)) <= width
        assert is_harmless(plain(each))


def test_a_line_of_several_pieces_is_cut_in_the_right_one() -> None:
    pieces = line("abc", Tone.BAD) + line("def") + line("ghi")
    assert texts([fit_line(pieces, width) for width in (9, 8, 6, 4, 3, 1, 0)]) == [
        *("abcdefghi", "abcdefg…", "abcde…", "abc…", "ab…", "…", ""),
    ]


def test_a_row_that_spans_the_other_columns() -> None:
    rows = [
        [line("first"), line("1"), line("text"), line("2 s")],
        Spanning(line("w2"), line("nobody knows why it is silent")),
    ]
    assert texts(draw_table(COLUMNS, rows, 80)) == [
        "name   size  text  age",
        "first     1  text  2 s",
        "w2     nobody knows why it is silent",
    ]
    assert texts(draw_table(COLUMNS, rows, 16)) == ["name   size", "first     1", "w2     nobody k…"]


# Boards ------------------------------------------------------------------------------------------------------------


def test_the_board_of_all_nodes() -> None:
    board = TopBoard("me")
    first = NodeStatistics(node="w1", started=1.0, uptime=10.0, messages_in=5, messages_out=7, messages_here=100)
    board.take("w1", first)
    board.take("w2", NodeStatistics(node="w2", started=2.0, uptime=1.0))
    board.take_silence("w3", "unreachable", "a long story")
    # The first picture has no rates.
    assert texts(draw_board(board, "rate", 80)) == [
        "3 nodes, 1 without an answer",
        "",
        "node    up  ports  queued  in/s  out/s  here/s  lost  calls  restarts  delay",
        "w1    10 s      0       0     –      –       –     0      0         0      –",
        "w2     1 s      0       0     –      –       –     0      0         0      –",
        "w3    unreachable",
    ]
    board.take(
        "w2",
        NodeStatistics(
            node="w2",
            started=2.0,
            uptime=3.0,
            messages_in=40,
            messages_out=2,
            messages_here=400,
            waiting=3,
            lost={"transport_error": 4},
            calls_in=2,
            calls_out=1,
            restarts=6,
            delay=0.25,
            ports=12_345,
            peers=(PeerStatistics(node="w1", queued=5), PeerStatistics(node="me", calls_in=1)),
        ),
    )
    # It has run anew: what it has counted began at nothing.
    board.take("w1", NodeStatistics(node="w1", started=9.0, uptime=1.0))
    drawn = texts(draw_board(board, "rate", 90))
    assert drawn[0] == "3 nodes, 220 messages/s, 4 lost, 1 without an answer"
    assert drawn[3].split() == ["w2", "3", "s", "12.3", "k", "8", "20", "1", "200", "4", "2", "6", "250", "ms"]
    assert drawn[4].split()[4:8] == ["0", "–", "–", "–"]
    assert [row.node_id for row in board.sorted_rows("node")] == ["w1", "w2", "w3"]
    assert [row.node_id for row in board.sorted_rows("lost")] == ["w2", "w1", "w3"]
    board.keep_only(["w1"])
    assert list(board.rows) == ["w1"]


def block(seconds: float, ended: float, *peers: str) -> BlockStatistics:
    what = f"blocked {seconds} s at app\x1b.py:40, in take"
    return BlockStatistics(seconds=seconds, what=what, ended=ended, peers=peers)


def test_the_board_shows_loops_that_stood_if_any_has() -> None:
    board = TopBoard("me")
    blocks = (block(18.2, 1005.0, "w2", "w3"), block(15.5, 1065.0))
    board.take("w1", NodeStatistics(node="w1", started=1000.0, uptime=100.0, blocks=blocks))
    board.take("w2", NodeStatistics(node="w2", started=5000.0, uptime=200.0, blocks=(block(16.0, 5000.0, "w1"),)))
    board.take("w3", NodeStatistics(node="w3", uptime=50.0))
    board.take_silence("w4", "unreachable", "a long story")
    assert texts(draw_board(board, "blocked", 100)) == [
        "4 nodes, 1 without an answer",
        "",
        "node          up  ports  queued  in/s  out/s  here/s  lost  calls  restarts  delay  blocked",
        "w1    1 min 40 s      0       0     –      –       –     0      0         0      –     18 s",
        "w2    3 min 20 s      0       0     –      –       –     0      0         0      –     16 s",
        "w3          50 s      0       0     –      –       –     0      0         0      –",
        "w4    unreachable",
        "",
        r"w1 was blocked 15.5 s at app\x1b.py:40, in take, 35 s ago",
    ]
    (row, *_, silent) = board.sorted_rows("blocked")
    assert row_of(row)["blocked"] == 18.2
    assert row_of(row)["blocks"] == [
        {"seconds": 18.2, "what": blocks[0].what, "ended": 1005.0, "peers": ["w2", "w3"]},
        {"seconds": 15.5, "what": blocks[1].what, "ended": 1065.0, "peers": []},
    ]
    assert "blocked" not in row_of(silent)
    # It says which connections it has cost.
    board.keep_only(["w2", "w3"])
    assert texts(draw_board(board, "rate", 100))[-1] == (
        r"w2 was blocked 16.0 s at app\x1b.py:40, in take, 3 min 20 s ago; it has lost the connections with w1"
    )
    for number in range(9):
        board.take(f"x{number}", NodeStatistics(node=f"x{number}"))
    drawn = draw_board(board, "rate", 40, 8)
    assert len(drawn) == 8
    assert all(width_of(text) <= 40 for text in texts(drawn))
    assert texts(drawn)[-1].startswith("w2 was blocked 16.0 s")
    board.keep_only(["w3", "x1"])
    assert "blocked" not in "".join(texts(draw_board(board, "blocked", 100)))


def test_a_board_that_is_too_high() -> None:
    board = TopBoard("me")
    for number in range(30):
        board.take(f"w{number:02}", NodeStatistics(node=f"w{number:02}", uptime=number))
    drawn = texts(draw_board(board, "up", 60, 12))
    assert len(drawn) == 12
    assert drawn[3].startswith("w29")
    assert drawn[-1] == "… and 22 more nodes"
    assert len(draw_board(board, "up", 60, 33)) == 33


# Trees -------------------------------------------------------------------------------------------------------------


def test_a_tree() -> None:
    tree = Branch(
        [line("root"), line("1")],
        [Branch([line("a")], [Branch([line("aa\x1b"), line("12")])]), Branch([line("b"), line("3")])],
    )
    assert texts(draw_tree(COLUMNS[:2], [tree, Branch([line("next")])], 60)) == [
        "name          size",
        "root             1",
        "├─ a",
        r"│  └─ aa\x1b    12",
        "└─ b             3",
        "next",
    ]


def test_a_tree_as_deep_as_another_node_likes() -> None:
    tree = Branch([line("leaf")])
    for level in range(300):
        tree = Branch([line(f"level {level}")], [tree])
    drawn = texts(draw_tree(COLUMNS[:1], [tree], 300, heading=False))
    assert len(drawn) == 301
    assert drawn[-1] == "   " * DEEPEST + "└─ leaf"
    # On a narrow terminal the names have most of the line.
    assert "leaf" in texts(draw_tree(COLUMNS[:1], [tree], 40))[-1]


# Networks ----------------------------------------------------------------------------------------------------------


def connection(first: str, second: str, *queued: int) -> SeenConnection:
    return SeenConnection(first, second, "unix", "secret", dict(zip((first, second), queued, strict=False)), 65.0)


NETWORK = join_networks(
    [
        SeenNode("seed1", True),
        SeenNode("seed2", True),
        SeenNode("w1", False, "seed1"),
        SeenNode("w2", False, "seed2"),
        SeenNode("w3", None, None, "inspection is off"),
    ],
    [
        connection("seed1", "seed2", 0, 0),
        connection("seed1", "w1", 2048),
        # What the other side says of the same connection.
        SeenConnection("seed1", "w1", "unix", "secret", {"w1": 5}, 64.0),
        connection("seed2", "w2", 0, 0),
        connection("w1", "w2", 0, 3 << 20),
        connection("seed2", "w3"),
        connection("seed1", "w9"),
    ],
)


def test_a_network_as_a_tree() -> None:
    assert texts(draw_network(NETWORK, 100)) == [
        "node        kind    connection             queued      since  remark",
        "seed1       global",
        "├─ w1       guest   unix, secret  5 B → ← 2.0 KiB  1 min 4 s",
        "│  └─ ↔ w2          unix, secret        ← 3.0 MiB  1 min 5 s",
        "├─ w9       ?       unix, secret                ?  1 min 5 s  only its peers name it",
        "└─ ↔ seed2          unix, secret              0 B  1 min 5 s",
        "seed2       global",
        "├─ w2       guest   unix, secret              0 B  1 min 5 s",
        "└─ w3       ?       unix, secret                ?  1 min 5 s  inspection is off",
    ]


def test_a_network_on_a_narrow_terminal() -> None:
    drawn = texts(draw_network(NETWORK, 44))
    assert drawn[0].split() == ["node", "connection", "queued"]
    assert [each.split()[0] for each in drawn[1:3]] == ["seed1", "├─"]
    assert max(map(len, drawn)) <= 44


def test_a_node_without_a_global_one_is_a_root_behind_the_others() -> None:
    network = join_networks([SeenNode("alone", None, None, "unreachable"), SeenNode("seed", True)], [])
    assert [each.split()[0] for each in texts(draw_network(network, 80))[1:]] == ["seed", "alone"]


def test_connections_of_one_node_that_are_alike_share_a_line() -> None:
    nodes = [SeenNode("a", True), *(SeenNode(f"g{number}", True) for number in range(9))]
    connections = [connection("a", f"g{number}", 0, 7 if number == 3 else 0) for number in range(9)]
    network = join_networks(nodes, [*connections, connection("g0", "g1")])
    drawn = texts(draw_network(network, 90))
    assert [each.partition("  ")[0] for each in drawn[2:6]] == [
        "├─ ↔ g0, g1, g2, g4, g5, g6 … and 2 more",
        "└─ ↔ g3",
        "g0",
        "└─ ↔ g1",
    ]
    assert "← 7 B" in drawn[3]
    assert MOST == 6
    assert sum("↔" in each for each in texts(draw_network(network, 80, whole=True))) == 10


def test_a_network_for_graphviz() -> None:
    drawn = draw_dot(NETWORK)
    assert drawn[0] == "graph network {"
    assert drawn[-1] == "}"
    assert r'  "seed1" [label="seed1\nglobal", style=bold];' in drawn
    assert r'  "w3" [label="w3\n?\ninspection is off", style=dashed];' in drawn
    assert '  "seed1" -- "w1" [label="unix, secret, 2.0 KiB queued", style=bold];' in drawn
    assert '  "seed1" -- "seed2" [label="unix, secret"];' in drawn


def test_a_network_for_mermaid() -> None:
    drawn = draw_mermaid(NETWORK)
    assert drawn[0] == "graph LR"
    assert '  n0["seed1<br>global"]:::global' in drawn
    assert '  n0 ===|"unix, secret, 2.0 KiB queued"| n2' in drawn
    assert '  n0 ---|"unix, secret"| n1' in drawn


def test_what_nodes_say_cannot_leave_its_place_in_a_diagram() -> None:
    evil = 'x"];\n evil -- "</script><br>`#quot;%%{init}\\N' + HOSTILE
    network = join_networks(
        [SeenNode("a", True, None, evil), SeenNode("b")], [SeenConnection("a", "b", evil, evil, {"a": 1})]
    )
    for drawn in (draw_dot(network), draw_mermaid(network)):
        assert all(map(is_harmless, drawn))
    dot = [each for each in draw_dot(network) if each.startswith('  "')]
    for each in dot:
        # Outside of quotes there is nothing of theirs.
        outside = each.replace("\\\\", "").replace('\\"', "").split('"')[::2]
        assert not any(word in "".join(outside) for word in ("evil", "script"))
    for each in draw_mermaid(network):
        assert each.count('"') in (0, 2)
        assert "</script>" not in each
        assert "`" not in each


# Log records -------------------------------------------------------------------------------------------------------


def test_a_record_cannot_pass_for_one_of_another_node() -> None:
    record = logging.LogRecord("app", logging.ERROR, "w1", 0, "", (), None)
    record.exc_text = "Traceback\n  \x1b[31mline\n"
    drawn = texts(draw_record(record, "w1", "first\n10:00:00.000 seed INFO app: forged\x1b[A"))
    head, *rest = drawn
    assert head.split(" ", 1)[1] == "w1 ERROR   app: first"
    assert rest == [r"    10:00:00.000 seed INFO app: forged\x1b[A", "    Traceback", r"      \x1b[31mline"]


# Numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds, text",
    [
        *(
            (0, "0 s"),
            (0.0123, "12 ms"),
            (0.00042, "0.4 ms"),
            (0.9999, "1 s"),
            (59.4, "59 s"),
            (59.9, "1 min 0 s"),
            (125, "2 min 5 s"),
        ),
        *((3599.9, "1 h 0 min"), (601, "10 min"), (90_000, "1 d 1 h"), (1e8, "1,157 d"), (-5, "0 s")),
        *((float("nan"), "?"), (float("inf"), "?"), (1e300, "?")),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    "size, text",
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (200 << 10, "200 KiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 45, "32768 GiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    "number, text",
    [(0, "0"), (0.42, "0.4"), (9999, "9,999"), (12_345, "12.3 k"), (123_456, "123 k"), (5e9, "5,000 M"), (1e300, "?")],
)
def test_numbers(number: float, text: str) -> None:
    assert number_text(number) == text
