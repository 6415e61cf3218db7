"""The first inputs of the fuzzer, made from valid data, and a dictionary. With them it reaches deep code at once."""

from __future__ import annotations

import datetime
import ipaddress
import json
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trio_mp._protocol.wire import codec
from trio_mp._protocol.wire.chunks import END, header
from trio_mp._protocol.wire.json_framing import append_json
from trio_mp._transport.throwaway import throwaway_tls

from .conversation import Setup, peer_greeting, stream_of
from .encrypted import CHANGED, INSIDE, RAW

PORT = "abcdefghABCDEFGH.1"

BATCHES: tuple[tuple[tuple[object, ...], ...], ...] = (
    (("", "ping"), ("", "mon1", PORT), ("", "mon0", PORT), ("", "kil0", PORT, "why", 1), ("", "kil", PORT)),
    (("", "spawn", PORT, "module:function", 1, [2]), ("", "spawn_linked", PORT, "f", f"node#{PORT}", 1)),
    (("", "snd", f"node#{PORT}", "x"), ("", "info", f"node#{PORT}", "tag"), ("", "devnull"), ("", ""), ("", "pong")),
    ((PORT, 1, -1, 2**64 - 1, -(2**63), 1.5, 1e300, None, True, "ä", "\x7f\U0001f600", "x" * 40),),
    ((PORT, [[], {}, {"a": [1, {"b": None}]}], list(range(20)), {str(number): number for number in range(17)}),),
    (("", "start", PORT, "f", None, 7, 1), ("", "start", PORT, "f", f"node#{PORT}", None), ("", "keep", PORT)),
    (("", "started", PORT, {"a": [1]}, 5.0), ("", "started", PORT, None, 0)),
    (("", "stream", PORT, "tokentokentoken0", "f", 1), ("", "stream_ready", PORT), ("", "stream_dial", PORT)),
)

WORDS: tuple[bytes, ...] = (
    *(b"link\n", b"ok\n", b"no;", b"no;why\n", b"tls=1.0;", b"limit=65536;", b"heartbeat=0.1;", b"%0a", b"%ff", b"%25"),
    *(b"aemp;1;", b"hmac_sha256", b"tls_sha256", b"msgpack", b"json", b"incarnation=abcdefghABCDEFGH;", b"stream="),
    *(b"provider=", b"peeraddr=", b"hmac_sha256;;msgpack;lost=\n", b";;json;lost=", b"lost=" + b"0a" * 16 + b"\n"),
    *(b"\x00\x00\x00\x01\x90", b"\x00\x00\x00\x02\x91\x90", b"\x91\x92\xa0\xa4ping", b"\xdd\xff\xff\xff\xff", b"\xc1"),
    *(b"\xd6\xff\x00\x00\x00\x00", b"\xc7\x0c\xff", b"\xdf\x00\x00\x00\x01\xa1a", b"\xcf" + b"\xff" * 8, b"\x91" * 100),
    *(b"\xa0\xb2" + PORT.encode(), b"mon1", b"mon0", b"kil0", b"kil", b"spawn", b"spawn_linked", b"snd", b"info"),
    *(b"start", b"started", b"keep"),
    *(b'["",', b'"]', b"[" * 100, b'{"a":', b"1e400", b"\\u", b"\\ud800", b"18446744073709551616", b"null", b"true"),
    *(b"unix:", b"[::1]:", b":65535", b":*", b"*", b"9" * 20, b"127.0.0.1:0", b"\xed\xa0\x80", b"\xc3\xa4", b"\x00"),
    *(b"\x16\x03\x01\x00\x7a\x01", b"\x16\x03\x03\x00\x7a\x02", b"\x14\x03\x03\x00\x01\x01"),
    b"\x15\x03\x03\x00\x02\x02\x28",
)
"""The fuzzer's dictionary, for every target."""

LENGTHS = {"addresses": 8192, "lines": 8300, "greeting": 1000}
"""The longest input, in bytes, of each target that does not use `USUAL_LENGTH`."""
USUAL_LENGTH = 700


def frames_of(batch: tuple[tuple[object, ...], ...]) -> bytes:
    """Make one frame."""
    frame = codec.open_frame()
    for name, *rest in batch:
        codec.append_message(frame, str(name), tuple(rest))
    codec.close_frame(frame, len(batch))
    return bytes(frame)


def json_of(batch: tuple[tuple[object, ...], ...]) -> bytes:
    """Make a line of JSON for each message."""
    written = bytearray()
    for name, *rest in batch:
        append_json(written, str(name), tuple(rest))
    return bytes(written)


def _payloads() -> list[bytes]:
    deep = [b"\x91\x92\xa0" + b"\x91" * depth + b"\x00" for depth in (99, 100, 101)]
    return [*(frames_of(batch)[4:] for batch in BATCHES), *deep, b"\x90", b"\x91\x90"]


def _frames() -> list[bytes]:
    return [bytes([cut]) + b"".join(map(frames_of, BATCHES)) for cut in (0, 40)] + [
        b"\x00\x00\x00\x01\x2d" + b"x" * 301
    ]


def _json() -> list[bytes]:
    texts = [json_of(batch) for batch in BATCHES]
    texts += [
        b'["", "\\u00e4\\n", 1e5, -0.0]\r\n\t []["a"]',
        b'["",' + b"[" * 101 + b"]" * 102,
        b'["' + b"x" * 297 + b'"]',
    ]
    return [bytes([cut]) + text for text in (*texts, b"".join(texts)) for cut in (0, 3)]


