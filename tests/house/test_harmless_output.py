"""Texts of other nodes reach a terminal by `Output`, which makes them harmless: no command prints past it.

This test reads the source of the checkout and imports nothing of it, so it runs where the package is not installed.
"""

from __future__ import annotations

import ast
from pathlib import Path

COMMANDS = Path(__file__).resolve().parents[2] / "trio_mp" / "cli"

PRINTERS: dict[str, str] = {
    "joining.py": "it sets up the log of -v, by a formatter that makes records harmless",
    "look/shell.py": "it replaces the standard output by a harmless one for the operator's own lines",
}
"""Modules that print all the same, each with the reason why nothing of other nodes gets to a terminal as it came."""


def printing(source: str) -> list[int]:
    """The lines in which a module prints, or reaches for what prints."""
    found: list[int] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case (
                ast.Name(id="print" | "Screen" | "Console")
                | ast.Attribute(attr="stdout" | "stderr" | "print_exception" | "print_exc")
            ):
                found.append(node.lineno)
            case _:
                pass
    return sorted(found)


def joins(source: str) -> bool:
    """Whether a module has to do with commands that join a network, and so with what other nodes say."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return any((node.module or "").split(".")[-1] == "joining" for node in imports)


def test_commands_that_join_print_by_output_alone() -> None:
    sources = {
        path.relative_to(COMMANDS).as_posix(): path.read_text(encoding="utf-8") for path in COMMANDS.rglob("*.py")
    }
    modules = {name: printing(source) for name, source in sources.items() if joins(source) or name in PRINTERS}
    assert len(modules) > 5
    assert {name: lines for name, lines in modules.items() if lines and name not in PRINTERS} == {}
    assert [name for name in PRINTERS if not modules[name]] == []


def test_what_prints_is_found() -> None:
    source = "import sys\nprint(1)\nsys.stdout.write('x')\nScreen().print('x')\ntraceback.print_exc()\nout.row({})\n"
    assert printing(source) == [2, 3, 4, 5]
