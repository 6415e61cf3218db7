"""Every Python block of the README and of the documentation runs, and prints what the page says.

- A fenced `python` block is a program. It runs by itself, in an empty directory of its own. If a fenced `text` block
  follows with nothing in between, that is what it must print.
- `<!-- file: NAME -->` before a `python` block saves it as NAME, and does not run it by itself.
- `<!-- run-together: NAME NAME … -->` runs saved files of the page at the same time, in one directory. If a `text`
  block follows, that is what the last of them must print.
- `<!-- output-of: NAME -->` before a `text` block: that is what NAME printed in the last `run-together`.

Programs can import those in docs/examples. They find a secret for their network in the environment variable SECRET.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LIBRARY = ROOT / "docs" / "examples"
"""Programs that pages show whole, and that others may import."""

TIMEOUT = 60
"""Seconds that the programs of one example may take."""

FENCE = re.compile(r"^(?P<indent> {0,3})(?P<marks>`{3,}|~{3,})\s*(?P<language>[^\s`]*)")
COMMENT = re.compile(r"^<!--\s*(?P<key>[a-z-]+):\s*(?P<value>.*?)\s*-->$")
DIRECTIVES = frozenset({"file", "run-together", "output-of"})


@dataclass(frozen=True)
class Piece:
    """What matters of a page: a fenced block, or a comment that directs this harness, or other text (kind "prose")."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class Example:
    """Programs that run together, and what those named in `expected` must print."""

    place: str
    programs: tuple[str, ...]
    files: Mapping[str, str]
    expected: Mapping[str, str] = field(default_factory=dict)


def pieces_of(text: str) -> Iterator[Piece]:
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if fence := FENCE.match(line):
            close = re.compile(rf"^ {{0,3}}{re.escape(fence['marks'][0])}{{{len(fence['marks'])},}}\s*$")
            body: list[str] = []
            for _, inner in lines:
                if close.match(inner):
                    break
                body.append(inner.removeprefix(fence["indent"]) + "\n")
            yield Piece(fence["language"] or "prose", "".join(body), number)
        elif (comment := COMMENT.match(line.strip())) and comment["key"] in DIRECTIVES:
            yield Piece(comment["key"], comment["value"], number)
        elif line.strip():
            yield Piece("prose", line, number)


def examples_of(name: str, text: str) -> list[Example]:
    """The examples of a page, in order."""
    examples: list[Example] = []
    files: dict[str, str] = {}
    before = Piece("prose", "", 0)
    runs: int | None = None  # where in `examples` the last run-together stands
    for piece in pieces_of(text):
        place = f"{name}:{piece.line}"
        if piece.kind == "python" and before.kind == "file":
            files = {**files, before.text: piece.text}
        elif piece.kind == "python":
            examples.append(Example(place, ("program.py",), {"program.py": piece.text}))
        elif piece.kind == "run-together":
            runs = len(examples)
            examples.append(Example(place, tuple(piece.text.split()), files))
        elif piece.kind == "text" and before.kind == "output-of":
            if runs is None:
                raise ValueError(f"{place}: output of a program that has not run")
            examples[runs] = expecting(examples[runs], before.text, piece)
        elif piece.kind == "text" and before.kind in ("python", "run-together") and examples:
            examples[-1] = expecting(examples[-1], examples[-1].programs[-1], piece)
        before = piece
    for example in examples:
        if missing := set(example.programs) - set(example.files):
            raise ValueError(f"{example.place}: no block is the file {', '.join(sorted(missing))}")
    return examples


def expecting(example: Example, program: str, output: Piece) -> Example:
    if program not in example.programs:
        raise ValueError(f"line {output.line}: {program} is not one of {example.programs}")
    return replace(example, expected={**example.expected, program: output.text})


