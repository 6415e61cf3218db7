"""The chunks of a byte stream: whatever is sent comes out again, in whatever pieces, and then the end."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trio_mp._protocol.wire.chunks import END, ChunkReader, header


def chunk(data: bytes) -> bytes:
    return header(len(data)) + data


def test_the_pinned_bytes() -> None:
    assert chunk(b"abc") == b"\x00\x00\x00\x03abc"
    assert END == b"\x00\x00\x00\x00"
    assert header(2**32 - 1) == b"\xff\xff\xff\xff"


def test_the_end_is_the_end() -> None:
    reader = ChunkReader()
    reader.feed(chunk(b"abc") + END + chunk(b"ignored"))
    before = reader.ended
    assert reader.take(None) == b"abc"
    assert reader.take(None) == b""
    assert (before, reader.ended) == (False, True)
    assert reader.take(1) == b""


@pytest.mark.parametrize("size", [1, 2, 3])
def test_nothing_is_no_end(size: int) -> None:
    reader = ChunkReader()
    assert reader.take(None) is None
    reader.feed(END[:size])
    assert reader.take(None) is None
    assert not reader.ended
    reader.feed(END[size:])
    assert reader.take(None) == b""


def test_the_middle_of_a_large_chunk_is_not_copied() -> None:
    reader = ChunkReader()
    reader.feed(header(2**32 - 1))
    assert reader.take(None) is None
    middle = b"x" * 1000
    reader.feed(middle)
    assert reader.take(None) is middle
    assert reader.take(None) is None


def test_no_more_than_is_asked_for() -> None:
    reader = ChunkReader()
    reader.feed(header(10) + b"abcd")
    assert reader.take(3) == b"abc"
    reader.feed(b"efghij" + chunk(b"kl"))
    assert reader.take(2) == b"de"
    assert reader.take(6) == b"fghijk"
    assert reader.take(6) == b"l"
    assert reader.take(6) is None


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=8),
    st.lists(st.integers(1, 30), min_size=1),
    st.lists(st.none() | st.integers(1, 30), min_size=1),
)
def test_what_is_sent_comes_out_in_whatever_pieces(
    chunks: list[bytes], sizes: list[int], maxima: list[int | None]
) -> None:
    data = b"".join(map(chunk, chunks)) + END
    reader, taken, position, turn = ChunkReader(), b"", 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        reader.feed(data[position : position + size])
        position += size
        while (piece := reader.take(maximum := maxima[turn % len(maxima)])) is not None:
            turn += 1
            taken += piece
            assert maximum is None or len(piece) <= maximum
            if not piece:
                break
        turn += 1
    assert reader.ended
    assert taken == b"".join(chunks)


@given(st.binary(), st.integers(1, 5))
def test_any_bytes_are_a_stream_or_the_beginning_of_one(data: bytes, size: int) -> None:
    whole, cut = ChunkReader(), ChunkReader()
    whole.feed(data)
    taken = [b"", b""]
    while piece := whole.take(None):
        taken[0] += piece
    for start in range(0, len(data), size):
        cut.feed(data[start : start + size])
        while piece := cut.take(3):
            taken[1] += piece
    assert taken[0] == taken[1]
    assert whole.ended is cut.ended
