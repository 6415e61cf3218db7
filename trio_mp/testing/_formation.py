"""Checks the form of a network that is at rest, and notes when connections end that hold it together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .._node.node import Node
from .._protocol.database.records import NODES
from .._protocol.membership.rules import Attached, GlobalUp, GuestUp, MembershipEffect
from .._services.nodes import is_node


@dataclass(frozen=True, slots=True)
class NodePlace:
    """A node's place in the network.

    Attributes:
      seeds: the IDs of those of its seeds that live.
      has_seeds: whether the node was given seeds.
      is_global: whether the node says that it is global.
      anchor: the node ID of the global node that it is attached to.
      mesh, guests: the mesh and the guests, as the node sees them.
    """

    seeds: frozenset[str]
    has_seeds: bool
    is_global: bool
    anchor: str | None
    mesh: frozenset[str]
    guests: frozenset[str]


class Ties:
    """Notes when a connection ends that makes a node part of its network.

    Args:
      node: the node whose connections are watched.
      ended: called when such a connection has ended.
    """

    def __init__(self, node: Node, ended: Callable[[], object]) -> None:
        self._tied: set[str] = set()
        self._ended = ended
        membership = node._membership
        if membership is not None:
            membership.observers.append(self._observe)
            membership.network.observers.down.append(self._went_down)

    def _observe(self, effect: MembershipEffect) -> None:
        match effect:
            case Attached(node_id) | GlobalUp(node_id) | GuestUp(node_id):
                self._tied.add(node_id)
            case _:
                pass

    def _went_down(self, node_id: str) -> None:
        if node_id in self._tied:
            self._tied.discard(node_id)
            self._ended()


def runs_known_to(node: Node) -> dict[str, str]:
    """The runs of nodes that a global node holds entries of, by node ID. Empty for a node that is not global."""
    replica = node.database._replica
    table = replica.held(NODES) if replica.is_global else {}
    return {node_id: said[0] for node_id, said in table.items() if isinstance(said, list) and is_node(node_id, said)}


def places_of(nodes: Mapping[str, Node], seeds_of: Callable[[str], Iterable[str]]) -> dict[str, NodePlace]:
    """The places of these nodes. Nodes without a network have none.

    Args:
      nodes: the nodes that live, by ID.
      seeds_of: gives the IDs of those seeds of a node that live.
    """
    places: dict[str, NodePlace] = {}
    for node_id, node in nodes.items():
        if node._membership is not None:
            rules = node._membership.rules
            places[node_id] = NodePlace(
                seeds=frozenset(seeds_of(node_id)) & nodes.keys(),
                has_seeds=bool(node._runtime.settings.seeds),
                is_global=rules.is_global,
                anchor=rules.anchor,
                mesh=frozenset(rules.mesh),
                guests=frozenset(rules.guests),
            )
    return places


def find_fault(nodes: Mapping[str, NodePlace]) -> str:
    """Say what is wrong with a network at rest, in which all nodes can reach each other; or an empty text."""
    parts = parts_of(nodes)
    for node_id, node in nodes.items():
        if not node.has_seeds and not node.is_global:
            return f"{node_id} has no seeds, and is not global"
        for seed in node.seeds:
            if not nodes[seed].is_global:
                return f"{seed} is a seed of {node_id}, and is not global"
        for other in nodes:
            same = node.is_global and nodes[other].is_global and parts[node_id] == parts[other] and other != node_id
            if same and other not in node.mesh:
                return f"{node_id} and {other} are global, and {node_id} does not know that they are connected"
        if node.is_global and node.anchor is not None:
            return f"{node_id} is global, and attached to {node.anchor}"
        if node.mesh - nodes.keys() or node.guests - nodes.keys():
            return f"{node_id} believes in nodes that are gone"
        if not node.is_global and node.seeds and (node.anchor is None or node_id not in nodes[node.anchor].guests):
            return f"{node_id} is attached to {node.anchor}, which does not know it"
        for guest in node.guests:
            if nodes[guest].anchor != node_id:
                return f"{guest} is a guest of {node_id}, and attached to {nodes[guest].anchor}"
    return ""


def are_bound(nodes: Mapping[str, NodePlace], one: str, other: str) -> bool:
    """Whether two nodes must be connected: both are global, or one is attached to the other."""
    return other in nodes[one].mesh or nodes[one].anchor == other or nodes[other].anchor == one


def parts_of(nodes: Mapping[str, NodePlace]) -> dict[str, str]:
    """For each node, a name of the part of the network that it belongs to. Seeds hold the parts together."""
    parts = {node_id: node_id for node_id in nodes}
    for node_id, node in nodes.items():
        for seed in node.seeds:
            joined, into = parts[node_id], parts[seed]
            parts = {other: into if part == joined else part for other, part in parts.items()}
    return parts
