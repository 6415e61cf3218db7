"""Message passing for Trio programs: inside a process, between processes and between machines.

A node holds ports, and ports receive messages. A program that knows the ID of a port can send to the port, monitor it,
kill it, and spawn new ports on its node. Once a program monitors a port there are no silent holes: a message that does
not arrive makes the monitor fire, and no later message arrives before the monitor has fired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _version

if TYPE_CHECKING:
    from ._public import (
        ANY as ANY,
        Backoff as Backoff,
        BlockStatistics as BlockStatistics,
        CallError as CallError,
        Certificate as Certificate,
        Change as Change,
        ChannelReceiver as ChannelReceiver,
        ChannelSender as ChannelSender,
        ChannelStatistics as ChannelStatistics,
        ChildRef as ChildRef,
        ChildView as ChildView,
        ConfigurationError as ConfigurationError,
        CurrentCall as CurrentCall,
        Database as Database,
        DeathScope as DeathScope,
        Drained as Drained,
        Family as Family,
        Group as Group,
        Inspector as Inspector,
        Joined as Joined,
        Left as Left,
        LinkView as LinkView,
        LocalProtocolError as LocalProtocolError,
        LogCollector as LogCollector,
        LossListener as LossListener,
        Lost as Lost,
        Monitor as Monitor,
        Node as Node,
        NodeChange as NodeChange,
        NodeChanges as NodeChanges,
        NodeStatistics as NodeStatistics,
        NotAttached as NotAttached,
        PeerStatistics as PeerStatistics,
        Port as Port,
        PortDied as PortDied,
        PortPage as PortPage,
        PortStatistics as PortStatistics,
        PortTrace as PortTrace,
        PortView as PortView,
        ProtocolError as ProtocolError,
        Reason as Reason,
        RemoteProtocolError as RemoteProtocolError,
        Started as Started,
        Stopping as Stopping,
        Supervisor as Supervisor,
        SupervisorFailed as SupervisorFailed,
        SupervisorView as SupervisorView,
        TaskView as TaskView,
        Timer as Timer,
        TracedMessage as TracedMessage,
        TurnEpoch as TurnEpoch,
        Unfinished as Unfinished,
        WorkerError as WorkerError,
        WorkerLost as WorkerLost,
        Workers as Workers,
        current_call as current_call,
        current_epoch as current_epoch,
        current_node as current_node,
        current_port as current_port,
        make_authority as make_authority,
        make_certificate as make_certificate,
        node_of as node_of,
        open_child_node as open_child_node,
        open_node as open_node,
        spawnable as spawnable,
        stop_on_signals as stop_on_signals,
    )

__version__ = _version.VERSION

__all__ = [
    "ANY",
    "Backoff",
    "BlockStatistics",
    "CallError",
    "Certificate",
    "Change",
    "ChannelReceiver",
    "ChannelSender",
    "ChannelStatistics",
    "ChildRef",
    "ChildView",
    "ConfigurationError",
    "CurrentCall",
    "Database",
    "DeathScope",
    "Drained",
    "Family",
    "Group",
    "Inspector",
    "Joined",
    "Left",
    "LinkView",
    "LocalProtocolError",
    "LogCollector",
    "LossListener",
    "Lost",
    "Monitor",
    "Node",
    "NodeChange",
    "NodeChanges",
    "NodeStatistics",
    "NotAttached",
    "PeerStatistics",
    "Port",
    "PortDied",
    "PortPage",
    "PortStatistics",
    "PortTrace",
    "PortView",
    "ProtocolError",
    "Reason",
    "RemoteProtocolError",
    "Started",
    "Stopping",
    "Supervisor",
    "SupervisorFailed",
    "SupervisorView",
    "TaskView",
    "Timer",
    "TracedMessage",
    "TurnEpoch",
    "Unfinished",
    "WorkerError",
    "WorkerLost",
    "Workers",
    "current_call",
    "current_epoch",
    "current_node",
    "current_port",
    "make_authority",
    "make_certificate",
    "node_of",
    "open_child_node",
    "open_node",
    "spawnable",
    "stop_on_signals",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # A module of this package that a program imports becomes an attribute by itself, and is none of these.
        if name in __all__:
            from . import _public  # with Trio and all of this package: for who uses it

            found = globals()[name] = getattr(_public, name)
            return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
