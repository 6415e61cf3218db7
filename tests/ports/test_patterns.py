"""Which handler gets a message: patterns, their precedence, and what they are compared with."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, strategies as st
from network_helpers import FakeNetwork, open_pair
from trio.testing import wait_all_tasks_blocked

from trio_mp import ANY, open_node
from trio_mp._ports.handlers import HandlerTable, Pattern, matches


async def handled_by(patterns: list[Pattern], message: tuple[object, ...]) -> tuple[Pattern, tuple[object, ...]] | None:
    """The pattern whose handler gets a message, and what it is called with."""
    found: list[tuple[Pattern, tuple[object, ...]]] = []
    async with open_node() as node:
        port = node.port()

        def install(pattern: Pattern) -> None:
            @port.on(*pattern)
            def handler(*arguments: object) -> None:
                found.append((pattern, arguments))

        for pattern in patterns:
            install(pattern)
        node.send(port, *message)
        await wait_all_tasks_blocked()
    assert len(found) <= 1
    return found[0] if found else None


def arguments_for(pattern: Pattern, message: tuple[object, ...]) -> tuple[object, ...]:
    """What the handler of a pattern is called with: the elements that matched `ANY`, in order, then the rest."""
    matched = zip(pattern, message, strict=False)
    return (*(found for wanted, found in matched if wanted is ANY), *message[len(pattern) :])


CASES: list[tuple[list[Pattern], tuple[object, ...], int | None]] = [
    # Patterns, the message, and which of the patterns gets it.
    ([("a",)], ("a",), 0),
    ([("a",)], ("a", 1, 2), 0),
    ([("a",)], ("b",), None),
    ([("a",)], (), None),
    ([()], (), 0),
    ([()], ("a", 1), 0),
    ([(), ("a",)], ("a", 1), 1),
    ([(), ("a",)], ("b", 1), 0),
    ([("a", 1)], ("a", 1), 0),
    ([("a", 1)], ("a", 1, 2), 0),
    ([("a", 1)], ("a", 2), None),
    ([("a", 1)], ("a",), None),
    ([("a",), ("a", 1)], ("a", 1, 2), 1),
    ([("a",), ("a", 1)], ("a", 2), 0),
    ([(ANY,)], ("whatever",), 0),
    ([(ANY,)], (), None),
    ([(ANY,), ("a",)], ("a",), 1),
    ([(ANY,), ("a",)], ("b",), 0),
    ([(ANY,), ()], ("b",), 0),
    ([(ANY,), ()], (), 1),
    ([("a",), (ANY, ANY)], ("a", 1), 1),
    ([("a",), (ANY, ANY)], ("a",), 0),
    ([("a", ANY), (ANY, 1)], ("a", 1), 0),
    ([(ANY, 1), ("a", ANY)], ("a", 1), 1),
    ([("a", ANY, 2), ("a", 1, ANY)], ("a", 1, 2), 1),
    ([(ANY, 1, 2), ("a", ANY, ANY)], ("a", 1, 2), 1),
    ([("a", 1), ("a", ANY)], ("a", 1), 0),
    ([("a", 1), ("a", ANY)], ("a", 2), 1),
    ([(ANY, ANY, ANY), ("a", 1)], ("a", 1, 2), 0),
    ([(["x"],)], (["x"], 1), 0),
    ([(["x"],)], (["y"], 1), None),
    ([(ANY,), (["x"],)], (["x"],), 1),
    ([(["x"],), (ANY,)], (["y"],), 1),
    ([("a", ["x"])], ("a", ["x"], 1), 0),
    ([("a", {"k": 1}), ("a", ANY)], ("a", {"k": 1}), 0),
    ([("a", {"k": 1}), ("a", ANY)], ("a", {"k": 2}), 1),
    ([("a",)], ({"unhashable": 1},), None),
    ([("a",), ()], ({"unhashable": 1},), 1),
    ([("a",), (ANY,)], ({"unhashable": 1},), 1),
    ([(5,)], (5, 1), 0),
    ([(5,)], (5.0, 1), 0),
    ([(None,)], (None,), 0),
    ([(("t", 1),)], (("t", 1), 2), 0),
]


@pytest.mark.parametrize("patterns, message, winner", CASES)
async def test_the_most_particular_handler_gets_the_message(
    patterns: list[Pattern], message: tuple[object, ...], winner: int | None
) -> None:
    for order in itertools.permutations(patterns):
        found = await handled_by(list(order), message)
        if winner is None:
            assert found is None
        else:
            assert found == (patterns[winner], arguments_for(patterns[winner], message))


@pytest.mark.parametrize(
    "pattern, message, arguments",
    [
        ((ANY,), ("a", 1, 2), ("a", 1, 2)),
        ((ANY,), ("a",), ("a",)),
        (("a", ANY), ("a", 1), (1,)),
        (("a", ANY), ("a", 1, 2), (1, 2)),
        (("a", ANY, "c"), ("a", "b", "c"), ("b",)),
        (("a", ANY, "c"), ("a", "b", "c", "d", "e"), ("b", "d", "e")),
        ((ANY, "b", ANY), ("a", "b", "c", "d"), ("a", "c", "d")),
        ((ANY, ANY), ("a", "b"), ("a", "b")),
        ((["x"], ANY), (["x"], 1, 2), (1, 2)),
        (("a", "b"), ("a", "b", "c"), ("c",)),
    ],
)
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("busy", [False, True])
async def test_a_handler_gets_what_matched_any_and_then_the_rest(
    pattern: Pattern, message: tuple[object, ...], arguments: tuple[object, ...], once: bool, busy: bool
) -> None:
    seen: list[tuple[object, ...]] = []
    async with open_node() as node:
        port = node.port()

        @port.on("be busy first")
        async def _() -> None:
            await trio.lowlevel.checkpoint()

        @port.on(*pattern, once=once)
        def handler(*found: object) -> None:
            seen.append(found)

        if busy:
            node.send(port, "be busy first")
        node.send(port, *message)
        await wait_all_tasks_blocked()
    assert seen == [arguments]


async def test_a_message_from_another_node_gives_a_handler_what_matched_any_as_well() -> None:
    seen: list[tuple[object, ...]] = []
    async with open_pair(FakeNetwork()) as (a, b):
        port = a.port()
        port.on("move", ANY, "to", ANY)(lambda *found: seen.append(found))
        port.on("done")(a.send)
        b.send(str(port), "move", "knight", "to", "f3", "check")
        await b.call(str(port), "done")
    assert seen == [("knight", "f3", "check")]


async def test_a_task_receives_a_message_whole_whatever_its_pattern() -> None:
    async with open_node() as node, node.open_port() as port:
        node.send(port, "a", 1, "c", 2)
        node.send(port, "a", 3, "c", 4)
        assert await port.receive("a", ANY, "c") == ("a", 1, "c", 2)
        assert await port.receive(ANY) == ("a", 3, "c", 4)


async def test_the_same_pattern_replaces_the_handler() -> None:
    for pattern in ((), ("a",), (ANY,), ("a", 1), ("a", ANY), (["x"],), ("a", ["x"])):
        async with open_node() as node:
            seen: list[str] = []
            port = node.port()
            port.on(*pattern)(lambda *_: seen.append("old"))  # noqa: B023
            port.on(*pattern)(lambda *_: seen.append("new"))  # noqa: B023
            message = tuple("x" if element is ANY else element for element in pattern)
            node.send(port, *message)
            await wait_all_tasks_blocked()
            assert seen == ["new"]


async def test_off_takes_away_exactly_the_pattern_that_it_names() -> None:
    patterns: list[Pattern] = [(), ("a",), (ANY,), ("a", 1), ("a", ANY), (["x"],), ("a", ["x"])]
    async with open_node() as node:
        seen: list[Pattern] = []
        port = node.port()
        for pattern in patterns:
            port.on(*pattern)(lambda *_, pattern=pattern: seen.append(pattern))
        port.off("a", ANY)
        node.send(port, "a", 2)
        node.send(port, "a", 1)
        node.send(port, "a", ["x"])
        await wait_all_tasks_blocked()
        assert seen == [("a",), ("a", 1), ("a", ["x"])]
        port.off(["x"])
        node.send(port, ["x"])
        await wait_all_tasks_blocked()
        assert seen[-1] == (ANY,)


async def test_a_port_is_quick_and_right_again_when_its_long_patterns_are_gone() -> None:
    async with open_node() as node:
        seen: list[str] = []
        port = node.port()
        port.on("a")(lambda *_: seen.append("short"))
        port.on("a", 1)(lambda *_: seen.append("long"))
        node.send(port, "a", 1)
        await wait_all_tasks_blocked()
        port.off("a", 1)
        node.send(port, "a", 1)
        await wait_all_tasks_blocked()
        assert seen == ["long", "short"]


async def test_any_in_a_message_is_an_element_like_others() -> None:
    found = await handled_by([("a", 1)], ("a", ANY))
    assert found is None
    assert await handled_by([(ANY, 1)], (ANY, 1)) == ((ANY, 1), (ANY,))


def test_any_says_what_it_is() -> None:
    assert repr(ANY) == "ANY"


class EqualsEverything:
    """As `unittest.mock.ANY`."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


