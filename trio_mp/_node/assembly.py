"""How a node is put together: all of its parts from the ground up, and who is told of what.

Where two parts need each other, the lower one says what it tells or asks, in an interface of its own room; the upper
one is made after it, and the two meet here.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._channels.service import Channels
from .._ids import random_token
from .._inspection.service import InspectionService
from .._peers.errands import Errands
from .._peers.network import Network
from .._peers.node_port import NodePort
from .._peers.observers import Observers
from .._peers.peer import Peer
from .._peers.secret_file import SecretFileWatch
from .._ports.dispatcher import Dispatcher
from .._ports.lifecycle import Lifecycle
from .._ports.run_queue import RunQueue
from .._protocol.database.messages import WORD as DATABASE
from .._protocol.handshake.auth import stretch_secret
from .._protocol.handshake.greeting import LocalInfo
from .._protocol.handshake.session import TLSChannel
from .._protocol.log_records import WORD as LOGS
from .._protocol.membership.permissions import Notary
from .._protocol.membership.rules import MembershipEffect
from .._protocol.requests import WORDS
from .._runtime import Runtime
from .._services.calls import Calls
from .._services.database import Database, ListedNodes
from .._services.drain import DrainService
from .._services.logs import LogService
from .._services.membership import MembershipService
from .._services.nodes import watch_nodes
from .._services.spawning import Spawner
from .._services.starts import Starts
from .._settings.environment import Environment
from .._settings.settings import Settings
from .._streams.pending import PendingStreams
from .._streams.service import Streams
from .._transport.addresses import Address
from .._version import VERSION
from .systemd import ManagerReport
from .watchdog import Watchdog

if TYPE_CHECKING:
    from .node import Node

PROVIDER = f"trio_mp/{VERSION}"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a node is made of, as far as its public interface leads there.

    Attributes:
      tasks: what runs beside the network, until the node closes.
    """

    runtime: Runtime
    calls: Calls
    spawner: Spawner
    streams: Streams
    channels: Channels
    database: Database
    membership: MembershipService | None
    logs: LogService
    inspections: InspectionService
    drains: DrainService
    watchdog: Watchdog
    tasks: tuple[Callable[[], Awaitable[None]], ...]


