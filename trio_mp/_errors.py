"""The exceptions of this package.

Trio's exceptions keep Trio's meanings and are raised as they are: `trio.ClosedResourceError` (you closed the node),
`trio.BrokenResourceError` (the other side is gone), `trio.BusyResourceError` (two tasks want the same thing).
"""

from __future__ import annotations

from ._reason import Reason, describe


class PortDied(Exception):
    """A port that was needed died.

    Raised by `Node.call`, `Port.receive` and `Node.fail_on_death`, and when a task of a dead port still tries to send.
    If an exception killed the port on this node while a task waited for it, in `call`, in `receive` or in the block of
    `fail_on_death`, that exception is the `__cause__`.

    Attributes:
      port: the ID of the port that died.
      reason: why the port died, as a tuple; empty for a normal death.
    """

    def __init__(self, port: str, reason: Reason) -> None:
        super().__init__(port, reason)
        self.port = port
        self.reason = reason

    def __str__(self) -> str:
        return f"port {self.port} died: {describe(self.reason)}"


class ConfigurationError(ValueError):
    """A setting has a value that cannot work. The text names the setting, the value and what is wrong with it."""


class ProtocolError(Exception):
    """The base of the two protocol errors. Which of them is raised says whose fault it is."""


class LocalProtocolError(ProtocolError):
    """This side tried something that the protocol does not allow at this point: a mistake in the calling program."""


class RemoteProtocolError(ProtocolError):
    """The other side sent something that the protocol does not allow. That connection ends, and nothing else."""
