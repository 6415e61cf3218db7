"""Mutants that no test catches, because what they change is nothing that was promised: what is changed, and why."""

from __future__ import annotations

_CUT = "how much of it the log shows, one character more or less, is not promised; that it is cut short is tested"

EXPLAINED = {
    'raise RemoteProtocolError(f"expected an incarnation, got {incarnation[:40]!r}")'
    '  =>  raise RemoteProtocolError(f"expected an incarnation, got {incarnation[: 39]!r}")': _CUT,
    'f"expected a certificate for {self.peer.node_id}, which it says it is, got one for {named[:200]!r}"'
    '  =>  f"expected a certificate for {self.peer.node_id}, which it says it is, got one for {named[: 199]!r}"': _CUT,
    "@dataclass(frozen=True, slots=True)  =>  @dataclass(frozen=False, slots=True)": (
        "nothing assigns to it, and mypy sees to that"
    ),
    "@dataclass(frozen=True, slots=True)  =>  @dataclass(frozen=True, slots=False)": (
        "it only costs memory, and there is one for each node"
    ),
    "return self.in_use is None and (self.outbox.queue.size > 0 or bool(self.outbox.monitors))"
    "  =>  return self.in_use is None and (self.outbox.queue.size > 1 or bool(self.outbox.monitors))": (
        "equivalent: the size is in bytes, and the smallest message has more than one"
    ),
}
