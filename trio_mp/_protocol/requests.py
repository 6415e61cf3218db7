"""The requests that nodes send to each other's node port, as values.

A message to the node port begins with one of these words; `parse` turns it into a frozen value or, if it is malformed
or not known, into `Malformed`: a newer peer may send what we do not know, and a program may send anything to a node
port.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .._ids import is_port_name, is_token, split_port
from .._reason import Reason
from .membership import rules as membership
from .wire import codec

QUERIES = frozenset({"info", "time", "up_nodes", "known_nodes"})
PARTING = frozenset({"idle", "bye", "busy"})

SERVICES = frozenset({"db", "log"}) | membership.WORDS
"""What begins the messages of services, which read the rest themselves."""

UPKEEP = SERVICES | PARTING | {"", "mon1", "mon0", "kil0", "ping", "pong", "stream_ready"}
"""What begins the messages that are the nodes' own: see `is_upkeep`."""


SERVICE_VALUES = 2**15
SERVICE_SIZE = 2**20
"""How many values, and bytes of text, a message of a service may have: nodes send far smaller ones, and services look
at each value."""


@dataclass(frozen=True, slots=True)
class Watch:
    """`mon1`: tell me when this port dies."""

    name: str


@dataclass(frozen=True, slots=True)
class Unwatch:
    """`mon0`: no longer."""

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
    """`info`, `time`, `up_nodes`, `known_nodes`: send the answer to the reply port."""

    what: str
    port: str
    prefix: tuple[object, ...]


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


Streaming: TypeAlias = OpenStream | StreamReady | DialStream
Request: TypeAlias = (
    Watch
    | Unwatch
    | Died
    | Kill
    | Spawn
    | Streaming
    | Forward
    | Query
    | Ping
    | Pong
    | Parting
    | Nothing
    | ForService
    | Malformed
)


def parse(message: tuple[object, ...]) -> Request:
    """The request in a message to a node port (without the port's name, which is empty)."""
    match message:
        case () | ("" | "devnull", *_):
            return Nothing()
        case ("ping",):
            return Ping()
        case ("pong",):
            return Pong()
        case (str(word),) if word in PARTING:
            return Parting(word)
        case ("mon1", str(name)) if is_port_name(name):
            return Watch(name)
        case ("mon0", str(name)) if is_port_name(name):
            return Unwatch(name)
        case ("kil0", str(name), *reason) if is_port_name(name):
            return Died(name, tuple(reason))
        case ("kil", str(name), *reason) if is_port_name(name):
            return Kill(name, tuple(reason))
        case ("spawn", str(name), str(function), *arguments) if is_port_name(name):
            return Spawn(name, function, tuple(arguments), "")
        case ("spawn_linked", str(name), str(function), str(port), *arguments) if is_port_name(name) and _is_port(port):
            return Spawn(name, function, tuple(arguments), port)
        case ("stream", str(name), str(token), str(function), *arguments) if is_port_name(name) and is_token(token):
            return OpenStream(name, token, function, tuple(arguments))
        case ("stream_ready", str(name)) if is_port_name(name):
            return StreamReady(name)
        case ("stream_dial", str(name)) if is_port_name(name):
            return DialStream(name)
        case ("snd", str(port), *rest) if _is_port(port):
            return Forward(port, tuple(rest))
        case (str(what), str(port), *prefix) if what in QUERIES and _is_port(port):
            return Query(what, port, tuple(prefix))
        case (str(word), *arguments) if word in SERVICES and codec.holds_at_most(message, SERVICE_VALUES, SERVICE_SIZE):
            return ForService(word, tuple(arguments))
        case _:
            return Malformed(message)


def says_nothing(message: tuple[object, ...]) -> bool:
    """Whether a message, with the port's name, is a sign of life, or about parting: then no program depends on it."""
    return not message or (message[0] == "" and isinstance(parse(message[1:]), Nothing | Parting))


def is_upkeep(message: tuple[object, ...]) -> bool:
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


def _is_port(text: str) -> bool:
    try:
        split_port(text)
    except ValueError:
        return False
    return True
