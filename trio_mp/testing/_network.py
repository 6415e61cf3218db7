"""The simulated network: many nodes in one process, under one seed and a virtual clock."""

from __future__ import annotations

import errno
import hashlib
import itertools
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar, Unpack

import trio
from trio.testing import MockClock

from .._node.node import Node
from .._node.opening import open_node_in
from .._protocol.handshake.session import TLSChannel
from .._settings.environment import Environment, InThread
from .._settings.settings import SettingArguments
from .._transport.addresses import DirectorySeed
from .._transport.seed_files import read_seed_files
from .._transport.throwaway import throwaway_tls
from ._faults import Faults
from ._formation import Ties, are_bound, find_fault, places_of, runs_known_to
from ._nodes import FairnessClock, NodeTransport, Place, silence
from ._oracle import Oracle
from ._postman import Postman
from ._scheduler import deterministic_scheduling
from ._tls import SimulatedTLS
from ._trace import Trace
from ._wire import Host, Link, Wire, World

SECRET = "the secret of a simulation"  # noqa: S105 - it protects nothing
"""The secret of simulated nodes whose settings name none."""

_HOST_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
_EPOCH = 1_600_000_000.0

Program: TypeAlias = Callable[[Node], Awaitable[object]]
"""What a node runs: `async def program(node)`. When the program returns, the node closes in good order."""

T = TypeVar("T")


