"""What the two directions of a channel ask of the side to which they belong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NoReturn

from .._errors import PortDied

WRITTEN_AT_ONCE = 100
"""So many items, or the credit for so many, are written at once, and not when the task waits.

Otherwise the two sides would take turns: the one would work off a whole buffer while the other waits for it. For fewer
items the other side would have to wake up twice as often, which costs more than the items.
"""


class Side(ABC):
    """One side of a channel, as its directions see it.

    Attributes:
      other: the ID of the port of the other side.
      measured: whether items count in bytes: those of a channel within one node do not.
      broken: why nothing more can arrive and nothing can be sent, once that is so.
      gone: called when the other side takes nothing any more, or the channel breaks.
    """

    other: str
    measured: bool
    broken: PortDied | None
    gone: Callable[[], object]

    @abstractmethod
    def say(self, *words: object) -> None:
        """Send words to the other side, unless they mean nothing any more. Raises what `Node.send` does."""

    @abstractmethod
    def write(self) -> None:
        """Write what was said, now and not at the end of the pass."""

    @abstractmethod
    def raise_broken(self) -> NoReturn:
        """Raise the `trio.BrokenResourceError` of a channel that is broken."""
        raise NotImplementedError
