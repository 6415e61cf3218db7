"""Calls, as the port sees them that is called: the message of a call, the call itself, and handlers that answer it.

A call comes as a message that knows its call. A handler with `reply=True` gets it as it is, and what it returns is the
reply. A handler without `reply=True`, and a mailbox, gets it as any message, with a reply port as its last element.

    WAITING ──begin──> RUNNING   a handler with `reply=True` has it: ends when that has ended
       │   ╲─────────> HANDED    a handler that sends its reply, or a mailbox, has it: ends when the caller says so
       └─────────────> OVER      dropped: its time was up, or nobody waited for it any more
"""

from __future__ import annotations

import enum
import inspect
import logging
import math
from collections.abc import Callable, Coroutine
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final, Protocol, cast

import trio

from .._events import fields
from .._ids import node_of
from .context import Running, find_running, running_variable

log = logging.getLogger("trio_mp.port")

FOREVER: Final = math.inf
"""The deadline of a call whose caller waits for ever."""

_UNFINISHED = frozenset({CoroutineType, GeneratorType, AsyncGeneratorType})
"""The types of what a handler returns that has not returned its reply."""


class CallStage(enum.Enum):
    """How far a call has come on the node of the port."""

    WAITING = "it waits for its port"
    HANDED = "a handler that sends its reply by message has got it, or a mailbox"
    RUNNING = "a handler that returns its reply has got it"
    OVER = "nothing more is said of it"


class CurrentCall:
    """The call that a handler with `reply=True` answers; see `current_call`.

    Attributes:
      caller: the ID of the node that has called.
      deadline: when the caller stops waiting, by Trio's clock of this node; infinite if it waits for ever. Never early:
        the way of the call is added to it.
    """

    __slots__ = ("_scopes", "_wanted", "caller", "deadline")

    def __init__(self, caller: str, deadline: float) -> None:
        self.caller: str = caller
        self.deadline: float = deadline
        # Those to be cancelled, if there are any, and whether the caller still waits for the answer.
        self._scopes: list[trio.CancelScope] | None = None
        self._wanted = True

    def __repr__(self) -> str:
        left = "" if math.isinf(self.deadline) else f", {self.deadline - trio.current_time():.3g} s left"
        return f"<CurrentCall from {self.caller}{left}>"

    def move_on_cancel(self) -> trio.CancelScope:
        """A cancel scope that is cancelled when the caller does not wait any longer, or is lost; enter it by `with`.

        Its deadline is that of the call, so calls from within the block inherit it. What was left of the block is
        skipped, as by `trio.move_on_at`; the handler goes on behind it, and what it returns is dropped.
        """
        scope = trio.CancelScope(deadline=self.deadline)
        if not self._wanted:
            scope.cancel()
        elif self._scopes is None:
            self._scopes = [scope]
        else:
            self._scopes.append(scope)
        return scope


class ArrivedCall(CurrentCall):
    """A call on the node of the port, as the package sees it. Subclasses bring what becomes of it to the caller.

    Args:
      caller, deadline: see `CurrentCall`.
    """

    __slots__ = ("_stage",)

    def __init__(self, caller: str, deadline: float) -> None:
        # As the constructor above does: a call of that one would cost as much as all of this.
        self.caller = caller
        self.deadline = deadline
        self._scopes = None
        self._wanted = True
        self._stage = CallStage.WAITING

    # What the caller is told ---------------------------------------------------------------------------------------

    def reply_port(self) -> str:
        """The ID of the port that takes the reply of a handler that sends it, and of who takes it from a mailbox."""
        raise NotImplementedError

    def tell_reply(self, value: object) -> None:
        """Bring the caller what the handler has returned.

        Raises:
          TypeError, ValueError: it cannot travel. Then the call has not ended.
        """
        raise NotImplementedError

    def tell_failure(self, error: Exception) -> None:
        """Bring the caller what the handler has raised for it."""
        raise NotImplementedError

    def tell_refusal(self, text: str) -> None:
        """Tell the caller that the port has refused the message: no handler has got it."""
        raise NotImplementedError

    def tell_expired(self) -> None:
        """Tell the caller that the time was up, so that the handler did not begin, or was cancelled."""
        raise NotImplementedError

    def forget(self) -> None:
        """Forget the call: nothing more is going to be said of it. Not called after `close`."""
        raise NotImplementedError

    # What becomes of it --------------------------------------------------------------------------------------------

    @property
    def was_begun(self) -> bool:
        """Whether a handler or a mailbox has got it."""
        return self._stage is not CallStage.WAITING

    @property
    def was_handed_on(self) -> bool:
        """Whether a handler that sends its reply, or a mailbox, has got it, and nobody knows who is going to answer."""
        return self._stage is CallStage.HANDED

    def begin(self) -> bool:
        """The port takes the message: whether it is to be handled. If not it is over, and the caller is told."""
        if self._stage is not CallStage.WAITING:
            return False
        if self._wanted and (self.deadline == FOREVER or self.deadline > trio.current_time()):
            self._stage = CallStage.RUNNING
            return True
        log.debug(
            "a call from %s was not begun: nobody waits for it any more",
            self.caller,
            extra=fields("expired", peer=self.caller),
        )
        if self._wanted:
            self.tell_expired()
        self._end()
        return False

    def hand_on(self) -> str:
        """Its message goes to somebody who sends the reply by message. Returns the ID of the reply port."""
        self._stage = CallStage.HANDED
        return self.reply_port()

    def reply(self, value: object) -> None:
        """Answer. Raises `TypeError` or `ValueError` if the value cannot travel."""
        if self._stage is not CallStage.OVER:
            if self._wanted:
                self.tell_reply(value)
            self._end()

    def fail(self, error: Exception) -> None:
        """Answer by an exception."""
        if self._stage is not CallStage.OVER:
            if self._wanted:
                self.tell_failure(error)
            self._end()

    def refuse(self, text: str) -> None:
        """Its message was refused by the port, before any handler got it."""
        if self._wanted:
            self.tell_refusal(text)
        self._end()

    def expire(self) -> None:
        """Its handler was cancelled, because its time was up or the caller waits no longer."""
        if self._stage is not CallStage.OVER:
            if self._wanted:
                self.tell_expired()
            self._end()

    def call_off(self) -> None:
        """The caller does not wait any longer, or is lost. What has begun goes on, unless it wants to be cancelled."""
        self._wanted = False
        if self._scopes is not None:
            scopes, self._scopes = self._scopes, None
            for scope in scopes:
                scope.cancel()
        if self._stage is CallStage.HANDED:
            self._end()

    def close(self) -> None:
        """Say nothing more of it: the port has died, and the caller is told of that."""
        self._stage = CallStage.OVER
        self.call_off()

    def _end(self) -> None:
        self._stage = CallStage.OVER
        self._wanted = False
        self._scopes = None
        self.forget()


