"""The messages of the shared database, as values and as they travel: `["", "db", word, …]`.

From a node to its anchor, and between global nodes, records travel. `begin` opens a batch: of all the records that the
sender speaks for, or only of some. `record` and `entries` fill it, `done` puts it in force. After the first, single
changes come as `set`, `delete`, `gone` and `moved`. `pull` asks another global node for a batch of all; `leave` tells
an anchor that it is one no more. By `again` an anchor asks an attached node, of which others say that it has moved, for
a batch of all; the answer names the number of the question.

A node of the version before does not know `moved`: it keeps its copy, and logs a warning. So `gone` follows when the
time is over for which the others keep theirs.

Between a node and its anchor, tables travel. `subscribe` asks for a family's table, then for its changes; `get` for the
table once, or for one key of it. Each is answered under its ticket, by `view`, then by `change`; a table or a change
that comes in several messages is in force with the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..._errors import RemoteProtocolError
from ..._ids import is_incarnation
from ..schema import FLAG, LIST, NODE, TABLE, TEXT, Field, Message, Schema, Vocabulary
from ..wire.values import excerpt
from .entries import check_entry, check_text, encoded_size
from .records import Record, Table, Version

WORD = "db"
"""What a message to a node port begins with if it is one of these."""

PART_LIMIT = 16 * 1024
"""How large a message may be to which another entry is added, in bytes. With the largest entry, and what is around
it, it stays well below the least that a node may have as its message limit."""


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
    """You are not my anchor any more."""


@dataclass(frozen=True, slots=True)
class Again:
    """Others say that you have moved: if I am your anchor, send all that you have set, as the answer to this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Send me a family, then every change of it."""

    ticket: int
    family: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Tell me no longer of the family that I have subscribed to under this ticket."""

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
class ViewChange:
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
    | ViewChange
)


# The table ---------------------------------------------------------------------------------------------------------


def _begin(whole: bool) -> Begin:
    return Begin(whole)


def _head(owner: str, started: int, incarnation: str, attachment: int, sequence: int) -> Head:
    return Head(owner, Version(started, incarnation, attachment, sequence))


def _entries(tables_untrusted: Mapping[str, object]) -> Entries:
    return Entries({_family(family): _table(family, table) for family, table in tables_untrusted.items()})


def _set(owner: str, sequence: int, family: str, key: str, value_untrusted: object) -> Set:
    return Set(owner, sequence, family, key, check_entry(family, key, value_untrusted))


def _delete(owner: str, sequence: int, family: str, keys_untrusted: Sequence[object]) -> Delete:
    return Delete(owner, sequence, family, _keys(keys_untrusted))


def _subscribe(ticket: int, family: str) -> Subscribe:
    return Subscribe(ticket, _family(family))


def _get(ticket: int, family: str) -> Get:
    return Get(ticket, _family(family), None)


def _get_key(ticket: int, family: str, key: str) -> Get:
    return Get(ticket, _family(family), check_text(key, "key"))


def _view(ticket: int, entries_untrusted: Mapping[str, object], last: bool) -> View:
    return View(ticket, _table("", entries_untrusted), last)


def _change(
    ticket: int, entries_untrusted: Mapping[str, object], deleted_untrusted: Sequence[object], last: bool
) -> ViewChange:
    return ViewChange(ticket, _table("", entries_untrusted), _keys(deleted_untrusted), last)


def _family(name: object) -> str:
    return check_text(name, "family")


def _keys(keys: Sequence[object]) -> tuple[str, ...]:
    return tuple([check_text(key, "key") for key in keys])


def _table(family: str, table: object) -> Table:
    if not isinstance(table, dict):
        raise TypeError(f"expected a table, got {type(table).__name__}")
    return {key: check_entry(family, check_text(key, "key"), value) for key, value in table.items()}


def _is_anything(_value: object) -> bool:
    return True


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_incarnation(value: object) -> bool:
    return isinstance(value, str) and is_incarnation(value)


_COUNT = Field("number", _is_count)
_WHOLE = FLAG.called("whole")
_OWNER = NODE.called("owner")
_SEQUENCE = _COUNT.called("sequence")
_FAMILY = TEXT.called("family")
_KEY = TEXT.called("key")
_KEYS = LIST.called("[key, …]")
_TICKET = _COUNT.called("ticket")
_ENTRIES_OF_FAMILY = TABLE.called("{key: value}")
_LAST = FLAG.called("last")

