"""A node's place in the network at run time: whom it dials, what it tells others, who is told of it.

The rules are in `_protocol/membership/rules.py`; this does what they say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from ipaddress import ip_address

import trio

from .._peers.connection import Connection
from .._peers.network import Network
from .._peers.node_port import Service
from .._peers.peer import Peer
from .._protocol.membership.messages import MEMBERSHIP, Addresses
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
    Send,
)
from .._transport.addresses import Address, TCPAddress, parse_address
from .certified import permissions_of
from .effect_queue import EffectQueue
from .redialler import LAST_RETRY, Backoff, Interfaces, Redialler, Seed, parse_addresses
from .sightings import Directory, Sightings

STAGGER = 0.5
"""A node that looks for a host dials the next redialler so long after the one before, in seconds."""

RESOLVE_AGAIN = 30.0
"""How often a seed's host name is looked up again, in seconds."""

FORGOTTEN = 24 * 3600.0
"""How long a global node that is nobody's seed is dialled in vain, in seconds."""

BY_ITSELF = 5.0
"""How long a node that cannot be dialled, and has no entry any more, is given to come back by itself, in seconds."""

ASKED_LIMIT = 16
"""How many nodes are dialled at the same time because others have asked for it."""

ANY_HOST = frozenset({"0.0.0.0", "::"})  # noqa: S104 - it is compared with, not listened on
_HOSTS = 8

log = logging.getLogger("trio_mp.connection")


