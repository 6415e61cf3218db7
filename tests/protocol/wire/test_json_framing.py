"""The framing `json`: which values travel in it, and arrays split off a byte stream."""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, strategies as st
from wire_values import NAME, REFUSED, SHAPES, LivePort, as_received, exact, nested

from trio_mp._errors import LocalProtocolError, RemoteProtocolError
from trio_mp._ids import PortID
from trio_mp._protocol.wire import codec, json_amount, json_framing
from trio_mp._protocol.wire.codec import check_received
from trio_mp._protocol.wire.json_framing import JSONBuffer, append_json
from trio_mp._protocol.wire.json_structure import has_long_number
from trio_mp._protocol.wire.limits import MAXIMUM_DEPTH

LIMIT = 10_000

port_ids = st.sampled_from([PortID("node#"), PortID(f"node#{NAME}"), LivePort("live#"), LivePort("live/1#")])
texts = st.text() | st.sampled_from(['"', "\\", '\\"', "]", "[{", "null", "1" * 25, "\x00\x1f\x7f", "\u2028", "ä😀"])
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)


def containers(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(texts | port_ids, inner),
        max_leaves=20,
    )


values = containers(st.none() | st.booleans() | numbers | texts | port_ids)
messages = st.lists(values, max_size=5).map(tuple)
space = st.text(" \t\r\n", max_size=3).map(str.encode)
cuts = st.lists(st.integers(0, 2000))


def encoded(*message: object, name: str = NAME) -> bytes:
    buffer = bytearray()
    append_json(buffer, name, message)
    return bytes(buffer)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at these places; where two are the same there is an empty piece."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def bytes_of(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


def outcome(pieces: list[bytes], limit: int = LIMIT) -> tuple[list[tuple[object, ...]], str | None]:
    """The messages that come of it, and the error that ends them; any other error fails the test."""
    buffer = JSONBuffer(limit)
    taken: list[tuple[object, ...]] = []
    for piece in pieces:
        try:
            taken += buffer.feed(piece)
        except RemoteProtocolError as error:
            assert len(buffer) == 0
            # It goes to the log, where it must forge no line.
            assert str(error).isprintable()  # noqa: PT017
            assert len(str(error)) < 500  # noqa: PT017
            return taken + buffer.completed, str(error)
        assert buffer.completed == []
        assert len(buffer) <= limit
    return taken, None


def received(data: bytes, limit: int = LIMIT) -> list[tuple[object, ...]]:
    """The messages of data that is fine, fed whole and byte by byte."""
    taken, error = outcome([data], limit)
    assert error is None
    again, error = outcome(bytes_of(data), limit)
    assert error is None
    assert exact(again) == exact(taken)
    return taken


def refusal(data: bytes, limit: int = LIMIT) -> str:
    """What is wrong with data that is refused, whole and byte by byte."""
    taken, error = outcome([data], limit)
    again, error_again = outcome(bytes_of(data), limit)
    assert exact(again) == exact(taken)
    assert error == error_again
    assert error is not None
    return error


# What travels ----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(space, messages), max_size=5), space, cuts)
def test_what_travels_arrives_as_what_it_was_however_its_bytes_come(
    batch: list[tuple[bytes, tuple[object, ...]]], last: bytes, cuts: list[int]
) -> None:
    data = b"".join(before + encoded(*message) for before, message in batch) + last
    expected = [exact((NAME, *map(as_received, message))) for _, message in batch]
    for pieces in ([data], pieces_of(data, cuts), bytes_of(data)):
        taken, error = outcome(pieces)
        assert error is None
        assert list(map(exact, taken)) == expected


@given(messages)
def test_another_decoder_reads_the_same(message: tuple[object, ...]) -> None:
    data = encoded(*message)
    assert data.endswith(b"]\n")
    assert data.count(b"\n") == 1
    assert exact(json.loads(data)) == exact([NAME, *map(as_received, message)])


@given(st.lists(messages), st.booleans())
def test_what_another_encoder_writes_is_read(batch: list[tuple[object, ...]], ascii_only: bool) -> None:
    lines = [json.dumps([NAME, *map(as_received, message)], ensure_ascii=ascii_only, indent=1) for message in batch]
    expected = [exact((NAME, *map(as_received, message))) for message in batch]
    assert list(map(exact, received("".join(lines).encode(), limit=10**6))) == expected


