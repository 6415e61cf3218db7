"""Makes the test vectors of the wire, for programs in other languages: docs/wire-vectors-1.json.

python tests/wire_vectors.py

The number in the file's name is the version of the protocol. A vector says what every node of that version writes and
reads, those of later packages too. So this program adds vectors and changes none: if one differs from what the package
says now, it writes nothing, and the exit status is 1. docs/protocol.md describes the form of the file.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from trio_mp._ids import spawned_prefix, spawner_mark
from trio_mp._protocol import log_records, requests
from trio_mp._protocol.database import messages as database, vouchers
from trio_mp._protocol.database.records import Version
from trio_mp._protocol.handshake.auth import stretch_secret
from trio_mp._protocol.handshake.events import Greeted
from trio_mp._protocol.handshake.greeting import LocalInfo, escape
from trio_mp._protocol.handshake.handshake import Handshake
from trio_mp._protocol.membership import messages as membership
from trio_mp._protocol.wire import chunks
from trio_mp._protocol.wire.framing import JSON, MSGPACK, Framing

FILE = Path(__file__).resolve().parents[1] / "docs" / "wire-vectors-1.json"

Vector: TypeAlias = dict[str, Any]
Message: TypeAlias = tuple[object, ...]

SECRET = "correct horse battery staple"
LIMIT = 65536
"""The `limit=` of both nodes: the smallest one, so that a frame that is too large is short."""

ABOUT = (
    "Test vectors of version 1 of the wire protocol of trio_mp; the section 'Versions and vectors' of"
    " docs/protocol.md says how to use them."
)

# Handshakes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One side of a handshake: what it says of itself, and its random bytes.

    Attributes:
      node_id, incarnation: its own.
      nonce: the 33 bytes.
      lost: the ID of the last connection that ended on this side.
      secret: the secret; empty if certificates alone prove who is there.
      framings: those that it reads and writes, the better one first.
      words: what it says behind `words=`.
      tool: whether it says `kind=tool`.
      provider, peer_address: what it says behind `provider=` and `peeraddr=`.
    """

    node_id: str
    incarnation: str
    nonce: bytes
    lost: str = ""
    secret: str = SECRET
    framings: tuple[str, ...] = ("msgpack", "json")
    words: tuple[str, ...] = ()
    tool: bool = False
    provider: str = "trio_mp/0.1.0"
    peer_address: str = ""

    def begin(self, *, dialler: bool, encryption: bool) -> Handshake:
        """Begin the handshake of this side, with the code of the package."""
        local = LocalInfo(
            node_id=self.node_id,
            incarnation=self.incarnation,
            keys=(stretch_secret(self.secret.encode()),) if self.secret else (),
            encryption=encryption,
            heartbeat=5.0,
            limit=LIMIT,
            provider=self.provider,
            certificates=not self.secret,
            framings=self.framings,
            words=self.words,
            tool=self.tool,
        )
        return Handshake(local, self.nonce, dialler=dialler, peer_address=self.peer_address)


SMALLER, GREATER = bytes(range(33)), bytes(range(33, 66))
"""Two nonces. The side with the greater one is the TLS server."""

WORDS = ("call", "refused", "inspect", "draining")
"""The words that nodes say they understand. No vector gets another one: then it would be another vector."""

DIALLER = Side("a", "A" * 16, SMALLER, words=WORDS, peer_address="unix:/run/b")
DIALLED = Side("b", "B" * 16, GREATER, words=WORDS, peer_address="unix:")
WITHOUT_WORDS = Side("b", "B" * 16, GREATER, peer_address="unix:")
ONLY_JSON = Side("b", "B" * 16, GREATER, framings=("json",))

FINGERPRINT = bytes(range(128, 160))


@dataclass(frozen=True)
class Meeting:
    """Two sides, and how their handshake goes.

    Attributes:
      title: what the vector is called.
      dialler, dialled: the sides.
      fingerprint: the SHA-256 of the TLS server's certificate; empty without TLS.
      stream: the token of the byte stream, if the connection is to carry one.
      no: why the side that decides refuses the connection, if it does.
    """

    title: str
    dialler: Side
    dialled: Side
    fingerprint: bytes = b""
    stream: str = ""
    no: str = ""


