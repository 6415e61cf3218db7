"""What the membership of a real node knows, and whether a network of such nodes has settled."""

from __future__ import annotations

from collections.abc import Iterable

from trio_mp import Node
from trio_mp._protocol.membership.rules import Membership
from trio_mp._services.membership import MembershipService


def service_of(node: Node) -> MembershipService:
    assert node._membership is not None
    return node._membership


def rules_of(node: Node) -> Membership:
    return service_of(node).rules


def wanted_by(node: Node) -> set[str]:
    """The nodes with which a node has, and wants, a connection because of its place in the network."""
    service = service_of(node)
    rediallers = {redialler.node_id for redialler in service._rediallers.values() if service.is_wanted(redialler)}
    return (rediallers | service.rules.mesh.keys() | service.rules.guests.keys()) & set(node.peers)


def is_settled(nodes: Iterable[Node]) -> bool:
    """Whether the global ones are meshed, and each other node is attached to one of them, and wants nobody else."""
    nodes = tuple(nodes)
    everyone = {node.id: rules_of(node) for node in nodes}
    mesh = {node_id for node_id, rules in everyone.items() if rules.is_global}
    for node in nodes:
        rules = everyone[node.id]
        if rules.is_global:
            if rules.mesh.keys() != mesh - {node.id} or not rules.mesh.keys() <= set(node.peers):
                return False
        elif (
            rules.anchor not in mesh
            or wanted_by(node) != {rules.anchor}
            or node.id not in everyone[rules.anchor].guests
        ):
            return False
    guests = sum(len(rules.guests) for rules in everyone.values())
    return guests == len(nodes) - len(mesh)