def assemble(node: Node, settings: Settings, environment: Environment) -> Parts:
    """Make the parts of a node, and tell them of each other. Nothing runs yet.

    Args:
      node: the public interface, which ports and handlers of this node are given.
      settings, environment: the node's.
    """
    incarnation = random_token(environment.entropy)
    node_id = settings.node_id or _certified_id(settings) or f"anon/{random_token(environment.entropy)}"
    observers = Observers()
    pending_streams = PendingStreams()

    # The ports of this node, and its network.
    queue = RunQueue()
    lifecycle = Lifecycle(
        node_id,
        node,
        queue,
        mailbox_limit=settings.mailbox_limit,
        mailbox_size_limit=settings.mailbox_size_limit,
        shutdown_timeout=settings.shutdown_timeout,
        raise_unmonitored=settings.unmonitored_death == "raise",
        clock=environment.fairness_clock,
    )
    watchdog = Watchdog(node_id)
    dispatcher = Dispatcher(queue, lifecycle, stall=settings.heartbeat, lately=watchdog.lately)

    def find_peer(other: str) -> Peer | None:
        return network.peers.get(other) if network is not None else None

    def make_peer(other: str) -> Peer:
        assert network is not None, "only other nodes have errands"
        return network.peer(other)

    errands = Errands(settings.queue_limit, find_peer, make_peer, node_id)
    network: Network | None = None
    for seed in settings.seeds:
        environment.transport.check_seed(seed)
    if settings.networked:
        make_tls, notary = _make_tls(settings, environment, node_id)
        network = Network(
            dispatcher,
            settings,
            environment,
            _introduce(settings, node_id, incarnation),
            errands=errands,
            observers=observers,
            notary=notary,
            make_tls=make_tls,
            claim_stream=pending_streams.claim,
            lately=watchdog.lately,
        )
    runtime = Runtime(settings, environment, incarnation, dispatcher, network, errands, observers)

    # The services, which are built on these.
    calls = Calls(runtime)
    starts = Starts(runtime)
    spawner = Spawner(runtime, starts)
    database = Database(runtime, is_global=not settings.networked or not settings.seeds)
    membership = MembershipService(network, ListedNodes(database), runtime.standing) if network is not None else None
    look_up = membership.search.look_up if membership is not None else _nowhere
    streams = Streams(runtime, spawner, pending_streams, look_up)
    channels = Channels(runtime, spawner)
    logs = LogService(runtime, partial(watch_nodes, database))
    drains = DrainService(runtime, database)
    inspections = InspectionService(
        runtime, calls, membership.place_of if membership is not None else _no_place, drains.drain
    )

    # Who is told, in this order.
    observers.forgotten += [runtime.routes.clear]
    observers.ended += [database._closed]
    observers.up += [calls.went_up, drains.went_up]
    observers.down += [drains.went_down, runtime.leaving.discard]
    observers.heard += [drains.heard]
    observers.draining += [runtime.leaving.add]
    if membership is not None:
        observers.up += [membership.went_up]
        observers.down += [membership.went_down, database._went_down]
        observers.wanted += [membership.search.begin]
        observers.explain += [membership.search.explain]
        observers.listed += [membership.sightings.listed]

        def tell_database(effect: MembershipEffect) -> None:
            database._observe(effect, membership.rules.globals)

        membership.observers += [tell_database]

    # What other nodes may ask for. It comes last, because it is answered by all of these.
    node_port = NodePort(
        dispatcher,
        environment,
        send=runtime.send,
        spawner=spawner,
        starts=starts,
        calls=calls,
        streams=streams,
        inspections=inspections,
        services={
            LOGS: logs.asked,
            DATABASE: database._receive,
            **(membership.services() if membership is not None else {}),
        },
        find_registered=database._find_registered,
        up_nodes=network.up_nodes if network is not None else tuple,
        known_nodes=membership.known_nodes if membership is not None else tuple,
        port_limit=settings.port_limit,
        errands=errands,
        standing=runtime.standing,
    )
    runtime.serve_by(node_port)
    if network is not None:
        network.serve_by(node_port)

    tasks: list[Callable[[], Awaitable[None]]] = []
    if membership is not None:
        tasks += [ManagerReport(environment.manager, runtime.standing).run]
        tasks += [membership.run, database._renew_voucher]
    if network is not None and settings.secret_file is not None:
        tasks += [SecretFileWatch(network, settings.secret_file, environment.in_thread).run]
    return Parts(
        *(runtime, calls, spawner, streams, channels, database, membership, logs, inspections, drains, watchdog),
        tasks=tuple(tasks),
    )


def _introduce(settings: Settings, node_id: str, incarnation: str) -> LocalInfo:
    """What a node says of itself when it greets others."""
    certificate = settings.certificate
    return LocalInfo(
        node_id=node_id,
        incarnation=incarnation,
        keys=tuple(map(stretch_secret, settings.secret)),
        keys_from=settings.secret_file or "",
        encryption=settings.encryption,
        heartbeat=settings.heartbeat,
        limit=settings.message_limit,
        provider=PROVIDER,
        words=WORDS,
        tool=settings.tool,
        certificates=certificate is not None,
        verify_node_id=certificate is not None and certificate.verify_node_id,
    )


def _make_tls(
    settings: Settings, environment: Environment, node_id: str
) -> tuple[Callable[[bool], TLSChannel], Notary | None]:
    """What makes the TLS object of a connection, and what reads certificates, if the node has one."""
    certificate = settings.certificate
    if certificate is not None:
        from .._transport.certificates import CertificateTLS  # with what reads them: 9 MiB, which others need not
        from .._transport.notary import CertificateNotary  # so does this

        make_tls = CertificateTLS(certificate, node_id)
        return make_tls, CertificateNotary(make_tls, node_id, names_nodes=certificate.verify_node_id)
    if settings.encryption and not settings.tool:
        # Now, so that no handshake waits for it. A tool dials, and half of the nodes that do need no certificate.
        importlib.import_module("trio_mp._transport.throwaway")
    return environment.make_tls, None


def _certified_id(settings: Settings) -> str:
    """The ID that the certificate of a tool names; empty if there is none, or if certificates need not name nodes."""
    certificate = settings.certificate
    if not settings.tool or certificate is None or not certificate.verify_node_id:
        return ""
    from .._transport.certificates import first_node_id  # with what reads them: 9 MiB, which others need not

    return first_node_id(certificate)


async def _nowhere(_: str) -> tuple[Address, ...]:
    """Where other nodes listen, as far as a node without a network knows. A checkpoint."""
    await trio.lowlevel.checkpoint()
    return ()


def _no_place(_: str) -> str:
    """What another node is to one without a network."""
    return ""
