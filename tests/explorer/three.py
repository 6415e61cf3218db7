"""Three nodes: A sends to B under a monitor, and B relays what it gets to C, under another one.

An association knows one peer, and shares nothing with those of other peers: neither a queue nor a connection nor a
fence. So what three nodes do is what their pairs do, in any order, and one pair can break nothing for another. What
ties the pairs together is the program in the middle, which sends to C what has just come from A. So the world here is
the product of two worlds, in which each delivery in the first is a sending in the second, in one step; both have the
oracle of their own, so what is relayed keeps the order in which it came, and has no hole that B was not told of. A port
ID that is handed to a third node is nothing but what its own association with the owner makes of it; and the third
pair, A and C, would only multiply the states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trio_mp._protocol.association.association import Association

from .parts import HIGHER, LOWER, PORTS, Bounds
from .world import Action, State, World


class Relay(World):
    """Two worlds that share the node in the middle, which is the lower one of either.

    Args:
      bounds: of each pair; the higher node of the first sends.
      kind: the associations of the second pair.

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
            # It sends nothing by itself.
            if action[1:2] != ("send",):
                yield action, (length, *first, *after), fault

    def _arrived(self, state: State) -> int:
        """How many messages the middle has got."""
        return sum(sent.delivered for sent in self.first._logs.values[state[3 + HIGHER]])
