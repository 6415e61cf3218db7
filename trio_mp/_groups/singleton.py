"""One place for several candidates, at run time: a function that runs while its candidate has its turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import trio

from .._ids import random_token
from .._protocol.groups.singleton import NUMBER_LIMIT, Candidate, CandidateState
from .._runtime import Runtime
from .._services.database import Database, check_writable

T = TypeVar("T")


class TurnTaker:
    """A candidate, and the function that it runs; see `Node.run_singleton`.

    The function runs in the task of the caller. A task of the node follows the family, and cancels the turn.

    Args:
      runtime, database: the node's.
      family: where the candidates are.
      seen: see `Candidate`.
    """

    def __init__(self, runtime: Runtime, database: Database, family: str, seen: int) -> None:
        self._runtime = runtime
        self._database = database
        self._family = family
        self._candidate = Candidate(runtime.id, random_token(runtime.environment.entropy), seen)
        self._said: list[object] | None = None
        self._turn: trio.CancelScope | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._following = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self, async_function: Callable[..., Awaitable[T]], arguments: tuple[Any, ...]) -> T:
        """Have one turn after the other, until the function has returned or raised. A checkpoint."""
        self._runtime.lifecycle.start_system_task(self._follow)
        try:
            while True:
                await trio.lowlevel.checkpoint()
                while self._candidate.state is not CandidateState.RUNS:
                    if self._ended.is_set():
                        raise trio.ClosedResourceError(f"node {self._runtime.id} is closed")
                    await self._changed.park()
                with trio.CancelScope() as self._turn:
                    return await async_function(self._candidate.epoch, *arguments)
                # Nothing of it runs any more: now the entry may say so.
                self._turn = None
                self._candidate.unwound()
                self._say()
        finally:
            self._following.cancel()
            if self._said is not None and not self._runtime.closed:
                self._database._drop_own(self._family, self._candidate.key)
            if self._runtime.lifecycle.nursery is not None:
                with trio.CancelScope(shield=True):
                    await self._ended.wait()

    async def _follow(self) -> None:
        try:
            with self._following, suppress(trio.ClosedResourceError):
                async with self._database.watch(self._family) as changes:
                    async for _ in changes:
                        # As it is now. By an older change a claim would be made that is called off a moment later.
                        self._look(self._database._followed(self._family))
        finally:
            self._ended.set()
            self._changed.unpark_all()

    @trio.lowlevel.enable_ki_protection
    def _look(self, table: Mapping[str, object]) -> None:
        candidate = self._candidate
        waits = candidate.state in (CandidateState.WAITS, CandidateState.CLAIMS)
        if waits and self._runtime.standing.draining.is_set():
            # This node takes no new turn: the place is for others.
            candidate.unwound()
        else:
            candidate.look(table)
        if candidate.state is CandidateState.YIELDS:
            if self._turn is not None:
                self._turn.cancel()
            else:
                # The caller's task has not come to it.
                candidate.unwound()
        self._say()
        self._changed.unpark_all()

    def _say(self) -> None:
        """Set the entry, if it is to say something else now."""
        entry = self._candidate.entry
        if entry != self._said and not self._following.cancel_called:
            self._said = entry
            self._database._set_own(self._family, self._candidate.key, entry)


def check_singleton(family: object, async_function: object, seen: object) -> tuple[str, int]:
    """The arguments of `Node.run_singleton`. Raises `TypeError` or `ValueError`."""
    name = check_writable(family)
    if not callable(async_function):
        raise TypeError(f"run_singleton(): expected an async function, got {async_function!r}")
    if isinstance(seen, bool) or not isinstance(seen, int):
        raise TypeError(f"run_singleton(): seen: expected a number, got {seen!r}")
    if not 0 <= seen < NUMBER_LIMIT:
        raise ValueError(f"run_singleton(): seen: expected a number from 0 and below 2**62, got {seen!r}")
    return name, seen
