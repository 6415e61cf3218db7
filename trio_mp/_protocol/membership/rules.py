"""How a network forms: which nodes are global, and which global node every other one is attached to.

1. A *global node* holds the whole database and a connection with every other global node. Whoever is somebody's seed
   becomes one; so is a node that has no seeds itself.
2. Every other node is *attached* to one global node, its *anchor*. When it loses it, it attaches to another.
3. A node says `join` to the seeds it reaches, and to every global node it hears of if it is global itself. Whoever is
   told so becomes global, and answers `welcome`, with all global nodes that it is connected with.
4. A node that is not global attaches to the first that welcomes it. It tells its anchor, by `meet`, of global nodes
   that it has met and that its anchor does not know: so parts of a network that know different seeds become one.
5. Global nodes that hear of one another connect. A newcomer joins all that it hears of, so of two that come at the same
   time one hears of the other.
6. Whoever becomes global, or loses its anchor, says `join` again to all that it has said it to and is still connected
   with: they took it for something else, or it has not attached to them.
7. A node that is not global keeps in mind the global nodes that its anchor does not name any more: they may only be cut
   off from that one. It dials them when it has no anchor, after those that were named last.

Words to the node port (addresses are texts; the tables are from node ID to a list of addresses):

    join      whether it is global, its addresses         to a seed, or from one global node to another
    welcome   its addresses, the global nodes it uses     the answer; again on `attach`, and to guests on a change
    attach                                                to the one that becomes the anchor
    meet      node ID, addresses                          to a global node: there is this one, too
    decline   why                                         to who has said `join`, and what it wants may not be
    dial      node ID, node ID, addresses                 have the first node dial the second, which waits at these

Only the second node itself may begin a `dial`, and only its anchor passes it on to others than the first. So it travels
at most three times. A `welcome` that answers nothing does nothing, nor does an `attach` of who has not said `join` by
the same connection: it may have waited since the one before.

A *tool* says in its greeting that it is one. It attaches as others do, and is never global. A node that is not global
does not become so at the `join` of a tool, which may have been pointed at any node: it answers `decline`, and names the
global nodes that it knows.

Where certificates name nodes, not everybody may be global: see `permissions.py`. Who may not become global, or is told
`join` by one that says it is global and may not be, answers `decline`; whoever has said `join` is not welcomed by that.

Nothing here blocks, reads a clock or does I/O: what is to be done goes out as effects, in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..schema import Send
from . import messages as messages
from .messages import (
    ADDRESS_LIMIT,
    GLOBALS_LIMIT,
    MEMBERSHIP,
    Addresses,
    Attach,
    Decline,
    Dial,
    Join,
    Meet,
    Welcome,
)
from .permissions import Declined, EverybodyMay, NotAllowed, Permissions

WELCOME_SIZE = 32 * 1024
"""About how many bytes of global nodes a `welcome` names: any node must be able to take it."""

_WHY_SIZE = 300

_NAMED = 3
"""How many global nodes are named to a tool that is sent to them."""

_A_TOOL = "it is a tool, and tools are never global"


@dataclass(frozen=True, slots=True)
class BecameGlobal:
    """This node is global from now on."""


@dataclass(frozen=True, slots=True)
class Attached:
    """This node is attached to that one."""

    anchor: str


@dataclass(frozen=True, slots=True)
class Detached:
    """This node is not attached any more."""

    anchor: str


@dataclass(frozen=True, slots=True)
class GlobalUp:
    """This node and that one are global, both know it, and there is a connection."""

    node_id: str


@dataclass(frozen=True, slots=True)
class GlobalDown:
    """The connection with another global node is gone."""

    node_id: str


@dataclass(frozen=True, slots=True)
class GuestUp:
    """That node is attached to this one."""

    node_id: str


@dataclass(frozen=True, slots=True)
class GuestDown:
    """A node that was attached to this one is not any more: the connection with it is gone."""

    node_id: str


@dataclass(frozen=True, slots=True)
class DialWanted:
    """Dial that node; it waits at these addresses."""

    node_id: str
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class AddressesChanged:
    """Others are to dial this node at these addresses now."""

    addresses: Addresses


MembershipEffect: TypeAlias = (
    Send
    | BecameGlobal
    | Attached
    | Detached
    | GlobalUp
    | GlobalDown
    | GuestUp
    | GuestDown
    | DialWanted
    | AddressesChanged
    | Declined
    | NotAllowed
)


class Membership:
    """One node's place in the network.

    Args:
      node_id: its node ID.
      is_global: whether it is global from the start, having no seeds.
      permissions: who may be global.
      is_tool: whether it is a tool, which is never global, whoever asks.

    Attributes:
      is_global: whether it is global.
      anchor: the node that it is attached to, if it is.
      addresses: where this node listens, as others should dial it.
      globals: other global nodes that it has heard of, with their addresses; if it is not global, those that its anchor
        uses.
      former: those that its anchors have used before, the latest last.
      mesh: if it is global: those among them with which there is a connection.
      guests: the nodes that are attached to it.
      joined: the nodes to which it has said `join` by a connection that is still there.
      heard: those that are not global and have said so to it.
    """

    __slots__ = (
        *("addresses", "former", "globals", "guests", "heard", "anchor", "is_global"),
        *("is_tool", "joined", "mesh", "node_id", "permissions"),
    )

    def __init__(
        self, node_id: str, *, is_global: bool, permissions: Permissions | None = None, is_tool: bool = False
    ) -> None:
        self.permissions = permissions or EverybodyMay()
        self.is_tool = is_tool
        self.node_id = node_id
        self.is_global = is_global
        self.anchor: str | None = None
        self.addresses: Addresses = ()
        self.globals: dict[str, Addresses] = {}
        self.former: dict[str, Addresses] = {}
        # Dicts, because a set has another order in each run, and simulations are repeated.
        self.mesh: dict[str, None] = {}
        self.guests: dict[str, None] = {}
        self.joined: dict[str, None] = {}
        self.heard: dict[str, None] = {}

    def became_seed(self) -> list[MembershipEffect]:
        """Become global, because this node has found out that it is a seed: its own, for example."""
        if self.is_global:
            return []
        self.is_global = True
        detached: list[MembershipEffect] = [Detached(self.anchor)] if self.anchor is not None else []
        self.anchor = None
        return [*detached, BecameGlobal(), *map(self._join, self.joined)]

    def located(self, addresses: Addresses) -> list[MembershipEffect]:
        """Have others dial this node at these addresses from now on; the first few count."""
        addresses = addresses[:ADDRESS_LIMIT]
        if addresses == self.addresses:
            return []
        self.addresses = addresses
        return [AddressesChanged(addresses), *map(self._join, self.mesh), *self._tell_guests()]

    def reached(self, node_id: str) -> list[MembershipEffect]:
        """Join a seed, or a global node that was dialled for that: the connection with it is up."""
        return [self._join(node_id)]

    def lost(self, node_id: str) -> list[MembershipEffect]:
        """Take it that the connection with a node is gone."""
        self.joined.pop(node_id, None)
        self.heard.pop(node_id, None)
        if node_id == self.anchor:
            self.anchor = None
            return [Detached(node_id), *map(self._join, self.joined)]
        if node_id in self.guests:
            del self.guests[node_id]
            return [GuestDown(node_id)]
        if node_id in self.mesh:
            del self.mesh[node_id]
            return [GlobalDown(node_id), *self._tell_guests()]
        return []

    def forget(self, node_id: str) -> None:
        """Forget a global node of which nothing was heard for very long, unless it is in use."""
        if node_id not in self.mesh and node_id != self.anchor:
            self.globals.pop(node_id, None)
            self.former.pop(node_id, None)

    def dialled(self) -> dict[str, Addresses]:
        """The global nodes that are dialled if a connection with them is wanted; former ones come last."""
        return {**self.globals, **self.former}

    def wants(self, node_id: str) -> bool:
        """Whether there should be a connection with this global node."""
        return self.is_global or self.anchor in {None, node_id}

    def knows(self, node_id: str) -> bool:
        """Whether the part of the network that this node belongs to has heard of that global node."""
        return node_id in {self.node_id, self.anchor} or node_id in self.globals

    def received(
        self, node_id: str, word: str, arguments: tuple[object, ...], *, from_tool: bool = False
    ) -> list[MembershipEffect] | None:
        """Take a message about membership from a connected node. Returns None if the message makes no sense.

        Args:
          node_id: the node.
          word, arguments: the message.
          from_tool: whether the node is a tool.
        """
        match MEMBERSHIP.read((word, *arguments)):
            case Join(is_global, addresses):
                if from_tool and not self.is_global:
                    return [Send(node_id, messages.decline(self._where_else()))]
                return self._joined(node_id, is_global, addresses)
            case Welcome(addresses, others):
                return self._welcomed(node_id, addresses, others)
            case Decline(why):
                return self._declined(node_id, why)
            case Attach():
                return self._guest_came(node_id)
            case Meet(other, addresses):
                return self._met(other, addresses)
            case Dial(target, other, addresses):
                return self._dial(node_id, target, other, addresses)
            case _:
                return None

    def ask_for_dial(self, target: str, others: Addresses = ()) -> list[MembershipEffect]:
        """Ask whoever may know that node to have it dial this one, at its addresses or these others."""
        addresses = tuple(dict.fromkeys(self.addresses + others))[:ADDRESS_LIMIT]
        if not addresses:
            return []
        if self.is_global:
            to = [other for other in self.mesh if other != target]
        else:
            to = [self.anchor] if self.anchor is not None else []
        return [Send(other, messages.dial(target, self.node_id, addresses)) for other in to]

    # What it means -------------------------------------------------------------------------------------------------

    def _join(self, node_id: str) -> Send:
        self.joined[node_id] = None
        return Send(node_id, messages.join(self.is_global, self.addresses))

    def _welcome(self, node_id: str) -> Send:
        others: dict[str, Addresses] = {}
        room = WELCOME_SIZE
        for other in self.mesh:
            addresses = self.globals.get(other, ())
            room -= len(other) + sum(len(address.encode()) for address in addresses) + 8
            if room < 0:
                # The node hears of the others from those that are named, or they reach it themselves.
                break
            if other != node_id:
                others[other] = addresses
        return Send(node_id, messages.welcome(self.addresses, others))

    def _tell_guests(self) -> list[MembershipEffect]:
        return [self._welcome(guest) for guest in self.guests]

    def _joined(self, node_id: str, is_global: bool, addresses: Addresses) -> list[MembershipEffect]:
        why = self.permissions.of(node_id) if is_global else ""
        if not why and not self.is_global:
            why = _A_TOOL if self.is_tool else self.permissions.own(node_id)
        if why:
            return [NotAllowed(node_id, why), Send(node_id, messages.decline(why))]
        effects = self.became_seed()
        if not is_global:
            self.heard[node_id] = None
            return [*effects, self._welcome(node_id)]
        before = self.globals.get(node_id)
        self._learn(node_id, addresses, itself=True)
        effects.append(self._welcome(node_id))
        if node_id not in self.mesh:
            effects += self._mesh_with(node_id)
        elif self.globals.get(node_id) != before:
            effects += self._tell_guests()
        return effects

    def _where_else(self) -> str:
        """Say to a tool, which must not make this node global, by which nodes it can join."""
        known = [f"{node_id} ({', '.join(its)})" for node_id, its in self.globals.items() if its]
        return f"no tool makes {self.node_id} global; join by {' or '.join(known[:_NAMED]) or 'a seed of the network'}"

    def _mesh_with(self, node_id: str) -> list[MembershipEffect]:
        effects: list[MembershipEffect] = []
        if node_id in self.guests:
            # It was attached to this one until now.
            del self.guests[node_id]
            effects.append(GuestDown(node_id))
        meet = messages.meet(node_id, self.globals.get(node_id, ()))
        meetings = [Send(other, meet) for other in self.mesh]
        self.mesh[node_id] = None
        return [*effects, GlobalUp(node_id), *meetings, *self._tell_guests()]

    def _welcomed(self, node_id: str, addresses: Addresses, others: dict[str, Addresses]) -> list[MembershipEffect]:
        if node_id not in self.joined:
            return []
        if why := self.permissions.of(node_id):
            return [Declined(node_id, why)]
        if self.is_global:
            self._learn(node_id, addresses, itself=True)
            for other, theirs in others.items():
                self._learn(other, theirs)
            return self._mesh_with(node_id) if node_id not in self.mesh else []
        if self.anchor is None:
            self.anchor = node_id
            effects: list[MembershipEffect] = [Send(node_id, messages.attach()), Attached(node_id)]
        elif self.anchor != node_id:
            # This node has met it while attached elsewhere: the two may not know each other.
            if node_id in self.globals:
                return []
            return [Send(self.anchor, messages.meet(node_id, addresses))]
        else:
            effects = []
        # What the anchor does not use any more is only kept as former: it may merely be cut off from the anchor.
        used = {other: theirs for other, theirs in others.items() if other != self.node_id}
        used[node_id] = addresses
        known = {**self.former, **self.globals}
        former = [(other, theirs) for other, theirs in known.items() if other not in used and theirs]
        room = max(0, GLOBALS_LIMIT - len(used))
        self.globals, self.former = used, dict(former[-room:] if room else ())
        return effects

    def _declined(self, node_id: str, why: str) -> list[MembershipEffect]:
        printable = "".join(letter for letter in why if letter.isprintable())
        return [Declined(node_id, f"the peer says: {printable[:_WHY_SIZE]}")] if node_id in self.joined else []

    def _guest_came(self, node_id: str) -> list[MembershipEffect]:
        if node_id not in self.heard or node_id in self.mesh or node_id in self.guests:
            # The word crossed with a change that its sender will hear of, or comes too late.
            return []
        self.guests[node_id] = None
        # Nobody has told it what has changed since it was welcomed.
        return [GuestUp(node_id), self._welcome(node_id)]

    def _met(self, node_id: str, addresses: Addresses) -> list[MembershipEffect]:
        if self.is_global and node_id not in self.mesh:
            self._learn(node_id, addresses)
        return []

    def _learn(self, node_id: str, addresses: Addresses, *, itself: bool = False) -> None:
        if node_id == self.node_id:
            return
        self.former.pop(node_id, None)
        if node_id not in self.globals and len(self.globals) >= GLOBALS_LIMIT:
            hearsay = next((other for other in self.globals if other not in self.mesh), None) if itself else None
            if hearsay is None:
                return
            del self.globals[hearsay]
        if addresses or node_id not in self.globals:
            self.globals[node_id] = addresses

    def _dial(self, by: str, target: str, other: str, addresses: Addresses) -> list[MembershipEffect]:
        # No stranger may have this node dial: who asks for itself has a connection with us already, and who passes the
        # wish of another on must be our anchor or a global node.
        if other == self.node_id or not addresses or not (by in {other, self.anchor} or by in self.mesh):
            return []
        if target == self.node_id:
            return [DialWanted(other, addresses)] if by != other else []
        onward = messages.dial(target, other, addresses)
        if target in self.guests or (by == other and target in self.mesh):
            return [Send(target, onward)]
        return [Send(node_id, onward) for node_id in self.mesh] if by == other and by in self.guests else []
