"""Whole nodes with a program in between: what only passes bytes on is harmless, all else is refused on either side."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
import trio
import trio.testing
from network_helpers import (
    FakeNetwork,
    Inbox,
    Notices,
    network_of,
    open_pair,
    open_test_node,
    peer_of,
    place,
    until,
    warnings_in,
)
from relay_helpers import (
    RELAY,
    Ledger,
    Middle,
    Side,
    Terminator,
    Work,
    add_tls,
    changing,
    delay_too_long,
    greatest_nonce,
    hold_back_the_proof,
    own_bytes_back,
    own_lines_back,
    own_proof_back,
    proof_before_greeting,
    relaying,
    smallest_nonce,
    strip_tls,
    swap_lines,
)

encrypted_or_not = pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])

THEIR_PROOF = "authentication failed"
# Writing may fail before the end is read.
CLOSED = "the other side closed the connection|the other side (is closed|reset the connection)"
CLOSED_AT_PROOF = "the other side closed the connection during authentication"


class Attack(NamedTuple):
    """What a relay does, and what is in the log of either side then; None where nothing is due there."""

    work: Work
    dialler_says: str
    listener_says: str | None


def twice(number: int) -> Work:
    return changing("dialler", number, rb"^(.*\n)", rb"\1\1")


GREETING_FIELDS = {
    "peeraddr": (rb"peeraddr=[^;]*", b"peeraddr=somewhere"),
    "provider": (rb"provider=[^;]*", b"provider=trio_mp 9"),
    "heartbeat": (rb"heartbeat=5", b"heartbeat=60"),
    "limit": (rb"limit=\d", b"limit=1"),
    "incarnation": (rb"incarnation=\w+", b"incarnation=0123456789abcdef"),
    "node-id": (rb"aemp;1;\w+", b"aemp;1;x"),
    "node-id-of-another": (rb"aemp;1;\w+", b"aemp;1;n"),
    "framings": (rb";msgpack[^;]*;", b";msgpack,cbor;"),
    "framing-downgraded": (rb";msgpack[^;]*;", b";json;"),
    "methods": (rb"hmac_sha256", b"cleartext,hmac_sha256"),
    "one-more-key": (rb"\n", b";key=value\n"),
    "one-key-less": (rb";provider=[^;]*", b""),
    "another-order": (rb";(provider=[^;]*);(peeraddr=[^;]*)", rb";\2;\1"),
    "the-same-number": (rb"heartbeat=5", b"heartbeat=5.0"),
    "the-same-text-escaped": (rb"provider=t", b"provider=%74"),
}

GREETINGS = {
    f"{name}-of-the-{who}": Attack(changing(who, 0, *replacement), CLOSED_AT_PROOF, THEIR_PROOF)
    for name, replacement in GREETING_FIELDS.items()
    for who in ("dialler", "listener")
} | {
    "version-of-the-dialler": Attack(changing("dialler", 0, rb";1;", b";2;"), CLOSED, "expected a greeting of trio_mp"),
    "version-of-the-listener": Attack(changing("listener", 0, rb";1;", b";2;"), "expected a greeting of trio_mp", None),
    "no-method-of-the-dialler": Attack(
        changing("dialler", 0, rb"hmac_sha256", b"cleartext"), CLOSED, "no authentication method in common"
    ),
    "no-method-of-the-listener": Attack(
        changing("listener", 0, rb"hmac_sha256", b"cleartext"), "no authentication method in common", None
    ),
    "no-framing-of-the-dialler": Attack(
        changing("dialler", 0, rb";msgpack[^;]*;", b";cbor;"), CLOSED, "no framing in common"
    ),
    "lines-swapped": Attack(swap_lines, CLOSED, "expected a greeting of trio_mp"),
    "fields-twice": Attack(twice(0), CLOSED, "expected a nonce of"),
    "nonce-twice": Attack(twice(1), CLOSED, "expected the authentication method|TLS"),
    "own-bytes-back": Attack(own_bytes_back, "our own nonce back", None),
    "own-lines-back": Attack(own_lines_back, "our own nonce back", None),
    "too-late": Attack(delay_too_long, "in time", "in time"),
}

PROOFS = {
    "token-short": (rb";(\w+)\w;", rb";\1;", THEIR_PROOF),
    "token-long": (rb";(\w+);", rb";\g<1>0;", THEIR_PROOF),
    "token-empty": (rb";\w+;", b";;", THEIR_PROOF),
    "token-of-zeros": (rb";\w+;", b";" + b"0" * 64 + b";", THEIR_PROOF),
    "token-with-a-space": (rb";(\w+);", rb";\1 ;", THEIR_PROOF),
    "lost": (rb"lost=", b"lost=" + b"0" * 32, THEIR_PROOF),
    "no-lost": (rb";lost=", b"", THEIR_PROOF),
    "framing": (rb";msgpack;", b";json;", THEIR_PROOF),
    "no-framing": (rb";msgpack;", b";;", THEIR_PROOF),
    "method": (rb"^hmac_sha256", b"cleartext", "expected the authentication method"),
    "method-of-certificates": (rb"^hmac_sha256", b"tls_sha256", "expected the authentication method"),
    "one-more-field": (rb"\n", b";\n", THEIR_PROOF),
}

PLAIN = (
    {
        f"{name}-of-the-dialler": Attack(changing("dialler", 2, pattern, new), CLOSED_AT_PROOF, says)
        for name, (pattern, new, says) in PROOFS.items()
    }
    | {
        f"{name}-of-the-listener": Attack(changing("listener", 2, pattern, new), says, None)
        for name, (pattern, new, says) in PROOFS.items()
    }
    | {
        "nonce-of-the-dialler": Attack(changing("dialler", 1, rb"^.+", b"A" * 44), CLOSED_AT_PROOF, THEIR_PROOF),
        "nonce-of-the-listener": Attack(changing("listener", 1, rb"^.+", b"A" * 44), CLOSED_AT_PROOF, THEIR_PROOF),
        "proof-before-greeting": Attack(proof_before_greeting, CLOSED_AT_PROOF, "expected a greeting of trio_mp"),
        "proof-twice": Attack(twice(2), CLOSED, "of the handshake: expected"),
        "own-proof-back": Attack(own_proof_back, THEIR_PROOF, None),
        "proof-held-back": Attack(hold_back_the_proof, "in time", "in time"),
        "tls-added": Attack(add_tls, "encryption is off here and on there", "encryption is off here and on there"),
    }
)


ENCRYPTED = {
    "tls-stripped": Attack(strip_tls, "encryption is on here and off there", "encryption is on here and off there"),
    "tls-stripped-from-the-dialler": Attack(
        changing("dialler", 0, rb";tls=1.0", b""), CLOSED, "encryption is on here and off there"
    ),
    "tls-stripped-from-the-listener": Attack(
        changing("listener", 0, rb";tls=1.0", b""), "encryption is on here and off there", None
    ),
    "tls-of-a-later-version": Attack(
        changing("dialler", 0, rb"tls=1.0", b"tls=1.1"), CLOSED, "encryption is on here and off there"
    ),
    "tls-ended": Attack(Terminator(), CLOSED_AT_PROOF, THEIR_PROOF),
    "tls-server-to-both": Attack(Terminator(change=greatest_nonce), CLOSED_AT_PROOF, THEIR_PROOF),
    "tls-client-to-both": Attack(Terminator(change=smallest_nonce), CLOSED_AT_PROOF, THEIR_PROOF),
}


async def run_attack(
    caplog: pytest.LogCaptureFixture, attack: Attack, *, ours: bool, theirs: bool, connections: int = 2
) -> None:
    """A node `v` dials the relay for `m`, which has a connection with `n`. Nothing comes of it but what is in the log.

    Args:
      ours, theirs: whether `v` and `m` want encryption.
      connections: how many are attacked.
    """
    network = FakeNetwork()
    async with (
        open_pair(network, "m", "n", encryption=theirs) as (m, n),
        relaying(network, "m", attack.work, connections) as relay,
        open_test_node(network, "v", seeds=[RELAY], listen=False, encryption=ours) as v,
    ):
        undisturbed, at_m, at_v, told = Ledger(n, m), Inbox(m), Inbox(v), Notices()
        v.monitor(at_m.port, told)
        v.send(at_m.port, "never read by anybody else")
        m.send(at_v.port, "nor this")
        with trio.fail_after(100):
            while relay.served < connections:
                undisturbed.send()
                await trio.sleep(0.05)
            await trio.sleep(0.05)
        lines = warnings_in(caplog)
        from_dialler = [line for line in lines if line.startswith(f"the seed {place(RELAY)} cannot be used: ")]
        from_listener = [line for line in lines if line.startswith(f"a connection to {place('m')}")]
        assert len(lines) == len(from_dialler) + len(from_listener), lines
        # The dialler does not say again what has not changed.
        assert len(from_dialler) == 1, from_dialler
        assert all(re.search(attack.dialler_says, line) for line in from_dialler), from_dialler
        assert len(from_listener) == (0 if attack.listener_says is None else connections), from_listener
        assert all(re.search(attack.listener_says or "", line) for line in from_listener), from_listener
        assert v.peers == ()
        assert m.peers == ("n",)
        # A loss is told of, as any other.
        assert "no connection within" in str((await told.wait())[2])
        undisturbed.send()
        await until(lambda: undisturbed.delivered[-1] == undisturbed.sent - 1)
        assert undisturbed.delivered == list(range(undisturbed.sent))
        assert not undisturbed.told
        assert not at_m.messages
        assert not at_v.messages
    for wire in network.wires:
        for sent in (wire.there.sent, wire.back.sent):
            assert b"never read by anybody else" not in sent


@encrypted_or_not
@pytest.mark.parametrize("name", GREETINGS)
async def test_a_changed_greeting(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, name: str, encryption: bool
) -> None:
    await run_attack(caplog, GREETINGS[name], ours=encryption, theirs=encryption)


@pytest.mark.parametrize("name", PLAIN)
async def test_a_changed_proof(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    await run_attack(caplog, PLAIN[name], ours=False, theirs=False)


@pytest.mark.parametrize("name", ENCRYPTED)
async def test_encryption_that_is_taken_away(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    attack = ENCRYPTED[name]
    await run_attack(caplog, attack, ours=True, theirs=True)
    if isinstance(attack.work, Terminator):
        assert attack.work.heard.startswith(b"hmac_sha256;"), "it came as far as it could"


@pytest.mark.parametrize("encrypted", ["dialler", "listener"])
async def test_encryption_on_one_side_only(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, encrypted: str
) -> None:
    """The relay tells either side what it wants to hear, and translates."""

    def translate(who: str, line: bytes) -> bytes:
        wanted = line.replace(b";tls=1.0", b"")
        return wanted if who == encrypted else wanted.replace(b";incarnation", b";tls=1.0;incarnation")

    plain = "listener" if encrypted == "dialler" else "dialler"
    attack = Attack(Terminator(change=translate, plain=plain), CLOSED_AT_PROOF, THEIR_PROOF)
    await run_attack(caplog, attack, ours=encrypted == "dialler", theirs=encrypted == "listener")


async def test_a_proof_used_in_the_next_connection(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    proofs: list[bytes] = []

    async def keep(middle: Middle) -> None:
        await middle.listener.send(b"".join(await middle.dialler.lines(2)))
        await middle.dialler.send(b"".join(await middle.listener.lines(2)))
        proofs.append(await middle.dialler.line())
        if len(proofs) > 1:
            await middle.listener.send(proofs[-2])
            await middle.listener.some()
        else:
            await middle.listener.send(b"hmac_sha256;;msgpack;lost=\n")
            await middle.listener.some()

    attack = Attack(keep, CLOSED_AT_PROOF, THEIR_PROOF)
    await run_attack(caplog, attack, ours=False, theirs=False, connections=3)
    assert len(set(proofs)) == 3


# What is harmless ----------------------------------------------------------------------------------------------------


@encrypted_or_not
@pytest.mark.parametrize("piece, seconds", [(1, 0.0), (7, 0.001), (100_000, 1.0)], ids=["1", "7", "slow"])
async def test_a_relay_that_only_passes_bytes_on(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    encryption: bool,
    piece: int,
    seconds: float,
) -> None:
    async def work(middle: Middle) -> None:
        await middle.pass_on(pause=seconds, piece=piece)

    network = FakeNetwork()
    async with (
        open_test_node(network, "m", encryption=encryption) as m,
        relaying(network, "m", work),
        open_test_node(network, "v", seeds=[RELAY], listen=False, encryption=encryption) as v,
    ):
        there, back = Ledger(v, m), Ledger(m, v)
        for _ in range(40):
            there.send("x" * 50)
            back.send(b"y" * 50)
        await until(lambda: len(there.delivered) == len(back.delivered) == 40)
        assert there.delivered == back.delivered == list(range(40))
        assert not there.told
        assert not back.told
        assert m.peers == ("v",)
        assert not warnings_in(caplog)


# Replay and reflection -----------------------------------------------------------------------------------------------


async def expect_refusal(network: FakeNetwork, data: bytes) -> bytes:
    """Say something to `m`, and what it answers until it closes the connection."""
    stranger = Side(network.connect(place("m")).dialler)
    await stranger.send(data)
    heard = b""
    with trio.fail_after(30):
        while more := await stranger.some():
            heard += more
    stranger.close()
    return heard


@encrypted_or_not
async def test_a_recorded_conversation_said_again_to_who_was_dialled(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, encryption: bool
) -> None:
    """While the one it was recorded of is connected, and when it has gone."""
    network = FakeNetwork()
    async with open_test_node(network, "m", encryption=encryption) as m:
        async with open_test_node(network, "v", seeds=["m"], listen=False, encryption=encryption) as v:
            talk = Ledger(v, m)
            talk.send("recorded")
            await until(lambda: talk.delivered)
            record = bytes(network.wire.there.sent)
            heard = await expect_refusal(network, record)
            assert b"hmac_sha256;" not in heard.split(b"\n", 1)[1], "it is told no proof"
            talk.send("goes on")
            await until(lambda: len(talk.delivered) == 2)
            assert not talk.told
            assert len(warnings_in(caplog)) == 1
            assert len(peer_of(m, "v").connections) == 1
        await until(lambda: not m.peers)
        await expect_refusal(network, record)
        assert talk.delivered == [0, 1]
        assert m.peers == ()
        lines = warnings_in(caplog)
        assert len(lines) == 2
        assert all(re.search("TLS|authentication failed|in time", line) for line in lines), lines
        assert not peer_of(m, "v").connections


@encrypted_or_not
async def test_a_recorded_conversation_said_again_to_who_dials(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, encryption: bool
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m", encryption=encryption) as m:

        async def work(middle: Middle) -> None:
            if not middle.number:
                await middle.pass_on()
                return
            middle.listener.close()
            fields, nonce, rest = record.split(b"\n", 2)
            await middle.dialler.lines(2)
            await middle.dialler.send(fields + b"\n" + nonce + b"\n")
            # Its proof, or the beginning of TLS.
            with trio.move_on_after(1):
                await middle.dialler.some()
            await middle.dialler.send(rest)
            while await middle.dialler.some():
                pass

        async with (
            relaying(network, "m", work, 4) as relay,
            open_test_node(network, "v", seeds=[RELAY], listen=False, encryption=encryption) as v,
        ):
            inbox, told = Inbox(v), Notices()
            m.send(inbox.port, "recorded")
            await inbox.wait(1)
            v.monitor("m", told)
            await trio.sleep(0.1)
            record = next(bytes(wire.back.sent) for wire in network.live if wire.address == place("m"))
            for wire in network.live:
                wire.reset()
            await told.wait()
            await relay.wait(4)
            assert inbox.messages == [("recorded",)]
            assert v.peers == ()
            lines = warnings_in(caplog)
            assert lines
            assert all(re.search("TLS|authentication failed|in time", line) for line in lines), lines
            assert encryption or len(lines) == 1


@pytest.mark.parametrize("claim", [None, b"x"], ids=["as-it-is", "another-id"])
async def test_two_connections_of_one_node_connected_with_each_other(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, claim: bytes | None
) -> None:
    """One that it has accepted and one that it has dialled: its own proof comes back by the other."""

    def change(_: str, number: int, line: bytes) -> bytes:
        return line if claim is None or number else line.replace(b"aemp;1;v;", b"aemp;1;" + claim + b";")

    network = FakeNetwork()
    async with open_pair(network, "m", "n") as (m, n):
        undisturbed = Ledger(n, m)
        async with (
            relaying(network, "v", lambda middle: middle.pass_lines_on(change, 2), 1) as relay,
            open_test_node(network, "v", seeds=[RELAY, "m"]) as v,
        ):
            await relay.wait(1)
            await until(lambda: v.peers)
            assert v.peers == ("m",), "nobody else, least of all itself"
            assert set(network_of(v).peers) == {"m"}
            if claim is None:
                (line,) = warnings_in(caplog)
                assert "this node itself answers there" in line
            else:
                await until(lambda: len(warnings_in(caplog)) >= 2)
                assert sum(THEIR_PROOF in line for line in warnings_in(caplog)) == 1
        undisturbed.send()
        await until(lambda: undisturbed.delivered == [0])


async def test_two_connections_to_one_node_connected_with_each_other(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither speaks first, so neither gives anything away; when their time is over they go."""
    network = FakeNetwork()
    async with open_test_node(network, "m") as m:
        middle = Middle(Side(network.connect(place("m")).dialler), Side(network.connect(place("m")).dialler), 0)
        with trio.fail_after(30):
            await middle.pass_lines_on(lambda _, number, line: line if number else line.replace(b";m;", b";x;"), 2)
        middle.close()
        await until(lambda: len(warnings_in(caplog)) == 2)
        assert all("in time" in line for line in warnings_in(caplog))
        assert all(b"hmac_sha256;" not in wire.back.sent.split(b"\n", 1)[1] for wire in network.wires)
        assert not network_of(m).peers
        assert not network_of(m)._connections


