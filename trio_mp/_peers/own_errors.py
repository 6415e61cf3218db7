"""Errors of this program itself, in the work for one connection: they end that connection, and the node lives.

No other node can know what state such an error has left here, and no program can mend it. So all of it is given up,
loudly: what waited for the peer is dropped and every monitor of it fires, as if the connection had broken. Errors
that are to crash the node do not come this way: see `Deaths.crash`.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, cast

from .._errors import RemoteProtocolError
from .._events import fields

log = logging.getLogger("trio_mp.connection")

M = TypeVar("M", bound=Callable[..., object])


class Survivor(Protocol):
    """A peer, or a connection with one."""

    def fail(self, error: Exception) -> None:
        """Give up what an error has been made with, and log the error."""
        ...


def survives(method: M) -> M:
    """Make an error that comes out of a method of a `Survivor` the failure of its object; the method returns None then.

    `RemoteProtocolError` passes: what the other side has done wrong is no error of this program.
    """
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def guarded_async(self: Survivor, *arguments: Any) -> None:
            try:
                await method(self, *arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is
                self.fail(error)

        return cast("M", guarded_async)

    @functools.wraps(method)
    def guarded(self: Survivor, *arguments: Any, **named: Any) -> object:
        try:
            return method(self, *arguments, **named)
        except RemoteProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.fail(error)
            return None

    return cast("M", guarded)


def tell_all(callbacks: Iterable[Callable[[str], object]], node_id: str) -> None:
    """Call all of these, whatever one raises: their connection has ended, so there is none that an error could end."""
    for callback in tuple(callbacks):
        try:
            callback(node_id)
        except Exception:
            log.exception(
                "%s: an error in this program, at the end of the connection",
                node_id,
                extra=fields("own_error", peer=node_id),
            )


def explain(error: Exception) -> str:
    """Why a connection has ended that ended because of an error, for the reasons of monitors and the log."""
    return f"an error in this program, {type(error).__name__}; its log has the traceback"
