"""Tables of families, between a node that reads them and its anchor: who has asked for what, and what is known.

`Readers` is the anchor's side, `Views` the other one; a global node reads its own database through `Views` as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..schema import Message, Send
from . import messages as messages
from .effects import Answer, Changed, Effect, Ignored, Opened
from .messages import Get, Subscribe, View, ViewChange
from .records import Difference, Families, Table, difference, update


class Readers:
    """What other nodes have asked this one for. It answers from `answer` on; until then it only remembers.

    Args:
      families: what they read.
    """

    def __init__(self, families: Families) -> None:
        self.are_answered = False
        self._families = families
        # Subscriptions, and questions for which it is too early, by node and ticket.
        self._asked: dict[str, dict[int, Subscribe | Get]] = {}
        # Subscriptions by family; a dict for its order.
        self._subscribers: dict[str, dict[tuple[str, int], None]] = {}

    def answer(self) -> list[Effect]:
        """Answer all that was asked, and from now on at once."""
        self.are_answered = True
        asked, self._asked = self._asked, {}
        return [
            effect
            for node_id, requests in asked.items()
            for request in requests.values()
            for effect in self.ask(node_id, request)
        ]

    def ask(self, node_id: str, request: Subscribe | Get) -> list[Effect]:
        """Take what a node asks for. Returns the answer, or nothing while it is too early for one."""
        self.cancel(node_id, request.ticket)
        if not self.are_answered or isinstance(request, Subscribe):
            self._asked.setdefault(node_id, {})[request.ticket] = request
        if not self.are_answered:
            return []
        if isinstance(request, Subscribe):
            self._subscribers.setdefault(request.family, {})[node_id, request.ticket] = None
        answer = read(self._families, request.family, request.key if isinstance(request, Get) else None)
        return to_node(node_id, messages.view(request.ticket, answer))

    def cancel(self, node_id: str, ticket: int) -> None:
        """Forget what a node has asked for under a ticket. Does nothing if there is no such request."""
        requests = self._asked.get(node_id, {})
        request = requests.pop(ticket, None)
        if request is None:
            return
        if not requests:
            del self._asked[node_id]
        subscribers = self._subscribers.get(request.family, {})
        subscribers.pop((node_id, ticket), None)
        if not subscribers:
            self._subscribers.pop(request.family, None)

    def forget(self, node_id: str) -> None:
        """Forget all that a node has asked for, because it is gone."""
        for ticket in tuple(self._asked.get(node_id, ())):
            self.cancel(node_id, ticket)

    def tell(self, changes: Mapping[str, Difference]) -> Iterable[Effect]:
        """Tell the nodes that have subscribed to a family what has changed in it."""
        for family, change in changes.items():
            for node_id, ticket in self._subscribers.get(family, ()):
                entries = {**change.added, **change.changed}
                yield from to_node(node_id, messages.change(ticket, entries, change.deleted))


@dataclass(slots=True, eq=False)
class _Reading:
    """A family that is followed here, or a question.

    Attributes:
      family, key: what is asked for; without a key the whole family.
      question: the number of the question; 0 if the family is followed.
      ticket: under which the anchor was asked for it.
      table: what is known of it, if it is followed and once it is.
      entries, deleted: of a table or a change that comes in several messages, what has come.
    """

    family: str
    key: str | None = None
    question: int = 0
    ticket: int = 0
    table: Table | None = None
    entries: Table = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    @property
    def request(self) -> Message:
        """How the anchor is asked for it."""
        if self.question:
            return messages.get(self.ticket, self.family, self.key)
        return messages.subscribe(self.ticket, self.family)


class Views:
    """What the programs of this node read: families that they follow, and questions.

    Args:
      families: what they read as soon as this node is global.
    """

    def __init__(self, families: Families) -> None:
        self._families = families
        self._followed: dict[str, _Reading] = {}
        self._questions: dict[int, _Reading] = {}
        self._by_ticket: dict[int, _Reading] = {}
        self._counter = 0

    def table(self, family: str) -> Table | None:
        """What is known of a family that is followed; changes come into force in this very dict."""
        return self._followed[family].table

    def known(self, family: str) -> Table:
        """What is known of a family by following it; nothing if it is not followed, or has not come."""
        reading = self._followed.get(family)
        return reading.table if reading is not None and reading.table is not None else {}

    def follow(self, family: str) -> Message | None:
        """Follow a family. Returns what to ask the anchor; None if the family is followed already."""
        if family in self._followed:
            return None
        reading = self._followed[family] = _Reading(family)
        return self._request(reading)

    def unfollow(self, family: str) -> Message:
        """Follow a family no longer. Returns what to say to the anchor."""
        reading = self._followed.pop(family)
        self._by_ticket.pop(reading.ticket, None)
        return messages.unsubscribe(reading.ticket)

    def ask(self, family: str, key: str | None) -> tuple[int, Message]:
        """Ask for a family, or for one key of it. Returns the number of the question, and what to ask the anchor."""
        self._counter += 1
        reading = self._questions[self._counter] = _Reading(family, key, self._counter)
        return reading.question, self._request(reading)

    def forget(self, question: int) -> None:
        """Do not wait for the answer to a question any more. Does nothing if it has come."""
        reading = self._questions.pop(question, None)
        if reading is not None:
            self._by_ticket.pop(reading.ticket, None)

    def requests(self) -> list[Message]:
        """Ask a new anchor for everything: under new tickets, so that nothing older is mixed with what comes."""
        self._by_ticket.clear()
        return [self._request(reading) for reading in (*self._followed.values(), *self._questions.values())]

    def receive(self, from_id: str, message: View | ViewChange) -> Iterable[Effect]:
        """Take what the anchor says of a table."""
        reading = self._by_ticket.get(message.ticket)
        if reading is None:
            # No program wants that table any more.
            return
        if isinstance(message, ViewChange):
            if reading.table is None:
                yield Ignored(from_id, "a change of a table that has not come")
                return
            reading.deleted += message.deleted
        reading.entries.update(message.entries)
        if not message.last:
            return
        entries, reading.entries = reading.entries, {}
        deleted, reading.deleted = reading.deleted, []
        if isinstance(message, View):
            yield from self._know(reading, entries)
        elif reading.table is not None and (change := update(reading.table, entries, deleted)):
            yield Changed(reading.family, change)

    def read_all(self) -> Iterable[Effect]:
        """Read all that programs follow and have asked for from this node's own database, which is whole now."""
        self._by_ticket.clear()
        for reading in (*self._followed.values(), *self._questions.values()):
            yield from self.read(reading.family, reading.question)

    def read(self, family: str, question: int = 0) -> Iterable[Effect]:
        """Read one family that is followed, or the table that one question is about, from this node's own database."""
        reading = self._questions[question] if question else self._followed[family]
        return self._know(reading, read(self._families, family, reading.key))

    def tell(self, changes: Mapping[str, Difference]) -> Iterable[Effect]:
        """Change the tables that programs follow as the families of this node, which is global, have changed."""
        for family, (added, changed, deleted) in changes.items():
            reading = self._followed.get(family)
            if reading is not None and reading.table is not None:
                yield Changed(family, update(reading.table, {**added, **changed}, deleted))

    def _request(self, reading: _Reading) -> Message:
        self._counter += 1
        reading.ticket = self._counter
        reading.entries, reading.deleted = {}, []
        self._by_ticket[reading.ticket] = reading
        return reading.request

    def _know(self, reading: _Reading, table: Table) -> Iterable[Effect]:
        """Take a whole table for a family that is followed, or for a question. Says so to who reads it."""
        if reading.question:
            self.forget(reading.question)
            yield Answer(reading.question, table)
        elif reading.table is None:
            reading.table = table
            yield Opened(reading.family)
        elif change := difference(reading.table, table):
            reading.table = table
            yield Changed(reading.family, change)


def read(families: Families, family: str, key: str | None) -> Table:
    """A family, or only one key of it."""
    return families.table(family) if key is None else families.find(family, key)


def to_node(node_id: str, told: Iterable[Message]) -> list[Effect]:
    """Send these messages to a node."""
    return [Send(node_id, message) for message in told]
