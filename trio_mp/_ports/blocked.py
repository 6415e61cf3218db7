"""A time for which the event loop of a node stood, as those know it who have to explain what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Blocked:
    """The event loop stands, or stood, because something in the program neither ends nor awaits.

    Attributes:
      seconds: for how long, without the time for which the machine gave it no processor.
      place: where, as `app.py:40, in take`; empty if that is not known.
    """

    seconds: float
    place: str

    def __str__(self) -> str:
        where = f"at {self.place}" if self.place else "by code that held the interpreter lock"
        return f"blocked {self.seconds:.1f} s {where}"


Lately: TypeAlias = Callable[[float], "Blocked | None"]
"""Says how the loop of the caller was blocked if it was in the last so many seconds, or still is. Whoever asks tells of
it, in the log or in a reason. None where nobody has watched, or where it was not the program that took the time."""
