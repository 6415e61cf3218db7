"""Run flake8-async, with its rules 9xx, over the async functions of the package: `python async_rules.py`.

Ruff knows some of its rules, but none that follow checkpoints through a function. flake8-async walks each file several
times, two minutes for the package. So it gets copies here in which everything else than imports and async functions is
blank, on the same lines: seconds.

ASYNC910 and ASYNC911, a path without a checkpoint, are looked for in functions that users call. Inside the package the
way that needs no waiting goes without one on purpose: a checkpoint is a place to be cancelled in, with something half
done, and costs a pass of the scheduler. What the rules cannot see: they take every await for a checkpoint, and that of
a function of the package may be none.

`async_exemptions.txt` names what is right as it is, with the reason. An exemption that nothing needs any more is an
error, too.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).resolve().parents[1] / "trio_mp"

OPTIONAL = ("ASYNC900", "ASYNC910", "ASYNC911", "ASYNC912", "ASYNC913")
FOR_USERS_ONLY = frozenset({"ASYNC910", "ASYNC911"})
LEFT_OUT = ("ASYNC109", "ASYNC124", "ASYNC300")
"""The first is off in pyproject.toml, which says why. The others are about speed and asyncio, and cost a walk each."""

JOBS = 2

EXEMPTIONS = Path(__file__).with_name("async_exemptions.txt")
"""A line for each: file in the package, function, rule, and why what the rule finds there is right."""


# Copies ---------------------------------------------------------------------------------------------------------------


def kept_lines(statements: Iterable[ast.stmt]) -> Iterator[range]:
    """The lines of imports and of async functions, with the headers of the classes around them."""
    for statement in statements:
        first = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", []))])
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield range(first, (statement.end_lineno or first) + 1)
        elif any(isinstance(each, ast.AsyncFunctionDef) for each in ast.walk(statement)):
            if isinstance(statement, ast.ClassDef):
                yield range(first, statement.body[0].lineno)
                yield from kept_lines(statement.body)
            else:
                yield range(first, (statement.end_lineno or first) + 1)


def reduce(source: str) -> str:
    """A copy of a module in which only imports and async functions are left, on their lines; "" if it has none."""
    tree = ast.parse(source)
    if not any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(tree)):
        return ""
    lines = source.splitlines()
    kept = {number for part in kept_lines(tree.body) for number in part}
    return "".join(f"{line if number in kept else ''}\n" for number, line in enumerate(lines, 1))


# Findings -------------------------------------------------------------------------------------------------------------


class Finding(NamedTuple):
    """What flake8-async says of a line."""

    file: str
    line: int
    function: str
    rule: str
    text: str


def function_at(tree: ast.AST, line: int) -> str:
    """The name of the innermost function or class around a line, with those around it; `(module)` outside of all."""
    name = "(module)"

    def walk(node: ast.AST, names: tuple[str, ...]) -> None:
        nonlocal name
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if child.lineno <= line <= (child.end_lineno or child.lineno):
                    name = ".".join((*names, child.name))
                    walk(child, (*names, child.name))
            else:
                walk(child, names)

    walk(tree, ())
    return name


def is_for_users(function: str, public: frozenset[str]) -> bool:
    """Whether users call a function: it is public, or a public member of a public class."""
    parts = function.split(".")
    return parts[0] in public and not any(re.match(r"_(?!_)", part) for part in parts)


def public_names(package: Path) -> frozenset[str]:
    """The names in the doors of a package, as their sources import them."""
    doors = [package / name for name in ("__init__.py", "abc.py", "lowlevel.py", "testing/__init__.py")]
    imports = [
        node
        for door in doors
        if door.exists()
        for node in ast.walk(ast.parse(door.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
    ]
    return frozenset(alias.asname or alias.name for node in imports for alias in node.names)


def read_exemptions(text: str) -> set[tuple[str, str, str]]:
    """The file, the function and the rule of each exemption. Raises ValueError for a line without a reason."""
    exempt: set[tuple[str, str, str]] = set()
    for number, line in enumerate(text.splitlines(), 1):
        match = re.fullmatch(r"(\S+) (\S+) (ASYNC\d+): \S.{8,}", line)
        if match is None:
            raise ValueError(f"exemption {number}: expected FILE FUNCTION RULE: WHY, got {line!r}")
        exempt.add((match[1], match[2], match[3]))
    return exempt


def judge(found: Iterable[Finding], public: frozenset[str], exempt: Iterable[tuple[str, str, str]]) -> list[str]:
    """What is wrong: findings without an exemption, and exemptions without a finding.

    Args:
      public: see `public_names`.
      exempt: of each exemption file, function and rule.
    """
    known = frozenset(exempt)
    used: set[tuple[str, str, str]] = set()
    wrong: list[str] = []
    for each in found:
        if each.rule in FOR_USERS_ONLY and not is_for_users(each.function, public):
            continue
        key = (each.file, each.function, each.rule)
        used.add(key)
        if key not in known:
            wrong.append(f"trio_mp/{each.file}:{each.line}: {each.rule} in {each.function}: {each.text}")
    for file, function, rule in sorted(known - used):
        wrong.append(f"trio_mp/{file}: expected {rule} in {function}, got none: take the exemption out")
    return wrong


def run_linter(folder: Path, files: list[str]) -> str:
    """What flake8-async says of files in a folder. Raises RuntimeError if it has not looked at them."""
    options = ("--disable-noqa", "--disable=" + ",".join(LEFT_OUT), "--enable=" + ",".join(("ASYNC", *OPTIONAL)))
    command = (sys.executable, "-P", "-m", "flake8_async", *options)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder}
    running = [subprocess.Popen([*command, *files[job::JOBS]], **pipes) for job in range(min(JOBS, len(files)))]
    said = [process.communicate() for process in running]
    for process, (_, errors) in zip(running, said, strict=True):
        if errors or process.returncode not in {0, 1}:
            raise RuntimeError(f"flake8-async: exit status {process.returncode}\n{errors}")
    return "".join(output for output, _ in said)


def look(package: Path) -> list[Finding]:
    """Run flake8-async over the async functions of a package."""
    sources = {path.relative_to(package).as_posix(): path.read_text("utf-8") for path in package.rglob("*.py")}
    with tempfile.TemporaryDirectory() as name:
        copies = {file: copy for file, source in sorted(sources.items()) if (copy := reduce(source))}
        for file, copy in copies.items():
            path = Path(name) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(copy, encoding="utf-8")
        said = run_linter(Path(name), list(copies))
    found: list[Finding] = []
    for shown in said.splitlines():
        match = re.fullmatch(r"([^:]+):(\d+):\d+: (ASYNC\d+) (.*)", shown)
        if match is None:
            raise RuntimeError(f"flake8-async: expected FILE:LINE:COLUMN: RULE …, got {shown!r}")
        file, line = match[1], int(match[2])
        found.append(Finding(file, line, function_at(ast.parse(sources[file]), line), match[3], match[4]))
    return sorted(found)


def main() -> int:
    """Check the package in this checkout; returns the exit status."""
    exempt = read_exemptions(EXEMPTIONS.read_text(encoding="utf-8"))
    wrong = judge(look(PACKAGE), public_names(PACKAGE), exempt)
    for each in wrong:
        print(each)
    print(f"flake8-async: {len(wrong)} wrong, {len(exempt)} exempt")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
