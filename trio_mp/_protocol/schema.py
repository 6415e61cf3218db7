"""Messages as data: the word that each begins with, and what follows; one row both reads and writes a message.

A vocabulary is the table of the messages that one part of the protocol knows. Whoever adds a message adds a row to it:
no other place spells the word or the order of what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from .._ids import is_node_id, is_port_name, split_port

Message: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """What pure rules want done: send this to the node port of that node, if there is a connection with it."""

    node_id: str
    message: Message


P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Field:
    """One element of a message.

    Attributes:
      name: what the documentation calls it.
      accepts: says whether a received value can be this element.
    """

    name: str
    accepts: Callable[[object], bool]

    def called(self, name: str) -> Field:
        """The same kind of element under another name."""
        return Field(name, self.accepts)


class Schema(Generic[P, R_co]):
    """A row of a vocabulary: one kind of message.

    Args:
      word: what the message begins with.
      make: makes the value that the message stands for, of the elements that follow the word; of all that is left, as
        one tuple, for the rest. It may raise `TypeError` or `ValueError` for elements that do not fit each other.
      fields: the elements that follow the word.
      rest: the name of what may follow them, of any length; nothing may follow without it.
      behind: what comes before the word, in all messages of a service.

    Attributes:
      accepts: for each element that follows the word, what says whether a received value can be it.
      read: gives the value that a message stands for, which has the word of this row; None if the rest does not fit.
        It raises the `TypeError` and `ValueError` of `make`.
      write: makes a message, of the arguments that `make` takes.
      shape: the message as the documentation shows it, from the word on and without brackets.
      at: the index of the word in a message.
    """

    __slots__ = ("accepts", "at", "make", "read", "rest", "shape", "word", "write")

    def __init__(self, word: str, make: Callable[P, R_co], *fields: Field, rest: str = "", behind: str = "") -> None:
        self.word = word
        self.make = make
        self.rest = rest
        self.write: Callable[P, Message] = _writer(word, len(fields), bool(rest), behind)
        self.shape = ", ".join([f'"{word}"', *(field.name for field in fields), *([f"*{rest}"] if rest else [])])
        self.accepts = tuple([field.accepts for field in fields])
        self.at = 1 if behind else 0
        # The types of the arguments are what the fields have accepted, which no type checker can know.
        self.read: Callable[[Message], R_co | None] = _reader(make, self.accepts, self.at + 1, bool(rest))


class Vocabulary(Generic[R_co]):
    """The messages that one part of the protocol knows.

    Args:
      schemas: a row for each kind of message. Rows with the same word are tried in this order. In all of them the word
        is at the same place.

    Attributes:
      words: the words of the messages.
    """

    __slots__ = ("_at", "_by_word", "schemas", "words")

    def __init__(self, *schemas: Schema[Any, R_co]) -> None:
        self.schemas = schemas
        self._by_word: dict[object, tuple[Schema[Any, R_co], ...]] = {}
        for schema in schemas:
            self._by_word[schema.word] = (*self._by_word.get(schema.word, ()), schema)
        (self._at,) = {schema.at for schema in schemas}
        self.words = frozenset(schema.word for schema in schemas)

    def read(self, message_untrusted: Message) -> R_co | None:
        """The value that a message stands for; None if it fits no row.

        Raises:
          TypeError, ValueError: what the row's `make` raises.
        """
        word = message_untrusted[self._at] if len(message_untrusted) > self._at else None
        # Anything can come in the place of a word, also what no dict can be asked for.
        if isinstance(word, str):
            for schema in self._by_word.get(word, ()):
                found = schema.read(message_untrusted)
                if found is not None:
                    return found
        return None


def _reader(make: Callable[..., Any], accepts: tuple[Callable[[object], bool], ...], start: int, rest: bool) -> Any:
    """The function that reads one kind of message, whose fields begin at an index."""
    end = start + len(accepts)
    # As at the end, without a loop, for the messages of which there may be one for each port and call.
    if len(accepts) == 1 and rest:
        (only,) = accepts

        def read_one(message_untrusted: Message) -> object:
            if len(message_untrusted) < end or not only(message_untrusted[start]):
                return None
            return make(message_untrusted[start], message_untrusted[end:])

        return read_one

    if len(accepts) == 1:
        (only,) = accepts

        def read_only(message_untrusted: Message) -> object:
            if len(message_untrusted) != end or not only(message_untrusted[start]):
                return None
            return make(message_untrusted[start])

        return read_only

    if len(accepts) == 2 and not rest:
        one, two = accepts

        def read_two(message_untrusted: Message) -> object:
            if len(message_untrusted) != end:
                return None
            first, second = message_untrusted[start:]
            return make(first, second) if one(first) and two(second) else None

        return read_two

    def read(message_untrusted: Message) -> object:
        count = len(message_untrusted)
        if count != end and (count < end or not rest):
            return None
        fields = message_untrusted[start:end]
        for accept, field in zip(accepts, fields, strict=True):
            if not accept(field):
                return None
        return make(*fields, message_untrusted[end:]) if rest else make(*fields)

    return read


def _writer(word: str, fields: int, rest: bool, behind: str) -> Callable[..., Message]:
    """The function that writes one kind of message. A busy node calls some for each port that dies, or call."""
    if behind:
        return lambda *arguments: (behind, word, *arguments)
    # Named parameters, where there are few, and one sum of tuples: a starred display builds a list first.
    if fields == 1 and not rest:
        return lambda only: (word, only)
    if fields == 1:
        return lambda only, more: (word, only) + more  # noqa: RUF005 - the sum takes three quarters of the time
    if fields == 2 and not rest:
        return lambda first, second: (word, first, second)
    if fields == 3 and rest:
        return lambda first, second, third, more: (word, first, second, third) + more  # noqa: RUF005
    if not fields and not rest:
        message = (word,)
        return lambda: message
    if rest:
        return lambda *arguments: (word, *arguments[:-1], *arguments[-1])
    return lambda *arguments: (word, *arguments)


# Kinds of elements -------------------------------------------------------------------------------------------------


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and is_port_name(value)


def _is_port(value: object) -> bool:
    try:
        split_port(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_node(value: object) -> bool:
    return isinstance(value, str) and is_node_id(value)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


TEXT = Field("text", _is_text)
FLAG = Field("flag", _is_flag)
NAME = Field("name", _is_name)
PORT = Field("port", _is_port)
NODE = Field("node ID", _is_node)
LIST = Field("list", _is_list)
TABLE = Field("table", _is_table)
