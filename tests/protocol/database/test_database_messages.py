"""The messages of the shared database: what they say, how they are cut, and what no node sends."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, strategies as st

from trio_mp._errors import RemoteProtocolError
from trio_mp._ids import PortID
from trio_mp._protocol.database import entries
from trio_mp._protocol.database.messages import (
    Again,
    Begin,
    Delete,
    Done,
    Entries,
    Get,
    Gone,
    Head,
    Leave,
    Moved,
    Parsed,
    Pull,
    Set,
    Subscribe,
    Unsubscribe,
    View,
    ViewChange,
    parse,
)
from trio_mp._protocol.database.records import Record, Table, Version
from trio_mp._protocol.database.replica import messages as messages
from trio_mp._protocol.handshake.greeting import MINIMUM_LIMIT
from trio_mp._protocol.schema import Message
from trio_mp._protocol.wire import codec
from trio_mp._protocol.wire.limits import MAXIMUM_DEPTH

RUN = "x" * 16

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
WORDS = ["pull", "begin", "record", "entries", "done", "set", "delete", "gone", "moved", "leave", "again"]
WORDS += ["subscribe", "unsubscribe", "get", "view", "change"]


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "message, parsed",
    [
        (("pull",), Pull()),
        (("leave",), Leave()),
        (("begin", True), Begin(True)),
        (("begin", True, 5), Begin(True, 5)),
        (("again", 5), Again(5)),
        (("record", "a", 1, RUN, 2, 3), Head("a", Version(1, RUN, 2, 3))),
        (("entries", {"red": {"k": [1]}, "green": {}}), Entries({"red": {"k": [1]}, "green": {}})),
        (("done",), Done()),
        (("set", "a", 4, "red", "k", None), Set("a", 4, "red", "k", None)),
        (("delete", "a", 4, "red", ["k", ""]), Delete("a", 4, "red", ("k", ""))),
        (("gone", "a"), Gone("a")),
        (("moved", "a"), Moved("a")),
        (("subscribe", 1, "red"), Subscribe(1, "red")),
        (("unsubscribe", 1), Unsubscribe(1)),
        (("get", 2, "red"), Get(2, "red", None)),
        (("get", 2, "red", ""), Get(2, "red", "")),
        (("view", 2, {"k": {"x": 1}}, False), View(2, {"k": {"x": 1}}, False)),
        (("change", 2, {"k": 1}, ["l"], True), ViewChange(2, {"k": 1}, ("l",), True)),
    ],
    ids=repr,
)
def test_a_message_is_what_it_says(message: Message, parsed: Parsed) -> None:
    assert parse(("db", *message)) == parsed


@pytest.mark.parametrize(
    "message",
    [
        (),
        ("something",),
        ("pull", 1),
        ("begin", 1),
        ("begin", True, -1),
        ("again", True),
        ("record", "not a node", 1, RUN, 2, 3),
        ("record", "a", 1, "no token", 2, 3),
        ("record", "a", -1, RUN, 2, 3),
        ("record", "a", 1, RUN, True, 3),
        ("record", "a", 1, RUN, 2, -3),
        ("entries", {"red": 1}),
        ("entries", {"red": {"k": "x" * entries.ENTRY_LIMIT}}),
        ("entries", {"\ud800": {}}),
        ("entries", {"red": {"\ud800": 1}}),
        ("set", "a#", 1, "red", "k", 1),
        ("set", "a", False, "red", "k", 1),
        ("set", "a", 1, "red", "k" * entries.ENTRY_LIMIT, 1),
        ("set", "a", 1, "red", "k", nested(MAXIMUM_DEPTH - 3)),
        ("delete", "a", 1, "red", [1]),
        ("delete", "a", 1, "red", "k"),
        ("gone", ""),
        ("moved", "a", 1),
        ("moved", "a b"),
        ("subscribe", -1, "red"),
        ("subscribe", 1, "\ud800"),
        ("get", 1, "\ud800"),
        ("get", 1, "red", "\ud800"),
        ("unsubscribe", "1"),
        ("get", 1, "red", None),
        ("view", 1, {}, 0),
        ("view", True, {}, True),
        ("change", 1, {}, [None], True),
    ],
    ids=lambda message: repr(message)[:60],
)
def test_what_no_node_sends_is_an_error(message: Message) -> None:
    with pytest.raises(RemoteProtocolError, match="of the database"):
        parse(("db", *message))


@given(st.sampled_from(WORDS), st.lists(values | st.sampled_from([RUN, "a", 0, 1, True, {}, []]), max_size=6))
def test_anything_else_is_one_error(word: str, arguments: list[object]) -> None:
    text = ""
    try:
        parse(("db", word, *arguments))
    except RemoteProtocolError as error:
        text = str(error)
    assert len(text) < 500


def as_received(told: Iterable[Message]) -> list[Message]:
    """Through the codec, in messages that any node takes."""
    received: list[Message] = []
    for message in told:
        frame = codec.open_frame()
        codec.append_message(frame, "", message)
        assert len(frame) < MINIMUM_LIMIT
        codec.close_frame(frame, 1)
        received.append(codec.messages_in(frame)[0][1:])
    return received


def large(count: int, size: int) -> Table:
    return {f"key {number}": "x" * size for number in range(count)}


@pytest.mark.parametrize("count, size", [(0, 0), (1, 0), (1, 32_000), (3, 32_000), (5000, 10), (300, 1000)])
class TestWhatIsLargeIsCut:
    def test_a_batch(self, count: int, size: int) -> None:
        records = {
            "a": Record(Version(1, RUN, 2, 3), {"red": large(count, size), "green": {"k": 1}}),
            "b": Record(Version(1, RUN, 2, 3)),
        }
        received: dict[str, Record] = {}
        told = [parse(message) for message in as_received(messages.batch(records, whole=True))]
        assert told[0] == Begin(True)
        assert told[-1] == Done()
        for part in told[1:-1]:
            if isinstance(part, Head):
                filling = received[part.owner] = Record(part.version)
            else:
                assert isinstance(part, Entries)
                for family, table in part.tables.items():
                    filling.tables.setdefault(family, {}).update(table)
        records["a"].tables = {family: table for family, table in records["a"].tables.items() if table}
        assert received == records

    def test_a_table(self, count: int, size: int) -> None:
        told = [parse(message) for message in as_received(messages.view(7, large(count, size)))]
        received: Table = {}
        for part in told:
            assert isinstance(part, View)
            assert part.ticket == 7
            assert part.last == (part is told[-1])
            received.update(part.entries)
        assert received == large(count, size)

    def test_a_change(self, count: int, size: int) -> None:
        deleted = ["y" * size + str(number) for number in range(count)]
        told = [parse(message) for message in as_received(messages.change(7, large(count, size), deleted))]
        received: Table = {}
        gone: list[str] = []
        for part in told:
            assert isinstance(part, ViewChange)
            assert part.last == (part is told[-1])
            received.update(part.entries)
            gone += part.deleted
        assert (received, gone) == (large(count, size), deleted)

    def test_what_is_deleted(self, count: int, size: int) -> None:
        keys = ["y" * size + str(number) for number in range(count)]
        told = [parse(message) for message in as_received(messages.entries_deleted("a", 3, "red", keys))]
        gone: list[str] = []
        for part in told:
            assert isinstance(part, Delete)
            gone += part.keys
        assert gone == keys


class TestWhatMayBeInTheDatabase:
    def test_a_value_is_a_snapshot(self) -> None:
        inner: list[object] = [1, (2, 3)]
        checked = entries.check_entry("red", "k", {"list": inner, "port": PortID("a#b")})
        inner.append(4)
        assert checked == {"list": [1, [2, 3]], "port": "a#b"}
        assert isinstance(checked, dict)
        assert type(checked["port"]) is str

    def test_a_port_is_as_good_as_its_id(self) -> None:
        text = entries.check_text(PortID("a#b"), "key")
        assert text == "a#b"
        assert type(text) is str

    @pytest.mark.parametrize(
        "value, error, text",
        [
            pytest.param(object(), TypeError, "value: expected .* got a value of type object", id="an-object"),
            ({"when": {1: 2}}, TypeError, r'value\["when"\]: expected keys of type str .* got int'),
            ([0, 2**64], ValueError, r"value\[1\]: expected an int of at most 64 bits, got one of 65"),
            ("\ud800", ValueError, "value: .*lone surrogate"),
            (nested(MAXIMUM_DEPTH), ValueError, "lists and dicts at most"),
            ("x" * entries.ENTRY_LIMIT, ValueError, "an entry of at most 32768 bytes, got 32.*in messages"),
        ],
        ids=["object", "key", "int", "surrogate", "depth", "size"],
    )
    def test_what_cannot_travel_is_refused(self, value: object, error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            entries.check_entry("red", "k", value)

    def test_the_deepest_value_can_be_in_any_message(self) -> None:
        depth = max(depth for depth in range(MAXIMUM_DEPTH) if fits(nested(depth)))
        record = Record(Version(1, RUN, 0, 0), {"red": {"k": nested(depth)}})
        assert depth > MAXIMUM_DEPTH - 6
        for told in (messages.batch({"a": record}, whole=True), messages.change(1, {"k": nested(depth)}, ())):
            for message in as_received(told):
                parse(message)

    @pytest.mark.parametrize("text, error", [(1, TypeError), (None, TypeError), ("\ud800", ValueError)])
    def test_names_are_text(self, text: object, error: type[Exception]) -> None:
        with pytest.raises(error, match="family: expected"):
            entries.check_text(text, "family")


def fits(value: object) -> bool:
    try:
        entries.check_entry("red", "k", value)
    except ValueError:
        return False
    return True


PORT = "n#lIG5HDYf.X3FU6l7mqoX0gB-n"


class TestEntriesOfPorts:
    """Of which port an entry speaks, if it speaks of one."""

    @pytest.mark.parametrize(
        "key, value, port, said",
        [
            (PORT, {"size": 1}, PORT, {"size": 1}),
            ("lobby", PORT, PORT, None),
            ("lobby", entries.named_entry(PORT, 7), PORT, 7),
        ],
    )
    def test_that_speak_of_one(self, key: str, value: object, port: str, said: object) -> None:
        assert entries.read_port(key, value) == (port, said)

    @pytest.mark.parametrize("value", ["a", "#", "", 7, None, [], [PORT], [PORT, 1, 2], ["a", 1], [7, 1]], ids=repr)
    def test_that_speak_of_none(self, value: object) -> None:
        assert entries.read_port("lobby", value) is None

    @pytest.mark.parametrize("text", ["a", "", "#", "a#", "a b#c", 7, None, b"n#lIG5HDYf.X3FU6l7m"], ids=repr)
    def test_what_is_no_port(self, text: object) -> None:
        assert not entries.is_port_id(text)
