"""The operator's side of an inspection."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import msgspec

from .._errors import CallError
from .._ids import node_of
from .._protocol.drain import Drained
from .._protocol.wire.amount import holds_at_most
from .._protocol.wire.values import plain_message
from .._services.statistics import NodeStatistics
from . import ports, tasks, tracing
from .service import InspectionService
from .trace_reader import PortTrace, open_trace
from .views import LinkPage, LinkView, PortPage, SupervisorPage, SupervisorView, TaskView

_REASON_VALUES, _REASON_SIZE = 1000, 2**16

T = TypeVar("T")


class Inspector:
    """Looks into a node, this one or another, and acts on it. Made by `Node.inspect`.

    What may be seen, and done, is for the settings `inspect` and `inspect_from` of that node to say. Each method is a
    question to it, and a checkpoint. Cancelled, the question is called off. All of them raise:

    - `CallError`: the node does not answer, and `type_name` says why: `refused`, its settings do not allow it, and the
      text names the setting; `not_understood`, it runs a version without inspections; `bad_question`, it runs one
      without this question; `busy`, this node has too many questions in flight; `gone`, what the question was about
      is not there any more; `too_large`, the answer has no room in a message; `failed`, it has an error.
    - `PortDied`: the question or the answer may have been lost with the connection.
    - `RuntimeError`: it is another node, and this one has no network.
    - `trio.ClosedResourceError`: this node is closed.

    Attributes:
      node_id: the ID of the node that it looks into.
    """

    def __init__(self, service: Any, node_id: str) -> None:
        # `Any` in the signature: type checkers of programs need not read the modules that are not for users.
        self._service: InspectionService = service
        self.node_id = node_id

    def __repr__(self) -> str:
        return f"<Inspector of {self.node_id}>"

    async def statistics(self) -> NodeStatistics:
        """What the node has counted since it was opened; see `Node.statistics`."""
        return await self._ask(NodeStatistics, "statistics")

    async def ports(self, by: str = "queue", limit: int = 50, after: str | None = None) -> PortPage:
        """Ports of the node, in an order; the following pages by `after`, which the page before has said.

        The order is that of the moment of the first page. A port that lives until the last page was asked for is in
        exactly one of them.

        Args:
          by: `"queue"`, the ports in which most messages wait come first; `"age"`, the oldest; `"rate"`, those that
            get most messages per second.
          limit: how many ports the page may have, at most 1000.
          after: None for the first page, else `PortPage.after`. The node keeps an order for a minute after each page.

        Raises:
          TypeError, ValueError: an argument cannot work.
          CallError: also `gone`, the node does not keep the order any more: begin with the first page again.
        """
        if by not in ports.ORDERS:
            raise ValueError(f"ports(): expected by to be one of {', '.join(ports.ORDERS)}, got {by!r}")
        _check_limit("ports()", limit, ports.MOST)
        return await self._ask(PortPage, "ports", by=by, limit=limit, after=after)

    async def links(self) -> list[LinkView]:
        """What the node keeps about other nodes: connections, and what waits for them; ordered by their IDs."""
        links: list[LinkView] = []
        after = ""
        while True:
            page = await self._ask(LinkPage, "links", after=after)
            links += page.links
            if page.after is None:
                return links
            if page.after <= after:
                raise CallError("bad_reply", f"{self.node_id} lists its links in no order")
            after = page.after

    async def tasks(self, *, stacks: bool = False, limit: int = 500) -> TaskView:
        """The tasks of the node as a tree, whose root stands for the node: its own tasks, and those of its ports.

        The tasks of the program that are not inside ports are not among them: they are not the node's.

        Args:
          stacks: whether each task comes with its stack. That needs `inspect="act"` on the node, and is logged there.
          limit: how many tasks there may be in all, at most 1000; `TaskView.hidden` says what is left out.

        Raises:
          TypeError, ValueError: an argument cannot work.
        """
        _check_limit("tasks()", limit, tasks.MOST)
        return await self._ask(TaskView, "tasks", stacks=bool(stacks), limit=limit)

    async def supervisors(self) -> list[SupervisorView]:
        """The supervisors that are open on the node, in the order in which they were opened, with their children.

        At most 2000 supervisors, and 2000 children of all of them; `SupervisorView.hidden` says what is left out.
        """
        return (await self._ask(SupervisorPage, "supervisors")).supervisors

    # Acts ----------------------------------------------------------------------------------------------------------

    async def kill(self, number: int, *reason: Any) -> None:
        """Kill a port of the node; as `Node.kill`, which takes the ID. The port is dead when this returns.

        It needs `inspect="act"` on the node, which logs it with the ID of this node.

        Args:
          number: what the node calls the port: `PortView.number`.
          reason: why it dies; without any it ends normally.

        Raises:
          CallError: also `gone`, there is no such port any more.
          TypeError, ValueError: the number is no positive int; or the reason cannot travel, or is too long.
        """
        _check_number("kill()", number)
        plain = list(plain_message(reason, thorough=True, what="reason"))
        if not holds_at_most(tuple(plain), _REASON_VALUES, _REASON_SIZE):
            raise ValueError(f"kill(): expected a reason of at most {_REASON_VALUES} values and {_REASON_SIZE} bytes")
        await self._ask(bool, "kill", number=number, reason=plain)

    async def drain(self) -> Drained:
        """Have the node drain, as `Node.drain` does, and wait until it has. That ends nothing, and cannot be undone.

        It needs `inspect="act"` on the node, which logs it with the ID of this node. Cancelled, the node drains all the
        same.
        """
        return await self._ask(Drained, "drain")

    async def stop(self) -> Drained:
        """Have the program of the node stop in good order, as the first SIGTERM does; see `stop_on_signals`.

        This returns when the node has drained, or was cut short because its `drain_timeout` was up. Then the program
        unwinds, the node closes, and the process ends. Cancelled, it stops all the same. It needs `inspect="act"` on
        the node, which logs it with the ID of this node.

        Returns:
          What was unfinished.

        Raises:
          CallError: also `refused`, the program is not in a block of `stop_on_signals`.
        """
        return await self._ask(Drained, "stop")

    async def restart(self, *, force: bool = False) -> Drained:
        """As `stop`, but the process ends with the status 75, so that whoever runs it starts it again.

        Args:
          force: whether to do so also if the node knows of nobody who would start it again.

        Raises:
          CallError: also `refused`, the program stops already, or is not in a block of `stop_on_signals`; or nobody is
            known who would start it again: its process is no worker of `trio-mp run --workers` that is restarted, no
            service of systemd, not in Kubernetes, and not the first process of a container.
          TypeError: `force` is not a bool.
        """
        if not isinstance(force, bool):
            raise TypeError(f"restart(): expected force to be a bool, got {force!r}")
        return await self._ask(Drained, "stop", restart=True, force=force)

    async def stacks(self, number: int) -> str:
        """The stacks of all tasks of a port, as tracebacks show them; empty if it has none.

        It needs `inspect="act"` on the node, which logs it with the ID of this node.

        Args:
          number: what the node calls the port: `PortView.number`.

        Raises:
          CallError: also `gone`, there is no such port any more.
          TypeError, ValueError: the number is no positive int.
        """
        _check_number("stacks()", number)
        return await self._ask(str, "stacks", number=number)

    def trace(
        self, port: int | str, *, limit: int = 100, seconds: float = 60.0
    ) -> AbstractAsyncContextManager[PortTrace]:
        """The messages that a port of the node gets, as text: `async with inspector.trace(7) as messages:`.

        It needs `inspect="act"` on the node, which logs it with the ID of this node. The port gets what it would get,
        and when it would. A port is traced by one operator at a time.

        Args:
          port: what the node calls the port, `PortView.number`; or its ID.
          limit: how many messages are shown, at most 10,000. Then the trace ends.
          seconds: after how many seconds it ends, at most 3600.

        Entering waits until the trace has begun, and raises what keeps it from that: `CallError`, also `gone`, there is
        no such port any more, and `busy`, somebody traces it. Leaving ends the trace; it is no checkpoint.

        Raises:
          TypeError, ValueError: an argument cannot work.
        """
        where: dict[str, object] = {"number": port}
        if isinstance(port, str):
            if node_of(port) != self.node_id:
                raise ValueError(f"trace(): expected a port of {self.node_id}, got {port}")
            where = {"port": str.__str__(port)}
        else:
            _check_number("trace()", port)
        _check_limit("trace()", limit, tracing.MOST)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"trace(): expected a number of seconds, got {seconds!r}")
        if not 0 < seconds <= tracing.LONGEST_TIME:
            raise ValueError(f"trace(): expected at most {tracing.LONGEST_TIME:g} seconds, above 0, got {seconds!r}")
        arguments = {**where, "limit": limit, "seconds": float(seconds)}
        return open_trace(self._service, self.node_id, arguments, limit)

    async def _ask(self, kind: type[T], question: str, **arguments: object) -> T:
        answer = await self._service.ask(self.node_id, question, arguments)
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            text = f"{question} of {self.node_id}: expected a {kind.__name__}: {error}"
            raise CallError("bad_reply", text) from None


def _check_limit(method: str, limit: object, most: int) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{method}: expected limit to be an int, got {limit!r}")
    if not 1 <= limit <= most:
        raise ValueError(f"{method}: expected a limit of 1 to {most}, got {limit}")


def _check_number(method: str, number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{method}: expected the number of a port, an int, got {number!r}")
    if not 0 < number <= 2**62:
        raise ValueError(f"{method}: expected the number of a port, 1 or greater, got {number}")