def test_a_message_is_a_line_byte_for_byte() -> None:
    data = encoded("tag", 1, -0.5, None, True, ("ä😀", '"\\\n\x00'), {"key": []}, name="p.1")
    assert data == '["p.1","tag",1,-0.5,null,true,["ä😀","\\"\\\\\\n\\u0000"],{"key":[]}]\n'.encode()
    assert encoded(name="") == b'[""]\n'


def test_it_is_appended() -> None:
    buffer = bytearray(b"before")
    append_json(buffer, "", ("tag", 1))
    append_json(buffer, "", ([2],))
    assert buffer == b'before["","tag",1]\n["",[2]]\n'


@pytest.mark.parametrize("value", [0, -1, 2**64 - 1, -(2**63), 2**63, 10**18, -(10**18)])
def test_an_int_of_64_bits_travels(value: int) -> None:
    expected = [(NAME, value, [value], {"a": value})]
    assert received(encoded(value, [value], {"a": value})) == expected


@pytest.mark.parametrize(
    "value",
    [0.0, -0.0, 0.1, 1e16, 1e22, 5e-324, 2.2250738585072014e-308, sys.float_info.max, -sys.float_info.max, 1e100],
)
def test_a_float_stays_that_float(value: float) -> None:
    assert exact(received(encoded(value, [value]))) == exact([(NAME, value, [value])])


def test_text_that_looks_like_what_is_looked_for_travels() -> None:
    message = ("null", "1" * 100, ["null"], {"null": "9" * 30}, None, "NaN", "]", '"', "\\")
    assert received(encoded(*message)) == [(NAME, *message)]


def test_a_port_travels_as_its_id_wherever_it_is() -> None:
    port = LivePort(f"node#{NAME}")
    plain = f"node#{NAME}"
    taken = received(encoded(port, [port], (port,), {"key": port}, {port: 1}))
    assert exact(taken) == exact([(NAME, plain, [plain], [plain], {"key": plain}, {plain: 1})])


def test_a_message_nests_a_hundred_deep() -> None:
    assert received(encoded(nested(100))) == [(NAME, nested(100))]
    assert received(encoded(nested(98, {"a": []}))) == [(NAME, nested(98, {"a": []}))]
    for value in (nested(101), nested(99, {"a": {}})):
        with pytest.raises(ValueError, match="lists and dicts at most 100 deep"):
            encoded(value)


@given(st.integers(1, 110), st.lists(st.booleans(), min_size=110, max_size=110), st.sampled_from(["", "0", '"]"']))
@example(100, [True] * 110, "0")
@example(101, [True] * 110, "0")
@example(101, [False] * 110, '"]"')
@example(102, [True] * 110, "")
def test_the_depth_that_is_received_is_the_depth_that_is_sent(depth: int, lists: list[bool], inner: str) -> None:
    text = inner
    for index in range(depth):
        text = f"[{text}]" if lists[index] or not text else f'{{"a":{text}}}'
    value = json.loads(text)
    data = f'["",{text},[]]'.encode()
    frame = codec.open_frame()
    if depth <= MAXIMUM_DEPTH:
        assert received(data) == [("", value, [])]
        append_json(frame, "", (value,))
        codec.append_message(frame, "", (value,))
        check_received([("", value)])
    else:
        assert refusal(data) == "expected lists and dicts at most 100 deep, got deeper ones"
        for refuse in (append_json, codec.append_message):
            with pytest.raises(ValueError, match="deep"):
                refuse(frame, "", (value,))
        with pytest.raises(RemoteProtocolError, match="deep"):
            check_received([("", value)])


# What does not travel --------------------------------------------------------------------------------------------

ONLY_HERE = [
    pytest.param(b"bytes", TypeError, id="bytes"),
    pytest.param(b"", TypeError, id="no bytes"),
    pytest.param(math.nan, ValueError, id="NaN"),
    pytest.param(math.inf, ValueError, id="infinity"),
    pytest.param(-math.inf, ValueError, id="-infinity"),
]
each_shape = pytest.mark.parametrize("place, make", SHAPES, ids=[place for place, _ in SHAPES])


def refused_by(append: Callable[[bytearray, str, tuple[object, ...]], None], message: tuple[object, ...]) -> Exception:
    buffer = bytearray(b"what was there before")
    with pytest.raises((TypeError, ValueError)) as caught:
        append(buffer, NAME, message)
    assert buffer == b"what was there before"
    return caught.value


