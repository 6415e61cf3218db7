"""Mutants that no test has to catch, because they change nothing that is promised: each change, with the reason."""

from __future__ import annotations

_CUT = "a test sees to it that the log cuts the text short; whether by one character more or less is not promised"

EXPLAINED = {
    'raise RemoteProtocolError(f"expected an incarnation, got {incarnation[:40]!r}")'
    '  =>  raise RemoteProtocolError(f"expected an incarnation, got {incarnation[: 39]!r}")': _CUT,
    'f"expected a certificate for {self.peer.node_id}, which it says it is, got one for {named[:200]!r}"'
    '  =>  f"expected a certificate for {self.peer.node_id}, which it says it is, got one for {named[: 199]!r}"': _CUT,
    "@dataclass(frozen=True, slots=True)  =>  @dataclass(frozen=False, slots=True)": (
        "no code assigns to a field, and mypy checks that"
    ),
    "@dataclass(frozen=True, slots=True)  =>  @dataclass(frozen=True, slots=False)": (
        "it only costs memory, and a node has one such object"
    ),
    "return self.in_use is None and (self.outbox.queue.size > 0 or bool(self.outbox.monitors))"
    "  =>  return self.in_use is None and (self.outbox.queue.size > 1 or bool(self.outbox.monitors))": (
        "equivalent: the size is in bytes, and the smallest message has more than one byte"
    ),
}
