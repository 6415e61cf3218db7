"""`trio-mp links`: which nodes there are, and which are connected."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

from ... import LinkView
from ..exits import NO, OK
from ..joining import Tool, run_tool
from .asking import AnswerOf, ask_all, nodes_now
from .network import SeenConnection, SeenNetwork, SeenNode, draw_dot, draw_mermaid, draw_network, join_networks
from .screen import show

ENCRYPTIONS = {"secret": "encrypted", "certificates": "by certificates", "none": ""}
"""What each kind of encryption is called in a picture."""


def links(arguments: argparse.Namespace) -> int:
    """Run `links`."""
    return run_tool(arguments, _links)


async def _links(tool: Tool) -> int:
    arguments = tool.arguments
    answers = await ask_all(tool.node, await nodes_now(tool.node), lambda inspector: inspector.links())
    network = network_of(answers, {tool.node.id})
    if tool.out.json:
        for row in rows_of(network):
            tool.out.row(row)
    elif arguments.dot or arguments.mermaid:
        for text in (draw_dot if arguments.dot else draw_mermaid)(network):
            tool.out.text(text)
    else:
        show(tool.out, lambda width: draw_network(network, width, whole=arguments.all))
    silent = sum(answer.value is None for answer in answers.values())
    if silent:
        tool.out.say(f"{silent} of {len(answers)} nodes do not say what they are connected with; --json shows why")
    return OK if silent < len(answers) else NO


def network_of(answers: Mapping[str, AnswerOf[list[LinkView]]], without: Iterable[str]) -> SeenNetwork:
    """Put together what nodes say of their links.

    Args:
      answers: by the IDs of the nodes.
      without: the IDs of nodes that are not shown.
    """
    hidden = set(without)
    places: dict[str, str] = {}
    anchors: dict[str, str] = {}
    connections: list[SeenConnection] = []
    for node_id, answer in answers.items():
        for link in answer.value or ():
            if link.place == "guest":
                # Also if the guest is not shown, as the node of this command.
                places[node_id] = "global"
            if link.node in hidden:
                continue
            if link.place == "anchor":
                anchors[node_id] = link.node
            elif link.place == "guest":
                anchors.setdefault(link.node, node_id)
            if link.place in ("anchor", "global"):
                places[link.node] = "global"
            if link.state == "up":
                connections.append(_connection(node_id, link))
    for guest, anchor in anchors.items():
        places.setdefault(guest, "guest")
        places[anchor] = "global"
    known = {*answers, *places, *(each for connection in connections for each in (connection.first, connection.second))}
    nodes = [
        SeenNode(
            node_id,
            {"global": True, "guest": False}.get(places.get(node_id, "")),
            anchors.get(node_id),
            answers[node_id].remark if node_id in answers else "only its peers name it",
        )
        for node_id in known
        if node_id not in hidden
    ]
    return join_networks(nodes, connections)


def _connection(node_id: str, link: LinkView) -> SeenConnection:
    first, second = sorted((node_id, link.node))
    encryption = ENCRYPTIONS.get(link.encryption, link.encryption)
    return SeenConnection(first, second, link.kind, encryption, {node_id: link.queued_size}, link.seconds)


def rows_of(network: SeenNetwork) -> list[dict[str, object]]:
    """The nodes and connections of a network, as rows for scripts."""
    rows: list[dict[str, object]] = [
        {"node": node_id, "global": node.is_global, "anchor": node.anchor, "remark": node.remark}
        for node_id, node in sorted(network.nodes.items())
    ]
    for (first, second), each in sorted(network.connections.items()):
        rows.append(
            {
                "connection": [first, second],
                "kind": each.transport,
                "encryption": each.encryption,
                "queued": each.queued,
                "seconds": each.age,
            }
        )
    return rows
