"""The copies of records that one node holds, from whom it has them, and which of them count.

A *source* is another node that says something of records: an attached node of its own, a global node of its own and of
those attached to it. A copy that is older than another one may not outlive it, or a dead node would rise when the newer
copy goes. So two of them go as soon as it is known:

- that of a global node that is lost, when a newer copy has come by another way;
- that of a node attached here, when another global node has a copy of the same run that was attached once more: it has
  moved, and we have not noticed. Of another run it would prove nothing: clocks can be set back.

And a copy of a node that lives may not go before there is another one, or all would see its entries vanish and come
back. So who speaks for a node does so until somebody else is known to, and then says `moved`, not `gone`. Whoever hears
that, and has no newer copy yet, keeps its own until one comes by another way; at most for a while. Such a copy is
*leaving*. So are copies

- of a node attached here that says that it leaves, until it is known to be attached elsewhere;
- from a lost global node, when a new run of that one says all that it speaks for: it cannot know who has moved.

But whoever says so may lie. What a node says of itself, on its own connection, counts before all that others say of
the same run of it. So when others say that an attached node has moved, or that there is a later run of it, that node is
asked: one that has moved, or is dead, does not answer, as its connection here is dead or it has another anchor. What
another one answers was said after the question; it counts, and who has said otherwise is not believed about that node
any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from ..schema import Message
from . import messages as messages
from .effects import Grace
from .messages import Begin, Delete, Done, Entries, Gone, Head, Moved, Set
from .records import Families, Record, Version, newest
from .vouchers import SEQUENCE_LIMIT, Judge

AboutRecords: TypeAlias = Begin | Head | Entries | Done | Set | Delete | Gone | Moved


@dataclass(slots=True, eq=False)
class Source:
    """A node that says something of records.

    Attributes:
      attached: whether it is attached here, and speaks for itself only; else it is a global node, or this one.
      records: what it has said, by owner.
      current: whether a whole batch has come since the connection is up, so that single changes can follow.
      batch: the records of the batch that has begun.
      whole: whether that replaces everything.
      filling, filled: the record in the batch that began last, and its owner.
      spurned: whose records in the batch were refused.
      have_moved: the owners that have moved not long ago, as the batch says.
      grace: while the node is lost and its records are kept: the token of this time; else 0.
      asked: if it is attached: the number of the question that it was asked last, which is 0 if it was asked none.
      answers: the number of the question that the batch that has begun answers, or 0.
      doubted: if it is attached: the sources because of which it was asked, and whose word counts until it answers.
      refuted: if it is attached: the sources that have said otherwise before it has answered.
      leaving: the owners whose copies are leaving, each with the token of the time for which it is kept.
      run: which run of the node has spoken last; None before the first one.
    """

    id: str
    attached: bool
    records: dict[str, Record] = field(default_factory=dict)
    current: bool = False
    batch: dict[str, Record] | None = None
    whole: bool = False
    filling: Record | None = None
    filled: str = ""
    spurned: dict[str, None] = field(default_factory=dict)
    have_moved: list[str] = field(default_factory=list)
    grace: int = 0
    asked: int = 0
    answers: int = 0
    doubted: set[str] = field(default_factory=set)
    refuted: set[str] = field(default_factory=set)
    leaving: dict[str, int] = field(default_factory=dict)
    run: tuple[int, str] | None = None


class Copies:
    """The copies of records that one node holds.

    Args:
      own_id: its ID.
      own: its own record.
      judge: says why a record may not be taken from a node.

    Attributes:
      families: what comes of those that count.
      refused: records that the judge has refused: from whom, and why.
      news: what other global nodes have to hear of the nodes attached here.
      questions: which attached nodes are to be asked for all that they have set, and the number of each question.
      graces: the times that have begun, after each of which `expire` is to be called.
    """

    def __init__(self, own_id: str, own: Record, judge: Judge) -> None:
        self.families = Families()
        self.refused: list[tuple[str, str]] = []
        self.news: list[Message] = []
        self.questions: list[tuple[str, int]] = []
        self._judge = judge
        self.graces: list[Grace] = []
        self._own_id = own_id
        self._own = own
        self._self = Source(own_id, attached=False, current=True)
        self._attached: dict[str, Source] = {}
        self._mirrors: dict[str, Source] = {}
        # All copies, by owner; and those that count.
        self._copies: dict[str, dict[Source, Record]] = {}
        self._counting: dict[str, Record] = {}
        # The nodes that were attached here until not long ago and are elsewhere, with the tokens of their times.
        self._moved: dict[str, int] = {}
        self._tokens = 0
        self._questions_asked = 0
        self._place(self._self, own_id, own)

    def spoken_for(self) -> dict[str, Record]:
        """The records that this node speaks for: its own, and those of the nodes attached to it."""
        records = {self._own_id: self._own}
        for source in self._attached.values():
            records.update(source.records)
        return records

    def have_moved(self) -> list[str]:
        """The nodes that this node spoke for until not long ago, and that live elsewhere."""
        return list(self._moved)

    def is_told_by(self, node_id: str) -> bool:
        """Whether a global node has said all that it speaks for, by the connection that there is now."""
        mirror = self._mirrors.get(node_id)
        return mirror is not None and mirror.current

    def begin_grace(self, node_id: str) -> int:
        """A time begins for which something is kept that a node has said; its token."""
        self._tokens += 1
        self.graces.append(Grace(node_id, self._tokens))
        return self._tokens

    # The own record ------------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """This node has found another place in the network for its record."""
        version = self._own.version
        self._own.version = version._replace(attachment=version.attachment + 1)
        self._choose(self._own_id)

    def set_own(self, family: str, key: str, value: object) -> Iterable[Message]:
        """Set an entry; the messages that say so."""
        sequence = self._own.version.sequence + 1
        self._set(self._own, Set(self._own_id, sequence, family, key, value))
        return [messages.entry_set(self._own_id, sequence, family, key, value)]

    def delete_own(self, family: str, keys: Iterable[str]) -> Iterable[Message]:
        """Delete those entries that there are; the messages that say so."""
        sequence = self._own.version.sequence + 1
        gone = self._delete(self._own, Delete(self._own_id, sequence, family, tuple(keys)))
        return messages.entries_deleted(self._own_id, sequence, family, gone)

    # What others say -----------------------------------------------------------------------------------------------

    def receive(self, from_id: str, is_global: bool, message: AboutRecords) -> str:
        """A node says something of records; why it cannot be used, or nothing."""
        sources = self._mirrors if is_global else self._attached
        source = sources.get(from_id)
        match message:
            case Begin(whole, answers):
                source = source or sources.setdefault(from_id, Source(from_id, not is_global))
                source.batch, source.whole, source.filling, source.have_moved = {}, whole, None, []
                source.spurned = {}
                source.answers = answers
                if source.grace:
                    # It is back; what it does not say again is kept no longer than if it were not.
                    source.leaving = {**dict.fromkeys(source.records, source.grace), **source.leaving}
                    source.grace = 0
                return ""
            case Head() | Entries() | Done():
                if source is None or source.batch is None:
                    return "a part of a batch that has not begun"
                return self._fill(source, source.batch, message)
            case Moved(owner) if source is not None and source.batch is not None:
                source.have_moved.append(owner)
                return ""
            case _:
                record = source.records.get(message.owner) if source is not None and source.current else None
                if source is None or record is None:
                    if source is not None and source.current and isinstance(message, Gone | Moved):
                        # A newer copy has come already; or it is the `gone` that follows `moved`.
                        return ""
                    return f"a change of a record of {message.owner} that {from_id} has not sent"
                if not isinstance(message, Gone | Moved) and message.sequence > SEQUENCE_LIMIT:
                    return f"a change of a record of {message.owner} that has changed more often than any record can"
                self._change(source, record, message)
                return ""

    def _fill(self, source: Source, batch: dict[str, Record], message: Head | Entries | Done) -> str:
        match message:
            case Head(owner, version):
                if source.attached and owner != source.id:
                    source.batch = None
                    return f"a record of {owner} from a node that is not global"
                self._judge_filled(source, batch)
                source.filling, source.filled = Record(version), owner
            case Entries(tables):
                if source.filling is None:
                    return "entries without a record"
                for family, table in tables.items():
                    source.filling.tables.setdefault(family, {}).update(table)
            case _:
                self._judge_filled(source, batch)
                spurned, source.spurned = source.spurned, {}
                source.batch = None
                if not source.whole and not source.current:
                    return "a part of records that were never sent whole"
                source.current = True
                if source.whole:
                    self._leave_out(source, batch)
                for owner in spurned:
                    # What it says of that one from now on is about a record that is not taken.
                    self._drop(source, owner)
                for owner, record in batch.items():
                    self._accept(source, owner, record)
                if source.whole and not source.attached:
                    # It was attached here until it became global; now that it speaks for itself nobody else need.
                    self._forget_attached(source.id, moved=source.id in source.records)
        return ""

    def _judge_filled(self, source: Source, batch: dict[str, Record]) -> None:
        """A record in a batch is complete: it belongs to the batch, or it is refused."""
        record, source.filling = source.filling, None
        if record is None:
            return
        owner = source.filled
        batch.pop(owner, None)
        source.spurned.pop(owner, None)
        why = self._judge(source.id, owner, record)
        if why:
            source.spurned[owner] = None
            self.refused.append((source.id, f"a record of {owner} {why}"))
        else:
            batch[owner] = record

    def _leave_out(self, source: Source, batch: dict[str, Record]) -> None:
        """A source has said all that it speaks for: there are owners of whom it has said nothing."""
        is_new = source.run is not None and source.id in batch and batch[source.id].version.run != source.run
        # In their order: that of a set differs from run to run, and simulations are repeated.
        for owner in [owner for owner in source.records if owner not in batch]:
            if owner in source.have_moved:
                self._leave(source, owner)
            elif not (is_new and owner in source.leaving):
                self._drop(source, owner)

    def _change(self, source: Source, record: Record, message: Set | Delete | Gone | Moved) -> None:
        news: Iterable[Message] = ()
        match message:
            case Set(owner, sequence, family, key, value):
                self._set(record, message)
                news = [messages.entry_set(owner, sequence, family, key, value)]
            case Delete(owner, sequence, family):
                gone = self._delete(record, message)
                news = messages.entries_deleted(owner, sequence, family, gone)
            case Gone(owner):
                self._drop(source, owner)
            case _:
                self._leave(source, message.owner)
        if source.attached:
            self.news += news

    # Who is lost ---------------------------------------------------------------------------------------------------

    def leave(self, node_id: str) -> None:
        """A node that is attached here says that it is about to be attached elsewhere."""
        source = self._attached.get(node_id)
        if source is not None:
            source.current = False
            source.batch = source.filling = None
            # Of a node that leaves others know better.
            source.doubted.clear()
            source.refuted.clear()
            for owner in tuple(source.records):
                self._leave(source, owner)
            if not source.records:
                # It is known to be elsewhere, or has never said anything.
                self._attached.pop(node_id, None)

    def lose_attached(self, node_id: str) -> None:
        """The connection with a node is lost. If it has said that it leaves, its copy is kept all the same."""
        source = self._attached.get(node_id)
        if source is not None and not source.leaving:
            self._forget_attached(node_id, moved=False)

    def _forget_attached(self, node_id: str, *, moved: bool) -> None:
        source = self._attached.pop(node_id, None)
        if source is not None:
            for owner in tuple(source.records):
                self._drop(source, owner, moved=moved)

    def lose_global(self, node_id: str) -> None:
        """A global node is lost: its own record goes, and the rest of what it has said is kept for a while."""
        mirror = self._mirrors.get(node_id)
        if mirror is None:
            return
        mirror.current = False
        mirror.batch = mirror.filling = None
        for owner, record in tuple(mirror.records.items()):
            if owner == node_id or self._counting[owner] is not record:
                self._drop(mirror, owner)
        if not mirror.records:
            del self._mirrors[node_id]
            return
        mirror.grace = self.begin_grace(node_id)

    def expire(self, node_id: str, token: int) -> None:
        """A time is over. Does nothing if what was kept for that time has come again, or is gone."""
        for owner in [owner for owner, until in self._moved.items() if until == token]:
            del self._moved[owner]
            self.news.append(messages.gone(owner))
        for source in [sources[node_id] for sources in (self._attached, self._mirrors) if node_id in sources]:
            for owner in [owner for owner, until in source.leaving.items() if until == token]:
                self._drop(source, owner)
        mirror = self._mirrors.get(node_id)
        if mirror is not None and mirror.grace == token:
            self._drop_all(self._mirrors.pop(node_id))

    # Copies --------------------------------------------------------------------------------------------------------

    def _accept(self, source: Source, owner: str, record: Record) -> None:
        """A source has a record, whole."""
        answered = source.answers != 0 and source.answers == source.asked
        if answered:
            source.doubted.clear()
        for other, copy in tuple(self._copies.get(owner, {}).items()):
            if other is source:
                continue
            if _contradicts(source, record.version, other, copy.version):
                if answered:
                    source.refuted.add(other.id)
                else:
                    self._ask(source, other)
            if _has_moved(source, record.version, other, copy.version):
                # It comes late: the node is attached elsewhere by now, or so that one says.
                self._drop(source, owner, moved=True)
                return
            moved = _has_moved(other, copy.version, source, record.version)
            if _contradicts(other, copy.version, source, record.version):
                self._ask(other, source)
            leaves = owner in other.leaving
            outdated = (not other.current or leaves) and copy.version < record.version
            if outdated or moved:
                self._drop(other, owner, moved=True)
        self._place(source, owner, record)
        if source.attached:
            self.news += messages.batch({owner: record}, whole=False)

    def _ask(self, source: Source, other: Source) -> None:
        """Another source says that an attached node is elsewhere, or another run: that is asked what it says itself."""
        if other.id in source.doubted:
            # It is asked already; a new question would make the answer, which may be on its way, one to an old one.
            return
        source.doubted.add(other.id)
        self._questions_asked += 1
        source.asked = self._questions_asked
        self.questions.append((source.id, source.asked))

    def _place(self, source: Source, owner: str, record: Record) -> None:
        source.records[owner] = record
        source.leaving.pop(owner, None)
        if owner == source.id:
            source.run = record.version.run
        if source.attached:
            self._moved.pop(owner, None)
        self._copies.setdefault(owner, {})[source] = record
        self._choose(owner)

    def _leave(self, source: Source, owner: str) -> None:
        """An owner is elsewhere, or about to be: a newer copy comes by another way, or has come."""
        if self._counting[owner] is not source.records[owner]:
            self._drop(source, owner)
        elif owner not in source.leaving:
            source.leaving[owner] = self.begin_grace(source.id)

    def _drop(self, source: Source, owner: str, *, moved: bool = False) -> None:
        if source.records.pop(owner, None) is None:
            return
        source.leaving.pop(owner, None)
        del self._copies[owner][source]
        self._choose(owner)
        if source.attached:
            self.news.append(messages.moved(owner) if moved else messages.gone(owner))
            if moved:
                self._moved[owner] = self.begin_grace(self._own_id)
            if not source.current and source.batch is None:
                # It has left, and has not begun to come back.
                self._attached.pop(source.id, None)

    def _drop_all(self, source: Source) -> None:
        for owner in tuple(source.records):
            self._drop(source, owner)

    def _choose(self, owner: str) -> None:
        """Find out which copy of a record counts now."""
        copies = self._copies[owner]
        before = self._counting.pop(owner, None)
        best = self._best(owner, copies) if copies else None
        if best is not None:
            self._counting[owner] = best
        else:
            del self._copies[owner]
        if best is not before:
            if before is not None:
                self.families.remove(owner, before)
            if best is not None:
                self.families.add(owner, best)

    def _best(self, owner: str, copies: dict[Source, Record]) -> Record:
        """Which of these copies counts: of one run of a node what itself says, and else the newest."""
        if owner == self._own_id:
            return self._own
        heard = {record.version.run for source, record in copies.items() if source.id == owner and source.current}
        attached = self._attached.get(owner)
        refuted = attached.refuted if attached is not None and attached in copies else ()
        return newest(
            record
            for source, record in copies.items()
            if source.id == owner or (record.version.run not in heard and source.id not in refuted)
        )

    def _set(self, record: Record, change: Set) -> None:
        self._advance(record, change.owner, change.sequence)
        record.set(change.family, change.key, change.value)
        if self._counting[change.owner] is record:
            self.families.set(change.owner, change.family, change.key, change.value)

    def _delete(self, record: Record, change: Delete) -> list[str]:
        self._advance(record, change.owner, change.sequence)
        gone = [key for key in change.keys if record.delete(change.family, key)]
        if self._counting[change.owner] is record:
            for key in gone:
                self.families.delete(change.owner, change.family, key)
        return gone

    def _advance(self, record: Record, owner: str, sequence: int) -> None:
        record.version = record.version._replace(sequence=sequence)
        self._choose(owner)


def _has_moved(source: Source, before: Version, other: Source, now: Version) -> bool:
    """Whether another source says that a node that seems to be attached here has been attached elsewhere since."""
    if not source.attached or other.id in source.refuted:
        return False
    return before.run == now.run and before.attachment < now.attachment


def _contradicts(source: Source, said: Version, other: Source, now: Version) -> bool:
    """Whether another source has something newer of a node that is attached here: the run elsewhere, or a later one."""
    if other.id == source.id or not source.attached or not source.current or other.id in source.refuted:
        # Who has said itself that it leaves, or is global now, need not be asked.
        return False
    return said.run < now.run or _has_moved(source, said, other, now)
