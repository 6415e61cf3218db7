"""The shared database at run time: `node.database`.

What the database is, and who tells whom what, is in `_protocol/database/replica.py`; this does what it says.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import Any

import trio

from .._errors import PortDied, RemoteProtocolError
from .._events import fields
from .._ids import PortReference
from .._ports.port import Port, state_of
from .._ports.port_state import Owned
from .._protocol.database.effects import Answer, Changed, Effect, Grace, Ignored, Opened, Refused
from .._protocol.database.entries import check_entry, check_text, is_port_id, named_entry, read_port
from .._protocol.database.messages import WORD
from .._protocol.database.records import FAMILIES, NODES, TOOLS, Table
from .._protocol.database.replica import Replica
from .._protocol.membership.messages import Addresses
from .._protocol.membership.rules import (
    AddressesChanged,
    Attached,
    BecameGlobal,
    Detached,
    GlobalDown,
    GlobalUp,
    GuestUp,
    MembershipEffect,
)
from .._protocol.schema import Send
from .._reason import no_such_port
from .._runtime import Runtime
from .certified import RecordJudge, wait_certificates
from .changes import Change, FamilyWatch, copy_table
from .effect_queue import EffectQueue
from .registrations import EntryOfPeer, OwnedEntry, Registration

_LOOKED_AT = 1000
"""At how many entries of a family a lookup looks, of which the first one mostly names a port."""

RESERVED = "trio_mp."
"""How the names of families begin that are the package's own."""

GRACE = 10.0
"""How long entries that may be outdated are kept until something newer comes, in seconds: those of nodes whose global
node is lost, which look for another one; those of nodes that have moved; the tables of a node that became global."""

log = logging.getLogger("trio_mp.database")


class _Question:
    """A question to the database, for whose answer a task waits."""

    __slots__ = ("answer", "answered")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: Table | None = None


