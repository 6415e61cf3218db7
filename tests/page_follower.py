"""Do what pages of the documentation say, from top to bottom, and compare everything that their programs print.

    PYTHONPATH=tests python -m page_follower PAGE …

follows the pages, in their order, in one empty folder with a home folder and an environment of its own. It prints each
step; at the first one that goes wrong it says what was expected, and its exit status is 1. It needs Trio and an
installed trio_mp, whose commands stand beside the interpreter; it does not need pytest. With `--requirements` it prints
what the pages have pip install, and does nothing. `page_steps.py` says how a page directs it.

The next line of a terminal must be the next one that the page shows for it: there may be none between, and none left at
the end. Two kinds of commands are special. `pip install` is checked, and not run. A command that looks at a network is
repeated until it shows what the page shows, as a reader would do, because nodes need a moment to find each other.

IDs of ports, numbers of processes, and the home folder differ from run to run. They may be anything, but one ID on a
page is one port, also in the commands that name it. Of what `trio-mp` prints, times and sizes differ as well, and
columns have other widths.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import trio
from doc_pages import ROOT
from page_steps import LEFT_OUT, PageError, Step, changed, check_requirement, is_pip, requirements_of, steps_of
from running_programs import Program

STEP_LIMIT = 60.0
"""For how many seconds one step may take, on a machine that does much else."""

HOME = "/home/ruth"
"""The home folder on the pages."""

PORT = re.compile(r"\b([\w/-]+)#[\w.-]{16,}")
RANDOM_NODE = re.compile(r"\banon/\w{10,}\b")
PROCESS = re.compile(r"\bprocess (\d+)\b")
UNIT = r" (?:B|KiB|MiB|d|h|min|s|ms|µs)\b"
MEASURED = re.compile(rf"\d+\.\d+(?:{UNIT})?|\b\d+{UNIT}(?: \d+{UNIT})?|–")
NUMBER = re.compile(r"\b\d+\b")

LOOKS = ("nodes", "links", "top", "ports", "db get")
"""The commands of `trio-mp` that only look."""

SHELL_WORDS = {int(signal.SIGTERM): "Terminated", 9: "Killed"}
"""What a shell prints when a signal has ended a program."""


# What counts as the same -------------------------------------------------------------------------------------------


def form_of(line: str, home: str, words: Sequence[str] = ()) -> object:
    """A line without what differs from run to run, for a command of these words."""
    line = RANDOM_NODE.sub("anon/ID", line.replace(home, HOME))
    line = PROCESS.sub("process N", PORT.sub(r"\1#ID", line))
    if list(words[:1]) != ["trio-mp"] or "run" in words[1:2]:
        return line.rstrip()
    line = MEASURED.sub("N", line)
    if "top" in words[1:2]:
        line = NUMBER.sub("N", line)
    return re.sub(r"─{3,}", "──", line).split()


class Names:
    """Which port, and which process, an ID or a number on a page is in this run."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}
        self._shown: dict[str, str] = {}

    def learn(self, shown: str, real: str) -> None:
        """Take the IDs and numbers of a line that is printed for those of the line on the page.

        Raises:
          ValueError: two IDs of a page are one port, or one is two ports.
        """
        for pattern in (PORT, PROCESS, RANDOM_NODE):
            for of_page, of_run in zip(pattern.finditer(shown), pattern.finditer(real), strict=True):
                one, other = of_page[0], of_run[0]
                if self._real.setdefault(one, other) != other or self._shown.setdefault(other, one) != one:
                    raise ValueError(f"expected {one} to be one name everywhere, got {self._real[one]} and {other}")

    def real(self, word: str) -> str:
        """A word of a command, with the IDs of this run."""
        return PORT.sub(lambda found: self._real.get(found[0], found[0]), word)

    def process(self, number: str) -> int:
        """The process that has this number on the page.

        Raises:
          ValueError: no program has printed it.
        """
        if (found := self._real.get(f"process {number}")) is None:
            raise ValueError(f"expected the number of a process that a program has printed, got {number}")
        return int(found.removeprefix("process "))


# Following it ------------------------------------------------------------------------------------------------------


