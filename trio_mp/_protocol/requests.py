"""The requests that nodes send to each other's node port: one table, by which they are written and read.

A message to the node port begins with one of these words; `parse` turns it into a frozen value or, if it is malformed
or not known, into `Malformed`: a newer peer may send what we do not know, and a program may send anything to a node
port. What writes a request is a function of this module, such as `start_monitor`; no other module spells a request. The
table in the documentation is held against the one here.

Calls and replies are as many as messages: they are structs of msgspec, which are made in a fifth of the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import msgspec

from .._ids import is_token
from .._reason import Reason
from .membership.messages import MEMBERSHIP
from .schema import FLAG, NAME, PORT, TABLE, TEXT, Field, Message, Schema, Vocabulary
from .wire.amount import holds_at_most

_LONGEST_TEXT = 1000
"""How long a text may be that says why messages were refused."""

SERVICE_VALUES = 2**15
SERVICE_SIZE = 2**20
"""How many values, and bytes of text, a message of a service, or an inspection, may have: nodes send far smaller ones,
and services look at each value."""


@dataclass(frozen=True, slots=True)
class StartMonitor:
    """`mon1`: tell me when this port dies."""

    name: str


@dataclass(frozen=True, slots=True)
class StopMonitor:
    """`mon0`: tell me no longer when this port dies."""

    name: str


@dataclass(frozen=True, slots=True)
class Died:
    """`kil0`: a port of mine, which you monitor, has died."""

    name: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Kill:
    """`kil`: kill this port."""

    name: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Spawn:
    """`spawn`, `spawn_linked`: make a port of this name and initialise it.

    Attributes:
      linked_to: the ID of the port it is tied to, or an empty string.
    """

    name: str
    function: str
    arguments: tuple[object, ...]
    linked_to: str


@dataclass(frozen=True, slots=True)
class StartPort:
    """`start`: make a port of this name, initialise it, and tell me when it has started.

    Attributes:
      linked_to: the ID of the port it is tied to, or an empty string.
      epoch: which life of a supervised child it is, or None.
    """

    name: str
    function: str
    arguments: tuple[object, ...]
    linked_to: str
    epoch: int | None


@dataclass(frozen=True, slots=True)
class HasStarted:
    """`started`: the port of this name, for which you have asked, has started.

    Attributes:
      value: what with.
      shutdown_timeout: how long a dead port of mine may take to unwind, in seconds.
    """

    name: str
    value: object
    shutdown_timeout: float


@dataclass(frozen=True, slots=True)
class Keep:
    """`keep`: I know that the port of this name, for which I have asked, has started."""

    name: str


class Call(msgspec.Struct, frozen=True):
    """`call`: hand this message to the port of this name, and answer me under this ticket.

    Attributes:
      ticket: the name of a port of the caller that takes the reply; see `docs/protocol.md`.
      seconds: how long the caller still waits for the answer; None for ever.
    """

    name: str
    ticket: str
    seconds: float | None
    message: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Inspect:
    """`inspect`: tell me something of this node, or do something here, and answer me under this ticket.

    Attributes:
      ticket: as for `Call`.
      seconds: how long the asker still waits for the answer; None for ever.
      question: what is asked.
      arguments: what the question is about, by the names of the arguments.
    """

    ticket: str
    seconds: float | None
    question: str
    arguments: dict[str, object]


@dataclass(frozen=True, slots=True)
class CallOff:
    """`call_off`: I do not wait for the answers to my calls of these tickets, or have them."""

    tickets: tuple[str, ...]


class Reply(msgspec.Struct, frozen=True):
    """`reply`: the answer to your call of this ticket."""

    ticket: str
    value: object


@dataclass(frozen=True, slots=True)
class CallFailed:
    """`call_error`: your call of this ticket has failed, and the port lives.

    Attributes:
      begun: whether a handler may have got the message.
      type_name, text: the exception.
      trace: its traceback, or an empty text.
    """

    ticket: str
    begun: bool
    type_name: str
    text: str
    trace: str


@dataclass(frozen=True, slots=True)
class CallDied:
    """`call_died`: the port has died that you have called under this ticket.

    Attributes:
      begun: whether a handler or a mailbox may have got the message.
    """

    ticket: str
    begun: bool
    reason: Reason


@dataclass(frozen=True, slots=True)
class RefusedMessages:
    """`refused`: a port of mine has refused messages of yours, and lives.

    Attributes:
      count: how many.
      text: why, of the first one.
    """

    name: str
    count: int
    text: str


@dataclass(frozen=True, slots=True)
class OpenStream:
    """`stream`: make a port of this name, and give its function a byte stream with me as soon as there is one.

    Attributes:
      token: what the connection that carries the stream will say.
    """

    name: str
    token: str
    function: str
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class StreamReady:
    """`stream_ready`: I wait for the connection of the stream of this name, which you have asked for."""

    name: str


@dataclass(frozen=True, slots=True)
class DialStream:
    """`stream_dial`: I cannot reach you, so make the connection of the stream of this name yourself."""

    name: str


@dataclass(frozen=True, slots=True)
class Forward:
    """`snd`: send this on to a port of this node."""

    port: str
    message: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """`info`, `time`, `up_nodes`, `known_nodes`, `lookup`: send the answer to the reply port.

    Attributes:
      what: the word.
      port: the reply port.
      prefix: what stands before the answer.
      name: of `lookup`, the name that is looked up: a family of the database.
    """

    what: str
    port: str
    prefix: tuple[object, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Ping:
    """`ping`: answer with `pong`, so that I see that you are alive."""


@dataclass(frozen=True, slots=True)
class Pong:
    """`pong`: the answer to `ping`."""


@dataclass(frozen=True, slots=True)
class Parting:
    """`idle`, `bye`, `busy`: whether the connection is needed any more; rule 6 of the association."""

    word: str


@dataclass(frozen=True, slots=True)
class Draining:
    """`draining`: my node is about to end; answer behind all that you have queued for me. `heard`: the answer."""

    word: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """`devnull`, the empty word, no word: that it arrived is all there is to it."""


@dataclass(frozen=True, slots=True)
class ForService:
    """A message of a service: the database, for example."""

    word: str
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Malformed:
    """Anything else. It is logged and does nothing: the node port cannot be killed."""

    message: tuple[object, ...]


ForNewPort: TypeAlias = Spawn | StartPort | OpenStream
"""What asks for a port, under a name that the asker gives it."""

Calling: TypeAlias = Call | Inspect | CallOff | Reply | CallFailed | CallDied
Streaming: TypeAlias = OpenStream | StreamReady | DialStream
Request: TypeAlias = (
    StartMonitor
    | StopMonitor
    | Died
    | Kill
    | Spawn
    | StartPort
    | HasStarted
    | Keep
    | Calling
    | RefusedMessages
    | Streaming
    | Forward
    | Query
    | Ping
    | Pong
    | Parting
    | Draining
    | Nothing
    | ForService
    | Malformed
)


# The table ---------------------------------------------------------------------------------------------------------


def _is_token(value: object) -> bool:
    return isinstance(value, str) and is_token(value)


def _is_anything(_: object) -> bool:
    return True


def _is_port_or_none(value: object) -> bool:
    return value is None or PORT.accepts(value)


def _is_epoch_or_none(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value < 2**63)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value < 2**63


def _is_reason_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


def _is_seconds(value: object) -> bool:
    return type(value) in {int, float} and 0 <= cast("float", value) < math.inf


def _is_seconds_or_none(value: object) -> bool:
    return value is None or _is_seconds(value)


def _start(name: str, function: str, port: str | None, epoch: int | None, arguments: tuple[object, ...]) -> StartPort:
    return StartPort(name, function, arguments, port or "", epoch)


def _spawn(name: str, function: str, arguments: tuple[object, ...]) -> Spawn:
    return Spawn(name, function, arguments, "")


def _spawn_linked(name: str, function: str, port: str, arguments: tuple[object, ...]) -> Spawn:
    return Spawn(name, function, arguments, port)


def _call_off(tickets: tuple[object, ...]) -> CallOff | None:
    return CallOff(cast("tuple[str, ...]", tickets)) if all(map(NAME.accepts, tickets)) else None


def _lookup(name: str, port: str, prefix: tuple[object, ...]) -> Query:
    return Query(LOOKUP, port, prefix, name)


def _nothing(_anything: tuple[object, ...]) -> Nothing:
    return Nothing()


_FUNCTION = TEXT.called("function")

_START_MONITOR = Schema("mon1", StartMonitor, NAME)
_STOP_MONITOR = Schema("mon0", StopMonitor, NAME)
_DIED = Schema("kil0", Died, NAME, rest="reason")
_KILL = Schema("kil", Kill, NAME, rest="reason")
_SPAWN = Schema("spawn", _spawn, NAME, _FUNCTION, rest="args")
_SPAWN_LINKED = Schema("spawn_linked", _spawn_linked, NAME, _FUNCTION, PORT, rest="args")
_START = Schema(
    *("start", _start, NAME, _FUNCTION, Field("port", _is_port_or_none), Field("epoch", _is_epoch_or_none)), rest="args"
)
_HAS_STARTED = Schema("started", HasStarted, NAME, Field("value", _is_anything), Field("seconds", _is_seconds))
_KEEP = Schema("keep", Keep, NAME)
_TICKET = NAME.called("ticket")
# One that this node has given, or none of a call: it is looked for, and nothing is made of it.
_OWN_TICKET = TEXT.called("ticket")
_BEGUN = FLAG.called("begun")
_CALL = Schema("call", Call, NAME, _TICKET, Field("seconds", _is_seconds_or_none), rest="message")
_INSPECT = Schema(
    *("inspect", Inspect, _TICKET, Field("seconds", _is_seconds_or_none), TEXT.called("question")),
    TABLE.called("arguments"),
)
_CALL_OFF: Schema[..., Any] = Schema("call_off", _call_off, rest="tickets")
_REPLY = Schema("reply", Reply, _OWN_TICKET, Field("value", _is_anything))
_CALL_FAILED = Schema(
    *("call_error", CallFailed, _OWN_TICKET, _BEGUN, TEXT.called("type"), TEXT.called("text"), TEXT.called("traceback"))
)
_CALL_DIED = Schema("call_died", CallDied, _OWN_TICKET, _BEGUN, rest="reason")
_REFUSED = Schema(*("refused", RefusedMessages, NAME, Field("count", _is_count), Field("text", _is_reason_text)))
_OPEN_STREAM = Schema("stream", OpenStream, NAME, Field("token", _is_token), _FUNCTION, rest="args")
_STREAM_READY = Schema("stream_ready", StreamReady, NAME)
_DIAL_STREAM = Schema("stream_dial", DialStream, NAME)
_FORWARD = Schema("snd", Forward, PORT, rest="message")
_PING = Schema("ping", Ping)
_PONG = Schema("pong", Pong)
_QUERY_WORDS = ("info", "time", "up_nodes", "known_nodes")
_QUERIES: list[Schema[..., Query]] = [
    Schema(word, partial(Query, word), PORT.called("reply port"), rest="prefix") for word in _QUERY_WORDS
]
_QUERIES.append(Schema("lookup", _lookup, TEXT.called("name"), PORT.called("reply port"), rest="prefix"))
_PARTING: list[Schema[..., Parting]] = [Schema(word, partial(Parting, word)) for word in ("idle", "bye", "busy")]
_DRAINING: list[Schema[..., Draining]] = [Schema(word, partial(Draining, word)) for word in ("draining", "heard")]
_NOTHING: list[Schema[..., Nothing]] = [Schema(word, _nothing, rest="anything") for word in ("", "devnull")]
_SERVICE_WORDS = ("db", "log", *(schema.word for schema in MEMBERSHIP.schemas))
_SERVICES: list[Schema[..., ForService]] = [
    Schema(word, partial(ForService, word), rest="arguments") for word in _SERVICE_WORDS
]

REQUESTS: Vocabulary[Request] = Vocabulary(
    *(_START_MONITOR, _STOP_MONITOR, _DIED, _KILL, _SPAWN, _SPAWN_LINKED, _START, _HAS_STARTED, _KEEP),
    *(_CALL, _INSPECT, _CALL_OFF, _REPLY, _CALL_FAILED, _CALL_DIED, _REFUSED),
    *(_OPEN_STREAM, _STREAM_READY, _DIAL_STREAM, _FORWARD, _PING, _PONG),
    *_QUERIES,
    *_PARTING,
    *_DRAINING,
    *_NOTHING,
    *_SERVICES,
)

start_monitor = _START_MONITOR.write
stop_monitor = _STOP_MONITOR.write
died = _DIED.write
kill = _KILL.write
spawn = _SPAWN.write
spawn_linked = _SPAWN_LINKED.write
start = _START.write
started = _HAS_STARTED.write
keep = _KEEP.write
call = _CALL.write
inspect = _INSPECT.write
call_off = _CALL_OFF.write
reply = _REPLY.write
call_failed = _CALL_FAILED.write
call_died = _CALL_DIED.write
refused = _REFUSED.write
open_stream = _OPEN_STREAM.write
stream_ready = _STREAM_READY.write
dial_stream = _DIAL_STREAM.write
ping = _PING.write
pong = _PONG.write
IDLE, BYE, BUSY = (schema.write() for schema in _PARTING)
SAY_DRAINING, SAY_HEARD = (schema.write() for schema in _DRAINING)

CALL, REFUSED, INSPECT = _CALL.word, _REFUSED.word, _INSPECT.word
DRAINING = _DRAINING[0].word

WORDS: tuple[str, ...] = (CALL, REFUSED, INSPECT, DRAINING)
"""What begins the requests that a node makes only of those that have said, in their greeting, that they understand."""

LOOKUP = "lookup"
"""The question for a port that is registered under a name: followed by the name and the reply port."""

INFO = "info"
"""The question that a node answers with its ID, behind what the asker has said before: followed by the reply port."""

QUERIES = frozenset(schema.word for schema in _QUERIES)
"""What begins the messages that ask for an answer."""

SERVICES = frozenset(schema.word for schema in _SERVICES)
"""What begins the messages of services, which read the rest themselves."""

ABOUT_PORTS = frozenset(
    schema.word
    for schema in (_START_MONITOR, _STOP_MONITOR, _KILL, _SPAWN, _SPAWN_LINKED, _START, _KEEP, _CALL, _OPEN_STREAM)
)
"""What begins the messages by whose loss a port is told nothing: the one of the name that follows the word."""

UPKEEP = SERVICES | {
    "",
    *(schema.word for schema in (_START_MONITOR, _STOP_MONITOR, _DIED, _KEEP, _CALL_OFF, _REFUSED)),
    *(schema.word for schema in (_STREAM_READY, _PING, _PONG)),
    *(schema.word for schema in (*_PARTING, *_DRAINING)),
}
"""What begins the messages that are the nodes' own: see `is_upkeep`."""


def parse(message: Message) -> Request:
    """The request in a message to a node port (without the port's name, which is empty)."""
    if not message:
        return Nothing()
    request = REQUESTS.read(message)
    if request is None:
        return Malformed(message)
    if isinstance(request, ForService | Inspect) and not holds_at_most(message, SERVICE_VALUES, SERVICE_SIZE):
        return Malformed(message)
    return request


def ticket_of(message: Message) -> str | None:
    """The ticket of a request that is answered under one; None of any other."""
    word = message[0] if message else None
    request = _CALL.read(message) if word == _CALL.word else _INSPECT.read(message) if word == _INSPECT.word else None
    return request.ticket if request is not None else None


def says_nothing(message: Message) -> bool:
    """Whether a message, with the port's name, is a sign of life, or about parting: then no program depends on it."""
    return not message or (message[0] == "" and isinstance(parse(message[1:]), Nothing | Parting))


def is_upkeep(message: Message) -> bool:
    """Whether a message, with the port's name, is one of the nodes' own, and no program loses anything by its loss.

    What it was about ends with the connection, or is said again by the next one: monitors, the database, membership.
    """
    match message:
        case () | ("",):
            return True
        case ("", str(word), *_):
            return word in UPKEEP
        case _:
            return False
