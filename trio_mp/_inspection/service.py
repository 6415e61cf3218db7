"""The inspection service of a node: who may ask, what is answered, and how much of it there may be.

A question arrives at the node port as a call of the node itself: with a ticket, and the seconds left. A task of the
runtime answers it. Only one of these works at a time, in slices: so whatever other nodes ask, the tasks of the program
wait for one slice at most. What is not work, such as waiting for messages to trace, goes on beside it.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
import trio

from .._events import fields
from .._ids import is_port_name
from .._peers.callers import CallOfPeer
from .._peers.peer import Peer
from .._ports.port import Port, state_of
from .._protocol.calls import TicketFate
from .._protocol.drain import Drained
from .._protocol.requests import Inspect
from .._reason import describe
from .._runtime import Runtime
from .._services.calls import Calls
from .._services.statistics import NodeStatistics, measure
from . import links, ports, supervisors, tasks, tracing
from .errors import Unanswered
from .ports import PortLister
from .slices import Slices
from .stacks import Place, family_of, stack_of, title_of, write_stack
from .tasks import Growing
from .texts import without_ids
from .views import LinkPage, PortPage, SupervisorPage, TaskView, TraceEnd

MOST_OF_ONE = 16
"""How many questions one other node may have in flight here."""

CUT = 64
"""How long the texts are, at most, by which reasons are counted."""

log = logging.getLogger("trio_mp.inspect")

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
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


class TasksAsked(Asked, frozen=True, forbid_unknown_fields=True):
    """The arguments of `tasks`."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=tasks.MOST)]
    stacks: bool = False


class NothingAsked(Asked, frozen=True, forbid_unknown_fields=True):
    """A question without arguments."""


class PortAsked(Asked, frozen=True, forbid_unknown_fields=True):
    """The arguments of a question about one port."""

    number: Number


class KillAsked(Asked, frozen=True, forbid_unknown_fields=True):
    """The arguments of `kill`."""

    number: Number
    reason: list[Any]


class StopAsked(Asked, frozen=True, forbid_unknown_fields=True):
    """The arguments of `stop`: whether to start again, and whether also if nobody is known who would do that."""

    restart: bool = False
    force: bool = False


class TraceAsked(Asked, frozen=True, forbid_unknown_fields=True):
    """The arguments of `trace`: the number of a port, or its ID, and the name of the asker's port for the messages."""

    to: Annotated[str, msgspec.Meta(max_length=64)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=tracing.MOST)]
    seconds: Annotated[float, msgspec.Meta(gt=0, le=tracing.LONGEST_TIME)]
    number: Number | None = None
    port: Annotated[str, msgspec.Meta(max_length=320)] | None = None