class Terminal:
    """A terminal of the reader: a folder, and at most one program that runs there.

    Attributes:
      folder: where it is.
      words: the command that has run last.
      status: which exit status the page says that it has.
    """

    def __init__(self, name: str, folder: Path, place: str) -> None:
        self.name = name
        self.folder = folder
        self.place = place
        self.words: list[str] = []
        self.status = 0
        self.program: Program | None = None
        self._seen = 0

    def begin(self, words: list[str], program: Program) -> None:
        self.words, self.program, self._seen = words, program, 0

    async def next_line(self) -> str | None:
        """The next line that is printed here; None if the program has ended without one."""
        assert self.program is not None
        line = await self.program.line(self._seen)
        if line is None and self._seen == len(self.program.lines):
            line = SHELL_WORDS.get(-await self.program.process.wait())
        if line is not None:
            self._seen += 1
        return line

    async def finish(self) -> None:
        """Wait until the program has ended.

        Raises:
          ValueError: it has printed more than the page shows, or has another exit status.
        """
        if self.program is None:
            return
        await self.program.ended.wait()
        status = await self.program.process.wait()
        if (line := await self.next_line()) is not None:
            raise ValueError(f"expected nothing more in the terminal {self.name!r}, got {line!r}")
        if status != self.status and -status not in SHELL_WORDS:
            raise ValueError(f"expected the exit status {self.status} of {shlex.join(self.words)}, got {status}")
        self.program, self.status = None, 0