MEETINGS = (
    Meeting("a secret, without TLS", DIALLER, DIALLED),
    Meeting("a secret, under TLS", DIALLER, DIALLED, FINGERPRINT),
    Meeting(
        "certificates and no secret",
        Side("a", "A" * 16, GREATER, secret="", words=WORDS),
        Side("b", "B" * 16, SMALLER, secret="", words=WORDS),
        FINGERPRINT,
    ),
    Meeting(
        "the side that decides has dialled, and both have lost a connection",
        Side("b", "B" * 16, SMALLER, lost="0123456789abcdef0123456789abcdef"),
        Side("a", "A" * 16, GREATER, lost="00112233445566778899aabbccddeeff"),
    ),
    Meeting("a peer that says no words", DIALLER, WITHOUT_WORDS),
    Meeting("a peer that speaks JSON only", DIALLER, ONLY_JSON, FINGERPRINT),
    Meeting(
        "a tool, and texts with escapes",
        Side("a", "A" * 16, SMALLER, tool=True, provider="other;100 %/ä 1.0", peer_address="unix:/a;b"),
        DIALLED,
    ),
    Meeting("a byte stream", DIALLER, DIALLED, FINGERPRINT, stream="tokentokentoken0"),
    Meeting("a refusal", DIALLER, DIALLED, no="node ID in use; 100 %"),
)


def lines_of(meeting: Meeting) -> tuple[list[list[str]], str, bool]:
    """The lines of a handshake with the side that says each, the connection ID, and whether who dialled serves TLS."""
    encrypted = bool(meeting.fingerprint)
    sides = {
        "dialler": meeting.dialler.begin(dialler=True, encryption=encrypted),
        "dialled": meeting.dialled.begin(dialler=False, encryption=encrypted),
    }
    if meeting.stream:
        sides["dialler"].want_stream(meeting.stream)
    lines: list[list[str]] = []
    connection = ""

    def say(who: str, text: str) -> None:
        nonlocal connection
        other = sides["dialled" if who == "dialler" else "dialler"]
        for line in text.splitlines():
            lines.append([who, line])
            for event in other.line_received(line):
                if isinstance(event, Greeted):
                    connection = event.connection

    for who, side in sides.items():
        say(who, side.greeting)
    if encrypted:
        for who, side in sides.items():
            other_id = sides["dialled" if who == "dialler" else "dialler"].local.node_id
            side.tls_done(meeting.fingerprint, frozenset({other_id}))
    for who, lost in (("dialler", meeting.dialler.lost), ("dialled", meeting.dialled.lost)):
        say(who, sides[who].prove(lost))
    # The greater node ID decides; of a byte stream the side that was dialled does.
    decides = "dialler" if meeting.dialler.node_id > meeting.dialled.node_id and not meeting.stream else "dialled"
    if meeting.no:
        say(decides, sides[decides].refuse(meeting.no))
    else:
        other = "dialled" if decides == "dialler" else "dialler"
        say(decides, sides[decides].link())
        say(other, sides[other].accept())
    return lines, connection, sides["dialler"].tls_server


def handshakes() -> Iterable[Vector]:
    """Each handshake: what both sides know, and each line that they say, without its line feed."""
    for meeting in MEETINGS:
        lines, connection, dialler_serves = lines_of(meeting)
        server = "dialler" if dialler_serves else "dialled"
        yield {
            "name": meeting.title,
            "secret": meeting.dialler.secret,
            "key": stretch_secret(meeting.dialler.secret.encode()).hex() if meeting.dialler.secret else "",
            "nonces": {"dialler": meeting.dialler.nonce.hex(), "dialled": meeting.dialled.nonce.hex()},
            "tls": {"server": server, "fingerprint": meeting.fingerprint.hex()} if meeting.fingerprint else None,
            "lines": lines,
            "connection": connection,
        }


# Messages -------------------------------------------------------------------------------------------------------------

