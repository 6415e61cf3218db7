"""How much one message may hold: the same on both sides, in both framings, and found out before it is decoded."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from wire_amounts import AT_THE_LIMIT, LIMIT, WANTED, sent
from wire_values import NAME, exact, frame_of, messages

from trio_mp._errors import RemoteProtocolError
from trio_mp._protocol import requests
from trio_mp._protocol.association.association import Association
from trio_mp._protocol.association.effects import Dropped, Fire, FireDone, Terms
from trio_mp._protocol.association.outbox import Fence
from trio_mp._protocol.association.queue import ADAPTED_SIZE, ADAPTED_VALUES, OutgoingQueue
from trio_mp._protocol.wire import codec, limits
from trio_mp._protocol.wire.amount import holds_at_most
from trio_mp._protocol.wire.buffer import FrameBuffer
from trio_mp._protocol.wire.codec import check_received
from trio_mp._protocol.wire.framing import JSON, MSGPACK, Framing
from trio_mp._protocol.wire.json_amount import Amount
from trio_mp._protocol.wire.json_framing import JSONBuffer, append_json
from trio_mp._protocol.wire.limits import (
    MAXIMUM_CONTAINERS,
    MAXIMUM_ENTRIES,
    MAXIMUM_VALUES,
    UNCOUNTED,
    Inspection,
)
from trio_mp._protocol.wire.values import excerpt

FRAMINGS = pytest.mark.parametrize("framing", [MSGPACK, JSON], ids=lambda framing: framing.name)


def received(framing: Framing, stream: bytes, piece: int = 65536) -> list[tuple[object, ...]]:
    reader = framing.make_decoder(LIMIT)
    found: list[tuple[object, ...]] = []
    for start in range(0, len(stream), piece):
        for batch in reader.feed(stream[start : start + piece]):
            found += batch
    return found


def pieces_of_a_list(count: int, value: bytes) -> bytes:
    """A frame of MessagePack with one message, of one list with so many times this value."""
    frame = bytearray(codec.FRAME_HEADER) + b"\x92\xa0\xdd" + count.to_bytes(4, "big") + count * value
    codec.close_frame(frame, 1)
    return bytes(frame)


PAST_IT: dict[str, tuple[Any, str]] = {
    "lists": ([1, [[]] * (MAXIMUM_CONTAINERS - 2)], r"message\[0\]\[1\]\[131069\]: .* 131072 lists and dicts"),
    "tuples": ((((),) * (MAXIMUM_CONTAINERS - 1),), r"message\[0\]\[0\]\[131069\]: expected at most 131072 lists"),
    "dicts": ({"a": [{}] * MAXIMUM_CONTAINERS}, r'message\[0\]\["a"\]\[131069\]: expected at most 131072 lists'),
    "values": ({"b": [1] * MAXIMUM_VALUES}, r'message\[0\]\["b"\]: expected at most 1250000 values'),
    "values in dicts": ([{"c": 1, "d": 2}] * 120_000 + [[0] * 800_000], r"message\[0\]\[120000\]: .* 1250000"),
    "entries": ([dict.fromkeys(map(str, range(MAXIMUM_ENTRIES + 1)), 0)], r"message\[0\]\[0\]: .* got 131073"),
}


@FRAMINGS
@pytest.mark.parametrize("value", [*AT_THE_LIMIT.values(), *WANTED.values()], ids=[*AT_THE_LIMIT, *WANTED])
def test_what_is_within_the_limits_arrives_whatever_is_in_front_of_it(framing: Framing, value: Any) -> None:
    for before in (0, 5000):
        found = received(framing, sent(framing, value, before=before))
        assert len(found) == before + 1
        assert found[-1] == (NAME, value)


def test_64_mebibytes_of_bytes_arrive() -> None:
    value = bytes(range(256)) * (LIMIT // 256 - 1)
    assert received(MSGPACK, sent(MSGPACK, value), 10**6) == [(NAME, value)]


@FRAMINGS
@pytest.mark.parametrize("value, text", PAST_IT.values(), ids=PAST_IT)
def test_what_is_past_a_limit_raises_with_the_place_and_leaves_nothing(framing: Framing, value: Any, text: str) -> None:
    queue = OutgoingQueue(10 * LIMIT)
    queue.adapt(framing, LIMIT)
    queue.append(NAME, (1,), LIMIT)
    for _ in range(2):
        with pytest.raises(ValueError, match=text):
            queue.append(NAME, (value,), LIMIT)
    chunk = queue.next_chunk()
    assert chunk is not None
    assert received(framing, bytes(chunk)) == [(NAME, 1)]


@FRAMINGS
@pytest.mark.parametrize("value", [value for value, _ in PAST_IT.values()], ids=PAST_IT)
def test_twice_as_much_as_is_past_a_limit_is_refused_before_it_has_come(framing: Framing, value: Any) -> None:
    frame = framing.open_frame()
    framing.append(frame, NAME, ({"x": [value, value]},))
    framing.close_frame(frame, 1)
    with pytest.raises(RemoteProtocolError, match=r"expected at most \d+ (lists and dicts|values|entries)"):
        received(framing, bytes(frame))
    reader = framing.make_decoder(LIMIT)
    pieces = [bytes(frame[start : start + 1000]) for start in range(0, len(frame), 1000)]
    with pytest.raises(RemoteProtocolError):
        any(map(reader.feed, pieces[:-1]))


@pytest.mark.parametrize("value", [b"\x80", b"\x90", b"\xc0", b"\xa0", b"\xd9\x00", b"\x81\xa0\xc0"], ids=repr)
def test_eight_megabytes_of_nothing_cost_little(value: bytes) -> None:
    frame = pieces_of_a_list(8_000_000 // len(value), value)
    started = time.thread_time()
    with pytest.raises(RemoteProtocolError, match=r"expected at most \d+ (lists and dicts|values) in a message"):
        received(MSGPACK, frame)
    # Once they took 19 s; far apart, so that no busy machine makes it fail.
    assert time.thread_time() - started < 5


def keys_that_collide(count: int) -> list[tuple[int, int]]:
    """Keys that have the same hash. MessagePack may have arrays as keys, and they become tuples."""
    first, second, fifth = 11400714785074694791, 14029467366897019727, 2870177450012600261
    inverse = pow(second, -1, 2**64)
    keys: list[tuple[int, int]] = []
    for a in itertools.count():
        lane = (fifth + a * second) % 2**64
        lane = (lane << 31 | lane >> 33) * first % 2**64
        b = (12345 - lane) * inverse % 2**64
        if b < 2**61 - 1:
            keys.append((a, b))
        if len(keys) == count:
            break
    return keys


# The frame of 6,000 is decoded in parts; that of 50,000 is looked through while it comes.
@pytest.mark.parametrize("count", [6_000, 50_000])
@pytest.mark.parametrize("inside", [0, 3])
def test_keys_with_the_same_hash_are_refused_before_a_dict_is_made_of_them(count: int, inside: int) -> None:
    keys = keys_that_collide(count)
    assert len(set(map(hash, keys))) == 1
    frame = bytearray(codec.FRAME_HEADER) + b"\x92\xa0" + b"\x91" * inside + b"\xdf" + count.to_bytes(4, "big")
    frame += b"".join([msgspec.msgpack.encode(key) + b"\xc0" for key in keys])
    codec.close_frame(frame, 1)
    assert (len(frame) > UNCOUNTED) is (count == 50_000)
    started = time.thread_time()
    dict.fromkeys(keys[:6_000])
    a_dict, started = time.thread_time() - started, time.thread_time()
    with pytest.raises(RemoteProtocolError, match="key that is not text"):
        received(MSGPACK, bytes(frame))
    # A dict of them takes a time that grows with the square of their number: 18 s for 50,000.
    assert time.thread_time() - started < a_dict * (1 / 3 if count == 6_000 else 8)


# The look through a frame ------------------------------------------------------------------------------------------


def values_in(value: object) -> int:
    if isinstance(value, dict):
        return 2 * len(value) + sum(map(values_in, value.values()))
    return len(value) + sum(map(values_in, value)) if isinstance(value, list | tuple) else 0


@given(st.lists(messages, max_size=5), st.integers(1, 50))
def test_the_look_through_a_frame_finds_what_the_decoder_finds(batch: list[tuple[object, ...]], piece: int) -> None:
    frame = frame_of(*batch)
    inspection = Inspection()
    for end in [*range(0, len(frame) - 4, piece), len(frame) - 4]:
        inspection.look(memoryview(frame)[4:], end)
    expected = codec.decode_frame(memoryview(frame)[4:])
    assert inspection.values == len(expected) + sum(map(values_in, expected))
    buffer = FrameBuffer(LIMIT, codec.decode_frame, 1, inspect=Inspection, take_inspected=codec.decode_inspected)
    pieces = [bytes(frame[start : start + piece]) for start in range(0, len(frame), piece)]
    found = [taken for part in pieces for taken in buffer.feed(part)]
    assert list(map(exact, found)) == [exact(expected)]


@given(st.binary(max_size=60) | st.lists(st.sampled_from(range(256)), max_size=30).map(bytes))
def test_the_look_through_anything_raises_one_error_or_nothing(data: bytes) -> None:
    for body in (data, b"\x91\x92\xa0" + data):
        try:
            Inspection().look(body, len(body))
            codec.decode_inspected(body)
        except RemoteProtocolError:
            continue
        # What it and the decoder let pass, the look afterwards lets pass too.
        check_received(msgspec.msgpack.decode(body, type=list[tuple]))  # type: ignore[type-arg]


@pytest.mark.parametrize("size, value", [(1, 1), (2, 200), (3, 60_000), (5, 10**6), (9, 1.5), (1, None), (2, "x")])
def test_values_of_the_same_size_are_counted_at_one_go(size: int, value: object) -> None:
    for count in (11, 12, 999, 1000, 1001, 1003, 5000):
        frame = frame_of(([value] * count, [1, value], "end"))
        inspection = Inspection()
        inspection.look(memoryview(frame)[4:], len(frame) - 4)
        assert inspection.values == 1 + 4 + count + 2
        with pytest.raises(RemoteProtocolError, match="values in a message, got more"):
            Inspection(count + 6).look(memoryview(frame)[4:], len(frame) - 4)


def test_a_list_of_the_same_size_and_then_of_another() -> None:
    frame = frame_of(([1.5] * 20 + ["x"] * 20 + [None] * 20 + [[]],))
    inspection = Inspection()
    inspection.look(memoryview(frame)[4:], len(frame) - 4)
    assert inspection.values == 1 + 2 + 61


@pytest.mark.parametrize(
    "data, text",
    [
        (b"\x91\x92\xa0\xd4\x01\x00", "extension"),
        (b"\x91\x92\xa0\xc7\x01\x01\x00", "extension"),
        (b"\x91\x92\xa0\xde\x00\x01\x01\x01", "not text"),
        (b"\x91\x92\xa0\x81\xa1a\x81\x90\x01", "not text"),
        (b"\x91\x92\xa0" + b"\x91" * 101, "deep"),
    ],
)
def test_what_no_frame_may_hold(data: bytes, text: str) -> None:
    with pytest.raises(RemoteProtocolError, match=text):
        Inspection().look(data, len(data))
    inspection = Inspection()
    with pytest.raises(RemoteProtocolError, match=text):
        any(inspection.look(data, end) for end in range(len(data) + 1))  # type: ignore[func-returns-value]


def test_what_is_left_over_is_for_the_decoder() -> None:
    data = b"\x91\x91\xa0" + b"\xdf\xff\xff\xff\xff"
    Inspection().look(data, len(data))
    with pytest.raises(RemoteProtocolError, match=r"expected a (frame|message) that decodes"):
        codec.decode_inspected(data)


# What was queued for whom nobody knew -------------------------------------------------------------------------------


def test_more_than_can_be_adapted_at_once_is_lost_as_a_whole() -> None:
    size = b"x" * (ADAPTED_SIZE // 4)
    for message, count in (((size,), 5), (([1] * 10_000,), 6)):
        queue = OutgoingQueue(10 * LIMIT)
        for _ in range(count):
            queue.append("p", message, LIMIT)
        before = queue.size
        assert "more than" in queue.adapt(JSON, LIMIT)
        assert (queue.size, queue.losses, queue.dropped) == (0, 1, (count, before))
        assert queue.written == queue.appended == count
        # What comes then is written as the peer reads it.
        queue.append("p", ("next",), LIMIT)
        chunk = queue.next_chunk()
        assert chunk is not None
        assert bytes(chunk) == b'["p","next"]\n'


def test_what_can_be_adapted_is_adapted() -> None:
    queue = OutgoingQueue(10 * LIMIT)
    queue.append("p", ([1] * (ADAPTED_VALUES - 100), "x" * (ADAPTED_SIZE - 2 * UNCOUNTED)), LIMIT)
    assert queue.adapt(JSON, LIMIT) == {}
    assert queue.adapt(MSGPACK, LIMIT) == {}
    assert queue.losses == 0
    # In JSON it is counted as well.
    queue.adapt(JSON, LIMIT)
    queue.append("p", ([1] * ADAPTED_VALUES,), LIMIT)
    assert "more than" in queue.adapt(MSGPACK, LIMIT)


def test_all_monitors_fire_when_all_of_the_queue_is_lost() -> None:
    association = Association("a", "b", queue_limit=10 * LIMIT, message_limit=LIMIT)
    for name in ("p", "q", ""):
        association.outbox.monitor(name, name + "!")
    for _ in range(6):
        association.outbox.send("p", ([1] * 10_000,))
    association.greeted("c")
    association.authenticated("c", "", Terms("run", LIMIT, JSON))
    lost, fire, done = association.link_received("c")
    assert isinstance(lost, Dropped)
    assert (lost.messages, lost.was_up) == (8, False)
    assert isinstance(fire, Fire)
    assert set(fire.monitors) == {"p!", "q!", "!"}
    assert isinstance(done, FireDone)
    assert association.outbox.fence is Fence.FIRING
    assert association.outbox.monitors == {}
    # What is sent by those that fire goes out on the connection.
    association.outbox.send("p", ("again",))
    association.fired()
    assert association.in_use == "c"
    chunk = association.outbox.queue.next_chunk()
    assert chunk is not None
    assert bytes(chunk) == b'["p","again"]\n'


# JSON ---------------------------------------------------------------------------------------------------------------


@given(messages, st.lists(st.integers(1, 5000), min_size=1, max_size=20))
def test_what_is_counted_in_json_is_what_it_holds(message: tuple[object, ...], steps: list[int]) -> None:
    buffer = bytearray()
    try:
        append_json(buffer, "", (*message, "\\" * 7, ',"[{:', '\\"'))
    except (TypeError, ValueError):
        return
    text = bytes(buffer[:-1])
    # No escape may be cut in two.
    places = [place for place in itertools.accumulate(steps) if place < len(text)]
    places = [place for place in places if (len(text[:place]) - len(text[:place].rstrip(b"\\"))) % 2 == 0]
    whole, parts = Amount(), Amount()
    whole.count(text, 0, len(text))
    for place in [*places, len(text)]:
        parts.count(text, 0, place)
    (found,) = JSONBuffer(10**6).feed(text)
    assert (whole._containers, whole._values) == (parts._containers, parts._values)
    assert whole._values <= values_in(found)
    assert whole._inside == parts._inside == []


def test_a_long_number_is_found_in_whatever_pieces_a_large_message_comes() -> None:
    for number in (2**64, 2**64 - 1):
        text = b'["",[' + b"1," * UNCOUNTED + b"%d" % number + b'],{"a":[%d]}]' % (2**63)
        for piece in (7, 65536):
            buffer = JSONBuffer(LIMIT)
            taken: list[object] = []
            try:
                for start in range(0, len(text), piece):
                    taken += buffer.feed(text[start : start + piece])
            except RemoteProtocolError as error:
                assert "64 bits" in str(error)  # noqa: PT017
                taken = [error]
            assert isinstance(taken[0], RemoteProtocolError) == (number == 2**64)


def test_the_constants_fit_together() -> None:
    # Each value has a byte at least, and each container.
    assert min(MAXIMUM_CONTAINERS, MAXIMUM_VALUES, MAXIMUM_ENTRIES) >= UNCOUNTED
    assert limits.MAXIMUM_DEPTH == 100


# Requests -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "large",
    [[0] * 10**6, [[]] * 100_000, {str(number): number for number in range(100_000)}, "x" * LIMIT, [["x" * LIMIT]]],
    ids=["values", "lists", "entries", "text", "text inside"],
)
@pytest.mark.parametrize(
    "head",
    [("db", "set", "b", 1, "family", "key"), ("db", "view", 1), ("db", "entries"), ("log", 1), ("welcome", [])],
    ids=lambda head: "-".join(map(str, head[:2])),
)
def test_a_service_does_not_look_at_every_value_of_what_no_node_sends(head: tuple[Any, ...], large: Any) -> None:
    message = (*head, large)
    # What takes long with these makes something large of them.
    tracemalloc.start()
    try:
        found = requests.parse(message)
        text = excerpt(message)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20
    assert isinstance(found, requests.Malformed)
    assert len(text) <= 200
    assert repr(head[0]) in text


@given(messages, st.integers(0, 30), st.integers(0, 30))
def test_whether_a_message_holds_at_most_so_much(message: tuple[object, ...], values: int, size: int) -> None:
    def texts_in(value: object) -> int:
        if isinstance(value, dict):
            return sum(map(len, value)) + sum(map(texts_in, value.values()))
        if isinstance(value, list):
            return sum(map(texts_in, value))
        return len(value) if isinstance(value, str | bytes) else 0

    received_one = codec.snapshot(message)
    expected = values_in(received_one) <= values and texts_in([*received_one]) <= size
    assert holds_at_most(received_one, values, size) == expected


@pytest.mark.parametrize("size", [100, 6000, 20_000])
def test_a_batch_with_bytes_that_look_like_the_beginning_of_a_large_dict(size: int) -> None:
    value = {"a": b"\xde" * size, "b": [1, None]}
    batch = [(value, number) for number in range(60_000 // size)]
    frame = frame_of(*batch)
    assert codec.decode_frame(memoryview(frame)[4:]) == [(NAME, *message) for message in batch]
    frame[-3:] = b"\x81\x01\x01"
    with pytest.raises(RemoteProtocolError):
        codec.decode_frame(memoryview(frame)[4:])
