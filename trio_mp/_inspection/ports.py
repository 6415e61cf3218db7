"""The ports of a node, as an inspection shows them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import trio

from .._ports.handlers import Handler
from .._ports.lifecycle import Lifecycle
from .._ports.port import Port, queued_in
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

RATE = "rate"
SAMPLE = 1.0
"""For how many seconds messages are counted, when nobody has counted them of late."""

FRESH, STALE = 0.5, 60.0
"""How old a count must be, and may be, in seconds, so that a rate can be made of it and of the next one."""

SHOWN = 10_000
"""Of how many ports it is known how much they had got when they were shown last."""

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


class Census:
    """How many messages each port had got at one moment.

    Attributes:
      at: when, by Trio's clock.
      ports: the ports, in the order in which they were made.
      received: how many messages each of them had got.
    """

    def __init__(self, ports: list[Port]) -> None:
        self.at = trio.current_time()
        self.ports = ports
        self.received = array("Q", bytes(8 * len(ports)))

    async def count(self, slices: Slices) -> None:
        """Count. A checkpoint, if that takes longer than a slice."""
        for start in range(0, len(self.ports), STRIDE):
            for index in range(start, min(start + STRIDE, len(self.ports))):
                self.received[index] = self.ports[index]._received
            await slices.pause()

    async def since(self, before: Census, slices: Slices) -> array[float]:
        """How many messages each port has got per second since an earlier census. A checkpoint, as `count` is.

        A table of ports keeps the order in which they were made, and none comes back: so what is in both is found by
        walking through both at once, without another table. Ports that are new have no rate yet: theirs is 0.
        """
        rates = array("d", bytes(8 * len(self.ports)))
        seconds = max(self.at - before.at, FRESH)
        place = 0
        for index, port in enumerate(self.ports):
            # Those of the earlier census that come before this one have died. One that was new then, and has died
            # since, is in neither place; so is one that has only begun to unwind.
            while place < len(before.ports) and before.ports[place] is not port and not before.ports[place].alive:
                place += 1
            if place < len(before.ports) and before.ports[place] is port:
                rates[index] = (self.received[index] - before.received[place]) / seconds
                place += 1
            if index % STRIDE == 0:
                await slices.pause()
        return rates


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
        # The latest count of all ports, and that of those that were shown: when, and how many messages they had got.
        self._census: Census | None = None
        self._shown: dict[str, tuple[float, int]] = {}
        self._scope: trio.CancelScope | None = None

    async def page(
        self,
        asker: str,
        by: str,
        limit: int,
        after: str | None,
        slices: Slices,
        *,
        before: Census | None,
        ids: bool,
    ) -> PortPage:
        """Some ports, in an order. A checkpoint, if it takes longer than a slice.

        Args:
          asker: the ID of the node that asks.
          by: one of `ORDERS`.
          limit: how many there may be.
          after: what the page before has said, or None for the first one.
          slices: those of this work.
          before: the count with which rates are compared, for the first page by `rate`.
          ids: whether the asker may know the IDs.

        Raises:
          Unanswered: the order is not kept any more.
        """
        await self.numbers.tidy(slices)
        token, start, kept = self._find(asker, by, after)
        if kept is None:
            kept = _Kept(asker, await self._rank(by, slices, before))
        found, following = await kept.ranking.page(start, limit, slices)
        views = []
        for port, key in found:
            # It may have died since.
            if self._is_there(port):
                rate = self._rate_of(port)
                views.append(self.view(port, -key if by == RATE and key is not None else rate, ids=ids))
            await slices.pause()
        if following is None:
            self._kept.pop(token, None)
            return PortPage(views, None, self._count())
        token = token or self._new_token()
        self._keep(token, kept)
        return PortPage(views, f"{by}.{token}.{following}", self._count())

    def view(self, port: Port, rate: float | None, *, ids: bool) -> PortView:
        """What is shown of a port, with its ID or without."""
        counted = port.statistics()
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
            delivered=counted.received,
            rate=rate,
            age=counted.age,
            reason=shortened(reason if ids else without_ids(reason)),
            id=str.__str__(port) if ids else None,
        )

    def _rate_of(self, port: Port) -> float | None:
        """How many messages a port has got per second since it was shown before; None if that was not of late."""
        now, received = trio.current_time(), port._received
        at, before = self._shown.get(port.name, (-STALE, 0))
        if now - at < FRESH:
            return None
        self._shown.pop(port.name, None)
        self._shown[port.name] = now, received
        if len(self._shown) > SHOWN:
            del self._shown[next(iter(self._shown))]
        return (received - before) / (now - at) if now - at < STALE else None

    def _is_there(self, port: Port) -> bool:
        return self._lifecycle.find(port.name) is port

    def _count(self) -> int:
        return len(self._lifecycle.ports) + len(self._lifecycle.unwinding)

    @property
    def census(self) -> Census | None:
        """The latest count of all ports, if rates can be made of it and of one that is made now."""
        census = self._census
        return census if census is not None and FRESH <= trio.current_time() - census.at <= STALE else None

    async def count(self, slices: Slices) -> Census:
        """Count what all ports have got. A checkpoint, if that takes longer than a slice."""
        census = Census(list(self._lifecycle.ports.values()))
        await census.count(slices)
        self._census = census
        self._begin_to_forget()
        return census

    async def _rank(self, by: str, slices: Slices, before: Census | None) -> Ranking:
        if by == RATE:
            census = await self.count(slices)
            rates = await census.since(before or census, slices)
            for start in range(0, len(rates), STRIDE):
                for index in range(start, min(start + STRIDE, len(rates))):
                    rates[index] = -rates[index]
                await slices.pause()
            ranking = Ranking(census.ports, rates, self._is_there)
            await ranking.sort(slices)
            return ranking
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
        self._begin_to_forget()

    def _begin_to_forget(self) -> None:
        if self._scope is None:
            self._scope = self._lifecycle.start_system_task(self._forget_kept)

    async def _forget_kept(self) -> None:
        """Forget orders whose time is up, and the count of all ports: they keep ports in memory that have died."""
        try:
            while self._kept or self._census is not None:
                # Each use puts an order behind the others, with a later end.
                times = [kept.until for kept in self._kept.values()]
                times += [self._census.at + STALE] if self._census is not None else []
                await trio.sleep_until(min(times))
                now = trio.current_time()
                for token in [token for token, kept in self._kept.items() if kept.until <= now]:
                    del self._kept[token]
                if self._census is not None and self._census.at + STALE <= now:
                    self._census = None
        finally:
            self._scope = None


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
