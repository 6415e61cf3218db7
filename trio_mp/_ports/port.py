"""Ports: what receives messages. Lightweight handles; all the work is done by their node's dispatcher."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

import trio

from .._errors import PortDied
from .._ids import PortID
from .._reason import Reason, exception_reason, mailbox_full
from .backlog import Backlog
from .calls import Answering
from .context import Running, find_running, running_variable
from .handlers import Handler, HandlerTable, Pattern, RefusingTable, is_tag
from .mailbox import Mailbox, Receiver
from .port_state import Gravestone, PortState
from .port_statistics import PortStatistics

if TYPE_CHECKING:
    # For type checkers only: the room of `Node` is above this one, and nothing here calls it.
    from .._node.node import Node

OnBad: TypeAlias = Literal["die", "refuse"]
"""What follows from a message that no handler takes."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


SAME_MOMENT = 0.1
"""For how many seconds the ports that are made have the same time of birth: a float takes 24 bytes."""


class PortLifecycle(ABC):
    """What ports ask of the lifecycle that keeps them.

    Attributes:
      id: the node ID.
      ports: the live ports, by name.
      clock: a monotonic clock, in seconds, for fairness only.
      public: the node as users see it.
      mailboxes: the live ports that have a mailbox.
      moment: when a port was made last, by that clock, or up to `SAME_MOMENT` before.
    """

    id: str
    ports: dict[str, Port]
    mailboxes: dict[Port, None]
    clock: Callable[[], float]
    public: Node
    moment = 0.0

    @abstractmethod
    def new_backlog(self) -> Backlog:
        """Make a place where messages of one port wait."""

    @abstractmethod
    def die(self, port: Port, reason: Reason, error: Exception | None = None, *, heard: bool = False) -> None:
        """Let a port die now.

        Args:
          port: the port.
          reason: why it dies.
          error: the exception that killed it, for the log, and for tasks of this node that wait for the port.
          heard: whether that exception reaches the program in another way, so that it need not be logged.
        """

    @abstractmethod
    def die_of_overflow(self, port: Port, reason: Reason) -> None:
        """As `die_loudly`, because there is no room for a message, which is lost."""

    @abstractmethod
    def die_loudly(self, port: Port, reason: Reason) -> None:
        """Let a port die of a mistake of the program for which nothing was raised. `PortDied` stands in for that."""

    @abstractmethod
    def start_task(
        self, port: Port, async_function: Callable[..., Awaitable[object]], arguments: tuple[Any, ...]
    ) -> None:
        """Start a task that belongs to a port: if the task raises the port dies, if the port dies it is cancelled."""


