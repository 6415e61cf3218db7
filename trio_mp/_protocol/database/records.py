"""What the shared database is made of: records, their merge, and the tables that users see.

Each node owns one *record*: all that it has set, by family and key, under a version. Only its owner changes it. What
travels between nodes are copies, older and newer ones, by several ways; `newest` says which of them counts, and
`merge` does so for sets of records. It is commutative, associative and idempotent, so all nodes that have received the
same copies, in whatever order and however often, hold the same database.

A *family* as users see it is one table of keys and values, put together from the records of all owners. If several
have set the same key, the owner with the greatest node ID, compared as bytes, wins; when its entry goes, that of the
next one shows again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import msgspec

Table: TypeAlias = dict[str, object]
"""Keys and values."""

NODES = "trio_mp.nodes"
"""The family of nodes: by node ID, the incarnation of each and the addresses where it listens."""

TOOLS = "trio_mp.tools"
"""The family of tools: by node ID, the incarnation of each. They are not among the nodes, so programs that follow these
see none of them, whatever their version."""

VOUCHERS = "trio_mp.vouchers"
"""The family of vouchers, by node ID: in each record its owner's. Users do not see it; see `vouchers.py`."""

FAMILIES = "trio_mp.families"
"""The names of all families, as keys. Nobody sets it: whoever holds the database makes it when it is asked for."""

_canonical = msgspec.msgpack.Encoder(order="deterministic").encode


class Version(NamedTuple):
    """Which of two copies of one owner's record is newer: the greater tuple.

    Attributes:
      started: when this run of the owner began, by its wall clock, in nanoseconds.
      incarnation: the random token of the run, where two began at the same time.
      attachment: how often the run had found a place for its record in the network.
      sequence: how often it had changed its record.
    """

    started: int
    incarnation: str
    attachment: int
    sequence: int

    @property
    def run(self) -> tuple[int, str]:
        """Which run of the owner it is from."""
        return self.started, self.incarnation


@dataclass(slots=True)
class Record:
    """All that one node has set."""

    version: Version
    tables: dict[str, Table] = field(default_factory=dict)

    def set(self, family: str, key: str, value: object) -> None:
        """Set an entry of this record."""
        self.tables.setdefault(family, {})[key] = value

    def delete(self, family: str, key: str) -> bool:
        """Delete an entry of this record. Returns whether there was one."""
        table = self.tables.get(family, {})
        if key not in table:
            return False
        del table[key]
        if not table:
            del self.tables[family]
        return True

    def entries(self) -> Iterable[tuple[str, str, object]]:
        """Family, key and value of all entries."""
        return ((family, key, value) for family, table in self.tables.items() for key, value in table.items())


def same(one: object, other: object) -> bool:
    """Whether two values are the same to whoever receives them: 1, 1.0 and True are three."""
    return one is other or _canonical(one) == _canonical(other)


def newest(records: Iterable[Record]) -> Record:
    """The copy that counts, of one or more copies of one owner's record."""
    best: Record | None = None
    for record in records:
        if best is None or record.version > best.version:
            best = record
        elif record.version == best.version and record is not best:
            # A version names one state, unless its owner lies. Then all nodes must choose the same one of its states,
            # whatever the order in which they came.
            best = max(best, record, key=lambda copy: _canonical(copy.tables))
    assert best is not None
    return best


def merge(one: Mapping[str, Record], other: Mapping[str, Record]) -> dict[str, Record]:
    """Two sets of records, by owner, as one. Commutative, associative, idempotent."""
    return {
        owner: newest([records[owner] for records in (one, other) if owner in records]) for owner in {**one, **other}
    }


class Difference(NamedTuple):
    """What makes another table of a table.

    Attributes:
      added: entries whose keys are new.
      changed: the new values of those that were there.
      deleted: the keys that are gone.
    """

    added: Table
    changed: Table
    deleted: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.deleted)


def difference(old: Mapping[str, object], new: Mapping[str, object]) -> Difference:
    """What has changed from one table to another."""
    return Difference(
        {key: value for key, value in new.items() if key not in old},
        {key: value for key, value in new.items() if key in old and not same(old[key], value)},
        tuple(key for key in old if key not in new),
    )


def update(table: Table, entries: Mapping[str, object], deleted: Iterable[str]) -> Difference:
    """Change a table: set entries, delete keys. Returns what has really changed."""
    gone = tuple(key for key in dict.fromkeys(deleted) if key in table and key not in entries)
    change = Difference(
        {key: value for key, value in entries.items() if key not in table},
        {key: value for key, value in entries.items() if key in table and not same(table[key], value)},
        gone,
    )
    table.update(entries)
    for key in gone:
        del table[key]
    return change


class Families:
    """The families as users see them, put together from the records that count; a change costs what it touches."""

    def __init__(self) -> None:
        # Family -> key -> owner -> value.
        self._entries: dict[str, dict[str, dict[str, object]]] = {}
        # What users saw before the changes that nobody has taken yet: a table with the key, or without it.
        self._before: dict[str, dict[str, Table]] = {}

    def set(self, owner: str, family: str, key: str, value: object) -> None:
        """Take it that an owner has set an entry."""
        if not _may_set(owner, family, key):
            return
        self._remember(family, key)
        self._entries.setdefault(family, {}).setdefault(key, {})[owner] = value

    def delete(self, owner: str, family: str, key: str) -> None:
        """Take it that an owner has deleted an entry that it had."""
        if not _may_set(owner, family, key):
            return
        self._remember(family, key)
        keys = self._entries[family]
        del keys[key][owner]
        if not keys[key]:
            del keys[key]
        if not keys:
            del self._entries[family]

    def add(self, owner: str, record: Record) -> None:
        """Count the entries of an owner's record from now on."""
        for family, key, value in record.entries():
            self.set(owner, family, key, value)

    def remove(self, owner: str, record: Record) -> None:
        """Count the entries of an owner's record no longer."""
        for family, key, _ in record.entries():
            self.delete(owner, family, key)

    def table(self, family: str) -> Table:
        """A family, whole."""
        if family == FAMILIES:
            names: Table = {}
            names.update(dict.fromkeys(self._entries))
            return names
        # Node IDs are ASCII: compared as text they are compared as bytes.
        return {key: owners[max(owners)] for key, owners in self._entries.get(family, {}).items()}

    def find(self, family: str, key: str) -> Table:
        """A family with only this key, or without any."""
        owners = self._entries.get(family, {}).get(key)
        return {key: owners[max(owners)]} if owners else {}

    def take_changes(self) -> dict[str, Difference]:
        """What users see differently since this was called last, by family."""
        before, self._before = self._before, {}
        changes: dict[str, Difference] = {}
        for family, keys in before.items():
            old: Table = {}
            new: Table = {}
            for key, seen in keys.items():
                old.update(seen)
                new.update(self.find(family, key))
            change = difference(old, new)
            if change:
                changes[family] = change
        return changes

    def _remember(self, family: str, key: str) -> None:
        keys = self._before.setdefault(family, {})
        if key not in keys:
            keys[key] = self.find(family, key)


def _may_set(owner: str, family: str, key: str) -> bool:
    """Whether an entry of this owner counts: where a node listens, and which run of it there is, says the node itself.

    Vouchers are read where a record comes, and nowhere else; the family of families is set by nobody. Entries that do
    not count are left out here, where families are put together, and not where a record comes: so they do not count
    whoever has passed them on.
    """
    return family not in (VOUCHERS, FAMILIES) and (family not in (NODES, TOOLS) or key == owner)
