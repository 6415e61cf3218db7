"""Groups for the hammer: in some seeds nodes have members of one group, which come and go, and nodes call these."""

from __future__ import annotations

import random
from collections.abc import Collection
from functools import partial
from math import inf
from typing import Any

import trio

from .._groups.group import Group
from .._protocol.groups.events import Joined, Left
from .._reason import Reason
from ._ledger import CallLedger, Question
from ._network import SimulatedNetwork
from ._registry import Registry
from ._rules import Rule
from ._scenario import Plan
from ._sides import hosts_of, keep_port
from ._witness import Witness

SHARE = 0.4
"""In which share of the seeds there is a group."""

LIFE = 40.0
"""How long a member lives, on average, in seconds."""

PAUSE = 6.0
"""How long a client waits until it does something again, on average, in seconds."""

FAMILY = "circle"


class SeenMember:
    """A member that has joined, as a monitor: the oracle looks at it as at `Monitor`.

    Attributes:
      port: the ID of its port.
      reason: why it has left, if its monitor has fired.
      left: whether it has left.
    """

    def __init__(self, port: str) -> None:
        self.port = port
        self.reason: Reason | None = None
        self.left = False

    @property
    def active(self) -> bool:
        """Whether it has not left."""
        return not self.left


class GroupView:
    """What the reader of one group is told, and the rules about that.

    Args:
      witness: the node of the reader.
      group: the group.
      registry: what was registered.

    Attributes:
      there: those that have joined and have not left, by key.
      ever: the ports that have ever joined.
    """

    def __init__(self, witness: Witness, group: Group, registry: Registry) -> None:
        self.there: dict[str, SeenMember] = {}
        self.ever: set[str] = set()
        self.group = group
        self.witness = witness
        self._registry = registry

    async def follow(self) -> None:
        """Read the events of the group, until cancelled."""
        try:
            async for event in self.group:
                self.take(event)
        finally:
            self.close()

    def close(self) -> None:
        """Expect nothing more: a group whose block is left says nothing of losses."""
        for member in self.there.values():
            member.left = True

    def take(self, event: Joined | Left) -> None:
        """Note one event. From `Joined` to `Left` what is sent to the member is under the promise."""
        oracle, run = self.witness.oracle, self.witness.run
        if not oracle.lives(run):
            return
        reason = event.reason if isinstance(event, Left) else ()
        self.witness.network.trace.record(type(event).__name__.lower(), run, event.key, event.port, *reason)
        member = self.there.get(event.key)
        if isinstance(event, Joined):
            if member is not None:
                oracle.fail(Rule.ROSTER, f"{run} is told that {event.port} joins, and {member.port} has", event.port)
            self._registry.check_entry(self.group.family, event.key, event.port)
            member = self.there[event.key] = SeenMember(event.port)
            self.ever.add(event.port)
            oracle.monitor_set(run, member)
            return
        if member is None or member.port != event.port:
            what = f"{run} is told that {event.port} leaves, and it was {member and member.port} that had joined"
            oracle.fail(Rule.ROSTER, what, event.port)
        del self.there[event.key]
        member.left = True
        if reason[:1] not in {("unregistered",), ("not_watched",)}:
            member.reason = reason
            oracle.fire_begins(member, reason)
            oracle.fire_ends(member)

    @property
    def is_up_to_date(self) -> bool:
        """Whether the reader has read all events, so that what is sent now is in the span that the reader sees."""
        return not len(self.group._log)

    def send(self, *message: Any) -> None:
        """Send a stamped message to all that are known."""
        oracle, run = self.witness.oracle, self.witness.run
        ports = [place.port for place in self.group._roster.known]
        self.group.send("told", run, {port: oracle.next_number(run, port) for port in ports}, *message)
        for port in ports:
            oracle.message_sent(run, port)

    def judge(self, expected: Collection[str], watch: int) -> None:
        """Check the view of the group. To be called when the network is at rest.

        Args:
          expected: the ports that are registered and live.
          watch: how many of them the group monitors.
        """
        oracle, run = self.witness.oracle, self.witness.run
        members = sorted(self.group.members)
        if sorted(member.port for member in self.there.values()) != members:
            oracle.fail(Rule.ROSTER, f"{run} was not told of {members}, but of {list(self.there)}", run)
        if not set(members) <= set(expected) or len(members) != min(watch, len(expected)):
            oracle.fail(Rule.CONVERGES, f"expected {watch} of {sorted(expected)} for {run}, got {members}", run)


