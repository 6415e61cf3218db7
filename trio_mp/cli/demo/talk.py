"""What the demo's processes say to each other, as lines of JSON: orders on standard input, reports on standard output.

Times are `time.monotonic()`, which is one clock for all processes of a machine.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import msgspec

_BUFFER = 64 * 1024

T = TypeVar("T")


class Assignment(msgspec.Struct, tag=True, frozen=True):
    """The first order: what a node is, and what it is to do.

    Attributes:
      number: the node's number; 0 is the seed.
      run: how often it was started before.
      names: the node IDs of all nodes, by number.
      bind: where it listens.
      seeds: the addresses of its seeds.
      secret: of the network.
      journal: the file for its entries.
      rate: how many messages it sends to each of the others, a second.
    """

    number: int
    run: int
    names: tuple[str, ...]
    bind: str
    seeds: tuple[str, ...]
    secret: str
    journal: str
    rate: float


class Drain(msgspec.Struct, tag=True, frozen=True):
    """The second order: send no more, and see that all that was sent has arrived. The last is the end of the input."""


Order: TypeAlias = Assignment | Drain


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The node is open."""


class Figures(msgspec.Struct, tag=True, frozen=True):
    """How a node is doing.

    Attributes:
      at: when.
      peers: how many nodes it is connected with.
      sent, received: messages, since it was started.
      fired: monitors, since it was started.
      median, slow: of the latest round trips, the median and the 99th percentile, in microseconds; 0 if there was none.
    """

    at: float
    peers: int
    sent: int
    received: int
    fired: int
    median: float
    slow: float


class Fired(msgspec.Struct, tag=True, frozen=True):
    """The monitor on the port that a node sends to has fired.

    Attributes:
      at: when.
      about: the number of the node where that port is.
      reason: its first element: what kind of death or loss.
    """

    at: float
    about: int
    reason: str


class Arrived(msgspec.Struct, tag=True, frozen=True):
    """The first message that was sent since a monitor was set has arrived.

    Attributes:
      at: when.
      sender, run: the number of the node that sent it, and of its run.
    """

    at: float
    sender: int
    run: int


class Drained(msgspec.Struct, tag=True, frozen=True):
    """All that this node has sent has arrived, or was reported lost."""


Report: TypeAlias = Ready | Figures | Fired | Arrived | Drained


def encode_line(something: Order | Report) -> bytes:
    """One line."""
    return msgspec.json.encode(something) + b"\n"


class LineDecoder:
    """Splits bytes into lines, and decodes them.

    Args:
      kind: what the lines are: `Order` or `Report`.
    """

    def __init__(self, kind: object) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._rest = b""

    def feed(self, data: bytes | bytearray) -> list[object]:
        """What the lines completed by these bytes say. Raises `msgspec.MsgspecError` for other lines."""
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        return [self._decoder.decode(line) for line in lines]
