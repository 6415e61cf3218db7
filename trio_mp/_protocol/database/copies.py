"""The copies of records that one node holds, from whom it has them, and which of them count.

The nodes that have said them are the sources; see `sources.py`. A copy that is older than another one may not outlive
it, or a dead node would rise when the newer copy goes. So two of them go as soon as it is known:

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
from functools import partial
from typing import TypeAlias

from ..schema import Message
from . import messages as messages
from .effects import Grace
from .messages import Begin, Delete, Done, Entries, Gone, Head, Moved, Set
from .records import Families, Record, newest
from .sources import Batch, Source
from .vouchers import SEQUENCE_LIMIT, Judge

AboutRecords: TypeAlias = Begin | Head | Entries | Done | Set | Delete | Gone | Moved


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
      elsewhere: the owners of whom a source has said that they live elsewhere, while no copy has come from there; a
        dict for its order. Whoever needs it no more clears it.
    """

    def __init__(self, own_id: str, own: Record, judge: Judge) -> None:
        self.families = Families()
        self.refused: list[tuple[str, str]] = []
        self.news: list[Message] = []
        self.questions: list[tuple[str, int]] = []
        self.elsewhere: dict[str, None] = {}
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
        """The IDs of the nodes that this node spoke for until not long ago, and that live elsewhere now."""
        return list(self._moved)

    def is_told_by(self, node_id: str) -> bool:
        """Whether a global node has said all that it speaks for, by the connection that there is now."""
        mirror = self._mirrors.get(node_id)
        return mirror is not None and mirror.current

    def begin_grace(self, node_id: str) -> int:
        """Begin a time for which this node keeps something that a node has said. Returns the token of the time."""
        self._tokens += 1
        self.graces.append(Grace(node_id, self._tokens))
        return self._tokens

    # The own record ------------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Count that this node's record has found another place in the network."""
        version = self._own.version
        self._own.version = version._replace(attachment=version.attachment + 1)
        self._choose(self._own_id)

    def set_own(self, family: str, key: str, value: object) -> Iterable[Message]:
        """Set an entry of this node. Returns the messages that say so."""
        sequence = self._own.version.sequence + 1
        self._set(self._own, Set(self._own_id, sequence, family, key, value))
        return [messages.entry_set(self._own_id, sequence, family, key, value)]

    def delete_own(self, family: str, keys: Iterable[str]) -> Iterable[Message]:
        """Delete those entries of this node that there are. Returns the messages that say so."""
        sequence = self._own.version.sequence + 1
        gone = self._delete(self._own, Delete(self._own_id, sequence, family, tuple(keys)))
        return messages.entries_deleted(self._own_id, sequence, family, gone)

    # What others say -----------------------------------------------------------------------------------------------

    def receive(self, from_id: str, is_global: bool, message: AboutRecords) -> str:
        """Take what a node says of records. Returns why it cannot be used, or an empty text."""
        sources = self._mirrors if is_global else self._attached
        source = sources.get(from_id)
        match message:
            case Begin():
                source = source or sources.setdefault(from_id, Source(from_id, not is_global))
                source.batch = Batch(message, partial(self._takes, from_id))
                if source.grace:
                    # The node is back. What it does not say again is kept no longer than if it had stayed away.
                    source.leaving = {**dict.fromkeys(source.records, source.grace), **source.leaving}
                    source.grace = 0
                return ""
            case Head() | Entries() | Done():
                if source is None or source.batch is None:
                    return "a part of a batch that has not begun"
                return self._fill(source, source.batch, message)
            case Moved(owner) if source is not None and source.batch is not None:
                source.batch.have_moved.append(owner)
                return ""
            case _:
                if isinstance(message, Gone):
                    self.elsewhere.pop(message.owner, None)
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

    def _takes(self, from_id: str, owner: str, record: Record) -> bool:
        """Whether a record may be taken from a node."""
        why = self._judge(from_id, owner, record)
        if why:
            self.refused.append((from_id, f"a record of {owner} {why}"))
        return not why

    def _fill(self, source: Source, batch: Batch, message: Head | Entries | Done) -> str:
        """The next part of a batch has come. Returns why it cannot be used, or an empty text."""
        match message:
            case Head(owner, version):
                if source.attached and owner != source.id:
                    source.batch = None
                    return f"a record of {owner} from a node that is not global"
                batch.begin_record(owner, version)
            case Entries(tables):
                if not batch.add(tables):
                    return "entries without a record"
            case _:
                batch.end_record()
                source.batch = None
                if not batch.whole and not source.current:
                    return "a part of records that were never sent whole"
                self._enact(source, batch)
        return ""

    def _enact(self, source: Source, batch: Batch) -> None:
        """Put a complete batch in force."""
        source.current = True
        if batch.whole:
            self._leave_out(source, batch)
        for owner in batch.refused:
            # What the source says of that owner from now on is about a record that this node does not have.
            self._drop(source, owner)
        answered = batch.answers != 0 and batch.answers == source.asked
        for owner, record in batch.records.items():
            self._accept(source, owner, record, answered=answered)
        for owner in batch.have_moved:
            if owner not in self._copies:
                self.elsewhere[owner] = None
        if batch.whole and not source.attached:
            # It was attached here until it became global; now that it speaks for itself nobody else need.
            self._forget_attached(source.id, moved=source.id in source.records)

    def _leave_out(self, source: Source, batch: Batch) -> None:
        """Drop or keep the copies of those owners of whom a source, in a whole batch, has said nothing."""
        own = batch.records.get(source.id)
        is_new = source.run is not None and own is not None and own.version.run != source.run
        # In their order: that of a set differs from run to run, and simulations are repeated.
        for owner in [owner for owner in source.records if owner not in batch.records]:
            if owner in batch.have_moved:
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
        """Keep the copy of a node that says it is about to be attached elsewhere, until it is known to be there."""
        source = self._attached.get(node_id)
        if source is not None:
            source.current = False
            source.batch = None
            # Others know better about a node that leaves.
            source.doubted.clear()
            source.refuted.clear()
            for owner in tuple(source.records):
                self._leave(source, owner)
            if not source.records:
                # The node is known to be elsewhere, or has never said anything.
                self._attached.pop(node_id, None)

    def lose_attached(self, node_id: str) -> None:
        """Drop the copy of a node whose connection is lost. If it has said that it leaves, keep it all the same."""
        source = self._attached.get(node_id)
        if source is not None and not source.leaving:
            self._forget_attached(node_id, moved=False)

    def _forget_attached(self, node_id: str, *, moved: bool) -> None:
        source = self._attached.pop(node_id, None)
        if source is not None:
            for owner in tuple(source.records):
                self._drop(source, owner, moved=moved)

    def lose_global(self, node_id: str) -> None:
        """Drop the own record of a global node that is lost, and keep the rest of what it has said for a while."""
        mirror = self._mirrors.get(node_id)
        if mirror is None:
            return
        mirror.current = False
        mirror.batch = None
        for owner, record in tuple(mirror.records.items()):
            if owner == node_id or self._counting[owner] is not record:
                self._drop(mirror, owner)
        if not mirror.records:
            del self._mirrors[node_id]
            return
        mirror.grace = self.begin_grace(node_id)

    def expire(self, node_id: str, token: int) -> None:
        """Drop what was kept for a time that is over. Does nothing for what has come again, or is gone."""
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

    def _accept(self, source: Source, owner: str, record: Record, *, answered: bool) -> None:
        """Take a whole record from a source, unless another source has a copy because of which it comes too late.

        Args:
          answered: whether the source has said it as the answer to the question that it was asked last.
        """
        if answered:
            source.doubted.clear()
        for other, copy in tuple(self._copies.get(owner, {}).items()):
            if other is source:
                continue
            if source.is_contradicted(record.version, other, copy.version):
                if answered:
                    source.refuted.add(other.id)
                else:
                    self._ask(source, other)
            if source.has_moved(record.version, other, copy.version):
                # The record comes late: the other source says that the node is attached elsewhere by now.
                self._drop(source, owner, moved=True)
                return
            moved = other.has_moved(copy.version, source, record.version)
            if other.is_contradicted(copy.version, source, record.version):
                self._ask(other, source)
            leaves = owner in other.leaving
            outdated = (not other.current or leaves) and copy.version < record.version
            if outdated or moved:
                self._drop(other, owner, moved=True)
        self._place(source, owner, record)
        if source.attached:
            self.news += messages.batch({owner: record}, whole=False)

    def _ask(self, source: Source, other: Source) -> None:
        """Ask an attached node for its own word, because another source has something newer of it."""
        if other.id in source.doubted:
            # It has been asked already. A new question would make its answer, which may be on its way, an outdated one.
            return
        source.doubted.add(other.id)
        self._questions_asked += 1
        source.asked = self._questions_asked
        self.questions.append((source.id, source.asked))

    def _place(self, source: Source, owner: str, record: Record) -> None:
        source.records[owner] = record
        source.leaving.pop(owner, None)
        self.elsewhere.pop(owner, None)
        if owner == source.id:
            source.run = record.version.run
        if source.attached:
            self._moved.pop(owner, None)
        self._copies.setdefault(owner, {})[source] = record
        self._choose(owner)

    def _leave(self, source: Source, owner: str) -> None:
        """Drop the copy of an owner that is, or will be, elsewhere; if it still counts, keep it for a while."""
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
                # The node has left, and has not begun to come back.
                self._attached.pop(source.id, None)

    def _drop_all(self, source: Source) -> None:
        for owner in tuple(source.records):
            self._drop(source, owner)

    def _choose(self, owner: str) -> None:
        """Find out which copy of an owner's record counts now, and have the families show it."""
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
        """Which of these copies counts: the one that the node itself has said, of the same run; else the newest."""
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
