"""Folders are floors, and imports only go down.

These tests read the source of the checkout and import nothing of it, so they run where the package is not installed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "trio_mp"
SOURCE = Path(__file__).resolve().parents[2] / PACKAGE

# From the ground up. A module stands on the floor that names its first part below `trio_mp`; "" is the package itself.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"_errors", "_events", "_ids", "_reason", "_version"}),
    frozenset({"_ports"}),
    frozenset({"_protocol"}),
    frozenset({"_transport"}),
    frozenset({"_settings"}),
    frozenset({"_profiles"}),
    frozenset({"_peers"}),
    frozenset({"_runtime"}),
    frozenset({"_services"}),
    frozenset({"_channels"}),
    frozenset({"_groups"}),
    frozenset({"_streams"}),
    frozenset({"_supervision"}),
    frozenset({"_workers"}),
    frozenset({"_inspection"}),
    frozenset({"_node"}),
    frozenset({"", "_public", "abc", "lowlevel"}),
    frozenset({"testing"}),
    frozenset({"cli", "__main__"}),
)

# What the pure core may use. A list of what is allowed, so that a module nobody has thought about counts as impure.
PURE_STANDARD = "__future__ abc base64 binascii bisect collections contextlib copy dataclasses datetime decimal enum"
PURE_STANDARD += " fractions functools hashlib heapq hmac itertools json keyword math numbers operator re reprlib"
PURE_STANDARD += " string struct types typing unicodedata"
PURE = frozenset(PURE_STANDARD.split()) | {"cryptography.exceptions", "cryptography.hazmat.primitives", "msgspec"}
IMPURE_BUILTINS = frozenset({"breakpoint", "input", "open", "print", "__import__", "eval", "exec"})

# What a floor below may name for type checkers, and only for them: `Port.node` is the node that users see, which is put
# together above. Nothing of it is imported when the program runs.
NAMED_FROM_BELOW = frozenset({"trio_mp._node.node"})

# The ports know nothing of networks, bytes or peers.
LOCAL = frozenset({"_ports"})
VOCABULARY = frozenset({"_errors", "_events", "_ids", "_reason"})

# Where a concept may be missing: the test prints what is longer. A limit that is met by cutting a file in two makes
# things worse, so it is no gate; twice as much is.
MARKED_MODULE_LINES = 400
MARKED_FUNCTION_LINES = 60


@dataclass(frozen=True)
class Import:
    """One imported name, with the module that it comes from."""

    importer: str
    target: str
    line: int
    inside_function: bool
    commented: bool
    for_types: bool

    @property
    def excepted(self) -> bool:
        return self.for_types and self.target in NAMED_FROM_BELOW

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


@dataclass(frozen=True)
class Module:
    name: str
    is_package: bool
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.name)

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]


def read_modules(source: Path) -> dict[str, Module]:
    """Every module of the package at `source`, by its dotted name."""
    modules: dict[str, Module] = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = Module(name, is_package, path.read_text(encoding="utf-8"))
    return modules


@cache
def package_modules() -> dict[str, Module]:
    return read_modules(SOURCE)


def imports_of(module: Module, modules: Iterable[str]) -> Iterator[Import]:
    """Every import of `module`, those for type checkers and those inside functions too."""
    lines = module.lines
    known = frozenset(modules)

    def walk(node: ast.AST, inside: bool, for_types: bool) -> Iterator[Import]:
        for_types = for_types or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                commented = any("#" in line for line in lines[child.lineno - 1 : child.end_lineno])
                for target in targets(child):
                    yield Import(module.name, target, child.lineno, inside, commented, for_types)
            within = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, within, for_types)

    def targets(statement: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(statement, ast.Import):
            return [alias.name for alias in statement.names]
        base = statement.module or ""
        if statement.level:
            above = module.package.split(".")
            above = above[: len(above) - (statement.level - 1)]
            base = ".".join([*above, *filter(None, [statement.module])])
        # `from package import name`: the submodule if there is one of that name, else the package itself.
        names = [f"{base}.{alias.name}" for alias in statement.names]
        return [name if name in known or not base.startswith(PACKAGE) else base for name in names]

    return walk(module.tree, inside=False, for_types=False)


def all_imports(modules: dict[str, Module]) -> list[Import]:
    return [found for module in modules.values() for found in imports_of(module, modules)]


def is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(PACKAGE + ".")


def floor_of(name: str) -> int | None:
    """The number of the floor, 0 at the bottom; None if the module stands on none."""
    parts = [*name.split("."), ""]
    return next((number for number, floor in enumerate(FLOORS) if parts[1] in floor), None)


def upward(modules: dict[str, Module]) -> list[str]:
    problems: list[str] = []
    for found in all_imports(modules):
        if not is_ours(found.target) or found.excepted:
            continue
        here, there = floor_of(found.importer), floor_of(found.target)
        if here is not None and there is not None and there > here:
            problems.append(f"{found}, which is above it")
    return problems


def cycles(modules: dict[str, Module]) -> list[str]:
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for found in all_imports(modules):
        if is_ours(found.target) and not found.excepted:
            graph[found.importer].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" -> ".join(reversed(error.args[1]))]
    return []


def is_pure(target: str) -> bool:
    parts = target.split(".")
    return any(".".join(parts[:length]) in PURE for length in range(1, len(parts) + 1))


def impurities(modules: dict[str, Module]) -> list[str]:
    core = {name: module for name, module in modules.items() if name.startswith(f"{PACKAGE}._protocol")}
    problems = [
        f"{found}, which is not pure"
        for module in core.values()
        for found in imports_of(module, modules)
        if not is_ours(found.target) and not is_pure(found.target)
    ]
    for name, module in core.items():
        problems += [
            f"{name}:{node.lineno} uses {node.id}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS
        ]
        problems += [
            f"{name}:{number} hides code from the coverage measurement"
            for number, line in enumerate(module.lines, 1)
            if "pragma:" in line
        ]
    return problems


def strangers_to_ports(modules: dict[str, Module]) -> list[str]:
    """Imports of the ports' room that are of another room, or of a package other than Trio."""
    allowed = {f"{PACKAGE}.{name}" for name in VOCABULARY} | {"trio"} | set(sys.stdlib_module_names)
    problems: list[str] = []
    for found in all_imports(modules):
        room = found.importer.split(".")[1:2]
        if not room or room[0] not in LOCAL or found.excepted:
            continue
        within = found.target.split(".")[1:2]
        names = {found.target, found.target.split(".")[0], ".".join(found.target.split(".")[:2])}
        if not (names & allowed or (is_ours(found.target) and within and within[0] in LOCAL)):
            problems.append(f"{found}, which is not of its room")
    return problems


