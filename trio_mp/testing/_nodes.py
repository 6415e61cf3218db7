"""What a simulated network gives each of its nodes: a transport, clocks, and a silent end if it crashes."""

from __future__ import annotations

import errno
import random
from typing import Protocol

import trio

from .._node.node import Node
from .._ports.port import state_of
from .._transport.addresses import Address
from .._transport.pipe import Listener, Pipe, Transport
from ._wire import Host, Link, Wire


class NetworkPlaces(Protocol):
    """What transports ask of a simulated network; see `SimulatedNetwork`."""

    _places: dict[str, Place]
    _mended: trio.lowlevel.ParkingLot
    default_link: Link

    def link(self, source: str, target: str) -> Link:
        """How bytes travel from one node to another."""
        ...

    def _new_wire(self, dialler: Host, listener: Host) -> Wire:
        """Make the wire of a new connection."""
        ...

    async def _wait_dials(self) -> None:
        """Wait while dials are held. A checkpoint."""
        ...


class Place(Listener):
    """A listener in a simulated network."""

    def __init__(self, transport: NodeTransport, address: str) -> None:
        self.transport = transport
        self.address = address
        self._send, self._receive = trio.open_memory_channel[Wire](1000)

    def connect(self, wire: Wire) -> None:
        """Queue a connection that has arrived."""
        try:
            self._send.send_nowait(wire)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            wire.listener.outgoing.reset()

    async def accept(self) -> Pipe:
        """See `Listener.accept`."""
        wire = await self._receive.receive()
        return wire.listener

    async def aclose(self) -> None:
        """See `Listener.aclose`."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Stop listening. Connections that were not accepted are reset."""
        places = self.transport.network._places
        if places.get(self.address) is self:
            del places[self.address]
        self._send.close()
        while True:
            try:
                self._receive.receive_nowait().listener.close()
            except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                break
        self._receive.close()


class NodeTransport(Transport):
    """The transport of one run of one node in a simulated network."""

    def __init__(self, network: NetworkPlaces, host: Host) -> None:
        self.network = network
        self.host = host
        self.run = host.run

    @property
    def dead(self) -> bool:
        """Whether the node has crashed."""
        return not self.host.up or self.host.run != self.run

    async def dial(self, address: Address) -> Pipe:
        """See `Transport.dial`. Dialling takes as long as a message to the other node and the answer to it."""
        network = self.network
        await network._wait_dials()
        place = network._places.get(str(address))
        target = place.transport.host if place is not None else None
        if target is None or self.dead:
            await trio.sleep(2 * network.default_link.delay)
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}")
        there = network.link(self.host.node_id, target.node_id)
        back = network.link(target.node_id, self.host.node_id)
        while there.broken or back.broken or self.host.paused or target.paused:
            # Nobody answers, so this waits until the dialler gives up.
            await network._mended.park()
        await trio.sleep(there.delay + back.delay)
        place = network._places.get(str(address))
        if place is None or self.dead:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}")
        wire = network._new_wire(self.host, target)
        place.connect(wire)
        return wire.dialler

    async def listen(self, address: Address) -> list[Listener]:
        """See `Transport.listen`."""
        await trio.lowlevel.checkpoint()
        name = str(address)
        if name in self.network._places:
            raise OSError(errno.EADDRINUSE, f"cannot listen on {name}: another node listens there")
        listener = self.network._places[name] = Place(self, name)
        return [listener]


class FairnessClock:
    """A clock that goes on a little whenever it is read, sometimes much, and leaps when a handler stalls."""

    def __init__(self, numbers: random.Random) -> None:
        self._random = numbers
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.006 if self._random.random() < 0.02 else 0.00002
        return self.now


def silence(node: Node) -> None:
    """Keep a crashed node from firing or delivering anything while its tasks end.

    Its ports die, and nobody is told. So what waits in the node until a port has unwound does not wait for ever.
    """
    core = node._runtime
    core.dispatcher.queue.items.clear()
    core._node_monitors.clear()
    ports = core.lifecycle
    for port in [*ports.ports.values(), *ports.unwinding.values()]:
        state_of(port).monitors.clear()
        port._tags = port._default = None
    for port in tuple(ports.ports.values()):
        ports.die(port, ("node_failed", f"{node.id} was crashed"))
    for supervisor in tuple(core.supervisors):
        supervisor.abandon()
    if core.network is not None:
        for peer in core.network.peers.values():
            peer.association.outbox.monitors.clear()
