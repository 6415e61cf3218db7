"""The shared database, as one node holds it: what it has set, what others have told it, and whom it tells what.

A global node is the *anchor* of the nodes that are attached to it. It holds its own record and theirs, and tells the
other global nodes of them; of each of those it holds a *mirror*: the records that one speaks for. The database is the
merge of it all. Who holds an outdated copy shows in the version: a record that has moved to another anchor has been
attached once more, so it wins even before the old anchor has noticed.

- When the connection with an attached node is lost its record goes, and the other global nodes hear of it.
- When an attached node becomes global, or is attached elsewhere, its anchor speaks for it until somebody else does. So
  nobody sees its entries go; see `copies.py`.
- When the connection with a global node is lost its own record goes, and the rest of its mirror is kept for a while:
  if it is dead its nodes are about to move, and their entries are not to vanish meanwhile.
- With every new connection everything is said anew, and replaces what was known: no message of before matters. A global
  node says it when the other one has asked (`pull`), which that one does when it knows that this one is global; so none
  hears it too early.

Every other node holds its own record, and of the database what it asks its anchor for: families, and their changes.
When it moves it asks again, and its readers see the difference between what they had and the new table. So they do when
it becomes global: they keep what they have until the global nodes that it was told of have said all that they speak
for, and a record has come of each node that one of these calls moved; at most for a while, and until then it answers
nobody.

Nothing here blocks, reads a clock or does I/O: what is to be done goes out as effects.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..._errors import LocalProtocolError
from ..schema import Message
from . import messages as messages
from .copies import Copies
from .effects import Effect, Ignored, Refused
from .messages import Again, Get, Leave, Pull, Subscribe, Unsubscribe, View, ViewChange
from .records import VOUCHERS, Record, Table, Version
from .tables import Readers, Views, read, to_node
from .vouchers import Judge, Sign, believe, make_voucher


class Replica:
    """What one node holds of the database.

    Args:
      node_id: its ID.
      started: when this run of it began, by its wall clock, in nanoseconds.
      incarnation: the random token of the run.
      judge: says why a record may not be taken from a node; by default each is taken from whoever may speak at all.
      sign: signs vouchers; without it there are none.

    Attributes:
      is_global: whether it holds the whole database.
      anchor: the global node that it is attached to, if it is.

    Every method that changes something returns what is to be done, in order.
    """

    def __init__(
        self, node_id: str, *, started: int, incarnation: str, judge: Judge = believe, sign: Sign | None = None
    ) -> None:
        self.id = node_id
        self.is_global = False
        self.anchor: str | None = None
        self._sign = sign
        self._own = Record(Version(started, incarnation, 0, 0))
        self._copies = Copies(node_id, self._own, judge)
        self._families = self._copies.families
        self._readers = Readers(self._families)
        self._views = Views(self._families)
        # The global nodes that are connected (dicts for their order), the nodes attached here, and those that want to
        # hear all we speak for.
        self._globals: dict[str, None] = {}
        self._guests: dict[str, None] = {}
        self._pulled: dict[str, None] = {}
        # Since this node has become global: the global nodes that have not said yet all that they speak for, and the
        # token of the time for which they are waited for.
        self._awaited: dict[str, None] = {}
        self._patience = 0

    # What the programs of this node do -----------------------------------------------------------------------------

    def set(self, family: str, key: str, value: object) -> list[Effect]:
        """Set an entry of this node; family, key and value as `check_text` and `check_entry` return them."""
        return self._told(self._copies.set_own(family, key, value))

    def delete(self, family: str, keys: Iterable[str]) -> list[Effect]:
        """Delete those entries of this node that there are."""
        return self._told(self._copies.delete_own(family, keys))

    def owned(self, family: str) -> Table:
        """What this node itself has set in a family."""
        return dict(self._own.tables.get(family, ()))

    def all_owned(self) -> dict[str, Table]:
        """What this node itself has set, by family."""
        return {family: dict(table) for family, table in self._own.tables.items()}

    def subscribe(self, family: str) -> list[Effect]:
        """Follow a family: `Opened` comes when its table is known, then `Changed` each time that it changes."""
        request = self._views.follow(family)
        if request is None:
            return []
        return list(self._views.read(family)) if self._is_complete() else self._ask_anchor([request])

    def unsubscribe(self, family: str) -> list[Effect]:
        """Follow a family no longer."""
        return self._ask_anchor([self._views.unfollow(family)])

    def table(self, family: str) -> Table | None:
        """The table of a family that is followed, or None as long as it is not known. It is not to be changed."""
        return self._views.table(family)

    def held(self, family: str) -> Table:
        """The table of a family in what this node holds: all of it if this node is global. It is not to be changed."""
        return read(self._families, family, None)

    def known(self, family: str) -> Table:
        """The table of a family as far as this node knows it now, without asking: what it holds, and what it follows.

        The table is not to be changed.
        """
        held = self.held(family)
        # What this node has set is in what it holds, and comes to those who follow a moment later.
        return held if self._is_complete() else {**held, **self._views.known(family)}

    def ask(self, family: str, key: str | None = None) -> tuple[int, list[Effect]]:
        """Ask for the table of a family, or for one key of it; it comes as an `Answer` with the number returned."""
        number, request = self._views.ask(family, key)
        return number, list(self._views.read(family, number)) if self._is_complete() else self._ask_anchor([request])

    def forget(self, question: int) -> None:
        """Do not wait for the answer to a question any more. Does nothing if it has come."""
        self._views.forget(question)

    # Its place in the network --------------------------------------------------------------------------------------

    def become_global(self, others: Iterable[str] = ()) -> list[Effect]:
        """Hold the whole database from now on, for good. A node without a network is all of one by itself.

        Args:
          others: the global nodes that this node was told of, which are about to be connected.
        """
        if self.is_global:
            return []
        self.is_global, self.anchor = True, None
        self._copies.attach()
        self._copies.news.clear()
        effects = [effect for node_id in self._globals for effect in self._meet(node_id)]
        self._copies.elsewhere.clear()
        self._awaited = dict.fromkeys(others)
        if self._awaited:
            self._patience = self._copies.begin_grace(self.id)
            return effects + self._told(())
        return effects + self._complete()

    def attached(self, anchor: str) -> list[Effect]:
        """Attach this node to a global node, its anchor from now on. If it has another anchor, it leaves that.

        Raises:
          LocalProtocolError: this node is global itself.
        """
        if self.is_global:
            raise LocalProtocolError(f"expected a node that is not global to attach to {anchor}, got {self.id}")
        leave = self._ask_anchor([messages.LEAVE]) if self.anchor != anchor else []
        self.anchor = anchor
        self._copies.attach()
        self._vouch(anchor)
        return leave + self._ask_anchor([*messages.batch({self.id: self._own}, whole=True), *self._views.requests()])

    def renew(self) -> list[Effect]:
        """Sign the voucher anew: this node has another certificate."""
        if self.anchor is None:
            return []
        self._vouch(self.anchor)
        # All of it: some may have refused the record with the voucher of before, and know nothing of it.
        return self._ask_anchor(messages.batch({self.id: self._own}, whole=True))

    def detached(self) -> list[Effect]:
        """Take it that the anchor is lost. What it has said is kept until there is another one."""
        self.anchor = None
        return []

    def guest_up(self, node_id: str) -> None:
        """Take it that a node has attached itself to this one, by the connection that there is now."""
        self._guests[node_id] = None

    def global_up(self, node_id: str) -> list[Effect]:
        """Take it that a connection with a global node is up, or that a connected node has become global."""
        self._globals[node_id] = None
        if self.is_global and not self._is_complete():
            # Another node that was attached to the same one may become global at the same time: of such a node the
            # others say no more than that it has moved, and readers are to miss nothing.
            self._awaited[node_id] = None
        return self._meet(node_id) if self.is_global else []

    def global_down(self, node_id: str) -> list[Effect]:
        """Take it that the connection with a global node is lost, or that the node is none any more."""
        if node_id not in self._globals:
            return []
        del self._globals[node_id]
        self._copies.lose_global(node_id)
        return self._told(())

    def node_down(self, node_id: str) -> list[Effect]:
        """Take it that the connection with a node is lost, whatever kind of node it is."""
        effects = self.global_down(node_id)
        if self.anchor == node_id:
            self.anchor = None
        self._guests.pop(node_id, None)
        self._pulled.pop(node_id, None)
        self._readers.forget(node_id)
        self._copies.lose_attached(node_id)
        return effects + self._told(())

    def expire(self, node_id: str, token: int) -> list[Effect]:
        """End the time of a `Grace`. Does nothing if what was kept for that time is not needed any more."""
        self._copies.expire(node_id, token)
        if token == self._patience:
            self._awaited.clear()
            self._copies.elsewhere.clear()
        return self._told(())

    # What others say -----------------------------------------------------------------------------------------------

    def receive(self, from_id: str, message_untrusted: Message) -> list[Effect]:
        """Take a message from another node; it begins with `"db"`.

        Raises:
          RemoteProtocolError: no node sends that. Nothing has changed.
        """
        effects: list[Effect] = []
        match messages.parse(message_untrusted):
            case Pull():
                self._pulled[from_id] = None
                if self.is_global and from_id in self._globals:
                    effects += self._speak(from_id)
            case Leave():
                self._copies.leave(from_id)
                self._readers.forget(from_id)
            case Subscribe() | Get() as request:
                effects += self._readers.ask(from_id, request)
            case Again(number):
                # A node that has another anchor by now does not answer.
                if from_id == self.anchor:
                    effects += to_node(from_id, messages.batch({self.id: self._own}, whole=True, answers=number))
            case Unsubscribe(ticket):
                self._readers.cancel(from_id, ticket)
            case View() | ViewChange() as part:
                if from_id == self.anchor:
                    effects += self._views.receive(from_id, part)
                else:
                    effects.append(Ignored(from_id, "a table from a node that is not the anchor"))
            case about_records:
                if from_id in self._globals or from_id in self._guests:
                    why = self._copies.receive(from_id, from_id in self._globals, about_records)
                else:
                    # What is sent while a connection is being given back may come by the next one, when its sender has
                    # long been attached elsewhere.
                    why = "something from a node that is neither global nor attached here"
                if why:
                    effects.append(Ignored(from_id, why))
        return effects + self._told(())

    # Whom this node tells what -------------------------------------------------------------------------------------

    def _meet(self, node_id: str) -> list[Effect]:
        """Ask another global node for all that it speaks for, and answer if it has asked already."""
        return to_node(node_id, [messages.PULL]) + (self._speak(node_id) if node_id in self._pulled else [])

    def _speak(self, node_id: str) -> list[Effect]:
        records, have_moved = self._copies.spoken_for(), self._copies.have_moved()
        return to_node(node_id, messages.batch(records, whole=True, have_moved=have_moved))

    def _ask_anchor(self, told: Iterable[Message]) -> list[Effect]:
        return to_node(self.anchor, told) if self.anchor is not None else []

    def _vouch(self, anchor: str) -> None:
        """Name the anchor of this node's record, signed, in the record; nobody is told."""
        if self._sign is None:
            return
        voucher = make_voucher(self.id, self._own.version, anchor, self._sign)
        if voucher:
            self._copies.set_own(VOUCHERS, self.id, voucher)
        else:
            self._copies.delete_own(VOUCHERS, [self.id])

    def _asides(self) -> list[Effect]:
        """Ask attached nodes again that others say have moved, and report what was refused."""
        copies = self._copies
        questions, copies.questions = copies.questions, []
        refused, copies.refused = copies.refused, []
        asked = [effect for node_id, number in questions for effect in to_node(node_id, [messages.again(number)])]
        return [*asked, *(Refused(from_id, why) for from_id, why in refused)]

    def _told(self, own: Iterable[Message]) -> list[Effect]:
        """Tell everybody what has changed; `own` says what has changed in this node's own record."""
        told, self._copies.news = self._copies.news, []
        graces, self._copies.graces = self._copies.graces, []
        asides = self._asides()
        if not self.is_global:
            self._families.take_changes()
            return [*graces, *asides, *self._ask_anchor(own)]
        told += own
        listeners = [node_id for node_id in self._globals if node_id in self._pulled]
        effects: list[Effect] = [*graces, *asides]
        effects += [effect for node_id in listeners for effect in to_node(node_id, told)]
        elsewhere = self._copies.elsewhere
        if self._is_complete():
            elsewhere.clear()
            changes = self._families.take_changes()
            return [*effects, *self._views.tell(changes), *self._readers.tell(changes)]
        self._awaited = {node_id: None for node_id in self._awaited if not self._copies.is_told_by(node_id)}
        return effects if self._awaited or elsewhere else effects + self._complete()

    def _is_complete(self) -> bool:
        """Whether this node is global and answers readers from what it holds itself."""
        return self._readers.are_answered

    def _complete(self) -> list[Effect]:
        """Answer readers, from now on, from what this node holds itself."""
        # Readers are told everything below, so no single change is news to them.
        self._families.take_changes()
        return [*self._views.read_all(), *self._readers.answer()]