class Database:
    """The database that all nodes of a network share: families, which are named tables of keys and values.

    Every entry belongs to the node that has set it. It is seen by all nodes a little later, and it goes when its node
    closes, dies or is cut off. If several nodes have set the same key, all see the value of the node with the greatest
    node ID, compared as bytes; when that one's entry goes, the next one's shows again.

    `set`, `delete` and `register` are sync and never block. What reads is async: a node with seeds asks the global node
    that it is attached to, and waits while it is attached to none; give such a wait a time limit with a cancel scope.
    """

    def __init__(self, runtime: Any, *, is_global: bool) -> None:
        # `Any` in the signature: type checkers of programs need not read the modules that are not for users.
        self._runtime: Runtime = runtime
        self._notary = runtime.network.notary if runtime.network is not None else None
        sign = self._notary.sign if self._notary is not None else None
        judge = RecordJudge(self._notary, runtime.environment.wall_clock)
        started = judge.now()
        self._replica = Replica(runtime.id, started=started, incarnation=runtime.incarnation, judge=judge, sign=sign)
        self._effects = EffectQueue(self._do)
        self._watches: dict[str, dict[FamilyWatch, None]] = {}
        self._questions: dict[int, _Question] = {}
        self._registrations: dict[tuple[str, str], Registration] = {}
        if is_global:
            self._execute(self._replica.become_global())
        # Others are told of a node that listens nowhere, too: then they know that they cannot dial it.
        self._say_where(())

    # What users do -------------------------------------------------------------------------------------------------

    def set(self, family: str, key: str, value: object = None) -> None:
        """Set an entry of this node; it replaces what this node has set there before. Not a checkpoint.

        Args:
          family: the name of the family; those that begin with `trio_mp.` are reserved.
          key: the key in it.
          value: what may travel in a message; it is a snapshot, taken now. Family, key and value together are at most
            32 KiB.

        Raises:
          TypeError, ValueError: the entry cannot be in the database; the text gives the place.
          PortDied: this is called by a task of a port that has died.
          trio.ClosedResourceError: the node is closed.
        """
        self._runtime.check_open()
        self._set(check_writable(family), check_text(key, "key"), value)

    def delete(self, family: str, *keys: str) -> None:
        """Delete entries of this node; keys that it has not set are left out. Not a checkpoint.

        Raises:
          what `set` raises.
        """
        self._runtime.check_open()
        family = check_writable(family)
        self._delete(family, [check_text(key, f"keys[{index}]") for index, key in enumerate(keys)])

    @trio.lowlevel.enable_ki_protection
    def register(self, family: str, port: str | PortReference, value: object = None, *, key: str | None = None) -> None:
        """Set an entry for a port; it is deleted when the port dies. Not a checkpoint.

        `set` and `delete` of the same entry take it away from the port.

        The port may be one of another node. This node monitors it then, and deletes the entry when that says that the
        port has died. A lost connection says nothing about the port: the entry stays, and this node asks again until
        the other one says whether the port lives. So the entry of a node that never comes back stays for as long as
        this node does. Where a port can be registered on its own node, do it there.

        Args:
          family, value: as for `set`.
          port: a port, or its ID. Of a reference its present life.
          key: the key of the entry, by which `whereis` finds the port. By default it is the ID of the port, and the
            value is the entry's; with a key the entry is a list of the port's ID and the value.

        Raises:
          PortDied: the port is one of this node, and dead.
          ValueError: `port` is a node port, or the key is the ID of another port.
          RuntimeError: the port is on another node, and this node has no network.
          what `set` raises.
        """
        self._runtime.check_open()
        family = check_writable(family)
        target = port.port if isinstance(port, PortReference) else port
        peer, name = self._runtime.route(target)
        if not name:
            node_id = target.removesuffix("#")
            todo = f"for an entry that names the node, write database.set({family!r}, {node_id!r})"
            raise ValueError(f"register(): expected a port, got the node port {port}; {todo}")
        owned: dict[Owned, None] = {}
        if peer is None:
            found = self._runtime.lifecycle.ports.get(name)
            if found is None:
                reason = state_of(target).reason if isinstance(target, Port) else no_such_port(str(target))
                raise PortDied(str(target), reason)
            owned = state_of(found).owned
        text = str.__str__(target)
        if key is not None:
            key = check_text(key, "key")
            if is_port_id(key) and key != text:
                raise ValueError(f"register(): expected a key that is no port ID, got {key!r}, which is another port")
            value = named_entry(text, value)
        key = text if key is None else key
        if peer is None:
            self._set_owned(family, key, value, owned)
            return
        self._set(family, key, value)
        self._registrations[family, key] = EntryOfPeer(self._runtime, text, lambda: self._delete(family, [key]))

    async def family(self, name: str) -> dict[str, Any]:
        """A family as it is now: keys and values. A checkpoint. Cancelled, it changes nothing.

        What this node has set before is in it. Waits while this node is attached to no global node.

        Raises:
          TypeError, ValueError: it is not the name of a family.
          trio.ClosedResourceError: the node is closed, or is closing before the answer has come.
        """
        self._runtime.check_open()
        return copy_table(await self._ask(_readable(name)))

    async def keys(self, name: str) -> list[str]:
        """The keys of a family as it is now. Waits and raises as `family` does. A checkpoint."""
        return list(await self.family(name))

    async def values(self, name: str) -> list[Any]:
        """The values of a family as it is now. Waits and raises as `family` does. A checkpoint."""
        return list((await self.family(name)).values())

    async def whereis(self, family: str, key: str) -> str | None:
        """The port that is registered under a key, or None. A checkpoint. Cancelled, it changes nothing.

        It reads entries of `register`, and those of supervised children that are listed under a name. If several nodes
        have registered the key, it is the port of the node with the greatest ID. The port may be dead when you send to
        it: monitor it, or call it.

        Raises:
          TypeError: the key is no str.
          what `family` raises.
        """
        self._runtime.check_open()
        key = check_text(key, "key")
        table = await self._ask(_readable(family), key)
        found = read_port(key, table[key]) if key in table else None
        return found[0] if found is not None else None

    async def wait(self, family: str) -> dict[str, Any]:
        """Wait until a family has an entry; at once if it has one. A checkpoint. Cancelled, it changes nothing.

        Returns:
          The family, keys and values, as it was then.

        Raises:
          what `family` raises.
        """
        async with self.watch(family) as changes:
            async for change in changes:
                if change.added:
                    return change.table
        raise AssertionError("changes never end")  # pragma: no cover

    def cached(self, family: str) -> dict[str, Any]:
        """A family as far as this node knows it, without asking anybody. Not a checkpoint.

        A global node, or one without a network, knows all. Another one knows what it has set itself and, for as long as
        something here follows the family, what others have set: a block of `watch`, or an open group.

        Raises:
          TypeError, ValueError: it is not the name of a family.
          trio.ClosedResourceError: the node is closed.
        """
        self._runtime.check_open()
        return copy_table(self._replica.known(_readable(family)))

    async def families(self) -> list[str]:
        """The names of all families in which programs have set something, sorted. A checkpoint.

        Waits while this node is attached to no global node.

        Raises:
          RuntimeError: the global node that this one is attached to is of an older version, which cannot say it.
          trio.ClosedResourceError: the node is closed, or is closing before the answer has come.
        """
        self._runtime.check_open()
        names = await self._ask(FAMILIES)
        if NODES not in names:
            # Each node has an entry there, so nobody who knows the question answers without it.
            raise RuntimeError(f"families(): {self._replica.anchor}, the global node of this one, cannot list families")
        return sorted(name for name in names if not name.startswith(RESERVED))

    @asynccontextmanager
    async def watch(self, name: str) -> AsyncGenerator[AsyncIterator[Change], None]:
        """Follow a family: `async with node.database.watch(name) as changes`, then `async for change in changes`.

        The first `Change` has the whole table, with all its keys as added. Each further one is one change. A node that
        moves to another global node sees what has changed meanwhile, in one.

        A slow reader delays nobody: at most 1,000 changed keys wait for it. When there are more, the node drops them,
        and the next `Change` is all that the reader has missed, in one, with `resynchronised` set.

        While this node is attached to no global node, no change comes, not even the first.
        Entering the block is a checkpoint; leaving it is none. Iterating raises `trio.ClosedResourceError` when the
        node is closed, and never ends otherwise.

        Raises:
          TypeError, ValueError: it is not the name of a family, or the one of the names of all families.
          trio.ClosedResourceError: the node is closed.
        """
        self._runtime.check_open()
        name = _readable(name)
        if name == FAMILIES:
            raise ValueError(f"watch(): expected a family that somebody sets, got {name!r}; use families()")
        await trio.lowlevel.checkpoint()
        with self._follow(name) as watch:
            yield watch

    # What other rooms of the package do ------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def _set_owned(self, family: str, key: str, value: object, owned: dict[Owned, None]) -> None:
        """Set an entry for an owner. Not a checkpoint.

        `set`, `delete` and this for the same entry take it away from the owner.

        Args:
          family, key, value: as for `set`, and checked.
          owned: what the owner owns. What is added there deletes the entry when it is cancelled.
        """
        self._set(family, key, value)
        self._registrations[family, key] = OwnedEntry(lambda: self._delete(family, [key]), owned)

    def _set_own(self, family: str, key: str, value: object) -> None:
        """As `set`, whichever port's task runs. The family was checked."""
        self._set(family, key, value)

    def _drop_own(self, family: str, key: str) -> None:
        """As `delete`, whichever port's task runs."""
        self._delete(family, [key])

    def _withdraw_ports(self) -> None:
        """Delete the entries of this node that name ports: nobody is to find them any more. Not a checkpoint.

        Call it when the node drains: from then on such entries are not set.
        """
        for family, table in self._replica.all_owned().items():
            if not family.startswith(RESERVED):
                self._delete(family, [key for key, value in table.items() if read_port(key, value) is not None])

    def _followed(self, family: str) -> Table:
        """What is known of a family that is watched: a reader's next change may be older.

        Unlike what `cached` says, it has what this node has set only when others see it too. It is not to be changed.
        """
        return self._replica.table(family) or {}

    async def _find_registered(self, family: str) -> str | None:
        """The ID of a port that is registered in a family, or None; of several the first one. A checkpoint.

        For `lookup`, the question of the node port. It looks at no more than a thousand entries.

        Raises:
          what `family` raises.
        """
        self._runtime.check_open()
        table = await self._ask(_readable(family))
        for key, value in islice(table.items(), _LOOKED_AT):
            found = read_port(key, value)
            if found is not None:
                return found[0]
        return None

    @contextmanager
    def _follow(self, name: str, news: trio.lowlevel.ParkingLot | None = None) -> Generator[FamilyWatch]:
        """Follow a family for the length of the block, as `watch` does.

        Args:
          name: the name of the family.
          news: a parking lot that is woken for each change; see `FamilyWatch`.
        """
        self._runtime.check_open()
        watch = FamilyWatch(lambda: self._replica.table(name), self._check_open, news)
        self._watches.setdefault(name, {})[watch] = None
        self._execute(self._replica.subscribe(name))
        try:
            yield watch
        finally:
            watch.close()
            del self._watches[name][watch]
            if not self._watches[name]:
                del self._watches[name]
                self._execute(self._replica.unsubscribe(name))

    # How it is done ------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def _set(self, family: str, key: str, value: object) -> None:
        value = check_entry(family, key, value)
        self._forget_registration(family, key)
        if self._runtime.standing.draining.is_set() and read_port(key, value) is not None:
            # As if it was withdrawn at once. To raise would make handlers fail that do what they were asked before.
            text = "%s/%s is not set: this node drains, and others are not to find its ports any more"
            log.info(text, family, key, extra=fields("draining", self._runtime.id))
            self._execute(self._replica.delete(family, [key]))
            return
        self._execute(self._replica.set(family, key, value))

    @trio.lowlevel.enable_ki_protection
    def _delete(self, family: str, keys: Iterable[str]) -> None:
        keys = list(keys)
        for key in keys:
            self._forget_registration(family, key)
        self._execute(self._replica.delete(family, keys))

    def _forget_registration(self, family: str, key: str) -> None:
        registration = self._registrations.pop((family, key), None)
        if registration is not None:
            registration.release()

    async def _ask(self, family: str, key: str | None = None) -> Table:
        number, effects = self._replica.ask(family, key)
        question = self._questions[number] = _Question()
        self._execute(effects)
        try:
            await question.answered.wait()
        finally:
            self._replica.forget(number)
            self._questions.pop(number, None)
        if question.answer is None:
            raise trio.ClosedResourceError(f"node {self._runtime.id} is closed")
        return question.answer

    @trio.lowlevel.enable_ki_protection
    def _execute(self, effects: Iterable[Effect]) -> None:
        """Do what the replica says."""
        self._effects.execute(effects)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Send(node_id, message):
                self._send(node_id, message)
            case Opened(family):
                self._note(family, self._replica.table(family) or {})
                for watch in self._watches.get(family, ()):
                    watch.wake()
            case Changed(family, change):
                self._note(family, {**change.added, **change.changed})
                for watch in self._watches.get(family, ()):
                    watch.put(change)
            case Answer(number, table):
                question = self._questions.get(number)
                if question is not None:
                    question.answer = table
                    question.answered.set()
            case Grace(node_id, token):
                self._runtime.lifecycle.start_system_task(self._expire_later, node_id, token)
            case Ignored(from_id, why):
                complain = self._runtime.errands.complain
                complain(from_id, "not used", log, "%s: this node ignores %s", from_id, why, level=logging.INFO)
            case Refused(from_id, why):
                # One kind for all records, because the node that brings them could invent any number of owners.
                self._runtime.errands.complain(from_id, "refused", log, "%s: this node refuses %s", from_id, why)

    async def _renew_voucher(self) -> None:
        """Sign this node's own record anew each time that the node has another certificate. Never returns."""
        await wait_certificates(self._notary, lambda: self._execute(self._replica.renew()))

    def _note(self, family: str, entries: Table) -> None:
        if family == NODES:
            for tell in self._runtime.observers.listed:
                tell(entries)

    def _send(self, node_id: str, message: tuple[object, ...]) -> None:
        network = self._runtime.network
        assert network is not None
        peer = network.peer(node_id)
        if peer.is_up():
            try:
                peer.send("", message)
            except (TypeError, ValueError) as error:
                # That node takes smaller messages than all others do, or a framing that lacks some values.
                complain = self._runtime.errands.complain
                complain(node_id, "size", log, "%s: the answer for that node cannot be sent: %s", node_id, error)

    async def _expire_later(self, node_id: str, token: int) -> None:
        await trio.sleep(GRACE)
        try:
            self._execute(self._replica.expire(node_id, token))
        except Exception:
            # An error about what others said ends their connection. Here that has ended already, so the log has it:
            # it must not end this node.
            log.exception(
                "%s: an error in this program, while the entries by way of that node were forgotten",
                node_id,
                extra=fields("own_error", self._runtime.id, peer=node_id),
            )

    def _check_open(self) -> None:
        if self._runtime.closed:
            raise trio.ClosedResourceError(f"node {self._runtime.id} is closed")

    def _closed(self) -> None:
        """See `Observers.ended`. Wakes all tasks that wait for an answer or a change, so that they raise."""
        for question in self._questions.values():
            question.answered.set()
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()

    # Its place in the network --------------------------------------------------------------------------------------

    def _went_down(self, node_id: str) -> None:
        """See `Observers.down`."""
        self._execute(self._replica.node_down(node_id))

    def _observe(self, effect: MembershipEffect, global_nodes: Iterable[str]) -> None:
        """Take up a change of this node's place in the network, or of another node's.

        Args:
          effect: what has changed.
          global_nodes: the IDs of the global nodes that this one knows.
        """
        match effect:
            case BecameGlobal():
                self._execute(self._replica.become_global(global_nodes))
            case Attached(anchor):
                self._execute(self._replica.attached(anchor))
            case Detached():
                self._execute(self._replica.detached())
            case GuestUp(node_id):
                self._replica.guest_up(node_id)
            case GlobalUp(node_id):
                self._execute(self._replica.global_up(node_id))
            case GlobalDown(node_id):
                self._execute(self._replica.global_down(node_id))
            case AddressesChanged(addresses):
                self._say_where(addresses)
            case _:
                pass

    def _receive(self, from_id: str, arguments: tuple[object, ...]) -> bool:
        """Serve a request of another node that is about the database; see `NodePort`."""
        try:
            self._execute(self._replica.receive(from_id, (WORD, *arguments)))
        except RemoteProtocolError as error:
            complain = self._runtime.errands.complain
            complain(from_id, "database", log, "%s: a request is not understood: %s", from_id, error)
        return True

    def _say_where(self, addresses: Addresses) -> None:
        family = TOOLS if self._runtime.settings.tool else NODES
        self._execute(self._replica.set(family, self._runtime.id, [self._runtime.incarnation, *addresses]))


class ListedNodes:
    """The family of nodes in a database: a `Directory`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def held_nodes(self) -> Table:
        """See `Directory.held_nodes`."""
        return self._database._replica.held(NODES)

    async def find_listed(self, node_id: str) -> Table | None:
        """See `Directory.find_listed`."""
        replica = self._database._replica
        if replica.is_global or replica.anchor is not None:
            return await self._database._ask(NODES, node_id)
        await trio.lowlevel.checkpoint()
        return None


def _readable(name: object) -> str:
    family = check_text(name, "family")
    # The network is not asked for a name that no entry can have: this raises for it at the call.
    check_entry(family, "", None)
    return family


def check_writable(name: object) -> str:
    """The name of a family in which programs may set entries. Raises `TypeError` or `ValueError`."""
    family = check_text(name, "family")
    if family.startswith(RESERVED):
        raise ValueError(
            f"family: expected one that does not begin with {RESERVED!r}, as those of the package do, got {family!r}"
        )
    return family
