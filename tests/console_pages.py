"""Pages whose console blocks are terminals: each command runs, and prints what stands below it.

In a `console` block `$ ` begins a command of the shell, and what follows is what it prints, on both outputs. A comment
before a block says more:

- `<!-- terminal: NAME -->`: the command runs on in a terminal of that name, and prints these lines, perhaps among
  others. A block without a command shows lines that come there later.
- `<!-- silent: NAME -->`, before prose: that terminal has printed nothing more than the page shows, and runs still.
- `<!-- stop: NAME -->`: the program in that terminal gets SIGTERM, and ends; with `kill` it gets SIGKILL.
- `<!-- status: N -->`: the exit status of the last command of the block, otherwise 0.
- `<!-- not-run -->`: a block for the reader alone.

What differs from run to run is compared by its form: folders, IDs of ports and of nodes without a name, times, sizes,
versions. `…` stands for any text. Commands that only look are asked again until they show what the page shows, for
which a user would wait. Port 4040 of the page is a free one of this machine.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
import trio.lowlevel
from doc_pages import ROOT, pieces_of
from running_programs import Program

FOLDER = "/srv/app"
"""The folder of the pages."""

PORT = "4040"

LIMIT = 400.0
"""For how many seconds a page may run."""

PATIENCE = 60.0
"""For how many seconds a command that only looks may be repeated."""

LOOKS = frozenset({"nodes", "links", "top", "ports", "ps", "health", "doctor", "db", "call"})
"""The commands of `trio-mp` that are repeated until they show what the page shows."""

# What differs from run to run; the first that fits counts.
_CHANGING = (
    (r"[\w/]+#[\w.-]{16,}", r"[\w/]+#[\w.-]+"),
    (r"anon/\w+", r"anon/\w+"),
    (r"trio_mp/\d[\w.+]*", r"trio_mp/\d[\w.+]*"),
    (
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([.,]\d+)?(Z|\+00:00| UTC)?",
        r"\d{4}-\d\d-\d\d[T ][\d:.,]+(Z|\+00:00| UTC)?",
    ),
    (r"\d\d:\d\d:\d\d\.\d{3}", r"\d\d:\d\d:\d\d\.\d{3}"),
    (
        r"(\d+\.\d+( (s|ms|µs|KiB|MiB))?|\b\d+ (s|ms|µs|B|KiB|MiB|days)\b|–)",
        r"(\d+ min( \d+ s)?|[\d.]+( (s|ms|µs|B|KiB|MiB|days))?|–)",
    ),
    (r"at most \d+,", r"at most \d+,"),
    (r"in process \d+", r"in process \d+"),
    (r"─{3,}…?", "─+"),
    (r"…", ".*"),
    (r" +", r" +"),
)
_ANY = re.compile("|".join(f"(?P<k{number}>{pattern})" for number, (pattern, _) in enumerate(_CHANGING)))
_FORMS = {f"k{number}": form for number, (_, form) in enumerate(_CHANGING)}

_COMMENT = re.compile(r"<!-- (terminal|status|not-run|stop|kill|silent)(?:: ([\w-]+))? -->")


@dataclass
class Step:
    """One command of a page, or lines that come in a terminal without one, or the end of a terminal.

    Attributes:
      place: where the page has it.
      command: what is typed; empty if there is none.
      lines: what is printed.
      terminal: where it runs on; empty if it ends.
      status: its exit status.
      ends: the terminal that is stopped.
      by: the signal that stops it.
      silent: the terminal that has said no more than this.
    """

    place: str
    command: str = ""
    lines: list[str] = field(default_factory=list)
    terminal: str = ""
    status: int = 0
    ends: str = ""
    by: signal.Signals = signal.SIGTERM
    silent: str = ""


def steps_of(page: str) -> Iterator[Step]:
    """What a page does, in order."""
    said: dict[str, str] = {}
    for piece in pieces_of((ROOT / page).read_text(encoding="utf-8")):
        place = f"{page}:{piece.line}"
        if piece.kind != "console":
            # Some of these comments direct other harnesses, too: then they are pieces of their own kind.
            text = piece.text.strip() if piece.kind == "prose" else f"<!-- {piece.kind}: {piece.text} -->"
            found = _COMMENT.fullmatch(text)
            said = {found[1]: found[2] or ""} if found else {}
            if ends := said.get("stop") or said.get("kill"):
                yield Step(place, ends=ends, by=signal.SIGKILL if "kill" in said else signal.SIGTERM)
            elif "silent" in said:
                yield Step(place, silent=said["silent"])
            continue
        if "not-run" not in said:
            yield from _steps_of_block(place, piece.text, said)
        said = {}


def _steps_of_block(place: str, text: str, said: Mapping[str, str]) -> Iterator[Step]:
    terminal = said.get("terminal", "")
    steps: list[Step] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append(Step(place, line[2:], terminal=terminal))
        elif steps:
            steps[-1].lines.append(line)
        else:
            steps.append(Step(place, lines=[line], terminal=terminal))
    steps[-1].status = int(said.get("status", "0"))
    yield from steps


def pattern_of(line: str) -> re.Pattern[str]:
    """What fits a line of the page, whatever it is that differs from run to run."""
    parts, end = [], 0
    line = line.rstrip()
    for found in _ANY.finditer(line):
        kind = next(name for name, value in found.groupdict().items() if value is not None)
        parts += [re.escape(line[end : found.start()]), _FORMS[kind]]
        end = found.end()
    return re.compile("".join(parts) + re.escape(line[end:]) + r"\s*")


def agree(shown: list[str], printed: list[str]) -> bool:
    """Whether a command has printed what the page shows."""
    return len(shown) == len(printed) and all(
        pattern_of(line).fullmatch(real) for line, real in zip(shown, printed, strict=True)
    )


class ConsolePage:
    """Runs the commands of one page in a folder, which stands for `FOLDER`.

    Args:
      page: its path in the repository.
      folder: an empty one, with a short path.
      nursery: reads what programs in terminals print.

    Attributes:
      steps: what the page does.
      terminals: the programs that run on.
    """

    def __init__(self, page: str, folder: Path, nursery: trio.Nursery) -> None:
        self.steps = list(steps_of(page))
        self.terminals: dict[str, Program] = {}
        self._nursery = nursery
        self._folder = folder
        self._seen: dict[str, int] = {}
        programs = folder / ".programs"
        programs.mkdir()
        for name, words in (("trio-mp", "-m trio_mp.cli"), ("python", "-W error")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P {words} "$@"\n')
            program.chmod(0o755)
        own = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        self._environment = {
            **own,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "120",
        }
        # `-P` keeps programs from the folder of the script; `PYTHONPATH` names it.
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._port = str(server.getsockname()[1])
        last = ""
        for piece in pieces_of((ROOT / page).read_text(encoding="utf-8")):
            if piece.kind == "file":
                last = piece.text
            elif last:
                (folder / last).write_text(self._real(piece.text), encoding="utf-8")
                last = ""

    async def run(self) -> None:
        """Run all steps, and compare."""
        for step in self.steps:
            await self.do(step)

    async def do(self, step: Step) -> None:
        """Run one step, and compare."""
        if step.ends:
            program = self.terminals.pop(step.ends)
            program.process.send_signal(step.by)
            await program.process.wait()
        elif step.silent:
            program = self.terminals[step.silent]
            told = program.lines[self._seen[step.silent] :]
            assert (program.process.returncode, told) == (None, []), f"{step.place}: {told}"
        elif step.terminal:
            await self._do_in_terminal(step)
        else:
            await self._do_here(step)

    async def _do_in_terminal(self, step: Step) -> None:
        if step.command:
            assert step.terminal not in self.terminals, step.place
            self.terminals[step.terminal] = await self._open(step.command)
            self._seen[step.terminal] = 0
        program, seen = self.terminals[step.terminal], self._seen[step.terminal]
        for line in step.lines:
            # Lines of one block may come in another order, where several nodes say them.
            wanted = f"^{pattern_of(self._real(line)).pattern}$"
            try:
                with trio.fail_after(PATIENCE):
                    found = await program.expect(wanted, seen)
            except trio.TooSlowError:
                raise AssertionError(f"{step.place}: expected {line!r}, got {program.lines[seen:]}") from None
            self._seen[step.terminal] = max(self._seen[step.terminal], found)

    async def _do_here(self, step: Step) -> None:
        words = step.command.split()
        if words[0] == "export":
            for word in shlex.split(self._real(step.command))[1:]:
                name, _, self._environment[name] = word.partition("=")
            return
        looks = any(words[at : at + 1] == ["trio-mp"] and words[at + 1] in LOOKS for at in range(len(words) - 1))
        shown, printed, status = [self._real(line) for line in step.lines], [""], -1
        with trio.move_on_after(PATIENCE):
            while True:
                done = await trio.run_process(
                    self._line(step.command),
                    stdin=subprocess.DEVNULL,
                    capture_stdout=True,
                    stderr=subprocess.STDOUT,
                    check=False,
                    cwd=self._folder,
                    env=self._environment,
                )
                printed, status = done.stdout.decode().splitlines(), done.returncode
                if not looks or (agree(shown, printed) and status == step.status):
                    break
        text = "\n".join(printed)
        assert agree(shown, printed), f"{step.place}: $ {step.command}\n{text}\n(exit status {status})"
        assert status == step.status, f"{step.place}: $ {step.command}\n{text}"

    async def _open(self, command: str) -> Program:
        process = await trio.lowlevel.open_process(
            self._line(f"exec env {command}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            env=self._environment,
        )
        program = Program(process)
        self._nursery.start_soon(program.read)
        return program

    def _line(self, command: str) -> list[str]:
        # Enough open files for `trio-mp doctor`, wherever this runs.
        return ["/bin/sh", "-c", f"ulimit -n 1024; {self._real(command)}"]

    def _real(self, text: str) -> str:
        return text.replace(FOLDER, str(self._folder)).replace(f":{PORT}", f":{self._port}")


@asynccontextmanager
async def open_console_page(page: str, folder: Path) -> AsyncGenerator[ConsolePage, None]:
    """A page to be run for the length of the block; then all that still runs of it is killed."""
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            console = ConsolePage(page, folder, nursery)
            try:
                yield console
            finally:
                with trio.CancelScope(shield=True):
                    for program in console.terminals.values():
                        if program.process.returncode is None:
                            program.process.kill()
                        await program.process.wait()
            nursery.cancel_scope.cancel()
