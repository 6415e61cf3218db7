"""A node's place in the network at run time: it dials other nodes, tells them what it knows, and tells observers.

The rules are in `_protocol/membership/rules.py`; this module does what they say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import trio

from .._events import fields
from .._peers.connection import Connection
from .._peers.network import Network
from .._peers.node_port import Service
from .._peers.peer import Peer
from .._peers.standing import Standing
from .._protocol.membership.messages import MEMBERSHIP
from .._protocol.membership.permissions import Declined, NotAllowed
from .._protocol.membership.rules import (
    AddressesChanged,
    Attached,
    BecameGlobal,
    Detached,
    DialWanted,
    GlobalDown,
    GlobalUp,
    GuestDown,
    GuestUp,
    Membership,
    MembershipEffect,
)
from .._protocol.schema import Send
from .._transport.addresses import Address, parse_address
from .certified import permissions_of
from .effect_queue import EffectQueue
from .own_addresses import OwnAddresses
from .redialler import LAST_RETRY, Redialler, parse_addresses
from .search import DialsForOthers, Search
from .seeds import Seeds
from .sightings import Directory, Sightings

STAGGER = 0.5
"""How long a node that looks for an anchor waits for one redialler before it lets the next one dial, in seconds."""

FORGOTTEN = 24 * 3600.0
"""How long a global node that is nobody's seed is dialled in vain, in seconds."""

log = logging.getLogger("trio_mp.connection")


