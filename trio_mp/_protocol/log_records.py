"""The messages by which a node gets the log records of others: its request, and the records that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .schema import PORT, TEXT, Field, Schema, Vocabulary

WORD = "log"
"""The word that a request for log records begins with."""

LONGEST_NAME = 255
"""The longest name of a logger that travels, in characters; the sender cuts the rest off."""


@dataclass(frozen=True, slots=True)
class LogsWanted:
    """`log`: send the records of your process, from this level on, to this port of mine."""

    level: int
    port: str


class SentRecord(NamedTuple):
    """`record`: a log record as it travels.

    Attributes:
      name: the name of the logger.
      level: the number of the level.
      created: when it was logged, in seconds since 1970.
      text: the message, with its arguments in it.
      trace: the traceback; empty if there is none.
      left_out: how many records were left out before this one.
    """

    name: str
    level: int
    created: float
    text: str
    trace: str
    left_out: int


def _is_number(value: object) -> bool:
    return isinstance(value, int)


def _is_level(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _is_logger(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_NAME


def _is_time(value: object) -> bool:
    return isinstance(value, float)


_WANT_LOGS = Schema(WORD, LogsWanted, Field("level", _is_level), PORT)
_RECORD = Schema(
    "record",
    SentRecord,
    Field("logger", _is_logger),
    Field("level", _is_number),
    Field("created", _is_time),
    TEXT,
    TEXT.called("traceback"),
    Field("left out", _is_number),
)

LOG_REQUESTS: Vocabulary[LogsWanted] = Vocabulary(_WANT_LOGS)
LOG_RECORDS: Vocabulary[SentRecord] = Vocabulary(_RECORD)

want_logs = _WANT_LOGS.write
record = _RECORD.write
