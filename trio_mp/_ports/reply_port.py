"""Reply ports: each takes the reply to one call, and is gone when the call has ended."""

from __future__ import annotations

from typing import Protocol

from .._reason import Reason
from .port import Port, PortLifecycle


class ReplyTaker(Protocol):
    """The call that a reply port is for."""

    def take_reply(self, *elements: object) -> None:
        """A message has come for the reply port."""
        ...

    def reply_port_died(self, reason: Reason, error: Exception | None) -> None:
        """The reply port dies before the call has ended: somebody has killed it, for example."""
        ...


class ReplyPort(Port):
    """A port that takes the reply to one call.

    There is one for each call, so it tells its call of its own death without a monitor and without a state: either
    would cost as much as the message.

    Attributes:
      taker: the call.
    """

    __slots__ = ("taker",)

    taker: ReplyTaker

    @classmethod
    def of(cls, taker: ReplyTaker, lifecycle: PortLifecycle, name: str) -> ReplyPort:
        """A new reply port of this name, in the table of its node. `Lifecycle.retire` takes it out again."""
        port = str.__new__(cls, f"{lifecycle.id}#{name}")
        port._lifecycle = lifecycle
        port._tags = None
        port._default = taker.take_reply
        port._state = None
        port._received = 0
        port._born = None
        port.taker = taker
        lifecycle.ports[name] = port
        return port
