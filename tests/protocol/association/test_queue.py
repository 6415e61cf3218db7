"""The outgoing queue: what goes in comes out as frames, and every byte is counted."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trio_mp._protocol.association.queue import OutgoingQueue
from trio_mp._protocol.wire.codec import FRAME_HEADER, decode_frame
from trio_mp._protocol.wire.framing import FRAME_TARGET, MSGPACK

LIMIT = 1 << 20


def drain(queue: OutgoingQueue, step: int = 1 << 30) -> bytes:
    """Write everything, in pieces of at most so many bytes."""
    written = bytearray()
    while (chunk := queue.next_chunk()) is not None:
        piece = bytes(chunk[:step])
        chunk.release()
        written += piece
        queue.advance(len(piece))
    return bytes(written)


def messages_of(stream: bytes) -> list[tuple[object, ...]]:
    """The messages in a stream of frames."""
    messages: list[tuple[object, ...]] = []
    while stream:
        length = int.from_bytes(stream[:4], "big")
        messages += decode_frame(stream[4 : 4 + length])
        stream = stream[4 + length :]
    return messages


def test_an_empty_queue_has_nothing_to_write() -> None:
    queue = OutgoingQueue(LIMIT)
    assert queue.next_chunk() is None
    assert queue.size == queue.appended == queue.written == 0


def test_the_first_message_since_one_asked_for_it_is_told_of() -> None:
    queue = OutgoingQueue(LIMIT)
    assert not queue.append("p", (1,), LIMIT)
    queue.tell_next()
    # Whatever is written meanwhile.
    drain(queue)
    assert queue.append("p", (2,), LIMIT)
    much: list[bool] = [queue.is_much]
    assert not queue.append("p", (3,), LIMIT)
    assert messages_of(drain(queue)) == [("p", 2), ("p", 3)]
    queue.tell_next()
    assert queue.append("p", (b"x" * FRAME_TARGET,), LIMIT)
    assert [*much, queue.is_much] == [False, True]
    queue.tell_next()
    queue.drop()
    with pytest.raises(TypeError):
        queue.append("p", (object(),), LIMIT)
    assert queue.append("p", (4,), LIMIT)


def test_messages_come_out_in_order_in_one_frame() -> None:
    queue = OutgoingQueue(LIMIT)
    queue.append("p", ("a", 1), LIMIT)
    queue.append("", ("mon1", "p"), LIMIT)
    queue.append("q", (), LIMIT)
    stream = drain(queue)
    assert messages_of(stream) == [("p", "a", 1), ("", "mon1", "p"), ("q",)]
    assert int.from_bytes(stream[:4], "big") == len(stream) - 4


def test_what_comes_after_a_chunk_was_asked_for_is_in_the_next_frame() -> None:
    queue = OutgoingQueue(LIMIT)
    queue.append("p", (1,), LIMIT)
    first = queue.next_chunk()
    assert first is not None
    queue.append("p", (2,), LIMIT)
    assert messages_of(bytes(first)) == [("p", 1)]
    queue.advance(len(first))
    assert messages_of(drain(queue)) == [("p", 2)]


def test_a_frame_is_closed_when_it_is_large_enough() -> None:
    queue = OutgoingQueue(LIMIT)
    for number in range(3):
        queue.append("p", (number, b"x" * FRAME_TARGET), LIMIT)
    first = queue.next_chunk()
    assert first is not None
    assert [message[1] for message in messages_of(bytes(first))] == [0]
    assert [message[1] for message in messages_of(drain(queue))] == [0, 1, 2]


@given(st.lists(st.binary(max_size=FRAME_TARGET // 3), max_size=12), st.integers(1, FRAME_TARGET * 2))
def test_the_size_is_the_number_of_bytes_still_to_be_written(payloads: list[bytes], step: int) -> None:
    queue = OutgoingQueue(LIMIT)
    for payload in payloads:
        queue.append("p", (payload,), LIMIT)
    size = queue.size
    assert (queue.appended, queue.written) == (len(payloads), 0)
    assert queue.waiting == len(payloads)
    stream = drain(queue, step)
    assert len(stream) == size
    assert (queue.size, queue.written) == (0, len(payloads))
    assert queue.delivered == len(payloads)
    assert messages_of(stream) == [("p", payload) for payload in payloads]


def test_a_message_over_the_limit_is_refused_and_leaves_no_trace() -> None:
    queue = OutgoingQueue(LIMIT)
    queue.append("p", ("small",), 20)
    size = queue.size
    with pytest.raises(ValueError, match=r"^message: expected at most 20 bytes, which that node takes, got 24$"):
        queue.append("p", ("x" * 20,), 20)
    assert queue.size == size
    queue.append("p", ("again",), 20)
    assert messages_of(drain(queue)) == [("p", "small"), ("p", "again")]


def test_a_value_that_cannot_travel_is_refused_and_leaves_no_trace() -> None:
    queue = OutgoingQueue(LIMIT)
    queue.append("p", (1,), LIMIT)
    with pytest.raises(TypeError, match="set"):
        queue.append("p", (2, {3}), LIMIT)
    assert messages_of(drain(queue)) == [("p", 1)]


def test_dropping_counts_messages_and_bytes_not_yet_written() -> None:
    queue = OutgoingQueue(LIMIT)
    queue.append("p", (b"x" * FRAME_TARGET,), LIMIT)
    queue.append("p", (2,), LIMIT)
    queue.append("p", (3,), LIMIT)
    assert queue.next_chunk() is not None
    queue.advance(100)
    size = queue.size
    queue.drop()
    assert queue.dropped == (3, size)
    assert (queue.size, queue.losses, queue.written) == (0, 1, queue.appended)
    assert queue.delivered == queue.appended - queue.dropped[0]
    assert queue.next_chunk() is None
    queue.append("p", (4,), LIMIT)
    queue.drop()
    assert queue.dropped == (4, size + FRAME_HEADER + 4)


def test_a_frame_begun_before_a_drop_is_not_gone_on_with() -> None:
    queue = OutgoingQueue(LIMIT)
    queue.append("p", (1,), LIMIT)
    assert queue.next_chunk() is not None
    queue.advance(3)
    queue.drop()
    queue.append("p", (2,), LIMIT)
    assert messages_of(drain(queue)) == [("p", 2)]


class TestTheLimitOfThePeerIsSmaller:
    """What was queued before the peer's limit was known, and does not keep to it."""

    def test_nothing_is_dropped_if_everything_keeps_to_it(self) -> None:
        queue = OutgoingQueue(LIMIT)
        queue.append("p", (b"x" * 50,), LIMIT)
        assert queue.adapt(MSGPACK, 60) == {}
        assert queue.losses == 0
        assert messages_of(drain(queue)) == [("p", b"x" * 50)]

    def test_a_port_loses_what_was_too_large_and_all_behind_it(self) -> None:
        queue = OutgoingQueue(LIMIT)
        queue.append("p", (1,), LIMIT)
        queue.append("q", (b"x" * 50,), LIMIT)
        queue.append("p", (2,), LIMIT)
        queue.append("q", (3,), LIMIT)
        size = queue.size
        assert list(queue.adapt(MSGPACK, 40)) == ["q"]
        assert queue.losses == 1
        assert queue.dropped == (2, size - queue.size)
        stream = drain(queue)
        assert messages_of(stream) == [("p", 1), ("p", 2)]
        assert queue.written == queue.appended == 4

    def test_frames_already_closed_are_looked_into(self) -> None:
        queue = OutgoingQueue(LIMIT)
        queue.append("p", (b"x" * FRAME_TARGET,), LIMIT)
        queue.append("q", (b"y" * FRAME_TARGET,), LIMIT)
        assert list(queue.adapt(MSGPACK, 1000)) == ["p", "q"]
        assert queue.size == 0
        assert queue.next_chunk() is None

    def test_the_port_that_a_request_is_about_is_concerned(self) -> None:
        queue = OutgoingQueue(LIMIT)
        queue.append("", ("spawn", "i.1", "module:function", b"x" * 50), LIMIT)
        queue.append("", ("kil", "i.2", "why"), LIMIT)
        queue.append("i.1", ("lost",), LIMIT)
        queue.append("i.2", ("sent",), LIMIT)
        assert list(queue.adapt(MSGPACK, 40)) == ["i.1"]
        assert messages_of(drain(queue)) == [("", "kil", "i.2", "why"), ("i.2", "sent")]

    def test_the_node_port_is_concerned_by_other_requests(self) -> None:
        queue = OutgoingQueue(LIMIT)
        queue.append("", ("snd", "b#p", b"x" * 50), LIMIT)
        queue.append("", ("devnull",), LIMIT)
        queue.append("", (), LIMIT)
        assert list(queue.adapt(MSGPACK, 40)) == [""]
        assert queue.size == 0

    def test_a_request_to_monitor_is_not_lost_behind_another_request(self) -> None:
        # Whoever monitors p is told nothing when the node port loses a message.
        queue = OutgoingQueue(LIMIT)
        queue.append("", ("snd", "b#q", b"x" * 50), LIMIT)
        queue.append("", ("mon1", "p"), LIMIT)
        queue.append("p", ("sent",), LIMIT)
        assert list(queue.adapt(MSGPACK, 40)) == [""]
        assert messages_of(drain(queue)) == [("", "mon1", "p"), ("p", "sent")]

    def test_the_port_whose_monitor_request_is_too_large_is_concerned(self) -> None:
        queue = OutgoingQueue(LIMIT)
        queue.append("", ("mon1", "p" * 50), LIMIT)
        queue.append("p" * 50, (), LIMIT)
        assert list(queue.adapt(MSGPACK, 40)) == ["p" * 50]

    @pytest.mark.parametrize("word", [["x"], {"x": 1}, [], None, 1, b"mon1", ["mon1"]], ids=repr)
    def test_whatever_a_program_sends_to_a_node_port_is_sorted(self, word: object) -> None:
        queue = OutgoingQueue(LIMIT)
        queue.append("", (word, "q"), LIMIT)
        queue.append("", (b"x" * 50,), LIMIT)
        queue.append("", (word, "q"), LIMIT)
        queue.append("q", ("sent",), LIMIT)
        assert list(queue.adapt(MSGPACK, 40)) == [""]
        assert messages_of(drain(queue)) == [("", word, "q"), ("q", "sent")]

    @pytest.mark.parametrize("name", [["q"], {"q": 1}, None, 1], ids=repr)
    def test_a_request_that_names_no_port_concerns_the_node_port(self, name: object) -> None:
        queue = OutgoingQueue(LIMIT)
        queue.append("", ("kil", name, b"x" * 50), LIMIT)
        queue.append(str(name), ("sent",), LIMIT)
        assert list(queue.adapt(MSGPACK, 40)) == [""]
        assert messages_of(drain(queue)) == [(str(name), "sent")]

    def test_later_messages_are_measured_again(self) -> None:
        queue = OutgoingQueue(LIMIT)
        queue.append("p", (b"x" * 50,), LIMIT)
        queue.adapt(MSGPACK, 40)
        with pytest.raises(ValueError, match="at most 40 bytes, which that node takes"):
            queue.append("p", (b"x" * 50,), 40)


