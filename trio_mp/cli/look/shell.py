"""`trio-mp shell`: a Python prompt with a node that is open.

Lines are read in a thread; what they say runs in the thread of Trio, where a node may be used, and at the top level of
a line one may `await`. All of that happens in this process: other nodes get messages, and evaluate nothing.

Ctrl-C ends what runs, as at every prompt. Trio raises the KeyboardInterrupt in the code of the line, if that computes;
while it waits, in the main task, which then cancels the line. What reads the next line is not disturbed.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import inspect
import os
import sys
import types
from code import InteractiveConsole
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, TextIO, cast

import trio

import trio_mp

from ..exits import NO, OK
from ..harmless import harmless
from ..joining import Tool, run_tool

HISTORY = 1000
"""How many lines of the history are kept."""


def shell(arguments: argparse.Namespace) -> int:
    """Run `shell`."""
    return run_tool(arguments, _shell)


async def _shell(tool: Tool) -> int:
    interactive = sys.stdin.isatty()
    console = ShellConsole(tool)
    ended = trio.Event()

    async def interact() -> None:
        # If this command ends before its input, as by --timeout, the thread is left alone, which reads a line.
        await trio.to_thread.run_sync(console.run, interactive, abandon_on_cancel=True)
        ended.set()

    with _terminal(interactive=interactive), _harmless_stdout(), _history(console, interactive=interactive):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interact)
            while not ended.is_set():
                try:
                    await ended.wait()
                except KeyboardInterrupt:
                    console.interrupt()
    return console.status


class ShellConsole(InteractiveConsole):
    """Reads lines in a thread of Trio's, and runs them in the thread that runs Trio.

    Args:
      tool: what the command has: its node, and where it prints.

    Attributes:
      status: the exit status: 1 if lines came from a pipe, and one of them has raised.
    """

    def __init__(self, tool: Tool) -> None:
        super().__init__({"__name__": "__console__", "node": tool.node, "trio": trio, "trio_mp": trio_mp})
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._tool = tool
        self._interactive = False
        self._scope: trio.CancelScope | None = None
        self.status: int = OK

    def run(self, interactive: bool) -> None:
        """Read lines until their end, and run them. Called in a thread of Trio's."""
        self._interactive = interactive
        banner = f"`node` is open: {self._tool.node.id}. Lines may `await`. Ctrl-D ends this shell."
        try:
            self.interact(banner if interactive and not self._tool.arguments.quiet else "", "")
        except SystemExit as end:
            self.status = end.code if isinstance(end.code, int) else OK if end.code is None else NO

    def raw_input(self, prompt: str = "") -> str:
        """Read a line. Without a terminal there is no prompt."""
        if self._interactive:
            return super().raw_input(prompt)
        line = sys.stdin.readline()
        if not line and not self.buffer:
            raise SystemExit(self.status)
        # At the end of the input an empty line comes: it ends a block, which would be left out otherwise.
        return line.rstrip("\n")

    def runcode(self, code: types.CodeType) -> None:
        """Run a line, and show the exception that it raises, but for SystemExit."""
        function = types.FunctionType(code, self.locals)
        error = trio.from_thread.run(self._evaluate, function)
        if error is None:
            return
        if isinstance(error, SystemExit):
            raise error
        self.status = OK if self._interactive else NO
        try:
            # The first frame is that of `_evaluate`.
            raise error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        except BaseException:  # noqa: BLE001 - whatever it is, it is shown, and the next line is read
            self.showtraceback()

    async def _evaluate(self, function: types.FunctionType) -> BaseException | None:
        """Run a line in the thread of Trio; returns what it has raised."""
        ended: BaseException | None = KeyboardInterrupt()
        with trio.CancelScope() as self._scope:
            try:
                result = function()
                if inspect.iscoroutinefunction(function):
                    await result
                ended = None
            except trio.Cancelled:
                # By Ctrl-C, and the scope takes it; or this command ends.
                raise
            except BaseException as error:  # noqa: BLE001 - the prompt shows it
                ended = error
        self._scope = None
        return ended

    def interrupt(self) -> None:
        """End the line that waits; at the prompt, say how to end the shell. Called in the thread of Trio."""
        if self._scope is not None:
            self._scope.cancel()
        else:
            self.write("\nCtrl-D ends this shell\n>>> ")

    def write(self, data: str) -> None:
        """Show words, such as a traceback."""
        sys.stderr.write(harmless_text(data))
        sys.stderr.flush()

    def show(self, value: object) -> None:
        """Show what a line has given, as `sys.displayhook` does."""
        if value is None:
            return
        builtins._ = value  # type: ignore[attr-defined]
        if self._tool.out.json:
            self._tool.out.row({"value": value})
        else:
            print(repr(value))


def harmless_text(text: str) -> str:
    """A text of several lines that a terminal shows and does not obey. Tabs stay, too."""
    return "\n".join("\t".join(map(harmless, line.split("\t"))) for line in text.split("\n"))


class HarmlessStream:
    """The standard output, for lines of the operator that print what other nodes have said.

    Args:
      stream: the real one, which has all the rest: `input` asks it whether readline can edit the line.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, with what a terminal would obey escaped. Returns how much of it was written: all."""
        self._stream.write(harmless_text(text))
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        """Write several texts, as `write` does."""
        for text in texts:
            self.write(text)


@contextlib.contextmanager
def _terminal(*, interactive: bool) -> Generator[None, None, None]:
    """Leave the terminal as it was, even if readline is in the middle of a line."""
    try:
        import termios  # not on Windows
    except ImportError:
        yield
        return
    before = termios.tcgetattr(sys.stdin) if interactive else None
    try:
        yield
    finally:
        if before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _harmless_stdout() -> Generator[None, None, None]:
    before = sys.stdout
    # What `Output` prints is harmless already.
    sys.stdout = cast(TextIO, HarmlessStream(before))
    try:
        yield
    finally:
        sys.stdout = before


@contextlib.contextmanager
def _history(console: ShellConsole, *, interactive: bool) -> Generator[None, None, None]:
    """Show results by the console; let the lines be edited, with a history and completion, if there is a terminal."""
    before, sys.displayhook = sys.displayhook, console.show
    try:
        readline = _readline(console) if interactive else None
        yield
        if readline is not None:
            with contextlib.suppress(OSError):
                path = history_file()
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                # Lines may hold what is secret, and not every library behind `readline` thinks of that.
                path.touch(mode=0o600)
                readline.set_history_length(HISTORY)
                readline.write_history_file(str(path))
    finally:
        sys.displayhook = before


def _readline(console: ShellConsole) -> types.ModuleType | None:
    """Prepare the editing of lines; returns `readline`, or None on a platform without it."""
    try:
        import readline  # not on Windows
        import rlcompleter  # as that
    except ImportError:
        return None
    complete = rlcompleter.Completer(console.locals).complete
    # It looks at attributes of a node: that belongs to the thread of Trio.
    readline.set_completer(lambda text, state: trio.from_thread.run_sync(complete, text, state))
    readline.parse_and_bind("tab: complete")
    with contextlib.suppress(OSError):
        readline.read_history_file(str(history_file()))
    return readline


def history_file() -> Path:
    """Where the history is kept."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "trio_mp" / "shell_history"