class CallMessage(tuple[Any, ...]):  # noqa: SLOT001 - a tuple with slots cannot have an attribute
    """The message of a call, without the reply port. It waits among others, and knows its call.

    Whoever makes one sets `call`: a constructor of its own would cost more than all the rest of it.
    """

    call: ArrivedCall


class Mortal(Protocol):
    """What may be dead; see `Port`."""

    @property
    def alive(self) -> bool:
        """Whether it is alive."""
        ...


class Answering:
    """A handler whose result is the reply: what `Port.on(reply=True)` installs.

    Called as any handler, it handles a message that was sent plainly: what it returns is dropped, and so is what it
    raises for the caller, of whom there is none.

    Args:
      function: sync or async.
      cancel: whether the handler is cancelled when the caller does not wait any longer.
      errors: the exceptions that are for the caller.
      before: is called before the function, if it is there.
    """

    __slots__ = ("_before", "_cancel", "_errors", "_function")

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        cancel: bool,
        errors: tuple[type[Exception], ...],
        before: Callable[[Answering], None] | None,
    ) -> None:
        self._function = function
        self._cancel = cancel
        self._errors = errors
        self._before = before

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The function, whose signature `inspect.signature` then finds."""
        return self._function

    def __call__(self, *arguments: object) -> object:
        """Handle a message that was sent plainly."""
        if self._before is not None:
            self._before(self)
        try:
            result = self._function(*arguments)
        except self._errors as error:
            log.debug(
                "an exception for a caller, of whom there is none, is dropped",
                exc_info=error,
                extra=fields("answer_dropped"),
            )
            return None
        return self._drop_errors(result) if inspect.iscoroutine(result) and self._errors else result

    async def _drop_errors(self, running: Coroutine[Any, Any, object]) -> None:
        try:
            await running
        except self._errors as error:
            log.debug(
                "an exception for a caller, of whom there is none, is dropped",
                exc_info=error,
                extra=fields("answer_dropped"),
            )

    def answer(self, call: ArrivedCall, running: Running, arguments: tuple[object, ...]) -> object:
        """Handle the message of a call, and answer; or return a coroutine, for `finish`, or a generator, a mistake.

        Raises:
          whatever the function raises that is not for the caller; `TypeError` and `ValueError` for a value that cannot
          travel.
        """
        if self._before is not None:
            self._before(self)
        running.handled_call = call
        try:
            result = self._function(*arguments)
        except self._errors as error:
            call.fail(error)
            return None
        finally:
            running.handled_call = None
        if type(result) in _UNFINISHED:
            return result
        call.reply(result)
        return None

    async def finish(self, port: Mortal, call: ArrivedCall, result: Coroutine[Any, Any, object]) -> None:
        """Run an async handler, and answer.

        If the port has died meanwhile, nothing is answered: a dead port sends nothing, and the call hears of the death.
        (A sync handler returns before anything can kill its port: a kill keeps its place in the queue.)
        """
        running = running_variable.get()
        assert running is not None
        running.handled_call = call
        value: object = None
        failure: Exception | None = None
        try:
            if self._cancel:
                with call.move_on_cancel() as scope:
                    value = await result
                if scope.cancelled_caught:
                    call.expire()
                    return
            else:
                value = await result
        except self._errors as error:
            failure = error
        finally:
            running.handled_call = None
        if not port.alive:
            log.debug(
                "%s: the answer to a call is dropped: the port has died before it",
                port,
                exc_info=failure,
                extra=fields("answer_dropped", node_of(str(port))),
            )
        elif failure is not None:
            call.fail(failure)
        else:
            call.reply(value)


def current_call() -> CurrentCall | None:
    """The call that the running handler answers; None outside a handler with `reply=True`, and for a plain message.

    In the tasks of the handler's own nurseries too; not in those of `Port.start_soon`, which may outlive the call.
    """
    running = find_running()
    return cast("CurrentCall | None", running.handled_call) if running is not None else None
