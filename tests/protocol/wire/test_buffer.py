"""Bytes in pieces of any size to lines, then to frames."""

from __future__ import annotations

import itertools
import struct
import tracemalloc

import pytest
from hypothesis import given, strategies as st

from trio_mp._errors import RemoteProtocolError
from trio_mp._protocol.wire.buffer import LINE_LIMIT, FrameBuffer, LineBuffer

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126))
cuts = st.lists(st.integers(0, 2000))


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at these places; where two are the same there is an empty piece."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def lines_of(buffer: LineBuffer) -> list[str]:
    return list(iter(buffer.next_line, None))


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


@given(st.lists(printable), printable.map(str.encode), cuts)
def test_lines_are_the_same_however_their_bytes_come(lines: list[str], rest: bytes, cuts: list[int]) -> None:
    buffer = LineBuffer()
    taken: list[str] = []
    for piece in pieces_of("".join(f"{line}\n" for line in lines).encode() + rest, cuts):
        buffer.feed(piece)
        taken += lines_of(buffer)
    assert taken == lines
    assert len(buffer) == len(rest)
    assert buffer.take_rest() == rest
    assert len(buffer) == 0
    assert buffer.take_rest() == b""


def test_what_follows_the_last_line_taken_is_handed_over_whole() -> None:
    buffer = LineBuffer()
    buffer.feed(b"one\ntwo\n\x00\n\xff")
    assert buffer.next_line() == "one"
    assert buffer.take_rest() == b"two\n\x00\n\xff"
    assert buffer.next_line() is None


def test_a_line_at_the_limit_passes() -> None:
    buffer = LineBuffer()
    buffer.feed(b"a" * LINE_LIMIT)
    assert buffer.next_line() is None
    buffer.feed(b"\nb\n")
    assert buffer.next_line() == "a" * LINE_LIMIT
    assert buffer.next_line() == "b"


@pytest.mark.parametrize("ending", [b"", b"\n", b"\nmore\n"])
def test_a_line_one_past_the_limit_is_refused_complete_or_not(ending: bytes) -> None:
    buffer = LineBuffer()
    buffer.feed(b"a" * (LINE_LIMIT + 1) + ending)
    with pytest.raises(RemoteProtocolError, match="expected a line of at most 4096 bytes"):
        buffer.next_line()


def test_lines_that_are_short_each_pass_however_many_come_at_once() -> None:
    buffer = LineBuffer()
    buffer.feed(b"a\n" * LINE_LIMIT * 2)
    assert lines_of(buffer) == ["a"] * LINE_LIMIT * 2


@pytest.mark.parametrize("byte", [b"\x00", b"\r", b"\t", b"\x1b", b"\x1f", b"\x7f", b"\x80", b"\xff", "ä".encode()])
def test_a_line_holds_nothing_but_printable_ascii(byte: bytes) -> None:
    buffer = LineBuffer()
    buffer.feed(b"a line" + byte + b"\n")
    with pytest.raises(RemoteProtocolError, match="expected a line of printable ASCII") as caught:
        buffer.next_line()
    assert str(caught.value).isprintable()


def test_every_printable_character_passes() -> None:
    everything = bytes(range(32, 127))
    buffer = LineBuffer()
    buffer.feed(everything + b"\n\n")
    assert lines_of(buffer) == [everything.decode("ascii"), ""]


@given(st.lists(st.binary(max_size=300)), st.binary(max_size=3), cuts)
def test_frames_are_the_same_however_their_bytes_come(payloads: list[bytes], rest: bytes, cuts: list[int]) -> None:
    buffer = FrameBuffer(300, bytes)
    taken: list[bytes] = []
    for piece in pieces_of(b"".join(map(frame, payloads)) + rest, cuts):
        taken += buffer.feed(piece)
    assert taken == payloads
    assert len(buffer) == len(rest)


@given(st.lists(st.binary(max_size=100)))
def test_frames_are_the_same_byte_by_byte(payloads: list[bytes]) -> None:
    buffer = FrameBuffer(100, bytes)
    taken: list[bytes] = []
    for byte in b"".join(map(frame, payloads)):
        taken += buffer.feed(bytes([byte]))
    assert taken == payloads
    assert len(buffer) == 0


@given(st.lists(st.binary(max_size=300)), st.binary(max_size=3), cuts, st.integers(1, 300), st.data())
def test_frames_are_the_same_whether_fed_or_filled(
    payloads: list[bytes], rest: bytes, cuts: list[int], large: int, data: st.DataObject
) -> None:
    buffer = FrameBuffer(300, bytes, large)
    taken: list[bytes] = []
    # Whoever keeps such a view is not to be in the way.
    rooms: list[memoryview] = []
    for piece in pieces_of(b"".join(map(frame, payloads)) + rest, cuts):
        while piece and (room := buffer.room()) is not None and data.draw(st.booleans()):
            rooms.append(room)
            count = data.draw(st.integers(1, min(len(room), len(piece))))
            room[:count] = piece[:count]
            taken += buffer.filled(count)
            piece = piece[count:]
        taken += buffer.feed(piece)
    assert taken == payloads
    assert len(buffer) == len(rest)


