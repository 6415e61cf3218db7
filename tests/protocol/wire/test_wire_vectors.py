"""The test vectors of the wire are what the package speaks, and what the standards say; and so is the documentation.

docs/wire-vectors-1.json is for programs in other languages. So some of these tests read it with nothing of the package:
with a decoder of MessagePack of their own, and with the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
import struct
from pathlib import Path
from typing import Any

import pytest
import wire_vectors
from wire_vectors import FILE, LIMIT, MEETINGS, Meeting, Side, changed, encode, lines_of, make_vectors

from trio_mp import RemoteProtocolError
from trio_mp._ids import spawn_counter, spawner_mark
from trio_mp._protocol.database import messages as database
from trio_mp._protocol.handshake.auth import stretch_secret
from trio_mp._protocol.handshake.events import Authenticated, Greeted, LinkReceived, OkReceived, RefusedByPeer
from trio_mp._protocol.handshake.greeting import LocalInfo, unescape
from trio_mp._protocol.handshake.handshake import Handshake
from trio_mp._protocol.log_records import LOG_RECORDS, LOG_REQUESTS
from trio_mp._protocol.membership.messages import MEMBERSHIP
from trio_mp._protocol.requests import REQUESTS, ForService, Malformed, parse
from trio_mp._protocol.schema import Schema
from trio_mp._protocol.wire.chunks import ChunkReader
from trio_mp._protocol.wire.framing import JSON, MSGPACK, Framing

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"
VECTORS: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def named(*sections: str) -> list[Any]:
    """The vectors of some sections, as parameters of a test."""
    return [pytest.param(each, id=f"{section}: {each['name']}") for section in sections for each in VECTORS[section]]


def meant(value: Any) -> Any:
    """The value that stands in the file, in the notation of `wire_vectors.noted`."""
    match value:
        case {"$bytes": str(text)}:
            return bytes.fromhex(text)
        case {"$float": str(text)}:
            return float(text)
        case list():
            return [meant(each) for each in value]
        case dict():
            return {key: meant(each) for key, each in value.items()}
        case _:
            return value


def exact(value: Any) -> Any:
    """A value that equals only the same value of the same type, so that True is not 1, and a NaN is one."""
    match value:
        case list() | tuple():
            return [exact(each) for each in value]
        case dict():
            return [(key, exact(each)) for key, each in value.items()]
        case float():
            return "float", "nan" if math.isnan(value) else struct.pack(">d", value)
        case _:
            return type(value).__name__, value


# The file -------------------------------------------------------------------------------------------------------------


def test_the_file_is_what_the_package_speaks() -> None:
    """If this fails: `python tests/wire_vectors.py` adds vectors, and says which of them would have to change."""
    now = make_vectors()
    assert changed(VECTORS, now) == []
    assert wire_vectors.as_text(now) == FILE.read_text(encoding="utf-8")


def test_no_two_vectors_of_a_section_have_the_same_name() -> None:
    for key, section in VECTORS.items():
        if isinstance(section, list):
            names = [vector["name"] for vector in section]
            assert len(set(names)) == len(names) > 0, key


def test_a_vector_is_added_and_none_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vectors.json"
    monkeypatch.setattr(wire_vectors, "FILE", file)
    old = json.loads(FILE.read_text(encoding="utf-8"))
    del old["messages"][3]
    file.write_text(wire_vectors.as_text(old), encoding="utf-8")
    assert wire_vectors.main() == 0
    assert file.read_bytes() == FILE.read_bytes()
    # A package that says something else, or does not say it any more.
    old["messages"][3]["msgpack"] = "00"
    old["chunks"] = [{"name": "gone", "chunks": "00"}]
    file.write_text(wire_vectors.as_text({**old, "limit": 7}), encoding="utf-8")
    before = file.read_bytes()
    assert wire_vectors.main() == 1
    assert file.read_bytes() == before
    said = capsys.readouterr().out
    assert f"messages: {old['messages'][3]['name']}: expected" in said
    assert "chunks: gone: expected" in said
    assert f"limit: expected 7, got {LIMIT}" in said


ALL: list[Schema[..., Any]] = [
    *(schema for schema in REQUESTS.schemas if schema.word not in {"db", "log"}),
    *database.DATABASE.schemas,
    *LOG_REQUESTS.schemas,
]


@pytest.mark.parametrize("schema", ALL, ids=lambda schema: schema.shape)
def test_every_message_has_a_vector(schema: Schema[..., Any]) -> None:
    """If this fails: see CONTRIBUTING.md about docs/wire-vectors-1.json."""
    messages = [tuple(meant(vector["message"])) for vector in VECTORS["messages"]]
    found = [message[1:] for message in messages if message[0] == "" and len(message) > 1 + schema.at]
    assert any(message[schema.at] == schema.word and schema.read(message) is not None for message in found)


def test_the_records_of_a_log_have_a_vector() -> None:
    assert any(LOG_RECORDS.read(tuple(vector["message"][1:])) is not None for vector in VECTORS["messages"])


# Messages, as the package reads and writes them -----------------------------------------------------------------------


def batches_of(framing: Framing, data: bytes, step: int = 0) -> list[list[Any]]:
    """The messages in bytes, which come in pieces of `step` bytes, or in one."""
    decoder = framing.make_decoder(LIMIT)
    pieces = [data[start : start + step] for start in range(0, len(data), step)] if step else [data]
    return [list(message) for piece in pieces for batch in decoder.feed(piece) for message in batch]


@pytest.mark.parametrize("vector", named("messages", "values", "batches", "read_alike"))
@pytest.mark.parametrize("step", [0, 1, 7])
def test_the_package_reads_them(vector: dict[str, Any], step: int) -> None:
    expected = meant(vector["messages"] if "messages" in vector else [vector["message"]])
    read = [batches_of(MSGPACK, bytes.fromhex(vector["msgpack"]), step)] if "msgpack" in vector else []
    read += [batches_of(JSON, vector["json"].encode(), step)] if vector.get("json") is not None else []
    assert read
    for batch in read:
        assert exact(batch) == exact(expected)


@pytest.mark.parametrize("vector", named("messages", "values", "batches"))
def test_the_package_writes_them(vector: dict[str, Any]) -> None:
    batch = [tuple(meant(message)) for message in vector.get("messages", [vector.get("message")])]
    assert encode(MSGPACK, batch).hex() == vector["msgpack"]
    if vector["json"] is None:
        with pytest.raises((TypeError, ValueError), match="expected a value of JSON"):
            encode(JSON, batch)
    else:
        assert encode(JSON, batch).decode() == vector["json"]


@pytest.mark.parametrize("vector", named("messages"))
def test_the_node_port_understands_what_is_said_to_it(vector: dict[str, Any]) -> None:
    name, *message = meant(vector["message"])
    if name:
        return
    request = parse(tuple(message))
    assert not isinstance(request, Malformed)
    if isinstance(request, ForService):
        match request.word:
            case "db":
                database.parse(tuple(message))
            case "log":
                assert LOG_REQUESTS.read(tuple(message)) is not None
            case _:
                assert MEMBERSHIP.read(tuple(message)) is not None


@pytest.mark.parametrize("vector", named("refused"))
def test_the_package_refuses_what_no_node_may_write(vector: dict[str, Any]) -> None:
    if "msgpack" in vector:
        framing, data = MSGPACK, bytes.fromhex(vector["msgpack"])
    else:
        framing, data = JSON, vector["json"].encode()
    for step in (0, 1):
        with pytest.raises(RemoteProtocolError):
            batches_of(framing, data, step)


# The same without the package -----------------------------------------------------------------------------------------


class Unpacker:
    """A decoder of MessagePack, after its specification, for values that travel."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        found = self.data[self.position : self.position + size]
        assert len(found) == size
        self.position += size
        return found

    def number(self, kind: str) -> Any:
        return struct.unpack(f">{kind}", self.take(struct.calcsize(f">{kind}")))[0]

    def value(self) -> Any:
        match self.number("B"):
            case head if head < 0x80:
                return head
            case head if head < 0x90:
                return self.table(head & 15)
            case head if head < 0xA0:
                return self.array(head & 15)
            case head if head < 0xC0:
                return self.take(head & 31).decode()
            case head if head >= 0xE0:
                return head - 256
            case 0xC0:
                return None
            case 0xC2 | 0xC3 as head:
                return head == 0xC3
            case 0xC4 | 0xC5 | 0xC6 as head:
                return self.take(self.number("BHI"[head - 0xC4]))
            case 0xD9 | 0xDA | 0xDB as head:
                return self.take(self.number("BHI"[head - 0xD9])).decode()
            case 0xDC | 0xDD as head:
                return self.array(self.number("HI"[head - 0xDC]))
            case 0xDE | 0xDF as head:
                return self.table(self.number("HI"[head - 0xDE]))
            case head:
                return self.number("fdBHIQbhiq"[head - 0xCA])

    def array(self, count: int) -> list[Any]:
        return [self.value() for _ in range(count)]

    def table(self, count: int) -> dict[str, Any]:
        return {self.value(): self.value() for _ in range(count)}


