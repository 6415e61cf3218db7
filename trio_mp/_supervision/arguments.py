"""The arguments that programs give to supervisors. Each is checked at the call; errors name it."""

from __future__ import annotations

import enum
import inspect
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar, cast

from .._protocol.database.entries import check_entry, check_text
from .._protocol.supervision import AutoShutdown, Restart, Strategy
from .._services.database import check_writable

StrategyName: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
RestartName: TypeAlias = Literal["permanent", "transient", "temporary"]
AutoShutdownName: TypeAlias = Literal["never", "any_significant", "all_significant"]
Epochs: TypeAlias = Callable[[], "int | Awaitable[int]"]

E = TypeVar("E", bound=enum.Enum)

_LONGEST_PORT = "x" * 320
"""As long as a port ID can be: 255 of the node, and 64 of the name."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a supervisor waits before it starts a child again, in seconds.

    The first restart comes at once. The second one waits `first`, each further one twice as long as the one before,
    `last` at most. A random part of up to a half is taken from each delay, so that children that died together do not
    start together. When a child dies that was up for longer than the supervisor's `within`, the sequence begins anew.

    Attributes:
      first: the delay of the second restart.
      last: the longest delay.

    Raises:
      TypeError, ValueError: `first` and `last` are not numbers with 0 <= first <= last.
    """

    first: float = 0.1
    last: float = 30.0

    def __post_init__(self) -> None:
        for name, value in (("first", self.first), ("last", self.last)):
            check_number(f"Backoff: {name}", value)
        if not 0 <= self.first <= self.last < math.inf:
            raise ValueError(
                f"Backoff: expected 0 <= first <= last, in seconds, got first={self.first!r} and last={self.last!r}"
            )


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """The arguments of `Node.open_supervisor`, checked.

    Attributes:
      strategy, limit, within, backoff, auto_shutdown, name, epochs: see there.
    """

    strategy: Strategy
    limit: int
    within: float
    backoff: Backoff
    auto_shutdown: AutoShutdown
    name: str | None
    epochs: Epochs | None


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """The arguments of `Supervisor.start`, `spawn` and `run_process` that all kinds of children share, checked.

    Attributes:
      restart: when the supervisor starts the child again.
      shutdown: how long the child may take to stop, in seconds; None if the program has not said it.
      significant: whether the supervisor may end when the child ends by itself.
      listed: the family and the key in the database under which others find the child's port, or None.
    """

    restart: Restart
    shutdown: float | None
    significant: bool
    listed: tuple[str, str] | None


def check_supervisor(
    strategy: object,
    limit: object,
    within: object,
    backoff: object,
    auto_shutdown: object,
    name: object,
    epochs: object,
) -> SupervisorSettings:
    """Check the arguments of `Node.open_supervisor`. Raises `TypeError` or `ValueError`, naming argument and value."""
    where = "open_supervisor()"
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{where}: limit: expected a number of restarts, got {limit!r}")
    if limit < 0:
        raise ValueError(f"{where}: limit: expected a number of restarts, 0 or more, got {limit!r}")
    if not check_number(f"{where}: within", within) > 0:
        raise ValueError(f"{where}: within: expected seconds, more than 0, got {within!r}")
    if backoff is not None and not isinstance(backoff, Backoff):
        raise TypeError(f"{where}: backoff: expected a Backoff, or None for restarts without delay, got {backoff!r}")
    if name is not None and (not isinstance(name, str) or not name):
        raise TypeError(f"{where}: name: expected a str that is not empty, or None, got {name!r}")
    if epochs is not None and not callable(epochs):
        raise TypeError(f"{where}: epochs: expected a function that returns rising ints, or None, got {epochs!r}")
    return SupervisorSettings(
        strategy=check_choice(f"{where}: strategy", Strategy, strategy),
        limit=limit,
        within=check_number(where, within),
        backoff=backoff if backoff is not None else Backoff(0.0, 0.0),
        auto_shutdown=check_choice(f"{where}: auto_shutdown", AutoShutdown, auto_shutdown),
        name=name,
        epochs=cast("Epochs | None", epochs),
    )


def check_child(
    where: str,
    *,
    restart: object,
    shutdown: object,
    significant: object,
    listed: object,
    auto_shutdown: AutoShutdown,
) -> ChildSettings:
    """Check what a program says about a child. Raises `TypeError` or `ValueError`, naming the argument and the value.

    Args:
      where: the name of the method that was called, as `start()`.
      restart, shutdown, significant, listed: see `Supervisor.start`.
      auto_shutdown: the supervisor's.
    """
    kind = check_choice(f"{where}: restart", Restart, restart)
    if not isinstance(significant, bool):
        raise TypeError(f"{where}: significant: expected True or False, got {significant!r}")
    if significant and kind is Restart.PERMANENT:
        raise ValueError(
            f"{where}: restart: expected 'transient' or 'temporary', because the child is significant, got 'permanent',"
            " which never ends by itself"
        )
    if significant and auto_shutdown is AutoShutdown.NEVER:
        raise ValueError(
            f"{where}: significant: expected False, because the supervisor has auto_shutdown='never', got True"
        )
    if shutdown is not None and not check_number(f"{where}: shutdown", shutdown) >= 0:
        raise ValueError(f"{where}: shutdown: expected seconds, 0 or more, got {shutdown!r}")
    if listed is not None and not (
        isinstance(listed, tuple) and len(listed) == 2 and all(isinstance(each, str) for each in listed)
    ):
        raise TypeError(f"{where}: listed: expected a tuple of a family and a key, or None, got {listed!r}")
    if listed is not None:
        family, key = listed
        check_entry(check_writable(family), check_text(key, "key"), _LONGEST_PORT)
    limit = None if shutdown is None else check_number(where, shutdown)
    return ChildSettings(kind, limit, significant, listed)


def check_function(where: str, function: object) -> None:
    """Raise `TypeError` for a value that cannot be an async function."""
    if not callable(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{where}: expected an async function, got {function!r}")


def check_choice(where: str, kind: type[E], value: object) -> E:
    """The member of an enumeration that this text names. Raises `TypeError` or `ValueError`."""
    choices = ", ".join(repr(member.value) for member in kind)
    if not isinstance(value, str):
        raise TypeError(f"{where}: expected one of {choices}, got {value!r}")
    for member in kind:
        if member.value == value:
            return member
    raise ValueError(f"{where}: expected one of {choices}, got {value!r}")


def check_number(where: str, value: object) -> float:
    """Return the number. Raises `TypeError` for another value, and `ValueError` for an int too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where}: expected a number of seconds, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{where}: expected a number of seconds, got one of {value.bit_length()} bits") from None  # type: ignore[union-attr]


DEFAULT_BACKOFF = Backoff()
