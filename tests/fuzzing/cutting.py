"""The same bytes in other pieces must come to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trio_mp._errors import RemoteProtocolError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some bytes: the events, as text so that NaN equals NaN, and the error that ended it, or nothing."""

    events: tuple[str, ...]
    error: str


def pieces_of(data: bytes, seed: int) -> list[bytes]:
    """The bytes in pieces whose sizes, 1 to 64 or so, follow from the seed; one byte each for the seed 0."""
    if not seed:
        return [bytes([byte]) for byte in data]
    pieces: list[bytes] = []
    position, number = 0, seed
    while position < len(data):
        number = (number * 1103515245 + 12345) % 2**31
        size = 1 + (number >> 16) % (1 + seed % 64)
        pieces.append(data[position : position + size])
        position += size
    return pieces


def outcome_of(feed: Callable[[bytes], Iterable[object]], pieces: Iterable[bytes]) -> Outcome:
    """Feed the pieces until an error. Whatever is raised but `RemoteProtocolError` is raised on."""
    events: list[str] = []
    for piece in pieces:
        try:
            for event in feed(piece):
                events.append(repr(event))  # noqa: PERF401 - what came before an error counts
        except RemoteProtocolError as error:
            check_text(error)
            return Outcome(tuple(events), str(error))
    return Outcome(tuple(events), "")


def check_text(error: Exception, limit: int = 1000) -> None:
    """An error's text goes to the log, where it must forge no line and not fill the disk."""
    text = str(error)
    assert text, "an error without a text"
    assert text.isprintable(), f"a text that is not printable: {text!r}"
    assert len(text) < limit, f"a text of {len(text)} characters"


def check_agreement(coarse: Outcome, fine: Outcome, sooner: tuple[str, ...] = ()) -> None:
    """Both are outcomes of the same bytes, once in larger and once in smaller pieces.

    In larger pieces, what is complete in the same piece as a fault may be missing: the fault ends it all. Otherwise
    they must be the same.

    Args:
      coarse, fine: the outcomes.
      sooner: how the texts of errors begin that may come only of larger pieces, or come in place of another.
    """
    assert fine.events[: len(coarse.events)] == coarse.events, f"other events:\n{fine}\n{coarse}"
    if sooner and coarse.error.startswith(sooner):
        return
    assert coarse.error == fine.error, f"another error:\n{fine}\n{coarse}"
    assert coarse.error or coarse.events == fine.events, f"events are missing:\n{fine}\n{coarse}"