def test_it_says_when_it_holds_more_than_its_high_water_mark() -> None:
    queue = OutgoingQueue(100)
    said = []
    while queue.size <= 100:
        said.append(queue.append("p", ("12345",), LIMIT))
    assert said == [False] * (len(said) - 1) + [True]
    # What is written makes room.
    drain(queue)
    assert not queue.append("p", (1,), LIMIT)
    assert queue.high_water == 100
    queue.high_water = -1
    assert queue.append("p", (1,), LIMIT)
    queue.high_water = 100
    assert not queue.append("p", (1,), LIMIT)


def test_what_is_in_complete_frames_counts_too() -> None:
    queue = OutgoingQueue(200, 20)
    while queue.size <= 200:
        assert queue.closed_size <= queue.size
        said = queue.append("p", ("12345",), LIMIT)
    assert said
    assert queue.closed_size > 200 - 20
    assert queue.appended == len(messages_of(drain(queue))) == queue.written


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.sampled_from("pqr"), plain), max_size=20), st.integers(1, 100))
def test_of_every_port_a_beginning_survives_the_peers_limit(sent: list[tuple[str, object]], limit: int) -> None:
    queue = OutgoingQueue(LIMIT)
    sizes = []
    for name, value in sent:
        alone = OutgoingQueue(LIMIT)
        alone.append(name, (value,), LIMIT)
        sizes.append(alone.size - FRAME_HEADER)
        queue.append(name, (value,), LIMIT)
    concerned = queue.adapt(MSGPACK, limit)
    expected, lost = [], set()
    for (name, value), size in zip(sent, sizes, strict=True):
        if size > limit:
            lost.add(name)
        if name not in lost:
            expected.append((name, value))
    assert set(concerned) == lost
    assert queue.dropped[0] == len(sent) - len(expected)
    assert messages_of(drain(queue)) == expected


