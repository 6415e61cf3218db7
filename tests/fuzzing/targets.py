"""The rules that every parser must keep for any bytes: one function for each parser, which raises if a rule is broken.

Any input gives events or one documented exception; buffers stay below their limits; the same bytes in other pieces have
the same outcome; decoded values can be encoded again. For a new parser write a function, name it in `TARGETS`, and give
it seeds in `seeds.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from trio_mp._errors import ConfigurationError, RemoteProtocolError
from trio_mp._ids import is_node_id
from trio_mp._protocol import requests
from trio_mp._protocol.handshake.auth import Greeting
from trio_mp._protocol.handshake.greeting import NONCE_SIZE, escape, parse_greeting, unescape
from trio_mp._protocol.wire import codec
from trio_mp._protocol.wire.buffer import LINE_LIMIT, FrameBuffer, LineBuffer
from trio_mp._protocol.wire.chunks import ChunkReader
from trio_mp._protocol.wire.json_framing import JSONBuffer, append_json
from trio_mp._protocol.wire.limits import MAXIMUM_DEPTH
from trio_mp._transport.addresses import can_be_dialled, parse_address, parse_seed
from trio_mp._transport.certificates import node_ids_in
from trio_mp._transport.seed_files import MOST_ADDRESSES, parse_seed_file

from .conversation import (
    LOCAL,
    NONCE,
    SOONER,
    Driver,
    Setup,
    greeting_of,
    make_session,
    our_greeting,
    peer_greeting,
    proof_line,
    stream_of,
)
from .cutting import check_agreement, check_text, outcome_of, pieces_of
from .encrypted import tls

Target: TypeAlias = Callable[[bytes], None]

FRAME_LIMIT = 300
"""The limit of frames, in bytes: so small that short inputs reach both sides of it."""

TRAVELS = {str, int, float, bool, bytes, type(None), list, tuple, dict}


def lines(data: bytes) -> None:
    """Try the splitter of lines. The first byte says how the rest is cut."""

    def feed_into(buffer: LineBuffer) -> Callable[[bytes], list[str]]:
        def feed(piece: bytes) -> list[str]:
            buffer.feed(piece)
            found: list[str] = []
            while (line := buffer.next_line()) is not None:
                assert len(line) <= LINE_LIMIT
                found.append(line)
            assert len(buffer) <= LINE_LIMIT
            return found

        return feed

    seed, data = data[:1], data[1:]
    buffer, other = LineBuffer(), LineBuffer()
    coarse = outcome_of(feed_into(buffer), [data])
    fine = outcome_of(feed_into(other), pieces_of(data, sum(seed)))
    check_agreement(coarse, fine)
    if not coarse.error:
        rest = buffer.take_rest()
        assert rest == other.take_rest()
        assert data.endswith(rest)
        assert not len(buffer)


def frames(data: bytes) -> None:
    """Try the splitter of frames. The first byte says how the rest is cut, and how much is written into the buffer."""

    def check(buffer: FrameBuffer[bytes], found: list[bytes]) -> list[bytes]:
        assert all(len(frame) <= FRAME_LIMIT for frame in found)
        assert len(buffer) < FRAME_LIMIT + 4
        return found

    def feed_into(buffer: FrameBuffer[bytes]) -> Callable[[bytes], list[bytes]]:
        return lambda piece: check(buffer, buffer.feed(piece))

    def fill(buffer: FrameBuffer[bytes], most: int) -> Callable[[bytes], list[bytes]]:
        def feed(piece: bytes) -> list[bytes]:
            found: list[bytes] = []
            while piece and (room := buffer.room()) is not None:
                count = min(len(room), len(piece), most)
                room[:count], piece = piece[:count], piece[count:]
                found += check(buffer, buffer.filled(count))
            return found + check(buffer, buffer.feed(piece))

        return feed

    seed, data = sum(data[:1]), data[1:]
    buffer = FrameBuffer(FRAME_LIMIT, bytes)
    coarse = outcome_of(feed_into(buffer), [data])
    pieces = pieces_of(data, seed)
    check_agreement(coarse, outcome_of(feed_into(FrameBuffer(FRAME_LIMIT, bytes)), pieces))
    filled = FrameBuffer(FRAME_LIMIT, bytes, 1 + seed % 16)
    check_agreement(coarse, outcome_of(fill(filled, 1 + seed % 7), pieces))
    if not coarse.error:
        taken = b"".join(len(frame).to_bytes(4, "big") + frame for frame in FrameBuffer(FRAME_LIMIT, bytes).feed(data))
        assert data.startswith(taken)
        assert len(buffer) == len(filled) == len(data) - len(taken)


def _check_values(batch: Sequence[object]) -> None:
    """Check that all values may travel, and nest no deeper than allowed."""
    level, depth = list(batch), 0
    while level:
        assert depth <= MAXIMUM_DEPTH + 1, "deeper than allowed"
        deeper: list[object] = []
        for value in level:
            assert type(value) in TRAVELS, type(value)
            if isinstance(value, list | tuple):
                deeper.extend(value)
            elif isinstance(value, dict):
                assert {str}.issuperset(map(type, value))
                deeper.extend(value.values())
        level, depth = deeper, depth + 1


def _packed(batch: list[tuple[object, ...]]) -> bytearray:
    frame = codec.open_frame()
    for name, *rest in batch:
        assert type(name) is str
        codec.append_message(frame, name, tuple(rest))
    codec.close_frame(frame, len(batch))
    return frame


def messages(data: bytes) -> None:
    """Try the decoder of frames; encode and decode its messages again."""
    try:
        decoded = codec.decode_frame(data)
    except RemoteProtocolError as error:
        check_text(error)
        return
    _check_values(decoded)
    # An empty message, which keeps a connection alive, has no name to be sent to.
    named = [message for message in decoded if message]
    packed = _packed(named)
    again = codec.messages_in(packed)
    # As text: NaN is not equal to itself.
    assert repr(again) == repr(named)
    assert _packed(again) == packed


def requests_of(data: bytes) -> None:
    """Decode a frame, and read each message as a request, whatever port it is for."""
    try:
        decoded = codec.decode_frame(data)
    except RemoteProtocolError:
        return
    for message in decoded:
        for part in (message, message[1:]):
            request = requests.parse(part)
            assert isinstance(request, requests.Request)
            assert repr(request) == repr(requests.parse(tuple(part)))
            if isinstance(request, requests.Malformed):
                assert request.message == part or repr(request.message) == repr(part)


def greeting(data: bytes) -> None:
    """Try the parser of greetings; write and read its result again."""
    line, _, nonce = data.partition(b"\n")
    # The splitter of lines lets only printable ASCII pass.
    if not (line + nonce).isascii() or not (line + nonce).decode("ascii").isprintable():
        return
    try:
        peer = parse_greeting(Greeting(line.decode("ascii"), nonce.decode("ascii")))
    except RemoteProtocolError as error:
        check_text(error)
        return
    assert 0.1 <= peer.heartbeat <= 60
    assert peer.limit >= 65536
    assert len(peer.node_id) <= 255
    said = greeting_of(bytes(make_session(peer.node_id, b"n" * NONCE_SIZE, dialler=True).outgoing) + b"\n")
    assert said is not None
    assert parse_greeting(said).node_id == peer.node_id
    fields = ";".join(map(escape, ["aemp", "1", peer.node_id, ",".join(peer.methods), ",".join(peer.framings)]))
    pairs = [f"provider={peer.provider}", f"incarnation={peer.incarnation}", f"limit={peer.limit}"]
    pairs += [f"heartbeat={peer.heartbeat:.9f}", *(["tls=1.0"] if peer.tls else [])]
    again = parse_greeting(Greeting(";".join([fields, *map(escape, pairs)]), nonce.decode("ascii")))
    assert again == peer, f"{again}\n{peer}"


def escaping(data: bytes) -> None:
    """Escape and unescape a text, in both orders."""
    text = data.decode("utf-8", "replace")
    field = escape(text)
    assert field.isascii()
    assert field == "" or field.isprintable()
    assert ";" not in field
    assert unescape(field) == text
    any_field = data.decode("latin-1").encode("ascii", "ignore").decode("ascii")
    read = unescape(any_field)
    read.encode()
    assert unescape(escape(read)) == read


def _handshake(data: bytes, *, dialler: bool) -> None:
    if len(data) < 2:
        return
    setup, seed, body = Setup(data[0] % 64), data[1], data[2:]
    stream = stream_of(setup, body, dialler=dialler)
    driver = Driver(make_session(LOCAL, NONCE, dialler=dialler))
    # In single bytes, so that the session answers as soon as it can; but the fixed greeting in one piece.
    known = peer_greeting(setup) if Setup.GREETING in setup else b""
    fine = driver.run([known, *pieces_of(stream[len(known) :], 0)])
    for pieces in ([stream], pieces_of(stream, seed or 1)):
        check_agreement(Driver(make_session(LOCAL, NONCE, dialler=dialler)).run(pieces), fine, SOONER)
    session = driver.session
    if driver.authenticated:
        _check_proven(stream, dialler=dialler)
        return
    assert not session.open
    # A stranger who dials gets no token: a session that was dialled has sent only its greeting, two lines.
    assert session.outgoing.count(b"\n") <= (3 if dialler else 2)


def _check_proven(stream: bytes, *, dialler: bool) -> None:
    """Check that a side that was taken for authenticated has sent the right proof."""
    theirs = greeting_of(stream)
    assert theirs is not None
    ours = our_greeting(dialler=dialler)
    assert theirs.nonce != ours.nonce
    said = stream.split(b"\n")[2]
    method, _, rest = said.split(b";", 2)
    assert said == proof_line(b"%b;;%b" % (method, rest), theirs, ours), "authenticated without the right proof"


def handshake_dialler(data: bytes) -> None:
    """Try a session that dialled, from the first byte to frames; see `conversation.Setup` for the first byte."""
    _handshake(data, dialler=True)


def handshake_acceptor(data: bytes) -> None:
    """Try a session that was dialled, from the first byte to frames; see `conversation.Setup` for the first byte."""
    _handshake(data, dialler=False)


def addresses(data: bytes) -> None:
    """Try the parser of addresses; write and read its result again."""
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")
    try:
        address = parse_address(text)
    except ConfigurationError as error:
        # The error may quote the user's whole text twice, with escapes.
        check_text(error, 200 + 2 * len("\\U00000000") * len(text))
        return
    assert parse_address(str(address)) == address
    assert parse_seed(text) == address


def seed_names(data: bytes) -> None:
    """Try the parser of seeds; write and read its result again."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        seed = parse_seed(text)
    except ConfigurationError as error:
        check_text(error, 300 + 2 * len("\\U00000000") * len(text))
        return
    assert parse_seed(str(seed)) == seed


