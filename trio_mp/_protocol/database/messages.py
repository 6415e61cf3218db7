"""The messages of the shared database, as values and as they travel: `["", "db", word, …]`.

From a node to its host, and between global nodes, records travel. `begin` opens a batch: of all the records that the
sender speaks for, or only of some. `record` and `entries` fill it, `done` puts it in force. After the first, single
changes come as `set`, `delete`, `gone` and `moved`. `pull` asks another global node for a batch of all; `leave` tells a
host that it is one no more. By `again` a host asks an attached node, of which others say that it has moved, for a batch
of all; the answer names the number of the question.

A node of the version before does not know `moved`: it keeps its copy, and logs a warning. So `gone` follows when the
time is over for which the others keep theirs.

Between a node and its host, tables travel. `subscribe` asks for a family's table, then for its changes; `get` for the
table once, or for one key of it. Each is answered under its ticket, by `view`, then by `change`; a table or a change
that comes in several messages is in force with the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..._errors import RemoteProtocolError
from ..._ids import PortID, is_incarnation, is_node_id
from ..wire import codec
from .records import Record, Table, Version

WORD = "db"
"""What a message to a node port begins with if it is one of these."""

ENTRY_LIMIT = 32 * 1024
"""The largest entry, in bytes: family, key and value together, encoded. An entry travels in one piece."""

PART_LIMIT = 16 * 1024
"""How large a message may be to which another entry is added, in bytes. With the largest entry, and what is around
it, it stays well below the least that a node may have as its message limit."""

_ROOM = 5  # how deep in a message a value is at the most, with one to spare

Message: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Pull:
    """Send me all records that you speak for, then every change of them."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A batch of records begins.

    Attributes:
      whole: whether it replaces all that the sender has said before; else only the records that are in it.
      answers: the number of the `Again` that it answers; 0 if it answers none.
    """

    whole: bool
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """Of the batch: a record, empty so far."""

    owner: str
    version: Version


@dataclass(frozen=True, slots=True)
class Entries:
    """Of the batch: entries of the record that began last, by family."""

    tables: dict[str, Table]


@dataclass(frozen=True, slots=True)
class Done:
    """The batch is complete."""


@dataclass(frozen=True, slots=True)
class Set:
    """An owner has set an entry."""

    owner: str
    sequence: int
    family: str
    key: str
    value: object


@dataclass(frozen=True, slots=True)
class Delete:
    """An owner has deleted entries."""

    owner: str
    sequence: int
    family: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """An owner is dead, or has been elsewhere for long."""

    owner: str


@dataclass(frozen=True, slots=True)
class Moved:
    """An owner is alive, and another node speaks for it from now on: it is heard of by another way.

    In a batch of all: it has moved not long ago.
    """

    owner: str


@dataclass(frozen=True, slots=True)
class Leave:
    """You are not my host any more."""


@dataclass(frozen=True, slots=True)
class Again:
    """Others say that you have moved: if I am your host, send all that you have set, as the answer to this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Send me a family, then every change of it."""

    ticket: int
    family: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """No longer."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Get:
    """Send me a family once, or only one key of it."""

    ticket: int
    family: str
    key: str | None


@dataclass(frozen=True, slots=True)
class View:
    """A part of the table that was asked for under this ticket."""

    ticket: int
    entries: Table
    last: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A part of a change of the table that was subscribed to under this ticket."""

    ticket: int
    entries: Table
    deleted: tuple[str, ...]
    last: bool


Parsed: TypeAlias = (
    Pull
    | Begin
    | Head
    | Entries
    | Done
    | Set
    | Delete
    | Gone
    | Moved
    | Leave
    | Again
    | Subscribe
    | Unsubscribe
    | Get
    | View
    | Change
)


# What may be in the database ---------------------------------------------------------------------------------------


def check_text(text: object, what: str) -> str:
    """The name of a family or a key, as it travels. Raises `TypeError` or `ValueError`."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is of type {type(text).__name__}: families and keys are str")
    plain = codec.plain_value(str.__str__(text) if isinstance(text, PortID) else text, what)
    assert isinstance(plain, str)
    return plain


def check_entry(family: str, key: str, value: object, what: str = "value") -> object:
    """The value of an entry, as it travels.

    Raises:
      TypeError, ValueError: it cannot travel, or the entry is too large.
    """
    value = codec.plain_value(value, what, room=_ROOM)
    size = encoded_size(family, key, value)
    if size > ENTRY_LIMIT:
        raise ValueError(
            f"an entry of {size} bytes, more than {ENTRY_LIMIT}: the database is for what helps to find things;"
            " send large values in messages"
        )
    return value


def encoded_size(*values: object) -> int:
    """How many bytes these make in a message."""
    buffer = bytearray()
    codec.append_message(buffer, "", values)
    return len(buffer)


# Messages to values ------------------------------------------------------------------------------------------------


def parse(message_untrusted: Message) -> Parsed:
    """What a message says; it begins with `"db"`.

    Raises:
      RemoteProtocolError: no node sends that.
    """
    try:
        found = _parse_records(message_untrusted[1:]) or _parse_tables(message_untrusted[1:])
    except (TypeError, ValueError) as error:
        raise RemoteProtocolError(f"a message of the database with {error}") from None
    if found is None:
        raise RemoteProtocolError(f"not a message of the database: {codec.excerpt(message_untrusted)}")
    return found


