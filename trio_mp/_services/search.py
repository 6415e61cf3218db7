"""The search for a node: from the moment that something waits for a connection with it, until there is one.

Nobody may be able to say where that node is, or it may be somewhere else in a moment, or listen nowhere. So the search
asks the network where the node listens, dials what it hears and what it remembers, asks the node to dial this one, and
begins again, for as long as something waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import trio

from .._events import fields
from .._peers.network import Network
from .._peers.peer import Peer
from .._protocol.membership.messages import Addresses
from .._protocol.membership.rules import Membership, MembershipEffect
from .._transport.addresses import Address
from .own_addresses import OwnAddresses
from .redialler import RetryDelay, parse_addresses
from .sightings import Directory, Sightings

BY_ITSELF = 5.0
"""How long a node that cannot be dialled, and has no entry any more, is given to come back by itself, in seconds."""

ASKED_LIMIT = 16
"""How many nodes are dialled at the same time because others have asked for it."""

log = logging.getLogger("trio_mp.connection")


class Search:
    """Looks for nodes with which this one has no connection.

    Args:
      network: the network of this node.
      rules: who is global, who is attached to whom.
      sightings: which nodes were there, and where they listened.
      directory: the entries of nodes in the shared database.
      own_addresses: where this node listens.
      execute: does what the rules say.
    """

    def __init__(
        self,
        network: Network,
        rules: Membership,
        sightings: Sightings,
        directory: Directory,
        own_addresses: OwnAddresses,
        execute: Callable[[Iterable[MembershipEffect]], object],
    ) -> None:
        self._network = network
        self._rules = rules
        self._sightings = sightings
        self._directory = directory
        self._own_addresses = own_addresses
        self._execute = execute
        # By the ID of each node that is looked for: why there is no connection with it yet, for people.
        self._seeking: dict[str, str] = {}

    def begin(self, node_id: str) -> None:
        """Look for a node that something waits for. Does nothing if the node is looked for already."""
        if node_id not in self._seeking:
            self._seeking[node_id] = ""
            self._network.dispatcher.lifecycle.start_system_task(self._seek, self._network.peer(node_id))

    def explain(self, node_id: str) -> list[str]:
        """Say what else there is to say about why there is no connection with that node, for people."""
        why = self._seeking.get(node_id, "")
        parts = [why] if why else []
        if not self._network.settings.seeds and not self._network.up_nodes():
            parts.append("this node has no seeds, so the other one must dial it")
        return parts

    async def look_up(self, node_id: str) -> tuple[Address, ...]:
        """Ask the network where that node listens. A checkpoint. Cancelled, it changes nothing."""
        return parse_addresses(await self.find_addresses(node_id) or ())

    async def find_addresses(self, node_id: str) -> Addresses | None:
        """Ask the network where that node listens; None if nobody knows it, or nobody can be asked. A checkpoint."""
        listed = await self._directory.find_listed(node_id) or {}
        self._sightings.listed(listed)
        found = listed.get(node_id)
        if isinstance(found, list):
            return tuple(text for text in found[1:] if isinstance(text, str))
        return self._rules.globals.get(node_id)

    async def _seek(self, peer: Peer) -> None:
        """Look for a connection with a node until there is one, or nothing waits for it any more."""
        backoff, listed = RetryDelay(self._network.environment.jitter), trio.current_time()
        try:
            while not peer.is_up() and peer.association.wants_connection:
                found = await self.find_addresses(peer.id)
                listed = listed if found is None else trio.current_time()
                addresses = parse_addresses(dict.fromkeys((*(found or ()), *self._sightings.addresses(peer.id))))
                self._seeking[peer.id] = self._judge(peer.id, None if found is None else addresses)
                for address in addresses:
                    outcome = await self._network.dial(address)
                    if peer.is_up() or peer.association.incarnation:
                        # Or it is about to be; if that comes to nothing this goes on.
                        break
                    if outcome.node_id in {peer.id, ""}:
                        self._seeking[peer.id] = f"{peer.id} at {address}: {outcome.failure}"
                    else:
                        self._seeking[peer.id] = f"at {address} there is {outcome.node_id} now"
                else:
                    # It may be on a wire of its own with this node, by which nobody has reached this one yet.
                    self._execute(self._rules.ask_for_dial(peer.id, self._own_addresses.possible()))
                    # Where nothing can be dialled only time can tell: its connection with its anchor may have broken,
                    # or its entry may be on its way to another anchor. It comes back by itself, and at once.
                    patient = not addresses and trio.current_time() < listed + BY_ITSELF
                    if not patient and await self._sightings.has_gone(peer.id):
                        why = f" ({self._seeking[peer.id]})" if addresses else ""
                        peer.execute(peer.association.presume_gone(f"the node has gone from the network{why}"))
                        # Not over yet: whoever waits for it again and again is served at a decent pace.
                with trio.move_on_after(backoff.next()):
                    await peer.up.park()
        except Exception as error:  # noqa: BLE001 - what waits for the connection is told
            peer.fail(error)
        finally:
            del self._seeking[peer.id]

    def _judge(self, node_id: str, found: tuple[Address, ...] | None) -> str:
        """Say why nothing can be dialled where that node was found; nothing if there is something to dial."""
        if found is None:
            return f"nobody in the network knows {node_id}" if self._rules.is_global or self._rules.anchor else ""
        if found:
            return ""
        if not self._rules.addresses:
            return f"neither {node_id} nor this node listens anywhere, so neither can dial the other"
        return f"{node_id} listens nowhere; it was asked to dial this node"


class DialsForOthers:
    """Dials nodes that have asked for it, because they cannot dial this one.

    Args:
      network: the network of this node.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._asked: set[str] = set()

    def begin(self, node_id: str, addresses: Addresses) -> None:
        """Dial that node, which waits at these addresses. Does nothing if it is being dialled, or connected."""
        peer = self._network.peers.get(node_id)
        if node_id in self._asked or (peer is not None and peer.is_up()):
            return
        if len(self._asked) >= ASKED_LIMIT:
            text = "%s: a request to dial that node is refused: %d nodes are being dialled at such requests, the limit"
            # Whoever has asked may have named any number of nodes, so these are no kinds.
            self._network.errands.complain("", "dial", log, text, node_id, ASKED_LIMIT)
            return
        self._asked.add(node_id)
        self._network.dispatcher.lifecycle.start_system_task(self._dial_asked, node_id, parse_addresses(addresses))

    async def _dial_asked(self, node_id: str, addresses: tuple[Address, ...]) -> None:
        try:
            # It asks again as long as something waits for it there.
            with trio.move_on_after(self._network.settings.connect_timeout):
                for address in addresses:
                    await self._network.dial(address)
                    peer = self._network.peers.get(node_id)
                    if peer is not None and (peer.is_up() or peer.association.incarnation):
                        return
        except Exception:
            log.exception(
                "%s: an error in this program, while that node was dialled at another's request",
                node_id,
                extra=fields("own_error", self._network.dispatcher.id, peer=node_id),
            )
        finally:
            self._asked.discard(node_id)
