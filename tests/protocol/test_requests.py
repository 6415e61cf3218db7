"""The requests in messages to a node port."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, strategies as st

from trio_mp._ids import PortID
from trio_mp._protocol.requests import (
    QUERIES,
    DialStream,
    Died,
    Forward,
    HasStarted,
    Inspect,
    Keep,
    Kill,
    Malformed,
    Nothing,
    OpenStream,
    Parting,
    Ping,
    Pong,
    Query,
    Spawn,
    StartMonitor,
    StartPort,
    StopMonitor,
    StreamReady,
    call,
    inspect,
    is_upkeep,
    keep,
    parse,
    says_nothing,
    start,
    started,
    ticket_of,
)

NAME = "abcdefghABCDEFGH.7"
PORT = f"node#{NAME}"
TOKEN = "tokentokentoken0"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
WORDS = ["mon1", "mon0", "kil0", "kil", "spawn", "spawn_linked", "stream", "stream_ready", "stream_dial", "snd"]
WORDS += ["start", "started", "keep", "ping", "pong", "idle", "devnull", "", *sorted(QUERIES)]


@pytest.mark.parametrize(
    "message, request_",
    [
        ((), Nothing()),
        (("",), Nothing()),
        (("", 1, 2), Nothing()),
        (("devnull",), Nothing()),
        (("devnull", {"any": "thing"}), Nothing()),
        (("ping",), Ping()),
        (("pong",), Pong()),
        *(((word,), Parting(word)) for word in ("idle", "bye", "busy")),
        (("mon1", NAME), StartMonitor(NAME)),
        (("mon0", NAME), StopMonitor(NAME)),
        (("kil0", NAME), Died(NAME, ())),
        (("kil0", NAME, "die", "text"), Died(NAME, ("die", "text"))),
        (("kil", NAME), Kill(NAME, ())),
        (("kil", NAME, "die", ["x"]), Kill(NAME, ("die", ["x"]))),
        (("spawn", NAME, "module:function"), Spawn(NAME, "module:function", (), "")),
        (("spawn", NAME, "::function", 1, [2]), Spawn(NAME, "::function", (1, [2]), "")),
        (("spawn_linked", NAME, "m:f", PORT), Spawn(NAME, "m:f", (), PORT)),
        (("spawn_linked", NAME, "m:f", PORT, 1, None), Spawn(NAME, "m:f", (1, None), PORT)),
        (("start", NAME, "m:f", None, None), StartPort(NAME, "m:f", (), "", None)),
        (("start", NAME, "m:f", PORT, 0), StartPort(NAME, "m:f", (), PORT, 0)),
        (("start", NAME, "m:f", None, 2**63 - 1, 1, [2]), StartPort(NAME, "m:f", (1, [2]), "", 2**63 - 1)),
        (("started", NAME, None, 5), HasStarted(NAME, None, 5)),
        (("started", NAME, {"any": ["thing"]}, 0.0), HasStarted(NAME, {"any": ["thing"]}, 0.0)),
        (("started", NAME, 1, 1.7e308), HasStarted(NAME, 1, 1.7e308)),
        (("keep", NAME), Keep(NAME)),
        (("stream", NAME, TOKEN, "m:f"), OpenStream(NAME, TOKEN, "m:f", ())),
        (("stream", NAME, TOKEN, "m:f", 1, None), OpenStream(NAME, TOKEN, "m:f", (1, None))),
        (("stream_ready", NAME), StreamReady(NAME)),
        (("stream_dial", NAME), DialStream(NAME)),
        (("snd", PORT), Forward(PORT, ())),
        (("snd", PORT, "tag", 1), Forward(PORT, ("tag", 1))),
        (("snd", "node"), Forward("node", ())),
        (("snd", "node#", ""), Forward("node#", ("",))),
        (("info", PORT), Query("info", PORT, ())),
        (("time", PORT, "answer"), Query("time", PORT, ("answer",))),
        (("up_nodes", PORT, 1, 2), Query("up_nodes", PORT, (1, 2))),
        (("known_nodes", "node#"), Query("known_nodes", "node#", ())),
        (("inspect", NAME, 5.0, "links", {"after": ""}), Inspect(NAME, 5.0, "links", {"after": ""})),
        (("lookup", "chatter", PORT, "resolved"), Query("lookup", PORT, ("resolved",), "chatter")),
    ],
    ids=repr,
)
def test_a_request_is_what_it_says(message: tuple[object, ...], request_: object) -> None:
    assert parse(message) == request_


def test_a_port_of_this_node_is_as_good_as_its_id() -> None:
    assert parse(("snd", PortID(PORT), 1)) == Forward(PORT, (1,))
    assert parse(("spawn_linked", NAME, "m:f", PortID(PORT))) == Spawn(NAME, "m:f", (), PORT)


BAD_NAMES: list[object] = [
    "",
    "short.1",
    "x" * 65,
    "no name" * 3,
    "no/name" * 3,
    PORT,
    f"{NAME}\n",
    None,
    7,
    NAME.encode(),
    [NAME],
    {},
]
BAD_PORTS: list[object] = ["", "#", f"#{NAME}", "node#name", "no de", f"{PORT}#", None, 7, PORT.encode(), [PORT], {}]


@pytest.mark.parametrize(
    "message",
    [
        ("ping", 1),
        ("pong", 1),
        ("Ping",),
        ("mon1",),
        ("mon0",),
        ("mon1", NAME, 1),
        ("mon0", NAME, 1),
        ("mon2", NAME),
        ("kil0",),
        ("kil",),
        ("spawn",),
        ("spawn", NAME),
        ("spawn_linked", NAME),
        ("spawn_linked", NAME, "m:f"),
        ("start",),
        ("start", NAME, "m:f"),
        ("start", NAME, "m:f", None),
        *(("start", bad, "m:f", None, None) for bad in BAD_NAMES),
        *(("start", NAME, bad, None, None) for bad in (None, 7, b"m:f", ["m:f"])),
        *(("start", NAME, "m:f", bad, None) for bad in BAD_PORTS if bad is not None),
        *(("start", NAME, "m:f", None, bad) for bad in (-1, 2**63, 1.0, True, "1", [1])),
        ("started",),
        ("started", NAME, 1),
        ("started", NAME, 1, 5.0, 1),
        *(("started", bad, 1, 5.0) for bad in BAD_NAMES),
        *(("started", NAME, 1, bad) for bad in (-0.1, math.inf, math.nan, True, None, "5")),
        ("keep",),
        ("keep", NAME, 1),
        *(("keep", bad) for bad in BAD_NAMES),
        ("stream",),
        ("stream", NAME, TOKEN),
        ("stream_ready",),
        ("stream_ready", NAME, 1),
        ("stream_dial",),
        ("stream_dial", NAME, 1),
        *((word, bad) for word in ("stream_ready", "stream_dial") for bad in BAD_NAMES),
        *(("stream", bad, TOKEN, "m:f") for bad in BAD_NAMES),
        *(("stream", NAME, bad, "m:f") for bad in ("", TOKEN[1:], TOKEN + "0", "a b", None, 7, TOKEN.encode())),
        *(("stream", NAME, TOKEN, bad) for bad in (None, 7, b"m:f", ["m:f"])),
        ("snd",),
        *((word,) for word in sorted(QUERIES)),
        ("restart",),
        ("unknown", NAME),
        (None,),
        (0,),
        (False,),
        (b"",),
        (b"ping",),
        ([],),
        ({},),
        (["ping"],),
        *((word, bad) for word in ("mon1", "mon0", "kil0", "kil") for bad in BAD_NAMES),
        *(("spawn", bad, "m:f") for bad in BAD_NAMES),
        *(("spawn_linked", bad, "m:f", PORT) for bad in BAD_NAMES),
        *(("spawn_linked", NAME, "m:f", bad) for bad in BAD_PORTS),
        *(("spawn", NAME, bad) for bad in (None, 7, b"m:f", ["m:f"])),
        *(("spawn_linked", NAME, bad, PORT) for bad in (None, 7, b"m:f", ["m:f"])),
        *((word, bad) for word in ("snd", *sorted(QUERIES)) for bad in BAD_PORTS),
        *(("lookup", "chatter", bad) for bad in BAD_PORTS),
        *(("lookup", bad, PORT) for bad in (None, 7, b"chatter", ["chatter"])),
        ("lookup", "chatter"),
        ("inspect", NAME, None, "links"),
        ("inspect", NAME, None, "links", {}, 1),
        ("inspect", NAME, None, "links", []),
        ("inspect", NAME, None, 7, {}),
        ("inspect", NAME, "5", "links", {}),
        ("inspect", NAME, None, "kill", {"reason": [None] * 2**15}),
        *(("inspect", bad, None, "links", {}) for bad in BAD_NAMES),
    ],
    ids=repr,
)
def test_anything_else_is_malformed_and_kept_for_the_log(message: tuple[object, ...]) -> None:
    assert parse(message) == Malformed(message)


@pytest.mark.parametrize(
    "message, upkeep",
    [
        ((), True),
        (("",), True),
        (("", ""), True),
        (("", "db", "set"), True),
        (("", "keep", NAME), True),
        (("", "start", NAME, "m:f", None, None), False),
        (("", "started", NAME, 1, 5.0), False),
        (("", "kil", NAME), False),
        (("", 5), False),
        ((NAME, "mon1", NAME), False),
    ],
)
def test_what_the_nodes_say_for_themselves(message: tuple[object, ...], upkeep: bool) -> None:
    assert is_upkeep(message) is upkeep


@pytest.mark.parametrize(
    "message, nothing",
    [
        ((), True),
        (("",), True),
        (("", "devnull", 1), True),
        *((("", word), True) for word in ("idle", "bye", "busy")),
        (("", "ping"), False),
        (("", "mon1", NAME), False),
        ((NAME, "idle"), False),
    ],
)
def test_what_no_program_depends_on(message: tuple[object, ...], nothing: bool) -> None:
    assert says_nothing(message) is nothing


def test_the_node_port_can_be_neither_killed_nor_watched() -> None:
    for word in ("kil", "kil0", "mon1", "mon0"):
        assert parse((word, "")) == Malformed((word, ""))


@given(st.sampled_from(WORDS) | values, st.lists(values | st.sampled_from([NAME, PORT, "m:f"]), max_size=4))
def test_whatever_arrives_is_a_request_or_malformed(word: object, rest: list[object]) -> None:
    message = (word, *rest)
    request = parse(message)
    assert dataclasses.is_dataclass(request)
    if isinstance(request, Malformed):
        assert request.message is message
    elif not isinstance(request, Nothing):
        assert word in WORDS


@given(
    st.sampled_from(["start", "started", "keep"]),
    st.lists(st.sampled_from([NAME, PORT, "m:f", None, 0, 5.0]) | values, max_size=6),
)
def test_what_is_said_about_a_start_is_read_as_it_was_written(word: str, rest: list[object]) -> None:
    """Either the request writes the very message again, or it is malformed."""
    message = (word, *rest)
    match parse(message):
        case StartPort(name, function, arguments, linked_to, epoch):
            assert start(name, function, linked_to or None, epoch, arguments) == message
            assert epoch is None or 0 <= epoch < 2**63
        case HasStarted(name, value, seconds):
            assert started(name, value, seconds) == message
            assert 0 <= seconds < math.inf
        case Keep(name):
            assert keep(name) == message
        case other:
            assert other == Malformed(message)


def test_what_is_answered_under_a_ticket_has_one() -> None:
    assert ticket_of(call(NAME, "tickettickettick", None, ("tag",))) == "tickettickettick"
    assert ticket_of(inspect("tickettickettick", 5.0, "links", {"after": ""})) == "tickettickettick"
    assert [ticket_of(message) for message in ((), ("ping",), ("inspect", 7), ("call", NAME))] == [None] * 4