@pytest.mark.parametrize("vector", named("messages", "values", "batches", "read_alike"))
def test_they_are_what_the_standards_say(vector: dict[str, Any]) -> None:
    expected = meant(vector["messages"] if "messages" in vector else [vector["message"]])
    if "msgpack" in vector:
        data = bytes.fromhex(vector["msgpack"])
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        unpacker = Unpacker(data[4:])
        assert exact(unpacker.value()) == exact(expected)
        assert unpacker.position == len(data) - 4
    if vector.get("json") is not None:
        decoder, text, found = json.JSONDecoder(), vector["json"].strip(" \t\r\n"), []
        while text:
            message, end = decoder.raw_decode(text)
            found.append(message)
            text = text[end:].strip(" \t\r\n")
        assert exact(found) == exact(expected)


def joined(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


@pytest.mark.parametrize("vector", named("handshakes"))
def test_proofs_are_what_the_documentation_says(vector: dict[str, Any]) -> None:
    lines = {side: [line.encode("ascii") for who, line in vector["lines"] if who == side] for side in vector["nonces"]}
    fingerprint = bytes.fromhex(vector["tls"]["fingerprint"]) if vector["tls"] else b""
    key = b""
    if vector["secret"]:
        secret = vector["secret"].encode()
        key = hashlib.scrypt(secret, salt=b"trio_mp 1 secret", n=2**14, r=8, p=1, dklen=32)
    assert key.hex() == vector["key"]
    label = b"hmac_sha256 tls" if fingerprint else b"hmac_sha256 plain"
    for own, other in (("dialler", "dialled"), ("dialled", "dialler")):
        assert base64.b64decode(lines[own][1]).hex() == vector["nonces"][own]
        method, token, rest = lines[own][2].split(b";", 2)
        assert method == (b"hmac_sha256" if key else b"tls_sha256")
        covered = joined(
            b"trio_mp 1 " + (label if key else b"tls_sha256"),
            *lines[own][:2],
            *lines[other][:2],
            fingerprint,
            method + b";;" + rest,
        )
        digest = hmac.new(key, covered, "sha256") if key else hashlib.sha256(covered)
        assert token.decode() == digest.hexdigest()
    greetings = sorted(lines[side][:2] for side in lines)
    assert hashlib.sha256(joined(*greetings[0], *greetings[1])).hexdigest()[:32] == vector["connection"]
    if vector["tls"]:
        smaller = min(lines, key=lambda side: lines[side][1])
        assert vector["tls"]["server"] != smaller


# Handshakes, as the package goes through them -------------------------------------------------------------------------


@pytest.mark.parametrize("meeting", MEETINGS, ids=lambda meeting: meeting.title)
@pytest.mark.parametrize("side", ["dialler", "dialled"])
def test_one_side_of_a_handshake_meets_the_lines_of_the_other(meeting: Meeting, side: str) -> None:
    """The package speaks with what stands in the file, and not with itself."""
    (vector,) = [each for each in VECTORS["handshakes"] if each["name"] == meeting.title]
    own: Side = getattr(meeting, side)
    handshake = own.begin(dialler=side == "dialler", encryption=bool(vector["tls"]))
    if meeting.stream and side == "dialler":
        handshake.want_stream(meeting.stream)
    said, heard = handshake.greeting.splitlines(), []
    for who, line in vector["lines"]:
        if who == side:
            if not said:
                said = [own_line(handshake, own, line)]
            assert said.pop(0) == line
            continue
        events = handshake.line_received(line)
        heard += events
        if vector["tls"] and any(isinstance(event, Greeted) for event in events):
            assert handshake.tls_server == (vector["tls"]["server"] == side)
            other_id = unescape(line_of(vector, who).split(";")[2])
            heard += handshake.tls_done(bytes.fromhex(vector["tls"]["fingerprint"]), frozenset({other_id}))
    other = meeting.dialled if side == "dialler" else meeting.dialler
    (greeted,) = [event for event in heard if isinstance(event, Greeted)]
    (authenticated,) = [event for event in heard if isinstance(event, Authenticated)]
    assert greeted.connection == vector["connection"]
    assert (greeted.peer.node_id, greeted.peer.incarnation) == (other.node_id, other.incarnation)
    assert (greeted.peer.words, greeted.peer.tool) == (frozenset(other.words), other.tool)
    assert (greeted.peer.provider, authenticated.lost) == (other.provider, other.lost)
    assert greeted.peer.stream == ("" if side == "dialler" else meeting.stream)
    decisions = [event for event in heard if isinstance(event, LinkReceived | OkReceived | RefusedByPeer)]
    decided = next(who for who, line in vector["lines"] if line == "link" or line.startswith("no;"))
    if meeting.no:
        assert decisions == ([] if decided == side else [RefusedByPeer(meeting.no)])
    else:
        assert decisions == [OkReceived() if decided == side else LinkReceived()]
    assert handshake.step.value == ("refused" if meeting.no else "open")
    assert handshake.writes.name == ("json" if other.framings == ("json",) else own.framings[0])


def line_of(vector: dict[str, Any], side: str) -> str:
    return str(next(line for who, line in vector["lines"] if who == side))


def own_line(handshake: Handshake, own: Side, expected: str) -> str:
    """What this side says next, where the file has this line."""
    match expected.partition(";")[0]:
        case "link":
            return handshake.link().rstrip("\n")
        case "ok":
            return handshake.accept().rstrip("\n")
        case "no":
            return handshake.refuse(unescape(expected.partition(";")[2])).rstrip("\n")
        case _:
            return handshake.prove(own.lost).rstrip("\n")


def test_handshakes_of_all_kinds_have_a_vector() -> None:
    said = [dict(lines_of(meeting)[0]) for meeting in MEETINGS]
    assert {"link", "ok"} <= {line for lines in said for line in lines.values()}
    vectors = VECTORS["handshakes"]
    servers = {vector["tls"]["server"] for vector in vectors if vector["tls"]}
    deciders = {who for vector in vectors for who, line in vector["lines"] if line == "link"}
    assert servers == deciders == {"dialler", "dialled"}
    assert {bool(vector["secret"]) for vector in vectors} == {True, False}


# The rest -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", named("fields"))
def test_fields(vector: dict[str, Any]) -> None:
    assert unescape(vector["field"]) == vector["text"]
    pieces = [bytes([byte]) for byte in vector["text"].encode()]
    plain = re.compile(rb"[ -:<-~]")
    escaped = [piece.decode() if plain.match(piece) and piece != b"%" else f"%{piece.hex()}" for piece in pieces]
    assert "".join(escaped) == vector["field"]


@pytest.mark.parametrize("vector", named("marks"))
def test_marks(vector: dict[str, Any]) -> None:
    digest = hashlib.sha256(f"{vector['name']}#{vector['incarnation']}".encode()).digest()
    assert base64.urlsafe_b64encode(digest[:12]).decode() == vector["mark"]
    mark = spawner_mark(vector["name"], vector["incarnation"])
    assert spawn_counter(f"{vector['mark']}.7.0123456789abcdef", mark) == 7


@pytest.mark.parametrize("vector", named("streams"))
def test_streams(vector: dict[str, Any]) -> None:
    reader = ChunkReader()
    reader.feed(bytes.fromhex(vector["chunks"]))
    assert reader.take(None) == b"".join(map(bytes.fromhex, vector["pieces"]))
    assert reader.ended


@pytest.mark.parametrize("vector", named("signed"))
def test_what_a_voucher_signs(vector: dict[str, Any]) -> None:
    keys = ("owner", "started", "incarnation", "attachment", "anchor")
    parts = ["trio_mp 1 voucher", *(str(vector[key]) for key in keys)]
    assert bytes.fromhex(vector["signed"]) == joined(*(part.encode() for part in parts))


# The documentation ----------------------------------------------------------------------------------------------------


def side(node_id: str, first: int, peer_address: str, *, dialler: bool) -> Handshake:
    local = LocalInfo(
        node_id=node_id,
        incarnation=node_id.upper() * 16,
        keys=(stretch_secret(b"correct horse battery staple"),),
        encryption=False,
        heartbeat=5.0,
        limit=64 * 1024 * 1024,
        provider="trio_mp/0.1.0",
    )
    return Handshake(local, bytes(range(first, first + 33)), dialler=dialler, peer_address=peer_address)


def test_the_documented_vectors_are_what_is_spoken() -> None:
    dialler = side("a", 0, "unix:/run/b", dialler=True)
    dialled = side("b", 33, "unix:", dialler=False)
    text = DOCUMENT.read_text(encoding="utf-8")
    for one, other in ((dialler, dialled), (dialled, dialler)):
        for line in one.greeting.splitlines():
            events = other.line_received(line)
    greeted = events[0]
    assert isinstance(greeted, Greeted)
    assert f"connection {greeted.connection}" in text
    proof = dialler.prove("")
    assert f"dialler {proof.split(';')[1]}" in text
    dialled.line_received(proof.rstrip())
    assert f"dialled {dialled.prove('').split(';')[1]}" in text


# Other versions -------------------------------------------------------------------------------------------------------


def test_another_version_of_the_protocol_is_refused() -> None:
    handshake = side("a", 0, "", dialler=True)
    fields, nonce = side("b", 33, "", dialler=False).greeting.splitlines()
    assert handshake.line_received(fields.replace("aemp;1;", "aemp;2;")) == []
    with pytest.raises(RemoteProtocolError, match=r"expected a greeting of trio_mp, got 'aemp;2;b;"):
        handshake.line_received(nonce)


def test_what_a_later_package_of_this_version_says_is_left_alone() -> None:
    """Keys, words, methods and framings that this package does not know."""
    handshake = side("a", 0, "", dialler=True)
    fields, nonce = side("b", 33, "", dialler=False).greeting.splitlines()
    fields = fields.replace(";hmac_sha256;", ";better,hmac_sha256;").replace(";msgpack,json;", ";better,msgpack,json;")
    handshake.line_received(f"{fields};words=call,later;compression=zstd;later")
    greeted, _ = handshake.line_received(nonce)
    assert isinstance(greeted, Greeted)
    assert greeted.peer.words == {"call", "later"}
    assert handshake.writes.name == "msgpack"
    assert parse(("later", 1, 2)) == Malformed(("later", 1, 2))
    # So a message never gets another element: a node of this version would not understand it any more.
    name = wire_vectors.NAME
    assert parse(("mon1", name, "later")) == Malformed(("mon1", name, "later"))


def test_the_documentation_names_every_section_of_the_file() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").split("\n## Versions and vectors\n")[1].split("\n## ")[0]
    sections = [key for key, section in VECTORS.items() if isinstance(section, list)]
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == sections
    assert f"number behind `aemp` in the greeting. It is {VECTORS['protocol']}, the first." in text
