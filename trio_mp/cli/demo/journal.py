"""The journal of a process: what it is about to send, what it was told of losses, what was delivered to it.

An entry is a line. `os.write` hands the line to the kernel before the sending that it announces can have an effect, so
SIGKILL cannot erase it; only a failure of the machine can. The demo writes one entry for each delivery, in the handler.
The chaos harness of the tests sends far more, and writes deliveries after the dispatcher's pass that made them, so
SIGKILL can erase the last of them. That hides no hole: the port has died with its process, so the entries that are
left are still a beginning of what was delivered.
"""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class EntryKind(enum.StrEnum):
    """What an entry is about. A *stream* is what one run of a node sends to one port."""

    OPEN = "open"
    """The sender has had a port made at `peer` for this stream; `text` is its ID."""

    BEGIN = "begin"
    """The sender is about to set a monitor: an epoch begins, with the message `first`."""

    SEND = "send"
    """The messages `first` to `last` of the epoch are about to be sent."""

    END = "end"
    """The monitor of the epoch has fired; `text` is the reason."""

    MADE = "made"
    """A port was made here for a stream of the run `run` of `peer`; `text` is its ID."""

    GOT = "got"
    """The messages `first` to `last` of that epoch were delivered here, in this order and nothing between them."""

    WRONG = "wrong"
    """A message was delivered at the port of another stream, or changed; `text` says how."""

    FINISHED = "finished"
    """This run sends no more, and all it has sent was delivered, or its monitor has fired."""


class JournalEntry(NamedTuple):
    """One entry of a journal. Numbers that mean nothing for its kind are 0.

    Attributes:
      kind: what the entry is about.
      at: the time of the entry, by `time.monotonic()`.
      peer: the node at the other end; `-` for none.
      run: how often that node was started before, where this is known.
      stream: the sender's number for the stream.
      epoch: counts the sender's monitors in the stream, from 1.
      first, last: messages, by their numbers in the stream, from 1.
      text: a port ID, a reason or a description, as the kind says.
    """

    kind: EntryKind
    at: float
    peer: str = "-"
    run: int = 0
    stream: int = 0
    epoch: int = 0
    first: int = 0
    last: int = 0
    text: str = ""

    def line(self) -> str:
        """The entry as a line of the file, with the line's end."""
        kind, at, *numbers, text = self
        return f"{kind.value} {at:.3f} {' '.join(map(str, numbers))} {' '.join(text.split())}\n"


def parse_line(line: str) -> JournalEntry:
    """Parse a line of a journal. Raises `ValueError` if it holds no entry."""
    kind, at, peer, *numbers, text = line.split(" ", 8)
    run, stream, epoch, first, last = map(int, numbers)
    return JournalEntry(EntryKind(kind), float(at), peer, run, stream, epoch, first, last, text)


@dataclass(frozen=True, slots=True)
class Journal:
    """All entries of one run of a node, in order."""

    node: str
    run: int
    entries: tuple[JournalEntry, ...]

    @property
    def name(self) -> str:
        """The node and the number of its run, as text."""
        return f"{self.node}-{self.run}"


def parse_journal(node: str, run: int, text: str) -> Journal:
    """Parse the text of a journal. A last line without its end, cut off by SIGKILL, is left out.

    Raises:
      ValueError: a line holds no entry.
    """
    whole = text[: text.rfind("\n") + 1]
    return Journal(node, run, tuple(map(parse_line, whole.splitlines())))


def read_journal(node: str, run: int, path: Path) -> Journal:
    """Read the journal of one run of a node. It is empty if the run ended before it made the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    return parse_journal(node, run, text)


class JournalWriter:
    """Appends entries to the new file of a journal.

    Args:
      path: where to make the file.

    Raises:
      OSError: the file exists already or cannot be made; from `write`, an entry cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, *entries: JournalEntry) -> None:
        """Append entries. When this returns, the entries outlive the process."""
        data = "".join(entry.line() for entry in entries).encode()
        if data and os.write(self._file, data) != len(data):
            raise OSError(f"expected to write {len(data)} bytes to the journal, wrote fewer: is the disk full?")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