NAME = f"{spawned_prefix(spawner_mark('a', 'A' * 16), 1)}0123456789abcdef"
"""A port of `b` that `a` has spawned."""

OWN = "AAAAAAAA.fedcba9876543210"
"""A port of `a` itself, and the ticket of a call."""

PORT, LOCAL_PORT = f"b#{NAME}", f"a#{OWN}"
TOKEN = "tokentokentoken0"
STARTED = 1_760_000_000_123_456_789
RUN = Version(STARTED, "A" * 16, 1, 7)


def requests_to_the_node_port() -> list[tuple[str, Message]]:
    """Every request: a title, and the message without the empty name of the node port."""
    write, reason = requests, ("die", "out of paper")
    plain: dict[str, Message] = {
        "mon1": write.start_monitor(NAME),
        "mon0": write.stop_monitor(NAME),
        "kil0": write.died(NAME, reason),
        "kil0, a normal death": write.died(NAME, ()),
        "kil": write.kill(NAME, reason),
        "spawn": write.spawn(NAME, "printers:open_printer", ("A4", 2)),
        "spawn_linked": write.spawn_linked(NAME, "printers:open_printer", LOCAL_PORT, ("A4",)),
        "start": write.start(NAME, "printers:open_printer", None, None, ()),
        "start, linked, an epoch, arguments": write.start(NAME, "printers:open_printer", LOCAL_PORT, 3, ("A4", {})),
        "started": write.started(NAME, {"pages": 0}, 5.0),
        "keep": write.keep(NAME),
        "call": write.call(NAME, OWN, 2.5, ("print", "text", 2)),
        "call, for ever": write.call(NAME, OWN, None, ("print",)),
        "inspect": write.inspect(OWN, 5.0, "ports", {"by": "queue", "limit": 10, "after": None}),
        "call_off": write.call_off((OWN, f"{OWN[:-1]}1")),
        "reply": write.reply(OWN, ["done", 2]),
        "call_error": write.call_failed(OWN, True, "ValueError", "no paper", ""),
        "call_error, refused before it began": write.call_failed(OWN, False, "busy", "64 calls are in flight", ""),
        "call_died": write.call_died(OWN, True, reason),
        "refused": write.refused(NAME, 3, "expected a number, got a text"),
        "stream": write.open_stream(NAME, TOKEN, "files:send", ("report.pdf",)),
        "stream_ready": write.stream_ready(NAME),
        "stream_dial": write.dial_stream(NAME),
        "snd": ("snd", PORT, "print", "text"),
        **{word: (word, LOCAL_PORT, "answer", 1) for word in ("info", "time", "up_nodes", "known_nodes")},
        "lookup": ("lookup", "printers", LOCAL_PORT, "answer", 1),
        "ping": write.ping(),
        "pong": write.pong(),
        **{str(message[0]): message for message in (write.IDLE, write.BYE, write.BUSY)},
        **{str(message[0]): message for message in (write.SAY_DRAINING, write.SAY_HEARD)},
        "the empty word, a sign of life": ("",),
        "devnull": ("devnull", "anything"),
        "join": membership.join(True, ["host.example.org:4040", "unix:/run/a"]),
        "welcome": membership.welcome(["unix:/run/b"], {"c": ["unix:/run/c"]}),
        "attach": membership.attach(),
        "decline": membership.decline("a tool needs a global node"),
        "meet": membership.meet("c", ["unix:/run/c"]),
        "dial": membership.dial("b", "a", ["unix:/run/a"]),
        "log": log_records.want_logs(20, LOCAL_PORT),
    }
    return [*plain.items(), *messages_of_the_database()]


