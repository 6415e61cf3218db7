"""A chain of four programs in the simulated network: what each one holds is bounded, and a death ends both sides."""

# ruff: noqa: PT012 - a chain breaks after some sends

from __future__ import annotations

from typing import Any

import pytest
import trio

from trio_mp import ChannelReceiver, ChannelSender, Node, PortDied, current_node, spawnable
from trio_mp._channels.channel import Channel
from trio_mp._ports.port import state_of
from trio_mp.testing import SimulatedNetwork, simulate

BUFFER, ITEM = 4, 1000
BUFFER_SIZE = 2500
"""Two items and a half: here the bytes decide, and not the number of items."""

IN_THE_CHAIN = 3 * 2 + 2
"""What three channels hold, and the two programs between them."""

LATEST = 60.0
"""By when a side has to hear of a node that has fallen silent, in seconds."""


class Chain:
    """The context of all four nodes.

    Attributes:
      sent, received: how many items the first program has sent, and the last one has received.
      said: by node, why its program has ended.
      pause: how long the last program takes for an item, in seconds.
    """

    def __init__(self) -> None:
        self.sent = self.received = 0
        self.said: dict[str, BaseException | None] = {}
        self.pause = 1.0


@spawnable
async def passes_on(receive: ChannelReceiver[Any], send: ChannelSender[Any], *nodes: str) -> None:
    node = current_node()
    chain = node.context
    try:
        if not nodes:
            async for number, _ in receive:
                assert number == chain.received
                chain.received += 1
                await trio.sleep(chain.pause)
            return
        following, *rest = nodes
        async with node.open_channel(
            following, f"{__name__}:passes_on", *rest, buffer=BUFFER, buffer_size=BUFFER_SIZE
        ) as (onward, _):
            async for item in receive:
                await onward.send(item)
    except trio.BrokenResourceError as error:
        chain.said[node.id] = error.__cause__
        raise


def held_by(node: Node) -> int:
    """How many bytes of items wait in a node, to be sent or to be taken, as its channels count them."""
    network = node._runtime.network
    assert network is not None
    queued = sum(peer.queue.size for peer in network.peers.values())
    waiting = 0
    for port in node._lifecycle.ports.values():
        for owned in state_of(port).owned:
            if isinstance(owned, Channel):
                waiting += sum(size for _, size in owned._incoming.items)
    return queued + waiting


@pytest.mark.parametrize("silently", [False, True])
def test_a_chain_of_four_programs(silently: bool) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        chain = Chain()
        nodes: list[Node] = []
        ended = trio.Event()

        async def wait(node: Node) -> None:
            nodes.append(node)
            await ended.wait()

        async with network.open_node("a", context=chain) as a:
            nodes.append(a)
            for name in "bcd":
                network.start(name, wait, seeds=["a"], spawn_modules=[__name__], context=chain)
            await trio.sleep(1)
            async with trio.open_nursery() as nursery:

                async def feed() -> None:
                    with pytest.raises(trio.BrokenResourceError) as caught:
                        async with a.open_channel(
                            "b", f"{__name__}:passes_on", "c", "d", buffer=BUFFER, buffer_size=BUFFER_SIZE
                        ) as (send, _):
                            while True:
                                await send.send([chain.sent, b"x" * (ITEM - 3 * 64)])
                                chain.sent += 1
                    chain.said["a"] = caught.value.__cause__

                nursery.start_soon(feed)
                begun = trio.current_time()
                while trio.current_time() < begun + 100:
                    await trio.sleep(0.3)
                    assert chain.sent - chain.received <= IN_THE_CHAIN
                    for node in nodes:
                        # What has arrived, and what is to go on; and that once more for the words of the channels.
                        assert held_by(node) <= 2 * BUFFER_SIZE + ITEM
                # The last program has set the pace, and has never waited.
                assert 95 <= chain.received <= 101
                network.crash("c", silently=silently)
                with trio.fail_after(LATEST):
                    while set(chain.said) < {"a", "b", "d"}:  # noqa: ASYNC110 - three programs of three nodes say it
                        await trio.sleep(0.1)
                assert all(isinstance(chain.said[name], PortDied) for name in "abd")
                # What had arrived was received, and nothing else.
                assert chain.received <= chain.sent
            ended.set()

    simulate(scenario)