@pytest.mark.parametrize("value, error", REFUSED)
@each_shape
def test_what_codec_refuses_is_refused_in_the_same_words(
    value: object, error: type[Exception], place: str, make: Callable[[object], tuple[object, ...]]
) -> None:
    here, there = refused_by(append_json, make(value)), refused_by(codec.append_message, make(value))
    assert isinstance(here, error)
    assert type(here) is type(there)
    assert str(here) == str(there)


@pytest.mark.parametrize("value, error", ONLY_HERE)
@each_shape
def test_what_json_lacks_is_refused_with_its_place(
    value: object, error: type[Exception], place: str, make: Callable[[object], tuple[object, ...]]
) -> None:
    codec.append_message(bytearray(), NAME, make(value))
    refused = refused_by(append_json, make(value))
    assert isinstance(refused, error)
    text = str(refused)
    assert text.startswith(f"{place}: ")
    assert "expected a value of JSON, which that node speaks, got " in text
    assert repr(value) in text or "bytes" in text


@given(
    st.lists(
        containers(
            st.none() | numbers | texts | st.binary() | st.floats() | st.sampled_from([2**64, "\ud800", {1}, {1: 1}])
        ),
        max_size=4,
    ).map(tuple)
)
def test_it_takes_what_codec_takes_but_for_what_json_lacks(message: tuple[object, ...]) -> None:
    try:
        codec.append_message(bytearray(), NAME, message)
    except (TypeError, ValueError):
        refused_by(append_json, message)
        return
    if lacks(message):
        assert "JSON" in str(refused_by(append_json, message))
    else:
        assert exact(received(encoded(*message))) == exact([(NAME, *map(as_received, message))])


def lacks(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(map(lacks, value))
    if isinstance(value, dict):
        return any(map(lacks, value.values()))
    return isinstance(value, bytes) or (isinstance(value, float) and not math.isfinite(value))


@pytest.mark.parametrize("message", [(), ([],), (b"",)], ids=repr)
def test_a_name_that_cannot_be_encoded_leaves_nothing_behind(message: tuple[object, ...]) -> None:
    buffer = bytearray(b"before")
    with pytest.raises((TypeError, ValueError)):
        append_json(buffer, "\ud800", message)
    assert buffer == b"before"


def test_a_key_with_a_lone_surrogate_is_refused_with_its_place() -> None:
    refused = refused_by(append_json, ("tag", {"fine": 1, "\ud800": {}}))
    assert str(refused).startswith(r'message[1]["\ud800"]: ')


# What is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", []),
        (b" \t\r\n", []),
        (b"[]", [()]),
        (b"[ ]\r\n[]", [(), ()]),
        (b'[""][""]', [("",), ("",)]),
        (b'\n [\t"" , 1\r]  [ ] ', [("", 1), ()]),
        (rb'["\"","\\",["]"],{"[":"\\\""}]', [('"', "\\", ["]"], {"[": '\\"'})]),
        (rb'["\ud83d\ude00\u0000\/"]', [("😀\x00/",)]),
        (b'["",{"a":1,"b":2,"a":3}]', [("", {"a": 3, "b": 2})]),
        (b'["",-0,0e999,1E5,-1.5e-3,1e-999]', [("", 0, 0.0, 1e5, -0.0015, 0.0)]),
        (b'["",18446744073709551616.0,18446744073709551616e0]', [("", 2.0**64, 2.0**64)]),
        (b'["",18446744073709551615,-9223372036854775808]', [("", 2**64 - 1, -(2**63))]),
        (b'["","9999999999999999999999"]', [("", "9" * 22)]),
        (b'["",[[[[[[1]]],[]]],{"a":{"b":{"c":{}}}}]]', [("", [[[[[[1]]], []]], {"a": {"b": {"c": {}}}}])]),
        ('["\x7f\x80\u2028"]'.encode(), [("\x7f\x80\u2028",)]),
    ],
)
def test_what_is_read(data: bytes, expected: list[tuple[object, ...]]) -> None:
    assert exact(received(data)) == exact(expected)


def test_a_message_is_handed_over_with_its_last_byte_and_no_earlier() -> None:
    buffer = JSONBuffer(LIMIT)
    assert buffer.feed(b' ["",[1],"]') == []
    assert len(buffer) == 10
    assert buffer.feed(b'"') == []
    assert buffer.feed(b']["') == [("", [1], "]")]
    assert len(buffer) == 2
    assert buffer.feed(b'"] ') == [("",)]
    assert len(buffer) == 0