def test_what_the_nodes_say_for_themselves_is_no_loss() -> None:
    upkeep: list[tuple[str, tuple[object, ...]]] = [
        ("", ("mon1", "x.1")),
        ("", ("mon0", "x.1")),
        ("", ("kil0", "x.1", "a reason")),
        ("", ("db", "set", "a")),
        ("", ("pong",)),
        ("", ()),
    ]
    queue = OutgoingQueue(LIMIT)
    for name, message in upkeep:
        queue.append(name, message, LIMIT)
    queue.drop()
    assert queue.dropped == (0, 0)
    assert (queue.losses, queue.appended, queue.written, queue.size) == (1, 6, 6, 0)
    queue.drop()
    assert queue.dropped == (0, 0)
    # What a program has asked for, or sent, is one, whatever was lost with it.
    for name, message in [("p", ("mon1", "x.1")), ("", ("kil", "x.1")), ("", ("info", "a#")), ("", (5,))]:
        queue = OutgoingQueue(LIMIT)
        queue.append(*upkeep[0], LIMIT)
        queue.append(name, message, LIMIT)
        size = queue.size
        queue.drop()
        assert queue.dropped == (2, size)
        # And what comes behind it is counted for itself.
        queue.append(*upkeep[0], LIMIT)
        queue.drop()
        assert queue.dropped == (2, size)


