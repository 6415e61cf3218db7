"""The ports of a node, as an inspection shows them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import trio

from .._ports.handlers import Handler
from .._ports.lifecycle import Lifecycle
from .._ports.port import Port
from .._ports.port_state import PortState
from .._ports.reply_port import ReplyPort
from .._reason import describe
from .errors import Unanswered
from .ranking import Ranking
from .slices import STRIDE, Slices
from .texts import name_of, program_function, shortened, without_ids
from .views import PortPage, PortView

ORDERS = ("queue", "age", "rate")
"""By what ports can be ordered: the longest queue, the oldest, the busiest first."""

MOST = 1000
"""How many ports a page has, at most: fewer than 600 KiB."""

KEPT_FOR = 60.0
"""For how many seconds an order is kept after a page of it was asked for."""

KEPT_OF_ONE = 2
"""How many orders are kept of one node that asks."""

KEPT = 16
"""How many orders are kept in all."""


class Numbers:
    """The numbers of ports: running ones, given when a port is shown for the first time, so that others cost nothing.

    Names of ports are never used twice, so neither are numbers.

    Args:
      lifecycle: the ports.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._latest = 0
        self._tidied = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def of(self, port: Port) -> int:
        """The number of a port."""
        name = port.name
        number = self._numbers.get(name)
        if number is None:
            self._latest += 1
            number = self._numbers[name] = self._latest
            self._names[number] = name
        return number

    def find(self, number: int) -> Port:
        """The port of this number, alive or unwinding. Raises `Unanswered`."""
        name = self._names.get(number)
        port = self._lifecycle.find(name) if name is not None else None
        if port is None:
            raise Unanswered("gone", f"there is no port {number} on {self._lifecycle.id}, or it has died")
        return port

    async def tidy(self, slices: Slices) -> None:
        """Forget ports that are gone, now and then. A checkpoint, if that takes longer than a slice."""
        if len(self._numbers) < 2 * self._tidied + MOST:
            return
        for place, (name, number) in enumerate(tuple(self._numbers.items())):
            if self._lifecycle.find(name) is None:
                self._numbers.pop(name, None)
                self._names.pop(number, None)
            if place % STRIDE == 0:
                await slices.pause()
        self._tidied = len(self._numbers)


class _Kept:
    """An order that is kept, because not all of its pages have been asked for.

    Attributes:
      asker: the ID of the node that has asked for it.
      ranking: the order.
      until: until when it is kept, by Trio's clock.
    """

    __slots__ = ("asker", "ranking", "until")

    def __init__(self, asker: str, ranking: Ranking) -> None:
        self.asker = asker
        self.ranking = ranking
        self.until = 0.0