def docstring_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of its docstring: that of `open_node` is a list of all settings, which no concept makes shorter."""
    text, first = ast.get_docstring(function), function.body[0]
    return 0 if text is None else (first.end_lineno or first.lineno) - first.lineno + 1


def oversized(modules: dict[str, Module], times: int = 1) -> list[str]:
    """The modules and functions that are longer than so many times the marks, without the docstrings of functions."""
    problems: list[str] = []
    for name, module in modules.items():
        functions = [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        lines = len(module.lines) - sum(map(docstring_lines, functions))
        if lines > times * MARKED_MODULE_LINES:
            problems.append(f"{name}: {lines} lines")
        for node in functions:
            length = (node.end_lineno or node.lineno) - node.lineno + 1 - docstring_lines(node)
            if length > times * MARKED_FUNCTION_LINES:
                problems.append(f"{name}:{node.lineno} {node.name}: {length} lines")
    return problems


def hidden(modules: dict[str, Module]) -> list[str]:
    return [
        f"{found} inside a function, with no comment that says what it waits for"
        for found in all_imports(modules)
        if found.inside_function and not found.commented
    ]


def report(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_there_is_something_to_check() -> None:
    assert f"{PACKAGE}._protocol.association" in package_modules()


def test_the_ports_know_the_vocabulary_and_trio_alone() -> None:
    report(strangers_to_ports(package_modules()))


def test_every_module_stands_on_a_floor() -> None:
    report([name for name in package_modules() if floor_of(name) is None])


def test_imports_only_go_down() -> None:
    report(upward(package_modules()))


def test_no_import_cycles() -> None:
    report(cycles(package_modules()))


def test_the_vocabulary_uses_the_standard_library_only() -> None:
    ground = [found for found in all_imports(package_modules()) if floor_of(found.importer) == 0]
    outside = [found for found in ground if not is_ours(found.target)]
    report([str(found) for found in outside if found.target.split(".")[0] not in sys.stdlib_module_names])


def test_the_core_is_pure() -> None:
    report(impurities(package_modules()))


def test_no_imports_inside_functions() -> None:
    report(hidden(package_modules()))


def test_pytest_is_for_its_plugin_only() -> None:
    plugin = f"{PACKAGE}.testing.pytest_plugin"
    found = all_imports(package_modules())
    outside = [one for one in found if one.target.split(".")[0] in {"pytest", "pytest_trio", "_pytest"}]
    assert {one.importer for one in outside} == {plugin}
    report([str(one) for one in found if one.target == plugin])


def test_rich_is_for_live_pictures_only() -> None:
    outside = [one for one in all_imports(package_modules()) if one.target.split(".")[0] == "rich"]
    assert {one.importer for one in outside} == {f"{PACKAGE}.cli.demo.live", f"{PACKAGE}.cli.look.live"}


def test_tomlkit_is_for_changing_profiles_only() -> None:
    outside = [one for one in all_imports(package_modules()) if one.target.split(".")[0] == "tomlkit"]
    assert {one.importer for one in outside} == {f"{PACKAGE}._profiles.editing"}


def test_modules_and_functions_are_not_twice_as_long_as_the_mark(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        for one in oversized(package_modules()):
            print(f"\nlonger than the mark, look for the missing concept: {one}", end="")
    report(oversized(package_modules(), times=2))


# The checks themselves, on packages made for the purpose.


def package_of(directory: Path, files: dict[str, str]) -> dict[str, Module]:
    for name, text in files.items():
        path = directory / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_modules(directory / PACKAGE)


@pytest.mark.parametrize(
    "file, text",
    [
        ("_ids.py", "from trio_mp._ports import port"),
        ("_ids.py", "from . import _node"),
        ("_ids.py", "from trio_mp import Node"),
        ("_protocol/handshake/session.py", "from ..._transport.tcp import connect"),
        ("_protocol/handshake/session.py", "from ... import _transport"),
        ("_transport/tcp.py", "import trio_mp._node.node"),
        ("_ports/port.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .._services import calls"),
        ("_node/node.py", "def run():\n    from ..testing import network  # for tests"),
        ("lowlevel.py", "from .cli import main"),
    ],
)
def test_an_import_that_goes_up_is_found(tmp_path: Path, file: str, text: str) -> None:
    names = ["__init__", "_node/__init__", "_ports/__init__", "_ports/port", "_transport/__init__", "_transport/tcp"]
    below = {f"{name}.py": "" for name in names}
    modules = package_of(tmp_path, {**below, file: text})
    assert len(upward(modules)) == 1
    assert all(floor_of(name) is not None for name in modules)


def test_imports_that_go_down_are_not_reported(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from ._node.node import Node\nfrom . import _ids as _ids",
        "_ids.py": "import re",
        "_node/node.py": "from .._ids import x\nfrom .._protocol.handshake.session import y",
        "_protocol/__init__.py": "",
        "_protocol/handshake/__init__.py": "",
        "_protocol/handshake/session.py": "from ... import _ids\nfrom . import events\nimport msgspec.msgpack",
        "_protocol/handshake/events.py": "from dataclasses import dataclass",
    }
    modules = package_of(tmp_path, files)
    assert [upward(modules), cycles(modules), impurities(modules), hidden(modules), oversized(modules)] == [[]] * 5


def test_a_cycle_is_found(tmp_path: Path) -> None:
    ring = {"_node/a.py": "from . import b", "_node/b.py": "from .c import x", "_node/c.py": "import trio_mp._node.a"}
    assert len(cycles(package_of(tmp_path, {"__init__.py": "", **ring}))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "import trio",
        "import os.path",
        "from time import monotonic",
        "from random import random",
        "import cryptography.x509",
        "print('here')",
        "x = 1  # pragma: no cover",
    ],
)
def test_an_impurity_is_found(tmp_path: Path, text: str) -> None:
    assert len(impurities(package_of(tmp_path, {"_protocol/wire/codec.py": text}))) == 1


def test_a_hidden_import_is_found(tmp_path: Path) -> None:
    text = "class A:\n    def f(self):\n        import ssl\n        import rich  # optional\n"
    assert len(hidden(package_of(tmp_path, {"_transport/tcp.py": text}))) == 1


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    body = "    x = 1\n" * MARKED_FUNCTION_LINES
    long_module = "x = 1\n" * (MARKED_MODULE_LINES + 1)
    files = {"_node/node.py": f"async def f():\n{body}", "abc.py": long_module}
    assert len(oversized(package_of(tmp_path, files))) == 2
    assert not oversized(package_of(tmp_path, {"abc.py": long_module}), times=2)
    told = '    """One line.\n' + "    x\n" * MARKED_FUNCTION_LINES + '    """\n'
    assert not oversized(package_of(tmp_path / "told", {"abc.py": f"async def f():\n{told}    return\n"}))


@pytest.mark.parametrize("text", ["from .._protocol.wire import codec", "import msgspec", "from .._peers import peer"])
def test_what_the_ports_must_not_know_is_found(tmp_path: Path, text: str) -> None:
    modules = package_of(tmp_path, {"_protocol/wire/codec.py": "", "_peers/peer.py": "", "_ports/port.py": text})
    assert len(strangers_to_ports(modules)) == 1
    modules = package_of(tmp_path, {"_ports/port.py": "import trio\nfrom .._ids import x\nfrom . import mailbox"})
    assert not strangers_to_ports(modules)


def test_a_module_on_no_floor_is_found() -> None:
    assert floor_of("trio_mp.utilities") is None
    assert floor_of("trio_mp") == floor_of("trio_mp.abc")