def _parse_records(message: Message) -> Parsed | None:
    match message:
        case ("pull",):
            return Pull()
        case ("leave",):
            return Leave()
        case ("begin", bool(whole)):
            return Begin(whole)
        case ("begin", bool(whole), int(number)):
            return Begin(whole, _count(number))
        case ("again", int(number)):
            return Again(_count(number))
        case ("record", str(owner), int(), str(incarnation), int(), int()) if is_node_id(owner) and is_incarnation(
            incarnation
        ):
            return Head(owner, Version(_count(message[2]), incarnation, _count(message[4]), _count(message[5])))
        case ("entries", dict(tables)):
            return Entries({_family(family): _entries(family, table) for family, table in tables.items()})
        case ("done",):
            return Done()
        case ("set", str(owner), int(sequence), str(family), str(key), value) if is_node_id(owner):
            return Set(owner, _count(sequence), family, key, check_entry(family, key, value))
        case ("delete", str(owner), int(sequence), str(family), list(keys)) if is_node_id(owner):
            return Delete(owner, _count(sequence), family, _keys(keys))
        case ("gone", str(owner)) if is_node_id(owner):
            return Gone(owner)
        case ("moved", str(owner)) if is_node_id(owner):
            return Moved(owner)
        case _:
            return None


def _parse_tables(message: Message) -> Parsed | None:
    match message:
        case ("subscribe", int(ticket), str(family)):
            return Subscribe(_count(ticket), _family(family))
        case ("unsubscribe", int(ticket)):
            return Unsubscribe(_count(ticket))
        case ("get", int(ticket), str(family)):
            return Get(_count(ticket), _family(family), None)
        case ("get", int(ticket), str(family), str(key)):
            return Get(_count(ticket), _family(family), check_text(key, "a key"))
        case ("view", int(ticket), dict(entries), bool(last)):
            return View(_count(ticket), _entries("", entries), last)
        case ("change", int(ticket), dict(entries), list(deleted), bool(last)):
            return Change(_count(ticket), _entries("", entries), _keys(deleted), last)
        case _:
            return None


def _count(number: object) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"expected a number from 0, got {number!r}")
    return number


def _family(name: object) -> str:
    return check_text(name, "a family")


def _keys(keys: list[object]) -> tuple[str, ...]:
    return tuple([check_text(key, "a key") for key in keys])


def _entries(family: str, table: object) -> Table:
    if type(table) is not dict:
        raise TypeError(f"expected a table, got {type(table).__name__}")
    return {key: check_entry(family, check_text(key, "a key"), value) for key, value in table.items()}


# Values to messages ------------------------------------------------------------------------------------------------

PULL: Message = (WORD, "pull")
LEAVE: Message = (WORD, "leave")


def batch(
    records: Mapping[str, Record], *, whole: bool, answers: int = 0, have_moved: Iterable[str] = ()
) -> Iterator[Message]:
    """The messages of a batch of records.

    `answers` is the number of the question that it answers, if it does. A whole one says as well which owners have
    moved not long ago.
    """
    yield (WORD, "begin", whole, answers) if answers else (WORD, "begin", whole)
    for owner, record in records.items():
        yield (WORD, "record", owner, *record.version)
        for part in _parts(record.entries()):
            tables: dict[str, Table] = {}
            for family, key, value in part:
                tables.setdefault(family, {})[key] = value
            yield (WORD, "entries", tables)
    for owner in have_moved:
        yield moved(owner)
    yield (WORD, "done")


def entry_set(owner: str, sequence: int, family: str, key: str, value: object) -> Message:
    """An owner has set an entry."""
    return (WORD, "set", owner, sequence, family, key, value)


def entries_deleted(owner: str, sequence: int, family: str, keys: list[str]) -> Iterator[Message]:
    """An owner has deleted entries."""
    for part in _parts((key, "", None) for key in keys):
        yield (WORD, "delete", owner, sequence, family, [key for key, _, _ in part])


def gone(owner: str) -> Message:
    """An owner is dead, or has been elsewhere for long."""
    return (WORD, "gone", owner)


def again(number: int) -> Message:
    """Asks an attached node for all that it has set."""
    return (WORD, "again", number)


def moved(owner: str) -> Message:
    """An owner is elsewhere from now on."""
    return (WORD, "moved", owner)


def subscribe(ticket: int, family: str) -> Message:
    """Asks for a family and its changes."""
    return (WORD, "subscribe", ticket, family)


def unsubscribe(ticket: int) -> Message:
    """Asks for no more of them."""
    return (WORD, "unsubscribe", ticket)


def get(ticket: int, family: str, key: str | None) -> Message:
    """Asks for a family, or a key of it, once."""
    return (WORD, "get", ticket, family) if key is None else (WORD, "get", ticket, family, key)


def view(ticket: int, table: Table) -> Iterator[Message]:
    """The messages of a table."""
    *parts, last = _parts_of_table(table)
    for part in parts:
        yield (WORD, "view", ticket, part, False)
    yield (WORD, "view", ticket, last, True)


def change(ticket: int, entries: Table, deleted: Iterable[str]) -> Iterator[Message]:
    """The messages of a change of a table."""
    for part in _parts((key, "", None) for key in deleted):
        yield (WORD, "change", ticket, {}, [key for key, _, _ in part], False)
    *parts, last = _parts_of_table(entries)
    for entries_of_part in parts:
        yield (WORD, "change", ticket, entries_of_part, [], False)
    yield (WORD, "change", ticket, last, [], True)


def _parts_of_table(table: Table) -> list[Table]:
    """At least one, perhaps empty."""
    parts = _parts(("", key, value) for key, value in table.items())
    return [{key: value for _, key, value in part} for part in parts] or [{}]


def _parts(entries: Iterable[tuple[str, str, object]]) -> Iterator[list[tuple[str, str, object]]]:
    part: list[tuple[str, str, object]] = []
    size = 0
    for entry in entries:
        if size > PART_LIMIT:
            yield part
            part, size = [], 0
        part.append(entry)
        size += encoded_size(*entry)
    if part:
        yield part