def messages_of_the_database() -> list[tuple[str, Message]]:
    """Every message of the shared database, with the word `db`."""
    write = database
    version = (RUN.started, RUN.incarnation, RUN.attachment, RUN.sequence)
    (deleted,) = write.entries_deleted("a", 9, "printers", ["second floor"])
    (view,) = write.view(5, {"first floor": PORT})
    (change,) = write.change(5, {"first floor": PORT}, [])
    return [
        ("db pull", write.PULL),
        ("db begin", ("db", "begin", True)),
        ("db begin, the answer to again", ("db", "begin", True, 4)),
        ("db record", ("db", "record", "a", *version)),
        ("db entries", ("db", "entries", {"printers": {"first floor": PORT}, "trio_mp.nodes": {"a": ["A" * 16, "x"]}})),
        ("db done", ("db", "done")),
        ("db set", write.entry_set("a", 8, "printers", "second floor", LOCAL_PORT)),
        ("db delete", deleted),
        ("db gone", write.gone("a")),
        ("db moved", write.moved("a")),
        ("db leave", write.LEAVE),
        ("db again", write.again(4)),
        ("db subscribe", write.subscribe(5, "printers")),
        ("db unsubscribe", write.unsubscribe(5)),
        ("db get", write.get(6, "printers", None)),
        ("db get, one key", write.get(6, "printers", "first floor")),
        ("db view", view),
        ("db change", change),
        ("db change, with keys that are gone", ("db", "change", 5, {}, ["second floor"], True)),
    ]


def messages_to_ports() -> list[tuple[str, Message]]:
    """What the package itself says to ports: records of a log, a channel, a trace; and a message of a program."""
    record = log_records.record("app", 30, 1760000000.5, "out of paper", "", 0)
    return [
        ("a message", ("print", "text", 2)),
        ("a message with nothing in it", ()),
        ("record", record),
        ("item", ("item", {"page": 1})),
        *((word, (word,)) for word in ("wait", "end", "closed")),
        ("credit", ("credit", 16)),
        ("tracing", ("tracing", 3)),
        ("traced", ("traced", 3, 0.25, "('print', 'text')")),
    ]


def messages() -> Iterable[Vector]:
    """Every message in both framings; each is the only one of its frame."""
    requests_ = [(title, ("", *message)) for title, message in requests_to_the_node_port()]
    for title, message in [*requests_, *((title, (NAME, *message)) for title, message in messages_to_ports())]:
        yield {"name": title, "message": noted(message), **framed([message])}


VALUES: tuple[tuple[str, object], ...] = (
    ("nil", None),
    ("true and false", [True, False]),
    *((f"the integer {number}", number) for number in (0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32)),
    *((f"the integer {number}", number) for number in (2**63 - 1, 2**63, 2**64 - 1)),
    *((f"the integer {number}", number) for number in (-1, -32, -33, -128, -129, -32768, -32769, -(2**31))),
    *((f"the integer {number}", number) for number in (-(2**31) - 1, -(2**63))),
    *((f"the number {number!r}", number) for number in (0.0, -0.0, 1.5, 0.1, 5e-324, 1.7976931348623157e308)),
    *((f"the number {number!r}", number) for number in (math.inf, -math.inf, math.nan)),
    ("no text", ""),
    ("text", 'a "quoted" text, a backslash \\ and a line feed \n'),
    ("text beyond ASCII", "ä 漢 \U0001f600"),
    *((f"{size} characters", "x" * size) for size in (31, 32, 255, 256)),
    ("no bytes", b""),
    ("bytes", bytes(range(0, 256, 15))),
    ("256 bytes", bytes(256)),
    ("an empty list, an empty table", [[], {}]),
    *((f"a list of {size}", [0] * size) for size in (15, 16)),
    *((f"a table of {size}", {f"key {number}": number for number in range(size)}) for size in (15, 16)),
    ("lists and tables in each other", {"list": [1, [2, {"table": {"": None}}]]}),
)


def values() -> Iterable[Vector]:
    """Every kind of value, each as the second element of a message."""
    for title, value in VALUES:
        message = (NAME, value)
        yield {"name": title, "message": noted(message), **framed([message])}


def batches() -> Iterable[Vector]:
    """A frame of several messages."""
    batch: list[Message] = [("", "mon1", NAME), (NAME, "print", "text"), (NAME, "print", "more")]
    yield {"name": "three messages", "messages": [noted(message) for message in batch], **framed(batch)}