class Circle:
    """Has nodes keep members of a group, and use it. Its random numbers are its own; see `SideRole`.

    Args:
      network: the simulated network.
      plan: what the seed means.
      ledger, registry: where calls and entries are noted.
    """

    def __init__(self, network: SimulatedNetwork, plan: Plan, ledger: CallLedger, registry: Registry) -> None:
        self.nodes: set[str] = set()
        self._network = network
        self._ledger = ledger
        self._registry = registry
        numbers = network.generator("groups")
        hosts = hosts_of(plan)
        self._members: list[str] = []
        self._clients: list[str] = []
        if numbers.random() < SHARE and len(hosts) > 1:
            self._members = numbers.sample(hosts, numbers.randint(1, min(5, len(hosts))))
            self._clients = numbers.sample(hosts, numbers.choice((1, 1, 2)))
            self.nodes = {*self._members, *self._clients}
        self._watch = numbers.choice((1, 2, 16, 16))
        # The group of the latest run of each client, and all views that questions were asked in.
        self._views: dict[str, GroupView] = {}
        self._asked: list[tuple[Question, GroupView]] = []

    async def play(self, witness: Witness, until: float) -> None:
        """See `SideRole.play`."""
        numbers = self._network.generator(f"group of {witness.run}")
        gone = partial(self._registry.check_gone, witness, FAMILY)
        self._ledger.follow(witness)
        async with trio.open_nursery() as nursery:
            if witness.node.id in self._members:
                for seat in range(numbers.choice((1, 1, 2))):
                    own = self._network.generator(f"member {seat} of {witness.run}")
                    make = partial(self._new_member, witness, own)
                    nursery.start_soon(keep_port, witness, own, until, LIFE, make, gone)
            if witness.node.id in self._clients:
                nursery.start_soon(self._use, witness, numbers, until)

    # Members -------------------------------------------------------------------------------------------------------

    def _new_member(self, witness: Witness, numbers: random.Random) -> str:
        port = witness.node.port()
        witness.adopt(port)
        text = str(port)

        @port.on("ask", reply=True)
        async def ask(number: int) -> int:
            with self._ledger.handles(number, witness.run, text) as answer:
                await trio.sleep(numbers.choice((0.0, 0.0, 0.1, 2.0)))
                return answer

        @port.on("told")
        def told(run: str, stamps: dict[str, int]) -> None:
            if text in stamps:
                witness.oracle.delivered_to(text, run, stamps[text], text)

        # Nodes contend for some keys; the one with the greatest ID has them.
        key = numbers.choice((None, None, f"seat {witness.node.id}", f"seat {numbers.randrange(3)}"))
        self._registry.register(witness, FAMILY, port, key)
        return text

    # Clients -------------------------------------------------------------------------------------------------------

    async def _use(self, witness: Witness, numbers: random.Random, until: float) -> None:
        async with witness.node.open_group(FAMILY, watch=self._watch) as group, trio.open_nursery() as nursery:
            view = self._views[witness.node.id] = GroupView(witness, group, self._registry)
            nursery.start_soon(view.follow)
            while trio.current_time() < until:
                if numbers.random() < 0.5:
                    for _ in range(numbers.randint(1, 4)):
                        nursery.start_soon(self._ask, view, numbers)
                elif view.is_up_to_date:
                    view.send()
                await trio.sleep(numbers.expovariate(1 / PAUSE))
            await trio.sleep_forever()

    async def _ask(self, view: GroupView, numbers: random.Random) -> None:
        again = numbers.random() < 0.5
        how: dict[str, Any] = numbers.choice(({}, {"by": "least_busy"}, {"key": f"user {numbers.randrange(9)}"}))

        async def call(number: int) -> object:
            self._asked.append((self._ledger.questions[number], view))
            (answer,) = await view.group.call("ask", number, again=again, **how)
            return answer

        limit = numbers.choice((0.5, inf, inf, inf))
        await self._ledger.ask(view.witness.run, FAMILY, call, again=again, limit=limit)

    # At rest -------------------------------------------------------------------------------------------------------

    async def judge(self) -> None:
        """See `SideRole.judge`."""
        await trio.lowlevel.checkpoint()
        oracle = self._network.oracle
        expected = self._registry.expected(FAMILY)
        for view in self._views.values():
            if oracle.lives(view.witness.run):
                view.judge(list(expected.values()), self._watch)
        for question, view in self._asked:
            if not oracle.lives(view.witness.run):
                continue
            for handling in question.handlings.values():
                if handling.port not in view.ever:
                    oracle.fail(Rule.ROSTER, f"{question} went to {handling.port}, which had not joined", handling.port)
        self._ledger.judge({FAMILY} if expected else ())
