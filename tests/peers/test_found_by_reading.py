"""What readers of the code have found: each of these crashed a node, lost something in silence, or waited for ever."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, RawPeer, network_of, open_test_node, peer_of, place, until, warnings_in
from stream_helpers import MODULE

from trio_mp._protocol.association.association import Association
from trio_mp._protocol.effects import Fire, Terms
from trio_mp._protocol.wire.framing import FRAMINGS
from trio_mp._transport.addresses import Address, parse_address

TAG = "I" * 16


# Names of ports ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["spawn", "stream"])
@pytest.mark.parametrize("before", [(), ("kil",)], ids=["alive", "killed"])
async def test_a_peer_that_claims_our_incarnation_takes_no_name_of_ours(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, word: str, before: tuple[str, ...]
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b") as b:
        raw = RawPeer(await network.dial(parse_address(place("b"))), "a", incarnation=b._runtime.incarnation)
        await raw.adopt()
        fired: list[object] = []
        async with b.open_port() as port:
            b.monitor(port, lambda *reason: fired.append(reason))
            extra = ("T" * 16,) if word == "stream" else ()
            kills = [("", kill, port.name) for kill in before]
            await raw.send(*kills, ("", word, port.name, *extra, "no.module:f"))
            # One that this node may give out later.
            name = f"{b._runtime.incarnation[:8]}.{'x' * 16}"
            await raw.send(("", word, name, *extra, "no.module:f"))
            await trio.sleep(1)
        await until(lambda: fired)
        assert b.peers == ("a",)
        assert name not in b._dispatcher.ports
    assert any("may not give" in line for line in warnings_in(caplog))


async def test_a_request_for_a_stream_that_does_not_fit_is_not_the_loss_of_the_node() -> None:
    association = Association("b", "a", queue_limit=2**24, message_limit=2**20)
    association.monitor("", "of the node")
    association.send("", ("stream", f"{TAG}.1", TAG, "m:f", b"bytes"))
    association.monitor(f"{TAG}.1", "of the port")
    association.send("", ("db", "something else"))
    association.greeted("c")
    effects = association.authenticated("c", "", Terms(TAG, 2**20, FRAMINGS["json"]))
    assert [effect.monitors for effect in effects if isinstance(effect, Fire)] == [("of the port",)]
    assert "" in association.monitors


# Closing -------------------------------------------------------------------------------------------------------------


async def test_close_does_not_wait_for_what_was_given_up(autojump_clock: trio.testing.MockClock) -> None:
    settings: dict[str, Any] = {"connect_timeout": 4.0, "heartbeat": 1.0, "shutdown_timeout": 300.0}
    async with open_test_node(FakeNetwork(), "a", **settings) as a:
        a.send("nobody", "hello")
        await trio.sleep(1)
        began = trio.current_time()
    assert trio.current_time() - began < 10


async def test_a_stream_is_not_there_in_time_because_the_process_stood_still(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    settings: dict[str, Any] = {"spawn_modules": [MODULE], "handshake_timeout": 1.0}
    async with open_test_node(network, "a", **settings), open_test_node(network, "b", seeds=["a"], **settings) as b:
        await until(lambda: b.peers)
        look_up = network_of(b).look_up

        async def slow(node_id: str) -> tuple[Address, ...]:
            found = await look_up(node_id)
            autojump_clock.jump(1.1)
            return found

        network_of(b).look_up = slow
        with pytest.raises(OSError, match="no byte stream with a"):
            async with b.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")


# Entries that make no sense ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["attach", "welcome"])
async def test_a_loss_in_the_middle_of_what_the_membership_does(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, open_test_node(network, "c", seeds=["a"]) as c:
        node = c if word == "attach" else a
        membership = node._membership
        assert membership is not None
        send = membership._send
        lost: list[str] = []

        def send_too_much(node_id: str, message: tuple[object, ...]) -> None:
            send(node_id, message)
            if message[0] == word and not lost:
                lost.append(node_id)
                peer = peer_of(node, node_id)
                peer.execute(peer.association.lose("what is queued has grown too large"))

        monkeypatch.setattr(membership, "_send", send_too_much)
        await until(lambda: lost)
        assert membership.rules.host == node._database._replica.host
        await until(lambda: c._database._replica.host == "a")


# Log records ---------------------------------------------------------------------------------------------------------