def framed(batch: list[Message]) -> Vector:
    """A batch in both framings, in hexadecimal and as text; nil where JSON lacks a value."""
    try:
        text: str | None = encode(JSON, batch).decode()
    except (TypeError, ValueError):
        text = None
    return {"msgpack": encode(MSGPACK, batch).hex(), "json": text}


def encode(framing: Framing, batch: list[Message]) -> bytes:
    """A batch as the package writes it."""
    frame = framing.open_frame()
    for name, *message in batch:
        assert isinstance(name, str)
        framing.append(frame, name, tuple(message))
    framing.close_frame(frame, len(batch))
    return bytes(frame)


def noted(value: object) -> object:
    """A value in the notation of the file: JSON, and tables of one key for what JSON lacks."""
    match value:
        case bytes():
            return {"$bytes": value.hex()}
        case float() if not math.isfinite(value):
            return {"$float": repr(value)}
        case list() | tuple():
            return [noted(each) for each in value]
        case dict():
            return {key: noted(each) for key, each in value.items()}
        case _:
            return value


# What others may write, and what nobody may ---------------------------------------------------------------------------


def frame(payload: bytes) -> str:
    """A frame of MessagePack, in hexadecimal."""
    return (len(payload).to_bytes(4, "big") + payload).hex()


def read_alike() -> Iterable[Vector]:
    """Bytes that no node of the package writes, and that every reader takes."""
    name = b"\xb9" + OWN.encode()
    of_messagepack: dict[str, tuple[str, list[Any]]] = {
        "a message of nothing, a sign of life": (frame(b"\x91\x90"), [[]]),
        "no message": (frame(b"\x90"), []),
        "a short header of the batch": (frame(b"\x91\x93" + name + b"\xa4text\x01"), [[OWN, "text", 1]]),
        "a middle header of the batch": (frame(b"\xdc\x00\x01\x93" + name + b"\xa4text\x01"), [[OWN, "text", 1]]),
        "a long integer": (frame(b"\x91\x92" + name + b"\xd3" + (5).to_bytes(8, "big")), [[OWN, 5]]),
        "a long text": (frame(b"\x91\x92" + name + b"\xdb\x00\x00\x00\x01x"), [[OWN, "x"]]),
        "a number of 32 bits": (frame(b"\x91\x92" + name + b"\xca\x3f\xc0\x00\x00"), [[OWN, 1.5]]),
    }
    for title, (data, batch) in of_messagepack.items():
        yield {"name": title, "msgpack": data, "messages": batch}
    of_json: dict[str, tuple[str, list[Any]]] = {
        "no white space, signs of life": (f'["{OWN}",1][][""]', [[OWN, 1], [], [""]]),
        "much white space": (f' \t\r\n[ "{OWN}" ,\n1 ]\n\n', [[OWN, 1]]),
        "escapes": (f'["{OWN}","\\u00e4\\ud83d\\ude00\\/"]', [[OWN, "ä\U0001f600/"]]),
    }
    for title, (text, batch) in of_json.items():
        yield {"name": title, "json": text, "messages": batch}


def refused() -> Iterable[Vector]:
    """Bytes that end the connection."""
    name = b"\xb9" + OWN.encode()
    of_messagepack = {
        "the name of a port that is no text": frame(b"\x91\x91\x01"),
        "a message that is no array": frame(b"\x91\xa1x"),
        "a batch that is no array": frame(b"\x80"),
        "more messages announced than there are": frame(b"\x92\x91" + name),
        "bytes behind the batch": frame(b"\x90\x00"),
        "a key that is no text": frame(b"\x91\x92" + name + b"\x81\x01\x01"),
        "an extension type": frame(b"\x91\x92" + name + b"\xd4\x01\x00"),
        "a timestamp": frame(b"\x91\x92" + name + b"\xd6\xff\x00\x00\x00\x00"),
        "text that is no UTF-8": frame(b"\x91\x92" + name + b"\xa1\xff"),
        "101 lists in each other, in a message": frame(b"\x91\x92" + name + b"\x91" * 100 + b"\x90"),
        "a frame that is too large": (LIMIT + 65546).to_bytes(4, "big").hex(),
    }
    for title, data in of_messagepack.items():
        yield {"name": title, "msgpack": data}
    of_json = {
        "no list": '{"a": 1}\n',
        "a comma between two messages": "[],[]\n",
        "a name that is no text": "[1]\n",
        "NaN": f'["{OWN}",NaN]\n',
        "an integer of more than 64 bits": f'["{OWN}",18446744073709551616]\n',
        "a lone surrogate": f'["{OWN}","\\ud800"]\n',
        "101 lists in each other": f'["{OWN}",{"[" * 101}{"]" * 101}]\n',
    }
    for title, text in of_json.items():
        yield {"name": title, "json": text}