class Port(PortID):
    """Something that receives messages; a `str`, namely its own port ID.

    It prints, compares, hashes and travels as the plain string that it is. On its own node, and only there, it also
    has what follows. Made by `Node.port`, `Node.open_port` and `Node.start_port`.
    """

    # The dispatcher looks at `_tags` and `_default` first. They are all handlers of a port that is alive, idle, and has
    # no other patterns. For any other port both are None, and the dispatcher asks `state_of`. A port without a state is
    # of the first kind, and its handlers are kept nowhere else. If there is a mailbox and no handler, the default puts
    # messages of this node there; the dispatcher measures those of other nodes, and takes the long way with them.
    # `_received` and `_born` are for `statistics`: two words in each of a million idle ports, and not one more.
    __slots__ = ("_born", "_default", "_lifecycle", "_received", "_state", "_tags")

    _born: float | None
    _default: Handler | None
    _lifecycle: PortLifecycle | None
    _received: int
    _state: PortState | Gravestone | None
    _tags: dict[object, Handler] | None

    def __new__(cls, port_id: str) -> Port:
        """A port ID that is nothing but that; ports that receive are made by a node."""
        port = str.__new__(cls, port_id)
        port._lifecycle = None
        port._tags = None
        port._default = None
        port._state = None
        port._received = 0
        port._born = None
        return port

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)

    @property
    def name(self) -> str:
        """The part of the port ID behind the `#`, which names this port within its node."""
        return self[self.index("#") + 1 :]

    @property
    def node(self) -> Node:
        """The node that this port lives on. Raises `RuntimeError` if this is only a port ID."""
        return lifecycle_of(self).public

    @property
    def alive(self) -> bool:
        """Whether this port is alive. A kill that is on its way has not killed it yet; a mere port ID is not alive."""
        return self._lifecycle is not None and (self._state is None or self._state.alive)

    def on(
        self,
        *pattern: object,
        once: bool = False,
        reply: bool = False,
        cancel: bool = False,
        errors: tuple[type[Exception], ...] = (),
    ) -> Callable[[F], F]:
        """Install a handler: `@port.on("tag")`, or `port.on("tag")(function)`.

        Args:
          pattern: the handler gets messages that begin with these elements. It is called with the elements that
            matched `ANY`, in their order, and then with what follows the pattern: the handler of `on("a", ANY, "c")`
            gets `("b", "d")` of the message `("a", "b", "c", "d")`, and that of `on(ANY)` whole messages. `ANY`
            matches any element; others are compared with `==`. The longest pattern wins, then an exact element over
            `ANY`, left to right. Without a pattern the handler gets whatever no other handler does, whole.
          once: take the handler away before it is called.
          reply: what the handler returns is the reply to a call (`Node.call`), exactly one element, None too. It does
            not get the reply port. Of a message that was sent plainly, what it returns is dropped.
          cancel: an async handler with `reply` is cancelled when the caller stops waiting, or is lost.
          errors: exceptions of a handler with `reply` that go to the caller as `CallError`, and kill nothing. Of a
            message that was sent plainly they are dropped.

        The handler is a sync or an async function. One message is handled at a time: while an async handler runs,
        later messages for the port wait. An exception kills the port, with `("die", "ValueError: …")`. A handler of
        the same pattern replaces the earlier one.

        Raises:
          PortDied: the port is dead.
          TypeError: what is decorated is not callable, or a function is where the pattern should be; `errors` is no
            tuple of subclasses of `Exception`; `cancel` or `errors` was given without `reply`.
        """

        def install(function: F) -> F:
            if not callable(function):
                raise TypeError(f"a handler: expected a function, got {function!r}")
            self._check_alive()
            handler: Handler = function
            if reply:
                before = self._take_away(pattern) if once else None
                handler = Answering(function, cancel=cancel, errors=errors, before=before)
            elif once:
                handler = self._once(pattern, function)
            self._install(pattern, handler)
            return function

        _check_reply(reply, cancel, errors)
        self._check_alive()
        if pattern and callable(pattern[-1]) and not isinstance(pattern[-1], type):
            raise TypeError(
                f"on(): expected the first elements of messages, got the function {pattern[-1]!r};"
                " write @port.on('tag') above the function, or port.on('tag')(function); @port.on() for all others"
            )
        return install

    def _install(self, pattern: Pattern, handler: Handler) -> None:
        if self._state is not None or (pattern and not is_tag(pattern)):
            state_of(self).handlers.add(pattern, handler)
            rearm(self)
        elif not pattern:
            self._default = handler
        elif self._tags is None:
            self._tags = {pattern[0]: handler}
        else:
            self._tags[pattern[0]] = handler

    def _once(self, pattern: Pattern, function: Handler) -> Handler:
        take_away = self._take_away(pattern)

        def handle_once(*arguments: object) -> object:
            take_away(handle_once)
            return function(*arguments)

        # What `inspect.signature` follows.
        handle_once.__wrapped__ = function  # type: ignore[attr-defined]
        return handle_once

    def _take_away(self, pattern: Pattern) -> Callable[[Handler], None]:
        def take_away(handler: Handler) -> None:
            if state_of(self).handlers.get(pattern) is handler:
                self.off(*pattern)

        return take_away

    def off(self, *pattern: object) -> None:
        """Take the handler of exactly this pattern away. It is no error if there is none."""
        lifecycle_of(self)  # - raises where this is only a port ID
        state_of(self).handlers.remove(pattern)
        rearm(self)

    @trio.lowlevel.enable_ki_protection
    def receive(self, *pattern: object) -> Coroutine[Any, Any, tuple[Any, ...]]:
        """Take the first queued message that begins with the pattern; the others stay queued. To be awaited.

        Handlers come before the mailbox: what one takes is not queued. Only ports of `Node.open_port` and
        `Node.start_port` have a mailbox.

        Args:
          pattern: the first elements of the message, as for `on`; without a pattern, any message.

        Returns:
          The whole message, with the elements of the pattern.

        Raises:
          PortDied: the port has died, or dies while this waits.
          trio.BusyResourceError: another task is already receiving from this port.
          RuntimeError: the port has no mailbox.

        A message that is already there is returned without a full scheduler pass: cancellation is checked, and other
        tasks run at least every millisecond. Cancelled, it has taken no message.
        """
        # Not an async function that awaits this: a coroutine more is a quarter of what a receive costs.
        return self._receiver().receive(pattern, iterates=False)

    def receive_nowait(self, *pattern: object) -> tuple[Any, ...]:
        """Take the first queued message that begins with the pattern, if there is one; the others stay queued.

        As `receive`, but it never waits: it is not a checkpoint, and lets no other task run. Only messages that have
        arrived before are there. A message that was sent a moment ago arrives when the node delivers it, so not before
        the next checkpoint.

        Args:
          pattern: as for `receive`.

        Returns:
          The whole message, with the elements of the pattern.

        Raises:
          trio.WouldBlock: no message that matches is there.
          PortDied: the port has died.
          trio.BusyResourceError: another task is already receiving from this port.
          RuntimeError: the port has no mailbox, or the caller is no task of Trio.
        """
        return self._receiver().receive_nowait(pattern)

    def __aiter__(self) -> AsyncIterator[tuple[Any, ...]]:
        """Messages, one after the other.

        It ends when the port dies normally, or because its own node closes; another death raises `PortDied`. For
        `Node.drain`, the loop is at work with each message until it asks for the next one, or is left.

        Raises:
          RuntimeError: the port has no mailbox, or the caller is no task of Trio.
        """
        return self._receiver().begin_loop()

    def __anext__(self) -> Coroutine[Any, Any, tuple[Any, ...]]:
        return self._receiver().receive()

    def _receiver(self) -> Receiver:
        if self._state is None or self._state.receiver is None:
            raise RuntimeError(f"expected a port with a mailbox, got {self}; make it with open_port() or start_port()")
        return self._state.receiver

    def start_soon(self, async_function: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """Start a task that belongs to the port: if it raises the port dies, if the port dies it is cancelled.

        Args:
          async_function, arguments: as for `trio.Nursery.start_soon`.

        Raises:
          PortDied: the port is dead.
        """
        if not callable(async_function):
            raise TypeError(f"start_soon(): expected an async function, got {async_function!r}")
        self._check_alive()
        lifecycle_of(self).start_task(self, async_function, arguments)

    def run(self, function: Callable[..., T], *arguments: Any) -> T | None:
        """Run a sync function in the port's context, now.

        An exception in it kills the port, as in a handler, and goes no further; then this returns None.

        Raises:
          PortDied: the port is dead.
          TypeError: the function is async; use `start_soon`.
        """
        if not callable(function):
            raise TypeError(f"run(): expected a sync function, got {function!r}")
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"run(): expected a sync function, got {function!r}; use start_soon()")
        self._check_alive()
        token = running_variable.set(Running(lifecycle_of(self).public, self, trio.lowlevel.current_task()))
        try:
            return function(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
            lifecycle_of(self).die(self, exception_reason(error), error)
            return None
        finally:
            running_variable.reset(token)

    def wrap(self, function: Callable[..., T]) -> Callable[..., T | None]:
        """A function that, whenever it is called, runs this one in the port's context, as `run` does."""
        if not callable(function):
            raise TypeError(f"wrap(): expected a sync function, got {function!r}")
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"wrap(): expected a sync function, got {function!r}; use start_soon()")

        def run_in_port(*arguments: Any) -> T | None:
            return self.run(function, *arguments)

        return run_in_port

    def statistics(self) -> PortStatistics:
        """What this port has received, and what waits in it. Not a checkpoint. Works on a dead port, too.

        Raises:
          RuntimeError: this is only a port ID.
        """
        lifecycle, state = lifecycle_of(self), self._state if isinstance(self._state, PortState) else None
        mailbox = state.mailbox if state is not None else None
        return PortStatistics(
            alive=self.alive,
            received=self._received,
            waiting=queued_in(self)[0],
            age=max(0.0, lifecycle.clock() - self._born) if self._born is not None else None,
            mailbox=mailbox is not None,
            tasks=state.tasks if state is not None else 0,
            monitors=len(state.monitors) if state is not None else 0,
        )

    def kill(self, *reason: object) -> None:
        """Kill the port; as `Node.kill`."""
        lifecycle_of(self).public.kill(self, *reason)

    def _check_alive(self) -> None:
        if not self.alive:
            lifecycle_of(self)  # - raises where this is only a port ID
            raise PortDied(self, state_of(self).reason)


