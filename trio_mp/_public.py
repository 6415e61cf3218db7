"""Everything that `trio_mp` offers, and all that stands behind it.

It is loaded with the first name that a program takes from `trio_mp`. What only asks for the package waits neither for
Trio nor for this, as the command line does before it knows what to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._channels.ends import (
    ChannelReceiver as ChannelReceiver,
    ChannelSender as ChannelSender,
    ChannelStatistics as ChannelStatistics,
)
from ._errors import (
    CallError as CallError,
    ConfigurationError as ConfigurationError,
    LocalProtocolError as LocalProtocolError,
    NotAttached as NotAttached,
    PortDied as PortDied,
    ProtocolError as ProtocolError,
    RemoteProtocolError as RemoteProtocolError,
    WorkerError as WorkerError,
    WorkerLost as WorkerLost,
)
from ._groups.group import Group as Group
from ._ids import node_of as node_of
from ._inspection.inspector import Inspector as Inspector
from ._inspection.trace_reader import PortTrace as PortTrace
from ._inspection.views import (
    ChildView as ChildView,
    LinkView as LinkView,
    PortPage as PortPage,
    PortView as PortView,
    SupervisorView as SupervisorView,
    TaskView as TaskView,
    TracedMessage as TracedMessage,
)
from ._node.child import open_child_node as open_child_node
from ._node.node import Node as Node
from ._node.opening import open_node as open_node
from ._node.signals import Stopping as Stopping, stop_on_signals as stop_on_signals
from ._ports.calls import CurrentCall as CurrentCall, current_call as current_call
from ._ports.handlers import ANY as ANY
from ._ports.losses import LossListener as LossListener, Lost as Lost
from ._ports.monitor import DeathScope as DeathScope, Monitor as Monitor
from ._ports.port import (
    Port as Port,
    current_epoch as current_epoch,
    current_node as current_node,
    current_port as current_port,
)
from ._ports.port_statistics import PortStatistics as PortStatistics
from ._ports.timer import Timer as Timer
from ._protocol.drain import Drained as Drained, Unfinished as Unfinished
from ._protocol.groups.events import Joined as Joined, Left as Left
from ._protocol.groups.singleton import TurnEpoch as TurnEpoch
from ._reason import Reason as Reason
from ._services.changes import Change as Change
from ._services.database import Database as Database
from ._services.logs import LogCollector as LogCollector
from ._services.nodes import NodeChange as NodeChange, NodeChanges as NodeChanges
from ._services.spawning import spawnable as spawnable
from ._services.starting import Started as Started
from ._services.statistics import (
    BlockStatistics as BlockStatistics,
    NodeStatistics as NodeStatistics,
    PeerStatistics as PeerStatistics,
)
from ._supervision.arguments import Backoff as Backoff
from ._supervision.errors import SupervisorFailed as SupervisorFailed
from ._supervision.places import Family as Family
from ._supervision.reference import ChildRef as ChildRef
from ._supervision.supervisor import Supervisor as Supervisor
from ._transport.certificate_files import Certificate as Certificate
from ._workers.workers import Workers as Workers

if TYPE_CHECKING:
    from ._transport.issuing import make_authority as make_authority, make_certificate as make_certificate
else:

    def __getattr__(name: str) -> object:
        if name in {"make_authority", "make_certificate"}:
            from ._transport import issuing  # 9 MiB, and half of an import's time: for who makes certificates

            return getattr(issuing, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