class PortLister:
    """Answers what is asked about the ports of a node.

    Args:
      lifecycle: the ports.

    Attributes:
      numbers: those of the ports.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self.numbers = Numbers(lifecycle)
        # By their tokens, the one that was used longest ago first.
        self._kept: dict[str, _Kept] = {}
        self._tokens = 0
        self._scope: trio.CancelScope | None = None

    async def page(self, asker: str, by: str, limit: int, after: str | None, slices: Slices, *, ids: bool) -> PortPage:
        """Some ports, in an order. A checkpoint, if it takes longer than a slice.

        Args:
          asker: the ID of the node that asks.
          by: one of `ORDERS`.
          limit: how many there may be.
          after: what the page before has said, or None for the first one.
          slices: those of this work.
          ids: whether the asker may know the IDs.

        Raises:
          Unanswered: the order is not kept any more.
        """
        await self.numbers.tidy(slices)
        token, start, kept = self._find(asker, by, after)
        if kept is None:
            kept = _Kept(asker, await self._rank(by, slices))
        found, following = await kept.ranking.page(start, limit, slices)
        views = []
        for port in found:
            # It may have died since.
            if self._is_there(port):
                views.append(self.view(port, ids=ids))
            await slices.pause()
        if following is None:
            self._kept.pop(token, None)
            return PortPage(views, None, self._count())
        token = token or self._new_token()
        self._keep(token, kept)
        return PortPage(views, f"{by}.{token}.{following}", self._count())

    def view(self, port: Port, *, ids: bool) -> PortView:
        """What is shown of a port, with its ID or without."""
        state = port._state if isinstance(port._state, PortState) else None
        messages, size = queued_in(port)
        reason = describe(state.reason) if state is not None and not port.alive else ""
        return PortView(
            number=self.numbers.of(port),
            function=function_of(port),
            kind=_kind_of(port, state),
            state="unwinding" if not port.alive else "busy" if state is not None and state.busy else "idle",
            queued=messages,
            queued_size=size,
            monitors=len(state.monitors) if state is not None else 0,
            tasks=state.tasks if state is not None else 0,
            reason=shortened(reason if ids else without_ids(reason)),
            id=str.__str__(port) if ids else None,
        )

    def _is_there(self, port: Port) -> bool:
        return self._lifecycle.find(port.name) is port

    def _count(self) -> int:
        return len(self._lifecycle.ports) + len(self._lifecycle.unwinding)

    async def _rank(self, by: str, slices: Slices) -> Ranking:
        # Both tables at one moment, so that no port is missed that moves from the one to the other. A dict keeps the
        # order in which ports were made.
        ports = [*self._lifecycle.unwinding.values(), *self._lifecycle.ports.values()]
        keys: array[float] | None = None
        if by != "age":
            keys = array("d", bytes(8 * len(ports)))
            for start in range(0, len(ports), STRIDE):
                for index in range(start, min(start + STRIDE, len(ports))):
                    port = ports[index]
                    # Most ports have no state, and nothing waits in those.
                    if port._state is not None:
                        keys[index] = -queued_in(port)[0]
                await slices.pause()
        ranking = Ranking(ports, keys, self._is_there)
        await ranking.sort(slices)
        return ranking

    # The orders that are kept --------------------------------------------------------------------------------------

    def _find(self, asker: str, by: str, after: str | None) -> tuple[str, int, _Kept | None]:
        if after is None:
            return "", 0, None
        order, _, rest = after.partition(".")
        token, _, place = rest.partition(".")
        kept = self._kept.get(token)
        if order != by or not (place.isdecimal() and place.isascii()) or len(place) > 9:
            raise Unanswered("bad_question", f"after: expected what the page before said, ordered by {by}")
        if kept is None or kept.asker != asker or kept.until < trio.current_time():
            raise Unanswered(
                "gone",
                f"the node keeps an order of ports for {KEPT_FOR:g} seconds, and {KEPT_OF_ONE} for each node that asks;"
                " begin again with the first page",
            )
        return token, int(place), kept

    def _new_token(self) -> str:
        self._tokens += 1
        return str(self._tokens)

    def _keep(self, token: str, kept: _Kept) -> None:
        self._kept.pop(token, None)
        self._kept[token] = kept
        kept.until = trio.current_time() + KEPT_FOR
        mine = [one for one, other in self._kept.items() if other.asker == kept.asker]
        for one in mine[:-KEPT_OF_ONE]:
            del self._kept[one]
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        if self._scope is None:
            self._scope = self._lifecycle.start_system_task(self._forget_kept)

    async def _forget_kept(self) -> None:
        """Forget orders whose time is up: they keep ports in memory that have died."""
        try:
            while self._kept:
                # Each use puts an order behind the others, with a later end.
                await trio.sleep_until(next(iter(self._kept.values())).until)
                now = trio.current_time()
                for token in [token for token, kept in self._kept.items() if kept.until <= now]:
                    del self._kept[token]
        finally:
            self._scope = None


def queued_in(port: Port) -> tuple[int, int]:
    """How many messages wait in a port, and how many bytes those of other nodes take."""
    state = port._state
    if not isinstance(state, PortState):
        return 0, 0
    messages = size = 0
    if state.pending is not None:
        messages, size = len(state.pending), state.pending.size
    if state.mailbox is not None:
        messages, size = messages + len(state.mailbox), size + state.mailbox.size
    return messages, size


def function_of(port: Port) -> str:
    """The function that a port runs: that of a task, else one of its handlers; empty if it has none."""
    state = port._state if isinstance(port._state, PortState) else None
    if state is not None:
        for task in state.scopes.values():
            name = program_function(task)
            if name:
                return name
    for handler in _handlers_of(port, state):
        return name_of(handler)
    return ""


def _handlers_of(port: Port, state: PortState | None) -> Iterable[Handler]:
    """The handlers that a program has given a port: neither its mailbox nor the call of a reply port."""
    if isinstance(port, ReplyPort):
        return
    if state is None:
        yield from (port._tags or {}).values()
        if port._default is not None:
            yield port._default
        return
    yield from state.handlers.tags.values()
    for _, handler, _ in state.handlers.patterns:
        yield handler
    if state.handlers.default is not None:
        yield state.handlers.default


def _kind_of(port: Port, state: PortState | None) -> str:
    if isinstance(port, ReplyPort):
        return "reply"
    if state is None:
        return "handlers"
    # A handler that is async runs in a task, too.
    if state.tasks > state.busy:
        return "task"
    return "mailbox" if state.mailbox is not None else "handlers"
