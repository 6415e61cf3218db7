"""What each node records: every send, every monitor that is set or fires, every delivery.

A record is written before what it records can have an effect, by one `os.write` of a few bytes, so it is in the
kernel's hands when SIGKILL comes. (Only a failure of the machine can take it from there.)
"""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_RECORD = struct.Struct("<BBHIII")


class Kind(enum.IntEnum):
    """What a record is about."""

    SENT = 1
    """A message is about to be sent. `node` is the receiver's."""

    MONITORED = 2
    """A monitor is about to be set; messages sent from here on are of this era. `node` is the receiver's."""

    FIRED = 3
    """That monitor fires: messages of its era may be lost. `node` is the receiver's."""

    DELIVERED = 4
    """The port's handler was called with a message. `node` and `run` are the sender's."""

    MISDIRECTED = 5
    """The port's handler was called with a message of another stream. `node` and `run` are the sender's."""

    FINISHED = 6
    """This run sends no more, and all it has sent was delivered or reported. The other fields are 0."""


class Record(NamedTuple):
    """One record.

    Attributes:
      kind: what it is about.
      node: the number of the node at the other end.
      run: how often that node was started before, where this is known; else 0.
      stream: the sender's number for the port that it sends to.
      era: counts the monitors that the sender has set on that port, from 1.
      number: the message's number in its stream, from 1; 0 where no message is meant.
    """

    kind: Kind
    node: int = 0
    run: int = 0
    stream: int = 0
    era: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Journal:
    """All that one run of a node has recorded, in order."""

    node: int
    run: int
    records: tuple[Record, ...]


class JournalWriter:
    """Appends records to a file.

    Args:
      path: the file; made if it is not there.

    Raises:
      OSError: it cannot be opened; later, a record cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, kind: Kind, node: int, run: int, stream: int, era: int, number: int) -> None:
        """Append one record. When this returns the record outlives the process."""
        record = _RECORD.pack(kind, node, run, stream, era, number)
        if os.write(self._file, record) != len(record):
            raise OSError("a record could not be written whole")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def encode_records(records: Iterable[Record]) -> bytes:
    """The bytes of records, as in a file."""
    return b"".join(_RECORD.pack(*record) for record in records)


def decode_records(data: bytes) -> tuple[Record, ...]:
    """The records in the bytes of a file. A piece of a record at the end, of a process killed there, is left out.

    Raises:
      ValueError: these are no records.
    """
    whole = len(data) - len(data) % _RECORD.size
    return tuple(Record(Kind(kind), *fields) for kind, *fields in _RECORD.iter_unpack(data[:whole]))


def read_journal(node: int, run: int, path: Path) -> Journal:
    """What one run of a node has recorded. Nothing, if it did not live long enough to make the file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    return Journal(node, run, decode_records(data))