def run(example: Example, directory: Path) -> None:
    """Run the programs of an example at the same time, and compare what they print.

    The last one must exit with 0; another one may also have been killed, where the page shows just that.
    """
    for name, text in example.files.items():
        (directory / name).write_text(text, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(LIBRARY), environment.get("PYTHONPATH", "")]))
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "SECRET": secrets.token_hex()}
    outputs = {name: directory / f"{name}.output" for name in example.programs}
    errors = {name: directory / f"{name}.errors" for name in example.programs}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    deadline = time.monotonic() + TIMEOUT
    try:
        for name in example.programs:
            command = [sys.executable, "-W", "error", name]
            with outputs[name].open("wb") as output, errors[name].open("wb") as error:
                processes[name] = subprocess.Popen(
                    command,
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=error,
                    start_new_session=True,  # a program may start others: they are ended with it
                )
        for process in processes.values():
            process.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pytest.fail(f"{example.place}: still running after {TIMEOUT} s\n{everything(outputs, errors)}")
    finally:
        for process in processes.values():
            end(process)
    killed = -getattr(signal, "SIGKILL", 0)
    for name, process in processes.items():
        allowed = {0} if name == example.programs[-1] else {0, killed}
        said = everything(outputs, errors)
        assert process.returncode in allowed, f"{example.place}: {name} ended with {process.returncode}\n{said}"
    for name, expected in example.expected.items():
        assert outputs[name].read_text(encoding="utf-8") == expected, f"{example.place}: {everything(outputs, errors)}"


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program, and whatever it has started."""
    process.kill()
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def everything(outputs: Mapping[str, Path], errors: Mapping[str, Path]) -> str:
    parts = [f"--- {path.name}\n{path.read_text('utf-8', 'replace')}" for path in (*outputs.values(), *errors.values())]
    return "\n".join(parts)


def page_examples() -> list[Example]:
    names = [(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")) for page in PAGES if page.exists()]
    return [example for name, text in names for example in examples_of(name, text)]


@pytest.mark.parametrize("example", page_examples(), ids=lambda example: example.place)
def test_example(example: Example, short_directory: Path) -> None:
    run(example, short_directory)


def test_the_readme_names_the_two_commands() -> None:
    pieces = list(pieces_of((ROOT / "README.md").read_text(encoding="utf-8")))
    commands = [line for piece in pieces if piece.kind == "console" for line in piece.text.splitlines()]
    assert "pip install . && trio-mp demo" in commands
    assert "pip install nox && nox" in commands


# The harness itself.

PAGE = """
A page. `inline` and a list:

```python
print("alone")
```

```text
alone
```

```python
import sys
sys.exit({status})
```

But prose stands between, so the next is not compared.

```text
nothing
```

<!-- file: first.py -->
```python
import os, pathlib, signal
print("first")
pathlib.Path("ready").write_text(os.environ["SECRET"])
os.kill(os.getpid(), signal.SIGKILL)
```

<!-- file: last.py -->

```python
import os, pathlib
while not (path := pathlib.Path("ready")).exists() or path.read_text() != os.environ["SECRET"]:
    pass
print("last")
```

<!-- run-together: first.py last.py -->
```text
last
```

and the other one:

<!-- output-of: first.py -->
```text
{first}
```

````text
```python
raise SystemExit("a block inside a block is not a program")
```
````
"""


def test_harness_reads_a_page() -> None:
    alone, other, together = examples_of("page", PAGE)
    assert (alone.place, alone.programs, alone.expected) == ("page:4", ("program.py",), {"program.py": "alone\n"})
    assert (other.place, other.expected) == ("page:12", {})
    assert together.programs == ("first.py", "last.py")
    assert together.expected == {"last.py": "last\n", "first.py": "{first}\n"}


@pytest.mark.skipif(sys.platform == "win32", reason="a page shows SIGKILL")
def test_harness_runs_a_page(short_directory: Path) -> None:
    for number, example in enumerate(examples_of("page", PAGE.format(status=0, first="first"))):
        directory = short_directory / str(number)
        directory.mkdir()
        run(example, directory)


@pytest.mark.skipif(sys.platform == "win32", reason="a page shows SIGKILL")
@pytest.mark.parametrize("index, status, first", [(1, 3, "first"), (2, 0, "other")])
def test_harness_notices_a_wrong_page(short_directory: Path, index: int, status: int, first: str) -> None:
    example = examples_of("page", PAGE.format(status=status, first=first))[index]
    with pytest.raises(AssertionError, match=r"page:\d+"):
        run(example, short_directory)


def test_harness_refuses_a_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no block is the file nowhere\.py"):
        examples_of("page", "<!-- run-together: nowhere.py -->")