def _check_reply(reply: bool, cancel: bool, errors: object) -> None:
    """Check the arguments of `Port.on` that are about replies. Raises `TypeError`."""
    if not isinstance(errors, tuple) or not all(isinstance(one, type) and issubclass(one, Exception) for one in errors):
        raise TypeError(f"on(): expected errors to be a tuple of subclasses of Exception, got {errors!r}")
    if (cancel or errors) and not reply:
        raise TypeError("on(): expected reply=True with cancel and errors, which are about the caller; add it")


def lifecycle_of(port: Port) -> PortLifecycle:
    """The lifecycle that keeps a port. Raises `RuntimeError` where it is only a port ID."""
    if port._lifecycle is None:
        raise RuntimeError(f"expected a Port that a node made, got the port ID {port}; make one with Node.port()")
    return port._lifecycle


def state_of(port: Port) -> PortState:
    """The state of a port, which is made when somebody needs it for the first time: most ports never have one."""
    state = port._state
    if not isinstance(state, PortState):
        grave, state = state, PortState(HandlerTable(port._tags, port._default))
        if grave is not None:
            state.alive, state.reason = False, grave.reason
        port._state = state
    return state


def rearm(port: Port) -> None:
    """Set what the dispatcher looks at first in a port, after its handlers or its state have changed.

    Handlers go into the port itself where looking them up there finds the right one; else both attributes are None.
    """
    state = state_of(port)
    handlers = state.handlers
    port._tags = port._default = None
    if state.busy or not state.alive or state.tracer is not None:
        return
    if state.mailbox is None:
        if not handlers.patterns and type(handlers) is HandlerTable:
            port._tags = handlers.tags or None
            port._default = handlers.default
    elif not handlers:
        port._default = state.mailbox.put


