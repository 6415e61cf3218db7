"""The check that the same bytes, cut into other pieces, have the same outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trio_mp._errors import RemoteProtocolError


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of some bytes: the events, as text because NaN differs from NaN, and the final error, or no text."""

    events: tuple[str, ...]
    error: str


def pieces_of(data: bytes, seed: int) -> list[bytes]:
    """Cut the bytes into pieces whose sizes, about 1 to 64, follow from the seed; one byte each for the seed 0."""
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
    """Feed the pieces until a `RemoteProtocolError`; return the outcome. Any other exception leaves."""
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
    """Check that an error's text, which goes to the log, cannot forge a line there, and is short."""
    text = str(error)
    assert text, "an error without a text"
    assert text.isprintable(), f"a text that is not printable: {text!r}"
    assert len(text) < limit, f"a text of {len(text)} characters"


def check_agreement(coarse: Outcome, fine: Outcome, sooner: tuple[str, ...] = ()) -> None:
    """Check two outcomes of the same bytes, once in larger and once in smaller pieces.

    In larger pieces, events that are complete in the same piece as a fault may be missing, because the fault ends
    everything. Otherwise the outcomes must be the same.

    Args:
      coarse, fine: the outcomes.
      sooner: the beginnings of error texts that may come from larger pieces alone, or replace another error there.
    """
    assert fine.events[: len(coarse.events)] == coarse.events, f"other events:\n{fine}\n{coarse}"
    if sooner and coarse.error.startswith(sooner):
        return
    assert coarse.error == fine.error, f"another error:\n{fine}\n{coarse}"
    assert coarse.error or coarse.events == fine.events, f"events are missing:\n{fine}\n{coarse}"