def _in_no_thread(transport: NodeTransport) -> InThread:
    """Make what runs functions that block. Not in a thread: the virtual clock would jump while it runs."""

    async def run_at_once(function: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        if transport.dead:
            # A killed process cannot even remove a file.
            raise OSError(errno.EIO, "the node has crashed")
        return function()

    return run_at_once


def address_of(node_id: str) -> str:
    """The address where a simulated node listens if it is given no `binds`. Others can name it as a seed.

    It is the node ID itself if that can be a host name, else a path made of it.
    """
    return node_id if _HOST_NAME.fullmatch(node_id) else f"unix:/{node_id}"


class _Run:
    """One run of a program."""

    def __init__(self, program: Program, context: Any, settings: SettingArguments) -> None:
        self.program = program
        self.context = context
        self.settings = settings
        self.scope = trio.CancelScope()
        self.body = trio.CancelScope()
        self.crashed = False
        self.ended = trio.Event()
        self.node: Node | None = None


class SimulatedNetwork(Faults):
    """Many nodes in one process, with pipes in memory between them, faults on request, and one seed for everything.

    `open_simulated_network` and `simulate` make one. The same seed and the same program give the same run, to the byte;
    other seeds give other orders, delays and cuts. Everything happens under Trio's virtual clock.

    Encrypted nodes (`encryption=True`; it is off by default) use a stand-in for TLS, which authenticates every bit and
    gives the same bytes each time. With `real_tls` they use TLS itself: then bytes and lengths differ from run to run,
    and so does everything that depends on them.

    Attributes:
      seed: the seed of the network.
      random: the random numbers of everything that the network itself draws.
      trace: what has happened. Its `digest` tells whether two runs were the same.
      oracle: checks the promise, by what `Witness` and the network tell it.
      nodes: the nodes that run now, by ID.
      default_link: how bytes travel between two nodes whose link was not changed. Change it before nodes connect.
    """

    def __init__(self, seed: int | str, nursery: trio.Nursery, *, real_tls: bool = False) -> None:
        self.seed = seed
        self.random: random.Random = self.generator("network")
        self.trace: Trace = Trace()
        self.oracle: Oracle = Oracle(seed, self.trace)
        self.nodes: dict[str, Node] = {}
        self.default_link: Link = Link()
        self._places: dict[str, Place] = {}
        self._mended: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        self._postman = Postman()
        self._world = World(self.random, self._postman, self.trace)
        self._nursery = nursery
        self.oracle.on_broken = nursery.cancel_scope.cancel
        self.oracle.connected = lambda run, node_id: self._can_talk(run.rpartition("/")[0], node_id)
        self._real_tls = real_tls
        self._hosts: dict[str, Host] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._wires: list[Wire] = []
        self._wire_count = 0
        self._fairness: dict[str, FairnessClock] = {}
        self._begun = trio.current_time()
        self._wall_offsets: dict[str, float] = {}
        self._runs: dict[str, _Run] = {}
        self._dials_held = False
        self._held = trio.lowlevel.ParkingLot()
        nursery.start_soon(self._postman.run, name="the simulated network")

    # What it is made of --------------------------------------------------------------------------------------------

    def generator(self, purpose: str) -> random.Random:
        """Make a generator of random numbers. Drawing from it does not change what other generators give.

        Args:
          purpose: any text. The same seed and purpose give the same numbers.
        """
        text = hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()
        return random.Random(text)

    def _new_wire(self, dialler: Host, listener: Host) -> Wire:
        """Make the wire of a new connection."""
        self._wire_count += 1
        there = self.link(dialler.node_id, listener.node_id)
        back = self.link(listener.node_id, dialler.node_id)
        wire = Wire(self._world, self._wire_count, (dialler, listener), (there, back))
        self._wires = [other for other in self._wires if not other.over]
        self._wires.append(wire)
        self.trace.record("connection", wire.name)
        return wire

    async def _wait_dials(self) -> None:
        """Wait while dials are held. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self._dials_held:
            await self._held.park()

    # The promise ---------------------------------------------------------------------------------------------------

    def uses(self, node_id: str, other: str) -> str | None:
        """The ID of the connection that a node uses with another, if it has one in use."""
        node = self.nodes.get(node_id)
        network = node._runtime.network if node is not None else None
        peer = network.peers.get(other) if network is not None else None
        return peer.association.in_use if peer is not None else None

    def agree(self, one: str, other: str) -> bool:
        """Whether two nodes use one and the same connection now."""
        used = self.uses(one, other)
        return used is not None and used == self.uses(other, one)

    def _can_talk(self, one: str, other: str) -> bool:
        """Whether messages between two nodes go out at once: they are connected, and neither waits to part."""
        return self.agree(one, other) and self._may_write(one, other) and self._may_write(other, one)

    def _may_write(self, node_id: str, other: str) -> bool:
        network = self.nodes[node_id]._runtime.network
        return network is not None and network.peers[other].association.may_write

    def seeds_of(self, node_id: str) -> tuple[str, ...]:
        """The IDs of those seeds of a node that are nodes of this network and listen now."""
        found: dict[str, None] = {}
        for seed in self.nodes[node_id]._runtime.settings.seeds:
            if isinstance(seed, DirectorySeed):
                files = read_seed_files(seed.path, old_before=0).files
                found.update((str(address), None) for file in files for address in file.addresses)
            else:
                found[str(seed)] = None
        places = [self._places[address] for address in found if address in self._places]
        return tuple(place.transport.host.node_id for place in places)

    async def settle(self) -> None:
        """Heal the network, wait until everything must have come to rest, and have the oracle check all of it.

        Raises:
          PromiseBroken: the promise was broken, now or before.
        """
        self.heal()
        await trio.sleep(self.oracle.bounds.longest + 1)
        self.oracle.check()
        places = places_of(self.nodes, self.seeds_of)
        self.oracle.formed(find_fault(places))
        for one, other in itertools.combinations(places, 2):
            bound = are_bound(places, one, other)
            self.oracle.connections(one, other, self.uses(one, other), self.uses(other, one), bound=bound)
        self.check_memory()
        self.oracle.finish()

    def check_memory(self) -> None:
        """Have the oracle check that no node holds entries of a dead run. To be called when the network is quiet.

        Raises:
          PromiseBroken: one does.
        """
        for node_id, node in self.nodes.items():
            for known, run in runs_known_to(node).items():
                self.oracle.remembered(node_id, known, lives=self.is_run_alive(known, run))

    # Nodes ---------------------------------------------------------------------------------------------------------

    def _environment(self, host: Host) -> Environment:
        node_id = host.node_id
        numbers = self.generator(f"node {node_id} run {host.run}")
        fairness = self._fairness[node_id] = FairnessClock(self.generator(f"fairness {node_id} run {host.run}"))

        def make_tls(server: bool) -> TLSChannel:
            return SimulatedTLS(numbers.randbytes, server)

        transport = NodeTransport(self, host)
        return Environment(
            entropy=numbers.randbytes,
            jitter=numbers.random,
            transport=transport,
            make_tls=throwaway_tls if self._real_tls else make_tls,
            fairness_clock=fairness,
            in_thread=_in_no_thread(transport),
            # The machine's, which goes on while no node runs on it.
            wall_clock=lambda: _EPOCH + trio.current_time() - self._begun + self._wall_offsets.get(node_id, 0.0),
        )

    @asynccontextmanager
    async def open_node(
        self, node_id: str, *, context: Any = None, **settings: Unpack[SettingArguments]
    ) -> AsyncGenerator[Node, None]:
        """Run a node of this network for the length of the block.

        Args:
          node_id: its node ID. Only one run of a node ID can be open at a time.
          context: as for `trio_mp.open_node`.
          settings: as for `trio_mp.open_node`, with other defaults: the node listens at `address_of(node_id)`, so
            others may name it as a seed; its secret is the same as that of all others; nothing is encrypted.

        Raises:
          RuntimeError: a node of that ID runs already.
        """
        host = self._host(node_id)
        if host.up:
            raise RuntimeError(f"expected the ID of a node that does not run, got {node_id}, which runs here")
        if settings.get("secret_file") is None:
            settings.setdefault("secret", SECRET)
        encryption = settings.setdefault("encryption", False)
        settings.setdefault("binds", (address_of(node_id),))
        host.run += 1
        host.up = True
        host.encrypted = encryption
        run, number = f"{node_id}/{host.run}", host.run
        self.trace.record("node", "start", run)
        self.oracle.node_started(run, node_id)
        try:
            async with open_node_in(self._environment(host), node_id, context=context, **settings) as node:
                self.nodes[node_id] = node
                Ties(node, self.oracle.tie_ended)
                yield node
        finally:
            if host.up and host.run == number:
                host.up = False
                self.nodes.pop(node_id, None)
                self.trace.record("node", "stop", run)
                self.oracle.node_stopped(run)

    def run_of(self, node: Node) -> str:
        """The name of the current run of a node, such as `a/1`."""
        return f"{node.id}/{self._host(node.id).run}"

    def is_run_alive(self, node_id: str, incarnation: str) -> bool:
        """Whether the node of this ID runs now, in the run with this incarnation."""
        node = self.nodes.get(node_id)
        return node is not None and node._runtime.incarnation == incarnation

    def start(
        self, node_id: str, program: Program, *, context: Any = None, **settings: Unpack[SettingArguments]
    ) -> None:
        """Open a node in the background, and run a program in it. The node can be crashed, and restarted.

        An exception of the program ends the simulation, unless the node has been crashed before.

        Args:
          node_id, context, settings: as for `open_node`.
          program: `async def program(node)`.
        """
        run = self._runs[node_id] = _Run(program, context, settings)
        self._nursery.start_soon(self._run_program, node_id, run, name=f"the program of {node_id}")

    async def _run_program(self, node_id: str, run: _Run) -> None:
        try:
            with run.scope:
                async with self.open_node(node_id, context=run.context, **run.settings) as node:
                    run.node = node
                    with run.body:
                        await run.program(node)
        except Exception:
            # A killed process raises nothing any more, so what the program raises after its crash is dropped.
            if not run.crashed:
                raise
        finally:
            run.ended.set()

    async def stop(self, node_id: str) -> None:
        """Cancel the program of a node, and wait until the node has closed in good order. A checkpoint."""
        run = self._runs[node_id]
        run.body.cancel()
        await run.ended.wait()

    def crash(self, node_id: str, *, silently: bool = False) -> None:
        """Crash a node, as if its process was killed: it flushes nothing, fires no monitor, and tells nobody.

        The `finally` blocks of the program still run, because all nodes share one process. But the node sends no byte.

        Args:
          node_id: a node whose program was started with `start`.
          silently: whether the machine crashes too, so that nothing closes the connections: other nodes notice the
            silence, or hear of it when the node is back. Otherwise the kernel closes the connections.
        """
        run, host = self._runs[node_id], self._host(node_id)
        if not host.up or run.crashed:
            return
        self._log_fault("crash", node_id, "silently" if silently else "and is closed by its kernel")
        name = f"{node_id}/{host.run}"
        # Tell the oracle first, while it can still see who is connected.
        self.oracle.node_stopped(name, silently=silently, crashed=True)
        run.crashed = True
        host.up = False
        self.nodes.pop(node_id, None)
        for wire in self._wires:
            for end in wire.ends:
                if end.host is host:
                    end.vanish(silently=silently)
        for place in [place for place in self._places.values() if place.transport.host is host]:
            place.close()
        # First: a task of the program that waits gets this cancellation, and nothing that the rest would tell it.
        run.scope.cancel()
        if run.node is not None:
            silence(run.node)

    def restart(self, node_id: str, program: Program | None = None) -> None:
        """Start a crashed node again, under the same ID and with the same settings and context.

        Args:
          node_id: the node.
          program: the program to run; by default the same one as before.
        """
        before = self._runs[node_id]
        if self._host(node_id).up:
            raise RuntimeError(f"expected a node that does not run, got {node_id}, which runs: crash or stop it first")
        self._log_fault("restart", node_id)
        self.start(node_id, program or before.program, context=before.context, **before.settings)

    async def wait_ended(self) -> None:
        """Wait until no program that was started with `start` runs any more. A checkpoint."""
        await trio.lowlevel.checkpoint()
        for run in self._runs.values():
            await run.ended.wait()

    def was_crashed(self, node_id: str) -> bool:
        """Whether a node was crashed, and has not been restarted."""
        return node_id in self._runs and self._runs[node_id].crashed

    def is_up(self, node_id: str) -> bool:
        """Whether a node of this ID runs."""
        return node_id in self.nodes


@asynccontextmanager
async def open_simulated_network(
    seed: int | str = 0, *, real_tls: bool = False
) -> AsyncGenerator[SimulatedNetwork, None]:
    """Open a simulated network for the length of a block, in a Trio run that has a `trio.testing.MockClock`.

    Leaving the block cancels the programs that still run. To try many seeds, use `simulate` or, with pytest-trio, the
    fixture of `trio_mp.testing.pytest_plugin`.

    Args:
      seed: everything random in the network comes from it.
      real_tls: see `SimulatedNetwork`.

    Raises:
      RuntimeError: Trio's clock is not a `MockClock` here.
    """
    virtual = isinstance(trio.lowlevel.current_clock(), MockClock)
    if not virtual:
        raise RuntimeError(
            "expected a Trio run with trio.testing.MockClock(autojump_threshold=0), got one with another clock;"
            " use simulate(), which makes such a run"
        )
    failure: BaseException | None = None
    network: SimulatedNetwork | None = None
    try:
        with deterministic_scheduling(seed):
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                network = SimulatedNetwork(seed, nursery, real_tls=real_tls)
                try:
                    yield network
                except BaseException as error:  # noqa: BLE001 - raised again when everything has ended
                    failure = error
                nursery.cancel_scope.cancel()
    finally:
        if network is not None:
            # Raise it here too: in a handler or a callback, the exception may only have killed a port.
            network.oracle.check()
    if failure is not None:
        raise failure


def simulate(scenario: Callable[..., Awaitable[T]], *arguments: Any, seed: int | str = 0, real_tls: bool = False) -> T:
    """Run `await scenario(network, *arguments)` in a Trio run with a virtual clock. Returns its result.

    A test for many seeds is an ordinary function::

        @pytest.mark.parametrize("seed", range(100))
        def test_no_job_is_lost(seed):
            simulate(scenario, seed=seed)

    Args:
      scenario, arguments: as for `trio.run`, with the network before the arguments.
      seed, real_tls: as for `open_simulated_network`.
    """

    async def run() -> T:
        async with open_simulated_network(seed, real_tls=real_tls) as network:
            return await scenario(network, *arguments)

    with deterministic_scheduling(seed):
        return trio.run(run, clock=MockClock(autojump_threshold=0))
