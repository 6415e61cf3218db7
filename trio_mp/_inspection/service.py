"""The inspection service of a node: who may ask, what is answered, and how much of it there may be.

A question arrives at the node port as a call of the node itself: with a ticket, and the seconds left. A task of the
runtime answers it. Only one of these works at a time, in slices: so whatever other nodes ask, the tasks of the program
wait for one slice at most. What is not work, such as waiting for messages to trace, goes on beside it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
import trio

from .._peers.callers import CallOfPeer
from .._peers.peer import Peer
from .._protocol.calls import TicketFate
from .._protocol.requests import Inspect
from .._runtime import Runtime
from .._services.calls import Calls
from . import links, ports
from .errors import Unanswered
from .ports import PortLister
from .slices import Slices
from .views import LinkPage, PortPage

MOST_OF_ONE = 16
"""How many questions one other node may have in flight here."""

log = logging.getLogger("trio_mp.inspect")

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1, lt=2**63)]
A = TypeVar("A")


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of a question. One that is not known would change its meaning, so the question is refused then."""


class PortsAsked(Asked, frozen=True, forbid_unknown_fields=True):
    """The arguments of `ports`."""

    by: Literal[ports.ORDERS]  # type: ignore[valid-type]
    limit: Annotated[int, msgspec.Meta(ge=1, le=ports.MOST)]
    after: Annotated[str, msgspec.Meta(max_length=100)] | None = None


class LinksAsked(Asked, frozen=True, forbid_unknown_fields=True):
    """The arguments of `links`."""

    after: Annotated[str, msgspec.Meta(max_length=255)] = ""


class InspectionService:
    """Answers the questions of other nodes, and of this one about itself.

    Args:
      runtime: the node.
      calls: for questions to other nodes.
      place_of: says what another node is to this one: see `LinkView.place`.
    """

    def __init__(self, runtime: Runtime, calls: Calls, place_of: Callable[[str], str]) -> None:
        self._runtime = runtime
        self._place_of = place_of
        self._calls = calls
        self._clock = runtime.lifecycle.clock
        self._ports = PortLister(runtime.lifecycle)
        # Whoever works has it.
        self._turn = trio.Lock()
        self._in_flight: Counter[str] = Counter()
        self._questions: dict[str, Callable[[str, dict[str, object]], Awaitable[object]]] = {
            "ports": self._list_ports,
            "links": self._list_links,
        }

    # Who may ask ---------------------------------------------------------------------------------------------------

    def may_act(self, asker: str) -> bool:
        """Whether that node, which may read, may also act, and see IDs. This node may always."""
        return asker == self._runtime.id or self._runtime.settings.inspect == "act"

    def _check_may_read(self, asker: str) -> None:
        """Check that a node may ask. Raises `Unanswered`."""
        runtime = self._runtime
        settings = runtime.settings
        if asker == runtime.id:
            return
        if settings.inspect == "off":
            raise Unanswered(
                "refused", f"the setting `inspect` of {runtime.id} is 'off'; open that node with inspect='read'"
            )
        if settings.inspect_from and asker not in settings.inspect_from:
            raise Unanswered("refused", f"the setting `inspect_from` of {runtime.id} does not name {asker}")

    def _check_may_act(self, asker: str, what: str) -> None:
        """Check that a node that may ask may also act. Raises `Unanswered`."""
        if not self.may_act(asker):
            here, level = self._runtime.id, self._runtime.settings.inspect
            raise Unanswered("refused", f"{what} needs inspect='act' on {here}, whose setting `inspect` is {level!r}")

    # Questions -----------------------------------------------------------------------------------------------------

    async def ask(self, node_id: str, question: str, arguments: dict[str, object]) -> object:
        """Ask a node, perhaps this one, and return its answer as it travels. A checkpoint.

        Raises:
          what `Calls.inspect` raises.
        """
        if node_id != self._runtime.id:
            return await self._calls.inspect(node_id, question, arguments)
        self._runtime.check_open()
        await trio.lowlevel.checkpoint()
        try:
            return await self._answer(node_id, question, arguments)
        except Unanswered as error:
            raise error.as_call_error() from None

    def begin(self, peer: Peer, request: Inspect) -> bool:
        """See `InspectionDoor.begin`."""
        call, fate = peer.callers.begin_question(request.ticket, request.seconds)
        if fate is not TicketFate.ADMITTED:
            return fate is TicketFate.TOO_MANY
        try:
            self._check_may_read(peer.id)
            if self._in_flight[peer.id] >= MOST_OF_ONE:
                raise Unanswered("busy", f"{peer.id} has {MOST_OF_ONE} questions in flight, the limit")
        except Unanswered as error:
            if error.word == "refused":
                self._runtime.errands.complain(peer.id, "inspect", log, "%s is refused: %s", peer.id, error.text)
            call.answer_by_error(error.word, error.text)
            return True
        self._in_flight[peer.id] += 1
        self._runtime.lifecycle.start_system_task(self._serve, peer.id, call, request)
        return True

    async def _serve(self, asker: str, call: CallOfPeer, request: Inspect) -> None:
        """Answer a question of a peer, whatever comes of it."""
        try:
            if not call.begin():
                return
            with call.move_on_cancel() as scope:
                answer = await self._answer(asker, request.question, request.arguments)
                try:
                    call.reply(answer)
                except (TypeError, ValueError) as error:
                    raise Unanswered("too_large", f"the answer cannot be sent: {error}; ask for less") from None
            if scope.cancelled_caught:
                call.expire()
        except Unanswered as error:
            call.answer_by_error(error.word, error.text)
        except Exception as error:  # noqa: BLE001 - a question of another node must not end this one
            self._runtime.errands.complain(
                *(asker, "inspection", log, "an error in this program, while it answered a question of %s: %r"),
                *(asker, error),
                level=logging.ERROR,
            )
            call.answer_by_error("failed", "an error in the program of the node; its log says more")
        finally:
            self._in_flight[asker] -= 1
            self._in_flight += Counter()

    async def _answer(self, asker: str, question: str, arguments: dict[str, object]) -> object:
        """The answer to a question, of plain values. Raises `Unanswered`."""
        answer = self._questions.get(question)
        if answer is None:
            raise Unanswered("bad_question", f"{self._runtime.id} does not know the question {question!r:.100}")
        return msgspec.to_builtins(await answer(asker, arguments))

    async def _list_ports(self, asker: str, arguments: dict[str, object]) -> PortPage:
        asked = _read(arguments, PortsAsked)
        async with self._turn:
            return await self._ports.page(
                asker, asked.by, asked.limit, asked.after, Slices(self._clock), ids=self.may_act(asker)
            )

    async def _list_links(self, asker: str, arguments: dict[str, object]) -> LinkPage:
        asked = _read(arguments, LinksAsked)
        async with self._turn:
            return await links.list_links(self._runtime.network, asked.after, Slices(self._clock), self._place_of)


def _read(arguments: dict[str, object], kind: type[A]) -> A:
    """The arguments of a question. Raises `Unanswered`."""
    try:
        return msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise Unanswered("bad_question", str(error)[:500]) from None