async def test_what_equals_everything_is_still_not_any() -> None:
    chameleon = EqualsEverything()
    assert await handled_by([(ANY,), (chameleon,)], ("b",)) == ((chameleon,), ())
    async with open_node() as node:
        port = node.port()
        port.on(ANY)(lambda *_: None)
        port.off(chameleon)
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert port.alive


class Unfriendly:
    """Something whose comparison, hash or representation fails."""

    def __init__(self, *, comparing: bool = False, hashing: bool = False, printing: bool = False) -> None:
        self.comparing = comparing
        self.hashing = hashing
        self.printing = printing

    def __eq__(self, other: object) -> bool:
        if self.comparing:
            raise ValueError("not to be compared")
        return self is other

    def __hash__(self) -> int:
        if self.hashing:
            raise ValueError("not to be hashed")
        return hash("a")

    def __repr__(self) -> str:
        if self.printing:
            raise ValueError("not to be printed")
        return "unfriendly"


MESSAGES: list[tuple[Pattern, tuple[Any, ...]]] = [
    (("a",), (Unfriendly(comparing=True),)),
    (("a",), (Unfriendly(hashing=True),)),
    (("a", 1), ("a", Unfriendly(comparing=True))),
    ((["a"],), (Unfriendly(comparing=True),)),
    (("b",), (Unfriendly(printing=True),)),
]