def test_a_long_message_leaves_nothing_behind() -> None:
    data = encoded("x" * 100_000, [1])
    buffer = JSONBuffer(len(data))
    assert buffer.feed(data[:70_000]) == []
    assert buffer.feed(data[70_000:] + b"[") == [(NAME, "x" * 100_000, [1])]
    assert len(buffer) == 1
    assert buffer.feed(b"]" + data) == [(), (NAME, "x" * 100_000, [1])]


# What is refused -------------------------------------------------------------------------------------------------

MALFORMED = {
    "no value": b"[,]",
    "a comma at the end": b'["",]',
    "a comma at the end of an object": b'["",{"a":1,}]',
    "no comma": b'["" 1]',
    "a single quote": b"['']",
    "a comment": b'["" /**/]',
    "a brace that ends it": b'["",1}',
    "a bracket that ends an object": b'["",{"a":1]]',
    "a key that is an int": b'["",{1:2}]',
    "a key that is null": b'["",{null:2}]',
    "a key that is an array": b'["",{[]:2}]',
    "no colon": b'["",{"a" 1}]',
    "a key alone": b'["",{"a"}]',
    "NaN": b'["",NaN]',
    "nan": b'["",nan]',
    "Infinity": b'["",Infinity]',
    "-Infinity": b'["",-Infinity]',
    "True": b'["",True]',
    "undefined": b'["",undefined]',
    "nul": b'["",nul]',
    "1e999": b'["",1e999]',
    "-1e999": b'["",[-1e999]]',
    "1e99999999999999999999": b'["",1e99999999999999999999]',
    "just past the largest float": b'["",1.7976931348623159e308]',
    "400 digits and a point": b'["",' + b"1" * 400 + b".0]",
    "01": b'["",01]',
    "-": b'["",-]',
    "+1": b'["",+1]',
    "1.": b'["",1.]',
    ".5": b'["",.5]',
    "1e": b'["",1e]',
    "0x1": b'["",0x1]',
    "a tab in text": b'["\t"]',
    "a line feed in text": b'["\n"]',
    "a NUL in text": b'["\x00"]',
    "a NUL": b'[""\x00]',
    "a vertical tab": b'[""\x0b]',
    "an escape that is none": rb'["\x"]',
    "digits that are none": rb'["\u12G4"]',
    "too few digits": rb'["\u123"]',
    "a high surrogate": rb'["\ud800"]',
    "a high surrogate before text": rb'["\ud800 text"]',
    "a high surrogate before an escape": rb'["\ud800\n"]',
    "a high surrogate before no surrogate": rb'["\ud800\u0041"]',
    "a low surrogate": rb'["\udc00"]',
    "two high surrogates": rb'["\ud800\ud800"]',
    "surrogates the wrong way round": rb'["\udc00\ud800"]',
    "a surrogate in a key": rb'["",{"\ud800":1}]',
    "a surrogate in UTF-8": b'["\xed\xa0\x80"]',
    "a surrogate in UTF-8 in a key": b'["",{"\xed\xa0\x80":1}]',
    "text that is not UTF-8": b'["\xff"]',
    "text cut short": b'["\xc3"]',
    "an overlong NUL": b'["\xc0\x80"]',
    "past U+10FFFF": b'["\xf4\x90\x80\x80"]',
    "a key that is not UTF-8": b'["",{"\xff":1}]',
    "not UTF-8 behind an escape": b'["\\n\xff"]',
    "not UTF-8 between values": b'["",\xff]',
    "UTF-8 between values": '["",ä]'.encode(),
    "UTF-16": '[""]'.encode("utf-16-le"),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    assert "expected a message that decodes" in refusal(data)
    assert refusal(b'[] ["",1]' + data + b"[]") == refusal(data)
    assert outcome([b'[] ["",1]' + data + b"[]"])[0] == [(), ("", 1)]


@pytest.mark.parametrize("name", [b"1", b"null", b"true", b"1.5", b"[]", b"{}", b'[""]', b'{"":1}'])
def test_a_name_that_is_no_text_is_refused(name: bytes) -> None:
    assert "begins with a port's name" in refusal(b"[" + name + b"]")
    assert "begins with a port's name" in refusal(b"[" + name + b"]\n")
    assert "begins with a port's name" in refusal(b'[""][' + name + b',""]')


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**30, -(10**30), 10**1000, 10**4299])
@pytest.mark.parametrize("form", ['["",%s]', '["",[0,[%s]]]', '["",{"a":{"b":%s}}]', '["","",%s,"11"]'])
def test_an_int_past_64_bits_is_refused(value: int, form: str) -> None:
    assert refusal((form % value).encode()) == "expected ints of at most 64 bits, got a longer one"


