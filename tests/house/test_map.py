"""The map of the package, docs/architecture.md, follows the source: what it names exists, and it names every room.

A name in backticks belongs to the path in backticks before it, in the same row, list item or paragraph: it must be
defined there. A name that is drawn, in a block, is defined anywhere in the package.

These tests read the source of the checkout and import nothing of it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "trio_mp"
PAGE = ROOT / "docs" / "architecture.md"
ARCHITECTURE = ROOT / "tests" / "house" / "test_architecture.py"

TOKEN = re.compile(r"`([^`]+)`")
DRAWN = re.compile(r"\b[A-Z]\w+(?:\.\w+)?")
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")
COMMANDS = {"trio-mp", "python"}


def units(page: str) -> Iterator[tuple[int, list[str]]]:
    """Each table row, list item, paragraph and line of a drawing: the number of its first line, and what it names."""
    start, text, block = 0, "", False
    for number, line in enumerate([*page.splitlines(), ""], 1):
        fenced = line.startswith("```")
        if fenced or block or not line.strip() or re.match(r"[|#]|- |\d+\. ", line):
            if text:
                yield start, TOKEN.findall(text)
            start, text = number, ""
            block ^= fenced
        if block and not fenced:
            yield number, DRAWN.findall(line)
        elif not fenced:
            start, text = start if text else number, f"{text} {line.strip()}".strip()


def find(path: str, root: Path) -> Path | None:
    """The file or folder that a path of the page stands for."""
    return next((place for place in (root / "trio_mp" / path, root / path) if place.exists()), None)


def names_of(tree: ast.Module) -> Iterator[str]:
    """What a module defines: its own names, and `Class.member` for members, those that are set on `self` too."""
    for name, node in bound(tree.body):
        yield name
        if isinstance(node, ast.ClassDef):
            yield from (f"{name}.{member}" for member, _ in bound(node.body))
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    yield f"{name}.{inner.attr}"


def bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, node
            case ast.Assign(targets=targets):
                for target in targets:
                    yield from ((one.id, node) for one in ast.walk(target) if isinstance(one, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node
            case _:
                pass


@cache
def defined_in(place: Path) -> frozenset[str]:
    """What a module defines, or all modules of a folder."""
    files = place.rglob("*.py") if place.is_dir() else [place] if place.suffix == ".py" else []
    return frozenset(name for file in files for name in names_of(ast.parse(file.read_text(encoding="utf-8"))))


def run_by(command: str, root: Path) -> Path | None:
    """The file that a command on the page runs."""
    match command.split():
        case ["trio-mp"]:
            return find("cli/parser.py", root)
        case ["trio-mp", command, *_]:
            rows = "".join(file.read_text(encoding="utf-8") for file in (root / "trio_mp/cli/parsing").glob("*.py"))
            return find("cli/parser.py", root) if re.search(rf'"{command}[ "]', rows) else None
        case ["python", "-m", module, *_]:
            return find(f"{module.replace('.', '/')}.py", root) or find(module.replace(".", "/"), root)
        case ["python", script, *_]:
            return find(script, root)
        case _:
            return None


def missing(page: str, root: Path) -> list[str]:
    """What the page names, and the source does not have."""
    problems: list[str] = []
    for line, tokens in units(page):
        place = root / "trio_mp"
        for token in tokens:
            if token.split()[0] in COMMANDS:
                if run_by(token, root) is None:
                    problems.append(f"line {line}: expected a command whose program exists, got {token}")
            elif found := find(token, root):
                place = found
            elif not NAME.fullmatch(token) or token.endswith((".py", ".md")):
                problems.append(f"line {line}: expected a path of this repository, got {token}")
            elif token not in defined_in(place):
                where = place.relative_to(root)
                problems.append(f"line {line}: expected a name that {where} defines, got {token}")
    return problems


def rooms(package: Path) -> set[str]:
    """The folders with modules, below the package, and the modules directly in it, as the page calls them."""
    folders = {path.parent.relative_to(package).as_posix() for path in package.rglob("*.py")} - {"."}
    return folders | {path.name for path in package.glob("*.py")}


def unnamed(page: str, package: Path) -> list[str]:
    named = {token.rstrip("/") for _, tokens in units(page) for token in tokens}
    return sorted(rooms(package) - named)


def floors_of(source: str) -> list[set[str]]:
    """The floors of `FLOORS`, from the ground up, without the modules that the package does not have."""
    for node in ast.parse(source).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id="FLOORS"), value=ast.Tuple(elts=floors)):
                return [set(ast.literal_eval(floor.args[0])) for floor in floors if isinstance(floor, ast.Call)]
            case _:
                pass
    raise AssertionError("expected FLOORS in test_architecture.py, got a file without it")


def floors_on(page: str) -> list[set[str]]:
    """The floors as the first table of the page shows them, from the ground up, in the words of `FLOORS`."""
    table = page.split("| --- |", 1)[1].split("\n\n", 1)[0]
    cells = [row.split("|")[1] for row in table.splitlines()[1:]]
    shown = [{token.removesuffix(".py").replace("__init__", "") for token in TOKEN.findall(cell)} for cell in cells]
    return shown[::-1]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_what_the_map_names_exists() -> None:
    assert missing(read(PAGE), ROOT) == []


def test_the_map_names_every_room() -> None:
    assert unnamed(read(PAGE), PACKAGE) == []


def test_the_map_shows_the_floors_in_their_order() -> None:
    parts = {name.removesuffix(".py").replace("__init__", "") for name in rooms(PACKAGE)}
    floors = [floor & parts for floor in floors_of(read(ARCHITECTURE))]
    assert floors_on(read(PAGE)) == [floor for floor in floors if floor]


# That these checks can fail ------------------------------------------------------------------------------------------

SOURCE = "class A:\n    kind = 1\n\n    def f(self) -> None:\n        self.x = 1\n\n\nTABLE: dict = {}\nB, C = 1, 2\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {"_low/a.py": SOURCE, "_low/deep/b.py": "def g(): ...", "top.py": "", "cli/parser.py": ""}
    for name, text in files.items():
        path = tmp_path / "trio_mp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "page",
    [
        "`_low/a.py` `A`, `A.f`, `A.x`,\n`A.kind`, `TABLE` and `C`",
        "- `_low` `g`\n- `trio_mp/_low/deep/b.py` `g`",
        "| `top.py` | A is no name here |\n",
        "```text\nA.f ──> A    the sender\n```",
        "`trio-mp`, `python trio_mp/top.py`, `python -m trio_mp.top --list`",
    ],
)
def test_what_exists_is_not_reported(root: Path, page: str) -> None:
    assert missing(page, root) == []


@pytest.mark.parametrize(
    "page, token",
    [
        ("`_low/c.py`", "_low/c.py"),
        ("`gone.py`", "gone.py"),
        ("`_low/a.py` `A.g`", "A.g"),
        ("`_low/a.py` `x`", "x"),
        ("`_low/a.py` `A`, then\n`_low/deep/b.py` `A`", "A"),
        ("| `_low/a.py` `A` |\n| `top.py` `A` |", "A"),
        ("- `top.py` `C`\n", "C"),
        ("`python -m gone`", "python -m gone"),
        ("`python gone.py`", "python gone.py"),
        ("`Nobody`", "Nobody"),
        ("```text\nA.f ──> Nobody.f\n```", "Nobody.f"),
    ],
)
def test_what_does_not_exist_is_found(root: Path, page: str, token: str) -> None:
    (problem,) = missing(f"# Map\n\n{page}", root)
    assert problem.endswith(f"got {token}")


def test_a_room_without_a_name_is_found(root: Path) -> None:
    assert unnamed("`_low`, `cli` and `top.py`", root / "trio_mp") == ["_low/deep"]
    assert unnamed("`_low`, `cli` and `_low/deep`", root / "trio_mp") == ["top.py"]


def test_floors_are_read_from_both() -> None:
    page = "| room |\n| --- | --- |\n| `cli` | c |\n| `__init__.py`, `abc.py` | d |\n| `_low` | l |\n\ntext"
    assert floors_on(page) == [{"_low"}, {"", "abc"}, {"cli"}]
    assert floors_of('FLOORS: X = (frozenset({"_low"}), frozenset({"", "abc"}))') == [{"_low"}, {"", "abc"}]
