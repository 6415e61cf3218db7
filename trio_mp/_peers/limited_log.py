"""Lines in the log that strangers can cause: few are written, more are counted, so that no disk fills up."""

from __future__ import annotations

import logging

from .._events import fields

BURST = 25
"""How many lines may be written at once."""

REFILL = 10.0
"""After how many seconds one more may be written."""

SUMMARY = 60.0
"""How often what was left out is counted up in a line, in seconds."""

SOURCES = 1000
"""How many sources are kept in mind of which something is said only once."""


class LimitedLog:
    """A logger with a bound, a token bucket.

    Args:
      log: where the lines go, as warnings.
      now: a monotonic time in seconds; later ones must be given to the methods.
      node_id: the ID of the node that logs.
    """

    def __init__(self, log: logging.Logger, now: float, node_id: str = "") -> None:
        self._node_id = node_id
        self._log = log
        self._left = float(BURST)
        self._filled_at = self._told_at = now
        self._omitted = 0
        # Those of `warn_once`; a dict for its order.
        self._known: dict[str, None] = {}

    def warn(self, now: float, text: str, *arguments: object, error: Exception | None = None) -> None:
        """Log a line, or count it: a warning or, of an error of this program, an error with its traceback."""
        if self.allows(now):
            self._log.log(
                logging.ERROR if error else logging.WARNING,
                text,
                *arguments,
                exc_info=error,
                extra=fields("own_error" if error else "stranger", self._node_id),
            )
        else:
            self.omit(now)

    def warn_once(self, now: float, source: str, text: str, *arguments: object) -> None:
        """Log a line once for each source: the other side means well, and tries again and again."""
        if source not in self._known:
            if len(self._known) >= SOURCES:
                del self._known[next(iter(self._known))]
            self._known[source] = None
            self.warn(now, text, *arguments)

    def allows(self, now: float) -> bool:
        """Whether the caller may log a line now. If so it must, because the line counts."""
        self._left = min(float(BURST), self._left + (now - self._filled_at) / REFILL)
        self._filled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def omit(self, now: float) -> None:
        """Count a refusal that gets no line of its own."""
        if not self._omitted:
            self._told_at = now
        self._omitted += 1

    def summarise(self, now: float) -> None:
        """Log how many refusals got no line, at most once in a minute. Call this now and then."""
        if self._omitted and now - self._told_at >= SUMMARY:
            self._log.warning(
                "%d more connections were refused in the last %d s, and not logged one by one",
                *(self._omitted, round(now - self._told_at)),
                extra=fields("stranger", self._node_id),
            )
            self._omitted = 0
