"""Plain text of the commands: lines, tables, and the line that says how far a command is."""

from __future__ import annotations

from io import BytesIO, StringIO, TextIOWrapper

import pytest

from trio_mp.cli.text import NARROWEST, Screen, Table


class Terminal(StringIO):
    """An output that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def make_table() -> Table:
    table = Table(("workload", "median"), right=frozenset({1}), title="a machine", caption="all of it")
    table.add("local")
    table.add("  into a handler", "3.32 M")
    table.add_rule()
    table.add("remote", "85.8 µs\n86")
    return table


def test_a_table() -> None:
    assert make_table().draw().split("\n") == [
        "a machine",
        "workload           median",
        "─────────────────────────",
        "local",
        "  into a handler   3.32 M",
        "─────────────────────────",
        "remote            85.8 µs",
        "                       86",
        "all of it",
    ]


@pytest.mark.parametrize("width", [80, 40, 30])
def test_a_table_is_not_wider_than_the_terminal(width: int) -> None:
    table = Table(("what", "and why"))
    table.add("word " * 20, "a reason " * 20)
    table.add("  an indented one " * 3, "x" * 50)
    text = table.draw(width)
    assert max(map(len, text.split("\n"))) <= width
    assert text.count("reason") == 20
    assert text.replace("\n", "").count("x") == 50
    indented = text.split("\n  an indented", 1)[1].split("\n")[1:]
    assert indented
    assert all(line.startswith("  ") for line in indented)


def test_columns_are_not_narrower_than_words_need() -> None:
    table = Table(("one", "two", "three"))
    table.add(*["y" * 100] * 3)
    assert {len(cell) for cell in table.draw(5).split("\n")[-1].split()} <= {100 % NARROWEST, NARROWEST}


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal, file = Terminal(), StringIO()
    for out in (terminal, file):
        screen = Screen(out)
        screen.say("1 of 2")
        screen.say("2 of 2")
        screen.print("done")
        screen.print("and over")
    assert terminal.getvalue() == "1 of 2\r\x1b[K2 of 2\r\x1b[Kdone\nand over\n"
    assert file.getvalue() == "done\nand over\n"


def test_a_terminal_that_cannot_erase_is_shown_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    Screen(terminal).say("1 of 2")
    assert not terminal.getvalue()


def test_an_encoding_without_a_sign_is_no_reason_to_fail() -> None:
    bytes_out = BytesIO()
    out = TextIOWrapper(bytes_out, "ascii")
    Screen(out).print("85 µs")
    assert bytes_out.getvalue() == b"85 ?s\n"
