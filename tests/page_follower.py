"""Do what pages of the documentation say, from top to bottom, and compare everything that their programs print.

    PYTHONPATH=tests python -m page_follower PAGE …

follows the pages, in their order, in one empty folder with a home folder and an environment of its own. It prints each
step; at the first one that goes wrong it says what was expected, and its exit status is 1. It needs Trio and an
installed trio_mp, whose commands stand beside the interpreter; it does not need pytest. With `--requirements` it prints
what the pages have pip install, and does nothing.

What a page can say:

- `<!-- file: NAME -->`, and a block below it: the block is written to the file.
- `<!-- change: NAME -->`, and a `diff` block below it: the file is changed. The lines of the block that begin with a
  space or a minus stand in the file, once, and those with a plus come there. A line `@@` divides two such changes.
- A `console` block is a terminal. `$ ` precedes a command, `> ` a line that is typed into the program that runs there;
  `^C` and `^D` are those keys, which end the program; any other line is printed. `<!-- terminal: NAME -->` before the
  block says which terminal it is. A command of a terminal without a name ends before the page goes on; in one with a
  name it may run on.
- `<!-- status: N -->` before the block is the exit status of its program, if it is not 0.

The text above such a block must name the file or the terminal, because a reader does not see these comments. The next
line of a terminal must be the next line that the page shows for it: there may be none between, and none left at the end.
Two kinds of commands are special. `pip install` is checked, and not run. A command that looks at a network is repeated
until it shows what the page shows, as a reader would do, because nodes need a moment to find each other.

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
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import trio
from doc_pages import ROOT, pieces_of
from running_programs import Program

STEP_LIMIT = 60.0
"""For how many seconds one step may take, on a machine that does much else."""

HOME = "/home/ruth"
"""The home folder on the pages."""

PORT = re.compile(r"\b([\w/-]+)#[\w.-]{16,}")
PROCESS = re.compile(r"\bprocess (\d+)\b")
MEASURED = re.compile(r"\d+\.\d+( (KiB|s|ms|µs)\b)?|\b\d+ (B|s|ms|µs)\b|–")
NUMBER = re.compile(r"\b\d+( (s|ms|µs)\b)?")

LOOKS = ("nodes", "links", "top", "ports", "db get")
"""The commands of `trio-mp` that only look."""

KEYS = {"^C": "Ctrl-C", "^D": "Ctrl-D"}

SHELL_WORDS = {signal.SIGTERM: "Terminated"} | ({signal.SIGKILL: "Killed"} if sys.platform != "win32" else {})
"""What a shell prints when a signal has ended a program."""


class PageError(Exception):
    """A page says something else than what happens. The text begins with the place on the page."""


@dataclass
class Step:
    """One thing that a page says.

    Attributes:
      place: the page and the line.
      kind: `file`, `change`, `command`, `type`, `key` or `look`, which only compares.
      text: the content of the file, the change, the command, the line or the key.
      name: of the file, or of the terminal; the terminal where commands end has none.
      status: the exit status of a program that ends in this block.
      lines: what is printed next in the terminal.
    """

    place: str
    kind: str
    text: str
    name: str = ""
    status: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """The words of a command."""
        return shlex.split(self.text)


# Reading a page ----------------------------------------------------------------------------------------------------


def steps_of(page: str, text: str) -> Iterator[Step]:
    """What a page says, in order.

    Raises:
      PageError: the text does not say the name of a file or of a terminal, or a block has nothing to do.
    """
    said: dict[str, str] = {}
    prose = ""
    for piece in pieces_of(text):
        place = f"{page}:{piece.line}"
        if piece.kind == "prose":
            prose += piece.text + "\n"
            said = {}
            continue
        if piece.kind in ("file", "change", "terminal", "status"):
            said[piece.kind] = piece.text
            continue
        for kind in ("file", "change", "terminal"):
            if kind in said and f"`{said[kind]}`" not in prose:
                raise PageError(f"{place}: expected the name `{said[kind]}` of the {kind} in the text above the block")
        if "file" in said:
            yield Step(place, "file", piece.text, said["file"])
        elif "change" in said:
            if piece.kind != "diff":
                raise PageError(f"{place}: expected a block diff behind a change, got {piece.kind}")
            yield Step(place, "change", piece.text, said["change"])
        elif piece.kind == "console":
            yield from _steps_of_terminal(place, piece.text, said)
        said, prose = {}, ""


def _steps_of_terminal(place: str, text: str, said: dict[str, str]) -> list[Step]:
    name, status = said.get("terminal", ""), int(said.get("status", "0"))
    steps: list[Step] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append(Step(place, "command", line[2:], name))
        elif line.startswith("> "):
            steps.append(Step(place, "type", line[2:], name))
        elif line in KEYS:
            steps.append(Step(place, "key", line, name))
        else:
            if not steps:
                steps.append(Step(place, "look", "", name))
            steps[-1].lines.append(line)
    if not steps:
        raise PageError(f"{place}: expected a command or a line in the block, got none")
    if not name and any(step.kind != "command" for step in steps):
        raise PageError(f"{place}: expected the name of the terminal, because its program runs on")
    steps[-1].status = status
    return steps


def changed(text: str, change: str) -> str:
    """A text with the changes of a `diff` block.

    Raises:
      ValueError: what is to be changed does not stand there, or more than once.
    """
    for hunk in re.split(r"^@@.*\n", change, flags=re.MULTILINE):
        lines = [line or " " for line in hunk.splitlines()]
        if not lines:
            continue
        if wrong := [line for line in lines if line[0] not in " +-"]:
            raise ValueError(f"expected lines that begin with a space, a plus or a minus, got {wrong[0]!r}")
        # At the beginning of a line, and to its end.
        old = "".join("\n" + line[1:].rstrip() for line in lines if line[0] in " -") + "\n"
        new = "".join("\n" + line[1:].rstrip() for line in lines if line[0] in " +") + "\n"
        if old == new:
            raise ValueError("expected a change, got lines that stay the same")
        if (count := ("\n" + text).count(old)) != 1:
            raise ValueError(f"expected these lines once in the file, got them {count} times:{old}")
        text = ("\n" + text).replace(old, new)[1:]
    return text


def requirements_of(pages: Sequence[str]) -> list[str]:
    """What the `pip install` lines of pages name."""
    steps = [step for page in pages for step in steps_of(page, (ROOT / page).read_text(encoding="utf-8"))]
    return [word for step in steps if step.kind == "command" and is_pip(step.words) for word in step.words[2:]]


def is_pip(words: Sequence[str]) -> bool:
    return list(words[:2]) == ["pip", "install"]


def check_requirement(requirement: str) -> None:
    """Check that this is the package, with extras that it has, and that all that it needs is installed.

    Raises:
      ValueError: it is not.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.fullmatch(r"([\w.-]+)(?:\[([\w,-]+)\])?", requirement)
    if found is None or found[1] != project["name"]:
        raise ValueError(f"expected the package {project['name']}, got {requirement!r}")
    extras = found[2].split(",") if found[2] else []
    for extra in extras:
        if extra not in project["optional-dependencies"]:
            raise ValueError(f"expected one of the extras {list(project['optional-dependencies'])}, got {extra!r}")
    for needed in metadata.requires(project["name"]) or []:
        about, _, marker = needed.partition(";")
        wanted = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        if wanted is None or wanted[1] in extras:
            name = re.match(r"[\w.-]+", about)
            assert name is not None, needed
            try:
                metadata.version(name[0])
            except metadata.PackageNotFoundError:
                raise ValueError(f"expected {needed} to be installed, as pip would do") from None


# What counts as the same -------------------------------------------------------------------------------------------


def form_of(line: str, home: str, words: Sequence[str] = ()) -> object:
    """A line without what differs from run to run, for a command of these words."""
    line = PROCESS.sub("process N", PORT.sub(r"\1#ID", line.replace(home, HOME)))
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
        for pattern in (PORT, PROCESS):
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
        for shown in step.lines:
            line = await terminal.next_line()
            if line is None:
                raise ValueError(f"expected the line {shown!r}, got the end of the program; {self._shown()}")
            self._compare(terminal.words, [shown], [line])
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

    def _compare(self, words: Sequence[str], shown: Sequence[str], printed: Sequence[str]) -> None:
        home = str(self._home)
        if [form_of(line, HOME, words) for line in shown] != [form_of(line, home, words) for line in printed]:
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
    fresh = {"HOME": str(home), "PATH": f"{commands}{os.pathsep}{os.defpath}", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
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