@pytest.mark.parametrize("digits", [4301, 5000])
def test_an_int_too_long_for_python_is_refused(digits: int) -> None:
    for sign in ("", "-"):
        assert "expected a message that decodes" in refusal(f'["",{sign}{"9" * digits}]'.encode())


@pytest.mark.parametrize(
    "data", [b",", b";", b"\x00", b"\x0b", b"\x0c", b"\x1e", b"{", b"}", b"]", b'"', b"1", b"n", b"\xff", b"\x85"]
)
def test_anything_but_white_space_between_messages_is_refused(data: bytes) -> None:
    expected = f"expected the '[' of a message, got the byte {data[0]:#04x}"
    for before in (b"", b" \n", b"[]", b'["",[[[[1]]]]]', b"[]\n\t"):
        assert refusal(before + data) == expected
        assert refusal(before + data + b"[]") == expected


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_refused(mark: str) -> None:
    assert "expected the '[' of a message" in refusal('[""]'.encode(mark))


@pytest.mark.parametrize("limit", [2, 5, 100, 10_000])
@pytest.mark.parametrize("before", [b"", b" \n", b"[]"], ids=repr)
@pytest.mark.parametrize(
    "begin, end",
    [('["', '"]'), ('["",', "1]"), ('["",[', "1]]"), ('["",' + "[" * 9, "1" + "]" * 10)],
    ids=["text", "space", "array", "nested"],
)
def test_a_message_at_the_limit_passes_and_one_past_it_is_refused_before_it_is_whole(
    limit: int, before: bytes, begin: str, end: str
) -> None:
    if limit < len(begin + end):
        begin, end = "[", "]"
    fill = " " * (limit - len(begin + end))
    data = (begin + fill + end).encode()
    assert len(data) == limit
    assert len(received(before + data, limit)) == (2 if before == b"[]" else 1)
    expected = f"expected a message of at most {limit} bytes, got a longer one"
    assert refusal(before + (begin + fill + " " + end).encode(), limit) == expected
    incomplete = (begin + fill + " " * len(end)).encode()
    assert outcome([before + incomplete], limit)[1] is None
    assert refusal(before + incomplete + b" ", limit) == expected


def test_of_two_things_that_are_wrong_the_first_is_named() -> None:
    assert "at most 50 bytes" in refusal(b'["",' + b"[" * 200, limit=50)
    assert "deep" in refusal(b'["",' + b"[" * 200, limit=150)
    assert "at most 50 bytes" in refusal(b'["",NaN,' + b" " * 50 + b"]", limit=50)
    assert "expected a message that decodes" in refusal(b'["",NaN],', limit=50)


def test_no_limit_at_all_refuses_everything_but_space() -> None:
    assert received(b"  ", limit=0) == []
    assert refusal(b"[]", limit=0) == "expected a message of at most 0 bytes, got a longer one"


def test_after_an_error_nothing_may_be_fed_and_nothing_is_held() -> None:
    buffer = JSONBuffer(LIMIT)
    assert buffer.feed(b'["",' + b" " * 5000) == []
    with pytest.raises(RemoteProtocolError):
        buffer.feed(b"1][],")
    assert buffer.completed == [("", 1), ()]
    assert len(buffer) == 0
    with pytest.raises(LocalProtocolError, match="after an error"):
        buffer.feed(b"[]")


# How much work and memory it takes -------------------------------------------------------------------------------

