"""The workload of the hammer: each node sends, monitors, kills, spawns, links and calls at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import trio

from .._errors import CallError, PortDied
from .._ids import node_of
from .._node.node import Node
from .._ports.monitor import Monitor
from .._ports.port import Port, current_node
from .._services.spawning import spawnable
from ._network import SimulatedNetwork
from ._scenario import MESSAGES, QUIET, SECONDS, Plan
from ._sides import SideRole
from ._witness import Witness

_BURST = 6.0
"""How many messages a program sends in one burst, on average."""

_PLAYERS: trio.lowlevel.RunVar[dict[Node, Player]] = trio.lowlevel.RunVar("trio_mp.testing players")
"""The player of each node of this seed. A spawned function, which gets nothing but its port, finds its player here."""


class Trial:
    """One seed of the hammer while it runs: what all its programs share.

    Attributes:
      network, plan: the simulated network, and what the seed means.
      sides: what some of the nodes do beside.
      ports: the IDs of ports that all programs know of, some of them dead.
      players: the player of the latest run of each node, by node ID.
      ended: set when the programs are to return.
      quiet_at: the time from which the programs do nothing more, in seconds of Trio's clock.
    """

    def __init__(self, network: SimulatedNetwork, plan: Plan, sides: Sequence[SideRole]) -> None:
        self.network = network
        self.plan = plan
        self.sides = sides
        self.ports: list[str] = []
        self.players: dict[str, Player] = {}
        _PLAYERS.set({})
        self.ended = trio.Event()
        self.quiet_at = trio.current_time() + SECONDS - QUIET

    async def program(self, node: Node) -> None:
        """Run the program of one node."""
        player = self.players[node.id] = Player(self, node)
        sides = [side for side in self.sides if node.id in side.nodes]
        if not sides:
            await player.play()
            return
        async with trio.open_nursery() as nursery:
            for side in sides:
                nursery.start_soon(side.play, player, self.quiet_at)
            await player.play()
            nursery.cancel_scope.cancel()

    def provoke(self, numbers: random.Random) -> None:
        """Have some of the programs send messages now."""
        for player in self.players.values():
            if self.network.oracle.lives(player.run) and numbers.random() < 0.5:
                player.burst()

    def provoke_at(self, node_id: str, numbers: random.Random) -> None:
        """Have some of the programs send messages now to ports of one node."""
        ports = [port for port in self.ports if node_of(port) == node_id]
        for player in self.players.values():
            for port in ports:
                if self.network.oracle.lives(player.run) and numbers.random() < 0.4:
                    player.burst_at(port)

    def forget(self, port: str) -> None:
        """Let no program choose this port any more, because it is dead."""
        if port in self.ports:
            self.ports.remove(port)


class Player(Witness):
    """Plays the program of one run of a node.

    Args:
      trial: what the player shares with the others.
      node: the node.
    """

    def __init__(self, trial: Trial, node: Node) -> None:
        super().__init__(trial.network, node)
        _PLAYERS.get()[node] = self
        self._trial = trial
        self._random = trial.network.generator(f"workload of {self.run}")
        self._monitors: dict[str, Monitor] = {}
        # All monitors that may be active, by the node whose ports they are on.
        self._set: dict[str, list[Monitor]] = {}
        self._own: list[str] = []

    async def play(self) -> None:
        """Act at random until the trial is quiet, then wait until it has ended. Follow the nodes all the time."""
        async with trio.open_nursery() as following:
            following.start_soon(self._follow_nodes)
            await self._act()
            following.cancel_scope.cancel()

    async def _act(self) -> None:
        numbers, trial = self._random, self._trial
        for _ in range(2):
            self._new_port()
        actions = SECONDS - QUIET
        pause = actions / (MESSAGES / _BURST / len(trial.plan.nodes))
        kinds, weights = zip(
            (self.burst, 50), (self._watch, 12), (self._unwatch, 5), (self._new_port, 4), (self._kill, 5),
            (self._spawn, 5), (self._link, 3), (self._call, 6), (self._stop_caring, 1),
            (self._flood, 2 if trial.plan.floods else 0),
            strict=True,
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            while trio.current_time() < trial.quiet_at:
                numbers.choices(kinds, weights)[0]()
                await trio.sleep(numbers.expovariate(1 / pause))
            # A last message to every node: when the quiet ends, it must have arrived, or its loss must be known.
            for port in trial.ports:
                self._ensure_monitor(port)
                self.send(port, "last")
            await trial.ended.wait()

    async def _follow_nodes(self) -> None:
        with suppress(trio.ClosedResourceError):
            await self.follow_nodes()

    # Sending -------------------------------------------------------------------------------------------------------

    def _target(self) -> str | None:
        return self._random.choice(self._trial.ports) if self._trial.ports else None

    def burst(self) -> None:
        """Send a few messages to a random port."""
        port = self._target()
        if port is not None:
            self.burst_at(port)

    def burst_at(self, port: str) -> None:
        """Send a few messages to a port."""
        if self._random.random() < 0.8:
            self._ensure_monitor(port)
        self._send_some(port)

    def _send_some(self, port: str) -> None:
        for _ in range(min(60, 1 + int(self._random.expovariate(1 / _BURST)))):
            self._send_one(port)

    def _send_one(self, port: str) -> None:
        draw = self._random.random()
        if draw < self._trial.plan.large:
            size = self._random.choice((20_000, 60_000, 66_000, 200_000))
        else:
            size = int(self._random.paretovariate(1.0)) * 10 if draw < 0.5 else 0
        try:
            self.send(port, "data", b"x" * min(size, 200_000))
        except ValueError:
            # The message is too large for the other side. `send` knows that and has sent nothing.
            self.send(port, "small")

    def _flood(self) -> None:
        """Send more than the queue takes, and then a little more before any monitor can have fired."""
        port = self._target()
        if port is not None:
            self._ensure_monitor(port)
            for _ in range(self._random.randint(4, 9)):
                self.send(port, "data", b"x" * 60_000)
            self._send_some(port)

    def _call(self) -> None:
        port = self._target()
        if port is not None:
            self._nursery.start_soon(self._call_one, port)

    async def _call_one(self, port: str) -> None:
        try:
            with trio.move_on_after(self._random.choice((0.1, 1e9, 1e9))):
                await self.call(port, "call")
        except CallError:
            # Its time was up over there.
            pass
        except PortDied:
            self._trial.forget(port)

    # Monitors ------------------------------------------------------------------------------------------------------

    def _ensure_monitor(self, port: str) -> None:
        monitor = self._monitors.get(port)
        if monitor is None or not monitor.active:
            self._set_monitor(port)

    def _set_monitor(self, port: str) -> None:
        def fired(*reason: object) -> None:
            if reason[:1] == ("transport_error",):
                draw = self._random.random()
                if draw < 0.5:
                    # Send at once, so that messages that were lost and later ones are as close as they can be.
                    self._set_monitor(port)
                if draw < 0.8 and (trio.current_time() < self._trial.quiet_at or self._trial.ended.is_set()):
                    self._send_some(port)
            elif self._random.random() < 0.8:
                self._trial.forget(port)

        self._monitors[port] = self.monitor(port, fired)
        self._note(self._monitors[port])

    def _note(self, monitor: Monitor) -> None:
        known = self._set.setdefault(node_of(monitor.port), [])
        known[:] = [other for other in known if other.active]
        known.append(monitor)

    def let_go(self, node_id: str) -> None:
        """Cancel all monitors on ports of a node."""
        for monitor in self._set.pop(node_id, ()):
            monitor.cancel()

    def _watch(self) -> None:
        port = self._target()
        if port is not None:
            self._set_monitor(port)

    def _unwatch(self) -> None:
        if self._monitors:
            port = self._random.choice(list(self._monitors))
            self._monitors.pop(port).cancel()

    def _stop_caring(self) -> None:
        for monitor in self._monitors.values():
            monitor.cancel()
        self._monitors.clear()

    def _link(self) -> None:
        port = self._target()
        if port is not None and self._own:
            self._note(self.link(port, self._random.choice(self._own)))

    # Ports ---------------------------------------------------------------------------------------------------------

    def _announce(self, port: str) -> None:
        self._own.append(port)
        self._trial.ports.append(port)

    def _new_port(self) -> None:
        kind = self._random.randrange(4)
        if kind == 0:
            port = self.node.start_port(self.receive_slowly)
            self.adopt(port)
        elif kind == 1:
            cancel = len(self._own) % 2 == 0
            port = self.port(self.answer_slowly, reply=True, cancel=True) if cancel else self.port(self.handle_slowly)
        elif kind == 2:
            port = self.port(self.answer, reply=True)
        else:
            port = self.port(self.handle)
        self._announce(str(port))

    def handle(self, tag: str, *rest: Any) -> None:
        """Handle a message: answer a call, and fail now and then."""
        if tag == "call":
            self.node.send(rest[-1], "answer")
        elif tag == "data" and self._random.random() < 0.0005:
            raise ValueError("a mistake in a handler")

    def answer(self, tag: str, *rest: Any) -> str | None:
        """Handle a message, and return the answer to a call."""
        if tag == "call":
            return "answer"
        self.handle(tag, *rest)
        return None

    async def answer_slowly(self, tag: str, *rest: Any) -> str | None:
        """Handle a message as `answer` does, and let later ones wait now and then."""
        if self._random.random() < 0.1:
            await trio.sleep(self._random.expovariate(1 / 0.5))
        return self.answer(tag, *rest)

    async def handle_slowly(self, tag: str, *rest: Any) -> None:
        """Handle a message, and let later ones wait now and then."""
        if self._random.random() < 0.1:
            await trio.sleep(self._random.expovariate(1 / 0.5))
        self.handle(tag, *rest)

    async def receive_slowly(self, port: Port) -> None:
        """Receive the messages of a port, in its task."""
        async for stamped in port:
            with self.work(port, stamped):
                self.handle(*self.unwrap(port, stamped))
                if self._random.random() < 0.1:
                    await trio.sleep(self._random.expovariate(1 / 0.5))

    def _kill(self) -> None:
        port = self._target()
        if port is not None:
            self.node.kill(port, *self._random.choice(((), ("enough", "of it"))))
            if self._random.random() < 0.7:
                self._trial.forget(port)

    def _spawn(self) -> None:
        others = list(self._trial.plan.nodes)
        node_id = self._random.choice(others)
        port = self.node.spawn(node_id, f"{__name__}:{self._random.choice(('sink', 'process'))}")
        self._set_monitor(port)
        self._send_some(port)
        self._nursery.start_soon(self._introduce, port)

    async def _introduce(self, port: str) -> None:
        """Make a spawned port known to all programs as soon as it has answered a call."""
        try:
            await self.call(port, "call")
        except PortDied:
            return
        self._trial.ports.append(port)


def _witness() -> Player:
    return _PLAYERS.get()[current_node()]


@spawnable
def sink(port: Port) -> None:
    """Make a spawned port handle messages."""
    player = _witness()
    player.adopt(port)

    @port.on()
    def take(*stamped: Any) -> None:
        player.handle(*player.unwrap(port, stamped))


@spawnable
async def process(port: Port) -> None:
    """Run a spawned port that has a task."""
    player = _witness()
    player.adopt(port)
    await player.receive_slowly(port)