# After the handshake -------------------------------------------------------------------------------------------------


def spoil(records: list[bytes], how: str) -> list[bytes]:
    first, second, *rest = records
    match how:
        case "flipped":
            return [first[:-1] + bytes([first[-1] ^ 1]), second, *rest]
        case "dropped":
            return [second, *rest]
        case "twice":
            return [first, first, second, *rest]
        case "swapped":
            return [second, first, *rest]
        case _:
            return []


@pytest.mark.parametrize("how", ["flipped", "dropped", "twice", "swapped", "cut off"])
@pytest.mark.parametrize("who", ["dialler", "listener"])
async def test_encrypted_messages_that_are_changed_on_their_way(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, how: str, who: str
) -> None:
    armed = False

    async def work(middle: Middle) -> None:
        async def one_way(name: str, source: Side, target: Side) -> None:
            nonlocal armed
            await target.send(b"".join(await source.lines(2)))
            kept: list[bytes] = []
            while len(head := await source.exactly(5)) == 5:
                record = head + await source.exactly(int.from_bytes(head[3:], "big"))
                kept.append(record)
                if armed and name == who:
                    if len(kept) < 3:
                        continue
                    armed = False
                    kept = spoil(kept, how)
                    if not kept:
                        break
                await target.send(b"".join(kept))
                kept = []
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one_way, "dialler", middle.dialler, middle.listener)
            nursery.start_soon(one_way, "listener", middle.listener, middle.dialler)

    network = FakeNetwork()
    async with (
        open_test_node(network, "m", encryption=True) as m,
        relaying(network, "m", work),
        open_test_node(network, "v", seeds=[RELAY], listen=False, encryption=True) as v,
    ):
        ledgers = [Ledger(v, m), Ledger(m, v)]
        for round_ in range(60):
            armed = armed or round_ == 20
            for ledger in ledgers:
                ledger.send()
            await trio.sleep(0.1)
        await until(lambda: all(ledger.delivered[-1:] == [ledger.sent - 1] for ledger in ledgers), 30)
        assert not armed
        assert sum(len(ledger.told) for ledger in ledgers) == 2, "once on either side"
        for ledger in ledgers:
            ledger.check()
            assert len(ledger.delivered) < 60 or how == "twice" or ledger is ledgers[who == "dialler"]
        lines = warnings_in(caplog)
        assert all("TLS" in line or "dropped" in line for line in lines), lines
        assert any("TLS" in line for line in lines) == (how != "cut off")
