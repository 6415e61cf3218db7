"""The pages that are made from the code, by `docs/reference.py`: they are as the code is, and say all of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import reference

from trio_mp._reason import Reason
from trio_mp.cli.parser import all_commands, parser_of

DOCS = reference.ROOT / "docs"


@pytest.mark.parametrize("path", [path for path, _ in reference.files()], ids=lambda path: path.name)
def test_the_page_is_as_the_code_is(path: Path) -> None:
    fill = dict(reference.files())[path]
    text = path.read_text(encoding="utf-8")
    assert fill(text) == text, f"write it with `{reference.COMMAND}`"


def test_each_part_has_its_place() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    for name in reference.BLOCKS:
        assert text.count(f"<!-- begin: {name} -->") == text.count(f"<!-- end: {name} -->") == 1, name


def test_what_differs_is_written_and_a_check_only_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    before = "Above.\n\n<!-- begin: loggers -->\nold\n<!-- end: loggers -->\n\nBelow.\n"
    page.write_text(before, encoding="utf-8")
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    assert reference.main(["--check"]) == 1
    assert page.read_text(encoding="utf-8") == before
    assert "page.md: differs" in capsys.readouterr().out
    assert reference.main([]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Above.")
    assert text.endswith("Below.\n")
    assert "| `trio_mp.port` |" in text
    assert reference.main(["--check"]) == 0


def test_reasons_are_shown_in_the_form_that_they_have() -> None:
    shown = reference.reasons_table()
    for make in reference.reason_makers():
        reason: Reason = reference.example_of(make)
        assert shown.count(f'| `("{reason[0]}"') == 1
        assert make.__doc__
        assert make.__doc__.startswith("The reason "), make.__name__


SAMPLE = """
import logging

log = logging.getLogger("trio_mp")
port_log = logging.getLogger("trio_mp.port")

def plain():
    log.info("a")
    port_log.exception("b")
    other.warning("not a logger of this module")

async def computed(quiet):
    level = logging.DEBUG if quiet else logging.ERROR
    port_log.log(level, "c")

def handed_on():
    complain("x", log, "d")
    complain(*("x", port_log, "e"), level=logging.CRITICAL)
"""


def test_the_levels_of_a_logger_are_found_however_its_lines_are_written() -> None:
    tree = ast.parse(SAMPLE)
    assert reference.loggers_of(tree) == {"log": "trio_mp", "port_log": "trio_mp.port"}
    assert {*reference.levels_in(tree, "log")} == {"INFO", "WARNING"}
    assert {*reference.levels_in(tree, "port_log")} == {"CRITICAL", "DEBUG", "ERROR"}


def test_all_loggers_of_the_package_are_found() -> None:
    named = set()
    for path in reference.PACKAGE.rglob("*.py"):
        named |= {
            *re.findall(r"^\w+ = logging\.getLogger\(\"(trio_mp[\w.]*)\"\)", path.read_text("utf-8"), re.MULTILINE)
        }
    assert named == {*reference.ABOUT}


def test_each_command_is_shown_with_what_its_help_says() -> None:
    shown = reference.commands_text()
    for command in all_commands():
        section = shown.partition(f"### `trio-mp {command.name}`\n")[2].partition("\n### ")[0]
        assert command.example.strip() in section
        for action in parser_of(command)._actions:
            for option in action.option_strings:
                if option.startswith("--") and option != "--help":
                    assert option in section or re.search(rf"^\| .*`{option}\b", shown, re.MULTILINE), option
