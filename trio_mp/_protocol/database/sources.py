"""The nodes that say something of records, what they are in the middle of saying, and what their word is worth.

A *source* is another node that says something of records: an attached node of its own record, a global node of its own
and of those of the nodes attached to it. `copies.py` decides which of their copies count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .messages import Begin
from .records import Record, Table, Version


class Batch:
    """A batch of records that a source has begun and has not finished.

    A record in it is complete when the next one begins, or when the batch ends.

    Args:
      begin: the message that has begun it.
      takes: called with an owner and its complete record; returns whether that may be taken from this source.

    Attributes:
      whole: whether it replaces all that the source has said before; else only the records that are in it.
      answers: the number of the question that it answers, or 0.
      records: the complete records that were taken, by owner.
      refused: the owners whose records were refused; a dict for its order.
      have_moved: the owners that have moved not long ago, as the batch says.
    """

    __slots__ = ("_owner", "_record", "_takes", "answers", "have_moved", "records", "refused", "whole")

    def __init__(self, begin: Begin, takes: Callable[[str, Record], bool]) -> None:
        self.whole = begin.whole
        self.answers = begin.answers
        self.records: dict[str, Record] = {}
        self.refused: dict[str, None] = {}
        self.have_moved: list[str] = []
        self._takes = takes
        # The record that began last, if it is not complete, and its owner.
        self._record: Record | None = None
        self._owner = ""

    def begin_record(self, owner: str, version: Version) -> None:
        """Begin another record. The one before it is complete."""
        self.end_record()
        self._owner, self._record = owner, Record(version)

    def add(self, tables: Mapping[str, Table]) -> bool:
        """Add entries to the record that began last. Returns False if none has begun."""
        if self._record is None:
            return False
        for family, table in tables.items():
            self._record.tables.setdefault(family, {}).update(table)
        return True

    def end_record(self) -> None:
        """Take or refuse the record that began last: it is complete. Does nothing if none has begun."""
        record, self._record = self._record, None
        if record is None:
            return
        # A later record of the same owner replaces the earlier one, whatever became of that.
        self.records.pop(self._owner, None)
        self.refused.pop(self._owner, None)
        if self._takes(self._owner, record):
            self.records[self._owner] = record
        else:
            self.refused[self._owner] = None


@dataclass(slots=True, eq=False)
class Source:
    """A node that says something of records.

    Attributes:
      attached: whether it is attached here, and speaks for itself only; else it is a global node, or this one.
      records: what it has said, by owner.
      current: whether a whole batch has come since the connection is up, so that single changes can follow.
      batch: the batch that it has begun and not finished, if there is one.
      grace: while the node is lost and its records are kept: the token of this time; else 0.
      asked: if it is attached: the number of the question that it was asked last, which is 0 if it was asked none.
      doubted: if it is attached: the sources because of which it was asked, and whose word counts until it answers.
      refuted: if it is attached: the sources that have said otherwise before it has answered.
      leaving: the owners whose copies are leaving, each with the token of the time for which it is kept.
      run: which run of the node has spoken last; None before the first one.
    """

    id: str
    attached: bool
    records: dict[str, Record] = field(default_factory=dict)
    current: bool = False
    batch: Batch | None = None
    grace: int = 0
    asked: int = 0
    doubted: set[str] = field(default_factory=set)
    refuted: set[str] = field(default_factory=set)
    leaving: dict[str, int] = field(default_factory=dict)
    run: tuple[int, str] | None = None

    def has_moved(self, said: Version, other: Source, now: Version) -> bool:
        """Whether another source says that this node, which seems to be attached here, has since been elsewhere.

        Args:
          said: the version of the record that this source has said.
          other: the source that says otherwise.
          now: the version of the record that the other source has said.
        """
        if not self.attached or other.id in self.refuted:
            return False
        return said.run == now.run and said.attachment < now.attachment

    def is_contradicted(self, said: Version, other: Source, now: Version) -> bool:
        """Whether another source has something newer of this node, which is attached here: it is to be asked then.

        Newer is the same run, attached elsewhere, or a later run. The arguments are those of `has_moved`.
        """
        if other.id == self.id or not self.attached or not self.current or other.id in self.refuted:
            # A node that has said itself that it leaves, or that is global now, need not be asked.
            return False
        return said.run < now.run or self.has_moved(said, other, now)
