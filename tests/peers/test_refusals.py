"""Messages of other nodes that ports refuse: the node that has sent them is told, together, and not too often."""

from __future__ import annotations

import pytest
import trio
from network_helpers import FakeNetwork, a_member, open_pair, peer_of, until

from trio_mp import CallError, Lost, Port, spawnable


@spawnable(on_bad="refuse")
def refuses(port: Port) -> None:
    port.on("ask", reply=True)(lambda key: key)


@spawnable(on_bad="refuse")
async def refuses_too(port: Port) -> None:
    port.on("ask", reply=True)(lambda key: key)
    await trio.sleep_forever()


@pytest.mark.parametrize("function", ["refuses", "refuses_too"])
async def test_the_node_that_has_sent_is_told(
    autojump_clock: object, caplog: pytest.LogCaptureFixture, function: str
) -> None:
    async with open_pair(FakeNetwork(), spawn_modules=[__name__]) as (one, other):
        told: list[Lost] = []
        there: list[Lost] = []
        port = one.spawn(other.id, f"{__name__}:{function}")
        # A mailbox takes what comes before there are handlers.
        await trio.sleep(1)
        assert await one.call(port, "ask", 1) == (1,)
        with one.on_lost(told.append), other.on_lost(there.append):
            for _ in range(100):
                one.send(port, "ask")
            with pytest.raises(CallError) as caught:
                await one.call(port, "ask")
            assert (caught.value.type_name, caught.value.maybe_delivered) == ("bad_message", False)
            # On a busy machine they are handled in several passes, and the rest is told a second later.
            await until(lambda: sum(lost.count for lost in told) >= 100)
            text = "the handler of a message that begins with 'ask': expected 1 elements, got 0"
            assert told == [Lost(port, lost.count, 0, ("bad_message", text), True) for lost in told]
            first = len(told)
            await trio.sleep(2)
            # The next ones together, a second later.
            for _ in range(5):
                one.send(port, "ask")
                await trio.sleep(0.1)
            await trio.sleep(2)
            assert sum(lost.count for lost in told[:first]) == 100
            assert sum(lost.count for lost in told[first:]) == 5
        assert there == []
        assert text in caplog.text
        caplog.clear()


async def test_a_storm_is_not_answered_by_a_storm_and_an_older_node_by_nothing(autojump_clock: object) -> None:
    for words, expected in (("call", "refused"), 4), (("call",), 0):
        network = FakeNetwork()
        async with open_pair(network) as (node, _), a_member(network, node, words=words) as raw:
            port = node.port(on_bad="refuse")
            for _ in range(30):
                await raw.send(*[(port.name, "x", number) for number in range(50)])
                with trio.move_on_after(0.1):
                    await raw.step()
            with trio.move_on_after(3):
                while True:
                    await raw.step()
            found = [message for message in raw.messages if message[:2] == ("", "refused")]
            assert len(found) <= expected
            assert sum(message[3] for message in found) == (1500 if expected else 0)
            assert not peer_of(node, "0").refusals._waiting


async def test_refusals_end_with_the_connection_and_call_no_peer_back(autojump_clock: object) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (node, _):
        port = node.port(on_bad="refuse")
        async with a_member(network, node, words=("refused",)) as raw:
            await raw.send((port.name, "x"), (port.name, "x"))
            await until(lambda: peer_of(node, "0").refusals._telling)
            await raw.send((port.name, "x"))
            await until(lambda: bool(peer_of(node, "0").refusals._waiting))
        await until(lambda: "0" not in node.peers)
        assert not peer_of(node, "0").refusals._waiting
        await trio.sleep(2)
        assert not peer_of(node, "0").association.wants_connection
        assert not peer_of(node, "0").refusals._telling