def _lines() -> list[bytes]:
    greeting = peer_greeting(Setup.GREETING)
    longest = [b"\x05" + b"x" * size + b"\n" for size in (4096, 4097)]
    return [b"\x00" + greeting, b"\x07" + greeting * 2 + b"link\nrest", *longest]


def _greetings() -> list[bytes]:
    setups = (Setup(0), Setup.GREATER)
    return [peer_greeting(setup, encryption=secure).rstrip() for setup in setups for secure in (False, True)]


def _escapes() -> list[bytes]:
    return [b"plain", b"50%;a%3b%zz%", "ä \U0001f600".encode(), b"%f0%9f%98%80", b"\n\x7f\x00"]


def _addresses() -> list[bytes]:
    texts = ["unix:/run/app.sock", "host", "host:4040", "host:*", "*:0", "[::1]:4040", "[::1]", "a:b:c", "host:65536"]
    longest = [b"unix:" + b"x" * size for size in (103, 104)]
    return [*(text.encode() for text in texts), *longest, "unix:ä".encode()]


def _seed_names() -> list[bytes]:
    texts = ["srv:_app._tcp.example.org", "srv:4040", "srv:a..b", "srv:ä.example", "dir:/shared/job 42", "dir:4040"]
    return [*(text.encode() for text in [*texts, "dir:a\0b", "host:4040"]), b"srv:" + b"a" * 64, b"dir:\xff"]


def _seed_files() -> list[bytes]:
    good = {"run": "A" * 16, "node": "eggs/1", "since": 5, "addresses": ["10.0.0.1:4040", "unix:/run/eggs"]}
    others: list[object] = [{**good, "addresses": ["*:1"]}, {**good, "node": "a b"}, {**good, "run": 5}, [good]]
    return [*(json.dumps(one).encode() for one in [good, *others]), b"[" * 5000, b'{"run": "\\ud800"}']


def _sayings(setup: Setup) -> list[bytes]:
    """Return inputs that come behind the proof: the lines of a decision by either side, then frames."""
    message = json_of(BATCHES[0]) if Setup.JSON in setup else frames_of(BATCHES[0]) + frames_of(BATCHES[3])
    word = b"link\n" if Setup.GREATER in setup else b"ok\n"
    return [word + message, b"no;not%20now\n", word]


def _conversations(*, dialler: bool) -> list[bytes]:
    found: list[bytes] = []
    for base in (Setup(0), Setup.GREATER, Setup.JSON, Setup.GREATER | Setup.JSON):
        proven = base | Setup.GREETING | Setup.PROOF
        own = proven | Setup.OWN_REST
        framing = b"json" if Setup.JSON in base else b"msgpack"
        rest = b"hmac_sha256;;%b;lost=%b\n" % (framing, b"0a" * 16)
        for said in _sayings(base):
            found.append(bytes([proven, 9]) + said)
            found.append(bytes([own, 9]) + rest + said)
            found.append(bytes([base | Setup.PROOF, 9]) + peer_greeting(base) + said)
            found.append(bytes([0, 9]) + stream_of(proven, said, dialler=dialler))
    return found


def _encrypted() -> list[bytes]:
    hello = throwaway_tls(False).start()
    found = [bytes([dialled, 9, RAW]) + hello for dialled in (0, 128, 32, 160)]
    for base in (0, 128, Setup.TLS_SERVER, 128 | Setup.TLS_SERVER):
        for setup in (Setup(0), Setup.GREATER, Setup.JSON, Setup.GREATER | Setup.JSON):
            found += [bytes([base | setup | Setup.PROOF, 9, INSIDE]) + said for said in _sayings(setup)]
        found += [bytes([base, 9, CHANGED, turn, 0, 40, 1]) for turn in range(3)]
    return found


def _certificate(names: list[x509.GeneralName], *, more: bool) -> bytes:
    """Make a certificate that is always the same, from a fixed key and fixed dates."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        not_valid_after=datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC),
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if more:
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(key, None).public_bytes(serialization.Encoding.DER)


def _certificates() -> list[bytes]:
    dns, uri = x509.DNSName("node"), x509.UniformResourceIdentifier("trio-mp:a/b")
    others = [
        x509.IPAddress(ipaddress.ip_address("::1")),
        x509.RFC822Name("a@b"),
        x509.DirectoryName(x509.Name([])),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
    ]
    choices: tuple[list[x509.GeneralName], ...] = ([], [dns], [uri], [dns, uri, *others])
    return [_certificate(names, more=more) for names in choices for more in (False, True)]


def _chunks() -> list[bytes]:
    said = b"".join(header(size) + b"x" * size for size in (1, 3, 100)) + END
    return [b"\0" + said, b"\5" + said + header(5) + b"after", b"\1" + header(2**32 - 1) + b"begun", b"\3" + END[:3]]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "lines": _lines,
    "frames": _frames,
    "messages": _payloads,
    "requests": _payloads,
    "greeting": _greetings,
    "escape": _escapes,
    "handshake_dialler": lambda: _conversations(dialler=True),
    "handshake_acceptor": lambda: _conversations(dialler=False),
    "tls": _encrypted,
    "addresses": _addresses,
    "seed_names": _seed_names,
    "seed_files": _seed_files,
    "json": _json,
    "certificates": _certificates,
    "chunks": _chunks,
}
"""The functions that make the first inputs, by target."""


def seeds(name: str) -> list[bytes]:
    """Return the first inputs of a target."""
    return SEEDS[name]()
