"""Ports: what receives messages. Lightweight handles; all the work is done by their node's dispatcher."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio

from .._errors import PortDied
from .._ids import PortID
from .._reason import Reason, exception_reason, mailbox_full
from .backlog import Backlog
from .context import Running, find_running, running_variable
from .handlers import Handler, HandlerTable, Pattern, is_tag
from .mailbox import Mailbox
from .port_state import PortState

if TYPE_CHECKING:
    # What users see of a node is put together above; nothing here calls it.
    from .._node.node import Node

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class PortHost(ABC):
    """What ports ask of the runtime of their node.

    Attributes:
      id: the node ID.
      ports: the live ports, by name.
      clock: a monotonic clock, in seconds, for fairness only.
      public: the node as users see it.
    """

    id: str
    ports: dict[str, Port]
    clock: Callable[[], float]
    public: Node

    @abstractmethod
    def new_backlog(self) -> Backlog:
        """A place where messages of one port wait."""

    @abstractmethod
    def die(self, port: Port, reason: Reason, error: Exception | None = None, *, heard: bool = False) -> None:
        """A port dies, now.

        Args:
          port: which.
          reason: why.
          error: the exception that killed it, for the log, and for who waits for the port on this node.
          heard: whether that exception goes on to somebody, so that it is no news to anybody else.
        """

    @abstractmethod
    def die_loudly(self, port: Port, reason: Reason) -> None:
        """A port dies of a mistake in the program that has no exception of its own."""

    @abstractmethod
    def start_task(
        self, port: Port, async_function: Callable[..., Awaitable[object]], arguments: tuple[Any, ...]
    ) -> None:
        """Start a task that belongs to a port."""


class Port(PortID):
    """Something that receives messages; a `str`, namely its own port ID.

    It prints, compares, hashes and travels as the plain string that it is. On its own node, and only there, it also
    has what follows. Made by `Node.port`, `Node.open_port` and `Node.start_port`.
    """

    # `tags` and `default` are what the dispatcher looks at: all handlers of a port that is alive, idle, and has no
    # other patterns. When any of that does not hold both are None, and it asks `state`. For a port that has no state
    # yet it always holds, and its handlers are kept nowhere else. If there is a mailbox, and no handler, the default is
    # what puts messages of this node there; those of other nodes are measured, and take the long way.
    __slots__ = ("_dispatcher", "default", "more", "tags")

    _dispatcher: PortHost | None
    tags: dict[object, Handler] | None
    default: Handler | None
    more: PortState | None

    def __new__(cls, port_id: str) -> Port:
        """A port ID that is nothing but that; ports that receive are made by a node."""
        port = str.__new__(cls, port_id)
        port._dispatcher = None
        port.tags = None
        port.default = None
        port.more = None
        return port

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)

    @classmethod
    def _make(cls, dispatcher: PortHost, port_id: str, handler: Handler | None = None) -> Port:
        port = str.__new__(cls, port_id)
        port._dispatcher = dispatcher
        port.tags = None
        port.default = handler
        port.more = None
        return port

    @property
    def name(self) -> str:
        """Its name within its node: the part of the port ID behind the `#`."""
        return self[self.index("#") + 1 :]

    @property
    def dispatcher(self) -> PortHost:
        """The runtime of its node."""
        if self._dispatcher is None:
            raise RuntimeError(f"{self} is only a port ID here; what receives is made by Node.port and its siblings")
        return self._dispatcher

    @property
    def state(self) -> PortState:
        """What only some ports need; made when first asked for."""
        state = self.more
        if state is None:
            state = self.more = PortState(HandlerTable(self.tags, self.default))
        return state

    def rearm(self) -> None:
        """Let the dispatcher look up handlers directly, if that is all there is to it."""
        state = self.state
        handlers = state.handlers
        self.tags = self.default = None
        if state.busy or not state.alive:
            return
        if state.mailbox is None:
            if not handlers.patterns:
                self.tags = handlers.tags or None
                self.default = handlers.default
        elif not handlers:
            self.default = state.mailbox.put

    # For users ------------------------------------------------------------------------------------------------------

    @property
    def node(self) -> Node:
        """The node it lives on."""
        return self.dispatcher.public

    @property
    def alive(self) -> bool:
        """Whether it has not died. A kill that was sent but has not arrived leaves it alive until it does."""
        return self._dispatcher is not None and (self.more is None or self.more.alive)

    def on(self, *pattern: object, once: bool = False) -> Callable[[F], F]:
        """Install a handler: `@port.on("tag")`, or `port.on("tag")(function)`.

        Args:
          pattern: the handler gets messages that begin with these elements. It is called with the elements that
            matched `ANY`, in their order, and then with what follows the pattern: the handler of `on("a", ANY, "c")`
            gets `("b", "d")` of the message `("a", "b", "c", "d")`, and that of `on(ANY)` whole messages. `ANY`
            matches any element; others are compared with `==`. The longest pattern wins, then an exact element over
            `ANY`, left to right. Without a pattern the handler gets whatever no other handler does, whole.
          once: take the handler away before it is called.

        The handler is a sync or an async function. One message is handled at a time: while an async handler runs,
        later messages for the port wait. An exception kills the port, with `("die", "ValueError: …")`. A handler of
        the same pattern replaces the earlier one.

        Raises:
          PortDied: the port is dead.
          TypeError: what is decorated is not callable, or a function is where the pattern should be.
        """

        def install(function: F) -> F:
            if not callable(function):
                raise TypeError(f"a handler must be callable, not {function!r}")
            self._check_alive()
            self._install(pattern, self._once(pattern, function) if once else function)
            return function

        self._check_alive()
        if pattern and callable(pattern[-1]) and not isinstance(pattern[-1], type):
            raise TypeError(
                f"{pattern[-1]!r} is no pattern: write @port.on('tag') above a function, or port.on('tag')(function);"
                " @port.on() for all others"
            )
        return install

    def _install(self, pattern: Pattern, handler: Handler) -> None:
        if self.more is not None or (pattern and not is_tag(pattern)):
            self.state.handlers.add(pattern, handler)
            self.rearm()
        elif not pattern:
            self.default = handler
        elif self.tags is None:
            self.tags = {pattern[0]: handler}
        else:
            self.tags[pattern[0]] = handler

    def _once(self, pattern: Pattern, function: Handler) -> Handler:
        def handle_once(*arguments: object) -> object:
            if self.state.handlers.get(pattern) is handle_once:
                self.off(*pattern)
            return function(*arguments)

        return handle_once

    def off(self, *pattern: object) -> None:
        """Take the handler of exactly this pattern away. It is no error if there is none."""
        self.dispatcher  # noqa: B018 - raises where this is only a port ID
        self.state.handlers.remove(pattern)
        self.rearm()

    @trio.lowlevel.enable_ki_protection
    async def receive(self, *pattern: object) -> tuple[Any, ...]:
        """The first queued message that begins with the pattern, whole; the others stay queued.

        Handlers come before the mailbox: what one takes is not queued. Only ports of `Node.open_port` and
        `Node.start_port` have a mailbox.

        Args:
          pattern: which messages, as for `on`; without one, the first message. What is returned is the whole message.

        Raises:
          PortDied: the port has died, or dies while this waits.
          trio.BusyResourceError: another task is already receiving from this port.
          RuntimeError: the port has no mailbox.

        A message that is already there is returned without a full scheduler pass: cancellation is checked, and other
        tasks run at least every millisecond. Cancelled, it has taken no message.
        """
        try:
            return await self._mailbox().receive(pattern)
        except StopAsyncIteration:
            raise PortDied(self, self.state.reason) from None

    def __aiter__(self) -> AsyncIterator[tuple[Any, ...]]:
        """Messages, one after the other.

        It ends when the port dies normally, or because its own node closes; another death raises `PortDied`.

        Raises:
          RuntimeError: the port has no mailbox.
        """
        return self._mailbox()

    async def __anext__(self) -> tuple[Any, ...]:
        return await self._mailbox().receive()

    def _mailbox(self) -> Mailbox:
        mailbox = self.state.mailbox if self._dispatcher is not None else None
        if mailbox is None:
            raise RuntimeError(f"{self} has no mailbox: only ports of open_port() and start_port() have one")
        return mailbox

    def start_soon(self, async_function: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """Start a task that belongs to the port: if it raises the port dies, if the port dies it is cancelled.

        Args:
          async_function, arguments: as for `trio.Nursery.start_soon`.

        Raises:
          PortDied: the port is dead.
        """
        if not callable(async_function):
            raise TypeError(f"start_soon() takes an async function, not {async_function!r}")
        self._check_alive()
        self.dispatcher.start_task(self, async_function, arguments)

    def run(self, function: Callable[..., T], *arguments: Any) -> T | None:
        """Run a sync function in the port's context, now.

        An exception in it kills the port, as in a handler, and goes no further; then this returns None.

        Raises:
          PortDied: the port is dead.
          TypeError: the function is async; use `start_soon`.
        """
        if not callable(function):
            raise TypeError(f"run() takes a sync function, not {function!r}")
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"run() takes a sync function; for {function!r} use start_soon()")
        self._check_alive()
        token = running_variable.set(Running(self._dispatcher, self, trio.lowlevel.current_task()))
        try:
            return function(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
            self.dispatcher.die(self, exception_reason(error), error)
            return None
        finally:
            running_variable.reset(token)

    def wrap(self, function: Callable[..., T]) -> Callable[..., T | None]:
        """A function that, whenever it is called, runs this one in the port's context, as `run` does."""
        if not callable(function):
            raise TypeError(f"wrap() takes a sync function, not {function!r}")
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"wrap() takes a sync function; for {function!r} use start_soon()")

        def run_in_port(*arguments: Any) -> T | None:
            return self.run(function, *arguments)

        return run_in_port

    def kill(self, *reason: object) -> None:
        """Kill the port; as `Node.kill`."""
        self.dispatcher.public.kill(self, *reason)

    def _check_alive(self) -> None:
        if not self.alive:
            self.dispatcher  # noqa: B018 - raises where this is only a port ID
            raise PortDied(self, self.state.reason)


def new_port(dispatcher: PortHost, name: str, handler: Handler | None = None) -> Port:
    """A new port of this name, in the table of its node."""
    if handler is not None and not callable(handler):
        raise TypeError(f"a handler must be callable, not {handler!r}")
    port = Port._make(dispatcher, f"{dispatcher.id}#{name}", handler)
    dispatcher.ports[name] = port
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
        raise RuntimeError("current_port() answers only inside handlers and tasks of a port")
    return port


def current_node() -> Node:
    """The node whose port's handler or task is running.

    Raises:
      RuntimeError: no code of a port is running.
    """
    running = find_running()
    if running is None or running.port is None:
        raise RuntimeError("current_node() answers only inside handlers and tasks of a port")
    return cast("PortHost", running.dispatcher).public


def attach_mailbox(port: Port) -> None:
    """Let messages that no handler takes wait in the port."""
    dispatcher = port.dispatcher

    def overflow(text: str) -> None:
        dispatcher.die_loudly(port, mailbox_full(text))

    port.state.mailbox = Mailbox(port, dispatcher.new_backlog(), dispatcher.clock, overflow)
    port.rearm()
