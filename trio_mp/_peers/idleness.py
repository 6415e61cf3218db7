"""When a connection may be given back: how long nothing has gone over it, and who wants it kept.

Nothing is noted for each message: twice in each heartbeat, counters that are kept anyway are compared with what they
were. So a connection is idle for `idle_timeout`, and up to half a heartbeat longer, before it is asked for its end.
"""

from __future__ import annotations

from collections import Counter


class Idleness:
    """What a peer knows of the idleness of its connection in use.

    Args:
      timeout: how long it must have been idle before the other side is asked to part, in seconds.
      patience: how long to wait for the answer, in seconds.
    """

    __slots__ = ("_asked_at", "_kept", "_patience", "_seen", "_since", "_timeout", "may_ask")

    def __init__(self, timeout: float, patience: float) -> None:
        self._timeout = timeout
        self._patience = patience
        self._kept: Counter[str] = Counter()
        self.connected(0.0)

    def connected(self, now: float) -> None:
        """Begin anew for another connection in use; `now` is in seconds, as everywhere here."""
        self._seen = (-1, -1)
        self._asked_at = now
        # A peer that does not answer once is not asked again: it may not know the question.
        self.may_ask = True
        self.begin(now)

    def begin(self, now: float) -> None:
        """Let the time of idleness begin anew."""
        self._since = now

    # Who wants it kept ---------------------------------------------------------------------------------------------

    @property
    def kept(self) -> bool:
        """Whether somebody wants the connection kept."""
        return bool(self._kept)

    def keep(self, reason: str) -> None:
        """Note that somebody wants the connection kept, for this reason."""
        self._kept[reason] += 1

    def release(self, reason: str) -> None:
        """Take back one `keep` for this reason. Raises `ValueError` if there is none."""
        if not self._kept[reason]:
            del self._kept[reason]
            raise ValueError(f"expected a reason for which the connection is kept, got {reason!r}")
        self._kept[reason] -= 1
        self._kept += Counter()

    # How long it has been idle -------------------------------------------------------------------------------------

    def is_due(self, now: float, seen: tuple[int, int], *, idle: bool) -> bool:
        """Whether the other side is to be asked now.

        Args:
          now: the time, in seconds.
          seen: the counters of what was sent, and of what was received.
          idle: whether nothing depends on the connection, as far as can be seen at the moment.
        """
        if not idle or seen != self._seen:
            self._seen, self._since = seen, now
        return self.may_ask and now - self._since >= self._timeout

    def asked(self, now: float) -> None:
        """Note that the other side was asked to part."""
        self._asked_at = now

    def is_overdue(self, now: float) -> bool:
        """Whether the answer has taken too long. If so, the other side is not asked again."""
        if now - self._asked_at < self._patience:
            return False
        self.may_ask = False
        return True
