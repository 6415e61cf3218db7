"""The operator's side of an inspection."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from .._errors import CallError
from . import ports
from .service import InspectionService
from .views import LinkPage, LinkView, PortPage

T = TypeVar("T")


class Inspector:
    """Looks into a node, this one or another, and acts on it. Made by `Node.inspect`.

    What may be seen, and done, is for the settings `inspect` and `inspect_from` of that node to say. Each method is a
    question to it, and a checkpoint. Cancelled, the question is called off. All of them raise:

      CallError: the node does not answer, and `type_name` says why: `refused`, its settings do not allow it, and the
        text names the setting; `not_understood`, it runs a version without inspections; `bad_question`, it runs one
        without this question; `busy`, this node has too many questions in flight; `gone`, what the question was about
        is not there any more; `too_large`, the answer has no room in a message; `failed`, it has an error.
      PortDied: the question or the answer may have been lost with the connection.
      RuntimeError: it is another node, and this one has no network.
      trio.ClosedResourceError: this node is closed.

    Attributes:
      node_id: the ID of the node that it looks into.
    """

    def __init__(self, service: Any, node_id: str) -> None:
        # `Any` in the signature: type checkers of programs need not read the modules that are not for users.
        self._service: InspectionService = service
        self.node_id = node_id

    def __repr__(self) -> str:
        return f"<Inspector of {self.node_id}>"

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
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"ports(): expected limit to be an int, got {limit!r}")
        if not 1 <= limit <= ports.MOST:
            raise ValueError(f"ports(): expected a limit of 1 to {ports.MOST}, got {limit}")
        return await self._ask(PortPage, "ports", by=by, limit=limit, after=after)

    async def links(self) -> list[LinkView]:
        """What the node keeps about other nodes: connections, and what waits for them; ordered by their IDs."""
        links: list[LinkView] = []
        after: str | None = ""
        while after is not None:
            page = await self._ask(LinkPage, "links", after=after)
            links += page.links
            if page.after is not None and page.after <= after:
                raise CallError("bad_reply", f"{self.node_id} lists its links in no order")
            after = page.after
        return links

    async def _ask(self, kind: type[T], question: str, **arguments: object) -> T:
        answer = await self._service.ask(self.node_id, question, arguments)
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            text = f"{question} of {self.node_id}: expected a {kind.__name__}: {error}"
            raise CallError("bad_reply", text) from None
