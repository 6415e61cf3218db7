"""Messages at the limits of what one may hold, and the bytes that a queue writes for them."""

from __future__ import annotations

from typing import Any

from wire_values import NAME

from trio_mp._protocol.association.queue import OutgoingQueue
from trio_mp._protocol.wire.framing import Framing
from trio_mp._protocol.wire.limits import (
    MAXIMUM_CONTAINERS,
    MAXIMUM_ENTRIES,
    MAXIMUM_VALUES,
)

LIMIT = 64 * 1024 * 1024


def sent(framing: Framing, *message: object, before: int = 0) -> bytes:
    """What a queue writes for a message, behind so many small ones."""
    queue = OutgoingQueue(10 * LIMIT)
    assert queue.adapt(framing, LIMIT) == {}
    for number in range(before):
        queue.append("", ([[number]],), LIMIT)
    queue.append(NAME, message, LIMIT)
    stream = bytearray()
    while (chunk := queue.next_chunk()) is not None:
        stream += chunk
        queue.advance(len(chunk))
    return bytes(stream)


AT_THE_LIMIT: dict[str, Any] = {
    "lists": [[]] * (MAXIMUM_CONTAINERS - 2),
    "dicts": {"a": [{}] * (MAXIMUM_CONTAINERS - 3)},
    "values": [1] * (MAXIMUM_VALUES - 1),
    "values in dicts": [dict.fromkeys(map(str, range(9)), 0)] * (MAXIMUM_VALUES // 19 - 1),
    "entries": [dict.fromkeys(map(str, range(MAXIMUM_ENTRIES)), 0), {}],
}
WANTED = {
    "a million numbers": [number * 1.1 for number in range(10**6)],
    "100,000 dicts of five": [{"a": 1, "b": 2.5, "c": "hello", "d": None, "e": row} for row in range(100_000)],
    "64 MiB of text": "x[{,:" * (LIMIT // 5 - 100),
}