class InspectionService:
    """Answers the questions of other nodes, and of this one about itself.

    Args:
      runtime: the node.
      calls: for questions to other nodes.
      place_of: says what another node is to this one: see `LinkView.place`.
      drain: drains this node.
    """

    def __init__(
        self,
        runtime: Runtime,
        calls: Calls,
        place_of: Callable[[str], str],
        drain: Callable[[], Awaitable[Drained]],
    ) -> None:
        self.runtime = runtime
        self._drain_node = drain
        self._place_of = place_of
        self._calls = calls
        self._clock = runtime.lifecycle.clock
        self._ports = PortLister(runtime.lifecycle)
        # Whoever works has it.
        self._turn = trio.Lock()
        self._in_flight: Counter[str] = Counter()
        self._questions: dict[str, Callable[[str, dict[str, object]], Awaitable[object]]] = {
            "statistics": self._measure,
            "ports": self._list_ports,
            "links": self._list_links,
            "tasks": self._list_tasks,
            "supervisors": self._list_supervisors,
            "kill": self._kill,
            "stacks": self._show_stacks,
            "trace": self._trace,
            "drain": self._drain,
            "stop": self._stop,
        }

    # Who may ask ---------------------------------------------------------------------------------------------------

    def may_act(self, asker: str) -> bool:
        """Whether that node, which may read, may also act, and see IDs. This node may always."""
        return asker == self.runtime.id or self.runtime.settings.inspect == "act"

    def _check_may_read(self, asker: str) -> None:
        """Check that a node may ask. Raises `Unanswered`."""
        runtime = self.runtime
        settings = runtime.settings
        if asker == runtime.id:
            return
        if settings.inspect == "off":
            raise Unanswered(
                "refused",
                f"the setting `inspect` of {runtime.id} is 'off'; open that node with inspect='read', or say so in its"
                " profile",
            )
        if settings.inspect_from and asker not in settings.inspect_from:
            raise Unanswered("refused", f"the setting `inspect_from` of {runtime.id} does not name {asker}")

    def _check_may_act(self, asker: str, what: str) -> None:
        """Check that a node that may ask may also act. Raises `Unanswered`."""
        if not self.may_act(asker):
            here, level = self.runtime.id, self.runtime.settings.inspect
            raise Unanswered("refused", f"{what} needs inspect='act' on {here}, whose setting `inspect` is {level!r}")

    # Questions -----------------------------------------------------------------------------------------------------

    async def ask(self, node_id: str, question: str, arguments: dict[str, object]) -> object:
        """Ask a node, perhaps this one, and return its answer as it travels. A checkpoint.

        Raises:
          what `Calls.inspect` raises.
        """
        if node_id != self.runtime.id:
            return await self._calls.inspect(node_id, question, arguments)
        self.runtime.check_open()
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
            self._fail(peer.id, call, error)
            return True
        self._in_flight[peer.id] += 1
        self.runtime.lifecycle.start_system_task(self._serve, peer.id, call, request)
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
            self._fail(asker, call, error)
        except Exception as error:  # noqa: BLE001 - a question of another node must not end this one
            self.runtime.errands.complain(
                *(asker, "inspection", log, "an error in this program, while it answered a question of %s:\n%s"),
                *(asker, "".join(traceback.format_exception(error))),
                level=logging.ERROR,
            )
            call.answer_by_error("failed", "an error in the program of the node; its log says more")
        finally:
            self._in_flight[asker] -= 1
            self._in_flight += Counter()

    def _fail(self, asker: str, call: CallOfPeer, error: Unanswered) -> None:
        if error.word == "refused":
            text = "an inspection by %s is refused: %s"
            self.runtime.errands.complain(asker, "inspect", log, text, asker, error.text)
        call.answer_by_error(error.word, error.text)

    async def _answer(self, asker: str, question: str, arguments: dict[str, object]) -> object:
        """The answer to a question, of plain values. Raises `Unanswered`."""
        answer = self._questions.get(question)
        if answer is None:
            raise Unanswered("bad_question", f"{self.runtime.id} does not know the question {question!r:.100}")
        return msgspec.to_builtins(await answer(asker, arguments))

    async def _measure(self, asker: str, arguments: dict[str, object]) -> NodeStatistics:
        _read(arguments, NothingAsked)
        await trio.lowlevel.checkpoint()
        found = measure(self.runtime, self._calls)
        if self.may_act(asker):
            return found
        # Programs make the reasons by whose beginnings these are counted.
        return replace(found, deaths=_without_ids(found.deaths), lost=_without_ids(found.lost))

    async def _list_ports(self, asker: str, arguments: dict[str, object]) -> PortPage:
        asked = _read(arguments, PortsAsked)
        before = self._ports.census
        if asked.by == ports.RATE and asked.after is None and before is None:
            # What a port gets per second is known between two counts. Nobody else waits meanwhile.
            async with self._turn:
                before = await self._ports.count(Slices(self._clock))
            await trio.sleep(ports.SAMPLE)
        async with self._turn:
            slices, ids = Slices(self._clock), self.may_act(asker)
            return await self._ports.page(asker, asked.by, asked.limit, asked.after, slices, before=before, ids=ids)

    async def _list_links(self, asker: str, arguments: dict[str, object]) -> LinkPage:
        asked = _read(arguments, LinksAsked)
        async with self._turn:
            return await links.list_links(self.runtime.network, asked.after, Slices(self._clock), self._place_of)

    async def _list_tasks(self, asker: str, arguments: dict[str, object]) -> TaskView:
        asked = _read(arguments, TasksAsked)
        if asked.stacks:
            self._check_may_act(asker, "the stacks of tasks")
            self._log_act(asker, "looks at the stacks of all tasks")
        slices = Slices(self._clock)
        async with self._turn:
            tree = await tasks.list_tasks(self.runtime.lifecycle, self._ports.numbers, asked.limit, slices)
            if asked.stacks:
                return await self.runtime.environment.in_thread(lambda: _grown(tree, stacks=True))
            return _grown(tree, stacks=False)

    async def _list_supervisors(self, asker: str, arguments: dict[str, object]) -> SupervisorPage:
        _read(arguments, NothingAsked)
        async with self._turn:
            return await supervisors.list_supervisors(
                self.runtime, self._ports.numbers, Slices(self._clock), ids=self.may_act(asker)
            )

    # Acts ----------------------------------------------------------------------------------------------------------

    async def _kill(self, asker: str, arguments: dict[str, object]) -> bool:
        """Kill a port, in order with what was sent to it before. It is dead when this returns."""
        asked = _read(arguments, KillAsked)
        self._check_may_act(asker, "to kill a port")
        port = self._ports.numbers.find(asked.number)
        reason = tuple(asked.reason)
        self._log_act(asker, f"kills the port {asked.number}, {port}: {describe(reason)}")
        self.runtime.lifecycle.kill(port.name, reason)
        await self._wait_turn()
        return True

    async def _show_stacks(self, asker: str, arguments: dict[str, object]) -> str:
        """The stacks of the tasks of a port, and of those in their nurseries."""
        asked = _read(arguments, PortAsked)
        self._check_may_act(asker, "the stacks of tasks")
        port = self._ports.numbers.find(asked.number)
        self._log_act(asker, f"looks at the stacks of the port {asked.number}, {port}")
        slices = Slices(self._clock)
        stacks: list[tuple[str, list[Place]]] = []
        async with self._turn:
            for top in tuple(state_of(port).scopes.values()):
                for task in islice(family_of(top), tasks.MOST - len(stacks)):
                    stacks.append((title_of(task), stack_of(task)))
                    await slices.pause()
            return await self.runtime.environment.in_thread(
                lambda: "\n".join([part for title, places in stacks for part in (title, write_stack(places))])
            )

    async def _trace(self, asker: str, arguments: dict[str, object]) -> TraceEnd:
        """Show the messages that a port gets, until as many were shown as are wanted, or for some time."""
        asked = _read(arguments, TraceAsked)
        self._check_may_act(asker, "to trace a port")
        port = self._port_to_trace(asked)
        number = self._ports.numbers.of(port)
        is_here = asker == self.runtime.id
        if not is_port_name(asked.to) or (is_here and asked.to == port.name):
            raise Unanswered("bad_question", "to: expected the name of another port, for what is traced")

        def tell(message: tuple[object, ...]) -> str:
            if is_here:
                self.runtime.send_here(asked.to, message)
                return ""
            return self.runtime.errands.answer(asker, asked.to, message)

        tracer = tracing.Tracer(port, asked.limit, tell)
        tracer.begin(number)
        self._log_act(asker, f"traces the port {number}, {port}, for {asked.limit} messages or {asked.seconds:g} s")
        try:
            with trio.move_on_after(asked.seconds):
                await tracer.ended.wait()
        finally:
            end = tracer.end("time")
        if is_here:
            # Behind what was sent to the asker's port: to another node the order is that of the connection.
            await self._wait_turn()
        return end

    async def _drain(self, asker: str, arguments: dict[str, object]) -> Drained:
        """Drain the node. If the asker waits no longer, the node drains all the same."""
        _read(arguments, NothingAsked)
        self._check_may_act(asker, "to drain the node")
        self._log_act(asker, "has the node drain")
        return await self._drain_node()

    async def _stop(self, asker: str, arguments: dict[str, object]) -> Drained:
        """Stop the program of the node in good order; answered when the node has drained, or was cut short."""
        asked = _read(arguments, StopAsked)
        what = "restart" if asked.restart else "stop"
        self._check_may_act(asker, f"to {what} the node")
        here, door = self.runtime.id, self.runtime.stopping
        if door is None:
            raise Unanswered(
                "refused",
                f"the program of {here} lets nobody {what} it: it is not in a block of stop_on_signals(); send its"
                " process a signal",
            )
        if asked.restart and not (door.restarter or asked.force):
            raise Unanswered(
                "refused",
                f"nobody is known who would start {here} again: it runs neither under `trio-mp run --workers` with"
                " --restart, nor as a service of systemd, in Kubernetes or as the process of a container; stop it and"
                " start it again, or use --force if you know better",
            )
        if asked.restart and door.cause:
            raise Unanswered("refused", f"{here} stops already, because of {door.cause}")
        self._log_act(asker, f"has the program {what}{f', by {door.restarter}' if asked.restart else ''}")
        await door._stop(f"{what} by {asker}", restart=asked.restart)
        return Drained(door.unfinished)

    def _port_to_trace(self, asked: TraceAsked) -> Port:
        if (asked.number is None) == (asked.port is None):
            raise Unanswered("bad_question", "expected either the number of a port, or its ID")
        lifecycle = self.runtime.lifecycle
        if asked.number is not None:
            port = self._ports.numbers.find(asked.number)
        else:
            node_id, _, name = str(asked.port).partition("#")
            found = lifecycle.ports.get(name) if node_id == self.runtime.id else None
            if found is None:
                raise Unanswered("gone", f"there is no port {asked.port} on {self.runtime.id}, or it has died")
            port = found
        if not port.alive:
            raise Unanswered("gone", f"the port {asked.number} has died, and unwinds")
        return port

    async def _wait_turn(self) -> None:
        """Wait until the messages and kills that wait on this node now have been dispatched."""
        done = trio.Event()
        self.runtime.dispatcher.queue.call_behind(done.set)
        await done.wait()

    def _log_act(self, asker: str, what: str) -> None:
        """Log what another node does here, or looks at. Never left out: this is the record of who has done it."""
        # What the program does to its own node is no news to it.
        level = logging.DEBUG if asker == self.runtime.id else logging.WARNING
        log.log(level, "%s %.1000s", asker, what, extra=fields("inspected", self.runtime.id, peer=asker))


def _without_ids(counts: dict[str, int]) -> dict[str, int]:
    """Counts by texts, without the names of ports in the texts."""
    hidden: Counter[str] = Counter()
    for text, count in counts.items():
        # One that was cut may end in the middle of a name, which is not known by its form then.
        known = without_ids(text)
        hidden[known[: CUT // 2] + "…" if len(text) >= CUT else known] += count
    return dict(hidden)


def _grown(tree: Growing, *, stacks: bool) -> TaskView:
    """The view of a tree of tasks. With stacks, this reads source."""
    return replace(
        tree.view,
        children=[_grown(child, stacks=stacks) for child in tree.children],
        hidden=tree.hidden,
        stack=write_stack(tree.places) if stacks and tree.places else None,
    )


def _read(arguments: dict[str, object], kind: type[A]) -> A:
    """The arguments of a question. Raises `Unanswered`."""
    try:
        return msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise Unanswered("bad_question", str(error)[:500]) from None