def new_port(lifecycle: PortLifecycle, name: str, handler: Handler | None = None) -> Port:
    """A new port of this name, in the table of its node."""
    if handler is not None and not callable(handler):
        raise TypeError(f"a handler: expected a function, got {handler!r}")
    port = str.__new__(Port, f"{lifecycle.id}#{name}")
    port._lifecycle = lifecycle
    port._tags = None
    port._default = handler
    port._state = None
    port._received = 0
    now = lifecycle.clock()
    if now - lifecycle.moment > SAME_MOMENT:
        lifecycle.moment = now
    port._born = lifecycle.moment
    lifecycle.ports[name] = port
    return port


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


def check_on_bad(method: str, on_bad: object) -> bool:
    """Whether a port is to refuse bad messages. Raises `ValueError` for anything but the two words."""
    if on_bad not in {"die", "refuse"}:
        raise ValueError(f"{method}(): expected on_bad to be 'die' or 'refuse', got {on_bad!r}")
    return on_bad == "refuse"


def refuse_bad(port: Port) -> Port:
    """Have a new port refuse bad messages, and not die of them; returns it. Its handler of all messages is kept."""
    state = state_of(port)
    refusing, handlers = RefusingTable(), state.handlers
    refusing.takes_rest = state.mailbox is not None
    if handlers.default is not None:
        refusing.add((), handlers.default)
    state.handlers = refusing
    rearm(port)
    return port


def running_port() -> Port | None:
    """The port whose handler or task is running, or None."""
    running = find_running()
    return cast("Port | None", running.port) if running is not None else None


def current_port() -> Port:
    """The port whose handler or task is running.

    Raises:
      RuntimeError: no code of a port is running.
    """
    port = running_port()
    if port is None:
        raise RuntimeError("current_port(): expected a running port, got none; call it in a handler or task of a port")
    return port


def current_epoch() -> int | None:
    """The epoch of the running port: which life of a supervised child it is, as a number.

    A supervisor gives each life of a child a greater number than all lives before it, so a resource that is told the
    epoch can refuse a life that should have ended. None for a port that no supervisor has started: so one function can
    be started in both ways.

    Raises:
      RuntimeError: no code of a port is running.
    """
    port = running_port()
    if port is None:
        raise RuntimeError("current_epoch(): expected a running port, got none; call it in a handler or task of a port")
    state = port._state
    return state.epoch if isinstance(state, PortState) else None


def current_node() -> Node:
    """The node whose port's handler or task is running.

    Raises:
      RuntimeError: no code of a port is running.
    """
    running = find_running()
    if running is None or running.port is None:
        raise RuntimeError("current_node(): expected a running port, got none; call it in a handler or task of a port")
    return running.node


def attach_mailbox(port: Port) -> None:
    """Let messages that no handler takes wait in the port."""
    lifecycle = lifecycle_of(port)

    def overflow(text: str) -> None:
        lifecycle.die_of_overflow(port, mailbox_full(text))

    state = state_of(port)
    if isinstance(state.handlers, RefusingTable):
        state.handlers.takes_rest = True
    lifecycle.mailboxes[port] = None
    state.mailbox = Mailbox(port, lifecycle.new_backlog(), lifecycle.clock, overflow)
    state.receiver = Receiver(state.mailbox)
    rearm(port)
