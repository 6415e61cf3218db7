"""The handshake that docs/protocol.md computes with the standard library is the one that the package speaks."""

from __future__ import annotations

from pathlib import Path

from trio_mp._protocol.handshake.auth import stretch_secret
from trio_mp._protocol.handshake.events import Greeted
from trio_mp._protocol.handshake.greeting import LocalInfo
from trio_mp._protocol.handshake.handshake import Handshake

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"


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
