"""Three nodes: A sends to B under a monitor, and B relays what it gets to C, under another one.

An association knows one peer, and shares no queue, connection or fence with the associations of other peers. So three
nodes behave as their pairs do, in any order, and one pair can break nothing for another. Only the program in the middle
ties the pairs together: it sends to C each message that comes from A. So the world here is the product of two worlds,
in which a delivery in the first is a sending in the second, in one step. Each world has an oracle of its own. So
relayed messages keep their order, and B is told of every hole. If a program hands a port ID to a third node, only that
node's own association with the owner matters. The third pair, A and C, would only multiply the states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trio_mp._protocol.association.association import Association

from .parts import HIGHER, LOWER, PORTS, Bounds
from .world import Action, State, World


class Relay(World):
    """Two worlds that share the node in the middle, which is the lower node of both.

    Args:
      bounds: the bounds of each pair; the higher node of the first pair sends.
      kind: the class of the second pair's associations.

    Attributes:
      relayed: how many steps have relayed something.
    """

    def __init__(self, bounds: Bounds, kind: type[Association] = Association) -> None:
        super().__init__(bounds, kind)
        self.first = World(bounds)
        self.second = World(replace(bounds, senders=(bounds.senders[HIGHER], 0, 0)), kind)
        self.relayed = 0

    def start(self) -> State:
        first = self.first.start()
        return (len(first), *first, *self.second.start())

    def steps(self, state: State) -> Iterator[tuple[Action, State, str]]:
        length = state[0]
        first, second = state[1 : 1 + length], state[1 + length :]
        for action, after, fault in self.first.steps(first):
            relayed, worse = second, ""
            if self._arrived(after) > self._arrived(first):
                self.relayed += 1
                relayed, worse = self.second._happens(second, LOWER, ("send", PORTS[HIGHER]))
            yield action, (len(after), *after, *relayed), fault or worse
        for action, after, fault in self.second.steps(second):
            # The middle sends nothing by itself.
            if action[1:2] != ("send",):
                yield action, (length, *first, *after), fault

    def _arrived(self, state: State) -> int:
        """How many messages the node in the middle has got."""
        return sum(sent.delivered for sent in self.first._logs.values[state[3 + HIGHER]])
