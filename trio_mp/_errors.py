"""The exceptions of this package.

Trio's exceptions keep Trio's meanings and are raised as they are: `trio.ClosedResourceError` (you closed the node),
`trio.BrokenResourceError` (the other side is gone), `trio.BusyResourceError` (two tasks want the same thing).
"""

from __future__ import annotations

from collections.abc import Mapping

from ._reason import Reason, describe


class PortDied(Exception):
    """A port that was needed died.

    Raised by `Node.call`, `Port.receive` and `Node.fail_on_death`, and when a task of a dead port still tries to send.
    If an exception killed the port on this node while a task waited for it, in `call`, in `receive` or in the block of
    `fail_on_death`, that exception is the `__cause__`.

    Attributes:
      port: the ID of the port that died.
      reason: why the port died, as a tuple; empty for a normal death.
      maybe_delivered: False if it is proven that the port never got the message of the call; True in all other cases.
    """

    def __init__(self, port: str, reason: Reason, *, maybe_delivered: bool = True) -> None:
        super().__init__(port, reason)
        self.port = port
        self.reason = reason
        self.maybe_delivered = maybe_delivered

    def __str__(self) -> str:
        return f"port {self.port} died: {describe(self.reason)}"


class CallError(Exception):
    """A call was answered by an error; the port that was called is alive.

    Raised by `Node.call`.

    Attributes:
      type_name: the name of the exception's type, with its module if that is not `builtins`, such as `KeyError` or
        `app.NotFound`. Or a word of this package: `busy` (too many calls of one node were in flight), `bad_message`
        (the port refuses the message), `expired` (the time of the call was up over there, and its handler did not
        begin, or was cancelled), `bad_reply` (the reply is none of the type that the caller expects).
      text: what the exception said.
      maybe_delivered: False if it is proven that no handler got the message of the call; True in all other cases.
    """

    def __init__(self, type_name: str, text: str, *, maybe_delivered: bool = True) -> None:
        super().__init__(type_name, text)
        self.type_name = type_name
        self.text = text
        self.maybe_delivered = maybe_delivered

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text}" if self.text else self.type_name


class WorkerLost(PortDied):
    """A worker process ended while it had a task, which may have run: not at all, in part, or to its end.

    Raised by `Workers.run` and `Workers.map`, unless the task was said to be idempotent. A task that had certainly not
    begun runs on another worker instead, and raises nothing.

    Attributes:
      worker: the name of the worker.
      port, reason: of the worker's port; see `PortDied`.
    """

    def __init__(self, port: str, reason: Reason, worker: str) -> None:
        super().__init__(port, reason)
        self.worker = worker

    def __str__(self) -> str:
        return (
            f"{self.worker} ended ({describe(self.reason)}), and its task may have run;"
            " say idempotent=True if it may run twice"
        )


class WorkerError(Exception):
    """A function raised an exception in a worker that cannot be raised here as what it is.

    Raised by `Workers.run` and `Workers.map`. Exceptions of Python, Trio and the workers' `modules` are raised as what
    they are, if their type and their `args` suffice to make them again.

    Attributes:
      type_name: the name of its type, with the module, such as `sqlite3.OperationalError`.
      text: what it said.
    """

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(type_name, text)
        self.type_name = type_name
        self.text = text

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text}" if self.text else self.type_name


class ConfigurationError(ValueError):
    """A setting has a value that cannot work. The text names the setting, the value and what is wrong with it."""


class NotAttached(Exception):
    """A node has found no global node within its `attach_timeout`, so it is not in the network.

    Raised by `open_node`, before its block begins.

    Attributes:
      seconds: the `attach_timeout`.
      failures: what was wrong, by the address of each seed; or by its name, where that could not be resolved.
    """

    def __init__(self, seconds: float, failures: Mapping[str, str]) -> None:
        super().__init__(seconds, failures)
        self.seconds = seconds
        self.failures = failures

    def __str__(self) -> str:
        wrong = "; ".join(f"{seed}: {why}" for seed, why in self.failures.items())
        return (
            f"no global node was reached within the attach_timeout of {self.seconds:g} s: {wrong};"
            " `trio-mp doctor` tries each step, and says what to do"
        )


class ProtocolError(Exception):
    """The base of the two protocol errors. Which of them is raised says whose fault it is."""


class LocalProtocolError(ProtocolError):
    """This side tried something that the protocol does not allow at this point: a mistake in the calling program."""


class RemoteProtocolError(ProtocolError):
    """The other side sent something that the protocol does not allow. That connection ends, and nothing else."""