def test_half_a_message_that_an_error_has_left_is_dropped_as_well() -> None:
    queue = OutgoingQueue(LIMIT)
    queue.append("", ("pong",), LIMIT)
    queue._frame += b"\x92"
    queue.drop()
    assert queue.size == 0
    assert queue.dropped[0] == 1


def test_much_of_what_the_nodes_say_for_themselves_is_counted_and_not_looked_through() -> None:
    queue = OutgoingQueue(LIMIT, 100)
    for number in range(1, 10):
        queue.append("", ("mon1", f"{'x' * 16}.{number}"), LIMIT)
    queue.drop()
    assert queue.dropped[0] == 9


def test_what_is_dropped_is_known_by_its_ports_if_somebody_wants_to_know() -> None:
    queue = OutgoingQueue(LIMIT, 100, lambda: True)
    for name, size in (("a", 200), ("b", 10), ("a", 200), ("b", 10)):
        assert queue.append(name, (b"x" * size,), LIMIT) or True
    queue.append("", ("mon1", "A" * 16), LIMIT)
    queue.append("", ("kil", "A" * 16), LIMIT)
    assert queue.next_chunk() is not None
    queue.advance(10)
    sizes = {name: len(drain_of(name, size)) - FRAME_HEADER for name, size in (("a", 200), ("b", 10))}
    queue.drop()
    lost = queue.take_lost()
    assert lost.pop(("A" * 16, True))[0] == 1
    assert lost == {("a", False): (1, sizes["a"]), ("a", True): (1, sizes["a"]), ("b", True): (2, 2 * sizes["b"])}
    assert queue.take_lost() == {}


def drain_of(name: str, size: int) -> bytes:
    queue = OutgoingQueue(LIMIT)
    queue.append(name, (b"x" * size,), LIMIT)
    return drain(queue)


def test_what_is_in_hand_has_perhaps_been_written() -> None:
    queue = OutgoingQueue(LIMIT, wants_names=lambda: True)
    queue.append("a", (1,), LIMIT)
    chunk = queue.next_chunk()
    assert chunk is not None
    assert queue.begun == 0
    queue.in_hand = True
    assert queue.begun == 1
    queue.drop()
    assert list(queue.take_lost()) == [("a", False)]
    queue.append("a", (1,), LIMIT)
    assert queue.begun == 1


def test_more_than_is_looked_through_is_known_without_names() -> None:
    queue = OutgoingQueue(1 << 30, wants_names=lambda: True)
    for _ in range(3):
        queue.append("a", (b"x" * (4 << 20),), 1 << 30)
    size = queue.size
    queue.drop()
    assert queue.take_lost() == {("", True): (3, size)}
    for _ in range(60_000):
        queue.append("a", (1,), LIMIT)
    queue.drop()
    assert list(queue.take_lost()) == [("", True)]


def test_dropping_does_not_fail_of_half_a_message() -> None:
    queue = OutgoingQueue(LIMIT, wants_names=lambda: True)
    queue.append("a", (b"x" * FRAME_TARGET,), LIMIT)
    queue._frames[0][0][-10:] = b""
    queue.append("b", (1,), LIMIT)
    queue.drop()
    assert list(queue.take_lost()) == [("", False)]


def test_what_a_peer_does_not_take_is_known_by_its_ports() -> None:
    queue = OutgoingQueue(LIMIT, wants_names=lambda: True)
    queue.append("a", (b"x" * 1000,), LIMIT)
    queue.append("a", (1,), LIMIT)
    queue.append("b", (1,), LIMIT)
    queue.append("c", (b"x" * 1000,), LIMIT)
    queue.append("", ("mon1", "c"), LIMIT)
    assert set(queue.adapt(MSGPACK, 500)) == {"a", "c"}
    assert {key: count for key, (count, _) in queue.take_lost().items()} == {("a", True): 2, ("c", True): 1}


def test_a_call_that_a_peer_does_not_take_is_known_by_its_ticket_too() -> None:
    queue = OutgoingQueue(LIMIT)
    name, ticket = "p" * 16, "t" * 16
    queue.append("", ("call", name, ticket, None, b"x" * 1000), LIMIT)
    queue.append("", ("call", "q" * 16, "u" * 16, None, "short"), LIMIT)
    concerned = queue.adapt(MSGPACK, 500)
    assert isinstance(concerned, dict)
    assert set(concerned) == {name, ticket}
    assert queue.appended == 2