def seed_files(data: bytes) -> None:
    """Try the parser of the files in a directory of seeds."""
    try:
        file = parse_seed_file(data, 0.0)
    except ValueError:
        return
    assert is_node_id(file.node_id)
    assert 1 <= len(file.addresses) <= MOST_ADDRESSES
    assert all(can_be_dialled(address) and str(address).isprintable() for address in file.addresses)


def json(data: bytes) -> None:
    """Try the splitter and decoder of JSON. The first byte says how the rest is cut."""

    def feed_into(buffer: JSONBuffer) -> Callable[[bytes], list[tuple[object, ...]]]:
        def feed(piece: bytes) -> list[tuple[object, ...]]:
            found = buffer.feed(piece)
            assert len(buffer) <= FRAME_LIMIT
            return found

        return feed

    seed, data = data[:1], data[1:]
    coarse = outcome_of(feed_into(JSONBuffer(FRAME_LIMIT)), [data])
    fine = outcome_of(feed_into(JSONBuffer(FRAME_LIMIT)), pieces_of(data, sum(seed)))
    check_agreement(coarse, fine)
    if coarse.error:
        return
    decoded = [message for message in JSONBuffer(FRAME_LIMIT).feed(data) if message]
    _check_values(decoded)
    written = bytearray()
    for name, *rest in decoded:
        assert type(name) is str
        append_json(written, name, tuple(rest))
    # A short number can be long when written again, such as 1e15.
    assert repr(JSONBuffer(20 * FRAME_LIMIT).feed(bytes(written))) == repr(decoded)


