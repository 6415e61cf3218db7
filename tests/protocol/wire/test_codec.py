"""Which values travel, and the frames they travel in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st
from wire_values import (
    NAME,
    REFUSED,
    SHAPES,
    LivePort,
    as_received,
    exact,
    frame_of,
    messages,
    nested,
)

from trio_mp._errors import RemoteProtocolError
from trio_mp._ids import PortID, PortReference
from trio_mp._protocol.groups.singleton import TurnEpoch
from trio_mp._protocol.wire import codec
from trio_mp._protocol.wire.limits import MAXIMUM_DEPTH
from trio_mp._protocol.wire.values import plain_message


def round_trip(*message: object) -> tuple[object, ...]:
    [(name, *received)] = codec.decode_frame(bytes(frame_of(message)[4:]))
    assert name == NAME
    return tuple(received)


# What travels ----------------------------------------------------------------------------------------------------


@given(messages)
def test_what_travels_arrives_as_what_it_was(message: tuple[object, ...]) -> None:
    expected = tuple(map(as_received, message))
    assert exact(round_trip(*message)) == exact(expected)


@given(st.lists(messages))
def test_a_frame_holds_its_messages_in_order(batch: list[tuple[object, ...]]) -> None:
    frame = frame_of(*batch)
    expected = [exact((NAME, *map(as_received, message))) for message in batch]
    assert list(map(exact, codec.decode_frame(memoryview(frame)[4:]))) == expected
    assert list(map(exact, codec.messages_in(frame))) == expected
    frame += b"it can be resized: no view of it is left"


def test_a_frame_is_a_length_and_one_messagepack_array_byte_for_byte() -> None:
    frame = frame_of(("tag", 1), (b"\x00",), name="p.1")
    #                  length           array32, 2       ["p.1", "tag", 1]              ["p.1", b"\0"]
    assert frame.hex(" ") == "00 00 00 17 dd 00 00 00 02 93 a3 70 2e 31 a3 74 61 67 01 92 a3 70 2e 31 c4 01 00"
    assert codec.FRAME_HEADER == 9


def test_an_empty_frame_holds_no_message() -> None:
    frame = codec.open_frame()
    assert len(frame) == codec.FRAME_HEADER
    codec.close_frame(frame, 0)
    assert codec.messages_in(frame) == []


@pytest.mark.parametrize("value", [0, -1, 2**64 - 1, -(2**63), 2**63])
def test_an_int_of_64_bits_travels(value: int) -> None:
    assert round_trip(value) == (value,)


def test_a_port_travels_as_its_id_wherever_it_is() -> None:
    port = LivePort(f"node#{NAME}")
    plain = f"node#{NAME}"
    received = round_trip(port, [port], (port,), {"key": port}, {port: 1}, [{"key": [port]}])
    assert exact(received) == exact((plain, [plain], [plain], {"key": plain}, {plain: 1}, [{"key": [plain]}]))


def test_what_was_sent_is_a_snapshot() -> None:
    inner: list[object] = [1]
    table: dict[str, object] = {"inner": inner}
    frame = codec.open_frame()
    codec.append_message(frame, NAME, (inner, table))
    inner.append(2)
    table.clear()
    codec.close_frame(frame, 1)
    assert codec.messages_in(frame) == [(NAME, [1], {"inner": [1]})]


@given(messages)
def test_a_snapshot_is_the_message_as_it_would_arrive(message: tuple[object, ...]) -> None:
    taken = codec.snapshot(message)
    assert exact(taken) == exact(tuple(map(as_received, message)))


def test_a_snapshot_shares_nothing_and_refuses_what_cannot_travel() -> None:
    inner: list[object] = [1]
    taken = codec.snapshot(("tag", inner))
    inner.append(2)
    assert taken == ("tag", [1])
    with pytest.raises(TypeError, match=r"^message\[1\]: "):
        codec.snapshot(("tag", object()))


class Reference(PortReference):
    """A reference to a port of this node."""

    port = "node#name"
    running = True

    def _find_target(self) -> str:
        return self.port

    def _add_monitor(self, monitor: object) -> None:
        """None is kept."""


def test_a_reference_does_not_travel_and_the_text_says_what_does() -> None:
    buffer = bytearray(b"before")
    with pytest.raises(TypeError, match=r"^message\[1\]\[0\].*: send ref.port"):
        codec.append_message(buffer, NAME, ("tag", [Reference()]))
    assert buffer == b"before"


def test_sending_changes_nothing_of_the_message() -> None:
    port = LivePort(f"node#{NAME}")
    table: dict[str, object] = {port: [port]}
    codec.append_message(bytearray(), NAME, (table,))
    assert next(iter(table)) is port
    assert table == {port: [port]}


def test_a_message_nests_a_hundred_deep() -> None:
    assert MAXIMUM_DEPTH == 100
    assert round_trip(nested(100)) == (nested(100),)
    assert round_trip(nested(98, {"a": []})) == (nested(98, {"a": []}),)


@given(messages)
def test_plain_values_stay_themselves(message: tuple[object, ...]) -> None:
    plain = plain_message(message)
    assert exact(plain) == exact(tuple(map(unported, message)))
    assert exact(plain_message(message, thorough=True)) == exact(tuple(map(as_received, message)))


def unported(value: object) -> object:
    """The value as `plain_message` makes it: lists of scalars are left alone, so a tuple of them stays one."""
    if isinstance(value, PortID):
        return str.__str__(value)
    if isinstance(value, list | tuple):
        if all(type(item) in {str, int, float, bool, bytes, type(None)} for item in value):
            return value
        return [unported(item) for item in value]
    if isinstance(value, dict):
        return {unported(key): unported(item) for key, item in value.items()}
    return value


# What does not ---------------------------------------------------------------------------------------------------

each_refused = pytest.mark.parametrize("value, error", REFUSED)


@each_refused
@pytest.mark.parametrize("place, make", SHAPES, ids=[place for place, _ in SHAPES])
def test_anything_else_raises_at_the_call_with_its_place(
    value: object, error: type[Exception], place: str, make: Callable[[object], tuple[object, ...]]
) -> None:
    buffer = bytearray(b"what was there before")
    with pytest.raises(error) as caught:
        codec.append_message(buffer, NAME, make(value))
    assert buffer == b"what was there before"
    text = str(caught.value)
    # Of what nests too deep only the beginning of the place is shown.
    assert text.startswith(place[: place.rindex("[")] if "deep" in text else place)
    assert len(text) < 500
    text.encode()


def test_a_named_tuple_is_refused_with_what_to_send_instead() -> None:
    with pytest.raises(TypeError, match=r"message\[0\]: expected a plain tuple, got a TurnEpoch, .*send tuple"):
        plain_message((TurnEpoch(1, "a", ""),))
    assert round_trip(tuple(TurnEpoch(1, "a", ""))) == ([1, "a", ""],)


@pytest.mark.parametrize("key", ["\ud800", "key \udfff", "long" * 10_000 + "\ud800"], ids=["short", "low", "long"])
@pytest.mark.parametrize("inner", [1, [[]], {}, PortID("node#")], ids=repr)
def test_a_key_with_a_lone_surrogate_is_refused_with_its_place(key: str, inner: object) -> None:
    buffer = bytearray(b"before")
    with pytest.raises(ValueError, match=r"^message\[1\]\[") as caught:
        codec.append_message(buffer, NAME, ("tag", {"fine": 1, key: inner}))
    assert buffer == b"before"
    assert "surrogate" in str(caught.value)
    assert len(str(caught.value)) < 500
    str(caught.value).encode()


@pytest.mark.parametrize("port", [PortID("\ud800"), LivePort("\ud800")], ids=["PortID", "Port"])
def test_a_port_id_with_a_lone_surrogate_is_refused(port: PortID) -> None:
    for message in [(port,), ([port],), ({port: 1},), ({"key": port},)]:
        buffer = bytearray(b"before")
        with pytest.raises(ValueError, match=r"^message\[0\]"):
            codec.append_message(buffer, NAME, message)
        assert buffer == b"before"


def test_a_value_that_cannot_be_printed_is_refused_with_its_place_all_the_same() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    for message in [("tag", Mute()), ("tag", {Mute(): 1})]:
        with pytest.raises(TypeError, match=r"^message\[1\].*Mute"):
            codec.append_message(bytearray(), NAME, message)


def test_what_holds_itself_is_refused() -> None:
    endless_list: list[object] = [1]
    endless_list.append(endless_list)
    endless_table: dict[str, object] = {}
    endless_table["inner"] = [endless_table]
    wide: list[object] = []
    wide += [wide] * 50
    for value in (endless_list, endless_table, wide):
        buffer = bytearray(b"before")
        with pytest.raises(ValueError, match=r"^message\[0\].*: expected lists and dicts at most 100 deep"):
            codec.append_message(buffer, NAME, (value,))
        assert buffer == b"before"


@pytest.mark.parametrize("value", [nested(101), nested(100, []), nested(100, {}), nested(99, {"a": {"b": 1}})])
def test_one_deeper_than_a_hundred_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="lists and dicts at most 100 deep"):
        codec.append_message(bytearray(), NAME, (value,))


def test_a_name_that_cannot_be_encoded_leaves_nothing_behind() -> None:
    buffer = bytearray(b"before")
    with pytest.raises(ValueError, match="surrogate"):
        codec.append_message(buffer, "\ud800", ("fine",))
    assert buffer == b"before"


@given(messages, messages, st.sampled_from([2**64, "\ud800", object(), {1: 2}]))
def test_a_failure_leaves_the_messages_before_and_behind_it_whole(
    first: tuple[object, ...], second: tuple[object, ...], bad: object
) -> None:
    frame = codec.open_frame()
    codec.append_message(frame, NAME, first)
    before = bytes(frame)
    with pytest.raises((TypeError, ValueError)):
        codec.append_message(frame, NAME, (*first, "x" * 100, [*second, bad]))
    assert frame == before
    codec.append_message(frame, NAME, second)
    codec.close_frame(frame, 2)
    expected = [exact((NAME, *map(as_received, message))) for message in (first, second)]
    assert list(map(exact, codec.messages_in(frame))) == expected


# Frames that no peer of ours sends -------------------------------------------------------------------------------


def message_with(value: bytes) -> bytes:
    """A frame with one message, to the node port, that holds this encoded value."""
    return b"\x91\x92\xa0" + value


TIMESTAMPS = {
    "fixext4": b"\xd6\xff" + bytes(4),
    "fixext8": b"\xd7\xff" + bytes(8),
    "ext8 of 4": b"\xc7\x04\xff" + bytes(4),
    "ext8 of 8": b"\xc7\x08\xff" + bytes(8),
    "ext8 of 12": b"\xc7\x0c\xff" + bytes(12),
    "ext16 of 4": b"\xc8\x00\x04\xff" + bytes(4),
    "ext16 of 8": b"\xc8\x00\x08\xff" + bytes(8),
    "ext16 of 12": b"\xc8\x00\x0c\xff" + bytes(12),
    "ext32 of 4": b"\xc9\x00\x00\x00\x04\xff" + bytes(4),
    "ext32 of 8": b"\xc9\x00\x00\x00\x08\xff" + bytes(8),
    "ext32 of 12": b"\xc9\x00\x00\x00\x0c\xff" + bytes(12),
}

HOSTILE = {
    "nothing": b"",
    "no array": b"\xc0",
    "a map": b"\x80",
    "a str": b"\xa1a",
    "cut short": b"\x92\x91\xa0",
    "bytes behind it": b"\x90\x00",
    "two arrays": b"\x90\x90",
    "a message that is no array": b"\x91\x05",
    "a message that is a str": b"\x91\xa2ab",
    "a message that is a map": b"\x91\x81\xa0\xa0",
    "a name that is an int": b"\x91\x91\x05",
    "a name that is bytes": b"\x91\x91\xc4\x00",
    "a name that is None": b"\x91\x91\xc0",
    "a name that is an array": b"\x91\x91\x90",
    "a name that is a map": b"\x91\x91\x80",
    "a second name that is an int": b"\x92\x91\xa0\x91\x05",
    "a count too large": b"\xdd\xff\xff\xff\xff",
    "an inner count too large": message_with(b"\xdd\xff\xff\xff\xff"),
    "a map's count too large": message_with(b"\xdf\xff\xff\xff\xff"),
    "a str's length too large": message_with(b"\xdb\xff\xff\xff\xff"),
    "a length of bytes too large": message_with(b"\xc6\xff\xff\xff\xff"),
    "the opcode never used": message_with(b"\xc1"),
    "text that is not UTF-8": message_with(b"\xa1\xff"),
    "a surrogate": message_with(b"\xa3\xed\xa0\x80"),
    "a key that is an int": message_with(b"\x81\x01\x01"),
    "a key that is None": message_with(b"\x81\xc0\x01"),
    "a key that is bytes": message_with(b"\x81\xc4\x01a\x01"),
    "a key that is an array": message_with(b"\x81\x91\x01\x01"),
    "a key that is a map": message_with(b"\x81\x80\x01"),
    "an extension": message_with(b"\xd4\x01\x00"),
    "an extension as a key": message_with(b"\x81\xd4\x01\x00\x01"),
    "an extension of type -1 and no timestamp": message_with(b"\xd4\xff\x00"),
    "a timestamp that is none": message_with(b"\xd7\xff" + b"\xff" * 8),
    **{f"a timestamp, {form}": message_with(stamp) for form, stamp in TIMESTAMPS.items()},
    **{f"a timestamp in a list, {form}": message_with(b"\x92\x00" + stamp) for form, stamp in TIMESTAMPS.items()},
    "a timestamp as a key": message_with(b"\x81" + TIMESTAMPS["fixext4"] + b"\x01"),
    "a timestamp as a value": message_with(b"\x81\xa1a" + TIMESTAMPS["ext8 of 4"]),
    "a timestamp as a name": b"\x91\x91" + TIMESTAMPS["fixext8"],
    "a timestamp as a message": b"\x91" + TIMESTAMPS["fixext8"],
    "a list 101 deep": message_with(b"\x91" * 101 + b"\xc0"),
    "a map 101 deep": message_with(b"\x81\xa0" * 101 + b"\xc0"),
    "a list 500 deep": message_with(b"\x91" * 500 + b"\xc0"),
    "a list 100,000 deep": message_with(b"\x91" * 100_000 + b"\xc0"),
    "a map 100,000 deep": message_with(b"\x81\xa0" * 100_000 + b"\xc0"),
    "a map 100,000 deep in its keys": message_with(b"\x81" * 100_000 + b"\xc0"),
    "counts too large, 100,000 deep": b"\xdd\xff\xff\xff\xff" * 100_000,
}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_frame_is_the_other_sides_fault(
    payload: bytes, kind: Callable[[bytes], bytes | bytearray | memoryview]
) -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode_frame(kind(payload))


@pytest.mark.parametrize(
    "message",
    [payload[1:] for payload in HOSTILE.values() if payload[:1] == b"\x91"],
    ids=[name for name, payload in HOSTILE.items() if payload[:1] == b"\x91"],
)
def test_and_so_it_is_behind_a_thousand_harmless_messages(message: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode_frame(b"\xdc" + (1001).to_bytes(2, "big") + b"\x91\xa0" * 1000 + message)


@pytest.mark.parametrize(
    "value",
    [
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xd7\xff" + bytes(8),
        b"\xc7\x0c\xff" + bytes(12),
        b"\xc7\x04\xff\x00\x00\x00\x00",
        b"\xff" * 20,
    ],
)
def test_bytes_that_look_like_a_timestamp_travel(value: bytes) -> None:
    assert round_trip(value, [value, {"key": value}]) == (value, [value, {"key": value}])


def test_a_message_of_nothing_is_let_through_to_keep_the_connection_alive() -> None:
    assert codec.decode_frame(b"\x91\x90") == [()]
    assert codec.decode_frame(b"\x92\x90\x91\xa0") == [(), ("",)]


def test_a_list_and_a_map_100_deep_are_taken() -> None:
    assert codec.decode_frame(message_with(b"\x91" * 100 + b"\xc0")) == [("", nested(100))]
    assert len(codec.decode_frame(message_with(b"\x81\xa1a" * 100 + b"\xc0"))) == 1


@given(messages)
def test_what_was_received_can_be_sent_on(message: tuple[object, ...]) -> None:
    once = round_trip(*message)
    assert exact(round_trip(*once)) == exact(once)
