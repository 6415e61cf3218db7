"""Channels for the hammer: some nodes of a third of the seeds open channels to others, while all else goes on."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import trio

from .._channels.ends import ChannelReceiver, ChannelSender
from .._errors import PortDied
from .._node.node import Node
from .._ports.port import current_node
from .._services.spawning import spawnable
from ._flows import Dialogue, Flow, FlowEnd, Flows
from ._network import SimulatedNetwork
from ._scenario import Plan
from ._witness import Witness

SHARE = 1 / 3
"""In which share of the seeds nodes open channels."""

PAUSE = 30.0
"""How long it takes until a node opens another channel, on average, in seconds."""

_PLAYERS: trio.lowlevel.RunVar[ChannelPlayer] = trio.lowlevel.RunVar("trio_mp.testing channels")
"""The player of this seed. The function at the far end of a channel, which gets nothing else, finds it here."""


class ChannelPlayer:
    """Has nodes open channels to each other. Its random numbers are its own, and change nothing else of a seed.

    Args:
      network: the simulated network.
      plan: what the seed means.

    Attributes:
      nodes: the nodes that open channels.
      flows: what was sent and received in them, with its rules.
    """

    nodes: Collection[str]

    def __init__(self, network: SimulatedNetwork, plan: Plan) -> None:
        numbers = network.generator("channels")
        self.nodes = tuple(plan.nodes) if numbers.random() < SHARE else ()
        self.flows = Flows(network)
        self._network = network
        self._plan = plan
        self._until = 0.0
        _PLAYERS.set(self)

    async def play(self, witness: Witness, until: float) -> None:
        """See `Side.play`."""
        self._until = until
        numbers = self._network.generator(f"channels of {witness.run}")
        async with trio.open_nursery() as nursery:
            while trio.current_time() < until:
                nursery.start_soon(self._open, witness, numbers)
                await trio.sleep(numbers.expovariate(1 / PAUSE))
            await trio.sleep_forever()

    async def _open(self, witness: Witness, numbers: random.Random) -> None:
        node = witness.node
        where = numbers.choice(list(self._plan.nodes))
        # A node takes no channel of a larger buffer, neither its own nor of others.
        most = self._plan.nodes[node.id].get("mailbox_limit") or 300
        buffer = min(most, numbers.choice((1, 2, 5, 40, 300)))
        dialogue = self.flows.new(witness.run, where)
        size = numbers.choice((1, 3000, 1024 * 1024))
        try:
            async with node.open_channel(
                where, f"{__name__}:takes_part", dialogue.number, buffer=buffer, buffer_size=size
            ) as (send, receive):
                await self._use(dialogue, dialogue.near, witness.run, send, receive)
        except (PortDied, trio.ClosedResourceError):
            # It was refused or lost before it began; or the node closes.
            pass

    async def take_part(self, node: Node, number: int, send: ChannelSender[Any], receive: ChannelReceiver[Any]) -> None:
        """Use the far end of a channel."""
        dialogue = self.flows.dialogues[number]
        await self._use(dialogue, dialogue.far, self._network.run_of(node), send, receive)

    async def _use(
        self, dialogue: Dialogue, side: FlowEnd, run: str, send: ChannelSender[Any], receive: ChannelReceiver[Any]
    ) -> None:
        numbers = self._network.generator(f"channel {dialogue.number} on {run}")
        out, back = (dialogue.there, dialogue.back) if side is dialogue.near else (dialogue.back, dialogue.there)
        side.run, side.send, side.receive, side.open = run, send, receive, True
        over = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_all, out, run, send, numbers, over)
                await self._receive_all(back, run, receive, numbers)
                over.set()
        finally:
            side.open = False

    async def _send_all(
        self, flow: Flow, run: str, send: ChannelSender[Any], numbers: random.Random, over: trio.Event
    ) -> None:
        """Send some items, at most until the hammer gets quiet; then end the direction, or leave it open."""
        count = numbers.choice((0, 3, 10, 60))
        stays = numbers.random() < 0.5
        try:
            for _ in range(count):
                if trio.current_time() >= self._until:
                    break
                item = [flow.sent, b"x" * numbers.choice((0, 10, 500, 5000))]
                flow.under_way = True
                # Most wait as long as they have to. Not beyond the quiet: nothing is sent there.
                limit = 0.01 if numbers.random() < 0.1 else self._until - trio.current_time()
                with trio.move_on_after(limit) as scope:
                    await send.send(item)
                    flow.sent += 1
                flow.under_way = False
                if not scope.cancelled_caught and numbers.random() < 0.1:
                    await trio.sleep(numbers.choice((0, 0.05, 2.0)))
            if stays:
                await over.wait()
            flow.end_said = True
            await send.aclose()
        except trio.BrokenResourceError as error:
            self.flows.broke(flow, run, error)

    async def _receive_all(self, flow: Flow, run: str, receive: ChannelReceiver[Any], numbers: random.Random) -> None:
        """Receive until the end, or close before that now and then."""
        most = numbers.choice((7, 100, 10_000, 10_000, 10_000))
        slow = numbers.random() < 0.3
        try:
            for _ in range(most):
                number, _ = await receive.receive()
                self.flows.got(flow, run, number)
                if slow and trio.current_time() < self._until and numbers.random() < 0.1:
                    await trio.sleep(numbers.choice((0, 0.1, 3.0)))
            await receive.aclose()
        except trio.EndOfChannel:
            self.flows.ended(flow, run)
        except trio.BrokenResourceError as error:
            self.flows.broke(flow, run, error)

    async def judge(self) -> None:
        """See `Side.judge`."""
        await trio.lowlevel.checkpoint()
        self.flows.judge()


@spawnable
async def takes_part(receive: ChannelReceiver[Any], send: ChannelSender[Any], number: int) -> None:
    """Use the far end of a channel of the hammer."""
    await _PLAYERS.get().take_part(current_node(), number, send, receive)
