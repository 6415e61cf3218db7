"""What the command and its processes say to each other, in lines of JSON.

The command writes orders to a process's standard input; the process writes reports to its standard output. Times
are `time.monotonic()`, which is one clock for all processes of a machine.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import msgspec

_BUFFER = 64 * 1024

T = TypeVar("T")


class Assignment(msgspec.Struct, tag=True, frozen=True):
    """The first order: which node the process is, and what it does.

    Attributes:
      number: the node's number; 0 is the seed.
      run: how often it was started before.
      names: the node IDs of all nodes, by number.
      bind: the address where the node listens.
      seeds: the addresses of its seeds.
      secret: the secret of the network.
      journal: the path of its journal.
      rate: how many messages the node sends to each of the others in a second.
    """

    number: int
    run: int
    names: tuple[str, ...]
    bind: str
    seeds: tuple[str, ...]
    secret: str
    journal: str
    rate: float


class SendNoMore(msgspec.Struct, tag=True, frozen=True):
    """The second order: send no more, and report when all has arrived. The last order is the input's end."""


Order: TypeAlias = Assignment | SendNoMore


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The node is open."""


class Figures(msgspec.Struct, tag=True, frozen=True):
    """What a node reports about itself, several times a second.

    Attributes:
      at: the time of the report.
      peers: how many nodes the node is connected with.
      sent, received: how many messages, since the node was started.
      fired: how many monitors have fired, since the node was started.
      median, slow: the median and the 99th percentile of the latest round trips, in microseconds; 0 without any.
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
      at: when the monitor fired.
      about: the number of the node where that port is.
      reason: the first element of the reason: the kind of death or loss.
    """

    at: float
    about: int
    reason: str


class Arrived(msgspec.Struct, tag=True, frozen=True):
    """The first message that was sent since a monitor was set has arrived.

    Attributes:
      at: when the message arrived.
      sender, run: the number of the node that sent it, and the number of that node's run.
    """

    at: float
    sender: int
    run: int


class AllArrived(msgspec.Struct, tag=True, frozen=True):
    """Every message that this node has sent has arrived, or was reported lost."""


Report: TypeAlias = Ready | Figures | Fired | Arrived | AllArrived


def encode_line(something: Order | Report) -> bytes:
    """Encode an order or a report as a line."""
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
        """Decode the lines that these bytes complete. Raises `msgspec.MsgspecError` for a line of another kind."""
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        return [self._decoder.decode(line) for line in lines]
