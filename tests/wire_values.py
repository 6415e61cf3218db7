"""Values that travel, values that do not and with which error, and how they compare when they have arrived."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import math
import struct
import uuid
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import strategies as st

from trio_mp._ids import PortID
from trio_mp._protocol.wire import codec

NAME = "abcdefghABCDEFGH.1"


class LivePort(PortID):
    """A port as its own node has it: more than a string, but its ID is what travels."""

    def __str__(self) -> str:
        return "not this"

    def __repr__(self) -> str:
        return "nor this"


class Colour(enum.Enum):
    RED = 1


class Weight(enum.IntEnum):
    HEAVY = 1


class Tag(enum.StrEnum):
    GO = "go"


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class Point:
    x: int = 0


class Pair(msgspec.Struct):
    x: int = 0


Named = collections.namedtuple("Named", "x")
port_ids = st.sampled_from([PortID("node#"), PortID(f"node#{NAME}"), LivePort("live#"), LivePort("live/1#")])
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary() | port_ids
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | port_ids, inner),
    max_leaves=20,
)
messages = st.lists(values, max_size=5).map(tuple)


def as_received(value: object) -> object:
    """What arrives when this is sent."""
    if isinstance(value, PortID):
        return str.__str__(value)
    if isinstance(value, list | tuple):
        return [as_received(item) for item in value]
    if isinstance(value, dict):
        return {as_received(key): as_received(item) for key, item in value.items()}
    return value


def exact(value: object) -> object:
    """The value with the type of each part, so that True is not 1, a NaN is a NaN and -0.0 is not 0.0."""
    if isinstance(value, list | tuple):
        return type(value), [exact(item) for item in value]
    if isinstance(value, dict):
        return type(value), [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, float):
        return float, "nan" if math.isnan(value) else struct.pack(">d", value)
    return type(value), value


def frame_of(*messages: tuple[object, ...], name: str = NAME) -> bytearray:
    frame = codec.open_frame()
    for message in messages:
        codec.append_message(frame, name, message)
    codec.close_frame(frame, len(messages))
    return frame


def nested(depth: int, inner: object = None) -> object:
    for _ in range(depth):
        inner = [inner]
    return inner


REFUSED = [
    pytest.param(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), TypeError, id="datetime"),
    pytest.param(datetime.date(2020, 1, 1), TypeError, id="date"),
    pytest.param(datetime.timedelta(1), TypeError, id="timedelta"),
    pytest.param(decimal.Decimal(1), TypeError, id="Decimal"),
    pytest.param({1}, TypeError, id="set"),
    pytest.param(frozenset({1}), TypeError, id="frozenset"),
    pytest.param(uuid.UUID(int=1), TypeError, id="UUID"),
    pytest.param(Colour.RED, TypeError, id="enum"),
    pytest.param(Weight.HEAVY, TypeError, id="IntEnum"),
    pytest.param(Tag.GO, TypeError, id="StrEnum"),
    pytest.param(Text("text"), TypeError, id="str subclass"),
    pytest.param(Point(), TypeError, id="dataclass"),
    pytest.param(Pair(), TypeError, id="struct"),
    pytest.param(Named(1), TypeError, id="namedtuple"),
    pytest.param(collections.OrderedDict(a=1), TypeError, id="dict subclass"),
    pytest.param(bytearray(b"bytes"), TypeError, id="bytearray"),
    pytest.param(memoryview(b"bytes"), TypeError, id="memoryview"),
    pytest.param(msgspec.msgpack.Ext(1, b""), TypeError, id="extension"),
    pytest.param(msgspec.Raw(b"\xc0"), TypeError, id="raw"),
    pytest.param(1j, TypeError, id="complex"),
    pytest.param(object(), TypeError, id="object"),
    pytest.param(len, TypeError, id="function"),
    pytest.param(range(3), TypeError, id="range"),
    pytest.param(iter([1]), TypeError, id="iterator"),
    pytest.param({1: 2}, TypeError, id="int key"),
    pytest.param({None: 2}, TypeError, id="None key"),
    pytest.param({b"key": 2}, TypeError, id="bytes key"),
    pytest.param({("a", "b"): 2}, TypeError, id="tuple key"),
    pytest.param({Tag.GO: 2}, TypeError, id="StrEnum key"),
    pytest.param(2**64, ValueError, id="2**64"),
    pytest.param(-(2**63) - 1, ValueError, id="-2**63-1"),
    pytest.param(10**10_000, ValueError, id="int too long to print"),
    pytest.param("\ud800", ValueError, id="lone surrogate"),
    pytest.param("\ude00 text", ValueError, id="low surrogate"),
    pytest.param("long" * 10_000 + "\udfff", ValueError, id="long text"),
    pytest.param(nested(101), ValueError, id="too deep"),
]
SHAPES: list[tuple[str, Callable[[object], tuple[object, ...]]]] = [
    ("message[0]", lambda value: (value,)),
    ("message[2]", lambda value: ("tag", 1, value)),
    ("message[1][0]", lambda value: ("tag", [value])),
    ("message[1][2]", lambda value: ("tag", (1, 2, value))),
    ('message[2]["when"]', lambda value: ("tag", 1, {"who": None, "when": value})),
    ('message[1]["list"][1]["when"]', lambda value: ("tag", {"list": [0, {"when": value}]}, value)),
    ('message[1][1]["when"]', lambda value: ("tag", ["\U0001f600", {"when": value}])),
    ('message[1]["not-a-name"]["zwei Wörter"]', lambda value: ("tag", {"not-a-name": {"zwei Wörter": value}})),
    ("message[1][1]", lambda value: ("tag", [PortID("node#"), value])),
]
