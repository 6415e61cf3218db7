"""Every Python block of the README and of the documentation runs, and prints what the page says.

- A fenced `python` block is a program. It runs by itself, in an empty directory of its own. If a fenced `text` block
  follows with nothing in between, that is what it must print.
- `<!-- file: NAME -->` before a `python` block saves it as NAME, and does not run it by itself.
- `<!-- run-together: NAME NAME … -->` runs saved files of the page at the same time, in one directory. If a `text`
  block follows, that is what the last of them must print.
- `<!-- run-services: NAME ARGUMENT …, NAME …, NAME … -->` runs saved files at the same time, with arguments, one of
  them perhaps several times. The last one has to end by itself, and what it prints is compared in the same way. The
  others are services, which run for ever: none of them may have ended by itself when it ends, and they are killed then.
- `<!-- output-of: NAME -->` before a `text` block: that is what NAME printed in the last `run-together`.

Programs can import those in docs/examples. They find a secret for their network in the environment variable SECRET.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from doc_pages import ROOT, Example, examples_of, pieces_of

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LIBRARY = ROOT / "docs" / "examples"
"""Programs that pages show whole, and that others may import."""

TIMEOUT = 60
"""Seconds that the programs of one example may take."""


def run(example: Example, directory: Path) -> None:
    """Run the programs of an example at the same time, and compare what they print.

    The last one must exit with 0; another one may also have been killed, where the page shows just that. Services must
    not have ended by themselves.
    """
    for name, text in example.files.items():
        (directory / name).write_text(text, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(LIBRARY), environment.get("PYTHONPATH", "")]))
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "SECRET": secrets.token_hex()}
    numbered = list(enumerate(example.programs))
    outputs = {number: directory / f"{number} {name}.output" for number, name in numbered}
    errors = {number: directory / f"{number} {name}.errors" for number, name in numbered}
    processes: list[subprocess.Popen[bytes]] = []
    deadline = time.monotonic() + TIMEOUT
    try:
        for number, name in numbered:
            command = [sys.executable, "-W", "error", *name.split()]
            with outputs[number].open("wb") as output, errors[number].open("wb") as error:
                process = subprocess.Popen(
                    command,
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=error,
                    start_new_session=True,  # a program may start others: they are ended with it
                )
                processes.append(process)
        for process in processes[-1:] if example.services else processes:
            process.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pytest.fail(f"{example.place}: still running after {TIMEOUT} s\n{everything(outputs, errors)}")
    finally:
        for process in processes:
            end(process)
    killed = -getattr(signal, "SIGKILL", 0)
    said = everything(outputs, errors)
    for (number, name), process in zip(numbered, processes, strict=True):
        allowed = {0} if process is processes[-1] else {killed} if example.services else {0, killed}
        assert process.returncode in allowed, f"{example.place}: {name} ended with {process.returncode}\n{said}"
        if name in example.expected:
            printed = outputs[number].read_text(encoding="utf-8")
            assert printed == example.expected[name], f"{example.place}: {said}"


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program, and whatever it has started."""
    process.kill()
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def everything(outputs: Mapping[int, Path], errors: Mapping[int, Path]) -> str:
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


SERVICES = """
<!-- file: service.py -->
```python
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
if {stays}:
    time.sleep(60)
```

<!-- file: last.py -->
```python
import pathlib
while not (pathlib.Path("a").exists() and pathlib.Path("b").exists()):
    pass
print("last")
```

<!-- run-services: service.py a, service.py b, last.py -->
```text
{printed}
```
"""


@pytest.mark.skipif(sys.platform == "win32", reason="services end by SIGKILL")
def test_harness_runs_services(short_directory: Path) -> None:
    (example,) = examples_of("page", SERVICES.format(stays=True, printed="last"))
    assert example.programs == ("service.py a", "service.py b", "last.py")
    run(example, short_directory)


@pytest.mark.skipif(sys.platform == "win32", reason="services end by SIGKILL")
def test_harness_notices_what_is_wrong_with_services(short_directory: Path) -> None:
    (example,) = examples_of("page", SERVICES.format(stays=True, printed="first"))
    with pytest.raises(AssertionError, match=r"page:\d+"):
        run(example, short_directory)


def test_harness_refuses_a_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no block is the file nowhere\.py"):
        examples_of("page", "<!-- run-together: nowhere.py -->")