def certificates(data: bytes) -> None:
    """Try to read the node IDs that a certificate in DER names."""
    names = node_ids_in(data)
    assert all(map(is_node_id, names))
    assert names == node_ids_in(data)


def chunks(data: bytes) -> None:
    """Try the reader of byte streams. The first byte says how the rest is cut, and how much is taken at once."""
    seed, data = sum(data[:1]), data[1:]
    whole, cut = ChunkReader(), ChunkReader()
    whole.feed(data)
    coarse = fine = b""
    while piece := whole.take(None):
        coarse += piece
    for part in pieces_of(data, seed):
        cut.feed(part)
        while piece := cut.take(seed % 7 + 1):
            assert len(piece) <= seed % 7 + 1
            fine += piece
    assert coarse == fine
    assert whole.ended is cut.ended
    assert len(coarse) <= len(data)


TARGETS: dict[str, Target] = {
    "lines": lines,
    "frames": frames,
    "messages": messages,
    "requests": requests_of,
    "greeting": greeting,
    "escape": escaping,
    "handshake_dialler": handshake_dialler,
    "handshake_acceptor": handshake_acceptor,
    "tls": tls,
    "addresses": addresses,
    "seed_names": seed_names,
    "seed_files": seed_files,
    "json": json,
    "certificates": certificates,
    "chunks": chunks,
}
"""Every target by its name; its folder in `tests/corpus` has the same name."""