def test_only_a_large_frame_that_has_begun_has_room_for_its_rest() -> None:
    buffer = FrameBuffer(1000, bytes, 10)
    whole = frame(b"x" * 11)
    assert buffer.room() is None
    assert buffer.feed(whole[:4]) == []
    assert bytes(buffer.room() or b"") == bytes(11)
    assert buffer.feed(whole[4:-1]) == []
    assert bytes(buffer.room() or b"") == bytes(1)
    assert len(buffer) == len(whole) - 1
    assert buffer.feed(b"x" + frame(b"y" * 10)[:-1]) == [b"x" * 11]
    assert buffer.room() is None
    assert buffer.feed(b"y" + whole[:3]) == [b"y" * 10]
    assert buffer.room() is None


def held_by(buffer: FrameBuffer[bytes], pieces: list[bytes]) -> int:
    """How much memory it takes to hold what is left of these, in bytes."""
    tracemalloc.start()
    try:
        for piece in pieces:
            buffer.feed(piece)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_a_frame_that_is_announced_and_does_not_come_takes_no_memory() -> None:
    header = struct.pack(">I", 2**30)
    assert held_by(FrameBuffer(2**30, bytes), [header]) < 10_000
    assert held_by(FrameBuffer(2**30, bytes), [header, bytes(1000)]) < 300_000
    assert held_by(FrameBuffer(2**30, bytes), [header, bytes(1_000_000)]) < 4_300_000


def test_memory_is_kept_for_the_next_large_frame_but_not_for_ever() -> None:
    buffer = FrameBuffer(1_000_000, lambda _view: b"")
    large, small = frame(bytes(1_000_000)), frame(b"small")
    in_pieces = [large[:4], large[4:], *[small] * 15]
    assert 1_000_000 < held_by(buffer, in_pieces) < 1_100_000
    assert held_by(buffer, in_pieces) < 100_000, "it was made anew"
    assert 1_000_000 < held_by(buffer, [small, small, *in_pieces]) < 1_100_000, "it was kept"


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_frame_that_is_not_whole_is_kept(payload: bytes, data: st.DataObject) -> None:
    whole = frame(b"first") + frame(payload)
    cut = data.draw(st.integers(len(frame(b"first")), len(whole) - 1))
    buffer = FrameBuffer(200, bytes)
    assert buffer.feed(whole[:cut]) == [b"first"]
    assert len(buffer) == cut - len(frame(b"first"))
    assert buffer.feed(whole[cut:]) == [payload]
    assert len(buffer) == 0


def test_a_frame_is_handed_over_with_its_last_byte_and_no_earlier() -> None:
    buffer = FrameBuffer(10, bytes)
    assert buffer.feed(frame(b"abc")[:-1]) == []
    assert buffer.feed(b"c") == [b"abc"]


def test_a_frame_of_no_bytes_is_a_frame() -> None:
    assert FrameBuffer(0, bytes).feed(bytes(4)) == [b""]


@pytest.mark.parametrize("before", [b"", b"\x00"], ids=["at once", "behind a kept byte"])
def test_a_frame_at_the_limit_passes_and_one_past_it_is_refused_at_its_header(before: bytes) -> None:
    buffer = FrameBuffer(1000, bytes)
    assert buffer.feed(before) == []
    assert buffer.feed(frame(b"x" * 1000)[len(before) :]) == [b"x" * 1000]
    buffer = FrameBuffer(1000, bytes)
    assert buffer.feed(before) == []
    with pytest.raises(RemoteProtocolError, match="expected a frame of at most 1000 bytes, got 1001"):
        buffer.feed(struct.pack(">I", 1001)[len(before) :])


def test_a_frame_of_the_largest_length_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="4294967295"):
        FrameBuffer(2**31, bytes).feed(b"\xff" * 4)


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01", b"aemp;1;\xff", b"\x00" * 10, b"GET / HTTP/1.1\r"])
def test_what_is_no_line_is_refused_before_its_end(data: bytes) -> None:
    """Whoever speaks something else may never send a line feed, and is not to keep its slot for that."""

    def feed(pieces: list[bytes]) -> None:
        buffer = LineBuffer()
        for piece in pieces:
            buffer.feed(piece)
            buffer.next_line()

    with pytest.raises(RemoteProtocolError, match="expected a line of printable ASCII") as whole:
        feed([data])
    with pytest.raises(RemoteProtocolError, match="expected a line of printable ASCII") as byte_by_byte:
        feed([bytes([byte]) for byte in data])
    assert str(whole.value) == str(byte_by_byte.value)