class MembershipService:
    """A node's place in the network.

    Args:
      network: the node's.
      directory: the entries of nodes in the shared database.

    Attributes:
      rules: who is global, who is attached to whom.
      observers: are called with every effect, in order and at once.
      sightings: which nodes were there, and where they listened.
    """

    def __init__(self, network: Network, directory: Directory) -> None:
        self.network = network
        self._directory = directory
        # By address for those of seeds, by node ID for others.
        self._rediallers: dict[str, Redialler] = {}
        permissions = permissions_of(network, self._rediallers.values)
        self.rules = Membership(network.dispatcher.id, is_global=not network.settings.seeds, permissions=permissions)
        self._effects = EffectQueue(self._do)
        self.observers: list[Callable[[MembershipEffect], None]] = []
        self.sightings = Sightings(directory)
        # Why there is no connection yet with those that something waits for.
        self._seeking: dict[str, str] = {}
        self._asked: set[str] = set()  # the nodes that are dialled because they have asked for it
        self._changed = trio.lowlevel.ParkingLot()
        # The addresses by which others have reached this node where it listens on all.
        self._hosts: dict[str, None] = {}
        self._interfaces = Interfaces(network.environment.transport.own_hosts)
        # Keys of rediallers that have no task yet.
        self._fresh: list[str] = []

    async def run(self) -> None:
        """Dial seeds and global nodes, for as long as the node lives."""
        self._shuffle()
        self._update_addresses()
        async with trio.open_nursery() as nursery:
            for seed in self.network.settings.seeds:
                nursery.start_soon(self._watch_seed, seed)
            while True:
                fresh, self._fresh = self._fresh, []
                for key in fresh:
                    nursery.start_soon(self._run_contact, key, self._rediallers[key])
                await self._changed.park()

    # Rediallers ------------------------------------------------------------------------------------------------------

    async def _watch_seed(self, address: Address) -> None:
        """See to it that there is a redialler for every address of a seed."""
        seed, backoff = Seed(str(address)), Backoff(self.network.environment.jitter)
        while True:
            try:
                found = await self.network.environment.transport.resolve(address)
            except OSError as error:
                why = error.strerror or str(error)
                self.network.failures[seed.name] = why
                seed.complain(seed.name, why)
                await trio.sleep(backoff.next())
                continue
            self.network.failures.pop(seed.name, None)
            backoff.reset()
            seed.addresses = frozenset(map(str, found))
            for one in found:
                if str(one) not in self._rediallers:
                    redialler = Redialler(self, (one,), seed=seed)
                    seed.rediallers.append(redialler)
                    self._start(str(one), redialler)
            if found == [address]:
                return
            await trio.sleep(RESOLVE_AGAIN * (0.5 + self.network.environment.jitter()))

    def _start(self, key: str, redialler: Redialler) -> None:
        self._rediallers[key] = redialler
        self._draw_turn(redialler)
        self._fresh.append(key)
        self._changed.unpark_all()

    async def _run_contact(self, key: str, redialler: Redialler) -> None:
        if await self._keep_running(redialler):
            del self._rediallers[key]
            self.network.failures.pop(key, None)
            if redialler.seed:
                redialler.seed.rediallers.remove(redialler)

    async def _keep_running(self, redialler: Redialler) -> bool:
        """Run a redialler, also after an error in this program: it may be the only one."""
        while True:
            try:
                return await redialler.run()
            except Exception:
                log.exception("an error in this program, in keeping a connection with %s", redialler.addresses[0])
                await trio.sleep(LAST_RETRY)

    def _meet_globals(self) -> None:
        """See to it that there is a redialler for every global node that was heard of."""
        for node_id, texts in self.rules.dialled().items():
            known = self._rediallers.get(node_id)
            if known is not None and known.texts is texts:
                continue
            addresses = parse_addresses(texts)
            if known is not None:
                known.addresses = addresses or known.addresses
            elif addresses:
                known = Redialler(self, addresses, node_id=node_id)
                self._start(node_id, known)
            if known is not None:
                known.texts = texts

    def _shuffle(self) -> None:
        for redialler in self._rediallers.values():
            self._draw_turn(redialler)

    def _draw_turn(self, redialler: Redialler) -> None:
        # Those that nobody has used lately come behind all others.
        redialler.turn = self.network.environment.jitter() + (redialler.node_id in self.rules.former)

    def is_wanted(self, redialler: Redialler) -> bool:
        """See `RediallerHost.is_wanted`."""
        node_id, rules = redialler.node_id, self.rules
        if redialler.seed:
            # One that the others do not know has to be introduced to them.
            return not node_id or not rules.knows(node_id) or rules.wants(node_id)
        claimed = any(other.seed and other.node_id == node_id for other in self._rediallers.values())
        return not claimed and node_id in rules.dialled() and rules.wants(node_id)

    def is_gone(self, redialler: Redialler) -> bool:
        """See `RediallerHost.is_gone`."""
        failing = trio.current_time() - redialler.failed_at if redialler.failed_at is not None else 0.0
        if redialler.seed:
            vanished = str(redialler.addresses[0]) not in redialler.seed.addresses
            return vanished and (failing > 0 or redialler.is_itself)
        if failing > FORGOTTEN and redialler.node_id not in self.rules.mesh:
            self.rules.forget(redialler.node_id)
        return redialler.node_id not in self.rules.dialled()

    async def wait_turn(self, redialler: Redialler) -> None:
        """See `RediallerHost.wait_turn`."""
        await trio.lowlevel.checkpoint()
        since = trio.current_time()
        while not self.is_gone(redialler):
            if not self.is_wanted(redialler):
                await self._changed.park()
                since = trio.current_time()
            elif self.rules.is_global or self.rules.host is not None:
                return
            else:
                # No host: one after the other, until there is one.
                before = [other for other in self._rediallers.values() if other.turn < redialler.turn]
                before = [other for other in before if other.failed_at is None]
                with trio.CancelScope(deadline=since + STAGGER * len(before)) as scope:
                    await self._changed.park()
                if scope.cancelled_caught:
                    return

    async def wait_changed(self) -> None:
        """See `RediallerHost.wait_changed`."""
        await self._changed.park()

    def reached(self, peer: Peer) -> None:
        """See `RediallerHost.reached`."""
        self.execute(self.rules.reached(peer.id))

    def is_own(self, address: Address) -> bool:
        """See `RediallerHost.is_own`."""
        transport = self.network.environment.transport
        if not any(transport.is_at(parse_address(bind), address) for bind in self.network.binds):
            return False
        self.execute(self.rules.became_seed())
        return True

    # What happens --------------------------------------------------------------------------------------------------

    def services(self) -> dict[str, Service]:
        """What answers the requests of other nodes that are about membership, by the word that these begin with."""
        return {word: self._service(word) for word in MEMBERSHIP.words}

    def _service(self, word: str) -> Service:
        def serve(node_id: str, arguments: tuple[object, ...]) -> bool:
            effects = self.rules.received(node_id, word, arguments)
            self.execute(effects or [])
            return effects is not None

        return serve

    def listens(self) -> None:
        """See `RediallerHost.listens`."""
        self._update_addresses()

    def went_up(self, node_id: str) -> None:
        """See `Observers.up`."""
        current = self.network.peer(node_id).current
        if isinstance(current, Connection):
            self._note_host(current.pipe.local_host)
        self.sightings.connected(node_id, map(str, self.network.addresses_of(node_id)))
        self._changed.unpark_all()

    def went_down(self, node_id: str) -> None:
        """See `Observers.down`."""
        self.sightings.disconnected(node_id)
        self.execute(self.rules.lost(node_id))

    def execute(self, effects: Iterable[MembershipEffect]) -> None:
        """Do what the rules say, in order."""
        if self._effects.execute(effects):
            self._meet_globals()
            self._changed.unpark_all()

    def _do(self, effect: MembershipEffect) -> None:
        match effect:
            case Send(node_id, message):
                self._send(node_id, message)
            case BecameGlobal():
                log.info("this node is global now")
            case Attached(host):
                log.info("this node is attached to %s", host)
            case Detached(host):
                log.info("this node is not attached to %s any more", host)
                self._shuffle()
            case GlobalUp() | GlobalDown() | GuestUp() | GuestDown() | AddressesChanged():
                # Whoever has dialled, or attached itself, is the one that keeps the connection.
                pass
            case DialWanted(node_id, addresses):
                self._dial_for(node_id, addresses)
            case Declined(node_id, why):
                for redialler in self._rediallers.values():
                    redialler.refusal = why if redialler.node_id == node_id else redialler.refusal
            case NotAllowed(node_id, why):
                # It comes again every few seconds.
                self._complain(node_id, "join", "%s says 'join', and is refused: %s", node_id, why)
        for observer in self.observers:
            observer(effect)

    def _send(self, node_id: str, message: tuple[object, ...]) -> None:
        try:
            self.network.peer(node_id).send("", message)
        except (TypeError, ValueError) as error:
            # What others have said of themselves is in it, and it may be more than that node takes.
            self._complain(node_id, "told", "%s is not told of the network: %s", node_id, error)

    def _complain(self, node_id: str, kind: str, text: str, *arguments: object) -> None:
        self.network.errands.complain(node_id, kind, log, text, *arguments)

    # Reaching others -----------------------------------------------------------------------------------------------

    def wanted(self, node_id: str) -> None:
        """See `Observers.wanted`."""
        if node_id not in self._seeking:
            self._seeking[node_id] = ""
            self.network.dispatcher.lifecycle.start_system_task(self._seek, self.network.peer(node_id))

    async def _seek(self, peer: Peer) -> None:
        """Look for a connection with a node until there is one, or nothing waits for it any more."""
        backoff, listed = Backoff(self.network.environment.jitter), trio.current_time()
        try:
            while not peer.is_up() and peer.association.wants_connection:
                found = await self.find_addresses(peer.id)
                listed = listed if found is None else trio.current_time()
                addresses = parse_addresses(dict.fromkeys((*(found or ()), *self.sightings.addresses(peer.id))))
                self._seeking[peer.id] = self._judge(peer.id, None if found is None else addresses)
                for address in addresses:
                    outcome = await self.network.dial(address)
                    if peer.is_up() or peer.association.incarnation:
                        # Or it is about to be; if that comes to nothing this goes on.
                        break
                    if outcome.node_id in {peer.id, ""}:
                        self._seeking[peer.id] = f"{peer.id} at {address}: {outcome.failure}"
                    else:
                        self._seeking[peer.id] = f"at {address} there is {outcome.node_id} now"
                else:
                    # It may be on a wire of its own with this node, by which nobody has reached this one yet.
                    others = self._addresses_at(self._interfaces.hosts())
                    self.execute(self.rules.ask_for_dial(peer.id, others))
                    # Where nothing can be dialled only time can tell: its connection with its host may have broken, or
                    # its entry may be on its way to another host. It comes back by itself, and at once.
                    patient = not addresses and trio.current_time() < listed + BY_ITSELF
                    if not patient and await self.sightings.has_gone(peer.id):
                        why = f" ({self._seeking[peer.id]})" if addresses else ""
                        peer.execute(peer.association.presume_gone(f"it has gone from the network{why}"))
                        # Not over yet: whoever waits for it again and again is served at a decent pace.
                with trio.move_on_after(backoff.next()):
                    await peer.up.park()
        except Exception as error:  # noqa: BLE001 - what waits for the connection is told
            peer.fail(error)
        finally:
            del self._seeking[peer.id]

    def _dial_for(self, node_id: str, addresses: Addresses) -> None:
        """A node that cannot be dialled from there wants to be dialled from here."""
        peer = self.network.peers.get(node_id)
        if node_id in self._asked or (peer is not None and peer.is_up()):
            return
        if len(self._asked) >= ASKED_LIMIT:
            text = "%s is not dialled, as it was asked for: %d nodes are being dialled at such requests, the limit"
            # Whoever has asked may have named any number of nodes, so these are no kinds.
            self._complain("", "dial", text, node_id, ASKED_LIMIT)
            return
        self._asked.add(node_id)
        self.network.dispatcher.lifecycle.start_system_task(self._dial_asked, node_id, parse_addresses(addresses))

    async def _dial_asked(self, node_id: str, addresses: tuple[Address, ...]) -> None:
        try:
            # It asks again as long as something waits for it there.
            with trio.move_on_after(self.network.settings.connect_timeout):
                for address in addresses:
                    await self.network.dial(address)
                    peer = self.network.peers.get(node_id)
                    if peer is not None and (peer.is_up() or peer.association.incarnation):
                        return
        except Exception:
            log.exception("an error in this program, in dialling %s, as it was asked for", node_id)
        finally:
            self._asked.discard(node_id)

    def _judge(self, node_id: str, found: tuple[Address, ...] | None) -> str:
        if found is None:
            return f"nobody in the network knows {node_id}" if self.rules.is_global or self.rules.host else ""
        if found:
            return ""
        if not self.rules.addresses:
            return f"neither {node_id} nor this node listens anywhere, so neither can dial the other"
        return f"{node_id} listens nowhere; it was asked to dial this node"

    def explain(self, node_id: str) -> list[str]:
        """See `Observers.explain`."""
        why = self._seeking.get(node_id, "")
        parts = [why] if why else []
        if not self.network.settings.seeds and not self.network.up_nodes():
            parts.append("this node has no seeds, so the other one must dial it")
        return parts

    def known_nodes(self) -> list[str]:
        """The IDs of all nodes of the network, as far as this one knows them; its own is not among them."""
        known = [*self._directory.held_nodes(), *self.rules.globals, *self.network.peers]
        return [node_id for node_id in dict.fromkeys(known) if node_id != self.network.dispatcher.id]

    async def look_up(self, node_id: str) -> tuple[Address, ...]:
        """Ask the network where a node listens. A checkpoint."""
        return parse_addresses(await self.find_addresses(node_id) or ())

    async def find_addresses(self, node_id: str) -> Addresses | None:
        """Ask the network where a node listens; None if nobody knows it, or nobody can be asked. A checkpoint."""
        listed = await self._directory.find_listed(node_id) or {}
        self.sightings.listed(listed)
        found = listed.get(node_id)
        if isinstance(found, list):
            return tuple(text for text in found[1:] if isinstance(text, str))
        return self.rules.globals.get(node_id)

    # Where this node is --------------------------------------------------------------------------------------------

    def _update_addresses(self) -> None:
        """Work out by which addresses others can dial this node, and tell those who pass it on."""
        self.execute(self.rules.located(self._addresses_at(self._hosts)))

    def _addresses_at(self, reached_at: Iterable[str]) -> Addresses:
        """Where this node listens; where that is on all interfaces, at these IP addresses."""
        addresses: dict[str, None] = {}
        for text in self.network.binds:
            address = parse_address(text)
            if isinstance(address, TCPAddress) and address.host in ANY_HOST:
                hosts = [host for host in reached_at if (":" in host) == (":" in address.host)]
                # Those by which other machines reach it come first.
                hosts.sort(key=lambda host: ip_address(host).is_loopback)
                addresses.update((str(TCPAddress(host, address.port)), None) for host in hosts)
            else:
                addresses[text] = None
        return tuple(addresses)

    def _note_host(self, host: str) -> None:
        """This node was reached at this IP address, or reaches others from it."""
        if host and host not in self._hosts and len(self._hosts) < _HOSTS:
            self._hosts[host] = None
            self._update_addresses()
