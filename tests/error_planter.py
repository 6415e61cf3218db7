"""Errors planted in the package while it runs: one exception, at one line, at the n-th time that the line runs."""

from __future__ import annotations

import inspect
import linecache
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import trio

import trio_mp

PACKAGE = Path(trio_mp.__file__).parent
RUN = inspect.getfile(trio.lowlevel.current_task)


class Planted(Exception):
    """An error that nothing in the package expects."""


class Line(NamedTuple):
    """One line of the package.

    Attributes:
      file: its file, by a path below the package.
      function: its function.
      number: its number in the file.
    """

    file: str
    function: str
    number: int


class Planter:
    """Counts the lines that run, and raises `Planted` at one of them.

    Lines that run because a program has called the package do not count: the program must handle an error of its own
    call. So no line counts while a function of one of the program's files is on the stack.

    Args:
      files: the files of the package to watch, by paths below the package.
      programs: the files of the program.
      line, occurrence: the line at which to raise, and at which time that it runs; None raises nowhere.

    Attributes:
      reached: how often each line was reached.
      planted: whether it has raised.
    """

    def __init__(
        self, files: tuple[str, ...], programs: tuple[str, ...], line: Line | None = None, occurrence: int = 1
    ) -> None:
        self.reached: Counter[Line] = Counter()
        self.planted = False
        self._files = {str(PACKAGE / file): file for file in files}
        self._programs = programs
        self._line = line
        self._occurrence = occurrence

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._step if frame.f_code.co_filename in self._files else None

    def _step(self, frame: FrameType, event: str, _argument: Any) -> Any:
        code = frame.f_code
        text = linecache.getline(code.co_filename, frame.f_lineno).strip()
        # An error while a nursery or a scope is entered or left would be Trio's. A bare `try` does nothing that can fail.
        counts = text not in {"try:", "with self._scope:"} and "open_nursery" not in text
        if event == "line" and counts and not self._is_of_a_program(frame):
            line = Line(self._files[code.co_filename], code.co_qualname, frame.f_lineno)
            self.reached[line] += 1
            if line == self._line and self.reached[line] == self._occurrence:
                self.planted = True
                # The interpreter stops tracing by itself.
                raise Planted(f"{line.file}:{line.number} in {line.function}")
        return self._step

    def _is_of_a_program(self, frame: FrameType | None) -> bool:
        # Below Trio's run loop are only the frames that have started Trio.
        while frame is not None and frame.f_code.co_filename != RUN:
            if frame.f_code.co_filename in self._programs:
                return True
            frame = frame.f_back
        return False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Watch the lines for the length of the block."""
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(before)