# What is left ---------------------------------------------------------------------------------------------------------


def fields() -> Iterable[Vector]:
    """Texts, and the fields of a line that stand for them."""
    for text in ("plain", "a;b", "100 %", "%3b", "ä", "line\nfeed", ""):
        yield {"name": json.dumps(text), "text": text, "field": escape(text)}


def marks() -> Iterable[Vector]:
    """The marks of runs of nodes, with which the names of spawned ports begin."""
    for node_id in ("a", "b", "host.example.org:4040/printers"):
        yield {"name": node_id, "incarnation": "A" * 16, "mark": spawner_mark(node_id, "A" * 16)}


def streams() -> Iterable[Vector]:
    """Byte streams, and the bytes behind the `ok` that carry them, one chunk for each piece, and the end."""
    for title, pieces in {"two pieces": [b"one", b"and two"], "nothing": []}.items():
        data = b"".join([chunks.header(len(piece)) + piece for piece in pieces]) + chunks.END
        yield {"name": title, "pieces": [piece.hex() for piece in pieces], "chunks": data.hex()}


def signed() -> Iterable[Vector]:
    """What the signature of a voucher covers. The signature itself has random bytes in it."""
    texts: list[bytes] = []

    def sign(text: bytes) -> list[str]:
        texts.append(text)
        return [base64.b64encode(b"signature").decode()]

    vouchers.make_voucher("a", RUN, "b", sign)
    yield {
        "name": "the first attachment of a run",
        "owner": "a",
        "started": RUN.started,
        "incarnation": RUN.incarnation,
        "attachment": RUN.attachment,
        "anchor": "b",
        "signed": texts[0].hex(),
    }


SECTIONS = (handshakes, fields, marks, messages, values, batches, read_alike, refused, streams, signed)
"""What makes each section of the file. The names of these functions are those of the sections."""


def make_vectors() -> dict[str, Any]:
    """All vectors, as the package speaks now."""
    made: dict[str, Any] = {"protocol": 1, "about": ABOUT, "limit": LIMIT}
    return {**made, **{section.__name__: list(section()) for section in SECTIONS}}


def as_text(vectors: dict[str, Any]) -> str:
    """The text of the file: one vector a line."""
    parts = []
    for key, section in vectors.items():
        if isinstance(section, list):
            lines = ",\n".join(f"  {json.dumps(vector, ensure_ascii=False)}" for vector in section)
            parts.append(f'"{key}": [\n{lines}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(section)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The vectors of a file that are gone, or that the package contradicts now."""
    wrong: list[str] = []
    for key, section in before.items():
        if not isinstance(section, list):
            pairs = [(key, section, now.get(key))] if key != "about" else []
        else:
            made = {vector["name"]: vector for vector in now.get(key, [])}
            pairs = [(f"{key}: {vector['name']}", vector, made.get(vector["name"])) for vector in section]
        wrong += [
            f"{place}: expected {json.dumps(old)}, got {json.dumps(new)}" for place, old, new in pairs if old != new
        ]
    return wrong


def main() -> int:
    """Write the file with the vectors that are new; returns the exit status."""
    now = make_vectors()
    if FILE.exists():
        wrong = changed(json.loads(FILE.read_text(encoding="utf-8")), now)
        if wrong:
            print("\n".join(wrong))
            print("A vector of version 1 never changes: see 'Versions and vectors' in docs/protocol.md")
            return 1
    FILE.write_text(as_text(now), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
