"""Look-ups and calls for the hammer: in some seeds nodes register desks, find those of others, and call these."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import trio

from .._ids import node_of
from .._ports.calls import current_call
from ._ledger import CallLedger
from ._network import SimulatedNetwork
from ._registry import Registry
from ._rules import Rule
from ._scenario import Plan
from ._sides import hosts_of, keep_port
from ._witness import Witness

SHARE = 0.4
"""In which share of the seeds there are desks."""

LIFE = 50.0
"""How long a desk lives, on average, in seconds."""

PAUSE = 8.0
"""How long a node waits until it looks for a desk again, on average, in seconds."""

FAMILY = "desks"

_PATIENCE = 20.0
"""How long a node at rest may take to answer from the database, in seconds."""


class Desks:
    """Has nodes register ports, look them up, and call them in every way, by random numbers of its own; see `SideRole`.

    Args:
      network: the simulated network.
      plan: what the seed means.
      ledger, registry: where calls and entries are noted.

    Attributes:
      nodes: see `SideRole`.
    """

    def __init__(self, network: SimulatedNetwork, plan: Plan, ledger: CallLedger, registry: Registry) -> None:
        self.nodes: list[str] = []
        self._network = network
        self._ledger = ledger
        self._registry = registry
        numbers = network.generator("desks")
        hosts = hosts_of(plan)
        if numbers.random() < SHARE and len(hosts) > 1:
            self.nodes = numbers.sample(hosts, numbers.randint(2, min(4, len(hosts))))

    async def play(self, witness: Witness, until: float) -> None:
        """See `SideRole.play`."""
        numbers = self._network.generator(f"desks of {witness.run}")
        own = self._network.generator(f"desk of {witness.run}")
        self._ledger.follow(witness)
        async with trio.open_nursery() as nursery:
            make, gone = partial(self._new_desk, witness, own), partial(self._registry.check_gone, witness, FAMILY)
            nursery.start_soon(keep_port, witness, own, until, LIFE, make, gone)
            while trio.current_time() < until:
                nursery.start_soon(self._visit, witness, numbers)
                await trio.sleep(numbers.expovariate(1 / PAUSE))
            await trio.sleep_forever()

    # Desks ---------------------------------------------------------------------------------------------------------

    def _new_desk(self, witness: Witness, numbers: random.Random) -> str:
        node, port = witness.node, witness.node.port()
        witness.adopt(port)
        text, handles = str(port), self._ledger.handles

        @port.on("ask", reply=True, errors=(LookupError,))
        async def ask(number: int, _: float) -> int:
            with handles(number, witness.run, text) as answer:
                await trio.sleep(numbers.choice((0.0, 0.0, 0.3)))
                if numbers.random() < 0.1:
                    raise LookupError(number)
                return answer

        @port.on("work", reply=True, cancel=True)
        async def work(number: int, seconds: float) -> int:
            with handles(number, witness.run, text, clings=False) as answer:
                await trio.sleep(seconds)
                return answer

        @port.on("pass", reply=True)
        async def hand_on(number: int, seconds: float) -> int:
            call = current_call()
            assert call is not None
            with handles(number, witness.run, text, clings=False) as answer, call.move_on_cancel():
                other = numbers.choice(self._ports())
                if other != text:
                    await self._ask(witness, other, "work", seconds)
                return answer
            return 0

        @port.on("mail")
        def mail(number: int, _: float, reply_to: str) -> None:
            with handles(number, witness.run, text) as answer:
                node.send(reply_to, answer)

        self._registry.register(witness, FAMILY, port, numbers.choice((None, f"desk {node.id}", "desk")))
        return text

    def _ports(self) -> list[str]:
        return list(self._registry.expected(FAMILY).values())

    # Visitors ------------------------------------------------------------------------------------------------------

    async def _visit(self, witness: Witness, numbers: random.Random) -> None:
        """Look for a desk, and call it; or register it once more, from here."""
        port = None
        with trio.move_on_after(30):
            port = await self._look_up(witness, numbers)
        if port is None:
            return
        draw = numbers.random()
        if draw < 0.1 and node_of(port) != witness.node.id:
            # An entry of this node for a port of another one.
            self._registry.register(witness, FAMILY, port, f"far {witness.node.id}")
            return
        kind = numbers.choice(("ask", "work", "work", "pass", "mail"))
        limit = numbers.choice((0.05, 0.5, 3.0, 20.0, inf, inf))
        # Who waits for a while only may call what never ends.
        seconds = numbers.choice((1e9, numbers.expovariate(1 / 3))) if limit < inf else numbers.expovariate(1 / 3)
        with trio.move_on_after(inf) as scope:
            if numbers.random() < 0.2:
                # Called off, and the other node knows no deadline.
                self._network._postman.at(trio.current_time() + numbers.choice((0.0, 0.1, 2.0)), scope.cancel)
            await self._ask(witness, port, kind, seconds, limit)

    async def _look_up(self, witness: Witness, numbers: random.Random) -> str | None:
        database, key = witness.node.database, numbers.choice(("desk", f"desk {numbers.choice(self.nodes)}"))
        draw = numbers.random()
        if draw < 0.4:
            port = await database.whereis(FAMILY, key)
            if port is not None:
                self._registry.check_entry(FAMILY, key, port)
            return port
        table: Callable[[str], Any] = numbers.choice((database.wait, database.family))
        found = database.cached(FAMILY) if draw < 0.6 else await table(FAMILY)
        ports = sorted(self._registry.read(FAMILY, found).values())
        return numbers.choice(ports) if ports else None

    async def _ask(self, witness: Witness, port: str, kind: str, seconds: float, limit: float = inf) -> None:
        async def call(number: int) -> object:
            if kind == "mail":
                (answer,) = await witness.node.call(port, kind, number, seconds)
                return answer
            return await witness.node.call(port, kind, number, seconds, reply=int)

        await self._ledger.ask(witness.run, port, call, limit=limit)

    # At rest -------------------------------------------------------------------------------------------------------

    async def judge(self) -> None:
        """See `SideRole.judge`."""
        self._ledger.judge()
        for name in self.nodes:
            node = self._network.nodes.get(name)
            if node is None:
                continue
            expected, found, families = self._registry.expected(FAMILY), dict[str, str](), list[str]()
            where: dict[str, str | None] = {}
            with trio.move_on_after(_PATIENCE):
                found = self._registry.read(FAMILY, await node.database.family(FAMILY))
                where = {key: await node.database.whereis(FAMILY, key) for key in expected}
                families = await node.database.families()
            told = [found, where]
            if node.database._replica.is_global:
                told.append(self._registry.read(FAMILY, node.database.cached(FAMILY)))
            if any(each != expected for each in told) or (FAMILY in families) != bool(expected):
                what = f"{name} finds {told} in {families}, and there is {expected}"
                self._network.oracle.fail(Rule.ENTRIES, what, name)