class Follower:
    """Does one step after the other.

    Args:
      home: an empty folder, which is the reader's home folder.
      folder: the folder below it where every terminal begins.
      nursery: reads what programs print.
    """

    def __init__(self, home: Path, folder: Path, nursery: trio.Nursery) -> None:
        self._home = home
        self._nursery = nursery
        self._names = Names()
        self._own = Terminal("", folder, "")
        self._terminals: dict[str, Terminal] = {}
        self._processes: list[trio.Process] = []

    async def follow(self, step: Step) -> None:
        """Do what a step says.

        Raises:
          PageError: something else happens.
        """
        try:
            with trio.fail_after(STEP_LIMIT):
                await self._follow(step)
        except (ValueError, OSError) as error:
            raise PageError(f"{step.place}: {step.kind} {step.text.strip()!r}: {error}") from error
        except trio.TooSlowError:
            raise PageError(
                f"{step.place}: {step.kind} {step.text.strip()!r}: expected an end within {STEP_LIMIT:g} s, got none;"
                f" the terminals show {self._shown()}"
            ) from None

    async def end(self) -> None:
        """Check that every program has ended, as the pages say.

        Raises:
          PageError: one has not, or has printed more than the pages show.
        """
        for name, terminal in self._terminals.items():
            try:
                with trio.fail_after(STEP_LIMIT):
                    await terminal.finish()
            except trio.TooSlowError:
                text = f"expected the end of {shlex.join(terminal.words)} in the terminal {name}, got none"
                raise PageError(f"{terminal.place}: {text}") from None
            except ValueError as error:
                raise PageError(f"{terminal.place}: {error}") from error

    async def kill(self) -> None:
        """End everything that still runs, after a mistake."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _follow(self, step: Step) -> None:
        if step.kind == "file":
            (self._own.folder / step.name).write_text(step.text, encoding="utf-8")
            return
        if step.kind == "change":
            path = self._own.folder / step.name
            path.write_text(changed(path.read_text(encoding="utf-8"), step.text), encoding="utf-8")
            return
        if not step.name:
            await self._run_to_its_end(step)
            return
        terminal = self._terminals.setdefault(step.name, Terminal(step.name, self._own.folder, step.place))
        if step.kind == "command":
            await terminal.finish()
            terminal.begin(step.words, await self._start(step.words, terminal.folder))
        elif terminal.program is None:
            raise ValueError(f"expected a program in the terminal {step.name!r}, got none")
        terminal.place = step.place
        terminal.status = step.status or terminal.status
        program = terminal.program
        assert program is not None
        assert program.process.stdin is not None
        if step.kind == "type":
            await program.type(step.text)
        elif step.kind == "key" and step.text == "^C":
            program.process.send_signal(signal.SIGINT)
        elif step.kind == "key":
            await program.process.stdin.aclose()
        left_out = False
        for shown in step.lines:
            if shown == LEFT_OUT:
                left_out = True
                continue
            while True:
                line = await terminal.next_line()
                if line is None:
                    raise ValueError(f"expected the line {shown!r}, got the end of the program; {self._shown()}")
                if not left_out or self._same(terminal.words, [shown], [line]):
                    break
            self._compare(terminal.words, [shown], [line])
            left_out = False
        if left_out:
            raise ValueError(f"expected a line behind {LEFT_OUT!r}, got none")
        if step.kind == "key":
            # A reader goes on when the terminal shows its prompt again.
            await terminal.finish()

    async def _run_to_its_end(self, step: Step) -> None:
        """Run a command in the reader's own terminal, which waits for its end."""
        words = step.words
        if is_pip(words):
            for requirement in words[2:]:
                check_requirement(requirement)
        elif words[0] == "cd":
            self._own.folder = (self._own.folder / words[1]).resolve(strict=True)
        elif words[0] == "kill":
            os.kill(self._names.process(words[-1]), signal.SIGKILL if "-9" in words else signal.SIGTERM)
        else:
            looks = any(f"{step.text} ".startswith(f"trio-mp {look} ") for look in LOOKS)
            while True:
                program = await self._start(words, self._own.folder)
                await program.ended.wait()
                status = await program.process.wait()
                try:
                    if status != step.status:
                        raise ValueError(f"expected the exit status {step.status}, got {status}; {program.lines}")
                    self._compare(words, step.lines, program.lines)
                    return
                except ValueError:
                    if not looks or trio.current_effective_deadline() < trio.current_time() + STEP_LIMIT / 2:
                        raise
        if step.lines:
            raise ValueError(f"expected a command that prints something, got {step.lines} below it")

    async def _start(self, words: list[str], folder: Path) -> Program:
        command, *arguments = (self._names.real(word) for word in words)
        commands = Path(sys.executable).parent
        own = {"python": sys.executable, "trio-mp": str(commands / "trio-mp")}
        process = await trio.lowlevel.open_process(
            [own.get(command, command), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment_of(self._home, commands),
        )
        self._processes.append(process)
        program = Program(process)
        self._nursery.start_soon(program.read)
        return program

    def _same(self, words: Sequence[str], shown: Sequence[str], printed: Sequence[str]) -> bool:
        home = str(self._home)
        return [form_of(line, HOME, words) for line in shown] == [form_of(line, home, words) for line in printed]

    def _compare(self, words: Sequence[str], shown: Sequence[str], printed: Sequence[str]) -> None:
        if not self._same(words, shown, printed):
            raise ValueError(f"expected these lines, got those:\n{_block(shown)}\n---\n{_block(printed)}")
        for one, other in zip(shown, printed, strict=True):
            self._names.learn(one, other)

    def _shown(self) -> str:
        programs = {name: terminal.program for name, terminal in self._terminals.items()}
        return "; ".join(f"{name}: {program.lines}" for name, program in programs.items() if program is not None)


def _block(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def environment_of(home: Path, commands: Path) -> dict[str, str]:
    """The variables of a reader who has set none."""
    # The output of a terminal comes line by line, and that of a pipe would not.
    fresh = {"HOME": str(home), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    fresh["PATH"] = f"{commands}{os.pathsep}{os.defpath}"
    # By these a measurement of what tests cover reaches the programs that a test runs.
    return fresh | {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


async def follow_pages(
    pages: Sequence[str], home: Path, folder: str = "", tell: Callable[[Step], object] = lambda step: None
) -> None:
    """Follow pages, in their order, as one reader would.

    Args:
      pages: their paths in the repository.
      home: an empty folder with a short path, because Unix sockets will be in it.
      folder: where the reader begins, below the home folder.
      tell: called with each step, before it is done.

    Raises:
      PageError: something else happens than the pages say.
    """
    steps = [step for page in pages for step in steps_of(page, (ROOT / page).read_text(encoding="utf-8"))]
    begin = home.resolve() / folder
    begin.mkdir(exist_ok=True)
    mistake = None
    async with trio.open_nursery() as nursery:
        follower = Follower(home.resolve(), begin, nursery)
        try:
            for step in steps:
                tell(step)
                await follower.follow(step)
            await follower.end()
        except PageError as error:
            mistake = error
        finally:
            with trio.CancelScope(shield=True):
                await follower.kill()
        nursery.cancel_scope.cancel()
    if mistake is not None:
        raise mistake  # here, and not in the nursery, which would make a group of it


def tell_reader(step: Step) -> None:
    if step.kind != "look":
        where = f" [{step.name}]" if step.name else ""
        what = step.text if step.kind in ("command", "type", "key") else ""
        print(f"{step.place}:{where} {step.kind} {what}".rstrip(), flush=True)


def main(arguments: Sequence[str]) -> int:
    paths = [argument for argument in arguments if argument != "--requirements"]
    pages = [os.path.relpath(path, ROOT) for path in paths]
    if not pages:
        print("page_follower: expected pages of the documentation, got none", file=sys.stderr)
        return 2
    if "--requirements" in arguments:
        print(*requirements_of(pages), sep="\n")
        return 0
    # Shells have what runs in the background ignore Ctrl-C, and so would the programs of the pages.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="mp-", dir="/tmp", ignore_cleanup_errors=True) as home:
        try:
            trio.run(follow_pages, pages, Path(home), "", tell_reader)
        except PageError as error:
            print(f"page_follower: {error}", file=sys.stderr)
            return 1
    print(f"page_follower: {', '.join(pages)}: all is as the pages say")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
