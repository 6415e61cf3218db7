"""Reasons as tests compare them."""

from __future__ import annotations

import re


class Died:
    """Equals the reason of a port that an exception has killed, wherever in a program that was raised.

    Args:
      text: the type and the text of the exception.
      place: a pattern for where it was raised.
    """

    def __init__(self, text: str, place: str = r"\w+\.py:\d+, in [\w.<>]+") -> None:
        self._text = text
        self._pattern = re.compile(rf"{re.escape(text)} \({place}\)")

    def __eq__(self, reason: object) -> bool:
        match reason:
            case ("die", str(text)):
                return self._pattern.fullmatch(text) is not None
            case _:
                return False

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Died({self._text!r})"