class MembershipService:
    """Keeps a node's place in the network: one connection with its anchor, or those with all global nodes.

    Args:
      network: the network of this node.
      directory: the entries of nodes in the shared database.
      standing: is told whether this node is attached.

    Attributes:
      rules: they know which nodes are global, and which are attached to which.
      observers: functions that are called with every effect, in order and at once.
      sightings: which nodes were there, and where they listened.
      search: looks for the nodes with which this one has no connection, and something waits for one.
    """

    def __init__(self, network: Network, directory: Directory, standing: Standing) -> None:
        self.network = network
        self._directory = directory
        self._standing = standing
        # Rediallers of seeds have an address as their key, all others a node ID.
        self._rediallers: dict[str, Redialler] = {}
        permissions = permissions_of(network, self._rediallers.values)
        settings = network.settings
        self.rules = Membership(
            network.dispatcher.id, is_global=not settings.seeds, permissions=permissions, is_tool=settings.tool
        )
        self._effects = EffectQueue(self._do)
        self.observers: list[Callable[[MembershipEffect], None]] = []
        self.sightings = Sightings(directory)
        self._own_addresses = OwnAddresses(network)
        self.search = Search(network, self.rules, self.sightings, directory, self._own_addresses, self.execute)
        self._dials_for_others = DialsForOthers(network)
        self._seeds = Seeds(network, self.rules, self._own_addresses, self, standing.draining)
        self._changed = trio.lowlevel.ParkingLot()
        # Keys of rediallers that have no task yet.
        self._fresh: list[str] = []
        self._tell_standing()

    async def run(self) -> None:
        """Dial seeds and global nodes, for as long as the node lives."""
        self._shuffle()
        self._update_addresses()
        async with trio.open_nursery() as nursery:
            for watch in self._seeds.watches():
                nursery.start_soon(watch)
            while True:
                fresh, self._fresh = self._fresh, []
                for key in fresh:
                    nursery.start_soon(self._run_redialler, key, self._rediallers[key])
                await self._changed.park()

    # Rediallers ------------------------------------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """See `SeedsOwner.has`."""
        return key in self._rediallers

    def start(self, redialler: Redialler) -> None:
        """See `SeedsOwner.start`."""
        key = redialler.key
        self._rediallers[key] = redialler
        self._draw_turn(redialler)
        self._fresh.append(key)
        self._changed.unpark_all()

    async def _run_redialler(self, key: str, redialler: Redialler) -> None:
        if await self._keep_running(redialler):
            del self._rediallers[key]
            self.network.failures.pop(key, None)
            if redialler.seed:
                redialler.seed.rediallers.remove(redialler)

    async def _keep_running(self, redialler: Redialler) -> bool:
        """Run a redialler, again after an error in this program: without it this node may have no way to others."""
        while True:
            try:
                return await redialler.run()
            except Exception:
                log.exception(
                    "%s: an error in this program, while it kept a connection there",
                    redialler.addresses[0],
                    extra=fields("own_error", self.network.dispatcher.id),
                )
                await trio.sleep(LAST_RETRY)

    def _meet_globals(self) -> None:
        """Keep a redialler for every global node that this node has heard of."""
        for node_id, texts in self.rules.dialled().items():
            known = self._rediallers.get(node_id)
            if known is not None and known.texts is texts:
                continue
            addresses = parse_addresses(texts)
            if known is not None:
                known.addresses = addresses or known.addresses
            elif addresses:
                known = Redialler(self, addresses, node_id=node_id)
                self.start(known)
            if known is not None:
                known.texts = texts

    def _shuffle(self) -> None:
        for redialler in self._rediallers.values():
            self._draw_turn(redialler)

    def _draw_turn(self, redialler: Redialler) -> None:
        # At random, so that the nodes of a network do not all choose the same anchor. Global nodes that the anchors
        # no longer name come behind all others.
        drawn = self.network.environment.jitter()
        if redialler.seed is not None:
            drawn = redialler.seed.turn_of(redialler, drawn)
        redialler.turn = drawn + (redialler.node_id in self.rules.former)

    def is_wanted(self, redialler: Redialler) -> bool:
        """See `RediallerOwner.is_wanted`."""
        node_id, rules = redialler.node_id, self.rules
        if redialler.seed:
            # A seed that the global nodes do not know has to be introduced to them, so it is dialled in any case.
            return not node_id or not rules.knows(node_id) or rules.wants(node_id)
        claimed = any(other.claims(node_id) for other in self._rediallers.values())
        return not claimed and node_id in rules.dialled() and rules.wants(node_id)

    def is_gone(self, redialler: Redialler) -> bool:
        """See `RediallerOwner.is_gone`."""
        failing = trio.current_time() - redialler.failed_at if redialler.failed_at is not None else 0.0
        if redialler.seed:
            vanished = redialler.key not in redialler.seed.places
            return vanished and (failing > 0 or redialler.is_itself)
        if failing > FORGOTTEN and redialler.node_id not in self.rules.mesh:
            self.rules.forget(redialler.node_id)
        return redialler.node_id not in self.rules.dialled()

    async def wait_turn(self, redialler: Redialler) -> None:
        """See `RediallerOwner.wait_turn`."""
        await trio.lowlevel.checkpoint()
        since = trio.current_time()
        while not self.is_gone(redialler):
            spare = redialler.seed is not None and redialler.seed.is_spare(redialler)
            if spare or not self.is_wanted(redialler):
                await self._changed.park()
                since = trio.current_time()
            elif self.rules.is_global or self.rules.anchor is not None:
                return
            else:
                # Without an anchor the rediallers dial one after the other, until one has become the anchor.
                before = [other for other in self._rediallers.values() if other.turn < redialler.turn]
                before = [other for other in before if other.failed_at is None]
                with trio.CancelScope(deadline=since + STAGGER * len(before)) as scope:
                    await self._changed.park()
                if scope.cancelled_caught:
                    return

    def changed(self) -> None:
        """See `SeedsOwner.changed`."""
        self._changed.unpark_all()

    async def wait_changed(self) -> None:
        """See `RediallerOwner.wait_changed`."""
        await self._changed.park()

    def failed(self) -> None:
        """See `RediallerOwner.failed`."""
        self._changed.unpark_all()

    def reached(self, peer: Peer) -> None:
        """See `RediallerOwner.reached`."""
        self.execute(self.rules.reached(peer.id))

    def tried(self) -> None:
        """See `RediallerOwner.tried`."""
        self._tell_standing()

    def is_own(self, address: Address) -> bool:
        """See `RediallerOwner.is_own`."""
        transport = self.network.environment.transport
        if not any(transport.is_at(parse_address(bind), address) for bind in self.network.binds):
            return self._seeds.find_itself(address)
        self.execute(self.rules.became_seed())
        return True

    def is_advertised(self, address: Address) -> bool:
        """See `RediallerOwner.is_advertised`."""
        return self._own_addresses.is_advertised(address)

    # Whether this node is attached -----------------------------------------------------------------------------------

    def _tell_standing(self) -> None:
        if self.rules.anchor is not None:
            self._standing.attach(self.rules.anchor)
        elif self.rules.is_global and (self._standing.attached.is_set() or self._seeds.were_tried()):
            self._standing.attach("")
        else:
            self._standing.detach()

    def give_up(self) -> dict[str, str]:
        """Wait no longer for seeds that neither answer nor fail.

        Returns:
          What is wrong at each seed, if this node is not attached; else nothing. A global node is attached now: its
          attempts have lasted for as long as anybody waits.
        """
        if self.rules.is_global:
            self._standing.attach("")
        return {} if self._standing.attached.is_set() else self._seeds.what_is_wrong()

    # What happens --------------------------------------------------------------------------------------------------

    def services(self) -> dict[str, Service]:
        """The functions that serve requests of other nodes about membership, by the word with which these begin."""
        return {word: self._service(word) for word in MEMBERSHIP.words}

    def _service(self, word: str) -> Service:
        def serve(node_id: str, arguments: tuple[object, ...]) -> bool:
            effects = self.rules.received(node_id, word, arguments, from_tool=self.network.peer(node_id).is_tool)
            self.execute(effects or [])
            return effects is not None

        return serve

    def listens(self) -> None:
        """See `RediallerOwner.listens`."""
        self._update_addresses()

    def went_up(self, node_id: str) -> None:
        """See `Observers.up`."""
        current = self.network.peer(node_id).current
        if isinstance(current, Connection) and self._own_addresses.note(current.pipe.local_host):
            self._update_addresses()
        if not self.network.peer(node_id).is_tool:
            # A tool is not dialled, and many that come and go shall not push out the nodes that are remembered.
            self.sightings.connected(node_id, map(str, self.network.addresses_of(node_id)))
        self._changed.unpark_all()

    def went_down(self, node_id: str) -> None:
        """See `Observers.down`."""
        self.sightings.disconnected(node_id)
        self.execute(self.rules.lost(node_id))

    def execute(self, effects: Iterable[MembershipEffect]) -> None:
        """Execute the effects that the rules ask for, in order."""
        if self._effects.execute(effects):
            self._meet_globals()
            self._changed.unpark_all()
            self._tell_standing()

    def _do(self, effect: MembershipEffect) -> None:
        match effect:
            case Send(node_id, message):
                self._send(node_id, message)
            case BecameGlobal():
                log.info("this node is global now", extra=fields("global", self.network.dispatcher.id))
            case Attached(anchor):
                log.info(
                    "this node is attached to %s, its anchor",
                    anchor,
                    extra=fields("attached", self.network.dispatcher.id, peer=anchor),
                )
            case Detached(anchor):
                log.info(
                    "this node is no longer attached to %s, which was its anchor",
                    anchor,
                    extra=fields("detached", self.network.dispatcher.id, peer=anchor),
                )
                self._shuffle()
            case GlobalUp() | GlobalDown() | GuestUp() | GuestDown() | AddressesChanged():
                # Only the node that has dialled, or has attached itself, keeps the connection: nothing to do here.
                pass
            case DialWanted(node_id, addresses):
                self._dials_for_others.begin(node_id, addresses)
            case Declined(node_id, why):
                for redialler in self._rediallers.values():
                    redialler.refusal = why if redialler.node_id == node_id else redialler.refusal
            case NotAllowed(node_id, why):
                # The other node tries again every few seconds, so the line is bounded.
                self._complain(node_id, "join", "%s says 'join', and is refused: %s", node_id, why)
        for observer in self.observers:
            observer(effect)

    def _send(self, node_id: str, message: tuple[object, ...]) -> None:
        try:
            self.network.peer(node_id).send("", message)
        except (TypeError, ValueError) as error:
            # The message holds what other nodes said of themselves, and may be larger than what this one takes.
            self._complain(node_id, "told", "%s: the news of the network cannot be sent there: %s", node_id, error)

    def _complain(self, node_id: str, kind: str, text: str, *arguments: object) -> None:
        self.network.errands.complain(node_id, kind, log, text, *arguments)

    def place_of(self, node_id: str) -> str:
        """What another node is to this one: its `"anchor"`, its `"guest"`, a `"global"` node; empty for any other."""
        rules = self.rules
        if node_id == rules.anchor:
            return "anchor"
        if node_id in rules.guests:
            return "guest"
        return "global" if node_id in rules.globals else ""

    def known_nodes(self) -> list[str]:
        """The IDs of all nodes of the network, as far as this one knows them, without its own and those of tools."""
        peers = [peer.id for peer in self.network.peers.values() if not peer.is_tool]
        known = [*self._directory.held_nodes(), *self.rules.globals, *peers]
        return [node_id for node_id in dict.fromkeys(known) if node_id != self.network.dispatcher.id]

    # Where this node is --------------------------------------------------------------------------------------------

    def _update_addresses(self) -> None:
        """Tell the nodes that pass it on by which addresses others can dial this node."""
        self.execute(self.rules.located(self._own_addresses.reached()))