_PULL = Schema("pull", Pull, behind=WORD)
_BEGIN = Schema("begin", _begin, _WHOLE, behind=WORD)
_BEGIN_ANSWER = Schema("begin", Begin, _WHOLE, _COUNT, behind=WORD)
_HEAD = Schema(
    "record",
    _head,
    *(_OWNER, _COUNT.called("started"), Field("incarnation", _is_incarnation), _COUNT.called("attachment"), _SEQUENCE),
    behind=WORD,
)
_ENTRIES = Schema("entries", _entries, TABLE.called("{family: {key: value}}"), behind=WORD)
_DONE = Schema("done", Done, behind=WORD)
_SET = Schema("set", _set, _OWNER, _SEQUENCE, _FAMILY, _KEY, Field("value", _is_anything), behind=WORD)
_DELETE = Schema("delete", _delete, _OWNER, _SEQUENCE, _FAMILY, _KEYS, behind=WORD)
_GONE = Schema("gone", Gone, _OWNER, behind=WORD)
_MOVED = Schema("moved", Moved, _OWNER, behind=WORD)
_LEAVE = Schema("leave", Leave, behind=WORD)
_AGAIN = Schema("again", Again, _COUNT, behind=WORD)
_SUBSCRIBE = Schema("subscribe", _subscribe, _TICKET, _FAMILY, behind=WORD)
_UNSUBSCRIBE = Schema("unsubscribe", Unsubscribe, _TICKET, behind=WORD)
_GET = Schema("get", _get, _TICKET, _FAMILY, behind=WORD)
_GET_KEY = Schema("get", _get_key, _TICKET, _FAMILY, _KEY, behind=WORD)
_VIEW = Schema("view", _view, _TICKET, _ENTRIES_OF_FAMILY, _LAST, behind=WORD)
_CHANGE = Schema("change", _change, _TICKET, _ENTRIES_OF_FAMILY, _KEYS, _LAST, behind=WORD)

DATABASE: Vocabulary[Parsed] = Vocabulary(
    *(_PULL, _BEGIN, _BEGIN_ANSWER, _HEAD, _ENTRIES, _DONE, _SET, _DELETE, _GONE, _MOVED, _LEAVE, _AGAIN),
    *(_SUBSCRIBE, _UNSUBSCRIBE, _GET, _GET_KEY, _VIEW, _CHANGE),
)

PULL = _PULL.write()
LEAVE = _LEAVE.write()
entry_set = _SET.write
gone = _GONE.write
moved = _MOVED.write
again = _AGAIN.write
subscribe = _SUBSCRIBE.write
unsubscribe = _UNSUBSCRIBE.write


def parse(message_untrusted: Message) -> Parsed:
    """The value that a message of the database, which begins with `"db"`, stands for.

    Raises:
      RemoteProtocolError: no node sends that.
    """
    try:
        found = DATABASE.read(message_untrusted)
    except (TypeError, ValueError) as error:
        raise RemoteProtocolError(f"a message of the database: {error}") from None
    if found is None:
        raise RemoteProtocolError(f"expected a message of the database, got {excerpt(message_untrusted)}")
    return found


# Messages that are made in parts -----------------------------------------------------------------------------------


def batch(
    records: Mapping[str, Record], *, whole: bool, answers: int = 0, have_moved: Iterable[str] = ()
) -> Iterator[Message]:
    """The messages of a batch of records.

    `answers` is the number of the question that it answers, if it does. A whole one says as well which owners have
    moved not long ago.
    """
    yield _BEGIN_ANSWER.write(whole, answers) if answers else _BEGIN.write(whole)
    for owner, record in records.items():
        yield _HEAD.write(owner, *record.version)
        for part in _parts(record.entries()):
            tables: dict[str, Table] = {}
            for family, key, value in part:
                tables.setdefault(family, {})[key] = value
            yield _ENTRIES.write(tables)
    for owner in have_moved:
        yield moved(owner)
    yield _DONE.write()


def entries_deleted(owner: str, sequence: int, family: str, keys: list[str]) -> Iterator[Message]:
    """The messages that say that an owner has deleted entries."""
    for part in _parts((key, "", None) for key in keys):
        yield _DELETE.write(owner, sequence, family, [key for key, _, _ in part])


def get(ticket: int, family: str, key: str | None) -> Message:
    """The message that asks for a family, or for one key of it, once."""
    return _GET.write(ticket, family) if key is None else _GET_KEY.write(ticket, family, key)


def view(ticket: int, table: Table) -> Iterator[Message]:
    """The messages of a table."""
    *parts, last = _parts_of_table(table)
    for part in parts:
        yield _VIEW.write(ticket, part, False)
    yield _VIEW.write(ticket, last, True)


def change(ticket: int, entries: Table, deleted: Iterable[str]) -> Iterator[Message]:
    """The messages of a change of a table."""
    for part in _parts((key, "", None) for key in deleted):
        yield _CHANGE.write(ticket, {}, [key for key, _, _ in part], False)
    *parts, last = _parts_of_table(entries)
    for entries_of_part in parts:
        yield _CHANGE.write(ticket, entries_of_part, [], False)
    yield _CHANGE.write(ticket, last, [], True)


def _parts_of_table(table: Table) -> list[Table]:
    """The parts of a table, each of which fits a message: at least one, which may be empty."""
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
