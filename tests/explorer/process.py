"""One process of the model: a real association, and a model of the runtime and the program around it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from trio_mp._errors import ProtocolError
from trio_mp._protocol.association.association import Association, Stage
from trio_mp._protocol.association.effects import (
    Accept,
    Choose,
    Close,
    Effect,
    Fire,
    FireDone,
    FireDue,
    HalfClose,
    NodeDown,
    NodeUp,
    Probe,
    Refuse,
    Say,
    Terms,
    Unwatch,
)
from trio_mp._protocol.association.outbox import Fence, Outbox
from trio_mp._protocol.wire.framing import MSGPACK, Framing

Item: TypeAlias = tuple[Any, ...]
"""An item that travels in a channel: `("proof", lost, incarnation)`, `("link",)`, `("ok",)`, `("no",)`, `("end",)`,
`("idle",)`, `("bye",)`, or `("message", port, *rest)`."""

Event: TypeAlias = tuple[Any, ...]
"""An event of a process: its name and its arguments."""

Output: TypeAlias = tuple[Any, ...]
"""An output of an event: `("write", connection, item)`, `("close", connection)`, `("sent", port, monitor)`,
`("delivered", connection, number)`, or `("fault", text)`."""

LIMIT = 1 << 20


class CountingQueue:
    """Replaces `OutgoingQueue`: it holds messages instead of bytes, and each counts for one."""

    __slots__ = ("dropped", "high_water", "messages")

    def __init__(self, messages: tuple[Item, ...] = ()) -> None:
        self.messages = messages
        self.dropped = (0, 0)
        self.high_water = 0

    @property
    def size(self) -> int:
        return len(self.messages)

    @property
    def begun(self) -> int:
        # It says which messages were perhaps delivered, for the program; no rule of the association depends on it.
        return 0

    def append(self, name: str, message: Item, limit: int) -> bool:
        """Add a message. It always says that the queue may be too long, which is allowed."""
        assert limit == LIMIT
        self.messages += ((name, *message),)
        return True

    def drop(self) -> None:
        self.messages = ()

    def adapt(self, framing: Framing, limit: int) -> dict[str, str] | str:
        assert limit == LIMIT
        return {}


class Process:
    """A process. It does not change once it is in the table: an event makes a changed copy.

    Attributes:
      association: the real association with the peer.
      port: the name of the port that it owns.
      port_alive: whether that port is alive.
      monitors: the ports that its program monitors now, each with the number of the monitor, which is never used again.
      monitors_set, sent: how many monitors were set, how many messages sent.
      losses: how many losses were reported.
      due: whether the runtime still has to call `fire`.
      probing: the connections that the runtime probes.
      used: the last connection that was in use and is not any more. `lost=` must name it.
    """

    __slots__ = (
        "association",
        "due",
        "losses",
        "monitors",
        "monitors_set",
        "outputs",
        "port",
        "port_alive",
        "probing",
        "sent",
        "used",
    )

    def __init__(self, association: Association, port: str) -> None:
        self.association = association
        self.port = port
        self.port_alive = True
        self.monitors: dict[str, int] = {}
        self.monitors_set = 0
        self.sent = 0
        self.losses = 0
        self.due = False
        self.probing: tuple[str, ...] = ()
        self.used = ""
        self.outputs: list[Output] = []

    def copy(self) -> Process:
        new = Process.__new__(Process)
        new.association = copy_association(self.association)
        new.port = self.port
        new.port_alive = self.port_alive
        new.monitors = dict(self.monitors)
        new.monitors_set = self.monitors_set
        new.sent = self.sent
        new.losses = self.losses
        new.due = self.due
        new.probing = self.probing
        new.used = self.used
        new.outputs = []
        return new

    def key(self) -> Item:
        return (
            association_key(self.association),
            self.port,
            self.port_alive,
            tuple(sorted(self.monitors.items())),
            self.monitors_set,
            self.sent,
            self.losses,
            self.due,
            self.probing,
            self.used,
        )

    def decided_about(self, connection: str) -> bool:
        """Whether a connection is chosen or in use here, or waits to be."""
        association = self.association
        return connection in (association._current, association._next, *association._candidates)

    def holds(self, port: str, number: int) -> bool:
        """Whether a message that was sent waits in the queue."""
        queue: CountingQueue = self.association.outbox.queue  # type: ignore[assignment]
        return (port, number) in queue.messages

    # Events --------------------------------------------------------------------------------------------------------

    def after(self, event: Event, slow_writer: bool) -> tuple[Process, tuple[Output, ...]]:
        """Return a copy of this process after an event, and the outputs of the event."""
        new = self.copy()
        try:
            getattr(new, f"on_{event[0]}")(*event[1:])
            if not slow_writer:
                while new.association.may_write and new.association.outbox.queue.size:
                    new.on_write()
        except ProtocolError as error:
            new.outputs.append(("fault", f"{type(error).__name__}: {error}"))
        if new.association.decides:
            # The other side ignores it.
            new.association.last_ended = new.used = ""
        outputs, new.outputs = tuple(new.outputs), []
        return new, outputs

    def on_dial(self, connection: str) -> None:
        self.association.greeted(connection)
        self._prove(connection)

    def on_read(self, connection: str, item: Item) -> None:
        """Read one item; `("proof", …)` is the answer to our own."""
        getattr(self, f"_read_{item[0]}")(connection, *item[1:])

    def on_challenge(self, connection: str, item: Item) -> None:
        """Read the proof of the side that has dialled, and answer it."""
        self.association.greeted(connection)
        self._prove(connection)
        self._read_proof(connection, *item[1:])

    def on_notice(self, connection: str) -> None:
        """Give up this end of a connection, as after a time-out, a reset or an error."""
        if self.association._connections.get(connection) is Stage.CHOSEN:
            self._do(self.association.choice_expired(connection))
        else:
            self._read_end(connection)

    def on_ask(self) -> None:
        """Ask to part, as when the connection has carried nothing for a while."""
        self._do(self.association.ask())

    def on_unanswered(self) -> None:
        """Stop waiting for the answer to `idle`."""
        self.association.busy_received()

    def on_decline(self, connection: str, item: Item) -> None:
        """Read the other side's `idle`, while the runtime wants to keep the connection."""
        assert item == ("idle",)
        self._do(self.association.idle_received(willing=False))

    def on_give_up(self) -> None:
        self._do(self.association.lose("no connection in time"))

    def on_believe(self) -> None:
        """Believe that the other node has gone, which may be wrong."""
        going_on = list(self.association._connections)
        effects = self.association.presume_gone("it has gone")
        if going_on and effects:
            self.outputs.append(("fault", f"it is believed to have gone, with connection {going_on[0]} going on"))
        if any(isinstance(effect, Fire) for effect in effects):
            self.outputs.append(("fault", "the monitors fire in the middle of the call"))
        self._do(effects)

    def on_answer(self, connection: str) -> None:
        self._probed(connection)
        self._do(self.association.probe_answered())

    def on_fail(self, connection: str) -> None:
        self._probed(connection)
        self._do(self.association.probe_failed())

    def on_write(self) -> None:
        """Write one message."""
        association = self.association
        queue: CountingQueue = association.outbox.queue  # type: ignore[assignment]
        message, queue.messages = queue.messages[0], queue.messages[1:]
        self.outputs.append(("write", association.in_use, ("message", *message)))

    def on_report(self, reaction: tuple[Event, ...]) -> None:
        """Fire the monitors of a loss; a callback does what `reaction` says."""
        self.due = False
        fire = self.association.outbox.fire()
        if self.association.outbox.queue.size:
            self.outputs.append(("fault", "what was queued at a loss is still there when it is reported"))
        self.losses += 1
        self.outputs.append(("lost", self.losses))
        self._fire(fire, reaction)
        self._do(self.association.fired())

    def on_send(self, port: str) -> None:
        self.outputs.append(("sent", port, self.monitors.get(port, 0)))
        number, self.sent = self.sent, self.sent + 1
        self._queued(self.association.outbox.send(port, (number,)))

    def on_monitor(self, port: str) -> None:
        self.monitors_set += 1
        self.monitors[port] = self.monitors_set
        self._queued(self.association.outbox.monitor(port, (port, self.monitors_set)))

    def on_demonitor(self, port: str) -> None:
        self._queued(self.association.outbox.demonitor(port, (port, self.monitors.pop(port))))

    def on_die(self) -> None:
        """Let the port of this process die."""
        self.port_alive = False
        if self.port in self.association.watched:
            self.association.watched.remove(self.port)
            self._queued(self.association.outbox.send("", ("kil0", self.port)))

    # What is read --------------------------------------------------------------------------------------------------

    def _read_proof(self, connection: str, lost: str, incarnation: str) -> None:
        used = self.association.in_use
        effects = self.association.authenticated(connection, lost, Terms(incarnation, LIMIT, MSGPACK))
        if lost == used and Refuse(connection, "already connected") in effects:
            self.outputs.append(("fault", f"{connection} is refused, though the other side has lost {used}"))
        self._do(effects)

    def _read_link(self, connection: str) -> None:
        self._do(self.association.link_received(connection))

    def _read_ok(self, connection: str) -> None:
        self._do(self.association.ok_received(connection))

    def _read_no(self, connection: str) -> None:
        self._read_end(connection)

    def _read_end(self, connection: str) -> None:
        self._probed(connection)
        self.outputs.append(("close", connection))
        self._do(self.association.closed(connection, "it broke"))

    def _read_idle(self, connection: str) -> None:
        self._do(self.association.idle_received(willing=True))

    def _read_bye(self, connection: str) -> None:
        self._do(self.association.bye_received())

    def _read_message(self, connection: str, port: str, *message: Any) -> None:
        association = self.association
        if association.in_use != connection:
            self.outputs.append(("fault", f"a message is read on {connection}, which is not in use there"))
        if port == self.port and self.port_alive:
            self.outputs.append(("delivered", connection, message[0]))
        elif port == "":
            request, *names = message
            name = names[0] if names else ""
            if request == "busy":
                association.busy_received()
                # A sign of life, if it was probed.
                if connection in self.probing:
                    self.on_answer(connection)
            elif request == "kil0":
                self._do(association.outbox.port_died(name, ("died",)))
            elif request == "mon0":
                association.watched.discard(name)
            elif name == self.port and self.port_alive:
                association.watched.add(name)
            else:
                self._queued(association.outbox.send("", ("kil0", name)))

    # Effects -------------------------------------------------------------------------------------------------------

    def _do(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Choose(connection):
                    self.outputs.append(("write", connection, ("link",)))
                case Accept(connection):
                    self.outputs.append(("write", connection, ("ok",)))
                case Refuse(connection):
                    self.outputs += [("write", connection, ("no",)), ("close", connection)]
                case Close(connection):
                    self._probed(connection)
                    self.outputs.append(("close", connection))
                case Probe(connection):
                    self.probing = (*self.probing, connection)
                case NodeUp():
                    self.used = ""
                case Say(connection, word):
                    self.outputs.append(("write", connection, (word,)))
                    if self.association.outbox.queue.size:
                        self.outputs.append(("fault", f"{word} is not its last word"))
                case HalfClose(connection):
                    self.outputs.append(("write", connection, ("end",)))
                case NodeDown(connection):
                    self.used = connection
                case Unwatch():
                    pass
                case Fire():
                    self._fire(effect, ())
                case FireDue():
                    self.due = True
                case FireDone():
                    self._do(self.association.fired())
                case _:
                    # `Dropped` only makes a log line.
                    pass

    def _fire(self, fire: Fire, reaction: tuple[Event, ...]) -> None:
        monitors: Any = fire.monitors
        for port, number in monitors:
            if self.monitors.pop(port, None) != number:
                self.outputs.append(("fault", f"monitor {number} of {port} fired, which was not set"))
        for name, *rest in reaction:
            getattr(self, f"on_{name}")(*rest)

    def _queued(self, lost: bool) -> None:
        if lost:
            self._do(self.association.take_loss())

    def _prove(self, connection: str) -> None:
        if self.used and self.association.last_ended != self.used:
            self.outputs.append(("fault", f"it does not say that it has lost {self.used}"))
        self.outputs.append(("write", connection, ("proof", self.association.last_ended, self.port)))

    def _probed(self, connection: str) -> None:
        """End the probe of a connection, if there is one: it has its result, or the connection has ended."""
        self.probing = tuple(other for other in self.probing if other != connection)


def new_association(kind: type[Association], local_id: str, peer_id: str, queue_limit: int) -> Association:
    association = kind(local_id, peer_id, queue_limit=queue_limit, message_limit=LIMIT)
    association.outbox.queue = CountingQueue()  # type: ignore[assignment]
    return association


def copy_association(old: Association) -> Association:
    """Copy an association slot by slot, which is a hundred times faster than `copy.deepcopy`."""
    new = type(old).__new__(type(old))
    new.outbox = copy_outbox(old.outbox)
    new.local_id = old.local_id
    new.peer_id = old.peer_id
    new.decides = old.decides
    new.watched = set(old.watched)
    new.last_ended = old.last_ended
    new._connections = dict(old._connections)
    new._terms = dict(old._terms)
    new._current = old._current
    new._next = old._next
    new._candidates = list(old._candidates)
    return new


def copy_outbox(old: Outbox) -> Outbox:
    new = type(old).__new__(type(old))
    new.peer_id = old.peer_id
    new.queue_limit = old.queue_limit
    new.message_limit = old.message_limit
    new.send_limit = old.send_limit
    new.fence = old.fence
    new.queue = CountingQueue(old.queue.messages)  # type: ignore[assignment, attr-defined]
    new.monitors = {name: dict(monitors) for name, monitors in old.monitors.items()}
    new.reason = old.reason
    new.unfired = dict(old.unfired)
    return new


def association_key(association: Association) -> Item:
    """Return all that an association's future depends on. Nothing depends on the texts of reasons."""
    return (
        association.local_id,
        association.outbox.fence.value if association.outbox.fence is not Fence.CLEAR else "",
        association.outbox.queue.messages,  # type: ignore[attr-defined]
        tuple(sorted((name, tuple(monitors)) for name, monitors in association.outbox.monitors.items())),
        tuple(sorted(association.watched)),
        association.last_ended,
        tuple(sorted((name, stage.value) for name, stage in association._connections.items())),
        tuple(sorted(association._terms.items())),
        association._current,
        association._next,
        tuple(association._candidates),
    )
