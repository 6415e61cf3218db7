"""Every transition that the association and the handshake make, collected by trying everything on the real objects.

`test_transitions.py` holds the tables of the code, from which the documentation draws its diagrams, against what is
collected here: a row that nothing reaches, and a transition that is made past the table. Nothing here names a state or
an event: both are looked up in the classes, so that a new one is tried as soon as it is there.

Where `explorer` has two nodes that behave, here one association has surroundings that may do anything at any time,
within what every caller keeps to: a connection is greeted first, each event happens to it once at most, and what is
received on no connection in particular is received on the one in use.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from trio_mp._errors import ProtocolError
from trio_mp._protocol.association.association import Association, Stage
from trio_mp._protocol.association.effects import Terms
from trio_mp._protocol.association.outbox import Outbox
from trio_mp._protocol.association.queue import OutgoingQueue
from trio_mp._protocol.handshake.greeting import NONCE_SIZE, LocalInfo
from trio_mp._protocol.handshake.handshake import Handshake
from trio_mp._protocol.transitions import Row, TransitionTable
from trio_mp._protocol.wire.framing import MSGPACK

AnyRow: TypeAlias = Row[Any, Any, Any]

CONNECTIONS = ("1", "2", "3")
"""With two of them nothing waits behind another that waits already."""

_QUEUE_LIMIT = 120
_PEER_LIMIT = 70

VALUES: dict[str, tuple[object, ...]] = {
    "connection": CONNECTIONS,
    "lost": ("", *CONNECTIONS),
    # A run of the peer that takes only the smaller of the messages, and another run.
    "terms": (Terms("one", _PEER_LIMIT, MSGPACK), Terms("two", 1000, MSGPACK)),
    # Any two of them are too much for the queue.
    "name": ("p" * 55,),
    "message": (("x",), ("x" * 25,)),
    "monitor": ("a monitor",),
    "reason": ((),),
    "why": ("why",),
    "willing": (True, False),
    "fingerprint": (b"f" * 32,),
    "node_ids": (None,),
    # The next one on its way.
    "line_untrusted": ("",),
}
"""What to pass for a parameter of that name."""


class Call(NamedTuple):
    """Something that may happen: the method that is called for it, and with what."""

    event: str
    arguments: tuple[tuple[str, Any], ...]
    connection: str | None


def calls_of(kind: type, besides: Iterable[str] = ()) -> list[Call]:
    """All calls of the public methods of a class, with all values that there are for their parameters."""
    calls: list[Call] = []
    for event, method in inspect.getmembers(kind, inspect.isfunction):
        if event.startswith("_") or event in besides:
            continue
        _, *parameters = inspect.signature(method).parameters
        if missing := [name for name in parameters if name not in VALUES]:
            raise LookupError(f"say in VALUES what to pass for {', '.join(missing)} of {kind.__name__}.{event}")
        for arguments in itertools.product(*(VALUES[name] for name in parameters)):
            named: dict[str, Any] = dict(zip(parameters, arguments, strict=True))
            calls.append(Call(event, tuple(named.items()), named.get("connection")))
    return calls


class Transition(NamedTuple):
    """A change of a state, as it is seen from outside."""

    before: enum.Enum
    after: enum.Enum


@contextmanager
def taken() -> Iterator[list[AnyRow]]:
    """Collect the rows that are taken in the block, of whatever table."""
    rows: list[AnyRow] = []
    row_of = TransitionTable.row

    def row(table: Any, *arguments: Any) -> Any:
        found = row_of(table, *arguments)
        if found is not None:
            rows.append(found)
        return found

    TransitionTable.row = row  # type: ignore[assignment, method-assign]
    try:
        yield rows
    finally:
        TransitionTable.row = row_of  # type: ignore[method-assign]


# The association -----------------------------------------------------------------------------------------------------


@dataclass
class Walk:
    """What a walk has seen.

    Attributes:
      rows: of the tables, those that were taken.
      past: the changes that no rows account for, which were taken in the same call.
    """

    rows: set[AnyRow] = field(default_factory=set)
    past: set[Transition] = field(default_factory=set)

    def made(self, transition: Transition, rows: list[AnyRow]) -> None:
        """A call has made this transition, and has taken these rows."""
        states = {transition.before}
        for row in rows:
            # In the order in which they were taken, so none of them is looked at again.
            if row.before in states:
                states.add(row.after)
        if transition.after not in states:
            self.past.add(transition)


def make(association: Association, call: Call) -> None:
    """What the caller does when something happens."""
    asked = association if hasattr(association, call.event) else association.outbox
    if getattr(asked, call.event)(**dict(call.arguments)) is True:
        association.take_loss()


def associate(kind: type[Association], *, decides: bool) -> Association:
    """A new association."""
    names = ("b", "a") if decides else ("a", "b")
    return kind(*names, queue_limit=_QUEUE_LIMIT, message_limit=1000)


def slots_of(kind: type) -> tuple[str, ...]:
    return tuple(slot for base in kind.__mro__ for slot in getattr(base, "__slots__", ()))


def copy_of(value: Any) -> Any:
    """A copy that shares nothing that changes; many times faster than `copy.deepcopy`."""
    match value:
        case str() | int() | None | tuple() | enum.Enum():
            return value
        case dict():
            return {key: copy_of(item) for key, item in value.items()}
        case list() | set() | bytearray() | deque():
            return value.copy()
        case Association() | Outbox() | OutgoingQueue():
            new = type(value).__new__(type(value))
            for slot in slots_of(type(value)):
                setattr(new, slot, copy_of(getattr(value, slot)))
            return new
        case _:
            return value


def frozen(value: object) -> object:
    """What the future depends on, for two associations that must not be taken for the same."""
    match value:
        case OutgoingQueue():
            return value.size, value._largest
        case Outbox():
            # A reason is for people, and what was begun for callers: no rule depends on either.
            slots = [slot for slot in slots_of(type(value)) if slot not in {"begun", "reason"}]
            return tuple(frozen(getattr(value, slot)) for slot in slots)
        case dict():
            return frozenset((key, frozen(item)) for key, item in value.items())
        case list():
            return tuple(value)
        case set():
            return frozenset(value)
        case _:
            return value


def state_of(association: Association, happened: frozenset[Call]) -> object:
    # The ID of what has ended is for the next greeting.
    slots = [slot for slot in slots_of(type(association)) if slot != "last_ended"]
    state = tuple(frozen(getattr(association, slot)) for slot in slots)
    return state, frozenset((call.event, call.connection) for call in happened)


def states_of(association: Association) -> dict[str, enum.Enum]:
    """The stages of the connections that are kept, and the fence, which goes by the name of `""`."""
    return {"": association.outbox.fence, **association._connections}


def changes(before: dict[str, enum.Enum], after: dict[str, enum.Enum]) -> Iterator[Transition]:
    for name in before | after:
        was, became = before.get(name, Stage.NEW), after.get(name, Stage.GONE)
        if was != became:
            yield Transition(was, became)


def walk(*, decides: bool, kind: type[Association] = Association) -> Walk:
    """All transitions of one side: every state is left by every call that its caller may make there."""
    with taken() as rows:
        return _walk(decides, kind, rows)


def _walk(decides: bool, kind: type[Association], rows: list[AnyRow]) -> Walk:
    found = Walk()
    # What is done about an error of this side is no transition: it can come in any state, and ends in a loss.
    calls = calls_of(kind, besides=["take_loss", "give_up"])
    # The rest of the outbox is for the association.
    # What a call expects is a monitor like any other, but for the request that none makes for it.
    calls += calls_of(Outbox, besides=["lose", "fired", "ruin", "adapt", "take_dropped", "expect", "forget"])
    start = associate(kind, decides=decides)
    waiting: deque[tuple[Association, int, frozenset[Call]]] = deque([(start, 0, frozenset())])
    seen: set[object] = set()
    while waiting:
        left, greeted, happened = waiting.popleft()
        before, in_use = states_of(left), left.in_use is not None
        done = {(call.event, call.connection) for call in happened}
        for call in calls:
            if call.connection is not None:
                unknown = call.connection not in before
                new = call.event == "greeted" and CONNECTIONS.index(call.connection) == greeted
                if (call.event, call.connection) in done or (unknown and not new):
                    continue
            elif call.event.endswith("_received") and not in_use:
                continue
            association = copy_of(left)
            rows.clear()
            try:
                make(association, call)
            except (ProtocolError, ValueError):
                # Its caller's mistake, or the peer's: nothing comes of it.
                continue
            after = states_of(association)
            found.rows.update(rows)
            for transition in changes(before, after):
                found.made(transition, rows)
            then = happened | {call} if call.connection is not None else happened
            then = frozenset(other for other in then if other.event == "greeted" or other.connection in after)
            state = state_of(association, then)
            if state not in seen:
                seen.add(state)
                waiting.append((association, greeted + (call.event == "greeted"), then))
    return found


# The handshake -------------------------------------------------------------------------------------------------------


class StepTaken(NamedTuple):
    """What one call has made of a handshake, and the rows that it has taken."""

    before: enum.Enum
    after: enum.Enum
    rows: tuple[AnyRow, ...]


HEARD = frozenset({"line_received", "tls_done"})
"""What the other side does; the rest is what we do."""

ALICE = LocalInfo("alice", "a" * 16, (b"k" * 32,), encryption=False, heartbeat=5, limit=2**20, provider="")
BOB = dataclasses.replace(ALICE, node_id="bob", incarnation="b" * 16)


class Pair:
    """Two sides of a handshake, and the lines on their way to either."""

    def __init__(self, path: Iterable[tuple[int, Call]], *, encryption: bool, stream: bool = False) -> None:
        self.sides = [
            Handshake(
                dataclasses.replace(local, encryption=encryption),
                bytes([number]) * NONCE_SIZE,
                dialler=local is ALICE,
                peer_address="",
            )
            for number, local in enumerate((ALICE, BOB))
        ]
        if stream:
            self.sides[0].want_stream("s" * 16)
        self.lines = [side.greeting.splitlines() for side in reversed(self.sides)]
        for number, call in path:
            self.make(number, call)

    def state(self) -> object:
        return [side.step for side in self.sides], self.lines

    def make(self, number: int, call: Call) -> StepTaken:
        """One side does something, or hears the next line of the other one."""
        side = self.sides[number]
        before = side.step
        with taken() as rows:
            if call.event == "line_received":
                side.line_received(self.lines[number].pop(0))
            elif call.event in HEARD:
                getattr(side, call.event)(**dict(call.arguments))
            else:
                self.lines[1 - number] += getattr(side, call.event)(**dict(call.arguments)).splitlines()
        return StepTaken(before, side.step, tuple(rows))


def walk_handshakes() -> set[StepTaken]:
    """All transitions of the handshakes of two nodes that understand each other, encrypted and not."""
    found: set[StepTaken] = set()
    # That a stream is wanted is known before anything is said.
    calls = calls_of(Handshake, besides=["want_stream"])
    for encryption, stream in itertools.product((False, True), repeat=2):
        waiting: deque[tuple[tuple[int, Call], ...]] = deque([()])
        seen: list[object] = []
        while waiting:
            path = waiting.popleft()
            for number, call in itertools.product((0, 1), calls):
                pair = Pair(path, encryption=encryption, stream=stream)
                if call.event == "line_received" and not pair.lines[number]:
                    continue
                try:
                    step = pair.make(number, call)
                except ProtocolError:
                    continue
                found.add(step)
                if pair.state() not in seen:
                    seen.append(pair.state())
                    waiting.append((*path, (number, call)))
    return found