@pytest.mark.parametrize("pattern, message", MESSAGES)
async def test_a_message_that_cannot_be_matched_kills_the_port_and_nothing_else(
    pattern: Pattern, message: tuple[Any, ...]
) -> None:
    async with open_node() as node:
        seen: list[object] = []
        other = node.port(seen.append)
        port = node.port()
        port.on(*pattern)(lambda *_: None)
        node.send(port, *message)
        node.send(other, "alive")
        with node.monitor(port, lambda *_: None) as monitor:
            await wait_all_tasks_blocked()
            assert not port.alive
            assert monitor.reason
        assert seen == ["alive"]


async def test_a_message_that_cannot_be_compared_kills_the_port_whose_task_waits_for_a_pattern() -> None:
    async with open_node() as node:

        async def process(port: Any) -> None:
            await port.receive("a", 1)

        port = node.start_port(process)
        await wait_all_tasks_blocked()
        node.send(port, "a", Unfriendly(comparing=True))
        assert (await node.wait_death(port))[0] == "die"


elements = st.sampled_from(["a", "b", 1, ["u"]])
pattern_elements = st.one_of(elements, st.just(ANY))


def best(patterns: list[Pattern], message: tuple[object, ...]) -> Pattern | None:
    """The winner, as design.md words it."""
    candidates = [pattern for pattern in patterns if matches(pattern, message)]
    return min(candidates, key=lambda p: (-len(p), [element is ANY for element in p]), default=None)


@given(
    st.lists(st.lists(pattern_elements, max_size=3).map(tuple), max_size=6),
    st.lists(elements, max_size=4).map(tuple),
)
def test_the_table_finds_what_the_rule_says(patterns: list[Pattern], message: tuple[object, ...]) -> None:
    table = HandlerTable()
    for pattern in patterns:
        table.add(pattern, lambda pattern=pattern: pattern)
    found = table.find(message)
    wanted = best(patterns, message)
    if wanted is None:
        assert found is None
    else:
        assert found is not None
        assert found[0]() == wanted
        assert found[1] == arguments_for(wanted, message)


@given(st.lists(st.lists(pattern_elements, max_size=3).map(tuple), max_size=6), st.data())
def test_a_table_without_its_handlers_is_empty(patterns: list[Pattern], data: st.DataObject) -> None:
    table = HandlerTable()
    for pattern in patterns:
        table.add(pattern, len)
    assert bool(table) is bool(patterns)
    for pattern in data.draw(st.permutations(patterns)):
        table.remove(pattern)
        assert table.get(pattern) is None
        assert not table.remove(pattern)
    assert not table


async def test_on_without_parentheses_says_how_it_is_written() -> None:
    async with open_node() as node:
        port = node.port()
        with pytest.raises(TypeError, match=r"@port.on\('tag'\)"):

            @port.on
            def handler() -> None:
                """Never installed."""