SIZE = 200_000
WORKLOADS = {
    "text": b'["' + b"a" * SIZE + b'"]',
    "escapes": b'["' + rb"\"" * (SIZE // 2) + b'"]',
    "texts": b'[""' + b',"a"' * (SIZE // 4) + b"]",
    "ints": b'[""' + b",1" * (SIZE // 2) + b"]",
    "objects": b'[""' + b',{"a":1}' * (SIZE // 8) + b"]",
    "arrays": b'[""' + b",[[1]]" * (SIZE // 6) + b"]",
    "deep": b'["",[' + b",".join([b"[" * 99 + b"]" * 99] * (SIZE // 200)) + b"]]",
    "deep, much in each": b'[""' + b',[11111,"1"' * 100 + b"]" * 101,
    "messages": b'["",1]' * (SIZE // 6),
    "messages, and then none": b'["",1]' * (SIZE // 6) + b"[" * 50,
    "longer messages, and then none": (b'["",' + b"[1,[]]," * 20 + b"1]") * (SIZE // 200) + b"[" * 50,
    "what looks like an end": b'[""' + b',"]["' * (SIZE // 5) + b"]",
    "what looks like an end, deep": b'["",' + b"[" * 97 + b"1" + b',[],"][",[[]]' * (SIZE // 13) + b"]" * 98,
    "nested messages": b'["",[[[[]]]]]' * (SIZE // 13),
    "space": b" " * SIZE,
}


class Counter:
    """Counts how often the splitter looks, and at how much, in place of each function with which it does."""

    looks = 0
    looked_at = 0

    def wrap_pattern(self, look: Callable[..., re.Match[bytes] | None]) -> Callable[..., re.Match[bytes] | None]:
        def counted(source: bytes, start: int = 0) -> re.Match[bytes] | None:
            found = look(source, start)
            self.looks += 1
            self.looked_at += (found.end() if found else len(source)) - start
            return found

        return counted

    def wrap(self, look: Callable[..., Any]) -> Callable[..., Any]:
        def counted(part: bytes, *others: Any) -> Any:
            self.looks += 1
            self.looked_at += len(part)
            return look(part, *others)

        return counted


@pytest.mark.parametrize("size", [1, 2, 7, 20, 1000, 65536, 10**9])
@pytest.mark.parametrize("data", WORKLOADS.values(), ids=WORKLOADS)
def test_the_work_is_in_proportion_to_the_bytes(data: bytes, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    for name in ("_match_rest_of_text", "_match_flat", "_match_space", "_search_end"):
        monkeypatch.setattr(json_framing, name, counter.wrap_pattern(getattr(json_framing, name)))
    for name in ("structure", "nesting", "deepest"):
        monkeypatch.setattr(json_framing, name, counter.wrap(getattr(json_framing, name)))
    buffer = JSONBuffer(len(data))
    count = 0
    for start in range(0, len(data), size):
        count += len(buffer.feed(data[start : start + size]))
    assert count == data.count(b'["",') + (data[:3] == b'["a') + (data[:3] == b'["\\')
    assert counter.looks <= 3 * len(data)
    assert counter.looked_at <= 5 * len(data)


parts = st.lists(st.sampled_from([*map(bytes, zip(b'[]{}",:x\n')), b"[[", b"]]", rb"\\", rb"\"", rb"\n"])).map(b"".join)


@given(parts, st.integers(1, 101), st.booleans())
@example(rb'x\\"]"', 2, True)
def test_what_is_skimmed_is_what_each_bracket_says(part: bytes, depth: int, in_string: bool) -> None:
    skimming, stepping = JSONBuffer(LIMIT), JSONBuffer(LIMIT)
    for buffer in (skimming, stepping):
        buffer._depth, buffer._in_string = depth, in_string
    skimmed = skimming._skim(part)
    try:
        taken = stepping._step(part)
    except RemoteProtocolError:
        assert not skimmed
        return
    assert skimmed == (stepping._depth > 0)
    if skimmed:
        assert taken == len(part)
        assert (skimming._depth, skimming._in_string) == (stepping._depth, stepping._in_string)
    else:
        assert (skimming._depth, skimming._in_string) == (depth, in_string)


def test_half_a_megabyte_byte_by_byte() -> None:
    data = b'[""' + b',1,"a",[]' * 55_000 + b"]"
    buffer = JSONBuffer(len(data))
    taken = [message for byte in data for message in buffer.feed(b"%c" % byte)]
    assert len(taken) == 1


def test_a_large_message_costs_no_more_memory_than_its_bytes() -> None:
    piece = b"\\n" * 32768
    buffer = JSONBuffer(10**7)
    buffer.feed(b'["')
    tracemalloc.start()
    try:
        for _ in range(100):
            buffer.feed(piece)
        assert len(buffer) == 100 * len(piece) + 2
        # A bytearray that grows takes an eighth more than it needs.
        assert tracemalloc.get_traced_memory()[1] < 1.2 * len(buffer) + 10 * len(piece)
        buffer.feed(b"a" * (10**7 - len(buffer)))
        with pytest.raises(RemoteProtocolError, match="got a longer one") as caught:
            buffer.feed(piece)
        # Even while the error, and with it every frame it passed, is kept.
        assert tracemalloc.get_traced_memory()[0] < 100_000
        assert caught.value.__traceback__ is not None
    finally:
        tracemalloc.stop()


# Anything --------------------------------------------------------------------------------------------------------

VALID = b"".join(
    [
        b"[]",
        encoded("tag", 1, -1, 2**64 - 1, -(2**63), 1.5, 1e300, None, True, 'ä\U0001f600\x00"\\'),
        encoded([[], {}, {"a": [1, {"b": [[["]"]]]}]}], "x" * 300),
        rb' [ "\ud83d\ude00\/" , { "a" : [ 1.5e3 , "\\" ] } ] ',
        encoded(nested(100)),
    ]
)
WORDS = [
    *(b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b" ", b"\n", b"0", b"-", b".", b"e9", b"null", b"true", b"NaN"),
    *(b'""', b'"a":', b'["",', b"[]", b"\\u", b"\\ud800", b"\\udc00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"1e999"),
    *(b"9" * 19, b"9" * 20, b"[" * 99, b"]" * 99, b'{"":' * 50, b"}" * 50, b"1" * 4301, b" " * 500),
]
words = st.sampled_from(WORDS)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid messages with a few bytes changed, taken away, doubled, or with others put in."""
    data = bytearray(VALID)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        data[start:end] = draw(st.binary(max_size=8) | st.just(bytes(data[start:end]) * 2) | words)
    return bytes(data)


noise = st.one_of(
    st.binary(),
    st.lists(words).map(b"".join),
    st.lists(words).map(lambda parts: b'["",' + b"".join(parts) + b"]"),
    mutated(),
)


@given(noise, cuts, st.sampled_from([0, 1, 10, 200, 10**6]))
@example(VALID, [], 10**6)
def test_any_bytes_are_the_same_messages_before_the_same_error_however_they_come(
    data: bytes, cuts: list[int], limit: int
) -> None:
    taken, error = outcome([data], limit)
    for pieces in (pieces_of(data, cuts), bytes_of(data)):
        again, error_again = outcome(pieces, limit)
        assert exact(again) == exact(taken)
        assert error_again == error
    for message in taken:
        assert not message or type(message[0]) is str
        check_received([message])
        # What came in can go out again, and in the other framing too.
        codec.append_message(bytearray(), "", message)
        assert exact(received(encoded(*message, name=""))) == exact([("", *message)])


@given(noise, cuts)
def test_to_count_what_a_message_holds_changes_nothing(data: bytes, cuts: list[int]) -> None:
    pieces = pieces_of(data, cuts)
    expected = outcome(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_framing, "UNCOUNTED", 0)
        patch.setattr(json_framing, "_COUNTED", 10)
        patch.setattr(json_amount, "_PIECE", 3)
        taken, error = outcome(pieces)
    assert exact(taken) == exact(expected[0])
    assert error == expected[1]


@pytest.mark.parametrize("digits", [18, 19])
@pytest.mark.parametrize("before", [0, 1, 65517, 65518, 65519, 65530, 65536, 131072])
def test_a_long_number_is_found_wherever_it_is(digits: int, before: int) -> None:
    source = b"[" * 5 + b"x" * before + b"1" * digits + b"," + b"2" * 30
    end = 5 + before + digits
    assert has_long_number(source, 5, end) == (digits == 19)
    assert not has_long_number(source, 5, end - digits + 18)
    assert has_long_number(source, 5, len(source))


@given(noise)
def test_what_is_taken_is_what_another_decoder_takes(data: bytes) -> None:
    taken, _ = outcome([data])
    # Of what is JSON, json takes all, and of what is not, some.
    text = data.decode("utf-8", "replace")
    position = 0
    for message in taken:
        while text[position] in " \t\r\n":
            position += 1
        value, position = json.JSONDecoder().raw_decode(text, position)
        assert exact(tuple(value)) == exact(message)
