"""The links of a node: what it keeps about others, as an inspection shows it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace

import trio

from .._peers.network import Network
from .._peers.peer import Peer
from .slices import STRIDE, Slices
from .texts import shortened
from .views import LinkPage, LinkView

MOST = 500
"""How many links an answer has, at most: fewer than 500 KiB."""


async def list_links(network: Network | None, after: str, slices: Slices, place_of: Callable[[str], str]) -> LinkPage:
    """The links with the nodes whose IDs come behind this one. A checkpoint, if it takes longer than a slice."""
    found: list[str] = []
    for place, node_id in enumerate(tuple(network.peers) if network is not None else ()):
        if node_id > after:
            found.append(node_id)
        if place % STRIDE == 0:
            await slices.pause()
    chosen = heapq.nsmallest(MOST, found)
    links: list[LinkView] = []
    for node_id in chosen:
        peer = network.peers.get(node_id) if network is not None else None
        if peer is not None:
            links.append(view_of(peer, place_of(node_id)))
        await slices.pause()
    return LinkPage(links, chosen[-1] if len(found) > len(chosen) else None)


def view_of(peer: Peer, place: str) -> LinkView:
    """What is shown of the link with a peer, which has this place in the network: see `LinkView`."""
    connection = peer.current
    outbox, queue = peer.outbox, peer.queue
    link = LinkView(
        node=peer.id,
        state="up" if connection is not None else "waiting" if peer.association.wants_connection else "known",
        place=place,
        queued=queue.waiting,
        queued_size=queue.size,
        monitors=len(outbox.monitors),
        monitored=len(peer.watchers),
        calls=len(peer.callers),
        spawned=peer.spawned,
    )
    if connection is None:
        return link
    session, address = connection.session, connection.pipe.peer_address
    encryption = "none"
    if session.encrypted:
        encryption = "certificates" if session.peer_certificate else "secret"
    return replace(
        link,
        kind="unix" if address.startswith("unix:") else "tcp",
        address=shortened(connection.address),
        dialled=session.handshake.dialler,
        encryption=encryption,
        seconds=trio.current_time() - peer.up_since,
        provider=shortened(connection.info.provider if connection.info is not None else ""),
    )
