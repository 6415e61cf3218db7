"""What the hammer sees of channels: the items of each direction at both ends, and the rules that they are under."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from .._channels.ends import ChannelReceiver, ChannelSender
from ._network import SimulatedNetwork
from ._rules import Rule


@dataclass(eq=False, slots=True)
class FlowEnd:
    """One side of a channel: the block that has opened it, or the function at its other end.

    Attributes:
      run: the run of the node on which it is; empty before it begins.
      open: whether the program of that run uses the channel now.
      send, receive: its ends, once it has them.
    """

    run: str = ""
    open: bool = False
    send: ChannelSender[Any] | None = None
    receive: ChannelReceiver[Any] | None = None


@dataclass(eq=False, slots=True)
class Flow:
    """One direction of a channel, as the programs at its ends have seen it.

    Attributes:
      name: which one, for people.
      sent: how many items `send` has returned for. Each item has its number.
      under_way: whether a task is in `send` with one more.
      end_said: whether the program has ended the direction.
      received: how many items were received, each of them the next one.
    """

    name: str
    sent: int = 0
    under_way: bool = False
    end_said: bool = False
    received: int = 0


@dataclass(eq=False, slots=True)
class Dialogue:
    """A channel between two nodes.

    Attributes:
      number: which one of the seed.
      near, far: its two sides.
      there, back: its two directions, away from the side that has opened it, and towards it.
    """

    number: int
    there: Flow
    back: Flow
    near: FlowEnd = field(default_factory=FlowEnd)
    far: FlowEnd = field(default_factory=FlowEnd)


class Flows:
    """All channels of one seed, and the rules that they are under.

    Args:
      network: the simulated network.

    Attributes:
      dialogues: the channels, by number.
      received: how many items were received in all of them.
    """

    def __init__(self, network: SimulatedNetwork) -> None:
        self.dialogues: list[Dialogue] = []
        self.received = 0
        self._network = network

    def new(self, near: str, far: str) -> Dialogue:
        """Note that a program is about to open a channel.

        Args:
          near: the run that opens it.
          far: the node at its other end.
        """
        number = len(self.dialogues)
        name = f"channel {number} of {near} and {far}"
        dialogue = Dialogue(number, Flow(f"{name}, there"), Flow(f"{name}, back"))
        self.dialogues.append(dialogue)
        return dialogue

    def _counts(self, run: str) -> bool:
        return self._network.oracle.lives(run)

    def got(self, flow: Flow, run: str, number: int) -> None:
        """Note that a run has received an item with this number: it must be the next one, and have been sent."""
        if not self._counts(run):
            return
        oracle = self._network.oracle
        if number != flow.received:
            oracle.fail(Rule.ITEMS, f"{flow.name}: {run} expected item {flow.received}, got {number}", flow.name)
        if number >= flow.sent + flow.under_way:
            oracle.fail(Rule.ITEMS, f"{flow.name}: {run} got item {number}, which was not sent", flow.name)
        flow.received += 1
        self.received += 1

    def ended(self, flow: Flow, run: str) -> None:
        """Note that a run has received the end: it must have been said, behind the items that have all come."""
        if not self._counts(run):
            return
        oracle = self._network.oracle
        self._network.trace.record("channel ends", flow.name, run)
        if not flow.end_said:
            oracle.fail(Rule.FALSE_END, f"{flow.name}: {run} got an end that was not said", flow.name)
        if flow.received != flow.sent:
            what = f"{flow.name}: {run} got the end after {flow.received} of {flow.sent} items"
            oracle.fail(Rule.FALSE_END, what, flow.name)

    def broke(self, flow: Flow, run: str, error: trio.BrokenResourceError) -> None:
        """Note that an end of a run has broken."""
        if self._counts(run):
            self._network.trace.record("channel breaks", flow.name, run, str(error))

    def judge(self) -> None:
        """Check that no side waits for one that is gone, and that no credit was lost. The network is at rest."""
        oracle = self._network.oracle
        for dialogue in self.dialogues:
            near, far = dialogue.near, dialogue.far
            near_open, far_open = (side.open and self._counts(side.run) for side in (near, far))
            if near_open != far_open:
                open_side, other = (near, far) if near_open else (far, near)
                name = dialogue.there.name
                what = f"{name}: {open_side.run} was not told that {other.run or 'the other side'} has left it"
                oracle.fail(Rule.LEFT_WAITING, what, name)
            if near_open:
                self._judge_credit(dialogue.there, near.send, far.receive)
                self._judge_credit(dialogue.back, far.send, near.receive)

    def _judge_credit(self, flow: Flow, send: ChannelSender[Any] | None, receive: ChannelReceiver[Any] | None) -> None:
        """Nothing is on its way, so the sender lacks what the receiver holds or has not given back."""
        if send is None or receive is None or send._closed or receive._closed:
            return
        oracle = self._network.oracle
        credit, debt = send._outgoing.credit, receive._incoming.debt
        out, held = (credit.used, credit.used_size), (debt.held, debt.held_size)
        if out != held:
            what = f"{flow.name}: the sender lacks credit for {out}, items and bytes, and the receiver holds {held}"
            oracle.fail(Rule.CREDIT, what, flow.name)
        limits = send.statistics()
        if credit.items + credit.used != limits.max_buffer_used:
            what = f"{flow.name}: credit for {credit.items} items is left beside {credit.used}"
            oracle.fail(Rule.CREDIT, f"{what}, of {limits.max_buffer_used}", flow.name)
        if flow.sent != flow.received:
            what = f"{flow.name}: {flow.received} of {flow.sent} items have come, and neither end was told of a loss"
            oracle.fail(Rule.ITEMS, what, flow.name)
